/*-------------------------------------------------------------------------
 *
 * measure.c
 *	  The quantity of a period from few rows of usage_period, if they give it exactly.
 *
 * They start where a billing period was known to start, and those of one stream never
 * overlap (see sql/usage.sql).  So those that start in a period add up to it exactly
 * if none goes on behind its end, and none before it reaches into it: of each stream
 * one starts with it, or the last one before it is looked at.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "exact.h"
#include "result.h"

BILLING_FUNCTION(billing_measure_step);
BILLING_FUNCTION(billing_measure_final);

typedef enum Argument
{
	STATE,
	AGGREGATION,
	STREAMS,
	PERIOD_START,
	PERIOD_END,
	STARTS_AT,
	LAST_AT,
	EVENTS,
	DIGEST,
	SUM,
	MAX
} Argument;

typedef struct Measure
{
	char		aggregation;	/* s(um), c(ount), m(ax); else only events give it */
	int32		streams;		/* of which a row has yet to start with the period */
	bool		is_within;		/* no row reaches over the start or the end */
	int64		events;
	uint64		digest;
	Numeric		quantity;		/* NULL: none yet */
} Measure;

static Measure *new_measure(FunctionCallInfo fcinfo);
static char read_aggregation(const text *name);
static void add_quantity(Measure *measure, FunctionCallInfo fcinfo, MemoryContext context);

/*
 * billing_measure_step
 *		Add a row of usage_period: (aggregation, streams, period_start, period_end,
 *		starts_at, last_at, events, digest, sum, max).
 */
Datum
billing_measure_step(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	Measure    *measure;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	if (PG_ARGISNULL(STATE))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		measure = new_measure(fcinfo);
		MemoryContextSwitchTo(old);
	}
	else
		measure = (Measure *) PG_GETARG_POINTER(STATE);

	if (PG_GETARG_TIMESTAMPTZ(STARTS_AT) < PG_GETARG_TIMESTAMPTZ(PERIOD_START))
	{
		measure->is_within &= PG_GETARG_TIMESTAMPTZ(LAST_AT) < PG_GETARG_TIMESTAMPTZ(PERIOD_START);
		PG_RETURN_POINTER(measure);
	}
	if (measure->streams > 0 && PG_GETARG_TIMESTAMPTZ(STARTS_AT) == PG_GETARG_TIMESTAMPTZ(PERIOD_START))
		measure->streams--;
	if (PG_GETARG_TIMESTAMPTZ(LAST_AT) >= PG_GETARG_TIMESTAMPTZ(PERIOD_END))
		measure->is_within = false;
	measure->events += PG_GETARG_INT64(EVENTS);
	measure->digest += (uint64) PG_GETARG_INT64(DIGEST);
	add_quantity(measure, fcinfo, context);
	PG_RETURN_POINTER(measure);
}

static Measure *
new_measure(FunctionCallInfo fcinfo)
{
	Measure    *measure = palloc0(sizeof(Measure));

	measure->aggregation = read_aggregation(PG_GETARG_TEXT_PP(AGGREGATION));
	measure->streams = PG_GETARG_INT32(STREAMS);
	measure->is_within = true;
	return measure;
}

static char
read_aggregation(const text *name)
{
	static const char *const names[] = {"sum", "count", "max"};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (billing_text_equals(name, names[i]))
			return names[i][0];
	}
	return '\0';
}

static void
add_quantity(Measure *measure, FunctionCallInfo fcinfo, MemoryContext context)
{
	MemoryContext old;
	Numeric		more;

	if (measure->aggregation != 's' && measure->aggregation != 'm')
		return;
	old = MemoryContextSwitchTo(context);
	if (measure->quantity == NULL)
		more = DatumGetNumericCopy(PG_GETARG_DATUM(measure->aggregation == 's' ? SUM : MAX));
	else if (measure->aggregation == 's')
		more = billing_numeric_add(measure->quantity, PG_GETARG_NUMERIC(SUM));
	else
		more = billing_numeric_max(measure->quantity, DatumGetNumericCopy(PG_GETARG_DATUM(MAX)));
	measure->quantity = more;
	MemoryContextSwitchTo(old);
}

/*
 * billing_measure_final
 *		The quantity, number and digest of the events; NULL if the rows do not give
 *		them.
 */
Datum
billing_measure_final(PG_FUNCTION_ARGS)
{
	Measure    *measure = PG_ARGISNULL(STATE) ? NULL : (Measure *) PG_GETARG_POINTER(STATE);
	Datum		values[3];
	bool		nulls[3] = {false};

	if (measure == NULL || measure->aggregation == '\0' || measure->streams != 0 || !measure->is_within)
		PG_RETURN_NULL();
	if (measure->aggregation == 'c' || measure->quantity == NULL)
		values[0] = NumericGetDatum(int64_to_numeric(measure->events));
	else
		values[0] = NumericGetDatum(measure->quantity);
	values[1] = Int64GetDatum(measure->events);
	values[2] = Int64GetDatum((int64) measure->digest);
	return billing_result_make(fcinfo, lengthof(values), values, nulls);
}
