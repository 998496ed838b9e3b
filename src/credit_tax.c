/*-------------------------------------------------------------------------
 *
 * credit_tax.c
 *	  What a credit note takes back of each tax of its invoice.
 *
 * A line's share of each tax goes back by proportion of its amount, as its discount does:
 * R(share x all parts so far) less what those before took.  A line's tax is the sum of
 * its shares, a note's tax the sum of its taxes; so lines, taxes and total agree, and
 * notes that take back all of an invoice take back its taxes, each to the unit.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"

#include "amount.h"
#include "credit.h"
#include "credit_tax.h"
#include "errors.h"
#include "store.h"

static void read_shares(BillingCreditTaxes *taxes);
static int	find_shares(const BillingCreditTaxes *taxes, int32 line);
static bool is_within(const BillingCreditTax *tax, int128 most);
static int128 positive_shares(const BillingCreditTaxes *taxes, int tax);
static const char *amount_text(const BillingCreditTaxes *taxes, int128 units);

void
billing_credit_taxes_read(BillingCreditTaxes *taxes, int64 tenant_id, int64 invoice_id, const char *currency)
{
	static BillingQuery query = {
		.sql = "SELECT t.line_no, t.is_inclusive, billing.minor_units(t.amount),"
		"       (SELECT coalesce(sum(billing.minor_units(c.amount)), 0)::bigint FROM billing.credit_note_tax c"
		"         WHERE c.tenant_id = t.tenant_id AND c.invoice_id = t.invoice_id AND c.invoice_line_no = t.line_no)"
		"  FROM billing.invoice_tax t WHERE t.tenant_id = $1 AND t.invoice_id = $2 ORDER BY t.line_no",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id)};
	bool		isnull;

	*taxes = (BillingCreditTaxes) {
		.tenant_id = tenant_id, .invoice_id = invoice_id, .currency = currency
	};
	taxes->tax_count = billing_spi_run(&query, args, NULL);
	taxes->taxes = palloc0((taxes->tax_count + 1) * sizeof(BillingCreditTax));
	for (int i = 0; i < taxes->tax_count; i++)
	{
		BillingCreditTax *tax = &taxes->taxes[i];

		tax->line_no = DatumGetInt32(billing_spi_value(i, 1, &isnull));
		tax->is_inclusive = DatumGetBool(billing_spi_value(i, 2, &isnull));
		tax->amount = DatumGetInt64(billing_spi_value(i, 3, &isnull));
		tax->credited = DatumGetInt64(billing_spi_value(i, 4, &isnull));
	}
	if (taxes->tax_count > 0)
		read_shares(taxes);
}

/* Taxes are numbered from 1 without a gap. */
static void
read_shares(BillingCreditTaxes *taxes)
{
	static BillingQuery query = {
		.sql = "SELECT s.line, s.line_no, billing.minor_units(s.share) FROM billing.invoice_tax_shares($1, $2) s ORDER BY s.line, s.line_no",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(taxes->tenant_id), Int64GetDatum(taxes->invoice_id)};
	bool		isnull;

	taxes->share_count = billing_spi_run(&query, args, NULL);
	taxes->shares = palloc((taxes->share_count + 1) * sizeof(BillingCreditShare));
	for (int i = 0; i < taxes->share_count; i++)
	{
		BillingCreditShare *share = &taxes->shares[i];

		share->line = DatumGetInt32(billing_spi_value(i, 1, &isnull));
		share->tax = DatumGetInt32(billing_spi_value(i, 2, &isnull)) - 1;
		share->units = DatumGetInt64(billing_spi_value(i, 3, &isnull));
	}
}

int64
billing_credit_taxes_total(const BillingCreditTaxes *taxes, const BillingCreditPart *part)
{
	int64		total = part->units - part->discount;

	for (int i = find_shares(taxes, part->line); i < taxes->share_count && taxes->shares[i].line == part->line; i++)
	{
		if (!taxes->taxes[taxes->shares[i].tax].is_inclusive)
			total += billing_credit_units(taxes->shares[i].units, part->amount, part->before, part->units);
	}
	return total;
}

void
billing_credit_taxes_take(BillingCreditTaxes *taxes, BillingCreditPart *part)
{
	int			first = find_shares(taxes, part->line);
	int64		line_tax = 0;

	part->tax = part->tax_included = 0;
	for (int i = first; i < taxes->share_count && taxes->shares[i].line == part->line; i++)
	{
		BillingCreditTax *tax = &taxes->taxes[taxes->shares[i].tax];
		int64		units = billing_credit_units(taxes->shares[i].units, part->amount, part->before, part->units);

		line_tax += taxes->shares[i].units;
		part->tax += units;
		part->tax_included += tax->is_inclusive ? units : 0;
		tax->taken += units;
		tax->is_borne = true;
	}
	if (line_tax != part->line_tax)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("the taxes of line %d of invoice %lld do not add up to its tax", part->line, (long long) taxes->invoice_id),
				 errdetail("object=invoice invoice_id=%lld line=%d tax=%lld taxes=%lld", (long long) taxes->invoice_id, part->line,
						   (long long) part->line_tax, (long long) line_tax),
				 errhint("Its rows in billing.invoice_tax were lost, or never loaded: billing.audit() tells which.")));
	for (int i = first; i < taxes->share_count && taxes->shares[i].line == part->line; i++)
		taxes->taxes[taxes->shares[i].tax].base += part->units - part->discount - part->tax_included;
}

