/*-------------------------------------------------------------------------
 *
 * target.c
 *	  Endpoints as the sender knows them: what it signs with, and how much each can take.
 *
 * An endpoint that is slow or dead must not keep others waiting.  So each has a window of
 * requests at a time, which begins small, grows by one with each answer and shrinks with
 * each failure; and those that are slow, by their last answer or because they let one
 * wait, are counted apart, against a limit of their own.
 *
 * There may be many that nothing waits for: they cost nothing.  Those that something waits for
 * are found one after the other in the index, and of these the table is read only for what is
 * due or under way.
 *
 * Keys are opened once, and again when what the table has of them changes.  One whose key
 * is not in the key file is left alone for a while, and its deliveries wait.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "clock.h"
#include "guc.h"
#include "id.h"
#include "sealed.h"
#include "spi.h"
#include "target.h"
#include "webhook.h"

#define FIRST_WINDOW	8
#define SLOW_TICKS		1000	/* an answer that takes longer is slow */
#define REOPEN_TICKS	(60 * 1000)
#define IDLE_TICKS		(600 * 1000)	/* after which one is forgotten */

/* Of a high rate, what it allows in so many thousandths of a tick may go at once. */
#define RATE_BURST		5000
#define RATE_UNIT		(1000 * 1000)	/* a second in these */

/* The columns of the query that reads them. */
enum
{
	COLUMN_ENDPOINT_ID = 1, COLUMN_DUE_AT, COLUMN_IS_ENABLED, COLUMN_URL, COLUMN_SECRET, COLUMN_PREVIOUS_SECRET, COLUMN_HEADERS,
	COLUMN_PREVIOUS_UNTIL, COLUMN_RATE_LIMIT, COLUMN_IS_ORDERED
};

static HTAB *targets = NULL;
static MemoryContext context = NULL;

static void make_table(void);
static void find_waiting(bool is_any_held);
static void read_row(uint64 row);
static BillingTarget *enter(int64 endpoint_id);
static void take_url(BillingTarget *target, const char *url);
static bool take_sealed(BillingTarget *target, uint64 row);
static void open_secrets(BillingTarget *target);
static void open_all(void *opened, int from, int count);
static void open_key(BillingTarget *target, bytea *sealed);
static void open_headers(BillingTarget *target, bytea *sealed);
static void forget_secrets(BillingTarget *target);
static void forget(BillingTarget *target);

void
billing_target_read(TimestampTz now, bool is_any_held)
{
	HASH_SEQ_STATUS status;
	BillingTarget *target;
	Datum	   *ids;
	int			count = 0;

	make_table();
	hash_seq_init(&status, targets);
	while ((target = hash_seq_search(&status)) != NULL)
		target->due_at = DT_NOEND;
	find_waiting(is_any_held);

	ids = palloc((hash_get_num_entries(targets) + 1) * sizeof(Datum));
	hash_seq_init(&status, targets);
	while ((target = hash_seq_search(&status)) != NULL)
	{
		if (target->due_at <= now || target->queued > 0 || target->in_flight > 0)
			ids[count++] = Int64GetDatum(target->endpoint_id);
	}
	if (count > 0)
		billing_target_read_some(billing_id_array(ids, count), is_any_held);
}

/*
 * find_waiting
 *		When the first delivery of each endpoint is due, by one look into the index for each that has any.
 */
