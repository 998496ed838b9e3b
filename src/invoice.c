/*-------------------------------------------------------------------------
 *
 * invoice.c
 *	  What a tenant owes: one-off invoices, and what becomes of each invoice.
 *
 * Every flow locks the tenant, then the invoice, then the tenant's counter.  The
 * stored rows say what an invoice was calculated from (billing.invoice_inputs), so
 * that whoever writes them, and whoever verifies them, has one definition.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "coupon.h"
#include "draft.h"
#include "dunning.h"
#include "event.h"
#include "id.h"
#include "invoice.h"
#include "overdue.h"
#include "wallet_book.h"

BILLING_FUNCTION(billing_find_invoice);
BILLING_FUNCTION(billing_finalize_invoice);
BILLING_FUNCTION(billing_void_invoice);
BILLING_FUNCTION(billing_mark_uncollectible);
BILLING_FUNCTION(billing_explain_invoice);

pg_noreturn static void report_no_key(int64 tenant_id, const char *biz_key);
static Datum take_back(BillingFlow *flow, const BillingInvoice *invoice, Datum reason, bool is_reissued);
static void check_may_void(BillingFlow *flow, const BillingInvoice *invoice);
static void check_may_reissue(BillingFlow *flow, const BillingInvoice *invoice);
static void check_not_credited(BillingFlow *flow, const BillingInvoice *invoice);
static void check_not_taken_off(BillingFlow *flow, const BillingInvoice *invoice);
static bool has_payment_in_flight(BillingFlow *flow, int64 invoice_id);
static void reverse_postings(BillingFlow *flow, int64 invoice_id, TimestampTz at);
static void release_late_usage(BillingFlow *flow, int64 invoice_id);
static void write_off(BillingFlow *flow, int64 invoice_id, TimestampTz at);

/*
 * billing_find_invoice
 *		The invoice of a biz_key, with the rights of who asks.
 */
Datum
billing_find_invoice(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT i FROM billing.invoice i WHERE i.tenant_id = $1 AND i.biz_key = $2",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[2];
	Datum		row;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "biz_key");
	args[0] = PG_GETARG_DATUM(0);
	args[1] = PG_GETARG_DATUM(1);

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) == 0)
		report_no_key(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	row = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	PG_RETURN_DATUM(row);
}

static void
report_no_key(int64 tenant_id, const char *biz_key)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("invoice \"%s\" of tenant %lld does not exist", biz_key, (long long) tenant_id),
			 errdetail("object=invoice tenant_id=%lld biz_key=%s", (long long) tenant_id, biz_key),
			 billing_flow_hint_hidden(tenant_id) ? 0 :
			 errhint("Give its biz_key, not its number; both are columns of billing.invoice.")));
}

void
billing_invoice_lock(BillingFlow *flow, int64 invoice_id, BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "SELECT i, i.status, i.currency, i.total::text, i.paid::text, i.amount_due::text, i.item_count,"
		"       billing.minor_units(i.paid) <> 0, coalesce(i.subscription_id, 0), billing.minor_units(i.excess) <> 0"
		"  FROM billing.invoice i WHERE i.tenant_id = $1 AND i.invoice_id = $2 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("invoice", flow->tenant_id, psprintf("%lld", (long long) invoice_id));

	invoice->invoice_id = invoice_id;
	invoice->row = billing_spi_copy(0, 1, flow->caller);
	invoice->status = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	invoice->currency = TextDatumGetCString(billing_spi_value(0, 3, &isnull));
	invoice->total = TextDatumGetCString(billing_spi_value(0, 4, &isnull));
	invoice->paid = TextDatumGetCString(billing_spi_value(0, 5, &isnull));
	invoice->amount_due = TextDatumGetCString(billing_spi_value(0, 6, &isnull));
	invoice->item_count = DatumGetInt32(billing_spi_value(0, 7, &isnull));
	invoice->is_part_paid = DatumGetBool(billing_spi_value(0, 8, &isnull));
	invoice->subscription_id = DatumGetInt64(billing_spi_value(0, 9, &isnull));
	invoice->has_excess = DatumGetBool(billing_spi_value(0, 10, &isnull));
}

void
billing_invoice_refuse(const BillingInvoice *invoice, const char *action, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("invoice %lld is %s and cannot %s",
					(long long) invoice->invoice_id, invoice->status, action),
			 errdetail("object=invoice id=%lld status=%s", (long long) invoice->invoice_id, invoice->status),
			 errhint("%s", hint)));
}

/*
 * billing_finalize_invoice
 *		Number a draft and open it; one whose total is zero is paid at once.
 */
