/*-------------------------------------------------------------------------
 *
 * bill.h
 *	  One path from what is due to invoices.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_BILL_H
#define BILLING_BILL_H

#include "datatype/timestamp.h"

/*
 * Bill one subscription at its next boundary, if that is at or before at; false
 * if none is.  The caller has locked the tenant and is connected to SPI.
 */
extern bool billing_bill_next(int64 tenant_id, int64 subscription_id, TimestampTz at);

/* The same at the first boundary of one that begins with this flow, which tells of it itself. */
extern bool billing_bill_first(int64 tenant_id, int64 subscription_id, TimestampTz at);

#endif							/* BILLING_BILL_H */
