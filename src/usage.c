/*-------------------------------------------------------------------------
 *
 * usage.c
 *	  What tenants used: facts about events and what they add up to.
 *
 * Totals are read by SQL (sql/usage.sql); here is what it cannot say.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "exact.h"
#include "usage.h"

BILLING_FUNCTION(billing_usage_latest_step);
BILLING_FUNCTION(billing_usage_latest_final);
BILLING_FUNCTION(billing_usage_latest_id_final);
BILLING_FUNCTION(billing_usage_is_compacted);
BILLING_FUNCTION(billing_is_usage);
BILLING_FUNCTION(billing_usage_mark);

/* The latest event so far: its value and id lie behind each other in room. */
typedef struct LatestEvent
{
	TimestampTz at;
	struct varlena *room;
	Size		size;			/* of room */
	Size		id_offset;
} LatestEvent;

static LatestEvent *new_latest(FunctionCallInfo fcinfo);
static bool is_later(const LatestEvent *latest, TimestampTz at, text *id);
static void keep_latest(FunctionCallInfo fcinfo, LatestEvent *latest, TimestampTz at,
						struct varlena *value, text *id);

/*
 * billing_usage_latest_step
 *		Keep one event (value, at, event_id) if it is later than those before it.
 */
Datum
billing_usage_latest_step(PG_FUNCTION_ARGS)
{
	LatestEvent *latest = PG_ARGISNULL(0) ? NULL : (LatestEvent *) PG_GETARG_POINTER(0);
	TimestampTz at;
	text	   *id;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
	{
		if (latest == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(latest);
	}
	at = PG_GETARG_TIMESTAMPTZ(2);
	id = PG_GETARG_TEXT_PP(3);
	if (latest != NULL && !is_later(latest, at, id))
		PG_RETURN_POINTER(latest);
	if (latest == NULL)
		latest = new_latest(fcinfo);
	keep_latest(fcinfo, latest, at, PG_DETOAST_DATUM(PG_GETARG_DATUM(1)), id);
	PG_RETURN_POINTER(latest);
}

static LatestEvent *
new_latest(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return MemoryContextAllocZero(context, sizeof(LatestEvent));
}

static bool
is_later(const LatestEvent *latest, TimestampTz at, text *id)
{
	text	   *other = (text *) ((char *) latest->room + latest->id_offset);
	Size		len = VARSIZE_ANY_EXHDR(id);
	Size		other_len = VARSIZE_ANY_EXHDR(other);
	int			order;

	if (at != latest->at)
		return at > latest->at;
	order = memcmp(VARDATA_ANY(id), VARDATA_ANY(other), Min(len, other_len));
	return order != 0 ? order > 0 : len > other_len;
}

static void
keep_latest(FunctionCallInfo fcinfo, LatestEvent *latest, TimestampTz at,
			struct varlena *value, text *id)
{
	Size		id_offset = MAXALIGN(VARSIZE(value));
	Size		size = id_offset + VARSIZE_ANY(id);

	if (size > latest->size)
	{
		MemoryContext context;

		(void) AggCheckCallContext(fcinfo, &context);
		if (latest->room != NULL)
			pfree(latest->room);
		latest->room = MemoryContextAlloc(context, 2 * size);
		latest->size = 2 * size;
	}
	memcpy(latest->room, value, VARSIZE(value));
	memcpy((char *) latest->room + id_offset, id, VARSIZE_ANY(id));
	latest->id_offset = id_offset;
	latest->at = at;
}

Datum
billing_usage_latest_final(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(((LatestEvent *) PG_GETARG_POINTER(0))->room);
}

Datum
billing_usage_latest_id_final(PG_FUNCTION_ARGS)
{
	LatestEvent *latest;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	latest = (LatestEvent *) PG_GETARG_POINTER(0);
	PG_RETURN_POINTER((char *) latest->room + latest->id_offset);
}

/*
 * billing_usage_is_compacted
 *		Did the compaction that set this horizon see an event?
 *
 * Of other transactions it saw what its snapshot shows; of its own, what earlier
 * commands wrote.  An event's row is never updated, so that the command stays in it.
 */
Datum
billing_usage_is_compacted(PG_FUNCTION_ARGS)
{
	Datum		xid = PG_GETARG_DATUM(0);

	if (U64FromFullTransactionId(DatumGetFullTransactionId(xid)) ==
		U64FromFullTransactionId(DatumGetFullTransactionId(PG_GETARG_DATUM(3))))
		PG_RETURN_BOOL((int64) DatumGetCommandId(PG_GETARG_DATUM(1)) < PG_GETARG_INT64(4));
	PG_RETURN_DATUM(DirectFunctionCall2(pg_visible_in_snapshot, xid, PG_GETARG_DATUM(2)));
}

/*
 * billing_usage_mark
 *		The last of ascending marks that is not after an instant, found by halving.
 */
Datum
billing_usage_mark(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz *marks = (TimestampTz *) ARR_DATA_PTR(array);
	int			low = 0;
	int			high = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_HASNULL(array))
		elog(ERROR, "a mark must not be null");
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (marks[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(marks[low - 1]);
}

/*
 * billing_is_usage
 *		Can (event_id, quantity, at, recorded_at, subscription_id) be an event?
 *
 * Raises what record_usage would, so that an INSERT or COPY says which of them
 * cannot.  Reads the values where they lie: PostgreSQL's own functions would copy
 * each.
 */
Datum
billing_is_usage(PG_FUNCTION_ARGS)
{
	TimestampTz at;
	Size		len;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	len = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0));
	at = PG_GETARG_TIMESTAMPTZ(2);
	if (len >= 1 && len <= BILLING_EVENT_ID_MAX &&
		billing_numeric_is_summable(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(1))) &&
		!TIMESTAMP_NOT_FINITE(at) &&
		at - BILLING_AHEAD_HOURS * USECS_PER_HOUR <= PG_GETARG_TIMESTAMPTZ(3))
		PG_RETURN_BOOL(PG_ARGISNULL(4) || PG_GETARG_INT64(4) > 0);

	billing_usage_check_event_id(PG_GETARG_TEXT_PP(0));
	billing_usage_check_quantity(PG_GETARG_NUMERIC(1));
	billing_usage_check_at(at, PG_GETARG_TIMESTAMPTZ(3));
	PG_RETURN_BOOL(false);
}

