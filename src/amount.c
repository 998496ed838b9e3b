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

#include "common/hashfn.h"
#include "common/int.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/sortsupport.h"

#include "amount.h"
#include "amount_parse.h"
#include "exact.h"

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

static int	currency_exponent(const char *code);
static inline BillingAmount *make_like(int64 units, const BillingAmount *like);
static BillingAmount *multiply(const BillingAmount *amount, Numeric factor);
static BillingAmount *multiply_exactly(const BillingAmount *amount, Numeric factor);
static void read_operand(Numeric number, const char *role, BillingNumericKind *kind,
						 BillingDecimal *magnitude, bool *negative);
static uint64 magnitude_of(int64 units);
static bool divide_decimal(uint64 units, BillingDecimal divisor, bool negative, int64 *result);
static BillingAmount *divide_exactly(const BillingAmount *amount, Numeric divisor, bool negative);
static bool half_reached(int64 units, int64 quotient, Numeric divisor);
static int	compare_amounts(const BillingAmount *a, const BillingAmount *b);
static int	compare_for_sort(Datum a, Datum b, SortSupport ssup);

/*
 * billing_amount_in
 *		Read "49.00 USD" or "usd 49", or raise what is wrong with it.
 */
Datum
billing_amount_in(PG_FUNCTION_ARGS)
{
	const char *input = PG_GETARG_CSTRING(0);
	const BillingCurrency *currency;
	int64		units;

	switch (billing_amount_parse(input, &units, &currency))
	{
		case BILLING_AMOUNT_OK:
			break;
		case BILLING_AMOUNT_MALFORMED:
			ereturn(billing_error_context(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%.*s\"", "billing.amount",
							BILLING_QUOTED(input, strlen(input))),
					 errdetail("It is no decimal number with a currency."),
					 errhint("Write a plain decimal number and an ISO 4217 code, such as 49.00 USD.")));
		case BILLING_AMOUNT_UNKNOWN_CURRENCY:
			ereturn(billing_error_context(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%.*s\"", "billing.amount",
							BILLING_QUOTED(input, strlen(input))),
					 errdetail("Its currency is not known."),
					 errhint("billing.currencies() lists the ISO 4217 codes that have a minor unit.")));
		case BILLING_AMOUNT_TOO_MANY_DECIMALS:
			ereturn(billing_error_context(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("too many decimals for type %s: \"%.*s\"", "billing.amount",
							BILLING_QUOTED(input, strlen(input))),
					 errdetail("%s has %d decimals.", currency->code, currency->exponent),
					 errhint("To round, use billing.amount(numeric, text).")));
		case BILLING_AMOUNT_OUT_OF_RANGE:
			ereturn(billing_error_context(fcinfo), (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("value \"%.*s\" is out of range for type %s",
							BILLING_QUOTED(input, strlen(input)), "billing.amount"),
					 errdetail("It is beyond 64 bits of minor units."),
					 errhint("An amount is at most 9223372036854775807 minor units.")));
	}

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(units, currency->code));
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
				 errdetail("It is no ISO 4217 code that has a minor unit."),
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
	const BillingCurrency *currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(1));

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_round(PG_GETARG_NUMERIC(0), currency));
}

/*
 * billing_amount_round
 *		The same from C; 22003 for NaN and infinity.
 */
BillingAmount *
billing_amount_round(Numeric number, const BillingCurrency *currency)
{
	BillingNumericKind kind;
	BillingDecimal magnitude;
	bool		negative;
	int64		units;

	read_operand(number, "amount", &kind, &magnitude, &negative);
	if (!billing_numeric_round(number, currency->exponent, &units))
		billing_amount_out_of_range(currency->code);

	return billing_amount_make(units, currency->code);
}

Datum
billing_from_minor_units(PG_FUNCTION_ARGS)
{
	int64		units = PG_GETARG_INT64(0);
	const BillingCurrency *currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(1));

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
 * billing_amount_find_currency
 *		The currency a caller names, or an error.
 */
const BillingCurrency *
billing_amount_find_currency(text *code)
{
	const BillingCurrency *currency =
		billing_currency_find(VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code));

	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("currency \"%.*s\" is not known",
						BILLING_QUOTED(VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code))),
				 errdetail("It is no ISO 4217 code that has a minor unit."),
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
		billing_amount_raise_mixed(a->currency, b->currency);
}

/*
 * billing_amount_raise_mixed
 *		Refuse to combine two currencies.
 */
