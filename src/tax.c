/*-------------------------------------------------------------------------
 *
 * tax.c
 *	  Which taxes lines bear, and how much these are.
 *
 * A rate is taken of the sum of the lines that bear it, exactly, and rounded once, half
 * away from zero; the lines' shares are cut to whole units and the units left over go to
 * those that lost most, the earlier of equals first.  So lines, rates and total agree.
 *
 * An amount that includes taxes of r1 + r2 + ... holds r1 / (1 + r1 + r2 + ...) of it as the
 * first of them.  A tax that is added is taken of what is left without those: no
 * tax is taken of a tax.  So both are the same fraction of the line.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "common/int.h"
#include "miscadmin.h"

#include "amount.h"
#include "exact.h"
#include "tax.h"

#define REVERSE_CHARGE "reverse charge"

/* What cutting a line's share left over: rest of whole of a unit. */
typedef struct Share
{
	int			line;
	int64		whole;
	int64		rest;
} Share;

static BillingTax *add_tax(BillingTax *taxes, int *count, const char *code, Numeric percent, int lines);
static void pick_rates(const BillingTaxTerms *terms, const char *category, bool *picked);
static void pick_level(const BillingTaxTerms *terms, const char *category, bool of_region, bool *picked);
static bool has_category(const BillingTaxTerms *terms, const char *category, bool of_region);
static bool is_at(const BillingTaxTerms *terms, const BillingTaxRate *rate, bool of_region);
static bool is_percent_only(const BillingTaxTerms *terms);
static bool states_percent(const BillingTaxTerms *terms);
static void add_rate(const BillingTaxTerms *terms, int rate, const bool *picked, int slots, BillingTax *taxes, int *tax_count);
static void add_rest(const BillingTaxTerms *terms, const bool *picked, int slots, BillingTax *taxes, int *tax_count);
static void settle_bearers(BillingTax *tax, int slots, int *tax_count);
static bool bears(const BillingTax *tax, int line);
static void find_wholes(const BillingTax *taxes, int tax_count, int count, int64 *wholes);
static bool find_base(const BillingTaxLine *lines, int count, BillingTax *tax);
static bool share_tax(BillingTaxLine *lines, int count, const int64 *wholes, BillingTax *tax);
static bool sum_tax(const BillingTaxLine *lines, int count, const int64 *wholes, const BillingTax *tax, int64 parts, int64 *amount, int *sign);
static bool sum_exactly(const BillingTaxLine *lines, int count, const int64 *wholes, const BillingTax *tax, int64 parts, int64 *amount, int *sign);
static int128 sum_of_whole(const BillingTaxLine *lines, int count, const int64 *wholes, const BillingTax *tax, int64 whole, int64 parts);
static int	sign_of(int128 number);
static Numeric make_numeric(int128 number);
static bool add_share(BillingTaxLine *lines, int line, const BillingTax *tax, int64 units);
static int	compare_rests(const void *a, const void *b);

/*
 * billing_tax_choose
 *		Exempt: none.  Else the tenant's own rate or percentage, if it has one; else by the
 *		line's category the rates of its region and country; else the percentage of all.
 */
BillingTax *
billing_tax_choose(const BillingTaxTerms *terms, const BillingTaxLine *lines, int count, int *tax_count)
{
	int			slots = Max(count, 1);
	BillingTax *taxes = palloc0((terms->rate_count + 1) * sizeof(BillingTax));
	bool	   *picked;

	*tax_count = 0;
	if (terms->exemption != NULL)
	{
		add_tax(taxes, tax_count, NULL, int64_to_numeric(0), 0)->note = terms->exemption;
		return taxes;
	}
	if (is_percent_only(terms))
	{
		if (states_percent(terms))
			(void) add_tax(taxes, tax_count, NULL, terms->percent, 0);
		return taxes;
	}

	picked = palloc(slots * terms->rate_count * sizeof(bool));
	for (int i = 0; i < slots; i++)
		pick_rates(terms, count == 0 ? NULL : lines[i].category, picked + i * terms->rate_count);
	for (int rate = 0; rate < terms->rate_count; rate++)
		add_rate(terms, rate, picked, slots, taxes, tax_count);
	if (states_percent(terms))
		add_rest(terms, picked, slots, taxes, tax_count);
	return taxes;
}

