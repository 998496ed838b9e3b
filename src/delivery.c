/*-------------------------------------------------------------------------
 *
 * delivery.c
 *	  Deliveries of events to endpoints: claim, send, record.
 *
 * A round is one transaction: it records what has ended, reads the endpoints, and
 * claims what is due, by a lease that ends long after any attempt.  It commits, and then
 * the requests are made.  What a sender leaves behind that was killed is due again when
 * the next one starts, since there is one of them in a database.  So each delivery is
 * made at least once.  The sender's own commits do not wait for the disk: what a crash takes
 * back of them is done again, and the receiver knows it by its id.  But it waits for
 * the transactions that wrote the events, where those did not: no event is sent that a crash
 * could take back.
 *
 * The order of an endpoint that asks for it is that of the events of each tenant.  Claims
 * take them in that order, and a queue in memory, a lane, sends one after the other.
 * When one fails, those behind it wait until it is tried again.
 *
 * A row that somebody else has locked keeps only itself waiting, and what comes behind it in
 * an order: claims pass over it, and what became of it is kept until it can be recorded.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "delivery.h"
#include "encoding.h"
#include "guc.h"
#include "http.h"
#include "process.h"
#include "spi.h"
#include "target.h"

#define GONE_REASON		"It answered 410 Gone."
#define RETRY_AFTER_MAX	(24 * 3600)
#define SLOW_TICKS		1000	/* one that is under way for longer makes its endpoint a slow one */
#define HEADERS_MAX		5		/* of ours */
#define PAUSE_TICKS		10000	/* one that wants nothing for longer makes room in the queue */
#define LEASE_SECONDS	600		/* and what a queue in order takes */
#define LOCKED_TICKS	1000	/* after which a row that somebody had locked is tried again */
#define LOST_TICKS		10000	/* the same of one that a sender before left */
#define RECORD_COLUMNS	13

/* A claimed delivery, and what has become of it. */
typedef struct Delivery
{
	dlist_node	node;			/* among an endpoint's ready, its sent, a lane's waiting, claimed, or finished */
	BillingTarget *target;		/* NULL once it is finished */
	int64		tenant_id;
	int64		event_id;
	int64		endpoint_id;
	TimestampTz due_at;
	TimestampTz claimed_at;		/* which of its attempts this is */
	TimestampTz attempted_at;	/* when the last began: DT_NOBEGIN: none has */
	int			attempts;
	bool		is_ordered;
	int64		started;		/* ticks */
	char	   *body;
	size_t		len;

	/* To be recorded. */
	const char *state;
	bool		is_released;	/* it was not sent: the attempt does not count */
	bool		is_gone;		/* the endpoint wants no more */
	bool		is_locked;		/* somebody has locked the row: not yet */
	TimestampTz next_attempt_at;	/* of one that is pending */
	TimestampTz delivered_at;
	int			status;			/* 0: none */
	int			duration;		/* milliseconds */
	char	   *error;			/* both in UTF-8 */
	char	   *response;
} Delivery;

/* What is asked of the claim: how many of each endpoint. */
typedef struct Asked
{
	TimestampTz now;
	int			count;
	int			max;
	Datum	   *endpoint_ids;
	Datum	   *rooms;
} Asked;

/* What keeps the order of a tenant's events to an endpoint: one is ready or sent, the others wait. */
typedef struct LaneKey
{
	int64		endpoint_id;
	int64		tenant_id;
} LaneKey;

typedef struct Lane
{
	LaneKey		key;
	dlist_head	waiting;
} Lane;

static int64 deliver(void);
static bool is_finished_any(void);
static void set_up(void);
static int64 find_next(TimestampTz now);
static void look_when_due(BillingTarget *target, void *now);
static void transact(TimestampTz now);
static bool take_over(void);
static void record_finished(void);
static void try_locked(void);
static void write_outcome(const Delivery *delivery, int row, Datum **values, bool **nulls);
static Datum make_text_datum(const char *utf8);
static void find_locked(Datum *args);
static void set_locked(Delivery *delivery, bool is_locked);
static Datum make_array(Datum *values, bool *nulls, int count, Oid type);
static void disable_gone(void);
static bool is_any_held(void);
static void claim_due(TimestampTz now);
static void count_due(BillingTarget *target, void *now);
static void ask_for_some(BillingTarget *target, void *asked);
static void look_whether_locked(BillingTarget *target, void *now);
static int	room_of(const BillingTarget *target);
static void read_claimed(uint64 row, TimestampTz now);
static void put_back(int count, TimestampTz now);
static void wait_for_disk(uint64 count);
static void forget_finished(void);
static void forget_claimed(void);
static void free_delivery(Delivery *delivery);
static void enqueue(Delivery *delivery);
static void make_ready(Delivery *delivery);
static void release_stopped(BillingTarget *target, void *context);
static void send_ready(void);
static bool send_one(BillingTarget *target);
static void mark_slow(void);
static void look_whether_slow(BillingTarget *target, void *context);
static void post(Delivery *delivery);
static char *sign(const Delivery *delivery, const char *id, int64 timestamp);
static void end_delivery(void *context, const BillingHttpResult *result);
static void judge(Delivery *delivery, const BillingHttpResult *result);
static void retry_later(Delivery *delivery, int64 retry_after);
static void finish(Delivery *delivery);
static void go_on_in_order(const Delivery *delivery);
static void release(Delivery *delivery, TimestampTz next_attempt_at);
static void release_lane(Lane *lane, TimestampTz next_attempt_at);

