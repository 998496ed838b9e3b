/*-------------------------------------------------------------------------
 *
 * rerate.c
 *	  A price that is corrected after it was billed.
 *
 * The plan version keeps its price, and each invoice what it states.  What the price
 * was to be is a row of billing.price_correction; which lines it corrects, and which
 * invoice books the difference, are rows of billing.rerated_line.  From there on it goes
 * the way of usage that came late: billing.invoice_adjustments makes the lines, for the
 * bill run, for a preview and for a verification.
 *
 * All steps are statements over the set of lines, however many tenants have one.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"

#include "flow.h"
#include "tariff.h"

BILLING_FUNCTION(billing_rerate);

/* The arguments of rerate. */
enum
{
	ARG_PLAN, ARG_PRICE_CODE, ARG_TARIFF, ARG_PERIOD, ARG_TENANT_ID, ARG_VERSION, ARG_CYCLE, ARG_REASON
};

/* The price that is corrected. */
typedef struct Price
{
	int64		plan_id;
	Datum		row;
} Price;

static void check_arguments(FunctionCallInfo fcinfo);
static Datum tariff_text(FunctionCallInfo fcinfo);
static void find_price(FunctionCallInfo fcinfo, Price *price);
static void report_other_price(FunctionCallInfo fcinfo);
static void lock_plan(int64 plan_id);
static int64 find_correction(FunctionCallInfo fcinfo, const Price *price);
static int64 insert_correction(FunctionCallInfo fcinfo, const Price *price);
static Datum lock_tenants(FunctionCallInfo fcinfo, const Price *price);
static void note_lines(FunctionCallInfo fcinfo, const Price *price, int64 correction_id, Datum tenant_ids);
static void put_differences(FunctionCallInfo fcinfo, int64 correction_id, Datum tenant_ids);

/*
 * billing_rerate
 *		Correct a price in the past; returns what is to be booked for it.
 *
 * The plan's row is locked first, so that of two corrections of one price the second
 * is the one that counts.
 */
Datum
billing_rerate(PG_FUNCTION_ARGS)
{
	Price		price;
	int64		correction_id;
	Datum		tenant_ids;

	check_arguments(fcinfo);
	billing_spi_begin();
	find_price(fcinfo, &price);
	lock_plan(price.plan_id);
	correction_id = find_correction(fcinfo, &price);
	if (correction_id == 0)
		correction_id = insert_correction(fcinfo, &price);

	tenant_ids = lock_tenants(fcinfo, &price);
	billing_flow_check_snapshot(tenant_ids);
	note_lines(fcinfo, &price, correction_id, tenant_ids);
	put_differences(fcinfo, correction_id, tenant_ids);
	billing_spi_end();
	return (Datum) 0;
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"plan", "price_code", "tariff", "period"};

	for (int i = 0; i < lengthof(names); i++)
		billing_flow_require(fcinfo, i, names[i]);
	/* Of all tenants: who bypasses row security. */
	billing_flow_check_caller(PG_ARGISNULL(ARG_TENANT_ID) ? 0 : PG_GETARG_INT64(ARG_TENANT_ID));
	if (RangeIsEmpty(PG_GETARG_RANGE_P(ARG_PERIOD)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("range \"period\" is empty"),
				 errdetail("argument=period"),
				 errhint("Give a start and a later end: the lines are corrected whose period of service starts in it.")));
}

static Datum
tariff_text(FunctionCallInfo fcinfo)
{
	return CStringGetTextDatum(billing_tariff_print(PG_GETARG_BILLING_TARIFF_P(ARG_TARIFF)));
}

/*
 * find_price
 *		The price of the plan version that the arguments name, in the tariff's currency.
 */
