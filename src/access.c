/*-------------------------------------------------------------------------
 *
 * access.c
 *	  What a role of the user's may do.
 *
 * The view billing.access_privilege lists what each level gives.  Each of its rows
 * becomes a GRANT or a REVOKE: a parse tree and no text, so that no name is ever
 * pasted into SQL, run as a command, so that whoever audits commands sees it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "flow.h"

BILLING_FUNCTION(billing_grant_access);
BILLING_FUNCTION(billing_revoke_access);

/* One row of the view. */
typedef struct Privilege
{
	char	   *kind;
	char	   *object;
	char	   *privileges;
	Oid			oid;			/* of a type, table or routine */
} Privilege;

static const char *const levels[] = {"reader", "app", "admin"};

static int	find_level(const char *level);
static char *get_role(FunctionCallInfo fcinfo);
static void check_may_grant(bool needs_superuser);
static void apply_privileges(const char *role, bool is_grant, int level);
static void read_privilege(uint64 row, Privilege *privilege);
static void run_grant(const char *role, bool is_grant, const Privilege *privilege);
static List *list_privileges(const char *privileges);
static List *list_columns(const char *columns);
static ObjectType object_type(const char *kind);
static Node *object_name(const Privilege *privilege);
static Node *routine_name(Oid oid);
static void set_bypassrls(const char *role, bool bypasses);
static bool bypasses_row_security(const char *role);
static RoleSpec *role_spec(const char *role);
static void run_command(Node *command);
static void audit_access(const char *action, const char *role, const char *level);

/*
 * billing_grant_access
 *		Give a role what a level and those below it have.
 */
Datum
billing_grant_access(PG_FUNCTION_ARGS)
{
	char	   *role = get_role(fcinfo);
	int			level;

	billing_flow_require(fcinfo, 1, "level");
	level = find_level(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	check_may_grant(strcmp(levels[level], "admin") == 0);

	billing_spi_begin();
	apply_privileges(role, true, level);
	if (strcmp(levels[level], "admin") == 0)
		set_bypassrls(role, true);
	audit_access("grant_access", role, levels[level]);
	billing_spi_end();
	PG_RETURN_VOID();
}

/*
 * billing_revoke_access
 *		Take from a role what any level gives.
 */
Datum
billing_revoke_access(PG_FUNCTION_ARGS)
{
	char	   *role = get_role(fcinfo);
	bool		bypasses = bypasses_row_security(role);

	check_may_grant(bypasses);
	billing_spi_begin();
	apply_privileges(role, false, lengthof(levels) - 1);
	if (bypasses)
		set_bypassrls(role, false);
	audit_access("revoke_access", role, NULL);
	billing_spi_end();
	PG_RETURN_VOID();
}

static int
find_level(const char *level)
{
	for (int i = 0; i < lengthof(levels); i++)
	{
		if (strcmp(levels[i], level) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("access level \"%s\" does not exist", level),
			 errdetail("level=%s", level),
			 errhint("Levels are: reader, app, admin.")));
}

static char *
get_role(FunctionCallInfo fcinfo)
{
	char	   *role;

	billing_flow_require(fcinfo, 0, "role");
	role = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!OidIsValid(get_role_oid(role, true)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", role),
				 errdetail("role=%s", role),
				 errhint("Create it first. A name is given without quotes, in the case it has.")));
	return role;
}

/*
 * check_may_grant
 *		42501 unless the caller is an admin, or a superuser where it takes one.
 */
static void
check_may_grant(bool needs_superuser)
{
	Oid			caller = GetOuterUserId();

	if (needs_superuser ? superuser_arg(caller) : has_bypassrls_privilege(caller))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 needs_superuser ?
			 errmsg("must be superuser to make a role bypass row security, or stop it") :
			 errmsg("must be of level admin to grant or revoke access"),
			 errdetail("role=%s", GetUserNameFromId(caller, false)),
			 errhint("Ask a superuser.")));
}

static void
apply_privileges(const char *role, bool is_grant, int level)
{
	static BillingQuery query = {
		.sql = "SELECT kind, object, privileges, object_oid FROM billing.access_privilege "
		"WHERE level = ANY (('{reader,app,admin}'::pg_catalog.text[])[1:$1]) ORDER BY 1, 2, 3",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT4OID},
	};
	Datum		args[] = {Int32GetDatum(level + 1)};
	uint64		rows = billing_spi_run(&query, args, NULL);
	Privilege  *privileges = palloc(rows * sizeof(Privilege));

	/* The commands below may run queries of their own. */
	for (uint64 row = 0; row < rows; row++)
		read_privilege(row, &privileges[row]);
	for (uint64 row = 0; row < rows; row++)
		run_grant(role, is_grant, &privileges[row]);
}

static void
read_privilege(uint64 row, Privilege *privilege)
{
	bool		isnull;
	Datum		oid;

	privilege->kind = TextDatumGetCString(billing_spi_value(row, 1, &isnull));
	privilege->object = TextDatumGetCString(billing_spi_value(row, 2, &isnull));
	privilege->privileges = TextDatumGetCString(billing_spi_value(row, 3, &isnull));
	oid = billing_spi_value(row, 4, &isnull);
	privilege->oid = isnull ? InvalidOid : DatumGetObjectId(oid);
}

