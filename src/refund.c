/*-------------------------------------------------------------------------
 *
 * refund.c
 *	  Money that goes back to where a payment came from.
 *
 * A refund is pending, and what it gives back is owed to the customer, until it went: a gateway says so, or a
 * person.  One that a gateway refuses stays pending, since the money is still owed: it is asked for again, or given
 * up for credit.  What a gateway tells may come twice, late or in another order; what went stays told unless the
 * bank returned it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "event.h"
#include "gateway_request.h"
#include "id.h"
#include "news.h"
#include "payment.h"
#include "refund.h"
#include "wallet.h"

BILLING_FUNCTION(billing_record_refund);
BILLING_FUNCTION(billing_fail_refund);
BILLING_FUNCTION(billing_cancel_refund);
BILLING_FUNCTION(billing_retry_refund);

#define OF_REFUNDS	(1 << BILLING_GATEWAY_REFUND | 1 << BILLING_GATEWAY_QUERY_REFUND)

/* A refund as a flow finds it, its row locked. */
typedef struct Refund
{
	int64		refund_id;
	int64		invoice_id;		/* 0: of a top-up */
	int64		payment_id;
	Datum		row;
	char	   *refund_no;
	char	   *status;
	char	   *gateway;		/* NULL: a person sends it */
	char	   *external_id;	/* NULL: not known */
	BillingAmount amount;
	bool		is_refused;		/* by its gateway, and not asked for again since */
	bool		is_to_wallet;
	TimestampTz settled_at;		/* of one that is not pending */
	int64		grant_id;		/* 0: none */
} Refund;

static void check_at(FunctionCallInfo fcinfo);
static void find_refund(BillingFlow *flow, Datum refund_no, Refund *refund);
static void lock_refund(BillingFlow *flow, int64 refund_id, Refund *refund);
static bool is_same(BillingFlow *flow, const Refund *refund);
static void check_pending(const Refund *refund, const char *action);
static void check_is_ours(BillingFlow *flow, const Refund *refund, const char *action);
static bool is_in_flight(BillingFlow *flow, const Refund *refund, const char *operations);
static void succeed(BillingFlow *flow, const Refund *refund, TimestampTz at, NullableDatum reference);
static void set_succeeded(BillingFlow *flow, const Refund *refund, TimestampTz at, NullableDatum reference);
static void post(BillingFlow *flow, const Refund *refund, int64 transaction_id, TimestampTz at, int64 credit, int64 loss);
static bool set_payment_refunded(BillingFlow *flow, const Refund *refund);
static void count_change(BillingFlow *flow, const Refund *refund);
static Datum give_up(FunctionCallInfo fcinfo, const char *name, const char *status);
static Datum leave_credit(BillingFlow *flow, const Refund *refund, const char *status, NullableDatum reason);
static int64 make_grant(BillingFlow *flow, int64 payment_id, int64 invoice_id, const BillingAmount *amount, const char *source);
static int64 insert_refund(BillingFlow *flow, const BillingRefundOrder *order, int64 grant_id);
static bool is_of_another_attempt(const Refund *refund, const BillingNews *news);
static void come(BillingFlow *flow, const Refund *refund, const BillingNews *news);
static void come_after_all(BillingFlow *flow, const Refund *refund, const BillingNews *news);
static bool went_once(BillingFlow *flow, const Refund *refund);
static void note_answer(BillingFlow *flow, const Refund *refund, const BillingNews *news);
static void refuse(BillingFlow *flow, const Refund *refund, const BillingNews *news);
static void come_back(BillingFlow *flow, const Refund *refund, const BillingNews *news);
static int64 lost_by(BillingFlow *flow, const Refund *refund);
static void set_payment_succeeded(BillingFlow *flow, const Refund *refund);
static NullableDatum text_or_null(const char *text);

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
	find_refund(&flow, PG_GETARG_DATUM(1), &refund);
	if (strcmp(refund.status, "succeeded") == 0 && is_same(&flow, &refund))
		return billing_flow_end(&flow, refund.row);
	check_pending(&refund, "be recorded");
	check_is_ours(&flow, &refund, "be recorded");

	succeed(&flow, &refund, PG_ARGISNULL(2) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(2), fcinfo->args[3]);
	result = billing_refund_read(&flow, refund.refund_id);
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
find_refund(BillingFlow *flow, Datum refund_no, Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT r.refund_id FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_no = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), refund_no};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("refund", flow->tenant_id, psprintf("\"%s\"", TextDatumGetCString(refund_no)));
	lock_refund(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), refund);
}

