/*
 * eat_shmem.c
 *	  For the test worker_faults.pl: takes all shared memory that the server keeps in reserve.
 */
#include "postgres.h"

#include "fmgr.h"
#include "storage/shmem.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	while (ShmemAllocNoError(128) != NULL)
		;
}
