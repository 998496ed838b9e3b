/*-------------------------------------------------------------------------
 *
 * setting.c
 *	  What an installation, a plan or a tenant decides.
 *
 * One table holds every setting, its default and who may override it; the view
 * billing.setting_default shows it.  The settings of a tenant go before those of
 * its plan, those before billing.setting, and that before the default.
 *
 * Values are text that means the same in every session, and are validated when
 * they are written, by CHECK constraints.  So a name, once released, stays: a row
 * that bears it must be restorable.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "amount.h"
#include "amount_parse.h"
#include "notice_kind.h"
#include "setting.h"
#include "spi.h"

BILLING_FUNCTION(billing_are_settings);
BILLING_FUNCTION(billing_effective_setting);
BILLING_FUNCTION(billing_is_setting);
BILLING_FUNCTION(billing_setting_defaults);

/* Who may override a default. */
typedef enum SettingScope
{
	SCOPE_INSTALLATION = 1,
	SCOPE_PLAN = 2,
	SCOPE_TENANT = 4
} SettingScope;

static const struct
{
	SettingScope scope;
	const char *name;
}			scopes[] = {
	{SCOPE_INSTALLATION, "installation"},
	{SCOPE_PLAN, "plan"},
	{SCOPE_TENANT, "tenant"},
};

typedef struct Setting
{
	const char *name;
	const char *value;			/* by default */
	const char *unit;			/* NULL: none */
	int			scopes;			/* of SettingScope */
	bool		(*is_valid) (const char *value, int max);
	int			max;			/* of a whole number, or bytes */
	const char *form;			/* what a valid value is, for a hint */
	const char *description;
} Setting;

static bool is_boolean(const char *value, int max);
static bool is_choice_of_collection(const char *value, int max);
static bool is_choice_of_events(const char *value, int max);
static bool is_choice_of_excess(const char *value, int max);
static bool is_currency(const char *value, int max);
static bool is_days_or_never(const char *value, int max);
static bool is_interval(const char *value, int max);
static bool is_interval_or_never(const char *value, int max);
static bool is_limit(const char *value, int max);
static bool is_amount(const char *value);
static bool is_list_of_notices(const char *value, int max);
static bool is_name(const char *value, int max);
static bool is_object(const char *value, int max);
static bool is_percent(const char *value, int max);
static bool is_prefix(const char *value, int max);
static bool is_spend_limit(const char *value, int max);
static bool is_whole_number(const char *value, int max);

#define SCOPE_NOT_TENANT	(SCOPE_INSTALLATION | SCOPE_PLAN)
#define SCOPE_NOT_PLAN	(SCOPE_INSTALLATION | SCOPE_TENANT)
#define SCOPE_ALL		(SCOPE_INSTALLATION | SCOPE_PLAN | SCOPE_TENANT)

#define DAYS_FORM		"a whole number of days, at most 3650"
#define REMINDER_MAX	90
#define REMINDER_FORM	"a whole number of days, at most 90"
#define INTERVAL_FORM	"0, or numbers with units (minutes, hours, days, weeks, months), such as 24 hours"

