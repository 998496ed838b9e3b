/*-------------------------------------------------------------------------
 *
 * wallet.c
 *	  Credit of tenants: granted, topped up, taken back.
 *
 * A grant that is money of the tenant's is owed to it in the ledger; a promotional one is
 * no money, and the ledger knows of it when it pays for something.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "event.h"
#include "grant.h"
#include "id.h"
#include "period.h"
#include "wallet.h"
#include "wallet_book.h"

BILLING_FUNCTION(billing_top_up);
BILLING_FUNCTION(billing_grant_credit);
BILLING_FUNCTION(billing_void_grant);
BILLING_FUNCTION(billing_expire_credit);
BILLING_FUNCTION(billing_wallet_balance);

/* The arguments of top_up. */
enum
{
	TENANT_ID, AMOUNT, PAY_NO, METHOD, AT, REFERENCE, EXPIRES_AT
};

/* Those of grant_credit, behind tenant and amount. */
enum
{
	IS_PAID = AMOUNT + 1, PRIORITY, EFFECTIVE_AT, GRANT_EXPIRES_AT, SCOPE, RECURRENCE, ROLLOVER_MIN, ROLLOVER_MAX,
	REASON, REQUEST_ID
};

/* Of wallet_balance. */
enum
{
	BALANCE_AT = 2, BALANCE_SCOPE
};

static void insert_grant(int64 tenant_id, int64 grant_id, const BillingGrant *grant);
static TimestampTz begin_of(const BillingGrant *grant);
static Datum first_due(int64 tenant_id, const BillingGrant *grant);
static pg_tz *zone_of(int64 tenant_id);
static void check_top_up(FunctionCallInfo fcinfo);
static void check_top_up_time(FunctionCallInfo fcinfo);
static bool find_same(BillingFlow *flow, Datum *row);
static int64 insert_payment(BillingFlow *flow, TimestampTz at);
static void post(BillingFlow *flow, const char *kind, int64 transaction_id, int64 payment_id, TimestampTz at, const BillingAmount *amount,
				 const char *debit, const char *credit);
static void check_grant(FunctionCallInfo fcinfo);
static void check_grant_time(FunctionCallInfo fcinfo);
static void check_recurrence(const Interval *recurrence);
static void check_instant(FunctionCallInfo fcinfo, int arg, const char *name);
static const char *read_scope(FunctionCallInfo fcinfo, int arg);
static int64 rollover_of(FunctionCallInfo fcinfo, int arg, const char *name);
pg_noreturn static void report_argument(const char *name, const char *problem, const char *hint);
static Datum read_grant(BillingFlow *flow, int64 grant_id);
static Datum lock_grant(BillingFlow *flow, int64 grant_id);
static void check_may_void(BillingFlow *flow, int64 grant_id);
static void void_rest(BillingFlow *flow, int64 grant_id);

/*
 * billing_wallet_grant
 *		See wallet.h.
 */
int64
billing_wallet_grant(int64 tenant_id, const BillingGrant *grant)
{
	int64		grant_id = billing_id_next();

	insert_grant(tenant_id, grant_id, grant);
	billing_wallet_raise_flag(tenant_id);
	if (!grant->is_promotional && begin_of(grant) <= billing_clock_now())
		billing_wallet_book_settle(tenant_id);
	billing_event_emit(tenant_id, strcmp(grant->source, "top_up") == 0 ? "wallet.topped_up" : "wallet.granted", grant_id);
	return grant_id;
}

