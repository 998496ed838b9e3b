/*-------------------------------------------------------------------------
 *
 * limit.h
 *	  Limits as a plan, or an override, states them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_LIMIT_H
#define BILLING_LIMIT_H

#include "utils/jsonb.h"

/* How much of a meter may be used, in what time, and what happens beyond. */
typedef struct BillingLimit
{
	char	   *meter;			/* NULL: not stated */
	char	   *per;			/* NULL: not stated */
	char	   *kind;			/* NULL: not stated */
	Datum		quantity;		/* numeric, never negative */
	bool		is_unlimited;
	bool		is_per_unit;	/* times the quantity of the subscription */
} BillingLimit;

/*
 * Read an object {meter, limit, per, kind, per_unit}; 22023 for anything else, for one
 * without a meter if that is required, and for one with it if it is not.
 */
extern void billing_limit_read(JsonbContainer *object, bool has_meter, BillingLimit *limit);

/* The same of a number alone. */
extern void billing_limit_read_number(Datum number, BillingLimit *limit);

#endif							/* BILLING_LIMIT_H */
