/*-------------------------------------------------------------------------
 *
 * event_object.c
 *	  What an event says of the object it is about, as JSON for the outside world.
 *
 * The keys of each kind of object are a contract: every one is always there, null where
 * there is nothing to say, and none is renamed.  Ids are strings, since a number in
 * JavaScript does not hold them; so are amounts, in major units with the decimals of their
 * currency, and quantities, exactly; instants are ISO 8601 in UTC.  What says who a person
 * is beyond name and e-mail stays out: an event is kept and sent where nobody can erase it.
 *
 * The bill run makes three payloads for each subscription, so they are written at once
 * (json.c), and not by jsonb_build_object(), which looks up the type of each value for each row.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "amount.h"
#include "calculation.h"
#include "json.h"

BILLING_FUNCTION(billing_tenant_object);
BILLING_FUNCTION(billing_subscription_object);
BILLING_FUNCTION(billing_invoice_object);
BILLING_FUNCTION(billing_payment_object);
BILLING_FUNCTION(billing_payment_method_object);
BILLING_FUNCTION(billing_dispute_object);
BILLING_FUNCTION(billing_mirrored_subscription_object);
BILLING_FUNCTION(billing_refund_object);
BILLING_FUNCTION(billing_credit_note_object);
BILLING_FUNCTION(billing_grant_object);
BILLING_FUNCTION(billing_threshold_object);
BILLING_FUNCTION(billing_event_payload);
BILLING_FUNCTION(billing_event_instant);

/* Of what shape payloads are: raised when a key changes its meaning. */
#define PAYLOAD_VERSION 1

/* A member of an object and the column it shows; of an amount, its currency alone if that is the key. */
typedef struct Member
{
	const char *key;
	const char *column;
} Member;

#define SAME(name) {(name), (name)}

/* How a column is written. */
typedef enum Form
{
	FORM_ID,
	FORM_NUMBER,
	FORM_TEXT,
	FORM_BOOLEAN,
	FORM_INSTANT,
	FORM_QUANTITY,
	FORM_JSON,
	FORM_AMOUNT,
	FORM_CURRENCY
} Form;

/* One type of row and its members in the order of their keys, as found at its first row. */
typedef struct Shape
{
	Oid			type;
	TupleDesc	tupdesc;
	Datum	   *values;
	bool	   *nulls;
	BillingJsonKeys *keys;
	int		   *columns;		/* EXTRA: not of the row */
	Form	   *forms;
} Shape;

#define EXTRA (-1)

static const Member tenant_members[] = {
	{"id", "tenant_id"}, SAME("name"), SAME("email"), SAME("status"), SAME("status_reason"), SAME("is_unpaid"), SAME("currency"), SAME("timezone"),
	SAME("locale"), SAME("details"), SAME("created_at"), SAME("frozen_at"), SAME("closed_at"), SAME("version")
};

static const Member subscription_members[] = {
	{"id", "subscription_id"}, SAME("tenant_id"), SAME("plan_id"), SAME("quantity"), SAME("status"), SAME("currency"), SAME("auto_renew"),
	SAME("started_at"), SAME("trial_end"), SAME("period_start"), SAME("period_end"), SAME("cancel_at"), SAME("canceled_at"), SAME("cancel_reason"),
	SAME("paused_at"), SAME("ended_at"), SAME("next_plan_id"), SAME("next_quantity"), SAME("metadata"), SAME("created_at"), SAME("version")
};

static const Member invoice_members[] = {
	{"id", "invoice_id"}, SAME("tenant_id"), SAME("subscription_id"), SAME("plan_id"), SAME("biz_key"), SAME("kind"), SAME("number"), SAME("status"),
	SAME("status_reason"), SAME("currency"), SAME("period_start"), SAME("period_end"), SAME("item_count"), SAME("subtotal"), SAME("discount"), SAME("tax"),
	SAME("total"), SAME("credited"), SAME("wallet_applied"), SAME("paid"), SAME("amount_due"), SAME("created_at"), SAME("issued_at"), SAME("due_at"),
	SAME("paid_at"), SAME("voided_at"), SAME("version")
};

static const Member payment_members[] = {
	{"id", "payment_id"}, SAME("tenant_id"), SAME("invoice_id"), SAME("pay_no"), SAME("status"), SAME("amount"), {"currency", "amount"},
	SAME("method"), SAME("reference"), SAME("created_at"), SAME("received_at"), SAME("purpose"), SAME("gateway"), SAME("external_id"),
	SAME("payment_url"), SAME("failure_code"), SAME("failure_reason"), SAME("fee"), SAME("excess"), SAME("reversed"), SAME("lost"),
	SAME("metadata")
};

