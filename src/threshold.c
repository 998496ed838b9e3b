/*-------------------------------------------------------------------------
 *
 * threshold.c
 *	  Usage that is billed before its period ends, when it passes an amount.
 *
 * The run asks of each subscription that has thresholds what its usage has come to
 * since it began, and what of that was billed: an interim invoice is made where a threshold
 * lies between.  So none is made twice, however often the run asks.  It is a draft
 * of the part of the period up to then, calculated as any other draft is; the invoice
 * that ends the period takes off what it billed (billing.interim_credits).
 *
 * How far usage was billed is kept with the subscription: what becomes known later of the
 * time before is late, and an interim invoice that is voided is not made again.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "draft.h"
#include "flow.h"
#include "id.h"
#include "spi.h"

BILLING_FUNCTION(billing_threshold_batch);
BILLING_FUNCTION(billing_set_usage_thresholds);

/* Subscriptions (bigint[] of tenants and ids) whose usage passes a threshold at an instant. */
typedef struct Passed
{
	Datum		tenant_ids;
	Datum		subscription_ids;
	Datum		at;
} Passed;

static bool are_any(void);
static int	claim(FunctionCallInfo fcinfo, Datum *tenant_ids, Datum *subscription_ids, int64 *last);
static void bill_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static bool make_drafts(Datum tenant_ids, Datum subscription_ids, Datum at, BillingDrafts *drafts);
static void check_thresholds(FunctionCallInfo fcinfo);
static void check_subscription(BillingFlow *flow, int64 subscription_id);

/*
 * billing_threshold_batch
 *		Make the next interim invoices: what billing.bill_due() does with them in one
 *		transaction.
 */
Datum
billing_threshold_batch(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	int64		last[2] = {PG_GETARG_INT64(3), PG_GETARG_INT64(4)};
	Passed		passed = {.at = PG_GETARG_DATUM(0)};
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	billing_spi_begin();
	values[0] = Int64GetDatum(0);
	if (are_any())
	{
		int			count = claim(fcinfo, &passed.tenant_ids, &passed.subscription_ids, last);

		billing_flow_check_snapshot(passed.tenant_ids);
		billing_attempt(bill_some, report, &passed, count);
		values[0] = Int64GetDatum(count);
	}
	billing_spi_end();

	values[1] = Int64GetDatum(last[0]);
	values[2] = Int64GetDatum(last[1]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* Are there thresholds at all?  To plan what asks of each subscription takes longer than most runs. */
static bool
are_any(void)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.plan p WHERE num_nonnulls(p.usage_thresholds, p.usage_threshold_step) > 0"
		" UNION ALL SELECT FROM billing.subscription_threshold c WHERE c.is_own LIMIT 1",
		.expected = SPI_OK_SELECT,
	};

	return billing_spi_run(&query, NULL, NULL) > 0;
}

/*
 * claim
 *		Lock the tenants of the next subscriptions whose usage passes a threshold.
 */
static int
claim(FunctionCallInfo fcinfo, Datum *tenant_ids, Datum *subscription_ids, int64 *last)
{
	static BillingQuery lock[2] = {
		{
			.sql = "SELECT d.tenant_id, d.subscription_id FROM billing.due_thresholds($1, $2, $3, $4) d"
			"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
			" ORDER BY d.tenant_id, d.subscription_id FOR NO KEY UPDATE OF t SKIP LOCKED",
			.expected = SPI_OK_SELECT,
			.nargs = 4,
			.argtypes = {TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID},
			.options = CURSOR_OPT_GENERIC_PLAN,
		},
		{
			.sql = "SELECT d.tenant_id, d.subscription_id FROM billing.due_thresholds($1, $2, $3, $4) d"
			"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
			" ORDER BY d.tenant_id, d.subscription_id FOR NO KEY UPDATE OF t",
			.expected = SPI_OK_SELECT,
			.nargs = 4,
			.argtypes = {TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID},
			.options = CURSOR_OPT_GENERIC_PLAN,
		}
	};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4)};

	return billing_flow_claim(&lock[PG_GETARG_BOOL(2) ? 1 : 0], args, tenant_ids, subscription_ids, last);
}

/* The work of a batch, for some of it. */
static void
bill_some(void *set, int from, int count)
{
	Passed	   *passed = set;
	BillingDrafts drafts;

	if (!make_drafts(billing_id_slice(passed->tenant_ids, from, count),
					 billing_id_slice(passed->subscription_ids, from, count), passed->at, &drafts))
		return;
	billing_draft_recalculate(drafts);
	billing_draft_finalize(billing_draft_find_ready(drafts), DatumGetTimestampTz(passed->at));
}

static void
report(void *set, int which, const ErrorData *error)
{
	Passed	   *passed = set;
	long long	tenant_id = billing_id_at(passed->tenant_ids, which);
	long long	subscription_id = billing_id_at(passed->subscription_ids, which);

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("usage so far of subscription %lld of tenant %lld could not be billed: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It is tried again by the next run; that of the others is billed.")));
}

/*
 * make_drafts
 *		An empty draft for each that still passes a threshold, now that its tenant is
 *		locked; false if none does.
 */
