/*-------------------------------------------------------------------------
 *
 * reference.c
 *	  Foreign keys of tables that are written in bulk, checked set-wise.
 *
 * PostgreSQL checks a foreign key row by row, which is most of what a bulk insert
 * costs.  Such a table keeps its foreign keys declared (they order a dump, guard
 * the parent's delete, and tell planner and reader), but its own row triggers are
 * switched off; one statement trigger looks each distinct key up once instead.
 *
 * PostgreSQL locks the parent row until the child commits.  Here a delete of
 * parents locks out writers of the child instead: parents are hardly ever
 * deleted, and a child costs no lock and writes no parent's page.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "reference.h"
#include "trigger.h"

BILLING_FUNCTION(billing_check_references);
BILLING_FUNCTION(billing_lock_references);

#define MAX_KEYS 4

/* Whether what is being deleted is known to nobody else. */
static bool deletes_own = false;

/*
 * Keys that ascend are looked up by going forward in the index from one to the next, as
 * long as it is not further than this; a descent from its root costs some ten times
 * a step.
 */
#define MAX_STEPS 12
#define MAX_FAILED_WALKS 8

/* The values of a key's columns. */
typedef struct ReferenceKey
{
	Datum		values[MAX_KEYS];
} ReferenceKey;

/* A key that was found in the parent, and how many children that states. */
typedef struct KnownKey
{
	ReferenceKey key;
	uint32		hash;
	int32		room;
	char		status;
} KnownKey;

/* One foreign key of the table, and what is known of it in this statement. */
typedef struct Reference
{
	ForeignKeyCacheInfo *constraint;
	int			nkeys;
	bool		is_text[MAX_KEYS];	/* else passed by value */
	AttrNumber	line;			/* the child's number; invalid: not limited */
	char	  **limit;			/* arguments of the trigger that limit it */
	const char *number;			/* the one that names column line */
	AttrNumber	room;			/* the parent's columns that the second and third name; */
	AttrNumber	status;			/* invalid: the parent has no status, and always limits */
	bool		is_ordered;			/* keys are numbers and came in ascending order so far */
	bool		has_last;
	ReferenceKey last;			/* key of the row before, found */
	int32		last_room;
	struct known_hash *known;
	MemoryContext context;		/* of known and its keys */
	Relation	parent;			/* NULL until there is a key to look up */
	Relation	index;
	IndexScanDesc scan;			/* for one key */
	IndexScanDesc walk;			/* from a key on; NULL if keys are not numbers */
	TupleTableSlot *slot;
	ScanKeyData scankeys[MAX_KEYS];
	ScanKeyData from;			/* its first column is that of the key or greater */
	int			column[MAX_KEYS];	/* of the key, by column of the index */
	bool		is_walking;		/* the scan stands behind the entry of the last key */
	int			failed_walks;
} Reference;

static uint32 hash_key(const Reference *reference, const ReferenceKey *key);
static bool is_same_key(const Reference *reference, const ReferenceKey *a, const ReferenceKey *b);

