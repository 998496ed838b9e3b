/*-------------------------------------------------------------------------
 *
 * gateway_ask.c
 *	  A request to a gateway, from its row to its bytes, and from the answer to the news.
 *
 * A row is claimed in a transaction, sent with none open, and settled in another.  Where it is not
 * settled, since who sent it was killed, its claim ends by itself; what it was about may have happened
 * then, so that it is not done again: what became of it is asked for, at 5 minutes, at an hour, then daily, five times.
 *
 * All strings of a driver are UTF-8.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "encoding.h"
#include "gateway_ask.h"
#include "gateway_request.h"
#include "mirrored_subscription.h"
#include "news.h"
#include "wake.h"

#define STEPS_MAX		12		/* of a conversation: one that goes on for longer turns in circles */

/* How an outcome is written; in the order of BillingGatewayOutcome. */
static const char *const outcomes[] = {
	"succeeded", "processing", "requires_action", "approved", "failed", "canceled", "unknown", "retry", "next"
};

/* In that of BillingGatewayOperation. */
static const char *const operations[] = {
	"pay", "capture", "query", "close", "refund", "query_refund", "add_method", "remove_method", "subscription", "certificate"
};

/* Seconds until what did not happen is tried again, after each attempt; then it is given up. */
static const int retry_after[] = {5, 60, 300, 1800, 7200};

/* And until what waits for a key is looked at again, as long as that lasts. */
#define HELD_SECONDS	60

/* Until what became of something is asked for, before each time; then a person is to. */
static const int ask_after[] = {300, 3600, 86400, 86400, 86400};


static bool is_current(const BillingAsk *ask);
static void read_answer(BillingAsk *ask, const BillingAnswered *answered, BillingGatewayAnswer *answer);
static void stop_if_over(const BillingAsk *ask, BillingGatewayAnswer *answer);
static void judge_silence(const BillingAsk *ask, const BillingAnswered *answered, BillingGatewayAnswer *answer);
static bool may_have_happened(BillingGatewayOperation operation);
static bool is_question(BillingGatewayOperation operation);
static int64 delay_of(const BillingAsk *ask, const BillingAnswered *answered, BillingGatewayAnswer *answer);
static int64 delay_in(const int *delays, int count, int attempts);
static void go_on(const BillingAsk *ask, const BillingAnswered *answered, const BillingGatewayAnswer *answer, int64 delay);
static void finish(const BillingAsk *ask, const BillingAnswered *answered, const BillingGatewayAnswer *answer);
static void tell(BillingFlow *flow, BillingAsk *ask, BillingGatewayAnswer *answer);
static void tell_mirror(BillingFlow *flow, const BillingAsk *ask, BillingNews *news);
static bool is_fee_awaited(int64 tenant_id, const BillingGateway *driver, BillingGatewayOperation operation, int64 object_id,
						   const BillingGatewayAnswer *answer);
static const BillingGateway *driver_of(const BillingAsk *ask);
static bool is_paid(const BillingGatewayAnswer *answer, const BillingNews *news);
static bool is_in_flight(int64 tenant_id, int64 payment_id);
static bool has_state(int64 tenant_id, int64 payment_id, const char *states);
static Datum error_of(const BillingAnswered *answered, const BillingGatewayAnswer *answer);

const char *
billing_gateway_ask_name(BillingGatewayOperation operation)
{
	return operations[operation];
}

const char *
billing_gateway_ask_outcome(BillingGatewayOutcome outcome)
{
	return outcomes[outcome];
}

BillingGatewayOperation
billing_gateway_ask_operation(const char *name)
{
	for (int i = 0; i < lengthof(operations); i++)
	{
		if (strcmp(operations[i], name) == 0)
			return i;
	}
	elog(ERROR, "operation \"%s\" is not known", name);
}

/*
 * billing_gateway_ask_claim
 *		Take what is due, and mark its payments as being asked for; a row that somebody has locked is passed over.
 *
 * The payments are come to from the few requests that are due, also by a plan of when the tables were empty: such a one would begin
 * with all payments that wait.
 *
 * One whose claim is over was sent by somebody who never said what came of it: it is lost, unless its tenant is among held, of whom
 * the caller has answers that it cannot record yet.
 */
