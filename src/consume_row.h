/*-------------------------------------------------------------------------
 *
 * consume_row.h
 *	  Credit used, in the ordinary case, without a statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CONSUME_ROW_H
#define BILLING_CONSUME_ROW_H

#include "datatype/timestamp.h"

#include "amount.h"

/* What consume() is asked for, of a caller who may ask. */
typedef struct BillingConsumed
{
	int64		tenant_id;
	const BillingAmount *amount;
	TimestampTz at;
	NullableDatum consume_no;
	NullableDatum reason;
	int64		left;			/* behind it, in all: minor units */
} BillingConsumed;

/*
 * Take all of it from the grant that is used first.  False if nothing was done: there is more to
 * it, or it may only be done by statements.
 */
extern bool billing_consume_row(BillingConsumed *consumed);

#endif							/* BILLING_CONSUME_ROW_H */
