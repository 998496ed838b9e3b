/*-------------------------------------------------------------------------
 *
 * wallet_book.c
 *	  The wallets of a set of tenants: read once, drawn from in C, written once.
 *
 * The order in which grants are used is one query's.  What is written is a handful of set
 * statements, however many invoices drew, and none where nobody has credit.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "event.h"
#include "id.h"
#include "period.h"
#include "wallet_book.h"

#define ENTRY_COLUMNS \
	"tenant_id, entry_id, grant_id, kind, amount, at, invoice_id, consume_no, part, reason, requested, balance"
#define BALANCE_COLUMNS \
	"tenant_id, grant_id, balance, renewals, renews_at"
#define TRANSACTION_COLUMNS \
	"tenant_id, transaction_id, kind, invoice_id, at, accounts, amounts"

/* A row of the history: what is not stated is NULL. */
typedef struct Entry
{
	int64		entry_id;		/* 0: the next */
	const char *kind;
	int64		units;
	TimestampTz at;
	int64		invoice_id;
	Datum		consume_no;
	int			part;			/* 0: the only one */
	NullableDatum reason;
	const BillingAmount *requested;
	const BillingAmount *balance;
} Entry;

/* A grant in whose time something happened. */
typedef struct Passing
{
	BillingWalletBook *book;
	BillingWalletGrant *grant;
} Passing;

static void read_grants(BillingWalletBook *book, Datum tenant_ids);
static void read_grant(BillingWalletBook *book, uint64 row, BillingWalletGrant *grant);
static int64 read_units(uint64 row, int column);
static TimestampTz read_instant(uint64 row, int column);
static void settle_overdrafts(BillingWalletBook *book);
static BillingWalletGrant *next_money(BillingWalletBook *book, const BillingWalletGrant *overdraft);
static void settle(BillingWalletBook *book, BillingWalletGrant *overdraft, BillingWalletGrant *money);
static void pass_time(BillingWalletBook *book, BillingWalletGrant *grant);
static void put_step(void *to, const char *kind, TimestampTz at, int64 units);
static int64 put_entry(BillingWalletBook *book, BillingWalletGrant *grant, const Entry *entry);
static void put_id(BillingStore *store, int64 id);
static void put_optional_amount(BillingStore *store, const BillingAmount *amount);
static void put_transaction(BillingWalletBook *book, int64 tenant_id, int64 transaction_id, const char *kind, int64 invoice_id,
							TimestampTz at, const char *currency, int64 paid, int64 promotional, const char *credit);
static int	first_of(const BillingWalletBook *book, int64 tenant_id);
static bool is_usable(const BillingWalletBook *book, const BillingWalletGrant *grant, const char *currency);
static int64 draw_some(BillingWalletBook *book, int64 tenant_id, int64 invoice_id, const BillingAmount *due, int64 units,
					   bool notes, int64 *promotional);
static int64 find_overdraft(BillingWalletBook *book, int64 tenant_id, const char *currency);
static void take(BillingWalletBook *book, const BillingConsumption *asked, int64 *shares, const BillingAmount *left);
static void put_balances(BillingWalletBook *book);
static void write_store(BillingQuery *query, BillingStore *store);
static void lower_flags(BillingWalletBook *book);
static void tell(BillingWalletBook *book, const char *type, bool (*is_told) (const BillingWalletGrant *));
static bool was_renewed(const BillingWalletGrant *grant);
static bool has_expired(const BillingWalletGrant *grant);

/*
 * billing_wallet_book_open
 *		See wallet_book.h.
 */
BillingWalletBook *
billing_wallet_book_open(Datum tenant_ids, TimestampTz at)
{
	BillingWalletBook *book = palloc0(sizeof(BillingWalletBook));
	TupleDesc	tupdesc;

	book->at = Max(at, billing_clock_now());
	book->entries = billing_store_make_like("made_entry", "wallet_entry", ENTRY_COLUMNS);
	book->balances = billing_store_make_like("made_balance", "credit_grant", BALANCE_COLUMNS);
	book->transactions = billing_store_make_like("made_draw", "transaction", TRANSACTION_COLUMNS);
	tupdesc = book->transactions->tupdesc;
	book->amount_type = get_element_type(TupleDescAttr(tupdesc, tupdesc->natts - 1)->atttypid);
	read_grants(book, tenant_ids);
	return book;
}

