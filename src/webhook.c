/*-------------------------------------------------------------------------
 *
 * webhook.c
 *	  Where events go: endpoints, what they are signed with, and which events they want.
 *
 * A secret is shown to who makes it, once, and never again: what is stored is sealed,
 * and what a retry of the same request returns has none.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "flow.h"
#include "guc.h"
#include "http.h"
#include "result.h"
#include "sealed.h"
#include "sign.h"
#include "webhook.h"

BILLING_FUNCTION(billing_event_type_matches);
BILLING_FUNCTION(billing_create_webhook_endpoint);
BILLING_FUNCTION(billing_update_webhook_endpoint);
BILLING_FUNCTION(billing_rotate_webhook_secret);
BILLING_FUNCTION(billing_enable_webhook_endpoint);

#define TABLE "webhook_endpoint"
#define URL_MAX 2048			/* as the table says, in bytes */
#define RATE_LIMIT_MAX 100000	/* the same */
#define HEADERS_MAX 8192

/* The arguments of create_webhook_endpoint. */
enum
{
	CREATE_URL, CREATE_EVENT_TYPES, CREATE_SCHEME, CREATE_SECRET, CREATE_HEADERS, CREATE_RATE_LIMIT, CREATE_IS_ORDERED,
	CREATE_ONLY_TENANT_ID, CREATE_DESCRIPTION, CREATE_REQUEST_ID
};

/* Those of rotate_webhook_secret. */
enum
{
	ROTATE_ENDPOINT_ID, ROTATE_KEEP, ROTATE_SCHEME, ROTATE_SECRET, ROTATE_REQUEST_ID
};

/* What update_webhook_endpoint may be given: a member, of which type, and that type's name. */
typedef struct Member
{
	const char *name;
	enum jbvType type;			/* a number may be a string, as ids in events are */
	const char *type_name;
	bool		is_nullable;
} Member;

static const Member members[] = {
	{"url", jbvString, "string", false},
	{"event_types", jbvBinary, "array", true},
	{"headers", jbvBinary, "object", true},
	{"rate_limit", jbvNumeric, "number", true},
	{"is_ordered", jbvBool, "boolean", false},
	{"only_tenant_id", jbvNumeric, "number", true},
	{"description", jbvString, "string", true},
};

/* A secret as it is stored, and as it is shown to who makes it. */
typedef struct Secret
{
	Datum		sealed;			/* as text, which SQL reads as a sealed value */
	Datum		text;
	Datum		public_key;		/* (Datum) 0: it has none */
} Secret;

static bool matches(const char *type, int type_len, const char *filter, int filter_len);
static void check_url(const char *url);
static void check_event_types(Datum event_types);
static void check_rate_limit(int64 rate_limit);
static void check_only_tenant(int64 tenant_id);
static BillingSignScheme read_scheme(const char *name);
static Secret make_secret(FunctionCallInfo fcinfo, int arg, BillingSignScheme scheme);
static const char *read_secret(const char *text, BillingSignScheme scheme, BillingSignKey *key);
static Datum seal(const char *purpose, const char *text, size_t len);
static Datum seal_headers(Jsonb *headers);
static void append_header(StringInfo lines, const JsonbValue *name, const JsonbValue *value);
static bool is_header_name(const char *name);
static bool is_header_value(const char *value);
pg_noreturn static void report_header(const char *name, const char *problem);
static int64 insert_endpoint(FunctionCallInfo fcinfo, const Secret *secret, Datum headers, Datum *row);
static void check_changes(Jsonb *changes);
static void check_member(const char *name, const JsonbValue *value);
static int64 read_number(const char *name, const JsonbValue *value);
pg_noreturn static void report_change(const char *name, const char *problem);
static Datum change_endpoint(const BillingFlow *flow, int64 endpoint_id, Jsonb *changes);
static Datum read_event_types(Jsonb *changes);
static void check_keep(const Interval *keep);
static BillingSignScheme current_scheme(int64 endpoint_id);
static Datum replace_secret(const BillingFlow *flow, int64 endpoint_id, const Secret *secret);
static Datum finish_secret(BillingFlow *flow, int64 endpoint_id, const Secret *secret, Datum previous_until);

