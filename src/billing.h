/*-------------------------------------------------------------------------
 *
 * billing.h
 *	  What every module of the extension shares.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_H
#define BILLING_H

#include "postgres.h"
#include "fmgr.h"

#include "compat.h"
#include "errors.h"

/* Declares an entry point SQL can call. */
#define BILLING_FUNCTION(fn) \
	extern PGDLLEXPORT Datum fn(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(fn)

/* Does a text consist of these bytes? */
static inline bool
billing_text_equals(const text *t, const char *string)
{
	return VARSIZE_ANY_EXHDR(t) == strlen(string) && memcmp(VARDATA_ANY(t), string, strlen(string)) == 0;
}

#endif							/* BILLING_H */
