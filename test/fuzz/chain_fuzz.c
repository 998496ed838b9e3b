/*-------------------------------------------------------------------------
 *
 * chain_fuzz.c
 *	  Whatever a chain of certificates and its roots are, checking it does not crash, and leaves nothing in OpenSSL's error queue.
 *
 * The roots stand behind the first NUL; without one the chain leads to itself.
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/crypto_chain.c
// libraries: -lcrypto
#include "postgres_fe.h"

#include <openssl/err.h>

#include "gateway/crypto.h"
#include "arena.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *chain = malloc(size + 1);
	size_t		len;

	memcpy(chain, data, size);
	chain[size] = '\0';
	len = strlen(chain);
	billing_crypto_check_chain(chain, len < size ? chain + len + 1 : chain, "messageverificationcerts.paypal.com", 1796500000);
	if (ERR_peek_error() != 0)
		abort();
	free(chain);
	free_pieces();
	return 0;
}
