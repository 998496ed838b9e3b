/*-------------------------------------------------------------------------
 *
 * amount.c
 *	  billing.amount: exact money in one currency.
 *
 * An amount is a whole number of minor units.  Whatever makes a fraction of a
 * unit is computed exactly and rounded once, half away from zero.  Arithmetic
 * over two currencies raises; comparison does not, or ANALYZE, DISTINCT and
 * sorting would fail on a table that holds both.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/sortsupport.h"

#include "amount.h"

/* text and binary form */
BILLING_FUNCTION(billing_amount_in);
BILLING_FUNCTION(billing_amount_out);
BILLING_FUNCTION(billing_amount_recv);
BILLING_FUNCTION(billing_amount_send);

/* from and to other types */
BILLING_FUNCTION(billing_amount);
BILLING_FUNCTION(billing_from_minor_units);
BILLING_FUNCTION(billing_minor_units);
BILLING_FUNCTION(billing_currency);
BILLING_FUNCTION(billing_to_numeric);

/* arithmetic */
BILLING_FUNCTION(billing_amount_add);
BILLING_FUNCTION(billing_amount_sub);
BILLING_FUNCTION(billing_amount_neg);
BILLING_FUNCTION(billing_abs);
BILLING_FUNCTION(billing_amount_mul);
BILLING_FUNCTION(billing_numeric_mul_amount);
BILLING_FUNCTION(billing_amount_div);
BILLING_FUNCTION(billing_amount_ratio);

/* comparison */
BILLING_FUNCTION(billing_amount_eq);
BILLING_FUNCTION(billing_amount_ne);
BILLING_FUNCTION(billing_amount_lt);
BILLING_FUNCTION(billing_amount_le);
BILLING_FUNCTION(billing_amount_gt);
BILLING_FUNCTION(billing_amount_ge);
BILLING_FUNCTION(billing_amount_cmp);
BILLING_FUNCTION(billing_amount_sortsupport);
BILLING_FUNCTION(billing_amount_hash);
BILLING_FUNCTION(billing_amount_hash_extended);

/* aggregates */
BILLING_FUNCTION(billing_amount_smaller);
BILLING_FUNCTION(billing_amount_larger);
BILLING_FUNCTION(billing_amount_accum);
BILLING_FUNCTION(billing_amount_remove);
BILLING_FUNCTION(billing_amount_combine);
BILLING_FUNCTION(billing_amount_serialize);
BILLING_FUNCTION(billing_amount_deserialize);
BILLING_FUNCTION(billing_amount_sum_final);
BILLING_FUNCTION(billing_amount_avg_final);

/* allocation */
BILLING_FUNCTION(billing_allocate);

/* What the text of an amount says, before it is known to be one. */
typedef struct Literal
{
	const char *code;			/* three letters, in any case */
	const char *number;			/* digits with at most one point */
	const char *number_end;
	bool		negative;
	size_t		decimals;		/* digits behind the point */
} Literal;

/*
 * A finite numeric as PostgreSQL sends it: groups of four decimal digits in
 * network order, the first one worth 10000^weight.
 */
typedef struct NumericView
{
	bytea	   *wire;
	const char *groups;
	int			ngroups;
	int			weight;
	bool		negative;
} NumericView;

#define GROUP_BASE		10000
#define GROUP_DIGITS	4

/* The wire form's header: ngroups, weight, sign, dscale. */
#define WIRE_GROUPS		0
#define WIRE_WEIGHT		2
#define WIRE_SIGN		4
#define WIRE_HEADER		8
#define WIRE_NEGATIVE	0x4000

/* From 10000^6 on a number is beyond int64 in any unit. */
#define MAX_UNITS_WEIGHT 5

/*
 * A numeric of at most 16 digits around the point: mantissa / 10000^groups.
 * Times or over an int64, it stays within int128.
 */
typedef struct SmallNumeric
{
	int64		mantissa;
	int			groups;
} SmallNumeric;

#define SMALL_MAX_GROUPS 4

/* What sum() and avg() keep: wider than any count of int64 can overflow. */
typedef struct AmountSum
{
	int128		units;
	int64		count;			/* 0: no currency yet, or none any more */
	char		currency[8];
} AmountSum;

/* One part of an allocation on the way. */
typedef struct Share
{
	uint64		units;			/* magnitude */
	int			index;
	union
	{
		int128		whole;
		Numeric		exact;
	}			rest;			/* what was cut off, in the weights' measure */
} Share;

/* More parts would not fit the result into an array. */
#define ALLOCATE_MAX_PARTS 10000000

static bool scan_literal(const char *text, Literal *literal);
static const char *skip_space(const char *p);
static bool scan_code(const char **text, Literal *literal);
static bool scan_number(const char **text, Literal *literal);
static bool read_units(const Literal *literal, int exponent, int64 *units);
static const BillingCurrency *find_currency(text *code);
static int	currency_exponent(const char *code);
static inline BillingAmount *make_like(int64 units, const BillingAmount *like);
pg_noreturn static void raise_mixed_currencies(const char *a, const char *b);
static BillingAmount *multiply(const BillingAmount *amount, Numeric factor);
static BillingAmount *multiply_exactly(const BillingAmount *amount, Numeric factor,
									   const NumericView *view);
