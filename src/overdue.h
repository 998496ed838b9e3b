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

/*
 * Of locked tenants (bigint[], and their subscriptions in parallel): suspend those that are to be, end those that
 * are suspended; flow_name as audit_log names it.
 */
extern void billing_overdue_enforce(const char *flow_name, Datum tenant_ids, Datum subscription_ids);

/* Freeze locked tenants for what their ended subscriptions owe, once; returns how many there was something for. */
extern int64 billing_overdue_freeze(const char *flow_name, Datum tenant_ids);

#endif							/* BILLING_OVERDUE_H */
