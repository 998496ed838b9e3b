/*-------------------------------------------------------------------------
 *
 * reconcile.c
 *	  What gateways say they have settled: files read, fees posted.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "encoding.h"
#include "flow.h"
#include "gateway/settlement.h"
#include "hash.h"
#include "id.h"
#include "merchant_no.h"
#include "result.h"
#include "store.h"

BILLING_FUNCTION(billing_read_settlement);
BILLING_FUNCTION(billing_post_settlement_fees);

#define MAX_ID_LEN 255

#define COLUMNS "tenant_id,line_hash,gateway,kind,at,amount,fee,net,number,pay_no,external_id,payment_external_id,line_id"

/* Where lines go. */
typedef struct Loader
{
	BillingStore *store;
	Datum		gateway;
} Loader;

static const char *lock_gateway(Datum gateway);
static void read_file(Loader *loader, const char *driver, text *content);
static void put_line(void *arg, const BillingSettlementLine *line);
static int64 find_tenant(const BillingSettlementLine *line);
static bool find_tenant_of(const char *number, int64 *tenant_id);
static Datum hash_line(const BillingSettlementLine *line);
static void put_text(BillingStore *store, const char *utf8);
static void put_amount(BillingStore *store, bool is_stated, int64 units, const BillingCurrency *currency);
static uint64 insert_lines(BillingStore *store);
static void delete_unnamed(void);
static Datum lock_tenants(Datum *args);
static int64 post_fees(Datum *args);

/*
 * billing_read_settlement
 *		Read a file of a gateway's; what is there already stays as it is.
 */
Datum
billing_read_settlement(PG_FUNCTION_ARGS)
{
	Loader		loader;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	billing_flow_require(fcinfo, 0, "gateway");
	billing_flow_require(fcinfo, 1, "content");
	billing_spi_begin();
	loader.gateway = PG_GETARG_DATUM(0);
	loader.store = billing_store_make_like("settlement", "settlement_line", COLUMNS);
	read_file(&loader, lock_gateway(loader.gateway), PG_GETARG_TEXT_PP(1));

	values[0] = Int32GetDatum(loader.store->count);
	values[1] = Int32GetDatum(insert_lines(loader.store));
	billing_flow_audit_action(0, "read_settlement", "settlement_line", text_to_cstring(PG_GETARG_TEXT_PP(0)), (Datum) 0, (Datum) 0);
	billing_store_end(loader.store);
	billing_spi_end();
	return billing_result_make(fcinfo, 2, values, nulls);
}

/*
 * lock_gateway
 *		Its driver; NULL: it is a person's, whose files may be any.
 *
 * Its files are read, and fees of it posted, one after another: so a line is never there twice under two names.
 */
static const char *
lock_gateway(Datum gateway)
{
	static BillingQuery query = {
		.sql = "SELECT g.driver FROM billing.gateway g WHERE g.code = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	const char *driver;
	bool		isnull;

	if (billing_spi_run(&query, &gateway, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_NOT_FOUND),
				 errmsg("gateway \"%s\" does not exist", TextDatumGetCString(gateway)),
				 errdetail("object=gateway code=%s", TextDatumGetCString(gateway)),
				 errhint("Read those there are from billing.gateway; billing.create_gateway() adds one.")));
	driver = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	billing_flow_check_snapshot(billing_id_array_of(0));
	return strcmp(driver, "manual") == 0 ? NULL : driver;
}

static void
read_file(Loader *loader, const char *driver, text *content)
{
	const char *utf8 = billing_encoding_to_utf8(text_to_cstring(content));
	int			line_no = 0;
	const char *problem = billing_settlement_read(driver, utf8, strlen(utf8), put_line, loader, &line_no);

	if (problem == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("could not read the settlement file of gateway \"%s\"", TextDatumGetCString(loader->gateway)),
			 line_no == 0 ? errdetail("%s", problem) : errdetail("line=%d %s", line_no, problem),
			 errhint("Give the whole file as it comes from the gateway, in UTF-8 or as COPY converts it; nothing of it was kept.")));
}

