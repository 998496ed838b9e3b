/*-------------------------------------------------------------------------
 *
 * manual.c
 *	  The gateway that is a person: bank transfers, and payments that are only tried.
 *
 * Nothing is ever sent.  Who pays is told where to, and somebody records what came; an import of the bank's
 * statements may report it by a callback of its own form, signed with a secret that both know:
 *
 *	  Billing-Timestamp: 1767225600
 *	  Billing-Signature: HMAC-SHA256(callback_secret, timestamp "." body), 64 hexadecimal digits
 *	  {"id":"camt-17","type":"payment.succeeded","pay_no":"1_order17","amount":"49.00 USD"}
 *
 * With the setting is_test = true, tokens say how a payment ends, so that collection can be tried without any network.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "../amount_parse.h"
#include "crypto.h"
#include "document.h"

/* How old a callback may be, or how far ahead, in seconds. */
#define CALLBACK_WINDOW		300

#define MIN_SECRET_LEN		16

#define GOOD				"tok_ok"
#define DECLINED			"tok_declined_"

static const char *check(const BillingGatewayConfig *config);
static int	exponent(const char *currency);
static const char *build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
						 BillingGatewayAnswer *answer);
static const char *pay(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static bool is_test(const BillingGatewayConfig *config);
static bool is_test_token(const char *token);
static bool is_good(const char *token);
static void try_payment(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void succeed(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void ask_person(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static const char *add_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
						const char *body, size_t len, BillingGatewayAnswer *answer);
static void read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
						  BillingGatewayCallback *callback);
static bool is_signed(const BillingGatewayConfig *config, const char *timestamp, const char *signature, const char *body, size_t len);
static const char *check_time(const char *timestamp, int64 now);
static const char *read_event(const BillingDocument *event, BillingGatewayCallback *callback);
static const char *read_subject(const BillingDocument *event, BillingGatewayCallback *callback);
static bool read_amount(const BillingDocument *event, const char *name, int64 *units, const char **currency);
static void reply(bool is_accepted, BillingGatewayReply *reply);

/* What its page lists. */
static const char *const settings[] = {"instructions", "bank_account", "is_test", NULL};
static const char *const credentials[] = {"callback_secret", NULL};

const BillingGateway billing_gateway_manual = {
	.name = "manual",
	.base_url = "",
	.settings = settings,
	.credentials = credentials,
	.check = check,
	.exponent = exponent,
	.build = build,
	.read = read_answer,
	.read_callback = read_callback,
	.reply = reply,
};

/* Callbacks are refused where there is no secret. */
static const char *
check(const BillingGatewayConfig *config)
{
	const char *test = billing_pairs_find(&config->settings, "is_test");
	const char *secret = billing_pairs_find(&config->credentials, "callback_secret");

	if (test != NULL && strcmp(test, "true") != 0 && strcmp(test, "false") != 0)
		return "setting=is_test allowed=true,false";
	if (secret != NULL && strlen(secret) < MIN_SECRET_LEN)
		return psprintf("credential=callback_secret min_length=%d", MIN_SECRET_LEN);
	return NULL;
}

static int
exponent(const char *currency)
{
	return -1;
}

static const char *
build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, BillingGatewayAnswer *answer)
{
	memset(request, 0, sizeof(*request));
	billing_gateway_clear(answer);
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
		case BILLING_GATEWAY_QUERY:
			return pay(config, order, answer);
		case BILLING_GATEWAY_CLOSE:
			answer->outcome = BILLING_GATEWAY_CANCELED;
			return NULL;
		case BILLING_GATEWAY_REFUND:
		case BILLING_GATEWAY_QUERY_REFUND:
			refund(config, order, answer);
			return NULL;
		case BILLING_GATEWAY_ADD_METHOD:
			return add_method(config, order, answer);
		case BILLING_GATEWAY_REMOVE_METHOD:
			answer->outcome = BILLING_GATEWAY_SUCCEEDED;
			return NULL;
		default:
			return "operation=unsupported";
	}
}

/*
 * pay
 *		Begin a payment, or say what is known of it: nothing, until somebody tells.
 */
static const char *
pay(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	if (is_test(config) && order->token != NULL && is_test_token(order->token))
		try_payment(order, answer);
	else if (is_test(config) && order->token != NULL && strncmp(order->token, "tok_", 4) == 0)
		return "token=unknown";
	else if (is_test(config) || order->method == NULL || strcmp(order->method, "bank_transfer") == 0)
		ask_person(config, order, answer);
	else
		return "method=unsupported allowed=bank_transfer";
	return NULL;
}

static bool
is_test(const BillingGatewayConfig *config)
{
	const char *value = billing_pairs_find(&config->settings, "is_test");

	return value != NULL && strcmp(value, "true") == 0;
}

