/*-------------------------------------------------------------------------
 *
 * status.c
 *	  What view and function status() cannot read from tables.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "job.h"
#include "registry.h"
#include "result.h"
#include "spi.h"

BILLING_FUNCTION(billing_job_due_at_named);
BILLING_FUNCTION(billing_library_version);
BILLING_FUNCTION(billing_process);

static BillingProcessKind read_kind(const char *name);

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
 * read_kind
 *		Which of a database's processes a name means.
 */
static BillingProcessKind
read_kind(const char *name)
{
	if (strcmp(name, "worker") == 0)
		return BILLING_WORKER;
	if (strcmp(name, "sender") == 0)
		return BILLING_SENDER;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no process is called \"%.*s\"", BILLING_QUOTED(name, strlen(name))),
			 errdetail("argument=name value=%.*s", BILLING_QUOTED(name, strlen(name))),
			 errhint("Give worker or sender.")));
}

/*
 * billing_process
 *		Does the worker or the sender of this database run?
 */
Datum
billing_process(PG_FUNCTION_ARGS)
{
	BillingDatabase here = billing_registry_read(MyDatabaseId);
	BillingProcessKind kind = read_kind(text_to_cstring(PG_GETARG_TEXT_PP(0)));
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