/*
 * billing_event_type_matches
 *		Does an endpoint with these filters want events of a type?
 */
Datum
billing_event_type_matches(PG_FUNCTION_ARGS)
{
	text	   *type;
	Datum	   *filters;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		PG_RETURN_BOOL(true);

	type = PG_GETARG_TEXT_PP(0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &filters, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i] && matches(VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type),
								 VARDATA_ANY(DatumGetPointer(filters[i])), VARSIZE_ANY_EXHDR(DatumGetPointer(filters[i]))))
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

/*
 * matches
 *		Does * of a filter stand for some characters, none among them, so that it is the type?
 *
 * Where the rest does not fit, only the last * may stand for more: one before it would
 * gain nothing.  So it takes at most their product.
 */
static bool
matches(const char *type, int type_len, const char *filter, int filter_len)
{
	int			t = 0;
	int			f = 0;
	int			star = -1;		/* place of the last * */
	int			resume = 0;		/* where what it stands for ends, so far */

	while (t < type_len)
	{
		if (f < filter_len && filter[f] == '*')
		{
			star = f++;
			resume = t;
		}
		else if (f < filter_len && filter[f] == type[t])
		{
			f++;
			t++;
		}
		else if (star >= 0)
		{
			f = star + 1;
			t = ++resume;
		}
		else
			return false;
	}
	while (f < filter_len && filter[f] == '*')
		f++;
	return f == filter_len;
}

/*
 * billing_create_webhook_endpoint
 *		Add an endpoint; shows its secret.
 */
Datum
billing_create_webhook_endpoint(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Secret		secret;
	Datum		headers = (Datum) 0;
	Datum		row;
	Datum		result;
	int64		endpoint_id;

	billing_flow_require(fcinfo, CREATE_URL, "url");
	billing_flow_require(fcinfo, CREATE_SCHEME, "scheme");
	billing_flow_require(fcinfo, CREATE_IS_ORDERED, "is_ordered");
	check_url(text_to_cstring(PG_GETARG_TEXT_PP(CREATE_URL)));
	if (billing_flow_begin_global(&flow, fcinfo, "create_webhook_endpoint", CREATE_REQUEST_ID, TABLE, &result))
		return result;

	if (!PG_ARGISNULL(CREATE_EVENT_TYPES))
		check_event_types(PG_GETARG_DATUM(CREATE_EVENT_TYPES));
	if (!PG_ARGISNULL(CREATE_RATE_LIMIT))
		check_rate_limit(PG_GETARG_INT32(CREATE_RATE_LIMIT));
	if (!PG_ARGISNULL(CREATE_ONLY_TENANT_ID))
		check_only_tenant(PG_GETARG_INT64(CREATE_ONLY_TENANT_ID));
	secret = make_secret(fcinfo, CREATE_SECRET, read_scheme(text_to_cstring(PG_GETARG_TEXT_PP(CREATE_SCHEME))));
	if (!PG_ARGISNULL(CREATE_HEADERS))
		headers = seal_headers(PG_GETARG_JSONB_P(CREATE_HEADERS));
	endpoint_id = insert_endpoint(fcinfo, &secret, headers, &row);
	billing_flow_audit(&flow, TABLE, endpoint_id, (Datum) 0, row);

	return finish_secret(&flow, endpoint_id, &secret, (Datum) 0);
}

/*
 * check_url
 *		Judge what the text of a URL shows; it is not repeated, since it may hold a secret.
 */
static void
check_url(const char *url)
{
	const char *problem = billing_http_check_url(url, billing_webhook_allow_private);

	if (problem == NULL && strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		problem = "It begins neither with https:// nor with http://.";
	if (problem == NULL && strlen(url) > URL_MAX)
		problem = "It is longer than 2048 bytes.";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("webhooks cannot go to that URL"),
				 errdetail("argument=url: %s", problem),
				 errhint("Give a URL such as https://example.com/webhooks; addresses that are not public need billing.webhook_allow_private.")));
}

