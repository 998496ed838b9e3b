/*-------------------------------------------------------------------------
 *
 * tariff_parse.c
 *	  The text of a tariff: JSON in, canonical JSON out.
 *
 * PostgreSQL's own JSON parser finds the tokens; here they become terms and
 * tiers, are judged, and are packed into the stored value.  Nothing here raises:
 * what is wrong is returned, so that the parser also runs in a fuzzer.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <stdarg.h>

#include "common/jsonapi.h"
#include "lib/stringinfo.h"

#include "compat.h"
#include "currency.h"
#include "tariff.h"

/* What a tier states beside its end. */
typedef struct DraftTier
{
	BillingDecimal up_to;
	BillingDecimal price;
	BillingDecimal flat_amount;
	bool		is_open;		/* up_to is null */
	int			keys;			/* bits of TierKey seen */
} DraftTier;

typedef enum TierKey
{
	TIER_UP_TO,
	TIER_UNIT_AMOUNT,
	TIER_RATE,
	TIER_FLAT_AMOUNT
} TierKey;

/* The keys that are no term. */
typedef enum OtherKey
{
	KEY_MODEL = BILLING_TERM_COUNT,
	KEY_CURRENCY,
	KEY_TIERS
} OtherKey;

#define NO_KEY (-1)

/* A tariff while it is read. */
typedef struct Draft
{
	BillingTariffError *error;
	bool		failed;

	int			depth;			/* of objects and arrays open */
	int			key;			/* key whose value is next, at this depth */
	int			keys;			/* bits of the keys seen at the top */

	int			model;			/* -1 until known */
	const BillingCurrency *currency;
	BillingDecimal terms[BILLING_TERM_COUNT];
	int			present;		/* bits of the terms stated */
	DraftTier  *tiers;
	int			ntiers;
	int			tiers_allocated;
} Draft;

/* What a model needs and what it may have besides. */
typedef struct ModelRule
{
	int			required;
	int			optional;
	int			tier_price;		/* TierKey of the tiers' price, NO_KEY: no tiers */
} ModelRule;

#define BIT(term) BILLING_TERM_BIT(BILLING_##term)
#define ANY_MODEL (BIT(FREE_UNITS) | BIT(MINIMUM) | BIT(MAXIMUM))

static const ModelRule model_rules[BILLING_MODEL_COUNT] = {
	[BILLING_FLAT] = {BIT(AMOUNT), ANY_MODEL, NO_KEY},
	[BILLING_PER_UNIT] = {BIT(UNIT_AMOUNT), ANY_MODEL, NO_KEY},
	[BILLING_PACKAGE] = {BIT(AMOUNT) | BIT(PACKAGE_SIZE), ANY_MODEL, NO_KEY},
	[BILLING_GRADUATED] = {0, ANY_MODEL, TIER_UNIT_AMOUNT},
	[BILLING_VOLUME] = {0, ANY_MODEL, TIER_UNIT_AMOUNT},
	[BILLING_PERCENTAGE] = {BIT(RATE),
		ANY_MODEL | BIT(EVENT_AMOUNT) | BILLING_PER_EVENT_TERMS, NO_KEY},
	[BILLING_GRADUATED_PERCENTAGE] = {0, ANY_MODEL, TIER_RATE},
};

const char *const billing_model_names[BILLING_MODEL_COUNT] = {
	[BILLING_FLAT] = "flat",
	[BILLING_PER_UNIT] = "per_unit",
	[BILLING_PACKAGE] = "package",
	[BILLING_GRADUATED] = "graduated",
	[BILLING_VOLUME] = "volume",
	[BILLING_PERCENTAGE] = "percentage",
	[BILLING_GRADUATED_PERCENTAGE] = "graduated_percentage",
};

