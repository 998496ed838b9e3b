/*-------------------------------------------------------------------------
 *
 * calculation.h
 *	  The canonical text of what an invoice was calculated from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CALCULATION_H
#define BILLING_CALCULATION_H

#include "access/htup.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

extern PGDLLEXPORT Datum billing_biz_key(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum billing_invoice_number(PG_FUNCTION_ARGS);

/*
 * line, kind, price, formula, quantity, amount, from, to, events, digest, adjusts_invoice, adjusts_line,
 * plan, discount, tax, tax_included
 */
#define BILLING_CALCULATION_ITEM_FIELDS 16

extern void billing_calculation_append_item(StringInfo out, const NullableDatum *fields);

/* An instant in UTC, with the decimals it needs: 2026-01-31T05:00:00Z. */
extern void billing_calculation_append_utc(StringInfo out, TimestampTz instant);

/* rate, percent, inclusive, lines, base, amount, note */
#define BILLING_CALCULATION_TAX_FIELDS 7

extern void billing_calculation_append_tax(StringInfo out, const NullableDatum *fields);

/* A billing.coupon_terms, and what the coupon takes off. */
extern void billing_calculation_append_coupon(StringInfo out, HeapTupleHeader terms, NullableDatum discount);

/*
 * kind, subscription, plan, quantity, timezone, the eight ranges, items (not NULL),
 * subtotal, discount, tax_percent, tax, tax_included, taxes, total, coupons, party
 */
#define BILLING_CALCULATION_FIELDS 23

extern text *billing_calculation_state(const NullableDatum *fields);

/* SHA-256 of such a text. */
extern void billing_calculation_digest(text *inputs, uint8 *hash);

/* salt (not NULL), billing_name, billing_email, billing_address, tax_id */
extern bytea *billing_calculation_party(const NullableDatum *fields);

#endif							/* BILLING_CALCULATION_H */
