/*-------------------------------------------------------------------------
 *
 * restore.c
 *	  A parallel restore loads tables in any order.
 *
 * pg_restore adds the foreign keys of ordinary tables after their data, but those
 * of an extension's tables are there from the start, and with -j it loads a child
 * before its parent.  What a dump holds satisfied every key and guard when it was
 * taken, so a restore runs as pg_restore's own --disable-triggers does, which is
 * not to be had for a whole dump.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "trigger.h"

BILLING_FUNCTION(billing_trust_restore);

/*
 * billing_trust_restore
 *		BEFORE INSERT, for each statement: in a superuser's session that calls itself
 *		pg_restore, the triggers of this transaction are those of a replica: none.
 *
 * The role is that of the session, or the one it took by SET ROLE: a flow runs as
 * the extension's owner, whoever calls it.  To anybody else it costs a comparison.
 * billing.audit() finds what a broken dump brought.
 */
Datum
billing_trust_restore(PG_FUNCTION_ARGS)
{
	(void) billing_trigger_of_statement(fcinfo);
	if (strcmp(application_name, "pg_restore") == 0 && superuser_arg(GetOuterUserId()) &&
		SessionReplicationRole == SESSION_REPLICATION_ROLE_ORIGIN)
		(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	return PointerGetDatum(NULL);
}
