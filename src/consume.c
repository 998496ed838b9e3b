/*-------------------------------------------------------------------------
 *
 * consume.c
 *	  Credit used for a service.
 *
 * Mostly one grant covers it, nothing has renewed or expired and the consume_no has not been
 * seen.  Then consume_row.c does it.  Where that may not, three statements do: one that locks the
 * tenant, one that reads its grants, one that writes.  The last looks again at the balance, which somebody
 * may have changed without the lock; if that or the key stands against it, it writes nothing, and the
 * whole is done by the book.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "consume_row.h"
#include "id.h"
#include "wallet.h"
#include "wallet_book.h"

BILLING_FUNCTION(billing_consume);
BILLING_FUNCTION(billing_use_service);
BILLING_FUNCTION(billing_use_first_free);

/* The arguments of consume and use_service. */
enum
{
	TENANT_ID, AMOUNT, REASON, CONSUME_NO
};

/* What a call has to do with. */
typedef struct Call
{
	FunctionCallInfo fcinfo;
	int64		tenant_id;
	const BillingAmount *amount;
	TimestampTz at;
	bool		is_frozen;
	bool		is_closed;
	char	   *frozen_at;
	bool		is_plain;		/* one grant covers it, and no time has passed */
	int64		grant_id;		/* the one used first */
	int64		balance;		/* what is left of it, minor units */
	bool		is_paid;
	int128		available;
	int64		left;			/* behind it, in all */
	bool		was_free;
} Call;

static void begin(Call *call, FunctionCallInfo fcinfo);
static bool consume_row(Call *call);
static void consume_by_statements(Call *call, bool may_be_free);
static void lock_tenant(Call *call);
static void read_wallet(Call *call);
static void look_at_state(Call *call);
static void look_at_grant(Call *call, uint64 row);
static bool write_plain(Call *call);
static bool find_known(Call *call, bool takes_free);
pg_noreturn static void report_key_reused(const Call *call);
static void check_state(const Call *call);
static void consume_by_book(Call *call, bool may_be_free);
static int64 read_limit(const Call *call);
static bool take_first_free(int64 tenant_id, TimestampTz at, const BillingAmount *requested, NullableDatum consume_no, NullableDatum reason);
pg_noreturn static void report_insufficient(const Call *call, int128 available, int64 limit);
static char *amount_text(int128 units, const char *currency);
static void read_state(Call *call);

/*
 * billing_consume
 *		Use credit, once for each consume_no; returns what is left to consume.
 */
Datum
billing_consume(PG_FUNCTION_ARGS)
{
	Call		call;

	begin(&call, fcinfo);
	if (!consume_row(&call))
		consume_by_statements(&call, false);
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(call.left, call.amount->currency));
}

/*
 * billing_use_service
 *		The gate: credit covers it, else it is the first time free, else YB008.
 */
Datum
billing_use_service(PG_FUNCTION_ARGS)
{
	Call		call;

	begin(&call, fcinfo);
	if (!consume_row(&call))
		consume_by_statements(&call, true);
	PG_RETURN_DATUM(CStringGetTextDatum(call.was_free ? "first_free" : "balance"));
}

static void
begin(Call *call, FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, AMOUNT, "amount");
	billing_flow_require(fcinfo, CONSUME_NO, "consume_no");
	billing_wallet_check_amount(PG_GETARG_BILLING_AMOUNT_P(AMOUNT));
	billing_wallet_check_key(PG_GETARG_DATUM(CONSUME_NO), "consume_no");

	memset(call, 0, sizeof(*call));
	call->fcinfo = fcinfo;
	call->tenant_id = PG_GETARG_INT64(TENANT_ID);
	call->amount = PG_GETARG_BILLING_AMOUNT_P(AMOUNT);
	call->at = billing_clock_now();
	billing_flow_check_caller(call->tenant_id);
}

/* The ordinary case. */
static bool
consume_row(Call *call)
{
	NullableDatum *given = call->fcinfo->args;
	BillingConsumed consumed = {
		.tenant_id = call->tenant_id, .amount = call->amount, .at = call->at, .consume_no = given[CONSUME_NO], .reason = given[REASON]
	};

	if (!billing_consume_row(&consumed))
		return false;
	call->left = consumed.left;
	return true;
}

