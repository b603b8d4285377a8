/* Attributes: setattr, the times that move by themselves, setuid bits, and what a remount keeps. */
#include <errno.h>

#include "fs/inode.h"
#include "fs_test.h"

static struct box b;
static struct inode *f;

static void begin_with(int atime)
{
	box_open(&b, "ram:64M", 0);
	b.opts.atime = atime;
	box_remount(&b, false);
	f = make(b.root, "f", S_IFREG | 0644);
}

static void begin(void)
{
	begin_with(FS_RELATIME);
}

static void end(void)
{
	fs_iput(f);
	box_close(&b);
}

static struct stat now_stat(void)
{
	struct stat st;

	fs_getattr(f, &st);
	return st;
}

static void set_old_times(struct inode *ip, time_t atime, time_t mtime)
{
	struct fs_attr a = { .valid = FS_ATTR_ATIME | FS_ATTR_MTIME | FS_ATTR_CTIME };

	a.atime.tv_sec = atime;
	a.mtime.tv_sec = a.ctime.tv_sec = mtime;
	OK(fs_setattr(ip, &a));
}

START_TEST(what_setattr_sets_survives_a_remount)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE | FS_ATTR_UID | FS_ATTR_GID | FS_ATTR_ATIME |
			     FS_ATTR_MTIME, .mode = 04711, .uid = 5, .gid = 6 };
	struct stat st;

	begin();
	a.atime = (struct timespec){ -5, 123456789 };
	a.mtime = (struct timespec){ 5000000000, 999999999 };
	OK(fs_setattr(f, &a));
	for (int round = 0; round < 2; round++) {
		st = now_stat();
		ck_assert_uint_eq(st.st_mode, S_IFREG | 04711);
		ck_assert_uint_eq(st.st_uid, 5);
		ck_assert_uint_eq(st.st_gid, 6);
		ck_assert_int_eq(st.st_atim.tv_sec, -5);
		ck_assert_int_eq(st.st_atim.tv_nsec, 123456789);
		ck_assert_int_eq(st.st_mtim.tv_sec, 5000000000);
		ck_assert_int_eq(st.st_mtim.tv_nsec, 999999999);
		fs_iput(f);
		box_remount(&b, false);
		f = get(b.root, "f");
	}
	end();
}
END_TEST

START_TEST(fsync_makes_attributes_durable)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE, .mode = 0600 };

	begin();
	OK(fs_fsync(f, false));
	OK(fs_setattr(f, &a));
	OK(fs_fsync(f, false));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	ck_assert_uint_eq(now_stat().st_mode, S_IFREG | 0600);
	end();
}
END_TEST

START_TEST(fdatasync_does_not_write_times)
{
	u64 flushes;

	begin();
	OK(fs_fsync(f, false));
	flushes = blk_flush_count(b.dev);
	set_old_times(f, 1, 1);
	OK(fs_fsync(f, true));
	ck_assert_uint_eq(blk_flush_count(b.dev), flushes);
	OK(fs_fsync(f, false));
	ck_assert_uint_gt(blk_flush_count(b.dev), flushes);
	end();
}
END_TEST

START_TEST(a_tick_stores_what_changed)
{
	struct fs_attr a = { .valid = FS_ATTR_UID, .uid = 9 };

	begin();
	OK(fs_setattr(f, &a));
	OK(fs_tick(b.fs));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	ck_assert_uint_eq(now_stat().st_uid, 9);
	end();
}
END_TEST

START_TEST(every_change_moves_ctime)
{
	static const u32 bits[] = { FS_ATTR_MODE, FS_ATTR_UID, FS_ATTR_GID, FS_ATTR_ATIME,
		FS_ATTR_MTIME_NOW };

	begin();
	for (unsigned i = 0; i < ARRAY_LEN(bits); i++) {
		struct fs_attr a = { .valid = bits[i], .mode = 0644 };

		set_old_times(f, 1, 1);
		ck_assert_int_eq(now_stat().st_ctim.tv_sec, 1);
		OK(fs_setattr(f, &a));
		ck_assert_int_gt(now_stat().st_ctim.tv_sec, 1);
	}
	end();
}
END_TEST

START_TEST(a_new_owner_takes_setuid_and_capabilities_off)
{
	struct fs_attr mode = { .valid = FS_ATTR_MODE, .mode = 06755 };
	struct fs_attr owner = { .valid = FS_ATTR_UID, .uid = 1 };
	char buf[8];

	begin();
	OK(fs_setattr(f, &mode));
	OK(fs_setxattr(f, "security.capability", "x", 1, 0));
	OK(fs_setattr(f, &owner));
	ck_assert_uint_eq(now_stat().st_mode, S_IFREG | 0755);
	FAILS(fs_getxattr(f, "security.capability", buf, sizeof(buf)), ENODATA);
	/* setgid without group execution is another thing (mandatory locks): it stays. */
	mode.mode = 02644;
	OK(fs_setattr(f, &mode));
	OK(fs_setattr(f, &owner));
	ck_assert_uint_eq(now_stat().st_mode, S_IFREG | 02644);
	end();
}
END_TEST

