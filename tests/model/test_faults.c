/*
 * A device that fails at any one of its requests, or from one on, with EIO or ENOSPC; a file
 * system with any small number of free sectors; any one allocation of memory, or some in a row,
 * that fails. Whatever fails: the operation has had no effect,
 * data stays and is written when the device works again, the image is consistent.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "base/log.h"
#include "blk/sim.h"
#include "check/check.h"
#include "../fs/fs_test.h"
#include "nomem.h"

#define FILES 8u
#define FILE_MAX 320000u

struct file {
	u64 ino;                /* 0: not there */
	char name[8];
	u64 size;
	bool synced;            /* fsync returned 0 since the last change */
	bool loose;             /* memory failed on the way of taking some of it away */
	u8 *data;
};

static struct rig {
	struct blk_dev *base;
	struct sim_cutter *cutter;
	struct blk_dev *dev;
	struct fs *fs;
	struct inode *root;
	struct file file[FILES];
	unsigned failed;        /* operations that did */
	char lost[200];         /* newest message of that kind */
} g;

/* ---- the device ---- */

static struct {
	u64 count;              /* requests so far */
	u64 from, to;           /* those that fail */
	int error;
	int op, kind;           /* of these only; -1: all */
	bool flush;             /* one that failed was a flush */
	bool memory;            /* it is memory that fails */
} fault;

static int inject(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if ((fault.op >= 0 && (int)f->op != fault.op) ||
	    (fault.kind >= 0 && (f->op > BLK_FAULT_WRITE || (int)f->kind != fault.kind)))
		return 0;
	fault.count++;
	if (fault.count <= fault.from || fault.count > fault.to)
		return 0;
	fault.flush |= f->op == BLK_FAULT_FLUSH;
	return fault.error;
}

static void no_faults(void)
{
	fault.from = fault.to = UINT64_MAX;
}

static void listen_log(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)arg;
	if (strstr(line, "are lost"))
		snprintf(g.lost, sizeof(g.lost), "%s", line);
}

/* ---- life ---- */

static void rig_init(u64 cache_bytes)
{
	struct cache_config cc = { .bytes = cache_bytes, .max_order = 0xff };
	struct sim_opts so = { .sectors = 2048, .record = true };
	struct fs_format_opts fo = { .time = 1, .jnl_sectors = FMT_JNL_MIN_SECTORS };

	log_set_sink(listen_log, NULL);
	OK(cache_init(&cc));
	OK(sim_open(&so, &g.base));
	OK(fs_format(g.base, &fo, NULL));
	OK(sim_cutter_new(g.base, &g.cutter));
	for (unsigned i = 0; i < FILES; i++)
		g.file[i].data = malloc(FILE_MAX);
}

static void rig_fini(void)
{
	for (unsigned i = 0; i < FILES; i++)
		free(g.file[i].data);
	sim_cutter_free(g.cutter);
	blk_close(g.base);
	cache_fini();
}

static void rig_mount(void)
{
	struct fs_opts mo = { .commit_ms = 3600 * 1000 };

	OK(fs_mount(g.dev, &mo, &g.fs));
	OK(fs_iget(g.fs, 1, &g.root));
}

static void rig_open(void)
{
	struct sim_spec all = { .events = sim_nr_events(g.base), .cut = SIM_PREFIX };

	no_faults();
	fault.count = 0;
	fault.flush = false;
	g.failed = 0;
	g.lost[0] = 0;
	for (unsigned i = 0; i < FILES; i++)
		g.file[i] = (struct file){ .data = g.file[i].data };
	OK(sim_image(g.cutter, &all, false, &g.dev));
	blk_fault_set(g.dev, inject, NULL);
	rig_mount();
}

static int rig_unmount(void)
{
	fs_iput(g.root);
	return fs_unmount(g.fs, false);
}

static void assert_clean(void)
{
	struct check_result res;

	OK(check_run(g.dev, NULL, &res));
	ck_assert_uint_eq(res.problems, 0);
}

