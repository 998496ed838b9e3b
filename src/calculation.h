/*-------------------------------------------------------------------------
 *
 * calculation.h
 *	  The canonical text of what an invoice was calculated from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CALCULATION_H
#define BILLING_CALCULATION_H

#include "lib/stringinfo.h"

/* line, kind, price, formula, quantity, amount, from, to, events, digest, adjusts_invoice, adjusts_line */
#define BILLING_CALCULATION_ITEM_FIELDS 12

extern void billing_calculation_append_item(StringInfo out, const NullableDatum *fields);

#endif							/* BILLING_CALCULATION_H */
