/*-------------------------------------------------------------------------
 *
 * coupon_use.c
 *	  Coupons applied, what they take off drafts, and how they come back.
 *
 * What is left of a use is what the coupon had, less what it took off invoices that
 * are not void.  The bill run (coupon_due.c) and drafts (here) take; a draft that is calculated
 * again, and an invoice that becomes void, give back.  A use that is over and that no
 * invoice has is released, with its slot.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "clock.h"
#include "coupon.h"
#include "id.h"
#include "invoice.h"
#include "subscription.h"
#include "tax_rate.h"

BILLING_FUNCTION(billing_apply_coupon);
BILLING_FUNCTION(billing_remove_coupon);

/* The arguments of both. */
enum
{
	TENANT_ID, CODE, SUBSCRIPTION_ID, INVOICE_ID, REQUEST_ID
};

/* A statement of ($1 tenants, $2 invoices or subscriptions), for which a generic plan is right. */
#define STEP(text, result) \
	{ \
		.sql = (text), \
		.expected = (result), \
		.by_key = true, \
		.nargs = 2, \
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID}, \
		.options = CURSOR_OPT_GENERIC_PLAN, \
	}

static void begin(BillingFlow *flow);
static void check_target(FunctionCallInfo fcinfo);
static const char *rule_hint(const char *rule);
static void mark_used(Datum code);
static int64 insert_use(BillingFlow *flow, Datum code, int64 subscription_id, int64 invoice_id);
static Datum read_use(BillingFlow *flow, int64 use_id);
static int64 find_use(BillingFlow *flow);
pg_noreturn static void report_not_applied(const BillingFlow *flow, const char *code);
static void end_use(int64 tenant_id, int64 use_id);
static void compose_again(BillingFlow *flow);
static bool have_uses(Datum tenant_ids);
static void return_to_uses(BillingDrafts drafts);
static void take_off(BillingDrafts drafts);
static void flag_of_invoices(BillingDrafts invoices);
static void release(Datum tenant_ids);
static void run_step(BillingQuery *query, Datum tenant_ids, Datum ids);

/*
 * billing_apply_coupon
 *		Apply a coupon to a subscription or a draft.
 */
Datum
billing_apply_coupon(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	int64		use_id;

	check_target(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "apply_coupon", REQUEST_ID, &result))
		PG_RETURN_DATUM(result);

	begin(&flow);
	use_id = billing_coupon_apply(&flow, PG_GETARG_DATUM(CODE), PG_ARGISNULL(SUBSCRIPTION_ID) ? 0 : PG_GETARG_INT64(SUBSCRIPTION_ID),
								  PG_ARGISNULL(INVOICE_ID) ? 0 : PG_GETARG_INT64(INVOICE_ID));
	compose_again(&flow);
	billing_coupon_claim(flow.tenant_id, PG_GETARG_DATUM(CODE), use_id);
	result = read_use(&flow, use_id);
	billing_flow_audit(&flow, "coupon_use", use_id, (Datum) 0, result);
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

static void
check_target(FunctionCallInfo fcinfo)
{
	billing_flow_require(fcinfo, CODE, "code");
	if (PG_ARGISNULL(SUBSCRIPTION_ID) == PG_ARGISNULL(INVOICE_ID))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a coupon is applied to a subscription or to an invoice"),
				 errdetail("argument=%s", PG_ARGISNULL(INVOICE_ID) ? "subscription_id" : "invoice_id"),
				 errhint("Give one of subscription_id and invoice_id, and not the other.")));
}

/* What it is applied to is there, and still takes one. */
static void
begin(BillingFlow *flow)
{
	NullableDatum *given = flow->fcinfo->args;
	BillingSubscription s;
	BillingInvoice invoice;

	if (!given[INVOICE_ID].isnull)
	{
		billing_invoice_lock(flow, DatumGetInt64(given[INVOICE_ID].value), &invoice);
		if (strcmp(invoice.status, "draft") != 0)
			billing_invoice_refuse(&invoice, "take another discount", "Only a draft does; a correction is a credit note.");
		return;
	}
	billing_subscription_read(flow, DatumGetInt64(given[SUBSCRIPTION_ID].value), &s);
	if (s.ended_at != DT_NOEND)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("subscription %lld of tenant %lld is %s and takes no coupon",
						(long long) s.subscription_id, (long long) s.tenant_id, s.status),
				 errdetail("tenant_id=%lld subscription_id=%lld status=%s", (long long) s.tenant_id,
						   (long long) s.subscription_id, s.status),
				 errhint("Its coupons ended with it.")));
}

