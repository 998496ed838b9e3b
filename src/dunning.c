/*-------------------------------------------------------------------------
 *
 * dunning.c
 *	  What follows, by the clock, where money does not come.
 *
 * Each invoice whose due date comes while it is not paid, or that a subscription waits for, gets a row of
 * billing.invoice_dunning, whose next_at says when it is looked at again.  A look takes all steps that are due of its tenant,
 * whoever came late: which these are, the views say of the clock and of what was done
 * (due_attempt, overdue_subscription, due_freeze, due_give_up).  So nothing is done twice, a look
 * at what is done changes nothing, and what is paid, or has come to the end of its timetable,
 * is not looked at any more.
 *
 * A tenant that a step fails for keeps what the steps before did, is set aside and looked at
 * again, ever later.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "aside.h"
#include "attempt.h"
#include "bill.h"
#include "clock.h"
#include "collect.h"
#include "dunning.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "invoice.h"
#include "overdue.h"
#include "spi.h"
#include "subscription.h"

BILLING_FUNCTION(billing_collect_invoices);
BILLING_FUNCTION(billing_dunning);
BILLING_FUNCTION(billing_enforce_expiration);
BILLING_FUNCTION(billing_enforce_expirations);
BILLING_FUNCTION(billing_retry_payments);

/* One step for objects of locked tenants, in parallel; how many that changed.  flow_name is the function that was called. */
typedef int64 (*Step) (const char *flow_name, Datum tenant_ids, Datum ids);

/* The same for one of the flow's tenant; whether that changed something. */
typedef bool (*StepOfOne) (BillingFlow *flow, int64 id);

/*
 * Objects of locked tenants that a step is to be taken for, as pairs; what it was that failed,
 * for a warning, and the tenants that it failed for.
 */
typedef struct Batch
{
	Datum		tenant_ids;
	Datum		ids;
	const char *name;			/* of the function that was called */
	Step		step;
	const char *object;			/* what it is taken for */
	const char *what;			/* and what could not be done of it */
	int64		changed;
	ArrayBuildState **failed;
} Batch;

/* Where in the order of what is overdue a call has come to. */
typedef struct Position
{
	TimestampTz due_at;
	int64		tenant_id;
	int64		subscription_id;
} Position;

static int64 claim(int32 batch, Datum *tenant_ids);
static int64 claim_by(BillingQuery *query, int32 batch, Datum *tenant_ids);
static int64 take_steps(Datum tenant_ids, const char *name);
static void find_overdue(Datum tenant_ids);
static void fail_some(void *set, int from, int count);
static void ask_some(void *set, int from, int count);
static int64 ask(Datum tenant_ids);
static void mark_overdue(Datum tenant_ids);
static void schedule(Datum tenant_ids, Datum failed);
static void take_step(Batch *all, BillingQuery *query, Step step, const char *object, const char *what);
static void step_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static void catch_up_by(BillingQuery *query, BillingFlow *flow, Step step);
static int64 enforce(const char *flow_name, Datum tenant_ids, Datum subscription_ids);
static int64 freeze(const char *flow_name, Datum tenant_ids, Datum same);
static int64 give_up(const char *flow_name, Datum tenant_ids, Datum invoice_ids);
static int64 lapse(const char *flow_name, Datum tenant_ids, Datum subscription_ids);
static int64 settle(const char *flow_name, Datum tenant_ids, Datum same);
static int64 step_each(const char *flow_name, Datum tenant_ids, Datum ids, StepOfOne step);
static bool give_up_one(BillingFlow *flow, int64 invoice_id);
static bool settle_one(BillingFlow *flow, int64 tenant_id);
static int64 count_unsettled(int64 tenant_id);
static void run_for(BillingQuery *query, int64 tenant_id, int64 id);
static void bill_ends(BillingFlow *flow);
static Datum read_tenant(BillingFlow *flow);
static bool claim_other(int32 batch, Position *position, Datum *tenant_ids);
static int64 settle_all(void);
static void retry_some(void *set, int from, int count);
static void await_answers(Datum tenant_ids);
static void report_retry(void *set, int which, const ErrorData *error);

