/*-------------------------------------------------------------------------
 *
 * notice_send.c
 *	  Notices as mail: claim, send, record.
 *
 * One transaction claims what is due, somewhat more than can be sent at once, and writes the mails; then they
 * are sent, with none open, a connection carrying one after the other; another records what became of them.  A claim is a lease: who is gone
 * before it could record leaves a row that is due again when the lease ends.  So a mail may
 * go twice, with the same Message-ID, and none is lost.
 *
 * Nothing is claimed while no mail server is configured: notices wait, and fail for nobody.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "clock.h"
#include "delivery.h"
#include "encoding.h"
#include "guc.h"
#include "id.h"
#include "mail.h"
#include "mime.h"
#include "notice_send.h"
#include "process.h"
#include "sealed.h"
#include "spi.h"
#include "store.h"

/* A mail that was lost is missed so long after it would have been given up. */
#define LEASE_MARGIN_MSECS 10000

/* How many mails may wait for a connection, for each there may be and in all, and how long: who waited longer is claimed anew. */
#define QUEUE_PER_PLACE 4
#define QUEUE_MAX 200
#define QUEUE_MSECS 20000

/* What is kept of an error: the bytes of a server's answer and what is around them. */
#define ERROR_MAX 256

/* One notification that was claimed, from then until what became of it is recorded. */
typedef struct Notice
{
	dlist_node	node;			/* in claimed, queued, under_way, or finished */
	MemoryContext context;		/* all of it */
	int64		tenant_id;
	int64		notification_id;
	TimestampTz created_at;
	int			attempts;
	int			resends;
	char		sender[BILLING_MIME_ADDRESS_MAX + 1];
	char	   *recipient;		/* NULL: none was found */
	char	   *locale;
	BillingLetter *letter;
	TimestampTz begin_by;		/* later it could outlast its lease */
	const char *status;			/* what becomes of it; NULL: it is to be sent */
	bool		is_untried;		/* this attempt does not count */
	TimestampTz next_attempt_at;	/* of one that waits on */
	char		error[ERROR_MAX];	/* empty: none */
} Notice;

/* Those that a claim took. */
typedef struct Claim
{
	const char *from;			/* the setting, in UTF-8 */
	Notice	  **notices;
	int			count;
} Claim;

static dlist_head claimed = DLIST_STATIC_INIT(claimed);
static dlist_head queued = DLIST_STATIC_INIT(queued);
static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static dlist_head finished = DLIST_STATIC_INIT(finished);
static int	nqueued = 0;
static int	nunder_way = 0;
static bool was_configured = false;

static int64 run_round(void);
static void drop_queue(void);
static bool is_ready(void);
static bool is_configured(void);
static int64 claim_and_send(void);
static Claim claim(int64 *next);
static char *read_from(MemoryContext context);
static Notice *make_notice(int row);
static void write_mails(void *set, int from, int count);
static void write_mail(Notice *notice, int row, const char *from);
static char *copy_text(const Notice *notice, int row, int column);
static char *utf8_text(int row, int column);
static void report(void *set, int which, const ErrorData *error);
static void set_outcome(Notice *notice, const char *status, const char *error);
static int	queue_size(void);
static void queue(const Claim *claim);
static void send_queued(const char *password);
static Notice *find_first(void);
static Notice *take(Notice *notice);
static const BillingLetter *take_next(void);
static char *open_password(void);
static void move(Notice *notice, dlist_head *to);
static void finish(void *context, BillingMailEnd end, const char *error);
static void record(void);
static void put_text(BillingStore *store, const char *text);
static void forget_all(dlist_head *list);
static int64 find_next(void);

const BillingChannel billing_notice_channel = {
	.name = "mail",
	.round = run_round,
	.is_ready = is_ready,
};

/*
 * run_round
 *		Record what has ended, claim what is due, and send it.
 *
 * What a round before left claimed when it failed is let go: it is due again when its lease ends.
 * With a full queue nothing is claimed; the next mail that ends makes the channel ready.  What ends as it is claimed, with
 * no transfer that wakes anybody, is recorded at once.
 */
