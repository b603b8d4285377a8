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

static enum why value_why(const struct fmt_slot *s, u32 heap)
{
	u32 off = get16(s->off), len = get16(s->len);

	if (off < heap)
		return WHY_LEAF_VALUE_LOW;
	if (len > FMT_VALUE_MAX)
		return WHY_LEAF_VALUE_LONG;
	if (off + len > NODE_SIZE)
		return WHY_LEAF_VALUE_END;
	return WHY_NONE;
}

static enum why leaf_why(const struct fmt_node *n)
{
	u32 nr = get16(n->nr), heap = get32(n->heap), dead = get32(n->dead), used = 0;
	enum why why;

	if (heap > NODE_SIZE)
		return WHY_LEAF_HEAP_END;
	if (heap < sizeof(*n) + nr * sizeof(struct fmt_slot))
		return WHY_LEAF_HEAP;
	for (u32 i = 0; i < nr; i++) {
		const struct fmt_slot *s = &n->slot[i];

		why = value_why(s, heap);
		if (why)
			return why;
		if (i > 0 && !key_ascends(s[-1].a, s[-1].b, s->a, s->b))
			return WHY_NODE_KEY_ORDER;
		used += get16(s->len);
	}
	if (dead > NODE_SIZE)
		return WHY_LEAF_DEAD;
	return used + dead == NODE_SIZE - heap ? WHY_NONE : WHY_LEAF_SUM;
}

static enum why interior_why(const struct fmt_node *n)
{
	u32 nr = get16(n->nr);

	for (u32 i = 1; i < nr; i++) {
		const struct fmt_child *c = &n->child[i];

		if (!key_ascends(c[-1].a, c[-1].b, c->a, c->b))
			return WHY_CHILD_KEY_ORDER;
	}
	return nr ? WHY_NONE : WHY_NODE_EMPTY;
}

enum why fmt_node_why(const struct fmt_node *n)
{
	if (get16(n->level) >= FMT_HEIGHT_MAX)
		return WHY_NODE_HEIGHT;
	if (get16(n->nr) > FMT_NODE_SLOTS_MAX)
		return WHY_NODE_COUNT;
	return get16(n->level) == 0 ? leaf_why(n) : interior_why(n);
}