/* A filter that no type fits was mistyped. */
static void
check_event_types(Datum event_types)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(f, 'null') FROM unnest($1) f"
		" WHERE f IS NULL OR NOT EXISTS (SELECT FROM billing.event_type t WHERE billing.event_type_matches(t.type, ARRAY[f])) LIMIT 1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTARRAYOID},
	};
	ArrayType  *array = DatumGetArrayTypeP(event_types);
	bool		isnull;
	char	   *filter;

	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0)
		filter = "";
	else if (billing_spi_run(&query, &event_types, NULL) == 0)
		return;
	else
		filter = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no type of event is \"%.*s\"", BILLING_QUOTED(filter, strlen(filter))),
			 errdetail("argument=event_types value=%.*s", BILLING_QUOTED(filter, strlen(filter))),
			 errhint("Give types of billing.event_type, with * for any characters, as in invoice.*; NULL for all.")));
}

static void
check_rate_limit(int64 rate_limit)
{
	if (rate_limit < 1 || rate_limit > RATE_LIMIT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rate limit of a webhook endpoint is %lld", (long long) rate_limit),
				 errdetail("argument=rate_limit value=%lld", (long long) rate_limit),
				 errhint("Give requests a second, from 1 to %d, or null for no bound.", RATE_LIMIT_MAX)));
}

static void
check_only_tenant(int64 tenant_id)
{
	if (tenant_id < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no tenant has the id %lld", (long long) tenant_id),
				 errdetail("argument=only_tenant_id value=%lld", (long long) tenant_id),
				 errhint("Give the only tenant whose events it gets, or null for every tenant's.")));
}

static BillingSignScheme
read_scheme(const char *name)
{
	if (strcmp(name, "v1") == 0)
		return BILLING_SIGN_V1;
	if (strcmp(name, "v1a") == 0)
		return BILLING_SIGN_V1A;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no scheme of signatures is \"%.*s\"", BILLING_QUOTED(name, strlen(name))),
			 errdetail("argument=scheme value=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Give v1, HMAC-SHA256 by a shared secret, or v1a, Ed25519.")));
}

/*
 * make_secret
 *		The secret that was given, or one of random bytes.
 */
static Secret
make_secret(FunctionCallInfo fcinfo, int arg, BillingSignScheme scheme)
{
	bool		is_given = !PG_ARGISNULL(arg);
	BillingSignKey key;
	char		secret[BILLING_SIGN_TEXT_MAX] = "";
	char		public_key[BILLING_SIGN_TEXT_MAX] = "";
	const char *problem = NULL;
	bool		done;
	Secret		result = {0};

	if (is_given)
	{
		char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(arg));

		problem = read_secret(given, scheme, &key);
		strlcpy(secret, given, sizeof(secret));
		billing_sealed_forget(given);
	}
	done = problem == NULL && (is_given || billing_sign_make(scheme, &key, secret)) &&
		(scheme == BILLING_SIGN_V1 || billing_sign_public_key(&key, public_key));
	billing_sign_forget(&key, sizeof(key));
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("secret of a webhook endpoint is malformed"),
				 errdetail("argument=secret: %s", problem),
				 errhint("Give whsec_ and base64 for v1, whsk_ and base64 for v1a, or NULL to have one made.")));
	if (!done)
		elog(ERROR, "OpenSSL gave no key");

	result.text = CStringGetTextDatum(secret);
	result.sealed = seal(BILLING_WEBHOOK_SECRET, secret, strlen(secret));
	if (scheme == BILLING_SIGN_V1A)
		result.public_key = CStringGetTextDatum(public_key);
	billing_sign_forget(secret, sizeof(secret));
	return result;
}

static const char *
read_secret(const char *text, BillingSignScheme scheme, BillingSignKey *key)
{
	const char *problem = billing_sign_read(text, key);

	if (problem == NULL && key->scheme != scheme)
		problem = "It is of the other scheme.";
	return problem;
}

