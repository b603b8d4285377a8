/* Full disks, failing devices, failed commits: what is refused, what is kept, what comes back. */
#include <errno.h>

#include "base/err.h"
#include "fs/file_priv.h"
#include "fs_test.h"

static struct box b;
static u8 data[1 << 20];

/* ---- faults ---- */

static int fail_op = -1, fail_kind = -1;   /* enum blk_fault_op, enum blk_kind; -1 = none / any */
static u64 fail_sector = UINT64_MAX;       /* this one only */
static u64 log_writes;                     /* since it was set to 0 */
static unsigned on_readonly_calls;

static int fault(void *arg, const struct blk_fault *f)
{
	(void)arg;
	log_writes += f->op == BLK_FAULT_WRITE && f->kind == BLK_LOG;
	if ((int)f->op != fail_op || (fail_kind >= 0 && (int)f->kind != fail_kind))
		return 0;
	if (fail_sector != UINT64_MAX &&
	    (f->sector > fail_sector || fail_sector - f->sector >= f->nr))
		return 0;
	return -EIO;
}

static void on_readonly(void *arg, int error)
{
	(void)arg;
	ck_assert_int_eq(error, -EIO);
	on_readonly_calls++;
}

static void begin(const char *path)
{
	box_open(&b, path, 0);
	b.opts.on_readonly = on_readonly;
	box_remount(&b, false);
	blk_fault_set(b.dev, fault, NULL);
}

START_TEST(after_a_failed_commit_every_change_is_refused_until_mounted_again)
{
	struct inode *ip = NULL;

	begin("ram:64M");
	make_file(b.root, "before");
	OK(fs_fsync(b.root, false));
	make_file(b.root, "lost");
	fail_op = BLK_FAULT_WRITE;
	fail_kind = BLK_LOG;
	ck_assert_int_lt(fs_fsync(b.root, false), 0);
	fail_op = -1;
	ck_assert_uint_eq(on_readonly_calls, 1);
	ck_assert(fs_readonly(b.fs));
	FAILS(fs_mknod(b.root, "x", 1, S_IFREG | 0644, 0, somebody, &ip), EROFS);
	FAILS(unlink_name(b.root, "before"), EROFS);
	ck_assert_int_lt(fs_fsync(b.root, false), 0);
	ck_assert(there(b.root, "before"));
	fs_iput(b.root);
	ck_assert_int_lt(fs_unmount(b.fs, false), 0);
	OK(fs_mount(b.dev, &b.opts, &b.fs));
	OK(fs_iget(b.fs, 1, &b.root));
	ck_assert(there(b.root, "before"));
	ck_assert(!there(b.root, "lost"));
	box_close(&b);
}
END_TEST

START_TEST(a_write_error_is_told_by_every_fsync_until_the_data_is_written)
{
	struct inode *f;
	u32 cursor = 0;
	u8 byte = 0;

	begin("ram:64M");
	f = make(b.root, "f", S_IFREG | 0644);
	memset(data, 'd', sizeof(data));
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_flush(f, &cursor));
	fail_op = BLK_FAULT_WRITE;
	fail_kind = BLK_DATA;
	FAILS(fs_fsync(f, false), EIO);
	FAILS(fs_fsync(f, true), EIO);
	FAILS(fs_flush(f, &cursor), EIO);
	OK(fs_flush(f, &cursor));
	ck_assert_int_eq(fs_read(f, 77777, &byte, 1, NULL), 1);
	ck_assert_int_eq(byte, 'd');
	fail_op = -1;
	OK(fs_fsync(f, false));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	ck_assert_int_eq(stat_of(b.root, "f").st_size, sizeof(data));
	ck_assert_int_eq(fs_read(f, sizeof(data) - 1, &byte, 1, NULL), 1);
	fs_iput(f);
	box_close(&b);
}
END_TEST

START_TEST(a_failed_flush_is_told_and_nothing_counts_as_durable)
{
	struct inode *f;

	begin("ram:64M");
	f = make(b.root, "f", S_IFREG | 0644);
	ck_assert_int_eq(fs_write(f, 0, data, 100000, 0), 100000);
	fail_op = BLK_FAULT_FLUSH;
	ck_assert_int_lt(fs_fsync(f, false), 0);
	fail_op = -1;
	fs_iput(f);
	box_remount(&b, true);
	assert_consistent(b.fs);
	ck_assert(!there(b.root, "f"));
	box_close(&b);
}
END_TEST

