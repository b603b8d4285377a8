/*
 * Crash images: what is flushed is always there, what is not may be, and nothing else ever is.
 * Method: each sector is filled with the number of the event that wrote it, so a sector of an image
 * tells which write it comes from.
 */
#include "blk_test.h"

enum { SECTORS = 256 };

static struct blk_dev *sim;
static struct sim_cutter *cutter;
static u8 *buf;

static void setup(void)
{
	struct sim_opts opts = { .sectors = SECTORS, .record = true, .fua = true };

	ck_assert_int_eq(sim_open(&opts, &sim), 0);
	buf = t_buf(SECTORS);
}

static void teardown(void)
{
	sim_cutter_free(cutter);
	cutter = NULL;
	blk_close(sim);
	free(buf);
}

/*
 * Check's assertions cost a system call or two each, so loops over sectors compare by hand.
 *
 * Every word of the range becomes `stamp`.
 */
static void put(struct blk_dev *dev, u64 sector, u32 nr, u32 stamp)
{
	for (size_t i = 0; i < nr * SECTOR_SIZE / sizeof(u32); i++)
		((u32 *)buf)[i] = stamp;
	ck_assert_int_eq(blk_write(dev, sector, buf, nr, BLK_DATA), 0);
}

/* The stamp of a sector, which must be the same in all of its units. */
static u32 stamp_of(struct blk_dev *dev, u64 sector)
{
	u32 *w = (u32 *)buf;

	ck_assert_int_eq(blk_read(dev, sector, buf, 1, BLK_DATA), 0);
	ck_assert_mem_eq(w, w + 1, SECTOR_SIZE - sizeof(*w));
	return w[0];
}

static struct blk_dev *image(const struct sim_spec *spec)
{
	struct blk_dev *dev = NULL;

	if (!cutter)
		ck_assert_int_eq(sim_cutter_new(sim, &cutter), 0);
	ck_assert_int_eq(sim_image(cutter, spec, false, &dev), 0);
	return dev;
}

START_TEST(events_are_recorded_in_order)
{
	struct sim_event ev;

	put(sim, 3, 2, 1);
	sim_mark(sim, 99);
	ck_assert_int_eq(blk_flush(sim), 0);
	ck_assert_int_eq(blk_discard(sim, 5, 4), 0);
	ck_assert_uint_eq(sim_nr_events(sim), 4);
	ev = sim_event_get(sim, 0);
	ck_assert_int_eq(ev.kind, SIM_WRITE);
	ck_assert_uint_eq(ev.sector, 3);
	ck_assert_uint_eq(ev.nr, 2);
	ck_assert_uint_eq(((const u32 *)ev.data)[100], 1);
	ev = sim_event_get(sim, 1);
	ck_assert_int_eq(ev.kind, SIM_MARK);
	ck_assert_uint_eq(ev.mark, 99);
	ck_assert_int_eq(sim_event_get(sim, 2).kind, SIM_FLUSH);
	ck_assert_int_eq(sim_event_get(sim, 3).kind, SIM_DISCARD);
	ck_assert_uint_eq(sim_last_flush(sim, 2), 0);
	ck_assert_uint_eq(sim_last_flush(sim, 4), 3);
	ck_assert_uint_eq(sim_unflushed(sim, 2), 1);
	ck_assert_uint_eq(sim_unflushed(sim, 4), 1);
}
END_TEST

static void put_durable(u64 sector, u32 stamp)
{
	for (size_t i = 0; i < SECTOR_SIZE / sizeof(u32); i++)
		((u32 *)buf)[i] = stamp;
	ck_assert_int_eq(blk_write_durable(sim, sector, buf, 1, BLK_LOG), 0);
}

/* Over what a cached write left there, which then can't come back. */
START_TEST(a_durable_write_is_in_every_image_from_its_end_on)
{
	put(sim, 7, 1, 1);
	put_durable(7, 2);
	put(sim, 9, 1, 3);
	ck_assert_uint_eq(sim_unflushed(sim, 3), 2);
	for (u64 seed = 1; seed <= 200; seed++) {
		struct sim_spec spec = { .events = 2 + seed % 2, .cut = SIM_RANDOM, .seed = seed,
					 .tear = 512, .permute = true };
		struct blk_dev *dev = image(&spec);

		ck_assert_uint_eq(stamp_of(dev, 7), 2);
		blk_close(dev);
	}
}
END_TEST