const char *const billing_term_names[BILLING_TERM_COUNT] = {
	[BILLING_AMOUNT] = "amount",
	[BILLING_UNIT_AMOUNT] = "unit_amount",
	[BILLING_RATE] = "rate",
	[BILLING_PACKAGE_SIZE] = "package_size",
	[BILLING_FREE_UNITS] = "free_units",
	[BILLING_MINIMUM] = "minimum",
	[BILLING_MAXIMUM] = "maximum",
	[BILLING_EVENT_AMOUNT] = "event_amount",
	[BILLING_FREE_EVENTS] = "free_events",
	[BILLING_EVENT_MINIMUM] = "event_minimum",
	[BILLING_EVENT_MAXIMUM] = "event_maximum",
};

static const char *const other_key_names[] = {"model", "currency", "tiers"};
static const char *const tier_key_names[] = {"up_to", "unit_amount", "rate", "flat_amount"};

static const char *const known_keys_hint =
"The keys are model, currency, amount, unit_amount, rate, package_size, tiers, free_units, "
"minimum, maximum, event_amount, free_events, event_minimum and event_maximum.";
static const char *const tier_keys_hint =
"A tier has up_to, flat_amount, and unit_amount or, in graduated_percentage, rate.";
static const char *const tiers_hint =
"List tiers from the lowest to the highest; each starts where the one below ends, and up_to of the last is null.";
static const char *const number_hint =
"Write numbers as decimals, such as \"0.001\".";
static const char *const example_hint =
"A tariff looks like {\"model\":\"per_unit\",\"currency\":\"USD\",\"unit_amount\":\"0.001\"}.";

static void fail(Draft *draft, const char *hint, const char *format,...) pg_attribute_printf(3, 4);
static bool check_text(Draft *draft, const char *text, size_t len);
static bool parse_json(Draft *draft, const char *text, size_t len, int encoding);
static BillingJsonResult begin_object(void *state);
static void add_tier(Draft *draft);
static BillingJsonResult begin_array(void *state);
static BillingJsonResult end_level(void *state);
static BillingJsonResult begin_field(void *state, char *name, bool isnull);
static BillingJsonResult take_scalar(void *state, char *token, JsonTokenType type);
static void take_top_value(Draft *draft, const char *token, JsonTokenType type);
static void take_tier_value(Draft *draft, const char *token, JsonTokenType type);
static bool take_number(Draft *draft, const char *name, const char *token, JsonTokenType type,
						BillingDecimal *number);
static int	find_name(const char *name, const char *const *names, int n);
static const char *printable(const char *text);
static bool check_draft(Draft *draft);
static bool check_terms(Draft *draft);
static bool check_tiers(Draft *draft);
static bool check_tier(Draft *draft, int i);
static void drop_idle_terms(Draft *draft);
static BillingTariff *pack(const Draft *draft);
static void choose_scales(const Draft *draft, BillingTariff *tariff);
static void pack_tiers(const Draft *draft, BillingTariff *tariff);
static uint128 scaled(BillingDecimal number, int scale);
static int	compare(BillingDecimal a, BillingDecimal b);
static void print_number(StringInfo out, const char *key, uint128 digits, int scale);

/*
 * billing_tariff_parse
 *		Read a tariff; NULL, with the error filled in, if it is none.
 */
BillingTariff *
billing_tariff_parse(const char *text, size_t len, int encoding, BillingTariffError *error)
{
	Draft		draft = {.error = error, .key = NO_KEY, .model = -1};
	BillingTariff *tariff = NULL;

	memset(error, 0, sizeof(*error));
	if (check_text(&draft, text, len) &&
		parse_json(&draft, text, len, encoding) &&
		check_draft(&draft))
		tariff = pack(&draft);

	if (draft.tiers != NULL)
		pfree(draft.tiers);
	return tariff;
}

/*
 * fail
 *		Note the first thing that is wrong.
 */
static void
fail(Draft *draft, const char *hint, const char *format,...)
{
	va_list		args;

	if (draft->failed)
		return;
	draft->failed = true;
	draft->error->hint = hint;
	va_start(args, format);
	vsnprintf(draft->error->detail, sizeof(draft->error->detail), format, args);
	va_end(args);
}

