/*-------------------------------------------------------------------------
 *
 * late.c
 *	  Usage that came late for a subscription that has ended.
 *
 * A live subscription books it on its next invoice.  One that ended has none, so
 * it gets one more: a draft of the boundary at which it is billed, with nothing in
 * arrears or in advance, whose only lines are the adjustments.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "draft.h"
#include "flow.h"
#include "id.h"
#include "spi.h"

BILLING_FUNCTION(billing_late_batch);

/* Subscriptions (bigint[] of tenants and ids) that have ended, and when to bill what came late. */
typedef struct Ended
{
	Datum		tenant_ids;
	Datum		subscription_ids;
	Datum		at;
} Ended;

static void bill_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static int	claim(FunctionCallInfo fcinfo, Datum *tenant_ids, Datum *subscription_ids, int64 *last);
static bool make_drafts(Datum tenant_ids, Datum subscription_ids, Datum at, BillingDrafts *drafts);

/*
 * billing_late_batch
 *		Bill the late usage of the next subscriptions that have ended: what
 *		billing.bill_due() does with them in one transaction.
 */
Datum
billing_late_batch(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	int64		last[2] = {PG_GETARG_INT64(3), PG_GETARG_INT64(4)};
	Ended		ended = {.at = PG_GETARG_DATUM(0)};
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	billing_spi_begin();
	values[0] = Int64GetDatum(claim(fcinfo, &ended.tenant_ids, &ended.subscription_ids, last));
	billing_flow_check_snapshot(ended.tenant_ids);
	billing_attempt(bill_some, report, &ended, DatumGetInt64(values[0]));
	billing_spi_end();

	values[1] = Int64GetDatum(last[0]);
	values[2] = Int64GetDatum(last[1]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* The work of a batch, for some of it. */
static void
bill_some(void *set, int from, int count)
{
	Ended	   *ended = set;
	BillingDrafts drafts;

	if (!make_drafts(billing_id_slice(ended->tenant_ids, from, count),
					 billing_id_slice(ended->subscription_ids, from, count), ended->at, &drafts))
		return;
	billing_draft_recalculate(drafts);
	billing_draft_finalize(billing_draft_find_ready(drafts), DatumGetTimestampTz(ended->at));
}

static void
report(void *set, int which, const ErrorData *error)
{
	Ended	   *ended = set;
	long long	tenant_id = billing_id_at(ended->tenant_ids, which);
	long long	subscription_id = billing_id_at(ended->subscription_ids, which);

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("late usage of subscription %lld of tenant %lld could not be billed: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It waits and is tried again by the next run; that of the others is billed.")));
}

/*
 * claim
 *		Lock the tenants of the next ended subscriptions with late usage.
 */
static int
claim(FunctionCallInfo fcinfo, Datum *tenant_ids, Datum *subscription_ids, int64 *last)
{
	static BillingQuery lock[2] = {
		{
			.sql = "SELECT d.tenant_id, d.subscription_id FROM billing.due_late($1, $2, $3) d"
			"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
			" ORDER BY d.tenant_id, d.subscription_id FOR NO KEY UPDATE OF t SKIP LOCKED",
			.expected = SPI_OK_SELECT,
			.nargs = 3,
			.argtypes = {INT4OID, INT8OID, INT8OID},
		},
		{
			.sql = "SELECT d.tenant_id, d.subscription_id FROM billing.due_late($1, $2, $3) d"
			"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
			" ORDER BY d.tenant_id, d.subscription_id FOR NO KEY UPDATE OF t",
			.expected = SPI_OK_SELECT,
			.nargs = 3,
			.argtypes = {INT4OID, INT8OID, INT8OID},
		}
	};
	Datum		args[] = {PG_GETARG_DATUM(1), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4)};

	return billing_flow_claim(&lock[PG_GETARG_BOOL(2) ? 1 : 0], args, tenant_ids, subscription_ids, last);
}

/*
 * make_drafts
 *		An empty draft for each whose late usage changes an amount, now that its tenant
 *		is locked; false if none has.
 */
static bool
make_drafts(Datum tenant_ids, Datum subscription_ids, Datum at, BillingDrafts *drafts)
{
	static BillingQuery query = {
		.sql = "WITH made AS ("
		"  INSERT INTO billing.invoice (tenant_id, biz_key, kind, subscription_id, plan_id, status, currency, period_start,"
		"    period_end, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied, paid)"
		"  SELECT s.tenant_id, billing.biz_key(s.subscription_id, b.boundary, 'final', 1), 'final', s.subscription_id, s.plan_id,"
		"    'draft', s.currency, b.boundary, b.boundary, 0, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing,"
		"    z.nothing, z.nothing"
		"  FROM unnest($1, $2) d (tenant_id, subscription_id)"
		"  JOIN billing.subscription s ON s.tenant_id = d.tenant_id AND s.subscription_id = d.subscription_id"
		"  CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, s.currency) AS nothing) z"
		"  CROSS JOIN LATERAL (SELECT greatest($3, max(i.period_end) + interval '1 microsecond') AS boundary"
		"     FROM billing.invoice i WHERE i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id) b"
		"  WHERE s.ended_at IS NOT NULL AND EXISTS (SELECT FROM billing.invoice_adjustments(s.tenant_id, s.subscription_id,"
		"    billing.usage_streams(s.tenant_id, s.subscription_id)))"
		"  RETURNING tenant_id, invoice_id, subscription_id"
		"), logged AS ("
		"  INSERT INTO billing.calculation_log (tenant_id, invoice_id, quantity, timezone, inputs, hash, calculated_at)"
		"  SELECT m.tenant_id, m.invoice_id, s.quantity, s.timezone, '', '', billing.now()"
		"  FROM made m JOIN billing.subscription s ON s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id"
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