/* ---- a workload that goes on after errors, and remembers what it was told ---- */

static bool fine(ssize_t r)
{
	if (r >= 0)
		return true;
	/* Check allocates, too. */
	if (r != -EIO && r != -ENOSPC && r != -EROFS && !(r == -ENOMEM && fault.memory)) {
		nomem_set(UINT64_MAX, UINT64_MAX);
		ck_abort_msg("error %zd", r);
	}
	g.failed++;
	return false;
}

static struct inode *open_file(struct file *f)
{
	struct inode *ip;

	if (!f->ino || !fine(fs_iget(g.fs, f->ino, &ip)))
		return NULL;
	return ip;
}

static void create(unsigned i)
{
	struct file *f = &g.file[i];
	struct inode *ip;

	snprintf(f->name, sizeof(f->name), "f%u", i);
	if (!fine(fs_mknod(g.root, f->name, strlen(f->name), S_IFREG | 0644, 0, somebody, &ip)))
		return;
	f->ino = fs_ino(ip);
	memset(f->data, 0, FILE_MAX);
	fs_iput(ip);
}

static void put(unsigned i, u64 pos, u64 len, u8 value)
{
	struct file *f = &g.file[i];
	struct inode *ip = open_file(f);
	static u8 buf[FILE_MAX];
	ssize_t n;

	if (!ip)
		return;
	memset(buf, value, len);
	n = fs_write(ip, pos, buf, len, 0);
	if (fine(n) && n > 0) {
		memset(f->data + pos, value, (size_t)n);
		f->size = MAX(f->size, pos + (u64)n);
		f->synced = false;
	}
	fs_iput(ip);
}

static void cut(unsigned i, u64 size)
{
	struct file *f = &g.file[i];
	struct inode *ip = open_file(f);

	if (!ip)
		return;
	if (fine(fs_truncate(ip, size))) {
		memset(f->data + size, 0, FILE_MAX - size);
		f->size = size;
		f->synced = false;
	} else {
		f->loose |= fault.memory;
	}
	fs_iput(ip);
}

static void punch(unsigned i, u64 pos, u64 len)
{
	struct file *f = &g.file[i];
	struct inode *ip = open_file(f);

	if (!ip)
		return;
	if (fine(fs_fallocate(ip, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, len))) {
		memset(f->data + pos, 0, len);
		f->synced = false;
	} else {
		f->loose |= fault.memory;
	}
	fs_iput(ip);
}

static void fsync_file(unsigned i)
{
	struct file *f = &g.file[i];
	struct inode *ip = open_file(f);

	if (!ip)
		return;
	f->synced = fine(fs_fsync(ip, false)) || f->synced;
	fs_iput(ip);
}

static void rename_over(unsigned from, unsigned to)
{
	struct file *a = &g.file[from], *b = &g.file[to];

	if (!a->ino || !b->ino)
		return;
	if (!fine(fs_rename(g.root, a->name, strlen(a->name), g.root, b->name, strlen(b->name),
			    0, somebody)))
		return;
	b->ino = 0;
	snprintf(a->name, sizeof(a->name), "%s", b->name);
}

static void unlink_file(unsigned i)
{
	struct file *f = &g.file[i];

	if (f->ino && fine(fs_unlink(g.root, f->name, strlen(f->name))))
		f->ino = 0;
}

static void read_file(unsigned i)
{
	struct inode *ip = open_file(&g.file[i]);
	static u8 buf[FILE_MAX];

	if (ip)
		fine(fs_read(ip, 0, buf, sizeof(buf), NULL));
	fs_iput(ip);
}

