/*-------------------------------------------------------------------------
 *
 * one_off.c
 *	  Invoices and lines that are stated, not calculated from a plan.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "clock.h"
#include "coupon.h"
#include "id.h"
#include "draft.h"
#include "event.h"
#include "invoice.h"
#include "tax_rate.h"

BILLING_FUNCTION(billing_create_invoice);
BILLING_FUNCTION(billing_add_item);

/* The arguments of create_invoice. */
enum
{
	TENANT_ID, BIZ_KEY, ITEMS, COUPON, CURRENCY, DUE_AT, FINALIZE, NOTES
};

static void check_request(FunctionCallInfo fcinfo);
static Datum find_currency(BillingFlow *flow);
static void check_items(BillingFlow *flow, Datum currency);
pg_noreturn static void report_no_items(void);
pg_noreturn static void report_negative(int64 tenant_id, const char *sum);
static void check_key(const BillingFlow *flow);
static int64 insert_invoice(BillingFlow *flow, Datum currency);
static Datum read_invoice(BillingFlow *flow, int64 invoice_id);
static void insert_item(BillingFlow *flow, const BillingInvoice *invoice);
static void compose(int64 tenant_id, int64 invoice_id);
static void check_sum(int64 tenant_id, int64 invoice_id);
static Datum read_item(BillingFlow *flow, int64 invoice_id);

/*
 * billing_create_invoice
 *		A one-off invoice of stated lines; the biz_key makes a retry harmless.
 *
 * It is the id of the request: what was asked for tells a retry, whatever became of the invoice since.
 */
Datum
billing_create_invoice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		currency;
	Datum		result;
	int64		invoice_id;
	int64		use_id = 0;

	check_request(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "create_invoice", BIZ_KEY, &result))
		return result;
	currency = find_currency(&flow);
	check_items(&flow, currency);
	check_key(&flow);
	billing_flow_check_open(&flow, "invoice", "What a closed tenant owes is on the invoices it has.");
	invoice_id = insert_invoice(&flow, currency);
	if (!PG_ARGISNULL(COUPON))
	{
		use_id = billing_coupon_apply(&flow, PG_GETARG_DATUM(COUPON), 0, invoice_id);
		compose(flow.tenant_id, invoice_id);
	}
	billing_event_emit(flow.tenant_id, "invoice.created", invoice_id);
	if (PG_GETARG_BOOL(FINALIZE))
		result = billing_invoice_finalize(&flow, invoice_id);
	else
	{
		billing_draft_log(billing_draft_make(flow.tenant_id, invoice_id));
		result = read_invoice(&flow, invoice_id);
	}
	if (!PG_ARGISNULL(COUPON))
		billing_coupon_claim(flow.tenant_id, PG_GETARG_DATUM(COUPON), use_id);
	billing_flow_audit(&flow, "invoice", invoice_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_request
 *		What can be refused before anything is read.
 */
static void
check_request(FunctionCallInfo fcinfo)
{
	const char *biz_key;

	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, BIZ_KEY, "biz_key");
	billing_flow_require(fcinfo, ITEMS, "items");
	billing_flow_require(fcinfo, FINALIZE, "finalize");

	biz_key = text_to_cstring(PG_GETARG_TEXT_PP(BIZ_KEY));
	if (biz_key[0] == '\0' || strlen(biz_key) > 255 || strncmp(biz_key, "sub/", 4) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("biz_key \"%.*s\" is not one for a one-off invoice", BILLING_QUOTED(biz_key, strlen(biz_key))),
				 errdetail("argument=biz_key bytes=%zu", strlen(biz_key)),
				 errhint("Give it 1 to 255 bytes that do not begin with sub/, which names the invoices of subscriptions.")));
	if (!PG_ARGISNULL(DUE_AT) && TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(DUE_AT)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("due_at is not finite"),
				 errdetail("argument=due_at"),
				 errhint("Give it an instant, or NULL for the tenant's net_days after the issue.")));
}

