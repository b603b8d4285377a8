/*
 * Reading and writing sizes.
 *
 * Rules
 * 1. Nothing is guessed: a text that is not wholly understood is an error, and so is a value that
 *    does not fit.
 * 2. Integer arithmetic only: "0.1g" is refused because it is not a whole number of bytes, not
 *    rounded.
 */
#include "base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char size_units[] = "kmgtpe";

/* "", "b", "k", "kb", "kib", ... in either case. */
static int parse_unit(const char *text, unsigned *shift)
{
	const char *unit;

	if (*text == '\0' || strcasecmp(text, "b") == 0) {
		*shift = 0;
		return 0;
	}
	unit = strchr(size_units, tolower((unsigned char)*text));
	if (!unit)
		return -EINVAL;
	text++;
	if (*text != '\0' && strcasecmp(text, "b") != 0 && strcasecmp(text, "ib") != 0)
		return -EINVAL;
	*shift = 10u * (unsigned)(unit - size_units + 1);
	return 0;
}

static int parse_digits(const char **text, u64 *value)
{
	const char *p = *text;
	u64 v = 0;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (u64)(*p - '0'), &v))
			return -ERANGE;
	*text = p;
	*value = v;
	return 0;
}

/* The digits after the point, as @num / @den. */
static int parse_fraction(const char **text, u64 *num, u64 *den)
{
	const char *start = *text;
	int err = parse_digits(text, num);

	if (err)
		return err;
	if (*text - start > 9)
		return -EINVAL;
	for (*den = 1; start < *text; start++)
		*den *= 10;
	return 0;
}

int parse_size(const char *text, u64 *out)
{
	u64 whole, num = 0, den = 1, part;
	unsigned shift;
	int err = parse_digits(&text, &whole);

	if (!err && *text == '.') {
		text++;
		err = parse_fraction(&text, &num, &den);
	}
	if (!err)
		err = parse_unit(text, &shift);
	if (err)
		return err;
	/* num < 10^9 < 2^30 and shift <= 60: wide enough in 128 bits. */
	part = (u64)(((unsigned __int128)num << shift) / den);
	if (((unsigned __int128)num << shift) % den != 0)
		return -EINVAL;
	if (whole > UINT64_MAX >> shift || (whole << shift) > UINT64_MAX - part)
		return -ERANGE;
	*out = (whole << shift) + part;
	return 0;
}

int parse_u64(const char *text, u64 min, u64 max, u64 *out)
{
	u64 value;
	int err = parse_digits(&text, &value);

	if (err)
		return err;
	if (*text != '\0')
		return -EINVAL;
	if (value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

const char *size_to_text(u64 bytes, char buf[static SIZE_TEXT_MAX])
{
	unsigned unit = bytes == 0 ? 0 : ilog2(bytes) / 10;
	u64 one = 1ull << (10 * unit);
	u64 whole = bytes / one;
	/* The remainder is below 2^60, so ten of it fit. */
	u64 tenth = (bytes % one * 10 + one / 2) / one;

	if (tenth == 10) {
		whole++;
		tenth = 0;
	}
	if (whole == 1024 && unit < 6) {
		whole = 1;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, SIZE_TEXT_MAX, "%llu B", (unsigned long long)whole);
	else if (tenth == 0)
		snprintf(buf, SIZE_TEXT_MAX, "%llu %ciB", (unsigned long long)whole,
			 toupper(size_units[unit - 1]));
	else
		snprintf(buf, SIZE_TEXT_MAX, "%llu.%llu %ciB", (unsigned long long)whole,
			 (unsigned long long)tenth, toupper(size_units[unit - 1]));
	return buf;
}
