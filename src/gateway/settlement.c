/*-------------------------------------------------------------------------
 *
 * settlement.c
 *	  Files in which gateways state what they have settled.
 *
 * A file says by its heading which of the formats it has: Stripe's itemized balance report or its export of balance
 * transactions, the trade bills of WeChat Pay and of Alipay, PayPal's settlement report.  Columns are found by their names,
 * as gateways add some and let people choose.  What is no heading and no line - titles, sums, remarks - is passed over; a line that lacks
 * some of its columns is not: the file was cut there.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "../decimal.h"
#include "instant.h"
#include "settlement.h"

#define MAX_FIELDS	250
#define MAX_ALIASES	3
#define BEIJING		(8 * 60 * 60)

typedef enum Column
{
	TIME,
	TYPE,
	AMOUNT,
	CURRENCY,
	FEE,
	FEE_CURRENCY,
	NET,
	LINE_ID,
	PAYMENT_ID,
	CHARGE_ID,
	REFUND_ID,
	PAY_NO,
	REFUND_NO,
	REFUND_AMOUNT,
	REFUND_STATUS,
	PAID_AMOUNT,
	PAID_CURRENCY,
	SIDE,
	FEE_SIDE,
	REFERENCE,
	COLUMNS
} Column;

/* One line of the file: its fields, in a buffer that the next one overwrites. */
typedef struct Record
{
	const char *next;			/* where the next one begins */
	const char *end;
	char	   *buffer;
	int			line_no;		/* in which it began, from 1 on */
	int			lines;			/* begun so far */
	int			count;
	const char *fields[MAX_FIELDS];
	int			columns[COLUMNS];	/* place of each, or -1 */
} Record;

typedef struct ColumnName
{
	Column		column;
	bool		is_needed;
	const char *names[MAX_ALIASES]; /* the first that a heading has */
} ColumnName;

typedef struct Format
{
	const char *driver;
	const char *heading;		/* the first field of a heading, if it says nothing else */
	const char *line;			/* that of a line, the same */
	const char *sums;			/* that of the heading of the sums, behind which there are no lines */
	const ColumnName *names;
	int			nnames;
	const char *(*read) (const Record *record, BillingSettlementLine *line);
} Format;

static bool read_record(Record *record);
static const char *read_field(const char *p, const char *end, bool is_marked, char **out, int *lines, bool *is_closed);
static bool is_separator(const char *p, const char *end, bool is_marked);
static char *trim(char *field, char *end);
static const Format *find_format(const char *driver, Record *record);
static bool has_columns(Record *record, const Format *format);
static int	find_column(const Record *record, const char *const *names);
static bool is_heading(const char *field, const char *name);
static bool is_line(const Record *record, const Format *format);
static bool is_whole(const Record *record, const Format *format);
static const char *get(const Record *record, Column column);
static bool is_one_of(const char *text, const char *const *words);
static const char *join(const char *first, const char *second);
static const char *read_stripe(const Record *record, BillingSettlementLine *line);
static const char *read_wechat(const Record *record, BillingSettlementLine *line);
static const char *read_alipay(const Record *record, BillingSettlementLine *line);
static const char *read_paypal(const Record *record, BillingSettlementLine *line);
static const char *kind_of_paypal(const char *code, bool is_credit);
static const BillingCurrency *get_currency(const Record *record, Column column);
static bool read_units(const char *text, int exponent, int64 *units);
static bool read_rounded(const char *text, int exponent, int64 *units);
static bool read_decimal(const char *text, int exponent, bool is_exact, int64 *units);
static bool read_hundredths(const char *text, const char *side, int exponent, int64 *units);
static bool read_time(const char *text, int offset, int64 *at);
static bool set_net(BillingSettlementLine *line);

