/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  The SQLSTATEs a client can branch on.
 *
 * Class YB is one of those the SQL standard leaves to implementations.
 * Malformed literals keep PostgreSQL's own 22P02 and 22003.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ERRORS_H
#define BILLING_ERRORS_H

#define ERRCODE_BILLING_NOT_FOUND				MAKE_SQLSTATE('Y','B','0','0','1')
#define ERRCODE_BILLING_CURRENCY_MISMATCH		MAKE_SQLSTATE('Y','B','0','0','2')
#define ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE		MAKE_SQLSTATE('Y','B','0','0','3')
#define ERRCODE_BILLING_ILLEGAL_STATE			MAKE_SQLSTATE('Y','B','0','0','4')
#define ERRCODE_BILLING_STALE_VERSION			MAKE_SQLSTATE('Y','B','0','0','5')
#define ERRCODE_BILLING_KEY_REUSED				MAKE_SQLSTATE('Y','B','0','0','6')
#define ERRCODE_BILLING_COUPON_NOT_APPLICABLE	MAKE_SQLSTATE('Y','B','0','0','7')
#define ERRCODE_BILLING_INSUFFICIENT_BALANCE	MAKE_SQLSTATE('Y','B','0','0','8')
#define ERRCODE_BILLING_LIMIT_EXCEEDED			MAKE_SQLSTATE('Y','B','0','0','9')
#define ERRCODE_BILLING_TENANT_FROZEN			MAKE_SQLSTATE('Y','B','0','1','0')
#define ERRCODE_BILLING_BAD_SIGNATURE			MAKE_SQLSTATE('Y','B','0','1','1')
#define ERRCODE_BILLING_REPLAYED_CALLBACK		MAKE_SQLSTATE('Y','B','0','1','2')
#define ERRCODE_BILLING_PAYMENT_METHOD_IN_USE	MAKE_SQLSTATE('Y','B','0','1','3')
#define ERRCODE_BILLING_GATEWAY_REFUSED			MAKE_SQLSTATE('Y','B','0','1','4')
#define ERRCODE_BILLING_OTHER_TENANT			MAKE_SQLSTATE('Y','B','0','1','5')
#define ERRCODE_BILLING_AMBIGUOUS_SUBSCRIPTION	MAKE_SQLSTATE('Y','B','0','1','6')
#define ERRCODE_BILLING_INVALID_PAYMENT_TOKEN	MAKE_SQLSTATE('Y','B','0','1','7')

#endif							/* BILLING_ERRORS_H */
