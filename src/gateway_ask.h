/*-------------------------------------------------------------------------
 *
 * gateway_ask.h
 *	  A request to a gateway, from its row to its bytes, and from the answer to the news.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GATEWAY_ASK_H
#define BILLING_GATEWAY_ASK_H

#include "flow.h"
#include "gateway_account.h"
#include "news.h"

/* A row of billing.gateway_request that is claimed, or asked and answered at once. */
typedef struct BillingAsk
{
	int64		tenant_id;
	int64		gateway_request_id;
	const char *gateway;
	BillingGatewayOperation operation;
	int64		object_id;
	int			step;
	int			attempts;
	TimestampTz claimed_at;		/* which of its attempts this is; DT_NOBEGIN: it was not claimed */
	BillingGatewayAccount *account;	/* NULL: it could not be opened */
	BillingGatewayOrder order;
	bool		has_amount;
	BillingAmount amount;		/* of the payment or refund */
	const char *problem;		/* what keeps it from being asked, as key=value; NULL: nothing so far */
} BillingAsk;

/* What came of it: an answer, or why there is none. */
typedef struct BillingAnswered
{
	int			status;			/* 0: none came */
	BillingPairs headers;
	const char *body;
	size_t		len;
	const char *error;			/* why none came, as of webhook_delivery.error */
	bool		is_sent;		/* of one that none came to: the gateway may have got it */
	bool		is_held;		/* it could not be made, for want of a key, and waits until it can */
	BillingGatewayAnswer *answer;	/* one that is known already */
} BillingAnswered;

extern const char *billing_gateway_ask_name(BillingGatewayOperation operation);
extern BillingGatewayOperation billing_gateway_ask_operation(const char *name);
extern const char *billing_gateway_ask_outcome(BillingGatewayOutcome outcome);

/*
 * Claim, up to when in real time, some that are due of all tenants but held (bigint[]), of whom the caller has answers that it cannot
 * record yet: an array in the current context; returns how many.
 */
extern int	billing_gateway_ask_claim(TimestampTz now, TimestampTz until, int count, Datum held, BillingAsk **asks, bool **are_lost);

/* Open its account and read what it is about, in the current memory context.  SPI is connected. */
extern void billing_gateway_ask_read(BillingAsk *ask);

/* Make its request: NULL, or why the gateway cannot be asked, as key=value.  With no verb, answer has what there is to know. */
extern const char *billing_gateway_ask_build(BillingAsk *ask, BillingGatewayRequest *request, BillingGatewayAnswer *answer);

/* What a driver remembers from one step to the next, sealed, as text, which SQL reads as a sealed value. */
extern Datum billing_gateway_memory_seal(int64 tenant_id, const BillingPairs *memory);

/* Record what came of it, and let everything follow.  False: it is not claimed by that attempt any more. */
extern bool billing_gateway_ask_settle(BillingFlow *flow, BillingAsk *ask, const BillingAnswered *answered);

/* When the first is due, in real time; DT_NOEND: none is. */
extern TimestampTz billing_gateway_ask_next(void);

/*
 * What a gateway says of an object as news: NULL, or how it differs from what was asked (pay_no may be NULL, and expected), as
 * key=value.
 */
extern const char *billing_gateway_ask_news(const BillingGatewayAccount *account, const BillingGatewayAnswer *answer, const char *pay_no,
											const BillingAmount *expected, BillingNews *news);

/*
 * What is asked of the gateway next, behind news of an object: nothing any more where it is over, to capture what was approved, what
 * became of what goes on, and for the fee.  A question that was answered sees itself to being asked again.  driver is NULL where it
 * could not be learnt.
 */
extern void billing_gateway_ask_follow(int64 tenant_id, const char *gateway, const BillingGateway *driver, BillingGatewayOperation operation,
									   int64 object_id, const BillingGatewayAnswer *answer, bool is_callback);

/* Make what an answer said fit for the database: its strings are in its encoding then. */
extern void billing_gateway_ask_localize(BillingGatewayAnswer *answer);

#endif							/* BILLING_GATEWAY_ASK_H */
