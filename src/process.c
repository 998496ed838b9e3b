/*-------------------------------------------------------------------------
 *
 * process.c
 *	  What the worker and the sender have in common: how they start, sleep, fail and stop.
 *
 * A process is alone of its kind in its database, by a lock that no user can take.  It sleeps until a
 * commit sets its latch or something falls due, and opens no transaction meanwhile.  Each
 * transaction begins with a look whether the extension is there, in this library's version: where it is not,
 * the process waits for it; where it is another, the process exits.
 *
 * SIGTERM cancels what runs, as a user's cancel does: what was committed is kept, the rest is
 * rolled back, and the exit is a clean one, so that nobody starts the process again for it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type_d.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "process.h"
#include "spi.h"

/* A class of advisory locks that no SQL function reaches: those use 1 and 2. */
#define LOCK_CLASS 0xB1

#define STOPS_PATIENT 2
#define MISSING_TICKS (60 * 1000)
#define SWEEP_TICKS (300 * 1000)
#define BACKOFF_SECONDS 1
#define BACKOFF_MAX_SECONDS 300

/* What the look for the extension found. */
typedef enum Presence
{
	PRESENT,
	MISSING,
	OTHER_VERSION
} Presence;

const char *const billing_process_types[] = {
	[BILLING_WORKER] = "billing worker",
	[BILLING_SENDER] = "billing sender",
};

const char *const billing_process_functions[] = {
	[BILLING_WORKER] = "billing_worker_main",
	[BILLING_SENDER] = "billing_sender_main",
};

/* Nothing that a database's or a role's settings say is to reach what we run. */
static const BillingSpiSetting session_settings[] = {
	{"billing.tenant_id", ""},
	{"billing.test_clock", ""},
	{"default_transaction_deferrable", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"idle_in_transaction_session_timeout", "0"},
	{"lock_timeout", "0"},
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
};

static volatile sig_atomic_t stops_requested = 0;
static Presence presence = PRESENT;
static bool is_settled = false;	/* no pg_restore was seen since the extension came */
static char database_name[NAMEDATALEN];
static bool is_woken;
static bool has_events;
static BillingDatabase seen;
static int64 swept_at;

static void set_up(const BillingProcess *process, Oid database);
static void handle_stop(SIGNAL_ARGS);
static void be_alone(BillingProcessKind kind);
static void loop(const BillingProcess *process);
static int64 work(const BillingProcess *process, BillingBackoff *backoff);
static int64 settle(void);
static void handle_interrupts(void);
static bool is_anything_new(BillingProcessKind kind);
static bool look_for_wake(BillingProcessKind kind);
static void rest_until(int64 until);
static void begin(const char *activity);
static void wait_for_disk(void);
static void look_for_extension(void);
static Presence read_presence(void);
static void leave_transaction(void);
static void exit_of_other_version(void);
static int64 fail(BillingBackoff *backoff);

void
billing_process_run(const BillingProcess *process, Oid database)
{
	set_up(process, database);
	be_alone(process->kind);
	billing_registry_enter(database, process->kind);
	loop(process);
	pg_unreachable();
}

static void
set_up(const BillingProcess *process, Oid database)
{
	pqsignal(SIGTERM, handle_stop);
	billing_process_connect(database, billing_process_types[process->kind]);
}

void
billing_process_connect(Oid database, const char *name)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);

	for (int i = 0; i < lengthof(session_settings); i++)
	{
		/* Not every version has all of them. */
		if (GetConfigOption(session_settings[i].name, true, false) != NULL)
			SetConfigOption(session_settings[i].name, session_settings[i].value, PGC_SUSET, PGC_S_SESSION);
	}
	pgstat_report_appname(name);
}

/*
 * handle_stop
 *		SIGTERM: cancel what runs, then exit.
 *
 * Something of a user's may catch the cancel: whoever insists ends it all the same.  Both
 * stop_worker() and the launcher send one.
 */
