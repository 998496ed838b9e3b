/*-------------------------------------------------------------------------
 *
 * draft.c
 *	  Drafts: calculated again, and made final, a set at a time.
 *
 * One invoice is a set of one.  Each step is one statement over the whole set, in
 * the order of lines, totals, log, number, counter, ledger; none depends on how
 * many there are.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "id.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "aside.h"
#include "attempt.h"
#include "coupon.h"
#include "draft.h"
#include "draw.h"
#include "event.h"
#include "invoice.h"
#include "notice.h"
#include "result.h"
#include "subscription.h"
#include "tax_rate.h"
#include "wake.h"
#include "usage.h"

BILLING_FUNCTION(billing_finalize_batch);
BILLING_FUNCTION(billing_rebuild_invoice);

/* Drafts that are old enough at an instant. */
typedef struct Ready
{
	BillingDrafts drafts;
	TimestampTz at;
} Ready;

/* A statement of ($1 tenants, $2 invoices), for which a generic plan is right. */
#define STEP(text, result) \
	{ \
		.sql = (text), \
		.expected = (result), \
		.by_key = true, \
		.nargs = 2, \
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID}, \
		.options = CURSOR_OPT_GENERIC_PLAN, \
	}

static uint64 run_step(BillingQuery *query, BillingDrafts drafts);
static BillingDrafts *split_rounds(BillingDrafts drafts, uint64 *count);
static void delete_lines(BillingDrafts drafts);
static void insert_lines(BillingDrafts drafts);
static void recalculate_round(BillingDrafts drafts);
static void book_late(BillingDrafts drafts);
static void mark_rates(BillingDrafts drafts);
static void freeze(BillingDrafts drafts, TimestampTz at);
static void link_chain(BillingDrafts drafts);
static void number(BillingDrafts drafts);
static void advance_counters(BillingDrafts drafts);
static void post(BillingDrafts drafts);
static bool grant_excess(BillingDrafts drafts);
static void settle_zero(BillingDrafts drafts);
static void tell(BillingDrafts drafts);
static void tell_excess(BillingDrafts drafts);
static void activate(BillingDrafts drafts, TimestampTz at);
static int64 make_revision(BillingFlow *flow, int64 invoice_id);
static int64 claim(FunctionCallInfo fcinfo, BillingDrafts *drafts, int64 *tenant_id, int64 *invoice_id);
static void finish_some(void *set, int from, int count);
static void report(void *set, int which, const ErrorData *error);
static Datum read_lines(int64 tenant_id, int64 invoice_id);
static void put_changes(FunctionCallInfo fcinfo, int64 tenant_id, int64 invoice_id, Datum before);
static void put_differences(FunctionCallInfo fcinfo, int64 tenant_id, int64 invoice_id);
static void put_rows(FunctionCallInfo fcinfo, uint64 count);

BillingDrafts
billing_draft_make(int64 tenant_id, int64 invoice_id)
{
	BillingDrafts drafts = {billing_id_array_of(tenant_id), billing_id_array_of(invoice_id)};

	return drafts;
}

/*
 * billing_draft_recalculate
 *		See draft.h.  Usage is compacted first, under the snapshot that reads it.
 *
 * What a draft adjusts may be a line of the draft before it, so that one is written
 * first.  There are as many rounds as one subscription has drafts in the set.
 */
void
billing_draft_recalculate(BillingDrafts drafts)
{
	BillingDrafts *rounds;
	uint64		count;

	billing_tax_rate_hold();
	PushActiveSnapshot(GetTransactionSnapshot());
	billing_usage_compact(drafts.tenant_ids);
	rounds = split_rounds(drafts, &count);
	for (uint64 i = 0; i < count; i++)
	{
		recalculate_round(rounds[i]);
		CHECK_FOR_INTERRUPTS();
	}
	PopActiveSnapshot();
}

/*
 * split_rounds
 *		The first draft of each subscription in the set, then the second of each, and so on.
 *
 * An interim invoice stays as it is once a later one took it off, or billed the
 * difference to it: what is known since is that one's.
 */
static BillingDrafts *
split_rounds(BillingDrafts drafts, uint64 *count)
{
	static BillingQuery query = STEP(
									 "SELECT array_agg(r.tenant_id ORDER BY r.tenant_id, r.invoice_id),"
									 "       array_agg(r.invoice_id ORDER BY r.tenant_id, r.invoice_id)"
									 "  FROM (SELECT i.tenant_id, i.invoice_id, row_number() OVER (PARTITION BY i.tenant_id, i.subscription_id"
									 "                 ORDER BY i.invoice_id) AS round"
									 "          FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "          JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id"
									 "         WHERE i.kind <> 'threshold' OR NOT EXISTS (SELECT FROM billing.invoice v"
									 "           JOIN billing.invoice_item n ON n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id"
									 "           WHERE v.tenant_id = i.tenant_id AND v.subscription_id = i.subscription_id"
									 "             AND v.invoice_id > i.invoice_id AND v.status <> 'void'"
									 "             AND (n.kind = 'interim_credit' AND n.adjusts_invoice_id = i.invoice_id"
									 "               OR n.kind = 'interim' AND v.plan_id = i.plan_id AND v.period_start = i.period_start))) r"
									 " GROUP BY r.round ORDER BY r.round",
									 SPI_OK_SELECT);
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};
	BillingDrafts *rounds;

	*count = billing_spi_run_snapshot(&query, args, NULL);
	rounds = palloc((*count + 1) * sizeof(BillingDrafts));
	for (uint64 i = 0; i < *count; i++)
	{
		rounds[i].tenant_ids = billing_spi_copy(i, 1, CurrentMemoryContext);
		rounds[i].invoice_ids = billing_spi_copy(i, 2, CurrentMemoryContext);
	}
	return rounds;
}

