/*-------------------------------------------------------------------------
 *
 * template.h
 *	  Text with placeholders.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_TEMPLATE_H
#define BILLING_TEMPLATE_H

/* Where the reading of a template has come to. */
typedef struct BillingTemplate
{
	const char *next;
	const char *end;
	const char *literal;		/* what stands before the placeholder */
	size_t		literal_len;
	const char *name;			/* NULL: no placeholder is left */
	size_t		name_len;
} BillingTemplate;

extern BillingTemplate billing_template_open(const char *text, size_t len);

/* Read on to the next placeholder; false behind the last part. */
extern bool billing_template_next(BillingTemplate *template);

/* Where two braces stand that are no placeholder; NULL: nowhere. */
extern const char *billing_template_malformed(const char *text, size_t len);

#endif							/* BILLING_TEMPLATE_H */
