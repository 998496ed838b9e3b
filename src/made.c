/*-------------------------------------------------------------------------
 *
 * made.c
 *	  Invoices made of what is due: from lines to the rows that are written.
 *
 * The order of its steps is that of an invoice: items, true-ups of commitments, coupons, taxes,
 * total, what a negative total leaves (composition.c), what is drawn of credit.  Subscriptions
 * come in the order of tenant and invoice, which is that of numbers and of the chain.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "nodes/value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "amount.h"
#include "calculation.h"
#include "clock.h"
#include "composition.h"
#include "coupon_due.h"
#include "hash.h"
#include "made.h"

/* How many salts are drawn at a time: the call takes longer than the bytes. */
#define SALTS 256

/* What a boundary does to a subscription that is told of. */
typedef enum Tale
{
	TALE_NONE,
	TALE_BEGAN,					/* it, or what follows its trial */
	TALE_RENEWED,
	TALE_CHANGED,				/* and renewed */
	TALE_CANCELED,
	TALE_EXPIRED,
	TALES
} Tale;

/* What is the same for all, and where the tenant at hand stands. */
typedef struct Maker
{
	BillingMade *made;
	BillingWalletBook *book;	/* NULL: nobody has credit */
	TimestampTz at;
	Datum		accounts;
	Oid			amount_type;
	Datum		tales[TALES];	/* types of events, as text[] */
	MemoryContext context;		/* of one invoice */
	bool		has_counted;	/* an invoice of the tenant was numbered */
	int64		tenant_id;
	int64		number;
	int64		chain_no;
	uint8		chain[2 * BILLING_HASH_BYTES];	/* the last link, then room for a hash */
	int			chain_len;
	pg_uuid_t	salts[SALTS];	/* random bytes, of which so many are not used yet */
	int			salts_left;
} Maker;

/* One invoice. */
typedef struct Invoice
{
	const BillingDue *due;
	bool		has_lines;
	bool		is_final;
	bool		is_settled;		/* nothing is due */
	int64		credited;		/* minor units drawn of credit notes */
	int64		applied;		/* and of other credit */
	bool		waits;			/* its payment starts the subscription */
	BillingComposition composition;
	BillingAmount revenue;		/* without tax */
	BillingAmount deferred;		/* of which is billed in advance */
	NullableDatum salt;
	text	   *inputs;
	uint8		hash[BILLING_HASH_BYTES];
} Invoice;

static void make_stores(BillingMade *made);
static void init_maker(Maker *maker, BillingMade *made, TimestampTz at);
static Datum make_tale(Tale tale);
static void begin_tenant(Maker *maker, const BillingDue *due);
static void end_tenant(Maker *maker);
static void make_invoice(Maker *maker, const BillingDue *due);
static void compose(Invoice *invoice);
static void add_up_revenue(Invoice *invoice);
static void draw(Maker *maker, Invoice *invoice);
static BillingAmount make_amount(int128 units, const char *currency);
static bool is_final(const BillingDue *due);
static bool waits_for_payment(const Invoice *invoice);
static bool is_text(NullableDatum value, const char *string);
static void make_salt(Maker *maker, Invoice *invoice);
static Datum draw_salt(Maker *maker);
static void state_calculation(Invoice *invoice);
static text *state_items(const Invoice *invoice);
static void state_taxes(const Invoice *invoice, NullableDatum *taxes);
static void state_coupons(const Invoice *invoice, NullableDatum *coupons);
static NullableDatum amount_of(const Invoice *invoice, int64 units);
static void link_chain(Maker *maker, const Invoice *invoice);
static void put_fact(BillingStore *store, const BillingDue *due, int fact);
static void put_if(BillingStore *store, bool exists, NullableDatum value);
static void put_text(BillingStore *store, const char *string);
static void put_amount(BillingStore *store, const BillingAmount *amount);
static void put_units(BillingStore *store, const Invoice *invoice, int64 units);
static void put_some(BillingStore *store, const Invoice *invoice, int64 units);
static void put_invoice(Maker *maker, const Invoice *invoice);
static void put_key(BillingStore *store, const BillingDue *due);
static void put_terms(Maker *maker, const Invoice *invoice);
static Datum period_start(const BillingDue *due);
static Datum arrears_start(const NullableDatum *ranges, Datum if_none);
static Datum range_start(Datum range);
static Datum due_date(Maker *maker, const BillingDue *due);
static void put_items(Maker *maker, const Invoice *invoice);
static void put_taxes(Maker *maker, const Invoice *invoice);
static void put_redemptions(Maker *maker, const Invoice *invoice);
static void note_rate(Maker *maker, const char *code);
static void put_log(Maker *maker, const Invoice *invoice);
static void put_transaction(Maker *maker, const Invoice *invoice);
static void put_rest(Maker *maker, const Invoice *invoice);
static void put_parts(Maker *maker, const Invoice *invoice);
static void put_subscription(Maker *maker, const Invoice *invoice);
static Tale find_tale(const Invoice *invoice);
static const char *next_status(const Invoice *invoice);

