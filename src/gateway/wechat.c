/*-------------------------------------------------------------------------
 *
 * wechat.c
 *	  WeChat Pay, its API v3 for merchants in China.
 *
 * Requests and answers are JSON, each signed by its sender.  WeChat Pay signs with one of its certificates, which it
 * publishes sealed with the key of the API, or with a key whose id begins with PUB_KEY_ID_, which is in the settings.
 * Where an answer is signed with a certificate that is not known, the certificates are asked for, and then what
 * was asked before again: an order or refund of the same number and amount is the same one.
 *
 * An answer that is not signed, or is of another order, says nothing.  Its instant is not judged: what was asked for
 * is in it.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "crypto.h"
#include "form.h"
#include "instant.h"
#include "wechat.h"

#define LIVE_URL		"https://api.mch.weixin.qq.com"
#define CURRENCY		"CNY"
#define CHINA_OFFSET	(8 * 60 * 60)
#define SCHEME			"WECHATPAY2-SHA256-RSA2048"

#define MAX_DESCRIPTION	127
#define MAX_REASON		80
#define MAX_HEADERS		6

/* What was asked so long ago has arrived, if it ever will; in seconds. */
#define ARRIVED_AFTER	60

/* In the memory of a conversation: the certificates are to be asked for. */
#define WANTED			"certificates"

static const char *check(const BillingGatewayConfig *config);
static bool is_name(const char *text);
static int	exponent_of(const char *currency);
static const char *build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
						 BillingGatewayAnswer *answer);
