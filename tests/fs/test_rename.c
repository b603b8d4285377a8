/* rename: what is replaced, what is refused, and what a directory's move changes. */
#include <errno.h>

#include "fs_test.h"

static struct box b;
static struct inode *d, *e;   /* two directories in the root */

static void begin(void)
{
	box_open(&b, "ram:64M", 0);
	d = make(b.root, "d", S_IFDIR | 0755);
	e = make(b.root, "e", S_IFDIR | 0755);
}

static void end(void)
{
	fs_iput(d);
	fs_iput(e);
	box_close(&b);
}

START_TEST(a_name_moves_with_its_inode)
{
	u64 ino;

	begin();
	make_file(d, "f");
	ino = ino_of(d, "f");
	OK(rename_name(d, "f", d, "g", 0));
	ck_assert(!there(d, "f"));
	ck_assert_uint_eq(ino_of(d, "g"), ino);
	OK(rename_name(d, "g", e, "h", 0));
	ck_assert(!there(d, "g"));
	ck_assert_uint_eq(ino_of(e, "h"), ino);
	FAILS(rename_name(d, "f", e, "x", 0), ENOENT);
	end();
}
END_TEST

START_TEST(a_replaced_file_is_gone)
{
	struct census c;
	u64 ino;

	begin();
	make_file(d, "f");
	make_file(e, "g");
	ino = ino_of(d, "f");
	OK(rename_name(d, "f", e, "g", 0));
	ck_assert_uint_eq(ino_of(e, "g"), ino);
	census_take(b.fs, &c);
	ck_assert_uint_eq(c.inodes, 4);
	ck_assert_uint_eq(c.orphans, 0);
	end();
}
END_TEST

START_TEST(a_replaced_file_that_is_open_stays_readable)
{
	struct inode *open;
	struct stat st;

	begin();
	make_file(d, "f");
	open = make(e, "g", S_IFREG | 0600);
	OK(rename_name(d, "f", e, "g", 0));
	fs_getattr(open, &st);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	assert_consistent(b.fs);
	fs_iput(open);
	end();
}
END_TEST

START_TEST(two_links_of_one_file_stay_two)
{
	struct inode *f;

	begin();
	f = make(d, "f", S_IFREG | 0644);
	OK(fs_link(f, e, "g", 1));
	OK(rename_name(d, "f", e, "g", 0));
	ck_assert(there(d, "f") && there(e, "g"));
	FAILS(rename_name(d, "f", e, "g", FS_RENAME_NOREPLACE), EEXIST);
	OK(rename_name(d, "f", e, "g", FS_RENAME_EXCHANGE));
	OK(rename_name(d, "f", d, "f", 0));
	ck_assert_uint_eq(stat_of(d, "f").st_nlink, 2);
	fs_iput(f);
	end();
}
END_TEST

START_TEST(noreplace_keeps_what_is_there)
{
	begin();
	make_file(d, "f");
	make_file(e, "g");
	FAILS(rename_name(d, "f", e, "g", FS_RENAME_NOREPLACE), EEXIST);
	OK(rename_name(d, "f", e, "h", FS_RENAME_NOREPLACE));
	FAILS(rename_name(e, "h", e, "i", FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE), EINVAL);
	FAILS(rename_name(e, "h", e, "i", 8), EINVAL);
	end();
}
END_TEST

START_TEST(files_and_directories_do_not_replace_each_other)
{
	struct inode *s;

	begin();
	make_file(d, "f");
	s = make(d, "s", S_IFDIR | 0755);
	FAILS(rename_name(d, "f", d, "s", 0), EISDIR);
	FAILS(rename_name(d, "s", d, "f", 0), ENOTDIR);
	make_file(s, "x");
	make_dir(d, "t");
	FAILS(rename_name(d, "t", d, "s", 0), ENOTEMPTY);
	OK(rename_name(d, "s", d, "t", 0));
	ck_assert(there(s, "x"));
	ck_assert_uint_eq(stat_of(b.root, "d").st_nlink, 3);
	fs_iput(s);
	end();
}
END_TEST

START_TEST(a_moved_directory_has_a_new_parent)
{
	struct inode *s, *up;

	begin();
	s = make(d, "s", S_IFDIR | 0755);
	OK(rename_name(d, "s", e, "t", 0));
	OK(fs_lookup(s, "..", 2, &up));
	ck_assert_ptr_eq(up, e);
	fs_iput(up);
	ck_assert_uint_eq(stat_of(b.root, "d").st_nlink, 2);
	ck_assert_uint_eq(stat_of(b.root, "e").st_nlink, 3);
	fs_iput(s);
	end();
}
END_TEST

