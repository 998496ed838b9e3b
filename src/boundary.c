/*-------------------------------------------------------------------------
 *
 * boundary.c
 *	  What happens to a subscription at its next boundary.
 *
 * A boundary is an instant at which something is to be billed: the start, the
 * end of a trial, the end of a period, the end of a step (a period of a price
 * whose cycle is shorter than the plan's), or the instant of a cancellation.  What
 * ended there is billed in arrears, what begins there in advance.
 *
 * A period starts where the stored one before it ended; only its end is
 * computed.  So a new time zone leaves neither gap nor overlap.  It takes effect
 * where a period of the plan begins, not at a step: the steps of a period fill
 * it only as long as both are counted in one zone.
 *
 * A change of plan within a period cuts it: what ends there and what begins there are
 * parts of the same whole, so that what they cost adds up to what no change
 * would have cost.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

#include "boundary.h"
#include "period.h"
#include "result.h"

BILLING_FUNCTION(billing_next_boundary);
BILLING_FUNCTION(billing_cut_boundary);

/* A part of a whole; both empty (start == DT_NOEND) where there is none. */
typedef struct Part
{
	bool		exists;
	TimestampTz start;
	TimestampTz end;
	TimestampTz whole_start;
	TimestampTz whole_end;
} Part;

/* What is known of the subscription: the arguments, in their order. */
typedef struct Terms
{
	TimestampTz anchor;
	const Interval *cycle;		/* NULL: lifetime */
	const Interval *step_cycle; /* NULL: no price has a cycle of its own */
	bool		is_calendar;
	TimestampTz started_at;
	TimestampTz trial_end;		/* DT_NOBEGIN: no trial */
	TimestampTz period_start;
	TimestampTz period_end;		/* DT_NOEND: lifetime */
	TimestampTz billed_to;		/* DT_NOBEGIN: nothing yet */
	TimestampTz due_at;
	TimestampTz cancel_at;		/* DT_NOEND: not canceled */
	TimestampTz changed_at;		/* DT_NOBEGIN: never within a period */
	bool		auto_renew;
	pg_tz	   *old_zone;		/* in which due_at was computed */
	pg_tz	   *zone;			/* of what begins at due_at */
	Datum		zone_name;
} Terms;

/* What the boundary does: the fields of type billing.boundary, in their order. */
typedef struct Boundary
{
	const char *kind;
	const char *status;
	bool		ends;
	TimestampTz anchor;
	TimestampTz period_start;
	TimestampTz period_end;
	TimestampTz due_at;
	Part		arrears;
	Part		advance;
	Part		step_arrears;
	Part		step_advance;
	Datum		zone_name;
} Boundary;

static void check_arguments(const NullableDatum *args);
static void read_terms(const NullableDatum *args, Terms *terms);
static bool read_calendar(const text *billing);
static bool begins_period(const Terms *terms);
static TimestampTz get_instant(NullableDatum arg, TimestampTz if_null);
static void start_or_go_on(const Terms *terms, Boundary *b);
static void bill_arrears(const Terms *terms, Boundary *b);
static Part ended_part(const Terms *terms, const Interval *cycle, TimestampTz start, TimestampTz stored_end);
static TimestampTz step_start(const Terms *terms);
static bool find_end(const Terms *terms, Boundary *b);
static void go_on(const Terms *terms, Boundary *b);
static Part begun_part(const Terms *terms, TimestampTz whole_start, TimestampTz whole_end);
static TimestampTz first_paid(const Terms *terms);
static void find_whole(const Terms *terms, TimestampTz anchor, const Interval *cycle,
					   TimestampTz *start, TimestampTz *end);
static TimestampTz move_anchor(const Terms *terms);
static void cut_period(const Terms *terms, const NullableDatum *args, Boundary *b);
static Part ended_rest(const Part *whole, TimestampTz at);
static Part begun_rest(const Part *ended, TimestampTz at, TimestampTz free_from, TimestampTz whole_from,
					   TimestampTz cancel_at);
static Part new_step(const Terms *terms, const Part *ended, TimestampTz at, const Interval *cycle);
static bool same_interval(const Interval *a, const Interval *b);
static void put_boundary(const Boundary *b, NullableDatum *fields);
static Datum make_row(FunctionCallInfo fcinfo, const NullableDatum *fields);

Datum
billing_next_boundary(PG_FUNCTION_ARGS)
{
	NullableDatum fields[BILLING_BOUNDARY_FIELDS];

	if (PG_ARGISNULL(BILLING_TERM_DUE_AT))
		PG_RETURN_NULL();
	billing_boundary_find(fcinfo->args, fields);
	return make_row(fcinfo, fields);
}

