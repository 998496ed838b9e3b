/*-------------------------------------------------------------------------
 *
 * encoding.c
 *	  Text in UTF-8, and in the encoding of the database.
 *
 * A database of SQL_ASCII takes and gives bytes as they are: those of UTF-8, it is hoped.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/namespace.h"
#include "common/string.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "encoding.h"

static void mend_text(char *text, size_t len, int encoding);

text *
billing_encoding_from_utf8(const char *utf8)
{
	int			encoding = GetDatabaseEncoding();
	int			len = strlen(utf8);
	int			size = len * MAX_CONVERSION_GROWTH + 1;
	Oid			conversion;
	char	   *converted;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || pg_is_ascii(utf8))
		return cstring_to_text_with_len(utf8, len);

	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return NULL;
	converted = palloc(size);
	if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, (unsigned char *) utf8, len,
									  (unsigned char *) converted, size, true) < len)
		return NULL;
	return cstring_to_text(converted);
}

char *
billing_encoding_to_utf8(const char *string)
{
	return pg_server_to_any(string, strlen(string), PG_UTF8);
}

/* Bytes of whatever encoding as UTF-8. */
char *
billing_encoding_read_bytes(const char *bytes, size_t len)
{
	char	   *text = palloc(len + 1);

	memcpy(text, bytes, len);
	text[len] = '\0';
	mend_text(text, len, PG_UTF8);
	return text;
}

/* What is none of an encoding is a question mark. */
static void
mend_text(char *text, size_t len, int encoding)
{
	size_t		n = 0;

	while (n < len)
	{
		n += pg_encoding_verifymbstr(encoding, text + n, len - n);
		if (n < len)
			text[n++] = '?';
	}
}

/*
 * billing_encoding_replace
 *		Text in another encoding, instead of it: what has no place there is a question mark, since an
 *		error here would keep everybody waiting.
 */
char *
billing_encoding_replace(char *text, int from, int to)
{
	int			len = strlen(text);
	Oid			conversion = from == to ? InvalidOid : FindDefaultConversionProc(from, to);
	char	   *converted;
	int			size;
	int			done = 0;
	int			end = 0;

	if (!OidIsValid(conversion))
	{
		if (from != to)
			mend_text(text, len, to);
		return text;
	}

	size = len * MAX_CONVERSION_GROWTH + 1;
	converted = palloc(size);
	while (done < len)
	{
		done += pg_do_encoding_conversion_buf(conversion, from, to, (unsigned char *) text + done, len - done,
											  (unsigned char *) converted + end, size - end, true);
		end += strlen(converted + end);
		if (done == len)
			break;
		converted[end++] = '?';
		done += Min(pg_encoding_mblen(from, text + done), len - done);
	}
	converted[end] = '\0';
	pfree(text);
	return converted;
}

Datum
billing_encoding_datum(const char *utf8)
{
	if (utf8 == NULL)
		return (Datum) 0;
	return CStringGetTextDatum(billing_encoding_replace(billing_encoding_read_bytes(utf8, strlen(utf8)), PG_UTF8, GetDatabaseEncoding()));
}
