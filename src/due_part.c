/*-------------------------------------------------------------------------
 *
 * due_part.c
 *	  What a subscription owes beside its ordinary boundary.
 *
 * A change cuts what runs.  What ended there, and what began, are rows of
 * billing.due_part, which an invoice bills like any boundary.  What was charged in
 * advance for the time after the cut is taken back from where it is: parts that wait and
 * drafts are cut short, final invoices get credit notes.  Either way it is the same
 * difference of the same whole, so that it does not matter which.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "credit_note.h"
#include "draft.h"
#include "due_part.h"
#include "event.h"
#include "reference.h"
#include "spi.h"
#include "trigger.h"

BILLING_FUNCTION(billing_due_part_guard);

static const char *find_status(TriggerData *trigger);
static void cut_parts(int64 tenant_id, int64 subscription_id, TimestampTz at);
static bool cut_drafts(int64 tenant_id, int64 subscription_id, TimestampTz at, BillingDrafts *drafts);
static void credit(BillingFlow *flow, int64 subscription_id, TimestampTz at, const char *reason);
static bool make_drafts(Datum tenant_ids, Datum subscription_ids, TimestampTz at, BillingDrafts *drafts);
static void delete_empty(BillingDrafts drafts);
static bool find_empty(BillingDrafts drafts, Datum *found);

/*
 * billing_due_part_guard
 *		BEFORE UPDATE or DELETE, for each row: what was owed stays, and once it was billed
 *		the ranges that it was calculated from, too.
 */
Datum
billing_due_part_guard(PG_FUNCTION_ARGS)
{
	static const char *const open_columns[] = {
		"arrears", "arrears_whole", "advance", "advance_whole", "step_arrears", "step_arrears_whole", "step_advance",
		"step_advance_whole", "is_pending", "invoice_id"
	};
	static const char *const moved_columns[] = {"invoice_id"};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	const char *column = "every one";
	bool		is_open;

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		const char *status = find_status(trigger);

		is_open = strcmp(status, "pending") == 0 || strcmp(status, "draft") == 0;
		column = is_open ? billing_trigger_changed(trigger, open_columns, lengthof(open_columns)) :
			billing_trigger_changed(trigger, moved_columns, strcmp(status, "void") == 0 ? lengthof(moved_columns) : 0);
		if (column == NULL)
			return billing_trigger_pass(trigger);
	}

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("part %s of subscription %s stays as it is", billing_trigger_text(trigger, trigger->tg_trigtuple, "part_no"),
					billing_trigger_text(trigger, trigger->tg_trigtuple, "subscription_id")),
			 errdetail("object=due_part tenant_id=%s subscription_id=%s part_no=%s column=%s",
					   billing_trigger_text(trigger, trigger->tg_trigtuple, "tenant_id"),
					   billing_trigger_text(trigger, trigger->tg_trigtuple, "subscription_id"),
					   billing_trigger_text(trigger, trigger->tg_trigtuple, "part_no"), column),
			 errhint("What was owed is corrected by another change, or by a credit note.")));
}

