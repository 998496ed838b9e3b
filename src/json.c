/*-------------------------------------------------------------------------
 *
 * json.c
 *	  JSON objects whose keys are known, as jsonb.
 *
 * jsonb stores the keys of an object in order of their length, then bytes; an entry for each
 * of them, then for each value; then their bytes.  Where the keys are known, those entries and
 * bytes are too, and what is left is to append the values: a fifth of what it takes to collect
 * pairs, sort them and convert them, and the same bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "json.h"

static int	compare_keys(const void *a, const void *b);
static void put_entry(BillingJson *json, uint32 type, int from);
static JEntry make_entry(uint32 type, int index, int len, int end);
static int	align(BillingJson *json);

BillingJsonKeys *
billing_json_make_keys(const char *const *keys, int count)
{
	BillingJsonKeys *made = palloc(sizeof(BillingJsonKeys));
	const char *const **sorted = palloc(count * sizeof(*sorted));

	for (int i = 0; i < count; i++)
		sorted[i] = &keys[i];
	qsort(sorted, count, sizeof(*sorted), compare_keys);

	made->count = count;
	made->order = palloc(count * sizeof(int));
	made->entries = palloc(count * sizeof(JEntry));
	initStringInfo(&made->bytes);
	for (int i = 0; i < count; i++)
	{
		made->order[i] = sorted[i] - keys;
		appendStringInfoString(&made->bytes, *sorted[i]);
		made->entries[i] = make_entry(JENTRY_ISSTRING, i, strlen(*sorted[i]), made->bytes.len);
	}
	pfree(sorted);
	return made;
}

/* As jsonb has them. */
static int
compare_keys(const void *a, const void *b)
{
	const char *left = **(const char *const *const *) a;
	const char *right = **(const char *const *const *) b;
	size_t		left_len = strlen(left);
	size_t		right_len = strlen(right);

	if (left_len != right_len)
		return left_len < right_len ? -1 : 1;
	return memcmp(left, right, left_len);
}

void
billing_json_begin(BillingJson *json, const BillingJsonKeys *keys)
{
	uint32		header = keys->count | JB_FOBJECT;
	int			entries = 2 * keys->count * sizeof(JEntry);

	initStringInfo(&json->out);
	json->start = VARHDRSZ + sizeof(header) + entries;
	enlargeStringInfo(&json->out, json->start + keys->bytes.len);
	memcpy(json->out.data + VARHDRSZ, &header, sizeof(header));
	memcpy(json->out.data + VARHDRSZ + sizeof(header), keys->entries, entries / 2);
	json->out.len = json->start;
	appendBinaryStringInfo(&json->out, keys->bytes.data, keys->bytes.len);
	json->filled = keys->count;
}

void
billing_json_put_null(BillingJson *json)
{
	put_entry(json, JENTRY_ISNULL, json->out.len);
}

void
billing_json_put_boolean(BillingJson *json, bool value)
{
	put_entry(json, value ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE, json->out.len);
}

void
billing_json_put_string(BillingJson *json, const char *string, int len)
{
	int			from = json->out.len;

	appendBinaryStringInfo(&json->out, string, len);
	put_entry(json, JENTRY_ISSTRING, from);
}

void
billing_json_put_appended(BillingJson *json, int from)
{
	put_entry(json, JENTRY_ISSTRING, from);
}

void
billing_json_put_number(BillingJson *json, Numeric number)
{
	int			from = align(json);

	appendBinaryStringInfo(&json->out, (const char *) number, VARSIZE_ANY(number));
	put_entry(json, JENTRY_ISNUMERIC, from);
}

/* A value that is no object or array stands in an array of its own. */
void
billing_json_put_json(BillingJson *json, Jsonb *value)
{
	JsonbValue	scalar;
	int			from;

	if (JB_ROOT_IS_SCALAR(value))
	{
		(void) JsonbExtractScalar(&value->root, &scalar);
		if (scalar.type == jbvString)
			billing_json_put_string(json, scalar.val.string.val, scalar.val.string.len);
		else if (scalar.type == jbvNumeric)
			billing_json_put_number(json, scalar.val.numeric);
		else if (scalar.type == jbvBool)
			billing_json_put_boolean(json, scalar.val.boolean);
		else
			billing_json_put_null(json);
		return;
	}
	from = align(json);
	appendBinaryStringInfo(&json->out, (const char *) &value->root, VARSIZE(value) - VARHDRSZ);
	put_entry(json, JENTRY_ISCONTAINER, from);
}

Jsonb *
billing_json_end(BillingJson *json)
{
	SET_VARSIZE(json->out.data, json->out.len);
	return (Jsonb *) json->out.data;
}

/* The entry of a value whose bytes, and those that align them, are what was appended since from. */
static void
put_entry(BillingJson *json, uint32 type, int from)
{
	JEntry		entry = make_entry(type, json->filled, json->out.len - from, json->out.len - json->start);

	memcpy(json->out.data + VARHDRSZ + sizeof(uint32) + json->filled * sizeof(JEntry), &entry, sizeof(entry));
	json->filled++;
}

/* It tells the length of a value, or, once in a while, where that ends. */
static JEntry
make_entry(uint32 type, int index, int len, int end)
{
	if (end > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a JSON object takes more than %u bytes", JENTRY_OFFLENMASK),
				 errdetail("bytes=%d", end),
				 errhint("Keep less in details and metadata.")));
	return type | (index % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | end : len);
}

/* Returns where it was before. */
static int
align(BillingJson *json)
{
	int			from = json->out.len;

	while (json->out.len != INTALIGN(json->out.len))
		appendStringInfoChar(&json->out, '\0');
	return from;
}
