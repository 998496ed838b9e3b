/*-------------------------------------------------------------------------
 *
 * amount_aggregate.c
 *	  sum, avg, min and max of amounts.
 *
 * All of them take one currency and skip NULLs.  A sum is kept in 128 bits, so
 * that only the result has to be in range; it can be taken back row by row, for
 * window frames, and cut in parts, for parallel queries.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "libpq/pqformat.h"
#include "utils/memutils.h"

#include "amount.h"

BILLING_FUNCTION(billing_amount_smaller);
BILLING_FUNCTION(billing_amount_larger);
BILLING_FUNCTION(billing_amount_accum);
BILLING_FUNCTION(billing_amount_remove);
BILLING_FUNCTION(billing_amount_combine);
BILLING_FUNCTION(billing_amount_serialize);
BILLING_FUNCTION(billing_amount_deserialize);
BILLING_FUNCTION(billing_amount_sum_final);
BILLING_FUNCTION(billing_amount_avg_final);

/* What sum() and avg() keep: wider than any count of int64 can overflow. */
typedef struct AmountSum
{
	int128		units;
	int64		count;			/* 0: no currency yet, or none any more */
	char		currency[8];
} AmountSum;

static AmountSum *new_sum(FunctionCallInfo fcinfo);

Datum
billing_amount_smaller(PG_FUNCTION_ARGS)
{
	BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);

	billing_amount_check_same_currency(a, b);
	PG_RETURN_BILLING_AMOUNT_P(a->units <= b->units ? a : b);
}

Datum
billing_amount_larger(PG_FUNCTION_ARGS)
{
	BillingAmount *a = PG_GETARG_BILLING_AMOUNT_P(0);
	BillingAmount *b = PG_GETARG_BILLING_AMOUNT_P(1);

	billing_amount_check_same_currency(a, b);
	PG_RETURN_BILLING_AMOUNT_P(a->units >= b->units ? a : b);
}

/*
 * billing_amount_accum
 *		Add an amount to a sum; NULL adds nothing.
 */
Datum
billing_amount_accum(PG_FUNCTION_ARGS)
{
	AmountSum  *sum = PG_ARGISNULL(0) ? new_sum(fcinfo) : (AmountSum *) PG_GETARG_POINTER(0);
	const BillingAmount *amount;

	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(sum);

	amount = PG_GETARG_BILLING_AMOUNT_P(1);
	if (sum->count == 0)
		memcpy(sum->currency, amount->currency, sizeof(sum->currency));
	else if (unlikely(memcmp(sum->currency, amount->currency, sizeof(sum->currency)) != 0))
		billing_amount_raise_mixed(sum->currency, amount->currency);

	sum->units += amount->units;
	sum->count++;
	PG_RETURN_POINTER(sum);
}

/*
 * new_sum
 *		An empty sum that lives as long as the aggregate.
 */
static AmountSum *
new_sum(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return MemoryContextAllocZero(context, sizeof(AmountSum));
}

/*
 * billing_amount_remove
 *		Take back what billing_amount_accum added, when a row leaves a window's
 *		frame.  The last one to leave takes the currency with it.
 */
Datum
billing_amount_remove(PG_FUNCTION_ARGS)
{
	AmountSum  *sum = PG_ARGISNULL(0) ? NULL : (AmountSum *) PG_GETARG_POINTER(0);

	if (sum == NULL)
		elog(ERROR, "inverse transition function called without a state");

	if (!PG_ARGISNULL(1))
	{
		sum->units -= PG_GETARG_BILLING_AMOUNT_P(1)->units;
		sum->count--;
	}
	PG_RETURN_POINTER(sum);
}

/*
 * billing_amount_combine
 *		Add the second of two partial sums to the first.
 */
Datum
billing_amount_combine(PG_FUNCTION_ARGS)
{
	AmountSum  *sum = PG_ARGISNULL(0) ? new_sum(fcinfo) : (AmountSum *) PG_GETARG_POINTER(0);
	const AmountSum *other = PG_ARGISNULL(1) ? NULL : (AmountSum *) PG_GETARG_POINTER(1);

	if (other == NULL || other->count == 0)
		PG_RETURN_POINTER(sum);

	if (sum->count == 0)
		memcpy(sum->currency, other->currency, sizeof(sum->currency));
	else if (memcmp(sum->currency, other->currency, sizeof(sum->currency)) != 0)
		billing_amount_raise_mixed(sum->currency, other->currency);

	sum->units += other->units;
	sum->count += other->count;
	PG_RETURN_POINTER(sum);
}

/*
 * billing_amount_serialize
 *		A partial sum as bytes, for the leader of a parallel query.
 */
Datum
billing_amount_serialize(PG_FUNCTION_ARGS)
{
	const AmountSum *sum;
	StringInfoData buf;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "aggregate function called in non-aggregate context");
	sum = (AmountSum *) PG_GETARG_POINTER(0);

	pq_begintypsend(&buf);
	pq_sendint64(&buf, (int64) (sum->units >> 64));
	pq_sendint64(&buf, (uint64) sum->units);
	pq_sendint64(&buf, sum->count);
	pq_sendbytes(&buf, sum->currency, BILLING_CURRENCY_LEN);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * billing_amount_deserialize
 *		The partial sum that billing_amount_serialize wrote.  Whatever else the
 *		bytes are, the result is a valid sum or an error.
 */
Datum
billing_amount_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	StringInfoData buf;
	AmountSum  *sum = new_sum(fcinfo);
	uint64		high;
	const char *code;
	const BillingCurrency *currency;

	bytes = PG_GETARG_BYTEA_PP(0);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));

	high = (uint64) pq_getmsgint64(&buf);
	sum->units = (int128) ((uint128) high << 64 | (uint64) pq_getmsgint64(&buf));
	sum->count = pq_getmsgint64(&buf);
	code = pq_getmsgbytes(&buf, BILLING_CURRENCY_LEN);
	pq_getmsgend(&buf);

	if (sum->count == 0 && sum->units == 0)
		PG_RETURN_POINTER(sum);

	currency = billing_currency_find(code, BILLING_CURRENCY_LEN);
	if (currency == NULL || sum->count <= 0 ||
		sum->units < (int128) sum->count * PG_INT64_MIN ||
		sum->units > (int128) sum->count * PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid partial sum of amounts"),
				 errdetail("The bytes are none that billing.amount_serialize() makes."),
				 errhint("Only the server calls this function.")));
	memcpy(sum->currency, currency->code, BILLING_CURRENCY_LEN);
	PG_RETURN_POINTER(sum);
}

/*
 * billing_amount_sum_final
 *		The sum; NULL of no rows.  Only here does its range matter: 1 over the
 *		maximum and then -1 is a sum like any other.
 */
Datum
billing_amount_sum_final(PG_FUNCTION_ARGS)
{
	const AmountSum *sum = PG_ARGISNULL(0) ? NULL : (AmountSum *) PG_GETARG_POINTER(0);

	if (sum == NULL || sum->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make_checked(sum->units, sum->currency));
}

/*
 * billing_amount_avg_final
 *		The mean, rounded half away from zero; NULL of no rows.
 */
Datum
billing_amount_avg_final(PG_FUNCTION_ARGS)
{
	const AmountSum *sum = PG_ARGISNULL(0) ? NULL : (AmountSum *) PG_GETARG_POINTER(0);

	if (sum == NULL || sum->count == 0)
		PG_RETURN_NULL();
	PG_RETURN_BILLING_AMOUNT_P(billing_amount_make_checked(billing_round_div(sum->units, sum->count),
														   sum->currency));
}
