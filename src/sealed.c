/*-------------------------------------------------------------------------
 *
 * sealed.c
 *	  billing.sealed: a secret that is stored, dumped and shown as ciphertext.
 *
 * The cipher is AES-256-GCM.  Its tag covers, besides the ciphertext, the layout
 * version, the key id, the tenant and the purpose: a value that is copied to
 * another tenant's row, or to a column for something else, does not open.
 *
 * Invariants:
 *
 * - No SQL function returns a plaintext, but for billing.last4(), which shows
 *   four digits that were sealed to be shown.
 * - No message of ours contains a plaintext, nor the text of a malformed value, which
 *   may be a plaintext in the wrong place, nor a purpose, which may be one too.
 * - Between the making of a plaintext or key and its zeroing nothing raises, or
 *   what raises is caught.  The functions that do cryptography return what
 *   happened.
 *
 * The type has no equality: two seals of one secret differ.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "keyring.h"
#include "sealed.h"

BILLING_FUNCTION(billing_sealed_in);
BILLING_FUNCTION(billing_sealed_out);
BILLING_FUNCTION(billing_sealed_recv);
BILLING_FUNCTION(billing_sealed_send);
BILLING_FUNCTION(billing_seal);
BILLING_FUNCTION(billing_reseal);
BILLING_FUNCTION(billing_last4);
BILLING_FUNCTION(billing_sealed_key_id);
BILLING_FUNCTION(billing_seal_keys);

#define SEALED_VERSION		1
#define SEALED_PREFIX		"sealed:1:"
#define NONCE_BYTES			12
#define TAG_BYTES			16
#define LAST4_PURPOSE		"last4"

/* From the version to the tag, with a key id and a plaintext of these lengths. */
#define SEALED_FIXED_BYTES	(offsetof(BillingSealed, body) - offsetof(BillingSealed, version))
#define SEALED_BYTES(key_id_len, plaintext_len) \
	(SEALED_FIXED_BYTES + (key_id_len) + NONCE_BYTES + (plaintext_len) + TAG_BYTES)
#define SEALED_MAX_BYTES	SEALED_BYTES(BILLING_KEY_ID_MAX, BILLING_SEALED_MAX_PLAINTEXT)

/* What is wrong with a value, as a detail. */
#define WRONG_PREFIX	"A sealed value begins with \"sealed:1:\"."
#define WRONG_VERSION	"Its version is not 1."
#define WRONG_KEY_ID	"Its key id is not 1 to 32 letters, digits, dots, underscores and hyphens."
#define WRONG_BASE64	"What follows its key id is not base64url without padding."
#define TOO_SHORT		"It is shorter than a nonce of 12 bytes and a tag of 16 bytes."
#define TOO_LONG		"Its ciphertext is longer than 65536 bytes."

/* Where the parts of a value are. */
typedef struct SealedParts
{
	char		key_id[BILLING_KEY_ID_MAX + 1];
	uint8	   *nonce;
	uint8	   *ciphertext;
	size_t		len;			/* of the ciphertext, so of the plaintext */
	uint8	   *tag;
} SealedParts;

/* What the tag covers besides the ciphertext. */
typedef struct Binding
{
	int			len;
	uint8		bytes[1 + 1 + BILLING_KEY_ID_MAX + sizeof(uint64) + 1 + BILLING_SEALED_MAX_PURPOSE];
} Binding;

typedef enum Outcome
{
	CRYPTO_DONE,
	CRYPTO_REFUSED,				/* the tag does not fit */
	CRYPTO_FAILED				/* the library could not do its work */
} Outcome;

static const char *parse_sealed(const char *text, BillingSealed **value);
static BillingSealed *allocate_sealed(size_t nbytes);
static const char *split_sealed(const BillingSealed *value, SealedParts *parts);
static bool has_four_digits(const char *text);
static void check_purpose(const char *purpose);
static void bind_value(Binding *binding, const char *key_id, int64 tenant_id, const char *purpose);
static Outcome encrypt(const BillingKey *key, const Binding *binding, const SealedParts *parts,
					   const char *plaintext);
static Outcome decrypt(const BillingKey *key, const Binding *binding, const SealedParts *parts,
					   char *plaintext);
static void encode_base64url(StringInfo out, const uint8 *bytes, size_t nbytes);
static bool decode_base64url(const char *text, size_t len, uint8 *bytes);
static int	base64url_value(char c);

/*
 * billing_sealed_in
 *		Accept the canonical text form and nothing else.
 *
 * Only the structure is judged, since the key may be absent where a dump is
 * restored.  The input is never repeated in an error.
 */