#define SH_PREFIX known
#define SH_ELEMENT_TYPE KnownKey
#define SH_KEY_TYPE ReferenceKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_key((const Reference *) (tb)->private_data, &(key))
#define SH_EQUAL(tb, a, b) is_same_key((const Reference *) (tb)->private_data, &(a), &(b))
#define SH_STORE_HASH
#define SH_GET_HASH(tb, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static List *make_references(TriggerData *trigger, int *last_column);
static Reference *make_reference(ForeignKeyCacheInfo *constraint, Relation child, int *last_column);
static void limit_children(Reference *reference, TriggerData *trigger, int *last_column);
static bool is_named_alike(const Reference *reference, Relation child);
static void check_rows(TriggerData *trigger, List *references, int last_column);
static void check_row(Reference *reference, Relation child, TupleTableSlot *row, Snapshot snapshot);
static bool read_key(const Reference *reference, TupleTableSlot *row, ReferenceKey *key);
static void check_key(Reference *reference, Relation child, const ReferenceKey *key, Snapshot snapshot);
static bool comes_after(const Reference *reference, const ReferenceKey *key);
static int32 read_room(const Reference *reference);
static void forget_keys(Reference *reference);
static bool is_in_parent(Reference *reference, const ReferenceKey *key, Snapshot snapshot);
static bool walk_to(Reference *reference, const ReferenceKey *key, bool *found);
static void start_walk(Reference *reference, const ReferenceKey *key);
static int	compare_entry(const Reference *reference, const ReferenceKey *key);
static void open_parent(Reference *reference, Snapshot snapshot);
static void prepare_lookup(Reference *reference);
static void prepare_walk(Reference *reference);
static Oid	find_index(const Reference *reference);
static void close_references(List *references);
static void report_no_room(const Reference *reference, Relation child, const ReferenceKey *key, int32 line);
static void report_missing(const Reference *reference, Relation child, const ReferenceKey *key);
static bool may_show_key(const Reference *reference, Relation child);
static char *list_columns(const Reference *reference, Relation child);
static char *list_values(const Reference *reference, const ReferenceKey *key);

/*
 * billing_check_references
 *		AFTER INSERT, for each statement: refuses rows whose parents do not exist,
 *		by every foreign key of the table, as PostgreSQL would (23503).
 *
 * A key costs one probe of the parent's index, the row after with the same key a
 * comparison.  A column of a key must be bigint, integer, or text that compares
 * by bytes.
 *
 * Arguments, if given: a parent table, its column that counts its children, its
 * status while it does not yet (says nothing of a parent without a column status), and
 * the child's column that numbers them from 1; then, if there is one, the column of rows that
 * name a child of a parent, by a key whose columns are called otherwise, that is such a number.
 * A child beyond the count is refused (YB004): a closed parent lists its children,
 * in whatever order a restore brings them.
 */
Datum
billing_check_references(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_statement(fcinfo);
	List	   *references;
	int			last_column = 0;

	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		trigger->tg_newtable == NULL)
		elog(ERROR, "check_references must be fired after an insert, for each statement, with a transition table");
	if (tuplestore_tuple_count(trigger->tg_newtable) == 0)
		return PointerGetDatum(NULL);

	/* Rows of this very command can be parents. */
	CommandCounterIncrement();
	references = make_references(trigger, &last_column);
	check_rows(trigger, references, last_column);
	close_references(references);
	return PointerGetDatum(NULL);
}

static List *
make_references(TriggerData *trigger, int *last_column)
{
	Relation	child = trigger->tg_relation;
	List	   *references = NIL;
	ListCell   *cell;

	foreach(cell, copyObject(RelationGetFKeyList(child)))
	{
		Reference  *reference = make_reference(lfirst(cell), child, last_column);

		limit_children(reference, trigger, last_column);
		references = lappend(references, reference);
	}
	return references;
}

static Reference *
make_reference(ForeignKeyCacheInfo *constraint, Relation child, int *last_column)
{
	Reference  *reference = palloc0(sizeof(Reference));

	if (constraint->nkeys > MAX_KEYS)
		elog(ERROR, "foreign key %u has more than %d columns", constraint->conoid, MAX_KEYS);
	reference->constraint = constraint;
	reference->nkeys = constraint->nkeys;
	reference->is_ordered = true;
	for (int i = 0; i < reference->nkeys; i++)
	{
		AttrNumber	column = constraint->conkey[i];
		Oid			type = TupleDescAttr(RelationGetDescr(child), column - 1)->atttypid;

		if (type != INT8OID && type != INT4OID && type != TEXTOID)
			elog(ERROR, "foreign key %u has a column of type %u", constraint->conoid, type);
		reference->is_text[i] = type == TEXTOID;
		reference->is_ordered &= type != TEXTOID;
		*last_column = Max(*last_column, column);
	}
	reference->context = AllocSetContextCreate(CurrentMemoryContext, "billing references",
											   ALLOCSET_DEFAULT_SIZES);
	reference->known = known_create(reference->context, 64, reference);
	return reference;
}

