/*-------------------------------------------------------------------------
 *
 * notice.c
 *	  What tenants are told: once for each occasion.
 *
 * A row of billing.notification is both the record that an occasion was told of and
 * the mail that waits to be sent (mail is sent elsewhere, by the sender).  Its key makes
 * it one, whoever writes it: the jobs below, as often as anybody likes, and the flows.
 *
 * What a reminder is due for is the view billing.reminder_due.  A job locks the tenants
 * of what it found and looks again: what was canceled or paid meanwhile is no reminder.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "event.h"
#include "flow.h"
#include "id.h"
#include "notice.h"
#include "spi.h"
#include "wake.h"

BILLING_FUNCTION(billing_delete_old_notices);
BILLING_FUNCTION(billing_remind);
BILLING_FUNCTION(billing_resend_notice);

/* Where in the order of tenants a call has come to. */
typedef struct Position
{
	int64		tenant_id;
	int64		object_id;
} Position;

/* Events of one type: bigint[] of tenants and of ids, in parallel. */
typedef struct Told
{
	const char *type;
	Datum		tenant_ids;
	Datum		object_ids;
} Told;

static bool claim(Datum kinds, int32 batch, Position *position, Datum *tenant_ids);
static int64 write_reminders(Datum kinds, Datum tenant_ids);
static Told read_told(int row);
static Datum read_notification(BillingFlow *flow, int64 notification_id);
static Datum let_wait(BillingFlow *flow, int64 notification_id);

/*
 * billing_remind
 *		Write reminders of some kinds, of all tenants; returns how many.
 *
 * What nothing could be done for keeps nobody waiting: the call goes on behind it until
 * something was written, or none is left.
 */
Datum
billing_remind(PG_FUNCTION_ARGS)
{
	Position	position = {PG_INT64_MIN, PG_INT64_MIN};
	Datum		tenant_ids;
	int64		written = 0;

	billing_flow_require(fcinfo, 0, "kinds");
	billing_flow_require_batch(fcinfo, 1, "reminders one call looks at");

	billing_spi_begin();
	while (written == 0 && claim(PG_GETARG_DATUM(0), PG_GETARG_INT32(1), &position, &tenant_ids))
		written = write_reminders(PG_GETARG_DATUM(0), tenant_ids);
	billing_spi_end();
	PG_RETURN_INT64(written);
}

/*
 * claim
 *		Lock the tenants of reminders that are due, but for those that somebody works on; false if none is due behind
 *		the position.
 */
