/* Inodes without links: they live while somebody uses them, and no longer, crash or not. */
#include <errno.h>

#include "base/hash.h"
#include "fs/inode.h"
#include "fs/known.h"
#include "fs_test.h"

static struct box b;
static u8 data[3 << 20];

static void begin(void)
{
	box_open(&b, "ram:64M", 0);
}

static struct census census(void)
{
	struct census c;

	census_take(b.fs, &c);
	return c;
}

static u64 nr_free(void)
{
	struct statvfs st;

	OK(fs_sync(b.fs));
	OK(fs_statfs(b.fs, &st));
	return st.f_bfree;
}

START_TEST(an_unlinked_file_lives_until_the_last_reference)
{
	struct inode *f;
	u8 byte = 0;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	memset(data, 'd', sizeof(data));
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(unlink_name(b.root, "f"));
	ck_assert_int_eq(fs_read(f, sizeof(data) - 1, &byte, 1, NULL), 1);
	ck_assert_int_eq(byte, 'd');
	ck_assert_int_eq(fs_write(f, sizeof(data), "more", 4, 0), 4);
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(census().orphans, 1);
	fs_iput(f);
	ck_assert_uint_eq(census().orphans, 0);
	ck_assert_uint_eq(census().inodes, 1);
	ck_assert_uint_eq(census().extents, 0);
	box_close(&b);
}
END_TEST

static struct inode *unnamed(void)
{
	struct inode *f;

	OK(fs_tmpfile(b.root, 0640, somebody, &f));
	return f;
}

START_TEST(a_file_without_a_name_goes_with_its_last_user)
{
	struct inode *f;
	struct stat st;
	u64 before;

	begin();
	before = nr_free();
	f = unnamed();
	fs_getattr(f, &st);
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert_uint_eq(st.st_uid, somebody.uid);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, false));
	ck_assert_uint_eq(census().orphans, 1);
	assert_consistent(b.fs);
	fs_iput(f);
	ck_assert_uint_eq(census().inodes, 1);
	ck_assert_uint_eq(census().orphans, 0);
	ck_assert_uint_eq(nr_free(), before);
	box_close(&b);
}
END_TEST

START_TEST(a_file_without_a_name_is_gone_after_a_crash)
{
	struct inode *f;

	begin();
	f = unnamed();
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, false));
	fs_iput(fs_ihold(f));
	box_remount(&b, true);
	ck_assert_uint_eq(census().inodes, 1);
	ck_assert_uint_eq(census().orphans, 0);
	box_close(&b);
}
END_TEST

START_TEST(a_file_that_is_given_a_name_stays_and_only_the_first_time)
{
	struct inode *f;

	begin();
	f = unnamed();
	ck_assert_int_eq(fs_write(f, 0, "abc", 3, 0), 3);
	OK(fs_link(f, b.root, "f", 1));
	ck_assert_uint_eq(census().orphans, 0);
	OK(fs_fsync(f, false));
	fs_iput(f);
	box_remount(&b, true);
	ck_assert_uint_eq(stat_of(b.root, "f").st_size, 3);
	ck_assert_uint_eq(stat_of(b.root, "f").st_nlink, 1);
	f = unnamed();
	OK(fs_link(f, b.root, "g", 1));
	OK(unlink_name(b.root, "g"));
	FAILS(fs_link(f, b.root, "h", 1), ENOENT);
	fs_iput(f);
	ck_assert_uint_eq(census().inodes, 2);
	box_close(&b);
}
END_TEST

START_TEST(an_unlinked_file_lives_while_it_is_known_outside)
{
	struct inode *f;
	u64 ino;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	ino = fs_ino(f);
	fs_remember(b.fs, ino);
	fs_remember(b.fs, ino);
	fs_iput(f);
	OK(unlink_name(b.root, "f"));
	fs_forget(b.fs, ino, 1);
	OK(fs_iget(b.fs, ino, &f));
	fs_forget(b.fs, ino, 1);
	ck_assert_uint_eq(census().orphans, 1);
	fs_iput(f);
	ck_assert_uint_eq(census().orphans, 0);
	FAILS(fs_iget(b.fs, ino, &f), ESTALE);
	box_close(&b);
}
END_TEST

START_TEST(forgetting_is_enough_when_nothing_is_open)
{
	u64 ino;

	begin();
	make_file(b.root, "f");
	ino = ino_of(b.root, "f");
	fs_remember(b.fs, ino);
	OK(unlink_name(b.root, "f"));
	ck_assert_uint_eq(census().orphans, 1);
	fs_forget(b.fs, ino, 1);
	ck_assert_uint_eq(census().inodes, 1);
	box_close(&b);
}
END_TEST

START_TEST(unmounting_deletes_what_only_the_outside_knew)
{
	begin();
	make_file(b.root, "f");
	fs_remember(b.fs, ino_of(b.root, "f"));
	OK(unlink_name(b.root, "f"));
	box_remount(&b, false);
	ck_assert_uint_eq(census().inodes, 1);
	ck_assert_uint_eq(census().orphans, 0);
	box_close(&b);
}
END_TEST

