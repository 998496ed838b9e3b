/*-------------------------------------------------------------------------
 *
 * subscription.c
 *	  What becomes of a subscription: canceled, reactivated, renewed, extended,
 *	  updated, activated.
 *
 * Boundaries are the bill run's work.  A flow here only says where the next one is
 * (cancel_at, period_end, due_at) and lets the bill path do it, by the same path as
 * any other.  Before it looks at the state it lets that path catch up: a bill run that
 * is late by an hour must not change what a cancellation means.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "bill.h"
#include "clock.h"
#include "coupon.h"
#include "dunning.h"
#include "due_part.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "invoice.h"
#include "overdue.h"
#include "payment_method.h"
#include "period.h"
#include "setting.h"
#include "spi.h"
#include "subscription.h"
#include "trigger.h"

BILLING_FUNCTION(billing_cancel_subscription);
BILLING_FUNCTION(billing_reactivate_subscription);
BILLING_FUNCTION(billing_renew_subscription);
BILLING_FUNCTION(billing_extend_subscription);
BILLING_FUNCTION(billing_update_subscription);
BILLING_FUNCTION(billing_subscription_guard);

static TimestampTz get_field(HeapTupleHeader row, const char *name, TimestampTz if_null);
static bool is_ended(const BillingSubscription *s);
static void write_segments(Datum tenant_ids, Datum subscription_ids, const char *kind,
						   TimestampTz effective_at, Datum reason);
static bool read_effective(const text *effective);
static bool read_proration(const text *proration);
static void end_at(BillingFlow *flow, const BillingSubscription *s, TimestampTz at, bool credits);
static void cancel_pending(const BillingSubscription *s, Datum reason, TimestampTz now);
static void cancel_at(const BillingSubscription *s, Datum reason, TimestampTz now, TimestampTz at);
static void set_auto_renew(const BillingSubscription *s);
static bool change_row(BillingQuery *query, const BillingSubscription *s, Datum value);
static TimestampTz revive(BillingFlow *flow, const BillingSubscription *s, TimestampTz now);
static bool is_within_grace(const BillingSubscription *s, TimestampTz now);
static bool was_usage_billed_elsewhere(int64 tenant_id, int64 subscription_id, TimestampTz since);
static TimestampTz new_anchor(const BillingSubscription *s, TimestampTz from);
static void check_extension(const BillingSubscription *s, TimestampTz new_end);
static void check_version(const BillingSubscription *s, int32 version);
static void check_changes(Jsonb *changes);
static void check_change(const char *key, JsonbValue *value);
static void check_method(const BillingFlow *flow, Jsonb *changes);
static bool is_whole_number(const JsonbValue *value);

/* The key of a row, as the first two parameters of a query. */
#define ROW_ARGS(s) Int64GetDatum((s)->tenant_id), Int64GetDatum((s)->subscription_id)

