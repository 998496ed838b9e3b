/*-------------------------------------------------------------------------
 *
 * change.c
 *	  Another plan or another quantity: at once, or where the period ends.
 *
 * At once, the period that runs is cut: what ended and what begins are parts of it, and
 * what was charged in advance for the time after the cut is taken back (due_part.c).  At
 * the very end of a period there is nothing to cut: the boundary that is due bills the
 * old plan's arrears and the new plan's advance.  That is also what becomes of
 * a change that was put off: the bill run makes it, a set at a time, before it looks at the
 * boundary.
 *
 * A period is kept by a change, unless its length is another, or from it on something is to
 * be paid: then periods are counted from the change on, and the first one is billed there.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "bill.h"
#include "change.h"
#include "clock.h"
#include "due_part.h"
#include "flow.h"
#include "id.h"
#include "plan.h"
#include "spi.h"
#include "subscription.h"

BILLING_FUNCTION(billing_change_plan);
BILLING_FUNCTION(billing_cancel_scheduled_change);

/* The arguments of billing.change_plan, in their order. */
enum
{
	ARG_TENANT,
	ARG_SUBSCRIPTION,
	ARG_PLAN,
	ARG_QUANTITY,
	ARG_EFFECTIVE,
	ARG_PRORATION,
	ARG_CYCLE,
	ARG_REQUEST
};

typedef enum Proration
{
	PRORATE,					/* credit at once, charge with the next invoice */
	PRORATE_NONE,				/* neither */
	PRORATE_INVOICE_NOW			/* both at once */
} Proration;

/* What a subscription changes to. */
typedef struct Target
{
	int64		plan_id;
	int32		quantity;
	bool		is_same;		/* as it is */
	bool		begins_anew;	/* periods are counted from the change on */
} Target;

static void check_arguments(FunctionCallInfo fcinfo);
static char *text_argument(FunctionCallInfo fcinfo, int arg);
static bool read_effective(const char *function, const char *value);
static Proration read_proration(const char *function, const char *value);
pg_noreturn static void report_argument(const char *function, const char *name, const char *value, const char *hint);
static void catch_up(BillingFlow *flow, BillingSubscription *s, TimestampTz now);
static bool ends_at_boundary(const BillingSubscription *s);
static void check_state(const BillingSubscription *s);
static int64 find_plan(FunctionCallInfo fcinfo, const BillingSubscription *s);
static void compare_target(const BillingSubscription *s, Target *target);
static void check_target(const BillingSubscription *s, const Target *target, bool now);
static void put_off(const BillingSubscription *s, const Target *target);
static void drop_next(const BillingSubscription *s);
static void change_now(BillingFlow *flow, const BillingSubscription *s, const Target *target, TimestampTz at, Proration proration);
static bool is_paid(const BillingSubscription *s);
static void change_unpaid(const BillingSubscription *s, const Target *target, TimestampTz at);
static void change_at_boundary(const BillingSubscription *s, const Target *target);
static void change_within(const BillingSubscription *s, const Target *target, TimestampTz at, bool bills_now);
static void begin_anew(const BillingSubscription *s, const Target *target, TimestampTz at);

/*
 * billing_change_plan
 *		Put a subscription on another plan, or give it another quantity.
 */
Datum
billing_change_plan(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	Datum		before;
	Datum		result;

	check_arguments(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "change_plan", ARG_REQUEST, &result))
		PG_RETURN_DATUM(result);

	billing_change_begin(&flow, PG_GETARG_INT64(ARG_SUBSCRIPTION), &s, &before);
	result = billing_change_to(&flow, &s, before,
							   PG_ARGISNULL(ARG_PLAN) && PG_ARGISNULL(ARG_CYCLE) ? s.plan_id : find_plan(fcinfo, &s),
							   PG_ARGISNULL(ARG_QUANTITY) ? s.quantity : PG_GETARG_INT32(ARG_QUANTITY),
							   text_argument(fcinfo, ARG_EFFECTIVE), text_argument(fcinfo, ARG_PRORATION));
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, ARG_SUBSCRIPTION, "subscription_id");
	billing_flow_require(fcinfo, ARG_EFFECTIVE, "effective");
	billing_flow_require(fcinfo, ARG_PRORATION, "proration");
	billing_change_check("change_plan", text_argument(fcinfo, ARG_EFFECTIVE), text_argument(fcinfo, ARG_PRORATION));
	if (PG_ARGISNULL(ARG_PLAN) && PG_ARGISNULL(ARG_QUANTITY) && PG_ARGISNULL(ARG_CYCLE))
		report_argument("change_plan", "plan", "NULL", "Name a plan, a quantity or a cycle to change to.");
	if (!PG_ARGISNULL(ARG_QUANTITY) && PG_GETARG_INT32(ARG_QUANTITY) < 1)
		report_argument("change_plan", "quantity", psprintf("%d", PG_GETARG_INT32(ARG_QUANTITY)),
						"Change to one or more; to end it, cancel.");
}