static void
recalculate_round(BillingDrafts drafts)
{
	book_late(drafts);
	delete_lines(drafts);
	insert_lines(drafts);
	billing_draft_compose(drafts);
	billing_draft_log(drafts);
}

void
billing_draft_finalize(BillingDrafts drafts, TimestampTz at)
{
	bool		has_excess;

	PushActiveSnapshot(GetTransactionSnapshot());
	freeze(drafts, at);
	billing_draft_log(drafts);
	billing_draft_add_counters(drafts.tenant_ids);
	link_chain(drafts);
	number(drafts);
	advance_counters(drafts);
	post(drafts);
	has_excess = grant_excess(drafts);
	billing_draw(drafts, at);
	settle_zero(drafts);
	tell(drafts);
	if (has_excess)
		tell_excess(drafts);
	activate(drafts, at);
	PopActiveSnapshot();
}

static uint64
run_step(BillingQuery *query, BillingDrafts drafts)
{
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};

	return billing_spi_run_snapshot(query, args, NULL);
}

static void
delete_lines(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "DELETE FROM billing.invoice_item i USING unnest($1, $2) d (tenant_id, invoice_id)"
									 " WHERE i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.kind <> 'manual'",
									 SPI_OK_DELETE);

	(void) run_step(&query, drafts);
}

/*
 * insert_lines
 *		The calculated lines, and behind them those of a person, in new numbers.
 *
 * Numbering sorts, and so the last old line is gone before the first one is written.
 */
static void
insert_lines(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "WITH kept AS ("
									 "  DELETE FROM billing.invoice_item i USING unnest($1, $2) d (tenant_id, invoice_id)"
									 "   WHERE i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id RETURNING i.*"
									 ") INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, price_code, meter, description,"
									 "  quantity, unit_amount, amount, period_start, period_end, usage_events, usage_digest,"
									 "  adjusts_invoice_id, adjusts_line, plan_id, tax_category, discount, tax)"
									 " SELECT l.tenant_id, l.invoice_id, row_number() OVER (PARTITION BY l.tenant_id, l.invoice_id ORDER BY l.part, l.n),"
									 "  l.kind, l.price_code, l.meter, l.description, l.quantity, l.unit_amount, l.amount, l.period_start,"
									 "  l.period_end, l.usage_events, l.usage_digest, l.adjusts_invoice_id, l.adjusts_line, l.plan_id, l.tax_category,"
									 "  l.nothing, l.nothing"
									 "  FROM (SELECT d.tenant_id, d.invoice_id, 1 AS part, billing.from_minor_units(0, v.currency) AS nothing, r.*"
									 "          FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "          JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id"
									 "          JOIN billing.calculation_log c ON c.tenant_id = d.tenant_id AND c.invoice_id = d.invoice_id"
									 "         CROSS JOIN LATERAL (SELECT row_number() OVER () AS n, x.kind, x.price_code, x.meter, x.description,"
									 "                 x.quantity, x.unit_amount, x.amount, x.period_start, x.period_end, x.usage_events,"
									 "                 x.usage_digest, x.adjusts_invoice_id, x.adjusts_line, x.priced_by AS plan_id, x.tax_category"
									 "                 FROM billing.known_lines(v.tenant_id, v.invoice_id, v.subscription_id, v.plan_id, v.currency,"
									 "                   c.quantity, c.timezone, c.arrears, c.arrears_whole, c.advance, c.advance_whole, c.step_arrears,"
									 "                   c.step_arrears_whole, c.step_advance, c.step_advance_whole) x) r"
									 "         UNION ALL"
									 "        SELECT k.tenant_id, k.invoice_id, 2, k.amount - k.amount, k.line, k.kind, k.price_code, k.meter, k.description,"
									 "               k.quantity, k.unit_amount, k.amount, k.period_start, k.period_end, k.usage_events, k.usage_digest,"
									 "               k.adjusts_invoice_id, k.adjusts_line, k.plan_id, k.tax_category FROM kept k) l",
									 SPI_OK_INSERT);

	(void) run_step(&query, drafts);
}

/*
 * book_late
 *		Take usage that came late into the drafts that can bill it.
 *
 * Those are the last to know of it: where a later invoice has the line it belongs to (an
 * interim one has none of what had cost nothing, so that its period tells), or has booked
 * late usage of the meter or a corrected price of the line, that one's lines would not
 * follow from this draft's any more.  It waits for the next invoice then.  So it is with
 * prices that were corrected; of those that the draft has, a line may have been credited
 * since for time that is not used.
 */
