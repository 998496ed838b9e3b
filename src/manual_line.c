/*-------------------------------------------------------------------------
 *
 * manual_line.c
 *	  The lines of an invoice that a person or an application states.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "amount.h"

BILLING_FUNCTION(billing_manual_lines);

/* What a line may state, in the order of the columns behind its number. */
static const char *const terms[] = {
	"description", "quantity", "unit_amount", "amount", "price_code", "period_start", "period_end", "tax_category"
};

enum
{
	DESCRIPTION, QUANTITY, UNIT_AMOUNT, AMOUNT, PRICE_CODE, PERIOD_START, PERIOD_END, TAX_CATEGORY, NTERMS
};

/* A line as it is stated: texts, NULL where nothing is. */
typedef struct ManualLine
{
	int			number;
	char	   *texts[NTERMS];
} ManualLine;

static void read_line(ManualLine *line, JsonbValue *value);
static int	find_term(const JsonbValue *key);
static char *text_of(const ManualLine *line, int term, const JsonbValue *value);
static void check_line(const ManualLine *line);
static void put_line(ReturnSetInfo *result, const ManualLine *line, const BillingCurrency *currency);
static Datum amount_of(const ManualLine *line, Datum quantity, Datum unit_amount, const BillingCurrency *currency);
static Datum stated_amount(const ManualLine *line, const BillingCurrency *currency);
static Datum number_of(const ManualLine *line, int term);
static Datum instant_of(const ManualLine *line, int term, bool *isnull);
static void check_period(const ManualLine *line, Datum *values, const bool *nulls);
pg_noreturn static void report_line(const ManualLine *line, const char *term, const char *problem, const char *hint);

/*
 * billing_manual_lines
 *		The lines that a JSON array states, numbered, with their amounts in a
 *		currency; raises 22023 and names the line for what is none.
 */
Datum
billing_manual_lines(PG_FUNCTION_ARGS)
{
	Jsonb	   *items = PG_GETARG_JSONB_P(0);
	const BillingCurrency *currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(1));
	JsonbIterator *it = JsonbIteratorInit(&items->root);
	JsonbValue	value;
	ManualLine	line = {0};

	if (!JB_ROOT_IS_ARRAY(items) || JB_ROOT_IS_SCALAR(items))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("items of an invoice are a JSON array"),
				 errdetail("argument=items"),
				 errhint("Give it like [{\"description\": \"Setup\", \"amount\": \"100\"}].")));

	InitMaterializedSRF(fcinfo, 0);
	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		line.number++;
		read_line(&line, &value);
		check_line(&line);
		put_line((ReturnSetInfo *) fcinfo->resultinfo, &line, currency);
	}
	return (Datum) 0;
}

static void
read_line(ManualLine *line, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	member;

	memset(line->texts, 0, sizeof(line->texts));
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		report_line(line, "item", "is not an object", "Give it like {\"description\": \"Setup\", \"amount\": \"100\"}.");

	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &member, true);
	while (JsonbIteratorNext(&it, &member, true) == WJB_KEY)
	{
		int			term = find_term(&member);

		if (term == NTERMS)
			report_line(line, pnstrdup(member.val.string.val, Min(member.val.string.len, BILLING_QUOTE_MAX)),
						"is not known",
						"An item states description, quantity, unit_amount or amount, price_code, period_start, period_end and tax_category.");
		(void) JsonbIteratorNext(&it, &member, true);
		line->texts[term] = text_of(line, term, &member);
	}
}

static int
find_term(const JsonbValue *key)
{
	int			term = 0;

	while (term < NTERMS &&
		   (strlen(terms[term]) != key->val.string.len ||
			memcmp(terms[term], key->val.string.val, key->val.string.len) != 0))
		term++;
	return term;
}

static char *
text_of(const ManualLine *line, int term, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			if (term == QUANTITY || term == UNIT_AMOUNT || term == AMOUNT)
				return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			/* FALLTHROUGH */
		default:
			report_line(line, terms[term], "has a value of the wrong type", "Texts and instants are strings; numbers may be too.");
	}
}

static void
check_line(const ManualLine *line)
{
	if (line->texts[DESCRIPTION] == NULL || line->texts[DESCRIPTION][0] == '\0')
		report_line(line, "description", "is missing", "Say what is billed.");
	if ((line->texts[UNIT_AMOUNT] == NULL) == (line->texts[AMOUNT] == NULL))
		report_line(line, "amount", "must be stated once", "Give either amount, or unit_amount and quantity.");
	if ((line->texts[PERIOD_START] == NULL) != (line->texts[PERIOD_END] == NULL))
		report_line(line, "period_start", "must be stated with period_end", "Give both ends of the period, or none.");
}

