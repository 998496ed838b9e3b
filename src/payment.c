/*-------------------------------------------------------------------------
 *
 * payment.c
 *	  Money received for invoices.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "clock.h"
#include "invoice.h"
#include "payment.h"

BILLING_FUNCTION(billing_record_payment);

/* The arguments of record_payment. */
enum
{
	TENANT_ID, INVOICE_ID, AMOUNT, PAY_NO, METHOD, AT, REFERENCE
};

static void check_request(FunctionCallInfo fcinfo);
static char *amount_text(const BillingFlow *flow);
static bool find_same(BillingFlow *flow, Datum *row);
static void check_may_pay(BillingFlow *flow, const BillingInvoice *invoice);
static int64 insert_payment(BillingFlow *flow, TimestampTz at);

/*
 * billing_record_payment
 *		Money that came outside a gateway; the pay_no makes a retry harmless.
 *
 * What follows is that of any payment that came (payment_settle.c).
 */
Datum
billing_record_payment(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	BillingPayment payment;
	TimestampTz at;
	Datum		result;

	check_request(fcinfo);
	(void) billing_flow_begin(&flow, fcinfo, "record_payment", BILLING_NO_REQUEST, &result);
	if (find_same(&flow, &result))
		return billing_flow_end(&flow, result);

	billing_invoice_lock(&flow, PG_GETARG_INT64(INVOICE_ID), &invoice);
	check_may_pay(&flow, &invoice);
	at = PG_ARGISNULL(AT) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(AT);

	payment.payment_id = insert_payment(&flow, at);
	billing_payment_lock(&flow, payment.payment_id, &payment);
	billing_payment_receive(&flow, &payment, at, NULL);
	result = billing_payment_read(&flow, payment.payment_id);
	billing_flow_audit(&flow, "payment", payment.payment_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_request
 *		What can be refused before anything is read.
 */
static void
check_request(FunctionCallInfo fcinfo)
{
	const char *pay_no;

	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, INVOICE_ID, "invoice_id");
	billing_flow_require(fcinfo, AMOUNT, "amount");
	billing_flow_require(fcinfo, PAY_NO, "pay_no");
	billing_flow_require(fcinfo, METHOD, "method");

	pay_no = text_to_cstring(PG_GETARG_TEXT_PP(PAY_NO));
	if (pay_no[0] == '\0' || strlen(pay_no) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pay_no \"%.*s\" is not one", BILLING_QUOTED(pay_no, strlen(pay_no))),
				 errdetail("argument=pay_no bytes=%zu", strlen(pay_no)),
				 errhint("Give it 1 to 255 bytes that name the payment where the money came in.")));
	if (!PG_ARGISNULL(AT) &&
		(TIMESTAMP_IS_NOBEGIN(PG_GETARG_TIMESTAMPTZ(AT)) || PG_GETARG_TIMESTAMPTZ(AT) > billing_clock_now() + USECS_PER_DAY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the instant of a payment is infinite or more than a day ahead"),
				 errdetail("argument=at at=%s", timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(AT))),
				 errhint("Give it the instant at which the money came, or NULL for now.")));
}

static char *
amount_text(const BillingFlow *flow)
{
	return DatumGetCString(DirectFunctionCall1(billing_amount_out, flow->fcinfo->args[AMOUNT].value));
}

/*
 * find_same
 *		The payment there is under the pay_no; YB006 if it is another.
 *
 * The instant is compared only if the call states one.
 */
static bool
find_same(BillingFlow *flow, Datum *row)
{
	static BillingQuery query = {
		.sql = "SELECT p, p.invoice_id IS NOT DISTINCT FROM $3 AND p.amount = $4::billing.amount AND p.method = $5"
		"       AND coalesce(p.received_at = $6, true) AND p.reference IS NOT DISTINCT FROM $7 AND p.gateway IS NULL"
		"  FROM billing.payment p WHERE p.tenant_id = $1 AND p.pay_no = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 7,
		.argtypes = {INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {
		given[TENANT_ID].value, given[PAY_NO].value, given[INVOICE_ID].value,
		CStringGetTextDatum(amount_text(flow)), given[METHOD].value, given[AT].value, given[REFERENCE].value
	};
	char		nulls[] = "       ";
	bool		isnull;

	nulls[5] = given[AT].isnull ? 'n' : ' ';
	nulls[6] = given[REFERENCE].isnull ? 'n' : ' ';
	if (billing_spi_run(&query, args, nulls) == 0)
		return false;
	if (!DatumGetBool(billing_spi_value(0, 2, &isnull)))
		billing_flow_key_reused("payment", flow->tenant_id, "pay_no", TextDatumGetCString(given[PAY_NO].value));
	*row = billing_spi_copy(0, 1, flow->caller);
	return true;
}

/*
 * check_may_pay
 *		The invoice owes something, in this currency.  More than that is no error: the money is there.
 */
static void
check_may_pay(BillingFlow *flow, const BillingInvoice *invoice)
{
	const BillingAmount *amount = DatumGetBillingAmountP(flow->fcinfo->args[AMOUNT].value);

	if (strcmp(invoice->status, "open") != 0 && strcmp(invoice->status, "uncollectible") != 0)
		billing_invoice_refuse(invoice, "take a payment", "Only an open or uncollectible invoice does.");
	if (strcmp(amount->currency, invoice->currency) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("invoice %lld is owed in %s, not in %s",
						(long long) invoice->invoice_id, invoice->currency, amount->currency),
				 errdetail("object=invoice id=%lld currency=%s amount=%s",
						   (long long) invoice->invoice_id, invoice->currency, amount_text(flow)),
				 errhint("Record what was received in the currency of the invoice.")));

	if (amount->units <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a payment of %s is not one for invoice %lld", amount_text(flow), (long long) invoice->invoice_id),
				 errdetail("object=invoice id=%lld amount=%s", (long long) invoice->invoice_id, amount_text(flow)),
				 errhint("It is more than nothing; what goes back to the payer is a refund, by refund_payment().")));
}

static int64
insert_payment(BillingFlow *flow, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.payment AS p (tenant_id, pay_no, invoice_id, status, amount, method, reference, received_at)"
		" VALUES ($1, $2, $3, 'succeeded', $4::billing.amount, $5, $7, $6) RETURNING p.payment_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 7,
		.argtypes = {INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {
		given[TENANT_ID].value, given[PAY_NO].value, given[INVOICE_ID].value,
		CStringGetTextDatum(amount_text(flow)), given[METHOD].value, TimestampTzGetDatum(at), given[REFERENCE].value
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, given[REFERENCE].isnull ? "      n" : NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}
