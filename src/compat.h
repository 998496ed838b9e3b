/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the PostgreSQL majors billing builds on: 15 to 18.
 *
 * The only file that looks at PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_COMPAT_H
#define BILLING_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "billing needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#include "nodes/miscnodes.h"
#else
/* Soft errors came with 16; before, an error is an error. */
#define ereturn(context, dummy_value, ...) ereport(ERROR, __VA_ARGS__)
#endif

/* 16 added a place for what else went wrong. */
#if PG_VERSION_NUM >= 160000
#define billing_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &(DateTimeErrorExtra) {0})
#else
#define billing_decode_datetime DecodeDateTime
#endif

/* Infinite intervals came with 17. */
#if PG_VERSION_NUM >= 170000
#define billing_interval_is_finite(i) (!INTERVAL_NOT_FINITE(i))
#else
#define billing_interval_is_finite(i) (true)
#endif

/* Running somebody else's function: 17 also pins its search_path. */
#if PG_VERSION_NUM >= 170000
#define billing_restrict_search_path() RestrictSearchPath()
#else
#define billing_restrict_search_path() \
	((void) set_config_option("search_path", "pg_catalog, pg_temp", \
							  PGC_USERSET, PGC_S_SESSION, \
							  GUC_ACTION_SAVE, true, 0, false))
#endif

/* 18 moved this to the front of a declaration, as pg_noreturn. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* 18 lets a library say its version. */
#if PG_VERSION_NUM >= 180000
#define BILLING_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "billing", .version = BILLING_VERSION)
#else
#define BILLING_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif							/* BILLING_COMPAT_H */
