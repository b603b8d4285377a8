/* For tests of checks: every single-bit flip of a buffer, and cheap random bytes. */
#ifndef TESTS_FORMAT_BITS_H
#define TESTS_FORMAT_BITS_H

#include "base/hash.h"
#include "base/types.h"

static inline void flip_bit(void *buf, u64 bit)
{
	((u8 *)buf)[bit / 8] ^= (u8)(1u << (bit % 8));
}

static inline u64 next_random(u64 *state)
{
	return hash_mix64(*state += 0x9e3779b97f4a7c15ull);
}

static inline void fill_random(void *buf, size_t len, u64 *state)
{
	u8 *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (u8)next_random(state);
}

#endif
