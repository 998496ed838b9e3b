/*-------------------------------------------------------------------------
 *
 * refund_payment.c
 *	  Give money of a payment back, or turn it into credit.
 *
 * What went for an invoice comes from it: a credit note takes back as much of it, or (reopen) it is owed again.  What went
 * for credit, or became that because nothing was due (excess), comes from that, as far as it is left.  Never more goes back
 * than was captured and is still there, whoever asks at the same time: the tenant's lock keeps two calls apart.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "clock.h"
#include "credit_note.h"
#include "invoice.h"
#include "merchant_no.h"
#include "news.h"
#include "payment.h"
#include "refund.h"
#include "wallet.h"
#include "wallet_book.h"

BILLING_FUNCTION(billing_refund_payment);

enum
{
	TENANT_ID, PAY_NO, AMOUNT, REASON, REFUND_NO, DESTINATION, REOPEN, EXCESS
};

/* A refund that a gateway made of its own accord. */
typedef struct Made
{
	BillingFlow *flow;
	const BillingPayment *payment;
	const BillingNews *news;
	BillingRefundOrder order;
	bool		is_excess;		/* of what nothing was due for */
} Made;

static void check_request(FunctionCallInfo fcinfo);
static bool is_to_wallet(FunctionCallInfo fcinfo);
static bool find_same(BillingFlow *flow, Datum *row);
static void check_payment(BillingFlow *flow, const BillingPayment *payment);
static bool is_there(BillingFlow *flow, const BillingPayment *payment);
static void check_refund_no(const BillingFlow *flow, const BillingPayment *payment);
static BillingAmount choose_amount(BillingFlow *flow, const BillingPayment *payment);
static int64 units_left(BillingFlow *flow, const BillingPayment *payment, bool is_excess);
static int64 left_of_invoice(BillingFlow *flow, const BillingPayment *payment);
static int64 left_of_grant(BillingFlow *flow, const BillingPayment *payment);
static int64 left_of_excess(BillingFlow *flow, const BillingPayment *payment);
static void refund_invoice(BillingFlow *flow, const BillingPayment *payment, const BillingRefundOrder *order);
static void reopen_invoice(BillingFlow *flow, const BillingPayment *payment, const BillingRefundOrder *order);
static void refund_credit(BillingFlow *flow, const BillingPayment *payment, const BillingRefundOrder *order);
static int64 find_refund(BillingFlow *flow, const char *refund_no);
static int64 find_made(BillingFlow *flow, const BillingNews *news);
static const char *check_made(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, bool *is_excess);
static void book_made(void *set, int from, int count);

/*
 * billing_refund_payment
 *		One refund of a payment; its refund_no makes a retry harmless.
 */
Datum
billing_refund_payment(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingPayment payment;
	BillingRefundOrder order = {0};
	int64		refund_id;
	Datum		result;

	check_request(fcinfo);
	(void) billing_flow_begin(&flow, fcinfo, "refund_payment", BILLING_NO_REQUEST, &result);
	if (!PG_ARGISNULL(REFUND_NO) && find_same(&flow, &result))
		return billing_flow_end(&flow, result);
	billing_payment_find(&flow, PG_GETARG_DATUM(PAY_NO), &payment);
	check_payment(&flow, &payment);
	check_refund_no(&flow, &payment);

	order.payment_id = payment.payment_id;
	order.invoice_id = payment.invoice_id;
	order.amount = choose_amount(&flow, &payment);
	order.is_to_wallet = is_to_wallet(fcinfo);
	order.gateway = order.is_to_wallet ? NULL : payment.gateway;
	order.refund_no = PG_ARGISNULL(REFUND_NO) ? billing_merchant_no_new(flow.tenant_id) : text_to_cstring(PG_GETARG_TEXT_PP(REFUND_NO));
	order.cause = payment.is_top_up ? "top_up" : PG_GETARG_BOOL(EXCESS) ? "excess" : PG_GETARG_BOOL(REOPEN) ? "reopening" : "credit_note";
	order.reason = PG_ARGISNULL(REASON) ? (Datum) 0 : PG_GETARG_DATUM(REASON);
	if (payment.is_top_up || PG_GETARG_BOOL(EXCESS))
		refund_credit(&flow, &payment, &order);
	else if (PG_GETARG_BOOL(REOPEN))
		reopen_invoice(&flow, &payment, &order);
	else
		refund_invoice(&flow, &payment, &order);

	refund_id = find_refund(&flow, order.refund_no);
	result = billing_refund_read(&flow, refund_id);
	billing_flow_audit(&flow, "refund", refund_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

/*
 * check_request
 *		What can be refused before anything is read.
 */
static void
check_request(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, TENANT_ID, "tenant_id");
	billing_flow_require(fcinfo, PAY_NO, "pay_no");
	billing_flow_require(fcinfo, DESTINATION, "destination");
	billing_flow_require(fcinfo, REOPEN, "reopen");
	billing_flow_require(fcinfo, EXCESS, "excess");
	(void) is_to_wallet(fcinfo);
	if (!PG_ARGISNULL(REFUND_NO))
		billing_wallet_check_key(PG_GETARG_DATUM(REFUND_NO), "refund_no");
	if (!PG_ARGISNULL(AMOUNT))
		billing_wallet_check_amount(PG_GETARG_BILLING_AMOUNT_P(AMOUNT));
}

static bool
is_to_wallet(FunctionCallInfo fcinfo)
{
	const text *destination = PG_GETARG_TEXT_PP(DESTINATION);

	if (billing_text_equals(destination, "wallet"))
		return true;
	if (billing_text_equals(destination, "method"))
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("destination \"%.*s\" does not exist", BILLING_QUOTED(VARDATA_ANY(destination), VARSIZE_ANY_EXHDR(destination))),
			 errdetail("argument=destination"),
			 errhint("Destinations are: method, wallet.")));
}