static int64
run_round(void)
{
	int64		next;

	forget_all(&claimed);
	was_configured = is_configured();
	if (!was_configured)
		drop_queue();
	if (!dlist_is_empty(&finished))
		record();
	if (!was_configured)
		return BILLING_TICKS_NEVER;

	next = claim_and_send();
	if (!dlist_is_empty(&finished))
		return 0;
	return nqueued > 0 ? BILLING_TICKS_NEVER : next;
}

/* Of a server that is none any more. */
static void
drop_queue(void)
{
	const BillingLetter *letter;

	while ((letter = take_next()) != NULL)
		finish(letter->context, BILLING_MAIL_UNTRIED, NULL);
}

/*
 * claim_and_send
 *		Returns when the next one is due.
 *
 * What the settings say is looked at first: where that fails nothing is claimed, and nothing has tried in vain.
 * The password is in memory for as long as that takes; libcurl's copy, until the transfer ends.
 */
static int64
claim_and_send(void)
{
	char	   *password = open_password();
	volatile int64 next = BILLING_TICKS_NEVER;

	PG_TRY();
	{
		if (nqueued <= queue_size() / 2)
		{
			int64		later;
			Claim		taken_now = claim(&later);

			queue(&taken_now);
			next = later;
		}
		send_queued(password);
	}
	PG_FINALLY();
	{
		if (password != NULL)
			billing_sealed_forget(password);
	}
	PG_END_TRY();
	return next;
}

/* Mails have ended, or the settings name a server since the last look. */
static bool
is_ready(void)
{
	return !dlist_is_empty(&finished) || (!was_configured && is_configured());
}

static bool
is_configured(void)
{
	return billing_smtp_url[0] != '\0' && billing_smtp_from[0] != '\0';
}

/*
 * claim
 *		Take notices that are due, up to the places that are free and those of the queue, and write their mails; and look when the next is.
 *
 * What is late, has no address, or tells what is no longer so ends here.  One whose mail cannot be written
 * fails alone.
 */
static Claim
claim(int64 *next)
{
	static BillingQuery query = {
		.sql = "WITH due AS MATERIALIZED ("
		"  SELECT n.tenant_id, n.notification_id FROM billing.notification n"
		"   WHERE n.status = 'waiting' AND n.next_attempt_at <= billing.now()"
		"   ORDER BY n.next_attempt_at, n.tenant_id, n.notification_id LIMIT $1"
		") UPDATE billing.notification n SET attempts = n.attempts + 1, next_attempt_at = billing.now() + make_interval(secs => $2)"
		"    FROM due d"
		"   WHERE n.tenant_id = d.tenant_id AND n.notification_id = d.notification_id AND n.status = 'waiting'"
		"     AND n.next_attempt_at <= billing.now()"
		" RETURNING n.tenant_id, n.notification_id, n.created_at, n.attempts, n.resends, n.expires_at <= billing.now()",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 2,
		.argtypes = {INT4OID, INT4OID},
	};
	Datum		args[] = {
		Int32GetDatum(queue_size() - nqueued + Max(billing_smtp_max_in_flight - nunder_way, 0)),
		Int32GetDatum((QUEUE_MSECS + billing_smtp_timeout + LEASE_MARGIN_MSECS) / 1000)
	};
	Claim		result;
	MemoryContext round = CurrentMemoryContext;

	billing_process_begin("billing: claiming mail");
	result.from = read_from(round);
	result.count = billing_spi_run(&query, args, NULL);
	result.notices = MemoryContextAlloc(round, Max(result.count, 1) * sizeof(Notice *));
	for (int i = 0; i < result.count; i++)
		result.notices[i] = make_notice(i);
	billing_attempt(write_mails, report, &result, result.count);
	*next = find_next();
	billing_process_commit();
	return result;
}

/*
 * read_from
 *		Who mails are from, in UTF-8; an error if that cannot be told.
 *
 * A configuration file is for databases of all encodings, and is taken to be in UTF-8 unless its bytes show that it is
 * not: then as ALTER SYSTEM wrote them, from a database like this one.
 */
static char *
read_from(MemoryContext context)
{
	const char *from = billing_smtp_from;

	if (!pg_verify_mbstr(PG_UTF8, from, strlen(from), true))
		from = billing_encoding_to_utf8(from);
	return MemoryContextStrdup(context, from);
}

