/*-------------------------------------------------------------------------
 *
 * override.c
 *	  What one tenant has whatever its plans say.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "entitlement.h"
#include "flow.h"
#include "limit.h"
#include "spi.h"

BILLING_FUNCTION(billing_override_entitlement);
BILLING_FUNCTION(billing_remove_override);

/* The arguments of override_entitlement. */
enum
{
	ARG_TENANT_ID, ARG_FEATURE, ARG_VALUE, ARG_EXPIRES_AT, ARG_REASON, ARG_REQUEST_ID
};

/* What is said of a feature: on or off, or a limit. */
typedef struct Override
{
	bool		is_limit;
	bool		is_granted;
	BillingLimit limit;
} Override;

static void check_feature(FunctionCallInfo fcinfo);
static void check_expiry(FunctionCallInfo fcinfo);
static void read_value(Jsonb *value, Override *override);
pg_noreturn static void report_value(void);
static char *find_span(const BillingFlow *flow);
static Datum find_override(const BillingFlow *flow, const char *per);
static Datum write_override(const BillingFlow *flow, const Override *override, const char *per);

/*
 * billing_override_entitlement
 *		Say what a tenant has of one feature, until it expires.
 */
Datum
billing_override_entitlement(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Override	override;
	const char *per = "";
	Datum		before;
	Datum		result;

	check_feature(fcinfo);
	billing_flow_require(fcinfo, ARG_VALUE, "value");
	read_value(PG_GETARG_JSONB_P(ARG_VALUE), &override);
	if (billing_flow_begin(&flow, fcinfo, "override_entitlement", ARG_REQUEST_ID, &result))
		return result;
	check_expiry(fcinfo);

	if (override.is_limit)
		per = override.limit.per != NULL ? override.limit.per : find_span(&flow);
	before = find_override(&flow, per);
	result = write_override(&flow, &override, per);
	(void) billing_entitlement_refresh_one(flow.tenant_id);
	billing_flow_audit_action(flow.tenant_id, flow.name, "entitlement_override",
							  text_to_cstring(PG_GETARG_TEXT_PP(ARG_FEATURE)), before, result);
	return billing_flow_end(&flow, result);
}

static void
check_feature(FunctionCallInfo fcinfo)
{
	int			len;

	billing_flow_require(fcinfo, ARG_FEATURE, "feature");
	len = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(ARG_FEATURE));
	if (len < 1 || len > 63)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("feature has %d bytes", len),
				 errdetail("argument=feature bytes=%d", len),
				 errhint("Name it as plan.features or plan.limits does, by 1 to 63 bytes.")));
}

/* Of a first call: a retry may come when it has expired. */
static void
check_expiry(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_EXPIRES_AT) || PG_GETARG_TIMESTAMPTZ(ARG_EXPIRES_AT) > billing_clock_now())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("an override cannot expire at %s", timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(ARG_EXPIRES_AT))),
			 errdetail("argument=expires_at value=%s", timestamptz_to_str(PG_GETARG_TIMESTAMPTZ(ARG_EXPIRES_AT))),
			 errhint("Give an instant to come, or NULL; to end one now, call billing.remove_override.")));
}

static void
read_value(Jsonb *value, Override *override)
{
	JsonbValue	scalar;

	memset(override, 0, sizeof(*override));
	override->is_limit = true;
	if (JB_ROOT_IS_OBJECT(value))
	{
		billing_limit_read(&value->root, false, &override->limit);
		return;
	}
	if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar))
		report_value();

	if (scalar.type == jbvNumeric)
		billing_limit_read_number(NumericGetDatum(scalar.val.numeric), &override->limit);
	else if (scalar.type == jbvBool)
	{
		override->is_limit = false;
		override->is_granted = scalar.val.boolean;
	}
	else
		report_value();
}

static void
report_value(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("an override is neither true nor false nor a limit"),
			 errdetail("argument=value"),
			 errhint("Give true or false for a feature; a number, or {\"limit\": 1000, \"per\": \"month\", \"kind\": \"soft\"}, for a limit.")));
}

/*
 * find_span
 *		In what time the tenant's limit is counted that an override speaks of without
 *		saying so; 22023 if there are several.
 */
