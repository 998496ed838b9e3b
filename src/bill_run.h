/*-------------------------------------------------------------------------
 *
 * bill_run.h
 *	  Everything that is due, batch by batch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_BILL_RUN_H
#define BILLING_BILL_RUN_H

#include "datatype/timestamp.h"

#include "usage.h"

/* Where a pass stands in the order of (due_at, tenant_id, subscription_id), and how many it has moved on. */
typedef struct BillingPosition
{
	TimestampTz due_at;
	int64		tenant_id;
	int64		subscription_id;
	int64		moved;
} BillingPosition;

/* A run as it is under way; billing_bill_run_begin() fills it in. */
typedef struct BillingBillRun
{
	TimestampTz at;
	TimestampTz real_start;
	int			batch;
	bool		atomic;			/* nothing is committed between */
	bool		is_sparing;		/* passes over those set aside until their time */
	bool		has_helpers;	/* they were asked for */
	pid_t		leader;			/* of a helper: whose run it helps */
	bool		is_helper;		/* only bills what nobody else does: another
								 * run does the rest */
	int			phase;
	bool		wait;
	BillingPosition position;
	int64		moved;			/* subscriptions, at each boundary */
	BillingCompaction compaction;
} BillingBillRun;

/*
 * Who helps, where processes can be had: start is told how many are due when the first pass begins, finish waits for
 * them, dismiss does not.  NULL: nobody.
 */
typedef struct BillingBillHelpers
{
	void		(*start) (const BillingBillRun *run, int64 left);
	void		(*finish) (void);
	void		(*dismiss) (void);
} BillingBillHelpers;

extern const BillingBillHelpers *billing_bill_helpers;

/* context outlives the steps. */
extern void billing_bill_run_begin(BillingBillRun *run, TimestampTz at, int batch, bool atomic, MemoryContext context);

/*
 * Do the next step; false if it was the last.  The caller is connected to SPI and commits after each step, unless atomic.
 */
extern bool billing_bill_run_step(BillingBillRun *run);

/* A step has failed in a transaction that goes on, and there is no other: nobody helps any more, and nothing is told. */
extern void billing_bill_run_abandon(void);

#endif							/* BILLING_BILL_RUN_H */
