/*-------------------------------------------------------------------------
 *
 * credit_note.h
 *	  Documents that take back what a final invoice billed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CREDIT_NOTE_H
#define BILLING_CREDIT_NOTE_H

#include "credit_line.h"
#include "flow.h"
#include "refund.h"

/* Where that goes which the note's own invoice does not owe any more. */
typedef enum BillingCreditDestination
{
	BILLING_CREDIT_WALLET,		/* credit for anything */
	BILLING_CREDIT_BALANCE,		/* credit for invoices, drawn before any other */
	BILLING_CREDIT_REFUND,		/* back to where it was paid from */
	BILLING_CREDIT_INVOICE		/* another open invoice, the rest to the wallet */
} BillingCreditDestination;

typedef struct BillingCreditTo
{
	BillingCreditDestination destination;
	int64		invoice_id;		/* of BILLING_CREDIT_INVOICE, else 0 */
	const BillingRefundOrder *refund;	/* of BILLING_CREDIT_REFUND: the one that it is issued for; NULL: those that it asks for */
} BillingCreditTo;

/*
 * Issue a credit note for parts of a final invoice's lines, or (lines NULL) for all that
 * is left of it; returns its id, or 0 and issues none if what they cost is nothing: lines
 * that a discount had made free.  It lowers what is due of the invoice first; what goes
 * beyond is owed to the tenant.  reason is text, (Datum) 0 for none.
 *
 * Where all lines are unused, what lines that lower the invoice had paid of them is given
 * back, too; see the head of credit_note.c.
 *
 * Of a refund that it is issued for the total is exactly that, whatever is still due, and lines is NULL: whole lines in
 * order, and parts of those where that ends.  22023 if the rounding of tax and discount leaves no such parts.
 *
 * The caller holds the tenant's lock and is connected to SPI.  YB003 for more than was
 * invoiced or less than nothing, YB004 for a draft or void invoice.
 */
extern int64 billing_credit_note_issue(int64 tenant_id, int64 invoice_id, const BillingCreditLine *lines, int count,
									   BillingCreditTo to, Datum reason);

#endif							/* BILLING_CREDIT_NOTE_H */
