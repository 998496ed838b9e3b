/*-------------------------------------------------------------------------
 *
 * due.c
 *	  Subscriptions at their next boundaries, and the lines that they owe there.
 *
 * Two statements over the set: what is known of each subscription, and, once its boundary
 * is known, its lines.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "lib/qunique.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "change.h"
#include "coupon_due.h"
#include "draft.h"
#include "due.h"
#include "id.h"
#include "spi.h"
#include "store.h"
#include "tax_rate.h"

/* What a plan says; its id comes first. */
#define PLAN_COLUMNS 10

typedef struct PlanTerms
{
	NullableDatum columns[PLAN_COLUMNS];
} PlanTerms;

static int	read_facts(TimestampTz at, BillingDue **dues);
static void mark_changed(BillingDue *dues, int count, const BillingDue *before, int before_count);
static bool have_counters(const BillingDue *dues, int count);
static void read_taxes(BillingDue *dues, int count);
static char *string_of(const BillingDue *due, int fact);
static void read_plans(BillingDue *dues, int count);
static Datum collect_plans(const BillingDue *dues, int count);
static int	compare_ids(const void *a, const void *b);
static const PlanTerms *find_plan(const PlanTerms *plans, int nplans, const BillingDue *due);
static void inherit(BillingDue *due, const PlanTerms *plan);
static void read_parts(BillingDue *dues, int count);
static int	compare_part(const BillingPart *part, const BillingDue *due);
static bool have_flag(const BillingDue *dues, int count, int fact);
static void read_nullable(uint64 row, int ncolumns, NullableDatum *columns);
static void read_row(uint64 row, int ncolumns, Datum *values, bool *nulls);
static int	compare_dues(const void *a, const void *b);
static BillingStore *make_store(BillingDue *dues, int count);
static void put_due(BillingStore *store, const BillingDue *due, int of);
static void put_part(BillingStore *store, const BillingDue *due, const BillingPart *part, int of);
static void put_streams(BillingStore *store, const BillingDue *due);
static Datum make_streams(bool takes_unstated, bool takes_stated, int64 subscription_id);
static bool has_commitment(const BillingDue *due);
static void read_lines(BillingDue *dues);
static void defer_if_ahead(BillingLine *line, const BillingDue *due);
static void read_true_ups(BillingDue *dues, int count);
static BillingLine *add_line(BillingDue *due);

int
billing_due_read(BillingStore *claimed, Datum tenant_ids, TimestampTz at, BillingDue **dues)
{
	BillingStore *store;
	int			count;

	billing_store_show(claimed);
	count = read_facts(at, dues);
	if (!have_counters(*dues, count))
	{
		billing_draft_add_counters(tenant_ids);
		count = read_facts(at, dues);
		/* Somebody else may have inserted it just now, which this snapshot does not show. */
		if (!have_counters(*dues, count))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a counter that was inserted meanwhile"),
					 errhint("Try again.")));
	}
	if (have_flag(*dues, count, BILLING_DUE_HAS_NEXT))
	{
		BillingDue *before = *dues;
		int			before_count = count;

		billing_change_apply_next(at);
		count = read_facts(at, dues);
		mark_changed(*dues, count, before, before_count);
	}
	if (count == 0)
		return 0;

	read_taxes(*dues, count);
	read_plans(*dues, count);
	if (have_flag(*dues, count, BILLING_DUE_HAS_PARTS))
		read_parts(*dues, count);
	for (int i = 0; i < count; i++)
		billing_boundary_find((*dues)[i].facts, (*dues)[i].next);
	store = make_store(*dues, count);
	billing_store_show(store);
	read_lines(*dues);
	read_true_ups(*dues, count);
	billing_store_end(store);
	billing_coupon_read_due(*dues, count);
	return count;
}

/* A tenant that was inserted by hand may have none. */
static bool
have_counters(const BillingDue *dues, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (dues[i].facts[BILLING_DUE_CHAIN_NO].isnull)
			return false;
	}
	return true;
}

static bool
have_flag(const BillingDue *dues, int count, int fact)
{
	for (int i = 0; i < count; i++)
	{
		if (DatumGetBool(dues[i].facts[fact].value))
			return true;
	}
	return false;
}