/*
 * check_text
 *		Refuse what is too long or nested too deep to be a tariff.
 *
 * The JSON parser recurses as deep as its input; a tariff is three deep.
 */
static bool
check_text(Draft *draft, const char *text, size_t len)
{
	int			depth = 0;
	bool		in_string = false;

	if (len > BILLING_TARIFF_MAX_TEXT)
		fail(draft, "Use fewer tiers.",
			 "The text is longer than %d bytes.", BILLING_TARIFF_MAX_TEXT);

	for (size_t i = 0; i < len && !draft->failed; i++)
	{
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && (text[i] == '{' || text[i] == '['))
		{
			if (++depth > 3)
				fail(draft, example_hint, "The text is nested more than three deep.");
		}
		else if (!in_string && (text[i] == '}' || text[i] == ']'))
			depth--;
	}
	return !draft->failed;
}

static bool
parse_json(Draft *draft, const char *text, size_t len, int encoding)
{
	JsonSemAction actions = {
		.semstate = draft,
		.object_start = begin_object,
		.object_end = end_level,
		.array_start = begin_array,
		.array_end = end_level,
		.object_field_start = begin_field,
		.scalar = take_scalar,
	};
	JsonLexContext *lex = billing_make_json_lexer(text, len, encoding);
	JsonParseErrorType result;

	result = pg_parse_json(lex, &actions);
	if (result != JSON_SUCCESS)
		fail(draft, example_hint, "The text is not JSON: %.200s",
			 printable(billing_json_error(result, lex)));
	billing_free_json_lexer(lex);
	return !draft->failed;
}

static BillingJsonResult
begin_object(void *state)
{
	Draft	   *draft = state;

	draft->depth++;
	if (draft->depth == 2)
		fail(draft, example_hint, "An object stands where a number or a name belongs.");
	else if (draft->depth == 3 && !draft->failed)
		add_tier(draft);
	BILLING_JSON_CONTINUE;
}

static void
add_tier(Draft *draft)
{
	if (draft->ntiers == BILLING_TARIFF_MAX_TIERS)
	{
		fail(draft, "Use fewer tiers.", "There are more than %d tiers.", BILLING_TARIFF_MAX_TIERS);
		return;
	}
	if (draft->tiers == NULL)
	{
		draft->tiers_allocated = 16;
		draft->tiers = palloc(draft->tiers_allocated * sizeof(DraftTier));
	}
	else if (draft->ntiers == draft->tiers_allocated)
	{
		draft->tiers_allocated *= 2;
		draft->tiers = repalloc(draft->tiers, draft->tiers_allocated * sizeof(DraftTier));
	}
	memset(&draft->tiers[draft->ntiers++], 0, sizeof(DraftTier));
}

static BillingJsonResult
begin_array(void *state)
{
	Draft	   *draft = state;

	draft->depth++;
	if (draft->depth != 2 || draft->key != KEY_TIERS)
		fail(draft, example_hint, "A list stands where only tiers may be one.");
	BILLING_JSON_CONTINUE;
}

static BillingJsonResult
end_level(void *state)
{
	((Draft *) state)->depth--;
	BILLING_JSON_CONTINUE;
}

/*
 * begin_field
 *		Recognize a key, once in its object.
 */
static BillingJsonResult
begin_field(void *state, char *name, bool isnull)
{
	Draft	   *draft = state;
	bool		in_tier = draft->depth == 3;
	int		   *seen;

	if (draft->failed)
		BILLING_JSON_CONTINUE;

	if (in_tier)
	{
		draft->key = find_name(name, tier_key_names, lengthof(tier_key_names));
		seen = &draft->tiers[draft->ntiers - 1].keys;
	}
	else
	{
		draft->key = find_name(name, billing_term_names, BILLING_TERM_COUNT);
		if (draft->key == NO_KEY)
		{
			draft->key = find_name(name, other_key_names, lengthof(other_key_names));
			if (draft->key != NO_KEY)
				draft->key += BILLING_TERM_COUNT;
		}
		seen = &draft->keys;
	}

	if (draft->key == NO_KEY)
		fail(draft, in_tier ? tier_keys_hint : known_keys_hint,
			 "The key \"%.40s\" is unknown.", printable(name));
	else if (*seen & (1 << draft->key))
		fail(draft, "State each key once.", "The key \"%s\" is repeated.", name);
	else
		*seen |= 1 << draft->key;
	BILLING_JSON_CONTINUE;
}

