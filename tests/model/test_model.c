/*
 * Random operations through fs.h against a model in memory, with remounts, a small cache and block
 * sizes from 4 KiB to 2 MiB; with threads; with I/O errors; on a device that is full.
 *
 * MODEL_SEED=n runs that seed only, MODEL_OPS=n so many operations a run (long runs:
 * scripts/crash).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "check/check.h"
#include "check_main.h"
#include "drive.h"

struct rig {
	const char *test;
	struct blk_dev *dev;
	struct fs *fs;
	struct fs_opts opts;
	u32 block_bytes, cache_bytes, dev_mib, jnl_sectors;
};

static u64 env_number(const char *name, u64 fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : fallback;
}

static void quiet(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level <= LOG_LEVEL_ERR && getenv("MODEL_LOG"))
		fprintf(stderr, "%s\n", line);
}

static struct rig *live_rig;

static void want_writeback(void *arg)
{
	(void)arg;
	if (live_rig->fs)
		fs_want_writeback(live_rig->fs);
}

static void want_checkpoint(void *arg)
{
	(void)arg;
	if (live_rig->fs)
		fs_want_checkpoint(live_rig->fs);
}

static void rig_open(struct rig *g)
{
	struct cache_config cc = { .bytes = g->cache_bytes, .max_order = 0xff };
	struct fs_format_opts fo = { .block_bytes = g->block_bytes, .time = 1000000000,
				     .jnl_sectors = g->jnl_sectors };
	char path[32];

	if (g->opts.threads) {
		cc.want_writeback = want_writeback;
		cc.want_checkpoint = want_checkpoint;
	}
	live_rig = g;
	log_set_sink(quiet, NULL);
	ck_assert_int_eq(cache_init(&cc), 0);
	snprintf(path, sizeof(path), "ram:%uM", g->dev_mib);
	ck_assert_int_eq(blk_open(path, BLK_RDWR, NULL, &g->dev), 0);
	ck_assert_int_eq(fs_format(g->dev, &fo, NULL), 0);
	ck_assert_int_eq(fs_mount(g->dev, &g->opts, &g->fs), 0);
}

static void problem(void *arg, const struct check_problem *p)
{
	(void)arg;
	fprintf(stderr, "check: %s: inode %lld, sector %lld: %s\n", check_code_name(p->code),
		(long long)p->ino, (long long)p->sector, p->text);
}

static void rig_unmount(struct rig *g, const char *who, u64 seed)
{
	struct check_opts co = { .problem = problem };
	struct check_result res;
	struct fs *fs = g->fs;

	if (!g->opts.threads)
		g->fs = NULL;
	ck_assert_int_eq(fs_unmount(fs, false), 0);
	g->fs = NULL;
	ck_assert_int_eq(check_run(g->dev, &co, &res), 0);
	ck_assert_msg(res.problems == 0, "%s, seed %llu: %llu problems", who,
		      (unsigned long long)seed, (unsigned long long)res.problems);
}

static void rig_close(struct rig *g)
{
	blk_close(g->dev);
	cache_fini();
}

static u64 free_sectors(struct fs *fs)
{
	struct statvfs s;

	ck_assert_int_eq(fs_statfs(fs, &s), 0);
	return s.f_bfree;
}

/* ---- one driver, many remounts ---- */

static void run_plain(struct rig *g, u64 seed, u64 ops, unsigned rounds)
{
	struct drive d;

	rig_open(g);
	drive_init(&d, g->test, seed, "w0");
	for (unsigned i = 0; i < rounds; i++) {
		drive_attach(&d, g->fs);
		drive_run(&d, ops / rounds);
		drive_verify(&d);
		if (i % 2)
			drive_fsync_all(&d);
		drive_detach(&d);
		rig_unmount(g, g->test, seed);
		ck_assert_int_eq(fs_mount(g->dev, &g->opts, &g->fs), 0);
		drive_attach(&d, g->fs);
		drive_verify(&d);
	}
	printf("%s: seed %llu, block %u: %llu operations, %llu refused\n", g->test,
	       (unsigned long long)seed, g->block_bytes, (unsigned long long)d.ops,
	       (unsigned long long)d.refused);
	drive_empty(&d);
	drive_fini(&d);
	rig_unmount(g, g->test, seed);
	rig_close(g);
}

static void run_seeds(struct rig model, u64 first, u64 nr, u64 ops, unsigned rounds)
{
	u64 one = env_number("MODEL_SEED", 0);

	ops = env_number("MODEL_OPS", ops);
	for (u64 i = 0; i < nr; i++) {
		struct rig g = model;

		run_plain(&g, one ? one : first + i, ops, rounds);
		if (one)
			break;
	}
}