/*
 * billing_boundary_find
 *		See boundary.h.
 */
void
billing_boundary_find(const NullableDatum *args, NullableDatum *fields)
{
	Terms		terms;
	Boundary	b = {.kind = "cycle", .status = "active"};

	check_arguments(args);
	read_terms(args, &terms);

	b.anchor = move_anchor(&terms);
	b.period_start = terms.period_start;
	b.period_end = terms.period_end;
	b.zone_name = terms.zone_name;
	start_or_go_on(&terms, &b);
	put_boundary(&b, fields);
}

/*
 * check_arguments
 *		Refuse NULL where a subscription has none, and a boundary that never comes.
 */
static void
check_arguments(const NullableDatum *args)
{
	static const struct
	{
		int			arg;
		const char *name;
	}			required[] = {
		{BILLING_TERM_ANCHOR, "anchor"}, {BILLING_TERM_BILLING, "billing"}, {BILLING_TERM_STARTED_AT, "started_at"},
		{BILLING_TERM_AUTO_RENEW, "auto_renew"}, {BILLING_TERM_TIMEZONE, "timezone"},
		{BILLING_TERM_TENANT_TIMEZONE, "tenant_timezone"}
	};

	for (int i = 0; i < lengthof(required); i++)
	{
		if (args[required[i].arg].isnull)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not be null", required[i].name),
					 errdetail("argument=%s", required[i].name),
					 errhint("Give it a value.")));
	}

	if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(args[BILLING_TERM_DUE_AT].value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("due_at must be finite"),
				 errdetail("A boundary is an instant."),
				 errhint("Pass NULL where nothing is due.")));
}

static void
read_terms(const NullableDatum *args, Terms *terms)
{
	NullableDatum cycle = args[BILLING_TERM_CYCLE];
	NullableDatum step = args[BILLING_TERM_STEP_CYCLE];

	terms->anchor = DatumGetTimestampTz(args[BILLING_TERM_ANCHOR].value);
	terms->cycle = cycle.isnull ? NULL : DatumGetIntervalP(cycle.value);
	terms->step_cycle = step.isnull ? NULL : DatumGetIntervalP(step.value);
	terms->is_calendar = read_calendar(DatumGetTextPP(args[BILLING_TERM_BILLING].value));
	terms->started_at = DatumGetTimestampTz(args[BILLING_TERM_STARTED_AT].value);
	terms->trial_end = get_instant(args[BILLING_TERM_TRIAL_END], DT_NOBEGIN);
	terms->period_start = get_instant(args[BILLING_TERM_PERIOD_START], DT_NOBEGIN);
	terms->period_end = get_instant(args[BILLING_TERM_PERIOD_END], DT_NOEND);
	terms->billed_to = get_instant(args[BILLING_TERM_BILLED_TO], DT_NOBEGIN);
	terms->due_at = DatumGetTimestampTz(args[BILLING_TERM_DUE_AT].value);
	terms->cancel_at = get_instant(args[BILLING_TERM_CANCEL_AT], DT_NOEND);
	terms->changed_at = get_instant(args[BILLING_TERM_CHANGED_AT], DT_NOBEGIN);
	terms->auto_renew = DatumGetBool(args[BILLING_TERM_AUTO_RENEW].value);
	terms->old_zone = billing_period_find_zone(DatumGetTextPP(args[BILLING_TERM_TIMEZONE].value));
	terms->zone_name = args[begins_period(terms) ? BILLING_TERM_TENANT_TIMEZONE : BILLING_TERM_TIMEZONE].value;
	terms->zone = billing_period_find_zone(DatumGetTextPP(terms->zone_name));
}

static bool
read_calendar(const text *billing)
{
	if (billing_text_equals(billing, "calendar"))
		return true;
	if (billing_text_equals(billing, "anniversary"))
		return false;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("way of billing is not known"),
			 errdetail("A subscription is billed from its anniversary or by the calendar."),
			 errhint("Use anniversary or calendar.")));
}

/* Is this the start, the end of a trial or that of a period, and not only of a step? */
static bool
begins_period(const Terms *terms)
{
	return terms->billed_to == DT_NOBEGIN || terms->billed_to < terms->trial_end ||
		terms->due_at >= terms->period_end;
}

static TimestampTz
get_instant(NullableDatum arg, TimestampTz if_null)
{
	return arg.isnull ? if_null : DatumGetTimestampTz(arg.value);
}

/*
 * start_or_go_on
 *		Tell the start, the end of a trial and the end of a period apart.
 *
 * A trial has neither arrears nor advance: its usage is free.
 */
