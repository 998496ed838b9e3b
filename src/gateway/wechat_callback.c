/*-------------------------------------------------------------------------
 *
 * wechat_callback.c
 *	  What WeChat Pay notifies of, and how it signs and seals.
 *
 * Signed are the instant, the nonce and the body, by the key that a header names.  What happened is in the resource,
 * sealed with the key of the API.  WeChat Pay also sends signatures that are wrong, to see that they are refused; they
 * begin with WECHATPAY/SIGNTEST/.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "crypto.h"
#include "instant.h"
#include "wechat.h"

/* How old or early a notification may be, in seconds. */
#define TOLERANCE		300

#define PROBE			"WECHATPAY/SIGNTEST/"
#define PUBLIC_KEY		"PUB_KEY_ID_"
#define MAX_SERIAL		64

static const char *key_of(const BillingGatewayConfig *config, const BillingPairs *more, const char *serial);
static bool is_serial(const char *serial);
static const char *check_instant(const BillingPairs *headers, int64 now);
static void read_event(const BillingGatewayConfig *config, const BillingDocument *event, BillingGatewayCallback *callback);
static void read_resource(const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback);
static const char *check_receiver(const BillingGatewayConfig *config, const BillingDocument *resource);
static BillingGatewayOutcome state_outcome(const char *state);
static BillingGatewayOutcome refund_outcome(const char *status);
static int64 instant_of(const BillingDocument *document, const char *path);
static void refuse(BillingGatewayCallback *callback, BillingGatewayVerdict verdict, const char *detail);

BillingWechatSignature
billing_wechat_verify(const BillingGatewayConfig *config, const BillingPairs *more, const BillingPairs *headers, const char *body, size_t len,
					  const char **serial)
{
	const char *timestamp = billing_pairs_find_header(headers, "Wechatpay-Timestamp");
	const char *nonce = billing_pairs_find_header(headers, "Wechatpay-Nonce");
	const char *signature = billing_pairs_find_header(headers, "Wechatpay-Signature");
	const char *key;
	StringInfoData text;

	*serial = billing_pairs_find_header(headers, "Wechatpay-Serial");
	if (timestamp == NULL || nonce == NULL || signature == NULL || *serial == NULL || !is_serial(*serial) ||
		strncmp(signature, PROBE, strlen(PROBE)) == 0)
		return BILLING_WECHAT_NOT_SIGNED;
	key = key_of(config, more, *serial);
	if (key == NULL)
		return strncmp(*serial, PUBLIC_KEY, strlen(PUBLIC_KEY)) == 0 ? BILLING_WECHAT_NOT_SIGNED : BILLING_WECHAT_NO_KEY;

	initStringInfo(&text);
	appendStringInfo(&text, "%s\n%s\n", timestamp, nonce);
	appendBinaryStringInfo(&text, body, len);
	appendStringInfoChar(&text, '\n');
	return billing_crypto_rsa_verify(key, text.data, text.len, signature) ? BILLING_WECHAT_SIGNED : BILLING_WECHAT_NOT_SIGNED;
}

static const char *
key_of(const BillingGatewayConfig *config, const BillingPairs *more, const char *serial)
{
	const char *public_key_id = billing_pairs_find(&config->settings, "public_key_id");
	const char *key = NULL;

	if (public_key_id != NULL && strcmp(public_key_id, serial) == 0)
		return billing_pairs_find(&config->settings, "public_key");
	if (more != NULL)
		key = billing_pairs_find(more, serial);
	return key != NULL ? key : billing_pairs_find(&config->certificates, serial);
}

/* As certificates and keys are called: what else is named is not asked for. */
static bool
is_serial(const char *serial)
{
	size_t		len;

	if (strncmp(serial, PUBLIC_KEY, strlen(PUBLIC_KEY)) == 0)
		serial += strlen(PUBLIC_KEY);
	len = strlen(serial);
	return len > 0 && len <= MAX_SERIAL && strspn(serial, "0123456789ABCDEFabcdef") == len;
}

const char *
billing_wechat_open(const BillingGatewayConfig *config, const BillingDocument *resource, size_t * len)
{
	const char *key = billing_pairs_find(&config->credentials, "api_v3_key");
	const char *algorithm = billing_document_string(resource, "algorithm");

	if (key == NULL || algorithm == NULL || strcmp(algorithm, "AEAD_AES_256_GCM") != 0)
		return NULL;
	return billing_crypto_aead_open(key, strlen(key), billing_document_string(resource, "nonce"),
									billing_document_string(resource, "associated_data"),
									billing_document_string(resource, "ciphertext"), len);
}