static void
book_late(BillingDrafts drafts)
{
	static BillingQuery rerated = STEP(
									   "UPDATE billing.rerated_line r SET invoice_id = i.invoice_id,"
									   "       used_to = billing.line_used_to(r.tenant_id, r.adjusts_invoice_id, r.adjusts_line)"
									   "  FROM unnest($1, $2) d (tenant_id, invoice_id)"
									   "  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id"
									   " WHERE r.tenant_id = i.tenant_id AND r.subscription_id = i.subscription_id"
									   "   AND coalesce(r.invoice_id, i.invoice_id) = i.invoice_id AND r.adjusts_invoice_id < i.invoice_id"
									   "   AND NOT EXISTS (SELECT FROM billing.invoice v"
									   "     JOIN billing.invoice_item n ON n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id"
									   "     WHERE v.tenant_id = i.tenant_id AND v.subscription_id = i.subscription_id AND v.invoice_id > i.invoice_id"
									   "       AND v.status <> 'void' AND n.adjusts_invoice_id = r.adjusts_invoice_id"
									   "       AND n.adjusts_line = r.adjusts_line)"
									   "   AND NOT EXISTS (SELECT FROM billing.usage_late o JOIN billing.invoice_item n ON n.meter = o.meter"
									   "       AND o.at >= n.period_start AND o.at < n.period_end"
									   "     WHERE o.tenant_id = i.tenant_id AND o.subscription_id = i.subscription_id AND o.invoice_id > i.invoice_id"
									   "       AND n.tenant_id = r.tenant_id AND n.invoice_id = r.adjusts_invoice_id AND n.line = r.adjusts_line)",
									   SPI_OK_UPDATE);
	static BillingQuery query = STEP(
									 "UPDATE billing.usage_late l SET invoice_id = i.invoice_id"
									 "  FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id"
									 " WHERE l.tenant_id = i.tenant_id AND l.subscription_id = i.subscription_id AND l.invoice_id IS NULL"
									 "   AND NOT EXISTS (SELECT FROM billing.usage_late o"
									 "     WHERE o.tenant_id = l.tenant_id AND o.subscription_id = l.subscription_id AND o.meter = l.meter"
									 "       AND o.invoice_id > i.invoice_id)"
									 "   AND NOT EXISTS (SELECT FROM billing.rerated_line o"
									 "     JOIN billing.invoice_item n ON n.tenant_id = o.tenant_id AND n.invoice_id = o.adjusts_invoice_id"
									 "       AND n.line = o.adjusts_line"
									 "     WHERE o.tenant_id = l.tenant_id AND o.subscription_id = l.subscription_id AND o.invoice_id > i.invoice_id"
									 "       AND n.meter = l.meter AND l.at >= n.period_start AND l.at < n.period_end)"
									 "   AND NOT EXISTS (SELECT FROM billing.invoice v"
									 "     JOIN billing.invoice_item n ON n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id"
									 "     WHERE v.tenant_id = i.tenant_id AND v.subscription_id = i.subscription_id AND v.invoice_id > i.invoice_id"
									 "       AND v.status <> 'void' AND CASE v.kind WHEN 'threshold' THEN l.at >= v.period_start AND l.at < v.period_end"
									 "         ELSE n.kind = 'usage' AND n.meter = l.meter AND l.at >= n.period_start AND l.at < n.period_end END)",
									 SPI_OK_UPDATE);

	(void) run_step(&query, drafts);
	(void) run_step(&rerated, drafts);
}

/*
 * billing_draft_compose
 *		Taxes, sums and total of the drafts, and the shares of their lines.
 *
 * A draft's coupons state the discounts of its lines first.  Its taxes are chosen
 * anew: they are those of the day on which it is calculated.
 */
void
billing_draft_compose(BillingDrafts drafts)
{
	static BillingQuery discard = STEP(
									   "DELETE FROM billing.invoice_tax t USING unnest($1, $2) d (tenant_id, invoice_id)"
									   " WHERE t.tenant_id = d.tenant_id AND t.invoice_id = d.invoice_id",
									   SPI_OK_DELETE);
	static BillingQuery query = STEP(
									 "WITH composed AS MATERIALIZED ("
									 "  SELECT v.tenant_id, v.invoice_id, n.lines, x.taxes, (c.composed).*"
									 "    FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "    JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id"
									 "   CROSS JOIN LATERAL (SELECT count(*)::integer AS lines, coalesce(array_agg(m.amount ORDER BY m.line), '{}') AS amounts,"
									 "           coalesce(array_agg(m.discount ORDER BY m.line), '{}') AS discounts,"
									 "           array_agg(m.tax_category ORDER BY m.line) AS categories"
									 "           FROM billing.invoice_item m WHERE m.tenant_id = v.tenant_id AND m.invoice_id = v.invoice_id) n"
									 "   CROSS JOIN LATERAL (SELECT billing.choose_taxes(v.tenant_id, n.categories) AS taxes OFFSET 0) x"
									 "   CROSS JOIN LATERAL (SELECT billing.compose(v.currency, n.amounts, n.discounts, x.taxes) AS composed OFFSET 0) c"
									 "), item AS ("
									 "  UPDATE billing.invoice_item i SET tax = c.line_taxes[i.line], tax_included = c.line_included[i.line]"
									 "    FROM composed c WHERE i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id"
									 "     AND (i.tax <> c.line_taxes[i.line] OR i.tax_included IS DISTINCT FROM c.line_included[i.line])"
									 "), tax AS ("
									 "  INSERT INTO billing.invoice_tax (tenant_id, invoice_id, line_no, tax_rate, percent, is_inclusive, lines, base, amount, note)"
									 "  SELECT c.tenant_id, c.invoice_id, t.n, t.tax_rate, t.percent, t.is_inclusive, t.lines, c.tax_bases[t.n],"
									 "         c.tax_amounts[t.n], t.note"
									 "    FROM composed c"
									 "   CROSS JOIN LATERAL unnest(c.taxes) WITH ORDINALITY t (tax_rate, percent, is_inclusive, lines, note, n)"
									 ") UPDATE billing.invoice i SET item_count = c.lines, tax_count = cardinality(c.taxes), subtotal = c.subtotal,"
									 "       discount = c.discount, tax = c.tax, tax_included = c.tax_included, tax_percent = c.tax_percent,"
									 "       total = c.total, excess = c.excess, version = i.version + 1"
									 "  FROM composed c WHERE i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id",
									 SPI_OK_UPDATE);

	billing_coupon_discount(drafts);
	(void) run_step(&discard, drafts);
	(void) run_step(&query, drafts);
	mark_rates(drafts);
}