static BillingJsonResult
take_scalar(void *state, char *token, JsonTokenType type)
{
	Draft	   *draft = state;

	if (draft->failed)
		BILLING_JSON_CONTINUE;

	if (draft->depth == 1)
		take_top_value(draft, token, type);
	else if (draft->depth == 3)
		take_tier_value(draft, token, type);
	else
		fail(draft, example_hint, "A single value stands where an object belongs.");
	BILLING_JSON_CONTINUE;
}

/*
 * take_top_value
 *		Keep the model, the currency or a term.  A term that is null is absent.
 */
static void
take_top_value(Draft *draft, const char *token, JsonTokenType type)
{
	if (draft->key == KEY_TIERS)
		fail(draft, tiers_hint, "The tiers are no list.");
	else if (draft->key == KEY_MODEL)
	{
		draft->model = type != JSON_TOKEN_STRING ? -1 :
			find_name(token, billing_model_names, BILLING_MODEL_COUNT);
		if (draft->model < 0)
			fail(draft, "The models are flat, per_unit, package, graduated, volume, percentage and graduated_percentage.",
				 "The model \"%.40s\" is unknown.", printable(token));
	}
	else if (draft->key == KEY_CURRENCY)
	{
		draft->currency = type != JSON_TOKEN_STRING ? NULL :
			billing_currency_find(token, strlen(token));
		if (draft->currency == NULL)
			fail(draft, "Use a code of ISO 4217, such as USD.",
				 "The currency \"%.40s\" is unknown.", printable(token));
	}
	else if (type != JSON_TOKEN_NULL &&
			 take_number(draft, billing_term_names[draft->key], token, type,
						 &draft->terms[draft->key]))
		draft->present |= BILLING_TERM_BIT(draft->key);
}

/*
 * take_tier_value
 *		Keep a value of the tier being read.  A price that is null is 0.
 */
static void
take_tier_value(Draft *draft, const char *token, JsonTokenType type)
{
	DraftTier  *tier = &draft->tiers[draft->ntiers - 1];
	BillingDecimal *number = draft->key == TIER_UP_TO ? &tier->up_to :
		draft->key == TIER_FLAT_AMOUNT ? &tier->flat_amount : &tier->price;

	if (type != JSON_TOKEN_NULL)
		take_number(draft, tier_key_names[draft->key], token, type, number);
	else if (draft->key == TIER_UP_TO)
		tier->is_open = true;
}

static bool
take_number(Draft *draft, const char *name, const char *token, JsonTokenType type,
			BillingDecimal *number)
{
	BillingDecimalStatus status = BILLING_DECIMAL_MALFORMED;

	if (type == JSON_TOKEN_STRING || type == JSON_TOKEN_NUMBER)
		status = billing_decimal_parse(token, strlen(token), number);

	switch (status)
	{
		case BILLING_DECIMAL_OK:
			return true;
		case BILLING_DECIMAL_MALFORMED:
			fail(draft, number_hint, "The value \"%.40s\" of \"%s\" is no number.",
				 printable(token), name);
			break;
		case BILLING_DECIMAL_NEGATIVE:
			fail(draft, "A price is zero or more; what lowers a bill is no part of a tariff.",
				 "The value \"%.40s\" of \"%s\" is negative.", printable(token), name);
			break;
		case BILLING_DECIMAL_OUT_OF_RANGE:
			draft->error->out_of_range = true;
			fail(draft, "Numbers have at most 18 digits before the point and 18 behind it.",
				 "The value \"%.40s\" of \"%s\" is out of range.", printable(token), name);
			break;
	}
	return false;
}

