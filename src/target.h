/*-------------------------------------------------------------------------
 *
 * target.h
 *	  Endpoints as the sender knows them: what it signs with, and how much each can take.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_TARGET_H
#define BILLING_TARGET_H

#include "datatype/timestamp.h"
#include "lib/ilist.h"

#include "sign.h"

/* Deliveries claimed for an endpoint and not yet sent, at most; for all of them, at most. */
#define BILLING_TARGET_QUEUE		256
#define BILLING_TARGET_QUEUE_ALL	4096

/* Of an endpoint that keeps an order, or is slow. */
#define BILLING_TARGET_QUEUE_FEW	32

typedef struct BillingTarget
{
	int64		endpoint_id;	/* the key */

	/* As the table has it. */
	char	   *url;
	bytea	   *sealed[3];		/* secret, the one before, headers; NULL: none */
	BillingSignKey keys[2];
	int			nkeys;
	TimestampTz previous_until; /* end of the second key */
	char	  **headers;
	int			nheaders;
	int			rate_limit;		/* requests a second; 0: unbounded */
	bool		is_ordered;
	bool		is_usable;		/* its secrets opened */
	int64		retry_open_at;	/* when they did not; ticks */
	TimestampTz due_at;			/* of its first delivery that waits; DT_NOEND: none */
	bool		is_enabled;
	int64		read_at;		/* ticks, when the above was read */

	/* What is under way. */
	dlist_head	ready;			/* claimed, and to be sent as soon as it can take them */
	dlist_head	sent;			/* in the order in which they were */
	int			queued;			/* ready, or behind another that keeps the order */
	int			in_flight;
	int			locked;			/* ended, of an order, in rows that somebody has locked */
	int			asked;			/* by a claim, and not found */
	int64		locked_until;	/* ticks: what is due is locked by somebody: when to try again */
	dlist_node	busy;			/* among those with some ready */
	bool		is_busy;

	/* How it does. */
	int			window;			/* requests at a time */
	bool		is_slow;		/* it is counted apart, so that it keeps nobody waiting */
	int64		free_at;		/* ticks, in thousandths: when its rate allows the next */
	int64		paused_until;	/* ticks: it asked for that */
} BillingTarget;

/*
 * Read when the first delivery of each endpoint is due that has any, and what the table has of
 * those that are to be sent something; in a transaction.  is_any_held: what is claimed may be
 * under way, and is due to nobody else.
 */
extern void billing_target_read(TimestampTz now, bool is_any_held);

/* The same of some, a bigint[] of ids, whose deliveries were claimed. */
extern void billing_target_read_some(Datum endpoint_ids, bool is_any_held);

/* One by its id; NULL: not known. */
extern BillingTarget *billing_target_find(int64 endpoint_id);

/* Call for each of them. */
typedef void (*BillingTargetVisit) (BillingTarget *target, void *context);
extern void billing_target_each(BillingTargetVisit visit, void *context);

/* Forget those that nothing was sent to for a while. */
extern void billing_target_sweep(void);

/*
 * May it be sent one more?  in_flight are, of those that are slow, or of the others.  Else when,
 * in ticks; -1: when another ends.
 */
extern bool billing_target_can_take(const BillingTarget *target, int in_flight, int64 *when);

/* One was sent; one has ended, in so many milliseconds, by an answer that says it does well, or not. */
extern void billing_target_began(BillingTarget *target);
extern void billing_target_ended(BillingTarget *target, int64 milliseconds, bool is_well, int64 retry_after);

#endif							/* BILLING_TARGET_H */
