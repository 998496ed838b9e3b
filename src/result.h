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

/* The row type of so many columns that a function returns; looked up once, and kept in its fn_extra. */
extern TupleDesc billing_result_type(FunctionCallInfo fcinfo, int columns);

/* A row of that type. */
extern Datum billing_result_make(FunctionCallInfo fcinfo, int columns, Datum *values, bool *nulls);

#endif							/* BILLING_RESULT_H */
