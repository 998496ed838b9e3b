/*-------------------------------------------------------------------------
 *
 * mime.h
 *	  A mail as bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_MIME_H
#define BILLING_MIME_H

#include "datatype/timestamp.h"

/* The longest address: RFC 5321 section 4.5.3.1.3, without the brackets. */
#define BILLING_MIME_ADDRESS_MAX 254

/* What a mail says: in UTF-8, but for the addresses, which are ASCII or an error that quotes them. */
typedef struct BillingMail
{
	const char *sender;			/* as billing_mime_find_address() takes it */
	const char *recipient;		/* an address alone */
	const char *subject;
	const char *body;
	const char *html;			/* NULL: plain text alone */
	const char *message_id;		/* without its brackets */
	TimestampTz at;
} BillingMail;

/* The bytes, all of them ASCII; 22023 for an address that is none, or a control character in what becomes a header. */
extern char *billing_mime_write(const BillingMail *mail);

/* What is wrong with a text as an address; NULL: it is one. */
extern const char *billing_mime_address_problem(const char *text);

/*
 * The address in a mailbox, as "Name <a@example.com>" or "a@example.com", into a buffer of
 * BILLING_MIME_ADDRESS_MAX + 1 bytes; returns what is wrong with it, NULL: nothing.
 */
extern const char *billing_mime_find_address(const char *mailbox, char *address);

#endif							/* BILLING_MIME_H */
