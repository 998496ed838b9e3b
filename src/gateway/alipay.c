/*-------------------------------------------------------------------------
 *
 * alipay.c
 *	  Alipay: its open platform, OpenAPI by gateway.do, signed with RSA2.
 *
 * Every request is one call of a method with biz_content, a JSON object.  What identifies us is in the query of the
 * URL, biz_content is the form, and the signature covers both, sign_type included.  The answer is a JSON object: one
 * member is what was answered, another its signature over that member's bytes.  An answer that is not signed, or is of
 * another trade, says nothing.
 *
 * A trade comes about when the payer has scanned or logged in, not when we ask for a code: until then Alipay does not
 * know it, and that is no failure.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "alipay.h"
#include "crypto.h"
#include "document.h"
#include "form.h"
#include "instant.h"

#define LIVE_URL		"https://openapi.alipay.com"
#define CURRENCY		"CNY"
#define CHINA_OFFSET	(8 * 60 * 60)

#define MAX_PARAMETERS	16
#define MAX_SUBJECT		256
#define MAX_REASON		256

/* From 0.01 to 100,000,000 yuan. */
#define MAX_UNITS		INT64CONST(10000000000)

/* What was asked so long ago has arrived, if it ever will; in seconds. */
#define ARRIVED_AFTER	60

#define DONE		"10000"
#define WAITS		"10003"
#define UNAVAILABLE	"20000"
#define LIMITED		"40005"

static const char *check(const BillingGatewayConfig *config);
static int	exponent_of(const char *currency);
static const char *build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
						 BillingGatewayAnswer *answer);
static const char *refuse(const BillingGatewayOrder *order);
static const char *method_of(const BillingGatewayOrder *order);
static bool is_page(const BillingGatewayOrder *order);
static bool is_for_payer(const BillingGatewayOrder *order);
static char *content_of(const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static void append_trade(StringInfo content, const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static void append_product(StringInfo content, const BillingGatewayConfig *config, const BillingGatewayOrder *order);
static void append_trade_no(StringInfo content, const BillingGatewayOrder *order);
static void append_yuan(StringInfo content, const char *name, int64 units);
static void append_cut(StringInfo content, const char *name, const char *text, size_t max);
static void fill_parameters(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *content, BillingPairs *parameters);
static void add_parameter(BillingPairs *parameters, const char *name, const char *value);
static int	compare_names(const void *a, const void *b);
static char *sign_parameters(const BillingGatewayConfig *config, BillingPairs *parameters);
static void write_request(const BillingGatewayConfig *config, const BillingPairs *parameters, BillingGatewayRequest *request);
static void read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
						const char *body, size_t len, BillingGatewayAnswer *answer);
static const BillingDocument *find_answer(const BillingGatewayOrder *order, const BillingDocument *document);
static bool is_signed(const BillingGatewayConfig *config, const BillingDocument *document, const BillingDocument *said);
static void read_said(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer);
static void read_done(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer);
static void read_trade(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer);
static BillingGatewayOutcome trade_outcome(const BillingGatewayOrder *order, const BillingDocument *said, const char *status);
static void read_refund(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer);
static BillingGatewayOutcome refund_outcome(const BillingGatewayOrder *order, const char *status);
static void read_agreement(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer);
static BillingGatewayOutcome refused(const BillingGatewayOrder *order, const char *code, const char *sub_code);
static BillingGatewayOutcome no_trade(const BillingGatewayOrder *order);
static bool is_question(const BillingGatewayOrder *order);
static bool is_one_of(const char *text, const char *const *texts);
static const char *first_of(const BillingDocument *document, const char *name, const char *other_name);
static char *print_china(int64 seconds);

/* What its page lists. */
static const char *const settings[] = {"app_id", "alipay_public_key", "seller_id", "app_certificate", "alipay_root_certificates", "agreement_product_code", NULL};
static const char *const credentials[] = {"private_key", NULL};

const BillingGateway billing_gateway_alipay = {
	.name = "alipay",
	.base_url = LIVE_URL,
	.settings = settings,
	.credentials = credentials,
	.check = check,
	.exponent = exponent_of,
	.build = build,
	.read = read_answer,
	.read_callback = billing_alipay_read_callback,
	.reply = billing_alipay_reply,
};

static const char *
check(const BillingGatewayConfig *config)
{
	const char *app_id = billing_pairs_find(&config->settings, "app_id");
	const char *private_key = billing_pairs_find(&config->credentials, "private_key");
	const char *public_key = billing_pairs_find(&config->settings, "alipay_public_key");
	const char *certificate = billing_pairs_find(&config->settings, "app_certificate");
	const char *roots = billing_pairs_find(&config->settings, "alipay_root_certificates");

	if (app_id == NULL || app_id[0] == '\0')
		return "missing=app_id";
	if (private_key == NULL)
		return "missing=private_key";
	if (!billing_crypto_is_private_key(private_key))
		return "credential=private_key expected=RSA";
	if (public_key == NULL)
		return "missing=alipay_public_key";
	if (!billing_crypto_is_public_key(public_key))
		return "setting=alipay_public_key expected=RSA";
	if ((certificate == NULL) != (roots == NULL))
		return certificate == NULL ? "missing=app_certificate" : "missing=alipay_root_certificates";
	if (certificate != NULL && billing_crypto_issuer_digests(certificate) == NULL)
		return "setting=app_certificate expected=certificate";
	if (roots != NULL && billing_crypto_issuer_digests(roots) == NULL)
		return "setting=alipay_root_certificates expected=certificates";
	return NULL;
}

static int
exponent_of(const char *currency)
{
	return strcmp(currency, CURRENCY) == 0 ? -1 : -2;
}

/*
 * build
 *		A signed call; a page to pay at is the URL of one, which the payer's browser asks for.
 */
static const char *
build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, BillingGatewayAnswer *answer)
{
	const char *problem = refuse(order);
	BillingPairs parameters = {0, palloc(MAX_PARAMETERS * sizeof(BillingPair))};
	const char *signature;

	memset(request, 0, sizeof(*request));
	billing_gateway_clear(answer);
	if (problem != NULL)
		return problem;

	fill_parameters(config, order, content_of(config, order), &parameters);
	signature = sign_parameters(config, &parameters);
	if (signature == NULL)
		return "credential=private_key expected=RSA";
	add_parameter(&parameters, "sign", signature);
	write_request(config, &parameters, request);
	if (is_page(order))
	{
		answer->outcome = BILLING_GATEWAY_REQUIRES_ACTION;
		answer->payment_url = psprintf("%s&%s", request->url, request->body);
		memset(request, 0, sizeof(*request));
	}
	return NULL;
}

