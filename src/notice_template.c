/*-------------------------------------------------------------------------
 *
 * notice_template.c
 *	  What notices say where nobody wrote templates of one's own.
 *
 * The view billing.notice_template_default shows them.  They are not in the install script because
 * that is read in the encoding of the database, whichever it is: notice_template.inc is in UTF-8, and a
 * database whose encoding cannot hold a template does without it.  English is ASCII, which every
 * encoding holds.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "encoding.h"

BILLING_FUNCTION(billing_notice_template_defaults);

/* Each names who sells at its end: see put_template(). */
typedef struct Template
{
	const char *kind;
	const char *language;
	const char *subject;
	const char *body;
	const char *html;
} Template;

static const Template templates[] = {
#include "notice_template.inc"
};

static void put_template(ReturnSetInfo *result, const Template *template);

/*
 * billing_notice_template_defaults
 *		The templates that the encoding of the database holds, as rows: kind, language, subject, body, html.
 */
Datum
billing_notice_template_defaults(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);

	for (int i = 0; i < lengthof(templates); i++)
		put_template((ReturnSetInfo *) fcinfo->resultinfo, &templates[i]);
	return (Datum) 0;
}

static void
put_template(ReturnSetInfo *result, const Template *template)
{
	text	   *texts[5] = {
		cstring_to_text(template->kind),
		cstring_to_text(template->language),
		billing_encoding_from_utf8(template->subject),
		billing_encoding_from_utf8(psprintf("%s\n\n{{seller}}\n", template->body)),
		billing_encoding_from_utf8(psprintf("<!DOCTYPE html><html lang=\"%s\"><body style=\"font-family:sans-serif\">"
											"%s<p>{{seller}}</p></body></html>", template->language, template->html)),
	};
	Datum		values[lengthof(texts)];
	bool		nulls[lengthof(texts)] = {false};

	for (int i = 0; i < lengthof(texts); i++)
	{
		if (texts[i] == NULL)
			return;
		values[i] = PointerGetDatum(texts[i]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
