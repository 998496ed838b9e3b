/*-------------------------------------------------------------------------
 *
 * process.h
 *	  What the worker and the sender have in common: how they start, sleep, fail and stop.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PROCESS_H
#define BILLING_PROCESS_H

#include "registry.h"

/*
 * What is done again and again, whenever there is something to do; returns when it wants to be called again if no
 * commit wakes the process before, in ticks of the clock (BILLING_TICKS_NEVER: not before that).  It opens and closes
 * transactions by the two functions below and leaves none open.
 */
typedef int64 (*BillingRound) (void);

/*
 * What a process does.  round is called in a memory context that is emptied before the next.  is_ready: is there
 * something to do that no commit tells of (NULL: never)?  wait: sleep until then, a latch that is set or is_ready.
 */
typedef struct BillingProcess
{
	BillingProcessKind kind;
	BillingRound round;
	bool		(*is_ready) (void);
	void		(*wait) (int64 until);
} BillingProcess;

/* How a thing that is done again and again fails: how often in a row, and until when it rests, in ticks. */
typedef struct BillingBackoff
{
	int			failures;
	int64		until;
} BillingBackoff;

/* The life of the process in a database; does not return. */
pg_noreturn extern void billing_process_run(const BillingProcess *process, Oid database);

/*
 * Connect to a database, with its settings put aside; name is its application_name.  The handler of SIGTERM is
 * the caller's.
 */
extern void billing_process_connect(Oid database, const char *name);

/* The names of the processes in pg_stat_activity.backend_type, and their entry points. */
extern const char *const billing_process_types[];
extern const char *const billing_process_functions[];

/*
 * The only places that open and close transactions.  activity, a constant, is what pg_stat_activity shows;
 * between the two SPI is connected and a snapshot is active.
 */
extern void billing_process_begin(const char *activity);
extern void billing_process_commit(void);

/*
 * Has a commit woken this process since its last round began, or may one have passed unnoticed by now?  Valid in a
 * round.
 */
extern bool billing_process_is_woken(void);

/* Has an event been committed since then? */
extern bool billing_process_has_events(void);

/*
 * Call round; where it fails, report that, roll back and return when to try again: after a second at first, then
 * ever later, up to five minutes.  The error, in the caller's memory, is left in *error if that is not NULL: NULL
 * if there was none.  That the extension is not there is none.  A process that is to stop exits here.
 */
extern int64 billing_process_attempt(BillingRound round, BillingBackoff *backoff, ErrorData * *error);

/* Milliseconds from now until a tick, for a WaitEventSet: -1 for ever. */
extern long billing_process_milliseconds(int64 until);

#endif							/* BILLING_PROCESS_H */
