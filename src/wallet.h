/*-------------------------------------------------------------------------
 *
 * wallet.h
 *	  Credit of tenants: granted, topped up, taken back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_WALLET_H
#define BILLING_WALLET_H

#include "datatype/timestamp.h"

#include "amount.h"
#include "flow.h"

/* What is granted; what is not stated is zero or NULL. */
typedef struct BillingGrant
{
	BillingAmount amount;
	const char *source;			/* as table credit_grant knows them */
	bool		is_promotional; /* else money, which the ledger owes to the tenant */
	const char *scope;			/* NULL: any */
	int32		priority;		/* 0: that of grants by default */
	TimestampTz effective_at;	/* 0: the present */
	TimestampTz expires_at;		/* 0: never */
	const Interval *recurrence; /* NULL: once */
	int64		rollover_min;	/* minor units */
	int64		rollover_max;
	int64		invoice_id;
	int64		payment_id;
	Datum		reason;			/* text; (Datum) 0: none */
} BillingGrant;

#define BILLING_GRANT_PRIORITY 50

/*
 * Grant credit; returns its id.  Money settles an overdraft once it counts.  The caller holds the
 * tenant's lock, is connected to SPI, and posts to the ledger.
 */
extern int64 billing_wallet_grant(int64 tenant_id, const BillingGrant *grant);

/* Post money that became credit: cash less what the gateway kept (minor units) against what is owed to the tenant. */
extern void billing_wallet_post_top_up(BillingFlow *flow, int64 grant_id, int64 payment_id, TimestampTz at, const BillingAmount *amount, int64 fee);

/*
 * Take credit back that came from a payment, minor units, as far as it is left; returns how much that is.  The caller holds the
 * tenant's lock and posts to the ledger.
 */
extern int64 billing_wallet_take_back(BillingFlow *flow, int64 payment_id, int64 units);

/* The same of one grant. */
extern int64 billing_wallet_take_from(BillingFlow *flow, int64 grant_id, int64 units);

/* 22023 unless a key that a caller gave (pay_no, consume_no) has 1 to 255 bytes. */
extern void billing_wallet_check_key(Datum key, const char *name);

/* 22023 unless it is positive. */
extern void billing_wallet_check_amount(const BillingAmount *amount);

#endif							/* BILLING_WALLET_H */
