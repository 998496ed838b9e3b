/*-------------------------------------------------------------------------
 *
 * init.c
 *	  What happens when the library is loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "miscadmin.h"

#include "guc.h"
#include "helper.h"
#include "launcher.h"
#include "registry.h"

BILLING_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * _PG_init
 *		Define the settings and, while the server starts, ask for the launcher.
 *
 * Loading without preload is allowed: every SQL function works.
 */
void
_PG_init(void)
{
	billing_guc_init();
	billing_helper_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	billing_registry_init();
	billing_launcher_register();
}
