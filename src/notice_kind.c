/*-------------------------------------------------------------------------
 *
 * notice_kind.c
 *	  What tenants are told by mail: one table of every kind of notice.
 *
 * A kind says what its object is, which event says the same to applications, and
 * which placeholders its templates may have; the view billing.notice_kind shows it.  A
 * name, once released, stays: a row of billing.notification that bears it must be
 * restorable.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "amount.h"
#include "notice_kind.h"
#include "template.h"

BILLING_FUNCTION(billing_is_notice_on);
BILLING_FUNCTION(billing_is_notice_template);
BILLING_FUNCTION(billing_notice_kinds);

#define MAX_VARIABLES 12

typedef struct NoticeKind
{
	const char *name;
	const char *object;			/* the table that its object_id is of */
	const char *event;			/* the type of event that is written with it */
	const char *variables[MAX_VARIABLES + 1];	/* ends in NULL */
	const char *description;
} NoticeKind;

#define COMMON "tenant", "seller"

static const NoticeKind kinds[] = {
	{"expiry_reminder", "subscription", "subscription.expiring", {COMMON, "plan", "quantity", "date"},
	"a subscription ends with its period, because it does not renew itself"},
	{"invoice", "invoice", "invoice.finalized",
		{COMMON, "number", "total", "amount_due", "issue_date", "due_date", "plan"},
	"an invoice was issued"},
	{"invoice_due", "invoice", "invoice.due_soon",
		{COMMON, "number", "total", "amount_due", "issue_date", "due_date", "plan"},
	"an open invoice is due soon"},
	{"payment_method_expiring", "payment_method", "payment_method.expiring", {COMMON, "method", "date"},
	"a payment method expires soon: date is the last day on which it is good"},
	{"receipt", "payment", "payment.succeeded",
		{COMMON, "number", "total", "amount_due", "issue_date", "due_date", "plan", "amount", "method", "date", "pay_no"},
	"a payment was received"},
	{"renewal_reminder", "subscription", "subscription.renewing", {COMMON, "plan", "quantity", "date"},
	"a subscription goes on with its next period soon"},
	{"trial_ending", "subscription", "subscription.trial_ending", {COMMON, "plan", "quantity", "date"},
	"a trial ends soon"},
};

static const NoticeKind *find_kind(const char *name, size_t len);
static const NoticeKind *require_kind(text *name);
static void check_placeholders(const NoticeKind *kind, const char *text, size_t len);
static bool has_variable(const NoticeKind *kind, const char *name, size_t len);
static char *list_kinds(void);
static char *list_variables(const NoticeKind *kind, const char *separator);

static const NoticeKind *
find_kind(const char *name, size_t len)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, name, len) == 0)
			return &kinds[i];
	}
	return NULL;
}

static const NoticeKind *
require_kind(text *name)
{
	const NoticeKind *kind = find_kind(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

	if (kind == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind of notice \"%.*s\" does not exist", BILLING_QUOTED(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name))),
				 errdetail("argument=kind"),
				 errhint("Kinds are: %s.", list_kinds())));
	return kind;
}

bool
billing_notice_kind_is_list(const char *value)
{
	if (strcmp(value, "all") == 0 || strcmp(value, "none") == 0)
		return true;
	for (;;)
	{
		size_t		len = strcspn(value, ",");

		if (find_kind(value, len) == NULL)
			return false;
		if (value[len] == '\0')
			return true;
		value += len + 1;
	}
}

/*
 * billing_is_notice_on
 *		Does a value of the setting notices name the kind?
 */
Datum
billing_is_notice_on(PG_FUNCTION_ARGS)
{
	text	   *kind = PG_GETARG_TEXT_PP(0);
	char	   *list = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (strcmp(list, "all") == 0)
		PG_RETURN_BOOL(true);
	for (char *name = list;; name++)
	{
		size_t		len = strcspn(name, ",");

		if (len == VARSIZE_ANY_EXHDR(kind) && memcmp(name, VARDATA_ANY(kind), len) == 0)
			PG_RETURN_BOOL(true);
		name += len;
		if (*name == '\0')
			PG_RETURN_BOOL(false);
	}
}

/*
 * billing_is_notice_template
 *		True of a text that a template of the kind may have, else an error; one line
 *		if it is for a header.
 */
Datum
billing_is_notice_template(PG_FUNCTION_ARGS)
{
	const NoticeKind *kind = require_kind(PG_GETARG_TEXT_PP(0));
	char	   *template = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		is_header = PG_GETARG_BOOL(2);

	for (const char *c = template; is_header && *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7F)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the subject of a notice has one line"),
					 errdetail("kind=%s position=%d", kind->name, (int) (c - template) + 1),
					 errhint("Take the line break or control character out of it.")));
	}
	check_placeholders(kind, template, strlen(template));
	PG_RETURN_BOOL(true);
}

static void
check_placeholders(const NoticeKind *kind, const char *text, size_t len)
{
	BillingTemplate template = billing_template_open(text, len);
	const char *malformed = billing_template_malformed(text, len);

	if (malformed != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a template of a notice has two braces that are no placeholder"),
				 errdetail("kind=%s position=%d", kind->name, (int) (malformed - text) + 1),
				 errhint("A placeholder is a name in two braces with no blank in them, such as {{%s}}.", kind->variables[0])));

	while (billing_template_next(&template))
	{
		if (template.name != NULL && !has_variable(kind, template.name, template.name_len))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("notices of kind \"%s\" have nothing to put for {{%.*s}}", kind->name,
							BILLING_QUOTED(template.name, template.name_len)),
					 errdetail("kind=%s", kind->name),
					 errhint("Placeholders are: %s.", list_variables(kind, ", "))));
	}
}

static bool
has_variable(const NoticeKind *kind, const char *name, size_t len)
{
	for (const char *const *variable = kind->variables; *variable != NULL; variable++)
	{
		if (strlen(*variable) == len && memcmp(*variable, name, len) == 0)
			return true;
	}
	return false;
}

static char *
list_kinds(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(kinds); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", kinds[i].name);
	return list.data;
}

static char *
list_variables(const NoticeKind *kind, const char *separator)
{
	StringInfoData list;

	initStringInfo(&list);
	for (const char *const *variable = kind->variables; *variable != NULL; variable++)
		appendStringInfo(&list, "%s%s", list.len > 0 ? separator : "", *variable);
	return list.data;
}

/*
 * billing_notice_kinds
 *		The table as rows: kind, object, event, placeholders, description.
 */
Datum
billing_notice_kinds(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		const NoticeKind *kind = &kinds[i];
		Datum		values[5] = {
			CStringGetTextDatum(kind->name),
			CStringGetTextDatum(kind->object),
			CStringGetTextDatum(kind->event),
			CStringGetTextDatum(list_variables(kind, " ")),
			CStringGetTextDatum(kind->description)
		};
		bool		nulls[5] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
