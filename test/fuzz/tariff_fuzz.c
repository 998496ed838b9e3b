/*-------------------------------------------------------------------------
 *
 * tariff_fuzz.c
 *	  Whatever bytes come in, the tariff parser does not crash, and what
 *	  it accepts prints as text that it reads back to the same bytes.
 *
 *-------------------------------------------------------------------------
 */
// sources: decimal.c currency.c tariff_parse.c
#include "postgres_fe.h"

#include "mb/pg_wchar.h"

#include "arena.h"
#include "tariff.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
value_size(const BillingTariff *tariff)
{
	return offsetof(BillingTariff, values) +
		billing_tariff_nterms(tariff) * sizeof(uint128) + tariff->ntiers * sizeof(BillingTier);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	BillingTariffError error;
	BillingTariff *tariff;

	memcpy(text, data, size);
	text[size] = '\0';

	/* As the type's input does: up to the first zero byte, in a valid encoding. */
	if (pg_encoding_verifymbstr(PG_UTF8, text, strlen(text)) == (int) strlen(text))
	{
		tariff = billing_tariff_parse(text, strlen(text), PG_UTF8, &error);
		if (tariff != NULL)
		{
			char	   *printed = billing_tariff_print(tariff);
			BillingTariff *again = billing_tariff_parse(printed, strlen(printed), PG_UTF8, &error);
			size_t		length = value_size(tariff);

			if (again == NULL || value_size(again) != length || memcmp(tariff, again, length) != 0)
				abort();
		}
		else if (error.hint == NULL || error.detail[0] == '\0')
			abort();
	}
	free(text);
	free_pieces();
	return 0;
}
