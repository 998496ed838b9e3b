/*-------------------------------------------------------------------------
 *
 * spend.c
 *	  What a tenant lets its usage cost.
 *
 * The event is written, then the bill is calculated with it, by the lines of the bill
 * run: so any tariff and any aggregation is judged as it will be billed.  Who records for
 * such a tenant waits for who is before it until that one's transaction has ended, and reads
 * under a snapshot taken behind the lock, in every isolation level.
 *
 * No flow takes this lock, and who waits for it holds no row of a flow's: so neither
 * the bill run nor another flow waits for it, unless one transaction does both.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "amount_parse.h"
#include "clock.h"
#include "flow.h"
#include "lock.h"
#include "spend.h"
#include "spi.h"

BILLING_FUNCTION(billing_spend);

/* What usage costs under the active snapshot. */
typedef struct Spent
{
	int64		units;
	char	   *shown;
} Spent;

static Datum read_currency(FunctionCallInfo fcinfo);
static void read_spent(int64 tenant_id, TimestampTz at, Datum currency, Spent *spent);
pg_noreturn static void report_beyond(const BillingSpend *spend, const Spent *before, const Spent *after);

/*
 * billing_spend
 *		What the usage of a tenant costs in the periods that hold an instant.
 */
Datum
billing_spend(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		currency;
	Spent		spent;
	Datum		result;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_spi_begin();
	currency = read_currency(fcinfo);
	read_spent(PG_GETARG_INT64(0), PG_ARGISNULL(1) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(1), currency, &spent);
	result = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	PG_RETURN_DATUM(result);
}

/* That stated, as it is stored, or the tenant's; YB001 if there is no tenant. */
static Datum
read_currency(FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT billing.currency(billing.from_minor_units(0, coalesce($2, t.currency)))"
		"  FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(2)};

	if (billing_spi_run(&query, args, PG_ARGISNULL(2) ? " n" : NULL) == 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(0), NULL);
	return billing_spi_copy(0, 1, CurrentMemoryContext);
}

static void
read_spent(int64 tenant_id, TimestampTz at, Datum currency, Spent *spent)
{
	static BillingQuery query = {
		.sql = "SELECT s.amount, billing.minor_units(s.amount), s.amount::text"
		"  FROM (SELECT coalesce(sum(l.amount), billing.from_minor_units(0, $3)) AS amount"
		"    FROM billing.spend_lines($1, $2, $3) l OFFSET 0) s",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 3,
		.argtypes = {INT8OID, TIMESTAMPTZOID, TEXTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {Int64GetDatum(tenant_id), TimestampTzGetDatum(at), currency};
	bool		isnull;

	(void) billing_spi_run_snapshot(&query, args, NULL);
	spent->units = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	spent->shown = TextDatumGetCString(billing_spi_value(0, 3, &isnull));
}

void
billing_spend_begin(BillingSpend *spend)
{
	billing_lock_tenant(BILLING_LOCK_SPEND, spend->tenant_id);
	spend->before = RegisterSnapshot(GetLatestSnapshot());
}

/*
 * billing_spend_end
 *		See spend.h.
 *
 * What costs nothing more may always be recorded, as what takes usage back: what there was before
 * is calculated only where the limit is passed.
 */
void
billing_spend_end(BillingSpend *spend, bool has_written)
{
	const BillingCurrency *currency;
	int64		limit;
	Spent		before;
	Spent		after;

	if (has_written && spend->limit != NULL && billing_amount_parse(spend->limit, &limit, &currency) == BILLING_AMOUNT_OK)
	{
		Datum		code = CStringGetTextDatum(currency->code);

		CommandCounterIncrement();
		PushActiveSnapshot(GetLatestSnapshot());
		read_spent(spend->tenant_id, spend->at, code, &after);
		PopActiveSnapshot();
		if (after.units > limit)
		{
			PushActiveSnapshot(spend->before);
			read_spent(spend->tenant_id, spend->at, code, &before);
			PopActiveSnapshot();
			if (after.units > before.units)
				report_beyond(spend, &before, &after);
		}
	}
	UnregisterSnapshot(spend->before);
}

static void
report_beyond(const BillingSpend *spend, const Spent *before, const Spent *after)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_LIMIT_EXCEEDED),
			 errmsg("usage of tenant %lld would come to %s, beyond its spend_limit", (long long) spend->tenant_id, after->shown),
			 errdetail("tenant_id=%lld spend_limit=%s spent=%s would_be=%s", (long long) spend->tenant_id, spend->limit,
					   before->shown, after->shown),
			 errhint("Raise the setting spend_limit by billing.update_tenant(), or wait for the next period; "
					 "what is to be billed all the same can be inserted into billing.usage_event.")));
}
