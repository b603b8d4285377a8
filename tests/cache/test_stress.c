/*
 * Several threads on one mapping and a small cache: readers verify every sector that they find,
 * while others drop, evict, write back and fail. Meant for the thread sanitizer as much as for the
 * checks.
 */
#include <pthread.h>

#include "util.h"

#define SPAN 4096u
#define THREADS 4u
#define PINNED_AT (NOWHERE / 2)

static struct mapping map;
static bool stop; /* atomic */
static u64 hits, writes, drops, cuts;

static void check_sector(struct folio *f, u64 sector)
{
	u64 word;

	memcpy(&word, sector_data(f, (u32)(sector - f->index)), sizeof(word));
	CHECK(word == pattern(sector));
}

/* As a reader does: no lock on a hit. The whole folio or nothing is uptodate in this test. */
static void do_read(u64 sector)
{
	struct folio *f = cache_find(&map, sector);

	if (f && folio_range_uptodate(f, (u32)(sector - f->index), 1)) {
		check_sector(f, sector);
		__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
	} else {
		if (f)
			folio_put(f);
		CHECK(cache_get(&map, sector, (unsigned)rnd(7), 0, &f) == 0);
		CHECK(folio_make_uptodate(f, 0, folio_sectors(f)) == 0);
		check_sector(f, sector);
		folio_unlock(f);
	}
	folio_put(f);
}

static void do_dirty(u64 sector)
{
	struct folio *f;
	u32 i;

	CHECK(cache_get(&map, sector, (unsigned)rnd(5), 0, &f) == 0);
	folio_wait_writeback(f);
	CHECK(folio_make_uptodate(f, 0, folio_sectors(f)) == 0);
	i = (u32)(sector - f->index);
	folio_mark_dirty(f, i, 1);
	folio_unlock(f);
	folio_put(f);
}

static void do_writeback(void)
{
	u64 at = rnd(SPAN);
	u32 first, nr;
	struct folio *f;

	for (int i = 0; i < 20 && (f = cache_next_dirty(&map, &at, SPAN)); i++) {
		folio_lock(f);
		folio_wait_writeback(f);
		if (!folio_has(f, FOLIO_DEAD) &&
		    folio_next_dirty(f, 0, folio_sectors(f), &first, &nr)) {
			folio_begin_writeback(f, 1);
			folio_clear_dirty(f, first, nr);
			folio_unlock(f);
			folio_end_writeback(f, first, nr, rnd(10) ? 0 : -EIO);
			__atomic_fetch_add(&writes, 1, __ATOMIC_RELAXED);
		} else {
			folio_unlock(f);
		}
		folio_put(f);
	}
}

static void do_drop(void)
{
	u64 at = rnd(SPAN);
	struct folio *f = cache_next(&map, &at, SPAN);
	u64 from, to;

	if (!f)
		return;
	/* Whole folios only: in this test a sector never changes. */
	from = f->index;
	to = from + folio_sectors(f);
	folio_put(f);
	for (u64 s = from; s < to;) {
		f = cache_find(&map, s);
		if (f && (f->index < from || f->index + folio_sectors(f) > to)) {
			folio_put(f);
			return;
		}
		s = f ? f->index + folio_sectors(f) : s + 1;
		if (f)
			folio_put(f);
	}
	__atomic_fetch_add(&drops, cache_drop_clean(&map, from, to), __ATOMIC_RELAXED);
}

static void do_pin(void)
{
	u64 sector = PINNED_AT + rnd(32) * 4;
	struct folio *f;

	CHECK(cache_get(&map, sector, 2, CACHE_EXACT | CACHE_RESERVE, &f) == 0);
	CHECK(folio_make_uptodate(f, 0, 4) == 0);
	if (rnd(2))
		folio_pin(f);
	else
		folio_unpin(f);
	folio_unlock(f);
	folio_put(f);
}

/* What reclaim and compaction do under pressure, to whatever folio is there. */
static void do_reshape(void)
{
	u64 at = rnd(SPAN);
	struct folio *f, *g;

	if (rnd(4) == 0) {
		compact_run(1 + (unsigned)rnd(6));
		compact_split_dirty(rnd(64));
		return;
	}
	f = cache_next(&map, &at, SPAN);
	if (!f)
		return;
	folio_lock(f);
	if (folio_has(f, FOLIO_DEAD) || f->order == 0 || mapping_split(f, &g)) {
		folio_unlock(f);
		folio_put(f);
		return;
	}
	__atomic_fetch_add(&cuts, 1, __ATOMIC_RELAXED);
	folio_unlock(g);
	folio_put(g);
	mapping_evict(f);
}