/* A sealed value as text, which SQL reads as one. */
static Datum
seal(const char *purpose, const char *text, size_t len)
{
	return CStringGetTextDatum(billing_sealed_text(billing_sealed_make(0, purpose, text, len)));
}

/*
 * seal_headers
 *		Headers as lines "Name: value", sealed.
 */
static Datum
seal_headers(Jsonb *headers)
{
	JsonbIterator *it = JsonbIteratorInit(&headers->root);
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;
	StringInfoData lines;
	Datum		sealed;

	if (!JB_ROOT_IS_OBJECT(headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers of a webhook endpoint are no JSON object"),
				 errdetail("argument=headers"),
				 errhint("Give an object such as {\"Authorization\": \"Bearer ...\"}.")));
	initStringInfo(&lines);
	(void) JsonbIteratorNext(&it, &name, true);
	while ((token = JsonbIteratorNext(&it, &name, true)) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		append_header(&lines, &name, &value);
	}
	if (lines.len > HEADERS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers of a webhook endpoint are longer than %d bytes", HEADERS_MAX),
				 errdetail("argument=headers bytes=%d", lines.len),
				 errhint("Send what is long in the body, or keep it where it is read.")));
	sealed = seal(BILLING_WEBHOOK_HEADERS, lines.data, lines.len);
	billing_sign_forget(lines.data, lines.len);
	return sealed;
}

static void
append_header(StringInfo lines, const JsonbValue *name, const JsonbValue *value)
{
	char	   *key = pnstrdup(name->val.string.val, name->val.string.len);
	char	   *text;

	if (value->type != jbvString)
		report_header(key, "has a value that is no string");
	text = pnstrdup(value->val.string.val, value->val.string.len);
	if (!is_header_name(key))
		report_header(key, "is no name of a header that may be set");
	if (!is_header_value(text))
		report_header(key, "has a value with a control character");
	appendStringInfo(lines, "%s: %s\n", key, text);
	billing_sign_forget(text, strlen(text));
}

/* A token, as RFC 9110 says, that is none of those that we and libcurl set. */
static bool
is_header_name(const char *name)
{
	static const char *const ours[] = {
		"connection", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer",
		"transfer-encoding", "upgrade", "user-agent"
	};
	size_t		len = strlen(name);

	if (len == 0 || len > 127 ||
		strspn(name, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != len ||
		pg_strncasecmp(name, "webhook-", 8) == 0)
		return false;
	for (int i = 0; i < lengthof(ours); i++)
	{
		if (pg_strcasecmp(name, ours[i]) == 0)
			return false;
	}
	return true;
}

static bool
is_header_value(const char *value)
{
	for (const unsigned char *p = (const unsigned char *) value; *p != '\0'; p++)
	{
		if ((*p < ' ' && *p != '\t') || *p == 0x7f)
			return false;
	}
	return true;
}

static void
report_header(const char *name, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("header \"%.*s\" %s", BILLING_QUOTED(name, strlen(name)), problem),
			 errdetail("argument=headers member=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Give an object such as {\"Authorization\": \"Bearer ...\"}; those that begin with webhook- and those of the body and the connection are set already.")));
}

