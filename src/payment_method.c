/*-------------------------------------------------------------------------
 *
 * payment_method.c
 *	  What tenants pay by: add, remove, choose and describe it.
 *
 * No number of a card or account comes here: the payer gives that to the gateway, from his browser, and
 * what comes here is the gateway's token for it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "amount.h"
#include "card_guard.h"
#include "clock.h"
#include "event.h"
#include "flow.h"
#include "gateway_account.h"
#include "gateway_request.h"
#include "id.h"
#include "payment_method.h"
#include "sealed.h"
#include "spi.h"

BILLING_FUNCTION(billing_add_payment_method);
BILLING_FUNCTION(billing_remove_payment_method);
BILLING_FUNCTION(billing_set_default_payment_method);
BILLING_FUNCTION(billing_update_payment_method);

#define TOKEN_MAX 4096
#define CUSTOMER_MAX 255

/* The arguments of add_payment_method. */
enum
{
	TENANT_ID, GATEWAY, TYPE, TOKEN, IS_DEFAULT, BRAND, LAST4, EXP_MONTH, EXP_YEAR, BILLING_EMAIL, BILLING_ADDRESS, CUSTOMER_ID, METADATA,
	REQUEST_ID, NARGS
};

/* The arguments of the others. */
enum
{
	OTHER_TENANT_ID, OTHER_ID, OTHER_REQUEST_ID, UPDATE_CHANGES = 2, UPDATE_VERSION, UPDATE_REQUEST_ID
};

static void check_arguments(FunctionCallInfo fcinfo);
static void check_type(const char *type);
static void check_token(FunctionCallInfo fcinfo, const char *type);
static void check_expiry(FunctionCallInfo fcinfo);
static void check_objects(FunctionCallInfo fcinfo);
pg_noreturn static void report_token(const char *problem, const char *detail);
pg_noreturn static void report_argument(const char *name, const char *problem, const char *hint);
static void check_gateway(const BillingFlow *flow);
static void check_not_expired(const BillingFlow *flow);
static void check_token_unused(const BillingFlow *flow);
static void keep_customer(const BillingFlow *flow);
static int64 insert_method(const BillingFlow *flow);
static Datum seal(const BillingFlow *flow, int arg, const char *purpose);
static void check_accepted(const BillingFlow *flow, int64 payment_method_id);
static bool is_in_use(const BillingFlow *flow, const BillingPaymentMethod *method);
static bool has_other(const BillingFlow *flow, int64 payment_method_id);
static bool is_known_there(const BillingFlow *flow, const BillingPaymentMethod *method);
static void mark_removed(const BillingFlow *flow, int64 payment_method_id, bool keeps_token);
static void move_subscriptions(const BillingFlow *flow, int64 payment_method_id);
static void check_changes(Jsonb *changes);
static bool is_change(const char *key, const JsonbValue *value);
static bool change_method(const BillingFlow *flow, int64 payment_method_id, Datum changes);

/*
 * billing_add_payment_method
 *		Keep the token of what a tenant pays by, and ask its gateway whether it is good.
 */
