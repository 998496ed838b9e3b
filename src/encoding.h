/*-------------------------------------------------------------------------
 *
 * encoding.h
 *	  Text in UTF-8, and in the encoding of the database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ENCODING_H
#define BILLING_ENCODING_H

/* In the encoding of the database; NULL: it has not all of the characters. */
extern text *billing_encoding_from_utf8(const char *utf8);

/* In UTF-8, which may be the same bytes in the same place; an error where the text is none of the encoding. */
extern char *billing_encoding_to_utf8(const char *string);

/* Bytes of whatever encoding as UTF-8: what is none is a question mark. */
extern char *billing_encoding_read_bytes(const char *bytes, size_t len);

/* Bytes from outside as text of the database, what has no place there a question mark; (Datum) 0 for NULL. */
extern Datum billing_encoding_datum(const char *utf8);

/* Text in another encoding, instead of it: what has no place there is a question mark. */
extern char *billing_encoding_replace(char *text, int from, int to);

#endif							/* BILLING_ENCODING_H */
