/*
 * Checksums of file data: damage is found and costs one sector, overwrites survive a crash as old
 * or new, and what recovery finds in their sectors is counted.
 *
 * Every sector of the files here begins with its own number, so it is found on the device.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "fs/inode.h"
#include "fs_test.h"
#include "stat/stat.h"

#define NR 256u
#define DEV_SECTORS ((64u << 20) / SECTOR_SIZE)

static struct box b;
static u8 data[NR * SECTOR_SIZE], back[NR * SECTOR_SIZE];

static void tag(u32 version)
{
	for (u32 i = 0; i < NR; i++) {
		u64 word[2] = { 0x666f6c696f646174ull, (u64)version << 32 | i };

		memset(data + i * SECTOR_SIZE, (int)(version * 31 + i), SECTOR_SIZE);
		memcpy(data + i * SECTOR_SIZE, word, sizeof(word));
	}
}

/* The place of sector i of a version of the file. */
static u64 find(u32 version, u32 i)
{
	u64 word[2] = { 0x666f6c696f646174ull, (u64)version << 32 | i };
	u8 *buf = malloc(256 * SECTOR_SIZE);
	u64 found = 0;

	for (u64 at = 0; at < DEV_SECTORS && !found; at += 256) {
		OK(blk_read(b.dev, at, buf, 256, BLK_DATA));
		for (u32 k = 0; k < 256 && !found; k++)
			if (!memcmp(buf + k * SECTOR_SIZE, word, sizeof(word)) &&
			    !memcmp(buf + k * SECTOR_SIZE + 100, data + i * SECTOR_SIZE + 100, 99))
				found = at + k;
	}
	free(buf);
	ck_assert_uint_ne(found, 0);
	return found;
}

static struct inode *begin(struct fs_format_opts *fmt)
{
	struct inode *f;

	box_open(&b, "ram:64M", 65536);
	if (fmt) {
		fs_iput(b.root);
		OK(fs_unmount(b.fs, false));
		OK(fs_format(b.dev, fmt, NULL));
		OK(fs_mount(b.dev, &b.opts, &b.fs));
		OK(fs_iget(b.fs, 1, &b.root));
	}
	f = make(b.root, "f", S_IFREG | 0644);
	tag(1);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_sync(b.fs));
	OK(jnl_checkpoint_all(fs_jnl(b.fs)));
	return f;
}

static struct inode *again(struct inode *f, bool crash)
{
	fs_iput(f);
	box_remount(&b, crash);
	return get(b.root, "f");
}

static char last_line[300];

static void keep_line(enum log_level level, const char *line, void *arg UNUSED)
{
	if (level == LOG_LEVEL_ERR)
		snprintf(last_line, sizeof(last_line), "%s", line);
}

static void damage(u64 sector)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	OK(blk_read(b.dev, sector, buf, 1, BLK_DATA));
	buf[4000] ^= 1;
	OK(blk_write(b.dev, sector, buf, 1, BLK_DATA));
	free(buf);
}

static int read_one(struct inode *f, u32 i)
{
	ssize_t n = fs_read(f, (u64)i * SECTOR_SIZE, back, SECTOR_SIZE, NULL);

	if (n < 0)
		return (int)n;
	ck_assert_int_eq(n, SECTOR_SIZE);
	return memcmp(back, data + i * SECTOR_SIZE, SECTOR_SIZE) ? 1 : 0;
}

