/*-------------------------------------------------------------------------
 *
 * crypto.c
 *	  Keys, signatures and seals of gateways, by OpenSSL.
 *
 * Nothing here raises, and nothing asks anybody for a passphrase: PEM is only opened up here, and what is in it
 * is read as DER.  Each entry point leaves OpenSSL's error queue empty, since the server reads it for its own
 * connections.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "common/base64.h"

#include "crypto.h"

/* A key or certificate is shorter; so is what is signed or sealed. */
#define MAX_KEY_LEN		(64 * 1024)
#define MAX_DATA_LEN	(64 * 1024 * 1024)

#define MIN_RSA_BITS	2048
#define MAX_RSA_BITS	8192
#define MAX_RSA_BYTES	(MAX_RSA_BITS / 8)

#define SHA256_BYTES	32
#define AES_KEY_BYTES	32
#define GCM_TAG_BYTES	16
#define GCM_MAX_NONCE	16

#define BASE64_DIGITS	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/* The DER of a key or certificate; PEM says what it is of, else label is NULL. */
typedef struct Der
{
	uint8	   *bytes;
	size_t		len;
	char	   *label;
} Der;

static EVP_PKEY * read_private_key(const char *text);
static EVP_PKEY * read_public_key(const char *text);
static X509 * read_certificate(const char *text);
static bool read_der(const char *text, Der *der);
static bool read_pem(const char *text, Der *der);
static bool read_bare(const char *text, Der *der);
static void forget_der(Der *der);
static bool is_labelled(const Der *der, const char *label);
static EVP_PKEY * private_key_of(const Der *der);
static EVP_PKEY * public_key_of(const Der *der);
static X509 * certificate_of(const Der *der);
static EVP_PKEY * take_rsa(EVP_PKEY * key, bool is_whole);
static int	refuse_passphrase(char *buffer, int size, int is_written, void *context);
static void append_issuer_digest(StringInfo digests, X509 * certificate);
static char *print_issuer(X509 * certificate);
static void append_digits(StringInfo out, const uint8 *bytes, size_t len);
static bool sign(EVP_PKEY * key, const char *data, size_t len, uint8 *signature, size_t * signature_len);
static bool verify(EVP_PKEY * key, const char *data, size_t len, const uint8 *signature, size_t signature_len);
static bool open_gcm(const uint8 *key, const char *nonce, const char *associated, const uint8 *sealed, size_t len, char *plaintext);
static bool is_base64(const char *text, size_t len);

/*
 * billing_crypto_is_private_key
 *		Whether text is a private RSA key that OpenSSL can sign with.
 *
 * That its parts belong together shows only when it signs, so it does.
 */
bool
billing_crypto_is_private_key(const char *pem)
{
	EVP_PKEY   *key = read_private_key(pem);
	uint8		signature[MAX_RSA_BYTES];
	size_t		signature_len = sizeof(signature);
	bool		is_key = key != NULL && sign(key, "key", 3, signature, &signature_len) && verify(key, "key", 3, signature, signature_len);

	EVP_PKEY_free(key);
	ERR_clear_error();
	return is_key;
}

bool
billing_crypto_is_public_key(const char *pem)
{
	EVP_PKEY   *key = read_public_key(pem);
	bool		is_key = key != NULL;

	EVP_PKEY_free(key);
	ERR_clear_error();
	return is_key;
}

char *
billing_crypto_rsa_sign(const char *private_key, const char *data, size_t len)
{
	EVP_PKEY   *key = read_private_key(private_key);
	uint8		signature[MAX_RSA_BYTES];
	size_t		signature_len = sizeof(signature);
	bool		done = key != NULL && sign(key, data, len, signature, &signature_len);

	EVP_PKEY_free(key);
	ERR_clear_error();
	return done ? billing_crypto_base64((char *) signature, signature_len) : NULL;
}

bool
billing_crypto_rsa_verify(const char *key, const char *data, size_t len, const char *base64)
{
	size_t		signature_len;
	char	   *signature = billing_crypto_unbase64(base64, &signature_len);
	EVP_PKEY   *public_key;
	bool		is_valid;

	if (signature == NULL)
		return false;
	public_key = read_public_key(key);
	is_valid = public_key != NULL && verify(public_key, data, len, (uint8 *) signature, signature_len);
	EVP_PKEY_free(public_key);
	ERR_clear_error();
	pfree(signature);
	return is_valid;
}