static bool
is_test_token(const char *token)
{
	static const char *const tokens[] = {"tok_requires_action", "tok_processing", "tok_unknown", "tok_retry"};

	for (int i = 0; i < lengthof(tokens); i++)
	{
		if (strcmp(token, tokens[i]) == 0)
			return true;
	}
	return is_good(token) || (strncmp(token, DECLINED, strlen(DECLINED)) == 0 && token[strlen(DECLINED)] != '\0');
}

/* A tenant has several: tok_ok_1, tok_ok_2. */
static bool
is_good(const char *token)
{
	return strcmp(token, GOOD) == 0 || strncmp(token, GOOD "_", strlen(GOOD "_")) == 0;
}

/*
 * try_payment
 *		End a payment as its token says.
 *
 * One that is under way, or whose answer was lost, has succeeded when it is asked for.
 */
static void
try_payment(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	bool		is_asked_again = order->operation == BILLING_GATEWAY_QUERY;

	if (strncmp(order->token, DECLINED, strlen(DECLINED)) == 0)
	{
		answer->outcome = BILLING_GATEWAY_FAILED;
		answer->code = order->token + strlen(DECLINED);
		answer->message = "declined, as the token of this test says";
	}
	else if (strcmp(order->token, "tok_requires_action") == 0)
		answer->outcome = BILLING_GATEWAY_REQUIRES_ACTION;
	else if (is_good(order->token) || is_asked_again)
		succeed(order, answer);
	else if (strcmp(order->token, "tok_processing") == 0)
		answer->outcome = BILLING_GATEWAY_PROCESSING;
	else if (strcmp(order->token, "tok_retry") == 0)
		answer->outcome = BILLING_GATEWAY_RETRY;
}

static void
succeed(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	answer->units = order->units;
	answer->currency = order->currency;
}

/*
 * ask_person
 *		Tell who pays where to, and what to write on it.
 */
static void
ask_person(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	StringInfoData response;

	initStringInfo(&response);
	appendStringInfoChar(&response, '{');
	billing_document_append_member(&response, "instructions", billing_pairs_find(&config->settings, "instructions"));
	billing_document_append_member(&response, "bank_account", billing_pairs_find(&config->settings, "bank_account"));
	billing_document_append_member(&response, "reference", order->pay_no);
	appendStringInfoChar(&response, '}');
	answer->outcome = BILLING_GATEWAY_REQUIRES_ACTION;
	answer->response = response.data;
}

/* A person sends the money back, and records it. */
static void
refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	if (is_test(config))
		succeed(order, answer);
	else
		answer->outcome = BILLING_GATEWAY_PROCESSING;
	answer->refund_no = order->refund_no;
}

/*
 * add_method
 *		Of a bank transfer any token is good, and none: it says whose transfers they are, and nothing is taken by it.
 */
static const char *
add_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	const char *type = order->method == NULL ? "bank_transfer" : order->method;

	if (strcmp(type, "bank_transfer") != 0 && (order->token == NULL || order->token[0] == '\0'))
		return "missing=token";
	answer->token = order->token;
	answer->customer_id = order->customer_id;
	answer->type = type;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	if (strcmp(type, "bank_transfer") == 0)
		return NULL;
	if (!is_test(config))
		return "method=unsupported allowed=bank_transfer";
	if (!is_test_token(order->token))
	{
		answer->outcome = BILLING_GATEWAY_FAILED;
		answer->code = "token_invalid";
		answer->message = "no token of a test";
	}
	return NULL;
}

/* Nothing is sent, so nothing is answered. */
static void
read_answer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
			const char *body, size_t len, BillingGatewayAnswer *answer)
{
	billing_gateway_clear(answer);
}

static void
read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
			  BillingGatewayCallback *callback)
{
	const char *timestamp = billing_pairs_find_header(headers, "Billing-Timestamp");
	const char *signature = billing_pairs_find_header(headers, "Billing-Signature");
	const BillingDocument *event;

	memset(callback, 0, sizeof(*callback));
	billing_gateway_clear(&callback->answer);
	callback->verdict = BILLING_GATEWAY_BAD_SIGNATURE;
	if (timestamp == NULL || signature == NULL)
	{
		callback->detail = timestamp == NULL ? "missing=Billing-Timestamp" : "missing=Billing-Signature";
		return;
	}
	if (!is_signed(config, timestamp, signature, body, len))
		return;

	callback->verdict = BILLING_GATEWAY_TOO_OLD;
	callback->detail = check_time(timestamp, now);
	if (callback->detail != NULL)
		return;

	callback->verdict = BILLING_GATEWAY_MALFORMED;
	event = billing_document_read(body, len);
	callback->detail = event == NULL ? "body=not_json" : read_event(event, callback);
	if (callback->detail == NULL)
		callback->verdict = BILLING_GATEWAY_VALID;
}

