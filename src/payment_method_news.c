/*-------------------------------------------------------------------------
 *
 * payment_method_news.c
 *	  What a gateway has said of what a tenant pays by.
 *
 * A method is pending until its gateway has verified it: that the token is good, not used yet, and
 * whose it is.  What the answer says of the card goes before what the caller said.  Later on a
 * callback may say that the card has other dates, or that it is gone.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "event.h"
#include "gateway_request.h"
#include "id.h"
#include "news.h"
#include "payment_method.h"
#include "sealed.h"
#include "spi.h"

static void forget(BillingFlow *flow, const BillingPaymentMethod *method, const BillingNews *news);
static void accept(BillingFlow *flow, const BillingPaymentMethod *method, const BillingNews *news);
static bool is_used(const BillingFlow *flow, const BillingPaymentMethod *method, const BillingGatewayAnswer *answer);
static bool is_expired(const BillingFlow *flow, const BillingGatewayAnswer *answer);
static bool write_verified(BillingFlow *flow, const BillingPaymentMethod *method, const BillingNews *news);
static Datum seal_other(const BillingFlow *flow, int64 payment_method_id, const char *purpose, const char *value, bool *isnull);
static void keep_customer(const BillingFlow *flow, const char *gateway, const BillingGatewayAnswer *answer);
static void keep_ids(const BillingFlow *flow, const BillingPaymentMethod *method, const BillingGatewayAnswer *answer);
static bool end(int64 tenant_id, int64 payment_method_id, const char *code, const char *reason);
static void drop_token(const BillingFlow *flow, int64 payment_method_id);
static Datum text_or_null(const char *value, bool is_said, char *isnull);

void
billing_payment_method_learn(BillingFlow *flow, int64 payment_method_id, const BillingNews *news)
{
	const BillingGatewayAnswer *answer = news->answer;
	bool		is_good = answer->outcome == BILLING_GATEWAY_SUCCEEDED;
	bool		is_bad = answer->outcome == BILLING_GATEWAY_FAILED || answer->outcome == BILLING_GATEWAY_CANCELED;
	BillingPaymentMethod method;

	billing_payment_method_read(flow, payment_method_id, &method);
	if (news->operation == BILLING_GATEWAY_REMOVE_METHOD)
	{
		if (is_good || is_bad)
			drop_token(flow, payment_method_id);
	}
	else if (strcmp(method.status, "removed") == 0)
		forget(flow, &method, news);
	else if (strcmp(method.status, "pending") != 0 && news->at < method.known_at)
		return;
	else if (is_good)
		accept(flow, &method, news);
	else if (is_bad && strcmp(method.status, "failed") != 0)
		billing_payment_method_fail(flow->tenant_id, payment_method_id, answer->code, answer->message);
	else if (answer->outcome == BILLING_GATEWAY_REQUIRES_ACTION && strcmp(method.status, "pending") == 0)
		keep_ids(flow, &method, answer);
}

/*
 * forget
 *		It was removed while it was verified, and has been attached since, or not.
 */
static void
forget(BillingFlow *flow, const BillingPaymentMethod *method, const BillingNews *news)
{
	const BillingGatewayAnswer *answer = news->answer;
	bool		is_good = answer->outcome == BILLING_GATEWAY_SUCCEEDED;

	if (is_good && method->has_token && !is_used(flow, method, answer))
	{
		keep_ids(flow, method, answer);
		(void) billing_gateway_ask(flow->tenant_id, method->gateway, BILLING_GATEWAY_REMOVE_METHOD, method->payment_method_id, 0);
	}
	else if (is_good || answer->outcome == BILLING_GATEWAY_FAILED || answer->outcome == BILLING_GATEWAY_CANCELED)
		drop_token(flow, method->payment_method_id);
}

static void
accept(BillingFlow *flow, const BillingPaymentMethod *method, const BillingNews *news)
{
	const BillingGatewayAnswer *answer = news->answer;

	if (strcmp(method->status, "expired") == 0 && answer->exp_year == 0)
		return;
	if (is_used(flow, method, answer))
		billing_payment_method_fail(flow->tenant_id, method->payment_method_id, "token_used", "the tenant has this payment method already");
	else if (is_expired(flow, answer))
	{
		keep_ids(flow, method, answer);
		billing_payment_method_fail(flow->tenant_id, method->payment_method_id, "expired_card", "the card has expired");
	}
	else if (write_verified(flow, method, news))
	{
		keep_customer(flow, method->gateway, answer);
		billing_event_emit(flow->tenant_id, "payment_method.updated", method->payment_method_id);
		if (method->becomes_default)
			billing_payment_method_make_default(flow->tenant_id, method->payment_method_id, "added");
		else
			billing_payment_method_settle_default(billing_id_array_of(flow->tenant_id), "added");
	}
}

