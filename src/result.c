/*-------------------------------------------------------------------------
 *
 * result.c
 *	  Rows as results of functions.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "funcapi.h"

#include "result.h"

TupleDesc
billing_result_type(FunctionCallInfo fcinfo, int columns)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc	tupdesc;

		if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE || tupdesc->natts != columns)
			elog(ERROR, "return type must be a row type of %d columns", columns);
		fcinfo->flinfo->fn_extra = BlessTupleDesc(tupdesc);
		MemoryContextSwitchTo(old);
	}
	return fcinfo->flinfo->fn_extra;
}

Datum
billing_result_make(FunctionCallInfo fcinfo, int columns, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(billing_result_type(fcinfo, columns), values, nulls));
}

uint64
billing_result_rows(FunctionCallInfo fcinfo, BillingQuery *query)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		args[FUNC_MAX_ARGS];
	char		nulls[FUNC_MAX_ARGS];
	uint64		count;

	for (int i = 0; i < query->nargs; i++)
	{
		args[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	InitMaterializedSRF(fcinfo, 0);
	count = billing_spi_run(query, args, nulls);
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	return count;
}