static char *
text_argument(FunctionCallInfo fcinfo, int arg)
{
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

void
billing_change_check(const char *function, const char *effective, const char *proration)
{
	(void) read_effective(function, effective);
	(void) read_proration(function, proration);
}

/* True: now, false: at the end of the period. */
static bool
read_effective(const char *function, const char *value)
{
	if (strcmp(value, "now") == 0)
		return true;
	if (strcmp(value, "period_end") != 0)
		report_argument(function, "effective", value, "Use now or period_end.");
	return false;
}

static Proration
read_proration(const char *function, const char *value)
{
	static const char *const names[] = {
		[PRORATE] = "prorate",
		[PRORATE_NONE] = "none",
		[PRORATE_INVOICE_NOW] = "invoice_now"
	};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(value, names[i]) == 0)
			return (Proration) i;
	}
	report_argument(function, "proration", value, "Use prorate, none or invoice_now.");
}

static void
report_argument(const char *function, const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" of %s is not valid: %s", name, function, value),
			 errdetail("argument=%s value=%s", name, value),
			 errhint("%s", hint)));
}

void
billing_change_begin(BillingFlow *flow, int64 subscription_id, BillingSubscription *s, Datum *before)
{
	billing_subscription_check_tenant(flow);
	billing_subscription_read(flow, subscription_id, s);
	*before = s->row;
	catch_up(flow, s, billing_clock_now());
	check_state(s);
}

/*
 * billing_change_to
 *		See change.h.  To what it is already, it only drops what waits.
 */
Datum
billing_change_to(BillingFlow *flow, const BillingSubscription *s, Datum before, int64 plan_id, int32 quantity,
				  const char *effective, const char *proration)
{
	bool		now = read_effective(flow->name, effective);
	TimestampTz at = now ? Max(Max(billing_clock_now(), s->billed_to), s->changed_at) : s->period_end;
	Target		target = {plan_id, quantity, plan_id == s->plan_id && quantity == s->quantity, false};

	compare_target(s, &target);
	check_target(s, &target, now);
	if (target.is_same && !s->has_next)
		return s->row;

	billing_plan_mark_used(plan_id);
	if (now)
		change_now(flow, s, &target, at, read_proration(flow->name, proration));
	else
		put_off(s, &target);
	return billing_subscription_record(flow, s->subscription_id, before, now ? "changed" : "scheduled", at, (Datum) 0,
									   "subscription.updated");
}

/*
 * catch_up
 *		Let the bill path do what was due, but for the end of a period that is now and is
 *		followed by another: that is still to be billed by the new plan.
 */
static void
catch_up(BillingFlow *flow, BillingSubscription *s, TimestampTz now)
{
	billing_subscription_catch_up(flow, s, now, false);
	if (s->due_at == now && !ends_at_boundary(s))
		billing_subscription_catch_up(flow, s, now, true);
}

/* Does a period, or a trial, end at its boundary, and another follow? */
static bool
ends_at_boundary(const BillingSubscription *s)
{
	return s->billed_to != DT_NOBEGIN && s->due_at != DT_NOEND && s->due_at >= s->period_end && s->cancel_at > s->due_at &&
		(s->auto_renew || strcmp(s->status, "trialing") == 0);
}

static void
check_state(const BillingSubscription *s)
{
	billing_subscription_check_not_ended(s, "changed");
	if (strcmp(s->status, "paused") == 0)
		billing_subscription_report_state(s, "changed", "Call billing.resume_subscription first.");
	if (strcmp(s->status, "suspended") == 0)
		billing_subscription_report_state(s, "changed", BILLING_PAY_FIRST);
	if (strcmp(s->status, "pending") == 0 && s->due_at == DT_NOEND)
		billing_subscription_report_state(s, "changed, since it waits for its first payment",
										  "Cancel it, and subscribe to the other plan.");
}

