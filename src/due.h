/*-------------------------------------------------------------------------
 *
 * due.h
 *	  Subscriptions at their next boundaries, and the lines that they owe there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DUE_H
#define BILLING_DUE_H

#include "boundary.h"
#include "store.h"
#include "tax.h"

/* What is known of a subscription: the arguments of billing.next_boundary, then these. */
enum
{
	BILLING_DUE_TENANT_ID = BILLING_TERMS,
	BILLING_DUE_INVOICE_ID,
	BILLING_DUE_SUBSCRIPTION_ID,
	BILLING_DUE_PLAN_ID,
	BILLING_DUE_STATUS,
	BILLING_DUE_ACTIVATE,
	BILLING_DUE_CURRENCY,
	BILLING_DUE_QUANTITY,
	BILLING_DUE_TAKES_UNSTATED,
	BILLING_DUE_HAS_STATED,
	BILLING_DUE_HAS_UNSTATED,
	BILLING_DUE_HAS_LATE,
	BILLING_DUE_HAS_PARTS,
	BILLING_DUE_HAS_NEXT,
	BILLING_DUE_HAS_CUT,
	BILLING_DUE_HAS_COUPON,
	BILLING_DUE_TAX_EXEMPTION,
	BILLING_DUE_TAX_RATE,
	BILLING_DUE_COUNTRY,
	BILLING_DUE_REGION,
	BILLING_DUE_TAX_PERCENT,
	BILLING_DUE_FINALIZE_AFTER,
	BILLING_DUE_INVOICE_PREFIX,
	BILLING_DUE_NET_DAYS,
	BILLING_DUE_BILLING_NAME,
	BILLING_DUE_BILLING_EMAIL,
	BILLING_DUE_BILLING_ADDRESS,
	BILLING_DUE_TAX_ID,
	BILLING_DUE_INVOICE_NUMBER,
	BILLING_DUE_CHAIN_NO,
	BILLING_DUE_CHAIN_HASH,
	BILLING_DUE_HAS_CREDIT,
	BILLING_DUE_SELLER,
	BILLING_DUE_PRORATION,		/* from here on of the plan alone */
	BILLING_DUE_HAS_COMMITMENT,
	BILLING_DUE_FACTS
};

/* The columns of a line: which subscription's, then those of billing.invoice_item behind line. */
enum
{
	BILLING_LINE_OF,
	BILLING_LINE_KIND,
	BILLING_LINE_PRICE_CODE,
	BILLING_LINE_METER,
	BILLING_LINE_DESCRIPTION,
	BILLING_LINE_QUANTITY,
	BILLING_LINE_UNIT_AMOUNT,
	BILLING_LINE_AMOUNT,
	BILLING_LINE_PERIOD_START,
	BILLING_LINE_PERIOD_END,
	BILLING_LINE_USAGE_EVENTS,
	BILLING_LINE_USAGE_DIGEST,
	BILLING_LINE_ADJUSTS_INVOICE_ID,
	BILLING_LINE_ADJUSTS_LINE,
	BILLING_LINE_PLAN_ID,
	BILLING_LINE_TAX_CATEGORY,
	BILLING_LINE_FORMULA,
	BILLING_LINE_IS_ADVANCE,
	BILLING_LINE_COLUMNS
};

typedef struct BillingLine
{
	Datum		values[BILLING_LINE_COLUMNS];
	bool		nulls[BILLING_LINE_COLUMNS];
} BillingLine;

/* What a plan's lines are called by. */
typedef struct BillingPlanCode
{
	int64		plan_id;
	const char *code;
} BillingPlanCode;

/* The columns of a part of billing.due_part: its key in it, what prices it, ranges as of the boundary. */
enum
{
	BILLING_PART_TENANT_ID,
	BILLING_PART_INVOICE_ID,
	BILLING_PART_NO,
	BILLING_PART_PLAN_ID,
	BILLING_PART_CYCLE,
	BILLING_PART_PRORATION,
	BILLING_PART_QUANTITY,
	BILLING_PART_TIMEZONE,
	BILLING_PART_RANGES,
	BILLING_PART_COLUMNS = BILLING_PART_RANGES + BILLING_BOUNDARY_RANGES
};

typedef struct BillingPart
{
	NullableDatum columns[BILLING_PART_COLUMNS];
} BillingPart;

/*
 * A subscription at its boundary: what is known of it, what happens there, what it owes
 * there and beside.
 */
typedef struct BillingDue
{
	NullableDatum facts[BILLING_DUE_FACTS];
	NullableDatum next[BILLING_BOUNDARY_FIELDS];
	bool		is_changed;		/* by a change that waited for the end of its period */
	BillingPart *parts;
	int			part_count;
	BillingTaxTerms tax;
	BillingLine *lines;
	int			line_count;
	struct BillingDueCoupon *coupons;	/* in the order of stacking; see coupon_due.h */
	int			coupon_count;
	BillingPlanCode *plan_codes;	/* of who has coupons: those of its lines' plans, and more */
	int			plan_code_count;
} BillingDue;

/* A store of (tenant_id, subscription_id, invoice_id): what to bill, and the id its invoice will have. */
extern BillingStore *billing_due_make_claimed(void);

/*
 * Read those of what was claimed that are due at or before at, in the order of tenant
 * and invoice, under the active snapshot; returns how many.  The caller has locked
 * the tenants (bigint[]) and compacted their usage; all stays until its SPI connection ends.
 */
extern int	billing_due_read(BillingStore *claimed, Datum tenant_ids, TimestampTz at, BillingDue **dues);

#endif							/* BILLING_DUE_H */
