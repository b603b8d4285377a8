/* Flags of files, the label, copying between files. */
#include <errno.h>
#include <stdlib.h>

#include "fs_test.h"

static struct box b;

START_TEST(flags_are_kept_across_a_remount_and_unknown_ones_are_refused)
{
	struct inode *f;

	box_open(&b, "ram:64M", 0);
	f = make(b.root, "f", S_IFREG | 0644);
	OK(fs_set_flags(f, FS_FLAG_NODUMP | FS_FLAG_NOATIME));
	FAILS(fs_set_flags(f, 1u << 20), EOPNOTSUPP);
	FAILS(fs_set_flags(f, FMT_IFLAG_INLINE), EOPNOTSUPP);
	fs_iput(f);
	box_remount(&b, false);
	f = get(b.root, "f");
	ck_assert_uint_eq(fs_get_flags(f), FS_FLAG_NODUMP | FS_FLAG_NOATIME);
	fs_iput(f);
	f = make(b.root, "p", S_IFIFO | 0644);
	FAILS(fs_set_flags(f, FS_FLAG_NODUMP), ENOTTY);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(an_immutable_file_takes_only_what_a_cache_took_before)
{
	struct fs_attr a = { .valid = FS_ATTR_MTIME | FS_ATTR_CTIME };
	struct inode *f;
	struct stat st;

	box_open(&b, "ram:64M", 0);
	f = make(b.root, "f", S_IFREG | 0644);
	fs_getattr(f, &st);
	OK(fs_set_flags(f, FS_FLAG_IMMUTABLE));
	FAILS(fs_write(f, 0, "abc", 3, 0), EPERM);
	FAILS(fs_truncate(f, 10), EPERM);
	FAILS(fs_fallocate(f, 0, 0, 10), EPERM);
	ck_assert_int_eq(fs_write(f, 0, "abc", 3, FS_WRITE_CACHE), 3);
	a.mtime = a.ctime = st.st_mtim;
	OK(fs_setattr(f, &a));
	a.ctime.tv_sec += 1000;
	FAILS(fs_setattr(f, &a), EPERM);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(writes_to_a_file_with_the_sync_flag_survive_a_crash)
{
	char buf[4] = "";
	struct inode *f;

	box_open(&b, "ram:64M", 0);
	f = make(b.root, "f", S_IFREG | 0644);
	OK(fs_set_flags(f, FS_FLAG_SYNC));
	OK(fs_sync(b.fs));
	ck_assert_int_eq(fs_write(f, 0, "abc", 3, 0), 3);
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	ck_assert_int_eq(fs_read(f, 0, buf, 4, NULL), 3);
	ck_assert_str_eq(buf, "abc");
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(the_label_changes_in_the_superblock_and_its_copies)
{
	char label[64], want[64], over[65];

	memset(want, 'l', 63);
	want[63] = 0;
	memset(over, 'l', 64);
	over[64] = 0;
	box_open(&b, "ram:4G", 0);         /* copies in groups 1 and 3 */
	OK(fs_set_label(b.fs, want));
	FAILS(fs_set_label(b.fs, over), EINVAL);
	box_remount(&b, true);
	fs_get_label(b.fs, label, sizeof(label));
	ck_assert_str_eq(label, want);
	OK(fs_set_label(b.fs, ""));
	fs_get_label(b.fs, label, sizeof(label));
	ck_assert_str_eq(label, "");
	box_close(&b);                     /* checks */
}
END_TEST

START_TEST(a_copy_keeps_holes_sizes_and_refuses_overlap)
{
	struct inode *f, *g;
	struct stat st;
	char *buf = malloc(300000), *got = malloc(300000);

	box_open(&b, "ram:64M", 0);
	f = make(b.root, "f", S_IFREG | 0644);
	g = make(b.root, "g", S_IFREG | 0644);
	memset(buf, 'x', 300000);
	ck_assert_int_eq(fs_write(f, 8 << 20, buf, 300000, 0), 300000);
	OK(fs_truncate(f, 20 << 20));
	ck_assert_int_eq(fs_write(g, 1 << 20, buf, 5000, 0), 5000);
	ck_assert_int_eq(fs_copy_range(f, 0, g, 0, UINT32_MAX, 0), 20 << 20);
	fs_getattr(g, &st);
	ck_assert_int_eq(st.st_size, 20 << 20);
	ck_assert_int_le(st.st_blocks * 512, 310000);
	ck_assert_int_eq(fs_read(g, 8 << 20, got, 300000, NULL), 300000);
	ck_assert(!memcmp(buf, got, 300000));
	ck_assert_int_eq(fs_read(g, 1 << 20, got, 5000, NULL), 5000);
	ck_assert(got[0] == 0 && !memcmp(got, got + 1, 4999));
	ck_assert_int_eq(fs_copy_range(f, 20 << 20, g, 0, 10, 0), 0);
	FAILS(fs_copy_range(f, 0, f, 4096, 8192, 0), EINVAL);
	ck_assert_int_eq(fs_copy_range(f, 8 << 20, f, 0, 100, 0), 100);
	FAILS(fs_copy_range(b.root, 0, f, 0, 10, 0), EISDIR);
	FAILS(fs_copy_range(f, 0, g, FMT_SIZE_MAX - 5, 10, 0), EFBIG);
	fs_iput(f);
	fs_iput(g);
	free(buf);
	free(got);
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("flags");

	check_add(s, flags_are_kept_across_a_remount_and_unknown_ones_are_refused);
	check_add(s, an_immutable_file_takes_only_what_a_cache_took_before);
	check_add(s, writes_to_a_file_with_the_sync_flag_survive_a_crash);
	check_add(s, the_label_changes_in_the_superblock_and_its_copies);
	check_add(s, a_copy_keeps_holes_sizes_and_refuses_overlap);
	return check_main(s);
}
