/*-------------------------------------------------------------------------
 *
 * stripe_read.c
 *	  Stripe: what it answers.
 *
 * An error of the server says nothing of what was asked.  Of a request that was refused it is known that nothing came of it,
 * but for one: a key that came before with another content, behind which there may be a payment.  A refusal without an error is
 * not Stripe's: whoever stood between has not said what became of the request.  A question that was refused says nothing of the
 * payment.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <time.h>

#include "stripe.h"

/* The search knows after a minute what was made, or somewhat later. */
#define FOUND_AFTER		(5 * 60)

#define SECS_A_DAY		(24 * 60 * 60)

static void read_done(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_payment(const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_query(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_close(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static const BillingDocument *find_listed(const BillingDocument *list, const char *path, const char *value);
static void look_further(const BillingGatewayOrder *order, const BillingDocument *list, BillingGatewayAnswer *answer);
static void not_found(const BillingGatewayOrder *order, BillingGatewayAnswer *answer);
static void read_refund(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_refund_query(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_refunded_session(const BillingDocument *session, BillingGatewayAnswer *answer);
static void read_added_method(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_added_setup(const BillingDocument *setup, BillingGatewayAnswer *answer);
static void judge_method(const BillingGatewayOrder *order, const BillingDocument *method, BillingGatewayAnswer *answer);
static bool is_expired(const BillingGatewayOrder *order, const BillingGatewayAnswer *answer);
static void judge_customer(const BillingGatewayOrder *order, const BillingDocument *customer, BillingGatewayAnswer *answer);
static void read_removed_method(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_error(const BillingGatewayOrder *order, int status, const BillingDocument *document, BillingGatewayAnswer *answer);
static void read_refusal(const BillingGatewayOrder *order, int status, const BillingDocument *error, BillingGatewayAnswer *answer);
static void read_refused_payment(const BillingDocument *error, BillingGatewayAnswer *answer);
static void fail(BillingGatewayAnswer *answer, const char *code, const char *message);
static void go_on(const BillingGatewayOrder *order, BillingGatewayAnswer *answer, const char *step, const char *name, const char *value);
static bool is_object(const BillingDocument *document, const char *object);

void
billing_stripe_read(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
					const char *body, size_t len, BillingGatewayAnswer *answer)
{
	const BillingDocument *document = body == NULL || len == 0 ? NULL : billing_document_read(body, len);

	billing_gateway_clear(answer);
	if (status >= 200 && status < 300 && document != NULL)
		read_done(order, document, answer);
	else
		read_error(order, status, document, answer);
	if (answer->outcome != BILLING_GATEWAY_NEXT)
		answer->response = billing_stripe_keep(document);
}

static void
read_done(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			read_payment(document, answer);
			break;
		case BILLING_GATEWAY_QUERY:
			read_query(order, document, answer);
			break;
		case BILLING_GATEWAY_CLOSE:
			read_close(order, document, answer);
			break;
		case BILLING_GATEWAY_REFUND:
			read_refund(order, document, answer);
			break;
		case BILLING_GATEWAY_QUERY_REFUND:
			read_refund_query(order, document, answer);
			break;
		case BILLING_GATEWAY_ADD_METHOD:
			read_added_method(order, document, answer);
			break;
		case BILLING_GATEWAY_REMOVE_METHOD:
			read_removed_method(order, document, answer);
			break;
		case BILLING_GATEWAY_SUBSCRIPTION:
			if (is_object(document, "subscription"))
				billing_stripe_read_subscription(document, answer);
			break;
		default:
			break;
	}
}

/* Anything else says nothing. */
static void
read_payment(const BillingDocument *document, BillingGatewayAnswer *answer)
{
	if (is_object(document, "payment_intent"))
		billing_stripe_read_intent(document, answer);
	else if (is_object(document, "checkout.session"))
		billing_stripe_read_session(document, answer);
}

static void
read_query(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	bool		is_list = billing_document_get(document, "data") != NULL;
	const BillingDocument *found = NULL;

	if (!is_list)
	{
		read_payment(document, answer);
		return;
	}
	found = find_listed(document, "client_reference_id", order->pay_no);
	if (found == NULL)
		found = find_listed(document, "metadata.pay_no", order->pay_no);
	if (found != NULL)
		read_payment(found, answer);
	else
		look_further(order, document, answer);
}

/* What was found and is open is closed by its id; what was closed in vain and is still open is tried again. */
static void
read_close(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	bool		is_asked = billing_stripe_payment_id(order) == NULL;

	read_query(order, document, answer);
	if (answer->outcome != BILLING_GATEWAY_REQUIRES_ACTION)
		return;
	if (is_asked && answer->external_id != NULL)
	{
		const char *id = answer->external_id;

		billing_gateway_clear(answer);
		go_on(order, answer, NULL, BILLING_STRIPE_PAYMENT, id);
	}
	else
		answer->outcome = BILLING_GATEWAY_UNKNOWN;
}

/* The one in a list that has this value. */
static const BillingDocument *
find_listed(const BillingDocument *list, const char *path, const char *value)
{
	int			count = billing_document_count(list, "data");

	for (int i = 0; value != NULL && i < count; i++)
	{
		const BillingDocument *element = billing_document_get(list, psprintf("data.%d", i));

		if (element != NULL && billing_stripe_is_text(billing_document_string(element, path), value))
			return element;
	}
	return NULL;
}

/*
 * look_further
 *		It is not in this list: the PaymentIntents come behind the sessions, and the search behind a list that goes on.
 */
static void
look_further(const BillingGatewayOrder *order, const BillingDocument *list, BillingGatewayAnswer *answer)
{
	bool		is_first = billing_pairs_find(&order->memory, BILLING_STRIPE_STEP) == NULL;
	bool		is_search = billing_stripe_is_step(order, BILLING_STRIPE_SEARCH) || billing_stripe_customer_id(order) == NULL;

	if (is_first && billing_stripe_is_checkout(order))
		go_on(order, answer, BILLING_STRIPE_INTENTS, NULL, NULL);
	else if (!is_search && billing_document_is_true(list, "has_more"))
		go_on(order, answer, BILLING_STRIPE_SEARCH, NULL, NULL);
	else
		not_found(order, answer);
}

/* It never was, if it has had the time to be found. */
static void
not_found(const BillingGatewayOrder *order, BillingGatewayAnswer *answer)
{
	answer->code = "not_found";
	answer->message = "Stripe knows nothing of this";
	if (order->now - order->created_at >= FOUND_AFTER)
		answer->outcome = order->operation == BILLING_GATEWAY_CLOSE ? BILLING_GATEWAY_CANCELED : BILLING_GATEWAY_FAILED;
}

static void
read_refund(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	if (is_object(document, "refund"))
		billing_stripe_read_refund(document, answer);
	else if (is_object(document, "checkout.session"))
		read_refunded_session(document, answer);
}

static void
read_refund_query(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const BillingDocument *found = find_listed(document, "metadata.refund_no", order->refund_no);

	if (found != NULL)
		billing_stripe_read_refund(found, answer);
	else if (billing_document_get(document, "data") == NULL)
		read_refund(order, document, answer);
	else if (!billing_document_is_true(document, "has_more"))
		not_found(order, answer);
}

static void
read_refunded_session(const BillingDocument *session, BillingGatewayAnswer *answer)
{
	const char *intent = billing_stripe_object_id(session, "payment_intent");

	if (intent == NULL)
	{
		fail(answer, "charge_not_found", "the Checkout Session was not paid, so there is nothing to refund");
		return;
	}
	answer->outcome = BILLING_GATEWAY_NEXT;
	billing_stripe_remember(answer, BILLING_STRIPE_PAYMENT, intent);
}

static void
read_added_method(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const char *id = billing_document_string(document, "id");

	if (is_object(document, "setup_intent"))
		read_added_setup(document, answer);
	else if (is_object(document, "payment_method"))
		judge_method(order, document, answer);
	else if (is_object(document, "customer") && billing_stripe_is_step(order, BILLING_STRIPE_WHOSE))
		judge_customer(order, document, answer);
	else if (is_object(document, "customer") && id != NULL)
		go_on(order, answer, BILLING_STRIPE_ATTACH, BILLING_STRIPE_CUSTOMER, id);
}

/* Whom its method is of, and whether it is good, is seen next. */
static void
read_added_setup(const BillingDocument *setup, BillingGatewayAnswer *answer)
{
	const char *method = billing_stripe_object_id(setup, "payment_method");

	billing_stripe_read_setup(setup, answer);
	if (answer->outcome != BILLING_GATEWAY_NEXT)
		return;
	if (method == NULL)
		fail(answer, "token_invalid", "the SetupIntent has no payment method");
	else
		billing_stripe_remember(answer, BILLING_STRIPE_METHOD, method);
}

/*
 * judge_method
 *		Whether a method can be paid with: it is ours, or nobody's, and has not expired.
 */
static void
judge_method(const BillingGatewayOrder *order, const BillingDocument *method, BillingGatewayAnswer *answer)
{
	const char *customer = billing_stripe_customer_id(order);
	const char *its_customer;

	billing_stripe_read_method(method, answer);
	its_customer = answer->customer_id;
	if (answer->type == NULL)
		fail(answer, "token_invalid", "the payment method is neither a card nor an account at a bank of the United States");
	else if (is_expired(order, answer))
		fail(answer, "expired_card", "the card has expired");
	else if (its_customer != NULL && billing_stripe_is_text(customer, its_customer))
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	else
	{
		const char *id = answer->token;

		billing_gateway_clear(answer);
		if (id == NULL || billing_stripe_is_step(order, BILLING_STRIPE_ATTACH))
			return;
		billing_stripe_remember(answer, BILLING_STRIPE_METHOD, id);
		if (its_customer != NULL)
			go_on(order, answer, BILLING_STRIPE_WHOSE, BILLING_STRIPE_CUSTOMER, its_customer);
		else
			go_on(order, answer, customer == NULL ? BILLING_STRIPE_NEW_CUSTOMER : BILLING_STRIPE_ATTACH, NULL, NULL);
	}
}

/* A card is good until its month is over, wherever its holder is. */
static bool
is_expired(const BillingGatewayOrder *order, const BillingGatewayAnswer *answer)
{
	time_t		now = (time_t) order->now - SECS_A_DAY;
	struct tm	today;

	if (answer->exp_year == 0 || gmtime_r(&now, &today) == NULL)
		return false;
	return answer->exp_year * 12 + answer->exp_month < (today.tm_year + 1900) * 12 + today.tm_mon + 1;
}

/* A customer that says of itself that it is this tenant; that of any other has methods that are not the tenant's. */
static void
judge_customer(const BillingGatewayOrder *order, const BillingDocument *customer, BillingGatewayAnswer *answer)
{
	const char *tenant_id = billing_document_string(customer, "metadata.tenant_id");

	if (order->tenant_id != NULL && billing_stripe_is_text(tenant_id, order->tenant_id))
		go_on(order, answer, BILLING_STRIPE_READ, NULL, NULL);
	else
		fail(answer, "token_used", "the payment method is of another customer");
}

/* What no customer has cannot be paid with. */
static void
read_removed_method(const BillingGatewayOrder *order, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	if (!is_object(document, "payment_method"))
		return;
	if (billing_stripe_object_id(document, "customer") == NULL)
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	else
		fail(answer, "not_detached", "the payment method is still attached to a customer");
}

static void
read_error(const BillingGatewayOrder *order, int status, const BillingDocument *document, BillingGatewayAnswer *answer)
{
	const BillingDocument *error = document == NULL ? NULL : billing_document_get(document, "error");
	static const char *const codes[] = {"decline_code", "code", "type"};

	for (int i = 0; error != NULL && i < lengthof(codes) && answer->code == NULL; i++)
		answer->code = billing_document_string(error, codes[i]);
	if (error != NULL)
		answer->message = billing_document_string(error, "message");
	if (answer->code == NULL)
		answer->code = psprintf("http_%d", status);
	if (status == 401)
		answer->message = "Stripe does not know the api_key";

	/* That of a wrong key is the company's fault: no payer is to be dunned for it. */
	if (status == 429 || status == 409 || status == 401)
		answer->outcome = BILLING_GATEWAY_RETRY;
	else if (error != NULL && status >= 400 && status < 500 && status != 408 && status != 424)
		read_refusal(order, status, error, answer);
}

/*
 * read_refusal
 *		What a 4xx says of what was asked.
 */
static void
read_refusal(const BillingGatewayOrder *order, int status, const BillingDocument *error, BillingGatewayAnswer *answer)
{
	bool		is_other_content = error != NULL && billing_stripe_is_text(billing_document_string(error, "type"), "idempotency_error");
	bool		is_refused = status == 400 && !is_other_content;
	bool		is_read = billing_stripe_is_step(order, BILLING_STRIPE_READ);

	switch (order->operation)
	{
		case BILLING_GATEWAY_PAY:
			answer->outcome = is_other_content ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
			if (!is_other_content && error != NULL)
				read_refused_payment(error, answer);
			break;
		case BILLING_GATEWAY_QUERY:
		case BILLING_GATEWAY_QUERY_REFUND:
			break;
		case BILLING_GATEWAY_CLOSE:
			if (is_refused && !is_read && billing_stripe_payment_id(order) != NULL)
				go_on(order, answer, BILLING_STRIPE_READ, NULL, NULL);
			break;
		case BILLING_GATEWAY_REFUND:
			answer->outcome = is_other_content ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
			break;
		case BILLING_GATEWAY_REMOVE_METHOD:
			answer->outcome = status == 404 ? BILLING_GATEWAY_SUCCEEDED : BILLING_GATEWAY_FAILED;
			if (is_refused && !is_read)
				go_on(order, answer, BILLING_STRIPE_READ, NULL, NULL);
			break;
		default:
			answer->outcome = BILLING_GATEWAY_FAILED;
	}
}

/* A declined payment is there all the same, and under way if it says so. */
static void
read_refused_payment(const BillingDocument *error, BillingGatewayAnswer *answer)
{
	const BillingDocument *intent = billing_document_get(error, "payment_intent");
	BillingGatewayAnswer made;

	if (intent == NULL)
		return;
	billing_gateway_clear(&made);
	billing_stripe_read_intent(intent, &made);
	if (made.outcome == BILLING_GATEWAY_FAILED)
	{
		made.code = answer->code;
		made.message = answer->message;
	}
	*answer = made;
}

static void
fail(BillingGatewayAnswer *answer, const char *code, const char *message)
{
	answer->outcome = BILLING_GATEWAY_FAILED;
	answer->code = code;
	answer->message = message;
}

/* The next step has what this one had, and what it has found; step NULL: the first again. */
static void
go_on(const BillingGatewayOrder *order, BillingGatewayAnswer *answer, const char *step, const char *name, const char *value)
{
	answer->outcome = BILLING_GATEWAY_NEXT;
	answer->code = NULL;
	answer->message = NULL;
	if (name != NULL)
		billing_stripe_remember(answer, name, value);
	billing_stripe_remember(answer, BILLING_STRIPE_STEP, step);
	for (int i = 0; i < order->memory.count; i++)
	{
		const BillingPair *pair = &order->memory.pairs[i];

		if (strcmp(pair->name, BILLING_STRIPE_STEP) != 0 && billing_pairs_find(&answer->memory, pair->name) == NULL)
			billing_stripe_remember(answer, pair->name, pair->value);
	}
}

/* What kind of object Stripe says that it is. */
static bool
is_object(const BillingDocument *document, const char *object)
{
	return billing_stripe_is_text(billing_document_string(document, "object"), object);
}
