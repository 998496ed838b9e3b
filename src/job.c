/*-------------------------------------------------------------------------
 *
 * job.c
 *	  What is done again and again: how each job is run, and when it has something to do.
 *
 * A job is the function of its name, which does up to batch of what is due and returns how many it
 * did, called until that is none, or a sequence of steps in C.  It is safe to stop between any two and to run twice
 * at once.  Who runs it, and what is committed when, is the caller's business: the worker or run_due().
 *
 * A job is added by a row of the view billing.job_default and one here.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "aside.h"
#include "attempt.h"
#include "clock.h"
#include "flow.h"
#include "job.h"
#include "progress.h"
#include "spi.h"

BILLING_FUNCTION(billing_is_job);
BILLING_FUNCTION(billing_note_job);

#define RETRY_SECONDS 60
#define RETRY_MAX_SECONDS 3600

/*
 * batch: the function's call, of no text where step is there instead.  due: of no text where only a run can tell.  most: how many
 * one step takes, as each is dear and their tenants stay locked for as long as it lasts; 0: as many as the run says.
 */
typedef struct Job
{
	const char *name;
	BillingQuery batch;
	int			most;
	BillingQuery due;
	bool		(*step) (BillingJobRun *run);
	bool		forgets;		/* takes out of set_aside itself what it did after all */
} Job;

/* What is asked of a job's query, and its answer. */
typedef struct Look
{
	int			job;
	TimestampTz due_at;
} Look;

#define BATCH(function) \
	{ \
		.sql = "SELECT billing." function "($1)", \
		.expected = SPI_OK_SELECT, \
		.nargs = 1, \
		.argtypes = {INT4OID}, \
	}

#define DUE(function) \
	{ \
		.sql = "SELECT billing." function "()", \
		.expected = SPI_OK_SELECT, \
	}

static bool bill_step(BillingJobRun *run);
static bool compact_step(BillingJobRun *run);
static void check_name(const char *name);
static char *list_jobs(void);
static void check_every(const Interval *every);
static bool is_longer(const Interval *a, const Interval *b);
static TimestampTz instant_of(uint64 row, int column, TimestampTz absent);
static void look_when_due(void *argument, int from, int count);
static bool step(BillingJobRun *run);

/* In the order in which they run. */
static Job	jobs[] = {
	{"bill_due", .step = bill_step, .due = DUE("bill_due_due_at"), .forgets = true},
	{"compact_usage", .step = compact_step},
	{"expire_credit", .batch = BATCH("expire_credit"), .due = DUE("expire_credit_due_at")},
	{"expire_payment_methods", .batch = BATCH("expire_payment_methods"), .due = DUE("expire_payment_methods_due_at")},
	{"collect_invoices", .batch = BATCH("collect_invoices"), .most = 500, .due = DUE("collect_invoices_due_at"), .forgets = true},
	{"dunning", .batch = BATCH("dunning"), .most = 500, .due = DUE("dunning_due_at"), .forgets = true},
	{"retry_payments", .batch = BATCH("retry_payments"), .most = 500, .due = DUE("retry_payments_due_at"), .forgets = true},
	{"enforce_expirations", .batch = BATCH("enforce_expirations")},
	{"delete_old_events", .batch = BATCH("delete_old_events")},
	{"delete_old_notices", .batch = BATCH("delete_old_notices")},
	{"delete_old_gateway_events", .batch = BATCH("delete_old_gateway_events")},
	{"remind_trials", .batch = BATCH("remind_trials"), .due = DUE("remind_trials_due_at")},
	{"remind_renewals", .batch = BATCH("remind_renewals"), .due = DUE("remind_renewals_due_at")},
	{"remind_invoices", .batch = BATCH("remind_invoices"), .due = DUE("remind_invoices_due_at")},
	{"remind_payment_methods", .batch = BATCH("remind_payment_methods"), .due = DUE("remind_payment_methods_due_at")},
};

StaticAssertDecl(lengthof(jobs) <= BILLING_JOBS_MAX, "more jobs than schedules are read for");

int
billing_job_count(void)
{
	return lengthof(jobs);
}

const char *
billing_job_name(int job)
{
	return jobs[job].name;
}

/*
 * billing_is_job
 *		Refuse what a row of billing.job may not say.
 */
