/*-------------------------------------------------------------------------
 *
 * paypal.h
 *	  What PayPal says, in answers and in callbacks alike.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PAYPAL_H
#define BILLING_PAYPAL_H

#include "document.h"

/* Bytes of PEM: a chain has three certificates or four. */
#define BILLING_PAYPAL_MAX_CERTIFICATE	(32 * 1024)

extern int	billing_paypal_exponent(const char *currency);

/* Its objects; what is no such object leaves the answer as it was. */
extern void billing_paypal_read_order(const BillingDocument *order, BillingGatewayAnswer *answer);
extern void billing_paypal_read_capture(const BillingDocument *capture, BillingGatewayAnswer *answer);
extern void billing_paypal_read_refund(const BillingDocument *refund, BillingGatewayAnswer *answer);

/* What a stored method is known by, beside its token: a digest of that, which says nothing of it. */
extern const char *billing_paypal_method_id(const BillingGatewayConfig *config, const char *token);

/* Where the payer goes on, or NULL; document may be NULL. */
extern const char *billing_paypal_action_link(const BillingDocument *document);

/* Whether PayPal, or whoever takes its place in a row, publishes certificates there. */
extern bool billing_paypal_is_certificate_url(const BillingGatewayConfig *config, const char *url);

/* NULL, or what is wrong with the chain of a certificate that callbacks are signed with. */
extern const char *billing_paypal_check_certificate(const BillingGatewayConfig *config, const char *pem, int64 now);

extern void billing_paypal_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len,
										 int64 now, BillingGatewayCallback *callback);
extern void billing_paypal_reply(bool is_accepted, BillingGatewayReply *reply);

#endif							/* BILLING_PAYPAL_H */