static BillingAmount *divide_exactly(const BillingAmount *amount, Numeric divisor,
									 const NumericView *view);
static bool half_reached(int64 units, int64 quotient, Numeric divisor);
static Numeric numeric_call(PGFunction function, Numeric a, Numeric b);
static void open_numeric(Numeric number, const char *role, NumericView *view);
static void close_numeric(NumericView *view);
static int	numeric_group(const NumericView *view, int power);
static bool round_numeric(const NumericView *view, int exponent, int64 *units);
static bool small_numeric(const NumericView *view, SmallNumeric *small);
static int64 power_of(int base, int exponent);
static int	compare_amounts(const BillingAmount *a, const BillingAmount *b);
static int	compare_for_sort(Datum a, Datum b, SortSupport ssup);
static AmountSum *new_sum(FunctionCallInfo fcinfo);
static Numeric *read_weights(ArrayType *array, int *count);
static bool check_weight(Numeric weight, int index);
static bool split_small(uint64 magnitude, const Numeric *weights, int count, Share *shares);
static bool scale_weights(const Numeric *weights, int count, int64 *scaled, int64 *total);
static void split_exactly(uint64 magnitude, const Numeric *weights, int count, Share *shares);
static Numeric sum_weights(const Numeric *weights, int count);
static void hand_out_rest(uint64 magnitude, Share *shares, int count, bool small);
static int	compare_whole_rests(const void *a, const void *b, void *arg);
static int	compare_exact_rests(const void *a, const void *b, void *arg);
static ArrayType *make_parts(const BillingAmount *whole, const Share *shares, int count,
							 Oid element_type);

/*
 * billing_amount_in
 *		Read "49.00 USD" or "usd 49".
 *
 * A decimal too many is refused even if it is zero: who writes it thinks of
 * another currency, and rounding would hide that.
 */
Datum
billing_amount_in(PG_FUNCTION_ARGS)
{
	const char *input = PG_GETARG_CSTRING(0);
	const BillingCurrency *currency;
	Literal		literal;
	int64		units;

	if (!scan_literal(input, &literal))
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%.*s\"", "billing.amount",
						BILLING_QUOTED(input, strlen(input))),
				 errhint("Write a plain decimal number and an ISO 4217 code, such as 49.00 USD.")));

	currency = billing_currency_find(literal.code, BILLING_CURRENCY_LEN);
	if (currency == NULL)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("currency \"%.*s\" is not known", BILLING_CURRENCY_LEN, literal.code),
				 errhint("billing.currencies() lists the ISO 4217 codes that have a minor unit.")));

	if (literal.decimals > currency->exponent)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("too many decimals for type %s: \"%.*s\"", "billing.amount",
						BILLING_QUOTED(input, strlen(input))),
				 errdetail("%s has %d decimals.", currency->code, currency->exponent),
				 errhint("To round, use billing.amount(numeric, text).")));

	if (!read_units(&literal, currency->exponent, &units))
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value \"%.*s\" is out of range for type %s",
						BILLING_QUOTED(input, strlen(input)), "billing.amount"),
				 errhint("An amount is at most 9223372036854775807 minor units.")));

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(units, currency->code));
}

/*
 * scan_literal
 *		Split a text into code and number, in either order; false if it is
 *		neither.  ASCII only: other scripts' digits and spaces are no literal.
 */
static bool
scan_literal(const char *text, Literal *literal)
{
	const char *p = skip_space(text);

	if (scan_code(&p, literal))
	{
		p = skip_space(p);
		if (!scan_number(&p, literal))
			return false;
	}
	else
	{
		if (!scan_number(&p, literal))
			return false;
		p = skip_space(p);
		if (!scan_code(&p, literal))
			return false;
	}

	return *skip_space(p) == '\0';
}

static const char *
skip_space(const char *p)
{
	while (scanner_isspace(*p))
		p++;
	return p;
}

static bool
scan_code(const char **text, Literal *literal)
{
	const char *p = *text;

	while ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z'))
		p++;
	if (p - *text != BILLING_CURRENCY_LEN)
		return false;

	literal->code = *text;
	*text = p;
	return true;
}

static bool
scan_number(const char **text, Literal *literal)
{
	const char *p = *text;
	size_t		digits;

	literal->negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;

	literal->number = p;
	while (*p >= '0' && *p <= '9')
		p++;
	digits = p - literal->number;
	literal->decimals = 0;
	if (*p == '.')
	{
		p++;
		while (p[literal->decimals] >= '0' && p[literal->decimals] <= '9')
			literal->decimals++;
		p += literal->decimals;
	}
	literal->number_end = p;

	*text = p;
	return digits + literal->decimals > 0;
}

/*
 * read_units
 *		A literal in minor units; false if it is out of range.  Counts downwards,
 *		because the minimum has no positive twin.
 */
static bool
read_units(const Literal *literal, int exponent, int64 *units)
{
	int64		result = 0;

	for (const char *p = literal->number; p < literal->number_end; p++)
	{
		if (*p == '.')
			continue;
		if (pg_mul_s64_overflow(result, 10, &result) ||
			pg_sub_s64_overflow(result, *p - '0', &result))
			return false;
	}
	if (pg_mul_s64_overflow(result, power_of(10, exponent - literal->decimals), &result))
		return false;

	if (literal->negative)
		*units = result;
	else if (pg_sub_s64_overflow(0, result, units))
		return false;
	return true;
}

