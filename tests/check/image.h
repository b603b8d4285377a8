/*
 * A small file system built by hand, item by item, without src/fs: what the check is tested with.
 *
 * image_init() fills the items of a sound file system; a test changes some; image_write() lays them
 * out (one leaf a tree) with bitmap, map and counters to match; image_edit() then damages what lies
 * below the items. What is in it:
 *
 *	1 /            directory: dir, file, hard, link, small
 *	2 /dir         directory: sub
 *	3 /file /hard  two links, two extents (the first written), an xattr in two pieces
 *	4 /link        symbolic link
 *	5 /small       inline data
 *	6 /dir/sub     directory
 *	7              orphan: no links, to be deleted, one extent
 */
#ifndef TESTS_CHECK_IMAGE_H
#define TESTS_CHECK_IMAGE_H

#include "blk/blk.h"
#include "check/check.h"
#include "format/format.h"

#define IMAGE_SECTORS 2048u
#define IMAGE_ITEMS 32u
#define IMAGE_DATA 1200u          /* first sector of file data */

struct item {
	struct fmt_key key;
	u32 len;
	u8 val[FMT_VALUE_MAX];
};

struct image {
	struct blk_dev *dev;
	struct fmt_geo geo;
	struct item items[FMT_NR_TREES][IMAGE_ITEMS];
	u32 nr[FMT_NR_TREES];
	u64 node[FMT_NR_TREES];   /* where the leaves are, after image_write() */
};

void image_init(struct image *im);
void image_fini(struct image *im);

/* The value of the first item of the tree with this a and, if b is not 0, this b. */
void *image_item(struct image *im, enum fmt_tree t, u64 a, u64 b);
void *image_dirent(struct image *im, u64 dir, const char *name);
void *image_add(struct image *im, enum fmt_tree t, u64 a, u64 b, const void *val, u32 len);
void image_remove(struct image *im, enum fmt_tree t, u64 a, u64 b);
void image_add_name(struct image *im, u64 dir, const char *name, u64 ino, u8 type);

void image_write(struct image *im);

/* Changes a buffer on the device and seals it again. */
void image_edit(struct image *im, enum fmt_kind k, u64 addr, void (*fn)(void *buf));
/* Changes it without sealing. */
void image_damage(struct image *im, u64 sector);

/* Repairs all that is found; fails the test unless it is sound then, and stays so. */
void image_repair(struct image *im);

/* Runs the check; fails the test unless just these codes were found (end with CHECK_NR), and unless
 * they can be repaired. */
void image_expect(struct image *im, ...);

#endif
