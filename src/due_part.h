/*-------------------------------------------------------------------------
 *
 * due_part.h
 *	  What a subscription owes beside its ordinary boundary.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DUE_PART_H
#define BILLING_DUE_PART_H

#include "datatype/timestamp.h"

#include "flow.h"

/* What begins at the instant of a change. */
typedef enum BillingPartBegins
{
	BILLING_BEGINS_NOTHING,		/* that is billed before the period ends */
	BILLING_BEGINS_REST,		/* the rest of the period that runs */
	BILLING_BEGINS_ANEW			/* a first period, counted from there */
} BillingPartBegins;

/*
 * Note what a change of subscriptions (bigint[], and their tenants in parallel) to plan_id (0: none, nor of the
 * quantity) at at ends and begins.  Call it before their rows are changed; tenants locked, SPI connected, as for
 * all of these.
 */
extern void billing_part_write(Datum tenant_ids, Datum subscription_ids, TimestampTz at, int64 plan_id, int32 quantity,
							   BillingPartBegins begins);

/*
 * The same of a subscription that is resumed; was_credited: what was charged for the time
 * paused was, and so is to be charged again.
 */
extern void billing_part_resume(int64 tenant_id, int64 subscription_id, TimestampTz at, bool was_credited);

/*
 * Take back what was billed, or waits to be, in advance for the time from at on: parts and
 * drafts are cut there, of final invoices it becomes credit notes.
 */
extern void billing_part_take_back(BillingFlow *flow, int64 subscription_id, TimestampTz at, const char *reason);

/* Bill at once what waits, by an invoice of kind change for each, whose boundary is at. */
extern void billing_part_bill(Datum tenant_ids, Datum subscription_ids, TimestampTz at);

#endif							/* BILLING_DUE_PART_H */
