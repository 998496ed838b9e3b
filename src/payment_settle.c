/*-------------------------------------------------------------------------
 *
 * payment_settle.c
 *	  What follows when a payment came, did not come, or was taken back.
 *
 * One path for money from every side: recorded by a person, told by a gateway, early, late or twice.  What its
 * invoice does not owe when it comes is not refused, since it is there: it becomes credit, or goes back, by setting overpayment.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "collect.h"
#include "dunning.h"
#include "event.h"
#include "gateway_request.h"
#include "id.h"
#include "invoice.h"
#include "notice.h"
#include "overdue.h"
#include "payment.h"
#include "subscription.h"
#include "wallet.h"

static void read_row(BillingFlow *flow, BillingPayment *payment);
static void set_succeeded(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee, int64 excess);
static int64 due_of(const BillingInvoice *invoice);
static void post_received(BillingFlow *flow, const BillingPayment *payment, const char *kind, int64 invoice_id, const char *account, int64 units,
						  int64 fee, TimestampTz at);
static void post_taken(BillingFlow *flow, const BillingPayment *payment, int64 invoice_id, const char *debit, const char *credit, int64 units,
					   TimestampTz at);
static void post_invoice(BillingFlow *flow, const BillingPayment *payment, const BillingInvoice *invoice, TimestampTz at,
						 const BillingAmount *fee, int64 applied);
static bool apply(BillingFlow *flow, const BillingPayment *payment, int64 applied, TimestampTz at);
static void receive_top_up(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee);
static void receive_for_invoice(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee);
static void give_excess(BillingFlow *flow, const BillingPayment *payment, int64 excess);
static bool is_excess_refunded(BillingFlow *flow);
static void refund_excess(BillingFlow *flow, const BillingPayment *payment, int64 excess);
static void settle_attempt(BillingFlow *flow, const BillingPayment *payment);
static BillingAmount amount_of(const BillingPayment *payment, int64 units);

void
billing_payment_lock(BillingFlow *flow, int64 payment_id, BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT p.payment_id FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("payment", flow->tenant_id, psprintf("%lld", (long long) payment_id));
	payment->payment_id = payment_id;
	read_row(flow, payment);
}

void
billing_payment_find(BillingFlow *flow, Datum pay_no, BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT p.payment_id FROM billing.payment p WHERE p.tenant_id = $1 AND p.pay_no = $2 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), pay_no};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("payment", flow->tenant_id, psprintf("\"%s\"", TextDatumGetCString(pay_no)));
	payment->payment_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	read_row(flow, payment);
}

/* As it is now that it is locked. */
static void
read_row(BillingFlow *flow, BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT p, p.pay_no, p.status, p.purpose = 'top_up', coalesce(p.invoice_id, 0), p.gateway, coalesce(p.payment_method_id, 0),"
		"  p.payment_url IS NOT NULL OR p.client_secret IS NOT NULL OR p.external_id IS NOT NULL, coalesce(p.attempt_no, -1),"
		"  coalesce(p.retry_no, 0), p.amount, greatest(billing.minor_units(p.amount) - coalesce(billing.minor_units(p.excess), 0) - r.units"
		"    - coalesce(billing.minor_units(p.reversed), 0), 0), p.fee IS NOT NULL, coalesce(billing.minor_units(p.reversed), 0),"
		"  coalesce(billing.minor_units(p.lost), 0)"
		"  FROM billing.payment p CROSS JOIN LATERAL (SELECT coalesce(sum(billing.minor_units(r.amount)), 0)::bigint AS units FROM billing.refund r"
		"    WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.cause <> 'excess') r"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};
	Datum		gateway;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	payment->row = billing_spi_copy(0, 1, flow->caller);
	payment->pay_no = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	payment->status = TextDatumGetCString(billing_spi_value(0, 3, &isnull));
	payment->is_top_up = DatumGetBool(billing_spi_value(0, 4, &isnull));
	payment->invoice_id = DatumGetInt64(billing_spi_value(0, 5, &isnull));
	gateway = billing_spi_value(0, 6, &isnull);
	payment->gateway = isnull ? NULL : TextDatumGetCString(gateway);
	payment->payment_method_id = DatumGetInt64(billing_spi_value(0, 7, &isnull));
	payment->is_shown = DatumGetBool(billing_spi_value(0, 8, &isnull));
	payment->attempt_no = DatumGetInt32(billing_spi_value(0, 9, &isnull));
	payment->retry_no = DatumGetInt32(billing_spi_value(0, 10, &isnull));
	payment->amount = *DatumGetBillingAmountP(billing_spi_value(0, 11, &isnull));
	payment->applied = DatumGetInt64(billing_spi_value(0, 12, &isnull));
	payment->has_fee = DatumGetBool(billing_spi_value(0, 13, &isnull));
	payment->reversed = DatumGetInt64(billing_spi_value(0, 14, &isnull));
	payment->lost = DatumGetInt64(billing_spi_value(0, 15, &isnull));
}

