/*-------------------------------------------------------------------------
 *
 * row.c
 *	  Rows read, locked and written without a statement.
 *
 * What the executor does for a statement that writes one row is mostly to make ready for it: it
 * parses the CHECKs, generated columns and index predicates of the table again, each time, from
 * their text.  Here that is kept, and the executor's own functions apply it: CHECK, NOT NULL,
 * generated columns, uniqueness and every index hold as they do in SQL, for constraints and
 * indexes of the user's too.
 *
 * Kept is what a plan cache could keep, for one user, until PostgreSQL says that the table, an
 * index of it, or any function, type or constraint has changed; and not across an error, which
 * may have come while it was made.
 *
 * What would make a statement do more than is done here is an obstacle: a trigger that would
 * fire, a rule, another access method, children, forced row security, another owner, columns that we
 * do not know, an index that is no btree, an expression that calls a function which is neither PostgreSQL's
 * nor ours and might run SQL, for which a statement pins the search_path; and, of the transaction, one snapshot for all, being
 * read-only or parallel, or an extension that asks to be told who touches a table.  Foreign keys
 * are the caller's: it inserts rows whose parents it has locked, or read under the lock of their
 * tenant, and changes no column of a key.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class_d.h"
#include "catalog/pg_language_d.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger_d.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "row.h"
#include "spi.h"

#define SCHEMA "billing"

/* What is kept of a table, and what is open of it while there is work. */
typedef struct BillingRowState
{
	bool		is_valid;
	Oid			user;
	Oid			relid;
	List	   *indexes;		/* oids of all of them */
	MemoryContext context;		/* of that and what follows */
	const char *obstacle;		/* NULL: none */
	AttrNumber	columns[BILLING_ROW_MAX_COLUMNS];
	Oid			lookup;			/* the index of the table's that was asked for */
	List	   *arbiters;		/* that, of a table that is inserted into */
	EState	   *estate;			/* NULL of a table that is only read */
	ResultRelInfo *result;
	ExprState  *checks;			/* all that a row must pass, in one; NULL: nothing */
	TupleDesc	tupdesc;		/* a copy */
	TupleTableSlot *row;		/* at hand */
	TupleTableSlot *kept;
	TupleTableSlot *written;

	Relation	relation;		/* NULL: it is not open */
	Relation	index;
	IndexScanDesc scan;

	struct BillingRowState *next;
} BillingRowState;

static BillingRowState *states = NULL;
static bool is_running = false;

static bool may_run(void);
static bool open_tables(BillingRowTable *const *tables, int ntables);
static bool open_table(BillingRowTable *table);
static bool is_current(const BillingRowState *state);
static bool open_lookup(BillingRowTable *table);
static bool is_for_snapshot(Relation index);
static void close_tables(BillingRowTable *const *tables, int ntables);
static void close_table(BillingRowTable *table);
static void clear_slot(TupleTableSlot *slot);
static void forget_all(void);
static void prepare(BillingRowTable *table, Relation relation);
static BillingRowState *make_state(void);
static void invalidate_relation(Datum arg, Oid relid);
static void invalidate_all(Datum arg, int cache, uint32 hash);
static const char *find_obstacle(BillingRowTable *table, Relation relation);
static const char *find_columns(BillingRowTable *table, Relation relation);
static const char *find_lookup(BillingRowTable *table, Relation relation);
static bool is_lookup(const BillingRowTable *table, Relation index);
static const char *prepare_writes(BillingRowTable *table, Relation relation);
static ExprState *combine_checks(const BillingRowTable *table, Relation relation);
static bool is_changed(const BillingRowTable *table, Relation relation, Node *expression);
static Bitmapset *changed_columns(const BillingRowTable *table, Relation relation);
static bool is_odd_index(Relation index);
static bool has_foreign_function(Relation relation, const ResultRelInfo *result);
static bool calls_foreign_function(Node *node, void *context);
static bool is_foreign_function(Oid function, void *context);
static bool is_compared_by_foreign_function(Relation index);
static const char *find_trigger(const BillingRowTable *table, Relation relation);
static bool is_fired_by_insert(const Trigger *trigger);
static bool is_fired_by_update(const BillingRowTable *table, Relation relation, const Trigger *trigger);
static bool is_in_key(const BillingRowTable *table, Relation relation);
static TupleTableSlot *make_slot(BillingRowState *state, const TupleTableSlotOps *operations);
static void end_scan(BillingRowState *state);
static TupleTableSlot *clear(BillingRowState *state);
static void complete(BillingRowState *state);
static bool lacks_value(const BillingRowState *state);
static bool passes_checks(const BillingRowState *state);
static void open_indexes(BillingRowState *state);
static bool has_row(BillingRowState *state, IndexInfo *index);

