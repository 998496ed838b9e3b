/*-------------------------------------------------------------------------
 *
 * document_fuzz.c
 *	  Whatever bytes come in, the reader of JSON does not crash, and what it
 *	  reads is printed as text that it reads and prints the same again.
 *
 * A first line is a path into the document behind it.
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/document.c
#include "postgres_fe.h"

#include "arena.h"
#include "gateway/document.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
follow(const BillingDocument *document, const char *path)
{
	const BillingDocument *there = billing_document_get(document, path);
	const char *text = billing_document_string(document, path);
	int64		number;

	if (there == NULL && (text != NULL || billing_document_count(document, path) > 0 || billing_document_is_true(document, path)))
		abort();
	if (billing_document_integer(document, path, &number) && text == NULL)
		abort();
	if (there != NULL)
	{
		const char *source;
		size_t		len;
		char	   *printed = billing_document_print(there, NULL);

		billing_document_source(there, &source, &len);
		if (strcmp(billing_document_print(billing_document_read(source, len), NULL), printed) != 0)
			abort();
	}
}

/* A name begins behind { or a comma; a quote within a string has a backslash before it. */
static void
check_left_out(const char *printed, const char *name)
{
	if (strstr(printed, psprintf("{\"%s\":", name)) != NULL || strstr(printed, psprintf(",\"%s\":", name)) != NULL)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const without[] = {"client_secret", "secret", NULL};
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t		path_len = line != NULL ? line - data : 0;
	size_t		len = line != NULL ? size - path_len - 1 : size;
	char	   *path = malloc(path_len + 1);
	char	   *input = malloc(len);	/* of no byte more, so that reading on is seen */
	const BillingDocument *document;

	memcpy(path, data, path_len);
	path[path_len] = '\0';
	memcpy(input, data + size - len, len);
	document = billing_document_read(input, len);
	if (document != NULL)
	{
		char	   *printed = billing_document_print(document, NULL);
		const BillingDocument *again = billing_document_read(printed, strlen(printed));

		/* What is printed without a space may have grown by escapes alone. */
		if (again == NULL ? strlen(printed) <= 1024 * 1024 : strcmp(billing_document_print(again, NULL), printed) != 0)
			abort();
		check_left_out(billing_document_print(document, without), "client_secret");
		follow(document, path);
	}
	free(path);
	free(input);
	free_pieces();
	return 0;
}
