/*-------------------------------------------------------------------------
 *
 * gateway_account.c
 *	  The company's accounts at gateways: rows of billing.gateway, opened.
 *
 * What a driver needs is judged where it is written: so a row that is there can be used.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>

#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "amount.h"
#include "currency.h"
#include "encoding.h"
#include "flow.h"
#include "gateway_account.h"
#include "guc.h"
#include "http.h"
#include "sealed.h"

BILLING_FUNCTION(billing_is_gateway_driver);
BILLING_FUNCTION(billing_require_gateway);
BILLING_FUNCTION(billing_create_gateway);
BILLING_FUNCTION(billing_update_gateway);

#define TABLE "gateway"
#define PURPOSE "gateway_credentials"

/* The arguments of create_gateway. */
enum
{
	CODE, DRIVER, SETTINGS, CREDENTIALS, BASE_URL, NOTIFY_URL, EXPONENTS, REQUEST_ID
};

static const char *const members[] = {"settings", "credentials", "base_url", "notify_url", "exponents", "is_enabled"};

static void check_url(const char *name, const char *url);
static Datum seal(Jsonb *credentials);
static Jsonb *open_credentials(const BillingSealed *sealed);
static const char *find_unknown(const char *what, const BillingPairs *pairs, const char *const *names);
static void check_account(const char *code);
static void check_changes(Jsonb *changes);
static void check_object(const char *name, Jsonb *changes, bool is_nullable);
pg_noreturn static void refuse_member(const char *name, const char *problem);
static Jsonb *merge(Jsonb *there, const char *name, Jsonb *changes);
pg_noreturn static void report_missing(const char *code);
static void check_driver(const char *driver);
static int	exponent_of(const BillingGatewayAccount *account, const char *currency);

Datum
billing_is_gateway_driver(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(billing_gateway_find(text_to_cstring(PG_GETARG_TEXT_PP(0))) != NULL);
}

/*
 * billing_create_gateway
 *		Add an account at a gateway.
 */
Datum
billing_create_gateway(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway AS g (code, driver, settings, credentials, base_url, notify_url, exponents)"
		" VALUES ($1, $2, $3, $4::billing.sealed, $5, $6, $7) RETURNING g",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 7,
		.argtypes = {TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	};
	static const char *const names[] = {"code", "driver", "settings", "credentials"};
	BillingFlow flow;
	Datum		args[7];
	char		nulls[] = "       ";
	Datum		result;

	for (int i = 0; i < lengthof(names); i++)
		billing_flow_require(fcinfo, i, names[i]);
	billing_flow_require(fcinfo, EXPONENTS, "exponents");
	if (billing_flow_begin_global(&flow, fcinfo, "create_gateway", REQUEST_ID, TABLE, &result))
		return result;

	for (int i = CODE; i <= EXPONENTS; i++)
	{
		args[i] = fcinfo->args[i].value;
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	billing_gateway_check_name("code", text_to_cstring(PG_GETARG_TEXT_PP(CODE)));
	check_driver(text_to_cstring(PG_GETARG_TEXT_PP(DRIVER)));
	if (!PG_ARGISNULL(BASE_URL))
		check_url("base_url", text_to_cstring(PG_GETARG_TEXT_PP(BASE_URL)));
	if (!PG_ARGISNULL(NOTIFY_URL))
		check_url("notify_url", text_to_cstring(PG_GETARG_TEXT_PP(NOTIFY_URL)));
	args[CREDENTIALS] = seal(PG_GETARG_JSONB_P(CREDENTIALS));
	nulls[CREDENTIALS] = args[CREDENTIALS] == (Datum) 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	result = billing_spi_copy(0, 1, flow.caller);
	check_account(text_to_cstring(PG_GETARG_TEXT_PP(CODE)));
	billing_flow_audit(&flow, TABLE, 0, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

void
billing_gateway_check_name(const char *argument, const char *name)
{
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name) || !islower((unsigned char) name[0]) ||
		strlen(name) > 63 || strcmp(name, "any") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%.*s\" is not the name of a gateway", BILLING_QUOTED(name, strlen(name))),
				 errdetail("argument=%s bytes=%zu", argument, strlen(name)),
				 errhint("Give it a name of at most 63 lower-case letters, digits and underscores, such as stripe.")));
}

