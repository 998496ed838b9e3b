/*-------------------------------------------------------------------------
 *
 * collect.c
 *	  Attempts to collect what is due.
 *
 * Which attempts are due is a rule of the timetable and of those that were made, the views
 * billing.due_attempt and billing.due_retry.  An attempt is made by writing its row, whose key is
 * its number: under the lock of its tenant nobody finds it due twice, and after a crash it is
 * there or it is not.  In the same transaction its payment is asked for, by the method that
 * billing.collection_method() says; what became of that is told when the network has answered.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "amount.h"
#include "attempt.h"
#include "collect.h"
#include "dunning.h"
#include "flow.h"
#include "gateway_account.h"
#include "id.h"
#include "invoice.h"
#include "payment_method.h"
#include "spi.h"

BILLING_FUNCTION(billing_fail_attempt);
BILLING_FUNCTION(billing_retry_payment);

BillingCollectHook billing_collect_hook = NULL;

/* The arguments of fail_attempt. */
enum
{
	TENANT_ID, INVOICE_ID, CODE, GATEWAY, MESSAGE, REQUEST_ID
};

static void make(BillingQuery *query, Datum tenant_ids, int64 invoice_id);
static void collect_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static void settle(const BillingAttempt *attempt, const char *gateway, const char *code, const char *message);
static void check_answer(const char *gateway, const char *code);
static bool find_attempt(BillingQuery *query, const BillingFlow *flow, int64 invoice_id, BillingAttempt *attempt);
pg_noreturn static void refuse(const BillingFlow *flow, int64 invoice_id, const char *problem, const char *hint);
static Datum read_attempt(BillingFlow *flow, const BillingAttempt *attempt);

/*
 * Write the attempts of a view.  $2: whether somebody collects who needs no payment method; if not, those without one have
 * failed.  Of several of an invoice the last is made, the others were missed.
 */
#define MAKE(retry_no, default_first, view) \
	"WITH made AS (" \
	"  INSERT INTO billing.collection_attempt (tenant_id, invoice_id, attempt_no, retry_no, status, due_at, amount, payment_method_id, code, class," \
	"    retry_at, settled_at)" \
	"  SELECT a.tenant_id, a.invoice_id, a.attempt_no, a.retry_no, a.status, a.due_at, a.amount, a.payment_method_id, a.code, d.class," \
	"    CASE WHEN d.next_attempt IS NOT NULL THEN (SELECT billing.retry_at(n, a.attempt_no, a.retry_no, d.next_attempt)" \
	"      FROM billing.dunning_timeline n WHERE n.tenant_id = a.tenant_id AND n.invoice_id = a.invoice_id) END," \
	"    CASE WHEN a.status = 'failed' THEN billing.now() END" \
	"  FROM (SELECT v.tenant_id, v.invoice_id, v.attempt_no, " retry_no " AS retry_no, v.due_at, v.amount, v.payment_method_id," \
	"      CASE WHEN NOT v.is_last THEN 'missed' WHEN $2 OR v.payment_method_id IS NOT NULL THEN 'pending' ELSE 'failed' END AS status," \
	"      CASE WHEN v.is_last AND NOT $2 AND v.payment_method_id IS NULL THEN 'no_payment_method' END AS code" \
	"    FROM (SELECT v.*, CASE WHEN v.is_last THEN billing.collection_method(v.tenant_id, v.invoice_id, " default_first ") END AS payment_method_id" \
	"      FROM " view ") v) a" \
	"  LEFT JOIN LATERAL billing.find_decline_code('any', a.code) d ON a.status = 'failed'" \
	"  RETURNING tenant_id, invoice_id, attempt_no, retry_no, status, payment_method_id" \
	") SELECT m.tenant_id, m.invoice_id, m.attempt_no, m.retry_no, coalesce(m.payment_method_id, 0) FROM made m WHERE m.status = 'pending'" \
	"  ORDER BY m.tenant_id, m.invoice_id"

void
billing_collect_due(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = MAKE("0", "false", "billing.due_attempt v WHERE v.tenant_id = ANY ($1)"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, BOOLOID},
	};

	make(&query, tenant_ids, 0);
}

