/*-------------------------------------------------------------------------
 *
 * tailor.c
 *	  A plan made to measure: other prices, and further ones, for one subscription.
 *
 * What is tailored is a version of the plan that nobody else is on: a copy of the one
 * before, retired from the start, so that nobody can subscribe to it.  To be put on it
 * is a change of plan like any other.  So all that holds of changes holds of it: what it
 * credits and charges, by which prices usage counts, how invoices verify.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "change.h"
#include "flow.h"
#include "plan.h"
#include "spi.h"
#include "subscription.h"
#include "tariff.h"

BILLING_FUNCTION(billing_override_price);
BILLING_FUNCTION(billing_add_addon);
BILLING_FUNCTION(billing_remove_addon);

/* Whether price c came with an add-on: a plan may have prices of its own whose codes have a point. */
#define OF_ADDON(addon) \
	"(c.code ^@ (" addon " || '.') AND EXISTS (SELECT FROM billing.plan a JOIN billing.price o ON o.plan_id = a.plan_id" \
	"   WHERE a.code = " addon " AND o.code = substr(c.code, length(" addon ") + 2)))"

static bool begin(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, const char *object, int first, BillingSubscription *s,
				  Datum *before, Datum *result);
static Datum finish(BillingFlow *flow, FunctionCallInfo fcinfo, int first, const BillingSubscription *s, Datum before, int64 plan_id);
static void check_price(const BillingSubscription *s, Datum price);
static void check_currency(const BillingSubscription *s, Datum tariff);
static bool has_addon(const BillingSubscription *s, Datum addon);
static int64 find_addon(const BillingSubscription *s, Datum addon);
static int64 copy_plan(int64 plan_id, int64 addon_id);
static void copy_prices(int64 from, int64 to, Datum changed, Datum tariff, Datum removed);
static void copy_addon(int64 addon_id, int64 to, Datum addon, int32 quantity);
pg_noreturn static void report_not_there(const BillingSubscription *s, const char *object, Datum code, const char *hint);

/*
 * billing_override_price
 *		Give a subscription another tariff for one of its plan's prices.
 */
Datum
billing_override_price(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	Datum		before;
	Datum		result;
	Datum		tariff;
	int64		plan_id;

	billing_flow_require(fcinfo, 3, "tariff");
	if (begin(&flow, fcinfo, "override_price", "price", 4, &s, &before, &result))
		PG_RETURN_DATUM(result);
	tariff = CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(billing_tariff_out, PG_GETARG_DATUM(3))));
	check_price(&s, PG_GETARG_DATUM(2));
	check_currency(&s, tariff);
	plan_id = copy_plan(s.plan_id, 0);
	copy_prices(s.plan_id, plan_id, PG_GETARG_DATUM(2), tariff, (Datum) 0);
	PG_RETURN_DATUM(finish(&flow, fcinfo, 4, &s, before, plan_id));
}

/*
 * billing_add_addon
 *		Add the prices of an add-on, which is a plan of the same cycle and currency, to those
 *		of a subscription.
 */
Datum
billing_add_addon(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	Datum		before;
	Datum		result;
	int64		addon_id;
	int64		plan_id;

	billing_flow_require(fcinfo, 3, "quantity");
	if (PG_GETARG_INT32(3) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("quantity of an add-on must be positive"),
				 errdetail("argument=quantity value=%d", PG_GETARG_INT32(3)),
				 errhint("Add one or more; to end one, call billing.remove_addon.")));
	if (begin(&flow, fcinfo, "add_addon", "addon", 4, &s, &before, &result))
		PG_RETURN_DATUM(result);
	if (has_addon(&s, PG_GETARG_DATUM(2)))
		billing_subscription_report_state(&s, psprintf("given add-on \"%s\", which it has", TextDatumGetCString(PG_GETARG_DATUM(2))),
										  "To change its quantity, call billing.remove_addon first.");
	addon_id = find_addon(&s, PG_GETARG_DATUM(2));
	plan_id = copy_plan(s.plan_id, addon_id);
	copy_prices(s.plan_id, plan_id, (Datum) 0, (Datum) 0, (Datum) 0);
	copy_addon(addon_id, plan_id, PG_GETARG_DATUM(2), PG_GETARG_INT32(3));
	PG_RETURN_DATUM(finish(&flow, fcinfo, 4, &s, before, plan_id));
}

/*
 * billing_remove_addon
 *		Take the prices of an add-on from a subscription.
 */