/*
 * billing_row_run
 *		See row.h.
 *
 * What goes before can be locked, and is seen from the lock on; what is written is seen by what comes after.
 */
bool
billing_row_run(BillingRowTable *const *tables, int ntables, BillingRowWork work, void *arg)
{
	volatile bool done = false;

	if (!may_run())
		return false;

	is_running = true;
	PG_TRY();
	{
		if (open_tables(tables, ntables))
		{
			CommandCounterIncrement();
			PushActiveSnapshot(GetActiveSnapshot());
			done = work(arg);
			PopActiveSnapshot();
			CommandCounterIncrement();
		}
		close_tables(tables, ntables);
	}
	PG_CATCH();
	{
		is_running = false;
		forget_all();
		PG_RE_THROW();
	}
	PG_END_TRY();
	is_running = false;
	return done;
}

/*
 * may_run
 *		Of the transaction: is there nothing against it?
 *
 * A CHECK whose function comes here again finds it running.
 */
static bool
may_run(void)
{
	return !is_running && !IsolationUsesXactSnapshot() && !XactReadOnly && !IsInParallelMode() &&
		ExecutorCheckPerms_hook == NULL && object_access_hook == NULL;
}

static bool
open_tables(BillingRowTable *const *tables, int ntables)
{
	for (int i = 0; i < ntables; i++)
	{
		if (!open_table(tables[i]))
			return false;
	}
	return true;
}

/*
 * open_table
 *		Open a table with its indexes and lock it as a statement would; false if there is an
 *		obstacle.
 *
 * Who locks a table learns what others have changed, and they change it no more until this
 * transaction ends.
 */
static bool
open_table(BillingRowTable *table)
{
	LOCKMODE	lock = table->command == CMD_SELECT ? RowShareLock : RowExclusiveLock;
	Relation	relation = NULL;
	BillingRowState *state;

	if (is_current(table->state))
		relation = try_table_open(table->state->relid, lock);
	if (relation != NULL && !is_current(table->state))
	{
		table_close(relation, lock);
		relation = NULL;
	}
	if (relation == NULL)
	{
		relation = table_openrv(makeRangeVar(SCHEMA, pstrdup(table->name), -1), lock);
		prepare(table, relation);
	}
	state = table->state;
	state->relation = relation;
	if (state->obstacle != NULL)
	{
		ereport(DEBUG1,
				(errmsg_internal("rows of table \"%s\" are left to SQL statements", table->name),
				 errdetail_internal("It has %s.", state->obstacle)));
		return false;
	}
	if (table->command != CMD_SELECT)
		state->result->ri_RelationDesc = relation;
	return open_lookup(table) && state->is_valid;
}

static bool
is_current(const BillingRowState *state)
{
	return state != NULL && state->is_valid && state->user == GetUserId();
}

/* The index by which rows are found; false if some may not be. */
static bool
open_lookup(BillingRowTable *table)
{
	BillingRowState *state = table->state;
	LOCKMODE	lock = table->command == CMD_SELECT ? AccessShareLock : RowExclusiveLock;

	if (!OidIsValid(state->lookup) || table->command == CMD_INSERT)
		return true;
	state->index = index_open(state->lookup, lock);
	return is_for_snapshot(state->index);
}

/* As the planner asks: might there be rows in old versions that the index does not lead to? */
static bool
is_for_snapshot(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin);
}

static void
close_tables(BillingRowTable *const *tables, int ntables)
{
	for (int i = 0; i < ntables; i++)
	{
		if (tables[i]->state != NULL && tables[i]->state->relation != NULL)
			close_table(tables[i]);
	}
}

