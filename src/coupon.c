/*-------------------------------------------------------------------------
 *
 * coupon.c
 *	  Which coupon may be applied to what: its rules and its guard.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "clock.h"
#include "coupon.h"
#include "coupon_terms.h"
#include "result.h"
#include "trigger.h"

BILLING_FUNCTION(billing_coupon_guard);
BILLING_FUNCTION(billing_validate_coupon);

pg_noreturn static void report_used(const char *code, const char *action, const char *column);
static BillingAmount *take_off(const BillingAmount *amount, Datum terms);

/*
 * billing_coupon_guard
 *		Of a coupon that was applied, keep what it takes off; let its limits move.
 *
 * Uses before there was a limit have no slot, so one cannot be set after the first.
 */
Datum
billing_coupon_guard(PG_FUNCTION_ARGS)
{
	static const char *const free_columns[] = {
		"name", "description", "redemption_limit", "tenant_limit", "valid_from", "valid_until", "is_active", "slot_count"
	};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	const char *code = billing_trigger_text(trigger, trigger->tg_trigtuple, "code");
	const char *column;
	bool		isnull;
	bool		had_limit;

	(void) billing_trigger_value(trigger, trigger->tg_trigtuple, "used_at", &isnull);
	if (isnull)
		return billing_trigger_pass(trigger);
	if (!is_update)
		report_used(code, "stays", NULL);
	column = billing_trigger_changed(trigger, free_columns, lengthof(free_columns));
	if (column != NULL)
		report_used(code, psprintf("keeps its column \"%s\"", column), column);

	(void) billing_trigger_value(trigger, trigger->tg_trigtuple, "redemption_limit", &isnull);
	had_limit = !isnull;
	(void) billing_trigger_value(trigger, trigger->tg_newtuple, "redemption_limit", &isnull);
	if (!had_limit && !isnull)
		report_used(code, "gets no redemption limit, since it had none", "redemption_limit");
	return billing_trigger_pass(trigger);
}

static void
report_used(const char *code, const char *action, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("coupon \"%s\" was applied and %s", code, action),
			 column == NULL ? errdetail("object=coupon code=%s", code) :
			 errdetail("object=coupon code=%s column=%s", code, column),
			 errhint("Set is_active = false on it, and insert another under a code of its own.")));
}

/*
 * The first rule that refuses a coupon for what w is: its currency, whether plans and prices of the
 * coupon are among its, its amount in minor units, and the coupons it has.  $1 tenant, $2 code, $3 now.
 */
#define JUDGE(what) \
	"SELECT CASE WHEN NOT c.is_active THEN 'inactive'" \
	"  WHEN $3 < c.valid_from THEN 'not_yet_valid'" \
	"  WHEN $3 >= c.valid_until THEN 'expired'" \
	"  WHEN NOT w.has_plan THEN 'plan'" \
	"  WHEN NOT w.has_price THEN 'price'" \
	"  WHEN c.currency <> w.currency THEN 'currency'" \
	"  WHEN billing.minor_units(c.min_amount) > w.units THEN 'min_amount'" \
	"  WHEN w.has_it THEN 'attached'" \
	"  WHEN w.has_others AND NOT c.is_stackable OR w.has_alone THEN 'stacking'" \
	"  WHEN c.tenant_limit <= (SELECT count(*) FROM billing.coupon_use u" \
	"    WHERE u.tenant_id = $1 AND u.coupon = c.code AND u.released_at IS NULL) THEN 'tenant_limit'" \
	"  WHEN CASE WHEN c.slot_count = c.redemption_limit" \
	"    THEN NOT EXISTS (SELECT FROM billing.coupon_slot s WHERE s.coupon = c.code AND s.taken_by IS NULL)" \
	"    ELSE c.redemption_limit <= (SELECT count(*) FROM billing.coupon_slot s WHERE s.coupon = c.code AND s.taken_by IS NOT NULL) END" \
	"    THEN 'limit' END," \
	"  c.used_at IS NOT NULL, billing.terms_of_coupon(c, NULL)" \
	" FROM billing.coupon c CROSS JOIN LATERAL (" what ") w WHERE c.code = $2"

#define OF_PLAN \
	"SELECT $4 IS NULL OR coalesce($4 = ANY (c.plans), true) AS has_plan," \
	"  $4 IS NULL OR c.prices IS NULL OR EXISTS (SELECT FROM billing.plan p JOIN billing.price x ON x.plan_id = p.plan_id" \
	"    WHERE p.code = $4 AND x.code = ANY (c.prices)) AS has_price," \
	"  billing.currency($5::billing.amount) AS currency, billing.minor_units($5::billing.amount) AS units," \
	"  false AS has_it, false AS has_others, false AS has_alone"

/* A plan is one's own, or of an add-on; a coupon for another takes nothing off. */
#define OF_SUBSCRIPTION \
	"SELECT coalesce(p.code = ANY (c.plans), true) AS has_plan," \
	"  c.prices IS NULL OR EXISTS (SELECT FROM billing.price x WHERE x.plan_id = p.plan_id AND x.code = ANY (c.prices)) AS has_price," \
	"  s.currency, NULL::bigint AS units, bool_or(l.coupon = c.code) AS has_it, count(l.coupon) > 0 AS has_others," \
	"  bool_or(l.is_alone) AS has_alone" \
	" FROM billing.subscription s JOIN billing.plan p ON p.plan_id = s.plan_id" \
	" LEFT JOIN billing.live_coupons(s.tenant_id, s.subscription_id, NULL) l ON true" \
	" WHERE s.tenant_id = $1 AND s.subscription_id = $4 GROUP BY p.plan_id, p.code, s.currency"

