/*
 * Goal: the layout of every device size is consistent, and nothing overlaps.
 * Method: layouts for many sizes, block sizes and journal sizes; walk their parts.
 */
#include "check_main.h"

#include <string.h>

#include "base/err.h"
#include "format/format.h"

static struct fmt_geo make(u64 sectors, u32 block, u64 jnl)
{
	struct fmt_geo g;

	memset(&g, 0, sizeof(g));
	ck_assert_int_eq(fmt_geo_make(sectors, block, jnl, &g), 0);
	return g;
}

static void parts_follow_each_other(const struct fmt_geo *g)
{
	ck_assert_uint_eq(g->root_sector, 1);
	ck_assert_uint_eq(g->gtable_sector, 2);
	ck_assert_uint_eq(g->jnl_sector, 2 + g->gtable_nr);
	ck_assert_uint_eq(fmt_bitmap_sector(g, 0), g->jnl_sector + g->jnl_nr);
	for (u32 i = 0; i < g->nr_groups; i += 1 + g->nr_groups / 50) {
		u64 start = fmt_group_start(g, i), end = start + fmt_group_len(g, i);

		ck_assert_uint_gt(fmt_bitmap_sector(g, i), start);
		ck_assert_uint_eq(fmt_map_sector(g, i), fmt_bitmap_sector(g, i) + g->bitmap_nr);
		ck_assert_uint_eq(fmt_space_start(g, i), fmt_map_sector(g, i) + g->map_nr);
		ck_assert_uint_lt(fmt_space_start(g, i), end);
		ck_assert_uint_le(end, g->nr_sectors);
		ck_assert_uint_eq(fmt_group_of(g, start), i);
		ck_assert_uint_eq(fmt_group_of(g, end - 1), i);
	}
}

START_TEST(every_size_from_2_mib_to_2_pib_has_a_layout_without_overlap)
{
	for (u64 n = 512; n <= FMT_SECTORS_MAX; n = n + n / 7 + 1) {
		struct fmt_geo g = make(n, 4096, 0);

		ck_assert_uint_le(g.nr_sectors, n);
		ck_assert_uint_ge(g.nr_sectors, n - n % g.group_sectors);
		parts_follow_each_other(&g);
	}
}
END_TEST

START_TEST(every_block_size_has_room_for_an_aligned_block)
{
	for (u32 block = FMT_BLOCK_MIN; block <= FMT_BLOCK_MAX; block *= 2) {
		u64 n = 512;
		struct fmt_geo g;
		u64 first;

		memset(&g, 0, sizeof(g));
		while (fmt_geo_make(n, block, 0, &g) == -ENOSPC)
			n++;
		first = ALIGN_UP(fmt_space_start(&g, 0), g.block_sectors);
		ck_assert_uint_le(first + g.block_sectors, g.nr_sectors);
		ck_assert_uint_le(n, 512 + 3 * g.block_sectors);
	}
}
END_TEST

START_TEST(what_cannot_be_is_refused_and_leaves_the_output_alone)
{
	struct fmt_geo g;
	struct fmt_geo before;

	memset(&g, 0x5a, sizeof(g));
	before = g;
	ck_assert_int_eq(fmt_geo_make(511, 4096, 0, &g), -ENOSPC);
	ck_assert_int_eq(fmt_geo_make(0, 4096, 0, &g), -ENOSPC);
	ck_assert_int_eq(fmt_geo_make(1 << 20, 2048, 0, &g), -EINVAL);
	ck_assert_int_eq(fmt_geo_make(1 << 20, 5000, 0, &g), -EINVAL);
	ck_assert_int_eq(fmt_geo_make(1 << 20, 4u << 20, 0, &g), -EINVAL);
	ck_assert_int_eq(fmt_geo_make(1 << 20, 4096, 255, &g), -ERANGE);
	ck_assert_int_eq(fmt_geo_make(1 << 20, 4096, 1 << 19, &g), -ERANGE);
	ck_assert_int_eq(fmt_geo_make(FMT_SECTORS_MAX + 1, 4096, 0, &g), -EFBIG);
	ck_assert_int_eq(memcmp(&g, &before, sizeof(g)), 0);
}
END_TEST

START_TEST(the_default_journal_is_a_32nd_and_of_large_devices_a_64th_within_its_limits)
{
	ck_assert_uint_eq(make(512, 4096, 0).jnl_nr, 256);             /* 2 MiB: the minimum */
	ck_assert_uint_eq(make(8192, 4096, 0).jnl_nr, 2048);           /* 32 MiB: a quarter */
	ck_assert_uint_eq(make(65536, 4096, 0).jnl_nr, 4096);          /* 256 MiB: 16 MiB */
	ck_assert_uint_eq(make(262144, 4096, 0).jnl_nr, 8192);         /* 1 GiB: 32 MiB */
	ck_assert_uint_eq(make(1u << 20, 4096, 0).jnl_nr, 32768);      /* 4 GiB: 128 MiB */
	ck_assert_uint_eq(make(2u << 20, 4096, 0).jnl_nr, 32768);      /* 8 GiB: the same */
	ck_assert_uint_eq(make(4u << 20, 4096, 0).jnl_nr, 65536);      /* 16 GiB: 256 MiB */
	ck_assert_uint_eq(make(1ull << 28, 4096, 0).jnl_nr, 196608);   /* 1 TiB: 3/4 of group 0 */
	ck_assert_uint_eq(make(262144, 4096, 1000).jnl_nr, 1000);
}
END_TEST

START_TEST(a_tail_too_short_for_its_own_metadata_is_left_out)
{
	ck_assert_uint_eq(make(262144 + 100, 4096, 0).nr_sectors, 262144);
	ck_assert_uint_eq(make(262144 + 100, 4096, 0).nr_groups, 1);
	ck_assert_uint_eq(make(262144 + 1000, 4096, 0).nr_sectors, 262144 + 1000);
	ck_assert_uint_eq(make(262144 + 1000, 4096, 0).nr_groups, 2);
}
END_TEST

START_TEST(copies_stand_at_group_1_and_powers_of_3_5_and_7)
{
	static const u32 with[] = { 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 343, 2401 };
	u32 count = 0;

	ck_assert(!fmt_group_has_copy(0));
	for (u32 i = 0; i < 2402; i++)
		count += fmt_group_has_copy(i);
	for (size_t i = 0; i < ARRAY_LEN(with); i++)
		ck_assert(fmt_group_has_copy(with[i]));
	ck_assert_uint_eq(count, ARRAY_LEN(with) + 4); /* and 243, 625, 729, 2187 */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("geo");

	check_add(s, every_size_from_2_mib_to_2_pib_has_a_layout_without_overlap);
	check_add(s, every_block_size_has_room_for_an_aligned_block);
	check_add(s, what_cannot_be_is_refused_and_leaves_the_output_alone);
	check_add(s, the_default_journal_is_a_32nd_and_of_large_devices_a_64th_within_its_limits);
	check_add(s, a_tail_too_short_for_its_own_metadata_is_left_out);
	check_add(s, copies_stand_at_group_1_and_powers_of_3_5_and_7);
	return check_main(s);
}