Datum
billing_remove_addon(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingSubscription s;
	Datum		before;
	Datum		result;
	int64		plan_id;

	if (begin(&flow, fcinfo, "remove_addon", "addon", 3, &s, &before, &result))
		PG_RETURN_DATUM(result);
	if (!has_addon(&s, PG_GETARG_DATUM(2)))
		report_not_there(&s, "addon", PG_GETARG_DATUM(2), "Read the prices of its plan from billing.price: those of add-ons begin with their code.");
	plan_id = copy_plan(s.plan_id, 0);
	copy_prices(s.plan_id, plan_id, (Datum) 0, (Datum) 0, PG_GETARG_DATUM(2));
	PG_RETURN_DATUM(finish(&flow, fcinfo, 3, &s, before, plan_id));
}

/* first is the argument effective, then come proration and request_id; argument 2 is the object. */
static bool
begin(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, const char *object, int first, BillingSubscription *s,
	  Datum *before, Datum *result)
{
	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_require(fcinfo, 2, object);
	billing_flow_require(fcinfo, first, "effective");
	billing_flow_require(fcinfo, first + 1, "proration");
	billing_change_check(name, text_to_cstring(PG_GETARG_TEXT_PP(first)), text_to_cstring(PG_GETARG_TEXT_PP(first + 1)));
	if (billing_flow_begin(flow, fcinfo, name, first + 2, result))
		return true;
	billing_change_begin(flow, PG_GETARG_INT64(1), s, before);
	return false;
}

static Datum
finish(BillingFlow *flow, FunctionCallInfo fcinfo, int first, const BillingSubscription *s, Datum before, int64 plan_id)
{
	Datum		result = billing_change_to(flow, s, before, plan_id, s->quantity, text_to_cstring(PG_GETARG_TEXT_PP(first)),
										   text_to_cstring(PG_GETARG_TEXT_PP(first + 1)));

	return billing_flow_end(flow, result);
}

static void
check_price(const BillingSubscription *s, Datum price)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.price WHERE plan_id = $1 AND code = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(s->plan_id), price};

	if (billing_spi_run(&query, args, NULL) == 0)
		report_not_there(s, "price", price, "Read the prices of its plan from billing.price.");
}

/* The guard of prices would refuse it, too, but speaks of plans. */
static void
check_currency(const BillingSubscription *s, Datum tariff)
{
	static BillingQuery query = {
		.sql = "SELECT p.currency, t.currency FROM billing.plan p, billing.tariff_currency($2::billing.tariff) t (currency)"
		" WHERE p.plan_id = $1 AND p.currency <> t.currency",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(s->plan_id), tariff};
	char	   *currency;
	char	   *given;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	currency = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	given = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
			 errmsg("subscription %lld of tenant %lld is in %s, the tariff in %s", (long long) s->subscription_id,
					(long long) s->tenant_id, currency, given),
			 errdetail("tenant_id=%lld subscription_id=%lld currency=%s tariff_currency=%s", (long long) s->tenant_id,
					   (long long) s->subscription_id, currency, given),
			 errhint("A subscription keeps its currency: state the tariff in that.")));
}

static bool
has_addon(const BillingSubscription *s, Datum addon)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.price c WHERE c.plan_id = $1 AND " OF_ADDON("$2") " LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(s->plan_id), addon};

	return billing_spi_run(&query, args, NULL) > 0;
}

static void
report_not_there(const BillingSubscription *s, const char *object, Datum code, const char *hint)
{
	char	   *name = TextDatumGetCString(code);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("subscription %lld of tenant %lld has no %s \"%s\"", (long long) s->subscription_id, (long long) s->tenant_id, object, name),
			 errdetail("object=%s tenant_id=%lld subscription_id=%lld code=%s", object, (long long) s->tenant_id,
					   (long long) s->subscription_id, name),
			 errhint("%s", hint)));
}

/* The newest version of the plan that is the add-on, of the subscription's cycle and currency. */
static int64
find_addon(const BillingSubscription *s, Datum addon)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(cycle, '0'), currency FROM billing.plan WHERE plan_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		arg = Int64GetDatum(s->plan_id);
	MemoryContext context = CurrentMemoryContext;
	Datum		cycle;
	char	   *currency;
	bool		isnull;

	(void) billing_spi_run(&query, &arg, NULL);
	cycle = billing_spi_copy(0, 1, context);
	currency = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	return billing_plan_find(TextDatumGetCString(addon), DatumGetIntervalP(cycle), currency);
}

/*
 * copy_plan
 *		The next version of a plan, retired, with the features of an add-on (0: none); its
 *		prices are the caller's to write.
 *
 * Who makes one locks the first version, and only that: of a plan that was tailored for
 * many there are as many.
 */
