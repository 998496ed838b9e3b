/*-------------------------------------------------------------------------
 *
 * flow.c
 *	  What every flow begins and ends with: who calls, the lock, the request.
 *
 * A flow runs with the rights of the extension's owner, so it asks itself whether
 * its caller may act for the tenant.  The caller is the role of the session, or the
 * one it took by SET ROLE: never current_user, which is the owner here.
 *
 * A request is looked up and kept under the lock of the tenant's row.  So of two
 * calls with one request_id the second waits, and then finds what the first did.
 *
 * The lock is worth something only if what is read under it is what the holder
 * before left.  READ COMMITTED sees to that; in the other levels a flow is refused
 * where it is not so.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "amount.h"
#include "flow.h"
#include "guc.h"
#include "hash.h"
#include "id.h"
#include "wake.h"

/* In bytes, as table billing.request says. */
#define REQUEST_ID_MAX 255

static void open_for(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, int request_arg, int64 tenant_id);
static bool is_tenant_of_session(int64 tenant_id);
static void check_request_id(const text *request_id);
static void lock_tenant(int64 tenant_id);
static bool try_lock_tenant(int64 tenant_id);
static char *read_traces(Datum tenant_ids, Snapshot snapshot);
static bytea *hash_arguments(FunctionCallInfo fcinfo, int request_arg);
static void append_argument(StringInfo buffer, NullableDatum value, Oid type);
static void report_key_reused(const BillingFlow *flow);
static Oid	result_type(const BillingFlow *flow);
static void keep_request(const BillingFlow *flow, Datum result);
static char *write_result(Oid type, Datum result);
static Datum read_result(BillingFlow *flow, Oid type, const char *text);
static Datum read_row(Oid type, const char *text);

/*
 * billing_flow_begin
 *		Let a caller act for a tenant, alone; or say what its request returned.
 */
bool
billing_flow_begin(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name,
				   int request_arg, Datum *result)
{
	billing_flow_open(flow, fcinfo, name, request_arg);
	lock_tenant(flow->tenant_id);

	if (flow->request_id == NULL || !billing_flow_find_request(flow, result))
		return false;
	billing_spi_end();
	return true;
}

void
billing_flow_begin_for(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, int64 tenant_id)
{
	open_for(flow, fcinfo, name, BILLING_NO_REQUEST, tenant_id);
	lock_tenant(tenant_id);
}

bool
billing_flow_begin_verified(BillingFlow *flow, const char *name, int64 tenant_id)
{
	memset(flow, 0, sizeof(BillingFlow));
	flow->name = name;
	flow->tenant_id = tenant_id;
	flow->caller = CurrentMemoryContext;
	return try_lock_tenant(tenant_id);
}

/*
 * billing_flow_open
 *		What begins a flow whose tenant need not exist: no lock, no request.
 */
void
billing_flow_open(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, int request_arg)
{
	billing_flow_require(fcinfo, 0, "tenant_id");
	open_for(flow, fcinfo, name, request_arg, PG_GETARG_INT64(0));
}

/*
 * billing_flow_begin_global
 *		Begin a flow for no tenant, alone in writing a global table.
 *
 * Who reads the table is not kept waiting: events are written by what it says.
 */
bool
billing_flow_begin_global(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, int request_arg,
						  const char *table, Datum *result)
{
	open_for(flow, fcinfo, name, request_arg, 0);
	LockRelationOid(get_relname_relid(table, get_namespace_oid("billing", false)), ShareRowExclusiveLock);

	if (flow->request_id == NULL || !billing_flow_find_request(flow, result))
		return false;
	billing_spi_end();
	return true;
}

static void
open_for(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, int request_arg, int64 tenant_id)
{
	flow->fcinfo = fcinfo;
	flow->name = name;
	flow->tenant_id = tenant_id;
	flow->caller = CurrentMemoryContext;
	flow->request_id = NULL;
	flow->arguments = NULL;
	billing_flow_check_caller(flow->tenant_id);

	if (request_arg != BILLING_NO_REQUEST)
	{
		if (!PG_ARGISNULL(request_arg))
			flow->request_id = PG_GETARG_TEXT_PP(request_arg);
		check_request_id(flow->request_id);
		flow->arguments = hash_arguments(fcinfo, request_arg);
	}
	billing_spi_begin();
}

