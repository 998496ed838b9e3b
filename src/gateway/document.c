/*-------------------------------------------------------------------------
 *
 * document.c
 *	  JSON from outside and for outside, outside of any database.
 *
 * PostgreSQL's own lexer finds the tokens.  Its parser is not used, as it recurses as deep as its input, and
 * in a server would turn escapes into the encoding of the database, or raise: what is here is UTF-8 always.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

#include "../compat.h"
#include "document.h"

#define MAX_BYTES (1024 * 1024)
#define MAX_DEPTH 64
#define MAX_NUMBER 100

struct BillingDocument
{
	JsonTokenType type;			/* of its first token */
	const char *name;			/* of a member of an object */
	const char *text;			/* a string, without escapes; a number, as it
								 * is written */
	const char *source;
	size_t		len;
	int			count;
	BillingDocument *first;		/* of its elements or members */
	BillingDocument *last;
	BillingDocument *next;		/* beside it */
};

static BillingDocument *read_value(JsonLexContext *lex, int depth);
static bool read_elements(JsonLexContext *lex, BillingDocument *parent, JsonTokenType end, int depth);
static BillingDocument *read_element(JsonLexContext *lex, bool has_name, int depth);
static bool advance(JsonLexContext *lex);
static const char *read_string(const char *from, const char *end);
static int	read_escape(const char *from, const char *end, char **out);
static int	read_code_point(const char *from, const char *end, pg_wchar * code);
static bool read_hex(const char *from, const char *end, pg_wchar * unit);
static const char *copy(const char *from, const char *end);
static const BillingDocument *find_element(const BillingDocument *parent, const char *key, size_t len);
static const BillingDocument *find_place(const BillingDocument *array, const char *key, size_t len);
static void print_value(StringInfo out, const BillingDocument *value, const char *const *without);
static bool is_odd_number(const BillingDocument *value);
static bool is_left_out(const BillingDocument *value, const char *const *without);

/*
 * billing_document_read
 *		Where an object has a name twice, the last one counts, as in jsonb.
 */
const BillingDocument *
billing_document_read(const char *data, size_t len)
{
	JsonLexContext *lex;
	const BillingDocument *document = NULL;

	if (len > MAX_BYTES || pg_encoding_verifymbstr(PG_UTF8, data, len) != len)
		return NULL;

	lex = billing_make_json_scanner(data, len, PG_UTF8);
	if (advance(lex))
		document = read_value(lex, 0);
	if (document != NULL && lex->token_type != JSON_TOKEN_END)
		document = NULL;
	billing_free_json_lexer(lex);
	return document;
}

/*
 * read_value
 *		Read the value that begins with the present token, and step behind it.
 */
static BillingDocument *
read_value(JsonLexContext *lex, int depth)
{
	BillingDocument *value = palloc0(sizeof(BillingDocument));
	bool		is_good = true;

	value->type = lex->token_type;
	value->source = lex->token_start;
	switch (value->type)
	{
		case JSON_TOKEN_OBJECT_START:
			is_good = read_elements(lex, value, JSON_TOKEN_OBJECT_END, depth + 1);
			break;
		case JSON_TOKEN_ARRAY_START:
			is_good = read_elements(lex, value, JSON_TOKEN_ARRAY_END, depth + 1);
			break;
		case JSON_TOKEN_STRING:
			value->text = read_string(lex->token_start + 1, lex->token_terminator - 1);
			is_good = value->text != NULL;
			break;
		case JSON_TOKEN_NUMBER:
			value->text = copy(lex->token_start, lex->token_terminator);
			break;
		case JSON_TOKEN_TRUE:
		case JSON_TOKEN_FALSE:
		case JSON_TOKEN_NULL:
			break;
		default:
			is_good = false;
	}
	if (!is_good)
		return NULL;

	value->len = lex->token_terminator - value->source;
	return advance(lex) ? value : NULL;
}

/*
 * read_elements
 *		Read what an array or object has, up to the token that ends it.
 */