static int64
insert_endpoint(FunctionCallInfo fcinfo, const Secret *secret, Datum headers, Datum *row)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.webhook_endpoint AS e"
		" (url, event_types, rate_limit, is_ordered, only_tenant_id, description, secret, public_key, headers)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7::billing.sealed, $8, $9::billing.sealed)"
		" RETURNING e.endpoint_id, e",
		.expected = SPI_OK_INSERT_RETURNING,
		.nargs = 9,
		.argtypes = {TEXTOID, TEXTARRAYOID, INT4OID, BOOLOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
	};
	static const int from[] = {
		CREATE_URL, CREATE_EVENT_TYPES, CREATE_RATE_LIMIT, CREATE_IS_ORDERED, CREATE_ONLY_TENANT_ID, CREATE_DESCRIPTION
	};
	Datum		args[9];
	char		nulls[] = "         ";
	bool		isnull;

	for (int i = 0; i < lengthof(from); i++)
	{
		args[i] = PG_GETARG_DATUM(from[i]);
		nulls[i] = PG_ARGISNULL(from[i]) ? 'n' : ' ';
	}
	args[6] = secret->sealed;
	args[7] = secret->public_key;
	nulls[7] = secret->public_key == (Datum) 0 ? 'n' : ' ';
	args[8] = headers;
	nulls[8] = headers == (Datum) 0 ? 'n' : ' ';
	(void) billing_spi_run(&query, args, nulls);
	*row = billing_spi_copy(0, 2, CurrentMemoryContext);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/*
 * billing_update_webhook_endpoint
 *		Change what an endpoint is.
 */
Datum
billing_update_webhook_endpoint(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	Jsonb	   *changes;
	int64		endpoint_id;

	billing_flow_require(fcinfo, 0, "endpoint_id");
	billing_flow_require(fcinfo, 1, "changes");
	endpoint_id = PG_GETARG_INT64(0);
	changes = PG_GETARG_JSONB_P(1);
	(void) billing_flow_begin_global(&flow, fcinfo, "update_webhook_endpoint", BILLING_NO_REQUEST, TABLE, &result);
	billing_webhook_find(endpoint_id);
	check_changes(changes);
	result = change_endpoint(&flow, endpoint_id, changes);
	return billing_flow_end(&flow, result);
}

/*
 * check_changes
 *		Every member may be changed, to what it may be; what is in an array or an object is judged
 *		where it is read.
 */
static void
check_changes(Jsonb *changes)
{
	JsonbIterator *it = JsonbIteratorInit(&changes->root);
	JsonbValue	v;

	if (!JB_ROOT_IS_OBJECT(changes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes of a webhook endpoint are no JSON object"),
				 errdetail("argument=changes"),
				 errhint("Give an object such as {\"rate_limit\": 10}.")));
	(void) JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(v.val.string.val, v.val.string.len);

		(void) JsonbIteratorNext(&it, &v, true);
		check_member(name, &v);
	}
}

static void
check_member(const char *name, const JsonbValue *value)
{
	const Member *member = NULL;

	for (int i = 0; i < lengthof(members); i++)
	{
		if (strcmp(name, members[i].name) == 0)
			member = &members[i];
	}
	if (member == NULL)
		report_change(name, "cannot be changed");
	if (value->type == jbvNull && member->is_nullable)
		return;
	if (value->type != member->type && !(member->type == jbvNumeric && value->type == jbvString))
		report_change(name, psprintf("is no %s", member->type_name));
	if (strcmp(name, "url") == 0)
		check_url(pnstrdup(value->val.string.val, value->val.string.len));
	else if (strcmp(name, "rate_limit") == 0)
		check_rate_limit(read_number(name, value));
	else if (strcmp(name, "only_tenant_id") == 0)
		check_only_tenant(read_number(name, value));
}

/* A whole number, as JSON writes it or in a string. */
static int64
read_number(const char *name, const JsonbValue *value)
{
	char	   *text = value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) :
		DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	char	   *end;
	int64		number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
		report_change(name, "is no whole number");
	return number;
}

static void
report_change(const char *name, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%.*s\" of a webhook endpoint %s", BILLING_QUOTED(name, strlen(name)), problem),
			 errdetail("argument=changes member=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Members are: url, event_types, headers, rate_limit, is_ordered, only_tenant_id, description.")));
}

