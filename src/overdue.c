/*-------------------------------------------------------------------------
 *
 * overdue.c
 *	  Money that does not come: past due, suspended, frozen, and back.
 *
 * What a subscription is to be is a rule of its invoices and the clock, the view
 * billing.overdue_subscription; here it is made so, as often as anybody likes.  A
 * suspension is a pause that nobody asked for (pause.c): what is owed up to there is billed,
 * what was charged in advance stays owed, and whole periods that pass are not billed.
 * It begins where it is found, not where it was due: up to there the tenant was served.
 *
 * The way back does not wait for the next look: whoever settles an invoice takes it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "bill.h"
#include "clock.h"
#include "dunning.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"
#include "freeze.h"
#include "id.h"
#include "overdue.h"
#include "pause.h"
#include "spi.h"
#include "subscription.h"

/* Subscriptions that are to rest from one instant on, in parallel: whose they are, and their rows before. */
typedef struct Rest
{
	int			count;
	Datum	   *tenant_ids;
	Datum	   *subscription_ids;
	Datum	   *befores;
} Rest;

/* Subscriptions of one tenant that owe nothing overdue any more. */
typedef struct Settled
{
	BillingFlow *flow;
	Datum		subscription_ids;
} Settled;

static void make_rest(Rest *rest, int size);
static void add_to_rest(Rest *rest, const BillingSubscription *s, Datum before);
static void prepare(BillingFlow *flow, BillingSubscription *s, TimestampTz now, Rest *rest);
static void suspend(const char *flow_name, const Rest *rest, TimestampTz at);
static void keep_frozen(Datum tenant_ids, Datum subscription_ids);
static TimestampTz end_of(const BillingSubscription *s);
static void end_suspended(BillingFlow *flow, const BillingSubscription *s);
static bool is_unpaid(const BillingFlow *flow);
static void settle_past_due(const BillingFlow *flow);
static void resume_settled(BillingFlow *flow);
static void resume_some(void *set, int from, int count);
static void report_resume(void *set, int which, const ErrorData *error);
static void resume(BillingFlow *flow, int64 subscription_id);
static void thaw(BillingFlow *flow);

