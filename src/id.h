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

#endif							/* BILLING_ID_H */
