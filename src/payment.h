/*-------------------------------------------------------------------------
 *
 * payment.h
 *	  Money that is asked for, comes, and is taken back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PAYMENT_H
#define BILLING_PAYMENT_H

#include "amount.h"
#include "flow.h"

/* A payment as a flow finds it, its row locked. */
typedef struct BillingPayment
{
	int64		payment_id;
	Datum		row;			/* the whole of it */
	char	   *pay_no;
	char	   *status;
	bool		is_top_up;
	int64		invoice_id;		/* 0: of a top-up */
	char	   *gateway;		/* NULL: outside any */
	int64		payment_method_id;	/* 0: a person goes on with it */
	bool		is_shown;		/* there is something that a person may pay it with */
	int32		attempt_no;		/* of the attempt of collection that it serves; -1: none */
	int32		retry_no;
	BillingAmount amount;
	int64		applied;		/* minor units that pay its invoice, or were credited as a top-up, once it came, less what was refunded of them */
	int64		reversed;		/* of its amount, what was taken back, minor units */
	int64		lost;			/* what was taken, without a dispute, though it had gone back */
	bool		has_fee;
} BillingPayment;

/* What a payment is asked for with. */
typedef struct BillingPaymentOrder
{
	int64		invoice_id;		/* 0: a top-up */
	const BillingAmount *amount;
	const char *pay_no;			/* NULL: one is made */
	const char *gateway;
	const char *method;
	int64		payment_method_id;	/* 0: none */
	Datum		return_url;		/* texts; (Datum) 0: none */
	Datum		payer_id;
	Datum		description;
	Datum		metadata;		/* jsonb; (Datum) 0: none */
	TimestampTz expires_at;		/* 0: none */
	int32		attempt_no;		/* -1: of no attempt of collection */
	int32		retry_no;
} BillingPaymentOrder;

/* Lock one of the flow's tenant; YB001 if there is none. */
extern void billing_payment_lock(BillingFlow *flow, int64 payment_id, BillingPayment *payment);

/*
 * Lock one of which something is told that presumes that it came: that may be told later than what followed, so that it is
 * received by it, as of at.
 */
extern void billing_payment_lock_received(BillingFlow *flow, int64 payment_id, TimestampTz at, BillingPayment *payment);

/* The same by its pay_no (text). */
extern void billing_payment_find(BillingFlow *flow, Datum pay_no, BillingPayment *payment);

/* Its row as it is, in the flow's memory. */
extern Datum billing_payment_read(BillingFlow *flow, int64 payment_id);

/* Whether it may still succeed, as far as is known. */
extern bool billing_payment_is_in_flight(const BillingPayment *payment);

/*
 * It has come: mark it so, and let all follow: ledger, invoice or wallet, what nothing is due for, subscription, events,
 * receipt, attempt of collection.  The caller audits.  fee is NULL where it is not known.
 */
extern void billing_payment_receive(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee);

/* A fee that became known after it came. */
extern void billing_payment_post_fee(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee);

/* What a gateway charges besides, such as for a dispute. */
extern void billing_payment_post_charge(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, const BillingAmount *fee);

/*
 * Minor units of it that did not go back, were not taken back and are not disputed (but for what of that had gone back); is_sent: nor are on their way back;
 * negative where that is disputed.
 */
extern int64 billing_payment_left(BillingFlow *flow, const BillingPayment *payment, bool is_sent);

/*
 * It did not come: status failed or canceled, with why (driver is whose word code is; NULL: ours); its attempt of collection fails too, and the caller
 * lets dunning go on (billing_dunning_catch_up) if it is not dunning itself.
 */
extern void billing_payment_end(BillingFlow *flow, const BillingPayment *payment, const char *status, const char *driver, const char *code,
								const char *reason);

/* So many minor units of it were taken back, out of an account (cash or disputed): its invoice is owed again. */
extern void billing_payment_take_back(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units, const char *account);

/*
 * So many minor units that had gone back to the payer were taken all the same, out of an account: bad debt of no invoice.  is_noted: with the payment,
 * as of no dispute.
 */
extern void billing_payment_lose_refunded(BillingFlow *flow, const BillingPayment *payment, TimestampTz at, int64 units, const char *account, bool is_noted);

/*
 * So many minor units of it do not pay its invoice any more, but went to an account: they are owed again, and dunning sees to
 * that; of what was given up they are bad debt again.
 */
extern void billing_payment_reopen(BillingFlow *flow, const BillingPayment *payment, int64 units, const char *account, TimestampTz at);

/*
 * Ask a gateway for a payment: write its row, close one that waits for a person (YB004 if one may be going on), and ask.  Returns its id.
 */
extern int64 billing_payment_begin(BillingFlow *flow, const BillingPaymentOrder *order);

/* Whether one that is in flight can be called off: no money can be on its way. */
extern bool billing_payment_may_call_off(BillingFlow *flow, const BillingPayment *payment);

/* Call off one that is in flight, here and at its gateway. */
extern void billing_payment_call_off(BillingFlow *flow, const BillingPayment *payment, const char *reason);

/* Less is due of an invoice, by a payment or (payment_id 0) otherwise: another payment that waits and asks for more than that is called off. */
extern void billing_payment_call_off_waiting(BillingFlow *flow, int64 invoice_id, int64 payment_id);

/*
 * A refund of so many minor units came back: what the payer's bank took though they had gone back, it took once; returns how much of that was bad debt,
 * and is none any more.
 */
extern int64 billing_dispute_refund_returned(BillingFlow *flow, int64 payment_id, int64 units);

#endif							/* BILLING_PAYMENT_H */
