/*
 * Names: lookup, create, link, unlink, rmdir, symlink, readdir.
 * Each test ends with a check of all links and counts, before and after a remount.
 */
#include <dirent.h>
#include <errno.h>

#include "base/limits.h"
#include "fs/inode.h"
#include "fs_test.h"

static struct box b;

static void begin(void)
{
	box_open(&b, "ram:64M", 0);
}

START_TEST(a_name_leads_to_what_was_created)
{
	static const u32 types[] = { S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };

	begin();
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		char name[2] = { (char)('a' + i), 0 };
		struct inode *ip, *again;
		struct stat st;

		OK(fs_mknod(b.root, name, 1, types[i] | 0640, 0x1234, somebody, &ip));
		again = get(b.root, name);
		ck_assert_ptr_eq(ip, again);
		fs_getattr(ip, &st);
		ck_assert_uint_eq(st.st_mode, types[i] | 0640);
		ck_assert_uint_eq(st.st_uid, 1000);
		ck_assert_uint_eq(st.st_gid, 100);
		ck_assert_uint_eq(st.st_nlink, types[i] == S_IFDIR ? 2 : 1);
		ck_assert_uint_eq(st.st_rdev, i >= 4 ? 0x1234 : 0);   /* devices */
		fs_iput(ip);
		fs_iput(again);
	}
	box_remount(&b, false);
	ck_assert_uint_eq(stat_of(b.root, "b").st_mode, S_IFDIR | 0640);
	ck_assert_uint_eq(stat_of(b.root, "e").st_rdev, 0x1234);
	box_close(&b);
}
END_TEST

START_TEST(a_name_that_is_there_is_not_created_again)
{
	struct inode *ip = NULL;

	begin();
	make_file(b.root, "a");
	FAILS(fs_mknod(b.root, "a", 1, S_IFREG | 0644, 0, somebody, &ip), EEXIST);
	FAILS(fs_mknod(b.root, "a", 1, S_IFDIR | 0755, 0, somebody, &ip), EEXIST);
	FAILS(fs_symlink(b.root, "a", 1, "x", 1, somebody, &ip), EEXIST);
	FAILS(fs_mknod(b.root, ".", 1, S_IFREG | 0644, 0, somebody, &ip), EEXIST);
	FAILS(fs_mknod(b.root, "..", 2, S_IFREG | 0644, 0, somebody, &ip), EEXIST);
	ck_assert_ptr_null(ip);
	box_close(&b);
}
END_TEST

START_TEST(names_have_at_most_255_bytes_and_no_slash)
{
	char name[257];
	struct inode *ip = NULL;

	begin();
	memset(name, 'n', sizeof(name));
	OK(fs_mknod(b.root, name, 255, S_IFREG | 0644, 0, somebody, &ip));
	fs_iput(ip);
	OK(fs_lookup(b.root, name, 255, &ip));
	fs_iput(ip);
	FAILS(fs_lookup(b.root, name, 254, &ip), ENOENT);
	FAILS(fs_lookup(b.root, name, 256, &ip), ENAMETOOLONG);
	FAILS(fs_mknod(b.root, name, 256, S_IFREG | 0644, 0, somebody, &ip), ENAMETOOLONG);
	FAILS(fs_mknod(b.root, "a/b", 3, S_IFREG | 0644, 0, somebody, &ip), EINVAL);
	FAILS(fs_mknod(b.root, "a\0b", 3, S_IFREG | 0644, 0, somebody, &ip), EINVAL);
	FAILS(fs_lookup(b.root, "", 0, &ip), ENOENT);
	box_close(&b);
}
END_TEST

