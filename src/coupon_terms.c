/*-------------------------------------------------------------------------
 *
 * coupon_terms.c
 *	  Terms of coupons as SQL has them, and the rule over arrays.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "amount.h"
#include "coupon_terms.h"
#include "exact.h"
#include "result.h"

BILLING_FUNCTION(billing_discount);

/* The columns of type billing.coupon_terms. */
enum
{
	COUPON, PERCENT, AMOUNT, CURRENCY, MIN_AMOUNT, MAX_DISCOUNT, PRICES, PLANS, IS_STACKABLE
};

/* The columns of type billing.discounted. */
enum
{
	DISCOUNT, LINE_DISCOUNTS, COUPON_DISCOUNTS, COUPON_LEFT, DISCOUNTED_COLUMNS
};

static int64 read_percent(const char *code, Numeric percent);
static int64 read_amount(HeapTupleHeader row, int column, BillingCoupon *coupon, int64 if_null);
static BillingCodes read_codes(HeapTupleHeader row, int column);
pg_noreturn static void report_terms(const char *code, const char *problem);
static BillingDiscountLine *read_lines(FunctionCallInfo fcinfo, const char *currency, int *count);
static const char **read_line_codes(FunctionCallInfo fcinfo, int arg, int count, const char *name);
pg_noreturn static void report_array(const char *name, int lines);
static BillingCoupon *read_coupons(ArrayType *array, int *count);
static Datum make_amounts(TupleDesc tupdesc, int column, const char *currency, const int64 *units, const bool *nulls, int count);

void
billing_coupon_read_terms(HeapTupleHeader row, BillingCoupon *coupon)
{
	bool		isnull;
	bool		is_fixed;
	Datum		value = GetAttributeByNum(row, COUPON + 1, &isnull);

	memset(coupon, 0, sizeof(*coupon));
	coupon->code = isnull ? "" : TextDatumGetCString(value);
	value = GetAttributeByNum(row, CURRENCY + 1, &isnull);
	coupon->currency = isnull ? NULL : billing_amount_find_currency(DatumGetTextPP(value))->code;
	value = GetAttributeByNum(row, PERCENT + 1, &isnull);
	coupon->is_percentage = !isnull;
	if (!isnull)
		coupon->parts = read_percent(coupon->code, DatumGetNumeric(value));
	(void) GetAttributeByNum(row, AMOUNT + 1, &isnull);
	is_fixed = !isnull;
	if (is_fixed == coupon->is_percentage)
		report_terms(coupon->code, "It needs either a percent or an amount.");

	coupon->amount = read_amount(row, AMOUNT, coupon, 0);
	coupon->min_amount = read_amount(row, MIN_AMOUNT, coupon, 0);
	coupon->max_discount = read_amount(row, MAX_DISCOUNT, coupon, PG_INT64_MAX);
	coupon->prices = read_codes(row, PRICES);
	coupon->plans = read_codes(row, PLANS);
	value = GetAttributeByNum(row, IS_STACKABLE + 1, &isnull);
	coupon->is_stackable = isnull || DatumGetBool(value);
}

/* Millionths of a percent. */
static int64
read_percent(const char *code, Numeric percent)
{
	int64		parts;

	if (numeric_is_nan(percent) || numeric_is_inf(percent) || !billing_numeric_round(percent, 6, &parts) ||
		parts < 0 || parts > BILLING_COUPON_WHOLE ||
		billing_numeric_cmp(percent, billing_numeric_from_decimal(parts, 6)) != 0)
		report_terms(code, "Its percent is from 0 to 100, with at most six decimals.");
	return parts;
}

/* Units of an amount, which is in the coupon's currency, or says what that is. */
static int64
read_amount(HeapTupleHeader row, int column, BillingCoupon *coupon, int64 if_null)
{
	bool		isnull;
	Datum		value = GetAttributeByNum(row, column + 1, &isnull);
	const BillingAmount *amount;

	if (isnull)
		return if_null;
	amount = DatumGetBillingAmountP(value);
	if (amount->units < 0)
		report_terms(coupon->code, "Its amounts are not negative.");
	if (coupon->currency == NULL)
		coupon->currency = billing_amount_find_currency(cstring_to_text(amount->currency))->code;
	else if (strcmp(coupon->currency, amount->currency) != 0)
		billing_amount_raise_mixed(coupon->currency, amount->currency);
	return amount->units;
}

static BillingCodes
read_codes(HeapTupleHeader row, int column)
{
	BillingCodes list = {NULL, -1};
	bool		isnull;
	Datum		value = GetAttributeByNum(row, column + 1, &isnull);
	Datum	   *elements;
	bool	   *nulls;

	if (isnull)
		return list;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &list.count);
	list.codes = palloc(Max(list.count, 1) * sizeof(char *));
	for (int i = 0; i < list.count; i++)
		list.codes[i] = nulls[i] ? "" : TextDatumGetCString(elements[i]);
	return list;
}

static void
report_terms(const char *code, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("terms of coupon \"%s\" are not terms of a coupon", code),
			 errdetail("argument=coupons coupon=%s", code),
			 errhint("%s", problem)));
}