static void
lock_refund(BillingFlow *flow, int64 refund_id, Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT r, r.refund_no, coalesce(r.invoice_id, 0), r.payment_id, r.status, r.gateway, r.external_id, r.amount,"
		"       r.failed_at IS NOT NULL, r.destination = 'wallet', coalesce(r.settled_at, 'infinity'), coalesce(r.grant_id, 0)"
		"  FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_id = $2 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund_id)};
	Datum		value;
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("refund", flow->tenant_id, psprintf("%lld", (long long) refund_id));
	refund->refund_id = refund_id;
	refund->row = billing_spi_copy(0, 1, flow->caller);
	refund->refund_no = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	refund->invoice_id = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	refund->payment_id = DatumGetInt64(billing_spi_value(0, 4, &isnull));
	refund->status = TextDatumGetCString(billing_spi_value(0, 5, &isnull));
	value = billing_spi_value(0, 6, &isnull);
	refund->gateway = isnull ? NULL : TextDatumGetCString(value);
	value = billing_spi_value(0, 7, &isnull);
	refund->external_id = isnull ? NULL : TextDatumGetCString(value);
	refund->amount = *DatumGetBillingAmountP(billing_spi_value(0, 8, &isnull));
	refund->is_refused = DatumGetBool(billing_spi_value(0, 9, &isnull));
	refund->is_to_wallet = DatumGetBool(billing_spi_value(0, 10, &isnull));
	refund->settled_at = DatumGetTimestampTz(billing_spi_value(0, 11, &isnull));
	refund->grant_id = DatumGetInt64(billing_spi_value(0, 12, &isnull));
}

Datum
billing_refund_read(BillingFlow *flow, int64 refund_id)
{
	static BillingQuery query = {
		.sql = "SELECT r FROM billing.refund r WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
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

/*
 * check_is_ours
 *		YB004 if it may be on its way at its gateway, which then says what becomes of it.
 *
 * Of a refund of driver manual a person says it.
 */
static void
check_is_ours(BillingFlow *flow, const Refund *refund, const char *action)
{
	if (refund->gateway == NULL || !is_in_flight(flow, refund, "{refund,query_refund}"))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("refund \"%s\" may be on its way and cannot %s", refund->refund_no, action),
			 errdetail("object=refund id=%lld refund_no=%s gateway=%s", (long long) refund->refund_id, refund->refund_no, refund->gateway),
			 errhint("The gateway says whether it went. Once it has refused it, or was asked in vain, a person may.")));
}

/* Whether one of these was asked of the gateway, or is being, that is not answered for good. */
static bool
is_in_flight(BillingFlow *flow, const Refund *refund, const char *operations)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway_request q JOIN billing.gateway g ON g.code = q.gateway AND g.driver <> 'manual'"
		" WHERE q.tenant_id = $1 AND q.object_id = $2 AND q.operation = ANY ($3::text[]) AND q.next_attempt_at IS NOT NULL"
		"   AND (q.state <> 'waiting' OR q.operation = 'query_refund' OR q.attempts > 0)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), CStringGetTextDatum(operations)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * succeed
 *		A pending refund went: all that follows from it, whoever says so.
 */
static void
succeed(BillingFlow *flow, const Refund *refund, TimestampTz at, NullableDatum reference)
{
	set_succeeded(flow, refund, at, reference);
	post(flow, refund, refund->refund_id, at, refund->amount.units, 0);
	if (refund->gateway != NULL)
		billing_gateway_forget(flow->tenant_id, refund->refund_id, OF_REFUNDS);
	billing_event_emit(flow->tenant_id, "refund.succeeded", refund->refund_id);
	if (set_payment_refunded(flow, refund))
		billing_event_emit(flow->tenant_id, "payment.refunded", refund->payment_id);
	count_change(flow, refund);
}

