/*-------------------------------------------------------------------------
 *
 * tenant.c
 *	  The billed party: create, update and close it.
 *
 * A tenant's id is its natural key.  Each tenant has one request row of
 * create_tenant, under the request_id given or else its own id: it says with which
 * arguments the tenant was created, and so whether a second call is a retry.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "amount.h"
#include "dunning.h"
#include "entitlement.h"
#include "event.h"
#include "flow.h"

BILLING_FUNCTION(billing_create_tenant);
BILLING_FUNCTION(billing_update_tenant);
BILLING_FUNCTION(billing_close_tenant);

/* The arguments of create_tenant and update_tenant. */
enum
{
	CREATE_TENANT_ID, CREATE_NAME, CREATE_CURRENCY, CREATE_TIMEZONE, CREATE_EMAIL, CREATE_DETAILS,
	CREATE_REQUEST_ID, CREATE_NARGS
};
enum
{
	UPDATE_TENANT_ID, UPDATE_CHANGES, UPDATE_VERSION, UPDATE_REQUEST_ID
};

/* A member of update_tenant's changes. */
typedef struct TenantColumn
{
	const char *name;
	bool		is_required;	/* null does not remove it */
	bool		is_object;		/* its members are merged into what there is */
} TenantColumn;

static const TenantColumn tenant_columns[] = {
	{"name", true, false},
	{"currency", true, false},
	{"timezone", true, false},
	{"email", false, false},
	{"billing_name", false, false},
	{"address", false, false},
	{"tax_id", false, false},
	{"tax_rate", false, false},
	{"tax_exemption", false, false},
	{"locale", true, false},
	{"details", true, true},
	{"settings", true, true},
};

static void check_new_tenant(FunctionCallInfo fcinfo);
static bool insert_tenant(FunctionCallInfo fcinfo, BillingFlow *flow, Datum *row);
static bool is_there(int64 tenant_id);
static Datum find_created_tenant(BillingFlow *flow);
static void report_tenant_exists(const BillingFlow *flow);
static void insert_counter(int64 tenant_id);
static void check_object(Jsonb *value, const char *argument);
static void check_references(Jsonb *object);
static void check_tax_rate(const JsonbValue *code);
static void check_dunning_policy(const JsonbValue *settings);
static bool is_named(BillingQuery *query, const JsonbValue *code);
static void check_country(Jsonb *object);
static void check_changes(Jsonb *changes);
static const TenantColumn *find_column(const JsonbValue *name);
static void report_bad_change(const char *name, const char *problem);
static Datum read_tenant(const BillingFlow *flow, int32 *version, bool *is_closed, char **currency);
static void check_version(const BillingFlow *flow, int32 stated, int32 actual);
static void check_currency_change(const BillingFlow *flow, Jsonb *changes, const char *currency);
static bool has_invoices(int64 tenant_id);
static Datum change_tenant(const BillingFlow *flow, Jsonb *changes);
static void check_nothing_open(const BillingFlow *flow);
static Datum set_closed(const BillingFlow *flow);

/*
 * billing_create_tenant
 *		Add a tenant, with the counter of its invoices.
 */
Datum
billing_create_tenant(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;

	billing_flow_require(fcinfo, CREATE_TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, CREATE_NAME, "name");
	check_new_tenant(fcinfo);
	billing_flow_open(&flow, fcinfo, "create_tenant", CREATE_REQUEST_ID);

	if (flow.request_id != NULL && billing_flow_find_request(&flow, &result))
	{
		billing_spi_end();
		return result;
	}
	if (!insert_tenant(fcinfo, &flow, &result))
	{
		result = find_created_tenant(&flow);
		billing_spi_end();
		return result;
	}

	insert_counter(flow.tenant_id);
	billing_flow_audit(&flow, "tenant", flow.tenant_id, (Datum) 0, result);
	billing_event_emit(flow.tenant_id, "tenant.created", flow.tenant_id);
	if (flow.request_id == NULL)
		flow.request_id = cstring_to_text(psprintf("%lld", (long long) flow.tenant_id));
	return billing_flow_end(&flow, result);
}

