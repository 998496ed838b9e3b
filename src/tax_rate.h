/*-------------------------------------------------------------------------
 *
 * tax_rate.h
 *	  The rates there are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_TAX_RATE_H
#define BILLING_TAX_RATE_H

#include "nodes/pg_list.h"

#include "tax.h"

/*
 * The rates of these codes, and the active ones of these countries (Datums of text), in
 * the order of their codes; SPI is connected, and they stay until it ends.  Without
 * either nothing is read.
 */
extern BillingTaxRate *billing_tax_rate_read(Datum *codes, int code_count, Datum *countries, int country_count, int *count);

/*
 * Until the transaction ends no rate changes what it takes.  Who makes invoices calls this before
 * the snapshot that they are calculated under, or might state what a rate was a moment ago.
 */
extern void billing_tax_rate_hold(void);

/* From now on these rates (String nodes) do not change: an invoice states them. */
extern void billing_tax_rate_mark_used(List *codes);

#endif							/* BILLING_TAX_RATE_H */