/* Does a percentage hold where no rate does? */
static bool
states_percent(const BillingTaxTerms *terms)
{
	int64		parts;

	return terms->percent != NULL && billing_tax_parts(terms->percent, &parts) && parts > 0;
}

/* A rate, if a line bears it; who has a tax id owes the tax itself where the charge is reversed. */
static void
add_rate(const BillingTaxTerms *terms, int rate, const bool *picked, int slots, BillingTax *taxes, int *tax_count)
{
	const BillingTaxRate *r = &terms->rates[rate];
	bool		is_reversed = r->is_reverse_charge && terms->has_tax_id;
	BillingTax *tax = add_tax(taxes, tax_count, r->code, is_reversed ? int64_to_numeric(0) : r->percent, slots);

	tax->is_inclusive = r->is_inclusive && !is_reversed;
	tax->is_first = !r->is_used;
	tax->note = is_reversed ? REVERSE_CHARGE : NULL;
	for (int i = 0; i < slots; i++)
		tax->bears[i] = picked[i * terms->rate_count + rate];
	settle_bearers(tax, slots, tax_count);
}

/* The percentage, on the lines that no rate is on. */
static void
add_rest(const BillingTaxTerms *terms, const bool *picked, int slots, BillingTax *taxes, int *tax_count)
{
	BillingTax *tax = add_tax(taxes, tax_count, NULL, terms->percent, slots);

	for (int i = 0; i < slots; i++)
	{
		tax->bears[i] = true;
		for (int rate = 0; rate < terms->rate_count; rate++)
			tax->bears[i] &= !picked[i * terms->rate_count + rate];
	}
	settle_bearers(tax, slots, tax_count);
}

/* All lines are said by NULL; a tax of none is not there. */
static void
settle_bearers(BillingTax *tax, int slots, int *tax_count)
{
	int			count = 0;

	for (int i = 0; i < slots; i++)
		count += tax->bears[i];
	if (count == slots)
		tax->bears = NULL;
	if (count == 0)
		(*tax_count)--;
}

static BillingTax *
add_tax(BillingTax *taxes, int *count, const char *code, Numeric percent, int lines)
{
	BillingTax *tax = &taxes[(*count)++];

	memset(tax, 0, sizeof(*tax));
	tax->code = code;
	tax->percent = percent;
	tax->bears = lines == 0 ? NULL : palloc(lines * sizeof(bool));
	return tax;
}

/* Is there no rate to look at? */
static bool
is_percent_only(const BillingTaxTerms *terms)
{
	return terms->rate_count == 0 || (terms->rate == NULL && (terms->states_percent || terms->country == NULL));
}

/*
 * pick_rates
 *		The rates of a line: the tenant's, or those of its region and, unless one of
 *		these stands for it, of its country.
 */
static void
pick_rates(const BillingTaxTerms *terms, const char *category, bool *picked)
{
	bool		is_replaced = false;

	for (int i = 0; i < terms->rate_count; i++)
		picked[i] = terms->rate != NULL && strcmp(terms->rates[i].code, terms->rate) == 0;
	if (terms->rate != NULL)
		return;

	pick_level(terms, category, true, picked);
	for (int i = 0; i < terms->rate_count; i++)
		is_replaced |= picked[i] && terms->rates[i].replaces_country;
	if (!is_replaced)
		pick_level(terms, category, false, picked);
}

/* Those of the category, or the standard ones where the place has none of it. */
static void
pick_level(const BillingTaxTerms *terms, const char *category, bool of_region, bool *picked)
{
	bool		is_standard = category == NULL || !has_category(terms, category, of_region);

	for (int i = 0; i < terms->rate_count; i++)
	{
		const BillingTaxRate *rate = &terms->rates[i];

		if (is_at(terms, rate, of_region) &&
			(is_standard ? rate->category == NULL : rate->category != NULL && strcmp(rate->category, category) == 0))
			picked[i] = true;
	}
}