/* Locks stay until the transaction ends. */
static void
close_table(BillingRowTable *table)
{
	BillingRowState *state = table->state;

	end_scan(state);
	clear_slot(state->row);
	clear_slot(state->kept);
	clear_slot(state->written);
	if (state->index != NULL)
		index_close(state->index, NoLock);
	for (int i = 0; state->result != NULL && i < state->result->ri_NumIndices; i++)
	{
		if (state->result->ri_IndexRelationDescs[i] != NULL)
			index_close(state->result->ri_IndexRelationDescs[i], NoLock);
		state->result->ri_IndexRelationDescs[i] = NULL;
	}
	table_close(state->relation, NoLock);
	state->relation = state->index = NULL;
}

static void
clear_slot(TupleTableSlot *slot)
{
	if (slot != NULL)
		ExecClearTuple(slot);
}

/* What is open an error has closed, or will. */
static void
forget_all(void)
{
	for (BillingRowState *state = states; state != NULL; state = state->next)
	{
		state->is_valid = false;
		state->relation = state->index = NULL;
		state->scan = NULL;
		state->row = state->kept = state->written = NULL;
	}
}

/*
 * prepare
 *		Find out what there is to know of a table, which is open and locked.
 *
 * It is valid from the start, so that what changes while it is made is not missed.  Names of types
 * depend on the path.
 */
static void
prepare(BillingRowTable *table, Relation relation)
{
	BillingRowState *state = table->state;
	int			level = billing_spi_pin();
	MemoryContext old;

	if (state == NULL)
		state = table->state = make_state();
	if (state->context != NULL)
		MemoryContextDelete(state->context);
	state->estate = NULL;
	state->result = NULL;
	state->checks = NULL;
	state->row = state->kept = state->written = NULL;
	state->lookup = InvalidOid;
	state->indexes = state->arbiters = NIL;
	state->context = AllocSetContextCreate(TopMemoryContext, "billing rows", ALLOCSET_SMALL_SIZES);
	MemoryContextSetIdentifier(state->context, table->name);

	old = MemoryContextSwitchTo(state->context);
	state->user = GetUserId();
	state->relid = RelationGetRelid(relation);
	state->is_valid = true;
	state->tupdesc = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	state->indexes = RelationGetIndexList(relation);
	state->obstacle = find_obstacle(table, relation);
	MemoryContextSwitchTo(old);
	billing_spi_unset(level);
}

/*
 * make_state
 *		A state that is told what changes.
 *
 * Expressions hold on to functions, types and, of domains, constraints.
 */
static BillingRowState *
make_state(void)
{
	BillingRowState *state = MemoryContextAllocZero(TopMemoryContext, sizeof(BillingRowState));

	if (states == NULL)
	{
		CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, invalidate_all, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, invalidate_all, (Datum) 0);
		CacheRegisterSyscacheCallback(CONSTROID, invalidate_all, (Datum) 0);
	}
	state->next = states;
	states = state;
	return state;
}

/* InvalidOid: all of them. */
static void
invalidate_relation(Datum arg, Oid relid)
{
	for (BillingRowState *state = states; state != NULL; state = state->next)
	{
		if (relid == InvalidOid || relid == state->relid || list_member_oid(state->indexes, relid))
			state->is_valid = false;
	}
}

static void
invalidate_all(Datum arg, int cache, uint32 hash)
{
	invalidate_relation(arg, InvalidOid);
}

/*
 * find_obstacle
 *		What a statement would do, or be refused, that is not done here; NULL if nothing is.
 */
static const char *
find_obstacle(BillingRowTable *table, Relation relation)
{
	Form_pg_class form = relation->rd_rel;
	const char *obstacle;

	if (form->relkind != RELKIND_RELATION || form->relam != HEAP_TABLE_AM_OID)
		return "another way to store rows";
	if (form->relispartition || form->relhassubclass)
		return "a parent or children";
	if (relation->rd_rules != NULL)
		return "rules";
	if (form->relforcerowsecurity || form->relowner != GetUserId())
		return "another owner, or row security for its owner";
	obstacle = find_columns(table, relation);
	if (obstacle == NULL && table->index != NULL)
		obstacle = find_lookup(table, relation);
	if (obstacle == NULL && table->command != CMD_SELECT)
		obstacle = prepare_writes(table, relation);
	return obstacle;
}

