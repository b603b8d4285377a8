/* Which windows readahead starts: a log of the folios that it asked for. */
#include "util.h"

#define LOG_MAX 4096u

static struct {
	u64 index;
	unsigned order;
} asked[LOG_MAX];
static u32 nr_asked, nr_batches;
static int refuse;             /* what starting returns */

/* Done at once, as a very fast device would. */
static int log_fill_async(struct mapping *m, struct folio **f, u32 nr)
{
	nr_batches++;
	for (u32 i = 0; i < nr; i++) {
		CHECK(nr_asked < LOG_MAX);
		CHECK(i == 0 || f[i]->index > f[i - 1]->index);
		asked[nr_asked].index = f[i]->index;
		asked[nr_asked++].order = f[i]->order;
		if (refuse)
			continue;
		CHECK(fake_fill(m, f[i], 0, folio_sectors(f[i])) == 0);
		folio_unlock(f[i]);
		folio_put(f[i]);
	}
	return refuse;
}

static const struct mapping_ops ops = { .fill = fake_fill, .fill_async = log_fill_async };
static struct mapping map;
static struct readahead ra;

static void begin(u64 bytes)
{
	start(bytes);
	mapping_init(&map, &ops, NULL);
	ra = (struct readahead){ 0 };
	nr_asked = nr_batches = 0;
	refuse = 0;
}

static unsigned read_at(u64 sector, u32 nr, u64 eof)
{
	unsigned order = cache_readahead(&map, &ra, sector, nr, eof);

	for (u64 s = sector; s < sector + nr && s < eof; s++)
		use(&map, s, 0);
	return order;
}

START_TEST(a_sequential_reader_soon_misses_nothing_and_its_folios_grow)
{
	unsigned largest = 0;
	u64 misses;

	begin(256 * MIB);
	for (u64 s = 0; s < 8; s++)
		read_at(s, 1, 1 << 20);
	misses = stat_read(STAT_CACHE_MISSES);
	for (u64 s = 8; s < 8192; s++)
		read_at(s, 1, 1 << 20);
	ck_assert_uint_eq(stat_read(STAT_CACHE_MISSES), misses);
	ck_assert_uint_eq(asked[0].index, 1);
	ck_assert_uint_eq(asked[0].order, 0);
	for (u32 i = 0; i < nr_asked; i++) {
		ck_assert_uint_eq(asked[i].index % order_sectors(asked[i].order), 0);
		ck_assert_uint_le(asked[i].order, largest + 2);
		largest = MAX(largest, asked[i].order);
	}
	ck_assert_uint_ge(largest, 6);
	finish(&map);
}
END_TEST

#define AHEAD 2048u /* the default, 8 MiB */
#define STEP 512u

START_TEST(windows_double_until_the_front_is_far_enough_ahead)
{
	u32 len = 0;

	begin(256 * MIB);
	for (u64 s = 0; !ra.full; s++) {
		u64 start = ra.start;

		ck_assert_uint_lt(s, 4 * AHEAD);
		read_at(s, 1, 1 << 20);
		if (ra.start == start || ra.full)
			continue;
		ck_assert_uint_ge(ra.len + 128, 2 * len);
		len = ra.len;
	}
	ck_assert_uint_ge(len, STEP);
	finish(&map);
}
END_TEST

static void check_front_is_kept(u32 nr)
{
	u64 front = 0, windows, eof = 1 << 20;

	begin(256 * MIB);
	windows = 0;
	for (u64 s = 0; s < 16 * AHEAD; s += nr) {
		read_at(s, nr, eof);
		if (!ra.full)
			continue;
		windows += ra.start + ra.len != front;
		front = ra.start + ra.len;
		/* Missing: less than a step. Too much: less than a folio. */
		ck_assert_uint_gt(front + STEP, s + nr + AHEAD);
		ck_assert_uint_lt(front, s + nr + AHEAD + STEP / 2);
	}
	ck_assert_uint_ge(windows, 12 * AHEAD / STEP);
	ck_assert_uint_le(windows, 16 * AHEAD / STEP);
	finish(&map);
}

