/*-------------------------------------------------------------------------
 *
 * gateway_send.c
 *	  Requests to gateways, as a channel of the sender: claim, send, settle.
 *
 * A round is one transaction: it settles what was answered, each in a subtransaction, and claims what is due.  It
 * commits, and then the requests are made, so that whoever finds a claim that is over knows that the request may have
 * been sent.  The commit waits for the disk: no gateway is asked for what a crash could take back.
 *
 * A tenant that somebody else has locked keeps only its own answers waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "clock.h"
#include "gateway_ask.h"
#include "gateway_certificate.h"
#include "gateway_send.h"
#include "guc.h"
#include "http.h"
#include "id.h"
#include "process.h"
#include "spi.h"

#define IN_FLIGHT_MAX	64
#define HELD_MAX		256		/* answers that wait for their tenants */
#define LEASE_SECONDS	60		/* behind the timeout of a request */
#define LOCKED_TICKS	1000	/* after which a tenant that somebody had locked is tried again */
#define RESPONSE_MAX	(1024 * 1024)

/* What was claimed together goes together. */
typedef struct Batch
{
	MemoryContext context;
	int			left;
} Batch;

/* A claimed request, and what has come of it. */
typedef struct Request
{
	dlist_node	node;			/* in claimed, or finished */
	Batch	   *batch;
	BillingAsk *ask;
	bool		is_lost;		/* somebody claimed it before, and never said what came of it */
	bool		is_settled;
	BillingGatewayRequest request;
	BillingGatewayAnswer answer;
	BillingAnswered answered;
} Request;

static int64 ask_gateways(void);
static bool is_finished_any(void);
static void settle_finished(void);
static int	collect_lockable(Request **requests);
static Datum lock_tenants(void);
static bool is_locked(Datum tenants, int64 tenant_id);
static void settle_some(void *set, int from, int count);
static void report_settled(void *set, int which, const ErrorData *error);
static void note_error(const BillingAsk *ask, const ErrorData *error);
static void claim_due(TimestampTz now);
static int	find_room(int held);
static Datum list_held(void);
static void add_claimed(BillingAsk *asks, const bool *are_lost, int count);
static void build_some(void *set, int from, int count);
static void report_built(void *set, int which, const ErrorData *error);
static void forget_claimed(void);
static void free_batch(Batch *of);
static void forget_settled(void);
static void send_claimed(void);
static void send_one(Request *request);
static void end_request(void *context, const BillingHttpResult *result);
static void read_headers(BillingPairs *pairs, const char *data, size_t len);
static int64 find_next(TimestampTz now);

const BillingChannel billing_gateway_channel = {
	.name = "gateways",
	.round = ask_gateways,
	.is_ready = is_finished_any,
};

static Batch *batch = NULL;		/* of what is being claimed */
static dlist_head claimed = DLIST_STATIC_INIT(claimed);
static dlist_head finished = DLIST_STATIC_INIT(finished);
static int	nfinished = 0;
static int	nsettled;			/* of them, in the transaction that runs */
static int	in_flight = 0;
static int64 locked_until = 0;	/* ticks: when those of locked tenants are tried again; 0: there are none */
static TimestampTz due_at;		/* when the first is due that was not claimed */

static int64
ask_gateways(void)
{
	TimestampTz now = billing_clock_real();

	forget_claimed();
	billing_process_begin("billing: asking payment gateways");
	settle_finished();
	claim_due(now);
	due_at = Min(billing_gateway_ask_next(), billing_gateway_certificate_next());
	billing_process_commit();

	forget_settled();
	send_claimed();
	return find_next(now);
}

static bool
is_finished_any(void)
{
	return nfinished > 0 && billing_clock_ticks() >= locked_until;
}

/*
 * settle_finished
 *		Record what was answered, and let everything follow; what is of a locked tenant waits.
 */
