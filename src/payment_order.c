/*-------------------------------------------------------------------------
 *
 * payment_order.c
 *	  Payments that are asked of gateways: begun, called off, asked after.
 *
 * Of an invoice one payment is in flight at a time.  Who asks for another changes his mind: the first is called off, here at once
 * and at its gateway by a request, if it waits for a person only.  Where money may be on its way the second is refused: it could be taken twice.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "card_guard.h"
#include "clock.h"
#include "dunning.h"
#include "event.h"
#include "gateway_account.h"
#include "gateway_request.h"
#include "id.h"
#include "invoice.h"
#include "merchant_no.h"
#include "overdue.h"
#include "payment.h"
#include "sealed.h"
#include "subscription.h"
#include "wallet.h"
#include "wallet_book.h"

BILLING_FUNCTION(billing_create_payment);
BILLING_FUNCTION(billing_cancel_payment);
BILLING_FUNCTION(billing_confirm_payment);
BILLING_FUNCTION(billing_fail_payment);
BILLING_FUNCTION(billing_resync_payment);
BILLING_FUNCTION(billing_find_payment);
BILLING_FUNCTION(billing_pay_invoice);
BILLING_FUNCTION(billing_payment_client_secret);

/* The arguments of create_payment. */
enum
{
	TENANT_ID, INVOICE_ID, AMOUNT, PAY_NO, GATEWAY, METHOD, RETURN_URL, EXPIRES_AT, PURPOSE, PAYMENT_METHOD_ID, PAYER_ID, DESCRIPTION,
	METADATA, REQUEST_ID
};

/* What is asked of a gateway about a payment, but to take it. */
#define ASKED_OF_PAYMENT \
	(1 << BILLING_GATEWAY_PAY | 1 << BILLING_GATEWAY_CAPTURE | 1 << BILLING_GATEWAY_QUERY | 1 << BILLING_GATEWAY_CLOSE)

static void check_order(FunctionCallInfo fcinfo);
static void check_pay_no(const BillingFlow *flow, const char *pay_no);
static bool find_same(BillingFlow *flow, Datum *row);
static void read_order(BillingFlow *flow, BillingPaymentOrder *order);
static void read_method(BillingFlow *flow, int64 payment_method_id, BillingPaymentOrder *order);
static void check_invoice(BillingFlow *flow, const BillingInvoice *invoice, const BillingAmount *amount);
static void make_room(BillingFlow *flow, int64 invoice_id);
static bool waits_again(BillingFlow *flow, const BillingPayment *payment);
static int64 insert_payment(BillingFlow *flow, const BillingPaymentOrder *order);
static Datum decide(FunctionCallInfo fcinfo, const char *name, int request_arg, bool is_confirmed);
static void check_is_for_person(BillingFlow *flow, const BillingPayment *payment, const char *action);
pg_noreturn static void refuse(const BillingFlow *flow, const BillingPayment *payment, const char *action, const char *hint);
static void draw_from_wallet(BillingFlow *flow, const BillingInvoice *invoice);
static int64 choose_method(BillingFlow *flow, const BillingInvoice *invoice);

/*
 * billing_create_payment
 *		Ask a gateway for a payment of an invoice, or for credit; the pay_no makes a retry harmless.
 */
