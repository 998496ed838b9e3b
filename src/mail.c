/*-------------------------------------------------------------------------
 *
 * mail.c
 *	  Give a mail to a mail server: SMTP, RFC 5321.
 *
 * It knows no table and no template.  libcurl connects, encrypts and logs in, over the engine of
 * http.c; the dialogue of the mail itself is held here, because libcurl would wait for the
 * server's last answer, and for its farewell, with everything else standing still.
 *
 * The connection is encrypted, or there is none, unless somebody decided otherwise.  It carries one mail after the other: to connect,
 * encrypt and log in takes longer than a mail does.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>
#include <curl/curl.h>

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "mail.h"
#include "mime.h"

/* A line of an answer: RFC 5321 section 4.5.3.1.5 allows 512 bytes. */
#define LINE_MAX_LEN 1024

/* Mails of one connection: servers count them, and think ill of too many. */
#define TAKEN_MAX 100

/* What the server is to answer next. */
typedef enum MailStep
{
	STEP_SENDER,
	STEP_RECIPIENT,
	STEP_DATA,
	STEP_MESSAGE
} MailStep;

/* A connection, from when it is asked for. */
typedef struct MailTransfer
{
	BillingTransfer *transfer;	/* NULL: it has failed */
	BillingMailNext next;
	BillingMailDone done;
	int			timeout;
	const BillingLetter *letter;	/* that is under way */
	int			taken;			/* how many were */
	MailStep	step;
	const char *out;			/* what is still to be said to get there */
	size_t		out_len;
	char		line[LINE_MAX_LEN];	/* of the answer, as far as it has come */
	size_t		line_len;
} MailTransfer;

static void set_option(CURLcode code);
static void set_server(CURL *easy, const BillingMailServer *server);
static char *escape(const char *message);
static void begin(void *context, const BillingHttpResult *result);
static void say(MailTransfer *mail, MailStep step);
static void go_on(void *context, bool is_late);
static bool say_more(MailTransfer *mail);
static bool hear_out(MailTransfer *mail);
static bool hear(MailTransfer *mail, char c);
static bool judge_answer(MailTransfer *mail);
static bool take_next(MailTransfer *mail);
static bool is_worn_out(const MailTransfer *mail);
static void end_closed(MailTransfer *mail);
static bool is_refusal(MailStep step, int code);
static void make_printable(char *line);
static void end(MailTransfer *mail, BillingMailEnd how, const char *error);

BillingLetter *
billing_mail_make(const char *sender, const char *recipient, const char *message, void *context)
{
	BillingLetter *letter = palloc(sizeof(BillingLetter));

	letter->context = context;
	letter->mail_from = psprintf("MAIL FROM:<%s>\r\n", sender);
	letter->rcpt_to = psprintf("RCPT TO:<%s>\r\n", recipient);
	letter->message = escape(message);
	return letter;
}

void
billing_mail_send(const BillingMailServer *server, const BillingLetter *letter, BillingMailNext next, BillingMailDone done)
{
	MailTransfer *mail = MemoryContextAllocZero(TopMemoryContext, sizeof(MailTransfer));
	BillingHttpOptions options = {
		.protocols = "smtp,smtps",
		.timeout = server->timeout,
		.allow_private = true,
		.done = begin,
		.ready = go_on,
		.context = mail
	};

	mail->next = next;
	mail->done = done;
	mail->timeout = server->timeout;
	mail->letter = letter;
	mail->transfer = billing_http_make(&options);
	set_server(billing_http_handle(mail->transfer), server);
	billing_http_start(mail->transfer);
}

static void
set_option(CURLcode code)
{
	if (code != CURLE_OK)
		elog(ERROR, "could not set an option of a mail: %s", curl_easy_strerror(code));
}

static void
set_server(CURL *easy, const BillingMailServer *server)
{
	static const long tls[] = {
		[BILLING_MAIL_TLS_REQUIRED] = CURLUSESSL_ALL,
		[BILLING_MAIL_TLS_OPTIONAL] = CURLUSESSL_TRY,
		[BILLING_MAIL_TLS_OFF] = CURLUSESSL_NONE,
	};

	set_option(curl_easy_setopt(easy, CURLOPT_URL, server->url));
	set_option(curl_easy_setopt(easy, CURLOPT_USE_SSL, tls[server->tls]));
	if (server->user == NULL)
		return;
	set_option(curl_easy_setopt(easy, CURLOPT_USERNAME, server->user));
	set_option(curl_easy_setopt(easy, CURLOPT_PASSWORD, server->password));
}

/* As section 4.5.2 wants it: a dot that begins a line is doubled, and one alone ends the message. */
static char *
escape(const char *message)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *c = message; *c != '\0'; c++)
	{
		if (*c == '.' && (c == message || c[-1] == '\n'))
			appendStringInfoChar(&out, '.');
		appendStringInfoChar(&out, *c);
	}
	appendStringInfoString(&out, ".\r\n");
	return out.data;
}

/* The server is there and knows who we are, or not. */
static void
begin(void *context, const BillingHttpResult *result)
{
	MailTransfer *mail = context;

	if (result->failure == NULL)
		say(mail, STEP_SENDER);
	else
	{
		strlcpy(mail->line, result->message, sizeof(mail->line));
		mail->transfer = NULL;
		make_printable(mail->line);
		end(mail, BILLING_MAIL_LATER, mail->line);
	}
}