/* Rates that a draft states for the first time. */
static void
mark_rates(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "SELECT DISTINCT t.tax_rate FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "  JOIN billing.invoice_tax t ON t.tenant_id = d.tenant_id AND t.invoice_id = d.invoice_id"
									 "  JOIN billing.tax_rate r ON r.code = t.tax_rate AND r.used_at IS NULL",
									 SPI_OK_SELECT);
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};
	uint64		count = billing_spi_run_snapshot(&query, args, NULL);
	List	   *codes = NIL;
	bool		isnull;

	for (uint64 i = 0; i < count; i++)
		codes = lappend(codes, makeString(TextDatumGetCString(billing_spi_value(i, 1, &isnull))));
	billing_tax_rate_mark_used(codes);
}

void
billing_draft_log(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "INSERT INTO billing.calculation_log AS l (tenant_id, invoice_id, inputs, hash, party_salt, calculated_at)"
									 " SELECT s.tenant_id, s.invoice_id, s.inputs, sha256(convert_to(s.inputs, 'UTF8')), s.salt, billing.now()"
									 "   FROM (SELECT p.*, billing.invoice_inputs(p.tenant_id, p.invoice_id, p.salt) AS inputs"
									 "           FROM (SELECT d.tenant_id, d.invoice_id, gen_random_uuid() AS salt"
									 "                   FROM unnest($1, $2) d (tenant_id, invoice_id) OFFSET 0) p OFFSET 0) s"
									 "     ON CONFLICT (tenant_id, invoice_id) DO UPDATE SET inputs = EXCLUDED.inputs, hash = EXCLUDED.hash,"
									 "        party_salt = EXCLUDED.party_salt, calculated_at = EXCLUDED.calculated_at",
									 SPI_OK_INSERT);

	(void) run_step(&query, drafts);
}

/*
 * freeze
 *		Let the drafts state their dates and parties as they are now.
 *
 * A due date that one states already stays, unless that is past.
 */
static void
freeze(BillingDrafts drafts, TimestampTz at)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET issued_at = $3,"
		"       due_at = greatest(coalesce(i.due_at,"
		"         (($3 AT TIME ZONE s.timezone) + make_interval(days => s.net_days)) AT TIME ZONE s.timezone), $3),"
		"       seller = s.seller, billing_name = s.billing_name, billing_email = s.billing_email,"
		"       billing_address = s.billing_address, tax_id = s.tax_id"
		"  FROM (SELECT v.tenant_id, v.invoice_id, t.*"
		"          FROM unnest($1, $2) d (tenant_id, invoice_id)"
		"          JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id"
		"         CROSS JOIN LATERAL (SELECT x.timezone, x.net_days, x.seller, x.billing_name, x.billing_email,"
		"                 x.billing_address, x.tax_id FROM billing.invoice_terms(v.tenant_id, v.plan_id) x) t) s"
		" WHERE i.tenant_id = s.tenant_id AND i.invoice_id = s.invoice_id",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids, TimestampTzGetDatum(at)};

	(void) billing_spi_run_snapshot(&query, args, NULL);
}

/* Append the calculations to the chains of their tenants, in the order of invoices. */
static void
link_chain(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "UPDATE billing.calculation_log l SET chain_no = s.chain_no, chain_hash = s.chain_hash"
									 "  FROM (SELECT g.tenant_id, g.invoice_id, c.chain_no + row_number() OVER w AS chain_no,"
									 "               billing.chain(c.chain_hash, g.hash) OVER w AS chain_hash"
									 "          FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "          JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.item_count > 0"
									 "          JOIN billing.calculation_log g ON g.tenant_id = d.tenant_id AND g.invoice_id = d.invoice_id"
									 "          JOIN billing.counter c ON c.tenant_id = d.tenant_id"
									 "        WINDOW w AS (PARTITION BY g.tenant_id ORDER BY g.invoice_id)) s"
									 " WHERE l.tenant_id = s.tenant_id AND l.invoice_id = s.invoice_id",
									 SPI_OK_UPDATE);

	(void) run_step(&query, drafts);
}

/*
 * number
 *		Number the drafts and open them.
 *
 * Numbers of one tenant have no gaps: they come from a counter row, not a
 * sequence, so a rollback gives the number back.  The price is that two
 * finalizations for one tenant run one after the other.
 */
static void
number(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "UPDATE billing.invoice i SET status = 'open', number = s.number, version = i.version + 1"
									 "  FROM (SELECT v.tenant_id, v.invoice_id, billing.invoice_number("
									 "                 (SELECT t.invoice_prefix FROM billing.invoice_terms(v.tenant_id, v.plan_id) t), v.tenant_id,"
									 "                 c.invoice_number + row_number() OVER (PARTITION BY v.tenant_id ORDER BY v.invoice_id)) AS number"
									 "          FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "          JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id AND v.item_count > 0"
									 "          JOIN billing.counter c ON c.tenant_id = d.tenant_id) s"
									 " WHERE i.tenant_id = s.tenant_id AND i.invoice_id = s.invoice_id",
									 SPI_OK_UPDATE);

	(void) run_step(&query, drafts);
}

