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

#include "aside.h"
#include "draft_batch.h"
#include "id.h"

BILLING_FUNCTION(billing_late_batch);

static void report(void *set, int which, const ErrorData *error);

/*
 * billing_late_batch
 *		Bill the late usage of the next subscriptions that have ended: what
 *		billing.bill_due() does with them in one transaction.
 */
Datum
billing_late_batch(PG_FUNCTION_ARGS)
{
	static BillingQuery claim[] = BILLING_DRAFT_CLAIM("billing.due_late($2, $3, $4)");
	static BillingQuery make = BILLING_DRAFT_MAKE(
												  "WITH made AS ("
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
												  ") SELECT array_agg(tenant_id ORDER BY tenant_id, invoice_id), array_agg(invoice_id ORDER BY tenant_id, invoice_id) FROM made");

	return billing_draft_batch(fcinfo, claim, &make, NULL, report);
}

static void
report(void *set, int which, const ErrorData *error)
{
	BillingDraftBatch *batch = set;
	long long	tenant_id = billing_id_at(batch->tenant_ids, which);
	long long	subscription_id = billing_id_at(batch->subscription_ids, which);

	billing_aside_note("bill_due", "late_usage", tenant_id, subscription_id, error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("late usage of subscription %lld of tenant %lld could not be billed: %s", subscription_id, tenant_id,
					error->message),
			 errdetail("tenant_id=%lld subscription_id=%lld sqlstate=%s", tenant_id, subscription_id,
					   unpack_sql_state(error->sqlerrcode)),
			 errhint("It waits and is tried again by the next run; that of the others is billed.")));
}
