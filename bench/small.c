/*
 * What a tree of files takes up for each byte in it, at different block sizes: the tree is copied
 * into a file system on memory, inside this process, and the free space before and after is
 * compared. See bench/small-files and docs/PERFORMANCE.md.
 *
 *	small FOLDER [BLOCK...]         default: 4k 64k 2m
 *
 * Folders and regular files are copied, a file at a time, in pieces of 128 KiB; links and others
 * are not. One row a block size: space taken for each byte, in how many extents each file with any
 * lies, and the free space that is in whole blocks. Map entries (checksums) lie in sectors that are
 * set aside by mkfs, four bytes for each sector used: they are added.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "blk/blk.h"
#include "cache/cache.h"
#include "fs/fs.h"

#define PIECE (128u << 10)
#define CACHE_BYTES (64u << 20)
#define MAP_BYTES 4u             /* of an entry of the sector map */

struct tally {
	u64 files, bytes, small;        /* small: files that their inode has room for */
	u64 with_extents, extents;
};

static struct fs *fs;
static const struct fs_cred cred;

static void must(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "small: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void copy_data(int from, struct inode *to, struct tally *t)
{
	static u8 buf[PIECE];
	u64 pos = 0;
	ssize_t n;

	while ((n = read(from, buf, PIECE)) > 0) {
		must(fs_write(to, pos, buf, (u64)n, 0) == n ? 0 : -ENOSPC, "write");
		pos += (u64)n;
	}
	t->files++;
	t->bytes += pos;
	t->small += pos <= FMT_INLINE_MAX;
}

static struct inode *make(struct inode *dir, const char *name, u32 mode)
{
	struct inode *ip;

	must(fs_mknod(dir, name, strlen(name), mode, 0, cred, &ip), name);
	return ip;
}

static void copy_tree(int from, struct inode *to, struct tally *t);

static void copy_entry(int dir, const struct dirent *e, struct inode *to, struct tally *t)
{
	int fd = openat(dir, e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	struct inode *ip;
	struct stat st;

	if (fd < 0)
		return;
	must(fstat(fd, &st) ? -errno : 0, e->d_name);
	if (S_ISDIR(st.st_mode)) {
		ip = make(to, e->d_name, S_IFDIR | 0755);
		copy_tree(fd, ip, t);
		fs_iput(ip);
	} else if (S_ISREG(st.st_mode)) {
		ip = make(to, e->d_name, S_IFREG | 0644);
		copy_data(fd, ip, t);
		fs_iput(ip);
	}
	close(fd);
}

static void copy_tree(int from, struct inode *to, struct tally *t)
{
	DIR *d = fdopendir(dup(from));
	const struct dirent *e;

	must(d ? 0 : -errno, "opendir");
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			copy_entry(from, e, to, t);
	closedir(d);
}

/* Extents of all files below. */
struct walk { struct inode *dir; struct tally *t; };

static void count_tree(struct inode *dir, struct tally *t);

static int count_entry(void *arg, const char *name, size_t len, u64 ino, unsigned dtype, u64 cookie)
{
	struct walk *w = arg;
	struct fs_frag_file frag;
	struct inode *ip;

	(void)cookie;
	if (len <= 2 && memcmp(name, "..", len) == 0)
		return 0;
	must(fs_iget(fs, ino, &ip), "iget");
	if (dtype == DT_DIR) {
		count_tree(ip, w->t);
	} else {
		must(fs_frag_file(ip, &frag), "frag");
		w->t->with_extents += frag.extents > 0;
		w->t->extents += frag.extents;
	}
	fs_iput(ip);
	return 0;
}

static void count_tree(struct inode *dir, struct tally *t)
{
	struct walk w = { dir, t };

	must(fs_readdir(dir, 0, count_entry, &w), "readdir");
}

static u64 free_sectors(void)
{
	struct statvfs s;

	must(fs_sync(fs), "sync");
	must(fs_statfs(fs, &s), "statfs");
	return s.f_bfree;
}

static void measure(const char *folder, u32 block_bytes)
{
	struct cache_config cc = { .bytes = CACHE_BYTES, .max_order = 0xff };
	struct fs_format_opts fo = { .block_bytes = block_bytes };
	struct fs_opts o = { .threads = false };
	struct tally t = { 0 };
	char block[SIZE_TEXT_MAX];
	struct blk_dev *dev;
	struct inode *root;
	u64 before, taken;
	int fd = open(folder, O_RDONLY | O_DIRECTORY);

	must(fd < 0 ? -errno : 0, folder);
	must(cache_init(&cc), "cache");
	must(blk_open("ram:16g", BLK_RDWR, NULL, &dev), "memory");
	must(fs_format(dev, &fo, NULL), "format");
	must(fs_mount(dev, &o, &fs), "mount");
	must(fs_iget(fs, FMT_ROOT_INO, &root), "root");
	before = free_sectors();
	copy_tree(fd, root, &t);
	taken = before - free_sectors();
	count_tree(root, &t);
	printf("%-8s %9llu %11llu %5.1f %% %12.2f %14.2f\n", size_to_text(block_bytes, block),
	       (unsigned long long)t.files, (unsigned long long)t.bytes,
	       100.0 * (double)t.small / (double)MAX(t.files, (u64)1),
	       (double)(taken * (SECTOR_SIZE + MAP_BYTES)) / (double)MAX(t.bytes, (u64)1),
	       (double)t.extents / (double)MAX(t.with_extents, (u64)1));
	fs_iput(root);
	must(fs_unmount(fs, false), "unmount");
	blk_close(dev);
	cache_fini();
	close(fd);
}

int main(int argc, char **argv)
{
	static const char *const default_sizes[] = { "4k", "64k", "2m", NULL };
	const char *const *size = argc > 2 ? (const char *const *)argv + 2 : default_sizes;

	if (argc < 2) {
		fprintf(stderr, "usage: small FOLDER [BLOCK...]\n");
		return 2;
	}
	printf("%-8s %9s %11s %7s %12s %14s\n", "block", "files", "bytes", "inline", "space/bytes",
	       "extents/file");
	for (; *size; size++) {
		u64 bytes = 0;

		if (parse_size(*size, &bytes) || bytes > FMT_BLOCK_MAX) {
			fprintf(stderr, "small: %s is no block size\n", *size);
			return 2;
		}
		measure(argv[1], (u32)bytes);
		fflush(stdout);
	}
	return 0;
}
