/*-------------------------------------------------------------------------
 *
 * instant.c
 *	  Instants as gateways write them.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "instant.h"

#define SECS_A_DAY	(24 * 60 * 60)
#define LAST_YEAR	9999

static bool read_digits(const char **text, int digits, int *number);
static bool read_day(const char **text, int64 *days);
static bool read_time(const char **text, int *seconds);
static bool read_offset(const char **text, int *offset);
static int	days_of_month(int year, int month);
static int64 days_before(int year, int month);

bool
billing_instant_read(const char *text, int offset, int64 *seconds)
{
	int64		days;
	int			time;

	if (text == NULL || !read_day(&text, &days) || (*text != 'T' && *text != 't' && *text != ' '))
		return false;
	text++;
	if (!read_time(&text, &time) || !read_offset(&text, &offset) || *text != '\0')
		return false;
	*seconds = days * SECS_A_DAY + time - offset;
	return *seconds >= 0;
}

char *
billing_instant_print(int64 seconds, int offset)
{
	int64		end = (days_before(LAST_YEAR, 12) + 31) * SECS_A_DAY;
	int64		local = Min(Max(Min(seconds, end) + offset, 0), end - 1);
	int64		days = local / SECS_A_DAY;
	int			of_day = (int) (local % SECS_A_DAY);
	int			year = 1970 + (int) (days / 366);
	int			month = 1;

	while (days_before(year + 1, 1) <= days)
		year++;
	while (month < 12 && days_before(year, month + 1) <= days)
		month++;
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", year, month, (int) (days - days_before(year, month)) + 1,
					of_day / 3600, of_day / 60 % 60, of_day % 60,
					offset < 0 ? '-' : '+', abs(offset) / 3600, abs(offset) / 60 % 60);
}

static bool
read_digits(const char **text, int digits, int *number)
{
	*number = 0;
	for (int i = 0; i < digits; i++)
	{
		if ((*text)[i] < '0' || (*text)[i] > '9')
			return false;
		*number = *number * 10 + ((*text)[i] - '0');
	}
	*text += digits;
	return true;
}

/* Days since 1970-01-01. */
static bool
read_day(const char **text, int64 *days)
{
	int			year;
	int			month;
	int			day;

	if (!read_digits(text, 4, &year) || *(*text)++ != '-' || !read_digits(text, 2, &month) || *(*text)++ != '-' ||
		!read_digits(text, 2, &day))
		return false;
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
		return false;
	*days = days_before(year, month) + day - 1;
	return true;
}

/* A leap second is the last one before it. */
static bool
read_time(const char **text, int *seconds)
{
	int			hour;
	int			minute;
	int			second;

	if (!read_digits(text, 2, &hour) || *(*text)++ != ':' || !read_digits(text, 2, &minute) || *(*text)++ != ':' ||
		!read_digits(text, 2, &second))
		return false;
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	if (**text == '.')
	{
		size_t		digits = strspn(*text + 1, "0123456789");

		if (digits == 0)
			return false;
		*text += 1 + digits;
	}
	*seconds = hour * 3600 + minute * 60 + Min(second, 59);
	return true;
}

/* Without one, that of the caller counts. */
static bool
read_offset(const char **text, int *offset)
{
	char		sign;
	int			hours;
	int			minutes;

	if (**text == ' ')
		(*text)++;
	sign = **text;
	if (sign == '\0')
		return true;
	(*text)++;
	if (sign == 'Z' || sign == 'z')
	{
		*offset = 0;
		return true;
	}
	if ((sign != '+' && sign != '-') || !read_digits(text, 2, &hours))
		return false;
	if (**text == ':')
		(*text)++;
	if (!read_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*offset = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

static bool
is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

static int64
days_before(int year, int month)
{
	int64		last = year - 1;
	int64		days = 365 * (last - 1969) + (last / 4 - 1969 / 4) - (last / 100 - 1969 / 100) + (last / 400 - 1969 / 400);

	for (int m = 1; m < month; m++)
		days += days_of_month(year, m);
	return days;
}