Datum
billing_add_payment_method(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	int64		payment_method_id;
	int64		request;

	check_arguments(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "add_payment_method", REQUEST_ID, &result))
		return result;
	billing_flow_check_open(&flow, "payment method", "A tenant that is closed stays so.");
	check_gateway(&flow);
	check_not_expired(&flow);
	check_token_unused(&flow);
	keep_customer(&flow);

	payment_method_id = insert_method(&flow);
	billing_event_emit(flow.tenant_id, "payment_method.added", payment_method_id);
	request = billing_gateway_ask(flow.tenant_id, text_to_cstring(PG_GETARG_TEXT_PP(GATEWAY)), BILLING_GATEWAY_ADD_METHOD, payment_method_id, 0);
	if (billing_gateway_answer_here(&flow, request))
		check_accepted(&flow, payment_method_id);

	result = billing_payment_method_show(&flow, payment_method_id);
	billing_flow_audit(&flow, "payment_method", payment_method_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/* What can be refused before anything is read. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	char	   *type;

	billing_flow_require(fcinfo, GATEWAY, "gateway");
	billing_flow_require(fcinfo, TYPE, "type");
	billing_flow_require(fcinfo, METADATA, "metadata");
	type = text_to_cstring(PG_GETARG_TEXT_PP(TYPE));
	check_type(type);
	check_token(fcinfo, type);
	check_expiry(fcinfo);
	check_objects(fcinfo);
}

static void
check_type(const char *type)
{
	static const char *const types[] = {"card", "bank_account", "bank_transfer", "alipay", "wechat", "paypal"};

	for (int i = 0; i < lengthof(types); i++)
	{
		if (strcmp(type, types[i]) == 0)
			return;
	}
	report_argument("type", "is not one of payment methods", "Types are: card, bank_account, bank_transfer, alipay, wechat, paypal.");
}

/* It is said what is wrong with it, and never what it is. */
static void
check_token(FunctionCallInfo fcinfo, const char *type)
{
	const char *token;
	size_t		len;

	if (PG_ARGISNULL(TOKEN) && strcmp(type, "bank_transfer") == 0)
		return;
	billing_flow_require(fcinfo, TOKEN, "token");
	token = text_to_cstring(PG_GETARG_TEXT_PP(TOKEN));
	len = strlen(token);
	if (len == 0 || len > TOKEN_MAX)
		report_token(len == 0 ? "is empty" : "is too long", psprintf("reason=malformed bytes=%zu", len));
	if (billing_card_find_any(token, len) != BILLING_CARD_NONE)
		report_token("is the number of a card", "reason=card_number");
	for (const char *c = token; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= ' ' || *c == 0x7F)
			report_token("has blanks or control characters in it", psprintf("reason=malformed position=%d", (int) (c - token) + 1));
	}
}

static void
check_expiry(FunctionCallInfo fcinfo)
{
	bool		has_month = !PG_ARGISNULL(EXP_MONTH);
	bool		has_year = !PG_ARGISNULL(EXP_YEAR);
	char	   *last4;

	if (has_month != has_year)
		report_argument(has_month ? "exp_year" : "exp_month", "is missing", "Give the month and the year of the expiry, or neither.");
	if (has_month && (PG_GETARG_INT32(EXP_MONTH) < 1 || PG_GETARG_INT32(EXP_MONTH) > 12))
		report_argument("exp_month", "is not a month", "Months are 1 to 12.");
	if (has_year && (PG_GETARG_INT32(EXP_YEAR) < 2000 || PG_GETARG_INT32(EXP_YEAR) > 2199))
		report_argument("exp_year", "is not a year of an expiry", "Give it four digits, such as 2030.");
	if (PG_ARGISNULL(LAST4))
		return;
	last4 = text_to_cstring(PG_GETARG_TEXT_PP(LAST4));
	if (strlen(last4) != 4 || strspn(last4, "0123456789") != 4)
		report_argument("last4", "is not four digits", "Give the last four digits of the card or account, and no more.");
}

static void
check_objects(FunctionCallInfo fcinfo)
{
	if (!JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(METADATA)))
		report_argument("metadata", "is not an object", "Pass an object such as {\"order\": 17}.");
	if (!PG_ARGISNULL(BILLING_ADDRESS) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(BILLING_ADDRESS)))
		report_argument("billing_address", "is not an object", "Pass an object such as {\"country\": \"DE\", \"city\": \"Berlin\"}.");
	if (!PG_ARGISNULL(CUSTOMER_ID) &&
		(VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(CUSTOMER_ID)) == 0 || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(CUSTOMER_ID)) > CUSTOMER_MAX))
		report_argument("customer_id", "is empty or too long", "Give the gateway's id of the tenant, of 1 to 255 bytes, or NULL.");
}

static void
report_token(const char *problem, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_INVALID_PAYMENT_TOKEN),
			 errmsg("the payment token %s", problem),
			 errdetail("argument=token %s", detail),
			 errhint("Pass the token that the gateway made in the payer's browser for this use.")));
}