static bool
read_elements(JsonLexContext *lex, BillingDocument *parent, JsonTokenType end, int depth)
{
	if (depth > MAX_DEPTH || !advance(lex))
		return false;
	while (lex->token_type != end)
	{
		BillingDocument *element;

		if (parent->count > 0 && (lex->token_type != JSON_TOKEN_COMMA || !advance(lex)))
			return false;
		element = read_element(lex, end == JSON_TOKEN_OBJECT_END, depth);
		if (element == NULL)
			return false;

		if (parent->last != NULL)
			parent->last->next = element;
		else
			parent->first = element;
		parent->last = element;
		parent->count++;
	}
	return true;
}

static BillingDocument *
read_element(JsonLexContext *lex, bool has_name, int depth)
{
	const char *name = NULL;
	BillingDocument *element;

	if (has_name)
	{
		if (lex->token_type != JSON_TOKEN_STRING)
			return NULL;
		name = read_string(lex->token_start + 1, lex->token_terminator - 1);
		if (name == NULL || !advance(lex) || lex->token_type != JSON_TOKEN_COLON || !advance(lex))
			return NULL;
	}
	element = read_value(lex, depth);
	if (element != NULL)
		element->name = name;
	return element;
}

static bool
advance(JsonLexContext *lex)
{
	return json_lex(lex) == JSON_SUCCESS;
}

/*
 * read_string
 *		What stands between two quotes, without escapes; NULL if it holds half a surrogate pair or a NUL.
 */
static const char *
read_string(const char *from, const char *end)
{
	char	   *text = palloc(end - from + 1);	/* an escape is longer than
												 * what it stands for */
	char	   *out = text;

	while (from < end)
	{
		int			taken = 1;

		if (*from != '\\')
			*out++ = *from;
		else
			taken = read_escape(from, end, &out);
		if (taken == 0)
			return NULL;
		from += taken;
	}
	*out = '\0';
	return text;
}

/* Returns its length, 0 if it is none. */
static int
read_escape(const char *from, const char *end, char **out)
{
	static const char names[] = "\"\\/bfnrt";
	static const char bytes[] = "\"\\/\b\f\n\r\t";
	const char *name;
	pg_wchar	code;
	int			taken;

	if (end - from < 2 || from[1] == '\0')
		return 0;
	if (from[1] == 'u')
	{
		taken = read_code_point(from, end, &code);
		if (taken == 0 || code == 0)
			return 0;
		unicode_to_utf8(code, (unsigned char *) *out);
		*out += pg_utf_mblen((unsigned char *) *out);
		return taken;
	}
	name = strchr(names, from[1]);
	if (name == NULL)
		return 0;
	*(*out)++ = bytes[name - names];
	return 2;
}

/* One escape, or the two of a surrogate pair. */
static int
read_code_point(const char *from, const char *end, pg_wchar * code)
{
	pg_wchar	second;

	if (!read_hex(from, end, code) || is_utf16_surrogate_second(*code))
		return 0;
	if (!is_utf16_surrogate_first(*code))
		return 6;
	if (!read_hex(from + 6, end, &second) || !is_utf16_surrogate_second(second))
		return 0;
	*code = surrogate_pair_to_codepoint(*code, second);
	return 12;
}

static bool
read_hex(const char *from, const char *end, pg_wchar * unit)
{
	*unit = 0;
	if (end - from < 6 || from[0] != '\\' || from[1] != 'u')
		return false;
	for (int i = 2; i < 6; i++)
	{
		char		c = from[i];

		if (c >= '0' && c <= '9')
			*unit = *unit * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			*unit = *unit * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			*unit = *unit * 16 + (c - 'A' + 10);
		else
			return false;
	}
	return true;
}

static const char *
copy(const char *from, const char *end)
{
	char	   *text = palloc(end - from + 1);

	memcpy(text, from, end - from);
	text[end - from] = '\0';
	return text;
}

/* An empty path leads to the document itself. */
const BillingDocument *
billing_document_get(const BillingDocument *document, const char *path)
{
	while (document != NULL && *path != '\0')
	{
		size_t		len = strcspn(path, ".");

		document = find_element(document, path, len);
		path += len;
		if (*path == '.')
			path++;
	}
	return document != NULL && document->type != JSON_TOKEN_NULL ? document : NULL;
}

