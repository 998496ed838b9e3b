/*-------------------------------------------------------------------------
 *
 * refund.h
 *	  Money that goes back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_REFUND_H
#define BILLING_REFUND_H

#include "amount.h"
#include "flow.h"

/* What is to go back of a payment. */
typedef struct BillingRefundOrder
{
	int64		payment_id;
	int64		invoice_id;		/* 0: of a top-up */
	int64		credit_note_id; /* that gives it back; 0: none does */
	BillingAmount amount;
	const char *gateway;		/* of the payment; NULL: a person sends it */
	const char *refund_no;
	const char *cause;			/* as table refund knows them */
	bool		is_to_wallet;	/* it becomes credit at once */
	bool		is_made;		/* the gateway has made it: it is not asked */
	Datum		reason;			/* text; (Datum) 0: none */
} BillingRefundOrder;

/* Write one of the flow's tenant, and its credit if that is where it goes; returns its id. */
extern int64 billing_refund_make(BillingFlow *flow, const BillingRefundOrder *order);

/*
 * Ask its gateway for one that is pending, and take the answer if that needs no network; nothing is asked of a person.  Called
 * when all else is done, ledger included.  YB014 if the gateway cannot be asked for this.
 */
extern void billing_refund_ask(BillingFlow *flow, int64 refund_id);

/*
 * A payment was taken back by the payer's bank: what of it was to go back is not sent any more, and is credit.  One that went all
 * the same takes that credit when it is told.
 */
extern void billing_refund_cancel_pending(BillingFlow *flow, int64 payment_id);

/* Its row as it is, in the flow's memory. */
extern Datum billing_refund_read(BillingFlow *flow, int64 refund_id);

#endif							/* BILLING_REFUND_H */
