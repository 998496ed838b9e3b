/*-------------------------------------------------------------------------
 *
 * mime.c
 *	  A mail as bytes: RFC 5322, with what is not ASCII as RFC 2047 and 2045 write it.
 *
 * What becomes a header is checked here, behind everybody: a control character in it is an
 * error, and what is not plain ASCII is encoded, so that nothing of a value can begin another
 * header or a recipient.  Bodies are base64, in which no line is longer than 76 characters, begins
 * with a dot or looks like a boundary.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "encoding.h"
#include "mime.h"

BILLING_FUNCTION(billing_mail_message);

/* Bytes of a line of base64, and of an encoded word: 45 bytes are 60 characters, 72 with what is around them. */
#define LINE_BYTES 57
#define WORD_BYTES 45

/* A header that is written as it is stays within the 78 characters of RFC 5322. */
#define PLAIN_MAX 60

/* A boundary that no line of base64 can be: it has characters that base64 has not. */
#define BOUNDARY "=_billing_part_="

static char *utf8_of(text *argument);
static void write_mailbox(StringInfo out, const char *name, const char *mailbox);
static void write_phrase(StringInfo out, const char *phrase, size_t len);
static void write_address(StringInfo out, const char *name, const char *address);
static void write_unstructured(StringInfo out, const char *name, const char *value);
static void check_header(const char *name, const char *value);
static void check_mailbox(const char *name, const char *mailbox, char *address);
static void check_address(const char *name, const char *address);
static bool is_plain(const char *value, size_t len);
static void write_words(StringInfo out, const char *utf8, size_t len);
static size_t clip_word(const char *utf8, size_t len);
static void write_date(StringInfo out, TimestampTz at);
static void write_part(StringInfo out, const char *type, const char *text);
static StringInfoData with_line_ends(const char *utf8);
static void write_base64(StringInfo out, const char *bytes, size_t len);
static const char *domain_problem(const char *domain);

/*
 * billing_mail_message
 *		A mail as the sender gives it to a mail server.
 */
Datum
billing_mail_message(PG_FUNCTION_ARGS)
{
	char		address[BILLING_MIME_ADDRESS_MAX + 1];
	BillingMail mail;

	for (int i = 0; i < 7; i++)
	{
		if (PG_ARGISNULL(i) && i != 4)
			PG_RETURN_NULL();
	}
	/* What an error quotes is not in UTF-8 yet. */
	check_mailbox("From", text_to_cstring(PG_GETARG_TEXT_PP(0)), address);
	mail = (BillingMail)
	{
		.sender = utf8_of(PG_GETARG_TEXT_PP(0)),
			.recipient = text_to_cstring(PG_GETARG_TEXT_PP(1)),
			.subject = utf8_of(PG_GETARG_TEXT_PP(2)),
			.body = utf8_of(PG_GETARG_TEXT_PP(3)),
			.html = PG_ARGISNULL(4) ? NULL : utf8_of(PG_GETARG_TEXT_PP(4)),
			.message_id = text_to_cstring(PG_GETARG_TEXT_PP(5)),
			.at = PG_GETARG_TIMESTAMPTZ(6)
	};
	PG_RETURN_TEXT_P(cstring_to_text(billing_mime_write(&mail)));
}

static char *
utf8_of(text *argument)
{
	return billing_encoding_to_utf8(text_to_cstring(argument));
}

