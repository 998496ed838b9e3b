/*-------------------------------------------------------------------------
 *
 * bill.c
 *	  One path from what is due to invoices: claim, calculate, write.
 *
 * A batch is claimed by locking the rows of its tenants, skipping those that
 * somebody else works on.  Then one statement calculates and writes every invoice of
 * the batch (billing.due_invoices in sql/bill.sql is its reading half) and moves the
 * subscriptions on to their next boundaries.  It looks at what is due after the
 * locks were taken, so that whoever was first leaves nothing to bill twice.
 *
 * One invoice is a batch of one.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "bill.h"
#include "clock.h"
#include "draft.h"
#include "flow.h"
#include "id.h"
#include "spi.h"
#include "usage.h"

BILLING_FUNCTION(billing_bill_batch);
BILLING_FUNCTION(billing_bill_due);

#define BATCH_MAX 1000000

/* A batch that was claimed: parallel arrays in the order of tenants. */
typedef struct Batch
{
	int			count;
	Datum	   *tenant_ids;
	Datum	   *subscription_ids;
	Datum	   *invoice_ids;
} Batch;

/* The same, and how many of it were billed; is_last: of what cannot be, no pass but this one tells. */
typedef struct Claimed
{
	Batch		batch;
	TimestampTz at;
	bool		is_last;
	int64		billed;
} Claimed;

/* Where a pass stands in the order of (due_at, tenant_id, subscription_id), and how many it has moved on. */
typedef struct Position
{
	TimestampTz due_at;
	int64		tenant_id;
	int64		subscription_id;
	int64		moved;
} Position;

/* The work of a pass on one batch behind the position; false if nothing was left to claim there. */
typedef bool (*Phase) (Position *position, TimestampTz at, int batch, bool wait);

typedef struct Setting
{
	const char *name;
	const char *value;
} Setting;

/*
 * A batch stays in memory, some 3 kB for each subscription, where the default
 * work_mem would go through files; to compile its statement would take longer than
 * to run it.
 */
static const Setting batch_settings[] = {
	{"jit", "off"},
	{"work_mem", "64MB"},
};

/*
 * Its keys are known, so every table is reached by an index, whatever the tables'
 * sizes were when the plan was made.
 */
static const Setting keyed_settings[] = {
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_seqscan", "off"},
};

static Position run_start(void);
static bool is_behind(const Position *a, const Position *b);
static int64 claim(Batch *batch, TimestampTz at, int64 limit, Position *position, bool wait);
static void make_batch(Batch *batch, uint64 count);
static void write_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static int64 write_batch(const Batch *batch, TimestampTz at);
static Datum make_ids(Datum *ids, int count);
static int	begin_settings(const Setting *settings, int count);
static void run(TimestampTz at, int batch, bool atomic);
static bool run_pass(Phase phase, TimestampTz at, int batch, bool atomic, bool wait);
static bool bill_some(Position *position, TimestampTz at, int batch, bool wait);
static bool late_some(Position *position, TimestampTz at, int batch, bool wait);
static bool finalize_some(Position *position, TimestampTz at, int batch, bool wait);
static bool run_phase(BillingQuery *query, Position *position, TimestampTz at, int batch, bool wait);

bool
billing_bill_next(int64 tenant_id, int64 subscription_id, TimestampTz at)
{
	Datum		tenant = Int64GetDatum(tenant_id);
	Datum		subscription = Int64GetDatum(subscription_id);
	Datum		invoice = Int64GetDatum(billing_id_next());
	Batch		batch = {1, &tenant, &subscription, &invoice};

	return write_batch(&batch, at) > 0;
}

void
billing_bill_one(int64 tenant_id, int64 subscription_id, TimestampTz at)
{
	while (billing_bill_next(tenant_id, subscription_id, at))
		CHECK_FOR_INTERRUPTS();
}

/*
 * billing_bill_batch
 *		Bill up to batch subscriptions that are due at or before at: what
 *		billing.bill_due() does in one transaction.
 *
 * The position is where the batch before ended, so that a batch costs the same
 * however many came before it.
 */
