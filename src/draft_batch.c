/*-------------------------------------------------------------------------
 *
 * draft_batch.c
 *	  Drafts that are made beside the boundaries of subscriptions, a batch at a time.
 *
 * Who is found is asked before the tenants are locked, and once more when the drafts are
 * made: so none is made twice.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/timestamp.h"

#include "draft.h"
#include "draft_batch.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "result.h"

static int	claim_tenants(FunctionCallInfo fcinfo, BillingQuery *claim, BillingDraftBatch *batch, int64 *last);
static void bill_some(void *set, int from, int count);
static bool make_drafts(const BillingDraftBatch *batch, int from, int count, BillingDrafts *drafts);

Datum
billing_draft_batch(FunctionCallInfo fcinfo, BillingQuery *claim, BillingQuery *make, const char *event,
					BillingReport report)
{
	BillingDraftBatch batch = {.make = make, .event = event, .at = PG_GETARG_DATUM(0)};
	int64		last[2] = {PG_GETARG_INT64(3), PG_GETARG_INT64(4)};
	int			count = 0;
	Datum		values[3];
	bool		nulls[3] = {false};

	billing_spi_begin();
	if (claim != NULL)
	{
		count = claim_tenants(fcinfo, claim, &batch, last);
		billing_flow_check_snapshot(batch.tenant_ids);
		billing_attempt(bill_some, report, &batch, count);
	}
	billing_spi_end();
	values[0] = Int64GetDatum(count);
	values[1] = Int64GetDatum(last[0]);
	values[2] = Int64GetDatum(last[1]);
	return billing_result_make(fcinfo, lengthof(values), values, nulls);
}

static int
claim_tenants(FunctionCallInfo fcinfo, BillingQuery *claim, BillingDraftBatch *batch, int64 *last)
{
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4)};

	return billing_flow_claim(&claim[PG_GETARG_BOOL(2) ? 1 : 0], args, &batch->tenant_ids, &batch->subscription_ids, last);
}

/* The work of a batch, for some of it. */
static void
bill_some(void *set, int from, int count)
{
	BillingDraftBatch *batch = set;
	BillingDrafts drafts;

	if (!make_drafts(batch, from, count, &drafts))
		return;
	billing_draft_recalculate(drafts);
	billing_event_emit_all("invoice.created", drafts.tenant_ids, drafts.invoice_ids);
	billing_draft_finalize(billing_draft_find_ready(drafts), DatumGetTimestampTz(batch->at));
}

/* False if there is nothing to bill, now that the tenants are locked. */
static bool
make_drafts(const BillingDraftBatch *batch, int from, int count, BillingDrafts *drafts)
{
	Datum		args[] = {
		billing_id_slice(batch->tenant_ids, from, count), billing_id_slice(batch->subscription_ids, from, count), batch->at
	};
	MemoryContext context = CurrentMemoryContext;

	(void) billing_spi_run(batch->make, args, NULL);
	drafts->tenant_ids = billing_spi_copy(0, 1, context);
	drafts->invoice_ids = billing_spi_copy(0, 2, context);
	if (batch->event != NULL)
		billing_event_emit_all(batch->event, drafts->tenant_ids, billing_spi_copy(0, 3, context));
	return drafts->tenant_ids != (Datum) 0;
}
