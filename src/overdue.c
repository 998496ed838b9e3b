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
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "bill.h"
#include "clock.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"
#include "freeze.h"
#include "id.h"
#include "overdue.h"
#include "pause.h"
#include "spi.h"
#include "subscription.h"

BILLING_FUNCTION(billing_enforce_expiration);
BILLING_FUNCTION(billing_enforce_expirations);

/* Subscriptions (bigint[] of tenants and ids) whose state is another than what the clock says. */
typedef struct Overdue
{
	Datum		tenant_ids;
	Datum		subscription_ids;
	int64		failed;
} Overdue;

/* Where in the order of what is overdue a call has come to. */
typedef struct Position
{
	TimestampTz due_at;
	int64		tenant_id;
	int64		subscription_id;
} Position;

/* Subscriptions of one tenant that owe nothing overdue any more. */
typedef struct Settled
{
	BillingFlow *flow;
	Datum		subscription_ids;
} Settled;

static void bill_ends(BillingFlow *flow);
static Datum read_tenant(BillingFlow *flow);
static bool claim(int32 batch, Position *position, Datum *tenant_ids);
static int64 enforce(Datum tenant_ids);
static int64 settle_all(void);
static int64 count_settled(Datum tenant_ids);
static void settle_some(void *set, int from, int count);
static void report_tenant(void *set, int which, const ErrorData *error);
static int64 mark_past_due(Datum tenant_ids);
static int	find_due(Datum tenant_ids, Overdue *due);
static BillingFlow begin_one(Datum tenant_ids, int which);
static void enforce_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static void enforce_one(BillingFlow *flow, int64 subscription_id);
static void suspend(BillingFlow *flow, BillingSubscription *s);
static TimestampTz end_of(const BillingSubscription *s);
static void end_suspended(BillingFlow *flow, const BillingSubscription *s);
static bool is_unpaid(const BillingFlow *flow);
static void settle_past_due(const BillingFlow *flow);
static void resume_settled(BillingFlow *flow);
static void resume_some(void *set, int from, int count);
static void report_resume(void *set, int which, const ErrorData *error);
static void resume(BillingFlow *flow, int64 subscription_id);
static void thaw(BillingFlow *flow);

/*
 * billing_enforce_expiration
 *		Make of one tenant what it is by the clock.
 */
Datum
billing_enforce_expiration(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Overdue		due = {0};
	Datum		result;
	int			count;

	if (billing_flow_begin(&flow, fcinfo, "enforce_expiration", 1, &result))
		return result;

	bill_ends(&flow);
	(void) mark_past_due(billing_id_array_of(flow.tenant_id));
	count = find_due(billing_id_array_of(flow.tenant_id), &due);
	for (int i = 0; i < count; i++)
		enforce_one(&flow, billing_id_at(due.subscription_ids, i));
	billing_overdue_settle(&flow);
	(void) billing_entitlement_refresh_one(flow.tenant_id);
	return billing_flow_end(&flow, read_tenant(&flow));
}

/* Let the bill path end what has ended by the clock. */
static void
bill_ends(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT s.tenant_id, s.subscription_id FROM billing.subscription s"
		" WHERE s.tenant_id = $1 AND s.due_at <= $2 AND (s.cancel_at <= $2 OR NOT s.auto_renew AND s.period_end <= $2)"
		" ORDER BY s.subscription_id",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TIMESTAMPTZOID},
	};
	TimestampTz now = billing_clock_now();
	Datum		args[] = {Int64GetDatum(flow->tenant_id), TimestampTzGetDatum(now)};
	Datum		tenant_ids;
	Datum		subscription_ids;
	int64		last[2];
	int			count = billing_flow_claim(&query, args, &tenant_ids, &subscription_ids, last);

	for (int i = 0; i < count; i++)
	{
		BillingSubscription s;

		billing_subscription_read(flow, billing_id_at(subscription_ids, i), &s);
		billing_subscription_catch_up(flow, &s, now, true);
	}
}

