/*
 * B+tree nodes: the layout check. src/fs/btree.c reads and changes them.
 *
 * Rules of a node
 * 1. Keys ascend strictly; only a leaf may be empty, if it is all of its tree.
 * 2. Leaf: slots [0, nr) end at or before `heap`; each value lies in [heap, NODE_SIZE) and is at
 *    most FMT_VALUE_MAX long.
 * 3. Leaf: the lengths of all values plus `dead` are the size of the heap, so that compaction
 *    always has room for what it copies.
 *
 * Pure functions, no locks.
 */
#include "format/format.h"

#include "base/err.h"

static bool key_ascends(le64 a0, le64 b0, le64 a1, le64 b1)
{
	if (get64(a0) != get64(a1))
		return get64(a0) < get64(a1);
	return get64(b0) < get64(b1);
}

static int leaf_check(const struct fmt_node *n)
{
	u32 nr = get16(n->nr), heap = get32(n->heap), dead = get32(n->dead), used = 0;

	if (heap > NODE_SIZE || heap < sizeof(*n) + nr * sizeof(struct fmt_slot))
		return -EUCLEAN;
	for (u32 i = 0; i < nr; i++) {
		const struct fmt_slot *s = &n->slot[i];
		u32 off = get16(s->off), len = get16(s->len);

		if (off < heap || len > FMT_VALUE_MAX || off + len > NODE_SIZE)
			return -EUCLEAN;
		if (i > 0 && !key_ascends(s[-1].a, s[-1].b, s->a, s->b))
			return -EUCLEAN;
		used += len;
	}
	if (dead > NODE_SIZE || used + dead != NODE_SIZE - heap)
		return -EUCLEAN;
	return 0;
}

static int interior_check(const struct fmt_node *n)
{
	u32 nr = get16(n->nr);

	for (u32 i = 1; i < nr; i++) {
		const struct fmt_child *c = &n->child[i];

		if (!key_ascends(c[-1].a, c[-1].b, c->a, c->b))
			return -EUCLEAN;
	}
	return 0;
}

int fmt_node_check(const struct fmt_node *n)
{
	u32 nr = get16(n->nr);

	if (get16(n->level) >= FMT_HEIGHT_MAX)
		return -EUCLEAN;
	if (nr > FMT_NODE_SLOTS_MAX || (nr == 0 && get16(n->level) > 0))
		return -EUCLEAN;
	return get16(n->level) == 0 ? leaf_check(n) : interior_check(n);
}
