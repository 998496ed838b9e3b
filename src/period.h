/*-------------------------------------------------------------------------
 *
 * period.h
 *	  Where billing periods begin and end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PERIOD_H
#define BILLING_PERIOD_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/*
 * The n-th period of an anchor and a cycle: [start, end), where period 0 starts
 * at the anchor and those before it count down from -1.  Counting microseconds
 * over the whole range of timestamps takes more than 63 bits.
 */
typedef struct BillingPeriod
{
	int128		n;
	TimestampTz start;
	TimestampTz end;
} BillingPeriod;

/* The time zone of that IANA name; 22023 if there is none. */
extern pg_tz *billing_period_find_zone(const text *name);

/* 22023 unless cycle is positive and none of its fields is negative. */
extern void billing_period_check_cycle(const Interval *cycle);

/* Where period n starts and period n - 1 ends; 22008 beyond the range of timestamps. */
extern TimestampTz billing_period_boundary(TimestampTz anchor, const Interval *cycle,
										   int64 n, pg_tz *zone);

/* The period with start <= at < end, never an empty one. */
extern BillingPeriod billing_period_containing(TimestampTz anchor, const Interval *cycle,
											   TimestampTz at, pg_tz *zone);

/* Do whole divisors fill a cycle, whatever the length of months and days? */
extern bool billing_period_cycle_divides(const Interval *divisor, const Interval *cycle);

/* The Julian number of the calendar day that instant lies in; grows with instant. */
extern int	billing_period_local_day(TimestampTz instant, pg_tz *zone);

#endif							/* BILLING_PERIOD_H */
