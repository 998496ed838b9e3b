/*-------------------------------------------------------------------------
 *
 * keyring.h
 *	  The keys of billing.sealed, as the key file holds them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_KEYRING_H
#define BILLING_KEYRING_H

#define BILLING_KEY_BYTES		32
#define BILLING_KEY_ID_MAX		32

typedef struct BillingKey
{
	char		id[BILLING_KEY_ID_MAX + 1];
	uint8		bytes[BILLING_KEY_BYTES];
} BillingKey;

extern bool billing_keyring_is_id(const char *text, size_t len);
extern void billing_keyring_current(BillingKey *key);
extern void billing_keyring_find(const char *id, BillingKey *key);
extern int	billing_keyring_ids(BillingKey **keys);
extern void billing_keyring_forget(BillingKey *keys, int nkeys);

#endif							/* BILLING_KEYRING_H */
