/*-------------------------------------------------------------------------
 *
 * ledger.c
 *	  Double entry: the lines of a transaction sum to zero.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"

#include "amount.h"

BILLING_FUNCTION(billing_is_balanced);

static int	count_elements(ArrayType *array);
static bool sums_to_zero(const BillingAmount *amounts, int n, const char *currency);

/*
 * billing_is_balanced
 *		Is there an account for each amount, and does each currency sum to zero?
 *
 * Amounts are of fixed length, so that an array without NULLs is a C array.
 */
Datum
billing_is_balanced(PG_FUNCTION_ARGS)
{
	ArrayType  *accounts = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	const BillingAmount *amounts = (const BillingAmount *) ARR_DATA_PTR(array);
	int			n = count_elements(array);

	if (n < 2 || count_elements(accounts) != n)
		PG_RETURN_BOOL(false);

	for (int i = 0; i < n; i++)
	{
		if (!sums_to_zero(amounts, n, amounts[i].currency))
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

/* Elements of an array of one dimension without NULLs; -1 of any other. */
static int
count_elements(ArrayType *array)
{
	if (ARR_NDIM(array) != 1 || ARR_HASNULL(array))
		return -1;
	return ARR_DIMS(array)[0];
}

static bool
sums_to_zero(const BillingAmount *amounts, int n, const char *currency)
{
	int128		sum = 0;

	for (int i = 0; i < n; i++)
	{
		if (memcmp(amounts[i].currency, currency, sizeof(amounts[i].currency)) == 0)
			sum += amounts[i].units;
	}
	return sum == 0;
}
