/*-------------------------------------------------------------------------
 *
 * gateway_certificate.c
 *	  What gateways publish that their signatures are verified with.
 *
 * Whoever sends a callback names what it is verified with, so anybody can name anything: what is
 * fetched comes from the gateway itself, by a driver that pins its host, and few are wanted at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "encoding.h"
#include "gateway_certificate.h"
#include "spi.h"
#include "wake.h"

#define WANTED_MAX		8		/* of a gateway at a time */
#define CLAIM_MAX		4
#define RETRY_SECONDS	30
#define REST_SECONDS	300		/* after one that is not to be had */
#define ATTEMPTS_MAX	5

static void set_ask(BillingAsk *ask, const char *gateway, const char *name, int attempts);
static void keep(const char *gateway, const BillingPair *certificate);
static void fail(const BillingAsk *ask, const char *error);

void
billing_gateway_certificate_want(const char *gateway, const char *name)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway_certificate AS c (gateway, name, wanted_at, next_attempt_at)"
		" SELECT $1, $2, $3, $3 WHERE (SELECT count(*) FROM billing.gateway_certificate w WHERE w.gateway = $1 AND w.pem IS NULL AND w.wanted_at > $4) < $5"
		" ON CONFLICT (gateway, name) DO UPDATE SET wanted_at = excluded.wanted_at, attempts = 0, next_attempt_at = excluded.next_attempt_at"
		"  WHERE c.pem IS NULL AND c.next_attempt_at IS NULL AND c.wanted_at <= $4",
		.expected = SPI_OK_INSERT,
		.nargs = 5,
		.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID},
	};
	TimestampTz now = billing_clock_real();
	Datum		args[] = {
		CStringGetTextDatum(gateway), billing_encoding_datum(name), TimestampTzGetDatum(now),
		TimestampTzGetDatum(now - REST_SECONDS * USECS_PER_SEC), Int32GetDatum(WANTED_MAX)
	};

	if (name[0] == '\0' || strlen(name) > 512)
		return;
	(void) billing_spi_run(&query, args, NULL);
	billing_wake_due_at_commit();
}

/* What is claimed has no error: so it is known from what waits to be tried again. */
int
billing_gateway_certificate_claim(const char *gateway, TimestampTz now, TimestampTz until, BillingAsk **asks)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_certificate c SET next_attempt_at = $2, attempts = c.attempts + 1, error = NULL"
		"  FROM (SELECT d.gateway, d.name FROM billing.gateway_certificate d WHERE d.next_attempt_at <= $1 AND ($4 IS NULL OR d.gateway = $4)"
		"    ORDER BY d.next_attempt_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) d"
		" WHERE c.gateway = d.gateway AND c.name = d.name RETURNING c.gateway, c.name, c.attempts",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TEXTOID},
	};
	Datum		args[] = {
		TimestampTzGetDatum(now), TimestampTzGetDatum(until), Int32GetDatum(gateway == NULL ? CLAIM_MAX : 1),
		gateway == NULL ? (Datum) 0 : CStringGetTextDatum(gateway)
	};
	MemoryContext context = CurrentMemoryContext;
	int			count = (int) billing_spi_run(&query, args, gateway == NULL ? "   n" : NULL);
	bool		isnull;

	MemoryContextSwitchTo(context);
	*asks = palloc0(Max(count, 1) * sizeof(BillingAsk));
	for (int i = 0; i < count; i++)
	{
		set_ask(&(*asks)[i], TextDatumGetCString(billing_spi_value(i, 1, &isnull)), TextDatumGetCString(billing_spi_value(i, 2, &isnull)),
				DatumGetInt32(billing_spi_value(i, 3, &isnull)));
		(*asks)[i].claimed_at = now;
	}
	return count;
}