/* What the table would refuse, before anything is done. */
static void
check_request_id(const text *request_id)
{
	int			len = request_id == NULL ? 1 : VARSIZE_ANY_EXHDR(request_id);

	if (len < 1 || len > REQUEST_ID_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request_id has %d bytes", len),
				 errdetail("argument=request_id bytes=%d", len),
				 errhint("Give it from 1 to %d bytes, or NULL.", REQUEST_ID_MAX)));
}

void
billing_flow_require(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errdetail("argument=%s", name),
				 errhint("Give it a value.")));
}

void
billing_flow_require_batch(FunctionCallInfo fcinfo, int arg, const char *of)
{
	billing_flow_require(fcinfo, arg, "batch");
	if (PG_GETARG_INT32(arg) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be positive"),
				 errdetail("argument=batch batch=%d", PG_GETARG_INT32(arg)),
				 errhint("It is how many %s; 10000 is the default.", of)));
}

void
billing_flow_check_caller(int64 tenant_id)
{
	if (has_bypassrls_privilege(GetOuterUserId()) || is_tenant_of_session(tenant_id))
		return;

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_OTHER_TENANT),
			 errmsg("role \"%s\" cannot act for tenant %lld",
					GetUserNameFromId(GetOuterUserId(), false), (long long) tenant_id),
			 errdetail("tenant_id=%lld", (long long) tenant_id),
			 errhint("Set billing.tenant_id to the tenant's id, or call as a role of level admin.")));
}

/* The setting holds a bigint or nothing: its check saw to that. */
static bool
is_tenant_of_session(int64 tenant_id)
{
	return billing_tenant_id[0] != '\0' && strtoll(billing_tenant_id, NULL, 10) == tenant_id;
}

static void
lock_tenant(int64 tenant_id)
{
	if (!try_lock_tenant(tenant_id))
		billing_flow_not_found("tenant", tenant_id, NULL);
}

/* False: there is none. */
static bool
try_lock_tenant(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant WHERE tenant_id = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	billing_flow_check_snapshot(billing_id_array_of(tenant_id));
	return true;
}

/*
 * billing_flow_check_snapshot
 *		Refuse to act by a snapshot that does not show what was done for the tenants.
 *
 * The row that is locked was not changed, so that PostgreSQL finds no conflict: usage
 * that another transaction compacted would be billed by nobody, say.
 */
void
billing_flow_check_snapshot(Datum tenant_ids)
{
	if (!IsolationUsesXactSnapshot() ||
		strcmp(read_traces(tenant_ids, GetTransactionSnapshot()), read_traces(tenant_ids, GetLatestSnapshot())) == 0)
		return;

	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to what was done meanwhile for the same tenant"),
			 errdetail("isolation=%s", XactIsoLevel == XACT_SERIALIZABLE ? "serializable" : "repeatable read"),
			 errhint("Repeat the transaction, or use READ COMMITTED.")));
}

/*
 * read_traces
 *		What a snapshot shows of all that anybody does for tenants: each flow adds a
 *		subscription, an invoice or a version of one, a correction of usage, an attempt of collection, or moves the
 *		usage horizon; what a person does, coupons and credit say, stands in the audit log.
 */
