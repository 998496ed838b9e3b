/*-------------------------------------------------------------------------
 *
 * check_limit.c
 *	  May a tenant use more of a meter?
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "exact.h"
#include "flow.h"
#include "result.h"
#include "spi.h"

BILLING_FUNCTION(billing_check_limit);

#define RESULT_COLUMNS 8

static void check_quantity(Numeric quantity);

/*
 * billing_check_limit
 *		Compare what was used with what may be, by usage as it is recorded up to now.
 *
 * It reads and does not reserve: what must not be passed by two at once is for
 * enforce_limit.  Usage that has happened is recorded all the same, since it has to be
 * billed.
 */
Datum
billing_check_limit(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT t.status = 'active' AND CASE WHEN l.per IS NULL THEN billing.is_served(t.tenant_id)"
		"      ELSE NOT (l.is_passed AND l.kind = 'hard') END,"
		"    CASE WHEN t.status <> 'active' THEN t.status WHEN l.is_passed THEN l.kind || '_limit'"
		"      WHEN l.per IS NULL AND NOT billing.is_served(t.tenant_id) THEN 'no_subscription' END,"
		"    l.kind, l.per, l.used, l.quantity,"
		"    CASE WHEN l.quantity IS NOT NULL THEN greatest(l.quantity - coalesce(l.used, 0), 0) END, l.resets_at"
		"  FROM billing.tenant t"
		"  LEFT JOIN LATERAL ("
		"    SELECT b.*, coalesce(b.used_then > b.quantity, false) AS is_passed"
		"    FROM (SELECT l.per, l.kind, l.quantity, u.used, u.resets_at, CASE u.aggregation"
		"          WHEN 'max' THEN greatest(u.used, $3) WHEN 'latest' THEN $3 ELSE coalesce(u.used, 0) + $3 END AS used_then"
		"        FROM billing.entitlement_limit l"
		"        LEFT JOIN billing.usage_status u ON u.tenant_id = $1 AND u.meter = $2 AND u.per = l.per"
		"        WHERE l.tenant_id = $1 AND l.meter = $2 AND l.starts_at <= billing.now() AND l.ends_at > billing.now()) b"
		"    ORDER BY coalesce(b.used_then > b.quantity AND b.kind = 'hard', false) DESC,"
		"      coalesce(b.used_then > b.quantity, false) DESC, b.quantity - b.used_then"
		"    LIMIT 1) l ON true"
		"  WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, NUMERICOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		args[3];
	Datum		values[RESULT_COLUMNS];
	bool		nulls[RESULT_COLUMNS];

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "meter");
	billing_flow_require(fcinfo, 2, "quantity");
	check_quantity(PG_GETARG_NUMERIC(2));
	for (int i = 0; i < lengthof(args); i++)
		args[i] = PG_GETARG_DATUM(i);

	billing_spi_begin();
	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("tenant", PG_GETARG_INT64(0), NULL);
	for (int i = 0; i < RESULT_COLUMNS; i++)
	{
		(void) billing_spi_value(0, i + 1, &nulls[i]);
		values[i] = billing_spi_copy(0, i + 1, caller);
	}
	billing_spi_end();
	PG_RETURN_DATUM(billing_result_make(fcinfo, lengthof(values), values, nulls));
}

static void
check_quantity(Numeric quantity)
{
	Datum		nothing = DirectFunctionCall1(int8_numeric, Int64GetDatum(0));

	if (!numeric_is_nan(quantity) && !numeric_is_inf(quantity) &&
		!DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(quantity), nothing)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("quantity must be finite and not negative"),
			 errdetail("argument=quantity value=%s", DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(quantity)))),
			 errhint("Give how much more is to be used.")));
}
