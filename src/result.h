/*-------------------------------------------------------------------------
 *
 * result.h
 *	  Rows as results of functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_RESULT_H
#define BILLING_RESULT_H

#include "access/tupdesc.h"

#include "spi.h"

/* The row type of so many columns that a function returns; looked up once, and kept in its fn_extra. */
extern TupleDesc billing_result_type(FunctionCallInfo fcinfo, int columns);

/* A row of that type. */
extern Datum billing_result_make(FunctionCallInfo fcinfo, int columns, Datum *values, bool *nulls);

/* Return the rows of a query whose parameters are the function's arguments, and whose columns are its; tells how many. */
extern uint64 billing_result_rows(FunctionCallInfo fcinfo, BillingQuery *query);

#endif							/* BILLING_RESULT_H */
