/*
 * Ranges in bitmaps, a word at a time.
 *
 * Rules
 * 1. A range is walked as words, each with a mask of the bits that belong to it: whole words in
 *    the middle cost one operation.
 * 2. No word outside the range is read or written, so a map needs no padding.
 */
#include "base/bitmap.h"

/* The bits of word @word that lie in [first, end). */
static u64 word_mask(size_t word, size_t first, size_t end)
{
	u64 mask = ~0ull;

	if (word == first / 64)
		mask &= ~0ull << (first % 64);
	if (word == end / 64)
		mask &= ~(~0ull << (end % 64));
	return mask;
}

/* Word after the last one that holds a bit of [first, end). */
static size_t word_end(size_t end)
{
	return DIV_ROUND_UP(end, (size_t)64);
}

void bitmap_set_range(u64 *map, size_t first, size_t nr)
{
	size_t end = first + nr;

	if (nr == 0)
		return;
	for (size_t w = first / 64; w < word_end(end); w++)
		map[w] |= word_mask(w, first, end);
}

void bitmap_clear_range(u64 *map, size_t first, size_t nr)
{
	size_t end = first + nr;

	if (nr == 0)
		return;
	for (size_t w = first / 64; w < word_end(end); w++)
		map[w] &= ~word_mask(w, first, end);
}

bool bitmap_all_set(const u64 *map, size_t first, size_t nr)
{
	return bitmap_next_zero(map, first, first + nr) == first + nr;
}

bool bitmap_all_clear(const u64 *map, size_t first, size_t nr)
{
	return bitmap_next_set(map, first, first + nr) == first + nr;
}

size_t bitmap_weight(const u64 *map, size_t first, size_t nr)
{
	size_t end = first + nr, weight = 0;

	if (nr == 0)
		return 0;
	for (size_t w = first / 64; w < word_end(end); w++)
		weight += (size_t)__builtin_popcountll(map[w] & word_mask(w, first, end));
	return weight;
}

/* First bit in [from, end) that differs from the bits of @invert; @end if none. */
static size_t next_bit(const u64 *map, size_t from, size_t end, u64 invert)
{
	if (from >= end)
		return end;
	for (size_t w = from / 64; w < word_end(end); w++) {
		u64 bits = (map[w] ^ invert) & word_mask(w, from, end);

		if (bits)
			return w * 64 + (size_t)__builtin_ctzll(bits);
	}
	return end;
}

size_t bitmap_next_set(const u64 *map, size_t from, size_t end)
{
	return next_bit(map, from, end, 0);
}

size_t bitmap_next_zero(const u64 *map, size_t from, size_t end)
{
	return next_bit(map, from, end, ~0ull);
}

size_t bitmap_find_zero_run(const u64 *map, size_t from, size_t end, size_t nr, size_t align)
{
	size_t start = from;

	for (;;) {
		size_t stop;

		start = ALIGN_UP(bitmap_next_zero(map, start, end), align);
		if (start >= end || end - start < nr)
			return end;
		stop = bitmap_next_set(map, start, start + nr);
		if (stop == start + nr)
			return start;
		start = stop + 1;
	}
}

/* 1..64 bits from any position, touching no word beyond the last of them. */
static u64 get_bits(const u64 *map, size_t first, size_t nr)
{
	size_t w = first / 64, shift = first % 64;
	u64 bits = map[w] >> shift;

	if (shift + nr > 64)
		bits |= map[w + 1] << (64 - shift);
	return nr == 64 ? bits : bits & ~(~0ull << nr);
}

/* Fills one word of the destination at a time. */
void bitmap_copy_range(u64 *dst, size_t dst_first, const u64 *src, size_t src_first, size_t nr)
{
	while (nr > 0) {
		size_t shift = dst_first % 64;
		size_t step = MIN(nr, 64 - shift);
		u64 mask = (step == 64 ? ~0ull : ~(~0ull << step)) << shift;
		u64 *word = &dst[dst_first / 64];

		*word = (*word & ~mask) | get_bits(src, src_first, step) << shift;
		dst_first += step;
		src_first += step;
		nr -= step;
	}
}