static void
limit_children(Reference *reference, TriggerData *trigger, int *last_column)
{
	char	  **arguments = trigger->tg_trigger->tgargs;
	int			nargs = trigger->tg_trigger->tgnargs;
	int			number = is_named_alike(reference, trigger->tg_relation) ? 3 : 4;

	reference->line = InvalidAttrNumber;
	if (nargs <= number || strcmp(get_rel_name(reference->constraint->confrelid), arguments[0]) != 0)
		return;
	reference->number = arguments[number];
	reference->line = get_attnum(RelationGetRelid(trigger->tg_relation), reference->number);
	reference->limit = arguments;
	reference->room = get_attnum(reference->constraint->confrelid, arguments[1]);
	reference->status = get_attnum(reference->constraint->confrelid, "status");
	*last_column = Max(*last_column, reference->line);
}

/* Whether the columns of a key are called as those of the parent: it says whose child a row is. */
static bool
is_named_alike(const Reference *reference, Relation child)
{
	const ForeignKeyCacheInfo *constraint = reference->constraint;

	for (int i = 0; i < constraint->nkeys; i++)
	{
		if (strcmp(get_attname(RelationGetRelid(child), constraint->conkey[i], false),
				   get_attname(constraint->confrelid, constraint->confkey[i], false)) != 0)
			return false;
	}
	return true;
}

/*
 * check_rows
 *		Check every row of the transition table, through a read pointer of our own.
 */
static void
check_rows(TriggerData *trigger, List *references, int last_column)
{
	Tuplestorestate *rows = trigger->tg_newtable;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation),
												   &TTSOpsMinimalTuple);
	int			pointer = tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND);

	tuplestore_select_read_pointer(rows, pointer);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, row))
	{
		ListCell   *cell;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(row, last_column);
		foreach(cell, references)
			check_row(lfirst(cell), trigger->tg_relation, row, snapshot);
	}
	tuplestore_select_read_pointer(rows, 0);
	ExecDropSingleTupleTableSlot(row);
	UnregisterSnapshot(snapshot);
}

static void
check_row(Reference *reference, Relation child, TupleTableSlot *row, Snapshot snapshot)
{
	ReferenceKey key;

	if (!read_key(reference, row, &key))
		return;
	if (!reference->has_last || !is_same_key(reference, &key, &reference->last))
		check_key(reference, child, &key, snapshot);
	if (reference->line != InvalidAttrNumber &&
		DatumGetInt32(row->tts_values[reference->line - 1]) > reference->last_room)
		report_no_room(reference, child, &key, DatumGetInt32(row->tts_values[reference->line - 1]));
}

/*
 * read_key
 *		The key of a row; false if a column of it is NULL: nothing to check.
 */
static bool
read_key(const Reference *reference, TupleTableSlot *row, ReferenceKey *key)
{
	for (int i = 0; i < reference->nkeys; i++)
	{
		int			column = reference->constraint->conkey[i] - 1;

		if (row->tts_isnull[column])
			return false;
		key->values[i] = row->tts_values[column];
		if (reference->is_text[i])
			key->values[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(key->values[i]));
	}
	return true;
}

