/* The budget: what goes when memory is short, what never goes, and which policy is worth it. */
#include "util.h"

static struct mapping map;

START_TEST(the_cache_never_grows_beyond_its_budget_and_large_folios_keep_coming)
{
	u64 large = 0, nr = 0;
	struct folio *f;

	seed();
	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (u64 at = 0; at < 64 * MIB / SECTOR_SIZE; nr++) {
		CHECK(cache_get(&map, at, 6, 0, &f) == 0);
		CHECK(folio_make_uptodate(f, 0, folio_sectors(f)) == 0);
		at += folio_sectors(f);
		large += f->order == 6;
		folio_unlock(f);
		folio_put(f);
		CHECK(cache_bytes() <= 16 * MIB - mem_reserve_bytes());
	}
	printf("%llu of %llu folios of the largest order\n", (unsigned long long)large,
	       (unsigned long long)nr);
	ck_assert_uint_ge(large * 10, nr * 9);
	for (int i = 0; i < 50000; i++)
		use(&map, rnd(1 << 20), (unsigned)rnd(7));
	ck_assert_uint_le(cache_bytes(), 16 * MIB - mem_reserve_bytes());
	/* However fragmented it is, it is used. */
	for (int i = 0; i < 50000; i++)
		use(&map, rnd(1 << 20) & ~63ull, rnd(3) ? 0 : 6);
	printf("%llu KiB in use\n", (unsigned long long)cache_bytes() / 1024);
	ck_assert_uint_ge(cache_bytes(), 14 * MIB);
	finish(&map);
}
END_TEST

/* One folio for each reason to stay, then pressure. */
START_TEST(dirty_pinned_locked_and_used_folios_are_never_evicted)
{
	struct folio *f[5];

	seed();
	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (u64 i = 0; i < ARRAY_LEN(f); i++) {
		ck_assert_int_eq(cache_get(&map, i * 2, 0, 0, &f[i]), 0);
		ck_assert_int_eq(folio_make_uptodate(f[i], 0, 1), 0);
	}
	folio_mark_dirty(f[0], 0, 1);
	folio_pin(f[1]);
	folio_mark_dirty(f[3], 0, 1);
	folio_begin_writeback(f[3], 1);
	folio_clear_dirty(f[3], 0, 1);
	for (u64 i = 0; i < ARRAY_LEN(f); i++) {
		if (i != 2)
			folio_unlock(f[i]);
		if (i != 4)
			folio_put(f[i]);
	}
	for (int i = 0; i < 20000; i++)
		use(&map, 100 + rnd(1 << 16), (unsigned)rnd(4));
	while (cache_evict(MIB))
		;
	for (u64 i = 0; i < ARRAY_LEN(f); i++) {
		struct folio *g = cache_find(&map, i * 2);

		ck_assert_ptr_eq(g, f[i]);
		folio_put(g);
	}
	ck_assert_uint_eq(map.nr_sectors, ARRAY_LEN(f));
	folio_unpin(f[1]);
	folio_unlock(f[2]);
	folio_end_writeback(f[3], 0, 1, 0);
	folio_put(f[4]);
	while (cache_evict(MIB))
		;
	ck_assert_uint_eq(map.nr_sectors, 1);
	finish(&map);
}
END_TEST

START_TEST(a_node_finds_room_in_a_cache_full_of_single_sectors)
{
	struct folio *f;
	u64 nodes = 0;

	seed();
	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (int i = 0; i < 20000; i++)
		use(&map, rnd(1 << 20), 0);
	/* Far more nodes than the reserve holds. */
	for (u64 i = 0; i < 600; i++) {
		CHECK(cache_get(&map, NOWHERE / 2 + i * 4, 2, CACHE_EXACT | CACHE_RESERVE,
				&f) == 0);
		CHECK(folio_make_uptodate(f, 0, 4) == 0);
		folio_pin(f);
		folio_unlock(f);
		folio_put(f);
		nodes++;
	}
	ck_assert_uint_eq(nodes, 600);
	for (u64 i = 0; i < 600; i++) {
		f = cache_find(&map, NOWHERE / 2 + i * 4);
		folio_unpin(f);
		folio_put(f);
	}
	finish(&map);
}
END_TEST

