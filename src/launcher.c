/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Starts the processes of each database, and starts them again.
 *
 * The launcher is connected to no database, so that it is in nobody's way.  It
 * keeps a worker and a sender in each database that billing.databases names or
 * start_worker() asked for, but where stop_worker() was called.  One that ended is started again
 * after RESTART_SECONDS, and ever later if it does not last.
 *
 * Where the library is not preloaded there is no launcher: start_worker() asks the
 * postmaster itself, which starts them again until the server restarts.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "clock.h"
#include "guc.h"
#include "launcher.h"
#include "process.h"
#include "registry.h"

#define RESTART_SECONDS 5
#define RESTART_MAX_SECONDS 300
#define MISSING_SECONDS 60

/* How long start_worker() and stop_worker() wait for what they asked for. */
#define WAIT_SECONDS 10

extern PGDLLEXPORT void billing_launcher_main(Datum arg);

BILLING_FUNCTION(billing_start_worker);
BILLING_FUNCTION(billing_stop_worker);

/* A process that was asked for, how many seconds to wait before it is asked for again, and from which tick on that may be. */
typedef struct Child
{
	Oid			database;
	BillingProcessKind kind;
	BackgroundWorkerHandle *handle;
	int64		started_at;		/* ticks */
	int64		retry_at;
	int			delay;
	uint32		requests;		/* of start_worker(), by its last start */
} Child;

/* A database of the server. */
typedef struct Catalogued
{
	Oid			oid;
	NameData	name;
} Catalogued;

static List *children = NIL;	/* of Child, in TopMemoryContext */

static int64 launch_all(void);
static List *list_databases(bool *all_exist);
static List *read_databases(void);
static const Catalogued *find_named(const List *databases, const char *name);
static bool has_oid(const List *databases, Oid oid);
static void forget_others(const List *databases);
static void stop_strays(const List *databases);
static int64 launch(Oid database, BillingProcessKind kind);
static Child *find_child(Oid database, BillingProcessKind kind);
static Child *make_child(Oid database, BillingProcessKind kind);
static void note_end(Child *child);
static void describe(BackgroundWorker *process, Oid database, BillingProcessKind kind);
static void start_without_launcher(void);
static void forget_dropped(void);
static int	count_running(void);
static bool wait_for_running(int count);

/*
 * billing_launcher_register
 *		Have it run, but not in a server that pg_upgrade runs: what it copies must stand still.
 */
void
billing_launcher_register(void)
{
	BackgroundWorker launcher = {
		.bgw_name = "billing launcher",
		.bgw_type = "billing launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = RESTART_SECONDS,
		.bgw_library_name = "billing",
		.bgw_function_name = "billing_launcher_main",
	};

	if (!IsBinaryUpgrade)
		RegisterBackgroundWorker(&launcher);
}

void
billing_launcher_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	billing_registry_enter_launcher();
	pgstat_report_appname("billing launcher");
	pgstat_report_activity(STATE_IDLE, NULL);
	context = AllocSetContextCreate(TopMemoryContext, "billing launcher", ALLOCSET_DEFAULT_SIZES);

	while (!ShutdownRequestPending)
	{
		int64		next;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		MemoryContextSwitchTo(context);
		next = launch_all();
		MemoryContextReset(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (next == BILLING_TICKS_NEVER ? 0 : WL_TIMEOUT),
						 billing_process_milliseconds(next), PG_WAIT_EXTENSION);
	}
	/* Whoever ends it without the server has it started again. */
	proc_exit(1);
}

/*
 * launch_all
 *		Start what is to run and does not; returns when to look again.
 *
 * Where all runs, that is when somebody sets the latch.
 */
static int64
launch_all(void)
{
	MemoryContext context = CurrentMemoryContext;
	int64		next = BILLING_TICKS_NEVER;
	bool		all_exist;
	List	   *databases;
	ListCell   *cell;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	databases = list_databases(&all_exist);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(true);

	stop_strays(databases);
	forget_others(databases);
	foreach(cell, databases)
	{
		for (BillingProcessKind kind = 0; kind < BILLING_PROCESS_KINDS; kind++)
		{
			int64		retry_at = launch(lfirst_oid(cell), kind);

			next = Min(next, retry_at);
		}
	}
	if (!all_exist)
		next = Min(next, billing_clock_ticks() + MISSING_SECONDS * 1000);
	return next;
}

/*
 * list_databases
 *		Those that are named or wanted and not stopped; do all that are named exist?
 *
 * Of one that is stopped nobody knows: no process is in the way of dropping it, or
 * tells when it is gone and another one has its name.
 */
