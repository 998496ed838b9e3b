/*-------------------------------------------------------------------------
 *
 * usage.h
 *	  What tenants used, summed up so that totals stay cheap.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_USAGE_H
#define BILLING_USAGE_H

#include "datatype/timestamp.h"
#include "utils/numeric.h"

/* Above this an event's id does not fit its key. */
#define BILLING_EVENT_ID_MAX	255

/* How far ahead of the present an event may have happened. */
#define BILLING_AHEAD_HOURS		24

/*
 * Raise 22023 or 22003 for what no event can have: the conditions of record_usage,
 * and of the CHECK of billing.usage_event.
 */
extern void billing_usage_check_event_id(const text * event_id);
extern void billing_usage_check_quantity(Numeric quantity);
extern void billing_usage_check_at(TimestampTz at, TimestampTz recorded_at);

/* YB004 or YB010 for what was used once the tenant was closed, or frozen; DT_NOEND: it is not. */
extern void billing_usage_check_served(int64 tenant_id, TimestampTz at, TimestampTz closed_at, TimestampTz frozen_at);

/*
 * Bring what the active snapshot shows of the tenants' events (a bigint[]; ids may
 * repeat) into the rollup, and note those that came after their period was billed.
 * The caller has pushed the snapshot after it locked the tenants, is connected to
 * SPI, and reads totals under the same snapshot: then they are whole without a tail.
 */
extern void billing_usage_compact(Datum tenant_ids);

/* The same of every tenant that has events in no rollup, batch tenants at a time, as it is under way. */
typedef struct BillingCompaction
{
	int			batch;
	bool		atomic;			/* nothing is committed between */
	MemoryContext context;		/* outlives the steps */
	bool		is_begun;		/* what follows is filled in; zeros before */
	Datum		tenant_ids;
	Datum		snapshot;
	int			done;
	bool		has_failed;
} BillingCompaction;

/*
 * Do the next step; false if it was the last.  The caller commits after each unless atomic, is connected to SPI and
 * holds no lock of a tenant.
 */
extern bool billing_usage_compact_step(BillingCompaction *compaction);

#endif							/* BILLING_USAGE_H */
