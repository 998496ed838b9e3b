/*-------------------------------------------------------------------------
 *
 * bill.c
 *	  One path from what is due to invoices: claim, calculate, write.
 *
 * A batch is claimed by locking the rows of its tenants, skipping those that
 * somebody else works on.  Then statements over the set read what is due and its lines
 * (due.c), C makes invoices of them (made.c), and statements over the set write these and
 * move the subscriptions on to their next boundaries.  What is due is looked at after
 * the locks were taken, so that whoever was first leaves nothing to bill twice.
 *
 * One invoice is a batch of one.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "aside.h"
#include "attempt.h"
#include "bill.h"
#include "clock.h"
#include "coupon_due.h"
#include "draft.h"
#include "dunning.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "made.h"
#include "notice.h"
#include "result.h"
#include "spi.h"
#include "tax_rate.h"
#include "usage.h"
#include "wake.h"

BILLING_FUNCTION(billing_bill_batch);

/*
 * How many of a batch are billed by one set of statements: what these take, some 3 kB for
 * each, then stays in the processor's cache and in memory that is used again.
 */
#define SLICE 2000

/* A batch that was claimed: parallel arrays in the order of tenants. */
typedef struct Batch
{
	int			count;
	Datum	   *tenant_ids;
	Datum	   *subscription_ids;
	Datum	   *invoice_ids;
	bool		is_new;			/* one that begins with the flow at hand */
} Batch;

/*
 * The same, the slice of it that is worked on, and how many were billed; is_last: of
 * what cannot be, no pass but this one tells.
 */
typedef struct Claimed
{
	Batch		batch;
	TimestampTz at;
	bool		is_last;
	int			from;
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

/*
 * A slice stays in memory, where a small work_mem would go through files; to compile
 * its statements would take longer than to run them.
 */
static const BillingSpiSetting batch_settings[] = {
	{"jit", "off"},
	{"work_mem", "64MB"},
};

static bool bill_boundary(int64 tenant_id, int64 subscription_id, TimestampTz at, bool is_new);
static bool is_behind(const Position *a, const Position *b);
static int64 claim(Batch *batch, TimestampTz at, int64 limit, Position *position, bool wait, bool spare);
static void make_batch(Batch *batch, uint64 count);
static void write_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static int64 write_batch(const Batch *batch, TimestampTz at);
static BillingWalletBook *open_wallets(const BillingDue *dues, int count, TimestampTz at);
static BillingStore *make_claimed(const Batch *batch);
static BillingStore *insert_invoices(const BillingMade *made);
static void write_invoices(const BillingMade *made, bool is_new);
static void refresh_entitlements(const BillingDue *dues, int count);
static bool gives_other(const BillingDue *due);
static void watch_orders(const BillingDue *dues, int count);

bool
billing_bill_next(int64 tenant_id, int64 subscription_id, TimestampTz at)
{
	return bill_boundary(tenant_id, subscription_id, at, false);
}

bool
billing_bill_first(int64 tenant_id, int64 subscription_id, TimestampTz at)
{
	return bill_boundary(tenant_id, subscription_id, at, true);
}

static bool
bill_boundary(int64 tenant_id, int64 subscription_id, TimestampTz at, bool is_new)
{
	Datum		tenant = Int64GetDatum(tenant_id);
	Datum		subscription = Int64GetDatum(subscription_id);
	Datum		invoice = Int64GetDatum(billing_id_next());
	Batch		batch = {1, &tenant, &subscription, &invoice, is_new};

	return write_batch(&batch, at) > 0;
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
	Datum		values[5];
	bool		nulls[5] = {false};


	billing_spi_begin();
	count = claim(&claimed.batch, at, PG_GETARG_INT32(1), &position, PG_GETARG_BOOL(2), PG_GETARG_BOOL(6));
	billing_flow_check_snapshot(billing_id_array(claimed.batch.tenant_ids, count));
	for (claimed.from = 0; claimed.from < count; claimed.from += SLICE)
	{
		billing_attempt(write_some, report, &claimed, Min(SLICE, count - claimed.from));
		/* Let the WAL writer begin with this slice, so that the commit waits for the last one only. */
		XLogSetAsyncXactLSN(XactLastRecEnd);
	}
	billing_spi_end();

	values[0] = Int64GetDatum(count);
	values[1] = Int64GetDatum(claimed.billed);
	values[2] = TimestampTzGetDatum(position.due_at);
	values[3] = Int64GetDatum(position.tenant_id);
	values[4] = Int64GetDatum(position.subscription_id);
	PG_RETURN_DATUM(billing_result_make(fcinfo, lengthof(values), values, nulls));
}

/* Of a subscription s: not, if so asked ($6), one that failed and is to wait. */
#define IS_NOT_SPARED \
	"(NOT $6 OR NOT EXISTS (SELECT FROM billing.set_aside a WHERE a.tenant_id = s.tenant_id AND a.job = 'bill_due'" \
	"   AND a.object = 'subscription' AND a.object_id = s.subscription_id AND a.retry_at > billing.now()))"

/*
 * claim
 *		Lock the tenants of the next due subscriptions; returns how many of these
 *		there are, and moves the position behind the last.
 */
static int64
claim(Batch *batch, TimestampTz at, int64 limit, Position *position, bool wait, bool spare)
{
	/* Locked tenants are passed over: somebody else bills them. */
	static BillingQuery skipping = {
		.sql = "SELECT s.tenant_id, s.subscription_id, s.due_at"
		"  FROM billing.subscription s JOIN billing.tenant t ON t.tenant_id = s.tenant_id"
		" WHERE s.due_at <= $1 AND (s.due_at, s.tenant_id, s.subscription_id) > ($2, $3, $4) AND " IS_NOT_SPARED
		" ORDER BY s.due_at, s.tenant_id, s.subscription_id"
		" LIMIT $5 FOR NO KEY UPDATE OF t SKIP LOCKED",
		.expected = SPI_OK_SELECT,
		.nargs = 6,
		.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, BOOLOID},
	};

	/* The last pass waits for them, in the order in which every flow locks tenants. */
	static BillingQuery waiting = {
		.sql = "SELECT d.tenant_id, d.subscription_id, d.due_at"
		"  FROM (SELECT s.tenant_id, s.subscription_id, s.due_at FROM billing.subscription s"
		"         WHERE s.due_at <= $1 AND (s.due_at, s.tenant_id, s.subscription_id) > ($2, $3, $4)"
		"           AND " IS_NOT_SPARED
		"         ORDER BY s.due_at, s.tenant_id, s.subscription_id LIMIT $5) d"
		"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
		" ORDER BY d.tenant_id, d.due_at, d.subscription_id FOR NO KEY UPDATE OF t",
		.expected = SPI_OK_SELECT,
		.nargs = 6,
		.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, BOOLOID},
	};
	Datum		args[] = {
		TimestampTzGetDatum(at), TimestampTzGetDatum(position->due_at), Int64GetDatum(position->tenant_id),
		Int64GetDatum(position->subscription_id), Int64GetDatum(limit), BoolGetDatum(spare)
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
	batch->is_new = false;
}

