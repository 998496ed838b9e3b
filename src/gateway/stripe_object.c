/*-------------------------------------------------------------------------
 *
 * stripe_object.c
 *	  Stripe: what its objects say, whether they were asked for or told.
 *
 * An object that another holds may be there or only its id.  The fee is known where the balance transaction of the charge
 * is there.
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

#define MAX_MEMORY 32

static bool read_units(const BillingDocument *object, const char *path, const char *currency_path, int64 *units, const char **currency);
static void read_charge(const BillingDocument *charge, BillingGatewayAnswer *answer);
static BillingGatewayOutcome intent_outcome(const BillingDocument *intent, const char *begun_by);
static void read_failure(const BillingDocument *failure, const char *otherwise, BillingGatewayAnswer *answer);
static BillingGatewayOutcome session_outcome(const BillingDocument *session, const BillingDocument *intent);
static void read_period(const BillingDocument *subscription, BillingGatewayAnswer *answer);
static void remember_string(BillingGatewayAnswer *answer, const char *name, const BillingDocument *document, const char *path);
static const char *upper(const char *text);
static int	small_number(const BillingDocument *document, const char *path);

/*
 * billing_stripe_read_intent
 *		What a PaymentIntent says of a payment.
 *
 * Where a person pays, a refused card is no end: he may try another.  That of Checkout is known by its session's id until it
 * is paid, as that is what can be closed.
 */
void
billing_stripe_read_intent(const BillingDocument *intent, BillingGatewayAnswer *answer)
{
	const char *begun_by = billing_document_string(intent, "metadata.begun_by");
	bool		is_checkout = billing_stripe_is_text(begun_by, BILLING_STRIPE_BY_CHECKOUT);

	answer->outcome = intent_outcome(intent, begun_by);
	answer->pay_no = billing_document_string(intent, "metadata.pay_no");
	answer->customer_id = billing_stripe_object_id(intent, "customer");
	billing_stripe_read_money(intent, "amount", answer);
	if (answer->outcome == BILLING_GATEWAY_SUCCEEDED)
	{
		billing_stripe_read_money(intent, "amount_received", answer);
		read_charge(billing_document_get(intent, "latest_charge"), answer);
	}
	if (!is_checkout || answer->outcome == BILLING_GATEWAY_SUCCEEDED)
		answer->external_id = billing_document_string(intent, "id");
	if (answer->outcome == BILLING_GATEWAY_REQUIRES_ACTION && !is_checkout)
	{
		answer->client_secret = billing_document_string(intent, "client_secret");
		answer->payment_url = billing_document_string(intent, "next_action.redirect_to_url.url");
	}
	if (answer->outcome == BILLING_GATEWAY_FAILED)
		read_failure(billing_document_get(intent, "last_payment_error"), "payment_failed", answer);
	if (answer->outcome == BILLING_GATEWAY_CANCELED)
		answer->code = billing_document_string(intent, "cancellation_reason");
}

static BillingGatewayOutcome
intent_outcome(const BillingDocument *intent, const char *begun_by)
{
	static const struct
	{
		const char *status;
		BillingGatewayOutcome outcome;
	}			known[] = {
		{"succeeded", BILLING_GATEWAY_SUCCEEDED},
		{"processing", BILLING_GATEWAY_PROCESSING},
		{"requires_capture", BILLING_GATEWAY_PROCESSING},
		{"requires_action", BILLING_GATEWAY_REQUIRES_ACTION},
		{"canceled", BILLING_GATEWAY_CANCELED},
	};
	const char *status = billing_document_string(intent, "status");
	bool		is_of_person = billing_stripe_is_text(begun_by, BILLING_STRIPE_BY_ELEMENTS) || billing_stripe_is_text(begun_by, BILLING_STRIPE_BY_CHECKOUT);

	for (int i = 0; i < lengthof(known); i++)
	{
		if (billing_stripe_is_text(status, known[i].status))
			return known[i].outcome;
	}
	if (billing_stripe_is_text(status, "requires_payment_method"))
		return is_of_person ? BILLING_GATEWAY_REQUIRES_ACTION : BILLING_GATEWAY_FAILED;
	return billing_stripe_is_text(status, "requires_confirmation") && is_of_person ? BILLING_GATEWAY_REQUIRES_ACTION : BILLING_GATEWAY_UNKNOWN;
}