Datum
billing_sealed_in(PG_FUNCTION_ARGS)
{
	BillingSealed *value;
	const char *problem = parse_sealed(PG_GETARG_CSTRING(0), &value);

	if (problem)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type billing.sealed"),
				 errdetail_internal("%s", problem),
				 errhint("Make a sealed value with billing.seal(tenant_id, purpose, secret); a secret itself is not one.")));

	PG_RETURN_BILLING_SEALED_P(value);
}

/*
 * billing_sealed_out
 *		The ciphertext: sealed:1:<key id>:<base64url of nonce, ciphertext, tag>.
 */
Datum
billing_sealed_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(billing_sealed_text(PG_GETARG_BILLING_SEALED_P(0)));
}

char *
billing_sealed_text(const BillingSealed *value)
{
	size_t		nbytes = VARSIZE(value) - VARHDRSZ;
	size_t		body_start = SEALED_FIXED_BYTES + value->key_id_len;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, SEALED_PREFIX);
	appendBinaryStringInfo(&out, (const char *) value->body, value->key_id_len);
	appendStringInfoChar(&out, ':');
	encode_base64url(&out, value->body + value->key_id_len, nbytes - body_start);
	return out.data;
}

/*
 * billing_sealed_recv
 *		The same bytes as stored, judged as the text form is.
 */
Datum
billing_sealed_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	size_t		nbytes = buf->len - buf->cursor;
	BillingSealed *value;
	SealedParts parts;
	const char *problem = TOO_LONG;

	if (nbytes <= SEALED_MAX_BYTES)
	{
		value = allocate_sealed(nbytes);
		pq_copymsgbytes(buf, VARDATA(value), nbytes);
		problem = split_sealed(value, &parts);
	}

	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary format for type billing.sealed"),
				 errdetail_internal("%s", problem),
				 errhint("Make a sealed value with billing.seal(tenant_id, purpose, secret); a secret itself is not one.")));

	PG_RETURN_BILLING_SEALED_P(value);
}

Datum
billing_sealed_send(PG_FUNCTION_ARGS)
{
	BillingSealed *value = PG_GETARG_BILLING_SEALED_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, VARDATA(value), VARSIZE(value) - VARHDRSZ);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * billing_seal
 *		Seal a secret for one tenant and one purpose, with the current key.
 */
Datum
billing_seal(PG_FUNCTION_ARGS)
{
	int64		tenant_id = PG_GETARG_INT64(0);
	char	   *purpose = text_to_cstring(PG_GETARG_TEXT_PP(1));
	text	   *secret = PG_GETARG_TEXT_PP(2);
	bool		is_copy = (Pointer) secret != PG_GETARG_POINTER(2);
	BillingSealed *volatile value;

	PG_TRY();
	{
		value = billing_sealed_make(tenant_id, purpose,
									VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret));
	}
	PG_FINALLY();
	{
		/* The argument itself is the executor's. */
		if (is_copy)
			OPENSSL_cleanse(VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret));
	}
	PG_END_TRY();

	PG_RETURN_BILLING_SEALED_P(value);
}

/*
 * billing_reseal
 *		Seal a sealed secret again, with the current key.
 *
 * This is how a key is retired: the plaintext never leaves this function.  It
 * reads the key file twice, once for each key.
 */
Datum
billing_reseal(PG_FUNCTION_ARGS)
{
	int64		tenant_id = PG_GETARG_INT64(0);
	char	   *purpose = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *plaintext = billing_sealed_open(tenant_id, purpose, PG_GETARG_BILLING_SEALED_P(2));
	BillingSealed *volatile value;

	PG_TRY();
	{
		value = billing_sealed_make(tenant_id, purpose, plaintext, strlen(plaintext));
	}
	PG_FINALLY();
	{
		billing_sealed_forget(plaintext);
	}
	PG_END_TRY();

	PG_RETURN_BILLING_SEALED_P(value);
}

/*
 * billing_last4
 *		Show the last four digits of a card, masked as "**** 4242".
 *
 * Two locks keep anything else from being shown: the purpose is part of what the
 * tag covers, so a token does not open here; and what opens must be four digits.
 */