START_TEST(killing_setuid_is_asked_for_by_its_bit)
{
	struct fs_attr mode = { .valid = FS_ATTR_MODE, .mode = 04755 };
	struct fs_attr kill = { .valid = FS_ATTR_KILL_SUID };

	begin();
	OK(fs_setattr(f, &mode));
	OK(fs_setattr(f, &kill));
	ck_assert_uint_eq(now_stat().st_mode, S_IFREG | 0755);
	end();
}
END_TEST

START_TEST(relatime_follows_changes_and_days)
{
	begin();
	set_old_times(f, 100, 50);           /* long ago */
	inode_touch_atime(f);
	ck_assert_int_gt(now_stat().st_atim.tv_sec, 100);
	set_old_times(f, fs_now(b.fs).tv_sec - 60, 50);
	inode_touch_atime(f);                /* read after the change, a minute ago */
	ck_assert_int_lt(now_stat().st_atim.tv_sec, fs_now(b.fs).tv_sec - 30);
	set_old_times(f, fs_now(b.fs).tv_sec - 60, fs_now(b.fs).tv_sec - 50);
	inode_touch_atime(f);                /* changed since it was read */
	ck_assert_int_gt(now_stat().st_atim.tv_sec, fs_now(b.fs).tv_sec - 30);
	end();
}
END_TEST

START_TEST(noatime_never_moves_it)
{
	begin_with(FS_NOATIME);
	set_old_times(f, 100, 200);
	inode_touch_atime(f);
	ck_assert_int_eq(now_stat().st_atim.tv_sec, 100);
	end();
}
END_TEST

START_TEST(nodiratime_holds_for_directories_alone)
{
	struct inode *d;
	struct stat st;

	begin();
	b.fs->opts.nodiratime = true;
	d = make(b.root, "d", S_IFDIR | 0755);
	set_old_times(d, 100, 200);
	inode_touch_atime(d);
	fs_getattr(d, &st);
	ck_assert_int_eq(st.st_atim.tv_sec, 100);
	set_old_times(f, 100, 200);
	inode_touch_atime(f);
	ck_assert_int_gt(now_stat().st_atim.tv_sec, 100);
	fs_iput(d);
	end();
}
END_TEST

START_TEST(strictatime_always_moves_it)
{
	begin_with(FS_STRICTATIME);
	set_old_times(f, fs_now(b.fs).tv_sec - 60, 50);
	inode_touch_atime(f);
	ck_assert_int_gt(now_stat().st_atim.tv_sec, fs_now(b.fs).tv_sec - 30);
	end();
}
END_TEST

START_TEST(times_of_directories_follow_their_names)
{
	struct inode *d;
	struct stat st;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	set_old_times(d, 1, 1);
	make_file(d, "x");
	fs_getattr(d, &st);
	ck_assert_int_gt(st.st_mtim.tv_sec, 1);
	ck_assert_int_gt(st.st_ctim.tv_sec, 1);
	set_old_times(d, 1, 1);
	OK(unlink_name(d, "x"));
	fs_getattr(d, &st);
	ck_assert_int_gt(st.st_mtim.tv_sec, 1);
	fs_iput(d);
	end();
}
END_TEST

START_TEST(immutable_and_append_only_inodes_refuse_changes)
{
	struct fs_attr mode = { .valid = FS_ATTR_MODE, .mode = 0600 };
	struct fs_attr touch = { .valid = FS_ATTR_ATIME_NOW | FS_ATTR_MTIME_NOW };
	struct inode *ip = NULL;

	begin();
	f->attr.flags = FMT_IFLAG_IMMUTABLE;
	FAILS(fs_setattr(f, &mode), EPERM);
	FAILS(fs_setattr(f, &touch), EPERM);
	FAILS(fs_setxattr(f, "user.a", "x", 1, 0), EPERM);
	FAILS(unlink_name(b.root, "f"), EPERM);
	FAILS(fs_link(f, b.root, "g", 1), EPERM);
	FAILS(rename_name(b.root, "f", b.root, "g", 0), EPERM);
	f->attr.flags = FMT_IFLAG_APPEND;
	FAILS(fs_setattr(f, &mode), EPERM);
	OK(fs_setattr(f, &touch));
	FAILS(unlink_name(b.root, "f"), EPERM);
	f->attr.flags = 0;
	b.root->attr.flags = FMT_IFLAG_APPEND;
	make_file(b.root, "g");
	FAILS(unlink_name(b.root, "g"), EPERM);
	b.root->attr.flags = FMT_IFLAG_IMMUTABLE;
	FAILS(fs_mknod(b.root, "h", 1, S_IFREG | 0644, 0, somebody, &ip), EPERM);
	b.root->attr.flags = 0;
	end();
}
END_TEST

