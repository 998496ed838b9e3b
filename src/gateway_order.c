/*-------------------------------------------------------------------------
 *
 * gateway_order.c
 *	  What a request to a gateway says: read from its row and from what it is about, and made into bytes by the driver.
 *
 * All strings of a driver are UTF-8.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "clock.h"
#include "encoding.h"
#include "gateway/document.h"
#include "gateway_ask.h"
#include "sealed.h"

#define MEMORY_PURPOSE	"gateway_memory"

static BillingQuery *query_of(BillingGatewayOperation operation);
static void read_order(BillingAsk *ask);
static void read_amounts(BillingAsk *ask);
static const char *text_at(int column);
static int64 seconds_at(int column);
static BillingPairs open_memory(int64 tenant_id, const BillingSealed *sealed);
static char *make_nonce(void);

void
billing_gateway_ask_read(BillingAsk *ask)
{
	ask->order.now = billing_clock_unix(TIMESTAMP_NOT_FINITE(ask->claimed_at) ? billing_clock_real() : ask->claimed_at);
	ask->account = billing_gateway_account_open(ask->gateway);
	read_order(ask);
}

/* What all queries below have: the request, and the customer that the tenant is at the gateway. */
#define ORDER_OF(columns, tables) \
	"SELECT q.idempotency_key, q.memory, " columns \
	" FROM billing.gateway_request q JOIN billing.tenant t ON t.tenant_id = q.tenant_id" \
	" LEFT JOIN billing.gateway_customer c ON c.tenant_id = q.tenant_id AND c.gateway = q.gateway " tables \
	" WHERE q.tenant_id = $1 AND q.gateway_request_id = $2"

/* When it was last asked to happen, which is in real time as a gateway's clock is; what never was is as old as it is. */
#define ASKED_AT(operation, otherwise) \
	"coalesce((SELECT max(y.claimed_at) FROM billing.gateway_request y" \
	"  WHERE y.tenant_id = q.tenant_id AND y.object_id = q.object_id AND y.operation = " operation "), " otherwise ")"

/* The columns: ids, amounts, how, who, words, until when; whether the token is gone that it is to be paid by. */
#define PAYMENT_COLUMNS \
	"p.pay_no, NULL::text, p.external_id, NULL::text, p.amount, p.amount, p.method, m.token, coalesce(m.customer_id, c.customer_id), p.payer_id, t.name," \
	" coalesce(m.billing_email, t.email), p.description, NULL::text, p.return_url, p.expires_at, " ASKED_AT("'pay'", "p.created_at") "," \
	" (SELECT y.idempotency_key FROM billing.gateway_request y WHERE y.tenant_id = q.tenant_id AND y.object_id = q.object_id AND y.operation = 'pay'" \
	"   AND q.operation = 'query' ORDER BY y.gateway_request_id DESC LIMIT 1)," \
	" p.payment_method_id IS NOT NULL AND m.token IS NULL AND m.type <> 'bank_transfer'"
#define REFUND_COLUMNS \
	"p.pay_no, r.refund_no, r.external_id, p.external_id, r.amount, p.amount, p.method, NULL::billing.sealed, c.customer_id, p.payer_id, t.name," \
	" t.email, p.description, r.reason, NULL::text, NULL::timestamptz, " ASKED_AT("'refund'", "r.created_at") "," \
	" (SELECT y.idempotency_key FROM billing.gateway_request y WHERE y.tenant_id = q.tenant_id AND y.object_id = q.object_id AND y.operation = 'refund'" \
	"   AND q.operation = 'query_refund' ORDER BY y.gateway_request_id DESC LIMIT 1), false"
#define METHOD_COLUMNS \
	"NULL::text, NULL::text, m.external_id, NULL::text, NULL::billing.amount, NULL::billing.amount, m.type, m.token, coalesce(m.customer_id, c.customer_id), NULL::text, t.name," \
	" coalesce(m.billing_email, t.email), NULL::text, NULL::text, NULL::text, NULL::timestamptz, m.created_at, NULL::text, false"

#define MIRROR_COLUMNS \
	"NULL::text, NULL::text, m.external_id, NULL::text, NULL::billing.amount, NULL::billing.amount, NULL::text, NULL::billing.sealed," \
	" coalesce(m.customer_id, c.customer_id), NULL::text, t.name, t.email, NULL::text, NULL::text, NULL::text, NULL::timestamptz, m.created_at, NULL::text"

