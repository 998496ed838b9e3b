/*-------------------------------------------------------------------------
 *
 * usage_read.c
 *	  How much was used: one quantity of a meter in a period.
 *
 * The readers run with the rights of who asks, under row security; totals come from
 * the rollup, and what no rollup holds from the events (sql/usage.sql).
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "flow.h"

BILLING_FUNCTION(billing_usage);
BILLING_FUNCTION(billing_usage_timezone);

/* The arguments of usage. */
enum
{
	ARG_TENANT_ID, ARG_METER, ARG_PERIOD, ARG_KNOWN_AT, ARG_SUBSCRIPTION_ID, ARG_AGGREGATION
};

/* A half-open period, both ends finite. */
typedef struct UsagePeriod
{
	TimestampTz start;
	TimestampTz end;
} UsagePeriod;

/* What a meter says of a quantity, and where the tenant is. */
typedef struct UsageMeter
{
	char	   *aggregation;
	Datum		property;		/* text */
	bool		has_property;
	Datum		timezone;		/* text, (Datum) 0 if there is no such tenant */
	bool		has_subscription;
} UsageMeter;

static const char *const aggregations[] = {"sum", "count", "max", "latest", "unique_count", "weighted_sum"};

static UsagePeriod get_period(FunctionCallInfo fcinfo, int arg);
static void report_bad_period(const char *problem, const char *hint);
static UsageMeter find_meter(FunctionCallInfo fcinfo);
static Datum copy_text(int column);
static void check_aggregation(const char *aggregation);
static bool is_in_rollup(const char *aggregation, bool is_of_subscription);

/*
 * billing_usage
 *		The quantity of a meter in a period, by the meter's aggregation or another.
 */
