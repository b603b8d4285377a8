/*
 * The block log: what it holds is what the device was asked, in an order in which it may have
 * happened, in the format of dm-log-writes; and the simulator makes the same device out of it.
 */
#include "blk_test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/log.h"
#include "blk/dmlog.h"

static char dir[64];
static char image[96], log_path[96];
static struct blk_dev *dev;
static u8 *buf;

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)line, (void)arg;
}

static void setup(void)
{
	struct blk_opts opts = { .fua = BLK_FUA_ON, .size = 256 * SECTOR_SIZE };

	log_set_sink(quiet, NULL);
	snprintf(dir, sizeof(dir), "writelog.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	ck_assert_int_eq(blk_open(image, BLK_RDWR | BLK_CREATE, &opts, &dev), 0);
	buf = t_buf(64);
}

static void teardown(void)
{
	char command[128];

	blk_close(dev);
	free(buf);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void put(u64 sector, u32 nr, u8 value, enum blk_kind kind)
{
	memset(buf, value, nr * (size_t)SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, sector, buf, nr, kind), 0);
}

static u8 *whole(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	u8 *all;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	all = malloc(*len);
	ck_assert_int_eq(read(fd, all, *len), (ssize_t)*len);
	close(fd);
	return all;
}

static void expect(const u8 *unit, u64 sector, u64 nr, u64 flags)
{
	const struct dmlog_entry *e = (const struct dmlog_entry *)unit;

	ck_assert_uint_eq(get64(e->sector), sector);
	ck_assert_uint_eq(get64(e->nr_sectors), nr);
	ck_assert_uint_eq(get64(e->flags), flags);
}

START_TEST(the_file_is_as_dm_log_writes_makes_it)
{
	const struct dmlog_super *s;
	u32 unit = blk_logical_size(dev);
	u64 per = SECTOR_SIZE / unit;
	const u8 *at;
	size_t len;
	u8 *all;

	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
	put(3, 2, 0xaa, BLK_DATA);
	put(9, 1, 0xbb, BLK_META);
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_writelog_mark(dev, "hello"), 0);
	blk_close(dev);
	dev = NULL;
	all = whole(log_path, &len);
	s = (const struct dmlog_super *)all;
	ck_assert_uint_eq(get64(s->magic), DMLOG_MAGIC);
	ck_assert_uint_eq(get64(s->version), 1);
	ck_assert_uint_eq(get64(s->nr_entries), 4);
	ck_assert_uint_eq(get32(s->sectorsize), unit);
	at = all + unit;
	expect(at, 3 * per, 2 * per, 0);
	ck_assert_uint_eq(at[unit], 0xaa);
	at += unit + 2 * SECTOR_SIZE;
	ck_assert_uint_eq(at[-1], 0xaa);
	expect(at, 9 * per, per, DMLOG_METADATA);
	at += unit + SECTOR_SIZE;
	expect(at, 0, 0, DMLOG_FLUSH);
	at += unit;
	expect(at, 0, 0, DMLOG_MARK);
	ck_assert_uint_eq(get64(((const struct dmlog_entry *)at)->data_len), 5);
	ck_assert_mem_eq(at + sizeof(struct dmlog_entry), "hello", 6);
	ck_assert_uint_eq(at + unit - all, len);
	free(all);
}
END_TEST

START_TEST(the_simulator_makes_the_same_device_out_of_image_and_log)
{
	struct blk_dev *sim;
	u64 rnd = 7;
	u8 *a = t_buf(256), *b = t_buf(256);
	char copy[200];

	put(0, 16, 0x11, BLK_DATA);
	ck_assert_int_eq(blk_flush(dev), 0);
	snprintf(copy, sizeof(copy), "cp --sparse=always %s %s/base", image, dir);
	ck_assert_int_eq(system(copy), 0);
	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
	for (u32 n = 0; n < 100; n++) {
		put(t_random(&rnd) % 200, 1 + (u32)(t_random(&rnd) % 32), (u8)n, BLK_DATA);
		if (n % 9 == 0)
			ck_assert_int_eq(blk_flush(dev), 0);
	}
	ck_assert_int_eq(blk_zero(dev, 20, 30, BLK_META), 0);
	ck_assert_int_eq(blk_write_durable(dev, 60, a, 3, BLK_LOG), 0);
	ck_assert_int_eq(blk_writelog_mark(dev, "end"), 0);
	ck_assert_int_eq(blk_read(dev, 0, a, 256, BLK_DATA), 0);
	snprintf(copy, sizeof(copy), "%s/base", dir);
	ck_assert_int_eq(sim_load(copy, log_path, &sim), 0);
	ck_assert_int_eq(blk_read(sim, 0, b, 256, BLK_DATA), 0);
	ck_assert_mem_eq(a, b, 256 * SECTOR_SIZE);
	ck_assert_str_eq(sim_event_get(sim, sim_nr_events(sim) - 1).text, "end");
	ck_assert(sim_event_get(sim, sim_nr_events(sim) - 2).durable);
	ck_assert_int_eq(sim_event_get(sim, 0).kind, SIM_WRITE);
	ck_assert(!sim_event_get(sim, 0).durable);
	ck_assert_int_eq(sim_event_get(sim, 1).kind, SIM_FLUSH);
	blk_close(sim);
	free(a);
	free(b);
}
END_TEST

