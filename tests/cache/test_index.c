/* The radix tree and the mapping operations against a model: which folio covers each sector. */
#include "util.h"

#define SPAN 8192u

static struct mapping map;
static u64 owner[SPAN];  /* index + 1 of the folio that covers the sector, 0 none */
static u8 owner_order[SPAN];
static bool dirty[SPAN]; /* by index of the folio */

static void model_set(struct folio *f, bool there)
{
	for (u32 i = 0; i < folio_sectors(f); i++) {
		u64 s = f->index + i;

		if (s >= SPAN)
			continue;
		CHECK(!there || owner[s] == 0);
		owner[s] = there ? f->index + 1 : 0;
		owner_order[s] = f->order;
	}
	dirty[f->index % SPAN] = false;
}

static bool model_room(u64 base, unsigned order)
{
	for (u64 s = base; s < base + order_sectors(order) && s < SPAN; s++)
		if (owner[s])
			return false;
	return true;
}

/* The order that cache_get() must choose. */
static unsigned model_order(u64 sector, unsigned order)
{
	while (order > 0 &&
	       (!IS_ALIGNED(sector, (u64)order_sectors(order)) || !model_room(sector, order)))
		order--;
	return order;
}

static void do_get(u64 sector, unsigned order)
{
	unsigned want = owner[sector] ? owner_order[sector] : model_order(sector, order);
	bool fresh = owner[sector] == 0;
	struct folio *f;

	CHECK(cache_get(&map, sector, order, 0, &f) == 0);
	CHECK(f->order == want);
	CHECK(f->mapping == &map);
	CHECK(folio_has(f, FOLIO_LOCKED));
	if (fresh) {
		CHECK(f->index == sector);
		CHECK(!folio_range_uptodate(f, 0, 1));
		model_set(f, true);
		folio_mark_uptodate(f, 0, folio_sectors(f));
	}
	CHECK(f->index + 1 == owner[sector]);
	if (rnd(2)) {
		folio_mark_dirty(f, 0, 1);
		dirty[f->index] = true;
	} else {
		folio_clear_dirty(f, 0, folio_sectors(f));
		dirty[f->index] = false;
	}
	folio_unlock(f);
	folio_put(f);
}

static void do_drop(u64 sector)
{
	struct folio *f = cache_find(&map, sector);
	u64 from, to;

	CHECK((f != NULL) == (owner[sector] != 0));
	if (!f)
		return;
	from = f->index;
	to = from + folio_sectors(f);
	model_set(f, false);
	folio_put(f);
	cache_drop(&map, from, to);
}

static void check_next(bool want_dirty)
{
	u64 at = rnd(SPAN), s = at;
	struct folio *f = want_dirty ? cache_next_dirty(&map, &at, SPAN) :
				       cache_next(&map, &at, SPAN);

	while (s < SPAN && (!owner[s] || (want_dirty && !dirty[owner[s] - 1])))
		s++;
	CHECK((f != NULL) == (s < SPAN));
	if (!f)
		return;
	CHECK(f->index + 1 == owner[s]);
	CHECK(at == f->index + folio_sectors(f));
	folio_put(f);
}

static void random_steps(int steps)
{
	for (int i = 0; i < steps; i++) {
		switch (rnd(4)) {
		case 0:
			do_drop(rnd(SPAN));
			break;
		case 1:
			check_next(rnd(2));
			break;
		default:
			do_get(rnd(SPAN), (unsigned)rnd(10));
		}
	}
}

START_TEST(random_folios_of_mixed_orders_are_found_like_in_the_model)
{
	seed();
	start(256 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	random_steps(60000);
	cache_drop(&map, 0, NOWHERE);
	ck_assert_uint_eq(map.nr_sectors, 0);
	ck_assert_uint_eq(map.nr_dirty, 0);
	ck_assert_uint_eq(index_nodes(), 0);
	finish(&map);
}
END_TEST

START_TEST(folios_at_both_ends_of_a_huge_file_are_found)
{
	static const u64 at[] = { 0, 1, 511, 512, 1ull << 20, 1ull << 40, (1ull << 50) - 1 };
	struct folio *f;

	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		ck_assert_int_eq(cache_get(&map, at[i], 0, 0, &f), 0);
		ck_assert_uint_eq(f->index, at[i]);
		folio_unlock(f);
		folio_put(f);
	}
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		f = cache_find(&map, at[i]);
		ck_assert_ptr_nonnull(f);
		ck_assert_uint_eq(f->index, at[i]);
		folio_put(f);
	}
	ck_assert_ptr_null(cache_find(&map, 1ull << 30));
	cache_drop(&map, 1, UINT64_MAX >> SECTOR_SHIFT);
	ck_assert_uint_eq(index_nodes(), 1);
	finish(&map);
}
END_TEST