START_TEST(then_each_step_of_the_reader_starts_one_of_its_length)
{
	check_front_is_kept(1);
	check_front_is_kept(32);
	check_front_is_kept(256);
}
END_TEST

/* Who waits for a folio waits for all of it. */
START_TEST(folios_read_ahead_are_half_a_step_at_most)
{
	begin(256 * MIB);
	for (u64 s = 0; s < 8 * AHEAD; s += 512)
		read_at(s, 512, 1 << 20);
	for (u32 i = 0; i < nr_asked; i++)
		ck_assert_uint_le(order_sectors(asked[i].order), STEP / 2);
	ck_assert_uint_eq(order_sectors(asked[nr_asked - 1].order), STEP / 2);
	finish(&map);
}
END_TEST

START_TEST(random_reads_do_not_keep_a_stream_going_that_has_ended)
{
	u64 windows;

	begin(256 * MIB);
	for (u64 s = 0; s < 16384; s += 256)
		read_at(s, 256, 1 << 20);
	/* One may look as if the reader went on. */
	windows = stat_read(STAT_READAHEAD_WINDOWS) + 1;
	for (u64 s = 16384; s < 20000; s += 77)
		read_at(20000 - s % 3600, 1, 1 << 20);
	ck_assert_uint_le(stat_read(STAT_READAHEAD_WINDOWS), windows);
	finish(&map);
}
END_TEST

START_TEST(the_maximum_of_the_mount_is_kept)
{
	begin(256 * MIB);
	ra.max_sectors = 32;
	for (u64 s = 0; s < 4096; s++) {
		read_at(s, 1, 1 << 20);
		ck_assert_uint_le(ra.len, 32);
	}
	finish(&map);
}
END_TEST

START_TEST(nothing_is_read_beyond_the_end_of_the_file)
{
	begin(256 * MIB);
	for (u64 s = 0; s < 777; s++)
		read_at(s, 1, 777);
	for (u32 i = 0; i < nr_asked; i++)
		ck_assert_uint_le(asked[i].index + order_sectors(asked[i].order), 777);
	ck_assert_uint_eq(map.nr_sectors, 777);
	finish(&map);
}
END_TEST

START_TEST(random_reads_start_nothing)
{
	seed();
	begin(256 * MIB);
	for (int i = 0; i < 2000; i++) {
		unsigned order = read_at(2 + rnd(1 << 30) * 2, 1, 1ull << 40);

		ck_assert_uint_eq(order, 0);
	}
	ck_assert_uint_eq(nr_asked, 0);
	finish(&map);
}
END_TEST

START_TEST(a_random_read_in_between_does_not_end_a_stream)
{
	u64 misses;

	seed();
	begin(256 * MIB);
	for (u64 s = 0; s < 64; s++)
		read_at(s, 1, 1 << 20);
	misses = stat_read(STAT_CACHE_MISSES);
	for (u64 s = 64; s < 4096; s++) {
		read_at(s, 1, 1 << 20);
		if (s % 7 == 0)
			cache_readahead(&map, &ra, (1 << 19) + rnd(1 << 18), 1, 1 << 20);
	}
	ck_assert_uint_eq(stat_read(STAT_CACHE_MISSES), misses);
	ck_assert_uint_ge(ra.order, 6);
	finish(&map);
}
END_TEST

START_TEST(a_large_random_read_gets_large_folios)
{
	begin(256 * MIB);
	ck_assert_uint_eq(cache_readahead(&map, &ra, 4096, 256, 1 << 20), 8);
	ck_assert_uint_eq(nr_asked, 0);
	finish(&map);
}
END_TEST

