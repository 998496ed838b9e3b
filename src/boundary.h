/*-------------------------------------------------------------------------
 *
 * boundary.h
 *	  What happens to a subscription at its next boundary.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_BOUNDARY_H
#define BILLING_BOUNDARY_H

/* The arguments of billing.next_boundary. */
enum
{
	BILLING_TERM_ANCHOR,
	BILLING_TERM_CYCLE,
	BILLING_TERM_STEP_CYCLE,
	BILLING_TERM_BILLING,
	BILLING_TERM_STARTED_AT,
	BILLING_TERM_TRIAL_END,
	BILLING_TERM_PERIOD_START,
	BILLING_TERM_PERIOD_END,
	BILLING_TERM_BILLED_TO,
	BILLING_TERM_DUE_AT,
	BILLING_TERM_CANCEL_AT,
	BILLING_TERM_AUTO_RENEW,
	BILLING_TERM_TIMEZONE,
	BILLING_TERM_TENANT_TIMEZONE,
	BILLING_TERM_CHANGED_AT,
	BILLING_TERMS
};

/* The arguments of billing.cut_boundary beyond those. */
enum
{
	BILLING_CUT_AT = BILLING_TERMS,
	BILLING_CUT_STEP_CYCLE,
	BILLING_CUT_FREE_FROM,
	BILLING_CUT_WHOLE_FROM
};

/* The fields of type billing.boundary. */
enum
{
	BILLING_BOUNDARY_KIND,
	BILLING_BOUNDARY_STATUS,
	BILLING_BOUNDARY_ENDS,
	BILLING_BOUNDARY_ANCHOR,
	BILLING_BOUNDARY_PERIOD_START,
	BILLING_BOUNDARY_PERIOD_END,
	BILLING_BOUNDARY_DUE_AT,
	BILLING_BOUNDARY_ARREARS,
	BILLING_BOUNDARY_ARREARS_WHOLE,
	BILLING_BOUNDARY_ADVANCE,
	BILLING_BOUNDARY_ADVANCE_WHOLE,
	BILLING_BOUNDARY_STEP_ARREARS,
	BILLING_BOUNDARY_STEP_ARREARS_WHOLE,
	BILLING_BOUNDARY_STEP_ADVANCE,
	BILLING_BOUNDARY_STEP_ADVANCE_WHOLE,
	BILLING_BOUNDARY_TIMEZONE,
	BILLING_BOUNDARY_FIELDS
};

#define BILLING_BOUNDARY_RANGES (BILLING_BOUNDARY_STEP_ADVANCE_WHOLE - BILLING_BOUNDARY_ARREARS + 1)

/*
 * What billing.next_boundary says of a subscription that is due (args, BILLING_TERMS
 * of them), as the fields of billing.boundary in the current memory context.
 */
extern void billing_boundary_find(const NullableDatum *args, NullableDatum *fields);

#endif							/* BILLING_BOUNDARY_H */
