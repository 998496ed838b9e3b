/*-------------------------------------------------------------------------
 *
 * draft_batch.h
 *	  Drafts that are made beside the boundaries of subscriptions, a batch at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DRAFT_BATCH_H
#define BILLING_DRAFT_BATCH_H

#include "catalog/pg_type_d.h"

#include "attempt.h"
#include "spi.h"

/* Subscriptions (bigint[] of tenants and ids), and when and how they are billed: what a BillingReport is given. */
typedef struct BillingDraftBatch
{
	BillingQuery *make;
	const char *event;
	Datum		tenant_ids;
	Datum		subscription_ids;
	Datum		at;
} BillingDraftBatch;

/*
 * Two queries that lock the tenants of what a function finds, which is given the instant
 * ($1), how many ($2), and behind which tenant and subscription ($3, $4): the first passes over
 * those that others have locked.
 */
#define BILLING_DRAFT_CLAIM(found) \
	{ \
		{ \
			.sql = BILLING_DRAFT_CLAIM_SQL(found) " SKIP LOCKED", \
			.expected = SPI_OK_SELECT, \
			.nargs = 4, \
			.argtypes = {TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID}, \
			.options = CURSOR_OPT_GENERIC_PLAN, \
		}, \
		{ \
			.sql = BILLING_DRAFT_CLAIM_SQL(found), \
			.expected = SPI_OK_SELECT, \
			.nargs = 4, \
			.argtypes = {TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID}, \
			.options = CURSOR_OPT_GENERIC_PLAN, \
		} \
	}

#define BILLING_DRAFT_CLAIM_SQL(found) \
	"SELECT d.tenant_id, d.subscription_id FROM " found " d JOIN billing.tenant t ON t.tenant_id = d.tenant_id" \
	" ORDER BY d.tenant_id, d.subscription_id FOR NO KEY UPDATE OF t"

/* A query that makes the drafts of subscriptions ($1, $2) at an instant ($3), and returns them as two bigint[]. */
#define BILLING_DRAFT_MAKE(text) \
	{ \
		.sql = (text), \
		.expected = SPI_OK_SELECT, \
		.nargs = 3, \
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID}, \
		.options = CURSOR_OPT_GENERIC_PLAN, \
	}

/*
 * What billing.bill_due() does with a batch in one transaction, as a function of (at, batch,
 * wait, after_tenant_id, after_subscription_id): claim, make the drafts, make them final.  Returns
 * the row of how many were claimed, and the last of them.  claim NULL: there are none.  event is
 * told of each subscription that has a draft, which make then returns as a third bigint[]; NULL: nothing is.
 */
extern Datum billing_draft_batch(FunctionCallInfo fcinfo, BillingQuery *claim, BillingQuery *make, const char *event,
								 BillingReport report);

#endif							/* BILLING_DRAFT_BATCH_H */