static int
find_name(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return i;
	}
	return NO_KEY;
}

/*
 * printable
 *		The text if a message can show it in every encoding, else a placeholder.
 */
static const char *
printable(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p < ' ' || *p > '~')
			return "(unprintable)";
	}
	return text;
}

/*
 * check_draft
 *		Is what was read a whole tariff of its model?
 */
static bool
check_draft(Draft *draft)
{
	if (draft->model < 0)
		fail(draft, example_hint, "The key \"model\" is missing.");
	else if (draft->currency == NULL)
		fail(draft, example_hint, "The key \"currency\" is missing.");
	else if (check_terms(draft) && check_tiers(draft))
		drop_idle_terms(draft);

	return !draft->failed;
}

static bool
check_terms(Draft *draft)
{
	const ModelRule *rule = &model_rules[draft->model];
	const char *model = billing_model_names[draft->model];
	BillingDecimal *terms = draft->terms;

	for (int term = 0; term < BILLING_TERM_COUNT && !draft->failed; term++)
	{
		int			bit = BILLING_TERM_BIT(term);

		if ((rule->required & bit) && !(draft->present & bit))
			fail(draft, example_hint, "The model %s needs \"%s\".", model, billing_term_names[term]);
		else if ((draft->present & bit) && !((rule->required | rule->optional) & bit))
			fail(draft, "Leave it out, or choose another model.",
				 "The model %s has no \"%s\".", model, billing_term_names[term]);
	}

	if ((draft->present & BIT(PACKAGE_SIZE)) && terms[BILLING_PACKAGE_SIZE].digits == 0)
		fail(draft, "Give the number of units in one package.", "The package_size is 0.");
	if (terms[BILLING_FREE_EVENTS].scale != 0)
		fail(draft, "Events are counted one by one.", "The free_events are no whole number.");
	if ((draft->present & BIT(MAXIMUM)) &&
		compare(terms[BILLING_MINIMUM], terms[BILLING_MAXIMUM]) > 0)
		fail(draft, "Exchange the two, or drop one.", "The minimum is above the maximum.");
	if ((draft->present & BIT(EVENT_MAXIMUM)) &&
		compare(terms[BILLING_EVENT_MINIMUM], terms[BILLING_EVENT_MAXIMUM]) > 0)
		fail(draft, "Exchange the two, or drop one.", "The event_minimum is above the event_maximum.");

	return !draft->failed;
}

static bool
check_tiers(Draft *draft)
{
	bool		wanted = model_rules[draft->model].tier_price != NO_KEY;
	bool		given = (draft->keys & (1 << KEY_TIERS)) != 0;

	if (given && !wanted)
		fail(draft, "Leave them out, or choose another model.",
			 "The model %s has no tiers.", billing_model_names[draft->model]);
	else if (wanted && draft->ntiers == 0)
		fail(draft, tiers_hint, "The model %s needs \"tiers\".", billing_model_names[draft->model]);

	for (int i = 0; i < draft->ntiers && !draft->failed; i++)
		check_tier(draft, i);

	return !draft->failed;
}

static bool
check_tier(Draft *draft, int i)
{
	const DraftTier *tier = &draft->tiers[i];
	int			price = model_rules[draft->model].tier_price;
	int			other = price == TIER_RATE ? TIER_UNIT_AMOUNT : TIER_RATE;
	bool		last = i == draft->ntiers - 1;

	if (!(tier->keys & (1 << TIER_UP_TO)))
		fail(draft, tiers_hint, "Tier %d has no \"up_to\".", i + 1);
	else if (tier->keys & (1 << other))
		fail(draft, tier_keys_hint, "The tiers of model %s have no \"%s\".",
			 billing_model_names[draft->model], tier_key_names[other]);
	else if (last != tier->is_open)
		fail(draft, tiers_hint, last ? "Tier %d is the last, but it ends." :
			 "Tier %d has no end, but it is not the last.", i + 1);
	else if (!last && tier->up_to.digits == 0)
		fail(draft, tiers_hint, "Tier %d ends at 0.", i + 1);
	else if (!last && i > 0 && compare(tier->up_to, tier[-1].up_to) <= 0)
		fail(draft, tiers_hint, "Tier %d does not end above tier %d.", i + 1, i);

	return !draft->failed;
}

