/*-------------------------------------------------------------------------
 *
 * exact.c
 *	  numeric to decimal and back.
 *
 * Reading the digits of a numeric in place is what makes charge() as cheap as
 * one numeric multiplication; the server offers no function for it.  The layout
 * is that of values on disk, which pg_upgrade keeps, and has been the same since
 * 9.1; the property tests would notice a change.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "utils/builtins.h"

#include "exact.h"

/* The header word of a numeric; see "Numeric storage" in numeric.c. */
#define HEADER_KIND			0xC000
#define HEADER_SPECIAL		0xC000
#define HEADER_NEGATIVE		0x4000
#define HEADER_SHORT		0x8000
#define SHORT_NEGATIVE		0x2000
#define SHORT_WEIGHT_SIGN	0x0040
#define SHORT_WEIGHT_MASK	0x003F

/* Decimals in one digit of a numeric, whose base is 10000. */
#define DIGIT_DECIMALS		4
#define DIGIT_BASE			10000

/* So many digits always fit 128 bits. */
#define MAX_DIGITS			9

/*
 * billing_numeric_is_summable
 *		Is a numeric, detoasted but perhaps with a short header, finite, and does the
 *		sum of any number of such fit a numeric?
 *
 * Those below 10^256 with at most 63 decimals are stored in the short format: that
 * is all there is to look at.
 */
bool
billing_numeric_is_summable(struct varlena *packed)
{
	uint16		header;

	memcpy(&header, VARDATA_ANY(packed), sizeof(header));
	return (header & HEADER_KIND) == HEADER_SHORT;
}

/*
 * billing_numeric_read
 *		Read a numeric, detoasted but perhaps with a short header, hence unaligned.
 *		Zero is not negative.
 */
BillingNumericKind
billing_numeric_read(struct varlena *packed, BillingDecimal *magnitude, bool *negative)
{
	const char *p = VARDATA_ANY(packed);
	size_t		size = VARSIZE_ANY_EXHDR(packed);
	uint16		header;
	int16		weight;
	int			ndigits;
	int			zeros;
	uint128		digits = 0;

	memcpy(&header, p, sizeof(header));
	p += sizeof(header);
	size -= sizeof(header);

	if ((header & HEADER_KIND) == HEADER_SPECIAL)
		return BILLING_NUMERIC_NOT_FINITE;
	if (header & HEADER_SHORT)
	{
		*negative = (header & SHORT_NEGATIVE) != 0;
		weight = (header & SHORT_WEIGHT_SIGN ? ~SHORT_WEIGHT_MASK : 0) |
			(header & SHORT_WEIGHT_MASK);
	}
	else
	{
		*negative = (header & HEADER_KIND) == HEADER_NEGATIVE;
		memcpy(&weight, p, sizeof(weight));
		p += sizeof(weight);
		size -= sizeof(weight);
	}
	ndigits = size / sizeof(int16);

	magnitude->digits = 0;
	magnitude->scale = 0;
	if (ndigits == 0)
		return BILLING_NUMERIC_FITS;

	/* Whole digits that are not stored, as they are zeros at the end. */
	zeros = Max(weight + 1 - ndigits, 0);
	if (ndigits + zeros > MAX_DIGITS ||
		(ndigits - 1 - weight) * DIGIT_DECIMALS > BILLING_DECIMAL_MAX_POWER)
		return BILLING_NUMERIC_LARGE;

	for (int i = 0; i < ndigits; i++, p += sizeof(int16))
	{
		int16		digit;

		memcpy(&digit, p, sizeof(digit));
		digits = digits * DIGIT_BASE + digit;
	}
	magnitude->digits = zeros == 0 ? digits :
		digits * billing_power_of_ten[zeros * DIGIT_DECIMALS];
	magnitude->scale = Max(ndigits - 1 - weight, 0) * DIGIT_DECIMALS;
	return BILLING_NUMERIC_FITS;
}

/*
 * billing_numeric_round
 *		Round a finite number half away from zero to so many decimals, as a whole
 *		number of them; false if that is beyond int64.
 */
bool
billing_numeric_round(Numeric number, int scale, int64 *result)
{
	BillingDecimal magnitude;
	bool		negative;

	if (billing_numeric_read((struct varlena *) number, &magnitude, &negative) != BILLING_NUMERIC_FITS)
	{
		/* Too many decimals, perhaps: numeric rounds the same way. */
		number = DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(number),
													 Int32GetDatum(scale)));
		if (billing_numeric_read((struct varlena *) number, &magnitude, &negative) != BILLING_NUMERIC_FITS)
			return false;
	}
	return billing_decimal_round(magnitude, scale, negative, result);
}

Numeric
billing_numeric_from_decimal(uint128 digits, int scale)
{
	BillingDecimal value = {digits, scale};
	char		text[BILLING_DECIMAL_TEXT_LEN];

	billing_decimal_print(value, text);
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}
