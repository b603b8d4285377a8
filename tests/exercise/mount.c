/*
 * The data exerciser on files of a mount, of any file system:
 *
 *	exercise_mount [OPTIONS] DIRECTORY
 *	  --seed N --ops N --runs N --files N --size BYTES
 *	  --own-maps       mappings live only as long as one operation: where the kernel does not
 *	                   keep a mapping and write(2) coherent (cache=daemon)
 *	  --remount CMD    a shell command that unmounts and mounts again; done now and then
 *	  --without KIND   leave an operation out
 *	  --save FILE      where a list that fails goes
 *	  -r FILE          do this list
 *
 * Each file is open four times: for reading and writing, the same past the page cache, for
 * appending, and synchronously. A mapping of the largest size stays for as long as they are open.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "exercise.h"

struct file {
	int fd, direct, append, sync;
	uint8_t *map;
};

struct mount {
	struct file file[EX_FILES_MAX];
	struct ex_run run;
	const char *dir, *remount;
	char repeat[512];
	bool own_maps, open;
};

static int64_t result(int64_t r)
{
	return r < 0 ? -errno : r;
}

static void close_all(struct mount *m)
{
	for (unsigned i = 0; i < m->run.files && m->open; i++) {
		struct file *f = &m->file[i];

		if (f->map)
			munmap(f->map, m->run.size_max);
		close(f->fd);
		close(f->direct);
		close(f->append);
		close(f->sync);
	}
	m->open = false;
}

static int open_one(struct mount *m, unsigned i, int flags)
{
	struct file *f = &m->file[i];
	char name[32];
	void *map;

	snprintf(name, sizeof(name), "file%u", i);
	f->fd = open(name, O_RDWR | flags, 0644);
	f->direct = open(name, O_RDWR | O_DIRECT);
	f->append = open(name, O_WRONLY | O_APPEND);
	f->sync = open(name, O_WRONLY | O_SYNC);
	if (f->fd < 0 || f->direct < 0 || f->append < 0 || f->sync < 0)
		return -errno;
	f->map = NULL;
	if (m->own_maps)
		return 0;
	map = mmap(NULL, m->run.size_max, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	f->map = map;
	return 0;
}

static int open_all(struct mount *m, int flags)
{
	int r = chdir(m->dir) ? -errno : 0;

	for (unsigned i = 0; i < m->run.files && !r; i++)
		r = open_one(m, i, flags);
	m->open = !r;
	return r;
}

static int reset(void *arg)
{
	struct mount *m = arg;

	close_all(m);
	return open_all(m, O_CREAT | O_TRUNC);
}

static int64_t reopen(struct mount *m, bool remount)
{
	int r;

	close_all(m);
	r = remount && (chdir("/") || system(m->remount)) ? -EIO : 0;
	return r ? r : open_all(m, 0);
}

static int64_t vectored(int fd, const struct ex_op *op, uint8_t *buf, bool write)
{
	uint64_t a = op->len / 3, b = op->len / 2;
	struct iovec iov[EX_IOV] = {
		{ buf, a }, { buf + a, b - a }, { buf + b, op->len - b },
	};

	return write ? pwritev(fd, iov, EX_IOV, (off_t)op->pos) :
		       preadv(fd, iov, EX_IOV, (off_t)op->pos);
}

/* Through the mapping that stays, or one of its own that is synced before it goes. */
static int64_t mapped(struct mount *m, const struct file *f, const struct ex_op *op, void *buf)
{
	int how = op->kind == EX_PRIVATE_READ ? MAP_PRIVATE : MAP_SHARED;
	bool own = m->own_maps || how == MAP_PRIVATE;
	uint8_t *map = f->map;

	if (own)
		map = mmap(NULL, m->run.size_max, PROT_READ | PROT_WRITE, how, f->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (op->kind == EX_MAP_WRITE)
		memcpy(map + op->pos, buf, op->len);
	else
		memcpy(buf, map + op->pos, op->len);
	if (own && op->kind == EX_MAP_WRITE && msync(map, m->run.size_max, MS_SYNC))
		return -errno;
	if (own)
		munmap(map, m->run.size_max);
	return (int64_t)op->len;
}

static int fallocate_mode(unsigned kind)
{
	switch (kind) {
	case EX_ALLOCATE_KEEP:
		return FALLOC_FL_KEEP_SIZE;
	case EX_PUNCH:
		return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	case EX_ZERO:
		return FALLOC_FL_ZERO_RANGE;
	case EX_ZERO_KEEP:
		return FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
	default:
		return 0;
	}
}

static int64_t do_copy(struct mount *m, const struct ex_op *op)
{
	loff_t from = (loff_t)op->pos, to = (loff_t)op->pos2;

	return copy_file_range(m->file[op->file].fd, &from, m->file[op->file2].fd, &to, op->len, 0);
}

static int64_t do_write(const struct file *f, const struct ex_op *op, uint8_t *buf)
{
	off_t pos = (off_t)op->pos;

	switch (op->kind) {
	case EX_WRITEV:
		return vectored(f->fd, op, buf, true);
	case EX_APPEND:
		return write(f->append, buf, op->len);
	case EX_DIRECT_WRITE:
		return pwrite(f->direct, buf, op->len, pos);
	case EX_SYNC_WRITE:
		return pwrite(f->sync, buf, op->len, pos);
	default:
		return pwrite(f->fd, buf, op->len, pos);
	}
}

static int64_t do_read(const struct file *f, const struct ex_op *op, uint8_t *buf)
{
	switch (op->kind) {
	case EX_READV:
		return vectored(f->fd, op, buf, false);
	case EX_DIRECT_READ:
		return pread(f->direct, buf, op->len, (off_t)op->pos);
	default:
		return pread(f->fd, buf, op->len, (off_t)op->pos);
	}
}

static int64_t run(void *arg, const struct ex_op *op, void *buf)
{
	struct mount *m = arg;
	const struct file *f = &m->file[op->file];
	off_t pos = (off_t)op->pos, len = (off_t)op->len;

	switch (op->kind) {
	case EX_WRITE:
	case EX_WRITEV:
	case EX_APPEND:
	case EX_DIRECT_WRITE:
	case EX_SYNC_WRITE:
		return result(do_write(f, op, buf));
	case EX_READ:
	case EX_READV:
	case EX_DIRECT_READ:
		return result(do_read(f, op, buf));
	case EX_MAP_WRITE:
	case EX_MAP_READ:
	case EX_PRIVATE_READ:
		return mapped(m, f, op, buf);
	case EX_TRUNCATE:
		return result(ftruncate(f->fd, pos));
	case EX_EMPTY: {
		char name[32];
		int fd;

		snprintf(name, sizeof(name), "file%u", op->file);
		fd = open(name, O_WRONLY | O_TRUNC);
		return result(fd < 0 ? fd : close(fd));
	}
	case EX_COPY:
		return result(do_copy(m, op));
	case EX_FSYNC:
		return result(fsync(f->fd));
	case EX_FDATASYNC:
		return result(fdatasync(f->fd));
	case EX_REOPEN:
		return reopen(m, false);
	case EX_REMOUNT:
		return reopen(m, true);
	case EX_DROP:
		return result(fsync(f->fd) || posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED));
	default:
		return result(fallocate(f->fd, fallocate_mode(op->kind), pos, len));
	}
}