/* A secret that is empty signs nothing: it is one that nobody has set. */
char *
billing_crypto_hmac(const char *secret, const char *data, size_t len)
{
	uint8		code[SHA256_BYTES];
	size_t		code_len = 0;
	StringInfoData digits;
	bool		done = secret != NULL && secret[0] != '\0' && len <= MAX_DATA_LEN &&
		EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, strlen(secret), (const uint8 *) data, len, code, sizeof(code), &code_len) != NULL &&
		code_len == sizeof(code);

	ERR_clear_error();
	if (!done)
		return NULL;
	initStringInfo(&digits);
	append_digits(&digits, code, sizeof(code));
	return digits.data;
}

bool
billing_crypto_equals(const char *a, const char *b)
{
	size_t		len = strlen(a);

	return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}

/*
 * billing_crypto_aead_open
 *		Open what AES-256-GCM sealed.
 *
 * GCM hands out bytes before it knows the tag, so a buffer that is refused is zeroed.
 */
char *
billing_crypto_aead_open(const char *key, size_t key_len, const char *nonce, const char *associated, const char *base64, size_t * len)
{
	size_t		sealed_len;
	char	   *sealed;
	char	   *plaintext;

	if (key == NULL || key_len != AES_KEY_BYTES || nonce == NULL || nonce[0] == '\0' || strlen(nonce) > GCM_MAX_NONCE)
		return NULL;
	sealed = billing_crypto_unbase64(base64, &sealed_len);
	if (sealed == NULL)
		return NULL;

	plaintext = sealed_len >= GCM_TAG_BYTES ? palloc0(sealed_len - GCM_TAG_BYTES + 1) : NULL;
	if (plaintext != NULL)
	{
		*len = sealed_len - GCM_TAG_BYTES;
		if (!open_gcm((const uint8 *) key, nonce, associated, (const uint8 *) sealed, *len, plaintext))
		{
			OPENSSL_cleanse(plaintext, *len);
			pfree(plaintext);
			plaintext = NULL;
		}
	}
	ERR_clear_error();
	pfree(sealed);
	return plaintext;
}

uint32
billing_crypto_crc32(const char *data, size_t len)
{
	uint32		crc = 0xFFFFFFFF;

	for (size_t i = 0; i < len; i++)
	{
		crc ^= (uint8) data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) ? 0xEDB88320 : 0);
	}
	return ~crc;
}

char *
billing_crypto_base64(const char *data, size_t len)
{
	size_t		room;
	char	   *base64;
	int			written;

	if (len > MAX_DATA_LEN)
		return NULL;
	room = pg_b64_enc_len(len);
	base64 = palloc(room + 1);
	written = pg_b64_encode((const void *) data, len, base64, room);
	if (written < 0)
	{
		pfree(base64);
		return NULL;
	}
	base64[written] = '\0';
	return base64;
}

/* Without line breaks, and with its padding. */
char *
billing_crypto_unbase64(const char *base64, size_t * len)
{
	size_t		base64_len = base64 == NULL ? 0 : strlen(base64);
	size_t		room;
	char	   *bytes;
	int			written;

	if (base64 == NULL || base64_len > MAX_DATA_LEN || !is_base64(base64, base64_len))
		return NULL;
	room = pg_b64_dec_len(base64_len);
	bytes = palloc(room + 1);
	written = pg_b64_decode(base64, base64_len, (void *) bytes, room);
	if (written < 0)
	{
		pfree(bytes);
		return NULL;
	}
	bytes[written] = '\0';
	*len = written;
	return bytes;
}

char *
billing_crypto_serial(const char *certificate)
{
	X509	   *x509 = read_certificate(certificate);
	BIGNUM	   *number = x509 == NULL ? NULL : ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL);
	char	   *digits = number == NULL || BN_is_negative(number) ? NULL : BN_bn2hex(number);
	char	   *serial = digits == NULL ? NULL : pstrdup(digits);

	OPENSSL_free(digits);
	BN_free(number);
	X509_free(x509);
	ERR_clear_error();
	return serial;
}

