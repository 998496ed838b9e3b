/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  What becomes of granted credit as time passes: it begins to count, renews, rolls over and expires.
 *
 * Nobody has to be there when it happens: whoever touches a grant next lets it go through
 * what its instants have brought, in their order, and books each at its own.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "amount.h"
#include "grant.h"
#include "period.h"

BILLING_FUNCTION(billing_wallet_pending);

/* Where the steps of one grant go as rows. */
typedef struct PendingRows
{
	ReturnSetInfo *result;
	const char *currency;
} PendingRows;

static void begin_to_count(BillingGrantState *state, BillingGrantStep step, void *to);
static void renew(BillingGrantState *state, pg_tz *zone, BillingGrantStep step, void *to);
static int64 roll_over(const BillingGrantState *state);
static TimestampTz instant_of(HeapTupleHeader row, const char *column);
static int64 units_of(HeapTupleHeader row, const char *column);
static void put_step(void *to, const char *kind, TimestampTz at, int64 units);

TimestampTz
billing_grant_renewal(const BillingGrantState *state, pg_tz *zone)
{
	TimestampTz at = billing_period_boundary(state->effective_at, &state->recurrence, (int64) state->renewals + 1, zone);

	return at < state->expires_at ? at : DT_NOEND;
}

void
billing_grant_advance(BillingGrantState *state, TimestampTz until, pg_tz *zone, BillingGrantStep step, void *to)
{
	if (state->is_paid && state->renews_at <= until)
		begin_to_count(state, step, to);
	while (!TIMESTAMP_IS_NOEND(state->renews_at) && state->renews_at <= until)
	{
		renew(state, zone, step, to);
		CHECK_FOR_INTERRUPTS();
	}
	if (state->expires_at > until)
		return;
	state->renews_at = DT_NOEND;
	if (state->balance > 0)
	{
		step(to, "expire", state->expires_at, -state->balance);
		state->balance = 0;
	}
}

/* Money does not recur: it is due once, to settle what was consumed on credit. */
static void
begin_to_count(BillingGrantState *state, BillingGrantStep step, void *to)
{
	if (state->settles > 0)
		step(to, "settle", state->renews_at, -state->settles);
	state->balance -= state->settles;
	state->settles = 0;
	state->renews_at = DT_NOEND;
}

static void
renew(BillingGrantState *state, pg_tz *zone, BillingGrantStep step, void *to)
{
	int64		rest = roll_over(state);

	if (rest != state->balance)
		step(to, "rollover", state->renews_at, rest - state->balance);
	step(to, "renew", state->renews_at, state->amount);
	if (pg_add_s64_overflow(rest, state->amount, &state->balance))
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_AMOUNT_OUT_OF_RANGE),
				 errmsg("credit that is renewed grows out of range"),
				 errdetail("amount=%lld balance=%lld", (long long) state->amount, (long long) rest),
				 errhint("Give the grant a rollover_max.")));
	state->renewals++;
	state->renews_at = billing_grant_renewal(state, zone);
}

/* What is left, within the bounds. */
static int64
roll_over(const BillingGrantState *state)
{
	return Min(Max(state->balance, state->rollover_min), state->rollover_max);
}

/*
 * billing_wallet_pending
 *		What the instants up to one have brought a grant and nobody has booked.
 */
Datum
billing_wallet_pending(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	bool		isnull;
	BillingAmount *amount = DatumGetBillingAmountP(GetAttributeByName(row, "amount", &isnull));
	PendingRows rows = {(ReturnSetInfo *) fcinfo->resultinfo, amount->currency};
	BillingGrantState state = {
		.amount = amount->units, .balance = units_of(row, "balance"), .effective_at = instant_of(row, "effective_at"),
		.expires_at = instant_of(row, "expires_at"), .renews_at = instant_of(row, "renews_at"),
		.rollover_min = units_of(row, "rollover_min"), .rollover_max = units_of(row, "rollover_max")
	};
	Datum		recurrence = GetAttributeByName(row, "recurrence", &isnull);

	if (!isnull)
		state.recurrence = *DatumGetIntervalP(recurrence);
	state.renewals = DatumGetInt32(GetAttributeByName(row, "renewals", &isnull));
	state.is_paid = DatumGetBool(GetAttributeByName(row, "is_paid", &isnull));
	state.settles = PG_GETARG_BILLING_AMOUNT_P(3)->units;
	InitMaterializedSRF(fcinfo, 0);
	billing_grant_advance(&state, PG_GETARG_TIMESTAMPTZ(2), billing_period_find_zone(PG_GETARG_TEXT_PP(1)), put_step, &rows);
	return (Datum) 0;
}

static TimestampTz
instant_of(HeapTupleHeader row, const char *column)
{
	bool		isnull;
	Datum		value = GetAttributeByName(row, column, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

static int64
units_of(HeapTupleHeader row, const char *column)
{
	bool		isnull;
	Datum		value = GetAttributeByName(row, column, &isnull);

	return isnull ? 0 : DatumGetBillingAmountP(value)->units;
}

static void
put_step(void *to, const char *kind, TimestampTz at, int64 units)
{
	PendingRows *rows = to;
	Datum		values[] = {
		TimestampTzGetDatum(at), CStringGetTextDatum(kind), PointerGetDatum(billing_amount_make(units, rows->currency))
	};
	bool		nulls[lengthof(values)] = {false};

	tuplestore_putvalues(rows->result->setResult, rows->result->setDesc, values, nulls);
}
