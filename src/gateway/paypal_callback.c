/*-------------------------------------------------------------------------
 *
 * paypal_callback.c
 *	  What PayPal says, in answers and in callbacks alike.
 *
 * A callback is signed with the key of a certificate whose address it names itself: the address has to be PayPal's, and
 * the certificate one for the host that PayPal's are for, whose chain leads to a root that is trusted.  Signed is
 *
 *	  transmission id | transmission time | id of the webhook | CRC-32 of the body, in decimal
 *
 * PayPal repeats what was not acknowledged up to 25 times in three days, and does not say that a repetition states
 * another time: so that is how old one may be.  An event that comes again is known by its id.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "../decimal.h"
#include "../currency.h"
#include "crypto.h"
#include "instant.h"
#include "paypal.h"

#define CERTIFICATES		"/v1/notifications/certs/"
#define CERTIFICATE_HOST	"messageverificationcerts.paypal.com"
#define SANDBOX_HOST		"messageverificationcerts.sandbox.paypal.com"
#define MAX_URL				500

/* Seconds. */
#define MAX_AGE				(4 * 24 * 60 * 60)
#define MAX_AHEAD			300

#define MAX_LINKS			20

static bool read_amount(const BillingDocument *document, const char *path, int64 *units, const char **currency);
static bool read_units(const char *value, int exponent, int64 *units);
static void read_numbers(const BillingDocument *document, BillingGatewayAnswer *answer);
static BillingGatewayOutcome capture_outcome(const char *status);
static const char *find_link(const BillingDocument *document, const char *rel);
static BillingGatewayVerdict verify(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
									const char **detail);
static const char *find_problem(const BillingGatewayConfig *config, const BillingPairs *headers, int64 *at);
static bool is_in_time(int64 at, int64 now);
static const char *read_event(const BillingGatewayConfig *config, const BillingDocument *event, BillingGatewayCallback *callback);
static void read_payment_event(const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback);
static void read_refund_event(const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback);
static const char *last_part(const char *url);
static void read_dispute(const BillingGatewayConfig *config, const BillingDocument *dispute, BillingGatewayCallback *callback);
static BillingGatewayOutcome dispute_outcome(const BillingDocument *dispute);
static void read_vault(const BillingGatewayConfig *config, const BillingDocument *token, BillingGatewayCallback *callback);

/*
 * billing_paypal_exponent
 *		-2 for what PayPal does not take; some currencies have no decimals there.
 */
int
billing_paypal_exponent(const char *currency)
{
	static const char *const taken[] = {
		"AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "ILS", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD",
		"THB", "USD"
	};
	static const char *const whole[] = {"HUF", "JPY", "TWD"};

	for (int i = 0; i < lengthof(taken); i++)
	{
		if (strcmp(currency, taken[i]) == 0)
			return -1;
	}
	for (int i = 0; i < lengthof(whole); i++)
	{
		if (strcmp(currency, whole[i]) == 0)
			return 0;
	}
	return -2;
}

/*
 * billing_paypal_read_order
 *		What became of an order: of its capture, if it has one.
 */
void
billing_paypal_read_order(const BillingDocument *order, BillingGatewayAnswer *answer)
{
	const char *status = billing_document_string(order, "status");
	const BillingDocument *unit = billing_document_get(order, "purchase_units.0");
	const BillingDocument *capture = billing_document_get(order, "purchase_units.0.payments.captures.0");

	answer->external_id = billing_document_string(order, "id");
	if (unit != NULL)
		read_numbers(unit, answer);
	if (capture != NULL)
	{
		billing_paypal_read_capture(capture, answer);
		return;
	}
	if (unit != NULL)
		(void) read_amount(unit, "amount", &answer->units, &answer->currency);
	if (answer->external_id == NULL || status == NULL)
		return;
	if (strcmp(status, "APPROVED") == 0)
		answer->outcome = BILLING_GATEWAY_APPROVED;
	else if (strcmp(status, "VOIDED") == 0)
		answer->outcome = BILLING_GATEWAY_CANCELED;
	else if (strcmp(status, "CREATED") == 0 || strcmp(status, "SAVED") == 0 || strcmp(status, "PAYER_ACTION_REQUIRED") == 0)
	{
		answer->outcome = BILLING_GATEWAY_REQUIRES_ACTION;
		answer->payment_url = billing_paypal_action_link(order);
	}
}

