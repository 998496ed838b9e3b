/*-------------------------------------------------------------------------
 *
 * webhook.h
 *	  Where events go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_WEBHOOK_H
#define BILLING_WEBHOOK_H

/* What an endpoint's secrets are sealed for, by tenant 0. */
#define BILLING_WEBHOOK_SECRET	"webhook_secret"
#define BILLING_WEBHOOK_HEADERS	"webhook_headers"

/* YB001 unless there is such an endpoint; SPI is connected. */
extern void billing_webhook_find(int64 endpoint_id);

/* YB001: there is none. */
pg_noreturn extern void billing_webhook_not_found(int64 endpoint_id);

#endif							/* BILLING_WEBHOOK_H */