static const char *refuse(const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static bool is_for_certificates(const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static bool is_method(const BillingGatewayOrder *order, const char *method);
static const char *build_target(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char **body);
static const char *order_target(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *suffix);
static const char *build_order(const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static const char *build_close(const BillingGatewayConfig *config);
static const char *build_refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static void append_cut(StringInfo out, const char *name, const char *text, size_t max);
static const char *setting(const BillingGatewayConfig *config, const char *name);
static const char *authorize(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *verb, const char *target,
							 const char *body);
static void add_header(BillingPairs *headers, const char *name, const char *value);
static void read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
						const char *body, size_t len, BillingGatewayAnswer *answer);
static bool is_plausible(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingPairs *headers, const char *body,
						 size_t len, BillingGatewayAnswer *answer);
static void read_certificates(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
							  const char *body, size_t len, BillingGatewayAnswer *answer);
static bool open_certificates(const BillingGatewayConfig *config, const BillingDocument *document, BillingPairs *certificates);
static void read_done(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingDocument *document,
					  BillingGatewayAnswer *answer);
static void read_begun(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingDocument *document,
					   BillingGatewayAnswer *answer);
static const char *sign_for_client(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *prepay_id);
static void accept_payment(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void accept_refund(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static BillingGatewayOutcome refused(const BillingGatewayOrder *order, int status, const char *code);
static BillingGatewayOutcome not_found(const BillingGatewayOrder *order);
static bool is_one_of(const char *text, const char *const *texts);

/* What its page lists. */
static const char *const settings[] = {"mchid", "appid", "serial_no", "public_key_id", "public_key", NULL};
static const char *const credentials[] = {"private_key", "api_v3_key", NULL};

const BillingGateway billing_gateway_wechat = {
	.name = "wechat",
	.base_url = LIVE_URL,
	.settings = settings,
	.credentials = credentials,
	.check = check,
	.exponent = exponent_of,
	.build = build,
	.read = read_answer,
	.read_callback = billing_wechat_read_callback,
	.reply = billing_wechat_reply,
};

static const char *
check(const BillingGatewayConfig *config)
{
	static const char *const needed[] = {"mchid", "appid", "serial_no"};
	const char *private_key = billing_pairs_find(&config->credentials, "private_key");
	const char *api_key = billing_pairs_find(&config->credentials, "api_v3_key");
	const char *public_key = billing_pairs_find(&config->settings, "public_key");
	const char *public_key_id = billing_pairs_find(&config->settings, "public_key_id");

	for (int i = 0; i < lengthof(needed); i++)
	{
		if (setting(config, needed[i])[0] == '\0')
			return psprintf("missing=%s", needed[i]);
		if (!is_name(setting(config, needed[i])))
			return psprintf("setting=%s expected=name", needed[i]);
	}
	if (private_key == NULL)
		return "missing=private_key";
	if (!billing_crypto_is_private_key(private_key))
		return "credential=private_key expected=RSA";
	if (api_key == NULL)
		return "missing=api_v3_key";
	if (strlen(api_key) != BILLING_WECHAT_KEY_LEN)
		return psprintf("credential=api_v3_key expected_length=%d", BILLING_WECHAT_KEY_LEN);
	if ((public_key == NULL) != (public_key_id == NULL))
		return public_key == NULL ? "missing=public_key" : "missing=public_key_id";
	if (public_key != NULL && !billing_crypto_is_public_key(public_key))
		return "setting=public_key expected=RSA";
	if (public_key_id != NULL && !is_name(public_key_id))
		return "setting=public_key_id expected=name";
	return NULL;
}

/* It stands in a header, between quotes. */
static bool
is_name(const char *text)
{
	return strpbrk(text, "\"\\\r\n") == NULL;
}

static int
exponent_of(const char *currency)
{
	return strcmp(currency, CURRENCY) == 0 ? -1 : -2;
}

static const char *
build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, BillingGatewayAnswer *answer)
{
	const char *problem = refuse(config, order);
	const char *body = NULL;
	const char *target;
	const char *authorization;

	memset(request, 0, sizeof(*request));
	billing_gateway_clear(answer);
	if (problem != NULL)
		return problem;

	target = build_target(config, order, &body);
	request->verb = body == NULL ? "GET" : "POST";
	request->url = psprintf("%s%s", config->base_url != NULL ? config->base_url : LIVE_URL, target);
	request->body = body;
	request->body_len = body == NULL ? 0 : strlen(body);
	authorization = authorize(config, order, request->verb, target, body);
	if (authorization == NULL)
		return "credential=private_key expected=RSA";

	request->headers.pairs = palloc(MAX_HEADERS * sizeof(BillingPair));
	add_header(&request->headers, "Authorization", authorization);
	add_header(&request->headers, "Accept", "application/json");
	add_header(&request->headers, "Wechatpay-Serial", billing_pairs_find(&config->settings, "public_key_id"));
	if (body != NULL)
		add_header(&request->headers, "Content-Type", "application/json");
	return NULL;
}

static const char *
refuse(const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			if (order->token != NULL || (!is_method(order, "wechat_native") && !is_method(order, "wechat_jsapi")))
				return psprintf("method=%s", order->method == NULL ? "" : order->method);
			if (is_method(order, "wechat_jsapi") && order->payer_id == NULL)
				return "missing=payer_id";
			if (config->notify_url == NULL)
				return "missing=notify_url";
			break;
		case BILLING_GATEWAY_REFUND:
			break;
		case BILLING_GATEWAY_QUERY:
		case BILLING_GATEWAY_CLOSE:
		case BILLING_GATEWAY_QUERY_REFUND:
		case BILLING_GATEWAY_CERTIFICATE:
			return NULL;
		default:
			return "operation=unsupported";
	}
	if (order->currency == NULL || strcmp(order->currency, CURRENCY) != 0)
		return psprintf("currency=%s", order->currency == NULL ? "" : order->currency);
	return order->units < 1 ? psprintf("units=" INT64_FORMAT, order->units) : NULL;
}

static bool
is_method(const BillingGatewayOrder *order, const char *method)
{
	return order->method != NULL && strcmp(order->method, method) == 0;
}

/* With no key at all nothing that is answered could be believed, so the certificates come first. */
static bool
is_for_certificates(const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	return order->operation == BILLING_GATEWAY_CERTIFICATE || billing_pairs_find(&order->memory, WANTED) != NULL ||
		(order->memory.count == 0 && config->certificates.count == 0 && billing_pairs_find(&config->settings, "public_key") == NULL);
}

/* The path and query of the URL, which is signed as it is sent. */
static const char *
build_target(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char **body)
{
	StringInfoData target;

	if (is_for_certificates(config, order))
		return "/v3/certificates";
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			*body = build_order(config, order);
			return is_method(order, "wechat_jsapi") ? "/v3/pay/transactions/jsapi" : "/v3/pay/transactions/native";
		case BILLING_GATEWAY_CLOSE:
			*body = build_close(config);
			return order_target(config, order, "/close");
		case BILLING_GATEWAY_REFUND:
			*body = build_refund(config, order);
			return "/v3/refund/domestic/refunds";
		case BILLING_GATEWAY_QUERY_REFUND:
			initStringInfo(&target);
			appendStringInfoString(&target, "/v3/refund/domestic/refunds/");
			billing_form_append_encoded(&target, order->refund_no);
			return target.data;
		default:
			return order_target(config, order, NULL);
	}
}

/* Without a suffix, a query. */
static const char *
order_target(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *suffix)
{
	StringInfoData target;

	initStringInfo(&target);
	appendStringInfoString(&target, "/v3/pay/transactions/out-trade-no/");
	billing_form_append_encoded(&target, order->pay_no);
	if (suffix == NULL)
	{
		appendStringInfoString(&target, "?mchid=");
		billing_form_append_encoded(&target, setting(config, "mchid"));
	}
	else
		appendStringInfoString(&target, suffix);
	return target.data;
}

static const char *
build_order(const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	billing_document_append_member(&body, "appid", setting(config, "appid"));
	billing_document_append_member(&body, "mchid", setting(config, "mchid"));
	append_cut(&body, "description", order->description != NULL && order->description[0] != '\0' ? order->description : order->pay_no,
			   MAX_DESCRIPTION);
	billing_document_append_member(&body, "out_trade_no", order->pay_no);
	if (order->expires_at > 0)
		billing_document_append_member(&body, "time_expire", billing_instant_print(order->expires_at, CHINA_OFFSET));
	billing_document_append_member(&body, "notify_url", config->notify_url);
	appendStringInfo(&body, ",\"amount\":{\"total\":" INT64_FORMAT ",\"currency\":\"" CURRENCY "\"}", order->units);
	if (is_method(order, "wechat_jsapi"))
	{
		appendStringInfoString(&body, ",\"payer\":{");
		billing_document_append_member(&body, "openid", order->payer_id);
		appendStringInfoChar(&body, '}');
	}
	appendStringInfoChar(&body, '}');
	return body.data;
}

static const char *
build_close(const BillingGatewayConfig *config)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	billing_document_append_member(&body, "mchid", setting(config, "mchid"));
	appendStringInfoChar(&body, '}');
	return body.data;
}

