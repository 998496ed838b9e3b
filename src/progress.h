/*-------------------------------------------------------------------------
 *
 * progress.h
 *	  How far long work has come, for others to see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PROGRESS_H
#define BILLING_PROGRESS_H

/* This process begins such work: a word for it.  One at a time; the one before ends.  atomic: in one transaction. */
extern void billing_progress_begin(const char *work, bool atomic);

/* It comes to a phase by whose end so much is done in all, by what was done before and what is left; 0: nobody knows. */
extern void billing_progress_phase(const char *phase, int64 total);

/* So much more is done, by this process or (pid not 0) for another one. */
extern void billing_progress_add(int64 done, pid_t pid);

/* It ends; so it does where the transaction is rolled back, or was all of it, or the process exits. */
extern void billing_progress_end(void);

#endif							/* BILLING_PROGRESS_H */