static void
set_succeeded(BillingFlow *flow, const Refund *refund, TimestampTz at, NullableDatum reference)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET status = 'succeeded', settled_at = $3, reference = $4, grant_id = NULL, failure_code = NULL,"
		"       failure_reason = NULL, failed_at = NULL, version = r.version + 1 WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), TimestampTzGetDatum(at), reference.value
	};

	(void) billing_spi_run(&query, args, reference.isnull ? "   n" : NULL);
}

/*
 * post
 *		What was owed to the customer left the bank, or (negative) came back; of credit that was used meanwhile it is a loss.
 */
static void
post(BillingFlow *flow, const Refund *refund, int64 transaction_id, TimestampTz at, int64 credit, int64 loss)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		" SELECT r.tenant_id, $3, 'refund', r.invoice_id, r.payment_id, $4,"
		"        CASE WHEN $6 = 0 THEN '{customer_credit,cash}'::text[] ELSE '{customer_credit,cash,bad_debt}' END,"
		"        CASE WHEN $6 = 0 THEN ARRAY[a.credit, -a.credit] ELSE ARRAY[a.credit, -(a.credit + a.loss), a.loss] END"
		"   FROM billing.refund r CROSS JOIN LATERAL (SELECT billing.from_minor_units($5, billing.currency(r.amount)) AS credit,"
		"     billing.from_minor_units($6, billing.currency(r.amount)) AS loss) a WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), Int64GetDatum(transaction_id), TimestampTzGetDatum(at),
		Int64GetDatum(credit), Int64GetDatum(loss)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/* True: all of the payment went back to where it came from. */
static bool
set_payment_refunded(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = 'refunded', version = p.version + 1"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.status = 'succeeded'"
		"   AND p.amount = (SELECT sum(r.amount) FROM billing.refund r"
		"     WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.status = 'succeeded' AND r.destination = 'method')",
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

	if (refund->invoice_id != 0)
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
	BillingFlow flow;
	Refund		refund;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, name, 3, &result))
		return result;
	billing_flow_require(fcinfo, 1, "refund_no");
	find_refund(&flow, PG_GETARG_DATUM(1), &refund);
	check_pending(&refund, strcmp(status, "failed") == 0 ? "fail" : "be canceled");
	check_is_ours(&flow, &refund, strcmp(status, "failed") == 0 ? "fail" : "be canceled");
	result = leave_credit(&flow, &refund, status, fcinfo->args[2]);
	return billing_flow_end(&flow, result);
}

/* It comes to nothing but credit; returns its row. */
static Datum
leave_credit(BillingFlow *flow, const Refund *refund, const char *status, NullableDatum reason)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET status = $3, settled_at = $4, grant_id = $5, status_reason = $6, version = r.version + 1"
		" WHERE r.tenant_id = $1 AND r.refund_id = $2 RETURNING r",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID},
	};
	int64		event_id;
	Datum		args[6];
	Datum		row;

	if (refund->gateway != NULL)
		billing_gateway_forget(flow->tenant_id, refund->refund_id, OF_REFUNDS);
	event_id = billing_id_next();
	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = Int64GetDatum(refund->refund_id);
	args[2] = CStringGetTextDatum(status);
	args[3] = TimestampTzGetDatum(billing_clock_now());
	args[4] = Int64GetDatum(make_grant(flow, refund->payment_id, refund->invoice_id, &refund->amount, "refund_failed"));
	args[5] = reason.value;
	(void) billing_spi_run(&query, args, reason.isnull ? "     n" : NULL);
	row = billing_spi_copy(0, 1, flow->caller);
	billing_event_emit_as(event_id, flow->tenant_id, strcmp(status, "failed") == 0 ? "refund.failed" : "refund.canceled",
						  refund->refund_id);
	count_change(flow, refund);
	billing_flow_audit(flow, "refund", refund->refund_id, refund->row, row);
	return row;
}