void
billing_subscription_read(BillingFlow *flow, int64 subscription_id, BillingSubscription *s)
{
	static BillingQuery query = {
		.sql = "SELECT s FROM billing.subscription s WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(subscription_id)};
	HeapTupleHeader row;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("subscription", flow->tenant_id, psprintf("%lld", (long long) subscription_id));

	s->row = billing_spi_copy(0, 1, flow->caller);
	row = DatumGetHeapTupleHeader(s->row);
	s->tenant_id = flow->tenant_id;
	s->subscription_id = subscription_id;
	s->plan_id = DatumGetInt64(GetAttributeByName(row, "plan_id", &isnull));
	s->quantity = DatumGetInt32(GetAttributeByName(row, "quantity", &isnull));
	(void) GetAttributeByName(row, "next_plan_id", &isnull);
	s->has_next = !isnull;
	(void) GetAttributeByName(row, "next_quantity", &isnull);
	s->has_next |= !isnull;
	s->status = TextDatumGetCString(GetAttributeByName(row, "status", &isnull));
	s->auto_renew = DatumGetBool(GetAttributeByName(row, "auto_renew", &isnull));
	s->version = DatumGetInt32(GetAttributeByName(row, "version", &isnull));
	s->started_at = get_field(row, "started_at", DT_NOBEGIN);
	s->period_end = get_field(row, "period_end", DT_NOEND);
	s->billed_to = get_field(row, "billed_to", DT_NOBEGIN);
	s->due_at = get_field(row, "due_at", DT_NOEND);
	s->changed_at = get_field(row, "changed_at", DT_NOBEGIN);
	s->paused_at = get_field(row, "paused_at", DT_NOEND);
	s->cancel_at = get_field(row, "cancel_at", DT_NOEND);
	s->ended_at = get_field(row, "ended_at", DT_NOEND);
}

static TimestampTz
get_field(HeapTupleHeader row, const char *name, TimestampTz if_null)
{
	bool		isnull;
	Datum		value = GetAttributeByName(row, name, &isnull);

	return isnull ? if_null : DatumGetTimestampTz(value);
}

static bool
is_ended(const BillingSubscription *s)
{
	return s->ended_at != DT_NOEND;
}

Datum
billing_subscription_record(BillingFlow *flow, int64 subscription_id, Datum before,
							const char *kind, TimestampTz effective_at, Datum reason, const char *event)
{
	BillingSubscription after;

	write_segments(billing_id_array_of(flow->tenant_id), billing_id_array_of(subscription_id), kind, effective_at, reason);
	if (event != NULL)
		billing_event_emit(flow->tenant_id, event, subscription_id);
	(void) billing_entitlement_refresh_one(flow->tenant_id);
	billing_dunning_wake(flow->tenant_id, subscription_id);
	billing_overdue_settle(flow);
	billing_subscription_read(flow, subscription_id, &after);
	billing_flow_audit(flow, "subscription", subscription_id, before, after.row);
	return after.row;
}

/*
 * billing_subscription_record_all
 *		See subscription.h.
 */
void
billing_subscription_record_all(const char *flow_name, Datum tenant_ids, Datum subscription_ids, const Datum *befores,
								const char *kind, TimestampTz effective_at, Datum reason, const char *event)
{
	write_segments(tenant_ids, subscription_ids, kind, effective_at, reason);
	billing_event_emit_all(event, tenant_ids, subscription_ids);
	(void) billing_entitlement_refresh(tenant_ids, false);
	for (int i = 0; i < billing_id_count(tenant_ids); i++)
	{
		BillingFlow flow = {.name = flow_name, .tenant_id = billing_id_at(tenant_ids, i), .caller = CurrentMemoryContext};
		BillingSubscription after;

		billing_subscription_read(&flow, billing_id_at(subscription_ids, i), &after);
		billing_flow_audit(&flow, "subscription", after.subscription_id, befores[i], after.row);
	}
}

static void
write_segments(Datum tenant_ids, Datum subscription_ids, const char *kind, TimestampTz effective_at, Datum reason)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.subscription_change (tenant_id, subscription_id, change_no, kind, effective_at, "
		"status, plan_id, quantity, anchor, timezone, period_start, period_end, reason) "
		"SELECT s.tenant_id, s.subscription_id, s.version, $3, $4, "
		"s.status, s.plan_id, s.quantity, s.anchor, s.timezone, s.period_start, s.period_end, $5 "
		"FROM unnest($1, $2) k (tenant_id, subscription_id) "
		"JOIN billing.subscription s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id",
		.expected = SPI_OK_INSERT,
		.by_key = true,
		.nargs = 5,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {tenant_ids, subscription_ids, CStringGetTextDatum(kind), TimestampTzGetDatum(effective_at), reason};

	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "    n" : NULL);
}

/*
 * billing_cancel_subscription
 *		End a subscription: with the period that runs, or at once.
 *
 * At once means that the boundary is at this instant: what ends there is billed in arrears,
 * and what was charged in advance for the time after it is credited, unless proration
 * says none.  A period that ends at this very instant is not followed by another.
 * One that has not begun ends without having been, one that is paused or suspended at once.
 */