static void
find_price(FunctionCallInfo fcinfo, Price *price)
{
	static BillingQuery query = {
		.sql = "SELECT p.plan_id, p, p.meter IS NULL AND billing.tariff_is_per_event($3::billing.tariff)"
		"  FROM billing.plan f JOIN billing.price p ON p.plan_id = f.plan_id"
		" WHERE f.code = $1 AND p.code = $2 AND f.currency = billing.tariff_currency($3::billing.tariff)"
		"   AND ($4 IS NULL OR f.version = $4)"
		"   AND CASE WHEN $5 IS NULL THEN true WHEN $5 = '0' THEN f.cycle IS NULL ELSE f.cycle::text = $5::text END",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TEXTOID, TEXTOID, TEXTOID, INT4OID, INTERVALOID},
	};
	Datum		args[] = {
		PG_GETARG_DATUM(ARG_PLAN), PG_GETARG_DATUM(ARG_PRICE_CODE), tariff_text(fcinfo),
		PG_GETARG_DATUM(ARG_VERSION), PG_GETARG_DATUM(ARG_CYCLE)
	};
	char		nulls[] = "     ";
	uint64		count;
	bool		isnull;

	nulls[3] = PG_ARGISNULL(ARG_VERSION) ? 'n' : ' ';
	nulls[4] = PG_ARGISNULL(ARG_CYCLE) ? 'n' : ' ';
	count = billing_spi_run(&query, args, nulls);
	if (count == 0)
		report_other_price(fcinfo);
	if (count > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("plan \"%s\" has several versions or cycles with price \"%s\"",
						TextDatumGetCString(args[0]), TextDatumGetCString(args[1])),
				 errdetail("plan=%s price=%s plans=%lld", TextDatumGetCString(args[0]), TextDatumGetCString(args[1]),
						   (long long) count),
				 errhint("Name its version and its cycle; each is corrected by a call of its own.")));
	price->plan_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	price->row = billing_spi_copy(0, 2, CurrentMemoryContext);
	if (DatumGetBool(billing_spi_value(0, 3, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("price \"%s\" has no meter, and a tariff that is judged event by event needs one",
						TextDatumGetCString(args[1])),
				 errdetail("plan_id=%lld price=%s", (long long) price->plan_id, TextDatumGetCString(args[1])),
				 errhint("Give a tariff of the quantity alone.")));
}

/* No such price: not at all, or only in another currency. */
static void
report_other_price(FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT string_agg(DISTINCT f.currency, ', ' ORDER BY f.currency)"
		"  FROM billing.plan f JOIN billing.price p ON p.plan_id = f.plan_id WHERE f.code = $1 AND p.code = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TEXTOID},
	};
	Datum		args[] = {PG_GETARG_DATUM(ARG_PLAN), PG_GETARG_DATUM(ARG_PRICE_CODE)};
	const char *plan = TextDatumGetCString(args[0]);
	const char *price = TextDatumGetCString(args[1]);
	const char *currency = PG_GETARG_BILLING_TARIFF_P(ARG_TARIFF)->currency;
	char	   *currencies;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	(void) billing_spi_value(0, 1, &isnull);
	currencies = isnull ? NULL : TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	if (currencies != NULL && strstr(currencies, pnstrdup(currency, 3)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("plan \"%s\" has no price \"%s\" in %.3s", plan, price, currency),
				 errdetail("plan=%s price=%s tariff_currency=%.3s currencies=%s", plan, price, currency, currencies),
				 errhint("Give a tariff in the currency that was billed.")));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("plan \"%s\" has no price \"%s\" in that version or cycle", plan, price),
			 errdetail("object=price plan=%s id=%s", plan, price),
			 errhint("Read the prices there are from billing.plan and billing.price.")));
}

static void
lock_plan(int64 plan_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.plan WHERE plan_id = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(plan_id)};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * find_correction
 *		The id of the correction that counts in this period, if it is this one; else 0.
 */
static int64
find_correction(FunctionCallInfo fcinfo, const Price *price)
{
	static BillingQuery query = {
		.sql = "SELECT c.correction_id"
		"  FROM (SELECT c.correction_id, c.digest, c.during FROM billing.price_correction c"
		"         WHERE c.plan_id = $1 AND c.price_code = $2 AND c.during && $4"
		"         ORDER BY c.correction_id DESC LIMIT 1) c"
		" WHERE c.digest = billing.tariff_digest($3::billing.tariff) AND c.during = $4",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TSTZRANGEOID},
	};
	Datum		args[] = {
		Int64GetDatum(price->plan_id), PG_GETARG_DATUM(ARG_PRICE_CODE), tariff_text(fcinfo),
		PG_GETARG_DATUM(ARG_PERIOD)
	};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return 0;
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static int64
insert_correction(FunctionCallInfo fcinfo, const Price *price)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.price_correction AS c (plan_id, price_code, tariff, during, reason) VALUES ($1, $2, $3::billing.tariff, $4, $5)"
		" RETURNING c.correction_id, c",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TSTZRANGEOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(price->plan_id), PG_GETARG_DATUM(ARG_PRICE_CODE), tariff_text(fcinfo),
		PG_GETARG_DATUM(ARG_PERIOD), PG_GETARG_DATUM(ARG_REASON)
	};
	bool		isnull;
	int64		correction_id;

	(void) billing_spi_run(&query, args, PG_ARGISNULL(ARG_REASON) ? "    n" : NULL);
	correction_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	billing_flow_audit_action(0, "rerate", "price",
							  psprintf("%lld/%s", (long long) price->plan_id, TextDatumGetCString(args[1])),
							  price->row, billing_spi_copy(0, 2, CurrentMemoryContext));
	return correction_id;
}

