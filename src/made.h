/*-------------------------------------------------------------------------
 *
 * made.h
 *	  Invoices made of what is due, ready to be written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_MADE_H
#define BILLING_MADE_H

#include "nodes/pg_list.h"

#include "due.h"
#include "store.h"
#include "wallet_book.h"

/* The columns that the statements write: a store has those of its table. */
#define BILLING_MADE_INVOICE \
	"tenant_id, invoice_id, biz_key, kind, subscription_id, plan_id, number, status, currency, period_start, period_end," \
	" item_count, tax_count, subtotal, discount, tax, tax_included, excess, total, credited, wallet_applied, paid, tax_percent, issued_at, due_at, paid_at," \
	" seller, billing_name, billing_email, billing_address, tax_id"
#define BILLING_MADE_ITEM \
	"tenant_id, invoice_id, line, kind, price_code, meter, description, quantity, unit_amount, amount, period_start, period_end," \
	" usage_events, usage_digest, adjusts_invoice_id, adjusts_line, plan_id, tax_category, discount, tax, tax_included"
#define BILLING_MADE_TAX \
	"tenant_id, invoice_id, line_no, tax_rate, percent, is_inclusive, lines, base, amount, note"
#define BILLING_MADE_LOG \
	"tenant_id, invoice_id, quantity, timezone, arrears, arrears_whole, advance, advance_whole, step_arrears," \
	" step_arrears_whole, step_advance, step_advance_whole, inputs, hash, chain_no, chain_hash, party_salt, calculated_at"
#define BILLING_MADE_TRANSACTION \
	"tenant_id, transaction_id, kind, invoice_id, at, accounts, amounts"
#define BILLING_MADE_GRANT \
	"tenant_id, grant_id, amount, balance, source, invoice_id, renews_at"
#define BILLING_MADE_LATE \
	"tenant_id, subscription_id, invoice_id"
#define BILLING_MADE_PART \
	"tenant_id, subscription_id, part_no, invoice_id"
#define BILLING_MADE_COUNTER \
	"tenant_id, invoice_number, chain_no, chain_hash"
#define BILLING_MADE_SUBSCRIPTION \
	"tenant_id, subscription_id, status, anchor, timezone, period_start, period_end, billed_to, due_at, ended_at"

typedef struct BillingMade
{
	BillingStore *invoice;
	BillingStore *item;
	BillingStore *tax;
	BillingStore *redemption;	/* columns as of coupon_due.h */
	BillingStore *log;
	BillingStore *transaction;
	BillingStore *grant;
	BillingStore *late;
	BillingStore *part;
	BillingStore *counter;
	BillingStore *subscription;
	bool		expires_unpaid; /* is there one that expires past due? */
	List	   *new_rates;		/* codes (String nodes) of rates that no invoice stated before */
} BillingMade;

/*
 * Make the invoices of what is due (in the order of tenant and invoice), issued at at:
 * lines, taxes, total, what is drawn from the book (NULL: no tenant has credit), number, link of
 * the chain, ledger, and where each subscription stands behind its boundary.  One that owes
 * nothing gets no invoice.
 */
extern void billing_make_invoices(const BillingDue *dues, int count, TimestampTz at, BillingWalletBook *book, BillingMade *made);

extern void billing_made_end(BillingMade *made);

#endif							/* BILLING_MADE_H */
