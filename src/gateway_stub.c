/*-------------------------------------------------------------------------
 *
 * gateway_stub.c
 *	  Who does not hear yet what gateways say.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "news.h"

void
billing_payment_learn(BillingFlow *flow, int64 payment_id, const BillingNews *news)
{
	elog(ERROR, "payments hear no news yet");
}

void
billing_payment_reverse(BillingFlow *flow, int64 payment_id, const BillingNews *news)
{
	elog(ERROR, "payments hear no news yet");
}

void
billing_refund_learn(BillingFlow *flow, int64 refund_id, const BillingNews *news)
{
	elog(ERROR, "refunds hear no news yet");
}

void
billing_dispute_learn(BillingFlow *flow, int64 payment_id, const BillingNews *news, const char *reason)
{
	elog(ERROR, "payments hear no news yet");
}
