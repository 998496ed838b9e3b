/*-------------------------------------------------------------------------
 *
 * credit.c
 *	  What a part of a line takes back of its discount and tax.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "amount.h"
#include "credit.h"

BILLING_FUNCTION(billing_credit_share);

static int128 share_until(int64 share, int64 amount, int128 until);
static void check_part(const BillingAmount *amount, int64 before, int64 part);

int64
billing_credit_units(int64 share, int64 amount, int64 before, int64 part)
{
	return (int64) (share_until(share, amount, (int128) before + part) - share_until(share, amount, before));
}

/* The quotient is at most the share, so the product of two 64-bit numbers is all there is to hold. */
static int128
share_until(int64 share, int64 amount, int128 until)
{
	int128		n = share * until;

	return amount < 0 ? billing_round_div(-n, -(int128) amount) : billing_round_div(n, amount);
}

/*
 * billing_credit_share
 *		The same of amounts: (share, amount, before, part).
 */
Datum
billing_credit_share(PG_FUNCTION_ARGS)
{
	BillingAmount *share = PG_GETARG_BILLING_AMOUNT_P(0);
	BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(1);
	BillingAmount *before = PG_GETARG_BILLING_AMOUNT_P(2);
	BillingAmount *part = PG_GETARG_BILLING_AMOUNT_P(3);

	billing_amount_check_same_currency(share, amount);
	billing_amount_check_same_currency(share, before);
	billing_amount_check_same_currency(share, part);
	check_part(amount, before->units, part->units);
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(billing_credit_units(share->units, amount->units, before->units,
																		part->units), share->currency));
}

static void
check_part(const BillingAmount *amount, int64 before, int64 part)
{
	int128		until = (int128) before + part;
	int64		low = Min(amount->units, 0);
	int64		high = Max(amount->units, 0);

	if (amount->units != 0 && before >= low && before <= high && until >= low && until <= high)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
			 errmsg("the part is not one of the amount"),
			 errdetail("amount=%lld before=%lld part=%lld currency=%s", (long long) amount->units,
					   (long long) before, (long long) part, amount->currency),
			 errhint("What was taken before, and that with the part, lie between nothing and the whole amount.")));
}