Datum
billing_create_payment(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPaymentOrder order = {.attempt_no = -1};
	int64		payment_id;
	Datum		result;

	check_order(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "create_payment", REQUEST_ID, &result))
		return result;
	if (!PG_ARGISNULL(PAY_NO) && find_same(&flow, &result))
		return billing_flow_end(&flow, result);

	read_order(&flow, &order);
	payment_id = billing_payment_begin(&flow, &order);
	result = billing_payment_read(&flow, payment_id);
	billing_flow_audit(&flow, "payment", payment_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_order
 *		What can be refused before anything is read.
 */
static void
check_order(FunctionCallInfo fcinfo)
{
	bool		is_top_up;

	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, PURPOSE, "purpose");
	is_top_up = billing_text_equals(PG_GETARG_TEXT_PP(PURPOSE), "top_up");
	if (!is_top_up && !billing_text_equals(PG_GETARG_TEXT_PP(PURPOSE), "invoice"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("that is no purpose of a payment"),
				 errdetail("argument=purpose"),
				 errhint("Purposes are: invoice, top_up.")));
	if (is_top_up != PG_ARGISNULL(INVOICE_ID))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a payment of an invoice names it, and a top-up names none"),
				 errdetail("argument=invoice_id purpose=%s", is_top_up ? "top_up" : "invoice"),
				 errhint("Give it the invoice that it pays, or purpose => 'top_up'.")));
	if (is_top_up)
		billing_flow_require(fcinfo, AMOUNT, "amount");
	if (!PG_ARGISNULL(AMOUNT))
		billing_wallet_check_amount(PG_GETARG_BILLING_AMOUNT_P(AMOUNT));
	if (PG_ARGISNULL(PAYMENT_METHOD_ID))
	{
		billing_flow_require(fcinfo, GATEWAY, "gateway");
		billing_flow_require(fcinfo, METHOD, "method");
	}
	billing_flow_require(fcinfo, METADATA, "metadata");
	if (!JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(METADATA)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("metadata of a payment is not an object"),
				 errdetail("argument=metadata"),
				 errhint("Pass an object such as {\"order\": 17}.")));
	if (!PG_ARGISNULL(EXPIRES_AT) && TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(EXPIRES_AT)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a payment ends at an instant, or not"),
				 errdetail("argument=expires_at"),
				 errhint("Give it the instant until which it can be paid, or NULL.")));
}

/* It is the order number at the gateway, and has to find its way back. */
static void
check_pay_no(const BillingFlow *flow, const char *pay_no)
{
	int64		tenant_id;

	if (billing_merchant_no_read(pay_no, strlen(pay_no), &tenant_id) && tenant_id == flow->tenant_id)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("pay_no \"%.*s\" is not one of tenant %lld", BILLING_QUOTED(pay_no, strlen(pay_no)), (long long) flow->tenant_id),
			 errdetail("argument=pay_no tenant_id=%lld bytes=%zu", (long long) flow->tenant_id, strlen(pay_no)),
			 errhint("Give it the tenant, an underscore, then letters, digits and underscores, %d to %d bytes in all, such as %lld_order17, or NULL.",
					 BILLING_MERCHANT_NO_MIN, BILLING_MERCHANT_NO_MAX, (long long) flow->tenant_id)));
}

