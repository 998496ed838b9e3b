/*-------------------------------------------------------------------------
 *
 * collect.h
 *	  Attempts to collect what is due.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COLLECT_H
#define BILLING_COLLECT_H

#include "flow.h"

/* One attempt: a row of billing.collection_attempt, which is pending. */
typedef struct BillingAttempt
{
	int64		tenant_id;
	int64		invoice_id;
	int32		attempt_no;
	int32		retry_no;
	int64		payment_method_id;	/* what it is made with; 0: it is not said */
} BillingAttempt;

/*
 * Who collects in the place of billing_collect_payment(), also where there is no payment method.  Called in the transaction
 * that wrote the rows, with their tenants locked and SPI connected: it may ask for the money (queue requests that are sent after
 * the commit), and it may settle an attempt at once; it does not wait for anybody.  What it raises is of the one attempt alone, which
 * has failed then.
 */
typedef void (*BillingCollectHook) (const BillingAttempt *attempt);
extern BillingCollectHook billing_collect_hook;

/* Ask for the payment that an attempt is: of what is due, by its payment method, without the payer. */
extern void billing_collect_payment(const BillingAttempt *attempt);

/* Let fail the attempts of locked tenants (a bigint[]) that are under way for longer than pending_timeout. */
extern void billing_collect_fail_unanswered(Datum tenant_ids);

/* Make the attempts that are due of locked tenants. */
extern void billing_collect_due(Datum tenant_ids);

/* Try again what failed of locked tenants, where that is due. */
extern void billing_collect_retry(Datum tenant_ids);

/* Try again, at once, what failed of locked tenants, for good or not: there is another default to collect with, if it can be charged. */
extern void billing_collect_again(Datum tenant_ids);

/*
 * What became of an attempt.  The caller holds the tenant's lock, and lets what follows of it follow: of one
 * that succeeded it records the payment, of one that failed it calls billing_dunning_catch_up().
 * Gateway and message may be NULL, the code is in the words of the gateway, or of its driver where it is one of billing.gateway.
 */
extern void billing_collect_succeed(const BillingAttempt *attempt, const char *gateway);
extern void billing_collect_fail(const BillingAttempt *attempt, const char *gateway, const char *code, const char *message);

#endif							/* BILLING_COLLECT_H */
