/*-------------------------------------------------------------------------
 *
 * keys.h
 *	  A pair of RSA keys of this run, so that a harness can sign what is hostile, and no input can.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_KEYS_H
#define BILLING_KEYS_H

#include <openssl/evp.h>
#include <openssl/pem.h>

static char private_key[4096];
static char public_key[4096];

static void
check(bool holds)
{
	if (!holds)
		abort();
}

static void
make_keys(void)
{
	EVP_PKEY   *key = EVP_RSA_gen(2048);
	BIO		   *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	private_key[BIO_read(bio, private_key, sizeof(private_key) - 1)] = '\0';
	PEM_write_bio_PUBKEY(bio, key);
	public_key[BIO_read(bio, public_key, sizeof(public_key) - 1)] = '\0';
	BIO_free(bio);
	EVP_PKEY_free(key);
}

#endif							/* BILLING_KEYS_H */
