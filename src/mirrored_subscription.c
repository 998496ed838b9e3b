/*-------------------------------------------------------------------------
 *
 * mirrored_subscription.c
 *	  Subscriptions that a gateway keeps and bills, as it tells of them.
 *
 * A mirror is what the gateway said last.  Callbacks come in any order and again, and their instants are
 * those of another clock, in seconds: so one that is not later than what is known changes nothing by
 * itself, and the gateway is asked how the subscription is.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "clock.h"
#include "encoding.h"
#include "event.h"
#include "flow.h"
#include "gateway_account.h"
#include "gateway_request.h"
#include "mirrored_subscription.h"
#include "spi.h"

BILLING_FUNCTION(billing_resync_subscription);

#define ID_MAX			255
#define INSTANT_MAX		INT64CONST(253402300799)	/* the end of year 9999 */

/* How long behind an answer that was overtaken by a callback it is asked for again. */
#define ASK_AGAIN		(2 * USECS_PER_SEC)

/* The arguments of resync_subscription. */
enum
{
	TENANT_ID, GATEWAY, EXTERNAL_ID, REQUEST_ID
};

/* What is written of a mirror, in the order of the statement. */
enum
{
	OF_TENANT, OF_MIRROR, STATUS, CUSTOMER, PRICE, QUANTITY, CURRENCY, STARTED, TRIAL_END, PERIOD_START, PERIOD_END, CANCELS, CANCEL, CANCELED,
	ENDED, INVOICE, INVOICE_STATUS, INVOICE_TOTAL, TOLD, NVALUES
};

/* Values of a statement, NULL until they are put. */
typedef struct Values
{
	Datum		args[NVALUES];
	char		nulls[NVALUES + 1];
} Values;

static void check_external_id(FunctionCallInfo fcinfo);
static void check_is_of_this(const BillingFlow *flow, const char *gateway, const char *external_id);
static int64 begin_mirror(int64 tenant_id, const char *gateway, const char *external_id);
static Datum show(const BillingFlow *flow, int64 mirror_id);
static bool find_mirror(const char *gateway, const char *external_id, int64 *tenant_id, int64 *mirror_id);
static int64 find_customer(const char *gateway, const char *customer_id);
static int64 read_id(const char *text);
static const char *check_tenant(const BillingFlow *flow, const BillingGatewayAnswer *answer);
static const char *check_customer(const BillingFlow *flow, const BillingNews *news);
static TimestampTz known_until(const BillingFlow *flow, int64 mirror_id);
static bool is_known_invoice(const BillingFlow *flow, int64 mirror_id, const char *invoice, const char *status);
static void write_mirror(const BillingFlow *flow, int64 mirror_id, const BillingNews *news);
static void write_invoice(const BillingFlow *flow, int64 mirror_id, const BillingNews *news);
static void write_error(const BillingFlow *flow, int64 mirror_id, const BillingGatewayAnswer *answer);
static void begin_values(Values *values, const BillingFlow *flow, int64 mirror_id);
static void put(Values *values, int place, Datum value);
static void put_text(Values *values, int place, const char *utf8);
static void put_member(Values *values, int place, const BillingGatewayAnswer *answer, const char *name);
static void put_number(Values *values, int place, const BillingGatewayAnswer *answer, const char *name);
static void put_instant(Values *values, int place, const BillingGatewayAnswer *answer, const char *name);
static void put_total(Values *values, const BillingNews *news);
static bool read_number(const BillingGatewayAnswer *answer, const char *name, int64 max, int64 *number);
static const char *currency_code(const char *text);

/*
 * billing_resync_subscription
 *		Begin to mirror a subscription, or ask how one is that is mirrored.
 */
Datum
billing_resync_subscription(PG_FUNCTION_ARGS)
{
	BillingFlow flow;
	Datum		result;
	const char *gateway;
	const char *external_id;
	int64		mirror_id;
	int64		request;

	billing_flow_require(fcinfo, GATEWAY, "gateway");
	check_external_id(fcinfo);
	if (billing_flow_begin(&flow, fcinfo, "resync_subscription", REQUEST_ID, &result))
		return result;
	gateway = text_to_cstring(PG_GETARG_TEXT_PP(GATEWAY));
	external_id = text_to_cstring(PG_GETARG_TEXT_PP(EXTERNAL_ID));
	(void) billing_gateway_account_open(gateway);
	check_is_of_this(&flow, gateway, external_id);

	mirror_id = begin_mirror(flow.tenant_id, gateway, external_id);
	request = billing_gateway_ask(flow.tenant_id, gateway, BILLING_GATEWAY_SUBSCRIPTION, mirror_id, 0);
	(void) billing_gateway_answer_here(&flow, request);
	result = show(&flow, mirror_id);
	billing_flow_audit(&flow, "mirrored_subscription", mirror_id, (Datum) 0, result);
	return billing_flow_end(&flow, result);
}

