/*-------------------------------------------------------------------------
 *
 * card_number.c
 *	  Numbers and codes of cards, in what was written for people.
 *
 * The number of a card is a whole token of digits, as many as its brand has behind that brand's prefix, with the
 * check digit of Luhn (ISO/IEC 7812-1); or the same in groups as they are printed on cards, with blanks or dashes
 * between.  What is joined to letters, or has decimals or a + before it, is an id, a quantity or a telephone
 * number; and the groups of an IBAN are an IBAN's.  The code is three or four digits behind its name.
 *
 * Those are digits of ASCII.  Other scripts have their own, and their own blanks and dashes, which people read as the same: a text is
 * folded before it is searched.
 *
 * Pure: no memory is taken, and no byte read but those given.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "card_number.h"

#define LENGTH_MIN 12
#define LENGTH_MAX 19
#define GROUPS_MAX 5
#define IBAN_MAX 34
#define IBAN_SPAN (IBAN_MAX + IBAN_MAX / 4)

#define BIT(n) (1 << (n))
#define BITS(from, to) ((BIT((to) + 1) - 1) & ~(BIT(from) - 1))

/* Numbers of a brand begin with six digits from one to another, and have so many (a bit each). */
typedef struct Brand
{
	int			from;
	int			to;
	int			lengths;
} Brand;

static const Brand brands[] = {
	{220000, 220499, BITS(16, 19)}, /* Mir */
	{222100, 272099, BIT(16)},	/* Mastercard */
	{300000, 305999, BIT(14) | BIT(16)},	/* Diners Club */
	{309500, 309599, BIT(14) | BIT(16)},
	{340000, 349999, BIT(15)},	/* American Express */
	{352800, 358999, BITS(16, 19)}, /* JCB */
	{360000, 369999, BIT(14) | BIT(16)},	/* Diners Club */
	{370000, 379999, BIT(15)},	/* American Express */
	{380000, 399999, BIT(14) | BIT(16)},	/* Diners Club */
	{400000, 499999, BIT(13) | BIT(16) | BIT(19)},	/* Visa */
	{501800, 501899, BITS(12, 19)}, /* Maestro */
	{502000, 502099, BITS(12, 19)},
	{503800, 503899, BITS(12, 19)},
	{506699, 506778, BIT(16)},	/* Elo */
	{508500, 508999, BIT(16)},	/* RuPay */
	{509000, 509999, BIT(16)},	/* Elo */
	{510000, 559999, BIT(16)},	/* Mastercard */
	{589300, 589399, BITS(12, 19)}, /* Maestro */
	{601100, 601199, BITS(16, 19)}, /* Discover */
	{606985, 608984, BIT(16)},	/* RuPay */
	{620000, 629999, BITS(16, 19)}, /* UnionPay */
	{630400, 630499, BITS(12, 19)}, /* Maestro */
	{636368, 636368, BIT(16)},	/* Elo */
	{644000, 659999, BITS(16, 19)}, /* Discover */
	{675900, 676399, BITS(12, 19)}, /* Maestro */
	{810000, 817199, BITS(16, 19)}, /* UnionPay */
	{979200, 979299, BIT(16)},	/* Troy */
};

/* How digits are printed in groups; 0 ends one. */
static const int layouts[][GROUPS_MAX + 1] = {
	{4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}, {4, 4, 4, 4, 3}, {4, 4, 4, 4, 2}, {4, 4, 4, 4, 1}, {4, 4, 4, 3}, {4, 4, 4, 1}, {4, 4, 4}, {6, 13}, {8, 8}
};

/* Where the digits of a script begin, in ascending order: ten code points, of Unicode's category Nd. */
static const uint32 zeros[] = {
	0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090,
	0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0,
	0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1FBF0
};

/* Code points that are written as others, in ascending order: what they become, '\0' for nothing. */
typedef struct Fold
{
	uint32		from;
	uint32		to;
	char		becomes;
} Fold;