START_TEST(in_a_full_small_cache_readahead_goes_on_without_waiting)
{
	u64 misses;

	begin(1 * MIB);
	for (u64 s = 0; s < 64; s++)
		read_at(s, 1, 1 << 20);
	misses = stat_read(STAT_CACHE_MISSES);
	for (u64 s = 64; s < 8192; s++)
		read_at(s, 1, 1 << 20);
	ck_assert_uint_eq(stat_read(STAT_CACHE_MISSES), misses);
	ck_assert_uint_eq(stat_read(STAT_CACHE_MEMORY_WAITS), 0);
	ck_assert_uint_eq(stat_read(STAT_READAHEAD_WASTED), 0);
	finish(&map);
}
END_TEST

START_TEST(readahead_that_nobody_asked_for_is_counted_as_wasted)
{
	begin(16 * MIB);
	read_at(0, 1, 1 << 20);
	ck_assert_uint_eq(nr_asked, 4);
	while (cache_evict(MIB))
		;
	ck_assert_uint_eq(stat_read(STAT_READAHEAD_WASTED), 4);
	finish(&map);
}
END_TEST

/* Wherever a sequential reader is, what it reads next was asked for a whole window before. */
START_TEST(the_next_window_is_under_way_before_the_current_one_is_used_up)
{
	u64 started = 0, nr_windows = 0, window_start = 0;

	begin(256 * MIB);
	for (u64 s = 0; s < 8192; s += 4) {
		read_at(s, 4, 1 << 20);
		for (u32 i = 0; i < nr_asked; i++)
			started = MAX(started, asked[i].index + order_sectors(asked[i].order));
		nr_windows += ra.start != window_start;
		window_start = ra.start;
		/* The window last started lies wholly before the reader. */
		ck_assert_uint_ge(ra.start, s + 4);
		ck_assert_uint_ge(started, ra.start + ra.len);
		nr_asked = 0;
	}
	ck_assert_uint_ge(nr_windows, 10);
	finish(&map);
}
END_TEST

START_TEST(the_folios_of_a_window_are_filled_together)
{
	begin(256 * MIB);
	/* Something is there already: the window goes on behind it. */
	use(&map, 40, 0);
	read_at(0, 16, 1 << 20);
	ck_assert_uint_eq(nr_batches, 1);
	ck_assert_uint_ge(nr_asked, 3);
	ck_assert_uint_ge(asked[nr_asked - 1].index, 41);
	finish(&map);
}
END_TEST

START_TEST(a_long_read_begins_with_folios_of_its_length)
{
	begin(256 * MIB);
	read_at(0, 64, 1 << 20);
	ck_assert_uint_eq(ra.order, 6);
	for (u32 i = 0; i < nr_asked; i++)
		ck_assert_uint_eq(asked[i].order, 6);
	ck_assert_uint_eq(nr_asked, 4);
	finish(&map);
}
END_TEST

START_TEST(what_can_not_be_started_is_left_unlocked_to_its_reader)
{
	begin(256 * MIB);
	refuse = -ENOMEM;
	read_at(0, 4, 1 << 20);
	ck_assert_uint_ge(nr_asked, 2);
	for (u32 i = 0; i < nr_asked; i++) {
		struct folio *f = cache_find(&map, asked[i].index);

		ck_assert(folio_trylock(f));
		ck_assert(!folio_range_uptodate(f, 0, 1));
		folio_unlock(f);
		folio_put(f);
	}
	finish(&map);
}
END_TEST

START_TEST(a_new_reader_goes_on_where_the_cache_ends)
{
	begin(256 * MIB);
	for (u64 s = 1000; s < 1064; s++)
		use(&map, s, 0);
	read_at(1064, 1, 1 << 20);
	ck_assert_uint_ge(ra.len, 64);
	ck_assert_uint_eq(asked[0].index, 1065);
	finish(&map);
}
END_TEST

START_TEST(history_gives_the_size_of_its_folios)
{
	begin(256 * MIB);
	use(&map, 1024, 6);
	read_at(1088, 1, 1 << 20);
	ck_assert_uint_eq(ra.order, 6);
	finish(&map);
}
END_TEST

START_TEST(what_is_cached_from_the_start_of_the_file_is_history_enough)
{
	begin(256 * MIB);
	use(&map, 0, 0);
	read_at(1, 1, 1 << 20);
	ck_assert_uint_ge(nr_asked, 1);
	finish(&map);
}
END_TEST

