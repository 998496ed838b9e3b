/*-------------------------------------------------------------------------
 *
 * card_guard.h
 *	  Numbers and codes of cards are not stored here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CARD_GUARD_H
#define BILLING_CARD_GUARD_H

#include "card_number.h"

/* What of a card stands in a text of the database's encoding, in digits of whatever script? */
extern BillingCardFinding billing_card_find_any(const char *text, size_t len);

/* 22023 if a text has one in it, without repeating it. */
extern void billing_card_refuse(const text *value);

#endif							/* BILLING_CARD_GUARD_H */
