/*
 * What a 4 KiB sector of file data costs inside the file system, with and without checksums,
 * counted: instructions (under valgrind, see bench/data-cost) and bytes of metadata and log. No
 * FUSE, no disk, one thread.
 *
 *	data sum|nosum
 *
 * Each phase works on all sectors of one file of FILE_BYTES (or RANDOM of them) and ends with an
 * fsync; it prints one line: name, sectors, bytes of metadata and log for each. Under callgrind
 * each phase dumps its own counts, with its name as the reason.
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

#define FILE_BYTES (32u << 20)
#define CHUNK (1u << 20)
#define RANDOM 4096u

static struct blk_dev *dev;
static struct fs *fs;
static struct inode *file;
static u8 *buf;

static void must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "data: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void put(u64 pos, u64 len)
{
	ssize_t n = fs_write(file, pos, buf, len, 0);

	must(n == (ssize_t)len ? 0 : n < 0 ? (int)n : -EIO, "write");
}

static void get(u64 pos, u64 len, struct readahead *ra)
{
	ssize_t n = fs_read(file, pos, buf, len, ra);

	must(n == (ssize_t)len ? 0 : n < 0 ? (int)n : -EIO, "read");
}

static void write_all(void)
{
	for (u64 pos = 0; pos < FILE_BYTES; pos += CHUNK)
		put(pos, CHUNK);
}

static void write_random(void)
{
	u64 x = 88172645463325252ull;

	for (u32 i = 0; i < RANDOM; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		put((x >> 33) % (FILE_BYTES / SECTOR_SIZE) * SECTOR_SIZE, SECTOR_SIZE);
	}
}

static void read_all(void)
{
	struct readahead ra = { 0 };

	for (u64 pos = 0; pos < FILE_BYTES; pos += CHUNK)
		get(pos, CHUNK, &ra);
}

static void sync_each(void)
{
	for (u32 i = 0; i < RANDOM / 8; i++) {
		put((u64)i * 7 % (FILE_BYTES / SECTOR_SIZE) * SECTOR_SIZE, SECTOR_SIZE);
		must(fs_fsync(file, true), "fdatasync");
	}
}

static u64 overhead_bytes(void)
{
	return stat_read(STAT_WRITE_BYTES_META) + stat_read(STAT_WRITE_BYTES_LOG);
}

static void phase(const char *name, void (*fn)(void), u64 sectors)
{
	u64 before = overhead_bytes();

	memset(buf, name[0], CHUNK);
	CALLGRIND_START_INSTRUMENTATION;
	fn();
	must(fs_fsync(file, true), "fsync");
	CALLGRIND_STOP_INSTRUMENTATION;
	CALLGRIND_DUMP_STATS_AT(name);
	printf("%-14s %8llu %10.1f\n", name, (unsigned long long)sectors,
	       (double)(overhead_bytes() - before) / (double)sectors);
	must(fs_sync(fs), "sync");
	fs_drop_cache(fs, NULL);
}

static void mount_it(bool nosum)
{
	struct cache_config cfg = { .bytes = 128u << 20, .max_order = 0xff };
	struct fs_format_opts fmt = { .no_datasum = nosum };
	struct fs_opts opts = { 0 };
	struct fs_cred cred = { 0, 0 };
	struct inode *root;

	must(cache_init(&cfg), "cache");
	must(blk_open("ram:256m", BLK_RDWR, NULL, &dev), "device");
	must(fs_format(dev, &fmt, NULL), "format");
	must(fs_mount(dev, &opts, &fs), "mount");
	must(fs_iget(fs, 1, &root), "root");
	must(fs_mknod(root, "f", 1, S_IFREG | 0644, 0, cred, &file), "create");
	fs_iput(root);
}

int main(int argc, char **argv)
{
	const u64 all = FILE_BYTES / SECTOR_SIZE;

	if (argc != 2 || (strcmp(argv[1], "sum") && strcmp(argv[1], "nosum"))) {
		fprintf(stderr, "usage: data sum|nosum\n");
		return 2;
	}
	buf = malloc(CHUNK);
	must(buf ? 0 : -ENOMEM, "memory");
	mount_it(strcmp(argv[1], "nosum") == 0);
	printf("%-14s %8s %10s\n", argv[1], "sectors", "meta+log");
	phase("seq-write", write_all, all);
	phase("seq-overwrite", write_all, all);
	phase("rand-overwrite", write_random, RANDOM);
	phase("read-cold", read_all, all);
	phase("fdatasync-each", sync_each, RANDOM / 8);
	fs_iput(file);
	must(fs_unmount(fs, false), "unmount");
	blk_close(dev);
	cache_fini();
	free(buf);
	return 0;
}
