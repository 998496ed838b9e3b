/*-------------------------------------------------------------------------
 *
 * credit.h
 *	  What a part of a line takes back of its discount and tax.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CREDIT_H
#define BILLING_CREDIT_H

/*
 * The part of share, minor units of the discount or tax of a line, that goes with part
 * of the line's amount when before was taken already: R(share x (before + part) / amount)
 * - R(share x before / amount).  So any parts that add up to the amount add up to the
 * share.  amount is not zero; before and before + part lie between zero and it.
 */
extern int64 billing_credit_units(int64 share, int64 amount, int64 before, int64 part);

#endif							/* BILLING_CREDIT_H */