/* Where it is not a public one, it is one that a superuser has allowed. */
static void
check_url(const char *name, const char *url)
{
	bool		is_base = strcmp(name, "base_url") == 0;
	const char *problem = is_base ? billing_http_check_url(url, billing_webhook_allow_private) : NULL;

	if (problem == NULL && strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		problem = "It begins with neither https:// nor http://.";
	if (problem == NULL && is_base && strncmp(url, "http://", 7) == 0 && !billing_webhook_allow_private)
		problem = "It is not https: whoever stands between would read the credentials.";
	if (problem == NULL && (strpbrk(url, "?#") != NULL || (is_base && url[strlen(url) - 1] == '/')))
		problem = is_base ? "It has a slash at its end, a query or a fragment." : "It has a query or a fragment.";
	if (problem == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(is_base ? "%s is not the address of a gateway" : "%s is no address that callbacks can go to", name),
			 errdetail("argument=%s: %s", name, problem),
			 is_base ? errhint("Give it an address such as https://api.example.com, or NULL for that of the gateway itself; one that is not public or not https needs billing.webhook_allow_private.") :
			 errhint("Give it an address such as https://example.com/callbacks/stripe, or NULL for what the gateway's console says.")));
}

/* As text, which SQL reads as a sealed value; (Datum) 0: there are none. */
static Datum
seal(Jsonb *credentials)
{
	BillingPairs pairs = billing_gateway_account_pairs(credentials);
	char	   *text;
	BillingSealed *sealed;

	if (!JB_ROOT_IS_OBJECT(credentials))
		refuse_member("credentials", "is no object");
	for (int i = 0; i < pairs.count; i++)
	{
		if (pairs.pairs[i].value == NULL)
			refuse_member("credentials", "has a member that is no string");
	}
	if (pairs.count == 0)
		return (Datum) 0;
	text = JsonbToCString(NULL, &credentials->root, VARSIZE(credentials));
	sealed = billing_sealed_make(0, PURPOSE, text, strlen(text));
	billing_sealed_forget(text);
	return CStringGetTextDatum(billing_sealed_text(sealed));
}

static Jsonb *
open_credentials(const BillingSealed *sealed)
{
	char	   *text = billing_sealed_open(0, PURPOSE, sealed);
	Jsonb	   *credentials = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));

	billing_sealed_forget(text);
	return credentials;
}

/* A misspelt one would do nothing, and nobody would see that: NULL, or what is wrong, as key=value. */
static const char *
find_unknown(const char *what, const BillingPairs *pairs, const char *const *names)
{
	StringInfoData known;

	for (int i = 0; i < pairs->count; i++)
	{
		int			n = 0;

		while (names[n] != NULL && strcmp(names[n], pairs->pairs[i].name) != 0)
			n++;
		if (names[n] != NULL)
			continue;
		initStringInfo(&known);
		for (n = 0; names[n] != NULL; n++)
			appendStringInfo(&known, "%s%s", n == 0 ? "" : ",", names[n]);
		return psprintf("%s=%.*s allowed=%s", what, BILLING_QUOTED(pairs->pairs[i].name, strlen(pairs->pairs[i].name)), known.data);
	}
	return NULL;
}

/* 22023 unless the driver finds all it needs, and nothing else. */
static void
check_account(const char *code)
{
	BillingGatewayAccount *account = billing_gateway_account_open(code);
	const char *problem = find_unknown("setting", &account->config.settings, account->driver->settings);

	if (problem == NULL)
		problem = find_unknown("credential", &account->config.credentials, account->driver->credentials);
	if (problem == NULL)
		problem = account->driver->check(&account->config);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gateway \"%s\" cannot be used like this", code),
				 errdetail("gateway=%s driver=%s %s", code, account->driver->name, problem),
				 errhint("doc/gateway_%s.md says which settings and credentials it needs.", account->driver->name)));
}

