/*-------------------------------------------------------------------------
 *
 * helper.c
 *	  Processes that help with a bill run.
 *
 * A run that finds more than a batch to do asks for up to billing.max_workers - 1 helpers.  Each claims batches as
 * the run does, passing over tenants that somebody has locked, until none is left; so they share the
 * work without being told which part is whose, and one that fails or does not start leaves its
 * part to the others.  The run waits for the last of them, and takes them along where it fails or is stopped.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "bill_run.h"
#include "guc.h"
#include "helper.h"
#include "process.h"

extern PGDLLEXPORT void billing_helper_main(Datum arg);

/* What a helper is told. */
typedef struct Task
{
	TimestampTz at;
	int			batch;
	pid_t		leader;
	bool		is_sparing;
	char		test_clock[64];
} Task;

StaticAssertDecl(sizeof(Task) <= BGW_EXTRALEN, "a helper's task does not fit");

/* The helpers of this process's run, in TopMemoryContext. */
static BackgroundWorkerHandle *helpers[BILLING_MAX_WORKERS];
static int	helper_count = 0;

static void start(const BillingBillRun *run, int64 left);
static bool start_one(const Task *task);
static void finish(void);
static void dismiss(void);
static void dismiss_with_transaction(XactEvent event, void *arg);
static void dismiss_with_process(int code, Datum arg);

void
billing_helper_init(void)
{
	static const BillingBillHelpers hooks = {start, finish, dismiss};

	billing_bill_helpers = &hooks;
}

/*
 * start
 *		Ask for as many helpers as there are batches for, beside the one of the run itself.
 */
static void
start(const BillingBillRun *run, int64 left)
{
	static bool is_registered = false;
	Task		task = {.at = run->at, .batch = run->batch, .leader = MyProcPid, .is_sparing = run->is_sparing};

	strlcpy(task.test_clock, billing_test_clock, sizeof(task.test_clock));
	if (!is_registered)
	{
		RegisterXactCallback(dismiss_with_transaction, NULL);
		before_shmem_exit(dismiss_with_process, (Datum) 0);
		is_registered = true;
	}
	while (helper_count < billing_max_workers - 1 && (int64) (helper_count + 1) * run->batch < left)
	{
		if (!start_one(&task))
			break;
	}
}

/* False if the server has no room for another process: the run goes on with those there are. */
static bool
start_one(const Task *task)
{
	BackgroundWorker helper = {
		.bgw_name = "billing helper",
		.bgw_type = "billing helper",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "billing",
		.bgw_function_name = "billing_helper_main",
		.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId),
		.bgw_notify_pid = MyProcPid,
	};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		is_started;

	memcpy(helper.bgw_extra, task, sizeof(Task));
	is_started = RegisterDynamicBackgroundWorker(&helper, &helpers[helper_count]);
	MemoryContextSwitchTo(old);
	if (is_started)
		helper_count++;
	return is_started;
}

/* Wait for them: none works on behind the run's end. */
static void
finish(void)
{
	for (; helper_count > 0; helper_count--)
	{
		(void) WaitForBackgroundWorkerShutdown(helpers[helper_count - 1]);
		pfree(helpers[helper_count - 1]);
	}
}

static void
dismiss(void)
{
	for (; helper_count > 0; helper_count--)
	{
		TerminateBackgroundWorker(helpers[helper_count - 1]);
		pfree(helpers[helper_count - 1]);
	}
}

static void
dismiss_with_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		dismiss();
}

static void
dismiss_with_process(int code, Datum arg)
{
	dismiss();
}

/*
 * billing_helper_main
 *		Claim and bill batches until none is left.
 *
 * An error ends the process: the run finds what is left, and says what is wrong.
 */
void
billing_helper_main(Datum arg)
{
	Task		task;
	BillingBillRun run;
	bool		any = true;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(Task));
	pqsignal(SIGTERM, die);
	billing_process_connect(DatumGetObjectId(arg), "billing helper");
	SetConfigOption("billing.test_clock", task.test_clock, PGC_SUSET, PGC_S_SESSION);

	billing_bill_run_begin(&run, task.at, task.batch, false, TopMemoryContext);
	run.is_helper = true;
	run.is_sparing = task.is_sparing;
	run.leader = task.leader;
	while (any)
	{
		CHECK_FOR_INTERRUPTS();
		billing_process_begin("billing: helping with bill_due");
		any = billing_bill_run_step(&run);
		billing_process_commit();
	}
	proc_exit(0);
}
