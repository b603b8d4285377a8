/*
 * Goal: each single bit that is flipped anywhere in an image is reported, or it is provably
 * harmless; none crashes; a flip in a data sector costs that sector and nothing else.
 * Method: an independent walk over the structures says which bytes anything depends on. A flip
 * there must be reported by a full check, one elsewhere must not. That the rest is harmless is
 * proved at once: all of it is filled with noise, and everything reads as before.
 *
 * FOLIOFS_FLIPS=1000000 FOLIOFS_SEED=7 image_test_flips is the long run.
 */
#include "check_main.h"

#include <string.h>

#include "../format/bits.h"
#include "base/bitmap.h"
#include "base/log.h"
#include "base/time.h"
#include "check/check.h"
#include "sample.h"

#define FLIPS_DEFAULT 20000u
#define UNITS (SECTOR_SIZE / 512)       /* parts of a sector that are needed or not */

static struct sample tiny, dirty;
static u64 flips, seed;
static u64 *needed;             /* a bit for each 512 bytes */
static u32 *list;               /* the needed units */
static u32 nr_list;

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

/* ---- which bytes count ---- */

static void need(u64 sector, u32 nr)
{
	bitmap_set_range(needed, sector * UNITS, (size_t)nr * UNITS);
}

static void need_nodes(struct sample *s)
{
	u64 addr;

	for (int t = 0; t < FMT_NR_TREES; t++)
		for (u32 level = 0; level < FMT_HEIGHT_MAX; level++)
			for (u32 i = 0; (addr = sample_node(s, (enum fmt_tree)t, level, i)); i++)
				need(addr, NODE_SECTORS);
}

static void need_map(struct sample *s, u32 index)
{
	u64 addr = fmt_map_sector(&s->geo, 0) + index;
	struct fmt_map *m = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	need(addr, 1);
	sample_get(s, addr, 1, m);
	for (u32 i = 0; i < FMT_MAP_PER_SECTOR; i++)
		if (get32(m->entry[i]) >= FMT_MAP_CSUM_MIN)
			need((u64)index * FMT_MAP_PER_SECTOR + i, 1);
	free(m);
}

static void need_space(struct sample *s)
{
	struct fmt_gtable *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	sample_get(s, s->geo.gtable_sector, 1, t);
	for (u32 i = 0; i < s->geo.bitmap_nr; i++)
		if (get64(t->g[0].bitmap_init) >> i & 1)
			need(fmt_bitmap_sector(&s->geo, 0) + i, 1);
	for (u32 i = 0; i < s->geo.map_nr; i++)
		if (get64(t->g[0].map_init[i / 64]) >> (i % 64) & 1)
			need_map(s, i);
	free(t);
}

static void find_needed(struct sample *s)
{
	size_t units = s->geo.nr_sectors * UNITS;

	needed = calloc(BITMAP_WORDS(units), sizeof(u64));
	list = calloc(units, sizeof(*list));
	bitmap_set(needed, FMT_SUPER_OFFSET / 512);
	need(s->geo.root_sector, 1);
	need(s->geo.gtable_sector, s->geo.gtable_nr);
	need(s->geo.jnl_sector, 2);
	need_nodes(s);
	need_space(s);
	for (size_t u = 0; u < units; u++)
		if (bitmap_test(needed, u))
			list[nr_list++] = (u32)u;
}

static void setup(void)
{
	const char *n = getenv("FOLIOFS_FLIPS"), *from = getenv("FOLIOFS_SEED");

	log_set_sink(no_log, NULL);
	flips = n ? strtoull(n, NULL, 0) : FLIPS_DEFAULT;
	seed = from ? strtoull(from, NULL, 0) : (u64)now_real().tv_nsec;
	printf("%llu flips, FOLIOFS_SEED=%llu\n", (unsigned long long)flips,
	       (unsigned long long)seed);
	fflush(stdout);
	sample_init(&tiny, SAMPLE_TINY);
	sample_init(&dirty, SAMPLE_TINY);
	sample_make_dirty(&dirty);
	find_needed(&tiny);
}

static void teardown(void)
{
	sample_fini(&tiny);
	sample_fini(&dirty);
	free(list);
	free(needed);
}

/* ---- flips ---- */

static struct check_result checked(struct sample *s, u64 unit, u32 bit)
{
	struct check_opts o = { .data = true };
	struct check_result res;
	int r = check_run(s->dev, &o, &res);

	ck_assert_msg(r == 0, "sector %llu, byte %llu, bit %u: %d, FOLIOFS_SEED=%llu",
		      (unsigned long long)(unit / UNITS),
		      (unsigned long long)(unit % UNITS * 512 + bit / 8), bit % 8, r,
		      (unsigned long long)seed);
	return res;
}

static void one_flip(u64 unit, u32 bit, u64 *reported, u64 *data)
{
	u32 in_sector = (u32)(unit % UNITS * 4096 + bit);
	struct check_result res;

	sample_flip(&tiny, unit / UNITS, in_sector);
	res = checked(&tiny, unit, bit);
	ck_assert_msg((res.problems > 0) == bitmap_test(needed, unit),
		      "sector %llu, bit %u: %llu problems, FOLIOFS_SEED=%llu",
		      (unsigned long long)(unit / UNITS), in_sector,
		      (unsigned long long)res.problems, (unsigned long long)seed);
	*reported += res.problems > 0;
	if (res.by_code[CHECK_DATA]) {
		ck_assert_uint_eq(res.problems, 1);
		*data += 1;
	}
	sample_flip(&tiny, unit / UNITS, in_sector);
}

