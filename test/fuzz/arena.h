/*-------------------------------------------------------------------------
 *
 * arena.h
 *	  Memory for a harness: palloc that is given back as a whole.
 *
 * In the server what a parser leaves behind goes with its memory context;
 * PostgreSQL's JSON parser counts on it.  Here each input's memory is freed behind
 * it, so that hours of inputs fit.  Each piece is a malloc of its own, which
 * AddressSanitizer watches.  These take the place of libpgcommon's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ARENA_H
#define BILLING_ARENA_H

typedef struct Piece
{
	struct Piece *next;
	struct Piece **link;		/* what points here */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} Piece;

static Piece *pieces;

static Piece *
piece_of(void *pointer)
{
	return (Piece *) ((char *) pointer - offsetof(Piece, bytes));
}

static void
chain(Piece *piece)
{
	piece->next = pieces;
	piece->link = &pieces;
	if (pieces != NULL)
		pieces->link = &piece->next;
	pieces = piece;
}

static void
unchain(Piece *piece)
{
	*piece->link = piece->next;
	if (piece->next != NULL)
		piece->next->link = piece->link;
}

void *
palloc(Size size)
{
	Piece	   *piece = malloc(offsetof(Piece, bytes) + size);

	chain(piece);
	return piece->bytes;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void
pfree(void *pointer)
{
	unchain(piece_of(pointer));
	free(piece_of(pointer));
}

void *
repalloc(void *pointer, Size size)
{
	Piece	   *piece = piece_of(pointer);

	unchain(piece);
	piece = realloc(piece, offsetof(Piece, bytes) + size);
	chain(piece);
	return piece->bytes;
}

char *
pstrdup(const char *text)
{
	return strcpy(palloc(strlen(text) + 1), text);
}

void *
pg_malloc(size_t size)
{
	return palloc(size);
}

void
pg_free(void *pointer)
{
	if (pointer != NULL)
		pfree(pointer);
}

static void
free_pieces(void)
{
	while (pieces != NULL)
		pfree(pieces->bytes);
}

#endif							/* BILLING_ARENA_H */
