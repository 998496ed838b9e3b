/*-------------------------------------------------------------------------
 *
 * stated.c
 *	  What the objects of a JSON array state, member by member.
 *
 * An error names the object by its number and the member by its name.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "stated.h"

static void read_object(BillingStated *stated, JsonbValue *value);
static int	find_term(const BillingStatedForm *form, const JsonbValue *key);
static char *text_of(const BillingStated *stated, int term, const JsonbValue *value);

void
billing_stated_begin(BillingStated *stated, const BillingStatedForm *form, Jsonb *array)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a JSON array", form->array),
				 errdetail("argument=%s", form->array),
				 errhint("Give it like %s.", form->example)));
	Assert(form->nterms <= BILLING_STATED_MAX);
	stated->form = form;
	stated->number = 0;
	stated->it = JsonbIteratorInit(&array->root);
	(void) JsonbIteratorNext(&stated->it, &value, true);
}

bool
billing_stated_next(BillingStated *stated)
{
	JsonbValue	value;

	CHECK_FOR_INTERRUPTS();
	if (JsonbIteratorNext(&stated->it, &value, true) != WJB_ELEM)
		return false;
	stated->number++;
	read_object(stated, &value);
	return true;
}

static void
read_object(BillingStated *stated, JsonbValue *value)
{
	const BillingStatedForm *form = stated->form;
	JsonbIterator *it;
	JsonbValue	member;

	memset(stated->texts, 0, sizeof(stated->texts));
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		billing_stated_report(stated, form->element, "is not an object", psprintf("Give it like %s.", form->example));

	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &member, true);
	while (JsonbIteratorNext(&it, &member, true) == WJB_KEY)
	{
		int			term = find_term(form, &member);

		if (term == form->nterms)
			billing_stated_report(stated, pnstrdup(member.val.string.val,
												   pg_mbcliplen(member.val.string.val, member.val.string.len, BILLING_QUOTE_MAX)),
								  "is not known", form->known);
		(void) JsonbIteratorNext(&it, &member, true);
		stated->texts[term] = text_of(stated, term, &member);
	}
}

static int
find_term(const BillingStatedForm *form, const JsonbValue *key)
{
	int			term = 0;

	while (term < form->nterms &&
		   (strlen(form->terms[term].name) != key->val.string.len ||
			memcmp(form->terms[term].name, key->val.string.val, key->val.string.len) != 0))
		term++;
	return term;
}

static char *
text_of(const BillingStated *stated, int term, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			if (stated->form->terms[term].is_number)
				return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			/* FALLTHROUGH */
		default:
			billing_stated_report(stated, stated->form->terms[term].name, "has a value of the wrong type",
								  "Texts and instants are strings; numbers may be too.");
	}
}

BillingAmount *
billing_stated_amount(const BillingStated *stated, int term, const BillingCurrency *currency)
{
	const char *text = stated->texts[term];
	const char *p = text;
	BillingAmount *amount;

	while (*p != '\0' && !isalpha((unsigned char) *p))
		p++;
	if (*p == '\0')
		text = psprintf("%s %s", text, currency->code);
	amount = DatumGetBillingAmountP(DirectFunctionCall1(billing_amount_in, CStringGetDatum(text)));
	if (strcmp(amount->currency, currency->code) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_CURRENCY_MISMATCH),
				 errmsg("\"%s\" of %s %d is in %s, its invoice in %s", stated->form->terms[term].name,
						stated->form->element, stated->number, amount->currency, currency->code),
				 errdetail("%s=%d term=%s currency=%s amount=%s", stated->form->element, stated->number,
						   stated->form->terms[term].name, currency->code, text),
				 errhint("An invoice has one currency, and so has what corrects it: convert the amount, or bill it by another invoice.")));
	return amount;
}

TimestampTz
billing_stated_instant(const BillingStated *stated, int term)
{
	Datum		instant = DirectFunctionCall3(timestamptz_in, CStringGetDatum(stated->texts[term]),
											  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(instant)))
		billing_stated_report(stated, stated->form->terms[term].name, "is not finite", "Give it an instant.");
	return DatumGetTimestampTz(instant);
}

void
billing_stated_report(const BillingStated *stated, const char *term, const char *problem, const char *hint)
{
	const char *element = stated->form->element;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of %s %d %s", term, element, stated->number, problem),
			 errdetail("%s=%d term=%s", element, stated->number, term),
			 errhint("%s", hint)));
}