static const BillingDocument *
find_element(const BillingDocument *parent, const char *key, size_t len)
{
	const BillingDocument *found = NULL;

	if (parent->type == JSON_TOKEN_ARRAY_START)
		return find_place(parent, key, len);
	for (const BillingDocument *member = parent->first; member != NULL; member = member->next)
	{
		if (strncmp(member->name, key, len) == 0 && member->name[len] == '\0')
			found = member;
	}
	return found;
}

/* Counted from 0. */
static const BillingDocument *
find_place(const BillingDocument *array, const char *key, size_t len)
{
	const BillingDocument *element = array->first;
	int			place = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (key[i] < '0' || key[i] > '9' || place >= MAX_BYTES)
			return NULL;
		place = place * 10 + (key[i] - '0');
	}
	if (len == 0 || place >= array->count)
		return NULL;
	while (place-- > 0)
		element = element->next;
	return element;
}

const char *
billing_document_string(const BillingDocument *document, const char *path)
{
	document = billing_document_get(document, path);
	return document != NULL ? document->text : NULL;
}

/* A number with a point or an exponent is none here, whatever its value. */
bool
billing_document_integer(const BillingDocument *document, const char *path, int64 *value)
{
	char	   *end;
	int64		number;

	document = billing_document_get(document, path);
	if (document == NULL || document->type != JSON_TOKEN_NUMBER)
		return false;
	errno = 0;
	number = strtoll(document->text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*value = number;
	return true;
}

bool
billing_document_is_true(const BillingDocument *document, const char *path)
{
	document = billing_document_get(document, path);
	return document != NULL && document->type == JSON_TOKEN_TRUE;
}

int
billing_document_count(const BillingDocument *document, const char *path)
{
	document = billing_document_get(document, path);
	return document != NULL ? document->count : 0;
}

void
billing_document_source(const BillingDocument *document, const char **data, size_t * len)
{
	*data = document->source;
	*len = document->len;
}

char *
billing_document_print(const BillingDocument *document, const char *const *without)
{
	StringInfoData out;

	initStringInfo(&out);
	print_value(&out, document, without);
	return out.data;
}

static void
print_value(StringInfo out, const BillingDocument *value, const char *const *without)
{
	bool		is_object = value->type == JSON_TOKEN_OBJECT_START;
	bool		is_first = true;

	if (value->type == JSON_TOKEN_STRING || is_odd_number(value))
		billing_document_append_string(out, value->text);
	else if (!is_object && value->type != JSON_TOKEN_ARRAY_START)
		appendBinaryStringInfo(out, value->source, value->len);
	else
	{
		appendStringInfoChar(out, is_object ? '{' : '[');
		for (const BillingDocument *element = value->first; element != NULL; element = element->next)
		{
			if (is_object && is_left_out(element, without))
				continue;
			if (!is_first)
				appendStringInfoChar(out, ',');
			is_first = false;
			if (is_object)
			{
				billing_document_append_string(out, element->name);
				appendStringInfoChar(out, ':');
			}
			print_value(out, element, without);
		}
		appendStringInfoChar(out, is_object ? '}' : ']');
	}
}

/* One that PostgreSQL's numeric may not hold, so that jsonb would refuse all of it, is printed as a string. */
static bool
is_odd_number(const BillingDocument *value)
{
	return value->type == JSON_TOKEN_NUMBER && (value->len > MAX_NUMBER || strpbrk(value->text, "eE") != NULL);
}

static bool
is_left_out(const BillingDocument *value, const char *const *without)
{
	for (int i = 0; without != NULL && without[i] != NULL; i++)
	{
		if (strcmp(value->name, without[i]) == 0)
			return true;
	}
	return false;
}

void
billing_document_append_string(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(out, '\\');
		if ((unsigned char) *c < ' ')
			appendStringInfo(out, "\\u%04x", (unsigned char) *c);
		else
			appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '"');
}

void
billing_document_append_member(StringInfo out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	if (out->len > 0 && out->data[out->len - 1] != '{')
		appendStringInfoChar(out, ',');
	billing_document_append_string(out, name);
	appendStringInfoChar(out, ':');
	billing_document_append_string(out, text);
}
