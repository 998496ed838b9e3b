/*-------------------------------------------------------------------------
 *
 * sender.h
 *	  What the sender delivers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SENDER_H
#define BILLING_SENDER_H

#include "process.h"

/*
 * A channel.  round: claim in one transaction, hand what is to be transferred to the engine, record
 * in another what has finished.  No transaction is open while a transfer is.  is_ready: have
 * transfers finished that are not recorded (NULL: never)?  A channel that fails backs off alone.
 */
typedef struct BillingChannel
{
	const char *name;
	BillingRound round;
	bool		(*is_ready) (void);
} BillingChannel;

#endif							/* BILLING_SENDER_H */
