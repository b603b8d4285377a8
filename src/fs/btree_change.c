/*
 * B+trees: insert, replace, remove.
 *
 * Invariants
 * 1. A change may stop anywhere with an error: nothing is published then (journal.h), so no
 *    function here undoes anything.
 * 2. After a removal no node but the only one of its tree is empty, and one that is less than a
 *    third full has no neighbour under the same parent that it would fit into together, with a
 *    sixteenth to spare (so that the next insert does not split again).
 * 3. The root is a leaf or has two children or more.
 * 4. Keys above the leaves are bounds only: removing the first item of a leaf leaves them as they
 *    are.
 *
 * Called in bodies only; no locks of its own.
 */
#include <string.h>

#include "base/err.h"
#include "fs/btree_priv.h"
#include "fs/space.h"

/*
 * May a node for this change come from the last half of the metadata reserve? New inodes, names and
 * attributes may not take it: it is there for what frees space or finishes writes.
 */
static bool is_deep(enum fmt_tree t)
{
	return t == FMT_TREE_EXTENT || t == FMT_TREE_ORPHAN;
}

/* Whoever changes the leaf names what, before: touch_*(). */
static int edit_leaf(struct view *v, const struct bt_path *p, struct fmt_node **out)
{
	void *buf;
	int r = view_edit_part(v, p->lv[0].addr, FMT_KIND_NODE, &buf);

	if (r == 0)
		*out = buf;
	return r;
}

static void touch_slots(struct view *v, const struct fmt_node *n, u32 first, u32 end)
{
	view_touch(v, n, 0, (u32)sizeof(*n));
	view_touch(v, n, (u32)sizeof(*n) + first * SLOT_SIZE, (end - first) * SLOT_SIZE);
}

static void touch_all(struct view *v, const struct fmt_node *n)
{
	view_touch(v, n, 0, NODE_SIZE);
}

static int insert_item(struct view *v, struct fmt_node *n, u32 pos, struct fmt_key k,
		       const void *val, u32 len)
{
	if (leaf_gap(n) < SLOT_SIZE + len) {   /* it will be compacted */
		touch_all(v, n);
	} else {
		touch_slots(v, n, pos, get16(n->nr) + 1u);
		view_touch(v, n, get32(n->heap) - len, len);
	}
	return leaf_insert(n, pos, k, val, len);
}

static void remove_item(struct view *v, struct fmt_node *n, u32 pos)
{
	touch_slots(v, n, pos, get16(n->nr));
	leaf_remove(n, pos);
}

static int insert_at(struct view *v, enum fmt_tree t, struct bt_path *p,
		     const struct fmt_node *leaf, struct fmt_key k, const void *val, u32 len)
{
	struct fmt_node *n;
	int r;

	if (leaf_used(leaf) + SLOT_SIZE + len > NODE_CAPACITY)
		return bt_split_insert(v, t, p, is_deep(t), k, val, len);
	r = edit_leaf(v, p, &n);
	return r ? r : insert_item(v, n, p->lv[0].pos, k, val, len);
}

static int replace_at(struct view *v, enum fmt_tree t, struct bt_path *p, struct fmt_key k,
		      const void *val, u32 len)
{
	u32 pos = p->lv[0].pos, old;
	const void *old_val;
	struct fmt_node *n;
	int r = edit_leaf(v, p, &n);

	if (r == 0)
		r = leaf_value(n, pos, &old_val, &old);
	if (r)
		return r;
	if (len <= old) {
		touch_slots(v, n, pos, pos + 1);
		view_touch(v, n, get16(n->slot[pos].off), len);
		return leaf_replace(n, pos, val, len);
	}
	touch_all(v, n);
	if (leaf_used(n) - old + len <= NODE_CAPACITY)
		return leaf_replace(n, pos, val, len);
	/* What does not fit has others beside it, so the leaf does not get empty in between. */
	leaf_remove(n, pos);
	return bt_split_insert(v, t, p, true, k, val, len);
}

static int put_item(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len,
		    bool replace)
{
	const struct fmt_node *leaf;
	struct bt_path p;
	bool exact;
	int r;

	if (len > FMT_VALUE_MAX)
		return -EINVAL;
	r = bt_descend(v, t, k, &p, &leaf);
	if (r == -ENOENT)
		return bt_first_leaf(v, t, is_deep(t), k, val, len);
	if (r)
		return r;
	p.lv[0].pos = node_lower(leaf, k, &exact);
	if (!exact)
		return insert_at(v, t, &p, leaf, k, val, len);
	return replace ? replace_at(v, t, &p, k, val, len) : -EEXIST;
}

int btree_insert(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len)
{
	return put_item(v, t, k, val, len, false);
}

int btree_set(struct view *v, enum fmt_tree t, struct fmt_key k, const void *val, u32 len)
{
	return put_item(v, t, k, val, len, true);
}

int btree_patch(struct view *v, enum fmt_tree t, struct fmt_key k, u32 off, const void *val,
		u32 len)
{
	const struct fmt_node *leaf;
	const void *old_val;
	struct fmt_node *n;
	struct bt_path p;
	bool exact;
	u32 old;
	int r = bt_descend(v, t, k, &p, &leaf);

	if (r)
		return r;
	p.lv[0].pos = node_lower(leaf, k, &exact);
	if (!exact)
		return -ENOENT;
	r = leaf_value(leaf, p.lv[0].pos, &old_val, &old);
	if (r)
		return r;
	if (off > old || len > old - off)
		return -EINVAL;
	if (len == 0)
		return 0;
	r = edit_leaf(v, &p, &n);
	if (r)
		return r;
	off += get16(n->slot[p.lv[0].pos].off);
	view_touch(v, n, off, len);
	memcpy((u8 *)n + off, val, len);
	return 0;
}

