/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Events that are old and need not be delivered any more.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/snapmgr.h"

#include "flow.h"
#include "spi.h"

BILLING_FUNCTION(billing_delete_old_events);

static bool lock_old(int32 batch, Datum *events);
static uint64 delete_locked(Datum *events);

/*
 * billing_delete_old_events
 *		Delete up to so many old events, with their deliveries; returns how many there were.
 *
 * One that waits for an endpoint that is enabled stays, however old; so does one that somebody is just
 * asking to be sent again.
 */
Datum
billing_delete_old_events(PG_FUNCTION_ARGS)
{
	Datum		events[2];
	uint64		count = 0;

	billing_flow_require(fcinfo, 0, "batch");
	if (PG_GETARG_INT32(0) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch is %d", PG_GETARG_INT32(0)),
				 errdetail("argument=batch value=%d", PG_GETARG_INT32(0)),
				 errhint("Give how many events to delete at most.")));
	billing_flow_check_caller(0);
	billing_spi_begin();
	if (lock_old(PG_GETARG_INT32(0), events))
		count = delete_locked(events);
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/* The tenants and ids of events that may go, the oldest first; false: there is none. */
static bool
lock_old(int32 batch, Datum *events)
{
	static BillingQuery query = {
		.sql = "SELECT array_agg(o.tenant_id), array_agg(o.event_id) FROM (SELECT e.tenant_id, e.event_id FROM billing.event e"
		"   WHERE e.created_at < billing.now() - billing.effective_setting('event_retention_days')::integer * interval '1 day'"
		"     AND NOT EXISTS (SELECT FROM billing.webhook_delivery d JOIN billing.webhook_endpoint p ON p.endpoint_id = d.endpoint_id"
		"       WHERE d.tenant_id = e.tenant_id AND d.event_id = e.event_id AND d.next_attempt_at IS NOT NULL AND p.is_enabled)"
		"   ORDER BY e.created_at LIMIT $1 FOR UPDATE OF e SKIP LOCKED) o",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	Datum		args[] = {Int32GetDatum(batch)};

	(void) billing_spi_run(&query, args, NULL);
	events[0] = billing_spi_copy(0, 1, CurrentMemoryContext);
	events[1] = billing_spi_copy(0, 2, CurrentMemoryContext);
	return events[0] != (Datum) 0;
}

/*
 * delete_locked
 *		Delete those of them that wait for nobody now that nobody else can ask for them.
 *
 * Who asked between the first statement's snapshot and its lock is seen by the latest one alone, whatever
 * the isolation.
 */
static uint64
delete_locked(Datum *events)
{
	static BillingQuery query = {
		.sql = "WITH old AS (SELECT o.tenant_id, o.event_id FROM unnest($1, $2) o (tenant_id, event_id)"
		"   WHERE NOT EXISTS (SELECT FROM billing.webhook_delivery d JOIN billing.webhook_endpoint p ON p.endpoint_id = d.endpoint_id"
		"       WHERE d.tenant_id = o.tenant_id AND d.event_id = o.event_id AND d.next_attempt_at IS NOT NULL AND p.is_enabled)"
		" ), deliveries AS (DELETE FROM billing.webhook_delivery d USING old o"
		"   WHERE d.tenant_id = o.tenant_id AND d.event_id = o.event_id)"
		" DELETE FROM billing.event e USING old o WHERE e.tenant_id = o.tenant_id AND e.event_id = o.event_id",
		.expected = SPI_OK_DELETE,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
	};
	uint64		count;

	PushActiveSnapshot(GetLatestSnapshot());
	count = billing_spi_run_snapshot(&query, events, NULL);
	PopActiveSnapshot();
	return count;
}