static void
report_argument(const char *name, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" of add_payment_method %s", name, problem),
			 errdetail("argument=%s", name),
			 errhint("%s", hint)));
}

static void
check_gateway(const BillingFlow *flow)
{
	const char *code = TextDatumGetCString(flow->fcinfo->args[GATEWAY].value);

	if (!billing_gateway_account_open(code)->is_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_GATEWAY_REFUSED),
				 errmsg("gateway \"%s\" takes no new payment method", code),
				 errdetail("gateway=%s is_enabled=false", code),
				 errhint("Use another gateway, or enable it by billing.update_gateway().")));
}

static void
check_not_expired(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 AND billing.month_ends_at($2, $3, t.timezone) <= billing.now()",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT4OID, INT4OID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {given[TENANT_ID].value, given[EXP_YEAR].value, given[EXP_MONTH].value};

	if (!given[EXP_YEAR].isnull && billing_spi_run(&query, args, NULL) > 0)
		report_token("is of a card that has expired",
					 psprintf("reason=expired exp_month=%d exp_year=%d", DatumGetInt32(args[2]), DatumGetInt32(args[1])));
}

/*
 * check_token_unused
 *		A token is of one use: the tenant's other methods at the gateway have others.
 *
 * Sealed values cannot be compared, so each is opened; a tenant has few.
 */
static void
check_token_unused(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT m.token FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.gateway = $2 AND m.token IS NOT NULL"
		" AND m.status IN ('pending', 'active', 'expired')",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {given[TENANT_ID].value, given[GATEWAY].value};
	uint64		count;
	bool		is_same = false;

	if (given[TOKEN].isnull)
		return;
	count = billing_spi_run(&query, args, NULL);
	for (uint64 i = 0; i < count && !is_same; i++)
	{
		bool		isnull;
		char	   *token = billing_sealed_open(flow->tenant_id, "token", DatumGetBillingSealedP(billing_spi_value(i, 1, &isnull)));

		CHECK_FOR_INTERRUPTS();
		is_same = billing_text_equals(DatumGetTextPP(given[TOKEN].value), token);
		billing_sealed_forget(token);
	}
	if (is_same)
		report_token("was used before", "reason=used");
}

/* What the tenant is at the gateway; a method of another customer could not be charged with the rest. */
static void
keep_customer(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway_customer AS c (tenant_id, gateway, customer_id) VALUES ($1, $2, $3)"
		" ON CONFLICT (tenant_id, gateway) DO UPDATE SET customer_id = c.customer_id RETURNING c.customer_id = $3",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {given[TENANT_ID].value, given[GATEWAY].value, given[CUSTOMER_ID].value};
	bool		isnull;

	if (given[CUSTOMER_ID].isnull)
		return;
	(void) billing_spi_run(&query, args, NULL);
	if (!DatumGetBool(billing_spi_value(0, 1, &isnull)))
		report_argument("customer_id", "is not what the tenant is at the gateway",
						"billing.gateway_customer has its id there; leave the argument out to use that.");
}