static void
start_or_go_on(const Terms *terms, Boundary *b)
{
	bool		is_start = terms->billed_to == DT_NOBEGIN;
	bool		in_trial = !is_start && terms->billed_to < terms->trial_end;

	if (!is_start && !in_trial)
		bill_arrears(terms, b);
	if (find_end(terms, b))
		return;

	if (is_start && terms->trial_end > terms->due_at)
	{
		b->status = "trialing";
		b->period_start = terms->due_at;
		b->period_end = terms->trial_end;
		b->due_at = Min(terms->trial_end, terms->cancel_at);
		return;
	}
	go_on(terms, b);
}

/*
 * find_end
 *		Does the subscription end at this boundary, by cancellation or expiry?
 *
 * One that does not renew still has the period that follows its trial.
 */
static bool
find_end(const Terms *terms, Boundary *b)
{
	bool		is_paid = terms->billed_to != DT_NOBEGIN && terms->billed_to >= terms->trial_end;

	if (terms->cancel_at <= terms->due_at)
		b->status = "canceled";
	else if (!terms->auto_renew && is_paid && terms->due_at >= terms->period_end)
		b->status = "expired";
	else
		return false;

	b->kind = "final";
	b->ends = true;
	b->due_at = DT_NOEND;
	return true;
}

/*
 * bill_arrears
 *		The plan's period, if it ends here, and the step.
 */
static void
bill_arrears(const Terms *terms, Boundary *b)
{
	bool		period_ends = terms->due_at >= terms->period_end ||
		terms->cancel_at <= terms->due_at;

	if (period_ends)
		b->arrears = ended_part(terms, terms->cycle, terms->period_start, terms->period_end);
	if (terms->step_cycle != NULL)
		b->step_arrears = ended_part(terms, terms->step_cycle, step_start(terms), terms->due_at);
}

/*
 * ended_part
 *		From start, or from a change since, up to the boundary, and the whole period that is
 *		a part of.
 *
 * What is paid first may have begun within a whole one (a calendar month), as may a
 * step after the anchor was moved, and a cancellation may have cut the last one short.  A period that does not end where one of the grid does (it was extended) is
 * a whole of its own, and so is one in which a time zone took effect.
 */
static Part
ended_part(const Terms *terms, const Interval *cycle, TimestampTz start, TimestampTz stored_end)
{
	Part		part = {start < terms->due_at, start, terms->due_at, start, Max(stored_end, terms->due_at)};
	BillingPeriod grid;

	if (part.exists && cycle != NULL)
	{
		grid = billing_period_containing(terms->anchor, cycle, start, terms->old_zone);
		if (cycle == terms->step_cycle && terms->cancel_at <= terms->due_at && grid.end > terms->due_at)
			part.whole_end = grid.end;
		if (part.whole_end == grid.end &&
			(start == first_paid(terms) || start != terms->period_start))
			part.whole_start = grid.start;
	}
	part.start = Max(start, terms->changed_at);
	part.exists = part.start < part.end;
	return part;
}

/*
 * step_start
 *		Where the step that runs began: at a boundary, or, where a change brought steps of
 *		another cycle since, on their grid.
 */
static TimestampTz
step_start(const Terms *terms)
{
	BillingPeriod grid;

	if (terms->changed_at <= terms->billed_to)
		return terms->billed_to;
	grid = billing_period_containing(terms->anchor, terms->step_cycle, terms->changed_at, terms->old_zone);
	if (terms->due_at != Min(grid.end, terms->period_end) && terms->due_at < terms->cancel_at)
		return terms->billed_to;
	return Max(terms->billed_to, grid.start);
}

/* When paid service began: the start, or the end of the trial. */
static TimestampTz
first_paid(const Terms *terms)
{
	return Max(terms->started_at, terms->trial_end);
}

/*
 * go_on
 *		Begin the next period, or only the next step of the one that runs.
 */
static void
go_on(const Terms *terms, Boundary *b)
{
	TimestampTz start;
	TimestampTz end;

	b->due_at = DT_NOEND;
	if (begins_period(terms))
	{
		find_whole(terms, b->anchor, terms->cycle, &start, &end);
		b->period_start = terms->due_at;
		b->period_end = end;
		b->advance = begun_part(terms, start, end);
	}
	if (terms->step_cycle != NULL)
	{
		find_whole(terms, b->anchor, terms->step_cycle, &start, &end);
		end = Min(end, b->period_end);
		b->step_advance = begun_part(terms, start, end);
		b->due_at = end;
	}
	b->due_at = Min(Min(b->due_at, b->period_end), terms->cancel_at);
}

