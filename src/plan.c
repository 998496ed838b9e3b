/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  Versions of plans: their guards, which one a name means, that one is in use.
 *
 * subscribe() marks the version it uses: used_at says since when, price_codes which
 * prices it has.  From then on the guards refuse to change or delete it and them.
 * An INSERT of a price into a used version is accepted if price_codes lists it, so
 * that a restore may load the plan first.
 *
 * Who writes a price locks the plan's row, as marking does.  So no price is added
 * while its plan is being marked, and prices of one plan are checked one after the
 * other.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "period.h"
#include "plan.h"
#include "spi.h"
#include "tariff.h"
#include "trigger.h"

BILLING_FUNCTION(billing_meter_guard);
BILLING_FUNCTION(billing_plan_guard);
BILLING_FUNCTION(billing_price_guard);
BILLING_FUNCTION(billing_truncate_guard);

/* A price's plan, as its guard reads it. */
typedef struct PricedPlan
{
	int64		plan_id;
	bool		is_used;
	bool		lists_price;
	char	   *currency;
	Interval   *cycle;			/* NULL: lifetime */
} PricedPlan;

static bool offer_changed(TriggerData *trigger);
static bool plan_has_prices(int64 plan_id);
pg_noreturn static void report_used(int64 plan_id, const char *refused, const char *column);
static bool lock_priced_plan(int64 plan_id, Datum code, PricedPlan *plan);
static void check_may_take_price(TriggerData *trigger, const PricedPlan *plan, const char *code);
static void check_price_currency(TriggerData *trigger, HeapTuple price, const PricedPlan *plan);
static void check_currency(TriggerData *trigger, HeapTuple price, const PricedPlan *plan, const char *column, const char *currency);
static void check_price_cycle(TriggerData *trigger, HeapTuple price, const PricedPlan *plan);
static void check_same_cycle(int64 plan_id, Datum code, Interval *cycle);
static bool same_interval(const Interval *a, const Interval *b);
static char *interval_text(const Interval *interval);
static bool row_fits(uint64 row, const Interval *cycle, const char *currency);
static const Interval *row_cycle(uint64 row);
static const char *row_currency(uint64 row);
static const char *list_offers(const char *currency);
pg_noreturn static void report_no_plan(const char *code);
pg_noreturn static void report_no_offer(const char *code, const Interval *cycle, const char *currency);

/*
 * billing_plan_guard
 *		Refuse to change or delete a version in use; keep one that has prices to them.
 */
Datum
billing_plan_guard(PG_FUNCTION_ARGS)
{
	/* What is generated follows the others, and is not known yet. */
	static const char *const free_columns[] = {"is_active", "name", "sort_order", "dunning_policy"};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	const char *column = NULL;
	bool		isnull;
	int64		plan_id = DatumGetInt64(billing_trigger_value(trigger, trigger->tg_trigtuple,
															  "plan_id", &isnull));

	(void) billing_trigger_value(trigger, trigger->tg_trigtuple, "used_at", &isnull);
	if (!isnull)
	{
		if (is_update)
			column = billing_trigger_changed(trigger, free_columns, lengthof(free_columns));
		if (!is_update || column != NULL)
			report_used(plan_id, "it cannot change", column);
	}
	else if (is_update && offer_changed(trigger) && plan_has_prices(plan_id))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("plan %lld has prices, so its currency and cycle cannot change",
						(long long) plan_id),
				 errdetail("plan_id=%lld", (long long) plan_id),
				 errhint("Delete its prices first, or insert the next version.")));

	return billing_trigger_pass(trigger);
}

/* Does an UPDATE change what the prices of the plan were checked against? */
static bool
offer_changed(TriggerData *trigger)
{
	static const char *const columns[] = {"currency", "cycle"};

	for (int i = 0; i < lengthof(columns); i++)
	{
		if (strcmp(billing_trigger_text(trigger, trigger->tg_trigtuple, columns[i]),
				   billing_trigger_text(trigger, trigger->tg_newtuple, columns[i])) != 0)
			return true;
	}
	return false;
}

static bool
plan_has_prices(int64 plan_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.price WHERE plan_id = $1 LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(plan_id)};
	bool		found;

	billing_spi_begin();
	found = billing_spi_run(&query, args, NULL) > 0;
	billing_spi_end();
	return found;
}

