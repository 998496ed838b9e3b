/*-------------------------------------------------------------------------
 *
 * tariff.h
 *	  billing.tariff: one validated price formula.
 *
 * Everything declared before the #ifndef FRONTEND compiles without a server, so
 * that the parser can be fuzzed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_TARIFF_H
#define BILLING_TARIFF_H

#include "decimal.h"

#define BILLING_TARIFF_MAX_TEXT		(256 * 1024)
#define BILLING_TARIFF_MAX_TIERS	1000

typedef enum BillingModel
{
	BILLING_FLAT,
	BILLING_PER_UNIT,
	BILLING_PACKAGE,
	BILLING_GRADUATED,
	BILLING_VOLUME,
	BILLING_PERCENTAGE,
	BILLING_GRADUATED_PERCENTAGE
} BillingModel;

#define BILLING_MODEL_COUNT (BILLING_GRADUATED_PERCENTAGE + 1)

/*
 * The terms a tariff may state beside its tiers, in the order they are printed
 * in.  A term that changes nothing (no free units, a minimum of 0) is left out,
 * so that equal formulas are equal bytes.
 */
typedef enum BillingTerm
{
	BILLING_AMOUNT,				/* flat: the amount; package: of one package */
	BILLING_UNIT_AMOUNT,
	BILLING_RATE,				/* kept as a fraction: 2.9 percent is 0.029 */
	BILLING_PACKAGE_SIZE,
	BILLING_FREE_UNITS,
	BILLING_MINIMUM,
	BILLING_MAXIMUM,
	BILLING_EVENT_AMOUNT,
	BILLING_FREE_EVENTS,
	BILLING_EVENT_MINIMUM,
	BILLING_EVENT_MAXIMUM
} BillingTerm;

#define BILLING_TERM_COUNT (BILLING_EVENT_MAXIMUM + 1)
#define BILLING_TERM_BIT(term) (1 << (term))

/* Terms that need each event, not only their sum. */
#define BILLING_PER_EVENT_TERMS \
	(BILLING_TERM_BIT(BILLING_FREE_EVENTS) | \
	 BILLING_TERM_BIT(BILLING_EVENT_MINIMUM) | \
	 BILLING_TERM_BIT(BILLING_EVENT_MAXIMUM))

/* Terms that are quantities; the others are money or a rate. */
#define BILLING_QUANTITY_TERMS \
	(BILLING_TERM_BIT(BILLING_PACKAGE_SIZE) | \
	 BILLING_TERM_BIT(BILLING_FREE_UNITS) | \
	 BILLING_TERM_BIT(BILLING_FREE_EVENTS))

/* The open end of the last tier. */
#define BILLING_NO_END (~(uint128) 0)

/*
 * A quantity q in this tier costs base + (q - origin) * price.  base holds what
 * the tiers below cost and every flat amount due; it has the decimals of a
 * quantity times a price.  Volume tiers start from 0 and a base of their own.
 */
typedef struct BillingTier
{
	uint128		up_to;
	uint128		price;
	uint128		flat_amount;
	uint128		base;
} BillingTier;

/*
 * The stored value: a varlena that is canonical, so that equality and hash look
 * at bytes.  Quantities have quantity_scale decimals, a multiple of four as a
 * numeric's digits are; money and rates have price_scale decimals.
 *
 * After the header stand the terms whose bit is set, then the tiers.
 */
typedef struct BillingTariff
{
	char		vl_len_[4];
	char		currency[3];
	uint8		exponent;		/* of the currency */
	uint8		model;
	uint8		quantity_scale;
	uint8		price_scale;
	bool		needs_numeric;	/* some base is beyond 128 bits */
	uint16		terms;			/* BILLING_TERM_BIT of each term present */
	uint16		ntiers;
	uint128		values[FLEXIBLE_ARRAY_MEMBER];
} BillingTariff;

static inline int
billing_tariff_nterms(const BillingTariff *tariff)
{
	return __builtin_popcount(tariff->terms);
}

static inline bool
billing_tariff_has(const BillingTariff *tariff, BillingTerm term)
{
	return (tariff->terms & BILLING_TERM_BIT(term)) != 0;
}

/* A term's digits, 0 if it is not stated. */
static inline uint128
billing_tariff_term(const BillingTariff *tariff, BillingTerm term)
{
	if (!billing_tariff_has(tariff, term))
		return 0;
	return tariff->values[__builtin_popcount(tariff->terms & (BILLING_TERM_BIT(term) - 1))];
}

static inline const BillingTier *
billing_tariff_tiers(const BillingTariff *tariff)
{
	return (const BillingTier *) &tariff->values[billing_tariff_nterms(tariff)];
}

typedef struct BillingTariffError
{
	bool		out_of_range;	/* a number is too large or too fine: 22003 */
	char		detail[256];
	const char *hint;
} BillingTariffError;

extern const char *const billing_model_names[BILLING_MODEL_COUNT];
extern const char *const billing_term_names[BILLING_TERM_COUNT];

extern BillingTariff *billing_tariff_parse(const char *text, size_t len, int encoding,
										   BillingTariffError *error);
extern char *billing_tariff_print(const BillingTariff *tariff);

#ifndef FRONTEND

#include "utils/numeric.h"

#define DatumGetBillingTariffP(X)		((BillingTariff *) PG_DETOAST_DATUM(X))
#define PG_GETARG_BILLING_TARIFF_P(n)	DatumGetBillingTariffP(PG_GETARG_DATUM(n))

/* The text of a tariff, canonical JSON: its type's output function. */
extern PGDLLEXPORT Datum billing_tariff_out(PG_FUNCTION_ARGS);

#endif							/* FRONTEND */

#endif							/* BILLING_TARIFF_H */
