/*-------------------------------------------------------------------------
 *
 * usage_correct.c
 *	  Usage that was recorded in error: canceled, or superseded by another event.
 *
 * An event is never changed; that it no longer counts is a fact of its own.  The
 * rollup of its hour, day and period is made again without it, under the lock of the
 * tenant that compaction and billing take too: so a total has it or has it not, and no
 * reader of the rollup needs to ask.  To that end the tenant's usage is compacted
 * first; an event in no rollup is then none that was corrected.
 *
 * Where the event's period was billed, what it made there is the invoice's for ever: the
 * correction is noted as late usage is, and the next invoice books the difference.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "flow.h"
#include "id.h"
#include "usage.h"

BILLING_FUNCTION(billing_cancel_usage);
BILLING_FUNCTION(billing_correct_usage);

/* The arguments of correct_usage. */
enum
{
	ARG_TENANT_ID, ARG_EVENT_ID, ARG_QUANTITY, ARG_NEW_EVENT_ID, ARG_REASON, ARG_AT, ARG_PROPERTIES,
	ARG_REQUEST_ID
};

/* An event, and what was made of it before. */
typedef struct Event
{
	Datum		id;
	Datum		row;			/* of billing.usage_event */
	Datum		correction;		/* its row of billing.usage_correction, (Datum) 0: it counts */
	char	   *superseded_by;	/* NULL: by none */
} Event;

static void find_event(BillingFlow *flow, Datum event_id, Event *event);
static void check_values(FunctionCallInfo fcinfo);
static void check_not_otherwise(const BillingFlow *flow, const Event *event, Datum superseded_by);
static void check_moved(BillingFlow *flow, FunctionCallInfo fcinfo);
static void record_other(BillingFlow *flow, FunctionCallInfo fcinfo);
static void check_other(BillingFlow *flow, FunctionCallInfo fcinfo, bool is_first);
static Datum take_out(BillingFlow *flow, const Event *event, Datum superseded_by, NullableDatum reason);
static Datum insert_correction(BillingFlow *flow, const Event *event, Datum superseded_by, NullableDatum reason);
static void rebuild_rollup(const BillingFlow *flow, const Event *event);
static void note_late(const BillingFlow *flow, const Event *event);

/*
 * billing_cancel_usage
 *		Let an event count no more.
 */
Datum
billing_cancel_usage(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Event		event;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "cancel_usage", 3, &result))
		return result;
	billing_flow_require(fcinfo, ARG_EVENT_ID, "event_id");

	find_event(&flow, PG_GETARG_DATUM(ARG_EVENT_ID), &event);
	check_not_otherwise(&flow, &event, (Datum) 0);
	result = event.correction;
	if (result == (Datum) 0)
		result = take_out(&flow, &event, (Datum) 0, fcinfo->args[2]);
	return billing_flow_end(&flow, result);
}

/*
 * billing_correct_usage
 *		Let another event count in the place of one.
 */
Datum
billing_correct_usage(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Event		event;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "correct_usage", ARG_REQUEST_ID, &result))
		return result;
	check_values(fcinfo);

	find_event(&flow, PG_GETARG_DATUM(ARG_EVENT_ID), &event);
	check_not_otherwise(&flow, &event, PG_GETARG_DATUM(ARG_NEW_EVENT_ID));
	result = event.correction;
	if (result == (Datum) 0)
	{
		check_moved(&flow, fcinfo);
		record_other(&flow, fcinfo);
	}
	check_other(&flow, fcinfo, result == (Datum) 0);
	if (result == (Datum) 0)
		result = take_out(&flow, &event, PG_GETARG_DATUM(ARG_NEW_EVENT_ID), fcinfo->args[ARG_REASON]);
	return billing_flow_end(&flow, result);
}

/* The event of an id, or YB001. */
static void
find_event(BillingFlow *flow, Datum event_id, Event *event)
{
	static BillingQuery query = {
		.sql = "SELECT e, c, c.superseded_by"
		"  FROM billing.usage_event e"
		"  LEFT JOIN billing.usage_correction c ON c.tenant_id = e.tenant_id AND c.event_id = e.event_id"
		" WHERE e.tenant_id = $1 AND e.event_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), event_id};
	Datum		superseded_by;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("usage_event", flow->tenant_id, TextDatumGetCString(event_id));
	event->id = event_id;
	event->row = billing_spi_copy(0, 1, flow->caller);
	event->correction = billing_spi_copy(0, 2, flow->caller);
	superseded_by = billing_spi_copy(0, 3, flow->caller);
	event->superseded_by = superseded_by == (Datum) 0 ? NULL : TextDatumGetCString(superseded_by);
}

/*
 * check_values
 *		What record_usage refuses of an event, and one that would supersede itself.
 */
static void
check_values(FunctionCallInfo fcinfo)
{
	static const struct
	{
		int			arg;
		const char *name;
	}			required[] = {
		{ARG_EVENT_ID, "event_id"}, {ARG_QUANTITY, "quantity"}, {ARG_NEW_EVENT_ID, "new_event_id"}
	};
	char	   *new_event_id;

	for (int i = 0; i < lengthof(required); i++)
		billing_flow_require(fcinfo, required[i].arg, required[i].name);
	billing_usage_check_event_id(PG_GETARG_TEXT_PP(ARG_NEW_EVENT_ID));
	billing_usage_check_quantity(PG_GETARG_NUMERIC(ARG_QUANTITY));
	if (!PG_ARGISNULL(ARG_AT))
		billing_usage_check_at(PG_GETARG_TIMESTAMPTZ(ARG_AT), billing_clock_now());

	new_event_id = TextDatumGetCString(PG_GETARG_DATUM(ARG_NEW_EVENT_ID));
	if (strcmp(new_event_id, TextDatumGetCString(PG_GETARG_DATUM(ARG_EVENT_ID))) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("usage event \"%s\" cannot supersede itself", new_event_id),
				 errdetail("argument=new_event_id"),
				 errhint("Give the event that counts from here on an id of its own.")));
}

