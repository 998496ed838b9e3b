/*-------------------------------------------------------------------------
 *
 * build.c
 *	  One invoice: built, or shown before it is.
 *
 * Both go the way of the bill run (bill.c, sql/bill.sql): a batch of one, and
 * the same calculation without the writes.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "bill.h"
#include "clock.h"
#include "flow.h"
#include "plan.h"
#include "wallet_book.h"

BILLING_FUNCTION(billing_build_invoice);
BILLING_FUNCTION(billing_preview_invoice);

/* Of billing.preview_lines: line, kind, ..., amount (the seventh), period_start, period_end. */
#define PREVIEW_COLUMNS 9

/* A subscription as a preview finds it. */
typedef struct Previewed
{
	int64		plan_id;
	Datum		cycle;			/* (Datum) 0: lifetime */
	char	   *currency;
	TimestampTz due_at;
} Previewed;

static void check_period(TimestampTz start, TimestampTz end);
static bool find_boundary(BillingFlow *flow, int64 subscription_id, TimestampTz start, TimestampTz end, Datum *invoice);
static void check_start(const BillingFlow *flow, int64 subscription_id, TimestampTz wanted, TimestampTz found);
static void check_is_next(const BillingFlow *flow, int64 subscription_id, TimestampTz end, bool has_next, TimestampTz due_at);
static bool is_now(const char *effective);
static void find_previewed(int64 tenant_id, int64 subscription_id, Previewed *p);
static void put_lines(FunctionCallInfo fcinfo, Datum *args, BillingAmount *total);
static void put_draws(FunctionCallInfo fcinfo, int64 tenant_id, TimestampTz at, const BillingAmount *total);
static void put_amount(ReturnSetInfo *result, const char *kind, int64 units, const char *currency);

/*
 * billing_build_invoice
 *		The invoice of one boundary of a subscription: built now, or found.
 *
 * Under the tenant's lock one caller builds and the others find, however many.
 */
Datum
billing_build_invoice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	TimestampTz start;
	TimestampTz end;
	int64		subscription_id;

	if (billing_flow_begin(&flow, fcinfo, "build_invoice", BILLING_NO_REQUEST, &result))
		return result;
	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_require(fcinfo, 2, "period_start");
	billing_flow_require(fcinfo, 3, "period_end");
	subscription_id = PG_GETARG_INT64(1);
	start = PG_GETARG_TIMESTAMPTZ(2);
	end = PG_GETARG_TIMESTAMPTZ(3);
	check_period(start, end);

	if (!find_boundary(&flow, subscription_id, start, end, &result))
	{
		(void) billing_bill_next(flow.tenant_id, subscription_id, end);
		(void) find_boundary(&flow, subscription_id, start, end, &result);
	}

	result = billing_flow_end(&flow, result);
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	return result;
}

static void
check_period(TimestampTz start, TimestampTz end)
{
	char	   *from = pstrdup(timestamptz_to_str(start));
	char	   *to = pstrdup(timestamptz_to_str(end));

	if (TIMESTAMP_NOT_FINITE(start) || TIMESTAMP_NOT_FINITE(end) || start > end)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no period goes from %s to %s", from, to),
				 errdetail("period_start=%s period_end=%s", from, to),
				 errhint("A period ends where it starts or later, and neither end is infinite.")));
}

/*
 * find_boundary
 *		Was this boundary billed?  Then *invoice is its invoice, (Datum) 0 if there
 *		was nothing to bill.  If not, it is the next one, and reached.
 */
static bool
find_boundary(BillingFlow *flow, int64 subscription_id, TimestampTz start, TimestampTz end, Datum *invoice)
{
	static BillingQuery query = {
		.sql = "SELECT i, i.period_start, $3 IN (s.billed_to, s.started_at) AND s.billed_to >= $3, s.due_at"
		"  FROM billing.subscription s"
		"  LEFT JOIN billing.invoice i ON i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id"
		"   AND i.period_end = $3 AND i.status <> 'void' AND i.kind IN ('cycle', 'final')"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2 ORDER BY i.invoice_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(subscription_id), TimestampTzGetDatum(end)};
	bool		has_invoice;
	bool		is_billed;
	bool		isnull;
	Datum		period_start;
	Datum		due_at;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("subscription", flow->tenant_id, psprintf("%lld", (long long) subscription_id));

	*invoice = billing_spi_copy(0, 1, flow->caller);
	period_start = billing_spi_value(0, 2, &isnull);
	has_invoice = !isnull;
	is_billed = DatumGetBool(billing_spi_value(0, 3, &isnull)) && !isnull;
	due_at = billing_spi_value(0, 4, &isnull);

	if (has_invoice)
		check_start(flow, subscription_id, start, DatumGetTimestampTz(period_start));
	else if (!is_billed)
		check_is_next(flow, subscription_id, end, !isnull, DatumGetTimestampTz(due_at));
	return has_invoice || is_billed;
}

static void
check_start(const BillingFlow *flow, int64 subscription_id, TimestampTz wanted, TimestampTz found)
{
	if (wanted == found)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the period of subscription %lld that ends there starts at another instant", (long long) subscription_id),
			 errdetail("tenant_id=%lld subscription_id=%lld period_start=%s", (long long) flow->tenant_id,
					   (long long) subscription_id, timestamptz_to_str(found)),
			 errhint("Pass that start.")));
}

