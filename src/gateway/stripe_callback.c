/*-------------------------------------------------------------------------
 *
 * stripe_callback.c
 *	  Stripe: what it tells of its own accord.
 *
 * Stripe-Signature: t=1767225600,v1=<HMAC-SHA256 of "t.body" with the secret of the endpoint>,v1=...
 *
 * An event holds the object as it was then.  What it says goes by the state of that object, not by the event's name: names
 * come in any order, and there are more of them than states.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "crypto.h"
#include "stripe.h"

/* How old a callback may be, or how far ahead, in seconds. */
#define CALLBACK_WINDOW		300

#define MAX_HEADER			4096
#define MAX_TIMESTAMP		12
#define MAX_SIGNATURES		16

/* What a Stripe-Signature header says. */
typedef struct Signature
{
	const char *timestamp;
	int			count;
	const char *v1[MAX_SIGNATURES];
} Signature;

static const char *read_signature(const BillingPairs *headers, Signature *signature);
static bool is_signed(const BillingGatewayConfig *config, const Signature *signature, const char *body, size_t len);
static bool is_signed_with(const char *secret, const Signature *signature, const char *content, size_t len);
static const char *check_time(const char *timestamp, int64 now);
static const char *keep_object(const BillingDocument *object);
static const char *read_event(const BillingDocument *event, BillingGatewayCallback *callback);
static void tell_intent(const BillingDocument *intent, BillingGatewayCallback *callback);
static void tell_session(const BillingDocument *session, BillingGatewayCallback *callback);
static void tell_failed_session(const BillingDocument *session, BillingGatewayCallback *callback);
static void tell_refund(const BillingDocument *refund, BillingGatewayCallback *callback);
static void tell_refunded_charge(const BillingDocument *charge, BillingGatewayCallback *callback);
static void tell_dispute(const BillingDocument *dispute, BillingGatewayCallback *callback);
static void tell_failed_charge(const BillingDocument *charge, BillingGatewayCallback *callback);
static void tell_invoice(const BillingDocument *invoice, BillingGatewayCallback *callback);
static void tell_subscription(const BillingDocument *subscription, BillingGatewayCallback *callback);
static void tell_setup(const BillingDocument *setup, BillingGatewayCallback *callback);
static void tell_method(const BillingDocument *method, BillingGatewayCallback *callback);
static void tell_detached_method(const BillingDocument *method, BillingGatewayCallback *callback);
static bool is_one_of(const char *text, const char *const *texts);

/* The events that say something; of any other that begins alike, nothing is known. */
static const struct
{
	const char *type;
	void		(*tell) (const BillingDocument *object, BillingGatewayCallback *callback);
}			events[] = {
	{"payment_intent.succeeded", tell_intent},
	{"payment_intent.payment_failed", tell_intent},
	{"payment_intent.processing", tell_intent},
	{"payment_intent.requires_action", tell_intent},
	{"payment_intent.canceled", tell_intent},
	{"checkout.session.completed", tell_session},
	{"checkout.session.expired", tell_session},
	{"checkout.session.async_payment_succeeded", tell_session},
	{"checkout.session.async_payment_failed", tell_failed_session},
	{"refund.created", tell_refund},
	{"refund.updated", tell_refund},
	{"refund.failed", tell_refund},
	{"charge.refund.updated", tell_refund},
	{"charge.refunded", tell_refunded_charge},
	{"charge.failed", tell_failed_charge},
	{"charge.dispute.created", tell_dispute},
	{"charge.dispute.updated", tell_dispute},
	{"charge.dispute.closed", tell_dispute},
	{"charge.dispute.funds_withdrawn", tell_dispute},
	{"charge.dispute.funds_reinstated", tell_dispute},
	{"invoice.payment_succeeded", tell_invoice},
	{"invoice.payment_failed", tell_invoice},
	{"customer.subscription.created", tell_subscription},
	{"customer.subscription.updated", tell_subscription},
	{"customer.subscription.deleted", tell_subscription},
	{"setup_intent.succeeded", tell_setup},
	{"setup_intent.setup_failed", tell_setup},
	{"setup_intent.requires_action", tell_setup},
	{"setup_intent.canceled", tell_setup},
	{"payment_method.updated", tell_method},
	{"payment_method.automatically_updated", tell_method},
	{"payment_method.detached", tell_detached_method},
};

