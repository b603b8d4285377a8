/*
 * Readahead of a fake file (fakefile.h) on a real file: how many requests and system calls it
 * takes, and what an error costs.
 */
#include "check_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fakefile.h"
#include "stat/stat.h"

#define SIZE ((u64)FAKE_SECTORS * SECTOR_SIZE)

static struct blk_dev *dev;
static struct fakefile ff;
static u8 *model, *buf;

static u8 *random_bytes(void)
{
	u8 *p = malloc(SIZE);
	u32 x = 77;

	for (u64 i = 0; i < SIZE; i++)
		p[i] = (u8)fake_random(&x);
	return p;
}

/* 8 MiB, written and out of the cache. */
static void setup(bool scatter)
{
	dev = fake_disk(64u << 20);
	fake_init(&ff, dev, 1, scatter);
	model = random_bytes();
	buf = malloc(SIZE);
	ck_assert_int_eq(iomap_write(&ff.file, 0, model, SIZE), (ssize_t)SIZE);
	ck_assert_int_eq(iomap_writeback(&ff.file, 0, UINT64_MAX, IOMAP_WB_WAIT, 0, NULL), 0);
	cache_drop_clean(&ff.file.mapping, 0, UINT64_MAX);
}

static void teardown(void)
{
	ring_shutdown();
	fake_fini(&ff);
	blk_close(dev);
	cache_fini();
	free(model);
	free(buf);
}

struct cost {
	u64 reads, enters;
};

static struct cost cost_now(void)
{
	struct ring_counts c;

	ring_counts_get(&c);
	return (struct cost){ stat_read(STAT_READ_IOS_DATA), c.enters };
}

/* The whole file in pieces. */
static struct cost read_all(u64 piece)
{
	struct readahead ra = { 0 };
	struct cost before = cost_now(), after;

	for (u64 at = 0; at < SIZE; at += piece)
		ck_assert_int_eq(iomap_read(&ff.file, at, buf + at, piece, &ra), (ssize_t)piece);
	ck_assert_int_eq(memcmp(buf, model, SIZE), 0);
	/* Whatever is still under way is counted, too. */
	ring_shutdown();
	after = cost_now();
	return (struct cost){ after.reads - before.reads, after.enters - before.enters };
}

START_TEST(a_window_is_one_request_and_one_system_call)
{
	static const u64 piece[] = { 1u << 20, 128u << 10, 4096 };
	struct cost c;

	setup(false);
	c = read_all(piece[_i]);
	/*
	 * The first read, windows that double, then steps of 2 MiB. Each is few requests of up to
	 * BLK_MAX_IO_SECTORS, which may be cut at a folio; and one call to send them and, for
	 * those that readers wait for, one to wait.
	 */
	ck_assert_uint_le(c.reads, 12);
	if (!strcmp(blk_backend(dev), "uring"))
		ck_assert_uint_le(c.enters, 16);
	teardown();
}
END_TEST

START_TEST(what_is_scattered_on_the_disk_is_sent_together)
{
	struct cost c;

	setup(true);
	c = read_all(1u << 20);
	ck_assert_uint_ge(c.reads, FAKE_SECTORS / 2);
	/* A list of 64 at a time, and the waits in between. */
	if (!strcmp(blk_backend(dev), "uring"))
		ck_assert_uint_le(c.enters, c.reads / 2);
	teardown();
}
END_TEST

static u64 bad;

static int fail_bad(void *arg UNUSED, const struct blk_fault *f)
{
	return f->op == BLK_FAULT_READ && f->sector <= bad && bad < f->sector + f->nr ? -EIO : 0;
}

START_TEST(a_sector_that_fails_in_a_window_costs_only_itself)
{
	struct readahead ra = { 0 };
	u32 nr_bad = 0;

	setup(false);
	bad = ff.disk[300];
	blk_fault_set(dev, fail_bad, NULL);
	for (u32 i = 0; i < FAKE_SECTORS; i++) {
		ssize_t n = iomap_read(&ff.file, (u64)i * SECTOR_SIZE, buf, SECTOR_SIZE, &ra);

		if (n == -EIO) {
			ck_assert_uint_eq(i, 300);
			nr_bad++;
			continue;
		}
		ck_assert_int_eq(n, SECTOR_SIZE);
		ck_assert_int_eq(memcmp(buf, model + (u64)i * SECTOR_SIZE, SECTOR_SIZE), 0);
	}
	ck_assert_uint_eq(nr_bad, 1);
	ring_shutdown();
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(iomap_read(&ff.file, 300 * SECTOR_SIZE, buf, SECTOR_SIZE, NULL),
			 SECTOR_SIZE);
	teardown();
}
END_TEST

START_TEST(a_sector_that_differs_in_a_window_costs_only_itself)
{
	static u8 sector[SECTOR_SIZE] __attribute__((aligned(SECTOR_SIZE)));
	struct readahead ra = { 0 };

	setup(false);
	ck_assert_int_eq(blk_read(dev, ff.disk[40], sector, 1, BLK_DATA), 0);
	sector[9] ^= 1;
	ck_assert_int_eq(blk_write(dev, ff.disk[40], sector, 1, BLK_DATA), 0);
	for (u32 i = 0; i < 128; i++)
		ck_assert_int_eq(iomap_read(&ff.file, (u64)i * SECTOR_SIZE, buf, SECTOR_SIZE, &ra),
				 i == 40 ? -EIO : (int)SECTOR_SIZE);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ahead");
	TCase *tc = tcase_create("windows");

	log_set_level(LOG_LEVEL_ERR);
	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, a_window_is_one_request_and_one_system_call, 0, 3);
	check_add(s, what_is_scattered_on_the_disk_is_sent_together);
	check_add(s, a_sector_that_fails_in_a_window_costs_only_itself);
	check_add(s, a_sector_that_differs_in_a_window_costs_only_itself);
	return check_main(s);
}
