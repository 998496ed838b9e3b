/*-------------------------------------------------------------------------
 *
 * trigger.h
 *	  What a trigger in C reads of its rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_TRIGGER_H
#define BILLING_TRIGGER_H

#include "commands/trigger.h"

/* The trigger as which a function was called: for either, for each row, for the statement. */
extern TriggerData *billing_trigger_of_any(FunctionCallInfo fcinfo);
extern TriggerData *billing_trigger_of_row(FunctionCallInfo fcinfo);
extern TriggerData *billing_trigger_of_statement(FunctionCallInfo fcinfo);

/* What a BEFORE trigger returns to let its row pass. */
extern Datum billing_trigger_pass(TriggerData *trigger);

/* A column of a row, by name; as text it is "null" if it is NULL. */
extern Datum billing_trigger_value(TriggerData *trigger, HeapTuple tuple, const char *column,
								   bool *isnull);
extern char *billing_trigger_text(TriggerData *trigger, HeapTuple tuple, const char *column);

/* Of an UPDATE: the first column whose value differs, but for those named; NULL: none. */
extern const char *billing_trigger_changed(TriggerData *trigger, const char *const *but, int nbut);

#endif							/* BILLING_TRIGGER_H */