const BillingChannel billing_delivery_channel = {
	.name = "webhooks",
	.round = deliver,
	.is_ready = is_finished_any,
};

static MemoryContext context = NULL;
static HTAB *lanes = NULL;
static dlist_head finished = DLIST_STATIC_INIT(finished);
static dlist_head claimed = DLIST_STATIC_INIT(claimed);
static dlist_head locked = DLIST_STATIC_INIT(locked);	/* finished before, and not recorded */
static dlist_head busy = DLIST_STATIC_INIT(busy);	/* endpoints with some ready */
static int	nfinished = 0;
static int64 locked_until = BILLING_TICKS_NEVER;	/* when those are tried again */
static int64 lost_until = 0;	/* when what is lost is looked for; never: it was */
static TimestampTz began_at;	/* what was claimed before that is lost */
static int	nqueued = 0;		/* claimed, and neither sent nor finished */
static int	in_flight[2] = {0, 0};	/* to endpoints that are not slow, and to those that are */
static int	ndue;				/* endpoints that have a due one, in claim_due() */
static int64 send_at;			/* ticks: when an endpoint may be sent more; -1: when one ends */
static int64 next_at;			/* ticks, in find_next() */

/*
 * deliver
 *		A round; returns when the next is needed, if nothing happens before.
 *
 * The network goes on first, so that it has something to do while the database works.
 */
static int64
deliver(void)
{
	MemoryContext round = CurrentMemoryContext;
	TimestampTz now;

	set_up();
	send_ready();
	now = billing_clock_real();
	transact(now);

	/* A commit leaves what is never emptied. */
	MemoryContextSwitchTo(round);
	send_ready();
	return find_next(now);
}

static bool
is_finished_any(void)
{
	return nfinished > 0;
}