Datum
billing_payment_read(BillingFlow *flow, int64 payment_id)
{
	static BillingQuery query = {
		.sql = "SELECT p FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

bool
billing_payment_is_in_flight(const BillingPayment *payment)
{
	static const char *const states[] = {"pending", "processing", "requires_action", "unknown"};

	for (int i = 0; i < lengthof(states); i++)
	{
		if (strcmp(payment->status, states[i]) == 0)
			return true;
	}
	return false;
}

void
billing_payment_receive(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee)
{
	if (payment->is_top_up)
		receive_top_up(flow, payment, at, fee);
	else
		receive_for_invoice(flow, payment, at, fee);
	settle_attempt(flow, payment);
}

/*
 * receive_for_invoice
 *		Pay what is due of the invoice; the rest was paid for nothing.
 *
 * A subscription that waits for its first payment starts when its invoice is paid, and one that is past due or suspended goes on
 * when all its overdue ones are.
 */
static void
receive_for_invoice(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee)
{
	BillingInvoice invoice;
	int64		applied;
	int64		excess;
	bool		is_paid = false;

	billing_invoice_lock(flow, payment->invoice_id, &invoice);
	applied = Min(payment->amount.units, due_of(&invoice));
	excess = payment->amount.units - applied;
	set_succeeded(flow, payment, at, fee, excess);
	post_invoice(flow, payment, &invoice, at, fee, applied);
	billing_event_emit(flow->tenant_id, "payment.succeeded", payment->payment_id);
	if (applied > 0)
		is_paid = apply(flow, payment, applied, at);
	if (is_paid)
		billing_event_emit(flow->tenant_id, "invoice.paid", invoice.invoice_id);
	if (applied > 0)
		billing_payment_call_off_waiting(flow, payment->invoice_id, payment->payment_id);
	if (excess > 0)
		give_excess(flow, payment, excess);
	billing_notice_write_receipt(flow->tenant_id, payment->payment_id);
	if (is_paid && invoice.subscription_id != 0)
	{
		billing_subscription_activate(flow->tenant_id, invoice.subscription_id, at);
		billing_overdue_settle(flow);
	}
}

void
billing_payment_call_off_waiting(BillingFlow *flow, int64 invoice_id, int64 payment_id)
{
	static BillingQuery query = {
		.sql = "SELECT p.payment_id FROM billing.payment p JOIN billing.invoice i ON i.tenant_id = p.tenant_id AND i.invoice_id = p.invoice_id"
		" WHERE p.tenant_id = $1 AND p.invoice_id = $2 AND p.payment_id <> $3 AND p.status IN ('pending', 'processing', 'requires_action')"
		"   AND billing.minor_units(p.amount) > billing.minor_units(i.amount_due)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id), Int64GetDatum(payment_id)};
	BillingPayment other;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	billing_payment_lock(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), &other);
	if (billing_payment_is_in_flight(&other) && billing_payment_may_call_off(flow, &other))
		billing_payment_call_off(flow, &other, "less is due of its invoice");
}

/* What an invoice takes, in minor units: none but an open or a written-off one owes anything. */
static int64
due_of(const BillingInvoice *invoice)
{
	if (strcmp(invoice->status, "open") != 0 && strcmp(invoice->status, "uncollectible") != 0)
		return 0;
	return DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(invoice->amount_due)))->units;
}

