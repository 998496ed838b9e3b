/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  What time it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CLOCK_H
#define BILLING_CLOCK_H

#include "datatype/timestamp.h"
#include "utils/guc.h"

/* Of billing_clock_ticks(), where nothing is to be waited for. */
#define BILLING_TICKS_NEVER PG_INT64_MAX

extern TimestampTz billing_clock_now(void);
extern int64 billing_clock_ticks(void);
extern int64 billing_clock_ticks_at(TimestampTz instant);
extern TimestampTz billing_clock_real(void);
extern int64 billing_clock_unix(TimestampTz at);
extern bool billing_clock_check(char **newval, void **extra, GucSource source);
extern void billing_clock_assign(const char *newval, void *extra);

#endif							/* BILLING_CLOCK_H */
