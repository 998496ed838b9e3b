/*-------------------------------------------------------------------------
 *
 * gateway_certificate.h
 *	  What gateways publish that their signatures are verified with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GATEWAY_CERTIFICATE_H
#define BILLING_GATEWAY_CERTIFICATE_H

#include "gateway_ask.h"

/* A callback names one that is not there: let it be asked for, soon, but not for all that anybody may name. */
extern void billing_gateway_certificate_want(const char *gateway, const char *name);

/* Claim some that are wanted - one, of a gateway that is named - up to an instant in real time; each is an ask of operation CERTIFICATE. */
extern int	billing_gateway_certificate_claim(const char *gateway, TimestampTz now, TimestampTz until, BillingAsk **asks);

/* One of a gateway that somebody has claimed, and nobody said what came of it. */
extern bool billing_gateway_certificate_find_claimed(const char *gateway, BillingAsk *ask);

/* Keep what the gateway answered, or why it did not. */
extern void billing_gateway_certificate_settle(BillingAsk *ask, const BillingAnswered *answered);

/* When the first is due, in real time; DT_NOEND: none is. */
extern TimestampTz billing_gateway_certificate_next(void);

#endif							/* BILLING_GATEWAY_CERTIFICATE_H */
