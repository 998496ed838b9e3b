/*-------------------------------------------------------------------------
 *
 * spend.h
 *	  What a tenant lets its usage cost.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SPEND_H
#define BILLING_SPEND_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/* One event that is to stay within a limit. */
typedef struct BillingSpend
{
	int64		tenant_id;
	TimestampTz at;				/* when it happened: the periods that hold it count */
	const char *limit;			/* an amount, as setting spend_limit states it under that lock; NULL: none any more */
	Snapshot	before;			/* what there was before it */
} BillingSpend;

/* Wait for who records for this tenant before; the caller is connected to SPI, and writes the event then. */
extern void billing_spend_begin(BillingSpend *spend);

/* Behind it: YB009 if what was written makes usage cost more, and more than the limit. */
extern void billing_spend_end(BillingSpend *spend, bool has_written);

#endif							/* BILLING_SPEND_H */
