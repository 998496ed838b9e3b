/*-------------------------------------------------------------------------
 *
 * calculation.c
 *	  What an invoice was calculated from, in one canonical text.
 *
 * The text is JSON with a fixed order of keys, no blanks, instants in UTC to the
 * microsecond and numbers without zeros at their end: no setting changes a byte
 * of it, so that its hash can be computed again anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "amount.h"
#include "calculation.h"
#include "hash.h"
#include "tariff.h"

BILLING_FUNCTION(billing_calculation_items_step);
BILLING_FUNCTION(billing_calculation_items_final);
BILLING_FUNCTION(billing_calculation_tax);
BILLING_FUNCTION(billing_calculation_coupon);
BILLING_FUNCTION(billing_calculation_inputs);
BILLING_FUNCTION(billing_calculation_hash);
BILLING_FUNCTION(billing_chain_link);
BILLING_FUNCTION(billing_party_digest);
BILLING_FUNCTION(billing_biz_key);
BILLING_FUNCTION(billing_invoice_number);
BILLING_FUNCTION(billing_usage_digest);
BILLING_FUNCTION(billing_digest_add);
BILLING_FUNCTION(billing_tariff_digest);

/* The text of one item and where it belongs. */
typedef struct ItemText
{
	int32		line;
	int			offset;			/* in the buffer of all */
	int			len;
} ItemText;

typedef struct ItemTexts
{
	StringInfoData buffer;
	ItemText   *items;
	int			count;
	int			capacity;
} ItemTexts;

static ItemTexts *new_items(FunctionCallInfo fcinfo);
static ItemText *add_item(ItemTexts *texts);
static int	compare_lines(const void *a, const void *b);
static void append_key(StringInfo out, const char *key);
static void append_text(StringInfo out, const char *key, NullableDatum value);
static bool is_plain(const char *string, int len);
static void append_int(StringInfo out, const char *key, NullableDatum value);
static void append_number(StringInfo out, const char *key, NullableDatum value);
static void append_amount(StringInfo out, const char *key, NullableDatum value);
static void append_some(StringInfo out, const char *key, NullableDatum value);
static void append_json(StringInfo out, const char *key, NullableDatum value);
static void append_texts(StringInfo out, const char *key, NullableDatum value);
static void append_lines(StringInfo out, const char *key, NullableDatum value);
static void append_instant(StringInfo out, const char *key, NullableDatum value);
static void append_range(StringInfo out, const char *key, NullableDatum value);
static void append_hex(StringInfo out, const char *key, NullableDatum value);
static void append_utc(StringInfo out, TimestampTz instant, bool is_json);

/*
 * billing_calculation_items_step
 *		Add one item: (line, kind, price_code, formula, quantity, amount,
 *		period_start, period_end, usage_events, usage_digest, adjusts_invoice_id,
 *		adjusts_line, plan_id, discount, tax, tax_included).
 */
Datum
billing_calculation_items_step(PG_FUNCTION_ARGS)
{
	ItemTexts  *texts = PG_ARGISNULL(0) ? new_items(fcinfo) : (ItemTexts *) PG_GETARG_POINTER(0);
	StringInfo	out = &texts->buffer;
	ItemText   *item = add_item(texts);

	item->line = PG_GETARG_INT32(1);
	item->offset = out->len;
	billing_calculation_append_item(out, &fcinfo->args[1]);
	item->len = out->len - item->offset;
	PG_RETURN_POINTER(texts);
}

/*
 * billing_calculation_append_item
 *		One item: fields are the arguments of aggregate billing.calculation_items.
 */
void
billing_calculation_append_item(StringInfo out, const NullableDatum *fields)
{
	appendStringInfoChar(out, '{');
	append_int(out, "line", fields[0]);
	append_text(out, "kind", fields[1]);
	append_text(out, "price", fields[2]);
	append_hex(out, "formula", fields[3]);
	append_number(out, "quantity", fields[4]);
	append_amount(out, "amount", fields[5]);
	append_instant(out, "from", fields[6]);
	append_instant(out, "to", fields[7]);
	append_int(out, "events", fields[8]);
	append_int(out, "digest", fields[9]);
	append_int(out, "adjusts_invoice", fields[10]);
	append_int(out, "adjusts_line", fields[11]);
	append_int(out, "plan", fields[12]);
	append_some(out, "discount", fields[13]);
	append_some(out, "tax", fields[14]);
	append_some(out, "tax_included", fields[15]);
	appendStringInfoChar(out, '}');
}

