/*
 * A small healthy file system that holds every structure, and what is in it.
 *
 * All trees but that of orphans have several leaves under a node. There are directories four deep,
 * inline and sparse and preallocated files, hard links, symbolic links, a fifo, attributes in one
 * and in several pieces, and an orphan. It is built through src/fs on a device in memory, unmounted
 * in order, and kept as bytes, so that a test damages a copy.
 */
#ifndef TESTS_IMAGE_SAMPLE_H
#define TESTS_IMAGE_SAMPLE_H

#include "blk/blk.h"
#include "format/format.h"

#define SAMPLE_SECTORS 3072u        /* 12 MiB, one group */

/* What programs see of one name. */
struct seen {
	char path[300];
	u64 ino, size;
	u32 mode, nlink;
	u64 data, xattrs;               /* hashes */
	u32 bad_sectors;                /* that could not be read */
};

struct seen_all {
	struct seen *s;                 /* by path */
	u32 nr, max;
};

struct sample {
	struct blk_dev *dev;
	u8 *bytes;                      /* SAMPLE_SECTORS, or NULL for the large one */
	struct fmt_geo geo;
	struct seen_all seen;
	u64 big, orphan, dir, file;     /* inode numbers: /big, the orphan, /d1, /d1/f3 */
};

/* Tiny: 5 MiB, few data, trees as small as two leaves each. Large: two groups, on a device that
 * can't be restored. */
enum sample_size { SAMPLE_SMALL, SAMPLE_TINY, SAMPLE_LARGE };
void sample_init(struct sample *s, enum sample_size size);
/* dirty: as a crash leaves it after more changes, all of them synced, in several transactions. */
void sample_make_dirty(struct sample *s);
void sample_restore(struct sample *s);   /* the device is as it was built */
void sample_fini(struct sample *s);

/* Reads everything through a read-only mount; fails the test if it can't be mounted. */
void seen_read(struct blk_dev *dev, struct seen_all *out);
/* The same in a mount that there is. */
struct fs;
void seen_walk(struct fs *fs, struct seen_all *out);
void seen_free(struct seen_all *a);
/* Of what was seen before: how much is gone, and how much is different. Says what on stdout. */
void seen_compare(const struct seen_all *was, const struct seen_all *is, u32 *gone, u32 *different);

/* ---- the disk ---- */

void sample_get(struct sample *s, u64 sector, u32 nr, void *buf);
void sample_put(struct sample *s, u64 sector, u32 nr, const void *buf);
/* Changes a buffer and seals it again: damage that only its content shows. */
void sample_edit(struct sample *s, enum fmt_kind k, u64 addr, void (*fn)(void *buf, void *arg),
		 void *arg);
/* Fills sectors with noise. */
void sample_smash(struct sample *s, u64 sector, u32 nr);
void sample_flip(struct sample *s, u64 sector, u32 bit);
/* The nr-th node of this level of the tree, from the left. 0: there is none. */
u64 sample_node(struct sample *s, enum fmt_tree t, u32 level, u32 nr);
/* The leaf that holds the first item with key >= k, and its slot. */
u64 sample_leaf(struct sample *s, enum fmt_tree t, struct fmt_key k, u32 *slot);
/* Writes bytes into the value of the first item with key >= k. */
void sample_patch(struct sample *s, enum fmt_tree t, struct fmt_key k, u32 off, const void *val,
		  u32 len);
/* Removes the first item with key >= k from its leaf. */
void sample_remove(struct sample *s, enum fmt_tree t, struct fmt_key k);
/* Gives that item another key, which must fit between its neighbours' or the leaf is sorted
 * anew. */
void sample_rekey(struct sample *s, enum fmt_tree t, struct fmt_key from, struct fmt_key to);
/* The value of the first item with key >= k; its key and length. */
u32 sample_item(struct sample *s, enum fmt_tree t, struct fmt_key *k, void *val);
/* The key of the entry that names this inode. */
struct fmt_key sample_name_of(struct sample *s, u64 ino);

#endif
