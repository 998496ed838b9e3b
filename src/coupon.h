/*-------------------------------------------------------------------------
 *
 * coupon.h
 *	  Coupons: what they are applied to, and what they take off invoices.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COUPON_H
#define BILLING_COUPON_H

#include "draft.h"
#include "flow.h"

/* What a coupon is judged for: a plan (text), a subscription or an invoice (bigint). */
typedef enum BillingCouponTarget
{
	BILLING_COUPON_PLAN,
	BILLING_COUPON_SUBSCRIPTION,
	BILLING_COUPON_INVOICE
} BillingCouponTarget;

/* A coupon as it was judged, and what refuses it: NULL if nothing does. */
typedef struct BillingCouponJudgment
{
	bool		exists;
	const char *rule;
	bool		is_used;
	Datum		terms;			/* billing.coupon_terms */
} BillingCouponJudgment;

/* Judge a coupon by its rules; target and amount (text form of one) may be NULL.  SPI is connected. */
extern void billing_coupon_judge(int64 tenant_id, Datum code, BillingCouponTarget kind, NullableDatum target,
								 NullableDatum amount, bool read_only, BillingCouponJudgment *judgment);

/*
 * Apply a coupon to a subscription or (the other 0) a draft; returns the id of the use.  Raises YB007.
 * The caller takes its slot by billing_coupon_claim() when it has all its other locks.
 */
extern int64 billing_coupon_apply(BillingFlow *flow, Datum code, int64 subscription_id, int64 invoice_id);

/* Take a slot for a use of a coupon that has a limit; YB007 if there is none. */
extern void billing_coupon_claim(int64 tenant_id, Datum code, int64 use_id);

/* Let the coupons of drafts take off their lines, which are to be composed after that. */
extern void billing_coupon_discount(BillingDrafts drafts);

/*
 * What coupons took off an invoice that is void now is theirs again.  Of one that is issued again
 * nothing is released: the draft that is to be made in its place, with billing_coupon_discount(), has it.
 */
extern void billing_coupon_give_back(BillingDrafts voided, bool is_reissued);

/* The coupons of subscriptions (parallel arrays, bigint[]) that ended end with them; under the active snapshot. */
extern void billing_coupon_end(Datum tenant_ids, Datum subscription_ids);

extern void billing_coupon_end_one(int64 tenant_id, int64 subscription_id);

/*
 * Let subscriptions (parallel arrays) name a coupon that they have: what tells the bill run
 * that there is one.
 */
extern void billing_coupon_flag(Datum tenant_ids, Datum subscription_ids);

/* YB007: a rule refuses a coupon. */
pg_noreturn extern void billing_coupon_refuse(int64 tenant_id, Datum code, const char *rule);

#endif							/* BILLING_COUPON_H */