static const Fold folds[] = {
	{0x00A0, 0x00A0, ' '},
	{0x00AD, 0x00AD, '\0'},
	{0x061C, 0x061C, '\0'},
	{0x1680, 0x1680, ' '},
	{0x2000, 0x200A, ' '},
	{0x200B, 0x200F, '\0'},
	{0x2010, 0x2015, '-'},
	{0x202A, 0x202E, '\0'},
	{0x202F, 0x202F, ' '},
	{0x205F, 0x205F, ' '},
	{0x2060, 0x2069, '\0'},
	{0x2212, 0x2212, '-'},
	{0x3000, 0x3000, ' '},
	{0xFE58, 0xFE58, '-'},
	{0xFE63, 0xFE63, '-'},
	{0xFEFF, 0xFEFF, '\0'},
};

/* A group of digits in a text. */
typedef struct Group
{
	const char *start;
	int			len;
} Group;

static int	read_point(const char *p, const char *end, uint32 *point);
static bool fold_point(uint32 point, char *becomes);
static const char *skip_word(const char *p, const char *end);
static bool is_joined_before(const char *text, const char *p);
static bool is_joined_behind(const char *p, const char *end);
static const char *find_group(const char *p, const char *end, Group *group);
static int	count_grouped_number(const Group *groups, int count);
static bool is_in_iban(const char *text, const Group *first, const Group *last, const char *end);
static bool is_checked(const char *start, const char *least, const char *end);
static int	add_to_check(int remainder, char c);
static const char *match_code_name(const char *p, const char *end);
static bool is_code_behind(const char *p, const char *end);

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static inline bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static inline char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

bool
billing_card_is_number(const char *digits, size_t len)
{
	int			prefix = 0;
	int			sum = 0;
	bool		is_known = false;

	if (len < LENGTH_MIN || len > LENGTH_MAX)
		return false;
	for (int i = 0; i < 6; i++)
		prefix = prefix * 10 + (digits[i] - '0');
	for (int i = 0; i < lengthof(brands) && !is_known; i++)
		is_known = prefix >= brands[i].from && prefix <= brands[i].to && (brands[i].lengths & BIT(len)) != 0;
	if (!is_known)
		return false;

	for (size_t i = 0; i < len; i++)
	{
		int			digit = digits[len - 1 - i] - '0';

		if (i % 2 == 1)
			digit = digit > 4 ? digit * 2 - 9 : digit * 2;
		sum += digit;
	}
	return sum % 10 == 0;
}

BillingCardFinding
billing_card_find(const char *text, size_t len)
{
	const char *end = text + len;
	const char *p = text;

	while (p < end)
	{
		Group		groups[GROUPS_MAX];
		int			count = 0;
		int			grouped;
		char		separator = '\0';
		const char *next = p;

		if (is_letter(*p))
		{
			const char *behind = is_joined_before(text, p) ? NULL : match_code_name(p, end);

			if (behind != NULL && is_code_behind(behind, end))
				return BILLING_CARD_CODE;
			p = skip_word(p, end);
			continue;
		}
		if (!is_digit(*p))
		{
			p++;
			continue;
		}

		/* A group that something is joined to is none, and ends those before it. */
		while (count < GROUPS_MAX && next < end && is_digit(*next))
		{
			next = find_group(next, end, &groups[count]);
			if (is_joined_before(text, groups[count].start) || is_joined_behind(next, end))
				break;
			count++;
			if (next + 1 >= end || (*next != ' ' && *next != '-') || !is_digit(next[1]) || (separator != '\0' && *next != separator))
				break;
			separator = *next++;
		}
		if (count > 0 && billing_card_is_number(groups[0].start, groups[0].len))
			return BILLING_CARD_NUMBER;
		grouped = count_grouped_number(groups, count);
		if (grouped > 0 && !is_in_iban(text, &groups[0], &groups[grouped - 1], end))
			return BILLING_CARD_NUMBER;
		p = find_group(p, end, &groups[0]);
	}
	return BILLING_CARD_NONE;
}

