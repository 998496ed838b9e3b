/*-------------------------------------------------------------------------
 *
 * mail.h
 *	  Give a mail to a mail server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_MAIL_H
#define BILLING_MAIL_H

#include "http.h"

/* Whether the connection is encrypted by STARTTLS; one of smtps is, whatever this says. */
typedef enum BillingMailTls
{
	BILLING_MAIL_TLS_REQUIRED,
	BILLING_MAIL_TLS_OPTIONAL,	/* if the server offers it */
	BILLING_MAIL_TLS_OFF
} BillingMailTls;

/* The mail server, as the settings say. */
typedef struct BillingMailServer
{
	const char *url;			/* smtp://host:port or smtps:// */
	const char *user;			/* NULL: no login */
	const char *password;
	BillingMailTls tls;
	int			timeout;		/* milliseconds for all of it */
} BillingMailServer;

/* A mail as it is said to a server; whoever made it keeps it until its end is told. */
typedef struct BillingLetter
{
	void	   *context;		/* what its end is told with */
	char	   *mail_from;
	char	   *rcpt_to;
	char	   *message;
} BillingLetter;

/* How that ended. */
typedef enum BillingMailEnd
{
	BILLING_MAIL_TAKEN,
	BILLING_MAIL_LATER,			/* not this time */
	BILLING_MAIL_REFUSED,		/* the server would never take it, however often it is tried */
	BILLING_MAIL_UNTRIED		/* the connection, that had carried others, carries no more */
} BillingMailEnd;

/* Of each letter; error, unless it was taken, is printable ASCII.  It does not raise. */
typedef void (*BillingMailDone) (void *context, BillingMailEnd end, const char *error);

/* The next letter for a connection whose last one was taken; NULL: none.  It does not raise. */
typedef const BillingLetter *(*BillingMailNext) (void);

/* A mail of lines of ASCII that end in CR LF, from one address to another, in the current memory context. */
extern BillingLetter *billing_mail_make(const char *sender, const char *recipient, const char *message, void *context);

/* Connect, and send a letter, and those that next gives after it. */
extern void billing_mail_send(const BillingMailServer *server, const BillingLetter *letter, BillingMailNext next, BillingMailDone done);

#endif							/* BILLING_MAIL_H */
