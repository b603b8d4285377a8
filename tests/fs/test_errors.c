/* Full disks, failing devices, failed commits: what is refused, what is kept, what comes back. */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "fs/file_priv.h"
#include "fs_test.h"
#include "mem/bad.h"

static struct box b;
static u8 data[1 << 20];

/* ---- faults ---- */

static int fail_op = -1, fail_kind = -1;   /* enum blk_fault_op, enum blk_kind; -1 = none / any */
static u64 fail_sector = UINT64_MAX;       /* this one only */
static u64 log_writes;                     /* since it was set to 0 */
/* The flush of this number fails, and takes along what was written since the one before. */
static u64 flush_nr, lose_flush;
static unsigned on_readonly_calls;

/* What the sectors held that were written since the last flush. */
#define KEPT_MAX 4096u
static struct { u64 sector; u8 *was; } kept[KEPT_MAX];
static u32 nr_kept;
static bool keeping;                       /* only while it matters */

static void note_write(const struct blk_fault *f)
{
	if (f->op == BLK_FAULT_FLUSH)
		while (nr_kept)
			free(kept[--nr_kept].was);
	for (u64 i = 0; keeping && f->op == BLK_FAULT_WRITE && i < f->nr; i++) {
		u8 *was = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

		ck_assert_uint_lt(nr_kept, KEPT_MAX);
		OK(blk_read(b.dev, f->sector + i, was, 1, BLK_DATA));
		kept[nr_kept].sector = f->sector + i;
		kept[nr_kept++].was = was;
	}
}

/* The newest first: some sector may have been written twice. */
static void take_back(void)
{
	keeping = false;
	while (nr_kept) {
		OK(blk_write(b.dev, kept[nr_kept - 1].sector, kept[nr_kept - 1].was, 1, BLK_DATA));
		free(kept[--nr_kept].was);
	}
}

static int fault(void *arg, const struct blk_fault *f)
{
	(void)arg;
	log_writes += f->op == BLK_FAULT_WRITE && f->kind == BLK_LOG;
	flush_nr += f->op == BLK_FAULT_FLUSH;
	if (f->op == BLK_FAULT_FLUSH && flush_nr == lose_flush) {
		take_back();
		return -EIO;
	}
	if (f->op == BLK_FAULT_FLUSH || f->op == BLK_FAULT_WRITE)
		note_write(f);
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
	u32 cursor, later, after;
	u8 byte = 0;

	begin("ram:64M");
	f = make(b.root, "f", S_IFREG | 0644);
	cursor = fs_error_cursor(f);
	memset(data, 'd', sizeof(data));
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_flush(f, &cursor));
	fail_op = BLK_FAULT_WRITE;
	fail_kind = BLK_DATA;
	FAILS(fs_fsync(f, false), EIO);
	FAILS(fs_fsync(f, true), EIO);
	FAILS(fs_flush(f, &cursor), EIO);
	OK(fs_flush(f, &cursor));
	/* Who opens the file now is told, too, but not once all is written. */
	later = after = fs_error_cursor(f);
	FAILS(fs_flush(f, &later), EIO);
	OK(fs_flush(f, &later));
	ck_assert_int_eq(fs_read(f, 77777, &byte, 1, NULL), 1);
	ck_assert_int_eq(byte, 'd');
	fail_op = -1;
	OK(fs_fsync(f, false));
	OK(fs_flush(f, &after));
	after = fs_error_cursor(f);
	OK(fs_flush(f, &after));
	fs_iput(f);
	box_remount(&b, true);
	f = get(b.root, "f");
	ck_assert_int_eq(stat_of(b.root, "f").st_size, sizeof(data));
	ck_assert_int_eq(fs_read(f, sizeof(data) - 1, &byte, 1, NULL), 1);
	fs_iput(f);
	box_close(&b);
}
END_TEST

/* ---- flushes ---- */

#define FLUSH_LEN (73u * SECTOR_SIZE)
#define FLUSH_CASES 4
static u8 old_data[FLUSH_LEN], new_data[FLUSH_LEN], got[FLUSH_LEN];