/* The currency as ISO 4217 writes it: the one given, or the tenant's. */
static Datum
find_currency(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT billing.currency(billing.from_minor_units(0, coalesce($2, t.currency)))"
		"  FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	bool		isnull = flow->fcinfo->args[CURRENCY].isnull;
	Datum		args[] = {Int64GetDatum(flow->tenant_id), flow->fcinfo->args[CURRENCY].value};

	(void) billing_spi_run(&query, args, isnull ? " n" : NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * check_items
 *		The items are lines of an invoice, and add up to one.
 */
static void
check_items(BillingFlow *flow, Datum currency)
{
	static BillingQuery query = {
		.sql = "SELECT count(*), sum(l.amount)::text, billing.minor_units(sum(l.amount)) < 0 FROM billing.manual_lines($1, $2) l",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {JSONBOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {given[ITEMS].value, currency};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	if (DatumGetInt64(billing_spi_value(0, 1, &isnull)) == 0)
	{
		if (DatumGetBool(given[FINALIZE].value))
			report_no_items();
	}
	else if (DatumGetBool(billing_spi_value(0, 3, &isnull)))
		report_negative(flow->tenant_id, TextDatumGetCString(billing_spi_value(0, 2, &isnull)));
}

static void
report_no_items(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("an invoice that is final has at least one item"),
			 errdetail("argument=items items=0"),
			 errhint("State what is billed, or make a draft with finalize => false.")));
}

static void
report_negative(int64 tenant_id, const char *sum)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
			 errmsg("the lines of an invoice of tenant %lld add up to less than nothing", (long long) tenant_id),
			 errdetail("tenant_id=%lld subtotal=%s", (long long) tenant_id, sum),
			 errhint("An invoice states what is owed; its total is never negative.")));
}

/* YB006 for the biz_key of an invoice that no request made: one that was loaded, say. */
static void
check_key(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT i.invoice_id FROM billing.invoice i WHERE i.tenant_id = $1 AND i.biz_key = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {given[TENANT_ID].value, given[BIZ_KEY].value};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_KEY_REUSED),
			 errmsg("invoice \"%s\" of tenant %lld is there already", TextDatumGetCString(given[BIZ_KEY].value),
					(long long) flow->tenant_id),
			 errdetail("tenant_id=%lld biz_key=%s invoice_id=%lld", (long long) flow->tenant_id,
					   TextDatumGetCString(given[BIZ_KEY].value), (long long) DatumGetInt64(billing_spi_value(0, 1, &isnull))),
			 errhint("Give another invoice a biz_key of its own; billing.find_invoice() returns this one.")));
}

/*
 * insert_invoice
 *		Write a draft and its lines, tax and total; returns its id.
 */