char *
billing_mime_write(const BillingMail *mail)
{
	StringInfoData out;

	initStringInfo(&out);
	write_mailbox(&out, "From", mail->sender);
	write_address(&out, "To", mail->recipient);
	write_unstructured(&out, "Subject", mail->subject);
	write_date(&out, mail->at);
	check_address("Message-ID", mail->message_id);
	appendStringInfo(&out, "Message-ID: <%s>\r\n", mail->message_id);
	appendStringInfoString(&out, "MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n");

	if (mail->html == NULL)
	{
		write_part(&out, "text/plain", mail->body);
		return out.data;
	}
	appendStringInfoString(&out, "Content-Type: multipart/alternative; boundary=\"" BOUNDARY "\"\r\n\r\n--" BOUNDARY "\r\n");
	write_part(&out, "text/plain", mail->body);
	appendStringInfoString(&out, "--" BOUNDARY "\r\n");
	write_part(&out, "text/html", mail->html);
	appendStringInfoString(&out, "--" BOUNDARY "--\r\n");
	return out.data;
}

/* A header with a name for people before the address. */
static void
write_mailbox(StringInfo out, const char *name, const char *mailbox)
{
	char		address[BILLING_MIME_ADDRESS_MAX + 1];
	const char *open = strrchr(mailbox, '<');
	size_t		len = open == NULL ? 0 : open - mailbox;

	check_mailbox(name, mailbox, address);
	while (len > 0 && mailbox[len - 1] == ' ')
		len--;
	if (len == 0)
		write_address(out, name, address);
	else
	{
		appendStringInfo(out, "%s: ", name);
		write_phrase(out, mailbox, len);
		appendStringInfo(out, "\r\n <%s>\r\n", address);
	}
}

/* Quoted if it is ASCII: a word of it may be special otherwise. */
static void
write_phrase(StringInfo out, const char *phrase, size_t len)
{
	if (!is_plain(phrase, len))
	{
		write_words(out, phrase, len);
		return;
	}
	appendStringInfoChar(out, '"');
	for (size_t i = 0; i < len; i++)
	{
		if (phrase[i] == '"' || phrase[i] == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, phrase[i]);
	}
	appendStringInfoChar(out, '"');
}

static void
write_address(StringInfo out, const char *name, const char *address)
{
	check_address(name, address);
	appendStringInfo(out, "%s: <%s>\r\n", name, address);
}

static void
write_unstructured(StringInfo out, const char *name, const char *value)
{
	check_header(name, value);
	appendStringInfo(out, "%s: ", name);
	if (is_plain(value, strlen(value)))
		appendStringInfoString(out, value);
	else
		write_words(out, value, strlen(value));
	appendStringInfoString(out, "\r\n");
}

static void
check_header(const char *name, const char *value)
{
	for (const char *c = value; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7F)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("header \"%s\" of a mail has a line break or another control character", name),
					 errdetail("header=%s position=%d", name, (int) (c - value) + 1),
					 errhint("A header has one line.")));
	}
}

static void
check_mailbox(const char *name, const char *mailbox, char *address)
{
	if (billing_mime_find_address(mailbox, address) != NULL)
		check_address(name, mailbox);
}

static void
check_address(const char *name, const char *address)
{
	const char *problem = billing_mime_address_problem(address);

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%.*s\" is not a mail address", BILLING_QUOTED(address, strlen(address))),
				 errdetail("%s", problem),
				 errhint("Header \"%s\" has one address, such as billing@example.com.", name)));
}

/* May it stand in a header as it is?  Two characters would begin an encoded word. */
static bool
is_plain(const char *value, size_t len)
{
	if (len > PLAIN_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (value[i] < ' ' || value[i] > '~' || (value[i] == '=' && i + 1 < len && value[i + 1] == '?'))
			return false;
	}
	return true;
}

/* As encoded words, one a line; none ends within a character. */
static void
write_words(StringInfo out, const char *utf8, size_t len)
{
	for (const char *end = utf8 + len; utf8 < end;)
	{
		size_t		word = clip_word(utf8, end - utf8);
		char		base64[WORD_BYTES * 2];
		int			written = pg_b64_encode((const void *) utf8, word, base64, sizeof(base64));

		appendStringInfo(out, "=?UTF-8?B?%.*s?=", written, base64);
		utf8 += word;
		if (utf8 < end)
			appendStringInfoString(out, "\r\n ");
	}
}

