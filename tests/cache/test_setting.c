/* Budgets and priorities of single mappings, and what is told of their state. */
#include "util.h"

static struct mapping a, b;

static void begin(void)
{
	start(16 * MIB);
	mapping_init(&a, &fake_ops, NULL);
	mapping_init(&b, &fake_ops, NULL);
	mapping_set_id(&a, 100);
	mapping_set_id(&b, 200);
}

static void end(void)
{
	cache_drop(&a, 0, NOWHERE);
	mapping_fini(&a);
	finish(&b);
}

START_TEST(a_file_with_a_budget_keeps_to_it_and_others_do_not_suffer)
{
	begin();
	for (u64 i = 0; i < 1000; i++)
		use(&b, i, 0);
	ck_assert_int_eq(cache_set(&a, 1 * MIB, CACHE_NORMAL), 0);
	for (u64 i = 0; i < 3000; i++) {
		use(&a, i, (unsigned)(i % 4));
		ck_assert_uint_le(a.nr_sectors, MIB / SECTOR_SIZE + 8);
	}
	ck_assert_uint_eq(b.nr_sectors, 1000);
	/* A smaller one works at once, none takes it away. */
	ck_assert_int_eq(cache_set(&a, MIB / 2, CACHE_NORMAL), 0);
	ck_assert_uint_le(a.nr_sectors, MIB / 2 / SECTOR_SIZE);
	ck_assert_int_eq(cache_set(&a, 0, CACHE_NORMAL), 0);
	for (u64 i = 0; i < 1000; i++)
		use(&a, i, 0);
	ck_assert_uint_ge(a.nr_sectors, 1000);
	end();
}
END_TEST

START_TEST(within_its_budget_a_file_keeps_what_it_uses_again)
{
	u64 kept = 0;

	begin();
	ck_assert_int_eq(cache_set(&a, MIB, CACHE_NORMAL), 0);
	for (u64 round = 0; round < 20; round++) {
		for (u64 i = 0; i < 64; i++)
			use(&a, i, 0);
		for (u64 i = 0; i < 100; i++)
			use(&a, 1000 + round * 100 + i, 0);
	}
	for (u64 i = 0; i < 64; i++) {
		struct folio *f = cache_find(&a, i);

		kept += f != NULL;
		if (f)
			folio_put(f);
	}
	printf("%llu of 64 kept\n", (unsigned long long)kept);
	ck_assert_uint_ge(kept, 60);
	end();
}
END_TEST

static void fill_both(void)
{
	for (u64 i = 0; i < 1000; i++) {
		use(&a, i, 0);
		use(&b, i, 0);
	}
}

START_TEST(high_priority_stays_until_nothing_else_can_go)
{
	begin();
	ck_assert_int_eq(cache_set(&a, 0, CACHE_HIGH), 0);
	fill_both();
	cache_evict(900 * SECTOR_SIZE);
	ck_assert_uint_eq(a.nr_sectors, 1000);
	ck_assert_uint_eq(b.nr_sectors, 100);
	for (u64 i = 0; i < 20000; i++)
		use(&b, 5000 + i, 0);
	ck_assert_uint_eq(a.nr_sectors, 1000);
	/* But then it goes: a file larger than the cache can still be read. */
	for (u64 i = 0; i < 10000; i++)
		use(&a, i, 0);
	ck_assert_uint_gt(a.nr_sectors, 3000);
	end();
}
END_TEST

START_TEST(low_priority_goes_first_and_a_change_holds_for_what_is_cached)
{
	begin();
	fill_both();
	ck_assert_int_eq(cache_set(&a, 0, CACHE_LOW), 0);
	cache_evict(900 * SECTOR_SIZE);
	ck_assert_uint_eq(a.nr_sectors, 100);
	ck_assert_uint_eq(b.nr_sectors, 1000);
	ck_assert_int_eq(cache_set(&a, 0, CACHE_HIGH), 0);
	cache_evict(900 * SECTOR_SIZE);
	ck_assert_uint_eq(a.nr_sectors, 100);
	ck_assert_uint_eq(b.nr_sectors, 100);
	end();
}
END_TEST

START_TEST(settings_are_found_again_when_a_mapping_comes_back)
{
	enum cache_priority priority;
	struct mapping again;

	begin();
	ck_assert_int_eq(cache_set(&a, 4 * MIB, CACHE_HIGH), 0);
	mapping_init(&again, &fake_ops, NULL);
	mapping_set_id(&again, 100);
	ck_assert_uint_eq(cache_budget(&again, &priority), 4 * MIB);
	ck_assert_int_eq(priority, CACHE_HIGH);
	ck_assert_int_eq(cache_set(&again, 0, CACHE_NORMAL), 0);
	mapping_fini(&again);
	for (u64 id = 1000; id < 1256; id++) {
		mapping_init(&again, &fake_ops, NULL);
		mapping_set_id(&again, id);
		ck_assert_int_eq(cache_set(&again, MIB, CACHE_NORMAL), 0);
		mapping_fini(&again);
	}
	ck_assert_int_eq(cache_set(&b, MIB, CACHE_NORMAL), -ENOSPC);
	end();
}
END_TEST

START_TEST(the_state_of_a_file_is_told_in_the_words_of_cachestat)
{
	struct cache_state s;
	struct folio *f;

	begin();
	use(&a, 0, 4);
	use(&a, 16, 0);
	ck_assert_int_eq(cache_get(&a, 2, 0, 0, &f), 0);
	folio_mark_dirty(f, 2, 3);
	cache_state(&a, 0, NOWHERE, &s);
	ck_assert_uint_eq(s.folios, 2);
	ck_assert_uint_eq(s.cached, 17);
	ck_assert_uint_eq(s.dirty, 3);
	ck_assert_uint_eq(s.writeback, 0);
	cache_state(&a, 3, 5, &s);
	ck_assert_uint_eq(s.cached, 2);
	ck_assert_uint_eq(s.dirty, 2);
	folio_begin_writeback(f, 1);
	folio_clear_dirty(f, 2, 3);
	cache_state(&a, 0, NOWHERE, &s);
	ck_assert_uint_eq(s.dirty, 0);
	ck_assert_uint_eq(s.writeback, 16);
	folio_end_writeback(f, 2, 3, 0);
	folio_unlock(f);
	folio_put(f);
	while (cache_evict(MIB))
		;
	cache_state(&a, 0, 32, &s);
	ck_assert_uint_eq(s.cached, 0);
	ck_assert_uint_eq(s.recently_evicted, 2);
	ck_assert_uint_eq(s.evicted, 2);
	/* A whole cache later it is evicted, but no longer recently. */
	for (u64 i = 0; i < 4400; i++)
		use(&b, i, 0);
	while (cache_evict(MIB))
		;
	cache_state(&a, 0, 32, &s);
	ck_assert_uint_eq(s.recently_evicted, 0);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("setting");

	check_add(s, a_file_with_a_budget_keeps_to_it_and_others_do_not_suffer);
	check_add(s, within_its_budget_a_file_keeps_what_it_uses_again);
	check_add(s, high_priority_stays_until_nothing_else_can_go);
	check_add(s, low_priority_goes_first_and_a_change_holds_for_what_is_cached);
	check_add(s, settings_are_found_again_when_a_mapping_comes_back);
	check_add(s, the_state_of_a_file_is_told_in_the_words_of_cachestat);
	return check_main(s);
}