static uint32
hash_key(const Reference *reference, const ReferenceKey *key)
{
	uint32		hash = 0;

	for (int i = 0; i < reference->nkeys; i++)
	{
		uint64		value = key->values[i];
		text	   *string = (text *) DatumGetPointer(key->values[i]);

		if (reference->is_text[i])
			value = hash_bytes((unsigned char *) VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
		hash = murmurhash32(hash_combine(hash, (uint32) value ^ (uint32) (value >> 32)));
	}
	return hash;
}

static bool
is_same_key(const Reference *reference, const ReferenceKey *a, const ReferenceKey *b)
{
	for (int i = 0; i < reference->nkeys; i++)
	{
		text	   *x = (text *) DatumGetPointer(a->values[i]);
		text	   *y = (text *) DatumGetPointer(b->values[i]);

		if (a->values[i] == b->values[i])
			continue;
		if (!reference->is_text[i] ||
			VARSIZE_ANY_EXHDR(x) != VARSIZE_ANY_EXHDR(y) ||
			memcmp(VARDATA_ANY(x), VARDATA_ANY(y), VARSIZE_ANY_EXHDR(x)) != 0)
			return false;
	}
	return true;
}

/*
 * check_key
 *		Look a key up, unless this statement did before; it becomes the last one.
 *
 * As long as keys ascend none comes twice, and there is nothing to remember.  What is
 * remembered is copied, since the row goes, and is forgotten once it takes more
 * than work_mem.
 */
static void
check_key(Reference *reference, Relation child, const ReferenceKey *key, Snapshot snapshot)
{
	KnownKey   *known;
	bool		found;

	if (comes_after(reference, key))
	{
		if (!is_in_parent(reference, key, snapshot))
			report_missing(reference, child, key);
		reference->last = *key;
		reference->last_room = read_room(reference);
		reference->has_last = true;
		return;
	}
	reference->is_ordered = false;
	if (MemoryContextMemAllocated(reference->context, true) > work_mem * (Size) 1024)
		forget_keys(reference);
	known = known_insert(reference->known, *key, &found);
	if (!found)
	{
		MemoryContext old;

		if (!is_in_parent(reference, key, snapshot))
			report_missing(reference, child, key);
		known->room = read_room(reference);
		old = MemoryContextSwitchTo(reference->context);
		for (int i = 0; i < reference->nkeys; i++)
		{
			if (reference->is_text[i])
				known->key.values[i] = datumCopy(key->values[i], false, -1);
		}
		MemoryContextSwitchTo(old);
	}
	reference->last = known->key;
	reference->last_room = known->room;
	reference->has_last = true;
}

/* Does a key continue the ascending order of those before? */
static bool
comes_after(const Reference *reference, const ReferenceKey *key)
{
	if (!reference->is_ordered || !reference->has_last)
		return reference->is_ordered;
	for (int i = 0; i < reference->nkeys; i++)
	{
		if (key->values[i] != reference->last.values[i])
			return DatumGetInt64(key->values[i]) > DatumGetInt64(reference->last.values[i]);
	}
	return false;
}

static void
forget_keys(Reference *reference)
{
	MemoryContextReset(reference->context);
	reference->known = known_create(reference->context, 64, reference);
	reference->has_last = false;
}

/*
 * read_room
 *		How many children the parent that was just found states; any number if it
 *		does not yet.
 */
static int32
read_room(const Reference *reference)
{
	const char *open = reference->limit != NULL ? reference->limit[2] : NULL;
	bool		isnull;
	text	   *status;

	if (reference->line == InvalidAttrNumber)
		return PG_INT32_MAX;
	if (reference->status == InvalidAttrNumber)
		return DatumGetInt32(slot_getattr(reference->slot, reference->room, &isnull));
	status = DatumGetTextPP(slot_getattr(reference->slot, reference->status, &isnull));
	if (billing_text_equals(status, open))
		return PG_INT32_MAX;
	return DatumGetInt32(slot_getattr(reference->slot, reference->room, &isnull));
}

static bool
is_in_parent(Reference *reference, const ReferenceKey *key, Snapshot snapshot)
{
	bool		found;

	if (reference->parent == NULL)
		open_parent(reference, snapshot);
	if (reference->is_ordered && walk_to(reference, key, &found))
		return found;
	for (int i = 0; i < reference->nkeys; i++)
		reference->scankeys[i].sk_argument = key->values[reference->column[i]];
	index_rescan(reference->scan, reference->scankeys, reference->nkeys, NULL, 0);
	return index_getnext_slot(reference->scan, ForwardScanDirection, reference->slot);
}

/*
 * walk_to
 *		Look a key up that comes after those before, by going forward in the index;
 *		false if it is too far, or was too often.
 *
 * There may be several entries of a key, of which the snapshot sees one.
 */
static bool
walk_to(Reference *reference, const ReferenceKey *key, bool *found)
{
	IndexScanDesc walk = reference->walk;

	if (walk == NULL || reference->failed_walks >= MAX_FAILED_WALKS)
		return false;
	if (!reference->is_walking)
		start_walk(reference, key);
	for (int i = 0; i < MAX_STEPS; i++)
	{
		int			order;

		if (index_getnext_tid(walk, ForwardScanDirection) == NULL)
			break;
		order = compare_entry(reference, key);
		if (order > 0)
			break;
		if (order == 0 && index_fetch_heap(walk, reference->slot))
		{
			*found = true;
			return true;
		}
	}
	reference->is_walking = false;
	reference->failed_walks++;
	return false;
}

static void
start_walk(Reference *reference, const ReferenceKey *key)
{
	reference->from.sk_argument = key->values[reference->column[0]];
	index_rescan(reference->walk, &reference->from, 1, NULL, 0);
	reference->is_walking = true;
}

/* Does the entry at which the scan stands come before the key (-1), behind it (1), or is it that? */
static int
compare_entry(const Reference *reference, const ReferenceKey *key)
{
	IndexScanDesc walk = reference->walk;

	for (int i = 0; i < reference->nkeys; i++)
	{
		bool		isnull;
		int64		entry = DatumGetInt64(index_getattr(walk->xs_itup, i + 1, walk->xs_itupdesc, &isnull));
		int64		wanted = DatumGetInt64(key->values[reference->column[i]]);

		if (entry != wanted)
			return entry < wanted ? -1 : 1;
	}
	return 0;
}

static void
open_parent(Reference *reference, Snapshot snapshot)
{
	reference->parent = table_open(reference->constraint->confrelid, RowShareLock);
	reference->index = index_open(find_index(reference), AccessShareLock);
	reference->slot = table_slot_create(reference->parent, NULL);
	prepare_lookup(reference);
	reference->scan = billing_index_beginscan(reference->parent, reference->index, snapshot,
											  reference->nkeys);
	if (!reference->is_ordered)
		return;
	prepare_walk(reference);
	reference->walk = billing_index_beginscan(reference->parent, reference->index, snapshot, 1);
	reference->walk->xs_want_itup = true;
}

/* The columns of the index are those of the key, in an order of their own. */
static void
prepare_lookup(Reference *reference)
{
	const ForeignKeyCacheInfo *constraint = reference->constraint;

	for (int i = 0; i < reference->nkeys; i++)
	{
		int			column = 0;

		while (constraint->confkey[column] != reference->index->rd_index->indkey.values[i])
			column++;
		reference->column[i] = column;
		ScanKeyEntryInitialize(&reference->scankeys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   reference->index->rd_indcollation[i],
							   get_opcode(constraint->conpfeqop[column]), (Datum) 0);
	}
}

static void
prepare_walk(Reference *reference)
{
	Oid			family = reference->index->rd_opfamily[0];
	Oid			type = reference->index->rd_opcintype[0];

	ScanKeyEntryInitialize(&reference->from, 0, 1, BTGreaterEqualStrategyNumber, InvalidOid,
						   reference->index->rd_indcollation[0],
						   get_opcode(get_opfamily_member(family, type, type, BTGreaterEqualStrategyNumber)), (Datum) 0);
}

static Oid
find_index(const Reference *reference)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(reference->constraint->conoid));
	Oid			index;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", reference->constraint->conoid);
	index = ((Form_pg_constraint) GETSTRUCT(tuple))->conindid;
	ReleaseSysCache(tuple);
	return index;
}

