/*-------------------------------------------------------------------------
 *
 * decimal.c
 *	  Small exact decimals: reading, printing, rounding.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <limits.h>

#include "decimal.h"

const uint128 billing_power_of_ten[BILLING_DECIMAL_MAX_POWER + 1] = {
	UINT64CONST(1),
	UINT64CONST(10),
	UINT64CONST(100),
	UINT64CONST(1000),
	UINT64CONST(10000),
	UINT64CONST(100000),
	UINT64CONST(1000000),
	UINT64CONST(10000000),
	UINT64CONST(100000000),
	UINT64CONST(1000000000),
	UINT64CONST(10000000000),
	UINT64CONST(100000000000),
	UINT64CONST(1000000000000),
	UINT64CONST(10000000000000),
	UINT64CONST(100000000000000),
	UINT64CONST(1000000000000000),
	UINT64CONST(10000000000000000),
	UINT64CONST(100000000000000000),
	UINT64CONST(1000000000000000000),
	UINT64CONST(10000000000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(100),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(1000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(100000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(1000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(100000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(1000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(100000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(1000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(100000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(1000000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10000000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(100000000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(1000000000000000000),
	(uint128) UINT64CONST(10000000000000000000) * UINT64CONST(10000000000000000000),
};

/* A number as written: its digits without leading zeros, and where the point is. */
typedef struct Literal
{
	uint128		digits;
	int			ndigits;		/* digits held, the first of them not zero */
	int			exponent;		/* value = digits * 10^exponent */
	bool		too_long;		/* digits beyond what 128 bits hold */
} Literal;

static bool read_digits(const char **text, const char *end, bool fraction, Literal *literal);
static void add_digit(Literal *literal, int digit, bool fraction);
static bool read_exponent(const char **text, const char *end, Literal *literal);

/*
 * billing_decimal_parse
 *		Read digits, an optional point and an optional exponent, as JSON writes
 *		them.
 *
 * A number is never rounded to fit: more than BILLING_DECIMAL_MAX_SCALE decimals,
 * not counting zeros at the end, are out of range.
 */
BillingDecimalStatus
billing_decimal_parse(const char *text, size_t len, BillingDecimal *result)
{
	const char *end = text + len;
	Literal		literal = {0};
	bool		negative = false;

	if (text < end && *text == '-')
	{
		negative = true;
		text++;
	}
	if (!read_digits(&text, end, false, &literal))
		return BILLING_DECIMAL_MALFORMED;
	if (text < end && *text == '.')
	{
		text++;
		if (!read_digits(&text, end, true, &literal))
			return BILLING_DECIMAL_MALFORMED;
	}
	if (!read_exponent(&text, end, &literal) || text != end)
		return BILLING_DECIMAL_MALFORMED;

	result->digits = 0;
	result->scale = 0;
	if (literal.digits == 0)
		return BILLING_DECIMAL_OK;
	if (negative)
		return BILLING_DECIMAL_NEGATIVE;
	if (literal.too_long)
		return BILLING_DECIMAL_OUT_OF_RANGE;

	while (literal.exponent < 0 && literal.digits % 10 == 0)
	{
		literal.digits /= 10;
		literal.ndigits--;
		literal.exponent++;
	}
	if (-literal.exponent > BILLING_DECIMAL_MAX_SCALE ||
		literal.ndigits + literal.exponent > BILLING_DECIMAL_MAX_INTEGER)
		return BILLING_DECIMAL_OUT_OF_RANGE;

	result->digits = literal.digits;
	if (literal.exponent > 0)
		result->digits *= billing_power_of_ten[literal.exponent];
	else
		result->scale = -literal.exponent;
	return BILLING_DECIMAL_OK;
}

/*
 * read_digits
 *		Add one or more digits to a literal; false if there is none.
 */
static bool
read_digits(const char **text, const char *end, bool fraction, Literal *literal)
{
	const char *start = *text;

	for (; *text < end && **text >= '0' && **text <= '9'; (*text)++)
		add_digit(literal, **text - '0', fraction);
	return *text > start;
}