static void
insert_grant(int64 tenant_id, int64 grant_id, const BillingGrant *grant)
{
	static BillingQuery query = {
		.sql = "WITH made AS ("
		"  INSERT INTO billing.credit_grant AS g (tenant_id, grant_id, amount, balance, source, is_paid, scope, priority, effective_at,"
		"    expires_at, recurrence, rollover_min, rollover_max, renews_at, invoice_id, payment_id, reason)"
		"  SELECT $1, $2, a.amount, a.amount, $5, $6, $7, $8, $9, $10, $11, billing.from_minor_units($12, $4),"
		"    billing.from_minor_units($13, $4), $14, nullif($15, 0), nullif($16, 0), $17"
		"    FROM (SELECT billing.from_minor_units($3, $4) AS amount) a"
		"  RETURNING g.tenant_id, g.grant_id, g.amount, g.effective_at, g.reason"
		") INSERT INTO billing.wallet_entry (tenant_id, entry_id, grant_id, kind, amount, at, reason)"
		"  SELECT m.tenant_id, m.grant_id, m.grant_id, 'grant', m.amount, m.effective_at, m.reason FROM made m",
		.expected = SPI_OK_INSERT,
		.nargs = 17,
		.argtypes = {INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
			INTERVALOID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID},
	};
	Datum		renews_at = first_due(tenant_id, grant);
	Datum		args[] = {
		Int64GetDatum(tenant_id), Int64GetDatum(grant_id), Int64GetDatum(grant->amount.units),
		CStringGetTextDatum(grant->amount.currency), CStringGetTextDatum(grant->source), BoolGetDatum(!grant->is_promotional),
		CStringGetTextDatum(grant->scope == NULL ? "any" : grant->scope),
		Int32GetDatum(grant->priority == 0 ? BILLING_GRANT_PRIORITY : grant->priority),
		TimestampTzGetDatum(begin_of(grant)),
		TimestampTzGetDatum(grant->expires_at), PointerGetDatum(grant->recurrence), Int64GetDatum(grant->rollover_min),
		Int64GetDatum(grant->rollover_max), renews_at, Int64GetDatum(grant->invoice_id), Int64GetDatum(grant->payment_id), grant->reason
	};
	char		nulls[] = "                 ";

	nulls[9] = grant->expires_at == 0 ? 'n' : ' ';
	nulls[10] = grant->recurrence == NULL ? 'n' : ' ';
	nulls[11] = nulls[12] = nulls[10];
	nulls[13] = TIMESTAMP_IS_NOEND(DatumGetTimestampTz(renews_at)) ? 'n' : ' ';
	nulls[16] = grant->reason == (Datum) 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
}

static TimestampTz
begin_of(const BillingGrant *grant)
{
	return grant->effective_at == 0 ? billing_clock_now() : grant->effective_at;
}

/* When the book has to look at it: where money begins to count, or credit is granted for the second time; infinity if never. */
static Datum
first_due(int64 tenant_id, const BillingGrant *grant)
{
	BillingGrantState state = {
		.effective_at = begin_of(grant),
		.expires_at = grant->expires_at == 0 ? DT_NOEND : grant->expires_at
	};

	if (!grant->is_promotional)
		return TimestampTzGetDatum(begin_of(grant));
	if (grant->recurrence == NULL)
		return TimestampTzGetDatum(DT_NOEND);
	state.recurrence = *grant->recurrence;
	return TimestampTzGetDatum(billing_grant_renewal(&state, zone_of(tenant_id)));
}

static pg_tz *
zone_of(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT t.timezone FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return billing_period_find_zone(DatumGetTextPP(billing_spi_value(0, 1, &isnull)));
}

/*
 * billing_top_up
 *		Money received that no invoice asked for becomes credit; the pay_no makes a retry harmless.
 */
Datum
billing_top_up(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingGrant grant = {.source = "top_up"};
	TimestampTz at;
	int64		grant_id;
	Datum		result;

	check_top_up(fcinfo);
	(void) billing_flow_begin(&flow, fcinfo, "top_up", BILLING_NO_REQUEST, &result);
	if (find_same(&flow, &result))
		return billing_flow_end(&flow, result);
	check_top_up_time(fcinfo);
	billing_flow_check_open(&flow, "credit", "A closed tenant stays closed: create another one.");

	at = PG_ARGISNULL(AT) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(AT);
	grant.amount = *PG_GETARG_BILLING_AMOUNT_P(AMOUNT);
	grant.expires_at = PG_ARGISNULL(EXPIRES_AT) ? 0 : PG_GETARG_TIMESTAMPTZ(EXPIRES_AT);
	grant.payment_id = insert_payment(&flow, at);
	billing_event_emit(flow.tenant_id, "payment.succeeded", grant.payment_id);
	grant_id = billing_wallet_grant(flow.tenant_id, &grant);
	post(&flow, "top_up", grant_id, grant.payment_id, at, &grant.amount, "cash", "customer_credit");
	result = read_grant(&flow, grant_id);
	billing_flow_audit(&flow, "credit_grant", grant_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_top_up
 *		What can be refused before anything is read.
 */
static void
check_top_up(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, AMOUNT, "amount");
	billing_flow_require(fcinfo, PAY_NO, "pay_no");
	billing_flow_require(fcinfo, METHOD, "method");
	billing_wallet_check_amount(PG_GETARG_BILLING_AMOUNT_P(AMOUNT));
	billing_wallet_check_key(PG_GETARG_DATUM(PAY_NO), "pay_no");
	check_instant(fcinfo, AT, "at");
	check_instant(fcinfo, EXPIRES_AT, "expires_at");
}

/* What depends on the clock is asked of a first call only: a retry may come at any time. */
static void
check_top_up_time(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(AT) && PG_GETARG_TIMESTAMPTZ(AT) > billing_clock_now() + USECS_PER_DAY)
		report_argument("at", "is more than a day ahead", "Give it the instant at which the money came, or NULL for now.");
	if (!PG_ARGISNULL(EXPIRES_AT) && PG_GETARG_TIMESTAMPTZ(EXPIRES_AT) <= billing_clock_now())
		report_argument("expires_at", "is not ahead", "Give it an instant that is to come, or NULL for never.");
}

