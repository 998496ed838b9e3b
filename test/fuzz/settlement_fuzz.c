/*-------------------------------------------------------------------------
 *
 * settlement_fuzz.c
 *	  Whatever a file of settlements holds, its reader does not crash, and each line that it gives states what, when and how much.
 *
 *-------------------------------------------------------------------------
 */
// sources: decimal.c currency.c gateway/instant.c gateway/settlement.c
#include "postgres_fe.h"

#include "gateway/settlement.h"
#include "arena.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const BillingCurrency *
find_again(const BillingCurrency *currency)
{
	return currency == NULL ? NULL : billing_currency_find(currency->code, BILLING_CURRENCY_LEN);
}

static void
take(void *arg, const BillingSettlementLine *line)
{
	size_t	   *size = arg;
	const char *texts[] = {line->line_id, line->external_id, line->payment_external_id, line->pay_no, line->refund_no};

	if (line->kind == NULL || line->at < 0 || find_again(line->currency) != line->currency || line->currency == NULL)
		abort();
	if (!line->has_fee || line->fee_currency == NULL)
		abort();
	for (int i = 0; i < lengthof(texts); i++)
	{
		if (texts[i] != NULL && (texts[i][0] == '\0' || strlen(texts[i]) > *size))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *exact = malloc(size);	/* so that a byte too far is seen */
	int			line_no = 0;

	memcpy(exact, data, size);
	if (billing_settlement_read(NULL, exact, size, take, &size, &line_no) != NULL && line_no < 0)
		abort();
	free(exact);
	free_pieces();
	return 0;
}
