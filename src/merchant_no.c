/*-------------------------------------------------------------------------
 *
 * merchant_no.c
 *	  The number of a payment or refund at a gateway.
 *
 * It is the merchant's order number there, which comes back with each callback: so it carries its
 * tenant, and is of a form that every gateway takes.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>

#include "common/int.h"
#include "utils/builtins.h"

#include "merchant_no.h"

BILLING_FUNCTION(billing_new_merchant_no);
BILLING_FUNCTION(billing_is_merchant_no);

#define RANDOM_MAX		16		/* characters: 80 bits, of the longest tenant still 60 */

/*
 * billing_new_merchant_no
 *		Random, and not of a sequence: that of a database that was restored to an earlier time gives numbers again
 *		that the gateway knows.
 */
Datum
billing_new_merchant_no(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(billing_merchant_no_new(PG_GETARG_INT64(0))));
}

char *
billing_merchant_no_new(int64 tenant_id)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8		bytes[RANDOM_MAX];
	char	   *no = palloc0(BILLING_MERCHANT_NO_MAX + 1);
	int			len = snprintf(no, BILLING_MERCHANT_NO_MAX, "%lld_", (long long) tenant_id);

	if (!pg_strong_random(bytes, sizeof(bytes)))
		elog(ERROR, "there are no random bytes");
	for (int i = 0; i < RANDOM_MAX && len < BILLING_MERCHANT_NO_MAX; i++)
		no[len++] = alphabet[bytes[i] % 32];
	return no;
}

Datum
billing_is_merchant_no(PG_FUNCTION_ARGS)
{
	const text *no = PG_GETARG_TEXT_PP(1);
	int64		tenant_id;

	PG_RETURN_BOOL(billing_merchant_no_read(VARDATA_ANY(no), VARSIZE_ANY_EXHDR(no), &tenant_id) && tenant_id == PG_GETARG_INT64(0));
}

/*
 * billing_merchant_no_read
 *		The tenant, written as a number is, an underscore, then at least one letter, digit or underscore.
 */
bool
billing_merchant_no_read(const char *no, size_t len, int64 *tenant_id)
{
	const char *end = no + len;
	const char *next = no;
	int64		tenant = 0;

	if (len < BILLING_MERCHANT_NO_MIN || len > BILLING_MERCHANT_NO_MAX || *no < '1' || *no > '9')
		return false;
	for (; next < end && *next >= '0' && *next <= '9'; next++)
	{
		if (pg_mul_s64_overflow(tenant, 10, &tenant) || pg_add_s64_overflow(tenant, *next - '0', &tenant))
			return false;
	}
	if (next == end || *next++ != '_' || next == end)
		return false;
	for (; next < end; next++)
	{
		if ((unsigned char) *next > 127 || (!isalnum((unsigned char) *next) && *next != '_'))
			return false;
	}
	if (tenant_id != NULL)
		*tenant_id = tenant;
	return true;
}
