/*-------------------------------------------------------------------------
 *
 * default_method.c
 *	  Which of its payment methods is a tenant's default.
 *
 * A tenant that has a usable method has exactly one default, which is usable: at most one by a
 * unique index, at least one since whatever ends one or makes one usable settles it here, under the
 * lock of the tenant.  The history is what the default was when that was settled last, so
 * it is written by comparing, whoever changed it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "collect.h"
#include "event.h"
#include "id.h"
#include "payment_method.h"
#include "spi.h"

static void choose(Datum tenant_ids);
static void record(Datum tenant_ids, const char *reason);

void
billing_payment_method_make_default(int64 tenant_id, int64 payment_method_id, const char *reason)
{
	/* Two statements: a unique index has an opinion of each row, and not of the end of the statement. */
	static BillingQuery leave = {
		.sql = "UPDATE billing.payment_method m SET is_default = false, default_at = NULL, version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.is_default AND m.payment_method_id <> $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery take = {
		.sql = "UPDATE billing.payment_method m SET is_default = true, default_at = billing.now(), version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.payment_method_id = $2 AND NOT m.is_default",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(payment_method_id)};

	(void) billing_spi_run(&leave, args, NULL);
	(void) billing_spi_run(&take, args, NULL);
	record(billing_id_array_of(tenant_id), reason);
}

void
billing_payment_method_settle_default(Datum tenant_ids, const char *reason)
{
	choose(tenant_ids);
	record(tenant_ids, reason);
}

/* What nobody can be charged by comes last. */
static void
choose(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment_method m SET is_default = true, default_at = billing.now(), version = m.version + 1"
		"  FROM (SELECT DISTINCT ON (o.tenant_id) o.tenant_id, o.payment_method_id FROM billing.payment_method o"
		"    WHERE o.tenant_id = ANY ($1) AND o.status = 'active'"
		"      AND NOT EXISTS (SELECT FROM billing.payment_method d WHERE d.tenant_id = o.tenant_id AND d.is_default)"
		"    ORDER BY o.tenant_id, o.type = 'bank_transfer', o.payment_method_id DESC) c"
		" WHERE m.tenant_id = c.tenant_id AND m.payment_method_id = c.payment_method_id",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};

	(void) billing_spi_run(&query, &tenant_ids, NULL);
}

/*
 * record
 *		Keep in the history whose default is another, tell of it, and let what is unpaid be
 *		collected with the new one.
 */
static void
record(Datum tenant_ids, const char *reason)
{
	static BillingQuery query = {
		.sql = "WITH written AS ("
		"  INSERT INTO billing.payment_method_change (tenant_id, from_id, to_id, reason, actor)"
		"  SELECT t.tenant_id, l.to_id, d.payment_method_id, $2, $3"
		"    FROM unnest($1) t (tenant_id)"
		"    LEFT JOIN LATERAL (SELECT c.to_id FROM billing.payment_method_change c"
		"      WHERE c.tenant_id = t.tenant_id AND c.subscription_id IS NULL ORDER BY c.change_id DESC LIMIT 1) l ON true"
		"    LEFT JOIN billing.payment_method d ON d.tenant_id = t.tenant_id AND d.is_default"
		"   WHERE l.to_id IS DISTINCT FROM d.payment_method_id"
		"  RETURNING tenant_id, coalesce(to_id, from_id) AS told_id, to_id IS NOT NULL AS is_there"
		") SELECT array_agg(w.tenant_id ORDER BY w.tenant_id), array_agg(w.told_id ORDER BY w.tenant_id),"
		"    coalesce(array_agg(w.tenant_id ORDER BY w.tenant_id) FILTER (WHERE w.is_there), '{}')"
		"    FROM written w HAVING count(*) > 0",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, TEXTOID, TEXTOID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {
		tenant_ids, CStringGetTextDatum(reason), CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false))
	};
	Datum		told_of;
	Datum		told;
	Datum		able;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	told_of = billing_spi_copy(0, 1, context);
	told = billing_spi_copy(0, 2, context);
	able = billing_spi_copy(0, 3, context);
	billing_event_emit_all("payment_method.default_changed", told_of, told);
	billing_collect_again(able);
}
