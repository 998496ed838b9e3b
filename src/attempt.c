/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  Work on many of which one may fail.
 *
 * A statement over a set fails as a whole.  One quantity that no amount holds, or one
 * strategy that raises an error, would so keep everybody from being billed.  The
 * work runs in a subtransaction; where it fails, each half of the set is tried by
 * itself, until the one is alone that it fails for.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/resowner.h"

#include "attempt.h"
#include "spi.h"

static void attempt(BillingWork work, BillingReport report, void *set, int from, int count);
static ErrorData *try_work(BillingWork work, void *set, int from, int count);
static bool is_of_work(const ErrorData *error);

void
billing_attempt(BillingWork work, BillingReport report, void *set, int count)
{
	if (count > 0)
		attempt(work, report, set, 0, count);
}

ErrorData *
billing_attempt_one(BillingWork work, void *one)
{
	ErrorData  *error = try_work(work, one, 0, 1);

	if (error != NULL && ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(error);
	return error;
}

static void
attempt(BillingWork work, BillingReport report, void *set, int from, int count)
{
	ErrorData  *error = try_work(work, set, from, count);

	if (error == NULL)
		return;
	if (!is_of_work(error))
		ReThrowError(error);
	if (count == 1)
		report(set, from, error);
	FreeErrorData(error);

	CHECK_FOR_INTERRUPTS();
	if (count > 1)
	{
		attempt(work, report, set, from, count / 2);
		attempt(work, report, set, from + count / 2, count - count / 2);
	}
}

/*
 * try_work
 *		NULL if it is done; else nothing is, and this is why.
 *
 * What the work's statements return and the tables of rows that it shows them go with its connection, if it fails, too.
 */
static ErrorData *
try_work(BillingWork work, void *set, int from, int count)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		billing_spi_begin();
		MemoryContextSwitchTo(context);
		work(set, from, count);
		billing_spi_end();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * is_of_work
 *		Is it of what is worked on, and not of the transaction, the server or somebody who stops it?
 *
 * 55000 is: a key that a value is sealed with, or what a strategy of the company's wants first.
 */
static bool
is_of_work(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		return true;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}