void
billing_amount_raise_mixed(const char *a, const char *b)
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
		billing_amount_raise_mixed(a->currency, b->currency);
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
		billing_amount_raise_mixed(a->currency, b->currency);
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
	BillingNumericKind kind;
	BillingDecimal product;
	bool		negative;
	int64		units;

	read_operand(factor, "factor", &kind, &product, &negative);
	if (kind != BILLING_NUMERIC_FITS ||
		!billing_uint128_mul(product.digits, magnitude_of(amount->units), &product.digits))
		return multiply_exactly(amount, factor);

	if (!billing_decimal_round(product, 0, negative != (amount->units < 0), &units))
		billing_amount_out_of_range(amount->currency);
	return make_like(units, amount);
}

/*
 * multiply_exactly
 *		The same for factors of any length.  A product of a whole number keeps
 *		every decimal of the factor, so numeric_mul rounds nothing off.
 */
static BillingAmount *
multiply_exactly(const BillingAmount *amount, Numeric factor)
{
	int64		units;

	if (!billing_numeric_round(billing_numeric_mul(int64_to_numeric(amount->units), factor), 0, &units))
		billing_amount_out_of_range(amount->currency);
	return make_like(units, amount);
}

/*
 * read_operand
 *		Read a number that must be finite; its role names it in the error.
 */
static void
read_operand(Numeric number, const char *role, BillingNumericKind *kind,
			 BillingDecimal *magnitude, bool *negative)
{
	*kind = billing_numeric_read((struct varlena *) number, magnitude, negative);
	if (*kind == BILLING_NUMERIC_NOT_FINITE)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s cannot be NaN or infinity", role),
				 errdetail("Money is a finite number of minor units."),
				 errhint("Pass a finite number.")));
}

/* Also of the minimum, which has no positive twin in int64. */
static uint64
magnitude_of(int64 units)
{
	return units < 0 ? -(uint64) units : (uint64) units;
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
	BillingNumericKind kind;
	BillingDecimal magnitude;
	bool		negative;
	int64		units;

	read_operand(divisor, "divisor", &kind, &magnitude, &negative);
	if (kind == BILLING_NUMERIC_FITS && magnitude.digits == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DIVISION_BY_ZERO),
				 errmsg("division by zero"),
				 errdetail("An amount in %s was divided by 0.", amount->currency),
				 errhint("Divide by a number other than 0.")));

	negative = negative != (amount->units < 0);
	if (kind != BILLING_NUMERIC_FITS ||
		!divide_decimal(magnitude_of(amount->units), magnitude, negative, &units))
		PG_RETURN_BILLING_AMOUNT_P(divide_exactly(amount, divisor, negative));

	PG_RETURN_BILLING_AMOUNT_P(make_like(units, amount));
}

/*
 * divide_decimal
 *		units / divisor in 128 bits; false where it does not fit.
 */
static bool
divide_decimal(uint64 units, BillingDecimal divisor, bool negative, int64 *result)
{
	BillingDecimal quotient = {0};
	uint128		dividend;
	uint128		rest;

	if (!billing_uint128_shift(units, divisor.scale, &dividend))
		return false;

	quotient.digits = dividend / divisor.digits;
	rest = dividend - quotient.digits * divisor.digits;
	if (rest >= divisor.digits - rest)
		quotient.digits++;
	return billing_decimal_round(quotient, 0, negative, result);
}

/*
 * divide_exactly
 *		The same for divisors of any length.
 *
 * numeric_div stops after some decimals, and rounding what it rounded could
 * turn 0.4999... into 1.  So cut to a whole number, then judge the remainder.
 */
static BillingAmount *
divide_exactly(const BillingAmount *amount, Numeric divisor, bool negative)
{
	int64		units;

	if (!billing_numeric_round(billing_numeric_div_trunc(int64_to_numeric(amount->units), divisor),
							   0, &units))
		billing_amount_out_of_range(amount->currency);
	if (half_reached(amount->units, units, divisor) &&
		pg_add_s64_overflow(units, negative ? -1 : 1, &units))
		billing_amount_out_of_range(amount->currency);

	return make_like(units, amount);
}

/*
 * half_reached
 *		Is what the cut quotient leaves at least half the divisor?
 */
static bool
half_reached(int64 units, int64 quotient, Numeric divisor)
{
	Numeric		rest = billing_numeric_sub(int64_to_numeric(units),
										   billing_numeric_mul(int64_to_numeric(quotient), divisor));

	return billing_numeric_cmp(billing_numeric_abs(billing_numeric_add(rest, rest)),
							   billing_numeric_abs(divisor)) >= 0;
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
	PG_RETURN_NUMERIC(DatumGetNumeric(DirectFunctionCall2(numeric_div,
														  NumericGetDatum(int64_to_numeric(a->units)),
														  NumericGetDatum(int64_to_numeric(b->units)))));
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
