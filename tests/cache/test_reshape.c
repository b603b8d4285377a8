/*
 * Folios that are cut in two or moved: contents, state, dirty accounting, index and queues stay
 * right; and when it is done: for what is cold, for what is clean, for long runs of memory.
 */
#include "util.h"

static struct mapping map;

/* An uptodate folio of exactly this order, locked. */
static struct folio *make(u64 sector, unsigned order)
{
	struct folio *f;

	ck_assert_int_eq(cache_get(&map, sector, order, CACHE_EXACT, &f), 0);
	ck_assert_int_eq(folio_make_uptodate(f, 0, folio_sectors(f)), 0);
	return f;
}

static void release(struct folio *f)
{
	folio_unlock(f);
	folio_put(f);
}

static void check_contents(u64 sector, u64 nr)
{
	for (u64 s = sector; s < sector + nr; s++) {
		struct folio *f = cache_find(&map, s);
		u64 word;

		CHECK(f != NULL);
		CHECK(folio_range_uptodate(f, (u32)(s - f->index), 1));
		memcpy(&word, sector_data(f, (u32)(s - f->index)), sizeof(word));
		CHECK(word == pattern(s));
		CHECK(mem_folio_of(sector_data(f, (u32)(s - f->index))) == f);
		folio_put(f);
	}
}

static u64 nr_dirty_by_walk(void)
{
	struct folio *f;
	u64 at = 0, n = 0;

	while ((f = cache_next_dirty(&map, &at, NOWHERE))) {
		n += folio_nr_dirty(f);
		CHECK(folio_has(f, FOLIO_DIRTY));
		folio_put(f);
	}
	return n;
}

