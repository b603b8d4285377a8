/*
 * What an operation on names costs inside the file system, counted: instructions (under valgrind,
 * see bench/names), bytes of the log and tree nodes read. No FUSE, no disk, one thread.
 *
 *	names fill NR_FILES DEVICE
 *	names measure NR_FILES NR_MEASURED DEVICE
 *
 * DEVICE, an existing file, is formatted and a folder in it is filled with NR_FILES empty files. Then each operation is done NR_MEASURED times on
 * files spread evenly over the folder, and counted. Each phase prints one line: name, operations,
 * bytes of log and nodes read for each operation. Under callgrind each phase dumps its own counts,
 * with its name as the reason.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blk.h"
#include "cache/cache.h"
#include "fs/fs.h"
#include "stat/stat.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#define CALLGRIND_DUMP_STATS_AT(what) ((void)(what))
#endif

static struct blk_dev *dev;
static struct fs *fs;
static struct inode *root, *dir;
static unsigned long nr_files, nr_measured;

static void must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "names: %s: %s\n", what, strerror(-err));
	exit(1);
}

static int name_of(char *buf, size_t size, const char *prefix, unsigned long i)
{
	return snprintf(buf, size, "%s-%08lu", prefix, i);
}

static void create(const char *prefix, unsigned long i)
{
	struct fs_cred cred = { 0, 0 };
	struct inode *ip;
	char name[32];
	int len = name_of(name, sizeof(name), prefix, i);

	must(fs_mknod(dir, name, (size_t)len, S_IFREG | 0644, 0, cred, &ip), "create");
	fs_iput(ip);
}

/* The i'th of the measured files: they lie evenly spread among all. */
static unsigned long spread(unsigned long i)
{
	return i * (nr_files / nr_measured);
}

static void mount(void)
{
	struct fs_opts o = { .atime = FS_NOATIME };

	must(fs_mount(dev, &o, &fs), "mount");
	must(fs_iget(fs, FMT_ROOT_INO, &root), "root");
}

static void mount_filled(void)
{
	mount();
	must(fs_lookup(root, "d", 1, &dir), "lookup");
}

static void unmount(void)
{
	fs_iput(dir);
	fs_iput(root);
	must(fs_unmount(fs, false), "unmount");
}

/* ---- the operations, once each ---- */

static void do_create(unsigned long i)
{
	create("new", i);
}

static void do_lookup(unsigned long i)
{
	struct inode *ip;
	struct stat st;
	char name[32];
	int len = name_of(name, sizeof(name), "old", spread(i));

	must(fs_lookup(dir, name, (size_t)len, &ip), "lookup");
	fs_getattr(ip, &st);
	fs_iput(ip);
}

static void do_rename(unsigned long i)
{
	char from[32], to[32];
	int n = name_of(from, sizeof(from), "old", spread(i));
	int m = name_of(to, sizeof(to), "moved", i);

	must(fs_rename(dir, from, (size_t)n, dir, to, (size_t)m, 0, (struct fs_cred){ 0 }),
	     "rename");
}

static void do_unlink(unsigned long i)
{
	char name[32];
	int len = name_of(name, sizeof(name), "moved", i);

	must(fs_unlink(dir, name, (size_t)len), "unlink");
}

static void do_link(unsigned long i)
{
	struct inode *ip;
	char name[32];
	int len = name_of(name, sizeof(name), "new", i);

	must(fs_lookup(dir, name, (size_t)len, &ip), "lookup");
	len = name_of(name, sizeof(name), "link", i);
	must(fs_link(ip, dir, name, (size_t)len), "link");
	fs_iput(ip);
}

struct listed {
	unsigned long nr;
};

static int fill(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct listed *l = arg;
	struct inode *ip;
	struct stat st;

	(void)name, (void)len, (void)dtype, (void)cookie;
	must(fs_iget(fs, ino, &ip), "inode");
	fs_getattr(ip, &st);
	fs_iput(ip);
	return ++l->nr == nr_measured;
}

/* All of them in one call: listing has no operation for each entry. */
static void do_list(unsigned long i)
{
	struct listed l = { 0 };

	if (i == 0)
		must(fs_readdir(dir, 2, fill, &l), "readdir");
}

/* ---- phases ---- */

static void phase(const char *name, void (*op)(unsigned long))
{
	u64 log = stat_read(STAT_WRITE_BYTES_LOG), nodes = stat_read(STAT_READ_BYTES_META);

	CALLGRIND_START_INSTRUMENTATION;
	for (unsigned long i = 0; i < nr_measured; i++)
		op(i);
	CALLGRIND_DUMP_STATS_AT(name);
	CALLGRIND_STOP_INSTRUMENTATION;
	must(fs_sync(fs), "sync");
	log = stat_read(STAT_WRITE_BYTES_LOG) - log;
	nodes = stat_read(STAT_READ_BYTES_META) - nodes;
	printf("%-14s %8lu %10.1f %8.3f\n", name, nr_measured, (double)log / (double)nr_measured,
	       (double)nodes / NODE_SIZE / (double)nr_measured);
}

static void fill_folder(void)
{
	struct fs_cred cred = { 0, 0 };

	must(fs_mknod(root, "d", 1, S_IFDIR | 0755, 0, cred, &dir), "mkdir");
	for (unsigned long i = 0; i < nr_files; i++) {
		create("old", i);
		if (i % 100000 == 99999)
			must(fs_sync(fs), "sync");
	}
	must(fs_sync(fs), "sync");
}

static void fill_device(void)
{
	must(fs_format(dev, &(struct fs_format_opts){ 0 }, NULL), "format");
	mount();
	fill_folder();
	unmount();
}

static void measure(void)
{
	mount_filled();
	printf("%-14s %8s %10s %8s\n", "operation", "number", "log bytes", "nodes");
	phase("lookup-cold", do_lookup);
	phase("lookup", do_lookup);
	phase("create", do_create);
	phase("list", do_list);
	phase("rename", do_rename);
	phase("link", do_link);
	phase("unlink", do_unlink);
	unmount();
}

int main(int argc, char **argv)
{
	const struct blk_opts sync = { .sync = true, .buffered = true };
	struct cache_config cc = { .bytes = (u64)768 << 20, .max_order = 0xff };

	bool fill = argc == 4 && !strcmp(argv[1], "fill");

	if (!fill && (argc != 5 || strcmp(argv[1], "measure"))) {
		fprintf(stderr, "usage: names fill NR DEVICE | names measure NR MEASURED DEVICE\n");
		return 2;
	}
	nr_files = strtoul(argv[2], NULL, 10);
	nr_measured = fill ? nr_files : strtoul(argv[3], NULL, 10);
	must(nr_files == 0 || nr_measured == 0 || nr_measured > nr_files ? -EINVAL : 0, "count");
	must(cache_init(&cc), "cache");
	must(blk_open(argv[argc - 1], BLK_RDWR, &sync, &dev), "device");
	if (fill)
		fill_device();
	else
		measure();
	blk_close(dev);
	cache_fini();
	return 0;
}
