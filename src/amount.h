/*-------------------------------------------------------------------------
 *
 * amount.h
 *	  billing.amount: exact money in one currency.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_AMOUNT_H
#define BILLING_AMOUNT_H

#define BILLING_CURRENCY_LEN 3

/*
 * Whole minor units and the ISO 4217 code they are of, in upper case.  The code
 * is padded with zeros, so that equal amounts are equal bytes.
 */
typedef struct BillingAmount
{
	int64		units;
	char		currency[8];
} BillingAmount;

#define DatumGetBillingAmountP(X)		((BillingAmount *) DatumGetPointer(X))
#define PG_GETARG_BILLING_AMOUNT_P(n)	DatumGetBillingAmountP(PG_GETARG_DATUM(n))
#define PG_RETURN_BILLING_AMOUNT_P(x)	PG_RETURN_POINTER(x)

static inline bool
billing_amount_same_currency(const BillingAmount *a, const BillingAmount *b)
{
	return memcmp(a->currency, b->currency, sizeof(a->currency)) == 0;
}

extern BillingAmount *billing_amount_make(int64 units, const char *currency);
extern void billing_amount_check_same_currency(const BillingAmount *a, const BillingAmount *b);
extern void billing_amount_out_of_range(const char *currency) pg_attribute_noreturn();

#endif							/* BILLING_AMOUNT_H */
