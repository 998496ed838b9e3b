/*-------------------------------------------------------------------------
 *
 * manual_line.c
 *	  The lines of an invoice that a person or an application states.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "stated.h"

BILLING_FUNCTION(billing_manual_lines);

enum
{
	DESCRIPTION, QUANTITY, UNIT_AMOUNT, AMOUNT, PRICE_CODE, PERIOD_START, PERIOD_END, TAX_CATEGORY, NTERMS
};

/* What a line may state, in the order of the columns behind its number. */
static const BillingStatedTerm terms[NTERMS] = {
	[DESCRIPTION] = {"description", false},
	[QUANTITY] = {"quantity", true},
	[UNIT_AMOUNT] = {"unit_amount", true},
	[AMOUNT] = {"amount", true},
	[PRICE_CODE] = {"price_code", false},
	[PERIOD_START] = {"period_start", false},
	[PERIOD_END] = {"period_end", false},
	[TAX_CATEGORY] = {"tax_category", false},
};

static const BillingStatedForm form = {
	.array = "items",
	.element = "item",
	.example = "[{\"description\": \"Setup\", \"amount\": \"100\"}]",
	.known = "An item states description, quantity, unit_amount or amount, price_code, period_start, period_end and tax_category.",
	.terms = terms,
	.nterms = NTERMS,
};

static void check_line(const BillingStated *line);
static void put_line(ReturnSetInfo *result, const BillingStated *line, const BillingCurrency *currency);
static Datum text_of(const BillingStated *line, int term, bool *isnull);
static Datum number_of(const BillingStated *line, int term);
static Datum amount_of(const BillingStated *line, Datum quantity, Datum unit_amount, const BillingCurrency *currency);
static Datum instant_of(const BillingStated *line, int term, bool *isnull);
static void check_period(const BillingStated *line, const Datum *values, const bool *nulls);

/*
 * billing_manual_lines
 *		The lines that a JSON array states, numbered, with their amounts in a
 *		currency; raises 22023 and names the line for what is none.
 */
Datum
billing_manual_lines(PG_FUNCTION_ARGS)
{
	const BillingCurrency *currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(1));
	BillingStated line;

	billing_stated_begin(&line, &form, PG_GETARG_JSONB_P(0));
	InitMaterializedSRF(fcinfo, 0);
	while (billing_stated_next(&line))
	{
		check_line(&line);
		put_line((ReturnSetInfo *) fcinfo->resultinfo, &line, currency);
	}
	return (Datum) 0;
}

static void
check_line(const BillingStated *line)
{
	if (line->texts[DESCRIPTION] == NULL || line->texts[DESCRIPTION][0] == '\0')
		billing_stated_report(line, "description", "is missing", "Say what is billed.");
	if ((line->texts[UNIT_AMOUNT] == NULL) == (line->texts[AMOUNT] == NULL))
		billing_stated_report(line, "amount", "must be stated once", "Give either amount, or unit_amount and quantity.");
	if ((line->texts[PERIOD_START] == NULL) != (line->texts[PERIOD_END] == NULL))
		billing_stated_report(line, "period_start", "must be stated with period_end", "Give both ends of the period, or none.");
}

static void
put_line(ReturnSetInfo *result, const BillingStated *line, const BillingCurrency *currency)
{
	Datum		values[NTERMS + 1];
	bool		nulls[NTERMS + 1] = {false};

	values[0] = Int32GetDatum(line->number);
	values[1 + DESCRIPTION] = text_of(line, DESCRIPTION, &nulls[1 + DESCRIPTION]);
	values[1 + QUANTITY] = number_of(line, QUANTITY);
	values[1 + UNIT_AMOUNT] = number_of(line, UNIT_AMOUNT);
	nulls[1 + UNIT_AMOUNT] = line->texts[UNIT_AMOUNT] == NULL;
	values[1 + AMOUNT] = amount_of(line, values[1 + QUANTITY], values[1 + UNIT_AMOUNT], currency);
	values[1 + PRICE_CODE] = text_of(line, PRICE_CODE, &nulls[1 + PRICE_CODE]);
	values[1 + PERIOD_START] = instant_of(line, PERIOD_START, &nulls[1 + PERIOD_START]);
	values[1 + PERIOD_END] = instant_of(line, PERIOD_END, &nulls[1 + PERIOD_END]);
	values[1 + TAX_CATEGORY] = text_of(line, TAX_CATEGORY, &nulls[1 + TAX_CATEGORY]);
	check_period(line, values, nulls);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static Datum
text_of(const BillingStated *line, int term, bool *isnull)
{
	*isnull = line->texts[term] == NULL;
	return *isnull ? (Datum) 0 : CStringGetTextDatum(line->texts[term]);
}

/* A number that is finite; a quantity is 1 unless stated. */
static Datum
number_of(const BillingStated *line, int term)
{
	const char *text = line->texts[term] != NULL ? line->texts[term] : "1";
	Datum		number = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	if (numeric_is_nan(DatumGetNumeric(number)) || numeric_is_inf(DatumGetNumeric(number)))
		billing_stated_report(line, terms[term].name, "is not finite", "Give it a number.");
	return number;
}

static Datum
amount_of(const BillingStated *line, Datum quantity, Datum unit_amount, const BillingCurrency *currency)
{
	if (line->texts[AMOUNT] != NULL)
		return PointerGetDatum(billing_stated_amount(line, AMOUNT, currency));
	return PointerGetDatum(billing_amount_round(DatumGetNumeric(DirectFunctionCall2(numeric_mul, quantity, unit_amount)),
												currency));
}

static Datum
instant_of(const BillingStated *line, int term, bool *isnull)
{
	*isnull = line->texts[term] == NULL;
	return *isnull ? (Datum) 0 : TimestampTzGetDatum(billing_stated_instant(line, term));
}

static void
check_period(const BillingStated *line, const Datum *values, const bool *nulls)
{
	if (!nulls[1 + PERIOD_START] &&
		DatumGetTimestampTz(values[1 + PERIOD_END]) < DatumGetTimestampTz(values[1 + PERIOD_START]))
		billing_stated_report(line, "period_end", "is before period_start",
							  "A period is half-open, from its start to its end.");
}
