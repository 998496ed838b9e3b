/*-------------------------------------------------------------------------
 *
 * trigger.c
 *	  What a trigger in C reads of its rows.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "trigger.h"

static AttrNumber find_column(TriggerData *trigger, const char *column);
static bool is_among(const char *name, const char *const *names, int n);
static bool has_changed(TriggerData *trigger, int number);

TriggerData *
billing_trigger_of_any(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "function was not called as a trigger");
	return (TriggerData *) fcinfo->context;
}

TriggerData *
billing_trigger_of_row(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = billing_trigger_of_any(fcinfo);

	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		elog(ERROR, "trigger \"%s\" is not for each row", trigger->tg_trigger->tgname);
	return trigger;
}

TriggerData *
billing_trigger_of_statement(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = billing_trigger_of_any(fcinfo);

	if (!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		elog(ERROR, "trigger \"%s\" is not for each statement", trigger->tg_trigger->tgname);
	return trigger;
}

Datum
billing_trigger_pass(TriggerData *trigger)
{
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}

Datum
billing_trigger_value(TriggerData *trigger, HeapTuple tuple, const char *column, bool *isnull)
{
	return heap_getattr(tuple, find_column(trigger, column),
						RelationGetDescr(trigger->tg_relation), isnull);
}

static AttrNumber
find_column(TriggerData *trigger, const char *column)
{
	AttrNumber	number = get_attnum(RelationGetRelid(trigger->tg_relation), column);

	if (number == InvalidAttrNumber)
		elog(ERROR, "table \"%s\" has no column \"%s\"",
			 RelationGetRelationName(trigger->tg_relation), column);
	return number;
}

char *
billing_trigger_text(TriggerData *trigger, HeapTuple tuple, const char *column)
{
	AttrNumber	number = find_column(trigger, column);
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	Oid			output;
	bool		is_varlena;
	bool		isnull;
	Datum		value = heap_getattr(tuple, number, tupdesc, &isnull);

	if (isnull)
		return pstrdup("null");
	getTypeOutputInfo(TupleDescAttr(tupdesc, number - 1)->atttypid, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/*
 * billing_trigger_changed
 *		The first column that an UPDATE gives another value, but for those named.
 *
 * Values are compared as they are stored, so 1.0 and 1.00 differ.  A generated
 * column is left out: before the row is written it is not computed, and it follows
 * from the others.
 */
const char *
billing_trigger_changed(TriggerData *trigger, const char *const *but, int nbut)
{
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);

	for (int i = 1; i <= tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i - 1);

		if (!attribute->attisdropped && attribute->attgenerated == '\0' &&
			!is_among(NameStr(attribute->attname), but, nbut) && has_changed(trigger, i))
			return NameStr(attribute->attname);
	}
	return NULL;
}

static bool
is_among(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool
has_changed(TriggerData *trigger, int number)
{
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	Form_pg_attribute attribute = TupleDescAttr(tupdesc, number - 1);
	bool		old_isnull;
	bool		new_isnull;
	Datum		old_value = heap_getattr(trigger->tg_trigtuple, number, tupdesc, &old_isnull);
	Datum		new_value = heap_getattr(trigger->tg_newtuple, number, tupdesc, &new_isnull);

	if (old_isnull || new_isnull)
		return old_isnull != new_isnull;
	return !datum_image_eq(old_value, new_value, attribute->attbyval, attribute->attlen);
}