BillingStore *
billing_due_make_claimed(void)
{
	static const BillingStoreColumn columns[] = {{"tenant_id", INT8OID}, {"subscription_id", INT8OID}, {"invoice_id", INT8OID}};

	return billing_store_make("claimed", columns, lengthof(columns));
}

/* Those of which a change waited before, both in the order of tenant and invoice. */
static void
mark_changed(BillingDue *dues, int count, const BillingDue *before, int before_count)
{
	for (int i = 0, j = 0; i < count; i++)
	{
		while (j < before_count && before[j].facts[BILLING_DUE_INVOICE_ID].value != dues[i].facts[BILLING_DUE_INVOICE_ID].value)
			j++;
		dues[i].is_changed = j < before_count && DatumGetBool(before[j].facts[BILLING_DUE_HAS_NEXT].value);
	}
}

/*
 * read_facts
 *		What is known of those that are due, in the order of the columns in due.h;
 *		what its plan says is NULL yet.
 *
 * Late usage, corrected prices and interim invoices of one are looked for only if there are any.
 */
static int
read_facts(TimestampTz at, BillingDue **dues)
{
	static BillingQuery query = {
		.sql = "SELECT s.anchor, NULL, NULL, s.billing, greatest(s.started_at, upper(s.lapses), s.anew_at), s.trial_end, s.period_start,"
		"  s.period_end, s.billed_to, s.due_at, s.cancel_at, s.auto_renew, s.timezone, t.timezone, s.changed_at, k.tenant_id, k.invoice_id,"
		"  k.subscription_id, s.plan_id, s.status, s.activate, s.currency, s.quantity,"
		"  NOT coalesce(u.has_unstated, false) OR NOT EXISTS (SELECT FROM billing.subscription o"
		"    WHERE o.tenant_id = k.tenant_id AND o.subscription_id < k.subscription_id),"
		"  coalesce(u.has_stated, false), coalesce(u.has_unstated, false),"
		"  (SELECT EXISTS (SELECT FROM billing.usage_late l WHERE l.invoice_id IS NULL))"
		"    AND EXISTS (SELECT FROM billing.usage_late l"
		"    WHERE l.tenant_id = k.tenant_id AND l.subscription_id = k.subscription_id AND l.invoice_id IS NULL)"
		"  OR (SELECT EXISTS (SELECT FROM billing.rerated_line r WHERE r.invoice_id IS NULL))"
		"    AND EXISTS (SELECT FROM billing.rerated_line r"
		"    WHERE r.tenant_id = k.tenant_id AND r.subscription_id = k.subscription_id AND r.invoice_id IS NULL),"
		"  s.changed_at IS NOT NULL AND EXISTS (SELECT FROM billing.due_part d"
		"    WHERE d.tenant_id = k.tenant_id AND d.subscription_id = k.subscription_id AND d.is_pending),"
		"  num_nonnulls(s.next_plan_id, s.next_quantity) > 0 AND s.due_at >= s.period_end,"
		"  (SELECT EXISTS (SELECT FROM billing.subscription_threshold h WHERE h.cut_at IS NOT NULL))"
		"    AND EXISTS (SELECT FROM billing.subscription_threshold h"
		"    WHERE h.tenant_id = k.tenant_id AND h.subscription_id = k.subscription_id AND h.cut_at IS NOT NULL), s.coupon IS NOT NULL,"
		"  t.tax_exemption, t.tax_rate, upper(t.address ->> 'country'), t.address ->> 'region', (t.settings ->> 'tax_percent')::numeric,"
		"  t.settings ->> 'finalize_after', t.settings ->> 'invoice_prefix', (t.settings ->> 'net_days')::integer,"
		"  coalesce(t.billing_name, t.name), t.email, t.address, t.tax_id, c.invoice_number, c.chain_no, c.chain_hash, c.has_credit,"
		"  (t.settings ->> 'seller')::jsonb, NULL, NULL"
		" FROM claimed k"
		" JOIN billing.subscription s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id"
		" JOIN billing.tenant t ON t.tenant_id = k.tenant_id"
		" LEFT JOIN billing.counter c ON c.tenant_id = k.tenant_id"
		" LEFT JOIN billing.usage_horizon u ON u.tenant_id = k.tenant_id"
		" WHERE s.due_at <= $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TIMESTAMPTZOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		arg = TimestampTzGetDatum(at);
	uint64		count = billing_spi_run_snapshot(&query, &arg, NULL);

	*dues = palloc_extended(Max(count, 1) * sizeof(BillingDue), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint64 row = 0; row < count; row++)
		read_nullable(row, BILLING_DUE_FACTS, (*dues)[row].facts);
	qsort(*dues, count, sizeof(BillingDue), compare_dues);
	return count;
}

/*
 * read_taxes
 *		What decides about the taxes of each, but for the percentage that holds for all.
 *
 * A rate that a tenant names, and a country, make the rates there are be read, once.
 */
static void
read_taxes(BillingDue *dues, int count)
{
	Datum	   *codes = palloc(count * sizeof(Datum));
	Datum	   *countries = palloc(count * sizeof(Datum));
	int			ncodes = 0;
	int			ncountries = 0;
	BillingTaxRate *rates;
	int			nrates;

	for (int i = 0; i < count; i++)
	{
		const NullableDatum *facts = dues[i].facts;
		BillingTaxTerms *tax = &dues[i].tax;

		tax->exemption = string_of(&dues[i], BILLING_DUE_TAX_EXEMPTION);
		tax->rate = string_of(&dues[i], BILLING_DUE_TAX_RATE);
		tax->country = string_of(&dues[i], BILLING_DUE_COUNTRY);
		tax->region = string_of(&dues[i], BILLING_DUE_REGION);
		tax->states_percent = !facts[BILLING_DUE_TAX_PERCENT].isnull;
		tax->has_tax_id = !facts[BILLING_DUE_TAX_ID].isnull;
		if (tax->rate != NULL)
			codes[ncodes++] = facts[BILLING_DUE_TAX_RATE].value;
		else if (tax->country != NULL && !tax->states_percent)
			countries[ncountries++] = facts[BILLING_DUE_COUNTRY].value;
	}
	rates = billing_tax_rate_read(codes, ncodes, countries, ncountries, &nrates);
	for (int i = 0; i < count; i++)
	{
		dues[i].tax.rates = rates;
		dues[i].tax.rate_count = nrates;
	}
}

static char *
string_of(const BillingDue *due, int fact)
{
	return due->facts[fact].isnull ? NULL : TextDatumGetCString(due->facts[fact].value);
}

/*
 * read_plans
 *		What the plans say, each read once, where the subscription or tenant says nothing.
 */
static void
read_plans(BillingDue *dues, int count)
{
	static BillingQuery query = {
		.sql = "SELECT p.plan_id, p.cycle,"
		"  (SELECT c.cycle FROM billing.price c"
		"    WHERE c.plan_id = p.plan_id AND c.cycle IS NOT NULL AND c.cycle IS DISTINCT FROM p.cycle LIMIT 1),"
		"  billing.effective_setting('tax_percent', NULL, p.settings)::numeric,"
		"  billing.effective_setting('finalize_after', NULL, p.settings),"
		"  billing.effective_setting('invoice_prefix', NULL, p.settings),"
		"  billing.effective_setting('net_days', NULL, p.settings)::integer, p.proration,"
		"  billing.effective_setting('seller', NULL, p.settings)::jsonb, billing.has_commitment(p.plan_id)"
		" FROM billing.plan p WHERE p.plan_id = ANY ($1) ORDER BY p.plan_id",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		arg = collect_plans(dues, count);
	int			nplans = billing_spi_run_snapshot(&query, &arg, NULL);
	PlanTerms	   *plans = palloc(Max(nplans, 1) * sizeof(PlanTerms));

	for (int i = 0; i < nplans; i++)
		read_nullable(i, PLAN_COLUMNS, plans[i].columns);
	for (int i = 0; i < count; i++)
		inherit(&dues[i], find_plan(plans, nplans, &dues[i]));
}

/* The ids of the plans, each once. */
static Datum
collect_plans(const BillingDue *dues, int count)
{
	Datum	   *ids = palloc(Max(count, 1) * sizeof(Datum));
	int			nids = 0;

	for (int i = 0; i < count; i++)
	{
		if (i == 0 || dues[i].facts[BILLING_DUE_PLAN_ID].value != dues[i - 1].facts[BILLING_DUE_PLAN_ID].value)
			ids[nids++] = dues[i].facts[BILLING_DUE_PLAN_ID].value;
	}
	qsort(ids, nids, sizeof(Datum), compare_ids);
	nids = qunique(ids, nids, sizeof(Datum), compare_ids);
	return billing_id_array(ids, nids);
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = DatumGetInt64(*(const Datum *) a);
	int64		y = DatumGetInt64(*(const Datum *) b);

	return x < y ? -1 : x > y;
}

static const PlanTerms *
find_plan(const PlanTerms *plans, int nplans, const BillingDue *due)
{
	Datum		id = due->facts[BILLING_DUE_PLAN_ID].value;
	const PlanTerms *plan = bsearch(&id, plans, nplans, sizeof(PlanTerms), compare_ids);

	if (plan == NULL)
		elog(ERROR, "plan " INT64_FORMAT " is missing", DatumGetInt64(id));
	return plan;
}

static void
inherit(BillingDue *due, const PlanTerms *plan)
{
	static const int facts[PLAN_COLUMNS] = {
		BILLING_DUE_PLAN_ID, BILLING_TERM_CYCLE, BILLING_TERM_STEP_CYCLE, BILLING_DUE_TAX_PERCENT, BILLING_DUE_FINALIZE_AFTER,
		BILLING_DUE_INVOICE_PREFIX, BILLING_DUE_NET_DAYS, BILLING_DUE_PRORATION, BILLING_DUE_SELLER,
		BILLING_DUE_HAS_COMMITMENT
	};

	for (int i = 0; i < PLAN_COLUMNS; i++)
	{
		if (due->facts[facts[i]].isnull)
			due->facts[facts[i]] = plan->columns[i];
	}
	due->tax.percent = DatumGetNumeric(due->facts[BILLING_DUE_TAX_PERCENT].value);
}

/*
 * read_parts
 *		What those that were changed within a period owe beside their boundary.
 */
static void
read_parts(BillingDue *dues, int count)
{
	static BillingQuery query = {
		.sql = "SELECT k.tenant_id, k.invoice_id, d.part_no, d.plan_id, p.cycle, p.proration, d.quantity, d.timezone, d.arrears,"
		"  d.arrears_whole, d.advance, d.advance_whole, d.step_arrears, d.step_arrears_whole, d.step_advance, d.step_advance_whole"
		" FROM claimed k"
		" JOIN billing.due_part d ON d.tenant_id = k.tenant_id AND d.subscription_id = k.subscription_id AND d.is_pending"
		" JOIN billing.plan p ON p.plan_id = d.plan_id"
		" ORDER BY k.tenant_id, k.invoice_id, d.part_no",
		.expected = SPI_OK_SELECT,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	int			nparts = billing_spi_run_snapshot(&query, NULL, NULL);
	BillingPart *parts = palloc_extended(Max(nparts, 1) * sizeof(BillingPart), MCXT_ALLOC_HUGE);
	int			next = 0;

	for (int i = 0; i < nparts; i++)
		read_nullable(i, BILLING_PART_COLUMNS, parts[i].columns);
	for (int i = 0; i < count; i++)
	{
		int64		invoice_id = DatumGetInt64(dues[i].facts[BILLING_DUE_INVOICE_ID].value);

		/* Of one that was claimed and is not due there are none to take. */
		while (next < nparts && compare_part(&parts[next], &dues[i]) < 0)
			next++;
		dues[i].parts = &parts[next];
		while (next < nparts && DatumGetInt64(parts[next].columns[BILLING_PART_INVOICE_ID].value) == invoice_id)
		{
			dues[i].part_count++;
			next++;
		}
	}
}

/* By tenant, then invoice, as dues are. */
static int
compare_part(const BillingPart *part, const BillingDue *due)
{
	static const int columns[] = {BILLING_PART_TENANT_ID, BILLING_PART_INVOICE_ID};
	static const int facts[] = {BILLING_DUE_TENANT_ID, BILLING_DUE_INVOICE_ID};

	for (int i = 0; i < lengthof(columns); i++)
	{
		int64		x = DatumGetInt64(part->columns[columns[i]].value);
		int64		y = DatumGetInt64(due->facts[facts[i]].value);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

static void
read_nullable(uint64 row, int ncolumns, NullableDatum *columns)
{
	Datum		values[BILLING_DUE_FACTS];
	bool		nulls[BILLING_DUE_FACTS];

	read_row(row, ncolumns, values, nulls);
	for (int i = 0; i < ncolumns; i++)
	{
		columns[i].value = values[i];
		columns[i].isnull = nulls[i];
	}
}

/* The values of a row of the last result, where it stays. */
static void
read_row(uint64 row, int ncolumns, Datum *values, bool *nulls)
{
	if (SPI_tuptable->tupdesc->natts != ncolumns)
		elog(ERROR, "%d columns where %d were expected", SPI_tuptable->tupdesc->natts, ncolumns);
	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
}

/* Tenant, then invoice: the order of numbers and of the chain. */
static int
compare_dues(const void *a, const void *b)
{
	static const int keys[] = {BILLING_DUE_TENANT_ID, BILLING_DUE_INVOICE_ID};

	for (int i = 0; i < lengthof(keys); i++)
	{
		int64		x = DatumGetInt64(((const BillingDue *) a)->facts[keys[i]].value);
		int64		y = DatumGetInt64(((const BillingDue *) b)->facts[keys[i]].value);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

/* What billing.invoice_lines needs to know of each: of its parts, in their order, then of itself. */
static BillingStore *
make_store(BillingDue *dues, int count)
{
	static const BillingStoreColumn columns[] = {
		{"of", INT4OID}, {"priced_by", INT8OID}, {"tenant_id", INT8OID}, {"subscription_id", INT8OID}, {"plan_id", INT8OID},
		{"quantity", INT4OID}, {"has_late", BOOLOID}, {"has_cut", BOOLOID}, {"cycle", INTERVALOID}, {"currency", TEXTOID}, {"proration", TEXTOID},
		{"timezone", TEXTOID}, {"streams", INT8ARRAYOID}, {"busy_streams", INT8ARRAYOID},
		{"arrears", TSTZRANGEOID}, {"arrears_whole", TSTZRANGEOID}, {"advance", TSTZRANGEOID},
		{"advance_whole", TSTZRANGEOID}, {"step_arrears", TSTZRANGEOID}, {"step_arrears_whole", TSTZRANGEOID},
		{"step_advance", TSTZRANGEOID}, {"step_advance_whole", TSTZRANGEOID}, {"has_commitment", BOOLOID}
	};
	BillingStore *store = billing_store_make("due", columns, lengthof(columns));

	for (int i = 0; i < count; i++)
	{
		for (int j = 0; j < dues[i].part_count; j++)
			put_part(store, &dues[i], &dues[i].parts[j], i);
		put_due(store, &dues[i], i);
	}
	return store;
}

static void
put_due(BillingStore *store, const BillingDue *due, int of)
{
	static const int facts[] = {
		BILLING_DUE_TENANT_ID, BILLING_DUE_SUBSCRIPTION_ID, BILLING_DUE_PLAN_ID, BILLING_DUE_QUANTITY, BILLING_DUE_HAS_LATE,
		BILLING_DUE_HAS_CUT, BILLING_TERM_CYCLE, BILLING_DUE_CURRENCY, BILLING_DUE_PRORATION, BILLING_TERM_TENANT_TIMEZONE
	};

	billing_store_put(store, Int32GetDatum(of), false);
	billing_store_put(store, (Datum) 0, true);
	for (int i = 0; i < lengthof(facts); i++)
		billing_store_put(store, due->facts[facts[i]].value, due->facts[facts[i]].isnull);
	put_streams(store, due);
	for (int i = 0; i < BILLING_BOUNDARY_RANGES; i++)
		billing_store_put(store, due->next[BILLING_BOUNDARY_ARREARS + i].value, due->next[BILLING_BOUNDARY_ARREARS + i].isnull);
	billing_store_put(store, BoolGetDatum(has_commitment(due)), false);
}

/* Parts, and late usage, may be of a period that was on another plan. */
static bool
has_commitment(const BillingDue *due)
{
	return DatumGetBool(due->facts[BILLING_DUE_HAS_COMMITMENT].value) || DatumGetBool(due->facts[BILLING_DUE_HAS_LATE].value) ||
		due->part_count > 0;
}

/* A part is priced by its own plan; late usage is that of the subscription. */
static void
put_part(BillingStore *store, const BillingDue *due, const BillingPart *part, int of)
{
	NullableDatum plan_id = part->columns[BILLING_PART_PLAN_ID];

	billing_store_put(store, Int32GetDatum(of), false);
	billing_store_put(store, plan_id.value, plan_id.value == due->facts[BILLING_DUE_PLAN_ID].value);
	billing_store_put(store, due->facts[BILLING_DUE_TENANT_ID].value, false);
	billing_store_put(store, due->facts[BILLING_DUE_SUBSCRIPTION_ID].value, false);
	billing_store_put(store, plan_id.value, false);
	billing_store_put(store, part->columns[BILLING_PART_QUANTITY].value, false);
	billing_store_put(store, BoolGetDatum(false), false);
	billing_store_put(store, due->facts[BILLING_DUE_HAS_CUT].value, false);
	billing_store_put(store, part->columns[BILLING_PART_CYCLE].value, part->columns[BILLING_PART_CYCLE].isnull);
	billing_store_put(store, due->facts[BILLING_DUE_CURRENCY].value, false);
	billing_store_put(store, part->columns[BILLING_PART_PRORATION].value, false);
	billing_store_put(store, part->columns[BILLING_PART_TIMEZONE].value, false);
	put_streams(store, due);
	for (int i = 0; i < BILLING_BOUNDARY_RANGES; i++)
		billing_store_put(store, part->columns[BILLING_PART_RANGES + i].value, part->columns[BILLING_PART_RANGES + i].isnull);
	billing_store_put(store, BoolGetDatum(false), false);	/* counted with the subscription */
}

static void
put_streams(BillingStore *store, const BillingDue *due)
{
	int64		subscription_id = DatumGetInt64(due->facts[BILLING_DUE_SUBSCRIPTION_ID].value);
	bool		takes_unstated = DatumGetBool(due->facts[BILLING_DUE_TAKES_UNSTATED].value);
	bool		has_stated = DatumGetBool(due->facts[BILLING_DUE_HAS_STATED].value);
	bool		has_unstated = DatumGetBool(due->facts[BILLING_DUE_HAS_UNSTATED].value);

	billing_store_put(store, make_streams(takes_unstated, true, subscription_id), false);
	billing_store_put(store, make_streams(has_unstated, has_stated, subscription_id), !takes_unstated);
}

/* The streams of usage that may be a subscription's: 0 is what names none. */
static Datum
make_streams(bool takes_unstated, bool takes_stated, int64 subscription_id)
{
	Datum		ids[2];
	int			count = 0;

	if (takes_unstated)
		ids[count++] = Int64GetDatum(0);
	if (takes_stated)
		ids[count++] = Int64GetDatum(subscription_id);
	return billing_id_array(ids, count);
}

/*
 * read_lines
 *		The lines of all, those of each in their order.
 */
static void
read_lines(BillingDue *dues)
{
	static BillingQuery query = {
		.sql = "SELECT d.of, l.* FROM due d CROSS JOIN LATERAL ("
		"  SELECT m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start,"
		"    m.period_end, m.usage_events, m.usage_digest, NULL::bigint AS adjusts_invoice_id, NULL::integer AS adjusts_line,"
		"    d.priced_by, m.tax_category, m.formula, m.is_advance"
		"  FROM billing.invoice_lines(d.tenant_id, d.subscription_id, d.plan_id, d.cycle, d.currency, d.quantity,"
		"    d.proration, d.timezone, d.streams, d.arrears, d.arrears_whole, d.advance, d.advance_whole, d.step_arrears,"
		"    d.step_arrears_whole, d.step_advance, d.step_advance_whole, false, busy_streams => d.busy_streams) m"
		"  UNION ALL"
		"  SELECT c.kind, c.price_code, c.meter, c.description, c.quantity, c.unit_amount, c.amount, c.period_start,"
		"    c.period_end, c.usage_events, c.usage_digest, c.adjusts_invoice_id, c.adjusts_line, d.priced_by, c.tax_category,"
		"    c.formula, false"
		"  FROM billing.interim_credits(d.tenant_id, d.subscription_id, d.plan_id, d.cycle, d.arrears, d.step_arrears, NULL) c"
		"  WHERE d.has_cut"
		"  UNION ALL"
		"  SELECT a.kind, a.price_code, a.meter, a.description, a.quantity, a.unit_amount, a.amount, a.period_start,"
		"    a.period_end, a.usage_events, a.usage_digest, a.adjusts_invoice_id, a.adjusts_line, a.plan_id, a.tax_category,"
		"    a.formula, false"
		"  FROM billing.invoice_adjustments(d.tenant_id, d.subscription_id, d.streams) a"
		"  WHERE d.has_late) l",
		.expected = SPI_OK_SELECT,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	uint64		count = billing_spi_run_snapshot(&query, NULL, NULL);
	BillingLine *lines = palloc_extended(Max(count, 1) * sizeof(BillingLine), MCXT_ALLOC_HUGE);

	for (uint64 row = 0; row < count; row++)
	{
		BillingLine *line = &lines[row];
		BillingDue *due;

		read_row(row, BILLING_LINE_COLUMNS, line->values, line->nulls);
		due = &dues[DatumGetInt32(line->values[BILLING_LINE_OF])];
		defer_if_ahead(line, due);
		if (due->line_count == 0)
			due->lines = line;
		if (due->lines + due->line_count != line)
			elog(ERROR, "lines of an invoice come apart");
		due->line_count++;
	}
}

/* Of a part that is billed after it began nothing is revenue to come. */
static void
defer_if_ahead(BillingLine *line, const BillingDue *due)
{
	if (due->part_count > 0 && DatumGetTimestampTz(line->values[BILLING_LINE_PERIOD_START]) <
		DatumGetTimestampTz(due->facts[BILLING_TERM_DUE_AT].value))
		line->values[BILLING_LINE_IS_ADVANCE] = BoolGetDatum(false);
}

/*
 * read_true_ups
 *		Behind the lines of those that have them: what lifts these to a minimum, or
 *		lowers them to a maximum.
 */
static void
read_true_ups(BillingDue *dues, int count)
{
	static BillingQuery query = {
		.sql = "SELECT d.of, 'true_up'::text, c.price_code, NULL::text, c.description, 1::numeric, NULL::numeric, c.amount, c.period_start,"
		"  c.period_end, NULL::bigint, NULL::bigint, NULL::bigint, NULL::integer, c.priced_by, c.tax_category, c.formula, c.is_advance"
		" FROM due d CROSS JOIN LATERAL billing.invoice_true_ups(d.tenant_id, d.subscription_id, d.plan_id, d.cycle, d.currency,"
		"  d.quantity, d.proration, d.timezone, d.streams, d.arrears, d.arrears_whole, d.advance, d.advance_whole, d.step_arrears,"
		"  d.step_arrears_whole, d.step_advance, d.step_advance_whole, false) c"
		" WHERE d.has_commitment",
		.expected = SPI_OK_SELECT,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	bool		any = false;
	uint64		rows;

	for (int i = 0; i < count && !any; i++)
		any = has_commitment(&dues[i]);
	if (!any)
		return;
	rows = billing_spi_run_snapshot(&query, NULL, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		BillingLine line;

		read_row(row, BILLING_LINE_COLUMNS, line.values, line.nulls);
		*add_line(&dues[DatumGetInt32(line.values[BILLING_LINE_OF])]) = line;
	}
}

/* Room for one more line of a subscription, whose others lie among those of all. */
static BillingLine *
add_line(BillingDue *due)
{
	BillingLine *lines = palloc((due->line_count + 1) * sizeof(BillingLine));

	if (due->line_count > 0)
		memcpy(lines, due->lines, due->line_count * sizeof(BillingLine));
	due->lines = lines;
	return &lines[due->line_count++];
}
