/*-------------------------------------------------------------------------
 *
 * gateway_request.c
 *	  What is to be asked of gateways: how flows ask, and how an application sends for itself.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "encoding.h"
#include "flow.h"
#include "gateway/document.h"
#include "gateway_ask.h"
#include "gateway_certificate.h"
#include "gateway_request.h"
#include "merchant_no.h"
#include "payment.h"
#include "result.h"
#include "wake.h"

BILLING_FUNCTION(billing_gateway_request);
BILLING_FUNCTION(billing_gateway_response);

#define CLAIM_SECONDS	120
#define LOCAL_MAX		8		/* requests that need no network, one behind the other */

/* The arguments of gateway_response. */
enum
{
	PAY_NO, STATUS, HEADERS, BODY
};

static void begin_of_payment(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name);
static int64 find_payment(const BillingFlow *flow, const char *pay_no);
static bool claim(const BillingFlow *flow, int64 payment_id, BillingAsk *ask);
static bool find_claimed(const BillingFlow *flow, int64 payment_id, TimestampTz over_at, BillingAsk *ask);
static void settle_lost(BillingFlow *flow, int64 payment_id);
static const char *find_gateway(const BillingFlow *flow, int64 payment_id);
static bool claim_certificate(const BillingFlow *flow, int64 payment_id, BillingGatewayRequest *request);
static void read_answer(FunctionCallInfo fcinfo, BillingAnswered *answered);
static void read_ask(const BillingFlow *flow, BillingAsk *ask);
static Datum show(BillingFlow *flow, const BillingGatewayRequest *request);
static Datum text_or_null(const char *utf8, bool *isnull);

/*
 * billing_gateway_ask
 *		Write a request, unless the same waits; then the earlier instant counts.
 */
int64
billing_gateway_ask(int64 tenant_id, const char *gateway, BillingGatewayOperation operation, int64 object_id, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway_request AS q (tenant_id, gateway, operation, object_id, idempotency_key, next_attempt_at)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
		" ON CONFLICT (tenant_id, object_id, operation) WHERE next_attempt_at IS NOT NULL DO UPDATE"
		"   SET next_attempt_at = CASE WHEN q.state = 'waiting' THEN least(q.next_attempt_at, excluded.next_attempt_at) ELSE q.next_attempt_at END"
		" RETURNING q.gateway_request_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 6,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(tenant_id), CStringGetTextDatum(gateway), CStringGetTextDatum(billing_gateway_ask_name(operation)),
		Int64GetDatum(object_id), CStringGetTextDatum(billing_merchant_no_new(tenant_id)), TimestampTzGetDatum(at == 0 ? billing_clock_real() : at)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	billing_wake_due_at_commit();
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

void
billing_gateway_forget(int64 tenant_id, int64 object_id, int operations)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_request q SET state = 'dropped', next_attempt_at = NULL, memory = NULL, finished_at = $4"
		" WHERE q.tenant_id = $1 AND q.object_id = $2 AND q.operation = ANY ($3) AND q.next_attempt_at IS NOT NULL AND q.state = 'waiting'",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TEXTARRAYOID, TIMESTAMPTZOID},
	};
	Datum		names[32];
	int			count = 0;
	Datum		args[4];

	for (int i = 0; i <= BILLING_GATEWAY_SUBSCRIPTION; i++)
	{
		if (operations & (1 << i))
			names[count++] = CStringGetTextDatum(billing_gateway_ask_name(i));
	}
	args[0] = Int64GetDatum(tenant_id);
	args[1] = Int64GetDatum(object_id);
	args[2] = PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
	args[3] = TimestampTzGetDatum(billing_clock_real());
	(void) billing_spi_run(&query, args, NULL);
}

TimestampTz
billing_gateway_busy_until(int64 tenant_id, int64 object_id, BillingGatewayOperation operation)
{
	static BillingQuery query = {
		.sql = "SELECT q.next_attempt_at FROM billing.gateway_request q"
		" WHERE q.tenant_id = $1 AND q.object_id = $2 AND q.operation = $3 AND q.next_attempt_at IS NOT NULL AND q.state = 'sending'",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(object_id), CStringGetTextDatum(billing_gateway_ask_name(operation))};
	bool		isnull;

	return billing_spi_run(&query, args, NULL) == 0 ? 0 : DatumGetTimestampTz(billing_spi_value(0, 1, &isnull));
}