/* The word of the card's issuer says more than that of Stripe. */
static void
read_failure(const BillingDocument *failure, const char *otherwise, BillingGatewayAnswer *answer)
{
	answer->code = otherwise;
	if (failure == NULL)
		return;
	if (billing_document_string(failure, "decline_code") != NULL)
		answer->code = billing_document_string(failure, "decline_code");
	else if (billing_document_string(failure, "code") != NULL)
		answer->code = billing_document_string(failure, "code");
	answer->message = billing_document_string(failure, "message");
}

/* Units that are no whole number from 0 on are not said. */
void
billing_stripe_read_money(const BillingDocument *object, const char *units, BillingGatewayAnswer *answer)
{
	(void) read_units(object, units, "currency", &answer->units, &answer->currency);
}

static bool
read_units(const BillingDocument *object, const char *path, const char *currency_path, int64 *units, const char **currency)
{
	int64		number;

	*units = -1;
	*currency = NULL;
	if (!billing_document_integer(object, path, &number) || number < 0 || billing_document_string(object, currency_path) == NULL)
		return false;
	*units = number;
	*currency = upper(billing_document_string(object, currency_path));
	return true;
}

/* When it was paid, and what Stripe keeps, if the charge is there. */
static void
read_charge(const BillingDocument *charge, BillingGatewayAnswer *answer)
{
	if (charge == NULL)
		return;
	billing_stripe_read_instant(charge, answer);
	(void) read_units(charge, "balance_transaction.fee", "balance_transaction.currency", &answer->fee_units, &answer->fee_currency);
}

/* When it was created; an instant before 1970 is none. */
void
billing_stripe_read_instant(const BillingDocument *object, BillingGatewayAnswer *answer)
{
	int64		at;

	if (billing_document_integer(object, "created", &at) && at > 0)
		answer->at = at;
}

/*
 * billing_stripe_read_session
 *		What a Checkout Session says of a payment.
 *
 * Its PaymentIntent is what is refunded and disputed: from when it is paid on, the payment has that one's id.
 */
void
billing_stripe_read_session(const BillingDocument *session, BillingGatewayAnswer *answer)
{
	const BillingDocument *intent = billing_document_get(session, "payment_intent");
	const char *intent_id = billing_stripe_object_id(session, "payment_intent");

	answer->outcome = session_outcome(session, intent);
	answer->pay_no = billing_document_string(session, "client_reference_id");
	answer->external_id = billing_document_string(session, "id");
	answer->customer_id = billing_stripe_object_id(session, "customer");
	billing_stripe_read_money(session, "amount_total", answer);
	if (answer->outcome == BILLING_GATEWAY_REQUIRES_ACTION)
		answer->payment_url = billing_document_string(session, "url");
	if (answer->outcome == BILLING_GATEWAY_SUCCEEDED)
	{
		if (intent_id != NULL)
			answer->external_id = intent_id;
		read_charge(billing_document_get(session, "payment_intent.latest_charge"), answer);
	}
	if (answer->outcome == BILLING_GATEWAY_FAILED)
		read_failure(billing_document_get(session, "payment_intent.last_payment_error"), "payment_failed", answer);
}

/* Of one that is complete and unpaid a bank transfers money, or has refused to. */
static BillingGatewayOutcome
session_outcome(const BillingDocument *session, const BillingDocument *intent)
{
	const char *status = billing_document_string(session, "status");
	const char *paid = billing_document_string(session, "payment_status");

	if (billing_stripe_is_text(status, "open"))
		return BILLING_GATEWAY_REQUIRES_ACTION;
	if (billing_stripe_is_text(status, "expired"))
		return BILLING_GATEWAY_CANCELED;
	if (!billing_stripe_is_text(status, "complete"))
		return BILLING_GATEWAY_UNKNOWN;
	if (billing_stripe_is_text(paid, "paid") || billing_stripe_is_text(paid, "no_payment_required"))
		return BILLING_GATEWAY_SUCCEEDED;
	if (!billing_stripe_is_text(paid, "unpaid"))
		return BILLING_GATEWAY_UNKNOWN;
	return intent != NULL && billing_stripe_is_text(billing_document_string(intent, "status"), "requires_payment_method") ? BILLING_GATEWAY_FAILED :
		BILLING_GATEWAY_PROCESSING;
}

