/*-------------------------------------------------------------------------
 *
 * stated.h
 *	  What the objects of a JSON array state, member by member.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_STATED_H
#define BILLING_STATED_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "amount.h"

#define BILLING_STATED_MAX 8

/* A member that an object may have: a string, and a number only if it is one. */
typedef struct BillingStatedTerm
{
	const char *name;
	bool		is_number;
} BillingStatedTerm;

/* What an array is made of, in the words of its errors. */
typedef struct BillingStatedForm
{
	const char *array;			/* the argument: "lines" */
	const char *element;		/* one of it: "line" */
	const char *example;		/* for a hint: an array with one */
	const char *known;			/* for a hint: what one states */
	const BillingStatedTerm *terms;
	int			nterms;
} BillingStatedForm;

/* The object at hand: texts, NULL where it states nothing. */
typedef struct BillingStated
{
	const BillingStatedForm *form;
	JsonbIterator *it;
	int			number;			/* from 1 */
	char	   *texts[BILLING_STATED_MAX];
} BillingStated;

/* Begin with an array; 22023 if it is none. */
extern void billing_stated_begin(BillingStated *stated, const BillingStatedForm *form, Jsonb *array);

/* The next object; false if there is none.  22023 if it states what is not known. */
extern bool billing_stated_next(BillingStated *stated);

/* An amount, with the currency or without one of its own (YB002 for another). */
extern BillingAmount *billing_stated_amount(const BillingStated *stated, int term, const BillingCurrency *currency);

/* A finite instant. */
extern TimestampTz billing_stated_instant(const BillingStated *stated, int term);

/* 22023: a term of the object at hand has a problem ("is missing"). */
pg_noreturn extern void billing_stated_report(const BillingStated *stated, const char *term, const char *problem,
											  const char *hint);

#endif							/* BILLING_STATED_H */
