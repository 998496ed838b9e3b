/*-------------------------------------------------------------------------
 *
 * compaction.c
 *	  Usage events summed up, so that totals stay cheap.
 *
 * A horizon says per tenant which events are in its rollup: those that the
 * snapshot of its last compaction showed.  So an event counts once whenever its
 * transaction ends, however old its timestamp is: before, it is invisible; then it
 * is in no rollup and is read as it is; then it is in the rollup, and the horizon
 * that says so commits with it.  Recorders take no lock that compaction wants.
 *
 * Compaction of a tenant is alone by the lock of the tenant's row, which billing
 * takes too.  What billing bills is what its snapshot shows; whatever is compacted
 * later and lies before what its subscription was billed to came late.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "id.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "aside.h"
#include "attempt.h"
#include "flow.h"
#include "result.h"
#include "spi.h"
#include "store.h"
#include "usage.h"

BILLING_FUNCTION(billing_compact_tenants);
BILLING_FUNCTION(billing_compact_usage);
BILLING_FUNCTION(billing_raise_usage_floor);
BILLING_FUNCTION(billing_usage_candidates);

#define BATCH_MAX 1000000

/*
 * What the floor may say is in a rollup: what this command sees, but for its own
 * transaction, which is running still.  A snapshot does not list that among those
 * that are, and would show whatever it writes later.
 */
#define OTHERS_SNAPSHOT \
	"(SELECT format('%s:%s:%s', pg_snapshot_xmin(s.s), pg_snapshot_xmax(s.s), (" \
	"    SELECT string_agg(x.x::text, ',' ORDER BY x.x)" \
	"    FROM (SELECT pg_snapshot_xip(s.s) UNION SELECT s.own WHERE s.own < pg_snapshot_xmax(s.s)) x (x)))::pg_snapshot" \
	"  FROM (SELECT pg_current_snapshot(), pg_current_xact_id_if_assigned()) s (s, own))"

/* Tenants to compact (bigint[]), and for how many it could not be done. */
typedef struct Tenants
{
	Datum		ids;
	int64		failed;
} Tenants;

/* Where events may be that are in no rollup: the row of billing.usage_search(). */
typedef struct Search
{
	Datum		args[3];
	char		nulls[4];
} Search;

static bool is_any_above_floor(void);
static bool find_search(Datum tenant_ids, Search *search);
static bool is_any_fresh(Search *search);
static void compact(Search *search);
static void note_unbilled(Datum tenant_ids);
static BillingStore *read_fresh(Search *search);
static uint64 lock_tenants(Datum tenant_ids);
static void compact_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static Datum find_candidates(MemoryContext caller, Datum *snapshot);
static bool compact_batch(Datum tenant_ids);
static void finish_pass(Datum snapshot);
static void summarize_index(void);
static bool read_floor(Datum *args);

/*
 * billing_usage_compact
 *		See usage.h.  Where nothing is new for anybody it costs one search through the
 *		events since the floor, else a look at each tenant's horizon and one through
 *		those since.
 */
void
billing_usage_compact(Datum tenant_ids)
{
	Search		search;

	if (!is_any_above_floor() || !find_search(tenant_ids, &search))
		return;
	if (search.nulls[2] == ' ' || is_any_fresh(&search))
		compact(&search);
}

/*
 * is_any_above_floor
 *		Is there any event that may be in no rollup?
 *
 * They are at the end of the table, which the planner does not know.
 */
static bool
is_any_above_floor(void)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.usage_event e WHERE e.xid >= $1 AND NOT pg_visible_in_snapshot(e.xid, $2) LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {XID8OID, PG_SNAPSHOTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static const BillingSpiSetting by_index = {"enable_seqscan", "off"};
	Datum		floor[2];
	int			level;
	bool		is_any;

	if (!read_floor(floor))
		return true;
	level = billing_spi_set(&by_index, 1);
	is_any = billing_spi_run_snapshot(&query, floor, NULL) > 0;
	billing_spi_unset(level);
	return is_any;
}

