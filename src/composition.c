/*-------------------------------------------------------------------------
 *
 * composition.c
 *	  What an invoice amounts to: the one place where lines become a total.
 *
 * The bill run calls it from C (made.c); drafts, one-off invoices, previews and
 * verification as the function billing.compose.  The order is that of an invoice: items,
 * true-ups of commitments, coupons, taxes, total, and what a total below zero leaves.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "composition.h"
#include "exact.h"
#include "result.h"

BILLING_FUNCTION(billing_compose);
BILLING_FUNCTION(billing_tax_shares);

/* The columns of type billing.applied_tax. */
enum
{
	TAX_RATE, PERCENT, IS_INCLUSIVE, LINES, NOTE, APPLIED_TAX_COLUMNS
};

/* The columns of type billing.composition. */
enum
{
	SUBTOTAL, DISCOUNT, TAX, TAX_INCLUDED, TOTAL, EXCESS, TAX_PERCENT, LINE_TAXES, LINE_INCLUDED, BASES, TAX_AMOUNTS,
	COMPOSITION_COLUMNS
};

static BillingAmount make_amount(int128 units, const char *currency);
static const BillingAmount *read_amounts(FunctionCallInfo fcinfo, int arg, int count, const char *name);
static void read_composition(FunctionCallInfo fcinfo, BillingComposition *composition);
static void read_lines(FunctionCallInfo fcinfo, BillingComposition *composition);
static void read_taxes(ArrayType *array, BillingComposition *composition);
static void read_tax(HeapTupleHeader row, int line_count, BillingTax *tax);
static void read_bearers(ArrayType *array, int line_count, bool *bears);
static void put_share(ReturnSetInfo *rows, const BillingComposition *composition, int line, int tax);
static Datum make_result(FunctionCallInfo fcinfo, const BillingComposition *composition);
static Datum make_array(TupleDesc tupdesc, int column, const BillingAmount *amounts, int count, bool is_sparse);

void
billing_composition_choose_taxes(BillingComposition *composition, const BillingTaxTerms *terms)
{
	BillingTaxLine *lines = palloc(Max(composition->line_count, 1) * sizeof(BillingTaxLine));

	for (int i = 0; i < composition->line_count; i++)
		lines[i].category = composition->lines[i].tax_category;
	composition->taxes = billing_tax_choose(terms, lines, composition->line_count, &composition->tax_count);
	pfree(lines);
}

/*
 * billing_composition_make
 *		Taxes, sums and total of lines whose discounts are stated; raises YB003.
 */
void
billing_composition_make(BillingComposition *composition)
{
	const char *currency = composition->currency;
	int			count = composition->line_count;
	BillingTaxLine *shares = palloc(Max(count, 1) * sizeof(BillingTaxLine));
	int128		subtotal = 0;
	int128		discount = 0;
	int128		tax = 0;
	int128		included = 0;
	int128		total;

	for (int i = 0; i < count; i++)
	{
		BillingComposedLine *line = &composition->lines[i];

		subtotal += line->amount;
		discount += line->discount;
		shares[i].net = make_amount((int128) line->amount - line->discount, currency).units;
	}
	if (!billing_tax_calculate(shares, count, composition->taxes, composition->tax_count))
		billing_amount_out_of_range(currency);
	for (int i = 0; i < count; i++)
	{
		composition->lines[i].tax = shares[i].tax;
		composition->lines[i].tax_included = shares[i].included;
		tax += shares[i].tax;
		included += shares[i].included;
	}

	total = subtotal - discount + tax - included;
	composition->nothing = make_amount(0, currency);
	composition->subtotal = make_amount(subtotal, currency);
	composition->discount = make_amount(discount, currency);
	composition->tax = make_amount(tax, currency);
	composition->tax_included = make_amount(included, currency);
	composition->total = make_amount(Max(total, 0), currency);
	composition->excess = make_amount(Max(-total, 0), currency);
	pfree(shares);
}

static BillingAmount
make_amount(int128 units, const char *currency)
{
	return *billing_amount_make_checked(units, currency);
}

Numeric
billing_composition_percent(const BillingComposition *composition)
{
	if (composition->tax_count == 0)
		return int64_to_numeric(0);
	return composition->tax_count == 1 && composition->taxes[0].bears == NULL ? composition->taxes[0].percent : NULL;
}