static char *
read_traces(Datum tenant_ids, Snapshot snapshot)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(string_agg(concat_ws(' ', t.tenant_id, s.count, s.versions, i.count, i.versions, c.count, p.count, a.last, h.snapshot), ','"
		"    ORDER BY t.tenant_id), '')"
		"  FROM (SELECT DISTINCT unnest($1) AS tenant_id) t"
		"  LEFT JOIN billing.usage_horizon h ON h.tenant_id = t.tenant_id"
		" CROSS JOIN LATERAL (SELECT count(*), sum(s.version) AS versions"
		"    FROM billing.subscription s WHERE s.tenant_id = t.tenant_id) s"
		" CROSS JOIN LATERAL (SELECT count(*), sum(i.version) AS versions"
		"    FROM billing.invoice i WHERE i.tenant_id = t.tenant_id) i"
		" CROSS JOIN LATERAL (SELECT count(*) FROM billing.usage_correction c WHERE c.tenant_id = t.tenant_id) c"
		" CROSS JOIN LATERAL (SELECT count(*) FROM billing.collection_attempt p WHERE p.tenant_id = t.tenant_id) p"
		" CROSS JOIN LATERAL (SELECT max(a.audit_id) AS last FROM billing.audit_log a WHERE a.tenant_id = t.tenant_id) a",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8ARRAYOID},
		.options = CURSOR_OPT_GENERIC_PLAN,
	};
	bool		isnull;
	char	   *traces;

	PushActiveSnapshot(snapshot);
	(void) billing_spi_run_snapshot(&query, &tenant_ids, NULL);
	traces = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	PopActiveSnapshot();
	return traces;
}

void
billing_flow_find_tenant(int64 tenant_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("tenant", tenant_id, NULL);
}

void
billing_flow_find_invoice(int64 tenant_id, int64 invoice_id)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.invoice i WHERE i.tenant_id = $1 AND i.invoice_id = $2",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(invoice_id)};

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("invoice", tenant_id, psprintf("%lld", (long long) invoice_id));
}

void
billing_flow_key_reused(const char *object, int64 tenant_id, const char *key_name, const char *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_KEY_REUSED),
			 errmsg("%s \"%.*s\" of tenant %lld is another one", object, BILLING_QUOTED(key, strlen(key)), (long long) tenant_id),
			 errdetail("tenant_id=%lld %s=%.*s", (long long) tenant_id, key_name, BILLING_QUOTED(key, strlen(key))),
			 errhint("Repeat a call with the arguments it had, or give another %s a %s of its own.", object, key_name)));
}

void
billing_flow_not_found(const char *object, int64 tenant_id, const char *id)
{
	if (id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("%s %lld does not exist", object, (long long) tenant_id),
				 errdetail("object=%s tenant_id=%lld", object, (long long) tenant_id),
				 billing_flow_hint_hidden(tenant_id) ? 0 :
				 errhint("Read the ids there are from billing.%s.", object)));
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("%s %s of tenant %lld does not exist", object, id, (long long) tenant_id),
			 errdetail("object=%s tenant_id=%lld id=%s", object, (long long) tenant_id, id),
			 billing_flow_hint_hidden(tenant_id) ? 0 :
			 errhint("Read those of the tenant from billing.%s.", object)));
}

/*
 * billing_flow_hint_hidden
 *		Say so in the error being reported, if row security hides the tenant's rows.
 *
 * To a reader what is hidden does not exist.  Whether it does, the hint does not say.
 */
bool
billing_flow_hint_hidden(int64 tenant_id)
{
	if (has_bypassrls_privilege(GetOuterUserId()) || is_tenant_of_session(tenant_id))
		return false;
	errhint("Role \"%s\" sees only the tenant that billing.tenant_id names, and it does not name tenant %lld.",
			GetUserNameFromId(GetOuterUserId(), false), (long long) tenant_id);
	return true;
}

/*
 * hash_arguments
 *		SHA-256 over every argument but the request_id, in their stored form.
 *
 * Not by the types' output or send functions, which depend on the session: on
 * DateStyle, say, or on the client's encoding.
 */
static bytea *
hash_arguments(FunctionCallInfo fcinfo, int request_arg)
{
	StringInfoData buffer;
	Oid		   *types;
	int			nargs;

	(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &nargs);
	Assert(nargs == PG_NARGS());

	initStringInfo(&buffer);
	for (int i = 0; i < nargs; i++)
	{
		if (i != request_arg)
			append_argument(&buffer, fcinfo->args[i], types[i]);
	}
	return billing_hash_make(buffer.data, buffer.len);
}

