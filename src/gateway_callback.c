/*-------------------------------------------------------------------------
 *
 * gateway_callback.c
 *	  What gateways tell of their own accord.
 *
 * A callback is believed by its signature over the bytes as they came, and by nothing else: so
 * nobody needs to be allowed to call.  It is stored in the transaction that applies it, under a key of the
 * gateway's own id for it, so that of two that come at once the second waits and finds the first.
 *
 * What was verified is acknowledged, also where it is not ours, or not what was asked for: the gateway
 * would only say it again.  An error of the database is raised, so that it does.
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
#include "gateway_account.h"
#include "gateway_ask.h"
#include "gateway_certificate.h"
#include "gateway_request.h"
#include "mirrored_subscription.h"
#include "news.h"
#include "result.h"

BILLING_FUNCTION(billing_receive_callback);
BILLING_FUNCTION(billing_verify_callback);

#define BODY_MAX			(1024 * 1024)
#define BODY_KEPT			65536
#define BODY_KEPT_REJECTED	1024
#define EVENT_ID_MAX		255
#define REJECTED_AN_HOUR	1000	/* of a gateway: records of what could not be verified */

/* The arguments of both. */
enum
{
	GATEWAY, HEADERS, BODY, AT
};

/* A callback, and what it is about here. */
typedef struct Told
{
	const char *gateway;
	BillingGatewayAccount *account;
	const char *body;
	size_t		len;
	BillingGatewayCallback callback;
	const char *object;			/* as gateway_event.object; NULL: nothing here */
	int64		tenant_id;		/* 0: nobody's */
	int64		object_id;
	const char *pay_no;
	bool		has_amount;
	BillingAmount amount;		/* what was asked for */
	MemoryContext caller;		/* where the result has to live */
} Told;

/* In the order of the verdicts, and of the subjects. */
static const char *const verdicts[] = {"valid", "bad_signature", "too_old", "malformed", "no_key"};
static const char *const subjects[] = {"nothing", "payment", "refund", "dispute", "reversal", "payment_method", "subscription"};

static void read_callback(FunctionCallInfo fcinfo, Told *told, int64 now);
static void check_event_id(BillingGatewayCallback *callback);
static int64 unix_now(void);
static Datum refuse(FunctionCallInfo fcinfo, Told *told);
static bool is_record_wanted(const Told *told);
static Datum reply(FunctionCallInfo fcinfo, const Told *told, bool is_accepted, int status);
static const char *hear(Told *told);
static void find_object(Told *told);
static bool find(Told *told, BillingQuery *query, const char *object, const char *key);
static bool is_refund_of_payment(const Told *told);
static int64 tenant_of(const char *no);
static bool is_heard(const Told *told);
static const char *apply(BillingFlow *flow, Told *told);
static const char *check_is_of_this(const Told *told);
static const char *check_currency(const Told *told, const BillingNews *news);
static void keep(const Told *told, const char *outcome, const char *reason);
static Datum body_to_keep(const Told *told);

/*
 * billing_receive_callback
 *		Hear what a gateway tells; returns what to answer.
 */
Datum
billing_receive_callback(PG_FUNCTION_ARGS)
{
	Told		told = {.caller = CurrentMemoryContext};
	const char *problem;
	Datum		result;

	billing_spi_begin();
	read_callback(fcinfo, &told, unix_now());
	if (told.callback.verdict != BILLING_GATEWAY_VALID)
		return refuse(fcinfo, &told);

	find_object(&told);
	problem = hear(&told);
	if (problem != NULL)
		ereport(LOG,
				(errmsg("what gateway \"%s\" told was not believed", told.gateway),
				 errdetail("tenant_id=%lld event_id=%s %s", (long long) told.tenant_id, told.callback.event_id, problem)));
	result = reply(fcinfo, &told, true, 0);
	billing_spi_end();
	return result;
}