/* ---- the record ---- */

static struct fs_errors record;

/* Of the reason, inode and sector (UINT64_MAX: any). */
static u32 recorded(enum why why, u64 ino, u64 sector)
{
	u32 n = 0;

	OK(fs_errors(b.fs, &record));
	for (u32 i = 0; i < record.nr; i++)
		if (record.e[i].why == why && record.e[i].ino == ino &&
		    (sector == UINT64_MAX || record.e[i].sector == sector))
			n += record.e[i].count;
	return n;
}

static u64 disk_of(struct inode *f, u64 sector)
{
	struct extent_run run;

	OK(extent_find(f, sector, &run));
	ck_assert(run.mapped);
	return run.disk + (sector - run.start);
}

START_TEST(what_the_device_can_not_read_or_write_is_recorded_with_file_and_address)
{
	struct inode *f;
	u64 ino, disk;
	u8 buf[64];

	begin("ram:64M");
	f = make(b.root, "f", S_IFREG | 0644);
	ino = fs_ino(f);
	memset(data, 'd', 200000);
	ck_assert_int_eq(fs_write(f, 0, data, 200000, 0), 200000);
	OK(fs_sync(b.fs));
	disk = disk_of(f, 20);
	fs_drop_cache(b.fs, NULL);
	fail_op = BLK_FAULT_READ;
	fail_sector = disk;
	FAILS(fs_read(f, 20 * 4096, buf, sizeof(buf), NULL), EIO);
	ck_assert_int_eq(fs_read(f, 21 * 4096, buf, sizeof(buf), NULL), sizeof(buf));
	ck_assert_uint_ge(recorded(WHY_IO_READ, ino, disk), 1);
	ck_assert_uint_eq(recorded(WHY_IO_READ, ino, UINT64_MAX),
			  recorded(WHY_IO_READ, ino, disk));
	fail_op = BLK_FAULT_WRITE;
	fail_sector = disk + 1;
	ck_assert_int_eq(fs_write(f, 0, data, 200000, 0), 200000);
	FAILS(fs_fsync(f, false), EIO);
	fail_op = -1;
	fail_sector = UINT64_MAX;
	OK(fs_fsync(f, false));
	fs_iput(f);
	box_remount(&b, false);
	ck_assert_uint_eq(recorded(WHY_IO_WRITE, ino, disk + 1), 1);
	ck_assert_uint_ge(recorded(WHY_IO_READ, ino, disk), 1);
	box_close(&b);
}
END_TEST

START_TEST(a_device_that_fails_every_request_is_not_kept_busy_by_recording_it)
{
	struct inode *f;

	begin("ram:64M");
	f = make(b.root, "f", S_IFREG | 0644);
	OK(fs_sync(b.fs));
	memset(data, 'd', sizeof(data));
	fail_op = BLK_FAULT_WRITE;
	fail_kind = BLK_DATA;
	log_writes = 0;
	/* As the flusher does, each second; time stands still here. */
	for (unsigned i = 0; i < 200; i++) {
		fs_write(f, (u64)i * 8192, data, 8192, 0);
		ck_assert_int_lt(iomap_writeback(&f->file, 0, INT64_MAX, 0, 0, NULL), 0);
		errors_tick(b.fs);
	}
	OK(fs_commit(b.fs));
	ck_assert_uint_le(log_writes, 2);
	OK(fs_errors(b.fs, &record));
	ck_assert_uint_le(record.nr, ARRAY_LEN(record.e));
	ck_assert_uint_gt(record.total, 200);
	fail_op = fail_kind = -1;
	OK(fs_sync(b.fs));
	fs_iput(f);
	box_remount(&b, true);
	assert_consistent(b.fs);
	box_close(&b);
}
END_TEST

