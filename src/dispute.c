/*-------------------------------------------------------------------------
 *
 * dispute.c
 *	  What the payer's bank takes back of a payment: by a dispute, or without one.
 *
 * It may be told twice and in any order.  What is stated is believed to be what the bank holds or took, also of money that had gone
 * back to the payer, or goes back meanwhile: that he has twice then, and it is bad debt.  What is not stated is what is left.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "event.h"
#include "news.h"
#include "payment.h"
#include "refund.h"

/* What is disputed of a payment. */
typedef struct Dispute
{
	int64		dispute_id;
	char	   *status;
	int64		units;			/* minor units that the gateway holds or took */
	int64		refunded;		/* of them, what had gone back to the payer before */
} Dispute;

static int64 told_of(const BillingPayment *payment, const BillingNews *news);
static bool is_stated(const BillingPayment *payment, const BillingNews *news);
static void read_disputed(BillingFlow *flow, const BillingPayment *payment, int64 *beside, int64 *lost);
static int64 split(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, int64 units, int64 kept, int64 *refunded);
static void hold(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, Dispute *dispute);
static void lose(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute);
static int64 more_than_held(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute);
static bool find_dispute(BillingFlow *flow, const BillingNews *news, Dispute *dispute);
static void open_dispute(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const char *reason, Dispute *dispute);
static void close_dispute(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute, bool is_won);
static void post_dispute(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units);
static int64 lower_refunded(BillingFlow *flow, int64 payment_id, int64 units);

/*
 * billing_payment_reverse
 *		The payer's bank took it back, as it does with a direct debit.
 *
 * What it tells is all that it has taken so far: what a dispute has taken or holds is a part of that, since some gateways tell both of the
 * same money.
 */
void
billing_payment_reverse(BillingFlow *flow, int64 payment_id, const BillingNews *news)
{
	BillingPayment payment;
	int64		units;
	int64		refunded;
	int64		taken;
	int64		beside;
	int64		lost;

	billing_payment_lock_received(flow, payment_id, news->at, &payment);
	read_disputed(flow, &payment, &beside, &lost);
	units = told_of(&payment, news) - payment.reversed - payment.lost - beside;
	if (units <= 0)
		return;
	taken = split(flow, &payment, news, units, 0, &refunded);
	if (taken > 0)
		billing_payment_take_back(flow, &payment, news->at, taken, "cash");
	if (refunded > 0)
		billing_payment_lose_refunded(flow, &payment, news->at, refunded, "cash", true);
	if (taken + refunded > 0)
		billing_flow_audit(flow, "payment", payment_id, payment.row, billing_payment_read(flow, payment_id));
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
 * split
 *		Of units that the bank takes, what is still here, beside what is kept for it; and, where they are stated, what had gone back.
 *
 * Where that is more than is here, it takes what was on its way back, too: those refunds come to nothing.
 */
static int64
split(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, int64 units, int64 kept, int64 *refunded)
{
	int64		left = billing_payment_left(flow, payment, true) + kept;
	int64		taken;

	if (units > Max(left, 0))
	{
		billing_refund_cancel_pending(flow, payment->payment_id);
		left = billing_payment_left(flow, payment, true) + kept;
	}
	taken = Max(Min(units, left), 0);
	*refunded = is_stated(payment, news) ? units - taken : 0;
	return taken;
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
	dispute->units = told_of(payment, news) - Max(payment->reversed - lost, 0) - payment->lost;
	dispute->units = Min(dispute->units, is_stated(payment, news) ? payment->amount.units - payment->reversed - payment->lost - beside : left);
	dispute->refunded = Max(dispute->units - left, 0);
}

/* The bank has what was held, or a part of it; the rest comes back. */
static void
lose(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute)
{
	int64		told = told_of(payment, news);
	int64		lost = told > 0 ? Min(told, dispute->units) : dispute->units;
	Dispute		closed = *dispute;
	int64		taken;

	lost += more_than_held(flow, payment, news, dispute);
	taken = split(flow, payment, news, lost, dispute->units - dispute->refunded, &closed.refunded);
	lost = taken + closed.refunded;
	if (lost != dispute->units)
		post_dispute(flow, payment, news->at, lost - dispute->units);
	closed.units = lost > 0 ? lost : dispute->units;
	close_dispute(flow, payment, news, &closed, false);
	if (taken > 0)
		billing_payment_take_back(flow, payment, news->at, taken, "disputed");
	if (closed.refunded > 0)
		billing_payment_lose_refunded(flow, payment, news->at, closed.refunded, "disputed", false);
}

/* What the bank took beyond what was held, as where that was not stated, or has grown. */
static int64
more_than_held(BillingFlow *flow, const BillingPayment *payment, const BillingNews *news, const Dispute *dispute)
{
	int64		beside;
	int64		lost;
	int64		more;

	if (!is_stated(payment, news))
		return 0;
	read_disputed(flow, payment, &beside, &lost);
	more = told_of(payment, news) - Max(payment->reversed - lost, 0) - payment->lost - dispute->units;
	return Max(Min(more, payment->amount.units - payment->reversed - payment->lost - beside), 0);
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

/*
 * billing_dispute_refund_returned
 *		A refund came back that the bank had taken, or holds, all the same: it did so once then.
 *
 * What was bad debt of that is none any more, and was taken back of the payment like any other; how much, minor units.
 */
int64
billing_dispute_refund_returned(BillingFlow *flow, int64 payment_id, int64 units)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.payment p SET status = 'reversed', version = p.version + 1,"
		"  lost = billing.from_minor_units(nullif(coalesce(billing.minor_units(p.lost), 0) - $4, 0), billing.currency(p.amount)),"
		"  reversed = billing.from_minor_units(coalesce(billing.minor_units(p.reversed), 0) + $3, billing.currency(p.amount))"
		" WHERE p.tenant_id = $1 AND p.payment_id = $2",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID},
	};
	BillingPayment payment;
	int64		returned;
	int64		of_reversal;
	Datum		args[4];

	billing_payment_lock(flow, payment_id, &payment);
	of_reversal = Min(payment.lost, units);
	returned = of_reversal + lower_refunded(flow, payment_id, units - of_reversal);
	args[0] = Int64GetDatum(flow->tenant_id);
	args[1] = Int64GetDatum(payment_id);
	args[2] = Int64GetDatum(returned);
	args[3] = Int64GetDatum(of_reversal);
	if (returned > 0)
		(void) billing_spi_run(&query, args, NULL);
	return returned;
}

/* Of what disputes hold or took so many units less had gone back; what of them was lost. */
static int64
lower_refunded(BillingFlow *flow, int64 payment_id, int64 units)
{
	static BillingQuery query = {
		.sql = "WITH part AS (SELECT d.dispute_id, d.status, least(billing.minor_units(d.refunded), greatest($3 - coalesce(sum(billing.minor_units(d.refunded))"
		"    OVER (ORDER BY d.status, d.dispute_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0))::bigint AS units"
		"   FROM billing.dispute d WHERE d.tenant_id = $1 AND d.payment_id = $2 AND d.status IN ('open', 'lost') AND d.refunded IS NOT NULL"
		"), lowered AS (UPDATE billing.dispute d"
		"    SET refunded = billing.from_minor_units(nullif(billing.minor_units(d.refunded) - p.units, 0), billing.currency(d.amount))"
		"   FROM part p WHERE d.tenant_id = $1 AND d.dispute_id = p.dispute_id AND p.units > 0)"
		" SELECT coalesce(sum(p.units) FILTER (WHERE p.status = 'lost'), 0)::bigint FROM part p",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_id), Int64GetDatum(units)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}