Datum
billing_cancel_subscription(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	TimestampTz at;
	Datum		reason = PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3);
	Datum		before;
	Datum		result;
	bool		at_once;
	bool		credits;
	const char *event;			/* NULL: the bill path tells of its end */

	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_require(fcinfo, 2, "effective");
	billing_flow_require(fcinfo, 4, "proration");
	at_once = read_effective(PG_GETARG_TEXT_PP(2));
	credits = read_proration(PG_GETARG_TEXT_PP(4));
	if (billing_flow_begin(&flow, fcinfo, "cancel_subscription", 5, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	billing_subscription_catch_up(&flow, &s, now, !at_once);
	billing_subscription_check_not_ended(&s, "canceled");
	if (!at_once && s.cancel_at != DT_NOEND)
		PG_RETURN_DATUM(billing_flow_end(&flow, s.row));

	if (strcmp(s.status, "pending") == 0)
	{
		at = now;
		event = "subscription.canceled";
		cancel_pending(&s, reason, now);
		billing_invoice_void_unused(&flow, s.subscription_id);
		billing_coupon_end_one(s.tenant_id, s.subscription_id);
	}
	else
	{
		at_once |= s.paused_at != DT_NOEND;
		at = at_once ? Max(now, s.billed_to) : s.period_end;
		if (at == DT_NOEND)
			billing_subscription_report_state(&s, "canceled at the end of its period, which has none",
						 "Cancel it with effective => 'now'.");
		cancel_at(&s, reason, now, at);
		event = at_once ? NULL : "subscription.updated";
		if (at_once)
			end_at(&flow, &s, at, credits);
	}
	result = billing_subscription_record(&flow, s.subscription_id, before, "canceled", at, reason, event);
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

/* Bill what is owed up to at, after what was charged for the time behind it was taken back. */
static void
end_at(BillingFlow *flow, const BillingSubscription *s, TimestampTz at, bool credits)
{
	if (credits)
		billing_part_take_back(flow, s->subscription_id, at, "canceled");
	(void) billing_bill_next(s->tenant_id, s->subscription_id, at);
}

/*
 * billing_subscription_catch_up
 *		Let the bill path do what was due before now, or up to now, and read what it
 *		made of it.
 */
void
billing_subscription_catch_up(BillingFlow *flow, BillingSubscription *s, TimestampTz now, bool to_now)
{
	while (s->due_at < now || (to_now && s->due_at == now))
	{
		CHECK_FOR_INTERRUPTS();
		if (!billing_bill_next(s->tenant_id, s->subscription_id, now))
			ereport(ERROR,
					(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
					 errmsg("subscription %lld of tenant %lld is due and could not be billed",
							(long long) s->subscription_id, (long long) s->tenant_id),
					 errdetail("tenant_id=%lld subscription_id=%lld due_at=%s", (long long) s->tenant_id,
							   (long long) s->subscription_id, timestamptz_to_str(s->due_at)),
					 errhint("A tenant that was loaded by COPY needs its row of billing.counter.")));
		billing_subscription_read(flow, s->subscription_id, s);
	}
}

void
billing_subscription_check_not_ended(const BillingSubscription *s, const char *action)
{
	if (is_ended(s))
		billing_subscription_report_state(s, action, strcmp(s->status, "expired") == 0 ?
					 "Call billing.renew_subscription for one that has expired." :
					 "Nothing follows canceled: subscribe again.");
}

void
billing_subscription_report_state(const BillingSubscription *s, const char *action, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("subscription %lld of tenant %lld is %s and cannot be %s",
					(long long) s->subscription_id, (long long) s->tenant_id, s->status, action),
			 errdetail("tenant_id=%lld subscription_id=%lld status=%s",
					   (long long) s->tenant_id, (long long) s->subscription_id, s->status),
			 errhint("%s", hint)));
}

/* True: now, false: at the end of the period. */
static bool
read_effective(const text *effective)
{
	char	   *value = text_to_cstring(effective);

	if (strcmp(value, "now") == 0)
		return true;
	if (strcmp(value, "period_end") == 0)
		return false;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a cancellation cannot be effective at \"%s\"", value),
			 errdetail("argument=effective value=%s", value),
			 errhint("Use period_end or now.")));
}

/* True: what was charged beyond the end is credited. */
static bool
read_proration(const text *proration)
{
	char	   *value = text_to_cstring(proration);

	if (strcmp(value, "prorate") == 0)
		return true;
	if (strcmp(value, "none") == 0)
		return false;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("proration of a cancellation cannot be \"%s\"", value),
			 errdetail("argument=proration value=%s", value),
			 errhint("Use prorate or none.")));
}

