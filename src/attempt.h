/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  Work on many of which one may fail.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ATTEMPT_H
#define BILLING_ATTEMPT_H

/* Do the work for some of the set, those from .. from + count - 1. */
typedef void (*BillingWork) (void *set, int from, int count);

/* Say of one of the set what went wrong with it. */
typedef void (*BillingReport) (void *set, int which, const ErrorData *error);

/*
 * Do the work for all count of a set, at once if that goes, and without those for
 * which it fails, which are reported.  What is wrong with the transaction or the
 * server is raised.
 */
extern void billing_attempt(BillingWork work, BillingReport report, void *set, int count);

/* Do work of one: NULL, or why none of it is done.  What stops the caller, as a cancel does, is raised. */
extern ErrorData *billing_attempt_one(BillingWork work, void *one);

#endif							/* BILLING_ATTEMPT_H */