Datum
billing_last4(PG_FUNCTION_ARGS)
{
	int64		tenant_id = PG_GETARG_INT64(0);
	char	   *plaintext = billing_sealed_open(tenant_id, LAST4_PURPOSE, PG_GETARG_BILLING_SEALED_P(1));
	char		masked[] = "**** ####";
	bool		showable = has_four_digits(plaintext);

	if (showable)
		memcpy(masked + 5, plaintext, 4);
	billing_sealed_forget(plaintext);

	if (!showable)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sealed value of tenant " INT64_FORMAT " is not the last four digits of a card", tenant_id),
				 errdetail("It was sealed with purpose \"last4\", but it is not exactly four digits."),
				 errhint("Seal four digits with that purpose, such as billing.seal(tenant_id, 'last4', '4242').")));

	PG_RETURN_TEXT_P(cstring_to_text(masked));
}

/*
 * billing_sealed_key_id
 *		The id of the key a value was sealed with, without any key.
 */
Datum
billing_sealed_key_id(PG_FUNCTION_ARGS)
{
	BillingSealed *value = PG_GETARG_BILLING_SEALED_P(0);

	PG_RETURN_TEXT_P(cstring_to_text_with_len((const char *) value->body, value->key_id_len));
}

/*
 * billing_seal_keys
 *		The key ids of the key file, in its order, and which of them seals.
 */
Datum
billing_seal_keys(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BillingKey *keys;
	int			nkeys;

	InitMaterializedSRF(fcinfo, 0);
	nkeys = billing_keyring_ids(&keys);
	for (int i = 0; i < nkeys; i++)
	{
		Datum		values[2] = {CStringGetTextDatum(keys[i].id), BoolGetDatum(i == 0)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}

	return (Datum) 0;
}

/*
 * billing_sealed_make
 *		Seal len bytes for one tenant and one purpose, with the current key.
 *
 * The nonce is 12 random bytes.  Two seals under one key must not share one; by
 * chance that stays unlikely up to 2^32 seals, so a key is to be rotated before.
 */
BillingSealed *
billing_sealed_make(int64 tenant_id, const char *purpose, const char *plaintext, size_t len)
{
	BillingKey	key;
	Binding		binding;
	BillingSealed *value;
	SealedParts parts;
	Outcome		outcome = CRYPTO_FAILED;

	check_purpose(purpose);
	if (len > BILLING_SEALED_MAX_PLAINTEXT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("secret of tenant " INT64_FORMAT " is longer than %d bytes",
						tenant_id, BILLING_SEALED_MAX_PLAINTEXT),
				 errdetail("bytes=%zu", len),
				 errhint("Seal a token or a key, not a document.")));

	/* Room for the longest key id, so that no memory is taken under the key. */
	value = palloc(VARHDRSZ + SEALED_BYTES(BILLING_KEY_ID_MAX, len));

	billing_keyring_current(&key);
	value->version = SEALED_VERSION;
	value->key_id_len = strlen(key.id);
	memcpy(value->body, key.id, value->key_id_len);
	SET_VARSIZE(value, VARHDRSZ + SEALED_BYTES(value->key_id_len, len));
	bind_value(&binding, key.id, tenant_id, purpose);
	if (split_sealed(value, &parts) == NULL && pg_strong_random(parts.nonce, NONCE_BYTES))
		outcome = encrypt(&key, &binding, &parts, plaintext);
	billing_keyring_forget(&key, 1);

	if (outcome != CRYPTO_DONE)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not seal a secret of tenant " INT64_FORMAT, tenant_id),
				 errdetail("OpenSSL gave no random bytes or no AES-256-GCM.")));
	return value;
}

/*
 * billing_sealed_open
 *		The plaintext of value, if it was sealed for that tenant and purpose, with
 *		a zero byte behind it.
 *
 * The caller passes it to billing_sealed_forget() when it is done, also when what
 * it does with it raises.  GCM hands out bytes before it knows the tag, so a
 * buffer that was refused is zeroed too.
 */
char *
billing_sealed_open(int64 tenant_id, const char *purpose, const BillingSealed *value)
{
	BillingKey	key;
	Binding		binding;
	SealedParts parts;
	char	   *plaintext;
	Outcome		outcome;
	const char *problem;

	check_purpose(purpose);
	problem = split_sealed(value, &parts);
	if (problem)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("sealed value of tenant " INT64_FORMAT " is damaged", tenant_id),
				 errdetail_internal("%s", problem)));

	bind_value(&binding, parts.key_id, tenant_id, purpose);
	plaintext = palloc(parts.len + 1);
	plaintext[parts.len] = '\0';

	billing_keyring_find(parts.key_id, &key);
	outcome = decrypt(&key, &binding, &parts, plaintext);
	billing_keyring_forget(&key, 1);
	if (outcome == CRYPTO_DONE)
		return plaintext;

	OPENSSL_cleanse(plaintext, parts.len);
	if (outcome == CRYPTO_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not open a sealed value of tenant " INT64_FORMAT, tenant_id),
				 errdetail("OpenSSL gave no AES-256-GCM.")));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_BAD_SIGNATURE),
			 errmsg("sealed value does not open for tenant " INT64_FORMAT " with key \"%s\"",
					tenant_id, parts.key_id),
			 errdetail("The tenant, the purpose or the key is not the one it was sealed with, or the value was damaged."),
			 errhint("Pass the tenant and the purpose it was sealed with; if they are right, see whether the key file holds another key under that id.")));
}

