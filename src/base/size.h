/* Sizes as people write and read them: base 1024 throughout. */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include "base/types.h"

/*
 * Reads "4096", "64k", "64KB", "64KiB", "1.5g", "10T": digits, at most one fraction, an optional
 * unit (b, k, m, g, t, p, e in either case, the last six with or without "B" or "iB"). Returns
 * -EINVAL for anything else (also for a fraction that is not whole bytes) and -ERANGE for what
 * does not fit.
 */
int parse_size(const char *text, u64 *out);

/* A plain unsigned number in @min..@max; -EINVAL or -ERANGE. */
int parse_u64(const char *text, u64 min, u64 max, u64 *out);

#define SIZE_TEXT_MAX 32

/* "0 B", "512 B", "64 MiB", "1.5 GiB": at most one decimal. Returns @buf. */
const char *size_to_text(u64 bytes, char buf[static SIZE_TEXT_MAX]);

#endif