/* Nothing is booked where there is nothing to write to. */
BillingWalletBook *
billing_wallet_book_look(int64 tenant_id, TimestampTz at)
{
	BillingWalletBook *book = palloc0(sizeof(BillingWalletBook));

	book->at = Max(at, billing_clock_now());
	read_grants(book, billing_id_array_of(tenant_id));
	return book;
}

/*
 * read_grants
 *		The grants that are open, in the order in which they are used, with the time that passed
 *		since they were touched last.
 */
static void
read_grants(BillingWalletBook *book, Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "SELECT g.tenant_id, g.grant_id, billing.currency(g.amount), g.is_paid, g.source = 'overdraft',"
		"    g.source = 'credit_note' AND g.scope = 'invoice', g.scope <> 'consume' AND g.source <> 'overdraft', g.scope <> 'invoice',"
		"    billing.minor_units(g.amount), billing.minor_units(g.balance), billing.minor_units(g.rollover_min),"
		"    billing.minor_units(g.rollover_max), g.effective_at, g.expires_at, g.renews_at, g.renewals, g.recurrence, t.timezone"
		"  FROM billing.credit_grant g JOIN billing.tenant t ON t.tenant_id = g.tenant_id"
		" WHERE g.tenant_id = ANY ($1) AND g.is_open"
		" ORDER BY g.tenant_id, g.source = 'overdraft', g.priority, g.expires_at, g.is_paid, g.grant_id",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	book->count = billing_spi_run_snapshot(&query, &tenant_ids, NULL);
	book->grants = palloc0(Max(book->count, 1) * sizeof(BillingWalletGrant));
	for (int i = 0; i < book->count; i++)
		read_grant(book, i, &book->grants[i]);
	settle_overdrafts(book);
	for (int i = 0; i < book->count; i++)
		pass_time(book, &book->grants[i]);
}

static void
read_grant(BillingWalletBook *book, uint64 row, BillingWalletGrant *grant)
{
	BillingGrantState *state = &grant->state;
	bool		isnull;
	Datum		recurrence;

	grant->tenant_id = DatumGetInt64(billing_spi_value(row, 1, &isnull));
	grant->grant_id = DatumGetInt64(billing_spi_value(row, 2, &isnull));
	text_to_cstring_buffer(DatumGetTextPP(billing_spi_value(row, 3, &isnull)), grant->currency, sizeof(grant->currency));
	grant->state.is_paid = DatumGetBool(billing_spi_value(row, 4, &isnull));
	grant->is_overdraft = DatumGetBool(billing_spi_value(row, 5, &isnull));
	grant->is_note = DatumGetBool(billing_spi_value(row, 6, &isnull));
	grant->is_for_invoices = DatumGetBool(billing_spi_value(row, 7, &isnull));
	grant->is_for_consume = DatumGetBool(billing_spi_value(row, 8, &isnull));
	state->amount = read_units(row, 9);
	state->balance = read_units(row, 10);
	state->rollover_min = read_units(row, 11);
	state->rollover_max = read_units(row, 12);
	state->effective_at = read_instant(row, 13);
	state->expires_at = read_instant(row, 14);
	state->renews_at = read_instant(row, 15);
	state->renewals = DatumGetInt32(billing_spi_value(row, 16, &isnull));
	recurrence = billing_spi_value(row, 17, &isnull);
	if (!isnull)
		state->recurrence = *DatumGetIntervalP(recurrence);
	if (state->expires_at <= book->at || state->renews_at <= book->at)
		grant->zone = billing_period_find_zone(DatumGetTextPP(billing_spi_value(row, 18, &isnull)));
}

