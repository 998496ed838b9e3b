/*-------------------------------------------------------------------------
 *
 * helper.h
 *	  Processes that help with a bill run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_HELPER_H
#define BILLING_HELPER_H

/* Let bill runs have helpers. */
extern void billing_helper_init(void);

#endif							/* BILLING_HELPER_H */
