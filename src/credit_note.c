/*-------------------------------------------------------------------------
 *
 * credit_note.c
 *	  Documents that take back what a final invoice billed.
 *
 * A note is final at once: numbered without a gap, and never changed.  Each of its items
 * names the line that it takes back a part of; the line's discount and its share of each
 * tax follow by proportion (credit_tax.c), so that any parts that add up to a line add up
 * to its discount and tax.
 *
 * What it takes back is unwound in the reverse of the order in which the invoice was
 * settled: first what is still due, then money received, last what promotional credit
 * paid, which goes back as such.
 *
 * A line whose service ended may cost more than the invoice came to, where other lines
 * lowered that: a price corrected afterwards, usage that an interim invoice had billed.
 * What those took off was owed to the customer already, as an invoice's excess is, and
 * paid for the line; so it goes back as money does.
 *
 * A note that is issued for a refund gives back the money of that payment, also while
 * something else is still due: the parts of lines are chosen so that they come to it.
 *
 * The lock of the tenant, then of the invoice, keeps two notes apart; that each part of a
 * line begins where the one before ended is also a unique key.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "credit.h"
#include "credit_note.h"
#include "credit_tax.h"
#include "event.h"
#include "id.h"
#include "invoice.h"
#include "overdue.h"
#include "payment.h"
#include "store.h"
#include "subscription.h"
#include "wallet.h"

BILLING_FUNCTION(billing_issue_credit_note);
BILLING_FUNCTION(billing_explain_credit_note);

/* The arguments of issue_credit_note. */
enum
{
	TENANT_ID, INVOICE_ID, LINES, DESTINATION, REASON, TO_INVOICE_ID, REQUEST_ID
};

static const char *const destinations[] = {
	[BILLING_CREDIT_WALLET] = "wallet",
	[BILLING_CREDIT_BALANCE] = "balance",
	[BILLING_CREDIT_REFUND] = "refund",
	[BILLING_CREDIT_INVOICE] = "invoice",
};

/* A line of the invoice in minor units, and what was taken back of it so far. */
typedef struct Line
{
	int32		line;
	int64		amount;
	int64		discount;
	int64		tax;
	int64		credited;
	bool		is_deferred;	/* it was booked as revenue to come */
	TimestampTz period_start;	/* DT_NOBEGIN, DT_NOEND: none */
	TimestampTz period_end;
} Line;

/* A note in the making; amounts are minor units. */
typedef struct Note
{
	BillingFlow *flow;
	BillingInvoice invoice;
	BillingInvoice target;		/* another one that it pays, if any */
	BillingCreditTo to;
	int64		credit_note_id;
	int64		event_id;		/* under which it is told */
	TimestampTz at;
	Line	   *lines;
	int			line_count;
	BillingCreditTaxes taxes;
	BillingStore *items;
	int128		subtotal;
	int128		discount;
	int128		tax;
	int128		tax_included;
	int128		deferred;		/* of subtotal - discount - tax_included */
	int64		total;
	int64		credited;		/* lowers what is due of its invoice */
	int64		applied;		/* and of the other one */
	int64		granted;		/* money that becomes credit */
	int64		offset_by_lines;	/* of granted, what lines that lower the invoice had paid */
	int64		promotional;	/* and promotional credit that does */
	int64		refunded;
	int64		grant_id;		/* 0: none */
	int64		promotional_grant_id;
} Note;

/* What settled the invoice and was not given back yet, and what it may still be credited. */
typedef struct Funds
{
	int64		left;			/* of its total */
	int64		due;
	int64		money;
	int64		promotional;
	int64		refundable;		/* of its payments */
	int64		offset_by_lines;	/* settled by lines that lower it; only for unused time */
} Funds;

static BillingCreditTo read_destination(FunctionCallInfo fcinfo);
static BillingCreditDestination find_destination(const text *name);
static Datum read_note(BillingFlow *flow, int64 credit_note_id);
static void open_note(Note *note, int64 invoice_id, BillingCreditTo to);
static void check_target(Note *note);
static void read_lines(Note *note);
static void take_rest(Note *note);
static void take_exactly(Note *note, int64 total);
static int64 most_units(const Note *note, const Line *line, int64 total);
static int64 total_of(const Note *note, const Line *line, int64 units);
static void take_part(Note *note, const BillingCreditLine *part);
static Line *find_line(Note *note, int32 number);
static void check_part(const Note *note, const Line *line, int64 units);
static void check_period(const Note *note, const Line *line, const BillingCreditLine *part);
static void add_item(Note *note, Line *line, int64 units, const BillingCreditLine *part);
static void put_instant(BillingStore *store, TimestampTz instant);
static void add_up(Note *note);
static void spread(Note *note, const Funds *funds);
static int64 take(int64 *from, int64 most);
static int64 due_units(const BillingInvoice *invoice);
static Funds read_funds(Note *note);
static bool is_for_unused_time(const BillingCreditLine *lines, int count);
static void make_grants(Note *note);
static int64 make_grant(Note *note, int64 units, bool is_promotional);
static int64 next_number(Note *note);
static void insert_note(Note *note, Datum reason);
static void insert_items(Note *note);
static void insert_refunds(Note *note);
static void make_refund(Note *note);
static void ask_refunds(Note *note);
static void post(Note *note);
static void post_applied(Note *note);
static void settle(Note *note, const BillingInvoice *invoice, int64 units);
static bool is_wholly_credited(Note *note, int64 invoice_id);
static const char *amount_text(const Note *note, int128 units);
pg_noreturn static void report_nothing(const BillingInvoice *invoice, const char *total);
pg_noreturn static void report_inexact(const Note *note, int64 total, int64 below, int64 above);
pg_noreturn static void report_too_much(const Note *note, int64 left);