/* The state of what billed the part: pending, or that of its invoice; none: billed, and there was nothing to bill. */
static const char *
find_status(TriggerData *trigger)
{
	static BillingQuery query = {
		.sql = "SELECT v.status FROM billing.invoice v WHERE v.tenant_id = $1 AND v.invoice_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	MemoryContext caller = CurrentMemoryContext;
	const char *status = "draft";
	bool		isnull;
	Datum		args[2];

	if (DatumGetBool(billing_trigger_value(trigger, trigger->tg_trigtuple, "is_pending", &isnull)))
		return "pending";
	args[0] = billing_trigger_value(trigger, trigger->tg_trigtuple, "tenant_id", &isnull);
	args[1] = billing_trigger_value(trigger, trigger->tg_trigtuple, "invoice_id", &isnull);
	if (isnull)
		return "none";
	billing_spi_begin();
	/* A draft that was deleted leaves its parts to whoever bills them. */
	if (billing_spi_run(&query, args, NULL) > 0)
		status = MemoryContextStrdup(caller, TextDatumGetCString(billing_spi_value(0, 1, &isnull)));
	billing_spi_end();
	return status;
}

/*
 * billing_part_write
 *		See due_part.h.  The row of what ended is written also where that owes nothing: it
 *		is the history of plans.
 */
void
billing_part_write(Datum tenant_ids, Datum subscription_ids, TimestampTz at, int64 plan_id, int32 quantity,
				   BillingPartBegins begins)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.due_part (tenant_id, subscription_id, part_no, kind, changed_at, plan_id, quantity, timezone,"
		"  arrears, arrears_whole, advance, advance_whole, step_arrears, step_arrears_whole, step_advance, step_advance_whole, is_pending)"
		" SELECT s.tenant_id, s.subscription_id, n.last + row_number() OVER (PARTITION BY s.tenant_id, s.subscription_id ORDER BY x.kind DESC),"
		"  x.kind, $3, x.plan_id, x.quantity, t.timezone, x.arrears, x.arrears_whole, x.advance, x.advance_whole, x.step_arrears,"
		"  x.step_arrears_whole, x.step_advance, x.step_advance_whole, num_nonnulls(x.arrears, x.step_arrears, x.advance, x.step_advance) > 0"
		" FROM unnest($1, $2) k (tenant_id, subscription_id)"
		" JOIN billing.subscription s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id"
		" JOIN billing.tenant t ON t.tenant_id = s.tenant_id"
		" CROSS JOIN LATERAL (SELECT coalesce(nullif($4, 0), s.plan_id) AS plan_id, coalesce(nullif($5, 0), s.quantity) AS quantity) o"
		" CROSS JOIN LATERAL (SELECT coalesce(max(d.part_no), 0) AS last FROM billing.due_part d"
		"    WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id) n"
		" CROSS JOIN LATERAL (SELECT c.* FROM billing.change_cut(s.tenant_id, s.subscription_id, $3, o.plan_id) c OFFSET 0) c"
		" LEFT JOIN LATERAL (SELECT b.* FROM billing.change_start(s.tenant_id, s.subscription_id, $3, o.plan_id) b WHERE $7) b ON true"
		" CROSS JOIN LATERAL (SELECT 'ended' AS kind, s.plan_id, s.quantity, c.arrears, c.arrears_whole, NULL::tstzrange AS advance,"
		"    NULL::tstzrange AS advance_whole, c.step_arrears, c.step_arrears_whole, NULL::tstzrange AS step_advance,"
		"    NULL::tstzrange AS step_advance_whole"
		"   UNION ALL SELECT 'begun', o.plan_id, o.quantity, NULL, NULL, c.advance, c.advance_whole, NULL, NULL, c.step_advance,"
		"    c.step_advance_whole WHERE $6 AND NOT $7 AND num_nonnulls(c.advance, c.step_advance) > 0"
		"   UNION ALL SELECT 'begun', o.plan_id, o.quantity, NULL, NULL, b.advance, b.advance_whole, NULL, NULL, b.step_advance,"
		"    b.step_advance_whole WHERE $7) x",
		.expected = SPI_OK_INSERT,
		.by_key = true,
		.nargs = 7,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, INT8OID, INT4OID, BOOLOID, BOOLOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {
		tenant_ids, subscription_ids, TimestampTzGetDatum(at), Int64GetDatum(plan_id), Int32GetDatum(quantity),
		BoolGetDatum(begins == BILLING_BEGINS_REST), BoolGetDatum(begins == BILLING_BEGINS_ANEW)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * billing_part_resume
 *		See due_part.h.  What is paid still is the period in which the pause began, and the
 *		step in which it did.
 */
void
billing_part_resume(int64 tenant_id, int64 subscription_id, TimestampTz at, bool was_credited)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.due_part (tenant_id, subscription_id, part_no, kind, changed_at, plan_id, quantity, timezone,"
		"  advance, advance_whole, step_advance, step_advance_whole, is_pending)"
		" SELECT s.tenant_id, s.subscription_id, (SELECT coalesce(max(d.part_no), 0) + 1 FROM billing.due_part d"
		"    WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id),"
		"  'begun', $3, s.plan_id, s.quantity, t.timezone, x.advance, CASE WHEN x.advance IS NOT NULL THEN c.advance_whole END,"
		"  x.step_advance, CASE WHEN x.step_advance IS NOT NULL THEN c.step_advance_whole END, true"
		" FROM billing.subscription s"
		" JOIN billing.tenant t ON t.tenant_id = s.tenant_id"
		" CROSS JOIN LATERAL (SELECT c.* FROM billing.resume_cut(s.tenant_id, s.subscription_id, $3) c OFFSET 0) c"
		" CROSS JOIN LATERAL (SELECT CASE WHEN ($4 OR lower(coalesce(c.advance_whole, c.advance)) >= s.paused_at) AND NOT upper_inf(c.advance)"
		"      THEN c.advance END AS advance,"
		"    CASE WHEN $4 OR lower(coalesce(c.step_advance_whole, c.step_advance)) >= s.paused_at THEN c.step_advance END AS step_advance) x"
		" WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND num_nonnulls(x.advance, x.step_advance) > 0",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, BOOLOID},
	};
	Datum		args[] = {
		Int64GetDatum(tenant_id), Int64GetDatum(subscription_id), TimestampTzGetDatum(at), BoolGetDatum(was_credited)
	};

	(void) billing_spi_run(&query, args, NULL);
}

void
billing_part_take_back(BillingFlow *flow, int64 subscription_id, TimestampTz at, const char *reason)
{
	BillingDrafts drafts;

	bool		has_drafts;

	cut_parts(flow->tenant_id, subscription_id, at);
	has_drafts = cut_drafts(flow->tenant_id, subscription_id, at, &drafts);
	credit(flow, subscription_id, at, reason);
	/* Behind the credit: prices that were corrected are booked of the time that is left. */
	if (has_drafts)
		billing_draft_recalculate(drafts);
}

/* What waits, or is in a draft, ends at at; what lies behind it is gone. */
static void
cut_parts(int64 tenant_id, int64 subscription_id, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.due_part d SET"
		"  advance = CASE WHEN lower(d.advance) < $3 THEN d.advance * tstzrange(NULL, $3) END,"
		"  advance_whole = CASE WHEN lower(d.advance) < $3 THEN"
		"    CASE WHEN upper(d.advance) > $3 THEN coalesce(d.advance_whole, d.advance) ELSE d.advance_whole END END,"
		"  step_advance = CASE WHEN lower(d.step_advance) < $3 THEN d.step_advance * tstzrange(NULL, $3) END,"
		"  step_advance_whole = CASE WHEN lower(d.step_advance) < $3 THEN"
		"    CASE WHEN upper(d.step_advance) > $3 THEN coalesce(d.step_advance_whole, d.step_advance) ELSE d.step_advance_whole END END"
		" WHERE d.tenant_id = $1 AND d.subscription_id = $2 AND (upper(d.advance) > $3 OR upper(d.step_advance) > $3)"
		"   AND (d.is_pending OR EXISTS (SELECT FROM billing.invoice v"
		"     WHERE v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id AND v.status = 'draft'))",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(subscription_id), TimestampTzGetDatum(at)};

	(void) billing_spi_run(&query, args, NULL);
}

