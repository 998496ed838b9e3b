/*-------------------------------------------------------------------------
 *
 * discount.c
 *	  What coupons take off the lines of an invoice.
 *
 * One coupon after the other takes off what those before it left.  It acts on the sum of
 * the lines it is for, is rounded once, half away from zero, and is shared by these lines
 * in proportion to what is left of them: each share is cut to whole units, and the units left over
 * go one each to the lines that lost most by the cut, the earlier of equals first.
 *
 * A negative line (a correction of what was billed before) is part of that sum and bears its
 * share, a negative one: so a percentage takes as much off a correction as it took off what that
 * corrects.  A discount is at most the sum, so no line changes its sign, and nothing falls below zero.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "amount.h"
#include "discount.h"

/* A line's share on the way. */
typedef struct Share
{
	int			line;
	int64		units;
	int64		rest;			/* what was cut off, in units / sum */
} Share;

static bool apply(const char *currency, BillingDiscountLine *lines, int count, BillingCoupon *coupon, Share *shares);
static int	choose_lines(const BillingDiscountLine *lines, int count, const BillingCoupon *coupon, Share *shares);
static bool lists(const BillingCodes *list, const char *code);
static int64 discount_of(const BillingCoupon *coupon, int64 sum);
static void share_out(BillingDiscountLine *lines, Share *shares, int count, int64 discount, int64 sum);
static int	compare_rests(const void *a, const void *b);

/*
 * billing_discount_calculate
 *		See discount.h.  A coupon that does not stack is alone: it takes nothing after
 *		another did, and none does after it.
 */
bool
billing_discount_calculate(const char *currency, BillingDiscountLine *lines, int line_count,
						   BillingCoupon *coupons, int coupon_count)
{
	Share	   *shares = palloc(Max(line_count, 1) * sizeof(Share));
	bool		any = false;
	bool		is_over = false;
	bool		fits = true;

	for (int i = 0; i < line_count; i++)
		lines[i].discount = 0;
	for (int i = 0; i < coupon_count && fits; i++)
	{
		BillingCoupon *coupon = &coupons[i];

		coupon->discount = 0;
		if (is_over || (any && !coupon->is_stackable))
			continue;
		fits = apply(currency, lines, line_count, coupon, shares);
		any |= coupon->discount > 0;
		is_over = coupon->discount > 0 && !coupon->is_stackable;
	}
	pfree(shares);
	return fits;
}

static bool
apply(const char *currency, BillingDiscountLine *lines, int count, BillingCoupon *coupon, Share *shares)
{
	int			chosen = choose_lines(lines, count, coupon, shares);
	int128		displayed = 0;
	int128		sum = 0;

	for (int i = 0; i < chosen; i++)
	{
		const BillingDiscountLine *line = &lines[shares[i].line];

		displayed += line->amount;
		sum += (int128) line->amount - line->discount;
	}
	if (displayed > PG_INT64_MAX || sum > PG_INT64_MAX)
		return false;
	if (coupon->currency != NULL && strcmp(coupon->currency, currency) != 0)
		return true;
	if (sum <= 0 || displayed < coupon->min_amount)
		return true;

	coupon->discount = discount_of(coupon, sum);
	share_out(lines, shares, chosen, coupon->discount, sum);
	return true;
}

/* The lines that a coupon is for. */
static int
choose_lines(const BillingDiscountLine *lines, int count, const BillingCoupon *coupon, Share *shares)
{
	int			chosen = 0;

	for (int i = 0; i < count; i++)
	{
		if (lists(&coupon->prices, lines[i].price) && lists(&coupon->plans, lines[i].plan))
			shares[chosen++].line = i;
	}
	return chosen;
}

static bool
lists(const BillingCodes *list, const char *code)
{
	if (list->count < 0)
		return true;
	for (int i = 0; i < list->count && code != NULL; i++)
	{
		if (strcmp(list->codes[i], code) == 0)
			return true;
	}
	return false;
}

/* What a coupon takes off a positive sum: at most that. */
static int64
discount_of(const BillingCoupon *coupon, int64 sum)
{
	int128		discount = coupon->is_percentage ?
		billing_round_div((int128) sum * coupon->parts, BILLING_COUPON_WHOLE) : coupon->amount;

	return (int64) Min(Min(discount, coupon->max_discount), sum);
}

/*
 * share_out
 *		Share a discount by what is left of the lines, which sums to sum.
 *
 * Shares are cut downwards, and only those that are not whole get a unit more: so each
 * lies between nothing and what is left of its line.
 */
static void
share_out(BillingDiscountLine *lines, Share *shares, int count, int64 discount, int64 sum)
{
	int64		left = discount;

	for (int i = 0; i < count; i++)
	{
		const BillingDiscountLine *line = &lines[shares[i].line];
		int128		product = (int128) discount * (line->amount - line->discount);

		shares[i].units = (int64) (product / sum);
		shares[i].rest = (int64) (product % sum);
		if (shares[i].rest < 0)
		{
			shares[i].rest += sum;
			shares[i].units--;
		}
		left -= shares[i].units;
	}
	qsort(shares, count, sizeof(Share), compare_rests);
	for (int i = 0; i < count; i++)
		lines[shares[i].line].discount += shares[i].units + (i < left ? 1 : 0);
}

/* Larger rests first, the earlier of equals first. */
static int
compare_rests(const void *a, const void *b)
{
	const Share *x = a;
	const Share *y = b;

	if (x->rest != y->rest)
		return x->rest > y->rest ? -1 : 1;
	return x->line - y->line;
}