/* The payment there is under the pay_no; YB006 if it was asked for otherwise. */
static bool
find_same(BillingFlow *flow, Datum *row)
{
	static BillingQuery query = {
		.sql = "SELECT p, p.invoice_id IS NOT DISTINCT FROM $3 AND coalesce(p.amount = billing.from_minor_units($4, $5), true)"
		"   AND coalesce(p.gateway = $6, $10 IS NOT NULL) AND coalesce(p.method = $7, $10 IS NOT NULL) AND p.return_url IS NOT DISTINCT FROM $8"
		"   AND p.purpose = $9 AND p.payment_method_id IS NOT DISTINCT FROM $10 AND p.payer_id IS NOT DISTINCT FROM $11"
		"   AND p.description IS NOT DISTINCT FROM $12 AND p.metadata = $13 AND p.gateway IS NOT NULL"
		"  FROM billing.payment p WHERE p.tenant_id = $1 AND p.pay_no = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 13,
		.argtypes = {INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, JSONBOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	const BillingAmount *amount = given[AMOUNT].isnull ? NULL : DatumGetBillingAmountP(given[AMOUNT].value);
	Datum		args[] = {
		given[TENANT_ID].value, given[PAY_NO].value, given[INVOICE_ID].value, Int64GetDatum(amount == NULL ? 0 : amount->units),
		amount == NULL ? (Datum) 0 : CStringGetTextDatum(amount->currency), given[GATEWAY].value, given[METHOD].value, given[RETURN_URL].value,
		given[PURPOSE].value, given[PAYMENT_METHOD_ID].value, given[PAYER_ID].value, given[DESCRIPTION].value,
		given[METADATA].value
	};
	bool		are_null[] = {
		false, false, given[INVOICE_ID].isnull, amount == NULL, amount == NULL, given[GATEWAY].isnull, given[METHOD].isnull, given[RETURN_URL].isnull,
		false, given[PAYMENT_METHOD_ID].isnull, given[PAYER_ID].isnull, given[DESCRIPTION].isnull, false
	};
	char		nulls[] = "             ";
	const char *pay_no = TextDatumGetCString(given[PAY_NO].value);
	bool		isnull;

	check_pay_no(flow, pay_no);
	for (int i = 0; i < lengthof(are_null); i++)
		nulls[i] = are_null[i] ? 'n' : ' ';
	if (billing_spi_run(&query, args, nulls) == 0)
		return false;
	if (!DatumGetBool(billing_spi_value(0, 2, &isnull)))
		billing_flow_key_reused("payment", flow->tenant_id, "pay_no", pay_no);
	*row = billing_spi_copy(0, 1, flow->caller);
	return true;
}

static void
read_order(BillingFlow *flow, BillingPaymentOrder *order)
{
	NullableDatum *given = flow->fcinfo->args;

	order->invoice_id = given[INVOICE_ID].isnull ? 0 : DatumGetInt64(given[INVOICE_ID].value);
	order->amount = given[AMOUNT].isnull ? NULL : DatumGetBillingAmountP(given[AMOUNT].value);
	order->pay_no = given[PAY_NO].isnull ? NULL : TextDatumGetCString(given[PAY_NO].value);
	order->return_url = given[RETURN_URL].isnull ? (Datum) 0 : given[RETURN_URL].value;
	order->payer_id = given[PAYER_ID].isnull ? (Datum) 0 : given[PAYER_ID].value;
	order->description = given[DESCRIPTION].isnull ? (Datum) 0 : given[DESCRIPTION].value;
	order->metadata = given[METADATA].value;
	if (!given[EXPIRES_AT].isnull && DatumGetTimestampTz(given[EXPIRES_AT].value) <= billing_clock_now())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a payment that has expired cannot be made"),
				 errdetail("argument=expires_at expires_at=%s", timestamptz_to_str(DatumGetTimestampTz(given[EXPIRES_AT].value))),
				 errhint("Give it an instant that lies ahead, or NULL for setting pending_timeout.")));
	order->expires_at = given[EXPIRES_AT].isnull ? 0 : DatumGetTimestampTz(given[EXPIRES_AT].value);
	if (!given[PAYMENT_METHOD_ID].isnull)
		read_method(flow, DatumGetInt64(given[PAYMENT_METHOD_ID].value), order);
	else
	{
		order->gateway = TextDatumGetCString(given[GATEWAY].value);
		billing_gateway_account_require(order->gateway);
		order->method = TextDatumGetCString(given[METHOD].value);
	}
}

/* A stored method says by which gateway it is charged, and what it is. */
static void
read_method(BillingFlow *flow, int64 payment_method_id, BillingPaymentOrder *order)
{
	static BillingQuery query = {
		.sql = "SELECT m.gateway, m.type, m.status FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.payment_method_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id)};
	const char *status;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("payment_method", flow->tenant_id, psprintf("%lld", (long long) payment_method_id));
	order->payment_method_id = payment_method_id;
	order->gateway = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	order->method = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	status = TextDatumGetCString(billing_spi_value(0, 3, &isnull));
	if (strcmp(status, "active") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("payment method %lld is %s and cannot be charged", (long long) payment_method_id, status),
				 errdetail("object=payment_method id=%lld status=%s", (long long) payment_method_id, status),
				 errhint("Only an active one can.")));
}

int64
billing_payment_begin(BillingFlow *flow, const BillingPaymentOrder *order)
{
	BillingPaymentOrder made = *order;
	BillingAmount due;
	int64		payment_id;

	if (order->invoice_id != 0)
	{
		BillingInvoice invoice;

		billing_invoice_lock(flow, order->invoice_id, &invoice);
		due = *DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(invoice.amount_due)));
		if (made.amount == NULL)
			made.amount = &due;
		check_invoice(flow, &invoice, made.amount);
		make_room(flow, order->invoice_id);
	}
	else
		billing_flow_check_open(flow, "credit", "A closed tenant stays closed: create another one.");
	payment_id = insert_payment(flow, &made);
	billing_event_emit(flow->tenant_id, "payment.created", payment_id);
	(void) billing_gateway_answer_here(flow, billing_gateway_ask(flow->tenant_id, made.gateway, BILLING_GATEWAY_PAY, payment_id, 0));
	return payment_id;
}

