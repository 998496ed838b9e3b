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
#endif

#ifdef FRONTEND
#elif PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define billing_error_context(fcinfo) ((fcinfo)->context)
#else
/* Soft errors came with 16; before, an error is an error. */
#define ereturn(context, dummy_value, ...) \
	do { (void) (context); ereport(ERROR, __VA_ARGS__); return dummy_value; } while (0)
#define billing_error_context(fcinfo) NULL
#endif

/* 16 added a place for what else went wrong. */
#if PG_VERSION_NUM >= 160000
#define billing_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &(DateTimeErrorExtra) {0})
#else
#define billing_decode_datetime DecodeDateTime
#endif

/* 16 lets a range fail softly. */
#if PG_VERSION_NUM >= 160000
#define billing_make_range(typcache, lower, upper) make_range(typcache, lower, upper, false, NULL)
#else
#define billing_make_range(typcache, lower, upper) make_range(typcache, lower, upper, false)
#endif

/* From 16 on, what a setting keeps beside its value has its own allocator. */
#if PG_VERSION_NUM >= 160000
#define billing_guc_malloc(size) guc_malloc(LOG, size)
#define billing_guc_free(pointer) guc_free(pointer)
#else
#define billing_guc_malloc(size) malloc(size)
#define billing_guc_free(pointer) free(pointer)
#endif

/* Infinite intervals came with 17. */
#if PG_VERSION_NUM >= 170000
#define billing_interval_is_finite(i) (!INTERVAL_NOT_FINITE(i))
#else
#define billing_interval_is_finite(i) (true)
#endif

/* Actions of the JSON parser return a status from 16 on, nothing before. */
#if PG_VERSION_NUM >= 160000
#define BillingJsonResult JsonParseErrorType
#define BILLING_JSON_CONTINUE return JSON_SUCCESS
#else
#define BillingJsonResult void
#define BILLING_JSON_CONTINUE return
#endif

/* A lexer is made into a given place, and freed whole, from 17 on; a scanner leaves escapes as they are. */
#if PG_VERSION_NUM >= 170000
#define billing_make_json_lexer(text, len, encoding) \
	makeJsonLexContextCstringLen(NULL, (text), (len), (encoding), true)
#define billing_make_json_scanner(text, len, encoding) \
	makeJsonLexContextCstringLen(NULL, (text), (len), (encoding), false)
#define billing_free_json_lexer(lex) freeJsonLexContext(lex)
#else
#define billing_make_json_lexer(text, len, encoding) \
	makeJsonLexContextCstringLen(unconstify(char *, (text)), (len), (encoding), true)
#define billing_make_json_scanner(text, len, encoding) \
	makeJsonLexContextCstringLen(unconstify(char *, (text)), (len), (encoding), false)
#define billing_free_json_lexer(lex) \
	do { \
		if ((lex)->strval != NULL) \
		{ \
			pfree((lex)->strval->data); \
			pfree((lex)->strval); \
		} \
		pfree(lex); \
	} while (0)
#endif

/* Outside a server the parser only says from 16 on what it did not like. */
#if PG_VERSION_NUM >= 160000 || !defined(FRONTEND)
#define billing_json_error(result, lex) json_errdetail(result, lex)
#else
#define billing_json_error(result, lex) "malformed"
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

/* The macro is not declared where there is no server. */
#if defined(FRONTEND) && !defined(SET_VARSIZE)
#define billing_set_varsize(value, size) \
	(*(uint32 *) (value) = (uint32) (size) << 2)
#else
#define billing_set_varsize(value, size) SET_VARSIZE(value, size)
#endif

/* 18 counts what a scan of an index does. */
#if PG_VERSION_NUM >= 180000
#define billing_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define billing_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* From 16 on, an update may concern only the indexes that summarize. */
#if PG_VERSION_NUM >= 160000
#define BillingUpdateIndexes TU_UpdateIndexes
#define billing_needs_index_tuples(which) ((which) != TU_None)
#define billing_insert_index_tuples(result, slot, estate, update, conflict, arbiters) \
	ExecInsertIndexTuples(result, slot, estate, update, (conflict) != NULL, conflict, arbiters, false)
#else
#define BillingUpdateIndexes bool
#define billing_needs_index_tuples(which) (which)
#define billing_insert_index_tuples(result, slot, estate, update, conflict, arbiters) \
	ExecInsertIndexTuples(result, slot, estate, update, (conflict) != NULL, conflict, arbiters)
#endif

/* 18 has constraints that are only told. */
#if PG_VERSION_NUM >= 180000
#define billing_check_is_enforced(check) ((check)->ccenforced)
#else
#define billing_check_is_enforced(check) true
#endif

/* 18 writes noreturn before a declaration, as C11 does. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 17 gives a set of events to a resource owner, which may be none. */
#if PG_VERSION_NUM >= 170000
#define billing_create_wait_event_set(nevents) CreateWaitEventSet(NULL, nevents)
#else
#define billing_create_wait_event_set(nevents) CreateWaitEventSet(TopMemoryContext, nevents)
#endif

/* The variables of transactions have their own name from 17 on; under XactTruncationLock. */
#if PG_VERSION_NUM >= 170000
#define billing_oldest_clog_xid() (TransamVariables->oldestClogXid)
#else
#define billing_oldest_clog_xid() (ShmemVariableCache->oldestClogXid)
#endif

/* 18 lets a library say its version. */
#if PG_VERSION_NUM >= 180000
#define BILLING_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "billing", .version = BILLING_VERSION)
#else
#define BILLING_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif							/* BILLING_COMPAT_H */
