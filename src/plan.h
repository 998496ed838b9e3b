/*-------------------------------------------------------------------------
 *
 * plan.h
 *	  Versions of plans: which one a name means, and that one is in use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PLAN_H
#define BILLING_PLAN_H

#include "datatype/timestamp.h"

/*
 * The id of the latest active version of plan code, of that cycle and currency.
 * cycle NULL: the only one it has; a zero interval: a lifetime.  YB001: no such plan,
 * or none of that cycle; YB004: it is retired; YB002: not in that currency; 22023: it
 * has several cycles.
 * Call it with SPI connected.
 */
extern int64 billing_plan_find(const char *code, const Interval *cycle, const char *currency);

/*
 * Mark a version as used: from now on neither it nor its prices change.  Call it
 * with SPI connected, before the first subscription of the plan is written.
 */
extern void billing_plan_mark_used(int64 plan_id);

#endif							/* BILLING_PLAN_H */
