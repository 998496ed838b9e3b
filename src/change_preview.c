/*-------------------------------------------------------------------------
 *
 * change_preview.c
 *	  What a change of plan would cost, by making it and taking it back.
 *
 * The change is made in a subtransaction that is rolled back, by the function that makes
 * changes: a preview cannot differ from what it previews.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/resowner.h"

#include "flow.h"
#include "id.h"
#include "spi.h"

BILLING_FUNCTION(billing_preview_change);

static ErrorData *try_change(FunctionCallInfo fcinfo);
static void change_and_show(FunctionCallInfo fcinfo);
static Datum read_open(Datum *key);
static void change(FunctionCallInfo fcinfo);
static void put_effect(FunctionCallInfo fcinfo, Datum *key, int64 since, Datum before);

/*
 * billing_preview_change
 *		The credits and charges of billing.change_plan with the same arguments, now.
 */
Datum
billing_preview_change(PG_FUNCTION_ARGS)
{
	ErrorData  *error;

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "subscription_id");
	billing_flow_check_caller(PG_GETARG_INT64(0));
	InitMaterializedSRF(fcinfo, 0);
	error = try_change(fcinfo);
	if (error != NULL)
		ReThrowError(error);
	return (Datum) 0;
}

/* Whatever comes of it, nothing of it stays; an error is returned. */
static ErrorData *
try_change(FunctionCallInfo fcinfo)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		billing_spi_begin();
		change_and_show(fcinfo);
		billing_spi_end();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

static void
change_and_show(FunctionCallInfo fcinfo)
{
	Datum		key[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	int64		since = billing_id_next();
	Datum		before = read_open(key);

	change(fcinfo);
	put_effect(fcinfo, key, since, before);
}

static Datum
read_open(Datum *key)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(jsonb_agg(o), '[]') FROM billing.open_charges($1, $2) o",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	MemoryContext context = CurrentMemoryContext;

	(void) billing_spi_run(&query, key, NULL);
	return billing_spi_copy(0, 1, context);
}

static void
change(FunctionCallInfo fcinfo)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.change_plan($1, $2, $3, $4, 'now', $5, $6)",
		.expected = SPI_OK_SELECT,
		.nargs = 6,
		.argtypes = {INT8OID, INT8OID, TEXTOID, INT4OID, TEXTOID, INTERVALOID},
	};
	Datum		args[6];
	char		nulls[6];

	for (int i = 0; i < lengthof(args); i++)
	{
		args[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	(void) billing_spi_run(&query, args, nulls);
}

static void
put_effect(FunctionCallInfo fcinfo, Datum *key, int64 since, Datum before)
{
	static BillingQuery query = {
		.sql = "SELECT kind, price_code, description, quantity, amount, period_start, period_end"
		"  FROM billing.change_effect($1, $2, $3, $4)",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, INT8OID, JSONBOID},
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		args[] = {key[0], key[1], Int64GetDatum(since), before};
	uint64		count = billing_spi_run(&query, args, NULL);

	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
}