Datum
billing_amount_out(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	char	   *result = palloc(BILLING_AMOUNT_DECIMAL_LEN + 1 + BILLING_CURRENCY_LEN);
	int			len = billing_amount_to_decimal(amount, result);

	result[len++] = ' ';
	memcpy(result + len, amount->currency, BILLING_CURRENCY_LEN);
	result[len + BILLING_CURRENCY_LEN] = '\0';

	PG_RETURN_CSTRING(result);
}

/*
 * billing_amount_to_decimal
 *		Write an amount without its code, with all decimals of its currency.
 *		Takes BILLING_AMOUNT_DECIMAL_LEN bytes, returns the length.
 */
int
billing_amount_to_decimal(const BillingAmount *amount, char *decimal)
{
	int			exponent = currency_exponent(amount->currency);
	uint64		magnitude = amount->units < 0 ? -(uint64) amount->units : amount->units;
	char		digits[BILLING_AMOUNT_DECIMAL_LEN];
	int			ndigits = pg_ulltoa_n(magnitude, digits);
	int			whole;
	char	   *p = decimal;

	/* At least one digit before the point. */
	if (ndigits <= exponent)
	{
		int			zeros = exponent + 1 - ndigits;

		memmove(digits + zeros, digits, ndigits);
		memset(digits, '0', zeros);
		ndigits += zeros;
	}
	whole = ndigits - exponent;

	if (amount->units < 0)
		*p++ = '-';
	memcpy(p, digits, whole);
	p += whole;
	if (exponent > 0)
	{
		*p++ = '.';
		memcpy(p, digits + whole, exponent);
		p += exponent;
	}
	*p = '\0';

	return p - decimal;
}

/*
 * billing_amount_recv
 *		Read the binary form: minor units as int64, then the code's three bytes.
 */
Datum
billing_amount_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int64		units = pq_getmsgint64(buf);
	const char *code = pq_getmsgbytes(buf, BILLING_CURRENCY_LEN);
	const BillingCurrency *currency = billing_currency_find(code, BILLING_CURRENCY_LEN);

	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid currency code in external \"%s\" value", "billing.amount"),
				 errhint("billing.currencies() lists the ISO 4217 codes that have a minor unit.")));

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(units, currency->code));
}

Datum
billing_amount_send(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint64(&buf, amount->units);
	pq_sendbytes(&buf, amount->currency, BILLING_CURRENCY_LEN);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * billing_amount
 *		A number of whole currency units as an amount, rounded half away from zero.
 */
Datum
billing_amount(PG_FUNCTION_ARGS)
{
	const BillingCurrency *currency = find_currency(PG_GETARG_TEXT_PP(1));

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_round(PG_GETARG_NUMERIC(0), currency));
}

/*
 * billing_amount_round
 *		The same from C.
 */
BillingAmount *
billing_amount_round(Numeric number, const BillingCurrency *currency)
{
	NumericView view;
	int64		units;

	open_numeric(number, "amount", &view);
	if (!round_numeric(&view, currency->exponent, &units))
		billing_amount_out_of_range(currency->code);
	close_numeric(&view);

	return billing_amount_make(units, currency->code);
}

Datum
billing_from_minor_units(PG_FUNCTION_ARGS)
{
	int64		units = PG_GETARG_INT64(0);
	const BillingCurrency *currency = find_currency(PG_GETARG_TEXT_PP(1));

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(units, currency->code));
}

Datum
billing_minor_units(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(PG_GETARG_BILLING_AMOUNT_P(0)->units);
}

Datum
billing_currency(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(PG_GETARG_BILLING_AMOUNT_P(0)->currency));
}

/*
 * billing_to_numeric
 *		The number without its code, with as many decimals as the currency has.
 */
Datum
billing_to_numeric(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);

	PG_RETURN_NUMERIC(int64_div_fast_to_numeric(amount->units,
												currency_exponent(amount->currency)));
}

/*
 * find_currency
 *		The currency a caller names, or an error.
 */
static const BillingCurrency *
find_currency(text *code)
{
	const BillingCurrency *currency =
		billing_currency_find(VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code));

	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("currency \"%.*s\" is not known",
						BILLING_QUOTED(VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code))),
				 errhint("billing.currencies() lists the ISO 4217 codes that have a minor unit.")));
	return currency;
}

/*
 * currency_exponent
 *		Decimals of a stored code.  An unknown one came from a damaged page or
 *		from a later version of the extension.
 */
static int
currency_exponent(const char *code)
{
	const BillingCurrency *currency = billing_currency_find(code, BILLING_CURRENCY_LEN);

	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored amount has an unknown currency")));
	return currency->exponent;
}

/*
 * billing_amount_make
 *		A palloc'd amount of units in a currency of this table's spelling.
 */
BillingAmount *
billing_amount_make(int64 units, const char *currency)
{
	BillingAmount *result = palloc(sizeof(BillingAmount));

	result->units = units;
	memset(result->currency, 0, sizeof(result->currency));
	memcpy(result->currency, currency, BILLING_CURRENCY_LEN);
	return result;
}

/*
 * billing_amount_make_checked
 *		The same from a wider number, or YB003.
 */