static bool
find_search(Datum tenant_ids, Search *search)
{
	static BillingQuery query = {
		.sql = "SELECT tenants, since, unknown_since FROM billing.usage_search($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {tenant_ids};

	if (billing_spi_run_snapshot(&query, args, NULL) == 0)
		return false;
	memset(search, 0, sizeof(Search));
	for (int i = 0; i < 3; i++)
	{
		bool		isnull;

		(void) billing_spi_value(0, i + 1, &isnull);
		search->nulls[i] = isnull ? 'n' : ' ';
		search->args[i] = billing_spi_copy(0, i + 1, CurrentMemoryContext);
	}
	return true;
}

/* A plan for these very transactions: from them the planner knows how few events there are. */
static bool
is_any_fresh(Search *search)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.usage_fresh($1, $2, $3) LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, XID8OID, XID8OID},
		.options = CURSOR_OPT_CUSTOM_PLAN,
	};

	return billing_spi_run_snapshot(&query, search->args, search->nulls) > 0;
}

/*
 * compact
 *		Add fresh events to the rollup, move the horizons, and note who came late.
 *
 * The marks of a stream are found with its first event and handed on by a window: a
 * join would be a nested loop wherever few events are expected and many come.
 * Events that came late are those of a period that was billed; where no horizon
 * says what was known then (a restore brings none), note_unbilled() finds them.
 */
