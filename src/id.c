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
#include "catalog/pg_type_d.h"
#include "commands/sequence.h"
#include "utils/array.h"
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

Datum
billing_id_array(const Datum *ids, int count)
{
	return PointerGetDatum(construct_array((Datum *) ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

Datum
billing_id_array_of(int64 id)
{
	Datum		element = Int64GetDatum(id);

	return billing_id_array(&element, 1);
}

int
billing_id_count(Datum ids)
{
	ArrayType  *array = DatumGetArrayTypeP(ids);

	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

int64
billing_id_at(Datum ids, int which)
{
	return ((int64 *) ARR_DATA_PTR(DatumGetArrayTypeP(ids)))[which];
}

Datum
billing_id_slice(Datum ids, int from, int count)
{
	Datum	   *some = palloc((count + 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		some[i] = Int64GetDatum(billing_id_at(ids, from + i));
	return billing_id_array(some, count);
}
