/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Text with placeholders, filled with the values of an object.
 *
 * A placeholder is a name of a-z and _ in two braces: {{due_date}}.  A value is only
 * ever text where it lands: markup in it is escaped for HTML, and in a header no control
 * character of it is left, so that what a customer calls itself adds no line to a mail.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "amount.h"
#include "template.h"

BILLING_FUNCTION(billing_fill_template);

/* Where a template is used: how its values are written there. */
typedef void (*WriteValue) (StringInfo out, const char *value, size_t len);

static WriteValue find_form(text *form);
static void write_text(StringInfo out, const char *value, size_t len);
static void write_html(StringInfo out, const char *value, size_t len);
static void write_header(StringInfo out, const char *value, size_t len);
static void write_variable(StringInfo out, Jsonb *variables, const BillingTemplate *template, WriteValue write);
static size_t name_length(const char *text, const char *end);

/*
 * billing_fill_template
 *		The template with the values in the places of their names; one that the
 *		object has not is empty.
 */
Datum
billing_fill_template(PG_FUNCTION_ARGS)
{
	text	   *source = PG_GETARG_TEXT_PP(0);
	Jsonb	   *variables = PG_GETARG_JSONB_P(1);
	WriteValue	write = find_form(PG_GETARG_TEXT_PP(2));
	BillingTemplate template = billing_template_open(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source));
	StringInfoData out;

	initStringInfo(&out);
	while (billing_template_next(&template))
	{
		CHECK_FOR_INTERRUPTS();
		appendBinaryStringInfo(&out, template.literal, template.literal_len);
		if (template.name != NULL)
			write_variable(&out, variables, &template, write);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

static WriteValue
find_form(text *form)
{
	if (billing_text_equals(form, "text"))
		return write_text;
	if (billing_text_equals(form, "html"))
		return write_html;
	if (billing_text_equals(form, "header"))
		return write_header;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("form \"%.*s\" does not exist", BILLING_QUOTED(VARDATA_ANY(form), VARSIZE_ANY_EXHDR(form))),
			 errdetail("argument=form"),
			 errhint("Forms are: text, html, header.")));
}

/* Of strings and numbers; anything else is nothing that a person reads. */
static void
write_variable(StringInfo out, Jsonb *variables, const BillingTemplate *template, WriteValue write)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(variables) ||
		getKeyJsonValueFromContainer(&variables->root, template->name, template->name_len, &value) == NULL)
		return;
	if (value.type == jbvString)
		write(out, value.val.string.val, value.val.string.len);
	else if (value.type == jbvNumeric)
	{
		char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));

		write(out, number, strlen(number));
	}
}

static void
write_text(StringInfo out, const char *value, size_t len)
{
	appendBinaryStringInfo(out, value, len);
}

static void
write_html(StringInfo out, const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		switch (value[i])
		{
			case '&':
				appendStringInfoString(out, "&amp;");
				break;
			case '<':
				appendStringInfoString(out, "&lt;");
				break;
			case '>':
				appendStringInfoString(out, "&gt;");
				break;
			case '"':
				appendStringInfoString(out, "&quot;");
				break;
			case '\'':
				appendStringInfoString(out, "&#39;");
				break;
			default:
				appendStringInfoChar(out, value[i]);
		}
	}
}

/* A control character is a blank: no byte of a longer character of a server's encoding is one. */
static void
write_header(StringInfo out, const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		appendStringInfoChar(out, (unsigned char) value[i] < ' ' || value[i] == 0x7F ? ' ' : value[i]);
}

BillingTemplate
billing_template_open(const char *text, size_t len)
{
	return (BillingTemplate) {.next = text, .end = text + len};
}

bool
billing_template_next(BillingTemplate *template)
{
	const char *open = template->next;

	if (template->next == NULL)
		return false;
	template->literal = template->next;
	for (; open < template->end; open++)
	{
		size_t		len = name_length(open, template->end);

		if (len > 0)
		{
			template->literal_len = open - template->literal;
			template->name = open + 2;
			template->name_len = len;
			template->next = open + len + 4;
			return true;
		}
	}
	template->literal_len = template->end - template->literal;
	template->name = NULL;
	template->next = NULL;
	return true;
}

const char *
billing_template_malformed(const char *text, size_t len)
{
	const char *end = text + len;

	while (end - text >= 2)
	{
		if (text[0] == '{' && text[1] == '{')
		{
			size_t		name_len = name_length(text, end);

			if (name_len == 0)
				return text;
			text += name_len + 4;
		}
		else
			text++;
	}
	return NULL;
}

/* How long the name is if a placeholder begins here; 0: none does. */
static size_t
name_length(const char *text, const char *end)
{
	size_t		len = 0;

	if (end - text < 5 || text[0] != '{' || text[1] != '{')
		return 0;
	while (text + 2 + len < end && ((text[2 + len] >= 'a' && text[2 + len] <= 'z') || text[2 + len] == '_'))
		len++;
	return end - text - 2 - len >= 2 && text[2 + len] == '}' && text[3 + len] == '}' ? len : 0;
}