/*
 * billing_update_gateway
 *		Change an account; of settings and credentials one member or more.
 */
Datum
billing_update_gateway(PG_FUNCTION_ARGS)
{
	static BillingQuery find = {
		.sql = "SELECT g.settings, g.credentials FROM billing.gateway g WHERE g.code = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway g SET settings = $3, credentials = CASE WHEN c ? 'credentials' THEN $4::billing.sealed ELSE g.credentials END,"
		" base_url = CASE WHEN c ? 'base_url' THEN c ->> 'base_url' ELSE g.base_url END,"
		" notify_url = CASE WHEN c ? 'notify_url' THEN c ->> 'notify_url' ELSE g.notify_url END,"
		" exponents = CASE WHEN c ? 'exponents' THEN c -> 'exponents' ELSE g.exponents END,"
		" is_enabled = CASE WHEN c ? 'is_enabled' THEN (c ->> 'is_enabled')::boolean ELSE g.is_enabled END"
		" FROM (SELECT $2) x (c) WHERE g.code = $1 RETURNING g",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {TEXTOID, JSONBOID, JSONBOID, TEXTOID},
	};
	BillingFlow flow;
	Jsonb	   *changes;
	char	   *code;
	Datum		args[4];
	Datum		sealed;
	Datum		result;
	bool		isnull;

	billing_flow_require(fcinfo, 0, "code");
	billing_flow_require(fcinfo, 1, "changes");
	changes = PG_GETARG_JSONB_P(1);
	code = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_changes(changes);
	(void) billing_flow_begin_global(&flow, fcinfo, "update_gateway", BILLING_NO_REQUEST, TABLE, &result);
	args[0] = PG_GETARG_DATUM(0);
	args[1] = JsonbPGetDatum(changes);
	if (billing_spi_run(&find, args, NULL) == 0)
		report_missing(code);

	args[2] = JsonbPGetDatum(merge(DatumGetJsonbP(billing_spi_value(0, 1, &isnull)), "settings", changes));
	sealed = billing_spi_value(0, 2, &isnull);
	if (getKeyJsonValueFromContainer(&changes->root, "credentials", 11, NULL) != NULL)
		args[3] = seal(merge(isnull ? NULL : open_credentials(DatumGetBillingSealedP(sealed)), "credentials", changes));
	else
		args[3] = (Datum) 0;
	(void) billing_spi_run(&query, args, args[3] == (Datum) 0 ? "   n" : NULL);
	result = billing_spi_copy(0, 1, flow.caller);
	check_account(code);
	return billing_flow_end(&flow, result);
}

/* Only members that there are, of the type that they have. */
static void
check_changes(Jsonb *changes)
{
	JsonbIterator *it = JsonbIteratorInit(&changes->root);
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(changes))
		refuse_member("changes", "is no object");
	(void) JsonbIteratorNext(&it, &name, true);
	while ((token = JsonbIteratorNext(&it, &name, true)) == WJB_KEY)
	{
		char	   *key = pnstrdup(name.val.string.val, name.val.string.len);
		bool		is_known = false;

		(void) JsonbIteratorNext(&it, &value, true);
		for (int i = 0; i < lengthof(members); i++)
			is_known |= strcmp(members[i], key) == 0;
		if (!is_known)
			refuse_member(key, "is none of its members");
		if (strcmp(key, "is_enabled") == 0 && value.type != jbvBool)
			refuse_member(key, "is no boolean");
		if (strstr(key, "_url") != NULL && value.type != jbvString && value.type != jbvNull)
			refuse_member(key, "is no string");
		if (strstr(key, "_url") != NULL && value.type == jbvString)
			check_url(key, pnstrdup(value.val.string.val, value.val.string.len));
	}
	check_object("settings", changes, true);
	check_object("credentials", changes, true);
	check_object("exponents", changes, false);
}