START_TEST(a_flipped_bit_costs_its_sector_and_no_other)
{
	struct inode *f = begin(NULL);
	u64 seen = corrupt_count(WHY_DATA_CHECKSUM), counted = stat_read(STAT_CHECKSUM_ERRORS);

	damage(find(1, 77));
	f = again(f, false);
	for (u32 i = 0; i < NR; i++)
		ck_assert_int_eq(read_one(f, i), i == 77 ? -EIO : 0);
	ck_assert_uint_gt(corrupt_count(WHY_DATA_CHECKSUM), seen);
	ck_assert_uint_gt(stat_read(STAT_CHECKSUM_ERRORS), counted);
	/* A long read stops in front of it. */
	fs_drop_cache(b.fs, f);
	ck_assert_int_eq(fs_read(f, 0, back, sizeof(back), NULL), 77 * SECTOR_SIZE);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(readahead_takes_nothing_that_is_damaged)
{
	struct inode *f = begin(NULL);
	struct readahead ra = { 0 };

	damage(find(1, 200));
	f = again(f, false);
	for (u32 i = 0; i < NR; i++) {
		ssize_t n = fs_read(f, (u64)i * SECTOR_SIZE, back, SECTOR_SIZE, &ra);

		ck_assert_int_eq(n, i == 200 ? -EIO : (ssize_t)SECTOR_SIZE);
		if (n > 0)
			ck_assert(!memcmp(back, data + i * SECTOR_SIZE, SECTOR_SIZE));
	}
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(a_damaged_sector_is_healed_by_overwriting_all_of_it)
{
	struct inode *f = begin(NULL);
	u64 pos = 77 * SECTOR_SIZE;

	damage(find(1, 77));
	f = again(f, false);
	FAILS((int)fs_write(f, pos + 10, data, 20, 0), EIO);
	ck_assert_int_eq(read_one(f, 77), -EIO);
	ck_assert_int_eq(fs_write(f, pos, data + pos, SECTOR_SIZE, 0), SECTOR_SIZE);
	ck_assert_int_eq(read_one(f, 77), 0);
	OK(fs_fsync(f, true));
	f = again(f, true);
	ck_assert_int_eq(read_one(f, 77), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(without_the_feature_damage_is_not_seen)
{
	struct fs_format_opts fmt = { .block_bytes = 65536, .no_datasum = true };
	struct inode *f = begin(&fmt);

	damage(find(1, 77));
	f = again(f, false);
	ck_assert_int_eq(read_one(f, 77), 1);
	ck_assert_int_eq(read_one(f, 78), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(nodatasum_takes_the_checksum_off_what_is_overwritten_and_of_nothing_else)
{
	struct inode *f = begin(NULL);

	b.opts.nodatasum = true;
	f = again(f, false);
	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, 100 * SECTOR_SIZE, 0), 100 * SECTOR_SIZE);
	OK(fs_fsync(f, false));
	f = again(f, true);
	damage(find(2, 50));
	tag(1);
	damage(find(1, 150));
	b.opts.nodatasum = false;
	f = again(f, false);
	ck_assert_int_eq(read_one(f, 150), -EIO);
	tag(2);
	ck_assert_int_eq(read_one(f, 50), 1);
	ck_assert_int_eq(read_one(f, 51), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

/* ---- crashes ---- */

START_TEST(after_a_crash_an_fsynced_overwrite_is_new_and_verified)
{
	struct inode *f = begin(NULL);

	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, true));
	f = again(f, true);
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_new, NR);
	ck_assert_uint_eq(fs_recovery(b.fs)->torn, 0);
	for (u32 i = 0; i < NR; i++)
		ck_assert_int_eq(read_one(f, i), 0);
	damage(find(2, 9));
	f = again(f, false);
	ck_assert_int_eq(read_one(f, 9), -EIO);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(recovery_takes_the_old_contents_too_and_sums_only_what_is_torn)
{
	u8 *old = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	struct inode *f = begin(NULL);
	u64 at[3];

	memcpy(old, data + 5 * SECTOR_SIZE, SECTOR_SIZE);
	at[0] = find(1, 5);
	at[1] = find(1, 6);
	at[2] = find(1, 7);
	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, true));
	fs_iput(f);
	fs_iput(b.root);
	OK(fs_unmount(b.fs, true));
	/* As if the write of one had not begun, and that of another was cut in two. */
	OK(blk_write(b.dev, at[0], old, 1, BLK_DATA));
	damage(at[1]);
	log_set_sink(keep_line, NULL);
	OK(fs_mount(b.dev, &b.opts, &b.fs));
	OK(fs_iget(b.fs, 1, &b.root));
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_old, 1);
	ck_assert_uint_eq(fs_recovery(b.fs)->torn, 1);
	ck_assert_uint_eq(fs_recovery(b.fs)->torn_sector[0], at[1]);
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_new, NR - 2);
	f = get(b.root, "f");
	ck_assert(strstr(last_line, "inode 2, file sector 6,"));
	ck_assert_int_eq(read_one(f, 6), 1);
	ck_assert_int_eq(read_one(f, 7), 0);
	ck_assert_int_eq(read_one(f, 5), 1);
	ck_assert(!memcmp(back, old, SECTOR_SIZE));
	/* Known as they are now: the next mount has nothing to accept. */
	f = again(f, false);
	ck_assert_int_eq(read_one(f, 6), 1);
	damage(at[2]);
	fs_drop_cache(b.fs, f);
	ck_assert_int_eq(read_one(f, 7), -EIO);
	free(old);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(what_is_closed_is_not_accepted_a_second_time)
{
	u8 *old = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	struct inode *f = begin(NULL);
	u64 at = find(1, 5);

	memcpy(old, data + 5 * SECTOR_SIZE, SECTOR_SIZE);
	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_sync(b.fs));
	f = again(f, true);
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_new, 0);
	OK(blk_write(b.dev, at, old, 1, BLK_DATA));
	fs_drop_cache(b.fs, f);
	ck_assert_int_eq(read_one(f, 5), -EIO);
	free(old);
	fs_iput(f);
	box_close(&b);
}
END_TEST

static int unreadable(void *arg, const struct blk_fault *f)
{
	u64 bad = *(const u64 *)arg;
	bool hit = f->sector <= bad && bad < f->sector + f->nr;

	return hit && f->op == BLK_FAULT_READ ? -ENODATA : 0;
}