static void
check_new_tenant(FunctionCallInfo fcinfo)
{
	int64		tenant_id = PG_GETARG_INT64(CREATE_TENANT_ID);

	if (tenant_id <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tenant id %lld is not positive", (long long) tenant_id),
				 errdetail("tenant_id=%lld", (long long) tenant_id),
				 errhint("0 stands for the global tables in audit_log; give a greater number.")));
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(CREATE_NAME)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of tenant %lld is empty", (long long) tenant_id),
				 errdetail("tenant_id=%lld", (long long) tenant_id),
				 errhint("Give the name that people know the tenant by.")));
	if (!PG_ARGISNULL(CREATE_DETAILS))
	{
		check_object(PG_GETARG_JSONB_P(CREATE_DETAILS), "details");
		check_country(PG_GETARG_JSONB_P(CREATE_DETAILS));
	}
}

/*
 * insert_tenant
 *		Insert the row, unless there is one; waits for whoever is inserting it.
 */
static bool
insert_tenant(FunctionCallInfo fcinfo, BillingFlow *flow, Datum *row)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.tenant AS t (tenant_id, name, currency, timezone, email, "
		"billing_name, address, tax_id, tax_rate, tax_exemption, locale, settings, details) "
		"SELECT $1, $2, billing.currency(billing.from_minor_units(0, coalesce($3, billing.effective_setting('currency')))), "
		"coalesce($4, 'UTC'), $5, d ->> 'billing_name', nullif(d -> 'address', 'null'), d ->> 'tax_id', d ->> 'tax_rate', d ->> 'tax_exemption', "
		"coalesce(d ->> 'locale', 'en'), coalesce(nullif(d -> 'settings', 'null'), '{}'), "
		"d - '{billing_name,address,tax_id,tax_rate,tax_exemption,locale,settings}'::pg_catalog.text[] "
		"FROM (SELECT coalesce($6, '{}')) AS c (d) "
		"ON CONFLICT (tenant_id) DO NOTHING RETURNING t",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 6,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	};
	Datum		args[CREATE_REQUEST_ID];
	char		nulls[CREATE_NARGS] = {0};

	for (int i = 0; i < CREATE_REQUEST_ID; i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (is_there(flow->tenant_id))
		return false;
	if (!PG_ARGISNULL(CREATE_DETAILS))
		check_references(PG_GETARG_JSONB_P(CREATE_DETAILS));

	if (billing_spi_run(&query, args, nulls) == 0)
		return false;
	*row = billing_spi_copy(0, 1, flow->caller);
	return true;
}

/* A retry is no matter of rates and settings that were changed since. */
static bool
is_there(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * find_created_tenant
 *		The tenant there is, if this call created it once before.
 */
static Datum
find_created_tenant(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT t FROM billing.tenant t JOIN billing.request r USING (tenant_id) "
		"WHERE t.tenant_id = $1 AND r.function = 'create_tenant' AND r.arguments = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, BYTEAOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), PointerGetDatum(flow->arguments)};

	if (billing_spi_run(&query, args, NULL) == 0)
		report_tenant_exists(flow);
	return billing_spi_copy(0, 1, flow->caller);
}

static void
report_tenant_exists(const BillingFlow *flow)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_KEY_REUSED),
			 errmsg("tenant %lld was created with other arguments", (long long) flow->tenant_id),
			 errdetail("tenant_id=%lld function=create_tenant", (long long) flow->tenant_id),
			 errhint("Change it by billing.update_tenant, or choose another id.")));
}

static void
insert_counter(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.counter (tenant_id) VALUES ($1)",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	(void) billing_spi_run(&query, args, NULL);
}

static void
check_object(Jsonb *value, const char *argument)
{
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be a JSON object", argument),
				 errdetail("argument=%s", argument),
				 errhint("Write it as {\"key\": value}.")));
}