Datum
billing_bill_batch(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(0);
	Position	position = {PG_GETARG_TIMESTAMPTZ(3), PG_GETARG_INT64(4), PG_GETARG_INT64(5), 0};
	Claimed		claimed = {.at = at, .is_last = PG_GETARG_BOOL(2)};
	int64		count;
	TupleDesc	tupdesc;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	billing_spi_begin();
	count = claim(&claimed.batch, at, PG_GETARG_INT32(1), &position, PG_GETARG_BOOL(2));
	billing_flow_check_snapshot(make_ids(claimed.batch.tenant_ids, count));
	billing_attempt(write_some, report, &claimed, count);
	billing_spi_end();

	values[0] = Int64GetDatum(count);
	values[1] = Int64GetDatum(claimed.billed);
	values[2] = TimestampTzGetDatum(position.due_at);
	values[3] = Int64GetDatum(position.tenant_id);
	values[4] = Int64GetDatum(position.subscription_id);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/*
 * claim
 *		Lock the tenants of the next due subscriptions; returns how many of these
 *		there are, and moves the position behind the last.
 */
static int64
claim(Batch *batch, TimestampTz at, int64 limit, Position *position, bool wait)
{
	/* Locked tenants are passed over: somebody else bills them. */
	static BillingQuery skipping = {
		.sql = "SELECT s.tenant_id, s.subscription_id, s.due_at"
		"  FROM billing.subscription s JOIN billing.tenant t ON t.tenant_id = s.tenant_id"
		" WHERE s.due_at <= $1 AND (s.due_at, s.tenant_id, s.subscription_id) > ($2, $3, $4)"
		" ORDER BY s.due_at, s.tenant_id, s.subscription_id"
		" LIMIT $5 FOR NO KEY UPDATE OF t SKIP LOCKED",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID},
	};

	/* The last pass waits for them, in the order in which every flow locks tenants. */
	static BillingQuery waiting = {
		.sql = "SELECT d.tenant_id, d.subscription_id, d.due_at"
		"  FROM (SELECT s.tenant_id, s.subscription_id, s.due_at FROM billing.subscription s"
		"         WHERE s.due_at <= $1 AND (s.due_at, s.tenant_id, s.subscription_id) > ($2, $3, $4)"
		"         ORDER BY s.due_at, s.tenant_id, s.subscription_id LIMIT $5) d"
		"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
		" ORDER BY d.tenant_id, d.due_at, d.subscription_id FOR NO KEY UPDATE OF t",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {
		TimestampTzGetDatum(at), TimestampTzGetDatum(position->due_at), Int64GetDatum(position->tenant_id),
		Int64GetDatum(position->subscription_id), Int64GetDatum(limit)
	};
	uint64		count = billing_spi_run(wait ? &waiting : &skipping, args, NULL);

	make_batch(batch, count);
	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;
		Position	p;

		batch->tenant_ids[i] = billing_spi_value(i, 1, &isnull);
		batch->subscription_ids[i] = billing_spi_value(i, 2, &isnull);
		p.tenant_id = DatumGetInt64(batch->tenant_ids[i]);
		p.subscription_id = DatumGetInt64(batch->subscription_ids[i]);
		p.due_at = DatumGetTimestampTz(billing_spi_value(i, 3, &isnull));
		if (i == 0 || is_behind(&p, position))
			*position = p;
	}
	for (uint64 i = 0; i < count; i++)
		batch->invoice_ids[i] = Int64GetDatum(billing_id_next());
	return count;
}

/* Is a later than b in the order of the run? */
static bool
is_behind(const Position *a, const Position *b)
{
	if (a->due_at != b->due_at)
		return a->due_at > b->due_at;
	if (a->tenant_id != b->tenant_id)
		return a->tenant_id > b->tenant_id;
	return a->subscription_id > b->subscription_id;
}

static void
make_batch(Batch *batch, uint64 count)
{
	batch->count = count;
	batch->tenant_ids = palloc(count * sizeof(Datum));
	batch->subscription_ids = palloc(count * sizeof(Datum));
	batch->invoice_ids = palloc(count * sizeof(Datum));
}

/* The work of a batch, for some of it. */
static void
write_some(void *set, int from, int count)
{
	Claimed    *claimed = set;
	Batch		some = {count, claimed->batch.tenant_ids + from, claimed->batch.subscription_ids + from,
	claimed->batch.invoice_ids + from};

	claimed->billed += write_batch(&some, claimed->at);
}

