/*-------------------------------------------------------------------------
 *
 * row.h
 *	  Rows read, locked and written without a statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ROW_H
#define BILLING_ROW_H

#include "nodes/nodes.h"

#define BILLING_ROW_MAX_COLUMNS 24
#define BILLING_ROW_MAX_KEYS	3

/* A column, and its type as PostgreSQL writes it. */
typedef struct BillingRowColumn
{
	const char *name;
	const char *type;
} BillingRowColumn;

/*
 * A table of ours, and what is done to it.  Columns are known by their place in the list, which
 * names all there are of a table that is written.
 */
typedef struct BillingRowTable
{
	const char *name;
	CmdType		command;		/* CMD_SELECT locks rows, CMD_INSERT and CMD_UPDATE write some */
	int			changed;		/* the column that CMD_UPDATE changes */
	const BillingRowColumn *columns;
	int			ncolumns;
	const char *index;			/* by which rows are found, or of CMD_INSERT the unique one that may know the row; NULL: none */
	bool		is_partial;		/* not all of them */
	int			nkeys;
	int			keys[BILLING_ROW_MAX_KEYS]; /* its first columns */
	struct BillingRowState *state;	/* row.c's */
} BillingRowTable;

typedef bool (*BillingRowWork) (void *arg);

/*
 * Do work with tables open, under the snapshot of the caller until a row is locked; returns what that does.  False
 * without it where a statement would do something else than what is here: then let one do it.
 */
extern bool billing_row_run(BillingRowTable *const *tables, int ntables, BillingRowWork work, void *arg);

/* Begin to look for the rows of a key, and go to the next of them; false if there is none. */
extern void billing_row_find(BillingRowTable *table, const Datum *keys);
extern bool billing_row_next(BillingRowTable *table);

/* A value of the row at hand; it lasts as long as that is. */
extern Datum billing_row_value(BillingRowTable *table, int column, bool *isnull);

/* The type of a column. */
extern Oid	billing_row_type(const BillingRowTable *table, int column);

/* Keep the row at hand, to be updated. */
extern void billing_row_keep(BillingRowTable *table);

/*
 * Lock the row at hand FOR NO KEY UPDATE, as whoever held it left it; false if it is gone.  What is
 * read from then on is of a snapshot that was taken under the lock.
 */
extern bool billing_row_lock(BillingRowTable *table);

/*
 * Insert a row; false, and nothing done, if the index of the table knows its key, or of somebody who
 * has not committed it.
 */
extern bool billing_row_insert(BillingRowTable *table, const Datum *values, const bool *nulls);

/* Let the row that was inserted last never have been. */
extern void billing_row_undo(BillingRowTable *table);

/* Change the row that was kept; false, and nothing done, if somebody changed it since it was read. */
extern bool billing_row_update(BillingRowTable *table, Datum value);

#endif							/* BILLING_ROW_H */