START_TEST(both_halves_keep_contents_state_and_dirty_counts_at_every_order)
{
	seed();
	start(1024 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (unsigned order = 1; order <= 9; order++) {
		u64 at = order * 4096, n = order_sectors(order);

		for (int kind = 0; kind < 4; kind++, at += n) {
			struct folio *f = make(at, order), *g;
			u64 dirty = map.nr_dirty;

			if (kind == 1)
				folio_mark_dirty(f, 0, (u32)n);
			if (kind == 2)
				folio_mark_dirty(f, (u32)n - 1, 1);
			if (kind == 3)
				folio_mark_dirty(f, (u32)rnd(n / 2), 1);
			dirty = map.nr_dirty - dirty;
			ck_assert_int_eq(mapping_split(f, &g), 0);
			folio_assert_valid(f);
			folio_assert_valid(g);
			ck_assert_uint_eq(f->order, order - 1);
			ck_assert_uint_eq(g->order, order - 1);
			ck_assert_uint_eq(g->index, at + n / 2);
			ck_assert_uint_eq(folio_nr_dirty(f) + folio_nr_dirty(g), dirty);
			ck_assert_int_eq(folio_has(g, FOLIO_DIRTY), kind == 1 || kind == 2);
			ck_assert_int_eq(folio_has(f, FOLIO_DIRTY), kind == 1 || kind == 3);
			release(f);
			release(g);
			check_contents(at, n);
			ck_assert_uint_eq(nr_dirty_by_walk(), map.nr_dirty);
		}
	}
	finish(&map);
	ck_assert_uint_eq(index_nodes(), 0);
}
END_TEST

START_TEST(a_folio_is_cut_down_to_single_sectors_and_all_is_still_there)
{
	u64 end = 512;

	seed();
	start(1024 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	release(make(0, 9));
	for (int i = 0; i < 4000; i++) {
		struct folio *f = cache_find(&map, rnd(end)), *g;

		ck_assert_ptr_nonnull(f);
		folio_lock(f);
		if (mapping_split(f, &g) == 0)
			release(g);
		release(f);
	}
	ck_assert_uint_eq(map.nr_sectors, 512);
	ck_assert_uint_eq(policy_sectors(), 512);
	check_contents(0, 512);
	finish(&map);
	ck_assert_uint_eq(mem_used_bytes(), 0);
}
END_TEST

START_TEST(a_folio_that_others_need_is_not_cut_and_not_moved)
{
	struct folio *f, *g;

	start(64 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	f = make(0, 4);
	folio_get(f);
	ck_assert_int_eq(mapping_split(f, &g), -EAGAIN);
	ck_assert(!mapping_move(f));
	folio_put(f);
	folio_mark_dirty(f, 0, 1);
	folio_begin_writeback(f, 1);
	folio_clear_dirty(f, 0, 1);
	ck_assert_int_eq(mapping_split(f, &g), -EAGAIN);
	folio_end_writeback(f, 0, 1, 0);
	folio_pin(f);
	ck_assert_int_eq(mapping_split(f, &g), -EAGAIN);
	folio_unpin(f);
	f->priv = &map;
	ck_assert_int_eq(mapping_split(f, &g), -EAGAIN);
	f->priv = NULL;
	ck_assert_int_eq(mapping_split(f, &g), 0);
	release(g);
	release(f);
	finish(&map);
}
END_TEST

START_TEST(an_error_is_remembered_by_both_halves)
{
	struct folio *f, *g;

	start(64 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	f = make(0, 4);
	folio_mark_dirty(f, 0, 16);
	folio_begin_writeback(f, 1);
	folio_clear_dirty(f, 0, 16);
	folio_end_writeback(f, 0, 16, -EIO);
	ck_assert_uint_eq(map.nr_error, 16);
	ck_assert_int_eq(mapping_split(f, &g), 0);
	folio_clear_dirty(f, 0, 8);
	ck_assert_uint_eq(map.nr_error, 8);
	ck_assert_int_eq(map.error, -EIO);
	folio_clear_dirty(g, 0, 8);
	ck_assert_uint_eq(map.nr_error, 0);
	ck_assert_int_eq(map.error, 0);
	release(g);
	release(f);
	finish(&map);
}
END_TEST

/* Half of a large folio is used again and again, its other half never. */
static void evict_cold_half(const char *policy, bool upper)
{
	u64 hot = upper ? 32 : 0, left = 0, before = stat_read(STAT_SPLITS_HOT);

	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 6, .policy = policy });
	mapping_init(&map, &fake_ops, NULL);
	release(make(0, 6));
	for (int round = 0; round < 2; round++)
		for (u64 i = 0; i < 32; i++)
			use(&map, hot + 31 - i, 0);
	for (u64 i = 0; i < 2000; i++)
		use(&map, 4096 + i, 0);
	cache_evict(3 * MIB);
	for (u64 i = 0; i < 64; i++) {
		struct folio *f = cache_find(&map, i);

		left += f != NULL;
		ck_assert_int_eq(f != NULL, i >= hot && i < hot + 32);
		if (f)
			folio_put(f);
	}
	printf("%s: %llu of 64 sectors are left\n", policy, (unsigned long long)left);
	ck_assert_uint_eq(stat_read(STAT_SPLITS_HOT) - before, 1);
	check_contents(hot, 32);
	finish(&map);
}

START_TEST(eviction_takes_the_half_that_was_not_used_again)
{
	evict_cold_half("s3fifo", false);
	evict_cold_half("s3fifo", true);
	evict_cold_half("clock", false);
	evict_cold_half("sieve", true);
}
END_TEST

START_TEST(when_everything_is_dirty_clean_parts_of_folios_go)
{
	u64 at = 0, before = stat_read(STAT_SPLITS_DIRTY);
	struct folio *f;

	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 6 });
	mapping_init(&map, &fake_ops, NULL);
	/* One dirty sector in each folio, until memory is used up. */
	while (cache_add(&map, at, 6, CACHE_NOWAIT, &f) == 0) {
		ck_assert_int_eq(folio_make_uptodate(f, 0, folio_sectors(f)), 0);
		folio_mark_dirty(f, (u32)rnd(folio_sectors(f)), 1);
		at += folio_sectors(f);
		release(f);
	}
	/* Who may wait gets memory at once all the same, and nothing dirty is lost. */
	at = map.nr_dirty;
	for (u64 i = 0; i < 100; i++)
		release(make(100000 + 64 * i, 3));
	ck_assert_uint_gt(stat_read(STAT_SPLITS_DIRTY), before);
	ck_assert_uint_eq(map.nr_dirty, at);
	ck_assert_uint_eq(nr_dirty_by_walk(), at);
	finish(&map);
}
END_TEST