static List *
list_databases(bool *all_exist)
{
	BillingDatabase known[BILLING_REGISTRY_DATABASES];
	int			count = billing_registry_list(known);
	List	   *databases = NIL;
	List	   *there;
	List	   *names;
	ListCell   *cell;

	if (!SplitGUCList(pstrdup(billing_databases), ',', &names))
		names = NIL;
	there = read_databases();
	*all_exist = true;
	foreach(cell, names)
	{
		const Catalogued *database = find_named(there, lfirst(cell));

		if (database == NULL)
			*all_exist = false;
		else
			databases = list_append_unique_oid(databases, database->oid);
	}

	for (int i = 0; i < count; i++)
	{
		if (!has_oid(there, known[i].oid))
			billing_registry_forget(known[i].oid);
		else if (known[i].is_stopped)
		{
			if (list_member_oid(databases, known[i].oid))
				*all_exist = false;
			databases = list_delete_oid(databases, known[i].oid);
		}
		else if (known[i].is_wanted)
			databases = list_append_unique_oid(databases, known[i].oid);
	}
	return databases;
}

/*
 * read_databases
 *		Those that can be connected to, as a list of Catalogued.
 *
 * By a scan: without a database of its own a process has no catalog caches.
 */
static List *
read_databases(void)
{
	Relation	catalog = table_open(DatabaseRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	List	   *databases = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		Catalogued *database;

		if (!form->datallowconn)
			continue;
		database = palloc(sizeof(Catalogued));
		database->oid = form->oid;
		database->name = form->datname;
		databases = lappend(databases, database);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return databases;
}

static const Catalogued *
find_named(const List *databases, const char *name)
{
	ListCell   *cell;

	foreach(cell, databases)
	{
		const Catalogued *database = lfirst(cell);

		if (strcmp(NameStr(database->name), name) == 0)
			return database;
	}
	return NULL;
}

static bool
has_oid(const List *databases, Oid oid)
{
	ListCell   *cell;

	foreach(cell, databases)
	{
		if (((const Catalogued *) lfirst(cell))->oid == oid)
			return true;
	}
	return false;
}

/*
 * forget_others
 *		Stop what runs where nothing is to run any more, as after the setting was changed.
 */
static void
forget_others(const List *databases)
{
	ListCell   *cell;

	foreach(cell, children)
	{
		Child	   *child = lfirst(cell);

		if (list_member_oid(databases, child->database))
			continue;
		if (child->handle != NULL)
		{
			TerminateBackgroundWorker(child->handle);
			pfree(child->handle);
		}
		children = foreach_delete_current(children, cell);
		pfree(child);
	}
}

/*
 * stop_strays
 *		The same of those that a launcher before this one started.
 */
static void
stop_strays(const List *databases)
{
	BillingDatabase known[BILLING_REGISTRY_DATABASES];
	int			count = billing_registry_list(known);

	for (int i = 0; i < count; i++)
	{
		if (list_member_oid(databases, known[i].oid))
			continue;
		for (BillingProcessKind kind = 0; kind < BILLING_PROCESS_KINDS; kind++)
		{
			Child	   *child = find_child(known[i].oid, kind);

			if (known[i].pids[kind] != 0 && (child == NULL || child->handle == NULL))
				kill(known[i].pids[kind], SIGTERM);
		}
	}
}

/*
 * launch
 *		Ask for a process if it does not run; returns when to look again.
 */
static int64
launch(Oid database, BillingProcessKind kind)
{
	Child	   *child = find_child(database, kind);
	BillingDatabase here = billing_registry_read(database);
	BackgroundWorker process;
	int64		now = billing_clock_ticks();
	MemoryContext old;
	bool		is_registered;
	pid_t		pid;

	if (child == NULL)
		child = make_child(database, kind);
	if (child->handle != NULL && GetBackgroundWorkerPid(child->handle, &pid) != BGWH_STOPPED)
		return BILLING_TICKS_NEVER;
	if (child->handle != NULL)
		note_end(child);
	/* It may be one of start_worker(), or of a launcher before this one. */
	if (here.pids[kind] != 0)
		return BILLING_TICKS_NEVER;
	/* Somebody who asks does not wait, whatever became of it before. */
	if (child->requests == here.requests && child->retry_at > now)
		return child->retry_at;
	child->requests = here.requests;

	describe(&process, database, kind);
	process.bgw_restart_time = BGW_NEVER_RESTART;
	process.bgw_notify_pid = MyProcPid;
	old = MemoryContextSwitchTo(TopMemoryContext);
	is_registered = RegisterDynamicBackgroundWorker(&process, &child->handle);
	MemoryContextSwitchTo(old);
	child->started_at = now;
	if (is_registered)
		return BILLING_TICKS_NEVER;

	child->handle = NULL;
	child->retry_at = now + MISSING_SECONDS * 1000;
	ereport(LOG,
			(errmsg("%s could not be started", process.bgw_name),
			 errhint("Raise max_worker_processes: billing takes one, and two more for each of its databases.")));
	return child->retry_at;
}

/* NULL if there is none. */
static Child *
find_child(Oid database, BillingProcessKind kind)
{
	ListCell   *cell;

	foreach(cell, children)
	{
		Child	   *child = lfirst(cell);

		if (child->database == database && child->kind == kind)
			return child;
	}
	return NULL;
}

static Child *
make_child(Oid database, BillingProcessKind kind)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Child	   *child = palloc0(sizeof(Child));

	child->database = database;
	child->kind = kind;
	children = lappend(children, child);
	MemoryContextSwitchTo(old);
	return child;
}

