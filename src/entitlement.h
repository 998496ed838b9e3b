/*-------------------------------------------------------------------------
 *
 * entitlement.h
 *	  What a tenant may use now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ENTITLEMENT_H
#define BILLING_ENTITLEMENT_H

/*
 * Make the entitlements of tenants (a bigint[]; ids may repeat) what their subscriptions
 * and overrides give; returns how many segments that added, changed or removed.  The
 * caller has locked the tenants and is connected to SPI; is_batch: it reads by the
 * active snapshot, as the bill run does.
 */
extern int64 billing_entitlement_refresh(Datum tenant_ids, bool is_batch);

/* The same of one tenant, by a snapshot of its own. */
extern int64 billing_entitlement_refresh_one(int64 tenant_id);

#endif							/* BILLING_ENTITLEMENT_H */