static void
close_references(List *references)
{
	ListCell   *cell;

	foreach(cell, references)
	{
		Reference  *reference = lfirst(cell);

		if (reference->parent != NULL)
		{
			index_endscan(reference->scan);
			if (reference->walk != NULL)
				index_endscan(reference->walk);
			ExecDropSingleTupleTableSlot(reference->slot);
			index_close(reference->index, NoLock);
			table_close(reference->parent, NoLock);
		}
		MemoryContextDelete(reference->context);
	}
}

static void
report_no_room(const Reference *reference, Relation child, const ReferenceKey *key, int32 line)
{
	const char *parent = RelationGetRelationName(reference->parent);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("%s (%s) is closed and takes no %s %d", parent, list_values(reference, key),
					reference->number, line),
			 errdetail("table=%s object=%s key=(%s) %s=%d", RelationGetRelationName(child), parent,
					   list_values(reference, key), reference->limit[3], line),
			 reference->limit[2][0] == '\0' ?
			 errhint("It takes as many as it states in %s.", reference->limit[1]) :
			 errhint("Only a %s takes what it does not list in %s yet.", reference->limit[2], reference->limit[1])));
}

/*
 * report_missing
 *		What PostgreSQL says of a foreign key that is not met, and a hint.
 */
static void
report_missing(const Reference *reference, Relation child, const ReferenceKey *key)
{
	const char *parent = RelationGetRelationName(reference->parent);
	const char *constraint = get_constraint_name(reference->constraint->conoid);

	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"",
					RelationGetRelationName(child), constraint),
			 may_show_key(reference, child) ?
			 errdetail("Key (%s)=(%s) is not present in table \"%s\".",
					   list_columns(reference, child), list_values(reference, key), parent) :
			 errdetail("Key is not present in table \"%s\".", parent),
			 errhint("Insert the row of \"%s\" before those that name it.", parent),
			 errtableconstraint(child, constraint)));
}

