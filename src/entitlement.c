/*-------------------------------------------------------------------------
 *
 * entitlement.c
 *	  What a tenant may use now: the snapshot of its subscriptions and overrides,
 *	  and who asks it.
 *
 * The snapshot has the time in which each thing holds, so it is right until a
 * subscription or an override changes, and whoever changes one refreshes it, under
 * the tenant's lock (billing_subscription_record does, and the bill run where a
 * subscription starts or ends).  Whether the tenant is frozen is asked anew each time.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "spi.h"

BILLING_FUNCTION(billing_refresh_entitlements);
BILLING_FUNCTION(billing_has_feature);
BILLING_FUNCTION(billing_feature_limit);

/*
 * Of few tenants, or of many.  A sub-select in the argument keeps the function from being inlined:
 * it is then planned at each call, which takes longer than a few tenants do; but what it
 * returns is expected to be many rows, as they are.
 */
#define FEW		"$1"
#define MANY	"ARRAY(SELECT unnest($1))"
#define FEW_MAX 16

#define REFRESH(text) { \
	.sql = text, .expected = SPI_OK_SELECT, .nargs = 1, .argtypes = {INT8ARRAYOID}, .options = CURSOR_OPT_GENERIC_PLAN \
}

#define REFRESH_FEATURES(tenant_ids) \
	"WITH wanted AS MATERIALIZED (" \
	"  SELECT w.tenant_id, w.feature, w.ends_at, coalesce(CASE WHEN w.starts_at <= billing.now() THEN (SELECT e.starts_at" \
	"      FROM billing.entitlement e WHERE e.tenant_id = w.tenant_id AND e.feature = w.feature" \
	"        AND e.starts_at <= billing.now() AND e.ends_at > billing.now()) END, w.starts_at) AS starts_at" \
	"    FROM billing.entitlement_wanted(" tenant_ids ") w" \
	"), gone AS (" \
	"  DELETE FROM billing.entitlement e WHERE e.tenant_id = ANY ($1) AND NOT EXISTS (SELECT FROM wanted w" \
	"    WHERE w.tenant_id = e.tenant_id AND w.feature = e.feature AND w.starts_at = e.starts_at) RETURNING tenant_id" \
	"), put AS (" \
	"  INSERT INTO billing.entitlement AS e (tenant_id, feature, starts_at, ends_at)" \
	"  SELECT w.tenant_id, w.feature, w.starts_at, w.ends_at FROM wanted w" \
	"  ON CONFLICT (tenant_id, feature, starts_at) DO UPDATE SET ends_at = excluded.ends_at" \
	"    WHERE e.ends_at <> excluded.ends_at RETURNING tenant_id" \
	") SELECT count(*), array_agg(DISTINCT c.tenant_id) FROM (TABLE gone UNION ALL TABLE put) c"

#define REFRESH_LIMITS(tenant_ids) \
	"WITH wanted AS MATERIALIZED (" \
	"  SELECT w.tenant_id, w.meter, w.per, w.ends_at, w.quantity, w.kind, w.subscription_id," \
	"      coalesce(CASE WHEN w.starts_at <= billing.now() THEN (SELECT l.starts_at" \
	"      FROM billing.entitlement_limit l WHERE l.tenant_id = w.tenant_id AND l.meter = w.meter AND l.per = w.per" \
	"        AND l.starts_at <= billing.now() AND l.ends_at > billing.now()) END, w.starts_at) AS starts_at" \
	"    FROM billing.limit_wanted(" tenant_ids ") w" \
	"), gone AS (" \
	"  DELETE FROM billing.entitlement_limit l WHERE l.tenant_id = ANY ($1) AND NOT EXISTS (SELECT FROM wanted w" \
	"    WHERE w.tenant_id = l.tenant_id AND w.meter = l.meter AND w.per = l.per AND w.starts_at = l.starts_at) RETURNING tenant_id" \
	"), put AS (" \
	"  INSERT INTO billing.entitlement_limit AS l (tenant_id, meter, per, starts_at, ends_at, quantity, kind, subscription_id)" \
	"  SELECT w.tenant_id, w.meter, w.per, w.starts_at, w.ends_at, w.quantity, w.kind, w.subscription_id FROM wanted w" \
	"  ON CONFLICT (tenant_id, meter, per, starts_at) DO UPDATE SET ends_at = excluded.ends_at," \
	"    quantity = excluded.quantity, kind = excluded.kind, subscription_id = excluded.subscription_id" \
	"    WHERE (l.ends_at, l.quantity, l.kind, l.subscription_id)" \
	"      IS DISTINCT FROM (excluded.ends_at, excluded.quantity, excluded.kind, excluded.subscription_id) RETURNING tenant_id" \
	") SELECT count(*), array_agg(DISTINCT c.tenant_id) FROM (TABLE gone UNION ALL TABLE put) c"

static int64 refresh(BillingQuery *query, Datum tenant_ids, bool is_batch, Datum *changed);
static void tell(Datum a, Datum b);
static void check_span(FunctionCallInfo fcinfo, int arg);

/*
 * billing_refresh_entitlements
 *		Make the snapshot of a tenant anew.
 *
 * It has no request_id: a second call finds nothing to do.
 */
Datum
billing_refresh_entitlements(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;

	(void) billing_flow_begin(&flow, fcinfo, "refresh_entitlements", BILLING_NO_REQUEST, &result);
	return billing_flow_end(&flow, Int64GetDatum(billing_entitlement_refresh_one(flow.tenant_id)));
}

