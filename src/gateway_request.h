/*-------------------------------------------------------------------------
 *
 * gateway_request.h
 *	  What is to be asked of gateways.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GATEWAY_REQUEST_H
#define BILLING_GATEWAY_REQUEST_H

#include "flow.h"
#include "gateway/gateway.h"

/*
 * Ask something of a gateway about a payment, refund or method of a locked tenant, from at on (0: at once): it is sent after
 * the commit, by the sender or by an application, and its answer comes as news.  Asking again for what waits already
 * changes nothing but that the earlier instant counts.  Returns its id.
 */
extern int64 billing_gateway_ask(int64 tenant_id, const char *gateway, BillingGatewayOperation operation, int64 object_id, TimestampTz at);

/* What waits of an object (operations: a bit each, 1 << operation) is not asked any more. */
extern void billing_gateway_forget(int64 tenant_id, int64 object_id, int operations);

/* Until when an operation on an object is claimed by somebody who sends it, in real time; 0: it is not. */
extern TimestampTz billing_gateway_busy_until(int64 tenant_id, int64 object_id, BillingGatewayOperation operation);

/*
 * If what was just asked needs no network (a payment_url that is signed here), answer it now, as news; false: it waits to
 * be sent.  YB014 if the gateway cannot be asked for this: the method, currency or a setting.
 */
extern bool billing_gateway_answer_here(BillingFlow *flow, int64 gateway_request_id);

#endif							/* BILLING_GATEWAY_REQUEST_H */
