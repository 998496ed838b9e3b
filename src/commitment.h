/*-------------------------------------------------------------------------
 *
 * commitment.h
 *	  What is owed at least, and at most.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COMMITMENT_H
#define BILLING_COMMITMENT_H

/* Bounds of what a period costs, in minor units of one currency. */
typedef struct BillingCommitment
{
	bool		has_minimum;
	bool		has_maximum;
	int64		minimum;
	int64		maximum;
} BillingCommitment;

/* What lifts charged to the minimum or, negative, lowers it to the maximum. */
static inline int128
billing_commitment_true_up(int128 charged, const BillingCommitment *commitment)
{
	if (commitment->has_minimum && charged < commitment->minimum)
		return commitment->minimum - charged;
	if (commitment->has_maximum && charged > commitment->maximum)
		return commitment->maximum - charged;
	return 0;
}

#endif							/* BILLING_COMMITMENT_H */
