/*-------------------------------------------------------------------------
 *
 * draw.h
 *	  What drafts that become final draw of their tenants' credit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DRAW_H
#define BILLING_DRAW_H

#include "draft.h"

/*
 * Let the open ones of some invoices draw what there is of credit, under the active snapshot.
 * None of a tenant whose counter says that it has none is looked at.
 */
extern void billing_draw(BillingDrafts drafts, TimestampTz at);

#endif							/* BILLING_DRAW_H */