/* 512-byte units of a sector that have this stamp. */
static u32 units_of(struct blk_dev *dev, u64 sector, u32 stamp)
{
	u32 nr = 0;

	ck_assert_int_eq(blk_read(dev, sector, buf, 1, BLK_DATA), 0);
	for (u32 off = 0; off < SECTOR_SIZE; off += 512)
		nr += *(u32 *)(buf + off) == stamp;
	return nr;
}

START_TEST(a_durable_write_that_is_under_way_may_be_there_in_part)
{
	bool old = false, new = false, torn = false;

	put(sim, 7, 1, 1);
	ck_assert_int_eq(blk_flush(sim), 0);
	put_durable(7, 2);
	for (u64 seed = 1; seed <= 200; seed++) {
		struct sim_spec spec = { .events = 2, .seed = seed, .tear = 512,
					 .cut = seed % 2 ? SIM_RANDOM : SIM_PREFIX };
		struct blk_dev *dev = image(&spec);
		u32 nr = units_of(dev, 7, 2);

		old |= nr == 0;
		new |= nr == 8;
		torn |= nr > 0 && nr < 8;
		blk_close(dev);
	}
	ck_assert(old && new && torn);
}
END_TEST

/* A random stream and, for each prefix, the content by a plain model. */
START_TEST(a_prefix_image_is_the_state_after_those_events)
{
	u32 model[SECTORS] = { 0 };
	u64 rnd = 5;

	for (u32 n = 1; n <= 200; n++) {
		u64 dice = t_random(&rnd);

		if (dice % 10 == 0)
			ck_assert_int_eq(blk_flush(sim), 0);
		else
			put(sim, dice / 16 % (SECTORS - 4), 1 + (u32)(dice >> 32) % 4, n);
	}
	for (size_t n = 0; n <= 200; n++) {
		struct sim_spec spec = { .events = n, .cut = SIM_PREFIX };
		struct blk_dev *dev = image(&spec);

		if (n) {
			struct sim_event ev = sim_event_get(sim, n - 1);

			for (u64 i = 0; ev.kind == SIM_WRITE && i < ev.nr; i++)
				model[ev.sector + i] = (u32)n;
		}
		ck_assert_int_eq(blk_read(dev, 0, buf, SECTORS, BLK_DATA), 0);
		for (u64 i = 0; i < SECTORS; i++)
			if (*(u32 *)(buf + i * SECTOR_SIZE) != model[i])
				ck_abort_msg("sector %lu after %zu events", i, n);
		blk_close(dev);
	}
}
END_TEST

START_TEST(earlier_images_can_follow_later_ones)
{
	struct sim_spec all = { .events = 4 }, two = { .events = 2 };
	struct blk_dev *dev;

	put(sim, 1, 1, 1);
	blk_flush(sim);
	put(sim, 1, 1, 2);
	blk_flush(sim);
	dev = image(&all);
	ck_assert_uint_eq(stamp_of(dev, 1), 2);
	blk_close(dev);
	dev = image(&two);
	ck_assert_uint_eq(stamp_of(dev, 1), 1);
	blk_close(dev);
}
END_TEST

START_TEST(random_images_keep_all_that_is_flushed_and_some_of_the_rest)
{
	unsigned lost = 0, kept = 0;

	for (u32 i = 0; i < 32; i++)
		put(sim, i, 1, 100 + i);
	blk_flush(sim);
	for (u32 i = 0; i < 64; i++)
		put(sim, i, 1, 200 + i);
	for (u64 seed = 0; seed < 500; seed++) {
		struct sim_spec spec = { .events = sim_nr_events(sim), .cut = SIM_RANDOM,
					 .seed = seed, .permute = seed & 1 };
		struct blk_dev *dev = image(&spec);

		ck_assert_int_eq(blk_read(dev, 0, buf, 64, BLK_DATA), 0);
		for (u32 i = 0; i < 64; i++) {
			u32 got = *(u32 *)(buf + i * SECTOR_SIZE);

			if (got != 200 + i && got != (i < 32 ? 100 + i : 0))
				ck_abort_msg("sector %u holds %u", i, got);
			got == 200 + i ? kept++ : lost++;
		}
		blk_close(dev);
	}
	ck_assert_uint_gt(kept, 5000);
	ck_assert_uint_gt(lost, 5000);
}
END_TEST

