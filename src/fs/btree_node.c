/*
 * One B+tree node: search, and changes inside it.
 *
 *	leaf      | header 64 | slots in key order -> ...  free  ... <- values, no order | 16384
 *	interior  | header 64 | children in key order -> ...                            | 16384
 *
 * Invariants
 * 1. Slots and children have their key at the same place and the same size: searching is one code.
 * 2. Leaf: lengths of all values + dead = NODE_SIZE - heap. A value that is removed leaves `dead`
 *    bytes behind unless it is the lowest; compaction closes them when the gap between slots and
 *    heap is too short. So leaf_used() <= NODE_CAPACITY decides alone whether an item fits.
 * 3. An empty value has the offset NODE_SIZE, which stays inside the heap however that shrinks.
 * 4. Every value is checked to lie in the heap before it is touched: a node may have been damaged
 *    in ways that the check at load does not see (tests hand in such nodes).
 *
 * Pure functions on memory that the caller owns: a private copy for changes.
 */
#include <string.h>

#include "base/err.h"
#include "fs/btree_priv.h"

struct fmt_key node_key(const struct fmt_node *n, u32 i)
{
	return (struct fmt_key){ get64(n->slot[i].a), get64(n->slot[i].b) };
}

u32 node_lower(const struct fmt_node *n, struct fmt_key k, bool *exact)
{
	u32 lo = 0, hi = get16(n->nr);

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (fmt_key_cmp(node_key(n, mid), k) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*exact = lo < get16(n->nr) && fmt_key_cmp(node_key(n, lo), k) == 0;
	return lo;
}

u32 node_child(const struct fmt_node *n, struct fmt_key k)
{
	bool exact;
	u32 pos = node_lower(n, k, &exact);

	if (exact || pos == 0)
		return pos;
	return pos - 1;
}

void node_init(struct fmt_node *n, u32 level)
{
	n->level = put16((u16)level);
	n->nr = put16(0);
	n->heap = put32(level == 0 ? NODE_SIZE : 0);
	n->dead = put32(0);
	n->pad = put32(0);
}

/* ---- leaves ---- */

u32 leaf_used(const struct fmt_node *n)
{
	return get16(n->nr) * SLOT_SIZE + NODE_SIZE - get32(n->heap) - get32(n->dead);
}

int leaf_value(const struct fmt_node *n, u32 i, const void **val, u32 *len)
{
	const struct fmt_slot *s = &n->slot[i];
	u32 off = get16(s->off), bytes = get16(s->len);

	if (off < get32(n->heap) || bytes > FMT_VALUE_MAX || off + bytes > NODE_SIZE) {
		corrupt(WHY_NODE_LAYOUT, CORRUPT_NO_INO, get64(n->hdr.addr));
		return -EUCLEAN;
	}
	*val = (const u8 *)n + off;
	*len = bytes;
	return 0;
}

u32 leaf_gap(const struct fmt_node *n)
{
	u32 slots_end = (u32)sizeof(*n) + get16(n->nr) * SLOT_SIZE;

	return get32(n->heap) < slots_end ? 0 : get32(n->heap) - slots_end;
}

/* Moves all values together at the end of the node; fails without a change. */
static int leaf_compact(struct fmt_node *n)
{
	u8 heap[NODE_SIZE];
	u16 offs[FMT_NODE_SLOTS_MAX];
	u32 top = NODE_SIZE, nr = get16(n->nr);

	for (u32 i = 0; i < nr; i++) {
		const void *val;
		u32 len;
		int r = leaf_value(n, i, &val, &len);

		if (r)
			return r;
		if (len > top - sizeof(*n) - nr * SLOT_SIZE)
			return corrupt(WHY_LEAF_COMPACT, CORRUPT_NO_INO, get64(n->hdr.addr));
		top -= len;
		memcpy(heap + top, val, len);
		offs[i] = (u16)(len > 0 ? top : NODE_SIZE);
	}
	for (u32 i = 0; i < nr; i++)
		n->slot[i].off = put16(offs[i]);
	memcpy((u8 *)n + top, heap + top, NODE_SIZE - top);
	n->heap = put32(top);
	n->dead = put32(0);
	return 0;
}

/* Makes room for `bytes` of slots and values together. */
static int leaf_make_gap(struct fmt_node *n, u32 bytes)
{
	int r;

	if (leaf_gap(n) >= bytes)
		return 0;
	r = leaf_compact(n);
	if (r == 0 && leaf_gap(n) < bytes)
		r = corrupt(WHY_LEAF_ROOM, CORRUPT_NO_INO, get64(n->hdr.addr));
	return r;
}

/* Puts a value on the heap for a slot that stands already. */
static void leaf_push(struct fmt_node *n, u32 pos, const void *val, u32 len)
{
	u32 heap = get32(n->heap) - len;

	if (len > 0)
		memcpy((u8 *)n + heap, val, len);
	n->slot[pos].off = put16((u16)(len > 0 ? heap : NODE_SIZE));
	n->slot[pos].len = put16((u16)len);
	n->heap = put32(heap);
}

int leaf_insert(struct fmt_node *n, u32 pos, struct fmt_key k, const void *val, u32 len)
{
	u32 nr = get16(n->nr);
	int r = leaf_make_gap(n, SLOT_SIZE + len);

	if (r)
		return r;
	memmove(&n->slot[pos + 1], &n->slot[pos], (size_t)(nr - pos) * SLOT_SIZE);
	n->slot[pos] = (struct fmt_slot){ .a = put64(k.a), .b = put64(k.b) };
	n->nr = put16((u16)(nr + 1));
	leaf_push(n, pos, val, len);
	return 0;
}

int leaf_append(struct fmt_node *n, struct fmt_key k, const void *val, u32 len)
{
	return leaf_insert(n, get16(n->nr), k, val, len);
}

/* Takes the value of slot pos off the heap; the slot keeps an empty one. */
static void leaf_drop_value(struct fmt_node *n, u32 pos)
{
	struct fmt_slot *s = &n->slot[pos];
	u32 off = get16(s->off), len = get16(s->len);

	if (off == get32(n->heap) && len > 0)
		n->heap = put32(off + len);
	else
		n->dead = put32(get32(n->dead) + len);
	s->off = put16(NODE_SIZE);
	s->len = put16(0);
}

int leaf_replace(struct fmt_node *n, u32 pos, const void *val, u32 len)
{
	struct fmt_slot *s = &n->slot[pos];
	u32 old = get16(s->len);
	int r;

	if (len <= old) {
		/* In place: what is cut off stays behind as a hole. */
		if (len > 0)
			memcpy((u8 *)n + get16(s->off), val, len);
		else
			s->off = put16(NODE_SIZE);
		s->len = put16((u16)len);
		n->dead = put32(get32(n->dead) + old - len);
		return 0;
	}
	leaf_drop_value(n, pos);
	r = leaf_make_gap(n, len);
	if (r)
		return r;
	leaf_push(n, pos, val, len);
	return 0;
}

void leaf_remove(struct fmt_node *n, u32 pos)
{
	u32 nr = get16(n->nr);

	leaf_drop_value(n, pos);
	memmove(&n->slot[pos], &n->slot[pos + 1], (size_t)(nr - pos - 1) * SLOT_SIZE);
	n->nr = put16((u16)(nr - 1));
}

/* ---- interior nodes ---- */

void child_insert(struct fmt_node *n, u32 pos, struct fmt_key k, u64 addr)
{
	u32 nr = get16(n->nr);

	memmove(&n->child[pos + 1], &n->child[pos], (size_t)(nr - pos) * SLOT_SIZE);
	n->child[pos] = (struct fmt_child){ put64(k.a), put64(k.b), put64(addr) };
	n->nr = put16((u16)(nr + 1));
}

void child_remove(struct fmt_node *n, u32 pos)
{
	u32 nr = get16(n->nr);

	memmove(&n->child[pos], &n->child[pos + 1], (size_t)(nr - pos - 1) * SLOT_SIZE);
	n->nr = put16((u16)(nr - 1));
	if (pos == 0 && nr > 1)
		n->child[0].a = n->child[0].b = put64(0);
}

int node_append(struct fmt_node *dst, const struct fmt_node *src, u32 first, u32 nr)
{
	u32 have = get16(dst->nr);

	if (get16(src->level) > 0) {
		memcpy(&dst->child[have], &src->child[first], (size_t)nr * SLOT_SIZE);
		dst->nr = put16((u16)(have + nr));
		return 0;
	}
	for (u32 i = first; i < first + nr; i++) {
		const void *val;
		u32 len;
		int r = leaf_value(src, i, &val, &len);

		if (r == 0)
			r = leaf_append(dst, node_key(src, i), val, len);
		if (r)
			return r;
	}
	return 0;
}