static ItemTexts *
new_items(FunctionCallInfo fcinfo)
{
	MemoryContext context;
	MemoryContext old;
	ItemTexts  *texts;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	old = MemoryContextSwitchTo(context);
	texts = palloc0(sizeof(ItemTexts));
	initStringInfo(&texts->buffer);
	texts->capacity = 8;
	texts->items = palloc(texts->capacity * sizeof(ItemText));
	MemoryContextSwitchTo(old);
	return texts;
}

static ItemText *
add_item(ItemTexts *texts)
{
	if (texts->count == texts->capacity)
	{
		texts->capacity *= 2;
		texts->items = repalloc(texts->items, texts->capacity * sizeof(ItemText));
	}
	return &texts->items[texts->count++];
}

/*
 * billing_calculation_items_final
 *		The items in the order of their lines, whatever order they came in.
 */
Datum
billing_calculation_items_final(PG_FUNCTION_ARGS)
{
	ItemTexts  *texts = PG_ARGISNULL(0) ? NULL : (ItemTexts *) PG_GETARG_POINTER(0);
	StringInfoData all;

	initStringInfo(&all);
	appendStringInfoChar(&all, '[');
	if (texts != NULL)
	{
		qsort(texts->items, texts->count, sizeof(ItemText), compare_lines);
		for (int i = 0; i < texts->count; i++)
		{
			if (i > 0)
				appendStringInfoChar(&all, ',');
			appendBinaryStringInfo(&all, texts->buffer.data + texts->items[i].offset, texts->items[i].len);
		}
	}
	appendStringInfoChar(&all, ']');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(all.data, all.len));
}

static int
compare_lines(const void *a, const void *b)
{
	int32		x = ((const ItemText *) a)->line;
	int32		y = ((const ItemText *) b)->line;

	return x < y ? -1 : x > y;
}

/*
 * billing_calculation_tax
 *		One tax: see billing_calculation_append_tax() for the fields.
 */
