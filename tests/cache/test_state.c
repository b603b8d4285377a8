/* Sector state, dirty counts and writeback of single folios against bitmaps of bool. */
#include "util.h"

#define N 512u

static struct mapping map;
static bool up[N], di[N], po[N];

static struct folio *get(u64 sector, unsigned order)
{
	struct folio *f;

	CHECK(cache_get(&map, sector, order, 0, &f) == 0);
	CHECK(f->order == order);
	return f;
}

static void let_go(struct folio *f)
{
	folio_unlock(f);
	folio_put(f);
}

static void begin(u64 bytes)
{
	start(bytes);
	mapping_init(&map, &fake_ops, NULL);
}

static u32 count(const bool *b, u32 n)
{
	u32 c = 0;

	for (u32 i = 0; i < n; i++)
		c += b[i];
	return c;
}

static void compare_runs(struct folio *f, u32 n)
{
	u32 at = (u32)rnd(n), end = at + (u32)rnd(n - at + 1), first, nr, s = at;

	while (s < end && !di[s])
		s++;
	CHECK(folio_next_dirty(f, at, end, &first, &nr) == (s < end));
	if (s < end) {
		CHECK(first == s);
		while (s < end && di[s])
			s++;
		CHECK(first + nr == s);
	}
	for (s = at; s < end && up[s];)
		s++;
	CHECK(folio_next_stale(f, at, end, &first, &nr) == (s < end));
	if (s < end) {
		CHECK(first == s);
		while (s < end && !up[s])
			s++;
		CHECK(first + nr == s);
	}
}

static void compare(struct folio *f, u32 n)
{
	u32 first = (u32)rnd(n), nr = 1 + (u32)rnd(n - first), ups = count(up, n);

	CHECK(folio_range_uptodate(f, first, nr) == (count(up + first, nr) == nr));
	CHECK(folio_range_poisoned(f, first, nr) == (count(po + first, nr) != 0));
	CHECK(folio_has(f, FOLIO_UPTODATE) == (ups == n));
	CHECK(folio_has(f, FOLIO_DIRTY) == (count(di, n) != 0));
	CHECK(folio_nr_dirty(f) == count(di, n));
	CHECK(map.nr_dirty == count(di, n));
	CHECK(cache_dirty_bytes() == (u64)count(di, n) * SECTOR_SIZE);
	if (count(po, n) == 0 && (ups == 0 || (ups == n && (count(di, n) % n) == 0)))
		CHECK(f->state == NULL);
	compare_runs(f, n);
	folio_assert_valid(f);
}

static void set(bool *b, u32 first, u32 nr, bool value)
{
	for (u32 i = first; i < first + nr; i++)
		b[i] = value;
}

static void change(struct folio *f, u32 n)
{
	u32 first = rnd(5) ? (u32)rnd(n) : 0, nr = rnd(5) ? 1 + (u32)rnd(n - first) : n - first;

	switch (rnd(8)) {
	case 0:
		folio_clear_uptodate(f, first, nr);
		set(up, first, nr, false);
		set(po, first, nr, false);
		set(di, first, nr, false);
		break;
	case 1:
		if (rnd(4))
			break;
		folio_set_poison(f, first, nr);
		set(po, first, nr, true);
		set(up, first, nr, false);
		set(di, first, nr, false);
		break;
	case 2:
	case 3:
		folio_clear_dirty(f, first, nr);
		set(di, first, nr, false);
		break;
	case 4:
	case 5:
		if (count(up + first, nr) != nr)
			break;
		folio_mark_dirty(f, first, nr);
		set(di, first, nr, true);
		break;
	default:
		folio_mark_uptodate(f, first, nr);
		set(up, first, nr, true);
		set(po, first, nr, false);
	}
}

START_TEST(random_sector_state_is_like_the_model_at_every_order)
{
	seed();
	begin(1024 * MIB);
	for (unsigned order = 0; order <= FOLIO_MAX_ORDER; order++) {
		struct folio *f = get(0, order);

		for (int i = 0; i < 3000; i++) {
			change(f, 1u << order);
			compare(f, 1u << order);
		}
		let_go(f);
		cache_drop(&map, 0, NOWHERE);
		set(up, 0, N, false);
		set(di, 0, N, false);
		set(po, 0, N, false);
	}
	finish(&map);
}
END_TEST

