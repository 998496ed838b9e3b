/*-------------------------------------------------------------------------
 *
 * pause.c
 *	  A subscription that rests: paused, and resumed.
 *
 * A pause ends what runs as a change does, and begins nothing: there is no boundary to
 * come.  The anchor stays, so that whoever resumes is in the period in which all the
 * time he would have been.  Time paused is not in force: its usage is nobody's.  A
 * suspension (overdue.c) is the same, but that nobody asked for it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "due_part.h"
#include "flow.h"
#include "id.h"
#include "pause.h"
#include "setting.h"
#include "spi.h"
#include "subscription.h"

BILLING_FUNCTION(billing_pause_subscription);
BILLING_FUNCTION(billing_resume_subscription);

static bool credits_pause(const BillingSubscription *s);
static void pause_rows(Datum tenant_ids, Datum subscription_ids, const char *status, TimestampTz at);
static void check_paused(const BillingSubscription *s);
static void resume_row(const BillingSubscription *s, TimestampTz at);

/*
 * billing_pause_subscription
 *		Let a subscription rest from now on.
 *
 * What it owes up to now is billed now: nobody knows when there will be another invoice.
 */
Datum
billing_pause_subscription(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	TimestampTz at;
	Datum		reason = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	if (billing_flow_begin(&flow, fcinfo, "pause_subscription", 3, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	billing_subscription_catch_up(&flow, &s, now, true);
	billing_subscription_check_not_ended(&s, "paused");
	if (strcmp(s.status, "past_due") == 0 || strcmp(s.status, "suspended") == 0)
		billing_subscription_report_state(&s, "paused", BILLING_PAY_FIRST);
	if (strcmp(s.status, "active") != 0)
		billing_subscription_report_state(&s, "paused", "Only one that is active can be.");
	if (s.cancel_at != DT_NOEND)
		billing_subscription_report_state(&s, "paused, since it is canceled at the end of its period",
										  "Call billing.reactivate_subscription first.");

	at = Max(Max(now, s.billed_to), s.changed_at);
	if (credits_pause(&s))
		billing_part_take_back(&flow, s.subscription_id, at, "paused");
	billing_pause_begin(billing_id_array_of(s.tenant_id), billing_id_array_of(s.subscription_id), "paused", at);
	result = billing_subscription_record(&flow, s.subscription_id, before, "paused", at, reason, "subscription.updated");
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

/* Is time paused credited, or lost?  The plan says. */
static bool
credits_pause(const BillingSubscription *s)
{
	return strcmp(billing_setting_text("pause_credit", s->tenant_id, s->plan_id), "true") == 0;
}

void
billing_pause_begin(Datum tenant_ids, Datum subscription_ids, const char *status, TimestampTz at)
{
	billing_part_write(tenant_ids, subscription_ids, at, 0, 0, BILLING_BEGINS_NOTHING);
	pause_rows(tenant_ids, subscription_ids, status, at);
	billing_part_bill(tenant_ids, subscription_ids, at);
}

static void
pause_rows(Datum tenant_ids, Datum subscription_ids, const char *status, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription s SET status = $4, paused_at = $3, changed_at = $3, billed_to = $3, due_at = NULL,"
		"  version = s.version + 1 FROM unnest($1, $2) k (tenant_id, subscription_id)"
		" WHERE s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, TEXTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {tenant_ids, subscription_ids, TimestampTzGetDatum(at), CStringGetTextDatum(status)};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_resume_subscription
 *		Go on with one that was paused.
 */
Datum
billing_resume_subscription(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz at;
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	if (billing_flow_begin(&flow, fcinfo, "resume_subscription", 2, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_check_tenant(&flow);
	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	check_paused(&s);
	at = Max(billing_clock_now(), s.paused_at);
	billing_pause_end(&s, at, credits_pause(&s));
	result = billing_subscription_record(&flow, s.subscription_id, before, "resumed", at, (Datum) 0, "subscription.updated");
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

static void
check_paused(const BillingSubscription *s)
{
	billing_subscription_check_not_ended(s, "resumed");
	if (strcmp(s->status, "suspended") == 0)
		billing_subscription_report_state(s, "resumed", BILLING_PAY_FIRST);
	if (strcmp(s->status, "paused") != 0)
		billing_subscription_report_state(s, "resumed", "Only one that is paused can be.");
}

void
billing_pause_end(const BillingSubscription *s, TimestampTz at, bool was_credited)
{
	billing_part_resume(s->tenant_id, s->subscription_id, at, was_credited);
	resume_row(s, at);
	billing_part_bill(billing_id_array_of(s->tenant_id), billing_id_array_of(s->subscription_id), at);
}

static void
resume_row(const BillingSubscription *s, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription s SET status = 'active', paused_at = NULL,"
		"  pauses = coalesce(s.pauses, '{}') + tstzmultirange(tstzrange(s.paused_at, $3)), changed_at = $3, billed_to = $3,"
		"  timezone = CASE WHEN c.period_start = s.period_start THEN s.timezone ELSE c.timezone END,"
		"  period_start = c.period_start, period_end = c.period_end, due_at = c.due_at, version = s.version + 1"
		" FROM billing.resume_cut($1, $2, $3) c"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), TimestampTzGetDatum(at)};

	(void) billing_spi_run(&query, args, NULL);
}