/*
 * check_not_otherwise
 *		YB004 if the event was taken out in another way: superseded_by (Datum) 0 is
 *		canceling.
 */
static void
check_not_otherwise(const BillingFlow *flow, const Event *event, Datum superseded_by)
{
	const char *event_id = TextDatumGetCString(event->id);

	if (event->correction == (Datum) 0)
		return;
	if (event->superseded_by == NULL && superseded_by != (Datum) 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("usage event \"%s\" of tenant %lld was canceled", event_id, (long long) flow->tenant_id),
				 errdetail("tenant_id=%lld event_id=%s", (long long) flow->tenant_id, event_id),
				 errhint("Record what was used by billing.record_usage(), under another id.")));
	if (event->superseded_by != NULL &&
		(superseded_by == (Datum) 0 || strcmp(event->superseded_by, TextDatumGetCString(superseded_by)) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("usage event \"%s\" of tenant %lld was superseded by \"%s\"", event_id, (long long) flow->tenant_id,
						event->superseded_by),
				 errdetail("tenant_id=%lld event_id=%s superseded_by=%s", (long long) flow->tenant_id, event_id,
						   event->superseded_by),
				 errhint("Cancel or correct that one.")));
}

/*
 * check_moved
 *		YB004 or YB010 if the event that is to count from here on is recorded only now, and
 *		at an instant of its own, at which the tenant is closed or frozen.
 *
 * At the same instant it corrects what was accepted, which may be wrong at any time.
 */
static void
check_moved(BillingFlow *flow, FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(t.closed_at, 'infinity'),"
		"    CASE WHEN t.status = 'frozen' THEN coalesce(t.frozen_at, 'infinity') ELSE 'infinity' END"
		"  FROM billing.usage_event e JOIN billing.tenant t ON t.tenant_id = e.tenant_id"
		" WHERE e.tenant_id = $1 AND e.event_id = $2 AND e.at <> $4"
		"   AND NOT EXISTS (SELECT FROM billing.usage_event n WHERE n.tenant_id = $1 AND n.event_id = $3)",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), PG_GETARG_DATUM(ARG_EVENT_ID), PG_GETARG_DATUM(ARG_NEW_EVENT_ID),
		PG_GETARG_DATUM(ARG_AT)
	};
	bool		isnull;

	if (PG_ARGISNULL(ARG_AT) || billing_spi_run(&query, args, NULL) == 0)
		return;
	billing_usage_check_served(flow->tenant_id, PG_GETARG_TIMESTAMPTZ(ARG_AT),
							   DatumGetTimestampTz(billing_spi_value(0, 1, &isnull)),
							   DatumGetTimestampTz(billing_spi_value(0, 2, &isnull)));
}

/* Record the event that counts from here on, if it is not there yet. */
static void
record_other(BillingFlow *flow, FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, properties, subscription_id)"
		" SELECT e.tenant_id, $3, e.meter, $4, coalesce($5, e.at), coalesce($6, e.properties), e.subscription_id"
		"   FROM billing.usage_event e WHERE e.tenant_id = $1 AND e.event_id = $2"
		"     ON CONFLICT DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 6,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, JSONBOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), PG_GETARG_DATUM(ARG_EVENT_ID), PG_GETARG_DATUM(ARG_NEW_EVENT_ID),
		PG_GETARG_DATUM(ARG_QUANTITY), PG_GETARG_DATUM(ARG_AT), PG_GETARG_DATUM(ARG_PROPERTIES)
	};
	char		nulls[] = "      ";

	nulls[4] = PG_ARGISNULL(ARG_AT) ? 'n' : ' ';
	nulls[5] = PG_ARGISNULL(ARG_PROPERTIES) ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
}

/*
 * check_other
 *		YB006 unless that event is what was asked for; YB004 if it is to supersede
 *		another one only now, and counts no more itself.
 */
