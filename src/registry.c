/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  Which processes of ours run in which database, in shared memory.
 *
 * One small table that a spinlock guards; it holds what must be known across
 * processes and may be lost with them: who runs where, whose latch is to be
 * set at a commit, and what an administrator has stopped.
 *
 * Where the library is not preloaded, the first process that needs the table makes it in
 * the memory that every server keeps in reserve; it is a few kilobytes.  Where others have used
 * that up there is none: nothing runs then, and whoever would wake it goes on all the same.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "registry.h"

/* Where it is found: another form of the table has another number, so that no library takes it for its own. */
#define TABLE_NAME "billing 1"

/* The table; mutex guards the rest. */
typedef struct Registry
{
	slock_t		mutex;
	Latch	   *launcher;
	BillingDatabase databases[BILLING_REGISTRY_DATABASES];
	BillingProgress progress[BILLING_REGISTRY_PROGRESS];
} Registry;

bool		billing_registry_is_preloaded = false;

static Registry *registry;
static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;
static bool is_without_memory = false;
static BillingProcessKind my_kind;

static void request_memory(void);
static void start_up(void);
static bool make_table(void);
static bool take_mutex(void);
static void release_mutex(void);
static BillingProgress *find_progress(pid_t pid);
static BillingDatabase *find(Oid database);
static BillingDatabase *find_or_make(Oid database);
static void report_full(int elevel);
static void leave(int code, Datum arg);
static void leave_launcher(int code, Datum arg);

void
billing_registry_init(void)
{
	billing_registry_is_preloaded = true;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_up;
}

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Registry)));
}

static void
start_up(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	registry = NULL;
	if (!make_table())
		elog(FATAL, "no shared memory for billing, which has asked for it");
}

bool
billing_registry_attach(void)
{
	if (registry == NULL && !is_without_memory)
		is_without_memory = !make_table();
	return registry != NULL;
}

/* Make the table, or find it; false if there is no memory for it, nor ever will be. */
static bool
make_table(void)
{
	MemoryContext context = CurrentMemoryContext;
	Registry   *volatile table = NULL;
	bool		found = false;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	PG_TRY();
	{
		table = ShmemInitStruct(TABLE_NAME, sizeof(Registry), &found);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		/* The error has ended what the lock holds, and its release ends that once more. */
		HOLD_INTERRUPTS();
	}
	PG_END_TRY();
	if (table != NULL && !found)
	{
		memset(table, 0, sizeof(Registry));
		SpinLockInit(&table->mutex);
	}
	LWLockRelease(AddinShmemInitLock);
	registry = table;
	return registry != NULL;
}

/* False if there is no table. */
static bool
take_mutex(void)
{
	if (!billing_registry_attach())
		return false;
	SpinLockAcquire(&registry->mutex);
	return true;
}

static void
release_mutex(void)
{
	SpinLockRelease(&registry->mutex);
}

/* To be called with the mutex held; NULL if there is none. */
static BillingDatabase *
find(Oid database)
{
	for (int i = 0; i < BILLING_REGISTRY_DATABASES; i++)
	{
		if (registry->databases[i].oid == database)
			return &registry->databases[i];
	}
	return NULL;
}

/* The same; NULL if the table is full. */
static BillingDatabase *
find_or_make(Oid database)
{
	BillingDatabase *entry = find(database);

	if (entry == NULL && (entry = find(InvalidOid)) != NULL)
		entry->oid = database;
	return entry;
}

BillingDatabase
billing_registry_read(Oid database)
{
	BillingDatabase copy = {0};
	BillingDatabase *entry;

	if (!take_mutex())
		return copy;
	entry = find(database);
	if (entry != NULL)
		copy = *entry;
	release_mutex();
	return copy;
}

int
billing_registry_list(BillingDatabase *databases)
{
	int			count = 0;

	if (!take_mutex())
		return 0;
	for (int i = 0; i < BILLING_REGISTRY_DATABASES; i++)
	{
		if (OidIsValid(registry->databases[i].oid))
			databases[count++] = registry->databases[i];
	}
	release_mutex();
	return count;
}

void
billing_registry_enter(Oid database, BillingProcessKind kind)
{
	BillingDatabase *entry = NULL;
	bool		is_stopped = false;

	if (take_mutex())
	{
		entry = find_or_make(database);
		is_stopped = entry != NULL && entry->is_stopped;
		if (entry != NULL && !is_stopped)
		{
			entry->pids[kind] = MyProcPid;
			entry->latches[kind] = MyLatch;
		}
		release_mutex();
	}

	/* While it was on its way: whoever stopped it could not know of it. */
	if (is_stopped)
		proc_exit(0);
	if (entry == NULL)
		report_full(FATAL);
	my_kind = kind;
	before_shmem_exit(leave, ObjectIdGetDatum(database));
}

static void
report_full(int elevel)
{
	if (registry == NULL)
		ereport(elevel,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("no shared memory is left for billing"),
				 errdetail("bytes=%zu", sizeof(Registry)),
				 errhint("Name billing in shared_preload_libraries, so that the server makes room for it.")));
	ereport(elevel,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("billing runs in %d databases at most", BILLING_REGISTRY_DATABASES),
			 errdetail("databases=%d", BILLING_REGISTRY_DATABASES),
			 errhint("Name fewer in billing.databases, and drop those that are stopped and not needed.")));
}