int
billing_gateway_ask_claim(TimestampTz now, TimestampTz until, int count, Datum held, BillingAsk **asks, bool **are_lost)
{
	static BillingQuery query = {
		.sql = "WITH due AS MATERIALIZED (SELECT q.tenant_id, q.gateway_request_id, q.operation, q.object_id, q.state = 'sending' AS is_lost"
		"   FROM billing.gateway_request q"
		"   WHERE q.next_attempt_at <= $1 AND q.tenant_id <> ALL ($4) ORDER BY q.next_attempt_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED"
		" ), paid AS MATERIALIZED (SELECT d.tenant_id, p.payment_id FROM due d CROSS JOIN LATERAL (SELECT p.payment_id FROM billing.payment p"
		"     WHERE p.tenant_id = d.tenant_id AND p.payment_id = d.object_id AND p.status = 'pending' FOR NO KEY UPDATE SKIP LOCKED) p"
		"   WHERE d.operation = 'pay'"
		" ), begun AS (UPDATE billing.payment p SET status = 'processing', version = p.version + 1 FROM paid y"
		"   WHERE p.tenant_id = y.tenant_id AND p.payment_id = y.payment_id"
		" ) UPDATE billing.gateway_request q SET state = 'sending', claimed_at = $1, next_attempt_at = $2,"
		"    attempts = q.attempts + 1 - d.is_lost::integer"
		"   FROM due d WHERE q.tenant_id = d.tenant_id AND q.gateway_request_id = d.gateway_request_id"
		"    AND (q.operation <> 'pay' OR q.state = 'sending' OR EXISTS (SELECT FROM paid y WHERE y.tenant_id = q.tenant_id AND y.payment_id = q.object_id)"
		"      OR NOT EXISTS (SELECT FROM billing.payment p WHERE p.tenant_id = q.tenant_id AND p.payment_id = q.object_id AND p.status = 'pending'))"
		" RETURNING q.tenant_id, q.gateway_request_id, q.gateway, q.operation, q.object_id, q.step, q.attempts, d.is_lost",
		.expected = SPI_OK_UPDATE_RETURNING,
		.by_key = true,
		.nargs = 4,
		.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT8ARRAYOID},
	};
	Datum		args[] = {TimestampTzGetDatum(now), TimestampTzGetDatum(until), Int32GetDatum(count), held};
	MemoryContext context = CurrentMemoryContext;
	int			n = (int) billing_spi_run(&query, args, NULL);
	bool		isnull;

	MemoryContextSwitchTo(context);
	*asks = palloc0(Max(n, 1) * sizeof(BillingAsk));
	*are_lost = palloc0(Max(n, 1) * sizeof(bool));
	for (int i = 0; i < n; i++)
	{
		BillingAsk *ask = &(*asks)[i];

		ask->tenant_id = DatumGetInt64(billing_spi_value(i, 1, &isnull));
		ask->gateway_request_id = DatumGetInt64(billing_spi_value(i, 2, &isnull));
		ask->gateway = TextDatumGetCString(billing_spi_value(i, 3, &isnull));
		ask->operation = billing_gateway_ask_operation(TextDatumGetCString(billing_spi_value(i, 4, &isnull)));
		ask->object_id = DatumGetInt64(billing_spi_value(i, 5, &isnull));
		ask->step = DatumGetInt32(billing_spi_value(i, 6, &isnull));
		ask->attempts = DatumGetInt32(billing_spi_value(i, 7, &isnull));
		ask->claimed_at = now;
		(*are_lost)[i] = DatumGetBool(billing_spi_value(i, 8, &isnull));
	}
	return n;
}

TimestampTz
billing_gateway_ask_next(void)
{
	static BillingQuery query = {
		.sql = "SELECT min(q.next_attempt_at) FROM billing.gateway_request q WHERE q.next_attempt_at IS NOT NULL",
		.expected = SPI_OK_SELECT,
	};
	TimestampTz next;
	bool		isnull;

	(void) billing_spi_run(&query, NULL, NULL);
	next = DatumGetTimestampTz(billing_spi_value(0, 1, &isnull));
	return isnull ? DT_NOEND : next;
}

/*
 * billing_gateway_ask_settle
 *		Record what came of a request, and let everything follow.
 */