static void
advance_counters(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "UPDATE billing.counter c SET invoice_number = c.invoice_number + s.count, chain_no = s.chain_no,"
									 "       chain_hash = s.chain_hash"
									 "  FROM (SELECT DISTINCT ON (l.tenant_id) l.tenant_id, count(*) OVER (PARTITION BY l.tenant_id) AS count,"
									 "               l.chain_no, l.chain_hash"
									 "          FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "          JOIN billing.calculation_log l ON l.tenant_id = d.tenant_id AND l.invoice_id = d.invoice_id"
									 "         WHERE l.chain_no IS NOT NULL"
									 "         ORDER BY l.tenant_id, l.chain_no DESC) s"
									 " WHERE c.tenant_id = s.tenant_id",
									 SPI_OK_UPDATE);

	(void) run_step(&query, drafts);
}

static void
post(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, at, accounts, amounts)"
									 " SELECT d.tenant_id, d.invoice_id, 'invoice', d.invoice_id, p.at, p.accounts, p.amounts"
									 "   FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "   JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.status = 'open'"
									 "  CROSS JOIN LATERAL billing.invoice_posting(d.tenant_id, d.invoice_id) p",
									 SPI_OK_INSERT);

	(void) run_step(&query, drafts);
}

/* False: there is none. */
static bool
grant_excess(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "WITH made AS ("
									 "  INSERT INTO billing.credit_grant (tenant_id, grant_id, amount, balance, source, invoice_id, renews_at)"
									 "  SELECT i.tenant_id, i.invoice_id, i.excess, i.excess, 'invoice', i.invoice_id, billing.now()"
									 "    FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "    JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id"
									 "   WHERE i.status = 'open' AND billing.minor_units(i.excess) > 0"
									 "  RETURNING tenant_id, grant_id, amount, effective_at"
									 "), flagged AS ("
									 "  UPDATE billing.counter c SET has_credit = true FROM made m"
									 "   WHERE c.tenant_id = m.tenant_id AND NOT c.has_credit"
									 ") INSERT INTO billing.wallet_entry (tenant_id, entry_id, grant_id, kind, amount, at)"
									 " SELECT m.tenant_id, m.grant_id, m.grant_id, 'grant', m.amount, m.effective_at FROM made m",
									 SPI_OK_INSERT);

	return run_step(&query, drafts) > 0;
}

/* Where nothing is due, there is nothing to be paid. */
static void
settle_zero(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "UPDATE billing.invoice i SET status = 'paid', paid_at = i.issued_at"
									 "  FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 " WHERE i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.status = 'open'"
									 "   AND billing.minor_units(i.amount_due) = 0",
									 SPI_OK_UPDATE);

	(void) run_step(&query, drafts);
}

/* Those that are final: one that owes nothing is paid, too. */
static void
tell(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 BILLING_EVENT_WRITE(
														 "noticed AS (" BILLING_NOTICE_WRITE_INVOICES(
																									  "SELECT i FROM unnest($1, $2) d (tenant_id, invoice_id)"
																									  "  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id")
														 "), happened AS (SELECT i.tenant_id, e.type, billing.invoice_object(i) AS object, NULL::bigint AS event_id"
														 "  FROM unnest($1, $2) WITH ORDINALITY d (tenant_id, invoice_id, n)"
														 "  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.status <> 'draft'"
														 " CROSS JOIN LATERAL unnest(CASE i.status WHEN 'paid' THEN ARRAY['invoice.finalized', 'invoice.paid']"
														 "    ELSE ARRAY['invoice.finalized'] END) WITH ORDINALITY e (type, n)"
														 " WHERE " BILLING_EVENT_IS_WANTED("e.type")
														 " ORDER BY d.n, e.n)"),
									 SPI_OK_INSERT);

	(void) run_step(&query, drafts);
	billing_wake_at_commit();
}

/* What they left is a grant with the id of the invoice. */
static void
tell_excess(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 BILLING_EVENT_WRITE(
														 "happened AS (SELECT g.tenant_id, 'wallet.granted' AS type, billing.grant_object(g) AS object, NULL::bigint AS event_id"
														 "  FROM unnest($1, $2) WITH ORDINALITY d (tenant_id, invoice_id, n)"
														 "  JOIN billing.credit_grant g ON g.tenant_id = d.tenant_id AND g.grant_id = d.invoice_id"
														 " WHERE " BILLING_EVENT_IS_WANTED("'wallet.granted'")
														 " ORDER BY d.n)"),
									 SPI_OK_INSERT);

	(void) run_step(&query, drafts);
}

/* A subscription that waits for its first invoice starts where credit paid it. */
static void
activate(BillingDrafts drafts, TimestampTz at)
{
	static BillingQuery query = STEP(
									 "SELECT s.tenant_id, s.subscription_id FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.status = 'paid'"
									 "  JOIN billing.subscription s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id"
									 " WHERE s.status = 'pending' ORDER BY s.tenant_id, s.subscription_id",
									 SPI_OK_SELECT);
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};
	uint64		count = billing_spi_run_snapshot(&query, args, NULL);
	Datum	   *ids = palloc((2 * count + 1) * sizeof(Datum));
	bool		isnull;

	for (uint64 i = 0; i < 2 * count; i++)
		ids[i] = billing_spi_value(i / 2, 1 + i % 2, &isnull);
	for (uint64 i = 0; i < count; i++)
		billing_subscription_activate(DatumGetInt64(ids[2 * i]), DatumGetInt64(ids[2 * i + 1]), at);
}