/*
 * billing_issue_credit_note
 *		Take back lines, parts of them or the whole rest of a final invoice.
 */
Datum
billing_issue_credit_note(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	BillingInvoice invoice;
	BillingCreditTo to;
	BillingCreditLine *lines = NULL;
	int			count = 0;
	int64		credit_note_id;
	Datum		result;

	if (billing_flow_begin(&flow, fcinfo, "issue_credit_note", REQUEST_ID, &result))
		return result;
	billing_flow_require(fcinfo, INVOICE_ID, "invoice_id");
	to = read_destination(fcinfo);

	billing_invoice_lock(&flow, PG_GETARG_INT64(INVOICE_ID), &invoice);
	if (!PG_ARGISNULL(LINES))
		lines = billing_credit_lines_read(PG_GETARG_JSONB_P(LINES),
										  billing_currency_find(invoice.currency, strlen(invoice.currency)), &count);
	credit_note_id = billing_credit_note_issue(flow.tenant_id, invoice.invoice_id, lines, count, to,
											   PG_ARGISNULL(REASON) ? (Datum) 0 : PG_GETARG_DATUM(REASON));
	if (credit_note_id == 0)
		report_nothing(&invoice, "0");
	billing_overdue_settle(&flow);
	return billing_flow_end(&flow, read_note(&flow, credit_note_id));
}

static BillingCreditTo
read_destination(FunctionCallInfo fcinfo)
{
	BillingCreditTo to = {0};

	billing_flow_require(fcinfo, DESTINATION, "destination");
	to.destination = find_destination(PG_GETARG_TEXT_PP(DESTINATION));
	if ((to.destination == BILLING_CREDIT_INVOICE) == PG_ARGISNULL(TO_INVOICE_ID))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("destination invoice and to_invoice_id are given together"),
				 errdetail("argument=to_invoice_id destination=%s", destinations[to.destination]),
				 errhint("Give the id of the open invoice that the credit pays, with destination invoice and with no other.")));
	if (!PG_ARGISNULL(TO_INVOICE_ID))
		to.invoice_id = PG_GETARG_INT64(TO_INVOICE_ID);
	return to;
}

static BillingCreditDestination
find_destination(const text *name)
{
	for (int i = 0; i < lengthof(destinations); i++)
	{
		if (billing_text_equals(name, destinations[i]))
			return (BillingCreditDestination) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("destination \"%.*s\" does not exist", BILLING_QUOTED(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name))),
			 errdetail("argument=destination"),
			 errhint("Destinations are: wallet, balance, refund, invoice.")));
}

