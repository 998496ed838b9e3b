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

#endif							/* BILLING_OVERDUE_H */