static Part
begun_part(const Terms *terms, TimestampTz whole_start, TimestampTz whole_end)
{
	Part		part = {true, terms->due_at, Min(whole_end, terms->cancel_at), whole_start, whole_end};

	return part;
}

/*
 * find_whole
 *		The whole period in which what starts at the boundary lies.
 *
 * Where the time zone changes, it is the one with the number it has in the old zone: a
 * clock that is an hour behind would else begin with a period of one hour.  It starts
 * at the boundary if the old zone says so.
 */
static void
find_whole(const Terms *terms, TimestampTz anchor, const Interval *cycle,
		   TimestampTz *start, TimestampTz *end)
{
	BillingPeriod period;

	*start = terms->due_at;
	*end = DT_NOEND;
	if (cycle == NULL)
		return;

	period = billing_period_containing(terms->anchor, cycle, terms->due_at, terms->old_zone);
	*start = period.start;
	*end = period.end;
	if (terms->zone == terms->old_zone)
		return;

	*start = billing_period_boundary(anchor, cycle, (int64) period.n, terms->zone);
	*end = billing_period_boundary(anchor, cycle, (int64) period.n + 1, terms->zone);
	if (*end <= terms->due_at)
	{
		BillingPeriod now = billing_period_containing(anchor, cycle, terms->due_at, terms->zone);

		*start = now.start;
		*end = now.end;
	}
	if (period.start == terms->due_at || *start > terms->due_at)
		*start = terms->due_at;
}

/*
 * move_anchor
 *		The anchor in the tenant's time zone.
 *
 * An anniversary is an instant and stays; the start of a calendar month keeps
 * its wall clock and moves.
 */
static TimestampTz
move_anchor(const Terms *terms)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;
	TimestampTz anchor;

	if (!terms->is_calendar || terms->zone == terms->old_zone)
		return terms->anchor;
	if (timestamp2tm(terms->anchor, &tz, &tm, &fsec, NULL, terms->old_zone) != 0)
		return terms->anchor;
	tz = DetermineTimeZoneOffset(&tm, terms->zone);
	return tm2timestamp(&tm, fsec, &tz, &anchor) == 0 ? anchor : terms->anchor;
}

/*
 * billing_cut_boundary
 *		What a change at an instant within the period ends and begins.
 */
Datum
billing_cut_boundary(PG_FUNCTION_ARGS)
{
	NullableDatum fields[BILLING_BOUNDARY_FIELDS];
	Terms		terms;
	Boundary	b = {.kind = "change", .status = "active"};

	if (PG_ARGISNULL(BILLING_TERM_DUE_AT) || PG_ARGISNULL(BILLING_CUT_AT))
		PG_RETURN_NULL();
	check_arguments(fcinfo->args);
	read_terms(fcinfo->args, &terms);
	b.anchor = terms.anchor;
	b.period_start = terms.period_start;
	b.period_end = terms.period_end;
	b.due_at = terms.due_at;
	b.zone_name = fcinfo->args[BILLING_TERM_TIMEZONE].value;
	if (terms.billed_to != DT_NOBEGIN && terms.billed_to >= terms.trial_end)
		cut_period(&terms, fcinfo->args, &b);
	put_boundary(&b, fields);
	return make_row(fcinfo, fields);
}

/*
 * cut_period
 *		Parts of what runs, before the change and after it.
 *
 * The wholes are those that the end of the period and of the step would find.  What an
 * extension added to them is free: what begins is a part of the whole that was before it.
 */
static void
cut_period(const Terms *terms, const NullableDatum *args, Boundary *b)
{
	TimestampTz at = DatumGetTimestampTz(args[BILLING_CUT_AT].value);
	TimestampTz free_from = get_instant(args[BILLING_CUT_FREE_FROM], DT_NOEND);
	NullableDatum step = args[BILLING_CUT_STEP_CYCLE];
	Terms		whole = *terms;
	Part		ended;

	whole.cancel_at = DT_NOEND;
	whole.due_at = terms->period_end;
	ended = ended_part(&whole, terms->cycle, terms->period_start, terms->period_end);
	b->advance = begun_rest(&ended, at, free_from, get_instant(args[BILLING_CUT_WHOLE_FROM], terms->period_start), terms->cancel_at);
	b->arrears = ended_rest(&ended, at);

	whole.cancel_at = terms->cancel_at;
	whole.due_at = terms->due_at;
	if (terms->step_cycle != NULL)
	{
		ended = ended_part(&whole, terms->step_cycle, step_start(terms), terms->due_at);
		b->step_arrears = ended_rest(&ended, at);
	}
	b->due_at = Min(terms->period_end, terms->cancel_at);
	if (!step.isnull)
	{
		Part		begun = new_step(terms, &ended, at, DatumGetIntervalP(step.value));

		b->step_advance = begun_rest(&begun, at, free_from, terms->billed_to, terms->cancel_at);
		b->due_at = Min(b->due_at, begun.end);
	}
}