static Datum
read_tenant(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT t FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_enforce_expirations
 *		The same of all tenants for what is overdue; returns how many subscriptions changed.
 *
 * What becomes past due is one statement.  Each that is suspended gets an invoice of its own
 * for what it owes, in turn: there are few.  Those that nothing could be done for keep nobody waiting:
 * the call goes on behind them until something changes, or none is left.
 */
Datum
billing_enforce_expirations(PG_FUNCTION_ARGS)
{
	Position	position = {.due_at = DT_NOBEGIN};
	Datum		tenant_ids;
	int64		changed = 0;

	billing_flow_require(fcinfo, 0, "batch");
	if (PG_GETARG_INT32(0) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be positive"),
				 errdetail("argument=batch batch=%d", PG_GETARG_INT32(0)),
				 errhint("It is how many subscriptions one call looks at; 10000 is the default.")));

	billing_spi_begin();
	while (changed == 0 && claim(PG_GETARG_INT32(0), &position, &tenant_ids))
		changed = enforce(tenant_ids);
	if (changed == 0)
		changed = settle_all();
	billing_spi_end();
	PG_RETURN_INT64(changed);
}

/*
 * claim
 *		Lock the tenants of those that have been due longest, but for tenants that somebody works on; false if there
 *		are none behind the position.
 */
static bool
claim(int32 batch, Position *position, Datum *tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH next AS MATERIALIZED ("
		"  SELECT o.due_at, o.tenant_id, o.subscription_id FROM billing.overdue_subscription o"
		"   WHERE o.next_status <> o.status AND (o.due_at, o.tenant_id, o.subscription_id) > ($2, $3, $4)"
		"   ORDER BY o.due_at, o.tenant_id, o.subscription_id LIMIT $1"
		"), locked AS ("
		"  SELECT t.tenant_id FROM billing.tenant t WHERE t.tenant_id IN (SELECT n.tenant_id FROM next n)"
		"   ORDER BY t.tenant_id FOR NO KEY UPDATE SKIP LOCKED"
		") SELECT n.due_at, n.tenant_id, n.subscription_id, (SELECT coalesce(array_agg(l.tenant_id), '{}') FROM locked l)"
		"   FROM next n ORDER BY n.due_at DESC, n.tenant_id DESC, n.subscription_id DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {
		Int32GetDatum(batch), TimestampTzGetDatum(position->due_at), Int64GetDatum(position->tenant_id),
		Int64GetDatum(position->subscription_id)
	};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	position->due_at = DatumGetTimestampTz(billing_spi_value(0, 1, &isnull));
	position->tenant_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	position->subscription_id = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	*tenant_ids = billing_spi_copy(0, 4, context);
	billing_flow_check_snapshot(*tenant_ids);
	return true;
}

/* Of locked tenants: how many subscriptions changed. */
static int64
enforce(Datum tenant_ids)
{
	Overdue		due = {0};
	int64		changed = mark_past_due(tenant_ids);
	int			count = find_due(tenant_ids, &due);

	billing_attempt(enforce_some, report, &due, count);
	return changed + count - due.failed;
}

/* Which past due and suspended subscriptions owe nothing overdue, of all tenants or ($1) of some. */
#define SETTLED \
	" FROM billing.subscription s" \
	" WHERE (s.status = 'past_due' OR s.status = 'suspended' AND s.due_at IS NULL) AND NOT EXISTS (SELECT FROM billing.overdue_invoice o" \
	"   WHERE o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id)"

/*
 * settle_all
 *		Let those go on that could not when what they owed was settled; returns how many could now.
 *
 * It reads all subscriptions, so it comes last, where nothing else was left to do.
 */
static int64
settle_all(void)
{
	static BillingQuery query = {
		.sql = "SELECT t.tenant_id, t.tenant_id FROM billing.tenant t WHERE t.tenant_id IN (SELECT s.tenant_id" SETTLED ")"
		" ORDER BY t.tenant_id FOR NO KEY UPDATE OF t SKIP LOCKED",
		.expected = SPI_OK_SELECT,
	};
	Datum		tenant_ids;
	Datum		same;
	int64		last[2];
	int64		before;
	int			count = billing_flow_claim(&query, NULL, &tenant_ids, &same, last);

	if (count == 0)
		return 0;
	billing_flow_check_snapshot(tenant_ids);
	before = count_settled(tenant_ids);
	billing_attempt(settle_some, report_tenant, &tenant_ids, count);
	return before - count_settled(tenant_ids);
}