/* One that is canceled begins no period any more, and has no end at which it could change; nor has a lifetime. */
static void
check_target(const BillingSubscription *s, const Target *target, bool now)
{
	if (s->cancel_at != DT_NOEND && (target->begins_anew || !now))
		billing_subscription_report_state(s, now ? "counted from here on, since it is canceled" :
										  "changed at the end of its period, since it is canceled there",
										  "Call billing.reactivate_subscription first.");
	if (s->period_end == DT_NOEND && !now)
		billing_subscription_report_state(s, "changed at the end of its period, which has none",
										  "Change it with effective => 'now'.");
}

/*
 * find_plan
 *		The newest version of the plan that was named, or of its own: of the cycle that was
 *		named, else of its own if there is one of that.
 */
static int64
find_plan(FunctionCallInfo fcinfo, const BillingSubscription *s)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce($3, p.code), s.currency, CASE WHEN EXISTS (SELECT FROM billing.plan o WHERE o.code = coalesce($3, p.code)"
		"    AND o.cycle IS NOT DISTINCT FROM p.cycle AND o.currency = s.currency AND o.is_active)"
		"    THEN coalesce(p.cycle, '0') END"
		"  FROM billing.subscription s JOIN billing.plan p ON p.plan_id = s.plan_id"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), PG_ARGISNULL(ARG_PLAN) ? (Datum) 0 : PG_GETARG_DATUM(ARG_PLAN)
	};
	Datum		cycle;
	bool		isnull;
	char	   *code;
	char	   *currency;

	(void) billing_spi_run(&query, args, PG_ARGISNULL(ARG_PLAN) ? "  n" : NULL);
	code = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	currency = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	cycle = billing_spi_copy(0, 3, CurrentMemoryContext);
	if (!PG_ARGISNULL(ARG_CYCLE))
		cycle = PG_GETARG_DATUM(ARG_CYCLE);
	return billing_plan_find(code, cycle == (Datum) 0 ? NULL : DatumGetIntervalP(cycle), currency);
}

/* Is the cycle another, or is something to be paid where nothing was?  Periods begin anew then. */
static void
compare_target(const BillingSubscription *s, Target *target)
{
	static BillingQuery query = {
		.sql = "SELECT n.cycle IS DISTINCT FROM p.cycle"
		"    OR billing.is_free(p.plan_id, $3) AND NOT billing.is_free(n.plan_id, $4)"
		"  FROM billing.plan p, billing.plan n WHERE p.plan_id = $1 AND n.plan_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT4OID, INT4OID},
	};
	Datum		args[] = {
		Int64GetDatum(s->plan_id), Int64GetDatum(target->plan_id), Int32GetDatum(s->quantity), Int32GetDatum(target->quantity)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	target->begins_anew = DatumGetBool(billing_spi_value(0, 1, &isnull));
}

/* Let it change where its period ends; to what it is, means not to change. */
static void
put_off(const BillingSubscription *s, const Target *target)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET next_plan_id = nullif($3, plan_id), next_quantity = nullif($4, quantity), "
		"version = version + 1 WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT4OID},
	};
	Datum		args[] = {
		Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), Int64GetDatum(target->plan_id), Int32GetDatum(target->quantity)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * change_now
 *		Cut the period at at; what waited for its end is dropped.
 *
 * What is credited is drawn by the invoice that is made after it.
 */
static void
change_now(BillingFlow *flow, const BillingSubscription *s, const Target *target, TimestampTz at, Proration proration)
{
	if (target->is_same)
		drop_next(s);
	else if (!is_paid(s))
		change_unpaid(s, target, at);
	else if (ends_at_boundary(s) && s->due_at == at)
	{
		change_at_boundary(s, target);
		(void) billing_bill_next(s->tenant_id, s->subscription_id, at);
	}
	else
	{
		bool		bills_now = target->begins_anew || proration == PRORATE_INVOICE_NOW;

		if (proration != PRORATE_NONE)
			billing_part_take_back(flow, s->subscription_id, at, "changed");
		billing_part_write(billing_id_array_of(s->tenant_id), billing_id_array_of(s->subscription_id), at, target->plan_id,
						   target->quantity, target->begins_anew ? BILLING_BEGINS_ANEW :
						   proration == PRORATE_NONE ? BILLING_BEGINS_NOTHING : BILLING_BEGINS_REST);
		if (target->begins_anew)
			begin_anew(s, target, at);
		else
			change_within(s, target, at, bills_now);
		if (bills_now)
			billing_part_bill(billing_id_array_of(s->tenant_id), billing_id_array_of(s->subscription_id), at);
	}
}

