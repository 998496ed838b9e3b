/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  Does an invoice still follow from what it was calculated from, and does what
 *	  must hold between rows?
 *
 * sql/verify.sql and sql/audit.sql ask; here is what reads the text of a
 * calculation apart, and what runs their queries.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "flow.h"
#include "result.h"

BILLING_FUNCTION(billing_calculation_fields);
BILLING_FUNCTION(billing_verify_invoice);
BILLING_FUNCTION(billing_verify_all);
BILLING_FUNCTION(billing_audit);

/* A text that is being read: at is the next byte. */
typedef struct Reader
{
	ReturnSetInfo *result;
	const char *at;
	const char *end;
} Reader;

static bool read_object(Reader *reader, bool is_item);
static bool read_items(Reader *reader);
static bool take(Reader *reader, char c);
static bool read_string(Reader *reader, const char **start, int *len);
static bool read_value(Reader *reader, const char **start, int *len);
static void put_problems(FunctionCallInfo fcinfo, BillingQuery *query);
static void put_field(Reader *reader, const char *line, const char *key, int key_len, const char *value, int value_len);

/*
 * billing_calculation_fields
 *		The fields of a calculation's canonical text, one row each: the line of the
 *		item (NULL: of none), key and value as text.
 *
 * Whoever asks has reason to doubt the text: where it is malformed, what follows
 * gives no row, and nothing is raised.
 */
Datum
billing_calculation_fields(PG_FUNCTION_ARGS)
{
	text	   *inputs = PG_GETARG_TEXT_PP(0);
	Reader		reader;

	InitMaterializedSRF(fcinfo, 0);
	reader.result = (ReturnSetInfo *) fcinfo->resultinfo;
	reader.at = VARDATA_ANY(inputs);
	reader.end = reader.at + VARSIZE_ANY_EXHDR(inputs);
	(void) read_object(&reader, false);
	return (Datum) 0;
}

/* {"key":value,...}; the first field of an item is its line. */
static bool
read_object(Reader *reader, bool is_item)
{
	char		line[16] = "";

	if (!take(reader, '{'))
		return false;
	do
	{
		const char *key;
		const char *value;
		int			key_len;
		int			value_len;

		if (!read_string(reader, &key, &key_len) || !take(reader, ':'))
			return false;
		if (!is_item && key_len == 5 && memcmp(key, "items", 5) == 0)
		{
			if (!read_items(reader))
				return false;
			continue;
		}
		if (!read_value(reader, &value, &value_len))
			return false;
		if (is_item && line[0] == '\0')
			snprintf(line, sizeof(line), "%.*s", Min(value_len, 9), value);
		put_field(reader, line, key, key_len, value, value_len);
	} while (take(reader, ','));
	return take(reader, '}');
}

static bool
read_items(Reader *reader)
{
	if (!take(reader, '['))
		return false;
	if (take(reader, ']'))
		return true;
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_object(reader, true))
			return false;
	} while (take(reader, ','));
	return take(reader, ']');
}

