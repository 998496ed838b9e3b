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
#include "event.h"
#include "gateway_request.h"
#include "news.h"
#include "payment.h"
#include "payment_method.h"
#include "refund.h"
#include "sealed.h"

/* What is disputed of a payment. */
typedef struct Dispute
{
	int64		dispute_id;
	char	   *status;
	int64		units;			/* minor units that the gateway holds or took */
	int64		refunded;		/* of them, what had gone back to the payer before */
} Dispute;

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
static bool is_kept(const BillingPayment *payment);
static int64 told_of(const BillingPayment *payment, const BillingNews *news);
static bool is_stated(const BillingPayment *payment, const BillingNews *news);
static void read_disputed(BillingFlow *flow, const BillingPayment *payment, int64 *beside, int64 *lost);
static void hold(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, Dispute *dispute);
static void lose(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute);
static bool find_dispute(BillingFlow *flow, const BillingNews *news, Dispute *dispute);
static void open_dispute(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const char *reason, Dispute *dispute);
static void close_dispute(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute, bool is_won);
static void post_dispute(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units);

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

/*
 * billing_payment_reverse
 *		The payer's bank took it back, as it does with a direct debit.
 *
 * Where that is more than is left, it took what was on its way back, too.  What it tells is all that it has taken so far: what a
 * dispute has taken or holds is a part of that, since some gateways tell both of the same money.
 */
void
billing_payment_reverse(BillingFlow *flow, int64 payment_id, const BillingNews *news)
{
	BillingPayment payment;
	int64		units;
	int64		left;
	int64		beside;
	int64		lost;

	billing_payment_lock_received(flow, payment_id, news->at, &payment);
	if (!is_kept(&payment))
		return;
	read_disputed(flow, &payment, &beside, &lost);
	units = told_of(&payment, news) - payment.reversed - beside;
	left = billing_payment_left(flow, &payment, true);
	if (units > Max(left, 0))
	{
		billing_refund_cancel_pending(flow, payment_id);
		left = billing_payment_left(flow, &payment, true);
	}
	units = Min(units, left);
	if (units <= 0)
		return;
	billing_payment_take_back(flow, &payment, news->at, units, "cash");
	billing_flow_audit(flow, "payment", payment_id, payment.row, billing_payment_read(flow, payment_id));
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

/* Something of it may still be here. */
static bool
is_kept(const BillingPayment *payment)
{
	return strcmp(payment->status, "succeeded") == 0 || strcmp(payment->status, "reversed") == 0;
}

/* How much of it is told of, minor units: all of it, where that is not said. */
static int64
told_of(const BillingPayment *payment, const BillingNews *news)
{
	return is_stated(payment, news) ? Min(news->amount.units, payment->amount.units) : payment->amount.units;
}

static bool
is_stated(const BillingPayment *payment, const BillingNews *news)
{
	return news->has_amount && strcmp(news->amount.currency, payment->amount.currency) == 0;
}

/* What disputes hold, or took, beside what is noted as reversed of the payment; and what of that they took. */
static void
read_disputed(BillingFlow *flow, const BillingPayment *payment, int64 *beside, int64 *lost)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(sum(CASE d.status WHEN 'open' THEN billing.minor_units(d.amount) ELSE billing.minor_units(d.refunded) END), 0)::bigint,"
		"  coalesce(sum(billing.minor_units(d.amount) - coalesce(billing.minor_units(d.refunded), 0)) FILTER (WHERE d.status = 'lost'), 0)::bigint"
		" FROM billing.dispute d WHERE d.tenant_id = $1 AND d.payment_id = $2 AND d.status IN ('open', 'lost')",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	*beside = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	*lost = DatumGetInt64(billing_spi_value(0, 2, &isnull));
}

/*
 * billing_dispute_learn
 *		The payer disputes it: the gateway holds the money back until that is won or lost.
 */
void
billing_dispute_learn(BillingFlow *flow, int64 payment_id, const BillingNews *news, const char *reason)
{
	BillingPayment payment;
	Dispute		dispute;

	billing_payment_lock_received(flow, payment_id, news->at, &payment);
	if (news->answer->external_id == NULL)
		return;
	if (!find_dispute(flow, news, &dispute))
	{
		hold(flow, &payment, news, &dispute);
		if (dispute.units <= 0)
			return;
		open_dispute(flow, &payment, news, reason, &dispute);
	}
	else if (strcmp(dispute.status, "open") != 0)
		return;

	if (news->answer->outcome == BILLING_GATEWAY_SUCCEEDED)
	{
		close_dispute(flow, &payment, news, &dispute, true);
		post_dispute(flow, &payment, news->at, -dispute.units);
	}
	else if (news->answer->outcome == BILLING_GATEWAY_FAILED)
		lose(flow, &payment, news, &dispute);
	billing_flow_audit(flow, "dispute", dispute.dispute_id, payment.row, billing_payment_read(flow, payment_id));
}

/*
 * hold
 *		How much of a payment a dispute holds that is news.
 *
 * What was reversed without a dispute may be the money of this one, told first.  What is on its way back is held, too: it has gone, or
 * comes to nothing, by the time that the dispute is lost.  What had gone back is held a second time where the gateway says how much
 * it holds, as when the payer's bank knows nothing of a refund.
 */
