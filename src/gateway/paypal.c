/*-------------------------------------------------------------------------
 *
 * paypal.c
 *	  PayPal: Orders v2, Payments v2, Vault v3.
 *
 * Each conversation begins with an access token (OAuth 2, client credentials).  A payment is an order: the payer
 * approves it at PayPal, then it is captured; with a stored method creating it captures it too.  Its id is the order's
 * until there is a capture, whose id it is from then on.
 *
 * PayPal-Request-Id is made of the pay_no or refund_no, so that a query of what was asked, but never answered, asks the
 * same again: PayPal answers with what there is.  It keeps these ids for six hours (orders) and 45 days (refunds).
 *
 * An order cannot be voided.  Closing one says only whether it was captured: nobody but us captures it.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "crypto.h"
#include "document.h"
#include "form.h"
#include "paypal.h"

#define LIVE_URL			"https://api-m.paypal.com"

/* Within the six hours for which an order is known by its request id, in seconds. */
#define REPEATABLE_FOR		(5 * 60 * 60)

#define MAX_DESCRIPTION		127
#define MAX_NOTE			255
#define MAX_HEADERS			5

/* Names in the memory of a conversation. */
#define ACCESS_TOKEN		"access_token"
#define STEP				"step"
#define CAPTURE_ID			"capture_id"
#define RENEWED_AT			"renewed_at"

/* Seconds: a token that is refused sooner than this behind the one before it is not refused for its age. */
#define RENEWED_FOR			(10 * 60)

static const char *check(const BillingGatewayConfig *config);
static const char *build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
						 BillingGatewayAnswer *answer);
static const char *build_operation(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
								   BillingGatewayAnswer *answer);