/* Read the arguments, open the gateway, and let its driver judge. */
static void
read_callback(FunctionCallInfo fcinfo, Told *told, int64 now)
{
	bytea	   *body;
	BillingPairs headers;

	billing_flow_require(fcinfo, GATEWAY, "gateway");
	billing_flow_require(fcinfo, HEADERS, "headers");
	billing_flow_require(fcinfo, BODY, "body");
	told->gateway = text_to_cstring(PG_GETARG_TEXT_PP(GATEWAY));
	told->account = billing_gateway_account_open(told->gateway);
	headers = billing_gateway_account_pairs(PG_GETARG_JSONB_P(HEADERS));
	body = PG_GETARG_BYTEA_PP(BODY);
	told->len = VARSIZE_ANY_EXHDR(body);
	told->body = VARDATA_ANY(body);
	billing_gateway_clear(&told->callback.answer);
	if (told->len > BODY_MAX)
	{
		told->callback.verdict = BILLING_GATEWAY_MALFORMED;
		told->callback.detail = psprintf("bytes=%zu", told->len);
		return;
	}
	told->account->driver->read_callback(&told->account->config, &headers, told->body, told->len, now, &told->callback);
	if (told->callback.verdict == BILLING_GATEWAY_VALID)
		check_event_id(&told->callback);
}

/* It is what a repetition is known by. */
static void
check_event_id(BillingGatewayCallback *callback)
{
	size_t		len = callback->event_id == NULL ? 0 : strlen(callback->event_id);

	if (len > 0 && len <= EVENT_ID_MAX)
		return;
	callback->verdict = BILLING_GATEWAY_MALFORMED;
	callback->detail = psprintf("event_id_bytes=%zu maximum=%d", len, EVENT_ID_MAX);
}

/* The real present: whether something is a replay is no matter of a test clock. */
static int64
unix_now(void)
{
	return billing_clock_unix(billing_clock_real());
}

/* Not believed: a record, and nothing else.  One whose certificate is not here yet will be heard when it comes again. */
static Datum
refuse(FunctionCallInfo fcinfo, Told *told)
{
	const char *detail = told->callback.detail == NULL ? "" : told->callback.detail;
	bool		is_waiting = told->callback.verdict == BILLING_GATEWAY_NO_KEY;
	Datum		result;

	told->callback.event_id = NULL;
	if (is_waiting)
		billing_gateway_certificate_want(told->gateway, detail);
	if (is_record_wanted(told))
		keep(told, "rejected", psprintf("%s: %s", verdicts[told->callback.verdict], detail));
	result = reply(fcinfo, told, false, is_waiting ? 503 : 0);
	billing_spi_end();
	return result;
}

/* Anybody can send what is not believed, as fast as he likes: so many records an hour tell as much as all of them would. */
static bool
is_record_wanted(const Told *told)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway_event e WHERE e.tenant_id = 0 AND e.gateway = $1 AND e.event_id IS NULL AND e.received_at > $2 LIMIT $3",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {TEXTOID, TIMESTAMPTZOID, INT4OID},
	};
	Datum		args[] = {
		CStringGetTextDatum(told->gateway), TimestampTzGetDatum(billing_clock_now() - USECS_PER_HOUR), Int32GetDatum(REJECTED_AN_HOUR)
	};

	return billing_spi_run(&query, args, NULL) < REJECTED_AN_HOUR;
}

static Datum
reply(FunctionCallInfo fcinfo, const Told *told, bool is_accepted, int status)
{
	BillingGatewayReply answer = {0};
	Datum		values[3];
	bool		nulls[3] = {false};

	told->account->driver->reply(is_accepted, &answer);
	MemoryContextSwitchTo(told->caller);
	values[0] = Int32GetDatum(status != 0 ? status : answer.status);
	values[1] = CStringGetTextDatum(answer.content_type == NULL ? "text/plain" : answer.content_type);
	values[2] = CStringGetTextDatum(answer.body == NULL ? "" : answer.body);
	return billing_result_make(fcinfo, 3, values, nulls);
}

/*
 * hear
 *		Apply a callback that was verified, once; NULL, or what differs from what was asked.
 */
static const char *
hear(Told *told)
{
	BillingFlow flow;
	const char *problem = NULL;

	if (told->tenant_id != 0 && !billing_flow_begin_verified(&flow, "receive_callback", told->tenant_id))
	{
		told->tenant_id = 0;
		told->object = NULL;
	}
	if (is_heard(told))
		return NULL;
	if (told->tenant_id == 0)
	{
		keep(told, "ignored", told->callback.subject == BILLING_GATEWAY_NOTHING ? "nothing of ours" :
			 psprintf("%s: there is none like that here", subjects[told->callback.subject]));
		return NULL;
	}
	problem = apply(&flow, told);
	keep(told, problem == NULL ? "applied" : "rejected", problem);
	return problem;
}

/* Whether this event was stored; whoever stores it has the lock of its tenant, or waits at the key. */
static bool
is_heard(const Told *told)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.gateway_event e WHERE e.tenant_id = $1 AND e.gateway = $2 AND e.event_id = $3",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(told->tenant_id), CStringGetTextDatum(told->gateway), billing_encoding_datum(told->callback.event_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