static void
settle_finished(void)
{
	Request   **requests;

	locked_until = 0;
	nsettled = 0;
	if (nfinished == 0)
		return;
	requests = palloc(nfinished * sizeof(Request *));
	nsettled = collect_lockable(requests);
	billing_attempt(settle_some, report_settled, requests, nsettled);
	for (int i = 0; i < nsettled; i++)
		requests[i]->is_settled = true;
	if (nsettled < nfinished)
		locked_until = billing_clock_ticks() + LOCKED_TICKS;
}

/* Those whose tenants are locked now, and those of none. */
static int
collect_lockable(Request **requests)
{
	Datum		tenants = lock_tenants();
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &finished)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		request->is_settled = false;
		if (request->ask->tenant_id == 0 || is_locked(tenants, request->ask->tenant_id))
			requests[count++] = request;
	}
	return count;
}

/* In their order, as every flow that locks several; waits for nobody. */
static Datum
lock_tenants(void)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(array_agg(l.tenant_id), '{}') FROM (SELECT t.tenant_id FROM billing.tenant t WHERE t.tenant_id = ANY ($1)"
		" ORDER BY t.tenant_id FOR NO KEY UPDATE SKIP LOCKED) l",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
	};
	Datum	   *ids = palloc(nfinished * sizeof(Datum));
	int			count = 0;
	Datum		args[1];
	dlist_iter	iter;

	dlist_foreach(iter, &finished)
		ids[count++] = Int64GetDatum(dlist_container(Request, node, iter.cur)->ask->tenant_id);
	args[0] = billing_id_array(ids, count);
	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, CurrentMemoryContext);
}

static bool
is_locked(Datum tenants, int64 tenant_id)
{
	int			count = billing_id_count(tenants);

	for (int i = 0; i < count; i++)
	{
		if (billing_id_at(tenants, i) == tenant_id)
			return true;
	}
	return false;
}

static void
settle_some(void *set, int from, int count)
{
	Request   **requests = set;

	for (int i = from; i < from + count; i++)
	{
		BillingFlow flow = {.name = "gateway_response", .tenant_id = requests[i]->ask->tenant_id, .caller = CurrentMemoryContext};

		if (requests[i]->ask->operation == BILLING_GATEWAY_CERTIFICATE)
			billing_gateway_certificate_settle(requests[i]->ask, &requests[i]->answered);
		else
			(void) billing_gateway_ask_settle(&flow, requests[i]->ask, &requests[i]->answered);
	}
}

/* What could not follow is tried again: the claim ends, and what became of it is asked for.  Without a key to seal by, answers wait here. */
static void
report_settled(void *set, int which, const ErrorData *error)
{
	const BillingAsk *ask = ((Request **) set)[which]->ask;

	if (error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		ReThrowError(unconstify(ErrorData *, error));
	ereport(WARNING,
			(errmsg("what gateway \"%s\" answered could not be applied: %s", ask->gateway, error->message),
			 errdetail("tenant_id=%lld gateway_request_id=%lld", (long long) ask->tenant_id, (long long) ask->gateway_request_id)));
	note_error(ask, error);
}

static void
note_error(const BillingAsk *ask, const ErrorData *error)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_request q SET error = $3 WHERE q.tenant_id = $1 AND q.gateway_request_id = $2 AND q.state = 'sending'",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(ask->tenant_id), Int64GetDatum(ask->gateway_request_id),
		CStringGetTextDatum(psprintf("error: %s", error->message))
	};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * claim_due
 *		Take what is due, as much as there is room for, and make its requests.
 */
