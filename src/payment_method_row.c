/*-------------------------------------------------------------------------
 *
 * payment_method_row.c
 *	  What tenants pay by, as flows read it.
 *
 * The token stays in the table: what is read of a row for whoever called, for requests and for
 * audit_log is without it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "id.h"
#include "payment_method.h"
#include "spi.h"

#define WITHOUT_TOKEN "jsonb_populate_record(m, '{\"token\": null}')"

void
billing_payment_method_read(const BillingFlow *flow, int64 payment_method_id, BillingPaymentMethod *method)
{
	static BillingQuery query = {
		.sql = "SELECT " WITHOUT_TOKEN ", m.gateway, m.type, m.status, m.is_default, m.becomes_default, m.token IS NOT NULL, m.version,"
		"   coalesce(greatest(m.verified_at, m.ended_at), '-infinity')"
		"  FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.payment_method_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	Datum		args[] = {Int64GetDatum(flow->tenant_id), Int64GetDatum(payment_method_id)};
	bool		isnull;

	if (billing_spi_run(&query, args, NULL) == 0)
		billing_flow_not_found("payment_method", flow->tenant_id, psprintf("%lld", (long long) payment_method_id));
	method->payment_method_id = payment_method_id;
	method->row = billing_spi_copy(0, 1, flow->caller);
	method->gateway = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	method->type = TextDatumGetCString(billing_spi_value(0, 3, &isnull));
	method->status = TextDatumGetCString(billing_spi_value(0, 4, &isnull));
	method->is_default = DatumGetBool(billing_spi_value(0, 5, &isnull));
	method->becomes_default = DatumGetBool(billing_spi_value(0, 6, &isnull));
	method->has_token = DatumGetBool(billing_spi_value(0, 7, &isnull));
	method->version = DatumGetInt32(billing_spi_value(0, 8, &isnull));
	method->known_at = DatumGetTimestampTz(billing_spi_value(0, 9, &isnull));
}

Datum
billing_payment_method_show(const BillingFlow *flow, int64 payment_method_id)
{
	BillingPaymentMethod method;

	billing_payment_method_read(flow, payment_method_id, &method);
	return method.row;
}

void
billing_payment_method_check_usable(const BillingFlow *flow, int64 payment_method_id)
{
	BillingPaymentMethod method;

	(void) billing_payment_method_expire(billing_id_array_of(flow->tenant_id));
	billing_payment_method_read(flow, payment_method_id, &method);
	if (strcmp(method.status, "active") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("payment method %lld of tenant %lld is %s", (long long) payment_method_id, (long long) flow->tenant_id, method.status),
				 errdetail("object=payment_method id=%lld status=%s", (long long) payment_method_id, method.status),
				 errhint("billing.payment_method_list has those that are active.")));
}