static Datum
read_note(BillingFlow *flow, int64 credit_note_id)
{
	static BillingQuery query = {
		.sql = "SELECT n FROM billing.credit_note n WHERE n.tenant_id = $1 AND n.credit_note_id = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(credit_note_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_credit_note_issue
 *		See credit_note.h.
 */
int64
billing_credit_note_issue(int64 tenant_id, int64 invoice_id, const BillingCreditLine *lines, int count,
						  BillingCreditTo to, Datum reason)
{
	BillingFlow flow = {.name = "issue_credit_note", .tenant_id = tenant_id, .caller = CurrentMemoryContext};
	Note		note = {.flow = &flow, .at = billing_clock_now()};
	bool		is_unused = is_for_unused_time(lines, count);
	Funds		funds;

	open_note(&note, invoice_id, to);
	read_lines(&note);
	billing_credit_taxes_read(&note.taxes, tenant_id, invoice_id, note.invoice.currency);
	funds = read_funds(&note);
	if (to.refund != NULL && to.refund->amount.units != funds.left)
		take_exactly(&note, to.refund->amount.units);
	else if (lines == NULL)
		take_rest(&note);
	for (int i = 0; i < count; i++)
		take_part(&note, &lines[i]);
	add_up(&note);
	if (note.total == 0)
	{
		billing_store_end(note.items);
		return 0;
	}

	if (!is_unused)
		funds.offset_by_lines = 0;
	if (note.total - funds.left > funds.offset_by_lines)
		report_too_much(&note, funds.left);
	billing_credit_taxes_check(&note.taxes, is_unused);
	spread(&note, &funds);

	make_grants(&note);
	insert_note(&note, reason);
	insert_items(&note);
	billing_credit_taxes_insert(&note.taxes, note.credit_note_id);
	billing_event_emit_as(note.event_id, tenant_id, "credit_note.issued", note.credit_note_id);
	insert_refunds(&note);
	post(&note);
	settle(&note, &note.invoice, note.credited);
	if (note.applied > 0)
	{
		post_applied(&note);
		settle(&note, &note.target, note.applied);
	}
	billing_flow_audit(&flow, "credit_note", note.credit_note_id, (Datum) 0, read_note(&flow, note.credit_note_id));
	billing_store_end(note.items);
	ask_refunds(&note);
	return note.credit_note_id;
}

/*
 * open_note
 *		Lock the invoices; both owe or owed something.
 */
static void
open_note(Note *note, int64 invoice_id, BillingCreditTo to)
{
	static const BillingStoreColumn columns[] = {
		{"line", INT4OID}, {"invoice_line", INT4OID}, {"amount", INT8OID}, {"credited_before", INT8OID},
		{"discount", INT8OID}, {"tax", INT8OID}, {"tax_included", INT8OID}, {"period_start", TIMESTAMPTZOID}, {"period_end", TIMESTAMPTZOID},
		{"description", TEXTOID}, {"is_unused", BOOLOID}
	};

	note->to = to;
	billing_invoice_lock(note->flow, invoice_id, &note->invoice);
	if (strcmp(note->invoice.status, "draft") == 0)
		billing_invoice_refuse(&note->invoice, "be credited", "A draft is changed, not corrected.");
	if (strcmp(note->invoice.status, "void") == 0)
		billing_invoice_refuse(&note->invoice, "be credited", "Nothing is owed of a void invoice.");
	if (to.destination == BILLING_CREDIT_INVOICE)
		check_target(note);
	note->credit_note_id = billing_id_next();
	note->event_id = billing_id_next();
	note->items = billing_store_make("made_credit_item", columns, lengthof(columns));
}

static void
check_target(Note *note)
{
	const BillingInvoice *target = &note->target;

	billing_invoice_lock(note->flow, note->to.invoice_id, &note->target);
	if (strcmp(target->status, "open") != 0 && strcmp(target->status, "uncollectible") != 0)
		billing_invoice_refuse(target, "be paid by a credit note", "Only an open or uncollectible invoice is.");
	if (target->invoice_id == note->invoice.invoice_id)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invoice %lld cannot pay itself", (long long) target->invoice_id),
				 errdetail("argument=to_invoice_id invoice_id=%lld", (long long) target->invoice_id),
				 errhint("A credit note lowers what is due of its own invoice first; name another one for the rest.")));
	if (strcmp(target->currency, note->invoice.currency) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("invoice %lld is owed in %s, not in %s", (long long) target->invoice_id, target->currency,
						note->invoice.currency),
				 errdetail("object=invoice id=%lld currency=%s credit_currency=%s", (long long) target->invoice_id,
						   target->currency, note->invoice.currency),
				 errhint("Credit of an invoice pays others in its currency.")));
}

static void
read_lines(Note *note)
{
	static BillingQuery query = {
		.sql = "SELECT l.line, billing.minor_units(l.amount), billing.minor_units(l.discount), billing.minor_units(l.tax),"
		"       billing.minor_units(l.credited), l.is_deferred, coalesce(l.period_start, '-infinity'), coalesce(l.period_end, 'infinity')"
		"  FROM billing.credited_lines($1, $2) l ORDER BY l.line",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->invoice.invoice_id)};
	bool		isnull;

	note->line_count = billing_spi_run(&query, args, NULL);
	note->lines = palloc((note->line_count + 1) * sizeof(Line));
	for (int i = 0; i < note->line_count; i++)
	{
		Line	   *line = &note->lines[i];

		line->line = DatumGetInt32(billing_spi_value(i, 1, &isnull));
		line->amount = DatumGetInt64(billing_spi_value(i, 2, &isnull));
		line->discount = DatumGetInt64(billing_spi_value(i, 3, &isnull));
		line->tax = DatumGetInt64(billing_spi_value(i, 4, &isnull));
		line->credited = DatumGetInt64(billing_spi_value(i, 5, &isnull));
		line->is_deferred = DatumGetBool(billing_spi_value(i, 6, &isnull));
		line->period_start = DatumGetTimestampTz(billing_spi_value(i, 7, &isnull));
		line->period_end = DatumGetTimestampTz(billing_spi_value(i, 8, &isnull));
	}
}