START_TEST(a_file_is_no_directory)
{
	struct inode *f, *ip = NULL;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	FAILS(fs_lookup(f, "a", 1, &ip), ENOTDIR);
	FAILS(fs_mknod(f, "a", 1, S_IFREG | 0644, 0, somebody, &ip), ENOTDIR);
	FAILS(unlink_name(f, "a"), ENOTDIR);
	FAILS(rename_name(b.root, "f", f, "x", 0), ENOTDIR);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(dot_is_the_directory_and_dotdot_its_parent)
{
	struct inode *d, *e, *x;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	e = make(d, "e", S_IFDIR | 0755);
	OK(fs_lookup(e, ".", 1, &x));
	ck_assert_ptr_eq(x, e);
	fs_iput(x);
	OK(fs_lookup(e, "..", 2, &x));
	ck_assert_ptr_eq(x, d);
	fs_iput(x);
	OK(fs_lookup(b.root, "..", 2, &x));
	ck_assert_ptr_eq(x, b.root);
	fs_iput(x);
	fs_iput(e);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(the_last_link_takes_the_inode_with_it)
{
	struct census c;
	struct inode *f;
	u64 ino;

	begin();
	f = make(b.root, "a", S_IFREG | 0644);
	ino = fs_ino(f);
	OK(fs_link(f, b.root, "b", 1));
	ck_assert_uint_eq(stat_of(b.root, "a").st_nlink, 2);
	ck_assert_uint_eq(ino_of(b.root, "b"), ino);
	fs_iput(f);
	OK(unlink_name(b.root, "a"));
	ck_assert(!there(b.root, "a"));
	ck_assert_uint_eq(stat_of(b.root, "b").st_nlink, 1);
	OK(unlink_name(b.root, "b"));
	FAILS(fs_iget(b.fs, ino, &f), ESTALE);
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.inodes, 1);
	ck_assert_uint_eq(c.dirents + c.orphans, 0);
	FAILS(unlink_name(b.root, "b"), ENOENT);
	box_close(&b);
}
END_TEST

START_TEST(unlink_is_for_files_and_rmdir_for_empty_directories)
{
	struct inode *d;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	make_file(d, "f");
	FAILS(unlink_name(b.root, "d"), EISDIR);
	FAILS(rmdir_name(b.root, "d"), ENOTEMPTY);
	FAILS(rmdir_name(d, "f"), ENOTDIR);
	FAILS(rmdir_name(d, "."), EINVAL);
	FAILS(rmdir_name(d, ".."), ENOTEMPTY);
	ck_assert_uint_eq(stat_of(b.root, ".").st_nlink, 3);
	OK(unlink_name(d, "f"));
	OK(rmdir_name(b.root, "d"));
	ck_assert_uint_eq(stat_of(b.root, ".").st_nlink, 2);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(a_removed_directory_takes_no_names)
{
	struct inode *d, *ip = NULL;

	begin();
	make_file(b.root, "f");
	d = make(b.root, "d", S_IFDIR | 0755);
	OK(rmdir_name(b.root, "d"));
	FAILS(fs_mknod(d, "a", 1, S_IFREG | 0644, 0, somebody, &ip), ENOENT);
	FAILS(rename_name(b.root, "f", d, "f", 0), ENOENT);
	FAILS(fs_lookup(d, "a", 1, &ip), ENOENT);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(directories_have_one_link)
{
	struct inode *d;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	FAILS(fs_link(d, b.root, "e", 1), EPERM);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(links_end_at_the_limit)
{
	struct inode *f;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	f->attr.nlink = LIMIT_LINKS - 1;      /* as if there were that many names */
	OK(fs_link(f, b.root, "last", 4));
	FAILS(fs_link(f, b.root, "more", 4), EMLINK);
	f->attr.nlink = 3;
	OK(unlink_name(b.root, "last"));
	f->attr.nlink = 1;
	OK(fs_link(f, b.root, "g", 1));
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(a_directory_holds_64998_directories)
{
	struct inode *d, *sub;
	struct fs_cred cred = { 0 };

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	d->attr.nlink = 2 + 64998 - 1;        /* as if there were that many in it */
	sub = make(d, "last", S_IFDIR | 0755);
	fs_iput(sub);
	FAILS(fs_mknod(d, "more", 4, S_IFDIR | 0755, 0, cred, &sub), EMLINK);
	sub = make(d, "file", S_IFREG | 0644);
	fs_iput(sub);
	d->attr.nlink = 3;
	OK(fs_rmdir(d, "last", 4));
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(inode_numbers_are_never_used_again)
{
	u64 last = 0;

	begin();
	for (int i = 0; i < 20; i++) {
		u64 ino;

		make_file(b.root, "f");
		ino = ino_of(b.root, "f");
		ck_assert_uint_gt(ino, last);
		last = ino;
		OK(unlink_name(b.root, "f"));
		if (i % 5 == 4)
			box_remount(&b, false);
	}
	box_close(&b);
}
END_TEST

START_TEST(setgid_directories_pass_their_group_on)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE | FS_ATTR_GID, .mode = 02775, .gid = 77 };
	struct inode *d;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	OK(fs_setattr(d, &a));
	make_file(d, "f");
	make_dir(d, "s");
	ck_assert_uint_eq(stat_of(d, "f").st_gid, 77);
	ck_assert_uint_eq(stat_of(d, "f").st_mode, S_IFREG | 0644);
	ck_assert_uint_eq(stat_of(d, "s").st_gid, 77);
	ck_assert_uint_eq(stat_of(d, "s").st_mode, S_IFDIR | 02755);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(symbolic_links_keep_their_target)
{
	char target[4096], buf[4097];
	struct inode *l;

	begin();
	memset(target, 't', sizeof(target));
	OK(fs_symlink(b.root, "short", 5, "/a/b", 4, somebody, &l));
	fs_iput(l);
	OK(fs_symlink(b.root, "long", 4, target, 4095, somebody, &l));
	fs_iput(l);
	FAILS(fs_symlink(b.root, "x", 1, target, 4096, somebody, &l), ENAMETOOLONG);
	FAILS(fs_symlink(b.root, "x", 1, "", 0, somebody, &l), ENOENT);
	for (int round = 0; round < 2; round++) {
		l = get(b.root, "short");
		ck_assert_int_eq(fs_readlink(l, buf, sizeof(buf)), 4);
		ck_assert_mem_eq(buf, "/a/b", 4);
		ck_assert_int_eq(fs_readlink(l, buf, 2), 2);
		fs_iput(l);
		l = get(b.root, "long");
		ck_assert_int_eq(fs_readlink(l, buf, sizeof(buf)), 4095);
		ck_assert_mem_eq(buf, target, 4095);
		fs_iput(l);
		ck_assert_int_eq(stat_of(b.root, "long").st_size, 4095);
		box_remount(&b, false);
	}
	FAILS(fs_readlink(b.root, buf, sizeof(buf)), EINVAL);
	box_close(&b);
}
END_TEST

/* ---- readdir ---- */

struct listing {
	u8 seen[20000];
	u64 nr, dots, last;
	u64 stop_after;    /* 0 = never */
};

static int note(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct listing *l = arg;
	char buf[LIMIT_NAME + 1];

	if (l->stop_after && l->nr >= l->stop_after)
		return 1;
	ck_assert_uint_gt(cookie, l->last);
	ck_assert_uint_gt(ino, 0);
	l->last = cookie;
	if (name[0] == '.') {
		ck_assert_uint_eq(dtype, DT_DIR);
		l->dots++;
		return 0;
	}
	memcpy(buf, name, len);
	buf[len] = 0;
	l->seen[atoi(buf + 1)]++;
	l->nr++;
	return 0;
}

static void make_many(struct inode *dir, unsigned nr)
{
	char name[16];

	for (unsigned i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		make_file(dir, name);
	}
}

START_TEST(readdir_shows_every_entry_once)
{
	static struct listing l;

	begin();
	make_many(b.root, 10000);
	OK(fs_readdir(b.root, 0, note, &l));
	ck_assert_uint_eq(l.nr, 10000);
	ck_assert_uint_eq(l.dots, 2);
	for (unsigned i = 0; i < 10000; i++)
		ck_assert_uint_eq(l.seen[i], 1);
	box_close(&b);
}
END_TEST

START_TEST(readdir_goes_on_where_it_stopped_whatever_changes_meanwhile)
{
	static struct listing l;
	char name[16];

	begin();
	make_many(b.root, 3000);
	for (unsigned part = 1; l.nr < 3000; part++) {
		u64 before = l.nr;

		l.stop_after = part * 100;
		OK(fs_readdir(b.root, l.last, note, &l));
		if (l.nr == before)
			break;
		/* What was shown goes away; strangers come and go. */
		for (unsigned i = 0; i < 3000; i++)
			if (l.seen[i] == 1) {
				snprintf(name, sizeof(name), "f%u", i);
				OK(unlink_name(b.root, name));
				l.seen[i] = 2;
			}
		make_file(b.root, "f10000");
		OK(unlink_name(b.root, "f10000"));
	}
	for (unsigned i = 0; i < 3000; i++)
		ck_assert_uint_eq(l.seen[i], 2);
	box_close(&b);
}
END_TEST

START_TEST(a_directory_larger_than_the_inode_table_works)
{
	char name[16];
	struct census c;

	begin();
	make_many(b.root, 20000);
	for (unsigned i = 0; i < 20000; i += 7) {
		snprintf(name, sizeof(name), "f%u", i);
		ck_assert(there(b.root, name));
	}
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		OK(unlink_name(b.root, name));
	}
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.inodes, 1);
	ck_assert_uint_eq(c.dirents + c.orphans, 0);
	box_close(&b);
}
END_TEST

/* ---- mounts ---- */

START_TEST(a_crash_keeps_what_fsync_promised_and_no_half_operation)
{
	struct inode *d;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	make_file(d, "kept");
	OK(fs_fsync(d, false));
	make_file(d, "maybe");
	OK(rename_name(d, "kept", b.root, "moved", 0));
	fs_iput(d);
	box_remount(&b, true);
	assert_consistent(b.fs);
	d = get(b.root, "d");
	ck_assert_int_eq(there(d, "kept") + there(b.root, "moved"), 1);
	fs_iput(d);
	box_close(&b);
}
END_TEST

START_TEST(a_read_only_mount_refuses_every_change)
{
	struct fs_attr a = { .valid = FS_ATTR_MODE, .mode = 0600 };
	struct inode *ip = NULL, *f;

	begin();
	make_file(b.root, "f");
	b.opts.readonly = true;
	box_remount(&b, false);
	f = get(b.root, "f");
	FAILS(fs_mknod(b.root, "x", 1, S_IFREG | 0644, 0, somebody, &ip), EROFS);
	FAILS(fs_symlink(b.root, "x", 1, "y", 1, somebody, &ip), EROFS);
	FAILS(fs_link(f, b.root, "x", 1), EROFS);
	FAILS(unlink_name(b.root, "f"), EROFS);
	FAILS(rename_name(b.root, "f", b.root, "g", 0), EROFS);
	FAILS(fs_setattr(f, &a), EROFS);
	FAILS(fs_setxattr(f, "user.x", "v", 1, 0), EROFS);
	FAILS(fs_removexattr(f, "user.x"), EROFS);
	OK(fs_fsync(f, false));
	OK(fs_sync(b.fs));
	ck_assert(fs_readonly(b.fs));
	fs_iput(f);
	b.opts.readonly = false;
	box_remount(&b, false);
	ck_assert(there(b.root, "f"));
	box_close(&b);
}
END_TEST

START_TEST(a_dirty_image_is_replayed_into_memory_by_a_read_only_mount)
{
	begin();
	make_file(b.root, "f");
	OK(fs_fsync(b.root, false));
	b.opts.readonly = true;
	box_remount(&b, true);
	ck_assert(!fs_recovery(b.fs)->was_clean);
	ck_assert(there(b.root, "f"));
	box_remount(&b, false);
	ck_assert(!fs_recovery(b.fs)->was_clean);
	b.opts.readonly = false;
	box_remount(&b, false);
	ck_assert(there(b.root, "f"));
	box_close(&b);
}
END_TEST

START_TEST(fsync_without_changes_does_no_io)
{
	struct inode *f;
	u64 flushes;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	OK(fs_fsync(f, false));
	flushes = blk_flush_count(b.dev);
	OK(fs_fsync(f, false));
	OK(fs_fsync(f, true));
	OK(fs_fsync(b.root, false));
	ck_assert_uint_eq(blk_flush_count(b.dev), flushes);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(statfs_counts_inodes_and_space)
{
	struct statvfs x, y;

	begin();
	OK(fs_statfs(b.fs, &x));
	make_many(b.root, 100);
	OK(fs_statfs(b.fs, &y));
	ck_assert_uint_eq(x.f_frsize, 4096);
	ck_assert_uint_le(x.f_blocks, (64u << 20) / 4096);
	ck_assert_uint_ge(x.f_bfree, x.f_bavail);
	ck_assert_uint_eq((y.f_files - y.f_ffree) - (x.f_files - x.f_ffree), 100);
	ck_assert_uint_eq(x.f_namemax, 255);
	box_close(&b);
}
END_TEST

START_TEST(a_file_system_without_superblock_is_not_mounted)
{
	static u8 zero[4096];
	struct fs *fs = NULL;

	begin();
	make_file(b.root, "f");
	fs_iput(b.root);
	OK(fs_unmount(b.fs, false));
	OK(blk_write(b.dev, 0, zero, 1, BLK_META));
	FAILS(fs_mount(b.dev, &b.opts, &fs), EINVAL);
	ck_assert_ptr_null(fs);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("names");

	check_add(s, a_name_leads_to_what_was_created);
	check_add(s, a_name_that_is_there_is_not_created_again);
	check_add(s, names_have_at_most_255_bytes_and_no_slash);
	check_add(s, a_file_is_no_directory);
	check_add(s, dot_is_the_directory_and_dotdot_its_parent);
	check_add(s, the_last_link_takes_the_inode_with_it);
	check_add(s, unlink_is_for_files_and_rmdir_for_empty_directories);
	check_add(s, a_removed_directory_takes_no_names);
	check_add(s, directories_have_one_link);
	check_add(s, links_end_at_the_limit);
	check_add(s, a_directory_holds_64998_directories);
	check_add(s, inode_numbers_are_never_used_again);
	check_add(s, setgid_directories_pass_their_group_on);
	check_add(s, symbolic_links_keep_their_target);
	check_add(s, readdir_shows_every_entry_once);
	check_add(s, readdir_goes_on_where_it_stopped_whatever_changes_meanwhile);
	check_add(s, a_directory_larger_than_the_inode_table_works);
	check_add(s, a_crash_keeps_what_fsync_promised_and_no_half_operation);
	check_add(s, a_read_only_mount_refuses_every_change);
	check_add(s, a_dirty_image_is_replayed_into_memory_by_a_read_only_mount);
	check_add(s, fsync_without_changes_does_no_io);
	check_add(s, statfs_counts_inodes_and_space);
	check_add(s, a_file_system_without_superblock_is_not_mounted);
	return check_main(s);
}