/*
 * billing_draft_add_counters
 *		See to it that each tenant has a counter: one inserted by hand may have none.
 */
void
billing_draft_add_counters(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.counter (tenant_id)"
		" SELECT DISTINCT d.tenant_id FROM unnest($1) d (tenant_id)"
		"  WHERE NOT EXISTS (SELECT FROM billing.counter c WHERE c.tenant_id = d.tenant_id)"
		"     ON CONFLICT DO NOTHING",
		.expected = SPI_OK_INSERT,
		.by_key = true,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	(void) billing_spi_run_snapshot(&query, &tenant_ids, NULL);
}

/* Of the drafts those that setting finalize_after makes final at once. */
BillingDrafts
billing_draft_find_ready(BillingDrafts drafts)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(array_agg(i.tenant_id ORDER BY i.tenant_id, i.invoice_id), '{}'),"
		"       coalesce(array_agg(i.invoice_id ORDER BY i.tenant_id, i.invoice_id), '{}')"
		"  FROM unnest($1, $2) d (tenant_id, invoice_id)"
		"  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id"
		"  JOIN billing.tenant t ON t.tenant_id = i.tenant_id"
		"  JOIN billing.plan p ON p.plan_id = i.plan_id"
		" CROSS JOIN LATERAL (SELECT billing.effective_setting('finalize_after', t.settings, p.settings) AS value OFFSET 0) f"
		" WHERE CASE f.value WHEN 'never' THEN false ELSE f.value::interval <= '0' END",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};
	MemoryContext context = CurrentMemoryContext;
	BillingDrafts ready;

	(void) billing_spi_run(&query, args, NULL);
	ready.tenant_ids = billing_spi_copy(0, 1, context);
	ready.invoice_ids = billing_spi_copy(0, 2, context);
	return ready;
}

/*
 * billing_draft_reissue
 *		A draft for the same boundary, calculated from its sources, then final at once.
 */
Datum
billing_draft_reissue(BillingFlow *flow, int64 invoice_id)
{
	int64		revision = make_revision(flow, invoice_id);
	BillingDrafts drafts = billing_draft_make(flow->tenant_id, revision);

	billing_draft_recalculate(drafts);
	billing_event_emit(flow->tenant_id, "invoice.created", revision);
	return billing_invoice_finalize(flow, revision);
}

