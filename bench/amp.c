/*
 * Write amplification of overwrites. See amp.h.
 *
 * 1. The file is written and unmounted first, so that its own cost is not counted.
 * 2. Counters are read before the mount and after the unmount: mount, checkpoint and the clean
 *    mark of the superblock are in.
 * 3. Each overwrite hits another sector: none is absorbed by the cache, which would flatter.
 *
 * One thread; the file system's own threads run as in the daemon.
 */
#include "amp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blk.h"
#include "cache/cache.h"
#include "fs/fs.h"
#include "stat/stat.h"

#define FILE_NAME "data"
#define FILL_BYTES (1u << 20)

struct amp_run {
	const struct amp_case *c;
	struct fs *fs;
	struct inode *ip;
	u8 *buf;
};

static void want_writeback(void *arg)
{
	struct amp_run *run = arg;
	struct fs *fs = __atomic_load_n(&run->fs, __ATOMIC_ACQUIRE);

	if (fs != NULL)
		fs_want_writeback(fs);
}

static void want_checkpoint(void *arg)
{
	struct amp_run *run = arg;
	struct fs *fs = __atomic_load_n(&run->fs, __ATOMIC_ACQUIRE);

	if (fs != NULL)
		fs_want_checkpoint(fs);
}

static int write_all(struct amp_run *run, u64 pos, u64 len)
{
	ssize_t n = fs_write(run->ip, pos, run->buf, len, 0);

	if (n < 0)
		return (int)n;
	return (u64)n == len ? 0 : -EIO;
}

static int create_and_fill(struct amp_run *run, struct inode *root)
{
	struct fs_cred cred = {0};
	int err = fs_mknod(root, FILE_NAME, strlen(FILE_NAME), S_IFREG | 0644, 0, cred, &run->ip);

	if (err != 0)
		return err;
	fs_remember(run->fs, fs_ino(run->ip));
	for (u64 pos = 0; err == 0 && pos < run->c->file_bytes; pos += FILL_BYTES)
		err = write_all(run, pos, MIN((u64)FILL_BYTES, run->c->file_bytes - pos));
	return err != 0 ? err : fs_fsync(run->ip, false);
}

static u64 next_random(u64 *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* All sectors of the file, the first nr_writes of them in random order. */
static u64 *make_order(const struct amp_case *c)
{
	u64 nr = c->file_bytes / SECTOR_SIZE, x = 88172645463325252ull;
	u64 *order = calloc(nr, sizeof(*order));

	if (order == NULL)
		return NULL;
	for (u64 i = 0; i < nr; i++)
		order[i] = i;
	for (u64 i = 0; i < MIN(nr, c->nr_writes); i++) {
		u64 j = i + next_random(&x) % (nr - i), t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	return order;
}

static int overwrite(struct amp_run *run, struct inode *root)
{
	u64 *order = make_order(run->c);
	int err = order != NULL ? 0 : -ENOMEM;

	if (err == 0)
		err = fs_lookup(root, FILE_NAME, strlen(FILE_NAME), &run->ip);
	if (err == 0)
		fs_remember(run->fs, fs_ino(run->ip));
	for (u64 i = 0; err == 0 && i < run->c->nr_writes; i++) {
		memset(run->buf, (int)(i & 0xff), SECTOR_SIZE);
		err = write_all(run, order[i] * SECTOR_SIZE, SECTOR_SIZE);
		if (err == 0 && run->c->sync_each)
			err = fs_fsync(run->ip, true);
	}
	if (err == 0)
		err = fs_fsync(run->ip, false);
	free(order);
	return err;
}

static void give_back(struct amp_run *run)
{
	if (run->ip == NULL)
		return;
	fs_forget(run->fs, fs_ino(run->ip), 1);
	fs_iput(run->ip);
	run->ip = NULL;
}

/* Mounts, runs the body, unmounts: the first error of the three. */
static int mounted(struct amp_run *run, struct blk_dev *dev,
		   int (*body)(struct amp_run *run, struct inode *root))
{
	struct fs_opts opts = {.threads = true};
	struct inode *root;
	struct fs *fs;
	int err, unmount_err;

	err = fs_mount(dev, &opts, &fs);
	if (err != 0)
		return err;
	__atomic_store_n(&run->fs, fs, __ATOMIC_RELEASE);
	err = fs_iget(fs, 1, &root);
	if (err == 0) {
		err = body(run, root);
		give_back(run);
		fs_iput(root);
	}
	__atomic_store_n(&run->fs, NULL, __ATOMIC_RELEASE);
	unmount_err = fs_unmount(fs, false);
	return err != 0 ? err : unmount_err;
}

static void count(struct amp_result *r)
{
	r->data_bytes = stat_read(STAT_WRITE_BYTES_DATA) - r->data_bytes;
	r->meta_bytes = stat_read(STAT_WRITE_BYTES_META) - r->meta_bytes;
	r->log_bytes = stat_read(STAT_WRITE_BYTES_LOG) - r->log_bytes;
	r->flushes = stat_read(STAT_FLUSHES) - r->flushes;
}

/* Two mounts, each with a cache of its own: the second begins with an empty one. */
static int two_mounts(struct amp_run *run, struct blk_dev *dev, struct amp_result *r)
{
	struct cache_config cfg = {
		.bytes = run->c->cache_bytes,
		.max_order = 0xff,
		.want_writeback = want_writeback,
		.want_checkpoint = want_checkpoint,
		.arg = run,
	};
	int err = cache_init(&cfg);

	if (err != 0)
		return err;
	err = mounted(run, dev, create_and_fill);
	cache_fini();
	if (err == 0)
		err = cache_init(&cfg);
	if (err != 0)
		return err;
	count(r);
	err = mounted(run, dev, overwrite);
	count(r);
	cache_fini();
	return err;
}

int amp_measure(const struct amp_case *c, struct amp_result *out)
{
	struct fs_format_opts fmt = {.block_bytes = c->block_bytes};
	struct amp_result r = {.user_bytes = c->nr_writes * SECTOR_SIZE};
	struct amp_run run = {.c = c};
	struct fmt_geo geo;
	struct blk_dev *dev;
	int err;

	if (c->nr_writes > c->file_bytes / SECTOR_SIZE)
		return -EINVAL;
	run.buf = calloc(1, FILL_BYTES);
	if (run.buf == NULL)
		return -ENOMEM;
	err = blk_open(c->device, BLK_RDWR, NULL, &dev);
	if (err != 0)
		goto out_buf;
	err = fs_format(dev, &fmt, &geo);
	if (err == 0)
		err = two_mounts(&run, dev, &r);
	if (err == 0)
		*out = r;
	blk_close(dev);
out_buf:
	free(run.buf);
	return err;
}

double amp_data(const struct amp_result *r)
{
	return (double)r->data_bytes / (double)r->user_bytes;
}

double amp_all(const struct amp_result *r)
{
	return (double)(r->data_bytes + r->meta_bytes + r->log_bytes) / (double)r->user_bytes;
}