static const char *
build_refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	if (order->pay_no != NULL)
		billing_document_append_member(&body, "out_trade_no", order->pay_no);
	else
		billing_document_append_member(&body, "transaction_id", order->payment_external_id);
	billing_document_append_member(&body, "out_refund_no", order->refund_no);
	append_cut(&body, "reason", order->reason, MAX_REASON);
	billing_document_append_member(&body, "notify_url", config->notify_url);
	appendStringInfo(&body, ",\"amount\":{\"refund\":" INT64_FORMAT ",\"total\":" INT64_FORMAT ",\"currency\":\"" CURRENCY "\"}}",
					 order->units, order->payment_units);
	return body.data;
}

/* So many bytes at most, and no part of a letter. */
static void
append_cut(StringInfo out, const char *name, const char *text, size_t max)
{
	char	   *cut;
	size_t		len;

	if (text == NULL || text[0] == '\0')
		return;
	cut = pstrdup(text);
	if (strlen(cut) > max)
	{
		for (len = max; len > 0 && ((unsigned char) cut[len] & 0xC0) == 0x80; len--)
			;
		cut[len] = '\0';
	}
	billing_document_append_member(out, name, cut);
}

static const char *
setting(const BillingGatewayConfig *config, const char *name)
{
	const char *value = billing_pairs_find(&config->settings, name);

	return value == NULL ? "" : value;
}

static const char *
authorize(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *verb, const char *target, const char *body)
{
	const char *key = billing_pairs_find(&config->credentials, "private_key");
	char	   *text = psprintf("%s\n%s\n" INT64_FORMAT "\n%s\n%s\n", verb, target, order->now, order->nonce, body == NULL ? "" : body);
	char	   *signature = key == NULL ? NULL : billing_crypto_rsa_sign(key, text, strlen(text));

	return signature == NULL ? NULL :
		psprintf(SCHEME " mchid=\"%s\",nonce_str=\"%s\",timestamp=\"" INT64_FORMAT "\",serial_no=\"%s\",signature=\"%s\"",
				 setting(config, "mchid"), order->nonce, order->now, setting(config, "serial_no"), signature);
}

static void
add_header(BillingPairs *headers, const char *name, const char *value)
{
	if (value != NULL)
		headers->pairs[headers->count++] = (BillingPair)
	{
		name, value
	};
}

