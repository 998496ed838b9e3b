/*-------------------------------------------------------------------------
 *
 * consume_row.c
 *	  Credit used, in the ordinary case, without a statement.
 *
 * The tenant is active, the consume_no has not been seen, and one grant covers the amount and has
 * something left then.  That is what the statements of consume.c do for it, row by row: they are
 * for everything else, and the tests compare what both write.
 *
 * The tenant's row is locked first, so that what is read then is what the one before left, and
 * nobody of ours changes it.  That holds the foreign keys, too: the tenant is locked, and the
 * grant that the history names is updated.  Whether the consume_no was seen, the unique index says when
 * the history is written.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "consume_row.h"
#include "id.h"
#include "row.h"

#define INSTANT "timestamp with time zone"
#define AMOUNT "billing.amount"

enum
{
	TENANT_ID, TENANT_STATUS
};

static const BillingRowColumn tenant_columns[] = {
	{"tenant_id", "bigint"}, {"status", "text"}
};

enum
{
	GRANT_TENANT_ID, GRANT_ID, GRANT_AMOUNT, GRANT_BALANCE, GRANT_SOURCE, GRANT_IS_PAID, GRANT_SCOPE, GRANT_PRIORITY,
	GRANT_EFFECTIVE_AT, GRANT_EXPIRES_AT, GRANT_RENEWS_AT
};

static const BillingRowColumn grant_columns[] = {
	{"tenant_id", "bigint"}, {"grant_id", "bigint"}, {"amount", AMOUNT}, {"balance", AMOUNT}, {"source", "text"}, {"is_paid", "boolean"},
	{"scope", "text"}, {"priority", "integer"}, {"effective_at", INSTANT}, {"expires_at", INSTANT}, {"renews_at", INSTANT},
	{"recurrence", "interval"}, {"rollover_min", AMOUNT}, {"rollover_max", AMOUNT}, {"renewals", "integer"}, {"voided_at", INSTANT},
	{"invoice_id", "bigint"}, {"payment_id", "bigint"}, {"reason", "text"}, {"created_at", INSTANT}, {"is_open", "boolean"}
};

enum
{
	ENTRY_TENANT_ID, ENTRY_ID, ENTRY_GRANT_ID, ENTRY_KIND, ENTRY_AMOUNT, ENTRY_AT, ENTRY_INVOICE_ID, ENTRY_CONSUME_NO, ENTRY_PART,
	ENTRY_REASON, ENTRY_REQUESTED, ENTRY_BALANCE, ENTRY_CREATED_AT, ENTRY_COLUMNS
};

static const BillingRowColumn entry_columns[] = {
	{"tenant_id", "bigint"}, {"entry_id", "bigint"}, {"grant_id", "bigint"}, {"kind", "text"}, {"amount", AMOUNT}, {"at", INSTANT},
	{"invoice_id", "bigint"}, {"consume_no", "text"}, {"part", "integer"}, {"reason", "text"}, {"requested", AMOUNT}, {"balance", AMOUNT},
	{"created_at", INSTANT}
};

enum
{
	TRANSACTION_TENANT_ID, TRANSACTION_ID, TRANSACTION_KIND, TRANSACTION_INVOICE_ID, TRANSACTION_PAYMENT_ID, TRANSACTION_AT,
	TRANSACTION_ACCOUNTS, TRANSACTION_AMOUNTS, TRANSACTION_COLUMNS
};

static const BillingRowColumn transaction_columns[] = {
	{"tenant_id", "bigint"}, {"transaction_id", "bigint"}, {"kind", "text"}, {"invoice_id", "bigint"}, {"payment_id", "bigint"}, {"at", INSTANT},
	{"accounts", "text[]"}, {"amounts", AMOUNT "[]"}
};

static BillingRowTable tenants = {
	.name = "tenant", .command = CMD_SELECT, .columns = tenant_columns, .ncolumns = lengthof(tenant_columns),
	.index = "tenant_pkey", .nkeys = 1, .keys = {TENANT_ID},
};
static BillingRowTable grants = {
	.name = "credit_grant", .command = CMD_UPDATE, .changed = GRANT_BALANCE, .columns = grant_columns, .ncolumns = lengthof(grant_columns),
	.index = "credit_grant_open", .is_partial = true, .nkeys = 1, .keys = {GRANT_TENANT_ID},
};
static BillingRowTable entries = {
	.name = "wallet_entry", .command = CMD_INSERT, .columns = entry_columns, .ncolumns = lengthof(entry_columns),
	.index = "wallet_entry_consume_no_is_unique", .nkeys = 3, .keys = {ENTRY_TENANT_ID, ENTRY_CONSUME_NO, ENTRY_PART},
};
static BillingRowTable transactions = {
	.name = "transaction", .command = CMD_INSERT, .columns = transaction_columns, .ncolumns = lengthof(transaction_columns),
};

/* A grant, as far as it says when it is used. */
typedef struct Grant
{
	int64		grant_id;
	int64		balance;		/* minor units */
	bool		is_paid;
	int32		priority;
	TimestampTz expires_at;		/* never: DT_NOEND */
} Grant;

