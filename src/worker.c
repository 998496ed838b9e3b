/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The process that runs what is due: when to look at which job.
 *
 * A job starts at most once in its interval, and only when it has something to do: at the instant that it
 * named at the last look, or sooner if a commit has woken the worker since and another look says so.  It runs step
 * by step, each in a transaction of its own.  One that fails is noted, rests, and disturbs no other.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "job.h"
#include "process.h"

extern PGDLLEXPORT void billing_worker_main(Datum arg);

#define BATCH 10000

/* How long wakes are gathered, so that a busy server does not keep the worker reading the schedule. */
#define GATHER_MILLISECONDS 250

/* How soon after a look there is another, however much is committed. */
#define LOOK_TICKS 1000

/* What this process knows of a job. */
typedef struct Known
{
	int64		looked_at;		/* ticks */
	TimestampTz due_at;			/* as of then */
	bool		is_stale;		/* something may have been committed since */
} Known;

static Known known[BILLING_JOBS_MAX];

/* The job that runs. */
static BillingJobRun current;
static const char *activity;
static bool is_begun;

static int64 run_round(void);
static TimestampTz take_turn(int job, const BillingJobSchedule *schedule);
static TimestampTz turn_of(const Known *job, const BillingJobSchedule *schedule, TimestampTz now);
static void look(int job);
static void run(int job);
static int64 run_steps(void);
static void note(const ErrorData *error);
static void gather_wakes(int64 until);

void
billing_worker_main(Datum arg)
{
	static const BillingProcess worker = {
		.kind = BILLING_WORKER,
		.round = run_round,
		.wait = gather_wakes,
	};

	billing_process_run(&worker, DatumGetObjectId(arg));
}

/*
 * run_round
 *		Run whatever has its turn; returns when the next may have.
 */
static int64
run_round(void)
{
	BillingJobSchedule schedule[BILLING_JOBS_MAX];
	TimestampTz next = DT_NOEND;

	billing_process_begin("billing: reading the schedule");
	billing_job_read(schedule);
	billing_process_commit();

	for (int job = 0; job < billing_job_count(); job++)
	{
		TimestampTz turn;

		known[job].is_stale |= billing_process_is_woken();
		turn = take_turn(job, &schedule[job]);
		next = Min(next, turn);
	}
	return billing_clock_ticks_at(next);
}

/* Run a job if it is its turn; returns when it may be the next time. */
static TimestampTz
take_turn(int job, const BillingJobSchedule *schedule)
{
	TimestampTz now = billing_clock_real();
	TimestampTz turn = turn_of(&known[job], schedule, now);

	if (turn > now)
		return turn;
	if (!schedule->is_requested)
		look(job);
	if (schedule->is_requested || known[job].due_at <= now)
	{
		run(job);
		known[job].due_at = DT_NOBEGIN;
	}
	known[job].looked_at = billing_clock_ticks();
	known[job].is_stale = false;
	if (known[job].due_at == DT_NOBEGIN)
		return now + schedule->every;
	return Min(known[job].due_at, schedule->requested_at);
}

/*
 * turn_of
 *		When may a job have something to do, by its schedule and by what is known?
 */
static TimestampTz
turn_of(const Known *job, const BillingJobSchedule *schedule, TimestampTz now)
{
	TimestampTz turn;

	if (!schedule->is_known)
		return DT_NOEND;
	if (schedule->is_requested)
		return DT_NOBEGIN;
	if (!schedule->is_enabled)
		return schedule->requested_at;

	turn = schedule->failures > 0 ? schedule->retry_at : schedule->started_at + schedule->every;
	turn = Max(turn, job->is_stale ?
			   TimestampTzPlusMilliseconds(now, job->looked_at + LOOK_TICKS - billing_clock_ticks()) : job->due_at);
	return Min(turn, schedule->requested_at);
}

static void
look(int job)
{
	billing_process_begin("billing: looking for what is due");
	known[job].due_at = billing_job_due_at(job);
	billing_process_commit();
}

/*
 * run
 *		Run a job to its end, and note how it went.
 */
static void
run(int job)
{
	BillingBackoff ignored = {0};
	ErrorData  *error;

	activity = psprintf("billing: %s", billing_job_name(job));
	current.job = job;
	is_begun = false;
	(void) billing_process_attempt(run_steps, &ignored, &error);
	if (is_begun)
		note(error);
}

static int64
run_steps(void)
{
	MemoryContext context = CurrentMemoryContext;
	bool		any;

	do
	{
		billing_process_begin(activity);
		if (!is_begun)
			billing_job_begin(&current, current.job, BATCH, false, context);
		is_begun = true;
		any = billing_job_step(&current);
		billing_process_commit();
		MemoryContextSwitchTo(context);
	} while (any);
	return BILLING_TICKS_NEVER;
}

static void
note(const ErrorData *error)
{
	billing_process_begin("billing: noting how a job ran");
	billing_job_note(&current, error);
	billing_process_commit();
}

/*
 * gather_wakes
 *		Sleep, at first whatever is committed: a busy server sets the latch of a worker that sleeps only.
 */
static void
gather_wakes(int64 until)
{
	pg_usleep(GATHER_MILLISECONDS * 1000L);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT, billing_process_milliseconds(until), PG_WAIT_EXTENSION);
}
