/*
 * B+trees in metadata buffers: one implementation, FMT_NR_TREES trees, roots in the root sector.
 *
 * All functions run inside a body (journal.h): they return -EAGAIN when a node is not in memory,
 * and the body must return that at once. Returned values point into buffers and are valid until
 * the body returns or the tree is changed. A value has 0..FMT_VALUE_MAX bytes.
 *
 * In an interior node child i holds the keys from its own key up to, not including, that of child
 * i + 1. The key of child 0 is not used and stored as (0, 0): child 0 holds everything below
 * child 1. Removing merges a node that is less than a third full with a neighbour when both fit
 * into one node. No node is empty but the last one of a tree, which stays: a tree that is filled
 * and emptied again and again (orphans) keeps its leaf. Nodes come from space_alloc_node().
 *
 * A change touches at most BTREE_CREDITS buffers: path, new or merged neighbours, root sector,
 * bitmaps and group table. Damaged nodes give -EUCLEAN. -ENOSPC: no space for a node.
 */
#ifndef FOLIOFS_FS_BTREE_H
#define FOLIOFS_FS_BTREE_H

#include "format/format.h"
#include "journal/journal.h"

#define BTREE_HEIGHT_MAX FMT_HEIGHT_MAX
#define BTREE_CREDITS 16u

/* The value of exactly this key: 0, -ENOENT. */
int btree_get(struct view *v, enum fmt_tree t, struct fmt_key k, const void **val, u32 *len);
/* The first item with key >= *k: 0 and *k, or -ENOENT. */
int btree_next(struct view *v, enum fmt_tree t, struct fmt_key *k, const void **val, u32 *len);
/* The last item with key <= *k: 0 and *k, or -ENOENT. */
int btree_prev(struct view *v, enum fmt_tree t, struct fmt_key *k, const void **val, u32 *len);
/* -EEXIST when the key is there. val may not point into a node. -ENOSPC */
int btree_insert(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len);
/* Insert or replace, the length may change. val may not point into a node. */
int btree_set(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len);
/* Replace len bytes at offset off of an existing value. -ENOENT; -EINVAL beyond its end. */
int btree_patch(struct view *v, enum fmt_tree t, struct fmt_key k, u32 off, const void *val,
		u32 len);
int btree_remove(struct view *v, enum fmt_tree t, struct fmt_key k);   /* -ENOENT */

/* The root sector to change: tree roots and counters, in bodies. */
int root_edit(struct view *v, struct fmt_root **out);

/* Walks the whole tree: bounds, levels, order, no empty node. Reads every node. bytes: in use,
 * without node headers. */
struct btree_shape { u64 nodes, items, bytes; u32 height; };
int btree_check(struct view *v, enum fmt_tree t, struct btree_shape *out);

static inline int fmt_key_cmp(struct fmt_key x, struct fmt_key y)
{
	if (x.a != y.a)
		return x.a < y.a ? -1 : 1;
	return x.b < y.b ? -1 : x.b > y.b;
}

#endif