static void
compact(Search *search)
{
	static BillingQuery query = {
		.sql =
		"WITH hourly AS MATERIALIZED ("
		"  SELECT f.tenant_id, f.meter, f.subscription_id, f.bucket, f.mark, min(f.at) AS first_at, max(f.at) AS last_at,"
		"    count(*) AS events, sum(f.quantity) AS sum, max(f.quantity) AS max,"
		"    billing.usage_latest(f.quantity, f.at, f.event_id) AS latest,"
		"    billing.usage_latest_id(f.quantity, f.at, f.event_id) AS latest_id, billing.digest_sum(f.digest) AS digest"
		"  FROM ("
		"    SELECT f.tenant_id, f.meter, f.stream AS subscription_id, f.at, f.quantity, f.event_id,"
		"      greatest(date_bin('1 hour', f.at, '2000-01-01Z'), f.mark,"
		"        CASE WHEN f.cuts IS NOT NULL THEN (SELECT max(b) FROM unnest(f.cuts) b WHERE b <= f.at) END) AS bucket,"
		"      f.mark, billing.usage_digest(f.event_id, f.meter, f.subscription_id, f.quantity, f.at) AS digest"
		"    FROM (SELECT r.*, billing.usage_mark(first_value(r.marks) OVER w, r.at) AS mark, first_value(r.boundaries) OVER w AS cuts"
		"      FROM (SELECT r.*, CASE WHEN r.n = 1 THEN (SELECT array_agg(m.mark ORDER BY m.mark)"
		"            FROM billing.usage_marks(r.tenant_id, r.meter, r.stream, r.at) m) END AS marks,"
		"          CASE WHEN r.n = 1 THEN (SELECT c.boundaries FROM billing.usage_cuts(r.tenant_id) c) END AS boundaries"
		"        FROM (SELECT f.*, coalesce(f.subscription_id, 0) AS stream, row_number() OVER (PARTITION BY f.tenant_id, f.meter,"
		"            coalesce(f.subscription_id, 0) ORDER BY f.at) AS n FROM fresh f) r OFFSET 0) r"
		"      WINDOW w AS (PARTITION BY r.tenant_id, r.meter, r.stream ORDER BY r.n)) f) f"
		"  GROUP BY f.tenant_id, f.meter, f.subscription_id, f.bucket, f.mark"
		"), added AS ("
		"  INSERT INTO billing.usage_rollup AS r (tenant_id, meter, subscription_id, level, bucket, first_at, last_at, events,"
		"    sum, max, latest, latest_id, digest)"
		"  SELECT u.* FROM ("
		"    SELECT tenant_id, meter, subscription_id, 'h'::\"char\" AS level, bucket, first_at, last_at, events, sum, max,"
		"      latest, latest_id, digest"
		"    FROM hourly"
		"    UNION ALL"
		"    SELECT tenant_id, meter, subscription_id, 'd', date_bin('1 day', bucket, '2000-01-01Z'), min(first_at), max(last_at),"
		"      sum(events)::bigint, sum(sum), max(max), billing.usage_latest(latest, last_at, latest_id),"
		"      billing.usage_latest_id(latest, last_at, latest_id), billing.digest_sum(digest)"
		"    FROM hourly"
		"    GROUP BY tenant_id, meter, subscription_id, date_bin('1 day', bucket, '2000-01-01Z')) u"
		"  ORDER BY u.tenant_id, u.meter, u.subscription_id, u.level, u.bucket"
		"  ON CONFLICT (tenant_id, meter, subscription_id, level, bucket) DO UPDATE SET"
		"    first_at = least(r.first_at, excluded.first_at), last_at = greatest(r.last_at, excluded.last_at),"
		"    events = r.events + excluded.events, sum = r.sum + excluded.sum, max = greatest(r.max, excluded.max),"
		"    latest = CASE WHEN (excluded.last_at, excluded.latest_id) > (r.last_at, r.latest_id) THEN excluded.latest ELSE r.latest END,"
		"    latest_id = CASE WHEN (excluded.last_at, excluded.latest_id) > (r.last_at, r.latest_id) THEN excluded.latest_id ELSE r.latest_id END,"
		"    digest = billing.digest_add(r.digest, excluded.digest)"
		"), added_period AS ("
		"  INSERT INTO billing.usage_period AS p (tenant_id, subscription_id, meter, starts_at, last_at, events, sum, max, digest)"
		"  SELECT tenant_id, subscription_id, meter, mark, max(last_at), sum(events)::bigint, sum(sum), max(max),"
		"    billing.digest_sum(digest)"
		"  FROM hourly"
		"  GROUP BY tenant_id, subscription_id, meter, mark"
		"  ORDER BY tenant_id, subscription_id, meter, mark"
		"  ON CONFLICT (tenant_id, subscription_id, meter, starts_at) DO UPDATE SET"
		"    last_at = greatest(p.last_at, excluded.last_at), events = p.events + excluded.events, sum = p.sum + excluded.sum,"
		"    max = greatest(p.max, excluded.max), digest = billing.digest_add(p.digest, excluded.digest)"
		"), moved AS ("
		"  INSERT INTO billing.usage_horizon AS h (tenant_id, snapshot, own_xid, own_cid, has_stated, has_unstated, compacted_at)"
		"  SELECT u.tenant_id, pg_current_snapshot(), $2, $3, bool_or(u.is_stated), bool_or(u.is_unstated), billing.now()"
		"  FROM (SELECT f.tenant_id, f.subscription_id IS NOT NULL AS is_stated, f.subscription_id IS NULL AS is_unstated FROM fresh f"
		"    UNION ALL"
		"    SELECT t.tenant_id, false, false FROM unnest($1) t(tenant_id)"
		"    WHERE NOT EXISTS (SELECT FROM billing.usage_horizon h WHERE h.tenant_id = t.tenant_id)) u"
		"  GROUP BY u.tenant_id"
		"  ORDER BY u.tenant_id"
		"  ON CONFLICT (tenant_id) DO UPDATE SET snapshot = excluded.snapshot, own_xid = excluded.own_xid,"
		"    own_cid = excluded.own_cid, has_stated = h.has_stated OR excluded.has_stated,"
		"    has_unstated = h.has_unstated OR excluded.has_unstated, compacted_at = excluded.compacted_at"
		"), billed AS ("
		"  SELECT t.tenant_id, t.is_known, c.billed_to"
		"  FROM (SELECT f.tenant_id, bool_and(f.is_known) AS is_known, min(f.at) AS first_at FROM fresh f GROUP BY f.tenant_id) t"
		"  JOIN LATERAL billing.usage_cuts(t.tenant_id) c ON t.first_at < c.billed_to"
		"), late AS ("
		"  INSERT INTO billing.usage_late (tenant_id, event_id, meter, subscription_id, at)"
		"  SELECT f.tenant_id, f.event_id, f.meter, o.owner_id, f.at"
		"  FROM fresh f"
		"  JOIN billed b ON b.tenant_id = f.tenant_id AND f.at < b.billed_to AND b.is_known"
		"  CROSS JOIN LATERAL billing.usage_owner(f.tenant_id, f.meter, f.subscription_id, f.at) o"
		"  WHERE f.at < o.billed_to AND f.at >= coalesce(o.trial_end, f.at)"
		"  ON CONFLICT DO NOTHING"
		") SELECT array_agg(b.tenant_id) FROM billed b WHERE NOT b.is_known",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, XID8OID, INT8OID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {search->args[0], (Datum) 0, (Datum) 0};
	BillingStore *fresh;
	bool		isnull;

	billing_spi_begin();
	fresh = read_fresh(search);
	billing_store_show(fresh);
	/* What this transaction wrote before this command is seen by the next one. */
	args[1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	args[2] = Int64GetDatum(GetCurrentCommandId(false));
	billing_spi_run_snapshot(&query, args, NULL);
	billing_store_end(fresh);
	(void) billing_spi_value(0, 1, &isnull);
	if (!isnull)
		note_unbilled(billing_spi_copy(0, 1, CurrentMemoryContext));
	billing_spi_end();
}

/*
 * note_unbilled
 *		Events of these tenants that their invoices do not state are late.
 *
 * It reads from the rollup what each line of theirs ever billed: a tenant's first
 * compaction after its first bill, so mostly a restore, pays for it.
 */
static void
note_unbilled(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.usage_late (tenant_id, event_id, meter, subscription_id, at)"
		"  SELECT u.tenant_id, u.event_id, u.meter, u.subscription_id, u.at FROM billing.usage_unbilled($1) u"
		"  ON CONFLICT DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	billing_spi_run_snapshot(&query, &tenant_ids, NULL);
}

/*
 * read_fresh
 *		The events that are in no rollup, by a plan for these very transactions.
 *
 * Kept apart from what is made of them: to the planner they are few until the table was
 * analyzed, and it would compare each with each.
 */
static BillingStore *
read_fresh(Search *search)
{
	static const BillingStoreColumn columns[] = {
		{"tenant_id", INT8OID}, {"meter", TEXTOID}, {"subscription_id", INT8OID}, {"event_id", TEXTOID},
		{"at", TIMESTAMPTZOID}, {"quantity", NUMERICOID}, {"is_known", BOOLOID}
	};
	static BillingQuery query = {
		.sql = "SELECT * FROM billing.usage_fresh($1, $2, $3)",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, XID8OID, XID8OID},
		.options = CURSOR_OPT_CUSTOM_PLAN,
	};
	BillingStore *store = billing_store_make("fresh", columns, lengthof(columns));

	CommandCounterIncrement();
	billing_store_fill(store, &query, search->args, search->nulls);
	return store;
}

/*
 * billing_compact_tenants
 *		Compact the usage of these tenants: what compact_usage() does in one
 *		transaction.  Returns for how many it is done.
 */
Datum
billing_compact_tenants(PG_FUNCTION_ARGS)
{
	Tenants		tenants = {.ids = PG_GETARG_DATUM(0)};
	int64		count;

	billing_spi_begin();
	count = lock_tenants(tenants.ids);
	billing_flow_check_snapshot(tenants.ids);
	billing_attempt(compact_some, report, &tenants, billing_id_count(tenants.ids));
	billing_spi_end();
	PG_RETURN_INT64(count - tenants.failed);
}

static uint64
lock_tenants(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant WHERE tenant_id = ANY ($1) ORDER BY tenant_id FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};

	return billing_spi_run(&query, &tenant_ids, NULL);
}

