/*-------------------------------------------------------------------------
 *
 * coupon_due.h
 *	  Coupons in the bill run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COUPON_DUE_H
#define BILLING_COUPON_DUE_H

#include "access/htup.h"

#include "composition.h"
#include "discount.h"
#include "due.h"

/* A coupon of a subscription that is due. */
typedef struct BillingDueCoupon
{
	int64		use_id;
	NullableDatum amount;		/* of a fixed one: what is left of it */
	BillingCoupon coupon;		/* its discount is set when the invoice is made */
	HeapTupleHeader terms;
} BillingDueCoupon;

/* Read the coupons of those that have any; costs nothing where none has. */
extern void billing_coupon_read_due(BillingDue *dues, int count);

/* Let the coupons of a due take off the lines of its invoice, which are not composed yet. */
extern void billing_coupon_take_off(const BillingDue *due, BillingComposition *composition);

/* The columns that the bill run writes of each coupon that took something off. */
#define BILLING_MADE_REDEMPTION \
	"tenant_id, invoice_id, use_id, step, coupon, amount, discount"

/* Write what was taken (redemptions as of the macro above), and where the subscriptions stand. */
extern void billing_coupon_write_due(const BillingDue *dues, int count, BillingStore *redemptions);

#endif							/* BILLING_COUPON_DUE_H */