/* The gateway knows it as one that the tenant has. */
static bool
is_used(const BillingFlow *flow, const BillingPaymentMethod *method, const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.gateway = $2 AND m.external_id = $3"
		" AND m.status IN ('pending', 'active', 'expired') AND m.payment_method_id <> $4",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, INT8OID},
	};
	Datum		args[4];

	if (answer->external_id == NULL)
		return false;
	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = CStringGetTextDatum(method->gateway);
	args[2] = CStringGetTextDatum(answer->external_id);
	args[3] = Int64GetDatum(method->payment_method_id);
	return billing_spi_run(&query, args, NULL) > 0;
}

static bool
is_expired(const BillingFlow *flow, const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 AND billing.month_ends_at($2, $3, t.timezone) <= billing.now()",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT4OID, INT4OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int32GetDatum(answer->exp_year), Int32GetDatum(answer->exp_month)};

	return answer->exp_year != 0 && billing_spi_run(&query, args, NULL) > 0;
}

/*
 * write_verified
 *		It is active, and is what the gateway says of it; false if that is how it was.
 */
static bool
write_verified(BillingFlow *flow, const BillingPaymentMethod *method, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET status = 'active', becomes_default = false, brand = n.brand,"
		"  token = coalesce($9::billing.sealed, m.token), last4 = coalesce($8::billing.sealed, m.last4), exp_month = n.exp_month, exp_year = n.exp_year,"
		"  customer_id = n.customer_id, external_id = n.external_id, type = n.type, action_url = NULL, failure_code = NULL, failure_reason = NULL,"
		"  ended_at = NULL, verified_at = $11, version = m.version + 1"
		"  FROM (SELECT coalesce($3, o.brand) AS brand, coalesce(nullif($4, 0), o.exp_month) AS exp_month,"
		"      coalesce(nullif($5, 0), o.exp_year) AS exp_year, coalesce($6, o.customer_id) AS customer_id,"
		"      coalesce($7, o.external_id) AS external_id, coalesce($10, o.type) AS type"
		"    FROM billing.payment_method o WHERE o.tenant_id = $1 AND o.payment_method_id = $2) n"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2 AND (m.status <> 'active' OR $8 IS NOT NULL OR $9 IS NOT NULL"
		"   OR (m.brand, m.exp_month, m.exp_year, m.customer_id, m.external_id, m.type)"
		"     IS DISTINCT FROM (n.brand, n.exp_month, n.exp_year, n.customer_id, n.external_id, n.type))",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 11,
		.argtypes = {INT8OID, INT8OID, TEXTOID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	};
	static const char *const types[] = {"card", "bank_account", "bank_transfer", "alipay", "wechat", "paypal"};
	const BillingGatewayAnswer *answer = news->answer;
	bool		has_expiry = answer->exp_month >= 1 && answer->exp_month <= 12 && answer->exp_year >= 2000 && answer->exp_year <= 2199;
	bool		is_type = false;
	bool		is_last4 = answer->last4 != NULL && strlen(answer->last4) == 4 && strspn(answer->last4, "0123456789") == 4;
	char		nulls[] = "           ";
	bool		isnull;
	Datum		args[11];

	for (int i = 0; i < lengthof(types); i++)
		is_type = is_type || (answer->type != NULL && strcmp(answer->type, types[i]) == 0);
	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = Int64GetDatum(method->payment_method_id);
	args[2] = text_or_null(answer->brand, true, &nulls[2]);
	args[3] = Int32GetDatum(has_expiry ? answer->exp_month : 0);
	args[4] = Int32GetDatum(has_expiry ? answer->exp_year : 0);
	args[5] = text_or_null(answer->customer_id, true, &nulls[5]);
	args[6] = text_or_null(answer->external_id, true, &nulls[6]);
	args[7] = seal_other(flow, method->payment_method_id, "last4", is_last4 ? answer->last4 : NULL, &isnull);
	nulls[7] = isnull ? 'n' : ' ';
	args[8] = seal_other(flow, method->payment_method_id, "token", answer->token, &isnull);
	nulls[8] = isnull ? 'n' : ' ';
	args[9] = text_or_null(answer->type, is_type, &nulls[9]);
	args[10] = TimestampTzGetDatum(news->at);
	return billing_spi_run(&query, args, nulls) > 0;
}

/*
 * seal_other
 *		A secret of a method, sealed, as text; NULL if none is said, or it is what is there: sealed ones cannot be compared.
 */
static Datum
seal_other(const BillingFlow *flow, int64 payment_method_id, const char *purpose, const char *value, bool *isnull)
{
	static BillingQuery query = {
		.sql = "SELECT CASE $3 WHEN 'token' THEN m.token ELSE m.last4 END FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.payment_method_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id), CStringGetTextDatum(purpose)};
	Datum		stored;
	char	   *plaintext;

	*isnull = value == NULL;
	if (value == NULL)
		return (Datum) 0;
	(void) billing_spi_run(&query, args, NULL);
	stored = billing_spi_value(0, 1, isnull);
	if (!*isnull)
	{
		plaintext = billing_sealed_open(flow->tenant_id, purpose, DatumGetBillingSealedP(stored));
		*isnull = strcmp(plaintext, value) == 0;
		billing_sealed_forget(plaintext);
		if (*isnull)
			return (Datum) 0;
	}
	*isnull = false;
	return CStringGetTextDatum(billing_sealed_text(billing_sealed_make(flow->tenant_id, purpose, value, strlen(value))));
}

/* Of two that were made at once the first stays what the next methods are attached to. */
static void
keep_customer(const BillingFlow *flow, const char *gateway, const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway_customer (tenant_id, gateway, customer_id) VALUES ($1, $2, $3) ON CONFLICT (tenant_id, gateway) DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[3];

	if (answer->customer_id == NULL)
		return;
	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = CStringGetTextDatum(gateway);
	args[2] = CStringGetTextDatum(answer->customer_id);
	(void) billing_spi_run(&query, args, NULL);
}

/* What one that is not active is at the gateway, what it is charged or forgotten by there, and where a person goes on with it. */
static void
keep_ids(const BillingFlow *flow, const BillingPaymentMethod *method, const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET external_id = coalesce($3, m.external_id), customer_id = coalesce($4, m.customer_id),"
		"  token = coalesce($6::billing.sealed, m.token),"
		"  action_url = CASE WHEN m.status = 'pending' THEN coalesce($5, m.action_url) END, version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
	};
	char		nulls[] = "      ";
	bool		is_own = !is_used(flow, method, answer);
	bool		isnull;
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(method->payment_method_id), text_or_null(answer->external_id, is_own, &nulls[2]),
		text_or_null(answer->customer_id, true, &nulls[3]), text_or_null(answer->payment_url, true, &nulls[4]),
		seal_other(flow, method->payment_method_id, "token", answer->token, &isnull)
	};

	nulls[5] = isnull ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	keep_customer(flow, method->gateway, answer);
}