/* The signature is judged before the time: what nobody of ours signed is no old callback. */
void
billing_stripe_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
							 BillingGatewayCallback *callback)
{
	Signature	signature;
	const BillingDocument *event;

	memset(callback, 0, sizeof(*callback));
	billing_gateway_clear(&callback->answer);
	callback->verdict = BILLING_GATEWAY_BAD_SIGNATURE;
	callback->detail = read_signature(headers, &signature);
	if (callback->detail != NULL || !is_signed(config, &signature, body, len))
		return;

	callback->verdict = BILLING_GATEWAY_TOO_OLD;
	callback->detail = check_time(signature.timestamp, now);
	if (callback->detail != NULL)
		return;

	callback->verdict = BILLING_GATEWAY_MALFORMED;
	event = billing_document_read(body, len);
	callback->detail = event == NULL ? "body=not_json" : read_event(event, callback);
	if (callback->detail == NULL)
		callback->verdict = BILLING_GATEWAY_VALID;
}

/* NULL, or what is wrong with the header; signatures of other schemes say nothing. */
static const char *
read_signature(const BillingPairs *headers, Signature *signature)
{
	const char *header = billing_pairs_find_header(headers, "Stripe-Signature");
	char	   *item;
	char	   *rest;

	memset(signature, 0, sizeof(*signature));
	if (header == NULL)
		return "missing=Stripe-Signature";
	if (strlen(header) > MAX_HEADER)
		return "Stripe-Signature=too_long";
	rest = pstrdup(header);
	while ((item = strsep(&rest, ",")) != NULL)
	{
		item += strspn(item, " ");
		if (strncmp(item, "t=", 2) == 0)
			signature->timestamp = item + 2;
		else if (strncmp(item, "v1=", 3) == 0 && signature->count < MAX_SIGNATURES)
			signature->v1[signature->count++] = item + 3;
	}
	if (signature->timestamp == NULL || strlen(signature->timestamp) > MAX_TIMESTAMP || signature->timestamp[0] == '\0' ||
		strspn(signature->timestamp, "0123456789") != strlen(signature->timestamp))
		return "Stripe-Signature=no_timestamp";
	return signature->count == 0 ? "Stripe-Signature=no_v1" : NULL;
}

/* Any secret that there is, as one is rotated. */
static bool
is_signed(const BillingGatewayConfig *config, const Signature *signature, const char *body, size_t len)
{
	const char *secrets = billing_pairs_find(&config->credentials, "webhook_secret");
	StringInfoData content;
	char	   *secret;
	char	   *rest;
	bool		is_good = false;

	if (secrets == NULL)
		return false;
	initStringInfo(&content);
	appendStringInfo(&content, "%s.", signature->timestamp);
	appendBinaryStringInfo(&content, body, len);
	rest = pstrdup(secrets);
	while ((secret = strsep(&rest, " ")) != NULL)
	{
		if (secret[0] != '\0' && is_signed_with(secret, signature, content.data, content.len))
			is_good = true;
	}
	return is_good;
}

static bool
is_signed_with(const char *secret, const Signature *signature, const char *content, size_t len)
{
	char	   *expected = billing_crypto_hmac(secret, content, len);
	bool		is_good = false;

	for (int i = 0; expected != NULL && i < signature->count; i++)
	{
		if (billing_crypto_equals(expected, signature->v1[i]))
			is_good = true;
	}
	return is_good;
}

static const char *
check_time(const char *timestamp, int64 now)
{
	int64		at = strtoll(timestamp, NULL, 10);

	if (at < now - CALLBACK_WINDOW || at > now + CALLBACK_WINDOW)
		return psprintf("window=%d now=%lld", CALLBACK_WINDOW, (long long) now);
	return NULL;
}

/* Of a method, and of what sets one up, nothing: its id is the token. */
static const char *
keep_object(const BillingDocument *object)
{
	const char *type = object == NULL ? NULL : billing_document_string(object, "object");
	bool		is_token = billing_stripe_is_text(type, "payment_method") || billing_stripe_is_text(type, "setup_intent");

	return object == NULL || is_token ? "{}" : billing_stripe_keep(object);
}