static void
set_up(void)
{
	HASHCTL		ctl = {.keysize = sizeof(LaneKey), .entrysize = sizeof(Lane)};

	if (context != NULL)
		return;
	context = AllocSetContextCreate(TopMemoryContext, "billing deliveries", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = context;
	lanes = hash_create("billing lanes", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	began_at = billing_clock_real();
}

/*
 * transact
 *		Record what has ended, and claim what is due.
 *
 * Plans are made for tables that may be empty then and large later: by the index, so that no backlog is sorted.
 */
static void
transact(TimestampTz now)
{
	static const BillingSpiSetting settings[] = {
		{"enable_seqscan", "off"}, {"enable_bitmapscan", "off"}, {"enable_hashjoin", "off"}, {"enable_mergejoin", "off"},
		{"synchronous_commit", "off"}
	};
	int64		next_lost = lost_until;

	forget_claimed();
	billing_process_begin("billing: delivering webhooks");
	(void) billing_spi_set(settings, lengthof(settings));
	if (billing_clock_ticks() >= lost_until)
		next_lost = take_over() ? BILLING_TICKS_NEVER : billing_clock_ticks() + LOST_TICKS;
	record_finished();
	billing_target_read(now, is_any_held());
	claim_due(now);
	billing_process_commit();

	lost_until = next_lost;
	forget_finished();
	while (!dlist_is_empty(&claimed))
		enqueue(dlist_container(Delivery, node, dlist_pop_head_node(&claimed)));
	billing_target_each(release_stopped, NULL);
	billing_target_sweep();
}

/*
 * take_over
 *		Let what a sender claimed that ended before it recorded that be due again; false: not all,
 *		since somebody has locked it.
 */
static bool
take_over(void)
{
	static BillingQuery query = {
		.sql = "WITH lost AS MATERIALIZED (SELECT d.tenant_id, d.event_id, d.endpoint_id FROM billing.webhook_delivery d"
		"   WHERE d.next_attempt_at IS NOT NULL AND d.state = 'sending' AND d.attempted_at < $1 FOR UPDATE SKIP LOCKED)"
		" UPDATE billing.webhook_delivery d SET state = 'pending', attempts = greatest(d.attempts - 1, 0),"
		"   attempted_at = CASE WHEN d.attempts > 1 THEN d.attempted_at END, next_attempt_at = pg_catalog.now()"
		"  FROM lost l WHERE d.tenant_id = l.tenant_id AND d.event_id = l.event_id AND d.endpoint_id = l.endpoint_id",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {TIMESTAMPTZOID},
	};
	static BillingQuery left = {
		.sql = "SELECT FROM billing.webhook_delivery d"
		" WHERE d.next_attempt_at IS NOT NULL AND d.state = 'sending' AND d.attempted_at < $1 LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TIMESTAMPTZOID},
	};
	Datum		args[] = {TimestampTzGetDatum(began_at)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_run(&left, args, NULL) == 0;
}

/*
 * record_finished
 *		Write down what has become of deliveries, in one statement.
 *
 * One that somebody wants to be sent again meanwhile is not ours any more, also when it
 * was claimed again since.
 */
static void
record_finished(void)
{
	static BillingQuery query = {
		.sql = "WITH ended AS MATERIALIZED (SELECT r.* FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
		"   r (tenant_id, event_id, endpoint_id, claimed_at, state, is_released, next_attempt_at, attempted_at, delivered_at,"
		"      status, duration, error, response)"
		"   JOIN billing.webhook_delivery d ON d.tenant_id = r.tenant_id AND d.event_id = r.event_id AND d.endpoint_id = r.endpoint_id"
		"  WHERE d.state = 'sending' AND d.attempted_at = r.claimed_at FOR UPDATE OF d SKIP LOCKED)"
		" UPDATE billing.webhook_delivery d SET state = r.state, next_attempt_at = r.next_attempt_at,"
		"   attempts = d.attempts - r.is_released::integer, attempted_at = r.attempted_at, delivered_at = r.delivered_at,"
		"   status = CASE WHEN r.is_released THEN d.status ELSE r.status END,"
		"   error = CASE WHEN r.is_released THEN d.error ELSE r.error END,"
		"   response = CASE WHEN r.is_released THEN d.response ELSE r.response END,"
		"   duration = CASE WHEN r.is_released THEN d.duration ELSE r.duration END"
		"  FROM ended r WHERE d.tenant_id = r.tenant_id AND d.event_id = r.event_id AND d.endpoint_id = r.endpoint_id",
		.expected = SPI_OK_UPDATE,
		.nargs = RECORD_COLUMNS,
		.argtypes = {
			INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID,
			TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID
		},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static const Oid types[RECORD_COLUMNS] = {
		INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		INT4OID, INT4OID, TEXTOID, TEXTOID
	};
	Datum	   *values[RECORD_COLUMNS];
	bool	   *nulls[RECORD_COLUMNS];
	Datum		args[RECORD_COLUMNS];
	int			count = 0;
	dlist_iter	iter;

	try_locked();
	if (nfinished == 0)
		return;
	for (int i = 0; i < RECORD_COLUMNS; i++)
	{
		values[i] = palloc(nfinished * sizeof(Datum));
		nulls[i] = palloc0(nfinished * sizeof(bool));
	}
	dlist_foreach(iter, &finished)
		write_outcome(dlist_container(Delivery, node, iter.cur), count++, values, nulls);

	for (int i = 0; i < RECORD_COLUMNS; i++)
		args[i] = make_array(values[i], nulls[i], count, types[i]);
	if (billing_spi_run(&query, args, NULL) < count)
		find_locked(args);
	disable_gone();
}

/* Let what somebody had locked be recorded with the others, when its time has come. */
static void
try_locked(void)
{
	dlist_iter	iter;

	while (billing_clock_ticks() >= locked_until && !dlist_is_empty(&locked))
	{
		dlist_push_tail(&finished, dlist_pop_head_node(&locked));
		nfinished++;
	}
	dlist_foreach(iter, &finished)
		set_locked(dlist_container(Delivery, node, iter.cur), false);
}

static void
write_outcome(const Delivery *delivery, int row, Datum **values, bool **nulls)
{
	int			i = 0;

	values[i++][row] = Int64GetDatum(delivery->tenant_id);
	values[i++][row] = Int64GetDatum(delivery->event_id);
	values[i++][row] = Int64GetDatum(delivery->endpoint_id);
	values[i++][row] = TimestampTzGetDatum(delivery->claimed_at);
	values[i++][row] = CStringGetTextDatum(delivery->state);
	values[i++][row] = BoolGetDatum(delivery->is_released);
	nulls[i][row] = strcmp(delivery->state, "pending") != 0;
	values[i++][row] = TimestampTzGetDatum(delivery->next_attempt_at);
	nulls[i][row] = delivery->attempted_at == DT_NOBEGIN;
	values[i++][row] = TimestampTzGetDatum(delivery->attempted_at);
	nulls[i][row] = strcmp(delivery->state, "delivered") != 0;
	values[i++][row] = TimestampTzGetDatum(delivery->delivered_at);
	nulls[i][row] = delivery->status == 0;
	values[i++][row] = Int32GetDatum(delivery->status);
	values[i++][row] = Int32GetDatum(delivery->duration);
	nulls[i][row] = delivery->error == NULL;
	values[i++][row] = make_text_datum(delivery->error);
	nulls[i][row] = delivery->response == NULL;
	values[i++][row] = make_text_datum(delivery->response);
}

static Datum
make_text_datum(const char *utf8)
{
	return utf8 == NULL ? (Datum) 0 : CStringGetTextDatum(billing_encoding_replace(pstrdup(utf8), PG_UTF8, GetDatabaseEncoding()));
}

/*
 * find_locked
 *		Where fewer were recorded than have ended: those that are ours still, and locked by somebody.
 *
 * Until one is recorded nothing can be claimed behind it.
 */
static void
find_locked(Datum *args)
{
	static BillingQuery query = {
		.sql = "SELECT r.n FROM unnest($1, $2, $3, $4) WITH ORDINALITY r (tenant_id, event_id, endpoint_id, claimed_at, n)"
		"  JOIN billing.webhook_delivery d ON d.tenant_id = r.tenant_id AND d.event_id = r.event_id AND d.endpoint_id = r.endpoint_id"
		" WHERE d.state = 'sending' AND d.attempted_at = r.claimed_at ORDER BY r.n",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	uint64		count = billing_spi_run(&query, args, NULL);
	uint64		row = 0;
	int64		n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &finished)
	{
		bool		isnull;

		n++;
		if (row == count || DatumGetInt64(billing_spi_value(row, 1, &isnull)) != n)
			continue;
		set_locked(dlist_container(Delivery, node, iter.cur), true);
		row++;
	}
}

/* Of an order, one that is not recorded holds up all that is behind it. */
static void
set_locked(Delivery *delivery, bool is_locked)
{
	if (delivery->is_ordered && delivery->is_locked != is_locked)
		billing_target_find(delivery->endpoint_id)->locked += is_locked ? 1 : -1;
	delivery->is_locked = is_locked;
}

static Datum
make_array(Datum *values, bool *nulls, int count, Oid type)
{
	int			dims[] = {count};
	int			lower[] = {1};
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, lower, type, len, byval, align));
}

/* Endpoints that answered that they want no more; one that is locked by somebody will answer so again. */
static void
disable_gone(void)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.webhook_endpoint e SET is_enabled = false, disabled_at = pg_catalog.now(), disabled_reason = $2"
		" WHERE e.endpoint_id = (SELECT l.endpoint_id FROM billing.webhook_endpoint l WHERE l.endpoint_id = $1 AND l.is_enabled"
		"    FOR NO KEY UPDATE SKIP LOCKED)",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	dlist_iter	iter;

	dlist_foreach(iter, &finished)
	{
		const Delivery *delivery = dlist_container(Delivery, node, iter.cur);
		Datum		args[] = {Int64GetDatum(delivery->endpoint_id), (Datum) 0};

		if (!delivery->is_gone)
			continue;
		args[1] = CStringGetTextDatum(GONE_REASON);
		if (billing_spi_run(&query, args, NULL) > 0)
			ereport(LOG,
					(errmsg("webhook endpoint %lld is disabled: it answered 410", (long long) delivery->endpoint_id)));
	}
}

/* Is a delivery claimed that is not recorded? */
static bool
is_any_held(void)
{
	return nqueued > 0 || in_flight[false] + in_flight[true] > 0 || nfinished > 0 || !dlist_is_empty(&locked);
}

/*
 * claim_due
 *		Take what is due of each endpoint, as much as it has room for, by a lease.
 *
 * What was claimed before and never recorded is taken for lost only while nothing is held
 * here: it may wait for its endpoint for longer than any lease, and a clock that is set
 * forward ends them all.
 *
 * Those of an order come in that order, whichever of them was due first.
 */
static void
claim_due(TimestampTz now)
{
	static BillingQuery query = {
		.sql = "WITH due AS MATERIALIZED (SELECT d.tenant_id, d.event_id, d.endpoint_id, d.next_attempt_at AS due_at, d.attempted_at"
		"   FROM unnest($1, $2) e (endpoint_id, room)"
		"  CROSS JOIN LATERAL (SELECT d.tenant_id, d.event_id, d.endpoint_id, d.next_attempt_at, d.attempted_at"
		"    FROM billing.webhook_delivery d WHERE d.endpoint_id = e.endpoint_id AND d.next_attempt_at <= $3"
		"     AND (d.state = 'pending' OR $5)"
		"   ORDER BY d.next_attempt_at, d.event_id LIMIT e.room FOR UPDATE SKIP LOCKED) d"
		" ), claimed AS (UPDATE billing.webhook_delivery d"
		"    SET state = 'sending', attempts = d.attempts + 1, attempted_at = $3, next_attempt_at = $4"
		"   FROM due u WHERE d.tenant_id = u.tenant_id AND d.event_id = u.event_id AND d.endpoint_id = u.endpoint_id"
		"  RETURNING d.tenant_id, d.event_id, d.endpoint_id, d.attempts, d.is_ordered, u.due_at, u.attempted_at)"
		" SELECT c.tenant_id, c.event_id, c.endpoint_id, c.attempts, c.is_ordered, v.payload::text, v.xmin, c.attempted_at, c.due_at"
		"   FROM claimed c JOIN billing.event v ON v.tenant_id = c.tenant_id AND v.event_id = c.event_id"
		"  ORDER BY CASE WHEN NOT c.is_ordered THEN c.due_at END, c.event_id",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Asked		asked = {.now = now};
	Datum		args[5];
	uint64		count;

	ndue = 0;
	billing_target_each(count_due, &now);
	if (ndue == 0)
		return;
	asked.endpoint_ids = palloc(ndue * sizeof(Datum));
	asked.rooms = palloc(ndue * sizeof(Datum));
	asked.max = Max((BILLING_TARGET_QUEUE_ALL - nqueued) / ndue, 1);
	billing_target_each(ask_for_some, &asked);

	args[0] = make_array(asked.endpoint_ids, NULL, asked.count, INT8OID);
	args[1] = make_array(asked.rooms, NULL, asked.count, INT4OID);
	args[2] = TimestampTzGetDatum(now);
	args[3] = TimestampTzGetDatum(TimestampTzPlusMilliseconds(now, LEASE_SECONDS * INT64CONST(1000) +
															  (int64) billing_webhook_timeout * BILLING_TARGET_QUEUE_FEW));
	args[4] = BoolGetDatum(!is_any_held());
	count = billing_spi_run(&query, args, NULL);
	for (uint64 row = 0; row < count; row++)
		read_claimed(row, now);
	wait_for_disk(count);
	put_back(count, now);
	billing_target_read_some(args[0], true);
	billing_target_each(look_whether_locked, &now);
}

static void
count_due(BillingTarget *target, void *now)
{
	ndue += target->due_at <= *(TimestampTz *) now && room_of(target) > 0;
}

static void
ask_for_some(BillingTarget *target, void *argument)
{
	Asked	   *asked = argument;
	int			room = Min(room_of(target), asked->max);

	if (target->due_at > asked->now || room == 0)
		return;
	target->asked = room;
	asked->endpoint_ids[asked->count] = Int64GetDatum(target->endpoint_id);
	asked->rooms[asked->count++] = Int32GetDatum(room);
}

/* One that has less than was asked, and more that is due: somebody has locked that. */
static void
look_whether_locked(BillingTarget *target, void *now)
{
	if (target->asked > 0 && target->due_at <= *(TimestampTz *) now)
		target->locked_until = billing_clock_ticks() + LOCKED_TICKS;
	target->asked = 0;
}

/*
 * room_of
 *		How many more of an endpoint's may be claimed: what it is likely to take soon.
 */
static int
room_of(const BillingTarget *target)
{
	int			room = target->is_ordered ? BILLING_TARGET_QUEUE_FEW : BILLING_TARGET_QUEUE;

	if (!target->is_enabled || !target->is_usable || target->locked > 0 || billing_clock_ticks() < target->paused_until)
		return 0;
	if (target->rate_limit != 0)
		room = Min(room, target->rate_limit);
	if (target->is_slow)
		room = Min(room, target->window - target->in_flight);
	return Max(room - target->queued, 0);
}

static void
read_claimed(uint64 row, TimestampTz now)
{
	Delivery   *delivery = MemoryContextAllocZero(context, sizeof(Delivery));
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		isnull;

	dlist_push_tail(&claimed, &delivery->node);
	delivery->tenant_id = DatumGetInt64(billing_spi_value(row, 1, &isnull));
	delivery->event_id = DatumGetInt64(billing_spi_value(row, 2, &isnull));
	delivery->endpoint_id = DatumGetInt64(billing_spi_value(row, 3, &isnull));
	delivery->claimed_at = now;
	billing_target_find(delivery->endpoint_id)->asked--;
	delivery->attempts = DatumGetInt32(billing_spi_value(row, 4, &isnull));
	delivery->is_ordered = DatumGetBool(billing_spi_value(row, 5, &isnull));
	delivery->body = billing_encoding_replace(TextDatumGetCString(billing_spi_value(row, 6, &isnull)), GetDatabaseEncoding(), PG_UTF8);
	delivery->len = strlen(delivery->body);
	delivery->attempted_at = DatumGetTimestampTz(billing_spi_value(row, 8, &isnull));
	if (isnull)
		delivery->attempted_at = DT_NOBEGIN;
	delivery->due_at = DatumGetTimestampTz(billing_spi_value(row, 9, &isnull));
	MemoryContextSwitchTo(old);
}

/*
 * put_back
 *		Let those of an order wait in the table that have one before them that is not claimed: it
 *		is to be tried again later, or somebody has locked it.
 *
 * Put off until that is due, all of them come in the order of their ids, since that of claims
 * is that of (next_attempt_at, event_id).
 */
static void
put_back(int count, TimestampTz now)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.webhook_delivery d SET state = 'pending', attempts = d.attempts - 1,"
		"   attempted_at = r.attempted_at, next_attempt_at = b.put_off_to"
		"  FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY r (tenant_id, event_id, endpoint_id, due_at, attempted_at, n)"
		" CROSS JOIN LATERAL (SELECT max(CASE WHEN p.next_attempt_at > r.due_at AND p.state = 'pending' THEN p.next_attempt_at ELSE $6 END)"
		"      AS put_off_to"
		"    FROM billing.webhook_delivery p WHERE p.endpoint_id = r.endpoint_id AND p.tenant_id = r.tenant_id AND p.event_id < r.event_id"
		"     AND p.next_attempt_at IS NOT NULL AND p.is_ordered AND (p.state = 'pending' OR p.attempted_at < $7)) b"
		" WHERE d.tenant_id = r.tenant_id AND d.event_id = r.event_id AND d.endpoint_id = r.endpoint_id AND b.put_off_to IS NOT NULL"
		" RETURNING r.n",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 7,
		.argtypes = {
			INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID
		},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static const Oid types[] = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Delivery  **ordered = palloc(count * sizeof(Delivery *));
	Datum	   *values[lengthof(types)];
	bool	   *nulls[lengthof(types)];
	Datum		args[lengthof(types) + 2];
	int			n = 0;
	dlist_iter	iter;

	for (int i = 0; i < lengthof(types); i++)
	{
		values[i] = palloc(count * sizeof(Datum));
		nulls[i] = palloc0(count * sizeof(bool));
	}
	dlist_foreach(iter, &claimed)
	{
		Delivery   *delivery = dlist_container(Delivery, node, iter.cur);

		if (!delivery->is_ordered)
			continue;
		ordered[n] = delivery;
		values[0][n] = Int64GetDatum(delivery->tenant_id);
		values[1][n] = Int64GetDatum(delivery->event_id);
		values[2][n] = Int64GetDatum(delivery->endpoint_id);
		values[3][n] = TimestampTzGetDatum(delivery->due_at);
		values[4][n] = TimestampTzGetDatum(delivery->attempted_at);
		nulls[4][n++] = delivery->attempted_at == DT_NOBEGIN;
	}
	if (n == 0)
		return;
	for (int i = 0; i < lengthof(types); i++)
		args[i] = make_array(values[i], nulls[i], n, types[i]);
	args[5] = TimestampTzGetDatum(TimestampTzPlusMilliseconds(now, LOCKED_TICKS));
	args[6] = TimestampTzGetDatum(began_at);

	count = billing_spi_run(&query, args, NULL);
	for (int row = 0; row < count; row++)
	{
		bool		isnull;
		Delivery   *delivery = ordered[DatumGetInt64(billing_spi_value(row, 1, &isnull)) - 1];

		dlist_delete(&delivery->node);
		free_delivery(delivery);
	}
}

/*
 * wait_for_disk
 *		Wait until the transactions that wrote the events are on disk.
 *
 * That of one that waited itself is.  One that is too old for its commit to be known still is, too.
 */
static void
wait_for_disk(uint64 count)
{
	TransactionId last = InvalidTransactionId;
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	LWLockAcquire(XactTruncationLock, LW_SHARED);
	for (uint64 row = 0; row < count; row++)
	{
		bool		isnull;
		TransactionId xid = DatumGetTransactionId(billing_spi_value(row, 7, &isnull));

		if (xid == last || !TransactionIdIsNormal(xid) || TransactionIdPrecedes(xid, billing_oldest_clog_xid()))
			continue;
		lsn = Max(lsn, TransactionIdGetCommitLSN(xid));
		last = xid;
	}
	LWLockRelease(XactTruncationLock);
	if (!XLogRecPtrIsInvalid(lsn))
		XLogFlush(lsn);
}

/* What was recorded is over; what could not be is tried again. */
static void
forget_finished(void)
{
	while (!dlist_is_empty(&finished))
	{
		Delivery   *delivery = dlist_container(Delivery, node, dlist_pop_head_node(&finished));

		if (delivery->is_locked)
			dlist_push_tail(&locked, &delivery->node);
		else
			free_delivery(delivery);
	}
	nfinished = 0;
	locked_until = dlist_is_empty(&locked) ? BILLING_TICKS_NEVER : billing_clock_ticks() + LOCKED_TICKS;
}

/* What was claimed by a transaction that did not commit was not. */
static void
forget_claimed(void)
{
	while (!dlist_is_empty(&claimed))
		free_delivery(dlist_container(Delivery, node, dlist_pop_head_node(&claimed)));
}

static void
free_delivery(Delivery *delivery)
{
	if (delivery->body != NULL)
		pfree(delivery->body);
	if (delivery->error != NULL)
		pfree(delivery->error);
	if (delivery->response != NULL)
		pfree(delivery->response);
	pfree(delivery);
}

/* Let a claimed delivery be sent, or wait for the one before it. */
static void
enqueue(Delivery *delivery)
{
	BillingTarget *target = billing_target_find(delivery->endpoint_id);

	delivery->target = target;
	target->queued++;
	nqueued++;
	if (delivery->is_ordered)
	{
		LaneKey		key = {delivery->endpoint_id, delivery->tenant_id};
		bool		found;
		Lane	   *lane = hash_search(lanes, &key, HASH_ENTER, &found);

		if (found)
		{
			dlist_push_tail(&lane->waiting, &delivery->node);
			return;
		}
		dlist_init(&lane->waiting);
	}
	make_ready(delivery);
}

static void
make_ready(Delivery *delivery)
{
	BillingTarget *target = delivery->target;

	dlist_push_tail(&target->ready, &delivery->node);
	if (!target->is_busy)
		dlist_push_tail(&busy, &target->busy);
	target->is_busy = true;
}

/* What waits for an endpoint that nothing may be sent to goes on waiting in the table. */
static void
release_stopped(BillingTarget *target, void *argument)
{
	HASH_SEQ_STATUS status;
	Lane	   *lane;
	bool		is_paused = target->paused_until - billing_clock_ticks() > PAUSE_TICKS;

	if (target->queued == 0 || (target->is_enabled && target->is_usable && !is_paused))
		return;
	while (!dlist_is_empty(&target->ready))
	{
		Delivery   *delivery = dlist_container(Delivery, node, dlist_pop_head_node(&target->ready));

		if (delivery->is_ordered)
		{
			LaneKey		key = {delivery->endpoint_id, delivery->tenant_id};

			release_lane(hash_search(lanes, &key, HASH_FIND, NULL), billing_clock_real());
		}
		release(delivery, billing_clock_real());
	}
	hash_seq_init(&status, lanes);
	while ((lane = hash_seq_search(&status)) != NULL)
	{
		if (lane->key.endpoint_id != target->endpoint_id)
			continue;
		while (!dlist_is_empty(&lane->waiting))
			release(dlist_container(Delivery, node, dlist_pop_head_node(&lane->waiting)), billing_clock_real());
	}
	if (target->is_busy)
		dlist_delete(&target->busy);
	target->is_busy = false;
}

/*
 * send_ready
 *		Send as many as endpoints can take, one of each in turn.
 */
static void
send_ready(void)
{
	bool		goes_on = true;

	send_at = -1;
	if (in_flight[false] >= billing_http_max_in_flight)
		mark_slow();
	while (goes_on)
	{
		dlist_mutable_iter iter;

		goes_on = false;
		dlist_foreach_modify(iter, &busy)
			goes_on |= send_one(dlist_container(BillingTarget, busy, iter.cur));
	}
	billing_http_run();
}

static bool
send_one(BillingTarget *target)
{
	Delivery   *delivery;
	int64		when;

	if (dlist_is_empty(&target->ready))
	{
		dlist_delete(&target->busy);
		target->is_busy = false;
		return false;
	}
	if (!billing_target_can_take(target, in_flight[target->is_slow], &when))
	{
		if (when >= 0)
			send_at = send_at < 0 ? when : Min(send_at, when);
		return false;
	}

	delivery = dlist_head_element(Delivery, node, &target->ready);
	delivery->attempted_at = billing_clock_real();
	post(delivery);
	dlist_delete(&delivery->node);
	dlist_push_tail(&target->sent, &delivery->node);
	delivery->started = billing_clock_ticks();
	target->queued--;
	nqueued--;
	in_flight[target->is_slow]++;
	billing_target_began(target);
	return true;
}

/*
 * mark_slow
 *		Where no more may be sent, see who is to blame, and count them apart.
 */
static void
mark_slow(void)
{
	billing_target_each(look_whether_slow, NULL);
	if (in_flight[false] >= billing_http_max_in_flight)
		send_at = billing_clock_ticks() + SLOW_TICKS;
}

static void
look_whether_slow(BillingTarget *target, void *argument)
{
	if (target->is_slow || dlist_is_empty(&target->sent) ||
		billing_clock_ticks() - dlist_head_element(Delivery, node, &target->sent)->started < SLOW_TICKS)
		return;
	in_flight[false] -= target->in_flight;
	in_flight[true] += target->in_flight;
	target->is_slow = true;
}

/*
 * post
 *		Sign a delivery and begin its request.
 */
static void
post(Delivery *delivery)
{
	const BillingTarget *target = delivery->target;
	const char **headers = palloc((HEADERS_MAX + target->nheaders) * sizeof(char *));
	int64		timestamp = billing_clock_unix(billing_clock_real());
	char	   *id = psprintf("evt_%lld_%lld", (long long) delivery->tenant_id, (long long) delivery->event_id);
	int			n = 0;
	BillingHttpOptions options = {
		.protocols = "http,https",
		.timeout = billing_webhook_timeout,
		.allow_private = billing_webhook_allow_private,
		.done = end_delivery,
		.context = delivery,
	};

	headers[n++] = "Content-Type: application/json";
	headers[n++] = "User-Agent: billing/" BILLING_VERSION;
	headers[n++] = psprintf("webhook-id: %s", id);
	headers[n++] = psprintf("webhook-timestamp: %lld", (long long) timestamp);
	headers[n++] = sign(delivery, id, timestamp);
	for (int i = 0; i < target->nheaders; i++)
		headers[n++] = target->headers[i];
	billing_http_post(&options, target->url, headers, n, delivery->body, delivery->len);
}

/* By the secret, and by the one before it while that lasts. */
static char *
sign(const Delivery *delivery, const char *id, int64 timestamp)
{
	const BillingTarget *target = delivery->target;
	StringInfoData content;
	StringInfoData header;

	initStringInfo(&content);
	appendStringInfo(&content, "%s.%lld.", id, (long long) timestamp);
	appendBinaryStringInfo(&content, delivery->body, delivery->len);

	initStringInfo(&header);
	appendStringInfoString(&header, "webhook-signature:");
	for (int i = 0; i < target->nkeys; i++)
	{
		if (i > 0 && billing_clock_real() >= target->previous_until)
			break;
		appendStringInfoChar(&header, ' ');
		if (!billing_sign_append(&header, &target->keys[i], content.data, content.len))
			elog(ERROR, "OpenSSL made no signature");
	}
	pfree(content.data);
	return header.data;
}

/*
 * end_delivery
 *		A request has ended: see what that means for the delivery and for the endpoint.
 */
static void
end_delivery(void *argument, const BillingHttpResult *result)
{
	Delivery   *delivery = argument;
	BillingTarget *target = delivery->target;
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		is_throttling = result->status == 429 || (result->status >= 502 && result->status <= 504);

	in_flight[target->is_slow] -= target->in_flight;
	billing_target_ended(target, billing_clock_ticks() - delivery->started, result->failure == NULL && !is_throttling,
						 is_throttling ? Min(result->retry_after, RETRY_AFTER_MAX) : 0);
	in_flight[target->is_slow] += target->in_flight;

	dlist_delete(&delivery->node);
	delivery->duration = result->duration / 1000;
	delivery->delivered_at = billing_clock_real();
	judge(delivery, result);
	if (delivery->is_ordered)
		go_on_in_order(delivery);
	finish(delivery);
	MemoryContextSwitchTo(old);
}

static void
judge(Delivery *delivery, const BillingHttpResult *result)
{
	delivery->status = result->status;
	if (result->response_len > 0)
		delivery->response = billing_encoding_read_bytes(result->response, result->response_len);
	if (result->failure != NULL)
	{
		char	   *message = billing_encoding_read_bytes(result->message, strlen(result->message));

		delivery->error = psprintf("%s: %s", result->failure, message);
		pfree(message);
	}
	else if (result->status < 200 || result->status > 299)
		delivery->error = psprintf("http: status %d", result->status);

	if (delivery->error == NULL)
		delivery->state = "delivered";
	else if (result->failure == NULL && result->status == 410)
	{
		delivery->state = "failed";
		delivery->is_gone = true;
	}
	else
		retry_later(delivery, result->retry_after);
}

static void
retry_later(Delivery *delivery, int64 retry_after)
{
	int64		delay = billing_delivery_delay(delivery->attempts);

	if (delay < 0)
	{
		delivery->state = "failed";
		return;
	}
	delivery->state = "pending";
	delivery->next_attempt_at = billing_clock_real() + Max(delay, Min(retry_after, RETRY_AFTER_MAX) * USECS_PER_SEC);
}

int64
billing_delivery_delay(int attempts)
{
	static const int seconds[] = {
		0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600
	};
	int64		delay;

	if (attempts >= lengthof(seconds))
		return -1;

	/* Up to a tenth later, so that what failed together does not come together again. */
	delay = seconds[attempts] * USECS_PER_SEC;
	return delay + pg_prng_uint64_range(&pg_global_prng_state, 0, delay / 10);
}

static void
finish(Delivery *delivery)
{
	dlist_push_tail(&finished, &delivery->node);
	nfinished++;
	pfree(delivery->body);
	delivery->body = NULL;
	delivery->target = NULL;
}

/*
 * go_on_in_order
 *		Let the next of the lane be sent; if this one is tried again, they all wait for it.
 */
static void
go_on_in_order(const Delivery *delivery)
{
	LaneKey		key = {delivery->endpoint_id, delivery->tenant_id};
	Lane	   *lane = hash_search(lanes, &key, HASH_FIND, NULL);

	if (strcmp(delivery->state, "pending") == 0)
		release_lane(lane, delivery->next_attempt_at);
	else if (dlist_is_empty(&lane->waiting))
		(void) hash_search(lanes, &key, HASH_REMOVE, NULL);
	else
		make_ready(dlist_container(Delivery, node, dlist_pop_head_node(&lane->waiting)));
}

static void
release_lane(Lane *lane, TimestampTz next_attempt_at)
{
	while (!dlist_is_empty(&lane->waiting))
		release(dlist_container(Delivery, node, dlist_pop_head_node(&lane->waiting)), next_attempt_at);
	(void) hash_search(lanes, &lane->key, HASH_REMOVE, NULL);
}

/* Give back one that was claimed and not sent. */
static void
release(Delivery *delivery, TimestampTz next_attempt_at)
{
	delivery->target->queued--;
	nqueued--;
	delivery->state = "pending";
	delivery->is_released = true;
	delivery->next_attempt_at = next_attempt_at;
	finish(delivery);
}

/*
 * find_next
 *		When there is something to do next, if nothing happens: a delivery is due that there is room
 *		for, an endpoint may be sent what is ready, some ended since the transaction, or a row that
 *		somebody had locked is tried again.
 */
static int64
find_next(TimestampTz now)
{
	if (nfinished > 0)
		return 0;
	next_at = Min(Min(locked_until, lost_until), send_at < 0 ? BILLING_TICKS_NEVER : send_at);
	billing_target_each(look_when_due, &now);
	return next_at;
}

static void
look_when_due(BillingTarget *target, void *now)
{
	if (target->due_at > *(TimestampTz *) now)
		next_at = Min(next_at, billing_clock_ticks_at(target->due_at));
	else if (!target->is_enabled)
		return;
	else if (!target->is_usable)
		next_at = Min(next_at, target->retry_open_at);
	else if (billing_clock_ticks() < target->paused_until)
		next_at = Min(next_at, target->paused_until);
	else if (room_of(target) > 0)
		next_at = Min(next_at, target->locked_until);
}