/* Has a period begun that is paid for? */
static bool
is_paid(const BillingSubscription *s)
{
	return strcmp(s->status, "pending") != 0 && strcmp(s->status, "trialing") != 0;
}

static void
drop_next(const BillingSubscription *s)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription SET next_plan_id = NULL, next_quantity = NULL, version = version + 1 "
		"WHERE tenant_id = $1 AND subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id)};

	(void) billing_spi_run(&query, args, NULL);
}

/* A subscription ($1, $2) is on another plan, in another quantity, and nothing waits any more. */
#define CHANGE_TO \
	"UPDATE billing.subscription s SET plan_id = $3, quantity = $4, next_plan_id = NULL, next_quantity = NULL," \
	" version = s.version + 1,"

/*
 * change_unpaid
 *		In a trial, or before the start, it is another plan and no money.
 *
 * By the calendar, the periods after it are counted from the start of another unit.
 */
static void
change_unpaid(const BillingSubscription *s, const Target *target, TimestampTz at)
{
	static BillingQuery query = {
		.sql = CHANGE_TO
		"  changed_at = CASE WHEN s.status = 'trialing' THEN $5 END,"
		"  anchor = CASE WHEN s.billing = 'calendar' AND n.cycle IS DISTINCT FROM p.cycle AND n.cycle IS NOT NULL"
		"    THEN billing.calendar_anchor(coalesce(s.trial_end, s.started_at), n.cycle, t.timezone) ELSE s.anchor END"
		" FROM billing.plan p, billing.plan n, billing.tenant t"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND t.tenant_id = s.tenant_id AND p.plan_id = s.plan_id AND n.plan_id = $3",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), Int64GetDatum(target->plan_id), Int32GetDatum(target->quantity),
		TimestampTzGetDatum(at)
	};

	if (strcmp(s->status, "trialing") == 0)
		billing_part_write(billing_id_array_of(s->tenant_id), billing_id_array_of(s->subscription_id), at, target->plan_id,
						   target->quantity, BILLING_BEGINS_NOTHING);
	(void) billing_spi_run(&query, args, NULL);
}

/* The boundary that is due ends the old plan's period and begins the new plan's. */
static void
change_at_boundary(const BillingSubscription *s, const Target *target)
{
	static BillingQuery query = {
		.sql = CHANGE_TO
		"  changed_at = s.due_at, anchor = billing.boundary_anchor(s, $3),"
		"  anew_at = CASE WHEN billing.changes_cycle(s.plan_id, $3) THEN s.due_at ELSE s.anew_at END"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT4OID},
	};
	Datum		args[] = {
		Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), Int64GetDatum(target->plan_id), Int32GetDatum(target->quantity)
	};

	billing_part_write(billing_id_array_of(s->tenant_id), billing_id_array_of(s->subscription_id), s->due_at, target->plan_id,
					   target->quantity, BILLING_BEGINS_NOTHING);
	(void) billing_spi_run(&query, args, NULL);
}

/* The period goes on; what was owed before at is billed up to there if that is done now. */
static void
change_within(const BillingSubscription *s, const Target *target, TimestampTz at, bool bills_now)
{
	static BillingQuery query = {
		.sql = CHANGE_TO
		"  changed_at = $5, due_at = c.due_at, billed_to = CASE WHEN $6 THEN $5 ELSE s.billed_to END"
		" FROM billing.change_cut($1, $2, $5, $3) c"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, BOOLOID},
	};
	Datum		args[] = {
		Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), Int64GetDatum(target->plan_id), Int32GetDatum(target->quantity),
		TimestampTzGetDatum(at), BoolGetDatum(bills_now)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/* Periods are counted from at on. */