void
billing_refund_cancel_pending(BillingFlow *flow, int64 payment_id)
{
	static BillingQuery query = {
		.sql = "SELECT r.refund_id FROM billing.refund r WHERE r.tenant_id = $1 AND r.payment_id = $2 AND r.status = 'pending'"
		" ORDER BY r.refund_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id)};
	NullableDatum reason = {.value = CStringGetTextDatum("its payment was taken back")};
	Refund		refund;
	bool		isnull;

	while (billing_spi_run(&query, args, NULL) > 0)
	{
		lock_refund(flow, DatumGetInt64(billing_spi_value(0, 1, &isnull)), &refund);
		(void) leave_credit(flow, &refund, "canceled", reason);
	}
}

static int64
make_grant(BillingFlow *flow, int64 payment_id, int64 invoice_id, const BillingAmount *amount, const char *source)
{
	BillingGrant grant = {.amount = *amount, .source = source, .invoice_id = invoice_id, .payment_id = payment_id};

	return billing_wallet_grant(flow->tenant_id, &grant);
}

/*
 * billing_retry_refund
 *		Ask its gateway again for a refund that it has refused; of one that nobody answered for, what became of it.
 *
 * So no refund is asked for a second time that may have been made.  A question that waits for its time is asked now.
 */
Datum
billing_retry_refund(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET failure_code = NULL, failure_reason = NULL, failed_at = NULL, version = r.version + 1"
		" WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	BillingFlow flow;
	Refund		refund;
	Datum		args[2];
	Datum		result;

	billing_flow_require(fcinfo, 1, "refund_no");
	(void) billing_flow_begin(&flow, fcinfo, "retry_refund", BILLING_NO_REQUEST, &result);
	find_refund(&flow, PG_GETARG_DATUM(1), &refund);
	check_pending(&refund, "be asked for again");
	if (refund.gateway == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("refund \"%s\" is of no gateway", refund.refund_no),
				 errdetail("object=refund id=%lld refund_no=%s", (long long) refund.refund_id, refund.refund_no),
				 errhint("A person sends it, and says so by record_refund().")));

	args[0] = Int64GetDatum(flow.tenant_id);
	args[1] = Int64GetDatum(refund.refund_id);
	if (refund.is_refused)
	{
		(void) billing_spi_run(&query, args, NULL);
		billing_refund_ask(&flow, refund.refund_id);
	}
	else if (!is_in_flight(&flow, &refund, "{refund}"))
		(void) billing_gateway_ask(flow.tenant_id, refund.gateway, BILLING_GATEWAY_QUERY_REFUND, refund.refund_id, 0);
	result = billing_refund_read(&flow, refund.refund_id);
	billing_flow_audit(&flow, "refund", refund.refund_id, refund.row, result);
	return billing_flow_end(&flow, result);
}

int64
billing_refund_make(BillingFlow *flow, const BillingRefundOrder *order)
{
	int64		grant_id = order->is_to_wallet ? make_grant(flow, order->payment_id, order->invoice_id, &order->amount, "refund") : 0;
	int64		refund_id = insert_refund(flow, order, grant_id);

	billing_event_emit(flow->tenant_id, "refund.created", refund_id);
	if (order->is_to_wallet)
		billing_event_emit(flow->tenant_id, "refund.succeeded", refund_id);
	return refund_id;
}

static int64
insert_refund(BillingFlow *flow, const BillingRefundOrder *order, int64 grant_id)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.refund AS r (tenant_id, refund_no, credit_note_id, invoice_id, payment_id, status, amount, settled_at, grant_id,"
		"  gateway, destination, cause, reason)"
		" SELECT $1, $2, nullif($3, 0), nullif($4, 0), $5, CASE WHEN $8 = 0 THEN 'pending' ELSE 'succeeded' END, billing.from_minor_units($6, $7),"
		"  CASE WHEN $8 <> 0 THEN billing.now() END, nullif($8, 0), CASE WHEN $8 = 0 THEN $9 END, CASE WHEN $8 = 0 THEN 'method' ELSE 'wallet' END, $10, $11"
		" RETURNING r.refund_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 11,
		.argtypes = {INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID},
	};
	NullableDatum gateway = text_or_null(order->gateway);
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), CStringGetTextDatum(order->refund_no), Int64GetDatum(order->credit_note_id),
		Int64GetDatum(order->invoice_id), Int64GetDatum(order->payment_id), Int64GetDatum(order->amount.units),
		CStringGetTextDatum(order->amount.currency), Int64GetDatum(grant_id), gateway.value, CStringGetTextDatum(order->cause), order->reason
	};
	char		nulls[] = "           ";
	bool		isnull;

	nulls[8] = gateway.isnull ? 'n' : ' ';
	nulls[10] = order->reason == (Datum) 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

