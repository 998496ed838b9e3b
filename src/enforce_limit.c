/*-------------------------------------------------------------------------
 *
 * enforce_limit.c
 *	  No tenant has more rows in a table of the application's than its limit says.
 *
 * A trigger AFTER INSERT OR UPDATE FOR EACH ROW.  It counts what is there when the
 * statement has written all its rows, so one count serves all of them that are of one
 * tenant.  Who counts holds a lock of the tenant until the transaction ends, and
 * counts under a snapshot taken behind the lock, in every isolation level: so
 * whoever comes next sees the rows of whoever was before, or waits for them.  Rows
 * that another transaction is deleting still count.
 *
 * The limit is read with the rights of the extension's owner, rows are counted with
 * those of the table's owner, past row security, as foreign keys do.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "flow.h"
#include "lock.h"
#include "spi.h"
#include "trigger.h"

BILLING_FUNCTION(billing_enforce_limit);

/* The check that was last made for this trigger in this statement. */
typedef struct LastCheck
{
	int64		tenant_id;
	SubTransactionId subid;
	CommandId	command;
} LastCheck;

/* What is counted: a column of a table, and the limit's name. */
typedef struct Counted
{
	const char *feature;
	const char *column;
	Oid			type;			/* of the column */
	Datum		tenant;			/* as the column holds it */
	int64		tenant_id;
} Counted;

static void check_trigger(TriggerData *trigger);
static bool read_row(TriggerData *trigger, Counted *counted);
static bool read_tenant(TriggerData *trigger, HeapTuple row, Counted *counted);
static bool was_checked(FunctionCallInfo fcinfo, int64 tenant_id);
static void check_limit(TriggerData *trigger, const Counted *counted);
static bool read_limit(const Counted *counted, int64 *limit);
static void report_state(const Counted *counted, const char *state);
static int64 count_rows(TriggerData *trigger, const Counted *counted, int64 at_most);
static Oid	find_table(TriggerData *trigger);
static bool find_parent(Oid *trigger_id, Oid *table_id);

Datum
billing_enforce_limit(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_any(fcinfo);
	Counted		counted;

	check_trigger(trigger);
	if (!read_row(trigger, &counted) || was_checked(fcinfo, counted.tenant_id))
		return PointerGetDatum(NULL);

	billing_spi_begin();
	check_limit(trigger, &counted);
	billing_spi_end();
	return PointerGetDatum(NULL);
}

static void
check_trigger(TriggerData *trigger)
{
	int			nargs = trigger->tg_trigger->tgnargs;

	if (TRIGGER_FIRED_AFTER(trigger->tg_event) && TRIGGER_FIRED_FOR_ROW(trigger->tg_event) &&
		(TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) &&
		(nargs == 1 || nargs == 2))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("trigger \"%s\" of table \"%s\" cannot enforce a limit", trigger->tg_trigger->tgname,
					RelationGetRelationName(trigger->tg_relation)),
			 errdetail("table=%s trigger=%s", RelationGetRelationName(trigger->tg_relation), trigger->tg_trigger->tgname),
			 errhint("CREATE TRIGGER seats AFTER INSERT OR UPDATE ON member FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats', 'tenant_id')")));
}

/*
 * read_row
 *		Whose row came; false if it is nobody's, or was the same tenant's before.
 */
static bool
read_row(TriggerData *trigger, Counted *counted)
{
	Counted		before;

	counted->feature = trigger->tg_trigger->tgargs[0];
	counted->column = trigger->tg_trigger->tgnargs > 1 ? trigger->tg_trigger->tgargs[1] : "tenant_id";
	before = *counted;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return read_tenant(trigger, trigger->tg_trigtuple, counted);
	return read_tenant(trigger, trigger->tg_newtuple, counted) &&
		!(read_tenant(trigger, trigger->tg_trigtuple, &before) && before.tenant_id == counted->tenant_id);
}

static bool
read_tenant(TriggerData *trigger, HeapTuple row, Counted *counted)
{
	const char *table = RelationGetRelationName(trigger->tg_relation);
	AttrNumber	number = get_attnum(RelationGetRelid(trigger->tg_relation), counted->column);
	bool		isnull;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"", table, counted->column),
				 errdetail("table=%s column=%s trigger=%s", table, counted->column, trigger->tg_trigger->tgname),
				 errhint("Name the column with the tenant's id as the second argument of billing.enforce_limit.")));
	counted->type = TupleDescAttr(RelationGetDescr(trigger->tg_relation), number - 1)->atttypid;
	counted->tenant = heap_getattr(row, number, RelationGetDescr(trigger->tg_relation), &isnull);
	if (isnull)
		return false;

	if (counted->type == INT8OID)
		counted->tenant_id = DatumGetInt64(counted->tenant);
	else if (counted->type == INT4OID)
		counted->tenant_id = DatumGetInt32(counted->tenant);
	else if (counted->type == INT2OID)
		counted->tenant_id = DatumGetInt16(counted->tenant);
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" holds no id of a tenant", counted->column, table),
				 errdetail("table=%s column=%s type=%s", table, counted->column, format_type_be(counted->type)),
				 errhint("It is to be bigint, integer or smallint.")));
	return true;
}