void
billing_usage_check_event_id(const text *event_id)
{
	int			len = VARSIZE_ANY_EXHDR(event_id);

	if (len == 0 || len > BILLING_EVENT_ID_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event id must be from 1 to %d bytes long", BILLING_EVENT_ID_MAX),
				 errdetail("bytes=%d", len),
				 errhint("Use a UUID, or a hash of what makes the event unique.")));
}

void
billing_usage_check_quantity(Numeric quantity)
{
	if (numeric_is_nan(quantity) || numeric_is_inf(quantity))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("quantity must be finite"),
				 errdetail("quantity=%s", DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(quantity)))),
				 errhint("Record what was measured; a negative quantity takes usage back.")));
	if (!billing_numeric_is_summable((struct varlena *) quantity))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("quantity has too many digits"),
				 errdetail("argument=quantity"),
				 errhint("It is less than 10^256 and has at most 63 decimals.")));
}

void
billing_usage_check_at(TimestampTz at, TimestampTz recorded_at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at > recorded_at + BILLING_AHEAD_HOURS * USECS_PER_HOUR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("usage cannot be recorded at %s", timestamptz_to_str(at)),
				 errdetail("at=%s", timestamptz_to_str(at)),
				 errhint("An event is at most %d hours ahead of billing.now(); check the clock and the time zone of the sender.",
						 BILLING_AHEAD_HOURS)));
}

void
billing_usage_check_served(int64 tenant_id, TimestampTz at, TimestampTz closed_at, TimestampTz frozen_at)
{
	if (at >= closed_at)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("tenant %lld was closed at %s", (long long) tenant_id, timestamptz_to_str(closed_at)),
				 errdetail("tenant_id=%lld status=closed", (long long) tenant_id),
				 errhint("Only usage of before that can be recorded.")));
	if (at >= frozen_at)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_TENANT_FROZEN),
				 errmsg("tenant %lld is frozen since %s", (long long) tenant_id, timestamptz_to_str(frozen_at)),
				 errdetail("tenant_id=%lld status=frozen", (long long) tenant_id),
				 errhint("Only usage of before that can be recorded, until the tenant is active again.")));
}