static void
begin_anew(const BillingSubscription *s, const Target *target, TimestampTz at)
{
	static BillingQuery query = {
		.sql = CHANGE_TO
		"  changed_at = $5, anchor = b.anchor, timezone = b.timezone, period_start = b.period_start, period_end = b.period_end,"
		"  billed_to = $5, due_at = b.due_at, anew_at = $5, free_from = NULL"
		" FROM billing.change_start($1, $2, $5, $3) b"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), Int64GetDatum(target->plan_id), Int32GetDatum(target->quantity),
		TimestampTzGetDatum(at)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_cancel_scheduled_change
 *		Let a subscription stay what it is where its period ends.
 */
Datum
billing_cancel_scheduled_change(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	Datum		before;
	Datum		result;

	billing_flow_require(fcinfo, 1, "subscription_id");
	if (billing_flow_begin(&flow, fcinfo, "cancel_scheduled_change", 2, &result))
		PG_RETURN_DATUM(result);

	billing_subscription_read(&flow, PG_GETARG_INT64(1), &s);
	before = s.row;
	billing_subscription_catch_up(&flow, &s, now, true);
	billing_subscription_check_not_ended(&s, "kept as it is");
	if (!s.has_next)
		billing_subscription_report_state(&s, "kept as it is, since no change waits for the end of its period",
										  "billing.subscription has in next_plan_id and next_quantity what waits.");
	drop_next(&s);
	result = billing_subscription_record(&flow, s.subscription_id, before, "unscheduled", now, (Datum) 0, "subscription.updated");
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

/*
 * billing_change_apply_next
 *		See change.h: first what the old plans owe, then the new ones.  One that ends at the
 *		boundary does not change any more.
 */
void
billing_change_apply_next(TimestampTz at)
{
	static BillingQuery parts = {
		.sql = "INSERT INTO billing.due_part (tenant_id, subscription_id, part_no, kind, changed_at, plan_id, quantity, timezone,"
		"  arrears, arrears_whole, step_arrears, step_arrears_whole, is_pending)"
		" SELECT s.tenant_id, s.subscription_id, (SELECT coalesce(max(d.part_no), 0) + 1 FROM billing.due_part d"
		"    WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id),"
		"  'ended', s.due_at, s.plan_id, s.quantity, t.timezone, c.arrears, c.arrears_whole, c.step_arrears, c.step_arrears_whole,"
		"  num_nonnulls(c.arrears, c.step_arrears) > 0"
		" FROM claimed k"
		" JOIN billing.subscription s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id"
		" JOIN billing.tenant t ON t.tenant_id = s.tenant_id"
		" CROSS JOIN LATERAL (SELECT c.* FROM billing.change_cut(s.tenant_id, s.subscription_id, s.due_at, s.plan_id) c OFFSET 0) c"
		" WHERE s.due_at <= $1 AND billing.changes_at_boundary(s)",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static BillingQuery change = {
		.sql = "WITH changed AS ("
		"  UPDATE billing.subscription s SET plan_id = coalesce(s.next_plan_id, s.plan_id),"
		"    quantity = coalesce(s.next_quantity, s.quantity), next_plan_id = NULL, next_quantity = NULL, changed_at = s.due_at,"
		"    anchor = billing.boundary_anchor(s, coalesce(s.next_plan_id, s.plan_id)),"
		"    anew_at = CASE WHEN billing.changes_cycle(s.plan_id, s.next_plan_id) THEN s.due_at ELSE s.anew_at END,"
		"    version = s.version + 1"
		"  FROM claimed k"
		"  WHERE s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id AND s.due_at <= $1"
		"    AND billing.changes_at_boundary(s)"
		"  RETURNING s.*"
		") INSERT INTO billing.subscription_change (tenant_id, subscription_id, change_no, kind, effective_at, status, plan_id,"
		"  quantity, anchor, timezone, period_start, period_end)"
		" SELECT c.tenant_id, c.subscription_id, c.version, 'changed', c.changed_at, c.status, c.plan_id, c.quantity, c.anchor,"
		"  c.timezone, c.period_start, c.period_end FROM changed c",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		arg = TimestampTzGetDatum(at);

	(void) billing_spi_run_snapshot(&parts, &arg, NULL);
	(void) billing_spi_run_snapshot(&change, &arg, NULL);
}