static void
claim_due(TimestampTz now)
{
	int			room = find_room(nfinished - nsettled);
	TimestampTz until = TimestampTzPlusMilliseconds(now, LEASE_SECONDS * INT64CONST(1000) + billing_gateway_timeout);
	MemoryContext round = CurrentMemoryContext;
	BillingAsk *asks;
	bool	   *are_lost;
	int			count;

	if (room <= 0)
		return;
	batch = MemoryContextAllocZero(TopMemoryContext, sizeof(Batch));
	batch->context = AllocSetContextCreate(TopMemoryContext, "billing gateway requests", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(batch->context);
	count = billing_gateway_ask_claim(now, until, room, list_held(), &asks, &are_lost);
	add_claimed(asks, are_lost, count);
	count = billing_gateway_certificate_claim(NULL, now, until, &asks);
	add_claimed(asks, NULL, count);
	MemoryContextSwitchTo(round);
}

/* How many more can be asked, beside so many whose answers wait. */
static int
find_room(int held)
{
	return Min(IN_FLIGHT_MAX - in_flight, HELD_MAX - held);
}

/* Tenants that answers wait for: however long that is, they are not lost, and no more is asked for these. */
static Datum
list_held(void)
{
	Datum	   *ids = palloc(Max(nfinished, 1) * sizeof(Datum));
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &finished)
	{
		const Request *request = dlist_container(Request, node, iter.cur);

		if (!request->is_settled)
			ids[count++] = Int64GetDatum(request->ask->tenant_id);
	}
	return billing_id_array(ids, count);
}

/* Make the requests of what was claimed. */
static void
add_claimed(BillingAsk *asks, const bool *are_lost, int count)
{
	Request   **requests = palloc(Max(count, 1) * sizeof(Request *));

	for (int i = 0; i < count; i++)
	{
		requests[i] = palloc0(sizeof(Request));
		requests[i]->batch = batch;
		requests[i]->ask = &asks[i];
		requests[i]->is_lost = are_lost != NULL && are_lost[i];
		dlist_push_tail(&claimed, &requests[i]->node);
		batch->left++;
	}
	billing_attempt(build_some, report_built, requests, count);
}

static void
build_some(void *set, int from, int count)
{
	Request   **requests = set;

	for (int i = from; i < from + count; i++)
	{
		BillingAsk *ask = requests[i]->ask;

		ask->problem = NULL;
		if (ask->operation == BILLING_GATEWAY_CERTIFICATE)
			ask->account = billing_gateway_account_open(ask->gateway);
		else
			billing_gateway_ask_read(ask);
		if (!requests[i]->is_lost)
			(void) billing_gateway_ask_build(ask, &requests[i]->request, &requests[i]->answer);
	}
}

/*
 * report_built
 *		It was not sent, so that it can be tried again; nothing is said of it that a gateway would have said.
 *
 * What is sealed with a key that the key file has not waits for that, however long it takes.
 */
static void
report_built(void *set, int which, const ErrorData *error)
{
	Request    *request = ((Request **) set)[which];

	request->answered.is_held = error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	if (request->answered.is_held)
		ereport(WARNING,
				(errmsg("gateway \"%s\" cannot be asked for now: %s", request->ask->gateway, error->message),
				 errdetail("tenant_id=%lld gateway_request_id=%lld", (long long) request->ask->tenant_id,
						   (long long) request->ask->gateway_request_id)));
	billing_gateway_clear(&request->answer);
	request->answer.outcome = BILLING_GATEWAY_RETRY;
	request->answer.code = "error";
	request->answer.message = pstrdup(error->message);
	request->request.verb = NULL;
}

/* What was claimed by a transaction that did not commit was not. */
static void
forget_claimed(void)
{
	while (!dlist_is_empty(&claimed))
		(void) dlist_pop_head_node(&claimed);
	if (batch != NULL)
		free_batch(batch);
	batch = NULL;
}

static void
free_batch(Batch *of)
{
	MemoryContextDelete(of->context);
	pfree(of);
}

static void
forget_settled(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &finished)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		if (!request->is_settled)
			continue;
		dlist_delete(&request->node);
		nfinished--;
		if (--request->batch->left == 0)
			free_batch(request->batch);
	}
}

/*
 * send_claimed
 *		The claims are committed: make the requests.
 */
static void
send_claimed(void)
{
	Batch	   *sent = batch;

	batch = NULL;
	if (sent != NULL && sent->left == 0)
		free_batch(sent);
	while (!dlist_is_empty(&claimed))
		send_one(dlist_container(Request, node, dlist_pop_head_node(&claimed)));
	billing_http_run();
}