/*
 * cancel_pending
 *		End one that has not begun.
 *
 * It ends where it would have begun, so that it was never in force.
 */
static void
cancel_pending(const BillingSubscription *s, Datum reason, TimestampTz now)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET status = 'canceled', cancel_at = $3, canceled_at = $3, "
		"cancel_reason = $4, ended_at = greatest($3, started_at), due_at = NULL, version = version + 1 "
		"WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID},
	};
	Datum		args[] = {ROW_ARGS(s), TimestampTzGetDatum(now), reason};

	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "   n" : NULL);
}

/*
 * billing_subscription_lapse
 *		See subscription.h.
 *
 * What it was to be paid with is void, so that nobody pays for what does not begin.
 */
bool
billing_subscription_lapse(BillingFlow *flow, int64 subscription_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET status = 'expired', ended_at = greatest($3, started_at), due_at = NULL, "
		"version = version + 1 WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	BillingSubscription s;
	TimestampTz now = billing_clock_now();

	billing_subscription_read(flow, subscription_id, &s);
	if (strcmp(s.status, "pending") != 0 || !billing_invoice_void_waiting(flow, subscription_id))
		return false;
	(void) change_row(&query, &s, TimestampTzGetDatum(now));
	billing_coupon_end_one(s.tenant_id, subscription_id);
	(void) billing_subscription_record(flow, subscription_id, s.row, "expired", now, CStringGetTextDatum("not paid in time"),
									   "subscription.expired");
	return true;
}

static void
cancel_at(const BillingSubscription *s, Datum reason, TimestampTz now, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET cancel_at = $4, canceled_at = $3, cancel_reason = $5, "
		"due_at = least(due_at, $4), next_plan_id = NULL, next_quantity = NULL, "
		"changed_at = CASE WHEN paused_at IS NULL THEN changed_at ELSE $4 END, version = version + 1 "
		"WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID},
	};
	Datum		args[] = {ROW_ARGS(s), TimestampTzGetDatum(now), TimestampTzGetDatum(at), reason};

	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "    n" : NULL);
}

/*
 * billing_reactivate_subscription
 *		Take a cancellation back before it is reached.
 */