Datum
billing_composition_bearers(const BillingComposition *composition, const BillingTax *tax)
{
	Datum	   *lines;
	int			count = 0;

	if (tax->bears == NULL)
		return (Datum) 0;
	lines = palloc(Max(composition->line_count, 1) * sizeof(Datum));
	for (int i = 0; i < composition->line_count; i++)
	{
		if (tax->bears[i])
			lines[count++] = Int32GetDatum(i + 1);
	}
	return PointerGetDatum(construct_array(lines, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/*
 * billing_compose
 *		The same for SQL: currency, amounts, discounts, taxes.
 */
Datum
billing_compose(PG_FUNCTION_ARGS)
{
	BillingComposition composition = {0};

	read_composition(fcinfo, &composition);
	billing_composition_make(&composition);
	return make_result(fcinfo, &composition);
}

static void
read_composition(FunctionCallInfo fcinfo, BillingComposition *composition)
{
	composition->currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(0))->code;
	read_lines(fcinfo, composition);
	read_taxes(PG_GETARG_ARRAYTYPE_P(3), composition);
}

static void
read_lines(FunctionCallInfo fcinfo, BillingComposition *composition)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	int			count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const BillingAmount *amounts = read_amounts(fcinfo, 1, count, "amounts");
	const BillingAmount *discounts = read_amounts(fcinfo, 2, count, "discounts");
	const BillingAmount *nothing = billing_amount_make(0, composition->currency);

	composition->line_count = count;
	composition->lines = palloc0(Max(count, 1) * sizeof(BillingComposedLine));
	for (int i = 0; i < count; i++)
	{
		billing_amount_check_same_currency(nothing, &amounts[i]);
		billing_amount_check_same_currency(nothing, &discounts[i]);
		composition->lines[i].amount = amounts[i].units;
		composition->lines[i].discount = discounts[i].units;
	}
}

/* Amounts are of fixed length, so that an array without NULLs is a C array. */
static const BillingAmount *
read_amounts(FunctionCallInfo fcinfo, int arg, int count, const char *name)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);

	if (ARR_NDIM(array) > 1 || ARR_HASNULL(array) || ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be an array of one amount for each line", name),
				 errdetail("argument=%s lines=%d", name, count),
				 errhint("Give it one dimension, no NULL, and as many elements as amounts.")));
	return (const BillingAmount *) ARR_DATA_PTR(array);
}

static void
read_taxes(ArrayType *array, BillingComposition *composition)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *rows;
	bool	   *nulls;

	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, type, typlen, typbyval, typalign, &rows, &nulls, &composition->tax_count);
	composition->taxes = palloc0(Max(composition->tax_count, 1) * sizeof(BillingTax));
	for (int i = 0; i < composition->tax_count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a tax must not be null"),
					 errdetail("argument=taxes"),
					 errhint("Give an array of what billing.choose_taxes() returns.")));
		read_tax(DatumGetHeapTupleHeader(rows[i]), composition->line_count, &composition->taxes[i]);
	}
}

static void
read_tax(HeapTupleHeader row, int line_count, BillingTax *tax)
{
	bool		isnull;
	int64		parts;
	Datum		value = GetAttributeByNum(row, TAX_RATE + 1, &isnull);

	tax->code = isnull ? NULL : TextDatumGetCString(value);
	value = GetAttributeByNum(row, PERCENT + 1, &isnull);
	tax->percent = isnull ? NULL : DatumGetNumeric(value);
	if (isnull || numeric_is_nan(tax->percent) || numeric_is_inf(tax->percent) || !billing_tax_parts(tax->percent, &parts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("percent of a tax is not from 0 to 100"),
				 errdetail("argument=taxes tax_rate=%s", tax->code == NULL ? "" : tax->code),
				 errhint("19 is 19 %%.")));
	value = GetAttributeByNum(row, IS_INCLUSIVE + 1, &isnull);
	tax->is_inclusive = !isnull && DatumGetBool(value);
	value = GetAttributeByNum(row, LINES + 1, &isnull);
	if (!isnull)
	{
		tax->bears = palloc0(Max(line_count, 1) * sizeof(bool));
		read_bearers(DatumGetArrayTypeP(value), line_count, tax->bears);
	}
	value = GetAttributeByNum(row, NOTE + 1, &isnull);
	tax->note = isnull ? NULL : TextDatumGetCString(value);
}

/* A line that is not there bears nothing: who verifies an invoice may find fewer than it states. */
static void
read_bearers(ArrayType *array, int line_count, bool *bears)
{
	Datum	   *lines;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &lines, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i] && DatumGetInt32(lines[i]) >= 1 && DatumGetInt32(lines[i]) <= line_count)
			bears[DatumGetInt32(lines[i]) - 1] = true;
	}
}

