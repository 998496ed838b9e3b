/*-------------------------------------------------------------------------
 *
 * charge.c
 *	  What a quantity costs under a tariff.
 *
 * The rule is written twice.  billing_charge_steps() is the definition: it goes
 * through the tiers in numeric, one step each, and is what explain_charge()
 * shows.  charge_decimal() finds the tier, multiplies once and adds what the
 * tiers below cost, all in 128 bits; where that would overflow, the steps are
 * added up instead.  A property test holds the two together.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "amount.h"
#include "charge.h"
#include "exact.h"

BILLING_FUNCTION(billing_charge);
BILLING_FUNCTION(billing_charge_exact);
BILLING_FUNCTION(billing_explain_charge);

static void check_arguments(const BillingTariff *tariff, int64 events);
static BillingNumericKind read_quantity(Datum datum, BillingDecimal *quantity);
static bool charge_decimal(const BillingTariff *tariff, BillingDecimal quantity, int64 events,
						   BillingDecimal *charge);
static bool charge_packages(const BillingTariff *tariff, uint128 units, int shift, uint128 *charge);
static bool charge_rate(const BillingTariff *tariff, uint128 units, int scale, int64 events,
						uint128 *charge);
static bool charge_tiers(const BillingTariff *tariff, uint128 units, int scale, int shift,
						 uint128 *charge);
static bool apply_bounds(const BillingTariff *tariff, BillingDecimal *charge);
static List *add_step(List *steps, int tier, const char *note, Numeric from, Numeric to,
					  Numeric units, Numeric unit_amount, Numeric flat_amount);
static List *add_adjustment(List *steps, const char *note, Numeric subtotal);
static List *add_tier_steps(List *steps, const BillingTariff *tariff, Numeric units);
static List *add_bound_steps(List *steps, const BillingTariff *tariff);
static Numeric sum_steps(List *steps);

/*
 * billing_charge
 *		The charge, rounded once, half away from zero, to the currency.
 */
Datum
billing_charge(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);
	int64		events = PG_GETARG_INT64(2);
	BillingDecimal quantity;
	BillingDecimal charge;
	Numeric		exact;
	int64		units;

	check_arguments(tariff, events);
	if (read_quantity(PG_GETARG_DATUM(1), &quantity) == BILLING_NUMERIC_FITS &&
		charge_decimal(tariff, quantity, events, &charge) &&
		billing_decimal_round(charge, tariff->exponent, false, &units))
		PG_RETURN_BILLING_AMOUNT_P(billing_amount_make(units, tariff->currency));

	exact = billing_charge_exactly(tariff, PG_GETARG_NUMERIC(1), events);
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_round(exact, billing_charge_currency(tariff)));
}

/*
 * billing_charge_exact
 *		The charge before rounding.
 */
Datum
billing_charge_exact(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);
	int64		events = PG_GETARG_INT64(2);
	BillingDecimal quantity;
	BillingDecimal charge;

	check_arguments(tariff, events);
	if (read_quantity(PG_GETARG_DATUM(1), &quantity) == BILLING_NUMERIC_FITS &&
		charge_decimal(tariff, quantity, events, &charge))
		PG_RETURN_NUMERIC(billing_numeric_from_decimal(charge.digits, charge.scale));

	PG_RETURN_NUMERIC(billing_charge_exactly(tariff, PG_GETARG_NUMERIC(1), events));
}

/*
 * check_arguments
 *		Refuse what a sum of events cannot answer.
 */
static void
check_arguments(const BillingTariff *tariff, int64 events)
{
	if (tariff->terms & BILLING_PER_EVENT_TERMS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tariff must be judged event by event"),
				 errdetail("It has free_events, event_minimum or event_maximum."),
				 errhint("Use the aggregate billing.charge_events(tariff, quantity ORDER BY at).")));
	if (events < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of events must not be negative"),
				 errdetail("events=%lld", (long long) events),
				 errhint("Give the number of events that make up the quantity.")));
}

/*
 * read_quantity
 *		A quantity as a decimal, if it fits one; a negative one bills as zero.
 */
static BillingNumericKind
read_quantity(Datum datum, BillingDecimal *quantity)
{
	bool		negative;
	BillingNumericKind kind = billing_numeric_read(PG_DETOAST_DATUM_PACKED(datum), quantity, &negative);

	if (kind == BILLING_NUMERIC_NOT_FINITE)
		billing_charge_not_finite();
	if (negative)
		quantity->digits = 0;
	return kind;
}