static void
check_is_next(const BillingFlow *flow, int64 subscription_id, TimestampTz end, bool has_next, TimestampTz due_at)
{
	if (has_next && due_at == end && end <= billing_clock_now())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("subscription %lld cannot be billed at %s", (long long) subscription_id, timestamptz_to_str(end)),
			 errdetail("tenant_id=%lld subscription_id=%lld due_at=%s", (long long) flow->tenant_id,
					   (long long) subscription_id, has_next ? timestamptz_to_str(due_at) : ""),
			 errhint("Boundaries are billed in their order and once they are reached; billing.preview_invoice() shows the next one.")));
}

/*
 * billing_preview_invoice
 *		What the next invoice of a subscription would be.
 */
Datum
billing_preview_invoice(PG_FUNCTION_ARGS)
{
	Previewed	p;
	bool		now;
	TimestampTz due_at;
	BillingAmount total;
	Datum		args[5];

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_require(fcinfo, 2, "effective");
	now = is_now(text_to_cstring(PG_GETARG_TEXT_PP(2)));

	billing_spi_begin();
	find_previewed(PG_GETARG_INT64(0), PG_GETARG_INT64(1), &p);
	if (!PG_ARGISNULL(3))
	{
		Interval	lifetime = {0};
		const Interval *cycle = p.cycle == (Datum) 0 ? &lifetime : DatumGetIntervalP(p.cycle);

		p.plan_id = billing_plan_find(text_to_cstring(PG_GETARG_TEXT_PP(3)), cycle, p.currency);
	}

	due_at = now ? Min(p.due_at, billing_clock_now()) : p.due_at;
	args[0] = PG_GETARG_DATUM(0);
	args[1] = PG_GETARG_DATUM(1);
	args[2] = Int64GetDatum(p.plan_id);
	args[3] = TimestampTzGetDatum(due_at);
	args[4] = BoolGetDatum(now);
	put_lines(fcinfo, args, &total);
	put_draws(fcinfo, PG_GETARG_INT64(0), due_at, &total);
	billing_spi_end();
	return (Datum) 0;
}

static bool
is_now(const char *effective)
{
	if (strcmp(effective, "now") == 0)
		return true;
	if (strcmp(effective, "period_end") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("effective cannot be \"%s\"", effective),
				 errdetail("effective=%s", effective),
				 errhint("It is now or period_end.")));
	return false;
}

static void
find_previewed(int64 tenant_id, int64 subscription_id, Previewed *p)
{
	static BillingQuery query = {
		.sql = "SELECT s.plan_id, p.cycle, s.currency, s.due_at, s.status"
		"  FROM billing.subscription s JOIN billing.plan p ON p.plan_id = s.plan_id"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(subscription_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("subscription", tenant_id, psprintf("%lld", (long long) subscription_id));

	p->plan_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	p->cycle = billing_spi_copy(0, 2, CurrentMemoryContext);
	p->currency = TextDatumGetCString(billing_spi_value(0, 3, &isnull));
	p->due_at = DatumGetTimestampTz(billing_spi_value(0, 4, &isnull));
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("subscription %lld has nothing more to bill", (long long) subscription_id),
				 errdetail("tenant_id=%lld subscription_id=%lld status=%s", (long long) tenant_id,
						   (long long) subscription_id, TextDatumGetCString(billing_spi_value(0, 5, &isnull))),
				 errhint("Its invoices are in billing.invoice.")));
}

static void
put_lines(FunctionCallInfo fcinfo, Datum *args, BillingAmount *total)
{
	static BillingQuery query = {
		.sql = "SELECT line, kind, price_code, description, quantity, unit_amount, amount, period_start, period_end"
		"  FROM billing.preview_lines($1, $2, $3, $4, $5)",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, BOOLOID},
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	uint64		count;
	bool		isnull;

	InitMaterializedSRF(fcinfo, 0);
	count = billing_spi_run(&query, args, NULL);
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	*total = *DatumGetBillingAmountP(billing_spi_value(count - 1, 7, &isnull));
}

/*
 * put_draws
 *		Behind the total what it would draw of the credit that there is then, and what would be
 *		due; no rows if it draws nothing.
 */
static void
put_draws(FunctionCallInfo fcinfo, int64 tenant_id, TimestampTz at, const BillingAmount *total)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		credited;
	int64		applied;

	if (total->units == 0)
		return;
	billing_wallet_book_draw(billing_wallet_book_look(tenant_id, at), tenant_id, 0, total, &credited, &applied);
	if (credited > 0)
		put_amount(result, "credited", -credited, total->currency);
	if (applied > 0)
		put_amount(result, "wallet_applied", -applied, total->currency);
	if (credited + applied > 0)
		put_amount(result, "amount_due", total->units - credited - applied, total->currency);
}

/* A row that is no line's. */
static void
put_amount(ReturnSetInfo *result, const char *kind, int64 units, const char *currency)
{
	Datum		values[PREVIEW_COLUMNS] = {0};
	bool		nulls[PREVIEW_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[1] = CStringGetTextDatum(kind);
	values[6] = PointerGetDatum(billing_amount_make(units, currency));
	nulls[1] = nulls[6] = false;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