/* All that is left of each line, also of those that lower the invoice. */
static void
take_rest(Note *note)
{
	static const BillingCreditLine whole = {.period_start = DT_NOBEGIN, .period_end = DT_NOEND};

	for (int i = 0; i < note->line_count; i++)
	{
		Line	   *line = &note->lines[i];

		if (line->amount != line->credited)
			add_item(note, line, line->amount - line->credited, &whole);
	}
	if (note->items->count == 0)
		billing_invoice_refuse(&note->invoice, "be credited any further", "All of its lines were taken back.");
}

/*
 * take_exactly
 *		Lines in order, as much of each as there is to be taken back, until it is that in all.
 *
 * Rounding lets the total of a part jump over some amounts; then a unit of the next line makes up for it, if there is
 * one.  Lines that lower the invoice are taken back with all that is left of it only.
 */
static void
take_exactly(Note *note, int64 total)
{
	static const BillingCreditLine whole = {.period_start = DT_NOBEGIN, .period_end = DT_NOEND};
	int64		rest = total;
	int64		beyond = PG_INT64_MAX;

	for (int i = 0; i < note->line_count && rest > 0; i++)
	{
		Line	   *line = &note->lines[i];
		int64		left = line->amount - line->credited;
		int64		units = left > 0 ? most_units(note, line, rest) : 0;

		if (units < left)
			beyond = Min(beyond, total_of(note, line, units + 1) - rest);
		if (units == 0)
			continue;
		rest -= total_of(note, line, units);
		add_item(note, line, units, &whole);
	}
	if (rest > 0)
		report_inexact(note, total, total - rest, beyond == PG_INT64_MAX ? 0 : total + beyond);
}

/* The most of a line whose total is no more than that; the total never falls as the part grows. */
static int64
most_units(const Note *note, const Line *line, int64 total)
{
	int64		low = 0;
	int64		high = line->amount - line->credited;

	while (low < high)
	{
		int64		middle = low + (high - low + 1) / 2;

		if (total_of(note, line, middle) <= total)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static int64
total_of(const Note *note, const Line *line, int64 units)
{
	BillingCreditPart part = {
		.line = line->line, .amount = line->amount, .before = line->credited, .units = units,
		.discount = billing_credit_units(line->discount, line->amount, line->credited, units)
	};

	return billing_credit_taxes_total(&note->taxes, &part);
}

static void
take_part(Note *note, const BillingCreditLine *part)
{
	Line	   *line = find_line(note, part->line);
	int64		units = part->is_rest ? line->amount - line->credited : part->amount.units;

	check_part(note, line, units);
	check_period(note, line, part);
	add_item(note, line, units, part);
}

static Line *
find_line(Note *note, int32 number)
{
	int			low = 0;
	int			high = note->line_count;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (note->lines[middle].line < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == note->line_count || note->lines[low].line != number)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("line %d of invoice %lld does not exist", number, (long long) note->invoice.invoice_id),
				 errdetail("object=invoice_item tenant_id=%lld invoice_id=%lld line=%d", (long long) note->flow->tenant_id,
						   (long long) note->invoice.invoice_id, number),
				 errhint("Read its lines from billing.creditable_lines().")));
	return &note->lines[low];
}

/* A part has the line's sign, and is at most what is left of it. */
static void
check_part(const Note *note, const Line *line, int64 units)
{
	int64		left = line->amount - line->credited;

	if (units != 0 && (units < 0) == (line->amount < 0) && (units < 0 ? units >= left : units <= left))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
			 errmsg("%s of line %d of invoice %lld cannot be credited", amount_text(note, units), line->line,
					(long long) note->invoice.invoice_id),
			 errdetail("object=invoice_item invoice_id=%lld line=%d amount=%s credited=%s left=%s",
					   (long long) note->invoice.invoice_id, line->line, amount_text(note, line->amount),
					   amount_text(note, line->credited), amount_text(note, left)),
			 errhint("A part of a line bears its sign, and is at most what earlier credit notes left of it.")));
}

static void
check_period(const Note *note, const Line *line, const BillingCreditLine *part)
{
	if (TIMESTAMP_IS_NOBEGIN(part->period_start) ||
		(!TIMESTAMP_IS_NOBEGIN(line->period_start) && part->period_start >= line->period_start && part->period_end <= line->period_end))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the period is not within that of line %d of invoice %lld", line->line,
					(long long) note->invoice.invoice_id),
			 errdetail("object=invoice_item invoice_id=%lld line=%d", (long long) note->invoice.invoice_id, line->line),
			 errhint("Give it the part of the line's period whose service is taken back, or no period.")));
}