/* The invoice is owed, in this currency, at least this much. */
static void
check_invoice(BillingFlow *flow, const BillingInvoice *invoice, const BillingAmount *amount)
{
	BillingAmount due;
	const char *text = DatumGetCString(DirectFunctionCall1(billing_amount_out, PointerGetDatum(amount)));

	if (strcmp(invoice->status, "open") != 0 && strcmp(invoice->status, "uncollectible") != 0)
		billing_invoice_refuse(invoice, "take a payment", "Only an open or uncollectible invoice does.");
	due = *DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(invoice->amount_due)));
	if (strcmp(amount->currency, due.currency) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("invoice %lld is owed in %s, not in %s", (long long) invoice->invoice_id, due.currency, amount->currency),
				 errdetail("object=invoice id=%lld currency=%s amount=%s", (long long) invoice->invoice_id, due.currency, text),
				 errhint("Ask for the currency of the invoice.")));
	if (amount->units > due.units)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a payment of %s is not one for invoice %lld", text, (long long) invoice->invoice_id),
				 errdetail("object=invoice id=%lld amount=%s amount_due=%s", (long long) invoice->invoice_id, text, invoice->amount_due),
				 errhint("A payment is at most what is due.")));
}

/* Call off what is in flight for the invoice, if that is only waited for. */
static void
make_room(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT p.payment_id FROM billing.payment p WHERE p.tenant_id = $1 AND p.invoice_id = $2"
		"   AND p.status IN ('pending', 'processing', 'requires_action', 'unknown')",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};
	BillingPayment payment;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return;
	billing_payment_lock(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), &payment);
	if (!billing_payment_is_in_flight(&payment))
		return;
	if (!billing_payment_may_call_off(flow, &payment))
		refuse(flow, &payment, "make room for another",
			   "Money may be on its way: wait until it has succeeded or failed, or ask by billing.resync_payment().");
	billing_payment_call_off(flow, &payment, "another payment was asked for");
}

/*
 * billing_payment_may_call_off
 *		Nothing was sent yet, or nothing has happened so far, or it waits for a person; also while it is being sent, if nobody can have
 *		paid it since nobody was shown it.
 */
bool
billing_payment_may_call_off(BillingFlow *flow, const BillingPayment *payment)
{
	if (strcmp(payment->status, "processing") == 0)
		return (payment->payment_method_id == 0 && !payment->is_shown) || waits_again(flow, payment);
	return strcmp(payment->status, "pending") == 0 || strcmp(payment->status, "requires_action") == 0;
}

