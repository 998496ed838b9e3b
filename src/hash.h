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

/* A hash, or a shorter start of a chain, as bytea. */
extern Datum billing_hash_datum(const uint8 *hash, int len);

#endif							/* BILLING_HASH_H */