START_TEST(a_flipped_bit_is_reported_or_nothing_depends_on_it)
{
	u64 state = seed, reported = 0, data = 0, begin = now_ns();
	u64 units = tiny.geo.nr_sectors * UNITS;

	for (u64 i = 0; i < flips; i++) {
		/* Half of them where it counts. */
		u64 unit = i % 2 ? list[next_random(&state) % nr_list]
				 : next_random(&state) % units;

		one_flip(unit, (u32)(next_random(&state) % 4096), &reported, &data);
	}
	printf("%llu flips: %llu reported, of them %llu in data; %llu where nothing depends on it; "
	       "%llu us a flip\n", (unsigned long long)flips, (unsigned long long)reported,
	       (unsigned long long)data, (unsigned long long)(flips - reported),
	       (unsigned long long)((now_ns() - begin) / 1000 / MAX(flips, (u64)1)));
	fflush(stdout);
}
END_TEST

START_TEST(every_bit_of_the_superblock_and_its_copy_is_reported)
{
	u64 reported = 0, data = 0;

	for (u32 bit = 0; bit < 4096; bit++) {
		one_flip(FMT_SUPER_OFFSET / 512, bit, &reported, &data);
		one_flip(tiny.geo.root_sector * UNITS + UNITS - 1, bit, &reported, &data);
	}
	ck_assert_uint_eq(reported, 2 * 4096);
}
END_TEST

START_TEST(what_nothing_depends_on_may_be_noise)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u64 state = seed;
	struct seen_all after;
	u32 gone, different;

	for (u64 u = 0; u < tiny.geo.nr_sectors * UNITS; u++) {
		if (bitmap_test(needed, u))
			continue;
		sample_get(&tiny, u / UNITS, 1, buf);
		for (u32 i = 0; i < 512; i += 8) {
			u64 noise = next_random(&state);

			memcpy(buf + u % UNITS * 512 + i, &noise, 8);
		}
		sample_put(&tiny, u / UNITS, 1, buf);
	}
	free(buf);
	ck_assert_uint_eq(checked(&tiny, 0, 0).problems, 0);
	seen_read(tiny.dev, &after);
	seen_compare(&tiny.seen, &after, &gone, &different);
	ck_assert_uint_eq(gone + different, 0);
	ck_assert_uint_eq(after.nr, tiny.seen.nr);
	seen_free(&after);
}
END_TEST

/* ---- with a log to replay ---- */

/* The live log: where its transactions begin; the last entry is its end. */
static u32 live_log(struct sample *s, u64 *at, u32 max)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, 2 * SECTOR_SIZE);
	struct fmt_txn *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	const struct fmt_jnl_head *head;
	u64 ring = s->geo.jnl_sector + 2, pos, seq;
	u32 nr = 0;

	sample_get(s, s->geo.jnl_sector, 2, h);
	head = &h[get64(h[1].serial) > get64(h[0].serial)];
	pos = get64(head->tail);
	for (seq = get64(head->tail_seq); nr < max; seq++) {
		at[nr++] = ring + pos;
		sample_get(s, ring + pos, 1, t);
		if (get32(t->magic) != FMT_TXN_MAGIC || get64(t->seq) != seq ||
		    get64(t->epoch) != get64(head->epoch))
			break;
		pos += get64(t->len) / SECTOR_SIZE;
	}
	free(t);
	free(h);
	return nr;
}

START_TEST(a_flipped_bit_in_the_log_is_reported_but_in_its_last_transaction)
{
	u64 at[64], state = seed, reported = 0, nr_flips = MAX(flips / 40, (u64)50);
	u32 nr = live_log(&dirty, at, ARRAY_LEN(at));
	u64 last;

	ck_assert_uint_ge(nr, 4);
	last = at[nr - 2];
	for (u64 i = 0; i < nr_flips; i++) {
		u64 sector = at[0] + next_random(&state) % (last - at[0]);
		u32 bit = (u32)(next_random(&state) % (SECTOR_SIZE * 8));

		sample_flip(&dirty, sector, bit);
		ck_assert_msg(checked(&dirty, sector * UNITS, bit).problems > 0,
			      "sector %llu, bit %u, FOLIOFS_SEED=%llu", (unsigned long long)sector,
			      bit, (unsigned long long)seed);
		reported++;
		sample_flip(&dirty, sector, bit);
	}
	ck_assert_uint_eq(checked(&dirty, 0, 0).problems, 0);
	printf("%llu flips in the log: all reported\n", (unsigned long long)reported);
	fflush(stdout);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("flips");
	TCase *tc = tcase_create("flips");

	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, a_flipped_bit_is_reported_or_nothing_depends_on_it);
	tcase_add_test(tc, every_bit_of_the_superblock_and_its_copy_is_reported);
	tcase_add_test(tc, what_nothing_depends_on_may_be_noise);
	tcase_add_test(tc, a_flipped_bit_in_the_log_is_reported_but_in_its_last_transaction);
	suite_add_tcase(s, tc);
	return check_main(s);
}
