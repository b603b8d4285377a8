/*
 * For tests of a whole file system: one on a RAM device, mounted without threads, and a check of
 * what the trees say about links and counts.
 */
#ifndef TESTS_FS_FS_TEST_H
#define TESTS_FS_FS_TEST_H

#include <string.h>

#include "check_main.h"
#include "fs/fs.h"

struct box {
	struct blk_dev *dev;
	struct fs *fs;
	struct inode *root;
	struct fs_opts opts;
};

/* cache of 16 MiB, device `path` ("ram:64M") with blocks of block_bytes (0 = 4096). */
void box_open(struct box *b, const char *path, u32 block_bytes);
/* The same, on a device with durable writes. */
void box_open_fua(struct box *b, const char *path, u32 block_bytes);
void box_close(struct box *b);                 /* unmounts, checks, mounts again, checks, frees */
void box_remount(struct box *b, bool crash);   /* root is a new reference afterwards */

#define OK(expr) ck_assert_int_eq((expr), 0)
#define FAILS(expr, err) ck_assert_int_eq((expr), -(err))

extern const struct fs_cred somebody;          /* 1000, 100 */

/* Short forms for names without zeroes in the directory dir; they fail the test on an error. */
struct inode *make(struct inode *dir, const char *name, u32 mode);
void make_file(struct inode *dir, const char *name);      /* empty, 0644 */
void make_dir(struct inode *dir, const char *name);       /* 0755 */
struct inode *get(struct inode *dir, const char *name);
bool there(struct inode *dir, const char *name);
u64 ino_of(struct inode *dir, const char *name);
struct stat stat_of(struct inode *dir, const char *name);
int unlink_name(struct inode *dir, const char *name);     /* these return the result */
int rmdir_name(struct inode *dir, const char *name);
int rename_name(struct inode *sdir, const char *from, struct inode *ddir, const char *to,
		unsigned flags);

/* What the published trees say. */
struct census { u64 inodes, dirents, orphans, xattrs, extents; };
void census_take(struct fs *fs, struct census *out);
/* Links, entries, parents and the counter of inodes agree with the directory entries. */
void assert_consistent(struct fs *fs);

#endif