BillingAmount *
billing_amount_make_checked(int128 units, const char *currency)
{
	if (units < PG_INT64_MIN || units > PG_INT64_MAX)
		billing_amount_out_of_range(currency);
	return billing_amount_make((int64) units, currency);
}

static inline BillingAmount *
make_like(int64 units, const BillingAmount *like)
{
	BillingAmount *result = palloc(sizeof(BillingAmount));

	result->units = units;
	memcpy(result->currency, like->currency, sizeof(result->currency));
	return result;
}

void
billing_amount_check_same_currency(const BillingAmount *a, const BillingAmount *b)
{
	if (!billing_amount_same_currency(a, b))
		raise_mixed_currencies(a->currency, b->currency);
}

static void
raise_mixed_currencies(const char *a, const char *b)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
			 errmsg("cannot combine amounts in %s and %s", a, b),
			 errdetail("left=%s right=%s", a, b),
			 errhint("Convert one of them, or group by billing.currency(amount).")));
}

void
billing_amount_out_of_range(const char *currency)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
			 errmsg("amount in %s is out of range", currency),
			 errdetail("currency=%s min_minor_units=%lld max_minor_units=%lld", currency,
					   (long long) PG_INT64_MIN, (long long) PG_INT64_MAX),
			 errhint("Amounts are 64-bit numbers of minor units; split what is larger.")));
}

Datum
billing_amount_add(PG_FUNCTION_ARGS)
{
	const BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	const BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);
	int64		units;

	if (unlikely(!billing_amount_same_currency(a, b)))
		raise_mixed_currencies(a->currency, b->currency);
	if (unlikely(pg_add_s64_overflow(a->units, b->units, &units)))
		billing_amount_out_of_range(a->currency);

	PG_RETURN_BILLING_AMOUNT_P(make_like(units, a));
}

Datum
billing_amount_sub(PG_FUNCTION_ARGS)
{
	const BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	const BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);
	int64		units;

	if (unlikely(!billing_amount_same_currency(a, b)))
		raise_mixed_currencies(a->currency, b->currency);
	if (unlikely(pg_sub_s64_overflow(a->units, b->units, &units)))
		billing_amount_out_of_range(a->currency);

	PG_RETURN_BILLING_AMOUNT_P(make_like(units, a));
}

Datum
billing_amount_neg(PG_FUNCTION_ARGS)
{
	const BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);

	if (unlikely(a->units == PG_INT64_MIN))
		billing_amount_out_of_range(a->currency);

	PG_RETURN_BILLING_AMOUNT_P(make_like(-a->units, a));
}

Datum
billing_abs(PG_FUNCTION_ARGS)
{
	const BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);

	if (unlikely(a->units == PG_INT64_MIN))
		billing_amount_out_of_range(a->currency);

	PG_RETURN_BILLING_AMOUNT_P(make_like(a->units < 0 ? -a->units : a->units, a));
}

Datum
billing_amount_mul(PG_FUNCTION_ARGS)
{
	PG_RETURN_BILLING_AMOUNT_P(multiply(PG_GETARG_BILLING_AMOUNT_P(0), PG_GETARG_NUMERIC(1)));
}

Datum
billing_numeric_mul_amount(PG_FUNCTION_ARGS)
{
	PG_RETURN_BILLING_AMOUNT_P(multiply(PG_GETARG_BILLING_AMOUNT_P(1), PG_GETARG_NUMERIC(0)));
}

/*
 * multiply
 *		amount x factor, rounded half away from zero.
 */
static BillingAmount *
multiply(const BillingAmount *amount, Numeric factor)
{
	NumericView view;
	SmallNumeric small;

	open_numeric(factor, "factor", &view);
	if (!small_numeric(&view, &small))
		return multiply_exactly(amount, factor, &view);

	return billing_amount_make_checked(billing_round_div((int128) amount->units * small.mantissa,
														 power_of(GROUP_BASE, small.groups)),
									   amount->currency);
}

/*
 * multiply_exactly
 *		The same for factors of any length.  A product of a whole number keeps
 *		every decimal of the factor, so numeric_mul rounds nothing off.
 */
static BillingAmount *
multiply_exactly(const BillingAmount *amount, Numeric factor, const NumericView *view)
{
	NumericView product;
	int64		units;

	if (amount->units == 0)
		return make_like(0, amount);
	if (view->weight > MAX_UNITS_WEIGHT)
		billing_amount_out_of_range(amount->currency);

	open_numeric(numeric_call(numeric_mul, int64_to_numeric(amount->units), factor),
				 "product", &product);
	if (!round_numeric(&product, 0, &units))
		billing_amount_out_of_range(amount->currency);
	return make_like(units, amount);
}

/*
 * billing_amount_div
 *		amount / divisor, rounded half away from zero.
 */
Datum
billing_amount_div(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	Numeric		divisor = PG_GETARG_NUMERIC(1);
	NumericView view;
	SmallNumeric small;
	int128		units;

	open_numeric(divisor, "divisor", &view);
	if (view.ngroups == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DIVISION_BY_ZERO),
				 errmsg("division by zero")));
	if (!small_numeric(&view, &small))
		PG_RETURN_BILLING_AMOUNT_P(divide_exactly(amount, divisor, &view));

	units = (int128) amount->units * power_of(GROUP_BASE, small.groups);
	units = small.mantissa < 0 ?
		billing_round_div(-units, -(int128) small.mantissa) :
		billing_round_div(units, small.mantissa);
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make_checked(units, amount->currency));
}