/*
 * The steps beyond attempts of collection, in their order: which objects of tenants ($1) they
 * are to be taken for.  What waited for its first payment for too long lapses before it is asked for again; money is
 * asked for before anybody is suspended, and who is, is before the debt is given up.  What is to lapse is not given up.
 */
#define PAIRS(text) { \
	.sql = text, \
	.expected = SPI_OK_SELECT, \
	.by_key = true, \
	.nargs = 1, \
	.argtypes = {INT8ARRAYOID}, \
}

static BillingQuery to_enforce = PAIRS("SELECT o.tenant_id, o.subscription_id FROM billing.overdue_subscription o"
									   " WHERE o.tenant_id = ANY ($1) AND o.next_status NOT IN (o.status, 'past_due') ORDER BY 1, 2");
static BillingQuery to_freeze = PAIRS("SELECT DISTINCT f.tenant_id, f.tenant_id FROM billing.due_freeze f WHERE f.tenant_id = ANY ($1) ORDER BY 1");
static BillingQuery to_give_up = PAIRS("SELECT n.tenant_id, n.invoice_id FROM billing.dunning_timeline n"
									   "  LEFT JOIN billing.subscription s ON s.tenant_id = n.tenant_id AND s.subscription_id = n.subscription_id"
									   " WHERE n.tenant_id = ANY ($1) AND n.status = 'open' AND n.give_up_at <= billing.now() AND NOT n.is_pending"
									   "   AND (s.status IN ('active', 'past_due')) IS NOT TRUE"
									   "   AND NOT EXISTS (SELECT FROM billing.waiting_subscription w"
									   "     WHERE w.tenant_id = n.tenant_id AND w.subscription_id = n.subscription_id AND NOT w.is_pending) ORDER BY 1, 2");
static BillingQuery to_lapse = PAIRS("SELECT w.tenant_id, w.subscription_id FROM billing.waiting_subscription w"
									 " WHERE w.tenant_id = ANY ($1) AND w.lapse_at <= billing.now() AND NOT w.is_pending ORDER BY 1, 2");
static BillingQuery to_settle = PAIRS("SELECT DISTINCT s.tenant_id, s.tenant_id FROM billing.subscription s"
									  " WHERE s.tenant_id = ANY ($1) AND (s.status = 'past_due' OR s.status = 'suspended' AND s.due_at IS NULL)"
									  "   AND NOT EXISTS (SELECT FROM billing.overdue_invoice o"
									  "     WHERE o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id) ORDER BY 1");

/*
 * billing_dunning
 *		Take the steps that are due of a batch of invoices; returns how many these are.
 */