int64
billing_coupon_apply(BillingFlow *flow, Datum code, int64 subscription_id, int64 invoice_id)
{
	BillingCouponTarget kind = invoice_id != 0 ? BILLING_COUPON_INVOICE : BILLING_COUPON_SUBSCRIPTION;
	NullableDatum target = {.value = Int64GetDatum(invoice_id != 0 ? invoice_id : subscription_id)};
	NullableDatum amount = {.isnull = true};
	BillingCouponJudgment judgment;
	int64		use_id;

	billing_coupon_judge(flow->tenant_id, code, kind, target, amount, false, &judgment);
	if (judgment.rule == NULL && !judgment.is_used)
	{
		/* What was judged may have been changed meanwhile; from here on it cannot. */
		mark_used(code);
		billing_coupon_judge(flow->tenant_id, code, kind, target, amount, false, &judgment);
	}
	if (judgment.rule != NULL)
		billing_coupon_refuse(flow->tenant_id, code, judgment.rule);

	use_id = insert_use(flow, code, subscription_id, invoice_id);
	if (subscription_id != 0)
		billing_coupon_flag(billing_id_array_of(flow->tenant_id), billing_id_array_of(subscription_id));
	return use_id;
}

/* What a rule says, for a person; the detail names it for programs. */
static const char *
rule_hint(const char *rule)
{
	static const struct
	{
		const char *rule;
		const char *hint;
	}			hints[] = {
		{"unknown", "There is no coupon of that code; upper and lower case differ."},
		{"inactive", "It is retired: its is_active is false."},
		{"not_yet_valid", "It can be applied from its valid_from on."},
		{"expired", "It could be applied until its valid_until."},
		{"plan", "It is for other plans, those in its column plans."},
		{"price", "It is for prices that the plan does not have, those in its column prices."},
		{"currency", "Its amounts are in another currency."},
		{"min_amount", "The lines that it is for come to less than its min_amount."},
		{"attached", "It is applied there already."},
		{"stacking", "It stands alone, or one that is applied there does (is_stackable)."},
		{"tenant_limit", "The tenant has applied it as often as its tenant_limit allows."},
		{"limit", "It has been applied as often as its redemption_limit allows."},
	};

	for (int i = 0; i < lengthof(hints); i++)
	{
		if (strcmp(rule, hints[i].rule) == 0)
			return hints[i].hint;
	}
	elog(ERROR, "coupon rule \"%s\" has no hint", rule);
}

void
billing_coupon_refuse(int64 tenant_id, Datum code, const char *rule)
{
	const char *coupon = TextDatumGetCString(code);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_COUPON_NOT_APPLICABLE),
			 errmsg("coupon \"%s\" is not applicable for tenant %lld", coupon, (long long) tenant_id),
			 errdetail("tenant_id=%lld coupon=%s rule=%s", (long long) tenant_id, coupon, rule),
			 errhint("%s", rule_hint(rule))));
}

static void
mark_used(Datum code)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.coupon c SET used_at = billing.now() WHERE c.code = $1 AND c.used_at IS NULL",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};

	(void) billing_spi_run(&query, &code, NULL);
}

/* Off one invoice, whatever its duration, it takes once. */
static int64
insert_use(BillingFlow *flow, Datum code, int64 subscription_id, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.coupon_use (tenant_id, use_id, coupon, subscription_id, invoice_id, amount_left, periods_left)"
		" SELECT $1, $2, c.code, nullif($4, 0), nullif($5, 0),"
		"   CASE WHEN c.kind = 'fixed' AND ($5 <> 0 OR c.duration = 'once') THEN billing.amount(c.value, c.currency) END,"
		"   CASE WHEN $5 <> 0 THEN 1 WHEN c.duration = 'repeating' THEN c.periods"
		"     WHEN c.duration = 'once' AND c.kind = 'percentage' THEN 1 END"
		"   FROM billing.coupon c WHERE c.code = $3",
		.expected = SPI_OK_INSERT,
		.nargs = 5,
		.argtypes = {INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID},
	};
	int64		use_id = billing_id_next();
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(use_id), code, Int64GetDatum(subscription_id), Int64GetDatum(invoice_id)
	};

	(void) billing_spi_run(&query, args, NULL);
	return use_id;
}