/* The first share of a line, or of the next one. */
static int
find_shares(const BillingCreditTaxes *taxes, int32 line)
{
	int			low = 0;
	int			high = taxes->share_count;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (taxes->shares[middle].line < line)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
billing_credit_taxes_check(const BillingCreditTaxes *taxes, bool is_unused)
{
	for (int i = 0; i < taxes->tax_count; i++)
	{
		const BillingCreditTax *tax = &taxes->taxes[i];

		if (is_within(tax, is_unused ? positive_shares(taxes, i) : Max(tax->amount, 0)))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
				 errmsg("%s of tax %d of invoice %lld cannot be taken back", amount_text(taxes, tax->taken), tax->line_no,
						(long long) taxes->invoice_id),
				 errdetail("object=invoice_tax invoice_id=%lld line_no=%d amount=%s credited=%s credit=%s",
						   (long long) taxes->invoice_id, tax->line_no, amount_text(taxes, tax->amount),
						   amount_text(taxes, tax->credited), amount_text(taxes, tax->taken)),
				 errhint("Lines that lower the tax of the invoice are taken back with those they go with.")));
	}
}

/* Of a tax that unused time took more of than the invoice has, nothing more is taken, but it may be given again. */
static bool
is_within(const BillingCreditTax *tax, int128 most)
{
	int128		until = tax->credited + tax->taken;

	if (tax->taken > 0)
		return until <= most;
	return tax->taken == 0 || until >= Min(tax->amount, 0);
}

/* What the lines that raise a tax have of it. */
static int128
positive_shares(const BillingCreditTaxes *taxes, int tax)
{
	int128		units = 0;

	for (int i = 0; i < taxes->share_count; i++)
		units += taxes->shares[i].tax == tax ? Max(taxes->shares[i].units, 0) : 0;
	return units;
}

static const char *
amount_text(const BillingCreditTaxes *taxes, int128 units)
{
	return DatumGetCString(DirectFunctionCall1(billing_amount_out,
											   PointerGetDatum(billing_amount_make_checked(units, taxes->currency))));
}

int
billing_credit_taxes_count(const BillingCreditTaxes *taxes)
{
	int			count = 0;

	for (int i = 0; i < taxes->tax_count; i++)
		count += taxes->taxes[i].is_borne;
	return count;
}

/* Also of none: that a rate is not taken, and why, is stated again. */
void
billing_credit_taxes_insert(const BillingCreditTaxes *taxes, int64 credit_note_id)
{
	static const BillingStoreColumn columns[] = {
		{"line_no", INT4OID}, {"invoice_line_no", INT4OID}, {"base", INT8OID}, {"amount", INT8OID}
	};
	static BillingQuery query = {
		.sql = "INSERT INTO billing.credit_note_tax (tenant_id, credit_note_id, line_no, invoice_id, invoice_line_no, tax_rate, percent,"
		"  is_inclusive, base, amount, note)"
		" SELECT t.tenant_id, $3, m.line_no, t.invoice_id, t.line_no, t.tax_rate, t.percent, t.is_inclusive,"
		"   billing.from_minor_units(m.base, $4), billing.from_minor_units(m.amount, $4), t.note"
		"   FROM made_credit_tax m"
		"   JOIN billing.invoice_tax t ON t.tenant_id = $1 AND t.invoice_id = $2 AND t.line_no = m.invoice_line_no",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(taxes->tenant_id), Int64GetDatum(taxes->invoice_id), Int64GetDatum(credit_note_id),
		CStringGetTextDatum(taxes->currency)
	};
	BillingStore *made;

	if (billing_credit_taxes_count(taxes) == 0)
		return;
	made = billing_store_make("made_credit_tax", columns, lengthof(columns));
	for (int i = 0; i < taxes->tax_count; i++)
	{
		const BillingCreditTax *tax = &taxes->taxes[i];

		if (!tax->is_borne)
			continue;
		billing_store_put(made, Int32GetDatum((int32) made->count + 1), false);
		billing_store_put(made, Int32GetDatum(tax->line_no), false);
		billing_store_put(made, Int64GetDatum(billing_amount_make_checked(tax->base, taxes->currency)->units), false);
		billing_store_put(made, Int64GetDatum((int64) tax->taken), false);
	}
	billing_store_show(made);
	(void) billing_spi_run(&query, args, NULL);
	billing_store_end(made);
}
