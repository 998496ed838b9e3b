/*-------------------------------------------------------------------------
 *
 * document.h
 *	  JSON from outside and for outside, outside of any database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DOCUMENT_H
#define BILLING_DOCUMENT_H

#include "gateway.h"

/* A value of JSON. */
typedef struct BillingDocument BillingDocument;

/* NULL: it is no JSON in UTF-8, holds a NUL, is nested deeper than 64, or is longer than a megabyte. */
extern const BillingDocument *billing_document_read(const char *data, size_t len);

/* What a path of keys and of places in arrays leads to, as "data.object.items.0.id"; NULL: nothing, or JSON's null. */
extern const BillingDocument *billing_document_get(const BillingDocument *document, const char *path);

/* A string there, or a number as it is written; NULL: there is none, or something else. */
extern const char *billing_document_string(const BillingDocument *document, const char *path);

/* True, and a number that is a whole one in range; false: there is none. */
extern bool billing_document_integer(const BillingDocument *document, const char *path, int64 *value);

/* Whether there is a true. */
extern bool billing_document_is_true(const BillingDocument *document, const char *path);

/* How many an array or object there has; 0: it is none. */
extern int	billing_document_count(const BillingDocument *document, const char *path);

/* The bytes of a value as they stood in what was read. */
extern void billing_document_source(const BillingDocument *document, const char **data, size_t *len);

/* As JSON text, without the members of these names (NULL at the end), at any depth: those that are secret. */
extern char *billing_document_print(const BillingDocument *document, const char *const *without);

/* Append a string as JSON writes it, with its quotes. */
extern void billing_document_append_string(StringInfo out, const char *text);

/* Append "name":"text", behind a comma unless out ends with {; text NULL is left out. */
extern void billing_document_append_member(StringInfo out, const char *name, const char *text);

#endif							/* BILLING_DOCUMENT_H */
