/*-------------------------------------------------------------------------
 *
 * payment_method.h
 *	  What tenants pay by: the row, the default, what becomes of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_PAYMENT_METHOD_H
#define BILLING_PAYMENT_METHOD_H

#include "datatype/timestamp.h"

#include "flow.h"

/* A row as a flow finds it. */
typedef struct BillingPaymentMethod
{
	int64		payment_method_id;
	Datum		row;			/* the whole of it but the token, where the flow's result lives */
	char	   *gateway;
	char	   *type;
	char	   *status;
	bool		is_default;
	bool		becomes_default;
	bool		has_token;
	int32		version;
	TimestampTz known_at;		/* when what is known of it was so; DT_NOBEGIN: nothing is */
} BillingPaymentMethod;

/* Read one of the flow's tenant; YB001 if there is none. */
extern void billing_payment_method_read(const BillingFlow *flow, int64 payment_method_id, BillingPaymentMethod *method);

/* The row of one without its token, where the flow's result lives. */
extern Datum billing_payment_method_show(const BillingFlow *flow, int64 payment_method_id);

/* YB001 if there is none, YB004 unless it is active, and its last month not over: who says so cannot pay by it. */
extern void billing_payment_method_check_usable(const BillingFlow *flow, int64 payment_method_id);

/*
 * One of a locked tenant is no good any more: failed (code and reason as the gateway says, or NULL).  If it was the
 * default another usable one is, and unpaid invoices are collected with that.
 */
extern void billing_payment_method_fail(int64 tenant_id, int64 payment_method_id, const char *code, const char *reason);

/* End those of locked tenants (a bigint[]) whose last month is over, as they are; returns how many. */
extern int64 billing_payment_method_expire(Datum tenant_ids);

/* Make an active one of a locked tenant its default; reason is that of billing.payment_method_change. */
extern void billing_payment_method_make_default(int64 tenant_id, int64 payment_method_id, const char *reason);

/*
 * Of locked tenants (a bigint[]): where there is a usable one and no default, let the one that was added last be it;
 * tell, and keep in the history, whose default is another than it was.
 */
extern void billing_payment_method_settle_default(Datum tenant_ids, const char *reason);

#endif							/* BILLING_PAYMENT_METHOD_H */