/*
 * check_references
 *		YB001 if an object's members name what there is not: a tax rate, or in settings a dunning policy.
 *
 * Their foreign keys would refuse it, too, but not say where to look.
 */
static void
check_references(Jsonb *object)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&object->root, "tax_rate", strlen("tax_rate"), &value) != NULL)
		check_tax_rate(&value);
	if (getKeyJsonValueFromContainer(&object->root, "settings", strlen("settings"), &value) != NULL)
		check_dunning_policy(&value);
}

static void
check_tax_rate(const JsonbValue *code)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tax_rate WHERE code = $1 AND is_active",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};

	if (code->type != jbvString || is_named(&query, code))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("tax rate \"%.*s\" does not exist or is retired", BILLING_QUOTED(code->val.string.val, code->val.string.len)),
			 errdetail("object=tax_rate code=%.*s", BILLING_QUOTED(code->val.string.val, code->val.string.len)),
			 errhint("Read the rates there are from billing.tax_rate WHERE is_active.")));
}

static void
check_dunning_policy(const JsonbValue *settings)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.dunning_policy WHERE code = $1 UNION ALL SELECT WHERE $1 = 'standard'",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	JsonbValue	code;

	if (settings->type != jbvBinary || !JsonContainerIsObject(settings->val.binary.data) ||
		getKeyJsonValueFromContainer(settings->val.binary.data, "dunning_policy", strlen("dunning_policy"), &code) == NULL ||
		code.type != jbvString || is_named(&query, &code))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("dunning policy \"%.*s\" does not exist", BILLING_QUOTED(code.val.string.val, code.val.string.len)),
			 errdetail("object=dunning_policy code=%.*s", BILLING_QUOTED(code.val.string.val, code.val.string.len)),
			 errhint("Read the policies there are from billing.dunning_policy; standard is what other settings say.")));
}

static bool
is_named(BillingQuery *query, const JsonbValue *code)
{
	Datum		args[] = {PointerGetDatum(cstring_to_text_with_len(code->val.string.val, code->val.string.len))};

	return billing_spi_run(query, args, NULL) > 0;
}

/*
 * check_country
 *		22023 if the country of member address of an object is no ISO 3166-1 code.
 *
 * A country that is written otherwise would have no rates, and its tenant no tax.
 */
static void
check_country(Jsonb *object)
{
	JsonbValue	address;
	JsonbValue	country;
	const char *code;

	if (getKeyJsonValueFromContainer(&object->root, "address", strlen("address"), &address) == NULL ||
		address.type != jbvBinary || !JsonContainerIsObject(address.val.binary.data) ||
		getKeyJsonValueFromContainer(address.val.binary.data, "country", strlen("country"), &country) == NULL ||
		country.type == jbvNull)
		return;

	code = country.type == jbvString ? pnstrdup(country.val.string.val, country.val.string.len) : "";
	if (strlen(code) != 2 || strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("country \"%.*s\" of an address is no ISO 3166-1 code", BILLING_QUOTED(code, strlen(code))),
				 errdetail("member=address.country value=%.*s", BILLING_QUOTED(code, strlen(code))),
				 errhint("Write it with two letters, such as DE: it says which taxes are taken.")));
}

/*
 * billing_update_tenant
 *		Change what is stated of a tenant.
 *
 * A new time zone is only written here: each subscription takes it at its next
 * boundary.
 */