START_TEST(a_sector_or_two_before_it_prove_nothing)
{
	begin(256 * MIB);
	for (u64 s = 1000; s < 1003; s++)
		use(&map, s, 0);
	read_at(1003, 1, 1 << 20);
	/* Less than the read is not enough either. */
	for (u64 s = 2000; s < 2020; s++)
		use(&map, s, 0);
	read_at(2020, 64, 1 << 20);
	ck_assert_uint_eq(nr_asked, 0);
	finish(&map);
}
END_TEST

/* Hot random reads would begin a window each. */
START_TEST(who_finds_it_in_the_cache_has_no_history)
{
	begin(256 * MIB);
	for (u64 s = 1000; s < 1064; s++)
		use(&map, s, 0);
	read_at(1050, 4, 1 << 20);
	ck_assert_uint_eq(nr_asked, 0);
	finish(&map);
}
END_TEST

START_TEST(who_starts_over_after_an_eviction_is_read_ahead_for_again)
{
	u64 misses, eof = AHEAD / 2;

	begin(256 * MIB);
	for (int pass = 0; pass < 3; pass++) {
		misses = stat_read(STAT_CACHE_MISSES);
		for (u64 s = 0; s < eof; s += 64)
			read_at(s, 64, eof);
		/* Of the first two reads. */
		ck_assert_uint_le(stat_read(STAT_CACHE_MISSES) - misses, 2 * 64);
		while (cache_evict(MIB))
			;
	}
	finish(&map);
}
END_TEST

START_TEST(two_readers_through_one_open_file_both_get_windows)
{
	u64 misses;

	begin(256 * MIB);
	misses = stat_read(STAT_CACHE_MISSES);
	for (u64 s = 0; s < 2048; s++) {
		read_at(s, 1, 1 << 20);
		read_at((1 << 18) + s, 1, 1 << 20);
	}
	/* Until there is enough of it, and where a window ends; without history all of them. */
	ck_assert_uint_le(stat_read(STAT_CACHE_MISSES) - misses, 64);
	ck_assert_uint_ge(stat_read(STAT_READAHEAD_SECTORS), 2 * 2048 * 7 / 8);
	finish(&map);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("readahead");

	check_add(s, a_sequential_reader_soon_misses_nothing_and_its_folios_grow);
	check_add(s, windows_double_until_the_front_is_far_enough_ahead);
	check_add(s, then_each_step_of_the_reader_starts_one_of_its_length);
	check_add(s, folios_read_ahead_are_half_a_step_at_most);
	check_add(s, random_reads_do_not_keep_a_stream_going_that_has_ended);
	check_add(s, the_maximum_of_the_mount_is_kept);
	check_add(s, nothing_is_read_beyond_the_end_of_the_file);
	check_add(s, random_reads_start_nothing);
	check_add(s, a_random_read_in_between_does_not_end_a_stream);
	check_add(s, a_large_random_read_gets_large_folios);
	check_add(s, in_a_full_small_cache_readahead_goes_on_without_waiting);
	check_add(s, readahead_that_nobody_asked_for_is_counted_as_wasted);
	check_add(s, the_next_window_is_under_way_before_the_current_one_is_used_up);
	check_add(s, the_folios_of_a_window_are_filled_together);
	check_add(s, a_long_read_begins_with_folios_of_its_length);
	check_add(s, what_can_not_be_started_is_left_unlocked_to_its_reader);
	check_add(s, a_new_reader_goes_on_where_the_cache_ends);
	check_add(s, history_gives_the_size_of_its_folios);
	check_add(s, what_is_cached_from_the_start_of_the_file_is_history_enough);
	check_add(s, a_sector_or_two_before_it_prove_nothing);
	check_add(s, who_finds_it_in_the_cache_has_no_history);
	check_add(s, who_starts_over_after_an_eviction_is_read_ahead_for_again);
	check_add(s, two_readers_through_one_open_file_both_get_windows);
	return check_main(s);
}
