/*-------------------------------------------------------------------------
 *
 * currency.c
 *	  The currencies of ISO 4217 and their minor units.
 *
 * Codes without a minor unit (gold, special drawing rights, the code for
 * tests) are not here: there is no smallest unit to be exact in.  Withdrawn
 * codes stay, so that what was stored in them stays readable, and an exponent
 * never changes once released: stored units would silently mean other money.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "billing.h"

#include "funcapi.h"
#include "utils/builtins.h"
#endif

#include "currency.h"

#ifndef FRONTEND
BILLING_FUNCTION(billing_currencies);
#endif

static int	compare_code(const void *code, const void *currency);
static char fold_letter(char c);

/* In ascending order of code, for the binary search. */
static const BillingCurrency currencies[] = {
	{"ADP", 0, false},
	{"AED", 2, true},
	{"AFA", 2, false},
	{"AFN", 2, true},
	{"ALL", 2, true},
	{"AMD", 2, true},
	{"ANG", 2, false},
	{"AOA", 2, true},
	{"ARS", 2, true},
	{"ATS", 2, false},
	{"AUD", 2, true},
	{"AWG", 2, true},
	{"AYM", 2, false},
	{"AZM", 2, false},
	{"AZN", 2, true},
	{"BAM", 2, true},
	{"BBD", 2, true},
	{"BDT", 2, true},
	{"BEF", 0, false},
	{"BGL", 2, false},
	{"BGN", 2, false},
	{"BHD", 3, true},
	{"BIF", 0, true},
	{"BMD", 2, true},
	{"BND", 2, true},
	{"BOB", 2, true},
	{"BOV", 2, true},
	{"BRL", 2, true},
	{"BSD", 2, true},
	{"BTN", 2, true},
	{"BWP", 2, true},
	{"BYB", 0, false},
	{"BYN", 2, true},
	{"BYR", 0, false},
	{"BZD", 2, true},
	{"CAD", 2, true},
	{"CDF", 2, true},
	{"CHE", 2, true},
	{"CHF", 2, true},
	{"CHW", 2, true},
	{"CLF", 4, true},
	{"CLP", 0, true},
	{"CNY", 2, true},
	{"COP", 2, true},
	{"COU", 2, true},
	{"CRC", 2, true},
	{"CSD", 2, false},
	{"CUC", 2, false},
	{"CUP", 2, true},
	{"CVE", 2, true},
	{"CYP", 2, false},
	{"CZK", 2, true},
	{"DEM", 2, false},
	{"DJF", 0, true},
	{"DKK", 2, true},
	{"DOP", 2, true},
	{"DZD", 2, true},
	{"EEK", 2, false},
	{"EGP", 2, true},
	{"ERN", 2, true},
	{"ESP", 0, false},
	{"ETB", 2, true},
	{"EUR", 2, true},
	{"FIM", 2, false},
	{"FJD", 2, true},
	{"FKP", 2, true},
	{"FRF", 2, false},
	{"GBP", 2, true},
	{"GEL", 2, true},
	{"GHC", 2, false},
	{"GHS", 2, true},
	{"GIP", 2, true},
	{"GMD", 2, true},
	{"GNF", 0, true},
	{"GRD", 0, false},
	{"GTQ", 2, true},
	{"GWP", 2, false},
	{"GYD", 2, true},
	{"HKD", 2, true},
	{"HNL", 2, true},
	{"HRK", 2, false},
	{"HTG", 2, true},
	{"HUF", 2, true},
	{"IDR", 2, true},
	{"IEP", 2, false},
	{"ILS", 2, true},
	{"INR", 2, true},
	{"IQD", 3, true},
	{"IRR", 2, true},
	{"ISK", 0, true},
	{"ITL", 0, false},
	{"JMD", 2, true},
	{"JOD", 3, true},
	{"JPY", 0, true},
	{"KES", 2, true},
	{"KGS", 2, true},
	{"KHR", 2, true},
	{"KMF", 0, true},
	{"KPW", 2, true},
	{"KRW", 0, true},
	{"KWD", 3, true},
	{"KYD", 2, true},
	{"KZT", 2, true},
	{"LAK", 2, true},
	{"LBP", 2, true},
	{"LKR", 2, true},
	{"LRD", 2, true},
	{"LSL", 2, true},
	{"LTL", 2, false},
	{"LUF", 0, false},
	{"LVL", 2, false},
	{"LYD", 3, true},
	{"MAD", 2, true},
	{"MDL", 2, true},
	{"MGA", 2, true},
	{"MGF", 0, false},
	{"MKD", 2, true},
	{"MMK", 2, true},
	{"MNT", 2, true},
	{"MOP", 2, true},
	{"MRO", 2, false},
	{"MRU", 2, true},
	{"MTL", 2, false},
	{"MUR", 2, true},
	{"MVR", 2, true},
	{"MWK", 2, true},
	{"MXN", 2, true},
	{"MXV", 2, true},
	{"MYR", 2, true},
	{"MZM", 2, false},
	{"MZN", 2, true},
	{"NAD", 2, true},
	{"NGN", 2, true},
	{"NIO", 2, true},
	{"NLG", 2, false},
	{"NOK", 2, true},
	{"NPR", 2, true},
	{"NZD", 2, true},
	{"OMR", 3, true},
	{"PAB", 2, true},
	{"PEN", 2, true},
	{"PGK", 2, true},
	{"PHP", 2, true},
	{"PKR", 2, true},
	{"PLN", 2, true},
	{"PTE", 0, false},
	{"PYG", 0, true},
	{"QAR", 2, true},
	{"ROL", 0, false},
	{"RON", 2, true},
	{"RSD", 2, true},
	{"RUB", 2, true},
	{"RUR", 2, false},
	{"RWF", 0, true},
	{"SAR", 2, true},
	{"SBD", 2, true},
	{"SCR", 2, true},
	{"SDD", 2, false},
	{"SDG", 2, true},
	{"SEK", 2, true},
	{"SGD", 2, true},
	{"SHP", 2, true},
	{"SIT", 2, false},
	{"SKK", 2, false},
	{"SLE", 2, true},
	{"SLL", 2, false},
	{"SOS", 2, true},
	{"SRD", 2, true},
	{"SRG", 2, false},
	{"SSP", 2, true},
	{"STD", 2, false},
	{"STN", 2, true},
	{"SVC", 2, true},
	{"SYP", 2, true},
	{"SZL", 2, true},
	{"THB", 2, true},
	{"TJS", 2, true},
	{"TMM", 2, false},
	{"TMT", 2, true},
	{"TND", 3, true},
	{"TOP", 2, true},
	{"TPE", 0, false},
	{"TRL", 0, false},
	{"TRY", 2, true},
	{"TTD", 2, true},
	{"TWD", 2, true},
	{"TZS", 2, true},
	{"UAH", 2, true},
	{"UGX", 0, true},
	{"USD", 2, true},
	{"USN", 2, true},
	{"USS", 2, false},
	{"UYI", 0, true},
	{"UYU", 2, true},
	{"UYW", 4, true},
	{"UZS", 2, true},
	{"VEB", 2, false},
	{"VED", 2, true},
	{"VEF", 2, false},
	{"VES", 2, true},
	{"VND", 0, true},
	{"VUV", 0, true},
	{"WST", 2, true},
	{"XAD", 2, true},
	{"XAF", 0, true},
	{"XCD", 2, true},
	{"XCG", 2, true},
	{"XOF", 0, true},
	{"XPF", 0, true},
	{"YER", 2, true},
	{"YUM", 2, false},
	{"ZAR", 2, true},
	{"ZMK", 2, false},
	{"ZMW", 2, true},
	{"ZWD", 2, false},
	{"ZWG", 2, true},
	{"ZWL", 2, false},
	{"ZWN", 2, false},
	{"ZWR", 2, false},
};