static bool
is_signed(const BillingGatewayConfig *config, const char *timestamp, const char *signature, const char *body, size_t len)
{
	const char *secret = billing_pairs_find(&config->credentials, "callback_secret");
	StringInfoData content;
	char	   *expected;

	if (secret == NULL)
		return false;
	initStringInfo(&content);
	appendStringInfo(&content, "%s.", timestamp);
	appendBinaryStringInfo(&content, body, len);
	expected = billing_crypto_hmac(secret, content.data, content.len);
	return expected != NULL && billing_crypto_equals(expected, signature);
}

static const char *
check_time(const char *timestamp, int64 now)
{
	char	   *end;
	int64		at = strtoll(timestamp, &end, 10);

	if (end == timestamp || *end != '\0' || at < now - CALLBACK_WINDOW || at > now + CALLBACK_WINDOW)
		return psprintf("window=%d now=%lld", CALLBACK_WINDOW, (long long) now);
	return NULL;
}

static const char *
read_event(const BillingDocument *event, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;

	callback->event_id = billing_document_string(event, "id");
	callback->type = billing_document_string(event, "type");
	if (callback->event_id == NULL || callback->event_id[0] == '\0' || callback->type == NULL)
		return "missing=id,type";

	answer->pay_no = billing_document_string(event, "pay_no");
	answer->refund_no = billing_document_string(event, "refund_no");
	answer->external_id = billing_document_string(event, "reference");
	answer->code = billing_document_string(event, "code");
	answer->message = billing_document_string(event, "message");
	(void) billing_document_integer(event, "at", &answer->at);
	if (!read_amount(event, "amount", &answer->units, &answer->currency))
		return "member=amount";
	if (!read_amount(event, "fee", &answer->fee_units, &answer->fee_currency))
		return "member=fee";
	return read_subject(event, callback);
}

static const char *
read_subject(const BillingDocument *event, BillingGatewayCallback *callback)
{
	static const struct
	{
		const char *type;
		BillingGatewaySubject subject;
		BillingGatewayOutcome outcome;
	}			types[] = {
		{"payment.succeeded", BILLING_GATEWAY_PAYMENT, BILLING_GATEWAY_SUCCEEDED},
		{"payment.failed", BILLING_GATEWAY_PAYMENT, BILLING_GATEWAY_FAILED},
		{"payment.reversed", BILLING_GATEWAY_REVERSED, BILLING_GATEWAY_FAILED},
		{"refund.succeeded", BILLING_GATEWAY_REFUNDED, BILLING_GATEWAY_SUCCEEDED},
		{"refund.failed", BILLING_GATEWAY_REFUNDED, BILLING_GATEWAY_FAILED},
		{"dispute.opened", BILLING_GATEWAY_DISPUTE, BILLING_GATEWAY_PROCESSING},
		{"dispute.won", BILLING_GATEWAY_DISPUTE, BILLING_GATEWAY_SUCCEEDED},
		{"dispute.lost", BILLING_GATEWAY_DISPUTE, BILLING_GATEWAY_FAILED},
	};

	for (int i = 0; i < lengthof(types); i++)
	{
		if (strcmp(callback->type, types[i].type) != 0)
			continue;
		callback->subject = types[i].subject;
		callback->answer.outcome = types[i].outcome;
		if (callback->subject == BILLING_GATEWAY_REFUNDED && callback->answer.refund_no == NULL)
			return callback->answer.pay_no == NULL || callback->answer.external_id == NULL ? "missing=refund_no" : NULL;
		if (callback->subject != BILLING_GATEWAY_REFUNDED && callback->answer.pay_no == NULL)
			return "missing=pay_no";
		if (callback->subject == BILLING_GATEWAY_DISPUTE)
		{
			callback->dispute_reason = callback->answer.message;
			return callback->answer.external_id == NULL ? "missing=reference" : NULL;
		}
		if (callback->answer.outcome == BILLING_GATEWAY_SUCCEEDED && callback->answer.units < 0)
			return "missing=amount";
		return NULL;
	}
	callback->subject = BILLING_GATEWAY_NOTHING;
	return NULL;
}

/* False: it is stated, and is no positive amount. */
static bool
read_amount(const BillingDocument *event, const char *name, int64 *units, const char **currency)
{
	const BillingCurrency *found;
	const char *text = billing_document_string(event, name);

	if (text == NULL)
		return billing_document_get(event, name) == NULL;
	if (billing_amount_parse(text, units, &found) != BILLING_AMOUNT_OK || *units < 0)
	{
		*units = -1;
		return false;
	}
	*currency = found->code;
	return true;
}

static void
reply(bool is_accepted, BillingGatewayReply *reply)
{
	reply->status = is_accepted ? 200 : 400;
	reply->content_type = "text/plain";
	reply->body = is_accepted ? "ok" : "refused";
}