/* Whoever waits for this process to end, and the launcher that may start another, learn of it. */
static void
leave(int code, Datum arg)
{
	BillingDatabase *entry;
	Latch	   *launcher;

	(void) take_mutex();
	entry = find(DatumGetObjectId(arg));
	if (entry != NULL && entry->pids[my_kind] == MyProcPid)
	{
		entry->pids[my_kind] = 0;
		entry->latches[my_kind] = NULL;
	}
	launcher = registry->launcher;
	release_mutex();
	if (launcher != NULL)
		SetLatch(launcher);
}

void
billing_registry_enter_launcher(void)
{
	(void) take_mutex();
	registry->launcher = MyLatch;
	release_mutex();
	before_shmem_exit(leave_launcher, (Datum) 0);
}

static void
leave_launcher(int code, Datum arg)
{
	(void) take_mutex();
	registry->launcher = NULL;
	release_mutex();
}

bool
billing_registry_wake_launcher(void)
{
	Latch	   *launcher;

	if (!take_mutex())
		return false;
	launcher = registry->launcher;
	release_mutex();
	if (launcher != NULL)
		SetLatch(launcher);
	return launcher != NULL;
}

void
billing_registry_want(Oid database, bool is_wanted, bool is_stopped)
{
	BillingDatabase *entry = NULL;

	if (take_mutex())
	{
		entry = find_or_make(database);
		if (entry != NULL)
		{
			entry->is_wanted = is_wanted;
			entry->is_stopped = is_stopped;
			entry->requests += is_wanted;
		}
		release_mutex();
	}
	if (entry == NULL)
		report_full(ERROR);
}

/*
 * billing_registry_wake
 *		Set the latches of the processes of a database that are concerned.
 *
 * What is due is the worker's business, and may be to send something; what happened is the sender's.  A latch is a
 * process's place in the server, not the process: one that has ended meanwhile leaves it to another, which is woken
 * for nothing.
 */
void
billing_registry_wake(Oid database, bool has_change, bool has_event)
{
	BillingDatabase *entry;
	Latch	   *latches[BILLING_PROCESS_KINDS] = {0};

	if (!take_mutex())
		return;
	entry = find(database);
	if (entry != NULL)
	{
		entry->changes += has_change;
		entry->events += has_event;
		latches[BILLING_SENDER] = entry->latches[BILLING_SENDER];
		if (has_change)
			latches[BILLING_WORKER] = entry->latches[BILLING_WORKER];
	}
	release_mutex();

	for (int i = 0; i < BILLING_PROCESS_KINDS; i++)
	{
		if (latches[i] != NULL)
			SetLatch(latches[i]);
	}
}

void
billing_registry_forget(Oid database)
{
	BillingDatabase *entry;

	if (!take_mutex())
		return;
	entry = find(database);
	if (entry != NULL && entry->pids[BILLING_WORKER] == 0 && entry->pids[BILLING_SENDER] == 0)
		memset(entry, 0, sizeof(BillingDatabase));
	release_mutex();
}

/* To be called with the mutex held; NULL if there is none. */
static BillingProgress *
find_progress(pid_t pid)
{
	for (int i = 0; i < BILLING_REGISTRY_PROGRESS; i++)
	{
		if (registry->progress[i].pid == pid)
			return &registry->progress[i];
	}
	return NULL;
}

void
billing_registry_put_progress(const BillingProgress *progress)
{
	BillingProgress *place;

	if (!take_mutex())
		return;
	place = find_progress(progress->pid);
	if (place == NULL)
		place = find_progress(0);
	if (place != NULL)
		*place = *progress;
	release_mutex();
}

void
billing_registry_set_phase(pid_t pid, const char *phase, int64 total, TimestampTz now)
{
	BillingProgress *place;

	if (!take_mutex())
		return;
	place = find_progress(pid);
	if (place != NULL)
	{
		if (strcmp(place->phase, phase) != 0)
		{
			place->phase_done = place->done;
			place->phase_at = now;
		}
		strlcpy(place->phase, phase, sizeof(place->phase));
		place->total = total;
	}
	release_mutex();
}

void
billing_registry_add_progress(pid_t pid, int64 done)
{
	BillingProgress *place;

	if (!take_mutex())
		return;
	place = find_progress(pid);
	if (place != NULL)
		place->done += done;
	release_mutex();
}

void
billing_registry_drop_progress(pid_t pid)
{
	BillingProgress *place;

	if (!take_mutex())
		return;
	place = find_progress(pid);
	if (place != NULL)
		place->pid = 0;
	release_mutex();
}

int
billing_registry_list_progress(BillingProgress *all)
{
	int			count = 0;

	if (!take_mutex())
		return 0;
	for (int i = 0; i < BILLING_REGISTRY_PROGRESS; i++)
	{
		if (registry->progress[i].pid != 0)
			all[count++] = registry->progress[i];
	}
	release_mutex();
	return count;
}
