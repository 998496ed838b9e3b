/*-------------------------------------------------------------------------
 *
 * freeze.c
 *	  Tenants that may use nothing for a while.
 *
 * A frozen tenant keeps its rows, and its subscriptions are billed on.  What freezing
 * takes is asked for at the moment of use: has_feature and the limits read the state,
 * record_usage compares the instant with frozen_at.  A tenant is frozen by somebody, or,
 * is_unpaid, because it did not pay (overdue.c), which lasts until it has.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "dunning.h"
#include "event.h"
#include "flow.h"
#include "freeze.h"
#include "id.h"
#include "spi.h"

BILLING_FUNCTION(billing_freeze_tenant);
BILLING_FUNCTION(billing_unfreeze_tenant);

static Datum change_state(FunctionCallInfo fcinfo, const char *name, const char *to);
static char *read_state(BillingFlow *flow, Datum *row, bool *is_unpaid);
static Datum set_state(BillingFlow *flow, const char *to, Datum reason, bool is_unpaid);

Datum
billing_freeze_tenant(PG_FUNCTION_ARGS)
{
	return change_state(fcinfo, "freeze_tenant", "frozen");
}

Datum
billing_unfreeze_tenant(PG_FUNCTION_ARGS)
{
	return change_state(fcinfo, "unfreeze_tenant", "active");
}

static Datum
change_state(FunctionCallInfo fcinfo, const char *name, const char *to)
{
	BillingFlow flow;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, name, 2, &result))
		return result;
	if (strcmp(to, "active") == 0)
		billing_dunning_forgive(flow.tenant_id);
	return billing_flow_end(&flow, billing_freeze_set(&flow, to, PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1), false));
}

Datum
billing_freeze_set(BillingFlow *flow, const char *to, Datum reason, bool is_unpaid)
{
	Datum		before;
	Datum		after;
	bool		was_unpaid;
	char	   *state = read_state(flow, &before, &was_unpaid);

	if (strcmp(state, to) == 0 && (is_unpaid || !was_unpaid))
		return before;
	if (strcmp(state, "closed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("tenant %lld is closed", (long long) flow->tenant_id),
				 errdetail("tenant_id=%lld status=closed", (long long) flow->tenant_id),
				 errhint("A closed tenant stays closed: create another one.")));
	after = set_state(flow, to, reason, is_unpaid);
	billing_flow_audit(flow, "tenant", flow->tenant_id, before, after);
	billing_event_emit(flow->tenant_id, strcmp(state, to) == 0 ? "tenant.updated" :
					   strcmp(to, "frozen") == 0 ? "tenant.frozen" : "tenant.unfrozen", flow->tenant_id);
	return after;
}

void
billing_freeze_unpaid(const char *flow_name, Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH before AS MATERIALIZED (SELECT t AS row, t.tenant_id FROM billing.tenant t WHERE t.tenant_id = ANY ($1) AND t.status = 'active')"
		" UPDATE billing.tenant t SET status = 'frozen', version = t.version + 1, is_unpaid = true, status_reason = 'unpaid',"
		"   frozen_at = billing.now() FROM before b WHERE t.tenant_id = b.tenant_id RETURNING t.tenant_id, b.row, t",
		.expected = SPI_OK_UPDATE_RETURNING,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	int			count = billing_spi_run(&query, &tenant_ids, NULL);
	SPITupleTable *frozen = SPI_tuptable;
	Datum	   *ids = palloc((count + 1) * sizeof(Datum));
	bool		isnull;

	for (int i = 0; i < count; i++)
	{
		BillingFlow flow = {.name = flow_name};

		ids[i] = SPI_getbinval(frozen->vals[i], frozen->tupdesc, 1, &isnull);
		flow.tenant_id = DatumGetInt64(ids[i]);
		billing_flow_audit(&flow, "tenant", flow.tenant_id, SPI_getbinval(frozen->vals[i], frozen->tupdesc, 2, &isnull),
						   SPI_getbinval(frozen->vals[i], frozen->tupdesc, 3, &isnull));
	}
	if (count > 0)
		billing_event_emit_all("tenant.frozen", billing_id_array(ids, count), billing_id_array(ids, count));
}

static char *
read_state(BillingFlow *flow, Datum *row, bool *is_unpaid)
{
	static BillingQuery query = {
		.sql = "SELECT t, t.status, t.is_unpaid FROM billing.tenant t WHERE tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	*row = billing_spi_copy(0, 1, flow->caller);
	*is_unpaid = DatumGetBool(billing_spi_value(0, 3, &isnull));
	return TextDatumGetCString(billing_spi_value(0, 2, &isnull));
}

/* One that is frozen already is so since it was. */
static Datum
set_state(BillingFlow *flow, const char *to, Datum reason, bool is_unpaid)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.tenant t SET status = $2, version = version + 1, is_unpaid = $4, status_reason = $3,"
		" frozen_at = CASE WHEN $2 = 'frozen' THEN CASE WHEN t.status = 'frozen' THEN t.frozen_at ELSE billing.now() END END"
		" WHERE tenant_id = $1 RETURNING t",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, BOOLOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), CStringGetTextDatum(to), reason, BoolGetDatum(is_unpaid)};

	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "  n " : NULL);
	return billing_spi_copy(0, 1, flow->caller);
}
