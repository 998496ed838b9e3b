/*-------------------------------------------------------------------------
 *
 * amount_fuzz.c
 *	  Whatever bytes come in, the parser of amounts does not crash, and what it
 *	  accepts is the number that is written there.
 *
 *-------------------------------------------------------------------------
 */
// sources: decimal.c currency.c amount_parse.c
#include "postgres_fe.h"

#include "amount_parse.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	char		printed[64];
	const BillingCurrency *currency;
	const BillingCurrency *currency_again;
	int64		units;
	int64		units_again;

	memcpy(text, data, size);
	text[size] = '\0';

	if (billing_amount_parse(text, &units, &currency) == BILLING_AMOUNT_OK)
	{
		int64		unit = 1;
		uint64		magnitude = units < 0 ? -(uint64) units : units;

		for (int i = 0; i < currency->exponent; i++)
			unit *= 10;
		if (currency->exponent > 0)
			snprintf(printed, sizeof(printed), "%s%llu.%0*llu %s", units < 0 ? "-" : "",
					 (unsigned long long) magnitude / unit, currency->exponent,
					 (unsigned long long) magnitude % unit, currency->code);
		else
			snprintf(printed, sizeof(printed), "%s %lld", currency->code, (long long) units);

		if (billing_amount_parse(printed, &units_again, &currency_again) != BILLING_AMOUNT_OK ||
			units_again != units || currency_again != currency)
			abort();
	}
	free(text);
	return 0;
}
