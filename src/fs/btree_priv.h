/*
 * Inside the B+trees: the layout of one node (btree_node.c), the way down (btree.c), changes
 * (btree_change.c). Only btree*.c may include this.
 */
#ifndef FOLIOFS_FS_BTREE_PRIV_H
#define FOLIOFS_FS_BTREE_PRIV_H

#include "fs/btree.h"

#define NODE_CAPACITY (NODE_SIZE - (u32)sizeof(struct fmt_node))   /* bytes for slots and values */
#define SLOT_SIZE ((u32)sizeof(struct fmt_slot))
_Static_assert(sizeof(struct fmt_slot) == sizeof(struct fmt_child), "keys at the same places");

/* The keys that may stand below a place in the tree: [lo, hi), without end if `open`. */
struct bt_bounds {
	struct fmt_key lo, hi;
	bool open;
};

/* The way from the root to a leaf; lv[0] is the leaf. pos: the slot there, the child above. */
struct bt_path {
	u32 height;
	struct {
		u64 addr;
		u32 pos;
		struct bt_bounds b;
	} lv[BTREE_HEIGHT_MAX];
};

/* ---- btree_node.c: one node, no I/O ---- */
struct fmt_key node_key(const struct fmt_node *n, u32 i);
/* First position whose key is >= k (nr if none); *exact: it is k. */
u32 node_lower(const struct fmt_node *n, struct fmt_key k, bool *exact);
/* The child that holds k. */
u32 node_child(const struct fmt_node *n, struct fmt_key k);
void node_init(struct fmt_node *n, u32 level);

/* Bytes of slots and values in use. */
u32 leaf_used(const struct fmt_node *n);
/* Bytes between the last slot and the lowest value: an item that needs more makes values move. */
u32 leaf_gap(const struct fmt_node *n);
/* The value of slot i; -EUCLEAN when it lies outside the heap. */
int leaf_value(const struct fmt_node *n, u32 i, const void **val, u32 *len);
/* The caller has seen that leaf_used() + SLOT_SIZE + len <= NODE_CAPACITY. */
int leaf_insert(struct fmt_node *n, u32 pos, struct fmt_key k, const void *val, u32 len);
int leaf_append(struct fmt_node *n, struct fmt_key k, const void *val, u32 len);
/* Another value for slot pos; the caller has seen that it fits. */
int leaf_replace(struct fmt_node *n, u32 pos, const void *val, u32 len);
void leaf_remove(struct fmt_node *n, u32 pos);
void child_insert(struct fmt_node *n, u32 pos, struct fmt_key k, u64 addr);
void child_remove(struct fmt_node *n, u32 pos);
/* Appends entries [first, first + nr) of src to dst, which has room for them. */
int node_append(struct fmt_node *dst, const struct fmt_node *src, u32 first, u32 nr);

/* ---- btree.c: the way down ---- */
int bt_root(struct view *v, const struct fmt_root **out);
/* The node at addr, seen to be one of tree t, at this level, with keys inside the bounds. */
int bt_visit(struct view *v, enum fmt_tree t, u64 addr, u32 level, const struct bt_bounds *b,
	     const struct fmt_node **out);
/* The way to the leaf for k; -ENOENT when the tree is empty. *out = the leaf. */
int bt_descend(struct view *v, enum fmt_tree t, struct fmt_key k, struct bt_path *p,
	       const struct fmt_node **out);
/* Bounds of child i of n, whose own are b. */
struct bt_bounds bt_child_bounds(const struct fmt_node *n, u32 i, const struct bt_bounds *b);

/* ---- btree_split.c ---- */
/* Puts one more item into the full leaf at the end of the path. */
int bt_split_insert(struct view *v, enum fmt_tree t, struct bt_path *p, bool deep,
		    struct fmt_key k, const void *val, u32 len);
/* A tree of one leaf with one item. */
int bt_first_leaf(struct view *v, enum fmt_tree t, bool deep, struct fmt_key k, const void *val,
		  u32 len);

#endif
