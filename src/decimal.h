/*-------------------------------------------------------------------------
 *
 * decimal.h
 *	  Small exact decimals: the numbers of a tariff and the fast way to price.
 *
 * A decimal is a whole number of units of 10^-scale, never negative.  What does
 * not fit says so by a false result and is done in numeric instead; nothing
 * wraps.  This file and decimal.c also compile without a server (FRONTEND).
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DECIMAL_H
#define BILLING_DECIMAL_H

/* Of a number that somebody writes: digits before and after the point. */
#define BILLING_DECIMAL_MAX_INTEGER		18
#define BILLING_DECIMAL_MAX_SCALE		18

/* Digits of the largest power of ten in 128 bits. */
#define BILLING_DECIMAL_MAX_POWER		38

/* Room for the text of any decimal, its point and its end. */
#define BILLING_DECIMAL_TEXT_LEN		64

typedef struct BillingDecimal
{
	uint128		digits;
	int			scale;
} BillingDecimal;

typedef enum BillingDecimalStatus
{
	BILLING_DECIMAL_OK,
	BILLING_DECIMAL_MALFORMED,
	BILLING_DECIMAL_NEGATIVE,
	BILLING_DECIMAL_OUT_OF_RANGE
} BillingDecimalStatus;

extern const uint128 billing_power_of_ten[BILLING_DECIMAL_MAX_POWER + 1];

extern BillingDecimalStatus billing_decimal_parse(const char *text, size_t len,
												  BillingDecimal *result);
extern void billing_decimal_print(BillingDecimal value, char *text);
extern BillingDecimal billing_decimal_trim(BillingDecimal value);
extern bool billing_decimal_round(BillingDecimal value, int scale, bool negative, int64 *result);

/*
 * Arithmetic that reports overflow.  On unsigned operands both gcc and clang
 * expand it in place; the signed form would call a helper that libgcc lacks.
 */
static inline bool
billing_uint128_add(uint128 a, uint128 b, uint128 *result)
{
	return !__builtin_add_overflow(a, b, result);
}

static inline bool
billing_uint128_mul(uint128 a, uint128 b, uint128 *result)
{
	if (likely((uint64) (a >> 64) == 0 && (uint64) (b >> 64) == 0))
	{
		*result = (uint128) (uint64) a * (uint64) b;
		return true;
	}
	return !__builtin_mul_overflow(a, b, result);
}

/* Multiplies by a power of ten; false if the power or the result is too large. */
static inline bool
billing_uint128_shift(uint128 a, int power, uint128 *result)
{
	if (power == 0)
	{
		*result = a;
		return true;
	}
	return power <= BILLING_DECIMAL_MAX_POWER &&
		billing_uint128_mul(a, billing_power_of_ten[power], result);
}

#endif							/* BILLING_DECIMAL_H */