/*
 * divide_exactly
 *		The same for divisors of any length.
 *
 * numeric_div stops after some decimals, and rounding what it rounded could
 * turn 0.4999... into 1.  So cut to a whole number, then judge the remainder.
 */
static BillingAmount *
divide_exactly(const BillingAmount *amount, Numeric divisor, const NumericView *view)
{
	NumericView quotient;
	int64		units;

	open_numeric(numeric_call(numeric_div_trunc, int64_to_numeric(amount->units), divisor),
				 "quotient", &quotient);
	if (!round_numeric(&quotient, 0, &units))
		billing_amount_out_of_range(amount->currency);

	if (half_reached(amount->units, units, divisor))
	{
		int			away = (amount->units < 0) == view->negative ? 1 : -1;

		if (pg_add_s64_overflow(units, away, &units))
			billing_amount_out_of_range(amount->currency);
	}
	return make_like(units, amount);
}

/*
 * half_reached
 *		Is what the cut quotient leaves at least half the divisor?
 */
static bool
half_reached(int64 units, int64 quotient, Numeric divisor)
{
	Numeric		rest = numeric_call(numeric_sub, int64_to_numeric(units),
									numeric_call(numeric_mul, int64_to_numeric(quotient), divisor));
	Numeric		twice = numeric_call(numeric_add, rest, rest);

	twice = DatumGetNumeric(DirectFunctionCall1(numeric_abs, NumericGetDatum(twice)));
	divisor = DatumGetNumeric(DirectFunctionCall1(numeric_abs, NumericGetDatum(divisor)));
	return DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(twice),
											NumericGetDatum(divisor)));
}

static Numeric
numeric_call(PGFunction function, Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2Coll(function, InvalidOid,
												   NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * billing_amount_ratio
 *		amount / amount as a number, with the decimals numeric division gives.
 */
Datum
billing_amount_ratio(PG_FUNCTION_ARGS)
{
	const BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	const BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);

	billing_amount_check_same_currency(a, b);
	PG_RETURN_NUMERIC(numeric_call(numeric_div, int64_to_numeric(a->units),
								   int64_to_numeric(b->units)));
}

/*
 * open_numeric
 *		View the digits of a finite number; NaN and infinity are errors that
 *		name the number's role.
 *
 * The wire form is the documented way to a numeric's digits; its place in
 * memory is private to PostgreSQL.
 */
static void
open_numeric(Numeric number, const char *role, NumericView *view)
{
	const char *data;

	if (numeric_is_nan(number) || numeric_is_inf(number))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s cannot be NaN or infinity", role)));

	view->wire = DatumGetByteaP(DirectFunctionCall1(numeric_send, NumericGetDatum(number)));
	data = VARDATA(view->wire);
	view->ngroups = (int16) pg_ntoh16(*(const uint16 *) (data + WIRE_GROUPS));
	view->weight = (int16) pg_ntoh16(*(const uint16 *) (data + WIRE_WEIGHT));
	view->negative = pg_ntoh16(*(const uint16 *) (data + WIRE_SIGN)) == WIRE_NEGATIVE;
	view->groups = data + WIRE_HEADER;
}

static void
close_numeric(NumericView *view)
{
	pfree(view->wire);
}

/*
 * numeric_group
 *		The four digits worth 10000^power.
 */
static int
numeric_group(const NumericView *view, int power)
{
	int			i = view->weight - power;

	if (i < 0 || i >= view->ngroups)
		return 0;
	return pg_ntoh16(((const uint16 *) view->groups)[i]);
}

/*
 * round_numeric
 *		number x 10^exponent, rounded half away from zero; false if that is
 *		beyond int64.
 *
 * Half is decided by the first digit cut off, so the eight digits behind the
 * point are all it looks at.
 */
static bool
round_numeric(const NumericView *view, int exponent, int64 *units)
{
	int64		unit = power_of(10, 2 * GROUP_DIGITS - exponent);
	int128		magnitude = 0;
	int64		fraction;

	if (view->weight > MAX_UNITS_WEIGHT)
		return false;

	for (int power = view->weight; power >= 0; power--)
		magnitude = magnitude * GROUP_BASE + numeric_group(view, power);
	fraction = (int64) numeric_group(view, -1) * GROUP_BASE + numeric_group(view, -2);
	magnitude = magnitude * power_of(10, exponent) + (fraction + unit / 2) / unit;

	if (view->negative)
		magnitude = -magnitude;
	*units = (int64) magnitude;
	return magnitude >= PG_INT64_MIN && magnitude <= PG_INT64_MAX;
}

/*
 * small_numeric
 *		A number as mantissa / 10000^groups; false if it has too many digits.
 */
static bool
small_numeric(const NumericView *view, SmallNumeric *small)
{
	int			whole_groups = Max(view->weight + 1, 0);
	int64		mantissa = 0;

	small->groups = Max(view->ngroups - 1 - view->weight, 0);
	if (whole_groups + small->groups > SMALL_MAX_GROUPS)
		return false;

	for (int power = whole_groups - 1; power >= -small->groups; power--)
		mantissa = mantissa * GROUP_BASE + numeric_group(view, power);
	small->mantissa = view->negative ? -mantissa : mantissa;
	return true;
}

/*
 * power_of
 *		base^exponent, for the few that fit int64.
 */
static int64
power_of(int base, int exponent)
{
	int64		result = 1;

	while (exponent-- > 0)
		result *= base;
	return result;
}

Datum
billing_amount_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
								   PG_GETARG_BILLING_AMOUNT_P(1)) == 0);
}