/*
 * billing_charge_not_finite
 *		Refuse a quantity that is no number to bill.
 */
void
billing_charge_not_finite(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("quantity must be a finite number"),
			 errdetail("It is NaN or infinite."),
			 errhint("Correct the usage that was measured.")));
}

/*
 * charge_decimal
 *		The charge in 128 bits; false where it does not fit.
 */
static bool
charge_decimal(const BillingTariff *tariff, BillingDecimal quantity, int64 events,
			   BillingDecimal *charge)
{
	int			scale = Max(quantity.scale, tariff->quantity_scale);
	int			shift = scale - tariff->quantity_scale;
	uint128		units;

	if (tariff->needs_numeric ||
		!billing_uint128_shift(quantity.digits, scale - quantity.scale, &units))
		return false;

	if (billing_tariff_has(tariff, BILLING_FREE_UNITS))
	{
		uint128		free_units;

		if (!billing_uint128_shift(billing_tariff_term(tariff, BILLING_FREE_UNITS), shift, &free_units))
			return false;
		units = units > free_units ? units - free_units : 0;
	}

	charge->scale = tariff->price_scale + scale;
	switch ((BillingModel) tariff->model)
	{
		case BILLING_FLAT:
			charge->scale = tariff->price_scale;
			charge->digits = billing_tariff_term(tariff, BILLING_AMOUNT);
			break;
		case BILLING_PACKAGE:
			charge->scale = tariff->price_scale;
			if (!charge_packages(tariff, units, shift, &charge->digits))
				return false;
			break;
		case BILLING_PER_UNIT:
			if (!billing_uint128_mul(units, billing_tariff_term(tariff, BILLING_UNIT_AMOUNT),
									 &charge->digits))
				return false;
			break;
		case BILLING_PERCENTAGE:
			if (!charge_rate(tariff, units, scale, events, &charge->digits))
				return false;
			break;
		case BILLING_GRADUATED:
		case BILLING_VOLUME:
		case BILLING_GRADUATED_PERCENTAGE:
			if (!charge_tiers(tariff, units, scale, shift, &charge->digits))
				return false;
			break;
	}
	return apply_bounds(tariff, charge);
}

static bool
charge_packages(const BillingTariff *tariff, uint128 units, int shift, uint128 *charge)
{
	uint128		size;
	uint128		packages;

	if (!billing_uint128_shift(billing_tariff_term(tariff, BILLING_PACKAGE_SIZE), shift, &size))
		return false;

	packages = units / size;
	if (packages * size < units)
		packages++;
	return billing_uint128_mul(packages, billing_tariff_term(tariff, BILLING_AMOUNT), charge);
}

static bool
charge_rate(const BillingTariff *tariff, uint128 units, int scale, int64 events, uint128 *charge)
{
	uint128		fees;

	return billing_uint128_mul(units, billing_tariff_term(tariff, BILLING_RATE), charge) &&
		billing_uint128_mul(events, billing_tariff_term(tariff, BILLING_EVENT_AMOUNT), &fees) &&
		billing_uint128_shift(fees, scale, &fees) &&
		billing_uint128_add(*charge, fees, charge);
}

/*
 * charge_tiers
 *		Find the tier that holds the units, by halving, and price from its base.
 */
static bool
charge_tiers(const BillingTariff *tariff, uint128 units, int scale, int shift, uint128 *charge)
{
	const BillingTier *tiers = billing_tariff_tiers(tariff);
	int			low = 0;
	int			high = tariff->ntiers - 1;
	uint128		origin = 0;
	uint128		base;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		uint128		up_to;

		if (!billing_uint128_shift(tiers[middle].up_to, shift, &up_to))
			return false;
		if (units <= up_to)
			high = middle;
		else
			low = middle + 1;
	}

	if (low > 0 && tariff->model != BILLING_VOLUME &&
		!billing_uint128_shift(tiers[low - 1].up_to, shift, &origin))
		return false;
	return billing_uint128_mul(units - origin, tiers[low].price, charge) &&
		billing_uint128_shift(tiers[low].base, shift, &base) &&
		billing_uint128_add(*charge, base, charge);
}