/*
 * find_same
 *		The refund there is under the refund_no; YB006 if it is another.
 *
 * The amount is compared only if the call states one: what was left then is not what is left now.
 */
static bool
find_same(BillingFlow *flow, Datum *row)
{
	static BillingQuery query = {
		.sql = "SELECT r.refund_id, p.pay_no = $3 AND coalesce(r.amount = $4::billing.amount, true) AND r.reason IS NOT DISTINCT FROM $5"
		"       AND r.destination = $6 AND (r.cause = 'reopening') = $7 AND (r.cause = 'excess') = ($8 AND p.purpose <> 'top_up')"
		"  FROM billing.refund r JOIN billing.payment p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id"
		" WHERE r.tenant_id = $1 AND r.refund_no = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 8,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {
		given[TENANT_ID].value, given[REFUND_NO].value, given[PAY_NO].value,
		given[AMOUNT].isnull ? (Datum) 0 : CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(billing_amount_out, given[AMOUNT].value))),
		given[REASON].value, given[DESTINATION].value, given[REOPEN].value, given[EXCESS].value
	};
	char		nulls[] = "        ";
	bool		isnull;

	nulls[3] = given[AMOUNT].isnull ? 'n' : ' ';
	nulls[4] = given[REASON].isnull ? 'n' : ' ';
	if (billing_spi_run(&query, args, nulls) == 0)
		return false;
	if (!DatumGetBool(billing_spi_value(0, 2, &isnull)))
		billing_flow_key_reused("refund", flow->tenant_id, "refund_no", TextDatumGetCString(given[REFUND_NO].value));
	*row = billing_refund_read(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)));
	return true;
}

static void
check_payment(BillingFlow *flow, const BillingPayment *payment)
{
	FunctionCallInfo fcinfo = flow->fcinfo;

	if (!is_there(flow, payment))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("payment \"%s\" is %s and cannot be refunded", payment->pay_no, payment->status),
				 errdetail("object=payment id=%lld pay_no=%s status=%s", (long long) payment->payment_id, payment->pay_no, payment->status),
				 errhint("Only money that came and is still there goes back.")));
	if ((payment->is_top_up || PG_GETARG_BOOL(EXCESS)) && (is_to_wallet(fcinfo) || PG_GETARG_BOOL(REOPEN)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(payment->is_top_up ? "payment \"%s\" bought credit" : "what nothing was due for of payment \"%s\" is credit", payment->pay_no),
				 errdetail("argument=%s", PG_GETARG_BOOL(REOPEN) ? "reopen" : "destination"),
				 errhint("It is in the wallet already, and of no invoice: its money goes back to where it came from.")));
}

/* It came, and the payer's bank has not taken all of it back. */
static bool
is_there(BillingFlow *flow, const BillingPayment *payment)
{
	return strcmp(payment->status, "succeeded") == 0 ||
		(strcmp(payment->status, "reversed") == 0 && billing_payment_left(flow, payment, true) > 0);
}

