/*-------------------------------------------------------------------------
 *
 * strategy.c
 *	  Custom pricing: a function that a superuser registered.
 *
 * Whoever calls, the function runs as its own owner, in a security-restricted
 * operation and with a fixed search_path, as the functions of an index do.  So a
 * role that may change the function's text gains nothing that it did not have:
 * neither the rights of who bills nor those of the extension.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "amount.h"
#include "exact.h"
#include "spi.h"

BILLING_FUNCTION(billing_charge_strategy);
BILLING_FUNCTION(billing_strategy_guard);

/* A registered function, looked up. */
typedef struct Strategy
{
	const char *code;
	const char *name;			/* of its function, as registered */
	Oid			function;
	Oid			owner;
} Strategy;

static void find_strategy(Strategy *strategy);
static void find_function(Strategy *strategy);
static List *split_name(const Strategy *strategy);
static Numeric call_as_owner(const Strategy *strategy, Datum quantity, Datum parameters);
static Datum call_function(Oid function, Datum quantity, Datum parameters, bool *isnull);
static void check_name(HeapTuple row, TupleDesc desc);

/*
 * billing_charge_strategy
 *		Price a quantity by a registered function, rounded once.
 */
Datum
billing_charge_strategy(PG_FUNCTION_ARGS)
{
	Strategy	strategy = {.code = text_to_cstring(PG_GETARG_TEXT_PP(0))};
	const BillingCurrency *currency = billing_amount_find_currency(PG_GETARG_TEXT_PP(3));
	Numeric		charge;

	find_strategy(&strategy);
	find_function(&strategy);
	charge = call_as_owner(&strategy, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2));
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_round(charge, currency));
}

/*
 * find_strategy
 *		Read the function's name from billing.strategy.
 */
static void
find_strategy(Strategy *strategy)
{
	static BillingQuery query = {
		.sql = "SELECT function FROM billing.strategy WHERE code = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(strategy->code)};
	MemoryContext caller = CurrentMemoryContext;
	bool		isnull;

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("strategy \"%s\" does not exist", strategy->code),
				 errdetail("strategy=%s", strategy->code),
				 errhint("A superuser registers it in billing.strategy.")));
	strategy->name = MemoryContextStrdup(caller,
										 TextDatumGetCString(billing_spi_value(0, 1, &isnull)));
	billing_spi_end();
}

/*
 * find_function
 *		Look the function up by the name registered, and hold it to the contract.
 *
 * At each call, not at registration: the function may have been changed since,
 * and a restore may load the row before it.
 */
static void
find_function(Strategy *strategy)
{
	Oid			argtypes[] = {NUMERICOID, JSONBOID};
	List	   *names = split_name(strategy);
	HeapTuple	tuple;
	Form_pg_proc proc;

	strategy->function = LookupFuncName(names, lengthof(argtypes), argtypes, true);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(strategy->function));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function of strategy \"%s\" does not exist", strategy->code),
				 errdetail("function=%s", strategy->name),
				 errhint("It takes (quantity numeric, parameters jsonb) and returns numeric.")));

	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prokind != PROKIND_FUNCTION || proc->prorettype != NUMERICOID || proc->proretset ||
		proc->provolatile != PROVOLATILE_IMMUTABLE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function of strategy \"%s\" must be immutable and return numeric",
						strategy->code),
				 errdetail("function=%s", strategy->name),
				 errhint("Declare it IMMUTABLE and RETURNS numeric: an invoice must be recomputable.")));

	strategy->owner = proc->proowner;
	ReleaseSysCache(tuple);
}

/*
 * split_name
 *		The schema and the name of the function, or an error.
 *
 * Not pg_temp: there each caller would find a function of its own, and set the
 * price.
 */
static List *
split_name(const Strategy *strategy)
{
	List	   *parts;

	if (!SplitIdentifierString(pstrdup(strategy->name), '.', &parts) || list_length(parts) != 2 ||
		strcmp(linitial(parts), "pg_temp") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("function of strategy \"%s\" must be named with its schema", strategy->code),
				 errdetail("function=%s", strategy->name),
				 errhint("Register it as schema.function, without arguments.")));
	return list_make2(makeString(linitial(parts)), makeString(lsecond(parts)));
}

/*
 * call_as_owner
 *		Run the function with its owner's rights and none of the caller's.
 *
 * Settings it changes are undone.  An error leaves by way of the transaction's
 * or subtransaction's abort, which restores user and settings alike.
 */
static Numeric
call_as_owner(const Strategy *strategy, Datum quantity, Datum parameters)
{
	Oid			caller;
	int			context;
	int			nestlevel;
	Datum		result;
	bool		isnull;

	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(strategy->owner,
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	nestlevel = NewGUCNestLevel();
	billing_restrict_search_path();

	result = call_function(strategy->function, quantity, parameters, &isnull);

	AtEOXact_GUC(false, nestlevel);
	SetUserIdAndSecContext(caller, context);

	if (isnull || numeric_is_nan(DatumGetNumeric(result)) || numeric_is_inf(DatumGetNumeric(result)))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("strategy \"%s\" returned no finite number", strategy->code),
				 errdetail("function=%s", strategy->name),
				 errhint("Return a number for every quantity, also for 0.")));
	return DatumGetNumeric(result);
}

/*
 * call_function
 *		Call a function that may return NULL.
 */
static Datum
call_function(Oid function, Datum quantity, Datum parameters, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo	flinfo;
	Datum		result;

	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = quantity;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = parameters;
	fcinfo->args[1].isnull = false;
	result = FunctionCallInvoke(fcinfo);
	*isnull = fcinfo->isnull;
	return result;
}

/*
 * billing_strategy_guard
 *		Let only a superuser write billing.strategy, and only names that can be one.
 *
 * Whoever registers a function decides what is run in every bill.  A grant on the
 * table does not suffice, so that a role of level admin cannot.  The name is judged
 * by its form alone: a restore may load the row before the function.
 */
Datum
billing_strategy_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	row;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "billing_strategy_guard was not called as a trigger");
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to change billing.strategy"),
				 errdetail("A strategy is run in every bill that names it."),
				 errhint("Ask a superuser to register the function.")));

	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_trigtuple);
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	check_name(row, RelationGetDescr(trigger->tg_relation));
	return PointerGetDatum(row);
}

static void
check_name(HeapTuple row, TupleDesc desc)
{
	Strategy	strategy = {.code = SPI_getvalue(row, desc, 1), .name = SPI_getvalue(row, desc, 2)};

	if (strategy.code != NULL && strategy.name != NULL)
		(void) split_name(&strategy);
}
