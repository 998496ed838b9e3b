/*-------------------------------------------------------------------------
 *
 * driver.c
 *	  The drivers of gateways as a program: each line of JSON that it reads is a call, each that it prints what was returned.
 *
 * {"call": "check" | "build" | "read" | "callback" | "reply", "driver": NAME, "config": {"base_url", "notify_url", "settings",
 * "credentials", "certificates"}, "order": {...}, "status", "headers", "body", "now", "accepted"}.  What are pairs, also in
 * an order's memory, is an array of [name, value].
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include "gateway/document.h"
#include "gateway/gateway.h"

static const char *const operations[] = {
	"pay", "capture", "query", "close", "refund", "query_refund", "add_method", "remove_method", "subscription", "certificate"
};
static const char *const outcomes[] = {
	"succeeded", "processing", "requires_action", "approved", "failed", "canceled", "unknown", "retry", "next"
};
static const char *const verdicts[] = {"valid", "bad_signature", "too_old", "malformed", "no_key"};
static const char *const subjects[] = {"nothing", "payment", "refunded", "dispute", "reversed", "method", "subscribed"};

static BillingPairs
read_pairs(const BillingDocument *line, const char *path)
{
	BillingPairs pairs = {billing_document_count(line, path), NULL};

	pairs.pairs = palloc((pairs.count + 1) * sizeof(BillingPair));
	for (int i = 0; i < pairs.count; i++)
	{
		pairs.pairs[i].name = billing_document_string(line, psprintf("%s.%d.0", path, i));
		pairs.pairs[i].value = billing_document_string(line, psprintf("%s.%d.1", path, i));
	}
	return pairs;
}

static int64
read_number(const BillingDocument *line, const char *path)
{
	int64		number;

	return billing_document_integer(line, path, &number) ? number : 0;
}

static BillingGatewayConfig
read_config(const BillingDocument *line)
{
	return (BillingGatewayConfig)
	{
		.code = "test",
		.base_url = billing_document_string(line, "config.base_url"),
		.notify_url = billing_document_string(line, "config.notify_url"),
		.settings = read_pairs(line, "config.settings"),
		.credentials = read_pairs(line, "config.credentials"),
		.certificates = read_pairs(line, "config.certificates")
	};
}

static BillingGatewayOrder
read_order(const BillingDocument *line)
{
	const char *operation = billing_document_string(line, "order.operation");
	BillingGatewayOrder order = {
		.now = read_number(line, "order.now"),
		.nonce = billing_document_string(line, "order.nonce"),
		.idempotency_key = billing_document_string(line, "order.idempotency_key"),
		.pay_no = billing_document_string(line, "order.pay_no"),
		.refund_no = billing_document_string(line, "order.refund_no"),
		.external_id = billing_document_string(line, "order.external_id"),
		.payment_external_id = billing_document_string(line, "order.payment_external_id"),
		.units = read_number(line, "order.units"),
		.payment_units = read_number(line, "order.payment_units"),
		.currency = billing_document_string(line, "order.currency"),
		.exponent = billing_document_get(line, "order.exponent") == NULL ? 2 : (int) read_number(line, "order.exponent"),
		.method = billing_document_string(line, "order.method"),
		.token = billing_document_string(line, "order.token"),
		.is_token_gone = billing_document_is_true(line, "order.is_token_gone"),
		.customer_id = billing_document_string(line, "order.customer_id"),
		.payer_id = billing_document_string(line, "order.payer_id"),
		.tenant_id = "7",
		.description = billing_document_string(line, "order.description"),
		.reason = billing_document_string(line, "order.reason"),
		.return_url = billing_document_string(line, "order.return_url"),
		.expires_at = read_number(line, "order.expires_at"),
		.created_at = read_number(line, "order.created_at"),
		.memory = read_pairs(line, "order.memory"),
	};

	for (int i = 0; operation != NULL && i < lengthof(operations); i++)
	{
		if (strcmp(operation, operations[i]) == 0)
			order.operation = i;
	}
	return order;
}

static void
append_number(StringInfo out, const char *name, int64 number)
{
	billing_document_append_member(out, name, psprintf(INT64_FORMAT, number));
}

static void
append_pairs(StringInfo out, const char *name, const BillingPairs *pairs)
{
	appendStringInfo(out, ",\"%s\":[", name);
	for (int i = 0; i < pairs->count; i++)
	{
		appendStringInfoString(out, i > 0 ? ",[" : "[");
		billing_document_append_string(out, pairs->pairs[i].name);
		appendStringInfoChar(out, ',');
		billing_document_append_string(out, pairs->pairs[i].value);
		appendStringInfoChar(out, ']');
	}
	appendStringInfoChar(out, ']');
}

static void
append_answer(StringInfo out, const BillingGatewayAnswer *answer)
{
	billing_document_append_member(out, "outcome", outcomes[answer->outcome]);
	billing_document_append_member(out, "pay_no", answer->pay_no);
	billing_document_append_member(out, "refund_no", answer->refund_no);
	billing_document_append_member(out, "external_id", answer->external_id);
	billing_document_append_member(out, "payment_url", answer->payment_url);
	billing_document_append_member(out, "client_secret", answer->client_secret);
	billing_document_append_member(out, "code", answer->code);
	billing_document_append_member(out, "message", answer->message);
	append_number(out, "units", answer->units);
	billing_document_append_member(out, "currency", answer->currency);
	append_number(out, "fee_units", answer->fee_units);
	billing_document_append_member(out, "fee_currency", answer->fee_currency);
	append_number(out, "at", answer->at);
	billing_document_append_member(out, "customer_id", answer->customer_id);
	billing_document_append_member(out, "token", answer->token);
	billing_document_append_member(out, "type", answer->type);
	billing_document_append_member(out, "brand", answer->brand);
	billing_document_append_member(out, "last4", answer->last4);
	append_number(out, "exp_month", answer->exp_month);
	append_number(out, "exp_year", answer->exp_year);
	billing_document_append_member(out, "response", answer->response);
	append_pairs(out, "memory", &answer->memory);
}

static void
do_build(const BillingGateway *driver, const BillingDocument *line, StringInfo out)
{
	BillingGatewayConfig config = read_config(line);
	BillingGatewayOrder order = read_order(line);
	BillingGatewayRequest request;
	BillingGatewayAnswer answer;
	const char *problem = driver->build(&config, &order, &request, &answer);

	billing_document_append_member(out, "problem", problem);
	if (problem != NULL)
		return;
	append_answer(out, &answer);
	billing_document_append_member(out, "verb", request.verb);
	billing_document_append_member(out, "url", request.url);
	billing_document_append_member(out, "body", request.body);
	append_pairs(out, "headers", &request.headers);
}

static void
do_read(const BillingGateway *driver, const BillingDocument *line, StringInfo out)
{
	BillingGatewayConfig config = read_config(line);
	BillingGatewayOrder order = read_order(line);
	BillingPairs headers = read_pairs(line, "headers");
	const char *body = billing_document_string(line, "body");
	BillingGatewayAnswer answer;

	driver->read(&config, &order, (int) read_number(line, "status"), &headers, body, strlen(body), &answer);
	append_answer(out, &answer);
}

static void
do_callback(const BillingGateway *driver, const BillingDocument *line, StringInfo out)
{
	BillingGatewayConfig config = read_config(line);
	BillingPairs headers = read_pairs(line, "headers");
	const char *body = billing_document_string(line, "body");
	BillingGatewayCallback callback;

	driver->read_callback(&config, &headers, body, strlen(body), read_number(line, "now"), &callback);
	billing_document_append_member(out, "verdict", verdicts[callback.verdict]);
	billing_document_append_member(out, "detail", callback.detail);
	billing_document_append_member(out, "event_id", callback.event_id);
	billing_document_append_member(out, "event_type", callback.type);
	billing_document_append_member(out, "subject", subjects[callback.subject]);
	billing_document_append_member(out, "payment_external_id", callback.payment_external_id);
	billing_document_append_member(out, "dispute_reason", callback.dispute_reason);
	append_answer(out, &callback.answer);
}

static void
do_reply(const BillingGateway *driver, const BillingDocument *line, StringInfo out)
{
	BillingGatewayReply reply;

	driver->reply(billing_document_is_true(line, "accepted"), &reply);
	append_number(out, "status", reply.status);
	billing_document_append_member(out, "content_type", reply.content_type);
	billing_document_append_member(out, "body", reply.body);
}

static void
answer_line(const BillingDocument *line, StringInfo out)
{
	const char *call = line == NULL ? NULL : billing_document_string(line, "call");
	const char *name = line == NULL ? NULL : billing_document_string(line, "driver");
	const BillingGateway *driver = name == NULL ? NULL : billing_gateway_find(name);

	if (call == NULL || driver == NULL)
		billing_document_append_member(out, "problem", "no call of a driver");
	else if (strcmp(call, "check") == 0)
	{
		BillingGatewayConfig config = read_config(line);

		billing_document_append_member(out, "problem", driver->check(&config));
	}
	else if (strcmp(call, "build") == 0)
		do_build(driver, line, out);
	else if (strcmp(call, "read") == 0)
		do_read(driver, line, out);
	else if (strcmp(call, "callback") == 0)
		do_callback(driver, line, out);
	else
		do_reply(driver, line, out);
}

int
main(void)
{
	char	   *line = NULL;
	size_t		room = 0;
	ssize_t		len;

	while ((len = getline(&line, &room, stdin)) > 0)
	{
		StringInfoData out;

		initStringInfo(&out);
		appendStringInfoChar(&out, '{');
		answer_line(billing_document_read(line, len), &out);
		printf("%s}\n", out.data);
		fflush(stdout);
	}
	return 0;
}