/*
 * billing_gateway_answer_here
 *		What a gateway needs no network for is done at once, and what it cannot do is refused at once.
 */
bool
billing_gateway_answer_here(BillingFlow *flow, int64 gateway_request_id)
{
	BillingAsk	ask = {.tenant_id = flow->tenant_id, .gateway_request_id = gateway_request_id, .claimed_at = DT_NOBEGIN};
	BillingGatewayRequest request;
	BillingGatewayAnswer answer;
	BillingAnswered answered = {.answer = &answer};
	const char *problem;

	read_ask(flow, &ask);
	billing_gateway_ask_read(&ask);
	problem = billing_gateway_ask_build(&ask, &request, &answer);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_GATEWAY_REFUSED),
				 errmsg("gateway \"%s\" cannot be asked for this", ask.gateway),
				 errdetail("gateway=%s operation=%s %s", ask.gateway, billing_gateway_ask_name(ask.operation), problem),
				 errhint("doc/gateway_%s.md says what it takes.", ask.account->driver->name)));
	return request.verb == NULL && billing_gateway_ask_settle(flow, &ask, &answered);
}

/* What the row of a request says that waits. */
static void
read_ask(const BillingFlow *flow, BillingAsk *ask)
{
	static BillingQuery query = {
		.sql = "SELECT q.gateway, q.operation, q.object_id, q.step, q.attempts FROM billing.gateway_request q"
		" WHERE q.tenant_id = $1 AND q.gateway_request_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(ask->gateway_request_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		elog(ERROR, "there is no request %lld of tenant %lld", (long long) ask->gateway_request_id, (long long) flow->tenant_id);
	ask->gateway = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	ask->operation = billing_gateway_ask_operation(TextDatumGetCString(billing_spi_value(0, 2, &isnull)));
	ask->object_id = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	ask->step = DatumGetInt32(billing_spi_value(0, 4, &isnull));
	ask->attempts = DatumGetInt32(billing_spi_value(0, 5, &isnull));
}

/*
 * billing_gateway_request
 *		The next request of a payment, for somebody who sends it himself: one at a time, since an answer does not say to which it is.
 */
Datum
billing_gateway_request(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingAsk	ask;
	BillingGatewayRequest request;
	BillingGatewayAnswer answer;
	BillingAnswered answered = {.answer = &answer};
	int64		payment_id;

	begin_of_payment(&flow, fcinfo, "gateway_request");
	payment_id = find_payment(&flow, text_to_cstring(PG_GETARG_TEXT_PP(PAY_NO)));
	settle_lost(&flow, payment_id);
	memset(&request, 0, sizeof(request));
	if (find_claimed(&flow, payment_id, DT_NOEND, &ask))
		return billing_flow_end(&flow, show(&flow, &request));
	for (int i = 0; i < LOCAL_MAX && claim(&flow, payment_id, &ask); i++)
	{
		billing_gateway_ask_read(&ask);
		if (billing_gateway_ask_build(&ask, &request, &answer) == NULL && request.verb != NULL)
			return billing_flow_end(&flow, show(&flow, &request));
		if (ask.problem != NULL)
			answered.answer = NULL;
		(void) billing_gateway_ask_settle(&flow, &ask, &answered);
	}
	if (!claim_certificate(&flow, payment_id, &request))
		memset(&request, 0, sizeof(request));
	return billing_flow_end(&flow, show(&flow, &request));
}

/* Where nothing else is to be asked, what a callback of its gateway waits for. */
static bool
claim_certificate(const BillingFlow *flow, int64 payment_id, BillingGatewayRequest *request)
{
	const char *gateway = find_gateway(flow, payment_id);
	TimestampTz now = billing_clock_real();
	BillingGatewayAnswer answer;
	BillingAnswered answered = {.answer = &answer};
	BillingAsk *ask;

	if (gateway == NULL || billing_gateway_certificate_claim(gateway, now, now + CLAIM_SECONDS * USECS_PER_SEC, &ask) == 0)
		return false;
	ask->account = billing_gateway_account_open(gateway);
	if (billing_gateway_ask_build(ask, request, &answer) == NULL && request->verb != NULL)
		return true;
	billing_gateway_certificate_settle(ask, &answered);
	return false;
}

/* NULL: it came outside any. */
static const char *
find_gateway(const BillingFlow *flow, int64 payment_id)
{
	static BillingQuery query = {
		.sql = "SELECT p.gateway FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id)};
	Datum		gateway;
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	gateway = billing_spi_value(0, 1, &isnull);
	return isnull ? NULL : TextDatumGetCString(gateway);
}

/* Whoever claimed it before never said what came of it: it may have been sent. */
static void
settle_lost(BillingFlow *flow, int64 payment_id)
{
	static const BillingAnswered lost = {.is_sent = true, .error = "lost: who sent it never said what came of it"};
	BillingAsk	ask;

	while (find_claimed(flow, payment_id, billing_clock_real(), &ask))
	{
		billing_gateway_ask_read(&ask);
		(void) billing_gateway_ask_settle(flow, &ask, &lost);
	}
}

/* Begin a flow of the tenant that a pay_no carries. */
static void
begin_of_payment(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name)
{
	char	   *pay_no;
	char	   *end;
	int64		tenant_id;

	billing_flow_require(fcinfo, PAY_NO, "pay_no");
	pay_no = text_to_cstring(PG_GETARG_TEXT_PP(PAY_NO));
	errno = 0;
	tenant_id = strtoll(pay_no, &end, 10);
	if (errno != 0 || end == pay_no || *end != '_' || tenant_id <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("payment \"%.*s\" does not exist", BILLING_QUOTED(pay_no, strlen(pay_no))),
				 errdetail("pay_no=%.*s", BILLING_QUOTED(pay_no, strlen(pay_no))),
				 errhint("The pay_no of a payment that create_payment made begins with its tenant and an underscore.")));
	billing_flow_begin_for(flow, fcinfo, name, tenant_id);
}

static int64
find_payment(const BillingFlow *flow, const char *pay_no)
{
	static BillingQuery query = {
		.sql = "SELECT p.payment_id FROM billing.payment p WHERE p.tenant_id = $1 AND p.pay_no = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), CStringGetTextDatum(pay_no)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("payment", flow->tenant_id, psprintf("\"%s\"", pay_no));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* Those of a payment and its refunds. */
#define OF_PAYMENT \
	"q.tenant_id = $1 AND (q.object_id = $2 OR q.object_id IN (SELECT r.refund_id FROM billing.refund r WHERE r.tenant_id = $1 AND r.payment_id = $2))"

static bool
claim(const BillingFlow *flow, int64 payment_id, BillingAsk *ask)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_request q SET state = 'sending', claimed_at = $3, next_attempt_at = $4, attempts = q.attempts + 1"
		" WHERE q.tenant_id = $1 AND q.gateway_request_id = (SELECT q.gateway_request_id FROM billing.gateway_request q"
		"    WHERE " OF_PAYMENT " AND q.state = 'waiting' AND q.next_attempt_at <= $3 ORDER BY q.next_attempt_at LIMIT 1 FOR NO KEY UPDATE)"
		" RETURNING q.gateway_request_id",
		.expected = SPI_OK_UPDATE_RETURNING,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	};
	static BillingQuery begin = {
		.sql = "UPDATE billing.payment p SET status = 'processing', version = p.version + 1"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.status = 'pending'",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	TimestampTz now = billing_clock_real();
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id), TimestampTzGetDatum(now),
		TimestampTzGetDatum(now + CLAIM_SECONDS * USECS_PER_SEC)
	};
	bool		isnull;

	memset(ask, 0, sizeof(BillingAsk));
	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	ask->tenant_id = flow->tenant_id;
	ask->gateway_request_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	ask->claimed_at = now;
	read_ask(flow, ask);
	if (ask->operation == BILLING_GATEWAY_PAY)
		(void) billing_spi_run(&begin, args, NULL);
	return true;
}

