/*-------------------------------------------------------------------------
 *
 * event.h
 *	  Facts for the outside world.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_EVENT_H
#define BILLING_EVENT_H

/*
 * The statement that writes events: ctes are its common table expressions, of which happened
 * has a row for each (tenant_id, type, object, event_id), in the order in which they happened;
 * event_id is NULL but where one was reserved.  There is no other that writes any, but that of
 * send_test_event().
 *
 * It writes with them what is to be delivered, for each endpoint that wants it: an event that
 * commits late is in nobody's past, and one that is rolled back is nowhere.
 */
#define BILLING_EVENT_WRITE(ctes) \
	"WITH " ctes \
	", written AS (INSERT INTO billing.event (tenant_id, event_id, type, payload, created_at)" \
	" SELECT e.tenant_id, e.event_id, e.type," \
	"        billing.event_payload(e.tenant_id, e.event_id, e.type, billing.now(), e.object), billing.now()" \
	"   FROM (SELECT h.tenant_id, h.type, h.object, coalesce(h.event_id, billing.next_id()) AS event_id FROM happened h) e" \
	" RETURNING tenant_id, event_id, type)" \
	" INSERT INTO billing.webhook_delivery (tenant_id, event_id, endpoint_id, is_ordered)" \
	" SELECT w.tenant_id, w.event_id, p.endpoint_id, p.is_ordered" \
	"   FROM written w JOIN billing.webhook_endpoint p ON p.is_enabled AND coalesce(p.only_tenant_id = w.tenant_id, true)" \
	"    AND billing.event_type_matches(w.type, p.event_types)"

/* Of such an expression: whether events of a type are to be written, asked once a statement. */
#define BILLING_EVENT_IS_WANTED(type) "coalesce(" type " = ANY ((SELECT billing.wanted_events())::text[]), true)"

/*
 * Write that something happened to an object: type is one of billing.event_type, object_id the
 * id of what the part of it before the point says (of tenant and entitlement the tenant's, of
 * wallet that of the grant, of usage that of the subscription).  Called by a flow when the object
 * is in its final state; the caller holds the tenant's lock and is connected to SPI.
 */
extern void billing_event_emit(int64 tenant_id, const char *type, int64 object_id);

/* The same of many, one type: bigint[] of tenants and of ids, in parallel; (Datum) 0: none. */
extern void billing_event_emit_all(const char *type, Datum tenant_ids, Datum object_ids);

/*
 * The same under an id of billing_id_next() that was taken when it happened: what is told of
 * since comes behind it, though the object was not in its final state yet.
 */
extern void billing_event_emit_as(int64 event_id, int64 tenant_id, const char *type, int64 object_id);

#endif							/* BILLING_EVENT_H */