static void
add_item(Note *note, Line *line, int64 units, const BillingCreditLine *part)
{
	BillingCreditPart taken = {
		.line = line->line, .amount = line->amount, .line_tax = line->tax, .before = line->credited, .units = units,
		.discount = billing_credit_units(line->discount, line->amount, line->credited, units)
	};
	bool		has_period = !TIMESTAMP_IS_NOBEGIN(part->period_start);
	BillingStore *items = note->items;

	billing_credit_taxes_take(&note->taxes, &taken);
	billing_store_put(items, Int32GetDatum((int32) items->count + 1), false);
	billing_store_put(items, Int32GetDatum(line->line), false);
	billing_store_put(items, Int64GetDatum(units), false);
	billing_store_put(items, Int64GetDatum(line->credited), false);
	billing_store_put(items, Int64GetDatum(taken.discount), false);
	billing_store_put(items, Int64GetDatum(taken.tax), false);
	billing_store_put(items, Int64GetDatum(taken.tax_included), false);
	put_instant(items, has_period ? part->period_start : line->period_start);
	put_instant(items, has_period ? part->period_end : line->period_end);
	billing_store_put(items, part->description == NULL ? (Datum) 0 : CStringGetTextDatum(part->description),
					  part->description == NULL);
	billing_store_put(items, BoolGetDatum(part->is_unused), false);

	note->subtotal += units;
	note->discount += taken.discount;
	note->tax += taken.tax;
	note->tax_included += taken.tax_included;
	if (line->is_deferred)
		note->deferred += units - taken.discount - taken.tax_included;
	line->credited += units;
}

static void
put_instant(BillingStore *store, TimestampTz instant)
{
	billing_store_put(store, TimestampTzGetDatum(instant), TIMESTAMP_NOT_FINITE(instant));
}

static void
add_up(Note *note)
{
	int128		total = note->subtotal - note->discount + note->tax - note->tax_included;

	if (total < 0)
		report_nothing(&note->invoice, amount_text(note, total));
	note->total = billing_amount_make_checked(total, note->invoice.currency)->units;
	(void) billing_amount_make_checked(note->subtotal, note->invoice.currency);
}

/*
 * spread
 *		Where what is taken back goes: see the head of this file.
 *
 * What the invoice does not owe any more was settled by money, promotional credit or
 * lines that lower it, so that nothing remains.
 */
static void
spread(Note *note, const Funds *funds)
{
	int64		rest = note->total;
	int64		money;

	note->credited = note->to.refund == NULL ? take(&rest, funds->due) : 0;
	money = take(&rest, Max(funds->money, 0));
	note->promotional = take(&rest, Max(funds->promotional, 0));
	note->offset_by_lines = take(&rest, funds->offset_by_lines);
	if (rest != 0)
		elog(ERROR, "%lld minor units of invoice %lld were settled by nothing", (long long) rest,
			 (long long) note->invoice.invoice_id);

	if (note->to.destination == BILLING_CREDIT_INVOICE)
		note->applied = take(&money, due_units(&note->target));
	else if (note->to.destination == BILLING_CREDIT_REFUND)
		note->refunded = take(&money, note->to.refund == NULL ? funds->refundable : note->total);
	note->granted = money + note->offset_by_lines;
}

/* Take at most so much away; returns what was taken. */
static int64
take(int64 *from, int64 most)
{
	int64		taken = Min(*from, most);

	*from -= taken;
	return taken;
}

static int64
due_units(const BillingInvoice *invoice)
{
	return DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(invoice->amount_due)))->units;
}

static Funds
read_funds(Note *note)
{
	static BillingQuery query = {
		.sql = "SELECT billing.minor_units(f.creditable), billing.minor_units(f.amount_due), billing.minor_units(f.money),"
		"       billing.minor_units(f.promotional), billing.minor_units(f.refundable), billing.minor_units(f.offset_by_lines)"
		"  FROM billing.settled_funds($1, $2) f",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->invoice.invoice_id)};
	bool		isnull;
	Funds		funds;

	(void) billing_spi_run(&query, args, NULL);
	funds.left = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	funds.due = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	funds.money = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	funds.promotional = DatumGetInt64(billing_spi_value(0, 4, &isnull));
	funds.refundable = DatumGetInt64(billing_spi_value(0, 5, &isnull));
	funds.offset_by_lines = DatumGetInt64(billing_spi_value(0, 6, &isnull));
	return funds;
}

static bool
is_for_unused_time(const BillingCreditLine *lines, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (!lines[i].is_unused)
			return false;
	}
	return count > 0;
}

static void
make_grants(Note *note)
{
	if (note->granted > 0)
		note->grant_id = make_grant(note, note->granted, false);
	if (note->promotional > 0)
		note->promotional_grant_id = make_grant(note, note->promotional, true);
}