static const char *
read_event(const BillingDocument *event, BillingGatewayCallback *callback)
{
	const BillingDocument *object = billing_document_get(event, "data.object");

	callback->event_id = billing_document_string(event, "id");
	callback->type = billing_document_string(event, "type");
	if (callback->event_id == NULL || callback->event_id[0] == '\0' || callback->type == NULL)
		return "missing=id,type";

	for (int i = 0; i < lengthof(events); i++)
	{
		if (strcmp(callback->type, events[i].type) != 0)
			continue;
		if (object == NULL)
			return "missing=data.object";
		events[i].tell(object, callback);
		billing_stripe_read_instant(event, &callback->answer);
	}
	callback->answer.response = keep_object(object);
	return NULL;
}

/* Of one of Checkout only its end counts: until then the person is on Stripe's page, and the session says how it goes. */
static void
tell_intent(const BillingDocument *intent, BillingGatewayCallback *callback)
{
	bool		is_checkout = billing_stripe_is_text(billing_document_string(intent, "metadata.begun_by"), BILLING_STRIPE_BY_CHECKOUT);

	billing_stripe_read_intent(intent, &callback->answer);
	if (callback->answer.outcome == BILLING_GATEWAY_UNKNOWN || (is_checkout && callback->answer.outcome == BILLING_GATEWAY_REQUIRES_ACTION))
		return;
	callback->subject = BILLING_GATEWAY_PAYMENT;
}

/* Those that set up a method or a subscription tell of it by other events. */
static void
tell_session(const BillingDocument *session, BillingGatewayCallback *callback)
{
	if (!billing_stripe_is_text(billing_document_string(session, "mode"), "payment"))
		return;
	billing_stripe_read_session(session, &callback->answer);
	if (callback->answer.outcome != BILLING_GATEWAY_UNKNOWN)
		callback->subject = BILLING_GATEWAY_PAYMENT;
}

/* The PaymentIntent, which would say why, is not there. */
static void
tell_failed_session(const BillingDocument *session, BillingGatewayCallback *callback)
{
	tell_session(session, callback);
	if (callback->answer.outcome != BILLING_GATEWAY_PROCESSING)
		return;
	callback->answer.outcome = BILLING_GATEWAY_FAILED;
	callback->answer.code = "payment_failed";
}

static void
tell_refund(const BillingDocument *refund, BillingGatewayCallback *callback)
{
	billing_stripe_read_refund(refund, &callback->answer);
	callback->payment_external_id = billing_stripe_object_id(refund, "payment_intent");
	if (callback->payment_external_id == NULL)
		callback->payment_external_id = billing_stripe_object_id(refund, "charge");
	if (callback->answer.outcome != BILLING_GATEWAY_UNKNOWN)
		callback->subject = BILLING_GATEWAY_REFUNDED;
}

/* Endpoints of versions before 2022-11-15 are sent the refunds of a charge with it, the last one first; later ones hear refund.created. */
static void
tell_refunded_charge(const BillingDocument *charge, BillingGatewayCallback *callback)
{
	const BillingDocument *refund = billing_document_get(charge, "refunds.data.0");

	if (refund != NULL)
		tell_refund(refund, callback);
}

/*
 * tell_dispute
 *		The payer's bank asks the money back.
 *
 * An inquiry (warning_...) takes no money, and neither does a dispute that was prevented.  The bank of an ACH debit that is returned
 * later says so by a dispute that is lost at once.
 */
static void
tell_dispute(const BillingDocument *dispute, BillingGatewayCallback *callback)
{
	static const char *const open[] = {"needs_response", "under_review", "appeal_needs_response", "appeal_under_review", NULL};
	const char *status = billing_document_string(dispute, "status");
	BillingGatewayAnswer *answer = &callback->answer;

	answer->external_id = billing_document_string(dispute, "id");
	answer->pay_no = billing_document_string(dispute, "metadata.pay_no");
	billing_stripe_read_money(dispute, "amount", answer);
	callback->payment_external_id = billing_stripe_object_id(dispute, "payment_intent");
	if (callback->payment_external_id == NULL)
		callback->payment_external_id = billing_stripe_object_id(dispute, "charge");
	callback->dispute_reason = billing_document_string(dispute, "reason");
	answer->code = callback->dispute_reason;

	if (is_one_of(status, open))
		answer->outcome = BILLING_GATEWAY_PROCESSING;
	else if (billing_stripe_is_text(status, "won"))
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	else if (billing_stripe_is_text(status, "lost"))
		answer->outcome = BILLING_GATEWAY_FAILED;
	if (answer->outcome != BILLING_GATEWAY_UNKNOWN)
		callback->subject = BILLING_GATEWAY_DISPUTE;
}

