/*-------------------------------------------------------------------------
 *
 * run_due.c
 *	  CALL billing.run_due(): all that is due, for any scheduler that can run a statement.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "clock.h"
#include "flow.h"
#include "job.h"
#include "spi.h"

BILLING_FUNCTION(billing_run_due);

#define BATCH_MAX 1000000

/* A step of a run: was it another one? */
typedef struct Step
{
	BillingJobRun *run;
	bool		any;
} Step;

static void run_all(int batch, bool atomic);
static bool is_due(int job, const BillingJobSchedule *schedule);
static void run_job(int job, int batch, bool atomic);
static void do_step(void *argument, int from, int count);
static void go_on(bool atomic);

/*
 * billing_run_due
 *		Run every job that has something to do, one after the other, a transaction per step.
 *
 * How often that is, is for whoever calls it to say: the intervals of billing.job are the worker's.
 */
Datum
billing_run_due(PG_FUNCTION_ARGS)
{
	CallContext *context = castNode(CallContext, fcinfo->context);
	int32		batch;

	billing_flow_require(fcinfo, 0, "batch");
	batch = PG_GETARG_INT32(0);
	if (batch < 1 || batch > BATCH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be from 1 to %d", BATCH_MAX),
				 errdetail("batch=%d", batch),
				 errhint("It is how much one transaction does; 10000 is the default.")));

	if (SPI_connect_ext(context->atomic ? 0 : SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	run_all(batch, context->atomic);
	/* What the caller does next is in a transaction as its session has them. */
	if (!context->atomic)
		SPI_commit();
	billing_spi_end();
	PG_RETURN_VOID();
}

static void
run_all(int batch, bool atomic)
{
	for (int job = 0; job < billing_job_count(); job++)
	{
		BillingJobSchedule schedule[BILLING_JOBS_MAX];

		go_on(atomic);
		billing_job_read(schedule);
		if (is_due(job, &schedule[job]))
			run_job(job, batch, atomic);
		CHECK_FOR_INTERRUPTS();
	}
}

/* One that failed is tried again: whoever calls may have seen to it. */
static bool
is_due(int job, const BillingJobSchedule *schedule)
{
	if (!schedule->is_known)
		return false;
	return schedule->is_requested || (schedule->is_enabled && billing_job_due_at(job) <= billing_clock_now());
}

/*
 * run_job
 *		Run one to its end, and note how it went.
 */
static void
run_job(int job, int batch, bool atomic)
{
	BillingJobRun run;
	Step		step = {&run, true};
	ErrorData  *error = NULL;

	go_on(atomic);
	billing_job_begin(&run, job, batch, atomic, CurrentMemoryContext);
	while (error == NULL && step.any)
	{
		error = billing_attempt_one(do_step, &step);
		go_on(atomic);
		CHECK_FOR_INTERRUPTS();
	}
	if (error != NULL)
		billing_bill_run_abandon();
	billing_job_note(&run, error);
	if (error == NULL)
		return;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("job %s failed: %s", billing_job_name(job), error->message),
			 errdetail("job=%s sqlstate=%s", billing_job_name(job), unpack_sql_state(error->sqlerrcode)),
			 errhint("It is tried again by the next call; the other jobs are done.")));
	FreeErrorData(error);
}

/* The last transaction ends here, if it may, and the next sees what others committed. */
static void
go_on(bool atomic)
{
	if (!atomic)
		billing_spi_begin_transaction();
}

/* The next step; keeps whether there is another. */
static void
do_step(void *argument, int from, int count)
{
	Step	   *step = argument;

	step->any = billing_job_step(step->run);
}
