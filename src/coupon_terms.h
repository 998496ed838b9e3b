/*-------------------------------------------------------------------------
 *
 * coupon_terms.h
 *	  Terms of coupons as SQL has them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COUPON_TERMS_H
#define BILLING_COUPON_TERMS_H

#include "access/htup.h"

#include "discount.h"

/* Read a billing.coupon_terms; raises 22023. */
extern void billing_coupon_read_terms(HeapTupleHeader row, BillingCoupon *coupon);

#endif							/* BILLING_COUPON_TERMS_H */