static void
put_line(void *arg, const BillingSettlementLine *line)
{
	Loader	   *loader = arg;
	BillingStore *store = loader->store;
	bool		has_net = line->has_fee && (line->currency == line->fee_currency || line->net_units != 0);

	CHECK_FOR_INTERRUPTS();
	billing_store_put(store, Int64GetDatum(find_tenant(line)), false);
	billing_store_put(store, hash_line(line), false);
	billing_store_put(store, loader->gateway, false);
	put_text(store, line->kind);
	billing_store_put(store, TimestampTzGetDatum(time_t_to_timestamptz(line->at)), false);
	put_amount(store, true, line->units, line->currency);
	put_amount(store, line->has_fee, line->fee_units, line->fee_currency);
	put_amount(store, has_net, line->net_units, line->fee_currency);
	put_text(store, strcmp(line->kind, "refund") == 0 ? line->refund_no : strcmp(line->kind, "payment") == 0 ? line->pay_no : NULL);
	put_text(store, line->pay_no);
	put_text(store, line->external_id);
	put_text(store, line->payment_external_id);
	put_text(store, line->line_id);
}

/* 0: no number of the line is one of ours. */
static int64
find_tenant(const BillingSettlementLine *line)
{
	int64		tenant_id;

	if (find_tenant_of(line->pay_no, &tenant_id) || find_tenant_of(line->refund_no, &tenant_id))
		return tenant_id;
	return 0;
}

static bool
find_tenant_of(const char *number, int64 *tenant_id)
{
	return number != NULL && billing_merchant_no_read(number, strlen(number), tenant_id);
}

/*
 * hash_line
 *		What a line is known by: what no other has, or else all that it states.
 *
 * So that one is the same in a file with more columns.  There is an end behind each part: no two lines are alike by accident.
 */
static Datum
hash_line(const BillingSettlementLine *line)
{
	const char *const parts[] = {
		line->kind, line->line_id, line->external_id, line->payment_external_id, line->pay_no, line->refund_no
	};
	StringInfoData content;

	initStringInfo(&content);
	if (line->key != NULL)
	{
		appendStringInfo(&content, "%s\n%s", line->kind, line->key);
		return PointerGetDatum(billing_hash_make(content.data, content.len));
	}
	for (int i = 0; i < lengthof(parts); i++)
	{
		if (parts[i] != NULL)
			appendStringInfoString(&content, parts[i]);
		appendStringInfoChar(&content, parts[i] != NULL ? '\n' : '\r');
	}
	appendStringInfo(&content, "%lld %s %lld %s %lld %lld", (long long) line->units, line->currency->code, (long long) line->fee_units,
					 line->fee_currency->code, (long long) line->net_units, (long long) line->at);
	return PointerGetDatum(billing_hash_make(content.data, content.len));
}

/* What is too long for an id of anything, or has no place in the encoding, is none that is known here. */
static void
put_text(BillingStore *store, const char *utf8)
{
	text	   *value = utf8 == NULL || strlen(utf8) > MAX_ID_LEN ? NULL : billing_encoding_from_utf8(utf8);

	billing_store_put(store, PointerGetDatum(value), value == NULL);
}

static void
put_amount(BillingStore *store, bool is_stated, int64 units, const BillingCurrency *currency)
{
	billing_store_put(store, is_stated ? PointerGetDatum(billing_amount_make(units, currency->code)) : (Datum) 0, !is_stated);
}

/*
 * insert_lines
 *		Keep the lines that are not there, and the numbers of those whose file did not say them; returns how many.
 *
 * One that was nobody's becomes its tenant's: another row, which takes over by which transaction its fee was posted.
 */
static uint64
insert_lines(BillingStore *store)
{
	static BillingQuery query = {
		.sql = "INSERT INTO billing.settlement_line AS l (" COLUMNS ",transaction_id) SELECT s.*, o.transaction_id"
		"  FROM (SELECT DISTINCT ON (f.gateway, f.line_hash) " COLUMNS " FROM settlement f"
		"    ORDER BY f.gateway, f.line_hash, f.tenant_id DESC, f.number, f.pay_no) s"
		"  LEFT JOIN billing.settlement_line o ON o.gateway = s.gateway AND o.line_hash = s.line_hash"
		" WHERE o.line_hash IS NULL OR (o.tenant_id = 0 AND s.tenant_id <> 0) OR (o.number IS NULL AND s.number IS NOT NULL)"
		" ORDER BY s.tenant_id, s.gateway, s.line_hash"
		" ON CONFLICT (tenant_id, gateway, line_hash) DO UPDATE SET number = EXCLUDED.number, pay_no = coalesce(l.pay_no, EXCLUDED.pay_no)",
		.expected = SPI_OK_INSERT,
	};
	uint64		count;

	if (store->count == 0)
		return 0;
	billing_store_show(store);
	count = billing_spi_run(&query, NULL, NULL);
	delete_unnamed();
	return count;
}