static const Setting settings[] = {
	{"collection", "automatic", NULL, SCOPE_ALL, is_choice_of_collection, 0,
		"automatic or send_invoice",
	"automatic: a due invoice is collected by the default payment method; send_invoice: the tenant pays on its own"},
	{"credit_limit", "0", "amount", SCOPE_NOT_PLAN, is_limit, 0,
		"0, or an amount that is not negative, such as 100.00 USD",
	"how far billing.consume() goes below nothing, in that currency"},
	{"credit_note_prefix", "CN-", NULL, SCOPE_NOT_PLAN, is_prefix, 20,
		"at most 20 of A-Z a-z 0-9 . _ / -",
	"what numbers of credit notes begin with, before the tenant's id"},
	{"currency", "USD", "ISO 4217 code", SCOPE_INSTALLATION, is_currency, 0,
		"a code of ISO 4217 in upper case",
	"currency of tenants created without one"},
	{"dunning_attempts", "3", NULL, SCOPE_ALL, is_whole_number, 100,
		"a whole number, at most 100",
	"how often collection of an overdue invoice is tried again"},
	{"dunning_interval_days", "3", "days", SCOPE_ALL, is_whole_number, 3650,
		DAYS_FORM,
	"days between two of these attempts"},
	{"dunning_policy", "standard", NULL, SCOPE_ALL, is_name, 63,
		"standard, or the code of a row of billing.dunning_policy",
	"the timetable of these attempts; standard: what dunning_attempts and dunning_interval_days say"},
	{"event_retention_days", "30", "days", SCOPE_INSTALLATION, is_whole_number, 3650,
		DAYS_FORM,
	"days that an event is kept, and what became of its deliveries; one that waits for an endpoint is kept for longer"},
	{"events", "all", NULL, SCOPE_INSTALLATION, is_choice_of_events, 0,
		"all or subscribed",
	"which events are written: all, or subscribed, those of types that an enabled webhook endpoint asks for"},
	{"finalize_after", "0", "interval", SCOPE_ALL, is_interval_or_never, 0,
		"never, " INTERVAL_FORM,
	"how old a draft gets before it is finalized; 0: invoices are open at once; never: a person finalizes them"},
	{"gateway_retention_days", "365", "days", SCOPE_INSTALLATION, is_whole_number, 3650,
		DAYS_FORM,
	"days that is kept what payment gateways told and were asked; what comes again by then is known"},
	{"grace_days", "7", "days", SCOPE_ALL, is_whole_number, 3650,
		DAYS_FORM,
	"days after the due date, or the end of a subscription, before its tenant loses what it paid for"},
	{"invoice_prefix", "INV-", NULL, SCOPE_NOT_PLAN, is_prefix, 20,
		"at most 20 of A-Z a-z 0-9 . _ / -",
	"what invoice numbers begin with, before the tenant's id"},
	{"invoice_reminder_days", "3", "days", SCOPE_NOT_TENANT, is_whole_number, REMINDER_MAX,
		REMINDER_FORM,
	"days before its due date that a tenant is reminded of an open invoice; 0: it is not"},
	{"net_days", "0", "days", SCOPE_ALL, is_whole_number, 3650,
		DAYS_FORM,
	"days from the issue of an invoice to its due date"},
	{"notice_retention_days", "90", "days", SCOPE_INSTALLATION, is_whole_number, 3650,
		DAYS_FORM,
	"days that a notification is kept from when it would not be sent any more"},
	{"notices", "all", NULL, SCOPE_NOT_PLAN, is_list_of_notices, 0,
		"all, none, or kinds of billing.notice_kind with commas between them, such as invoice,receipt",
	"which notices are sent to a tenant by mail"},
	{"overpayment", "wallet", NULL, SCOPE_NOT_PLAN, is_choice_of_excess, 0,
		"wallet or refund",
	"what becomes of money for which nothing is due: wallet, it is credit; refund, it goes back to where it came from"},
	{"pause_credit", "true", NULL, SCOPE_ALL, is_boolean, 0,
		"true or false",
	"whether what was charged in advance for time in which a subscription is paused is credited (true) or lost"},
	{"payment_method_reminder_days", "30", "days", SCOPE_INSTALLATION, is_whole_number, REMINDER_MAX,
		REMINDER_FORM,
	"days before it expires that a tenant is reminded of a payment method; 0: it is not"},
	{"pending_timeout", "24 hours", "interval", SCOPE_ALL, is_interval, 0,
		INTERVAL_FORM,
	"how long a payment or a subscription may stay pending"},
	{"renewal_reminder_days", "7", "days", SCOPE_NOT_TENANT, is_whole_number, REMINDER_MAX,
		REMINDER_FORM,
	"days before the end of its period that a tenant is reminded of a subscription that renews or expires; 0: it is not"},
	{"seller", "{}", "JSON object", SCOPE_NOT_PLAN, is_object, 0,
		"a JSON object, such as {\"name\": \"Example Ltd\"}",
	"who sells, as an invoice states it: name, address, tax_id, email and what else is printed"},
	{"spend_limit", "none", "amount", SCOPE_TENANT, is_spend_limit, 0,
		"none, or an amount that is not negative, such as 500.00 USD",
	"how much usage may cost in a billing period, before discounts and tax: record_usage refuses beyond"},
	{"tax_percent", "0", "percent", SCOPE_NOT_PLAN, is_percent, 100,
		"a number from 0 to 100, such as 19 or 8.875",
	"tax where no rate holds: neither the tenant's nor one of its place"},
	{"trial_days", "14", "days", SCOPE_NOT_PLAN, is_whole_number, 3650,
		DAYS_FORM,
	"length of a trial of plans whose trial_days is NULL"},
	{"trial_reminder_days", "3", "days", SCOPE_NOT_TENANT, is_whole_number, REMINDER_MAX,
		REMINDER_FORM,
	"days before its end that a tenant is reminded of a trial; 0: it is not"},
	{"uncollectible_days", "never", "days", SCOPE_ALL, is_days_or_never, 3650,
		"never, or " DAYS_FORM,
	"days after the due date before an invoice is given up, and not before who owes it was suspended"},
};