static void
read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers, const char *body,
			size_t len, BillingGatewayAnswer *answer)
{
	const BillingDocument *document;

	billing_gateway_clear(answer);
	if (is_for_certificates(config, order))
	{
		read_certificates(config, order, status, headers, body, len, answer);
		return;
	}
	document = len > 0 ? billing_document_read(body, len) : NULL;
	answer->code = document == NULL ? NULL : billing_document_string(document, "code");
	answer->message = document == NULL ? psprintf("status %d", status) : billing_document_string(document, "message");
	answer->response = document == NULL ? NULL : billing_wechat_print(document);
	if (status == 429)
		answer->outcome = BILLING_GATEWAY_RETRY;
	else if (!is_plausible(config, order, headers, body, len, answer))
		return;
	else if (status == 200 && document != NULL)
		read_done(config, order, document, answer);
	else if (status == 204 && order->operation == BILLING_GATEWAY_CLOSE)
		answer->outcome = BILLING_GATEWAY_CANCELED;
	else if (status >= 400)
		answer->outcome = refused(order, status, answer->code);
}

/* A signature with a certificate that is not known, nor was just asked for, leads to the certificates. */
static bool
is_plausible(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingPairs *headers, const char *body, size_t len,
			 BillingGatewayAnswer *answer)
{
	static BillingPair wanted[] = {{WANTED, "wanted"}};
	const char *serial;

	switch (billing_wechat_verify(config, &order->memory, headers, body, len, &serial))
	{
		case BILLING_WECHAT_SIGNED:
			return true;
		case BILLING_WECHAT_NO_KEY:
			if (order->memory.count == 0)
			{
				answer->outcome = BILLING_GATEWAY_NEXT;
				answer->memory = (BillingPairs)
				{
					lengthof(wanted), wanted
				};
				return false;
			}
			answer->code = "no_key";
			answer->message = psprintf("signed with a certificate that is not known: %s", serial);
			return false;
		case BILLING_WECHAT_NOT_SIGNED:
			break;
	}
	answer->code = "bad_signature";
	answer->message = psprintf("not signed by WeChat Pay: %s", answer->message == NULL ? "it says nothing" : answer->message);
	return false;
}

/*
 * read_certificates
 *		The certificates, which only WeChat Pay could seal with the key of the API; one of them has signed the answer.
 *
 * Without them nothing else was asked yet, so nothing has happened.
 */
static void
read_certificates(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
				  const char *body, size_t len, BillingGatewayAnswer *answer)
{
	const BillingDocument *document = status == 200 ? billing_document_read(body, len) : NULL;
	BillingPairs certificates;
	const char *serial;

	answer->outcome = BILLING_GATEWAY_RETRY;
	if (document == NULL || !open_certificates(config, document, &certificates))
	{
		answer->code = "error";
		answer->message = psprintf("status %d without certificates that api_v3_key opens", status);
		return;
	}
	if (billing_wechat_verify(config, &certificates, headers, body, len, &serial) != BILLING_WECHAT_SIGNED)
	{
		answer->code = "bad_signature";
		answer->message = "the certificates are not signed by WeChat Pay";
		return;
	}
	answer->memory = certificates;
	answer->outcome = order->operation == BILLING_GATEWAY_CERTIFICATE ? BILLING_GATEWAY_SUCCEEDED : BILLING_GATEWAY_NEXT;
}

static bool
open_certificates(const BillingGatewayConfig *config, const BillingDocument *document, BillingPairs *certificates)
{
	int			count = Min(billing_document_count(document, "data"), 100);

	certificates->count = 0;
	certificates->pairs = palloc((count + 1) * sizeof(BillingPair));
	for (int i = 0; i < count; i++)
	{
		const BillingDocument *sealed = billing_document_get(document, psprintf("data.%d.encrypt_certificate", i));
		const char *serial = billing_document_string(document, psprintf("data.%d.serial_no", i));
		size_t		len;
		const char *pem = sealed == NULL ? NULL : billing_wechat_open(config, sealed, &len);
		const char *actual = pem == NULL ? NULL : billing_crypto_serial(pem);

		if (serial != NULL && actual != NULL && strcmp(serial, actual) == 0)
			certificates->pairs[certificates->count++] = (BillingPair)
		{
			serial, pem
		};
	}
	return certificates->count > 0;
}

static void
read_done(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	answer->code = NULL;
	answer->message = NULL;
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			read_begun(config, order, document, answer);
			break;
		case BILLING_GATEWAY_QUERY:
			billing_wechat_read_transaction(document, answer);
			accept_payment(order, answer);
			break;
		case BILLING_GATEWAY_REFUND:
		case BILLING_GATEWAY_QUERY_REFUND:
			billing_wechat_read_refund(document, answer);
			accept_refund(order, answer);
			break;
		default:
			break;
	}
}