/* NULL: nothing. */
static int64
read_units(uint64 row, int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* NULL: never. */
static TimestampTz
read_instant(uint64 row, int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(row, column, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/*
 * settle_overdrafts
 *		Money pays first what was consumed on credit, where it begins to count, the earliest first.
 *
 * The ledger knows of no change: what the tenant is owed is the sum of both.  An overdraft is as
 * it was at that instant: who consumes on credit books time first.
 */
static void
settle_overdrafts(BillingWalletBook *book)
{
	for (int i = 0; i < book->count; i++)
	{
		BillingWalletGrant *overdraft = &book->grants[i];
		BillingWalletGrant *money;

		while (overdraft->is_overdraft && overdraft->state.balance < 0 && (money = next_money(book, overdraft)) != NULL)
			settle(book, overdraft, money);
	}
}

/* What begins to count earliest, of that which has not been asked to settle. */
static BillingWalletGrant *
next_money(BillingWalletBook *book, const BillingWalletGrant *overdraft)
{
	BillingWalletGrant *next = NULL;

	for (int i = first_of(book, overdraft->tenant_id); i < book->count && book->grants[i].tenant_id == overdraft->tenant_id; i++)
	{
		BillingWalletGrant *grant = &book->grants[i];

		if (!grant->state.is_paid || grant->state.settles > 0 || grant->state.balance == 0 || grant->state.renews_at > book->at ||
			strcmp(grant->currency, overdraft->currency) != 0)
			continue;
		if (next == NULL || grant->state.renews_at < next->state.renews_at ||
			(grant->state.renews_at == next->state.renews_at && grant->grant_id < next->grant_id))
			next = grant;
	}
	return next;
}

static void
settle(BillingWalletBook *book, BillingWalletGrant *overdraft, BillingWalletGrant *money)
{
	int64		units = Min(-overdraft->state.balance, money->state.balance);
	Entry		entry = {.kind = "settle", .units = units, .at = money->state.renews_at};

	money->state.settles = units;
	(void) put_entry(book, overdraft, &entry);
	overdraft->state.balance += units;
	overdraft->is_changed = true;
}

static void
pass_time(BillingWalletBook *book, BillingWalletGrant *grant)
{
	Passing		passing = {book, grant};

	if (grant->zone == NULL)
		return;
	billing_grant_advance(&grant->state, book->at, grant->zone, put_step, &passing);
	grant->is_changed = true;
}

/* Money that expires is earned. */
static void
put_step(void *to, const char *kind, TimestampTz at, int64 units)
{
	Passing    *passing = to;
	Entry		entry = {.kind = kind, .units = units, .at = at};
	int64		entry_id = put_entry(passing->book, passing->grant, &entry);

	passing->grant->is_renewed |= strcmp(kind, "renew") == 0;
	passing->grant->is_expired |= strcmp(kind, "expire") == 0;
	if (passing->grant->state.is_paid && strcmp(kind, "expire") == 0 && passing->book->transactions != NULL)
		put_transaction(passing->book, passing->grant->tenant_id, entry_id, kind, 0, at, passing->grant->currency, -units, 0, "revenue");
}

static int64
put_entry(BillingWalletBook *book, BillingWalletGrant *grant, const Entry *entry)
{
	BillingStore *store = book->entries;
	int64		entry_id;

	if (store == NULL)
		return 0;
	entry_id = entry->entry_id == 0 ? billing_id_next() : entry->entry_id;
	billing_store_put(store, Int64GetDatum(grant->tenant_id), false);
	billing_store_put(store, Int64GetDatum(entry_id), false);
	billing_store_put(store, Int64GetDatum(grant->grant_id), false);
	billing_store_put(store, CStringGetTextDatum(entry->kind), false);
	billing_store_put(store, PointerGetDatum(billing_amount_make(entry->units, grant->currency)), false);
	billing_store_put(store, TimestampTzGetDatum(entry->at), false);
	put_id(store, entry->invoice_id);
	billing_store_put(store, entry->consume_no, entry->consume_no == (Datum) 0);
	billing_store_put(store, Int32GetDatum(Max(entry->part, 1)), false);
	billing_store_put(store, entry->reason.value, entry->reason.value == (Datum) 0 || entry->reason.isnull);
	put_optional_amount(store, entry->requested);
	put_optional_amount(store, entry->balance);
	return entry_id;
}

/* NULL: 0. */
static void
put_id(BillingStore *store, int64 id)
{
	billing_store_put(store, Int64GetDatum(id), id == 0);
}

static void
put_optional_amount(BillingStore *store, const BillingAmount *amount)
{
	billing_store_put(store, PointerGetDatum(amount), amount == NULL);
}

/*
 * put_transaction
 *		What the ledger says of credit that was used: money is owed to the customer no more,
 *		a promotion is revenue that does not come.
 */
static void
put_transaction(BillingWalletBook *book, int64 tenant_id, int64 transaction_id, const char *kind, int64 invoice_id,
				TimestampTz at, const char *currency, int64 paid, int64 promotional, const char *credit)
{
	BillingStore *store = book->transactions;
	Datum		accounts[] = {CStringGetTextDatum("customer_credit"), CStringGetTextDatum("revenue"), CStringGetTextDatum(credit)};
	Datum		amounts[] = {
		PointerGetDatum(billing_amount_make(paid, currency)), PointerGetDatum(billing_amount_make(promotional, currency)),
		PointerGetDatum(billing_amount_make_checked(-(int128) paid - promotional, currency))
	};

	billing_store_put(store, Int64GetDatum(tenant_id), false);
	billing_store_put(store, Int64GetDatum(transaction_id), false);
	billing_store_put(store, CStringGetTextDatum(kind), false);
	put_id(store, invoice_id);
	billing_store_put(store, TimestampTzGetDatum(at), false);
	billing_store_put(store, PointerGetDatum(construct_array(accounts, lengthof(accounts), TEXTOID, -1, false, TYPALIGN_INT)), false);
	billing_store_put(store, PointerGetDatum(construct_array(amounts, lengthof(amounts), book->amount_type,
															 sizeof(BillingAmount), false, TYPALIGN_DOUBLE)), false);
}

void
billing_wallet_book_draw(BillingWalletBook *book, int64 tenant_id, int64 invoice_id, const BillingAmount *due,
						 int64 *credited, int64 *applied)
{
	int64		promotional = 0;
	int64		drawn;

	*credited = draw_some(book, tenant_id, invoice_id, due, due->units, true, &promotional);
	*applied = draw_some(book, tenant_id, invoice_id, due, due->units - *credited, false, &promotional);
	drawn = *credited + *applied;
	if (drawn > 0 && book->transactions != NULL)
		put_transaction(book, tenant_id, billing_id_next(), "draw", invoice_id, book->at, due->currency, drawn - promotional,
						promotional, "receivable");
}

/* Draw up to so many units, of credit notes or of the others; returns how many. */
static int64
draw_some(BillingWalletBook *book, int64 tenant_id, int64 invoice_id, const BillingAmount *due, int64 units, bool notes,
		  int64 *promotional)
{
	int64		drawn = 0;

	for (int i = first_of(book, tenant_id); i < book->count && book->grants[i].tenant_id == tenant_id && drawn < units; i++)
	{
		BillingWalletGrant *grant = &book->grants[i];
		Entry		entry = {.kind = "draw", .at = book->at, .invoice_id = invoice_id};
		int64		part = Min(grant->state.balance, units - drawn);

		if (!grant->is_for_invoices || grant->is_note != notes || part <= 0 || !is_usable(book, grant, due->currency))
			continue;
		entry.units = -part;
		(void) put_entry(book, grant, &entry);
		grant->state.balance -= part;
		grant->is_changed = true;
		drawn += part;
		if (!grant->state.is_paid)
			*promotional += part;
	}
	return drawn;
}

/* The first grant of a tenant, or where it would be. */
static int
first_of(const BillingWalletBook *book, int64 tenant_id)
{
	int			low = 0;
	int			high = book->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (book->grants[middle].tenant_id < tenant_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
is_usable(const BillingWalletBook *book, const BillingWalletGrant *grant, const char *currency)
{
	return grant->state.effective_at <= book->at && strcmp(grant->currency, currency) == 0;
}

int128
billing_wallet_book_available(const BillingWalletBook *book, const char *currency)
{
	int128		available = 0;

	for (int i = 0; i < book->count; i++)
	{
		if (book->grants[i].is_for_consume && is_usable(book, &book->grants[i], currency))
			available += book->grants[i].state.balance;
	}
	return available;
}

bool
billing_wallet_book_consume(BillingWalletBook *book, int64 tenant_id, const BillingConsumption *asked, int128 *left)
{
	const char *currency = asked->amount.currency;
	int64		rest = asked->amount.units;
	int64	   *shares;

	*left = billing_wallet_book_available(book, currency) - rest;
	if (*left < -(int128) asked->limit)
		return false;
	if (*left < 0)
		(void) find_overdraft(book, tenant_id, currency);

	shares = palloc0(book->count * sizeof(int64));
	for (int i = 0; i < book->count && rest > 0; i++)
	{
		const BillingWalletGrant *grant = &book->grants[i];

		if (!grant->is_for_consume || !is_usable(book, grant, currency))
			continue;
		shares[i] = grant->is_overdraft ? rest : Min(grant->state.balance, rest);
		rest -= shares[i];
	}
	take(book, asked, shares, billing_amount_make_checked(*left, currency));
	return true;
}

/*
 * find_overdraft
 *		See to it that there is a grant that holds what is consumed on credit, behind all others.
 */
static int64
find_overdraft(BillingWalletBook *book, int64 tenant_id, const char *currency)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.credit_grant AS g (tenant_id, amount, balance, source, scope)"
		" SELECT $1, z.nothing, z.nothing, 'overdraft', 'consume' FROM (SELECT billing.from_minor_units(0, $2) AS nothing) z"
		" ON CONFLICT (tenant_id, billing.currency(amount)) WHERE source = 'overdraft'"
		" DO UPDATE SET balance = EXCLUDED.balance WHERE false",
		.expected = SPI_OK_INSERT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	static BillingQuery find = {
		.sql = "SELECT g.grant_id FROM billing.credit_grant g WHERE g.tenant_id = $1 AND g.source = 'overdraft'"
		"   AND billing.currency(g.amount) = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), CStringGetTextDatum(currency)};
	BillingWalletGrant *grant;
	bool		isnull;

	for (int i = 0; i < book->count; i++)
	{
		if (book->grants[i].is_overdraft && strcmp(book->grants[i].currency, currency) == 0)
			return book->grants[i].grant_id;
	}
	(void) billing_spi_run(&query, args, NULL);
	billing_wallet_raise_flag(tenant_id);
	(void) billing_spi_run(&find, args, NULL);
	book->grants = repalloc(book->grants, (book->count + 1) * sizeof(BillingWalletGrant));
	grant = &book->grants[book->count++];
	memset(grant, 0, sizeof(*grant));
	grant->tenant_id = tenant_id;
	grant->grant_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	strlcpy(grant->currency, currency, sizeof(grant->currency));
	grant->state.is_paid = grant->is_overdraft = grant->is_for_consume = true;
	grant->state.effective_at = DT_NOBEGIN;
	grant->state.expires_at = grant->state.renews_at = DT_NOEND;
	return grant->grant_id;
}

/* Take the shares of the grants: what they were asked for is with the first. */
static void
take(BillingWalletBook *book, const BillingConsumption *asked, int64 *shares, const BillingAmount *left)
{
	int64		first_id = billing_id_next();
	int64		paid = 0;
	int			parts = 0;

	for (int i = 0; i < book->count; i++)
	{
		BillingWalletGrant *grant = &book->grants[i];
		Entry		entry = {
			.kind = "consume", .units = -shares[i], .at = book->at, .consume_no = asked->consume_no, .part = parts + 1,
			.reason = asked->reason
		};

		if (shares[i] == 0)
			continue;
		if (parts++ == 0)
		{
			entry.entry_id = first_id;
			entry.requested = &asked->amount;
			entry.balance = left;
		}
		(void) put_entry(book, grant, &entry);
		grant->state.balance -= shares[i];
		grant->is_changed = true;
		if (grant->state.is_paid)
			paid += shares[i];
	}
	if (paid > 0)
		put_transaction(book, book->grants[0].tenant_id, first_id, "consume", 0, book->at, asked->amount.currency, paid, 0, "revenue");
}

/*
 * billing_wallet_book_close
 *		Write what was booked, and let go of the book.
 */
void
billing_wallet_book_close(BillingWalletBook *book)
{
	static BillingQuery entries = {
		.sql = "INSERT INTO billing.wallet_entry (" ENTRY_COLUMNS ") TABLE made_entry",
		.expected = SPI_OK_INSERT,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static BillingQuery balances = {
		.sql = "UPDATE billing.credit_grant g SET balance = m.balance, renewals = m.renewals, renews_at = m.renews_at"
		"  FROM made_balance m WHERE g.tenant_id = m.tenant_id AND g.grant_id = m.grant_id",
		.expected = SPI_OK_UPDATE,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static BillingQuery transactions = {
		.sql = "INSERT INTO billing.transaction (" TRANSACTION_COLUMNS ") TABLE made_draw",
		.expected = SPI_OK_INSERT,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	put_balances(book);
	write_store(&entries, book->entries);
	write_store(&balances, book->balances);
	write_store(&transactions, book->transactions);
	lower_flags(book);
	tell(book, "wallet.renewed", was_renewed);
	tell(book, "wallet.expired", has_expired);
	pfree(book->grants);
	pfree(book);
}

static void
put_balances(BillingWalletBook *book)
{
	BillingStore *store = book->balances;

	for (int i = 0; i < book->count; i++)
	{
		const BillingWalletGrant *grant = &book->grants[i];
		const BillingGrantState *state = &grant->state;

		if (!grant->is_changed)
			continue;
		billing_store_put(store, Int64GetDatum(grant->tenant_id), false);
		billing_store_put(store, Int64GetDatum(grant->grant_id), false);
		billing_store_put(store, PointerGetDatum(billing_amount_make(state->balance, grant->currency)), false);
		billing_store_put(store, Int32GetDatum(state->renewals), false);
		billing_store_put(store, TimestampTzGetDatum(state->renews_at), TIMESTAMP_IS_NOEND(state->renews_at));
	}
}

static void
write_store(BillingQuery *query, BillingStore *store)
{
	billing_store_run(store, query);
	billing_store_end(store);
}

/* Of the tenants one of whose grants is used up. */
static void
lower_flags(BillingWalletBook *book)
{
	Datum	   *ids = palloc(Max(book->count, 1) * sizeof(Datum));
	int			count = 0;

	for (int i = 0; i < book->count; i++)
	{
		const BillingWalletGrant *grant = &book->grants[i];

		if (grant->is_changed && grant->state.balance == 0 && TIMESTAMP_IS_NOEND(grant->state.renews_at) &&
			(count == 0 || DatumGetInt64(ids[count - 1]) != grant->tenant_id))
			ids[count++] = Int64GetDatum(grant->tenant_id);
	}
	if (count > 0)
		billing_wallet_lower_flags(billing_id_array(ids, count));
	pfree(ids);
}

static void
tell(BillingWalletBook *book, const char *type, bool (*is_told) (const BillingWalletGrant *))
{
	Datum	   *tenant_ids = palloc(Max(book->count, 1) * sizeof(Datum));
	Datum	   *grant_ids = palloc(Max(book->count, 1) * sizeof(Datum));
	int			count = 0;

	for (int i = 0; i < book->count; i++)
	{
		const BillingWalletGrant *grant = &book->grants[i];

		if (!is_told(grant))
			continue;
		tenant_ids[count] = Int64GetDatum(grant->tenant_id);
		grant_ids[count++] = Int64GetDatum(grant->grant_id);
	}
	if (count > 0)
		billing_event_emit_all(type, billing_id_array(tenant_ids, count), billing_id_array(grant_ids, count));
	pfree(tenant_ids);
	pfree(grant_ids);
}

static bool
was_renewed(const BillingWalletGrant *grant)
{
	return grant->is_renewed;
}

static bool
has_expired(const BillingWalletGrant *grant)
{
	return grant->is_expired;
}

void
billing_wallet_raise_flag(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.counter AS c (tenant_id, has_credit) VALUES ($1, true)"
		" ON CONFLICT (tenant_id) DO UPDATE SET has_credit = true WHERE NOT c.has_credit",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	(void) billing_spi_run(&query, args, NULL);
}

void
billing_wallet_lower_flags(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.counter c SET has_credit = false"
		" WHERE c.tenant_id = ANY ($1) AND c.has_credit"
		"   AND NOT EXISTS (SELECT FROM billing.credit_grant g WHERE g.tenant_id = c.tenant_id AND g.is_open)",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	(void) billing_spi_run(&query, &tenant_ids, NULL);
}

void
billing_wallet_book_settle(int64 tenant_id)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	billing_wallet_book_close(billing_wallet_book_open(billing_id_array_of(tenant_id), billing_clock_now()));
	PopActiveSnapshot();
}

/*
 * billing_wallet_book_return
 *		Give back what a void invoice drew: a promotion as such; money begins to count anew; what
 *		expired meanwhile expires once more.
 *
 * The ledger knows of what came back by what reverses the invoice.  What time has brought
 * is booked first: what comes back is not for a renewal that was before.
 */
void
billing_wallet_book_return(int64 tenant_id, int64 invoice_id, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "WITH drawn AS ("
		"  SELECT g.tenant_id, g.grant_id, d.amount, coalesce(least(g.expires_at, g.voided_at) <= $3, false) AS is_past, g.is_paid"
		"    FROM (SELECT e.grant_id, -sum(e.amount) AS amount FROM billing.wallet_entry e"
		"           WHERE e.tenant_id = $1 AND e.invoice_id = $2 AND e.kind IN ('draw', 'return') GROUP BY e.grant_id) d"
		"    JOIN billing.credit_grant g ON g.tenant_id = $1 AND g.grant_id = d.grant_id"
		"   WHERE billing.minor_units(d.amount) > 0"
		"), entry AS ("
		"  INSERT INTO billing.wallet_entry (tenant_id, grant_id, kind, amount, at, invoice_id)"
		"  SELECT d.tenant_id, d.grant_id, 'return', d.amount, $3, $2 FROM drawn d"
		"  UNION ALL SELECT d.tenant_id, d.grant_id, 'expire', -d.amount, $3, NULL FROM drawn d WHERE d.is_past"
		"), posted AS ("
		"  INSERT INTO billing.transaction (tenant_id, kind, at, accounts, amounts)"
		"  SELECT d.tenant_id, 'expire', $3, '{customer_credit,revenue}', ARRAY[d.amount, -d.amount]"
		"    FROM drawn d WHERE d.is_past AND d.is_paid"
		"), flagged AS ("
		"  UPDATE billing.counter c SET has_credit = true"
		"   WHERE c.tenant_id = $1 AND NOT c.has_credit AND EXISTS (SELECT FROM drawn d WHERE NOT d.is_past)"
		") UPDATE billing.credit_grant g SET balance = g.balance + d.amount, renews_at = CASE WHEN d.is_paid THEN $3 ELSE g.renews_at END"
		"    FROM drawn d WHERE g.tenant_id = d.tenant_id AND g.grant_id = d.grant_id AND NOT d.is_past",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id), TimestampTzGetDatum(at)};

	billing_wallet_book_settle(tenant_id);
	(void) billing_spi_run(&query, args, NULL);
}
