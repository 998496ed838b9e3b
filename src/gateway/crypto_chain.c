/*-------------------------------------------------------------------------
 *
 * crypto_chain.c
 *	  Whether a certificate is one to trust, by OpenSSL.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <openssl/x509_vfy.h>

#include "crypto.h"

#define MAX_CHAIN_LEN	(64 * 1024)
#define MAX_CHAIN		10
#define MAX_ROOTS_LEN	(1024 * 1024)
#define MAX_ROOTS		500

static STACK_OF(X509) *read_certificates(const char *pem, size_t max_len, int max);
static int	no_password(char *buffer, int size, int rwflag, void *data);
static X509_STORE *make_store(const char *roots);
static bool add_roots(X509_STORE *store, const char *roots);
static const char *check_leads(X509_STORE *store, STACK_OF(X509) *chain, int64 now);
static const char *verify(X509_STORE_CTX *ctx, int64 now);

/*
 * billing_crypto_check_chain
 *		NULL, or what is wrong with a chain, as a detail.
 *
 * The name is looked for among the certificate's alternative names only: what stands in its subject means nothing.  Roots that
 * are given are trusted as they are, whoever has issued them: so they may be the certificates that a short chain ends before.
 */
const char *
billing_crypto_check_chain(const char *chain, const char *roots, const char *host, int64 now)
{
	STACK_OF(X509) *certificates = read_certificates(chain, MAX_CHAIN_LEN, MAX_CHAIN);
	X509_STORE *store = make_store(roots);
	const char *problem = NULL;

	if (certificates == NULL)
		problem = "certificate=unreadable";
	else if (store == NULL)
		problem = "roots=unreadable";
	else if (X509_check_host(sk_X509_value(certificates, 0), host, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) != 1)
		problem = psprintf("certificate=not_of_host host=%s", host);
	else
		problem = check_leads(store, certificates, now);

	X509_STORE_free(store);
	sk_X509_pop_free(certificates, X509_free);
	ERR_clear_error();
	return problem;
}

/* One or more, but not too many; NULL if there are none, or anything else. */
static STACK_OF(X509) *
read_certificates(const char *pem, size_t max_len, int max)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	BIO		   *bio = pem != NULL && strnlen(pem, max_len) < max_len ? BIO_new_mem_buf(pem, -1) : NULL;
	bool		is_good = bio != NULL && certificates != NULL;

	while (is_good)
	{
		X509	   *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);

		if (certificate == NULL)
			break;
		is_good = sk_X509_num(certificates) < max && sk_X509_push(certificates, certificate) > 0;
		if (!is_good)
			X509_free(certificate);
	}
	BIO_free(bio);
	if (is_good && sk_X509_num(certificates) > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
	{
		ERR_clear_error();
		return certificates;
	}
	sk_X509_pop_free(certificates, X509_free);
	return NULL;
}

/* A certificate has none, and nobody is there to be asked. */
static int
no_password(char *buffer, int size, int rwflag, void *data)
{
	return -1;
}

static X509_STORE *
make_store(const char *roots)
{
	X509_STORE *store = X509_STORE_new();

	if (store != NULL && (roots == NULL ? X509_STORE_set_default_paths(store) == 1 : add_roots(store, roots)))
		return store;
	X509_STORE_free(store);
	return NULL;
}

static bool
add_roots(X509_STORE *store, const char *roots)
{
	STACK_OF(X509) *certificates = read_certificates(roots, MAX_ROOTS_LEN, MAX_ROOTS);
	bool		done = certificates != NULL;

	for (int i = 0; done && i < sk_X509_num(certificates); i++)
		done = X509_STORE_add_cert(store, sk_X509_value(certificates, i)) == 1;
	done = done && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1;
	sk_X509_pop_free(certificates, X509_free);
	return done;
}

static const char *
check_leads(X509_STORE *store, STACK_OF(X509) *chain, int64 now)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *problem = "certificate=unverified";

	if (ctx != NULL && X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) == 1)
		problem = verify(ctx, now);
	X509_STORE_CTX_free(ctx);
	return problem;
}

static const char *
verify(X509_STORE_CTX *ctx, int64 now)
{
	X509_STORE_CTX_set_time(ctx, 0, (time_t) now);
	if (X509_verify_cert(ctx) == 1)
		return NULL;
	return psprintf("certificate=untrusted reason=%d (%s)", X509_STORE_CTX_get_error(ctx),
					X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
}