/*
 * find_object
 *		Whose payment, refund, method or subscription it is: by our number, which carries its tenant, or by the gateway's id.
 *
 * That of another gateway's is none: two accounts know nothing of each other.
 */
static void
find_object(Told *told)
{
	static BillingQuery payment = {
		.sql = "SELECT p.tenant_id, p.payment_id, p.amount, p.pay_no FROM billing.payment p"
		" WHERE p.gateway = $1 AND p.tenant_id = $2 AND p.pay_no = $3",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, TEXTOID},
	};
	static BillingQuery external = {
		.sql = "SELECT p.tenant_id, p.payment_id, p.amount, p.pay_no FROM billing.payment p WHERE p.gateway = $1 AND p.external_id = $3",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, TEXTOID},
	};
	static BillingQuery refund = {
		.sql = "SELECT r.tenant_id, r.refund_id, r.amount, p.pay_no FROM billing.refund r"
		"  JOIN billing.payment p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id"
		" WHERE r.gateway = $1 AND r.tenant_id = $2 AND r.refund_no = $3",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, TEXTOID},
	};
	static BillingQuery external_refund = {
		.sql = "SELECT r.tenant_id, r.refund_id, r.amount, p.pay_no FROM billing.refund r"
		"  JOIN billing.payment p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id"
		" WHERE r.gateway = $1 AND r.external_id = $3",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, TEXTOID},
	};

	/* One that has failed, or was removed, may have been added again. */
	static BillingQuery method = {
		.sql = "SELECT m.tenant_id, m.payment_method_id, NULL::billing.amount, NULL::text FROM billing.payment_method m"
		" WHERE m.gateway = $1 AND m.external_id = $3"
		" ORDER BY m.status IN ('pending', 'active', 'expired') DESC, m.payment_method_id DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, TEXTOID},
	};
	const BillingGatewayAnswer *answer = &told->callback.answer;

	switch (told->callback.subject)
	{
		case BILLING_GATEWAY_NOTHING:
			break;
		case BILLING_GATEWAY_SUBSCRIBED:
			if (billing_mirror_find(told->gateway, answer, &told->tenant_id, &told->object_id))
				told->object = "mirrored_subscription";
			break;
		case BILLING_GATEWAY_PAYMENT:
			(void) (find(told, &payment, "payment", answer->pay_no) || find(told, &external, "payment", answer->external_id));
			break;
		case BILLING_GATEWAY_DISPUTE:
		case BILLING_GATEWAY_REVERSED:
			(void) (find(told, &payment, "payment", answer->pay_no) || find(told, &external, "payment", told->callback.payment_external_id));
			break;
		case BILLING_GATEWAY_REFUNDED:
			if (find(told, &refund, "refund", answer->refund_no) || find(told, &external_refund, "refund", answer->external_id) ||
				!is_refund_of_payment(told))
				break;
			(void) (find(told, &payment, "payment", answer->pay_no) || find(told, &payment, "payment", answer->refund_no) ||
					find(told, &external, "payment", told->callback.payment_external_id));
			break;
		case BILLING_GATEWAY_METHOD:
			(void) find(told, &method, "payment_method", answer->external_id);
			break;
	}
}

/* Somebody may have made it at the gateway: then it went, is known by its id there, and it is said how much it is. */
static bool
is_refund_of_payment(const Told *told)
{
	const BillingGatewayAnswer *answer = &told->callback.answer;

	return answer->outcome == BILLING_GATEWAY_SUCCEEDED && answer->external_id != NULL && answer->units > 0;
}

/* By a number of ours or an id of the gateway's; false: there is none, or it was not told. */
static bool
find(Told *told, BillingQuery *query, const char *object, const char *key)
{
	Datum		args[3];
	Datum		value;
	bool		isnull;

	if (key == NULL)
		return false;
	args[0] = CStringGetTextDatum(told->gateway);
	args[1] = Int64GetDatum(tenant_of(key));
	args[2] = billing_encoding_datum(key);
	if (billing_spi_run(query, args, NULL) == 0)
		return false;
	told->object = object;
	told->tenant_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	told->object_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	value = billing_spi_value(0, 3, &isnull);
	told->has_amount = !isnull;
	if (!isnull)
		told->amount = *DatumGetBillingAmountP(value);
	value = billing_spi_value(0, 4, &isnull);
	told->pay_no = isnull ? NULL : billing_encoding_to_utf8(TextDatumGetCString(value));
	return true;
}