static const Member dispute_members[] = {
	{"id", "dispute_id"}, SAME("tenant_id"), SAME("payment_id"), SAME("gateway"), SAME("external_id"), SAME("status"), SAME("amount"),
	{"currency", "amount"}, SAME("refunded"), SAME("reason"), SAME("opened_at"), SAME("closed_at")
};

static const Member payment_method_members[] = {
	{"id", "payment_method_id"}, SAME("tenant_id"), SAME("gateway"), SAME("type"), SAME("status"), SAME("is_default"), SAME("brand"),
	SAME("exp_month"), SAME("exp_year"), SAME("billing_email"), SAME("customer_id"), SAME("external_id"), SAME("failure_code"),
	SAME("failure_reason"), SAME("metadata"), SAME("created_at"), SAME("version")
};

static const Member mirrored_subscription_members[] = {
	{"id", "mirror_id"}, SAME("tenant_id"), SAME("gateway"), SAME("external_id"), SAME("customer_id"), SAME("status"), SAME("price"), SAME("quantity"),
	SAME("currency"), SAME("started_at"), SAME("trial_end"), SAME("period_start"), SAME("period_end"), SAME("cancels_at_period_end"),
	SAME("cancel_at"), SAME("canceled_at"), SAME("ended_at"), SAME("invoice"), SAME("invoice_status"), SAME("invoice_total"), SAME("error"), SAME("created_at"), SAME("version")
};

static const Member refund_members[] = {
	{"id", "refund_id"}, SAME("tenant_id"), SAME("refund_no"), SAME("payment_id"), SAME("invoice_id"), SAME("credit_note_id"), SAME("status"),
	SAME("status_reason"), SAME("amount"), {"currency", "amount"}, SAME("reference"), SAME("created_at"), SAME("settled_at"), SAME("destination"),
	SAME("cause"), SAME("reason"), SAME("gateway"), SAME("external_id"), SAME("failure_code"), SAME("failure_reason"), SAME("grant_id")
};

static const Member credit_note_members[] = {
	{"id", "credit_note_id"}, SAME("tenant_id"), SAME("invoice_id"), SAME("number"), SAME("currency"), SAME("item_count"), SAME("subtotal"),
	SAME("discount"), SAME("tax"), SAME("total"), SAME("destination"), SAME("to_invoice_id"), SAME("credited"), SAME("applied"), SAME("granted"),
	SAME("promotional"), SAME("refunded"), SAME("reason"), SAME("issued_at")
};

static const Member grant_members[] = {
	{"id", "grant_id"}, SAME("tenant_id"), SAME("source"), SAME("amount"), SAME("balance"), {"currency", "amount"}, SAME("is_paid"), SAME("scope"),
	SAME("priority"), SAME("invoice_id"), SAME("payment_id"), SAME("reason"), SAME("created_at"), SAME("effective_at"), SAME("expires_at"),
	SAME("renews_at"), SAME("renewals"), SAME("voided_at")
};

static const Member threshold_members[] = {
	SAME("tenant_id"), SAME("subscription_id"), {"usage_amount", "cut_amount"}, {"reached_at", "cut_at"}
};

/* extra is the key of argument 1, a text; NULL: there is none. */
#define MAKE(members, extra) make_object(fcinfo, members, lengthof(members), extra)

static Datum make_object(FunctionCallInfo fcinfo, const Member *members, int count, const char *extra);
static Shape *find_shape(FunctionCallInfo fcinfo, HeapTupleHeader row, const Member *members, int count, const char *extra);
static Shape *make_shape(HeapTupleHeader row, const Member *members, int count, const char *extra);
static int	find_column(TupleDesc tupdesc, const char *name);
static Form find_form(Form_pg_attribute attribute, const char *key);
static void put_value(BillingJson *json, Form form, Datum value);
static void put_text(BillingJson *json, const text *value);
static void put_id(BillingJson *json, int64 id);
static void put_instant(BillingJson *json, TimestampTz instant);
static void put_amount(BillingJson *json, const BillingAmount *amount);
static Jsonb *wrap_object(Jsonb *object);
static const BillingJsonKeys *keep_keys(const BillingJsonKeys **kept, const char *const *keys, int count);

Datum
billing_tenant_object(PG_FUNCTION_ARGS)
{
	return MAKE(tenant_members, NULL);
}

