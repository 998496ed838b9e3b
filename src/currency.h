/*-------------------------------------------------------------------------
 *
 * currency.h
 *	  The currencies of ISO 4217 and their minor units.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CURRENCY_H
#define BILLING_CURRENCY_H

#define BILLING_CURRENCY_LEN 3

typedef struct BillingCurrency
{
	char		code[4];
	uint8		exponent;		/* decimals of the minor unit: 2 for USD */
	bool		is_active;		/* false: withdrawn, but stays readable */
} BillingCurrency;

/* Finds a code of three letters, in any case; NULL if ISO 4217 has none such. */
extern const BillingCurrency *billing_currency_find(const char *code, size_t len);

#endif							/* BILLING_CURRENCY_H */