static void
delete_unnamed(void)
{
	static BillingQuery query = {
		.sql = "DELETE FROM billing.settlement_line o USING settlement s"
		" WHERE o.tenant_id = 0 AND s.tenant_id <> 0 AND o.gateway = s.gateway AND o.line_hash = s.line_hash",
		.expected = SPI_OK_DELETE,
	};

	(void) billing_spi_run(&query, NULL, NULL);
}

/*
 * billing_post_settlement_fees
 *		Post the fees that only a file has told of.
 *
 * Tenants are locked in their order before anything is read: who learns the same fee from the gateway meanwhile comes
 * first or sees it.
 */
Datum
billing_post_settlement_fees(PG_FUNCTION_ARGS)
{
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	int64		count;

	billing_flow_require(fcinfo, 0, "gateway");
	billing_flow_require(fcinfo, 1, "period");
	billing_spi_begin();
	(void) lock_gateway(args[0]);
	billing_flow_check_snapshot(lock_tenants(args));
	count = post_fees(args);
	billing_flow_audit_action(0, "post_settlement_fees", "settlement_line", TextDatumGetCString(args[0]), (Datum) 0, (Datum) 0);
	billing_spi_end();
	PG_RETURN_INT64(count);
}

static Datum
lock_tenants(Datum *args)
{
	static BillingQuery query = {
		.sql = "SELECT t.tenant_id FROM billing.tenant t WHERE t.tenant_id IN"
		" (SELECT u.tenant_id FROM billing.unposted_fee u WHERE u.gateway = $1 AND u.at <@ $2)"
		" ORDER BY t.tenant_id FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TSTZRANGEOID},
	};
	uint64		count = billing_spi_run(&query, args, NULL);
	Datum	   *ids = palloc((count + 1) * sizeof(Datum));
	bool		isnull;

	for (uint64 i = 0; i < count; i++)
		ids[i] = billing_spi_value(i, 1, &isnull);
	return billing_id_array(ids, count);
}

/* A fee of nothing is known then, and moves nothing. */
static int64
post_fees(Datum *args)
{
	static BillingQuery query = {
		.sql = "WITH posted AS MATERIALIZED (SELECT u.*, CASE WHEN billing.minor_units(u.fee) <> 0 THEN billing.next_id() END AS transaction_id"
		"    FROM billing.unposted_fee u WHERE u.gateway = $1 AND u.at <@ $2),"
		"  entry AS (INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, payment_id, at, accounts, amounts)"
		"    SELECT f.tenant_id, f.transaction_id, 'fee', f.invoice_id, f.payment_id, f.at, '{fees,cash}', ARRAY[f.fee, -f.fee]"
		"      FROM posted f WHERE f.transaction_id IS NOT NULL),"
		"  line AS (UPDATE billing.settlement_line l SET transaction_id = f.transaction_id FROM posted f"
		"    WHERE l.tenant_id = f.line_tenant_id AND l.gateway = f.gateway AND l.line_hash = f.line_hash AND f.transaction_id IS NOT NULL),"
		"  learnt AS (UPDATE billing.payment p SET fee = f.fee, version = p.version + 1 FROM posted f"
		"    WHERE f.kind = 'payment' AND p.tenant_id = f.tenant_id AND p.payment_id = f.payment_id)"
		" SELECT count(*) FROM posted",
		.expected = SPI_OK_SELECT,
		.nargs = 2,
		.argtypes = {TEXTOID, TSTZRANGEOID},
	};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	return DatumGetInt64(billing_spi_value(0, 1, &isnull));
}