/*
 * append_argument
 *		One byte for NULL or a value, then the value's length and bytes.
 */
static void
append_argument(StringInfo buffer, NullableDatum value, Oid type)
{
	int16		typlen;
	bool		typbyval;
	const char *data = (const char *) &value.value;
	uint64		len = sizeof(Datum);

	appendStringInfoChar(buffer, value.isnull ? 'n' : 'v');
	if (value.isnull)
		return;

	get_typlenbyval(type, &typlen, &typbyval);
	if (typlen == -1)
	{
		struct varlena *varlena = PG_DETOAST_DATUM_PACKED(value.value);

		data = VARDATA_ANY(varlena);
		len = VARSIZE_ANY_EXHDR(varlena);
	}
	else if (!typbyval)
	{
		data = DatumGetPointer(value.value);
		len = typlen;
	}

	appendBinaryStringInfo(buffer, (const char *) &len, sizeof(len));
	appendBinaryStringInfo(buffer, data, len);
}

/*
 * billing_flow_find_request
 *		Whether the request was seen before; then *result is what it returned.
 */
bool
billing_flow_find_request(BillingFlow *flow, Datum *result)
{
	static BillingQuery query = {
		.sql = "SELECT arguments = $4, result FROM billing.request "
		"WHERE tenant_id = $1 AND function = $2 AND request_id = $3",
		.expected = SPI_OK_SELECT,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, BYTEAOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id),
		CStringGetTextDatum(flow->name),
		PointerGetDatum(flow->request_id),
		PointerGetDatum(flow->arguments)
	};
	bool		isnull;
	Datum		stored;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	if (!DatumGetBool(billing_spi_value(0, 1, &isnull)))
		report_key_reused(flow);

	stored = billing_spi_value(0, 2, &isnull);
	flow->fcinfo->isnull = isnull;
	*result = isnull ? (Datum) 0 :
		read_result(flow, result_type(flow), TextDatumGetCString(stored));
	return true;
}

static void
report_key_reused(const BillingFlow *flow)
{
	char	   *request_id = text_to_cstring(flow->request_id);

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_KEY_REUSED),
			 errmsg("request \"%s\" of %s was made with other arguments", request_id, flow->name),
			 errdetail("tenant_id=%lld function=%s request_id=%s",
					   (long long) flow->tenant_id, flow->name, request_id),
			 errhint("Repeat a request with the arguments it had, or give another one a request_id of its own.")));
}

static Oid
result_type(const BillingFlow *flow)
{
	return get_func_rettype(flow->fcinfo->flinfo->fn_oid);
}

/*
 * billing_flow_end
 *		Keep what the request returned, and leave.
 *
 * Any flow may have changed what is due, and when.
 */
Datum
billing_flow_end(BillingFlow *flow, Datum result)
{
	billing_wake_due_at_commit();
	if (flow->request_id != NULL)
		keep_request(flow, result);
	billing_spi_end();
	return result;
}

/*
 * keep_request
 *		Remember the request and its result for a retry.
 *
 * In READ COMMITTED there is no conflict, since the tenant is locked.  A
 * transaction that cannot see what was committed meanwhile gets 40001 from it.
 */
static void
keep_request(const BillingFlow *flow, Datum result)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.request (tenant_id, function, request_id, arguments, result) "
		"VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		.expected = SPI_OK_INSERT,
		.nargs = 5,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID},
	};
	Oid			type = result_type(flow);
	bool		isnull = result == (Datum) 0 && !get_typbyval(type);
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id),
		CStringGetTextDatum(flow->name),
		PointerGetDatum(flow->request_id),
		PointerGetDatum(flow->arguments),
		isnull ? (Datum) 0 : CStringGetTextDatum(write_result(type, result))
	};

	(void) billing_spi_run(&query, args, isnull ? "    n" : NULL);
}

/*
 * write_result
 *		A result as text that read_result reads in any session.
 *
 * A row is written as JSON, with its columns' names: a table that gained a column
 * since can still read it, and instants are in ISO form.
 */