static void
put_line(ReturnSetInfo *result, const ManualLine *line, const BillingCurrency *currency)
{
	Datum		values[NTERMS + 1];
	bool		nulls[NTERMS + 1] = {false};

	values[0] = Int32GetDatum(line->number);
	values[1 + DESCRIPTION] = CStringGetTextDatum(line->texts[DESCRIPTION]);
	values[1 + QUANTITY] = number_of(line, QUANTITY);
	values[1 + UNIT_AMOUNT] = number_of(line, UNIT_AMOUNT);
	nulls[1 + UNIT_AMOUNT] = line->texts[UNIT_AMOUNT] == NULL;
	values[1 + AMOUNT] = amount_of(line, values[1 + QUANTITY], values[1 + UNIT_AMOUNT], currency);
	nulls[1 + PRICE_CODE] = line->texts[PRICE_CODE] == NULL;
	values[1 + PRICE_CODE] = nulls[1 + PRICE_CODE] ? (Datum) 0 : CStringGetTextDatum(line->texts[PRICE_CODE]);
	values[1 + PERIOD_START] = instant_of(line, PERIOD_START, &nulls[1 + PERIOD_START]);
	values[1 + PERIOD_END] = instant_of(line, PERIOD_END, &nulls[1 + PERIOD_END]);
	nulls[1 + TAX_CATEGORY] = line->texts[TAX_CATEGORY] == NULL;
	values[1 + TAX_CATEGORY] = nulls[1 + TAX_CATEGORY] ? (Datum) 0 : CStringGetTextDatum(line->texts[TAX_CATEGORY]);
	check_period(line, values, nulls);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* A number that is finite; a quantity is 1 unless stated. */
static Datum
number_of(const ManualLine *line, int term)
{
	const char *text = line->texts[term] != NULL ? line->texts[term] : "1";
	Datum		number = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	if (numeric_is_nan(DatumGetNumeric(number)) || numeric_is_inf(DatumGetNumeric(number)))
		report_line(line, terms[term], "is not finite", "Give it a number.");
	return number;
}

static Datum
amount_of(const ManualLine *line, Datum quantity, Datum unit_amount, const BillingCurrency *currency)
{
	if (line->texts[AMOUNT] != NULL)
		return stated_amount(line, currency);
	return PointerGetDatum(billing_amount_round(DatumGetNumeric(DirectFunctionCall2(numeric_mul, quantity, unit_amount)),
												currency));
}

/* An amount with a currency of its own, which has to be the invoice's, or without. */
static Datum
stated_amount(const ManualLine *line, const BillingCurrency *currency)
{
	const char *text = line->texts[AMOUNT];
	const char *p = text;
	Datum		amount;

	while (*p != '\0' && !isalpha((unsigned char) *p))
		p++;
	if (*p == '\0')
		text = psprintf("%s %s", text, currency->code);
	amount = DirectFunctionCall1(billing_amount_in, CStringGetDatum(text));
	if (strcmp(DatumGetBillingAmountP(amount)->currency, currency->code) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("\"%s\" of item %d is in %s, its invoice in %s", terms[AMOUNT], line->number,
						DatumGetBillingAmountP(amount)->currency, currency->code),
				 errdetail("item=%d term=%s currency=%s amount=%s", line->number, terms[AMOUNT], currency->code, text),
				 errhint("An invoice has one currency: convert the amount, or bill it by another invoice.")));
	return amount;
}

static Datum
instant_of(const ManualLine *line, int term, bool *isnull)
{
	Datum		instant;

	*isnull = line->texts[term] == NULL;
	if (*isnull)
		return (Datum) 0;
	instant = DirectFunctionCall3(timestamptz_in, CStringGetDatum(line->texts[term]),
								  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(instant)))
		report_line(line, terms[term], "is not finite", "Give it an instant.");
	return instant;
}

static void
check_period(const ManualLine *line, Datum *values, const bool *nulls)
{
	if (!nulls[1 + PERIOD_START] &&
		DatumGetTimestampTz(values[1 + PERIOD_END]) < DatumGetTimestampTz(values[1 + PERIOD_START]))
		report_line(line, "period_end", "is before period_start", "A period is half-open, from its start to its end.");
}

static void
report_line(const ManualLine *line, const char *term, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of item %d %s", term, line->number, problem),
			 errdetail("item=%d term=%s", line->number, term),
			 errhint("%s", hint)));
}
