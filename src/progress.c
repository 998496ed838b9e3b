/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  How far long work has come, for others to see.
 *
 * It is told in shared memory, since what a transaction writes nobody else sees before it commits.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "progress.h"
#include "registry.h"

BILLING_FUNCTION(billing_progress_rows);

static bool is_begun = false;
static bool is_atomic;

static void end_with_transaction(XactEvent event, void *arg);
static void end_with_process(int code, Datum arg);

void
billing_progress_begin(const char *work, bool atomic)
{
	static bool is_registered = false;
	TimestampTz now = billing_clock_real();
	BillingProgress progress = {
		.database = MyDatabaseId,
		.pid = MyProcPid,
		.started_at = now,
		.phase_at = now
	};

	strlcpy(progress.work, work, sizeof(progress.work));
	billing_registry_put_progress(&progress);
	is_begun = true;
	is_atomic = atomic;
	if (is_registered)
		return;
	RegisterXactCallback(end_with_transaction, NULL);
	before_shmem_exit(end_with_process, (Datum) 0);
	is_registered = true;
}

void
billing_progress_phase(const char *phase, int64 total)
{
	if (is_begun)
		billing_registry_set_phase(MyProcPid, phase, total, billing_clock_real());
}

void
billing_progress_add(int64 done, pid_t pid)
{
	if (pid != 0 || is_begun)
		billing_registry_add_progress(pid != 0 ? pid : MyProcPid, done);
}

void
billing_progress_end(void)
{
	if (is_begun)
		billing_registry_drop_progress(MyProcPid);
	is_begun = false;
}

static void
end_with_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || (event == XACT_EVENT_COMMIT && is_atomic))
		billing_progress_end();
}

static void
end_with_process(int code, Datum arg)
{
	billing_progress_end();
}

/*
 * billing_progress_rows
 *		What is under way in this database.
 */
Datum
billing_progress_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BillingProgress all[BILLING_REGISTRY_PROGRESS];
	int			count = billing_registry_list_progress(all);
	TimestampTz now = billing_clock_real();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		Interval	elapsed = {.time = now - all[i].started_at};
		Interval	phase_elapsed = {.time = now - all[i].phase_at};
		Datum		values[] = {
			Int32GetDatum(all[i].pid),
			CStringGetTextDatum(all[i].work),
			CStringGetTextDatum(all[i].phase),
			Int64GetDatum(all[i].done),
			Int64GetDatum(all[i].total),
			TimestampTzGetDatum(all[i].started_at),
			IntervalPGetDatum(&elapsed),
			Int64GetDatum(all[i].done - all[i].phase_done),
			IntervalPGetDatum(&phase_elapsed)
		};
		bool		nulls[lengthof(values)] = {0};

		if (all[i].database == MyDatabaseId)
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
