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
 * the memory that every server keeps in reserve; it is a few kilobytes.
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
static BillingProcessKind my_kind;

static void request_memory(void);
static void start_up(void);
static BillingProgress *find_progress(pid_t pid);
static BillingDatabase *find(Oid database);
static BillingDatabase *find_or_make(Oid database);
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
	billing_registry_attach();
}

void
billing_registry_attach(void)
{
	bool		found;
	Registry   *table;

	if (registry != NULL)
		return;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct("billing", sizeof(Registry), &found);
	if (!found)
	{
		memset(table, 0, sizeof(Registry));
		SpinLockInit(&table->mutex);
	}
	LWLockRelease(AddinShmemInitLock);
	registry = table;
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

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	entry = find(database);
	if (entry != NULL)
		copy = *entry;
	SpinLockRelease(&registry->mutex);
	return copy;
}

int
billing_registry_list(BillingDatabase *databases)
{
	int			count = 0;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	for (int i = 0; i < BILLING_REGISTRY_DATABASES; i++)
	{
		if (OidIsValid(registry->databases[i].oid))
			databases[count++] = registry->databases[i];
	}
	SpinLockRelease(&registry->mutex);
	return count;
}

void
billing_registry_enter(Oid database, BillingProcessKind kind)
{
	BillingDatabase *entry;
	bool		is_stopped;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	entry = find_or_make(database);
	is_stopped = entry != NULL && entry->is_stopped;
	if (entry != NULL && !is_stopped)
	{
		entry->pids[kind] = MyProcPid;
		entry->latches[kind] = MyLatch;
	}
	SpinLockRelease(&registry->mutex);

	/* While it was on its way: whoever stopped it could not know of it. */
	if (is_stopped)
		proc_exit(0);
	if (entry == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("billing runs in %d databases at most", BILLING_REGISTRY_DATABASES),
				 errdetail("databases=%d", BILLING_REGISTRY_DATABASES),
				 errhint("Name fewer in billing.databases.")));
	my_kind = kind;
	before_shmem_exit(leave, ObjectIdGetDatum(database));
}

/* Whoever waits for this process to end, and the launcher that may start another, learn of it. */
static void
leave(int code, Datum arg)
{
	BillingDatabase *entry;
	Latch	   *launcher;

	SpinLockAcquire(&registry->mutex);
	entry = find(DatumGetObjectId(arg));
	if (entry != NULL && entry->pids[my_kind] == MyProcPid)
	{
		entry->pids[my_kind] = 0;
		entry->latches[my_kind] = NULL;
	}
	launcher = registry->launcher;
	SpinLockRelease(&registry->mutex);
	if (launcher != NULL)
		SetLatch(launcher);
}

void
billing_registry_enter_launcher(void)
{
	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	registry->launcher = MyLatch;
	SpinLockRelease(&registry->mutex);
	before_shmem_exit(leave_launcher, (Datum) 0);
}

static void
leave_launcher(int code, Datum arg)
{
	SpinLockAcquire(&registry->mutex);
	registry->launcher = NULL;
	SpinLockRelease(&registry->mutex);
}

bool
billing_registry_has_launcher(void)
{
	bool		has_launcher;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	has_launcher = registry->launcher != NULL;
	SpinLockRelease(&registry->mutex);
	return has_launcher;
}

void
billing_registry_wake_launcher(void)
{
	Latch	   *launcher;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	launcher = registry->launcher;
	SpinLockRelease(&registry->mutex);
	if (launcher != NULL)
		SetLatch(launcher);
}

void
billing_registry_want(Oid database, bool is_wanted, bool is_stopped)
{
	BillingDatabase *entry;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	entry = find_or_make(database);
	if (entry != NULL)
	{
		entry->is_wanted = is_wanted;
		entry->is_stopped = is_stopped;
	}
	SpinLockRelease(&registry->mutex);
}

/*
 * billing_registry_wake
 *		Set the latches of the processes of a database that are concerned.
 *
 * What is due is the worker's business, and may be to send something; what happened is the sender's.  A latch is a process's place in the server, not the process: one that has ended
 * meanwhile leaves it to another, which is woken for nothing.
 */
void
billing_registry_wake(Oid database, bool has_change, bool has_event)
{
	BillingDatabase *entry;
	Latch	   *latches[BILLING_PROCESS_KINDS] = {0};

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	entry = find(database);
	if (entry != NULL)
	{
		entry->changes += has_change;
		entry->events += has_event;
		latches[BILLING_SENDER] = entry->latches[BILLING_SENDER];
		if (has_change)
			latches[BILLING_WORKER] = entry->latches[BILLING_WORKER];
	}
	SpinLockRelease(&registry->mutex);

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

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	entry = find(database);
	if (entry != NULL && entry->pids[BILLING_WORKER] == 0 && entry->pids[BILLING_SENDER] == 0)
		memset(entry, 0, sizeof(BillingDatabase));
	SpinLockRelease(&registry->mutex);
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

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	place = find_progress(progress->pid);
	if (place == NULL)
		place = find_progress(0);
	if (place != NULL)
		*place = *progress;
	SpinLockRelease(&registry->mutex);
}

bool
billing_registry_get_progress(pid_t pid, BillingProgress *progress)
{
	BillingProgress *place;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	place = find_progress(pid);
	if (place != NULL)
		*progress = *place;
	SpinLockRelease(&registry->mutex);
	return place != NULL;
}

void
billing_registry_add_progress(pid_t pid, int64 done)
{
	BillingProgress *place;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	place = find_progress(pid);
	if (place != NULL)
		place->done += done;
	SpinLockRelease(&registry->mutex);
}

void
billing_registry_drop_progress(pid_t pid)
{
	BillingProgress *place;

	SpinLockAcquire(&registry->mutex);
	place = find_progress(pid);
	if (place != NULL)
		place->pid = 0;
	SpinLockRelease(&registry->mutex);
}

int
billing_registry_list_progress(BillingProgress *all)
{
	int			count = 0;

	billing_registry_attach();
	SpinLockAcquire(&registry->mutex);
	for (int i = 0; i < BILLING_REGISTRY_PROGRESS; i++)
	{
		if (registry->progress[i].pid != 0)
			all[count++] = registry->progress[i];
	}
	SpinLockRelease(&registry->mutex);
	return count;
}
