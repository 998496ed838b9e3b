/*-------------------------------------------------------------------------
 *
 * charge_events.c
 *	  The aggregate charge_events: a tariff judged event by event, in order.
 *
 * Free events and free units go to the first events; while a tariff has both, an
 * event is free only as long as neither is used up.  An event pays its rate and
 * its event_amount, held between event_minimum and event_maximum; one that is
 * free as a whole pays nothing, and neither does one of negative quantity.  A
 * tariff with no such terms is charged for the sum, as charge() does.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/memutils.h"

#include "amount.h"
#include "charge.h"
#include "exact.h"

BILLING_FUNCTION(billing_charge_events_step);
BILLING_FUNCTION(billing_charge_events_final);

/* What the aggregate knows after some events; it lives in its memory context. */
typedef struct EventCharge
{
	MemoryContext context;
	BillingTariff *tariff;
	bool		by_event;		/* else only the sum and the number matter */
	int64		events;
	int64		free_events;	/* left */
	Numeric		free_units;		/* left; NULL: the tariff has none */
	Numeric		rate;
	Numeric		event_amount;
	Numeric		event_minimum;
	Numeric		event_maximum;	/* NULL: none */
	Numeric		total;			/* of charges if by_event, else of quantities */
} EventCharge;

static EventCharge *begin_charge(const BillingTariff *tariff, MemoryContext context);
static void check_same_tariff(const EventCharge *charge, const BillingTariff *tariff);
static Numeric charge_event(EventCharge *charge, Numeric quantity);
static bool has_allowance(const EventCharge *charge);
static Numeric take_free_units(EventCharge *charge, Numeric quantity);
static void keep(EventCharge *charge, Numeric *place, Numeric value);
static Numeric apply_line_bounds(const BillingTariff *tariff, Numeric total);

/*
 * billing_charge_events_step
 *		Add one event.  A NULL quantity is no event: an outer join that finds none
 *		gives one, and the bounds of the line still hold.
 */
Datum
billing_charge_events_step(PG_FUNCTION_ARGS)
{
	EventCharge *charge = PG_ARGISNULL(0) ? NULL : (EventCharge *) PG_GETARG_POINTER(0);
	MemoryContext aggregate;
	BillingTariff *tariff;
	Numeric		quantity;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "billing_charge_events_step called in non-aggregate context");
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(charge);

	tariff = PG_GETARG_BILLING_TARIFF_P(1);
	if (charge == NULL)
		charge = begin_charge(tariff, aggregate);
	else
		check_same_tariff(charge, tariff);
	if (PG_ARGISNULL(2))
		PG_RETURN_POINTER(charge);

	quantity = PG_GETARG_NUMERIC(2);
	if (numeric_is_nan(quantity) || numeric_is_inf(quantity))
		billing_charge_not_finite();
	charge->events++;
	keep(charge, &charge->total,
		 billing_numeric_add(charge->total,
							 charge->by_event ? charge_event(charge, quantity) : quantity));
	PG_RETURN_POINTER(charge);
}

/*
 * billing_charge_events_final
 *		The charge of all events, within the bounds of the line, rounded once.
 */
Datum
billing_charge_events_final(PG_FUNCTION_ARGS)
{
	EventCharge *charge;
	Numeric		total;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	charge = (EventCharge *) PG_GETARG_POINTER(0);
	total = charge->by_event ? apply_line_bounds(charge->tariff, charge->total) :
		billing_charge_exactly(charge->tariff, charge->total, charge->events);
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_round(total, billing_charge_currency(charge->tariff)));
}