/* The same of what drafts bill at their own boundary; which drafts are to be calculated again for any of it. */
static bool
cut_drafts(int64 tenant_id, int64 subscription_id, TimestampTz at, BillingDrafts *drafts)
{
	static BillingQuery query = {
		.sql = "WITH draft AS ("
		"  SELECT v.tenant_id, v.invoice_id FROM billing.invoice v"
		"   WHERE v.tenant_id = $1 AND v.subscription_id = $2 AND v.status = 'draft'"
		"), cut AS ("
		"  UPDATE billing.calculation_log l SET"
		"    advance = CASE WHEN lower(l.advance) < $3 THEN l.advance * tstzrange(NULL, $3) END,"
		"    advance_whole = CASE WHEN lower(l.advance) < $3 THEN"
		"      CASE WHEN upper(l.advance) > $3 THEN coalesce(l.advance_whole, l.advance) ELSE l.advance_whole END END,"
		"    step_advance = CASE WHEN lower(l.step_advance) < $3 THEN l.step_advance * tstzrange(NULL, $3) END,"
		"    step_advance_whole = CASE WHEN lower(l.step_advance) < $3 THEN"
		"      CASE WHEN upper(l.step_advance) > $3 THEN coalesce(l.step_advance_whole, l.step_advance) ELSE l.step_advance_whole END END"
		"  FROM draft d WHERE l.tenant_id = d.tenant_id AND l.invoice_id = d.invoice_id"
		"    AND (upper(l.advance) > $3 OR upper(l.step_advance) > $3)"
		") SELECT array_agg(d.tenant_id ORDER BY d.invoice_id), array_agg(d.invoice_id ORDER BY d.invoice_id) FROM draft d",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(subscription_id), TimestampTzGetDatum(at)};
	MemoryContext context = CurrentMemoryContext;

	(void) billing_spi_run(&query, args, NULL);
	drafts->tenant_ids = billing_spi_copy(0, 1, context);
	drafts->invoice_ids = billing_spi_copy(0, 2, context);
	return drafts->invoice_ids != (Datum) 0;
}

