/*-------------------------------------------------------------------------
 *
 * payment_method_expiry.c
 *	  Payment methods whose time is over.
 *
 * A card is good until the month ends that it shows, where its tenant is.  Which are over is asked of the clock, as
 * often as anybody likes; those of one tenant end under its lock, so that its default is settled with them.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"

#include "event.h"
#include "flow.h"
#include "id.h"
#include "payment_method.h"
#include "spi.h"

BILLING_FUNCTION(billing_expire_payment_methods);

/*
 * billing_expire_payment_methods
 *		End those that are over, of all tenants that nobody works on; returns how many.
 */
Datum
billing_expire_payment_methods(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "WITH next AS MATERIALIZED ("
		"  SELECT m.tenant_id, m.payment_method_id FROM billing.payment_method m JOIN billing.tenant t ON t.tenant_id = m.tenant_id"
		"   WHERE m.status = 'active' AND m.exp_year IS NOT NULL AND billing.month_ends_at(m.exp_year, m.exp_month, 'UTC-14') <= billing.now()"
		"     AND billing.month_ends_at(m.exp_year, m.exp_month, t.timezone) <= billing.now() AND (m.tenant_id, m.payment_method_id) > ($2, $3)"
		"   ORDER BY m.tenant_id, m.payment_method_id LIMIT $1"
		"), locked AS ("
		"  SELECT t.tenant_id FROM billing.tenant t WHERE t.tenant_id IN (SELECT n.tenant_id FROM next n)"
		"   ORDER BY t.tenant_id FOR NO KEY UPDATE SKIP LOCKED"
		") SELECT n.tenant_id, n.payment_method_id, (SELECT coalesce(array_agg(l.tenant_id), '{}') FROM locked l)"
		"   FROM next n ORDER BY n.tenant_id DESC, n.payment_method_id DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT4OID, INT8OID, INT8OID},
	};
	Datum		args[] = {(Datum) 0, Int64GetDatum(PG_INT64_MIN), Int64GetDatum(PG_INT64_MIN)};
	MemoryContext context = CurrentMemoryContext;
	Datum		tenant_ids;
	int64		expired = 0;
	bool		isnull;

	billing_flow_require_batch(fcinfo, 0, "payment methods one call looks at");
	args[0] = PG_GETARG_DATUM(0);
	billing_spi_begin();
	while (expired == 0 && billing_spi_run(&query, args, NULL) > 0)
	{
		args[1] = billing_spi_value(0, 1, &isnull);
		args[2] = billing_spi_value(0, 2, &isnull);
		tenant_ids = billing_spi_copy(0, 3, context);
		billing_flow_check_snapshot(tenant_ids);
		expired = billing_payment_method_expire(tenant_ids);
	}
	billing_spi_end();
	PG_RETURN_INT64(expired);
}

int64
billing_payment_method_expire(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH ended AS (UPDATE billing.payment_method m SET status = 'expired', is_default = false, default_at = NULL, ended_at = billing.now(),"
		"    version = m.version + 1"
		"   FROM billing.tenant t WHERE t.tenant_id = m.tenant_id AND m.tenant_id = ANY ($1) AND m.status = 'active'"
		"    AND billing.month_ends_at(m.exp_year, m.exp_month, t.timezone) <= billing.now()"
		"   RETURNING m.tenant_id, m.payment_method_id"
		" ) SELECT array_agg(e.tenant_id ORDER BY e.tenant_id, e.payment_method_id), array_agg(e.payment_method_id ORDER BY e.tenant_id, e.payment_method_id)"
		"    FROM ended e HAVING count(*) > 0",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		of;
	Datum		ended;

	if (billing_spi_run(&query, &tenant_ids, NULL) == 0)
		return 0;
	of = billing_spi_copy(0, 1, context);
	ended = billing_spi_copy(0, 2, context);
	billing_event_emit_all("payment_method.updated", of, ended);
	billing_payment_method_settle_default(tenant_ids, "expired");
	return billing_id_count(ended);
}
