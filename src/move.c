/*-------------------------------------------------------------------------
 *
 * move.c
 *	  All subscribers of a plan, moved to another.
 *
 * At the end of their periods it is one statement over the set: each gets a change that
 * waits, which the bill run makes where its period ends.  At once, it is a change for each,
 * in the order of tenants.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "event.h"
#include "flow.h"
#include "plan.h"
#include "spi.h"

BILLING_FUNCTION(billing_move_subscriptions);

/* Which subscriptions, and the newest version of the other plan that is like their own: $1 from, $2 to. */
#define MOVABLE \
	" FROM billing.subscription s" \
	" JOIN billing.tenant t ON t.tenant_id = s.tenant_id AND t.status = 'active'" \
	" JOIN billing.plan p ON p.plan_id = s.plan_id AND p.code = $1" \
	" CROSS JOIN LATERAL (SELECT n.plan_id FROM billing.plan n" \
	"   WHERE n.code = $2 AND n.is_active AND n.currency = p.currency AND n.cycle IS NOT DISTINCT FROM p.cycle" \
	"   ORDER BY n.version DESC LIMIT 1) n" \
	" WHERE s.status IN ('trialing', 'active', 'past_due') AND n.plan_id <> s.plan_id"

/* Who is moved, and to which version: three arrays of the same length. */
typedef struct Moved
{
	Datum		tenants;
	Datum		subscriptions;
	Datum		plans;
} Moved;

static bool read_effective(FunctionCallInfo fcinfo);
static void check_plan(const char *code);
static Datum lock_tenants(Datum *codes);
static Moved find_moved(Datum *codes, Datum tenants);
static void mark_used(const Moved *moved);
static int64 put_off(const Moved *moved);
static int64 change_now(const Moved *moved, Datum to_plan, Datum proration);

/*
 * billing_move_subscriptions
 *		Move the subscribers of a plan; returns how many.
 */
Datum
billing_move_subscriptions(PG_FUNCTION_ARGS)
{
	static const char *const required[] = {"plan", "to_plan", "effective", "proration"};
	Datum		codes[2];
	Moved		moved;
	int64		count;
	bool		now;

	for (int i = 0; i < lengthof(required); i++)
		billing_flow_require(fcinfo, i, required[i]);
	now = read_effective(fcinfo);
	codes[0] = PG_GETARG_DATUM(0);
	codes[1] = PG_GETARG_DATUM(1);

	billing_spi_begin();
	check_plan(TextDatumGetCString(codes[0]));
	check_plan(TextDatumGetCString(codes[1]));
	moved = find_moved(codes, lock_tenants(codes));
	mark_used(&moved);
	count = now ? change_now(&moved, codes[1], PG_GETARG_DATUM(3)) : put_off(&moved);
	billing_flow_audit_action(0, "move_subscriptions", "plan", TextDatumGetCString(codes[1]), (Datum) 0, (Datum) 0);
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/* True: now, false: at the end of the period. */
static bool
read_effective(FunctionCallInfo fcinfo)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(2));

	if (strcmp(value, "now") == 0)
		return true;
	if (strcmp(value, "period_end") == 0)
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("subscriptions cannot be moved at \"%s\"", value),
			 errdetail("argument=effective value=%s", value),
			 errhint("Use period_end or now.")));
}

static void
check_plan(const char *code)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.plan WHERE code = $1 LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		arg = CStringGetTextDatum(code);

	if (billing_spi_run(&query, &arg, NULL) > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("plan \"%s\" does not exist", code),
			 errdetail("object=plan code=%s", code),
			 errhint("Read the plans from billing.plan.")));
}

static Datum
lock_tenants(Datum *codes)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(array_agg(t.tenant_id), '{}') FROM (SELECT t.tenant_id FROM billing.tenant t"
		"  WHERE t.tenant_id IN (SELECT s.tenant_id" MOVABLE ") ORDER BY t.tenant_id FOR NO KEY UPDATE) t",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TEXTOID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		tenants;

	(void) billing_spi_run(&query, codes, NULL);
	tenants = billing_spi_copy(0, 1, context);
	billing_flow_check_snapshot(tenants);
	return tenants;
}