/* A draft with the next revision of an invoice's key and what a person added to that; returns its id. */
static int64
make_revision(BillingFlow *flow, int64 invoice_id)
{
	static BillingQuery draft = {
		.sql = "INSERT INTO billing.invoice (tenant_id, biz_key, kind, subscription_id, plan_id, status, currency, period_start,"
		"  period_end, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied, paid)"
		" SELECT i.tenant_id, billing.biz_key(i.subscription_id, i.period_end, i.kind,"
		"         (regexp_match(i.biz_key, '/([0-9]+)$'))[1]::integer + 1), i.kind, i.subscription_id, i.plan_id, 'draft',"
		"        i.currency, i.period_start, i.period_end, 0, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing, z.nothing,"
		"        z.nothing, z.nothing"
		"   FROM billing.invoice i CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, i.currency) AS nothing) z"
		"  WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING invoice_id",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	static BillingQuery terms = {
		.sql = "INSERT INTO billing.calculation_log (tenant_id, invoice_id, quantity, timezone, arrears, arrears_whole, advance,"
		"  advance_whole, step_arrears, step_arrears_whole, step_advance, step_advance_whole, inputs, hash, calculated_at)"
		" SELECT l.tenant_id, $3, l.quantity, l.timezone, l.arrears, l.arrears_whole, l.advance, l.advance_whole,"
		"        l.step_arrears, l.step_arrears_whole, l.step_advance, l.step_advance_whole, l.inputs, l.hash, billing.now()"
		"   FROM billing.calculation_log l WHERE l.tenant_id = $1 AND l.invoice_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	static BillingQuery lines = {
		.sql = "INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, price_code, description, quantity, unit_amount,"
		"  amount, period_start, period_end, tax_category, discount, tax)"
		" SELECT i.tenant_id, $3, i.line, i.kind, i.price_code, i.description, i.quantity, i.unit_amount, i.amount,"
		"        i.period_start, i.period_end, i.tax_category, i.amount - i.amount, i.amount - i.amount"
		"   FROM billing.invoice_item i WHERE i.tenant_id = $1 AND i.invoice_id = $2 AND i.kind = 'manual'",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	static BillingQuery parts = {
		.sql = "UPDATE billing.due_part SET invoice_id = $3 WHERE tenant_id = $1 AND invoice_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(invoice_id), (Datum) 0};
	bool		isnull;

	(void) billing_spi_run(&draft, args, NULL);
	args[2] = billing_spi_value(0, 1, &isnull);
	(void) billing_spi_run(&terms, args, NULL);
	(void) billing_spi_run(&lines, args, NULL);
	(void) billing_spi_run(&parts, args, NULL);
	return DatumGetInt64(args[2]);
}

/*
 * billing_finalize_batch
 *		Make final the next drafts that are old enough: what billing.bill_due() does
 *		with them in one transaction.
 */
Datum
billing_finalize_batch(PG_FUNCTION_ARGS)
{
	BillingDrafts drafts;
	int64		tenant_id = PG_GETARG_INT64(3);
	int64		invoice_id = PG_GETARG_INT64(4);
	int64		claimed;
	Datum		values[3];
	bool		nulls[3] = {false};


	billing_spi_begin();
	claimed = claim(fcinfo, &drafts, &tenant_id, &invoice_id);
	if (claimed > 0)
	{
		Ready		ready = {drafts, PG_GETARG_TIMESTAMPTZ(0)};

		billing_flow_check_snapshot(drafts.tenant_ids);
		billing_attempt(finish_some, report, &ready, billing_id_count(drafts.invoice_ids));
	}
	billing_spi_end();

	values[0] = Int64GetDatum(claimed);
	values[1] = Int64GetDatum(tenant_id);
	values[2] = Int64GetDatum(invoice_id);
	PG_RETURN_DATUM(billing_result_make(fcinfo, lengthof(values), values, nulls));
}

/* The work of a batch, for some of it. */
static void
finish_some(void *set, int from, int count)
{
	Ready	   *ready = set;
	BillingDrafts some = {
		billing_id_slice(ready->drafts.tenant_ids, from, count),
		billing_id_slice(ready->drafts.invoice_ids, from, count)
	};

	billing_draft_recalculate(some);
	billing_draft_finalize(some, ready->at);
}

static void
report(void *set, int which, const ErrorData *error)
{
	Ready	   *ready = set;
	long long	tenant_id = billing_id_at(ready->drafts.tenant_ids, which);
	long long	invoice_id = billing_id_at(ready->drafts.invoice_ids, which);

	billing_aside_note("bill_due", "invoice", tenant_id, invoice_id, error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("invoice %lld of tenant %lld could not be made final: %s", invoice_id, tenant_id, error->message),
			 errdetail("tenant_id=%lld invoice_id=%lld sqlstate=%s", tenant_id, invoice_id, unpack_sql_state(error->sqlerrcode)),
			 errhint("It stays a draft and is tried again by the next run; the others are final.")));
}

/*
 * claim
 *		Lock the tenants of the next drafts, then see which of these still are.
 */
static int64
claim(FunctionCallInfo fcinfo, BillingDrafts *drafts, int64 *tenant_id, int64 *invoice_id)
{
	static BillingQuery lock[2] = {
		{
			.sql = "SELECT d.tenant_id, d.invoice_id FROM billing.due_drafts($1, $2, $3, $4) d"
			"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
			" ORDER BY d.tenant_id, d.invoice_id FOR NO KEY UPDATE OF t SKIP LOCKED",
			.expected = SPI_OK_SELECT,
			.nargs = 4,
			.argtypes = {TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID},
		},
		{
			.sql = "SELECT d.tenant_id, d.invoice_id FROM billing.due_drafts($1, $2, $3, $4) d"
			"  JOIN billing.tenant t ON t.tenant_id = d.tenant_id"
			" ORDER BY d.tenant_id, d.invoice_id FOR NO KEY UPDATE OF t",
			.expected = SPI_OK_SELECT,
			.nargs = 4,
			.argtypes = {TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID},
		}
	};
	static BillingQuery still = {
		.sql = "SELECT array_agg(i.tenant_id ORDER BY i.tenant_id, i.invoice_id),"
		"       array_agg(i.invoice_id ORDER BY i.tenant_id, i.invoice_id), count(*)"
		"  FROM unnest($1, $2) d (tenant_id, invoice_id)"
		"  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.status = 'draft'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4)};
	MemoryContext context = CurrentMemoryContext;
	int64		last[2];
	int			count = billing_flow_claim(&lock[PG_GETARG_BOOL(2) ? 1 : 0], args, &drafts->tenant_ids, &drafts->invoice_ids, last);
	bool		isnull;

	if (count == 0)
		return 0;
	*tenant_id = last[0];
	*invoice_id = last[1];
	args[0] = drafts->tenant_ids;
	args[1] = drafts->invoice_ids;
	billing_spi_run(&still, args, NULL);
	if (DatumGetInt64(billing_spi_value(0, 3, &isnull)) == 0)
	{
		drafts->tenant_ids = drafts->invoice_ids = PointerGetDatum(construct_empty_array(INT8OID));
		return count;
	}
	drafts->tenant_ids = billing_spi_copy(0, 1, context);
	drafts->invoice_ids = billing_spi_copy(0, 2, context);
	return count;
}

/*
 * billing_rebuild_invoice
 *		Calculate an invoice again: a draft is written anew, a final one compared.
 */
Datum
billing_rebuild_invoice(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	BillingDrafts drafts;
	Datum		result;
	Datum		before;

	if (billing_flow_begin(&flow, fcinfo, "rebuild_invoice", BILLING_NO_REQUEST, &result))
		return result;
	billing_flow_require(fcinfo, 1, "invoice_id");

	billing_invoice_lock(&flow, PG_GETARG_INT64(1), &invoice);
	if (invoice.subscription_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("invoice %lld was not calculated and cannot be rebuilt", (long long) invoice.invoice_id),
				 errdetail("object=invoice id=%lld kind=one_off", (long long) invoice.invoice_id),
				 errhint("A one-off invoice states the lines it was given.")));

	drafts = billing_draft_make(flow.tenant_id, invoice.invoice_id);
	if (strcmp(invoice.status, "draft") == 0)
	{
		before = read_lines(flow.tenant_id, invoice.invoice_id);
		billing_draft_recalculate(drafts);
		put_changes(fcinfo, flow.tenant_id, invoice.invoice_id, before);
	}
	else
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		billing_usage_compact(drafts.tenant_ids);
		PopActiveSnapshot();
		put_differences(fcinfo, flow.tenant_id, invoice.invoice_id);
	}
	(void) billing_flow_end(&flow, (Datum) 0);
	return (Datum) 0;
}

/* The calculated lines of an invoice as jsonb. */
static Datum
read_lines(int64 tenant_id, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(jsonb_agg(i), '[]') FROM billing.invoice_item i"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 AND i.kind <> 'manual'",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id)};
	MemoryContext context = CurrentMemoryContext;

	billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, context);
}