static bool
take(Reader *reader, char c)
{
	if (reader->at >= reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

static bool
read_string(Reader *reader, const char **start, int *len)
{
	if (!take(reader, '"'))
		return false;
	*start = reader->at;
	while (reader->at < reader->end && *reader->at != '"')
		reader->at += *reader->at == '\\' ? 2 : 1;
	if (reader->at >= reader->end)
		return false;
	*len = reader->at - *start;
	reader->at++;
	return true;
}

/* A string without its quotes, a number, or an array as it stands. */
static bool
read_value(Reader *reader, const char **start, int *len)
{
	bool		in_string = false;
	int			depth = 0;

	if (reader->at < reader->end && *reader->at == '"')
		return read_string(reader, start, len);

	*start = reader->at;
	for (; reader->at < reader->end; reader->at++)
	{
		char		c = *reader->at;

		if (c == '"')
			in_string = !in_string;
		if (in_string)
			continue;
		if (depth == 0 && (c == ',' || c == '}'))
			break;
		depth += (c == '[') - (c == ']');
	}
	*len = reader->at - *start;
	return *len > 0 && !in_string;
}

/* A line that is no number is told as 0, which none has. */
static void
put_field(Reader *reader, const char *line, const char *key, int key_len, const char *value, int value_len)
{
	Datum		values[3];
	bool		nulls[3] = {line[0] == '\0', false, false};

	values[0] = Int32GetDatum(atoi(line));
	values[1] = PointerGetDatum(cstring_to_text_with_len(key, key_len));
	values[2] = PointerGetDatum(cstring_to_text_with_len(value, value_len));
	tuplestore_putvalues(reader->result->setResult, reader->result->setDesc, values, nulls);
}

/*
 * billing_verify_invoice
 *		The problems of one invoice, or that there is no such invoice.
 */
Datum
billing_verify_invoice(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT p.problem, p.detail FROM billing.invoice_problems($1, $2) p"
		" UNION ALL SELECT c.problem, c.detail FROM billing.credit_note_problems($1, $2) c",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "invoice_id");
	billing_spi_begin();
	billing_flow_find_invoice(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	billing_result_rows(fcinfo, &query);
	billing_spi_end();
	return (Datum) 0;
}

/*
 * billing_verify_all
 *		The problems of every invoice of a tenant, or of all.
 *
 * All are planned anew, by scans; those of one are reached by key, under a kept plan.
 */
Datum
billing_verify_all(PG_FUNCTION_ARGS)
{
	static BillingQuery query[2] = {
		{
			.sql = "SELECT p.tenant_id, p.invoice_id, p.problem, p.detail FROM billing.invoice_problems($1, NULL) p"
			" UNION ALL SELECT c.tenant_id, c.invoice_id, c.problem, c.detail FROM billing.credit_note_problems($1, NULL) c"
			" ORDER BY 1, 2",
			.expected = SPI_OK_SELECT,
			.read_only = true,
			.nargs = 1,
			.argtypes = {INT8OID},
			.options = CURSOR_OPT_CUSTOM_PLAN,
		},
		{
			.sql = "SELECT p.tenant_id, p.invoice_id, p.problem, p.detail FROM billing.invoice_problems($1, NULL) p"
			" UNION ALL SELECT c.tenant_id, c.invoice_id, c.problem, c.detail FROM billing.credit_note_problems($1, NULL) c"
			" ORDER BY 1, 2",
			.expected = SPI_OK_SELECT,
			.read_only = true,
			.nargs = 1,
			.argtypes = {INT8OID},
			.options = CURSOR_OPT_GENERIC_PLAN,
		}
	};

	put_problems(fcinfo, &query[PG_ARGISNULL(0) ? 0 : 1]);
	return (Datum) 0;
}

/*
 * billing_audit
 *		The broken invariants of a tenant, or of all.
 *
 * With its argument it is planned anew: one tenant is reached by key, all by scans.
 */
Datum
billing_audit(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT f.invariant, f.tenant_id, f.object, f.detail FROM billing.audit_finding f"
		" WHERE $1 IS NULL OR f.tenant_id = $1 ORDER BY f.invariant, f.tenant_id, f.object, f.detail",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 1,
		.argtypes = {INT8OID},
		.options = CURSOR_OPT_CUSTOM_PLAN,
	};

	put_problems(fcinfo, &query);
	return (Datum) 0;
}

/* None of a tenant that is not there would read as if all were well with it; what is left of one is told. */
static void
put_problems(FunctionCallInfo fcinfo, BillingQuery *query)
{
	billing_spi_begin();
	if (billing_result_rows(fcinfo, query) == 0 && !PG_ARGISNULL(0))
		billing_flow_find_tenant(PG_GETARG_INT64(0));
	billing_spi_end();
}
