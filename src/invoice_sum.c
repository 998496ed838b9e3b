/*-------------------------------------------------------------------------
 *
 * invoice_sum.c
 *	  The lines of one invoice put together, in one pass over them.
 *
 * Numbers the lines in the order they come, adds them up, and makes both what will
 * be written of them and their canonical text: what would else be five aggregates
 * over each handful of rows.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "amount.h"
#include "calculation.h"

BILLING_FUNCTION(billing_invoice_sum_step);
BILLING_FUNCTION(billing_invoice_sum_final);

/* The arguments of the step, and the columns of billing.invoice_line after line. */
typedef enum Argument
{
	STATE,
	LINE_TYPE,					/* a NULL of type billing.invoice_line, which names it */
	KIND,
	PRICE_CODE,
	METER,
	DESCRIPTION,
	QUANTITY,
	UNIT_AMOUNT,
	AMOUNT,
	PERIOD_START,
	PERIOD_END,
	USAGE_EVENTS,
	USAGE_DIGEST,
	ADJUSTS_INVOICE_ID,
	ADJUSTS_LINE,
	FORMULA,
	IS_ADVANCE
} Argument;

#define LINE_COLUMNS (ADJUSTS_LINE - LINE_TYPE + 1)

typedef struct InvoiceSum
{
	int32		count;
	int128		subtotal;
	int128		deferred;		/* of which is billed in advance */
	char		currency[8];
	StringInfoData text;		/* of the items, the bracket still open */
	StringInfoData lines;		/* an array of billing.invoice_line: room for the header, the elements */
} InvoiceSum;

static InvoiceSum *new_sum(FunctionCallInfo fcinfo);
static void add_amount(InvoiceSum *sum, const BillingAmount *amount, bool is_advance);
static void add_text(InvoiceSum *sum, FunctionCallInfo fcinfo);
static void add_line(InvoiceSum *sum, FunctionCallInfo fcinfo);
static TupleDesc line_type(FunctionCallInfo fcinfo);
static Datum finish_lines(InvoiceSum *sum);
static TupleDesc result_type(FunctionCallInfo fcinfo);

/*
 * billing_invoice_sum_step
 *		Add one line: (line_type, kind, price_code, meter, description, quantity,
 *		unit_amount, amount, period_start, period_end, usage_events, usage_digest,
 *		adjusts_invoice_id, adjusts_line, formula, is_advance).
 */
Datum
billing_invoice_sum_step(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext old;
	InvoiceSum *sum;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	old = MemoryContextSwitchTo(context);
	sum = PG_ARGISNULL(STATE) ? new_sum(fcinfo) : (InvoiceSum *) PG_GETARG_POINTER(STATE);
	MemoryContextSwitchTo(old);

	sum->count++;
	add_amount(sum, PG_GETARG_BILLING_AMOUNT_P(AMOUNT), PG_GETARG_BOOL(IS_ADVANCE));
	add_text(sum, fcinfo);
	add_line(sum, fcinfo);
	PG_RETURN_POINTER(sum);
}

static InvoiceSum *
new_sum(FunctionCallInfo fcinfo)
{
	InvoiceSum *sum = palloc0(sizeof(InvoiceSum));

	initStringInfo(&sum->text);
	initStringInfo(&sum->lines);
	sum->lines.len = ARR_OVERHEAD_NONULLS(1);
	return sum;
}

static void
add_amount(InvoiceSum *sum, const BillingAmount *amount, bool is_advance)
{
	if (sum->count == 1)
		memcpy(sum->currency, amount->currency, sizeof(sum->currency));
	else if (unlikely(memcmp(sum->currency, amount->currency, sizeof(sum->currency)) != 0))
		billing_amount_raise_mixed(sum->currency, amount->currency);
	sum->subtotal += amount->units;
	if (is_advance)
		sum->deferred += amount->units;
}