/* The request as columns; all NULL: there is none. */
static Datum
show(BillingFlow *flow, const BillingGatewayRequest *request)
{
	StringInfoData headers;
	Datum		values[4];
	bool		nulls[4] = {false};

	MemoryContextSwitchTo(flow->caller);
	initStringInfo(&headers);
	appendStringInfoChar(&headers, '{');
	for (int i = 0; i < request->headers.count; i++)
		billing_document_append_member(&headers, request->headers.pairs[i].name, request->headers.pairs[i].value);
	appendStringInfoChar(&headers, '}');
	values[0] = text_or_null(request->verb, &nulls[0]);
	values[1] = text_or_null(request->url, &nulls[1]);
	values[2] = DirectFunctionCall1(jsonb_in, CStringGetDatum(headers.data));
	nulls[2] = request->verb == NULL;
	values[3] = text_or_null(request->body, &nulls[3]);
	return billing_result_make(flow->fcinfo, 4, values, nulls);
}

static Datum
text_or_null(const char *utf8, bool *isnull)
{
	*isnull = utf8 == NULL;
	return billing_encoding_datum(utf8);
}

/*
 * billing_gateway_response
 *		What the gateway answered to that.
 */
Datum
billing_gateway_response(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingAsk	ask;
	BillingAnswered answered;
	const char *gateway;
	int64		payment_id;

	begin_of_payment(&flow, fcinfo, "gateway_response");
	payment_id = find_payment(&flow, text_to_cstring(PG_GETARG_TEXT_PP(PAY_NO)));
	gateway = find_gateway(&flow, payment_id);
	read_answer(fcinfo, &answered);
	if (find_claimed(&flow, payment_id, DT_NOEND, &ask))
	{
		billing_gateway_ask_read(&ask);
		(void) billing_gateway_ask_settle(&flow, &ask, &answered);
	}
	else if (gateway != NULL && billing_gateway_certificate_find_claimed(gateway, &ask))
	{
		ask.account = billing_gateway_account_open(gateway);
		billing_gateway_certificate_settle(&ask, &answered);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("no request of payment %lld waits for an answer", (long long) payment_id),
				 errdetail("tenant_id=%lld payment_id=%lld", (long long) flow.tenant_id, (long long) payment_id),
				 errhint("gateway_request() gives the request that is to be sent.")));
	return billing_flow_end(&flow, billing_payment_read(&flow, payment_id));
}