static void
report_used(int64 plan_id, const char *refused, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("plan %lld is in use, so %s", (long long) plan_id, refused),
			 column == NULL ? errdetail("plan_id=%lld", (long long) plan_id) :
			 errdetail("plan_id=%lld column=%s", (long long) plan_id, column),
			 errhint("Insert the plan's next version with its prices, then set is_active = false on this one.")));
}

/*
 * billing_price_guard
 *		Refuse to change the prices of a version in use, and a price that its plan
 *		could not bill.
 */
Datum
billing_price_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	HeapTuple	price = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	PricedPlan	plan;
	bool		isnull;
	int64		old_plan_id = DatumGetInt64(billing_trigger_value(trigger, trigger->tg_trigtuple,
																  "plan_id", &isnull));
	int64		plan_id = DatumGetInt64(billing_trigger_value(trigger, price, "plan_id", &isnull));
	Datum		code;

	if (isnull)
		return billing_trigger_pass(trigger);	/* NOT NULL says it better */
	code = billing_trigger_value(trigger, price, "code", &isnull);
	if (isnull)
		return billing_trigger_pass(trigger);

	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		lock_priced_plan(old_plan_id, code, &plan) && plan.is_used)
		report_used(old_plan_id,
					psprintf("price \"%s\" cannot change",
							 billing_trigger_text(trigger, trigger->tg_trigtuple, "code")),
					NULL);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) || !lock_priced_plan(plan_id, code, &plan))
		return billing_trigger_pass(trigger);	/* the foreign key says it */

	check_may_take_price(trigger, &plan, TextDatumGetCString(code));
	check_price_currency(trigger, price, &plan);
	check_price_cycle(trigger, price, &plan);
	return billing_trigger_pass(trigger);
}

/*
 * lock_priced_plan
 *		Read the plan of a price, locked against its marking; false: there is none.
 */
static bool
lock_priced_plan(int64 plan_id, Datum code, PricedPlan *plan)
{
	static BillingQuery query = {
		.sql = "SELECT used_at IS NOT NULL, coalesce($2 = ANY (price_codes), false), currency, cycle "
		"FROM billing.plan WHERE plan_id = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(plan_id), code};
	MemoryContext caller = CurrentMemoryContext;
	bool		isnull;
	bool		found;

	billing_spi_begin();
	found = billing_spi_run(&query, args, NULL) > 0;
	if (found)
	{
		plan->plan_id = plan_id;
		plan->is_used = DatumGetBool(billing_spi_value(0, 1, &isnull));
		plan->lists_price = DatumGetBool(billing_spi_value(0, 2, &isnull));
		plan->currency = MemoryContextStrdup(caller, TextDatumGetCString(billing_spi_value(0, 3, &isnull)));
		plan->cycle = DatumGetIntervalP(billing_spi_copy(0, 4, caller));
	}
	billing_spi_end();
	return found;
}

static void
check_may_take_price(TriggerData *trigger, const PricedPlan *plan, const char *code)
{
	if (plan->is_used && !(plan->lists_price && TRIGGER_FIRED_BY_INSERT(trigger->tg_event)))
		report_used(plan->plan_id, psprintf("price \"%s\" cannot be added", code), NULL);
}

static void
check_price_currency(TriggerData *trigger, HeapTuple price, const PricedPlan *plan)
{
	static const char *const bounds[] = {"minimum", "maximum"};
	bool		isnull;
	Datum		value = billing_trigger_value(trigger, price, "tariff", &isnull);

	if (!isnull)
		check_currency(trigger, price, plan, "tariff", DatumGetBillingTariffP(value)->currency);
	for (int i = 0; i < lengthof(bounds); i++)
	{
		value = billing_trigger_value(trigger, price, bounds[i], &isnull);
		if (!isnull)
			check_currency(trigger, price, plan, bounds[i], DatumGetBillingAmountP(value)->currency);
	}
}

static void
check_currency(TriggerData *trigger, HeapTuple price, const PricedPlan *plan, const char *column, const char *currency)
{
	if (strncmp(currency, plan->currency, 3) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
			 errmsg("%s of price \"%s\" is in %.3s, its plan in %s", column,
					billing_trigger_text(trigger, price, "code"), currency, plan->currency),
			 errdetail("plan_id=%lld plan_currency=%s %s_currency=%.3s",
					   (long long) plan->plan_id, plan->currency, column, currency),
			 errhint("A plan has one currency: insert a plan of the same code for each other one.")));
}

/*
 * check_price_cycle
 *		A cycle of its own is shorter than the plan's, divides it, and is the only one.
 */
