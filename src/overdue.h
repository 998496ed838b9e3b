/*-------------------------------------------------------------------------
 *
 * overdue.h
 *	  Money that does not come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_OVERDUE_H
#define BILLING_OVERDUE_H

#include "flow.h"

/*
 * Let the subscriptions of the flow's tenant go on that owe nothing overdue any more, and
 * thaw the tenant if it was frozen for that.  Each flow that may have settled an invoice calls
 * it once, after all else; the tenant is locked, SPI connected.
 */
extern void billing_overdue_settle(BillingFlow *flow);

/* Of locked tenants (a bigint[]): mark what is past due; returns how many subscriptions that were not. */
extern int64 billing_overdue_mark(Datum tenant_ids);

/* Suspend a subscription that is to be, or end one that is suspended. */
extern void billing_overdue_enforce(BillingFlow *flow, int64 subscription_id);

/* Freeze the tenant for what its ended subscriptions owe, once; whether there was something. */
extern bool billing_overdue_freeze(BillingFlow *flow);

#endif							/* BILLING_OVERDUE_H */