static void workload(void)
{
	static const u64 size[FILES] = { 500, 5000, 70000, 300000, 1000, 20000, 4096, 12288 };

	for (unsigned i = 0; i < FILES; i++) {
		create(i);
		put(i, 0, size[i], (u8)('a' + i));
		if (i % 3 == 0)
			fsync_file(i);
	}
	fine(fs_sync(g.fs));
	put(2, 8192, 8192, 'X');
	fsync_file(2);
	cut(3, 100000);
	punch(2, 4096, 20000);
	put(0, 400, 9000, 'Y');
	fine(fs_setxattr(g.root, "user.x", "value", 5, 0));
	rename_over(1, 5);
	unlink_file(6);
	fine(jnl_checkpoint_all(fs_jnl(g.fs)));
	fs_drop_cache(g.fs, NULL);
	for (unsigned i = 0; i < FILES; i++)
		read_file(i);
	put(7, 100, 50, 'Z');
	put(3, 90000, 30000, 'W');
	fsync_file(7);
	unlink_file(4);
	fine(fs_sync(g.fs));
}

/* ---- afterwards ---- */

static void verify_file(const struct file *f)
{
	static u8 buf[FILE_MAX];
	struct inode *ip;
	ssize_t n;

	OK(fs_iget(g.fs, f->ino, &ip));
	n = fs_read(ip, 0, buf, sizeof(buf), NULL);
	ck_assert_int_ge(n, 0);
	if (f->loose) {
		fs_iput(ip);
		return;
	}
	ck_assert_msg(n == (ssize_t)f->size, "%s: %zd of %llu bytes", f->name, n,
		      (unsigned long long)f->size);
	ck_assert_msg(!memcmp(buf, f->data, f->size), "%s: other contents", f->name);
	fs_iput(ip);
}

/* The device works again: all that was accepted is there. */
static void verify_all(void)
{
	OK(fs_sync(g.fs));
	OK(rig_unmount());
	assert_clean();
	rig_mount();
	for (unsigned i = 0; i < FILES; i++) {
		if (!g.file[i].ino)
			continue;
		ck_assert(there(g.root, g.file[i].name));
		verify_file(&g.file[i]);
	}
	OK(rig_unmount());
}

/*
 * The log failed, or a flush, after which nobody knows what the device still has: every fsync that
 * depends on it goes on failing. The next mount has what fsync said is there.
 */
static void verify_synced(void)
{
	int r = rig_unmount();

	ck_assert(r < 0 || fault.flush);
	rig_mount();
	for (unsigned i = 0; i < FILES; i++)
		if (g.file[i].ino && g.file[i].synced)
			verify_file(&g.file[i]);
	OK(rig_unmount());
	assert_clean();
}

/* Requests (from, to] fail; true if the workload came so far. */
static bool run(u64 from, u64 to)
{
	bool reached;

	rig_open();
	fault.from = from;
	fault.to = to;
	workload();
	reached = fault.count > from;
	if (fault.error == -ENOSPC)
		ck_assert(!fs_readonly(g.fs));
	no_faults();
	if (fs_readonly(g.fs) || fault.flush)
		verify_synced();
	else
		verify_all();
	blk_close(g.dev);
	return reached;
}

static void every_request(int error, int op, int kind, u64 nr)
{
	unsigned runs = 0;

	fault.error = error;
	fault.op = op;
	fault.kind = kind;
	rig_init(4u << 20);
	for (u64 i = 0; run(i, i + nr); i++)
		runs++;
	printf("%u requests\n", runs);
	ck_assert_uint_ge(runs, kind == BLK_META ? 3 : 8);
	rig_fini();
}

START_TEST(an_error_of_any_one_request_leaves_nothing_half_done)
{
	every_request(-EIO, -1, -1, 1);
}
END_TEST

START_TEST(data_writes_that_fail_for_a_while_lose_nothing)
{
	every_request(-EIO, BLK_FAULT_WRITE, BLK_DATA, 7);
}
END_TEST

START_TEST(no_space_on_the_host_at_any_write_leaves_nothing_half_done)
{
	every_request(-ENOSPC, BLK_FAULT_WRITE, -1, 1);
}
END_TEST