/* The tenant that a number of ours carries; 0: it is none of ours. */
static int64
tenant_of(const char *no)
{
	char	   *end;
	int64		tenant_id;

	errno = 0;
	tenant_id = strtoll(no, &end, 10);
	return errno != 0 || end == no || *end != '_' ? 0 : tenant_id;
}

/*
 * apply
 *		Let those hear it whom it is about; NULL, or how it differs from what was asked, and nothing is done.
 */
static const char *
apply(BillingFlow *flow, Told *told)
{
	BillingGatewayAnswer *answer = &told->callback.answer;
	bool		is_made = told->callback.subject == BILLING_GATEWAY_REFUNDED && strcmp(told->object, "payment") == 0;
	bool		is_whole = told->callback.subject == BILLING_GATEWAY_PAYMENT || (told->callback.subject == BILLING_GATEWAY_REFUNDED && !is_made);
	BillingNews news = {
		.gateway = told->gateway,
		.driver = told->account->driver->name,
		.operation = told->callback.subject == BILLING_GATEWAY_REFUNDED ? BILLING_GATEWAY_QUERY_REFUND :
		told->callback.subject == BILLING_GATEWAY_METHOD ? BILLING_GATEWAY_ADD_METHOD : BILLING_GATEWAY_QUERY,
		.answer = answer
	};
	const char *problem;

	billing_gateway_ask_localize(answer);
	if (told->callback.dispute_reason != NULL)
		told->callback.dispute_reason = billing_encoding_replace(pstrdup(told->callback.dispute_reason), PG_UTF8, GetDatabaseEncoding());
	problem = billing_gateway_ask_news(told->account, answer, told->pay_no, is_whole && told->has_amount ? &told->amount : NULL, &news);
	if (problem == NULL && (told->callback.subject == BILLING_GATEWAY_PAYMENT || told->callback.subject == BILLING_GATEWAY_DISPUTE))
		problem = check_is_of_this(told);
	if (problem == NULL && told->callback.subject == BILLING_GATEWAY_REVERSED)
		problem = check_currency(told, &news);
	if (problem != NULL)
		return problem;
	switch (told->callback.subject)
	{
		case BILLING_GATEWAY_PAYMENT:
			billing_payment_learn(flow, told->object_id, &news);
			break;
		case BILLING_GATEWAY_REFUNDED:
			if (is_made)
				return billing_refund_learn_made(flow, told->object_id, &news);
			billing_refund_learn(flow, told->object_id, &news);
			break;
		case BILLING_GATEWAY_DISPUTE:
			billing_dispute_learn(flow, told->object_id, &news, told->callback.dispute_reason);
			break;
		case BILLING_GATEWAY_REVERSED:
			billing_payment_reverse(flow, told->object_id, &news);
			break;
		case BILLING_GATEWAY_SUBSCRIBED:
			return billing_mirror_learn(flow, &told->object_id, &news);
		default:
			if (answer->outcome == BILLING_GATEWAY_NEXT)
				(void) billing_gateway_ask(told->tenant_id, told->gateway, BILLING_GATEWAY_ADD_METHOD, told->object_id, 0);
			else
				billing_payment_method_learn(flow, told->object_id, &news);
			break;
	}
	if (is_whole)
		billing_gateway_ask_follow(told->tenant_id, told->gateway, told->account->driver, news.operation, told->object_id, answer, true);
	return NULL;
}

/* The gateway's id of one payment is not that of another, nor is one dispute of two. */
static const char *
check_is_of_this(const Told *told)
{
	static BillingQuery dispute = {
		.sql = "SELECT FROM billing.dispute d WHERE d.gateway = $1 AND d.external_id = $2 AND d.tenant_id = $3 AND d.payment_id <> $4",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 4,
		.argtypes = {TEXTOID, TEXTOID, INT8OID, INT8OID},
	};
	static BillingQuery payment = {
		.sql = "SELECT FROM billing.payment p WHERE p.gateway = $1 AND p.external_id = $2 AND (p.tenant_id <> $3 OR p.payment_id <> $4)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 4,
		.argtypes = {TEXTOID, TEXTOID, INT8OID, INT8OID},
	};
	const char *external_id = told->callback.answer.external_id;
	Datum		args[4];

	if (external_id == NULL)
		return NULL;
	args[0] = CStringGetTextDatum(told->gateway);
	args[1] = CStringGetTextDatum(external_id);
	args[2] = Int64GetDatum(told->tenant_id);
	args[3] = Int64GetDatum(told->object_id);
	if (billing_spi_run(told->callback.subject == BILLING_GATEWAY_DISPUTE ? &dispute : &payment, args, NULL) == 0)
		return NULL;
	return psprintf("external_id=%s is of another payment", external_id);
}