START_TEST(only_what_is_missing_is_filled)
{
	u64 filled = 0;
	struct folio *f;

	start(1024 * MIB);
	mapping_init(&map, &fake_ops, &filled);
	f = get(16, 4);
	folio_mark_uptodate(f, 3, 4);
	ck_assert_int_eq(folio_make_uptodate(f, 2, 8), 0);
	ck_assert_uint_eq(filled, 4);
	ck_assert(folio_range_uptodate(f, 2, 8));
	ck_assert(!folio_range_uptodate(f, 1, 1));
	ck_assert(!folio_range_uptodate(f, 10, 1));
	ck_assert_uint_eq(*(u64 *)(void *)sector_data(f, 2), pattern(18));
	let_go(f);
	finish(&map);
}
END_TEST

START_TEST(a_poisoned_sector_is_eio_until_it_is_overwritten)
{
	struct folio *f;

	begin(16 * MIB);
	f = get(0, 3);
	ck_assert_int_eq(folio_make_uptodate(f, 0, 8), 0);
	folio_mark_dirty(f, 2, 1);
	folio_set_poison(f, 2, 1);
	ck_assert_uint_eq(map.nr_dirty, 0);
	ck_assert_int_eq(folio_make_uptodate(f, 0, 8), -EIO);
	ck_assert_int_eq(folio_make_uptodate(f, 3, 5), 0);
	folio_mark_uptodate(f, 2, 1);
	ck_assert_int_eq(folio_make_uptodate(f, 0, 8), 0);
	let_go(f);
	finish(&map);
}
END_TEST

/* A folio of 8 sectors with the given ones dirty. */
static struct folio *dirty_folio(u32 first, u32 nr)
{
	struct folio *f = get(0, 3);

	folio_mark_uptodate(f, 0, 8);
	folio_mark_dirty(f, first, nr);
	return f;
}

START_TEST(a_range_in_flight_is_clean_and_still_counts_for_the_limits)
{
	struct folio *f;

	begin(16 * MIB);
	f = dirty_folio(0, 6);
	folio_begin_writeback(f, 2);
	folio_clear_dirty(f, 0, 2);
	folio_clear_dirty(f, 3, 1);
	ck_assert_uint_eq(map.nr_dirty, 3);
	ck_assert_uint_eq(map.nr_writeback, 3);
	ck_assert_uint_eq(cache_dirty_bytes(), 6 * SECTOR_SIZE);
	folio_end_writeback(f, 0, 2, 0);
	ck_assert(folio_has(f, FOLIO_WRITEBACK));
	folio_end_writeback(f, 3, 1, 0);
	ck_assert(!folio_has(f, FOLIO_WRITEBACK));
	ck_assert_uint_eq(map.nr_writeback, 0);
	ck_assert_uint_eq(cache_dirty_bytes(), 3 * SECTOR_SIZE);
	ck_assert_int_eq(map.error, 0);
	let_go(f);
	finish(&map);
}
END_TEST

START_TEST(a_failed_range_is_dirty_again_and_its_error_stays_until_it_is_written)
{
	struct folio *f, *found;
	u64 at = 0;

	begin(16 * MIB);
	f = dirty_folio(0, 4);
	folio_begin_writeback(f, 2);
	folio_clear_dirty(f, 0, 2);
	folio_clear_dirty(f, 2, 2);
	folio_unlock(f);
	ck_assert_ptr_null(cache_next_dirty(&map, &at, NOWHERE));
	folio_end_writeback(f, 2, 2, -EIO);
	folio_end_writeback(f, 0, 2, 0);
	ck_assert_uint_eq(map.nr_dirty, 2);
	ck_assert_uint_eq(map.nr_error, 2);
	ck_assert_int_eq(map.error, -EIO);
	ck_assert_uint_eq(map.error_seq, 1);
	ck_assert(folio_has(f, FOLIO_ERROR));
	found = cache_next_dirty(&map, &at, NOWHERE);
	ck_assert_ptr_eq(found, f);
	folio_put(found);

	folio_lock(f);
	folio_begin_writeback(f, 1);
	folio_clear_dirty(f, 2, 2);
	folio_end_writeback(f, 2, 2, 0);
	ck_assert(!folio_has(f, FOLIO_ERROR | FOLIO_DIRTY));
	ck_assert_uint_eq(map.nr_error, 0);
	ck_assert_int_eq(map.error, 0);
	ck_assert_uint_eq(throttle_error_sectors(), 0);
	let_go(f);
	finish(&map);
}
END_TEST

