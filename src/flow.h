/*-------------------------------------------------------------------------
 *
 * flow.h
 *	  What every flow begins and ends with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_FLOW_H
#define BILLING_FLOW_H

#include "spi.h"

/*
 * A call of a function that writes.  Between begin and end the caller was found
 * to be allowed to act for the tenant, SPI is connected, and the tenant's row is
 * locked FOR NO KEY UPDATE, so that one flow at a time touches a tenant.
 */
typedef struct BillingFlow
{
	FunctionCallInfo fcinfo;
	const char *name;			/* of the SQL function, without its schema */
	int64		tenant_id;
	MemoryContext caller;		/* where the result has to live */
	text	   *request_id;		/* NULL: none given */
	bytea	   *arguments;		/* hash of what the function was called with */
} BillingFlow;

/* No argument of the function is a request_id. */
#define BILLING_NO_REQUEST (-1)

/*
 * Begin a flow for the tenant that argument 0 names.  True: the request was seen
 * before, *result is what it returned then, and the flow is over.
 *
 * A retry is known by its arguments, so an argument that is the present unless
 * stated is DEFAULT NULL in SQL, and billing_clock_now() in C: with DEFAULT
 * billing.now() each retry would be another request.
 */
extern bool billing_flow_begin(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name,
							   int request_arg, Datum *result);

/* Begin one whose tenant no argument names, but something that carries it. */
extern void billing_flow_begin_for(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name, int64 tenant_id);

/*
 * Begin one for who was verified otherwise, as a gateway is by its signature, with SPI connected: no caller is checked.  False:
 * there is no such tenant.
 */
extern bool billing_flow_begin_verified(BillingFlow *flow, const char *name, int64 tenant_id);

/* Begin one whose tenant may not exist: the caller is checked, nothing is locked or looked up. */
extern void billing_flow_open(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name,
							  int request_arg);

/*
 * Begin one that writes a global table, whose writers come one after the other: its requests and
 * what it says in audit_log are those of tenant 0.  True: the request was seen, as above.
 */
extern bool billing_flow_begin_global(BillingFlow *flow, FunctionCallInfo fcinfo, const char *name,
									  int request_arg, const char *table, Datum *result);

/* Of a flow opened so and given a request_id: whether the request was seen, and its result. */
extern bool billing_flow_find_request(BillingFlow *flow, Datum *result);

/* End it: keep the request and its result, disconnect; returns the result. */
extern Datum billing_flow_end(BillingFlow *flow, Datum result);

/*
 * Of locked tenants (a bigint[]): 40001 if somebody acted for one of them since this
 * transaction took the one snapshot that it reads by.  A flow's begin asks it.
 */
extern void billing_flow_check_snapshot(Datum tenant_ids);

/*
 * Run a query that locks the tenants of pairs (tenant_id, id), in their order: the pairs as two
 * bigint[]; returns how many, and the last of them in last, which stays if there is none.
 */
extern int	billing_flow_claim(BillingQuery *query, Datum *args, Datum *tenant_ids, Datum *ids, int64 *last);

/* Add a row to audit_log; before and after are composite, (Datum) 0 if there is none. */
extern void billing_flow_audit(BillingFlow *flow, const char *object, int64 object_id,
							   Datum before, Datum after);

/* The same outside a flow, with SPI connected; tenant 0 is for global tables. */
extern void billing_flow_audit_action(int64 tenant_id, const char *action, const char *object,
									  const char *object_id, Datum before, Datum after);

/* YB004 if the tenant is closed: what it does not take any more, and what to do. */
extern void billing_flow_check_open(const BillingFlow *flow, const char *what, const char *hint);

/* YB015 unless the caller may act for the tenant: it bypasses row security, or billing.tenant_id names it. */
extern void billing_flow_check_caller(int64 tenant_id);

/* 22004 if an argument is NULL; name is that of the argument. */
extern void billing_flow_require(FunctionCallInfo fcinfo, int arg, const char *name);

/* 22004, 22023 unless the argument batch is positive; of says what it counts. */
extern void billing_flow_require_batch(FunctionCallInfo fcinfo, int arg, const char *of);

/* YB001: no such object; id is NULL if the tenant itself is what is missing. */
pg_noreturn extern void billing_flow_not_found(const char *object, int64 tenant_id, const char *id);

/* YB006: the natural key of a call, argument key_name, is that of an object that was made with other arguments. */
pg_noreturn extern void billing_flow_key_reused(const char *object, int64 tenant_id, const char *key_name, const char *key);

/* Raise YB001 if there is no such tenant, or no such invoice of it; SPI is connected. */
extern void billing_flow_find_tenant(int64 tenant_id);
extern void billing_flow_find_invoice(int64 tenant_id, int64 invoice_id);

/* Within ereport: a hint that row security hides the tenant, and true; false if it does not. */
extern bool billing_flow_hint_hidden(int64 tenant_id);

#endif							/* BILLING_FLOW_H */
