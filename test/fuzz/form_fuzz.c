/*-------------------------------------------------------------------------
 *
 * form_fuzz.c
 *	  Whatever bytes come in, the form reader does not crash, and the pairs
 *	  that it reads are written as a form that it reads as the same pairs.
 *
 *-------------------------------------------------------------------------
 */
// sources: gateway/form.c
#include "postgres_fe.h"

#include "arena.h"
#include "gateway/form.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *input = malloc(size);	/* of no byte more, so that reading on is seen */
	BillingPairs pairs;
	BillingPairs again;
	StringInfoData out;

	memcpy(input, data, size);
	if (billing_form_read(input, size, &pairs) == NULL)
	{
		initStringInfo(&out);
		for (int i = 0; i < pairs.count; i++)
			billing_form_append(&out, pairs.pairs[i].name, pairs.pairs[i].value);
		if (billing_form_read(out.data, out.len, &again) != NULL || again.count != pairs.count)
			abort();
		for (int i = 0; i < pairs.count; i++)
		{
			if (strcmp(pairs.pairs[i].name, again.pairs[i].name) != 0 || strcmp(pairs.pairs[i].value, again.pairs[i].value) != 0)
				abort();
		}
	}
	free(input);
	free_pieces();
	return 0;
}