START_TEST(a_directory_that_cannot_be_read_says_so)
{
	struct inode *ip = NULL;

	begin("ram:64M");
	make_file(b.root, "f");
	box_remount(&b, false);
	fs_drop_cache(b.fs, NULL);
	fail_op = BLK_FAULT_READ;
	fail_kind = BLK_META;
	FAILS(fs_lookup(b.root, "f", 1, &ip), EIO);
	FAILS(unlink_name(b.root, "f"), EIO);
	fail_op = -1;
	ck_assert(there(b.root, "f"));
	box_close(&b);
}
END_TEST

/* ---- full ---- */

static u64 nr_free(void)
{
	struct statvfs st;

	OK(fs_sync(b.fs));
	OK(fs_statfs(b.fs, &st));
	return st.f_bfree;
}

static unsigned fill_with_data(void)
{
	char name[16];

	for (unsigned i = 0;; i++) {
		struct inode *f = NULL;
		ssize_t n;
		int r;

		snprintf(name, sizeof(name), "d%u", i);
		r = fs_mknod(b.root, name, strlen(name), S_IFREG | 0644, 0, somebody, &f);
		if (r) {
			FAILS(r, ENOSPC);
			return i;
		}
		n = fs_write(f, 0, data, sizeof(data), 0);
		OK(fs_fsync(f, false));
		fs_iput(f);
		if (n < (ssize_t)sizeof(data))
			return i + 1;
	}
}

static unsigned fill_with_names(void)
{
	char name[250];

	memset(name, 'n', sizeof(name));
	for (unsigned i = 0;; i++) {
		struct inode *f = NULL;
		int n = snprintf(name, 16, "%u-", i), r;

		name[n] = 'n';
		r = fs_mknod(b.root, name, sizeof(name), S_IFREG | 0644, 0, somebody, &f);
		fs_iput(f);
		if (r) {
			FAILS(r, ENOSPC);
			return i;
		}
	}
}

static int first_name(void *arg, const char *name, size_t len, u64 ino, unsigned t, u64 cookie)
{
	(void)ino, (void)t;
	if (cookie <= 2)
		return 0;
	memcpy(arg, name, len);
	((char *)arg)[len] = 0;
	return 1;
}

static void empty_root(void)
{
	for (;;) {
		char name[256] = "";

		OK(fs_readdir(b.root, 0, first_name, name));
		if (!name[0])
			return;
		OK(unlink_name(b.root, name));
	}
}

START_TEST(a_disk_full_of_data_and_names_can_be_emptied)
{
	struct census c;
	u64 before;

	begin("ram:24M");
	before = nr_free();
	for (int round = 0; round < 3; round++) {
		ck_assert_uint_gt(fill_with_data(), 5);
		ck_assert_uint_gt(fill_with_names(), 10);
		assert_consistent(b.fs);
		if (round == 1)
			box_remount(&b, true);
		empty_root();
		census_take(b.fs, &c);
		ck_assert_uint_eq(c.inodes, 1);
		ck_assert_uint_eq(nr_free(), before);
	}
	box_close(&b);
}
END_TEST

START_TEST(rename_on_a_full_disk_leaves_both_names_or_works)
{
	struct inode *d;
	char name[16];

	begin("ram:24M");
	d = make(b.root, "dir", S_IFDIR | 0755);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		make_file(b.root, name);
	}
	fill_with_data();
	fill_with_names();
	for (int i = 0; i < 200; i++) {
		int r;

		snprintf(name, sizeof(name), "f%d", i);
		r = rename_name(b.root, name, d, name, 0);
		ck_assert(r == 0 || r == -ENOSPC);
		ck_assert_int_eq(there(b.root, name) + there(d, name), 1);
	}
	fs_iput(d);
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("errors");

	check_add(s, after_a_failed_commit_every_change_is_refused_until_mounted_again);
	check_add(s, a_write_error_is_told_by_every_fsync_until_the_data_is_written);
	check_add(s, a_failed_flush_is_told_and_nothing_counts_as_durable);
	check_add(s, what_the_device_can_not_read_or_write_is_recorded_with_file_and_address);
	check_add(s, a_device_that_fails_every_request_is_not_kept_busy_by_recording_it);
	check_add(s, a_directory_that_cannot_be_read_says_so);
	check_add(s, a_disk_full_of_data_and_names_can_be_emptied);
	check_add(s, rename_on_a_full_disk_leaves_both_names_or_works);
	return check_main(s);
}