/*
 * billing_sealed_forget
 *		Zero and free a plaintext that billing_sealed_open() returned.
 *
 * It has no zero byte inside, because PostgreSQL's text has none.
 */
void
billing_sealed_forget(char *plaintext)
{
	OPENSSL_cleanse(plaintext, strlen(plaintext));
	pfree(plaintext);
}

/*
 * parse_sealed
 *		Read the text form.  Returns NULL, or what is wrong.
 */
static const char *
parse_sealed(const char *text, BillingSealed **value)
{
	const char *key_id = text + strlen(SEALED_PREFIX);
	const char *colon;
	const char *encoded;
	size_t		encoded_len;
	size_t		key_id_len;
	size_t		decoded_len;
	SealedParts parts;

	if (strncmp(text, SEALED_PREFIX, strlen(SEALED_PREFIX)) != 0)
		return WRONG_PREFIX;
	colon = strchr(key_id, ':');
	if (colon == NULL || !billing_keyring_is_id(key_id, colon - key_id))
		return WRONG_KEY_ID;
	key_id_len = colon - key_id;

	encoded = colon + 1;
	encoded_len = strlen(encoded);
	decoded_len = encoded_len / 4 * 3 + (encoded_len % 4) * 3 / 4;
	if (decoded_len < NONCE_BYTES + TAG_BYTES)
		return TOO_SHORT;
	if (decoded_len > NONCE_BYTES + BILLING_SEALED_MAX_PLAINTEXT + TAG_BYTES)
		return TOO_LONG;

	*value = allocate_sealed(SEALED_FIXED_BYTES + key_id_len + decoded_len);
	(*value)->version = SEALED_VERSION;
	(*value)->key_id_len = key_id_len;
	memcpy((*value)->body, key_id, key_id_len);
	if (!decode_base64url(encoded, encoded_len, (*value)->body + key_id_len))
		return WRONG_BASE64;
	return split_sealed(*value, &parts);
}

static BillingSealed *
allocate_sealed(size_t nbytes)
{
	BillingSealed *value = palloc0(VARHDRSZ + Max(nbytes, SEALED_FIXED_BYTES));

	SET_VARSIZE(value, VARHDRSZ + nbytes);
	return value;
}

/*
 * split_sealed
 *		Find the parts of a value.  Returns NULL, or what is wrong with it.
 *
 * Everything about the structure is judged here, whatever the value came from.
 */
static const char *
split_sealed(const BillingSealed *value, SealedParts *parts)
{
	size_t		nbytes = VARSIZE(value) - VARHDRSZ;
	const uint8 *body = value->body;

	if (nbytes < SEALED_BYTES(1, 0))
		return TOO_SHORT;
	if (value->version != SEALED_VERSION)
		return WRONG_VERSION;
	if (nbytes < SEALED_BYTES(value->key_id_len, 0))
		return TOO_SHORT;
	if (!billing_keyring_is_id((const char *) body, value->key_id_len))
		return WRONG_KEY_ID;

	parts->len = nbytes - SEALED_BYTES(value->key_id_len, 0);
	if (parts->len > BILLING_SEALED_MAX_PLAINTEXT)
		return TOO_LONG;

	memcpy(parts->key_id, body, value->key_id_len);
	parts->key_id[value->key_id_len] = '\0';
	parts->nonce = unconstify(uint8 *, body) + value->key_id_len;
	parts->ciphertext = parts->nonce + NONCE_BYTES;
	parts->tag = parts->ciphertext + parts->len;
	return NULL;
}

static bool
has_four_digits(const char *text)
{
	return strlen(text) == 4 && strspn(text, "0123456789") == 4;
}

/*
 * check_purpose
 *		Refuse a purpose without a name or with one that is too long.
 *
 * It is not repeated: arguments in the wrong order make a secret the purpose.
 */