Datum
billing_finalize_invoice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "finalize_invoice", 2, &result))
		return result;
	billing_flow_require(fcinfo, 1, "invoice_id");

	billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	if (strcmp(invoice.status, "draft") != 0)
		billing_invoice_refuse(&invoice, "be finalized", "Only a draft is finalized.");
	if (invoice.item_count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("invoice %lld has no lines and cannot be finalized", (long long) invoice.invoice_id),
				 errdetail("object=invoice id=%lld item_count=0", (long long) invoice.invoice_id),
				 errhint("Add a line by billing.add_item().")));
	result = billing_invoice_finalize(&flow, invoice.invoice_id);
	billing_flow_audit(&flow, "invoice", invoice.invoice_id, invoice.row, result);
	return billing_flow_end(&flow, result);
}

/*
 * billing_invoice_finalize
 *		Make one draft final, as a set of one (draft.c).
 */
Datum
billing_invoice_finalize(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT i FROM billing.invoice i WHERE i.tenant_id = $1 AND i.invoice_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};

	billing_draft_finalize(billing_draft_make(flow->tenant_id, invoice_id), billing_clock_now());
	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_void_invoice
 *		Take a final invoice back as if it had not been issued; it keeps its number.
 *
 * Its boundary does not become due again.
 */
Datum
billing_void_invoice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "void_invoice", 4, &result))
		return result;
	billing_flow_require(fcinfo, 1, "invoice_id");
	billing_flow_require(fcinfo, 3, "reissue");

	billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	check_may_void(&flow, &invoice);
	if (PG_GETARG_BOOL(3))
		check_may_reissue(&flow, &invoice);

	result = take_back(&flow, &invoice, PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2), PG_GETARG_BOOL(3));
	if (PG_GETARG_BOOL(3))
		result = billing_draft_reissue(&flow, invoice.invoice_id);
	else
		billing_dunning_watch(billing_id_array_of(flow.tenant_id), billing_id_array_of(invoice.subscription_id));
	billing_overdue_settle(&flow);
	return billing_flow_end(&flow, result);
}

/* Void an invoice that may be, with all that it moved; returns its row. */
static Datum
take_back(BillingFlow *flow, const BillingInvoice *invoice, Datum reason, bool is_reissued)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET status = 'void', voided_at = $3, paid_at = NULL, status_reason = $4, version = i.version + 1"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING i",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID},
	};
	TimestampTz at = billing_clock_now();
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice->invoice_id), TimestampTzGetDatum(at), reason
	};
	Datum		row;

	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "   n" : NULL);
	row = billing_spi_copy(0, 1, flow->caller);
	reverse_postings(flow, invoice->invoice_id, at);
	release_late_usage(flow, invoice->invoice_id);
	billing_wallet_book_return(flow->tenant_id, invoice->invoice_id, at);
	billing_coupon_give_back(billing_draft_make(flow->tenant_id, invoice->invoice_id), is_reissued);
	billing_flow_audit(flow, "invoice", invoice->invoice_id, invoice->row, row);
	billing_event_emit(flow->tenant_id, "invoice.voided", invoice->invoice_id);
	return row;
}

/*
 * billing_invoice_void_unused
 *		See invoice.h.  Its coupon would be lost to who tries again.
 */
void
billing_invoice_void_unused(BillingFlow *flow, int64 subscription_id)
{
	static BillingQuery query = {
		.sql = "SELECT i.invoice_id FROM billing.invoice i WHERE i.tenant_id = $1 AND i.subscription_id = $2 AND i.status = 'open'"
		"   AND billing.minor_units(i.total - i.amount_due) = 0 AND EXISTS (SELECT FROM billing.coupon_redemption r"
		"     WHERE r.tenant_id = i.tenant_id AND r.invoice_id = i.invoice_id)",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(subscription_id)};
	BillingInvoice invoice;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	billing_invoice_lock(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), &invoice);
	if (!has_payment_in_flight(flow, invoice.invoice_id))
		(void) take_back(flow, &invoice, CStringGetTextDatum("canceled before it began"), false);
}

/*
 * billing_invoice_void_waiting
 *		See invoice.h.
 */
bool
billing_invoice_void_waiting(BillingFlow *flow, int64 subscription_id)
{
	static BillingQuery query = {
		.sql = "SELECT i.invoice_id, billing.minor_units(i.credited) <> 0 FROM billing.invoice i"
		" WHERE i.tenant_id = $1 AND i.subscription_id = $2 AND i.status = 'open'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(subscription_id)};
	BillingInvoice invoice;
	bool		is_credited;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return true;
	is_credited = DatumGetBool(billing_spi_value(0, 2, &isnull));
	billing_invoice_lock(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), &invoice);
	if (is_credited || invoice.is_part_paid || has_payment_in_flight(flow, invoice.invoice_id))
		return false;
	(void) take_back(flow, &invoice, CStringGetTextDatum("not paid in time"), false);
	return true;
}

/*
 * check_may_void
 *		YB004 unless the invoice is final, and no money came or is coming.
 *
 * One that credit covers wholly is paid, but not with money: what it drew goes back.
 */
