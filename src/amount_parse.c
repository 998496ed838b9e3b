/*-------------------------------------------------------------------------
 *
 * amount_parse.c
 *	  The text of an amount: "49.00 USD" or "usd 49".
 *
 * Nothing here raises: what is wrong is returned, so that the parser also runs
 * in a fuzzer.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/int.h"

#include "amount_parse.h"
#include "decimal.h"

/* What the text says, before it is known to be an amount. */
typedef struct Literal
{
	const char *code;			/* three letters, in any case */
	const char *number;			/* digits with at most one point */
	const char *number_end;
	bool		negative;
	size_t		decimals;		/* digits behind the point */
} Literal;

static bool scan_literal(const char *text, Literal *literal);
static const char *skip_space(const char *p);
static bool scan_code(const char **text, Literal *literal);
static bool scan_number(const char **text, Literal *literal);
static bool read_units(const Literal *literal, int exponent, int64 *units);

/*
 * billing_amount_parse
 *		Read an amount; what it could not read so far stays unset.
 *
 * A decimal too many is refused even if it is zero: who writes it thinks of
 * another currency, and rounding would hide that.
 */
BillingAmountStatus
billing_amount_parse(const char *text, int64 *units, const BillingCurrency **currency)
{
	Literal		literal;

	if (!scan_literal(text, &literal))
		return BILLING_AMOUNT_MALFORMED;

	*currency = billing_currency_find(literal.code, BILLING_CURRENCY_LEN);
	if (*currency == NULL)
		return BILLING_AMOUNT_UNKNOWN_CURRENCY;
	if (literal.decimals > (*currency)->exponent)
		return BILLING_AMOUNT_TOO_MANY_DECIMALS;
	if (!read_units(&literal, (*currency)->exponent, units))
		return BILLING_AMOUNT_OUT_OF_RANGE;
	return BILLING_AMOUNT_OK;
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

/*
 * skip_space
 *		Step over what SQL takes for white space.
 */
static const char *
skip_space(const char *p)
{
	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
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
	if (pg_mul_s64_overflow(result, (int64) billing_power_of_ten[exponent - literal->decimals], &result))
		return false;

	if (literal->negative)
		*units = result;
	else if (pg_sub_s64_overflow(0, result, units))
		return false;
	return true;
}
