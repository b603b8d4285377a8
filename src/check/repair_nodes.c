/*
 * Repairs of trees whose nodes are damaged. Nothing is allocated here, other than by fix_salvage().
 *
 * Rules
 * 1. A flipped bit is put right. A damaged node above the leaves is made again, in its place, from
 *    the nodes below it that are found. What remains is cut out of its parent, and takes with it
 *    only what it held.
 * 2. Keys above the leaves are bounds: the lowest key of each child serves as well as what stood
 *    there. Two nodes that claim the same keys: the younger one counts.
 * 3. Cutting out the last child of a node cuts out the node, and so on up to an empty tree.
 * 4. Leaves further below (two damaged nodes one above the other) are found in later rounds, and
 *    their items are put in one by one.
 */
#include "check/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/btree.h"

#define CUT_CREDITS (FMT_HEIGHT_MAX + 2u)
#define SALVAGE_BATCH 4u

/* ---- cutting ---- */

struct path {
	u32 height;
	u64 addr[FMT_HEIGHT_MAX];       /* by level */
};

/* The node above `at`, by the way that its keys lead; -ENOENT when the tree has changed. */
static int find_path(struct view *v, enum fmt_tree t, const struct walk_place *at,
		     struct path *p)
{
	const struct fmt_root *root;
	const void *buf;
	u64 addr;
	int r = view_get(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (r)
		return r;
	root = buf;
	p->height = get32(root->tree[t].height);
	addr = get64(root->tree[t].root);
	if (at->level >= p->height || p->height > FMT_HEIGHT_MAX)
		return -ENOENT;
	for (u32 level = p->height - 1; level > at->level; level--) {
		const struct fmt_node *n;
		u32 i = 0;

		r = view_get(v, addr, FMT_KIND_NODE, &buf);
		if (r)
			return r;
		n = buf;
		if (get16(n->level) != level)
			return -ENOENT;
		p->addr[level] = addr;
		while (i + 1u < get16(n->nr) &&
		       walk_key_cmp(walk_node_key(n, i + 1), at->range.lo) <= 0)
			i++;
		addr = get64(n->child[i].child);
	}
	p->addr[at->level] = addr;
	return 0;
}

/* Takes the last reference to the child out; false if there is none. */
static bool drop_child(struct fmt_node *n, u64 child)
{
	u32 nr = get16(n->nr), i = nr;

	while (i > 0 && get64(n->child[i - 1].child) != child)
		i--;
	if (i == 0)
		return false;
	i--;
	memmove(&n->child[i], &n->child[i + 1], (nr - i - 1) * sizeof(n->child[0]));
	memset(&n->child[nr - 1], 0, sizeof(n->child[0]));
	n->nr = put16((u16)(nr - 1));
	if (i == 0 && nr > 1)
		n->child[0].a = n->child[0].b = put64(0);
	return true;
}

static int set_tree(struct view *v, enum fmt_tree t, u64 addr, u32 height)
{
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (r)
		return r;
	((struct fmt_root *)buf)->tree[t].root = put64(addr);
	((struct fmt_root *)buf)->tree[t].height = put32(height);
	return 0;
}

static int cut_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	u64 child = f->place.addr;
	struct path p;
	int r = find_path(v, f->tree, &f->place, &p);

	if (r)
		return r;
	for (u32 level = f->place.level + 1; level < p.height; level++) {
		struct fmt_node *n;
		void *buf;

		r = view_edit(v, p.addr[level], FMT_KIND_NODE, &buf);
		if (r)
			return r;
		n = buf;
		if (!drop_child(n, child))
			return -ENOENT;
		if (get16(n->nr) == 1 && level == p.height - 1)
			return set_tree(v, f->tree, get64(n->child[0].child), level);
		if (get16(n->nr) > 0)
			return 0;
		/* An empty node may not be published: it is freed with all the rest. */
		n->nr = put16(1);
		n->child[0].child = put64(child);
		child = p.addr[level];
	}
	return set_tree(v, f->tree, 0, 0);
}

int fix_node_cut(struct repair *rp, const struct fix *f)
{
	return jnl_run(rp->jnl, CUT_CREDITS, cut_body, (void *)(uintptr_t)f, NULL);
}

/* ---- making a node again from those below it ---- */

static bool is_child_of(const struct lost_node *n, const struct fix *f)
{
	return n->tree == f->tree && n->level + 1u == f->place.level && !n->child &&
	       walk_in_range(&f->place.range, n->lo) && walk_in_range(&f->place.range, n->hi);
}

static int by_low_key(const void *a, const void *b)
{
	const struct lost_node *const *x = a, *const *y = b;

	return walk_key_cmp((*x)->lo, (*y)->lo);
}