START_TEST(no_space_on_the_host_for_data_for_a_while_loses_nothing)
{
	every_request(-ENOSPC, BLK_FAULT_WRITE, BLK_DATA, 7);
}
END_TEST

START_TEST(no_space_on_the_host_for_metadata_for_a_while_loses_nothing)
{
	every_request(-ENOSPC, BLK_FAULT_WRITE, BLK_META, 7);
}
END_TEST

START_TEST(no_space_on_the_host_for_the_log_for_a_while_loses_nothing)
{
	every_request(-ENOSPC, BLK_FAULT_WRITE, BLK_LOG, 3);
}
END_TEST

/* Every write of this kind fails, until no_faults(). */
static void rig_failing(int error, int kind)
{
	fault.error = error;
	fault.op = BLK_FAULT_WRITE;
	fault.kind = kind;
	rig_init(4u << 20);
	rig_open();
	fault.from = 0;
}

static void fail_all(int error, int kind)
{
	rig_failing(error, kind);
	workload();
	ck_assert_uint_gt(fault.count, 0);
	if (error == -ENOSPC)
		ck_assert(!fs_readonly(g.fs));
	no_faults();
	if (fs_readonly(g.fs))
		verify_synced();
	else
		verify_all();
	blk_close(g.dev);
	rig_fini();
}

START_TEST(a_full_host_makes_nothing_read_only_and_all_goes_on_when_it_has_room)
{
	static const int kinds[] = { BLK_DATA, BLK_META, BLK_LOG, -1 };

	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		fail_all(-ENOSPC, kinds[i]);
}
END_TEST

START_TEST(metadata_or_a_log_that_fails_makes_it_read_only_with_all_that_was_synced)
{
	fail_all(-EIO, BLK_META);
	fail_all(-EIO, BLK_LOG);
}
END_TEST

/* Makes files with names until one can't be made, `max` at most. How many there are. */
static unsigned make_many(unsigned from, unsigned max, int *error)
{
	struct inode *ip;
	unsigned n = from;
	char name[32];

	for (*error = 0; n < max; n++) {
		snprintf(name, sizeof(name), "a file of many, number %u", n);
		*error = fs_mknod(g.root, name, strlen(name), S_IFREG | 0644, 0, somebody, &ip);
		if (*error)
			break;
		fs_iput(ip);
	}
	return n;
}

/* The trees grow while the host has no room for a node: the log holds what it can. */
START_TEST(trees_that_grow_on_a_full_host_end_with_no_space_and_grow_on_later)
{
	static const int kinds[] = { BLK_META, BLK_LOG, -1 };
	unsigned n, more;
	char name[32];
	int error;

	rig_failing(-ENOSPC, kinds[_i]);
	n = make_many(0, 20000, &error);
	ck_assert_int_eq(error, -ENOSPC);
	ck_assert_uint_gt(n, 300);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(fs_sync(g.fs), fault.kind == BLK_META ? 0 : -ENOSPC);
	ck_assert(!fs_readonly(g.fs));
	no_faults();
	more = make_many(n, n + 2000, &error);
	ck_assert_int_eq(error, 0);
	OK(fs_sync(g.fs));
	OK(rig_unmount());
	assert_clean();
	rig_mount();
	for (unsigned i = 0; i < more; i++) {
		snprintf(name, sizeof(name), "a file of many, number %u", i);
		ck_assert_msg(there(g.root, name), "%s of %u, %u", name, n, more);
	}
	OK(rig_unmount());
	blk_close(g.dev);
	rig_fini();
}
END_TEST

