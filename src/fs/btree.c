/*
 * B+trees: the way down, and reading.
 *
 * Invariants
 * 1. A node at level l is reached only from a node at level l + 1 (the root from the root sector),
 *    so no damage makes a loop: at most BTREE_HEIGHT_MAX nodes are visited in one descent.
 * 2. All keys below a child lie in the bounds that its parent's keys give. bt_visit() checks the
 *    first and the last key of every node that is used; order inside is checked at load.
 * 3. No node is empty but a leaf that is the whole tree. So the leaf that begins where another one
 *    ends has an item, and stepping over the edge of a leaf is one more descent at most. Leaves
 *    have no links to their neighbours: they would make every split change a third node.
 *
 * Called in bodies only; no locks of its own.
 */
#include "base/err.h"
#include "fs/btree_priv.h"

int bt_root(struct view *v, const struct fmt_root **out)
{
	const void *buf;
	int r = view_get(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (r == 0)
		*out = buf;
	return r;
}

static bool addr_plausible(const struct fmt_geo *g, u64 addr)
{
	return addr != 0 && addr % NODE_SECTORS == 0 && addr < g->nr_sectors &&
	       g->nr_sectors - addr >= NODE_SECTORS;
}

static bool is_everything(const struct bt_bounds *b)
{
	return b->open && b->lo.a == 0 && b->lo.b == 0;
}

static enum why node_fault(const struct fmt_node *n, enum fmt_tree t, u32 level,
			   const struct bt_bounds *b)
{
	u32 nr = get16(n->nr);

	if (get64(n->hdr.owner) != (u64)t)
		return WHY_HDR_OWNER;
	if (get16(n->level) != level)
		return WHY_NODE_LEVEL;
	if (nr > FMT_NODE_SLOTS_MAX)
		return WHY_TREE_COUNT;
	if (nr == 0)
		return level == 0 && is_everything(b) ? WHY_NONE : WHY_TREE_EMPTY;
	if (level > 0 && (get64(n->child[0].a) != 0 || get64(n->child[0].b) != 0))
		return WHY_TREE_FIRST_KEY;
	/* The key of child 0 is not used; what counts as the first key is that of child 1. */
	if (level == 0 || nr > 1) {
		if (fmt_key_cmp(node_key(n, level > 0), b->lo) < 0)
			return WHY_NODE_KEY_RANGE;
		if (!b->open && fmt_key_cmp(node_key(n, nr - 1), b->hi) >= 0)
			return WHY_TREE_KEY_HIGH;
	}
	return WHY_NONE;
}

int bt_visit(struct view *v, enum fmt_tree t, u64 addr, u32 level, const struct bt_bounds *b,
	     const struct fmt_node **out)
{
	const void *buf;
	enum why why;
	int r;

	if (!addr_plausible(view_geo(v), addr))
		return corrupt(WHY_NODE_CHILD, CORRUPT_NO_INO, addr);
	r = view_get(v, addr, FMT_KIND_NODE, &buf);
	if (r)
		return r;
	why = node_fault(buf, t, level, b);
	if (why != WHY_NONE)
		return corrupt(why, CORRUPT_NO_INO, addr);
	*out = buf;
	return 0;
}

struct bt_bounds bt_child_bounds(const struct fmt_node *n, u32 i, const struct bt_bounds *b)
{
	struct bt_bounds c = *b;

	if (i > 0)
		c.lo = node_key(n, i);
	if (i + 1 < get16(n->nr)) {
		c.hi = node_key(n, i + 1);
		c.open = false;
	}
	return c;
}

static int tree_root(struct view *v, enum fmt_tree t, u64 *addr, u32 *height)
{
	const struct fmt_root *root;
	int r = bt_root(v, &root);

	if (r)
		return r;
	*addr = get64(root->tree[t].root);
	*height = get32(root->tree[t].height);
	if (*height > BTREE_HEIGHT_MAX)
		return corrupt(WHY_TREE_DEPTH, CORRUPT_NO_INO, *addr);
	if ((*height == 0) != (*addr == 0))
		return corrupt(WHY_TREE_ROOT, CORRUPT_NO_INO, *addr);
	return 0;
}

int bt_descend(struct view *v, enum fmt_tree t, struct fmt_key k, struct bt_path *p,
	       const struct fmt_node **out)
{
	struct bt_bounds b = { .open = true };
	const struct fmt_node *n = NULL;
	u64 addr;
	int r = tree_root(v, t, &addr, &p->height);

	if (r)
		return r;
	if (p->height == 0)
		return -ENOENT;
	for (u32 level = p->height; level-- > 0;) {
		r = bt_visit(v, t, addr, level, &b, &n);
		if (r)
			return r;
		p->lv[level].addr = addr;
		p->lv[level].b = b;
		if (level == 0)
			break;
		p->lv[level].pos = node_child(n, k);
		addr = get64(n->child[p->lv[level].pos].child);
		b = bt_child_bounds(n, p->lv[level].pos, &b);
	}
	*out = n;
	return 0;
}

int btree_get(struct view *v, enum fmt_tree t, struct fmt_key k, const void **val, u32 *len)
{
	const struct fmt_node *leaf;
	struct bt_path p;
	bool exact;
	u32 pos;
	int r = bt_descend(v, t, k, &p, &leaf);

	if (r)
		return r;
	pos = node_lower(leaf, k, &exact);
	return exact ? leaf_value(leaf, pos, val, len) : -ENOENT;
}

static int take_item(const struct fmt_node *leaf, u32 pos, struct fmt_key *k, const void **val,
		     u32 *len)
{
	int r = leaf_value(leaf, pos, val, len);

	if (r == 0)
		*k = node_key(leaf, pos);
	return r;
}

int btree_next(struct view *v, enum fmt_tree t, struct fmt_key *k, const void **val, u32 *len)
{
	const struct fmt_node *leaf;
	struct fmt_key from = *k;
	struct bt_path p;
	bool exact;

	/* Twice at most: the leaf for k may end before k, the one after it can't. */
	for (int i = 0; i < 2; i++) {
		u32 pos;
		int r = bt_descend(v, t, from, &p, &leaf);

		if (r)
			return r;
		pos = node_lower(leaf, from, &exact);
		if (pos < get16(leaf->nr))
			return take_item(leaf, pos, k, val, len);
		if (p.lv[0].b.open)
			return -ENOENT;
		from = p.lv[0].b.hi;
	}
	return corrupt(WHY_TREE_NEXT, CORRUPT_NO_INO, p.lv[0].addr);
}

int btree_prev(struct view *v, enum fmt_tree t, struct fmt_key *k, const void **val, u32 *len)
{
	const struct fmt_node *leaf;
	struct fmt_key from = *k;
	struct bt_path p;
	bool exact;

	for (int i = 0; i < 2; i++) {
		u32 pos;
		int r = bt_descend(v, t, from, &p, &leaf);

		if (r)
			return r;
		pos = node_lower(leaf, from, &exact);
		if (exact || pos > 0)
			return take_item(leaf, exact ? pos : pos - 1, k, val, len);
		/* The greatest key below those of this leaf. */
		from = p.lv[0].b.lo;
		if (from.a == 0 && from.b == 0)
			return -ENOENT;
		if (from.b-- == 0)
			from.a--;
	}
	return corrupt(WHY_TREE_PREV, CORRUPT_NO_INO, p.lv[0].addr);
}

/* ---- the whole tree ---- */

struct check_walk {
	struct view *v;
	enum fmt_tree t;
	struct btree_shape shape;
	struct fmt_key last;
};

static int check_leaf(struct check_walk *w, const struct fmt_node *n)
{
	for (u32 i = 0; i < get16(n->nr); i++) {
		struct fmt_key k = node_key(n, i);
		const void *val;
		u32 len;
		int r = leaf_value(n, i, &val, &len);

		if (r)
			return r;
		if (w->shape.items++ > 0 && fmt_key_cmp(w->last, k) >= 0)
			return corrupt(WHY_TREE_ORDER, CORRUPT_NO_INO, get64(n->hdr.addr));
		w->last = k;
	}
	w->shape.bytes += leaf_used(n);
	return 0;
}

/* Recursion as deep as the tree is high. */
static int check_node(struct check_walk *w, u64 addr, u32 level, const struct bt_bounds *b)
{
	const struct fmt_node *n;
	enum why why;
	int r = bt_visit(w->v, w->t, addr, level, b, &n);

	if (r)
		return r;
	why = fmt_node_why(n);
	if (why)
		return corrupt(why, CORRUPT_NO_INO, addr);
	w->shape.nodes++;
	if (level == 0)
		return check_leaf(w, n);
	w->shape.bytes += get16(n->nr) * SLOT_SIZE;
	for (u32 i = 0; i < get16(n->nr) && r == 0; i++) {
		struct bt_bounds c = bt_child_bounds(n, i, b);

		r = check_node(w, get64(n->child[i].child), level - 1, &c);
	}
	return r;
}

int btree_check(struct view *v, enum fmt_tree t, struct btree_shape *out)
{
	struct check_walk w = { .v = v, .t = t };
	struct bt_bounds all = { .open = true };
	u64 addr;
	int r = tree_root(v, t, &addr, &w.shape.height);

	if (r)
		return r;
	if (w.shape.height > 0)
		r = check_node(&w, addr, w.shape.height - 1, &all);
	if (r == 0)
		*out = w.shape;
	return r;
}
