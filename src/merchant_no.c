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

BILLING_FUNCTION(billing_merchant_no);
BILLING_FUNCTION(billing_is_merchant_no);

#define ID_BASE			36
#define ID_DIGITS_MIN	6
#define ID_DIGITS_MAX	13		/* 36 ^ 13 > 2 ^ 63 */

Datum
billing_merchant_no(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(billing_merchant_no_make(PG_GETARG_INT64(0), PG_GETARG_INT64(1))));
}

char *
billing_merchant_no_make(int64 tenant_id, int64 id)
{
	char		digits[ID_DIGITS_MAX + 1];
	char	   *first = &digits[ID_DIGITS_MAX];

	*first = '\0';
	for (uint64 rest = (uint64) id; rest > 0 || first > &digits[ID_DIGITS_MAX - ID_DIGITS_MIN]; rest /= ID_BASE)
		*--first = "0123456789abcdefghijklmnopqrstuvwxyz"[rest % ID_BASE];
	return psprintf("%lld_%s", (long long) tenant_id, first);
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
