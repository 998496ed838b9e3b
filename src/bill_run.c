/*-------------------------------------------------------------------------
 *
 * bill_run.c
 *	  Everything that is due, batch by batch: in which order, and who waits for whom.
 *
 * A run is a sequence of steps, each of which calls one function that has the rights for what it does.
 * Between steps the caller commits: bill_due() in its caller's session, the worker in its own, each as its place asks for.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/timestamp.h"

#include "aside.h"
#include "bill_run.h"
#include "clock.h"
#include "flow.h"
#include "progress.h"
#include "spi.h"

BILLING_FUNCTION(billing_bill_due);

#define BATCH_MAX 1000000

/* The work of a pass on one batch behind its position; false if nothing was left to claim there. */
typedef bool (*Phase) (BillingBillRun *run);

static bool bill_some(BillingBillRun *run);
static bool late_some(BillingBillRun *run);
static bool threshold_some(BillingBillRun *run);
static bool finalize_some(BillingBillRun *run);
static bool run_phase(BillingQuery *query, BillingBillRun *run);
static bool end_pass(BillingBillRun *run);
static void begin_pass(BillingBillRun *run);
static void tell_pass(BillingBillRun *run);
static void get_help(BillingBillRun *run, int64 left);

/* After the compaction, and what progress calls it. */
static const Phase phases[] = {bill_some, late_some, threshold_some, finalize_some};
static const char *const phase_names[] = {"billing", "billing late usage", "billing at thresholds", "making drafts final"};

const BillingBillHelpers *billing_bill_helpers = NULL;

#define COMPACTION (-1)
#define BILL 0

/*
 * billing_bill_due
 *		CALL billing.bill_due(at, batch): everything due at or before at, one
 *		transaction per batch.
 *
 * Inside a transaction block it commits nothing, so that ROLLBACK makes a forecast
 * of it.
 */