/*
 * drop_idle_terms
 *		Forget what changes nothing, so that equal formulas are equal bytes.
 */
static void
drop_idle_terms(Draft *draft)
{
	int			idle_at_zero = model_rules[draft->model].optional &
		~(BIT(MAXIMUM) | BIT(EVENT_MAXIMUM));

	for (int term = 0; term < BILLING_TERM_COUNT; term++)
	{
		if ((idle_at_zero & BILLING_TERM_BIT(term)) && draft->terms[term].digits == 0)
			draft->present &= ~BILLING_TERM_BIT(term);
	}
}

/*
 * pack
 *		Make the stored value.
 */
static BillingTariff *
pack(const Draft *draft)
{
	int			nterms = __builtin_popcount(draft->present);
	size_t		size = offsetof(BillingTariff, values) + nterms * sizeof(uint128) +
		draft->ntiers * sizeof(BillingTier);
	BillingTariff *tariff = palloc0(size);
	uint128    *value = tariff->values;

	billing_set_varsize(tariff, size);
	memcpy(tariff->currency, draft->currency->code, sizeof(tariff->currency));
	tariff->exponent = draft->currency->exponent;
	tariff->model = draft->model;
	tariff->terms = draft->present;
	tariff->ntiers = draft->ntiers;
	choose_scales(draft, tariff);

	for (int term = 0; term < BILLING_TERM_COUNT; term++)
	{
		bool		is_quantity = (BILLING_QUANTITY_TERMS & BILLING_TERM_BIT(term)) != 0;
		BillingDecimal number = draft->terms[term];

		if (!billing_tariff_has(tariff, term))
			continue;
		if (term == BILLING_RATE)
			number.scale += 2;
		*value++ = scaled(number, is_quantity ? tariff->quantity_scale : tariff->price_scale);
	}
	pack_tiers(draft, tariff);
	return tariff;
}

/*
 * choose_scales
 *		The fewest decimals that hold all quantities and all prices.
 */
static void
choose_scales(const Draft *draft, BillingTariff *tariff)
{
	int			quantity = 0;
	int			price = 0;
	int			percent = model_rules[draft->model].tier_price == TIER_RATE ? 2 : 0;

	for (int term = 0; term < BILLING_TERM_COUNT; term++)
	{
		int			scale = draft->terms[term].scale + (term == BILLING_RATE ? 2 : 0);

		if (!billing_tariff_has(tariff, term))
			continue;
		if (BILLING_QUANTITY_TERMS & BILLING_TERM_BIT(term))
			quantity = Max(quantity, scale);
		else
			price = Max(price, scale);
	}
	for (int i = 0; i < draft->ntiers; i++)
	{
		quantity = Max(quantity, draft->tiers[i].up_to.scale);
		price = Max(price, draft->tiers[i].price.scale + percent);
		price = Max(price, draft->tiers[i].flat_amount.scale);
	}

	tariff->quantity_scale = (quantity + 3) / 4 * 4;
	tariff->price_scale = price;
}

/*
 * pack_tiers
 *		Store the tiers and what each starts from.
 */
