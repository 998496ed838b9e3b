/*-------------------------------------------------------------------------
 *
 * wallet_book.h
 *	  The wallets of a set of tenants, open for drawing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_WALLET_BOOK_H
#define BILLING_WALLET_BOOK_H

#include "amount.h"
#include "flow.h"
#include "grant.h"
#include "store.h"

typedef struct BillingWalletGrant
{
	int64		tenant_id;
	int64		grant_id;
	char		currency[sizeof(((BillingAmount *) NULL)->currency)];
	bool		is_overdraft;
	bool		is_note;		/* of a credit note, for invoices: drawn before all others */
	bool		is_for_invoices;
	bool		is_for_consume;
	bool		is_changed;
	bool		is_renewed;
	bool		is_expired;
	pg_tz	   *zone;			/* where time has passed, else NULL */
	BillingGrantState state;
} BillingWalletGrant;

typedef struct BillingWalletBook
{
	TimestampTz at;
	BillingWalletGrant *grants; /* by tenant, those of one in the order of use */
	int			count;
	Oid			amount_type;
	BillingStore *entries;		/* NULL, as the others: only looked at */
	BillingStore *balances;
	BillingStore *transactions;
} BillingWalletBook;

/* What consume() is asked for. */
typedef struct BillingConsumption
{
	BillingAmount amount;
	int64		limit;			/* how much of it may be on credit, minor units */
	Datum		consume_no;
	NullableDatum reason;
} BillingConsumption;

/*
 * Read the wallets of tenants (bigint[]), which the caller has locked, under the active snapshot;
 * what renewed or expired up to at is booked.
 */
extern BillingWalletBook *billing_wallet_book_open(Datum tenant_ids, TimestampTz at);

/* The same of one tenant, to draw from it and see what comes of that: it is not closed, and nothing is written. */
extern BillingWalletBook *billing_wallet_book_look(int64 tenant_id, TimestampTz at);

/*
 * Draw what an invoice owes, as far as there is credit for it: first that of credit notes
 * (*credited), then the others (*applied), in minor units.  Invoices come in any order; their
 * rows are the caller's to change.
 */
extern void billing_wallet_book_draw(BillingWalletBook *book, int64 tenant_id, int64 invoice_id,
									 const BillingAmount *due, int64 *credited, int64 *applied);

/* What one tenant may consume in a currency, without what it may on credit. */
extern int128 billing_wallet_book_available(const BillingWalletBook *book, const char *currency);

/*
 * Consume, of the only tenant in the book; false if what there is does not cover it.  *left is
 * what remains to be consumed.
 */
extern bool billing_wallet_book_consume(BillingWalletBook *book, int64 tenant_id, const BillingConsumption *asked, int128 *left);

/* Write what was booked: history, grants, ledger, flags. */
extern void billing_wallet_book_close(BillingWalletBook *book);

/* Open and close that of one tenant, under a snapshot of the present: time is booked. */
extern void billing_wallet_book_settle(int64 tenant_id);

/* Give back what a void invoice drew, to the grants that it came from. */
extern void billing_wallet_book_return(int64 tenant_id, int64 invoice_id, TimestampTz at);

/* Let counters not say any more that there is credit where there is none; tenants are a bigint[]. */
extern void billing_wallet_lower_flags(Datum tenant_ids);

/* Say that it has; the bill run looks into the wallets of those only whose counter says so. */
extern void billing_wallet_raise_flag(int64 tenant_id);

#endif							/* BILLING_WALLET_BOOK_H */
