/*
 * Walks one tree in key order, from the root sector down, and survives whatever it meets.
 *
 * Rules
 * 1. The depth is bounded by FMT_HEIGHT_MAX: each level has its own buffer, a child must be exactly
 *    one level below its parent, so that even a cycle ends. That no node is visited twice (a graph
 *    of shared nodes would take exponential time) is the business of the node() callback.
 * 2. Child i holds the keys from its own key up to that of child i + 1; child 0 everything below
 *    child 1. Items outside the range are given to bad(), the rest of the tree is still walked.
 */
#include "check/check_priv.h"

#include <stdlib.h>

int walk_key_cmp(struct fmt_key x, struct fmt_key y)
{
	if (x.a != y.a)
		return x.a < y.a ? -1 : 1;
	return x.b < y.b ? -1 : x.b > y.b;
}

struct fmt_key walk_node_key(const struct fmt_node *n, u32 i)
{
	/* Slots and children both begin with the key and are equally long. */
	const struct fmt_child *c = &n->child[i];

	return (struct fmt_key){ get64(c->a), get64(c->b) };
}

_Static_assert(sizeof(struct fmt_slot) == sizeof(struct fmt_child), "keys are found alike");

bool walk_in_range(const struct walk_range *in, struct fmt_key k)
{
	return walk_key_cmp(k, in->lo) >= 0 && (!in->bounded || walk_key_cmp(k, in->hi) < 0);
}

/* The keys of a node ascend (fmt_node_check), so the first and the last tell. */
static bool node_fits(const struct walk *w, const struct fmt_node *n, u32 level,
		      const struct walk_range *in)
{
	u32 first = level > 0 ? 1 : 0, nr = get16(n->nr);

	if (get64(n->hdr.owner) != w->tree || get16(n->level) != level)
		return false;
	/* A leaf that is the whole tree may be empty. */
	if (nr == 0)
		return !in->bounded && in->lo.a == 0 && in->lo.b == 0;
	if (first >= nr)
		return true;
	return walk_in_range(in, walk_node_key(n, first)) &&
	       walk_in_range(in, walk_node_key(n, nr - 1));
}

/* Can a subtree of these keys hold (only, *)? */
static bool wanted(const struct walk *w, const struct walk_range *in)
{
	if (!w->one)
		return true;
	return in->lo.a <= w->only && (!in->bounded || in->hi.a >= w->only);
}

static void leave_out(struct walk *w, const struct walk_place *at, int err)
{
	w->complete = false;
	if (w->bad)
		w->bad(w->arg, at, err);
}

static void leaf_items(struct walk *w, const struct fmt_node *n)
{
	for (u32 i = 0; i < get16(n->nr); i++) {
		const struct fmt_slot *s = &n->slot[i];

		w->item(w->arg, walk_node_key(n, i), (const u8 *)n + get16(s->off), get16(s->len));
	}
}

static struct walk_place child_place(const struct fmt_node *n, u32 i, const struct walk_place *at)
{
	struct walk_place sub = { .addr = get64(n->child[i].child), .parent = at->addr,
				  .level = at->level - 1, .range = at->range };

	if (i > 0)
		sub.range.lo = walk_node_key(n, i);
	if (i + 1u < get16(n->nr)) {
		sub.range.hi = walk_node_key(n, i + 1);
		sub.range.bounded = true;
	}
	return sub;
}

/* 1: *n is the node and may be looked into. */
static int visit(struct walk *w, struct fmt_node *n, const struct walk_place *at)
{
	int r;

	if (w->node && !w->node(w->arg, at->addr)) {
		leave_out(w, at, -EEXIST);
		return 0;
	}
	if (w->shallow && at->level == 0)
		return 0;
	r = reader_get(w->rd, at->addr, FMT_KIND_NODE, n);
	if (r || !node_fits(w, n, at->level, &at->range)) {
		leave_out(w, at, r ? r : -ERANGE);
		return 0;
	}
	if (w->max_nodes && w->nodes >= w->max_nodes)
		return 0;
	w->nodes++;
	return 1;
}

/* bufs: one node for each level. Recursion is as deep as the tree is high: FMT_HEIGHT_MAX. */
static void walk_node(struct walk *w, u8 *bufs, const struct walk_place *at)
{
	struct fmt_node *n = (void *)(bufs + (size_t)at->level * NODE_SIZE);

	if (w->stop && w->stop(w->arg))
		return;
	if (!visit(w, n, at))
		return;
	if (at->level == 0) {
		leaf_items(w, n);
		return;
	}
	for (u32 i = 0; i < get16(n->nr); i++) {
		struct walk_place sub = child_place(n, i, at);

		if (wanted(w, &sub.range))
			walk_node(w, bufs, &sub);
	}
}

int walk_tree(struct walk *w, const struct fmt_root *root)
{
	struct walk_place top = { .addr = get64(root->tree[w->tree].root) };
	u32 height = get32(root->tree[w->tree].height);
	u8 *bufs;

	w->complete = true;
	w->nodes = 0;
	if (height == 0)
		return 0;
	bufs = aligned_alloc(SECTOR_SIZE, (size_t)height * NODE_SIZE);
	if (!bufs)
		return -ENOMEM;
	top.level = height - 1;
	walk_node(w, bufs, &top);
	free(bufs);
	return 0;
}
