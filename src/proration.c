/*-------------------------------------------------------------------------
 *
 * proration.c
 *	  What a part of a period costs.
 *
 * A part from a to b costs R(A x F(b)) - R(A x F(a)): A is the price of the
 * whole period, F the fraction of it that has elapsed at an instant, R rounds
 * half away from zero.  Neighbours share a term that cancels, so that the parts
 * of any split sum to A exactly.  Since F never falls, no part of a positive
 * price is negative.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "period.h"
#include "proration.h"

BILLING_FUNCTION(billing_prorate);

static bool get_span(FunctionCallInfo fcinfo, int argno, const char *name, BillingSpan *span);
static void check_bounds(const char *name, const RangeBound *lower, const RangeBound *upper);
static bool overlaps(BillingSpan a, BillingSpan b);
static int128 cost_until(int64 units, BillingSpan whole, TimestampTz instant,
						 BillingBasis basis, pg_tz *zone);
static void elapsed_days(BillingSpan whole, TimestampTz instant, pg_tz *zone,
						 int128 *elapsed, int128 *total);

/*
 * billing_prorate
 *		The share of an amount that falls to a part of a period.
 *
 * The time zone is looked up under every basis, so that a wrong name is refused on
 * the first call and not when a plan first divides by days.
 */
Datum
billing_prorate(PG_FUNCTION_ARGS)
{
	BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	BillingBasis basis = billing_proration_find_basis(PG_GETARG_TEXT_PP(3));
	pg_tz	   *zone = billing_period_find_zone(PG_GETARG_TEXT_PP(4));
	BillingSpan whole;
	BillingSpan part;
	int64		share = 0;

	if (!get_span(fcinfo, 1, "whole", &whole))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the whole period is empty"),
				 errdetail("Nothing is a part of an empty period."),
				 errhint("Pass the billing period that the amount is the price of.")));

	if (get_span(fcinfo, 2, "part", &part))
		share = billing_proration_share(amount->units, whole, part, basis, zone);

	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(share, amount->currency));
}

/*
 * get_span
 *		Take apart a range that must be bounded and half-open; false if it is empty.
 */
static bool
get_span(FunctionCallInfo fcinfo, int argno, const char *name, BillingSpan *span)
{
	RangeType  *range = PG_GETARG_RANGE_P(argno);
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	range_deserialize(range_get_typcache(fcinfo, TSTZRANGEOID), range, &lower, &upper, &empty);
	if (empty)
		return false;

	check_bounds(name, &lower, &upper);
	span->start = DatumGetTimestampTz(lower.val);
	span->end = DatumGetTimestampTz(upper.val);
	return true;
}

static void
check_bounds(const char *name, const RangeBound *lower, const RangeBound *upper)
{
	if (lower->infinite || upper->infinite ||
		TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(lower->val)) ||
		TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(upper->val)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("range \"%s\" is not bounded", name),
				 errdetail("A fraction of a period needs both its ends."),
				 errhint("Give the range a finite start and end, for a part those of its period if need be.")));

	if (!lower->inclusive || upper->inclusive)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("range \"%s\" is not half-open", name),
				 errdetail("A period includes its start and excludes its end."),
				 errhint("Build the range as tstzrange(start, end), with bounds '[)'.")));
}

/*
 * billing_proration_find_basis
 *		Look up second, day or none.
 */
BillingBasis
billing_proration_find_basis(const text *name)
{
	static const char *const names[] = {
		[BILLING_BASIS_SECOND] = "second",
		[BILLING_BASIS_DAY] = "day",
		[BILLING_BASIS_NONE] = "none"
	};
	const char *bytes = VARDATA_ANY(name);
	int			len = VARSIZE_ANY_EXHDR(name);
	int			shown;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (billing_text_equals(name, names[i]))
			return (BillingBasis) i;
	}

	shown = pg_mbcliplen(bytes, len, 60);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("proration basis \"%s%s\" does not exist",
					pnstrdup(bytes, shown), shown < len ? "..." : ""),
			 errdetail("A period is divided by elapsed time, by calendar days or not at all."),
			 errhint("Use second, day or none.")));
}

int64
billing_proration_share(int64 units, BillingSpan whole, BillingSpan part,
						BillingBasis basis, pg_tz *zone)
{
	Assert(whole.start < whole.end);

	if (!overlaps(whole, part))
		return 0;
	if (basis == BILLING_BASIS_NONE)
		return units;

	return (int64) (cost_until(units, whole, part.end, basis, zone) -
					cost_until(units, whole, part.start, basis, zone));
}

static bool
overlaps(BillingSpan a, BillingSpan b)
{
	return Max(a.start, b.start) < Min(a.end, b.end);
}

/*
 * cost_until
 *		R(A x F(instant)): what the whole costs from its start to an instant.
 *
 * The product fits: 2^63 units times the 9.5e18 microseconds that timestamps
 * span are half of what 127 bits hold.
 */
static int128
cost_until(int64 units, BillingSpan whole, TimestampTz instant, BillingBasis basis, pg_tz *zone)
{
	int128		elapsed;
	int128		total;

	if (instant <= whole.start)
		return 0;
	if (instant >= whole.end)
		return units;

	if (basis == BILLING_BASIS_DAY)
		elapsed_days(whole, instant, zone, &elapsed, &total);
	else
	{
		elapsed = (int128) instant - whole.start;
		total = (int128) whole.end - whole.start;
	}

	return billing_round_div(units * elapsed, total);
}

/*
 * elapsed_days
 *		Count midnights: those since the start of the whole, and all it has.
 *
 * The day in which an instant lies has not elapsed, so that it belongs to what
 * begins there.  A whole with no midnight has elapsed at its end only.
 */
static void
elapsed_days(BillingSpan whole, TimestampTz instant, pg_tz *zone, int128 *elapsed, int128 *total)
{
	int			first = billing_period_local_day(whole.start, zone);

	*elapsed = billing_period_local_day(instant, zone) - first;
	*total = Max(billing_period_local_day(whole.end, zone) - first, 1);
}