static EventCharge *
begin_charge(const BillingTariff *tariff, MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	EventCharge *charge = palloc0(sizeof(EventCharge));

	charge->context = context;
	charge->tariff = palloc(VARSIZE(tariff));
	memcpy(charge->tariff, tariff, VARSIZE(tariff));
	charge->by_event = (tariff->terms & BILLING_PER_EVENT_TERMS) != 0 ||
		(tariff->model == BILLING_PERCENTAGE && billing_tariff_has(tariff, BILLING_FREE_UNITS));
	charge->total = int64_to_numeric(0);

	if (charge->by_event)
	{
		charge->free_events = (int64) (billing_tariff_term(tariff, BILLING_FREE_EVENTS) /
									   billing_power_of_ten[tariff->quantity_scale]);
		if (billing_tariff_has(tariff, BILLING_FREE_UNITS))
			charge->free_units = billing_charge_term(tariff, BILLING_FREE_UNITS);
		charge->rate = billing_charge_term(tariff, BILLING_RATE);
		charge->event_amount = billing_charge_term(tariff, BILLING_EVENT_AMOUNT);
		charge->event_minimum = billing_charge_term(tariff, BILLING_EVENT_MINIMUM);
		if (billing_tariff_has(tariff, BILLING_EVENT_MAXIMUM))
			charge->event_maximum = billing_charge_term(tariff, BILLING_EVENT_MAXIMUM);
	}

	MemoryContextSwitchTo(caller);
	return charge;
}

static void
check_same_tariff(const EventCharge *charge, const BillingTariff *tariff)
{
	if (VARSIZE(tariff) != VARSIZE(charge->tariff) ||
		memcmp(tariff, charge->tariff, VARSIZE(tariff)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("events of one charge must have one tariff"),
				 errdetail("The tariff differs from that of the first event."),
				 errhint("Group the events by their tariff.")));
}

/*
 * charge_event
 *		What one event costs, unrounded.
 */
static Numeric
charge_event(EventCharge *charge, Numeric quantity)
{
	Numeric		zero = int64_to_numeric(0);
	Numeric		free_units;
	Numeric		fee;
	bool		was_free;

	if (billing_numeric_cmp(quantity, zero) < 0)
		return zero;

	was_free = has_allowance(charge);
	free_units = was_free ? take_free_units(charge, quantity) : zero;
	if (was_free && billing_numeric_cmp(free_units, quantity) == 0)
		return zero;

	fee = billing_numeric_add(billing_numeric_mul(billing_numeric_sub(quantity, free_units),
												  charge->rate),
							  charge->event_amount);
	fee = billing_numeric_max(fee, charge->event_minimum);
	if (charge->event_maximum != NULL)
		fee = billing_numeric_min(fee, charge->event_maximum);
	return fee;
}

/*
 * has_allowance
 *		Is anything of the next event free?
 */
static bool
has_allowance(const EventCharge *charge)
{
	bool		counts_events = billing_tariff_has(charge->tariff, BILLING_FREE_EVENTS);
	bool		counts_units = charge->free_units != NULL;

	return (counts_events || counts_units) &&
		(!counts_events || charge->free_events > 0) &&
		(!counts_units || billing_numeric_cmp(charge->free_units, int64_to_numeric(0)) > 0);
}

/*
 * take_free_units
 *		Use up one free event and the free units of the quantity.
 */
static Numeric
take_free_units(EventCharge *charge, Numeric quantity)
{
	Numeric		left;
	Numeric		used;

	charge->free_events--;
	if (charge->free_units == NULL)
		return quantity;

	left = billing_numeric_max(billing_numeric_sub(charge->free_units, quantity),
							   int64_to_numeric(0));
	used = billing_numeric_sub(charge->free_units, left);
	keep(charge, &charge->free_units, left);
	return used;
}

/*
 * keep
 *		Replace a number of the state by one that lives as long as it.
 */
static void
keep(EventCharge *charge, Numeric *place, Numeric value)
{
	Numeric		old = *place;

	*place = MemoryContextAlloc(charge->context, VARSIZE(value));
	memcpy(*place, value, VARSIZE(value));
	pfree(old);
}

static Numeric
apply_line_bounds(const BillingTariff *tariff, Numeric total)
{
	if (billing_tariff_has(tariff, BILLING_MINIMUM))
		total = billing_numeric_max(total, billing_charge_term(tariff, BILLING_MINIMUM));
	if (billing_tariff_has(tariff, BILLING_MAXIMUM))
		total = billing_numeric_min(total, billing_charge_term(tariff, BILLING_MAXIMUM));
	return total;
}