/* The read-only file system that a failed log leaves has what was synced before. */
static void assert_old_or_new(const char *name, bool is_new)
{
	struct inode *f = get(b.root, name);

	memset(got, 0, sizeof(got));
	ck_assert_int_eq(fs_read(f, 0, got, FLUSH_LEN, NULL), FLUSH_LEN);
	for (u32 at = 0; at < FLUSH_LEN; at += SECTOR_SIZE) {
		u32 n = (u32)MIN(FLUSH_LEN - at, (u32)SECTOR_SIZE);

		ck_assert_msg(!memcmp(got + at, new_data + at, n) ||
			      (!is_new && !memcmp(got + at, old_data + at, n)),
			      "sector %u", at / SECTOR_SIZE);
	}
	fs_iput(f);
}

/*
 * Flush n of an fsync of a file in new space, or overwritten, fails and takes what was written
 * since the one before. false: there was no such flush.
 */
static bool lose_one(bool overwrite, bool nosum, u64 n)
{
	struct inode *f;
	bool failed;
	int r;

	box_open(&b, "ram:64M", 0);
	b.opts.on_readonly = on_readonly;
	b.opts.nodatasum = nosum;
	box_remount(&b, false);
	f = make(b.root, "f", S_IFREG | 0644);
	if (overwrite)
		ck_assert_int_eq(fs_write(f, 0, old_data, FLUSH_LEN, 0), FLUSH_LEN);
	OK(fs_sync(b.fs));
	blk_fault_set(b.dev, fault, NULL);
	keeping = true;
	flush_nr = 0;
	lose_flush = n;
	ck_assert_int_eq(fs_write(f, 0, new_data, FLUSH_LEN, 0), FLUSH_LEN);
	r = fs_fsync(f, false);
	failed = flush_nr >= n;
	ck_assert_int_eq(r, failed ? -EIO : 0);
	lose_flush = 0;
	r = fs_fsync(f, false);
	/* The log failed, or it is not known what the flush took. */
	ck_assert(r == 0 || fs_readonly(b.fs) || (nosum && overwrite && failed));
	fs_iput(f);
	keeping = false;
	blk_fault_set(b.dev, NULL, NULL);
	box_remount(&b, true);
	assert_consistent(b.fs);
	if (overwrite || !r)
		assert_old_or_new("f", !r);
	box_close(&b);
	return failed;
}

START_TEST(what_a_failed_flush_took_is_written_again_before_an_fsync_succeeds)
{
	unsigned n = 0;

	memset(old_data, 'o', sizeof(old_data));
	memset(new_data, 'n', sizeof(new_data));
	while (lose_one(_i & 1, _i & 2, n + 1))
		n++;
	ck_assert_uint_ge(n, 1);
}
END_TEST

/* A later flush that succeeds says nothing about what was written before the one that failed. */
START_TEST(the_flush_of_another_file_that_fails_counts_for_what_was_written_before_it)
{
	struct inode *f, *g;

	begin("ram:64M");
	memset(new_data, 'n', sizeof(new_data));
	f = make(b.root, "f", S_IFREG | 0644);
	g = make(b.root, "g", S_IFREG | 0644);
	OK(fs_sync(b.fs));
	keeping = true;
	flush_nr = 0;
	lose_flush = 1;
	ck_assert_int_eq(fs_write(f, 0, new_data, FLUSH_LEN, 0), FLUSH_LEN);
	ck_assert_int_eq(fs_write(g, 0, new_data, FLUSH_LEN, 0), FLUSH_LEN);
	OK(iomap_writeback(&f->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL));
	FAILS(fs_fsync(g, false), EIO);
	lose_flush = 0;
	OK(blk_flush(b.dev));
	/* It is dirty again, and written. */
	OK(fs_fsync(f, false));
	OK(fs_fsync(g, false));
	fs_iput(f);
	fs_iput(g);
	blk_fault_set(b.dev, NULL, NULL);
	box_remount(&b, true);
	assert_consistent(b.fs);
	assert_old_or_new("f", true);
	assert_old_or_new("g", true);
	box_close(&b);
}
END_TEST