static const char *build_order(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *append_source(const BillingGatewayConfig *config, const BillingGatewayOrder *order, StringInfo body);
static void append_experience(const BillingGatewayConfig *config, const char *return_url, StringInfo body);
static const char *build_capture(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_query(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
							   BillingGatewayAnswer *answer);
static const char *build_refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_add_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_certificate(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static void build_token(const BillingGatewayConfig *config, BillingGatewayRequest *request);
static void ask(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, const char *verb,
				const char *path, const char *id, const char *suffix);
static void post(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, const char *path,
				 const char *id, const char *suffix, const char *request_id, StringInfo body);
static void add_header(BillingPairs *headers, const char *name, const char *value);
static void append_amount(StringInfo body, const BillingGatewayOrder *order);
static void append_text(StringInfo body, const char *name, const char *text, int max);
static bool is_step(const BillingGatewayOrder *order, const char *step);
static void read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
						const char *body, size_t len, BillingGatewayAnswer *answer);
static void read_token(const BillingGatewayOrder *order, const BillingDocument *document, int status, BillingGatewayAnswer *answer);
static void read_done(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingDocument *document,
					  BillingGatewayAnswer *answer);
static void read_refund(const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_error(const BillingGatewayOrder *order, int status, const BillingDocument *document, BillingGatewayAnswer *answer);
static void renew_token(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static BillingGatewayOutcome refused(const BillingGatewayOrder *order, int status, const BillingDocument *document,
									 BillingGatewayAnswer *answer);
static bool is_repetition(const char *code);
static BillingGatewayOutcome not_found(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void read_found_order(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_method(const BillingGatewayConfig *config, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_certificate(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const char *body, size_t len,
							 BillingGatewayAnswer *answer);
static void go_on(const BillingGatewayOrder *order, BillingGatewayAnswer *answer, const char *name, const char *value);
static const char *keep(const BillingDocument *document, bool is_method);

/* What its page lists. */
static const char *const settings[] = {"webhook_id", "return_url", "cancel_url", "brand_name", "locale", "roots", "certificate_host", NULL};
static const char *const credentials[] = {"client_id", "client_secret", NULL};

const BillingGateway billing_gateway_paypal = {
	.name = "paypal",
	.base_url = LIVE_URL,
	.settings = settings,
	.credentials = credentials,
	.check = check,
	.exponent = billing_paypal_exponent,
	.build = build,
	.read = read_answer,
	.read_callback = billing_paypal_read_callback,
	.reply = billing_paypal_reply,
};

/* Without a webhook_id callbacks are refused, and payments go on by queries. */
static const char *
check(const BillingGatewayConfig *config)
{
	static const char *const needed[] = {"client_id", "client_secret"};
	const char *roots = billing_pairs_find(&config->settings, "roots");

	for (int i = 0; i < lengthof(needed); i++)
	{
		const char *value = billing_pairs_find(&config->credentials, needed[i]);

		if (value == NULL || value[0] == '\0')
			return psprintf("missing=%s", needed[i]);
	}
	if (roots != NULL && billing_crypto_serial(roots) == NULL)
		return "setting=roots expected=certificates";
	return NULL;
}

/*
 * build
 *		The request of an operation, or that of the token which has to come before it.
 *
 * The operation's is made in any case: what keeps it from being asked shows before the first request.
 */
static const char *
build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, BillingGatewayAnswer *answer)
{
	const char *problem;

	memset(request, 0, sizeof(*request));
	billing_gateway_clear(answer);
	if (order->operation == BILLING_GATEWAY_CERTIFICATE)
		return build_certificate(config, order, request);

	problem = build_operation(config, order, request, answer);
	if (problem == NULL && request->verb != NULL && billing_pairs_find(&order->memory, ACCESS_TOKEN) == NULL)
		build_token(config, request);
	return problem;
}

static const char *
build_operation(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
				BillingGatewayAnswer *answer)
{
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			return build_order(config, order, request);
		case BILLING_GATEWAY_CAPTURE:
			return build_capture(config, order, request);
		case BILLING_GATEWAY_QUERY:
		case BILLING_GATEWAY_CLOSE:
			return build_query(config, order, request, answer);
		case BILLING_GATEWAY_QUERY_REFUND:
			if (order->external_id == NULL)
				return build_refund(config, order, request);
			ask(config, order, request, "GET", "/v2/payments/refunds/", order->external_id, "");
			return NULL;
		case BILLING_GATEWAY_REFUND:
			return build_refund(config, order, request);
		case BILLING_GATEWAY_ADD_METHOD:
			return build_add_method(config, order, request);
		case BILLING_GATEWAY_REMOVE_METHOD:
			if (order->token == NULL)
				return "missing=token";
			ask(config, order, request, "DELETE", "/v3/vault/payment-tokens/", order->token, "");
			return NULL;
		default:
			return "operation=unsupported";
	}
}

static const char *
build_order(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	StringInfoData body;
	const char *problem;

	if (order->pay_no == NULL || order->currency == NULL || order->units <= 0)
		return "missing=pay_no,amount";
	if (billing_paypal_exponent(order->currency) == -2)
		return psprintf("currency=%s", order->currency);

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"intent\":\"CAPTURE\",\"purchase_units\":[{");
	billing_document_append_member(&body, "invoice_id", order->pay_no);
	billing_document_append_member(&body, "custom_id", order->pay_no);
	append_text(&body, "description", order->description, MAX_DESCRIPTION);
	append_amount(&body, order);
	appendStringInfoString(&body, "}],\"payment_source\":{");
	problem = append_source(config, order, &body);
	if (problem != NULL)
		return problem;
	appendStringInfoString(&body, "}}");
	post(config, order, request, "/v2/checkout/orders", "", "", psprintf("order-%s", order->pay_no), &body);
	return NULL;
}

/* A stored method is charged at once, by the merchant; else the payer goes to PayPal. */
static const char *
append_source(const BillingGatewayConfig *config, const BillingGatewayOrder *order, StringInfo body)
{
	const char *method = order->method != NULL ? order->method : "paypal";
	const char *return_url = order->return_url != NULL ? order->return_url : billing_pairs_find(&config->settings, "return_url");

	if (strcmp(method, "paypal") != 0 && strcmp(method, "card") != 0)
		return psprintf("method=%s allowed=paypal,card", method);
	if (order->token == NULL && strcmp(method, "paypal") != 0)
		return psprintf("method=%s missing=token", method);
	if (order->token == NULL && return_url == NULL)
		return "missing=return_url";

	appendStringInfo(body, "\"%s\":{", method);
	billing_document_append_member(body, "vault_id", order->token);
	if (order->token == NULL)
		append_experience(config, return_url, body);
	else if (strcmp(method, "card") == 0)
		appendStringInfoString(body, ",\"stored_credential\":{\"payment_initiator\":\"MERCHANT\",\"payment_type\":\"UNSCHEDULED\","
							   "\"usage\":\"SUBSEQUENT\"}");
	else
		appendStringInfoString(body, ",\"stored_credential\":{\"payment_initiator\":\"MERCHANT\",\"usage\":\"SUBSEQUENT\"}");
	appendStringInfoChar(body, '}');
	return NULL;
}

/* What is sold here has no shipping; what the payer approves is captured. */
static void
append_experience(const BillingGatewayConfig *config, const char *return_url, StringInfo body)
{
	const char *cancel_url = billing_pairs_find(&config->settings, "cancel_url");

	appendStringInfoString(body, "\"experience_context\":{");
	billing_document_append_member(body, "return_url", return_url);
	billing_document_append_member(body, "cancel_url", cancel_url != NULL ? cancel_url : return_url);
	billing_document_append_member(body, "brand_name", billing_pairs_find(&config->settings, "brand_name"));
	billing_document_append_member(body, "locale", billing_pairs_find(&config->settings, "locale"));
	billing_document_append_member(body, "user_action", "PAY_NOW");
	billing_document_append_member(body, "shipping_preference", "NO_SHIPPING");
	appendStringInfoChar(body, '}');
}

static const char *
build_capture(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	StringInfoData body;

	if (order->external_id == NULL || order->pay_no == NULL)
		return "missing=external_id,pay_no";
	if (is_step(order, "order"))
	{
		ask(config, order, request, "GET", "/v2/checkout/orders/", order->external_id, "");
		return NULL;
	}
	initStringInfo(&body);
	appendStringInfoString(&body, "{}");
	post(config, order, request, "/v2/checkout/orders/", order->external_id, "/capture", psprintf("capture-%s", order->pay_no), &body);
	return NULL;
}

/*
 * build_query
 *		Ask for an order, or for the capture that it has become.
 *
 * One whose creation was never answered has no id to ask for.  While PayPal knows the request it is asked again; later one that a
 * payer had to approve is dead, as nobody ever got its address, and one of a stored method may have been paid.  Where that was
 * removed since, the request cannot be made again as it was.
 */
static const char *
build_query(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
			BillingGatewayAnswer *answer)
{
	bool		is_of_payer = order->token == NULL && !order->is_token_gone;
	bool		is_repeatable = order->operation == BILLING_GATEWAY_QUERY && order->now - order->created_at < REPEATABLE_FOR && !order->is_token_gone;

	if (order->external_id != NULL)
	{
		ask(config, order, request, "GET", is_step(order, "capture") ? "/v2/payments/captures/" : "/v2/checkout/orders/", order->external_id, "");
		return NULL;
	}
	if (is_repeatable && build_order(config, order, request) == NULL)
		return NULL;

	memset(request, 0, sizeof(*request));
	answer->outcome = is_of_payer ? BILLING_GATEWAY_CANCELED : BILLING_GATEWAY_UNKNOWN;
	answer->code = "order_unknown";
	answer->message = "PayPal has not said what order it made of this payment, and no longer knows the request";
	return NULL;
}

/*
 * build_refund
 *		Refund a capture; where only the order of the payment is known, its capture is asked for first.
 *
 * invoice_id is the refund's own number, custom_id that of its payment: a callback has both.
 */
static const char *
build_refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *capture = billing_pairs_find(&order->memory, CAPTURE_ID);
	StringInfoData body;

	if (order->refund_no == NULL || order->payment_external_id == NULL || order->currency == NULL || order->units <= 0)
		return "missing=refund_no,payment_external_id,amount";
	if (capture == NULL && is_step(order, "order"))
	{
		ask(config, order, request, "GET", "/v2/checkout/orders/", order->payment_external_id, "");
		return NULL;
	}
	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	billing_document_append_member(&body, "invoice_id", order->refund_no);
	billing_document_append_member(&body, "custom_id", order->pay_no);
	append_text(&body, "note_to_payer", order->reason, MAX_NOTE);
	append_amount(&body, order);
	appendStringInfoChar(&body, '}');
	post(config, order, request, "/v2/payments/captures/", capture != NULL ? capture : order->payment_external_id, "/refund",
		 psprintf("refund-%s", order->refund_no), &body);
	return NULL;
}

/* A setup token that the payer has approved becomes the token of a method. */
static const char *
build_add_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	StringInfoData body;

	if (order->token == NULL)
		return "missing=token";
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"payment_source\":{\"token\":{");
	billing_document_append_member(&body, "id", order->token);
	billing_document_append_member(&body, "type", "SETUP_TOKEN");
	appendStringInfoString(&body, "}}");
	if (order->customer_id != NULL)
	{
		appendStringInfoString(&body, ",\"customer\":{");
		billing_document_append_member(&body, "id", order->customer_id);
		appendStringInfoChar(&body, '}');
	}
	appendStringInfoChar(&body, '}');
	post(config, order, request, "/v3/vault/payment-tokens", "", "", order->idempotency_key, &body);
	return NULL;
}

/* It is public, so it needs no token. */
static const char *
build_certificate(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	if (order->external_id == NULL || !billing_paypal_is_certificate_url(config, order->external_id))
		return "certificate=not_of_paypal";
	request->verb = "GET";
	request->url = order->external_id;
	return NULL;
}

static void
build_token(const BillingGatewayConfig *config, BillingGatewayRequest *request)
{
	char	   *pair = psprintf("%s:%s", billing_pairs_find(&config->credentials, "client_id"),
								billing_pairs_find(&config->credentials, "client_secret"));

	memset(request, 0, sizeof(*request));
	request->verb = "POST";
	request->url = psprintf("%s/v1/oauth2/token", config->base_url);
	add_header(&request->headers, "Authorization", psprintf("Basic %s", billing_crypto_base64(pair, strlen(pair))));
	add_header(&request->headers, "Content-Type", "application/x-www-form-urlencoded");
	add_header(&request->headers, "Accept", "application/json");
	request->body = "grant_type=client_credentials";
	request->body_len = strlen(request->body);
}

/* The id may have come from anywhere. */
static void
ask(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, const char *verb,
	const char *path, const char *id, const char *suffix)
{
	const char *token = billing_pairs_find(&order->memory, ACCESS_TOKEN);
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfo(&url, "%s%s", config->base_url, path);
	billing_form_append_encoded(&url, id);
	appendStringInfoString(&url, suffix);
	request->verb = verb;
	request->url = url.data;
	add_header(&request->headers, "Authorization", psprintf("Bearer %s", token != NULL ? token : ""));
	add_header(&request->headers, "Content-Type", "application/json");
}

static void
post(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, const char *path,
	 const char *id, const char *suffix, const char *request_id, StringInfo body)
{
	ask(config, order, request, "POST", path, id, suffix);
	add_header(&request->headers, "PayPal-Request-Id", request_id);
	add_header(&request->headers, "Prefer", "return=representation");
	request->body = body->data;
	request->body_len = body->len;
}

static void
add_header(BillingPairs *headers, const char *name, const char *value)
{
	if (headers->pairs == NULL)
		headers->pairs = palloc0(MAX_HEADERS * sizeof(BillingPair));
	headers->pairs[headers->count].name = name;
	headers->pairs[headers->count++].value = value;
}

static void
append_amount(StringInfo body, const BillingGatewayOrder *order)
{
	int64		unit = 1;

	for (int i = 0; i < order->exponent; i++)
		unit *= 10;
	appendStringInfo(body, ",\"amount\":{\"currency_code\":\"%s\",\"value\":\"%lld", order->currency, (long long) (order->units / unit));
	if (order->exponent > 0)
		appendStringInfo(body, ".%0*lld", order->exponent, (long long) (order->units % unit));
	appendStringInfoString(body, "\"}");
}

/* At most so many bytes of a text, without half a character. */
static void
append_text(StringInfo body, const char *name, const char *text, int max)
{
	int			len = text == NULL ? 0 : strlen(text);

	if (len <= max)
	{
		billing_document_append_member(body, name, text);
		return;
	}
	while (max > 0 && ((unsigned char) text[max] & 0xC0) == 0x80)
		max--;
	billing_document_append_member(body, name, psprintf("%.*s", max, text));
}

static bool
is_step(const BillingGatewayOrder *order, const char *step)
{
	const char *present = billing_pairs_find(&order->memory, STEP);

	return present != NULL && strcmp(present, step) == 0;
}

static void
read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
			const char *body, size_t len, BillingGatewayAnswer *answer)
{
	const BillingDocument *document = body == NULL || len == 0 ? NULL : billing_document_read(body, len);

	billing_gateway_clear(answer);
	if (order->operation == BILLING_GATEWAY_CERTIFICATE)
	{
		read_certificate(config, order, status, body, len, answer);
		return;
	}
	if (billing_pairs_find(&order->memory, ACCESS_TOKEN) == NULL)
	{
		read_token(order, document, status, answer);
		return;
	}
	answer->response = keep(document, order->operation == BILLING_GATEWAY_ADD_METHOD);
	if (status >= 200 && status < 300)
		read_done(config, order, document, answer);
	else
		read_error(order, status, document, answer);
}