Datum
billing_reactivate_subscription(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET cancel_at = NULL, canceled_at = NULL, cancel_reason = NULL, "
		"version = version + 1 WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	if (billing_flow_begin(&flow, fcinfo, "reactivate_subscription", 2, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	billing_subscription_catch_up(&flow, &s, now, true);
	billing_subscription_check_not_ended(&s, "reactivated");
	if (s.cancel_at == DT_NOEND)
		billing_subscription_report_state(&s, "reactivated, since it was not canceled",
					 "Only a subscription with a cancel_at that is to come can be reactivated.");
	(void) change_row(&query, &s, (Datum) 0);
	result = billing_subscription_record(&flow, s.subscription_id, before, "reactivated", now, (Datum) 0, "subscription.updated");
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

/*
 * billing_renew_subscription
 *		Go on with a subscription that has expired; let one that would expire renew.
 */
Datum
billing_renew_subscription(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	TimestampTz from = now;
	const char *event = NULL;	/* the bill path tells of a new period */
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	if (billing_flow_begin(&flow, fcinfo, "renew_subscription", 2, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_check_tenant(&flow);
	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	billing_subscription_catch_up(&flow, &s, now, true);
	if (strcmp(s.status, "canceled") == 0)
		billing_subscription_check_not_ended(&s, "renewed");
	if (is_ended(&s) && s.billed_to == DT_NOBEGIN)
		billing_subscription_report_state(&s, "renewed, since it has never begun", "It was not paid in time: subscribe again.");
	if (s.cancel_at != DT_NOEND)
		billing_subscription_report_state(&s, "renewed, since it is canceled at the end of its period",
					 "Call billing.reactivate_subscription to take the cancellation back.");

	if (is_ended(&s))
		from = revive(&flow, &s, now);
	else if (s.auto_renew)
		PG_RETURN_DATUM(billing_flow_end(&flow, s.row));
	else
	{
		set_auto_renew(&s);
		event = "subscription.updated";
	}

	result = billing_subscription_record(&flow, s.subscription_id, before, "renewed", from, (Datum) 0, event);
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

static void
set_auto_renew(const BillingSubscription *s)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET auto_renew = true, version = version + 1 "
		"WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	(void) change_row(&query, s, (Datum) 0);
}

/* Run an UPDATE of its row; value is the third parameter, of those that have one.  False if that left it as it is. */
static bool
change_row(BillingQuery *query, const BillingSubscription *s, Datum value)
{
	Datum		args[] = {ROW_ARGS(s), value};

	return billing_spi_run(query, args, NULL) > 0;
}

/*
 * revive
 *		Begin a period of one that has expired; returns where.
 *
 * Within the days of grace that is where it ended, as if it had not; later, or if
 * another subscription was billed what the tenant used since, it is now.  The time
 * between is kept in lapses: usage in it does not belong to this subscription, nor does that of a
 * suspension in which it expired.
 */
static TimestampTz
revive(BillingFlow *flow, const BillingSubscription *s, TimestampTz now)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription s SET status = 'active', ended_at = NULL, billed_to = NULL, due_at = $3, "
		"lapses = s.lapses + tstzmultirange(tstzrange(s.ended_at, $3)), anchor = $4, paused_at = NULL, "
		"pauses = CASE WHEN s.paused_at IS NULL THEN s.pauses "
		"  ELSE coalesce(s.pauses, '{}') + tstzmultirange(tstzrange(s.paused_at, s.ended_at)) END, "
		"changed_at = CASE WHEN s.paused_at IS NULL THEN s.changed_at ELSE $3 END, "
		"timezone = CASE WHEN $3 > s.ended_at THEN t.timezone ELSE s.timezone END, version = s.version + 1 "
		"FROM billing.tenant t "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND t.tenant_id = s.tenant_id",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	};
	bool		goes_on = now <= s->ended_at || (is_within_grace(s, now) && !was_usage_billed_elsewhere(s->tenant_id, s->subscription_id, s->ended_at));
	TimestampTz from = goes_on ? s->ended_at : now;
	Datum		args[] = {ROW_ARGS(s), TimestampTzGetDatum(from), TimestampTzGetDatum(new_anchor(s, from))};

	(void) billing_spi_run(&query, args, NULL);
	(void) billing_bill_next(s->tenant_id, s->subscription_id, Max(from, now));
	return from;
}

/*
 * is_within_grace
 *		Have no more than grace_days passed on the tenant's wall clock since it ended?
 */
static bool
is_within_grace(const BillingSubscription *s, TimestampTz now)
{
	static BillingQuery query = {
		.sql = "SELECT $3 <= (s.ended_at AT TIME ZONE t.timezone + make_interval(days => $4)) AT TIME ZONE t.timezone "
		"FROM billing.subscription s JOIN billing.tenant t ON t.tenant_id = s.tenant_id "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, INT4OID},
	};
	Datum		args[] = {
		ROW_ARGS(s), TimestampTzGetDatum(now),
		Int32GetDatum(billing_setting_int("grace_days", s->tenant_id, s->plan_id))
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetBool(billing_spi_value(0, 1, &isnull));
}

/*
 * was_usage_billed_elsewhere
 *		Did a later subscription of the tenant bill usage after since that would be this
 *		one's, were it in force from then on?
 *
 * Usage that names no subscription belongs to the first that prices its meter, so
 * only a later one can have taken its place.
 */
static bool
was_usage_billed_elsewhere(int64 tenant_id, int64 subscription_id, TimestampTz since)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.subscription s "
		"JOIN billing.price mine ON mine.plan_id = s.plan_id "
		"JOIN billing.price p ON p.meter = mine.meter "
		"JOIN billing.subscription o ON o.plan_id = p.plan_id AND o.tenant_id = s.tenant_id "
		"  AND o.subscription_id > s.subscription_id AND o.billed_to > greatest($3, o.started_at, o.trial_end) "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2 LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(subscription_id), TimestampTzGetDatum(since)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * new_anchor
 *		Where periods are counted from that begin again at from: as before where it goes on.
 */
static TimestampTz
new_anchor(const BillingSubscription *s, TimestampTz from)
{
	static BillingQuery query = {
		.sql = "SELECT s.anchor, s.billing = 'calendar', t.timezone, p.cycle FROM billing.subscription s "
		"JOIN billing.tenant t ON t.tenant_id = s.tenant_id JOIN billing.plan p ON p.plan_id = s.plan_id "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {ROW_ARGS(s)};
	bool		isnull;
	bool		is_calendar;
	Datum		cycle;

	(void) billing_spi_run(&query, args, NULL);
	if (from == s->ended_at)
		return DatumGetTimestampTz(billing_spi_value(0, 1, &isnull));
	is_calendar = DatumGetBool(billing_spi_value(0, 2, &isnull));
	cycle = billing_spi_value(0, 4, &isnull);
	if (!is_calendar || isnull)
		return from;
	return billing_subscription_calendar_anchor(from, DatumGetIntervalP(cycle), billing_spi_value(0, 3, &isnull));
}

/*
 * billing_extend_subscription
 *		Let the period that runs end later, at no charge; the next are counted from there.
 *
 * Where prices have a shorter cycle than the plan, the step that runs grows if it is
 * the last of the period; else it ends as it would have, and the steps after it are
 * counted from the new end.  A cancellation at the end of the period moves along.
 */
Datum
billing_extend_subscription(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription s SET anchor = $3, period_end = $3, "
		"free_from = CASE WHEN x.again THEN s.free_from ELSE s.period_end END, "
		"whole_from = CASE WHEN x.again THEN s.whole_from ELSE lower(coalesce(c.advance_whole, c.advance)) END, "
		"due_at = CASE WHEN s.due_at = s.period_end THEN $3 ELSE s.due_at END, "
		"cancel_at = CASE WHEN s.cancel_at = s.period_end THEN $3 ELSE s.cancel_at END, "
		"trial_end = CASE WHEN s.status = 'trialing' THEN $3 ELSE s.trial_end END, version = s.version + 1 "
		"FROM billing.subscription o "
		"CROSS JOIN LATERAL (SELECT coalesce(o.free_from > o.period_start AND o.free_from < o.period_end, false) AS again) x "
		"CROSS JOIN LATERAL billing.change_cut(o.tenant_id, o.subscription_id, o.period_start, o.plan_id) c "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz new_end;
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_require(fcinfo, 2, "new_end");
	billing_flow_require(fcinfo, 3, "version");
	new_end = PG_GETARG_TIMESTAMPTZ(2);
	if (billing_flow_begin(&flow, fcinfo, "extend_subscription", 4, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	check_version(&s, PG_GETARG_INT32(3));
	billing_subscription_catch_up(&flow, &s, billing_clock_now(), true);
	check_extension(&s, new_end);
	(void) change_row(&query, &s, TimestampTzGetDatum(new_end));
	result = billing_subscription_record(&flow, s.subscription_id, before, "extended", s.period_end, (Datum) 0,
										 "subscription.updated");
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

static void
check_version(const BillingSubscription *s, int32 version)
{
	if (s->version == version)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_STALE_VERSION),
			 errmsg("subscription %lld of tenant %lld has changed since version %d",
					(long long) s->subscription_id, (long long) s->tenant_id, version),
			 errdetail("tenant_id=%lld subscription_id=%lld version=%d given=%d",
					   (long long) s->tenant_id, (long long) s->subscription_id, s->version, version),
			 errhint("Read the subscription again, see whether the change is still wanted, and repeat it with its version.")));
}

static void
check_extension(const BillingSubscription *s, TimestampTz new_end)
{
	billing_subscription_check_not_ended(s, "extended");
	if (strcmp(s->status, "suspended") == 0)
		billing_subscription_report_state(s, "extended", BILLING_PAY_FIRST);
	if (strcmp(s->status, "pending") == 0 || strcmp(s->status, "paused") == 0)
		billing_subscription_report_state(s, "extended", "Only a period that runs can end later.");
	if (s->period_end == DT_NOEND)
		billing_subscription_report_state(s, "extended, since it is for a lifetime", "A lifetime has no end to move.");
	if (TIMESTAMP_NOT_FINITE(new_end) || new_end <= s->period_end)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an extension of subscription %lld of tenant %lld must end after its period does",
						(long long) s->subscription_id, (long long) s->tenant_id),
				 errdetail("new_end=%s period_end=%s", timestamptz_to_str(new_end), pstrdup(timestamptz_to_str(s->period_end))),
				 errhint("Pass an instant after period_end; to end sooner, cancel.")));
}

