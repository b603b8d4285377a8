/* Dirty limits: who is paused, for how long, and when it ends. */
#include <pthread.h>

#include "util.h"

static struct mapping map;
static u32 wanted; /* atomic: calls of want_writeback */

static void want_writeback(void *arg)
{
	(void)arg;
	__atomic_fetch_add(&wanted, 1, __ATOMIC_RELAXED);
}

/* 16 MiB: background 409, set point 1023, hard limit 1638 sectors. */
static void begin(void)
{
	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 0xff,
					  .want_writeback = want_writeback });
	mapping_init(&map, &fake_ops, NULL);
	wanted = 0;
}

static void dirty_sectors(u64 from, u64 nr)
{
	struct folio *f;

	for (u64 i = from; i < from + nr; i++) {
		CHECK(cache_get(&map, i, 0, 0, &f) == 0);
		folio_mark_uptodate(f, 0, 1);
		folio_mark_dirty(f, 0, 1);
		folio_unlock(f);
		folio_put(f);
	}
}

/* Up to nr dirty sectors go through writeback with this result. */
static void write_back(u64 nr, int error)
{
	struct folio *f;
	u64 at = 0;

	while (nr-- > 0 && (f = cache_next_dirty(&map, &at, NOWHERE))) {
		folio_lock(f);
		folio_begin_writeback(f, 1);
		folio_clear_dirty(f, 0, 1);
		folio_unlock(f);
		folio_end_writeback(f, 0, 1, error);
		folio_put(f);
	}
}

START_TEST(below_the_background_limit_nobody_is_disturbed)
{
	begin();
	dirty_sectors(0, 400);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(cache_throttle(&map, 1), 0);
	ck_assert_uint_eq(stat_read(STAT_THROTTLE_PAUSES), 0);
	ck_assert_uint_eq(wanted, 0);
	ck_assert(!cache_over_background());
	finish(&map);
}
END_TEST

START_TEST(above_the_background_limit_flushers_are_woken_and_writers_go_on)
{
	begin();
	dirty_sectors(0, 500);
	ck_assert(cache_over_background());
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(cache_throttle(&map, 1), 0);
	ck_assert_uint_eq(stat_read(STAT_THROTTLE_PAUSES), 0);
	ck_assert_uint_ge(wanted, 1);
	finish(&map);
}
END_TEST

START_TEST(near_the_hard_limit_writers_pause_longer_than_near_the_set_point)
{
	u64 low, high;

	begin();
	dirty_sectors(0, 1100);
	ck_assert_int_eq(cache_throttle(&map, 256), 0);
	low = stat_read(STAT_THROTTLE_OWED_NS);
	ck_assert_uint_eq(stat_read(STAT_THROTTLE_PAUSES), 1);
	dirty_sectors(1100, 270);
	ck_assert_int_eq(cache_throttle(&map, 256), 0);
	high = stat_read(STAT_THROTTLE_OWED_NS) - low;
	printf("owed %llu us, then %llu us\n", (unsigned long long)low / 1000,
	       (unsigned long long)high / 1000);
	ck_assert_uint_gt(high, low * 2);
	ck_assert_uint_le(high, CACHE_THROTTLE_MAX_MS * NS_PER_MS);
	finish(&map);
}
END_TEST

START_TEST(small_writes_collect_their_pauses)
{
	u64 began, took, owed;

	begin();
	dirty_sectors(0, 1200);
	began = now_ns();
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(cache_throttle(&map, 1), 0);
	took = now_ns() - began;
	owed = stat_read(STAT_THROTTLE_OWED_NS);
	ck_assert_uint_gt(owed, 0);
	/* Asleep, or as so much time passed anyway: all was paid but what is not worth a sleep. */
	ck_assert_uint_ge(took + 2 * NS_PER_MS, owed);
	ck_assert_uint_lt(stat_read(STAT_THROTTLE_PAUSES), 50);
	finish(&map);
}
END_TEST

static void *throttled_writer(void *arg)
{
	int *result = arg;

	*result = cache_throttle(&map, 64);
	return NULL;
}

START_TEST(at_the_hard_limit_a_writer_waits_until_there_is_room)
{
	pthread_t thread;
	int result = 1;

	begin();
	dirty_sectors(0, 1638);
	ck_assert_int_eq(pthread_create(&thread, NULL, throttled_writer, &result), 0);
	while (!cache_throttled())
		sleep_ns(NS_PER_MS);
	sleep_ns(300 * NS_PER_MS);
	ck_assert_uint_eq(cache_throttled(), 1);
	ck_assert_uint_ge(__atomic_load_n(&wanted, __ATOMIC_RELAXED), 2);
	write_back(200, 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(cache_throttled(), 0);
	finish(&map);
}
END_TEST

START_TEST(a_limit_held_by_failed_sectors_alone_is_their_error)
{
	static const int errors[] = { -EIO, -ENOSPC };

	for (unsigned i = 0; i < ARRAY_LEN(errors); i++) {
		begin();
		dirty_sectors(0, 1638);
		write_back(2000, errors[i]);
		ck_assert_uint_eq(throttle_error_sectors(), 1638);
		ck_assert_int_eq(cache_throttle(&map, 1), errors[i]);
		finish(&map);
	}
}
END_TEST

/* Some sectors have no place on the disk, and so no error of their own. */
START_TEST(a_limit_held_while_writeback_fails_and_writes_nothing_is_an_error)
{
	pthread_t thread;
	int result = 0;

	begin();
	dirty_sectors(0, 1638);
	write_back(1600, -ENOSPC);
	ck_assert_uint_lt(throttle_error_sectors(), 1638);
	ck_assert_int_eq(pthread_create(&thread, NULL, throttled_writer, &result), 0);
	while (!cache_throttled())
		sleep_ns(NS_PER_MS);
	while (cache_throttled()) {
		cache_note_write_error(-ENOSPC);
		sleep_ns(100 * NS_PER_MS);
	}
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, -ENOSPC);
	finish(&map);
}
END_TEST

