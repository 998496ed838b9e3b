/*-------------------------------------------------------------------------
 *
 * stripe_fuzz.c
 *	  Whatever Stripe, or somebody in its place, answers or calls back with, its driver does not crash, and what it says
 *	  holds together: a payment is never asked for again by a query, and no callback is believed that is not signed.
 *
 * The HMAC is the harness's: what it makes of a content is that content's length, so that random bytes find a signature.
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/pairs.c gateway/form.c gateway/document.c gateway/stripe.c gateway/stripe_object.c gateway/stripe_read.c gateway/stripe_callback.c
#include "postgres_fe.h"

#include "arena.h"
#include "gateway/crypto.h"
#include "gateway/document.h"
#include "gateway/gateway.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1767225600

static BillingPair settings[] = {{"return_url", "http://127.0.0.1/return"}};
static BillingPair credentials[] = {{"api_key", "sk_test_1"}, {"webhook_secret", "whsec_old whsec_new"}};
static const BillingGatewayConfig config = {
	.code = "stripe",
	.base_url = "http://127.0.0.1:8080",
	.settings = {lengthof(settings), settings},
	.credentials = {lengthof(credentials), credentials},
};

char *
billing_crypto_hmac(const char *secret, const char *data, size_t len)
{
	return strcmp(secret, "whsec_new") == 0 ? psprintf("%zu", len) : pstrdup("other");
}

bool
billing_crypto_equals(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static void
check_answer(const BillingGatewayAnswer *answer)
{
	check(answer->units >= -1 && answer->fee_units >= -1 && answer->at >= 0);
	check((answer->units >= 0) == (answer->currency != NULL));
	check((answer->fee_units >= 0) == (answer->fee_currency != NULL));
	check(answer->exp_month >= 0 && answer->exp_year >= 0);
	if (answer->response != NULL)
	{
		check(billing_document_read(answer->response, strlen(answer->response)) != NULL);
		check(strstr(answer->response, ",\"client_secret\":") == NULL && strstr(answer->response, "{\"client_secret\":") == NULL);
	}
	for (int i = 0; i < answer->memory.count; i++)
		check(answer->memory.pairs[i].name != NULL && answer->memory.pairs[i].value != NULL);
}

static void
check_request(const BillingGatewayOrder *order, const BillingGatewayRequest *request)
{
	bool		is_question = order->operation == BILLING_GATEWAY_QUERY || order->operation == BILLING_GATEWAY_QUERY_REFUND ||
		order->operation == BILLING_GATEWAY_SUBSCRIPTION;

	check(!is_question || strcmp(request->verb, "GET") == 0);
	check(strcmp(request->verb, "POST") != 0 || billing_pairs_find(&request->headers, "Idempotency-Key") != NULL);
	check(strncmp(request->url, config.base_url, strlen(config.base_url)) == 0);
}

/* Its first byte says what was asked, the next two what is known of it and how far the conversation is, the fourth the status. */
static void
answer(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 200, 400, 401, 402, 403, 404, 409, 424, 429, 500, 503};
	static const char *const steps[] = {"intents", "search", "read", "whose", "new_customer", "attach"};
	static const char *const ids[] = {"pi_1", "cs_1", "ch_1", "other"};
	BillingPair memory[] = {{"step", steps[data[2] % lengthof(steps)]}, {"payment", ids[data[2] / 8 % 2]}, {"method", "pm_1"}, {"customer", "cus_1"}};
	BillingGatewayOrder order = {
		.operation = data[0] % (BILLING_GATEWAY_CERTIFICATE + 1),
		.now = NOW,
		.created_at = NOW - (data[1] & 1 ? 300 : 299),
		.idempotency_key = "1_key",
		.pay_no = "1_pay",
		.refund_no = "1_refund",
		.units = 4900,
		.currency = "USD",
		.exponent = 2,
		.tenant_id = "1",
		.external_id = data[1] & 2 ? ids[data[2] / 64] : NULL,
		.payment_external_id = ids[data[2] / 64],
		.token = data[1] & 4 ? (data[1] & 8 ? "pm_1" : "seti_1") : NULL,
		.customer_id = data[1] & 16 ? "cus_1" : NULL,
		.method = data[1] & 32 ? "elements" : "card",
		.memory = {data[2] % 5, memory},
	};
	BillingGatewayRequest request;
	BillingGatewayAnswer said;

	if (billing_gateway_stripe.build(&config, &order, &request, &said) != NULL || request.verb == NULL)
		return;
	check_request(&order, &request);
	billing_gateway_stripe.read(&config, &order, statuses[data[3] % lengthof(statuses)], &config.settings, (const char *) data + 4, size - 4, &said);
	check_answer(&said);
	check(said.outcome != BILLING_GATEWAY_NEXT || said.memory.count > 0);
	check(said.outcome != BILLING_GATEWAY_FAILED || said.code != NULL);
	if (order.operation == BILLING_GATEWAY_QUERY && order.external_id == NULL && said.outcome == BILLING_GATEWAY_FAILED &&
		strcmp(said.code, "not_found") == 0)
		check(order.now - order.created_at >= 300);
}

/* Up to its first line end stands the header. */
static void
callback(const char *data, size_t size)
{
	const char *end = memchr(data, '\n', size);
	BillingPair pairs[] = {{"stripe-signature", NULL}};
	BillingPairs headers = {lengthof(pairs), pairs};
	BillingGatewayCallback told;
	char	   *header;
	size_t		len;

	if (end == NULL)
		return;
	header = palloc(end - data + 1);
	memcpy(header, data, end - data);
	header[end - data] = '\0';
	pairs[0].value = header;
	len = data + size - end - 1;
	billing_gateway_stripe.read_callback(&config, &headers, end + 1, len, NOW, &told);
	if (told.verdict == BILLING_GATEWAY_VALID)
		check(told.event_id != NULL && told.event_id[0] != '\0' && told.type != NULL && strstr(header, "v1=") != NULL);
	if (told.verdict != BILLING_GATEWAY_VALID)
		check(told.verdict == BILLING_GATEWAY_BAD_SIGNATURE || told.detail != NULL);
	check_answer(&told.answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size >= 4 && data[0] < 128)
		answer(data, size);
	else if (size > 1)
		callback((const char *) data + 1, size - 1);
	free_pieces();
	return 0;
}
