/*-------------------------------------------------------------------------
 *
 * merchant_no.h
 *	  The number of a payment or refund at a gateway.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_MERCHANT_NO_H
#define BILLING_MERCHANT_NO_H

#define BILLING_MERCHANT_NO_MIN		6
#define BILLING_MERCHANT_NO_MAX		32

/* Whether a text is such a number, and whose; anybody's if tenant_id is NULL. */
extern bool billing_merchant_no_read(const char *no, size_t len, int64 *tenant_id);

/* One that no other payment or refund ever has, in a restored database neither. */
extern char *billing_merchant_no_new(int64 tenant_id);

#endif							/* BILLING_MERCHANT_NO_H */