static void
check_external_id(FunctionCallInfo fcinfo)
{
	size_t		len;

	billing_flow_require(fcinfo, EXTERNAL_ID, "external_id");
	len = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(EXTERNAL_ID));
	if (len == 0 || len > ID_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"external_id\" of resync_subscription is empty or too long"),
				 errdetail("argument=external_id bytes=%zu", len),
				 errhint("Give the gateway's id of the subscription, such as sub_1MowQV, of 1 to %d bytes.", ID_MAX)));
}

/* A subscription is of one tenant. */
static void
check_is_of_this(const BillingFlow *flow, const char *gateway, const char *external_id)
{
	int64		tenant_id;
	int64		mirror_id;

	if (find_mirror(gateway, external_id, &tenant_id, &mirror_id) && tenant_id != flow->tenant_id)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("subscription \"%.*s\" of gateway \"%s\" is mirrored for another tenant", BILLING_QUOTED(external_id, strlen(external_id)),
						gateway),
				 errdetail("gateway=%s external_id=%.*s", gateway, BILLING_QUOTED(external_id, strlen(external_id))),
				 errhint("A subscription that is kept at a gateway is of one tenant.")));
}

/* The one that there is, or a new one. */
static int64
begin_mirror(int64 tenant_id, const char *gateway, const char *external_id)
{
	static BillingQuery query = {
		.sql = "WITH made AS (INSERT INTO billing.mirrored_subscription AS m (tenant_id, gateway, external_id) VALUES ($1, $2, $3)"
		"   ON CONFLICT (tenant_id, gateway, external_id) DO NOTHING RETURNING m.mirror_id)"
		" SELECT d.mirror_id FROM made d UNION ALL"
		" SELECT m.mirror_id FROM billing.mirrored_subscription m WHERE m.tenant_id = $1 AND m.gateway = $2 AND m.external_id = $3",
		.expected = SPI_OK_SELECT,
		.nargs = 3,
		.argtypes = {INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), CStringGetTextDatum(gateway), CStringGetTextDatum(external_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

static Datum
show(const BillingFlow *flow, int64 mirror_id)
{
	static BillingQuery query = {
		.sql = "SELECT m FROM billing.mirrored_subscription m WHERE m.tenant_id = $1 AND m.mirror_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(mirror_id)};

	(void) billing_spi_run(&query, args, NULL);
	return billing_spi_copy(0, 1, flow->caller);
}

bool
billing_mirror_find(const char *gateway, const BillingGatewayAnswer *answer, int64 *tenant_id, int64 *mirror_id)
{
	if (answer->external_id == NULL || strlen(answer->external_id) > ID_MAX)
		return false;
	if (find_mirror(gateway, answer->external_id, tenant_id, mirror_id))
		return true;
	*mirror_id = 0;
	*tenant_id = read_id(billing_pairs_find(&answer->memory, "tenant_id"));
	if (*tenant_id == 0)
		*tenant_id = find_customer(gateway, answer->customer_id);
	return *tenant_id != 0;
}

static bool
find_mirror(const char *gateway, const char *external_id, int64 *tenant_id, int64 *mirror_id)
{
	static BillingQuery query = {
		.sql = "SELECT m.tenant_id, m.mirror_id FROM billing.mirrored_subscription m WHERE m.external_id = $2 AND m.gateway = $1"
		" ORDER BY m.mirror_id LIMIT 1",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {TEXTOID, TEXTOID},
	};
	Datum		args[] = {CStringGetTextDatum(gateway), CStringGetTextDatum(external_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	*tenant_id = DatumGetInt64(billing_spi_value(0, 1, &isnull));
	*mirror_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	return true;
}

/* The one tenant that is this customer; 0: none, or several. */
static int64
find_customer(const char *gateway, const char *customer_id)
{
	static BillingQuery query = {
		.sql = "SELECT min(c.tenant_id) FROM billing.gateway_customer c WHERE c.gateway = $1 AND c.customer_id = $2 HAVING count(*) = 1",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TEXTOID},
	};
	Datum		args[2];
	bool		isnull;

	if (customer_id == NULL)
		return 0;
	args[0] = CStringGetTextDatum(gateway);
	args[1] = CStringGetTextDatum(customer_id);
	return billing_spi_run(&query, args, NULL) == 0 ? 0 : DatumGetInt64(billing_spi_value(0, 1, &isnull));
}

/* 0: it is no id. */
static int64
read_id(const char *text)
{
	char	   *end;
	int64		id;

	if (text == NULL || text[0] < '1' || text[0] > '9')
		return 0;
	errno = 0;
	id = strtoll(text, &end, 10);
	return errno != 0 || *end != '\0' ? 0 : id;
}

/*
 * billing_mirror_learn
 *		Change a mirror as the gateway tells, and say so; NULL, or why it is not believed.
 *
 * An answer is as old as its question, and what a callback told since goes before it: then it is asked for again.
 */
const char *
billing_mirror_learn(BillingFlow *flow, int64 *mirror_id, const BillingNews *news)
{
	const BillingGatewayAnswer *answer = news->answer;
	const char *problem = check_tenant(flow, answer);
	bool		is_callback = news->operation != BILLING_GATEWAY_SUBSCRIPTION;
	bool		is_whole = billing_pairs_find(&answer->memory, "status") != NULL;
	const char *invoice = billing_pairs_find(&answer->memory, "latest_invoice");
	const char *invoice_status = billing_pairs_find(&answer->memory, "latest_invoice_status");
	TimestampTz known;

	if (problem != NULL)
		return problem;
	if (*mirror_id == 0)
		*mirror_id = begin_mirror(flow->tenant_id, news->gateway, answer->external_id);
	if (answer->outcome != BILLING_GATEWAY_SUCCEEDED)
	{
		write_error(flow, *mirror_id, answer);
		return NULL;
	}

	known = known_until(flow, *mirror_id);
	problem = known == DT_NOBEGIN ? check_customer(flow, news) : NULL;
	if (problem != NULL)
		return problem;
	if (is_whole && (is_callback ? news->at > known : news->at >= known))
		write_mirror(flow, *mirror_id, news);
	else if (!is_whole && invoice != NULL && news->at > known && is_known_invoice(flow, *mirror_id, invoice, invoice_status))
		write_invoice(flow, *mirror_id, news);
	else
		(void) billing_gateway_ask(flow->tenant_id, news->gateway, BILLING_GATEWAY_SUBSCRIPTION, *mirror_id,
								   is_callback ? 0 : billing_clock_real() + ASK_AGAIN);
	return NULL;
}

/* It may name its tenant itself, and is not mirrored for another then. */
static const char *
check_tenant(const BillingFlow *flow, const BillingGatewayAnswer *answer)
{
	const char *told = billing_pairs_find(&answer->memory, "tenant_id");

	if (told == NULL || read_id(told) == flow->tenant_id)
		return NULL;
	return psprintf("tenant_id=%lld told=%.40s", (long long) flow->tenant_id, billing_encoding_read_bytes(told, strlen(told)));
}

/* Nor is one that names none, and whose customer is another tenant, shown to whoever knows its id. */
static const char *
check_customer(const BillingFlow *flow, const BillingNews *news)
{
	const BillingGatewayAnswer *answer = news->answer;
	int64		tenant_id = billing_pairs_find(&answer->memory, "tenant_id") == NULL ? find_customer(news->gateway, answer->customer_id) : 0;

	return tenant_id == 0 || tenant_id == flow->tenant_id ? NULL :
		psprintf("tenant_id=%lld customer_of=%lld", (long long) flow->tenant_id, (long long) tenant_id);
}

static TimestampTz
known_until(const BillingFlow *flow, int64 mirror_id)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(m.told_at, '-infinity') FROM billing.mirrored_subscription m WHERE m.tenant_id = $1 AND m.mirror_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(mirror_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("mirrored_subscription", flow->tenant_id, psprintf("%lld", (long long) mirror_id));
	return DatumGetTimestampTz(billing_spi_value(0, 1, &isnull));
}

/*
 * is_known_invoice
 *		Whether its last one is that, and has not come to an end that this is older than.
 *
 * An earlier one may be paid late, and of a later one the subscription will tell.  Nothing tells when what is known of one was so: what
 * is open becomes something else, and what has become that does not by news that may have been on the way for longer.
 */
static bool
is_known_invoice(const BillingFlow *flow, int64 mirror_id, const char *invoice, const char *status)
{
	static BillingQuery query = {
		.sql = "SELECT FROM billing.mirrored_subscription m WHERE m.tenant_id = $1 AND m.mirror_id = $2 AND m.invoice = $3"
		" AND (coalesce(m.invoice_status, 'draft') IN ('draft', 'open') OR m.invoice_status = $4)",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(mirror_id), billing_encoding_datum(invoice),
		billing_encoding_datum(status == NULL ? "" : status)
	};

	return billing_spi_run(&query, args, NULL) > 0;
}

/* What is told of an invoice that is the same as before stays where nothing is told of it. */
#define NEW_STATE \
	"($3, coalesce($4, m.customer_id), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16," \
	" CASE WHEN $17 IS NULL AND m.invoice = $16 THEN m.invoice_status ELSE $17 END," \
	" CASE WHEN $18 IS NULL AND m.invoice = $16 THEN m.invoice_total ELSE $18::billing.amount END)"
#define STATE(m) \
	"(" m "status, " m "customer_id, " m "price, " m "quantity, " m "currency, " m "started_at, " m "trial_end, " m "period_start, " m "period_end," \
	" " m "cancels_at_period_end, " m "cancel_at, " m "canceled_at, " m "ended_at, " m "invoice, " m "invoice_status, " m "invoice_total)"

/* It is what the gateway says of it; if that is how it was, only since when that is known changes. */
static void
write_mirror(const BillingFlow *flow, int64 mirror_id, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.mirrored_subscription m SET told_at = $19, error = NULL, version = m.version + o.is_other::integer, "
		STATE("") " = " NEW_STATE
		"  FROM (SELECT m.error IS NOT NULL OR " STATE("m.") " IS DISTINCT FROM " NEW_STATE " AS is_other"
		"    FROM billing.mirrored_subscription m WHERE m.tenant_id = $1 AND m.mirror_id = $2) o"
		" WHERE m.tenant_id = $1 AND m.mirror_id = $2 RETURNING o.is_other",
		.expected = SPI_OK_UPDATE_RETURNING,
		.by_key = true,
		.nargs = NVALUES,
		.argtypes = {
			INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID,
			TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID
		},
	};
	const BillingGatewayAnswer *answer = news->answer;
	const char *cancels = billing_pairs_find(&answer->memory, "cancels_at_period_end");
	Values		values;
	bool		isnull;

	begin_values(&values, flow, mirror_id);
	put_member(&values, STATUS, answer, "status");
	put_text(&values, CUSTOMER, answer->customer_id);
	put_member(&values, PRICE, answer, "price");
	put_number(&values, QUANTITY, answer, "quantity");
	put_text(&values, CURRENCY, currency_code(billing_pairs_find(&answer->memory, "currency")));
	put_instant(&values, STARTED, answer, "started_at");
	put_instant(&values, TRIAL_END, answer, "trial_ends_at");
	put_instant(&values, PERIOD_START, answer, "period_starts_at");
	put_instant(&values, PERIOD_END, answer, "period_ends_at");
	put(&values, CANCELS, BoolGetDatum(cancels != NULL && strcmp(cancels, "true") == 0));
	put_instant(&values, CANCEL, answer, "cancel_at");
	put_instant(&values, CANCELED, answer, "canceled_at");
	put_instant(&values, ENDED, answer, "ended_at");
	put_member(&values, INVOICE, answer, "latest_invoice");
	put_member(&values, INVOICE_STATUS, answer, "latest_invoice_status");
	put_total(&values, news);
	put(&values, TOLD, TimestampTzGetDatum(news->at));
	(void) billing_spi_run(&query, values.args, values.nulls);
	if (DatumGetBool(billing_spi_value(0, 1, &isnull)))
		billing_event_emit(flow->tenant_id, "mirrored_subscription.updated", mirror_id);
}

/*
 * write_invoice
 *		What became of the last invoice.
 *
 * It says nothing of the subscription, so that told_at stays: news of that may be older than these.
 */
static void
write_invoice(const BillingFlow *flow, int64 mirror_id, const BillingNews *news)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.mirrored_subscription m SET invoice_status = coalesce($3, m.invoice_status),"
		"   invoice_total = coalesce($4::billing.amount, m.invoice_total), version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.mirror_id = $2 AND (m.invoice_status, m.invoice_total)"
		"   IS DISTINCT FROM (coalesce($3, m.invoice_status), coalesce($4::billing.amount, m.invoice_total))",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 4,
		.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID},
	};
	Values		values;
	Datum		args[4];
	char		nulls[] = "    ";

	begin_values(&values, flow, mirror_id);
	put_member(&values, INVOICE_STATUS, news->answer, "latest_invoice_status");
	put_total(&values, news);
	args[0] = values.args[OF_TENANT];
	args[1] = values.args[OF_MIRROR];
	args[2] = values.args[INVOICE_STATUS];
	args[3] = values.args[INVOICE_TOTAL];
	nulls[2] = values.nulls[INVOICE_STATUS];
	nulls[3] = values.nulls[INVOICE_TOTAL];
	if (billing_spi_run(&query, args, nulls) > 0)
		billing_event_emit(flow->tenant_id, "mirrored_subscription.updated", mirror_id);
}

/* The gateway did not say how it is: what is known stays. */
static void
write_error(const BillingFlow *flow, int64 mirror_id, const BillingGatewayAnswer *answer)
{
	static BillingQuery query = {
		.sql = "UPDATE billing.mirrored_subscription m SET error = $3, version = m.version + 1"
		" WHERE m.tenant_id = $1 AND m.mirror_id = $2 AND m.error IS DISTINCT FROM $3",
		.expected = SPI_OK_UPDATE,
		.by_key = true,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, TEXTOID},
	};
	Datum		args[] = {
		Int64GetDatum(flow->tenant_id), Int64GetDatum(mirror_id), CStringGetTextDatum(answer->code == NULL ? "unknown" : answer->code)
	};

	if (billing_spi_run(&query, args, NULL) > 0)
		billing_event_emit(flow->tenant_id, "mirrored_subscription.updated", mirror_id);
}

