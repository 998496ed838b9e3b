/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  Starts the processes of each database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_LAUNCHER_H
#define BILLING_LAUNCHER_H

/* Ask the postmaster for the launcher.  Called while it preloads us. */
extern void billing_launcher_register(void);

#endif							/* BILLING_LAUNCHER_H */
