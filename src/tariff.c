/*-------------------------------------------------------------------------
 *
 * tariff.c
 *	  billing.tariff as an SQL type: in, out, equality, hash, jsonb.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "exact.h"
#include "tariff.h"

BILLING_FUNCTION(billing_tariff_in);
BILLING_FUNCTION(billing_tariff_out);
BILLING_FUNCTION(billing_tariff_recv);
BILLING_FUNCTION(billing_tariff_send);
BILLING_FUNCTION(billing_tariff_eq);
BILLING_FUNCTION(billing_tariff_ne);
BILLING_FUNCTION(billing_tariff_lt);
BILLING_FUNCTION(billing_tariff_le);
BILLING_FUNCTION(billing_tariff_gt);
BILLING_FUNCTION(billing_tariff_ge);
BILLING_FUNCTION(billing_tariff_cmp);
BILLING_FUNCTION(billing_tariff_hash);
BILLING_FUNCTION(billing_tariff_hash_extended);
BILLING_FUNCTION(billing_tariff_from_jsonb);
BILLING_FUNCTION(billing_tariff_to_json);
BILLING_FUNCTION(billing_tariff_to_jsonb);
BILLING_FUNCTION(billing_tariff_currency);
BILLING_FUNCTION(billing_tariff_unit_amount);
BILLING_FUNCTION(billing_tariff_is_per_event);

#define TARIFF_BINARY_VERSION 1

static Datum parse_tariff(const char *text, size_t len, Node *escontext);
static int	compare_tariffs(FunctionCallInfo fcinfo);

Datum
billing_tariff_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);

	return parse_tariff(text, strlen(text), billing_error_context(fcinfo));
}

/*
 * parse_tariff
 *		Read a tariff or raise what is wrong with it, softly if the caller can.
 */
static Datum
parse_tariff(const char *text, size_t len, Node *escontext)
{
	BillingTariffError error;
	BillingTariff *tariff = billing_tariff_parse(text, len, GetDatabaseEncoding(), &error);

	if (tariff == NULL)
		ereturn(escontext, (Datum) 0,
				(error.out_of_range ?
				 errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE) :
				 errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 error.out_of_range ?
				 errmsg("value out of range for type %s", "billing.tariff") :
				 errmsg("invalid input syntax for type %s", "billing.tariff"),
				 errdetail("%s", error.detail),
				 errhint("%s", error.hint)));

	PG_RETURN_POINTER(tariff);
}

Datum
billing_tariff_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(billing_tariff_print(PG_GETARG_BILLING_TARIFF_P(0)));
}

/*
 * billing_tariff_recv
 *		Read a version byte and the text, as jsonb does.
 *
 * The text, not the stored bytes: what comes from outside is validated by the
 * one parser, and the layout stays free to change.
 */
Datum
billing_tariff_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgint(buffer, 1);
	char	   *text;
	int			len;

	if (version != TARIFF_BINARY_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version of binary billing.tariff"),
				 errdetail("The version is %d.", version),
				 errhint("Send version %d, then the JSON text.", TARIFF_BINARY_VERSION)));

	text = pq_getmsgtext(buffer, buffer->len - buffer->cursor, &len);
	return parse_tariff(text, len, NULL);
}

Datum
billing_tariff_send(PG_FUNCTION_ARGS)
{
	char	   *text = billing_tariff_print(PG_GETARG_BILLING_TARIFF_P(0));
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendint8(&buffer, TARIFF_BINARY_VERSION);
	pq_sendtext(&buffer, text, strlen(text));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

Datum
billing_tariff_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_tariffs(fcinfo) == 0);
}

Datum
billing_tariff_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_tariffs(fcinfo) != 0);
}

Datum
billing_tariff_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_tariffs(fcinfo) < 0);
}

Datum
billing_tariff_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_tariffs(fcinfo) <= 0);
}

Datum
billing_tariff_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_tariffs(fcinfo) > 0);
}

Datum
billing_tariff_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_tariffs(fcinfo) >= 0);
}

Datum
billing_tariff_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_tariffs(fcinfo));
}

/*
 * compare_tariffs
 *		Equal formulas are equal bytes: the parser packs them canonically.
 *
 * The order of the others has no meaning; grouping by sorting needs one.
 */
static int
compare_tariffs(FunctionCallInfo fcinfo)
{
	BillingTariff *a = PG_GETARG_BILLING_TARIFF_P(0);
	BillingTariff *b = PG_GETARG_BILLING_TARIFF_P(1);
	size_t		a_size = VARSIZE(a);
	size_t		b_size = VARSIZE(b);
	int			result = memcmp(VARDATA(a), VARDATA(b), Min(a_size, b_size) - VARHDRSZ);

	if (result == 0)
		result = a_size < b_size ? -1 : a_size > b_size;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
billing_tariff_hash(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);
	Datum		result = hash_any((unsigned char *) VARDATA(tariff), VARSIZE(tariff) - VARHDRSZ);

	PG_FREE_IF_COPY(tariff, 0);
	return result;
}

Datum
billing_tariff_hash_extended(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA(tariff),
										   VARSIZE(tariff) - VARHDRSZ, PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(tariff, 0);
	return result;
}

Datum
billing_tariff_from_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *json = PG_GETARG_JSONB_P(0);
	char	   *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	return parse_tariff(text, strlen(text), NULL);
}

Datum
billing_tariff_to_json(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(billing_tariff_print(PG_GETARG_BILLING_TARIFF_P(0))));
}

Datum
billing_tariff_to_jsonb(PG_FUNCTION_ARGS)
{
	char	   *text = billing_tariff_print(PG_GETARG_BILLING_TARIFF_P(0));

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

Datum
billing_tariff_currency(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(tariff->currency, sizeof(tariff->currency)));
}

/*
 * billing_tariff_unit_amount
 *		The price of one unit, or of the whole of a flat tariff; NULL where units
 *		have several prices.
 */
Datum
billing_tariff_unit_amount(PG_FUNCTION_ARGS)
{
	BillingTariff *tariff = PG_GETARG_BILLING_TARIFF_P(0);
	BillingTerm term = tariff->model == BILLING_FLAT ? BILLING_AMOUNT : BILLING_UNIT_AMOUNT;

	if (tariff->model != BILLING_FLAT && tariff->model != BILLING_PER_UNIT)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(billing_numeric_from_decimal(billing_tariff_term(tariff, term), tariff->price_scale));
}

Datum
billing_tariff_is_per_event(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL((PG_GETARG_BILLING_TARIFF_P(0)->terms & BILLING_PER_EVENT_TERMS) != 0);
}