void
billing_payment_method_fail(int64 tenant_id, int64 payment_method_id, const char *code, const char *reason)
{
	if (!end(tenant_id, payment_method_id, code, reason))
		return;
	billing_event_emit(tenant_id, "payment_method.failed", payment_method_id);
	billing_payment_method_settle_default(billing_id_array_of(tenant_id), "failed");
}

static bool
end(int64 tenant_id, int64 payment_method_id, const char *code, const char *reason)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET status = 'failed', is_default = false, default_at = NULL, becomes_default = false,"
		"  action_url = NULL, failure_code = $3, failure_reason = $4, ended_at = billing.now(), version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2 AND m.status IN ('pending', 'active', 'expired')",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID},
	};
	char		nulls[] = "    ";
	Datum		args[] = {
		Int64GetDatum(tenant_id), Int64GetDatum(payment_method_id), text_or_null(code, true, &nulls[2]), text_or_null(reason, true, &nulls[3])
	};

	return billing_spi_run(&query, args, nulls) > 0;
}

/* The gateway does not know it any more, or never did. */
static void
drop_token(const BillingFlow *flow, int64 payment_method_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET token = NULL, version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2 AND m.status = 'removed' AND m.token IS NOT NULL",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id)};

	(void) billing_spi_run(&query, args, NULL);
}

static Datum
text_or_null(const char *value, bool is_said, char *isnull)
{
	if (value == NULL || !is_said)
	{
		*isnull = 'n';
		return (Datum) 0;
	}
	return CStringGetTextDatum(value);
}
