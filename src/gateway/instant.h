/*-------------------------------------------------------------------------
 *
 * instant.h
 *	  Instants as gateways write them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_INSTANT_H
#define BILLING_INSTANT_H

#include "gateway.h"

/*
 * Read 2026-01-31T09:00:00Z (RFC 3339: a blank for the T, a fraction, +08:00 or +0800 for the Z, a blank before it), or the same with nothing
 * behind it, of a clock that is offset seconds ahead of UTC.  In seconds since 1970; false: it is none of 1970 to 9999.
 */
extern bool billing_instant_read(const char *text, int offset, int64 *seconds);

/* As RFC 3339, by such a clock: 2026-01-31T09:00:00+08:00; what is not of 1970 to 9999 as its end that is nearer. */
extern char *billing_instant_print(int64 seconds, int offset);

#endif							/* BILLING_INSTANT_H */