bool
billing_gateway_ask_settle(BillingFlow *flow, BillingAsk *ask, const BillingAnswered *answered)
{
	BillingGatewayAnswer answer;
	int64		delay;

	if (!is_current(ask))
		return false;
	read_answer(ask, answered, &answer);
	if (ask->operation == BILLING_GATEWAY_PAY)
		stop_if_over(ask, &answer);
	delay = delay_of(ask, answered, &answer);
	if (delay >= 0)
		go_on(ask, answered, &answer, delay);
	else
		finish(ask, answered, &answer);
	if (answer.outcome != BILLING_GATEWAY_RETRY && answer.outcome != BILLING_GATEWAY_NEXT)
		tell(flow, ask, &answer);
	return true;
}

/* Lock the row; false if it was claimed by somebody else since, or is over. */
static bool
is_current(const BillingAsk *ask)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway_request q WHERE q.tenant_id = $1 AND q.gateway_request_id = $2"
		" AND CASE WHEN $3 = '-infinity' THEN q.state = 'waiting' ELSE q.state = 'sending' AND q.claimed_at = $3 END FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(ask->tenant_id), Int64GetDatum(ask->gateway_request_id), TimestampTzGetDatum(ask->claimed_at)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/* What the driver makes of an answer, or what it means that there is none. */
static void
read_answer(BillingAsk *ask, const BillingAnswered *answered, BillingGatewayAnswer *answer)
{
	billing_gateway_clear(answer);
	if (answered->answer != NULL)
		*answer = *answered->answer;
	else if (ask->problem != NULL && !answered->is_sent)
	{
		answer->outcome = BILLING_GATEWAY_FAILED;
		answer->code = "refused";
		answer->message = ask->problem;
	}
	else if (answered->status == 0)
		judge_silence(ask, answered, answer);
	else
		ask->account->driver->read(&ask->account->config, &ask->order, answered->status, &answered->headers, answered->body, answered->len,
								   answer);
	if (answer->outcome == BILLING_GATEWAY_NEXT && ask->step >= STEPS_MAX)
	{
		answer->outcome = may_have_happened(ask->operation) || is_question(ask->operation) ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_FAILED;
		answer->code = "error";
		answer->message = "the conversation does not end";
	}
}

/*
 * stop_if_over
 *		A payment that ended while it was being sent is not sent again, nor gone on with: nobody knows what there is of it at the gateway.
 */
static void
stop_if_over(const BillingAsk *ask, BillingGatewayAnswer *answer)
{
	if ((answer->outcome != BILLING_GATEWAY_NEXT && answer->outcome != BILLING_GATEWAY_RETRY) || is_in_flight(ask->tenant_id, ask->object_id))
		return;
	answer->outcome = BILLING_GATEWAY_UNKNOWN;
	answer->code = "called_off";
	answer->message = "the payment was called off while it was being sent";
}

/* What was never sent did not happen; what asks only may be asked again. */
static void
judge_silence(const BillingAsk *ask, const BillingAnswered *answered, BillingGatewayAnswer *answer)
{
	answer->outcome = answered->is_sent && may_have_happened(ask->operation) ? BILLING_GATEWAY_UNKNOWN : BILLING_GATEWAY_RETRY;
	answer->code = "network";
	answer->message = answered->error;
}

static bool
may_have_happened(BillingGatewayOperation operation)
{
	return operation == BILLING_GATEWAY_PAY || operation == BILLING_GATEWAY_CAPTURE || operation == BILLING_GATEWAY_REFUND;
}

static bool
is_question(BillingGatewayOperation operation)
{
	return operation == BILLING_GATEWAY_QUERY || operation == BILLING_GATEWAY_QUERY_REFUND;
}

/*
 * delay_of
 *		Microseconds until the request is made again; -1: it is over.
 *
 * What is tried in vain for long is given up: a payment has failed then, if it did not happen.
 */
static int64
delay_of(const BillingAsk *ask, const BillingAnswered *answered, BillingGatewayAnswer *answer)
{
	int64		delay;

	if (answered->is_held && answer->outcome == BILLING_GATEWAY_RETRY)
		return HELD_SECONDS * USECS_PER_SEC;
	if (answer->outcome == BILLING_GATEWAY_NEXT)
		return 0;
	if (is_question(ask->operation))
	{
		bool		is_open = answer->outcome == BILLING_GATEWAY_UNKNOWN || answer->outcome == BILLING_GATEWAY_RETRY ||
			answer->outcome == BILLING_GATEWAY_PROCESSING || answer->outcome == BILLING_GATEWAY_REQUIRES_ACTION ||
			is_fee_awaited(ask->tenant_id, driver_of(ask), ask->operation, ask->object_id, answer);

		return is_open ? delay_in(ask_after, lengthof(ask_after), ask->attempts) : -1;
	}
	if (answer->outcome == BILLING_GATEWAY_UNKNOWN && !may_have_happened(ask->operation))
		answer->outcome = BILLING_GATEWAY_RETRY;
	if (answer->outcome != BILLING_GATEWAY_RETRY)
		return -1;
	delay = delay_in(retry_after, lengthof(retry_after), ask->attempts - 1);
	if (delay < 0)
		answer->outcome = ask->operation == BILLING_GATEWAY_CAPTURE || ask->operation == BILLING_GATEWAY_CLOSE ? BILLING_GATEWAY_UNKNOWN :
			BILLING_GATEWAY_FAILED;
	return delay;
}