int64
billing_overdue_mark(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH marked AS ("
		"  UPDATE billing.subscription s SET status = 'past_due', version = s.version + 1"
		"    FROM billing.overdue_subscription o"
		"   WHERE o.tenant_id = ANY ($1) AND o.next_status = 'past_due' AND o.status = 'active'"
		"     AND s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id"
		"  RETURNING s.*"
		"), kept AS ("
		"  INSERT INTO billing.subscription_change (tenant_id, subscription_id, change_no, kind, effective_at, status, plan_id,"
		"    quantity, anchor, timezone, period_start, period_end)"
		"  SELECT m.tenant_id, m.subscription_id, m.version, 'past_due', billing.now(), m.status, m.plan_id, m.quantity, m.anchor,"
		"    m.timezone, m.period_start, m.period_end FROM marked m"
		") SELECT count(*), array_agg(m.tenant_id ORDER BY m.tenant_id, m.subscription_id),"
		"    array_agg(m.subscription_id ORDER BY m.tenant_id, m.subscription_id) FROM marked m",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		marked[2];
	int64		count;
	bool		isnull;

	(void) billing_spi_run(&query, &tenant_ids, NULL);
	count = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	marked[0] = billing_spi_copy(0, 2, context);
	marked[1] = billing_spi_copy(0, 3, context);
	billing_event_emit_all("subscription.past_due", marked[0], marked[1]);
	return count;
}

void
billing_overdue_enforce(const char *flow_name, Datum tenant_ids, Datum subscription_ids)
{
	int			count = billing_id_count(tenant_ids);
	TimestampTz now = billing_clock_now();
	Rest		rest;

	make_rest(&rest, count);
	for (int i = 0; i < count; i++)
	{
		BillingFlow flow = {.name = flow_name, .tenant_id = billing_id_at(tenant_ids, i), .caller = CurrentMemoryContext};
		BillingSubscription s;

		CHECK_FOR_INTERRUPTS();
		billing_subscription_read(&flow, billing_id_at(subscription_ids, i), &s);
		if (strcmp(s.status, "suspended") == 0)
			end_suspended(&flow, &s);
		else
			prepare(&flow, &s, now, &rest);
	}
	suspend(flow_name, &rest, now);
}

static void
make_rest(Rest *rest, int size)
{
	rest->count = 0;
	rest->tenant_ids = palloc(size * sizeof(Datum));
	rest->subscription_ids = palloc(size * sizeof(Datum));
	rest->befores = palloc(size * sizeof(Datum));
}

static void
add_to_rest(Rest *rest, const BillingSubscription *s, Datum before)
{
	rest->tenant_ids[rest->count] = Int64GetDatum(s->tenant_id);
	rest->subscription_ids[rest->count] = Int64GetDatum(s->subscription_id);
	rest->befores[rest->count++] = before;
}

/*
 * prepare
 *		Let one that is to rest come to the present: what was to end by now, ends.
 *
 * A period that ends at this very instant is followed by none.  What was billed, or changed, ahead of now rests
 * from there on, alone.
 */
static void
prepare(BillingFlow *flow, BillingSubscription *s, TimestampTz now, Rest *rest)
{
	Datum		before = s->row;
	TimestampTz at;
	Rest		alone;

	billing_subscription_catch_up(flow, s, now, end_of(s) <= now);
	if (strcmp(s->status, "active") != 0 && strcmp(s->status, "past_due") != 0)
		return;
	at = Max(s->billed_to, s->changed_at);
	if (at <= now)
	{
		add_to_rest(rest, s, before);
		return;
	}
	make_rest(&alone, 1);
	add_to_rest(&alone, s, before);
	suspend(flow->name, &alone, at);
}

/*
 * suspend
 *		Let them rest until they are paid, and freeze their tenants.
 *
 * A few statements for all: those that calculate the last invoices take ten times longer to plan than for one to run.
 */
static void
suspend(const char *flow_name, const Rest *rest, TimestampTz at)
{
	Datum		tenant_ids = billing_id_array(rest->tenant_ids, rest->count);
	Datum		subscription_ids = billing_id_array(rest->subscription_ids, rest->count);

	if (rest->count == 0)
		return;
	billing_pause_begin(tenant_ids, subscription_ids, "suspended", at);
	billing_subscription_record_all(flow_name, tenant_ids, subscription_ids, rest->befores, "suspended", at,
									CStringGetTextDatum("unpaid"), "subscription.suspended");
	billing_freeze_unpaid(flow_name, tenant_ids);
	keep_frozen(tenant_ids, subscription_ids);
}

/* What their tenants were frozen for: not again, if a person thaws one, and this one ends. */
static void
keep_frozen(Datum tenant_ids, Datum subscription_ids)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice_dunning d SET frozen_at = billing.now()"
		"  FROM unnest($1, $2) k (tenant_id, subscription_id), billing.overdue_invoice o"
		" WHERE o.tenant_id = k.tenant_id AND o.subscription_id = k.subscription_id AND d.tenant_id = o.tenant_id"
		"   AND d.invoice_id = o.invoice_id AND d.frozen_at IS NULL",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {tenant_ids, subscription_ids};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_overdue_freeze
 *		Freeze tenants for what their ended subscriptions owe, where nobody has for that; returns how many.
 *
 * It is done once for an invoice: a person who thaws the tenant meant it.
 */
int64
billing_overdue_freeze(const char *flow_name, Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH frozen AS (UPDATE billing.invoice_dunning d SET frozen_at = billing.now() FROM billing.due_freeze f"
		"   WHERE f.tenant_id = ANY ($1) AND d.tenant_id = f.tenant_id AND d.invoice_id = f.invoice_id RETURNING d.tenant_id)"
		" SELECT array_agg(DISTINCT f.tenant_id), count(DISTINCT f.tenant_id) FROM frozen f",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	MemoryContext context = CurrentMemoryContext;
	int64		count;
	bool		isnull;

	(void) billing_spi_run(&query, &tenant_ids, NULL);
	count = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	if (count > 0)
		billing_freeze_unpaid(flow_name, billing_spi_copy(0, 1, context));
	return count;
}

/* Where it ends, as far as that is certain: by cancellation, or because it is not renewed. */
static TimestampTz
end_of(const BillingSubscription *s)
{
	return Min(s->cancel_at, s->auto_renew ? DT_NOEND : s->period_end);
}

/*
 * end_suspended
 *		End one whose end was reached while it was suspended.
 *
 * The bill path ends it, as it does any other.  It owes nothing of the time since it was
 * suspended, which is behind changed_at.  What came late of the time before is billed as of the
 * present: as of the end, its invoice would be overdue at birth, and posted into a past month.
 */
static void
end_suspended(BillingFlow *flow, const BillingSubscription *s)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.subscription s SET changed_at = $3, due_at = $3, version = s.version + 1"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	BillingSubscription due;
	TimestampTz at = Max(end_of(s), s->billed_to);
	Datum		args[] = {Int64GetDatum(s->tenant_id), Int64GetDatum(s->subscription_id), TimestampTzGetDatum(at)};
	bool		is_canceled = s->cancel_at <= at;

	(void) billing_spi_run(&query, args, NULL);
	billing_subscription_read(flow, s->subscription_id, &due);
	billing_subscription_catch_up(flow, &due, Max(at, billing_clock_now()), true);
	(void) billing_subscription_record(flow, s->subscription_id, s->row, is_canceled ? "canceled" : "expired", at, (Datum) 0,
									   NULL);
}

/*
 * billing_overdue_settle
 *		See overdue.h.  Whom it does not concern, it costs two look-ups.
 */
void
billing_overdue_settle(BillingFlow *flow)
{
	if (!is_unpaid(flow))
		return;
	settle_past_due(flow);
	resume_settled(flow);
	thaw(flow);
}

static bool
is_unpaid(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 AND (t.is_unpaid OR EXISTS (SELECT FROM billing.subscription s"
		"    WHERE s.tenant_id = t.tenant_id AND s.status IN ('past_due', 'suspended')))",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

static void
settle_past_due(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "WITH settled AS ("
		"  UPDATE billing.subscription s SET status = 'active', version = s.version + 1"
		"   WHERE s.tenant_id = $1 AND s.status = 'past_due' AND NOT EXISTS (SELECT FROM billing.overdue_invoice o"
		"     WHERE o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id)"
		"  RETURNING s.*"
		"), kept AS ("
		"  INSERT INTO billing.subscription_change (tenant_id, subscription_id, change_no, kind, effective_at, status, plan_id,"
		"    quantity, anchor, timezone, period_start, period_end)"
		"  SELECT m.tenant_id, m.subscription_id, m.version, 'settled', billing.now(), m.status, m.plan_id, m.quantity, m.anchor,"
		"    m.timezone, m.period_start, m.period_end FROM settled m"
		") SELECT array_agg(m.tenant_id ORDER BY m.subscription_id), array_agg(m.subscription_id ORDER BY m.subscription_id) FROM settled m",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	MemoryContext context = CurrentMemoryContext;
	Datum		settled[2];

	(void) billing_spi_run(&query, args, NULL);
	settled[0] = billing_spi_copy(0, 1, context);
	settled[1] = billing_spi_copy(0, 2, context);
	billing_event_emit_all("subscription.updated", settled[0], settled[1]);
}

/* One that is being ended, which has a boundary, does not go on. */
static void
resume_settled(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT s.tenant_id, s.subscription_id FROM billing.subscription s"
		" WHERE s.tenant_id = $1 AND s.status = 'suspended' AND s.due_at IS NULL"
		"   AND NOT EXISTS (SELECT FROM billing.overdue_invoice o"
		"     WHERE o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id)"
		" ORDER BY s.subscription_id",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	Settled		settled = {.flow = flow};
	Datum		tenant_ids;
	int64		last[2];
	int			count = billing_flow_claim(&query, args, &tenant_ids, &settled.subscription_ids, last);

	billing_attempt(resume_some, report_resume, &settled, count);
}

static void
resume_some(void *set, int from, int count)
{
	Settled    *settled = set;

	for (int i = from; i < from + count; i++)
		resume(settled->flow, billing_id_at(settled->subscription_ids, i));
}

/* Money that came is recorded all the same. */
static void
report_resume(void *set, int which, const ErrorData *error)
{
	Settled    *settled = set;
	long long	tenant_id = settled->flow->tenant_id;
	long long	subscription_id = billing_id_at(settled->subscription_ids, which);

	billing_dunning_postpone(tenant_id, subscription_id);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("subscription %lld of tenant %lld owes nothing overdue and could not go on: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It stays suspended; billing.dunning() tries it again in an hour, billing.enforce_expirations() at once.")));
}

/*
 * resume
 *		Let one go on whose invoices are paid, or end, if that is what was to happen meanwhile.
 *
 * To record the one before may have let this one go on already.
 */
static void
resume(BillingFlow *flow, int64 subscription_id)
{
	BillingSubscription s;
	TimestampTz now = billing_clock_now();
	TimestampTz at;

	billing_subscription_read(flow, subscription_id, &s);
	if (strcmp(s.status, "suspended") != 0)
		return;
	if (end_of(&s) <= now)
	{
		end_suspended(flow, &s);
		return;
	}
	at = Max(now, s.paused_at);
	billing_pause_end(&s, at, false);
	(void) billing_subscription_record(flow, subscription_id, s.row, "resumed", at, (Datum) 0, "subscription.updated");
}

static void
thaw(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 AND t.is_unpaid AND NOT billing.stays_frozen(t.tenant_id)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};

	if (billing_spi_run(&query, args, NULL) > 0)
		(void) billing_freeze_set(flow, "active", CStringGetTextDatum("paid"), false);
}