/* A payment that comes after all is one all the same; one that its gateway works on, as on a direct debit, takes its time. */
void
billing_collect_fail_unanswered(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.collection_attempt a SET status = 'failed', code = 'timeout', class = d.class, settled_at = billing.now(),"
		"  retry_at = billing.retry_at(n, a.attempt_no, a.retry_no, d.next_attempt)"
		"  FROM billing.dunning_timeline n, billing.find_decline_code('any', 'timeout') d"
		" WHERE a.tenant_id = ANY ($1) AND a.status = 'pending' AND n.tenant_id = a.tenant_id AND n.invoice_id = a.invoice_id"
		"   AND a.created_at + n.pending_timeout <= billing.now()"
		"   AND NOT EXISTS (SELECT FROM billing.payment p WHERE p.tenant_id = a.tenant_id AND p.invoice_id = a.invoice_id"
		"     AND p.attempt_no = a.attempt_no AND p.retry_no = a.retry_no AND p.status = 'processing')",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};

	(void) billing_spi_run(&query, &tenant_ids, NULL);
}

void
billing_collect_retry(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = MAKE("v.retry_no", "false", "billing.due_retry v WHERE v.tenant_id = ANY ($1)"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, BOOLOID},
	};

	/* Also of those that are not tried again: they are paid, or the next attempt was due before. */
	static BillingQuery done = {
		.sql = "UPDATE billing.collection_attempt a SET retry_at = NULL WHERE a.tenant_id = ANY ($1) AND a.retry_at <= billing.now()",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};

	make(&query, tenant_ids, 0);
	(void) billing_spi_run(&done, &tenant_ids, NULL);
}

/* Who chose a bank transfer sends the money: no other method is charged for it. */
void
billing_collect_again(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = MAKE("v.retry_no", "true", "billing.next_attempt v WHERE v.tenant_id = ANY ($1) AND EXISTS"
					" (SELECT FROM billing.payment_method d WHERE d.tenant_id = v.tenant_id AND d.is_default AND d.type <> 'bank_transfer')"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, BOOLOID},
	};

	if (billing_id_count(tenant_ids) > 0)
		make(&query, tenant_ids, 0);
}

/* Write the rows of attempts, of tenants or of one invoice, and tell whoever collects. */
static void
make(BillingQuery *query, Datum tenant_ids, int64 invoice_id)
{
	Datum		args[] = {tenant_ids, BoolGetDatum(billing_collect_hook != NULL), Int64GetDatum(invoice_id)};
	int			count = (int) billing_spi_run(query, args, NULL);
	BillingAttempt *attempts = palloc(sizeof(BillingAttempt) * Max(count, 1));
	bool		isnull;

	for (int i = 0; i < count; i++)
	{
		attempts[i].tenant_id = DatumGetInt64(billing_spi_value(i, 1, &isnull));
		attempts[i].invoice_id = DatumGetInt64(billing_spi_value(i, 2, &isnull));
		attempts[i].attempt_no = DatumGetInt32(billing_spi_value(i, 3, &isnull));
		attempts[i].retry_no = DatumGetInt32(billing_spi_value(i, 4, &isnull));
		attempts[i].payment_method_id = DatumGetInt64(billing_spi_value(i, 5, &isnull));
	}
	billing_attempt(collect_some, report, attempts, count);
}

static void
collect_some(void *set, int from, int count)
{
	const BillingAttempt *attempts = set;

	for (int i = from; i < from + count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (billing_collect_hook != NULL)
			billing_collect_hook(&attempts[i]);
		else
			billing_collect_payment(&attempts[i]);
	}
}

static void
report(void *set, int which, const ErrorData *error)
{
	const BillingAttempt *attempt = (const BillingAttempt *) set + which;

	billing_collect_fail(attempt, NULL, "error", error->message);
}

void
billing_collect_succeed(const BillingAttempt *attempt, const char *gateway)
{
	settle(attempt, gateway, NULL, NULL);
}

void
billing_collect_fail(const BillingAttempt *attempt, const char *gateway, const char *code, const char *message)
{
	settle(attempt, gateway, code, message);
}