static int64
copy_plan(int64 plan_id, int64 addon_id)
{
	static BillingQuery lock = {
		.sql = "SELECT FROM billing.plan p WHERE p.plan_id = (SELECT min(v.plan_id) FROM billing.plan o JOIN billing.plan v ON v.code = o.code"
		"   WHERE o.plan_id = $1) FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	static BillingQuery copy = {
		.sql = "INSERT INTO billing.plan (code, version, name, tier, cycle, currency, trial_days, original_price, minimum, maximum,"
		"  features, limits, proration, settings, usage_thresholds, usage_threshold_step, is_active, sort_order)"
		" SELECT p.code, (SELECT max(v.version) + 1 FROM billing.plan v WHERE v.code = p.code AND v.currency = p.currency"
		"    AND v.cycle IS NOT DISTINCT FROM p.cycle), p.name, p.tier, p.cycle, p.currency, p.trial_days, p.original_price, p.minimum,"
		"  p.maximum, p.features || coalesce((SELECT a.features FROM billing.plan a WHERE a.plan_id = $2), '{}'), p.limits, p.proration,"
		"  p.settings, p.usage_thresholds, p.usage_threshold_step, false, p.sort_order"
		" FROM billing.plan p"
		" WHERE p.plan_id = $1 RETURNING plan_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(plan_id), Int64GetDatum(addon_id)};
	bool		isnull;

	(void) billing_spi_run(&lock, args, NULL);
	(void) billing_spi_run(&copy, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Those of the version before: one with another tariff, or without those of an add-on. */
static void
copy_prices(int64 from, int64 to, Datum changed, Datum tariff, Datum removed)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.price (plan_id, code, name, tariff, strategy, parameters, meter, cycle, timing, quantity_source,"
		"  is_prorated, minimum, maximum, tax_category, sort_order)"
		" SELECT $2, c.code, c.name, CASE WHEN x.is_changed THEN $4::billing.tariff ELSE c.tariff END,"
		"  CASE WHEN NOT x.is_changed THEN c.strategy END, CASE WHEN x.is_changed THEN '{}' ELSE c.parameters END, c.meter, c.cycle,"
		"  c.timing, c.quantity_source, c.is_prorated, c.minimum, c.maximum, c.tax_category, c.sort_order"
		" FROM billing.price c CROSS JOIN LATERAL (SELECT coalesce(c.code = $3, false) AS is_changed) x"
		" WHERE c.plan_id = $1 AND NOT coalesce(" OF_ADDON("$5") ", false)",
		.expected = SPI_OK_INSERT,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(from), Int64GetDatum(to), changed, tariff, removed};
	char		nulls[] = "     ";

	nulls[2] = nulls[3] = changed == (Datum) 0 ? 'n' : ' ';
	nulls[4] = removed == (Datum) 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
}

/*
 * copy_addon
 *		The prices of an add-on, their codes behind its own.  Its quantity is not the
 *		subscription's, and stays: a fixed price is what that many cost.
 */
static void
copy_addon(int64 addon_id, int64 to, Datum addon, int32 quantity)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.price (plan_id, code, name, tariff, strategy, parameters, meter, cycle, timing, quantity_source,"
		"  is_prorated, minimum, maximum, tax_category, sort_order)"
		" SELECT $2, $3 || '.' || c.code,"
		"  CASE WHEN c.meter IS NULL AND $4 <> 1 AND c.quantity_source IS DISTINCT FROM 'one' THEN format('%s x %s', $4, c.name) ELSE c.name END,"
		"  CASE WHEN c.meter IS NULL AND c.tariff IS NOT NULL"
		"    THEN jsonb_build_object('model', 'flat', 'currency', a.currency, 'amount', billing.charge(c.tariff,"
		"      CASE c.quantity_source WHEN 'one' THEN 1 ELSE $4 END)::numeric::text)::text::billing.tariff ELSE c.tariff END,"
		"  c.strategy, c.parameters, c.meter, c.cycle, c.timing, CASE WHEN c.meter IS NULL THEN 'one' ELSE c.quantity_source END,"
		"  c.is_prorated, c.minimum, c.maximum, c.tax_category, c.sort_order"
		" FROM billing.price c JOIN billing.plan a ON a.plan_id = c.plan_id"
		" WHERE c.plan_id = $1",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TEXTOID, INT4OID},
	};
	Datum		args[] = {Int64GetDatum(addon_id), Int64GetDatum(to), addon, Int32GetDatum(quantity)};

	(void) billing_spi_run(&query, args, NULL);
}