Datum
billing_dunning(PG_FUNCTION_ARGS)
{
	Datum		tenant_ids;
	int64		count;

	billing_flow_require_batch(fcinfo, 0, "invoices one call looks at");
	billing_spi_begin();
	count = claim(PG_GETARG_INT32(0), &tenant_ids);
	if (count > 0)
		(void) take_steps(tenant_ids, "dunning");
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/*
 * billing_collect_invoices
 *		The same of those that have just become due, where there is something to collect with: money that can be had is asked
 *		for at once.
 */
Datum
billing_collect_invoices(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "WITH found AS MATERIALIZED ("
		"  SELECT v.tenant_id FROM billing.invoice v JOIN billing.tenant t ON t.tenant_id = v.tenant_id"
		"   WHERE v.status = 'open' AND v.dunning_at IS NULL AND v.due_at <= billing.now()"
		"     AND EXISTS (SELECT FROM billing.payment_method m WHERE m.tenant_id = v.tenant_id AND m.is_default)"
		"     AND billing.collection_method(v.tenant_id, v.invoice_id) IS NOT NULL"
		"   ORDER BY v.dunning_at, v.due_at, v.tenant_id LIMIT $1 FOR NO KEY UPDATE OF t SKIP LOCKED"
		") SELECT count(*), array_agg(DISTINCT f.tenant_id) FROM found f",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	Datum		tenant_ids;
	int64		count;

	billing_flow_require_batch(fcinfo, 0, "invoices one call looks at");
	billing_spi_begin();
	count = claim_by(&query, PG_GETARG_INT32(0), &tenant_ids);
	if (count > 0)
		(void) take_steps(tenant_ids, "collect_invoices");
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/*
 * claim
 *		Lock the tenants of invoices that are to be looked at, but for those that somebody works on; returns how many
 *		invoices these are.
 *
 * Both kinds up to a batch: those whose due date has come, and those whose next step has.
 */
static int64
claim(int32 batch, Datum *tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH found AS MATERIALIZED ("
		"  SELECT v.tenant_id FROM billing.invoice v JOIN billing.tenant t ON t.tenant_id = v.tenant_id"
		"   WHERE v.status IN ('open', 'uncollectible') AND v.dunning_at IS NULL AND v.due_at <= billing.now()"
		"   ORDER BY v.dunning_at, v.due_at, v.tenant_id LIMIT $1 FOR NO KEY UPDATE OF t SKIP LOCKED"
		"), next AS MATERIALIZED ("
		"  SELECT d.tenant_id FROM billing.invoice_dunning d JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
		"   WHERE d.next_at <= billing.now() ORDER BY d.next_at, d.tenant_id LIMIT $1 FOR NO KEY UPDATE OF t SKIP LOCKED"
		") SELECT count(*), array_agg(DISTINCT d.tenant_id)"
		"  FROM (SELECT f.tenant_id FROM found f UNION ALL SELECT n.tenant_id FROM next n) d",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT4OID},
	};

	return claim_by(&query, batch, tenant_ids);
}

static int64
claim_by(BillingQuery *query, int32 batch, Datum *tenant_ids)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {Int32GetDatum(batch)};
	int64		count;
	bool		isnull;

	(void) billing_spi_run(query, args, NULL);
	count = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	if (count > 0)
	{
		*tenant_ids = billing_spi_copy(0, 2, context);
		billing_flow_check_snapshot(*tenant_ids);
	}
	return count;
}

/* Of locked tenants, all that is due; returns how many of their objects changed their state. */
static int64
take_steps(Datum tenant_ids, const char *name)
{
	ArrayBuildState *failed = initArrayResult(INT8OID, CurrentMemoryContext, false);
	Batch		all = {
		.tenant_ids = tenant_ids, .ids = tenant_ids, .name = name, .object = "tenant",
		.what = "tenant %lld could not be asked for money: %s", .failed = &failed
	};
	Datum		failures;

	find_overdue(tenant_ids);
	billing_attempt(fail_some, report, &all, billing_id_count(tenant_ids));
	take_step(&all, &to_lapse, lapse, "subscription", "subscription %lld was not paid and could not lapse: %s");
	billing_attempt(ask_some, report, &all, billing_id_count(tenant_ids));
	take_step(&all, &to_enforce, enforce, "subscription", "subscription %lld is overdue and could not be suspended: %s");
	take_step(&all, &to_freeze, freeze, "tenant", "tenant %lld owes and could not be frozen: %s");
	take_step(&all, &to_give_up, give_up, "invoice", "invoice %lld is not paid and could not be given up: %s");
	take_step(&all, &to_settle, settle, "tenant", "tenant %lld owes nothing overdue and could not go on: %s");
	failures = makeArrayResult(failed, CurrentMemoryContext);
	billing_aside_done("dunning", tenant_ids, failures);
	schedule(tenant_ids, failures);
	return all.changed;
}

/* A row for each whose due date has come. */
static void
find_overdue(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH found AS ("
		"  UPDATE billing.invoice v SET dunning_at = billing.now()"
		"   WHERE v.tenant_id = ANY ($1) AND v.status IN ('open', 'uncollectible') AND v.dunning_at IS NULL AND v.due_at <= billing.now()"
		"  RETURNING v.tenant_id, v.invoice_id"
		") INSERT INTO billing.invoice_dunning (tenant_id, invoice_id, next_at)"
		"  SELECT f.tenant_id, f.invoice_id, billing.now() FROM found f"
		"  ON CONFLICT (tenant_id, invoice_id) DO UPDATE SET next_at = excluded.next_at",
		.expected = SPI_OK_INSERT,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};

	(void) billing_spi_run(&query, &tenant_ids, NULL);
}

