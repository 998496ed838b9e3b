/*-------------------------------------------------------------------------
 *
 * coupon_due.c
 *	  Coupons in the bill run.
 *
 * Column coupon of a subscription, which is read anyway, says whether there are any: a run without
 * them reads and writes nothing here.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "coupon.h"
#include "coupon_due.h"
#include "coupon_terms.h"
#include "id.h"

/* Which rows of the set have coupons, as arrays of ($1 which, $2 tenants, $3 subscriptions). */
typedef struct Flagged
{
	Datum		of;
	Datum		tenant_ids;
	Datum		subscription_ids;
	int			count;
} Flagged;

static Flagged collect(const BillingDue *dues, int count, bool only_ending);
static void read_coupon(uint64 row, BillingDueCoupon *coupon);
static void read_plan_codes(BillingDue *dues, Flagged flagged);
static const char *plan_of(const BillingDue *due, const BillingLine *line);

void
billing_coupon_read_due(BillingDue *dues, int count)
{
	static BillingQuery query = {
		.sql = "SELECT d.of, l.use_id, l.amount, l.terms FROM unnest($1, $2, $3) d (of, tenant_id, subscription_id)"
		" CROSS JOIN LATERAL billing.live_coupons(d.tenant_id, d.subscription_id, NULL) l ORDER BY d.of, l.step",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Flagged		flagged = collect(dues, count, false);
	Datum		args[] = {flagged.of, flagged.tenant_ids, flagged.subscription_ids};
	BillingDueCoupon *coupons;
	uint64		rows;

	if (flagged.count == 0)
		return;
	rows = billing_spi_run_snapshot(&query, args, NULL);
	coupons = palloc0(Max(rows, 1) * sizeof(BillingDueCoupon));
	for (uint64 row = 0; row < rows; row++)
	{
		bool		isnull;
		BillingDue *due = &dues[DatumGetInt64(billing_spi_value(row, 1, &isnull))];

		read_coupon(row, &coupons[row]);
		if (due->coupon_count++ == 0)
			due->coupons = &coupons[row];
	}
	read_plan_codes(dues, flagged);
}

/* Those that have coupons, or, of these, those that end here. */
static Flagged
collect(const BillingDue *dues, int count, bool only_ending)
{
	Flagged		flagged = {.count = 0};
	Datum	   *ids = NULL;

	for (int i = 0; i < count; i++)
	{
		const BillingDue *due = &dues[i];

		if (!DatumGetBool(due->facts[BILLING_DUE_HAS_COUPON].value) ||
			(only_ending && !DatumGetBool(due->next[BILLING_BOUNDARY_ENDS].value)))
			continue;
		if (ids == NULL)
			ids = palloc_extended(3 * (Size) count * sizeof(Datum), MCXT_ALLOC_HUGE);
		ids[flagged.count] = Int64GetDatum(i);
		ids[count + flagged.count] = due->facts[BILLING_DUE_TENANT_ID].value;
		ids[2 * count + flagged.count] = due->facts[BILLING_DUE_SUBSCRIPTION_ID].value;
		flagged.count++;
	}
	if (flagged.count == 0)
		return flagged;
	flagged.of = billing_id_array(ids, flagged.count);
	flagged.tenant_ids = billing_id_array(ids + count, flagged.count);
	flagged.subscription_ids = billing_id_array(ids + 2 * count, flagged.count);
	return flagged;
}


static void
read_coupon(uint64 row, BillingDueCoupon *coupon)
{
	bool		isnull;

	coupon->use_id = DatumGetInt64(billing_spi_value(row, 2, &isnull));
	coupon->amount.value = billing_spi_value(row, 3, &coupon->amount.isnull);
	coupon->terms = DatumGetHeapTupleHeader(billing_spi_value(row, 4, &isnull));
	billing_coupon_read_terms(coupon->terms, &coupon->coupon);
}

/*
 * read_plan_codes
 *		The codes of the plans whose lines those have that have coupons.
 */
static void
read_plan_codes(BillingDue *dues, Flagged flagged)
{
	static BillingQuery query = {
		.sql = "SELECT p.plan_id, p.code FROM billing.plan p WHERE p.plan_id = ANY ($1)",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	int64	   *of = (int64 *) ARR_DATA_PTR(DatumGetArrayTypeP(flagged.of));
	List	   *ids = NIL;
	Datum	   *elements;
	Datum		arg;
	BillingPlanCode *codes;
	uint64		rows;
	bool		isnull;

	for (int i = 0; i < flagged.count; i++)
	{
		const BillingDue *due = &dues[of[i]];

		ids = lappend(ids, DatumGetPointer(due->facts[BILLING_DUE_PLAN_ID].value));
		for (int j = 0; j < due->line_count; j++)
		{
			if (!due->lines[j].nulls[BILLING_LINE_PLAN_ID])
				ids = lappend(ids, DatumGetPointer(due->lines[j].values[BILLING_LINE_PLAN_ID]));
		}
	}
	elements = palloc(list_length(ids) * sizeof(Datum));
	for (int i = 0; i < list_length(ids); i++)
		elements[i] = PointerGetDatum(list_nth(ids, i));
	arg = billing_id_array(elements, list_length(ids));
	rows = billing_spi_run_snapshot(&query, &arg, NULL);
	codes = palloc(Max(rows, 1) * sizeof(BillingPlanCode));
	for (uint64 row = 0; row < rows; row++)
	{
		codes[row].plan_id = DatumGetInt64(billing_spi_value(row, 1, &isnull));
		codes[row].code = TextDatumGetCString(billing_spi_value(row, 2, &isnull));
	}
	for (int i = 0; i < flagged.count; i++)
	{
		dues[of[i]].plan_codes = codes;
		dues[of[i]].plan_code_count = rows;
	}
}

void
billing_coupon_take_off(const BillingDue *due, BillingComposition *composition)
{
	BillingDiscountLine *lines = palloc0(Max(composition->line_count, 1) * sizeof(BillingDiscountLine));
	BillingCoupon *coupons = palloc(due->coupon_count * sizeof(BillingCoupon));

	for (int i = 0; i < composition->line_count; i++)
	{
		const BillingLine *line = &due->lines[i];

		lines[i].amount = composition->lines[i].amount;
		if (!line->nulls[BILLING_LINE_PRICE_CODE])
			lines[i].price = TextDatumGetCString(line->values[BILLING_LINE_PRICE_CODE]);
		lines[i].plan = plan_of(due, line);
	}
	for (int i = 0; i < due->coupon_count; i++)
		coupons[i] = due->coupons[i].coupon;
	if (!billing_discount_calculate(composition->currency, lines, composition->line_count, coupons, due->coupon_count))
		billing_amount_out_of_range(composition->currency);
	for (int i = 0; i < composition->line_count; i++)
		composition->lines[i].discount = lines[i].discount;
	for (int i = 0; i < due->coupon_count; i++)
		due->coupons[i].coupon.discount = coupons[i].discount;
}

static const char *
plan_of(const BillingDue *due, const BillingLine *line)
{
	int64		plan_id = DatumGetInt64(line->nulls[BILLING_LINE_PLAN_ID] ?
										due->facts[BILLING_DUE_PLAN_ID].value : line->values[BILLING_LINE_PLAN_ID]);

	for (int i = 0; i < due->plan_code_count; i++)
	{
		if (due->plan_codes[i].plan_id == plan_id)
			return due->plan_codes[i].code;
	}
	return NULL;
}

void
billing_coupon_write_due(const BillingDue *dues, int count, BillingStore *redemptions)
{
	static BillingQuery insert = {
		.sql = "INSERT INTO billing.coupon_redemption (" BILLING_MADE_REDEMPTION ") TABLE made_redemption",
		.expected = SPI_OK_INSERT,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	static BillingQuery use = {
		.sql = "UPDATE billing.coupon_use u SET amount_left = u.amount_left - m.discount, periods_left = u.periods_left - 1"
		" FROM made_redemption m WHERE u.tenant_id = m.tenant_id AND u.use_id = m.use_id",
		.expected = SPI_OK_UPDATE,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Flagged		flagged = collect(dues, count, false);
	Flagged		ending = collect(dues, count, true);

	if (flagged.count == 0)
		return;
	if (redemptions->count > 0)
	{
		billing_store_show(redemptions);
		(void) billing_spi_run_snapshot(&insert, NULL, NULL);
		(void) billing_spi_run_snapshot(&use, NULL, NULL);
	}
	billing_coupon_flag(flagged.tenant_ids, flagged.subscription_ids);
	if (ending.count > 0)
		billing_coupon_end(ending.tenant_ids, ending.subscription_ids);
}
