/*
 * Making, reading and writing UUIDs.
 *
 * Rule: random bytes come from getrandom(2) only; there is no weaker source to fall back to, since
 * two file systems with one UUID would accept each other's journal.
 */
#include "base/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int random_bytes(void *buf, size_t len)
{
	u8 *p = buf;

	while (len > 0) {
		ssize_t got = getrandom(p, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		p += got;
		len -= (size_t)got;
	}
	return 0;
}

int uuid_make(struct uuid *out)
{
	struct uuid u;
	int err = random_bytes(u.b, sizeof(u.b));

	if (err)
		return err;
	u.b[6] = (u8)((u.b[6] & 0x0f) | 0x40); /* version 4: random */
	u.b[8] = (u8)((u.b[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
	*out = u;
	return 0;
}

static bool uuid_dash_before(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid_parse(const char *text, struct uuid *out)
{
	struct uuid u;

	for (unsigned i = 0; i < UUID_SIZE; i++) {
		int high, low;

		if (uuid_dash_before(i) && *text++ != '-')
			return -EINVAL;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		u.b[i] = (u8)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return -EINVAL;
	*out = u;
	return 0;
}

const char *uuid_to_text(const struct uuid *u, char buf[static UUID_TEXT_MAX])
{
	char *p = buf;

	for (unsigned i = 0; i < UUID_SIZE; i++) {
		if (uuid_dash_before(i))
			*p++ = '-';
		p += sprintf(p, "%02x", u->b[i]);
	}
	return buf;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, UUID_SIZE) == 0;
}

bool uuid_is_zero(const struct uuid *u)
{
	static const struct uuid zero;

	return uuid_equal(u, &zero);
}