static void
fail_some(void *set, int from, int count)
{
	billing_collect_fail_unanswered(billing_id_slice(((Batch *) set)->tenant_ids, from, count));
}

static void
ask_some(void *set, int from, int count)
{
	Batch	   *batch = set;

	batch->changed += ask(billing_id_slice(batch->tenant_ids, from, count));
}

/* Attempts of collection, and whom they make past due: a few statements for all; returns how many subscriptions are. */
static int64
ask(Datum tenant_ids)
{
	billing_collect_due(tenant_ids);
	mark_overdue(tenant_ids);
	return billing_overdue_mark(tenant_ids);
}

/*
 * Each is overdue once: when an attempt at or after its due date has failed, or none is made.  What a subscription waits for is not, or each
 * who orders and pays would be told so.
 */
static void
mark_overdue(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH found AS (UPDATE billing.invoice_dunning d SET overdue_at = billing.now() FROM billing.overdue_invoice o"
		" WHERE o.tenant_id = ANY ($1) AND d.tenant_id = o.tenant_id AND d.invoice_id = o.invoice_id AND d.overdue_at IS NULL"
		"   AND o.status = 'open' AND (o.has_failed OR NOT o.is_pending)"
		"   AND NOT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id AND s.status = 'pending')"
		" RETURNING d.tenant_id, d.invoice_id)"
		" SELECT f.tenant_id, f.invoice_id FROM found f ORDER BY f.tenant_id, f.invoice_id",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	Datum		found[2];
	int64		last[2];

	(void) billing_flow_claim(&query, &tenant_ids, &found[0], &found[1], last);
	billing_event_emit_all("invoice.overdue", found[0], found[1]);
}

/* When they are looked at next: those that something failed for ($2) when it is tried again. */
static void
schedule(Datum tenant_ids, Datum failed)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice_dunning d SET next_at = CASE WHEN d.tenant_id = ANY ($2)"
		"    THEN (SELECT max(a.retry_at) FROM billing.set_aside a WHERE a.tenant_id = d.tenant_id AND a.job = 'dunning') ELSE n.next_at END FROM billing.dunning_next n"
		" WHERE n.tenant_id = ANY ($1) AND d.tenant_id = n.tenant_id AND d.invoice_id = n.invoice_id AND d.next_at IS NOT NULL",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
	};
	Datum		args[] = {tenant_ids, failed};

	(void) billing_spi_run(&query, args, NULL);
}

static void
take_step(Batch *all, BillingQuery *query, Step step, const char *object, const char *what)
{
	Batch		batch = {.name = all->name, .step = step, .object = object, .what = what, .failed = all->failed};
	int64		last[2];
	int			count = billing_flow_claim(query, &all->tenant_ids, &batch.tenant_ids, &batch.ids, last);

	billing_attempt(step_some, report, &batch, count);
	all->changed += batch.changed;
}

static void
step_some(void *set, int from, int count)
{
	Batch	   *batch = set;

	batch->changed += batch->step(batch->name, billing_id_slice(batch->tenant_ids, from, count), billing_id_slice(batch->ids, from, count));
}

static void
report(void *set, int which, const ErrorData *error)
{
	Batch	   *batch = set;
	long long	tenant_id = billing_id_at(batch->tenant_ids, which);
	long long	id = billing_id_at(batch->ids, which);

	*batch->failed = accumArrayResult(*batch->failed, Int64GetDatum(tenant_id), false, INT8OID, CurrentMemoryContext);
	billing_aside_note("dunning", batch->object, tenant_id, id, error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg_internal(batch->what, id, error->message),
			 errdetail("tenant_id=%lld id=%lld sqlstate=%s", tenant_id, id, unpack_sql_state(error->sqlerrcode)),
			 errhint("It waits and is tried again, as billing.set_aside says; the others are done.")));
}

/*
 * billing_dunning_catch_up
 *		The same of one tenant, where an error is the caller's.
 */