START_TEST(nowait_gives_up_when_everything_is_dirty)
{
	struct folio *f;
	u64 at = 0;
	int r;

	start(1 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	while ((r = cache_get(&map, at, 0, CACHE_NOWAIT, &f)) == 0) {
		folio_mark_uptodate(f, 0, 1);
		folio_mark_dirty(f, 0, 1);
		folio_unlock(f);
		folio_put(f);
		at++;
	}
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_uint_eq(cache_bytes(), MIB - mem_reserve_bytes());
	ck_assert_int_eq(cache_get(&map, at, 0, CACHE_NOWAIT | CACHE_RESERVE, &f), 0);
	folio_unlock(f);
	folio_put(f);
	finish(&map);
}
END_TEST

START_TEST(drop_clean_leaves_dirty_and_used_folios)
{
	struct folio *dirty, *used;

	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (u64 i = 0; i < 100; i++)
		use(&map, i, 0);
	ck_assert_int_eq(cache_get(&map, 10, 0, 0, &dirty), 0);
	folio_mark_dirty(dirty, 0, 1);
	folio_unlock(dirty);
	folio_put(dirty);
	used = cache_find(&map, 20);
	ck_assert_uint_eq(cache_drop_clean(&map, 0, 50), 48);
	ck_assert_uint_eq(map.nr_sectors, 52);
	folio_put(used);
	finish(&map);
}
END_TEST

static u64 released;

static void count_release(struct mapping *m, struct folio *f)
{
	(void)m;
	CHECK(f->priv == (void *)(uintptr_t)(f->index + 1));
	released++;
}

START_TEST(released_folios_are_told_to_their_owner)
{
	static const struct mapping_ops ops = { .fill = fake_fill, .release = count_release };
	u64 made = 0;
	struct folio *f;

	start(16 * MIB);
	mapping_init(&map, &ops, NULL);
	for (u64 i = 0; i < 5000; i++, made++) {
		CHECK(cache_get(&map, i, 0, 0, &f) == 0);
		f->priv = (void *)(uintptr_t)(i + 1);
		folio_unlock(f);
		folio_put(f);
	}
	ck_assert_uint_gt(released, 0);
	cache_drop(&map, 0, NOWHERE);
	ck_assert_uint_eq(released, made);
	finish(&map);
}
END_TEST

/* ---- policies ---- */

/* Hits on a working set of half the cache, with scans of four times the cache through it. */
static u64 scan_trace_hits(const char *policy)
{
	u64 hot = 8 * MIB / SECTOR_SIZE, hits = 0, scan = 1 << 20;

	rng = 12345;
	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 0xff, .policy = policy });
	mapping_init(&map, &fake_ops, NULL);
	for (u64 round = 0; round < 40; round++) {
		for (int i = 0; i < 4000; i++) {
			u64 sector = rnd(hot);
			struct folio *f = cache_find(&map, sector);

			hits += f != NULL && round > 0;
			if (f)
				folio_put(f);
			else
				use(&map, sector, 0);
		}
		for (u64 i = 0; i < 16 * MIB / SECTOR_SIZE; i++)
			use(&map, scan++, 0);
	}
	finish(&map);
	return hits;
}

START_TEST(s3fifo_keeps_the_working_set_through_scans_where_lru_loses_it)
{
	u64 s3 = scan_trace_hits("s3fifo"), clock = scan_trace_hits("clock");
	u64 lru = scan_trace_hits("lru");

	printf("hits of 156000: s3fifo %llu, clock %llu, lru %llu\n", (unsigned long long)s3,
	       (unsigned long long)clock, (unsigned long long)lru);
	ck_assert_uint_gt(s3, lru + lru / 2);
	ck_assert_uint_gt(s3, clock);
}
END_TEST

START_TEST(reading_through_a_folio_piece_by_piece_is_one_use)
{
	struct folio *f;

	start(1024 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (unsigned order = 1; order <= 9; order++) {
		u64 last = 512 * order + order_sectors(order) - 1;

		for (u64 i = 512 * order; i <= last; i++)
			use(&map, i, order);
		ck_assert_int_eq(cache_get(&map, last, 0, 0, &f), 0);
		folio_unlock(f);
		folio_put(f);
	}
	for (unsigned order = 1; order <= 9; order++) {
		u64 at = 512 * order;
		bool accessed;

		f = cache_next(&map, &at, NOWHERE);
		accessed = folio_has(f, FOLIO_ACCESSED);
		folio_put(f);
		/* The last sector was asked for twice: that counts where it is told apart. */
		ck_assert_int_eq(accessed, order <= 8);
		use(&map, 512 * order, 0);
		ck_assert(folio_has(f, FOLIO_ACCESSED));
	}
	finish(&map);
}
END_TEST

START_TEST(the_ghost_list_does_not_grow)
{
	u64 before;

	seed();
	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	before = policy_overhead_bytes();
	ck_assert_uint_le(before, 16 * MIB / 1024);
	for (int i = 0; i < 200000; i++)
		use(&map, rnd(1ull << 32), 0);
	ck_assert_uint_eq(policy_overhead_bytes(), before);
	finish(&map);
}
END_TEST

START_TEST(what_comes_back_soon_after_its_eviction_goes_to_the_main_queue)
{
	struct folio *f;
	u64 at;

	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (u64 i = 0; i < 6000; i++)
		use(&map, i, 0);
	ck_assert_ptr_null(cache_find(&map, 1000));
	use(&map, 1000, 0);
	at = 1000;
	f = cache_next(&map, &at, 1001);
	ck_assert(folio_has(f, FOLIO_MAIN));
	folio_put(f);
	at = 5999;
	f = cache_next(&map, &at, 6000);
	ck_assert(!folio_has(f, FOLIO_MAIN));
	folio_put(f);
	finish(&map);
}
END_TEST

START_TEST(an_unknown_policy_is_refused)
{
	struct cache_config cfg = { .bytes = MIB, .max_order = 0xff, .policy = "random" };

	ck_assert_int_eq(cache_init(&cfg), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("evict");

	check_add(s, the_cache_never_grows_beyond_its_budget_and_large_folios_keep_coming);
	check_add(s, dirty_pinned_locked_and_used_folios_are_never_evicted);
	check_add(s, a_node_finds_room_in_a_cache_full_of_single_sectors);
	check_add(s, nowait_gives_up_when_everything_is_dirty);
	check_add(s, drop_clean_leaves_dirty_and_used_folios);
	check_add(s, released_folios_are_told_to_their_owner);
	check_add_slow(s, s3fifo_keeps_the_working_set_through_scans_where_lru_loses_it, 60);
	check_add(s, reading_through_a_folio_piece_by_piece_is_one_use);
	check_add(s, the_ghost_list_does_not_grow);
	check_add(s, what_comes_back_soon_after_its_eviction_goes_to_the_main_queue);
	check_add(s, an_unknown_policy_is_refused);
	return check_main(s);
}
