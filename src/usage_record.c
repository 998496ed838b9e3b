/*-------------------------------------------------------------------------
 *
 * usage_record.c
 *	  Record one usage event, exactly once.
 *
 * The event's id is its natural key, so that no request_id is needed and no lock
 * but that of the new key is taken: recorders of one tenant never wait for each
 * other, unless it has a spend_limit, nor for billing.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "flow.h"
#include "spend.h"
#include "usage.h"

BILLING_FUNCTION(billing_record_usage);

/* The arguments of record_usage. */
enum
{
	ARG_TENANT_ID, ARG_METER, ARG_QUANTITY, ARG_EVENT_ID, ARG_AT, ARG_PROPERTIES, ARG_SUBSCRIPTION_ID,
	ARG_COUNT
};

/* What there is to an event: the tenant, the meter, and perhaps the event itself. */
typedef struct Known
{
	bool		is_seen;
	char	   *differs;		/* the first column in which it does; NULL: none */
	TimestampTz frozen_at;		/* DT_NOEND: it is not */
	TimestampTz closed_at;
	bool		has_meter;
	int64		subscriptions;	/* that are stated, else that price the meter */
	char	   *spend_limit;	/* the setting; NULL: none */
} Known;

static void check_arguments(FunctionCallInfo fcinfo);
static TimestampTz get_at(FunctionCallInfo fcinfo);
static void read_known(FunctionCallInfo fcinfo, Known *known, uint64 (*run) (BillingQuery *, Datum *, const char *));
static TimestampTz read_instant(int column);
static void check_same(FunctionCallInfo fcinfo, const Known *known);
static void check_known(FunctionCallInfo fcinfo, const Known *known, TimestampTz at);
static bool record_event(FunctionCallInfo fcinfo, const Known *known, TimestampTz at);
static bool insert_event(FunctionCallInfo fcinfo, TimestampTz at);
static void set_argument(FunctionCallInfo fcinfo, int arg, Datum *args, char *nulls);

/*
 * billing_record_usage
 *		Record an event.  True: it is new; false: it was recorded before.
 *
 * A retry that does not say when it happened is the same event: at is compared
 * only if it is stated.  What was recorded is true for ever, so a retry succeeds
 * also after the tenant was frozen.
 */
Datum
billing_record_usage(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Known		known;
	TimestampTz at;
	bool		is_new = false;

	check_arguments(fcinfo);
	at = get_at(fcinfo);
	billing_flow_open(&flow, fcinfo, "record_usage", BILLING_NO_REQUEST);
	read_known(fcinfo, &known, billing_spi_run);
	if (!known.is_seen)
	{
		check_known(fcinfo, &known, at);
		is_new = record_event(fcinfo, &known, at);
		if (!is_new)
			read_known(fcinfo, &known, billing_spi_run);
	}
	if (!is_new)
		check_same(fcinfo, &known);
	billing_spi_end();
	PG_RETURN_BOOL(is_new);
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, ARG_TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, ARG_METER, "meter");
	billing_flow_require(fcinfo, ARG_QUANTITY, "quantity");
	if (PG_ARGISNULL(ARG_EVENT_ID))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "event_id"),
				 errdetail("argument=%s", "event_id"),
				 errhint("Give each event an id of its own, and a retry the same: it is what makes usage count once.")));
	billing_usage_check_event_id(PG_GETARG_TEXT_PP(ARG_EVENT_ID));
	billing_usage_check_quantity(PG_GETARG_NUMERIC(ARG_QUANTITY));
}

/* When it happened: the present unless stated. */
static TimestampTz
get_at(FunctionCallInfo fcinfo)
{
	TimestampTz now = billing_clock_now();
	TimestampTz at = PG_ARGISNULL(ARG_AT) ? now : PG_GETARG_TIMESTAMPTZ(ARG_AT);

	billing_usage_check_at(at, now);
	return at;
}

/*
 * read_known
 *		Look up all that decides on an event, by keys alone; by run, which says under which snapshot.
 */
