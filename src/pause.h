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
 * Let a subscription rest from at on, in state status (paused or suspended): what it owes up
 * to there is billed, nothing falls due any more.
 */
extern void billing_pause_begin(BillingFlow *flow, const BillingSubscription *s, const char *status, TimestampTz at);

/*
 * Let it go on from at on, active; was_credited: what was charged for the time it rested was
 * taken back, and so is charged again.
 */
extern void billing_pause_end(BillingFlow *flow, const BillingSubscription *s, TimestampTz at, bool was_credited);

#endif							/* BILLING_PAUSE_H */