static int64
delay_in(const int *delays, int count, int attempts)
{
	return attempts < count ? delays[attempts] * USECS_PER_SEC : -1;
}

/* Let it wait for its next attempt, or step: that is the same attempt still. */
static void
go_on(const BillingAsk *ask, const BillingAnswered *answered, const BillingGatewayAnswer *answer, int64 delay)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_request q SET state = 'waiting', next_attempt_at = $3, status = nullif($4, 0), error = $5, outcome = $6,"
		" step = q.step + $7::integer, attempts = q.attempts - ($7 OR $9)::integer,"
		" memory = CASE WHEN $7 THEN $8::billing.sealed ELSE q.memory END"
		" WHERE q.tenant_id = $1 AND q.gateway_request_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 9,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, BOOLOID},
	};
	bool		is_next = answer->outcome == BILLING_GATEWAY_NEXT;
	Datum		args[] = {
		Int64GetDatum(ask->tenant_id), Int64GetDatum(ask->gateway_request_id), TimestampTzGetDatum(billing_clock_real() + delay),
		Int32GetDatum(answered->status), error_of(answered, answer), CStringGetTextDatum(outcomes[answer->outcome]),
		BoolGetDatum(is_next), is_next ? billing_gateway_memory_seal(ask->tenant_id, &answer->memory) : (Datum) 0, BoolGetDatum(answered->is_held)
	};
	char		nulls[] = "         ";

	nulls[4] = args[4] == (Datum) 0 ? 'n' : ' ';
	nulls[7] = is_next ? ' ' : 'n';
	(void) billing_spi_run(&query, args, nulls);
	billing_wake_due_at_commit();
}

/* It was answered, or nobody asks for it any more. */
static void
finish(const BillingAsk *ask, const BillingAnswered *answered, const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_request q SET state = $3, next_attempt_at = NULL, finished_at = $4, status = nullif($5, 0), error = $6,"
		" outcome = $7, memory = NULL WHERE q.tenant_id = $1 AND q.gateway_request_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 7,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID},
	};
	bool		is_answered = answered->answer != NULL || (answered->status != 0 && answer->outcome != BILLING_GATEWAY_UNKNOWN && answer->outcome != BILLING_GATEWAY_RETRY);
	Datum		args[] = {
		Int64GetDatum(ask->tenant_id), Int64GetDatum(ask->gateway_request_id), CStringGetTextDatum(is_answered ? "done" : "failed"),
		TimestampTzGetDatum(billing_clock_real()), Int32GetDatum(answered->status), error_of(answered, answer),
		CStringGetTextDatum(outcomes[answer->outcome])
	};

	(void) billing_spi_run(&query, args, args[5] == (Datum) 0 ? "     n" : NULL);
}

/* Why it failed; (Datum) 0: it did not. */
static Datum
error_of(const BillingAnswered *answered, const BillingGatewayAnswer *answer)
{
	const char *error = answered->error;

	if (error == NULL && answer->code != NULL)
		error = answer->message == NULL ? answer->code : psprintf("%s: %s", answer->code, answer->message);
	if (error == NULL)
		return (Datum) 0;
	return CStringGetTextDatum(billing_encoding_replace(billing_encoding_read_bytes(error, Min(strlen(error), 1000)), PG_UTF8, GetDatabaseEncoding()));
}

/*
 * tell
 *		Let those hear the news whom it is about, if it is what was asked for.
 */