/* Dropped from the cache in between: what the device does not give back as it was, is lost. */
START_TEST(what_a_failed_flush_took_and_the_cache_has_not_is_an_error_and_no_old_data)
{
	struct inode *f;
	u8 byte;

	begin("ram:64M");
	memset(old_data, 'o', sizeof(old_data));
	memset(new_data, 'n', sizeof(new_data));
	f = make(b.root, "f", S_IFREG | 0644);
	ck_assert_int_eq(fs_write(f, 0, old_data, FLUSH_LEN, 0), FLUSH_LEN);
	OK(fs_sync(b.fs));
	/* The second one: that of the data. The first is the log's, with the intent. */
	flush_nr = 0;
	lose_flush = 2;
	keeping = true;
	ck_assert_int_eq(fs_write(f, 0, new_data, FLUSH_LEN, 0), FLUSH_LEN);
	FAILS(fs_fsync(f, false), EIO);
	ck_assert(!fs_readonly(b.fs));
	lose_flush = 0;
	cache_drop_clean(&f->file.mapping, 0, UINT64_MAX >> SECTOR_SHIFT);
	FAILS(fs_fsync(f, false), EIO);
	OK(fs_sync(b.fs));
	FAILS(fs_read(f, 0, &byte, 1, NULL), EIO);
	ck_assert_int_eq(fs_write(f, 0, new_data, FLUSH_LEN, 0), FLUSH_LEN);
	OK(fs_fsync(f, false));
	fs_iput(f);
	blk_fault_set(b.dev, NULL, NULL);
	box_remount(&b, true);
	assert_consistent(b.fs);
	assert_old_or_new("f", true);
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

START_TEST(data_that_memory_lost_is_an_error_of_its_file_until_it_is_rewritten)
{
	struct folio *folio;
	struct inode *f;
	u64 ino;

	begin("ram:64M");
	f = make(b.root, "f", S_IFREG | 0644);
	ino = fs_ino(f);
	memset(data, 'd', sizeof(data));
	ck_assert_int_eq(fs_write(f, 0, data, sizeof(data), 0), sizeof(data));
	OK(fs_fsync(f, false));
	ck_assert_int_eq(fs_write(f, 0, data, 200000, 0), 200000);
	folio = cache_find(&f->file.mapping, 20);
	ck_assert(mem_note_error((u8 *)folio_data(folio) + (20 - folio->index) * SECTOR_SIZE,
				 SECTOR_SHIFT));
	folio_put(folio);
	ck_assert_uint_eq(cache_mend_memory(), 0);
	FAILS(fs_read(f, 20 * SECTOR_SIZE, data, 1, NULL), EIO);
	FAILS(fs_fsync(f, false), EIO);
	FAILS(fs_fsync(f, false), EIO);
	/* Dropping caches does not bring back the old contents. */
	fs_drop_cache(b.fs, NULL);
	FAILS(fs_read(f, 20 * SECTOR_SIZE, data, 1, NULL), EIO);
	ck_assert_uint_eq(recorded(WHY_MEM_DATA, ino, UINT64_MAX), 1);
	ck_assert_int_eq(fs_write(f, 20 * SECTOR_SIZE, data, SECTOR_SIZE, 0), SECTOR_SIZE);
	OK(fs_fsync(f, false));
	fs_iput(f);
	box_remount(&b, true);
	ck_assert_uint_eq(recorded(WHY_MEM_DATA, ino, UINT64_MAX), 1);
	f = get(b.root, "f");
	ck_assert_int_eq(fs_read(f, 0, data, sizeof(data), NULL), sizeof(data));
	fs_iput(f);
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

static void add_flush_cases(Suite *s)
{
	TCase *tc = tcase_create("flush_cases");

	tcase_add_loop_test(tc, what_a_failed_flush_took_is_written_again_before_an_fsync_succeeds,
			    0, FLUSH_CASES);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("errors");

	check_add(s, after_a_failed_commit_every_change_is_refused_until_mounted_again);
	check_add(s, a_write_error_is_told_by_every_fsync_until_the_data_is_written);
	check_add(s, a_failed_flush_is_told_and_nothing_counts_as_durable);
	add_flush_cases(s);
	check_add(s, the_flush_of_another_file_that_fails_counts_for_what_was_written_before_it);
	check_add(s, what_a_failed_flush_took_and_the_cache_has_not_is_an_error_and_no_old_data);
	check_add(s, what_the_device_can_not_read_or_write_is_recorded_with_file_and_address);
	check_add(s, data_that_memory_lost_is_an_error_of_its_file_until_it_is_rewritten);
	check_add(s, a_device_that_fails_every_request_is_not_kept_busy_by_recording_it);
	check_add(s, a_directory_that_cannot_be_read_says_so);
	check_add(s, a_disk_full_of_data_and_names_can_be_emptied);
	check_add(s, rename_on_a_full_disk_leaves_both_names_or_works);
	return check_main(s);
}
