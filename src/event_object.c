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
 * Built here and not by jsonb_build_object(), which looks up the type of each value anew
 * for each row: the bill run makes three of these for each subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "amount.h"

BILLING_FUNCTION(billing_tenant_object);
BILLING_FUNCTION(billing_subscription_object);
BILLING_FUNCTION(billing_invoice_object);
BILLING_FUNCTION(billing_payment_object);
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

/* Where the members of one type of row are, as found at its first. */
typedef struct Shape
{
	Oid			type;
	TupleDesc	tupdesc;
	Datum	   *values;
	bool	   *nulls;
	AttrNumber *columns;
	Form	   *forms;
} Shape;

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
	SAME("method"), SAME("reference"), SAME("created_at"), SAME("received_at")
};

static const Member refund_members[] = {
	{"id", "refund_id"}, SAME("tenant_id"), SAME("refund_no"), SAME("payment_id"), SAME("invoice_id"), SAME("credit_note_id"), SAME("status"),
	SAME("status_reason"), SAME("amount"), {"currency", "amount"}, SAME("reference"), SAME("created_at"), SAME("settled_at")
};

static const Member credit_note_members[] = {
	{"id", "credit_note_id"}, SAME("tenant_id"), SAME("invoice_id"), SAME("number"), SAME("currency"), SAME("item_count"), SAME("subtotal"),
	SAME("discount"), SAME("tax"), SAME("total"), SAME("destination"), SAME("to_invoice_id"), SAME("credited"), SAME("applied"), SAME("granted"),
	SAME("promotional"), SAME("refunded"), SAME("reason"), SAME("issued_at")
};

static const Member grant_members[] = {
	{"id", "grant_id"}, SAME("tenant_id"), SAME("source"), SAME("amount"), SAME("balance"), {"currency", "amount"}, SAME("is_paid"), SAME("scope"),
	SAME("priority"), SAME("invoice_id"), SAME("payment_id"), SAME("reason"), SAME("created_at"), SAME("effective_at"), SAME("expires_at"),
	SAME("renews_at"), SAME("voided_at")
};

static const Member threshold_members[] = {
	SAME("tenant_id"), SAME("subscription_id"), {"usage_amount", "cut_amount"}, {"reached_at", "cut_at"}
};

#define MAKE(members) make_object(fcinfo, members, lengthof(members), NULL)

static Datum make_object(FunctionCallInfo fcinfo, const Member *members, int count, const char *extra);
static Shape *find_shape(FunctionCallInfo fcinfo, HeapTupleHeader row, const Member *members, int count);
static Shape *make_shape(FunctionCallInfo fcinfo, HeapTupleHeader row, const Member *members, int count);
static AttrNumber find_column(TupleDesc tupdesc, const char *name);
static Form find_form(Form_pg_attribute attribute, const char *key);
static void push_key(JsonbParseState **state, const char *key);
static void push_value(JsonbParseState **state, Form form, Datum value, bool isnull);
static void push_string(JsonbParseState **state, char *string, int len);
static void push_text(JsonbParseState **state, text *value);
static void push_id(JsonbParseState **state, int64 id);
static void push_number(JsonbParseState **state, int32 number);
static void push_instant(JsonbParseState **state, Datum instant);
static int	write_instant(char *string, Datum instant);
static void push_json(JsonbParseState **state, Jsonb *json);
static void push_amount(JsonbParseState **state, const BillingAmount *amount);

Datum
billing_tenant_object(PG_FUNCTION_ARGS)
{
	return MAKE(tenant_members);
}

/* Its second argument is the code of the plan, by which the outside world knows that. */
Datum
billing_subscription_object(PG_FUNCTION_ARGS)
{
	return make_object(fcinfo, subscription_members, lengthof(subscription_members), "plan");
}

Datum
billing_invoice_object(PG_FUNCTION_ARGS)
{
	return MAKE(invoice_members);
}

Datum
billing_payment_object(PG_FUNCTION_ARGS)
{
	return MAKE(payment_members);
}

Datum
billing_refund_object(PG_FUNCTION_ARGS)
{
	return MAKE(refund_members);
}

Datum
billing_credit_note_object(PG_FUNCTION_ARGS)
{
	return MAKE(credit_note_members);
}

Datum
billing_grant_object(PG_FUNCTION_ARGS)
{
	return MAKE(grant_members);
}

