/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Every setting of the extension, in alphabetical order.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/guc.h"

#include "clock.h"
#include "guc.h"
#include "id.h"

char	   *billing_key_file;
int			billing_node;
char	   *billing_tenant_id;
char	   *billing_test_clock;

static bool check_tenant_id(char **newval, void **extra, GucSource source);

void
billing_guc_init(void)
{
	DefineCustomStringVariable("billing.key_file",
							   "File with the keys that billing.seal() uses.",
							   "Each line is a key id and 64 hexadecimal digits; the first line seals, all of them open.",
							   &billing_key_file,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("billing.node",
							"Number of this node, kept in the high bits of ids.",
							"0 on one machine, so that ids count 1, 2, 3.",
							&billing_node,
							0, 0, BILLING_NODE_MAX,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomStringVariable("billing.tenant_id",
							   "Tenant whose rows this session sees.",
							   "Empty: none, but for roles that bypass row security.",
							   &billing_tenant_id,
							   "",
							   PGC_SUSET,
							   0,
							   check_tenant_id, NULL, NULL);

	DefineCustomStringVariable("billing.test_clock",
							   "Instant that billing.now() returns, for tests.",
							   "ISO 8601 with an offset, such as 2026-01-31T00:00:00Z; empty: the real time.",
							   &billing_test_clock,
							   "",
							   PGC_SUSET,
							   0,
							   billing_clock_check, billing_clock_assign, NULL);

	MarkGUCPrefixReserved("billing");
}

/*
 * check_tenant_id
 *		Accept an empty string or a bigint, as the row security policy casts it.
 */
static bool
check_tenant_id(char **newval, void **extra, GucSource source)
{
	char	   *end;

	if (**newval == '\0')
		return true;

	errno = 0;
	(void) strtoll(*newval, &end, 10);
	if (errno == 0 && *end == '\0')
		return true;

	GUC_check_errdetail("A tenant id is a whole number.");
	GUC_check_errhint("Set it to a bigint, or to the empty string for no tenant.");
	return false;
}
