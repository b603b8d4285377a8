/*
 * Inodes that leave memory while what was done to them is not durable: who opens the file again and
 * syncs it gets what fsync promises.
 */
#include <errno.h>

#include "file_test.h"
#include "fs/inode.h"
#include "iomap/iomap.h"
#include "stat/stat.h"

#define UNUSED_MAX 8192u        /* so many stay in memory unused */
#define CROWD 8300u             /* more than that */

static void crowd_name(unsigned i, char name[16])
{
	snprintf(name, 16, "crowd%u", i);
}

static void begin_with_crowd(bool nodatasum)
{
	char name[16];

	begin("ram:64M", 0);
	b.opts.nodatasum = nodatasum;
	box_remount(&b, false);
	for (unsigned i = 0; i < CROWD; i++) {
		crowd_name(i, name);
		make_file(b.root, name);
	}
	OK(fs_sync(b.fs));
}

/* All of them are used once after it. Nothing is changed. */
static void drive_out(u64 ino)
{
	char name[16];

	for (unsigned i = 0; i < 2 * CROWD; i++) {
		crowd_name(i % CROWD, name);
		fs_iput(get(b.root, name));
	}
	mutex_lock(&b.fs->table_lock);
	for (u32 i = 0; i < b.fs->table_size; i++)
		for (struct inode *ip = b.fs->table[i]; ip; ip = ip->hash_next)
			ck_assert_msg(ip->ino != ino, "it is still in memory");
	mutex_unlock(&b.fs->table_lock);
}

START_TEST(fsync_of_an_inode_that_had_left_memory_makes_its_name_durable)
{
	struct inode *f;
	u64 ino;

	begin_with_crowd(false);
	make_file(b.root, "f");
	ino = ino_of(b.root, "f");
	drive_out(ino);
	f = get(b.root, "f");
	OK(fs_fsync(f, _i));
	fs_iput(f);
	box_remount(&b, true);
	ck_assert(there(b.root, "f"));
	end();
}
END_TEST

START_TEST(fsync_of_it_flushes_overwrites_without_checksums)
{
	struct inode *f;
	u64 flushes;

	begin_with_crowd(true);
	f = new_file("f");
	put_data(f, 0, 1u << 20);
	OK(fs_sync(b.fs));
	put_new(f, 0, 1u << 20);
	OK(inode_store(f));
	OK(fs_commit(b.fs));
	OK(iomap_writeback(&f->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	flushes = stat_read(STAT_FLUSHES);
	fs_iput(f);
	drive_out(ino_of(b.root, "f"));
	f = get(b.root, "f");
	ck_assert_uint_eq(stat_read(STAT_FLUSHES), flushes);
	OK(fs_fsync(f, true));
	ck_assert_uint_eq(stat_read(STAT_FLUSHES), flushes + 1);
	OK(fs_fsync(f, true));
	ck_assert_uint_eq(stat_read(STAT_FLUSHES), flushes + 1);
	fs_iput(f);
	end();
}
END_TEST

/* Busy inodes stay, and are not looked at in vain by every put; then it comes down again. */
START_TEST(unused_inodes_that_are_busy_stay_and_leave_once_they_are_not)
{
	struct inode *ip;
	char name[16];

	begin_with_crowd(false);
	for (unsigned i = 0; i < CROWD; i++) {
		crowd_name(i, name);
		ip = get(b.root, name);
		inode_mark_dirty(ip, INODE_DIRTY_TIME);
		fs_iput(ip);
	}
	ck_assert_uint_gt(b.fs->nr_unused, UNUSED_MAX);
	ck_assert_uint_gt(b.fs->evict_pause, 0);
	OK(fs_sync(b.fs));
	/* None of these is in memory: each put adds one. */
	for (unsigned i = CROWD; i < CROWD + 300; i++) {
		crowd_name(i, name);
		make_file(b.root, name);
	}
	ck_assert_uint_le(b.fs->nr_unused, UNUSED_MAX);
	end();
}
END_TEST

/* ---- freed sectors ---- */

static struct inode *cut;
static u64 cut_disk;
static bool in_checkpoint, was_busy;

static int busy_body(struct view *v, void *arg)
{
	u64 start, stop;

	*(bool *)arg = view_next_busy(v, cut_disk, cut_disk + 1, &start, &stop);
	return 0;
}

static bool is_busy(void)
{
	bool busy = false;

	OK(jnl_read(fs_jnl(b.fs), busy_body, &busy));
	return busy;
}

/* The checkpoint is about to write an old version of the sector: now the sector is cut off. */
static int cut_off(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (in_checkpoint || f->op != BLK_FAULT_WRITE || f->kind != BLK_DATA ||
	    f->sector != cut_disk)
		return 0;
	in_checkpoint = true;
	OK(fs_truncate(cut, 4 * SECTOR_SIZE));
	OK(fs_commit(b.fs));
	was_busy = is_busy();
	return 0;
}

START_TEST(a_freed_sector_is_busy_while_a_checkpoint_has_an_older_copy_of_it)
{
	struct iomap map;

	begin("ram:64M", 65536);
	cut = new_file("f");
	put_data(cut, 0, 32768);
	OK(fs_sync(b.fs));
	ck_assert_int_eq(fs_write(cut, 20480, data, SECTOR_SIZE, FS_WRITE_DSYNC), SECTOR_SIZE);
	OK(cut->file.ops->map(&cut->file, 20480, SECTOR_SIZE, IOMAP_REPORT, &map));
	cut_disk = map.disk + ((20480 - map.offset) >> SECTOR_SHIFT);
	blk_fault_set(b.dev, cut_off, NULL);
	OK(jnl_checkpoint_all(fs_jnl(b.fs)));
	blk_fault_set(b.dev, NULL, NULL);
	ck_assert(in_checkpoint && was_busy);
	ck_assert(!is_busy());
	fs_iput(cut);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("evict");
	TCase *tc = tcase_create("fsync_of_an_inode_that_had_left_memory_makes_its_name_durable");

	tcase_add_loop_test(tc, fsync_of_an_inode_that_had_left_memory_makes_its_name_durable, 0,
			    2);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	check_add_slow(s, fsync_of_it_flushes_overwrites_without_checksums, 60);
	check_add_slow(s, unused_inodes_that_are_busy_stay_and_leave_once_they_are_not, 60);
	check_add(s, a_freed_sector_is_busy_while_a_checkpoint_has_an_older_copy_of_it);
	return check_main(s);
}