static Notice *
make_notice(int row)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "billing mail", ALLOCSET_SMALL_SIZES);
	Notice	   *notice = MemoryContextAllocZero(context, sizeof(Notice));
	bool		isnull;

	notice->context = context;
	notice->tenant_id = DatumGetInt64(billing_spi_value(row, 1, &isnull));
	notice->notification_id = DatumGetInt64(billing_spi_value(row, 2, &isnull));
	notice->created_at = DatumGetTimestampTz(billing_spi_value(row, 3, &isnull));
	notice->attempts = DatumGetInt32(billing_spi_value(row, 4, &isnull));
	notice->resends = DatumGetInt32(billing_spi_value(row, 5, &isnull));
	if (DatumGetBool(billing_spi_value(row, 6, &isnull)))
		set_outcome(notice, "expired", "it came too late");
	notice->begin_by = TimestampTzPlusMilliseconds(billing_clock_real(), QUEUE_MSECS);
	dlist_push_tail(&claimed, &notice->node);
	return notice;
}

/*
 * write_mails
 *		What notices say by now, all by one statement: one for each would cost more than to send it.
 */
static void
write_mails(void *set, int from, int count)
{
	static BillingQuery query = {
		.sql = "SELECT k.position, x.recipient, x.locale, x.is_current, x.subject, x.body, x.html"
		"  FROM unnest($1, $2) WITH ORDINALITY AS k (tenant_id, notification_id, position)"
		"  JOIN billing.notice_text x ON x.tenant_id = k.tenant_id AND x.notification_id = k.notification_id",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Claim	   *claim = set;
	Datum	   *tenant_ids = palloc(count * sizeof(Datum));
	Datum	   *notification_ids = palloc(count * sizeof(Datum));
	Datum		args[2];
	uint64		written;
	bool		isnull;

	for (int i = 0; i < count; i++)
	{
		tenant_ids[i] = Int64GetDatum(claim->notices[from + i]->tenant_id);
		notification_ids[i] = Int64GetDatum(claim->notices[from + i]->notification_id);
	}
	args[0] = billing_id_array(tenant_ids, count);
	args[1] = billing_id_array(notification_ids, count);
	written = billing_spi_run(&query, args, NULL);
	if (written != count)
		elog(ERROR, "%d notifications have %llu letters", count, (unsigned long long) written);
	for (int row = 0; row < count; row++)
	{
		Notice	   *notice = claim->notices[from + DatumGetInt64(billing_spi_value(row, 1, &isnull)) - 1];

		if (notice->status == NULL)
			write_mail(notice, row, claim->from);
	}
}

/*
 * write_mail
 *		One of them, as the bytes of a mail.
 *
 * The Message-ID is made of what only a person changes, so that a mail that came twice is known, and one that was asked for
 * again is another.
 */
static void
write_mail(Notice *notice, int row, const char *from)
{
	BillingMail mail = {.sender = from,.at = billing_clock_real()};
	bool		isnull;
	bool		is_current;
	char	   *message;
	MemoryContext old;

	CHECK_FOR_INTERRUPTS();
	(void) billing_mime_find_address(from, notice->sender);
	notice->recipient = copy_text(notice, row, 2);
	notice->locale = copy_text(notice, row, 3);
	is_current = DatumGetBool(billing_spi_value(row, 4, &isnull));
	if (!is_current || notice->recipient == NULL)
	{
		set_outcome(notice, "skipped", is_current ? "the tenant has no address" : "what it tells is no longer so");
		return;
	}

	mail.recipient = notice->recipient;
	mail.subject = utf8_text(row, 5);
	mail.body = utf8_text(row, 6);
	mail.html = utf8_text(row, 7);
	mail.message_id = psprintf("billing.%lld.%lld.%lld.%d%s", (long long) notice->tenant_id, (long long) notice->notification_id,
							   (long long) notice->created_at, notice->resends, strrchr(notice->sender, '@'));
	message = billing_mime_write(&mail);
	old = MemoryContextSwitchTo(notice->context);
	notice->letter = billing_mail_make(notice->sender, notice->recipient, message, notice);
	MemoryContextSwitchTo(old);
}

static char *
copy_text(const Notice *notice, int row, int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(row, column, &isnull);

	return isnull ? NULL : MemoryContextStrdup(notice->context, TextDatumGetCString(value));
}

static char *
utf8_text(int row, int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(row, column, &isnull);

	return isnull ? NULL : billing_encoding_to_utf8(TextDatumGetCString(value));
}

/* A mail that cannot be written now cannot be later. */
static void
report(void *set, int which, const ErrorData *error)
{
	Notice	   *notice = ((Claim *) set)->notices[which];

	set_outcome(notice, "failed", error->message);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("notification %lld of tenant %lld could not be written: %s", (long long) notice->notification_id,
					(long long) notice->tenant_id, error->message),
			 errdetail("tenant_id=%lld notification_id=%lld sqlstate=%s", (long long) notice->tenant_id,
					   (long long) notice->notification_id, unpack_sql_state(error->sqlerrcode)),
			 errhint("The others are sent; once it is mended, resend_notice() lets it wait again.")));
}