static Datum
read_use(BillingFlow *flow, int64 use_id)
{
	static BillingQuery query = {
		.sql = "SELECT u FROM billing.coupon_use u WHERE u.tenant_id = $1 AND u.use_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(use_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_remove_coupon
 *		End a use; release it if no invoice has it.
 */
Datum
billing_remove_coupon(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		before;
	Datum		result;
	int64		use_id;

	check_target(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "remove_coupon", REQUEST_ID, &result))
		PG_RETURN_DATUM(result);

	begin(&flow);
	use_id = find_use(&flow);
	before = read_use(&flow, use_id);
	end_use(flow.tenant_id, use_id);
	compose_again(&flow);
	if (!PG_ARGISNULL(SUBSCRIPTION_ID))
		billing_coupon_flag(billing_id_array_of(flow.tenant_id), billing_id_array_of(PG_GETARG_INT64(SUBSCRIPTION_ID)));
	release(billing_id_array_of(flow.tenant_id));
	result = read_use(&flow, use_id);
	billing_flow_audit(&flow, "coupon_use", use_id, before, result);
	PG_RETURN_DATUM(billing_flow_end(&flow, result));
}

/* The use of the coupon that goes on, the last of several. */
static int64
find_use(BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT u.use_id FROM billing.coupon_use u WHERE u.tenant_id = $1 AND u.coupon = $2 AND u.ended_at IS NULL"
		"   AND (u.subscription_id = $3 OR u.invoice_id = $4) ORDER BY u.use_id DESC LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, INT8OID, INT8OID},
	};
	NullableDatum *given = flow->fcinfo->args;
	Datum		args[] = {Int64GetDatum(flow->tenant_id), given[CODE].value, given[SUBSCRIPTION_ID].value, given[INVOICE_ID].value};
	bool		isnull;

	if (billing_spi_run(&query, args, given[INVOICE_ID].isnull ? "   n" : "  n ") == 0)
		report_not_applied(flow, TextDatumGetCString(given[CODE].value));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static void
report_not_applied(const BillingFlow *flow, const char *code)
{
	const NullableDatum *given = flow->fcinfo->args;
	bool		is_invoice = given[SUBSCRIPTION_ID].isnull;
	const char *object = is_invoice ? "invoice" : "subscription";
	int64		id = DatumGetInt64(given[is_invoice ? INVOICE_ID : SUBSCRIPTION_ID].value);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("coupon \"%.*s\" is not applied to %s %lld of tenant %lld", BILLING_QUOTED(code, strlen(code)), object, (long long) id,
					(long long) flow->tenant_id),
			 errdetail("object=coupon_use tenant_id=%lld coupon=%.*s %s_id=%lld", (long long) flow->tenant_id,
					   BILLING_QUOTED(code, strlen(code)), object, (long long) id),
			 errhint("Read those that go on from billing.coupon_use WHERE ended_at IS NULL.")));
}

static void
end_use(int64 tenant_id, int64 use_id)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.coupon_use u SET ended_at = billing.now() WHERE u.tenant_id = $1 AND u.use_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(use_id)};

	(void) billing_spi_run(&query, args, NULL);
}

/* The draft that a coupon was applied to, or removed from. */
static void
compose_again(BillingFlow *flow)
{
	NullableDatum invoice_id = flow->fcinfo->args[INVOICE_ID];
	BillingDrafts draft;

	if (invoice_id.isnull)
		return;
	draft = billing_draft_make(flow->tenant_id, DatumGetInt64(invoice_id.value));
	billing_tax_rate_hold();
	PushActiveSnapshot(GetTransactionSnapshot());
	billing_draft_compose(draft);
	billing_draft_log(draft);
	PopActiveSnapshot();
}

/*
 * billing_coupon_discount
 *		See coupon.h.  Whatever the drafts had before is given back first.
 */
void
billing_coupon_discount(BillingDrafts drafts)
{
	static BillingQuery discard = STEP(
									   "DELETE FROM billing.coupon_redemption r USING unnest($1, $2) d (tenant_id, invoice_id)"
									   " WHERE r.tenant_id = d.tenant_id AND r.invoice_id = d.invoice_id",
									   SPI_OK_DELETE);

	if (!have_uses(drafts.tenant_ids))
		return;
	return_to_uses(drafts);
	run_step(&discard, drafts.tenant_ids, drafts.invoice_ids);
	take_off(drafts);
	flag_of_invoices(drafts);
	release(drafts.tenant_ids);
}

/* Most have none, and are done with that. */
static bool
have_uses(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "SELECT FROM unnest($1) d (tenant_id)"
		" WHERE EXISTS (SELECT FROM billing.coupon_use u WHERE u.tenant_id = d.tenant_id) LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	return billing_spi_run_snapshot(&query, &tenant_ids, NULL) > 0;
}