char *
billing_crypto_issuer_digests(const char *certificates)
{
	BIO		   *bio = certificates == NULL ? NULL : BIO_new_mem_buf(certificates, -1);
	X509	   *certificate;
	StringInfoData digests;

	initStringInfo(&digests);
	while (bio != NULL && (certificate = PEM_read_bio_X509(bio, NULL, refuse_passphrase, NULL)) != NULL)
	{
		append_issuer_digest(&digests, certificate);
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error();
	return digests.len == 0 ? NULL : digests.data;
}

/* One that is encrypted is asked for: nobody is there to answer. */
static int
refuse_passphrase(char *buffer, int size, int is_written, void *context)
{
	return -1;
}

/* Alipay's roots are also there in a kind that SM2 signs, which is not named. */
static void
append_issuer_digest(StringInfo digests, X509 * certificate)
{
	int			algorithm = NID_undef;
	BIGNUM	   *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char	   *serial = number == NULL ? NULL : BN_bn2dec(number);
	char	   *issuer = print_issuer(certificate);
	char	   *text = serial == NULL || issuer == NULL ? NULL : psprintf("%s%s", issuer, serial);
	uint8		digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	OPENSSL_free(serial);
	BN_free(number);
	if (text == NULL || !OBJ_find_sigid_algs(X509_get_signature_nid(certificate), NULL, &algorithm) || algorithm != NID_rsaEncryption ||
		EVP_Digest(text, strlen(text), digest, &len, EVP_md5(), NULL) != 1)
		return;
	if (digests->len > 0)
		appendStringInfoChar(digests, '_');
	append_digits(digests, digest, len);
}

/* As RFC 2253 has it, with letters of any script as they are. */
static char *
print_issuer(X509 * certificate)
{
	BIO		   *bio = BIO_new(BIO_s_mem());
	char	   *issuer = NULL;
	char	   *data;
	long		len;

	if (bio != NULL && X509_NAME_print_ex(bio, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
	{
		len = BIO_get_mem_data(bio, &data);
		issuer = palloc(len + 1);
		memcpy(issuer, data, len);
		issuer[len] = '\0';
	}
	BIO_free(bio);
	return issuer;
}

static void
append_digits(StringInfo out, const uint8 *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		appendStringInfoChar(out, digits[bytes[i] >> 4]);
		appendStringInfoChar(out, digits[bytes[i] & 15]);
	}
}

static EVP_PKEY *
read_private_key(const char *text)
{
	Der			der;
	EVP_PKEY   *key;

	if (!read_der(text, &der))
		return NULL;
	key = private_key_of(&der);
	forget_der(&der);
	return key;
}

static EVP_PKEY *
read_public_key(const char *text)
{
	Der			der;
	EVP_PKEY   *key;

	if (!read_der(text, &der))
		return NULL;
	key = public_key_of(&der);
	forget_der(&der);
	return key;
}

static X509 *
read_certificate(const char *text)
{
	Der			der;
	X509	   *certificate;

	if (!read_der(text, &der))
		return NULL;
	certificate = certificate_of(&der);
	forget_der(&der);
	return certificate;
}

static bool
read_der(const char *text, Der *der)
{
	memset(der, 0, sizeof(*der));
	if (text == NULL || strnlen(text, MAX_KEY_LEN) == MAX_KEY_LEN)
		return false;
	return strstr(text, "-----BEGIN ") != NULL ? read_pem(text, der) : read_bare(text, der);
}

/* The first part of PEM; one that is encrypted says so in a header, or in its label, which nothing here reads. */
static bool
read_pem(const char *text, Der *der)
{
	BIO		   *bio = BIO_new_mem_buf(text, -1);
	char	   *label = NULL;
	char	   *header = NULL;
	unsigned char *bytes = NULL;
	long		len = 0;
	bool		done = bio != NULL && PEM_read_bio(bio, &label, &header, &bytes, &len) == 1 && header[0] == '\0' && len > 0;

	if (done)
	{
		der->label = pstrdup(label);
		der->len = len;
		der->bytes = palloc(len);
		memcpy(der->bytes, bytes, len);
	}
	OPENSSL_free(label);
	OPENSSL_free(header);
	OPENSSL_clear_free(bytes, len);
	BIO_free(bio);
	return done;
}

/* Base64 as somebody has copied it, perhaps with line breaks. */
static bool
read_bare(const char *text, Der *der)
{
	char	   *compact = palloc(strlen(text) + 1);
	char	   *end = compact;

	for (const char *p = text; *p != '\0'; p++)
	{
		if (strchr(" \t\r\n", *p) == NULL)
			*end++ = *p;
	}
	*end = '\0';
	der->bytes = (uint8 *) billing_crypto_unbase64(compact, &der->len);
	OPENSSL_cleanse(compact, end - compact);
	pfree(compact);
	return der->bytes != NULL;
}

static void
forget_der(Der *der)
{
	OPENSSL_cleanse(der->bytes, der->len);
	pfree(der->bytes);
	if (der->label != NULL)
		pfree(der->label);
}

/* What has no label may be anything. */
static bool
is_labelled(const Der *der, const char *label)
{
	return der->label == NULL || strcmp(der->label, label) == 0;
}

/* PKCS #8, or the older PKCS #1. */
static EVP_PKEY *
private_key_of(const Der *der)
{
	const unsigned char *p = der->bytes;
	EVP_PKEY   *key;

	if (!is_labelled(der, "PRIVATE KEY") && !is_labelled(der, "RSA PRIVATE KEY"))
		return NULL;
	key = d2i_AutoPrivateKey(NULL, &p, der->len);
	return take_rsa(key, p == der->bytes + der->len);
}

/* SubjectPublicKeyInfo, PKCS #1, or what is in a certificate. */
static EVP_PKEY *
public_key_of(const Der *der)
{
	const unsigned char *p = der->bytes;
	EVP_PKEY   *key = NULL;
	X509	   *certificate;

	if (is_labelled(der, "PUBLIC KEY"))
		key = d2i_PUBKEY(NULL, &p, der->len);
	if (key == NULL && is_labelled(der, "RSA PUBLIC KEY"))
	{
		p = der->bytes;
		key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, der->len);
	}
	if (key != NULL)
		return take_rsa(key, p == der->bytes + der->len);

	certificate = certificate_of(der);
	key = certificate == NULL ? NULL : X509_get_pubkey(certificate);
	X509_free(certificate);
	return take_rsa(key, true);
}

static X509 *
certificate_of(const Der *der)
{
	const unsigned char *p = der->bytes;
	X509	   *certificate = is_labelled(der, "CERTIFICATE") ? d2i_X509(NULL, &p, der->len) : NULL;

	if (certificate != NULL && p != der->bytes + der->len)
	{
		X509_free(certificate);
		certificate = NULL;
	}
	return certificate;
}

/* The key if it is one of RSA that nobody breaks, and that does not take forever. */
static EVP_PKEY *
take_rsa(EVP_PKEY * key, bool is_whole)
{
	if (key != NULL && is_whole && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
		EVP_PKEY_get_bits(key) >= MIN_RSA_BITS && EVP_PKEY_get_bits(key) <= MAX_RSA_BITS)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static bool
sign(EVP_PKEY * key, const char *data, size_t len, uint8 *signature, size_t * signature_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool		done = ctx != NULL && len <= MAX_DATA_LEN && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(ctx, signature, signature_len, (const uint8 *) data, len) == 1;

	EVP_MD_CTX_free(ctx);
	return done;
}

static bool
verify(EVP_PKEY * key, const char *data, size_t len, const uint8 *signature, size_t signature_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool		is_valid = ctx != NULL && len <= MAX_DATA_LEN && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestVerify(ctx, signature, signature_len, (const uint8 *) data, len) == 1;

	EVP_MD_CTX_free(ctx);
	return is_valid;
}

/* len is that of the plaintext; the tag is behind it. */
static bool
open_gcm(const uint8 *key, const char *nonce, const char *associated, const uint8 *sealed, size_t len, char *plaintext)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			written = 0;
	bool		done = ctx != NULL && EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), NULL, NULL, NULL) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, strlen(nonce), NULL) == 1 &&
		EVP_DecryptInit_ex2(ctx, NULL, key, (const uint8 *) nonce, NULL) == 1 &&
		(associated == NULL || EVP_DecryptUpdate(ctx, NULL, &written, (const uint8 *) associated, strlen(associated)) == 1) &&
		EVP_DecryptUpdate(ctx, (uint8 *) plaintext, &written, sealed, len) == 1 && written == len &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_BYTES, (void *) (sealed + len)) == 1 &&
		EVP_DecryptFinal_ex(ctx, (uint8 *) plaintext + len, &written) == 1;

	EVP_CIPHER_CTX_free(ctx);
	return done;
}

/* Digits in fours, the last four of which may end with one or two =. */
static bool
is_base64(const char *text, size_t len)
{
	size_t		digits = strspn(text, BASE64_DIGITS);

	return len % 4 == 0 && len - digits <= 2 && strspn(text + digits, "=") == len - digits;
}