static Datum
change_endpoint(const BillingFlow *flow, int64 endpoint_id, Jsonb *changes)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.webhook_endpoint e SET"
		" url = CASE WHEN c ? 'url' THEN c ->> 'url' ELSE e.url END,"
		" event_types = CASE WHEN c ? 'event_types' THEN $3 ELSE e.event_types END,"
		" headers = CASE WHEN c ? 'headers' THEN $4::billing.sealed ELSE e.headers END,"
		" rate_limit = CASE WHEN c ? 'rate_limit' THEN (c ->> 'rate_limit')::integer ELSE e.rate_limit END,"
		" is_ordered = CASE WHEN c ? 'is_ordered' THEN (c ->> 'is_ordered')::boolean ELSE e.is_ordered END,"
		" only_tenant_id = CASE WHEN c ? 'only_tenant_id' THEN (c ->> 'only_tenant_id')::bigint ELSE e.only_tenant_id END,"
		" description = CASE WHEN c ? 'description' THEN c ->> 'description' ELSE e.description END"
		" FROM (SELECT $2) x (c) WHERE e.endpoint_id = $1 RETURNING e",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, JSONBOID, TEXTARRAYOID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(endpoint_id), JsonbPGetDatum(changes), (Datum) 0, (Datum) 0};
	char		nulls[] = "  nn";
	JsonbValue *headers;

	args[2] = read_event_types(changes);
	if (args[2] != (Datum) 0)
	{
		check_event_types(args[2]);
		nulls[2] = ' ';
	}
	headers = getKeyJsonValueFromContainer(&changes->root, "headers", 7, NULL);
	if (headers != NULL && headers->type != jbvNull)
	{
		args[3] = seal_headers(JsonbValueToJsonb(headers));
		nulls[3] = ' ';
	}
	(void) billing_spi_run(&query, args, nulls);
	return billing_spi_copy(0, 1, flow->caller);
}

/* Member event_types as text[]; (Datum) 0 if it is null or absent. */
static Datum
read_event_types(Jsonb *changes)
{
	JsonbValue *array = getKeyJsonValueFromContainer(&changes->root, "event_types", 11, NULL);
	Datum	   *filters;
	int			count;

	if (array == NULL || array->type == jbvNull)
		return (Datum) 0;
	if (!JsonContainerIsArray(array->val.binary.data))
		report_change("event_types", "is no array");
	count = JsonContainerSize(array->val.binary.data);
	filters = palloc((count + 1) * sizeof(Datum));
	for (int i = 0; i < count; i++)
	{
		JsonbValue *filter = getIthJsonbValueFromContainer(array->val.binary.data, i);

		if (filter->type != jbvString)
			report_change("event_types", "has an element that is no string");
		filters[i] = PointerGetDatum(cstring_to_text_with_len(filter->val.string.val, filter->val.string.len));
	}
	return PointerGetDatum(construct_array(filters, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * billing_rotate_webhook_secret
 *		Give an endpoint another secret; the one before signs as well for a while.
 */
Datum
billing_rotate_webhook_secret(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Secret		secret;
	Datum		previous_until;
	Datum		result;
	int64		endpoint_id;

	billing_flow_require(fcinfo, ROTATE_ENDPOINT_ID, "endpoint_id");
	billing_flow_require(fcinfo, ROTATE_KEEP, "keep");
	check_keep(PG_GETARG_INTERVAL_P(ROTATE_KEEP));
	endpoint_id = PG_GETARG_INT64(ROTATE_ENDPOINT_ID);
	if (billing_flow_begin_global(&flow, fcinfo, "rotate_webhook_secret", ROTATE_REQUEST_ID, TABLE, &result))
		return result;

	secret = make_secret(fcinfo, ROTATE_SECRET, PG_ARGISNULL(ROTATE_SCHEME) ? current_scheme(endpoint_id) :
						 read_scheme(text_to_cstring(PG_GETARG_TEXT_PP(ROTATE_SCHEME))));
	previous_until = replace_secret(&flow, endpoint_id, &secret);
	return finish_secret(&flow, endpoint_id, &secret, previous_until);
}

static void
check_keep(const Interval *keep)
{
	if (keep->month >= 0 && keep->day >= 0 && keep->time >= 0 && billing_interval_is_finite(keep) && keep->month <= 12 && keep->day <= 366)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a secret cannot be kept that long"),
			 errdetail("argument=keep"),
			 errhint("Give an interval from 0 to a year.")));
}

static BillingSignScheme
current_scheme(int64 endpoint_id)
{
	static BillingQuery query = {
		.sql = "SELECT e.public_key IS NOT NULL FROM billing.webhook_endpoint e WHERE e.endpoint_id = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(endpoint_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_webhook_not_found(endpoint_id);
	return DatumGetBool(billing_spi_value(0, 1, &isnull)) ? BILLING_SIGN_V1A : BILLING_SIGN_V1;
}

/* By the real time: that is what signs by. */
static Datum
replace_secret(const BillingFlow *flow, int64 endpoint_id, const Secret *secret)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.webhook_endpoint e SET secret = $2::billing.sealed, public_key = $3,"
		" previous_secret = CASE WHEN $4 > '0' THEN e.secret END, previous_until = CASE WHEN $4 > '0' THEN pg_catalog.now() + $4 END"
		" WHERE e.endpoint_id = $1 RETURNING e.previous_until",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, INTERVALOID},
	};
	Datum		args[] = {
		Int64GetDatum(endpoint_id), secret->sealed, secret->public_key, flow->fcinfo->args[ROTATE_KEEP].value
	};

	if (billing_spi_run(&query, args, secret->public_key == (Datum) 0 ? "  n " : NULL) == 0)
		billing_webhook_not_found(endpoint_id);
	return billing_spi_copy(0, 1, flow->caller);
}

