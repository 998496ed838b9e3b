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

typedef struct BillingStore
{
	const char *name;
	TupleDesc	tupdesc;
	Tuplestorestate *rows;
	int64		count;
	int			filled;			/* values of the row at hand */
	Datum	   *values;
	bool	   *nulls;
} BillingStore;

typedef struct BillingStoreColumn
{
	const char *name;
	Oid			type;
} BillingStoreColumn;

/* A store with these columns, or with columns (names, comma between them) of a table of ours. */
extern BillingStore *billing_store_make(const char *name, const BillingStoreColumn *columns, int ncolumns);
extern BillingStore *billing_store_make_like(const char *name, const char *table, const char *columns);

/* The next value of the row at hand; the row is stored, copied, with its last value. */
extern void billing_store_put(BillingStore *store, Datum value, bool isnull);

/* Let statements of the SPI connection read it by its name, as long as that is open. */
extern void billing_store_show(BillingStore *store);

#endif							/* BILLING_STORE_H */