static void
read_known(FunctionCallInfo fcinfo, Known *known, uint64 (*run) (BillingQuery *, Datum *, const char *))
{
	static BillingQuery query = {
		.sql = "SELECT e.event_id IS NOT NULL,"
		"    CASE WHEN e.meter <> $2 THEN 'meter' WHEN e.quantity <> $3 THEN 'quantity' WHEN e.at <> $5 THEN 'at'"
		"      WHEN e.properties IS DISTINCT FROM $6 THEN 'properties'"
		"      WHEN e.subscription_id IS DISTINCT FROM $7 THEN 'subscription_id' END,"
		"    CASE WHEN t.status = 'frozen' THEN t.frozen_at END, t.closed_at,"
		"    EXISTS (SELECT FROM billing.meter m WHERE m.code = $2),"
		"    CASE WHEN $7 IS NOT NULL THEN"
		"      (SELECT count(*) FROM billing.subscription s WHERE s.tenant_id = $1 AND s.subscription_id = $7)"
		"    ELSE"
		"      (SELECT count(*) FROM billing.subscription s"
		"        WHERE s.tenant_id = $1 AND s.ended_at IS NULL AND s.status <> 'pending'"
		"          AND EXISTS (SELECT FROM billing.price p WHERE p.plan_id = s.plan_id AND p.meter = $2))"
		"    END,"
		"    nullif(t.settings ->> 'spend_limit', 'none')"
		"  FROM billing.tenant t"
		"  LEFT JOIN billing.usage_event e ON e.tenant_id = t.tenant_id AND e.event_id = $4"
		"  WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = ARG_COUNT,
		.argtypes = {INT8OID, TEXTOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID, JSONBOID, INT8OID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[ARG_COUNT];
	char		nulls[ARG_COUNT + 1] = {0};
	bool		isnull;
	Datum		differs;
	Datum		spend_limit;

	for (int i = 0; i < ARG_COUNT; i++)
		set_argument(fcinfo, i, args, nulls);
	if (run(&query, args, nulls) == 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(ARG_TENANT_ID), NULL);

	known->is_seen = DatumGetBool(billing_spi_value(0, 1, &isnull));
	differs = billing_spi_value(0, 2, &isnull);
	known->differs = isnull ? NULL : TextDatumGetCString(differs);
	known->frozen_at = read_instant(3);
	known->closed_at = read_instant(4);
	known->has_meter = DatumGetBool(billing_spi_value(0, 5, &isnull));
	known->subscriptions = DatumGetInt64(billing_spi_value(0, 6, &isnull));
	spend_limit = billing_spi_value(0, 7, &isnull);
	known->spend_limit = isnull ? NULL : TextDatumGetCString(spend_limit);
}

static TimestampTz
read_instant(int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(0, column, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

static void
check_same(FunctionCallInfo fcinfo, const Known *known)
{
	const char *event_id = TextDatumGetCString(PG_GETARG_DATUM(ARG_EVENT_ID));

	if (known->differs == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_KEY_REUSED),
			 errmsg("usage event \"%s\" of tenant %lld was recorded with another %s", event_id,
					(long long) PG_GETARG_INT64(ARG_TENANT_ID), known->differs),
			 errdetail("tenant_id=%lld event_id=%s differs=%s", (long long) PG_GETARG_INT64(ARG_TENANT_ID),
					   event_id, known->differs),
			 errhint("Give every event its own id; to correct one, use billing.correct_usage().")));
}

static void
check_known(FunctionCallInfo fcinfo, const Known *known, TimestampTz at)
{
	int64		tenant_id = PG_GETARG_INT64(ARG_TENANT_ID);
	const char *meter = TextDatumGetCString(PG_GETARG_DATUM(ARG_METER));

	if (!known->has_meter)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("meter \"%s\" does not exist", meter),
				 errdetail("object=meter id=%s", meter),
				 errhint("Insert it into billing.meter, or read there which there are.")));
	if (!PG_ARGISNULL(ARG_SUBSCRIPTION_ID) && known->subscriptions == 0)
		billing_flow_not_found("subscription", tenant_id,
							   psprintf("%lld", (long long) PG_GETARG_INT64(ARG_SUBSCRIPTION_ID)));
	if (PG_ARGISNULL(ARG_SUBSCRIPTION_ID) && known->subscriptions > 1)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_AMBIGUOUS_SUBSCRIPTION),
				 errmsg("%lld subscriptions of tenant %lld price meter \"%s\"", (long long) known->subscriptions,
						(long long) tenant_id, meter),
				 errdetail("tenant_id=%lld meter=%s subscriptions=%lld", (long long) tenant_id, meter,
						   (long long) known->subscriptions),
				 errhint("State the subscription_id whose usage it is.")));
	billing_usage_check_served(tenant_id, at, known->closed_at, known->frozen_at);
}

/*
 * record_event
 *		Write the event, unless it would cost the tenant more than it lets it.
 *
 * Whoever waited here reads once more: the limit may be another now, and the tenant frozen or closed.
 */
static bool
record_event(FunctionCallInfo fcinfo, const Known *known, TimestampTz at)
{
	BillingSpend spend = {.tenant_id = PG_GETARG_INT64(ARG_TENANT_ID), .at = at};
	Known		again;
	bool		is_new;

	if (known->spend_limit == NULL)
		return insert_event(fcinfo, at);

	billing_spend_begin(&spend);
	PushActiveSnapshot(spend.before);
	read_known(fcinfo, &again, billing_spi_run_snapshot);
	PopActiveSnapshot();
	if (!again.is_seen)
		check_known(fcinfo, &again, at);
	spend.limit = again.spend_limit;
	is_new = insert_event(fcinfo, at);
	billing_spend_end(&spend, is_new);
	return is_new;
}

static bool
insert_event(FunctionCallInfo fcinfo, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.usage_event (tenant_id, meter, quantity, event_id, at, properties, subscription_id)"
		"  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = ARG_COUNT,
		.argtypes = {INT8OID, TEXTOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID, JSONBOID, INT8OID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[ARG_COUNT];
	char		nulls[ARG_COUNT + 1] = {0};

	for (int i = 0; i < ARG_COUNT; i++)
		set_argument(fcinfo, i, args, nulls);
	args[ARG_AT] = TimestampTzGetDatum(at);
	nulls[ARG_AT] = ' ';
	return billing_spi_run(&query, args, nulls) > 0;
}

static void
set_argument(FunctionCallInfo fcinfo, int arg, Datum *args, char *nulls)
{
	args[arg] = PG_GETARG_DATUM(arg);
	nulls[arg] = PG_ARGISNULL(arg) ? 'n' : ' ';
}
