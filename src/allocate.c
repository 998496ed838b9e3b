/*-------------------------------------------------------------------------
 *
 * allocate.c
 *	  Splitting an amount by weights into parts that sum to it.
 *
 * Each part gets its share cut to whole units; the units left over go one each
 * to the parts that lost most by the cut, the earlier of equals first (the method
 * of largest remainders).  The split is made on the magnitude, so that a credit
 * splits as its charge did.  Shares are computed in 128 bits, or in numeric where
 * the weights are too long for that; the result is the same.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "amount.h"
#include "exact.h"

BILLING_FUNCTION(billing_allocate);

/* One part of an allocation on the way. */
typedef struct Share
{
	uint64		units;			/* magnitude */
	int			index;
	union
	{
		uint128		whole;
		Numeric		exact;
	}			rest;			/* what was cut off, in the weights' measure */
} Share;

/* More parts would not fit the result into an array. */
#define MAX_PARTS 10000000

static Numeric *read_weights(ArrayType *array, int *count);
static bool check_weight(Numeric weight, int index);
static bool split_decimal(uint64 magnitude, const Numeric *weights, int count, Share *shares);
static bool scale_weights(const Numeric *weights, int count, uint128 *scaled, uint128 *total);
static void split_exactly(uint64 magnitude, const Numeric *weights, int count, Share *shares);
static Numeric sum_weights(const Numeric *weights, int count);
static void hand_out_rest(uint64 magnitude, Share *shares, int count, bool exact);
static int	compare_whole_rests(const void *a, const void *b, void *arg);
static int	compare_exact_rests(const void *a, const void *b, void *arg);
static ArrayType *make_parts(const BillingAmount *whole, const Share *shares, int count,
							 Oid element_type);

Datum
billing_allocate(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Oid			element_type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
	uint64		magnitude = amount->units < 0 ? -(uint64) amount->units : amount->units;
	int			count;
	Numeric    *weights = read_weights(array, &count);
	Share	   *shares = palloc_array(Share, count);
	bool		exact = !split_decimal(magnitude, weights, count, shares);

	if (exact)
		split_exactly(magnitude, weights, count, shares);
	hand_out_rest(magnitude, shares, count, exact);

	PG_RETURN_ARRAYTYPE_P(make_parts(amount, shares, count, element_type));
}

/*
 * read_weights
 *		The elements of the array of weights, checked one by one.
 */
static Numeric *
read_weights(ArrayType *array, int *count)
{
	Datum	   *elements;
	bool	   *nulls;
	Numeric    *weights;
	bool		any_positive = false;

	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weights must be a one-dimensional array that is not empty"),
				 errdetail("dimensions=%d", ARR_NDIM(array)),
				 errhint("Give one weight for each part.")));
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > MAX_PARTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot allocate to more than %d parts", MAX_PARTS),
				 errdetail("parts=%d", ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array))),
				 errhint("Allocate to groups first, then within each.")));

	deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &elements, &nulls, count);
	weights = palloc_array(Numeric, *count);
	for (int i = 0; i < *count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		weights[i] = nulls[i] ? NULL : DatumGetNumeric(elements[i]);
		any_positive |= check_weight(weights[i], i);
	}

	if (!any_positive)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weights are all zero"),
				 errdetail("There is no part to give the amount to."),
				 errhint("Give at least one part a weight above zero.")));
	return weights;
}

/*
 * check_weight
 *		Refuse what is no weight; tell whether it is above zero.
 */
static bool
check_weight(Numeric weight, int index)
{
	BillingNumericKind kind;
	BillingDecimal magnitude;
	bool		negative;
	const char *problem = NULL;

	if (weight == NULL)
		problem = "It is null.";
	else
	{
		kind = billing_numeric_read((struct varlena *) weight, &magnitude, &negative);
		if (kind == BILLING_NUMERIC_NOT_FINITE)
			problem = "It is NaN or infinity.";
		else if (negative)
			problem = "It is negative.";
	}

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weight %d is not a weight", index + 1),
				 errdetail_internal("%s", problem),
				 errhint("A weight is a finite number, zero or more.")));
	return kind == BILLING_NUMERIC_LARGE || magnitude.digits > 0;
}

/*
 * split_decimal
 *		Cut the shares in 128 bits; false if the weights have too many digits.
 */
static bool
split_decimal(uint64 magnitude, const Numeric *weights, int count, Share *shares)
{
	uint128    *scaled = palloc_array(uint128, count);
	uint128		total;
	uint128		product;
	bool		fits = scale_weights(weights, count, scaled, &total) &&
		billing_uint128_mul(total, magnitude, &product);

	for (int i = 0; i < count && fits; i++)
	{
		CHECK_FOR_INTERRUPTS();
		product = scaled[i] * magnitude;
		shares[i].index = i;
		shares[i].units = (uint64) (product / total);
		shares[i].rest.whole = product % total;
	}

	pfree(scaled);
	return fits;
}