/* Without a token nothing was asked yet, whatever went wrong. */
static void
read_token(const BillingGatewayOrder *order, const BillingDocument *document, int status, BillingGatewayAnswer *answer)
{
	const char *token = document == NULL ? NULL : billing_document_string(document, ACCESS_TOKEN);

	if (status >= 200 && status < 300 && token != NULL && token[0] != '\0')
	{
		answer->outcome = BILLING_GATEWAY_NEXT;
		go_on(order, answer, ACCESS_TOKEN, token);
		return;
	}
	answer->outcome = BILLING_GATEWAY_RETRY;
	answer->code = document == NULL ? NULL : billing_document_string(document, "error");
	if (answer->code == NULL)
		answer->code = psprintf("http_%d", status);
	answer->message = status == 401 ? "PayPal does not know client_id and client_secret" : "PayPal gave no access token";
}

static void
read_done(const BillingGatewayConfig *config, const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	if (order->operation == BILLING_GATEWAY_REMOVE_METHOD)
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	if (document == NULL)
		return;

	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
		case BILLING_GATEWAY_CAPTURE:
		case BILLING_GATEWAY_QUERY:
		case BILLING_GATEWAY_CLOSE:
			if (is_step(order, "capture"))
				billing_paypal_read_capture(document, answer);
			else
				billing_paypal_read_order(document, answer);
			break;
		case BILLING_GATEWAY_REFUND:
		case BILLING_GATEWAY_QUERY_REFUND:
			if (is_step(order, "order") && billing_pairs_find(&order->memory, CAPTURE_ID) == NULL)
				read_found_order(order, document, answer);
			else
				read_refund(document, answer);
			break;
		case BILLING_GATEWAY_ADD_METHOD:
			read_method(config, document, answer);
			break;
		default:
			break;
	}
	if (order->operation == BILLING_GATEWAY_CLOSE &&
		(answer->outcome == BILLING_GATEWAY_REQUIRES_ACTION || answer->outcome == BILLING_GATEWAY_APPROVED))
		answer->outcome = BILLING_GATEWAY_CANCELED;
}

