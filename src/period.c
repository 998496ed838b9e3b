/*-------------------------------------------------------------------------
 *
 * period.c
 *	  Where billing periods begin and end.
 *
 * Boundary n is anchor + n x cycle, counted from the anchor itself and never
 * from the boundary before: 31 January, 28 February, 31 March.  The months and
 * days of a cycle are added on the wall clock of a time zone, a day beyond the
 * end of its month falls on its last day, and a wall clock time that a clock
 * change skips or repeats is the instant AT TIME ZONE takes it for.  What a
 * cycle has of hours, minutes and seconds is then added as elapsed time, as
 * timestamptz + interval adds it.
 *
 * Boundaries never run backwards: a whole day is the least step on the wall
 * clock and the most that any clock change skips.  Two of them may coincide,
 * and the period between them is then empty.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

#include "period.h"

BILLING_FUNCTION(billing_period_n);
BILLING_FUNCTION(billing_period_at);
BILLING_FUNCTION(billing_cycle_divides);
BILLING_FUNCTION(billing_is_timezone);

/* The mean month of the Gregorian calendar: 400 years are 146,097 days. */
#define USECS_PER_MEAN_MONTH	(INT64CONST(146097) * USECS_PER_DAY / 4800)

/* What boundaries are counted from. */
typedef struct Grid
{
	TimestampTz anchor;
	const Interval *cycle;
	pg_tz	   *zone;
	struct pg_tm local;			/* the anchor on the wall clock of zone */
	fsec_t		fsec;
} Grid;

static Grid make_grid(TimestampTz anchor, const Interval *cycle, pg_tz *zone);
static void check_instant(const char *name, TimestampTz instant);
static TimestampTz boundary_or_infinity(const Grid *grid, int128 n);
static bool compute_boundary(const Grid *grid, int128 n, TimestampTz *boundary);
static bool add_months(struct pg_tm *tm, int128 count);
static bool add_days(struct pg_tm *tm, int128 count);
static bool add_elapsed(TimestampTz *instant, int128 usecs);
static BillingPeriod find_period(const Grid *grid, TimestampTz at);
static int128 estimate_n(const Grid *grid, TimestampTz at);
static void check_range(TimestampTz boundary);
static Datum make_period_range(FunctionCallInfo fcinfo, TimestampTz start, TimestampTz end);
static bool divide_field(int64 divisor, int64 dividend, int64 *quotient);
static bool is_zone_name(const char *name);
static void report_unknown_zone(const text *name);
static TimestampTz local_midnight(struct pg_tm *tm, pg_tz *zone);

Datum
billing_period_n(PG_FUNCTION_ARGS)
{
	TimestampTz anchor = PG_GETARG_TIMESTAMPTZ(0);
	Interval   *cycle = PG_GETARG_INTERVAL_P(1);
	int64		n = PG_GETARG_INT32(2);
	pg_tz	   *zone = billing_period_find_zone(PG_GETARG_TEXT_PP(3));

	return make_period_range(fcinfo,
							 billing_period_boundary(anchor, cycle, n, zone),
							 billing_period_boundary(anchor, cycle, n + 1, zone));
}

Datum
billing_period_at(PG_FUNCTION_ARGS)
{
	TimestampTz anchor = PG_GETARG_TIMESTAMPTZ(0);
	Interval   *cycle = PG_GETARG_INTERVAL_P(1);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	pg_tz	   *zone = billing_period_find_zone(PG_GETARG_TEXT_PP(3));
	BillingPeriod period = billing_period_containing(anchor, cycle, at, zone);

	return make_period_range(fcinfo, period.start, period.end);
}

Datum
billing_cycle_divides(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(billing_period_cycle_divides(PG_GETARG_INTERVAL_P(0),
												PG_GETARG_INTERVAL_P(1)));
}

TimestampTz
billing_period_boundary(TimestampTz anchor, const Interval *cycle, int64 n, pg_tz *zone)
{
	Grid		grid = make_grid(anchor, cycle, zone);
	TimestampTz boundary = boundary_or_infinity(&grid, n);

	check_range(boundary);
	return boundary;
}

