/*-------------------------------------------------------------------------
 *
 * proration.h
 *	  What a part of a period costs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PRORATION_H
#define BILLING_PRORATION_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/* By what a period is divided. */
typedef enum BillingBasis
{
	BILLING_BASIS_SECOND,		/* elapsed time, to the microsecond */
	BILLING_BASIS_DAY,			/* calendar days of a time zone */
	BILLING_BASIS_NONE			/* not at all: any part costs the whole */
} BillingBasis;

/* An instant up to another, neither of them infinite: [start, end). */
typedef struct BillingSpan
{
	TimestampTz start;
	TimestampTz end;
} BillingSpan;

/* The basis of that name; 22023 if there is none. */
extern BillingBasis billing_proration_find_basis(const text *name);

/*
 * The share of units, the price of the whole, that falls to part.  The whole
 * must not be empty; an empty part costs nothing.
 */
extern int64 billing_proration_share(int64 units, BillingSpan whole, BillingSpan part,
									 BillingBasis basis, pg_tz *zone);

#endif							/* BILLING_PRORATION_H */