START_TEST(a_folio_is_naturally_aligned_and_never_overlaps)
{
	struct folio *f;

	start(1024 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	ck_assert_int_eq(cache_get(&map, 3, 9, 0, &f), 0);
	ck_assert_uint_eq(f->order, 0);
	folio_unlock(f);
	folio_put(f);
	ck_assert_int_eq(cache_get(&map, 4, 9, 0, &f), 0);
	ck_assert_uint_eq(f->order, 2);
	folio_unlock(f);
	folio_put(f);
	ck_assert_int_eq(cache_get(&map, 0, 9, 0, &f), 0);
	ck_assert_uint_eq(f->order, 1);
	folio_unlock(f);
	folio_put(f);
	ck_assert_int_eq(cache_get(&map, 512, 9, 0, &f), 0);
	ck_assert_uint_eq(f->order, 9);
	folio_unlock(f);
	folio_put(f);
	finish(&map);
}
END_TEST

START_TEST(exact_gets_its_shape_or_eexist)
{
	struct folio *f, *g;

	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	ck_assert_int_eq(cache_get(&map, 8, 2, CACHE_EXACT, &f), 0);
	ck_assert_uint_eq(f->order, 2);
	folio_unlock(f);
	ck_assert_int_eq(cache_get(&map, 8, 2, CACHE_EXACT, &g), 0);
	ck_assert_ptr_eq(f, g);
	folio_unlock(g);
	folio_put(g);
	ck_assert_int_eq(cache_get(&map, 8, 0, CACHE_EXACT, &g), -EEXIST);
	ck_assert_int_eq(cache_get(&map, 9, 0, CACHE_EXACT, &g), -EEXIST);
	ck_assert_int_eq(cache_get(&map, 8, 3, CACHE_EXACT, &g), -EEXIST);
	ck_assert_int_eq(cache_get(&map, 0, 4, CACHE_EXACT, &g), -EEXIST);
	ck_assert_int_eq(cache_add(&map, 10, 0, 0, &g), -EEXIST);
	folio_put(f);
	finish(&map);
}
END_TEST

START_TEST(nowait_does_not_wait_for_a_lock)
{
	struct folio *f, *g;

	start(16 * MIB);
	mapping_init(&map, &fake_ops, NULL);
	ck_assert_int_eq(cache_get(&map, 8, 0, 0, &f), 0);
	ck_assert_int_eq(cache_get(&map, 8, 0, CACHE_NOWAIT, &g), -EAGAIN);
	folio_unlock(f);
	ck_assert_int_eq(cache_get(&map, 8, 0, CACHE_NOWAIT, &g), 0);
	folio_unlock(g);
	folio_put(g);
	folio_put(f);
	finish(&map);
}
END_TEST

/* Under a sanitizer, which has to follow each, fewer. */
#if defined(__SANITIZE_THREAD__)
#define MANY (1u << 16)
#else
#define MANY (1u << 20)
#endif

START_TEST(a_million_entries_cost_at_most_10_bytes_each)
{
	u64 nr = MANY;
	struct folio *f;

	start(nr * SECTOR_SIZE * 9 / 8);
	mapping_init(&map, &fake_ops, NULL);
	for (u64 i = 0; i < nr; i++) {
		CHECK(cache_get(&map, i, 0, 0, &f) == 0);
		folio_unlock(f);
		folio_put(f);
	}
	printf("index: %.2f bytes an entry\n", (double)index_bytes() / (double)nr);
	ck_assert_uint_le(index_bytes(), nr * 10);
	finish(&map);
}
END_TEST

/* What the cache has outside the arena when 1 GiB is cached in folios of this order. */
static u64 overhead(unsigned order)
{
	u64 nr = 1024 * MIB / SECTOR_SIZE, bytes;
	struct folio *f;

	start(1024 * MIB + 18 * MIB); /* a reserve and a tail stay free */
	mapping_init(&map, &fake_ops, NULL);
	for (u64 at = 0; at < nr; at += order_sectors(order)) {
		CHECK(cache_get(&map, at, order, 0, &f) == 0);
		CHECK(f->order == order);
		folio_unlock(f);
		folio_put(f);
	}
	bytes = cache_overhead_bytes();
	printf("order %u: %.3f MiB for 1 GiB\n", order, (double)bytes / MIB);
	finish(&map);
	return bytes;
}

START_TEST(a_gib_of_64_kib_folios_costs_at_most_4_mib_outside_the_arena)
{
	ck_assert_uint_le(overhead(4), 4 * MIB);
}
END_TEST

START_TEST(a_gib_of_4_kib_folios_costs_at_most_24_mib_outside_the_arena)
{
	ck_assert_uint_le(overhead(0), 24 * MIB);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("index");

	check_add(s, random_folios_of_mixed_orders_are_found_like_in_the_model);
	check_add(s, folios_at_both_ends_of_a_huge_file_are_found);
	check_add(s, a_folio_is_naturally_aligned_and_never_overlaps);
	check_add(s, exact_gets_its_shape_or_eexist);
	check_add(s, nowait_does_not_wait_for_a_lock);
	check_add_slow(s, a_million_entries_cost_at_most_10_bytes_each, 60);
	check_add_slow(s, a_gib_of_4_kib_folios_costs_at_most_24_mib_outside_the_arena, 60);
	check_add(s, a_gib_of_64_kib_folios_costs_at_most_4_mib_outside_the_arena);
	return check_main(s);
}