static void
check_other(BillingFlow *flow, FunctionCallInfo fcinfo, bool is_first)
{
	static BillingQuery query = {
		.sql = "SELECT CASE WHEN n.meter <> e.meter THEN 'meter' WHEN n.quantity <> $4 THEN 'quantity'"
		"    WHEN n.at <> coalesce($5, e.at) THEN 'at'"
		"    WHEN n.properties IS DISTINCT FROM coalesce($6, e.properties) THEN 'properties'"
		"    WHEN n.subscription_id IS DISTINCT FROM e.subscription_id THEN 'subscription_id' END,"
		"    EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = n.tenant_id AND c.event_id = n.event_id)"
		"  FROM billing.usage_event e"
		"  JOIN billing.usage_event n ON n.tenant_id = e.tenant_id AND n.event_id = $3"
		" WHERE e.tenant_id = $1 AND e.event_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 6,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, JSONBOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), PG_GETARG_DATUM(ARG_EVENT_ID), PG_GETARG_DATUM(ARG_NEW_EVENT_ID),
		PG_GETARG_DATUM(ARG_QUANTITY), PG_GETARG_DATUM(ARG_AT), PG_GETARG_DATUM(ARG_PROPERTIES)
	};
	char		nulls[] = "      ";
	const char *new_event_id = TextDatumGetCString(PG_GETARG_DATUM(ARG_NEW_EVENT_ID));
	bool		isnull;
	Datum		differs;

	nulls[4] = PG_ARGISNULL(ARG_AT) ? 'n' : ' ';
	nulls[5] = PG_ARGISNULL(ARG_PROPERTIES) ? 'n' : ' ';
	if (billing_spi_run(&query, args, nulls) == 0)
		elog(ERROR, "usage event \"%s\" is missing", new_event_id);
	differs = billing_spi_value(0, 1, &isnull);
	if (!isnull)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_KEY_REUSED),
				 errmsg("usage event \"%s\" of tenant %lld was recorded with another %s", new_event_id,
						(long long) flow->tenant_id, TextDatumGetCString(differs)),
				 errdetail("tenant_id=%lld event_id=%s differs=%s", (long long) flow->tenant_id, new_event_id,
						   TextDatumGetCString(differs)),
				 errhint("Give every event its own id, and a retry the values it had.")));
	if (is_first && DatumGetBool(billing_spi_value(0, 2, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("usage event \"%s\" of tenant %lld counts no more and cannot supersede another", new_event_id,
						(long long) flow->tenant_id),
				 errdetail("tenant_id=%lld event_id=%s", (long long) flow->tenant_id, new_event_id),
				 errhint("Give the event that counts from here on an id that was not used yet.")));
}

/*
 * take_out
 *		Take an event that counts out of every total; returns the row that says so.
 */
static Datum
take_out(BillingFlow *flow, const Event *event, Datum superseded_by, NullableDatum reason)
{
	Datum		correction;

	PushActiveSnapshot(GetTransactionSnapshot());
	billing_usage_compact(billing_id_array_of(flow->tenant_id));
	PopActiveSnapshot();
	correction = insert_correction(flow, event, superseded_by, reason);
	rebuild_rollup(flow, event);
	note_late(flow, event);
	billing_flow_audit_action(flow->tenant_id, flow->name, "usage_event", TextDatumGetCString(event->id), event->row, correction);
	return correction;
}

static Datum
insert_correction(BillingFlow *flow, const Event *event, Datum superseded_by, NullableDatum reason)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.usage_correction AS c (tenant_id, event_id, superseded_by, reason) VALUES ($1, $2, $3, $4)"
		" RETURNING c",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), event->id, superseded_by, reason.value};
	char		nulls[] = "    ";

	nulls[2] = superseded_by == (Datum) 0 ? 'n' : ' ';
	nulls[3] = reason.isnull ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	return billing_spi_copy(0, 1, flow->caller);
}

static void
rebuild_rollup(const BillingFlow *flow, const Event *event)
{
	static BillingQuery query = {
		.sql = "SELECT billing.rebuild_usage_hour(e.tenant_id, e.meter, coalesce(e.subscription_id, 0),"
		"    date_bin('1 hour', e.at, '2000-01-01Z'))"
		"  FROM billing.usage_event e WHERE e.tenant_id = $1 AND e.event_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), event->id};

	(void) billing_spi_run(&query, args, NULL);
}

/* Of a period that was billed the difference is booked by the next invoice. */
static void
note_late(const BillingFlow *flow, const Event *event)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.usage_late (tenant_id, event_id, is_correction, meter, subscription_id, at)"
		" SELECT e.tenant_id, e.event_id, true, e.meter, o.owner_id, e.at"
		"   FROM billing.usage_event e"
		"  CROSS JOIN LATERAL billing.usage_owner(e.tenant_id, e.meter, e.subscription_id, e.at) o"
		"  WHERE e.tenant_id = $1 AND e.event_id = $2 AND e.at < o.billed_to AND e.at >= coalesce(o.trial_end, e.at)",
		.expected = SPI_OK_INSERT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), event->id};

	(void) billing_spi_run(&query, args, NULL);
}
