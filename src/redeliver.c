/*-------------------------------------------------------------------------
 *
 * redeliver.c
 *	  Deliveries that a person asks for: again, or to see whether they arrive.
 *
 * What is asked for becomes due, with all its attempts before it; the sender does the
 * rest.  One that is under way is sent once more: what comes of the attempt at hand is not
 * recorded any more.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "flow.h"
#include "spi.h"
#include "wake.h"
#include "webhook.h"

BILLING_FUNCTION(billing_redeliver);
BILLING_FUNCTION(billing_redeliver_range);
BILLING_FUNCTION(billing_send_test_event);

static void lock_event(int64 tenant_id, int64 event_id);
static void check_endpoint(FunctionCallInfo fcinfo, int endpoint_arg, int tenant_arg);
static int64 choose_tenant(FunctionCallInfo fcinfo);
static void lock_tenant(int64 tenant_id);

/*
 * billing_redeliver
 *		Send one event again; returns to how many endpoints.
 */
Datum
billing_redeliver(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.webhook_delivery AS d (tenant_id, event_id, endpoint_id, is_ordered)"
		" SELECT $1, $2, e.endpoint_id, e.is_ordered FROM billing.webhook_endpoint e"
		"  WHERE CASE WHEN $3 IS NOT NULL THEN e.endpoint_id = $3"
		"     ELSE EXISTS (SELECT FROM billing.webhook_delivery o"
		"       WHERE o.tenant_id = $1 AND o.event_id = $2 AND o.endpoint_id = e.endpoint_id) END"
		" ON CONFLICT (tenant_id, event_id, endpoint_id) DO UPDATE"
		"   SET state = 'pending', attempts = 0, next_attempt_at = pg_catalog.now(), delivered_at = NULL",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	BillingFlow flow;
	Datum		args[3];
	Datum		result;

	billing_flow_require(fcinfo, 1, "event_id");
	(void) billing_flow_begin(&flow, fcinfo, "redeliver", BILLING_NO_REQUEST, &result);
	lock_event(flow.tenant_id, PG_GETARG_INT64(1));
	if (!PG_ARGISNULL(2))
		check_endpoint(fcinfo, 2, 0);
	for (int i = 0; i < lengthof(args); i++)
		args[i] = PG_GETARG_DATUM(i);
	result = Int64GetDatum(billing_spi_run(&query, args, PG_ARGISNULL(2) ? "  n" : NULL));
	billing_wake_due_at_commit();
	return billing_flow_end(&flow, result);
}

/* Retention deletes what is old: not this one, as long as it is to be sent. */
static void
lock_event(int64 tenant_id, int64 event_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.event e WHERE e.tenant_id = $1 AND e.event_id = $2 FOR KEY SHARE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(event_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("event", tenant_id, psprintf("%lld", (long long) event_id));
}

/*
 * check_endpoint
 *		Refuse an endpoint that is not there, or is only for another tenant.
 *
 * To who acts for a tenant alone the latter is not there either: its events are nobody else's business.
 */
static void
check_endpoint(FunctionCallInfo fcinfo, int endpoint_arg, int tenant_arg)
{
	static BillingQuery query = {
		.sql = "SELECT e.only_tenant_id FROM billing.webhook_endpoint e WHERE e.endpoint_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	int64		endpoint_id = PG_GETARG_INT64(endpoint_arg);
	Datum		args[] = {Int64GetDatum(endpoint_id)};
	int64		only_tenant_id;
	bool		is_for_all;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_webhook_not_found(endpoint_id);
	only_tenant_id = DatumGetInt64(billing_spi_value(0, 1, &is_for_all));
	if (is_for_all || PG_ARGISNULL(tenant_arg) || PG_GETARG_INT64(tenant_arg) == only_tenant_id)
		return;
	if (!has_bypassrls_privilege(GetOuterUserId()))
		billing_webhook_not_found(endpoint_id);
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_OTHER_TENANT),
			 errmsg("webhook endpoint %lld is for tenant %lld only", (long long) endpoint_id, (long long) only_tenant_id),
			 errdetail("object=webhook_endpoint id=%lld only_tenant_id=%lld tenant_id=%lld", (long long) endpoint_id,
					   (long long) only_tenant_id, (long long) PG_GETARG_INT64(tenant_arg)),
			 errhint("Name its tenant, or let it be for others by billing.update_webhook_endpoint.")));
}