static const char *
find_columns(BillingRowTable *table, Relation relation)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);
	int			count = 0;

	Assert(table->ncolumns <= BILLING_ROW_MAX_COLUMNS);
	for (int i = 0; i < table->ncolumns; i++)
	{
		AttrNumber	number = get_attnum(RelationGetRelid(relation), table->columns[i].name);

		if (number == InvalidAttrNumber ||
			strcmp(format_type_be(TupleDescAttr(tupdesc, number - 1)->atttypid), table->columns[i].type) != 0)
			return psprintf("another column \"%s\"", table->columns[i].name);
		table->state->columns[i] = number;
	}
	for (int i = 0; i < tupdesc->natts; i++)
		count += !TupleDescAttr(tupdesc, i)->attisdropped;
	return table->command == CMD_SELECT || count == table->ncolumns ? NULL : "more columns";
}

static const char *
find_lookup(BillingRowTable *table, Relation relation)
{
	ListCell   *cell;

	foreach(cell, table->state->indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (strcmp(RelationGetRelationName(index), table->index) == 0 && is_lookup(table, index))
			table->state->lookup = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	if (!OidIsValid(table->state->lookup))
		return psprintf("no index \"%s\" as it was", table->index);
	if (table->command == CMD_INSERT)
		table->state->arbiters = list_make1_oid(table->state->lookup);
	return NULL;
}

static bool
is_lookup(const BillingRowTable *table, Relation index)
{
	for (int i = 0; i < table->nkeys; i++)
	{
		if (i >= index->rd_index->indnkeyatts ||
			index->rd_index->indkey.values[i] != table->state->columns[table->keys[i]])
			return false;
	}
	return index->rd_index->indisvalid && (RelationGetIndexPredicate(index) != NIL) == table->is_partial &&
		(table->command != CMD_INSERT || index->rd_index->indisunique);
}

/*
 * prepare_writes
 *		Make what the executor makes for each statement, to be kept.
 *
 * What it needs of expressions it makes when it first comes to them, in the same context.
 */
static const char *
prepare_writes(BillingRowTable *table, Relation relation)
{
	BillingRowState *state = table->state;
	bool		is_odd = false;
	bool		is_foreign;

	state->estate = CreateExecutorState();
	state->result = makeNode(ResultRelInfo);
	InitResultRelInfo(state->result, relation, 0, NULL, 0);
	ExecOpenIndices(state->result, false);
	for (int i = 0; i < state->result->ri_NumIndices; i++)
		is_odd |= is_odd_index(state->result->ri_IndexRelationDescs[i]);
	is_foreign = has_foreign_function(relation, state->result);
	ExecCloseIndices(state->result);
	for (int i = 0; i < state->result->ri_NumIndices; i++)
		state->result->ri_IndexRelationDescs[i] = NULL;
	if (is_odd || state->result->ri_NumIndices != list_length(state->indexes))
		return "an index that is no btree, or checked later";
	if (is_foreign)
		return "a function of somebody else's in a constraint, a generated column or an index";
	if (table->command == CMD_UPDATE && is_in_key(table, relation))
		return "a key of what changes";
	state->checks = combine_checks(table, relation);
	return find_trigger(table, relation);
}

/*
 * combine_checks
 *		The CHECKs that a row might not pass, as one expression; NULL if there is none.
 *
 * To evaluate each by itself costs more than most of them say.  An update leaves what it does not
 * change as it was checked before, but by a constraint that is NOT VALID.
 */
static ExprState *
combine_checks(const BillingRowTable *table, Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	List	   *checks = NIL;

	for (int i = 0; constraints != NULL && i < constraints->num_check; i++)
	{
		const ConstrCheck *check = &constraints->check[i];
		Node	   *expression = stringToNode(check->ccbin);

		if (billing_check_is_enforced(check) &&
			(table->command == CMD_INSERT || !check->ccvalid || is_changed(table, relation, expression)))
			checks = lappend(checks, expression);
	}
	return checks == NIL ? NULL : ExecPrepareCheck(checks, table->state->estate);
}

/* Does an expression over a row depend on a column that changes, or on all? */
static bool
is_changed(const BillingRowTable *table, Relation relation, Node *expression)
{
	Bitmapset  *columns = NULL;

	pull_varattnos(expression, 1, &columns);
	return bms_overlap(columns, changed_columns(table, relation)) ||
		bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
}

/* That which an update changes, and those that are generated. */
static Bitmapset *
changed_columns(const BillingRowTable *table, Relation relation)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);
	Bitmapset  *columns = bms_make_singleton(table->state->columns[table->changed] - FirstLowInvalidHeapAttributeNumber);

	for (int i = 1; i <= tupdesc->natts; i++)
	{
		if (TupleDescAttr(tupdesc, i - 1)->attgenerated != '\0')
			columns = bms_add_member(columns, i - FirstLowInvalidHeapAttributeNumber);
	}
	return columns;
}