int64
billing_entitlement_refresh_one(int64 tenant_id)
{
	return billing_entitlement_refresh(billing_id_array_of(tenant_id), false);
}

/*
 * billing_entitlement_refresh
 *		See entitlement.h.
 *
 * Rows that are right already are left alone, so that a change that gives or takes
 * nothing writes nothing.  Of a segment that has begun it does not matter when: what
 * ended before may have cut it, which nobody knows any more.
 */
int64
billing_entitlement_refresh(Datum tenant_ids, bool is_batch)
{
	static BillingQuery features[2] = {REFRESH(REFRESH_FEATURES(FEW)), REFRESH(REFRESH_FEATURES(MANY))};
	static BillingQuery limits[2] = {REFRESH(REFRESH_LIMITS(FEW)), REFRESH(REFRESH_LIMITS(MANY))};
	int			which = billing_id_count(tenant_ids) > FEW_MAX ? 1 : 0;

	Datum		changed[2];
	int64		count = refresh(&features[which], tenant_ids, is_batch, &changed[0]) +
		refresh(&limits[which], tenant_ids, is_batch, &changed[1]);

	tell(changed[0], changed[1]);
	return count;
}

static int64
refresh(BillingQuery *query, Datum tenant_ids, bool is_batch, Datum *changed)
{
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;

	if (is_batch)
		(void) billing_spi_run_snapshot(query, &tenant_ids, NULL);
	else
		(void) billing_spi_run(query, &tenant_ids, NULL);
	*changed = billing_spi_copy(0, 2, context);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Once of each tenant in either of two arrays in ascending order; (Datum) 0: of none. */
static void
tell(Datum a, Datum b)
{
	int			a_count = a == (Datum) 0 ? 0 : billing_id_count(a);
	int			b_count = b == (Datum) 0 ? 0 : billing_id_count(b);
	Datum	   *ids = palloc((a_count + b_count + 1) * sizeof(Datum));
	int			count = 0;

	for (int i = 0, j = 0; i < a_count || j < b_count;)
	{
		int64		next_a = i < a_count ? billing_id_at(a, i) : PG_INT64_MAX;
		int64		next_b = j < b_count ? billing_id_at(b, j) : PG_INT64_MAX;

		ids[count++] = Int64GetDatum(Min(next_a, next_b));
		i += next_a <= next_b && i < a_count;
		j += next_b <= next_a && j < b_count;
	}
	if (count > 0)
		billing_event_emit_all("entitlement.changed", billing_id_array(ids, count), billing_id_array(ids, count));
}

/*
 * billing_has_feature
 *		May a tenant use a feature now?
 *
 * Asked at every turn of an application, so it is two look-ups by primary key under a
 * kept plan, and pins no search_path.
 */
Datum
billing_has_feature(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT e.feature IS NOT NULL AND t.status OPERATOR(pg_catalog.=) 'active'"
		" FROM billing.tenant t"
		" LEFT JOIN billing.entitlement e ON e.tenant_id OPERATOR(pg_catalog.=) t.tenant_id"
		"  AND e.feature OPERATOR(pg_catalog.=) $2"
		"  AND e.starts_at OPERATOR(pg_catalog.<=) $3 AND e.ends_at OPERATOR(pg_catalog.>) $3"
		" WHERE t.tenant_id OPERATOR(pg_catalog.=) $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.is_qualified = true,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[3];
	bool		isnull;
	bool		result;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "feature");
	args[0] = PG_GETARG_DATUM(0);
	args[1] = PG_GETARG_DATUM(1);
	args[2] = TimestampTzGetDatum(billing_clock_now());

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(0), NULL);
	result = DatumGetBool(billing_spi_value(0, 1, &isnull));
	billing_spi_end();
	PG_RETURN_BOOL(result);
}

/*
 * billing_feature_limit
 *		How much of it may a tenant use now?  NULL: as much as there is.
 */
Datum
billing_feature_limit(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT CASE WHEN t.status <> 'active' THEN 0 WHEN l.found > 0 THEN l.least"
		"    WHEN NOT billing.is_served(t.tenant_id) THEN 0 END"
		"  FROM billing.tenant t"
		" CROSS JOIN LATERAL (SELECT count(*) AS found, min(l.quantity) AS least FROM billing.entitlement_limit l"
		"    WHERE l.tenant_id = t.tenant_id AND l.meter = $2 AND l.starts_at <= $3 AND l.ends_at > $3"
		"      AND ($4 IS NULL OR l.per = $4)) l"
		" WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[4];
	Datum		result;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "feature");
	check_span(fcinfo, 2);
	args[0] = PG_GETARG_DATUM(0);
	args[1] = PG_GETARG_DATUM(1);
	args[2] = TimestampTzGetDatum(billing_clock_now());
	args[3] = PG_GETARG_DATUM(2);

	billing_spi_begin();
	if (billing_spi_run(&query, args, PG_ARGISNULL(2) ? "   n" : NULL) == 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(0), NULL);
	result = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

/* 22023 unless argument per is one of the times in which limits are counted, or NULL. */
static void
check_span(FunctionCallInfo fcinfo, int arg)
{
	static const char *const spans[] = {"period", "hour", "day", "week", "month", "year", "total"};
	char	   *per;

	if (PG_ARGISNULL(arg))
		return;
	per = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	for (int i = 0; i < lengthof(spans); i++)
	{
		if (strcmp(per, spans[i]) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no limit is counted per \"%s\"", per),
			 errdetail("argument=per value=%s", per),
			 errhint("It is one of period, hour, day, week, month, year, total.")));
}