Datum
billing_amount_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
								   PG_GETARG_BILLING_AMOUNT_P(1)) != 0);
}

Datum
billing_amount_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
								   PG_GETARG_BILLING_AMOUNT_P(1)) < 0);
}

Datum
billing_amount_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
								   PG_GETARG_BILLING_AMOUNT_P(1)) <= 0);
}

Datum
billing_amount_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
								   PG_GETARG_BILLING_AMOUNT_P(1)) > 0);
}

Datum
billing_amount_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
								   PG_GETARG_BILLING_AMOUNT_P(1)) >= 0);
}

Datum
billing_amount_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_amounts(PG_GETARG_BILLING_AMOUNT_P(0),
									PG_GETARG_BILLING_AMOUNT_P(1)));
}

/*
 * compare_amounts
 *		Order by currency code, then by units.
 */
static int
compare_amounts(const BillingAmount *a, const BillingAmount *b)
{
	if (!billing_amount_same_currency(a, b))
		return memcmp(a->currency, b->currency, BILLING_CURRENCY_LEN) < 0 ? -1 : 1;
	return (a->units > b->units) - (a->units < b->units);
}

Datum
billing_amount_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = compare_for_sort;
	PG_RETURN_VOID();
}

static int
compare_for_sort(Datum a, Datum b, SortSupport ssup)
{
	return compare_amounts(DatumGetBillingAmountP(a), DatumGetBillingAmountP(b));
}

Datum
billing_amount_hash(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);

	return hash_any((const unsigned char *) amount, sizeof(*amount));
}

Datum
billing_amount_hash_extended(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);

	return hash_any_extended((const unsigned char *) amount, sizeof(*amount), PG_GETARG_INT64(1));
}

Datum
billing_amount_smaller(PG_FUNCTION_ARGS)
{
	BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);

	billing_amount_check_same_currency(a, b);
	PG_RETURN_BILLING_AMOUNT_P(a->units <= b->units ? a : b);
}

Datum
billing_amount_larger(PG_FUNCTION_ARGS)
{
	BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);

	billing_amount_check_same_currency(a, b);
	PG_RETURN_BILLING_AMOUNT_P(a->units >= b->units ? a : b);
}

/*
 * billing_amount_accum
 *		Add an amount to a sum; NULL adds nothing.
 */
Datum
billing_amount_accum(PG_FUNCTION_ARGS)
{
	AmountSum  *sum = PG_ARGISNULL(0) ? new_sum(fcinfo) : (AmountSum *) PG_GETARG_POINTER(0);
	const BillingAmount *amount;

	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(sum);

	amount = PG_GETARG_BILLING_AMOUNT_P(1);
	if (sum->count == 0)
		memcpy(sum->currency, amount->currency, sizeof(sum->currency));
	else if (unlikely(memcmp(sum->currency, amount->currency, sizeof(sum->currency)) != 0))
		raise_mixed_currencies(sum->currency, amount->currency);

	sum->units += amount->units;
	sum->count++;
	PG_RETURN_POINTER(sum);
}

/*
 * new_sum
 *		An empty sum that lives as long as the aggregate.
 */
static AmountSum *
new_sum(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return MemoryContextAllocZero(context, sizeof(AmountSum));
}

/*
 * billing_amount_remove
 *		Take back what billing_amount_accum added, when a row leaves a window's
 *		frame.  The last one to leave takes the currency with it.
 */
Datum
billing_amount_remove(PG_FUNCTION_ARGS)
{
	AmountSum  *sum = PG_ARGISNULL(0) ? NULL : (AmountSum *) PG_GETARG_POINTER(0);

	if (sum == NULL)
		elog(ERROR, "inverse transition function called without a state");

	if (!PG_ARGISNULL(1))
	{
		sum->units -= PG_GETARG_BILLING_AMOUNT_P(1)->units;
		sum->count--;
	}
	PG_RETURN_POINTER(sum);
}

/*
 * billing_amount_combine
 *		Add the second of two partial sums to the first.
 */
Datum
billing_amount_combine(PG_FUNCTION_ARGS)
{
	AmountSum  *sum = PG_ARGISNULL(0) ? new_sum(fcinfo) : (AmountSum *) PG_GETARG_POINTER(0);
	const AmountSum *other = PG_ARGISNULL(1) ? NULL : (AmountSum *) PG_GETARG_POINTER(1);

	if (other == NULL || other->count == 0)
		PG_RETURN_POINTER(sum);

	if (sum->count == 0)
		memcpy(sum->currency, other->currency, sizeof(sum->currency));
	else if (memcmp(sum->currency, other->currency, sizeof(sum->currency)) != 0)
		raise_mixed_currencies(sum->currency, other->currency);

	sum->units += other->units;
	sum->count += other->count;
	PG_RETURN_POINTER(sum);
}

