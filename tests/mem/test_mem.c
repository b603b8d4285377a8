/*
 * The folio allocator against a model: one owner number for each frame. Random allocations and
 * frees of all orders, printed seed (MEM_SEED repeats one).
 */
#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "base/time.h"
#include "check_main.h"
#include "mem/freemap.h"
#include "mem/mem.h"

#define MIB (1ull << 20)

static u64 rng;

static u64 rnd(u64 n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

static void seed(void)
{
	const char *text = getenv("MEM_SEED");

	rng = text ? strtoull(text, NULL, 0) : now_ns() | 1;
	printf("MEM_SEED=%llu\n", (unsigned long long)rng);
}

static void start(u64 bytes, unsigned max_order)
{
	struct mem_config cfg = { .bytes = bytes, .max_order = max_order };

	ck_assert_int_eq(mem_init(&cfg), 0);
}

static void drop(struct folio *f)
{
	f->refs = 0;
	mem_free(f);
}

/* ---- model ---- */

#define MODEL_MAX 4096

/* ck_assert() costs a write to a file each time: too much for every frame. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ck_abort_msg("%s", #cond);                                                 \
	} while (0)

static struct folio *owner[MODEL_MAX];     /* by frame */
static struct folio *held[MODEL_MAX];
static u32 nr_held;

static void model_add(struct folio *f, unsigned order)
{
	ck_assert_uint_eq(f->order, order);
	ck_assert_uint_eq(f->refs, 1);
	ck_assert_uint_eq(f->frame % (1u << order), 0);
	for (u32 i = 0; i < 1u << order; i++) {
		CHECK(owner[f->frame + i] == NULL);
		owner[f->frame + i] = f;
	}
	memset(folio_data(f), (int)f->frame, folio_bytes(f));
	held[nr_held++] = f;
}

static void model_remove(u32 which)
{
	struct folio *f = held[which];
	u8 *data = folio_data(f);

	for (u64 i = 0; i < folio_bytes(f); i += 509)
		CHECK(data[i] == (u8)f->frame);
	for (u32 i = 0; i < folio_sectors(f); i++)
		owner[f->frame + i] = NULL;
	held[which] = held[--nr_held];
	drop(f);
}

static void model_check(void)
{
	u32 used = 0;

	for (u32 i = 0; i < mem_nr_frames(); i++) {
		CHECK(mem_folio_at(i) == owner[i]);
		used += owner[i] != NULL;
	}
	ck_assert_uint_eq(mem_used_bytes(), (u64)used << SECTOR_SHIFT);
}

START_TEST(random_folios_never_overlap_and_every_frame_leads_to_its_folio)
{
	seed();
	start(MODEL_MAX * (u64)SECTOR_SIZE, 9);
	for (int step = 0; step < 20000; step++) {
		unsigned order = (unsigned)rnd(10);
		struct folio *f;

		if (nr_held && rnd(100) < (step / 4000 % 2 ? 60 : 40)) {
			model_remove((u32)rnd(nr_held));
			continue;
		}
		f = mem_alloc(order, rnd(2) ? MEM_RESERVE : 0);
		if (f)
			model_add(f, order);
		if (step % 500 == 0)
			model_check();
	}
	while (nr_held)
		model_remove(0);
	model_check();
	mem_fini();
}
END_TEST

START_TEST(freed_neighbours_merge_to_the_largest_block_again)
{
	struct folio *f[512], *big;

	start(2 * MIB, 9);
	for (int i = 0; i < 512; i++) {
		f[i] = mem_alloc(0, MEM_RESERVE);
		ck_assert_ptr_nonnull(f[i]);
	}
	ck_assert_ptr_null(mem_alloc(0, MEM_RESERVE));
	for (int i = 0; i < 512; i++)
		drop(f[(i * 37) % 512]);
	big = mem_alloc(9, MEM_RESERVE);
	ck_assert_ptr_nonnull(big);
	drop(big);
	mem_fini();
}
END_TEST

START_TEST(the_lowest_addresses_are_used_first)
{
	struct folio *f[64];

	start(16 * MIB, 0xff);
	for (u32 i = 0; i < 64; i++) {
		f[i] = mem_alloc(0, 0);
		ck_assert_uint_eq(f[i]->frame, i);
	}
	drop(f[7]);
	drop(f[40]);
	f[7] = mem_alloc(0, 0);
	ck_assert_uint_eq(f[7]->frame, 7);
	f[40] = mem_alloc(0, 0);
	for (u32 i = 0; i < 64; i++)
		drop(f[i]);
	mem_fini();
}
END_TEST

START_TEST(the_reserve_serves_nodes_when_everything_else_is_taken_in_single_frames)
{
	struct folio *held_list[4096];
	u32 nr = 0, nodes = 0;

	start(16 * MIB, 0xff);
	while ((held_list[nr] = mem_alloc(0, 0)))
		nr++;
	ck_assert_uint_eq(mem_free_bytes(), mem_reserve_bytes());
	while ((held_list[nr] = mem_alloc(2, MEM_RESERVE))) {
		nr++;
		nodes++;
	}
	ck_assert_uint_eq(nodes * (u64)NODE_SIZE, mem_reserve_bytes());
	ck_assert_uint_eq(mem_free_bytes(), 0);
	while (nr)
		drop(held_list[--nr]);
	mem_fini();
}
END_TEST

START_TEST(the_largest_folio_is_at_most_a_64th_of_the_budget)
{
	static const struct {
		u64 bytes;
		unsigned order;
	} want[] = { { 1 * MIB, 2 }, { 16 * MIB, 6 }, { 17 * MIB, 6 }, { 64 * MIB, 8 },
		     { 128 * MIB, 9 }, { 1024 * MIB, 9 } };

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		start(want[i].bytes, 0xff);
		ck_assert_uint_eq(mem_max_order(), want[i].order);
		mem_fini();
	}
}
END_TEST

