/*-------------------------------------------------------------------------
 *
 * commitment.c
 *	  What is owed at least, and at most.
 *
 * Which lines count, and what part of a bound a stub owes, is for the set statements to
 * say (billing.invoice_true_ups).
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "amount.h"
#include "commitment.h"

BILLING_FUNCTION(billing_true_up);

static bool read_bound(FunctionCallInfo fcinfo, int arg, const BillingAmount *charged, int64 *units);

/*
 * billing_true_up
 *		What lifts an amount to a minimum or, negative, lowers it to a maximum; a NULL
 *		bound is none.  Raises YB002, YB003.
 */
Datum
billing_true_up(PG_FUNCTION_ARGS)
{
	const BillingAmount *charged;
	BillingCommitment commitment;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	charged = PG_GETARG_BILLING_AMOUNT_P(0);
	commitment.has_minimum = read_bound(fcinfo, 1, charged, &commitment.minimum);
	commitment.has_maximum = read_bound(fcinfo, 2, charged, &commitment.maximum);
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make_checked(billing_commitment_true_up(charged->units, &commitment),
														   charged->currency));
}

static bool
read_bound(FunctionCallInfo fcinfo, int arg, const BillingAmount *charged, int64 *units)
{
	if (PG_ARGISNULL(arg))
		return false;
	billing_amount_check_same_currency(charged, PG_GETARG_BILLING_AMOUNT_P(arg));
	*units = PG_GETARG_BILLING_AMOUNT_P(arg)->units;
	return true;
}
