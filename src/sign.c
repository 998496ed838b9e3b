/*-------------------------------------------------------------------------
 *
 * sign.c
 *	  Signatures of webhooks, as Standard Webhooks 1.0 writes them.
 *
 * A shared secret signs with HMAC-SHA256 (v1); its text is whsec_ and the base64 of 24
 * to 64 bytes.  A key of the sender's own signs with Ed25519 (v1a); its text is whsk_
 * and the base64 of its 32 bytes, or of 64, of which the others are the public key, as
 * some libraries write it; the public one is whpk_ and the base64 of 32.
 *
 * Nothing here raises: keys are in the caller's memory, which zeroes them.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base64.h"

#include "sign.h"

#define HMAC_BYTES		32
#define ED25519_SIGNATURE_BYTES 64

static const struct
{
	const char *secret;
	const char *signature;
	int			bytes;			/* of a key that is made here */
}			schemes[] = {
	[BILLING_SIGN_V1] = {"whsec_", "v1,", 32},
	[BILLING_SIGN_V1A] = {"whsk_", "v1a,", BILLING_SIGN_ED25519_BYTES},
};

static const char *decode_key(const char *base64, BillingSignKey *key);
static bool write_text(const char *prefix, const uint8 *bytes, int len, char *text);
static bool sign_v1(const BillingSignKey *key, const char *content, size_t len, uint8 *signature);
static bool sign_v1a(const BillingSignKey *key, const char *content, size_t len, uint8 *signature);
static EVP_PKEY *make_pkey(const BillingSignKey *key);

const char *
billing_sign_read(const char *text, BillingSignKey *key)
{
	for (int i = 0; i < lengthof(schemes); i++)
	{
		if (strncmp(text, schemes[i].secret, strlen(schemes[i].secret)) == 0)
		{
			key->scheme = i;
			return decode_key(text + strlen(schemes[i].secret), key);
		}
	}
	return "It begins neither with whsec_ nor with whsk_.";
}

static const char *
decode_key(const char *base64, BillingSignKey *key)
{
	size_t		len = strlen(base64);
	uint8		bytes[BILLING_SIGN_TEXT_MAX];
	const char *problem = NULL;

	key->len = len < BILLING_SIGN_TEXT_MAX ? pg_b64_decode(base64, len, (void *) bytes, sizeof(bytes)) : -1;
	if (key->len < 0)
		problem = "What follows its prefix is not base64 of 24 to 64 bytes.";
	else if (key->scheme == BILLING_SIGN_V1 && (key->len < BILLING_SIGN_SECRET_MIN || key->len > BILLING_SIGN_SECRET_MAX))
		problem = "A shared secret has 24 to 64 bytes.";
	else if (key->scheme == BILLING_SIGN_V1A && key->len != BILLING_SIGN_ED25519_BYTES && key->len != 2 * BILLING_SIGN_ED25519_BYTES)
		problem = "An Ed25519 key has 32 bytes, or 64 with its public key.";

	if (problem == NULL)
	{
		if (key->scheme == BILLING_SIGN_V1A)
			key->len = BILLING_SIGN_ED25519_BYTES;
		memcpy(key->bytes, bytes, key->len);
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return problem;
}

bool
billing_sign_make(BillingSignScheme scheme, BillingSignKey *key, char *text)
{
	key->scheme = scheme;
	key->len = schemes[scheme].bytes;
	return pg_strong_random(key->bytes, key->len) &&
		write_text(schemes[scheme].secret, key->bytes, key->len, text);
}

bool
billing_sign_public_key(const BillingSignKey *key, char *text)
{
	EVP_PKEY   *pkey = make_pkey(key);
	uint8		bytes[BILLING_SIGN_ED25519_BYTES];
	size_t		len = sizeof(bytes);
	bool		done = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, bytes, &len) == 1;

	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return done && write_text("whpk_", bytes, len, text);
}

static bool
write_text(const char *prefix, const uint8 *bytes, int len, char *text)
{
	size_t		start = strlen(prefix);
	int			written;

	memcpy(text, prefix, start);
	written = pg_b64_encode((void *) bytes, len, text + start, BILLING_SIGN_TEXT_MAX - start - 1);
	if (written < 0)
		return false;
	text[start + written] = '\0';
	return true;
}

bool
billing_sign_append(StringInfo out, const BillingSignKey *key, const char *content, size_t len)
{
	uint8		signature[ED25519_SIGNATURE_BYTES];
	char		text[BILLING_SIGN_TEXT_MAX];
	bool		is_v1 = key->scheme == BILLING_SIGN_V1;

	if (!(is_v1 ? sign_v1 : sign_v1a) (key, content, len, signature) ||
		!write_text(schemes[key->scheme].signature, signature, is_v1 ? HMAC_BYTES : ED25519_SIGNATURE_BYTES, text))
		return false;
	appendStringInfoString(out, text);
	return true;
}

static bool
sign_v1(const BillingSignKey *key, const char *content, size_t len, uint8 *signature)
{
	unsigned int written = HMAC_BYTES;
	bool		done = HMAC(EVP_sha256(), key->bytes, key->len, (const uint8 *) content, len, signature, &written) != NULL;

	ERR_clear_error();
	return done;
}

static bool
sign_v1a(const BillingSignKey *key, const char *content, size_t len, uint8 *signature)
{
	EVP_PKEY   *pkey = make_pkey(key);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t		written = ED25519_SIGNATURE_BYTES;
	bool		done = pkey != NULL && ctx != NULL &&
		EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		EVP_DigestSign(ctx, signature, &written, (const uint8 *) content, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return done;
}

static EVP_PKEY *
make_pkey(const BillingSignKey *key)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->bytes, BILLING_SIGN_ED25519_BYTES);
}

void
billing_sign_forget(void *secret, size_t len)
{
	OPENSSL_cleanse(secret, len);
}
