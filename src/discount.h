/*-------------------------------------------------------------------------
 *
 * discount.h
 *	  What coupons take off the lines of an invoice.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DISCOUNT_H
#define BILLING_DISCOUNT_H

/* 100 percent; parts are millionths of a percent. */
#define BILLING_COUPON_WHOLE INT64CONST(100000000)

/* A list of codes; count -1: of all. */
typedef struct BillingCodes
{
	const char **codes;
	int			count;
} BillingCodes;

/* A line as it is displayed, and what all coupons take off it. */
typedef struct BillingDiscountLine
{
	int64		amount;			/* minor units; negative: a correction */
	const char *price;			/* its code; NULL: none */
	const char *plan;			/* code of the plan that prices it; NULL: none */
	int64		discount;		/* result */
} BillingDiscountLine;

/* A coupon's terms, and what it takes off in all. */
typedef struct BillingCoupon
{
	const char *code;
	bool		is_percentage;
	int64		parts;			/* of a percentage: millionths of a percent */
	int64		amount;			/* of a fixed one: what is left of it, in minor units */
	const char *currency;		/* of its amounts; NULL: it has none */
	int64		min_amount;		/* below it, it takes nothing */
	int64		max_discount;	/* PG_INT64_MAX: no bound */
	BillingCodes prices;		/* whose lines it acts on */
	BillingCodes plans;
	bool		is_stackable;	/* with others */
	int64		discount;		/* result */
} BillingCoupon;

/*
 * Let coupons, in the order of stacking, take off the lines of an invoice in currency;
 * false if an amount is out of range.
 */
extern bool billing_discount_calculate(const char *currency, BillingDiscountLine *lines, int line_count,
									   BillingCoupon *coupons, int coupon_count);

#endif							/* BILLING_DISCOUNT_H */