/* A key is shown to who may read it: under row security nobody knows whose it is. */
static bool
may_show_key(const Reference *reference, Relation child)
{
	return check_enable_rls(RelationGetRelid(child), InvalidOid, true) != RLS_ENABLED &&
		pg_class_aclcheck(RelationGetRelid(child), GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

static char *
list_columns(const Reference *reference, Relation child)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < reference->nkeys; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 get_attname(RelationGetRelid(child), reference->constraint->conkey[i], false));
	return list.data;
}

static char *
list_values(const Reference *reference, const ReferenceKey *key)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < reference->nkeys; i++)
	{
		if (i > 0)
			appendStringInfoString(&list, ", ");
		if (reference->is_text[i])
			appendStringInfoString(&list, TextDatumGetCString(key->values[i]));
		else
			appendStringInfo(&list, INT64_FORMAT, (int64) key->values[i]);
	}
	return list.data;
}

/*
 * billing_lock_references
 *		BEFORE DELETE or UPDATE of a parent's key, for each statement: waits for
 *		those who write children, and keeps others out until this commits.
 *
 * The arguments are the names of the tables.  PostgreSQL's own check, after this,
 * then sees every child there is.
 */
Datum
billing_lock_references(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_statement(fcinfo);
	Oid			schema = RelationGetNamespace(trigger->tg_relation);

	for (int i = 0; i < trigger->tg_trigger->tgnargs && !deletes_own; i++)
	{
		Oid			child = get_relname_relid(trigger->tg_trigger->tgargs[i], schema);

		if (!OidIsValid(child))
			elog(ERROR, "table \"%s\" does not exist", trigger->tg_trigger->tgargs[i]);
		LockRelationOid(child, ShareRowExclusiveLock);
	}
	return PointerGetDatum(NULL);
}

void
billing_reference_delete_own(BillingQuery *query, Datum *args)
{
	deletes_own = true;
	PG_TRY();
	{
		(void) billing_spi_run(query, args, NULL);
	}
	PG_FINALLY();
	{
		deletes_own = false;
	}
	PG_END_TRY();
}