static void
read_begun(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const char *prepay_id = billing_document_string(document, "prepay_id");

	answer->pay_no = order->pay_no;
	answer->type = "wechat";
	answer->payment_url = billing_document_string(document, "code_url");
	answer->client_secret = prepay_id == NULL ? NULL : sign_for_client(config, order, prepay_id);
	if (answer->payment_url != NULL || answer->client_secret != NULL)
		answer->outcome = BILLING_GATEWAY_REQUIRES_ACTION;
}

/* What WeixinJSBridge or wx.requestPayment is given in the payer's WeChat; it is good for two hours. */
static const char *
sign_for_client(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *prepay_id)
{
	const char *appid = setting(config, "appid");
	const char *key = billing_pairs_find(&config->credentials, "private_key");
	char	   *timestamp = psprintf(INT64_FORMAT, order->now);
	char	   *package = psprintf("prepay_id=%s", prepay_id);
	char	   *text = psprintf("%s\n%s\n%s\n%s\n", appid, timestamp, order->nonce, package);
	char	   *signature = key == NULL ? NULL : billing_crypto_rsa_sign(key, text, strlen(text));
	StringInfoData parameters;

	if (signature == NULL)
		return NULL;
	initStringInfo(&parameters);
	appendStringInfoChar(&parameters, '{');
	billing_document_append_member(&parameters, "appId", appid);
	billing_document_append_member(&parameters, "timeStamp", timestamp);
	billing_document_append_member(&parameters, "nonceStr", order->nonce);
	billing_document_append_member(&parameters, "package", package);
	billing_document_append_member(&parameters, "signType", "RSA");
	billing_document_append_member(&parameters, "paySign", signature);
	appendStringInfoChar(&parameters, '}');
	return parameters.data;
}

/* Of another order, or paid without an amount: that says nothing. */
static void
accept_payment(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	if (answer->pay_no == NULL || order->pay_no == NULL || strcmp(answer->pay_no, order->pay_no) != 0 ||
		(answer->outcome == BILLING_GATEWAY_SUCCEEDED && answer->units < 0))
	{
		billing_gateway_clear(answer);
		answer->code = "error";
		answer->message = "it is of another order, or says no amount";
	}
}

static void
accept_refund(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	if (answer->refund_no == NULL || order->refund_no == NULL || strcmp(answer->refund_no, order->refund_no) != 0 || answer->units < 0)
	{
		billing_gateway_clear(answer);
		answer->code = "error";
		answer->message = "it is of another refund, or says no amount";
	}
}

/* What is not known to be over is asked for again; a question that was not answered says nothing of what it was about. */
static BillingGatewayOutcome
refused(const BillingGatewayOrder *order, int status, const char *code)
{
	static const char *const missing[] = {"ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS", NULL};
	static const char *const closed[] = {"ORDER_CLOSED", "ORDERCLOSED", NULL};
	static const char *const doubtful[] = {
		"ORDERPAID", "ORDER_PAID", "OUT_TRADE_NO_USED", "USERPAYING", "SYSTEM_ERROR", "SYSTEMERROR", "BANK_ERROR", "BANKERROR", "BIZERR_NEED_RETRY", NULL
	};

	if (code != NULL && (strcmp(code, "FREQUENCY_LIMITED") == 0 || strcmp(code, "RATELIMIT_EXCEEDED") == 0))
		return BILLING_GATEWAY_RETRY;
	if (status >= 500 || is_one_of(code, doubtful))
		return BILLING_GATEWAY_UNKNOWN;
	if (is_one_of(code, closed) && order->operation != BILLING_GATEWAY_REFUND && order->operation != BILLING_GATEWAY_QUERY_REFUND)
		return BILLING_GATEWAY_CANCELED;
	if (is_one_of(code, missing) && order->operation != BILLING_GATEWAY_PAY && order->operation != BILLING_GATEWAY_REFUND)
		return not_found(order);
	return order->operation == BILLING_GATEWAY_PAY || order->operation == BILLING_GATEWAY_REFUND ? BILLING_GATEWAY_FAILED : BILLING_GATEWAY_UNKNOWN;
}

/* An order exists from when it was asked for, so one that does not was never received. */
static BillingGatewayOutcome
not_found(const BillingGatewayOrder *order)
{
	if (order->operation == BILLING_GATEWAY_CLOSE)
		return BILLING_GATEWAY_CANCELED;
	return order->now - order->created_at < ARRIVED_AFTER ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
}

static bool
is_one_of(const char *text, const char *const *texts)
{
	for (; text != NULL && *texts != NULL; texts++)
	{
		if (strcmp(text, *texts) == 0)
			return true;
	}
	return false;
}
