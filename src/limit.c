/*-------------------------------------------------------------------------
 *
 * limit.c
 *	  Limits as a plan, or an override, states them: read and validated.
 *
 * A limit is an object: meter (what is limited), limit (a number; null: none), per
 * (in what time it is counted), kind (what happens beyond it) and per_unit (whether it
 * is times the quantity of the subscription).  The kind may also be stated as a
 * member of its own name that is true.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "exact.h"
#include "limit.h"

BILLING_FUNCTION(billing_are_limits);
BILLING_FUNCTION(billing_plan_limits);

#define FORM "A limit is {\"meter\": \"calls\", \"limit\": 1000, \"per\": \"period\", \"kind\": \"hard\"}: " \
	"limit is a number or null (none); per is one of period, hour, day, week, month, year, total; kind is one of hard, soft, overage; " \
	"\"per_unit\": true multiplies it by the quantity of the subscription."

static const char *const spans[] = {"period", "hour", "day", "week", "month", "year", "total", NULL};
static const char *const kinds[] = {"hard", "soft", "overage", NULL};

static BillingLimit *read_limits(Jsonb *array, int *count);
static void check_once(const BillingLimit *limits, int count);
static void read_member(const char *name, const JsonbValue *value, BillingLimit *limit);
static char *read_name(const char *name, const JsonbValue *value);
static char *read_choice(const char *name, const JsonbValue *value, const char *const *choices);
static char *read_span(const char *name, const JsonbValue *value);
static bool is_among(const char *name, const char *const *names);
static bool read_boolean(const char *name, const JsonbValue *value);
static void read_quantity(const JsonbValue *value, BillingLimit *limit);
static void set_kind(BillingLimit *limit, char *kind);
static bool is_object(const JsonbValue *value);
static bool same(const char *a, const char *b);
pg_noreturn static void report(const char *problem);

/*
 * billing_are_limits
 *		True of an array of limits, each of a meter, no two of one meter in one time;
 *		else an error.
 */
Datum
billing_are_limits(PG_FUNCTION_ARGS)
{
	int			count;

	(void) read_limits(PG_GETARG_JSONB_P(0), &count);
	PG_RETURN_BOOL(true);
}

/*
 * billing_plan_limits
 *		The same as rows: meter, per, quantity (NULL: none), kind, is_per_unit.
 */
Datum
billing_plan_limits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	BillingLimit *limits = read_limits(PG_GETARG_JSONB_P(0), &count);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		Datum		values[5] = {
			CStringGetTextDatum(limits[i].meter),
			CStringGetTextDatum(limits[i].per != NULL ? limits[i].per : "period"),
			limits[i].quantity,
			CStringGetTextDatum(limits[i].kind != NULL ? limits[i].kind : "hard"),
			BoolGetDatum(limits[i].is_per_unit)
		};
		bool		nulls[5] = {false, false, limits[i].is_unlimited, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static BillingLimit *
read_limits(Jsonb *array, int *count)
{
	JsonbIterator *it = JsonbIteratorInit(&array->root);
	BillingLimit *limits;
	JsonbValue	value;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		report("limits are not an array");
	limits = palloc0((JB_ROOT_COUNT(array) + 1) * sizeof(BillingLimit));
	*count = 0;
	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_object(&value))
			report("a limit is not an object");
		billing_limit_read(value.val.binary.data, true, &limits[(*count)++]);
	}
	check_once(limits, *count);
	return limits;
}

static void
check_once(const BillingLimit *limits, int count)
{
	for (int i = 1; i < count; i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (same(limits[i].meter, limits[j].meter) &&
				same(limits[i].per != NULL ? limits[i].per : "period", limits[j].per != NULL ? limits[j].per : "period"))
				report(psprintf("\"%s\" is limited twice in the same time", limits[i].meter));
		}
	}
}

