/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Wake the processes of this database when this transaction has committed.
 *
 * A latch is set once per transaction, after its rows can be seen.  It costs a spinlock; no
 * row is written, nothing is sent and no lock is shared with other databases, as NOTIFY's is.
 * It is a hint: what is due is found in tables, so that a wake that got lost, as that of a
 * prepared transaction is, delays work until the next look and loses none.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"

#include "registry.h"
#include "wake.h"

BILLING_FUNCTION(billing_wake);
BILLING_FUNCTION(billing_wake_changed);

/* What the transaction that runs has done. */
static bool is_due_changed = false;
static bool has_event = false;

static void wake_later(void);
static void end_transaction(XactEvent event, void *arg);

/*
 * billing_wake
 *		What the install script and updates call at their end.
 */
Datum
billing_wake(PG_FUNCTION_ARGS)
{
	billing_wake_due_at_commit();
	PG_RETURN_VOID();
}

/*
 * billing_wake_changed
 *		The same as a trigger, for tables of settings that people write to.
 */
Datum
billing_wake_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "wake_changed is a trigger");
	billing_wake_due_at_commit();
	return PointerGetDatum(NULL);
}

void
billing_wake_at_commit(void)
{
	wake_later();
	has_event = true;
}

void
billing_wake_due_at_commit(void)
{
	wake_later();
	is_due_changed = true;
}

/* What may take memory is done here, since nothing may fail after the commit; where there is none nobody is woken. */
static void
wake_later(void)
{
	static bool is_registered = false;

	if (!billing_registry_attach() || is_registered)
		return;
	RegisterXactCallback(end_transaction, NULL);
	is_registered = true;
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && (has_event || is_due_changed))
		billing_registry_wake(MyDatabaseId, is_due_changed, has_event);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		has_event = is_due_changed = false;
}