static const Setting *find_setting(const char *name);
static void check_setting(const char *name, const char *value, SettingScope scope);
static void report_unknown(const char *name);
static void report_out_of_scope(const Setting *setting, SettingScope scope);
static void report_invalid(const Setting *setting, const char *value);
static const char *list_settings(void);
static char *list_scopes(const Setting *setting);
static SettingScope find_scope(const char *name);
static char *json_text(const JsonbValue *value);
static char *get_override(Jsonb *overrides, const char *name);
static char *get_installed(const char *name);
static const char *skip_digits(const char *text);

static const Setting *
find_setting(const char *name)
{
	for (int i = 0; i < lengthof(settings); i++)
	{
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	}
	return NULL;
}

/*
 * billing_is_setting
 *		True of a name and a value that billing.setting may hold, else an error.
 */
Datum
billing_is_setting(PG_FUNCTION_ARGS)
{
	check_setting(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
				  SCOPE_INSTALLATION);
	PG_RETURN_BOOL(true);
}

/*
 * billing_are_settings
 *		True of an object each of whose members is a setting of that scope, else an
 *		error.  A null stands for no override.
 */
Datum
billing_are_settings(PG_FUNCTION_ARGS)
{
	Jsonb	   *overrides = PG_GETARG_JSONB_P(0);
	SettingScope scope = find_scope(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *name = NULL;

	if (!JB_ROOT_IS_OBJECT(overrides))
		PG_RETURN_BOOL(false);

	it = JsonbIteratorInit(&overrides->root);
	(void) JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_END_OBJECT)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else
			check_setting(name, json_text(&v), scope);
	}
	PG_RETURN_BOOL(true);
}

static void
check_setting(const char *name, const char *value, SettingScope scope)
{
	const Setting *setting = find_setting(name);

	if (setting == NULL)
		report_unknown(name);
	if ((setting->scopes & scope) == 0)
		report_out_of_scope(setting, scope);
	if (value != NULL && !setting->is_valid(value, setting->max))
		report_invalid(setting, value);
}

static void
report_unknown(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("setting \"%.*s\" does not exist", BILLING_QUOTED(name, strlen(name))),
			 errdetail("setting=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Settings are: %s.", list_settings())));
}

static void
report_out_of_scope(const Setting *setting, SettingScope scope)
{
	const char *asked = NULL;

	for (int i = 0; i < lengthof(scopes); i++)
	{
		if (scopes[i].scope == scope)
			asked = scopes[i].name;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("setting \"%s\" is not one that %s %s overrides", setting->name,
					asked[0] == 'i' ? "an" : "a", asked),
			 errdetail("setting=%s scope=%s", setting->name, asked),
			 errhint("It is a setting of: %s.", list_scopes(setting))));
}

