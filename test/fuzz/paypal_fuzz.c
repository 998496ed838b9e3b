/*-------------------------------------------------------------------------
 *
 * paypal_fuzz.c
 *	  Whatever PayPal, or somebody in its place, answers or calls back with, its driver does not crash, and what it says
 *	  holds together: a payment that has succeeded has an id, a conversation that goes on has a memory.
 *
 * Signatures are those of the harness: each is good, so that what is behind them is reached.
 *
 *-------------------------------------------------------------------------
 */
// sources: decimal.c currency.c gateway/pairs.c gateway/form.c gateway/document.c gateway/instant.c gateway/paypal.c gateway/paypal_callback.c
#include "postgres_fe.h"

#include "gateway/crypto.h"
#include "gateway/document.h"
#include "arena.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE_URL "http://127.0.0.1:8080"
#define CERTIFICATES BASE_URL "/v1/notifications/certs/"

static BillingPair settings[] = {{"webhook_id", "WH-1"}, {"return_url", "http://127.0.0.1/return"}};
static BillingPair credentials[] = {{"client_id", "id"}, {"client_secret", "secret"}};
static BillingPair certificates[] = {{CERTIFICATES "CERT-1", "PEM"}};
static const BillingGatewayConfig config = {
	.code = "paypal",
	.base_url = BASE_URL,
	.settings = {lengthof(settings), settings},
	.credentials = {lengthof(credentials), credentials},
	.certificates = {lengthof(certificates), certificates},
};

bool
billing_crypto_rsa_verify(const char *key, const char *data, size_t len, const char *base64)
{
	return true;
}

const char *
billing_crypto_check_chain(const char *chain, const char *roots, const char *host, int64 now)
{
	return NULL;
}

char *
billing_crypto_hmac(const char *secret, const char *data, size_t len)
{
	return pstrdup("digest");
}

uint32
billing_crypto_crc32(const char *data, size_t len)
{
	return len;
}

char *
billing_crypto_base64(const char *data, size_t len)
{
	return pstrdup("base64");
}

char *
billing_crypto_serial(const char *certificate)
{
	return NULL;
}

static void
check_answer(const BillingGatewayAnswer *answer)
{
	if (answer->units < -1 || answer->fee_units < -1 || answer->at < 0)
		abort();
	if ((answer->units >= 0) != (answer->currency != NULL) || (answer->fee_units >= 0) != (answer->fee_currency != NULL))
		abort();
	if (answer->response != NULL && billing_document_read(answer->response, strlen(answer->response)) == NULL)
		abort();
}

/* Its first byte says what was asked, the second how far the conversation is, the third the status of the answer. */
static void
answer(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 201, 204, 400, 401, 403, 404, 409, 422, 429, 500, 503};
	static const char *const steps[] = {"order", "capture", "other"};
	BillingPair memory[2] = {{"access_token", "token"}, {"step", steps[(data[1] >> 2) % 3]}};
	BillingGatewayOrder order = {
		.operation = data[0] % (BILLING_GATEWAY_CERTIFICATE + 1),
		.now = 1767225600,
		.created_at = 1767225600 - data[1],
		.idempotency_key = "key",
		.pay_no = "1_pay",
		.refund_no = "1_refund",
		.units = 4900,
		.currency = "USD",
		.exponent = 2,
		.memory = {data[1] % 3, memory},
	};
	int			status = statuses[data[2] % lengthof(statuses)];
	BillingGatewayRequest request;
	BillingGatewayAnswer said;

	if (data[1] & 16)
		order.external_id = CERTIFICATES "CERT-1";
	if (data[1] & 32)
		order.payment_external_id = "CAPTURE";
	if (data[1] & 64)
		order.token = "token";
	if (billing_gateway_paypal.build(&config, &order, &request, &said) != NULL || request.verb == NULL)
		return;
	billing_gateway_paypal.read(&config, &order, status, &config.settings, (const char *) data + 3, size - 3, &said);
	check_answer(&said);
	if (said.outcome == BILLING_GATEWAY_NEXT && said.memory.count == 0)
		abort();
	if (said.outcome == BILLING_GATEWAY_SUCCEEDED && order.operation <= BILLING_GATEWAY_REFUND && said.external_id == NULL)
		abort();
}

/* Up to its first two line ends stand the time and the address of the certificate. */
static void
callback(const char *data, size_t size)
{
	char	   *text = palloc(size + 1);
	BillingPair pairs[] = {
		{"Paypal-Transmission-Id", "id"}, {"Paypal-Transmission-Sig", "c2ln"}, {"Paypal-Auth-Algo", "SHA256withRSA"},
		{"paypal-transmission-time", ""}, {"PAYPAL-CERT-URL", ""}
	};
	BillingPairs headers = {lengthof(pairs), pairs};
	BillingGatewayCallback told;
	char	   *body = text;

	memcpy(text, data, size);
	text[size] = '\0';
	for (int i = 3; i < lengthof(pairs); i++)
	{
		char	   *end = memchr(body, '\n', text + size - body);

		if (end == NULL)
			return;
		*end = '\0';
		pairs[i].value = body;
		body = end + 1;
	}
	billing_gateway_paypal.read_callback(&config, &headers, body, text + size - body, 1767225600, &told);
	if (told.verdict == BILLING_GATEWAY_NO_KEY &&
		(strncmp(told.detail, CERTIFICATES, strlen(CERTIFICATES)) != 0 || strchr(told.detail + strlen(CERTIFICATES), '/') != NULL))
		abort();
	if (told.verdict == BILLING_GATEWAY_VALID && (told.event_id == NULL || told.event_id[0] == '\0'))
		abort();
	check_answer(&told.answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size >= 3 && data[0] < 128)
		answer(data, size);
	else if (size > 1)
		callback((const char *) data + 1, size - 1);
	free_pieces();
	return 0;
}