/*
 * billing_amount_serialize
 *		A partial sum as bytes, for the leader of a parallel query.
 */
Datum
billing_amount_serialize(PG_FUNCTION_ARGS)
{
	const AmountSum *sum;
	StringInfoData buf;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "aggregate function called in non-aggregate context");
	sum = (AmountSum *) PG_GETARG_POINTER(0);

	pq_begintypsend(&buf);
	pq_sendint64(&buf, (int64) (sum->units >> 64));
	pq_sendint64(&buf, (uint64) sum->units);
	pq_sendint64(&buf, sum->count);
	pq_sendbytes(&buf, sum->currency, BILLING_CURRENCY_LEN);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * billing_amount_deserialize
 *		The partial sum that billing_amount_serialize wrote.  Whatever else the
 *		bytes are, the result is a valid sum or an error.
 */
Datum
billing_amount_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	StringInfoData buf;
	AmountSum  *sum = new_sum(fcinfo);
	uint64		high;
	const char *code;
	const BillingCurrency *currency;

	bytes = PG_GETARG_BYTEA_PP(0);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));

	high = (uint64) pq_getmsgint64(&buf);
	sum->units = (int128) ((uint128) high << 64 | (uint64) pq_getmsgint64(&buf));
	sum->count = pq_getmsgint64(&buf);
	code = pq_getmsgbytes(&buf, BILLING_CURRENCY_LEN);
	pq_getmsgend(&buf);

	if (sum->count == 0 && sum->units == 0)
		PG_RETURN_POINTER(sum);

	currency = billing_currency_find(code, BILLING_CURRENCY_LEN);
	if (currency == NULL || sum->count <= 0 ||
		sum->units < (int128) sum->count * PG_INT64_MIN ||
		sum->units > (int128) sum->count * PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid partial sum of amounts")));
	memcpy(sum->currency, currency->code, BILLING_CURRENCY_LEN);
	PG_RETURN_POINTER(sum);
}

/*
 * billing_amount_sum_final
 *		The sum; NULL of no rows.  Only here does its range matter: 1 over the
 *		maximum and then -1 is a sum like any other.
 */
Datum
billing_amount_sum_final(PG_FUNCTION_ARGS)
{
	const AmountSum *sum = PG_ARGISNULL(0) ? NULL : (AmountSum *) PG_GETARG_POINTER(0);

	if (sum == NULL || sum->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make_checked(sum->units, sum->currency));
}

/*
 * billing_amount_avg_final
 *		The mean, rounded half away from zero; NULL of no rows.
 */
Datum
billing_amount_avg_final(PG_FUNCTION_ARGS)
{
	const AmountSum *sum = PG_ARGISNULL(0) ? NULL : (AmountSum *) PG_GETARG_POINTER(0);

	if (sum == NULL || sum->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make_checked(billing_round_div(sum->units, sum->count),
														   sum->currency));
}

/*
 * billing_allocate
 *		Split an amount by weights into parts that sum to it.
 *
 * Each part gets its share cut to whole units; the units left over go one each
 * to the parts that lost most by the cut, the earlier of equals first.  The
 * split is made on the magnitude, so a credit splits as its charge did.
 */
Datum
billing_allocate(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Oid			element_type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
	uint64		magnitude = amount->units < 0 ? -(uint64) amount->units : amount->units;
	int			count;
	Numeric    *weights = read_weights(array, &count);
	Share	   *shares = palloc(sizeof(Share) * count);
	bool		small = split_small(magnitude, weights, count, shares);

	if (!small)
		split_exactly(magnitude, weights, count, shares);
	hand_out_rest(magnitude, shares, count, small);

	PG_RETURN_ARRAYTYPE_P(make_parts(amount, shares, count, element_type));
}

/*
 * read_weights
 *		The elements of the array of weights, checked one by one.
 */
static Numeric *
read_weights(ArrayType *array, int *count)
{
	Datum	   *elements;
	bool	   *nulls;
	Numeric    *weights;
	bool		any_positive = false;

	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weights must be a one-dimensional array that is not empty")));
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > ALLOCATE_MAX_PARTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot allocate to more than %d parts", ALLOCATE_MAX_PARTS)));

	deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &elements, &nulls, count);
	weights = palloc(sizeof(Numeric) * *count);
	for (int i = 0; i < *count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		weights[i] = nulls[i] ? NULL : DatumGetNumeric(elements[i]);
		any_positive |= check_weight(weights[i], i);
	}

	if (!any_positive)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weights are all zero"),
				 errhint("Give at least one part a weight above zero.")));
	return weights;
}

/*
 * check_weight
 *		Refuse what is no weight; tell whether it is above zero.
 */
