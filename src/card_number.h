/*-------------------------------------------------------------------------
 *
 * card_number.h
 *	  Numbers and codes of cards, in what was written for people.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_CARD_NUMBER_H
#define BILLING_CARD_NUMBER_H

typedef enum BillingCardFinding
{
	BILLING_CARD_NONE,
	BILLING_CARD_NUMBER,
	BILLING_CARD_CODE			/* the three or four digits beside it */
} BillingCardFinding;

/* Are these digits, and nothing else, the number of a card? */
extern bool billing_card_is_number(const char *digits, size_t len);

/* What of a card stands in a text? */
extern BillingCardFinding billing_card_find(const char *text, size_t len);

/*
 * Write a text of UTF-8 with its digits, blanks and dashes of whatever script as those of ASCII, and without what nobody sees; out has
 * room for len bytes, and may be where the text is.  Returns how many it wrote.
 */
extern size_t billing_card_fold(const char *text, size_t len, char *out);

/* Does the name of a member of JSON say that its value is the code of a card? */
extern bool billing_card_is_code_name(const char *name, size_t len);

/* Could a value be such a code: three or four digits? */
extern bool billing_card_is_code(const char *value, size_t len);

#endif							/* BILLING_CARD_NUMBER_H */