static int64
insert_method(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.payment_method AS m (tenant_id, gateway, type, token, becomes_default, brand, last4, exp_month, exp_year,"
		"   billing_email, billing_address, customer_id, metadata)"
		" VALUES ($1, $2, $3, $4::billing.sealed, coalesce($5, false), $6, $7::billing.sealed, $8, $9, $10, $11,"
		"   coalesce($12, (SELECT c.customer_id FROM billing.gateway_customer c WHERE c.tenant_id = $1 AND c.gateway = $2)), $13)"
		" RETURNING m.payment_method_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 13,
		.argtypes = {
			INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID, JSONBOID, TEXTOID, JSONBOID
		},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[REQUEST_ID];
	char		nulls[REQUEST_ID + 1] = {0};
	bool		isnull;

	for (int i = 0; i < REQUEST_ID; i++)
	{
		args[i] = given[i].value;
		nulls[i] = given[i].isnull ? 'n' : ' ';
	}
	if (!given[TOKEN].isnull)
		args[TOKEN] = seal(flow, TOKEN, "token");
	if (!given[LAST4].isnull)
		args[LAST4] = seal(flow, LAST4, "last4");
	(void) billing_spi_run(&query, args, nulls);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static Datum
seal(const BillingFlow *flow, int arg, const char *purpose)
{
	text	   *value = DatumGetTextPP(flow->fcinfo->args[arg].value);

	return CStringGetTextDatum(billing_sealed_text(billing_sealed_make(flow->tenant_id, purpose, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value))));
}

/* What was answered at once, and is not good, was never added. */
static void
check_accepted(const BillingFlow *flow, int64 payment_method_id)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(m.failure_code, 'refused') FROM billing.payment_method m"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2 AND m.status = 'failed'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) > 0)
		report_token("was refused by the gateway", psprintf("reason=refused code=%s", TextDatumGetCString(billing_spi_value(0, 1, &isnull))));
}

/*
 * billing_remove_payment_method
 *		Take a method away, if whatever is paid by it is paid by another one from then on.
 */
Datum
billing_remove_payment_method(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPaymentMethod method;
	Datum		result;
	int64		payment_method_id;
	bool		is_asked;
	bool		is_verified;

	billing_flow_require(fcinfo, OTHER_ID, "payment_method_id");
	if (billing_flow_begin(&flow, fcinfo, "remove_payment_method", OTHER_REQUEST_ID, &result))
		return result;
	payment_method_id = PG_GETARG_INT64(OTHER_ID);
	(void) billing_payment_method_expire(billing_id_array_of(flow.tenant_id));
	billing_payment_method_read(&flow, payment_method_id, &method);
	if (strcmp(method.status, "removed") == 0)
		return billing_flow_end(&flow, method.row);
	if (is_in_use(&flow, &method) && !has_other(&flow, payment_method_id))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_PAYMENT_METHOD_IN_USE),
				 errmsg("payment method %lld of tenant %lld is in use", (long long) payment_method_id, (long long) flow.tenant_id),
				 errdetail("object=payment_method id=%lld is_default=%s", (long long) payment_method_id, method.is_default ? "true" : "false"),
				 errhint("Add another one first, which takes its place once its gateway has verified it.")));

	billing_gateway_forget(flow.tenant_id, payment_method_id, 1 << BILLING_GATEWAY_ADD_METHOD);
	is_asked = method.has_token && is_known_there(&flow, &method);
	is_verified = billing_gateway_busy_until(flow.tenant_id, payment_method_id, BILLING_GATEWAY_ADD_METHOD) != 0;
	mark_removed(&flow, payment_method_id, is_asked || is_verified);
	billing_event_emit(flow.tenant_id, "payment_method.removed", payment_method_id);
	billing_payment_method_settle_default(billing_id_array_of(flow.tenant_id), "removed");
	move_subscriptions(&flow, payment_method_id);
	if (is_asked)
		(void) billing_gateway_ask(flow.tenant_id, method.gateway, BILLING_GATEWAY_REMOVE_METHOD, payment_method_id, 0);

	result = billing_payment_method_show(&flow, payment_method_id);
	billing_flow_audit(&flow, "payment_method", payment_method_id, method.row, result);
	return billing_flow_end(&flow, result);
}

/* A tenant that is closed pays for nothing any more. */
static bool
is_in_use(const BillingFlow *flow, const BillingPaymentMethod *method)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 AND t.status <> 'closed' AND ($3 OR EXISTS (SELECT FROM billing.subscription s"
		"   WHERE s.tenant_id = t.tenant_id AND s.payment_method_id = $2 AND s.ended_at IS NULL))",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, BOOLOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(method->payment_method_id), BoolGetDatum(method->is_default)};

	return billing_spi_run(&query, args, NULL) > 0;
}