static const ColumnName stripe_names[] = {
	{LINE_ID, true, {"balance_transaction_id", "id"}},
	{TIME, true, {"created_utc", "Created (UTC)"}},
	{TYPE, true, {"reporting_category", "Type"}},
	{CURRENCY, true, {"currency"}},
	{AMOUNT, true, {"gross", "Amount"}},
	{FEE, true, {"fee"}},
	{NET, true, {"net"}},
	{PAYMENT_ID, false, {"payment_intent_id"}},
	{CHARGE_ID, false, {"charge_id"}},
	{REFUND_ID, false, {"source_id", "Source"}},
	{PAY_NO, false, {"payment_metadata[pay_no]", "pay_no (metadata)"}},
	{REFUND_NO, false, {"refund_metadata[refund_no]", "refund_no (metadata)"}},
	{PAID_AMOUNT, false, {"customer_facing_amount", "Customer Facing Amount"}},
	{PAID_CURRENCY, false, {"customer_facing_currency", "Customer Facing Currency"}},
};

/* Time of trade; status; number at WeChat; the merchant's; currency; amount of the order; fee; of a refund its numbers, amount and status. */
static const ColumnName wechat_names[] = {
	{TIME, true, {"\xE4\xBA\xA4\xE6\x98\x93\xE6\x97\xB6\xE9\x97\xB4"}},
	{TYPE, true, {"\xE4\xBA\xA4\xE6\x98\x93\xE7\x8A\xB6\xE6\x80\x81"}},
	{PAYMENT_ID, true, {"\xE5\xBE\xAE\xE4\xBF\xA1\xE8\xAE\xA2\xE5\x8D\x95\xE5\x8F\xB7"}},
	{PAY_NO, true, {"\xE5\x95\x86\xE6\x88\xB7\xE8\xAE\xA2\xE5\x8D\x95\xE5\x8F\xB7"}},
	{CURRENCY, true, {"\xE8\xB4\xA7\xE5\xB8\x81\xE7\xA7\x8D\xE7\xB1\xBB"}},
	{AMOUNT, true, {"\xE8\xAE\xA2\xE5\x8D\x95\xE9\x87\x91\xE9\xA2\x9D", "\xE5\xBA\x94\xE7\xBB\x93\xE8\xAE\xA2\xE5\x8D\x95\xE9\x87\x91\xE9\xA2\x9D", "\xE6\x80\xBB\xE9\x87\x91\xE9\xA2\x9D"}},
	{FEE, true, {"\xE6\x89\x8B\xE7\xBB\xAD\xE8\xB4\xB9"}},
	{REFUND_ID, false, {"\xE5\xBE\xAE\xE4\xBF\xA1\xE9\x80\x80\xE6\xAC\xBE\xE5\x8D\x95\xE5\x8F\xB7"}},
	{REFUND_NO, false, {"\xE5\x95\x86\xE6\x88\xB7\xE9\x80\x80\xE6\xAC\xBE\xE5\x8D\x95\xE5\x8F\xB7"}},
	{REFUND_STATUS, false, {"\xE9\x80\x80\xE6\xAC\xBE\xE7\x8A\xB6\xE6\x80\x81"}},
	{REFUND_AMOUNT, false, {"\xE7\x94\xB3\xE8\xAF\xB7\xE9\x80\x80\xE6\xAC\xBE\xE9\x87\x91\xE9\xA2\x9D", "\xE9\x80\x80\xE6\xAC\xBE\xE9\x87\x91\xE9\xA2\x9D"}},
};

