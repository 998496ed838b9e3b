/*-------------------------------------------------------------------------
 *
 * manual_fuzz.c
 *	  Whatever is told of a transfer, the manual gateway does not crash, and what it takes for good has a number and an amount.
 *
 * Each signature is good, so that what is behind it is reached.
 *
 *-------------------------------------------------------------------------
 */
// sources: decimal.c currency.c amount_parse.c gateway/pairs.c gateway/document.c gateway/manual.c
#include "postgres_fe.h"

#include "gateway/crypto.h"
#include "arena.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static BillingPair credentials[] = {{"callback_secret", "secret"}};
static const BillingGatewayConfig config = {
	.code = "manual",
	.base_url = "",
	.credentials = {lengthof(credentials), credentials},
};

char *
billing_crypto_hmac(const char *secret, const char *data, size_t len)
{
	return pstrdup("good");
}

bool
billing_crypto_equals(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static BillingPair pairs[] = {{"billing-timestamp", "1767225600"}, {"BILLING-SIGNATURE", "good"}};
	const BillingPairs headers = {lengthof(pairs), pairs};
	BillingGatewayCallback told;

	billing_gateway_manual.read_callback(&config, &headers, (const char *) data, size, 1767225600, &told);
	if (told.answer.units < -1 || told.answer.fee_units < -1)
		abort();
	if (told.verdict == BILLING_GATEWAY_VALID && told.subject != BILLING_GATEWAY_NOTHING)
	{
		if (told.event_id == NULL || (told.answer.pay_no == NULL && told.answer.refund_no == NULL))
			abort();
		if (told.answer.outcome == BILLING_GATEWAY_SUCCEEDED && (told.answer.units < 0 || told.answer.currency == NULL))
			abort();
	}
	free_pieces();
	return 0;
}