static void
check_refund_no(const BillingFlow *flow, const BillingPayment *payment)
{
	FunctionCallInfo fcinfo = flow->fcinfo;
	const char *refund_no;
	int64		tenant_id;

	if (PG_ARGISNULL(REFUND_NO) || payment->gateway == NULL || is_to_wallet(fcinfo))
		return;
	refund_no = text_to_cstring(PG_GETARG_TEXT_PP(REFUND_NO));
	if (!billing_merchant_no_read(refund_no, strlen(refund_no), &tenant_id) || tenant_id != flow->tenant_id)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("refund_no \"%.*s\" is not one of a gateway", BILLING_QUOTED(refund_no, strlen(refund_no))),
				 errdetail("argument=refund_no tenant_id=%lld", (long long) flow->tenant_id),
				 errhint("It is %lld_, then letters, digits and underscores, %d to %d bytes in all; NULL makes one.", (long long) flow->tenant_id,
						 BILLING_MERCHANT_NO_MIN, BILLING_MERCHANT_NO_MAX)));
}

/*
 * choose_amount
 *		What was asked for, or all that is left; YB003 if that is less.
 */
static BillingAmount
choose_amount(BillingFlow *flow, const BillingPayment *payment)
{
	FunctionCallInfo fcinfo = flow->fcinfo;
	BillingAmount amount = payment->amount;
	BillingAmount left = payment->amount;

	left.units = units_left(flow, payment, PG_GETARG_BOOL(EXCESS));
	if (PG_ARGISNULL(AMOUNT))
		amount = left;
	else
		amount = *PG_GETARG_BILLING_AMOUNT_P(AMOUNT);
	billing_amount_check_same_currency(&amount, &left);
	if (amount.units <= 0 || amount.units > left.units)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
				 errmsg("payment \"%s\" has no more than %s left to be refunded", payment->pay_no,
						DatumGetCString(DirectFunctionCall1(billing_amount_out, PointerGetDatum(&left)))),
				 errdetail("object=payment id=%lld pay_no=%s left=%s", (long long) payment->payment_id, payment->pay_no,
						   DatumGetCString(DirectFunctionCall1(billing_amount_out, PointerGetDatum(&left)))),
				 errhint("What is disputed, or went back or is on its way is not there any more; what became credit since nothing was due is, by excess => true, as far as it is left.")));
	return amount;
}