static void
handle_stop(SIGNAL_ARGS)
{
	int			save_errno = errno;

	if (++stops_requested > STOPS_PATIENT)
		die(postgres_signal_arg);
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * be_alone
 *		Exit if another process of this kind runs in this database.
 */
static void
be_alone(BillingProcessKind kind)
{
	LOCKTAG		tag;
	LockAcquireResult result;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, kind, LOCK_CLASS);
	StartTransactionCommand();
	strlcpy(database_name, get_database_name(MyDatabaseId), sizeof(database_name));
	result = LockAcquire(&tag, ExclusiveLock, true, true);
	CommitTransactionCommand();
	if (result != LOCKACQUIRE_NOT_AVAIL)
		return;
	ereport(LOG, (errmsg("%s exits: another one runs in this database", billing_process_types[kind])));
	proc_exit(0);
}

/*
 * loop
 *		Work when there is something to do, and sleep.
 *
 * A commit between the look and the sleep has set the latch, so that the sleep ends at once, or is found
 * behind the round.
 */
static void
loop(const BillingProcess *process)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "billing round", ALLOCSET_DEFAULT_SIZES);
	BillingBackoff backoff = {0};
	int64		next = 0;

	for (;;)
	{
		ResetLatch(MyLatch);
		handle_interrupts();
		if (look_for_wake(process->kind) || billing_clock_ticks() >= next || (process->is_ready != NULL && process->is_ready()))
		{
			MemoryContextSwitchTo(context);
			next = work(process, &backoff);
			MemoryContextReset(context);
			if (backoff.failures > 0)
				rest_until(backoff.until);
			if (is_anything_new(process->kind))
				SetLatch(MyLatch);
		}
		process->wait(Min(next, swept_at + SWEEP_TICKS));
	}
}

/* A round, unless the extension is not there yet. */
static int64
work(const BillingProcess *process, BillingBackoff *backoff)
{
	int64		next = BILLING_TICKS_NEVER;

	if (!is_settled)
		next = billing_process_attempt(settle, backoff, NULL);
	if (is_settled)
		next = billing_process_attempt(process->round, backoff, NULL);
	is_settled = is_settled && presence == PRESENT;
	return is_settled || backoff->failures > 0 ? next : billing_clock_ticks() + MISSING_TICKS;
}

/*
 * settle
 *		Where the extension has come, see whether it comes with a dump: what is due would be done
 *		beside tables that are not loaded yet.
 *
 * A superuser's session, as of trust_restore(): nobody else can restore an extension, nor hold this process up.
 */
static int64
settle(void)
{
	static BillingQuery query = {
		.sql = "SELECT FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid"
		" WHERE a.datid = $1 AND a.application_name = 'pg_restore' AND r.rolsuper",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {OIDOID},
	};
	Datum		args[] = {ObjectIdGetDatum(MyDatabaseId)};

	billing_process_begin("billing: looking whether a restore runs");
	is_settled = billing_spi_run(&query, args, NULL) == 0;
	billing_process_commit();
	return BILLING_TICKS_NEVER;
}

static void
handle_interrupts(void)
{
	if (stops_requested > 0)
		proc_exit(0);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * is_anything_new
 *		Has a commit or a signal come since the last look?
 *
 * Their latch may not be set any more: whatever waited meanwhile, for a lock or for a standby, has reset it.
 */
static bool
is_anything_new(BillingProcessKind kind)
{
	BillingDatabase entry = billing_registry_read(MyDatabaseId);

	return ConfigReloadPending || entry.changes != seen.changes || (kind == BILLING_SENDER && entry.events != seen.events);
}

/*
 * look_for_wake
 *		Has a commit counted since the last look?
 *
 * One that wakes nobody, as that of a prepared transaction, is supposed from time to time.
 */
static bool
look_for_wake(BillingProcessKind kind)
{
	BillingDatabase entry = billing_registry_read(MyDatabaseId);
	bool		is_sweep = billing_clock_ticks() >= swept_at + SWEEP_TICKS;

	if (is_sweep)
		swept_at = billing_clock_ticks();
	has_events = entry.events != seen.events;
	is_woken = is_sweep || entry.changes != seen.changes || (kind == BILLING_SENDER && has_events);
	seen = entry;
	return is_woken;
}

bool
billing_process_is_woken(void)
{
	return is_woken;
}

bool
billing_process_has_events(void)
{
	return has_events;
}

/*
 * rest_until
 *		After an error: sleep, whatever is committed meanwhile.
 */
static void
rest_until(int64 until)
{
	while (billing_clock_ticks() < until)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT,
						 billing_process_milliseconds(until), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		handle_interrupts();
	}
}

