/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  The global tables that people write by hand: who changed what.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "flow.h"
#include "trigger.h"

BILLING_FUNCTION(billing_catalog_audit);

static char *key_text(TriggerData *trigger, HeapTuple tuple);

/*
 * billing_catalog_audit
 *		Say in audit_log what an UPDATE or a DELETE did to a row of a global table.
 *
 * A trigger AFTER, FOR EACH ROW; its arguments are the columns of the key.  An
 * INSERT is told by the row itself (created_at, created_by), so that a restore
 * has no side effect.
 */
Datum
billing_catalog_audit(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);

	billing_spi_begin();
	billing_flow_audit_action(0, is_update ? "update" : "delete",
							  RelationGetRelationName(trigger->tg_relation),
							  key_text(trigger, trigger->tg_trigtuple),
							  heap_copy_tuple_as_datum(trigger->tg_trigtuple, tupdesc),
							  is_update ? heap_copy_tuple_as_datum(trigger->tg_newtuple, tupdesc) : (Datum) 0);
	billing_spi_end();
	return PointerGetDatum(NULL);
}

/*
 * key_text
 *		The key of a row: its columns' texts, with slashes between them.
 */
static char *
key_text(TriggerData *trigger, HeapTuple tuple)
{
	StringInfoData key;

	initStringInfo(&key);
	for (int i = 0; i < trigger->tg_trigger->tgnargs; i++)
		appendStringInfo(&key, "%s%s", i > 0 ? "/" : "",
						 billing_trigger_text(trigger, tuple, trigger->tg_trigger->tgargs[i]));
	return key.data;
}