/* With a code it failed; one that says that the payment method is gone for good ends that, too. */
static void
settle(const BillingAttempt *attempt, const char *gateway, const char *code, const char *message)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.collection_attempt a SET status = CASE WHEN $6 IS NULL THEN 'succeeded' ELSE 'failed' END,"
		"  gateway = $5, code = $6, message = $7, class = d.class, settled_at = billing.now(),"
		"  retry_at = CASE WHEN d.next_attempt IS NOT NULL THEN (SELECT billing.retry_at(n, a.attempt_no, a.retry_no, d.next_attempt)"
		"    FROM billing.dunning_timeline n WHERE n.tenant_id = a.tenant_id AND n.invoice_id = a.invoice_id) END"
		"  FROM (SELECT) o LEFT JOIN LATERAL billing.find_decline_code("
		"    coalesce((SELECT g.driver FROM billing.gateway g WHERE g.code = $5), $5, 'any'), $6) d ON $6 IS NOT NULL"
		" WHERE a.tenant_id = $1 AND a.invoice_id = $2 AND a.attempt_no = $3 AND a.retry_no = $4"
		" RETURNING CASE WHEN d.ends_method THEN a.payment_method_id END",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 7,
		.argtypes = {INT8OID, INT8OID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(attempt->tenant_id), Int64GetDatum(attempt->invoice_id), Int32GetDatum(attempt->attempt_no),
		Int32GetDatum(attempt->retry_no), gateway == NULL ? (Datum) 0 : CStringGetTextDatum(gateway),
		code == NULL ? (Datum) 0 : CStringGetTextDatum(code), message == NULL ? (Datum) 0 : CStringGetTextDatum(message)
	};
	char		nulls[] = "       ";
	bool		isnull;
	Datum		ended;

	nulls[4] = gateway == NULL ? 'n' : ' ';
	nulls[5] = code == NULL ? 'n' : ' ';
	nulls[6] = message == NULL ? 'n' : ' ';
	if (billing_spi_run(&query, args, nulls) == 0)
		return;
	ended = billing_spi_value(0, 1, &isnull);
	if (!isnull)
		billing_payment_method_fail(attempt->tenant_id, DatumGetInt64(ended), code, message);
}

/*
 * billing_fail_attempt
 *		An application that collects by itself says why an attempt failed.
 *
 * The attempt is the last one of the invoice, if it is under way or nobody here could make it.  What the
 * answer means, the decline code says; what follows of the first failure follows at once.
 */
Datum
billing_fail_attempt(PG_FUNCTION_ARGS)
{
	static BillingQuery waiting = {
		.sql = "SELECT a.attempt_no, a.retry_no FROM (SELECT o.* FROM billing.collection_attempt o"
		"   WHERE o.tenant_id = $1 AND o.invoice_id = $2 ORDER BY o.attempt_no DESC, o.retry_no DESC LIMIT 1) a"
		" WHERE a.status = 'pending' OR a.status = 'failed' AND a.gateway IS NULL",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	BillingFlow flow;
	BillingAttempt attempt;
	Datum		result;

	billing_flow_require(fcinfo, INVOICE_ID, "invoice_id");
	billing_flow_require(fcinfo, CODE, "code");
	billing_flow_require(fcinfo, GATEWAY, "gateway");
	check_answer(text_to_cstring(PG_GETARG_TEXT_PP(GATEWAY)), text_to_cstring(PG_GETARG_TEXT_PP(CODE)));
	if (billing_flow_begin(&flow, fcinfo, "fail_attempt", REQUEST_ID, &result))
		return result;

	billing_flow_find_invoice(flow.tenant_id, PG_GETARG_INT64(INVOICE_ID));
	if (!find_attempt(&waiting, &flow, PG_GETARG_INT64(INVOICE_ID), &attempt))
		refuse(&flow, PG_GETARG_INT64(INVOICE_ID), "has no attempt of collection that waits for an answer",
			   "billing.collection_attempt has those there were; billing.dunning() makes the next one when it is due.");
	billing_collect_fail(&attempt, text_to_cstring(PG_GETARG_TEXT_PP(GATEWAY)), text_to_cstring(PG_GETARG_TEXT_PP(CODE)),
						 PG_ARGISNULL(MESSAGE) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(MESSAGE)));
	billing_dunning_catch_up(&flow);
	return billing_flow_end(&flow, read_attempt(&flow, &attempt));
}

