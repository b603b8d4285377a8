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

struct range {
	struct fmt_key lo, hi;
	bool bounded;           /* hi counts */
};

static int key_cmp(struct fmt_key x, struct fmt_key y)
{
	if (x.a != y.a)
		return x.a < y.a ? -1 : 1;
	return x.b < y.b ? -1 : x.b > y.b;
}

static struct fmt_key node_key(const struct fmt_node *n, u32 i)
{
	/* Slots and children both begin with the key and are equally long. */
	const struct fmt_child *c = &n->child[i];

	return (struct fmt_key){ get64(c->a), get64(c->b) };
}

_Static_assert(sizeof(struct fmt_slot) == sizeof(struct fmt_child), "keys are found alike");

static bool in_range(const struct range *in, struct fmt_key k)
{
	return key_cmp(k, in->lo) >= 0 && (!in->bounded || key_cmp(k, in->hi) < 0);
}

/* The keys of a node ascend (fmt_node_check), so the first and the last tell. */
static bool node_fits(const struct walk *w, const struct fmt_node *n, u32 level,
		      const struct range *in)
{
	u32 first = level > 0 ? 1 : 0, nr = get16(n->nr);

	if (get64(n->hdr.owner) != w->tree || get16(n->level) != level)
		return false;
	/* A leaf that is the whole tree may be empty. */
	if (nr == 0)
		return !in->bounded && in->lo.a == 0 && in->lo.b == 0;
	if (first >= nr)
		return true;
	return in_range(in, node_key(n, first)) && in_range(in, node_key(n, nr - 1));
}

/* Can a subtree of these keys hold (only, *)? */
static bool wanted(const struct walk *w, const struct range *in)
{
	if (!w->one)
		return true;
	return in->lo.a <= w->only && (!in->bounded || in->hi.a >= w->only);
}

static void leave_out(struct walk *w, u64 addr, int err)
{
	w->complete = false;
	w->bad(w->arg, addr, err);
}

static void leaf_items(struct walk *w, const struct fmt_node *n)
{
	for (u32 i = 0; i < get16(n->nr); i++) {
		const struct fmt_slot *s = &n->slot[i];

		w->item(w->arg, node_key(n, i), (const u8 *)n + get16(s->off), get16(s->len));
	}
}

/* bufs: one node for each level. Recursion is as deep as the tree is high: FMT_HEIGHT_MAX. */
static void walk_node(struct walk *w, u8 *bufs, u64 addr, u32 level, const struct range *in)
{
	struct fmt_node *n = (void *)(bufs + (size_t)level * NODE_SIZE);
	int r;

	if (w->stop && w->stop(w->arg))
		return;
	if (w->node && !w->node(w->arg, addr)) {
		w->complete = false;
		return;
	}
	r = reader_get(w->rd, addr, FMT_KIND_NODE, n);
	if (r || !node_fits(w, n, level, in)) {
		leave_out(w, addr, r ? r : -ERANGE);
		return;
	}
	if (w->max_nodes && w->nodes >= w->max_nodes)
		return;
	w->nodes++;
	if (level == 0) {
		leaf_items(w, n);
		return;
	}
	for (u32 i = 0; i < get16(n->nr); i++) {
		struct range sub = { .lo = i ? node_key(n, i) : in->lo, in->hi, in->bounded };

		if (i + 1u < get16(n->nr)) {
			sub.hi = node_key(n, i + 1);
			sub.bounded = true;
		}
		if (wanted(w, &sub))
			walk_node(w, bufs, get64(n->child[i].child), level - 1, &sub);
	}
}

int walk_tree(struct walk *w, const struct fmt_root *root)
{
	u64 addr = get64(root->tree[w->tree].root);
	u32 height = get32(root->tree[w->tree].height);
	struct range all = { 0 };
	u8 *bufs;

	w->complete = true;
	w->nodes = 0;
	if (height == 0)
		return 0;
	bufs = aligned_alloc(SECTOR_SIZE, (size_t)height * NODE_SIZE);
	if (!bufs)
		return -ENOMEM;
	walk_node(w, bufs, addr, height - 1, &all);
	free(bufs);
	return 0;
}
