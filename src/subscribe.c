/*-------------------------------------------------------------------------
 *
 * subscribe.c
 *	  How a subscription begins.
 *
 * It is written as pending, due at its start.  If that has come, the bill path
 * starts it at once, at that boundary alone; what else is due since is work for the
 * bill run, one boundary after the other.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "bill.h"
#include "clock.h"
#include "coupon.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "payment_method.h"
#include "period.h"
#include "plan.h"
#include "setting.h"
#include "spi.h"
#include "subscription.h"

BILLING_FUNCTION(billing_subscribe);
BILLING_FUNCTION(billing_calendar_anchor);

#define TRIAL_DAYS_MAX 3650

/* The arguments of billing.subscribe, in their order. */
enum
{
	ARG_TENANT,
	ARG_PLAN,
	ARG_QUANTITY,
	ARG_AT,
	ARG_CYCLE,
	ARG_CURRENCY,
	ARG_COUPON,
	ARG_TRIAL_DAYS,
	ARG_ANCHOR,
	ARG_BILLING,
	ARG_ACTIVATE,
	ARG_AUTO_RENEW,
	ARG_PAYMENT_METHOD,
	ARG_METADATA,
	ARG_REQUEST
};

/* What is being subscribed to, as far as the arguments leave it open. */
typedef struct Order
{
	int64		subscription_id;
	bool		is_calendar;
	bool		on_payment;
	TimestampTz start;
	TimestampTz trial_end;		/* DT_NOBEGIN: no trial */
	TimestampTz anchor;
	char	   *currency;		/* of the tenant, unless given */
	Datum		timezone;		/* of the tenant */
	int64		plan_id;
	Interval   *cycle;			/* of the plan; NULL: lifetime */
	int			plan_trial_days;	/* -1: what setting trial_days says */
	bool		had_trial;
} Order;

static void check_arguments(FunctionCallInfo fcinfo);
static bool read_choice(FunctionCallInfo fcinfo, int arg, const char *name, const char *yes, const char *no);
static void check_instant(FunctionCallInfo fcinfo, int arg, const char *name);
pg_noreturn static void report_argument(const char *name, const char *value, const char *hint);
static void read_tenant(FunctionCallInfo fcinfo, BillingFlow *flow, Order *order);
static void find_plan(FunctionCallInfo fcinfo, BillingFlow *flow, Order *order);
static void set_times(FunctionCallInfo fcinfo, BillingFlow *flow, Order *order);
static int	count_trial_days(FunctionCallInfo fcinfo, BillingFlow *flow, const Order *order);
static void write_order(FunctionCallInfo fcinfo, BillingFlow *flow, const Order *order);

/*
 * billing_subscribe
 *		Put a tenant on a plan.
 */
Datum
billing_subscribe(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Order		order;
	Datum		result;
	int64		use_id = 0;
	int64		event_id;

	check_arguments(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "subscribe", ARG_REQUEST, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_check_tenant(&flow);
	order.subscription_id = billing_id_next();
	event_id = billing_id_next();
	order.is_calendar = read_choice(fcinfo, ARG_BILLING, "billing", "calendar", "anniversary");
	order.on_payment = read_choice(fcinfo, ARG_ACTIVATE, "activate", "on_payment", "now");
	order.start = PG_ARGISNULL(ARG_AT) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(ARG_AT);
	read_tenant(fcinfo, &flow, &order);
	find_plan(fcinfo, &flow, &order);
	set_times(fcinfo, &flow, &order);
	if (!PG_ARGISNULL(ARG_PAYMENT_METHOD))
		billing_payment_method_check_usable(&flow, PG_GETARG_INT64(ARG_PAYMENT_METHOD));
	write_order(fcinfo, &flow, &order);
	if (!PG_ARGISNULL(ARG_COUPON))
		use_id = billing_coupon_apply(&flow, PG_GETARG_DATUM(ARG_COUPON), order.subscription_id, 0);

	if (order.start <= billing_clock_now())
		(void) billing_bill_first(flow.tenant_id, order.subscription_id, billing_clock_now());
	if (!PG_ARGISNULL(ARG_COUPON))
		billing_coupon_claim(flow.tenant_id, PG_GETARG_DATUM(ARG_COUPON), use_id);
	result = billing_subscription_record(&flow, order.subscription_id, (Datum) 0, "subscribed", order.start, (Datum) 0, NULL);
	billing_event_emit_as(event_id, flow.tenant_id, "subscription.created", order.subscription_id);
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, ARG_PLAN, "plan");
	billing_flow_require(fcinfo, ARG_QUANTITY, "quantity");
	billing_flow_require(fcinfo, ARG_BILLING, "billing");
	billing_flow_require(fcinfo, ARG_ACTIVATE, "activate");
	billing_flow_require(fcinfo, ARG_AUTO_RENEW, "auto_renew");
	billing_flow_require(fcinfo, ARG_METADATA, "metadata");
	(void) read_choice(fcinfo, ARG_BILLING, "billing", "calendar", "anniversary");
	(void) read_choice(fcinfo, ARG_ACTIVATE, "activate", "on_payment", "now");
	check_instant(fcinfo, ARG_AT, "at");
	check_instant(fcinfo, ARG_ANCHOR, "anchor");

	if (PG_GETARG_INT32(ARG_QUANTITY) < 1)
		report_argument("quantity", psprintf("%d", PG_GETARG_INT32(ARG_QUANTITY)), "Subscribe to one or more.");
	if (!PG_ARGISNULL(ARG_TRIAL_DAYS) &&
		(PG_GETARG_INT32(ARG_TRIAL_DAYS) < 0 || PG_GETARG_INT32(ARG_TRIAL_DAYS) > TRIAL_DAYS_MAX))
		report_argument("trial_days", psprintf("%d", PG_GETARG_INT32(ARG_TRIAL_DAYS)),
						psprintf("A trial has from 0 to %d days.", TRIAL_DAYS_MAX));
	if (!JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(ARG_METADATA)))
		report_argument("metadata", "not an object", "Pass an object such as {\"order\": 17}.");
}