size_t
billing_card_fold(const char *text, size_t len, char *out)
{
	const char *end = text + len;
	char	   *start = out;

	while (text < end)
	{
		uint32		point;
		char		becomes;
		int			bytes = read_point(text, end, &point);

		if (bytes == 1 || !fold_point(point, &becomes))
		{
			memmove(out, text, bytes);
			out += bytes;
		}
		else if (becomes != '\0')
			*out++ = becomes;
		text += bytes;
	}
	return out - start;
}

/* How many bytes the character has that begins here; what is none of UTF-8 is one byte of its own. */
static int
read_point(const char *p, const char *end, uint32 *point)
{
	unsigned char first = (unsigned char) *p;
	int			bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;

	*point = bytes == 1 ? first : first & (0x7F >> bytes);
	if (end - p < bytes)
		return 1;
	for (int i = 1; i < bytes; i++)
	{
		if (((unsigned char) p[i] & 0xC0) != 0x80)
			return 1;
		*point = *point << 6 | ((unsigned char) p[i] & 0x3F);
	}
	return bytes;
}

/* False: it stays as it is.  Those of full width are ASCII's, in its order. */
static bool
fold_point(uint32 point, char *becomes)
{
	if (point >= 0xFF01 && point <= 0xFF5E)
	{
		*becomes = (char) (point - 0xFF01 + '!');
		return true;
	}
	for (int i = 0; i < lengthof(folds) && folds[i].from <= point; i++)
	{
		if (point <= folds[i].to)
		{
			*becomes = folds[i].becomes;
			return true;
		}
	}
	for (int i = 0; i < lengthof(zeros) && zeros[i] <= point; i++)
	{
		if (point < zeros[i] + 10)
		{
			*becomes = (char) ('0' + point - zeros[i]);
			return true;
		}
	}
	return false;
}

/* Behind letters and the digits among them. */
static const char *
skip_word(const char *p, const char *end)
{
	while (p < end && (is_letter(*p) || is_digit(*p)))
		p++;
	return p;
}

/* Is what begins here a part of something that began before? */
static bool
is_joined_before(const char *text, const char *p)
{
	if (p == text)
		return false;
	if (is_letter(p[-1]) || is_digit(p[-1]) || p[-1] == '+')
		return true;
	return (p[-1] == '.' || p[-1] == ',') && p - 1 > text && is_digit(p[-2]) && is_digit(*p);
}

/* Does what ends here go on? */
static bool
is_joined_behind(const char *p, const char *end)
{
	if (p == end)
		return false;
	if (is_letter(*p))
		return true;
	return (*p == '.' || *p == ',') && p + 1 < end && is_digit(p[1]);
}

static const char *
find_group(const char *p, const char *end, Group *group)
{
	group->start = p;
	while (p < end && is_digit(*p))
		p++;
	group->len = p - group->start;
	return p;
}

/* How many groups, from the first on, are the number of a card in some layout? */
static int
count_grouped_number(const Group *groups, int count)
{
	for (int i = 0; i < lengthof(layouts); i++)
	{
		char		digits[LENGTH_MAX];
		int			len = 0;
		int			k = 0;

		while (layouts[i][k] != 0 && k < count && groups[k].len == layouts[i][k])
		{
			memcpy(digits + len, groups[k].start, groups[k].len);
			len += groups[k].len;
			k++;
		}
		if (layouts[i][k] == 0 && billing_card_is_number(digits, len))
			return k;
	}
	return 0;
}

/*
 * is_in_iban
 *		Are these groups a part of what begins with two letters and two check digits that check it (ISO 13616, and
 *		references of ISO 11649)?  It may end with any group behind them.
 */