/*
 * billing_discount
 *		The rule for SQL: currency, amounts, coupons, prices, plans.
 */
Datum
billing_discount(PG_FUNCTION_ARGS)
{
	const char *currency;
	BillingDiscountLine *lines;
	BillingCoupon *coupons;
	int			line_count;
	int			coupon_count;
	TupleDesc	tupdesc = billing_result_type(fcinfo, DISCOUNTED_COLUMNS);
	Datum		values[DISCOUNTED_COLUMNS];
	bool		nulls[DISCOUNTED_COLUMNS] = {false};
	int64	   *units;
	bool	   *missing;
	int128		sum = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(0))->code;
	lines = read_lines(fcinfo, currency, &line_count);
	coupons = read_coupons(PG_GETARG_ARRAYTYPE_P(2), &coupon_count);
	if (!billing_discount_calculate(currency, lines, line_count, coupons, coupon_count))
		billing_amount_out_of_range(currency);

	units = palloc(Max(Max(line_count, coupon_count), 1) * sizeof(int64));
	missing = palloc0(Max(Max(line_count, coupon_count), 1) * sizeof(bool));
	for (int i = 0; i < line_count; i++)
		units[i] = lines[i].discount;
	values[LINE_DISCOUNTS] = make_amounts(tupdesc, LINE_DISCOUNTS, currency, units, missing, line_count);
	for (int i = 0; i < coupon_count; i++)
		sum += (units[i] = coupons[i].discount);
	values[COUPON_DISCOUNTS] = make_amounts(tupdesc, COUPON_DISCOUNTS, currency, units, missing, coupon_count);
	values[DISCOUNT] = PointerGetDatum(billing_amount_make_checked(sum, currency));
	for (int i = 0; i < coupon_count; i++)
	{
		units[i] = coupons[i].amount - coupons[i].discount;
		missing[i] = coupons[i].is_percentage || strcmp(coupons[i].currency, currency) != 0;
	}
	values[COUPON_LEFT] = make_amounts(tupdesc, COUPON_LEFT, currency, units, missing, coupon_count);
	PG_RETURN_DATUM(billing_result_make(fcinfo, DISCOUNTED_COLUMNS, values, nulls));
}

static BillingDiscountLine *
read_lines(FunctionCallInfo fcinfo, const char *currency, int *count)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	const BillingAmount *amounts = (const BillingAmount *) ARR_DATA_PTR(array);
	const BillingAmount *nothing = billing_amount_make(0, currency);
	BillingDiscountLine *lines;
	const char **prices;
	const char **plans;

	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (ARR_NDIM(array) > 1 || ARR_HASNULL(array))
		report_array("amounts", *count);
	prices = read_line_codes(fcinfo, 3, *count, "prices");
	plans = read_line_codes(fcinfo, 4, *count, "plans");
	lines = palloc0(Max(*count, 1) * sizeof(BillingDiscountLine));
	for (int i = 0; i < *count; i++)
	{
		billing_amount_check_same_currency(nothing, &amounts[i]);
		lines[i].amount = amounts[i].units;
		lines[i].price = prices[i];
		lines[i].plan = plans[i];
	}
	return lines;
}

/* One code, or NULL, for each line. */
static const char **
read_line_codes(FunctionCallInfo fcinfo, int arg, int count, const char *name)
{
	const char **codes = palloc0(Max(count, 1) * sizeof(char *));
	ArrayType  *array;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(arg))
		return codes;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1 || ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != count)
		report_array(name, count);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		codes[i] = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
	return codes;
}

static void
report_array(const char *name, int lines)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must be an array with one element for each line", name),
			 errdetail("argument=%s lines=%d", name, lines),
			 errhint("Give it one dimension and as many elements as amounts, of which none is NULL.")));
}

static BillingCoupon *
read_coupons(ArrayType *array, int *count)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *rows;
	bool	   *nulls;
	BillingCoupon *coupons;

	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, type, typlen, typbyval, typalign, &rows, &nulls, count);
	coupons = palloc0(Max(*count, 1) * sizeof(BillingCoupon));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("terms of a coupon must not be null"),
					 errdetail("argument=coupons"),
					 errhint("Leave out a coupon that there is none of.")));
		billing_coupon_read_terms(DatumGetHeapTupleHeader(rows[i]), &coupons[i]);
	}
	return coupons;
}

static Datum
make_amounts(TupleDesc tupdesc, int column, const char *currency, const int64 *units, const bool *nulls, int count)
{
	Oid			type = get_element_type(TupleDescAttr(tupdesc, column)->atttypid);
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));
	int			lower = 1;

	for (int i = 0; i < count; i++)
		elements[i] = PointerGetDatum(billing_amount_make(units[i], currency));
	if (count == 0)
		return PointerGetDatum(construct_empty_array(type));
	return PointerGetDatum(construct_md_array(elements, (bool *) nulls, 1, &count, &lower, type, sizeof(BillingAmount), false, TYPALIGN_DOUBLE));
}
