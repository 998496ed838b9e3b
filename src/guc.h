/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Every setting of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GUC_H
#define BILLING_GUC_H

extern char *billing_ca_file;	/* certificates of authorities; empty: the system's */
extern int	billing_gateway_timeout;	/* milliseconds for an answer */
extern int	billing_http_connect_timeout;	/* milliseconds, with name and TLS */
extern int	billing_http_max_in_flight; /* transfers at a time */
extern char *billing_databases; /* names of those that processes run in, with
								 * commas */
extern char *billing_key_file;	/* file with the keys of billing.sealed */
extern int	billing_max_workers;	/* processes of a bill run */
extern int	billing_node;		/* number of this node, high in its ids */
extern char *billing_smtp_from; /* whom mails are from; empty: none is sent */
extern int	billing_smtp_max_in_flight; /* mails at a time */
extern char *billing_smtp_password; /* as billing.sealed */
extern int	billing_smtp_timeout;	/* milliseconds for one mail */
extern int	billing_smtp_tls;	/* of BillingMailTls */
extern char *billing_smtp_url;	/* of the mail server; empty: there is none */
extern char *billing_smtp_user; /* empty: no login */
extern char *billing_tenant_id; /* tenant that row security shows */
extern char *billing_test_clock;	/* what billing.now() says, as text */
extern bool billing_webhook_allow_private;	/* also addresses that are not public */
extern int	billing_webhook_max_per_endpoint;	/* requests at a time to one */
extern int	billing_webhook_timeout;	/* milliseconds for an attempt */

/* The most that billing.max_workers may be. */
#define BILLING_MAX_WORKERS 64

extern void billing_guc_init(void);

#endif							/* BILLING_GUC_H */