static char *
write_result(Oid type, Datum result)
{
	Oid			output;
	bool		is_varlena;

	if (type_is_rowtype(type))
		return TextDatumGetCString(DirectFunctionCall1(row_to_json, result));
	getTypeOutputInfo(type, &output, &is_varlena);
	return OidOutputFunctionCall(output, result);
}

static Datum
read_result(BillingFlow *flow, Oid type, const char *text)
{
	MemoryContext old = MemoryContextSwitchTo(flow->caller);
	Datum		result;

	if (type_is_rowtype(type))
		result = read_row(type, text);
	else
	{
		Oid			input;
		Oid			ioparam;

		getTypeInputInfo(type, &input, &ioparam);
		result = OidInputFunctionCall(input, unconstify(char *, text), ioparam, -1);
	}

	MemoryContextSwitchTo(old);
	return result;
}

/*
 * read_row
 *		json_populate_record, which learns the row's type from how it is called.
 */
static Datum
read_row(Oid type, const char *text)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo	flinfo;

	fmgr_info(F_JSON_POPULATE_RECORD, &flinfo);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_JSON_POPULATE_RECORD, type,
											 list_make1(makeNullConst(type, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
					   &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = (Datum) 0;
	fcinfo->args[0].isnull = true;
	fcinfo->args[1].value = CStringGetTextDatum(text);
	fcinfo->args[1].isnull = false;
	return FunctionCallInvoke(fcinfo);
}

/*
 * billing_flow_audit
 *		Say in audit_log who did what to an object.
 */
void
billing_flow_audit(BillingFlow *flow, const char *object, int64 object_id,
				   Datum before, Datum after)
{
	billing_flow_audit_action(flow->tenant_id, flow->name, object,
							  psprintf("%lld", (long long) object_id), before, after);
}

/*
 * billing_flow_audit_action
 *		The same for what is no flow: a change of a global table is of tenant 0.
 */
void
billing_flow_audit_action(int64 tenant_id, const char *action, const char *object,
						  const char *object_id, Datum before, Datum after)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.audit_log "
		"(tenant_id, real_at, actor, action, object, object_id, before, after) "
		"VALUES ($1, pg_catalog.now(), $2, $3, $4, $5, "
		"pg_catalog.to_jsonb($6), pg_catalog.to_jsonb($7))",
		.expected = SPI_OK_INSERT,
		.nargs = 7,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, RECORDOID, RECORDOID},
	};
	Datum		args[] = {
		Int64GetDatum(tenant_id),
		CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false)),
		CStringGetTextDatum(action),
		CStringGetTextDatum(object),
		CStringGetTextDatum(object_id),
		before,
		after
	};
	char		nulls[] = "       ";

	if (before == (Datum) 0)
		nulls[5] = 'n';
	if (after == (Datum) 0)
		nulls[6] = 'n';
	(void) billing_spi_run(&query, args, nulls);
}

int
billing_flow_claim(BillingQuery *query, Datum *args, Datum *tenant_ids, Datum *ids, int64 *last)
{
	int			count = billing_spi_run(query, args, NULL);
	Datum	   *pairs = palloc((2 * count + 1) * sizeof(Datum));
	bool		isnull;

	for (int i = 0; i < count; i++)
	{
		pairs[i] = billing_spi_value(i, 1, &isnull);
		pairs[count + i] = billing_spi_value(i, 2, &isnull);
		last[0] = DatumGetInt64(pairs[i]);
		last[1] = DatumGetInt64(pairs[count + i]);
	}
	*tenant_ids = billing_id_array(pairs, count);
	*ids = billing_id_array(pairs + count, count);
	return count;
}

void
billing_flow_check_open(const BillingFlow *flow, const char *what, const char *hint)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.tenant t WHERE t.tenant_id = $1 AND t.status = 'closed'",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id)};

	if (billing_spi_run(&query, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("tenant %lld is closed and takes no %s", (long long) flow->tenant_id, what),
				 errdetail("object=tenant id=%lld status=closed", (long long) flow->tenant_id),
				 errhint("%s", hint)));
}