static bool
has_category(const BillingTaxTerms *terms, const char *category, bool of_region)
{
	for (int i = 0; i < terms->rate_count; i++)
	{
		const BillingTaxRate *rate = &terms->rates[i];

		if (rate->category != NULL && strcmp(rate->category, category) == 0 && is_at(terms, rate, of_region))
			return true;
	}
	return false;
}

static bool
is_at(const BillingTaxTerms *terms, const BillingTaxRate *rate, bool of_region)
{
	if (!rate->is_active || rate->country == NULL || pg_strcasecmp(rate->country, terms->country) != 0)
		return false;
	if (!of_region)
		return rate->region == NULL;
	return rate->region != NULL && terms->region != NULL && pg_strcasecmp(rate->region, terms->region) == 0;
}

/*
 * billing_tax_calculate
 *		See tax.h.  The base of a tax is what its lines are without included taxes.
 */
bool
billing_tax_calculate(BillingTaxLine *lines, int count, BillingTax *taxes, int tax_count)
{
	int64	   *wholes;

	for (int i = 0; i < count; i++)
		lines[i].tax = lines[i].included = 0;
	if (tax_count == 0)
		return true;

	wholes = palloc(Max(count, 1) * sizeof(int64));
	find_wholes(taxes, tax_count, count, wholes);
	for (int i = 0; i < tax_count; i++)
	{
		if (!share_tax(lines, count, wholes, &taxes[i]))
			return false;
	}
	for (int i = 0; i < tax_count; i++)
	{
		if (!find_base(lines, count, &taxes[i]))
			return false;
	}
	pfree(wholes);
	return true;
}

static bool
bears(const BillingTax *tax, int line)
{
	return tax->bears == NULL || tax->bears[line];
}

/* What each line is with its included taxes, in parts of what it is without. */
static void
find_wholes(const BillingTax *taxes, int tax_count, int count, int64 *wholes)
{
	for (int i = 0; i < count; i++)
		wholes[i] = BILLING_TAX_WHOLE;
	for (int i = 0; i < tax_count; i++)
	{
		int64		parts = 0;

		if (taxes[i].is_inclusive)
			(void) billing_tax_parts(taxes[i].percent, &parts);
		for (int line = 0; line < count && parts > 0; line++)
			wholes[line] += bears(&taxes[i], line) ? parts : 0;
	}
}

static bool
find_base(const BillingTaxLine *lines, int count, BillingTax *tax)
{
	int128		base = 0;

	for (int i = 0; i < count; i++)
	{
		if (bears(tax, i))
			base += (int128) lines[i].net - lines[i].included;
	}
	tax->base = (int64) base;
	return base == tax->base;
}

/*
 * share_tax
 *		One tax of all lines, and what each has of it.
 *
 * A negative sum is shared as the positive one would be, so that a credit takes back what
 * was charged.
 */
static bool
share_tax(BillingTaxLine *lines, int count, const int64 *wholes, BillingTax *tax)
{
	Share	   *shares;
	int			sign;			/* of the exact sum; of none, of the first line */
	int			used = 0;
	int64		parts;
	int128		left;

	tax->amount = 0;
	if (!billing_tax_parts(tax->percent, &parts) || parts == 0)
		return true;
	if (!sum_tax(lines, count, wholes, tax, parts, &tax->amount, &sign))
		return false;
	for (int i = 0; i < count && sign == 0; i++)
		sign = bears(tax, i) ? sign_of(lines[i].net) : 0;
	sign = sign == 0 ? 1 : sign;

	left = sign * (int128) tax->amount;
	shares = palloc(Max(count, 1) * sizeof(Share));
	for (int i = 0; i < count; i++)
	{
		int128		exact = sign * (int128) lines[i].net * parts;
		int128		cut = exact / wholes[i];

		CHECK_FOR_INTERRUPTS();
		if (!bears(tax, i))
			continue;
		if (exact % wholes[i] < 0)
			cut--;				/* downwards, also below zero */
		if (!add_share(lines, i, tax, (int64) (sign * cut)))
			return false;
		left -= cut;
		shares[used].line = i;
		shares[used].whole = wholes[i];
		shares[used++].rest = (int64) (exact - cut * wholes[i]);
	}

	qsort(shares, used, sizeof(Share), compare_rests);
	for (int i = 0; i < left; i++)
	{
		if (!add_share(lines, shares[i].line, tax, sign))
			return false;
	}
	pfree(shares);
	return true;
}

