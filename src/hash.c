/*-------------------------------------------------------------------------
 *
 * hash.c
 *	  SHA-256, by OpenSSL: what proves that nothing was changed.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <openssl/evp.h>

#include "hash.h"

/*
 * billing_hash
 *		Write the SHA-256 of len bytes at data to hash.
 *
 * The algorithm is looked up once, and its state allocated once: either takes longer
 * than the hash of a short text.
 */
void
billing_hash(const void *data, size_t len, uint8 *hash)
{
	static EVP_MD *algorithm = NULL;
	static EVP_MD_CTX *state = NULL;

	if (algorithm == NULL)
		algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (state == NULL)
		state = EVP_MD_CTX_new();
	if (algorithm == NULL || state == NULL ||
		EVP_DigestInit_ex2(state, algorithm, NULL) != 1 ||
		EVP_DigestUpdate(state, data, len) != 1 ||
		EVP_DigestFinal_ex(state, hash, NULL) != 1)
		elog(ERROR, "could not compute SHA-256");
}

/* The same as a new bytea. */
bytea *
billing_hash_make(const void *data, size_t len)
{
	uint8		hash[BILLING_HASH_BYTES];

	billing_hash(data, len, hash);
	return DatumGetByteaP(billing_hash_datum(hash, sizeof(hash)));
}

Datum
billing_hash_datum(const uint8 *hash, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), hash, len);
	return PointerGetDatum(result);
}
