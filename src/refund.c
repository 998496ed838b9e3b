/*-------------------------------------------------------------------------
 *
 * refund.c
 *	  Money that goes back to where a payment came from.
 *
 * A credit note leaves a refund pending; what it gives back is owed to the customer
 * until it went.  One that comes to nothing leaves credit instead.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "event.h"
#include "flow.h"
#include "id.h"
#include "wallet.h"

BILLING_FUNCTION(billing_record_refund);
BILLING_FUNCTION(billing_fail_refund);
BILLING_FUNCTION(billing_cancel_refund);

/* A refund as a flow finds it, its row locked. */
typedef struct Refund
{
	int64		refund_id;
	int64		invoice_id;
	int64		payment_id;
	Datum		row;
	char	   *refund_no;
	char	   *status;
} Refund;

static void check_at(FunctionCallInfo fcinfo);
static void lock_refund(BillingFlow *flow, Datum refund_no, Refund *refund);
static bool is_same(BillingFlow *flow, const Refund *refund);
static Datum set_succeeded(BillingFlow *flow, const Refund *refund, TimestampTz at);
static void post(BillingFlow *flow, const Refund *refund);
static bool set_payment_refunded(BillingFlow *flow, const Refund *refund);
static Datum give_up(FunctionCallInfo fcinfo, const char *name, const char *status);
static int64 make_grant(BillingFlow *flow, const Refund *refund);
static void count_change(BillingFlow *flow, const Refund *refund);
static void check_pending(const Refund *refund, const char *action);

/*
 * billing_record_refund
 *		A pending refund went; its refund_no makes a retry harmless.
 */
Datum
billing_record_refund(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Refund		refund;
	Datum		result;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "refund_no");
	check_at(fcinfo);
	(void) billing_flow_begin(&flow, fcinfo, "record_refund", BILLING_NO_REQUEST, &result);
	lock_refund(&flow, PG_GETARG_DATUM(1), &refund);
	if (strcmp(refund.status, "succeeded") == 0 && is_same(&flow, &refund))
		return billing_flow_end(&flow, refund.row);
	check_pending(&refund, "be recorded");

	result = set_succeeded(&flow, &refund, PG_ARGISNULL(2) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(2));
	post(&flow, &refund);
	billing_event_emit(flow.tenant_id, "refund.succeeded", refund.refund_id);
	if (set_payment_refunded(&flow, &refund))
		billing_event_emit(flow.tenant_id, "payment.refunded", refund.payment_id);
	count_change(&flow, &refund);
	billing_flow_audit(&flow, "refund", refund.refund_id, refund.row, result);
	return billing_flow_end(&flow, result);
}

static void
check_at(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(2) ||
		(!TIMESTAMP_IS_NOBEGIN(PG_GETARG_TIMESTAMPTZ(2)) && PG_GETARG_TIMESTAMPTZ(2) <= billing_clock_now() + USECS_PER_DAY))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the instant of a refund is infinite or more than a day ahead"),
			 errdetail("argument=at at=%s", timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(2))),
			 errhint("Give it the instant at which the money went, or NULL for now.")));
}

static void
lock_refund(BillingFlow *flow, Datum refund_no, Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT r, r.refund_id, r.invoice_id, r.payment_id, r.status"
		"  FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_no = $2 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), refund_no};
	bool		isnull;

	refund->refund_no = TextDatumGetCString(refund_no);
	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("refund", flow->tenant_id, psprintf("\"%s\"", refund->refund_no));
	refund->row = billing_spi_copy(0, 1, flow->caller);
	refund->refund_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	refund->invoice_id = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	refund->payment_id = DatumGetInt64(billing_spi_value(0, 4, &isnull));
	refund->status = TextDatumGetCString(billing_spi_value(0, 5, &isnull));
}

/*
 * is_same
 *		Whether a refund that went already is the one recorded; YB006 if it went otherwise.
 *
 * The instant is compared only if the call states one.
 */
static bool
is_same(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(r.settled_at = $3, true) AND r.reference IS NOT DISTINCT FROM $4"
		"  FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), given[2].value, given[3].value
	};
	char		nulls[] = "    ";
	bool		isnull;

	nulls[2] = given[2].isnull ? 'n' : ' ';
	nulls[3] = given[3].isnull ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	if (DatumGetBool(billing_spi_value(0, 1, &isnull)))
		return true;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_KEY_REUSED),
			 errmsg("refund \"%s\" of tenant %lld was recorded with another instant or reference", refund->refund_no,
					(long long) flow->tenant_id),
			 errdetail("tenant_id=%lld refund_no=%s", (long long) flow->tenant_id, refund->refund_no),
			 errhint("Repeat a call with the arguments it had.")));
}