static void
find_waiting(bool is_any_held)
{
	static BillingQuery query = {
		.sql = "SELECT d.endpoint_id, d.next_attempt_at FROM billing.webhook_delivery d"
		" WHERE d.endpoint_id > $1 AND d.next_attempt_at IS NOT NULL AND (d.state = 'pending' OR NOT $2)"
		" ORDER BY d.endpoint_id, d.next_attempt_at LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, BOOLOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {Int64GetDatum(PG_INT64_MIN), BoolGetDatum(is_any_held)};

	while (billing_spi_run(&query, args, NULL) > 0)
	{
		bool		isnull;

		args[0] = billing_spi_value(0, 1, &isnull);
		enter(DatumGetInt64(args[0]))->due_at = DatumGetTimestampTz(billing_spi_value(0, 2, &isnull));
	}
}

void
billing_target_read_some(Datum endpoint_ids, bool is_any_held)
{
	static BillingQuery query = {
		.sql = "SELECT e.endpoint_id, d.due_at, e.is_enabled, e.url, e.secret, e.previous_secret, e.headers, e.previous_until,"
		"   e.rate_limit, e.is_ordered"
		"  FROM unnest($1) i (endpoint_id) JOIN billing.webhook_endpoint e ON e.endpoint_id = i.endpoint_id"
		"  LEFT JOIN LATERAL (SELECT d.next_attempt_at AS due_at FROM billing.webhook_delivery d"
		"    WHERE d.endpoint_id = e.endpoint_id AND d.next_attempt_at IS NOT NULL AND (d.state = 'pending' OR NOT $2)"
		"    ORDER BY d.next_attempt_at LIMIT 1) d ON true",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, BOOLOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {endpoint_ids, BoolGetDatum(is_any_held)};
	uint64		count = billing_spi_run(&query, args, NULL);

	for (uint64 row = 0; row < count; row++)
		read_row(row);
}

static void
make_table(void)
{
	HASHCTL		ctl = {.keysize = sizeof(int64), .entrysize = sizeof(BillingTarget)};

	if (targets != NULL)
		return;
	context = AllocSetContextCreate(TopMemoryContext, "billing targets", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = context;
	targets = hash_create("billing targets", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
read_row(uint64 row)
{
	bool		isnull;
	Datum		value;
	BillingTarget *target = enter(DatumGetInt64(billing_spi_value(row, COLUMN_ENDPOINT_ID, &isnull)));

	target->read_at = billing_clock_ticks();
	target->is_enabled = DatumGetBool(billing_spi_value(row, COLUMN_IS_ENABLED, &isnull));
	take_url(target, TextDatumGetCString(billing_spi_value(row, COLUMN_URL, &isnull)));
	if (take_sealed(target, row))
	{
		target->is_usable = false;
		target->retry_open_at = 0;
	}

	value = billing_spi_value(row, COLUMN_PREVIOUS_UNTIL, &isnull);
	target->previous_until = isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
	value = billing_spi_value(row, COLUMN_RATE_LIMIT, &isnull);
	target->rate_limit = isnull ? 0 : DatumGetInt32(value);
	target->is_ordered = DatumGetBool(billing_spi_value(row, COLUMN_IS_ORDERED, &isnull));
	value = billing_spi_value(row, COLUMN_DUE_AT, &isnull);
	target->due_at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	if (target->is_enabled && !target->is_usable && billing_clock_ticks() >= target->retry_open_at)
		open_secrets(target);
}

static BillingTarget *
enter(int64 endpoint_id)
{
	bool		found;
	BillingTarget *target = hash_search(targets, &endpoint_id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) target + sizeof(int64), 0, sizeof(BillingTarget) - sizeof(int64));
		dlist_init(&target->ready);
		dlist_init(&target->sent);
		target->window = Min(FIRST_WINDOW, billing_webhook_max_per_endpoint);
	}
	return target;
}

static void
take_url(BillingTarget *target, const char *url)
{
	if (target->url != NULL && strcmp(target->url, url) == 0)
		return;
	if (target->url != NULL)
		pfree(target->url);
	target->url = MemoryContextStrdup(context, url);
}

/* Keep the sealed values; true if they are others than before. */
static bool
take_sealed(BillingTarget *target, uint64 row)
{
	static const int columns[] = {COLUMN_SECRET, COLUMN_PREVIOUS_SECRET, COLUMN_HEADERS};
	bool		changed = false;

	for (int i = 0; i < lengthof(columns); i++)
	{
		bool		isnull;
		Datum		value = billing_spi_value(row, columns[i], &isnull);
		bytea	   *sealed = isnull ? NULL : DatumGetByteaP(value);
		bytea	   *old = target->sealed[i];

		if (sealed == NULL ? old == NULL : old != NULL && VARSIZE(sealed) == VARSIZE(old) &&
			memcmp(sealed, old, VARSIZE(sealed)) == 0)
			continue;
		changed = true;
		target->sealed[i] = NULL;
		if (old != NULL)
			pfree(old);
		if (sealed != NULL)
		{
			target->sealed[i] = MemoryContextAlloc(context, VARSIZE(sealed));
			memcpy(target->sealed[i], sealed, VARSIZE(sealed));
		}
	}
	return changed;
}

/*
 * open_secrets
 *		Open what an endpoint signs with; where that fails, say why and leave it alone.
 */
static void
open_secrets(BillingTarget *target)
{
	ErrorData  *error;

	forget_secrets(target);
	error = billing_attempt_one(open_all, target);
	target->is_usable = error == NULL;
	if (error == NULL)
		return;

	forget_secrets(target);
	target->retry_open_at = billing_clock_ticks() + REOPEN_TICKS;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("webhook endpoint %lld is left alone for a minute: %s", (long long) target->endpoint_id, error->message),
			 error->detail != NULL ? errdetail("%s", error->detail) : 0));
	FreeErrorData(error);
}

static void
open_all(void *opened, int from, int count)
{
	BillingTarget *target = opened;

	open_key(target, target->sealed[0]);
	if (target->sealed[1] != NULL)
		open_key(target, target->sealed[1]);
	if (target->sealed[2] != NULL)
		open_headers(target, target->sealed[2]);
}

static void
open_key(BillingTarget *target, bytea *sealed)
{
	char	   *text = billing_sealed_open(0, BILLING_WEBHOOK_SECRET, (BillingSealed *) sealed);
	const char *problem = billing_sign_read(text, &target->keys[target->nkeys]);

	billing_sealed_forget(text);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("its secret is malformed"),
				 errdetail_internal("%s", problem)));
	target->nkeys++;
}