void
billing_dunning_catch_up(BillingFlow *flow)
{
	Datum		tenant_ids = billing_id_array_of(flow->tenant_id);

	find_overdue(tenant_ids);
	billing_collect_fail_unanswered(tenant_ids);
	catch_up_by(&to_lapse, flow, lapse);
	(void) ask(tenant_ids);
	catch_up_by(&to_enforce, flow, enforce);
	(void) billing_overdue_freeze(flow->name, tenant_ids);
	catch_up_by(&to_give_up, flow, give_up);
	billing_overdue_settle(flow);
	schedule(tenant_ids, billing_id_array(NULL, 0));
}

static void
catch_up_by(BillingQuery *query, BillingFlow *flow, Step step)
{
	Datum		args[] = {billing_id_array_of(flow->tenant_id)};
	Datum		tenant_ids;
	Datum		ids;
	int64		last[2];

	if (billing_flow_claim(query, args, &tenant_ids, &ids, last) > 0)
		(void) step(flow->name, tenant_ids, ids);
}

static int64
enforce(const char *flow_name, Datum tenant_ids, Datum subscription_ids)
{
	billing_overdue_enforce(flow_name, tenant_ids, subscription_ids);
	return billing_id_count(subscription_ids);
}

static int64
freeze(const char *flow_name, Datum tenant_ids, Datum same)
{
	return billing_overdue_freeze(flow_name, tenant_ids);
}

static int64
give_up(const char *flow_name, Datum tenant_ids, Datum invoice_ids)
{
	return step_each(flow_name, tenant_ids, invoice_ids, give_up_one);
}

static int64
lapse(const char *flow_name, Datum tenant_ids, Datum subscription_ids)
{
	return step_each(flow_name, tenant_ids, subscription_ids, billing_subscription_lapse);
}

static int64
settle(const char *flow_name, Datum tenant_ids, Datum same)
{
	return step_each(flow_name, tenant_ids, same, settle_one);
}

static int64
step_each(const char *flow_name, Datum tenant_ids, Datum ids, StepOfOne step)
{
	int64		changed = 0;

	for (int i = 0; i < billing_id_count(ids); i++)
	{
		BillingFlow flow = {.name = flow_name, .tenant_id = billing_id_at(tenant_ids, i), .caller = CurrentMemoryContext};

		CHECK_FOR_INTERRUPTS();
		changed += step(&flow, billing_id_at(ids, i)) ? 1 : 0;
	}
	return changed;
}

/* Said to be the clock's before it is done: a tenant is not thawed because somebody waited. */
static bool
give_up_one(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice_dunning d SET given_up_at = billing.now() WHERE d.tenant_id = $1 AND d.invoice_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	run_for(&query, flow->tenant_id, invoice_id);
	(void) billing_invoice_give_up(flow, invoice_id, CStringGetTextDatum("not paid"));
	return true;
}

static bool
settle_one(BillingFlow *flow, int64 tenant_id)
{
	int64		before = count_unsettled(tenant_id);

	billing_overdue_settle(flow);
	return count_unsettled(tenant_id) < before;
}

static int64
count_unsettled(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT count(*) FROM billing.subscription s WHERE s.tenant_id = $1 AND s.status IN ('past_due', 'suspended')",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static void
run_for(BillingQuery *query, int64 tenant_id, int64 id)
{
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(id)};

	(void) billing_spi_run(query, args, NULL);
}

/*
 * billing_dunning_wake
 *		See dunning.h.
 */
void
billing_dunning_wake(int64 tenant_id, int64 subscription_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice_dunning d SET next_at = billing.now() FROM billing.invoice v"
		" WHERE d.tenant_id = $1 AND d.next_at IS DISTINCT FROM billing.now() AND v.tenant_id = $1 AND v.invoice_id = d.invoice_id"
		"   AND v.status IN ('open', 'uncollectible') AND ($2 = 0 OR v.subscription_id = $2)",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	run_for(&query, tenant_id, subscription_id);
}

/*
 * billing_dunning_watch
 *		See dunning.h.
 */
