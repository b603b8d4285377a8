/*
 * The data exerciser on the file system without FUSE: a device in memory, a small cache, ticks of
 * the flusher in between. Some hundred times as fast as a mount.
 *
 *	exercise_layer [--seed N] [--ops N] [--runs N] [--files N] [--size BYTES] [--block BYTES]
 *	               [--cache BYTES] [--save FILE] [-r FILE]
 */
#include <errno.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"
#include "check/check.h"
#include "exercise.h"
#include "format/format.h"
#include "fs/fs.h"

#define TICK_EVERY 200u

struct layer {
	struct blk_dev *dev;
	struct fs *fs;
	struct inode *ip[EX_FILES_MAX];
	struct ex_run run;
	u64 cache_bytes, nr;
	u32 block_bytes;
	char repeat[512];
};

static const struct fs_cred nobody = { 7, 8 };
static const struct fs_opts mount_opts;

static void detach(struct layer *l)
{
	for (unsigned i = 0; i < l->run.files; i++) {
		if (l->ip[i])
			fs_iput(l->ip[i]);
		l->ip[i] = NULL;
	}
}

static int attach(struct layer *l, bool create)
{
	struct inode *root;
	int r = fs_iget(l->fs, FMT_ROOT_INO, &root);

	for (unsigned i = 0; i < l->run.files && !r; i++) {
		char name[16];
		size_t len = (size_t)snprintf(name, sizeof(name), "file%u", i);

		r = create ? fs_mknod(root, name, len, S_IFREG | 0644, 0, nobody, &l->ip[i]) :
			     fs_lookup(root, name, len, &l->ip[i]);
	}
	fs_iput(root);
	return r;
}

static void problem(void *arg, const struct check_problem *p)
{
	(void)arg;
	fprintf(stderr, "check: %s: inode %lld, sector %lld: %s\n", check_code_name(p->code),
		(long long)p->ino, (long long)p->sector, p->text);
}

static int check(struct layer *l)
{
	struct check_opts co = { .problem = problem };
	struct check_result res;
	int r = check_run(l->dev, &co, &res);

	return r ? r : res.problems ? -EUCLEAN : 0;
}

static int unmount(struct layer *l)
{
	int r;

	if (!l->fs)
		return 0;
	detach(l);
	r = fs_unmount(l->fs, false);
	l->fs = NULL;
	return r ? r : check(l);
}

/* A fresh file system. */
static int reset(void *arg)
{
	struct layer *l = arg;
	struct fs_format_opts fo = { .block_bytes = l->block_bytes, .jnl_sectors = 1024 };
	struct cache_config cc = { .bytes = l->cache_bytes, .max_order = 0xff };
	char path[32];
	int r = unmount(l);

	if (l->dev) {
		blk_close(l->dev);
		cache_fini();
		l->dev = NULL;
	}
	snprintf(path, sizeof(path), "ram:%lluM",
		 (unsigned long long)(16 + l->run.files * 4 * (l->run.size_max >> 20) +
				      (l->block_bytes >> 20) * 32));
	if (!r)
		r = cache_init(&cc);
	if (!r)
		r = blk_open(path, BLK_RDWR, NULL, &l->dev);
	if (!r)
		r = fs_format(l->dev, &fo, NULL);
	if (!r)
		r = fs_mount(l->dev, &mount_opts, &l->fs);
	return r ? r : attach(l, true);
}

static int64_t remount(struct layer *l)
{
	int r = unmount(l);

	if (!r)
		r = fs_mount(l->dev, &mount_opts, &l->fs);
	return r ? r : attach(l, false);
}