static void
run_grant(const char *role, bool is_grant, const Privilege *privilege)
{
	GrantStmt  *grant = makeNode(GrantStmt);

	grant->is_grant = is_grant;
	grant->targtype = ACL_TARGET_OBJECT;
	grant->objtype = object_type(privilege->kind);
	grant->objects = list_make1(object_name(privilege));
	grant->privileges = list_privileges(privilege->privileges);
	grant->grantees = list_make1(role_spec(role));
	grant->behavior = DROP_RESTRICT;
	run_command((Node *) grant);
}

/* "INSERT, UPDATE" or "INSERT (a, b)" as nodes: in lower case, as the grammar gives them. */
static List *
list_privileges(const char *privileges)
{
	char	   *names = pstrdup(privileges);
	char	   *columns = strchr(names, '(');
	List	   *list = NIL;

	if (columns != NULL)
		*columns++ = '\0';
	for (char *save = NULL, *name = strtok_r(names, ", ", &save);
		 name != NULL; name = strtok_r(NULL, ", ", &save))
	{
		AccessPriv *privilege = makeNode(AccessPriv);

		privilege->priv_name = asc_tolower(name, strlen(name));
		privilege->cols = columns == NULL ? NIL : list_columns(columns);
		list = lappend(list, privilege);
	}
	return list;
}

static List *
list_columns(const char *columns)
{
	List	   *list = NIL;

	for (char *save = NULL, *name = strtok_r(pstrdup(columns), ", )", &save);
		 name != NULL; name = strtok_r(NULL, ", )", &save))
		list = lappend(list, makeString(name));
	return list;
}

static ObjectType
object_type(const char *kind)
{
	if (strcmp(kind, "schema") == 0)
		return OBJECT_SCHEMA;
	if (strcmp(kind, "type") == 0)
		return OBJECT_TYPE;
	if (strcmp(kind, "table") == 0)
		return OBJECT_TABLE;
	if (strcmp(kind, "routine") == 0)
		return OBJECT_ROUTINE;
	if (strcmp(kind, "parameter") == 0)
		return OBJECT_PARAMETER_ACL;
	elog(ERROR, "unknown kind of object \"%s\"", kind);
}

static Node *
object_name(const Privilege *privilege)
{
	switch (object_type(privilege->kind))
	{
		case OBJECT_TABLE:
			return (Node *) makeRangeVar("billing", get_rel_name(privilege->oid), -1);
		case OBJECT_TYPE:
			return (Node *) list_make2(makeString("billing"),
									   makeString(strchr(privilege->object, '.') + 1));
		case OBJECT_ROUTINE:
			return routine_name(privilege->oid);
		default:
			return (Node *) makeString(privilege->object);
	}
}

static Node *
routine_name(Oid oid)
{
	ObjectWithArgs *name = makeNode(ObjectWithArgs);
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);

	name->objname = list_make2(makeString(get_namespace_name(proc->pronamespace)),
							   makeString(pstrdup(NameStr(proc->proname))));
	for (int i = 0; i < proc->pronargs; i++)
		name->objargs = lappend(name->objargs,
								makeTypeNameFromOid(proc->proargtypes.values[i], -1));
	ReleaseSysCache(tuple);
	return (Node *) name;
}

static void
set_bypassrls(const char *role, bool bypasses)
{
	AlterRoleStmt *alter = makeNode(AlterRoleStmt);

	alter->role = role_spec(role);
	alter->options = list_make1(makeDefElem("bypassrls", (Node *) makeBoolean(bypasses), -1));
	alter->action = 1;
	run_command((Node *) alter);
}

/* By an attribute of its own; a superuser needs none. */
static bool
bypasses_row_security(const char *role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(role));
	Form_pg_authid form;
	bool		bypasses;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for role \"%s\"", role);
	form = (Form_pg_authid) GETSTRUCT(tuple);
	bypasses = form->rolbypassrls && !form->rolsuper;
	ReleaseSysCache(tuple);
	return bypasses;
}

static RoleSpec *
role_spec(const char *role)
{
	RoleSpec   *spec = makeNode(RoleSpec);

	spec->roletype = ROLESPEC_CSTRING;
	spec->rolename = pstrdup(role);
	spec->location = -1;
	return spec;
}

static void
run_command(Node *command)
{
	PlannedStmt *planned = makeNode(PlannedStmt);

	CHECK_FOR_INTERRUPTS();
	planned->commandType = CMD_UTILITY;
	planned->canSetTag = true;
	planned->utilityStmt = command;
	planned->stmt_location = -1;
	ProcessUtility(planned, "a command of billing.grant_access or billing.revoke_access", false,
				   PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
	CommandCounterIncrement();
}

static void
audit_access(const char *action, const char *role, const char *level)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.audit_log (tenant_id, real_at, actor, action, object, object_id, after) "
		"VALUES (0, pg_catalog.now(), $1, $2, 'role', $3, pg_catalog.jsonb_build_object('level', $4))",
		.expected = SPI_OK_INSERT,
		.nargs = 4,
		.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false)),
		CStringGetTextDatum(action),
		CStringGetTextDatum(role),
		level == NULL ? (Datum) 0 : CStringGetTextDatum(level)
	};

	(void) billing_spi_run(&query, args, level == NULL ? "   n" : NULL);
}