/* Other access methods keep what lasts as long as a statement; a btree does not. */
static bool
is_odd_index(Relation index)
{
	return index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indimmediate ||
		index->rd_index->indisexclusion || !index->rd_index->indisready;
}

/*
 * has_foreign_function
 *		Do the expressions of a table and its indexes call functions that might run SQL?
 *
 * They would find it by the path of the caller, with the rights of the owner.
 */
static bool
has_foreign_function(Relation relation, const ResultRelInfo *result)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	for (int i = 0; constraints != NULL && i < constraints->num_check; i++)
	{
		if (calls_foreign_function(stringToNode(constraints->check[i].ccbin), NULL))
			return true;
	}
	for (int i = 0; constraints != NULL && i < constraints->num_defval; i++)
	{
		if (calls_foreign_function(stringToNode(constraints->defval[i].adbin), NULL))
			return true;
	}
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation	index = result->ri_IndexRelationDescs[i];

		if (calls_foreign_function((Node *) RelationGetIndexExpressions(index), NULL) ||
			calls_foreign_function((Node *) RelationGetIndexPredicate(index), NULL) || is_compared_by_foreign_function(index))
			return true;
	}
	return false;
}

static bool
calls_foreign_function(Node *node, void *context)
{
	return node != NULL && (check_functions_in_node(node, is_foreign_function, context) ||
							expression_tree_walker(node, calls_foreign_function, context));
}

static bool
is_foreign_function(Oid function, void *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool		is_foreign;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	is_foreign = form->prolang != INTERNALlanguageId &&
		(form->prolang != ClanguageId || form->pronamespace != get_namespace_oid(SCHEMA, false));
	ReleaseSysCache(tuple);
	return is_foreign;
}

/* Those of its operator classes. */
static bool
is_compared_by_foreign_function(Relation index)
{
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index) * index->rd_indam->amsupport; i++)
	{
		if (OidIsValid(index->rd_support[i]) && is_foreign_function(index->rd_support[i], NULL))
			return true;
	}
	return false;
}

static const char *
find_trigger(const BillingRowTable *table, Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgenabled != TRIGGER_DISABLED &&
			(table->command == CMD_INSERT ? is_fired_by_insert(trigger) : is_fired_by_update(table, relation, trigger)))
			return psprintf("a trigger \"%s\"", trigger->tgname);
	}
	return NULL;
}

/* But for those that only look whether there are parents, or whether this is a restore. */
static bool
is_fired_by_insert(const Trigger *trigger)
{
	const char *name;

	if (!TRIGGER_FOR_INSERT(trigger->tgtype))
		return false;
	if (get_func_namespace(trigger->tgfoid) != get_namespace_oid(SCHEMA, false))
		return true;
	name = get_func_name(trigger->tgfoid);
	return strcmp(name, "check_references") != 0 && strcmp(name, "trust_restore") != 0;
}

/*
 * is_fired_by_update
 *		Does a trigger fire where one column changes, and what is generated from it?
 *
 * Those of foreign keys do nothing where no key changes.
 */
static bool
is_fired_by_update(const BillingRowTable *table, Relation relation, const Trigger *trigger)
{
	if (!TRIGGER_FOR_UPDATE(trigger->tgtype) ||
		(trigger->tgisinternal && RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE))
		return false;
	for (int i = 0; i < trigger->tgnattr; i++)
	{
		if (bms_is_member(trigger->tgattr[i] - FirstLowInvalidHeapAttributeNumber, changed_columns(table, relation)))
			return true;
	}
	return trigger->tgnattr == 0;
}

