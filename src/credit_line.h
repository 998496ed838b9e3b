/*-------------------------------------------------------------------------
 *
 * credit_line.h
 *	  What a credit note is to take back of a line of an invoice.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CREDIT_LINE_H
#define BILLING_CREDIT_LINE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "amount.h"

/*
 * A part of an invoice line, which may come in several.  The amount is of the line's
 * amount, before discount and tax, which follow by proportion; it bears the line's sign.
 */
typedef struct BillingCreditLine
{
	int32		line;			/* of the invoice, from 1 */
	bool		is_rest;		/* all that is left of it; amount says nothing */
	BillingAmount amount;
	TimestampTz period_start;	/* of service that is taken back: within the line's; */
	TimestampTz period_end;		/* DT_NOBEGIN, DT_NOEND: the line's own */
	bool		is_unused;		/* the line's service ended where that begins */
	const char *description;	/* NULL: the line's own */
} BillingCreditLine;

/* Those that a JSON array of objects states, of an invoice in a currency. */
extern BillingCreditLine *billing_credit_lines_read(Jsonb *lines, const BillingCurrency *currency, int *count);

#endif							/* BILLING_CREDIT_LINE_H */
