/*-------------------------------------------------------------------------
 *
 * charge.h
 *	  What a quantity costs under a tariff.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CHARGE_H
#define BILLING_CHARGE_H

#include "nodes/pg_list.h"

#include "currency.h"
#include "tariff.h"

/* One step of a charge, as explain_charge() shows it; the subtotals add up. */
typedef struct BillingChargeStep
{
	int			tier;			/* from 1; 0: no tier of the tariff */
	Numeric		from_quantity;	/* NULL: does not apply */
	Numeric		to_quantity;	/* NULL: open or does not apply */
	Numeric		units;
	Numeric		unit_amount;
	Numeric		flat_amount;
	Numeric		subtotal;
	const char *note;
} BillingChargeStep;

pg_noreturn extern void billing_charge_not_finite(void);
extern List *billing_charge_steps(const BillingTariff *tariff, Numeric quantity, int64 events);
extern const BillingCurrency *billing_charge_currency(const BillingTariff *tariff);
extern Numeric billing_charge_term(const BillingTariff *tariff, BillingTerm term);
extern Numeric billing_charge_exactly(const BillingTariff *tariff, Numeric quantity, int64 events);

#endif							/* BILLING_CHARGE_H */