static void
hold(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, Dispute *dispute)
{
	int64		beside;
	int64		lost;
	int64		left = Max(billing_payment_left(flow, payment, false), 0);

	read_disputed(flow, payment, &beside, &lost);
	dispute->units = told_of(payment, news) - Max(payment->reversed - lost, 0);
	dispute->units = Min(dispute->units, is_stated(payment, news) ? payment->amount.units - payment->reversed - beside : left);
	dispute->refunded = Max(dispute->units - left, 0);
}

/*
 * lose
 *		The bank has what was held, or a part of it, also of what was on its way back; the rest comes back.
 *
 * What went back while it was disputed the bank did not take.  What had gone before it took last.
 */
static void
lose(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute)
{
	int64		kept = dispute->units - dispute->refunded;
	int64		told = told_of(payment, news);
	int64		lost = told > 0 ? Min(told, dispute->units) : dispute->units;
	int64		taken = Min(lost, kept);
	int64		left = billing_payment_left(flow, payment, true) + kept;
	Dispute		closed = *dispute;

	closed.refunded = lost - taken;
	if (taken > left)
	{
		billing_refund_cancel_pending(flow, payment->payment_id);
		left = billing_payment_left(flow, payment, true) + kept;
		taken = Max(Min(taken, left), 0);
	}
	lost = taken + closed.refunded;
	if (lost < dispute->units)
		post_dispute(flow, payment, news->at, lost - dispute->units);
	closed.units = lost > 0 ? lost : dispute->units;
	close_dispute(flow, payment, news, &closed, false);
	if (taken > 0)
		billing_payment_take_back(flow, payment, news->at, taken, "disputed");
	if (closed.refunded > 0)
		billing_payment_lose_refunded(flow, payment, news->at, closed.refunded, "disputed");
}

static bool
find_dispute(BillingFlow *flow, const BillingNews *news, Dispute *dispute)
{
	static BillingQuery query = {
		.sql = "SELECT d.dispute_id, d.status, billing.minor_units(d.amount), coalesce(billing.minor_units(d.refunded), 0) FROM billing.dispute d"
		" WHERE d.tenant_id = $1 AND d.gateway = $2 AND d.external_id = $3 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), CStringGetTextDatum(news->gateway), CStringGetTextDatum(news->answer->external_id)
	};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	dispute->dispute_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	dispute->status = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	dispute->units = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	dispute->refunded = DatumGetInt64(billing_spi_value(0, 4, &isnull));
	return true;
}

/* The money is not ours for now. */
static void
open_dispute(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const char *reason, Dispute *dispute)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.dispute AS d (tenant_id, payment_id, gateway, external_id, amount, refunded, reason, opened_at)"
		" SELECT p.tenant_id, p.payment_id, $3, $4, billing.from_minor_units($5, billing.currency(p.amount)),"
		"   billing.from_minor_units(nullif($6, 0), billing.currency(p.amount)), $7, $8"
		"   FROM billing.payment p WHERE p.tenant_id = $1 AND p.payment_id = $2 RETURNING d.dispute_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 8,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), CStringGetTextDatum(news->gateway),
		CStringGetTextDatum(news->answer->external_id), Int64GetDatum(dispute->units), Int64GetDatum(dispute->refunded),
		reason == NULL ? (Datum) 0 : CStringGetTextDatum(reason), TimestampTzGetDatum(news->at)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, reason == NULL ? "      n " : NULL);
	dispute->dispute_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	post_dispute(flow, payment, news->at, dispute->units);
	billing_event_emit(flow->tenant_id, "dispute.opened", dispute->dispute_id);
}

static void
close_dispute(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute, bool is_won)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.dispute d SET status = $3, closed_at = $4, amount = billing.from_minor_units($5, billing.currency(d.amount)),"
		"  refunded = billing.from_minor_units(nullif($6, 0), billing.currency(d.amount))"
		" WHERE d.tenant_id = $1 AND d.dispute_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(dispute->dispute_id), CStringGetTextDatum(is_won ? "won" : "lost"),
		TimestampTzGetDatum(news->at), Int64GetDatum(dispute->units), Int64GetDatum(dispute->refunded)
	};

	(void) billing_spi_run(&query, args, NULL);
	if (news->has_fee && news->fee.units > 0)
		billing_payment_post_charge(flow, payment, news->at, &news->fee);
	billing_event_emit(flow->tenant_id, is_won ? "dispute.won" : "dispute.lost", dispute->dispute_id);
}

/* From cash to what is disputed; negative: back. */
static void
post_dispute(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		" SELECT p.tenant_id, 'dispute', p.invoice_id, p.payment_id, $3, '{disputed,cash}', ARRAY[a.amount, -a.amount]"
		"   FROM billing.payment p CROSS JOIN LATERAL (SELECT billing.from_minor_units($4, billing.currency(p.amount)) AS amount) a"
		"  WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(payment->payment_id), TimestampTzGetDatum(at), Int64GetDatum(units)
	};

	(void) billing_spi_run(&query, args, NULL);
}
