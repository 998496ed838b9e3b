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

/*
 * How it ended: error NULL, and the server has taken it; else why not, in printable ASCII, and
 * whether the server would never take this mail, however often it is tried.  It does not raise.
 */
typedef void (*BillingMailDone) (void *context, const char *error, bool is_refused);

typedef struct BillingMailTransfer BillingMailTransfer;

/*
 * Begin to send message (lines of ASCII that end in CR LF) from one address to another; done is called with context when
 * that has ended.  What is kept until then is in the current memory context.
 */
extern void billing_mail_send(const BillingMailServer *server, const char *sender, const char *recipient, const char *message,
							  BillingMailDone done, void *context);

#endif							/* BILLING_MAIL_H */