static void
check_purpose(const char *purpose)
{
	size_t		len = strlen(purpose);

	if (len < 1 || len > BILLING_SEALED_MAX_PURPOSE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("purpose of a sealed value must have 1 to %d bytes", BILLING_SEALED_MAX_PURPOSE),
				 errdetail("The purpose has %zu bytes.", len),
				 errhint("The purpose is a short name, such as 'token', and stands before the secret.")));
}

/*
 * bind_value
 *		Write down what the tag covers besides the ciphertext.
 *
 * Each part is of fixed length or follows its length, so no two different sets
 * of parts read the same.
 */
static void
bind_value(Binding *binding, const char *key_id, int64 tenant_id, const char *purpose)
{
	uint8	   *p = binding->bytes;
	size_t		key_id_len = strlen(key_id);
	size_t		purpose_len = strlen(purpose);
	uint64		tenant = pg_hton64((uint64) tenant_id);

	*p++ = SEALED_VERSION;
	*p++ = key_id_len;
	memcpy(p, key_id, key_id_len);
	p += key_id_len;
	memcpy(p, &tenant, sizeof(tenant));
	p += sizeof(tenant);
	*p++ = purpose_len;
	memcpy(p, purpose, purpose_len);
	p += purpose_len;
	binding->len = p - binding->bytes;
}

/*
 * encrypt
 *		Fill parts' ciphertext and tag from plaintext.
 *
 * OpenSSL's queue of errors is left empty, because PostgreSQL's own TLS reads it.
 */
static Outcome
encrypt(const BillingKey *key, const Binding *binding, const SealedParts *parts,
		const char *plaintext)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			n;
	bool		done;

	done = ctx != NULL &&
		EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, parts->nonce) == 1 &&
		EVP_EncryptUpdate(ctx, NULL, &n, binding->bytes, binding->len) == 1 &&
		(parts->len == 0 ||
		 EVP_EncryptUpdate(ctx, parts->ciphertext, &n, (const uint8 *) plaintext, parts->len) == 1) &&
		EVP_EncryptFinal_ex(ctx, parts->tag, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, parts->tag) == 1;

	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	return done ? CRYPTO_DONE : CRYPTO_FAILED;
}

/*
 * decrypt
 *		Fill plaintext from parts' ciphertext, and judge the tag.
 */
static Outcome
decrypt(const BillingKey *key, const Binding *binding, const SealedParts *parts,
		char *plaintext)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8		rest[EVP_MAX_BLOCK_LENGTH];
	int			n;
	Outcome		outcome = CRYPTO_FAILED;

	if (ctx != NULL &&
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, parts->nonce) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, parts->tag) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &n, binding->bytes, binding->len) == 1 &&
		(parts->len == 0 ||
		 EVP_DecryptUpdate(ctx, (uint8 *) plaintext, &n, parts->ciphertext, parts->len) == 1))
		outcome = EVP_DecryptFinal_ex(ctx, rest, &n) == 1 ? CRYPTO_DONE : CRYPTO_REFUSED;

	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	return outcome;
}

/*
 * encode_base64url
 *		Append bytes in the URL-safe alphabet of RFC 4648 section 5, without
 *		padding.
 */
static void
encode_base64url(StringInfo out, const uint8 *bytes, size_t nbytes)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t i = 0; i < nbytes; i += 3)
	{
		size_t		n = Min(nbytes - i, 3);
		uint32		group = bytes[i] << 16;

		if (n > 1)
			group |= bytes[i + 1] << 8;
		if (n > 2)
			group |= bytes[i + 2];
		for (size_t j = 0; j <= n; j++)
			appendStringInfoChar(out, alphabet[(group >> (18 - 6 * j)) & 0x3F]);
	}
}

/*
 * decode_base64url
 *		Write the bytes that text stands for; false if encode_base64url() would
 *		not have written it so.
 *
 * The bits of the last character that belong to no byte must be zero, or one
 * value would have several text forms.
 */
static bool
decode_base64url(const char *text, size_t len, uint8 *bytes)
{
	uint32		group = 0;
	int			nbits = 0;

	for (size_t i = 0; i < len; i++)
	{
		int			value = base64url_value(text[i]);

		if (value < 0)
			return false;
		group = (group << 6 | value) & 0xFFFF;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			*bytes++ = (group >> nbits) & 0xFF;
		}
	}
	return nbits < 6 && (group & ((1 << nbits) - 1)) == 0;
}

static int
base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}
