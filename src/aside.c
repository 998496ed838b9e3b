/*-------------------------------------------------------------------------
 *
 * aside.c
 *	  What could not be done for one, so that the others go on.
 *
 * A job that works on many goes on without those that it fails for (attempt.c).  Here it is kept which these
 * are, and why; who is billed by jobs is tried again ever later, so that many that fail cost
 * the others nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "aside.h"
#include "clock.h"
#include "spi.h"

BILLING_FUNCTION(billing_clear_aside);

#define RETRY_SECONDS 60
#define RETRY_MAX_SECONDS (6 * 3600)

void
billing_aside_note(const char *job, const char *object, int64 tenant_id, int64 object_id, const ErrorData *error)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.set_aside AS a (tenant_id, job, object, object_id, sqlstate, error, failures, first_at, last_at, retry_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, 1, $9, $9, billing.now() + $7)"
		" ON CONFLICT (tenant_id, job, object, object_id) DO UPDATE SET sqlstate = excluded.sqlstate, error = excluded.error,"
		"   failures = a.failures + 1, last_at = excluded.last_at,"
		"   retry_at = billing.now() + least($7 * power(2::numeric, least(a.failures, 20))::integer, $8)",
		.expected = SPI_OK_INSERT,
		.nargs = 9,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID},
	};
	Interval	retry = {.time = RETRY_SECONDS * USECS_PER_SEC};
	Interval	retry_max = {.time = RETRY_MAX_SECONDS * USECS_PER_SEC};
	Datum		args[] = {
		Int64GetDatum(tenant_id), CStringGetTextDatum(job), CStringGetTextDatum(object), Int64GetDatum(object_id),
		CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)), CStringGetTextDatum(error->message),
		IntervalPGetDatum(&retry), IntervalPGetDatum(&retry_max), TimestampTzGetDatum(billing_clock_real())
	};

	(void) billing_spi_run(&query, args, NULL);
}

void
billing_aside_clear(const char *job, TimestampTz started_at, bool spared)
{
	static BillingQuery query = {
		.sql = "SELECT billing.clear_aside($1, $2, $3)",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {TEXTOID, TIMESTAMPTZOID, BOOLOID},
	};
	Datum		args[] = {CStringGetTextDatum(job), TimestampTzGetDatum(started_at), BoolGetDatum(spared)};

	(void) billing_spi_run(&query, args, NULL);
}

void
billing_aside_done(const char *job, Datum tenant_ids, Datum failed)
{
	static BillingQuery query = {
		.sql = "DELETE FROM billing.set_aside a WHERE a.tenant_id = ANY ($2) AND NOT a.tenant_id = ANY ($3) AND a.job = $1",
		.expected = SPI_OK_DELETE,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8ARRAYOID, INT8ARRAYOID},
	};
	Datum		args[] = {CStringGetTextDatum(job), tenant_ids, failed};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_clear_aside
 *		Whatever a whole run did not fail on again is done, or is not to be done any more.
 */
Datum
billing_clear_aside(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "DELETE FROM billing.set_aside a WHERE a.job = $1 AND a.last_at < $2"
		" AND NOT ($3 AND a.object = 'subscription' AND a.retry_at > billing.now())",
		.expected = SPI_OK_DELETE,
		.nargs = 3,
		.argtypes = {TEXTOID, TIMESTAMPTZOID, BOOLOID},
	};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	uint64		count;

	billing_spi_begin();
	count = billing_spi_run(&query, args, NULL);
	billing_spi_end();
	PG_RETURN_INT64(count);
}