static bool
has_other(const BillingFlow *flow, int64 payment_method_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.payment_method_id <> $2 AND m.status = 'active' LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * is_known_there
 *		Has the gateway something to forget for this tenant?
 *
 * Not what it never said to be the tenant's: whoever knows another's token would take that one's method away.  Nor what another row of
 * the tenant's is there, as of a card that failed and was added again.
 */
static bool
is_known_there(const BillingFlow *flow, const BillingPaymentMethod *method)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.payment_method_id = $2"
		" AND (m.status IN ('active', 'expired') OR m.verified_at IS NOT NULL OR m.external_id IS NOT NULL)"
		" AND NOT EXISTS (SELECT FROM billing.payment_method o WHERE o.tenant_id = m.tenant_id AND o.gateway = m.gateway"
		"   AND o.external_id = m.external_id AND o.status IN ('pending', 'active', 'expired') AND o.payment_method_id <> m.payment_method_id)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(method->payment_method_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

static void
mark_removed(const BillingFlow *flow, int64 payment_method_id, bool keeps_token)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET status = 'removed', is_default = false, default_at = NULL, becomes_default = false,"
		"  token = CASE WHEN $3 THEN m.token END, action_url = NULL, ended_at = billing.now(), version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, BOOLOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id), BoolGetDatum(keeps_token)};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * move_subscriptions
 *		Let subscriptions that were paid by a method that was removed be paid by the default.
 *
 * What they were billed, and when, is not touched by it: it is no segment of their history.
 */
static void
move_subscriptions(const BillingFlow *flow, int64 payment_method_id)
{
	static BillingQuery query = {
		.sql = "WITH moved AS (UPDATE billing.subscription s SET version = s.version + 1,"
		"    payment_method_id = (SELECT d.payment_method_id FROM billing.payment_method d WHERE d.tenant_id = $1 AND d.is_default)"
		"   WHERE s.tenant_id = $1 AND s.payment_method_id = $2 AND s.ended_at IS NULL RETURNING s.tenant_id, s.subscription_id, s.payment_method_id"
		" ), kept AS (INSERT INTO billing.payment_method_change (tenant_id, subscription_id, from_id, to_id, reason, actor)"
		"   SELECT m.tenant_id, m.subscription_id, $2, m.payment_method_id, 'removed', $3 FROM moved m"
		" ) SELECT array_agg(m.tenant_id ORDER BY m.subscription_id), array_agg(m.subscription_id ORDER BY m.subscription_id)"
		"   FROM moved m HAVING count(*) > 0",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id), CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false))
	};
	Datum		tenant_ids;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	tenant_ids = billing_spi_copy(0, 1, context);
	billing_event_emit_all("subscription.updated", tenant_ids, billing_spi_copy(0, 2, context));
}

/*
 * billing_set_default_payment_method
 *		Let an active method be what new subscriptions use, and what is unpaid is collected with.
 */
Datum
billing_set_default_payment_method(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPaymentMethod method;
	Datum		result;
	int64		payment_method_id;

	billing_flow_require(fcinfo, OTHER_ID, "payment_method_id");
	if (billing_flow_begin(&flow, fcinfo, "set_default_payment_method", OTHER_REQUEST_ID, &result))
		return result;
	payment_method_id = PG_GETARG_INT64(OTHER_ID);
	billing_payment_method_check_usable(&flow, payment_method_id);
	billing_payment_method_read(&flow, payment_method_id, &method);
	if (method.is_default)
		return billing_flow_end(&flow, method.row);

	billing_payment_method_make_default(flow.tenant_id, payment_method_id, "chosen");
	result = billing_payment_method_show(&flow, payment_method_id);
	billing_flow_audit(&flow, "payment_method", payment_method_id, method.row, result);
	return billing_flow_end(&flow, result);
}

/*
 * billing_update_payment_method
 *		Change what the payer says of himself; the rest is the gateway's to say.
 */