START_TEST(a_flush_after_the_crash_point_covers_nothing)
{
	bool seen_lost = false;

	put(sim, 0, 1, 1);
	blk_flush(sim);
	for (u64 seed = 0; seed < 50; seed++) {
		struct sim_spec spec = { .events = 1, .cut = SIM_RANDOM, .seed = seed };
		struct blk_dev *dev = image(&spec);

		seen_lost |= stamp_of(dev, 0) == 0;
		blk_close(dev);
	}
	ck_assert(seen_lost);
}
END_TEST

START_TEST(subsets_are_exact)
{
	for (u32 i = 0; i < 5; i++)
		put(sim, i, 1, i + 1);
	for (u64 subset = 0; subset < 32; subset++) {
		struct sim_spec spec = { .events = 5, .cut = SIM_SUBSET, .subset = subset };
		struct blk_dev *dev = image(&spec);

		for (u32 i = 0; i < 5; i++)
			ck_assert_uint_eq(stamp_of(dev, i), subset >> i & 1 ? i + 1 : 0);
		blk_close(dev);
	}
}
END_TEST

START_TEST(overlapping_writes_may_change_places_only_if_asked)
{
	bool swapped[2] = { false, false };

	put(sim, 0, 1, 1);
	put(sim, 0, 1, 2);
	for (u64 seed = 0; seed < 200; seed++) {
		struct sim_spec spec = { .events = 2, .cut = SIM_SUBSET, .subset = 3,
					 .seed = seed, .permute = seed & 1 };
		struct blk_dev *dev = image(&spec);

		swapped[seed & 1] |= stamp_of(dev, 0) == 1;
		blk_close(dev);
	}
	ck_assert(!swapped[0]);
	ck_assert(swapped[1]);
}
END_TEST

/* Counts what units of `unit` bytes hold; every unit must be whole. */
static void count_units(struct blk_dev *dev, u32 nr, u32 unit, unsigned *old, unsigned *new)
{
	ck_assert_int_eq(blk_read(dev, 0, buf, nr, BLK_DATA), 0);
	for (size_t off = 0; off < nr * (size_t)SECTOR_SIZE; off += unit) {
		u32 first = *(u32 *)(buf + off);

		if (memcmp(buf + off, buf + off + sizeof(u32), unit - sizeof(u32)) ||
		    first < 1 || first > 2)
			ck_abort_msg("unit at %zu is torn", off);
		*(first == 1 ? old : new) += 1;
	}
}

START_TEST(torn_writes_are_torn_in_whole_units)
{
	u32 unit = _i ? 512 : SECTOR_SIZE;
	unsigned mixed_sectors = 0, torn = 0;

	put(sim, 0, 8, 1);
	blk_flush(sim);
	put(sim, 0, 8, 2);
	for (u64 seed = 0; seed < 300; seed++) {
		struct sim_spec spec = { .events = 3, .cut = SIM_PREFIX, .seed = seed,
					 .tear = unit };
		struct blk_dev *dev = image(&spec);
		unsigned old = 0, new = 0;

		count_units(dev, 8, unit, &old, &new);
		torn += old && new;
		for (u32 s = 0; s < 8; s++)
			mixed_sectors += !!memcmp(buf + s * SECTOR_SIZE,
						  buf + s * SECTOR_SIZE + 512,
						  SECTOR_SIZE - 512);
		blk_close(dev);
	}
	ck_assert_uint_gt(torn, 50);
	if (unit == 512)
		ck_assert_uint_gt(mixed_sectors, 50);
	else
		ck_assert_uint_eq(mixed_sectors, 0);
}
END_TEST

