/*-------------------------------------------------------------------------
 *
 * exact.h
 *	  Exact arithmetic on PostgreSQL's numeric, and its way to decimals and back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_EXACT_H
#define BILLING_EXACT_H

#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "decimal.h"

typedef enum BillingNumericKind
{
	BILLING_NUMERIC_FITS,		/* a decimal holds its magnitude */
	BILLING_NUMERIC_LARGE,		/* finite, but beyond a decimal */
	BILLING_NUMERIC_NOT_FINITE	/* NaN or infinite */
} BillingNumericKind;

extern BillingNumericKind billing_numeric_read(struct varlena *packed, BillingDecimal *magnitude,
											   bool *negative);
extern bool billing_numeric_is_summable(struct varlena *packed);
extern bool billing_numeric_round(Numeric number, int scale, int64 *result);
extern Numeric billing_numeric_from_decimal(uint128 digits, int scale);

static inline Numeric
billing_numeric_add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(a), NumericGetDatum(b)));
}

static inline Numeric
billing_numeric_sub(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_sub, NumericGetDatum(a), NumericGetDatum(b)));
}

static inline Numeric
billing_numeric_mul(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_mul, NumericGetDatum(a), NumericGetDatum(b)));
}

static inline int
billing_numeric_cmp(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

static inline Numeric
billing_numeric_min(Numeric a, Numeric b)
{
	return billing_numeric_cmp(a, b) <= 0 ? a : b;
}

static inline Numeric
billing_numeric_max(Numeric a, Numeric b)
{
	return billing_numeric_cmp(a, b) >= 0 ? a : b;
}

/* The same value without zeros at the end of its decimals. */
static inline Numeric
billing_numeric_trim(Numeric a)
{
	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(a)));
}

static inline Numeric
billing_numeric_abs(Numeric a)
{
	return DatumGetNumeric(DirectFunctionCall1(numeric_abs, NumericGetDatum(a)));
}

/* The quotient without its decimals, exactly. */
static inline Numeric
billing_numeric_div_trunc(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_div_trunc, NumericGetDatum(a), NumericGetDatum(b)));
}

/* The smallest whole number that is not below a / b, for positive b. */
static inline Numeric
billing_numeric_ceil_div(Numeric a, Numeric b)
{
	Numeric		whole = billing_numeric_div_trunc(a, b);

	return billing_numeric_cmp(billing_numeric_mul(whole, b), a) < 0 ?
		billing_numeric_add(whole, int64_to_numeric(1)) : whole;
}

#endif							/* BILLING_EXACT_H */
