/*-------------------------------------------------------------------------
 *
 * event.c
 *	  Facts for the outside world: what a flow writes of what it did.
 *
 * A flow writes each event once, in its own transaction, of the object as it leaves it.  So
 * what is rolled back was never told, and a retry, which does nothing, tells nothing.  The
 * lock of the tenant, which every flow holds, makes ids ascend in the order of commits.
 *
 * There is one statement for each kind of object, over a set; one event is a set of one.  The
 * bill run has its own, over the rows it writes (bill.c), with the same end.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"

#include "event.h"
#include "id.h"
#include "spi.h"
#include "wake.h"

/* What is told of the objects of a table: $1 is the type, $2 and $3 their tenants and ids, $4 a reserved id. */
#define TELL(from, object_of) { \
	.sql = BILLING_EVENT_WRITE( \
		"happened AS (SELECT a.tenant_id, $1 AS type, " object_of " AS object, $4 AS event_id" \
		"  FROM unnest($2, $3) WITH ORDINALITY a (tenant_id, object_id, n) " from \
		"  WHERE " BILLING_EVENT_IS_WANTED("$1") " ORDER BY a.n)"), \
	.expected = SPI_OK_INSERT, \
	.by_key = true, \
	.nargs = 4, \
	.argtypes = {TEXTOID, INT8ARRAYOID, INT8ARRAYOID, INT8OID}, \
	.options = CURSOR_OPT_GENERIC_PLAN, \
}

#define TELL_ROW(table, id) TELL("JOIN billing." table " o ON o.tenant_id = a.tenant_id AND o." id " = a.object_id", \
								 "billing." table "_object(o)")

/* By what types begin with. */
typedef struct EventSource
{
	const char *prefix;
	BillingQuery query;
} EventSource;

static EventSource sources[] = {
	{"tenant.", TELL_ROW("tenant", "tenant_id")},
	{"subscription.", TELL("JOIN billing.subscription o ON o.tenant_id = a.tenant_id AND o.subscription_id = a.object_id"
						   " JOIN billing.plan p ON p.plan_id = o.plan_id", "billing.subscription_object(o, p.code)")},
	{"invoice.", TELL_ROW("invoice", "invoice_id")},
	{"payment.", TELL_ROW("payment", "payment_id")},
	{"payment_method.", TELL("JOIN billing.payment_method o ON o.tenant_id = a.tenant_id AND o.payment_method_id = a.object_id",
							 "billing.payment_method_object(o, billing.last4(o.tenant_id, o.last4))")},
	{"dispute.", TELL_ROW("dispute", "dispute_id")},
	{"mirrored_subscription.", TELL_ROW("mirrored_subscription", "mirror_id")},
	{"refund.", TELL_ROW("refund", "refund_id")},
	{"credit_note.", TELL_ROW("credit_note", "credit_note_id")},
	{"wallet.", TELL("JOIN billing.credit_grant o ON o.tenant_id = a.tenant_id AND o.grant_id = a.object_id",
					 "billing.grant_object(o)")},
	{"usage.", TELL("JOIN billing.subscription_threshold o ON o.tenant_id = a.tenant_id AND o.subscription_id = a.object_id"
					" JOIN billing.subscription s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id",
					"billing.threshold_object(o, s.currency)")},
	{"entitlement.", TELL("", "billing.entitlement_object(a.tenant_id)")},
};

static void tell(const char *type, Datum tenant_ids, Datum object_ids, int64 event_id);
static BillingQuery *find_source(const char *type);

void
billing_event_emit(int64 tenant_id, const char *type, int64 object_id)
{
	tell(type, billing_id_array_of(tenant_id), billing_id_array_of(object_id), 0);
}

void
billing_event_emit_all(const char *type, Datum tenant_ids, Datum object_ids)
{
	if (tenant_ids != (Datum) 0)
		tell(type, tenant_ids, object_ids, 0);
}

void
billing_event_emit_as(int64 event_id, int64 tenant_id, const char *type, int64 object_id)
{
	tell(type, billing_id_array_of(tenant_id), billing_id_array_of(object_id), event_id);
}

static void
tell(const char *type, Datum tenant_ids, Datum object_ids, int64 event_id)
{
	Datum		args[] = {CStringGetTextDatum(type), tenant_ids, object_ids, Int64GetDatum(event_id)};

	(void) billing_spi_run(find_source(type), args, event_id == 0 ? "   n" : NULL);
	billing_wake_at_commit();
}

static BillingQuery *
find_source(const char *type)
{
	for (int i = 0; i < lengthof(sources); i++)
	{
		if (strncmp(type, sources[i].prefix, strlen(sources[i].prefix)) == 0)
			return &sources[i].query;
	}
	elog(ERROR, "no object is known of events of type \"%s\"", type);
}