/* ---- removal ---- */

static u32 node_used(const struct fmt_node *n)
{
	return get16(n->level) == 0 ? leaf_used(n) : get16(n->nr) * SLOT_SIZE;
}

static int edit_node(struct view *v, u64 addr, struct fmt_node **out)
{
	void *buf;
	int r = view_edit(v, addr, FMT_KIND_NODE, &buf);

	if (r == 0)
		*out = buf;
	return r;
}

/* The parent at `level` of the path loses child pos; what hung there is freed. */
static int drop_child(struct view *v, const struct bt_path *p, u32 level, u32 pos)
{
	struct fmt_node *parent;
	u64 addr;
	int r = edit_node(v, p->lv[level].addr, &parent);

	if (r)
		return r;
	addr = get64(parent->child[pos].child);
	child_remove(parent, pos);
	return space_free_node(v, addr);
}

/* Moves all of child i + 1 of the parent into child i. */
static int merge_children(struct view *v, const struct bt_path *p, u32 level,
			  const struct fmt_node *parent, u32 i)
{
	struct fmt_key sep = node_key(parent, i + 1);
	struct fmt_node *left;
	const void *right;
	u32 have;
	int r = edit_node(v, get64(parent->child[i].child), &left);

	if (r == 0)
		r = view_get(v, get64(parent->child[i + 1].child), FMT_KIND_NODE, &right);
	if (r)
		return r;
	have = get16(left->nr);
	r = node_append(left, right, 0, get16(((const struct fmt_node *)right)->nr));
	if (r)
		return r;
	if (get16(left->level) > 0) {
		left->child[have].a = put64(sep.a);
		left->child[have].b = put64(sep.b);
	}
	return drop_child(v, p, level, i + 1);
}

/* Would child i of the parent and its right neighbour make one node? 1, 0 or -errno. */
static int may_merge(struct view *v, enum fmt_tree t, const struct bt_path *p, u32 level,
		     const struct fmt_node *parent, u32 i)
{
	u32 sum = 0;

	for (u32 c = i; c <= i + 1; c++) {
		struct bt_bounds b = bt_child_bounds(parent, c, &p->lv[level].b);
		const struct fmt_node *n;
		int r = bt_visit(v, t, get64(parent->child[c].child), level - 1, &b, &n);

		if (r)
			return r;
		sum += node_used(n);
	}
	return sum <= NODE_CAPACITY - NODE_CAPACITY / 16;
}

/* Merges the thin node below `level` with a neighbour: 1, 0 when there is none to suit, -errno. */
static int merge_thin(struct view *v, enum fmt_tree t, const struct bt_path *p, u32 level)
{
	u32 pos = p->lv[level].pos;
	const struct fmt_node *parent;
	const void *buf;
	int r = view_get(v, p->lv[level].addr, FMT_KIND_NODE, &buf);

	if (r)
		return r;
	parent = buf;
	for (u32 i = pos + 1; i-- > 0 && i + 1 >= pos;) {
		if (i + 1 >= get16(parent->nr))
			continue;
		r = may_merge(v, t, p, level, parent, i);
		if (r > 0)
			r = merge_children(v, p, level, parent, i) ? : 1;
		if (r != 0)
			return r;
	}
	return 0;
}

/* Makes the only child of the root the root, as often as there is only one. */
static int shrink_root(struct view *v, enum fmt_tree t, const struct bt_path *p)
{
	struct bt_bounds all = { .open = true };
	u64 addr = p->lv[p->height - 1].addr;
	u32 height = p->height;
	struct fmt_root *root;
	int r;

	while (height > 0) {
		const void *buf;
		const struct fmt_node *n;
		u64 old = addr;

		r = view_get(v, addr, FMT_KIND_NODE, &buf);
		if (r)
			return r;
		n = buf;
		if (get16(n->nr) > 1 || height == 1)
			break;
		addr = get16(n->nr) == 0 ? 0 : get64(n->child[0].child);
		height = get16(n->nr) == 0 ? 0 : height - 1;
		r = space_free_node(v, old);
		if (r == 0 && height > 0)
			r = bt_visit(v, t, addr, height - 1, &all, &n);
		if (r)
			return r;
	}
	if (height == p->height)
		return 0;
	r = root_edit(v, &root);
	if (r)
		return r;
	root->tree[t].root = put64(addr);
	root->tree[t].height = put32(height);
	return 0;
}

/* Restores invariants 2 and 3 from the leaf of the path, which has lost an item, upwards. */
static int rebalance(struct view *v, enum fmt_tree t, const struct bt_path *p)
{
	for (u32 level = 1; level < p->height; level++) {
		const struct fmt_node *n;
		const void *buf;
		int r = view_get(v, p->lv[level - 1].addr, FMT_KIND_NODE, &buf);

		if (r)
			return r;
		n = buf;
		if (get16(n->nr) == 0)
			r = drop_child(v, p, level, p->lv[level].pos) ? : 1;
		else if (node_used(n) < NODE_CAPACITY / 3)
			r = merge_thin(v, t, p, level);
		if (r <= 0)
			return r;
	}
	return shrink_root(v, t, p);
}

int btree_remove(struct view *v, enum fmt_tree t, struct fmt_key k)
{
	const struct fmt_node *leaf;
	struct fmt_node *n;
	struct bt_path p;
	bool exact;
	u32 pos;
	int r = bt_descend(v, t, k, &p, &leaf);

	if (r)
		return r;
	pos = node_lower(leaf, k, &exact);
	if (!exact)
		return -ENOENT;
	r = edit_leaf(v, &p, &n);
	if (r)
		return r;
	remove_item(v, n, pos);
	return rebalance(v, t, &p);
}