void
billing_refund_ask(BillingFlow *flow, int64 refund_id)
{
	Refund		refund;

	lock_refund(flow, refund_id, &refund);
	if (refund.gateway == NULL || strcmp(refund.status, "pending") != 0)
		return;
	(void) billing_gateway_answer_here(flow, billing_gateway_ask(flow->tenant_id, refund.gateway, BILLING_GATEWAY_REFUND, refund_id, 0));
}

/*
 * billing_refund_learn
 *		What became of a refund, as far as it is news.
 */
void
billing_refund_learn(BillingFlow *flow, int64 refund_id, const BillingNews *news)
{
	Refund		refund;

	lock_refund(flow, refund_id, &refund);
	if (refund.is_to_wallet || is_of_another_attempt(&refund, news))
		return;
	switch (news->answer->outcome)
	{
		case BILLING_GATEWAY_SUCCEEDED:
			come(flow, &refund, news);
			break;
		case BILLING_GATEWAY_FAILED:
		case BILLING_GATEWAY_CANCELED:
			refuse(flow, &refund, news);
			break;
		default:
			if (strcmp(refund.status, "pending") == 0 && !refund.is_refused)
				note_answer(flow, &refund, news);
	}
}

/*
 * is_of_another_attempt
 *		A gateway that makes a new object of each attempt tells late of one that was followed by another.
 *
 * That money went is news whichever of them it was.
 */
static bool
is_of_another_attempt(const Refund *refund, const BillingNews *news)
{
	return news->answer->outcome != BILLING_GATEWAY_SUCCEEDED && news->operation != BILLING_GATEWAY_REFUND &&
		refund->external_id != NULL && news->answer->external_id != NULL && strcmp(refund->external_id, news->answer->external_id) != 0;
}

static void
come(BillingFlow *flow, const Refund *refund, const BillingNews *news)
{
	if (strcmp(refund->status, "succeeded") == 0)
		return;
	if (strcmp(refund->status, "pending") != 0)
	{
		come_after_all(flow, refund, news);
		return;
	}
	note_answer(flow, refund, news);
	succeed(flow, refund, news->at, (NullableDatum) {.isnull = true});
	billing_flow_audit(flow, "refund", refund->refund_id, refund->row, billing_refund_read(flow, refund->refund_id));
}

/*
 * come_after_all
 *		It went although it had been given up for credit, which is taken back as far as it is left; what was used of it is lost.
 *
 * One that went and came back is told of late here.
 */
static void
come_after_all(BillingFlow *flow, const Refund *refund, const BillingNews *news)
{
	int64		taken;

	if (went_once(flow, refund))
		return;
	note_answer(flow, refund, news);
	taken = billing_wallet_take_from(flow, refund->grant_id, refund->amount.units);
	set_succeeded(flow, refund, news->at, (NullableDatum) {.isnull = true});
	post(flow, refund, refund->refund_id, news->at, taken, refund->amount.units - taken);
	billing_event_emit(flow->tenant_id, "refund.succeeded", refund->refund_id);
	if (set_payment_refunded(flow, refund))
		billing_event_emit(flow->tenant_id, "payment.refunded", refund->payment_id);
	count_change(flow, refund);
	billing_flow_audit(flow, "refund", refund->refund_id, refund->row, billing_refund_read(flow, refund->refund_id));
}