/* The code of its plan is what the outside world knows that by. */
Datum
billing_subscription_object(PG_FUNCTION_ARGS)
{
	return MAKE(subscription_members, "plan");
}

Datum
billing_invoice_object(PG_FUNCTION_ARGS)
{
	return MAKE(invoice_members, NULL);
}

Datum
billing_payment_object(PG_FUNCTION_ARGS)
{
	return MAKE(payment_members, NULL);
}

/* What is shown of its number comes with it, since that takes a key; NULL: nothing is known of it. */
Datum
billing_payment_method_object(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return MAKE(payment_method_members, "last4");
}

Datum
billing_dispute_object(PG_FUNCTION_ARGS)
{
	return MAKE(dispute_members, NULL);
}

Datum
billing_mirrored_subscription_object(PG_FUNCTION_ARGS)
{
	return MAKE(mirrored_subscription_members, NULL);
}

Datum
billing_refund_object(PG_FUNCTION_ARGS)
{
	return MAKE(refund_members, NULL);
}

Datum
billing_credit_note_object(PG_FUNCTION_ARGS)
{
	return MAKE(credit_note_members, NULL);
}

Datum
billing_grant_object(PG_FUNCTION_ARGS)
{
	return MAKE(grant_members, NULL);
}

Datum
billing_threshold_object(PG_FUNCTION_ARGS)
{
	return MAKE(threshold_members, "currency");
}

static Datum
make_object(FunctionCallInfo fcinfo, const Member *members, int count, const char *extra)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	Shape	   *shape = find_shape(fcinfo, row, members, count, extra);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	BillingJson json;

	heap_deform_tuple(&tuple, shape->tupdesc, shape->values, shape->nulls);
	billing_json_begin(&json, shape->keys);
	for (int i = 0; i < shape->keys->count; i++)
	{
		int			column = shape->columns[i];

		if (column == EXTRA && PG_ARGISNULL(1))
			billing_json_put_null(&json);
		else if (column == EXTRA)
			put_text(&json, PG_GETARG_TEXT_PP(1));
		else if (shape->nulls[column])
			billing_json_put_null(&json);
		else
			put_value(&json, shape->forms[i], shape->values[column]);
	}
	PG_RETURN_JSONB_P(billing_json_end(&json));
}

static Shape *
find_shape(FunctionCallInfo fcinfo, HeapTupleHeader row, const Member *members, int count, const char *extra)
{
	Shape	   *shape = fcinfo->flinfo->fn_extra;

	if (shape == NULL || shape->type != HeapTupleHeaderGetTypeId(row))
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		fcinfo->flinfo->fn_extra = shape = make_shape(row, members, count, extra);
		MemoryContextSwitchTo(old);
	}
	return shape;
}

static Shape *
make_shape(HeapTupleHeader row, const Member *members, int count, const char *extra)
{
	Shape	   *shape = palloc(sizeof(Shape));
	const char **keys = palloc((count + 1) * sizeof(char *));

	for (int i = 0; i < count; i++)
		keys[i] = members[i].key;
	keys[count] = extra;

	shape->type = HeapTupleHeaderGetTypeId(row);
	shape->tupdesc = lookup_rowtype_tupdesc_copy(shape->type, HeapTupleHeaderGetTypMod(row));
	shape->values = palloc(shape->tupdesc->natts * sizeof(Datum));
	shape->nulls = palloc(shape->tupdesc->natts * sizeof(bool));
	shape->keys = billing_json_make_keys(keys, count + (extra != NULL ? 1 : 0));
	shape->columns = palloc(shape->keys->count * sizeof(int));
	shape->forms = palloc(shape->keys->count * sizeof(Form));
	for (int i = 0; i < shape->keys->count; i++)
	{
		int			which = shape->keys->order[i];

		shape->columns[i] = which == count ? EXTRA : find_column(shape->tupdesc, members[which].column);
		if (which < count)
			shape->forms[i] = find_form(TupleDescAttr(shape->tupdesc, shape->columns[i]), members[which].key);
	}
	return shape;
}

static int
find_column(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (!TupleDescAttr(tupdesc, i)->attisdropped && namestrcmp(&TupleDescAttr(tupdesc, i)->attname, name) == 0)
			return i;
	}
	elog(ERROR, "an event shows column \"%s\", which there is not", name);
}

