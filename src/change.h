/*-------------------------------------------------------------------------
 *
 * change.h
 *	  Changes of plan and quantity that were put off to the end of a period.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CHANGE_H
#define BILLING_CHANGE_H

#include "datatype/timestamp.h"

#include "subscription.h"

/* 22023 unless function was given an effective and a proration that there are. */
extern void billing_change_check(const char *function, const char *effective, const char *proration);

/*
 * Read a subscription of a flow that is to be changed, and let it catch up; YB004 if its
 * state allows no change, YB010 for a frozen tenant.  before is what it was.
 */
extern void billing_change_begin(BillingFlow *flow, int64 subscription_id, BillingSubscription *s, Datum *before);

/* Change it to a plan and a quantity, as billing.change_plan does; returns its row. */
extern Datum billing_change_to(BillingFlow *flow, const BillingSubscription *s, Datum before, int64 plan_id, int32 quantity,
							   const char *effective, const char *proration);

/*
 * Change those of what was claimed (a store of that name is shown) whose period ends at
 * their boundary, which is at or before at, and whose change waits for that.
 */
extern void billing_change_apply_next(TimestampTz at);

#endif							/* BILLING_CHANGE_H */