static bool
claim(Datum kinds, int32 batch, Position *position, Datum *tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH next AS MATERIALIZED ("
		"  SELECT d.tenant_id, d.object_id FROM billing.reminder_due d"
		"   WHERE d.kind = ANY ($1) AND (d.tenant_id, d.object_id) > ($3, $4)"
		"   ORDER BY d.tenant_id, d.object_id LIMIT $2"
		"), locked AS ("
		"  SELECT t.tenant_id FROM billing.tenant t WHERE t.tenant_id IN (SELECT n.tenant_id FROM next n)"
		"   ORDER BY t.tenant_id FOR NO KEY UPDATE SKIP LOCKED"
		") SELECT n.tenant_id, n.object_id, (SELECT coalesce(array_agg(l.tenant_id), '{}') FROM locked l)"
		"   FROM next n ORDER BY n.tenant_id DESC, n.object_id DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {TEXTARRAYOID, INT4OID, INT8OID, INT8OID},
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		args[] = {kinds, Int32GetDatum(batch), Int64GetDatum(position->tenant_id), Int64GetDatum(position->object_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	position->tenant_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	position->object_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	*tenant_ids = billing_spi_copy(0, 3, context);
	billing_flow_check_snapshot(*tenant_ids);
	return true;
}

/* Of locked tenants: what is due as they are, in the order of the key, and its events; returns how many. */
static int64
write_reminders(Datum kinds, Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH written AS ("
		" INSERT INTO billing.notification (tenant_id, kind, object_id, occasion, status, expires_at, next_attempt_at, error)"
		" SELECT d.tenant_id, d.kind, d.object_id, d.occasion, CASE WHEN d.is_mailed THEN 'waiting' ELSE 'skipped' END, d.occasion,"
		"   CASE WHEN d.is_mailed THEN billing.now() END, CASE WHEN NOT d.is_mailed THEN 'no mail is wanted, or there is no address' END"
		" FROM billing.reminder_due d WHERE d.kind = ANY ($1) AND d.tenant_id = ANY ($2)"
		" ORDER BY d.tenant_id, d.kind, d.object_id, d.occasion"
		" ON CONFLICT (tenant_id, kind, object_id, occasion) DO NOTHING"
		" RETURNING tenant_id, kind, object_id"
		") SELECT k.event, array_agg(w.tenant_id ORDER BY w.tenant_id, w.object_id), array_agg(w.object_id ORDER BY w.tenant_id, w.object_id)"
		"    FROM written w JOIN billing.notice_kind k ON k.kind = w.kind GROUP BY k.event ORDER BY k.event",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTARRAYOID, INT8ARRAYOID},
	};
	Datum		args[] = {kinds, tenant_ids};
	Told	   *told;
	int			types = billing_spi_run(&query, args, NULL);
	int64		written = 0;

	told = palloc(Max(types, 1) * sizeof(Told));
	for (int i = 0; i < types; i++)
		told[i] = read_told(i);
	for (int i = 0; i < types; i++)
	{
		billing_event_emit_all(told[i].type, told[i].tenant_ids, told[i].object_ids);
		written += billing_id_count(told[i].object_ids);
	}
	return written;
}

static Told
read_told(int row)
{
	MemoryContext context = CurrentMemoryContext;

	return (Told)
	{
		.type = TextDatumGetCString(billing_spi_copy(row, 1, context)),
			.tenant_ids = billing_spi_copy(row, 2, context),
			.object_ids = billing_spi_copy(row, 3, context)
	};
}

void
billing_notice_write_receipt(int64 tenant_id, int64 payment_id)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.notification (tenant_id, kind, object_id, occasion, expires_at)"
		" SELECT p.tenant_id, 'receipt', p.payment_id, p.created_at, billing.now() + '30 days'"
		"   FROM billing.payment p JOIN billing.tenant t ON t.tenant_id = p.tenant_id"
		"  WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.received_at + '30 days' > billing.now()"
		"    AND " BILLING_NOTICE_IS_MAILED("'receipt'"),
		.expected = SPI_OK_INSERT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(payment_id)};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_delete_old_notices
 *		Delete up to so many that nobody would send any more, since long; returns how many.
 *
 * The key of a reminder has done its work by then: no reminder expires before its occasion, and none is written
 * of an occasion that is past.
 */
Datum
billing_delete_old_notices(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "WITH old AS (SELECT n.tenant_id, n.notification_id FROM billing.notification n"
		"   WHERE n.expires_at < billing.now() - billing.effective_setting('notice_retention_days')::integer * interval '1 day'"
		"   LIMIT $1 FOR UPDATE SKIP LOCKED)"
		" DELETE FROM billing.notification n USING old o WHERE n.tenant_id = o.tenant_id AND n.notification_id = o.notification_id",
		.expected = SPI_OK_DELETE,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	Datum		args[] = {PG_GETARG_DATUM(0)};
	uint64		count;

	billing_flow_require_batch(fcinfo, 0, "notifications one call deletes at most");
	billing_spi_begin();
	count = billing_spi_run(&query, args, NULL);
	billing_spi_end();
	PG_RETURN_INT64(count);
}

/*
 * billing_resend_notice
 *		Let one be sent again, at once, whatever became of it.
 *
 * It is another mail, since a person asks for it: with the Message-ID of one that had come,
 * the reader's server would drop it.
 */
Datum
billing_resend_notice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	Datum		before;

	if (billing_flow_begin(&flow, fcinfo, "resend_notice", 2, &result))
		return result;
	billing_flow_require(fcinfo, 1, "notification_id");
	before = read_notification(&flow, PG_GETARG_INT64(1));
	result = let_wait(&flow, PG_GETARG_INT64(1));
	billing_flow_audit(&flow, "notification", PG_GETARG_INT64(1), before, result);
	return billing_flow_end(&flow, result);
}

static Datum
read_notification(BillingFlow *flow, int64 notification_id)
{
	static BillingQuery query = {
		.sql = "SELECT n FROM billing.notification n WHERE n.tenant_id = $1 AND n.notification_id = $2 FOR UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(notification_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("notification", flow->tenant_id, psprintf("%lld", (long long) notification_id));
	return billing_spi_copy(0, 1, flow->caller);
}

static Datum
let_wait(BillingFlow *flow, int64 notification_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.notification n SET status = 'waiting', attempts = 0, resends = n.resends + 1, next_attempt_at = billing.now(),"
		" expires_at = greatest(n.expires_at, billing.now() + '30 days'), error = NULL"
		" WHERE n.tenant_id = $1 AND n.notification_id = $2 RETURNING n",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(notification_id)};

	(void) billing_spi_run(&query, args, NULL);
	billing_wake_due_at_commit();
	return billing_spi_copy(0, 1, flow->caller);
}