/* How many bytes of whole characters fit into a word. */
static size_t
clip_word(const char *utf8, size_t len)
{
	if (len <= WORD_BYTES)
		return len;
	len = WORD_BYTES;
	while (len > 1 && ((unsigned char) utf8[len] & 0xC0) == 0x80)
		len--;
	return len;
}

static void
write_date(StringInfo out, TimestampTz at)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct pg_tm tm;
	fsec_t		fraction;

	if (TIMESTAMP_NOT_FINITE(at) || timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0 || tm.tm_year < 1900 || tm.tm_year > 9999)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("instant of a mail out of range"),
				 errhint("It is one from 1900 to 9999.")));
	appendStringInfo(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n",
					 days[j2day(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday))], tm.tm_mday, names[tm.tm_mon - 1], tm.tm_year,
					 tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void
write_part(StringInfo out, const char *type, const char *text)
{
	StringInfoData canonical = with_line_ends(text);

	appendStringInfo(out, "Content-Type: %s; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n", type);
	write_base64(out, canonical.data, canonical.len);
}

/* Each line ended as RFC 2045 section 6.8 wants it before it is encoded. */
static StringInfoData
with_line_ends(const char *utf8)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *c = utf8; *c != '\0'; c++)
	{
		if (*c == '\n' && (c == utf8 || c[-1] != '\r'))
			appendStringInfoChar(&out, '\r');
		appendStringInfoChar(&out, *c);
	}
	return out;
}

static void
write_base64(StringInfo out, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i += LINE_BYTES)
	{
		char		base64[LINE_BYTES * 2];
		int			written = pg_b64_encode((const void *) (bytes + i), Min(LINE_BYTES, len - i), base64, sizeof(base64));

		appendStringInfo(out, "%.*s\r\n", written, base64);
	}
}

/*
 * billing_mime_address_problem
 *		Is it one address, as RFC 5321 has it without quotes and comments?
 *
 * Others exist, and nobody has one; a text that could be two, or a name and one, must not pass.
 */
const char *
billing_mime_address_problem(const char *text)
{
	const char *at = strrchr(text, '@');

	if (strlen(text) > BILLING_MIME_ADDRESS_MAX)
		return "It is too long.";
	if (at == NULL || at == text || at - text > 64)
		return "It needs a name of 1 to 64 characters before an @.";
	for (const char *c = text; c < at; c++)
	{
		bool		is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
		bool		is_dot = *c == '.' && c > text && c + 1 < at && c[1] != '.';

		if (!is_letter && !is_dot && (*c == '\0' || strchr("!#$%&'*+-/=?^_`{|}~", *c) == NULL))
			return "The name before the @ has a character that is not ASCII or would have to be quoted.";
	}
	return domain_problem(at + 1);
}

static const char *
domain_problem(const char *domain)
{
	for (const char *c = domain; *c != '\0'; c++)
	{
		bool		is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
		bool		is_inside = c > domain && c[1] != '\0' && c[-1] != '.';

		if (!is_letter && !(is_inside && (*c == '-' || *c == '.')))
			return "What follows the @ is no name of a host; one that is not ASCII is written as xn--.";
	}
	return domain[0] == '\0' ? "It needs the name of a host behind the @." : NULL;
}

const char *
billing_mime_find_address(const char *mailbox, char *address)
{
	const char *open = strrchr(mailbox, '<');
	const char *begin = open == NULL ? mailbox : open + 1;
	size_t		len = strlen(begin);

	for (const char *c = mailbox; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7F)
			return "It has a line break or another control character.";
	}
	if (open != NULL && (len == 0 || begin[--len] != '>'))
		return "The address in brackets is not the last in it.";
	if (len > BILLING_MIME_ADDRESS_MAX)
		return "It is too long.";
	memcpy(address, begin, len);
	address[len] = '\0';
	return billing_mime_address_problem(address);
}
