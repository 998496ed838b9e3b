/*-------------------------------------------------------------------------
 *
 * hash.h
 *	  SHA-256.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_HASH_H
#define BILLING_HASH_H

#define BILLING_HASH_BYTES 32

extern void billing_hash(const void *data, size_t len, uint8 *hash);
extern bytea *billing_hash_make(const void *data, size_t len);

#endif							/* BILLING_HASH_H */