START_TEST(dropping_failed_sectors_forgets_their_error)
{
	struct folio *f;

	begin(16 * MIB);
	f = dirty_folio(0, 8);
	folio_begin_writeback(f, 1);
	folio_clear_dirty(f, 0, 8);
	folio_end_writeback(f, 0, 8, -ENOSPC);
	ck_assert_int_eq(map.error, -ENOSPC);
	ck_assert_uint_eq(throttle_error_sectors(), 8);
	let_go(f);
	cache_drop(&map, 4, 8);
	ck_assert_uint_eq(map.nr_error, 4);
	ck_assert_int_eq(map.error, -ENOSPC);
	cache_drop(&map, 0, 8);
	ck_assert_int_eq(map.error, 0);
	ck_assert_uint_eq(throttle_error_sectors(), 0);
	ck_assert_uint_eq(cache_dirty_bytes(), 0);
	finish(&map);
}
END_TEST

START_TEST(a_drop_that_covers_a_folio_partly_zeroes_that_part)
{
	struct folio *f;

	begin(16 * MIB);
	f = dirty_folio(0, 8);
	memset(folio_data(f), 'x', folio_bytes(f));
	let_go(f);
	cache_drop(&map, 5, NOWHERE);
	f = cache_find(&map, 7);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(map.nr_dirty, 5);
	ck_assert(folio_range_uptodate(f, 0, 5));
	ck_assert(!folio_range_uptodate(f, 5, 1));
	ck_assert_uint_eq(*sector_data(f, 4), 'x');
	ck_assert_uint_eq(*sector_data(f, 5), 0);
	folio_put(f);
	finish(&map);
}
END_TEST

START_TEST(a_dropped_folio_is_dead_for_those_who_still_hold_it)
{
	struct folio *f;

	begin(16 * MIB);
	f = dirty_folio(0, 8);
	folio_unlock(f);
	cache_drop(&map, 0, 8);
	ck_assert(folio_has(f, FOLIO_DEAD));
	ck_assert_ptr_null(f->mapping);
	ck_assert_ptr_null(cache_find(&map, 0));
	folio_put(f);
	ck_assert_uint_eq(mem_used_bytes(), 0);
	finish(&map);
}
END_TEST

START_TEST(when_a_mapping_became_dirty_is_known_until_it_is_clean)
{
	struct folio *f;
	u64 before = now_ns();

	begin(16 * MIB);
	ck_assert_uint_eq(map.dirtied_ns, 0);
	f = dirty_folio(0, 1);
	ck_assert_uint_ge(map.dirtied_ns, before);
	folio_clear_dirty(f, 0, 8);
	ck_assert_uint_eq(map.dirtied_ns, 0);
	let_go(f);
	finish(&map);
}
END_TEST

START_TEST(what_is_dirty_is_as_old_as_who_wrote_the_rest_says)
{
	struct folio *f;
	u64 since;

	begin(16 * MIB);
	mapping_dirty_since(&map, now_ns());
	ck_assert_uint_eq(map.dirtied_ns, 0);   /* nothing is dirty */
	f = dirty_folio(0, 1);
	since = map.dirtied_ns;
	mapping_dirty_since(&map, since - 1);
	ck_assert_uint_eq(map.dirtied_ns, since);
	mapping_dirty_since(&map, since + 1);
	ck_assert_uint_eq(map.dirtied_ns, since + 1);
	folio_clear_dirty(f, 0, 8);
	let_go(f);
	finish(&map);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state");

	check_add(s, random_sector_state_is_like_the_model_at_every_order);
	check_add(s, only_what_is_missing_is_filled);
	check_add(s, a_poisoned_sector_is_eio_until_it_is_overwritten);
	check_add(s, a_range_in_flight_is_clean_and_still_counts_for_the_limits);
	check_add(s, a_failed_range_is_dirty_again_and_its_error_stays_until_it_is_written);
	check_add(s, dropping_failed_sectors_forgets_their_error);
	check_add(s, a_drop_that_covers_a_folio_partly_zeroes_that_part);
	check_add(s, a_dropped_folio_is_dead_for_those_who_still_hold_it);
	check_add(s, when_a_mapping_became_dirty_is_known_until_it_is_clean);
	check_add(s, what_is_dirty_is_as_old_as_who_wrote_the_rest_says);
	return check_main(s);
}