Datum
billing_is_job(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		check_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (!PG_ARGISNULL(1))
		check_every(PG_GETARG_INTERVAL_P(1));
	PG_RETURN_BOOL(true);
}

static void
check_name(const char *name)
{
	if (billing_job_find(name) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job \"%.*s\" does not exist", BILLING_QUOTED(name, strlen(name))),
				 errdetail("job=%.*s", BILLING_QUOTED(name, strlen(name))),
				 errhint("Jobs are: %s.", list_jobs())));
}

static char *
list_jobs(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(jobs); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", jobs[i].name);
	return list.data;
}

static void
check_every(const Interval *every)
{
	static const Interval least = {.time = USECS_PER_SEC};
	static const Interval most = {.month = 10 * MONTHS_PER_YEAR};

	if (is_longer(&least, every) || is_longer(every, &most))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a job runs every second to every ten years"),
				 errdetail("every=%s", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(every)))),
				 errhint("Give an interval such as 15 minutes, or NULL for the default; a job that is not to run at all has is_enabled = false.")));
}

static bool
is_longer(const Interval *a, const Interval *b)
{
	return DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(a), IntervalPGetDatum(b)));
}

/* -1 if there is none. */
int
billing_job_find(const char *name)
{
	for (int i = 0; i < lengthof(jobs); i++)
	{
		if (strcmp(jobs[i].name, name) == 0)
			return i;
	}
	return -1;
}

void
billing_job_read(BillingJobSchedule *schedule)
{
	static BillingQuery query = {
		.sql = "SELECT s.name, s.started_at, (extract(epoch FROM s.every) * 1000000)::bigint, s.is_enabled, s.is_requested, s.requested_at,"
		"  coalesce(s.failures, 0), s.retry_at"
		" FROM billing.job_schedule s",
		.expected = SPI_OK_SELECT,
	};
	uint64		count = billing_spi_run(&query, NULL, NULL);
	bool		isnull;

	memset(schedule, 0, lengthof(jobs) * sizeof(BillingJobSchedule));
	for (uint64 i = 0; i < count; i++)
	{
		int			job = billing_job_find(TextDatumGetCString(billing_spi_value(i, 1, &isnull)));

		if (job < 0)
			continue;
		schedule[job].is_known = true;
		schedule[job].started_at = instant_of(i, 2, 0);
		schedule[job].every = DatumGetInt64(billing_spi_value(i, 3, &isnull));
		schedule[job].is_enabled = DatumGetBool(billing_spi_value(i, 4, &isnull));
		schedule[job].is_requested = DatumGetBool(billing_spi_value(i, 5, &isnull));
		schedule[job].requested_at = instant_of(i, 6, DT_NOEND);
		schedule[job].failures = DatumGetInt32(billing_spi_value(i, 7, &isnull));
		schedule[job].retry_at = instant_of(i, 8, 0);
	}
}

static TimestampTz
instant_of(uint64 row, int column, TimestampTz absent)
{
	bool		isnull;
	Datum		value = billing_spi_value(row, column, &isnull);

	return isnull ? absent : DatumGetTimestampTz(value);
}

/*
 * billing_job_due_at
 *		By its query; where that fails, its run tells what is wrong, and the other jobs have their turns.
 */
TimestampTz
billing_job_due_at(int job)
{
	Look		look = {job, DT_NOEND};
	ErrorData  *error;

	if (jobs[job].due.sql == NULL)
		return DT_NOBEGIN;

	error = billing_attempt_one(look_when_due, &look);
	if (error == NULL)
		return look.due_at;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("when job %s is due cannot be told: %s", jobs[job].name, error->message)));
	FreeErrorData(error);
	return DT_NOBEGIN;
}

static void
look_when_due(void *argument, int from, int count)
{
	Look	   *look = argument;

	(void) billing_spi_run(&jobs[look->job].due, NULL, NULL);
	look->due_at = instant_of(0, 1, DT_NOEND);
}

void
billing_job_begin(BillingJobRun *run, int job, int batch, bool atomic, MemoryContext context)
{
	memset(run, 0, sizeof(BillingJobRun));
	run->job = job;
	run->batch = batch;
	run->started_at = billing_clock_now();
	run->real_start = billing_clock_real();
	billing_bill_run_begin(&run->bill, run->started_at, batch, atomic, context);
	run->bill.is_sparing = true;
	run->compaction.batch = batch;
	run->compaction.atomic = atomic;
	run->compaction.context = context;
	billing_progress_begin(jobs[job].name, atomic);
}