/* A bank may take a part back, but nothing else than what came. */
static const char *
check_currency(const Told *told, const BillingNews *news)
{
	const char *currency = told->callback.answer.currency;

	if (told->callback.answer.units < 0 || (news->has_amount && strcmp(news->amount.currency, told->amount.currency) == 0))
		return NULL;
	return psprintf("currency=%s told=%s", told->amount.currency, currency == NULL ? "none" : currency);
}

/* Keep it, in the transaction that applied it. */
static void
keep(const Told *told, const char *outcome, const char *reason)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway_event (tenant_id, gateway, event_id, type, outcome, reason, object, object_id, body)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, gateway, event_id) DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 9,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, BYTEAOID},
	};
	Datum		args[9];
	char		nulls[] = "         ";

	args[0] = Int64GetDatum(told->tenant_id);
	args[1] = CStringGetTextDatum(told->gateway);
	args[2] = billing_encoding_datum(told->callback.event_id);
	args[3] = billing_encoding_datum(told->callback.type);
	args[4] = CStringGetTextDatum(outcome);
	args[5] = billing_encoding_datum(reason);
	args[6] = billing_encoding_datum(told->object);
	args[7] = Int64GetDatum(told->object_id);
	args[8] = body_to_keep(told);
	for (int i = 0; i < lengthof(args); i++)
		nulls[i] = args[i] == (Datum) 0 && i != 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
}

/*
 * body_to_keep
 *		What the driver prints for people, without tokens and secrets, or nothing where it may hold some; else as it came.
 */
static Datum
body_to_keep(const Told *told)
{
	const BillingGatewayAnswer *answer = &told->callback.answer;
	bool		is_secret = told->callback.subject == BILLING_GATEWAY_METHOD || answer->client_secret != NULL || answer->response != NULL;
	const char *from = is_secret ? answer->response : told->body;
	size_t		len = !is_secret ? told->len : from == NULL ? 0 : strlen(from);
	bytea	   *body;

	if (from == NULL)
		return (Datum) 0;
	len = Min(len, told->callback.event_id == NULL ? BODY_KEPT_REJECTED : BODY_KEPT);
	body = palloc(VARHDRSZ + len);
	SET_VARSIZE(body, VARHDRSZ + len);
	memcpy(VARDATA(body), from, len);
	return PointerGetDatum(body);
}

/*
 * billing_verify_callback
 *		What would be made of a callback.
 */
Datum
billing_verify_callback(PG_FUNCTION_ARGS)
{
	Told		told = {.caller = CurrentMemoryContext};
	Datum		values[7];
	bool		nulls[7];
	int64		now = PG_ARGISNULL(AT) ? unix_now() :
		billing_clock_unix(PG_GETARG_TIMESTAMPTZ(AT));
	Datum		result;
	bool		is_valid;

	billing_spi_begin();
	read_callback(fcinfo, &told, now);
	is_valid = told.callback.verdict == BILLING_GATEWAY_VALID;
	values[0] = BoolGetDatum(is_valid);
	values[1] = is_valid ? (Datum) 0 : billing_encoding_datum(psprintf("%s: %s", verdicts[told.callback.verdict],
														told.callback.detail == NULL ? "" : told.callback.detail));
	values[2] = is_valid ? billing_encoding_datum(told.callback.event_id) : (Datum) 0;
	values[3] = is_valid ? billing_encoding_datum(told.callback.type) : (Datum) 0;
	values[4] = is_valid ? billing_encoding_datum(subjects[told.callback.subject]) : (Datum) 0;
	values[5] = is_valid ? billing_encoding_datum(told.callback.answer.pay_no) : (Datum) 0;
	values[6] = is_valid && told.callback.subject != BILLING_GATEWAY_NOTHING ?
		billing_encoding_datum(billing_gateway_ask_outcome(told.callback.answer.outcome)) : (Datum) 0;
	for (int i = 0; i < lengthof(values); i++)
		nulls[i] = values[i] == (Datum) 0 && i != 0;
	MemoryContextSwitchTo(told.caller);
	result = billing_result_make(fcinfo, 7, values, nulls);
	billing_spi_end();
	return result;
}