START_TEST(a_write_larger_than_the_limit_passes_when_nothing_is_dirty)
{
	begin();
	ck_assert_int_eq(cache_throttle(&map, 4000), 0);
	finish(&map);
}
END_TEST

START_TEST(metadata_is_not_throttled)
{
	begin();
	dirty_sectors(0, 1638);
	map.metadata = 1;
	ck_assert_int_eq(cache_throttle(&map, 64), 0);
	map.metadata = 0;
	finish(&map);
}
END_TEST

static void *memory_waiter(void *arg)
{
	struct folio **f = arg;

	CHECK(cache_get(&map, 1 << 20, 0, 0, f) == 0);
	return NULL;
}

START_TEST(an_allocation_waits_until_writeback_makes_something_evictable)
{
	struct folio *f = NULL;
	pthread_t thread;

	start_with((struct cache_config){ .bytes = MIB, .max_order = 0xff,
					  .want_writeback = want_writeback });
	mapping_init(&map, &fake_ops, NULL);
	dirty_sectors(0, (MIB - mem_reserve_bytes()) / SECTOR_SIZE);
	wanted = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, memory_waiter, &f), 0);
	while (!__atomic_load_n(&wanted, __ATOMIC_RELAXED))
		sleep_ns(NS_PER_MS);
	write_back(1, 0);
	pthread_join(thread, NULL);
	ck_assert_ptr_nonnull(f);
	folio_unlock(f);
	folio_put(f);
	finish(&map);
}
END_TEST

struct writer {
	struct mapping *map;
	u64 from;
	u32 piece;
	u64 wrote;   /* atomic */
};

static bool enough; /* atomic */

static void *write_pieces(void *arg)
{
	struct writer *w = arg;
	u64 at = w->from;

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		CHECK(cache_throttle(w->map, w->piece) == 0);
		dirty_sectors(at, w->piece);
		at += w->piece;
		__atomic_fetch_add(&w->wrote, w->piece, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Two writers and a device; counted is what each has written when both together wrote 12,000. */
START_TEST(writers_of_small_and_of_large_pieces_get_alike)
{
	struct mapping other = { .ops = NULL };
	struct writer w[2] = { { &map, 0, 4, 0 }, { &other, NOWHERE / 2, 64, 0 } };
	pthread_t thread[2];
	u64 sum = 0;

	begin();
	other.ops = map.ops;
	dirty_sectors(NOWHERE / 4, 1100);
	__atomic_store_n(&enough, false, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&thread[i], NULL, write_pieces, &w[i]) == 0);
	while (sum < 12000) {
		write_back(40, 0);
		sleep_ns(2 * NS_PER_MS);
		sum = __atomic_load_n(&w[0].wrote, __ATOMIC_RELAXED) +
		      __atomic_load_n(&w[1].wrote, __ATOMIC_RELAXED);
		if (cache_dirty_bytes() > 1500 * SECTOR_SIZE)
			write_back(100, 0);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	write_back(100000, 0);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	printf("small pieces %llu, large pieces %llu\n", (unsigned long long)w[0].wrote,
	       (unsigned long long)w[1].wrote);
	ck_assert_uint_ge(w[0].wrote * 6, w[1].wrote);
	ck_assert_uint_ge(w[1].wrote * 6, w[0].wrote);
	finish(&map);
}
END_TEST

/* A thread of a daemon writes for everybody. */
START_TEST(what_one_file_owes_no_other_pays)
{
	struct mapping other;

	begin();
	other = (struct mapping){ .ops = map.ops };
	dirty_sectors(0, 1050);
	ck_assert_int_eq(cache_throttle(&map, 1), 0);
	ck_assert_uint_gt(map.paid_ns, 0);
	ck_assert_uint_eq(other.paid_ns, 0);
	finish(&map);
}
END_TEST

/* Many writes of one file at a time take turns: what they owe adds up. */
START_TEST(writes_of_one_file_wait_for_each_other)
{
	u64 first;

	begin();
	dirty_sectors(0, 1050);
	ck_assert_int_eq(cache_throttle(&map, 1), 0);
	first = map.paid_ns;
	ck_assert_int_eq(cache_throttle(&map, 1), 0);
	ck_assert_uint_gt(map.paid_ns, first);
	finish(&map);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("throttle");

	check_add(s, below_the_background_limit_nobody_is_disturbed);
	check_add(s, above_the_background_limit_flushers_are_woken_and_writers_go_on);
	check_add(s, near_the_hard_limit_writers_pause_longer_than_near_the_set_point);
	check_add(s, small_writes_collect_their_pauses);
	check_add(s, at_the_hard_limit_a_writer_waits_until_there_is_room);
	check_add(s, a_limit_held_by_failed_sectors_alone_is_their_error);
	check_add(s, a_limit_held_while_writeback_fails_and_writes_nothing_is_an_error);
	check_add(s, a_write_larger_than_the_limit_passes_when_nothing_is_dirty);
	check_add(s, metadata_is_not_throttled);
	check_add(s, an_allocation_waits_until_writeback_makes_something_evictable);
	check_add(s, what_one_file_owes_no_other_pays);
	check_add(s, writes_of_one_file_wait_for_each_other);
	check_add(s, writers_of_small_and_of_large_pieces_get_alike);
	return check_main(s);
}