/* Its second argument is the currency of the subscription. */
Datum
billing_threshold_object(PG_FUNCTION_ARGS)
{
	return make_object(fcinfo, threshold_members, lengthof(threshold_members), "currency");
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
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "tenant_id");
	push_id(&state, PG_GETARG_INT64(0));
	push_key(&state, "event_id");
	push_id(&state, PG_GETARG_INT64(1));
	push_key(&state, "type");
	push_text(&state, PG_GETARG_TEXT_PP(2));
	push_key(&state, "timestamp");
	push_instant(&state, PG_GETARG_DATUM(3));
	push_key(&state, "version");
	push_number(&state, PAYLOAD_VERSION);
	push_key(&state, "data");
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "object");
	push_json(&state, PG_GETARG_JSONB_P(4));
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* The members of the row that argument 0 is, and argument 1, a text, as extra, unless that is NULL. */
static Datum
make_object(FunctionCallInfo fcinfo, const Member *members, int count, const char *extra)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	Shape	   *shape = find_shape(fcinfo, row, members, count);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	JsonbParseState *state = NULL;

	heap_deform_tuple(&tuple, shape->tupdesc, shape->values, shape->nulls);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		int			column = shape->columns[i] - 1;

		push_key(&state, members[i].key);
		push_value(&state, shape->forms[i], shape->values[column], shape->nulls[column]);
	}
	if (extra != NULL)
	{
		push_key(&state, extra);
		push_text(&state, PG_GETARG_TEXT_PP(1));
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static Shape *
find_shape(FunctionCallInfo fcinfo, HeapTupleHeader row, const Member *members, int count)
{
	Shape	   *shape = fcinfo->flinfo->fn_extra;

	if (shape == NULL || shape->type != HeapTupleHeaderGetTypeId(row))
		fcinfo->flinfo->fn_extra = shape = make_shape(fcinfo, row, members, count);
	return shape;
}

static Shape *
make_shape(FunctionCallInfo fcinfo, HeapTupleHeader row, const Member *members, int count)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	Oid			type = HeapTupleHeaderGetTypeId(row);
	Shape	   *shape = palloc(sizeof(Shape));

	shape->type = type;
	shape->tupdesc = lookup_rowtype_tupdesc_copy(type, HeapTupleHeaderGetTypMod(row));
	shape->values = palloc(shape->tupdesc->natts * sizeof(Datum));
	shape->nulls = palloc(shape->tupdesc->natts * sizeof(bool));
	shape->columns = palloc(count * sizeof(AttrNumber));
	shape->forms = palloc(count * sizeof(Form));
	for (int i = 0; i < count; i++)
	{
		shape->columns[i] = find_column(shape->tupdesc, members[i].column);
		shape->forms[i] = find_form(TupleDescAttr(shape->tupdesc, shape->columns[i] - 1), members[i].key);
	}
	MemoryContextSwitchTo(old);
	return shape;
}

static AttrNumber
find_column(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (!TupleDescAttr(tupdesc, i)->attisdropped && namestrcmp(&TupleDescAttr(tupdesc, i)->attname, name) == 0)
			return i + 1;
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
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_value(JsonbParseState **state, Form form, Datum value, bool isnull)
{
	JsonbValue	plain = {.type = isnull ? jbvNull : jbvBool};

	if (isnull || form == FORM_BOOLEAN)
	{
		plain.val.boolean = !isnull && DatumGetBool(value);
		pushJsonbValue(state, WJB_VALUE, &plain);
	}
	else if (form == FORM_ID)
		push_id(state, DatumGetInt64(value));
	else if (form == FORM_NUMBER)
		push_number(state, DatumGetInt32(value));
	else if (form == FORM_TEXT)
		push_text(state, DatumGetTextPP(value));
	else if (form == FORM_INSTANT)
		push_instant(state, value);
	else if (form == FORM_QUANTITY)
		push_text(state, cstring_to_text(DatumGetCString(DirectFunctionCall1(numeric_out, value))));
	else if (form == FORM_JSON)
		push_json(state, DatumGetJsonbP(value));
	else if (form == FORM_AMOUNT)
		push_amount(state, DatumGetBillingAmountP(value));
	else
		push_string(state, pstrdup(DatumGetBillingAmountP(value)->currency), BILLING_CURRENCY_LEN);
}

static void
push_string(JsonbParseState **state, char *string, int len)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = string;
	value.val.string.len = len;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_text(JsonbParseState **state, text *value)
{
	push_string(state, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

static void
push_id(JsonbParseState **state, int64 id)
{
	char	   *digits = palloc(MAXINT8LEN + 1);

	push_string(state, digits, pg_lltoa(id, digits));
}

static void
push_number(JsonbParseState **state, int32 number)
{
	JsonbValue	value = {.type = jbvNumeric};

	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_instant(JsonbParseState **state, Datum instant)
{
	char	   *string = palloc(MAXDATELEN + 1);

	push_string(state, string, write_instant(string, instant));
}

/* "2026-01-31T05:00:00Z", with the decimals it needs; returns the length. */
static int
write_instant(char *string, Datum instant)
{
	static const char offset[] = "+00:00";
	static const int utc = 0;
	int			len;

	JsonEncodeDateTime(string, instant, TIMESTAMPTZOID, &utc);
	len = strlen(string) - strlen(offset);
	if (len < 0 || strcmp(string + len, offset) != 0)
		return strlen(string);
	strcpy(string + len, "Z");
	return len + 1;
}

Datum
billing_event_instant(PG_FUNCTION_ARGS)
{
	char		string[MAXDATELEN + 1];
	int			len = write_instant(string, PG_GETARG_DATUM(0));

	PG_RETURN_TEXT_P(cstring_to_text_with_len(string, len));
}

static void
push_json(JsonbParseState **state, Jsonb *json)
{
	JsonbValue	value;

	JsonbToJsonbValue(json, &value);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_amount(JsonbParseState **state, const BillingAmount *amount)
{
	char	   *decimal = palloc(BILLING_AMOUNT_DECIMAL_LEN);

	push_string(state, decimal, billing_amount_to_decimal(amount, decimal));
}