/*
 * consume_by_statements
 *		The search_path is pinned for them here: as a clause of the functions it would be set, and
 *		found anew, twice in each call, which costs a tenth of it.  Without statements only functions
 *		of PostgreSQL's and ours run, which ask for no path.
 */
static void
consume_by_statements(Call *call, bool may_be_free)
{
	int			level = billing_spi_pin();

	billing_spi_begin();
	lock_tenant(call);
	read_wallet(call);
	if (!write_plain(call) && !find_known(call, may_be_free))
		consume_by_book(call, may_be_free);
	billing_spi_end();
	billing_spi_unset(level);
}

/*
 * lock_tenant
 *		By a statement of its own: the grants that it reads with the lock are those of before the wait.
 */
static void
lock_tenant(Call *call)
{
	static BillingQuery query = {
		.sql = "SELECT t.status, t.frozen_at FROM billing.tenant t WHERE t.tenant_id = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(call->tenant_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("tenant", call->tenant_id, NULL);
	look_at_state(call);
}

/* Look at what the tenant may consume, in the order of use. */
static void
read_wallet(Call *call)
{
	static BillingQuery query = {
		.sql = "SELECT g.grant_id, billing.minor_units(g.balance), g.is_paid, g.source = 'overdraft', least(g.expires_at, g.renews_at) <= $3"
		"  FROM billing.credit_grant g"
		" WHERE g.tenant_id = $1 AND g.is_open AND g.scope <> 'invoice' AND billing.currency(g.amount) = $2 AND g.effective_at <= $3"
		" ORDER BY g.source = 'overdraft', g.priority, g.expires_at, g.is_paid, g.grant_id",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {
		Int64GetDatum(call->tenant_id), CStringGetTextDatum(call->amount->currency), TimestampTzGetDatum(call->at)
	};
	uint64		count = billing_spi_run(&query, args, NULL);

	call->is_plain = !call->is_frozen && !call->is_closed;
	for (uint64 row = 0; row < count; row++)
		look_at_grant(call, row);
	call->is_plain = call->is_plain && call->balance >= call->amount->units &&
		call->available - call->amount->units <= PG_INT64_MAX;
}

/* Status and frozen_at are the first columns. */
static void
look_at_state(Call *call)
{
	bool		isnull;
	const text *status = DatumGetTextPP(billing_spi_value(0, 1, &isnull));
	Datum		frozen_at = billing_spi_value(0, 2, &isnull);

	call->is_closed = billing_text_equals(status, "closed");
	call->is_frozen = billing_text_equals(status, "frozen") && call->at >= DatumGetTimestampTz(frozen_at);
	if (call->is_frozen)
		call->frozen_at = pstrdup(timestamptz_to_str(DatumGetTimestampTz(frozen_at)));
}

static void
look_at_grant(Call *call, uint64 row)
{
	bool		isnull;
	int64		balance = DatumGetInt64(billing_spi_value(row, 2, &isnull));

	call->available += balance;
	if (call->grant_id == 0)
	{
		call->grant_id = DatumGetInt64(billing_spi_value(row, 1, &isnull));
		call->balance = balance;
		call->is_paid = DatumGetBool(billing_spi_value(row, 3, &isnull));
	}
	if (DatumGetBool(billing_spi_value(row, 4, &isnull)) ||
		(DatumGetBool(billing_spi_value(row, 5, &isnull)) && !isnull))
		call->is_plain = false;
}

/*
 * write_plain
 *		Take it all from the grant used first; false if nothing was written, because there is
 *		more to it or somebody came between.
 */
static bool
write_plain(Call *call)
{
	static BillingQuery query = {
		.sql = "WITH entry AS ("
		"  INSERT INTO billing.wallet_entry AS e (tenant_id, entry_id, grant_id, kind, amount, at, consume_no, reason, requested, balance)"
		"  SELECT g.tenant_id, $2, g.grant_id, 'consume', -a.amount, $8, $9, $10, a.amount, billing.from_minor_units($7, $4)"
		"    FROM billing.credit_grant g CROSS JOIN (SELECT billing.from_minor_units($5, $4) AS amount OFFSET 0) a"
		"   WHERE g.tenant_id = $1 AND g.grant_id = $3 AND billing.minor_units(g.balance) = $6"
		"      ON CONFLICT (tenant_id, consume_no, part) DO NOTHING RETURNING e.amount"
		"), changed AS ("
		"  UPDATE billing.credit_grant g SET balance = g.balance + e.amount FROM entry e WHERE g.tenant_id = $1 AND g.grant_id = $3"
		"), posted AS ("
		"  INSERT INTO billing.transaction (tenant_id, transaction_id, kind, at, accounts, amounts)"
		"  SELECT $1, $2, 'consume', $8, '{customer_credit,revenue}', ARRAY[-e.amount, e.amount] FROM entry e WHERE $11"
		") SELECT FROM entry",
		.expected = SPI_OK_SELECT,
		.nargs = 11,
		.argtypes = {INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, BOOLOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	NullableDatum *given = call->fcinfo->args;
	Datum		args[11];

	if (!call->is_plain)
		return false;
	call->left = (int64) (call->available - call->amount->units);
	args[0] = Int64GetDatum(call->tenant_id);
	args[1] = Int64GetDatum(billing_id_next());
	args[2] = Int64GetDatum(call->grant_id);
	args[3] = CStringGetTextDatum(call->amount->currency);
	args[4] = Int64GetDatum(call->amount->units);
	args[5] = Int64GetDatum(call->balance);
	args[6] = Int64GetDatum(call->left);
	args[7] = TimestampTzGetDatum(call->at);
	args[8] = given[CONSUME_NO].value;
	args[9] = given[REASON].value;
	args[10] = BoolGetDatum(call->is_paid);
	if (billing_spi_run(&query, args, given[REASON].isnull ? "         n " : NULL) == 0)
		return false;
	if (call->balance == call->amount->units)
		billing_wallet_lower_flags(billing_id_array_of(call->tenant_id));
	return true;
}

/*
 * find_known
 *		Whether the consume_no was seen, and then what it returned; YB006 if it was for
 *		something else.
 */
static bool
find_known(Call *call, bool takes_free)
{
	static BillingQuery query = {
		.sql = "SELECT e.kind = 'first_free', billing.minor_units(e.balance),"
		"    e.requested = billing.from_minor_units($4, $5) AND e.reason IS NOT DISTINCT FROM $3"
		"  FROM billing.wallet_entry e WHERE e.tenant_id = $1 AND e.consume_no = $2 AND e.part = 1",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID},
	};
	NullableDatum *given = call->fcinfo->args;
	Datum		args[] = {
		Int64GetDatum(call->tenant_id), given[CONSUME_NO].value, given[REASON].value, Int64GetDatum(call->amount->units),
		CStringGetTextDatum(call->amount->currency)
	};
	bool		isnull;

	if (billing_spi_run(&query, args, given[REASON].isnull ? "  n  " : NULL) == 0)
		return false;
	call->was_free = DatumGetBool(billing_spi_value(0, 1, &isnull));
	call->left = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	if (!DatumGetBool(billing_spi_value(0, 3, &isnull)) || (call->was_free && !takes_free))
		report_key_reused(call);
	return true;
}

static void
report_key_reused(const Call *call)
{
	billing_flow_key_reused("consumption", call->tenant_id, "consume_no", TextDatumGetCString(call->fcinfo->args[CONSUME_NO].value));
}

/* A retry of what was consumed before is answered also then. */
static void
check_state(const Call *call)
{
	if (call->is_frozen)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_TENANT_FROZEN),
				 errmsg("tenant %lld is frozen since %s", (long long) call->tenant_id, call->frozen_at),
				 errdetail("tenant_id=%lld status=frozen", (long long) call->tenant_id),
				 errhint("Its credit stays. Call billing.unfreeze_tenant() once it may go on.")));
	if (call->is_closed)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("tenant %lld is closed and consumes nothing", (long long) call->tenant_id),
				 errdetail("object=tenant id=%lld status=closed", (long long) call->tenant_id),
				 errhint("A closed tenant stays closed: create another one.")));
}