/* An object of strings, where null takes one away; of exponents the table judges. */
static void
check_object(const char *name, Jsonb *changes, bool is_nullable)
{
	JsonbValue *object = getKeyJsonValueFromContainer(&changes->root, name, strlen(name), NULL);
	JsonbIterator *it;
	JsonbValue	value;

	if (object == NULL)
		return;
	if (object->type != jbvBinary || !JsonContainerIsObject(object->val.binary.data))
		refuse_member(name, "is no object");
	if (!is_nullable)
		return;
	it = JsonbIteratorInit(object->val.binary.data);
	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type != jbvString && value.type != jbvNull)
			refuse_member(name, "has a member that is neither a string nor null");
	}
}

/* What it is goes into no message: it may be a secret in the wrong place. */
static void
refuse_member(const char *name, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%.*s\" of a gateway %s", BILLING_QUOTED(name, strlen(name)), problem),
			 errdetail("member=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Members are: settings and credentials (objects of strings), base_url, notify_url, exponents, is_enabled.")));
}

/* What there is with what is changed of it; a null takes a member away. */
static Jsonb *
merge(Jsonb *there, const char *name, Jsonb *changes)
{
	JsonbValue *object = getKeyJsonValueFromContainer(&changes->root, name, strlen(name), NULL);
	Datum		merged;

	if (there == NULL)
		there = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	if (object == NULL)
		return there;
	merged = DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(there), JsonbPGetDatum(JsonbValueToJsonb(object)));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_strip_nulls, merged));
}

void
billing_gateway_account_require(const char *code)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway g WHERE g.code = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(code)};

	if (billing_spi_run(&query, args, NULL) == 0)
		report_missing(code);
}

/*
 * billing_require_gateway
 *		The same for SQL: what is asked of a gateway that is misspelt has not been found to be nothing.
 */
Datum
billing_require_gateway(PG_FUNCTION_ARGS)
{
	billing_flow_require(fcinfo, 0, "gateway");
	billing_spi_begin();
	billing_gateway_account_require(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	billing_spi_end();
	PG_RETURN_VOID();
}

static void
report_missing(const char *code)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("gateway \"%.*s\" does not exist", BILLING_QUOTED(code, strlen(code))),
			 errdetail("object=gateway code=%.*s", BILLING_QUOTED(code, strlen(code))),
			 errhint("Read those there are from billing.gateway; billing.create_gateway() adds one.")));
}

static void
check_driver(const char *driver)
{
	if (billing_gateway_find(driver) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gateway driver \"%.*s\" does not exist", BILLING_QUOTED(driver, strlen(driver))),
				 errdetail("argument=driver"),
				 errhint("Drivers are: stripe, alipay, wechat, paypal, manual.")));
}

