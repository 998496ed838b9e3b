/*-------------------------------------------------------------------------
 *
 * notice.h
 *	  What tenants are told: once for each occasion.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_NOTICE_H
#define BILLING_NOTICE_H

/* Of a tenant t: has it an address, and does it want notices of a kind by mail? */
#define BILLING_NOTICE_IS_MAILED(kind) \
	"t.email IS NOT NULL" \
	" AND billing.is_notice_on(" kind ", coalesce(t.settings ->> 'notices', (SELECT billing.effective_setting('notices'))))"

/*
 * The statement that lets the notices of invoices that have just become final wait, where they are
 * wanted: invoices has a row i of billing.invoice for each of them.  Of one that costs nothing there is none.
 */
#define BILLING_NOTICE_WRITE_INVOICES(invoices) \
	"INSERT INTO billing.notification (tenant_id, kind, object_id, occasion, expires_at)" \
	" SELECT (n.i).tenant_id, 'invoice', (n.i).invoice_id, (n.i).issued_at, billing.now() + '30 days'" \
	"   FROM (" invoices ") n" \
	"  CROSS JOIN LATERAL (SELECT FROM billing.tenant t WHERE t.tenant_id = (n.i).tenant_id AND " BILLING_NOTICE_IS_MAILED("'invoice'") \
	"    OFFSET 0) t" \
	"  WHERE (n.i).status <> 'draft' AND billing.minor_units((n.i).total) > 0 AND (n.i).billing_email IS NOT NULL"

/* Let the receipt of a payment wait, if the tenant wants it; the caller holds its lock and is connected to SPI. */
extern void billing_notice_write_receipt(int64 tenant_id, int64 payment_id);

#endif							/* BILLING_NOTICE_H */
