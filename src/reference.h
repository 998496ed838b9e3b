/*-------------------------------------------------------------------------
 *
 * reference.h
 *	  Foreign keys of tables that are written in bulk.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_REFERENCE_H
#define BILLING_REFERENCE_H

#include "spi.h"

/*
 * Run a query that deletes parents which this transaction itself inserted: nobody else
 * sees them, so nobody is kept from writing children.
 */
extern void billing_reference_delete_own(BillingQuery *query, Datum *args);

#endif							/* BILLING_REFERENCE_H */