Datum
billing_usage(PG_FUNCTION_ARGS)
{
	static BillingQuery total = {
		.sql = "SELECT quantity FROM billing.usage_of_total($1, $2, $3, $4, $5, $6)",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 6,
		.argtypes = {INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static BillingQuery events = {
		.sql = "SELECT quantity FROM billing.usage_of_events($1, $2, $3, $4, $5, $6, $7, $8)",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 8,
		.argtypes = {INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	MemoryContext caller = CurrentMemoryContext;
	UsagePeriod period;
	UsageMeter	meter;
	Datum		args[8];
	char		nulls[9] = "        ";
	Datum		quantity;

	billing_flow_require(fcinfo, ARG_TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, ARG_METER, "meter");
	period = get_period(fcinfo, ARG_PERIOD);
	billing_spi_begin();
	meter = find_meter(fcinfo);
	if (!PG_ARGISNULL(ARG_AGGREGATION))
		meter.aggregation = TextDatumGetCString(PG_GETARG_DATUM(ARG_AGGREGATION));
	check_aggregation(meter.aggregation);

	args[0] = PG_GETARG_DATUM(ARG_TENANT_ID);
	args[1] = PG_GETARG_DATUM(ARG_METER);
	args[2] = PG_GETARG_DATUM(ARG_SUBSCRIPTION_ID);
	nulls[2] = PG_ARGISNULL(ARG_SUBSCRIPTION_ID) ? 'n' : ' ';
	args[3] = TimestampTzGetDatum(period.start);
	args[4] = TimestampTzGetDatum(period.end);
	args[5] = CStringGetTextDatum(meter.aggregation);
	args[6] = meter.property;
	nulls[6] = meter.has_property ? ' ' : 'n';
	args[7] = PG_GETARG_DATUM(ARG_KNOWN_AT);
	nulls[7] = PG_ARGISNULL(ARG_KNOWN_AT) ? 'n' : ' ';
	if (PG_ARGISNULL(ARG_KNOWN_AT) && is_in_rollup(meter.aggregation, !PG_ARGISNULL(ARG_SUBSCRIPTION_ID)))
		billing_spi_run(&total, args, nulls);
	else
		billing_spi_run(&events, args, nulls);
	quantity = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	if (quantity == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(quantity);
}

/*
 * get_period
 *		Take apart a range that must be bounded, half-open and not empty.
 */
static UsagePeriod
get_period(FunctionCallInfo fcinfo, int arg)
{
	UsagePeriod period;
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	billing_flow_require(fcinfo, arg, "period");
	range_deserialize(lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO), PG_GETARG_RANGE_P(arg),
					  &lower, &upper, &empty);
	if (empty)
		report_bad_period("empty", "Give a start and a later end.");
	period.start = DatumGetTimestampTz(lower.val);
	period.end = DatumGetTimestampTz(upper.val);
	if (lower.infinite || upper.infinite || TIMESTAMP_NOT_FINITE(period.start) || TIMESTAMP_NOT_FINITE(period.end))
		report_bad_period("not bounded", "Give it a finite start and end, such as those of a subscription's period.");
	if (!lower.inclusive || upper.inclusive)
		report_bad_period("not half-open", "Build it as tstzrange(start, end), with bounds '[)'.");
	return period;
}

static void
report_bad_period(const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("range \"period\" is %s", problem),
			 errdetail("argument=period"),
			 errhint("%s", hint)));
}

/*
 * find_meter
 *		What there is to arguments 0, 1 and, if there are so many, the subscription:
 *		YB001 if one of them does not exist or is not for the caller to see.
 */
static UsageMeter
find_meter(FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT m.aggregation, m.property, t.timezone, $3 IS NULL OR EXISTS ("
		"      SELECT FROM billing.subscription s WHERE s.tenant_id = $1 AND s.subscription_id = $3)"
		"  FROM billing.meter m LEFT JOIN billing.tenant t ON t.tenant_id = $1"
		"  WHERE m.code = $2",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, INT8OID},
	};
	bool		has_subscription = PG_NARGS() > ARG_SUBSCRIPTION_ID && !PG_ARGISNULL(ARG_SUBSCRIPTION_ID);
	Datum		args[] = {
		PG_GETARG_DATUM(ARG_TENANT_ID), PG_GETARG_DATUM(ARG_METER),
		has_subscription ? PG_GETARG_DATUM(ARG_SUBSCRIPTION_ID) : (Datum) 0
	};
	const char *code = TextDatumGetCString(PG_GETARG_DATUM(ARG_METER));
	UsageMeter	meter;
	bool		isnull;

	if (billing_spi_run(&query, args, has_subscription ? "   " : "  n") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("meter \"%s\" does not exist", code),
				 errdetail("object=meter id=%s", code),
				 errhint("Read the meters there are from billing.meter.")));
	meter.aggregation = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	meter.property = copy_text(2);
	meter.has_property = meter.property != (Datum) 0;
	meter.timezone = copy_text(3);
	meter.has_subscription = DatumGetBool(billing_spi_value(0, 4, &isnull));
	if (meter.timezone == (Datum) 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(ARG_TENANT_ID), NULL);
	if (!meter.has_subscription)
		billing_flow_not_found("subscription", PG_GETARG_INT64(ARG_TENANT_ID),
							   psprintf("%lld", (long long) PG_GETARG_INT64(ARG_SUBSCRIPTION_ID)));
	return meter;
}

static Datum
copy_text(int column)
{
	return billing_spi_copy(0, column, CurrentMemoryContext);
}

static void
check_aggregation(const char *aggregation)
{
	for (int i = 0; i < lengthof(aggregations); i++)
	{
		if (strcmp(aggregation, aggregations[i]) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("aggregation \"%s\" does not exist", aggregation),
			 errdetail("aggregation=%s", aggregation),
			 errhint("Use one of sum, count, max, latest, unique_count, weighted_sum.")));
}

/* The latest event of several parts of a period is not to be had from their totals. */
static bool
is_in_rollup(const char *aggregation, bool is_of_subscription)
{
	return strcmp(aggregation, "sum") == 0 || strcmp(aggregation, "count") == 0 ||
		strcmp(aggregation, "max") == 0 ||
		(strcmp(aggregation, "latest") == 0 && !is_of_subscription);
}

/*
 * billing_usage_timezone
 *		Check (tenant_id, meter, period) as usage does; returns the tenant's zone.
 */
Datum
billing_usage_timezone(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		timezone;

	billing_flow_require(fcinfo, ARG_TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, ARG_METER, "meter");
	(void) get_period(fcinfo, ARG_PERIOD);
	billing_spi_begin();
	(void) find_meter(fcinfo);
	timezone = billing_spi_copy(0, 3, caller);
	billing_spi_end();
	PG_RETURN_DATUM(timezone);
}
