/*-------------------------------------------------------------------------
 *
 * alipay.h
 *	  What Alipay's answers and its notifications have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ALIPAY_H
#define BILLING_ALIPAY_H

#include "gateway.h"

/* "88.88" to 8888, exactly; false: it is no amount of yuan with two decimals at most. */
extern bool billing_alipay_read_yuan(const char *text, int64 *units);

/* Seconds since 1970 of a clock in China; 0: none is said. */
extern int64 billing_alipay_instant(const char *text);

/* Whether Alipay has signed this. */
extern bool billing_alipay_verify(const BillingGatewayConfig *config, const char *data, size_t len, const char *signature);

extern void billing_alipay_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len,
										 int64 now, BillingGatewayCallback *callback);
extern void billing_alipay_reply(bool is_accepted, BillingGatewayReply *reply);

#endif							/* BILLING_ALIPAY_H */