static int64
make_grant(Note *note, int64 units, bool is_promotional)
{
	BillingGrant grant = {
		.amount = *billing_amount_make(units, note->invoice.currency), .source = "credit_note",
		.is_promotional = is_promotional, .invoice_id = note->invoice.invoice_id
	};

	if (note->to.destination == BILLING_CREDIT_BALANCE && !is_promotional)
		grant.scope = "invoice";
	return billing_wallet_grant(note->flow->tenant_id, &grant);
}

/* Without a gap, as those of invoices: a rollback gives the number back. */
static int64
next_number(Note *note)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.counter AS c (tenant_id, credit_note_number) VALUES ($1, 1)"
		" ON CONFLICT (tenant_id) DO UPDATE SET credit_note_number = c.credit_note_number + 1"
		" RETURNING c.credit_note_number",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(note->flow->tenant_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/*
 * insert_note
 *		Number and write it, with the parties as they are at present.
 */
static void
insert_note(Note *note, Datum reason)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.credit_note (tenant_id, credit_note_id, number, invoice_id, currency, item_count, subtotal,"
		"  discount, tax, total, destination, to_invoice_id, credited, applied, granted, promotional, refunded, grant_id,"
		"  promotional_grant_id, reason, issued_at, tax_included, tax_count, offset_by_lines, seller, billing_name, billing_email, billing_address,"
		"  tax_id)"
		" SELECT i.tenant_id, $3, billing.invoice_number(billing.effective_setting('credit_note_prefix', t.settings), i.tenant_id, $4),"
		"   i.invoice_id, i.currency, $5, billing.from_minor_units($6, i.currency), billing.from_minor_units($7, i.currency),"
		"   billing.from_minor_units($8, i.currency), billing.from_minor_units($9, i.currency), $10, nullif($11, 0),"
		"   billing.from_minor_units($12, i.currency), billing.from_minor_units($13, i.currency),"
		"   billing.from_minor_units($14, i.currency), billing.from_minor_units($15, i.currency),"
		"   billing.from_minor_units($16, i.currency), nullif($17, 0), nullif($18, 0), $19, $20,"
		"   billing.from_minor_units($21, i.currency), $22, billing.from_minor_units($23, i.currency), p.seller, p.billing_name, p.billing_email, p.billing_address, p.tax_id"
		"   FROM billing.invoice i JOIN billing.tenant t ON t.tenant_id = i.tenant_id"
		"  CROSS JOIN LATERAL billing.invoice_terms(i.tenant_id, i.plan_id) p"
		"  WHERE i.tenant_id = $1 AND i.invoice_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 23,
		.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID,
		INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, INT8OID, INT4OID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->invoice.invoice_id), Int64GetDatum(note->credit_note_id),
		Int64GetDatum(next_number(note)), Int32GetDatum((int32) note->items->count), Int64GetDatum((int64) note->subtotal),
		Int64GetDatum((int64) note->discount), Int64GetDatum((int64) note->tax), Int64GetDatum(note->total),
		CStringGetTextDatum(destinations[note->to.destination]), Int64GetDatum(note->to.invoice_id),
		Int64GetDatum(note->credited), Int64GetDatum(note->applied), Int64GetDatum(note->granted),
		Int64GetDatum(note->promotional), Int64GetDatum(note->refunded), Int64GetDatum(note->grant_id),
		Int64GetDatum(note->promotional_grant_id), reason, TimestampTzGetDatum(note->at),
		Int64GetDatum((int64) note->tax_included), Int32GetDatum(billing_credit_taxes_count(&note->taxes)),
		Int64GetDatum(note->offset_by_lines)
	};

	(void) billing_spi_run(&query, args, reason == (Datum) 0 ? "                  n    " : NULL);
}

static void
insert_items(Note *note)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.credit_note_item (tenant_id, credit_note_id, line, invoice_id, invoice_line, price_code,"
		"  description, amount, credited_before, discount, tax, tax_included, period_start, period_end, is_unused)"
		" SELECT n.tenant_id, $3, m.line, n.invoice_id, n.line, n.price_code, coalesce(m.description, n.description),"
		"   billing.from_minor_units(m.amount, $4), billing.from_minor_units(m.credited_before, $4),"
		"   billing.from_minor_units(m.discount, $4), billing.from_minor_units(m.tax, $4),"
		"   billing.from_minor_units(m.tax_included, $4), m.period_start, m.period_end, m.is_unused"
		"   FROM made_credit_item m"
		"   JOIN billing.invoice_item n ON n.tenant_id = $1 AND n.invoice_id = $2 AND n.line = m.invoice_line",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->invoice.invoice_id), Int64GetDatum(note->credit_note_id),
		CStringGetTextDatum(note->invoice.currency)
	};

	billing_store_show(note->items);
	(void) billing_spi_run(&query, args, NULL);
}

