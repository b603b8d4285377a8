/*
 * Hashes and checksums: XXH3. This is the only door to xxHash. The values are part of the disk
 * format: they never change and are the same on every machine.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/types.h"

/* XXH3 of 64 bits, without and with seed. @len may be 0. */
u64 hash64(const void *data, size_t len);
u64 hash64_seed(const void *data, size_t len, u64 seed);

/* The low 32 bits of hash64(). */
u32 hash32(const void *data, size_t len);

/* A hash over several pieces, equal to hash64_seed() over their concatenation. */
struct hash_stream;
struct hash_stream *hash_stream_new(u64 seed); /* NULL when memory is short */
void hash_stream_add(struct hash_stream *hs, const void *data, size_t len);
u64 hash_stream_end(struct hash_stream *hs); /* frees it */

/* A bijective mix of one word, for hash tables in memory (not a disk format). */
static inline u64 hash_mix64(u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ (x >> 33);
}

#endif