START_TEST(small_blocks_behave_as_the_model)
{
	struct rig g = { .block_bytes = 4096, .cache_bytes = 4u << 20,
			 .dev_mib = 48 };

	g.test = "small_blocks_behave_as_the_model";
	run_seeds(g, 1, 4, 16000, 6);
}
END_TEST

START_TEST(blocks_of_64_KiB_behave_as_the_model)
{
	struct rig g = { .block_bytes = 65536, .cache_bytes = 2u << 20, .dev_mib = 64 };

	g.test = "blocks_of_64_KiB_behave_as_the_model";
	run_seeds(g, 11, 4, 12000, 6);
}
END_TEST

START_TEST(blocks_of_2_MiB_behave_as_the_model)
{
	struct rig g = { .block_bytes = 2u << 20, .cache_bytes = 4u << 20, .dev_mib = 256 };

	g.test = "blocks_of_2_MiB_behave_as_the_model";
	run_seeds(g, 21, 4, 10000, 6);
}
END_TEST

/* ---- threads ---- */

static void *worker(void *arg)
{
	struct drive *d = arg;

	drive_run(d, env_number("MODEL_OPS", 24000) / 3);
	return NULL;
}

static void run_threads(struct rig *g, u64 seed)
{
	struct drive d[2];
	pthread_t t[2];

	rig_open(g);
	drive_init(&d[0], g->test, seed, "w0");
	drive_init(&d[1], g->test, seed + 1000, "w1");
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 2; i++)
			drive_attach(&d[i], g->fs);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_int_eq(pthread_create(&t[i], NULL, worker, &d[i]), 0);
		for (unsigned i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
		for (unsigned i = 0; i < 2; i++) {
			drive_verify(&d[i]);
			drive_detach(&d[i]);
		}
		rig_unmount(g, g->test, seed);
		ck_assert_int_eq(fs_mount(g->dev, &g->opts, &g->fs), 0);
		for (unsigned i = 0; i < 2; i++) {
			drive_attach(&d[i], g->fs);
			drive_verify(&d[i]);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		drive_empty(&d[i]);
		drive_fini(&d[i]);
	}
	rig_unmount(g, g->test, seed);
	rig_close(g);
}

START_TEST(two_threads_with_flusher_and_commits_behave_as_the_model)
{
	struct rig g = { .block_bytes = 16384, .cache_bytes = 4u << 20, .dev_mib = 64,
			 .opts = { .threads = true, .commit_ms = 20 } };

	g.test = "two_threads_with_flusher_and_commits_behave_as_the_model";
	alarm(200);
	run_threads(&g, env_number("MODEL_SEED", 31));
}
END_TEST

/* ---- I/O errors ---- */

struct faults {
	bool on;
	u64 seed;
	u32 one_in;
};

static int fault(void *arg, const struct blk_fault *f)
{
	struct faults *x = arg;
	u64 dice;

	if (!x->on || f->op > BLK_FAULT_WRITE || f->kind != BLK_DATA)
		return 0;
	x->seed += 0x9e3779b97f4a7c15ull;
	dice = hash_mix64(x->seed);
	if (dice % (f->op == BLK_FAULT_READ ? x->one_in * 8 : x->one_in))
		return 0;
	return dice & 0x10000 ? -EIO : f->op == BLK_FAULT_WRITE ? -ENOSPC : -EIO;
}

static void run_faults(struct rig *g, u64 seed, u64 ops)
{
	struct faults x = { .seed = seed, .one_in = 12 };
	struct drive d;

	rig_open(g);
	drive_init(&d, g->test, seed, "w0");
	d.faults = true;
	d.faults_on = &x.on;
	for (unsigned round = 0; round < 4; round++) {
		drive_attach(&d, g->fs);
		blk_fault_set(g->dev, fault, &x);
		x.on = true;
		drive_run(&d, ops / 4);
		x.on = false;
		drive_verify(&d);
		drive_fsync_all(&d);
		drive_detach(&d);
		rig_unmount(g, g->test, seed);
		ck_assert_int_eq(fs_mount(g->dev, &g->opts, &g->fs), 0);
		drive_attach(&d, g->fs);
		drive_verify(&d);
	}
	ck_assert_uint_gt(d.refused, 0);
	drive_empty(&d);
	drive_fini(&d);
	rig_unmount(g, g->test, seed);
	rig_close(g);
}