/*
 * scale_weights
 *		The weights and their total as whole numbers in one measure; false if they
 *		do not fit.
 */
static bool
scale_weights(const Numeric *weights, int count, uint128 *scaled, uint128 *total)
{
	int		   *scales = palloc_array(int, count);
	int			max_scale = 0;
	bool		fits = true;

	for (int i = 0; i < count && fits; i++)
	{
		BillingDecimal weight;
		bool		negative;

		CHECK_FOR_INTERRUPTS();
		fits = billing_numeric_read((struct varlena *) weights[i], &weight, &negative) ==
			BILLING_NUMERIC_FITS;
		scaled[i] = weight.digits;
		scales[i] = weight.scale;
		max_scale = fits ? Max(max_scale, weight.scale) : 0;
	}

	*total = 0;
	for (int i = 0; i < count && fits; i++)
		fits = billing_uint128_shift(scaled[i], max_scale - scales[i], &scaled[i]) &&
			billing_uint128_add(*total, scaled[i], total);

	pfree(scales);
	return fits;
}

/*
 * split_exactly
 *		Cut the shares in numeric, for weights of any length.
 *
 * Counts with the negative of the magnitude, because the minimum of int64 has
 * no positive twin.
 */
static void
split_exactly(uint64 magnitude, const Numeric *weights, int count, Share *shares)
{
	Numeric		units = int64_to_numeric((int64) -magnitude);
	Numeric		total = sum_weights(weights, count);
	MemoryContext result = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(result, "billing.allocate",
												  ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < count; i++)
	{
		Numeric		product;
		Numeric		share;
		int64		cut;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		product = billing_numeric_mul(units, weights[i]);
		share = billing_numeric_div_trunc(product, total);
		if (!billing_numeric_round(share, 0, &cut))
			elog(ERROR, "share of an amount is larger than the amount");
		share = billing_numeric_mul(share, total);

		MemoryContextSwitchTo(result);
		shares[i].index = i;
		shares[i].units = -(uint64) cut;
		shares[i].rest.exact = billing_numeric_sub(share, product);
		MemoryContextReset(scratch);
	}

	MemoryContextDelete(scratch);
}

static Numeric
sum_weights(const Numeric *weights, int count)
{
	Numeric		total = int64_to_numeric(0);

	for (int i = 0; i < count; i++)
	{
		Numeric		next = billing_numeric_add(total, weights[i]);

		CHECK_FOR_INTERRUPTS();
		pfree(total);
		total = next;
	}
	return total;
}

/*
 * hand_out_rest
 *		Give the units no share got to the shares with the largest rests.
 */
static void
hand_out_rest(uint64 magnitude, Share *shares, int count, bool exact)
{
	uint64		left = magnitude;

	for (int i = 0; i < count; i++)
		left -= shares[i].units;
	if (left == 0)
		return;

	qsort_interruptible(shares, count, sizeof(Share),
						exact ? compare_exact_rests : compare_whole_rests, NULL);
	for (uint64 i = 0; i < left; i++)
		shares[i].units++;
}

/*
 * compare_whole_rests
 *		Larger rests first, the earlier of equals first.
 */
static int
compare_whole_rests(const void *a, const void *b, void *arg)
{
	const Share *x = a;
	const Share *y = b;

	if (x->rest.whole != y->rest.whole)
		return x->rest.whole > y->rest.whole ? -1 : 1;
	return x->index - y->index;
}

static int
compare_exact_rests(const void *a, const void *b, void *arg)
{
	const Share *x = a;
	const Share *y = b;
	int			order = billing_numeric_cmp(y->rest.exact, x->rest.exact);

	return order != 0 ? order : x->index - y->index;
}

/*
 * make_parts
 *		The shares, in the order of their weights, as an array of amounts with
 *		the sign and the currency of the whole.
 */
static ArrayType *
make_parts(const BillingAmount *whole, const Share *shares, int count, Oid element_type)
{
	BillingAmount *parts = palloc_array(BillingAmount, count);
	Datum	   *elements = palloc_array(Datum, count);

	for (int i = 0; i < count; i++)
	{
		BillingAmount *part = &parts[shares[i].index];
		uint64		units = shares[i].units;

		*part = *whole;
		part->units = (int64) (whole->units < 0 ? -units : units);
		elements[shares[i].index] = PointerGetDatum(part);
	}

	return construct_array(elements, count, element_type, sizeof(BillingAmount), false,
						   TYPALIGN_DOUBLE);
}