/* Number at Alipay; the merchant's; kind of business; when it was completed; amount of the order; service fee; number of the refund. */
static const ColumnName alipay_names[] = {
	{PAYMENT_ID, true, {"\xE6\x94\xAF\xE4\xBB\x98\xE5\xAE\x9D\xE4\xBA\xA4\xE6\x98\x93\xE5\x8F\xB7"}},
	{PAY_NO, true, {"\xE5\x95\x86\xE6\x88\xB7\xE8\xAE\xA2\xE5\x8D\x95\xE5\x8F\xB7"}},
	{TYPE, true, {"\xE4\xB8\x9A\xE5\x8A\xA1\xE7\xB1\xBB\xE5\x9E\x8B"}},
	{TIME, true, {"\xE5\xAE\x8C\xE6\x88\x90\xE6\x97\xB6\xE9\x97\xB4"}},
	{AMOUNT, true, {"\xE8\xAE\xA2\xE5\x8D\x95\xE9\x87\x91\xE9\xA2\x9D\xEF\xBC\x88\xE5\x85\x83\xEF\xBC\x89", "\xE8\xAE\xA2\xE5\x8D\x95\xE9\x87\x91\xE9\xA2\x9D(\xE5\x85\x83)"}},
	{FEE, true, {"\xE6\x9C\x8D\xE5\x8A\xA1\xE8\xB4\xB9\xEF\xBC\x88\xE5\x85\x83\xEF\xBC\x89", "\xE6\x9C\x8D\xE5\x8A\xA1\xE8\xB4\xB9(\xE5\x85\x83)"}},
	{REFUND_NO, false, {"\xE9\x80\x80\xE6\xAC\xBE\xE6\x89\xB9\xE6\xAC\xA1\xE5\x8F\xB7/\xE8\xAF\xB7\xE6\xB1\x82\xE5\x8F\xB7", "\xE9\x80\x80\xE6\xAC\xBE\xE6\x89\xB9\xE6\xAC\xA1\xE5\x8F\xB7"}},
};

static const ColumnName paypal_names[] = {
	{LINE_ID, true, {"Transaction ID"}},
	{REFUND_NO, true, {"Invoice ID"}},
	{REFERENCE, false, {"PayPal Reference ID"}},
	{TYPE, true, {"Transaction Event Code"}},
	{TIME, true, {"Transaction Completion Date"}},
	{SIDE, true, {"Transaction Debit or Credit"}},
	{AMOUNT, true, {"Gross Transaction Amount"}},
	{CURRENCY, true, {"Gross Transaction Currency"}},
	{FEE_SIDE, true, {"Fee Debit or Credit"}},
	{FEE, true, {"Fee Amount"}},
	{FEE_CURRENCY, true, {"Fee Currency"}},
	{PAY_NO, false, {"Custom Field"}},
};

/* The heading of sums is "number of trades". */
static const Format formats[] = {
	{"stripe", NULL, NULL, NULL, stripe_names, lengthof(stripe_names), read_stripe},
	{"wechat", NULL, NULL, "\xE6\x80\xBB\xE4\xBA\xA4\xE6\x98\x93\xE5\x8D\x95\xE6\x95\xB0", wechat_names, lengthof(wechat_names), read_wechat},
	{"alipay", NULL, NULL, NULL, alipay_names, lengthof(alipay_names), read_alipay},
	{"paypal", "CH", "SB", NULL, paypal_names, lengthof(paypal_names), read_paypal},
};

/*
 * billing_settlement_read
 *		Read a file, and give each of its lines to take.
 */