void
billing_dunning_watch(Datum tenant_ids, Datum subscription_ids)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.invoice_dunning AS d (tenant_id, invoice_id, next_at)"
		" SELECT v.tenant_id, v.invoice_id, billing.now() FROM unnest($1, $2) k (tenant_id, subscription_id)"
		"   JOIN billing.waiting_subscription w ON w.tenant_id = k.tenant_id AND w.subscription_id = k.subscription_id"
		"   JOIN billing.invoice v ON v.tenant_id = k.tenant_id AND v.subscription_id = k.subscription_id"
		" ON CONFLICT (tenant_id, invoice_id) DO UPDATE SET next_at = excluded.next_at",
		.expected = SPI_OK_INSERT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
	};
	Datum		args[] = {tenant_ids, subscription_ids};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_dunning_postpone
 *		See dunning.h.
 */
void
billing_dunning_postpone(int64 tenant_id, int64 subscription_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice_dunning d SET next_at = billing.now() + interval '1 hour' FROM billing.invoice v"
		" WHERE d.tenant_id = $1 AND v.tenant_id = $1 AND v.invoice_id = d.invoice_id AND v.subscription_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	run_for(&query, tenant_id, subscription_id);
}

/*
 * billing_dunning_forgive
 *		See dunning.h.  What is not due yet counts, too; who is not frozen is not thawed.
 */
void
billing_dunning_forgive(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.invoice_dunning AS d (tenant_id, invoice_id, frozen_at)"
		" SELECT v.tenant_id, v.invoice_id, billing.now() FROM billing.invoice v"
		"   JOIN billing.subscription s ON s.tenant_id = v.tenant_id AND s.subscription_id = v.subscription_id"
		"   JOIN billing.tenant t ON t.tenant_id = v.tenant_id AND t.status = 'frozen'"
		"  WHERE v.tenant_id = $1 AND v.status IN ('open', 'uncollectible') AND (s.ended_at IS NOT NULL OR s.status = 'suspended')"
		" ON CONFLICT (tenant_id, invoice_id) DO UPDATE SET frozen_at = excluded.frozen_at WHERE d.frozen_at IS NULL",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};

	run_for(&query, tenant_id, 0);
}

/*
 * billing_enforce_expiration
 *		Make of one tenant what it is by the clock.
 */
Datum
billing_enforce_expiration(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "enforce_expiration", 1, &result))
		return result;

	bill_ends(&flow);
	billing_dunning_catch_up(&flow);
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
 *		The same of all tenants for what is overdue; returns how many objects changed their state.
 *
 * After what is due it looks at all else that is not paid, so that settings which have changed are seen at once.
 * Those that nothing could be done for keep nobody waiting: the call goes on behind them until
 * something changes, or none is left.
 */
Datum
billing_enforce_expirations(PG_FUNCTION_ARGS)
{
	Position	position = {.due_at = DT_NOBEGIN};
	Datum		tenant_ids;
	int64		changed = 0;

	billing_flow_require_batch(fcinfo, 0, "subscriptions one call looks at");
	billing_spi_begin();
	while (changed == 0 && claim(PG_GETARG_INT32(0), &tenant_ids) > 0)
		changed = take_steps(tenant_ids, "enforce_expirations");
	while (changed == 0 && claim_other(PG_GETARG_INT32(0), &position, &tenant_ids))
		changed = take_steps(tenant_ids, "enforce_expirations");
	if (changed == 0)
		changed = settle_all();
	billing_spi_end();
	PG_RETURN_INT64(changed);
}

/*
 * claim_other
 *		Lock the tenants of those that have been due longest, but for tenants that somebody works on; false if there
 *		are none behind the position.
 */