void
billing_make_invoices(const BillingDue *dues, int count, TimestampTz at, BillingWalletBook *book, BillingMade *made)
{
	Maker		maker;

	make_stores(made);
	init_maker(&maker, made, at);
	maker.book = book;
	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(maker.context);

		if (i == 0 || DatumGetInt64(dues[i].facts[BILLING_DUE_TENANT_ID].value) != maker.tenant_id)
		{
			end_tenant(&maker);
			begin_tenant(&maker, &dues[i]);
		}
		make_invoice(&maker, &dues[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(maker.context);
	}
	end_tenant(&maker);
}

static void
make_stores(BillingMade *made)
{
	static const BillingStoreColumn types = {"types", TEXTARRAYOID};

	made->invoice = billing_store_make_like("made_invoice", "invoice", BILLING_MADE_INVOICE);
	made->item = billing_store_make_like("made_item", "invoice_item", BILLING_MADE_ITEM);
	made->tax = billing_store_make_like("made_tax", "invoice_tax", BILLING_MADE_TAX);
	made->redemption = billing_store_make_like("made_redemption", "coupon_redemption", BILLING_MADE_REDEMPTION);
	made->new_rates = NIL;
	made->expires_unpaid = false;
	made->log = billing_store_make_like("made_log", "calculation_log", BILLING_MADE_LOG);
	made->transaction = billing_store_make_like("made_transaction", "transaction", BILLING_MADE_TRANSACTION);
	made->grant = billing_store_make_like("made_grant", "credit_grant", BILLING_MADE_GRANT);
	made->late = billing_store_make_like("made_late", "usage_late", BILLING_MADE_LATE);
	made->part = billing_store_make_like("made_part", "due_part", BILLING_MADE_PART);
	made->counter = billing_store_make_like("made_counter", "counter", BILLING_MADE_COUNTER);
	made->subscription = billing_store_make_beside("made_subscription", "subscription", BILLING_MADE_SUBSCRIPTION, &types);
}

void
billing_made_end(BillingMade *made)
{
	BillingStore *const stores[] = {
		made->invoice, made->item, made->tax, made->redemption, made->log, made->transaction, made->grant, made->late, made->part, made->counter,
		made->subscription
	};

	for (int i = 0; i < lengthof(stores); i++)
		billing_store_end(stores[i]);
}

static void
init_maker(Maker *maker, BillingMade *made, TimestampTz at)
{
	static const char *const accounts[] = {"receivable", "revenue", "deferred_revenue", "tax_payable", "customer_credit"};
	Datum		names[lengthof(accounts)];

	memset(maker, 0, sizeof(*maker));
	maker->made = made;
	maker->at = at;
	for (int i = 0; i < lengthof(accounts); i++)
		names[i] = CStringGetTextDatum(accounts[i]);
	maker->accounts = PointerGetDatum(construct_array(names, lengthof(names), TEXTOID, -1, false, TYPALIGN_INT));
	maker->amount_type = get_element_type(TupleDescAttr(made->transaction->tupdesc, made->transaction->tupdesc->natts - 1)->atttypid);
	for (Tale tale = TALE_NONE; tale < TALES; tale++)
		maker->tales[tale] = make_tale(tale);
	maker->context = AllocSetContextCreate(CurrentMemoryContext, "billing invoice", ALLOCSET_DEFAULT_SIZES);
}

static Datum
make_tale(Tale tale)
{
	static const char *const tales[TALES][2] = {
		[TALE_BEGAN] = {"subscription.updated"},
		[TALE_RENEWED] = {"subscription.renewed"},
		[TALE_CHANGED] = {"subscription.updated", "subscription.renewed"},
		[TALE_CANCELED] = {"subscription.canceled"},
		[TALE_EXPIRED] = {"subscription.expired"},
	};
	Datum		types[2];
	int			count = 0;

	while (count < 2 && tales[tale][count] != NULL)
	{
		types[count] = CStringGetTextDatum(tales[tale][count]);
		count++;
	}
	return PointerGetDatum(construct_array(types, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
begin_tenant(Maker *maker, const BillingDue *due)
{
	bytea	   *link = DatumGetByteaPP(due->facts[BILLING_DUE_CHAIN_HASH].value);

	maker->tenant_id = DatumGetInt64(due->facts[BILLING_DUE_TENANT_ID].value);
	maker->number = DatumGetInt64(due->facts[BILLING_DUE_INVOICE_NUMBER].value);
	maker->chain_no = DatumGetInt64(due->facts[BILLING_DUE_CHAIN_NO].value);
	maker->chain_len = VARSIZE_ANY_EXHDR(link);
	if (maker->chain_len > BILLING_HASH_BYTES)
		elog(ERROR, "the chain of tenant %lld has a link of %d bytes", (long long) maker->tenant_id, maker->chain_len);
	memcpy(maker->chain, VARDATA_ANY(link), maker->chain_len);
	maker->has_counted = false;
}

static void
end_tenant(Maker *maker)
{
	BillingStore *store = maker->made->counter;

	if (!maker->has_counted)
		return;
	billing_store_put(store, Int64GetDatum(maker->tenant_id), false);
	billing_store_put(store, Int64GetDatum(maker->number), false);
	billing_store_put(store, Int64GetDatum(maker->chain_no), false);
	billing_store_put(store, billing_hash_datum(maker->chain, maker->chain_len), false);
}

static void
make_invoice(Maker *maker, const BillingDue *due)
{
	Invoice		invoice = {.due = due, .has_lines = due->line_count > 0};

	compose(&invoice);
	add_up_revenue(&invoice);
	invoice.is_final = invoice.has_lines && is_final(due);
	if (invoice.is_final && maker->book != NULL)
		draw(maker, &invoice);
	invoice.waits = waits_for_payment(&invoice);
	if (invoice.has_lines)
	{
		make_salt(maker, &invoice);
		state_calculation(&invoice);
		if (invoice.is_final)
			link_chain(maker, &invoice);
		put_invoice(maker, &invoice);
		put_items(maker, &invoice);
		put_taxes(maker, &invoice);
		put_redemptions(maker, &invoice);
		put_log(maker, &invoice);
		put_transaction(maker, &invoice);
		put_rest(maker, &invoice);
	}
	put_parts(maker, &invoice);
	put_subscription(maker, &invoice);
}

/*
 * compose
 *		Lines, discounts, taxes, total.
 *
 * Coupons state the discounts of the lines before the taxes are chosen; what is drawn of
 * credit is taken from the total behind this.
 */
static void
compose(Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingComposition *composition = &invoice->composition;
	text	   *code = DatumGetTextPP(due->facts[BILLING_DUE_CURRENCY].value);
	BillingAmount *nothing = billing_amount_make(0, billing_amount_find_currency(code)->code);

	composition->currency = nothing->currency;
	composition->line_count = due->line_count;
	composition->lines = palloc0(Max(due->line_count, 1) * sizeof(BillingComposedLine));
	for (int i = 0; i < due->line_count; i++)
	{
		const BillingLine *from = &due->lines[i];
		const BillingAmount *amount = DatumGetBillingAmountP(from->values[BILLING_LINE_AMOUNT]);

		billing_amount_check_same_currency(nothing, amount);
		composition->lines[i].amount = amount->units;
		if (!from->nulls[BILLING_LINE_TAX_CATEGORY])
			composition->lines[i].tax_category = TextDatumGetCString(from->values[BILLING_LINE_TAX_CATEGORY]);
	}
	if (due->coupon_count > 0)
		billing_coupon_take_off(due, composition);
	billing_composition_choose_taxes(composition, &due->tax);
	billing_composition_make(composition);
	invoice->is_settled = composition->total.units == 0;
}

/* What the lines are without discount and tax, and how much of that is of periods to come. */
static void
add_up_revenue(Invoice *invoice)
{
	const BillingComposition *composition = &invoice->composition;
	int128		revenue = 0;
	int128		deferred = 0;

	for (int i = 0; i < composition->line_count; i++)
	{
		revenue += billing_composition_revenue(&composition->lines[i]);
		if (DatumGetBool(invoice->due->lines[i].values[BILLING_LINE_IS_ADVANCE]))
			deferred += billing_composition_revenue(&composition->lines[i]);
	}
	invoice->revenue = make_amount(revenue, composition->currency);
	invoice->deferred = make_amount(deferred, composition->currency);
	(void) make_amount(revenue - deferred, composition->currency);
}

/* What there is of credit is taken off what is due. */
static void
draw(Maker *maker, Invoice *invoice)
{
	const BillingAmount *total = &invoice->composition.total;

	billing_wallet_book_draw(maker->book, maker->tenant_id, DatumGetInt64(invoice->due->facts[BILLING_DUE_INVOICE_ID].value),
							 total, &invoice->credited, &invoice->applied);
	invoice->is_settled = invoice->credited + invoice->applied == total->units;
}

static BillingAmount
make_amount(int128 units, const char *currency)
{
	BillingAmount *amount = billing_amount_make_checked(units, currency);

	return *amount;
}

/* Setting finalize_after: at once, unless an interval or never. */
static bool
is_final(const BillingDue *due)
{
	NullableDatum after = due->facts[BILLING_DUE_FINALIZE_AFTER];
	Datum		zero;
	Datum		interval;

	if (is_text(after, "0"))
		return true;
	if (is_text(after, "never"))
		return false;
	zero = DirectFunctionCall3(interval_in, CStringGetDatum("0"), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	interval = DirectFunctionCall3(interval_in, CStringGetDatum(TextDatumGetCString(after.value)),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return DatumGetBool(DirectFunctionCall2(interval_le, interval, zero));
}

/* The subscription goes on when its first invoice is paid, and not before. */
static bool
waits_for_payment(const Invoice *invoice)
{
	return is_text(invoice->due->facts[BILLING_DUE_STATUS], "pending") &&
		is_text(invoice->due->facts[BILLING_DUE_ACTIVATE], "on_payment") && !invoice->is_settled;
}

static bool
is_text(NullableDatum value, const char *string)
{
	return !value.isnull && billing_text_equals(DatumGetTextPP(value.value), string);
}

/* A salt for the digest of the parties, where any is stated. */
static void
make_salt(Maker *maker, Invoice *invoice)
{
	invoice->salt.isnull = true;
	for (int i = BILLING_DUE_BILLING_NAME; i <= BILLING_DUE_TAX_ID; i++)
		invoice->salt.isnull &= invoice->due->facts[i].isnull;
	if (!invoice->salt.isnull)
		invoice->salt.value = draw_salt(maker);
}

/* A random UUID, of version 4 of RFC 9562. */
static Datum
draw_salt(Maker *maker)
{
	pg_uuid_t  *salt;

	if (maker->salts_left == 0)
	{
		if (!pg_strong_random(maker->salts, sizeof(maker->salts)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		maker->salts_left = SALTS;
	}
	salt = &maker->salts[--maker->salts_left];
	salt->data[6] = (salt->data[6] & 0x0f) | 0x40;
	salt->data[8] = (salt->data[8] & 0x3f) | 0x80;
	return UUIDPGetDatum(salt);
}

/*
 * state_calculation
 *		What the invoice was calculated from, and the hash of that.
 */
static void
state_calculation(Invoice *invoice)
{
	const NullableDatum *facts = invoice->due->facts;
	const NullableDatum *next = invoice->due->next;
	const BillingComposition *composition = &invoice->composition;
	Numeric		percent = billing_composition_percent(composition);
	NullableDatum fields[BILLING_CALCULATION_FIELDS] = {
		next[BILLING_BOUNDARY_KIND], facts[BILLING_DUE_SUBSCRIPTION_ID], facts[BILLING_DUE_PLAN_ID],
		facts[BILLING_DUE_QUANTITY], facts[BILLING_TERM_TENANT_TIMEZONE]
	};
	NullableDatum *field = fields + 5;

	for (int i = 0; i < BILLING_BOUNDARY_RANGES; i++)
		*field++ = next[BILLING_BOUNDARY_ARREARS + i];
	(field++)->value = PointerGetDatum(state_items(invoice));
	(field++)->value = PointerGetDatum(&composition->subtotal);
	(field++)->value = PointerGetDatum(&composition->discount);
	field->isnull = percent == NULL;
	(field++)->value = NumericGetDatum(percent);
	(field++)->value = PointerGetDatum(&composition->tax);
	(field++)->value = PointerGetDatum(&composition->tax_included);
	state_taxes(invoice, field++);
	(field++)->value = PointerGetDatum(&composition->total);
	state_coupons(invoice, field++);
	field->isnull = invoice->salt.isnull;
	if (!field->isnull)
	{
		NullableDatum party[] = {
			invoice->salt, facts[BILLING_DUE_BILLING_NAME], facts[BILLING_DUE_BILLING_EMAIL],
			facts[BILLING_DUE_BILLING_ADDRESS], facts[BILLING_DUE_TAX_ID]
		};

		field->value = PointerGetDatum(billing_calculation_party(party));
	}
	invoice->inputs = billing_calculation_state(fields);
	billing_calculation_digest(invoice->inputs, invoice->hash);
}

static text *
state_items(const Invoice *invoice)
{
	static const int columns[] = {
		BILLING_LINE_KIND, BILLING_LINE_PRICE_CODE, BILLING_LINE_FORMULA, BILLING_LINE_QUANTITY, BILLING_LINE_AMOUNT,
		BILLING_LINE_PERIOD_START, BILLING_LINE_PERIOD_END, BILLING_LINE_USAGE_EVENTS, BILLING_LINE_USAGE_DIGEST,
		BILLING_LINE_ADJUSTS_INVOICE_ID, BILLING_LINE_ADJUSTS_LINE, BILLING_LINE_PLAN_ID
	};
	const BillingDue *due = invoice->due;
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < due->line_count; i++)
	{
		const BillingComposedLine *line = &invoice->composition.lines[i];
		NullableDatum fields[BILLING_CALCULATION_ITEM_FIELDS] = {{.value = Int32GetDatum(i + 1)}};

		for (int j = 0; j < lengthof(columns); j++)
		{
			fields[j + 1].value = due->lines[i].values[columns[j]];
			fields[j + 1].isnull = due->lines[i].nulls[columns[j]];
		}
		fields[lengthof(columns) + 1] = amount_of(invoice, line->discount);
		fields[lengthof(columns) + 2] = amount_of(invoice, line->tax);
		fields[lengthof(columns) + 3] = amount_of(invoice, line->tax_included);
		appendStringInfoChar(&out, i == 0 ? '[' : ',');
		billing_calculation_append_item(&out, fields);
	}
	appendStringInfoChar(&out, ']');
	return cstring_to_text_with_len(out.data, out.len);
}

/* NULL: zero. */
static NullableDatum
amount_of(const Invoice *invoice, int64 units)
{
	NullableDatum amount = {.isnull = units == 0};

	if (units != 0)
		amount.value = PointerGetDatum(billing_amount_make(units, invoice->composition.currency));
	return amount;
}

static void
state_taxes(const Invoice *invoice, NullableDatum *taxes)
{
	const BillingComposition *composition = &invoice->composition;
	StringInfoData out;

	taxes->isnull = composition->tax_count == 0;
	if (taxes->isnull)
		return;
	initStringInfo(&out);
	for (int i = 0; i < composition->tax_count; i++)
	{
		const BillingTax *tax = &composition->taxes[i];
		NullableDatum fields[BILLING_CALCULATION_TAX_FIELDS] = {
			{.isnull = tax->code == NULL},
			{.value = NumericGetDatum(tax->percent)},
			{.value = BoolGetDatum(tax->is_inclusive)},
			{.value = billing_composition_bearers(composition, tax), .isnull = tax->bears == NULL},
			{.value = PointerGetDatum(billing_amount_make(tax->base, composition->currency))},
			{.value = PointerGetDatum(billing_amount_make(tax->amount, composition->currency))},
			{.isnull = tax->note == NULL},
		};

		if (tax->code != NULL)
			fields[0].value = CStringGetTextDatum(tax->code);
		if (tax->note != NULL)
			fields[6].value = CStringGetTextDatum(tax->note);
		appendStringInfoChar(&out, i == 0 ? '[' : ',');
		billing_calculation_append_tax(&out, fields);
	}
	appendStringInfoChar(&out, ']');
	taxes->value = PointerGetDatum(cstring_to_text_with_len(out.data, out.len));
}

static void
state_coupons(const Invoice *invoice, NullableDatum *coupons)
{
	const BillingDue *due = invoice->due;
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < due->coupon_count; i++)
	{
		const BillingDueCoupon *coupon = &due->coupons[i];

		if (coupon->coupon.discount == 0)
			continue;
		appendStringInfoChar(&out, out.len == 0 ? '[' : ',');
		billing_calculation_append_coupon(&out, coupon->terms, amount_of(invoice, coupon->coupon.discount));
	}
	coupons->isnull = out.len == 0;
	if (coupons->isnull)
		return;
	appendStringInfoChar(&out, ']');
	coupons->value = PointerGetDatum(cstring_to_text_with_len(out.data, out.len));
}

/* The next number and the next link, which is of the one before and of this hash. */
static void
link_chain(Maker *maker, const Invoice *invoice)
{
	maker->number++;
	maker->chain_no++;
	memcpy(maker->chain + maker->chain_len, invoice->hash, BILLING_HASH_BYTES);
	billing_hash(maker->chain, maker->chain_len + BILLING_HASH_BYTES, maker->chain);
	maker->chain_len = BILLING_HASH_BYTES;
	maker->has_counted = true;
}

static void
put_fact(BillingStore *store, const BillingDue *due, int fact)
{
	billing_store_put(store, due->facts[fact].value, due->facts[fact].isnull);
}

static void
put_if(BillingStore *store, bool exists, NullableDatum value)
{
	billing_store_put(store, value.value, !exists || value.isnull);
}

/* NULL: none. */
static void
put_text(BillingStore *store, const char *string)
{
	billing_store_put(store, string == NULL ? (Datum) 0 : CStringGetTextDatum(string), string == NULL);
}

static void
put_amount(BillingStore *store, const BillingAmount *amount)
{
	billing_store_put(store, PointerGetDatum(amount), false);
}

static void
put_key(BillingStore *store, const BillingDue *due)
{
	put_fact(store, due, BILLING_DUE_TENANT_ID);
	put_fact(store, due, BILLING_DUE_INVOICE_ID);
}

/* The store has the value when its row is whole: an amount lives that long. */
static void
put_units(BillingStore *store, const Invoice *invoice, int64 units)
{
	put_amount(store, billing_amount_make(units, invoice->composition.currency));
}

/* An amount; NULL: zero. */
static void
put_some(BillingStore *store, const Invoice *invoice, int64 units)
{
	NullableDatum amount = amount_of(invoice, units);

	billing_store_put(store, amount.value, amount.isnull);
}

static void
put_invoice(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	const BillingComposition *composition = &invoice->composition;
	BillingStore *store = maker->made->invoice;
	NullableDatum kind = due->next[BILLING_BOUNDARY_KIND];

	put_key(store, due);
	billing_store_put(store, DirectFunctionCall4(billing_biz_key, due->facts[BILLING_DUE_SUBSCRIPTION_ID].value,
												 due->facts[BILLING_TERM_DUE_AT].value, kind.value, Int32GetDatum(1)), false);
	put_if(store, true, kind);
	put_fact(store, due, BILLING_DUE_SUBSCRIPTION_ID);
	put_fact(store, due, BILLING_DUE_PLAN_ID);
	billing_store_put(store, invoice->is_final ?
					  DirectFunctionCall3(billing_invoice_number, due->facts[BILLING_DUE_INVOICE_PREFIX].value,
										  Int64GetDatum(maker->tenant_id), Int64GetDatum(maker->number)) : (Datum) 0,
					  !invoice->is_final);
	put_text(store, !invoice->is_final ? "draft" : invoice->is_settled ? "paid" : "open");
	put_fact(store, due, BILLING_DUE_CURRENCY);
	billing_store_put(store, period_start(due), false);
	put_fact(store, due, BILLING_TERM_DUE_AT);
	billing_store_put(store, Int32GetDatum(due->line_count), false);
	billing_store_put(store, Int32GetDatum(composition->tax_count), false);
	put_amount(store, &composition->subtotal);
	put_amount(store, &composition->discount);
	put_amount(store, &composition->tax);
	put_some(store, invoice, composition->tax_included.units);
	put_amount(store, &composition->excess);
	put_amount(store, &composition->total);
	put_units(store, invoice, invoice->credited);
	put_units(store, invoice, invoice->applied);
	put_amount(store, &composition->nothing);	/* paid */
	put_terms(maker, invoice);
}

/* Tax rate, dates and parties. */
static void
put_terms(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->invoice;
	Numeric		percent = billing_composition_percent(&invoice->composition);

	billing_store_put(store, NumericGetDatum(percent), percent == NULL);
	billing_store_put(store, TimestampTzGetDatum(maker->at), !invoice->is_final);
	billing_store_put(store, invoice->is_final ? due_date(maker, due) : (Datum) 0, !invoice->is_final);
	billing_store_put(store, TimestampTzGetDatum(maker->at), !invoice->is_final || !invoice->is_settled);
	put_if(store, invoice->is_final, due->facts[BILLING_DUE_SELLER]);
	for (int i = BILLING_DUE_BILLING_NAME; i <= BILLING_DUE_TAX_ID; i++)
		put_fact(store, due, i);
}

/* Where what is billed in arrears starts; without any, the boundary. */
static Datum
period_start(const BillingDue *due)
{
	Datum		boundary = due->facts[BILLING_TERM_DUE_AT].value;
	Datum		start = arrears_start(due->next + BILLING_BOUNDARY_ARREARS, boundary);

	for (int i = 0; i < due->part_count; i++)
	{
		Datum		of_part = arrears_start(due->parts[i].columns + BILLING_PART_RANGES, boundary);

		if (DatumGetTimestampTz(of_part) < DatumGetTimestampTz(start))
			start = of_part;
	}
	return start;
}

/* The same of the ranges of a boundary or of a part. */
static Datum
arrears_start(const NullableDatum *ranges, Datum if_none)
{
	static const int arrears[] = {BILLING_BOUNDARY_ARREARS, BILLING_BOUNDARY_STEP_ARREARS};

	for (int i = 0; i < lengthof(arrears); i++)
	{
		NullableDatum range = ranges[arrears[i] - BILLING_BOUNDARY_ARREARS];

		if (!range.isnull)
			return range_start(range.value);
	}
	return if_none;
}

static Datum
range_start(Datum range)
{
	TypeCacheEntry *typcache = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	range_deserialize(typcache, DatumGetRangeTypeP(range), &lower, &upper, &empty);
	return lower.val;
}

/* Setting net_days after the issue, by the tenant's clock. */
static Datum
due_date(Maker *maker, const BillingDue *due)
{
	Datum		zone = due->facts[BILLING_TERM_TENANT_TIMEZONE].value;
	Interval	net = {.day = DatumGetInt32(due->facts[BILLING_DUE_NET_DAYS].value)};
	Datum		local;

	if (net.day == 0)
		return TimestampTzGetDatum(maker->at);
	local = DirectFunctionCall2(timestamptz_zone, zone, TimestampTzGetDatum(maker->at));
	return DirectFunctionCall2(timestamp_zone, zone, DirectFunctionCall2(timestamp_pl_interval, local, PointerGetDatum(&net)));
}

static void
put_items(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->item;

	for (int i = 0; i < due->line_count; i++)
	{
		put_key(store, due);
		billing_store_put(store, Int32GetDatum(i + 1), false);
		for (int j = BILLING_LINE_KIND; j <= BILLING_LINE_TAX_CATEGORY; j++)
			billing_store_put(store, due->lines[i].values[j], due->lines[i].nulls[j]);
		put_units(store, invoice, invoice->composition.lines[i].discount);
		put_units(store, invoice, invoice->composition.lines[i].tax);
		put_some(store, invoice, invoice->composition.lines[i].tax_included);
	}
}

/* Only what bears a tax has a row. */
static void
put_taxes(Maker *maker, const Invoice *invoice)
{
	const BillingComposition *composition = &invoice->composition;
	BillingStore *store = maker->made->tax;

	for (int i = 0; i < composition->tax_count; i++)
	{
		const BillingTax *tax = &composition->taxes[i];

		put_key(store, invoice->due);
		billing_store_put(store, Int32GetDatum(i + 1), false);
		put_text(store, tax->code);
		billing_store_put(store, NumericGetDatum(tax->percent), false);
		billing_store_put(store, BoolGetDatum(tax->is_inclusive), false);
		billing_store_put(store, billing_composition_bearers(composition, tax), tax->bears == NULL);
		put_units(store, invoice, tax->base);
		put_units(store, invoice, tax->amount);
		put_text(store, tax->note);
		if (tax->code != NULL && tax->is_first)
			note_rate(maker, tax->code);
	}
}

/* What each coupon takes off; most have none. */
static void
put_redemptions(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->redemption;

	for (int i = 0; i < due->coupon_count; i++)
	{
		const BillingDueCoupon *coupon = &due->coupons[i];

		if (coupon->coupon.discount == 0)
			continue;
		put_key(store, due);
		billing_store_put(store, Int64GetDatum(coupon->use_id), false);
		billing_store_put(store, Int32GetDatum(i + 1), false);
		put_text(store, coupon->coupon.code);
		billing_store_put(store, coupon->amount.value, coupon->amount.isnull);
		put_units(store, invoice, coupon->coupon.discount);
	}
}

/* It outlives the invoice. */
static void
note_rate(Maker *maker, const char *code)
{
	MemoryContext old = MemoryContextSwitchTo(MemoryContextGetParent(maker->context));

	maker->made->new_rates = list_append_unique(maker->made->new_rates, makeString(pstrdup(code)));
	MemoryContextSwitchTo(old);
}

static void
put_log(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->log;

	put_key(store, due);
	put_fact(store, due, BILLING_DUE_QUANTITY);
	put_fact(store, due, BILLING_TERM_TENANT_TIMEZONE);
	for (int i = 0; i < BILLING_BOUNDARY_RANGES; i++)
		put_if(store, true, due->next[BILLING_BOUNDARY_ARREARS + i]);
	billing_store_put(store, PointerGetDatum(invoice->inputs), false);
	billing_store_put(store, billing_hash_datum(invoice->hash, BILLING_HASH_BYTES), false);
	billing_store_put(store, Int64GetDatum(maker->chain_no), !invoice->is_final);
	billing_store_put(store, billing_hash_datum(maker->chain, maker->chain_len), !invoice->is_final);
	put_if(store, true, invoice->salt);
	billing_store_put(store, TimestampTzGetDatum(billing_clock_now()), false);
}

/* Receivable against revenue, revenue to come, tax and what is owed to the customer. */
static void
put_transaction(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->transaction;
	const BillingComposition *composition = &invoice->composition;
	const char *currency = composition->currency;
	BillingAmount amounts[] = {
		composition->total,
		make_amount((int128) invoice->deferred.units - invoice->revenue.units, currency),
		make_amount(-(int128) invoice->deferred.units, currency),
		make_amount(-(int128) composition->tax.units, currency),
		make_amount(-(int128) composition->excess.units, currency)
	};
	Datum		elements[lengthof(amounts)];

	if (!invoice->is_final || (amounts[1].units == 0 && amounts[2].units == 0 && amounts[3].units == 0))
		return;
	for (int i = 0; i < lengthof(amounts); i++)
		elements[i] = PointerGetDatum(&amounts[i]);
	put_key(store, due);		/* its id is the invoice's */
	put_text(store, "invoice");
	put_fact(store, due, BILLING_DUE_INVOICE_ID);
	billing_store_put(store, TimestampTzGetDatum(maker->at), false);
	billing_store_put(store, maker->accounts, false);
	billing_store_put(store, PointerGetDatum(construct_array(elements, lengthof(elements), maker->amount_type,
															 sizeof(BillingAmount), false, TYPALIGN_DOUBLE)), false);
}

/* What a total below zero leaves, and that late usage and corrected prices are billed. */
static void
put_rest(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->grant;

	if (invoice->is_final && invoice->composition.excess.units > 0)
	{
		put_key(store, due);	/* its id is the invoice's */
		put_amount(store, &invoice->composition.excess);
		put_amount(store, &invoice->composition.excess);
		put_text(store, "invoice");
		put_fact(store, due, BILLING_DUE_INVOICE_ID);
		billing_store_put(store, TimestampTzGetDatum(billing_clock_now()), false);
	}
	store = maker->made->late;
	if (DatumGetBool(due->facts[BILLING_DUE_HAS_LATE].value))
	{
		put_fact(store, due, BILLING_DUE_TENANT_ID);
		put_fact(store, due, BILLING_DUE_SUBSCRIPTION_ID);
		put_fact(store, due, BILLING_DUE_INVOICE_ID);
	}
}

/* Which invoice has the lines of what was owed beside; NULL where there are none. */
static void
put_parts(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	BillingStore *store = maker->made->part;

	for (int i = 0; i < due->part_count; i++)
	{
		put_fact(store, due, BILLING_DUE_TENANT_ID);
		put_fact(store, due, BILLING_DUE_SUBSCRIPTION_ID);
		billing_store_put(store, due->parts[i].columns[BILLING_PART_NO].value, false);
		put_if(store, invoice->has_lines, due->facts[BILLING_DUE_INVOICE_ID]);
	}
}

static void
put_subscription(Maker *maker, const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	const NullableDatum *next = due->next;
	BillingStore *store = maker->made->subscription;
	bool		goes_on = !invoice->waits;

	put_fact(store, due, BILLING_DUE_TENANT_ID);
	put_fact(store, due, BILLING_DUE_SUBSCRIPTION_ID);
	put_text(store, next_status(invoice));
	maker->made->expires_unpaid |= is_text(due->facts[BILLING_DUE_STATUS], "past_due") && strcmp(next_status(invoice), "expired") == 0;
	put_if(store, true, next[BILLING_BOUNDARY_ANCHOR]);
	put_if(store, true, next[BILLING_BOUNDARY_TIMEZONE]);
	put_if(store, goes_on, next[BILLING_BOUNDARY_PERIOD_START]);
	put_if(store, goes_on, next[BILLING_BOUNDARY_PERIOD_END]);
	put_if(store, goes_on, due->facts[BILLING_TERM_DUE_AT]);
	put_if(store, goes_on, next[BILLING_BOUNDARY_DUE_AT]);
	put_if(store, DatumGetBool(next[BILLING_BOUNDARY_ENDS].value), due->facts[BILLING_TERM_DUE_AT]);
	billing_store_put(store, maker->tales[find_tale(invoice)], false);
}

/* Of one that ends a step only, or waits for its payment, there is nothing to tell. */
static Tale
find_tale(const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	NullableDatum old_start = due->facts[BILLING_TERM_PERIOD_START];
	NullableDatum new_start = due->next[BILLING_BOUNDARY_PERIOD_START];

	if (invoice->waits)
		return TALE_NONE;
	if (DatumGetBool(due->next[BILLING_BOUNDARY_ENDS].value))
		return is_text(due->next[BILLING_BOUNDARY_STATUS], "canceled") ? TALE_CANCELED : TALE_EXPIRED;
	if (is_text(due->facts[BILLING_DUE_STATUS], "pending") || is_text(due->facts[BILLING_DUE_STATUS], "trialing"))
		return TALE_BEGAN;
	if (!old_start.isnull && !new_start.isnull && old_start.value == new_start.value)
		return TALE_NONE;
	return due->is_changed ? TALE_CHANGED : TALE_RENEWED;
}

/* A state such as past_due stays, unless the subscription starts or ends here. */
static const char *
next_status(const Invoice *invoice)
{
	const BillingDue *due = invoice->due;
	NullableDatum status = due->facts[BILLING_DUE_STATUS];
	bool		starts = is_text(status, "pending") || is_text(status, "trialing");

	if (!invoice->waits && (starts || DatumGetBool(due->next[BILLING_BOUNDARY_ENDS].value)))
		status = due->next[BILLING_BOUNDARY_STATUS];
	return TextDatumGetCString(status.value);
}