#define OF_INVOICE \
	"SELECT c.plans IS NULL OR n.has_plan AS has_plan, c.prices IS NULL OR n.has_price AS has_price, v.currency, n.units," \
	"  l.has_it, l.has_others, l.has_alone" \
	" FROM billing.invoice v" \
	" CROSS JOIN LATERAL (SELECT bool_or(l.coupon = c.code) AS has_it, count(l.coupon) > 0 AS has_others, bool_or(l.is_alone) AS has_alone" \
	"   FROM billing.live_coupons(v.tenant_id, v.subscription_id, v.invoice_id) l) l" \
	" CROSS JOIN LATERAL (SELECT coalesce(bool_or(p.code = ANY (c.plans)), false) AS has_plan," \
	"    coalesce(bool_or(n.price_code = ANY (c.prices)), false) AS has_price," \
	"    coalesce(sum(billing.minor_units(n.amount)) FILTER (WHERE (c.plans IS NULL OR p.code = ANY (c.plans))" \
	"      AND (c.prices IS NULL OR n.price_code = ANY (c.prices))), 0) AS units" \
	"   FROM billing.invoice_item n LEFT JOIN billing.plan p ON p.plan_id = coalesce(n.plan_id, v.plan_id)" \
	"   WHERE n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id) n" \
	" WHERE v.tenant_id = $1 AND v.invoice_id = $4"

void
billing_coupon_judge(int64 tenant_id, Datum code, BillingCouponTarget kind, NullableDatum target,
					 NullableDatum amount, bool read_only, BillingCouponJudgment *judgment)
{
	static BillingQuery queries[] = {
		[BILLING_COUPON_PLAN] = {
			.sql = JUDGE(OF_PLAN),
			.expected = SPI_OK_SELECT,
			.nargs = 5,
			.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID},
		},
		[BILLING_COUPON_SUBSCRIPTION] = {
			.sql = JUDGE(OF_SUBSCRIPTION),
			.expected = SPI_OK_SELECT,
			.nargs = 4,
			.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, INT8OID},
		},
		[BILLING_COUPON_INVOICE] = {
			.sql = JUDGE(OF_INVOICE),
			.expected = SPI_OK_SELECT,
			.nargs = 4,
			.argtypes = {INT8OID, TEXTOID, TIMESTAMPTZOID, INT8OID},
		},
	};
	BillingQuery *query = &queries[kind];
	Datum		args[] = {
		Int64GetDatum(tenant_id), code, TimestampTzGetDatum(billing_clock_now()), target.value, amount.value
	};
	char		nulls[] = "     ";
	MemoryContext context = CurrentMemoryContext;
	Datum		rule;
	bool		isnull;

	memset(judgment, 0, sizeof(*judgment));
	nulls[3] = target.isnull ? 'n' : ' ';
	nulls[4] = amount.isnull ? 'n' : ' ';
	query->read_only = read_only;
	judgment->exists = billing_spi_run(query, args, nulls) > 0;
	if (!judgment->exists)
	{
		judgment->rule = "unknown";
		return;
	}
	rule = billing_spi_value(0, 1, &isnull);
	judgment->rule = isnull ? NULL : MemoryContextStrdup(context, TextDatumGetCString(rule));
	judgment->is_used = DatumGetBool(billing_spi_value(0, 2, &isnull));
	judgment->terms = billing_spi_copy(0, 3, context);
}

/*
 * billing_validate_coupon
 *		Say whether a tenant may apply a coupon, or which rule refuses it; writes nothing.
 */
Datum
billing_validate_coupon(PG_FUNCTION_ARGS)
{
	NullableDatum plan = {PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2), PG_ARGISNULL(2)};
	NullableDatum amount = {.isnull = PG_ARGISNULL(3)};
	BillingCouponJudgment judgment;
	MemoryContext caller;
	Datum		values[3];
	bool		nulls[3];
	Datum		result;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "code");
	billing_flow_check_caller(PG_GETARG_INT64(0));
	if (!amount.isnull)
		amount.value = CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(billing_amount_out, PG_GETARG_DATUM(3))));

	caller = CurrentMemoryContext;
	billing_spi_begin();
	billing_flow_find_tenant(PG_GETARG_INT64(0));
	billing_coupon_judge(PG_GETARG_INT64(0), PG_GETARG_DATUM(1), BILLING_COUPON_PLAN, plan, amount, true, &judgment);
	values[0] = BoolGetDatum(judgment.rule == NULL);
	nulls[0] = false;
	nulls[1] = judgment.rule == NULL;
	if (!nulls[1])
		values[1] = CStringGetTextDatum(judgment.rule);
	nulls[2] = amount.isnull || judgment.rule != NULL;
	if (!nulls[2])
		values[2] = PointerGetDatum(take_off(PG_GETARG_BILLING_AMOUNT_P(3), judgment.terms));
	MemoryContextSwitchTo(caller);
	result = billing_result_make(fcinfo, lengthof(values), values, nulls);
	billing_spi_end();
	PG_RETURN_DATUM(result);
}

/* What a coupon takes off one line that it is for. */
static BillingAmount *
take_off(const BillingAmount *amount, Datum terms)
{
	BillingDiscountLine line = {.amount = amount->units};
	BillingCoupon coupon;

	billing_coupon_read_terms(DatumGetHeapTupleHeader(terms), &coupon);
	coupon.prices.count = coupon.plans.count = -1;
	(void) billing_discount_calculate(amount->currency, &line, 1, &coupon, 1);
	return billing_amount_make(coupon.discount, amount->currency);
}
