/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The process that runs what is due.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/timestamp.h"

#include "process.h"

extern PGDLLEXPORT void billing_worker_main(Datum arg);

static TimestampTz run_round(void);

void
billing_worker_main(Datum arg)
{
	static const BillingProcess worker = {
		.kind = BILLING_WORKER,
		.round = run_round,
	};

	billing_process_run(&worker, DatumGetObjectId(arg));
}

static TimestampTz
run_round(void)
{
	billing_process_begin("billing: looking for what is due");
	billing_process_commit();
	return DT_NOEND;
}