/* What the log says is there also if the host has no room up to the end. */
START_TEST(an_unmount_on_a_full_host_keeps_all_that_was_synced)
{
	int r;

	rig_failing(-ENOSPC, BLK_META);
	workload();
	r = rig_unmount();
	ck_assert_int_eq(r, -ENOSPC);
	/* The mount must write what the log holds: it fails, and loses nothing either. */
	ck_assert_int_eq(fs_mount(g.dev, &(struct fs_opts){ .commit_ms = 1000 }, &g.fs), -ENOSPC);
	no_faults();
	rig_mount();
	for (unsigned i = 0; i < FILES; i++)
		if (g.file[i].ino && g.file[i].synced)
			verify_file(&g.file[i]);
	OK(rig_unmount());
	assert_clean();
	blk_close(g.dev);
	rig_fini();
}
END_TEST

START_TEST(fsync_tells_of_no_space_on_the_host_every_time_until_it_is_written)
{
	struct inode *ip;

	fault.error = -ENOSPC;
	fault.op = BLK_FAULT_WRITE;
	fault.kind = BLK_DATA;
	rig_init(4u << 20);
	rig_open();
	create(0);
	put(0, 0, 100000, 'a');
	ip = open_file(&g.file[0]);
	fault.from = 0;
	for (int i = 0; i < 5; i++)
		FAILS(fs_fsync(ip, i % 2), ENOSPC);
	no_faults();
	OK(fs_fsync(ip, true));
	OK(fs_fsync(ip, false));
	fs_iput(ip);
	verify_all();
	blk_close(g.dev);
	rig_fini();
}
END_TEST

/* ---- a device that writes nothing any more ---- */

START_TEST(a_device_that_fails_every_write_keeps_a_bounded_amount_and_says_so)
{
	const u64 cache_bytes = 4u << 20;
	u64 most = 0;

	fault.error = -EIO;
	fault.op = BLK_FAULT_WRITE;
	fault.kind = BLK_DATA;
	rig_init(cache_bytes);
	rig_open();
	for (unsigned i = 0; i < FILES; i++)
		create(i);
	OK(fs_sync(g.fs));
	fault.from = 0;
	for (unsigned round = 0; round < 100; round++) {
		put(round % FILES, (round / FILES) * 20000, 20000, 'x');
		most = MAX(most, cache_dirty_bytes());
	}
	ck_assert_uint_gt(g.failed, 0);
	ck_assert_uint_le(most, cache_bytes / 2);
	fs_iput(g.root);
	ck_assert_int_lt(fs_unmount(g.fs, false), 0);
	ck_assert_msg(strstr(g.lost, "KiB could not be written"), "said: %s", g.lost);
	no_faults();
	rig_mount();
	OK(rig_unmount());
	assert_clean();
	blk_close(g.dev);
	rig_fini();
}
END_TEST

/* ---- no memory ---- */

/* The device has a page for every sector: it is not to fail. */
static void give_pages(void)
{
	static u8 buf[64 * SECTOR_SIZE];

	for (u64 at = 0; at < blk_sectors(g.dev); at += 64) {
		OK(blk_read(g.dev, at, buf, 64, BLK_DATA));
		OK(blk_write(g.dev, at, buf, 64, BLK_DATA));
	}
}

/* Allocations (from, to] fail; true if the workload came so far. */
static bool run_nomem(u64 from, u64 to, unsigned *failed)
{
	bool reached;

	rig_open();
	give_pages();
	fault.memory = true;
	nomem_set(from, to);
	workload();
	reached = nomem_count() > from;
	nomem_set(UINT64_MAX, UINT64_MAX);
	fault.memory = false;
	*failed += g.failed;
	ck_assert_msg(!fs_readonly(g.fs), "read-only for want of memory, at %llu",
		      (unsigned long long)from);
	verify_all();
	blk_close(g.dev);
	return reached;
}

static void every_allocation(u64 step, u64 nr)
{
	unsigned runs = 0, failed = 0;

	fault.op = fault.kind = -1;
	rig_init(4u << 20);
	for (u64 i = 0; run_nomem(i, i + nr, &failed); i += step)
		runs++;
	printf("%u runs, %u operations failed\n", runs, failed);
	ck_assert_uint_ge(runs, 20);
	ck_assert_uint_gt(failed, runs / 4);
	rig_fini();
}

