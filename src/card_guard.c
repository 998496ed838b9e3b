/*-------------------------------------------------------------------------
 *
 * card_guard.c
 *	  Numbers and codes of cards are not stored here: what columns of text and JSON may hold.
 *
 * These are the conditions of CHECK constraints, so that nothing goes past them.  They never are false but raise: the
 * message of a constraint shows the row that broke it, and this is what nobody is to see.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "card_guard.h"
#include "encoding.h"

BILLING_FUNCTION(billing_has_no_card);
BILLING_FUNCTION(billing_has_no_card_json);

static const char *fold(const char *text, size_t *len);
static bool is_ascii(const char *text, size_t len);
static void check_text(const char *text, size_t len);
static void check_scalar(const JsonbValue *key, const JsonbValue *value);
pg_noreturn static void refuse(BillingCardFinding found);

BillingCardFinding
billing_card_find_any(const char *text, size_t len)
{
	text = fold(text, &len);
	return billing_card_find(text, len);
}

/* Itself, where it is ASCII: most is. */
static const char *
fold(const char *text, size_t *len)
{
	char	   *utf8;

	if (is_ascii(text, *len))
		return text;
	utf8 = billing_encoding_replace(pnstrdup(text, *len), GetDatabaseEncoding(), PG_UTF8);
	*len = billing_card_fold(utf8, strlen(utf8), utf8);
	return utf8;
}

static bool
is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	}
	return true;
}

void
billing_card_refuse(const text *value)
{
	check_text(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

Datum
billing_has_no_card(PG_FUNCTION_ARGS)
{
	billing_card_refuse(PG_GETARG_TEXT_PP(0));
	PG_RETURN_BOOL(true);
}

/*
 * billing_has_no_card_json
 *		The same of every key and value of JSON, however deep; and no member has the name of a code with one as its
 *		value, or in an array there.
 */
Datum
billing_has_no_card_json(PG_FUNCTION_ARGS)
{
	Jsonb	   *json = PG_GETARG_JSONB_P(0);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	key = {.type = jbvString, .val.string = {0, ""}};

	if (JB_ROOT_COUNT(json) == 0)
		PG_RETURN_BOOL(true);
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = value;
			check_text(value.val.string.val, value.val.string.len);
		}
		else if (token == WJB_VALUE || token == WJB_ELEM)
			check_scalar(&key, &value);
	}
	PG_RETURN_BOOL(true);
}

static void
check_text(const char *text, size_t len)
{
	BillingCardFinding found = billing_card_find_any(text, len);

	if (found != BILLING_CARD_NONE)
		refuse(found);
}

static void
check_scalar(const JsonbValue *key, const JsonbValue *value)
{
	const char *text;
	size_t		len;

	if (value->type == jbvString)
	{
		text = value->val.string.val;
		len = value->val.string.len;
	}
	else if (value->type == jbvNumeric)
	{
		text = numeric_normalize(value->val.numeric);
		len = strlen(text);
	}
	else
		return;

	check_text(text, len);
	text = fold(text, &len);
	if (billing_card_is_code(text, len) && billing_card_is_code_name(key->val.string.val, key->val.string.len))
		refuse(BILLING_CARD_CODE);
}

/* It is not said where it stands, nor any of its digits. */
static void
refuse(BillingCardFinding found)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(found == BILLING_CARD_NUMBER ? "the number of a card is not stored here" : "the code of a card is not stored here"),
			 errdetail("kind=%s", found == BILLING_CARD_NUMBER ? "card_number" : "card_code"),
			 errhint("Let the payer give it to the gateway, and pass the token that the gateway makes of it to billing.add_payment_method(). If it is none, write it so that it is no token of digits of its own.")));
}
