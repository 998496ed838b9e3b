/*-------------------------------------------------------------------------
 *
 * pairs.c
 *	  Names with values, and answers that say nothing yet.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "gateway.h"

/* Where a name comes twice, its first value counts. */
const char *
billing_pairs_find(const BillingPairs *pairs, const char *name)
{
	for (int i = 0; i < pairs->count; i++)
	{
		if (strcmp(pairs->pairs[i].name, name) == 0)
			return pairs->pairs[i].value;
	}
	return NULL;
}

const char *
billing_pairs_find_header(const BillingPairs *pairs, const char *name)
{
	for (int i = 0; i < pairs->count; i++)
	{
		if (pg_strcasecmp(pairs->pairs[i].name, name) == 0)
			return pairs->pairs[i].value;
	}
	return NULL;
}

void
billing_gateway_clear(BillingGatewayAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->outcome = BILLING_GATEWAY_UNKNOWN;
	answer->units = -1;
	answer->fee_units = -1;
}