/*
 * billing_redeliver_range
 *		Send to an endpoint again what happened in some time; returns how many events.
 *
 * What failed is also what waits for another attempt, or behind one that does, for hours maybe.
 */
Datum
billing_redeliver_range(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "WITH wanted AS (SELECT d.tenant_id, d.event_id FROM billing.event e"
		"    JOIN billing.webhook_delivery d ON d.tenant_id = e.tenant_id AND d.event_id = e.event_id"
		"   WHERE d.endpoint_id = $1 AND e.created_at >= $2 AND e.created_at < coalesce($3, 'infinity')"
		"     AND d.tenant_id = coalesce($5, d.tenant_id)"
		"     AND (d.state = 'failed' OR (d.state = 'pending' AND d.next_attempt_at > pg_catalog.now()) OR NOT $4)"
		"   FOR KEY SHARE OF e"
		" ) UPDATE billing.webhook_delivery d"
		"   SET state = 'pending', attempts = 0, next_attempt_at = pg_catalog.now(), delivered_at = NULL"
		"  FROM wanted w WHERE d.tenant_id = w.tenant_id AND d.event_id = w.event_id AND d.endpoint_id = $1",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, INT8OID},
	};
	Datum		args[5];
	char		nulls[] = "     ";
	uint64		count;

	billing_flow_require(fcinfo, 0, "endpoint_id");
	billing_flow_require(fcinfo, 1, "since");
	billing_flow_require(fcinfo, 3, "only_failed");
	billing_flow_check_caller(0);
	billing_spi_begin();
	check_endpoint(fcinfo, 0, 4);
	for (int i = 0; i < lengthof(args); i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	count = billing_spi_run(&query, args, nulls);
	billing_flow_audit_action(0, "redeliver_range", "webhook_endpoint", psprintf("%lld", (long long) PG_GETARG_INT64(0)),
							  (Datum) 0, (Datum) 0);
	billing_wake_due_at_commit();
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/*
 * billing_send_test_event
 *		Write an event that tells of nothing, for one endpoint; returns its delivery.
 */
Datum
billing_send_test_event(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "WITH written AS (INSERT INTO billing.event (tenant_id, event_id, type, payload, created_at)"
		"   SELECT $2, i.id, 'webhook.test', billing.event_payload($2, i.id, 'webhook.test', billing.now(),"
		"       jsonb_build_object('endpoint_id', $1::text)), billing.now()"
		"     FROM (SELECT billing.next_id() AS id) i RETURNING tenant_id, event_id)"
		" INSERT INTO billing.webhook_delivery AS d (tenant_id, event_id, endpoint_id, is_ordered)"
		" SELECT w.tenant_id, w.event_id, e.endpoint_id, e.is_ordered FROM written w, billing.webhook_endpoint e WHERE e.endpoint_id = $1"
		" RETURNING d",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[2];
	Datum		result;

	billing_flow_require(fcinfo, 0, "endpoint_id");
	billing_flow_check_caller(0);
	billing_spi_begin();
	check_endpoint(fcinfo, 0, 1);
	args[0] = PG_GETARG_DATUM(0);
	args[1] = Int64GetDatum(choose_tenant(fcinfo));
	lock_tenant(DatumGetInt64(args[1]));
	(void) billing_spi_run(&query, args, NULL);
	result = billing_spi_copy(0, 1, caller);
	billing_wake_at_commit();
	billing_spi_end();
	return result;
}

/* In whose name an endpoint is tested; YB004 if it would wait. */
static int64
choose_tenant(FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT e.is_enabled, coalesce($2, e.only_tenant_id, (SELECT min(t.tenant_id) FROM billing.tenant t), 0)"
		"  FROM billing.webhook_endpoint e WHERE e.endpoint_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	bool		isnull;

	(void) billing_spi_run(&query, args, PG_ARGISNULL(1) ? " n" : NULL);
	if (!DatumGetBool(billing_spi_value(0, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("webhook endpoint %lld is disabled", (long long) PG_GETARG_INT64(0)),
				 errdetail("object=webhook_endpoint id=%lld status=disabled", (long long) PG_GETARG_INT64(0)),
				 errhint("Enable it by billing.enable_webhook_endpoint first.")));
	return DatumGetInt64(billing_spi_value(0, 2, &isnull));
}

/* Its events ascend, as those that flows write. */
static void
lock_tenant(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("tenant", tenant_id, NULL);
}