static void
return_to_uses(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "UPDATE billing.coupon_use u SET amount_left = u.amount_left + r.discount, periods_left = u.periods_left + r.invoices"
									 "  FROM (SELECT r.tenant_id, r.use_id, sum(r.discount) AS discount, count(*)::integer AS invoices"
									 "          FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "          JOIN billing.coupon_redemption r ON r.tenant_id = d.tenant_id AND r.invoice_id = d.invoice_id"
									 "         GROUP BY r.tenant_id, r.use_id) r"
									 " WHERE u.tenant_id = r.tenant_id AND u.use_id = r.use_id",
									 SPI_OK_UPDATE);

	run_step(&query, drafts.tenant_ids, drafts.invoice_ids);
}

/*
 * take_off
 *		Let the lines of drafts state their discounts, and the uses what they took.
 *
 * Of one use there is one draft in the set: those of a subscription are calculated
 * one after the other.
 */
static void
take_off(BillingDrafts drafts)
{
	static BillingQuery query = STEP(
									 "WITH discounted AS MATERIALIZED ("
									 "  SELECT v.tenant_id, v.invoice_id, billing.from_minor_units(0, v.currency) AS nothing, l.uses, l.coupons, l.amounts,"
									 "         (billing.discount(v.currency, n.amounts, l.terms, n.prices, n.plans)).*"
									 "    FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "    JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id"
									 "   CROSS JOIN LATERAL (SELECT array_agg(l.use_id ORDER BY l.step) AS uses, array_agg(l.coupon ORDER BY l.step) AS coupons,"
									 "           array_agg(l.amount ORDER BY l.step) AS amounts, array_agg(l.terms ORDER BY l.step) AS terms"
									 "           FROM billing.live_coupons(v.tenant_id, v.subscription_id, v.invoice_id) l) l"
									 "   CROSS JOIN LATERAL (SELECT array_agg(n.amount ORDER BY n.line) AS amounts, array_agg(n.price_code ORDER BY n.line) AS prices,"
									 "           array_agg(p.code ORDER BY n.line) AS plans FROM billing.invoice_item n"
									 "           LEFT JOIN billing.plan p ON p.plan_id = coalesce(n.plan_id, v.plan_id)"
									 "          WHERE n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id) n"
									 "), item AS ("
									 "  UPDATE billing.invoice_item i SET discount = coalesce(s.line_discounts[i.line], s.nothing)"
									 "    FROM discounted s WHERE i.tenant_id = s.tenant_id AND i.invoice_id = s.invoice_id"
									 "     AND i.discount <> coalesce(s.line_discounts[i.line], s.nothing)"
									 "), taken AS ("
									 "  SELECT s.tenant_id, s.invoice_id, t.* FROM discounted s"
									 "   CROSS JOIN LATERAL unnest(s.uses, s.coupons, s.amounts, s.coupon_discounts) WITH ORDINALITY"
									 "           t (use_id, coupon, amount, discount, step)"
									 "   WHERE billing.minor_units(t.discount) > 0"
									 "), redemption AS ("
									 "  INSERT INTO billing.coupon_redemption (tenant_id, invoice_id, use_id, step, coupon, amount, discount)"
									 "  SELECT t.tenant_id, t.invoice_id, t.use_id, t.step, t.coupon, t.amount, t.discount FROM taken t"
									 ") UPDATE billing.coupon_use u SET amount_left = u.amount_left - t.discount, periods_left = u.periods_left - 1"
									 "  FROM taken t WHERE u.tenant_id = t.tenant_id AND u.use_id = t.use_id",
									 SPI_OK_UPDATE);

	run_step(&query, drafts.tenant_ids, drafts.invoice_ids);
}

/*
 * billing_coupon_give_back
 *		See coupon.h.  The one issued in its place takes from the same uses, which stay until it did.
 */
void
billing_coupon_give_back(BillingDrafts voided, bool is_reissued)
{
	static BillingQuery end = STEP(
								   "UPDATE billing.coupon_use u SET ended_at = billing.now()"
								   "  FROM unnest($1, $2) d (tenant_id, invoice_id)"
								   "  JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id"
								   "  LEFT JOIN billing.subscription s ON s.tenant_id = v.tenant_id AND s.subscription_id = v.subscription_id"
								   " WHERE u.tenant_id = v.tenant_id AND u.ended_at IS NULL"
								   "   AND (u.invoice_id = v.invoice_id OR u.subscription_id = s.subscription_id AND s.ended_at IS NOT NULL)",
								   SPI_OK_UPDATE);

	PushActiveSnapshot(GetTransactionSnapshot());
	if (have_uses(voided.tenant_ids))
	{
		return_to_uses(voided);
		run_step(&end, voided.tenant_ids, voided.invoice_ids);
		flag_of_invoices(voided);
		if (!is_reissued)
			release(voided.tenant_ids);
	}
	PopActiveSnapshot();
}

