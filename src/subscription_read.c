/*-------------------------------------------------------------------------
 *
 * subscription_read.c
 *	  What an application asks of a subscription.
 *
 * Answers go by the clock, not by how far the bill run has come: one that does not
 * renew has expired at the end of its period, whether or not that boundary has been
 * processed.  They are read with the caller's rights, under row security.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "flow.h"
#include "spi.h"

BILLING_FUNCTION(billing_get_active_subscription);
BILLING_FUNCTION(billing_is_expired);
BILLING_FUNCTION(billing_is_trial);
BILLING_FUNCTION(billing_days_remaining);
BILLING_FUNCTION(billing_next_billing_date);

static Datum read_fact(FunctionCallInfo fcinfo, BillingQuery *query);
pg_noreturn static void report_none_active(int64 tenant_id);
pg_noreturn static void report_several_active(int64 tenant_id);

/* Of these, one column is the answer; parameters are tenant, subscription, time. */
#define FACT(expression) { \
		.sql = "SELECT " expression " FROM billing.subscription s, " \
		"(SELECT t.timezone FROM billing.tenant t WHERE t.tenant_id = $1) AS tenant (local_zone) " \
		"WHERE tenant_id = $1 AND subscription_id = $2", \
		.expected = SPI_OK_SELECT, \
		.read_only = true, \
		.nargs = 3, \
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID}, \
	}

/*
 * billing_get_active_subscription
 *		The one subscription of a tenant that is in force.
 */
Datum
billing_get_active_subscription(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT s FROM billing.subscription s "
		"WHERE tenant_id = $1 AND status IN ('trialing', 'active', 'past_due') "
		"AND (cancel_at > $2 OR cancel_at IS NULL) "
		"AND (auto_renew OR status = 'trialing' OR period_end > $2 OR period_end IS NULL) "
		"ORDER BY subscription_id LIMIT 2",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, TIMESTAMPTZOID},
	};
	MemoryContext caller = CurrentMemoryContext;
	int64		tenant_id;
	uint64		count;
	Datum		args[2];
	Datum		row;

	billing_flow_require(fcinfo, 0, "tenant_id");
	tenant_id = PG_GETARG_INT64(0);
	args[0] = Int64GetDatum(tenant_id);
	args[1] = TimestampTzGetDatum(billing_clock_now());

	billing_spi_begin();
	count = billing_spi_run(&query, args, NULL);
	if (count == 0)
		report_none_active(tenant_id);
	if (count > 1)
		report_several_active(tenant_id);
	row = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	PG_RETURN_DATUM(row);
}

static void
report_none_active(int64 tenant_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("tenant %lld has no active subscription", (long long) tenant_id),
			 errdetail("object=subscription tenant_id=%lld", (long long) tenant_id),
			 billing_flow_hint_hidden(tenant_id) ? 0 :
			 errhint("Read those it has from billing.subscription; billing.subscribe makes one.")));
}

static void
report_several_active(int64 tenant_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMBIGUOUS_SUBSCRIPTION),
			 errmsg("tenant %lld has several active subscriptions", (long long) tenant_id),
			 errdetail("tenant_id=%lld", (long long) tenant_id),
			 errhint("Read them from billing.subscription and go by subscription_id.")));
}

/*
 * billing_is_expired
 *		Has it reached the end of a period that nothing follows, and was not canceled?
 */
Datum
billing_is_expired(PG_FUNCTION_ARGS)
{
	static BillingQuery query = FACT("status = 'expired' OR coalesce(status IN ('active', 'past_due', 'suspended') "
									 "AND NOT auto_renew AND period_end <= $3 AND cancel_at IS NULL, false)");

	return read_fact(fcinfo, &query);
}

Datum
billing_is_trial(PG_FUNCTION_ARGS)
{
	static BillingQuery query = FACT("coalesce(status = 'trialing' AND least(trial_end, cancel_at) > $3, false)");

	return read_fact(fcinfo, &query);
}

/*
 * billing_days_remaining
 *		Midnights of the tenant's calendar up to the end of the period; NULL: no end.
 */
Datum
billing_days_remaining(PG_FUNCTION_ARGS)
{
	static BillingQuery query = FACT("CASE WHEN status IN ('pending', 'expired', 'canceled') THEN 0 "
									 "WHEN num_nonnulls(period_end, cancel_at) > 0 "
									 "THEN greatest(0, (least(period_end, cancel_at) AT TIME ZONE local_zone)::date "
									 "- ($3 AT TIME ZONE local_zone)::date) END");

	return read_fact(fcinfo, &query);
}

/*
 * billing_next_billing_date
 *		The day of the next boundary on the tenant's calendar; NULL: none is to come.
 */
Datum
billing_next_billing_date(PG_FUNCTION_ARGS)
{
	static BillingQuery query = FACT("(due_at AT TIME ZONE local_zone)::date");

	return read_fact(fcinfo, &query);
}

static Datum
read_fact(FunctionCallInfo fcinfo, BillingQuery *query)
{
	Datum		args[3];
	Datum		value;
	bool		isnull;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "subscription_id");
	args[0] = PG_GETARG_DATUM(0);
	args[1] = PG_GETARG_DATUM(1);
	args[2] = TimestampTzGetDatum(billing_clock_now());

	billing_spi_begin();
	if (billing_spi_run(query, args, NULL) == 0)
		billing_flow_not_found("subscription", PG_GETARG_INT64(0),
							   psprintf("%lld", (long long) PG_GETARG_INT64(1)));
	value = billing_spi_value(0, 1, &isnull);
	billing_spi_end();

	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(value);
}