/* What has no amount is no refund, but perhaps its payment: who sends for himself may have taken the answer to another question. */
static void
read_refund(const BillingDocument *document, BillingGatewayAnswer *answer)
{
	billing_paypal_read_refund(document, answer);
	if (answer->outcome == BILLING_GATEWAY_SUCCEEDED && answer->units < 0)
		answer->outcome = BILLING_GATEWAY_UNKNOWN;
}

/*
 * read_error
 *		What was refused, and whether it may still have happened.
 *
 * The issue of the first detail says more than the name of the error.  A refusal without either is not PayPal's: whoever stood
 * between has not said what became of the request.
 */
static void
read_error(const BillingGatewayOrder *order, int status, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	static const char *const codes[] = {"details.0.issue", "name", "error"};
	static const char *const messages[] = {"details.0.description", "message", "error_description"};

	for (int i = 0; document != NULL && i < lengthof(codes) && answer->code == NULL; i++)
		answer->code = billing_document_string(document, codes[i]);
	for (int i = 0; document != NULL && i < lengthof(messages) && answer->message == NULL; i++)
		answer->message = billing_document_string(document, messages[i]);

	if (status == 429)
		answer->outcome = BILLING_GATEWAY_RETRY;
	else if (status == 401)
		renew_token(order, answer);
	else if (answer->code != NULL && status >= 400 && status < 500 && status != 408 && status != 409)
		answer->outcome = refused(order, status, document, answer);
	if (answer->code == NULL && answer->outcome != BILLING_GATEWAY_NEXT)
		answer->code = psprintf("http_%d", status);
}

