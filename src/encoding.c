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