static const char *
refuse(const BillingGatewayOrder *order)
{
	bool		is_payment = order->operation == BILLING_GATEWAY_PAY;

	if (method_of(order) == NULL)
		return is_payment ? psprintf("method=%s", order->method == NULL ? "" : order->method) : "operation=unsupported";
	if (!is_payment && order->operation != BILLING_GATEWAY_REFUND)
		return NULL;
	if (order->currency == NULL || strcmp(order->currency, CURRENCY) != 0)
		return psprintf("currency=%s", order->currency == NULL ? "" : order->currency);
	if (order->units < 1 || order->units > MAX_UNITS)
		return psprintf("units=" INT64_FORMAT " maximum=" INT64_FORMAT, order->units, MAX_UNITS);
	return NULL;
}

/* The method of the API; NULL: it has none for this. */
static const char *
method_of(const BillingGatewayOrder *order)
{
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			if (order->token != NULL)
				return "alipay.trade.pay";
			if (order->method == NULL)
				return NULL;
			if (strcmp(order->method, "alipay_qr") == 0)
				return "alipay.trade.precreate";
			if (strcmp(order->method, "alipay_page") == 0)
				return "alipay.trade.page.pay";
			if (strcmp(order->method, "alipay_wap") == 0)
				return "alipay.trade.wap.pay";
			return NULL;
		case BILLING_GATEWAY_QUERY:
			return "alipay.trade.query";
		case BILLING_GATEWAY_CLOSE:
			return "alipay.trade.close";
		case BILLING_GATEWAY_REFUND:
			return "alipay.trade.refund";
		case BILLING_GATEWAY_QUERY_REFUND:
			return "alipay.trade.fastpay.refund.query";
		case BILLING_GATEWAY_ADD_METHOD:
			return "alipay.user.agreement.query";
		case BILLING_GATEWAY_REMOVE_METHOD:
			return "alipay.user.agreement.unsign";
		default:
			return NULL;
	}
}