static void
pack_tiers(const Draft *draft, BillingTariff *tariff)
{
	BillingTier *tiers = (BillingTier *) billing_tariff_tiers(tariff);
	int			percent = model_rules[draft->model].tier_price == TIER_RATE ? 2 : 0;
	bool		volume = draft->model == BILLING_VOLUME;
	uint128		base = 0;
	bool		fits = true;

	for (int i = 0; i < draft->ntiers; i++)
	{
		DraftTier	source = draft->tiers[i];
		BillingTier *tier = &tiers[i];
		uint128		flat;
		uint128		units;
		uint128		cost;

		source.price.scale += percent;
		tier->up_to = source.is_open ? BILLING_NO_END : scaled(source.up_to, tariff->quantity_scale);
		tier->price = scaled(source.price, tariff->price_scale);
		tier->flat_amount = scaled(source.flat_amount, tariff->price_scale);

		/* Graduated: what the tiers below cost in full, then this one's flat amount. */
		if (volume)
			base = 0;
		else if (i > 0)
		{
			units = tiers[i - 1].up_to - (i > 1 ? tiers[i - 2].up_to : 0);
			fits = fits && billing_uint128_mul(units, tiers[i - 1].price, &cost) &&
				billing_uint128_add(base, cost, &base);
		}
		fits = fits && billing_uint128_shift(tier->flat_amount, tariff->quantity_scale, &flat) &&
			billing_uint128_add(base, flat, &base);
		tier->base = base;
	}

	tariff->needs_numeric = !fits;
	for (int i = 0; i < draft->ntiers && !fits; i++)
		tiers[i].base = 0;
}

/*
 * scaled
 *		The digits of a number at a scale no smaller than its own.  They fit: a
 *		number has at most 18 digits before the point, a scale is at most 20.
 */
static uint128
scaled(BillingDecimal number, int scale)
{
	Assert(scale >= number.scale);
	return number.digits * billing_power_of_ten[scale - number.scale];
}

static int
compare(BillingDecimal a, BillingDecimal b)
{
	uint128		x = scaled(a, BILLING_DECIMAL_MAX_SCALE);
	uint128		y = scaled(b, BILLING_DECIMAL_MAX_SCALE);

	return x < y ? -1 : x > y;
}

/*
 * billing_tariff_print
 *		The canonical text of a tariff.
 */
char *
billing_tariff_print(const BillingTariff *tariff)
{
	const BillingTier *tiers = billing_tariff_tiers(tariff);
	bool		percent = model_rules[tariff->model].tier_price == TIER_RATE;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"model\":\"%s\",\"currency\":\"%.3s\"",
					 billing_model_names[tariff->model], tariff->currency);

	if (tariff->ntiers > 0)
		appendStringInfoString(&out, ",\"tiers\":[");
	for (int i = 0; i < tariff->ntiers; i++)
	{
		appendStringInfoString(&out, i > 0 ? ",{\"up_to\":" : "{\"up_to\":");
		if (tiers[i].up_to == BILLING_NO_END)
			appendStringInfoString(&out, "null");
		else
			print_number(&out, NULL, tiers[i].up_to, tariff->quantity_scale);
		print_number(&out, percent ? "rate" : "unit_amount", tiers[i].price,
					 tariff->price_scale - (percent ? 2 : 0));
		if (tiers[i].flat_amount != 0)
			print_number(&out, "flat_amount", tiers[i].flat_amount, tariff->price_scale);
		appendStringInfoChar(&out, '}');
	}
	if (tariff->ntiers > 0)
		appendStringInfoChar(&out, ']');

	for (int term = 0; term < BILLING_TERM_COUNT; term++)
	{
		bool		is_quantity = (BILLING_QUANTITY_TERMS & BILLING_TERM_BIT(term)) != 0;

		if (billing_tariff_has(tariff, term))
			print_number(&out, billing_term_names[term], billing_tariff_term(tariff, term),
						 is_quantity ? tariff->quantity_scale :
						 tariff->price_scale - (term == BILLING_RATE ? 2 : 0));
	}

	appendStringInfoChar(&out, '}');
	return out.data;
}

static void
print_number(StringInfo out, const char *key, uint128 digits, int scale)
{
	BillingDecimal number = {digits, scale};
	char		text[BILLING_DECIMAL_TEXT_LEN];

	billing_decimal_print(number, text);
	if (key != NULL)
		appendStringInfo(out, ",\"%s\":", key);
	appendStringInfo(out, "\"%s\"", text);
}