Datum
billing_calculation_tax(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	billing_calculation_append_tax(&out, fcinfo->args);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

void
billing_calculation_append_tax(StringInfo out, const NullableDatum *fields)
{
	appendStringInfoChar(out, '{');
	append_text(out, "rate", fields[0]);
	append_number(out, "percent", fields[1]);
	if (!fields[2].isnull && DatumGetBool(fields[2].value))
	{
		append_key(out, "inclusive");
		appendStringInfoString(out, "true");
	}
	append_lines(out, "lines", fields[3]);
	append_amount(out, "base", fields[4]);
	append_amount(out, "amount", fields[5]);
	append_text(out, "note", fields[6]);
	appendStringInfoChar(out, '}');
}

/*
 * billing_calculation_coupon
 *		One coupon: its terms, and what it takes off.
 */
Datum
billing_calculation_coupon(PG_FUNCTION_ARGS)
{
	NullableDatum discount = {PG_GETARG_DATUM(1), false};
	StringInfoData out;

	initStringInfo(&out);
	billing_calculation_append_coupon(&out, PG_GETARG_HEAPTUPLEHEADER(0), discount);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

void
billing_calculation_append_coupon(StringInfo out, HeapTupleHeader terms, NullableDatum discount)
{
	NullableDatum columns[9];

	for (int i = 0; i < lengthof(columns); i++)
		columns[i].value = GetAttributeByNum(terms, i + 1, &columns[i].isnull);
	appendStringInfoChar(out, '{');
	append_text(out, "coupon", columns[0]);
	append_number(out, "percent", columns[1]);
	append_amount(out, "amount", columns[2]);
	append_text(out, "currency", columns[3]);
	append_amount(out, "min", columns[4]);
	append_amount(out, "max", columns[5]);
	append_texts(out, "prices", columns[6]);
	append_texts(out, "plans", columns[7]);
	if (!columns[8].isnull && !DatumGetBool(columns[8].value))
	{
		append_key(out, "alone");
		appendStringInfoString(out, "true");
	}
	append_amount(out, "discount", discount);
	appendStringInfoChar(out, '}');
}

/*
 * billing_calculation_inputs
 *		The whole text of one invoice: see billing_calculation_state() for the fields.
 */
Datum
billing_calculation_inputs(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(billing_calculation_state(fcinfo->args));
}

text *
billing_calculation_state(const NullableDatum *fields)
{
	static const char *const ranges[] = {
		"arrears", "arrears_whole", "advance", "advance_whole",
		"step_arrears", "step_arrears_whole", "step_advance", "step_advance_whole"
	};
	StringInfoData out;
	text	   *items = DatumGetTextPP(fields[13].value);

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"engine\":\"" BILLING_VERSION "\"");
	append_text(&out, "kind", fields[0]);
	append_int(&out, "subscription", fields[1]);
	append_int(&out, "plan", fields[2]);
	append_int(&out, "quantity", fields[3]);
	append_text(&out, "timezone", fields[4]);
	for (int i = 0; i < lengthof(ranges); i++)
		append_range(&out, ranges[i], fields[5 + i]);
	append_key(&out, "items");
	appendBinaryStringInfo(&out, VARDATA_ANY(items), VARSIZE_ANY_EXHDR(items));
	append_amount(&out, "subtotal", fields[14]);
	append_amount(&out, "discount", fields[15]);
	append_json(&out, "coupons", fields[21]);
	append_number(&out, "tax_percent", fields[16]);
	append_amount(&out, "tax", fields[17]);
	append_some(&out, "tax_included", fields[18]);
	append_json(&out, "taxes", fields[19]);
	append_amount(&out, "total", fields[20]);
	append_hex(&out, "party", fields[22]);
	appendStringInfoChar(&out, '}');
	return cstring_to_text_with_len(out.data, out.len);
}

/*
 * billing_calculation_hash
 *		SHA-256 of a text in UTF-8.
 */
Datum
billing_calculation_hash(PG_FUNCTION_ARGS)
{
	uint8		hash[BILLING_HASH_BYTES];

	billing_calculation_digest(PG_GETARG_TEXT_PP(0), hash);
	PG_RETURN_DATUM(billing_hash_datum(hash, sizeof(hash)));
}

void
billing_calculation_digest(text *inputs, uint8 *hash)
{
	int			len = VARSIZE_ANY_EXHDR(inputs);
	char	   *string = VARDATA_ANY(inputs);
	char	   *utf8 = pg_server_to_any(string, len, PG_UTF8);

	billing_hash(utf8, utf8 == string ? len : strlen(utf8), hash);
}

static void
append_key(StringInfo out, const char *key)
{
	int			len = strlen(key);
	char	   *p;

	enlargeStringInfo(out, len + 4);
	p = out->data + out->len;
	if (p[-1] != '{')
		*p++ = ',';
	*p++ = '"';
	memcpy(p, key, len);
	p += len;
	*p++ = '"';
	*p++ = ':';
	*p = '\0';
	out->len = p - out->data;
}

/* Each of these leaves out what is NULL. */
static void
append_text(StringInfo out, const char *key, NullableDatum value)
{
	text	   *string;

	if (value.isnull)
		return;
	string = DatumGetTextPP(value.value);
	append_key(out, key);
	if (is_plain(VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string)))
	{
		appendStringInfoCharMacro(out, '"');
		appendBinaryStringInfo(out, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
		appendStringInfoCharMacro(out, '"');
	}
	else
		escape_json(out, text_to_cstring(string));
}

/* Does JSON write a string as it is? */
static bool
is_plain(const char *string, int len)
{
	for (int i = 0; i < len; i++)
	{
		if ((unsigned char) string[i] < ' ' || string[i] == '"' || string[i] == '\\')
			return false;
	}
	return true;
}

/* An integer of 4 or 8 bytes: both are passed in the Datum itself. */
static void
append_int(StringInfo out, const char *key, NullableDatum value)
{
	if (value.isnull)
		return;
	append_key(out, key);
	enlargeStringInfo(out, MAXINT8LEN + 1);
	out->len += pg_lltoa(DatumGetInt64(value.value), out->data + out->len);
}

/* A number without zeros at the end of its decimals. */
static void
append_number(StringInfo out, const char *key, NullableDatum value)
{
	char	   *digits;
	int			len;

	if (value.isnull)
		return;
	append_key(out, key);
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, value.value));
	len = strlen(digits);
	if (memchr(digits, '.', len) != NULL)
	{
		while (digits[len - 1] == '0')
			len--;
		if (digits[len - 1] == '.')
			len--;
	}
	appendStringInfoCharMacro(out, '"');
	appendBinaryStringInfo(out, digits, len);
	appendStringInfoCharMacro(out, '"');
}

static void
append_amount(StringInfo out, const char *key, NullableDatum value)
{
	char		decimal[BILLING_AMOUNT_DECIMAL_LEN];
	const BillingAmount *amount;

	if (value.isnull)
		return;
	amount = DatumGetBillingAmountP(value.value);
	append_key(out, key);
	(void) billing_amount_to_decimal(amount, decimal);
	appendStringInfoCharMacro(out, '"');
	appendStringInfoString(out, decimal);
	appendStringInfoCharMacro(out, ' ');
	appendStringInfoString(out, amount->currency);
	appendStringInfoCharMacro(out, '"');
}