Datum
billing_update_payment_method(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPaymentMethod method;
	Datum		result;
	int64		payment_method_id;

	billing_flow_require(fcinfo, OTHER_ID, "payment_method_id");
	billing_flow_require(fcinfo, UPDATE_CHANGES, "changes");
	check_changes(PG_GETARG_JSONB_P(UPDATE_CHANGES));
	if (billing_flow_begin(&flow, fcinfo, "update_payment_method", UPDATE_REQUEST_ID, &result))
		return result;
	payment_method_id = PG_GETARG_INT64(OTHER_ID);
	billing_payment_method_read(&flow, payment_method_id, &method);
	if (!PG_ARGISNULL(UPDATE_VERSION) && PG_GETARG_INT32(UPDATE_VERSION) != method.version)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_STALE_VERSION),
				 errmsg("payment method %lld of tenant %lld has another version", (long long) payment_method_id, (long long) flow.tenant_id),
				 errdetail("object=payment_method id=%lld version=%d stated=%d", (long long) payment_method_id, method.version,
						   PG_GETARG_INT32(UPDATE_VERSION)),
				 errhint("Read it again, and decide again.")));
	if (strcmp(method.status, "removed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("payment method %lld of tenant %lld was removed", (long long) payment_method_id, (long long) flow.tenant_id),
				 errdetail("object=payment_method id=%lld status=removed", (long long) payment_method_id),
				 errhint("Add it again, with a token of its own.")));
	if (!change_method(&flow, payment_method_id, PG_GETARG_DATUM(UPDATE_CHANGES)))
		return billing_flow_end(&flow, method.row);

	result = billing_payment_method_show(&flow, payment_method_id);
	billing_event_emit(flow.tenant_id, "payment_method.updated", payment_method_id);
	billing_flow_audit(&flow, "payment_method", payment_method_id, method.row, result);
	return billing_flow_end(&flow, result);
}

/* Refuse what is not an object of known keys, so that a misspelled one is found. */
static void
check_changes(Jsonb *changes)
{
	JsonbIterator *it = JsonbIteratorInit(&changes->root);
	JsonbValue	value;

	if (JsonbIteratorNext(&it, &value, true) != WJB_BEGIN_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes are not an object"),
				 errdetail("argument=changes"),
				 errhint("Pass an object such as {\"billing_email\": \"pay@example.com\"}.")));
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		char	   *key = pnstrdup(value.val.string.val, value.val.string.len);

		(void) JsonbIteratorNext(&it, &value, true);
		if (!is_change(key, &value))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%.*s\" is not a change that a payment method takes", BILLING_QUOTED(key, strlen(key))),
					 errdetail("argument=changes key=%.*s", BILLING_QUOTED(key, strlen(key))),
					 errhint("What can be changed: billing_email (a string or null), billing_address (an object or null), metadata (an object).")));
	}
}

static bool
is_change(const char *key, const JsonbValue *value)
{
	bool		is_object = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);

	return (strcmp(key, "billing_email") == 0 && (value->type == jbvString || value->type == jbvNull)) ||
		(strcmp(key, "billing_address") == 0 && (is_object || value->type == jbvNull)) ||
		(strcmp(key, "metadata") == 0 && is_object);
}

/* False: it was so. */
static bool
change_method(const BillingFlow *flow, int64 payment_method_id, Datum changes)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET billing_email = n.billing_email, billing_address = n.billing_address, metadata = n.metadata,"
		"  version = m.version + 1"
		"  FROM (SELECT CASE WHEN $3 ? 'billing_email' THEN $3 ->> 'billing_email' ELSE o.billing_email END AS billing_email,"
		"      CASE WHEN $3 ? 'billing_address' THEN nullif($3 -> 'billing_address', 'null') ELSE o.billing_address END AS billing_address,"
		"      coalesce($3 -> 'metadata', o.metadata) AS metadata"
		"    FROM billing.payment_method o WHERE o.tenant_id = $1 AND o.payment_method_id = $2) n"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2"
		"   AND (m.billing_email, m.billing_address, m.metadata) IS DISTINCT FROM (n.billing_email, n.billing_address, n.metadata)",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, JSONBOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id), changes};

	return billing_spi_run(&query, args, NULL) > 0;
}
