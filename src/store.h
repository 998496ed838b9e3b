/*-------------------------------------------------------------------------
 *
 * store.h
 *	  Rows made in C that SQL reads as a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_STORE_H
#define BILLING_STORE_H

#include "utils/tuplestore.h"

#include "spi.h"

typedef struct BillingStore
{
	const char *name;
	TupleDesc	tupdesc;
	Tuplestorestate *rows;
	int64		count;
	bool		is_shown;
	int			filled;			/* values of the row at hand */
	Datum	   *values;
	bool	   *nulls;
} BillingStore;

typedef struct BillingStoreColumn
{
	const char *name;
	Oid			type;
} BillingStoreColumn;

/* A store with these columns (text compares by bytes), or with columns (names, comma between them) of a table of ours. */
extern BillingStore *billing_store_make(const char *name, const BillingStoreColumn *columns, int ncolumns);
extern BillingStore *billing_store_make_like(const char *name, const char *table, const char *columns);

/* The same, with one behind them that the table has not. */
extern BillingStore *billing_store_make_beside(const char *name, const char *table, const char *columns,
											   const BillingStoreColumn *last);

/* The next value of the row at hand; the row is stored, copied, with its last value. */
extern void billing_store_put(BillingStore *store, Datum value, bool isnull);

/* Fill it with what a query that only reads returns, under the active snapshot. */
extern void billing_store_fill(BillingStore *store, BillingQuery *query, Datum *args, const char *nulls);

/* Let statements of the SPI connection read it by its name. */
extern void billing_store_show(BillingStore *store);

/* Run a statement of no parameters that reads it by its name, if it has rows; under the active snapshot. */
extern void billing_store_run(BillingStore *store, BillingQuery *query);

/* Let go of it, and of the file that it may have grown into; an error does so too. */
extern void billing_store_end(BillingStore *store);

#endif							/* BILLING_STORE_H */