/*
 * consume_by_book
 *		Let time pass, then take from as many grants as it needs; on credit last, and behind
 *		the first time that is free.
 */
static void
consume_by_book(Call *call, bool may_be_free)
{
	NullableDatum *given = call->fcinfo->args;
	BillingConsumption asked = {.amount = *call->amount, .consume_no = given[CONSUME_NO].value, .reason = given[REASON]};
	BillingWalletBook *book;
	int128		left;

	check_state(call);
	PushActiveSnapshot(GetTransactionSnapshot());
	book = billing_wallet_book_open(billing_id_array_of(call->tenant_id), call->at);
	if (!billing_wallet_book_consume(book, call->tenant_id, &asked, &left))
	{
		call->was_free = may_be_free && take_first_free(call->tenant_id, call->at, call->amount, given[CONSUME_NO], given[REASON]);
		asked.limit = call->was_free ? 0 : read_limit(call);
		if (!call->was_free && !billing_wallet_book_consume(book, call->tenant_id, &asked, &left))
			report_insufficient(call, left + call->amount->units, asked.limit);
	}
	call->left = call->was_free ? 0 : (int64) left;
	billing_wallet_book_close(book);
	PopActiveSnapshot();
}

/* Setting credit_limit, as far as it is in this currency. */
static int64
read_limit(const Call *call)
{
	static BillingQuery query = {
		.sql = "SELECT billing.effective_setting('credit_limit', t.settings) FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(call->tenant_id)};
	BillingAmount *limit;
	char	   *value;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	value = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	if (strcmp(value, "0") == 0)
		return 0;
	limit = DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(value)));
	return billing_amount_same_currency(limit, call->amount) ? limit->units : 0;
}