/* is_excess: of what nothing was due for. */
static int64
units_left(BillingFlow *flow, const BillingPayment *payment, bool is_excess)
{
	static BillingQuery query = {
		.sql = "SELECT billing.minor_units(billing.refundable_amount(p)) FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};
	bool		isnull;
	int64		left;

	if (is_excess && !payment->is_top_up)
		return Max(Min(billing_payment_left(flow, payment, true), Min(left_of_excess(flow, payment), left_of_grant(flow, payment))), 0);
	(void) billing_spi_run(&query, args, NULL);
	left = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	left = Min(left, payment->is_top_up ? left_of_grant(flow, payment) : left_of_invoice(flow, payment));
	return Max(left, 0);
}

/* Of the money that settled it, what was not given back otherwise. */
static int64
left_of_invoice(BillingFlow *flow, const BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT billing.minor_units(least(f.money, f.creditable)) FROM billing.settled_funds($1, $2) f",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->invoice_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Of the credit that was bought by it, or that it became since nothing was due. */
static int64
left_of_grant(BillingFlow *flow, const BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(sum(billing.minor_units(g.balance)), 0)::bigint FROM billing.credit_grant g"
		" WHERE g.tenant_id = $1 AND g.payment_id = $2 AND g.is_paid",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};
	bool		isnull;

	billing_wallet_book_settle(flow->tenant_id);
	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Of what nothing was due for, what did not go back. */
static int64
left_of_excess(BillingFlow *flow, const BillingPayment *payment)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(billing.minor_units(p.excess), 0) - coalesce((SELECT sum(billing.minor_units(r.amount)) FROM billing.refund r"
		"   WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.cause = 'excess' AND r.status IN ('pending', 'succeeded')), 0)::bigint"
		"  FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static void
refund_invoice(BillingFlow *flow, const BillingPayment *payment, const BillingRefundOrder *order)
{
	BillingCreditTo to = {.destination = BILLING_CREDIT_REFUND, .refund = order};

	(void) billing_credit_note_issue(flow->tenant_id, payment->invoice_id, NULL, 0, to, order->reason);
}

/* What it paid is owed again, and owed to the customer until it went. */
static void
reopen_invoice(BillingFlow *flow, const BillingPayment *payment, const BillingRefundOrder *order)
{
	billing_payment_reopen(flow, payment, order->amount.units, "customer_credit", billing_clock_now());
	billing_refund_ask(flow, billing_refund_make(flow, order));
}

/* The credit is taken, and owed to the customer as money on its way until it went: the ledger says so already. */
static void
refund_credit(BillingFlow *flow, const BillingPayment *payment, const BillingRefundOrder *order)
{
	int64		refund_id;

	if (billing_wallet_take_back(flow, payment->payment_id, order->amount.units) != order->amount.units)
		elog(ERROR, "the credit of payment %lld is not what it was a moment ago", (long long) payment->payment_id);
	refund_id = billing_refund_make(flow, order);
	if (!order->is_made)
		billing_refund_ask(flow, refund_id);
}

static int64
find_refund(BillingFlow *flow, const char *refund_no)
{
	static BillingQuery query = {
		.sql = "SELECT r.refund_id FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_no = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), CStringGetTextDatum(refund_no)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/*
 * billing_refund_learn_made
 *		Somebody refunded a payment in the gateway's own console: in the books it is as if he had done it here.
 *
 * The money is gone, whatever the books allow; what they do not, as more than is left, a person has to see to.
 */
const char *
billing_refund_learn_made(BillingFlow *flow, int64 payment_id, const BillingNews *news)
{
	BillingPayment payment;
	Made		made = {.flow = flow, .payment = &payment, .news = news};
	int64		refund_id = find_made(flow, news);
	const char *problem;
	ErrorData  *error;

	if (refund_id != 0)
	{
		billing_refund_learn(flow, refund_id, news);
		return NULL;
	}
	billing_payment_lock_received(flow, payment_id, news->at, &payment);
	problem = check_made(flow, &payment, news, &made.is_excess);
	if (problem != NULL)
		return problem;
	error = billing_attempt_one(book_made, &made);
	if (error != NULL && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
		ReThrowError(error);
	return error == NULL ? NULL : psprintf("not_booked=%s", error->message);
}

/* The one that is known by the gateway's id, or was recorded by a person with that; looked for once the tenant is locked; 0: none is. */
static int64
find_made(BillingFlow *flow, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "SELECT r.refund_id FROM billing.refund r WHERE r.tenant_id = $1 AND r.gateway = $2 AND (r.external_id = $3 OR r.reference = $3)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), CStringGetTextDatum(news->gateway), CStringGetTextDatum(news->answer->external_id)
	};
	bool		isnull;

	return billing_spi_run(&query, args, NULL) == 0 ? 0 : DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* What of it the books would not take, as key=value; is_excess: it is that for which nothing was due. */
static const char *
check_made(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, bool *is_excess)
{
	int64		left;

	if (!is_there(flow, payment))
		return psprintf("not_booked=the payment is %s", payment->status);
	if (!news->has_amount || strcmp(news->amount.currency, payment->amount.currency) != 0)
		return psprintf("currency=%s told=%s", payment->amount.currency, news->has_amount ? news->amount.currency : "none");
	left = units_left(flow, payment, false);
	*is_excess = news->amount.units > left && news->amount.units <= units_left(flow, payment, true);
	return news->amount.units <= left || *is_excess ? NULL :
		psprintf("not_booked=more than is left minor_units=%lld told=%lld", (long long) left, (long long) news->amount.units);
}

static void
book_made(void *set, int from, int count)
{
	Made	   *made = set;
	BillingRefundOrder *order = &made->order;
	int64		refund_id;

	order->payment_id = made->payment->payment_id;
	order->invoice_id = made->payment->invoice_id;
	order->amount = made->news->amount;
	order->gateway = made->payment->gateway;
	order->refund_no = billing_merchant_no_new(made->flow->tenant_id);
	order->cause = made->payment->is_top_up ? "top_up" : made->is_excess ? "excess" : "credit_note";
	order->reason = CStringGetTextDatum("refunded at the gateway");
	order->is_made = true;
	if (made->payment->is_top_up || made->is_excess)
		refund_credit(made->flow, made->payment, order);
	else
		refund_invoice(made->flow, made->payment, order);
	refund_id = find_refund(made->flow, order->refund_no);
	billing_flow_audit(made->flow, "refund", refund_id, (Datum) 0, billing_refund_read(made->flow, refund_id));
	billing_refund_learn(made->flow, refund_id, made->news);
}