static Form
find_form(Form_pg_attribute attribute, const char *key)
{
	switch (attribute->atttypid)
	{
		case INT8OID:
			return FORM_ID;
		case INT4OID:
			return FORM_NUMBER;
		case TEXTOID:
			return FORM_TEXT;
		case BOOLOID:
			return FORM_BOOLEAN;
		case TIMESTAMPTZOID:
			return FORM_INSTANT;
		case NUMERICOID:
			return FORM_QUANTITY;
		case JSONBOID:
			return FORM_JSON;
	}
	if (attribute->attlen != sizeof(BillingAmount))
		elog(ERROR, "column \"%s\" has a type that no event shows", NameStr(attribute->attname));
	return strcmp(key, "currency") == 0 ? FORM_CURRENCY : FORM_AMOUNT;
}

static void
put_value(BillingJson *json, Form form, Datum value)
{
	if (form == FORM_ID)
		put_id(json, DatumGetInt64(value));
	else if (form == FORM_NUMBER)
		billing_json_put_number(json, int64_to_numeric(DatumGetInt32(value)));
	else if (form == FORM_TEXT)
		put_text(json, DatumGetTextPP(value));
	else if (form == FORM_BOOLEAN)
		billing_json_put_boolean(json, DatumGetBool(value));
	else if (form == FORM_INSTANT)
		put_instant(json, DatumGetTimestampTz(value));
	else if (form == FORM_QUANTITY)
		put_text(json, cstring_to_text(DatumGetCString(DirectFunctionCall1(numeric_out, value))));
	else if (form == FORM_JSON)
		billing_json_put_json(json, DatumGetJsonbP(value));
	else if (form == FORM_AMOUNT)
		put_amount(json, DatumGetBillingAmountP(value));
	else
		billing_json_put_string(json, DatumGetBillingAmountP(value)->currency, BILLING_CURRENCY_LEN);
}

static void
put_text(BillingJson *json, const text *value)
{
	billing_json_put_string(json, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static void
put_id(BillingJson *json, int64 id)
{
	char		digits[MAXINT8LEN + 1];

	billing_json_put_string(json, digits, pg_lltoa(id, digits));
}

/* One that never comes is none. */
static void
put_instant(BillingJson *json, TimestampTz instant)
{
	int			from = json->out.len;

	if (TIMESTAMP_NOT_FINITE(instant))
	{
		billing_json_put_null(json);
		return;
	}
	billing_calculation_append_utc(&json->out, instant);
	billing_json_put_appended(json, from);
}

static void
put_amount(BillingJson *json, const BillingAmount *amount)
{
	char		decimal[BILLING_AMOUNT_DECIMAL_LEN];

	billing_json_put_string(json, decimal, billing_amount_to_decimal(amount, decimal));
}

/*
 * billing_event_payload
 *		What is sent of an event: itself, and its object.
 *
 * type, timestamp and data are what Standard Webhooks recommends.
 */
Datum
billing_event_payload(PG_FUNCTION_ARGS)
{
	static const char *const keys[] = {"data", "type", "version", "event_id", "tenant_id", "timestamp"};
	static const BillingJsonKeys *kept = NULL;
	BillingJson json;

	billing_json_begin(&json, keep_keys(&kept, keys, lengthof(keys)));
	billing_json_put_json(&json, wrap_object(PG_GETARG_JSONB_P(4)));
	put_text(&json, PG_GETARG_TEXT_PP(2));
	billing_json_put_number(&json, int64_to_numeric(PAYLOAD_VERSION));
	put_id(&json, PG_GETARG_INT64(1));
	put_id(&json, PG_GETARG_INT64(0));
	put_instant(&json, PG_GETARG_TIMESTAMPTZ(3));
	PG_RETURN_JSONB_P(billing_json_end(&json));
}

static Jsonb *
wrap_object(Jsonb *object)
{
	static const char *const keys[] = {"object"};
	static const BillingJsonKeys *kept = NULL;
	BillingJson json;

	billing_json_begin(&json, keep_keys(&kept, keys, lengthof(keys)));
	billing_json_put_json(&json, object);
	return billing_json_end(&json);
}

/* Those that are in the order of jsonb as they are given, made once. */
static const BillingJsonKeys *
keep_keys(const BillingJsonKeys **kept, const char *const *keys, int count)
{
	if (*kept == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		*kept = billing_json_make_keys(keys, count);
		MemoryContextSwitchTo(old);
	}
	return *kept;
}

/*
 * billing_event_instant
 *		An instant as payloads write it.
 */
Datum
billing_event_instant(PG_FUNCTION_ARGS)
{
	StringInfoData string;

	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(0)))
		PG_RETURN_NULL();
	initStringInfo(&string);
	billing_calculation_append_utc(&string, PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(string.data, string.len));
}