/*
 * find_moved
 *		Who is moved where, of the tenants that are locked.
 *
 * Read once: what follows waits for others, and acts for nobody who came meanwhile.
 */
static Moved
find_moved(Datum *codes, Datum tenants)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(array_agg(m.tenant_id), '{}'), coalesce(array_agg(m.subscription_id), '{}'), coalesce(array_agg(m.plan_id), '{}')"
		" FROM (SELECT s.tenant_id, s.subscription_id, n.plan_id" MOVABLE " AND s.tenant_id = ANY($3)"
		"  ORDER BY s.tenant_id, s.subscription_id) m",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {TEXTOID, TEXTOID, INT8ARRAYOID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {codes[0], codes[1], tenants};
	Moved		moved;

	(void) billing_spi_run(&query, args, NULL);
	moved.tenants = billing_spi_copy(0, 1, context);
	moved.subscriptions = billing_spi_copy(0, 2, context);
	moved.plans = billing_spi_copy(0, 3, context);
	return moved;
}

/* No version that somebody is moved to changes any more. */
static void
mark_used(const Moved *moved)
{
	static BillingQuery query = {
		.sql = "SELECT DISTINCT p.plan_id FROM unnest($1) AS p(plan_id) ORDER BY p.plan_id",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	Datum		args[] = {moved->plans};
	uint64		count = billing_spi_run(&query, args, NULL);
	int64	   *plans = palloc((count + 1) * sizeof(int64));
	bool		isnull;

	for (uint64 i = 0; i < count; i++)
		plans[i] = DatumGetInt64(billing_spi_value(i, 1, &isnull));
	for (uint64 i = 0; i < count; i++)
		billing_plan_mark_used(plans[i]);
}

/* Those that end with their period, or have no end, stay. */
static int64
put_off(const Moved *moved)
{
	static BillingQuery query = {
		.sql = "WITH moved AS ("
		"  UPDATE billing.subscription s SET next_plan_id = m.plan_id, version = s.version + 1"
		"  FROM unnest($1, $2, $3) AS m(tenant_id, subscription_id, plan_id)"
		"  WHERE s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id"
		"    AND s.cancel_at IS NULL AND (s.auto_renew OR s.status = 'trialing') AND s.period_end IS NOT NULL"
		"    AND s.next_plan_id IS DISTINCT FROM m.plan_id"
		"  RETURNING s.*"
		"), kept AS ("
		"  INSERT INTO billing.subscription_change (tenant_id, subscription_id, change_no, kind, effective_at, status, plan_id,"
		"    quantity, anchor, timezone, period_start, period_end)"
		"  SELECT m.tenant_id, m.subscription_id, m.version, 'scheduled', m.period_end, m.status, m.plan_id, m.quantity, m.anchor,"
		"    m.timezone, m.period_start, m.period_end FROM moved m"
		") SELECT count(*), array_agg(m.tenant_id ORDER BY m.tenant_id, m.subscription_id),"
		"    array_agg(m.subscription_id ORDER BY m.tenant_id, m.subscription_id) FROM moved m",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
	};
	Datum		args[] = {moved->tenants, moved->subscriptions, moved->plans};
	MemoryContext context = CurrentMemoryContext;
	Datum		told[2];
	int64		count;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	count = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	told[0] = billing_spi_copy(0, 2, context);
	told[1] = billing_spi_copy(0, 3, context);
	billing_event_emit_all("subscription.updated", told[0], told[1]);
	return count;
}

static int64
change_now(const Moved *moved, Datum to_plan, Datum proration)
{
	static BillingQuery query = {
		.sql = "SELECT count(billing.change_plan(m.tenant_id, m.subscription_id, $3, NULL, 'now', $4))"
		" FROM unnest($1, $2) AS m(tenant_id, subscription_id)",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {moved->tenants, moved->subscriptions, to_plan, proration};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}