static int64_t seek(void *arg, unsigned file, uint64_t pos, int whence)
{
	const struct mount *m = arg;

	return result(lseek(m->file[file].fd, (off_t)pos, whence));
}

static int64_t size(void *arg, unsigned file)
{
	const struct mount *m = arg;
	struct stat st;

	return fstat(m->file[file].fd, &st) ? -errno : st.st_size;
}

static uint64_t kind_bit(const char *name)
{
	for (unsigned k = 0; k < EX_KINDS; k++)
		if (!strcmp(name, ex_kind_name(k)))
			return 1ull << k;
	fprintf(stderr, "no operation '%s'\n", name);
	exit(2);
}

static const struct option options[] = {
	{ "seed", 1, 0, 's' }, { "ops", 1, 0, 'n' }, { "runs", 1, 0, 'R' },
	{ "files", 1, 0, 'f' }, { "size", 1, 0, 'z' }, { "own-maps", 0, 0, 'm' },
	{ "remount", 1, 0, 'c' }, { "without", 1, 0, 'w' }, { "save", 1, 0, 'o' }, { 0 },
};

static void parse(int argc, char **argv, struct mount *m, struct ex_backend *b)
{
	struct ex_run *r = &m->run;
	int c;

	while ((c = getopt_long(argc, argv, "r:", options, NULL)) != -1) {
		switch (c) {
		case 's': r->seed = strtoull(optarg, NULL, 0); break;
		case 'n': r->ops = strtoull(optarg, NULL, 0); break;
		case 'R': r->runs = strtoull(optarg, NULL, 0); break;
		case 'f': r->files = (unsigned)atoi(optarg); break;
		case 'z': r->size_max = strtoull(optarg, NULL, 0); break;
		case 'm': m->own_maps = true; break;
		case 'c': m->remount = optarg; break;
		case 'w': b->mask |= kind_bit(optarg); break;
		case 'o': r->save = optarg; break;
		case 'r': r->list = optarg; break;
		default: exit(2);
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: %s [OPTIONS] DIRECTORY\n", argv[0]);
		exit(2);
	}
	m->dir = realpath(argv[optind], NULL);
}

int main(int argc, char **argv)
{
	static struct mount m = {
		.run = { .seed = 1, .ops = 10000, .runs = 1, .files = 2, .size_max = 256 << 10,
			 .save = "/tmp/exercise.ops" },
	};
	struct ex_backend b = { .run = run, .seek = seek, .size = size, .reset = reset, .arg = &m,
				.repeat = m.repeat };
	int status;

	parse(argc, argv, &m, &b);
	if (!m.remount)
		b.mask |= 1ull << EX_REMOUNT;
	snprintf(m.repeat, sizeof(m.repeat), "exercise_mount%s --size %llu --files %u %s -r",
		 m.own_maps ? " --own-maps" : "", (unsigned long long)m.run.size_max, m.run.files,
		 m.dir);
	status = exercise_main(&b, &m.run);
	close_all(&m);
	return status;
}
