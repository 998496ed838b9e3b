/*-------------------------------------------------------------------------
 *
 * draft.h
 *	  Drafts: calculated again, and made final, a set at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DRAFT_H
#define BILLING_DRAFT_H

#include "flow.h"

/* Parallel arrays (bigint[]) of tenants and invoices; the tenants are locked, SPI is connected. */
typedef struct BillingDrafts
{
	Datum		tenant_ids;
	Datum		invoice_ids;
} BillingDrafts;

extern BillingDrafts billing_draft_make(int64 tenant_id, int64 invoice_id);

/* Write the lines and totals of subscriptions' drafts anew, from their sources. */
extern void billing_draft_recalculate(BillingDrafts drafts);

/*
 * Make drafts final: number, dates, parties, links of the chain, ledger.  Those
 * without a line stay drafts.
 */
extern void billing_draft_finalize(BillingDrafts drafts, TimestampTz at);

/* Let drafts state what their lines amount to, and the taxes on them; the caller holds the rates. */
extern void billing_draft_compose(BillingDrafts drafts);

/* Of the drafts those that setting finalize_after makes final at once. */
extern BillingDrafts billing_draft_find_ready(BillingDrafts drafts);

/* See to it that tenants (bigint[]) have a counter; under the active snapshot. */
extern void billing_draft_add_counters(Datum tenant_ids);

/* Keep what drafts are calculated from as they stand. */
extern void billing_draft_log(BillingDrafts drafts);

/*
 * Bill the boundary of a voided invoice again, under the next revision of its key;
 * returns the row in the flow's memory.
 */
extern Datum billing_draft_reissue(BillingFlow *flow, int64 invoice_id);

#endif							/* BILLING_DRAFT_H */