BillingPeriod
billing_period_containing(TimestampTz anchor, const Interval *cycle, TimestampTz at, pg_tz *zone)
{
	Grid		grid = make_grid(anchor, cycle, zone);
	BillingPeriod period;

	check_instant("at", at);
	period = find_period(&grid, at);
	check_range(period.start);
	check_range(period.end);
	return period;
}

static Grid
make_grid(TimestampTz anchor, const Interval *cycle, pg_tz *zone)
{
	Grid		grid = {.anchor = anchor, .cycle = cycle, .zone = zone};
	int			tz;

	check_instant("anchor", anchor);
	billing_period_check_cycle(cycle);
	if (timestamp2tm(anchor, &tz, &grid.local, &grid.fsec, NULL, zone) != 0)
		check_range(DT_NOEND);
	return grid;
}

static void
check_instant(const char *name, TimestampTz instant)
{
	if (TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be finite", name),
				 errdetail("Periods are counted from one instant to another."),
				 errhint("Pass an instant, not infinity or -infinity.")));
}

/*
 * billing_period_check_cycle
 *		Refuse a cycle whose boundaries would not all lie one after the other.
 *
 * A mixed sign, as in 1 month -30 days, is refused because its length would
 * depend on the month: positive in March, negative in February.
 */
void
billing_period_check_cycle(const Interval *cycle)
{
	if (billing_interval_is_finite(cycle) &&
		cycle->month >= 0 && cycle->day >= 0 && cycle->time >= 0 &&
		(cycle->month > 0 || cycle->day > 0 || cycle->time > 0))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("cycle \"%s\" is not a positive interval",
					DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(cycle)))),
			 errdetail("The months, days and time of a cycle are zero or more, and not all of them zero."),
			 errhint("Write a cycle as 1 month, 1 year, 7 days or 12 hours; a plan that is billed once has no cycle.")));
}

/*
 * boundary_or_infinity
 *		Boundary n, or an infinity if it lies beyond the range of timestamps.
 *
 * An infinity compares as the boundary would, so that a search may step over
 * the edge and come back.
 */
static TimestampTz
boundary_or_infinity(const Grid *grid, int128 n)
{
	TimestampTz boundary;

	if (compute_boundary(grid, n, &boundary))
		return boundary;
	return n > 0 ? DT_NOEND : DT_NOBEGIN;
}

/*
 * compute_boundary
 *		Compute anchor + n x cycle; false if that is out of range.
 *
 * Boundary 0 is the anchor, also in the first pass of an hour that the clock
 * repeats, where its own wall clock time would lead to the second pass.  No
 * product overflows: n has 65 bits and a field of an interval at most 64.
 */
static bool
compute_boundary(const Grid *grid, int128 n, TimestampTz *boundary)
{
	const Interval *cycle = grid->cycle;

	*boundary = grid->anchor;
	if (n == 0)
		return true;

	if (cycle->month != 0 || cycle->day != 0)
	{
		struct pg_tm tm = grid->local;
		int			tz;

		if (!add_months(&tm, n * cycle->month) || !add_days(&tm, n * cycle->day))
			return false;
		tz = DetermineTimeZoneOffset(&tm, grid->zone);
		if (tm2timestamp(&tm, grid->fsec, &tz, boundary) != 0)
			return false;
	}

	return add_elapsed(boundary, n * cycle->time);
}

/*
 * add_months
 *		Move a date by count months, to the last day of a month that is too short.
 */
static bool
add_months(struct pg_tm *tm, int128 count)
{
	int128		month = (int128) tm->tm_year * MONTHS_PER_YEAR + (tm->tm_mon - 1) + count;
	int128		year = month / MONTHS_PER_YEAR;

	if (month % MONTHS_PER_YEAR < 0)
		year--;
	if (year < JULIAN_MINYEAR || year >= JULIAN_MAXYEAR)
		return false;

	tm->tm_year = (int) year;
	tm->tm_mon = (int) (month - year * MONTHS_PER_YEAR) + 1;
	tm->tm_mday = Min(tm->tm_mday, day_tab[isleap(tm->tm_year)][tm->tm_mon - 1]);
	return IS_VALID_JULIAN(tm->tm_year, tm->tm_mon, tm->tm_mday);
}