static bool
is_in_iban(const char *text, const Group *first, const Group *last, const char *end)
{
	for (const char *p = first->start; p >= text && first->start - p <= IBAN_SPAN; p--)
	{
		if (end - p > 4 && is_upper(p[0]) && is_upper(p[1]) && is_digit(p[2]) && is_digit(p[3]) &&
			(p == text || !(is_letter(p[-1]) || is_digit(p[-1]))) && is_checked(p, last->start + last->len, end))
			return true;
	}
	return false;
}

/* Does it check, with its end where a group ends at or behind here? */
static bool
is_checked(const char *start, const char *least, const char *end)
{
	int			remainder = 0;
	int			count = 4;

	for (const char *p = start + 4; p < end && count <= IBAN_MAX; p++)
	{
		if (is_upper(*p) || is_digit(*p))
		{
			remainder = add_to_check(remainder, *p);
			count++;
			if (p + 1 >= least && (p + 1 == end || !(is_letter(p[1]) || is_digit(p[1]))))
			{
				int			whole = remainder;

				for (int i = 0; i < 4; i++)
					whole = add_to_check(whole, start[i]);
				if (whole == 1)
					return true;
			}
		}
		else if (*p != ' ' && *p != '-')
			return false;
	}
	return false;
}

/* Modulo 97, a letter as two digits. */
static int
add_to_check(int remainder, char c)
{
	return is_digit(c) ? (remainder * 10 + (c - '0')) % 97 : (remainder * 100 + (c - 'A' + 10)) % 97;
}

/* Behind the name of a code that begins here; NULL: none does. */
static const char *
match_code_name(const char *p, const char *end)
{
	static const char *const names[] = {"cvv2", "cvc2", "cvn2", "cvv", "cvc", "cvn", "csc", "security code", "verification code"};

	for (int i = 0; i < lengthof(names); i++)
	{
		size_t		len = strlen(names[i]);
		bool		is_same = (size_t) (end - p) >= len;

		for (size_t k = 0; k < len && is_same; k++)
			is_same = lower(p[k]) == names[i][k] || (names[i][k] == ' ' && (p[k] == '_' || p[k] == '-'));
		if (is_same && (p + len == end || !(is_letter(p[len]) || is_digit(p[len]))))
			return p + len;
	}
	return NULL;
}

/* Is what follows a code: three or four digits behind blanks, signs and the words that may stand between? */
static bool
is_code_behind(const char *p, const char *end)
{
	Group		group;

	while (p < end && strchr(" \t\n\r:=#\"'(-", *p) != NULL && *p != '\0')
		p++;
	if (end - p >= 3 && lower(p[0]) == 'i' && lower(p[1]) == 's' && p[2] == ' ')
		p += 3;
	if (p == end || !is_digit(*p))
		return false;
	p = find_group(p, end, &group);
	return (group.len == 3 || group.len == 4) && !is_joined_behind(p, end);
}

bool
billing_card_is_code_name(const char *name, size_t len)
{
	static const char *const names[] = {
		"cvv", "cvv2", "cvc", "cvc2", "cvn", "cvn2", "csc", "cid2", "securitycode", "cardsecuritycode", "verificationcode", "cardverificationcode", "verificationvalue",
		"cardverificationvalue", "cardcvv", "cardcvc", "cardcsc", "cvvcode", "cvccode"
	};
	char		plain[32];
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (!is_letter(name[i]) && !is_digit(name[i]))
			continue;
		if (name[i] == '_')
			continue;
		if (n == sizeof(plain) - 1)
			return false;
		plain[n++] = lower(name[i]);
	}
	plain[n] = '\0';
	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(plain, names[i]) == 0)
			return true;
	}
	return false;
}

bool
billing_card_is_code(const char *value, size_t len)
{
	while (len > 0 && *value == ' ')
		value++, len--;
	while (len > 0 && value[len - 1] == ' ')
		len--;
	if (len != 3 && len != 4)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (!is_digit(value[i]))
			return false;
	}
	return true;
}