const char *
billing_settlement_read(const char *driver, const char *data, size_t len, BillingSettlementTake take, void *arg, int *line_no)
{
	Record		record = {.next = data, .end = data + len, .buffer = palloc(len + 1)};
	const Format *format = NULL;
	bool		is_over = false;
	const char *problem = NULL;

	if (len >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
		record.next += 3;
	while (problem == NULL && read_record(&record))
	{
		const Format *found = find_format(driver, &record);
		BillingSettlementLine line = {0};

		*line_no = record.line_no;
		if (found != NULL)
		{
			format = found;
			is_over = false;
			continue;
		}
		is_over = is_over || (format != NULL && format->sums != NULL && strcmp(record.fields[0], format->sums) == 0);
		if (format == NULL || is_over || !is_line(&record, format))
			continue;
		problem = is_whole(&record, format) ? format->read(&record, &line) : "record=short";
		if (problem == NULL)
			take(arg, &line);
	}
	if (problem == NULL && record.next < record.end)
	{
		*line_no = record.line_no;
		problem = "record=malformed";
	}
	if (problem == NULL && format == NULL)
	{
		*line_no = 0;
		problem = "format=unknown";
	}
	pfree(record.buffer);
	return problem;
}

/*
 * read_record
 *		Read the next line; false: there is none, or it ends within quotes, or has too many fields.
 */
static bool
read_record(Record *record)
{
	const char *p = record->next;
	char	   *out = record->buffer;
	bool		is_closed = true;
	bool		is_marked;

	if (p >= record->end)
		return false;
	is_marked = *p == '`';
	record->line_no = ++record->lines;
	record->count = 0;
	do
	{
		char	   *field = out;

		if (record->count == MAX_FIELDS)
			return false;
		p = read_field(p, record->end, is_marked && p < record->end && *p == '`', &out, &record->lines, &is_closed);
		if (!is_closed)
			return false;
		record->fields[record->count++] = trim(field, out++);
	} while (p < record->end && *p++ == ',');
	record->next = p;
	return true;
}

/*
 * read_field
 *		Copies a field without its quotes, and returns where it ends: at a comma, a line end or the end.
 *
 * WeChat Pay writes no quotes, but a backtick before each field (is_marked): a comma with none behind it is one of a name.
 */
static const char *
read_field(const char *p, const char *end, bool is_marked, char **out, int *lines, bool *is_closed)
{
	bool		is_quoted = p < end && *p == '"';

	*is_closed = !is_quoted;
	if (is_quoted)
		p++;
	while (p < end && (!*is_closed || (*p != '\n' && !is_separator(p, end, is_marked))))
	{
		if (!*is_closed && *p == '"' && p + 1 < end && p[1] == '"')
			p++;
		else if (!*is_closed && *p == '"')
		{
			*is_closed = true;
			p++;
			continue;
		}
		if (*p == '\n')
			(*lines)++;
		*(*out)++ = *p++;
	}
	return p;
}

static bool
is_separator(const char *p, const char *end, bool is_marked)
{
	return *p == ',' && (!is_marked || p + 1 >= end || strchr("`\r\n", p[1]) != NULL);
}

/* Without blanks around it, and without the backtick by which WeChat keeps numbers from being taken for numbers. */
static char *
trim(char *field, char *end)
{
	while (end > field && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	*end = '\0';
	field += strspn(field, " \t");
	return *field == '`' ? field + 1 : field;
}

/* The format whose heading this is; its columns are found then. */
static const Format *
find_format(const char *driver, Record *record)
{
	for (int i = 0; i < lengthof(formats); i++)
	{
		if ((driver == NULL || strcmp(driver, formats[i].driver) == 0) && has_columns(record, &formats[i]))
			return &formats[i];
	}
	return NULL;
}

static bool
has_columns(Record *record, const Format *format)
{
	int			columns[COLUMNS];

	if (format->heading != NULL && strcmp(record->fields[0], format->heading) != 0)
		return false;
	memset(columns, -1, sizeof(columns));
	for (int i = 0; i < format->nnames; i++)
	{
		int			place = find_column(record, format->names[i].names);

		if (place < 0 && format->names[i].is_needed)
			return false;
		columns[format->names[i].column] = place;
	}
	memcpy(record->columns, columns, sizeof(columns));
	return true;
}

static int
find_column(const Record *record, const char *const *names)
{
	for (int n = 0; n < MAX_ALIASES && names[n] != NULL; n++)
	{
		for (int i = 0; i < record->count; i++)
		{
			if (is_heading(record->fields[i], names[n]))
				return i;
		}
	}
	return -1;
}

/* Whatever its case; PayPal writes two blanks where it means one. */
static bool
is_heading(const char *field, const char *name)
{
	while (*field != '\0' && pg_ascii_tolower((unsigned char) *field) == pg_ascii_tolower((unsigned char) *name))
	{
		field += *field == ' ' ? strspn(field, " ") : 1;
		name++;
	}
	return *field == '\0' && *name == '\0';
}

/* Alipay's remarks begin with #. */
static bool
is_line(const Record *record, const Format *format)
{
	if (format->line != NULL)
		return strcmp(record->fields[0], format->line) == 0;
	return record->fields[0][0] != '#' && (record->count > 1 || record->fields[0][0] != '\0');
}

static bool
is_whole(const Record *record, const Format *format)
{
	for (int i = 0; i < format->nnames; i++)
	{
		if (format->names[i].is_needed && record->columns[format->names[i].column] >= record->count)
			return false;
	}
	return true;
}

/* NULL: it is empty, or a zero that stands for nothing, or there is no such column. */
static const char *
get(const Record *record, Column column)
{
	int			place = record->columns[column];
	const char *field = place < 0 || place >= record->count ? "" : record->fields[place];

	return field[0] == '\0' ? NULL : field;
}

static const char *
get_number(const Record *record, Column column)
{
	const char *field = get(record, column);

	return field == NULL || strcmp(field, "0") == 0 ? NULL : field;
}

static bool
is_one_of(const char *text, const char *const *words)
{
	for (; text != NULL && *words != NULL; words++)
	{
		if (strcmp(text, *words) == 0)
			return true;
	}
	return false;
}

/* NULL: one of them is. */
static const char *
join(const char *first, const char *second)
{
	return first == NULL || second == NULL ? NULL : psprintf("%s %s", first, second);
}

/*
 * read_stripe
 *		Amounts are of the account's currency; what the customer paid may have been another.
 *
 * A direct debit is settled before its bank has paid it; one that was returned is a line of the payment again, negative.
 */
static const char *
read_stripe(const Record *record, BillingSettlementLine *line)
{
	static const char *const payments[] = {"charge", "payment", "charge_failure", "payment_failure_refund", "payment_reversal", NULL};
	static const char *const refunds[] = {"refund", "payment_refund", "refund_failure", NULL};
	static const char *const disputes[] = {"dispute", "dispute_reversal", NULL};
	static const char *const fees[] = {"fee", "stripe_fee", "network_cost", "tax", NULL};
	const char *type = get(record, TYPE);
	const BillingCurrency *paid = get_currency(record, PAID_CURRENCY);

	line->kind = is_one_of(type, payments) ? "payment" : is_one_of(type, refunds) ? "refund" : is_one_of(type, disputes) ? "dispute" :
		is_one_of(type, fees) ? "fee" : "other";
	line->line_id = line->key = get(record, LINE_ID);
	line->pay_no = get(record, PAY_NO);
	line->refund_no = strcmp(line->kind, "refund") == 0 ? get(record, REFUND_NO) : NULL;
	line->external_id = strcmp(line->kind, "refund") == 0 ? get(record, REFUND_ID) : get(record, PAYMENT_ID);
	line->payment_external_id = get(record, PAYMENT_ID) != NULL ? get(record, PAYMENT_ID) : get(record, CHARGE_ID);

	line->currency = line->fee_currency = get_currency(record, CURRENCY);
	if (line->currency == NULL)
		return "column=currency";
	if (!read_units(get(record, AMOUNT), line->currency->exponent, &line->units))
		return "column=gross";
	if (!read_units(get(record, FEE), line->currency->exponent, &line->fee_units))
		return "column=fee";
	if (!read_units(get(record, NET), line->currency->exponent, &line->net_units))
		return "column=net";
	if (get(record, PAID_AMOUNT) != NULL && paid != NULL)
	{
		line->currency = paid;
		if (!read_units(get(record, PAID_AMOUNT), paid->exponent, &line->units))
			return "column=customer_facing_amount";
	}
	line->has_fee = true;
	return read_time(get(record, TIME), 0, &line->at) ? NULL : "column=created_utc";
}

/*
 * read_wechat
 *		A line is a payment or a refund, and names the payment in either case.
 *
 * One that was revoked after it was paid is a refund without a number.  One that has failed moved nothing.  Fees may be stated by the
 * rate, with five decimals, and are charged to the fen.
 */
static const char *
read_wechat(const Record *record, BillingSettlementLine *line)
{
	static const char *const failed[] = {"FAIL", "FAILED", "CLOSED", NULL};
	const char *status = get(record, TYPE);
	bool		is_revoked = status != NULL && strcmp(status, "REVOKED") == 0;
	bool		is_refund = is_revoked || (status != NULL && strcmp(status, "REFUND") == 0);

	line->kind = is_refund && is_one_of(get(record, REFUND_STATUS), failed) ? "other" : is_refund ? "refund" : status != NULL && strcmp(status, "SUCCESS") == 0 ? "payment" : "other";
	line->pay_no = get(record, PAY_NO);
	line->payment_external_id = get(record, PAYMENT_ID);
	line->external_id = line->key = is_refund ? get_number(record, REFUND_ID) : line->payment_external_id;
	line->refund_no = is_refund ? get_number(record, REFUND_NO) : NULL;
	line->currency = line->fee_currency = get_currency(record, CURRENCY);
	if (line->currency == NULL)
		return "column=currency";
	if (!read_units(get(record, is_refund && !is_revoked ? REFUND_AMOUNT : AMOUNT), line->currency->exponent, &line->units))
		return is_refund ? "column=refund_amount" : "column=amount";
	if (!read_rounded(get(record, FEE), line->currency->exponent, &line->fee_units))
		return "column=fee";
	if (is_refund)
		line->units = -line->units;
	line->has_fee = true;
	if (!set_net(line))
		return "column=amount";
	return read_time(get(record, TIME), BEIJING, &line->at) ? NULL : "column=time";
}

/* A fee is negative there, what comes back of it positive. */
static const char *
read_alipay(const Record *record, BillingSettlementLine *line)
{
	const char *type = get(record, TYPE);
	bool		is_refund = type != NULL && strcmp(type, "\xE9\x80\x80\xE6\xAC\xBE") == 0;

	line->kind = is_refund ? "refund" : type != NULL && strcmp(type, "\xE4\xBA\xA4\xE6\x98\x93") == 0 ? "payment" : "other";
	line->pay_no = get(record, PAY_NO);
	line->payment_external_id = get(record, PAYMENT_ID);
	line->external_id = is_refund ? NULL : line->payment_external_id;
	line->refund_no = is_refund ? get(record, REFUND_NO) : NULL;
	line->key = is_refund ? join(line->payment_external_id, line->refund_no) : line->payment_external_id;
	line->currency = line->fee_currency = billing_currency_find("CNY", BILLING_CURRENCY_LEN);
	if (!read_units(get(record, AMOUNT), line->currency->exponent, &line->units))
		return "column=amount";
	if (!read_units(get(record, FEE), line->currency->exponent, &line->fee_units))
		return "column=fee";
	if (is_refund && line->units > 0)
		line->units = -line->units;
	line->fee_units = -line->fee_units;
	line->has_fee = true;
	if (!set_net(line))
		return "column=amount";
	return read_time(get(record, TIME), BEIJING, &line->at) ? NULL : "column=time";
}

/*
 * read_paypal
 *		Amounts are hundredths of whatever currency, without a sign; a column says on which side they stand.
 *
 * The merchant's own number is in two columns: of a refund invoice_id has its own, and custom that of its payment.
 */
static const char *
read_paypal(const Record *record, BillingSettlementLine *line)
{
	const char *side = get(record, SIDE);
	bool		is_refund;

	line->kind = kind_of_paypal(get(record, TYPE), side != NULL && strcmp(side, "CR") == 0);
	is_refund = strcmp(line->kind, "refund") == 0;
	line->line_id = line->external_id = get(record, LINE_ID);
	line->key = join(line->line_id, join(get(record, TYPE), join(side, get(record, AMOUNT))));
	line->payment_external_id = strcmp(line->kind, "payment") == 0 ? line->line_id : get(record, REFERENCE);
	line->pay_no = get(record, PAY_NO) != NULL || is_refund ? get(record, PAY_NO) : get(record, REFUND_NO);
	line->refund_no = is_refund ? get(record, REFUND_NO) : NULL;
	line->currency = get_currency(record, CURRENCY);
	line->fee_currency = get_currency(record, FEE_CURRENCY) != NULL ? get_currency(record, FEE_CURRENCY) : line->currency;
	if (line->currency == NULL)
		return "column=Gross Transaction Currency";
	if (!read_hundredths(get(record, AMOUNT), side, line->currency->exponent, &line->units))
		return "column=Gross Transaction Amount";
	if (get(record, FEE) != NULL && !read_hundredths(get(record, FEE), get(record, FEE_SIDE), line->fee_currency->exponent, &line->fee_units))
		return "column=Fee Amount";
	line->fee_units = -line->fee_units;
	line->has_fee = true;
	if (!set_net(line))
		return "column=Gross Transaction Amount";
	return read_time(get(record, TIME), 0, &line->at) ? NULL : "column=Transaction Completion Date";
}

/* T00: payments; T01: fees; T1107: a refund by the merchant; the other T11 and T12: reversals, holds and chargebacks. */
static const char *
kind_of_paypal(const char *code, bool is_credit)
{
	if (code == NULL || strlen(code) != 5)
		return "other";
	if (strncmp(code, "T00", 3) == 0)
		return is_credit ? "payment" : "other";
	if (strncmp(code, "T01", 3) == 0)
		return "fee";
	if (strcmp(code, "T1107") == 0)
		return "refund";
	return strncmp(code, "T11", 3) == 0 || strncmp(code, "T12", 3) == 0 ? "dispute" : "other";
}

static const BillingCurrency *
get_currency(const Record *record, Column column)
{
	const char *code = get(record, column);

	return code != NULL && strlen(code) == BILLING_CURRENCY_LEN ? billing_currency_find(code, BILLING_CURRENCY_LEN) : NULL;
}

/* Exactly: more decimals than the currency has are zeros. */
static bool
read_units(const char *text, int exponent, int64 *units)
{
	return read_decimal(text, exponent, true, units);
}

/* To the nearest unit, halves away from zero, as who computes it by a rate charges it. */
static bool
read_rounded(const char *text, int exponent, int64 *units)
{
	return read_decimal(text, exponent, false, units);
}

static bool
read_decimal(const char *text, int exponent, bool is_exact, int64 *units)
{
	bool		is_negative = text != NULL && text[0] == '-';
	BillingDecimal decimal;

	if (text == NULL)
		return false;
	if (is_negative)
		text++;
	if (billing_decimal_parse(text, strlen(text), &decimal) != BILLING_DECIMAL_OK)
		return false;
	decimal = billing_decimal_trim(decimal);
	return (decimal.scale <= exponent || !is_exact) && billing_decimal_round(decimal, exponent, is_negative, units);
}

static bool
read_hundredths(const char *text, const char *side, int exponent, int64 *units)
{
	size_t		len = text == NULL ? 0 : strspn(text, "0123456789");
	BillingDecimal decimal;

	if (len == 0 || text[len] != '\0' || billing_decimal_parse(text, len, &decimal) != BILLING_DECIMAL_OK)
		return false;
	decimal.scale += 2;
	decimal = billing_decimal_trim(decimal);
	return decimal.scale <= exponent && billing_decimal_round(decimal, exponent, side != NULL && strcmp(side, "DR") == 0, units);
}

/* PayPal writes slashes, and Stripe's export no seconds. */
static bool
read_time(const char *text, int offset, int64 *at)
{
	char	   *copy = text == NULL ? NULL : psprintf("%s%s", text, strlen(text) == strlen("2026-03-01 10:00") ? ":00" : "");

	for (char *p = copy; p != NULL && *p != '\0'; p++)
	{
		if (*p == '/')
			*p = '-';
	}
	return billing_instant_read(copy, offset, at);
}

/* What is left of it, if both are of one currency. */
static bool
set_net(BillingSettlementLine *line)
{
	if (line->currency != line->fee_currency)
		return true;
	return !__builtin_sub_overflow(line->units, line->fee_units, &line->net_units);
}