static bool
claim_other(int32 batch, Position *position, Datum *tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH next AS MATERIALIZED ("
		"  SELECT o.due_at, o.tenant_id, o.subscription_id FROM billing.overdue_subscription o"
		"   WHERE o.tenant_id = ANY (ARRAY(SELECT d.tenant_id FROM billing.invoice_dunning d WHERE d.next_at IS NOT NULL))"
		"     AND o.next_status <> o.status AND (o.due_at, o.tenant_id, o.subscription_id) > ($2, $3, $4)"
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
		.sql = "SELECT t.tenant_id, t.tenant_id FROM billing.tenant t WHERE t.tenant_id IN (SELECT s.tenant_id FROM billing.subscription s"
		"   WHERE (s.status = 'past_due' OR s.status = 'suspended' AND s.due_at IS NULL) AND NOT EXISTS (SELECT FROM billing.overdue_invoice o"
		"     WHERE o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id))"
		" ORDER BY t.tenant_id FOR NO KEY UPDATE OF t SKIP LOCKED",
		.expected = SPI_OK_SELECT,
	};
	Datum		tenant_ids;
	Datum		same;
	int64		last[2];
	int			count = billing_flow_claim(&query, NULL, &tenant_ids, &same, last);

	if (count == 0)
		return 0;
	billing_flow_check_snapshot(tenant_ids);
	return take_steps(tenant_ids, "enforce_expirations");
}

/*
 * billing_retry_payments
 *		Try again what failed and is to be tried again; returns how many attempts were looked at.
 */
Datum
billing_retry_payments(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "WITH due AS MATERIALIZED ("
		"  SELECT a.tenant_id FROM billing.collection_attempt a JOIN billing.tenant t ON t.tenant_id = a.tenant_id"
		"   WHERE a.retry_at <= billing.now() ORDER BY a.retry_at, a.tenant_id LIMIT $1 FOR NO KEY UPDATE OF t SKIP LOCKED"
		") SELECT count(*), array_agg(DISTINCT d.tenant_id) FROM due d",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	Datum		tenant_ids;
	int64		count;

	billing_flow_require_batch(fcinfo, 0, "attempts one call looks at");
	billing_spi_begin();
	count = claim_by(&query, PG_GETARG_INT32(0), &tenant_ids);
	if (count > 0)
	{
		ArrayBuildState *failed = initArrayResult(INT8OID, CurrentMemoryContext, false);
		Batch		batch = {.tenant_ids = tenant_ids, .failed = &failed};

		billing_attempt(retry_some, report_retry, &batch, billing_id_count(tenant_ids));
		billing_aside_done("retry_payments", tenant_ids, makeArrayResult(failed, CurrentMemoryContext));
	}
	billing_spi_end();
	PG_RETURN_INT64(count);
}

static void
retry_some(void *set, int from, int count)
{
	Datum		tenant_ids = billing_id_slice(((Batch *) set)->tenant_ids, from, count);

	billing_collect_retry(tenant_ids);
	await_answers(tenant_ids);
}

/* Let those be looked at when an answer would be too late; never later than before, since other steps may be due. */
static void
await_answers(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice_dunning d SET next_at = a.created_at + n.pending_timeout"
		"  FROM billing.collection_attempt a"
		"  JOIN billing.dunning_timeline n ON n.tenant_id = a.tenant_id AND n.invoice_id = a.invoice_id"
		" WHERE a.tenant_id = ANY ($1) AND a.status = 'pending' AND d.tenant_id = a.tenant_id AND d.invoice_id = a.invoice_id"
		"   AND d.next_at > a.created_at + n.pending_timeout",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};

	(void) billing_spi_run(&query, &tenant_ids, NULL);
}

static void
report_retry(void *set, int which, const ErrorData *error)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.collection_attempt a SET retry_at = (SELECT s.retry_at FROM billing.set_aside s"
		"    WHERE s.tenant_id = $1 AND s.job = 'retry_payments') WHERE a.tenant_id = $1 AND a.retry_at <= billing.now()",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Batch	   *batch = set;
	long long	tenant_id = billing_id_at(batch->tenant_ids, which);
	Datum		args[] = {Int64GetDatum(tenant_id)};

	*batch->failed = accumArrayResult(*batch->failed, Int64GetDatum(tenant_id), false, INT8OID, CurrentMemoryContext);
	billing_aside_note("retry_payments", "tenant", tenant_id, tenant_id, error);
	(void) billing_spi_run(&query, args, NULL);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("tenant %lld could not be asked for money again: %s", tenant_id, error->message),
			 errdetail("tenant_id=%lld sqlstate=%s", tenant_id, unpack_sql_state(error->sqlerrcode)),
			 errhint("It waits and is tried again, as billing.set_aside says; the others are done.")));
}
