/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  Locks of a tenant that are no row's.
 *
 * An application holds them as long as its transaction takes, which is no business of
 * the bill run's: so they are not the tenant's row.  They are advisory locks of
 * classes of their own, where no pg_advisory_lock() is.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "lock.h"

void
billing_lock_tenant(BillingLock what, int64 tenant_id)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (tenant_id >> 32), (uint32) tenant_id, what);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}