static void
check_price_cycle(TriggerData *trigger, HeapTuple price, const PricedPlan *plan)
{
	bool		isnull;
	Datum		value = billing_trigger_value(trigger, price, "cycle", &isnull);
	Datum		code;
	Interval   *cycle;

	if (isnull)
		return;
	cycle = DatumGetIntervalP(value);
	code = billing_trigger_value(trigger, price, "code", &isnull);
	if (plan->cycle != NULL &&
		(same_interval(cycle, plan->cycle) || !billing_period_cycle_divides(cycle, plan->cycle)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cycle of price \"%s\" must be a part of its plan's", TextDatumGetCString(code)),
				 errdetail("plan_id=%lld plan_cycle=%s price_cycle=%s", (long long) plan->plan_id,
						   interval_text(plan->cycle), interval_text(cycle)),
				 errhint("Leave it NULL for the plan's own cycle, or give one that fills it in whole numbers.")));

	check_same_cycle(plan->plan_id, code, cycle);
}

static void
check_same_cycle(int64 plan_id, Datum code, Interval *cycle)
{
	static BillingQuery query = {
		.sql = "SELECT cycle FROM billing.price WHERE plan_id = $1 AND code <> $2 AND cycle IS NOT NULL",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(plan_id), code};
	bool		isnull;
	uint64		rows;

	billing_spi_begin();
	rows = billing_spi_run(&query, args, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		Interval   *other = DatumGetIntervalP(billing_spi_value(row, 1, &isnull));

		if (!same_interval(cycle, other))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("prices of plan %lld with a cycle of their own must have the same one",
							(long long) plan_id),
					 errdetail("plan_id=%lld price=%s price_cycle=%s other_cycle=%s", (long long) plan_id,
							   TextDatumGetCString(code), interval_text(cycle), interval_text(other)),
					 errhint("Offer the other cycle in another plan.")));
	}
	billing_spi_end();
}

/* Field by field: 30 days and a month compare equal, but are not the same. */
static bool
same_interval(const Interval *a, const Interval *b)
{
	return a->month == b->month && a->day == b->day && a->time == b->time;
}

/* Such as 1 mon, whatever the session's IntervalStyle: a detail is read by machines. */
static char *
interval_text(const Interval *interval)
{
	struct pg_itm fields;
	char		text[MAXDATELEN + 1];

	interval2itm(*interval, &fields);
	EncodeInterval(&fields, INTSTYLE_POSTGRES, text);
	return pstrdup(text);
}

/*
 * billing_meter_guard
 *		Keep how a meter counts once a plan in use is priced by it.
 */
Datum
billing_meter_guard(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT p.plan_id FROM billing.price p JOIN billing.plan USING (plan_id) "
		"WHERE p.meter = $1 AND used_at IS NOT NULL LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	static const char *const free_columns[] = {"name", "unit", "created_at", "created_by"};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	const char *column = billing_trigger_changed(trigger, free_columns, lengthof(free_columns));
	char	   *code = billing_trigger_text(trigger, trigger->tg_trigtuple, "code");
	Datum		args[] = {CStringGetTextDatum(code)};
	bool		isnull;

	if (column == NULL)
		return billing_trigger_pass(trigger);

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("meter \"%s\" prices a plan in use, so its %s cannot change", code, column),
				 errdetail("meter=%s column=%s plan_id=%lld", code, column,
						   (long long) DatumGetInt64(billing_spi_value(0, 1, &isnull))),
				 errhint("Insert another meter, and a version of the plan that is priced by it.")));
	billing_spi_end();
	return billing_trigger_pass(trigger);
}

/*
 * billing_truncate_guard
 *		Refuse TRUNCATE, which would pass by the guards of the rows.
 */
Datum
billing_truncate_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_statement(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("table billing.%s cannot be truncated", table),
			 errdetail("table=%s", table),
			 errhint("DELETE the rows that may go.")));
}

/*
 * billing_plan_find
 *		The version that a plan's name means to somebody who subscribes.
 */