static int fail_writes(void *arg, const struct blk_fault *f)
{
	(void)arg;
	return f->op == BLK_FAULT_WRITE || f->op == BLK_FAULT_FLUSH ? -EIO : 0;
}

START_TEST(what_failed_is_not_in_the_log_and_a_failed_flush_is_marked)
{
	struct blk_dev *sim;

	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
	blk_fault_set(dev, fail_writes, NULL);
	ck_assert_int_eq(blk_write(dev, 1, buf, 1, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_flush(dev), -EIO);
	blk_fault_set(dev, NULL, NULL);
	ck_assert_int_eq(sim_load(image, log_path, &sim), 0);
	ck_assert_uint_eq(sim_nr_events(sim), 1);
	ck_assert_str_eq(sim_event_get(sim, 0).text, "flush failed");
	blk_close(sim);
}
END_TEST

START_TEST(only_an_older_log_is_written_over)
{
	int fd = open(log_path, O_CREAT | O_RDWR, 0600);

	ck_assert_int_eq(write(fd, "a letter", 8), 8);
	close(fd);
	ck_assert_int_eq(blk_writelog_start(dev, log_path), -EEXIST);
	ck_assert_int_eq(blk_writelog_start(dev, image), -EEXIST);
	ck_assert_int_eq(blk_writelog_mark(dev, "x"), -ENOENT);
	unlink(log_path);
	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
	put(0, 60, 1, BLK_DATA);
	blk_close(dev);
	ck_assert_int_eq(blk_open(image, BLK_RDWR, NULL, &dev), 0);
	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
}
END_TEST

START_TEST(a_log_that_can_not_grow_is_given_up_and_the_device_goes_on)
{
	struct rlimit limit = { 16 * SECTOR_SIZE, RLIM_INFINITY };
	struct blk_dev *sim;

	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
	put(0, 4, 1, BLK_DATA);
	ck_assert_int_eq(blk_flush(dev), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	put(0, 14, 2, BLK_DATA);
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_writelog_mark(dev, "x"), -EIO);
	/* What it says was there until then. */
	ck_assert_int_eq(sim_load(image, log_path, &sim), 0);
	ck_assert_uint_eq(sim_nr_events(sim), 2);
	blk_close(sim);
}
END_TEST

/* Damaged in every byte of the headers: an error or another device, never more. */
START_TEST(a_damaged_log_is_refused_or_read_within_its_bounds)
{
	size_t len;
	u8 *all;

	ck_assert_int_eq(blk_writelog_start(dev, log_path), 0);
	put(3, 2, 0xaa, BLK_DATA);
	ck_assert_int_eq(blk_flush(dev), 0);
	ck_assert_int_eq(blk_writelog_mark(dev, "hello"), 0);
	all = whole(log_path, &len);
	for (size_t i = 0; i < 2 * sizeof(struct dmlog_entry) * 8; i++) {
		size_t unit = blk_logical_size(dev), at = i / 16 + (i % 16 / 8) * unit;
		int fd = open(log_path, O_RDWR), r;
		struct blk_dev *sim;
		u8 byte = all[at] ^ (u8)(1 << i % 8);

		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
		r = sim_load(image, log_path, &sim);
		ck_assert(r == 0 || r == -EINVAL || r == -EOPNOTSUPP);
		if (!r)
			blk_close(sim);
		ck_assert_int_eq(pwrite(fd, &all[at], 1, (off_t)at), 1);
		close(fd);
	}
	free(all);
}
END_TEST

START_TEST(after_a_shutdown_every_request_fails_and_nothing_changes)
{
	put(0, 1, 7, BLK_DATA);
	blk_shutdown(dev);
	ck_assert(blk_is_down(dev));
	memset(buf, 9, SECTOR_SIZE);
	ck_assert_int_eq(blk_write(dev, 0, buf, 1, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_read(dev, 0, buf, 1, BLK_DATA), -EIO);
	ck_assert_int_eq(blk_flush(dev), -EIO);
	ck_assert_int_eq(blk_discard(dev, 0, 1), -EIO);
	ck_assert_int_eq(blk_zero(dev, 0, 1, BLK_DATA), -EIO);
	blk_close(dev);
	ck_assert_int_eq(blk_open(image, BLK_RDWR, NULL, &dev), 0);
	ck_assert_int_eq(blk_read(dev, 0, buf, 1, BLK_DATA), 0);
	ck_assert_uint_eq(buf[5], 7);
}
END_TEST

#define ADD(test) tcase_add_checked_fixture(check_add_tcase(s, test, #test), setup, teardown)

int main(void)
{
	Suite *s = suite_create("writelog");

	ADD(the_file_is_as_dm_log_writes_makes_it);
	ADD(the_simulator_makes_the_same_device_out_of_image_and_log);
	ADD(what_failed_is_not_in_the_log_and_a_failed_flush_is_marked);
	ADD(only_an_older_log_is_written_over);
	ADD(a_log_that_can_not_grow_is_given_up_and_the_device_goes_on);
	ADD(a_damaged_log_is_refused_or_read_within_its_bounds);
	ADD(after_a_shutdown_every_request_fails_and_nothing_changes);
	return check_main(s);
}