static bool
is_page(const BillingGatewayOrder *order)
{
	return order->operation == BILLING_GATEWAY_PAY && order->token == NULL && strcmp(order->method, "alipay_qr") != 0;
}

/* A person goes on with it, rather than that an agreement is charged, whose token may be gone by now. */
static bool
is_for_payer(const BillingGatewayOrder *order)
{
	return order->token == NULL && order->method != NULL && strncmp(order->method, "alipay_", strlen("alipay_")) == 0;
}

static char *
content_of(const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	StringInfoData content;

	initStringInfo(&content);
	appendStringInfoChar(&content, '{');
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			append_trade(&content, config, order);
			break;
		case BILLING_GATEWAY_REFUND:
			append_trade_no(&content, order);
			billing_document_append_member(&content, "out_request_no", order->refund_no);
			append_yuan(&content, "refund_amount", order->units);
			append_cut(&content, "refund_reason", order->reason, MAX_REASON);
			break;
		case BILLING_GATEWAY_QUERY_REFUND:
			append_trade_no(&content, order);
			billing_document_append_member(&content, "out_request_no", order->refund_no);
			appendStringInfoString(&content, ",\"query_options\":[\"gmt_refund_pay\"]");
			break;
		case BILLING_GATEWAY_ADD_METHOD:
		case BILLING_GATEWAY_REMOVE_METHOD:
			billing_document_append_member(&content, "agreement_no", order->token != NULL ? order->token : order->external_id);
			break;
		default:
			append_trade_no(&content, order);
	}
	appendStringInfoChar(&content, '}');
	return content.data;
}

static void
append_trade(StringInfo content, const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	billing_document_append_member(content, "out_trade_no", order->pay_no);
	append_yuan(content, "total_amount", order->units);
	append_cut(content, "subject", order->description != NULL && order->description[0] != '\0' ? order->description : order->pay_no, MAX_SUBJECT);
	billing_document_append_member(content, "seller_id", billing_pairs_find(&config->settings, "seller_id"));
	if (order->expires_at > 0 && order->token == NULL)
		billing_document_append_member(content, "time_expire", print_china(order->expires_at));
	append_product(content, config, order);
}

/* What the merchant's contract with Alipay calls each way to pay; that of agreements differs between merchants. */
static void
append_product(StringInfo content, const BillingGatewayConfig *config, const BillingGatewayOrder *order)
{
	const char *product = billing_pairs_find(&config->settings, "agreement_product_code");

	if (order->token != NULL)
	{
		billing_document_append_member(content, "product_code", product != NULL ? product : "GENERAL_WITHHOLDING");
		appendStringInfoString(content, ",\"agreement_params\":{");
		billing_document_append_member(content, "agreement_no", order->token);
		appendStringInfoChar(content, '}');
	}
	else if (strcmp(order->method, "alipay_qr") == 0)
		billing_document_append_member(content, "product_code", "FACE_TO_FACE_PAYMENT");
	else
		billing_document_append_member(content, "product_code",
									   strcmp(order->method, "alipay_wap") == 0 ? "QUICK_WAP_WAY" : "FAST_INSTANT_TRADE_PAY");
}

/* Our number of the trade, which Alipay knows as long as its own. */
static void
append_trade_no(StringInfo content, const BillingGatewayOrder *order)
{
	billing_document_append_member(content, "out_trade_no", order->pay_no);
	if (order->pay_no == NULL)
		billing_document_append_member(content, "trade_no",
									   order->payment_external_id != NULL ? order->payment_external_id : order->external_id);
}

static void
append_yuan(StringInfo content, const char *name, int64 units)
{
	billing_document_append_member(content, name, psprintf(INT64_FORMAT ".%02d", units / 100, (int) (units % 100)));
}

/* Alipay takes no /, = and & in texts for people, and so many bytes. */
static void
append_cut(StringInfo content, const char *name, const char *text, size_t max)
{
	char	   *cut;
	size_t		len;

	if (text == NULL || text[0] == '\0')
		return;
	cut = pstrdup(text);
	len = strlen(cut);
	if (len > max)
	{
		for (len = max; len > 0 && ((unsigned char) cut[len] & 0xC0) == 0x80; len--)
			;
		cut[len] = '\0';
	}
	for (char *c = cut; *c != '\0'; c++)
	{
		if (strchr("/=&", *c) != NULL)
			*c = ' ';
	}
	billing_document_append_member(content, name, cut);
}

