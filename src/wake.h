/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Wake the processes of this database when this transaction has committed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_WAKE_H
#define BILLING_WAKE_H

/* This transaction wrote an event: there is something to deliver.  Wakes the sender. */
extern void billing_wake_at_commit(void);

/* It changed when something is due, or what is to be done then.  Wakes both. */
extern void billing_wake_due_at_commit(void);

#endif							/* BILLING_WAKE_H */
