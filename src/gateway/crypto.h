/*-------------------------------------------------------------------------
 *
 * crypto.h
 *	  What gateways sign and seal with, by OpenSSL.
 *
 * Keys are PEM, or the base64 inside of it on one line, as consoles of gateways show them.  Where OpenSSL
 * cannot, or a key is none, a function returns NULL or false and leaves nothing in OpenSSL's error queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CRYPTO_H
#define BILLING_CRYPTO_H

#include "gateway.h"

/* Whether text is a private RSA key of 2,048 bits or more, a public one, or a certificate. */
extern bool billing_crypto_is_private_key(const char *pem);
extern bool billing_crypto_is_public_key(const char *pem);

/* SHA256withRSA (PKCS #1 1.5) as base64. */
extern char *billing_crypto_rsa_sign(const char *private_key, const char *data, size_t len);

/* Whether base64 is a signature of data with the key, that of a certificate if key is one. */
extern bool billing_crypto_rsa_verify(const char *key, const char *data, size_t len, const char *base64);

/* HMAC-SHA256 as 64 lower-case hexadecimal digits. */
extern char *billing_crypto_hmac(const char *secret, const char *data, size_t len);

/* Whether two texts are equal, in a time that does not say where they differ. */
extern bool billing_crypto_equals(const char *a, const char *b);

/* Open what AES-256-GCM sealed, base64 with its tag at the end; NULL if it was not with this key. */
extern char *billing_crypto_aead_open(const char *key, size_t key_len, const char *nonce, const char *associated, const char *base64,
									  size_t * len);

/* CRC-32 (that of zlib). */
extern uint32 billing_crypto_crc32(const char *data, size_t len);

/* base64 of bytes; the bytes of base64 (NULL: it is none), with a NUL behind them. */
extern char *billing_crypto_base64(const char *data, size_t len);
extern char *billing_crypto_unbase64(const char *base64, size_t * len);

/* Serial of a certificate in upper-case hexadecimal digits, or NULL. */
extern char *billing_crypto_serial(const char *certificate);

/*
 * MD5 of issuer and serial, in lower-case hexadecimal digits, of each of these PEM certificates that is signed with RSA,
 * with _ between them, as Alipay calls them; NULL: there is none.
 */
extern char *billing_crypto_issuer_digests(const char *certificates);

/*
 * NULL, or what is wrong with a chain: PEM certificates, the first of which has the host name and is valid at now, and leads
 * to one of roots (PEM; NULL: those of the system).
 */
extern const char *billing_crypto_check_chain(const char *chain, const char *roots, const char *host, int64 now);

#endif							/* BILLING_CRYPTO_H */
