/*-------------------------------------------------------------------------
 *
 * gateway_retention.c
 *	  What gateways told and were asked long ago.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "flow.h"

BILLING_FUNCTION(billing_delete_old_gateway_events);

/* Of certificates that callbacks have named, and that were never to be had. */
#define UNHEARD_DAYS	7

/*
 * billing_delete_old_gateway_events
 *		Delete up to so many of each that are old; returns how many.
 *
 * What could not be verified is kept for a week, as is the name of a certificate that nobody has: anybody can send as much of it as
 * he likes.
 */
Datum
billing_delete_old_gateway_events(PG_FUNCTION_ARGS)
{
	static BillingQuery events = {
		.sql = "WITH old AS (SELECT e.tenant_id, e.gateway_event_id FROM billing.gateway_event e"
		"   WHERE e.received_at < billing.now() - billing.effective_setting('gateway_retention_days')::integer * interval '1 day'"
		"      OR e.event_id IS NULL AND e.received_at < billing.now() - interval '7 days'"
		"   LIMIT $1 FOR UPDATE SKIP LOCKED)"
		" DELETE FROM billing.gateway_event e USING old o WHERE e.tenant_id = o.tenant_id AND e.gateway_event_id = o.gateway_event_id",
		.expected = SPI_OK_DELETE,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	static BillingQuery requests = {
		.sql = "WITH old AS (SELECT q.tenant_id, q.gateway_request_id FROM billing.gateway_request q"
		"   WHERE q.finished_at < billing.now() - billing.effective_setting('gateway_retention_days')::integer * interval '1 day'"
		"   LIMIT $1 FOR UPDATE SKIP LOCKED)"
		" DELETE FROM billing.gateway_request q USING old o WHERE q.tenant_id = o.tenant_id AND q.gateway_request_id = o.gateway_request_id",
		.expected = SPI_OK_DELETE,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	static BillingQuery certificates = {
		.sql = "WITH old AS (SELECT c.gateway, c.name FROM billing.gateway_certificate c"
		"   WHERE c.pem IS NULL AND c.next_attempt_at IS NULL AND c.wanted_at < $2 LIMIT $1 FOR UPDATE SKIP LOCKED)"
		" DELETE FROM billing.gateway_certificate c USING old o WHERE c.gateway = o.gateway AND c.name = o.name",
		.expected = SPI_OK_DELETE,
		.nargs = 2,
		.argtypes = {INT4OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {PG_GETARG_DATUM(0), TimestampTzGetDatum(billing_clock_real() - UNHEARD_DAYS * USECS_PER_DAY)};
	uint64		count;

	billing_flow_require_batch(fcinfo, 0, "rows of each table one call deletes at most");
	billing_flow_check_caller(0);
	billing_spi_begin();
	count = billing_spi_run(&events, args, NULL);
	count += billing_spi_run(&requests, args, NULL);
	count += billing_spi_run(&certificates, args, NULL);
	billing_spi_end();
	PG_RETURN_INT64(count);
}