/*
 * take_first_free
 *		Let it be the tenant's first time, which is free; false if it had that.
 */
static bool
take_first_free(int64 tenant_id, TimestampTz at, const BillingAmount *requested, NullableDatum consume_no, NullableDatum reason)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.wallet_entry (tenant_id, kind, amount, at, consume_no, reason, requested)"
		" SELECT t.tenant_id, 'first_free', billing.from_minor_units(0, coalesce($6, t.currency)), $2, $3, $4,"
		"        billing.from_minor_units($5, $6)"
		"   FROM billing.tenant t WHERE t.tenant_id = $1"
		"     ON CONFLICT (tenant_id) WHERE kind = 'first_free' DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 6,
		.argtypes = {INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(tenant_id), TimestampTzGetDatum(at), consume_no.value, reason.value, (Datum) 0, (Datum) 0
	};
	char		nulls[] = "      ";

	nulls[2] = consume_no.isnull ? 'n' : ' ';
	nulls[3] = reason.isnull ? 'n' : ' ';
	nulls[4] = nulls[5] = requested == NULL ? 'n' : ' ';
	if (requested != NULL)
	{
		args[4] = Int64GetDatum(requested->units);
		args[5] = CStringGetTextDatum(requested->currency);
	}
	return billing_spi_run(&query, args, nulls) > 0;
}

static void
report_insufficient(const Call *call, int128 available, int64 limit)
{
	const char *currency = call->amount->currency;
	char	   *missing = amount_text(call->amount->units - available - limit, currency);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_INSUFFICIENT_BALANCE),
			 errmsg("tenant %lld lacks %s", (long long) call->tenant_id, missing),
			 errdetail("tenant_id=%lld requested=%s balance=%s credit_limit=%s missing=%s", (long long) call->tenant_id,
					   amount_text(call->amount->units, currency), amount_text(available, currency), amount_text(limit, currency), missing),
			 errhint("Add to its credit by billing.top_up() or billing.grant_credit().")));
}

static char *
amount_text(int128 units, const char *currency)
{
	return DatumGetCString(DirectFunctionCall1(billing_amount_out, PointerGetDatum(billing_amount_make_checked(units, currency))));
}

/*
 * billing_use_first_free
 *		Take the first time that is free; false if the tenant had it.
 */
Datum
billing_use_first_free(PG_FUNCTION_ARGS)
{
	static const NullableDatum none = {.isnull = true};
	BillingFlow flow;
	Datum		result;
	Call		call = {.amount = NULL};

	if (billing_flow_begin(&flow, fcinfo, "use_first_free", 2, &result))
		return result;
	call.tenant_id = flow.tenant_id;
	call.at = billing_clock_now();
	read_state(&call);
	check_state(&call);
	result = BoolGetDatum(take_first_free(flow.tenant_id, call.at, NULL, none, fcinfo->args[1]));
	return billing_flow_end(&flow, result);
}

static void
read_state(Call *call)
{
	static BillingQuery query = {
		.sql = "SELECT t.status, t.frozen_at FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(call->tenant_id)};

	(void) billing_spi_run(&query, args, NULL);
	look_at_state(call);
}