void
billing_wallet_check_amount(const BillingAmount *amount)
{
	if (amount->units <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the amount is not positive"),
				 errdetail("argument=amount units=%lld currency=%s", (long long) amount->units, amount->currency),
				 errhint("Give it more than nothing.")));
}

void
billing_wallet_check_key(Datum key, const char *name)
{
	const text *t = DatumGetTextPP(key);
	int			len = VARSIZE_ANY_EXHDR(t);

	if (len >= 1 && len <= 255)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s has %d bytes", name, len),
			 errdetail("argument=%s bytes=%d", name, len),
			 errhint("Give it from 1 to 255 bytes that name what happened where it happened.")));
}

/*
 * find_same
 *		The credit that came by the pay_no; YB006 if another payment bears it.
 *
 * When it came is compared only if the call states it.  When the credit ends is what was stated
 * then: void_grant leaves that as it was.
 */
static bool
find_same(BillingFlow *flow, Datum *row)
{
	static BillingQuery query = {
		.sql = "SELECT g, coalesce(p.amount = billing.from_minor_units($3, $4) AND p.method = $5 AND coalesce(p.received_at = $6, true)"
		"       AND p.reference IS NOT DISTINCT FROM $7 AND g.source = 'top_up' AND g.expires_at IS NOT DISTINCT FROM $8, false)"
		"  FROM billing.payment p"
		"  LEFT JOIN billing.credit_grant g ON g.tenant_id = p.tenant_id AND g.payment_id = p.payment_id"
		" WHERE p.tenant_id = $1 AND p.pay_no = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 8,
		.argtypes = {INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	const BillingAmount *amount = DatumGetBillingAmountP(given[AMOUNT].value);
	Datum		args[] = {
		given[TENANT_ID].value, given[PAY_NO].value, Int64GetDatum(amount->units), CStringGetTextDatum(amount->currency),
		given[METHOD].value, given[AT].value, given[REFERENCE].value, given[EXPIRES_AT].value
	};
	char		nulls[] = "        ";
	bool		isnull;

	for (int i = AT; i <= EXPIRES_AT; i++)
		nulls[i + 1] = given[i].isnull ? 'n' : ' ';
	if (billing_spi_run(&query, args, nulls) == 0)
		return false;
	if (!DatumGetBool(billing_spi_value(0, 2, &isnull)))
		billing_flow_key_reused("payment", flow->tenant_id, "pay_no", TextDatumGetCString(given[PAY_NO].value));
	*row = billing_spi_copy(0, 1, flow->caller);
	return true;
}

static int64
insert_payment(BillingFlow *flow, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.payment AS p (tenant_id, purpose, pay_no, status, amount, method, reference, received_at)"
		" VALUES ($1, 'top_up', $2, 'succeeded', billing.from_minor_units($3, $4), $5, $6, $7) RETURNING p.payment_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 7,
		.argtypes = {INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	const BillingAmount *amount = DatumGetBillingAmountP(given[AMOUNT].value);
	Datum		args[] = {
		given[TENANT_ID].value, given[PAY_NO].value, Int64GetDatum(amount->units), CStringGetTextDatum(amount->currency),
		given[METHOD].value, given[REFERENCE].value, TimestampTzGetDatum(at)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, given[REFERENCE].isnull ? "     n " : NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

void
billing_wallet_post_top_up(BillingFlow *flow, int64 grant_id, int64 payment_id, TimestampTz at, const BillingAmount *amount, int64 fee)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, transaction_id, kind, payment_id, at, accounts, amounts)"
		" SELECT $1, $2, 'top_up', $3, $4, '{cash,customer_credit,fees}', ARRAY[a.amount - a.fee, -a.amount, a.fee]"
		"   FROM (SELECT billing.from_minor_units($5, $6) AS amount, billing.from_minor_units($7, $6) AS fee) a",
		.expected = SPI_OK_INSERT,
		.nargs = 7,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(grant_id), Int64GetDatum(payment_id), TimestampTzGetDatum(at), Int64GetDatum(amount->units),
		CStringGetTextDatum(amount->currency), Int64GetDatum(fee)
	};

	if (fee == 0)
		post(flow, "top_up", grant_id, payment_id, at, amount, "cash", "customer_credit");
	else
		(void) billing_spi_run(&query, args, NULL);
}

int64
billing_wallet_take_back(BillingFlow *flow, int64 payment_id, int64 units)
{
	static BillingQuery query = {
		.sql = "SELECT g.grant_id FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.payment_id = $2 AND g.is_paid"
		"   AND billing.minor_units(g.balance) > 0 ORDER BY g.grant_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id)};
	int64		rest = units;
	bool		isnull;

	billing_wallet_book_settle(flow->tenant_id);
	while (rest > 0 && billing_spi_run(&query, args, NULL) > 0)
		rest -= billing_wallet_take_from(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), rest);
	return units - rest;
}

int64
billing_wallet_take_from(BillingFlow *flow, int64 grant_id, int64 units)
{
	static BillingQuery query = {
		.sql = "WITH taken AS (SELECT g.tenant_id, g.grant_id, billing.from_minor_units(least(billing.minor_units(g.balance), $3), billing.currency(g.balance)) AS amount,"
		"    greatest($5, g.effective_at) AS at"
		"   FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.grant_id = $2 AND billing.minor_units(g.balance) > 0"
		"), entry AS (INSERT INTO billing.wallet_entry (tenant_id, entry_id, grant_id, kind, amount, at)"
		"  SELECT t.tenant_id, $4, t.grant_id, 'void', -t.amount, t.at FROM taken t"
		") UPDATE billing.credit_grant g SET balance = g.balance - t.amount"
		"    FROM taken t WHERE g.tenant_id = t.tenant_id AND g.grant_id = t.grant_id RETURNING billing.minor_units(t.amount)",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(grant_id), Int64GetDatum(units), Int64GetDatum(billing_id_next()),
		TimestampTzGetDatum(billing_clock_now())
	};
	int64		taken;
	bool		isnull;

	billing_wallet_book_settle(flow->tenant_id);
	if (billing_spi_run(&query, args, NULL) == 0)
		return 0;
	taken = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	billing_wallet_lower_flags(billing_id_array_of(flow->tenant_id));
	billing_event_emit(flow->tenant_id, "wallet.voided", grant_id);
	return taken;
}

/* A movement of two accounts. */
static void
post(BillingFlow *flow, const char *kind, int64 transaction_id, int64 payment_id, TimestampTz at, const BillingAmount *amount,
	 const char *debit, const char *credit)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, transaction_id, kind, payment_id, at, accounts, amounts)"
		" SELECT $1, $2, $3, nullif($4, 0), $5, ARRAY[$8, $9], ARRAY[a.amount, -a.amount]"
		"   FROM (SELECT billing.from_minor_units($6, $7) AS amount) a",
		.expected = SPI_OK_INSERT,
		.nargs = 9,
		.argtypes = {INT8OID, INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(transaction_id), CStringGetTextDatum(kind), Int64GetDatum(payment_id),
		TimestampTzGetDatum(at), Int64GetDatum(amount->units), CStringGetTextDatum(amount->currency), CStringGetTextDatum(debit),
		CStringGetTextDatum(credit)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_grant_credit
 *		Credit that somebody decides on: promotional, or money that came before and elsewhere.
 */
Datum
billing_grant_credit(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingGrant grant = {.source = "grant"};
	int64		grant_id;
	Datum		result;

	check_grant(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "grant_credit", REQUEST_ID, &result))
		return result;
	check_grant_time(fcinfo);
	billing_flow_check_open(&flow, "credit", "A closed tenant stays closed: create another one.");

	grant.amount = *PG_GETARG_BILLING_AMOUNT_P(AMOUNT);
	grant.is_promotional = !PG_GETARG_BOOL(IS_PAID);
	grant.priority = PG_GETARG_INT32(PRIORITY);
	grant.effective_at = PG_ARGISNULL(EFFECTIVE_AT) ? 0 : PG_GETARG_TIMESTAMPTZ(EFFECTIVE_AT);
	grant.expires_at = PG_ARGISNULL(GRANT_EXPIRES_AT) ? 0 : PG_GETARG_TIMESTAMPTZ(GRANT_EXPIRES_AT);
	grant.scope = read_scope(fcinfo, SCOPE);
	if (!PG_ARGISNULL(RECURRENCE))
		grant.recurrence = PG_GETARG_INTERVAL_P(RECURRENCE);
	grant.rollover_min = rollover_of(fcinfo, ROLLOVER_MIN, "rollover_min");
	grant.rollover_max = rollover_of(fcinfo, ROLLOVER_MAX, "rollover_max");
	grant.reason = PG_ARGISNULL(REASON) ? (Datum) 0 : PG_GETARG_DATUM(REASON);

	grant_id = billing_wallet_grant(flow.tenant_id, &grant);
	if (!grant.is_promotional)
		post(&flow, "adjustment", grant_id, 0, billing_clock_now(), &grant.amount, "cash", "customer_credit");
	result = read_grant(&flow, grant_id);
	billing_flow_audit(&flow, "credit_grant", grant_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_grant
 *		What can be refused before anything is read.
 */
static void
check_grant(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, AMOUNT, "amount");
	billing_flow_require(fcinfo, IS_PAID, "is_paid");
	billing_flow_require(fcinfo, PRIORITY, "priority");
	billing_flow_require(fcinfo, SCOPE, "scope");
	billing_wallet_check_amount(PG_GETARG_BILLING_AMOUNT_P(AMOUNT));
	if (PG_GETARG_INT32(PRIORITY) < 1)
		report_argument("priority", "is not positive", "The least is used first; 50 is that of what no priority is said of.");
	check_instant(fcinfo, EFFECTIVE_AT, "effective_at");
	check_instant(fcinfo, GRANT_EXPIRES_AT, "expires_at");
	if (!PG_ARGISNULL(RECURRENCE))
		check_recurrence(PG_GETARG_INTERVAL_P(RECURRENCE));
	if (!PG_ARGISNULL(RECURRENCE) && PG_GETARG_BOOL(IS_PAID))
		report_argument("recurrence", "is given for credit that is money", "Credit that recurs is promotional: no money comes with it.");
}

/* Asked of a first call only, as that of top_up. */
static void
check_grant_time(FunctionCallInfo fcinfo)
{
	TimestampTz now = billing_clock_now();
	TimestampTz from = PG_ARGISNULL(EFFECTIVE_AT) ? now : PG_GETARG_TIMESTAMPTZ(EFFECTIVE_AT);

	if (from < now)
		report_argument("effective_at", "is past", "What counted then is told already: give it an instant that is to come, or NULL for now.");
	if (!PG_ARGISNULL(GRANT_EXPIRES_AT) && PG_GETARG_TIMESTAMPTZ(GRANT_EXPIRES_AT) <= from)
		report_argument("expires_at", "is not behind the instant from which it counts", "Give it a later one, or NULL for never.");
}

/* Each time it is granted again is an entry to be booked, by whoever touches the wallet next. */
static void
check_recurrence(const Interval *recurrence)
{
	billing_period_check_cycle(recurrence);
	if (recurrence->month == 0 && recurrence->day == 0 && recurrence->time < USECS_PER_HOUR)
		report_argument("recurrence", "is shorter than an hour", "Grant credit at most every hour.");
}

static void
check_instant(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (!PG_ARGISNULL(arg) && TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(arg)))
		report_argument(name, "is not finite", "Give it an instant, or NULL.");
}

/* The scope that the argument names, for which there is a text that stays. */
static const char *
read_scope(FunctionCallInfo fcinfo, int arg)
{
	static const char *const scopes[] = {"any", "invoice", "consume"};
	const char *scope = text_to_cstring(PG_GETARG_TEXT_PP(arg));

	for (int i = 0; i < lengthof(scopes); i++)
	{
		if (strcmp(scope, scopes[i]) == 0)
			return scopes[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("scope \"%.*s\" does not exist", BILLING_QUOTED(scope, strlen(scope))),
			 errdetail("argument=scope value=%.*s", BILLING_QUOTED(scope, strlen(scope))),
			 errhint("Scopes are: any, invoice, consume.")));
}

/* Minor units in the currency of the amount, 0 if it is not given. */
static int64
rollover_of(FunctionCallInfo fcinfo, int arg, const char *name)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(AMOUNT);
	const BillingAmount *rollover;

	if (PG_ARGISNULL(arg))
		return 0;
	if (PG_ARGISNULL(RECURRENCE))
		report_argument(name, "is given for credit that does not recur", "Give a recurrence, too.");
	rollover = PG_GETARG_BILLING_AMOUNT_P(arg);
	billing_amount_check_same_currency(amount, rollover);
	if (rollover->units < 0 ||
		(arg == ROLLOVER_MIN && (PG_ARGISNULL(ROLLOVER_MAX) || rollover->units > PG_GETARG_BILLING_AMOUNT_P(ROLLOVER_MAX)->units)))
		report_argument(name, "is out of order", "At least nothing rolls over, and the minimum is at most the maximum.");
	if (rollover->units > PG_INT64_MAX - amount->units)
		report_argument(name, "is out of range beside the amount", "What rolls over and what is granted again are one balance: let them be less.");
	return rollover->units;
}

