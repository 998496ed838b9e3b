/*-------------------------------------------------------------------------
 *
 * amount.h
 *	  billing.amount: exact money in one currency.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_AMOUNT_H
#define BILLING_AMOUNT_H

#include "utils/numeric.h"

#include "currency.h"

/*
 * Whole minor units and the ISO 4217 code they are of, in upper case.  The code
 * is padded with zeros, so that equal amounts are equal bytes.
 */
typedef struct BillingAmount
{
	int64		units;
	char		currency[8];
} BillingAmount;

/* Room for the decimal digits of any amount: sign, point, digits and the end. */
#define BILLING_AMOUNT_DECIMAL_LEN 24

#define DatumGetBillingAmountP(X)		((BillingAmount *) DatumGetPointer(X))
#define PG_GETARG_BILLING_AMOUNT_P(n)	DatumGetBillingAmountP(PG_GETARG_DATUM(n))
#define PG_RETURN_BILLING_AMOUNT_P(x)	PG_RETURN_POINTER(x)

/*
 * Arguments of "%.*s" that quote the start of a user's text: enough to find it,
 * and never megabytes of it in a message.
 */
#define BILLING_QUOTE_MAX 60
#define BILLING_QUOTED(text, len) \
	pg_mbcliplen((text), (len), BILLING_QUOTE_MAX), (text)

static inline bool
billing_amount_same_currency(const BillingAmount *a, const BillingAmount *b)
{
	return memcmp(a->currency, b->currency, sizeof(a->currency)) == 0;
}

/*
 * billing_round_div
 *		n / d, rounded half away from zero; d > 0.
 *
 * The remainder is compared with what it lacks to d, not doubled: nothing
 * overflows over the whole range of n.
 */
static inline int128
billing_round_div(int128 n, int128 d)
{
	int128		quotient = n / d;
	int128		rest = n % d;

	if (rest < 0)
		return -rest >= d + rest ? quotient - 1 : quotient;
	return rest > 0 && rest >= d - rest ? quotient + 1 : quotient;
}

extern PGDLLEXPORT Datum billing_amount_in(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum billing_amount_out(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum billing_amount_mul(PG_FUNCTION_ARGS);

extern const BillingCurrency *billing_amount_find_currency(text *code);
extern BillingAmount *billing_amount_make(int64 units, const char *currency);
extern BillingAmount *billing_amount_make_checked(int128 units, const char *currency);
extern BillingAmount *billing_amount_round(Numeric number, const BillingCurrency *currency);
extern void billing_amount_check_same_currency(const BillingAmount *a, const BillingAmount *b);
pg_noreturn extern void billing_amount_raise_mixed(const char *a, const char *b);
extern int	billing_amount_to_decimal(const BillingAmount *amount, char *decimal);
pg_noreturn extern void billing_amount_out_of_range(const char *currency);

#endif							/* BILLING_AMOUNT_H */