/* The work of a batch, for some of it. */
static void
compact_some(void *set, int from, int count)
{
	Tenants    *tenants = set;

	PushActiveSnapshot(GetTransactionSnapshot());
	billing_usage_compact(billing_id_slice(tenants->ids, from, count));
	PopActiveSnapshot();
}

static void
report(void *set, int which, const ErrorData *error)
{
	Tenants    *tenants = set;
	long long	tenant_id = billing_id_at(tenants->ids, which);

	tenants->failed++;
	billing_aside_note("compact_usage", "tenant", tenant_id, tenant_id, error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("usage of tenant %lld could not be compacted: %s", tenant_id, error->message),
			 errdetail("tenant_id=%lld sqlstate=%s", tenant_id, unpack_sql_state(error->sqlerrcode)),
			 errhint("It is read event by event, and tried again by the next run; that of the others is compacted.")));
}

/*
 * billing_compact_usage
 *		CALL billing.compact_usage(batch): every tenant that has events in no
 *		rollup, one transaction per batch; then the floor below which the next
 *		call need not look.
 *
 * What it compacted before it was stopped stays so, and the floor where it was.  Two
 * at once take turns tenant by tenant, and the second finds nothing to add.
 */
Datum
billing_compact_usage(PG_FUNCTION_ARGS)
{
	CallContext *context = castNode(CallContext, fcinfo->context);
	BillingCompaction compaction = {.atomic = context->atomic};
	int32		batch;

	billing_flow_require(fcinfo, 0, "batch");
	compaction.batch = batch = PG_GETARG_INT32(0);
	if (batch < 1 || batch > BATCH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be from 1 to %d", BATCH_MAX),
				 errdetail("batch=%d", batch),
				 errhint("It is how many tenants one transaction compacts; 10000 is the default.")));

	if (SPI_connect_ext(context->atomic ? 0 : SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	compaction.context = CurrentMemoryContext;
	if (!context->atomic)
		billing_spi_begin_transaction();
	while (billing_usage_compact_step(&compaction))
	{
		SPI_freetuptable(SPI_tuptable);
		if (!context->atomic)
			billing_spi_begin_transaction();
		CHECK_FOR_INTERRUPTS();
	}
	if (!context->atomic)
		SPI_commit();
	billing_spi_end();
	PG_RETURN_VOID();
}

/*
 * billing_usage_compact_step
 *		See usage.h.  The list of tenants is as of the first step.
 *
 * If it cannot be done for one of them the floor stays where it is: nobody looks for
 * events below it.  It does too in a transaction that goes on, since everybody else
 * who compacts would wait for its row.
 */
bool
billing_usage_compact_step(BillingCompaction *compaction)
{
	Datum		tenant_ids;

	if (!compaction->is_begun)
	{
		compaction->tenant_ids = find_candidates(compaction->context, &compaction->snapshot);
		compaction->is_begun = true;
		return true;
	}
	if (compaction->done < billing_id_count(compaction->tenant_ids))
	{
		tenant_ids = billing_id_slice(compaction->tenant_ids, compaction->done,
									  Min(compaction->batch, billing_id_count(compaction->tenant_ids) - compaction->done));
		compaction->done += billing_id_count(tenant_ids);
		if (!compact_batch(tenant_ids))
			compaction->has_failed = true;
		return true;
	}
	if (!compaction->atomic && !compaction->has_failed)
		finish_pass(compaction->snapshot);
	return false;
}

/*
 * find_candidates
 *		The tenants that have events in no rollup, in order, and the snapshot that
 *		shows these: both where they outlive a commit.
 */
static Datum
find_candidates(MemoryContext caller, Datum *snapshot)
{
	static BillingQuery query = {
		.sql = "SELECT tenants, snapshot FROM billing.usage_candidates()",
		.expected = SPI_OK_SELECT,
	};

	billing_spi_run(&query, NULL, NULL);
	*snapshot = billing_spi_copy(0, 2, caller);
	return billing_spi_copy(0, 1, caller);
}

/* False if it could not be done for each of them. */
static bool
compact_batch(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "SELECT billing.compact_tenants($1) = cardinality($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	bool		isnull;

	billing_spi_run(&query, &tenant_ids, NULL);
	return DatumGetBool(billing_spi_value(0, 1, &isnull));
}

static void
finish_pass(Datum snapshot)
{
	static BillingQuery query = {
		.sql = "SELECT billing.raise_usage_floor($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {PG_SNAPSHOTOID},
	};

	billing_spi_run(&query, &snapshot, NULL);
}

/*
 * billing_raise_usage_floor
 *		Every event that this snapshot shows is in a rollup.
 */
Datum
billing_raise_usage_floor(PG_FUNCTION_ARGS)
{
	static BillingQuery raise = {
		.sql = "INSERT INTO billing.usage_floor AS f (snapshot) VALUES ($1)"
		" ON CONFLICT (is_only) DO UPDATE SET snapshot = excluded.snapshot"
		" WHERE pg_snapshot_xmin(f.snapshot) < pg_snapshot_xmin(excluded.snapshot)",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {PG_SNAPSHOTOID},
	};
	Datum		args[] = {PG_GETARG_DATUM(0)};

	billing_spi_begin();
	billing_spi_run(&raise, args, NULL);
	summarize_index();
	billing_spi_end();
	PG_RETURN_VOID();
}

/*
 * summarize_index
 *		Let the BRIN index take in the pages that were filled since.
 *
 * Not while the table is vacuumed, which takes long and does the same: an automatic
 * VACUUM would be canceled for whoever waits for its lock, each time anew, and who
 * comes upon one that cannot be would wait to the end.
 */
static void
summarize_index(void)
{
	static BillingQuery query = {
		.sql = "SELECT brin_summarize_new_values($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {REGCLASSOID},
	};
	Oid			schema = get_namespace_oid("billing", false);
	Oid			table = get_relname_relid("usage_event", schema);
	Oid			index = get_relname_relid("usage_event_at_xid", schema);
	Datum		args[] = {ObjectIdGetDatum(index)};

	if (!OidIsValid(index) || !ConditionalLockRelationOid(table, ShareUpdateExclusiveLock))
		return;
	billing_spi_run(&query, args, NULL);
	UnlockRelationOid(table, ShareUpdateExclusiveLock);
}

/*
 * billing_usage_candidates
 *		The tenants that compact_usage() has to visit, and what it will have seen.
 *
 * Above a floor, those of the events since; without one, all that have events.
 */
Datum
billing_usage_candidates(PG_FUNCTION_ARGS)
{
	static BillingQuery since = {
		.sql = "SELECT coalesce(array_agg(c.tenant_id ORDER BY c.tenant_id), '{}'), " OTHERS_SNAPSHOT
		"  FROM (SELECT DISTINCT e.tenant_id"
		"    FROM billing.usage_event e"
		"    LEFT JOIN billing.usage_horizon h ON h.tenant_id = e.tenant_id"
		"    WHERE e.xid >= $1 AND NOT pg_visible_in_snapshot(e.xid, $2)"
		"      AND (h.tenant_id IS NULL OR NOT billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid))) c",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {XID8OID, PG_SNAPSHOTOID},
		.options = CURSOR_OPT_CUSTOM_PLAN,
	};
	static BillingQuery all = {
		.sql = "SELECT coalesce(array_agg(t.tenant_id ORDER BY t.tenant_id), '{}'), " OTHERS_SNAPSHOT
		"  FROM billing.tenant t"
		"  WHERE EXISTS (SELECT FROM billing.usage_event e WHERE e.tenant_id = t.tenant_id)",
		.expected = SPI_OK_SELECT,
		.read_only = true,
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[2];
	Datum		values[2];
	bool		nulls[2] = {false, false};

	billing_spi_begin();
	billing_spi_run(read_floor(args) ? &since : &all, args, NULL);
	values[0] = billing_spi_copy(0, 1, caller);
	values[1] = billing_spi_copy(0, 2, caller);
	billing_spi_end();
	PG_RETURN_DATUM(billing_result_make(fcinfo, lengthof(values), values, nulls));
}

static bool
read_floor(Datum *args)
{
	static BillingQuery query = {
		.sql = "SELECT pg_snapshot_xmin(snapshot), snapshot FROM billing.usage_floor",
		.expected = SPI_OK_SELECT,
		.read_only = true,
	};

	if (billing_spi_run(&query, NULL, NULL) == 0)
		return false;
	args[0] = billing_spi_copy(0, 1, CurrentMemoryContext);
	args[1] = billing_spi_copy(0, 2, CurrentMemoryContext);
	return true;
}