void
billing_limit_read(JsonbContainer *object, bool has_meter, BillingLimit *limit)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	value;
	char	   *name;
	bool		has_limit = false;

	memset(limit, 0, sizeof(*limit));
	if (JsonbIteratorNext(&it, &value, true) != WJB_BEGIN_OBJECT)
		report("a limit is not an object");
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		name = pnstrdup(value.val.string.val, value.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);
		has_limit |= strcmp(name, "limit") == 0;
		read_member(name, &value, limit);
	}

	if (!has_limit)
		report("a limit does not say how much");
	if (has_meter && limit->meter == NULL)
		report("a limit does not say of what");
	if (!has_meter && (limit->meter != NULL || limit->is_per_unit))
		report("an override has neither meter nor per_unit");
}

static void
read_member(const char *name, const JsonbValue *value, BillingLimit *limit)
{
	if (strcmp(name, "meter") == 0)
		limit->meter = read_name(name, value);
	else if (strcmp(name, "limit") == 0)
		read_quantity(value, limit);
	else if (strcmp(name, "per") == 0)
		limit->per = read_span(name, value);
	else if (strcmp(name, "kind") == 0)
		set_kind(limit, read_choice(name, value, kinds));
	else if (strcmp(name, "per_unit") == 0)
		limit->is_per_unit = read_boolean(name, value);
	else if (!is_among(name, kinds))
		report(psprintf("\"%s\" is no member of a limit", name));
	else if (read_boolean(name, value))
		set_kind(limit, pstrdup(name));
}

static void
set_kind(BillingLimit *limit, char *kind)
{
	if (limit->kind != NULL && strcmp(limit->kind, kind) != 0)
		report(psprintf("a limit is both %s and %s", limit->kind, kind));
	limit->kind = kind;
}

/* What a meter, or a feature, may be called. */
static char *
read_name(const char *name, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len < 1 || value->val.string.len > 63)
		report(psprintf("\"%s\" of a limit is not a name of 1 to 63 bytes", name));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static char *
read_choice(const char *name, const JsonbValue *value, const char *const *choices)
{
	char	   *choice = value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;

	if (choice == NULL || !is_among(choice, choices))
		report(psprintf("\"%s\" of a limit is not one of those there are", name));
	return choice;
}

/* "1 month" says what "month" does. */
static char *
read_span(const char *name, const JsonbValue *value)
{
	JsonbValue	span = *value;

	if (span.type == jbvString && span.val.string.len > 2 && strncmp(span.val.string.val, "1 ", 2) == 0)
	{
		span.val.string.val += 2;
		span.val.string.len -= 2;
	}
	return read_choice(name, &span, spans);
}

static bool
is_among(const char *name, const char *const *names)
{
	for (; *names != NULL; names++)
	{
		if (strcmp(name, *names) == 0)
			return true;
	}
	return false;
}

static bool
read_boolean(const char *name, const JsonbValue *value)
{
	if (value->type != jbvBool)
		report(psprintf("\"%s\" of a limit is neither true nor false", name));
	return value->val.boolean;
}

/* A number, also as a string, so that it may have as many digits as it needs. */
static void
read_quantity(const JsonbValue *value, BillingLimit *limit)
{
	limit->is_unlimited = value->type == jbvNull;
	if (value->type == jbvNumeric)
		billing_limit_read_number(NumericGetDatum(value->val.numeric), limit);
	else if (value->type == jbvString)
	{
		char	   *digits = pnstrdup(value->val.string.val, value->val.string.len);

		if (digits[0] < '0' || digits[0] > '9' || digits[strspn(digits, "0123456789.")] != '\0')
			report("\"limit\" of a limit is neither a number nor null");
		billing_limit_read_number(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
													  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)), limit);
	}
	else if (!limit->is_unlimited)
		report("\"limit\" of a limit is neither a number nor null");
}

void
billing_limit_read_number(Datum number, BillingLimit *limit)
{
	Datum		nothing = DirectFunctionCall1(int8_numeric, Int64GetDatum(0));

	if (numeric_is_nan(DatumGetNumeric(number)) || numeric_is_inf(DatumGetNumeric(number)) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, number, nothing)))
		report("a limit is less than nothing");
	if (!billing_numeric_is_summable((struct varlena *) DatumGetNumeric(number)))
		report("a limit has too many digits");
	limit->quantity = number;
	limit->is_unlimited = false;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static void
report(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", problem),
			 errdetail("object=limit"),
			 errhint("%s", FORM)));
}
