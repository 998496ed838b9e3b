/*-------------------------------------------------------------------------
 *
 * stripe.c
 *	  Stripe: what it is asked.
 *
 * A payment by a stored method is a PaymentIntent that is confirmed as it is made.  One that a person goes on with is a
 * Checkout Session, a page of Stripe's, or a PaymentIntent for the form of the application (method elements).
 *
 * Each POST carries an Idempotency-Key.  Stripe forgets it after a day, so that a payment whose answer was lost is never
 * posted again: it is looked for by the pay_no in its metadata.  The list of a customer's PaymentIntents knows at once what
 * was made; the search does so within a minute.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "form.h"
#include "stripe.h"

#define LIVE_URL			"https://api.stripe.com"

/* The shapes of requests and answers that this file and its readers know. */
#define API_VERSION			"2025-03-31.basil"

/* How long a Checkout Session may be open, in seconds; a minute is left for the way there. */
#define MIN_OPEN			(31 * 60)
#define MAX_OPEN			(24 * 60 * 60 - 60)

#define MAX_DESCRIPTION		1000
#define MAX_PRODUCT_NAME	250
#define MAX_METADATA		500
#define MAX_HEADERS			4
#define LIST_LIMIT			"100"

#define FEE					"latest_charge.balance_transaction"

static const char *check(const BillingGatewayConfig *config);
static const char *check_webhook_secrets(const char *secrets);
static int	exponent(const char *currency);
static const char *build(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
						 BillingGatewayAnswer *answer);