START_TEST(no_directory_moves_below_itself)
{
	struct inode *s, *t;

	begin();
	s = make(d, "s", S_IFDIR | 0755);
	t = make(s, "t", S_IFDIR | 0755);
	FAILS(rename_name(b.root, "d", d, "x", 0), EINVAL);
	FAILS(rename_name(b.root, "d", s, "x", 0), EINVAL);
	FAILS(rename_name(b.root, "d", t, "x", 0), EINVAL);
	FAILS(rename_name(d, "s", t, "x", FS_RENAME_EXCHANGE), ENOENT);
	make_file(t, "x");
	FAILS(rename_name(d, "s", t, "x", FS_RENAME_EXCHANGE), EINVAL);
	FAILS(rename_name(t, "x", d, "s", FS_RENAME_EXCHANGE), EINVAL);
	FAILS(rename_name(t, "x", d, "s", 0), EISDIR);
	FAILS(rename_name(s, "t", b.root, "d", 0), ENOTEMPTY);
	FAILS(rename_name(d, "..", d, "x", 0), EBUSY);
	fs_iput(t);
	fs_iput(s);
	end();
}
END_TEST

START_TEST(exchange_swaps_a_file_and_a_directory)
{
	struct inode *s, *up;
	u64 f_ino, s_ino;

	begin();
	make_file(d, "f");
	f_ino = ino_of(d, "f");
	s = make(e, "s", S_IFDIR | 0755);
	s_ino = fs_ino(s);
	FAILS(rename_name(d, "f", e, "none", FS_RENAME_EXCHANGE), ENOENT);
	OK(rename_name(d, "f", e, "s", FS_RENAME_EXCHANGE));
	ck_assert_uint_eq(ino_of(d, "f"), s_ino);
	ck_assert_uint_eq(ino_of(e, "s"), f_ino);
	OK(fs_lookup(s, "..", 2, &up));
	ck_assert_ptr_eq(up, d);
	fs_iput(up);
	ck_assert_uint_eq(stat_of(b.root, "d").st_nlink, 3);
	ck_assert_uint_eq(stat_of(b.root, "e").st_nlink, 2);
	fs_iput(s);
	end();
}
END_TEST

START_TEST(what_replaces_a_file_is_on_the_disk_before_its_name)
{
	char text[6] = { 0 };
	struct inode *f;

	begin();
	make_file(d, "old");
	f = make(d, "new", S_IFREG | 0644);
	ck_assert_int_eq(fs_write(f, 0, "hello", 5, 0), 5);
	OK(rename_name(d, "new", d, "old", 0));
	fs_iput(f);
	OK(fs_fsync(d, false));
	fs_iput(d);
	fs_iput(e);
	box_remount(&b, true);
	d = get(b.root, "d");
	e = get(b.root, "e");
	f = get(d, "old");
	ck_assert_int_eq(fs_read(f, 0, text, 5, NULL), 5);
	ck_assert_str_eq(text, "hello");
	fs_iput(f);
	end();
}
END_TEST

static void assert_whiteout(struct inode *dir, const char *name)
{
	struct stat st = stat_of(dir, name);

	ck_assert_uint_eq(st.st_mode, S_IFCHR);
	ck_assert_uint_eq(st.st_rdev, 0);
	ck_assert_uint_eq(st.st_nlink, 1);
	ck_assert_uint_eq(st.st_uid, somebody.uid);
}

START_TEST(a_whiteout_takes_the_place_of_the_old_name_in_the_same_handle)
{
	u64 ino;

	begin();
	make_file(d, "f");
	make_file(d, "g");
	ino = ino_of(d, "f");
	OK(rename_name(d, "f", d, "g", FS_RENAME_WHITEOUT));
	ck_assert_uint_eq(ino_of(d, "g"), ino);
	assert_whiteout(d, "f");
	OK(rename_name(d, "g", e, "h", FS_RENAME_WHITEOUT | FS_RENAME_NOREPLACE));
	assert_whiteout(d, "g");
	OK(rename_name(b.root, "e", d, "sub", FS_RENAME_WHITEOUT));
	assert_whiteout(b.root, "e");
	FAILS(rename_name(d, "sub", d, "f", FS_RENAME_WHITEOUT | FS_RENAME_EXCHANGE), EINVAL);
	assert_consistent(b.fs);
	OK(fs_fsync(d, false));
	fs_iput(d);
	fs_iput(e);
	box_remount(&b, true);
	d = get(b.root, "d");
	e = get(d, "sub");
	ck_assert_uint_eq(ino_of(e, "h"), ino);
	assert_whiteout(d, "g");
	OK(unlink_name(d, "g"));
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rename");

	check_add(s, a_name_moves_with_its_inode);
	check_add(s, a_replaced_file_is_gone);
	check_add(s, a_replaced_file_that_is_open_stays_readable);
	check_add(s, two_links_of_one_file_stay_two);
	check_add(s, noreplace_keeps_what_is_there);
	check_add(s, files_and_directories_do_not_replace_each_other);
	check_add(s, a_moved_directory_has_a_new_parent);
	check_add(s, no_directory_moves_below_itself);
	check_add(s, exchange_swaps_a_file_and_a_directory);
	check_add(s, a_whiteout_takes_the_place_of_the_old_name_in_the_same_handle);
	check_add(s, what_replaces_a_file_is_on_the_disk_before_its_name);
	return check_main(s);
}
