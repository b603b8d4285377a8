/*
 * B+trees: growing. A full leaf is split in two, which adds a child to the node above, and so on
 * up.
 *
 * Where a leaf is split
 * 1. A new last item goes alone into the new leaf, and a new first one alone into the old: loads in
 *    ascending (descending) order fill their leaves. The old leaf is not even changed then.
 * 2. A new last item of its object (same key.a before it, another one behind) stays behind what
 *    it continues, and the rest moves: so files that grow in turn fill their leaves too.
 * 3. Else half the bytes go to each side.
 * Two leaves always suffice: items take at most 24 + 4240 bytes of 16320, so half of an overfull
 * leaf plus one item is less than a leaf.
 */
#include <string.h>

#include "base/err.h"
#include "fs/btree_priv.h"
#include "fs/space.h"

_Static_assert((NODE_CAPACITY + 24u + FMT_VALUE_MAX) / 2 + 24u + FMT_VALUE_MAX <= NODE_CAPACITY,
	       "an overfull leaf splits in two");

int root_edit(struct view *v, struct fmt_root **out)
{
	void *buf;
	int r = view_edit_part(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (r)
		return r;
	view_touch(v, buf, 0, offsetof(struct fmt_root, pad));
	*out = buf;
	return 0;
}

static int new_node(struct view *v, enum fmt_tree t, u64 goal, bool deep, u32 level, u64 *out_addr,
		    struct fmt_node **out)
{
	void *buf;
	u64 addr;
	int r = space_alloc_node(v, goal, deep, &addr);

	if (r == 0)
		r = view_new(v, addr, FMT_KIND_NODE, (u64)t, &buf);
	if (r)
		return r;
	node_init(buf, level);
	*out_addr = addr;
	*out = buf;
	return 0;
}

static int set_root(struct view *v, enum fmt_tree t, u64 addr, u32 height)
{
	struct fmt_root *root;
	int r = root_edit(v, &root);

	if (r)
		return r;
	root->tree[t].root = put64(addr);
	root->tree[t].height = put32(height);
	return 0;
}

int bt_first_leaf(struct view *v, enum fmt_tree t, bool deep, struct fmt_key k, const void *val,
		  u32 len)
{
	struct fmt_node *leaf;
	u64 addr;
	int r = new_node(v, t, 0, deep, 0, &addr, &leaf);

	if (r == 0)
		r = leaf_append(leaf, k, val, len);
	return r ? r : set_root(v, t, addr, 1);
}

static int grow_root(struct view *v, enum fmt_tree t, const struct bt_path *p, bool deep,
		     struct fmt_key sep, u64 right)
{
	u64 left = p->lv[p->height - 1].addr, addr;
	struct fmt_node *n;
	int r;

	if (p->height == BTREE_HEIGHT_MAX)
		return -ENOSPC;
	r = new_node(v, t, left, deep, p->height, &addr, &n);
	if (r)
		return r;
	child_insert(n, 0, (struct fmt_key){ 0, 0 }, left);
	child_insert(n, 1, sep, right);
	return set_root(v, t, addr, p->height + 1);
}

/*
 * Splits the full interior node n around the place pos, where (*key, *child) goes in. Afterwards
 * *key and *child are what the level above must take in.
 */
static int split_interior(struct view *v, enum fmt_tree t, struct fmt_node *n, bool deep, u32 pos,
			  struct fmt_key *key, u64 *child)
{
	u32 nr = get16(n->nr), keep = pos == nr ? nr : nr / 2;
	struct fmt_key sep = *key;
	struct fmt_node *right;
	u64 addr;
	int r = new_node(v, t, get64(n->hdr.addr), deep, get16(n->level), &addr, &right);

	if (r)
		return r;
	if (keep < nr) {
		sep = node_key(n, keep);
		node_append(right, n, keep, nr - keep);
		n->nr = put16((u16)keep);
		right->child[0].a = right->child[0].b = put64(0);
	}
	if (keep == nr)
		child_insert(right, 0, (struct fmt_key){ 0, 0 }, *child);
	else if (pos <= keep)
		child_insert(n, pos, *key, *child);
	else
		child_insert(right, pos - keep, *key, *child);
	*key = sep;
	*child = addr;
	return 0;
}

/* Takes the new node `child`, whose keys begin at key, into the levels above the leaves. */
static int insert_above(struct view *v, enum fmt_tree t, const struct bt_path *p, bool deep,
			struct fmt_key key, u64 child)
{
	for (u32 level = 1; level < p->height; level++) {
		struct fmt_node *n;
		void *buf;
		int r = view_edit(v, p->lv[level].addr, FMT_KIND_NODE, &buf);

		if (r)
			return r;
		n = buf;
		if (get16(n->nr) < FMT_NODE_SLOTS_MAX) {
			child_insert(n, p->lv[level].pos + 1, key, child);
			return 0;
		}
		r = split_interior(v, t, n, deep, p->lv[level].pos + 1, &key, &child);
		if (r)
			return r;
	}
	return grow_root(v, t, p, deep, key, child);
}

/* ---- leaves ---- */

/* The items of a full leaf and one more at pos: index i counts them all. */
struct overfull {
	const struct fmt_node *n;
	u32 pos, nr;                 /* nr counts the new one */
	struct fmt_key k;
	const void *val;
	u32 len;
};

static u32 item_bytes(const struct overfull *o, u32 i)
{
	if (i == o->pos)
		return SLOT_SIZE + o->len;
	return SLOT_SIZE + get16(o->n->slot[i < o->pos ? i : i - 1].len);
}

static u32 items_bytes(const struct overfull *o, u32 first, u32 end)
{
	u32 sum = 0;

	for (u32 i = first; i < end; i++)
		sum += item_bytes(o, i);
	return sum;
}

static bool split_fits(const struct overfull *o, u32 split)
{
	return split > 0 && split < o->nr && items_bytes(o, 0, split) <= NODE_CAPACITY &&
	       items_bytes(o, split, o->nr) <= NODE_CAPACITY;
}

static u32 split_half(const struct overfull *o)
{
	u32 half = items_bytes(o, 0, o->nr) / 2, sum = 0, i = 0;

	while (sum < half)
		sum += item_bytes(o, i++);
	return MIN(i, o->nr - 1);
}

/* How many items go to the left side. */
static u32 choose_split(const struct overfull *o)
{
	u32 pos = o->pos;

	if (pos == o->nr - 1)
		return pos;
	if (pos == 0)
		return 1;
	if (node_key(o->n, pos - 1).a == o->k.a && node_key(o->n, pos).a != o->k.a) {
		if (split_fits(o, pos + 1))
			return pos + 1;
		if (split_fits(o, pos))
			return pos;
	}
	return split_half(o);
}

static int append_items(struct fmt_node *dst, const struct overfull *o, u32 first, u32 end)
{
	u32 before = MIN(end, o->pos), after = MAX(first, o->pos + 1);
	int r = 0;

	if (first < before)
		r = node_append(dst, o->n, first, before - first);
	if (r == 0 && first <= o->pos && o->pos < end)
		r = leaf_append(dst, o->k, o->val, o->len);
	if (r == 0 && after < end)
		r = node_append(dst, o->n, after - 1, end - after);
	return r;
}

int bt_split_insert(struct view *v, enum fmt_tree t, struct bt_path *p, bool deep,
		    struct fmt_key k, const void *val, u32 len)
{
	struct overfull o = { .pos = p->lv[0].pos, .k = k, .val = val, .len = len };
	u8 old[NODE_SIZE] __attribute__((aligned(8)));
	struct fmt_node *right;
	const void *leaf;
	u32 split;
	u64 addr;
	int r = view_get(v, p->lv[0].addr, FMT_KIND_NODE, &leaf);

	if (r)
		return r;
	memcpy(old, leaf, NODE_SIZE);
	o.n = (const struct fmt_node *)old;
	o.nr = get16(o.n->nr) + 1u;
	split = choose_split(&o);
	r = new_node(v, t, p->lv[0].addr, deep, 0, &addr, &right);
	if (r)
		return r;
	r = append_items(right, &o, split, o.nr);
	/* With the new item alone on the right, the left side is as it was. */
	if (r == 0 && (split < o.nr - 1 || o.pos < o.nr - 1)) {
		void *left;

		r = view_edit(v, p->lv[0].addr, FMT_KIND_NODE, &left);
		if (r)
			return r;
		node_init(left, 0);
		r = append_items(left, &o, 0, split);
	}
	return r ? r : insert_above(v, t, p, deep, node_key(right, 0), addr);
}