/* A credit note for each final invoice that charged beyond at. */
static void
credit(BillingFlow *flow, int64 subscription_id, TimestampTz at, const char *reason)
{
	static BillingQuery query = {
		.sql = "SELECT u.invoice_id, u.line, u.amount, u.period_start, u.period_end FROM billing.unused_lines($1, $2, $3) u"
		" ORDER BY u.invoice_id, u.line",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(subscription_id), TimestampTzGetDatum(at)};
	uint64		count = billing_spi_run(&query, args, NULL);
	BillingCreditLine *lines = palloc0((count + 1) * sizeof(BillingCreditLine));
	int64	   *invoices = palloc((count + 1) * sizeof(int64));
	BillingCreditTo to = {.destination = BILLING_CREDIT_BALANCE};
	bool		isnull;
	int			first = 0;

	for (uint64 i = 0; i < count; i++)
	{
		invoices[i] = DatumGetInt64(billing_spi_value(i, 1, &isnull));
		lines[i].line = DatumGetInt32(billing_spi_value(i, 2, &isnull));
		lines[i].amount = *DatumGetBillingAmountP(billing_spi_value(i, 3, &isnull));
		lines[i].period_start = DatumGetTimestampTz(billing_spi_value(i, 4, &isnull));
		lines[i].period_end = DatumGetTimestampTz(billing_spi_value(i, 5, &isnull));
		lines[i].is_unused = true;
	}
	for (int i = 1; i <= count; i++)
	{
		if (i < count && invoices[i] == invoices[first])
			continue;
		(void) billing_credit_note_issue(flow->tenant_id, invoices[first], lines + first, i - first, to,
										 CStringGetTextDatum(reason));
		first = i;
	}
}

void
billing_part_bill(Datum tenant_ids, Datum subscription_ids, TimestampTz at)
{
	BillingDrafts drafts;

	if (!make_drafts(tenant_ids, subscription_ids, at, &drafts))
		return;
	billing_draft_recalculate(drafts);
	delete_empty(drafts);
	billing_event_emit_all("invoice.created", drafts.tenant_ids, drafts.invoice_ids);
	billing_draft_finalize(billing_draft_find_ready(drafts), at);
}

/*
 * make_drafts
 *		Empty drafts that have the parts which wait; false if there are none.
 *
 * Of several changes at one instant each has a boundary of its own, as close as can be.
 */