/* In order of keys; of those that overlap the younger. Returns how many are left. */
static u32 choose(const struct lost_node **all, u64 nr)
{
	u32 kept = 0;

	qsort(all, nr, sizeof(*all), by_low_key);
	for (u64 i = 0; i < nr; i++) {
		if (kept && walk_key_cmp(all[kept - 1]->hi, all[i]->lo) >= 0) {
			if (all[i]->gen > all[kept - 1]->gen)
				all[kept - 1] = all[i];
		} else if (kept < FMT_NODE_SLOTS_MAX) {
			all[kept++] = all[i];
		}
	}
	return kept;
}

static int put_node(struct repair *rp, const struct fix *f, const struct lost_node **child, u32 nr)
{
	struct fmt_node *n = calloc(1, NODE_SIZE);
	int r;

	if (!n)
		return -ENOMEM;
	n->level = put16((u16)f->place.level);
	n->nr = put16((u16)nr);
	for (u32 i = 0; i < nr; i++) {
		n->child[i].child = put64(child[i]->addr);
		if (i == 0)
			continue;
		n->child[i].a = put64(child[i]->lo.a);
		n->child[i].b = put64(child[i]->lo.b);
	}
	r = repair_put(rp, f->place.addr, FMT_KIND_NODE, f->tree, n);
	free(n);
	return r;
}

/* 1: made again; 0: nothing was found below it; -errno. */
static int make_again(struct repair *rp, const struct fix *f)
{
	const struct lost *l = &rp->c->lost;
	const struct lost_node **child = calloc(MAX(l->nr, (u64)1), sizeof(*child));
	u64 nr = 0;
	u32 kept;
	int r = 0;

	if (!child)
		return -ENOMEM;
	for (u64 i = 0; i < l->nr; i++)
		if (is_child_of(&l->n[i], f))
			child[nr++] = &l->n[i];
	kept = choose(child, nr);
	if (kept)
		r = put_node(rp, f, child, kept);
	snprintf(rp->outcome, sizeof(rp->outcome), "made again from %u nodes found below it", kept);
	free(child);
	return r ? r : kept > 0;
}

int fix_node(struct repair *rp, const struct fix *f)
{
	bool found;
	int r = repair_flipped_bit(rp, f->place.addr, FMT_KIND_NODE, &found);

	if (r || found)
		return r;
	if (rp->opts->safe_only)
		return -EPERM;
	if (f->place.level > 0) {
		repair_cut_note(rp, f->tree, &f->place.range);
		r = make_again(rp, f);
		if (r)
			return MIN(r, 0);
		rp->outcome[0] = 0;
	}
	return fix_node_cut(rp, f);
}

/* ---- items of a leaf that nothing leads to ---- */

struct salvage_arg {
	enum fmt_tree tree;
	const struct fmt_node *leaf;
	u32 from;
};

static int salvage_body(struct view *v, void *arg)
{
	const struct salvage_arg *a = arg;
	u32 end = MIN(a->from + SALVAGE_BATCH, (u32)get16(a->leaf->nr));

	for (u32 i = a->from; i < end; i++) {
		const struct fmt_slot *s = &a->leaf->slot[i];
		int r = btree_insert(v, a->tree, walk_node_key(a->leaf, i),
				     (const u8 *)a->leaf + get16(s->off), get16(s->len));

		if (r && r != -EEXIST)
			return r;
	}
	return 0;
}

bool repair_was_salvaged(const struct repair *rp, u64 addr)
{
	for (u32 i = 0; i < rp->nr_salvaged; i++)
		if (rp->salvaged[i] == addr)
			return true;
	return false;
}

static int note_salvaged(struct repair *rp, u64 addr)
{
	u64 *p = reallocarray(rp->salvaged, rp->nr_salvaged + 1u, sizeof(*p));

	if (!p)
		return -ENOMEM;
	rp->salvaged = p;
	p[rp->nr_salvaged++] = addr;
	return 0;
}

int fix_salvage(struct repair *rp, const struct fix *f)
{
	struct fmt_node *leaf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	struct salvage_arg a = { .tree = f->tree, .leaf = leaf };
	int r;

	if (!leaf)
		return -ENOMEM;
	r = blk_read(rp->dev, f->sector, leaf, NODE_SECTORS, BLK_META);
	if (!r)
		r = fmt_buf_check(leaf, FMT_KIND_NODE, f->sector, &rp->c->geo);
	for (; !r && a.from < get16(leaf->nr); a.from += SALVAGE_BATCH)
		r = jnl_run(rp->jnl, SALVAGE_BATCH * BTREE_CREDITS, salvage_body, &a, NULL);
	free(leaf);
	return r ? r : note_salvaged(rp, f->sector);
}