static void
fill_parameters(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const char *content, BillingPairs *parameters)
{
	const char *certificate = billing_pairs_find(&config->settings, "app_certificate");
	const char *roots = billing_pairs_find(&config->settings, "alipay_root_certificates");

	add_parameter(parameters, "app_id", billing_pairs_find(&config->settings, "app_id"));
	add_parameter(parameters, "method", method_of(order));
	add_parameter(parameters, "format", "JSON");
	add_parameter(parameters, "charset", "utf-8");
	add_parameter(parameters, "sign_type", "RSA2");
	add_parameter(parameters, "timestamp", print_china(order->now));
	add_parameter(parameters, "version", "1.0");
	add_parameter(parameters, "biz_content", content);
	if (certificate != NULL && roots != NULL)
	{
		add_parameter(parameters, "app_cert_sn", billing_crypto_issuer_digests(certificate));
		add_parameter(parameters, "alipay_root_cert_sn", billing_crypto_issuer_digests(roots));
	}
	if (order->operation == BILLING_GATEWAY_PAY)
		add_parameter(parameters, "notify_url", config->notify_url);
	if (is_page(order))
		add_parameter(parameters, "return_url", order->return_url);
}

/* What is empty is not signed, so it is not sent. */
static void
add_parameter(BillingPairs *parameters, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	Assert(parameters->count < MAX_PARAMETERS);
	parameters->pairs[parameters->count++] = (BillingPair)
	{
		name, value
	};
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const BillingPair *) a)->name, ((const BillingPair *) b)->name);
}

/* Signed are the values as they are, not as they are encoded. */
static char *
sign_parameters(const BillingGatewayConfig *config, BillingPairs *parameters)
{
	const char *private_key = billing_pairs_find(&config->credentials, "private_key");
	StringInfoData text;

	qsort(parameters->pairs, parameters->count, sizeof(BillingPair), compare_names);
	initStringInfo(&text);
	for (int i = 0; i < parameters->count; i++)
		appendStringInfo(&text, "%s%s=%s", i > 0 ? "&" : "", parameters->pairs[i].name, parameters->pairs[i].value);
	return private_key == NULL ? NULL : billing_crypto_rsa_sign(private_key, text.data, text.len);
}

static void
write_request(const BillingGatewayConfig *config, const BillingPairs *parameters, BillingGatewayRequest *request)
{
	static BillingPair headers[] = {{"Content-Type", "application/x-www-form-urlencoded;charset=utf-8"}};
	StringInfoData url;
	StringInfoData body;

	initStringInfo(&url);
	initStringInfo(&body);
	appendStringInfo(&url, "%s/gateway.do?", config->base_url != NULL ? config->base_url : LIVE_URL);
	for (int i = 0; i < parameters->count; i++)
	{
		const BillingPair *parameter = &parameters->pairs[i];

		billing_form_append(strcmp(parameter->name, "biz_content") == 0 ? &body : &url, parameter->name, parameter->value);
	}
	request->verb = "POST";
	request->url = url.data;
	request->headers = (BillingPairs)
	{
		lengthof(headers), headers
	};
	request->body = body.data;
	request->body_len = body.len;
}

static void
read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers, const char *body,
			size_t len, BillingGatewayAnswer *answer)
{
	/*
	 * A token is a secret; so is the name of the payer's account, as good as
	 * it is masked.
	 */
	static const char *const secret[] = {"agreement_no", "alipay_logon_id", "buyer_logon_id", NULL};
	const BillingDocument *document = status == 200 ? billing_document_read(body, len) : NULL;
	const BillingDocument *said = document == NULL ? NULL : find_answer(order, document);

	billing_gateway_clear(answer);
	if (said == NULL)
	{
		answer->code = "error";
		answer->message = psprintf("status %d without an answer", status);
		return;
	}
	answer->response = billing_document_print(said, secret);
	answer->code = first_of(said, "sub_code", "code");
	answer->message = first_of(said, "sub_msg", "msg");
	if (is_signed(config, document, said))
		read_said(order, said, answer);
	else
	{
		answer->code = "bad_signature";
		answer->message = psprintf("not signed by Alipay: %s", answer->message == NULL ? "it says nothing" : answer->message);
	}
}