/* Sectors whose units differ: all writes of these tests fill a sector with one stamp. */
static size_t count_mixed(struct blk_dev *dev, u64 *last)
{
	size_t nr = 0;

	for (u64 s = 0; s < SECTORS; s++) {
		ck_assert_int_eq(blk_read(dev, s, buf, 1, BLK_DATA), 0);
		if (!memcmp(buf, buf + sizeof(u32), SECTOR_SIZE - sizeof(u32)))
			continue;
		nr++;
		*last = s;
	}
	return nr;
}

START_TEST(an_image_knows_exactly_its_mixtures)
{
	size_t all = 0;

	put(sim, 0, 8, 1);
	blk_flush(sim);
	put(sim, 0, 8, 2);
	put(sim, 4, 8, 3);
	for (u64 seed = 0; seed < 100; seed++) {
		struct sim_spec spec = { .events = 4, .cut = SIM_RANDOM, .seed = seed,
					 .permute = true, .tear = seed % 4 ? 512 : SECTOR_SIZE };
		struct blk_dev *dev = image(&spec);
		const u64 *mixed;
		size_t nr = sim_mixed(dev, &mixed);
		u64 last = UINT64_MAX;

		ck_assert_uint_eq(nr, count_mixed(dev, &last));
		for (size_t i = 0; i < nr; i++)
			ck_assert(i == 0 || mixed[i - 1] < mixed[i]);
		ck_assert(nr == 0 || mixed[nr - 1] == last);
		ck_assert(nr == 0 || spec.tear == 512);
		all += nr;
		blk_close(dev);
	}
	ck_assert_uint_gt(all, 50);
}
END_TEST

START_TEST(flushed_writes_are_never_torn)
{
	put(sim, 0, 8, 2);
	blk_flush(sim);
	for (u64 seed = 0; seed < 100; seed++) {
		struct sim_spec spec = { .events = 2, .cut = SIM_RANDOM, .seed = seed,
					 .tear = 512, .permute = true };
		struct blk_dev *dev = image(&spec);
		unsigned old = 0, new = 0;

		count_units(dev, 8, 512, &old, &new);
		ck_assert_uint_eq(old, 0);
		blk_close(dev);
	}
}
END_TEST

START_TEST(the_same_spec_gives_the_same_image)
{
	u8 *a = t_buf(SECTORS), *b = t_buf(SECTORS);

	for (u32 i = 0; i < 100; i++)
		put(sim, i * 2, 3, i);
	for (u64 seed = 0; seed < 20; seed++) {
		struct sim_spec spec = { .events = 100, .cut = SIM_RANDOM, .seed = seed,
					 .tear = 512, .permute = true };
		struct blk_dev *one = image(&spec), *two = image(&spec);

		ck_assert_int_eq(blk_read(one, 0, a, SECTORS, BLK_DATA), 0);
		ck_assert_int_eq(blk_read(two, 0, b, SECTORS, BLK_DATA), 0);
		ck_assert_mem_eq(a, b, SECTORS * SECTOR_SIZE);
		blk_close(one);
		blk_close(two);
	}
	free(a);
	free(b);
}
END_TEST

START_TEST(images_can_be_written_without_changing_the_record)
{
	struct sim_spec spec = { .events = 1 };
	struct blk_dev *one, *two;

	put(sim, 0, 4, 1);
	one = image(&spec);
	put(one, 0, 4, 7);
	ck_assert_uint_eq(stamp_of(one, 2), 7);
	two = image(&spec);
	ck_assert_uint_eq(stamp_of(two, 2), 1);
	ck_assert_uint_eq(stamp_of(sim, 2), 1);
	blk_close(one);
	blk_close(two);
}
END_TEST