static bool
add_days(struct pg_tm *tm, int128 count)
{
	int128		julian = date2j(tm->tm_year, tm->tm_mon, tm->tm_mday) + count;

	if (julian < 0 || julian > TIMESTAMP_END_JULIAN)
		return false;

	j2date((int) julian, &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
	return true;
}

static bool
add_elapsed(TimestampTz *instant, int128 usecs)
{
	int128		sum = *instant + usecs;

	if (sum < MIN_TIMESTAMP || sum >= END_TIMESTAMP)
		return false;

	*instant = (TimestampTz) sum;
	return true;
}

/*
 * find_period
 *		The period with start <= at < end; an end beyond the range is infinite.
 *
 * The estimate is exact for cycles of hours.  A boundary of days or months
 * strays from the mean by less than a week, so that only few steps are left.
 */
static BillingPeriod
find_period(const Grid *grid, TimestampTz at)
{
	BillingPeriod period;

	period.n = estimate_n(grid, at);
	period.start = boundary_or_infinity(grid, period.n);
	period.end = boundary_or_infinity(grid, period.n + 1);

	while (at < period.start)
	{
		CHECK_FOR_INTERRUPTS();
		period.end = period.start;
		period.start = boundary_or_infinity(grid, --period.n);
	}
	while (at >= period.end)
	{
		CHECK_FOR_INTERRUPTS();
		period.start = period.end;
		period.end = boundary_or_infinity(grid, ++period.n + 1);
	}
	return period;
}

/*
 * estimate_n
 *		Guess the number of the period around at, from the mean length of a cycle.
 */
static int128
estimate_n(const Grid *grid, TimestampTz at)
{
	int128		length = (int128) grid->cycle->month * USECS_PER_MEAN_MONTH +
		(int128) grid->cycle->day * USECS_PER_DAY + grid->cycle->time;
	int128		elapsed = (int128) at - grid->anchor;
	int128		n = elapsed / length;

	return elapsed % length < 0 ? n - 1 : n;
}

static void
check_range(TimestampTz boundary)
{
	if (TIMESTAMP_NOT_FINITE(boundary))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errdetail("A boundary of the period lies beyond what timestamptz can hold."),
				 errhint("Periods end before the year 294277.")));
}

static Datum
make_period_range(FunctionCallInfo fcinfo, TimestampTz start, TimestampTz end)
{
	TypeCacheEntry *typcache = range_get_typcache(fcinfo, TSTZRANGEOID);
	RangeBound	lower = {.val = TimestampTzGetDatum(start), .inclusive = true, .lower = true};
	RangeBound	upper = {.val = TimestampTzGetDatum(end)};

	return RangeTypePGetDatum(billing_make_range(typcache, &lower, &upper));
}

/*
 * billing_period_cycle_divides
 *		Is there one whole number by which each field of divisor gives cycle's?
 *
 * Then each boundary of the cycle is one of the divisor's too, since both are
 * counted from the same anchor.  Months against days, or days against hours,
 * have no such number: their ratio changes with the calendar.
 */
bool
billing_period_cycle_divides(const Interval *divisor, const Interval *cycle)
{
	int64		quotient = 0;

	billing_period_check_cycle(divisor);
	billing_period_check_cycle(cycle);

	return divide_field(divisor->month, cycle->month, &quotient) &&
		divide_field(divisor->day, cycle->day, &quotient) &&
		divide_field(divisor->time, cycle->time, &quotient);
}

/*
 * divide_field
 *		Does dividend hold divisor as often as the fields before, if there were any?
 */
static bool
divide_field(int64 divisor, int64 dividend, int64 *quotient)
{
	if (divisor == 0 || dividend == 0)
		return divisor == dividend;
	if (dividend % divisor != 0)
		return false;
	if (*quotient == 0)
		*quotient = dividend / divisor;
	return *quotient == dividend / divisor;
}

