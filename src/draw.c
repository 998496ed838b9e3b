/*-------------------------------------------------------------------------
 *
 * draw.c
 *	  What drafts that become final draw of their tenants' credit.
 *
 * The bill run does the same with invoices that it makes (made.c).
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"

#include "draw.h"
#include "id.h"
#include "wallet_book.h"

/* An invoice that owes something to be drawn. */
typedef struct Owed
{
	int64		tenant_id;
	int64		invoice_id;
	BillingAmount total;
} Owed;

static Owed *read_owed(BillingDrafts drafts, int *count);
static BillingWalletBook *open_book(const Owed *owed, int count, TimestampTz at);
static void write_invoices(BillingStore *drawn);

void
billing_draw(BillingDrafts drafts, TimestampTz at)
{
	static const BillingStoreColumn columns[] = {
		{"tenant_id", INT8OID}, {"invoice_id", INT8OID}, {"credited", INT8OID}, {"applied", INT8OID}
	};
	int			count;
	Owed	   *owed = read_owed(drafts, &count);
	BillingWalletBook *book;
	BillingStore *drawn;

	if (count == 0)
		return;
	book = open_book(owed, count, at);
	drawn = billing_store_make("drawn", columns, lengthof(columns));
	for (int i = 0; i < count; i++)
	{
		int64		credited;
		int64		applied;

		billing_wallet_book_draw(book, owed[i].tenant_id, owed[i].invoice_id, &owed[i].total, &credited, &applied);
		if (credited + applied == 0)
			continue;
		billing_store_put(drawn, Int64GetDatum(owed[i].tenant_id), false);
		billing_store_put(drawn, Int64GetDatum(owed[i].invoice_id), false);
		billing_store_put(drawn, Int64GetDatum(credited), false);
		billing_store_put(drawn, Int64GetDatum(applied), false);
	}
	write_invoices(drawn);
	billing_wallet_book_close(book);
}

/* In the order of tenant and invoice: the first draws first. */
static Owed *
read_owed(BillingDrafts drafts, int *count)
{
	static BillingQuery query = {
		.sql = "SELECT i.tenant_id, i.invoice_id, i.total"
		"  FROM unnest($1, $2) d (tenant_id, invoice_id)"
		"  JOIN billing.invoice i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id AND i.status = 'open'"
		"  JOIN billing.counter c ON c.tenant_id = d.tenant_id AND c.has_credit"
		" WHERE billing.minor_units(i.total) > 0 ORDER BY i.tenant_id, i.invoice_id",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8ARRAYOID, INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {drafts.tenant_ids, drafts.invoice_ids};
	Owed	   *owed;
	bool		isnull;

	*count = billing_spi_run_snapshot(&query, args, NULL);
	owed = palloc(Max(*count, 1) * sizeof(Owed));
	for (int i = 0; i < *count; i++)
	{
		owed[i].tenant_id = DatumGetInt64(billing_spi_value(i, 1, &isnull));
		owed[i].invoice_id = DatumGetInt64(billing_spi_value(i, 2, &isnull));
		owed[i].total = *DatumGetBillingAmountP(billing_spi_value(i, 3, &isnull));
	}
	return owed;
}

static BillingWalletBook *
open_book(const Owed *owed, int count, TimestampTz at)
{
	Datum	   *tenant_ids = palloc(count * sizeof(Datum));
	int			found = 0;

	for (int i = 0; i < count; i++)
	{
		if (found == 0 || DatumGetInt64(tenant_ids[found - 1]) != owed[i].tenant_id)
			tenant_ids[found++] = Int64GetDatum(owed[i].tenant_id);
	}
	return billing_wallet_book_open(billing_id_array(tenant_ids, found), at);
}

static void
write_invoices(BillingStore *drawn)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET credited = billing.from_minor_units(d.credited, i.currency),"
		"       wallet_applied = billing.from_minor_units(d.applied, i.currency)"
		"  FROM drawn d WHERE i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id",
		.expected = SPI_OK_UPDATE,
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	billing_store_run(drawn, &query);
	billing_store_end(drawn);
}
