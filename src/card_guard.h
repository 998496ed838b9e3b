/*-------------------------------------------------------------------------
 *
 * card_guard.h
 *	  Numbers and codes of cards are not stored here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CARD_GUARD_H
#define BILLING_CARD_GUARD_H

/* 22023 if a text has one in it, without repeating it. */
extern void billing_card_refuse(const text *value);

#endif							/* BILLING_CARD_GUARD_H */