static void
report_argument(const char *name, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" %s", name, problem),
			 errdetail("argument=%s", name),
			 errhint("%s", hint)));
}

static Datum
read_grant(BillingFlow *flow, int64 grant_id)
{
	static BillingQuery query = {
		.sql = "SELECT g FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.grant_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(grant_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("credit_grant", flow->tenant_id, psprintf("%lld", (long long) grant_id));
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_void_grant
 *		Take back what is left of credit; voiding what is void changes nothing.
 *
 * It ends at this instant as one that expires, and still states when it was to.  Money that it was is given back, or never was
 * there: it leaves the cash as it came.  What a document owes to the tenant stays.
 */
Datum
billing_void_grant(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		before;
	Datum		result;
	int64		grant_id;

	if (billing_flow_begin(&flow, fcinfo, "void_grant", 3, &result))
		return result;
	billing_flow_require(fcinfo, 1, "grant_id");
	grant_id = PG_GETARG_INT64(1);

	before = lock_grant(&flow, grant_id);
	if (before == (Datum) 0)
		return billing_flow_end(&flow, read_grant(&flow, grant_id));
	check_may_void(&flow, grant_id);
	void_rest(&flow, grant_id);
	result = read_grant(&flow, grant_id);
	billing_flow_audit(&flow, "credit_grant", grant_id, before, result);
	billing_event_emit(flow.tenant_id, "wallet.voided", grant_id);
	return billing_flow_end(&flow, result);
}

/* Its row, with what time had brought booked; (Datum) 0 if it is void. */
static Datum
lock_grant(BillingFlow *flow, int64 grant_id)
{
	static BillingQuery query = {
		.sql = "SELECT g FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.grant_id = $2 AND g.voided_at IS NULL",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(grant_id)};

	(void) read_grant(flow, grant_id);
	billing_wallet_book_settle(flow->tenant_id);
	return billing_spi_run(&query, args, NULL) == 0 ? (Datum) 0 : billing_spi_copy(0, 1, flow->caller);
}

static void
check_may_void(BillingFlow *flow, int64 grant_id)
{
	static BillingQuery query = {
		.sql = "SELECT g.source FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.grant_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(grant_id)};
	bool		isnull;
	const char *source;

	(void) billing_spi_run(&query, args, NULL);
	source = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	if (strcmp(source, "top_up") == 0 || strcmp(source, "grant") == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("credit %lld comes from a document and cannot be voided", (long long) grant_id),
			 errdetail("object=credit_grant id=%lld source=%s", (long long) grant_id, source),
			 errhint("What top_up() and grant_credit() gave is taken back so.")));
}

static void
void_rest(BillingFlow *flow, int64 grant_id)
{
	static BillingQuery query = {
		.sql = "WITH entry AS ("
		"  INSERT INTO billing.wallet_entry (tenant_id, entry_id, grant_id, kind, amount, at, reason)"
		"  SELECT g.tenant_id, $3, g.grant_id, 'void', -g.balance, greatest($4, g.effective_at), $5"
		"    FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.grant_id = $2 AND billing.minor_units(g.balance) > 0"
		"), posted AS ("
		"  INSERT INTO billing.transaction (tenant_id, transaction_id, kind, payment_id, at, accounts, amounts)"
		"  SELECT g.tenant_id, $3, 'adjustment', g.payment_id, $4, '{customer_credit,cash}', ARRAY[g.balance, -g.balance]"
		"    FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.grant_id = $2 AND g.is_paid AND billing.minor_units(g.balance) > 0"
		") UPDATE billing.credit_grant g SET balance = g.balance - g.balance, voided_at = $4, renews_at = NULL"
		"   WHERE g.tenant_id = $1 AND g.grant_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum reason = flow->fcinfo->args[2];
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(grant_id), Int64GetDatum(billing_id_next()),
		TimestampTzGetDatum(billing_clock_now()), reason.value
	};

	(void) billing_spi_run(&query, args, reason.isnull ? "    n" : NULL);
	billing_wallet_lower_flags(billing_id_array_of(flow->tenant_id));
}

/*
 * billing_expire_credit
 *		Book what renewed or expired meanwhile, of the tenants nobody has locked; returns how many.
 */
Datum
billing_expire_credit(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT t.tenant_id FROM (SELECT DISTINCT d.tenant_id FROM ("
		"    SELECT g.tenant_id FROM billing.credit_grant g WHERE g.is_open AND least(g.expires_at, g.renews_at) <= $1"
		"     ORDER BY least(g.expires_at, g.renews_at) LIMIT $2) d) d"
		"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id ORDER BY t.tenant_id FOR NO KEY UPDATE OF t SKIP LOCKED",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TIMESTAMPTZOID, INT4OID},
	};
	TimestampTz at = billing_clock_now();
	Datum		args[] = {TimestampTzGetDatum(at), PG_GETARG_DATUM(0)};
	Datum	   *ids;
	uint64		count;
	bool		isnull;

	billing_flow_require(fcinfo, 0, "batch");
	if (PG_GETARG_INT32(0) < 1)
		report_argument("batch", "is not positive", "It is how many grants one call looks at; 10000 is the default.");
	billing_spi_begin();
	count = billing_spi_run(&query, args, NULL);
	ids = palloc((count + 1) * sizeof(Datum));
	for (uint64 i = 0; i < count; i++)
		ids[i] = billing_spi_value(i, 1, &isnull);
	if (count > 0)
	{
		Datum		tenant_ids = billing_id_array(ids, count);
		BillingWalletBook *book;

		billing_flow_check_snapshot(tenant_ids);
		PushActiveSnapshot(GetTransactionSnapshot());
		book = billing_wallet_book_open(tenant_ids, at);
		billing_wallet_book_close(book);
		PopActiveSnapshot();
	}
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/*
 * billing_wallet_balance
 *		What is left in a wallet: at present by the grants, at another instant by their history.
 */
Datum
billing_wallet_balance(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT billing.wallet_sum(t.tenant_id, billing.currency(billing.from_minor_units(0, coalesce($2, t.currency))), $3, $4)"
		"  FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[4];
	char		nulls[] = "    ";
	Datum		balance;

	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	if (!PG_ARGISNULL(BALANCE_SCOPE))
		(void) read_scope(fcinfo, BALANCE_SCOPE);
	check_instant(fcinfo, BALANCE_AT, "at");
	for (int i = 0; i < lengthof(args); i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	billing_spi_begin();
	if (billing_spi_run(&query, args, nulls) == 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(0), NULL);
	balance = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	PG_RETURN_DATUM(balance);
}
