/*-------------------------------------------------------------------------
 *
 * invoice.h
 *	  What a tenant owes: its invoices, one at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_INVOICE_H
#define BILLING_INVOICE_H

#include "flow.h"

/* An invoice as a flow finds it, its row locked. */
typedef struct BillingInvoice
{
	int64		invoice_id;
	Datum		row;			/* the whole of it */
	char	   *status;
	char	   *currency;
	char	   *total;			/* amounts as they print */
	char	   *paid;
	char	   *amount_due;
	int32		item_count;
	bool		is_part_paid;	/* some of it, however little */
	bool		has_excess;		/* what made it negative became credit */
	int64		subscription_id;	/* 0: of none */
} BillingInvoice;

/* Lock an invoice of the flow's tenant; YB001 if there is none. */
extern void billing_invoice_lock(BillingFlow *flow, int64 invoice_id, BillingInvoice *invoice);

/* YB004: an invoice in its state cannot do what action says ("be voided"). */
pg_noreturn extern void billing_invoice_refuse(const BillingInvoice *invoice, const char *action, const char *hint);

/*
 * Make a draft final: number, dates, parties, link of the chain, ledger.  Returns
 * its row in the flow's memory.  The caller holds the lock of the invoice.
 */
extern Datum billing_invoice_finalize(BillingFlow *flow, int64 invoice_id);

/* Write off what is due of an open invoice, for a reason (text; (Datum) 0: none stated); returns its row. */
extern Datum billing_invoice_give_up(BillingFlow *flow, int64 invoice_id, Datum reason);

/*
 * Void the open invoice of a subscription that ends before it began, if a coupon took something off it and
 * nothing is paid of it: so the coupon may be applied again.
 */
extern void billing_invoice_void_unused(BillingFlow *flow, int64 subscription_id);

/*
 * Void the open invoice of a subscription that waited for it to be paid, if there is one; false, and nothing is
 * done, if something of it is paid or credited, or a payment is in flight.
 */
extern bool billing_invoice_void_waiting(BillingFlow *flow, int64 subscription_id);

/*
 * A set of the rows (line, explanation) of a query whose arguments are the tenant and the id
 * of an object, which the SQL function has as its own; YB001 if there are none.
 */
extern void billing_invoice_explain(FunctionCallInfo fcinfo, BillingQuery *query, const char *object, const char *id);

#endif							/* BILLING_INVOICE_H */