START_TEST(an_allocation_that_fails_leaves_nothing_half_done_and_loses_nothing)
{
	every_allocation(1, 1);
}
END_TEST

START_TEST(no_memory_for_a_while_leaves_nothing_half_done_and_loses_nothing)
{
	every_allocation(5, 60);
}
END_TEST

/* ---- no space in the file system ---- */

/* Leaves this many sectors to be had. */
static void fill_up(u64 leave)
{
	struct statvfs st;
	struct inode *ip = make(g.root, "filler", S_IFREG | 0644);

	OK(fs_sync(g.fs));
	OK(fs_statfs(g.fs, &st));
	if (st.f_bavail > leave)
		OK(fs_fallocate(ip, FALLOC_FL_KEEP_SIZE, 0,
				(st.f_bavail - leave) * SECTOR_SIZE));
	OK(fs_sync(g.fs));
	fs_iput(ip);
}

START_TEST(with_any_few_free_sectors_an_operation_works_or_leaves_no_trace)
{
	unsigned failed = 0;

	fault.op = fault.kind = -1;
	rig_init(4u << 20);
	for (u64 leave = 0; leave < 160; leave++) {
		u64 before, after;
		struct statvfs st;

		rig_open();
		fill_up(leave);
		OK(fs_statfs(g.fs, &st));
		before = st.f_bfree;
		workload();
		failed += g.failed;
		for (unsigned i = 0; i < FILES; i++) {
			if (g.file[i].ino)
				verify_file(&g.file[i]);
			if (g.file[i].ino)
				OK(unlink_name(g.root, g.file[i].name));
			g.file[i].ino = 0;
		}
		fs_removexattr(g.root, "user.x");
		OK(fs_sync(g.fs));
		OK(fs_statfs(g.fs, &st));
		after = st.f_bfree;
		ck_assert_uint_eq(before, after);
		OK(rig_unmount());
		assert_clean();
		blk_close(g.dev);
	}
	ck_assert_uint_gt(failed, 100);
	rig_fini();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("faults");
	TCase *tc;

	check_add_slow(s, an_error_of_any_one_request_leaves_nothing_half_done, 300);
	check_add_slow(s, data_writes_that_fail_for_a_while_lose_nothing, 300);
	check_add_slow(s, no_space_on_the_host_at_any_write_leaves_nothing_half_done, 300);
	check_add_slow(s, no_space_on_the_host_for_data_for_a_while_loses_nothing, 300);
	check_add_slow(s, no_space_on_the_host_for_metadata_for_a_while_loses_nothing, 300);
	check_add_slow(s, no_space_on_the_host_for_the_log_for_a_while_loses_nothing, 300);
	check_add_slow(s, a_full_host_makes_nothing_read_only_and_all_goes_on_when_it_has_room, 60);
	check_add(s, metadata_or_a_log_that_fails_makes_it_read_only_with_all_that_was_synced);
	tc = tcase_create("trees_that_grow_on_a_full_host_end_with_no_space_and_grow_on_later");
	tcase_add_loop_test(tc, trees_that_grow_on_a_full_host_end_with_no_space_and_grow_on_later,
			    0, 3);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	check_add(s, an_unmount_on_a_full_host_keeps_all_that_was_synced);
	check_add_slow(s, an_allocation_that_fails_leaves_nothing_half_done_and_loses_nothing, 300);
	check_add_slow(s, no_memory_for_a_while_leaves_nothing_half_done_and_loses_nothing, 300);
	check_add(s, fsync_tells_of_no_space_on_the_host_every_time_until_it_is_written);
	check_add_slow(s, a_device_that_fails_every_write_keeps_a_bounded_amount_and_says_so, 120);
	check_add_slow(s, with_any_few_free_sectors_an_operation_works_or_leaves_no_trace, 300);
	return check_main(s);
}