static const BillingDocument *
find_answer(const BillingGatewayOrder *order, const BillingDocument *document)
{
	const char *method = method_of(order);
	char	   *name = psprintf("%s_response", method == NULL ? "" : method);
	const BillingDocument *said;

	for (char *c = name; *c != '\0'; c++)
	{
		if (*c == '.')
			*c = '_';
	}
	said = billing_document_get(document, name);
	return said != NULL ? said : billing_document_get(document, "error_response");
}

static bool
is_signed(const BillingGatewayConfig *config, const BillingDocument *document, const BillingDocument *said)
{
	const char *signature = billing_document_string(document, "sign");
	const char *data;
	size_t		len;

	billing_document_source(said, &data, &len);
	return signature != NULL && billing_alipay_verify(config, data, len, signature);
}

bool
billing_alipay_verify(const BillingGatewayConfig *config, const char *data, size_t len, const char *signature)
{
	const char *key = billing_pairs_find(&config->settings, "alipay_public_key");

	return key != NULL && billing_crypto_rsa_verify(key, data, len, signature);
}

static void
read_said(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer)
{
	const char *code = billing_document_string(said, "code");

	if (code != NULL && (strcmp(code, DONE) == 0 || (strcmp(code, WAITS) == 0 && order->operation == BILLING_GATEWAY_PAY)))
	{
		answer->code = NULL;
		answer->message = NULL;
		read_done(order, said, answer);
		if (answer->outcome == BILLING_GATEWAY_SUCCEEDED && strcmp(code, WAITS) == 0)
			answer->outcome = BILLING_GATEWAY_PROCESSING;
	}
	else if (code != NULL)
		answer->outcome = refused(order, code, billing_document_string(said, "sub_code"));
}

static void
read_done(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer)
{
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
		case BILLING_GATEWAY_QUERY:
		case BILLING_GATEWAY_CLOSE:
			read_trade(order, said, answer);
			break;
		case BILLING_GATEWAY_REFUND:
		case BILLING_GATEWAY_QUERY_REFUND:
			read_refund(order, said, answer);
			break;
		case BILLING_GATEWAY_ADD_METHOD:
			read_agreement(order, said, answer);
			break;
		case BILLING_GATEWAY_REMOVE_METHOD:
			answer->outcome = BILLING_GATEWAY_SUCCEEDED;
			break;
		default:
			break;
	}
}

/* Success of what is not this trade, or without an amount, is none. */
static void
read_trade(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer)
{
	const char *pay_no = billing_document_string(said, "out_trade_no");
	int64		units;

	if (pay_no == NULL || order->pay_no == NULL || strcmp(pay_no, order->pay_no) != 0)
	{
		answer->message = "it is of another trade";
		return;
	}
	answer->pay_no = pay_no;
	answer->external_id = billing_document_string(said, "trade_no");
	answer->customer_id = first_of(said, "buyer_user_id", "buyer_open_id");
	answer->payment_url = billing_document_string(said, "qr_code");
	answer->type = "alipay";
	if (billing_alipay_read_yuan(billing_document_string(said, "total_amount"), &units))
	{
		answer->units = units;
		answer->currency = CURRENCY;
	}
	answer->at = billing_alipay_instant(first_of(said, "gmt_payment", "send_pay_date"));
	answer->outcome = trade_outcome(order, said, billing_document_string(said, "trade_status"));
	if (answer->outcome == BILLING_GATEWAY_SUCCEEDED && answer->units < 0)
	{
		answer->outcome = BILLING_GATEWAY_UNKNOWN;
		answer->message = "it says no amount";
	}
}