static bool
apply_bounds(const BillingTariff *tariff, BillingDecimal *charge)
{
	int			shift = charge->scale - tariff->price_scale;
	uint128		bound;

	if (billing_tariff_has(tariff, BILLING_MINIMUM))
	{
		if (!billing_uint128_shift(billing_tariff_term(tariff, BILLING_MINIMUM), shift, &bound))
			return false;
		charge->digits = Max(charge->digits, bound);
	}
	if (billing_tariff_has(tariff, BILLING_MAXIMUM))
	{
		if (!billing_uint128_shift(billing_tariff_term(tariff, BILLING_MAXIMUM), shift, &bound))
			return false;
		charge->digits = Min(charge->digits, bound);
	}
	return true;
}

/*
 * billing_explain_charge
 *		The steps of a charge as rows, for a person.
 */
Datum
billing_explain_charge(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);
	int64		events = PG_GETARG_INT64(2);
	ReturnSetInfo *rows = (ReturnSetInfo *) fcinfo->resultinfo;
	BillingDecimal ignored;
	ListCell   *cell;

	check_arguments(tariff, events);
	(void) read_quantity(PG_GETARG_DATUM(1), &ignored);
	InitMaterializedSRF(fcinfo, 0);

	foreach(cell, billing_charge_steps(tariff, PG_GETARG_NUMERIC(1), events))
	{
		BillingChargeStep *step = lfirst(cell);
		Numeric		numbers[] = {step->from_quantity, step->to_quantity, step->units,
		step->unit_amount, step->flat_amount, step->subtotal};
		Datum		values[8];
		bool		nulls[8] = {0};

		values[0] = Int32GetDatum(step->tier);
		nulls[0] = step->tier == 0;
		for (int i = 0; i < lengthof(numbers); i++)
		{
			values[i + 1] = NumericGetDatum(numbers[i]);
			nulls[i + 1] = numbers[i] == NULL;
		}
		nulls[7] = step->note == NULL;
		if (!nulls[7])
			values[7] = CStringGetTextDatum(step->note);
		tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * billing_charge_currency
 *		The currency a tariff charges in.
 */
const BillingCurrency *
billing_charge_currency(const BillingTariff *tariff)
{
	return billing_currency_find(tariff->currency, sizeof(tariff->currency));
}

/*
 * billing_charge_exactly
 *		The charge before rounding, of any size.
 */
Numeric
billing_charge_exactly(const BillingTariff *tariff, Numeric quantity, int64 events)
{
	return billing_numeric_trim(sum_steps(billing_charge_steps(tariff, quantity, events)));
}

/*
 * billing_charge_steps
 *		Price a quantity step by step: free units, tiers, events, bounds.
 *
 * A step is one line of an explanation; their subtotals add up to the charge.
 */
List *
billing_charge_steps(const BillingTariff *tariff, Numeric quantity, int64 events)
{
	Numeric		zero = int64_to_numeric(0);
	Numeric		units = billing_numeric_max(quantity, zero);
	List	   *steps = NIL;

	if (billing_tariff_has(tariff, BILLING_FREE_UNITS))
	{
		Numeric		free_units = billing_numeric_min(units, billing_charge_term(tariff, BILLING_FREE_UNITS));

		steps = add_step(steps, 0, "free units", NULL, NULL, free_units, zero, zero);
		units = billing_numeric_sub(units, free_units);
	}

	switch ((BillingModel) tariff->model)
	{
		case BILLING_FLAT:
			steps = add_step(steps, 1, NULL, zero, NULL, units, zero,
							 billing_charge_term(tariff, BILLING_AMOUNT));
			break;
		case BILLING_PER_UNIT:
			steps = add_step(steps, 1, NULL, zero, NULL, units,
							 billing_charge_term(tariff, BILLING_UNIT_AMOUNT), zero);
			break;
		case BILLING_PACKAGE:
			{
				Numeric		size = billing_charge_term(tariff, BILLING_PACKAGE_SIZE);
				Numeric		packages = billing_numeric_ceil_div(units, size);

				steps = add_step(steps, 1, psprintf("packages of %s", numeric_normalize(size)),
								 zero, NULL, packages, billing_charge_term(tariff, BILLING_AMOUNT), zero);
				break;
			}
		case BILLING_PERCENTAGE:
			steps = add_step(steps, 1, NULL, zero, NULL, units,
							 billing_charge_term(tariff, BILLING_RATE), zero);
			if (billing_tariff_has(tariff, BILLING_EVENT_AMOUNT))
				steps = add_step(steps, 0, "events", NULL, NULL, int64_to_numeric(events),
								 billing_charge_term(tariff, BILLING_EVENT_AMOUNT), zero);
			break;
		case BILLING_GRADUATED:
		case BILLING_VOLUME:
		case BILLING_GRADUATED_PERCENTAGE:
			steps = add_tier_steps(steps, tariff, units);
			break;
	}
	return add_bound_steps(steps, tariff);
}

static List *
add_step(List *steps, int tier, const char *note, Numeric from, Numeric to,
		 Numeric units, Numeric unit_amount, Numeric flat_amount)
{
	BillingChargeStep *step = palloc(sizeof(BillingChargeStep));

	step->tier = tier;
	step->from_quantity = from;
	step->to_quantity = to;
	step->units = units;
	step->unit_amount = unit_amount;
	step->flat_amount = flat_amount;
	step->subtotal = billing_numeric_trim(billing_numeric_add(billing_numeric_mul(units, unit_amount),
															  flat_amount));
	step->note = note;
	return lappend(steps, step);
}

static List *
add_adjustment(List *steps, const char *note, Numeric subtotal)
{
	BillingChargeStep *step = palloc0(sizeof(BillingChargeStep));

	step->subtotal = subtotal;
	step->note = note;
	return lappend(steps, step);
}

/*
 * add_tier_steps
 *		A step for each tier that units reach; under volume for the one that holds
 *		them all.  At zero units that is the first.
 */
static List *
add_tier_steps(List *steps, const BillingTariff *tariff, Numeric units)
{
	const BillingTier *tiers = billing_tariff_tiers(tariff);
	bool		volume = tariff->model == BILLING_VOLUME;
	Numeric		from = int64_to_numeric(0);

	for (int i = 0; i < tariff->ntiers; i++)
	{
		bool		open = tiers[i].up_to == BILLING_NO_END;
		Numeric		to = open ? NULL :
			billing_numeric_from_decimal(tiers[i].up_to, tariff->quantity_scale);
		bool		last = open || billing_numeric_cmp(units, to) <= 0;
		Numeric		in_tier = volume ? units : billing_numeric_sub(last ? units : to, from);

		if (!volume || last)
			steps = add_step(steps, i + 1, NULL, from, to, in_tier,
							 billing_numeric_from_decimal(tiers[i].price, tariff->price_scale),
							 billing_numeric_from_decimal(tiers[i].flat_amount, tariff->price_scale));
		if (last)
			break;
		from = to;
	}
	return steps;
}

static List *
add_bound_steps(List *steps, const BillingTariff *tariff)
{
	Numeric		sum = sum_steps(steps);

	if (billing_tariff_has(tariff, BILLING_MINIMUM))
	{
		Numeric		minimum = billing_charge_term(tariff, BILLING_MINIMUM);

		if (billing_numeric_cmp(sum, minimum) < 0)
			return add_adjustment(steps, "raised to the minimum", billing_numeric_sub(minimum, sum));
	}
	if (billing_tariff_has(tariff, BILLING_MAXIMUM))
	{
		Numeric		maximum = billing_charge_term(tariff, BILLING_MAXIMUM);

		if (billing_numeric_cmp(sum, maximum) > 0)
			return add_adjustment(steps, "lowered to the maximum", billing_numeric_sub(maximum, sum));
	}
	return steps;
}

static Numeric
sum_steps(List *steps)
{
	Numeric		sum = int64_to_numeric(0);
	ListCell   *cell;

	foreach(cell, steps)
		sum = billing_numeric_add(sum, ((BillingChargeStep *) lfirst(cell))->subtotal);
	return sum;
}

/*
 * billing_charge_term
 *		A term of the tariff as numeric.
 */
Numeric
billing_charge_term(const BillingTariff *tariff, BillingTerm term)
{
	bool		is_quantity = (BILLING_QUANTITY_TERMS & BILLING_TERM_BIT(term)) != 0;

	return billing_numeric_from_decimal(billing_tariff_term(tariff, term),
										is_quantity ? tariff->quantity_scale : tariff->price_scale);
}