static void
begin_values(Values *values, const BillingFlow *flow, int64 mirror_id)
{
	memset(values, 0, sizeof(*values));
	memset(values->nulls, 'n', NVALUES);
	put(values, OF_TENANT, Int64GetDatum(flow->tenant_id));
	put(values, OF_MIRROR, Int64GetDatum(mirror_id));
}

static void
put(Values *values, int place, Datum value)
{
	values->args[place] = value;
	values->nulls[place] = ' ';
}

/* In the encoding of the database; one that is too long for a name of anything is none. */
static void
put_text(Values *values, int place, const char *utf8)
{
	if (utf8 != NULL && strlen(utf8) <= ID_MAX)
		put(values, place, CStringGetTextDatum(billing_encoding_replace(pstrdup(utf8), PG_UTF8, GetDatabaseEncoding())));
}

static void
put_member(Values *values, int place, const BillingGatewayAnswer *answer, const char *name)
{
	put_text(values, place, billing_pairs_find(&answer->memory, name));
}

static void
put_number(Values *values, int place, const BillingGatewayAnswer *answer, const char *name)
{
	int64		number;

	if (read_number(answer, name, PG_INT32_MAX, &number))
		put(values, place, Int32GetDatum((int32) number));
}

static void
put_instant(Values *values, int place, const BillingGatewayAnswer *answer, const char *name)
{
	int64		seconds;

	if (read_number(answer, name, INSTANT_MAX, &seconds))
		put(values, place, TimestampTzGetDatum(time_t_to_timestamptz((pg_time_t) seconds)));
}

/* Of the last invoice, as text. */
static void
put_total(Values *values, const BillingNews *news)
{
	const char *currency = currency_code(billing_pairs_find(&news->answer->memory, "latest_invoice_currency"));
	BillingAmount total;
	int64		units;

	if (currency != NULL && read_number(news->answer, "latest_invoice_units", PG_INT64_MAX, &units) &&
		billing_gateway_account_amount(billing_gateway_account_open(news->gateway), units, currency, &total))
		put(values, INVOICE_TOTAL, CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(billing_amount_out, PointerGetDatum(&total)))));
}

/* One that is whole, from 0 to max. */
static bool
read_number(const BillingGatewayAnswer *answer, const char *name, int64 max, int64 *number)
{
	const char *text = billing_pairs_find(&answer->memory, name);
	char	   *end;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && *number <= max;
}

/* As ISO 4217 writes a currency; NULL: it is none. */
static const char *
currency_code(const char *text)
{
	char	   *copy;

	if (text == NULL || strlen(text) != 3)
		return NULL;
	copy = pstrdup(text);
	for (char *c = copy; *c != '\0'; c++)
		*c = pg_ascii_toupper((unsigned char) *c);
	return copy;
}