/* Its transaction has its id. */
static bool
went_once(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.transaction t WHERE t.tenant_id = $1 AND t.transaction_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/* The gateway's id of it, and what it last said. */
static void
note_answer(BillingFlow *flow, const Refund *refund, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET external_id = coalesce($3, r.external_id), gateway_response = coalesce($4::jsonb, r.gateway_response)"
		" WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TEXTOID, JSONBOID},
	};
	const char *response = news->answer->response;
	NullableDatum external_id = text_or_null(news->answer->external_id);
	bool		is_kept = response != NULL && strstr(response, "\\u0000") == NULL;	/* which jsonb does not hold */
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), external_id.value,
		is_kept ? DirectFunctionCall1(jsonb_in, CStringGetDatum(response)) : (Datum) 0
	};
	char		nulls[] = "    ";

	nulls[2] = external_id.isnull ? 'n' : ' ';
	nulls[3] = is_kept ? ' ' : 'n';
	(void) billing_spi_run(&query, args, nulls);
}

/*
 * refuse
 *		The gateway does not make it.  The money is still owed, so that it stays pending; told again it is no news.
 */
static void
refuse(BillingFlow *flow, const Refund *refund, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET failure_code = $3, failure_reason = $4, failed_at = $5, version = r.version + 1"
		" WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	};
	NullableDatum reason = text_or_null(news->answer->message);
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id),
		CStringGetTextDatum(news->answer->code == NULL ? "declined" : news->answer->code), reason.value, TimestampTzGetDatum(news->at)
	};
	bool		is_returned = strcmp(refund->status, "succeeded") == 0 && news->at > refund->settled_at;

	if (!is_returned && (strcmp(refund->status, "pending") != 0 || refund->is_refused))
		return;
	note_answer(flow, refund, news);
	(void) billing_spi_run(&query, args, reason.isnull ? "   n " : NULL);
	if (is_returned)
		come_back(flow, refund, news);
	else
		billing_event_emit(flow->tenant_id, "refund.refused", refund->refund_id);
	count_change(flow, refund);
	billing_flow_audit(flow, "refund", refund->refund_id, refund->row, billing_refund_read(flow, refund->refund_id));
}

/*
 * come_back
 *		The bank returned it after it went: it is credit, as of one that came to nothing.
 *
 * What was lost by it - its credit had been used before it went, or the payer's bank took the money all the same - is not owed once more: it
 * is lost no longer.
 */
static void
come_back(BillingFlow *flow, const Refund *refund, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.refund r SET status = 'failed', settled_at = $3, grant_id = $4 WHERE r.tenant_id = $1 AND r.refund_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID},
	};
	int64		grant_id = make_grant(flow, refund->payment_id, refund->invoice_id, &refund->amount, "refund_failed");
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id), TimestampTzGetDatum(news->at), Int64GetDatum(grant_id)
	};
	int64		lost = lost_by(flow, refund);

	(void) billing_spi_run(&query, args, NULL);
	set_payment_succeeded(flow, refund);
	lost += billing_dispute_refund_returned(flow, refund->payment_id, refund->amount.units - lost);
	if (lost > 0)
		(void) billing_wallet_take_from(flow, grant_id, lost);
	post(flow, refund, billing_id_next(), news->at, lost - refund->amount.units, -lost);
	billing_event_emit(flow->tenant_id, "refund.failed", refund->refund_id);
}

/* Of the refund that went, minor units. */
static int64
lost_by(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(sum(billing.minor_units(e.amount)), 0)::bigint FROM billing.ledger_entry e"
		" WHERE e.tenant_id = $1 AND e.transaction_id = $2 AND e.account = 'bad_debt'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->refund_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Not all of it is back any more. */
static void
set_payment_succeeded(BillingFlow *flow, const Refund *refund)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = 'succeeded', version = p.version + 1"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.status = 'refunded'",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(refund->payment_id)};

	(void) billing_spi_run(&query, args, NULL);
}

static NullableDatum
text_or_null(const char *text)
{
	if (text == NULL)
		return (NullableDatum) {.isnull = true};
	return (NullableDatum) {.value = CStringGetTextDatum(text)};
}
