/*-------------------------------------------------------------------------
 *
 * alipay_fuzz.c
 *	  Whatever Alipay, or somebody who says he is, answers or notifies of: nothing crashes, nothing that is not signed is
 *	  believed, and no payment has succeeded but the one that was asked about, with its amount.
 *
 * The first byte of an input says what the rest is: of an answer (r raw, s to be signed here), and then which operation, or of
 * a notification (c raw, n to be signed here).
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/alipay.c gateway/alipay_callback.c gateway/crypto.c gateway/document.c gateway/form.c gateway/instant.c gateway/pairs.c
// libraries: -lcrypto
#include "postgres_fe.h"

#include "lib/stringinfo.h"

#include "arena.h"
#include "gateway/crypto.h"
#include "gateway/form.h"
#include "gateway/gateway.h"
#include "keys.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static BillingPair settings[] = {{"app_id", "2014072300007148"}, {"seller_id", "2088101106499364"}, {"alipay_public_key", public_key}};
static BillingPair credentials[] = {{"private_key", private_key}};
static BillingGatewayConfig config = {
	.code = "alipay",
	.settings = {3, settings},
	.credentials = {1, credentials},
};

static const struct
{
	char		letter;
	const char *name;
	BillingGatewayOrder order;
}			asked[] = {
	{'p', "alipay_trade_precreate_response", {.operation = BILLING_GATEWAY_PAY,.method = "alipay_qr"}},
	{'a', "alipay_trade_pay_response", {.operation = BILLING_GATEWAY_PAY,.token = "20260001"}},
	{'q', "alipay_trade_query_response", {.operation = BILLING_GATEWAY_QUERY}},
	{'c', "alipay_trade_close_response", {.operation = BILLING_GATEWAY_CLOSE}},
	{'r', "alipay_trade_refund_response", {.operation = BILLING_GATEWAY_REFUND}},
	{'f', "alipay_trade_fastpay_refund_query_response", {.operation = BILLING_GATEWAY_QUERY_REFUND}},
	{'m', "alipay_user_agreement_query_response", {.operation = BILLING_GATEWAY_ADD_METHOD,.token = "20260001"}},
	{'u', "alipay_user_agreement_unsign_response", {.operation = BILLING_GATEWAY_REMOVE_METHOD,.token = "20260001"}},
};

static void
try_build(BillingGatewayOrder *order, const char *text)
{
	BillingGatewayRequest request;
	BillingGatewayAnswer answer;

	order->description = text;
	order->reason = text;
	if (billing_gateway_alipay.build(&config, order, &request, &answer) == NULL)
		check(request.verb != NULL ? request.body_len == strlen(request.body) : answer.payment_url != NULL);
}

static void
try_answer(char letter, bool is_to_be_signed, const char *text)
{
	for (int i = 0; i < lengthof(asked); i++)
	{
		BillingGatewayOrder order = asked[i].order;
		BillingGatewayAnswer answer;
		StringInfoData body;
		BillingPairs none = {0, NULL};

		if (asked[i].letter != letter)
			continue;
		order.now = 1764403200;
		order.pay_no = "7_order1";
		order.refund_no = "7_refund1";
		order.currency = "CNY";
		order.units = 8888;
		order.payment_units = 8888;
		try_build(&order, text);
		initStringInfo(&body);
		if (is_to_be_signed)
			appendStringInfo(&body, "{\"%s\":%s,\"sign\":\"%s\"}", asked[i].name, text, billing_crypto_rsa_sign(private_key, text, strlen(text)));
		else
			appendStringInfoString(&body, text);
		billing_gateway_alipay.read(&config, &order, 200, &none, body.data, body.len, &answer);
		check(is_to_be_signed || answer.outcome == BILLING_GATEWAY_UNKNOWN);
		if (answer.outcome == BILLING_GATEWAY_SUCCEEDED && order.operation <= BILLING_GATEWAY_QUERY)
			check(strcmp(answer.pay_no, order.pay_no) == 0 && answer.units >= 0);
	}
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const BillingPair *) a)->name, ((const BillingPair *) b)->name);
}

/* The rule by which Alipay signs, written once more. */
static char *
sign_form(const char *text)
{
	BillingPairs pairs;
	StringInfoData content;
	StringInfoData form;

	if (billing_form_read(text, strlen(text), &pairs) != NULL)
		return NULL;
	qsort(pairs.pairs, pairs.count, sizeof(BillingPair), compare_names);
	initStringInfo(&content);
	for (int i = 0; i < pairs.count; i++)
	{
		if (pairs.pairs[i].value[0] != '\0')
			appendStringInfo(&content, "%s%s=%s", content.len > 0 ? "&" : "", pairs.pairs[i].name, pairs.pairs[i].value);
	}
	initStringInfo(&form);
	appendStringInfoString(&form, text);
	billing_form_append(&form, "sign_type", "RSA2");
	billing_form_append(&form, "sign", billing_crypto_rsa_sign(private_key, content.data, content.len));
	return form.data;
}

static void
try_callback(const char *body, bool is_signed)
{
	BillingGatewayCallback callback;
	BillingPairs none = {0, NULL};

	billing_gateway_alipay.read_callback(&config, &none, body, strlen(body), 1764403200, &callback);
	if (callback.verdict != BILLING_GATEWAY_VALID)
	{
		check(callback.detail != NULL && callback.subject == BILLING_GATEWAY_NOTHING && callback.answer.outcome == BILLING_GATEWAY_UNKNOWN);
		return;
	}
	check(is_signed && callback.event_id != NULL && callback.event_id[0] != '\0');
	if (callback.subject == BILLING_GATEWAY_PAYMENT)
		check(callback.answer.pay_no != NULL && callback.answer.units >= 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text;
	char	   *form;

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
			form = sign_form(text);
			if (form != NULL)
				try_callback(form, true);
			break;
		default:
			try_callback(text, false);
	}
	free(text);
	free_pieces();
	return 0;
}
