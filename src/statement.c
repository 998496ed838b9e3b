/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  What is read of one tenant or one invoice, or that there is none.
 *
 * A reader that finds no row cannot tell an id that is wrong from one of which there is nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"

#include "flow.h"
#include "result.h"
#include "spi.h"

BILLING_FUNCTION(billing_tenant_statement);
BILLING_FUNCTION(billing_creditable_lines);
BILLING_FUNCTION(billing_invoice_funds);

static void put_of_invoice(FunctionCallInfo fcinfo, BillingQuery *query);

/*
 * billing_tenant_statement
 *		The rows of billing.statement_entries, or that there is no such tenant.
 */
Datum
billing_tenant_statement(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT e.* FROM billing.statement_entries($1, $2, $3) e",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 3,
		.argtypes = {INT8OID, TSTZRANGEOID, TEXTOID},
	};

	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_spi_begin();
	billing_flow_find_tenant(PG_GETARG_INT64(0));
	billing_result_rows(fcinfo, &query);
	billing_spi_end();
	return (Datum) 0;
}

/*
 * billing_creditable_lines
 *		The rows of billing.credited_lines, or that there is no such invoice.
 */
Datum
billing_creditable_lines(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT l.* FROM billing.credited_lines($1, $2) l",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	put_of_invoice(fcinfo, &query);
	return (Datum) 0;
}

/*
 * billing_invoice_funds
 *		The row of billing.settled_funds, or that there is no such invoice.
 */
Datum
billing_invoice_funds(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "SELECT f.* FROM billing.settled_funds($1, $2) f",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};

	put_of_invoice(fcinfo, &query);
	return (Datum) 0;
}

static void
put_of_invoice(FunctionCallInfo fcinfo, BillingQuery *query)
{
	billing_flow_require(fcinfo, 0, "tenant_id");
	billing_flow_require(fcinfo, 1, "invoice_id");
	billing_spi_begin();
	billing_flow_find_invoice(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	billing_result_rows(fcinfo, query);
	billing_spi_end();
}
