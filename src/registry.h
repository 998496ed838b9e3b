/*-------------------------------------------------------------------------
 *
 * registry.h
 *	  Which processes of ours run in which database, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_REGISTRY_H
#define BILLING_REGISTRY_H

#include "datatype/timestamp.h"
#include "storage/latch.h"

/* How many databases of a server may have processes of ours. */
#define BILLING_REGISTRY_DATABASES 64

/* What runs in a database. */
typedef enum BillingProcessKind
{
	BILLING_WORKER,				/* runs what is due; never has a network */
	BILLING_SENDER,				/* delivers; the only one with a network */
	BILLING_PROCESS_KINDS
} BillingProcessKind;

/* A database as it is known here; a copy, in what billing_registry_read() returns. */
typedef struct BillingDatabase
{
	Oid			oid;
	bool		is_wanted;		/* by start_worker(), also if no setting names
								 * it */
	bool		is_stopped;		/* by stop_worker() */
	uint32		requests;		/* how often start_worker() asked */
	pid_t		pids[BILLING_PROCESS_KINDS];	/* 0: does not run */
	Latch	   *latches[BILLING_PROCESS_KINDS];
	uint64		changes;		/* commits that changed what is due */
	uint64		events;			/* commits that wrote events */
} BillingDatabase;

/* How many long works may be told of at a time, and one of them. */
#define BILLING_REGISTRY_PROGRESS 64

typedef struct BillingProgress
{
	Oid			database;
	pid_t		pid;			/* 0: a free place */
	char		work[32];
	char		phase[32];
	int64		done;
	int64		total;
	TimestampTz started_at;
	int64		phase_done;		/* done when the phase began */
	TimestampTz phase_at;
} BillingProgress;

/* Is the library preloaded? */
extern bool billing_registry_is_preloaded;

/* Ask for the shared memory while the server starts. */
extern void billing_registry_init(void);

/* Make it where that was not done; false if there is none.  What is below does so itself, and does nothing then. */
extern bool billing_registry_attach(void);

/* The database's entry, zeros if there is none. */
extern BillingDatabase billing_registry_read(Oid database);

/* All of them: fills in up to BILLING_REGISTRY_DATABASES, returns how many. */
extern int	billing_registry_list(BillingDatabase *databases);

/* Say that this process runs in a database, until it exits; one that is to run no more exits at once. */
extern void billing_registry_enter(Oid database, BillingProcessKind kind);

/* Say that this process is the launcher, until it exits; have it look what is to run: false if there is none. */
extern void billing_registry_enter_launcher(void);
extern bool billing_registry_wake_launcher(void);

/* What start_worker() and stop_worker() want of a database; raises 53200 and 53400 where there is no place to say so. */
extern void billing_registry_want(Oid database, bool is_wanted, bool is_stopped);

/* Set the latches of the processes of a database that are concerned, and count why. */
extern void billing_registry_wake(Oid database, bool has_change, bool has_event);

/* Progress: kept by pid.  Where there is no place for another one, it is not told of. */
extern void billing_registry_put_progress(const BillingProgress *progress);
extern void billing_registry_set_phase(pid_t pid, const char *phase, int64 total, TimestampTz now);
extern void billing_registry_add_progress(pid_t pid, int64 done);
extern void billing_registry_drop_progress(pid_t pid);
extern int	billing_registry_list_progress(BillingProgress *all);

/* Forget databases that exist no more and in which nothing runs. */
extern void billing_registry_forget(Oid database);

#endif							/* BILLING_REGISTRY_H */
