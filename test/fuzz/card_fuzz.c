/*-------------------------------------------------------------------------
 *
 * card_fuzz.c
 *	  Whatever bytes come in, the search for numbers of cards does not crash or read beyond them; and where a
 *	  number stands by itself in front of them, it is found, folded or not.
 *
 *-------------------------------------------------------------------------
 */
// sources: card_number.c
#include "postgres_fe.h"

#include "card_number.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static BillingCardFinding
fold_and_find(const char *text, size_t size)
{
	char	   *folded = malloc(size == 0 ? 1 : size);
	size_t		len = billing_card_fold(text, size, folded);
	BillingCardFinding found = billing_card_find(folded, len);

	if (len > size)
		abort();
	free(folded);
	return found;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const cards[] = {"4242424242424242 ; ", "cvv 123 ; ", "4242-4242-4242-4242 ; ", "3782 822463 10005 ; "};
	char	   *bytes = malloc(size + 1);
	size_t		len;
	char	   *text;

	/* As many bytes as there are, so that one beyond is seen. */
	if (size > 0)
		memcpy(bytes, data, size);
	text = malloc(size == 0 ? 1 : size);
	memcpy(text, bytes, size);
	(void) billing_card_find(text, size);
	(void) billing_card_is_code_name(text, size);
	(void) billing_card_is_code(text, size);
	fold_and_find(text, size);
	free(text);

	for (int i = 0; i < lengthof(cards); i++)
	{
		len = strlen(cards[i]);
		text = malloc(len + size);
		memcpy(text, cards[i], len);
		memcpy(text + len, bytes, size);
		if (billing_card_find(text, len + size) == BILLING_CARD_NONE)
			abort();
		if (fold_and_find(text, len + size) == BILLING_CARD_NONE)
			abort();
		free(text);
	}
	free(bytes);
	return 0;
}