START_TEST(nothing_is_lost_by_errors_of_data_writes_that_end)
{
	struct rig g = { .block_bytes = 4096, .cache_bytes = 4u << 20, .dev_mib = 48 };

	g.test = "nothing_is_lost_by_errors_of_data_writes_that_end";
	run_faults(&g, env_number("MODEL_SEED", 41), env_number("MODEL_OPS", 16000));
}
END_TEST

/* ---- everything full at once ---- */

static const struct fs_cred root_cred = { 0, 0 };

/* Small files until not even an empty one fits. */
static unsigned fill_up(struct rig *g, struct inode *dir)
{
	static u8 buf[200000];
	size_t len = sizeof(buf);
	unsigned nr = 0;

	memset(buf, 0x5a, sizeof(buf));
	for (;;) {
		struct inode *ip;
		char name[16];
		int n = snprintf(name, sizeof(name), "f%u", nr);
		int r = fs_mknod(dir, name, (size_t)n, S_IFREG | 0644, 0, root_cred, &ip);
		ssize_t got;

		if (r) {
			ck_assert_int_eq(r, -ENOSPC);
			return nr;
		}
		nr++;
		got = fs_write(ip, 0, buf, len, 0);
		ck_assert_msg(got == -ENOSPC || got > 0, "write: %zd", got);
		if (got < (ssize_t)len)
			len = len / 2 + 1;
		fs_iput(ip);
		if (nr % 50 == 0)
			ck_assert_int_eq(fs_tick(g->fs), 0);
	}
}

static void empty(struct inode *dir, unsigned nr)
{
	char name[16];

	while (nr--) {
		int n = snprintf(name, sizeof(name), "f%u", nr);

		ck_assert_int_eq(fs_unlink(dir, name, (size_t)n), 0);
	}
}

static void run_full(struct rig *g)
{
	struct inode *root;
	unsigned nr;
	u64 before;

	rig_open(g);
	for (unsigned round = 0; round < 3; round++) {
		ck_assert_int_eq(fs_iget(g->fs, FMT_ROOT_INO, &root), 0);
		before = free_sectors(g->fs);
		nr = fill_up(g, root);
		ck_assert_uint_gt(nr, 20);
		ck_assert_int_eq(fs_sync(g->fs), 0);
		empty(root, nr);
		ck_assert_int_eq(fs_sync(g->fs), 0);
		ck_assert_uint_eq(free_sectors(g->fs), before);
		fs_iput(root);
		rig_unmount(g, g->test, round);
		ck_assert_int_eq(fs_mount(g->dev, &g->opts, &g->fs), 0);
		ck_assert_uint_eq(free_sectors(g->fs), before);
	}
	rig_unmount(g, g->test, 0);
	rig_close(g);
}

START_TEST(a_full_disk_can_be_emptied_and_all_space_comes_back)
{
	struct rig g = { .block_bytes = 4096, .cache_bytes = 1u << 20, .dev_mib = 16,
			 .jnl_sectors = 256 };

	alarm(100);
	g.test = "a_full_disk_can_be_emptied_and_all_space_comes_back";
	run_full(&g);
}
END_TEST

START_TEST(the_same_with_flusher_and_commits_in_threads)
{
	struct rig g = { .block_bytes = 4096, .cache_bytes = 1u << 20, .dev_mib = 16,
			 .jnl_sectors = 256, .opts = { .threads = true, .commit_ms = 20 } };

	alarm(100);
	g.test = "the_same_with_flusher_and_commits_in_threads";
	run_full(&g);
}
END_TEST

START_TEST(random_operations_on_a_full_disk_with_a_tiny_log_and_cache)
{
	struct rig g = { .block_bytes = 4096, .cache_bytes = 1u << 20, .dev_mib = 10,
			 .jnl_sectors = 256 };

	alarm(100);
	g.test = "random_operations_on_a_full_disk_with_a_tiny_log_and_cache";
	run_seeds(g, 51, 8, 8000, 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("model");

	check_add_slow(s, small_blocks_behave_as_the_model, 600);
	check_add_slow(s, blocks_of_64_KiB_behave_as_the_model, 600);
	check_add_slow(s, blocks_of_2_MiB_behave_as_the_model, 600);
	check_add_slow(s, two_threads_with_flusher_and_commits_behave_as_the_model, 600);
	check_add_slow(s, nothing_is_lost_by_errors_of_data_writes_that_end, 600);
	check_add_slow(s, a_full_disk_can_be_emptied_and_all_space_comes_back, 120);
	check_add_slow(s, the_same_with_flusher_and_commits_in_threads, 120);
	check_add_slow(s, random_operations_on_a_full_disk_with_a_tiny_log_and_cache, 600);
	return check_main(s);
}