/*
 * billing_update_subscription
 *		Change what has no effect on what was billed: auto_renew, payment_method_id, metadata.
 */
Datum
billing_update_subscription(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription s SET auto_renew = n.auto_renew, payment_method_id = n.payment_method_id, "
		"metadata = n.metadata, version = s.version + 1 "
		"FROM (SELECT coalesce(($3 ->> 'auto_renew')::boolean, o.auto_renew) AS auto_renew, "
		"    CASE WHEN $3 ? 'payment_method_id' THEN ($3 ->> 'payment_method_id')::bigint ELSE o.payment_method_id END AS payment_method_id, "
		"    coalesce($3 -> 'metadata', o.metadata) AS metadata "
		"  FROM billing.subscription o WHERE o.tenant_id = $1 AND o.subscription_id = $2) n "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND (s.auto_renew, s.payment_method_id, s.metadata) "
		"  IS DISTINCT FROM (n.auto_renew, n.payment_method_id, n.metadata)",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, JSONBOID},
	};
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_require(fcinfo, 2, "changes");
	check_changes(PG_GETARG_JSONB_P(2));
	if (billing_flow_begin(&flow, fcinfo, "update_subscription", 4, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	if (!PG_ARGISNULL(3))
		check_version(&s, PG_GETARG_INT32(3));
	billing_subscription_catch_up(&flow, &s, now, true);
	if (strcmp(s.status, "canceled") == 0)
		billing_subscription_check_not_ended(&s, "updated");
	check_method(&flow, PG_GETARG_JSONB_P(2));
	if (!change_row(&query, &s, PG_GETARG_DATUM(2)))
		PG_RETURN_DATUM(billing_flow_end(&flow, s.row));
	result = billing_subscription_record(&flow, s.subscription_id, before, "updated", now, (Datum) 0, "subscription.updated");
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

/*
 * check_changes
 *		Refuse what is not an object of known keys, so that a misspelled one is found.
 */
static void
check_changes(Jsonb *changes)
{
	JsonbIterator *it = JsonbIteratorInit(&changes->root);
	JsonbValue	value;
	char	   *key;

	if (JsonbIteratorNext(&it, &value, true) != WJB_BEGIN_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes are not an object"),
				 errdetail("argument=changes"),
				 errhint("Pass an object such as {\"auto_renew\": false}.")));

	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		key = pnstrdup(value.val.string.val, value.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);
		check_change(key, &value);
	}
}