/* Mostly all lines are divided by the same whole. */
static bool
sum_tax(const BillingTaxLine *lines, int count, const int64 *wholes, const BillingTax *tax, int64 parts, int64 *amount, int *sign)
{
	int64		whole = 0;
	int128		sum = 0;

	for (int i = 0; i < count; i++)
	{
		if (!bears(tax, i))
			continue;
		if (whole != 0 && wholes[i] != whole)
			return sum_exactly(lines, count, wholes, tax, parts, amount, sign);
		whole = wholes[i];
		sum += (int128) lines[i].net * parts;
	}
	*sign = sign_of(sum);
	if (whole != 0)
		sum = billing_round_div(sum, whole);
	*amount = (int64) sum;
	return sum == *amount;
}

/*
 * sum_exactly
 *		The same where lines include different taxes: a sum of fractions, in numeric.
 */
static bool
sum_exactly(const BillingTaxLine *lines, int count, const int64 *wholes, const BillingTax *tax, int64 parts, int64 *amount, int *sign)
{
	Numeric		numerator = int64_to_numeric(0);
	Numeric		denominator = int64_to_numeric(1);
	Numeric		twice;
	Numeric		rounded;

	for (int i = 0; i < count; i++)
	{
		Numeric		whole = int64_to_numeric(wholes[i]);
		bool		is_first = bears(tax, i);

		CHECK_FOR_INTERRUPTS();
		for (int before = 0; before < i && is_first; before++)
			is_first = !bears(tax, before) || wholes[before] != wholes[i];
		if (!is_first)
			continue;
		numerator = billing_numeric_add(billing_numeric_mul(numerator, whole),
										billing_numeric_mul(denominator,
															make_numeric(sum_of_whole(lines, count, wholes, tax, wholes[i], parts))));
		denominator = billing_numeric_mul(denominator, whole);
	}

	/* Half away from zero: half a unit more, cut. */
	twice = billing_numeric_mul(denominator, int64_to_numeric(2));
	rounded = billing_numeric_div_trunc(billing_numeric_add(billing_numeric_mul(billing_numeric_abs(numerator), int64_to_numeric(2)),
															denominator), twice);
	if (!billing_numeric_round(rounded, 0, amount))
		return false;
	*sign = billing_numeric_cmp(numerator, int64_to_numeric(0));
	if (*sign < 0)
		*amount = -*amount;
	return true;
}

static int
sign_of(int128 number)
{
	return number < 0 ? -1 : number > 0;
}

static int128
sum_of_whole(const BillingTaxLine *lines, int count, const int64 *wholes, const BillingTax *tax, int64 whole, int64 parts)
{
	int128		sum = 0;

	for (int i = 0; i < count; i++)
	{
		if (bears(tax, i) && wholes[i] == whole)
			sum += (int128) lines[i].net * parts;
	}
	return sum;
}

static Numeric
make_numeric(int128 number)
{
	Numeric		magnitude = billing_numeric_from_decimal(number < 0 ? -(uint128) number : (uint128) number, 0);

	return number < 0 ? billing_numeric_sub(int64_to_numeric(0), magnitude) : magnitude;
}

static bool
add_share(BillingTaxLine *lines, int line, const BillingTax *tax, int64 units)
{
	if (tax->shares != NULL)
		tax->shares[line] += units;
	if (pg_add_s64_overflow(lines[line].tax, units, &lines[line].tax))
		return false;
	return !tax->is_inclusive || !pg_add_s64_overflow(lines[line].included, units, &lines[line].included);
}

/* Larger rests first, the earlier of equals first. */
static int
compare_rests(const void *a, const void *b)
{
	const Share *x = a;
	const Share *y = b;
	int128		left = (int128) x->rest * y->whole;
	int128		right = (int128) y->rest * x->whole;

	if (left != right)
		return left > right ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

bool
billing_tax_parts(Numeric percent, int64 *parts)
{
	return billing_numeric_round(percent, 6, parts) && *parts >= 0 && *parts <= BILLING_TAX_WHOLE;
}