/*
 * renew_token
 *		What was asked with a token that is over did not happen: it is asked again with another.
 *
 * PayPal hands the same token to all who ask for one, so that it may end soon; and a question waits for days.
 */
static void
renew_token(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	const char *renewed = billing_pairs_find(&order->memory, RENEWED_AT);
	int64		renewed_at = renewed == NULL ? 0 : strtoll(renewed, NULL, 10);

	answer->outcome = BILLING_GATEWAY_RETRY;
	if (order->now - renewed_at < RENEWED_FOR)
		return;
	billing_gateway_clear(answer);
	answer->outcome = BILLING_GATEWAY_NEXT;
	for (int i = 0; i < order->memory.count; i++)
	{
		const BillingPair *pair = &order->memory.pairs[i];

		if (strcmp(pair->name, ACCESS_TOKEN) != 0 && strcmp(pair->name, RENEWED_AT) != 0)
			add_header(&answer->memory, pair->name, pair->value);
	}
	add_header(&answer->memory, RENEWED_AT, psprintf("%lld", (long long) order->now));
}

/*
 * refused
 *		What a 4xx says of the object that was asked for.
 *
 * A query that is refused says nothing of a payment.
 */
static BillingGatewayOutcome
refused(const BillingGatewayOrder *order, int status, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	if (status == 404)
		return not_found(order, answer);
	switch (order->operation)
	{
		case BILLING_GATEWAY_CAPTURE:
			if (strcmp(answer->code, "ORDER_ALREADY_CAPTURED") == 0 && !is_step(order, "order"))
			{
				go_on(order, answer, STEP, "order");
				return BILLING_GATEWAY_NEXT;
			}
			if (is_step(order, "order"))
				return BILLING_GATEWAY_UNKNOWN;
			if (strcmp(answer->code, "ORDER_NOT_APPROVED") == 0)
				return BILLING_GATEWAY_REQUIRES_ACTION;
			if (strcmp(answer->code, "PAYER_ACTION_REQUIRED") == 0)
			{
				answer->payment_url = billing_paypal_action_link(document);
				return BILLING_GATEWAY_REQUIRES_ACTION;
			}
			break;
		case BILLING_GATEWAY_QUERY:
			if (order->external_id != NULL)
				return BILLING_GATEWAY_UNKNOWN;
			break;
		case BILLING_GATEWAY_CLOSE:
			return BILLING_GATEWAY_UNKNOWN;
		case BILLING_GATEWAY_QUERY_REFUND:
			if (order->external_id != NULL)
				return BILLING_GATEWAY_UNKNOWN;
			break;
		default:
			break;
	}
	return is_repetition(answer->code) ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
}

