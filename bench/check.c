/*
 * How long it takes to check, to recover and to mount.
 *
 *	check fsck DIR NR_FILES [FSCK]  an image with so many files in folders of 1,000, in DIR; then
 *	                                fsck.foliofs -n on it, CPU and memory of the process
 *	check recover DIR [MIB]         a journal of so many MiB (64), filled up; then the mount that
 *	                                recovers it
 *	check mount DIR [GIB]           a sparse image of so many GiB (1024): format, mount, unmount
 *
 * One line each: what, seconds of wall clock, and what belongs to it. bench/check runs all of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "blk/blk.h"
#include "cache/cache.h"
#include "fs/fs.h"

#define FOLDER 1000u
#define CACHE_BYTES (1024ull << 20)

static const struct fs_cred cred;
static char image[4096];
static struct blk_dev *dev;
static struct fs *fs;
static struct inode *root;

static void must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "check: %s: %s\n", what, strerror(-err));
	unlink(image);
	exit(1);
}

static void only_errors(enum log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level == LOG_LEVEL_ERR)
		fprintf(stderr, "check: %s\n", line);
}

/* Of this process, since it was asked last. */
static double cpu_seconds(void)
{
	static double before;
	struct timespec t;
	double now, used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	used = now - before;
	before = now;
	return used;
}

static double seconds_since(u64 begin)
{
	return (double)(now_ns() - begin) / 1e9;
}

static void make_image(u64 bytes, u64 jnl_sectors)
{
	struct blk_opts b = { .size = bytes };
	struct fs_format_opts o = { .jnl_sectors = jnl_sectors };

	must(blk_open(image, BLK_RDWR | BLK_CREATE | BLK_TRUNCATE, &b, &dev), "open");
	must(fs_format(dev, &o, NULL), "format");
}

static void mount_it(void)
{
	struct fs_opts o = { .threads = false };

	must(fs_mount(dev, &o, &fs), "mount");
	must(fs_iget(fs, FMT_ROOT_INO, &root), "root");
}

static void make_file(struct inode *dir, u64 i)
{
	struct inode *ip;
	char name[32];
	int len = snprintf(name, sizeof(name), "file%08llu", (unsigned long long)i);

	must(fs_mknod(dir, name, (size_t)len, S_IFREG | 0644, 0, cred, &ip), "create");
	/* Every eighth has data of its own, every other lives in its inode. */
	if (i % 8 == 0)
		must(fs_write(ip, 0, name, sizeof(name), 0) < 0 ? -EIO : 0, "write");
	fs_iput(ip);
}

static void make_files(u64 nr)
{
	struct inode *dir = NULL;

	for (u64 i = 0; i < nr; i++) {
		if (i % FOLDER == 0) {
			char name[32];
			int len = snprintf(name, sizeof(name), "d%llu",
					   (unsigned long long)(i / FOLDER));

			if (dir)
				fs_iput(dir);
			must(fs_mknod(root, name, (size_t)len, S_IFDIR | 0755, 0, cred, &dir),
			     "mkdir");
			must(fs_tick(fs), "tick");
		}
		make_file(dir, i);
	}
	if (dir)
		fs_iput(dir);
}

/* ---- fsck ---- */

static int bench_fsck(u64 nr, const char *fsck)
{
	struct rusage ru;
	u64 begin;
	int status;
	pid_t pid;

	make_image(MAX(nr * 1024, (u64)64 << 20), 0);
	mount_it();
	make_files(nr);
	fs_iput(root);
	must(fs_unmount(fs, false), "unmount");
	blk_close(dev);
	begin = now_ns();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl(fsck, fsck, "-n", image, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &ru) < 0 || status != 0)
		must(-EIO, "fsck.foliofs");
	printf("fsck of %llu files: %.2f s, CPU %.2f s, %ld MiB\n", (unsigned long long)nr,
	       seconds_since(begin),
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
	       ru.ru_maxrss / 1024);
	return 0;
}

/* ---- recovery ---- */

static u64 log_sectors;

static int count_log(void *arg, const struct blk_fault *f)
{
	(void)arg;
	if (f->op == BLK_FAULT_WRITE && f->kind == BLK_LOG)
		log_sectors += f->nr;
	return 0;
}

static int bench_recover(u64 mib)
{
	u64 jnl = mib << 8, begin, full = jnl / 16 * 15;
	const struct jnl_recovery *rec;

	make_image(MAX(mib * 32 << 20, (u64)1 << 30), jnl);
	mount_it();
	blk_fault_set(dev, count_log, NULL);
	for (u64 i = 0; log_sectors < full; i++) {
		char name[32];
		int len = snprintf(name, sizeof(name), "file%08llu", (unsigned long long)i);
		struct inode *ip;

		must(fs_mknod(root, name, (size_t)len, S_IFREG | 0644, 0, cred, &ip), "create");
		fs_iput(ip);
		if (i % 200 == 199)
			must(fs_sync(fs), "sync");
	}
	fs_iput(root);
	fs_unmount(fs, true);
	blk_fault_set(dev, NULL, NULL);
	begin = now_ns();
	cpu_seconds();
	mount_it();
	rec = fs_recovery(fs);
	printf("recovery of %llu MiB of log: %.3f s, CPU %.3f s, %llu transactions, %llu buffers\n",
	       (unsigned long long)(log_sectors >> 8), seconds_since(begin), cpu_seconds(),
	       (unsigned long long)rec->transactions, (unsigned long long)rec->buffers);
	fs_iput(root);
	must(fs_unmount(fs, false), "unmount");
	blk_close(dev);
	return 0;
}

/* ---- mount ---- */

static int bench_mount(u64 gib)
{
	u64 begin = now_ns();
	double format, mounted, cpu;

	make_image(gib << 30, 0);
	format = seconds_since(begin);
	begin = now_ns();
	cpu_seconds();
	mount_it();
	mounted = seconds_since(begin);
	cpu = cpu_seconds();
	begin = now_ns();
	fs_iput(root);
	must(fs_unmount(fs, false), "unmount");
	printf("mount of %llu GiB: %.3f s, CPU %.3f s, format %.3f s, unmount %.3f s\n",
	       (unsigned long long)gib, mounted, cpu, format, seconds_since(begin));
	blk_close(dev);
	return 0;
}

int main(int argc, char **argv)
{
	struct cache_config cfg = { .bytes = CACHE_BYTES, .max_order = 0xff };
	u64 n = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	int r = 2;

	if (argc < 3) {
		fputs("usage: check fsck|recover|mount DIR [NUMBER [FSCK]]\n", stderr);
		return 2;
	}
	log_set_sink(only_errors, NULL);
	snprintf(image, sizeof(image), "%s/foliofs-bench-check.img", argv[2]);
	must(cache_init(&cfg), "cache");
	if (strcmp(argv[1], "fsck") == 0)
		r = bench_fsck(n ? n : 1000000, argc > 4 ? argv[4] : "fsck.foliofs");
	else if (strcmp(argv[1], "recover") == 0)
		r = bench_recover(n ? n : 64);
	else if (strcmp(argv[1], "mount") == 0)
		r = bench_mount(n ? n : 1024);
	cache_fini();
	unlink(image);
	return r;
}
