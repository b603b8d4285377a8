/*
 * B+trees in metadata buffers: one implementation, FMT_NR_TREES trees, roots in the root sector.
 *
 * All functions run inside a body (journal.h): they return -EAGAIN when a node is not in memory, and
 * the body must return that at once. Returned values point into buffers and are valid until the body returns or
 * the tree is changed. Node capacity: a value of up to FMT_VALUE_MAX bytes. Removing keeps nodes at least about a third full
 * by merging with a neighbour; an empty tree has no node. Nodes come from space_alloc_node().
 * A change touches at most BTREE_CREDITS buffers (path with splits, root sector, bitmap, group table).
 */
#ifndef FOLIOFS_FS_BTREE_H
#define FOLIOFS_FS_BTREE_H

#include "format/format.h"
#include "journal/journal.h"

#define BTREE_HEIGHT_MAX 8u
#define BTREE_CREDITS 16u

/* The value of exactly this key: 0, -ENOENT. */
int btree_get(struct view *v, enum fmt_tree t, struct fmt_key k, const void **val, u32 *len);
/* The first item with key >= *k: 0 and *k, or -ENOENT. */
int btree_next(struct view *v, enum fmt_tree t, struct fmt_key *k, const void **val, u32 *len);
/* The last item with key <= *k: 0 and *k, or -ENOENT. */
int btree_prev(struct view *v, enum fmt_tree t, struct fmt_key *k, const void **val, u32 *len);
/* -EEXIST when the key is there. val may not point into a node. -ENOSPC */
int btree_insert(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len);
/* Insert or replace, the length may change. */
int btree_set(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len);
/* Replace len bytes at offset off of an existing value. -ENOENT */
int btree_patch(struct view *v, enum fmt_tree t, struct fmt_key k, u32 off, const void *val, u32 len);
int btree_remove(struct view *v, enum fmt_tree t, struct fmt_key k);   /* -ENOENT */

static inline int fmt_key_cmp(struct fmt_key x, struct fmt_key y)
{
	if (x.a != y.a)
		return x.a < y.a ? -1 : 1;
	return x.b < y.b ? -1 : x.b > y.b;
}

#endif