/* Which of the two values has an argument?  22023 if neither. */
static bool
read_choice(FunctionCallInfo fcinfo, int arg, const char *name, const char *yes, const char *no)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(arg));

	if (strcmp(value, yes) == 0)
		return true;
	if (strcmp(value, no) != 0)
		report_argument(name, value, psprintf("Use %s or %s.", no, yes));
	return false;
}

static void
check_instant(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (!PG_ARGISNULL(arg) && TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(arg)))
		report_argument(name, timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(arg)), "Pass an instant, not infinity or -infinity.");
}

static void
report_argument(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" of subscribe is not valid: %s", name, value),
			 errdetail("argument=%s value=%s", name, value),
			 errhint("%s", hint)));
}

/*
 * billing_subscription_check_tenant
 *		Refuse a tenant that is frozen or closed.
 */
void
billing_subscription_check_tenant(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT status, is_unpaid FROM billing.tenant WHERE tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	bool		isnull;
	bool		is_unpaid;
	char	   *status;

	(void) billing_spi_run(&query, args, NULL);
	status = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	is_unpaid = DatumGetBool(billing_spi_value(0, 2, &isnull));
	if (strcmp(status, "active") == 0)
		return;

	ereport(ERROR,
			(errcode(strcmp(status, "frozen") == 0 ? ERRCODE_BILLING_TENANT_FROZEN : ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("tenant %lld is %s", (long long) flow->tenant_id, status),
			 errdetail("tenant_id=%lld status=%s", (long long) flow->tenant_id, status),
			 strcmp(status, "frozen") == 0 ?
			 errhint("%s", is_unpaid ? BILLING_PAY_FIRST : "Unfreeze the tenant first.") :
			 errhint("A closed tenant stays closed: create another one.")));
}

static void
read_tenant(FunctionCallInfo fcinfo, BillingFlow *flow, Order *order)
{
	static BillingQuery query = {
		.sql = "SELECT currency, timezone FROM billing.tenant WHERE tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	order->currency = PG_ARGISNULL(ARG_CURRENCY) ?
		TextDatumGetCString(billing_spi_value(0, 1, &isnull)) :
		text_to_cstring(PG_GETARG_TEXT_PP(ARG_CURRENCY));
	order->timezone = billing_spi_copy(0, 2, flow->caller);
}

/*
 * find_plan
 *		Find the version of the plan and close it to changes.
 */
static void
find_plan(FunctionCallInfo fcinfo, BillingFlow *flow, Order *order)
{
	static BillingQuery query = {
		.sql = "SELECT p.cycle, coalesce(p.trial_days, -1), EXISTS (SELECT FROM billing.subscription s "
		"JOIN billing.plan o ON o.plan_id = s.plan_id "
		"WHERE s.tenant_id = $2 AND s.trial_end > s.started_at AND o.code = p.code) "
		"FROM billing.plan p WHERE p.plan_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[2];
	bool		isnull;

	order->plan_id = billing_plan_find(text_to_cstring(PG_GETARG_TEXT_PP(ARG_PLAN)),
									   PG_ARGISNULL(ARG_CYCLE) ? NULL : PG_GETARG_INTERVAL_P(ARG_CYCLE),
									   order->currency);
	billing_plan_mark_used(order->plan_id);

	args[0] = Int64GetDatum(order->plan_id);
	args[1] = Int64GetDatum(flow->tenant_id);
	(void) billing_spi_run(&query, args, NULL);
	order->cycle = DatumGetIntervalP(billing_spi_copy(0, 1, flow->caller));
	order->plan_trial_days = DatumGetInt32(billing_spi_value(0, 2, &isnull));
	order->had_trial = DatumGetBool(billing_spi_value(0, 3, &isnull));
}

/*
 * set_times
 *		Set the end of the trial and the anchor.
 *
 * Periods are counted from where paid service begins; by the calendar from the start
 * of the month, or whatever unit the cycle has, in which that lies.
 */
static void
set_times(FunctionCallInfo fcinfo, BillingFlow *flow, Order *order)
{
	int			trial_days = count_trial_days(fcinfo, flow, order);

	order->trial_end = DT_NOBEGIN;
	order->anchor = order->start;
	if (trial_days > 0)
	{
		Interval	trial = {.day = trial_days};

		order->trial_end = billing_period_boundary(order->start, &trial, 1,
												   billing_period_find_zone(DatumGetTextPP(order->timezone)));
		order->anchor = order->trial_end;
	}
	if (!PG_ARGISNULL(ARG_ANCHOR))
		order->anchor = PG_GETARG_TIMESTAMPTZ(ARG_ANCHOR);
	else if (order->is_calendar && order->cycle != NULL)
		order->anchor = billing_subscription_calendar_anchor(order->anchor, order->cycle, order->timezone);
}

/*
 * count_trial_days
 *		How many days of trial: once per tenant and plan, and never for one that
 *		waits for its first payment.
 */
static int
count_trial_days(FunctionCallInfo fcinfo, BillingFlow *flow, const Order *order)
{
	if (order->had_trial || order->on_payment)
		return 0;
	if (!PG_ARGISNULL(ARG_TRIAL_DAYS))
		return PG_GETARG_INT32(ARG_TRIAL_DAYS);
	if (order->plan_trial_days >= 0)
		return order->plan_trial_days;
	return billing_setting_int("trial_days", flow->tenant_id, order->plan_id);
}

/*
 * billing_calendar_anchor
 *		See billing_subscription_calendar_anchor.
 */
Datum
billing_calendar_anchor(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(billing_subscription_calendar_anchor(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_INTERVAL_P(1), PG_GETARG_DATUM(2)));
}

TimestampTz
billing_subscription_calendar_anchor(TimestampTz at, const Interval *cycle, Datum timezone)
{
	const char *unit = "day";

	if (cycle->day == 0 && cycle->time == 0)
		unit = cycle->month % MONTHS_PER_YEAR == 0 ? "year" : "month";
	else if (cycle->month > 0)
		unit = "month";
	else if (cycle->time == 0 && cycle->day % 7 == 0)
		unit = "week";

	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_trunc_zone, CStringGetTextDatum(unit),
												   TimestampTzGetDatum(at), timezone));
}

static void
write_order(FunctionCallInfo fcinfo, BillingFlow *flow, const Order *order)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, quantity, status, currency, billing, "
		"activate, anchor, timezone, started_at, trial_end, due_at, auto_renew, payment_method_id, metadata) "
		"SELECT $1, $2, $3, $4, 'pending', p.currency, $5, $6, $7, $8, $9, $10, $9, $11, "
		"coalesce($12, (SELECT m.payment_method_id FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.is_default)), $13 "
		"FROM billing.plan p WHERE p.plan_id = $3",
		.expected = SPI_OK_INSERT,
		.nargs = 13,
		.argtypes = {
			INT8OID, INT8OID, INT8OID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID,
			TIMESTAMPTZOID, BOOLOID, INT8OID, JSONBOID
		},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(order->subscription_id), Int64GetDatum(order->plan_id),
		PG_GETARG_DATUM(ARG_QUANTITY), PG_GETARG_DATUM(ARG_BILLING), PG_GETARG_DATUM(ARG_ACTIVATE),
		TimestampTzGetDatum(order->anchor), order->timezone, TimestampTzGetDatum(order->start),
		TimestampTzGetDatum(order->trial_end), PG_GETARG_DATUM(ARG_AUTO_RENEW),
		PG_GETARG_DATUM(ARG_PAYMENT_METHOD), PG_GETARG_DATUM(ARG_METADATA)
	};
	char		nulls[] = "             ";

	if (order->trial_end == DT_NOBEGIN)
		nulls[9] = 'n';
	if (PG_ARGISNULL(ARG_PAYMENT_METHOD))
		nulls[11] = 'n';
	(void) billing_spi_run(&query, args, nulls);
}