static char *
find_span(const BillingFlow *flow)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(min(l.per), 'period'), count(DISTINCT l.per) FROM billing.entitlement_limit l"
		" WHERE l.tenant_id = $1 AND l.meter = $2",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), flow->fcinfo->args[ARG_FEATURE].value};
	char	   *feature = text_to_cstring(DatumGetTextPP(args[1]));
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	if (DatumGetInt64(billing_spi_value(0, 2, &isnull)) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of tenant %lld has several limits", feature, (long long) flow->tenant_id),
				 errdetail("argument=value tenant_id=%lld feature=%s", (long long) flow->tenant_id, feature),
				 errhint("Say which, as in {\"limit\": 1000, \"per\": \"month\"}.")));
	return TextDatumGetCString(billing_spi_value(0, 1, &isnull));
}

static Datum
find_override(const BillingFlow *flow, const char *per)
{
	static BillingQuery query = {
		.sql = "SELECT o FROM billing.entitlement_override o WHERE o.tenant_id = $1 AND o.feature = $2 AND o.per = $3",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), flow->fcinfo->args[ARG_FEATURE].value, CStringGetTextDatum(per)};

	if (billing_spi_run(&query, args, NULL) == 0)
		return (Datum) 0;
	return billing_spi_copy(0, 1, flow->caller);
}

static Datum
write_override(const BillingFlow *flow, const Override *override, const char *per)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.entitlement_override AS o"
		" (tenant_id, feature, per, is_granted, quantity, kind, starts_at, expires_at, reason)"
		" VALUES ($1, $2, $3, $4, $5, $6, billing.now(), coalesce($7, 'infinity'), $8)"
		" ON CONFLICT (tenant_id, feature, per) DO UPDATE SET is_granted = excluded.is_granted, quantity = excluded.quantity,"
		"   kind = excluded.kind, starts_at = excluded.starts_at, expires_at = excluded.expires_at, reason = excluded.reason"
		" RETURNING o",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 8,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, BOOLOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID, TEXTOID},
	};
	NullableDatum *given = flow->fcinfo->args;
	const BillingLimit *limit = &override->limit;
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), given[ARG_FEATURE].value, CStringGetTextDatum(per), BoolGetDatum(override->is_granted),
		limit->quantity, limit->kind != NULL ? CStringGetTextDatum(limit->kind) : (Datum) 0, given[ARG_EXPIRES_AT].value,
		given[ARG_REASON].value
	};
	char		nulls[] = {
		' ', ' ', ' ', override->is_limit ? 'n' : ' ', !override->is_limit || limit->is_unlimited ? 'n' : ' ',
		limit->kind == NULL ? 'n' : ' ', given[ARG_EXPIRES_AT].isnull ? 'n' : ' ', given[ARG_REASON].isnull ? 'n' : ' ', '\0'
	};

	(void) billing_spi_run(&query, args, nulls);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * billing_remove_override
 *		Let the plans count again; returns how many overrides of the feature there were.
 */
Datum
billing_remove_override(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "DELETE FROM billing.entitlement_override o WHERE o.tenant_id = $1 AND o.feature = $2 RETURNING o",
		.expected = SPI_OK_DELETE_RETURNING,
		.nargs = 2,
		.argtypes = {INT8OID, TEXTOID},
	};
	BillingFlow flow;
	Datum		args[2];
	Datum	   *removed;
	Datum		result;
	uint64		count;

	check_feature(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "remove_override", 2, &result))
		return result;

	args[0] = Int64GetDatum(flow.tenant_id);
	args[1] = PG_GETARG_DATUM(ARG_FEATURE);
	count = billing_spi_run(&query, args, NULL);
	removed = palloc(Max(count, 1) * sizeof(Datum));
	for (uint64 i = 0; i < count; i++)
		removed[i] = billing_spi_copy(i, 1, flow.caller);
	for (uint64 i = 0; i < count; i++)
		billing_flow_audit_action(flow.tenant_id, flow.name, "entitlement_override",
								  text_to_cstring(PG_GETARG_TEXT_PP(ARG_FEATURE)), removed[i], (Datum) 0);
	(void) billing_entitlement_refresh_one(flow.tenant_id);
	return billing_flow_end(&flow, Int64GetDatum(count));
}
