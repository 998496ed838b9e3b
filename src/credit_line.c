/*-------------------------------------------------------------------------
 *
 * credit_line.c
 *	  What a credit note is to take back of a line of an invoice, as a person says it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/builtins.h"

#include "credit_line.h"
#include "stated.h"

enum
{
	LINE, AMOUNT, PERIOD_START, PERIOD_END, DESCRIPTION
};

static const BillingStatedTerm terms[] = {
	[LINE] = {"line", true},
	[AMOUNT] = {"amount", true},
	[PERIOD_START] = {"period_start", false},
	[PERIOD_END] = {"period_end", false},
	[DESCRIPTION] = {"description", false},
};

static const BillingStatedForm form = {
	.array = "lines",
	.element = "line",
	.example = "[{\"line\": 1, \"amount\": \"10\"}]",
	.known = "A line states line, amount (else all that is left of it), period_start and period_end, and description.",
	.terms = terms,
	.nterms = lengthof(terms),
};

static void read_line(const BillingStated *stated, const BillingCurrency *currency, BillingCreditLine *line);
static int32 line_of(const BillingStated *stated);
static void read_period(const BillingStated *stated, BillingCreditLine *line);

BillingCreditLine *
billing_credit_lines_read(Jsonb *lines, const BillingCurrency *currency, int *count)
{
	BillingStated stated;
	BillingCreditLine *result;

	billing_stated_begin(&stated, &form, lines);
	result = palloc0((JB_ROOT_COUNT(lines) + 1) * sizeof(BillingCreditLine));
	*count = 0;
	while (billing_stated_next(&stated))
		read_line(&stated, currency, &result[(*count)++]);
	if (*count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a credit note has at least one line"),
				 errdetail("argument=lines lines=0"),
				 errhint("Say which lines are taken back, or NULL for all that is left of the invoice.")));
	return result;
}

static void
read_line(const BillingStated *stated, const BillingCurrency *currency, BillingCreditLine *line)
{
	line->line = line_of(stated);
	line->is_rest = stated->texts[AMOUNT] == NULL;
	if (!line->is_rest)
		line->amount = *billing_stated_amount(stated, AMOUNT, currency);
	line->description = stated->texts[DESCRIPTION];
	read_period(stated, line);
}

static int32
line_of(const BillingStated *stated)
{
	const char *text = stated->texts[LINE];

	if (text == NULL)
		billing_stated_report(stated, "line", "is missing", "Give it the number of a line of the invoice.");
	if (text[0] == '\0' || strlen(text) > 9 || strspn(text, "0123456789") != strlen(text))
		billing_stated_report(stated, "line", "is not the number of a line", "Lines of an invoice are numbered from 1.");
	return pg_strtoint32(text);
}

static void
read_period(const BillingStated *stated, BillingCreditLine *line)
{
	if ((stated->texts[PERIOD_START] == NULL) != (stated->texts[PERIOD_END] == NULL))
		billing_stated_report(stated, "period_start", "must be stated with period_end",
							  "Give both ends of the period, or none.");
	line->period_start = DT_NOBEGIN;
	line->period_end = DT_NOEND;
	if (stated->texts[PERIOD_START] == NULL)
		return;
	line->period_start = billing_stated_instant(stated, PERIOD_START);
	line->period_end = billing_stated_instant(stated, PERIOD_END);
	if (line->period_end < line->period_start)
		billing_stated_report(stated, "period_end", "is before period_start",
							  "A period is half-open, from its start to its end.");
}