static bool
check_weight(Numeric weight, int index)
{
	NumericView view;
	bool		positive;

	if (weight == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weight %d is null", index + 1)));
	if (numeric_is_nan(weight) || numeric_is_inf(weight))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weight %d is NaN or infinity", index + 1)));

	open_numeric(weight, "weight", &view);
	if (view.negative)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weight %d is negative", index + 1)));

	positive = view.ngroups > 0;
	close_numeric(&view);
	return positive;
}

/*
 * split_small
 *		Cut the shares in int128; false if the weights have too many digits.
 */
static bool
split_small(uint64 magnitude, const Numeric *weights, int count, Share *shares)
{
	int64	   *scaled = palloc(sizeof(int64) * count);
	int64		total;

	if (!scale_weights(weights, count, scaled, &total))
	{
		pfree(scaled);
		return false;
	}

	for (int i = 0; i < count; i++)
	{
		int128		product = (int128) magnitude * scaled[i];

		CHECK_FOR_INTERRUPTS();
		shares[i].index = i;
		shares[i].units = (uint64) (product / total);
		shares[i].rest.whole = product % total;
	}

	pfree(scaled);
	return true;
}

/*
 * scale_weights
 *		The weights and their total as whole numbers in one measure; false if
 *		the total is beyond int64.
 */
static bool
scale_weights(const Numeric *weights, int count, int64 *scaled, int64 *total)
{
	uint8	   *groups = palloc(count);
	int			max_groups = 0;
	bool		fits = true;

	for (int i = 0; i < count && fits; i++)
	{
		NumericView view;
		SmallNumeric small;

		CHECK_FOR_INTERRUPTS();
		open_numeric(weights[i], "weight", &view);
		fits = small_numeric(&view, &small);
		close_numeric(&view);
		scaled[i] = small.mantissa;
		groups[i] = small.groups;
		max_groups = Max(max_groups, small.groups);
	}

	*total = 0;
	for (int i = 0; i < count && fits; i++)
		fits = !pg_mul_s64_overflow(scaled[i], power_of(GROUP_BASE, max_groups - groups[i]),
									&scaled[i]) &&
			!pg_add_s64_overflow(*total, scaled[i], total);

	pfree(groups);
	return fits;
}

/*
 * split_exactly
 *		Cut the shares in numeric, for weights of any length.
 *
 * Counts with the negative of the magnitude, because the minimum of int64 has
 * no positive twin.
 */
static void
split_exactly(uint64 magnitude, const Numeric *weights, int count, Share *shares)
{
	Numeric		units = int64_to_numeric((int64) -magnitude);
	Numeric		total = sum_weights(weights, count);
	MemoryContext result = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(result, "billing.allocate",
												  ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < count; i++)
	{
		Numeric		product,
					share;
		NumericView view;
		int64		cut;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		product = numeric_call(numeric_mul, units, weights[i]);
		share = numeric_call(numeric_div_trunc, product, total);
		open_numeric(share, "share", &view);
		if (!round_numeric(&view, 0, &cut))
			elog(ERROR, "share of an amount is larger than the amount");
		share = numeric_call(numeric_mul, share, total);

		MemoryContextSwitchTo(result);
		shares[i].index = i;
		shares[i].units = -(uint64) cut;
		shares[i].rest.exact = numeric_call(numeric_sub, share, product);
		MemoryContextReset(scratch);
	}

	MemoryContextDelete(scratch);
}

static Numeric
sum_weights(const Numeric *weights, int count)
{
	Numeric		total = int64_to_numeric(0);

	for (int i = 0; i < count; i++)
	{
		Numeric		next = numeric_call(numeric_add, total, weights[i]);

		CHECK_FOR_INTERRUPTS();
		pfree(total);
		total = next;
	}
	return total;
}

/*
 * hand_out_rest
 *		Give the units no share got to the shares with the largest rests.
 */
static void
hand_out_rest(uint64 magnitude, Share *shares, int count, bool small)
{
	uint64		left = magnitude;

	for (int i = 0; i < count; i++)
		left -= shares[i].units;
	if (left == 0)
		return;

	qsort_interruptible(shares, count, sizeof(Share),
						small ? compare_whole_rests : compare_exact_rests, NULL);
	for (uint64 i = 0; i < left; i++)
		shares[i].units++;
}

/*
 * compare_whole_rests
 *		Larger rests first, the earlier of equals first.
 */
static int
compare_whole_rests(const void *a, const void *b, void *arg)
{
	const Share *x = a;
	const Share *y = b;

	if (x->rest.whole != y->rest.whole)
		return x->rest.whole > y->rest.whole ? -1 : 1;
	return x->index - y->index;
}

static int
compare_exact_rests(const void *a, const void *b, void *arg)
{
	const Share *x = a;
	const Share *y = b;
	int			order = DatumGetInt32(DirectFunctionCall2(numeric_cmp,
														  NumericGetDatum(y->rest.exact),
														  NumericGetDatum(x->rest.exact)));

	return order != 0 ? order : x->index - y->index;
}

/*
 * make_parts
 *		The shares, in the order of their weights, as an array of amounts with
 *		the sign and the currency of the whole.
 */
static ArrayType *
make_parts(const BillingAmount *whole, const Share *shares, int count, Oid element_type)
{
	BillingAmount *parts = palloc(sizeof(BillingAmount) * count);
	Datum	   *elements = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
	{
		BillingAmount *part = &parts[shares[i].index];
		uint64		units = shares[i].units;

		*part = *whole;
		part->units = (int64) (whole->units < 0 ? -units : units);
		elements[shares[i].index] = PointerGetDatum(part);
	}

	return construct_array(elements, count, element_type, sizeof(BillingAmount), false,
						   TYPALIGN_DOUBLE);
}
