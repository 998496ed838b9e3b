/*-------------------------------------------------------------------------
 *
 * status.c
 *	  What view and function status() cannot read from tables.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "job.h"
#include "registry.h"
#include "result.h"
#include "spi.h"

BILLING_FUNCTION(billing_job_due_at_named);
BILLING_FUNCTION(billing_library_version);
BILLING_FUNCTION(billing_process);

/*
 * billing_library_version
 *		That of the library this session has loaded.
 */
Datum
billing_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(BILLING_VERSION));
}

/*
 * billing_process
 *		Does the worker or the sender of this database run?
 */
Datum
billing_process(PG_FUNCTION_ARGS)
{
	BillingDatabase here = billing_registry_read(MyDatabaseId);
	BillingProcessKind kind = billing_text_equals(PG_GETARG_TEXT_PP(0), "sender") ? BILLING_SENDER : BILLING_WORKER;
	pid_t		pid = here.pids[kind];
	const char *status = pid != 0 ? "running" : here.is_stopped ? "stopped" : "not running";
	Datum		values[] = {Int32GetDatum(pid), CStringGetTextDatum(status)};
	bool		nulls[] = {pid == 0, false};

	PG_RETURN_DATUM(billing_result_make(fcinfo, lengthof(values), values, nulls));
}

/*
 * billing_job_due_at_named
 *		When a job has something to do: NULL, nothing before somebody writes; -infinity,
 *		only a run can tell.
 */
Datum
billing_job_due_at_named(PG_FUNCTION_ARGS)
{
	int			job = billing_job_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	TimestampTz due_at;

	if (job < 0)
		PG_RETURN_NULL();
	billing_spi_begin();
	due_at = billing_job_due_at(job);
	billing_spi_end();
	if (due_at == DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due_at);
}