static void
report(void *set, int which, const ErrorData *error)
{
	Claimed    *claimed = set;
	long long	tenant_id = DatumGetInt64(claimed->batch.tenant_ids[which]);
	long long	subscription_id = DatumGetInt64(claimed->batch.subscription_ids[which]);

	if (!claimed->is_last)
		return;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("subscription %lld of tenant %lld could not be billed: %s", subscription_id, tenant_id, error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It stays due and is tried again by the next run; the others are billed.")));
}

/* It goes on when its first invoice is paid, and not before. */
#define WAITS_FOR_PAYMENT "s.status = 'pending' AND s.activate = 'on_payment' AND billing.minor_units(b.total) > 0"

/*
 * write_batch
 *		Calculate and write every invoice of the batch; returns how many
 *		subscriptions were due and moved on.
 *
 * Usage is compacted first, under the same snapshot: so the rollup holds what the
 * statement may know, whole, and whatever it does not is booked later as late.
 * An update reads a subquery of the columns it needs: it would else keep a copy of each
 * whole row to check it again with.  The plan is a generic one: the tables are reached by key from the arrays, which
 * is right for one subscription and for ten thousand.
 */
static int64
write_batch(const Batch *batch, TimestampTz at)
{
	static BillingQuery query = {
		.sql =
		"WITH bill AS MATERIALIZED ("
		"  SELECT * FROM billing.due_invoices($1, $2, $3, $4)"
		"), invoiced AS ("
		"  INSERT INTO billing.invoice (tenant_id, invoice_id, biz_key, kind, subscription_id, plan_id, number, status,"
		"    currency, period_start, period_end, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied,"
		"    paid, tax_percent, issued_at, due_at, paid_at, seller, billing_name, billing_email, billing_address, tax_id)"
		"  SELECT b.tenant_id, b.invoice_id, billing.biz_key(b.subscription_id, b.boundary, b.kind, 1), b.kind,"
		"    b.subscription_id, b.plan_id, b.number_text,"
		"    CASE WHEN NOT b.is_final THEN 'draft' WHEN billing.minor_units(b.total) = 0 THEN 'paid' ELSE 'open' END,"
		"    b.currency, b.period_start, b.boundary, b.item_count, b.subtotal, b.nothing, b.tax, b.excess, b.total, b.nothing,"
		"    b.nothing, b.nothing, b.tax_percent, b.issued_at, b.due_at,"
		"    CASE WHEN b.is_final AND billing.minor_units(b.total) = 0 THEN b.issued_at END,"
		"    CASE WHEN b.is_final THEN b.seller END, b.billing_name, b.billing_email, b.billing_address, b.tax_id"
		"  FROM bill b"
		"  WHERE b.item_count > 0"
		"), itemized AS ("
		"  INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, price_code, meter, description, quantity,"
		"    unit_amount, amount, period_start, period_end, usage_events, usage_digest, adjusts_invoice_id, adjusts_line)"
		"  SELECT u.tenant_id, u.invoice_id, (u.i).line, (u.i).kind, (u.i).price_code, (u.i).meter, (u.i).description,"
		"    (u.i).quantity, (u.i).unit_amount, (u.i).amount, (u.i).period_start, (u.i).period_end, (u.i).usage_events,"
		"    (u.i).usage_digest, (u.i).adjusts_invoice_id, (u.i).adjusts_line"
		"  FROM (SELECT b.tenant_id, b.invoice_id, unnest(b.items) AS i FROM bill b OFFSET 0) u"
		"), logged AS ("
		"  INSERT INTO billing.calculation_log (tenant_id, invoice_id, quantity, timezone, arrears, arrears_whole, advance,"
		"    advance_whole, step_arrears, step_arrears_whole, step_advance, step_advance_whole, inputs, hash, chain_no,"
		"    chain_hash, party_salt, calculated_at)"
		"  SELECT b.tenant_id, b.invoice_id, b.quantity, b.timezone, b.arrears, b.arrears_whole,"
		"    b.advance, b.advance_whole, b.step_arrears, b.step_arrears_whole,"
		"    b.step_advance, b.step_advance_whole, b.inputs, b.hash,"
		"    CASE WHEN b.is_final THEN b.chain_no END, CASE WHEN b.is_final THEN b.chain_hash END, b.party_salt, billing.now()"
		"  FROM bill b WHERE b.item_count > 0"
		"), posted AS ("
		"  INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, at, accounts, amounts)"
		"  SELECT b.tenant_id, b.invoice_id, 'invoice', b.invoice_id, b.issued_at,"
		"    '{receivable,revenue,deferred_revenue,tax_payable,customer_credit}',"
		"    ARRAY[b.total, -b.revenue, -b.deferred, -b.tax, -b.excess]"
		"  FROM bill b"
		"  WHERE b.is_final AND (billing.minor_units(b.revenue) <> 0 OR billing.minor_units(b.deferred) <> 0"
		"    OR billing.minor_units(b.tax) <> 0)"
		"), granted AS ("
		"  INSERT INTO billing.credit_grant (tenant_id, grant_id, amount, source, invoice_id)"
		"  SELECT b.tenant_id, b.invoice_id, b.excess, 'invoice', b.invoice_id"
		"  FROM bill b WHERE b.is_final AND billing.minor_units(b.excess) > 0"
		"), booked AS ("
		"  UPDATE billing.usage_late l SET invoice_id = b.invoice_id"
		"  FROM (SELECT tenant_id, subscription_id, invoice_id FROM bill WHERE has_late AND item_count > 0 OFFSET 0) b"
		"  WHERE l.tenant_id = b.tenant_id AND l.subscription_id = b.subscription_id AND l.invoice_id IS NULL"
		"), counted AS ("
		"  UPDATE billing.counter c SET invoice_number = b.number, chain_no = b.chain_no, chain_hash = b.chain_hash"
		"  FROM (SELECT tenant_id, number, chain_no, chain_hash FROM bill WHERE is_last OFFSET 0) b"
		"  WHERE c.tenant_id = b.tenant_id AND c.chain_no < b.chain_no"
		"), moved AS ("
		"  UPDATE billing.subscription s SET"
		"    status = CASE WHEN " WAITS_FOR_PAYMENT " THEN s.status"
		"      WHEN b.next_ends OR s.status IN ('pending', 'trialing') THEN b.next_status ELSE s.status END,"
		"    anchor = b.next_anchor, timezone = b.next_timezone,"
		"    period_start = CASE WHEN NOT (" WAITS_FOR_PAYMENT ") THEN b.next_period_start END,"
		"    period_end = CASE WHEN NOT (" WAITS_FOR_PAYMENT ") THEN b.next_period_end END,"
		"    billed_to = CASE WHEN NOT (" WAITS_FOR_PAYMENT ") THEN b.boundary END,"
		"    due_at = CASE WHEN NOT (" WAITS_FOR_PAYMENT ") THEN b.next_due_at END,"
		"    ended_at = CASE WHEN b.next_ends THEN b.boundary END, version = s.version + 1"
		"  FROM (SELECT tenant_id, subscription_id, total, boundary, next_status, next_ends, next_anchor, next_timezone,"
		"      next_period_start, next_period_end, next_due_at FROM bill OFFSET 0) b"
		"  WHERE s.tenant_id = b.tenant_id AND s.subscription_id = b.subscription_id"
		") SELECT count(*), count(*) FILTER (WHERE item_count > 0) FROM bill",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {
		make_ids(batch->tenant_ids, batch->count), make_ids(batch->subscription_ids, batch->count),
		make_ids(batch->invoice_ids, batch->count), TimestampTzGetDatum(at)
	};
	bool		isnull;

	int			outer = begin_settings(batch_settings, lengthof(batch_settings));
	int			inner;

	PushActiveSnapshot(GetTransactionSnapshot());
	billing_draft_add_counters(args[0]);
	billing_usage_compact(args[0]);
	inner = begin_settings(keyed_settings, lengthof(keyed_settings));
	billing_spi_run_snapshot(&query, args, NULL);
	AtEOXact_GUC(true, inner);
	PopActiveSnapshot();
	AtEOXact_GUC(true, outer);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static Datum
make_ids(Datum *ids, int count)
{
	return PointerGetDatum(construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * begin_settings
 *		Set what holds until AtEOXact_GUC() is told the level that this returns.
 */
static int
begin_settings(const Setting *settings, int count)
{
	int			level = NewGUCNestLevel();

	for (int i = 0; i < count; i++)
		(void) set_config_option(settings[i].name, settings[i].value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * billing_bill_due
 *		CALL billing.bill_due(at, batch): everything due at or before at, one
 *		transaction per batch.
 *
 * Inside a transaction block it commits nothing, so that ROLLBACK makes a forecast
 * of it.
 */
Datum
billing_bill_due(PG_FUNCTION_ARGS)
{
	CallContext *context = castNode(CallContext, fcinfo->context);
	int32		batch;

	billing_flow_require(fcinfo, 1, "batch");
	batch = PG_GETARG_INT32(1);
	if (batch < 1 || batch > BATCH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be from 1 to %d", BATCH_MAX),
				 errdetail("batch=%d", batch),
				 errhint("It is how many subscriptions one transaction bills; 10000 is the default.")));

	if (!PG_ARGISNULL(0) && TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(0)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be finite"),
				 errdetail("at=%s", TIMESTAMP_IS_NOBEGIN(PG_GETARG_TIMESTAMPTZ(0)) ? "-infinity" : "infinity"),
				 errhint("It is the instant up to which periods are billed; of those to come there is no last.")));

	run(PG_ARGISNULL(0) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(0), batch, context->atomic);
	PG_RETURN_VOID();
}

/*
 * run
 *		Bill batch after batch, first what nobody else bills, then the rest.
 *
 * A pass bills one boundary of each that it claims.  Of one that has several the
 * next may lie before what the batch ended with, so passes go on until one bills
 * nothing: then what is still due is locked by somebody else, or cannot be billed.
 * A pass that waits for the tenants that were locked finds that whoever
 * held them has billed them, or bills them itself.  Then the same for late usage of
 * subscriptions that ended, and for drafts that are old enough to be made final.
 *
 * Where no batch commits every pass waits: two runs that each keep what they have
 * locked would else wait for each other.
 */
static void
run(TimestampTz at, int batch, bool atomic)
{
	static const Phase after[] = {late_some, finalize_some};

	if (SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");

	billing_usage_compact_all(batch, atomic);
	for (int wait = atomic; wait < 2; wait++)
		while (run_pass(bill_some, at, batch, atomic, wait))
			continue;
	for (int i = 0; i < lengthof(after); i++)
		for (int wait = atomic; wait < 2; wait++)
			(void) run_pass(after[i], at, batch, atomic, wait);
	/* What the caller does next is in a transaction as its session has them. */
	if (!atomic)
		SPI_commit();
	billing_spi_end();
}

/* Once through all that is due, batch by batch; did it move any on? */
static bool
run_pass(Phase phase, TimestampTz at, int batch, bool atomic, bool wait)
{
	Position	position = run_start();
	bool		any = true;

	while (any)
	{
		any = phase(&position, at, batch, wait);
		SPI_freetuptable(SPI_tuptable);
		if (!atomic)
			billing_spi_begin_transaction();
		CHECK_FOR_INTERRUPTS();
	}
	return position.moved > 0;
}

static Position
run_start(void)
{
	Position	position = {DT_NOBEGIN, PG_INT64_MIN, PG_INT64_MIN, 0};

	return position;
}

/*
 * bill_some
 *		One batch, by the function that has the rights for it; false if nothing
 *		was left to claim behind the position.
 */
static bool
bill_some(Position *position, TimestampTz at, int batch, bool wait)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, billed, due_at, tenant_id, subscription_id FROM billing.bill_batch($1, $2, $3, $4, $5, $6)",
		.expected = SPI_OK_SELECT,
		.nargs = 6,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, TIMESTAMPTZOID, INT8OID, INT8OID},
	};
	Datum		args[] = {
		TimestampTzGetDatum(at), Int32GetDatum(batch), BoolGetDatum(wait), TimestampTzGetDatum(position->due_at),
		Int64GetDatum(position->tenant_id), Int64GetDatum(position->subscription_id)
	};
	bool		isnull;

	billing_spi_run(&query, args, NULL);
	position->moved += DatumGetInt64(billing_spi_value(0, 2, &isnull));
	position->due_at = DatumGetTimestampTz(billing_spi_value(0, 3, &isnull));
	position->tenant_id = DatumGetInt64(billing_spi_value(0, 4, &isnull));
	position->subscription_id = DatumGetInt64(billing_spi_value(0, 5, &isnull));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull)) > 0;
}

/* The same of late usage of ended subscriptions, whose position is (tenant_id, subscription_id). */
static bool
late_some(Position *position, TimestampTz at, int batch, bool wait)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, tenant_id, subscription_id FROM billing.late_batch($1, $2, $3, $4, $5)",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, INT8OID, INT8OID},
	};

	return run_phase(&query, position, at, batch, wait);
}

/* The same of drafts, whose position is (tenant_id, invoice_id). */
static bool
finalize_some(Position *position, TimestampTz at, int batch, bool wait)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, tenant_id, invoice_id FROM billing.finalize_batch($1, $2, $3, $4, $5)",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, INT8OID, INT8OID},
	};

	return run_phase(&query, position, at, batch, wait);
}

static bool
run_phase(BillingQuery *query, Position *position, TimestampTz at, int batch, bool wait)
{
	Datum		args[] = {
		TimestampTzGetDatum(at), Int32GetDatum(batch), BoolGetDatum(wait),
		Int64GetDatum(position->tenant_id), Int64GetDatum(position->subscription_id)
	};
	bool		isnull;

	billing_spi_run(query, args, NULL);
	position->tenant_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	position->subscription_id = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull)) > 0;
}
