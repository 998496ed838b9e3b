/*-------------------------------------------------------------------------
 *
 * aside.h
 *	  What could not be done for one, so that the others go on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ASIDE_H
#define BILLING_ASIDE_H

#include "datatype/timestamp.h"

/* Note that a job failed on an object of a tenant; both are words of billing.set_aside.  The caller is connected to SPI. */
extern void billing_aside_note(const char *job, const char *object, int64 tenant_id, int64 object_id, const ErrorData *error);

/* Forget what a whole run of the job did after all; spared: it passed over what has to wait. */
extern void billing_aside_clear(const char *job, TimestampTz started_at, bool spared);

/* Forget what the job did of tenants that it tried again (a bigint[]), but for those that it failed for. */
extern void billing_aside_done(const char *job, Datum tenant_ids, Datum failed);

#endif							/* BILLING_ASIDE_H */