/* One that waits for the payer to say where the money is to go is under way. */
void
billing_stripe_read_refund(const BillingDocument *refund, BillingGatewayAnswer *answer)
{
	const char *status = billing_document_string(refund, "status");

	answer->external_id = billing_document_string(refund, "id");
	answer->refund_no = billing_document_string(refund, "metadata.refund_no");
	answer->pay_no = billing_document_string(refund, "metadata.pay_no");
	billing_stripe_read_money(refund, "amount", answer);
	billing_stripe_read_instant(refund, answer);
	if (billing_stripe_is_text(status, "succeeded"))
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	else if (billing_stripe_is_text(status, "pending") || billing_stripe_is_text(status, "requires_action"))
		answer->outcome = BILLING_GATEWAY_PROCESSING;
	else if (billing_stripe_is_text(status, "failed") || billing_stripe_is_text(status, "canceled"))
	{
		answer->outcome = BILLING_GATEWAY_FAILED;
		answer->code = billing_document_string(refund, "failure_reason");
		if (answer->code == NULL)
			answer->code = status;
	}
}

/*
 * billing_stripe_read_setup
 *		What a SetupIntent says of a method that is being added; NEXT: its method is there, and to be looked at.
 */
void
billing_stripe_read_setup(const BillingDocument *setup, BillingGatewayAnswer *answer)
{
	const char *status = billing_document_string(setup, "status");
	const BillingDocument *failure = billing_document_get(setup, "last_setup_error");

	answer->external_id = billing_stripe_method_key(billing_document_string(setup, "id"));
	answer->customer_id = billing_stripe_object_id(setup, "customer");
	if (billing_stripe_is_text(status, "succeeded"))
		answer->outcome = BILLING_GATEWAY_NEXT;
	else if (billing_stripe_is_text(status, "processing"))
		answer->outcome = BILLING_GATEWAY_PROCESSING;
	else if (billing_stripe_is_text(status, "canceled") || (billing_stripe_is_text(status, "requires_payment_method") && failure != NULL))
	{
		answer->outcome = BILLING_GATEWAY_FAILED;
		read_failure(failure, "setup_canceled", answer);
	}
	else if (billing_stripe_is_text(status, "requires_action") || billing_stripe_is_text(status, "requires_confirmation") ||
			 billing_stripe_is_text(status, "requires_payment_method"))
	{
		answer->outcome = BILLING_GATEWAY_REQUIRES_ACTION;
		answer->client_secret = billing_document_string(setup, "client_secret");
		answer->payment_url = billing_document_string(setup, "next_action.redirect_to_url.url");
	}
}

/* A type that is none of ours stays NULL. */
void
billing_stripe_read_method(const BillingDocument *method, BillingGatewayAnswer *answer)
{
	const char *type = billing_document_string(method, "type");

	answer->token = billing_document_string(method, "id");
	answer->external_id = billing_stripe_method_key(answer->token);
	answer->customer_id = billing_stripe_object_id(method, "customer");
	if (billing_stripe_is_text(type, "card"))
	{
		answer->type = "card";
		answer->brand = billing_document_string(method, "card.brand");
		answer->last4 = billing_document_string(method, "card.last4");
		answer->exp_month = small_number(method, "card.exp_month");
		answer->exp_year = small_number(method, "card.exp_year");
	}
	else if (billing_stripe_is_text(type, "us_bank_account"))
	{
		answer->type = "bank_account";
		answer->brand = billing_document_string(method, "us_bank_account.bank_name");
		answer->last4 = billing_document_string(method, "us_bank_account.last4");
	}
}