/* The last that is known is that nothing has happened, and nobody is sending it, nor begins to: the sender claims without the tenant's lock. */
static bool
waits_again(BillingFlow *flow, const BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway_request r WHERE r.tenant_id = $1 AND r.object_id = $2 AND r.operation = 'pay' AND r.state = 'waiting'"
		"   AND r.outcome = 'retry' FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * billing_payment_call_off
 *		End a payment that waits, here and, where it was sent, at its gateway.
 *
 * While it is being sent there may be nothing to close yet: that is asked for behind its answer, or the end of its claim.
 */
void
billing_payment_call_off(BillingFlow *flow, const BillingPayment *payment, const char *reason)
{
	bool		is_sent = strcmp(payment->status, "pending") != 0 && !(strcmp(payment->status, "processing") == 0 && waits_again(flow, payment));

	billing_payment_end(flow, payment, "canceled", NULL, "canceled", reason);
	billing_gateway_forget(flow->tenant_id, payment->payment_id, ASKED_OF_PAYMENT);
	if (is_sent)
		(void) billing_gateway_ask(flow->tenant_id, payment->gateway, BILLING_GATEWAY_CLOSE, payment->payment_id,
								   billing_gateway_busy_until(flow->tenant_id, payment->payment_id, BILLING_GATEWAY_PAY));
}

/* One that a person goes on with ends some day, as the setting says, if nothing else does. */
static int64
insert_payment(BillingFlow *flow, const BillingPaymentOrder *order)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.payment AS p (tenant_id, pay_no, invoice_id, purpose, status, amount, method, gateway, payment_method_id,"
		"   return_url, payer_id, description, expires_at, attempt_no, retry_no, metadata)"
		" SELECT t.tenant_id, $2, nullif($3, 0), CASE $3 WHEN 0 THEN 'top_up' ELSE 'invoice' END, 'pending', billing.from_minor_units($4, $5), $6, $7,"
		"   nullif($8, 0), $9, $10, $11, CASE WHEN $8 = 0 THEN coalesce($12, billing.now() + billing.effective_setting('pending_timeout', t.settings)::interval)"
		"     ELSE $12 END, nullif($13, -1), CASE WHEN $13 >= 0 THEN $14 END,"
		"   coalesce($15, '{}')"
		"   FROM billing.tenant t WHERE t.tenant_id = $1 RETURNING p.payment_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 15,
		.argtypes = {INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID,
		INT4OID, JSONBOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), CStringGetTextDatum(order->pay_no != NULL ? order->pay_no : billing_merchant_no_new(flow->tenant_id)),
		Int64GetDatum(order->invoice_id), Int64GetDatum(order->amount->units), CStringGetTextDatum(order->amount->currency),
		CStringGetTextDatum(order->method), CStringGetTextDatum(order->gateway), Int64GetDatum(order->payment_method_id), order->return_url,
		order->payer_id, order->description, TimestampTzGetDatum(order->expires_at), Int32GetDatum(order->attempt_no), Int32GetDatum(order->retry_no),
		order->metadata
	};
	char		nulls[] = "               ";
	bool		isnull;

	nulls[8] = order->return_url == (Datum) 0 ? 'n' : ' ';
	nulls[9] = order->payer_id == (Datum) 0 ? 'n' : ' ';
	nulls[10] = order->description == (Datum) 0 ? 'n' : ' ';
	nulls[11] = order->expires_at == 0 ? 'n' : ' ';
	nulls[14] = order->metadata == (Datum) 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/*
 * billing_cancel_payment
 *		Call off a payment that waits; calling it off again changes nothing.
 */
Datum
billing_cancel_payment(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPayment payment;
	Datum		result;

	billing_flow_require(fcinfo, 1, "pay_no");
	if (!PG_ARGISNULL(2))
		billing_card_refuse(PG_GETARG_TEXT_PP(2));
	if (billing_flow_begin(&flow, fcinfo, "cancel_payment", 3, &result))
		return result;
	billing_payment_find(&flow, PG_GETARG_DATUM(1), &payment);
	if (strcmp(payment.status, "canceled") == 0)
		return billing_flow_end(&flow, payment.row);
	if (!billing_payment_may_call_off(&flow, &payment))
		refuse(&flow, &payment, "be canceled", "One that waits can: for its turn, for its gateway to be there again, or for a person.");
	billing_payment_call_off(&flow, &payment, PG_ARGISNULL(2) ? "it was canceled" : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	billing_dunning_catch_up(&flow);
	result = billing_payment_read(&flow, payment.payment_id);
	billing_flow_audit(&flow, "payment", payment.payment_id, payment.row, result);
	return billing_flow_end(&flow, result);
}

/*
 * billing_confirm_payment
 *		A person says that a payment has come.
 */
Datum
billing_confirm_payment(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, "confirm_payment", 3, true);
}

/*
 * billing_fail_payment
 *		A person says that it has not.
 */
Datum
billing_fail_payment(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, "fail_payment", 4, false);
}