/* Is the column that changes, or one that is generated, one of a key? */
static bool
is_in_key(const BillingRowTable *table, Relation relation)
{
	Bitmapset  *keys = bms_copy(RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_KEY));
	ListCell   *cell;

	foreach(cell, RelationGetFKeyList(relation))
	{
		ForeignKeyCacheInfo *constraint = lfirst(cell);

		for (int i = 0; i < constraint->nkeys; i++)
			keys = bms_add_member(keys, constraint->conkey[i] - FirstLowInvalidHeapAttributeNumber);
	}
	return bms_overlap(keys, changed_columns(table, relation));
}

void
billing_row_find(BillingRowTable *table, const Datum *keys)
{
	BillingRowState *state = table->state;
	ScanKeyData scankeys[BILLING_ROW_MAX_KEYS];

	end_scan(state);
	if (state->row == NULL)
		state->row = make_slot(state, table_slot_callbacks(state->relation));
	for (int i = 0; i < table->nkeys; i++)
		ScanKeyEntryInitialize(&scankeys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid, state->index->rd_indcollation[i],
							   state->index->rd_opcintype[i] == TEXTOID ? F_TEXTEQ : F_INT8EQ, keys[i]);
	state->scan = billing_index_beginscan(state->relation, state->index, GetActiveSnapshot(), table->nkeys);
	index_rescan(state->scan, scankeys, table->nkeys, NULL, 0);
}

/* A slot that is kept as its table is. */
static TupleTableSlot *
make_slot(BillingRowState *state, const TupleTableSlotOps *operations)
{
	MemoryContext old = MemoryContextSwitchTo(state->context);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(state->tupdesc, operations);

	MemoryContextSwitchTo(old);
	return slot;
}

bool
billing_row_next(BillingRowTable *table)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(table->state->scan, ForwardScanDirection, table->state->row);
}

static void
end_scan(BillingRowState *state)
{
	if (state->scan != NULL)
		index_endscan(state->scan);
	state->scan = NULL;
}

Datum
billing_row_value(BillingRowTable *table, int column, bool *isnull)
{
	return slot_getattr(table->state->row, table->state->columns[column], isnull);
}

Oid
billing_row_type(const BillingRowTable *table, int column)
{
	return TupleDescAttr(RelationGetDescr(table->state->relation), table->state->columns[column] - 1)->atttypid;
}

void
billing_row_keep(BillingRowTable *table)
{
	BillingRowState *state = table->state;

	if (state->kept == NULL)
		state->kept = make_slot(state, table_slot_callbacks(state->relation));
	ExecCopySlot(state->kept, state->row);
}

/*
 * billing_row_lock
 *		See row.h.
 *
 * Whose key somebody changed is gone, too.
 */
bool
billing_row_lock(BillingRowTable *table)
{
	BillingRowState *state = table->state;
	ItemPointerData tid = state->row->tts_tid;
	bool		isnull;
	int64		key = DatumGetInt64(billing_row_value(table, table->keys[0], &isnull));
	TM_FailureData failure;

	end_scan(state);
	if (table_tuple_lock(state->relation, &tid, GetActiveSnapshot(), state->row, GetCurrentCommandId(true),
						 LockTupleNoKeyExclusive, LockWaitBlock,
						 TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS | TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure) != TM_Ok ||
		DatumGetInt64(billing_row_value(table, table->keys[0], &isnull)) != key)
		return false;

	PopActiveSnapshot();
	PushActiveSnapshot(GetLatestSnapshot());
	return true;
}

/*
 * billing_row_insert
 *		See row.h.
 *
 * To look first would be to go down the index twice.  So the row is inserted as ON CONFLICT does
 * it, but that who may have the same key cannot come between: callers hold a lock, and
 * whoever goes without it is one that the index finds.
 */
