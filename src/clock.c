/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  What time it is: the only file that reads a clock.
 *
 * Time is a parameter of everything billing does, and its default is
 * billing.now(): the start of the transaction, or what the superuser setting
 * billing.test_clock says.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <ctype.h>
#include <time.h>

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "clock.h"

BILLING_FUNCTION(billing_now);

static bool test_clock_on = false;
static TimestampTz test_clock;

static bool is_iso_instant(const char *text);
static bool match_digits(const char **text, const char *pattern);
static bool decode_instant(const char *text, TimestampTz *instant);

Datum
billing_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(billing_clock_now());
}

/*
 * billing_clock_now
 *		The test clock if it is set, else the start of the transaction.
 */
TimestampTz
billing_clock_now(void)
{
	return test_clock_on ? test_clock : GetCurrentTransactionStartTimestamp();
}

/*
 * billing_clock_ticks
 *		Milliseconds that only ever grow, also when somebody sets the clock: for timeouts.
 */
int64
billing_clock_ticks(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * billing_clock_ticks_at
 *		What billing_clock_ticks() says at an instant, unless somebody sets the clock before:
 *		who waits for that does not wait out how far it was set back.
 */
int64
billing_clock_ticks_at(TimestampTz instant)
{
	if (instant == DT_NOEND)
		return BILLING_TICKS_NEVER;
	return billing_clock_ticks() + TimestampDifferenceMilliseconds(billing_clock_real(), instant);
}

/*
 * billing_clock_real
 *		What time it is, whatever the test clock says: for processes, which sleep and
 *		measure.
 */
TimestampTz
billing_clock_real(void)
{
	return GetCurrentTimestamp();
}

/* An instant as others count it: whole seconds since 1970. */
int64
billing_clock_unix(TimestampTz at)
{
	return at / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/*
 * billing_clock_check
 *		Accept an ISO instant with an explicit offset, or nothing.
 *
 * Only that form: any other would mean another instant under another DateStyle
 * or TimeZone, and a test would depend on who runs it.
 */
bool
billing_clock_check(char **newval, void **extra, GucSource source)
{
	TimestampTz *instant;

	if (**newval == '\0')
		return true;

	instant = billing_guc_malloc(sizeof(TimestampTz));
	if (instant == NULL)
		return false;

	if (!is_iso_instant(*newval) || !decode_instant(*newval, instant))
	{
		billing_guc_free(instant);
		GUC_check_errdetail("\"%s\" is no date and time with an explicit offset.", *newval);
		GUC_check_errhint("Write it as 2026-01-31T00:00:00Z or 2026-01-31 09:00:00+08:00.");
		return false;
	}

	*extra = instant;
	return true;
}

void
billing_clock_assign(const char *newval, void *extra)
{
	test_clock_on = extra != NULL;
	if (test_clock_on)
		test_clock = *(TimestampTz *) extra;
}

/*
 * is_iso_instant
 *		Does text read YYYY-MM-DD{T| }HH:MM[:SS[.f]]{Z|+HH[[:]MM]|-HH[[:]MM]}?
 */
static bool
is_iso_instant(const char *text)
{
	if (!match_digits(&text, "dddd-dd-dd"))
		return false;
	if (*text != 'T' && *text != ' ')
		return false;
	text++;
	if (!match_digits(&text, "dd:dd"))
		return false;
	if (match_digits(&text, ":dd") && *text == '.')
	{
		if (!isdigit((unsigned char) *++text))
			return false;
		while (isdigit((unsigned char) *text))
			text++;
	}

	if (strcmp(text, "Z") == 0)
		return true;
	if (*text != '+' && *text != '-')
		return false;
	text++;
	if (!match_digits(&text, "dd"))
		return false;
	if (!match_digits(&text, ":dd"))
		(void) match_digits(&text, "dd");
	return *text == '\0';
}

/*
 * match_digits
 *		Step over text if it matches pattern, in which d is any digit.
 */
static bool
match_digits(const char **text, const char *pattern)
{
	const char *p = *text;

	for (; *pattern != '\0'; pattern++, p++)
	{
		if (*pattern == 'd' ? !isdigit((unsigned char) *p) : *p != *pattern)
			return false;
	}
	*text = p;
	return true;
}

/*
 * decode_instant
 *		Read an ISO instant with PostgreSQL's own parser; false if it is no date.
 *
 * The T and the Z become a space and +00 first.  The parser would look them up
 * among the server's time zone abbreviations, which are a setting of their own:
 * in a parallel worker, which restores settings one by one, they may be gone.
 */
static bool
decode_instant(const char *text, TimestampTz *instant)
{
	char		plain[MAXDATELEN + 4];
	size_t		len = strlen(text);
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf,
				dtype,
				tz;
	struct pg_tm tm;
	fsec_t		fsec;

	if (len > MAXDATELEN)
		return false;
	memcpy(plain, text, len + 1);
	plain[strlen("2026-01-31")] = ' ';
	if (plain[len - 1] == 'Z')
		strcpy(plain + len - 1, "+00");

	if (ParseDateTime(plain, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf) != 0 ||
		billing_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, &tz) != 0 ||
		dtype != DTK_DATE)
		return false;

	return tm2timestamp(&tm, fsec, &tz, instant) == 0;
}