/*
 * add_digit
 *		Append a digit.  A zero that no longer fits only moves the point.
 */
static void
add_digit(Literal *literal, int digit, bool fraction)
{
	if (literal->ndigits == BILLING_DECIMAL_MAX_POWER)
	{
		literal->too_long |= digit != 0;
		if (!fraction && literal->exponent < INT_MAX)
			literal->exponent++;
		return;
	}

	literal->digits = literal->digits * 10 + digit;
	if (literal->digits != 0)
		literal->ndigits++;
	if (fraction && literal->exponent > INT_MIN)
		literal->exponent--;
}

/*
 * read_exponent
 *		Read an optional e+3; false if an e has no digits behind it.
 *
 * Beyond a million the value of the exponent no longer matters.
 */
static bool
read_exponent(const char **text, const char *end, Literal *literal)
{
	const int	limit = 1000000;
	const char *p = *text;
	int			exponent = 0;
	bool		negative = false;

	if (p == end || (*p != 'e' && *p != 'E'))
		return true;
	p++;
	if (p < end && (*p == '+' || *p == '-'))
		negative = *p++ == '-';
	if (p == end || *p < '0' || *p > '9')
		return false;

	for (; p < end && *p >= '0' && *p <= '9'; p++)
		exponent = Min(exponent * 10 + (*p - '0'), limit);

	literal->exponent = Max(Min(literal->exponent, limit), -limit) +
		(negative ? -exponent : exponent);
	*text = p;
	return true;
}

/*
 * billing_decimal_print
 *		Write a decimal without trailing zeros: 0.001, 1000, 29.5.
 */
void
billing_decimal_print(BillingDecimal value, char *text)
{
	char		reversed[BILLING_DECIMAL_TEXT_LEN];
	int			n = 0;

	value = billing_decimal_trim(value);
	do
	{
		reversed[n++] = '0' + (int) (value.digits % 10);
		value.digits /= 10;
		if (n == value.scale)
			reversed[n++] = '.';
	} while (value.digits != 0 || n < value.scale || reversed[n - 1] == '.');

	while (n > 0)
		*text++ = reversed[--n];
	*text = '\0';
}

/*
 * billing_decimal_trim
 *		The same value with no zero at the end of its decimals.
 */
BillingDecimal
billing_decimal_trim(BillingDecimal value)
{
	while (value.scale > 0 && value.digits % 10 == 0)
	{
		value.digits /= 10;
		value.scale--;
	}
	return value;
}

/*
 * billing_decimal_round
 *		Round half up to so many decimals, as a whole number of them with a sign;
 *		false if that does not fit int64.
 *
 * A decimal is a magnitude, so that half up is half away from zero.
 */
bool
billing_decimal_round(BillingDecimal value, int scale, bool negative, int64 *result)
{
	uint128		rounded;

	if (value.scale <= scale)
	{
		if (!billing_uint128_shift(value.digits, scale - value.scale, &rounded))
			return false;
	}
	else if (value.scale - scale > BILLING_DECIMAL_MAX_POWER)
		rounded = 0;			/* less than 10^39 units of 10^-39 */
	else
	{
		uint128		unit = billing_power_of_ten[value.scale - scale];

		/* One machine division where both fit: the common case. */
		if (likely((uint64) (value.digits >> 64) == 0 && (uint64) (unit >> 64) == 0))
		{
			uint64		digits = (uint64) value.digits;
			uint64		half = (uint64) unit / 2;

			rounded = digits / (uint64) unit + (digits % (uint64) unit >= half);
		}
		else
		{
			rounded = value.digits / unit;
			if (value.digits - rounded * unit >= unit / 2)
				rounded++;
		}
	}

	if (rounded > (uint128) PG_INT64_MAX + negative)
		return false;
	*result = negative ? (int64) -(uint64) rounded : (int64) rounded;
	return true;
}
