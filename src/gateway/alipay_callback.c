/*-------------------------------------------------------------------------
 *
 * alipay_callback.c
 *	  What Alipay notifies of: a form, signed by a rule of its own.
 *
 * Signed is what the form says, decoded, without sign and sign_type and what is empty, by name.  A repetition has the
 * same notify_id.  It comes for more than a day, so no instant makes it too old.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "alipay.h"
#include "document.h"
#include "form.h"

static const char *read_form(const char *body, size_t len, BillingPairs *pairs);
static int	compare_names(const void *a, const void *b);
static bool is_name(const char *name);
static bool is_signed(const BillingGatewayConfig *config, const BillingPairs *pairs);
static const char *check_receiver(const BillingGatewayConfig *config, const BillingPairs *pairs);
static bool differs(const char *expected, const char *said);
static void read_notice(const BillingPairs *pairs, BillingGatewayCallback *callback);
static void read_trade(const BillingPairs *pairs, BillingGatewayCallback *callback);
static BillingGatewayOutcome trade_outcome(const char *status);
static void read_refund(const BillingPairs *pairs, BillingGatewayCallback *callback);
static void read_agreement(const BillingPairs *pairs, bool is_signed, BillingGatewayCallback *callback);
static void refuse(BillingGatewayCallback *callback, BillingGatewayVerdict verdict, const char *detail);
static const char *find(const BillingPairs *pairs, const char *name);
static char *print(const BillingPairs *pairs);

void
billing_alipay_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
							 BillingGatewayCallback *callback)
{
	BillingPairs pairs;
	const char *problem = read_form(body, len, &pairs);

	memset(callback, 0, sizeof(*callback));
	billing_gateway_clear(&callback->answer);
	if (problem != NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, problem);
	if (!is_signed(config, &pairs))
		return refuse(callback, BILLING_GATEWAY_BAD_SIGNATURE, "the signature is not that of Alipay");
	problem = check_receiver(config, &pairs);
	if (problem != NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, problem);
	read_notice(&pairs, callback);
}

/* Sorted by name.  A name that comes twice would let a part of what is signed be hidden behind another. */
static const char *
read_form(const char *body, size_t len, BillingPairs *pairs)
{
	const char *problem = billing_form_read(body, len, pairs);

	if (problem != NULL)
		return problem;
	qsort(pairs->pairs, pairs->count, sizeof(BillingPair), compare_names);
	for (int i = 0; i < pairs->count; i++)
	{
		if (!is_name(pairs->pairs[i].name))
			return "a name that is none";
		if (i > 0 && strcmp(pairs->pairs[i].name, pairs->pairs[i - 1].name) == 0)
			return "a name that comes twice";
	}
	return NULL;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const BillingPair *) a)->name, ((const BillingPair *) b)->name);
}

static bool
is_name(const char *name)
{
	size_t		len = strlen(name);

	return len > 0 && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len;
}

/* RSA2 only: Alipay's older RSA signs with SHA-1. */
static bool
is_signed(const BillingGatewayConfig *config, const BillingPairs *pairs)
{
	const char *signature = find(pairs, "sign");
	const char *type = find(pairs, "sign_type");
	StringInfoData text;

	if (signature == NULL || type == NULL || strcmp(type, "RSA2") != 0)
		return false;
	initStringInfo(&text);
	for (int i = 0; i < pairs->count; i++)
	{
		const BillingPair *pair = &pairs->pairs[i];

		if (pair->value[0] != '\0' && strcmp(pair->name, "sign") != 0 && strcmp(pair->name, "sign_type") != 0)
			appendStringInfo(&text, "%s%s=%s", text.len > 0 ? "&" : "", pair->name, pair->value);
	}
	return billing_alipay_verify(config, text.data, text.len, signature);
}

/* Alipay signs for all of its merchants with the same key: that it is for this one is to be seen. */
static const char *
check_receiver(const BillingGatewayConfig *config, const BillingPairs *pairs)
{
	const char *app_id = find(pairs, "app_id");
	const char *seller_id = find(pairs, "seller_id");
	const char *charset = find(pairs, "charset");

	if (app_id == NULL || differs(billing_pairs_find(&config->settings, "app_id"), app_id))
		return psprintf("app_id=%s", app_id == NULL ? "" : app_id);
	if (seller_id != NULL && differs(billing_pairs_find(&config->settings, "seller_id"), seller_id))
		return psprintf("seller_id=%s", seller_id);
	if (charset != NULL && pg_strcasecmp(charset, "utf-8") != 0)
		return psprintf("charset=%s", charset);
	if (find(pairs, "notify_id") == NULL)
		return "missing=notify_id";
	return NULL;
}

static bool
differs(const char *expected, const char *said)
{
	return expected != NULL && strcmp(expected, said) != 0;
}

