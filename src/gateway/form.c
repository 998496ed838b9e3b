/*-------------------------------------------------------------------------
 *
 * form.c
 *	  application/x-www-form-urlencoded, as it is written and read.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "mb/pg_wchar.h"

#include "form.h"

#define MAX_PAIRS 1000

static bool is_unreserved(unsigned char c);
static size_t find_byte(const char *data, size_t len, char byte);
static const char *read_pair(const char *data, size_t len, BillingPair *pair);
static const char *decode(const char *data, size_t len, const char **text);
static int	hex_digit(char c);

void
billing_form_append(StringInfo out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (out->len > 0 && out->data[out->len - 1] != '?')
		appendStringInfoChar(out, '&');
	billing_form_append_encoded(out, name);
	appendStringInfoChar(out, '=');
	billing_form_append_encoded(out, value);
}

void
billing_form_append_encoded(StringInfo out, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";

	for (const unsigned char *c = (const unsigned char *) text; *c != '\0'; c++)
	{
		if (is_unreserved(*c))
			appendStringInfoChar(out, *c);
		else
		{
			appendStringInfoChar(out, '%');
			appendStringInfoChar(out, digits[*c >> 4]);
			appendStringInfoChar(out, digits[*c & 15]);
		}
	}
}

/* By RFC 3986, whatever the locale takes for a letter. */
static bool
is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '.' || c == '_' || c == '~';
}

/*
 * billing_form_read
 *		Read pairs in their order.
 *
 * A pair without = has an empty value; nothing between two & is none.
 */
const char *
billing_form_read(const char *data, size_t len, BillingPairs *pairs)
{
	int			allocated = 16;

	pairs->count = 0;
	pairs->pairs = palloc(allocated * sizeof(BillingPair));
	while (len > 0)
	{
		size_t		end = find_byte(data, len, '&');
		size_t		step = Min(end + 1, len);
		const char *wrong;

		if (end > 0)
		{
			if (pairs->count == MAX_PAIRS)
				return "more than 1,000 pairs";
			if (pairs->count == allocated)
			{
				allocated *= 2;
				pairs->pairs = repalloc(pairs->pairs, allocated * sizeof(BillingPair));
			}
			wrong = read_pair(data, end, &pairs->pairs[pairs->count]);
			if (wrong != NULL)
				return wrong;
			pairs->count++;
		}
		data += step;
		len -= step;
	}
	return NULL;
}

/* Where the byte is, or len. */
static size_t
find_byte(const char *data, size_t len, char byte)
{
	const char *found = len > 0 ? memchr(data, byte, len) : NULL;

	return found != NULL ? found - data : len;
}

static const char *
read_pair(const char *data, size_t len, BillingPair *pair)
{
	size_t		name_len = find_byte(data, len, '=');
	size_t		value_at = Min(name_len + 1, len);
	const char *wrong = decode(data, name_len, &pair->name);

	if (wrong == NULL)
		wrong = decode(data + value_at, len - value_at, &pair->value);
	return wrong;
}

static const char *
decode(const char *data, size_t len, const char **text)
{
	char	   *out = palloc(len + 1);
	size_t		out_len = 0;

	for (size_t i = 0; i < len; i++)
	{
		char		c = data[i];

		if (c == '+')
			c = ' ';
		else if (c == '%')
		{
			int			high = len - i > 2 ? hex_digit(data[i + 1]) : -1;
			int			low = len - i > 2 ? hex_digit(data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return "a bad escape";
			c = (char) (high << 4 | low);
			i += 2;
		}
		if (c == '\0')
			return "a NUL";
		out[out_len++] = c;
	}
	out[out_len] = '\0';
	if (pg_encoding_verifymbstr(PG_UTF8, out, out_len) != out_len)
		return "no valid UTF-8";
	*text = out;
	return NULL;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}
