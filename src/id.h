/*-------------------------------------------------------------------------
 *
 * id.h
 *	  Where ids come from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ID_H
#define BILLING_ID_H

/*
 * An id is 15 bits of node number over 48 bits of sequence: a million ids a
 * second last nine years on each of 32,768 nodes.
 */
#define BILLING_ID_SEQUENCE_BITS	48
#define BILLING_NODE_MAX			0x7FFF

extern int64 billing_id_next(void);

/* Ids as bigint[]: those of a C array, or one alone. */
extern Datum billing_id_array(const Datum *ids, int count);
extern Datum billing_id_array_of(int64 id);

/* Of such an array: how many there are, one, and some of them. */
extern int	billing_id_count(Datum ids);
extern int64 billing_id_at(Datum ids, int which);
extern Datum billing_id_slice(Datum ids, int from, int count);

#endif							/* BILLING_ID_H */