/*
 * billing_retry_payment
 *		Somebody says that it is worth to try again, also after what failed for good.
 *
 * What stopped was the last attempt: with another one behind it the timetable goes on.
 */
Datum
billing_retry_payment(PG_FUNCTION_ARGS)
{
	static BillingQuery next = {
		.sql = "SELECT v.attempt_no, v.retry_no FROM billing.next_attempt v WHERE v.tenant_id = $1 AND v.invoice_id = $2 AND v.is_last",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery query = {
		.sql = MAKE("v.retry_no", "false", "billing.next_attempt v WHERE v.tenant_id = ANY ($1) AND v.invoice_id = $3"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, BOOLOID, INT8OID},
	};
	BillingFlow flow;
	BillingAttempt attempt;
	Datum		result;

	billing_flow_require(fcinfo, INVOICE_ID, "invoice_id");
	if (billing_flow_begin(&flow, fcinfo, "retry_payment", 2, &result))
		return result;

	billing_flow_find_invoice(flow.tenant_id, PG_GETARG_INT64(INVOICE_ID));
	if (!find_attempt(&next, &flow, PG_GETARG_INT64(INVOICE_ID), &attempt))
		refuse(&flow, PG_GETARG_INT64(INVOICE_ID), "is not one whose collection has failed",
			   "It is to be open, of a tenant with setting collection automatic, and its last row of billing.collection_attempt failed.");
	make(&query, billing_id_array_of(flow.tenant_id), PG_GETARG_INT64(INVOICE_ID));
	billing_dunning_catch_up(&flow);
	return billing_flow_end(&flow, read_attempt(&flow, &attempt));
}

/* What could stand in billing.decline_code. */
static void
check_answer(const char *gateway, const char *code)
{
	billing_gateway_check_name("gateway", gateway);
	if (code[0] == '\0' || strlen(code) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%.*s\" is not a decline code", BILLING_QUOTED(code, strlen(code))),
				 errdetail("argument=code bytes=%zu", strlen(code)),
				 errhint("Give it the 1 to 255 bytes that the gateway answered, such as insufficient_funds.")));
}

/* The attempt of an invoice that a query finds; false: there is none. */
static bool
find_attempt(BillingQuery *query, const BillingFlow *flow, int64 invoice_id, BillingAttempt *attempt)
{
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id)};
	bool		isnull;

	if (billing_spi_run(query, args, NULL) == 0)
		return false;
	attempt->tenant_id = flow->tenant_id;
	attempt->invoice_id = invoice_id;
	attempt->attempt_no = DatumGetInt32(billing_spi_value(0, 1, &isnull));
	attempt->retry_no = DatumGetInt32(billing_spi_value(0, 2, &isnull));
	attempt->payment_method_id = 0;
	return true;
}

static void
refuse(const BillingFlow *flow, int64 invoice_id, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("invoice %lld of tenant %lld %s", (long long) invoice_id, (long long) flow->tenant_id, problem),
			 errdetail("tenant_id=%lld invoice_id=%lld", (long long) flow->tenant_id, (long long) invoice_id),
			 errhint("%s", hint)));
}

static Datum
read_attempt(BillingFlow *flow, const BillingAttempt *attempt)
{
	static BillingQuery query = {
		.sql = "SELECT a FROM billing.collection_attempt a"
		" WHERE a.tenant_id = $1 AND a.invoice_id = $2 AND a.attempt_no = $3 AND a.retry_no = $4",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT4OID, INT4OID},
	};
	Datum		args[] = {
		Int64GetDatum(attempt->tenant_id), Int64GetDatum(attempt->invoice_id), Int32GetDatum(attempt->attempt_no),
		Int32GetDatum(attempt->retry_no)
	};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}