static bool
make_drafts(Datum tenant_ids, Datum subscription_ids, TimestampTz at, BillingDrafts *drafts)
{
	static BillingQuery query = {
		.sql = "WITH made AS ("
		"  INSERT INTO billing.invoice (tenant_id, biz_key, kind, subscription_id, plan_id, status, currency, period_start,"
		"    period_end, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied, paid)"
		"  SELECT s.tenant_id, billing.biz_key(s.subscription_id, b.boundary, 'change', 1), 'change', s.subscription_id, s.plan_id,"
		"    'draft', s.currency, coalesce(p.since, b.boundary), b.boundary, 0, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing,"
		"    z.nothing, z.nothing, z.nothing"
		"  FROM unnest($1, $2) k (tenant_id, subscription_id)"
		"  JOIN billing.subscription s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id"
		"  CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, s.currency) AS nothing) z"
		"  CROSS JOIN LATERAL (SELECT min(coalesce(lower(d.arrears), lower(d.step_arrears))) AS since FROM billing.due_part d"
		"    WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id AND d.is_pending"
		"    HAVING count(*) > 0) p"
		"  CROSS JOIN LATERAL (SELECT greatest($3, max(i.period_end) + interval '1 microsecond') AS boundary FROM billing.invoice i"
		"    WHERE i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id AND i.kind = 'change') b"
		"  ORDER BY s.tenant_id, s.subscription_id"
		"  RETURNING tenant_id, invoice_id, subscription_id"
		"), logged AS ("
		"  INSERT INTO billing.calculation_log (tenant_id, invoice_id, quantity, timezone, inputs, hash, calculated_at)"
		"  SELECT m.tenant_id, m.invoice_id, s.quantity, t.timezone, '', '', billing.now()"
		"  FROM made m JOIN billing.tenant t ON t.tenant_id = m.tenant_id"
		"  JOIN billing.subscription s ON s.tenant_id = m.tenant_id AND s.subscription_id = m.subscription_id"
		"), billed AS ("
		"  UPDATE billing.due_part d SET is_pending = false, invoice_id = m.invoice_id FROM made m"
		"   WHERE d.tenant_id = m.tenant_id AND d.subscription_id = m.subscription_id AND d.is_pending"
		") SELECT array_agg(m.tenant_id ORDER BY m.tenant_id, m.invoice_id), array_agg(m.invoice_id ORDER BY m.tenant_id, m.invoice_id)"
		"  FROM made m",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {tenant_ids, subscription_ids, TimestampTzGetDatum(at)};
	MemoryContext context = CurrentMemoryContext;

	(void) billing_spi_run(&query, args, NULL);
	drafts->tenant_ids = billing_spi_copy(0, 1, context);
	drafts->invoice_ids = billing_spi_copy(0, 2, context);
	return drafts->invoice_ids != (Datum) 0;
}

/* Of a table with tenant_id and invoice_id, the rows of invoices ($1, $2). */
#define OF_INVOICES(table) \
	" FROM unnest($1, $2) k (tenant_id, invoice_id) WHERE " table ".tenant_id = k.tenant_id AND " table ".invoice_id = k.invoice_id"
#define USING_INVOICES(table) \
	" USING unnest($1, $2) k (tenant_id, invoice_id) WHERE " table ".tenant_id = k.tenant_id AND " table ".invoice_id = k.invoice_id"

#define LET_GO(text, result) { \
	.sql = text, .expected = result, .by_key = true, .nargs = 2, .argtypes = {INT8ARRAYOID, INT8ARRAYOID}, .options = CURSOR_OPT_GENERIC_PLAN \
}

/*
 * delete_empty
 *		Parts of plans that have no such price make no line, and so no invoice, whatever
 *		taxes it would bear.  Late usage that changed no amount waits for the next one.
 */
static void
delete_empty(BillingDrafts drafts)
{
	static BillingQuery queries[] = {
		LET_GO("DELETE FROM billing.calculation_log l" USING_INVOICES("l"), SPI_OK_DELETE),
		LET_GO("DELETE FROM billing.invoice_tax t" USING_INVOICES("t"), SPI_OK_DELETE),
		LET_GO("UPDATE billing.due_part d SET invoice_id = NULL" OF_INVOICES("d"), SPI_OK_UPDATE),
		LET_GO("UPDATE billing.usage_late l SET invoice_id = NULL" OF_INVOICES("l"), SPI_OK_UPDATE),
		LET_GO("UPDATE billing.rerated_line r SET invoice_id = NULL, used_to = NULL" OF_INVOICES("r"), SPI_OK_UPDATE),
	};
	static BillingQuery invoice = LET_GO("DELETE FROM billing.invoice v" USING_INVOICES("v"), SPI_OK_DELETE);
	Datum		empty[2];

	if (!find_empty(drafts, empty))
		return;
	for (int i = 0; i < lengthof(queries); i++)
		(void) billing_spi_run(&queries[i], empty, NULL);
	billing_reference_delete_own(&invoice, empty);
}

/* Those without a line; false if there are none. */
static bool
find_empty(BillingDrafts drafts, Datum *found)
{
	static BillingQuery query = LET_GO("SELECT array_agg(v.tenant_id), array_agg(v.invoice_id) FROM unnest($1, $2) k (tenant_id, invoice_id)"
									   "  JOIN billing.invoice v ON v.tenant_id = k.tenant_id AND v.invoice_id = k.invoice_id"
									   " WHERE v.item_count = 0", SPI_OK_SELECT);
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};
	MemoryContext context = CurrentMemoryContext;

	(void) billing_spi_run(&query, args, NULL);
	found[0] = billing_spi_copy(0, 1, context);
	found[1] = billing_spi_copy(0, 2, context);
	return found[0] != (Datum) 0;
}