static void *worker(void *arg)
{
	rng = (u64)(uintptr_t)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		switch (rnd(32)) {
		case 0:
			do_drop();
			break;
		case 1:
		case 2:
			do_dirty(rnd(SPAN));
			break;
		case 3:
			do_writeback();
			break;
		case 4:
			do_pin();
			break;
		case 5:
			cache_evict(rnd(8) * SECTOR_SIZE);
			break;
		case 6:
			do_reshape();
			break;
		default:
			do_read(rnd(2) ? rnd(SPAN) : rnd(64));
		}
	}
	return NULL;
}

/* All dirty data out, all pins off: then nothing keeps the cache from being empty. */
static void settle(void)
{
	struct folio *f;
	u64 at = 0;

	while ((f = cache_next(&map, &at, NOWHERE))) {
		folio_assert_valid(f);
		folio_unpin(f);
		folio_put(f);
	}
	ck_assert_uint_eq(map.nr_writeback, 0);
	cache_drop(&map, 0, NOWHERE);
	ck_assert_uint_eq(map.nr_dirty, 0);
	ck_assert_uint_eq(map.nr_error, 0);
	ck_assert_uint_eq(map.nr_sectors, 0);
	ck_assert_uint_eq(mem_used_bytes(), 0);
	ck_assert_uint_eq(folio_pinned_bytes(), 0);
	ck_assert_uint_eq(cache_dirty_bytes(), 0);
	ck_assert_uint_eq(throttle_error_sectors(), 0);
	ck_assert_uint_eq(index_nodes(), 0);
}

static void run(const char *policy, u64 ms)
{
	pthread_t thread[THREADS];

	start_with((struct cache_config){ .bytes = 8 * MIB, .max_order = 6, .policy = policy });
	mapping_init(&map, &fake_ops, NULL);
	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	for (u64 i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)(rng + i)) == 0);
	sleep_ns(ms * NS_PER_MS);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (u64 i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	printf("%s: %llu hits, %llu evictions, %llu writes, %llu drops, %llu cuts, %llu moves\n",
	       policy, (unsigned long long)hits,
	       (unsigned long long)stat_read(STAT_CACHE_EVICTIONS), (unsigned long long)writes,
	       (unsigned long long)drops, (unsigned long long)cuts,
	       (unsigned long long)stat_read(STAT_COMPACTIONS));
	settle();
	finish(&map);
}

START_TEST(threads_that_find_evict_drop_and_write_back_see_only_right_sectors)
{
	seed();
	run("s3fifo", 2000);
	run("lru", 1000);
	run("clock", 500);
	run("sieve", 500);
}
END_TEST

/* Truncation against readers: a dropped folio is never found again with old counts. */
static void *dropper(void *arg)
{
	rng = (u64)(uintptr_t)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		u64 from = rnd(SPAN);

		cache_drop(&map, from & ~63ull, (from & ~63ull) + 64);
	}
	return NULL;
}

static void *getter(void *arg)
{
	rng = (u64)(uintptr_t)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		u64 sector = rnd(SPAN);
		struct folio *f;

		CHECK(cache_get(&map, sector, (unsigned)rnd(7), 0, &f) == 0);
		CHECK(f->mapping == &map);
		CHECK(sector >= f->index && sector < f->index + folio_sectors(f));
		CHECK(folio_make_uptodate(f, 0, folio_sectors(f)) == 0);
		check_sector(f, sector);
		if (rnd(4) == 0)
			folio_mark_dirty(f, 0, folio_sectors(f));
		folio_unlock(f);
		folio_put(f);
	}
	return NULL;
}

START_TEST(a_locked_folio_is_in_its_mapping_however_much_is_dropped)
{
	pthread_t thread[3];

	seed();
	start_with((struct cache_config){ .bytes = 64 * MIB, .max_order = 6 });
	mapping_init(&map, &fake_ops, NULL);
	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	for (u64 i = 0; i < 3; i++)
		CHECK(pthread_create(&thread[i], NULL, i ? getter : dropper,
				     (void *)(uintptr_t)(rng + i)) == 0);
	sleep_ns(1500 * NS_PER_MS);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (u64 i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	settle();
	finish(&map);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stress");

	check_add_slow(s, threads_that_find_evict_drop_and_write_back_see_only_right_sectors, 100);
	check_add_slow(s, a_locked_folio_is_in_its_mapping_however_much_is_dropped, 60);
	return check_main(s);
}
