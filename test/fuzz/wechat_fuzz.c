/*-------------------------------------------------------------------------
 *
 * wechat_fuzz.c
 *	  Whatever WeChat Pay, or somebody who says he is, answers or notifies of: nothing crashes, nothing that is not signed is
 *	  believed, no certificate that does not say the serial it came with is kept, and no payment has succeeded but the one
 *	  that was asked about, with its amount.
 *
 * The first byte of an input says what the rest is: an answer (r raw, s to be signed here) to the operation that the next byte
 * says, a notification (c raw, n to be signed here), a resource to be sealed and signed here (e, behind a line with the
 * type of the event), or the headers of a notification, line by line (h).
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/wechat.c gateway/wechat_callback.c gateway/crypto.c gateway/document.c gateway/form.c gateway/instant.c gateway/pairs.c
// libraries: -lcrypto
#include "postgres_fe.h"

#include "lib/stringinfo.h"

#include "arena.h"
#include "gateway/crypto.h"
#include "gateway/document.h"
#include "gateway/gateway.h"
#include "keys.h"

#define API_KEY		"0123456789abcdef0123456789abcdef"
#define KEY_ID		"PUB_KEY_ID_0114232134912410000000000000"
#define NONCE		"fdasfjihihih"
#define NOW			1764403200

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static BillingPair settings[] = {
	{"mchid", "1900007291"}, {"appid", "wxd678efh567hg6787"}, {"serial_no", "444F4864EA9B34415"}, {"public_key", public_key}, {"public_key_id", KEY_ID}
};
static BillingPair credentials[] = {{"private_key", private_key}, {"api_v3_key", API_KEY}};
static BillingGatewayConfig config = {
	.code = "wechat",
	.notify_url = "https://example.com/callbacks/wechat",
	.settings = {lengthof(settings), settings},
	.credentials = {lengthof(credentials), credentials},
};

static const struct
{
	char		letter;
	BillingGatewayOrder order;
}			asked[] = {
	{'n', {.operation = BILLING_GATEWAY_PAY,.method = "wechat_native"}},
	{'j', {.operation = BILLING_GATEWAY_PAY,.method = "wechat_jsapi",.payer_id = "openid1"}},
	{'q', {.operation = BILLING_GATEWAY_QUERY}},
	{'c', {.operation = BILLING_GATEWAY_CLOSE}},
	{'r', {.operation = BILLING_GATEWAY_REFUND}},
	{'f', {.operation = BILLING_GATEWAY_QUERY_REFUND}},
	{'k', {.operation = BILLING_GATEWAY_CERTIFICATE,.external_id = "ABCD"}},
};

static BillingPairs
sign_body(const char *body, size_t len)
{
	BillingPairs headers = {4, palloc(4 * sizeof(BillingPair))};
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%d\n%s\n", NOW, NONCE);
	appendBinaryStringInfo(&text, body, len);
	appendStringInfoChar(&text, '\n');
	headers.pairs[0] = (BillingPair) {"wechatpay-timestamp", psprintf("%d", NOW)};
	headers.pairs[1] = (BillingPair) {"Wechatpay-Nonce", NONCE};
	headers.pairs[2] = (BillingPair) {"Wechatpay-Serial", KEY_ID};
	headers.pairs[3] = (BillingPair) {"Wechatpay-Signature", billing_crypto_rsa_sign(private_key, text.data, text.len)};
	return headers;
}

static char *
seal(const char *text)
{
	size_t		len = strlen(text);
	uint8	   *sealed = palloc(len + 16);
	int			written;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), (const uint8 *) API_KEY, (const uint8 *) NONCE, NULL);
	EVP_EncryptUpdate(ctx, NULL, &written, (const uint8 *) "transaction", 11);
	EVP_EncryptUpdate(ctx, sealed, &written, (const uint8 *) text, len);
	EVP_EncryptFinal_ex(ctx, sealed + len, &written);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, sealed + len);
	EVP_CIPHER_CTX_free(ctx);
	return billing_crypto_base64((char *) sealed, len + 16);
}

static void
try_answer(char letter, bool is_signed, const char *body)
{
	for (int i = 0; i < lengthof(asked); i++)
	{
		BillingGatewayOrder order = asked[i].order;
		BillingGatewayAnswer answer;
		BillingGatewayRequest request;
		BillingPairs headers = {0, NULL};

		if (asked[i].letter != letter)
			continue;
		order.now = NOW;
		order.nonce = "593BEC0C930BF1AFEB40B4A08C8FB242";
		order.pay_no = "7_order1";
		order.refund_no = "7_refund1";
		order.currency = "CNY";
		order.units = order.payment_units = 8888;
		order.description = order.reason = body;
		check(billing_gateway_wechat.build(&config, &order, &request, &answer) == NULL && request.verb != NULL);
		if (is_signed)
			headers = sign_body(body, strlen(body));
		billing_gateway_wechat.read(&config, &order, 200, &headers, body, strlen(body), &answer);
		check(is_signed || answer.outcome == BILLING_GATEWAY_UNKNOWN || answer.outcome == BILLING_GATEWAY_RETRY);
		if (answer.outcome == BILLING_GATEWAY_SUCCEEDED && order.operation == BILLING_GATEWAY_QUERY)
			check(strcmp(answer.pay_no, order.pay_no) == 0 && answer.units >= 0);
		if (answer.outcome == BILLING_GATEWAY_SUCCEEDED && order.operation == BILLING_GATEWAY_REFUND)
			check(strcmp(answer.refund_no, order.refund_no) == 0 && answer.units >= 0);
		for (int j = 0; answer.outcome == BILLING_GATEWAY_SUCCEEDED && j < answer.memory.count; j++)
			check(strcmp(billing_crypto_serial(answer.memory.pairs[j].value), answer.memory.pairs[j].name) == 0);
		billing_gateway_wechat.read(&config, &order, 400, &headers, body, strlen(body), &answer);
		check(answer.outcome != BILLING_GATEWAY_SUCCEEDED);
	}
}

static void
try_callback(const BillingPairs *headers, bool is_signed, const char *body)
{
	BillingGatewayCallback callback;

	billing_gateway_wechat.read_callback(&config, headers, body, strlen(body), NOW, &callback);
	if (callback.verdict != BILLING_GATEWAY_VALID)
	{
		check(callback.detail != NULL && callback.subject == BILLING_GATEWAY_NOTHING && callback.answer.outcome == BILLING_GATEWAY_UNKNOWN);
		return;
	}
	check(is_signed && callback.event_id != NULL);
	if (callback.subject == BILLING_GATEWAY_PAYMENT || callback.subject == BILLING_GATEWAY_REFUNDED)
		check(callback.answer.pay_no != NULL && callback.answer.units >= 0);
}

static void
try_event(char *text)
{
	char	   *resource = strchr(text, '\n');
	StringInfoData body;
	BillingPairs headers;

	if (resource == NULL)
		return;
	*resource++ = '\0';
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"id\":\"EV-1\"");
	billing_document_append_member(&body, "event_type", text);
	appendStringInfo(&body, ",\"resource\":{\"algorithm\":\"AEAD_AES_256_GCM\",\"nonce\":\"" NONCE "\",\"associated_data\":\"transaction\","
					 "\"ciphertext\":\"%s\"}}", seal(resource));
	headers = sign_body(body.data, body.len);
	try_callback(&headers, true, body.data);
}

/* Name: value, each line. */
static void
try_headers(char *text)
{
	BillingPairs headers = {0, palloc(20 * sizeof(BillingPair))};
	char	   *line;

	while ((line = strsep(&text, "\n")) != NULL && headers.count < 20)
	{
		char	   *value = strchr(line, ':');

		if (value != NULL)
		{
			*value++ = '\0';
			headers.pairs[headers.count++] = (BillingPair) {line, value};
		}
	}
	try_callback(&headers, false, "{}");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text;
	BillingPairs headers = {0, NULL};

	if (private_key[0] == '\0')
		make_keys();
	if (size < 2)
		return 0;
	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0])
	{
		case 'r':
		case 's':
			try_answer(text[0], data[0] == 's', text + 1);
			break;
		case 'n':
			headers = sign_body(text, strlen(text));
			try_callback(&headers, true, text);
			break;
		case 'e':
			try_event(text);
			break;
		case 'h':
			try_headers(text);
			break;
		default:
			try_callback(&headers, false, text);
	}
	free(text);
	free_pieces();
	return 0;
}