START_TEST(an_image_can_record_a_second_crash)
{
	struct sim_spec torn = { .events = 3, .cut = SIM_PREFIX, .tear = 512 };
	struct blk_dev *first, *second;
	struct sim_cutter *inner;

	put(sim, 0, 8, 1);
	blk_flush(sim);
	put(sim, 0, 8, 2);
	ck_assert_int_eq(sim_cutter_new(sim, &cutter), 0);
	for (u64 seed = 0; seed < 50; seed++) {
		struct sim_spec none = { .events = 0 }, both = { .events = 2 };
		unsigned old = 0, new = 0, old2 = 0, new2 = 0;

		torn.seed = seed;
		ck_assert_int_eq(sim_image(cutter, &torn, true, &first), 0);
		count_units(first, 8, 512, &old, &new);
		put(first, 0, 4, 1);
		put(first, 4, 4, 2);
		ck_assert_int_eq(sim_cutter_new(first, &inner), 0);
		ck_assert_int_eq(sim_image(inner, &both, false, &second), 0);
		ck_assert_uint_eq(stamp_of(second, 3), 1);
		ck_assert_uint_eq(stamp_of(second, 4), 2);
		blk_close(second);
		ck_assert_int_eq(sim_image(inner, &none, false, &second), 0);
		count_units(second, 8, 512, &old2, &new2);
		ck_assert_uint_eq(old, old2);
		ck_assert_uint_eq(new, new2);
		blk_close(second);
		sim_cutter_free(inner);
		blk_close(first);
	}
}
END_TEST

START_TEST(discarded_sectors_come_back_at_random_until_a_flush)
{
	unsigned zero = 0, old = 0;

	put(sim, 0, 1, 1);
	blk_flush(sim);
	ck_assert_int_eq(blk_discard(sim, 0, 1), 0);
	for (u64 seed = 0; seed < 100; seed++) {
		struct sim_spec spec = { .events = 3, .cut = SIM_RANDOM, .seed = seed };
		struct blk_dev *dev = image(&spec);

		stamp_of(dev, 0) ? old++ : zero++;
		blk_close(dev);
	}
	ck_assert_uint_gt(zero, 10);
	ck_assert_uint_gt(old, 10);
}
END_TEST

START_TEST(twenty_thousand_images_of_64_mib_take_seconds)
{
	struct sim_opts opts = { .sectors = 16384, .record = true };
	struct sim_cutter *c;
	struct blk_dev *big;

	ck_assert_int_eq(sim_open(&opts, &big), 0);
	for (u32 i = 0; i < 2000; i++) {
		put(big, i * 7 % 16000, 4, i);
		if (i % 10 == 9)
			blk_flush(big);
	}
	ck_assert_int_eq(sim_cutter_new(big, &c), 0);
	for (u64 i = 0; i < 20000; i++) {
		struct sim_spec spec = { .events = i * 2200 / 20000, .cut = SIM_RANDOM,
					 .seed = i, .tear = 512, .permute = true };
		struct blk_dev *dev = NULL;

		ck_assert_int_eq(sim_image(c, &spec, false, &dev), 0);
		blk_close(dev);
	}
	sim_cutter_free(c);
	blk_close(big);
}
END_TEST

static TCase *add(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	suite_add_tcase(s, tc);
	return tc;
}

#define ADD(test) tcase_add_test(add(s, #test), test)

int main(void)
{
	Suite *s = suite_create("sim");
	TCase *slow;

	ADD(events_are_recorded_in_order);
	ADD(a_prefix_image_is_the_state_after_those_events);
	ADD(earlier_images_can_follow_later_ones);
	ADD(random_images_keep_all_that_is_flushed_and_some_of_the_rest);
	ADD(a_flush_after_the_crash_point_covers_nothing);
	ADD(a_durable_write_is_in_every_image_from_its_end_on);
	ADD(a_durable_write_that_is_under_way_may_be_there_in_part);
	ADD(subsets_are_exact);
	ADD(overlapping_writes_may_change_places_only_if_asked);
	tcase_add_loop_test(add(s, "torn_writes_are_torn_in_whole_units"),
			    torn_writes_are_torn_in_whole_units, 0, 2);
	ADD(an_image_knows_exactly_its_mixtures);
	ADD(flushed_writes_are_never_torn);
	ADD(the_same_spec_gives_the_same_image);
	ADD(images_can_be_written_without_changing_the_record);
	ADD(an_image_can_record_a_second_crash);
	ADD(discarded_sectors_come_back_at_random_until_a_flush);
	slow = add(s, "twenty_thousand_images_of_64_mib_take_seconds");
	tcase_add_test(slow, twenty_thousand_images_of_64_mib_take_seconds);
	tcase_set_timeout(slow, 60);
	return check_main(s);
}
