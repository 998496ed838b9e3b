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
 *		AFTER UPDATE of an invoice that stops being a draft: its lines are as many
 *		as it states, in its currency, and add up to its subtotal.
 *
 * That the total is made of subtotal, discount and tax is a constraint.
 */
Datum
billing_invoice_total_guard(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT i.item_count::text, n.lines::text, i.subtotal::text, coalesce(n.sum::text, 'nothing')"
		"  FROM billing.invoice i CROSS JOIN LATERAL ("
		"       SELECT count(*) AS lines, sum(m.amount) FILTER (WHERE billing.currency(m.amount) = i.currency) AS sum,"
		"              count(*) FILTER (WHERE billing.currency(m.amount) <> i.currency) AS others"
		"         FROM billing.invoice_item m WHERE m.tenant_id = i.tenant_id AND m.invoice_id = i.invoice_id) n"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2"
		"   AND (n.lines <> i.item_count OR n.others > 0 OR i.subtotal <> coalesce(n.sum, billing.from_minor_units(0, i.currency)))",
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
				 errdetail("object=invoice id=%lld item_count=%s lines=%s subtotal=%s sum=%s",
						   (long long) invoice_id, text_of(1), text_of(2), text_of(3), text_of(4)),
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
