/*
 * collect_hook.c
 *	  A collector for the test of its name: what it does hangs on the tenant.
 *
 * 1: the money is there at once; 2: it is not, and says why; 3: an answer comes later; 4: it fails itself.
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"

#include "collect.h"
#include "spi.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static void collect(const BillingAttempt *attempt);
static void pay(const BillingAttempt *attempt);

void
_PG_init(void)
{
	billing_collect_hook = collect;
}

static void
collect(const BillingAttempt *attempt)
{
	switch (attempt->tenant_id)
	{
		case 1:
			billing_collect_succeed(attempt, "test");
			pay(attempt);
			break;
		case 2:
			billing_collect_fail(attempt, "stripe", attempt->attempt_no == 1 ? "lost_card" : "insufficient_funds", "no");
			break;
		case 4:
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("the collector is odd")));
		default:
			break;
	}
}

static void
pay(const BillingAttempt *attempt)
{
	static BillingQuery query = {
		.sql = "SELECT billing.record_payment(i.tenant_id, i.invoice_id, i.amount_due, 'attempt ' || $3) FROM billing.invoice i"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT4OID},
	};
	Datum		args[] = {Int64GetDatum(attempt->tenant_id), Int64GetDatum(attempt->invoice_id), Int32GetDatum(attempt->attempt_no)};

	(void) billing_spi_run(&query, args, NULL);
}