static void
tell(BillingFlow *flow, BillingAsk *ask, BillingGatewayAnswer *answer)
{
	const BillingGateway *driver = driver_of(ask);
	BillingNews news = {
		.gateway = ask->gateway, .driver = driver == NULL ? NULL : driver->name, .operation = ask->operation, .answer = answer
	};
	const char *problem;

	billing_gateway_ask_localize(answer);
	problem = billing_gateway_ask_news(ask->account, answer, ask->order.pay_no, ask->has_amount ? &ask->amount : NULL, &news);
	if (problem == NULL && ask->order.refund_no != NULL && answer->refund_no != NULL && strcmp(ask->order.refund_no, answer->refund_no) != 0)
		problem = psprintf("refund_no=%s told=%s", ask->order.refund_no, answer->refund_no);
	if (problem != NULL)
	{
		ereport(WARNING,
				(errmsg("gateway \"%s\" answered to another question than %s of tenant %lld", ask->gateway, operations[ask->operation],
						(long long) ask->tenant_id),
				 errdetail("gateway_request_id=%lld %s", (long long) ask->gateway_request_id, problem)));
		answer->outcome = BILLING_GATEWAY_UNKNOWN;
		answer->code = "mismatch";
		answer->message = problem;
		answer->external_id = answer->payment_url = answer->client_secret = NULL;
		news.has_amount = news.has_fee = false;
	}
	switch (ask->operation)
	{
		case BILLING_GATEWAY_REFUND:
		case BILLING_GATEWAY_QUERY_REFUND:
			billing_refund_learn(flow, ask->object_id, &news);
			break;
		case BILLING_GATEWAY_ADD_METHOD:
		case BILLING_GATEWAY_REMOVE_METHOD:
			billing_payment_method_learn(flow, ask->object_id, &news);
			break;
		case BILLING_GATEWAY_SUBSCRIPTION:
			tell_mirror(flow, ask, &news);
			break;
		default:
			billing_payment_learn(flow, ask->object_id, &news);
			break;
	}
	billing_gateway_ask_follow(ask->tenant_id, ask->gateway, driver, ask->operation, ask->object_id, answer, false);
}

/* NULL: the account could not be opened, as where its credentials are sealed with another key. */
static const BillingGateway *
driver_of(const BillingAsk *ask)
{
	return ask->account == NULL ? NULL : ask->account->driver;
}

/* What it says is as old as the question. */
static void
tell_mirror(BillingFlow *flow, const BillingAsk *ask, BillingNews *news)
{
	int64		mirror_id = ask->object_id;
	const char *problem;

	if (ask->order.now > 0)
		news->at = Min(time_t_to_timestamptz((pg_time_t) ask->order.now), news->at);
	problem = billing_mirror_learn(flow, &mirror_id, news);
	if (problem != NULL)
		ereport(WARNING,
				(errmsg("gateway \"%s\" answered of a subscription that is not of tenant %lld", ask->gateway, (long long) ask->tenant_id),
				 errdetail("gateway_request_id=%lld %s", (long long) ask->gateway_request_id, problem)));
}

const char *
billing_gateway_ask_news(const BillingGatewayAccount *account, const BillingGatewayAnswer *answer, const char *pay_no,
						 const BillingAmount *expected, BillingNews *news)
{
	TimestampTz now = billing_clock_now();

	news->at = answer->at > 0 && answer->at <= billing_clock_unix(now) ? time_t_to_timestamptz((pg_time_t) answer->at) : now;
	if (answer->fee_units >= 0)
		news->has_fee = billing_gateway_account_amount(account, answer->fee_units, answer->fee_currency, &news->fee);
	if (answer->units >= 0)
		news->has_amount = billing_gateway_account_amount(account, answer->units, answer->currency, &news->amount);

	if (pay_no != NULL && answer->pay_no != NULL && strcmp(pay_no, answer->pay_no) != 0)
		return psprintf("pay_no=%s told=%s", pay_no, answer->pay_no);
	if (expected == NULL || (answer->units < 0 && !is_paid(answer, news)))
		return NULL;
	if (answer->units < 0)
		return "minor_units=none";
	if (!news->has_amount || strcmp(news->amount.currency, expected->currency) != 0)
		return psprintf("currency=%s told=%s", expected->currency, answer->currency == NULL ? "none" : answer->currency);
	if (news->amount.units != expected->units)
		return psprintf("minor_units=%lld told=%lld", (long long) expected->units, (long long) news->amount.units);
	return NULL;
}