static void
read_notice(const BillingPairs *pairs, BillingGatewayCallback *callback)
{
	const char *type = find(pairs, "notify_type");

	callback->verdict = BILLING_GATEWAY_VALID;
	callback->event_id = find(pairs, "notify_id");
	callback->type = type;
	callback->answer.response = print(pairs);
	if (type != NULL && strcmp(type, "dut_user_sign") == 0)
		read_agreement(pairs, true, callback);
	else if (type != NULL && strcmp(type, "dut_user_unsign") == 0)
		read_agreement(pairs, false, callback);
	else if (find(pairs, "trade_status") != NULL)
		read_trade(pairs, callback);
}

static void
read_trade(const BillingPairs *pairs, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;
	const char *status = find(pairs, "trade_status");

	callback->type = status;
	answer->pay_no = find(pairs, "out_trade_no");
	if (answer->pay_no == NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "missing=out_trade_no");
	if (!billing_alipay_read_yuan(find(pairs, "total_amount"), &answer->units))
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "total_amount is no amount");
	answer->currency = "CNY";
	answer->external_id = find(pairs, "trade_no");
	answer->customer_id = find(pairs, "buyer_id");
	if (answer->customer_id == NULL)
		answer->customer_id = find(pairs, "buyer_open_id");
	if (find(pairs, "gmt_refund") != NULL && find(pairs, "refund_fee") != NULL && strcmp(status, "TRADE_FINISHED") != 0)
		return read_refund(pairs, callback);
	callback->subject = BILLING_GATEWAY_PAYMENT;
	answer->type = "alipay";
	answer->outcome = trade_outcome(status);
	answer->at = billing_alipay_instant(find(pairs, answer->outcome == BILLING_GATEWAY_CANCELED ? "gmt_close" : "gmt_payment"));
}

static BillingGatewayOutcome
trade_outcome(const char *status)
{
	if (strcmp(status, "TRADE_SUCCESS") == 0 || strcmp(status, "TRADE_FINISHED") == 0)
		return BILLING_GATEWAY_SUCCEEDED;
	if (strcmp(status, "TRADE_CLOSED") == 0)
		return BILLING_GATEWAY_CANCELED;
	return strcmp(status, "WAIT_BUYER_PAY") == 0 ? BILLING_GATEWAY_REQUIRES_ACTION : BILLING_GATEWAY_UNKNOWN;
}

/*
 * read_refund
 *		A trade of which something was given back.
 *
 * refund_fee is all that was given back so far, not what this refund gave, so no amount is told.
 */
static void
read_refund(const BillingPairs *pairs, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;

	callback->subject = BILLING_GATEWAY_REFUNDED;
	callback->payment_external_id = answer->external_id;
	answer->external_id = NULL;
	answer->customer_id = NULL;
	answer->refund_no = find(pairs, "out_biz_no");
	answer->units = -1;
	answer->currency = NULL;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	answer->at = billing_alipay_instant(find(pairs, "gmt_refund"));
}

/* An agreement is known by the merchant's number of it, where it has one: its own number is what is charged. */
static void
read_agreement(const BillingPairs *pairs, bool is_signed, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;
	const char *status = find(pairs, "status");

	answer->token = find(pairs, "agreement_no");
	if (answer->token == NULL)
		return refuse(callback, BILLING_GATEWAY_MALFORMED, "missing=agreement_no");
	callback->subject = BILLING_GATEWAY_METHOD;
	answer->type = "alipay";
	answer->external_id = find(pairs, "external_agreement_no");
	answer->customer_id = find(pairs, "alipay_user_id");
	answer->outcome = is_signed && status != NULL && strcmp(status, "NORMAL") == 0 ? BILLING_GATEWAY_SUCCEEDED : BILLING_GATEWAY_CANCELED;
}

static void
refuse(BillingGatewayCallback *callback, BillingGatewayVerdict verdict, const char *detail)
{
	callback->verdict = verdict;
	callback->detail = detail;
	callback->subject = BILLING_GATEWAY_NOTHING;
	billing_gateway_clear(&callback->answer);
}

/* What is empty is not signed, so it is not believed. */
static const char *
find(const BillingPairs *pairs, const char *name)
{
	const char *value = billing_pairs_find(pairs, name);

	return value == NULL || value[0] == '\0' ? NULL : value;
}

/* For people; an agreement is a token, and so a secret. */
static char *
print(const BillingPairs *pairs)
{
	static const char *const left_out[] = {"sign", "sign_type", "agreement_no", "buyer_logon_id", "alipay_logon_id"};
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < pairs->count; i++)
	{
		bool		is_left_out = false;

		for (int j = 0; j < lengthof(left_out); j++)
			is_left_out |= strcmp(pairs->pairs[i].name, left_out[j]) == 0;
		if (!is_left_out)
			billing_document_append_member(&text, pairs->pairs[i].name, pairs->pairs[i].value);
	}
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* Whatever is not exactly success comes again. */
void
billing_alipay_reply(bool is_accepted, BillingGatewayReply *reply)
{
	reply->status = is_accepted ? 200 : 400;
	reply->content_type = "text/plain";
	reply->body = is_accepted ? "success" : "failure";
}
