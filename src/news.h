/*-------------------------------------------------------------------------
 *
 * news.h
 *	  What a gateway has said of an object of ours, by an answer or a callback.
 *
 * It was verified and compared with what was asked before it comes here: it is of this tenant, this object, this
 * amount and currency.  It may come twice, late, or in another order than it happened: what is told again changes
 * nothing, and what is older than what is known is not believed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_NEWS_H
#define BILLING_NEWS_H

#include "amount.h"
#include "flow.h"
#include "gateway/gateway.h"

typedef struct BillingNews
{
	const char *gateway;		/* its code */
	const char *driver;			/* of its driver: what decline codes go by */
	BillingGatewayOperation operation;	/* that was answered; of a callback QUERY, QUERY_REFUND, ADD_METHOD or SUBSCRIPTION */
	const BillingGatewayAnswer *answer;
	bool		has_amount;
	BillingAmount amount;		/* answer's units */
	bool		has_fee;
	BillingAmount fee;			/* answer's fee_units */
	TimestampTz at;				/* when it happened, as far as it is said; not in the future */
} BillingNews;

/*
 * Each holds the tenant's lock in a flow of its own, with SPI connected, and does all that follows: states, ledger, invoice,
 * subscription, wallet, collection attempt, events, audit.  What they raise undoes the whole of it.
 */
extern void billing_payment_learn(BillingFlow *flow, int64 payment_id, const BillingNews *news);
extern void billing_payment_reverse(BillingFlow *flow, int64 payment_id, const BillingNews *news);	/* the payer's bank took it back */
extern void billing_refund_learn(BillingFlow *flow, int64 refund_id, const BillingNews *news);

/* A refund of a payment went that nobody here asked for: NULL, or why it is not in the books, as key=value. */
extern const char *billing_refund_learn_made(BillingFlow *flow, int64 payment_id, const BillingNews *news);

extern void billing_dispute_learn(BillingFlow *flow, int64 payment_id, const BillingNews *news, const char *reason);
extern void billing_payment_method_learn(BillingFlow *flow, int64 payment_method_id, const BillingNews *news);

#endif							/* BILLING_NEWS_H */