/*
 * was_checked
 *		Was this tenant counted before, and nothing written since?
 *
 * The rows of a statement come one after the other when all are written.  To see
 * them, and to tell that nothing was added since, the command is counted up.
 */
static bool
was_checked(FunctionCallInfo fcinfo, int64 tenant_id)
{
	LastCheck  *last = fcinfo->flinfo->fn_extra;

	CommandCounterIncrement();
	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(LastCheck));
	else if (last->tenant_id == tenant_id && last->subid == GetCurrentSubTransactionId() &&
			 last->command == GetCurrentCommandId(false))
		return true;
	last->tenant_id = tenant_id;
	last->subid = GetCurrentSubTransactionId();
	last->command = GetCurrentCommandId(false);
	return false;
}

static void
check_limit(TriggerData *trigger, const Counted *counted)
{
	int64		limit;

	if (!read_limit(counted, &limit))
		return;
	billing_lock_tenant(BILLING_LOCK_LIMIT, counted->tenant_id);
	if (!read_limit(counted, &limit) || count_rows(trigger, counted, limit + 1) <= limit)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_LIMIT_EXCEEDED),
			 errmsg("tenant %lld may have no more than %lld of \"%s\"", (long long) counted->tenant_id, (long long) limit,
					counted->feature),
			 errdetail("tenant_id=%lld feature=%s limit=%lld table=%s", (long long) counted->tenant_id, counted->feature,
					   (long long) limit, RelationGetRelationName(trigger->tg_relation)),
			 limit > 0 ?
			 errhint("Delete what is not needed, or raise the limit: by another plan, or by billing.override_entitlement.") :
			 errhint("No subscription gives it any: subscribe, or call billing.override_entitlement.")));
}

/*
 * read_limit
 *		The tenant's hard limit, as committed by this moment; false: it has none.
 */
static bool
read_limit(const Counted *counted, int64 *limit)
{
	static BillingQuery query = {
		.sql = "SELECT t.status, CASE WHEN l.least IS NOT NULL THEN least(floor(l.least), 1e15)::bigint"
		"    WHEN l.found = 0 AND NOT billing.is_served(t.tenant_id) THEN 0 END"
		"  FROM billing.tenant t"
		" CROSS JOIN LATERAL (SELECT count(*) AS found, min(l.quantity) FILTER (WHERE l.kind = 'hard') AS least"
		"    FROM billing.entitlement_limit l"
		"    WHERE l.tenant_id = t.tenant_id AND l.meter = $2 AND l.starts_at <= billing.now() AND l.ends_at > billing.now()) l"
		" WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	Datum		args[] = {Int64GetDatum(counted->tenant_id), CStringGetTextDatum(counted->feature)};
	char	   *state;
	bool		isnull;

	PushActiveSnapshot(GetLatestSnapshot());
	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("tenant", counted->tenant_id, NULL);
	PopActiveSnapshot();
	state = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	if (strcmp(state, "active") != 0)
		report_state(counted, state);
	*limit = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	return !isnull;
}

static void
report_state(const Counted *counted, const char *state)
{
	ereport(ERROR,
			(errcode(strcmp(state, "frozen") == 0 ? ERRCODE_BILLING_TENANT_FROZEN : ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("tenant %lld is %s", (long long) counted->tenant_id, state),
			 errdetail("tenant_id=%lld status=%s feature=%s", (long long) counted->tenant_id, state, counted->feature),
			 errhint("It keeps what it has; more is for active tenants.")));
}

/*
 * count_rows
 *		How many rows the tenant has, up to at_most, committed by this moment or our own.
 */
static int64
count_rows(TriggerData *trigger, const Counted *counted, int64 at_most)
{
	Oid			table_id = find_table(trigger);
	StringInfoData sql;
	Oid			types[] = {counted->type, INT8OID};
	Datum		args[] = {counted->tenant, Int64GetDatum(at_most)};
	Oid			user_id;
	int			context;
	int64		count;
	bool		isnull;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT count(*) FROM (SELECT FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) $1 LIMIT $2) s",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(table_id)), get_rel_name(table_id)),
					 quote_identifier(counted->column));

	GetUserIdAndSecContext(&user_id, &context);
	SetUserIdAndSecContext(RelationGetForm(trigger->tg_relation)->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	PushActiveSnapshot(GetLatestSnapshot());
	billing_spi_run_once(sql.data, lengthof(types), types, args);
	PopActiveSnapshot();
	SetUserIdAndSecContext(user_id, context);
	count = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	return count;
}

/* The table that the trigger was created on: of a partition, the one it is a part of. */
static Oid
find_table(TriggerData *trigger)
{
	Oid			table_id = RelationGetRelid(trigger->tg_relation);
	Oid			trigger_id = trigger->tg_trigger->tgoid;

	if (trigger->tg_trigger->tgisclone)
	{
		while (find_parent(&trigger_id, &table_id))
			continue;
	}
	return table_id;
}

static bool
find_parent(Oid *trigger_id, Oid *table_id)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(*trigger_id));
	scan = systable_beginscan(triggers, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "trigger %u does not exist", *trigger_id);
	*table_id = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	*trigger_id = ((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid;
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return OidIsValid(*trigger_id);
}
