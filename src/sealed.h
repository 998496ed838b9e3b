/*-------------------------------------------------------------------------
 *
 * sealed.h
 *	  billing.sealed: a secret that is stored, dumped and shown as ciphertext.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SEALED_H
#define BILLING_SEALED_H

#define BILLING_SEALED_MAX_PLAINTEXT	(64 * 1024)
#define BILLING_SEALED_MAX_PURPOSE		63

/*
 * One sealed secret.  What follows the fixed part is the key id, then a nonce of
 * 12 bytes, as many bytes of ciphertext as the plaintext has, and a tag of 16.
 */
typedef struct BillingSealed
{
	int32		vl_len_;		/* varlena header: do not touch directly */
	uint8		version;		/* of this layout and of what the tag covers */
	uint8		key_id_len;
	uint8		body[FLEXIBLE_ARRAY_MEMBER];
} BillingSealed;

#define DatumGetBillingSealedP(X)		((BillingSealed *) PG_DETOAST_DATUM(X))
#define PG_GETARG_BILLING_SEALED_P(n)	DatumGetBillingSealedP(PG_GETARG_DATUM(n))
#define PG_RETURN_BILLING_SEALED_P(x)	PG_RETURN_POINTER(x)

/* The type's own input function. */
extern Datum billing_sealed_in(PG_FUNCTION_ARGS);

extern BillingSealed *billing_sealed_make(int64 tenant_id, const char *purpose,
										  const char *plaintext, size_t len);
extern char *billing_sealed_open(int64 tenant_id, const char *purpose, const BillingSealed *value);
extern char *billing_sealed_text(const BillingSealed *value);
extern void billing_sealed_forget(char *plaintext);

#endif							/* BILLING_SEALED_H */