/* Does not raise: callbacks of transfers call it. */
static void
set_outcome(Notice *notice, const char *status, const char *error)
{
	notice->status = status;
	strlcpy(notice->error, error, sizeof(notice->error));
	notice->error[pg_mbcliplen(notice->error, strlen(notice->error), sizeof(notice->error) - 1)] = '\0';
}

static int
queue_size(void)
{
	return Min(billing_smtp_max_in_flight * QUEUE_PER_PLACE, QUEUE_MAX);
}

/* Those whose mails are written wait for a connection; the others have ended. */
static void
queue(const Claim *claim)
{
	for (int i = 0; i < claim->count; i++)
	{
		Notice	   *notice = claim->notices[i];

		move(notice, notice->status == NULL ? &queued : &finished);
		nqueued += notice->status == NULL ? 1 : 0;
	}
}

/*
 * send_queued
 *		Connect as often as there are mails and places; whoever is connected takes more by itself.
 */
static void
send_queued(const char *password)
{
	BillingMailServer server = {
		.url = billing_smtp_url,
		.user = billing_smtp_user[0] != '\0' ? billing_smtp_user : NULL,
		.password = password != NULL ? password : "",
		.tls = billing_smtp_tls,
		.timeout = billing_smtp_timeout
	};

	Notice	   *notice;

	while (nunder_way < billing_smtp_max_in_flight && (notice = find_first()) != NULL)
	{
		billing_mail_send(&server, notice->letter, take_next, finish);
		take(notice);
	}
}

/* The first of the queue that can still be sent; none of the following raises. */
static Notice *
find_first(void)
{
	while (!dlist_is_empty(&queued))
	{
		Notice	   *notice = dlist_head_element(Notice, node, &queued);

		if (billing_clock_real() < notice->begin_by)
			return notice;
		finish(take(notice), BILLING_MAIL_UNTRIED, NULL);
	}
	return NULL;
}

static Notice *
take(Notice *notice)
{
	move(notice, &under_way);
	nqueued--;
	nunder_way++;
	return notice;
}

static const BillingLetter *
take_next(void)
{
	Notice	   *notice = find_first();

	return notice == NULL ? NULL : take(notice)->letter;
}

/* That of the setting; NULL: there is none. */
static char *
open_password(void)
{
	Datum		sealed;

	if (billing_smtp_user[0] == '\0' || billing_smtp_password[0] == '\0')
		return NULL;
	sealed = DirectFunctionCall1(billing_sealed_in, CStringGetDatum(billing_smtp_password));
	return billing_sealed_open(0, "smtp_password", DatumGetBillingSealedP(sealed));
}

static void
move(Notice *notice, dlist_head *to)
{
	dlist_delete(&notice->node);
	dlist_push_tail(to, &notice->node);
}

/*
 * finish
 *		A mail has ended: keep what is to be recorded.  Does not raise.
 */