/* An amount that is not zero. */
static void
append_some(StringInfo out, const char *key, NullableDatum value)
{
	if (!value.isnull && DatumGetBillingAmountP(value.value)->units != 0)
		append_amount(out, key, value);
}

/* What is JSON already. */
static void
append_json(StringInfo out, const char *key, NullableDatum value)
{
	text	   *json;

	if (value.isnull)
		return;
	json = DatumGetTextPP(value.value);
	append_key(out, key);
	appendBinaryStringInfo(out, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

static void
append_texts(StringInfo out, const char *key, NullableDatum value)
{
	Datum	   *texts;
	bool	   *nulls;
	int			count;

	if (value.isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value.value), TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &count);
	append_key(out, key);
	appendStringInfoChar(out, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		escape_json(out, nulls[i] ? "" : TextDatumGetCString(texts[i]));
	}
	appendStringInfoChar(out, ']');
}

static void
append_lines(StringInfo out, const char *key, NullableDatum value)
{
	Datum	   *lines;
	bool	   *nulls;
	int			count;

	if (value.isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value.value), INT4OID, sizeof(int32), true, TYPALIGN_INT, &lines, &nulls, &count);
	append_key(out, key);
	appendStringInfoChar(out, '[');
	for (int i = 0; i < count; i++)
		appendStringInfo(out, "%s%d", i > 0 ? "," : "", nulls[i] ? 0 : DatumGetInt32(lines[i]));
	appendStringInfoChar(out, ']');
}

static void
append_instant(StringInfo out, const char *key, NullableDatum value)
{
	if (value.isnull)
		return;
	append_key(out, key);
	append_utc(out, DatumGetTimestampTz(value.value), true);
}

static void
append_range(StringInfo out, const char *key, NullableDatum value)
{
	TypeCacheEntry *typcache;
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	if (value.isnull)
		return;
	typcache = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	range_deserialize(typcache, DatumGetRangeTypeP(value.value), &lower, &upper, &empty);
	append_key(out, key);
	appendStringInfoCharMacro(out, '[');
	if (!empty)
	{
		append_utc(out, lower.infinite ? DT_NOBEGIN : DatumGetTimestampTz(lower.val), true);
		appendStringInfoCharMacro(out, ',');
		append_utc(out, upper.infinite ? DT_NOEND : DatumGetTimestampTz(upper.val), true);
	}
	appendStringInfoCharMacro(out, ']');
}

static void
append_hex(StringInfo out, const char *key, NullableDatum value)
{
	bytea	   *bytes;
	int			len;

	if (value.isnull)
		return;
	bytes = DatumGetByteaPP(value.value);
	len = VARSIZE_ANY_EXHDR(bytes);
	append_key(out, key);
	appendStringInfoCharMacro(out, '"');
	enlargeStringInfo(out, 2 * len + 1);
	out->len += hex_encode(VARDATA_ANY(bytes), len, out->data + out->len);
	appendStringInfoCharMacro(out, '"');
}

void
billing_calculation_append_utc(StringInfo out, TimestampTz instant)
{
	append_utc(out, instant, false);
}

/*
 * append_utc
 *		An instant in UTC: "2026-01-31T05:00:00.000000Z" as JSON, or without quotes
 *		and with only the decimals it needs as a part of a key.
 */
static void
append_utc(StringInfo out, TimestampTz instant, bool is_json)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char	   *p;

	if (TIMESTAMP_NOT_FINITE(instant) || timestamp2tm(instant, NULL, &tm, &fsec, NULL, NULL) != 0)
	{
		appendStringInfoString(out, "null");
		return;
	}

	enlargeStringInfo(out, 48);
	p = out->data + out->len;
	if (is_json)
		*p++ = '"';
	p = pg_ultostr_zeropad(p, abs(tm.tm_year), 4);
	*p++ = tm.tm_year < 0 ? '~' : '-';
	p = pg_ultostr_zeropad(p, tm.tm_mon, 2);
	*p++ = '-';
	p = pg_ultostr_zeropad(p, tm.tm_mday, 2);
	*p++ = 'T';
	p = pg_ultostr_zeropad(p, tm.tm_hour, 2);
	*p++ = ':';
	p = pg_ultostr_zeropad(p, tm.tm_min, 2);
	*p++ = ':';
	p = pg_ultostr_zeropad(p, tm.tm_sec, 2);
	if (is_json || fsec != 0)
	{
		*p++ = '.';
		p = pg_ultostr_zeropad(p, fsec, 6);
	}
	*p++ = 'Z';
	if (is_json)
		*p++ = '"';
	*p = '\0';
	out->len = p - out->data;
}