bool
billing_gateway_certificate_find_claimed(const char *gateway, BillingAsk *ask)
{
	static BillingQuery query = {
		.sql = "SELECT c.name, c.attempts FROM billing.gateway_certificate c"
		" WHERE c.gateway = $1 AND c.pem IS NULL AND c.next_attempt_at > $2 AND c.attempts > 0 AND c.error IS NULL"
		" ORDER BY c.next_attempt_at DESC LIMIT 1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TIMESTAMPTZOID},
	};
	Datum		args[] = {CStringGetTextDatum(gateway), TimestampTzGetDatum(billing_clock_real())};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	memset(ask, 0, sizeof(BillingAsk));
	ask->order.now = timestamptz_to_time_t(billing_clock_real());
	set_ask(ask, gateway, TextDatumGetCString(billing_spi_value(0, 1, &isnull)), DatumGetInt32(billing_spi_value(0, 2, &isnull)));
	return true;
}

static void
set_ask(BillingAsk *ask, const char *gateway, const char *name, int attempts)
{
	ask->operation = ask->order.operation = BILLING_GATEWAY_CERTIFICATE;
	ask->gateway = gateway;
	ask->order.external_id = name;
	ask->attempts = attempts;
}

void
billing_gateway_certificate_settle(BillingAsk *ask, const BillingAnswered *answered)
{
	BillingGatewayAnswer answer;
	bool		is_there = false;

	billing_gateway_clear(&answer);
	if (answered->answer != NULL)
		answer = *answered->answer;
	else if (ask->problem == NULL && answered->status != 0)
		ask->account->driver->read(&ask->account->config, &ask->order, answered->status, &answered->headers, answered->body, answered->len,
								   &answer);
	for (int i = 0; answer.outcome == BILLING_GATEWAY_SUCCEEDED && i < answer.memory.count; i++)
	{
		keep(ask->gateway, &answer.memory.pairs[i]);
		is_there |= strcmp(answer.memory.pairs[i].name, ask->order.external_id) == 0;
	}
	if (!is_there)
		fail(ask, ask->problem != NULL ? ask->problem : answered->error != NULL ? answered->error :
			 answer.message != NULL ? answer.message : "the gateway has none of that name");
}

static void
keep(const char *gateway, const BillingPair *certificate)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.gateway_certificate (gateway, name, pem) SELECT $1, $2, $3 FROM billing.gateway g WHERE g.code = $1"
		" ON CONFLICT (gateway, name) DO UPDATE SET pem = excluded.pem, next_attempt_at = NULL, error = NULL",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {TEXTOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		CStringGetTextDatum(gateway), billing_encoding_datum(certificate->name), billing_encoding_datum(certificate->value)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/* Somebody may want it again later. */
static void
fail(const BillingAsk *ask, const char *error)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.gateway_certificate c SET error = $3, next_attempt_at = CASE WHEN c.attempts < $5 THEN $4 END"
		" WHERE c.gateway = $1 AND c.name = $2 AND c.pem IS NULL",
		.expected = SPI_OK_UPDATE,
		.nargs = 5,
		.argtypes = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID},
	};
	Datum		args[] = {
		CStringGetTextDatum(ask->gateway), billing_encoding_datum(ask->order.external_id),
		CStringGetTextDatum(billing_encoding_read_bytes(error, Min(strlen(error), 1000))),
		TimestampTzGetDatum(billing_clock_real() + RETRY_SECONDS * USECS_PER_SEC), Int32GetDatum(ATTEMPTS_MAX)
	};

	(void) billing_spi_run(&query, args, NULL);
}

TimestampTz
billing_gateway_certificate_next(void)
{
	static BillingQuery query = {
		.sql = "SELECT min(c.next_attempt_at) FROM billing.gateway_certificate c",
		.expected = SPI_OK_SELECT,
	};
	TimestampTz next;
	bool		isnull;

	(void) billing_spi_run(&query, NULL, NULL);
	next = DatumGetTimestampTz(billing_spi_value(0, 1, &isnull));
	return isnull ? DT_NOEND : next;
}
