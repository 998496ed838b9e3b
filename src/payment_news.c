/*-------------------------------------------------------------------------
 *
 * payment_news.c
 *	  What a gateway says of a payment: it goes on, came, failed, was taken back, or is disputed.
 *
 * News may come twice and in any order.  What has come has come: nothing but the payer's bank takes it back.  What was given up here, or
 * called off, may come all the same, and is money then.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "collect.h"
#include "dunning.h"
#include "gateway_request.h"
#include "news.h"
#include "payment.h"
#include "payment_method.h"
#include "sealed.h"

static void note_what_is_known(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news);
static Datum seal_secret(BillingFlow *flow, const char *secret);
static Datum make_json(const char *text);
static void come(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news);
static void go_on(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news);
static bool may_follow(const char *from, const char *to);
static void wait_for_person(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news);
static void end(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news);
static void end_method(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news);
static bool has_come(const BillingPayment *payment);

/*
 * billing_payment_learn
 *		What became of a payment, as far as it is news.
 */
void
billing_payment_learn(BillingFlow *flow, int64 payment_id, const BillingNews *news)
{
	BillingPayment payment;
	Datum		before;

	billing_payment_lock(flow, payment_id, &payment);
	before = payment.row;
	note_what_is_known(flow, &payment, news);
	switch (news->answer->outcome)
	{
		case BILLING_GATEWAY_SUCCEEDED:
			come(flow, &payment, news);
			break;
		case BILLING_GATEWAY_FAILED:
		case BILLING_GATEWAY_CANCELED:
			end(flow, &payment, news);
			break;
		default:
			go_on(flow, &payment, news);
	}
	billing_flow_audit(flow, "payment", payment_id, before, billing_payment_read(flow, payment_id));
}

/* Its id there, where it can be paid, the last answer. */
static void
note_what_is_known(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET external_id = coalesce($3, p.external_id), payment_url = coalesce($4, p.payment_url),"
		"  client_secret = coalesce($5::billing.sealed, p.client_secret), gateway_response = coalesce($6, p.gateway_response)"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, JSONBOID},
	};
	const BillingGatewayAnswer *answer = news->answer;
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id),
		answer->external_id == NULL ? (Datum) 0 : CStringGetTextDatum(answer->external_id),
		answer->payment_url == NULL ? (Datum) 0 : CStringGetTextDatum(answer->payment_url),
		seal_secret(flow, answer->client_secret), make_json(answer->response)
	};
	char		nulls[] = "      ";

	for (int i = 2; i < lengthof(args); i++)
		nulls[i] = args[i] == (Datum) 0 ? 'n' : ' ';
	if (strcmp(nulls, "  nnnn") != 0)
		(void) billing_spi_run(&query, args, nulls);
}

/* As text, which SQL reads as a sealed value. */
static Datum
seal_secret(BillingFlow *flow, const char *secret)
{
	if (secret == NULL)
		return (Datum) 0;
	return CStringGetTextDatum(billing_sealed_text(billing_sealed_make(flow->tenant_id, "client_secret", secret, strlen(secret))));
}

/* A driver wrote it, but what is in it came from outside: what jsonb does not hold, as \u0000, is left out. */
static Datum
make_json(const char *text)
{
	if (text == NULL || strstr(text, "\\u0000") != NULL)
		return (Datum) 0;
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/* It came; or it has, and the fee is news. */
static void
come(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news)
{
	if (!has_come(payment))
		billing_payment_receive(flow, payment, news->at, news->has_fee ? &news->fee : NULL);
	else if (news->has_fee && !payment->has_fee)
		billing_payment_post_fee(flow, payment, news->at, &news->fee);
}

/* The gateway works on it, or somebody has to do something, or nobody knows. */
static void
go_on(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = $3, version = p.version + 1 WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	const char *status = news->answer->outcome == BILLING_GATEWAY_REQUIRES_ACTION ? "requires_action" :
		news->answer->outcome == BILLING_GATEWAY_UNKNOWN ? "unknown" : "processing";
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), (Datum) 0};

	if (may_follow(payment->status, status))
	{
		args[2] = CStringGetTextDatum(status);
		(void) billing_spi_run(&query, args, NULL);
		if (strcmp(status, "requires_action") == 0)
			wait_for_person(flow, payment, news);
	}
}

/* Of what is in flight; that it is unknown is no news of what waits for a person, since it can only have been a question. */
static bool
may_follow(const char *from, const char *to)
{
	if (strcmp(from, "pending") != 0 && strcmp(from, "processing") != 0 && strcmp(from, "requires_action") != 0 && strcmp(from, "unknown") != 0)
		return false;
	if (strcmp(to, "unknown") == 0)
		return strcmp(from, "processing") == 0 || strcmp(from, "pending") == 0;
	return strcmp(from, to) != 0;
}

/* Until when it can be paid; collection goes on meanwhile as if it had failed, since the payer has to do something. */
static void
wait_for_person(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "SELECT p.expires_at FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2 AND isfinite(p.expires_at)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};
	BillingAttempt attempt = {.tenant_id = flow->tenant_id, .invoice_id = payment->invoice_id, .attempt_no = payment->attempt_no, .retry_no = payment->retry_no};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) > 0)
	{
		TimestampTz left = DatumGetTimestampTz(billing_spi_value(0, 1, &isnull)) - billing_clock_now();

		(void) billing_gateway_ask(flow->tenant_id, payment->gateway, BILLING_GATEWAY_CLOSE, payment->payment_id, billing_clock_real() + Max(left, 0));
	}
	if (payment->attempt_no < 0)
		return;
	billing_collect_fail(&attempt, news->gateway, "authentication_required", NULL);
	billing_dunning_catch_up(flow);
}

/* It did not come, if that is still open. */
static void
end(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news)
{
	const BillingGatewayAnswer *answer = news->answer;

	if (!billing_payment_is_in_flight(payment))
		return;
	billing_payment_end(flow, payment, answer->outcome == BILLING_GATEWAY_FAILED ? "failed" : "canceled", news->driver,
						answer->code == NULL ? "declined" : answer->code, answer->message);
	if (payment->attempt_no >= 0)
		billing_dunning_catch_up(flow);
	else if (answer->outcome == BILLING_GATEWAY_FAILED && payment->payment_method_id != 0)
		end_method(flow, payment, news);
}

/* What says that the stored method is gone for good ends that, too, as it does in an attempt of collection (collect.c). */
static void
end_method(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "SELECT d.ends_method FROM billing.find_decline_code($1, $2) d",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(news->driver), CStringGetTextDatum(news->answer->code == NULL ? "declined" : news->answer->code)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	if (DatumGetBool(billing_spi_value(0, 1, &isnull)))
		billing_payment_method_fail(flow->tenant_id, payment->payment_method_id, news->answer->code, news->answer->message);
}

void
billing_payment_lock_received(BillingFlow *flow, int64 payment_id, TimestampTz at, BillingPayment *payment)
{
	billing_payment_lock(flow, payment_id, payment);
	if (has_come(payment))
		return;
	billing_payment_receive(flow, payment, at, NULL);
	billing_flow_audit(flow, "payment", payment_id, payment->row, billing_payment_read(flow, payment_id));
	billing_payment_lock(flow, payment_id, payment);
}

/* Whatever became of it since. */
static bool
has_come(const BillingPayment *payment)
{
	return strcmp(payment->status, "succeeded") == 0 || strcmp(payment->status, "refunded") == 0 || strcmp(payment->status, "reversed") == 0;
}