static void
say(MailTransfer *mail, MailStep step)
{
	const char *const commands[] = {
		[STEP_SENDER] = mail->letter->mail_from,
		[STEP_RECIPIENT] = mail->letter->rcpt_to,
		[STEP_DATA] = "DATA\r\n",
		[STEP_MESSAGE] = mail->letter->message
	};

	mail->step = step;
	mail->out = commands[step];
	mail->out_len = strlen(mail->out);
	mail->line_len = 0;
}

static void
go_on(void *context, bool is_late)
{
	MailTransfer *mail = context;

	if (is_late)
		end(mail, BILLING_MAIL_LATER, "timeout: the mail server took too long");
	else if (!say_more(mail) || !hear_out(mail))
		end_closed(mail);
}

/* False: the connection is gone. */
static bool
say_more(MailTransfer *mail)
{
	while (mail->out_len > 0)
	{
		int			sent = billing_http_send(mail->transfer, mail->out, mail->out_len);

		if (sent < 0)
			return false;
		if (sent == 0)
			break;
		mail->out += sent;
		mail->out_len -= sent;
	}
	return true;
}

/* True: it has been heard to what there is, which may have ended it; false: the connection is gone. */
static bool
hear_out(MailTransfer *mail)
{
	char		buffer[LINE_MAX_LEN];
	int			received;

	while ((received = billing_http_receive(mail->transfer, buffer, sizeof(buffer))) > 0)
	{
		for (int i = 0; i < received; i++)
		{
			if (!hear(mail, buffer[i]))
				return true;
		}
	}
	return received == 0;
}

/* One more character; false: it has ended. */
static bool
hear(MailTransfer *mail, char c)
{
	if (c != '\n')
	{
		/* Of a line that is too long, the beginning is enough. */
		if (mail->line_len < sizeof(mail->line) - 1)
			mail->line[mail->line_len++] = c;
		return true;
	}
	mail->line[mail->line_len] = '\0';
	make_printable(mail->line);
	if (mail->line_len >= 4 && mail->line[3] == '-')
	{
		mail->line_len = 0;
		return true;
	}
	return judge_answer(mail);
}

/* What the last line of an answer means; false: it has ended. */
static bool
judge_answer(MailTransfer *mail)
{
	static const int wanted[] = {[STEP_SENDER] = 2, [STEP_RECIPIENT] = 2, [STEP_DATA] = 3, [STEP_MESSAGE] = 2};
	int			code = atoi(mail->line);

	if (code / 100 != wanted[mail->step])
	{
		end(mail, is_worn_out(mail) ? BILLING_MAIL_UNTRIED :
			is_refusal(mail->step, code) ? BILLING_MAIL_REFUSED : BILLING_MAIL_LATER, mail->line);
		return false;
	}
	if (mail->step != STEP_MESSAGE)
		say(mail, mail->step + 1);
	else if (!take_next(mail))
		return false;
	if (say_more(mail))
		return true;
	end_closed(mail);
	return false;
}

/* One was taken: begin with another, or, if there is none, end. */
static bool
take_next(MailTransfer *mail)
{
	const BillingLetter *next = ++mail->taken < TAKEN_MAX ? mail->next() : NULL;

	if (next == NULL)
	{
		end(mail, BILLING_MAIL_TAKEN, NULL);
		return false;
	}
	mail->done(mail->letter->context, BILLING_MAIL_TAKEN, NULL);
	mail->letter = next;
	billing_http_prolong(mail->transfer, mail->timeout);
	say(mail, STEP_SENDER);
	return true;
}

/* Does a connection that carried others not carry this one?  Another will, or say what is wrong with it. */
static bool
is_worn_out(const MailTransfer *mail)
{
	return mail->taken > 0 && mail->step == STEP_SENDER;
}

static void
end_closed(MailTransfer *mail)
{
	end(mail, is_worn_out(mail) ? BILLING_MAIL_UNTRIED : BILLING_MAIL_LATER, "the mail server closed the connection");
}

/*
 * is_refusal
 *		Is an answer one about this mail, for good?
 *
 * A 5xx is, but for those that ask for a login or encryption: they are about the settings,
 * and gone when these are right.
 */
static bool
is_refusal(MailStep step, int code)
{
	if (code < 500 || code > 599)
		return false;
	return step != STEP_SENDER || (code != 530 && code != 534 && code != 535 && code != 538);
}

/* What a server says is not to be trusted with a terminal, nor with the database's encoding. */
static void
make_printable(char *line)
{
	for (char *c = line; *c != '\0'; c++)
	{
		if (*c < ' ' || *c > '~')
			*c = c[1] == '\0' ? '\0' : '?';
	}
}

/* Polite where that costs nothing: nobody waits for the answer. */
static void
end(MailTransfer *mail, BillingMailEnd how, const char *error)
{
	if (mail->transfer != NULL)
	{
		(void) billing_http_send(mail->transfer, "QUIT\r\n", 6);
		billing_http_end(mail->transfer);
	}
	mail->done(mail->letter->context, how, error);
	pfree(mail);
}