static void
set_succeeded(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee, int64 excess)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = 'succeeded', received_at = $3, failure_code = NULL, failure_reason = NULL, failed_at = NULL,"
		"  fee = coalesce(p.fee, billing.from_minor_units($4, $5)), excess = CASE WHEN $6 > 0 THEN billing.from_minor_units($6, billing.currency(p.amount)) END,"
		"  version = p.version + CASE WHEN p.status = 'succeeded' THEN 0 ELSE 1 END"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), TimestampTzGetDatum(at), Int64GetDatum(fee == NULL ? 0 : fee->units),
		fee == NULL ? (Datum) 0 : CStringGetTextDatum(fee->currency), Int64GetDatum(excess)
	};

	(void) billing_spi_run(&query, args, fee == NULL ? "   nn " : NULL);
}

/*
 * post_invoice
 *		Cash, less what the gateway kept of it, against what was receivable, or the bad debt it had become; what nothing was due for is
 *		owed to the tenant.
 *
 * That is no matter of the invoice, which may be void: it is a transaction of its own, as is a fee in another currency than the
 * payment's.
 */
static void
post_invoice(BillingFlow *flow, const BillingPayment *payment, const BillingInvoice *invoice, TimestampTz at, const BillingAmount *fee,
			 int64 applied)
{
	bool		is_bad = strcmp(invoice->status, "uncollectible") == 0;
	bool		is_same = fee != NULL && strcmp(fee->currency, payment->amount.currency) == 0;
	int64		kept = is_same ? fee->units : 0;

	if (applied > 0)
		post_received(flow, payment, is_bad ? "recovery" : "payment", payment->invoice_id, is_bad ? "bad_debt" : "receivable", applied, kept, at);
	if (applied < payment->amount.units)
		post_received(flow, payment, "payment", 0, "customer_credit", payment->amount.units - applied, applied > 0 ? 0 : kept, at);
	if (fee != NULL && !is_same)
		billing_payment_post_fee(flow, payment, at, fee);
}

static void
post_received(BillingFlow *flow, const BillingPayment *payment, const char *kind, int64 invoice_id, const char *account, int64 units, int64 fee,
			  TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		" SELECT $1, $3, nullif($4, 0), $2, $5, CASE WHEN $9 = 0 THEN ARRAY['cash', $6] ELSE ARRAY['cash', $6, 'fees'] END,"
		"   CASE WHEN $9 = 0 THEN ARRAY[a.amount, -a.amount] ELSE ARRAY[a.amount - f.fee, -a.amount, f.fee] END"
		"   FROM (SELECT billing.from_minor_units($7, $8) AS amount) a, (SELECT billing.from_minor_units($9, $8) AS fee) f",
		.expected = SPI_OK_INSERT,
		.nargs = 9,
		.argtypes = {INT8OID, INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, TEXTOID, INT8OID, TEXTOID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), CStringGetTextDatum(kind), Int64GetDatum(invoice_id),
		TimestampTzGetDatum(at), CStringGetTextDatum(account), Int64GetDatum(units), CStringGetTextDatum(payment->amount.currency),
		Int64GetDatum(fee)
	};

	(void) billing_spi_run(&query, args, NULL);
}

void
billing_payment_post_fee(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET fee = billing.from_minor_units($3, $4) WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), Int64GetDatum(fee->units), CStringGetTextDatum(fee->currency)
	};

	(void) billing_spi_run(&query, args, NULL);
	if (fee->units > 0)
		billing_payment_post_charge(flow, payment, at, fee);
}

void
billing_payment_post_charge(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		" SELECT p.tenant_id, 'fee', p.invoice_id, p.payment_id, $3, '{fees,cash}', ARRAY[f.fee, -f.fee]"
		"   FROM billing.payment p CROSS JOIN (SELECT billing.from_minor_units($4, $5) AS fee) f"
		"  WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), TimestampTzGetDatum(at), Int64GetDatum(fee->units),
		CStringGetTextDatum(fee->currency)
	};

	(void) billing_spi_run(&query, args, NULL);
}