/*
 * is_repetition
 *		Whether something was refused for what was asked before it.
 *
 * That may be this very payment, whose answer was lost: who takes that for a failure charges twice.
 */
static bool
is_repetition(const char *code)
{
	static const char *const codes[] = {
		"DUPLICATE_INVOICE_ID", "DUPLICATE_REQUEST_ID", "DUPLICATE_TRANSACTION", "PAYPAL_REQUEST_ID_PREVIOUSLY_USED", "PREVIOUS_REQUEST_IN_PROGRESS"
	};

	for (int i = 0; i < lengthof(codes); i++)
	{
		if (strcmp(code, codes[i]) == 0)
			return true;
	}
	return false;
}

/*
 * not_found
 *		An id may be that of an order or of its capture; an order that nobody has approved is forgotten after some hours.
 */
static BillingGatewayOutcome
not_found(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	switch (order->operation)
	{
		case BILLING_GATEWAY_QUERY:
		case BILLING_GATEWAY_CLOSE:
			if (is_step(order, "capture"))
				return BILLING_GATEWAY_CANCELED;
			go_on(order, answer, STEP, "capture");
			return BILLING_GATEWAY_NEXT;
		case BILLING_GATEWAY_REFUND:
			if (is_step(order, "order"))
				return BILLING_GATEWAY_FAILED;
			go_on(order, answer, STEP, "order");
			return BILLING_GATEWAY_NEXT;
		case BILLING_GATEWAY_QUERY_REFUND:
			if (order->external_id != NULL || is_step(order, "order"))
				return BILLING_GATEWAY_UNKNOWN;
			go_on(order, answer, STEP, "order");
			return BILLING_GATEWAY_NEXT;
		case BILLING_GATEWAY_REMOVE_METHOD:
			return BILLING_GATEWAY_SUCCEEDED;
		default:
			return BILLING_GATEWAY_FAILED;
	}
}

