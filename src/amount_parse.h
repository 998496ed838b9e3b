/*-------------------------------------------------------------------------
 *
 * amount_parse.h
 *	  The text of an amount.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_AMOUNT_PARSE_H
#define BILLING_AMOUNT_PARSE_H

#include "currency.h"

typedef enum BillingAmountStatus
{
	BILLING_AMOUNT_OK,
	BILLING_AMOUNT_MALFORMED,
	BILLING_AMOUNT_UNKNOWN_CURRENCY,
	BILLING_AMOUNT_TOO_MANY_DECIMALS,
	BILLING_AMOUNT_OUT_OF_RANGE
} BillingAmountStatus;

extern BillingAmountStatus billing_amount_parse(const char *text, int64 *units,
												const BillingCurrency **currency);

#endif							/* BILLING_AMOUNT_PARSE_H */