long
billing_process_milliseconds(int64 until)
{
	return until == BILLING_TICKS_NEVER ? -1 : Max(until - billing_clock_ticks(), 0);
}

/*
 * billing_process_begin
 *		Begin a transaction, or exit where a stop was asked for: the error that it raised may have been caught.
 */
void
billing_process_begin(const char *activity)
{
	if (stops_requested > 0)
		proc_exit(0);
	begin(activity);
	PushActiveSnapshot(GetTransactionSnapshot());
	billing_spi_begin();
}

void
billing_process_commit(void)
{
	billing_spi_end();
	PopActiveSnapshot();
	CommitTransactionCommand();
	leave_transaction();
}

static void
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	debug_query_string = activity;
	pgstat_report_activity(STATE_RUNNING, activity);
	StartTransactionCommand();
	wait_for_disk();
	look_for_extension();
}

/*
 * wait_for_disk
 *		Let what is claimed to be sent be on disk, and with it what it tells of, also where nobody
 *		else waits for it: else a crash could take back what the outside world was told.
 */
static void
wait_for_disk(void)
{
	static const BillingSpiSetting local = {"synchronous_commit", "local"};

	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		(void) billing_spi_set(&local, 1);
}

/*
 * look_for_extension
 *		Raise an error, which nobody reports, if it is not there or another.
 */
static void
look_for_extension(void)
{
	presence = read_presence();
	if (presence != PRESENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension billing %s is not installed", BILLING_VERSION)));
}

/* By its index, in the transaction that wants to know: a look of its own would cost as much as that. */
static Presence
read_presence(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Presence	result = MISSING;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("billing"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(extensions), &isnull);

		result = billing_text_equals(DatumGetTextPP(version), BILLING_VERSION) ? PRESENT : OTHER_VERSION;
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return result;
}

static void
leave_transaction(void)
{
	debug_query_string = NULL;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

int64
billing_process_attempt(BillingRound round, BillingBackoff *backoff, ErrorData * *error)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int64 next = BILLING_TICKS_NEVER;

	if (error != NULL)
		*error = NULL;
	PG_TRY();
	{
		next = round();
		MemoryContextSwitchTo(context);
		backoff->failures = 0;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		HOLD_INTERRUPTS();
		if (error != NULL)
			*error = CopyErrorData();
		next = fail(backoff);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (presence == OTHER_VERSION)
		exit_of_other_version();
	if (stops_requested > 0)
		proc_exit(0);
	return next;
}

/* Roll back; what is only a wait for the extension, or the stop that was asked for, is no failure. */
static int64
fail(BillingBackoff *backoff)
{
	bool		is_failure = presence == PRESENT && stops_requested == 0;
	int			seconds;

	if (is_failure)
		EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	leave_transaction();
	if (!is_failure)
		return BILLING_TICKS_NEVER;

	seconds = Min(BACKOFF_SECONDS << Min(backoff->failures, 10), BACKOFF_MAX_SECONDS);
	backoff->failures++;
	backoff->until = billing_clock_ticks() + seconds * 1000;
	return backoff->until;
}

/*
 * exit_of_other_version
 *		Leave the database to a process of that version's library.
 *
 * Where the library is preloaded that is one of a server that was restarted.  Where it is not, the server
 * starts the process again, and that loads what is installed.
 */
static void
exit_of_other_version(void)
{
	ereport(LOG,
			(errmsg("billing exits from database \"%s\": its library is of version %s, the extension of another",
					database_name, BILLING_VERSION),
			 errhint("Restart the server, so that it loads the library of the extension's version.")));
	proc_exit(1);
}