static bool
make_drafts(Datum tenant_ids, Datum subscription_ids, Datum at, BillingDrafts *drafts)
{
	static BillingQuery query = {
		.sql = "WITH passed AS MATERIALIZED ("
		"  SELECT d.tenant_id, d.subscription_id, t.*"
		"  FROM unnest($1, $2) d (tenant_id, subscription_id)"
		"  CROSS JOIN LATERAL billing.threshold_state(d.tenant_id, d.subscription_id, $3, false) t"
		"  WHERE t.is_passed"
		"), made AS ("
		"  INSERT INTO billing.invoice (tenant_id, biz_key, kind, subscription_id, plan_id, status, currency, period_start,"
		"    period_end, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied, paid)"
		"  SELECT p.tenant_id, billing.biz_key(p.subscription_id, $3, 'threshold', 1), 'threshold', p.subscription_id, p.plan_id,"
		"    'draft', p.currency, coalesce(lower(p.arrears), lower(p.step_arrears)), $3, 0, z.nothing, z.nothing, z.nothing,"
		"    z.nothing, z.nothing, z.nothing, z.nothing, z.nothing"
		"  FROM passed p"
		"  CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, p.currency) AS nothing) z"
		"  RETURNING tenant_id, invoice_id, subscription_id"
		"), logged AS ("
		"  INSERT INTO billing.calculation_log (tenant_id, invoice_id, quantity, timezone, arrears, step_arrears, inputs, hash,"
		"    calculated_at)"
		"  SELECT m.tenant_id, m.invoice_id, p.quantity, p.timezone, p.arrears, p.step_arrears, '', '', billing.now()"
		"  FROM made m JOIN passed p ON p.tenant_id = m.tenant_id AND p.subscription_id = m.subscription_id"
		"), cut AS ("
		"  INSERT INTO billing.subscription_threshold AS c (tenant_id, subscription_id, cut_at, cut_amount)"
		"  SELECT p.tenant_id, p.subscription_id, $3, p.amount FROM passed p"
		"  ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET cut_at = excluded.cut_at, cut_amount = excluded.cut_amount"
		") SELECT array_agg(tenant_id ORDER BY tenant_id, invoice_id), array_agg(invoice_id ORDER BY tenant_id, invoice_id) FROM made",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {tenant_ids, subscription_ids, at};
	MemoryContext context = CurrentMemoryContext;

	(void) billing_spi_run(&query, args, NULL);
	drafts->tenant_ids = billing_spi_copy(0, 1, context);
	drafts->invoice_ids = billing_spi_copy(0, 2, context);
	return drafts->tenant_ids != (Datum) 0;
}

/*
 * billing_set_usage_thresholds
 *		Give a subscription thresholds of its own, or those of its plan again.
 */
Datum
billing_set_usage_thresholds(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.subscription_threshold AS c (tenant_id, subscription_id, is_own, usage_thresholds,"
		"  usage_threshold_step) VALUES ($1, $2, num_nonnulls($3, $4) > 0, $3, $4)"
		" ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET is_own = excluded.is_own,"
		"  usage_thresholds = excluded.usage_thresholds, usage_threshold_step = excluded.usage_threshold_step RETURNING c",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, NUMERICARRAYOID, NUMERICOID},
	};
	BillingFlow flow;
	Datum		args[4];
	char		nulls[] = "    ";
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "set_usage_thresholds", 4, &result))
		return result;
	billing_flow_require(fcinfo, 1, "subscription_id");
	check_thresholds(fcinfo);
	check_subscription(&flow, PG_GETARG_INT64(1));

	for (int i = 0; i < lengthof(args); i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	(void) billing_spi_run(&query, args, nulls);
	result = billing_spi_copy(0, 1, flow.caller);
	billing_flow_audit(&flow, "subscription", PG_GETARG_INT64(1), (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

static void
check_thresholds(FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT billing.are_thresholds($1, $2)",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {NUMERICARRAYOID, NUMERICOID},
	};
	Datum		args[] = {PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)};
	char		nulls[] = {PG_ARGISNULL(2) ? 'n' : ' ', PG_ARGISNULL(3) ? 'n' : ' ', '\0'};
	bool		isnull;

	(void) billing_spi_run(&query, args, nulls);
	if (!DatumGetBool(billing_spi_value(0, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("usage thresholds must ascend from above zero, and their step be positive"),
				 errdetail("argument=thresholds"),
				 errhint("Give amounts in major units, such as ARRAY[100, 500], and a step by which they go on behind the last.")));
}

static void
check_subscription(BillingFlow *flow, int64 subscription_id)
{
	static BillingQuery query = {
		.sql = "SELECT s.ended_at IS NOT NULL, s.status FROM billing.subscription s WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(subscription_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("subscription", flow->tenant_id, psprintf("%lld", (long long) subscription_id));
	if (DatumGetBool(billing_spi_value(0, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("subscription %lld has ended", (long long) subscription_id),
				 errdetail("object=subscription id=%lld status=%s", (long long) subscription_id,
						   TextDatumGetCString(billing_spi_value(0, 2, &isnull))),
				 errhint("No more of its usage is billed before a period ends.")));
}