bool
billing_job_step(BillingJobRun *run)
{
	int64		done = run->done;
	bool		any = step(run);

	/* A bill run tells of each batch, and its helpers of theirs. */
	if (jobs[run->job].step != bill_step)
		billing_progress_add(run->done - done, 0);
	if (!any)
		billing_progress_end();
	return any;
}

static bool
step(BillingJobRun *run)
{
	Job		   *job = &jobs[run->job];
	Datum		args[] = {Int32GetDatum(job->most == 0 ? run->batch : Min(run->batch, job->most))};
	bool		isnull;
	int64		done;

	if (job->step != NULL)
		return job->step(run);
	(void) billing_spi_run(&job->batch, args, NULL);
	done = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	run->done += done;
	return done > 0;
}

static bool
bill_step(BillingJobRun *run)
{
	bool		any = billing_bill_run_step(&run->bill);

	run->done = run->bill.moved;
	return any;
}

static bool
compact_step(BillingJobRun *run)
{
	bool		any = billing_usage_compact_step(&run->compaction);

	SPI_freetuptable(SPI_tuptable);
	run->done = run->compaction.done;
	return any;
}

/*
 * billing_job_note
 *		By the function that has the rights for it.
 */
void
billing_job_note(const BillingJobRun *run, const ErrorData *error)
{
	static BillingQuery query = {
		.sql = "SELECT billing.note_job($1, $2, interval '1 microsecond' * $3, $4, $5, $6)",
		.expected = SPI_OK_SELECT,
		.nargs = 6,
		.argtypes = {TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		CStringGetTextDatum(jobs[run->job].name),
		TimestampTzGetDatum(run->started_at),
		Int64GetDatum(billing_clock_real() - run->real_start),
		Int64GetDatum(run->done),
		error == NULL ? (Datum) 0 : CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)),
		error == NULL ? (Datum) 0 : CStringGetTextDatum(error->message)
	};

	(void) billing_spi_run(&query, args, error == NULL ? "    nn" : NULL);
	if (error == NULL && !jobs[run->job].forgets)
		billing_aside_clear(jobs[run->job].name, run->real_start, false);
}

Datum
billing_note_job(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.job_state AS s (name, started_at, duration, done, failures, retry_at, sqlstate, error, succeeded_at)"
		" VALUES ($1, $2, $3, $4, ($5 IS NOT NULL)::integer, CASE WHEN $5 IS NOT NULL THEN billing.now() + $7 END, $5, $6,"
		"  CASE WHEN $5 IS NULL THEN $2 END)"
		" ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, duration = excluded.duration, done = excluded.done,"
		"  failures = CASE WHEN $5 IS NULL THEN 0 ELSE s.failures + 1 END,"
		"  retry_at = CASE WHEN $5 IS NOT NULL THEN billing.now() + least($7 * power(2::numeric, least(s.failures, 10))::integer, $8) END,"
		"  sqlstate = excluded.sqlstate, error = excluded.error, succeeded_at = coalesce(excluded.succeeded_at, s.succeeded_at)",
		.expected = SPI_OK_INSERT,
		.nargs = 8,
		.argtypes = {TEXTOID, TIMESTAMPTZOID, INTERVALOID, INT8OID, TEXTOID, TEXTOID, INTERVALOID, INTERVALOID},
	};
	static const char *const required[] = {"name", "started_at", "duration", "done"};
	Interval	retry = {.time = RETRY_SECONDS * USECS_PER_SEC};
	Interval	retry_max = {.time = RETRY_MAX_SECONDS * USECS_PER_SEC};
	Datum		args[8];
	char		nulls[] = "        ";

	for (int i = 0; i < lengthof(required); i++)
		billing_flow_require(fcinfo, i, required[i]);
	for (int i = 0; i < PG_NARGS(); i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	args[6] = IntervalPGetDatum(&retry);
	args[7] = IntervalPGetDatum(&retry_max);
	billing_spi_begin();
	(void) billing_spi_run(&query, args, nulls);
	billing_spi_end();
	PG_RETURN_VOID();
}