static Datum
make_result(FunctionCallInfo fcinfo, const BillingComposition *composition)
{
	int			count = composition->line_count;
	BillingAmount *amounts = palloc(Max(Max(count, composition->tax_count), 1) * sizeof(BillingAmount));
	Numeric		percent = billing_composition_percent(composition);
	TupleDesc	tupdesc = billing_result_type(fcinfo, COMPOSITION_COLUMNS);
	Datum		values[COMPOSITION_COLUMNS];
	bool		nulls[COMPOSITION_COLUMNS] = {false};

	values[SUBTOTAL] = PointerGetDatum(&composition->subtotal);
	values[DISCOUNT] = PointerGetDatum(&composition->discount);
	values[TAX] = PointerGetDatum(&composition->tax);
	values[TAX_INCLUDED] = PointerGetDatum(&composition->tax_included);
	nulls[TAX_INCLUDED] = composition->tax_included.units == 0;
	values[TOTAL] = PointerGetDatum(&composition->total);
	values[EXCESS] = PointerGetDatum(&composition->excess);
	values[TAX_PERCENT] = percent == NULL ? (Datum) 0 : NumericGetDatum(percent);
	nulls[TAX_PERCENT] = percent == NULL;

	for (int i = 0; i < count; i++)
		amounts[i] = make_amount(composition->lines[i].tax, composition->currency);
	values[LINE_TAXES] = make_array(tupdesc, LINE_TAXES, amounts, count, false);
	for (int i = 0; i < count; i++)
		amounts[i] = make_amount(composition->lines[i].tax_included, composition->currency);
	values[LINE_INCLUDED] = make_array(tupdesc, LINE_INCLUDED, amounts, count, true);
	for (int i = 0; i < composition->tax_count; i++)
		amounts[i] = make_amount(composition->taxes[i].base, composition->currency);
	values[BASES] = make_array(tupdesc, BASES, amounts, composition->tax_count, false);
	for (int i = 0; i < composition->tax_count; i++)
		amounts[i] = make_amount(composition->taxes[i].amount, composition->currency);
	values[TAX_AMOUNTS] = make_array(tupdesc, TAX_AMOUNTS, amounts, composition->tax_count, false);
	PG_RETURN_DATUM(billing_result_make(fcinfo, COMPOSITION_COLUMNS, values, nulls));
}

/* An array of amounts; of a sparse one NULL instead of zero. */
static Datum
make_array(TupleDesc tupdesc, int column, const BillingAmount *amounts, int count, bool is_sparse)
{
	Oid			type = get_element_type(TupleDescAttr(tupdesc, column)->atttypid);
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(count, 1) * sizeof(bool));
	int			lower = 1;

	for (int i = 0; i < count; i++)
	{
		elements[i] = PointerGetDatum(&amounts[i]);
		nulls[i] = is_sparse && amounts[i].units == 0;
	}
	return PointerGetDatum(construct_md_array(elements, nulls, 1, &count, &lower, type, sizeof(BillingAmount), false, TYPALIGN_DOUBLE));
}

/*
 * billing_tax_shares
 *		What each line has of each tax that it bears, of the arguments of compose.
 */
Datum
billing_tax_shares(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rows = (ReturnSetInfo *) fcinfo->resultinfo;
	BillingComposition composition = {0};

	InitMaterializedSRF(fcinfo, 0);
	read_composition(fcinfo, &composition);
	for (int i = 0; i < composition.tax_count; i++)
		composition.taxes[i].shares = palloc0(Max(composition.line_count, 1) * sizeof(int64));
	billing_composition_make(&composition);

	for (int line = 0; line < composition.line_count; line++)
	{
		for (int i = 0; i < composition.tax_count; i++)
			put_share(rows, &composition, line, i);
	}
	return (Datum) 0;
}

static void
put_share(ReturnSetInfo *rows, const BillingComposition *composition, int line, int tax)
{
	const BillingTax *of = &composition->taxes[tax];
	BillingAmount share = make_amount(of->shares[line], composition->currency);
	Datum		values[] = {Int32GetDatum(line + 1), Int32GetDatum(tax + 1), PointerGetDatum(&share)};
	bool		nulls[lengthof(values)] = {false};

	CHECK_FOR_INTERRUPTS();
	if (of->bears == NULL || of->bears[line])
		tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}
