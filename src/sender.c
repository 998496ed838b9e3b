/*-------------------------------------------------------------------------
 *
 * sender.c
 *	  The process that delivers: whose turn it is among the channels.
 *
 * Each channel has its own backoff, so that one that fails holds up no other.  After its
 * channels the sender tells whoever LISTENs that there were events, once for all of a round: a
 * flow that did so itself would take a lock that all commits of the server share.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "delivery.h"
#include "gateway_send.h"
#include "http.h"
#include "notice_send.h"
#include "process.h"
#include "sender.h"
#include "spi.h"

extern PGDLLEXPORT void billing_sender_main(Datum arg);

/* In the order in which they have their turns; the last is NULL. */
static const BillingChannel *const channels[] = {
	&billing_gateway_channel,
	&billing_delivery_channel,
	&billing_notice_channel,
	NULL
};

/* What is known of each of them; ticks. */
static int64 next_at[lengthof(channels)];
static BillingBackoff backoffs[lengthof(channels)];

static int64 run_round(void);
static bool is_any_answered(void);
static bool is_any_ready(void);
static bool is_ready(int which);
static bool is_resting(int which);
static bool is_turn(int which);
static int64 notify(void);
static void wait_for_any(int64 until);

void
billing_sender_main(Datum arg)
{
	static const BillingProcess sender = {
		.kind = BILLING_SENDER,
		.round = run_round,
		.is_ready = is_any_ready,
		.wait = wait_for_any,
	};

	billing_process_run(&sender, DatumGetObjectId(arg));
}

static int64
run_round(void)
{
	static BillingBackoff notify_backoff;
	int64		next = BILLING_TICKS_NEVER;

	for (int i = 0; channels[i] != NULL; i++)
	{
		if (is_turn(i))
			next_at[i] = billing_process_attempt(channels[i]->round, &backoffs[i], NULL);
		next = Min(next, next_at[i]);
	}
	if (is_any_answered())
		next = billing_clock_ticks();
	if (billing_process_has_events())
		(void) billing_process_attempt(notify, &notify_backoff, NULL);
	return next;
}

/*
 * is_any_answered
 *		Whether a channel has something to do that it had not when it had its turn.
 *
 * All transfers go on together, so that what one channel sent may have been answered in the turn of a later one; no
 * socket will say so again.
 */
static bool
is_any_answered(void)
{
	for (int i = 0; channels[i] != NULL; i++)
	{
		if (!is_resting(i) && is_ready(i))
			return true;
	}
	return false;
}

static bool
is_any_ready(void)
{
	for (int i = 0; channels[i] != NULL; i++)
	{
		if (is_ready(i))
			return true;
	}
	return false;
}

static bool
is_ready(int which)
{
	return channels[which]->is_ready != NULL && channels[which]->is_ready();
}

/* It has failed, and is not tried again yet. */
static bool
is_resting(int which)
{
	return backoffs[which].failures > 0 && billing_clock_ticks() < backoffs[which].until;
}

static bool
is_turn(int which)
{
	if (is_resting(which))
		return false;
	return billing_process_is_woken() || billing_clock_ticks() >= next_at[which] || is_ready(which);
}

/*
 * notify
 *		NOTIFY on channel "billing", with no payload: it says that there are events, and
 *		whoever hears it reads which.
 */
static int64
notify(void)
{
	static BillingQuery query = {
		.sql = "SELECT pg_notify('billing', '')",
		.expected = SPI_OK_SELECT,
	};

	billing_process_begin("billing: telling listeners");
	(void) billing_spi_run(&query, NULL, NULL);
	billing_process_commit();
	return BILLING_TICKS_NEVER;
}

/*
 * wait_for_any
 *		Sleep until a commit or a signal sets the latch, a socket of a transfer or its timeout
 *		wants something, or the time has come; and let the transfers go on.
 */
static void
wait_for_any(int64 until)
{
	static WaitEventSet *set = NULL;
	WaitEvent	event;
	long		until_round = billing_process_milliseconds(until);
	long		until_transfer;

	if (set == NULL)
	{
		set = billing_create_wait_event_set(3);
		AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
		AddWaitEventToSet(set, WL_SOCKET_READABLE, billing_http_fd(), NULL, NULL);
	}
	until_transfer = billing_http_timeout();
	(void) WaitEventSetWait(set, until_transfer < 0 ? until_round : Min(until_round, until_transfer), &event, 1, PG_WAIT_EXTENSION);
	billing_http_run();
}