/* One that lasted is started again soon, one that did not ever later. */
static void
note_end(Child *child)
{
	int64		now = billing_clock_ticks();
	bool		has_lasted = now - child->started_at > RESTART_MAX_SECONDS * 1000;

	child->delay = has_lasted || child->delay == 0 ? RESTART_SECONDS : Min(2 * child->delay, RESTART_MAX_SECONDS);
	child->retry_at = now + child->delay * 1000;
	pfree(child->handle);
	child->handle = NULL;
}

static void
describe(BackgroundWorker *process, Oid database, BillingProcessKind kind)
{
	memset(process, 0, sizeof(BackgroundWorker));
	strlcpy(process->bgw_name, billing_process_types[kind], BGW_MAXLEN);
	strlcpy(process->bgw_type, billing_process_types[kind], BGW_MAXLEN);
	process->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	process->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strcpy(process->bgw_library_name, "billing");
	strlcpy(process->bgw_function_name, billing_process_functions[kind], BGW_MAXLEN);
	process->bgw_main_arg = ObjectIdGetDatum(database);
}

/*
 * billing_start_worker
 *		Let the processes run in this database, if they do not; did they not?
 */
Datum
billing_start_worker(PG_FUNCTION_ARGS)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no worker runs on a standby"),
				 errdetail("database=%s", get_database_name(MyDatabaseId)),
				 errhint("Start it on the primary; after a promotion those of billing.databases start by themselves.")));

	forget_dropped();
	billing_registry_want(MyDatabaseId, true, false);
	if (count_running() == BILLING_PROCESS_KINDS)
		PG_RETURN_BOOL(false);
	if (!billing_registry_wake_launcher())
		start_without_launcher();
	if (!wait_for_running(BILLING_PROCESS_KINDS))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("the worker of database \"%s\" did not start", get_database_name(MyDatabaseId)),
				 errdetail("running=%d", count_running()),
				 errhint("Read the server's log; max_worker_processes may be too low.")));
	PG_RETURN_BOOL(true);
}

/* The postmaster starts them again, as it does after a crash of another process. */
static void
start_without_launcher(void)
{
	BillingDatabase here = billing_registry_read(MyDatabaseId);

	for (BillingProcessKind kind = 0; kind < BILLING_PROCESS_KINDS; kind++)
	{
		BackgroundWorker process;
		BackgroundWorkerHandle *handle;

		if (here.pids[kind] != 0)
			continue;
		describe(&process, MyDatabaseId, kind);
		process.bgw_restart_time = MISSING_SECONDS;
		if (!RegisterDynamicBackgroundWorker(&process, &handle))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("%s could not be started", process.bgw_name),
					 errdetail("database=%s", get_database_name(MyDatabaseId)),
					 errhint("Raise max_worker_processes: billing takes two for each database.")));
	}
}

/*
 * billing_stop_worker
 *		Let no process run in this database until it is asked for again or the server
 *		restarts; did any run?
 */
Datum
billing_stop_worker(PG_FUNCTION_ARGS)
{
	int			running = count_running();
	BillingDatabase here;

	if (!billing_registry_attach())
		PG_RETURN_BOOL(false);

	forget_dropped();
	/* First the mark, then the look: one that starts meanwhile sees the mark or is seen. */
	billing_registry_want(MyDatabaseId, false, true);
	here = billing_registry_read(MyDatabaseId);
	(void) billing_registry_wake_launcher();
	for (BillingProcessKind kind = 0; kind < BILLING_PROCESS_KINDS; kind++)
	{
		if (here.pids[kind] != 0)
			kill(here.pids[kind], SIGTERM);
	}
	if (!wait_for_running(0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the worker of database \"%s\" did not stop", get_database_name(MyDatabaseId)),
				 errdetail("running=%d", count_running()),
				 errhint("It is stopped as soon as what it does can be interrupted; call stop_worker() again.")));
	PG_RETURN_BOOL(running > 0);
}

/* Where there is no launcher nobody else makes room for other databases. */
static void
forget_dropped(void)
{
	BillingDatabase known[BILLING_REGISTRY_DATABASES];
	int			count = billing_registry_list(known);

	for (int i = 0; i < count; i++)
	{
		if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(known[i].oid)))
			billing_registry_forget(known[i].oid);
	}
}

static int
count_running(void)
{
	BillingDatabase here = billing_registry_read(MyDatabaseId);
	int			running = 0;

	for (BillingProcessKind kind = 0; kind < BILLING_PROCESS_KINDS; kind++)
		running += here.pids[kind] != 0;
	return running;
}

/* Did as many come to run, before patience ends? */
static bool
wait_for_running(int count)
{
	int64		until = billing_clock_ticks() + WAIT_SECONDS * 1000;

	while (count_running() != count)
	{
		if (billing_clock_ticks() > until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}
