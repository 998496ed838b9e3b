/*-------------------------------------------------------------------------
 *
 * init.c
 *	  What happens when the library is loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "guc.h"

BILLING_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * _PG_init
 *		Define the settings.
 *
 * Loading without preload is allowed: every SQL function works.
 */
void
_PG_init(void)
{
	billing_guc_init();
}