/* Its members, as a mirror has them; instants are seconds since 1970.  Of its last invoice a callback has the id alone. */
void
billing_stripe_read_subscription(const BillingDocument *subscription, BillingGatewayAnswer *answer)
{
	static const char *const members[][2] = {
		{"status", "status"},
		{"tenant_id", "metadata.tenant_id"},
		{"currency", "currency"},
		{"price", "items.data.0.price.id"},
		{"quantity", "items.data.0.quantity"},
		{"started_at", "start_date"},
		{"trial_ends_at", "trial_end"},
		{"cancel_at", "cancel_at"},
		{"canceled_at", "canceled_at"},
		{"ended_at", "ended_at"},
		{"latest_invoice_status", "latest_invoice.status"},
		{"latest_invoice_units", "latest_invoice.total"},
		{"latest_invoice_currency", "latest_invoice.currency"},
	};

	answer->external_id = billing_document_string(subscription, "id");
	answer->customer_id = billing_stripe_object_id(subscription, "customer");
	if (answer->external_id == NULL || billing_document_string(subscription, "status") == NULL)
		return;
	answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	for (int i = 0; i < lengthof(members); i++)
		remember_string(answer, members[i][0], subscription, members[i][1]);
	billing_stripe_remember(answer, "cancels_at_period_end", billing_document_is_true(subscription, "cancel_at_period_end") ? "true" : "false");
	billing_stripe_remember(answer, "latest_invoice", billing_stripe_object_id(subscription, "latest_invoice"));
	read_period(subscription, answer);
}

/* That of its first item; before version 2025-03-31 the subscription itself had it. */
static void
read_period(const BillingDocument *subscription, BillingGatewayAnswer *answer)
{
	const BillingDocument *item = billing_document_get(subscription, "items.data.0");
	const BillingDocument *holder = item != NULL && billing_document_get(item, "current_period_end") != NULL ? item : subscription;

	remember_string(answer, "period_starts_at", holder, "current_period_start");
	remember_string(answer, "period_ends_at", holder, "current_period_end");
}

static void
remember_string(BillingGatewayAnswer *answer, const char *name, const BillingDocument *document, const char *path)
{
	billing_stripe_remember(answer, name, billing_document_string(document, path));
}

void
billing_stripe_remember(BillingGatewayAnswer *answer, const char *name, const char *value)
{
	if (value == NULL || answer->memory.count == MAX_MEMORY)
		return;
	if (answer->memory.pairs == NULL)
		answer->memory.pairs = palloc0(MAX_MEMORY * sizeof(BillingPair));
	answer->memory.pairs[answer->memory.count++] = (BillingPair)
	{
		name, value
	};
}

const char *
billing_stripe_object_id(const BillingDocument *document, const char *path)
{
	const char *id = billing_document_string(document, path);

	return id != NULL ? id : billing_document_string(document, psprintf("%s.id", path));
}

/* As ISO 4217 writes a currency. */
static const char *
upper(const char *text)
{
	char	   *copy = pstrdup(text);

	for (char *c = copy; *c != '\0'; c++)
		*c = pg_ascii_toupper((unsigned char) *c);
	return copy;
}

/* 0: there is none, or it is no year and no month. */
static int
small_number(const BillingDocument *document, const char *path)
{
	int64		number;

	return billing_document_integer(document, path, &number) && number > 0 && number < 10000 ? (int) number : 0;
}

/* A digest, since the id is the token, too; ids of Stripe's are too random to be guessed. */
const char *
billing_stripe_method_key(const char *id)
{
	return id == NULL ? NULL : billing_crypto_hmac("stripe", id, strlen(id));
}

const char *
billing_stripe_keep(const BillingDocument *document)
{
	static const char *const without[] = {
		"client_secret", "url", "billing_details", "customer_details", "customer_email", "receipt_email", "receipt_url", "receipt_number",
		"shipping", "shipping_details", "name", "email", "phone", "address", "evidence", "fingerprint", "hosted_invoice_url", "invoice_pdf",
		"customer_name", "customer_address", "customer_phone", "customer_shipping", "payment_method", "default_payment_method", "source",
		"default_source", "last4", "dynamic_last4", NULL
	};

	return document == NULL ? NULL : billing_document_print(document, without);
}

bool
billing_stripe_is_text(const char *text, const char *expected)
{
	return text != NULL && strcmp(text, expected) == 0;
}