START_TEST(a_sector_of_an_open_intent_that_can_t_be_read_costs_itself_alone)
{
	struct inode *f = begin(NULL);
	u64 bad = find(1, 5);

	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(iomap_writeback(&f->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	OK(blk_flush(b.dev));
	blk_fault_set(b.dev, unreadable, &bad);
	f = again(f, true);
	for (u32 i = 0; i < NR; i++)
		ck_assert_int_eq(read_one(f, i), i == 5 ? -EIO : 0);
	blk_fault_set(b.dev, NULL, NULL);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(an_open_intent_outlives_checkpoints)
{
	struct inode *f = begin(NULL);
	struct jnl *j = fs_jnl(b.fs);

	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	/* Announced and written, not closed: as writeback leaves it. */
	OK(iomap_writeback(&f->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	for (unsigned i = 0; i < 3; i++) {
		make_file(b.root, i == 0 ? "a" : i == 1 ? "b" : "c");
		OK(jnl_checkpoint_all(j));
	}
	OK(blk_flush(b.dev));
	f = again(f, true);
	ck_assert(there(b.root, "c"));
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_new, NR);
	for (u32 i = 0; i < NR; i++)
		ck_assert_int_eq(read_one(f, i), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

/* ---- failing writes ---- */

static bool failing;

static int fault(void *arg UNUSED, const struct blk_fault *f)
{
	return failing && f->op == BLK_FAULT_WRITE && f->kind == BLK_DATA ? -EIO : 0;
}

START_TEST(an_overwrite_that_fails_leaves_its_sectors_bad_on_disk_and_good_in_memory)
{
	struct inode *f = begin(NULL);

	blk_fault_set(b.dev, fault, NULL);
	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, 100 * SECTOR_SIZE, 0), 100 * SECTOR_SIZE);
	failing = true;
	FAILS(fs_fsync(f, true), EIO);
	ck_assert_int_eq(read_one(f, 50), 0);
	OK(jnl_commit(fs_jnl(b.fs), jnl_newest_seq(fs_jnl(b.fs))));
	f = again(f, true);
	ck_assert_int_eq(read_one(f, 50), -EIO);
	tag(1);
	ck_assert_int_eq(read_one(f, 100), 0);
	/* New contents heal it. */
	failing = false;
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, true));
	f = again(f, true);
	for (u32 i = 0; i < NR; i++)
		ck_assert_int_eq(read_one(f, i), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(an_overwrite_that_fails_once_is_written_later)
{
	struct inode *f = begin(NULL);

	blk_fault_set(b.dev, fault, NULL);
	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	failing = true;
	FAILS(fs_fsync(f, true), EIO);
	failing = false;
	OK(fs_fsync(f, true));
	f = again(f, true);
	for (u32 i = 0; i < NR; i++)
		ck_assert_int_eq(read_one(f, i), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(logged_data_that_can_not_be_written_to_its_place_stays_in_the_log)
{
	struct inode *f = begin(NULL);

	blk_fault_set(b.dev, fault, NULL);
	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, 10 * SECTOR_SIZE, 0), 10 * SECTOR_SIZE);
	OK(fs_fsync(f, true));
	failing = true;
	for (unsigned i = 0; i < 3; i++) {
		FAILS(jnl_checkpoint_all(fs_jnl(b.fs)), EIO);
		make_file(b.root, i == 0 ? "a" : i == 1 ? "b" : "c");
		OK(fs_fsync(b.root, false));
	}
	ck_assert(!fs_readonly(b.fs));
	failing = false;
	f = again(f, true);
	ck_assert(there(b.root, "c"));
	for (u32 i = 0; i < 10; i++)
		ck_assert_int_eq(read_one(f, i), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(truncating_announced_sectors_closes_their_intents)
{
	struct inode *f = begin(NULL);

	tag(2);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(iomap_writeback(&f->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	OK(fs_truncate(f, 10 * SECTOR_SIZE + 5));
	OK(fs_sync(b.fs));
	OK(jnl_checkpoint_all(fs_jnl(b.fs)));
	f = again(f, true);
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_new, 0);
	ck_assert_uint_eq(fs_recovery(b.fs)->recovered_old, 0);
	ck_assert_int_eq(read_one(f, 9), 0);
	fs_iput(f);
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("datasum");

	check_add(s, a_flipped_bit_costs_its_sector_and_no_other);
	check_add(s, readahead_takes_nothing_that_is_damaged);
	check_add(s, a_damaged_sector_is_healed_by_overwriting_all_of_it);
	check_add(s, without_the_feature_damage_is_not_seen);
	check_add(s, nodatasum_takes_the_checksum_off_what_is_overwritten_and_of_nothing_else);
	check_add(s, after_a_crash_an_fsynced_overwrite_is_new_and_verified);
	check_add(s, recovery_takes_the_old_contents_too_and_sums_only_what_is_torn);
	check_add(s, what_is_closed_is_not_accepted_a_second_time);
	check_add(s, a_sector_of_an_open_intent_that_can_t_be_read_costs_itself_alone);
	check_add(s, an_open_intent_outlives_checkpoints);
	check_add(s, an_overwrite_that_fails_leaves_its_sectors_bad_on_disk_and_good_in_memory);
	check_add(s, an_overwrite_that_fails_once_is_written_later);
	check_add(s, logged_data_that_can_not_be_written_to_its_place_stays_in_the_log);
	check_add(s, truncating_announced_sectors_closes_their_intents);
	return check_main(s);
}
