/*
 * Ranges of bits, compared bit by bit with the obvious loop over random ranges of random maps.
 * Maps have the exact number of words, so a sanitizer sees any access beyond them.
 */
#include <stdlib.h>

#include "base/bitmap.h"
#include "check_main.h"

#define NBITS 320

static u64 rnd_state = 88172645463325252ull;

static u64 rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static u64 *map_new(void)
{
	u64 *map = calloc(BITMAP_WORDS(NBITS), sizeof(u64));

	ck_assert_ptr_nonnull(map);
	return map;
}

static u64 *map_random(void)
{
	u64 *map = map_new();
	u64 density = rnd() % 3;

	for (size_t i = 0; i < BITMAP_WORDS(NBITS); i++)
		map[i] = density == 0 ? rnd() : density == 1 ? rnd() & rnd() & rnd() :
			        rnd() | rnd();
	return map;
}

static void range_random(size_t *first, size_t *nr)
{
	*first = rnd() % NBITS;
	*nr = rnd() % (NBITS - *first + 1);
}

START_TEST(set_and_clear_change_exactly_their_range)
{
	for (int round = 0; round < 3000; round++) {
		u64 *map = map_random(), *before = map_new();
		size_t first, nr;
		bool set = rnd() & 1;

		memcpy(before, map, NBITS / 8);
		range_random(&first, &nr);
		if (set)
			bitmap_set_range(map, first, nr);
		else
			bitmap_clear_range(map, first, nr);
		for (size_t i = 0; i < NBITS; i++) {
			bool inside = i >= first && i < first + nr;

			ck_assert_int_eq(bitmap_test(map, i),
					 inside ? set : bitmap_test(before, i));
		}
		free(map);
		free(before);
	}
}
END_TEST

START_TEST(searches_find_the_first_bit_in_the_range)
{
	for (int round = 0; round < 3000; round++) {
		u64 *map = map_random();
		size_t first, nr, set, zero;

		range_random(&first, &nr);
		for (set = first; set < first + nr && !bitmap_test(map, set); set++)
			;
		for (zero = first; zero < first + nr && bitmap_test(map, zero); zero++)
			;
		ck_assert_uint_eq(bitmap_next_set(map, first, first + nr), set);
		ck_assert_uint_eq(bitmap_next_zero(map, first, first + nr), zero);
		ck_assert_int_eq(bitmap_all_clear(map, first, nr), set == first + nr);
		ck_assert_int_eq(bitmap_all_set(map, first, nr), zero == first + nr);
		free(map);
	}
}
END_TEST

START_TEST(weight_counts_the_bits_of_the_range_only)
{
	for (int round = 0; round < 3000; round++) {
		u64 *map = map_random();
		size_t first, nr, weight = 0;

		range_random(&first, &nr);
		for (size_t i = first; i < first + nr; i++)
			weight += bitmap_test(map, i);
		ck_assert_uint_eq(bitmap_weight(map, first, nr), weight);
		free(map);
	}
}
END_TEST

START_TEST(copy_moves_bits_between_any_two_positions)
{
	for (int round = 0; round < 3000; round++) {
		u64 *src = map_random(), *dst = map_random(), *before = map_new();
		size_t from, to, nr;

		range_random(&from, &nr);
		to = rnd() % (NBITS - nr + 1);
		memcpy(before, dst, NBITS / 8);
		bitmap_copy_range(dst, to, src, from, nr);
		for (size_t i = 0; i < NBITS; i++) {
			bool inside = i >= to && i < to + nr;

			ck_assert_int_eq(bitmap_test(dst, i),
					 inside ? bitmap_test(src, from + i - to) :
						  bitmap_test(before, i));
		}
		free(src);
		free(dst);
		free(before);
	}
}
END_TEST

static size_t run_by_hand(const u64 *map, size_t from, size_t end, size_t nr, size_t align)
{
	for (size_t i = ALIGN_UP(from, align); i < end && end - i >= nr; i += align)
		if (bitmap_all_clear(map, i, nr))
			return i;
	return end;
}

START_TEST(the_first_aligned_run_of_zeroes_is_found)
{
	for (int round = 0; round < 3000; round++) {
		u64 *map = map_new();
		size_t first, nr, want = 1 + rnd() % 40, align = 1u << rnd() % 6;

		for (int i = 0; i < 12; i++)
			bitmap_set(map, rnd() % NBITS);
		range_random(&first, &nr);
		ck_assert_uint_eq(bitmap_find_zero_run(map, first, first + nr, want, align),
				  run_by_hand(map, first, first + nr, want, align));
		free(map);
	}
}
END_TEST

START_TEST(fill_leaves_the_bits_above_the_end_clear)
{
	u64 map[2] = { ~0ull, ~0ull };

	bitmap_fill(map, 70);
	ck_assert_uint_eq(map[0], ~0ull);
	ck_assert_uint_eq(map[1], 0x3f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bitmap");

	check_add(s, set_and_clear_change_exactly_their_range);
	check_add(s, searches_find_the_first_bit_in_the_range);
	check_add(s, weight_counts_the_bits_of_the_range_only);
	check_add(s, copy_moves_bits_between_any_two_positions);
	check_add(s, the_first_aligned_run_of_zeroes_is_found);
	check_add(s, fill_leaves_the_bits_above_the_end_clear);
	return check_main(s);
}
