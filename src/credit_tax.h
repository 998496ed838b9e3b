/*-------------------------------------------------------------------------
 *
 * credit_tax.h
 *	  What a credit note takes back of each tax of its invoice.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CREDIT_TAX_H
#define BILLING_CREDIT_TAX_H

/* A tax of the invoice; amounts are minor units. */
typedef struct BillingCreditTax
{
	int32		line_no;		/* of billing.invoice_tax */
	bool		is_inclusive;	/* the lines contain it */
	bool		is_borne;		/* by a line that something is taken back of */
	int64		amount;			/* the invoice's */
	int64		credited;		/* by notes before */
	int128		taken;			/* by this one */
	int128		base;			/* what that is a percentage of */
} BillingCreditTax;

/* What a line has of a tax. */
typedef struct BillingCreditShare
{
	int32		line;
	int32		tax;			/* which of the taxes */
	int64		units;
} BillingCreditShare;

typedef struct BillingCreditTaxes
{
	int64		tenant_id;
	int64		invoice_id;
	const char *currency;
	BillingCreditTax *taxes;
	int			tax_count;
	BillingCreditShare *shares; /* by line */
	int			share_count;
} BillingCreditTaxes;

/* A part of a line that is taken back, and (out) what goes with it. */
typedef struct BillingCreditPart
{
	int32		line;
	int64		amount;			/* the line's; not zero */
	int64		line_tax;		/* its tax */
	int64		before;			/* what was taken back of the amount */
	int64		units;			/* and is in addition */
	int64		discount;		/* of units */
	int64		tax;			/* out */
	int64		tax_included;	/* out: of tax, what units contain */
} BillingCreditPart;

/* Those of a final invoice; SPI is connected, and they stay until it ends. */
extern void billing_credit_taxes_read(BillingCreditTaxes *taxes, int64 tenant_id, int64 invoice_id, const char *currency);

/* What a part would take back in all, minor units: less its discount, with the taxes that it does not contain. */
extern int64 billing_credit_taxes_total(const BillingCreditTaxes *taxes, const BillingCreditPart *part);

/* Take back what a part has of each tax. */
extern void billing_credit_taxes_take(BillingCreditTaxes *taxes, BillingCreditPart *part);

/*
 * Raise YB003 if more of a tax is taken back than the invoice has of it; for unused time,
 * than the lines that raise it have.
 */
extern void billing_credit_taxes_check(const BillingCreditTaxes *taxes, bool is_unused);

/* How many taxes the note states, and write them. */
extern int	billing_credit_taxes_count(const BillingCreditTaxes *taxes);
extern void billing_credit_taxes_insert(const BillingCreditTaxes *taxes, int64 credit_note_id);

#endif							/* BILLING_CREDIT_TAX_H */
