/*-------------------------------------------------------------------------
 *
 * mail.c
 *	  Give a mail to a mail server: SMTP, RFC 5321.
 *
 * It knows no table and no template.  libcurl connects, encrypts and logs in, over the engine of
 * http.c; the dialogue of the mail itself is held here, because libcurl would wait for the
 * server's last answer, and for its farewell, with everything else standing still.
 *
 * The connection is encrypted, or there is none, unless somebody decided otherwise.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>
#include <curl/curl.h>

#include "lib/stringinfo.h"

#include "mail.h"
#include "mime.h"

/* A line of an answer: RFC 5321 section 4.5.3.1.5 allows 512 bytes. */
#define LINE_MAX_LEN 1024

/* What the server is to answer next. */
typedef enum MailStep
{
	STEP_SENDER,
	STEP_RECIPIENT,
	STEP_DATA,
	STEP_MESSAGE,
	STEP_ENDED
} MailStep;

struct BillingMailTransfer
{
	BillingTransfer *transfer;
	BillingMailDone done;
	void	   *context;
	MailStep	step;
	char	   *commands[STEP_ENDED];	/* what is said to get there */
	const char *out;			/* what is still to be said of the one at hand */
	size_t		out_len;
	char		line[LINE_MAX_LEN];	/* of the answer, as far as it has come */
	size_t		line_len;
};

static void set_option(CURLcode code);
static void set_server(CURL *easy, const BillingMailServer *server);
static char *escape(const char *message);
static void begin(void *context, const BillingHttpResult *result);
static void say(BillingMailTransfer *mail, MailStep step);
static void go_on(void *context, bool is_late);
static bool say_more(BillingMailTransfer *mail);
static bool hear_out(BillingMailTransfer *mail);
static bool hear(BillingMailTransfer *mail, char c);
static bool judge_answer(BillingMailTransfer *mail);
static bool is_refusal(MailStep step, int code);
static void make_printable(char *line);
static void end(BillingMailTransfer *mail, const char *error, bool is_refused);

void
billing_mail_send(const BillingMailServer *server, const char *sender, const char *recipient, const char *message,
				  BillingMailDone done, void *context)
{
	BillingMailTransfer *mail = palloc0(sizeof(BillingMailTransfer));
	BillingHttpOptions options = {
		.protocols = "smtp,smtps",
		.timeout = server->timeout,
		.allow_private = true,
		.done = begin,
		.ready = go_on,
		.context = mail
	};

	mail->done = done;
	mail->context = context;
	mail->commands[STEP_SENDER] = psprintf("MAIL FROM:<%s>\r\n", sender);
	mail->commands[STEP_RECIPIENT] = psprintf("RCPT TO:<%s>\r\n", recipient);
	mail->commands[STEP_DATA] = pstrdup("DATA\r\n");
	mail->commands[STEP_MESSAGE] = escape(message);
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
	BillingMailTransfer *mail = context;

	if (result->failure == NULL)
		say(mail, STEP_SENDER);
	else
	{
		strlcpy(mail->line, result->message, sizeof(mail->line));
		mail->transfer = NULL;
		make_printable(mail->line);
		end(mail, mail->line, false);
	}
}

static void
say(BillingMailTransfer *mail, MailStep step)
{
	mail->step = step;
	mail->out = mail->commands[step];
	mail->out_len = strlen(mail->out);
	mail->line_len = 0;
}

static void
go_on(void *context, bool is_late)
{
	BillingMailTransfer *mail = context;

	if (is_late)
		end(mail, "timeout: the mail server took too long", false);
	else if (!say_more(mail) || !hear_out(mail))
		end(mail, "the mail server closed the connection", false);
}

/* False: the connection is gone. */
static bool
say_more(BillingMailTransfer *mail)
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
hear_out(BillingMailTransfer *mail)
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
hear(BillingMailTransfer *mail, char c)
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
judge_answer(BillingMailTransfer *mail)
{
	static const int wanted[] = {[STEP_SENDER] = 2, [STEP_RECIPIENT] = 2, [STEP_DATA] = 3, [STEP_MESSAGE] = 2};
	int			code = atoi(mail->line);

	if (code / 100 != wanted[mail->step])
	{
		end(mail, mail->line, is_refusal(mail->step, code));
		return false;
	}
	if (mail->step == STEP_MESSAGE)
	{
		end(mail, NULL, false);
		return false;
	}
	say(mail, mail->step + 1);
	if (say_more(mail))
		return true;
	end(mail, "the mail server closed the connection", false);
	return false;
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
end(BillingMailTransfer *mail, const char *error, bool is_refused)
{
	if (mail->transfer != NULL)
	{
		(void) billing_http_send(mail->transfer, "QUIT\r\n", 6);
		billing_http_end(mail->transfer);
	}
	mail->transfer = NULL;
	mail->step = STEP_ENDED;
	mail->done(mail->context, error, is_refused);
}