static const char *check_decimals(const BillingGatewayOrder *order);
static const char *build_payment(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_intent(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static void append_stored_method(StringInfo body, const BillingGatewayOrder *order);
static const char *build_session(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static void append_item(StringInfo body, const BillingGatewayOrder *order);
static void append_metadata(StringInfo body, const char *prefix, const BillingGatewayOrder *order, const char *begun_by);
static const char *build_query(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static void build_search(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_close(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_refund_query(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static void append_refund_reason(StringInfo body, const char *reason);
static const char *build_add_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static void build_customer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request);
static const char *build_remove_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
									   BillingGatewayAnswer *answer);
static void get(const BillingGatewayConfig *config, BillingGatewayRequest *request, const char *path, const char *id, const char *expand);
static void get_listed(const BillingGatewayConfig *config, BillingGatewayRequest *request, const char *path, const char *name, const char *value,
					   const char *expand);
static void get_payment(const BillingGatewayConfig *config, BillingGatewayRequest *request, const char *id);
static void post(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, const char *path, const char *id,
				 const char *suffix, StringInfo body);
static void authorize(const BillingGatewayConfig *config, BillingGatewayRequest *request);
static void add_header(BillingPairs *headers, const char *name, const char *value);
static void append_number(StringInfo body, const char *name, int64 number);
static void append_currency(StringInfo body, const char *name, const char *currency);
static void append_cut(StringInfo body, const char *name, const char *text, int max);
static const char *setting_or(const BillingGatewayConfig *config, const char *stated, const char *setting);

/* What its page lists. */
static const char *const settings[] = {"return_url", "cancel_url", "locale", NULL};
static const char *const credentials[] = {"api_key", "webhook_secret", NULL};

const BillingGateway billing_gateway_stripe = {
	.name = "stripe",
	.base_url = LIVE_URL,
	.tells_fee_later = true,
	.settings = settings,
	.credentials = credentials,
	.check = check,
	.exponent = exponent,
	.build = build,
	.read = billing_stripe_read,
	.read_callback = billing_stripe_read_callback,
	.reply = billing_stripe_reply,
};

/* Without a webhook_secret callbacks are refused, and payments go on by queries. */
static const char *
check(const BillingGatewayConfig *config)
{
	const char *key = billing_pairs_find(&config->credentials, "api_key");
	const char *secrets = billing_pairs_find(&config->credentials, "webhook_secret");

	if (key == NULL)
		return "missing=api_key";
	if ((strncmp(key, "sk_", 3) != 0 && strncmp(key, "rk_", 3) != 0) || strpbrk(key, " \t\r\n") != NULL)
		return "credential=api_key expected=sk_...,rk_...";
	return secrets == NULL ? NULL : check_webhook_secrets(secrets);
}

/* One, or several with spaces between them while one is rotated. */
static const char *
check_webhook_secrets(const char *secrets)
{
	int			count = 0;

	for (secrets += strspn(secrets, " "); *secrets != '\0'; secrets += strspn(secrets, " "))
	{
		size_t		len = strcspn(secrets, " ");

		if (strncmp(secrets, "whsec_", 6) != 0 || len == 6)
			return "credential=webhook_secret expected=whsec_...";
		secrets += len;
		count++;
	}
	return count > 0 ? NULL : "credential=webhook_secret expected=whsec_...";
}

/*
 * exponent
 *		Where Stripe counts otherwise than ISO 4217: as its page on currencies has it.
 *
 * The krona and the shilling of Uganda have lost their decimals, and keep two in the API, which must be 00.
 */
static int
exponent(const char *currency)
{
	static const struct
	{
		const char *currency;
		int			exponent;
	}			others[] = {{"ISK", 2}, {"UGX", 2}, {"MGA", 0}};

	for (int i = 0; i < lengthof(others); i++)
	{
		if (strcmp(currency, others[i].currency) == 0)
			return others[i].exponent;
	}
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
			return build_payment(config, order, request);
		case BILLING_GATEWAY_QUERY:
			return build_query(config, order, request);
		case BILLING_GATEWAY_CLOSE:
			return build_close(config, order, request);
		case BILLING_GATEWAY_REFUND:
			return build_refund(config, order, request);
		case BILLING_GATEWAY_QUERY_REFUND:
			return build_refund_query(config, order, request);
		case BILLING_GATEWAY_ADD_METHOD:
			return build_add_method(config, order, request);
		case BILLING_GATEWAY_REMOVE_METHOD:
			return build_remove_method(config, order, request, answer);
		case BILLING_GATEWAY_SUBSCRIPTION:
			if (order->external_id == NULL)
				return "missing=external_id";
			get(config, request, "/v1/subscriptions/", order->external_id, "latest_invoice");
			return NULL;
		default:
			return "operation=unsupported";
	}
}

/* Amounts of three decimals must end in 0, refunds too: those who are behind Stripe know only two. */
static const char *
check_decimals(const BillingGatewayOrder *order)
{
	if (order->exponent == 3 && order->units % 10 != 0)
		return psprintf("currency=%s decimals=2: the amount has more", order->currency);
	return NULL;
}

static const char *
build_payment(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *method = order->method == NULL ? "card" : order->method;

	if (order->pay_no == NULL || order->currency == NULL || order->units <= 0)
		return "missing=pay_no,amount";
	if (check_decimals(order) != NULL)
		return check_decimals(order);
	if (order->token != NULL && billing_stripe_customer_id(order) == NULL)
		return "missing=customer_id";
	if (!billing_stripe_is_checkout(order))
		return build_intent(config, order, request);
	if (strcmp(method, "card") != 0 && strcmp(method, "bank_account") != 0 && strcmp(method, "checkout") != 0)
		return psprintf("method=%s allowed=card,bank_account,checkout,elements", method);
	return build_session(config, order, request);
}

bool
billing_stripe_is_checkout(const BillingGatewayOrder *order)
{
	return order->token == NULL && (order->method == NULL || strcmp(order->method, "elements") != 0);
}

static const char *
build_intent(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	StringInfoData body;

	initStringInfo(&body);
	append_number(&body, "amount", order->units);
	append_currency(&body, "currency", order->currency);
	billing_form_append(&body, "customer", billing_stripe_customer_id(order));
	billing_form_append(&body, "automatic_payment_methods[enabled]", "true");
	if (order->token != NULL)
		append_stored_method(&body, order);
	append_cut(&body, "description", order->description, MAX_DESCRIPTION);
	append_metadata(&body, "metadata", order, order->token != NULL ? BILLING_STRIPE_BY_METHOD : BILLING_STRIPE_BY_ELEMENTS);
	billing_form_append(&body, "expand[]", FEE);
	post(config, order, request, "/v1/payment_intents", "", "", &body);
	return NULL;
}

/* Who is there can be sent to the bank's page, and comes back to return_url; else the payment fails where the bank wants to see its customer. */
static void
append_stored_method(StringInfo body, const BillingGatewayOrder *order)
{
	billing_form_append(body, "payment_method", order->token);
	billing_form_append(body, "confirm", "true");
	billing_form_append(body, "return_url", order->return_url);
	if (order->return_url == NULL)
	{
		billing_form_append(body, "off_session", "true");
		billing_form_append(body, "automatic_payment_methods[allow_redirects]", "never");
	}
}

/* The page shows the amount that is asked for, in its own currency, whatever the payer's is. */
static const char *
build_session(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *return_url = setting_or(config, order->return_url, "return_url");
	const char *method = order->method == NULL ? "card" : order->method;
	StringInfoData body;

	if (return_url == NULL)
		return "missing=return_url";
	initStringInfo(&body);
	billing_form_append(&body, "mode", "payment");
	billing_form_append(&body, "client_reference_id", order->pay_no);
	billing_form_append(&body, "success_url", return_url);
	billing_form_append(&body, "cancel_url", setting_or(config, NULL, "cancel_url"));
	billing_form_append(&body, "customer", order->customer_id);
	if (order->customer_id == NULL)
		billing_form_append(&body, "customer_email", order->email);
	if (strcmp(method, "checkout") != 0)
		billing_form_append(&body, "payment_method_types[0]", strcmp(method, "bank_account") == 0 ? "us_bank_account" : "card");
	billing_form_append(&body, "locale", setting_or(config, NULL, "locale"));
	billing_form_append(&body, "adaptive_pricing[enabled]", "false");
	if (order->expires_at > 0)
		append_number(&body, "expires_at", Min(Max(order->expires_at, order->now + MIN_OPEN), order->now + MAX_OPEN));
	append_item(&body, order);
	append_metadata(&body, "metadata", order, BILLING_STRIPE_BY_CHECKOUT);
	append_metadata(&body, "payment_intent_data[metadata]", order, BILLING_STRIPE_BY_CHECKOUT);
	append_cut(&body, "payment_intent_data[description]", order->description, MAX_DESCRIPTION);
	post(config, order, request, "/v1/checkout/sessions", "", "", &body);
	return NULL;
}

static void
append_item(StringInfo body, const BillingGatewayOrder *order)
{
	bool		has_description = order->description != NULL && order->description[0] != '\0';

	billing_form_append(body, "line_items[0][quantity]", "1");
	append_currency(body, "line_items[0][price_data][currency]", order->currency);
	append_number(body, "line_items[0][price_data][unit_amount]", order->units);
	append_cut(body, "line_items[0][price_data][product_data][name]", has_description ? order->description : order->pay_no, MAX_PRODUCT_NAME);
}

static void
append_metadata(StringInfo body, const char *prefix, const BillingGatewayOrder *order, const char *begun_by)
{
	billing_form_append(body, psprintf("%s[pay_no]", prefix), order->pay_no);
	billing_form_append(body, psprintf("%s[tenant_id]", prefix), order->tenant_id);
	billing_form_append(body, psprintf("%s[begun_by]", prefix), begun_by);
}

/*
 * build_query
 *		Ask for a payment by its id, or look for the one that was begun and never answered for.
 *
 * A session that was never answered for has no page that anybody knows, so that not to find an old one is no harm.  Whatever
 * it seems to be, PaymentIntents are looked at: a stored method that was removed since has no token left to know it by.
 */
static const char *
build_query(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *id = billing_stripe_payment_id(order);
	const char *customer = billing_stripe_customer_id(order);

	if (id != NULL)
		get_payment(config, request, id);
	else if (order->pay_no == NULL)
		return "missing=pay_no";
	else if (billing_stripe_is_checkout(order) && billing_pairs_find(&order->memory, BILLING_STRIPE_STEP) == NULL)
		get_listed(config, request, "/v1/checkout/sessions?", "customer", customer, "data.payment_intent");
	else if (customer != NULL && !billing_stripe_is_step(order, BILLING_STRIPE_SEARCH))
		get_listed(config, request, "/v1/payment_intents?", "customer", customer, "data." FEE);
	else
		build_search(config, order, request);
	return NULL;
}

/* Letters, digits and _ are all there is in a pay_no; what has more is nothing to look for. */
static void
build_search(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "metadata['pay_no']:'");
	for (const char *c = order->pay_no; *c != '\0'; c++)
	{
		if (*c != '\'' && *c != '\\')
			appendStringInfoChar(&query, *c);
	}
	appendStringInfoChar(&query, '\'');
	get_listed(config, request, "/v1/payment_intents/search?", "query", query.data, "data." FEE);
}

/* What is refused to be closed is read: it may be paid. */
static const char *
build_close(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *id = billing_stripe_payment_id(order);
	StringInfoData body;

	if (id == NULL || billing_stripe_is_step(order, BILLING_STRIPE_READ))
		return build_query(config, order, request);
	initStringInfo(&body);
	if (billing_stripe_is_id(id, "cs_"))
		post(config, order, request, "/v1/checkout/sessions/", id, "/expire", &body);
	else
	{
		billing_form_append(&body, "expand[]", FEE);
		post(config, order, request, "/v1/payment_intents/", id, "/cancel", &body);
	}
	return NULL;
}

/* Of a session its PaymentIntent is asked for first. */
static const char *
build_refund(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *payment = billing_stripe_payment_id(order);
	StringInfoData body;

	if (order->refund_no == NULL || payment == NULL || order->units <= 0)
		return "missing=refund_no,payment_external_id,amount";
	if (check_decimals(order) != NULL)
		return check_decimals(order);
	if (billing_stripe_is_id(payment, "cs_"))
	{
		get_payment(config, request, payment);
		return NULL;
	}
	initStringInfo(&body);
	billing_form_append(&body, billing_stripe_is_id(payment, "ch_") ? "charge" : "payment_intent", payment);
	append_number(&body, "amount", order->units);
	append_refund_reason(&body, order->reason);
	billing_form_append(&body, "metadata[refund_no]", order->refund_no);
	billing_form_append(&body, "metadata[pay_no]", order->pay_no);
	billing_form_append(&body, "metadata[tenant_id]", order->tenant_id);
	post(config, order, request, "/v1/refunds", "", "", &body);
	return NULL;
}

static const char *
build_refund_query(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *payment = billing_stripe_payment_id(order);

	if (order->external_id != NULL)
		get(config, request, "/v1/refunds/", order->external_id, NULL);
	else if (order->refund_no == NULL || payment == NULL)
		return "missing=refund_no,payment_external_id";
	else if (billing_stripe_is_id(payment, "cs_"))
		get_payment(config, request, payment);
	else
		get_listed(config, request, "/v1/refunds?", billing_stripe_is_id(payment, "ch_") ? "charge" : "payment_intent", payment, NULL);
	return NULL;
}

/* Stripe knows three reasons; any other is for people. */
static void
append_refund_reason(StringInfo body, const char *reason)
{
	static const char *const known[] = {"duplicate", "fraudulent", "requested_by_customer"};

	for (int i = 0; reason != NULL && i < lengthof(known); i++)
	{
		if (strcmp(reason, known[i]) == 0)
		{
			billing_form_append(body, "reason", reason);
			return;
		}
	}
	append_cut(body, "metadata[reason]", reason, MAX_METADATA);
}

/* The token is read; if the tenant is no customer yet, it becomes one; the method is attached to that. */
static const char *
build_add_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	const char *method = billing_stripe_method_id(order);
	const char *customer = billing_stripe_customer_id(order);
	StringInfoData body;

	if (order->token == NULL)
		return "missing=token";
	if (method == NULL && billing_stripe_is_id(order->token, "seti_"))
		get(config, request, "/v1/setup_intents/", order->token, "payment_method");
	else if (method == NULL)
		return "token=unknown expected=pm_...,seti_...";
	else if (customer != NULL && billing_stripe_is_step(order, BILLING_STRIPE_WHOSE))
		get(config, request, "/v1/customers/", customer, NULL);
	else if (billing_stripe_is_step(order, BILLING_STRIPE_NEW_CUSTOMER))
		build_customer(config, order, request);
	else if (customer != NULL && billing_stripe_is_step(order, BILLING_STRIPE_ATTACH))
	{
		initStringInfo(&body);
		billing_form_append(&body, "customer", customer);
		post(config, order, request, "/v1/payment_methods/", method, "/attach", &body);
	}
	else
		get(config, request, "/v1/payment_methods/", method, NULL);
	return NULL;
}

static void
build_customer(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request)
{
	StringInfoData body;

	initStringInfo(&body);
	append_cut(&body, "name", order->name, MAX_PRODUCT_NAME);
	billing_form_append(&body, "email", order->email);
	billing_form_append(&body, "metadata[tenant_id]", order->tenant_id);
	post(config, order, request, "/v1/customers", "", "", &body);
}

/* What never was a method at Stripe has none to be removed. */
static const char *
build_remove_method(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
					BillingGatewayAnswer *answer)
{
	const char *method = billing_stripe_method_id(order);
	StringInfoData body;

	if (method == NULL)
		answer->outcome = BILLING_GATEWAY_SUCCEEDED;
	else if (billing_stripe_is_step(order, BILLING_STRIPE_READ))
		get(config, request, "/v1/payment_methods/", method, NULL);
	else
	{
		initStringInfo(&body);
		post(config, order, request, "/v1/payment_methods/", method, "/detach", &body);
	}
	return NULL;
}

bool
billing_stripe_is_step(const BillingGatewayOrder *order, const char *step)
{
	const char *present = billing_pairs_find(&order->memory, BILLING_STRIPE_STEP);

	return present != NULL && strcmp(present, step) == 0;
}

/* Of a refund that of its payment. */
const char *
billing_stripe_payment_id(const BillingGatewayOrder *order)
{
	const char *found = billing_pairs_find(&order->memory, BILLING_STRIPE_PAYMENT);

	if (found != NULL)
		return found;
	return order->operation == BILLING_GATEWAY_REFUND || order->operation == BILLING_GATEWAY_QUERY_REFUND ? order->payment_external_id :
		order->external_id;
}

/* NULL: there is none yet. */
const char *
billing_stripe_method_id(const BillingGatewayOrder *order)
{
	const char *ids[] = {billing_pairs_find(&order->memory, BILLING_STRIPE_METHOD), order->token};

	for (int i = 0; i < lengthof(ids); i++)
	{
		if (ids[i] != NULL && (billing_stripe_is_id(ids[i], "pm_") || billing_stripe_is_id(ids[i], "card_") || billing_stripe_is_id(ids[i], "src_")))
			return ids[i];
	}
	return NULL;
}

const char *
billing_stripe_customer_id(const BillingGatewayOrder *order)
{
	const char *found = billing_pairs_find(&order->memory, BILLING_STRIPE_CUSTOMER);

	return found != NULL ? found : order->customer_id;
}

bool
billing_stripe_is_id(const char *id, const char *prefix)
{
	return strncmp(id, prefix, strlen(prefix)) == 0;
}

static void
get(const BillingGatewayConfig *config, BillingGatewayRequest *request, const char *path, const char *id, const char *expand)
{
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfo(&url, "%s%s", config->base_url, path);
	billing_form_append_encoded(&url, id);
	if (expand != NULL)
	{
		appendStringInfoChar(&url, '?');
		billing_form_append(&url, "expand[]", expand);
	}
	request->verb = "GET";
	request->url = url.data;
	authorize(config, request);
}

/* The path ends with ?. */
static void
get_listed(const BillingGatewayConfig *config, BillingGatewayRequest *request, const char *path, const char *name, const char *value,
		   const char *expand)
{
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfo(&url, "%s%s", config->base_url, path);
	billing_form_append(&url, name, value);
	billing_form_append(&url, "limit", LIST_LIMIT);
	billing_form_append(&url, "expand[]", expand);
	request->verb = "GET";
	request->url = url.data;
	authorize(config, request);
}

static void
get_payment(const BillingGatewayConfig *config, BillingGatewayRequest *request, const char *id)
{
	if (billing_stripe_is_id(id, "cs_"))
		get(config, request, "/v1/checkout/sessions/", id, "payment_intent." FEE);
	else
		get(config, request, "/v1/payment_intents/", id, FEE);
}

/* Each step of a conversation is a request of its own, with a key of its own. */
static void
post(const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request, const char *path, const char *id,
	 const char *suffix, StringInfo body)
{
	const char *step = billing_pairs_find(&order->memory, BILLING_STRIPE_STEP);
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfo(&url, "%s%s", config->base_url, path);
	billing_form_append_encoded(&url, id);
	appendStringInfoString(&url, suffix);
	request->verb = "POST";
	request->url = url.data;
	authorize(config, request);
	add_header(&request->headers, "Content-Type", "application/x-www-form-urlencoded");
	if (order->idempotency_key != NULL)
		add_header(&request->headers, "Idempotency-Key",
				   step == NULL ? order->idempotency_key : psprintf("%s-%s", order->idempotency_key, step));
	request->body = body->data;
	request->body_len = body->len;
}

static void
authorize(const BillingGatewayConfig *config, BillingGatewayRequest *request)
{
	const char *key = billing_pairs_find(&config->credentials, "api_key");

	add_header(&request->headers, "Authorization", psprintf("Bearer %s", key != NULL ? key : ""));
	add_header(&request->headers, "Stripe-Version", API_VERSION);
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
append_number(StringInfo body, const char *name, int64 number)
{
	billing_form_append(body, name, psprintf("%lld", (long long) number));
}

/* In small letters, as Stripe writes them. */
static void
append_currency(StringInfo body, const char *name, const char *currency)
{
	char	   *small = pstrdup(currency);

	for (char *c = small; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	billing_form_append(body, name, small);
}

/* At most so many bytes of a text, without half a character. */
static void
append_cut(StringInfo body, const char *name, const char *text, int max)
{
	if (text == NULL || text[0] == '\0')
		return;
	if (strlen(text) > max)
	{
		while (max > 0 && ((unsigned char) text[max] & 0xC0) == 0x80)
			max--;
		text = psprintf("%.*s", max, text);
	}
	billing_form_append(body, name, text);
}

static const char *
setting_or(const BillingGatewayConfig *config, const char *stated, const char *setting)
{
	return stated != NULL ? stated : billing_pairs_find(&config->settings, setting);
}