static int64
count_settled(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "SELECT count(*)" SETTLED " AND s.tenant_id = ANY ($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	bool		isnull;

	(void) billing_spi_run(&query, &tenant_ids, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static void
settle_some(void *set, int from, int count)
{
	for (int i = from; i < from + count; i++)
	{
		BillingFlow flow = begin_one(*(Datum *) set, i);

		billing_overdue_settle(&flow);
	}
}

static void
report_tenant(void *set, int which, const ErrorData *error)
{
	long long	tenant_id = billing_id_at(*(Datum *) set, which);

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("tenant %lld owes nothing overdue and could not go on: %s", tenant_id, error->message),
			 errdetail("tenant_id=%lld sqlstate=%s", tenant_id, unpack_sql_state(error->sqlerrcode)),
			 errhint("It waits and is tried again by the next call; the others are done.")));
}

/* Of locked tenants: how many it marked. */
static int64
mark_past_due(Datum tenant_ids)
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

/* Of locked tenants, in their order: what is to be suspended, or ends while it is; returns how many there are. */
static int
find_due(Datum tenant_ids, Overdue *due)
{
	static BillingQuery query = {
		.sql = "SELECT o.tenant_id, o.subscription_id FROM billing.overdue_subscription o"
		" WHERE o.tenant_id = ANY ($1) AND o.next_status <> o.status ORDER BY o.tenant_id, o.subscription_id",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	int64		last[2];

	return billing_flow_claim(&query, &tenant_ids, &due->tenant_ids, &due->subscription_ids, last);
}

/* The flow of one tenant of a batch. */
static BillingFlow
begin_one(Datum tenant_ids, int which)
{
	BillingFlow flow = {.name = "enforce_expirations", .tenant_id = billing_id_at(tenant_ids, which), .caller = CurrentMemoryContext};

	CHECK_FOR_INTERRUPTS();
	return flow;
}

static void
enforce_some(void *set, int from, int count)
{
	Overdue    *due = set;

	for (int i = from; i < from + count; i++)
	{
		BillingFlow flow = begin_one(due->tenant_ids, i);

		enforce_one(&flow, billing_id_at(due->subscription_ids, i));
	}
}

static void
report(void *set, int which, const ErrorData *error)
{
	Overdue    *due = set;
	long long	tenant_id = billing_id_at(due->tenant_ids, which);
	long long	subscription_id = billing_id_at(due->subscription_ids, which);

	due->failed++;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("subscription %lld of tenant %lld is overdue and could not be suspended: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It waits and is tried again by the next call; the others are done.")));
}

static void
enforce_one(BillingFlow *flow, int64 subscription_id)
{
	BillingSubscription s;

	billing_subscription_read(flow, subscription_id, &s);
	if (strcmp(s.status, "suspended") == 0)
		end_suspended(flow, &s);
	else
		suspend(flow, &s);
}

/*
 * suspend
 *		Let it rest until it is paid, and freeze its tenant.
 *
 * A period that ends at this very instant is followed by none; one that was to end by now, ends.
 */
static void
suspend(BillingFlow *flow, BillingSubscription *s)
{
	TimestampTz now = billing_clock_now();
	TimestampTz at;
	Datum		before = s->row;
	Datum		reason = CStringGetTextDatum("unpaid");

	billing_subscription_catch_up(flow, s, now, end_of(s) <= now);
	if (strcmp(s->status, "active") != 0 && strcmp(s->status, "past_due") != 0)
		return;

	at = Max(Max(now, s->billed_to), s->changed_at);
	billing_pause_begin(flow, s, "suspended", at);
	(void) billing_subscription_record(flow, s->subscription_id, before, "suspended", at, reason, "subscription.suspended");
	(void) billing_freeze_set(flow, "frozen", reason, true);
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

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("subscription %lld of tenant %lld owes nothing overdue and could not go on: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It stays suspended; billing.enforce_expirations() tries it again.")));
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
	billing_pause_end(flow, &s, at, false);
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
