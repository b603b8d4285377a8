/* Identifiers of file systems: 16 random bytes, RFC 4122 version 4. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/types.h"

#define UUID_SIZE 16
#define UUID_TEXT_MAX 37 /* with the terminating 0 */

struct uuid {
	u8 b[UUID_SIZE];
};

/* A new one from the kernel's random numbers; a negative errno if there are none. */
int uuid_make(struct uuid *out);

/* "01234567-89ab-4cde-8f01-23456789abcd", either case; -EINVAL for anything else. */
int uuid_parse(const char *text, struct uuid *out);

const char *uuid_to_text(const struct uuid *u, char buf[static UUID_TEXT_MAX]);

bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *u);

/* @len bytes from the kernel's random numbers. */
int random_bytes(void *buf, size_t len);

#endif