START_TEST(bad_times_are_refused)
{
	struct fs_attr a = { .valid = FS_ATTR_MTIME, .mtime = { 0, 1000000000 } };

	begin();
	FAILS(fs_setattr(f, &a), EINVAL);
	a.mtime.tv_nsec = -1;
	FAILS(fs_setattr(f, &a), EINVAL);
	end();
}
END_TEST

START_TEST(a_file_with_data_never_shows_no_blocks)
{
	static char data[100000];

	begin();
	ck_assert_int_eq(fs_write(f, 0, "x", 1, 0), 1);
	ck_assert_int_gt(now_stat().st_blocks, 0);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	ck_assert_int_ge(now_stat().st_blocks, 200);
	OK(fs_fsync(f, false));
	ck_assert_int_eq(now_stat().st_blocks, 200);
	ck_assert_int_eq(now_stat().st_blksize, 4096);
	end();
}
END_TEST

START_TEST(times_of_contents_are_left_to_a_kernel_that_stamps_them)
{
	struct fs_attr cut = { .valid = FS_ATTR_SIZE | FS_ATTR_KILL_SUID };
	struct fs_attr mode = { .valid = FS_ATTR_MODE, .mode = 0600 };

	begin();
	set_old_times(f, 100, 50);
	b.fs->opts.kernel_times = true;
	ck_assert_int_eq(fs_write(f, 0, "abc", 3, 0), 3);
	OK(fs_setattr(f, &cut));
	OK(fs_fallocate(f, 0, 0, 8192));
	ck_assert_int_eq(now_stat().st_mtim.tv_sec, 50);
	ck_assert_int_eq(now_stat().st_ctim.tv_sec, 50);
	OK(fs_setattr(f, &mode));
	ck_assert_int_eq(now_stat().st_mtim.tv_sec, 50);
	ck_assert_int_gt(now_stat().st_ctim.tv_sec, 50);
	end();
}
END_TEST

/* After an unlink or a rename it hands over what was stamped in the same tick. */
START_TEST(times_handed_over_unchanged_are_nothing_to_store)
{
	struct fs_attr times = { .valid = FS_ATTR_MTIME | FS_ATTR_CTIME };

	begin();
	b.fs->opts.kernel_times = true;
	OK(fs_fsync(f, false));
	ck_assert(inode_is_idle(f));
	times.mtime = now_stat().st_mtim;
	times.ctime = now_stat().st_ctim;
	OK(fs_setattr(f, &times));
	ck_assert(inode_is_idle(f));
	times.mtime.tv_sec -= 10;
	OK(fs_setattr(f, &times));
	ck_assert(!inode_is_idle(f));
	end();
}
END_TEST

/* What the kernel sends of the same tick is then not older than what is stored. */
START_TEST(a_stamp_is_not_later_than_the_clock_of_the_kernel)
{
	struct fs_attr mode = { .valid = FS_ATTR_MODE, .mode = 0600 };
	struct timespec kernel, stamp;

	begin();
	b.fs->opts.kernel_times = true;
	for (int i = 0; i < 100; i++) {
		OK(fs_setattr(f, &mode));
		stamp = now_stat().st_ctim;
		clock_gettime(CLOCK_REALTIME_COARSE, &kernel);
		ck_assert(stamp.tv_sec < kernel.tv_sec ||
			  (stamp.tv_sec == kernel.tv_sec && stamp.tv_nsec <= kernel.tv_nsec));
	}
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("attr");

	check_add(s, what_setattr_sets_survives_a_remount);
	check_add(s, times_handed_over_unchanged_are_nothing_to_store);
	check_add(s, fsync_makes_attributes_durable);
	check_add(s, fdatasync_does_not_write_times);
	check_add(s, a_tick_stores_what_changed);
	check_add(s, every_change_moves_ctime);
	check_add(s, a_new_owner_takes_setuid_and_capabilities_off);
	check_add(s, killing_setuid_is_asked_for_by_its_bit);
	check_add(s, relatime_follows_changes_and_days);
	check_add(s, noatime_never_moves_it);
	check_add(s, nodiratime_holds_for_directories_alone);
	check_add(s, strictatime_always_moves_it);
	check_add(s, times_of_directories_follow_their_names);
	check_add(s, immutable_and_append_only_inodes_refuse_changes);
	check_add(s, bad_times_are_refused);
	check_add(s, times_of_contents_are_left_to_a_kernel_that_stamps_them);
	check_add(s, a_stamp_is_not_later_than_the_clock_of_the_kernel);
	check_add(s, a_file_with_data_never_shows_no_blocks);
	return check_main(s);
}