static void
check_pending(const Refund *refund, const char *action)
{
	if (strcmp(refund->status, "pending") == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("refund \"%s\" is %s and cannot %s", refund->refund_no, refund->status, action),
			 errdetail("object=refund id=%lld refund_no=%s status=%s", (long long) refund->refund_id, refund->refund_no,
					   refund->status),
			 errhint("Only a pending refund is. One that came to nothing left credit in the wallet.")));
}

static Datum
set_succeeded(BillingFlow *flow, const Refund *refund, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET status = 'succeeded', settled_at = $3, reference = $4"
		" WHERE r.tenant_id = $1 AND r.refund_id = $2 RETURNING r",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum reference = flow->fcinfo->args[3];
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), TimestampTzGetDatum(at), reference.value
	};

	(void) billing_spi_run(&query, args, reference.isnull ? "   n" : NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/* What was owed to the customer left the bank. */
static void
post(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		" SELECT r.tenant_id, r.refund_id, 'refund', r.invoice_id, r.payment_id, r.settled_at,"
		"        '{customer_credit,cash}', ARRAY[r.amount, -r.amount]"
		"   FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id)};

	(void) billing_spi_run(&query, args, NULL);
}

/* True: all of the payment went back. */
static bool
set_payment_refunded(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = 'refunded'"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.status = 'succeeded'"
		"   AND p.amount = (SELECT sum(r.amount) FROM billing.refund r"
		"     WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.status = 'succeeded')",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->payment_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/* A transaction that cannot see what became of a refund is told so by the version of its invoice. */
static void
count_change(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET version = i.version + 1 WHERE i.tenant_id = $1 AND i.invoice_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->invoice_id)};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_fail_refund
 *		A pending refund could not be made.
 */
Datum
billing_fail_refund(PG_FUNCTION_ARGS)
{
	return give_up(fcinfo, "fail_refund", "failed");
}

/*
 * billing_cancel_refund
 *		A pending refund is not to be made.
 */
Datum
billing_cancel_refund(PG_FUNCTION_ARGS)
{
	return give_up(fcinfo, "cancel_refund", "canceled");
}

/*
 * give_up
 *		End a refund without money; what it was to give back is credit then.
 *
 * The ledger says so already: it is owed to the customer, one way or the other.
 */
static Datum
give_up(FunctionCallInfo fcinfo, const char *name, const char *status)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET status = $3, settled_at = $4, grant_id = $5, status_reason = $6"
		" WHERE r.tenant_id = $1 AND r.refund_id = $2 RETURNING r",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID},
	};
	BillingFlow flow;
	Refund		refund;
	int64		event_id;
	Datum		args[6];
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, name, 3, &result))
		return result;
	billing_flow_require(fcinfo, 1, "refund_no");
	lock_refund(&flow, PG_GETARG_DATUM(1), &refund);
	check_pending(&refund, strcmp(status, "failed") == 0 ? "fail" : "be canceled");

	event_id = billing_id_next();
	args[0] = Int64GetDatum(flow.tenant_id);
	args[1] = Int64GetDatum(refund.refund_id);
	args[2] = CStringGetTextDatum(status);
	args[3] = TimestampTzGetDatum(billing_clock_now());
	args[4] = Int64GetDatum(make_grant(&flow, &refund));
	args[5] = PG_GETARG_DATUM(2);
	(void) billing_spi_run(&query, args, PG_ARGISNULL(2) ? "     n" : NULL);
	result = billing_spi_copy(0, 1, flow.caller);
	billing_event_emit_as(event_id, flow.tenant_id, strcmp(status, "failed") == 0 ? "refund.failed" : "refund.canceled",
						  refund.refund_id);
	count_change(&flow, &refund);
	billing_flow_audit(&flow, "refund", refund.refund_id, refund.row, result);
	return billing_flow_end(&flow, result);
}

static int64
make_grant(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT r.amount FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id)};
	BillingGrant grant = {.source = "refund_failed", .invoice_id = refund->invoice_id};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	grant.amount = *DatumGetBillingAmountP(billing_spi_value(0, 1, &isnull));
	return billing_wallet_grant(flow->tenant_id, &grant);
}
