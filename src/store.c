/*-------------------------------------------------------------------------
 *
 * store.c
 *	  Rows made in C that SQL reads as a table: what a trigger's transition table is.
 *
 * So a statement works on a set that C calculated, as flat rows: no array of
 * composites to be taken apart, and nothing to be planned anew.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_type_d.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "store.h"

/*
 * How many rows the planner expects, whatever they are: its plan is kept, and one that is
 * right for many is right for one.
 */
#define MANY 10000

static BillingStore *make(const char *name, int ncolumns);
static void add_column(BillingStore *store, int i, Relation table, const char *column);

BillingStore *
billing_store_make(const char *name, const BillingStoreColumn *columns, int ncolumns)
{
	BillingStore *store = make(name, ncolumns);

	for (int i = 0; i < ncolumns; i++)
	{
		TupleDescInitEntry(store->tupdesc, i + 1, columns[i].name, columns[i].type, -1, 0);
		if (columns[i].type == TEXTOID)
			TupleDescInitEntryCollation(store->tupdesc, i + 1, C_COLLATION_OID);
	}
	return store;
}

BillingStore *
billing_store_make_like(const char *name, const char *table, const char *columns)
{
	return billing_store_make_beside(name, table, columns, NULL);
}

BillingStore *
billing_store_make_beside(const char *name, const char *table, const char *columns, const BillingStoreColumn *last)
{
	Relation	relation = table_open(get_relname_relid(table, get_namespace_oid("billing", false)), AccessShareLock);
	List	   *names;
	BillingStore *store;
	ListCell   *cell;

	if (!SplitIdentifierString(pstrdup(columns), ',', &names))
		elog(ERROR, "\"%s\" are no columns", columns);
	store = make(name, list_length(names) + (last != NULL ? 1 : 0));
	foreach(cell, names)
		add_column(store, foreach_current_index(cell), relation, lfirst(cell));
	if (last != NULL)
		TupleDescInitEntry(store->tupdesc, list_length(names) + 1, last->name, last->type, -1, 0);
	table_close(relation, NoLock);
	return store;
}

static BillingStore *
make(const char *name, int ncolumns)
{
	BillingStore *store = palloc0(sizeof(BillingStore));

	store->name = name;
	store->tupdesc = CreateTemplateTupleDesc(ncolumns);
	store->rows = tuplestore_begin_heap(false, false, work_mem);
	store->values = palloc(ncolumns * sizeof(Datum));
	store->nulls = palloc(ncolumns * sizeof(bool));
	return store;
}

static void
add_column(BillingStore *store, int i, Relation table, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(table), column);

	if (attnum == InvalidAttrNumber)
		elog(ERROR, "table \"%s\" has no column \"%s\"", RelationGetRelationName(table), column);
	TupleDescCopyEntry(store->tupdesc, i + 1, RelationGetDescr(table), attnum);
}

void
billing_store_put(BillingStore *store, Datum value, bool isnull)
{
	store->values[store->filled] = value;
	store->nulls[store->filled] = isnull;
	if (++store->filled < store->tupdesc->natts)
		return;
	tuplestore_putvalues(store->rows, store->tupdesc, store->values, store->nulls);
	store->filled = 0;
	store->count++;
}

void
billing_store_fill(BillingStore *store, BillingQuery *query, Datum *args, const char *nulls)
{
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(dest, store->rows, CurrentMemoryContext, false, store->tupdesc,
									"the query does not return the columns of the store");
	store->count = billing_spi_run_into(query, args, nulls, dest);
	dest->rDestroy(dest);
}

void
billing_store_show(BillingStore *store)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));
	int			ret;

	Assert(store->filled == 0);
	enr->md.name = pstrdup(store->name);
	enr->md.tupdesc = store->tupdesc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = MANY;
	enr->reldata = store->rows;
	ret = SPI_register_relation(enr);
	if (ret != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not show \"%s\": %s", store->name, SPI_result_code_string(ret));
	store->is_shown = true;
}

void
billing_store_run(BillingStore *store, BillingQuery *query)
{
	if (store->count == 0)
		return;
	billing_store_show(store);
	(void) billing_spi_run_snapshot(query, NULL, NULL);
}

void
billing_store_end(BillingStore *store)
{
	if (store->is_shown)
		(void) SPI_unregister_relation(store->name);
	tuplestore_end(store->rows);
	pfree(store);
}