/* The tenant and pay_no stand first; then an instant, or a code and a reason. */
static Datum
decide(FunctionCallInfo fcinfo, const char *name, int request_arg, bool is_confirmed)
{
	BillingFlow flow;
	BillingPayment payment;
	Datum		result;

	billing_flow_require(fcinfo, 1, "pay_no");
	if (!is_confirmed)
		billing_flow_require(fcinfo, 2, "code");
	for (int i = 2; !is_confirmed && i <= 3; i++)
	{
		if (!PG_ARGISNULL(i))
			billing_card_refuse(PG_GETARG_TEXT_PP(i));
	}
	if (billing_flow_begin(&flow, fcinfo, name, request_arg, &result))
		return result;
	billing_payment_find(&flow, PG_GETARG_DATUM(1), &payment);
	if (strcmp(payment.status, is_confirmed ? "succeeded" : "failed") == 0)
		return billing_flow_end(&flow, payment.row);
	check_is_for_person(&flow, &payment, is_confirmed ? "be confirmed" : "fail");
	if (is_confirmed)
		billing_payment_receive(&flow, &payment, PG_ARGISNULL(2) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(2), NULL);
	else
		billing_payment_end(&flow, &payment, "failed", NULL, text_to_cstring(PG_GETARG_TEXT_PP(2)),
							PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	billing_gateway_forget(flow.tenant_id, payment.payment_id, ASKED_OF_PAYMENT);
	if (!is_confirmed)
		billing_dunning_catch_up(&flow);
	result = billing_payment_read(&flow, payment.payment_id);
	billing_flow_audit(&flow, "payment", payment.payment_id, payment.row, result);
	return billing_flow_end(&flow, result);
}

/* What a gateway knows is asked of it; a person knows what came to the bank, and what no gateway would tell. */
static void
check_is_for_person(BillingFlow *flow, const BillingPayment *payment, const char *action)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway g WHERE g.code = $1 AND g.driver = 'manual'",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		args[1];

	if (payment->gateway == NULL)
		refuse(flow, payment, action, "It came outside any gateway, and stays as it was recorded.");
	if (!billing_payment_is_in_flight(payment) && strcmp(payment->status, "failed") != 0 && strcmp(payment->status, "canceled") != 0)
		refuse(flow, payment, action, "One that has succeeded is refunded, by billing.refund_payment().");
	args[0] = CStringGetTextDatum(payment->gateway);
	if (strcmp(payment->status, "unknown") != 0 && billing_spi_run(&query, args, NULL) == 0)
		refuse(flow, payment, action, "Its gateway knows: billing.resync_payment() asks. A person says so of driver manual, and of one that is unknown.");
}

static void
refuse(const BillingFlow *flow, const BillingPayment *payment, const char *action, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("payment \"%s\" of tenant %lld is %s and cannot %s", payment->pay_no, (long long) flow->tenant_id, payment->status, action),
			 errdetail("object=payment id=%lld pay_no=%s status=%s", (long long) payment->payment_id, payment->pay_no, payment->status),
			 errhint("%s", hint)));
}

/*
 * billing_resync_payment
 *		Ask the gateway now what became of a payment.
 */
Datum
billing_resync_payment(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPayment payment;
	Datum		result;

	billing_flow_require(fcinfo, 1, "pay_no");
	(void) billing_flow_begin(&flow, fcinfo, "resync_payment", BILLING_NO_REQUEST, &result);
	billing_payment_find(&flow, PG_GETARG_DATUM(1), &payment);
	if (payment.gateway == NULL)
		refuse(&flow, &payment, "be asked after", "It came outside any gateway.");
	(void) billing_gateway_answer_here(&flow, billing_gateway_ask(flow.tenant_id, payment.gateway, BILLING_GATEWAY_QUERY, payment.payment_id, 0));
	return billing_flow_end(&flow, billing_payment_read(&flow, payment.payment_id));
}

/*
 * billing_find_payment
 *		The payment of a pay_no.
 */
Datum
billing_find_payment(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT p FROM billing.payment p WHERE p.tenant_id = $1 AND p.pay_no = $2",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	Datum		row;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "pay_no");
	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("payment", PG_GETARG_INT64(0), psprintf("\"%s\"", TextDatumGetCString(PG_GETARG_DATUM(1))));
	row = billing_spi_copy(0, 1, caller);
	billing_spi_end();
	PG_RETURN_DATUM(row);
}

/*
 * billing_payment_client_secret
 *		What the gateway's form in the payer's browser needs, opened for the application that shows it.
 */
Datum
billing_payment_client_secret(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT p.client_secret FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	BillingFlow flow;
	BillingPayment payment;
	Datum		args[2];
	Datum		value;
	MemoryContext old;
	char	   *secret;
	bool		isnull;

	billing_flow_require(fcinfo, 1, "pay_no");
	(void) billing_flow_begin(&flow, fcinfo, "payment_client_secret", BILLING_NO_REQUEST, &value);
	billing_payment_find(&flow, PG_GETARG_DATUM(1), &payment);
	args[0] = Int64GetDatum(flow.tenant_id);
	args[1] = Int64GetDatum(payment.payment_id);
	(void) billing_spi_run(&query, args, NULL);
	value = billing_spi_value(0, 1, &isnull);
	if (isnull)
	{
		(void) billing_flow_end(&flow, (Datum) 0);
		PG_RETURN_NULL();
	}
	secret = billing_sealed_open(flow.tenant_id, "client_secret", DatumGetBillingSealedP(value));
	old = MemoryContextSwitchTo(flow.caller);
	value = CStringGetTextDatum(secret);
	MemoryContextSwitchTo(old);
	billing_sealed_forget(secret);
	return billing_flow_end(&flow, value);
}