static void
report_invalid(const Setting *setting, const char *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for setting \"%s\": \"%.*s\"", setting->name,
					BILLING_QUOTED(value, strlen(value))),
			 errdetail("setting=%s", setting->name),
			 errhint("It is %s.", setting->form)));
}

static const char *
list_settings(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(settings); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", settings[i].name);
	return list.data;
}

static char *
list_scopes(const Setting *setting)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(scopes); i++)
	{
		if ((setting->scopes & scopes[i].scope) != 0)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", scopes[i].name);
	}
	return list.data;
}

static SettingScope
find_scope(const char *name)
{
	for (int i = 0; i < lengthof(scopes); i++)
	{
		if (strcmp(scopes[i].name, name) == 0)
			return scopes[i].scope;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("scope \"%.*s\" does not exist", BILLING_QUOTED(name, strlen(name))),
			 errdetail("scope=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Scopes are: installation, plan, tenant.")));
}

/* A member as ->> gives it; NULL for a null. */
static char *
json_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvBinary:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			return NULL;
	}
}

/*
 * billing_effective_setting
 *		The value of a setting where a tenant's and a plan's settings are these.
 *
 * Costs a look-up in billing.setting where neither has it.
 */
Datum
billing_effective_setting(PG_FUNCTION_ARGS)
{
	char	   *name;
	const Setting *setting;
	char	   *value = NULL;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	setting = find_setting(name);
	if (setting == NULL)
		report_unknown(name);

	if (!PG_ARGISNULL(1))
		value = get_override(PG_GETARG_JSONB_P(1), name);
	if (value == NULL && !PG_ARGISNULL(2))
		value = get_override(PG_GETARG_JSONB_P(2), name);
	if (value == NULL)
		value = get_installed(name);
	PG_RETURN_TEXT_P(cstring_to_text(value != NULL ? value : setting->value));
}

static char *
get_override(Jsonb *overrides, const char *name)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(overrides) ||
		getKeyJsonValueFromContainer(&overrides->root, name, strlen(name), &value) == NULL)
		return NULL;
	return json_text(&value);
}

static char *
get_installed(const char *name)
{
	static BillingQuery query = {
		.sql = "SELECT value FROM billing.setting WHERE name = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(name)};
	MemoryContext caller = CurrentMemoryContext;
	char	   *value = NULL;
	bool		isnull;

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) > 0)
		value = MemoryContextStrdup(caller, TextDatumGetCString(billing_spi_value(0, 1, &isnull)));
	billing_spi_end();
	return value;
}

char *
billing_setting_text(const char *name, int64 tenant_id, int64 plan_id)
{
	static BillingQuery query = {
		.sql = "SELECT billing.effective_setting($1, "
		"(SELECT settings FROM billing.tenant WHERE tenant_id = $2), "
		"(SELECT settings FROM billing.plan WHERE plan_id = $3))",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, INT8OID},
	};
	Datum		args[] = {
		CStringGetTextDatum(name), Int64GetDatum(tenant_id), Int64GetDatum(plan_id)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return TextDatumGetCString(billing_spi_value(0, 1, &isnull));
}

int32
billing_setting_int(const char *name, int64 tenant_id, int64 plan_id)
{
	return pg_strtoint32(billing_setting_text(name, tenant_id, plan_id));
}

static bool
is_boolean(const char *value, int max)
{
	return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
}

static bool
is_choice_of_collection(const char *value, int max)
{
	return strcmp(value, "automatic") == 0 || strcmp(value, "send_invoice") == 0;
}

static bool
is_choice_of_events(const char *value, int max)
{
	return strcmp(value, "all") == 0 || strcmp(value, "subscribed") == 0;
}

static bool
is_choice_of_excess(const char *value, int max)
{
	return strcmp(value, "wallet") == 0 || strcmp(value, "refund") == 0;
}

