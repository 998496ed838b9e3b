/*-------------------------------------------------------------------------
 *
 * pause.h
 *	  A subscription that rests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PAUSE_H
#define BILLING_PAUSE_H

#include "subscription.h"

/*
 * Let subscriptions (bigint[], and their tenants in parallel) rest from at on, in state status (paused or suspended):
 * what they owe up to there is billed, nothing falls due any more.
 */
extern void billing_pause_begin(Datum tenant_ids, Datum subscription_ids, const char *status, TimestampTz at);

/*
 * Let it go on from at on, active; was_credited: what was charged for the time it rested was
 * taken back, and so is charged again.
 */
extern void billing_pause_end(const BillingSubscription *s, TimestampTz at, bool was_credited);

#endif							/* BILLING_PAUSE_H */
