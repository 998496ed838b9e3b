/*-------------------------------------------------------------------------
 *
 * format.c
 *	  An amount or a day as people of one locale write it, by ICU.
 *
 * The only file that includes ICU.  The number goes in as decimal digits and
 * with our exponent, so that the output is exact over the whole range and does
 * not follow the decimals that CLDR thinks customary for a currency.  A day goes in
 * as one of UTC: which day an instant is of is PostgreSQL's to say, not ICU's.
 *
 * What the encoding of the database has not the characters for (LATIN1 has no euro sign, EUC_CN no
 * space that does not break) is written plainly, as 12.00 EUR and 2026-01-31: an error would keep an invoice from
 * being sent.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <unicode/udat.h>
#include <unicode/uloc.h>
#include <unicode/unum.h>
#include <unicode/ustring.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "encoding.h"

BILLING_FUNCTION(billing_format);
BILLING_FUNCTION(billing_format_date);
BILLING_FUNCTION(billing_is_locale);

/*
 * The formatter of the last call: opening one costs ten times its use, and
 * a report asks for one locale.
 */
static UNumberFormat *formatter;
static char formatter_locale[ULOC_FULLNAME_CAPACITY];

/* The same for days. */
static UDateFormat *calendar;
static char calendar_locale[ULOC_FULLNAME_CAPACITY];

/* The longest output: 19 digits, as many separators, signs and a symbol. */
#define FORMATTED_MAX 256

#define MSECS_PER_DAY INT64CONST(86400000)

static text *iso_date(DateADT day);
static UNumberFormat *formatter_for(text *locale);
static UDateFormat *calendar_for(text *locale);
static void require_locale(text *locale, char *name);
static bool resolve_locale(text *locale, char *name);
static bool is_known(const char *name);
static void set_currency(UNumberFormat *format, const BillingAmount *amount);
static text *format_decimal(UNumberFormat *format, const char *decimal, int len);
static text *text_of(const UChar *wide, int32_t wide_len);
static void check_icu(UErrorCode status);

Datum
billing_format(PG_FUNCTION_ARGS)
{
	const BillingAmount *amount = PG_GETARG_BILLING_AMOUNT_P(0);
	UNumberFormat *format = formatter_for(PG_GETARG_TEXT_PP(1));
	char		decimal[BILLING_AMOUNT_DECIMAL_LEN];
	int			len = billing_amount_to_decimal(amount, decimal);
	text	   *formatted;

	set_currency(format, amount);
	formatted = format_decimal(format, decimal, len);
	if (formatted == NULL)
		formatted = cstring_to_text(psprintf("%.*s %.*s", len, decimal, BILLING_CURRENCY_LEN, amount->currency));
	PG_RETURN_TEXT_P(formatted);
}

/*
 * billing_format_date
 *		A day in words, as January 31, 2026.
 */
Datum
billing_format_date(PG_FUNCTION_ARGS)
{
	DateADT		day = PG_GETARG_DATEADT(0);
	UDateFormat *format = calendar_for(PG_GETARG_TEXT_PP(1));
	UChar		wide[FORMATTED_MAX];
	int32_t		wide_len;
	UErrorCode	status = U_ZERO_ERROR;
	text	   *formatted;

	if (DATE_NOT_FINITE(day))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("a day that is infinite has no name"),
				 errhint("Format a finite date.")));

	wide_len = udat_format(format, ((int64) day + POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * MSECS_PER_DAY, wide,
						   lengthof(wide), NULL, &status);
	check_icu(status);
	formatted = text_of(wide, wide_len);
	if (formatted == NULL)
		formatted = iso_date(day);
	PG_RETURN_TEXT_P(formatted);
}

static text *
iso_date(DateADT day)
{
	struct pg_tm tm = {0};
	char		buffer[MAXDATELEN + 1];

	j2date(day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	EncodeDateOnly(&tm, USE_ISO_DATES, buffer);
	return cstring_to_text(buffer);
}

/*
 * billing_is_locale
 *		Would billing_format() take it?
 */
Datum
billing_is_locale(PG_FUNCTION_ARGS)
{
	char		name[ULOC_FULLNAME_CAPACITY];

	PG_RETURN_BOOL(resolve_locale(PG_GETARG_TEXT_PP(0), name) && is_known(name));
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

	require_locale(locale, name);
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

static UDateFormat *
calendar_for(text *locale)
{
	static const UChar utc[] = {'U', 'T', 'C', 0};
	char		name[ULOC_FULLNAME_CAPACITY];
	UErrorCode	status = U_ZERO_ERROR;
	UDateFormat *opened;

	require_locale(locale, name);
	if (calendar != NULL && strcmp(calendar_locale, name) == 0)
		return calendar;

	opened = udat_open(UDAT_NONE, UDAT_LONG, name, utc, -1, NULL, 0, &status);
	check_icu(status);
	if (calendar != NULL)
		udat_close(calendar);
	calendar = opened;
	strcpy(calendar_locale, name);
	return calendar;
}

/* ICU's name of a locale that it has, or an error. */
static void
require_locale(text *locale, char *name)
{
	if (!resolve_locale(locale, name) || !is_known(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("locale \"%.*s\" is not known",
						BILLING_QUOTED(VARDATA_ANY(locale), VARSIZE_ANY_EXHDR(locale))),
				 errdetail("ICU has no data for such a language."),
				 errhint("Write a BCP 47 tag such as en-US, de-DE or zh-Hans-CN.")));
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
 *		Format decimal digits; NULL: the server's encoding cannot hold what that gives.
 */
static text *
format_decimal(UNumberFormat *format, const char *decimal, int len)
{
	UChar		wide[FORMATTED_MAX];
	int32_t		wide_len;
	UErrorCode	status = U_ZERO_ERROR;

	wide_len = unum_formatDecimal(format, decimal, len, wide, lengthof(wide), NULL, &status);
	check_icu(status);
	return text_of(wide, wide_len);
}

/* What ICU wrote, in the server's encoding; NULL: that cannot hold it. */
static text *
text_of(const UChar *wide, int32_t wide_len)
{
	char		utf8[FORMATTED_MAX * 3];
	UErrorCode	status = U_ZERO_ERROR;

	u_strToUTF8(utf8, sizeof(utf8), NULL, wide, wide_len, &status);
	check_icu(status);
	return billing_encoding_from_utf8(utf8);
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
				 errmsg("could not format it as a locale does: %s", u_errorName(status))));
}