static void
check_change(const char *key, JsonbValue *value)
{
	bool		is_object = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);

	if ((strcmp(key, "auto_renew") == 0 && value->type == jbvBool) ||
		(strcmp(key, "payment_method_id") == 0 && (is_whole_number(value) || value->type == jbvNull)) ||
		(strcmp(key, "metadata") == 0 && is_object))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a change that a subscription takes", key),
			 errdetail("key=%s", key),
			 errhint("What can be changed: auto_renew (true or false), payment_method_id (a number or null), metadata (an object).")));
}

/* One that it is to be paid by can be paid by. */
static void
check_method(const BillingFlow *flow, Jsonb *changes)
{
	JsonbValue	value;
	JsonbValue *found = getKeyJsonValueFromContainer(&changes->root, "payment_method_id", strlen("payment_method_id"), &value);

	if (found != NULL && found->type == jbvNumeric)
		billing_payment_method_check_usable(flow, DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(found->val.numeric))));
}

static bool
is_whole_number(const JsonbValue *value)
{
	Datum		number;

	if (value->type != jbvNumeric)
		return false;
	number = NumericGetDatum(value->val.numeric);
	return DatumGetBool(DirectFunctionCall2(numeric_eq, number,
											DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0))));
}

void
billing_subscription_activate(int64 tenant_id, int64 subscription_id, TimestampTz at)
{
	static BillingQuery waiting = {
		.sql = "SELECT s.billing = 'calendar', t.timezone, p.cycle, s.started_at FROM billing.subscription s "
		"JOIN billing.tenant t ON t.tenant_id = s.tenant_id JOIN billing.plan p ON p.plan_id = s.plan_id "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND s.status = 'pending' AND s.activate = 'on_payment'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	/* The boundary at which it starts; what it bills in advance is what was paid. */
	static BillingQuery start = {
		.sql = "UPDATE billing.subscription s SET status = 'active', started_at = $3, trial_end = NULL, anchor = n.anchor, "
		"timezone = n.timezone, period_start = n.period_start, period_end = n.period_end, billed_to = $3, due_at = n.due_at, "
		"version = s.version + 1 "
		"FROM (SELECT b.* FROM billing.subscription o "
		"  JOIN billing.tenant t ON t.tenant_id = o.tenant_id JOIN billing.plan p ON p.plan_id = o.plan_id "
		"  LEFT JOIN LATERAL (SELECT c.cycle FROM billing.price c "
		"    WHERE c.plan_id = p.plan_id AND c.cycle IS NOT NULL AND c.cycle IS DISTINCT FROM p.cycle LIMIT 1) step ON true "
		"  CROSS JOIN LATERAL billing.next_boundary($4, p.cycle, step.cycle, o.billing, $3, NULL, NULL, NULL, NULL, $3, "
		"    NULL, o.auto_renew, t.timezone, t.timezone) b "
		"  WHERE o.tenant_id = $1 AND o.subscription_id = $2) n "
		"WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	};
	TimestampTz anchor;
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(subscription_id), (Datum) 0, (Datum) 0};
	bool		is_calendar;
	bool		isnull;
	Datum		timezone;
	Datum		cycle;

	if (billing_spi_run(&waiting, args, NULL) == 0)
		return;
	is_calendar = DatumGetBool(billing_spi_value(0, 1, &isnull));
	timezone = billing_spi_copy(0, 2, CurrentMemoryContext);
	cycle = billing_spi_copy(0, 3, CurrentMemoryContext);
	at = Max(at, DatumGetTimestampTz(billing_spi_value(0, 4, &isnull)));
	if (was_usage_billed_elsewhere(tenant_id, subscription_id, at))
		at = Max(at, billing_clock_now());
	anchor = at;
	if (is_calendar && cycle != (Datum) 0)
		anchor = billing_subscription_calendar_anchor(at, DatumGetIntervalP(cycle), timezone);

	args[2] = TimestampTzGetDatum(at);
	args[3] = TimestampTzGetDatum(anchor);
	(void) billing_spi_run(&start, args, NULL);
	write_segments(billing_id_array_of(tenant_id), billing_id_array_of(subscription_id), "activated", at, (Datum) 0);
	billing_event_emit(tenant_id, "subscription.updated", subscription_id);
	(void) billing_entitlement_refresh_one(tenant_id);
}

/*
 * billing_subscription_guard
 *		Refuse what no flow does to a row: the condition of its trigger says what.
 *
 * A boundary that was billed stays billed, and what was billed keeps its start, its
 * tenant and its currency.
 */
Datum
billing_subscription_guard(PG_FUNCTION_ARGS)
{
	static const char *const kept[] = {"tenant_id", "subscription_id", "currency", "started_at"};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	const char *column = "billed_to";

	for (int i = 0; i < lengthof(kept); i++)
	{
		if (strcmp(billing_trigger_text(trigger, trigger->tg_trigtuple, kept[i]),
				   billing_trigger_text(trigger, trigger->tg_newtuple, kept[i])) != 0)
			column = kept[i];
	}

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("column %s of subscription %s of tenant %s cannot be changed", column,
					billing_trigger_text(trigger, trigger->tg_trigtuple, "subscription_id"),
					billing_trigger_text(trigger, trigger->tg_trigtuple, "tenant_id")),
			 errdetail("column=%s old=%s new=%s", column,
					   billing_trigger_text(trigger, trigger->tg_trigtuple, column),
					   billing_trigger_text(trigger, trigger->tg_newtuple, column)),
			 errhint("What was billed stays as it was; to begin anew, cancel and subscribe again.")));
}