/*
 * billing_chain_link
 *		The next link of a chain: SHA-256 of the link before (state, or start for
 *		the first) and of hash; a NULL adds no link.
 */
Datum
billing_chain_link(PG_FUNCTION_ARGS)
{
	bytea	   *before = PG_ARGISNULL(0) ? PG_GETARG_BYTEA_PP(1) : PG_GETARG_BYTEA_PP(0);
	bytea	   *hash;
	uint8		both[2 * BILLING_HASH_BYTES];
	int			nbefore = VARSIZE_ANY_EXHDR(before);
	int			nhash;

	if (PG_ARGISNULL(2))
		PG_RETURN_BYTEA_P(before);
	hash = PG_GETARG_BYTEA_PP(2);
	nhash = VARSIZE_ANY_EXHDR(hash);
	if (nbefore > BILLING_HASH_BYTES || nhash > BILLING_HASH_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a link of the chain is at most %d bytes", BILLING_HASH_BYTES)));
	memcpy(both, VARDATA_ANY(before), nbefore);
	memcpy(both + nbefore, VARDATA_ANY(hash), nhash);
	PG_RETURN_BYTEA_P(billing_hash_make(both, nbefore + nhash));
}

/*
 * billing_party_digest
 *		Salted SHA-256 of who is billed; NULL without a salt.
 */
Datum
billing_party_digest(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(billing_calculation_party(fcinfo->args));
}

bytea *
billing_calculation_party(const NullableDatum *fields)
{
	StringInfoData out;

	initStringInfo(&out);
	appendBinaryStringInfo(&out, (const char *) DatumGetUUIDP(fields[0].value)->data, UUID_LEN);
	appendStringInfoChar(&out, '{');
	append_text(&out, "name", fields[1]);
	append_text(&out, "email", fields[2]);
	if (!fields[3].isnull)
	{
		Jsonb	   *address = DatumGetJsonbP(fields[3].value);

		append_key(&out, "address");
		(void) JsonbToCString(&out, &address->root, VARSIZE(address));
	}
	append_text(&out, "tax_id", fields[4]);
	appendStringInfoChar(&out, '}');
	return billing_hash_make(out.data, out.len);
}

/*
 * billing_biz_key
 *		The natural key of a subscription's invoice.
 */
Datum
billing_biz_key(PG_FUNCTION_ARGS)
{
	text	   *kind = PG_GETARG_TEXT_PP(2);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "sub/" INT64_FORMAT "/", PG_GETARG_INT64(0));
	append_utc(&out, PG_GETARG_TIMESTAMPTZ(1), false);
	appendStringInfoChar(&out, '/');
	appendBinaryStringInfo(&out, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind));
	appendStringInfo(&out, "/%d", PG_GETARG_INT32(3));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/*
 * billing_invoice_number
 *		A number as people read it: unique in the installation, as it embeds the tenant.
 */
Datum
billing_invoice_number(PG_FUNCTION_ARGS)
{
	text	   *prefix = PG_GETARG_TEXT_PP(0);
	StringInfoData out;

	initStringInfo(&out);
	appendBinaryStringInfo(&out, VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix));
	appendStringInfo(&out, INT64_FORMAT "-%06lld", PG_GETARG_INT64(1), (long long) PG_GETARG_INT64(2));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/*
 * billing_usage_digest
 *		64 bits of the SHA-256 of (event_id, meter, subscription_id, quantity, at):
 *		sums of them, modulo 2^64, are the same in any order.
 */
Datum
billing_usage_digest(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	uint8		hash[BILLING_HASH_BYTES];
	uint64		digest = 0;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	append_text(&out, "event_id", fcinfo->args[0]);
	append_text(&out, "meter", fcinfo->args[1]);
	append_int(&out, "subscription", fcinfo->args[2]);
	append_number(&out, "quantity", fcinfo->args[3]);
	append_instant(&out, "at", fcinfo->args[4]);
	appendStringInfoChar(&out, '}');

	billing_hash(out.data, out.len, hash);
	for (int i = 0; i < 8; i++)
		digest = digest << 8 | hash[i];
	PG_RETURN_INT64((int64) digest);
}

/* Addition modulo 2^64: an order-free sum that cannot overflow. */
Datum
billing_digest_add(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) ((uint64) PG_GETARG_INT64(0) + (uint64) PG_GETARG_INT64(1)));
}

Datum
billing_tariff_digest(PG_FUNCTION_ARGS)
{
	char	   *canonical = billing_tariff_print(PG_GETARG_BILLING_TARIFF_P(0));

	PG_RETURN_BYTEA_P(billing_hash_make(canonical, strlen(canonical)));
}
