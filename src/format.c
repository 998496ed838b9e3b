/*-------------------------------------------------------------------------
 *
 * format.c
 *	  An amount as people of one locale write it, by ICU.
 *
 * The only file that includes ICU.  The number goes in as decimal digits and
 * with our exponent, so that the output is exact over the whole range and does
 * not follow the decimals that CLDR thinks customary for a currency.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <unicode/uloc.h>
#include <unicode/unum.h>
#include <unicode/ustring.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "amount.h"

BILLING_FUNCTION(billing_format);

/*
 * The formatter of the last call: opening one costs ten times its use, and
 * a report asks for one locale.
 */
static UNumberFormat *formatter;
static char formatter_locale[ULOC_FULLNAME_CAPACITY];

/* The longest output: 19 digits, as many separators, signs and a symbol. */
#define FORMATTED_MAX 256

static UNumberFormat *formatter_for(text *locale);
static bool resolve_locale(text *locale, char *name);
static bool is_known(const char *name);
static void set_currency(UNumberFormat *format, const BillingAmount *amount);
static text *format_decimal(UNumberFormat *format, const char *decimal, int len);
static void check_icu(UErrorCode status);

Datum
billing_format(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	UNumberFormat *format = formatter_for(PG_GETARG_TEXT_PP(1));
	char		decimal[BILLING_AMOUNT_DECIMAL_LEN];
	int			len = billing_amount_to_decimal(amount, decimal);

	set_currency(format, amount);
	PG_RETURN_TEXT_P(format_decimal(format, decimal, len));
}

/*
 * formatter_for
 *		The currency formatter of a locale, or an error if ICU has none.
 */
static UNumberFormat *
formatter_for(text *locale)
{
	char		name[ULOC_FULLNAME_CAPACITY];
	UErrorCode	status = U_ZERO_ERROR;
	UNumberFormat *opened;

	if (!resolve_locale(locale, name) || !is_known(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("locale \"%.*s\" is not known",
						BILLING_QUOTED(VARDATA_ANY(locale), VARSIZE_ANY_EXHDR(locale))),
				 errdetail("ICU has no data for such a language."),
				 errhint("Write a BCP 47 tag such as en-US, de-DE or zh-Hans-CN.")));

	if (formatter != NULL && strcmp(formatter_locale, name) == 0)
		return formatter;

	opened = unum_open(UNUM_CURRENCY, NULL, 0, name, NULL, &status);
	check_icu(status);
	if (formatter != NULL)
		unum_close(formatter);
	formatter = opened;
	strcpy(formatter_locale, name);
	return formatter;
}

/*
 * resolve_locale
 *		ICU's name of a BCP 47 tag, written with - or _; false if it is malformed.
 *
 * ICU takes any text for a locale's name and makes the best of it: the strict
 * reading of tags, to the last byte, is what tells garbage from a locale.
 */
static bool
resolve_locale(text *locale, char *name)
{
	char		tag[ULOC_FULLNAME_CAPACITY];
	size_t		len = VARSIZE_ANY_EXHDR(locale);
	UErrorCode	status = U_ZERO_ERROR;
	int32_t		parsed;

	if (len == 0 || len >= sizeof(tag))
		return false;
	for (size_t i = 0; i < len; i++)
		tag[i] = VARDATA_ANY(locale)[i] == '_' ? '-' : VARDATA_ANY(locale)[i];
	tag[len] = '\0';

	uloc_forLanguageTag(tag, name, ULOC_FULLNAME_CAPACITY, &parsed, &status);
	return U_SUCCESS(status) && status != U_STRING_NOT_TERMINATED_WARNING && parsed == len;
}

/*
 * is_known
 *		Has ICU data for the locale's language?
 *
 * Without them it would silently write as its root locale does.  A region
 * or script it does not know falls back to the language, which is still right.
 */
static bool
is_known(const char *name)
{
	char		language[ULOC_LANG_CAPACITY];
	UErrorCode	status = U_ZERO_ERROR;

	uloc_getLanguage(name, language, sizeof(language), &status);
	if (U_FAILURE(status) || status == U_STRING_NOT_TERMINATED_WARNING || language[0] == '\0')
		return false;

	for (int32_t i = 0; i < uloc_countAvailable(); i++)
	{
		if (strcmp(uloc_getAvailable(i), language) == 0)
			return true;
	}
	return false;
}

/*
 * set_currency
 *		Make the formatter write the amount's currency with our decimals.
 *		The code comes first: it resets the decimals to CLDR's.
 */
static void
set_currency(UNumberFormat *format, const BillingAmount *amount)
{
	UChar		code[BILLING_CURRENCY_LEN + 1];
	UErrorCode	status = U_ZERO_ERROR;
	int			exponent = billing_currency_find(amount->currency, BILLING_CURRENCY_LEN)->exponent;

	u_charsToUChars(amount->currency, code, lengthof(code));
	unum_setTextAttribute(format, UNUM_CURRENCY_CODE, code, BILLING_CURRENCY_LEN, &status);
	check_icu(status);
	unum_setDoubleAttribute(format, UNUM_ROUNDING_INCREMENT, 0);
	unum_setAttribute(format, UNUM_FRACTION_DIGITS, exponent);
}

/*
 * format_decimal
 *		Format decimal digits, as text in the server's encoding.
 */
static text *
format_decimal(UNumberFormat *format, const char *decimal, int len)
{
	UChar		wide[FORMATTED_MAX];
	char		utf8[FORMATTED_MAX * 3];
	int32_t		wide_len;
	int32_t		utf8_len;
	UErrorCode	status = U_ZERO_ERROR;
	char	   *converted;

	wide_len = unum_formatDecimal(format, decimal, len, wide, lengthof(wide), NULL, &status);
	check_icu(status);
	u_strToUTF8(utf8, sizeof(utf8), &utf8_len, wide, wide_len, &status);
	check_icu(status);

	converted = pg_any_to_server(utf8, utf8_len, PG_UTF8);
	return converted == utf8 ?
		cstring_to_text_with_len(utf8, utf8_len) :
		cstring_to_text(converted);
}

/*
 * check_icu
 *		Raise what ICU reports; a result without its final zero is one that did
 *		not fit.
 */
static void
check_icu(UErrorCode status)
{
	if (U_FAILURE(status) || status == U_STRING_NOT_TERMINATED_WARNING)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not format an amount: %s", u_errorName(status))));
}