static int64
insert_invoice(BillingFlow *flow, Datum currency)
{
	/* Its version is 1 when it was composed. */
	static BillingQuery query = {
		.sql = "WITH made AS ("
		"  INSERT INTO billing.invoice (tenant_id, invoice_id, biz_key, kind, status, currency, item_count, subtotal, discount,"
		"    tax, excess, total, credited, wallet_applied, paid, due_at, billing_name, billing_email, billing_address,"
		"    tax_id, notes, version)"
		"  SELECT $1, $2, $3, 'one_off', 'draft', $5, 0, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing,"
		"    z.nothing, $6, t.billing_name, t.billing_email, t.billing_address, t.tax_id, $7, 0"
		"  FROM billing.invoice_terms($1, NULL) t CROSS JOIN (SELECT billing.from_minor_units(0, $5) AS nothing) z"
		") INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, price_code, description, quantity, unit_amount,"
		"    amount, period_start, period_end, tax_category, discount, tax)"
		"  SELECT $1, $2, l.line, 'manual', l.price_code, l.description, l.quantity, l.unit_amount, l.amount, l.period_start,"
		"    l.period_end, l.tax_category, l.amount - l.amount, l.amount - l.amount FROM billing.manual_lines($4, $5) l",
		.expected = SPI_OK_INSERT,
		.nargs = 7,
		.argtypes = {INT8OID, INT8OID, TEXTOID, JSONBOID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	int64		invoice_id = billing_id_next();
	Datum		args[] = {
		given[TENANT_ID].value, Int64GetDatum(invoice_id), given[BIZ_KEY].value, given[ITEMS].value, currency,
		given[DUE_AT].value, given[NOTES].value
	};
	char		nulls[] = "       ";

	nulls[5] = given[DUE_AT].isnull ? 'n' : ' ';
	nulls[6] = given[NOTES].isnull ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	compose(flow->tenant_id, invoice_id);
	return invoice_id;
}

static Datum
read_invoice(BillingFlow *flow, int64 invoice_id)
{
	BillingInvoice invoice;

	billing_invoice_lock(flow, invoice_id, &invoice);
	return invoice.row;
}

/*
 * billing_add_item
 *		A stated line at the end of a draft, whose totals follow.
 */
Datum
billing_add_item(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "add_item", 10, &result))
		return result;
	billing_flow_require(fcinfo, 1, "invoice_id");

	billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	if (strcmp(invoice.status, "draft") != 0)
		billing_invoice_refuse(&invoice, "take another line", "A correction is a document of its own that names this one.");
	insert_item(&flow, &invoice);
	compose(flow.tenant_id, invoice.invoice_id);
	check_sum(flow.tenant_id, invoice.invoice_id);
	result = read_item(&flow, invoice.invoice_id);
	billing_draft_log(billing_draft_make(flow.tenant_id, invoice.invoice_id));
	billing_flow_audit(&flow, "invoice_item", invoice.invoice_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

static void
insert_item(BillingFlow *flow, const BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.invoice_item AS i (tenant_id, invoice_id, line, kind, price_code, description, quantity,"
		"    unit_amount, amount, period_start, period_end, tax_category, discount, tax)"
		" SELECT $1, $2, (SELECT coalesce(max(n.line), 0) + 1 FROM billing.invoice_item n WHERE n.tenant_id = $1 AND n.invoice_id = $2),"
		"    'manual', l.price_code, l.description, l.quantity, l.unit_amount, l.amount, l.period_start, l.period_end, l.tax_category,"
		"    l.amount - l.amount, l.amount - l.amount"
		"   FROM billing.manual_lines(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('description', $4, 'quantity', $5,"
		"          'unit_amount', $6, 'amount', $7, 'price_code', $8, 'period_start', $9, 'period_end', $10, 'tax_category', $11))), $3) l",
		.expected = SPI_OK_INSERT,
		.nargs = 11,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[11];
	char		nulls[] = "           ";

	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = Int64GetDatum(invoice->invoice_id);
	args[2] = CStringGetTextDatum(invoice->currency);
	for (int i = 2; i < 10; i++)
	{
		args[i + 1] = given[i].value;
		nulls[i + 1] = given[i].isnull ? 'n' : ' ';
	}
	if (!given[5].isnull)
		args[6] = CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(billing_amount_out, given[5].value)));

	(void) billing_spi_run(&query, args, nulls);
}

/* The last line of an invoice. */
static Datum
read_item(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT i FROM billing.invoice_item i WHERE i.tenant_id = $1 AND i.invoice_id = $2 ORDER BY i.line DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/* Under a snapshot that shows what was written just now. */
static void
compose(int64 tenant_id, int64 invoice_id)
{
	billing_tax_rate_hold();
	PushActiveSnapshot(GetTransactionSnapshot());
	billing_draft_compose(billing_draft_make(tenant_id, invoice_id));
	PopActiveSnapshot();
}

/*
 * check_sum
 *		A one-off invoice owes nothing less than nothing: a credit is another document.
 */
static void
check_sum(int64 tenant_id, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT i.subtotal::text FROM billing.invoice i"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 AND i.kind = 'one_off' AND billing.minor_units(i.excess) > 0",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) > 0)
		report_negative(tenant_id, TextDatumGetCString(billing_spi_value(0, 1, &isnull)));
}