/* Also of one that was refunded since: that is told of the refund. */
void
billing_paypal_read_capture(const BillingDocument *capture, BillingGatewayAnswer *answer)
{
	const char *id = billing_document_string(capture, "id");
	const char *status = billing_document_string(capture, "status");

	read_numbers(capture, answer);
	if (id == NULL || status == NULL)
		return;
	answer->external_id = id;
	answer->outcome = capture_outcome(status);
	(void) read_amount(capture, "amount", &answer->units, &answer->currency);
	(void) read_amount(capture, "seller_receivable_breakdown.paypal_fee", &answer->fee_units, &answer->fee_currency);
	(void) billing_instant_read(billing_document_string(capture, "create_time"), 0, &answer->at);
	if (answer->outcome == BILLING_GATEWAY_FAILED)
	{
		answer->code = billing_document_string(capture, "processor_response.response_code");
		if (answer->code == NULL)
			answer->code = billing_document_string(capture, "status_details.reason");
		if (answer->code == NULL)
			answer->code = status;
		answer->message = "the capture was declined";
	}
}

static BillingGatewayOutcome
capture_outcome(const char *status)
{
	static const struct
	{
		const char *status;
		BillingGatewayOutcome outcome;
	}			statuses[] = {
		{"COMPLETED", BILLING_GATEWAY_SUCCEEDED},
		{"PARTIALLY_REFUNDED", BILLING_GATEWAY_SUCCEEDED},
		{"REFUNDED", BILLING_GATEWAY_SUCCEEDED},
		{"PENDING", BILLING_GATEWAY_PROCESSING},
		{"DECLINED", BILLING_GATEWAY_FAILED},
		{"FAILED", BILLING_GATEWAY_FAILED},
	};

	for (int i = 0; i < lengthof(statuses); i++)
	{
		if (strcmp(status, statuses[i].status) == 0)
			return statuses[i].outcome;
	}
	return BILLING_GATEWAY_UNKNOWN;
}

void
billing_paypal_read_refund(const BillingDocument *refund, BillingGatewayAnswer *answer)
{
	const char *id = billing_document_string(refund, "id");
	const char *status = billing_document_string(refund, "status");

	answer->refund_no = billing_document_string(refund, "invoice_id");
	answer->pay_no = billing_document_string(refund, "custom_id");
	if (id == NULL || status == NULL)
		return;
	answer->external_id = id;
	(void) read_amount(refund, "amount", &answer->units, &answer->currency);
	(void) billing_instant_read(billing_document_string(refund, "create_time"), 0, &answer->at);
	if (strcmp(status, "COMPLETED") == 0)
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	else if (strcmp(status, "PENDING") == 0)
		answer->outcome = BILLING_GATEWAY_PROCESSING;
	else if (strcmp(status, "FAILED") == 0 || strcmp(status, "CANCELLED") == 0)
	{
		answer->outcome = BILLING_GATEWAY_FAILED;
		answer->code = billing_document_string(refund, "status_details.reason");
		if (answer->code == NULL)
			answer->code = status;
		answer->message = "the refund was not made";
	}
}

/* The number that was given to the payment comes back twice. */
static void
read_numbers(const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const char *pay_no = billing_document_string(document, "custom_id");

	if (pay_no == NULL)
		pay_no = billing_document_string(document, "invoice_id");
	if (pay_no != NULL)
		answer->pay_no = pay_no;
}

/* False, and nothing set: there is none there, or one that is not exact. */
static bool
read_amount(const BillingDocument *document, const char *path, int64 *units, const char **currency)
{
	const char *code = billing_document_string(document, psprintf("%s.currency_code", path));
	const char *value = billing_document_string(document, psprintf("%s.value", path));
	const BillingCurrency *iso;
	int			exponent;

	if (code == NULL || value == NULL || strlen(code) != BILLING_CURRENCY_LEN)
		return false;
	iso = billing_currency_find(code, BILLING_CURRENCY_LEN);
	exponent = billing_paypal_exponent(code);
	if (iso == NULL || exponent == -2)
		return false;
	if (!read_units(value, exponent >= 0 ? exponent : iso->exponent, units))
		return false;
	*currency = iso->code;
	return true;
}

static bool
read_units(const char *value, int exponent, int64 *units)
{
	BillingDecimal decimal;

	if (billing_decimal_parse(value, strlen(value), &decimal) != BILLING_DECIMAL_OK)
		return false;
	decimal = billing_decimal_trim(decimal);
	return decimal.scale <= exponent && billing_decimal_round(decimal, exponent, false, units);
}