/* Lines "Name: value". */
static void
open_headers(BillingTarget *target, bytea *sealed)
{
	char	   *text = billing_sealed_open(0, BILLING_WEBHOOK_HEADERS, (BillingSealed *) sealed);
	int			lines = 0;
	char	   *rest = NULL;

	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n';
	target->headers = MemoryContextAllocZero(context, (lines + 1) * sizeof(char *));
	for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
	{
		target->headers[target->nheaders++] = MemoryContextStrdup(context, line);
		billing_sign_forget(line, strlen(line));
	}
	pfree(text);
}

static void
forget_secrets(BillingTarget *target)
{
	billing_sign_forget(target->keys, sizeof(target->keys));
	target->nkeys = 0;
	for (int i = 0; i < target->nheaders; i++)
	{
		billing_sign_forget(target->headers[i], strlen(target->headers[i]));
		pfree(target->headers[i]);
	}
	if (target->headers != NULL)
		pfree(target->headers);
	target->headers = NULL;
	target->nheaders = 0;
	target->is_usable = false;
}

BillingTarget *
billing_target_find(int64 endpoint_id)
{
	return targets == NULL ? NULL : hash_search(targets, &endpoint_id, HASH_FIND, NULL);
}

void
billing_target_each(BillingTargetVisit visit, void *argument)
{
	HASH_SEQ_STATUS status;
	BillingTarget *target;

	if (targets == NULL)
		return;
	hash_seq_init(&status, targets);
	while ((target = hash_seq_search(&status)) != NULL)
		visit(target, argument);
}

void
billing_target_sweep(void)
{
	int64		now = billing_clock_ticks();
	HASH_SEQ_STATUS status;
	BillingTarget *target;

	hash_seq_init(&status, targets);
	while ((target = hash_seq_search(&status)) != NULL)
	{
		if (target->due_at == DT_NOEND && target->queued == 0 && target->in_flight == 0 && target->locked == 0 &&
			now >= target->paused_until && now - target->read_at > IDLE_TICKS)
			forget(target);
	}
}

static void
forget(BillingTarget *target)
{
	forget_secrets(target);
	if (target->url != NULL)
		pfree(target->url);
	for (int i = 0; i < lengthof(target->sealed); i++)
	{
		if (target->sealed[i] != NULL)
			pfree(target->sealed[i]);
	}
	(void) hash_search(targets, &target->endpoint_id, HASH_REMOVE, NULL);
}

bool
billing_target_can_take(const BillingTarget *target, int in_flight, int64 *when)
{
	int64		now = billing_clock_ticks();
	int64		earliest;

	*when = -1;
	if (!target->is_usable)
		return false;
	if (target->in_flight >= Min(target->window, billing_webhook_max_per_endpoint) || in_flight >= billing_http_max_in_flight)
		return false;
	*when = target->paused_until;
	if (now < target->paused_until)
		return false;
	if (target->rate_limit == 0)
		return true;
	earliest = target->free_at - (RATE_UNIT / target->rate_limit < RATE_BURST ? RATE_BURST : 0);
	*when = earliest / 1000 + 1;
	return earliest <= now * 1000;
}

void
billing_target_began(BillingTarget *target)
{
	target->in_flight++;
	if (target->rate_limit != 0)
		target->free_at = Max(target->free_at, billing_clock_ticks() * 1000) + RATE_UNIT / target->rate_limit;
}

/*
 * billing_target_ended
 *		Learn from how a request ended.
 */
void
billing_target_ended(BillingTarget *target, int64 milliseconds, bool is_well, int64 retry_after)
{
	target->in_flight--;
	target->is_slow = milliseconds > SLOW_TICKS || !is_well;
	if (is_well)
		target->window = Min(target->window + 1, billing_webhook_max_per_endpoint);
	else
		target->window = Max(target->window / 2, 1);
	if (retry_after > 0)
		target->paused_until = Max(target->paused_until, billing_clock_ticks() + retry_after * 1000);
}
