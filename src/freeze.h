/*-------------------------------------------------------------------------
 *
 * freeze.h
 *	  Tenants that may use nothing for a while.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_FREEZE_H
#define BILLING_FREEZE_H

#include "flow.h"

/*
 * Make the flow's tenant frozen or active, for a reason (text; (Datum) 0: none stated), and
 * return its row: as it is, if it is so already; YB004 if it is closed.  is_unpaid: it is frozen
 * because it did not pay.  Somebody who freezes one that is takes it over: no payment
 * thaws it any more.
 */
extern Datum billing_freeze_set(BillingFlow *flow, const char *to, Datum reason, bool is_unpaid);

/* Freeze those of locked tenants (a bigint[]) that are active, since they did not pay; flow_name as audit_log names it. */
extern void billing_freeze_unpaid(const char *flow_name, Datum tenant_ids);

#endif							/* BILLING_FREEZE_H */