/* Money that came; what went back is told without an amount by a gateway that knows it all the same. */
static bool
is_paid(const BillingGatewayAnswer *answer, const BillingNews *news)
{
	return answer->outcome == BILLING_GATEWAY_SUCCEEDED && news->operation != BILLING_GATEWAY_REFUND && news->operation != BILLING_GATEWAY_QUERY_REFUND;
}

void
billing_gateway_ask_follow(int64 tenant_id, const char *gateway, const BillingGateway *driver, BillingGatewayOperation operation,
						   int64 object_id, const BillingGatewayAnswer *answer, bool is_callback)
{
	bool		is_refund = operation == BILLING_GATEWAY_REFUND || operation == BILLING_GATEWAY_QUERY_REFUND;
	TimestampTz later = billing_clock_real() + ask_after[0] * USECS_PER_SEC;
	int			over;

	if (operation == BILLING_GATEWAY_ADD_METHOD || operation == BILLING_GATEWAY_REMOVE_METHOD || operation == BILLING_GATEWAY_SUBSCRIPTION)
		return;
	switch (answer->outcome)
	{
		case BILLING_GATEWAY_APPROVED:
			if (is_in_flight(tenant_id, object_id))
				(void) billing_gateway_ask(tenant_id, gateway, BILLING_GATEWAY_CAPTURE, object_id, 0);
			break;
		case BILLING_GATEWAY_UNKNOWN:
		case BILLING_GATEWAY_PROCESSING:
		case BILLING_GATEWAY_REQUIRES_ACTION:
			if (operation == BILLING_GATEWAY_PAY && has_state(tenant_id, object_id, "{canceled,failed}"))
				(void) billing_gateway_ask(tenant_id, gateway, BILLING_GATEWAY_CLOSE, object_id, 0);
			else if (is_callback || !is_question(operation))
				(void) billing_gateway_ask(tenant_id, gateway, is_refund ? BILLING_GATEWAY_QUERY_REFUND : BILLING_GATEWAY_QUERY, object_id, later);
			break;
		default:
			over = is_refund ? 1 << BILLING_GATEWAY_QUERY_REFUND | 1 << BILLING_GATEWAY_REFUND :
				1 << BILLING_GATEWAY_CLOSE | 1 << BILLING_GATEWAY_CAPTURE | 1 << BILLING_GATEWAY_PAY;
			if (!is_fee_awaited(tenant_id, driver, operation, object_id, answer))
				over |= is_refund ? 0 : 1 << BILLING_GATEWAY_QUERY;
			else if (is_callback || !is_question(operation))
				(void) billing_gateway_ask(tenant_id, gateway, BILLING_GATEWAY_QUERY, object_id, 0);
			billing_gateway_forget(tenant_id, object_id, over);
	}
}

/* What its payer approves after somebody has closed it takes no money. */
static bool
is_in_flight(int64 tenant_id, int64 payment_id)
{
	return has_state(tenant_id, payment_id, "{pending,processing,requires_action,unknown}");
}

/* Is the payment in one of these states, an array as text? */
static bool
has_state(int64 tenant_id, int64 payment_id, const char *states)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.status = ANY ($3::text[])",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(payment_id), CStringGetTextDatum(states)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/* It has succeeded, and the gateway says what it keeps only when it is asked. */
static bool
is_fee_awaited(int64 tenant_id, const BillingGateway *driver, BillingGatewayOperation operation, int64 object_id,
			   const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.fee IS NULL",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(object_id)};

	return answer->outcome == BILLING_GATEWAY_SUCCEEDED && answer->fee_units < 0 && driver != NULL && driver->tells_fee_later &&
		operation != BILLING_GATEWAY_REFUND && operation != BILLING_GATEWAY_QUERY_REFUND && billing_spi_run(&query, args, NULL) > 0;
}

void
billing_gateway_ask_localize(BillingGatewayAnswer *answer)
{
	const char **strings[] = {
		&answer->external_id, &answer->payment_url, &answer->client_secret, &answer->code, &answer->message, &answer->customer_id,
		&answer->token, &answer->type, &answer->brand, &answer->last4, &answer->response, &answer->pay_no, &answer->refund_no, &answer->currency
	};

	for (int i = 0; i < lengthof(strings); i++)
	{
		if (*strings[i] != NULL)
			*strings[i] = billing_encoding_replace(billing_encoding_read_bytes(*strings[i], strlen(*strings[i])), PG_UTF8, GetDatabaseEncoding());
	}
}