static void
check_may_void(BillingFlow *flow, const BillingInvoice *invoice)
{
	if (strcmp(invoice->status, "draft") == 0)
		billing_invoice_refuse(invoice, "be voided", "Finalize it first.");
	if (invoice->is_part_paid)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("invoice %lld is paid in part or whole and cannot be voided", (long long) invoice->invoice_id),
				 errdetail("object=invoice id=%lld status=%s paid=%s",
						   (long long) invoice->invoice_id, invoice->status, invoice->paid),
				 errhint("What was paid is corrected by a credit note or a refund.")));
	if (strcmp(invoice->status, "void") == 0)
		billing_invoice_refuse(invoice, "be voided", "It is not issued again either: state what is still owed by billing.create_invoice().");
	if (invoice->has_excess)
		billing_invoice_refuse(invoice, "be voided", "What would have made its total negative became credit already.");
	check_not_taken_off(flow, invoice);
	if (has_payment_in_flight(flow, invoice->invoice_id))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("invoice %lld has a payment in flight and cannot be voided", (long long) invoice->invoice_id),
				 errdetail("object=invoice id=%lld status=%s payment=in_flight",
						   (long long) invoice->invoice_id, invoice->status),
				 errhint("Wait for the payment to succeed or fail.")));
	check_not_credited(flow, invoice);
}

/* What a credit note says of an invoice, or has paid of it, stays said. */
static void
check_not_credited(BillingFlow *flow, const BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "SELECT n.number FROM billing.credit_note n"
		" WHERE n.tenant_id = $1 AND (n.invoice_id = $2 OR n.to_invoice_id = $2 AND billing.minor_units(n.applied) > 0)"
		" ORDER BY n.credit_note_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice->invoice_id)};
	const char *number;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	number = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("invoice %lld is credited by credit note %s and cannot be voided", (long long) invoice->invoice_id, number),
			 errdetail("object=invoice id=%lld status=%s credited_by=%s", (long long) invoice->invoice_id,
					   invoice->status, number),
			 errhint("What is left of it is taken back by another, of billing.issue_credit_note().")));
}

/*
 * check_may_reissue
 *		YB004 for a one-off invoice, for an interim one whose period has ended, and for one
 *		whose lines another corrects: usage would be billed by both.
 */
static void
check_may_reissue(BillingFlow *flow, const BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(a.number, a.biz_key) FROM billing.invoice_item n"
		"  JOIN billing.invoice a ON a.tenant_id = n.tenant_id AND a.invoice_id = n.invoice_id"
		" WHERE n.tenant_id = $1 AND n.adjusts_invoice_id = $2 AND a.status <> 'void' ORDER BY a.invoice_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery ended = {
		.sql = "SELECT FROM billing.invoice i"
		"  JOIN billing.subscription s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 AND i.kind = 'threshold' AND s.billed_to > i.period_end",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice->invoice_id)};
	bool		isnull;
	const char *number;

	if (invoice->subscription_id == 0)
		billing_invoice_refuse(invoice, "be issued again", "Void it, and state what is owed by billing.create_invoice() under another biz_key.");
	if (billing_spi_run(&ended, args, NULL) > 0)
		billing_invoice_refuse(invoice, "be issued again", "The period whose usage it billed has ended: void it, and the invoice of that end bills all of it.");
	if (billing_spi_run(&query, args, NULL) == 0)
		return;

	number = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("invoice %lld is corrected by invoice %s and cannot be issued again",
					(long long) invoice->invoice_id, number),
			 errdetail("object=invoice id=%lld status=%s adjusted_by=%s",
					   (long long) invoice->invoice_id, invoice->status, number),
			 errhint("Void that one first; what it corrects is then billed by the one issued again.")));
}

/* YB004 for an interim invoice that the one which ends its period took off what that costs. */
static void
check_not_taken_off(BillingFlow *flow, const BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(a.number, a.biz_key) FROM billing.invoice_item n"
		"  JOIN billing.invoice a ON a.tenant_id = n.tenant_id AND a.invoice_id = n.invoice_id"
		" WHERE n.tenant_id = $1 AND n.adjusts_invoice_id = $2 AND n.kind = 'interim_credit' AND a.status NOT IN ('draft', 'void')"
		" ORDER BY a.invoice_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice->invoice_id)};
	const char *number;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	number = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("invoice %lld was taken off invoice %s and cannot be voided", (long long) invoice->invoice_id, number),
			 errdetail("object=invoice id=%lld status=%s taken_off_by=%s", (long long) invoice->invoice_id, invoice->status, number),
			 errhint("Take it back by a credit note.")));
}

