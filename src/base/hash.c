/*
 * XXH3 behind three functions, so that the rest of the tree never sees xxHash.
 *
 * Rules
 * 1. The values are on disk: the algorithm and the seeds can't change without a format version.
 * 2. The library is compiled into this file, so calls need no symbol of a shared library.
 */
#include "base/hash.h"
#include "base/hash_wide.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Shorter ones gain nothing from wide vectors. */
#define WIDE_MIN 256u

u64 hash64(const void *data, size_t len)
{
#ifdef HASH_WIDE
	if (len >= WIDE_MIN && __builtin_cpu_supports("avx2"))
		return hash64_wide(data, len);
#endif
	return XXH3_64bits(data, len);
}

u64 hash64_seed(const void *data, size_t len, u64 seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

u32 hash32(const void *data, size_t len)
{
	return (u32)hash64(data, len);
}

struct hash_stream *hash_stream_new(u64 seed)
{
	XXH3_state_t *state = XXH3_createState();

	if (!state)
		return NULL;
	XXH3_64bits_reset_withSeed(state, seed);
	/* The opaque type stands for the state itself: one allocation. */
	return (struct hash_stream *)state;
}

void hash_stream_add(struct hash_stream *hs, const void *data, size_t len)
{
	XXH3_64bits_update((XXH3_state_t *)hs, data, len);
}

u64 hash_stream_end(struct hash_stream *hs)
{
	u64 value = XXH3_64bits_digest((XXH3_state_t *)hs);

	XXH3_freeState((XXH3_state_t *)hs);
	return value;
}
