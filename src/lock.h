/*-------------------------------------------------------------------------
 *
 * lock.h
 *	  Locks of a tenant that are no row's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_LOCK_H
#define BILLING_LOCK_H

/* What is done one after the other. */
typedef enum BillingLock
{
	BILLING_LOCK_LIMIT = 0xB1,	/* rows of the application's are counted */
	BILLING_LOCK_SPEND = 0xB2	/* usage is recorded within a spend_limit */
} BillingLock;

/* Wait for who holds it, and hold it until the transaction ends. */
extern void billing_lock_tenant(BillingLock what, int64 tenant_id);

#endif							/* BILLING_LOCK_H */