/* Of a part that would end later, up to at. */
static Part
ended_rest(const Part *whole, TimestampTz at)
{
	Part		part = *whole;

	part.end = at;
	part.exists = part.start < at;
	return part;
}

/* From at to the end of a whole, before it was extended, or to a cancellation. */
static Part
begun_rest(const Part *ended, TimestampTz at, TimestampTz free_from, TimestampTz whole_from, TimestampTz cancel_at)
{
	Part		part = *ended;

	if (free_from > part.whole_start && free_from < part.whole_end)
	{
		part.whole_start = whole_from;
		part.whole_end = free_from;
	}
	part.start = at;
	part.end = Min(part.whole_end, cancel_at);
	part.exists = part.start < part.end;
	return part;
}

/* The step in which at lies: the one that runs, or, of another cycle, that of the grid. */
static Part
new_step(const Terms *terms, const Part *ended, TimestampTz at, const Interval *cycle)
{
	Part		part = *ended;
	BillingPeriod grid;

	if (terms->step_cycle != NULL && same_interval(terms->step_cycle, cycle))
		return part;
	grid = billing_period_containing(terms->anchor, cycle, at, terms->old_zone);
	part.whole_start = grid.start;
	part.whole_end = part.end = Min(grid.end, terms->period_end);
	return part;
}

static bool
same_interval(const Interval *a, const Interval *b)
{
	return a->month == b->month && a->day == b->day && a->time == b->time;
}

static Datum
make_row(FunctionCallInfo fcinfo, const NullableDatum *fields)
{
	Datum		values[BILLING_BOUNDARY_FIELDS];
	bool		nulls[BILLING_BOUNDARY_FIELDS];

	for (int i = 0; i < BILLING_BOUNDARY_FIELDS; i++)
	{
		values[i] = fields[i].value;
		nulls[i] = fields[i].isnull;
	}
	return billing_result_make(fcinfo, BILLING_BOUNDARY_FIELDS, values, nulls);
}

/* The fields of type billing.boundary as far as they are put. */
typedef struct Row
{
	TypeCacheEntry *range;
	NullableDatum *next;
} Row;

static void put(Row *row, Datum value);
static void put_instant(Row *row, TimestampTz instant);
static void put_part(Row *row, const Part *part);
static void put_range(Row *row, bool exists, TimestampTz start, TimestampTz end);

static void
put_boundary(const Boundary *b, NullableDatum *fields)
{
	Row			row = {lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO), fields};

	put(&row, CStringGetTextDatum(b->kind));
	put(&row, CStringGetTextDatum(b->status));
	put(&row, BoolGetDatum(b->ends));
	put(&row, TimestampTzGetDatum(b->anchor));
	put_instant(&row, b->period_start);
	put_instant(&row, b->period_end);
	put_instant(&row, b->due_at);
	put_part(&row, &b->arrears);
	put_part(&row, &b->advance);
	put_part(&row, &b->step_arrears);
	put_part(&row, &b->step_advance);
	put(&row, b->zone_name);
	Assert(row.next == fields + BILLING_BOUNDARY_FIELDS);
}

static void
put(Row *row, Datum value)
{
	row->next->value = value;
	row->next++->isnull = false;
}

static void
put_instant(Row *row, TimestampTz instant)
{
	row->next->value = TimestampTzGetDatum(instant);
	row->next++->isnull = TIMESTAMP_NOT_FINITE(instant);
}

/* The part, and its whole where that is more. */
static void
put_part(Row *row, const Part *part)
{
	bool		is_whole = part->start == part->whole_start && part->end == part->whole_end;

	put_range(row, part->exists, part->start, part->end);
	put_range(row, part->exists && !is_whole && part->whole_end != DT_NOEND, part->whole_start, part->whole_end);
}

/* Half-open, up to no end where the end is infinite: a lifetime. */
static void
put_range(Row *row, bool exists, TimestampTz start, TimestampTz end)
{
	RangeBound	lower = {.val = TimestampTzGetDatum(start), .inclusive = true, .lower = true};
	RangeBound	upper = {.val = TimestampTzGetDatum(end), .infinite = end == DT_NOEND};

	row->next->isnull = !exists;
	row->next++->value = exists ? RangeTypePGetDatum(billing_make_range(row->range, &lower, &upper)) : (Datum) 0;
}