void
billing_wechat_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
							 BillingGatewayCallback *callback)
{
	const char *problem = check_instant(headers, now);
	const char *serial;
	const BillingDocument *event;

	memset(callback, 0, sizeof(*callback));
	billing_gateway_clear(&callback->answer);
	switch (billing_wechat_verify(config, NULL, headers, body, len, &serial))
	{
		case BILLING_WECHAT_NO_KEY:
			return refuse(callback, BILLING_GATEWAY_NO_KEY, serial);
		case BILLING_WECHAT_NOT_SIGNED:
			return refuse(callback, BILLING_GATEWAY_BAD_SIGNATURE, "the signature is not that of WeChat Pay");
		case BILLING_WECHAT_SIGNED:
			break;
	}
	if (problem != NULL)
		return refuse(callback, BILLING_GATEWAY_TOO_OLD, problem);
	event = billing_document_read(body, len);
	if (event == NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "no JSON");
	read_event(config, event, callback);
}

/* The instant is part of what is signed. */
static const char *
check_instant(const BillingPairs *headers, int64 now)
{
	const char *timestamp = billing_pairs_find_header(headers, "Wechatpay-Timestamp");
	int64		at = 0;

	if (timestamp == NULL || strlen(timestamp) > 12 || strspn(timestamp, "0123456789") != strlen(timestamp))
		return "the timestamp is no number";
	for (const char *c = timestamp; *c != '\0'; c++)
		at = at * 10 + (*c - '0');
	return at < now - TOLERANCE || at > now + TOLERANCE ? psprintf("timestamp=" INT64_FORMAT, at) : NULL;
}

static void
read_event(const BillingGatewayConfig *config, const BillingDocument *event, BillingGatewayCallback *callback)
{
	const BillingDocument *sealed = billing_document_get(event, "resource");
	const BillingDocument *resource;
	const char *data;
	size_t		len;

	callback->event_id = billing_document_string(event, "id");
	callback->type = billing_document_string(event, "event_type");
	if (callback->event_id == NULL || callback->type == NULL || sealed == NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "it is no event");
	data = billing_wechat_open(config, sealed, &len);
	if (data == NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "the resource does not open with api_v3_key");
	resource = billing_document_read(data, len);
	if (resource == NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "the resource is no JSON");
	read_resource(config, resource, callback);
}

static void
read_resource(const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;
	const char *problem;
	bool		is_refund = strncmp(callback->type, "REFUND.", strlen("REFUND.")) == 0;

	callback->verdict = BILLING_GATEWAY_VALID;
	if (!is_refund && strncmp(callback->type, "TRANSACTION.", strlen("TRANSACTION.")) != 0)
		return;
	problem = check_receiver(config, resource);
	if (problem != NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, problem);
	if (is_refund)
	{
		billing_wechat_read_refund(resource, answer);
		callback->payment_external_id = billing_document_string(resource, "transaction_id");
	}
	else
		billing_wechat_read_transaction(resource, answer);
	if (answer->pay_no == NULL || answer->units < 0 || (is_refund && answer->refund_no == NULL))
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "it names no order or no amount");
	callback->subject = is_refund ? BILLING_GATEWAY_REFUNDED : BILLING_GATEWAY_PAYMENT;
	answer->response = billing_wechat_print(resource);
}

/* A refund names no app. */
static const char *
check_receiver(const BillingGatewayConfig *config, const BillingDocument *resource)
{
	const char *mchid = billing_document_string(resource, "mchid");
	const char *appid = billing_document_string(resource, "appid");
	const char *our_mchid = billing_pairs_find(&config->settings, "mchid");
	const char *our_appid = billing_pairs_find(&config->settings, "appid");

	if (mchid == NULL || our_mchid == NULL || strcmp(mchid, our_mchid) != 0)
		return psprintf("mchid=%s", mchid == NULL ? "" : mchid);
	if (appid != NULL && (our_appid == NULL || strcmp(appid, our_appid) != 0))
		return psprintf("appid=%s", appid);
	return NULL;
}

