/*-------------------------------------------------------------------------
 *
 * collect_payment.c
 *	  An attempt to collect, as a payment without the payer.
 *
 * The payment goes the way of any other: what is due of the invoice is asked of the gateway of the method, under an
 * idempotency key of its own, and whatever is told of it is told of the attempt too.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "utils/builtins.h"

#include "collect.h"
#include "payment.h"
#include "spi.h"

void
billing_collect_payment(const BillingAttempt *attempt)
{
	static BillingQuery query = {
		.sql = "SELECT m.gateway, m.type FROM billing.payment_method m WHERE m.tenant_id = $1 AND m.payment_method_id = $2",
		.expected = SPI_OK_SELECT,
		.by_key = true,
		.nargs = 2,
		.argtypes = {INT8OID, INT8OID},
	};
	BillingFlow flow = {.name = "collect", .tenant_id = attempt->tenant_id, .caller = CurrentMemoryContext};
	BillingPaymentOrder order = {
		.invoice_id = attempt->invoice_id, .payment_method_id = attempt->payment_method_id,
		.attempt_no = attempt->attempt_no, .retry_no = attempt->retry_no
	};
	Datum		args[] = {Int64GetDatum(attempt->tenant_id), Int64GetDatum(attempt->payment_method_id)};
	bool		isnull;

	(void) billing_spi_run(&query, args, NULL);
	order.gateway = TextDatumGetCString(billing_spi_value(0, 1, &isnull));
	order.method = TextDatumGetCString(billing_spi_value(0, 2, &isnull));
	(void) billing_payment_begin(&flow, &order);
}
