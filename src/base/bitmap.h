/*
 * Bits in arrays of u64: bit n is bit n % 64 of word n / 64. Nothing here is atomic; the caller
 * holds whatever protects the array. Ranges are (first, count); a count of 0 is allowed.
 */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include <string.h>

#include "base/types.h"

#define BITMAP_WORDS(nbits) DIV_ROUND_UP((size_t)(nbits), 64)

static inline bool bitmap_test(const u64 *map, size_t bit)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

static inline void bitmap_set(u64 *map, size_t bit)
{
	map[bit / 64] |= 1ull << (bit % 64);
}

static inline void bitmap_clear(u64 *map, size_t bit)
{
	map[bit / 64] &= ~(1ull << (bit % 64));
}

void bitmap_set_range(u64 *map, size_t first, size_t nr);
void bitmap_clear_range(u64 *map, size_t first, size_t nr);

/* All bits of an empty range are both set and clear. */
bool bitmap_all_set(const u64 *map, size_t first, size_t nr);
bool bitmap_all_clear(const u64 *map, size_t first, size_t nr);

/* Number of set bits in the range. */
size_t bitmap_weight(const u64 *map, size_t first, size_t nr);

/* First set (clear) bit in [from, end), or @end if there is none. */
size_t bitmap_next_set(const u64 *map, size_t from, size_t end);
size_t bitmap_next_zero(const u64 *map, size_t from, size_t end);

/*
 * Start of the first run of @nr clear bits in [from, end) whose start is a multiple of @align (a
 * power of two), or @end if there is none.
 */
size_t bitmap_find_zero_run(const u64 *map, size_t from, size_t end, size_t nr, size_t align);

/* Copies @nr bits between different maps; the rest of @dst stays as it is. */
void bitmap_copy_range(u64 *dst, size_t dst_first, const u64 *src, size_t src_first, size_t nr);

/* Whole maps of @nbits bits; bits above in the last word are cleared. */
static inline void bitmap_zero(u64 *map, size_t nbits)
{
	memset(map, 0, BITMAP_WORDS(nbits) * sizeof(u64));
}

static inline void bitmap_fill(u64 *map, size_t nbits)
{
	bitmap_zero(map, nbits);
	bitmap_set_range(map, 0, nbits);
}

#endif