void
billing_coupon_end(Datum tenant_ids, Datum subscription_ids)
{
	static BillingQuery end = STEP(
								   "UPDATE billing.coupon_use u SET ended_at = billing.now()"
								   "  FROM unnest($1, $2) d (tenant_id, subscription_id)"
								   " WHERE u.tenant_id = d.tenant_id AND u.subscription_id = d.subscription_id AND u.ended_at IS NULL",
								   SPI_OK_UPDATE);

	run_step(&end, tenant_ids, subscription_ids);
	billing_coupon_flag(tenant_ids, subscription_ids);
	release(tenant_ids);
}

void
billing_coupon_end_one(int64 tenant_id, int64 subscription_id)
{
	Datum		tenant_ids = billing_id_array_of(tenant_id);

	PushActiveSnapshot(GetTransactionSnapshot());
	if (have_uses(tenant_ids))
		billing_coupon_end(tenant_ids, billing_id_array_of(subscription_id));
	PopActiveSnapshot();
}

/* Let the subscriptions of invoices name a coupon that they have. */
static void
flag_of_invoices(BillingDrafts invoices)
{
	static BillingQuery query = STEP(
									 "SELECT array_agg(v.tenant_id), array_agg(v.subscription_id) FROM unnest($1, $2) d (tenant_id, invoice_id)"
									 "  JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id"
									 " WHERE v.subscription_id IS NOT NULL",
									 SPI_OK_SELECT);
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;

	run_step(&query, invoices.tenant_ids, invoices.invoice_ids);
	(void) billing_spi_value(0, 1, &isnull);
	if (!isnull)
	{
		Datum		tenant_ids = billing_spi_copy(0, 1, context);
		Datum		subscription_ids = billing_spi_copy(0, 2, context);

		billing_coupon_flag(tenant_ids, subscription_ids);
	}
}

/*
 * billing_coupon_flag
 *		Column coupon of subscriptions: the last applied of those that something is left
 *		of.  Where it is NULL nothing looks for coupons.
 */
void
billing_coupon_flag(Datum tenant_ids, Datum subscription_ids)
{
	static BillingQuery query = STEP(
									 "UPDATE billing.subscription s SET coupon = f.coupon"
									 "  FROM (SELECT DISTINCT d.tenant_id, d.subscription_id, (SELECT l.coupon"
									 "          FROM billing.live_coupons(d.tenant_id, d.subscription_id, NULL) l ORDER BY l.use_id DESC LIMIT 1) AS coupon"
									 "          FROM unnest($1, $2) d (tenant_id, subscription_id)) f"
									 " WHERE s.tenant_id = f.tenant_id AND s.subscription_id = f.subscription_id"
									 "   AND s.coupon IS DISTINCT FROM f.coupon",
									 SPI_OK_UPDATE);

	PushActiveSnapshot(GetTransactionSnapshot());
	run_step(&query, tenant_ids, subscription_ids);
	PopActiveSnapshot();
}

/*
 * release
 *		Give back the uses of tenants that are over and that no invoice has, with their slots.
 */
static void
release(Datum tenant_ids)
{
	static BillingQuery query = {
		.sql = "WITH over AS MATERIALIZED ("
		"  SELECT u.tenant_id, u.use_id, u.coupon, u.slot_no FROM (SELECT DISTINCT t.tenant_id FROM unnest($1) t (tenant_id)) d"
		"    JOIN billing.coupon_use u ON u.tenant_id = d.tenant_id"
		"   WHERE u.ended_at IS NOT NULL AND u.released_at IS NULL AND NOT EXISTS (SELECT FROM billing.coupon_redemption r"
		"     JOIN billing.invoice v ON v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id AND v.status <> 'void'"
		"    WHERE r.tenant_id = u.tenant_id AND r.use_id = u.use_id)"
		"), released AS ("
		"  UPDATE billing.coupon_use u SET released_at = billing.now(), slot_no = NULL"
		"    FROM over o WHERE u.tenant_id = o.tenant_id AND u.use_id = o.use_id"
		") UPDATE billing.coupon_slot s SET taken_by = NULL, use_id = NULL"
		"  FROM over o WHERE s.coupon = o.coupon AND s.slot_no = o.slot_no",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	PushActiveSnapshot(GetTransactionSnapshot());
	(void) billing_spi_run_snapshot(&query, &tenant_ids, NULL);
	PopActiveSnapshot();
}

static void
run_step(BillingQuery *query, Datum tenant_ids, Datum ids)
{
	Datum		args[] = {tenant_ids, ids};

	(void) billing_spi_run_snapshot(query, args, NULL);
}