static BillingQuery *
query_of(BillingGatewayOperation operation)
{
	static BillingQuery payment = {
		.sql = ORDER_OF(PAYMENT_COLUMNS, "JOIN billing.payment p ON p.tenant_id = q.tenant_id AND p.payment_id = q.object_id"
						" LEFT JOIN billing.payment_method m ON m.tenant_id = p.tenant_id AND m.payment_method_id = p.payment_method_id"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery refund = {
		.sql = ORDER_OF(REFUND_COLUMNS, "JOIN billing.refund r ON r.tenant_id = q.tenant_id AND r.refund_id = q.object_id"
						" JOIN billing.payment p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery method = {
		.sql = ORDER_OF(METHOD_COLUMNS, "JOIN billing.payment_method m ON m.tenant_id = q.tenant_id AND m.payment_method_id = q.object_id"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery mirror = {
		.sql = ORDER_OF(MIRROR_COLUMNS, "JOIN billing.mirrored_subscription m ON m.tenant_id = q.tenant_id AND m.mirror_id = q.object_id"),
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	switch (operation)
	{
		case BILLING_GATEWAY_REFUND:
		case BILLING_GATEWAY_QUERY_REFUND:
			return &refund;
		case BILLING_GATEWAY_ADD_METHOD:
		case BILLING_GATEWAY_REMOVE_METHOD:
			return &method;
		case BILLING_GATEWAY_SUBSCRIPTION:
			return &mirror;
		default:
			return &payment;
	}
}

/* What is asked, of the row and of what that is about. */
static void
read_order(BillingAsk *ask)
{
	BillingGatewayOrder *order = &ask->order;
	Datum		args[] = {Int64GetDatum(ask->tenant_id), Int64GetDatum(ask->gateway_request_id)};
	MemoryContext context = CurrentMemoryContext;
	Datum		value;
	bool		isnull;

	if (billing_spi_run(query_of(ask->operation), args, NULL) == 0)
		billing_flow_not_found(billing_gateway_ask_name(ask->operation), ask->tenant_id, psprintf("%lld", (long long) ask->object_id));
	MemoryContextSwitchTo(context);
	order->operation = ask->operation;
	order->tenant_id = psprintf("%lld", (long long) ask->tenant_id);
	order->idempotency_key = text_at(1);
	order->pay_no = text_at(3);
	order->refund_no = text_at(4);
	order->external_id = text_at(5);
	order->payment_external_id = text_at(6);
	order->method = text_at(9);
	order->customer_id = text_at(11);
	order->payer_id = text_at(12);
	order->name = text_at(13);
	order->email = text_at(14);
	order->description = text_at(15);
	order->reason = text_at(16);
	order->return_url = text_at(17);
	order->expires_at = seconds_at(18);
	order->created_at = seconds_at(19);
	if (text_at(20) != NULL)
		order->idempotency_key = text_at(20);

	value = billing_spi_value(0, 10, &isnull);
	if (!isnull)
		order->token = billing_encoding_to_utf8(billing_sealed_open(ask->tenant_id, "token", DatumGetBillingSealedP(value)));
	value = billing_spi_value(0, 2, &isnull);
	if (!isnull)
		order->memory = open_memory(ask->tenant_id, DatumGetBillingSealedP(value));
	read_amounts(ask);
	if (query_of(ask->operation) != query_of(BILLING_GATEWAY_QUERY))
		return;
	order->is_token_gone = DatumGetBool(billing_spi_value(0, 21, &isnull));
	if (ask->operation == BILLING_GATEWAY_PAY && order->is_token_gone && ask->problem == NULL)
		ask->problem = "token=gone";
}

/* Those of the payment or refund; none of a method or subscription. */
static void
read_amounts(BillingAsk *ask)
{
	BillingGatewayOrder *order = &ask->order;
	BillingAmount whole;
	Datum		value;
	bool		isnull;

	value = billing_spi_value(0, 7, &isnull);
	if (isnull)
		return;
	ask->has_amount = true;
	ask->amount = *DatumGetBillingAmountP(value);
	whole = *DatumGetBillingAmountP(billing_spi_value(0, 8, &isnull));
	order->currency = ask->amount.currency;
	ask->problem = billing_gateway_account_units(ask->account, &ask->amount, &order->units, &order->exponent);
	if (ask->problem == NULL)
		ask->problem = billing_gateway_account_units(ask->account, &whole, &order->payment_units, &order->exponent);
}

static const char *
text_at(int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(0, column, &isnull);

	return isnull ? NULL : billing_encoding_to_utf8(TextDatumGetCString(value));
}

/* An instant in seconds since 1970; 0: there is none. */
static int64
seconds_at(int column)
{
	bool		isnull;
	TimestampTz at = DatumGetTimestampTz(billing_spi_value(0, column, &isnull));

	return isnull || TIMESTAMP_NOT_FINITE(at) ? 0 : billing_clock_unix(at);
}

static BillingPairs
open_memory(int64 tenant_id, const BillingSealed *sealed)
{
	char	   *text = billing_sealed_open(tenant_id, MEMORY_PURPOSE, sealed);
	BillingPairs memory = billing_gateway_account_pairs(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))));

	billing_sealed_forget(text);
	return memory;
}

/* As text, which SQL reads as a sealed value. */
Datum
billing_gateway_memory_seal(int64 tenant_id, const BillingPairs *memory)
{
	StringInfoData text;
	BillingSealed *sealed;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < memory->count; i++)
		billing_document_append_member(&text, memory->pairs[i].name, memory->pairs[i].value);
	appendStringInfoChar(&text, '}');
	sealed = billing_sealed_make(tenant_id, MEMORY_PURPOSE, text.data, text.len);
	billing_sealed_forget(text.data);
	return CStringGetTextDatum(billing_sealed_text(sealed));
}

/* 32 hexadecimal digits. */
static char *
make_nonce(void)
{
	uint8		bytes[16];
	char	   *nonce = palloc0(2 * sizeof(bytes) + 1);

	if (!pg_strong_random(bytes, sizeof(bytes)))
		elog(ERROR, "there are no random bytes");
	(void) hex_encode((const char *) bytes, sizeof(bytes), nonce);
	return nonce;
}

/*
 * billing_gateway_ask_build
 *		Make the bytes of a request, or learn that none is needed.
 */
const char *
billing_gateway_ask_build(BillingAsk *ask, BillingGatewayRequest *request, BillingGatewayAnswer *answer)
{
	memset(request, 0, sizeof(BillingGatewayRequest));
	billing_gateway_clear(answer);
	ask->order.now = billing_clock_unix(billing_clock_real());
	ask->order.nonce = make_nonce();
	if (ask->problem == NULL && !ask->account->is_enabled &&
		(ask->operation == BILLING_GATEWAY_PAY || ask->operation == BILLING_GATEWAY_ADD_METHOD) && ask->step == 0)
		ask->problem = "is_enabled=false";
	if (ask->problem == NULL)
		ask->problem = ask->account->driver->build(&ask->account->config, &ask->order, request, answer);
	return ask->problem;
}