/* A trade that is closed was never paid, or was paid and given back; only one that was paid has a day of payment. */
static BillingGatewayOutcome
trade_outcome(const BillingGatewayOrder *order, const BillingDocument *said, const char *status)
{
	if (order->operation == BILLING_GATEWAY_CLOSE)
		return BILLING_GATEWAY_CANCELED;
	if (order->operation == BILLING_GATEWAY_PAY && order->token != NULL)
		return BILLING_GATEWAY_SUCCEEDED;
	if (order->operation == BILLING_GATEWAY_PAY)
		return billing_document_string(said, "qr_code") != NULL ? BILLING_GATEWAY_REQUIRES_ACTION : BILLING_GATEWAY_UNKNOWN;
	if (status == NULL)
		return BILLING_GATEWAY_UNKNOWN;
	if (strcmp(status, "TRADE_SUCCESS") == 0 || strcmp(status, "TRADE_FINISHED") == 0)
		return BILLING_GATEWAY_SUCCEEDED;
	if (strcmp(status, "TRADE_CLOSED") == 0)
		return billing_document_string(said, "send_pay_date") != NULL ? BILLING_GATEWAY_SUCCEEDED : BILLING_GATEWAY_CANCELED;
	if (strcmp(status, "WAIT_BUYER_PAY") == 0)
		return is_for_payer(order) ? BILLING_GATEWAY_REQUIRES_ACTION : BILLING_GATEWAY_PROCESSING;
	return BILLING_GATEWAY_UNKNOWN;
}

/* refund_fee is all that was ever given back of the trade, so it is not what this refund gave. */
static void
read_refund(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer)
{
	const char *pay_no = billing_document_string(said, "out_trade_no");
	const char *change = billing_document_string(said, "fund_change");
	int64		units;

	if (order->pay_no != NULL && pay_no != NULL && strcmp(pay_no, order->pay_no) != 0)
	{
		answer->message = "it is of another trade";
		return;
	}
	answer->pay_no = pay_no;
	if (order->operation == BILLING_GATEWAY_REFUND)
	{
		answer->refund_no = order->refund_no;
		answer->at = billing_alipay_instant(billing_document_string(said, "gmt_refund_pay"));
		answer->outcome = pay_no != NULL && change != NULL && strcmp(change, "Y") == 0 ? BILLING_GATEWAY_SUCCEEDED : BILLING_GATEWAY_UNKNOWN;
		return;
	}
	answer->refund_no = billing_document_string(said, "out_request_no");
	if (billing_alipay_read_yuan(billing_document_string(said, "refund_amount"), &units))
	{
		answer->units = units;
		answer->currency = CURRENCY;
	}
	answer->at = billing_alipay_instant(billing_document_string(said, "gmt_refund_pay"));
	answer->outcome = refund_outcome(order, billing_document_string(said, "refund_status"));
	if (answer->outcome == BILLING_GATEWAY_SUCCEEDED &&
		(answer->units < 0 || answer->refund_no == NULL || strcmp(answer->refund_no, order->refund_no) != 0))
		answer->outcome = BILLING_GATEWAY_UNKNOWN;
}

/* A refund that Alipay says nothing of did not happen, or has not yet. */
static BillingGatewayOutcome
refund_outcome(const BillingGatewayOrder *order, const char *status)
{
	if (status == NULL || status[0] == '\0')
		return order->now - order->created_at < ARRIVED_AFTER ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
	if (strcmp(status, "REFUND_SUCCESS") == 0)
		return BILLING_GATEWAY_SUCCEEDED;
	if (strcmp(status, "REFUND_PROCESSING") == 0)
		return BILLING_GATEWAY_PROCESSING;
	return strcmp(status, "REFUND_FAIL") == 0 ? BILLING_GATEWAY_FAILED : BILLING_GATEWAY_UNKNOWN;
}

static void
read_agreement(const BillingGatewayOrder *order, const BillingDocument *said, BillingGatewayAnswer *answer)
{
	const char *asked = order->token != NULL ? order->token : order->external_id;
	const char *agreement_no = billing_document_string(said, "agreement_no");
	const char *status = billing_document_string(said, "status");

	if (asked == NULL || agreement_no == NULL || strcmp(agreement_no, asked) != 0 || status == NULL)
	{
		answer->message = "it is of another agreement";
		return;
	}
	answer->token = agreement_no;
	answer->type = "alipay";
	answer->external_id = billing_document_string(said, "external_agreement_no");
	answer->customer_id = first_of(said, "principal_id", "principal_open_id");
	answer->outcome = strcmp(status, "NORMAL") == 0 ? BILLING_GATEWAY_SUCCEEDED : BILLING_GATEWAY_FAILED;
	if (answer->outcome == BILLING_GATEWAY_FAILED)
		answer->code = status;
}

