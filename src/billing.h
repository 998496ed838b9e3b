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

#endif							/* BILLING_H */