static void
add_text(InvoiceSum *sum, FunctionCallInfo fcinfo)
{
	NullableDatum fields[BILLING_CALCULATION_ITEM_FIELDS] = {
		{.value = Int32GetDatum(sum->count)},
		fcinfo->args[KIND], fcinfo->args[PRICE_CODE], fcinfo->args[FORMULA], fcinfo->args[QUANTITY],
		fcinfo->args[AMOUNT], fcinfo->args[PERIOD_START], fcinfo->args[PERIOD_END],
		fcinfo->args[USAGE_EVENTS], fcinfo->args[USAGE_DIGEST],
		fcinfo->args[ADJUSTS_INVOICE_ID], fcinfo->args[ADJUSTS_LINE]
	};

	appendStringInfoChar(&sum->text, sum->count == 1 ? '[' : ',');
	billing_calculation_append_item(&sum->text, fields);
}

/*
 * add_line
 *		Put a row of billing.invoice_line behind the others, as an array has it.
 */
static void
add_line(InvoiceSum *sum, FunctionCallInfo fcinfo)
{
	Datum		values[LINE_COLUMNS];
	bool		nulls[LINE_COLUMNS];
	HeapTupleHeader row;
	int			len;

	values[0] = Int32GetDatum(sum->count);
	nulls[0] = false;
	for (int i = 1; i < LINE_COLUMNS; i++)
	{
		values[i] = fcinfo->args[LINE_TYPE + i].value;
		nulls[i] = fcinfo->args[LINE_TYPE + i].isnull;
	}
	row = DatumGetHeapTupleHeader(HeapTupleGetDatum(heap_form_tuple(line_type(fcinfo), values, nulls)));
	len = MAXALIGN(HeapTupleHeaderGetDatumLength(row));
	enlargeStringInfo(&sum->lines, len);
	memcpy(sum->lines.data + sum->lines.len, row, HeapTupleHeaderGetDatumLength(row));
	memset(sum->lines.data + sum->lines.len + HeapTupleHeaderGetDatumLength(row), 0,
		   len - HeapTupleHeaderGetDatumLength(row));
	sum->lines.len += len;
}

/* Looked up once for each call in a query. */
static TupleDesc
line_type(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, LINE_TYPE);
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		fcinfo->flinfo->fn_extra = lookup_rowtype_tupdesc_copy(type, -1);
		MemoryContextSwitchTo(old);
		if (((TupleDesc) fcinfo->flinfo->fn_extra)->natts != LINE_COLUMNS)
			elog(ERROR, "billing.invoice_line must have %d columns", LINE_COLUMNS);
	}
	return fcinfo->flinfo->fn_extra;
}

/*
 * billing_invoice_sum_final
 *		What the lines come to, as billing.invoice_sum; NULL of no line.
 */
Datum
billing_invoice_sum_final(PG_FUNCTION_ARGS)
{
	InvoiceSum *sum;
	Datum		values[6];
	bool		nulls[6] = {false};

	if (PG_ARGISNULL(STATE))
		PG_RETURN_NULL();
	sum = (InvoiceSum *) PG_GETARG_POINTER(STATE);
	values[0] = Int32GetDatum(sum->count);
	values[1] = PointerGetDatum(billing_amount_make_checked(sum->subtotal, sum->currency));
	values[2] = PointerGetDatum(billing_amount_make_checked(sum->subtotal - sum->deferred, sum->currency));
	values[3] = PointerGetDatum(billing_amount_make_checked(sum->deferred, sum->currency));
	appendStringInfoChar(&sum->text, ']');
	values[4] = PointerGetDatum(cstring_to_text_with_len(sum->text.data, sum->text.len));
	values[5] = finish_lines(sum);
	return HeapTupleGetDatum(heap_form_tuple(result_type(fcinfo), values, nulls));
}

static Datum
finish_lines(InvoiceSum *sum)
{
	ArrayType  *array = (ArrayType *) sum->lines.data;
	HeapTupleHeader first = (HeapTupleHeader) (sum->lines.data + ARR_OVERHEAD_NONULLS(1));

	SET_VARSIZE(array, sum->lines.len);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = HeapTupleHeaderGetTypeId(first);
	ARR_DIMS(array)[0] = sum->count;
	ARR_LBOUND(array)[0] = 1;
	return PointerGetDatum(array);
}

static TupleDesc
result_type(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc	tupdesc;

		if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		fcinfo->flinfo->fn_extra = BlessTupleDesc(tupdesc);
		MemoryContextSwitchTo(old);
	}
	return fcinfo->flinfo->fn_extra;
}