int64
billing_payment_left(BillingFlow *flow, const BillingPayment *payment, bool is_sent)
{
	static BillingQuery query = {
		.sql = "SELECT billing.minor_units(p.amount) - coalesce(billing.minor_units(p.reversed), 0) - coalesce((SELECT sum(billing.minor_units(r.amount))"
		"   FROM billing.refund r WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id"
		"     AND (r.status = 'succeeded' OR r.status = 'pending' AND $3) AND r.destination = 'method'), 0)::bigint"
		"   - coalesce((SELECT sum(billing.minor_units(d.amount) - coalesce(billing.minor_units(d.refunded), 0)) FROM billing.dispute d"
		"     WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id AND d.status = 'open'), 0)::bigint"
		"  FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, BOOLOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), BoolGetDatum(is_sent)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Add to what is paid of the invoice; true if that is all that was due. */
static bool
apply(BillingFlow *flow, const BillingPayment *payment, int64 applied, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET paid = i.paid + billing.from_minor_units($3, i.currency), version = i.version + 1,"
		"       status = CASE WHEN billing.minor_units(i.amount_due) = $3 THEN 'paid' ELSE i.status END,"
		"       paid_at = CASE WHEN billing.minor_units(i.amount_due) = $3 THEN $4 ELSE i.paid_at END"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING i.status = 'paid'",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->invoice_id), Int64GetDatum(applied), TimestampTzGetDatum(at)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetBool(billing_spi_value(0, 1, &isnull));
}

/* Money that no invoice asked for becomes credit, as that of top_up() does. */
static void
receive_top_up(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee)
{
	BillingGrant grant = {.source = "top_up", .amount = payment->amount, .payment_id = payment->payment_id};
	bool		is_same = fee != NULL && strcmp(fee->currency, payment->amount.currency) == 0;
	int64		grant_id;

	set_succeeded(flow, payment, at, fee, 0);
	billing_event_emit(flow->tenant_id, "payment.succeeded", payment->payment_id);
	grant_id = billing_wallet_grant(flow->tenant_id, &grant);
	billing_wallet_post_top_up(flow, grant_id, payment->payment_id, at, &payment->amount, is_same ? fee->units : 0);
	if (fee != NULL && !is_same)
		billing_payment_post_fee(flow, payment, at, fee);
	billing_notice_write_receipt(flow->tenant_id, payment->payment_id);
}

/* Credit in the wallet, or back to where it came from, by the setting. */
static void
give_excess(BillingFlow *flow, const BillingPayment *payment, int64 excess)
{
	BillingGrant grant = {
		.source = "overpayment", .amount = amount_of(payment, excess), .invoice_id = payment->invoice_id, .payment_id = payment->payment_id
	};

	if (is_excess_refunded(flow))
		refund_excess(flow, payment, excess);
	else
		(void) billing_wallet_grant(flow->tenant_id, &grant);
}

static bool
is_excess_refunded(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT billing.effective_setting('overpayment', t.settings) = 'refund' FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetBool(billing_spi_value(0, 1, &isnull));
}

static void
refund_excess(BillingFlow *flow, const BillingPayment *payment, int64 excess)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.refund AS r (tenant_id, refund_no, invoice_id, payment_id, status, amount, gateway, cause)"
		" SELECT p.tenant_id, CASE WHEN p.gateway IS NULL THEN 'excess/' || p.payment_id ELSE billing.new_merchant_no(p.tenant_id) END, p.invoice_id, p.payment_id,"
		"   'pending', billing.from_minor_units($3, billing.currency(p.amount)), p.gateway, 'excess'"
		"   FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2 RETURNING r.refund_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), Int64GetDatum(excess)};
	int64		refund_id;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	refund_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	billing_event_emit(flow->tenant_id, "refund.created", refund_id);
	if (payment->gateway != NULL)
		(void) billing_gateway_ask(flow->tenant_id, payment->gateway, BILLING_GATEWAY_REFUND, refund_id, 0);
}

static BillingAmount
amount_of(const BillingPayment *payment, int64 units)
{
	BillingAmount amount = payment->amount;

	amount.units = units;
	return amount;
}

/* The attempt of collection that it was made for has got the money. */
static void
settle_attempt(BillingFlow *flow, const BillingPayment *payment)
{
	BillingAttempt attempt = {.tenant_id = flow->tenant_id, .invoice_id = payment->invoice_id, .attempt_no = payment->attempt_no, .retry_no = payment->retry_no};

	if (payment->attempt_no >= 0)
		billing_collect_succeed(&attempt, payment->gateway);
}

void
billing_payment_end(BillingFlow *flow, const BillingPayment *payment, const char *status, const char *driver, const char *code, const char *reason)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = $3, failure_code = $4, failure_reason = $5, failed_at = billing.now(), version = p.version + 1"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID},
	};
	BillingAttempt attempt = {.tenant_id = flow->tenant_id, .invoice_id = payment->invoice_id, .attempt_no = payment->attempt_no, .retry_no = payment->retry_no};
	bool		is_failed = strcmp(status, "failed") == 0;
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), CStringGetTextDatum(status),
		code == NULL ? (Datum) 0 : CStringGetTextDatum(code), reason == NULL ? (Datum) 0 : CStringGetTextDatum(reason)
	};
	char		nulls[] = "     ";

	nulls[3] = code == NULL ? 'n' : ' ';
	nulls[4] = reason == NULL ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	billing_event_emit(flow->tenant_id, is_failed ? "payment.failed" : "payment.canceled", payment->payment_id);
	if (payment->attempt_no >= 0)
		billing_collect_fail(&attempt, driver == NULL ? NULL : payment->gateway, code == NULL ? status : code, reason);
}