static void
read_answer(FunctionCallInfo fcinfo, BillingAnswered *answered)
{
	memset(answered, 0, sizeof(*answered));
	answered->is_sent = true;
	answered->body = "";
	answered->status = PG_ARGISNULL(STATUS) ? 0 : PG_GETARG_INT32(STATUS);
	if (!PG_ARGISNULL(HEADERS))
		answered->headers = billing_gateway_account_pairs(PG_GETARG_JSONB_P(HEADERS));
	if (!PG_ARGISNULL(BODY))
		answered->body = billing_encoding_to_utf8(text_to_cstring(PG_GETARG_TEXT_PP(BODY)));
	answered->len = strlen(answered->body);
	if (answered->status == 0)
		answered->error = answered->body;
}

/* The one that was claimed last, of those whose claim is over then. */
static bool
find_claimed(const BillingFlow *flow, int64 payment_id, TimestampTz over_at, BillingAsk *ask)
{
	static BillingQuery query = {
		.sql = "SELECT q.gateway_request_id, q.claimed_at FROM billing.gateway_request q WHERE " OF_PAYMENT
		" AND q.state = 'sending' AND q.next_attempt_at <= $3 ORDER BY q.claimed_at DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id), TimestampTzGetDatum(over_at)};
	bool		isnull;

	memset(ask, 0, sizeof(BillingAsk));
	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	ask->tenant_id = flow->tenant_id;
	ask->gateway_request_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	ask->claimed_at = DatumGetTimestampTz(billing_spi_value(0, 2, &isnull));
	read_ask(flow, ask);
	return true;
}