static bool
has_payment_in_flight(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.payment p WHERE p.tenant_id = $1 AND p.invoice_id = $2"
		"   AND p.status IN ('pending', 'processing', 'requires_action', 'unknown') LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * reverse_postings
 *		One transaction that takes what the invoice left on each account back to zero.
 *
 * Money that came for it has gone again, or is on its way back, or it could not be void; what that moved stays as it is, as does what was
 * lost by a refund.
 */
static void
reverse_postings(BillingFlow *flow, int64 invoice_id, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, at, accounts, amounts)"
		" SELECT $1, 'void', $2, $3, array_agg(e.account ORDER BY e.account), array_agg(-e.amount ORDER BY e.account)"
		"   FROM (SELECT l.account, sum(l.amount) AS amount FROM billing.ledger_entry l"
		"          WHERE l.tenant_id = $1 AND l.invoice_id = $2"
		"            AND (l.payment_id IS NULL OR l.account = 'receivable' OR l.account = 'bad_debt' AND l.kind <> 'refund') GROUP BY l.account"
		"         HAVING billing.minor_units(sum(l.amount)) <> 0) e"
		" HAVING count(*) > 0",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id), TimestampTzGetDatum(at)};

	(void) billing_spi_run(&query, args, NULL);
}

/* Usage that came late, and prices corrected, that this invoice had booked wait for another. */
static void
release_late_usage(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery rerated = {
		.sql = "UPDATE billing.rerated_line r SET invoice_id = NULL, used_to = NULL,"
		"  voided_invoice_id = coalesce(r.voided_invoice_id, r.invoice_id)"
		" WHERE r.tenant_id = $1 AND r.invoice_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery late = {
		.sql = "UPDATE billing.usage_late l SET invoice_id = NULL, voided_invoice_id = coalesce(l.voided_invoice_id, l.invoice_id)"
		" WHERE l.tenant_id = $1 AND l.invoice_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};

	(void) billing_spi_run(&late, args, NULL);
	(void) billing_spi_run(&rerated, args, NULL);
}

/*
 * billing_mark_uncollectible
 *		Give up on what is due of an open invoice: a bad debt.
 *
 * A payment may still come; it is a recovery then.  Until then a subscription that was
 * suspended for it stays so: the debt was given up, not paid.
 */
Datum
billing_mark_uncollectible(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "mark_uncollectible", 3, &result))
		return result;
	billing_flow_require(fcinfo, 1, "invoice_id");
	result = billing_invoice_give_up(&flow, PG_GETARG_INT64(1), PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2));
	return billing_flow_end(&flow, result);
}

Datum
billing_invoice_give_up(BillingFlow *flow, int64 invoice_id, Datum reason)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET status = 'uncollectible', status_reason = $3, version = i.version + 1"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING i",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id), reason};
	BillingInvoice invoice;
	Datum		row;

	billing_invoice_lock(flow, invoice_id, &invoice);
	if (strcmp(invoice.status, "open") != 0)
		billing_invoice_refuse(&invoice, "be marked uncollectible", "Only an open invoice is given up.");
	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "  n" : NULL);
	row = billing_spi_copy(0, 1, flow->caller);
	write_off(flow, invoice_id, billing_clock_now());
	billing_event_emit(flow->tenant_id, "invoice.uncollectible", invoice_id);
	billing_overdue_settle(flow);
	billing_flow_audit(flow, "invoice", invoice_id, invoice.row, row);
	return row;
}

static void
write_off(BillingFlow *flow, int64 invoice_id, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, at, accounts, amounts)"
		" SELECT $1, 'write_off', $2, $3, '{bad_debt,receivable}', ARRAY[i.amount_due, -i.amount_due]"
		"   FROM billing.invoice i WHERE i.tenant_id = $1 AND i.invoice_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id), TimestampTzGetDatum(at)};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_explain_invoice
 *		The rows of billing.invoice_explanation, or that there is no such invoice.
 */
Datum
billing_explain_invoice(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT e.line, e.explanation FROM billing.invoice_explanation($1, $2) e",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	billing_invoice_explain(fcinfo, &query, "invoice", "invoice_id");
	return (Datum) 0;
}

void
billing_invoice_explain(FunctionCallInfo fcinfo, BillingQuery *query, const char *object, const char *id)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		args[2];
	uint64		count;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, id);
	args[0] = PG_GETARG_DATUM(0);
	args[1] = PG_GETARG_DATUM(1);
	InitMaterializedSRF(fcinfo, 0);

	billing_spi_begin();
	count = billing_spi_run(query, args, NULL);
	if (count == 0)
		billing_flow_not_found(object, PG_GETARG_INT64(0), psprintf("%lld", (long long) PG_GETARG_INT64(1)));
	for (uint64 i = 0; i < count; i++)
	{
		Datum		values[2];
		bool		nulls[2];

		for (int column = 0; column < 2; column++)
			values[column] = billing_spi_value(i, column + 1, &nulls[column]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	billing_spi_end();
}