/*
 * billing_payment_take_back
 *		The payer's bank has taken it back, or a part of it.
 *
 * What it paid of its invoice is owed again.  What became credit goes from there as far as it is left; what was used of that is
 * lost.
 */
void
billing_payment_take_back(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units, const char *account)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = 'reversed', version = p.version + 1,"
		"  reversed = billing.from_minor_units(coalesce(billing.minor_units(p.reversed), 0) + $3, billing.currency(p.amount))"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	int64		owed = payment->is_top_up ? 0 : Min(units, payment->applied);
	int64		credit = units - owed == 0 ? 0 : billing_wallet_take_back(flow, payment->payment_id, units - owed);
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), Int64GetDatum(units)};

	(void) billing_spi_run(&query, args, NULL);
	if (credit > 0)
		post_taken(flow, payment, 0, "customer_credit", account, credit, at);
	if (owed + credit < units)
		post_taken(flow, payment, 0, "bad_debt", account, units - owed - credit, at);
	billing_event_emit(flow->tenant_id, "payment.reversed", payment->payment_id);
	if (owed > 0)
		billing_payment_reopen(flow, payment, owed, account, at);
}

void
billing_payment_lose_refunded(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units, const char *account, bool is_noted)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET version = p.version + 1,"
		"  lost = billing.from_minor_units(coalesce(billing.minor_units(p.lost), 0) + $3, billing.currency(p.amount))"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), Int64GetDatum(units)};

	if (is_noted)
		(void) billing_spi_run(&query, args, NULL);
	post_taken(flow, payment, 0, "bad_debt", account, units, at);
}

static void
post_taken(BillingFlow *flow, const BillingPayment *payment, int64 invoice_id, const char *debit, const char *credit, int64 units, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		" SELECT $1, 'reversal', nullif($3, 0), $2, $4, ARRAY[$5, $6], ARRAY[a.amount, -a.amount]"
		"   FROM (SELECT billing.from_minor_units($7, $8) AS amount) a",
		.expected = SPI_OK_INSERT,
		.nargs = 8,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), Int64GetDatum(invoice_id), TimestampTzGetDatum(at),
		CStringGetTextDatum(debit), CStringGetTextDatum(credit), Int64GetDatum(units), CStringGetTextDatum(payment->amount.currency)
	};

	(void) billing_spi_run(&query, args, NULL);
}

void
billing_payment_reopen(BillingFlow *flow, const BillingPayment *payment, int64 units, const char *account, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET paid = i.paid - billing.from_minor_units($3, i.currency), version = i.version + 1, paid_at = NULL,"
		"       status = CASE WHEN i.status = 'paid' THEN 'open' ELSE i.status END"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING coalesce(i.subscription_id, 0)",
		.expected = SPI_OK_UPDATE_RETURNING,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	BillingInvoice invoice;
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->invoice_id), Int64GetDatum(units)};
	bool		isnull;

	billing_invoice_lock(flow, payment->invoice_id, &invoice);
	post_taken(flow, payment, payment->invoice_id, strcmp(invoice.status, "uncollectible") == 0 ? "bad_debt" : "receivable", account, units, at);
	(void) billing_spi_run(&query, args, NULL);
	billing_dunning_wake(flow->tenant_id, DatumGetInt64(billing_spi_value(0, 1, &isnull)));
}