static void
finish(void *context, BillingMailEnd end, const char *error)
{
	Notice	   *notice = context;
	int64		delay = billing_delivery_delay(notice->attempts);

	nunder_way--;
	if (end == BILLING_MAIL_TAKEN)
		set_outcome(notice, "sent", "");
	else if (end == BILLING_MAIL_UNTRIED)
	{
		set_outcome(notice, "waiting", "");
		notice->is_untried = true;
		notice->next_attempt_at = billing_clock_real();
	}
	else if (end == BILLING_MAIL_REFUSED || delay < 0)
		set_outcome(notice, "failed", error);
	else
	{
		set_outcome(notice, "waiting", error);
		notice->next_attempt_at = billing_clock_real() + delay;
	}
	move(notice, &finished);
}

/*
 * record
 *		Write down what became of those that have ended, where that is still the claim at hand.
 */
static void
record(void)
{
	static const BillingStoreColumn columns[] = {
		{"tenant_id", INT8OID}, {"notification_id", INT8OID}, {"created_at", TIMESTAMPTZOID}, {"attempts", INT4OID},
		{"resends", INT4OID},
		{"is_untried", BOOLOID}, {"status", TEXTOID}, {"error", TEXTOID}, {"recipient", TEXTOID}, {"locale", TEXTOID}, {"next_attempt_at", TIMESTAMPTZOID}
	};
	static BillingQuery query = {
		.sql = "UPDATE billing.notification n SET status = r.status, attempts = n.attempts - r.is_untried::integer,"
		"    error = CASE WHEN r.is_untried THEN n.error ELSE r.error END, recipient = coalesce(r.recipient, n.recipient),"
		"    locale = coalesce(r.locale, n.locale), next_attempt_at = r.next_attempt_at,"
		"    sent_at = CASE WHEN r.status = 'sent' THEN billing.now() ELSE n.sent_at END"
		"  FROM ended_mail r"
		" WHERE n.tenant_id = r.tenant_id AND n.notification_id = r.notification_id AND n.created_at = r.created_at"
		"   AND n.attempts = r.attempts AND n.resends = r.resends AND n.status = 'waiting'",
		.expected = SPI_OK_UPDATE,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	dlist_iter	iter;
	BillingStore *store;

	billing_process_begin("billing: recording mail");
	store = billing_store_make("ended_mail", columns, lengthof(columns));
	dlist_foreach(iter, &finished)
	{
		Notice	   *notice = dlist_container(Notice, node, iter.cur);

		billing_store_put(store, Int64GetDatum(notice->tenant_id), false);
		billing_store_put(store, Int64GetDatum(notice->notification_id), false);
		billing_store_put(store, TimestampTzGetDatum(notice->created_at), false);
		billing_store_put(store, Int32GetDatum(notice->attempts), false);
		billing_store_put(store, Int32GetDatum(notice->resends), false);
		billing_store_put(store, BoolGetDatum(notice->is_untried), false);
		put_text(store, notice->status);
		put_text(store, notice->error[0] != '\0' ? notice->error : NULL);
		put_text(store, notice->recipient);
		put_text(store, notice->locale);
		billing_store_put(store, TimestampTzGetDatum(notice->next_attempt_at), strcmp(notice->status, "waiting") != 0);
	}
	billing_store_run(store, &query);
	billing_store_end(store);
	billing_process_commit();
	forget_all(&finished);
}

static void
put_text(BillingStore *store, const char *text)
{
	billing_store_put(store, text != NULL ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

static void
forget_all(dlist_head *list)
{
	while (!dlist_is_empty(list))
	{
		Notice	   *notice = dlist_container(Notice, node, dlist_pop_head_node(list));

		MemoryContextDelete(notice->context);
	}
}

/* When one waits to be sent, or to be missed. */
static int64
find_next(void)
{
	static BillingQuery query = {
		.sql = "SELECT n.next_attempt_at FROM billing.notification n WHERE n.status = 'waiting' ORDER BY n.next_attempt_at LIMIT 1",
		.expected = SPI_OK_SELECT,
	};
	bool		isnull;

	if (billing_spi_run(&query, NULL, NULL) == 0)
		return BILLING_TICKS_NEVER;
	return billing_clock_ticks_at(DatumGetTimestampTz(billing_spi_value(0, 1, &isnull)));
}