START_TEST(a_moved_folio_keeps_everything_but_its_frames)
{
	struct folio *f;
	u32 frame;

	start(64 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	f = make(0, 4);
	folio_mark_dirty(f, 3, 2);
	frame = f->frame;
	mem_run_claim(frame & ~63u, 6);
	ck_assert(mapping_move(f));
	mem_run_release(frame & ~63u, 6);
	ck_assert_uint_ne(f->frame, frame);
	ck_assert_uint_ge(f->frame, 64);
	folio_assert_valid(f);
	ck_assert_uint_eq(folio_nr_dirty(f), 2);
	release(f);
	check_contents(0, 16);
	finish(&map);
	ck_assert_uint_eq(mem_used_bytes(), 0);
}
END_TEST

/* Single sectors, of which three in four are dropped: free memory in pieces. */
static void fragment(u64 sectors)
{
	for (u64 i = 0; i < sectors; i++)
		use(&map, i, 0);
	for (u64 i = 0; i < sectors; i++)
		if (i % 4)
			cache_drop(&map, i, i + 1);
}

START_TEST(fragmented_memory_is_compacted_for_large_folios)
{
	u64 compacted = stat_read(STAT_COMPACTIONS), moved = stat_read(STAT_COMPACT_MOVED);
	u64 large = 0;

	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 6 });
	mapping_init(&map, &fake_ops, NULL);
	fragment(3800);
	for (u64 i = 0; i < 20; i++) {
		struct folio *f;

		ck_assert_int_eq(cache_get(&map, 102400 + i * 64, 6, 0, &f), 0);
		large += f->order == 6;
		release(f);
	}
	compacted = stat_read(STAT_COMPACTIONS) - compacted;
	moved = stat_read(STAT_COMPACT_MOVED) - moved;
	printf("%llu of 20 are large; %llu runs compacted, %llu sectors moved\n",
	       (unsigned long long)large, (unsigned long long)compacted,
	       (unsigned long long)moved);
	ck_assert_uint_ge(large, 15);
	ck_assert_uint_ge(compacted, 10);
	/* It pays: no more than half of each run is moved. */
	ck_assert_uint_le(moved, compacted * 32);
	for (u64 i = 0; i < 3800; i += 4)
		check_contents(i, 1);
	finish(&map);
	ck_assert_uint_eq(mem_used_bytes(), 0);
}
END_TEST

START_TEST(compaction_that_can_not_work_is_tried_less_and_less_often)
{
	u64 fails = stat_read(STAT_COMPACT_FAILS);
	struct folio *held[950];

	start_with((struct cache_config){ .bytes = 16 * MIB, .max_order = 6 });
	mapping_init(&map, &fake_ops, NULL);
	fragment(3800);
	for (u64 i = 0; i < ARRAY_LEN(held); i++)
		held[i] = cache_find(&map, i * 4);
	for (u64 i = 0; i < 200; i++)
		use(&map, 100000 + i * 64, 4);
	fails = stat_read(STAT_COMPACT_FAILS) - fails;
	printf("%llu attempts\n", (unsigned long long)fails);
	ck_assert_uint_ge(fails, 2);
	ck_assert_uint_le(fails, 10);
	ck_assert_uint_gt(stat_read(STAT_FOLIO_FALLBACKS), 0);
	for (u64 i = 0; i < ARRAY_LEN(held); i++)
		folio_put(held[i]);
	finish(&map);
}
END_TEST

START_TEST(with_a_smallest_folio_every_folio_of_data_is_that_large)
{
	struct folio *f;

	seed();
	start_with((struct cache_config){ .bytes = 64 * MIB, .max_order = 6, .min_order = 4 });
	mapping_init(&map, &fake_ops, NULL);
	for (int i = 0; i < 2000; i++) {
		u64 sector = rnd(1 << 14);

		ck_assert_int_eq(cache_get(&map, sector, (unsigned)rnd(7), 0, &f), 0);
		ck_assert_uint_ge(f->order, 4);
		ck_assert_uint_eq(f->index % folio_sectors(f), 0);
		ck_assert(sector >= f->index && sector < f->index + folio_sectors(f));
		ck_assert_int_eq(folio_make_uptodate(f, 0, folio_sectors(f)), 0);
		release(f);
	}
	ck_assert_int_eq(cache_get(&map, NOWHERE - 2, 1, CACHE_EXACT, &f), 0);
	ck_assert_uint_eq(f->order, 1);
	release(f);
	/* Room for less: what fits is taken. */
	ck_assert_int_eq(cache_get(&map, NOWHERE - 4, 0, 0, &f), 0);
	ck_assert_uint_eq(f->order, 0);
	release(f);
	cache_drop(&map, 0, UINT64_MAX >> SECTOR_SHIFT);
	finish(&map);
	ck_assert_int_eq(cache_init(&(struct cache_config){ .bytes = 16 * MIB, .max_order = 3,
							     .min_order = 4 }), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reshape");

	check_add(s, both_halves_keep_contents_state_and_dirty_counts_at_every_order);
	check_add(s, a_folio_is_cut_down_to_single_sectors_and_all_is_still_there);
	check_add(s, a_folio_that_others_need_is_not_cut_and_not_moved);
	check_add(s, an_error_is_remembered_by_both_halves);
	check_add(s, eviction_takes_the_half_that_was_not_used_again);
	check_add(s, when_everything_is_dirty_clean_parts_of_folios_go);
	check_add(s, a_moved_folio_keeps_everything_but_its_frames);
	check_add(s, fragmented_memory_is_compacted_for_large_folios);
	check_add(s, compaction_that_can_not_work_is_tried_less_and_less_often);
	check_add(s, with_a_smallest_folio_every_folio_of_data_is_that_large);
	return check_main(s);
}
