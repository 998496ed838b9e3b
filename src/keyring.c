/*-------------------------------------------------------------------------
 *
 * keyring.c
 *	  The keys of billing.sealed: the only file that reads the key file.
 *
 * A line of the file is a key id, blanks, and 64 hexadecimal digits; lines that
 * are empty or begin with # say nothing.  The first key is the current one: it
 * seals.  All of them open.
 *
 * The file is read at each use and its bytes are zeroed after it, so that no key
 * stays in the memory of a backend, where a core dump would find it.  The parser
 * returns what is wrong and never raises: whoever read the bytes also zeroes
 * them.  No message shows any part of a line, because a key with a typing
 * error is nearly the key.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "storage/fd.h"

#include "guc.h"
#include "keyring.h"

#define KEY_FILE_MAX_SIZE	(64 * 1024)
#define KEY_DIGITS			(2 * BILLING_KEY_BYTES)

/* The shortest line: an id of one character, a blank, a key. */
#define KEY_LINE_MIN_SIZE	(1 + 1 + KEY_DIGITS)

typedef struct Keyring
{
	int			nkeys;
	int			capacity;
	BillingKey *keys;
} Keyring;

static void read_keyring(Keyring *ring);
static const char *get_path(void);
static int	open_key_file(const char *path, size_t *size);
static void check_permissions(const char *path, const struct stat *st);
static size_t read_fully(int fd, const char *path, char *buffer, size_t size);
static const char *parse_keys(const char *text, size_t size, Keyring *ring, int *line_no);
static const char *parse_line(const char *line, const char *end, Keyring *ring);
static const char *parse_key(const char *digits, size_t len, uint8 *bytes);
static int	hex_value(char c);
static const char *skip_blanks(const char *p, const char *end);
static const char *skip_word(const char *p, const char *end);
static bool is_blank(char c);
static const BillingKey *find_key(const Keyring *ring, const char *id, size_t len);
pg_noreturn static void report_malformed(const char *problem, int line_no);

/*
 * billing_keyring_is_id
 *		Is text a key id: 1 to 32 letters, digits, dots, underscores, hyphens?
 *
 * ASCII only, whatever the locale: an id is part of what a dump carries.
 */
bool
billing_keyring_is_id(const char *text, size_t len)
{
	if (len < 1 || len > BILLING_KEY_ID_MAX)
		return false;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			  (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

/*
 * billing_keyring_current
 *		Copy out the key that seals.  The caller zeroes it.
 */
void
billing_keyring_current(BillingKey *key)
{
	Keyring		ring;

	read_keyring(&ring);
	*key = ring.keys[0];
	billing_keyring_forget(ring.keys, ring.nkeys);
	pfree(ring.keys);
}

/*
 * billing_keyring_find
 *		Copy out the key with that id.  The caller zeroes it.
 */
void
billing_keyring_find(const char *id, BillingKey *key)
{
	Keyring		ring;
	const BillingKey *found;

	read_keyring(&ring);
	found = find_key(&ring, id, strlen(id));
	if (found)
		*key = *found;
	billing_keyring_forget(ring.keys, ring.nkeys);
	pfree(ring.keys);

	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key \"%s\" is not in the key file", id),
				 errdetail("A value was sealed with that key, and only that key opens it."),
				 errhint("Put the key back into the file that setting billing.key_file names, below the current one.")));
}

/*
 * billing_keyring_ids
 *		The keys of the file in its order, the current one first, as ids only:
 *		their bytes are zeros.  Returns how many there are, at least one.
 */
int
billing_keyring_ids(BillingKey **keys)
{
	Keyring		ring;

	read_keyring(&ring);
	billing_keyring_forget(ring.keys, ring.nkeys);

	*keys = ring.keys;
	return ring.nkeys;
}

/*
 * billing_keyring_forget
 *		Zero the bytes of keys, in a way the compiler cannot leave out.  The ids
 *		stay readable.
 */
void
billing_keyring_forget(BillingKey *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
		OPENSSL_cleanse(keys[i].bytes, sizeof(keys[i].bytes));
}

/*
 * read_keyring
 *		Read the whole key file.  The caller zeroes and frees ring->keys.
 *
 * Memory is taken before the first byte is read, so that nothing between the
 * reading and the zeroing can raise.
 */
static void
read_keyring(Keyring *ring)
{
	const char *path = get_path();
	size_t		size;
	int			fd = open_key_file(path, &size);
	char	   *text = palloc(size + 1);
	const char *problem;
	int			line_no;

	ring->nkeys = 0;
	ring->capacity = size / KEY_LINE_MIN_SIZE + 1;
	ring->keys = palloc(ring->capacity * sizeof(BillingKey));

	size = read_fully(fd, path, text, size);
	problem = parse_keys(text, size, ring, &line_no);
	OPENSSL_cleanse(text, size);
	pfree(text);

	if (problem)
	{
		billing_keyring_forget(ring->keys, ring->nkeys);
		report_malformed(problem, line_no);
	}
	if (ring->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key file \"%s\" has no key", path),
				 errhint("Write a line with a key id, a blank, and the output of \"openssl rand -hex 32\".")));
}

static const char *
get_path(void)
{
	if (billing_key_file == NULL || billing_key_file[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("setting billing.key_file is empty"),
				 errdetail("Without a key nothing can be sealed or opened."),
				 errhint("Name a key file in postgresql.conf and reload.")));
	return billing_key_file;
}

/*
 * open_key_file
 *		Open the key file, if only the server can read it, and tell its size.
 *
 * What was opened is judged, not what the path named a moment before.
 * O_NONBLOCK: opening a pipe would wait for a writer.
 */