/* The capture of the order that a refund is for. */
static void
read_found_order(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const char *capture = billing_document_string(document, "purchase_units.0.payments.captures.0.id");

	if (capture != NULL)
	{
		answer->outcome = BILLING_GATEWAY_NEXT;
		go_on(order, answer, CAPTURE_ID, capture);
		return;
	}
	answer->outcome = BILLING_GATEWAY_FAILED;
	answer->code = "order_not_captured";
	answer->message = "the order was not captured, so there is nothing to refund";
}

/* What answers have of a token, which is a secret, is what callbacks will have of it. */
static void
read_method(const BillingGatewayConfig *config, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const char *expiry = billing_document_string(document, "payment_source.card.expiry");
	int			year;
	int			month;

	answer->token = billing_document_string(document, "id");
	answer->customer_id = billing_document_string(document, "customer.id");
	if (answer->token == NULL)
		return;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	answer->external_id = billing_paypal_method_id(config, answer->token);
	answer->type = billing_document_get(document, "payment_source.card") != NULL ? "card" : "paypal";
	answer->brand = billing_document_string(document, "payment_source.card.brand");
	answer->last4 = billing_document_string(document, "payment_source.card.last_digits");
	if (expiry != NULL && sscanf(expiry, "%4d-%2d", &year, &month) == 2)
	{
		answer->exp_year = year;
		answer->exp_month = month;
	}
}

/* It is kept only if it is one that callbacks may be signed with. */
static void
read_certificate(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const char *body, size_t len,
				 BillingGatewayAnswer *answer)
{
	char	   *pem = psprintf("%.*s", (int) Min(len, BILLING_PAYPAL_MAX_CERTIFICATE), body != NULL ? body : "");

	answer->outcome = status == 404 ? BILLING_GATEWAY_FAILED : BILLING_GATEWAY_RETRY;
	answer->code = psprintf("http_%d", status);
	if (status != 200)
		return;
	answer->outcome = BILLING_GATEWAY_FAILED;
	answer->code = "certificate";
	answer->message = billing_paypal_check_certificate(config, pem, order->now);
	if (answer->message != NULL)
		return;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	answer->code = NULL;
	add_header(&answer->memory, order->external_id, pem);
}

/* The next step has the token of this one. */
static void
go_on(const BillingGatewayOrder *order, BillingGatewayAnswer *answer, const char *name, const char *value)
{
	for (int i = 0; i < order->memory.count && i < MAX_HEADERS - 1; i++)
	{
		if (strcmp(order->memory.pairs[i].name, name) != 0)
			add_header(&answer->memory, order->memory.pairs[i].name, order->memory.pairs[i].value);
	}
	add_header(&answer->memory, name, value);
}

/* An answer as it is kept: neither secrets nor what PayPal knows of the person who pays. */
static const char *
keep(const BillingDocument *document, bool is_method)
{
	static const char *const without[] = {
		ACCESS_TOKEN, "payer", "payment_source", "shipping", "email_address", "payee", NULL
	};
	static const char *const without_token[] = {
		"id", "links", "payment_source", NULL
	};

	return document == NULL ? NULL : billing_document_print(document, is_method ? without_token : without);
}
