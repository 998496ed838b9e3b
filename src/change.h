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

/*
 * Change those of what was claimed (a store of that name is shown) whose period ends at
 * their boundary, which is at or before at, and whose change waits for that.
 */
extern void billing_change_apply_next(TimestampTz at);

#endif							/* BILLING_CHANGE_H */