/*
 * billing_pay_invoice
 *		Pay what is due: by the credit in the wallet first, then by a stored method.
 *
 * Not while a payment may be happening, whose money the credit would leave nothing to pay.
 */
Datum
billing_pay_invoice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	BillingPaymentOrder order = {.attempt_no = -1};
	Datum		result;

	billing_flow_require(fcinfo, 1, "invoice_id");
	if (billing_flow_begin(&flow, fcinfo, "pay_invoice", 3, &result))
		return result;
	billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	if (strcmp(invoice.status, "open") == 0)
	{
		make_room(&flow, invoice.invoice_id);
		draw_from_wallet(&flow, &invoice);
		billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	}
	if (strcmp(invoice.status, "paid") != 0)
	{
		order.invoice_id = invoice.invoice_id;
		read_method(&flow, PG_ARGISNULL(2) ? choose_method(&flow, &invoice) : PG_GETARG_INT64(2), &order);
		(void) billing_payment_begin(&flow, &order);
		billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	}
	billing_flow_audit(&flow, "invoice", invoice.invoice_id, (Datum) 0, invoice.row);
	return billing_flow_end(&flow, invoice.row);
}

/*
 * draw_from_wallet
 *		Let the credit there is pay as much as it can: what came into the wallet since the invoice became final.
 */
static void
draw_from_wallet(BillingFlow *flow, const BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET credited = i.credited + billing.from_minor_units($3, i.currency),"
		"   wallet_applied = i.wallet_applied + billing.from_minor_units($4, i.currency), version = i.version + 1,"
		"   status = CASE WHEN billing.minor_units(i.amount_due) = $3 + $4 THEN 'paid' ELSE i.status END,"
		"   paid_at = CASE WHEN billing.minor_units(i.amount_due) = $3 + $4 THEN $5 ELSE i.paid_at END"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING i.status = 'paid'",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	BillingAmount due = *DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(invoice->amount_due)));
	TimestampTz now = billing_clock_now();
	BillingWalletBook *book;
	int64		credited;
	int64		applied;
	Datum		args[5];
	bool		isnull;

	PushActiveSnapshot(GetLatestSnapshot());
	book = billing_wallet_book_open(billing_id_array_of(flow->tenant_id), now);
	billing_wallet_book_draw(book, flow->tenant_id, invoice->invoice_id, &due, &credited, &applied);
	billing_wallet_book_close(book);
	PopActiveSnapshot();
	if (credited + applied == 0)
		return;
	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = Int64GetDatum(invoice->invoice_id);
	args[2] = Int64GetDatum(credited);
	args[3] = Int64GetDatum(applied);
	args[4] = TimestampTzGetDatum(now);
	(void) billing_spi_run(&query, args, NULL);
	if (!DatumGetBool(billing_spi_value(0, 1, &isnull)))
		return;
	billing_event_emit(flow->tenant_id, "invoice.paid", invoice->invoice_id);
	if (invoice->subscription_id == 0)
		return;
	billing_subscription_activate(flow->tenant_id, invoice->subscription_id, now);
	billing_overdue_settle(flow);
}

/* As the timetable would (billing.collection_method): the subscription's own while it can be charged, else the tenant's default. */
static int64
choose_method(BillingFlow *flow, const BillingInvoice *invoice)
{
	static BillingQuery query = {
		.sql = "SELECT c.payment_method_id FROM (SELECT billing.collection_method($1, $2)) c (payment_method_id) WHERE c.payment_method_id IS NOT NULL",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice->invoice_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("tenant %lld has no payment method that can be charged", (long long) flow->tenant_id),
				 errdetail("object=payment_method tenant_id=%lld invoice_id=%lld amount_due=%s", (long long) flow->tenant_id,
						   (long long) invoice->invoice_id, invoice->amount_due),
				 errhint("A bank transfer is not charged, nor is a method by which a payment of this invoice was disputed and lost, unless payment_method_id names it; add one by billing.add_payment_method(), or let somebody pay by billing.create_payment().")));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}