static int64_t fallocate_as(struct inode *ip, const struct ex_op *op)
{
	static const int modes[EX_KINDS] = {
		[EX_ALLOCATE_KEEP] = FALLOC_FL_KEEP_SIZE,
		[EX_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		[EX_ZERO] = FALLOC_FL_ZERO_RANGE,
		[EX_ZERO_KEEP] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};

	return fs_fallocate(ip, modes[op->kind], op->pos, op->len);
}

static int64_t reopen(struct layer *l)
{
	detach(l);
	return attach(l, false);
}

static int64_t run(void *arg, const struct ex_op *op, void *buf)
{
	struct layer *l = arg;
	struct inode *ip = l->ip[op->file];

	if (++l->nr % TICK_EVERY == 0)
		fs_tick(l->fs);
	switch (op->kind) {
	case EX_WRITE:
	case EX_WRITEV:
	case EX_DIRECT_WRITE:
		return fs_write(ip, op->pos, buf, op->len, 0);
	case EX_MAP_WRITE:
		return fs_write(ip, op->pos, buf, op->len, FS_WRITE_CACHE);
	case EX_APPEND:
		return fs_write(ip, 0, buf, op->len, FS_WRITE_APPEND);
	case EX_SYNC_WRITE:
		return fs_write(ip, op->pos, buf, op->len, FS_WRITE_SYNC);
	case EX_READ:
	case EX_READV:
	case EX_DIRECT_READ:
	case EX_MAP_READ:
	case EX_PRIVATE_READ:
		return fs_read(ip, op->pos, buf, op->len, NULL);
	case EX_COPY:
		return fs_copy_range(ip, op->pos, l->ip[op->file2], op->pos2, op->len, 0);
	case EX_TRUNCATE:
	case EX_EMPTY:
		return fs_truncate(ip, op->pos);
	case EX_FSYNC:
	case EX_FDATASYNC:
		return fs_fsync(ip, op->kind == EX_FDATASYNC);
	case EX_DROP:
		fs_drop_cache(l->fs, op->seed & 1 ? ip : NULL);
		return 0;
	case EX_REOPEN:
		return reopen(l);
	case EX_REMOUNT:
		return remount(l);
	default:
		return fallocate_as(ip, op);
	}
}

static int64_t seek(void *arg, unsigned file, uint64_t pos, int whence)
{
	const struct layer *l = arg;

	return fs_seek(l->ip[file], pos, whence);
}

static int64_t size(void *arg, unsigned file)
{
	const struct layer *l = arg;
	struct stat st;

	fs_getattr(l->ip[file], &st);
	return st.st_size;
}

static const struct option options[] = {
	{ "seed", 1, 0, 's' }, { "ops", 1, 0, 'n' }, { "runs", 1, 0, 'R' },
	{ "files", 1, 0, 'f' }, { "size", 1, 0, 'z' }, { "block", 1, 0, 'b' },
	{ "cache", 1, 0, 'c' }, { "save", 1, 0, 'o' }, { 0 },
};

static void parse(int argc, char **argv, struct layer *l)
{
	struct ex_run *r = &l->run;
	int c;

	while ((c = getopt_long(argc, argv, "r:", options, NULL)) != -1) {
		switch (c) {
		case 's': r->seed = strtoull(optarg, NULL, 0); break;
		case 'n': r->ops = strtoull(optarg, NULL, 0); break;
		case 'R': r->runs = strtoull(optarg, NULL, 0); break;
		case 'f': r->files = (unsigned)atoi(optarg); break;
		case 'z': r->size_max = strtoull(optarg, NULL, 0); break;
		case 'b': l->block_bytes = (u32)atoi(optarg); break;
		case 'c': l->cache_bytes = strtoull(optarg, NULL, 0); break;
		case 'o': r->save = optarg; break;
		case 'r': r->list = optarg; break;
		default: exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	static struct layer l = {
		.run = { .seed = 1, .ops = 100000, .runs = 1, .files = 2, .size_max = 256 << 10,
			 .save = "/tmp/exercise.ops" },
		.cache_bytes = 1 << 20, .block_bytes = 4096,
	};
	struct ex_backend b = { .run = run, .seek = seek, .size = size, .reset = reset, .arg = &l,
				.repeat = l.repeat };
	int status, r;

	parse(argc, argv, &l);
	snprintf(l.repeat, sizeof(l.repeat),
		 "exercise_layer --size %llu --files %u --block %u --cache %llu -r",
		 (unsigned long long)l.run.size_max, l.run.files, l.block_bytes,
		 (unsigned long long)l.cache_bytes);
	status = exercise_main(&b, &l.run);
	r = unmount(&l);
	if (r)
		fprintf(stderr, "at the end: %s\n", strerror(-r));
	return status ? status : r != 0;
}