#ifndef FRONTEND
/*
 * billing_currencies
 *		The whole table as a set: code, exponent, is_active.
 */
Datum
billing_currencies(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);

	for (int i = 0; i < lengthof(currencies); i++)
	{
		Datum		values[] = {
			CStringGetTextDatum(currencies[i].code),
			Int32GetDatum(currencies[i].exponent),
			BoolGetDatum(currencies[i].is_active),
		};
		bool		nulls[lengthof(values)] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}

	return (Datum) 0;
}
#endif

/*
 * billing_currency_find
 *		The currency of a code of three ASCII letters, in any case; else NULL.
 */
const BillingCurrency *
billing_currency_find(const char *code, size_t len)
{
	char		key[BILLING_CURRENCY_LEN];

	if (len != BILLING_CURRENCY_LEN)
		return NULL;

	for (int i = 0; i < BILLING_CURRENCY_LEN; i++)
		key[i] = fold_letter(code[i]);

	return bsearch(key, currencies, lengthof(currencies), sizeof(currencies[0]),
				   compare_code);
}

static int
compare_code(const void *code, const void *currency)
{
	return memcmp(code, ((const BillingCurrency *) currency)->code, BILLING_CURRENCY_LEN);
}

/*
 * fold_letter
 *		The upper case of an ASCII letter.  Not toupper(): under a Turkish
 *		locale that would take i for another letter.
 */
static char
fold_letter(char c)
{
	return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}
