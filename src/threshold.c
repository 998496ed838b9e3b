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

#include "utils/builtins.h"

#include "aside.h"
#include "draft_batch.h"
#include "flow.h"
#include "id.h"
#include "spi.h"

BILLING_FUNCTION(billing_threshold_batch);
BILLING_FUNCTION(billing_set_usage_thresholds);

static bool are_any(void);
static void report(void *set, int which, const ErrorData *error);
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
	static BillingQuery claim[] = BILLING_DRAFT_CLAIM("billing.due_thresholds($1, $2, $3, $4)");
	static BillingQuery make = BILLING_DRAFT_MAKE(
												  "WITH passed AS MATERIALIZED ("
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
												  ") SELECT array_agg(tenant_id ORDER BY tenant_id, invoice_id), array_agg(invoice_id ORDER BY tenant_id, invoice_id),"
												  "    array_agg(subscription_id ORDER BY tenant_id, invoice_id) FROM made");

	return billing_draft_batch(fcinfo, are_any() ? claim : NULL, &make, "usage.threshold_reached", report);
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

	bool		result;

	billing_spi_begin();
	result = billing_spi_run(&query, NULL, NULL) > 0;
	billing_spi_end();
	return result;
}

static void
report(void *set, int which, const ErrorData *error)
{
	BillingDraftBatch *batch = set;
	long long	tenant_id = billing_id_at(batch->tenant_ids, which);
	long long	subscription_id = billing_id_at(batch->subscription_ids, which);

	billing_aside_note("bill_due", "threshold", tenant_id, subscription_id, error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("usage so far of subscription %lld of tenant %lld could not be billed: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It is tried again by the next run; that of the others is billed.")));
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
				 errmsg("usage thresholds must be at most 100 that ascend from above zero, and their step be positive"),
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
