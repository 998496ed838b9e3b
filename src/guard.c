/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Triggers that keep what was stated: they refuse, and never write.
 *
 * An INSERT is no business of theirs: a restore brings rows in any state.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/rel.h"

#include "trigger.h"

BILLING_FUNCTION(billing_refuse_change);
BILLING_FUNCTION(billing_final_guard);

pg_noreturn static void report_delete(TriggerData *trigger, const char *status);
pg_noreturn static void report_change(TriggerData *trigger, const char *status, const char *column);

/*
 * billing_refuse_change
 *		BEFORE UPDATE, DELETE or TRUNCATE: refuses it.
 *
 * For tables, and columns (UPDATE OF), that nothing changes once they are written.
 */
Datum
billing_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_any(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);
	const char *action = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? "update" :
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? "delete" : "truncate";

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 trigger->tg_trigger->tgnattr > 0 && TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
			 errmsg("a row of table \"%s\" keeps its key", table) :
			 errmsg("table \"%s\" takes no %s", table, action),
			 errdetail("table=%s action=%s", table, action),
			 errhint("%s", trigger->tg_trigger->tgargs[0])));
}

/*
 * billing_final_guard
 *		BEFORE UPDATE or DELETE, for each row: once an object is final, only some of
 *		its columns change, and it stays.
 *
 * The first argument is the status in which it is not final yet (none: empty), the
 * others are the columns that change all the same.
 */
Datum
billing_final_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	char	  **arguments = trigger->tg_trigger->tgargs;
	const char *status = billing_trigger_text(trigger, trigger->tg_trigtuple, "status");
	const char *column;

	if (strcmp(status, arguments[0]) == 0)
		return billing_trigger_pass(trigger);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		report_delete(trigger, status);

	column = billing_trigger_changed(trigger, (const char *const *) arguments + 1,
									 trigger->tg_trigger->tgnargs - 1);
	if (column != NULL)
		report_change(trigger, status, column);
	return billing_trigger_pass(trigger);
}

static void
report_delete(TriggerData *trigger, const char *status)
{
	const char *object = RelationGetRelationName(trigger->tg_relation);
	const char *id = billing_trigger_text(trigger, trigger->tg_trigtuple, psprintf("%s_id", object));

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("%s %s is %s and stays", object, id, status),
			 errdetail("object=%s id=%s status=%s action=delete", object, id, status),
			 trigger->tg_trigger->tgargs[0][0] == '\0' ?
			 errhint("What was stated is corrected by another row, never deleted.") :
			 errhint("Only a %s may be deleted.", trigger->tg_trigger->tgargs[0])));
}

static void
report_change(TriggerData *trigger, const char *status, const char *column)
{
	const char *object = RelationGetRelationName(trigger->tg_relation);
	const char *id = billing_trigger_text(trigger, trigger->tg_trigtuple, psprintf("%s_id", object));

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("%s %s is %s and keeps its column \"%s\"", object, id, status, column),
			 errdetail("object=%s id=%s status=%s column=%s", object, id, status, column),
			 errhint("A correction is a document of its own that names this one.")));
}