/*
 * insert_refunds
 *		One for each payment that is to go back, the last received first; its gateway is to send it if it came by one.
 */
static void
insert_refunds(Note *note)
{
	static BillingQuery query = {
		.sql = "WITH made AS ("
		"INSERT INTO billing.refund (tenant_id, refund_no, credit_note_id, invoice_id, payment_id, status, amount, created_at, gateway, reason)"
		" SELECT n.tenant_id, CASE WHEN p.gateway IS NULL THEN n.number || '/' || row_number() OVER (ORDER BY p.before)"
		"     ELSE billing.new_merchant_no(n.tenant_id) END, n.credit_note_id, n.invoice_id,"
		"   p.payment_id, 'pending', billing.from_minor_units(least(p.units, billing.minor_units(n.refunded) - p.before), n.currency),"
		"   n.issued_at, p.gateway, n.reason"
		"   FROM billing.credit_note n"
		"  CROSS JOIN LATERAL (SELECT r.payment_id, r.gateway, billing.minor_units(r.amount) AS units,"
		"     coalesce(sum(billing.minor_units(r.amount)) OVER (ORDER BY r.received_at DESC, r.payment_id DESC"
		"       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS before"
		"     FROM billing.refundable_payments(n.tenant_id, n.invoice_id) r) p"
		"  WHERE n.tenant_id = $1 AND n.credit_note_id = $2 AND p.before < billing.minor_units(n.refunded)"
		"  RETURNING tenant_id, refund_id"
		") SELECT array_agg(m.tenant_id ORDER BY m.refund_id), array_agg(m.refund_id ORDER BY m.refund_id) FROM made m",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->credit_note_id)};
	MemoryContext context = CurrentMemoryContext;
	Datum		made[2];

	if (note->to.refund != NULL)
		make_refund(note);
	if (note->refunded == 0 || note->to.refund != NULL)
		return;
	(void) billing_spi_run(&query, args, NULL);
	made[0] = billing_spi_copy(0, 1, context);
	made[1] = billing_spi_copy(0, 2, context);
	billing_event_emit_all("refund.created", made[0], made[1]);
}

/* The one that the note is issued for. */
static void
make_refund(Note *note)
{
	BillingRefundOrder order = *note->to.refund;

	order.credit_note_id = note->credit_note_id;
	(void) billing_refund_make(note->flow, &order);
}

/* Last, since an answer may be there at once. */
static void
ask_refunds(Note *note)
{
	static BillingQuery query = {
		.sql = "SELECT r.refund_id FROM billing.refund r WHERE r.tenant_id = $1 AND r.invoice_id = $2 AND r.credit_note_id = $3"
		"   AND r.gateway IS NOT NULL ORDER BY r.refund_id",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT8OID},
	};
	Datum		args[] = {
		Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->invoice.invoice_id), Int64GetDatum(note->credit_note_id)
	};
	int64	   *ids;
	uint64		count;
	bool		isnull;

	if (note->refunded == 0 || (note->to.refund != NULL && note->to.refund->is_made))
		return;
	count = billing_spi_run(&query, args, NULL);
	ids = palloc((count + 1) * sizeof(int64));
	for (uint64 i = 0; i < count; i++)
		ids[i] = DatumGetInt64(billing_spi_value(i, 1, &isnull));
	for (uint64 i = 0; i < count; i++)
		billing_refund_ask(note->flow, ids[i]);
}

/*
 * post
 *		Take the revenue and tax back: what was due is not receivable any more, what was
 *		paid in money is owed to the customer.
 *
 * Promotional credit had lowered the revenue when it was drawn, and gives it back.
 */
static void
post(Note *note)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, at, accounts, amounts)"
		" SELECT n.tenant_id, n.credit_note_id, 'credit_note', n.invoice_id, n.issued_at,"
		"   ARRAY['revenue', 'deferred_revenue', 'tax_payable', CASE WHEN $4 THEN 'bad_debt' ELSE 'receivable' END, 'customer_credit'],"
		"   ARRAY[n.subtotal - n.discount - n.tax_included - d.deferred - n.promotional, d.deferred, n.tax, -n.credited,"
		"         -(n.applied + n.granted + n.refunded)]"
		"   FROM billing.credit_note n CROSS JOIN LATERAL (SELECT billing.from_minor_units($3, n.currency) AS deferred) d"
		"  WHERE n.tenant_id = $1 AND n.credit_note_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, BOOLOID},
	};
	Datum		args[] = {
		Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->credit_note_id), Int64GetDatum((int64) note->deferred),
		BoolGetDatum(strcmp(note->invoice.status, "uncollectible") == 0)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/* What the customer is owed pays another invoice. */
