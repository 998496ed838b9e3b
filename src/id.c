/*-------------------------------------------------------------------------
 *
 * id.c
 *	  Where ids come from: one sequence, with the node's number above it.
 *
 * Not identity columns: their sequences start again on every node of a
 * distributed database.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "utils/lsyscache.h"

#include "guc.h"
#include "id.h"

BILLING_FUNCTION(billing_next_id);

Datum
billing_next_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(billing_id_next());
}

/*
 * billing_id_next
 *		The next id of this node.  No caller waits for another's transaction,
 *		and a rollback leaves a gap.
 */
int64
billing_id_next(void)
{
	Oid			sequence = get_relname_relid("id_seq", get_namespace_oid("billing", false));

	if (!OidIsValid(sequence))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("sequence billing.id_seq does not exist"),
				 errhint("Drop and create the extension again, or restore the sequence.")));

	return ((int64) billing_node << BILLING_ID_SEQUENCE_BITS) |
		nextval_internal(sequence, false);
}