int64
billing_plan_find(const char *code, const Interval *cycle, const char *currency)
{
	static BillingQuery query = {
		.sql = "SELECT DISTINCT ON (cycle, currency) plan_id, cycle, currency FROM billing.plan "
		"WHERE code = $1 AND is_active ORDER BY cycle, currency, version DESC",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(code)};
	uint64		rows = billing_spi_run(&query, args, NULL);
	int64		plan_id = 0;
	int			fitting = 0;
	bool		isnull;

	if (rows == 0)
		report_no_plan(code);
	for (uint64 row = 0; row < rows; row++)
	{
		if (!row_fits(row, cycle, currency))
			continue;
		fitting++;
		plan_id = DatumGetInt64(billing_spi_value(row, 1, &isnull));
	}

	if (fitting == 0)
		report_no_offer(code, cycle, currency);
	if (fitting > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("plan \"%s\" has several cycles in %s", code, currency),
				 errdetail("plan=%s currency=%s", code, currency),
				 errhint("Name one of its cycles: %s.", list_offers(currency))));
	return plan_id;
}

/* Does a row of the query offer that cycle (NULL: any) in that currency (NULL: any)? */
static bool
row_fits(uint64 row, const Interval *cycle, const char *currency)
{
	const Interval *offered = row_cycle(row);

	if (currency != NULL && pg_strcasecmp(row_currency(row), currency) != 0)
		return false;
	if (cycle == NULL)
		return true;
	if (offered == NULL)
		return cycle->month == 0 && cycle->day == 0 && cycle->time == 0;
	return same_interval(offered, cycle);
}

static const Interval *
row_cycle(uint64 row)
{
	bool		isnull;
	Datum		cycle = billing_spi_value(row, 2, &isnull);

	return isnull ? NULL : DatumGetIntervalP(cycle);
}

static const char *
row_currency(uint64 row)
{
	bool		isnull;

	return TextDatumGetCString(billing_spi_value(row, 3, &isnull));
}

/*
 * list_offers
 *		What the rows of the query offer in a currency (NULL: any), for a hint.
 *
 * No cycle is written as one would ask for it: 0.
 */
static const char *
list_offers(const char *currency)
{
	StringInfoData list;

	initStringInfo(&list);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		if (row_fits(row, NULL, currency))
			appendStringInfo(&list, "%s%s in %s", list.len > 0 ? ", " : "",
							 row_cycle(row) == NULL ? "0" : interval_text(row_cycle(row)),
							 row_currency(row));
	}
	return list.data;
}

/*
 * report_no_plan
 *		Say whether there never was such a plan, or it is retired.
 */
static void
report_no_plan(const char *code)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.plan WHERE code = $1 LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(code)};

	if (billing_spi_run(&query, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("plan \"%s\" is retired", code),
				 errdetail("object=plan code=%s", code),
				 errhint("Set is_active of its latest version, or take another plan.")));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("plan \"%s\" does not exist", code),
			 errdetail("object=plan code=%s", code),
			 errhint("Read the plans offered from billing.plan WHERE is_active.")));
}

/*
 * report_no_offer
 *		Say which of the two, the currency or the cycle, a plan is not offered in.
 */
static void
report_no_offer(const char *code, const Interval *cycle, const char *currency)
{
	bool		has_currency = false;

	for (uint64 row = 0; row < SPI_processed; row++)
		has_currency |= row_fits(row, NULL, currency);

	if (!has_currency)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("plan \"%s\" is not offered in %s", code, currency),
				 errdetail("plan=%s currency=%s", code, currency),
				 errhint("It is offered for: %s.", list_offers(NULL))));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("plan \"%s\" is not offered for a cycle of %s in %s", code, interval_text(cycle), currency),
			 errdetail("plan=%s cycle=%s currency=%s", code, interval_text(cycle), currency),
			 errhint("It is offered for: %s.", list_offers(NULL))));
}

/*
 * billing_plan_mark_used
 *		Close a version: state its prices, so that none is added, changed or dropped.
 *
 * Only the first subscription of a version pays for it, and only then do tenants
 * wait for each other.
 */
void
billing_plan_mark_used(int64 plan_id)
{
	static BillingQuery unused = {
		.sql = "SELECT FROM billing.plan WHERE plan_id = $1 AND used_at IS NULL",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	static BillingQuery lock = {
		.sql = "SELECT FROM billing.plan WHERE plan_id = $1 AND used_at IS NULL FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	static BillingQuery mark = {
		.sql = "UPDATE billing.plan SET used_at = billing.now(), "
		"price_codes = ARRAY(SELECT code FROM billing.price WHERE plan_id = $1 ORDER BY code) "
		"WHERE plan_id = $1",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(plan_id)};

	if (billing_spi_run(&unused, args, NULL) == 0 || billing_spi_run(&lock, args, NULL) == 0)
		return;
	(void) billing_spi_run(&mark, args, NULL);
}