static bool consume(void *arg);
static bool lock_active_tenant(int64 tenant_id);
static bool find_grant(const BillingConsumed *consumed, Grant *first, int128 *available);
static bool is_usable(const BillingConsumed *consumed);
static bool is_due(TimestampTz at);
static void read_grant(Grant *grant);
static bool comes_before(const Grant *a, const Grant *b);
static bool write_entry(const BillingConsumed *consumed, const Grant *grant, int64 entry_id);
static void post(const BillingConsumed *consumed, int64 transaction_id);

bool
billing_consume_row(BillingConsumed *consumed)
{
	static BillingRowTable *const tables[] = {&tenants, &grants, &entries, &transactions};

	return billing_row_run(tables, lengthof(tables), consume, consumed);
}

/*
 * consume
 *		False, and nothing done, if it is another case, which the history tells of a consume_no that was
 *		seen, and the grant if somebody changed it without the tenant's lock.
 */
static bool
consume(void *arg)
{
	BillingConsumed *consumed = arg;
	const BillingAmount *amount = consumed->amount;
	Grant		grant;
	int128		available;
	int64		id;

	if (!lock_active_tenant(consumed->tenant_id) || !find_grant(consumed, &grant, &available) ||
		grant.balance <= amount->units || available - amount->units > PG_INT64_MAX)
		return false;

	consumed->left = (int64) (available - amount->units);
	id = billing_id_next();
	if (!write_entry(consumed, &grant, id))
		return false;
	if (!billing_row_update(&grants, PointerGetDatum(billing_amount_make(grant.balance - amount->units, amount->currency))))
	{
		billing_row_undo(&entries);
		return false;
	}
	if (grant.is_paid)
		post(consumed, id);
	return true;
}

static bool
lock_active_tenant(int64 tenant_id)
{
	Datum		key = Int64GetDatum(tenant_id);
	bool		isnull;

	billing_row_find(&tenants, &key);
	return billing_row_next(&tenants) && billing_row_lock(&tenants) &&
		billing_text_equals(DatumGetTextPP(billing_row_value(&tenants, TENANT_STATUS, &isnull)), "active");
}

/*
 * find_grant
 *		Which grant is used first, and how much there is in all; false if there is none, something
 *		was consumed on credit, or time has brought what is not booked.
 */
static bool
find_grant(const BillingConsumed *consumed, Grant *first, int128 *available)
{
	Datum		key = Int64GetDatum(consumed->tenant_id);

	memset(first, 0, sizeof(*first));
	*available = 0;
	billing_row_find(&grants, &key);
	while (billing_row_next(&grants))
	{
		bool		isnull;
		Grant		grant;

		if (!is_usable(consumed))
			continue;
		if (is_due(consumed->at) ||
			billing_text_equals(DatumGetTextPP(billing_row_value(&grants, GRANT_SOURCE, &isnull)), "overdraft"))
			return false;
		read_grant(&grant);
		*available += grant.balance;
		if (first->grant_id != 0 && !comes_before(&grant, first))
			continue;
		*first = grant;
		billing_row_keep(&grants);
	}
	return first->grant_id != 0;
}

static bool
is_usable(const BillingConsumed *consumed)
{
	bool		isnull;

	return DatumGetTimestampTz(billing_row_value(&grants, GRANT_EFFECTIVE_AT, &isnull)) <= consumed->at &&
		billing_amount_same_currency(DatumGetBillingAmountP(billing_row_value(&grants, GRANT_AMOUNT, &isnull)), consumed->amount) &&
		!billing_text_equals(DatumGetTextPP(billing_row_value(&grants, GRANT_SCOPE, &isnull)), "invoice");
}

