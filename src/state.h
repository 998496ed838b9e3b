/*-------------------------------------------------------------------------
 *
 * state.h
 *	  Which state may follow which.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_STATE_H
#define BILLING_STATE_H

/*
 * May an object go from one state straight to another?  Staying is no
 * transition, and what is not known is not legal.
 */
extern bool billing_state_is_legal(const char *object, const char *from, const char *to);

/* YB004 unless the transition is legal. */
extern void billing_state_check(const char *object, int64 id, const char *from, const char *to);

#endif							/* BILLING_STATE_H */
