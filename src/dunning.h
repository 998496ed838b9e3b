/*-------------------------------------------------------------------------
 *
 * dunning.h
 *	  What follows, by the clock, where money does not come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DUNNING_H
#define BILLING_DUNNING_H

#include "flow.h"

/* Take the steps that are due of the flow's tenant; what cannot be done is raised. */
extern void billing_dunning_catch_up(BillingFlow *flow);

/*
 * Let the next look find what is not paid of a subscription, or (0) of the whole tenant: something changed that
 * the time of the next step hangs on.  The caller holds the tenant's lock.
 */
extern void billing_dunning_wake(int64 tenant_id, int64 subscription_id);

/* Nothing overdue is left of a subscription, and it could not go on: it is tried again in an hour. */
extern void billing_dunning_postpone(int64 tenant_id, int64 subscription_id);

/*
 * Let the next look find those of some subscriptions (bigint[], and their tenants in parallel) that wait for their
 * first payment: they lapse before their invoice is due, or where that is void.
 */
extern void billing_dunning_watch(Datum tenant_ids, Datum subscription_ids);

/* A person thaws the tenant: for what it owes by now the clock does not freeze it again. */
extern void billing_dunning_forgive(int64 tenant_id);

#endif							/* BILLING_DUNNING_H */
