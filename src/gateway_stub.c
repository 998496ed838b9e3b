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
billing_refund_learn(BillingFlow *flow, int64 refund_id, const BillingNews *news)
{
	elog(ERROR, "refunds hear no news yet");
}