Datum
billing_update_tenant(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Jsonb	   *changes;
	Datum		result;
	Datum		before;
	int32		version;
	bool		is_closed;
	char	   *currency;

	billing_flow_require(fcinfo, UPDATE_CHANGES, "changes");
	changes = PG_GETARG_JSONB_P(UPDATE_CHANGES);
	check_object(changes, "changes");
	check_changes(changes);
	check_country(changes);
	if (billing_flow_begin(&flow, fcinfo, "update_tenant", UPDATE_REQUEST_ID, &result))
		return result;

	before = read_tenant(&flow, &version, &is_closed, &currency);
	if (!PG_ARGISNULL(UPDATE_VERSION))
		check_version(&flow, PG_GETARG_INT32(UPDATE_VERSION), version);
	check_references(changes);
	check_currency_change(&flow, changes, currency);

	result = change_tenant(&flow, changes);
	billing_event_emit(flow.tenant_id, "tenant.updated", flow.tenant_id);
	/* Its time zone and settings say when a grace ends. */
	(void) billing_entitlement_refresh_one(flow.tenant_id);
	billing_dunning_wake(flow.tenant_id, 0);
	billing_flow_audit(&flow, "tenant", flow.tenant_id, before, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_changes
 *		Every member is a column that may change, with a value that it may have.
 */
static void
check_changes(Jsonb *changes)
{
	const TenantColumn *column = NULL;
	JsonbIterator *it = JsonbIteratorInit(&changes->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	(void) JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
			column = find_column(&v);
		else if (v.type == jbvNull && column->is_required)
			report_bad_change(column->name, "must not be null");
		else if (column->is_object && !(v.type == jbvBinary && JsonContainerIsObject(v.val.binary.data)))
			report_bad_change(column->name, "must be a JSON object");
		else if (strcmp(column->name, "name") == 0 && v.type == jbvString && v.val.string.len == 0)
			report_bad_change(column->name, "must not be empty");
	}
}

static const TenantColumn *
find_column(const JsonbValue *name)
{
	for (int i = 0; i < lengthof(tenant_columns); i++)
	{
		if (strlen(tenant_columns[i].name) == name->val.string.len &&
			memcmp(tenant_columns[i].name, name->val.string.val, name->val.string.len) == 0)
			return &tenant_columns[i];
	}
	report_bad_change(pnstrdup(name->val.string.val, name->val.string.len), "cannot be changed");
	return NULL;
}

static void
report_bad_change(const char *name, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%.*s\" of a tenant %s", BILLING_QUOTED(name, strlen(name)), problem),
			 errdetail("argument=changes member=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Members are: name, currency, timezone, email, billing_name, address, tax_id, tax_rate, tax_exemption, locale, and the objects details and settings.")));
}

/* The tenant's row, which the flow holds locked. */
static Datum
read_tenant(const BillingFlow *flow, int32 *version, bool *is_closed, char **currency)
{
	static BillingQuery query = {
		.sql = "SELECT t, version, status = 'closed', currency FROM billing.tenant t WHERE tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	*version = DatumGetInt32(billing_spi_value(0, 2, &isnull));
	*is_closed = DatumGetBool(billing_spi_value(0, 3, &isnull));
	*currency = TextDatumGetCString(billing_spi_value(0, 4, &isnull));
	return billing_spi_copy(0, 1, flow->caller);
}

static void
check_version(const BillingFlow *flow, int32 stated, int32 actual)
{
	if (stated != actual)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_STALE_VERSION),
				 errmsg("tenant %lld is at version %d, not %d", (long long) flow->tenant_id, actual, stated),
				 errdetail("tenant_id=%lld version=%d stated=%d", (long long) flow->tenant_id, actual, stated),
				 errhint("Read the tenant again and repeat the change if it still makes sense.")));
}

static void
check_currency_change(const BillingFlow *flow, Jsonb *changes, const char *currency)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&changes->root, "currency", strlen("currency"), &value) == NULL ||
		(value.type == jbvString && value.val.string.len == strlen(currency) &&
		 pg_strncasecmp(value.val.string.val, currency, strlen(currency)) == 0) ||
		!has_invoices(flow->tenant_id))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("tenant %lld has invoices, so its currency cannot change", (long long) flow->tenant_id),
			 errdetail("tenant_id=%lld currency=%s", (long long) flow->tenant_id, currency),
			 errhint("Subscribe it in the other currency, or create another tenant.")));
}