/*
 * billing_period_find_zone
 *		Find a time zone by its IANA name, in any case.
 *
 * The last one is kept: a bill run asks for the same zone row after row.
 * PostgreSQL's own lookup also takes POSIX rules such as FOO+3, which is what a
 * typing error looks like, and zones with leap seconds, which its calendar does
 * not know; neither is a place a tenant lives in.
 */
pg_tz *
billing_period_find_zone(const text *name)
{
	static pg_tz *last = NULL;
	static char last_name[TZ_STRLEN_MAX + 1];
	char		wanted[TZ_STRLEN_MAX + 1];
	int			len = VARSIZE_ANY_EXHDR(name);
	pg_tz	   *zone;

	if (len > TZ_STRLEN_MAX)
		report_unknown_zone(name);
	text_to_cstring_buffer(name, wanted, sizeof(wanted));
	if (last != NULL && strcmp(wanted, last_name) == 0)
		return last;

	zone = pg_tzset(wanted);
	if (zone == NULL || !is_zone_name(pg_get_timezone_name(zone)) ||
		pg_strcasecmp(pg_get_timezone_name(zone), wanted) != 0 || !pg_tz_acceptable(zone))
		report_unknown_zone(name);

	strcpy(last_name, wanted);
	last = zone;
	return zone;
}

/*
 * is_zone_name
 *		Is this the name of a place, as opposed to a POSIX rule or a server's setting?
 *
 * PostgreSQL gives a zone it found in the database the case it has there, and a
 * POSIX rule, which always has a digit, in upper case.  So the zones Etc/GMT+3 pass and
 * ETC/GMT+99 does not; the legacy names EST5EDT and GMT+0 read as rules and do
 * not pass either.  Without a capital there are only files such as localtime.
 */
static bool
is_zone_name(const char *name)
{
	bool		has_upper = false;
	bool		has_lower = false;
	bool		has_digit = false;

	for (; *name != '\0'; name++)
	{
		has_upper |= *name >= 'A' && *name <= 'Z';
		has_lower |= *name >= 'a' && *name <= 'z';
		has_digit |= *name >= '0' && *name <= '9';
	}
	return has_upper && (has_lower || !has_digit);
}

/*
 * billing_is_timezone
 *		Is this the name of a time zone?  Raises if not, as its users would.
 */
Datum
billing_is_timezone(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(billing_period_find_zone(PG_GETARG_TEXT_PP(0)) != NULL);
}

static void
report_unknown_zone(const text *name)
{
	const char *bytes = VARDATA_ANY(name);
	int			len = VARSIZE_ANY_EXHDR(name);
	int			shown = pg_mbcliplen(bytes, len, 60);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("time zone \"%s%s\" not recognized",
					pnstrdup(bytes, shown), shown < len ? "..." : ""),
			 errdetail("A time zone is a full name of the IANA database, not an abbreviation, an offset or a POSIX rule."),
			 errhint("Take a name from pg_timezone_names, such as America/New_York or UTC.")));
}

/*
 * billing_period_local_day
 *		Julian number of the last local midnight at or before instant.
 *
 * Almost always that is the day of the date on the wall clock.  Where a clock
 * is put back over midnight, the date goes back too: there the day begins at
 * the second midnight, as a period anchored at midnight does, so that days never
 * run backwards.
 */
int
billing_period_local_day(TimestampTz instant, pg_tz *zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;
	int			day;

	if (timestamp2tm(instant, &tz, &tm, &fsec, NULL, zone) != 0)
		check_range(DT_NOEND);

	day = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday);
	return local_midnight(&tm, zone) > instant ? day - 1 : day;
}

static TimestampTz
local_midnight(struct pg_tm *tm, pg_tz *zone)
{
	TimestampTz midnight;
	int			tz;

	tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
	tz = DetermineTimeZoneOffset(tm, zone);
	if (tm2timestamp(tm, 0, &tz, &midnight) != 0)
		return DT_NOBEGIN;
	return midnight;
}