/* Money that had come and went again; a charge that failed before is what its PaymentIntent tells of. */
static void
tell_failed_charge(const BillingDocument *charge, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;

	if (billing_document_get(charge, "failure_balance_transaction") == NULL)
		return;
	callback->subject = BILLING_GATEWAY_REVERSED;
	callback->payment_external_id = billing_stripe_object_id(charge, "payment_intent");
	answer->outcome = BILLING_GATEWAY_FAILED;
	answer->external_id = billing_document_string(charge, "id");
	answer->pay_no = billing_document_string(charge, "metadata.pay_no");
	answer->code = billing_document_string(charge, "failure_code");
	answer->message = billing_document_string(charge, "failure_message");
	billing_stripe_read_money(charge, "amount", answer);
}

/* Of a subscription that is kept at Stripe; an invoice of another kind is none of ours. */
static void
tell_invoice(const BillingDocument *invoice, BillingGatewayCallback *callback)
{
	const char *subscription = billing_stripe_object_id(invoice, "parent.subscription_details.subscription");
	BillingGatewayAnswer *answer = &callback->answer;

	if (subscription == NULL)
		subscription = billing_stripe_object_id(invoice, "subscription");
	if (subscription == NULL)
		return;
	callback->subject = BILLING_GATEWAY_SUBSCRIBED;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	answer->external_id = subscription;
	answer->customer_id = billing_stripe_object_id(invoice, "customer");
	billing_stripe_remember(answer, "latest_invoice", billing_document_string(invoice, "id"));
	billing_stripe_remember(answer, "latest_invoice_status", billing_document_string(invoice, "status"));
	billing_stripe_remember(answer, "latest_invoice_units", billing_document_string(invoice, "total"));
	billing_stripe_remember(answer, "latest_invoice_currency", billing_document_string(invoice, "currency"));
}

static void
tell_subscription(const BillingDocument *subscription, BillingGatewayCallback *callback)
{
	billing_stripe_read_subscription(subscription, &callback->answer);
	if (callback->answer.outcome == BILLING_GATEWAY_SUCCEEDED)
		callback->subject = BILLING_GATEWAY_SUBSCRIBED;
}

/* NEXT: the method that it has set up is to be looked at, by ADD_METHOD. */
static void
tell_setup(const BillingDocument *setup, BillingGatewayCallback *callback)
{
	billing_stripe_read_setup(setup, &callback->answer);
	if (callback->answer.outcome != BILLING_GATEWAY_UNKNOWN)
		callback->subject = BILLING_GATEWAY_METHOD;
}

static void
tell_method(const BillingDocument *method, BillingGatewayCallback *callback)
{
	billing_stripe_read_method(method, &callback->answer);
	if (callback->answer.type == NULL)
		return;
	callback->answer.outcome = BILLING_GATEWAY_SUCCEEDED;
	callback->subject = BILLING_GATEWAY_METHOD;
}

static void
tell_detached_method(const BillingDocument *method, BillingGatewayCallback *callback)
{
	callback->subject = BILLING_GATEWAY_METHOD;
	callback->answer.outcome = BILLING_GATEWAY_FAILED;
	callback->answer.external_id = billing_stripe_method_key(billing_document_string(method, "id"));
	callback->answer.code = "detached";
	callback->answer.message = "the payment method was removed from the customer at Stripe";
}

/* Stripe reads no more than the status. */
void
billing_stripe_reply(bool is_accepted, BillingGatewayReply *reply)
{
	reply->status = is_accepted ? 200 : 400;
	reply->content_type = "text/plain";
	reply->body = is_accepted ? "ok" : "refused";
}

static bool
is_one_of(const char *text, const char *const *texts)
{
	for (; *texts != NULL; texts++)
	{
		if (billing_stripe_is_text(text, *texts))
			return true;
	}
	return false;
}