void
billing_wechat_read_transaction(const BillingDocument *document, BillingGatewayAnswer *answer)
{
	int64		units;

	answer->pay_no = billing_document_string(document, "out_trade_no");
	answer->external_id = billing_document_string(document, "transaction_id");
	answer->customer_id = billing_document_string(document, "payer.openid");
	answer->type = "wechat";
	answer->currency = billing_document_string(document, "amount.currency");
	if (answer->currency == NULL)
		answer->currency = "CNY";
	if (billing_document_integer(document, "amount.total", &units) && units >= 0)
		answer->units = units;
	answer->at = instant_of(document, "success_time");
	answer->outcome = state_outcome(billing_document_string(document, "trade_state"));
	if (answer->outcome == BILLING_GATEWAY_FAILED)
	{
		answer->code = billing_document_string(document, "trade_state");
		answer->message = billing_document_string(document, "trade_state_desc");
	}
}

/* An order of which something was given back was paid. */
static BillingGatewayOutcome
state_outcome(const char *state)
{
	static const struct
	{
		const char *state;
		BillingGatewayOutcome outcome;
	}			outcomes[] = {
		{"SUCCESS", BILLING_GATEWAY_SUCCEEDED},
		{"REFUND", BILLING_GATEWAY_SUCCEEDED},
		{"NOTPAY", BILLING_GATEWAY_REQUIRES_ACTION},
		{"CLOSED", BILLING_GATEWAY_CANCELED},
		{"REVOKED", BILLING_GATEWAY_CANCELED},
		{"USERPAYING", BILLING_GATEWAY_PROCESSING},
		{"ACCEPT", BILLING_GATEWAY_PROCESSING},
		{"PAYERROR", BILLING_GATEWAY_FAILED},
	};

	for (int i = 0; state != NULL && i < lengthof(outcomes); i++)
	{
		if (strcmp(state, outcomes[i].state) == 0)
			return outcomes[i].outcome;
	}
	return BILLING_GATEWAY_UNKNOWN;
}

/* An answer has the state as status, a notification as refund_status. */
void
billing_wechat_read_refund(const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const char *status = billing_document_string(document, "status");
	int64		units;

	if (status == NULL)
		status = billing_document_string(document, "refund_status");
	answer->pay_no = billing_document_string(document, "out_trade_no");
	answer->refund_no = billing_document_string(document, "out_refund_no");
	answer->external_id = billing_document_string(document, "refund_id");
	answer->currency = billing_document_string(document, "amount.currency");
	if (answer->currency == NULL)
		answer->currency = "CNY";
	if (billing_document_integer(document, "amount.refund", &units) && units >= 0)
		answer->units = units;
	answer->at = instant_of(document, "success_time");
	answer->outcome = refund_outcome(status);
	if (answer->outcome == BILLING_GATEWAY_FAILED)
	{
		answer->code = status;
		answer->message = billing_document_string(document, "user_received_account");
	}
}

/* ABNORMAL: the payer's bank did not take it; somebody has to see to it at WeChat Pay. */
static BillingGatewayOutcome
refund_outcome(const char *status)
{
	if (status == NULL)
		return BILLING_GATEWAY_UNKNOWN;
	if (strcmp(status, "SUCCESS") == 0)
		return BILLING_GATEWAY_SUCCEEDED;
	if (strcmp(status, "PROCESSING") == 0)
		return BILLING_GATEWAY_PROCESSING;
	return strcmp(status, "CLOSED") == 0 || strcmp(status, "ABNORMAL") == 0 ? BILLING_GATEWAY_FAILED : BILLING_GATEWAY_UNKNOWN;
}

static int64
instant_of(const BillingDocument *document, const char *path)
{
	int64		seconds;

	return billing_instant_read(billing_document_string(document, path), 8 * 60 * 60, &seconds) ? seconds : 0;
}

char *
billing_wechat_print(const BillingDocument *document)
{
	static const char *const secret[] = {"openid", "prepay_id", "ciphertext", "user_received_account", NULL};

	return billing_document_print(document, secret);
}

static void
refuse(BillingGatewayCallback *callback, BillingGatewayVerdict verdict, const char *detail)
{
	callback->verdict = verdict;
	callback->detail = detail;
	callback->subject = BILLING_GATEWAY_NOTHING;
	billing_gateway_clear(&callback->answer);
}

void
billing_wechat_reply(bool is_accepted, BillingGatewayReply *reply)
{
	reply->status = is_accepted ? 200 : 400;
	reply->content_type = "application/json";
	reply->body = is_accepted ? "{\"code\":\"SUCCESS\",\"message\":\"OK\"}" : "{\"code\":\"FAIL\",\"message\":\"refused\"}";
}