static bool
has_invoices(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.invoice WHERE tenant_id = $1 LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

static Datum
change_tenant(const BillingFlow *flow, Jsonb *changes)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.tenant t SET "
		"name = coalesce(c ->> 'name', name), "
		"currency = CASE WHEN c ? 'currency' THEN billing.currency(billing.from_minor_units(0, c ->> 'currency')) ELSE currency END, "
		"timezone = coalesce(c ->> 'timezone', timezone), "
		"email = CASE WHEN c ? 'email' THEN c ->> 'email' ELSE email END, "
		"billing_name = CASE WHEN c ? 'billing_name' THEN c ->> 'billing_name' ELSE billing_name END, "
		"address = CASE WHEN c ? 'address' THEN nullif(c -> 'address', 'null') ELSE address END, "
		"tax_id = CASE WHEN c ? 'tax_id' THEN c ->> 'tax_id' ELSE tax_id END, "
		"tax_rate = CASE WHEN c ? 'tax_rate' THEN c ->> 'tax_rate' ELSE tax_rate END, "
		"tax_exemption = CASE WHEN c ? 'tax_exemption' THEN c ->> 'tax_exemption' ELSE tax_exemption END, "
		"locale = coalesce(c ->> 'locale', locale), "
		"details = (details || coalesce(c -> 'details', '{}')) - "
		"ARRAY(SELECT key FROM pg_catalog.jsonb_each(c -> 'details') WHERE value = 'null'), "
		"settings = (settings || coalesce(c -> 'settings', '{}')) - "
		"ARRAY(SELECT key FROM pg_catalog.jsonb_each(c -> 'settings') WHERE value = 'null'), "
		"version = version + 1 "
		"FROM (SELECT $2) AS s (c) WHERE tenant_id = $1 RETURNING t",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 2,
		.argtypes = {INT8OID, JSONBOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), JsonbPGetDatum(changes)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_close_tenant
 *		End the relation with a tenant that owes nothing and is owed nothing.
 *
 * It goes by way of frozen: from frozen_at on no usage is taken.  Closing what is
 * closed changes nothing.
 */
Datum
billing_close_tenant(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	Datum		before;
	int32		version;
	bool		is_closed;
	char	   *currency;

	if (billing_flow_begin(&flow, fcinfo, "close_tenant", 1, &result))
		return result;

	before = read_tenant(&flow, &version, &is_closed, &currency);
	if (is_closed)
		return billing_flow_end(&flow, before);
	check_nothing_open(&flow);

	result = set_closed(&flow);
	billing_flow_audit(&flow, "tenant", flow.tenant_id, before, result);
	billing_event_emit(flow.tenant_id, "tenant.closed", flow.tenant_id);
	return billing_flow_end(&flow, result);
}

static void
check_nothing_open(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT (SELECT count(*) FROM billing.subscription "
		"WHERE tenant_id = $1 AND status NOT IN ('canceled', 'expired')), "
		"(SELECT count(*) FROM billing.invoice "
		"WHERE tenant_id = $1 AND status IN ('draft', 'open'))",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	int64		subscriptions;
	int64		invoices;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	subscriptions = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	invoices = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	if (subscriptions + invoices > 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("tenant %lld has live subscriptions or unpaid invoices", (long long) flow->tenant_id),
				 errdetail("tenant_id=%lld subscriptions=%lld invoices=%lld", (long long) flow->tenant_id,
						   (long long) subscriptions, (long long) invoices),
				 errhint("Cancel its subscriptions with effective now; finalize its drafts, and see its invoices paid, void or uncollectible.")));
}

static Datum
set_closed(const BillingFlow *flow)
{
	static BillingQuery freeze = {
		.sql = "UPDATE billing.tenant SET status = 'frozen', frozen_at = billing.now() "
		"WHERE tenant_id = $1 AND status = 'active'",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	static BillingQuery close = {
		.sql = "UPDATE billing.tenant t SET status = 'closed', closed_at = billing.now(), is_unpaid = false, version = version + 1 "
		"WHERE tenant_id = $1 RETURNING t",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};

	(void) billing_spi_run(&freeze, args, NULL);
	(void) billing_spi_run(&close, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}