Datum
billing_bill_due(PG_FUNCTION_ARGS)
{
	CallContext *context = castNode(CallContext, fcinfo->context);
	BillingBillRun run;
	int32		batch;

	billing_flow_require(fcinfo, 1, "batch");
	batch = PG_GETARG_INT32(1);
	if (batch < 1 || batch > BATCH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be from 1 to %d", BATCH_MAX),
				 errdetail("batch=%d", batch),
				 errhint("It is how many subscriptions one transaction bills; 10000 is the default.")));

	if (!PG_ARGISNULL(0) && TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(0)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be finite"),
				 errdetail("at=%s", TIMESTAMP_IS_NOBEGIN(PG_GETARG_TIMESTAMPTZ(0)) ? "-infinity" : "infinity"),
				 errhint("It is the instant up to which periods are billed; of those to come there is no last.")));

	if (SPI_connect_ext(context->atomic ? 0 : SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	billing_bill_run_begin(&run, PG_ARGISNULL(0) ? billing_clock_now() : PG_GETARG_TIMESTAMPTZ(0), batch, context->atomic,
						   CurrentMemoryContext);
	if (!context->atomic)
		billing_spi_begin_transaction();
	billing_progress_begin("bill_due", context->atomic);
	while (billing_bill_run_step(&run))
	{
		if (!context->atomic)
			billing_spi_begin_transaction();
		CHECK_FOR_INTERRUPTS();
	}
	billing_progress_end();
	/* What the caller does next is in a transaction as its session has them. */
	if (!context->atomic)
		SPI_commit();
	billing_spi_end();
	PG_RETURN_VOID();
}

void
billing_bill_run_begin(BillingBillRun *run, TimestampTz at, int batch, bool atomic, MemoryContext context)
{
	memset(run, 0, sizeof(BillingBillRun));
	run->at = at;
	run->real_start = billing_clock_real();
	run->batch = batch;
	run->atomic = atomic;
	run->phase = COMPACTION;
	run->compaction.batch = batch;
	run->compaction.atomic = atomic;
	run->compaction.context = context;
}

void
billing_bill_run_abandon(void)
{
	billing_progress_end();
	if (billing_bill_helpers != NULL)
		billing_bill_helpers->dismiss();
}

/*
 * tell_pass
 *		Tell of a pass that begins: of what is done and what is due by then.
 *
 * Of one that is behind that is each boundary by the shortest cycle of its plan, of which a pass bills one.  More than
 * some thousands of one are not counted.
 */
static void
tell_pass(BillingBillRun *run)
{
	static BillingQuery query = {
		.sql = "SELECT coalesce(sum(CASE WHEN s.due_at + p.cycle <= $1"
		"   THEN (SELECT count(*) FROM (SELECT generate_series(s.due_at, greatest(s.due_at, least($1, s.cancel_at)), p.cycle) LIMIT 10000) n)"
		"   ELSE 1 END), 0)::bigint"
		"  FROM billing.subscription s"
		"  JOIN (SELECT p.plan_id, coalesce(billing.step_cycle(p.plan_id, p.cycle), p.cycle) AS cycle FROM billing.plan p OFFSET 0) p"
		"    ON p.plan_id = s.plan_id"
		" WHERE s.due_at <= $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TIMESTAMPTZOID},
	};
	Datum		args[] = {TimestampTzGetDatum(run->at)};
	int64		left = 0;
	bool		isnull;

	if (run->is_helper)
		return;
	if (run->phase == BILL)
	{
		(void) billing_spi_run(&query, args, NULL);
		left = DatumGetInt64(billing_spi_value(0, 1, &isnull));
		SPI_freetuptable(SPI_tuptable);
		get_help(run, left);
	}
	billing_progress_phase(phase_names[run->phase], run->moved + left);
}

/* Once, and only where others see what was committed. */
static void
get_help(BillingBillRun *run, int64 left)
{
	if (billing_bill_helpers == NULL || run->atomic || run->has_helpers)
		return;
	run->has_helpers = true;
	billing_bill_helpers->start(run, left);
}

/*
 * billing_bill_run_step
 *		Bill the next batch, first of what nobody else bills, then of the rest.
 *
 * A pass bills one boundary of each that it claims.  Of one that has several the
 * next may lie before what the batch ended with, so passes go on until one bills
 * nothing: then what is still due is locked by somebody else, or cannot be billed.
 * A pass that waits for the tenants that were locked finds that whoever
 * held them has billed them, or bills them itself.  Then the same for late usage of
 * subscriptions that ended, for usage that passes a threshold, and for drafts that are
 * old enough to be made final.
 *
 * Where no batch commits every pass waits: two runs that each keep what they have
 * locked would else wait for each other.
 */
bool
billing_bill_run_step(BillingBillRun *run)
{
	int64		moved = run->position.moved;
	bool		any;

	if (run->phase == COMPACTION)
	{
		if (!run->is_helper && !run->compaction.is_begun)
			billing_progress_phase("summing usage up", 0);
		if (run->is_helper || !billing_usage_compact_step(&run->compaction))
		{
			run->phase = BILL;
			begin_pass(run);
		}
		SPI_freetuptable(SPI_tuptable);
		return true;
	}

	if (run->position.due_at == DT_NOBEGIN && run->position.tenant_id == PG_INT64_MIN)
		tell_pass(run);
	any = phases[run->phase] (run);
	SPI_freetuptable(SPI_tuptable);
	run->moved += run->position.moved - moved;
	billing_progress_add(run->position.moved - moved, run->leader);
	return any || end_pass(run);
}

/* Is there another pass? */
static bool
end_pass(BillingBillRun *run)
{
	bool		any_moved = run->position.moved > 0;
	bool		is_last = run->wait;

	begin_pass(run);
	if (run->phase == BILL && any_moved)
	{
		run->wait = is_last;
		return true;
	}
	if (run->is_helper)
		return false;
	if (!is_last)
	{
		run->wait = true;
		return true;
	}
	if (run->phase == BILL && run->has_helpers)
		billing_bill_helpers->finish();
	if (++run->phase < lengthof(phases))
		return true;
	billing_aside_clear("bill_due", run->real_start, run->is_sparing);
	return false;
}

static void
begin_pass(BillingBillRun *run)
{
	static const BillingPosition start = {DT_NOBEGIN, PG_INT64_MIN, PG_INT64_MIN, 0};

	run->position = start;
	run->wait = run->atomic;
}

/*
 * bill_some
 *		One batch, by the function that has the rights for it; false if nothing
 *		was left to claim behind the position.
 */
static bool
bill_some(BillingBillRun *run)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, billed, due_at, tenant_id, subscription_id FROM billing.bill_batch($1, $2, $3, $4, $5, $6, $7)",
		.expected = SPI_OK_SELECT,
		.nargs = 7,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, TIMESTAMPTZOID, INT8OID, INT8OID, BOOLOID},
	};
	BillingPosition *position = &run->position;
	Datum		args[] = {
		TimestampTzGetDatum(run->at), Int32GetDatum(run->batch), BoolGetDatum(run->wait), TimestampTzGetDatum(position->due_at),
		Int64GetDatum(position->tenant_id), Int64GetDatum(position->subscription_id), BoolGetDatum(run->is_sparing)
	};
	bool		isnull;

	billing_spi_run(&query, args, NULL);
	position->moved += DatumGetInt64(billing_spi_value(0, 2, &isnull));
	position->due_at = DatumGetTimestampTz(billing_spi_value(0, 3, &isnull));
	position->tenant_id = DatumGetInt64(billing_spi_value(0, 4, &isnull));
	position->subscription_id = DatumGetInt64(billing_spi_value(0, 5, &isnull));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull)) > 0;
}

/* The same of late usage of ended subscriptions, whose position is (tenant_id, subscription_id). */
static bool
late_some(BillingBillRun *run)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, tenant_id, subscription_id FROM billing.late_batch($1, $2, $3, $4, $5)",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, INT8OID, INT8OID},
	};

	return run_phase(&query, run);
}

/* The same of usage that passes a threshold. */
static bool
threshold_some(BillingBillRun *run)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, tenant_id, subscription_id FROM billing.threshold_batch($1, $2, $3, $4, $5)",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, INT8OID, INT8OID},
	};

	return run_phase(&query, run);
}

/* The same of drafts, whose position is (tenant_id, invoice_id). */
static bool
finalize_some(BillingBillRun *run)
{
	static BillingQuery query = {
		.sql = "SELECT claimed, tenant_id, invoice_id FROM billing.finalize_batch($1, $2, $3, $4, $5)",
		.expected = SPI_OK_SELECT,
		.nargs = 5,
		.argtypes = {TIMESTAMPTZOID, INT4OID, BOOLOID, INT8OID, INT8OID},
	};

	return run_phase(&query, run);
}

static bool
run_phase(BillingQuery *query, BillingBillRun *run)
{
	BillingPosition *position = &run->position;
	Datum		args[] = {
		TimestampTzGetDatum(run->at), Int32GetDatum(run->batch), BoolGetDatum(run->wait),
		Int64GetDatum(position->tenant_id), Int64GetDatum(position->subscription_id)
	};
	bool		isnull;

	billing_spi_run(query, args, NULL);
	position->tenant_id = DatumGetInt64(billing_spi_value(0, 2, &isnull));
	position->subscription_id = DatumGetInt64(billing_spi_value(0, 3, &isnull));
	return DatumGetInt64(billing_spi_value(0, 1, &isnull)) > 0;
}