static int
open_key_file(const char *path, size_t *size)
{
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	struct stat st;

	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open key file \"%s\": %m", path),
				 errhint("Setting billing.key_file must name a file that the operating system user of the server can read.")));
	if (fstat(fd, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat key file \"%s\": %m", path)));
	if (!S_ISREG(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" is not a regular file", path),
				 errhint("Setting billing.key_file must name a file with one key on each line.")));
	check_permissions(path, &st);
	if (st.st_size > KEY_FILE_MAX_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" is larger than %d bytes", path, KEY_FILE_MAX_SIZE),
				 errhint("Remove keys that billing.sealed_key_id() finds nowhere.")));

	*size = st.st_size;
	return fd;
}

/*
 * check_permissions
 *		Refuse a key file that others could read or write.
 *
 * The rule PostgreSQL has for the private key of TLS: a file of root may be
 * readable by the server's group, because that is how systems hand out secrets.
 */
static void
check_permissions(const char *path, const struct stat *st)
{
	mode_t		forbidden = S_IRWXG | S_IRWXO;

	if (st->st_uid != geteuid() && st->st_uid != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" must be owned by the database user or root", path),
				 errhint("Change its owner to the operating system user of the server.")));

	if (st->st_uid == 0)
		forbidden = S_IWGRP | S_IXGRP | S_IRWXO;
	if (st->st_mode & forbidden)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" has group or world access", path),
				 errdetail("File must have permissions u=rw (0600) or less if owned by the database user, or permissions u=rw,g=r (0640) or less if owned by root."),
				 errhint("Change its mode, and make another key if others may have read this one.")));
}

/*
 * read_fully
 *		Read up to size bytes, close the file, and tell how many there were.
 */
static size_t
read_fully(int fd, const char *path, char *buffer, size_t size)
{
	size_t		nread = 0;
	ssize_t		n = 0;

	while (nread < size)
	{
		n = read(fd, buffer + nread, size - nread);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		nread += n;
	}

	if (n < 0)
	{
		int			save_errno = errno;

		OPENSSL_cleanse(buffer, nread);
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read key file \"%s\": %m", path)));
	}
	CloseTransientFile(fd);
	return nread;
}

/*
 * parse_keys
 *		Fill ring from the text of a key file.  Returns NULL, or what is wrong
 *		with line *line_no.
 */
static const char *
parse_keys(const char *text, size_t size, Keyring *ring, int *line_no)
{
	const char *end = text + size;
	const char *problem = NULL;

	for (*line_no = 1; text < end && problem == NULL; (*line_no)++)
	{
		const char *eol = memchr(text, '\n', end - text);

		if (eol == NULL)
			eol = end;
		problem = parse_line(text, eol, ring);
		text = eol + 1;
	}

	(*line_no)--;
	return problem;
}

/*
 * parse_line
 *		Add the key of one line to ring, if it has one.  Returns NULL, or what is
 *		wrong.
 */
static const char *
parse_line(const char *line, const char *end, Keyring *ring)
{
	const char *id = skip_blanks(line, end);
	const char *id_end = skip_word(id, end);
	const char *digits = skip_blanks(id_end, end);
	const char *digits_end = skip_word(digits, end);
	const char *problem;
	BillingKey *key;

	if (id == end || *id == '#')
		return NULL;
	if (!billing_keyring_is_id(id, id_end - id))
		return "The key id is not 1 to 32 letters, digits, dots, underscores and hyphens.";
	if (digits == end)
		return "There is no key after the key id.";
	if (skip_blanks(digits_end, end) != end)
		return "Something follows the key.";
	if (find_key(ring, id, id_end - id))
		return "An earlier line has the same key id.";

	/* A line this long was counted into the capacity. */
	Assert(ring->nkeys < ring->capacity);
	key = &ring->keys[ring->nkeys];
	problem = parse_key(digits, digits_end - digits, key->bytes);
	if (problem)
	{
		OPENSSL_cleanse(key->bytes, sizeof(key->bytes));
		return problem;
	}

	memset(key->id, 0, sizeof(key->id));
	memcpy(key->id, id, id_end - id);
	ring->nkeys++;
	return NULL;
}

static const char *
parse_key(const char *digits, size_t len, uint8 *bytes)
{
	if (len < KEY_DIGITS)
		return "The key has fewer than 64 hexadecimal digits.";
	if (len > KEY_DIGITS)
		return "The key has more than 64 hexadecimal digits.";

	for (int i = 0; i < BILLING_KEY_BYTES; i++)
	{
		int			high = hex_value(digits[2 * i]);
		int			low = hex_value(digits[2 * i + 1]);

		if (high < 0 || low < 0)
			return "The key has a character that is not a hexadecimal digit.";
		bytes[i] = high << 4 | low;
	}
	return NULL;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static const char *
skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

static const char *
skip_word(const char *p, const char *end)
{
	while (p < end && !is_blank(*p))
		p++;
	return p;
}

/* A carriage return counts: an editor on Windows leaves one on each line. */
static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static const BillingKey *
find_key(const Keyring *ring, const char *id, size_t len)
{
	for (int i = 0; i < ring->nkeys; i++)
	{
		const BillingKey *key = &ring->keys[i];

		if (strlen(key->id) == len && memcmp(key->id, id, len) == 0)
			return key;
	}
	return NULL;
}

static void
report_malformed(const char *problem, int line_no)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("key file \"%s\" has a malformed line %d", billing_key_file, line_no),
			 errdetail_internal("%s", problem),
			 errhint("A line is a key id, a blank, and 64 hexadecimal digits, such as \"openssl rand -hex 32\" prints.")));
}
