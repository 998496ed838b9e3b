/*-------------------------------------------------------------------------
 *
 * sign.h
 *	  Signatures of webhooks, as Standard Webhooks 1.0 writes them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SIGN_H
#define BILLING_SIGN_H

#include "lib/stringinfo.h"

/* Bytes of a shared secret; an Ed25519 key has 32, of which the rest follows. */
#define BILLING_SIGN_SECRET_MIN		24
#define BILLING_SIGN_SECRET_MAX		64
#define BILLING_SIGN_ED25519_BYTES	32

/* Room for a secret as text, with its end. */
#define BILLING_SIGN_TEXT_MAX		128

typedef enum BillingSignScheme
{
	BILLING_SIGN_V1,			/* HMAC-SHA256, whsec_ */
	BILLING_SIGN_V1A			/* Ed25519, whsk_ and whpk_ */
} BillingSignScheme;

typedef struct BillingSignKey
{
	BillingSignScheme scheme;
	int			len;
	uint8		bytes[BILLING_SIGN_SECRET_MAX];
} BillingSignKey;

/* Read a secret's text: NULL, or what is wrong with it, as a detail that does not repeat it. */
extern const char *billing_sign_read(const char *text, BillingSignKey *key);

/* Make a key of random bytes, and its text; false if there is no randomness. */
extern bool billing_sign_make(BillingSignScheme scheme, BillingSignKey *key, char *text);

/* The text of the public key of an Ed25519 key, in text; false if OpenSSL cannot. */
extern bool billing_sign_public_key(const BillingSignKey *key, char *text);

/* Append the signature of id.timestamp.body, such as v1,K5oZ...; false if OpenSSL cannot. */
extern bool billing_sign_append(StringInfo out, const BillingSignKey *key, const char *content, size_t len);

/* Zero a key, or the text of one. */
extern void billing_sign_forget(void *secret, size_t len);

#endif							/* BILLING_SIGN_H */