BillingGatewayAccount *
billing_gateway_account_open(const char *code)
{
	static BillingQuery query = {
		.sql = "SELECT g.driver, g.base_url, g.notify_url, g.settings, g.credentials, g.exponents, g.is_enabled,"
		" (SELECT jsonb_object_agg(c.name, c.pem) FROM billing.gateway_certificate c WHERE c.gateway = g.code AND c.pem IS NOT NULL)"
		"  FROM billing.gateway g WHERE g.code = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	BillingGatewayAccount *account = palloc0(sizeof(BillingGatewayAccount));
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {CStringGetTextDatum(code)};
	Datum		value;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		report_missing(code);
	MemoryContextSwitchTo(context);
	account->driver = billing_gateway_find(TextDatumGetCString(billing_spi_value(0, 1, &isnull)));
	account->config.code = pstrdup(code);
	value = billing_spi_value(0, 2, &isnull);
	account->config.base_url = isnull ? account->driver->base_url : TextDatumGetCString(value);
	value = billing_spi_value(0, 3, &isnull);
	account->config.notify_url = isnull ? NULL : TextDatumGetCString(value);
	account->config.settings = billing_gateway_account_pairs(DatumGetJsonbP(billing_spi_copy(0, 4, context)));
	value = billing_spi_value(0, 5, &isnull);
	if (!isnull)
		account->config.credentials = billing_gateway_account_pairs(open_credentials(DatumGetBillingSealedP(value)));
	account->exponents = DatumGetJsonbP(billing_spi_copy(0, 6, context));
	account->is_enabled = DatumGetBool(billing_spi_value(0, 7, &isnull));
	value = billing_spi_value(0, 8, &isnull);
	if (!isnull)
		account->config.certificates = billing_gateway_account_pairs(DatumGetJsonbP(billing_spi_copy(0, 8, context)));
	return account;
}

/* A member that is no string has the value NULL. */
BillingPairs
billing_gateway_account_pairs(Jsonb *object)
{
	BillingPairs pairs = {0};
	JsonbIterator *it;
	JsonbValue	value;

	if (object == NULL || JB_ROOT_COUNT(object) == 0)
		return pairs;
	pairs.pairs = palloc0(JB_ROOT_COUNT(object) * sizeof(BillingPair));
	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		BillingPair *pair = &pairs.pairs[pairs.count++];

		pair->name = billing_encoding_to_utf8(pnstrdup(value.val.string.val, value.val.string.len));
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type == jbvString)
			pair->value = billing_encoding_to_utf8(pnstrdup(value.val.string.val, value.val.string.len));
	}
	return pairs;
}

/* The row knows best, then the driver, then ISO 4217; -2: the gateway does not take it. */
static int
exponent_of(const BillingGatewayAccount *account, const char *currency)
{
	JsonbValue *stated = getKeyJsonValueFromContainer(&account->exponents->root, currency, strlen(currency), NULL);
	const BillingCurrency *iso = billing_currency_find(currency, strlen(currency));
	int			exponent;

	if (iso == NULL)
		return -2;
	if (stated != NULL)
		return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(stated->val.numeric)));
	exponent = account->driver->exponent(currency);
	return exponent == -1 ? iso->exponent : exponent;
}

const char *
billing_gateway_account_units(const BillingGatewayAccount *account, const BillingAmount *amount, int64 *units, int *exponent)
{
	const BillingCurrency *iso = billing_currency_find(amount->currency, BILLING_CURRENCY_LEN);
	int			from = iso->exponent;

	*units = amount->units;
	*exponent = exponent_of(account, iso->code);
	if (*exponent < 0)
		return psprintf("currency=%s", iso->code);
	for (; from < *exponent; from++)
	{
		if (pg_mul_s64_overflow(*units, 10, units))
			return psprintf("currency=%s decimals=%d: too much", iso->code, *exponent);
	}
	for (; from > *exponent; from--)
	{
		if (*units % 10 != 0)
			return psprintf("currency=%s decimals=%d: the amount has more", iso->code, *exponent);
		*units /= 10;
	}
	return NULL;
}

bool
billing_gateway_account_amount(const BillingGatewayAccount *account, int64 units, const char *currency, BillingAmount *amount)
{
	const BillingCurrency *iso = currency == NULL ? NULL : billing_currency_find(currency, strlen(currency));
	int			to;

	to = iso == NULL ? -2 : exponent_of(account, iso->code);
	if (to < 0)
		return false;
	for (; to < iso->exponent; to++)
	{
		if (pg_mul_s64_overflow(units, 10, &units))
			return false;
	}
	for (; to > iso->exponent; to--)
	{
		if (units % 10 != 0)
			return false;
		units /= 10;
	}
	memset(amount, 0, sizeof(BillingAmount));
	amount->units = units;
	memcpy(amount->currency, iso->code, BILLING_CURRENCY_LEN);
	return true;
}