START_TEST(a_budget_that_is_no_power_of_two_is_used_to_the_last_frame)
{
	struct folio *f[700];
	u32 nr = 0;

	start(2 * MIB + 37 * SECTOR_SIZE + 100, 9);
	ck_assert_uint_eq(mem_nr_frames(), 512 + 37);
	while ((f[nr] = mem_alloc(0, MEM_RESERVE)))
		nr++;
	ck_assert_uint_eq(nr, 512 + 37);
	while (nr)
		drop(f[--nr]);
	mem_fini();
}
END_TEST

START_TEST(senseless_configurations_are_refused)
{
	ck_assert_int_eq(mem_init(&(struct mem_config){ .bytes = 1000, .max_order = 0xff }),
			 -EINVAL);
	ck_assert_int_eq(mem_init(&(struct mem_config){ .bytes = MIB, .max_order = 10 }), -EINVAL);
	ck_assert_int_eq(mem_init(&(struct mem_config){ .bytes = MIB, .reserve_bytes = MIB,
							.max_order = 0xff }), -EINVAL);
	ck_assert_int_eq(mem_init(&(struct mem_config){ .bytes = LIMIT_CACHE_MAX + SECTOR_SIZE,
							.max_order = 0xff }), -EINVAL);
}
END_TEST

START_TEST(descriptors_and_frame_words_cost_less_than_4_mib_per_gib_at_64_kib)
{
	static struct folio *f[16384];
	u32 nr = 0;

	start(1024 * MIB, 0xff);
	while (nr < ARRAY_LEN(f) && (f[nr] = mem_alloc(4, MEM_RESERVE)))
		nr++;
	ck_assert_uint_eq(nr, 16384);
	ck_assert_uint_lt(mem_overhead_bytes(), 4 * MIB);
	while (nr)
		drop(f[--nr]);
	mem_fini();
}
END_TEST

START_TEST(a_freemap_finds_its_lowest_member)
{
	static u8 member[70000];
	struct freemap fm;

	seed();
	ck_assert_int_eq(freemap_init(&fm, 70000), 0);
	for (int step = 0; step < 100000; step++) {
		u32 n = (u32)rnd(step % 3 ? 70000 : 300), low = 0;

		if (member[n])
			freemap_clear(&fm, n);
		else
			freemap_set(&fm, n);
		member[n] = !member[n];
		if (step % 100 || !fm.count)
			continue;
		while (!member[low])
			low++;
		ck_assert_uint_eq(freemap_first(&fm), low);
	}
	ck_assert(!freemap_test(&fm, 70000));
	freemap_fini(&fm);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mem");

	check_add(s, random_folios_never_overlap_and_every_frame_leads_to_its_folio);
	check_add(s, freed_neighbours_merge_to_the_largest_block_again);
	check_add(s, the_lowest_addresses_are_used_first);
	check_add(s, the_reserve_serves_nodes_when_everything_else_is_taken_in_single_frames);
	check_add(s, the_largest_folio_is_at_most_a_64th_of_the_budget);
	check_add(s, a_budget_that_is_no_power_of_two_is_used_to_the_last_frame);
	check_add(s, senseless_configurations_are_refused);
	check_add(s, descriptors_and_frame_words_cost_less_than_4_mib_per_gib_at_64_kib);
	check_add(s, a_freemap_finds_its_lowest_member);
	return check_main(s);
}