/* The lines that were billed by the price: of final invoices, for a period of service that starts in the one given. */
#define BILLED_LINES \
	"  FROM billing.invoice v" \
	"  JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id" \
	" WHERE coalesce(i.plan_id, v.plan_id) = $1 AND v.subscription_id IS NOT NULL AND v.status NOT IN ('draft', 'void') AND i.kind IN ('fixed', 'usage') AND i.price_code = $2" \
	"   AND $3 @> i.period_start"

/*
 * lock_tenants
 *		Lock those that have such lines, in their order; YB001 if the one named does
 *		not exist.
 */
static Datum
lock_tenants(FunctionCallInfo fcinfo, const Price *price)
{
	static BillingQuery query = {
		.sql = "SELECT array_agg(t.tenant_id) FROM (SELECT t.tenant_id FROM billing.tenant t"
		" WHERE CASE WHEN $4 IS NOT NULL THEN t.tenant_id = $4 ELSE t.tenant_id IN (SELECT v.tenant_id" BILLED_LINES ") END"
		" ORDER BY t.tenant_id FOR NO KEY UPDATE) t",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TSTZRANGEOID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(price->plan_id), PG_GETARG_DATUM(ARG_PRICE_CODE), PG_GETARG_DATUM(ARG_PERIOD),
		PG_GETARG_DATUM(ARG_TENANT_ID)
	};
	Datum		tenant_ids;

	(void) billing_spi_run(&query, args, PG_ARGISNULL(ARG_TENANT_ID) ? "   n" : NULL);
	tenant_ids = billing_spi_copy(0, 1, CurrentMemoryContext);
	if (tenant_ids != (Datum) 0)
		return tenant_ids;
	if (!PG_ARGISNULL(ARG_TENANT_ID))
		billing_flow_not_found("tenant", PG_GETARG_INT64(ARG_TENANT_ID), NULL);
	return PointerGetDatum(construct_empty_array(INT8OID));
}

static void
note_lines(FunctionCallInfo fcinfo, const Price *price, int64 correction_id, Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.rerated_line (tenant_id, adjusts_invoice_id, adjusts_line, correction_id, subscription_id)"
		" SELECT i.tenant_id, i.invoice_id, i.line, $4, v.subscription_id" BILLED_LINES " AND v.tenant_id = ANY ($5)"
		"     ON CONFLICT DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, TSTZRANGEOID, INT8OID, INT8ARRAYOID},
	};
	Datum		args[] = {
		Int64GetDatum(price->plan_id), PG_GETARG_DATUM(ARG_PRICE_CODE), PG_GETARG_DATUM(ARG_PERIOD),
		Int64GetDatum(correction_id), tenant_ids
	};

	(void) billing_spi_run(&query, args, NULL);
}

/* The lines that the next invoices will have for it. */
static void
put_differences(FunctionCallInfo fcinfo, int64 correction_id, Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "SELECT s.tenant_id, s.subscription_id, a.adjusts_invoice_id, a.adjusts_line, a.quantity, a.amount, a.period_start,"
		"       a.period_end"
		"  FROM (SELECT DISTINCT r.tenant_id, r.subscription_id FROM billing.rerated_line r"
		"         WHERE r.tenant_id = ANY ($2) AND r.correction_id = $1 AND r.invoice_id IS NULL) s"
		" CROSS JOIN LATERAL billing.invoice_adjustments(s.tenant_id, s.subscription_id,"
		"     billing.usage_streams(s.tenant_id, s.subscription_id), true) a"
		"  JOIN billing.rerated_line r ON r.tenant_id = s.tenant_id AND r.adjusts_invoice_id = a.adjusts_invoice_id"
		"   AND r.adjusts_line = a.adjusts_line AND r.correction_id = $1 AND r.invoice_id IS NULL"
		" ORDER BY s.tenant_id, s.subscription_id, a.period_start, a.adjusts_line",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8ARRAYOID},
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		args[] = {Int64GetDatum(correction_id), tenant_ids};
	uint64		count;

	InitMaterializedSRF(fcinfo, 0);
	count = billing_spi_run(&query, args, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
		CHECK_FOR_INTERRUPTS();
	}
}