/* The work of a batch, for some of it. */
static void
write_some(void *set, int from, int count)
{
	Claimed    *claimed = set;
	int			first = claimed->from + from;
	Batch		some = {
		count, claimed->batch.tenant_ids + first, claimed->batch.subscription_ids + first,
		claimed->batch.invoice_ids + first, false
	};

	claimed->billed += write_batch(&some, claimed->at);
}

static void
report(void *set, int which, const ErrorData *error)
{
	Claimed    *claimed = set;
	long long	tenant_id = DatumGetInt64(claimed->batch.tenant_ids[claimed->from + which]);
	long long	subscription_id = DatumGetInt64(claimed->batch.subscription_ids[claimed->from + which]);

	if (!claimed->is_last)
		return;
	billing_aside_note("bill_due", "subscription", tenant_id, subscription_id, error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("subscription %lld of tenant %lld could not be billed: %s", subscription_id, tenant_id, error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It stays due and is tried again: by bill_due() at once, by the worker ever later; the others are billed.")));
}

/*
 * write_batch
 *		Calculate and write every invoice of the batch; returns how many
 *		subscriptions were due and moved on.
 *
 * Usage is compacted first, under the same snapshot: so the rollup holds what the
 * calculation may know, whole, and whatever it does not is booked later as late.  The
 * plans are generic ones: tables are reached by key from a set, which is right for
 * one subscription and for ten thousand.
 */
static int64
write_batch(const Batch *batch, TimestampTz at)
{
	Datum		tenant_ids = billing_id_array(batch->tenant_ids, batch->count);
	int			outer = billing_spi_set(batch_settings, lengthof(batch_settings));
	int			inner;
	BillingStore *claimed;
	BillingDue *dues;
	BillingMade made;
	int			count;

	billing_spi_begin();
	billing_tax_rate_hold();
	PushActiveSnapshot(GetTransactionSnapshot());
	billing_usage_compact(tenant_ids);
	inner = billing_spi_use_keys();
	claimed = make_claimed(batch);
	count = billing_due_read(claimed, tenant_ids, at, &dues);
	if (count > 0)
	{
		BillingWalletBook *book = open_wallets(dues, count, at);

		billing_make_invoices(dues, count, at, book, &made);
		write_invoices(&made, batch->is_new);
		billing_coupon_write_due(dues, count, made.redemption);
		if (book != NULL)
			billing_wallet_book_close(book);
		refresh_entitlements(dues, count);
		watch_orders(dues, count);
		billing_made_end(&made);
	}
	billing_store_end(claimed);
	billing_spi_unset(inner);
	PopActiveSnapshot();
	billing_spi_end();
	billing_spi_unset(outer);
	return count;
}

/* Those of the tenants whose counters say that they have credit; NULL if none does. */
static BillingWalletBook *
open_wallets(const BillingDue *dues, int count, TimestampTz at)
{
	Datum	   *tenant_ids = palloc(count * sizeof(Datum));
	int			found = 0;

	for (int i = 0; i < count; i++)
	{
		Datum		tenant_id = dues[i].facts[BILLING_DUE_TENANT_ID].value;

		if (DatumGetBool(dues[i].facts[BILLING_DUE_HAS_CREDIT].value) && (found == 0 || tenant_ids[found - 1] != tenant_id))
			tenant_ids[found++] = tenant_id;
	}
	return found == 0 ? NULL : billing_wallet_book_open(billing_id_array(tenant_ids, found), at);
}

static BillingStore *
make_claimed(const Batch *batch)
{
	BillingStore *store = billing_due_make_claimed();

	for (int i = 0; i < batch->count; i++)
	{
		billing_store_put(store, batch->tenant_ids[i], false);
		billing_store_put(store, batch->subscription_ids[i], false);
		billing_store_put(store, batch->invoice_ids[i], false);
	}
	return store;
}

/* A statement of no parameters over what was made. */
#define WRITE(text, result) \
	{ \
		.sql = (text), \
		.expected = (result), \
		.options = CURSOR_OPT_GENERIC_PLAN, \
	}

#define MOVE_SUBSCRIPTION \
	"UPDATE billing.subscription s SET status = m.status, anchor = m.anchor, timezone = m.timezone," \
	"       period_start = m.period_start, period_end = m.period_end," \
	"       billed_to = m.billed_to, due_at = m.due_at, ended_at = m.ended_at," \
	"       version = s.version + 1" \
	"  FROM made_subscription m" \
	" WHERE s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id"

/*
 * insert_invoices
 *		Write them, and their notices; returns what is told of them, as rows of told_invoice.
 */
static BillingStore *
insert_invoices(const BillingMade *made)
{
	static const BillingStoreColumn columns[] = {
		{"tenant_id", INT8OID}, {"invoice_id", INT8OID}, {"types", TEXTARRAYOID}, {"object", JSONBOID}
	};
	static BillingQuery query = WRITE("WITH made AS (INSERT INTO billing.invoice AS i (" BILLING_MADE_INVOICE ") TABLE made_invoice"
										"  RETURNING i AS invoice, i.tenant_id, i.status"
										"), noticed AS (" BILLING_NOTICE_WRITE_INVOICES("SELECT m.invoice AS i FROM made m")
										") SELECT m.tenant_id, (m.invoice).invoice_id, CASE m.status WHEN 'draft' THEN '{invoice.created}'"
										"    WHEN 'paid' THEN '{invoice.created,invoice.finalized,invoice.paid}'"
										"    ELSE '{invoice.created,invoice.finalized}' END::text[] AS types,"
										"    billing.invoice_object(m.invoice) AS object"
										"  FROM made m"
										" WHERE coalesce((SELECT billing.wanted_events())"
										"   && '{invoice.created,invoice.finalized,invoice.paid}'::text[], true)", SPI_OK_SELECT);
	BillingStore *told = billing_store_make("told_invoice", columns, lengthof(columns));
	uint64		count;

	if (made->invoice->count == 0)
		return told;
	billing_store_show(made->invoice);
	count = billing_spi_run_snapshot(&query, NULL, NULL);
	for (uint64 i = 0; i < count * lengthof(columns); i++)
	{
		bool		isnull;
		Datum		value = billing_spi_value(i / lengthof(columns), i % lengthof(columns) + 1, &isnull);

		billing_store_put(told, value, isnull);
	}
	return told;
}

/* Of rows of objects in which order, of whom, and what types of events tell of them. */
#define TELL(rows) \
	"happened AS (SELECT e.tenant_id, e.type, e.object, NULL::bigint AS event_id" \
	"  FROM (SELECT o.tenant_id, unnest(o.types) AS type, o.object" \
	"    FROM (SELECT * FROM (" rows ") r (kind, tenant_id, object_id, types, object)" \
	"      ORDER BY r.tenant_id, r.kind, r.object_id) o) e" \
	"  WHERE " BILLING_EVENT_IS_WANTED("e.type") ")"

static void
write_invoices(const BillingMade *made, bool is_new)
{
	static BillingQuery item = WRITE("INSERT INTO billing.invoice_item (" BILLING_MADE_ITEM ") TABLE made_item", SPI_OK_INSERT);
	static BillingQuery tax = WRITE("INSERT INTO billing.invoice_tax (" BILLING_MADE_TAX ") TABLE made_tax", SPI_OK_INSERT);
	static BillingQuery log = WRITE("INSERT INTO billing.calculation_log (" BILLING_MADE_LOG ") TABLE made_log", SPI_OK_INSERT);
	static BillingQuery transaction = WRITE("INSERT INTO billing.transaction (" BILLING_MADE_TRANSACTION ") TABLE made_transaction",
											SPI_OK_INSERT);
	static BillingQuery grant = WRITE("INSERT INTO billing.credit_grant (" BILLING_MADE_GRANT ") TABLE made_grant", SPI_OK_INSERT);
	static BillingQuery entry = WRITE("INSERT INTO billing.wallet_entry (tenant_id, entry_id, grant_id, kind, amount, at)"
									  " SELECT m.tenant_id, m.grant_id, m.grant_id, 'grant', m.amount, billing.now() FROM made_grant m",
									  SPI_OK_INSERT);
	static BillingQuery flag = WRITE("UPDATE billing.counter c SET has_credit = true FROM made_grant m"
									 " WHERE c.tenant_id = m.tenant_id AND NOT c.has_credit", SPI_OK_UPDATE);
	static BillingQuery granted = WRITE(BILLING_EVENT_WRITE(
															"happened AS (SELECT g.tenant_id, 'wallet.granted' AS type, billing.grant_object(g) AS object,"
															"    NULL::bigint AS event_id"
															"  FROM made_grant m JOIN billing.credit_grant g ON g.tenant_id = m.tenant_id AND g.grant_id = m.grant_id"
															"  WHERE " BILLING_EVENT_IS_WANTED("'wallet.granted'") ")"), SPI_OK_INSERT);
	static BillingQuery late = WRITE("UPDATE billing.usage_late l SET invoice_id = m.invoice_id FROM made_late m"
									 " WHERE l.tenant_id = m.tenant_id AND l.subscription_id = m.subscription_id"
									 "   AND l.invoice_id IS NULL", SPI_OK_UPDATE);
	static BillingQuery rerated = WRITE("UPDATE billing.rerated_line r SET invoice_id = m.invoice_id,"
										"       used_to = billing.line_used_to(r.tenant_id, r.adjusts_invoice_id, r.adjusts_line)"
										"  FROM made_late m"
										" WHERE r.tenant_id = m.tenant_id AND r.subscription_id = m.subscription_id"
										"   AND r.invoice_id IS NULL", SPI_OK_UPDATE);
	static BillingQuery part = WRITE("UPDATE billing.due_part d SET is_pending = false, invoice_id = m.invoice_id FROM made_part m"
									 " WHERE d.tenant_id = m.tenant_id AND d.subscription_id = m.subscription_id"
									 "   AND d.part_no = m.part_no", SPI_OK_UPDATE);
	static BillingQuery counter = WRITE("UPDATE billing.counter c SET invoice_number = m.invoice_number, chain_no = m.chain_no,"
										"       chain_hash = m.chain_hash"
										"  FROM made_counter m WHERE c.tenant_id = m.tenant_id", SPI_OK_UPDATE);

	/* States know no shorter way from past due. */
	static BillingQuery unpaid = WRITE("UPDATE billing.subscription s SET status = 'suspended' FROM made_subscription m"
									   " WHERE s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id"
									   "   AND s.status = 'past_due' AND m.status = 'expired'", SPI_OK_UPDATE);

	/*
	 * All that is told of a tenant comes together, as it is in the index of events.  The second is of
	 * one that begins with the flow at hand, which tells of it.
	 */
	static BillingQuery subscription[] = {
		WRITE(BILLING_EVENT_WRITE(
								  "moved AS (" MOVE_SUBSCRIPTION " RETURNING s AS subscription, s.tenant_id, s.plan_id, m.types"
								  "), " TELL("SELECT 1, i.* FROM told_invoice i UNION ALL"
											 " SELECT 2, m.tenant_id, (m.subscription).subscription_id, m.types,"
											 "   billing.subscription_object(m.subscription, p.code)"
											 " FROM moved m LEFT JOIN billing.plan p ON p.plan_id = m.plan_id")), SPI_OK_INSERT),
		WRITE(BILLING_EVENT_WRITE("moved AS (" MOVE_SUBSCRIPTION "), " TELL("SELECT 1, i.* FROM told_invoice i")), SPI_OK_INSERT),
	};
	BillingStore *told = insert_invoices(made);

	billing_store_run(made->item, &item);
	billing_store_run(made->tax, &tax);
	billing_tax_rate_mark_used(made->new_rates);
	billing_store_run(made->log, &log);
	billing_store_run(made->transaction, &transaction);
	billing_store_run(made->grant, &grant);
	if (made->grant->count > 0)
	{
		(void) billing_spi_run_snapshot(&entry, NULL, NULL);
		(void) billing_spi_run_snapshot(&flag, NULL, NULL);
	}
	billing_store_run(made->late, &late);
	if (made->late->count > 0)
		(void) billing_spi_run_snapshot(&rerated, NULL, NULL);
	billing_store_run(made->part, &part);
	billing_store_run(made->counter, &counter);
	billing_store_show(made->subscription);
	billing_store_show(told);
	if (made->expires_unpaid)
		(void) billing_spi_run_snapshot(&unpaid, NULL, NULL);
	(void) billing_spi_run_snapshot(&subscription[is_new], NULL, NULL);
	if (made->grant->count > 0)
		(void) billing_spi_run_snapshot(&granted, NULL, NULL);
	billing_store_end(told);
	billing_wake_at_commit();
}

/*
 * refresh_entitlements
 *		Let the entitlements of those tenants follow whose subscriptions start, end, or
 *		change their plan where their period ends.
 *
 * One that renews gives what it gave.
 */
static void
refresh_entitlements(const BillingDue *dues, int count)
{
	Datum	   *tenant_ids = palloc(count * sizeof(Datum));
	int			changed = 0;

	for (int i = 0; i < count; i++)
	{
		if (gives_other(&dues[i]))
			tenant_ids[changed++] = dues[i].facts[BILLING_DUE_TENANT_ID].value;
	}
	if (changed > 0)
		(void) billing_entitlement_refresh(billing_id_array(tenant_ids, changed), true);
}

static bool
gives_other(const BillingDue *due)
{
	char	   *status = TextDatumGetCString(due->facts[BILLING_DUE_STATUS].value);
	NullableDatum changed_at = due->facts[BILLING_TERM_CHANGED_AT];

	return DatumGetBool(due->next[BILLING_BOUNDARY_ENDS].value) ||
		(!changed_at.isnull && changed_at.value == due->facts[BILLING_TERM_DUE_AT].value) ||
		strcmp(status, "pending") == 0 || strcmp(status, "trialing") == 0;
}

/* Let dunning know of those that wait for their first payment from now on. */
static void
watch_orders(const BillingDue *dues, int count)
{
	Datum	   *tenant_ids = palloc(count * sizeof(Datum));
	Datum	   *subscription_ids = palloc(count * sizeof(Datum));
	int			orders = 0;

	for (int i = 0; i < count; i++)
	{
		const NullableDatum *facts = dues[i].facts;

		if (!billing_text_equals(DatumGetTextPP(facts[BILLING_DUE_STATUS].value), "pending") ||
			!billing_text_equals(DatumGetTextPP(facts[BILLING_DUE_ACTIVATE].value), "on_payment"))
			continue;
		tenant_ids[orders] = facts[BILLING_DUE_TENANT_ID].value;
		subscription_ids[orders++] = facts[BILLING_DUE_SUBSCRIPTION_ID].value;
	}
	if (orders > 0)
		billing_dunning_watch(billing_id_array(tenant_ids, orders), billing_id_array(subscription_ids, orders));
}
