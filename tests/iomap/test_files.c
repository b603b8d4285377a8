/*
 * Writeback of several fake files (fakefile.h) in one pipeline, on a real file, so that writes are
 * under way for a while. fakefile.c stops the test if something blocks while they are.
 */
#include "check_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fakefile.h"
#include "stat/stat.h"

#define NR 40u
#define SPACE (FAKE_DISK_SECTORS / NR)  /* of the disk, for each */

static struct blk_dev *dev;
static struct fakefile ff[NR];
static struct iomap_wb wb[NR];
static u8 *model;
static u64 nr_sent, most;               /* writes; most under way at a time */
static u64 bad_from, bad_to;

static u64 ended(void)
{
	u64 n = 0;

	for (unsigned i = 0; i < NR; i++)
		n += ff[i].nr_ioend;
	return n;
}

static int watch(void *arg UNUSED, const struct blk_fault *f)
{
	if (f->op != BLK_FAULT_WRITE)
		return 0;
	if (f->sector < bad_to && f->sector + f->nr > bad_from)
		return -EIO;
	nr_sent++;
	most = MAX(most, nr_sent - MIN(ended(), nr_sent));
	return 0;
}

static void setup(void)
{
	dev = fake_disk(32u << 20);
	blk_fault_set(dev, watch, NULL);
	model = malloc(FAKE_SECTORS * SECTOR_SIZE);
	for (u32 i = 0; i < FAKE_SECTORS * SECTOR_SIZE; i++)
		model[i] = (u8)(i * 2654435761u >> 23);
	for (unsigned i = 0; i < NR; i++) {
		fake_init(&ff[i], dev, 1, false);
		ff[i].next_disk = i * SPACE;
	}
	nr_sent = most = bad_from = bad_to = 0;
}

static void teardown(void)
{
	for (unsigned i = 0; i < NR; i++)
		fake_fini(&ff[i]);
	blk_close(dev);
	cache_fini();
	free(model);
}

static void put(unsigned i, u32 sector, u32 nr)
{
	ck_assert_int_eq(iomap_write(&ff[i].file, (u64)sector * SECTOR_SIZE,
				     model + (u64)sector * SECTOR_SIZE, (u64)nr * SECTOR_SIZE),
			 (ssize_t)(nr * SECTOR_SIZE));
}

static void compare(unsigned i, u32 sector, u32 nr)
{
	static u8 back[64 * SECTOR_SIZE];

	cache_drop_clean(&ff[i].file.mapping, 0, UINT64_MAX);
	ck_assert_int_eq(iomap_read(&ff[i].file, (u64)sector * SECTOR_SIZE, back,
				    (u64)nr * SECTOR_SIZE, NULL), (ssize_t)(nr * SECTOR_SIZE));
	ck_assert_int_eq(memcmp(back, model + (u64)sector * SECTOR_SIZE, nr * SECTOR_SIZE), 0);
}

static void write_all(u64 nr_max)
{
	for (unsigned i = 0; i < NR; i++)
		wb[i] = (struct iomap_wb){ .f = &ff[i].file, .end = INT64_MAX, .nr_max = nr_max };
	iomap_writeback_files(wb, NR, IOMAP_WB_WAIT);
}

START_TEST(small_files_are_under_way_together)
{
	setup();
	for (unsigned i = 0; i < NR; i++)
		put(i, 0, 1);
	write_all(0);
	ck_assert_uint_eq(nr_sent, NR);
	if (!strcmp(blk_backend(dev), "uring"))
		ck_assert_uint_eq(most, NR);
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_int_eq(wb[i].error, 0);
		ck_assert_uint_ge(wb[i].next, INT64_MAX);
		ck_assert_uint_eq(ff[i].file.mapping.nr_dirty, 0);
		compare(i, 0, 1);
	}
	teardown();
}
END_TEST

START_TEST(files_that_are_neighbours_on_the_disk_are_never_mixed)
{
	setup();
	/* The second goes on where the first ends, in the file and on the disk. */
	ff[1].next_disk = 4;
	put(0, 0, 4);
	put(1, 4, 4);
	write_all(0);
	ck_assert_uint_eq(ff[1].disk[4], 4);
	ck_assert_uint_eq(nr_sent, 2);
	compare(0, 0, 4);
	compare(1, 4, 4);
	teardown();
}
END_TEST

START_TEST(an_error_stays_with_its_file)
{
	setup();
	for (unsigned i = 0; i < NR; i++)
		put(i, 0, 3);
	bad_from = 7 * SPACE + 1;
	bad_to = bad_from + 1;
	write_all(0);
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_int_eq(wb[i].error, i == 7 ? -EIO : 0);
		ck_assert_uint_eq(ff[i].file.mapping.nr_dirty, i == 7 ? 1 : 0);
	}
	bad_to = 0;
	write_all(0);
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_int_eq(wb[i].error, 0);
		compare(i, 0, 3);
	}
	teardown();
}
END_TEST

START_TEST(overwrites_of_many_files_are_announced_together)
{
	u64 announced = 0, calls = 0;

	setup();
	for (unsigned i = 0; i < NR; i++)
		put(i, 0, 2);
	write_all(0);
	for (unsigned i = 0; i < NR; i++)
		put(i, 0, 2);
	write_all(0);
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_int_eq(wb[i].error, 0);
		announced += ff[i].nr_announced;
		calls += ff[i].nr_announce;
		compare(i, 0, 2);
	}
	ck_assert_uint_eq(announced, 2 * NR);
	ck_assert_uint_eq(calls, 1);
	teardown();
}
END_TEST

/* The first is written in part, the others whole. */
START_TEST(each_file_has_its_limit_and_its_place_to_go_on)
{
	setup();
	put(0, 0, 40);
	for (unsigned i = 1; i < NR; i++)
		put(i, 0, 4);
	for (u64 at = 0; wb[0].next < INT64_MAX; at++) {
		ck_assert_uint_lt(at, 8);
		write_all(8);
	}
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_uint_ge(wb[i].next, INT64_MAX);
		ck_assert_uint_eq(ff[i].file.mapping.nr_dirty, 0);
		compare(i, 0, i ? 4 : 40);
	}
	teardown();
}
END_TEST

/* Their contents go by a handle of the journal, which may wait: fakefile.c would stop the test. */
START_TEST(inline_files_between_others_wait_until_nothing_is_under_way)
{
	setup();
	for (unsigned i = 0; i < NR; i++) {
		ff[i].inl = i % 2;
		if (ff[i].inl)
			ck_assert_int_eq(iomap_write(&ff[i].file, 0, model, 100), 100);
		else
			put(i, 0, 1);
	}
	write_all(0);
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_int_eq(wb[i].error, 0);
		ck_assert_uint_eq(ff[i].file.mapping.nr_dirty, 0);
		if (ff[i].inl)
			ck_assert_int_eq(memcmp(ff[i].inline_data, model, 100), 0);
		else
			compare(i, 0, 1);
	}
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("files");

	log_set_level(LOG_LEVEL_ERR);
	check_add(s, small_files_are_under_way_together);
	check_add(s, files_that_are_neighbours_on_the_disk_are_never_mixed);
	check_add(s, an_error_stays_with_its_file);
	check_add(s, overwrites_of_many_files_are_announced_together);
	check_add(s, each_file_has_its_limit_and_its_place_to_go_on);
	check_add(s, inline_files_between_others_wait_until_nothing_is_under_way);
	return check_main(s);
}
