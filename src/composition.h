/*-------------------------------------------------------------------------
 *
 * composition.h
 *	  What an invoice amounts to: the one place where lines become a total.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COMPOSITION_H
#define BILLING_COMPOSITION_H

#include "amount.h"
#include "tax.h"

typedef struct BillingComposedLine
{
	int64		amount;			/* as displayed, before its discount */
	int64		discount;		/* what coupons took off it: stated before it is composed */
	const char *tax_category;	/* NULL: the standard one */
	int64		tax;			/* its share of the taxes */
	int64		tax_included;	/* of which in its amount already */
} BillingComposedLine;

/*
 * An invoice on its way.  Whoever makes one fills the lines in (items, then true-ups of
 * commitments), lets coupons state their discounts, chooses the taxes, and composes.  What
 * is drawn of credit comes after that, from the total.
 */
typedef struct BillingComposition
{
	const char *currency;
	BillingComposedLine *lines;
	int			line_count;
	BillingTax *taxes;
	int			tax_count;
	BillingAmount nothing;
	BillingAmount subtotal;		/* sum of the lines */
	BillingAmount discount;
	BillingAmount tax;
	BillingAmount tax_included; /* of which in the subtotal already */
	BillingAmount total;		/* never negative */
	BillingAmount excess;		/* what would have made it so */
} BillingComposition;

extern void billing_composition_choose_taxes(BillingComposition *composition, const BillingTaxTerms *terms);
extern void billing_composition_make(BillingComposition *composition);

/* What a line leaves as revenue. */
static inline int128
billing_composition_revenue(const BillingComposedLine *line)
{
	return (int128) line->amount - line->discount - line->tax_included;
}

/* The percentage of the invoice, where it has one: NULL if there are several. */
extern Numeric billing_composition_percent(const BillingComposition *composition);

/* As an element of an array, and back: the lines that bear a tax, from 1; (Datum) 0: all. */
extern Datum billing_composition_bearers(const BillingComposition *composition, const BillingTax *tax);

#endif							/* BILLING_COMPOSITION_H */