/*
 * refused
 *		What a code of failure means.
 *
 * What is not known to be over is asked for again; a question that was not answered says nothing of what it was about.
 */
static BillingGatewayOutcome
refused(const BillingGatewayOrder *order, const char *code, const char *sub_code)
{
	static const char *const doubtful[] = {
		"ACQ.SYSTEM_ERROR", "SYSTEM_ERROR", "isp.unknow-error", "aop.ACQ.SYSTEM_ERROR", "ACQ.TRADE_HAS_SUCCESS", "ACQ.CONTEXT_INCONSISTENT",
		"ACQ.TRADE_STATUS_ERROR", NULL
	};
	static const char *const gone[] = {"USER_AGREEMENT_NOT_EXIST", "AGREEMENT_NOT_EXIST", "ACQ.AGREEMENT_NOT_EXIST", NULL};
	bool		is_money = order->operation == BILLING_GATEWAY_PAY || order->operation == BILLING_GATEWAY_REFUND;

	if (strcmp(code, LIMITED) == 0)
		return BILLING_GATEWAY_RETRY;
	if (strcmp(code, UNAVAILABLE) == 0 || is_one_of(sub_code, doubtful))
		return BILLING_GATEWAY_UNKNOWN;
	if (sub_code != NULL && strcmp(sub_code, "ACQ.TRADE_NOT_EXIST") == 0 && !is_money)
		return no_trade(order);
	if (sub_code != NULL && strcmp(sub_code, "ACQ.TRADE_HAS_CLOSE") == 0 && order->operation != BILLING_GATEWAY_REFUND)
		return BILLING_GATEWAY_CANCELED;
	if (order->operation == BILLING_GATEWAY_REMOVE_METHOD && is_one_of(sub_code, gone))
		return BILLING_GATEWAY_SUCCEEDED;
	return is_question(order) ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
}

static BillingGatewayOutcome
no_trade(const BillingGatewayOrder *order)
{
	bool		is_young = order->now - order->created_at < ARRIVED_AFTER;

	if (order->operation == BILLING_GATEWAY_CLOSE)
		return BILLING_GATEWAY_CANCELED;
	if (order->operation == BILLING_GATEWAY_QUERY_REFUND || !is_for_payer(order))
		return is_young ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
	return order->expires_at > 0 && order->now > order->expires_at + ARRIVED_AFTER ? BILLING_GATEWAY_CANCELED : BILLING_GATEWAY_REQUIRES_ACTION;
}

static bool
is_question(const BillingGatewayOrder *order)
{
	return order->operation == BILLING_GATEWAY_QUERY || order->operation == BILLING_GATEWAY_QUERY_REFUND ||
		order->operation == BILLING_GATEWAY_CLOSE;
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

static const char *
first_of(const BillingDocument *document, const char *name, const char *other_name)
{
	const char *text = billing_document_string(document, name);

	return text != NULL ? text : billing_document_string(document, other_name);
}

bool
billing_alipay_read_yuan(const char *text, int64 *units)
{
	size_t		digits = text == NULL ? 0 : strspn(text, "0123456789");
	size_t		decimals;

	if (digits == 0 || digits > 12)
		return false;
	*units = 0;
	for (size_t i = 0; i < digits; i++)
		*units = *units * 10 + (text[i] - '0');
	*units *= 100;
	text += digits;
	if (*text == '\0')
		return true;

	decimals = strspn(text + 1, "0123456789");
	if (*text != '.' || decimals < 1 || decimals > 2 || text[1 + decimals] != '\0')
		return false;
	*units += 10 * (text[1] - '0') + (decimals == 2 ? text[2] - '0' : 0);
	return true;
}

int64
billing_alipay_instant(const char *text)
{
	int64		seconds;

	return billing_instant_read(text, CHINA_OFFSET, &seconds) ? seconds : 0;
}

/* As "2026-11-29 16:05:22". */
static char *
print_china(int64 seconds)
{
	char	   *text = billing_instant_print(seconds, CHINA_OFFSET);

	text[10] = ' ';
	text[19] = '\0';
	return text;
}