/* Has it expired, or renewed? */
static bool
is_due(TimestampTz at)
{
	bool		isnull;
	Datum		expires_at = billing_row_value(&grants, GRANT_EXPIRES_AT, &isnull);
	Datum		renews_at;

	if (!isnull && DatumGetTimestampTz(expires_at) <= at)
		return true;
	renews_at = billing_row_value(&grants, GRANT_RENEWS_AT, &isnull);
	return !isnull && DatumGetTimestampTz(renews_at) <= at;
}

static void
read_grant(Grant *grant)
{
	bool		isnull;
	Datum		expires_at = billing_row_value(&grants, GRANT_EXPIRES_AT, &isnull);

	grant->expires_at = isnull ? DT_NOEND : DatumGetTimestampTz(expires_at);
	grant->grant_id = DatumGetInt64(billing_row_value(&grants, GRANT_ID, &isnull));
	grant->balance = DatumGetBillingAmountP(billing_row_value(&grants, GRANT_BALANCE, &isnull))->units;
	grant->is_paid = DatumGetBool(billing_row_value(&grants, GRANT_IS_PAID, &isnull));
	grant->priority = DatumGetInt32(billing_row_value(&grants, GRANT_PRIORITY, &isnull));
}

/* Priority, soonest expiry, promotional before paid, oldest. */
static bool
comes_before(const Grant *a, const Grant *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->expires_at != b->expires_at)
		return a->expires_at < b->expires_at;
	if (a->is_paid != b->is_paid)
		return b->is_paid;
	return a->grant_id < b->grant_id;
}

static bool
write_entry(const BillingConsumed *consumed, const Grant *grant, int64 entry_id)
{
	const char *currency = consumed->amount->currency;
	Datum		values[ENTRY_COLUMNS] = {
		[ENTRY_TENANT_ID] = Int64GetDatum(consumed->tenant_id),
		[ENTRY_ID] = Int64GetDatum(entry_id),
		[ENTRY_GRANT_ID] = Int64GetDatum(grant->grant_id),
		[ENTRY_KIND] = CStringGetTextDatum("consume"),
		[ENTRY_AMOUNT] = PointerGetDatum(billing_amount_make(-consumed->amount->units, currency)),
		[ENTRY_AT] = TimestampTzGetDatum(consumed->at),
		[ENTRY_CONSUME_NO] = consumed->consume_no.value,
		[ENTRY_PART] = Int32GetDatum(1),
		[ENTRY_REASON] = consumed->reason.value,
		[ENTRY_REQUESTED] = PointerGetDatum(consumed->amount),
		[ENTRY_BALANCE] = PointerGetDatum(billing_amount_make(consumed->left, currency)),
		[ENTRY_CREATED_AT] = TimestampTzGetDatum(billing_clock_now()),
	};
	bool		nulls[ENTRY_COLUMNS] = {[ENTRY_INVOICE_ID] = true, [ENTRY_REASON] = consumed->reason.isnull};

	return billing_row_insert(&entries, values, nulls);
}

/* Money that is used is owed no more: it is earned. */
static void
post(const BillingConsumed *consumed, int64 transaction_id)
{
	int64		units = consumed->amount->units;
	const char *currency = consumed->amount->currency;
	Datum		accounts[] = {CStringGetTextDatum("customer_credit"), CStringGetTextDatum("revenue")};
	Datum		amounts[] = {
		PointerGetDatum(billing_amount_make(units, currency)), PointerGetDatum(billing_amount_make(-units, currency))
	};
	Datum		values[TRANSACTION_COLUMNS] = {
		[TRANSACTION_TENANT_ID] = Int64GetDatum(consumed->tenant_id),
		[TRANSACTION_ID] = Int64GetDatum(transaction_id),
		[TRANSACTION_KIND] = CStringGetTextDatum("consume"),
		[TRANSACTION_AT] = TimestampTzGetDatum(consumed->at),
		[TRANSACTION_ACCOUNTS] = PointerGetDatum(construct_array(accounts, lengthof(accounts), TEXTOID, -1, false, TYPALIGN_INT)),
		[TRANSACTION_AMOUNTS] = PointerGetDatum(construct_array(amounts, lengthof(amounts), billing_row_type(&entries, ENTRY_AMOUNT),
																sizeof(BillingAmount), false, TYPALIGN_DOUBLE)),
	};
	bool		nulls[TRANSACTION_COLUMNS] = {[TRANSACTION_INVOICE_ID] = true, [TRANSACTION_PAYMENT_ID] = true};

	(void) billing_row_insert(&transactions, values, nulls);
}
