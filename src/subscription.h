/*-------------------------------------------------------------------------
 *
 * subscription.h
 *	  A tenant on a plan: its row, its history, its start.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SUBSCRIPTION_H
#define BILLING_SUBSCRIPTION_H

#include "datatype/timestamp.h"

#include "flow.h"

/* A subscription as a flow finds it. */
typedef struct BillingSubscription
{
	int64		tenant_id;
	int64		subscription_id;
	int64		plan_id;
	int32		quantity;
	bool		has_next;		/* a change waits for the end of the period */
	Datum		row;			/* the whole of it, where the flow's result lives */
	char	   *status;
	bool		auto_renew;
	int32		version;
	TimestampTz started_at;
	TimestampTz period_end;		/* DT_NOEND: none, as in a lifetime */
	TimestampTz billed_to;		/* DT_NOBEGIN: not billed yet */
	TimestampTz due_at;			/* DT_NOEND: nothing is due */
	TimestampTz cancel_at;		/* DT_NOEND: not canceled */
	TimestampTz changed_at;		/* DT_NOBEGIN: never */
	TimestampTz paused_at;		/* DT_NOEND: neither paused nor suspended */
	TimestampTz ended_at;		/* DT_NOEND: has not ended */
} BillingSubscription;

/* What to do where a subscription is past due or suspended. */
#define BILLING_PAY_FIRST "What it owes is to be paid first: billing.overdue_invoice has the invoices."

/* Read one of the flow's tenant; YB001 if there is none. */
extern void billing_subscription_read(BillingFlow *flow, int64 subscription_id, BillingSubscription *s);

/* Let the bill path do what was due before now, or up to now, and read what it made of it. */
extern void billing_subscription_catch_up(BillingFlow *flow, BillingSubscription *s, TimestampTz now, bool to_now);

/* YB004: it is in a state in which it cannot be what action says ("renewed"). */
pg_noreturn extern void billing_subscription_report_state(const BillingSubscription *s, const char *action, const char *hint);

/* The same of one that has ended. */
extern void billing_subscription_check_not_ended(const BillingSubscription *s, const char *action);

/*
 * Keep what a flow made of a subscription as a segment of its history and in
 * audit_log, and let the tenant's entitlements follow, and what is overdue, if the flow paid
 * that; returns its row.  before is the row that was, (Datum) 0 for one that began with
 * this flow; reason is (Datum) 0 if none was given.  event is the type of what is told of
 * it, NULL where the bill path, or the flow itself, tells it.
 */
extern Datum billing_subscription_record(BillingFlow *flow, int64 subscription_id, Datum before,
										 const char *kind, TimestampTz effective_at, Datum reason, const char *event);

/*
 * The same of many (bigint[], and their tenants and the rows that were in parallel), where the caller sees to what
 * is overdue; flow_name is the function that audit_log names.
 */
extern void billing_subscription_record_all(const char *flow_name, Datum tenant_ids, Datum subscription_ids, const Datum *befores,
											const char *kind, TimestampTz effective_at, Datum reason, const char *event);

/*
 * Start a subscription that waited for its first payment, at the instant of that
 * payment, but not before the one it was ordered for; one that does not wait for it is left alone.  The caller holds the tenant's lock
 * and is connected to SPI.
 */
extern void billing_subscription_activate(int64 tenant_id, int64 subscription_id, TimestampTz at);

/*
 * End a subscription that has waited for its first payment for too long, and void its invoice; false if it does not
 * wait, or something of that is paid or coming.
 */
extern bool billing_subscription_lapse(BillingFlow *flow, int64 subscription_id);

/* YB010 or YB004 unless the tenant may take on something new. */
extern void billing_subscription_check_tenant(BillingFlow *flow);

/*
 * Where the periods of a subscription are counted from that is billed by the calendar:
 * the local start of the unit of its cycle that holds at.
 */
extern TimestampTz billing_subscription_calendar_anchor(TimestampTz at, const Interval *cycle, Datum timezone);

#endif							/* BILLING_SUBSCRIPTION_H */
