/*-------------------------------------------------------------------------
 *
 * invoice_guard.c
 *	  Triggers that keep an invoice and its lines in agreement.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "spi.h"
#include "trigger.h"

BILLING_FUNCTION(billing_invoice_total_guard);
BILLING_FUNCTION(billing_invoice_part_guard);

static int64 id_of(TriggerData *trigger, HeapTuple tuple, const char *column);
static const char *text_of(int column);
static const char *find_status(int64 tenant_id, int64 invoice_id);
pg_noreturn static void report_final(TriggerData *trigger, int64 invoice_id, const char *status);

/*
 * billing_invoice_total_guard
 *		AFTER UPDATE of an invoice that stops being a draft: its lines and taxes are as
 *		many as it states, in its currency, and add up to its subtotal, discount and tax.
 *
 * That the total is made of these is a constraint.
 */
Datum
billing_invoice_total_guard(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT i.item_count::text, n.lines::text, i.subtotal::text, coalesce(n.sum::text, 'nothing'), i.discount::text,"
		"       i.tax::text, i.tax_count::text, t.taxes::text"
		"  FROM billing.invoice i CROSS JOIN LATERAL ("
		"       SELECT count(*) AS lines, sum(m.amount) FILTER (WHERE billing.currency(m.amount) = i.currency) AS sum,"
		"              sum(m.discount) FILTER (WHERE billing.currency(m.discount) = i.currency) AS discount,"
		"              sum(m.tax) FILTER (WHERE billing.currency(m.tax) = i.currency) AS tax,"
		"              count(*) FILTER (WHERE i.currency <> ANY (ARRAY[billing.currency(m.amount), billing.currency(m.discount),"
		"                billing.currency(m.tax)])) AS others"
		"         FROM billing.invoice_item m WHERE m.tenant_id = i.tenant_id AND m.invoice_id = i.invoice_id) n"
		"  CROSS JOIN LATERAL (SELECT count(*) AS taxes, sum(x.amount) FILTER (WHERE billing.currency(x.amount) = i.currency) AS sum"
		"         FROM billing.invoice_tax x WHERE x.tenant_id = i.tenant_id AND x.invoice_id = i.invoice_id) t"
		"  CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, i.currency) AS nothing) z"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2"
		"   AND (n.lines <> i.item_count OR n.others > 0 OR t.taxes <> i.tax_count OR i.subtotal <> coalesce(n.sum, z.nothing)"
		"     OR i.discount <> coalesce(n.discount, z.nothing) OR i.tax <> coalesce(n.tax, z.nothing)"
		"     OR i.tax <> coalesce(t.sum, z.nothing))",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	int64		invoice_id = id_of(trigger, trigger->tg_newtuple, "invoice_id");
	Datum		args[] = {
		Int64GetDatum(id_of(trigger, trigger->tg_newtuple, "tenant_id")),
		Int64GetDatum(invoice_id)
	};

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("invoice %lld is not the sum of its lines", (long long) invoice_id),
				 errdetail("object=invoice id=%lld item_count=%s lines=%s subtotal=%s sum=%s discount=%s tax=%s tax_count=%s taxes=%s",
						   (long long) invoice_id, text_of(1), text_of(2), text_of(3), text_of(4), text_of(5), text_of(6), text_of(7),
						   text_of(8)),
				 errhint("An invoice becomes final through billing.finalize_invoice().")));
	billing_spi_end();
	return PointerGetDatum(NULL);
}

static int64
id_of(TriggerData *trigger, HeapTuple tuple, const char *column)
{
	bool		isnull;

	return DatumGetInt64(billing_trigger_value(trigger, tuple, column, &isnull));
}

static const char *
text_of(int column)
{
	bool		isnull;

	return TextDatumGetCString(billing_spi_value(0, column, &isnull));
}

/*
 * billing_invoice_part_guard
 *		BEFORE UPDATE or DELETE of a line or of a calculation: only of a draft.
 *
 * An INSERT is check_references' business: a final invoice takes the lines it
 * lists, in any order.
 */
Datum
billing_invoice_part_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	int64		invoice_id = id_of(trigger, trigger->tg_trigtuple, "invoice_id");
	const char *status = find_status(id_of(trigger, trigger->tg_trigtuple, "tenant_id"), invoice_id);

	if (strcmp(status, "draft") != 0)
		report_final(trigger, invoice_id, status);
	return billing_trigger_pass(trigger);
}

static const char *
find_status(int64 tenant_id, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT status FROM billing.invoice WHERE tenant_id = $1 AND invoice_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id)};
	MemoryContext caller = CurrentMemoryContext;
	const char *status = "unknown";

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) > 0)
		status = MemoryContextStrdup(caller, text_of(1));
	billing_spi_end();
	return status;
}

static void
report_final(TriggerData *trigger, int64 invoice_id, const char *status)
{
	const char *table = RelationGetRelationName(trigger->tg_relation);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("invoice %lld is %s and keeps its rows of table \"%s\"", (long long) invoice_id, status, table),
			 errdetail("object=invoice id=%lld status=%s table=%s", (long long) invoice_id, status, table),
			 errhint("A correction is a document of its own that names this one.")));
}
