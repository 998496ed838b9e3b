/*-------------------------------------------------------------------------
 *
 * grant.h
 *	  What becomes of granted credit as time passes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GRANT_H
#define BILLING_GRANT_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/* One grant; amounts are minor units. */
typedef struct BillingGrantState
{
	int64		amount;			/* what is granted each time */
	int64		balance;
	TimestampTz effective_at;
	TimestampTz expires_at;		/* DT_NOEND: never */
	TimestampTz renews_at;		/* of money: when it begins to count; DT_NOEND: not again */
	Interval	recurrence;		/* where it is renewed */
	int64		rollover_min;
	int64		rollover_max;
	int32		renewals;
	bool		is_paid;
	int64		settles;		/* of money that begins to count: so much of an overdraft */
} BillingGrantState;

/* Told of each change: wallet_entry's kind, when, and by how much. */
typedef void (*BillingGrantStep) (void *to, const char *kind, TimestampTz at, int64 units);

/* When it is renewed first, or again: DT_NOEND if it has expired by then. */
extern TimestampTz billing_grant_renewal(const BillingGrantState *state, pg_tz *zone);

/*
 * Let a grant begin to count, renew and expire up to an instant, that one included: at each renewal what is left
 * rolls over, within its bounds, and the amount is granted again.  YB003 beyond the range of amounts.
 */
extern void billing_grant_advance(BillingGrantState *state, TimestampTz until, pg_tz *zone,
								  BillingGrantStep step, void *to);

#endif							/* BILLING_GRANT_H */