bool
billing_row_insert(BillingRowTable *table, const Datum *values, const bool *nulls)
{
	BillingRowState *state = table->state;
	TupleTableSlot *slot = clear(state);
	bool		is_known = false;

	for (int i = 0; i < table->ncolumns; i++)
	{
		slot->tts_values[state->columns[i] - 1] = values[i];
		slot->tts_isnull[state->columns[i] - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(slot);
	complete(state);
	table_tuple_insert(state->relation, slot, GetCurrentCommandId(true), 0, NULL);
	open_indexes(state);
	(void) billing_insert_index_tuples(state->result, slot, state->estate, false, state->arbiters == NIL ? NULL : &is_known,
									   state->arbiters);
	ResetPerTupleExprContext(state->estate);
	if (is_known)
		billing_row_undo(table);
	return !is_known;
}

/* A command deletes what one before it inserted. */
void
billing_row_undo(BillingRowTable *table)
{
	BillingRowState *state = table->state;

	CheckCmdReplicaIdentity(state->relation, CMD_DELETE);
	CommandCounterIncrement();
	simple_table_tuple_delete(state->relation, &state->written->tts_tid, GetActiveSnapshot());
}

/* A row of NULLs, as columns are that were dropped. */
static TupleTableSlot *
clear(BillingRowState *state)
{
	TupleTableSlot *slot;

	if (state->written == NULL)
		state->written = make_slot(state, &TTSOpsVirtual);
	slot = ExecClearTuple(state->written);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	return slot;
}

bool
billing_row_update(BillingRowTable *table, Datum value)
{
	BillingRowState *state = table->state;
	TupleTableSlot *old = state->kept;
	TupleTableSlot *slot = clear(state);
	int			changed = state->columns[table->changed] - 1;
	TM_FailureData failure;
	LockTupleMode lock;
	BillingUpdateIndexes update_indexes;

	CheckCmdReplicaIdentity(state->relation, CMD_UPDATE);
	slot_getallattrs(old);
	for (int i = 0; i < table->ncolumns; i++)
	{
		slot->tts_values[state->columns[i] - 1] = old->tts_values[state->columns[i] - 1];
		slot->tts_isnull[state->columns[i] - 1] = old->tts_isnull[state->columns[i] - 1];
	}
	slot->tts_values[changed] = value;
	slot->tts_isnull[changed] = false;
	ExecStoreVirtualTuple(slot);
	complete(state);
	if (table_tuple_update(state->relation, &old->tts_tid, slot, GetCurrentCommandId(true), GetActiveSnapshot(),
						   InvalidSnapshot, true, &failure, &lock, &update_indexes) != TM_Ok)
		return false;
	if (billing_needs_index_tuples(update_indexes))
	{
		open_indexes(state);
		(void) billing_insert_index_tuples(state->result, slot, state->estate, true, NULL, NIL);
	}
	ResetPerTupleExprContext(state->estate);
	return true;
}

/*
 * complete
 *		Generate columns of the row that is to be written, and refuse it if a constraint does.
 *
 * They are generated as for an INSERT: all of them, whatever changes.
 */
static void
complete(BillingRowState *state)
{
	TupleConstr *constraints = RelationGetDescr(state->relation)->constr;

	if (constraints == NULL)
		return;
	if (constraints->has_generated_stored)
		ExecComputeStoredGenerated(state->result, state->estate, state->written, CMD_INSERT);
	if (lacks_value(state) || !passes_checks(state))
		ExecConstraints(state->result, state->written, state->estate);
}

static bool
lacks_value(const BillingRowState *state)
{
	TupleDesc	tupdesc = RelationGetDescr(state->relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (state->written->tts_isnull[i] && TupleDescAttr(tupdesc, i)->attnotnull)
			return true;
	}
	return false;
}

static bool
passes_checks(const BillingRowState *state)
{
	ExprContext *context = GetPerTupleExprContext(state->estate);

	context->ecxt_scantuple = state->written;
	return ExecCheck(state->checks, context);
}

/*
 * open_indexes
 *		Open those that have the row that is written, which a partial one may not.
 *
 * The table is locked, so they are still those that are known.
 */
static void
open_indexes(BillingRowState *state)
{
	ListCell   *cell;

	foreach(cell, state->indexes)
	{
		Relation   *index = &state->result->ri_IndexRelationDescs[foreach_current_index(cell)];

		if (*index == NULL && has_row(state, state->result->ri_IndexRelationInfo[foreach_current_index(cell)]))
			*index = index_open(lfirst_oid(cell), RowExclusiveLock);
	}
}

static bool
has_row(BillingRowState *state, IndexInfo *index)
{
	ExprContext *context = GetPerTupleExprContext(state->estate);

	if (index->ii_Predicate == NIL)
		return true;
	if (index->ii_PredicateState == NULL)
		index->ii_PredicateState = ExecPrepareQual(index->ii_Predicate, state->estate);
	context->ecxt_scantuple = state->written;
	return ExecQual(index->ii_PredicateState, context);
}