/* Lines of a draft that differ from those it had before. */
static void
put_changes(FunctionCallInfo fcinfo, int64 tenant_id, int64 invoice_id, Datum before)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(n.price_code, o.price_code), coalesce(n.kind, o.kind), coalesce(n.period_start, o.period_start),"
		"       coalesce(n.period_end, o.period_end), o.quantity, n.quantity, o.amount, n.amount,"
		"       coalesce(n.amount, o.amount - o.amount) - coalesce(o.amount, n.amount - n.amount)"
		"  FROM (SELECT * FROM billing.invoice_item i WHERE i.tenant_id = $1 AND i.invoice_id = $2 AND i.kind <> 'manual') n"
		"  FULL JOIN jsonb_populate_recordset(NULL::billing.invoice_item, $3) o"
		"    ON coalesce(o.price_code, '') = coalesce(n.price_code, '') AND o.kind = n.kind AND o.period_start = n.period_start"
		"   AND o.plan_id IS NOT DISTINCT FROM n.plan_id AND o.adjusts_line IS NOT DISTINCT FROM n.adjusts_line AND o.adjusts_invoice_id IS NOT DISTINCT FROM n.adjusts_invoice_id"
		" WHERE o.amount IS DISTINCT FROM n.amount OR o.quantity IS DISTINCT FROM n.quantity"
		" ORDER BY n.line, o.line",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, JSONBOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id), before};

	put_rows(fcinfo, billing_spi_run(&query, args, NULL));
}

/* Lines of a final invoice, with what was adjusted since, that its sources no longer give. */
static void
put_differences(FunctionCallInfo fcinfo, int64 tenant_id, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(n.price_code, o.price_code), coalesce(n.kind, o.kind), coalesce(n.period_start, o.period_start),"
		"       coalesce(n.period_end, o.period_end), o.quantity, n.quantity, o.amount, n.amount,"
		"       coalesce(n.amount, o.amount - o.amount) - coalesce(o.amount, n.amount - n.amount)"
		"  FROM (SELECT r.price_code, r.kind, r.period_start, r.period_end, r.priced_by, r.quantity, coalesce("
		"          (SELECT billing.corrected_amount(v.subscription_id, i, c, r.quantity, r.usage_events, false, NULL, u.used_to)"
		"                 + coalesce(billing.line_unused(i.tenant_id, i.invoice_id, i.line, u.used_to), i.amount - i.amount)"
		"             FROM billing.invoice v JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id"
		"            CROSS JOIN LATERAL billing.line_correction(i.tenant_id, i.invoice_id, i.line, NULL) c"
		"            CROSS JOIN LATERAL (SELECT CASE WHEN i.kind = 'fixed'"
		"              THEN billing.line_used_to(i.tenant_id, i.invoice_id, i.line) END AS used_to) u"
		"            WHERE v.tenant_id = $1 AND v.invoice_id = $2 AND i.kind = r.kind AND i.price_code = r.price_code"
		"              AND i.period_start = r.period_start AND i.plan_id IS NOT DISTINCT FROM r.priced_by), r.amount) AS amount"
		"          FROM billing.recalculated_lines($1, $2) r WHERE r.kind <> 'adjustment') n"
		"  FULL JOIN (SELECT i.price_code, i.kind, i.period_start, i.period_end, i.line, i.plan_id,"
		"               i.quantity + coalesce(sum(a.quantity), 0) AS quantity,"
		"               i.amount + coalesce(sum(a.amount), i.amount - i.amount) AS amount"
		"          FROM billing.invoice_item i JOIN billing.invoice f ON f.tenant_id = i.tenant_id AND f.invoice_id = i.invoice_id"
		"          LEFT JOIN (billing.invoice_item a JOIN billing.invoice v ON v.tenant_id = a.tenant_id"
		"                     AND v.invoice_id = a.invoice_id AND v.status <> 'void')"
		"            ON a.tenant_id = i.tenant_id AND v.subscription_id = f.subscription_id AND a.kind = 'adjustment'"
		"           AND a.price_code = i.price_code AND a.period_start = i.period_start AND a.period_end = i.period_end"
		"           AND a.plan_id = coalesce(i.plan_id, f.plan_id)"
		"         WHERE i.tenant_id = $1 AND i.invoice_id = $2 AND i.kind IN ('fixed', 'usage')"
		"         GROUP BY i.tenant_id, i.invoice_id, i.line) o"
		"    ON o.price_code = n.price_code AND o.kind = n.kind AND o.period_start = n.period_start"
		"   AND o.plan_id IS NOT DISTINCT FROM n.priced_by"
		" WHERE o.amount IS DISTINCT FROM n.amount OR o.quantity IS DISTINCT FROM n.quantity"
		" ORDER BY o.line",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id)};

	put_rows(fcinfo, billing_spi_run(&query, args, NULL));
}

static void
put_rows(FunctionCallInfo fcinfo, uint64 count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
}
