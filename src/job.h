/*-------------------------------------------------------------------------
 *
 * job.h
 *	  What is done again and again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_JOB_H
#define BILLING_JOB_H

#include "datatype/timestamp.h"

#include "bill_run.h"

/* At most how many there are. */
#define BILLING_JOBS_MAX 32

/* Jobs are known by their numbers, in the order in which they run. */
extern int	billing_job_count(void);
extern const char *billing_job_name(int job);
extern int	billing_job_find(const char *name); /* -1: there is none */

/* A row of billing.job_schedule; requested_at is DT_NOEND if there is none, the other instants zero, long ago. */
typedef struct BillingJobSchedule
{
	bool		is_known;
	TimestampTz started_at;
	int64		every;			/* microseconds */
	bool		is_enabled;
	bool		is_requested;	/* billing.job asks for a run that has not
								 * begun */
	TimestampTz requested_at;	/* or for one later */
	int			failures;
	TimestampTz retry_at;
} BillingJobSchedule;

/* Read those of all jobs; the caller is connected to SPI, here and below. */
extern void billing_job_read(BillingJobSchedule *schedule);

/* When does it have something to do: DT_NOEND where nothing before somebody writes, DT_NOBEGIN where only a run can tell. */
extern TimestampTz billing_job_due_at(int job);

/* A run as it is under way. */
typedef struct BillingJobRun
{
	int			job;
	int			batch;
	TimestampTz started_at;		/* by the clock of the work */
	TimestampTz real_start;
	int64		done;
	BillingBillRun bill;
	BillingCompaction compaction;
} BillingJobRun;

/* Begin one as of billing.now(); context outlives the steps.  atomic: nothing is committed between. */
extern void billing_job_begin(BillingJobRun *run, int job, int batch, bool atomic, MemoryContext context);

/* Do the next step; false if it was the last.  The caller commits after each. */
extern bool billing_job_step(BillingJobRun *run);

/* Keep in billing.job_state how it went; error: NULL if it succeeded. */
extern void billing_job_note(const BillingJobRun *run, const ErrorData *error);

#endif							/* BILLING_JOB_H */