static bool
is_currency(const char *value, int max)
{
	const BillingCurrency *currency = billing_currency_find(value, strlen(value));

	return currency != NULL && strcmp(currency->code, value) == 0;
}

static bool
is_days_or_never(const char *value, int max)
{
	return strcmp(value, "never") == 0 || is_whole_number(value, max);
}

/*
 * is_interval
 *		Is value 0, or numbers of at most 5 digits with units?
 *
 * Only what reads alike under every IntervalStyle, as a constraint must.
 */
static bool
is_interval(const char *value, int max)
{
	static const char *const units[] = {"minute", "hour", "day", "week", "month"};

	if (strcmp(value, "0") == 0)
		return true;
	for (;;)
	{
		const char *end = skip_digits(value);
		int			unit;

		if (end == value || end - value > 5 || *end++ != ' ')
			return false;
		for (unit = 0; unit < lengthof(units); unit++)
		{
			if (strncmp(end, units[unit], strlen(units[unit])) == 0)
				break;
		}
		if (unit == lengthof(units))
			return false;

		end += strlen(units[unit]);
		if (*end == 's')
			end++;
		if (*end == '\0')
			return true;
		if (*end++ != ' ')
			return false;
		value = end;
	}
}

static bool
is_interval_or_never(const char *value, int max)
{
	return strcmp(value, "never") == 0 || is_interval(value, max);
}

static bool
is_limit(const char *value, int max)
{
	return strcmp(value, "0") == 0 || is_amount(value);
}

/* One that is not negative. */
static bool
is_amount(const char *value)
{
	const BillingCurrency *currency;
	int64		units;

	return billing_amount_parse(value, &units, &currency) == BILLING_AMOUNT_OK && units >= 0;
}

static bool
is_list_of_notices(const char *value, int max)
{
	return billing_notice_kind_is_list(value);
}

/* A code of a global table. */
static bool
is_name(const char *value, int max)
{
	size_t		len = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-");

	return isalnum((unsigned char) value[0]) && value[len] == '\0' && len <= max;
}

static bool
is_object(const char *value, int max)
{
	Datum		json = DirectFunctionCall1(jsonb_in, CStringGetDatum(value));

	return JB_ROOT_IS_OBJECT(DatumGetJsonbP(json));
}

static bool
is_percent(const char *value, int max)
{
	const char *end = skip_digits(value);

	if (end == value || end - value > 3 || atoi(value) > max)
		return false;
	if (*end == '.')
	{
		const char *fraction = end + 1;

		end = skip_digits(fraction);
		if (end == fraction || end - fraction > 6)
			return false;
		if (atoi(value) == max && strspn(fraction, "0") != end - fraction)
			return false;
	}
	return *end == '\0';
}

static bool
is_prefix(const char *value, int max)
{
	size_t		len = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-");

	return value[len] == '\0' && len <= max;
}

static bool
is_spend_limit(const char *value, int max)
{
	return strcmp(value, "none") == 0 || is_amount(value);
}

static bool
is_whole_number(const char *value, int max)
{
	const char *end = skip_digits(value);

	return end != value && end - value <= 5 && *end == '\0' && atoi(value) <= max;
}

static const char *
skip_digits(const char *text)
{
	while (isdigit((unsigned char) *text))
		text++;
	return text;
}

/*
 * billing_setting_defaults
 *		The table as rows: name, value, unit, scope, description.
 */
Datum
billing_setting_defaults(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(settings); i++)
	{
		const Setting *setting = &settings[i];
		Datum		values[5] = {
			CStringGetTextDatum(setting->name),
			CStringGetTextDatum(setting->value),
			setting->unit != NULL ? CStringGetTextDatum(setting->unit) : (Datum) 0,
			CStringGetTextDatum(list_scopes(setting)),
			CStringGetTextDatum(setting->description)
		};
		bool		nulls[5] = {false, false, setting->unit == NULL, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
