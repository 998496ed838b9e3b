/*-------------------------------------------------------------------------
 *
 * setting.h
 *	  What an installation, a plan or a tenant decides.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SETTING_H
#define BILLING_SETTING_H

#include "utils/numeric.h"
#include "utils/timestamp.h"

/*
 * The value of a setting for a tenant and a plan (0: of none), in the caller's
 * memory context.  Call them with SPI connected.  Values were validated when they
 * were written, so a cast of them does not fail.
 */
extern char *billing_setting_text(const char *name, int64 tenant_id, int64 plan_id);
extern int32 billing_setting_int(const char *name, int64 tenant_id, int64 plan_id);

#endif							/* BILLING_SETTING_H */
