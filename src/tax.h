/*-------------------------------------------------------------------------
 *
 * tax.h
 *	  Which taxes lines bear, and how much these are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_TAX_H
#define BILLING_TAX_H

#include "utils/numeric.h"

/* 100 percent; parts are millionths of a percent. */
#define BILLING_TAX_WHOLE INT64CONST(100000000)

/* A row of billing.tax_rate.  What is NULL there is NULL here. */
typedef struct BillingTaxRate
{
	const char *code;
	Numeric		percent;
	bool		is_inclusive;
	bool		is_reverse_charge;
	bool		replaces_country;
	const char *country;
	const char *region;
	const char *category;
	bool		is_active;
	bool		is_used;		/* an invoice states it */
} BillingTaxRate;

/* What decides about the taxes of a tenant; texts are NULL where nothing is said. */
typedef struct BillingTaxTerms
{
	const char *exemption;		/* why it pays no tax */
	const char *rate;			/* the one rate that it pays */
	bool		states_percent;	/* percent is its own */
	Numeric		percent;		/* where no rate is found; NULL is 0 */
	const char *country;
	const char *region;
	bool		has_tax_id;
	const BillingTaxRate *rates;
	int			rate_count;
} BillingTaxTerms;

/* A tax that an invoice states. */
typedef struct BillingTax
{
	const char *code;			/* NULL: of no rate */
	Numeric		percent;
	bool		is_inclusive;
	bool		is_first;		/* no invoice stated the rate before */
	const char *note;			/* NULL: none */
	bool	   *bears;			/* which lines bear it; NULL: all */
	int64	   *shares;			/* who asks what each line has of it gives zeros here; else NULL */
	int64		base;			/* what it is a percentage of, without tax */
	int64		amount;
} BillingTax;

/* A line: net of its discount, and of which category; then its shares. */
typedef struct BillingTaxLine
{
	int64		net;
	const char *category;		/* NULL: the standard one */
	int64		tax;			/* in all, included or not */
	int64		included;		/* of which in the line's amount already */
} BillingTaxLine;

/*
 * The taxes that lines (of none: what a standard one would) bear, in the order of their codes,
 * without base and amount yet; NULL if there are none.
 */
extern BillingTax *billing_tax_choose(const BillingTaxTerms *terms, const BillingTaxLine *lines, int count, int *tax_count);

/* Calculate the taxes, and the shares of the lines; false if an amount is out of range. */
extern bool billing_tax_calculate(BillingTaxLine *lines, int count, BillingTax *taxes, int tax_count);

/* percent in millionths; false if it has more than six decimals, or is not from 0 to 100. */
extern bool billing_tax_parts(Numeric percent, int64 *parts);

#endif							/* BILLING_TAX_H */
