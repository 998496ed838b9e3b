/*-------------------------------------------------------------------------
 *
 * sender.h
 *	  What the sender delivers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SENDER_H
#define BILLING_SENDER_H

#include "datatype/timestamp.h"

/*
 * A channel.  round: claim in one transaction, hand what is to be transferred to the engine, record
 * in another what has finished; returns when it wants to be called again (DT_NOEND: when a commit
 * wakes it).  No transaction is open while a transfer is.  is_ready: have transfers finished that
 * are not recorded (NULL: never)?
 * A channel that fails backs off alone.
 */
typedef struct BillingChannel
{
	const char *name;
	TimestampTz (*round) (void);
	bool		(*is_ready) (void);
} BillingChannel;

#endif							/* BILLING_SENDER_H */