static void
send_one(Request *request)
{
	const BillingGatewayRequest *what = &request->request;
	MemoryContext old;
	const char **headers;
	int			n = 0;
	BillingHttpOptions options = {
		.protocols = billing_webhook_allow_private ? "http,https" : "https",
		.timeout = billing_gateway_timeout,
		.allow_private = billing_webhook_allow_private,
		.response_max = RESPONSE_MAX,
		.is_sent_once = what->verb != NULL && strcmp(what->verb, "GET") != 0,
		.done = end_request,
		.context = request,
	};

	if (request->is_lost || request->ask->problem != NULL || what->verb == NULL)
	{
		request->answered.is_sent = request->is_lost;
		request->answered.error = request->is_lost ? "lost: who sent it never said what came of it" : NULL;
		request->answered.answer = request->is_lost || request->ask->problem != NULL ? NULL : &request->answer;
		dlist_push_tail(&finished, &request->node);
		nfinished++;
		return;
	}
	old = MemoryContextSwitchTo(request->batch->context);
	headers = palloc((what->headers.count + 1) * sizeof(char *));
	headers[n++] = "User-Agent: billing/" BILLING_VERSION;
	for (int i = 0; i < what->headers.count; i++)
		headers[n++] = psprintf("%s: %s", what->headers.pairs[i].name, what->headers.pairs[i].value);
	billing_http_request(&options, what->verb, what->url, headers, n, what->body, what->body_len);
	in_flight++;
	MemoryContextSwitchTo(old);
}

/* A request has ended: keep what came of it until it is settled. */
static void
end_request(void *argument, const BillingHttpResult *result)
{
	Request    *request = argument;
	BillingAnswered *answered = &request->answered;
	MemoryContext old = MemoryContextSwitchTo(request->batch->context);

	in_flight--;
	answered->is_sent = result->is_sent;
	if (result->failure != NULL)
		answered->error = psprintf("%s: %s", result->failure, result->message);
	else
	{
		char	   *body = palloc(result->response_len + 1);

		memcpy(body, result->response, result->response_len);
		body[result->response_len] = '\0';
		answered->status = result->status;
		answered->body = body;
		answered->len = result->response_len;
		read_headers(&answered->headers, result->headers, result->headers_len);
	}
	dlist_push_tail(&finished, &request->node);
	nfinished++;
	MemoryContextSwitchTo(old);
}

/* Lines "Name: value"; those of an answer that came before the last one (100 Continue) stand first, and count for nothing. */
static void
read_headers(BillingPairs *pairs, const char *data, size_t len)
{
	char	   *line = pnstrdup(data, len);
	int			lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += data[i] == '\n';
	pairs->pairs = palloc(lines * sizeof(BillingPair));
	pairs->count = 0;
	while (line != NULL && *line != '\0')
	{
		char	   *next = strchr(line, '\n');
		char	   *value = strchr(line, ':');

		if (next != NULL)
		{
			*next = '\0';
			if (next > line && next[-1] == '\r')
				next[-1] = '\0';
		}
		if (strncmp(line, "HTTP/", 5) == 0)
			pairs->count = 0;
		else if (value != NULL && (next == NULL || value < next))
		{
			*value++ = '\0';
			pairs->pairs[pairs->count].name = line;
			pairs->pairs[pairs->count++].value = value + strspn(value, " \t");
		}
		line = next == NULL ? NULL : next + 1;
	}
}

/*
 * find_next
 *		When there is something to do next, if nothing happens: one is due that there is room for, some ended
 *		since the transaction, or a tenant that somebody had locked is tried again.
 */
static int64
find_next(TimestampTz now)
{
	int64		next = BILLING_TICKS_NEVER;

	if (nfinished > 0)
		next = locked_until;
	if (find_room(nfinished) <= 0 || due_at == DT_NOEND)
		return next;

	/* What is due and was not claimed is of a tenant or payment that somebody has locked. */
	return Min(next, due_at <= now ? billing_clock_ticks() + LOCKED_TICKS : billing_clock_ticks_at(due_at));
}
