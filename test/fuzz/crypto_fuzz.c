/*-------------------------------------------------------------------------
 *
 * crypto_fuzz.c
 *	  Whatever is given as a key, certificate, signature or sealed text: nothing crashes, nothing stays in OpenSSL's
 *	  error queue, no signature is valid but those of the key, and what says it is a key works as one.
 *
 * The first byte of an input says as what the rest is read.
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/crypto.c
// libraries: -lcrypto
#include "postgres_fe.h"

#include <openssl/err.h>

#include "arena.h"
#include "gateway/crypto.h"
#include "keys.h"

#define SIGNED "what was signed"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char signature[1024];

/* The values of RFC 4231 and of zlib's documentation, and what another program has sealed. */
static void
try_known_answers(void)
{
	const char *opened;
	size_t		len;

	check(strcmp(billing_crypto_hmac("Jefe", "what do ya want for nothing?", 28),
				 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843") == 0);
	check(billing_crypto_crc32("123456789", 9) == 0xCBF43926);
	opened = billing_crypto_aead_open("0123456789abcdef0123456789abcdef", 32, "fdasfjihihih", "certificate",
									  "RsRT5TWF7W1TpS0Gqn9ff77SJ+nMEhChyQs=", &len);
	check(opened != NULL && len == 10 && strcmp(opened, "plain text") == 0);
}

static void
sign_once(void)
{
	make_keys();
	strlcpy(signature, billing_crypto_rsa_sign(private_key, SIGNED, strlen(SIGNED)), sizeof(signature));
	check(billing_crypto_is_private_key(private_key) && !billing_crypto_is_public_key(private_key));
	check(billing_crypto_is_public_key(public_key) && !billing_crypto_is_private_key(public_key));
	check(billing_crypto_rsa_verify(public_key, SIGNED, strlen(SIGNED), signature));
}

static void
try_key(const char *text)
{
	if (billing_crypto_is_private_key(text))
		check(billing_crypto_rsa_sign(text, SIGNED, strlen(SIGNED)) != NULL);
	if (billing_crypto_is_public_key(text))
		check(!billing_crypto_rsa_verify(text, SIGNED, strlen(SIGNED), signature));
	billing_crypto_serial(text);
	billing_crypto_issuer_digests(text);
}

static void
try_signature(const char *text)
{
	check(billing_crypto_rsa_verify(public_key, SIGNED, strlen(SIGNED), text) == (strcmp(text, signature) == 0));
}

static void
try_base64(const char *text, size_t len)
{
	size_t		again_len;
	char	   *again = billing_crypto_unbase64(billing_crypto_base64(text, len), &again_len);
	char	   *bytes;

	check(again != NULL && again_len == len && memcmp(again, text, len) == 0 && again[len] == '\0');
	bytes = billing_crypto_unbase64(text, &again_len);
	if (bytes != NULL)
		check(strlen(billing_crypto_base64(bytes, again_len)) == strlen(text));
}

/* Nonce, associated data and sealed text are lines. */
static void
try_sealed(char *text)
{
	char	   *associated = strchr(text, '\n');
	char	   *sealed = associated == NULL ? NULL : strchr(associated + 1, '\n');
	size_t		len;
	char	   *plaintext;

	if (sealed == NULL)
		return;
	*associated++ = '\0';
	*sealed++ = '\0';
	plaintext = billing_crypto_aead_open("0123456789abcdef0123456789abcdef", 32, text, associated, sealed, &len);
	check(plaintext == NULL || plaintext[len] == '\0');
	check(billing_crypto_aead_open(private_key, 32, text, associated, sealed, &len) == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text;

	if (private_key[0] == '\0')
	{
		try_known_answers();
		sign_once();
	}
	if (size == 0)
		return 0;
	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0])
	{
		case 'k':
			try_key(text);
			break;
		case 's':
			try_signature(text);
			break;
		case 'g':
			try_sealed(text);
			break;
		case 'h':
			check(billing_crypto_equals(text, text) && (text[0] == '\0' || !billing_crypto_equals(text, "")));
			check((billing_crypto_hmac(text, text, size - 1) == NULL) == (text[0] == '\0'));
			billing_crypto_crc32(text, size - 1);
			break;
		default:
			try_base64(text, size - 1);
	}
	check(ERR_peek_error() == 0);
	free(text);
	free_pieces();
	return 0;
}