const char *
billing_paypal_method_id(const BillingGatewayConfig *config, const char *token)
{
	return token == NULL ? NULL : billing_crypto_hmac(billing_pairs_find(&config->credentials, "client_id"), token, strlen(token));
}

const char *
billing_paypal_action_link(const BillingDocument *document)
{
	const char *link = find_link(document, "payer-action");

	return link != NULL ? link : find_link(document, "approve");
}

static const char *
find_link(const BillingDocument *document, const char *rel)
{
	int			count = document == NULL ? 0 : billing_document_count(document, "links");

	for (int i = 0; i < Min(count, MAX_LINKS); i++)
	{
		const char *found = billing_document_string(document, psprintf("links.%d.rel", i));

		if (found != NULL && strcmp(found, rel) == 0)
			return billing_document_string(document, psprintf("links.%d.href", i));
	}
	return NULL;
}

/*
 * billing_paypal_is_certificate_url
 *		Whether the whole of a URL is that of a certificate, of the hosts that belong to the row's own.
 *
 * It is compared from its first byte on, and what may follow is one name: so there is no place for another host, or for a
 * path that leads elsewhere.
 */
bool
billing_paypal_is_certificate_url(const BillingGatewayConfig *config, const char *url)
{
	static const char *const live[] = {"https://api.paypal.com", "https://api-m.paypal.com", NULL};
	static const char *const sandbox[] = {"https://api.sandbox.paypal.com", "https://api-m.sandbox.paypal.com", NULL};
	const char *const own[] = {config->base_url, NULL};
	const char *const *bases = own;

	if (strcmp(config->base_url, live[0]) == 0 || strcmp(config->base_url, live[1]) == 0)
		bases = live;
	else if (strcmp(config->base_url, sandbox[0]) == 0 || strcmp(config->base_url, sandbox[1]) == 0)
		bases = sandbox;

	for (int i = 0; bases[i] != NULL && strnlen(url, MAX_URL + 1) <= MAX_URL; i++)
	{
		char	   *prefix = psprintf("%s%s", bases[i], CERTIFICATES);
		size_t		len = strlen(prefix);

		if (strncmp(url, prefix, len) == 0 && url[len] != '\0' &&
			url[len + strspn(url + len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")] == '\0')
			return true;
	}
	return false;
}

const char *
billing_paypal_check_certificate(const BillingGatewayConfig *config, const char *pem, int64 now)
{
	const char *host = billing_pairs_find(&config->settings, "certificate_host");

	if (host == NULL)
		host = strstr(config->base_url, ".sandbox.") != NULL ? SANDBOX_HOST : CERTIFICATE_HOST;
	return billing_crypto_check_chain(pem, billing_pairs_find(&config->settings, "roots"), host, now);
}

void
billing_paypal_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
							 BillingGatewayCallback *callback)
{
	const BillingDocument *event;

	memset(callback, 0, sizeof(*callback));
	billing_gateway_clear(&callback->answer);
	callback->verdict = verify(config, headers, body, len, now, &callback->detail);
	if (callback->verdict != BILLING_GATEWAY_VALID)
		return;

	event = billing_document_read(body, len);
	callback->detail = event == NULL ? "body=not_json" : read_event(config, event, callback);
	if (callback->detail != NULL)
		callback->verdict = BILLING_GATEWAY_MALFORMED;
}

/*
 * verify
 *		Whether a callback is PayPal's, and not too old.
 */
static BillingGatewayVerdict
verify(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now, const char **detail)
{
	const char *url = billing_pairs_find_header(headers, "Paypal-Cert-Url");
	const char *certificate;
	int64		at;
	char	   *content;

	*detail = find_problem(config, headers, &at);
	if (*detail != NULL)
		return BILLING_GATEWAY_BAD_SIGNATURE;

	certificate = billing_pairs_find(&config->certificates, url);
	if (certificate == NULL)
	{
		*detail = url;
		return BILLING_GATEWAY_NO_KEY;
	}
	*detail = billing_paypal_check_certificate(config, certificate, now);
	if (*detail != NULL)
		return BILLING_GATEWAY_BAD_SIGNATURE;

	content = psprintf("%s|%s|%s|%u", billing_pairs_find_header(headers, "Paypal-Transmission-Id"),
					   billing_pairs_find_header(headers, "Paypal-Transmission-Time"), billing_pairs_find(&config->settings, "webhook_id"),
					   billing_crypto_crc32(body, len));
	if (!billing_crypto_rsa_verify(certificate, content, strlen(content), billing_pairs_find_header(headers, "Paypal-Transmission-Sig")))
		return BILLING_GATEWAY_BAD_SIGNATURE;
	if (!is_in_time(at, now))
	{
		*detail = psprintf("max_age=%d max_ahead=%d", MAX_AGE, MAX_AHEAD);
		return BILLING_GATEWAY_TOO_OLD;
	}
	return BILLING_GATEWAY_VALID;
}

/* What shows before anything is computed. */
static const char *
find_problem(const BillingGatewayConfig *config, const BillingPairs *headers, int64 *at)
{
	static const char *const needed[] = {
		"Paypal-Transmission-Id", "Paypal-Transmission-Time", "Paypal-Transmission-Sig", "Paypal-Cert-Url", "Paypal-Auth-Algo"
	};

	for (int i = 0; i < lengthof(needed); i++)
	{
		if (billing_pairs_find_header(headers, needed[i]) == NULL)
			return psprintf("missing=%s", needed[i]);
	}
	if (billing_pairs_find(&config->settings, "webhook_id") == NULL)
		return "missing=webhook_id";
	if (strcmp(billing_pairs_find_header(headers, "Paypal-Auth-Algo"), "SHA256withRSA") != 0)
		return "header=Paypal-Auth-Algo allowed=SHA256withRSA";
	if (!billing_paypal_is_certificate_url(config, billing_pairs_find_header(headers, "Paypal-Cert-Url")))
		return "header=Paypal-Cert-Url";
	if (!billing_instant_read(billing_pairs_find_header(headers, "Paypal-Transmission-Time"), 0, at))
		return "header=Paypal-Transmission-Time";
	return NULL;
}

static bool
is_in_time(int64 at, int64 now)
{
	return at >= now - MAX_AGE && at <= now + MAX_AHEAD;
}

/*
 * read_event
 *		NULL, or what is wrong with it.
 */
static const char *
read_event(const BillingGatewayConfig *config, const BillingDocument *event, BillingGatewayCallback *callback)
{
	static const struct
	{
		const char *type;
		BillingGatewaySubject subject;
		void		(*read) (const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback);
	}			events[] = {
		{"CHECKOUT.ORDER.APPROVED", BILLING_GATEWAY_PAYMENT, read_payment_event},
		{"PAYMENT.CAPTURE.COMPLETED", BILLING_GATEWAY_PAYMENT, read_payment_event},
		{"PAYMENT.CAPTURE.DENIED", BILLING_GATEWAY_PAYMENT, read_payment_event},
		{"PAYMENT.CAPTURE.DECLINED", BILLING_GATEWAY_PAYMENT, read_payment_event},
		{"PAYMENT.CAPTURE.PENDING", BILLING_GATEWAY_PAYMENT, read_payment_event},
		{"PAYMENT.CAPTURE.REFUNDED", BILLING_GATEWAY_REFUNDED, read_refund_event},
		{"PAYMENT.CAPTURE.REVERSED", BILLING_GATEWAY_REVERSED, read_refund_event},
		{"CUSTOMER.DISPUTE.CREATED", BILLING_GATEWAY_DISPUTE, read_dispute},
		{"CUSTOMER.DISPUTE.UPDATED", BILLING_GATEWAY_DISPUTE, read_dispute},
		{"CUSTOMER.DISPUTE.RESOLVED", BILLING_GATEWAY_DISPUTE, read_dispute},
		{"VAULT.PAYMENT-TOKEN.CREATED", BILLING_GATEWAY_METHOD, read_vault},
		{"VAULT.PAYMENT-TOKEN.DELETED", BILLING_GATEWAY_METHOD, read_vault},
	};
	const BillingDocument *resource = billing_document_get(event, "resource");

	callback->event_id = billing_document_string(event, "id");
	callback->type = billing_document_string(event, "event_type");
	if (callback->event_id == NULL || callback->event_id[0] == '\0' || callback->type == NULL)
		return "missing=id,event_type";
	for (int i = 0; i < lengthof(events); i++)
	{
		if (strcmp(callback->type, events[i].type) != 0)
			continue;
		if (resource == NULL)
			return "missing=resource";
		callback->subject = events[i].subject;
		events[i].read(config, resource, callback);
		break;
	}
	return NULL;
}

/* A capture that was denied says DECLINED, or nothing more than its event does. */
static void
read_payment_event(const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback)
{
	if (strcmp(callback->type, "CHECKOUT.ORDER.APPROVED") == 0)
	{
		billing_paypal_read_order(resource, &callback->answer);
		return;
	}
	billing_paypal_read_capture(resource, &callback->answer);
	if (callback->answer.outcome != BILLING_GATEWAY_UNKNOWN || callback->answer.external_id == NULL)
		return;
	if (strcmp(callback->type, "PAYMENT.CAPTURE.DENIED") == 0 || strcmp(callback->type, "PAYMENT.CAPTURE.DECLINED") == 0)
	{
		callback->answer.outcome = BILLING_GATEWAY_FAILED;
		callback->answer.code = "DENIED";
	}
}

/*
 * read_refund_event
 *		A refund, by us or by somebody in PayPal's own console, or a reversal.
 *
 * Of what was not asked for here, the numbers are those of the payment.
 */
static void
read_refund_event(const BillingGatewayConfig *config, const BillingDocument *resource, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;

	billing_paypal_read_refund(resource, answer);
	callback->payment_external_id = last_part(find_link(resource, "up"));
	if (callback->subject != BILLING_GATEWAY_REVERSED)
		return;
	if (answer->pay_no == NULL)
		answer->pay_no = answer->refund_no;
	answer->refund_no = NULL;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
}

/* Of the address of a capture its id. */
static const char *
last_part(const char *url)
{
	const char *slash = url == NULL ? NULL : strrchr(url, '/');

	return slash == NULL || slash[1] == '\0' ? NULL : slash + 1;
}

static void
read_dispute(const BillingGatewayConfig *config, const BillingDocument *dispute, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;
	const char *transaction = "disputed_transactions.0";

	answer->pay_no = billing_document_string(dispute, psprintf("%s.custom", transaction));
	if (answer->pay_no == NULL)
		answer->pay_no = billing_document_string(dispute, psprintf("%s.invoice_number", transaction));
	answer->external_id = billing_document_string(dispute, "dispute_id");
	callback->payment_external_id = billing_document_string(dispute, psprintf("%s.seller_transaction_id", transaction));
	(void) read_amount(dispute, "dispute_amount", &answer->units, &answer->currency);
	(void) billing_instant_read(billing_document_string(dispute, "update_time"), 0, &answer->at);
	callback->dispute_reason = billing_document_string(dispute, "reason");
	answer->outcome = strcmp(callback->type, "CUSTOMER.DISPUTE.RESOLVED") == 0 ? dispute_outcome(dispute) : BILLING_GATEWAY_PROCESSING;
	if (answer->outcome == BILLING_GATEWAY_FAILED)
		(void) read_amount(dispute, "dispute_outcome.amount_refunded", &answer->units, &answer->currency);
}

/*
 * dispute_outcome
 *		Who has won: the payer if PayPal says so, or if the claim was accepted; perhaps a part of it.
 *
 * One that was closed without a decision goes on as another.
 */
static BillingGatewayOutcome
dispute_outcome(const BillingDocument *dispute)
{
	const char *code = billing_document_string(dispute, "dispute_outcome.outcome_code");

	if (code == NULL || strcmp(code, "NONE") == 0)
		return BILLING_GATEWAY_PROCESSING;
	if (strcmp(code, "RESOLVED_BUYER_FAVOUR") == 0 || strcmp(code, "ACCEPTED") == 0)
		return BILLING_GATEWAY_FAILED;
	return BILLING_GATEWAY_SUCCEEDED;
}

static void
read_vault(const BillingGatewayConfig *config, const BillingDocument *token, BillingGatewayCallback *callback)
{
	BillingGatewayAnswer *answer = &callback->answer;

	answer->external_id = billing_paypal_method_id(config, billing_document_string(token, "id"));
	answer->customer_id = billing_document_string(token, "customer.id");
	answer->type = billing_document_get(token, "payment_source.card") != NULL ? "card" : "paypal";
	answer->outcome = strcmp(callback->type, "VAULT.PAYMENT-TOKEN.DELETED") == 0 ? BILLING_GATEWAY_CANCELED : BILLING_GATEWAY_SUCCEEDED;
}

/* Both without a body: PayPal looks at the status alone. */
void
billing_paypal_reply(bool is_accepted, BillingGatewayReply *reply)
{
	reply->status = is_accepted ? 200 : 400;
	reply->content_type = "text/plain";
	reply->body = "";
}