/*
 * finish_secret
 *		End a flow whose result shows a secret: what is kept of it for a retry does not.
 */
static Datum
finish_secret(BillingFlow *flow, int64 endpoint_id, const Secret *secret, Datum previous_until)
{
	MemoryContext old = MemoryContextSwitchTo(flow->caller);
	Datum		values[] = {Int64GetDatum(endpoint_id), secret->text, secret->public_key, previous_until};
	bool		nulls[] = {false, false, secret->public_key == (Datum) 0, previous_until == (Datum) 0};
	Datum		shown = billing_result_make(flow->fcinfo, lengthof(values), values, nulls);

	nulls[1] = true;
	(void) billing_flow_end(flow, billing_result_make(flow->fcinfo, lengthof(values), values, nulls));
	MemoryContextSwitchTo(old);
	return shown;
}

/*
 * billing_enable_webhook_endpoint
 *		Let events go to an endpoint again, or no more.
 */
Datum
billing_enable_webhook_endpoint(PG_FUNCTION_ARGS)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.webhook_endpoint e SET is_enabled = $2,"
		" disabled_at = CASE WHEN NOT $2 THEN coalesce(e.disabled_at, billing.now()) END,"
		" disabled_reason = CASE WHEN NOT $2 THEN $3 END"
		" WHERE e.endpoint_id = $1 RETURNING e",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 3,
		.argtypes = {INT8OID, BOOLOID, TEXTOID},
	};
	BillingFlow flow;
	Datum		args[3];
	Datum		result;

	billing_flow_require(fcinfo, 0, "endpoint_id");
	billing_flow_require(fcinfo, 1, "is_enabled");
	(void) billing_flow_begin_global(&flow, fcinfo, "enable_webhook_endpoint", BILLING_NO_REQUEST, TABLE, &result);
	for (int i = 0; i < lengthof(args); i++)
		args[i] = PG_GETARG_DATUM(i);
	if (billing_spi_run(&query, args, PG_ARGISNULL(2) ? "  n" : NULL) == 0)
		billing_webhook_not_found(PG_GETARG_INT64(0));
	result = billing_spi_copy(0, 1, flow.caller);
	return billing_flow_end(&flow, result);
}

void
billing_webhook_find(int64 endpoint_id)
{
	(void) current_scheme(endpoint_id);
}

void
billing_webhook_not_found(int64 endpoint_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_BILLING_NOT_FOUND),
			 errmsg("webhook endpoint %lld does not exist", (long long) endpoint_id),
			 errdetail("object=webhook_endpoint id=%lld", (long long) endpoint_id),
			 errhint("Table billing.webhook_endpoint has them.")));
}