static void
post_applied(Note *note)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.transaction (tenant_id, kind, invoice_id, at, accounts, amounts)"
		" SELECT n.tenant_id, 'credit_note', n.to_invoice_id, n.issued_at,"
		"   ARRAY['customer_credit', CASE WHEN $3 THEN 'bad_debt' ELSE 'receivable' END], ARRAY[n.applied, -n.applied]"
		"   FROM billing.credit_note n WHERE n.tenant_id = $1 AND n.credit_note_id = $2",
		.expected = SPI_OK_INSERT,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, BOOLOID},
	};
	Datum		args[] = {
		Int64GetDatum(note->flow->tenant_id), Int64GetDatum(note->credit_note_id),
		BoolGetDatum(strcmp(note->target.status, "uncollectible") == 0)
	};

	(void) billing_spi_run(&query, args, NULL);
}

/*
 * settle
 *		Lower what is due of an invoice; with nothing due it is paid.
 *
 * Its version counts the note, also where nothing was due: a transaction that cannot see
 * the note is told so by it.  A subscription that waits for the invoice starts, unless
 * all that it billed was taken back.
 */
static void
settle(Note *note, const BillingInvoice *invoice, int64 units)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.invoice i SET credited = i.credited + billing.from_minor_units($3, i.currency), version = i.version + 1,"
		"       status = CASE WHEN billing.minor_units(i.amount_due) = $3 THEN 'paid' ELSE i.status END,"
		"       paid_at = CASE WHEN billing.minor_units(i.amount_due) = $3 THEN coalesce(i.paid_at, $4) ELSE i.paid_at END"
		" WHERE i.tenant_id = $1 AND i.invoice_id = $2 RETURNING i.status = 'paid'",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID},
	};
	Datum		args[] = {
		Int64GetDatum(note->flow->tenant_id), Int64GetDatum(invoice->invoice_id), Int64GetDatum(units),
		TimestampTzGetDatum(note->at)
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	if (!DatumGetBool(billing_spi_value(0, 1, &isnull)) || strcmp(invoice->status, "paid") == 0)
		return;
	billing_event_emit(note->flow->tenant_id, "invoice.paid", invoice->invoice_id);
	billing_payment_call_off_waiting(note->flow, invoice->invoice_id, 0);
	if (invoice->subscription_id != 0 && !is_wholly_credited(note, invoice->invoice_id))
		billing_subscription_activate(note->flow->tenant_id, invoice->subscription_id, note->at);
}

static bool
is_wholly_credited(Note *note, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.settled_funds($1, $2) f WHERE billing.minor_units(f.creditable) = 0",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(note->flow->tenant_id), Int64GetDatum(invoice_id)};

	return billing_spi_run(&query, args, NULL) > 0;
}

static const char *
amount_text(const Note *note, int128 units)
{
	return DatumGetCString(DirectFunctionCall1(billing_amount_out,
											   PointerGetDatum(billing_amount_make_checked(units, note->invoice.currency))));
}

static void
report_nothing(const BillingInvoice *invoice, const char *total)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
			 errmsg("a credit note of invoice %lld takes back nothing", (long long) invoice->invoice_id),
			 errdetail("object=invoice id=%lld total=%s", (long long) invoice->invoice_id, total),
			 errhint("What it takes back, discount and tax included, adds up to more than nothing.")));
}

static void
report_inexact(const Note *note, int64 total, int64 below, int64 above)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no parts of invoice %lld come to exactly %s", (long long) note->invoice.invoice_id, amount_text(note, total)),
			 errdetail("object=invoice id=%lld amount=%s below=%s above=%s", (long long) note->invoice.invoice_id, amount_text(note, total),
					   below == 0 ? "none" : amount_text(note, below), above == 0 ? "none" : amount_text(note, above)),
			 errhint("Tax and discount are rounded to the smallest unit of the currency. Refund one of the amounts that there are, or all that is left.")));
}

static void
report_too_much(const Note *note, int64 left)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
			 errmsg("a credit of %s is more than is left of invoice %lld", amount_text(note, note->total),
					(long long) note->invoice.invoice_id),
			 errdetail("object=invoice id=%lld total=%s credit=%s left=%s", (long long) note->invoice.invoice_id,
					   note->invoice.total, amount_text(note, note->total), amount_text(note, left)),
			 errhint("Lines that lower the invoice are taken back with those they go with.")));
}

/*
 * billing_explain_credit_note
 *		The rows of billing.credit_note_explanation, or that there is no such note.
 */
Datum
billing_explain_credit_note(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT e.line, e.explanation FROM billing.credit_note_explanation($1, $2) e",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	billing_invoice_explain(fcinfo, &query, "credit_note", "credit_note_id");
	return (Datum) 0;
}