START_TEST(a_mount_after_a_crash_deletes_orphans_and_gives_their_space_back)
{
	struct inode *f[4];
	char name[2] = "a";
	u64 before;

	begin();
	before = nr_free();
	for (int i = 0; i < 4; i++, name[0]++) {
		f[i] = make(b.root, name, S_IFREG | 0644);
		ck_assert_int_eq(fs_write(f[i], 0, data, sizeof(data), 0), sizeof(data));
		OK(fs_setxattr(f[i], "user.x", data, 10000, 0));
		OK(fs_fsync(f[i], false));
		OK(unlink_name(b.root, name));
	}
	OK(fs_fsync(b.root, false));
	ck_assert_uint_lt(nr_free(), before);
	for (int i = 0; i < 4; i++)
		fs_remember(b.fs, fs_ino(f[i]));
	for (int i = 0; i < 4; i++)
		fs_iput(f[i]);
	box_remount(&b, true);
	ck_assert_uint_eq(census().inodes, 1);
	ck_assert_uint_eq(census().orphans + census().extents + census().xattrs, 0);
	ck_assert_uint_eq(nr_free(), before);
	box_close(&b);
}
END_TEST

START_TEST(deleting_a_large_file_gives_all_its_space_back)
{
	struct inode *f;
	u64 before;

	begin();
	before = nr_free();
	f = make(b.root, "f", S_IFREG | 0644);
	/* Every other sector, so that there are many extents. */
	for (u64 i = 0; i < 3000; i++)
		ck_assert_int_eq(fs_write(f, i * 8192, data, 4096, 0), 4096);
	OK(fs_fsync(f, false));
	ck_assert_uint_gt(census().extents, 0);
	OK(unlink_name(b.root, "f"));
	fs_iput(f);
	ck_assert_uint_eq(nr_free(), before);
	box_close(&b);
}
END_TEST

/* The crash comes when the file has left its item, got a place, and was not yet written there. */
START_TEST(deleting_a_file_that_a_crash_put_back_into_its_item_frees_its_space)
{
	struct inode *f;
	u64 before;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	ck_assert_int_eq(fs_write(f, 0, data, 1000, 0), 1000);
	before = nr_free();
	ck_assert_int_eq(fs_write(f, 1000, data, 5000, 0), 5000);
	OK(iomap_writeback(&f->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	OK(jnl_commit(b.fs->jnl, jnl_newest_seq(b.fs->jnl)));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	ck_assert_uint_eq(fs_size(f), 1000);
	ck_assert_uint_eq(census().extents, 1);
	fs_iput(f);
	OK(unlink_name(b.root, "f"));
	ck_assert_uint_eq(census().extents, 0);
	ck_assert_uint_ge(nr_free(), before);
	box_close(&b);
}
END_TEST

START_TEST(delete_outranks_truncate)
{
	struct inode *f;

	begin();
	f = make(b.root, "f", S_IFREG | 0644);
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, false));
	OK(unlink_name(b.root, "f"));
	OK(fs_truncate(f, 5000));
	ck_assert_uint_eq(census().orphans, 1);
	OK(fs_sync(b.fs));
	fs_remember(b.fs, fs_ino(f));
	fs_iput(f);
	box_remount(&b, true);
	ck_assert_uint_eq(census().inodes, 1);
	ck_assert_uint_eq(census().extents, 0);
	box_close(&b);
}
END_TEST

START_TEST(a_removed_directory_that_is_open_ends_with_its_user)
{
	struct inode *d;

	begin();
	d = make(b.root, "d", S_IFDIR | 0755);
	OK(rmdir_name(b.root, "d"));
	ck_assert_uint_eq(census().orphans, 1);
	assert_consistent(b.fs);
	fs_iput(d);
	ck_assert_uint_eq(census().inodes, 1);
	box_close(&b);
}
END_TEST

/* ---- the table of counts ---- */

START_TEST(counts_add_up_for_many_numbers)
{
	enum { NR = 20000 };
	static u64 model[NR];
	struct known *k = known_new();
	u64 x = 1, live = 0;

	for (unsigned i = 0; i < 400000; i++) {
		u64 slot, n;

		x = hash_mix64(x + i);
		slot = x % NR;
		n = 1 + (x >> 40) % 3;
		if (x >> 33 & 1) {
			known_add(k, slot + 1, n);
			model[slot] += n;
		} else {
			model[slot] -= n < model[slot] ? n : model[slot];
			ck_assert_uint_eq(known_sub(k, slot + 1, n), model[slot]);
		}
	}
	for (unsigned i = 0; i < NR; i++) {
		ck_assert_uint_eq(known_count(k, i + 1), model[i]);
		live += model[i] != 0;
	}
	ck_assert_uint_eq(known_nr(k), live);
	ck_assert_uint_le(known_bytes(k), 32 * (live > 256 ? live : 256) * 2);
	for (unsigned i = 0; i < NR; i++)
		ck_assert_uint_eq(known_sub(k, i + 1, UINT64_MAX), 0);
	ck_assert_uint_eq(known_nr(k), 0);
	ck_assert_uint_le(known_bytes(k), 8192);
	known_free(k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("orphan");

	check_add(s, an_unlinked_file_lives_until_the_last_reference);
	check_add(s, a_file_without_a_name_goes_with_its_last_user);
	check_add(s, a_file_without_a_name_is_gone_after_a_crash);
	check_add(s, a_file_that_is_given_a_name_stays_and_only_the_first_time);
	check_add(s, an_unlinked_file_lives_while_it_is_known_outside);
	check_add(s, forgetting_is_enough_when_nothing_is_open);
	check_add(s, unmounting_deletes_what_only_the_outside_knew);
	check_add(s, a_mount_after_a_crash_deletes_orphans_and_gives_their_space_back);
	check_add(s, deleting_a_large_file_gives_all_its_space_back);
	check_add(s, deleting_a_file_that_a_crash_put_back_into_its_item_frees_its_space);
	check_add(s, delete_outranks_truncate);
	check_add(s, a_removed_directory_that_is_open_ends_with_its_user);
	check_add(s, counts_add_up_for_many_numbers);
	return check_main(s);
}
