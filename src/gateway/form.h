/*-------------------------------------------------------------------------
 *
 * form.h
 *	  application/x-www-form-urlencoded, as it is written and read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_FORM_H
#define BILLING_FORM_H

#include "gateway.h"

/* Append name=value, percent-encoded, behind an & unless out is empty or ends with ?; a value that is NULL is left out. */
extern void billing_form_append(StringInfo out, const char *name, const char *value);

/* Append text, percent-encoded but for letters, digits and -._~ (RFC 3986). */
extern void billing_form_append_encoded(StringInfo out, const char *text);

/* NULL, or what is wrong with it: a bad escape, a NUL, no valid UTF-8, more than 1,000 pairs. */
extern const char *billing_form_read(const char *data, size_t len, BillingPairs *pairs);

#endif							/* BILLING_FORM_H */
