/*
 * index: a radix tree from sectors to folios, 16 slots a node.
 *
 *	root (shift 8)   slot i covers 1 << 8 sectors
 *	 |- 0: node (shift 4)
 *	 |      |- 0: node (shift 0)        one slot a sector
 *	 |      |- 1: folio of order 4      exactly one slot of this level
 *	 |      '- 2,3: folio of order 5    two slots, both hold it
 *	 '- 1: folio of order 8
 *
 * A folio of order k stands in 1 << k % 4 slots of the level with shift k - k % 4. Sixteen slots
 * and not 64: the usual folios of 64 KiB and more then cost one slot of an upper level instead of a
 * part of a leaf, and a lonely 4 KiB folio in a sparse file costs 136 bytes and not 520.
 *
 * Invariants (under mapping->lock):
 *  1. A slot is NULL, a node (bit 0 set) or a folio. Nodes but for the root hang in one slot.
 *  2. count is the number of slots that are not NULL; no node with count 0 stays in the tree.
 *  3. Bit i of dirty is set exactly if slot i holds a tagged folio or a node with dirty != 0. It is
 *     set under the shared lock (atomically) and cleared under the exclusive one.
 *  4. shift falls by 4 from level to level and is 0 in leaves.
 *  5. Memory of nodes stays memory of nodes until index_fini(): index_lookup() may read a node that
 *     was freed meanwhile and reused, in whatever mapping. All pointers it finds are nodes or
 *     folios, and it takes at most as many steps as its root has levels; its caller verifies what
 *     it got.
 */
#include "cache/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/log.h"
#include "cache/cache_priv.h"

#define NODE_SHIFT_STEP 4u
#define NODE_SLOTS (1u << NODE_SHIFT_STEP)
#define SHIFT_MAX 60u
#define LEVELS_MAX 16u
#define SLAB_BYTES (64u << 10)
#define SLAB_HUGE (2u << 20)      /* when there are as many already: a huge page each */

struct cache_node {
	void *slot[NODE_SLOTS]; /* atomic */
	u16 dirty;              /* atomic */
	u8 count;
	u8 shift;               /* atomic */
};

struct slab {
	struct slab *next;
	struct cache_node node[];
};

static struct {
	struct mutex lock;
	struct cache_node *spare;  /* linked by slot[0], tagged: late readers follow it */
	struct slab *slabs;
	u64 bytes;                 /* of all slabs, atomic */
	u64 nr_used;               /* atomic */
} pool = { .lock = MUTEX_INIT(RANK_MEM) };

/* Where a sector was looked for: nodes from the root down and the slots taken. */
struct path {
	struct cache_node *node[LEVELS_MAX];
	u8 slot[LEVELS_MAX];
	unsigned depth;
};

static bool is_node(const void *entry)
{
	return (uintptr_t)entry & 1;
}

static struct cache_node *to_node(const void *entry)
{
	return (struct cache_node *)((uintptr_t)entry & ~(uintptr_t)1);
}

static void *node_entry(struct cache_node *n)
{
	return (void *)((uintptr_t)n | 1);
}

static void *slot_load(const struct cache_node *n, unsigned i)
{
	return __atomic_load_n(&n->slot[i], __ATOMIC_ACQUIRE);
}

static void slot_store(struct cache_node *n, unsigned i, void *entry)
{
	__atomic_store_n(&n->slot[i], entry, __ATOMIC_RELEASE);
}

static unsigned slot_of(u64 sector, unsigned shift)
{
	return sector >> shift & (NODE_SLOTS - 1);
}

static bool covers(unsigned shift, u64 sector)
{
	return shift >= SHIFT_MAX || sector >> (shift + NODE_SHIFT_STEP) == 0;
}

/* Level at which a folio of this order stands, and its number of slots there. */
static unsigned order_shift(unsigned order)
{
	return order - order % NODE_SHIFT_STEP;
}

static unsigned order_slots(unsigned order)
{
	return 1u << order % NODE_SHIFT_STEP;
}

/* ---- nodes ---- */

/* Zeroed. With many nodes a lookup would feel that each lies in another page. */
static struct slab *slab_new(size_t bytes)
{
	struct slab *s = aligned_alloc(bytes, bytes);

	if (!s)
		return NULL;
	if (bytes == SLAB_HUGE && madvise(s, bytes, MADV_HUGEPAGE))
		log_debug("nodes of the cache get no huge pages: %s", err_text(errno));
	return memset(s, 0, bytes);
}

static bool pool_grow(void)
{
	size_t bytes = pool.bytes < SLAB_HUGE ? SLAB_BYTES : SLAB_HUGE;
	struct slab *s = slab_new(bytes);

	if (!s)
		return false;
	for (size_t i = 0; i < (bytes - sizeof(*s)) / sizeof(s->node[0]); i++) {
		s->node[i].slot[0] = pool.spare ? node_entry(pool.spare) : NULL;
		pool.spare = &s->node[i];
	}
	s->next = pool.slabs;
	pool.slabs = s;
	__atomic_store_n(&pool.bytes, pool.bytes + bytes, __ATOMIC_RELAXED);
	return true;
}

static struct cache_node *node_new(unsigned shift)
{
	struct cache_node *n = NULL;

	mutex_lock(&pool.lock);
	if (pool.spare || pool_grow()) {
		n = pool.spare;
		pool.spare = n->slot[0] ? to_node(n->slot[0]) : NULL;
		__atomic_store_n(&pool.nr_used, pool.nr_used + 1, __ATOMIC_RELAXED);
	}
	mutex_unlock(&pool.lock);
	if (!n)
		return NULL;
	slot_store(n, 0, NULL);
	__atomic_store_n(&n->dirty, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&n->shift, (u8)shift, __ATOMIC_RELEASE);
	n->count = 0;
	return n;
}

static void node_free(struct cache_node *n)
{
	ASSERT(n->count == 0);
	mutex_lock(&pool.lock);
	slot_store(n, 0, pool.spare ? node_entry(pool.spare) : NULL);
	pool.spare = n;
	__atomic_store_n(&pool.nr_used, pool.nr_used - 1, __ATOMIC_RELAXED);
	mutex_unlock(&pool.lock);
}

u64 index_bytes(void)
{
	return __atomic_load_n(&pool.bytes, __ATOMIC_RELAXED);
}

u64 index_nodes(void)
{
	return __atomic_load_n(&pool.nr_used, __ATOMIC_RELAXED);
}

void index_fini(void)
{
	ASSERT(pool.nr_used == 0);
	while (pool.slabs) {
		struct slab *s = pool.slabs;

		pool.slabs = s->next;
		free(s);
	}
	pool.spare = NULL;
	pool.bytes = 0;
}

/* ---- lookup ---- */

struct folio *index_lookup(const struct mapping *m, u64 sector)
{
	struct cache_node *n = __atomic_load_n(&m->root, __ATOMIC_ACQUIRE);
	unsigned shift;
	void *entry;

	if (!n)
		return NULL;
	shift = __atomic_load_n(&n->shift, __ATOMIC_ACQUIRE);
	if (!covers(shift, sector))
		return NULL;
	/* Only the root is asked for its level: it would be a second cache line of each node. */
	for (;;) {
		entry = slot_load(n, slot_of(sector, shift));
		if (!is_node(entry))
			return entry;
		if (shift == 0)
			return NULL;
		n = to_node(entry);
		shift -= NODE_SHIFT_STEP;
	}
}

bool index_is_empty(const struct mapping *m, u64 base, unsigned order)
{
	const struct cache_node *n = m->root;
	unsigned want = order_shift(order);

	if (!n)
		return true;
	if (!covers(n->shift, base))
		return true;
	while (n->shift > want) {
		void *entry = slot_load(n, slot_of(base, n->shift));

		if (!entry)
			return true;
		if (!is_node(entry))
			return false;
		n = to_node(entry);
	}
	/* A tree lower than the folio lies inside it; else a node of its level has its slots. */
	if (n->shift < want)
		return false;
	for (unsigned i = 0; i < order_slots(order); i++)
		if (slot_load(n, slot_of(base, want) + i))
			return false;
	return true;
}

static struct folio *node_next(const struct cache_node *n, u64 sector, bool dirty)
{
	unsigned first = slot_of(sector, n->shift);
	u16 tags = __atomic_load_n(&n->dirty, __ATOMIC_ACQUIRE);

	for (unsigned i = first; i < NODE_SLOTS; i++) {
		void *entry = slot_load(n, i);
		u64 from = i == first ? sector : ((sector >> n->shift) + (i - first)) << n->shift;
		struct folio *f;

		if (!entry || (dirty && !(tags >> i & 1)))
			continue;
		if (!is_node(entry))
			return entry;
		f = node_next(to_node(entry), from, dirty);
		if (f)
			return f;
	}
	return NULL;
}

struct folio *index_next(const struct mapping *m, u64 sector, bool dirty)
{
	const struct cache_node *n = m->root;

	if (!n || !covers(n->shift, sector))
		return NULL;
	return node_next(n, sector, dirty);
}

/* ---- changes ---- */

static void path_push(struct path *p, struct cache_node *n, unsigned slot)
{
	ASSERT(p->depth < LEVELS_MAX);
	p->node[p->depth] = n;
	p->slot[p->depth++] = (u8)slot;
}

static void root_set(struct mapping *m, struct cache_node *n)
{
	__atomic_store_n(&m->root, n, __ATOMIC_RELEASE);
}

/* Makes the tree high enough for a folio at base. What it adds in vain root_shrink() takes away. */
static int root_grow(struct mapping *m, u64 base, unsigned order)
{
	u64 last = base + order_sectors(order) - 1;
	unsigned shift = order_shift(order);
	struct cache_node *n;

	while (!covers(shift, last))
		shift += NODE_SHIFT_STEP;
	while (!m->root || m->root->shift < shift) {
		n = node_new(m->root ? m->root->shift + NODE_SHIFT_STEP : shift);
		if (!n)
			return -ENOMEM;
		if (m->root) {
			slot_store(n, 0, node_entry(m->root));
			n->count = 1;
			n->dirty = m->root->dirty != 0;
		}
		root_set(m, n);
	}
	return 0;
}

/* Frees empty nodes from the end of the path up, clears tags that have lost their reason. */
static void path_prune(struct mapping *m, struct path *p)
{
	while (p->depth > 0) {
		struct cache_node *n = p->node[--p->depth];
		struct cache_node *up = p->depth ? p->node[p->depth - 1] : NULL;
		unsigned slot = up ? p->slot[p->depth - 1] : 0;

		if (up && n->dirty == 0)
			__atomic_fetch_and(&up->dirty, (u16)~(1u << slot), __ATOMIC_RELEASE);
		if (n->count != 0)
			continue;
		if (up) {
			slot_store(up, slot, NULL);
			up->count--;
		} else {
			root_set(m, NULL);
		}
		node_free(n);
	}
}

/* A root with nothing but its first slot in use is a level too much. */
static void root_shrink(struct mapping *m)
{
	struct cache_node *n = m->root;

	while (n && n->count == 1 && n->shift > 0 && is_node(n->slot[0])) {
		struct cache_node *below = to_node(n->slot[0]);

		root_set(m, below);
		slot_store(n, 0, NULL);
		n->count = 0;
		node_free(n);
		n = below;
	}
}

/* The path to the node of level `want` that covers base, made where it is missing. */
static int path_make(struct mapping *m, u64 base, unsigned want, struct path *p)
{
	struct cache_node *n = m->root;

	path_push(p, n, slot_of(base, n->shift));
	while (n->shift > want) {
		unsigned i = slot_of(base, n->shift);
		struct cache_node *child;

		if (!n->slot[i]) {
			child = node_new(n->shift - NODE_SHIFT_STEP);
			if (!child)
				return -ENOMEM;
			slot_store(n, i, node_entry(child));
			n->count++;
		}
		ASSERT(is_node(n->slot[i]));
		n = to_node(n->slot[i]);
		path_push(p, n, slot_of(base, n->shift));
	}
	return 0;
}

/* The path to the node that holds the folio, which is in the tree. */
static void path_find(const struct mapping *m, const struct folio *f, struct path *p)
{
	struct cache_node *n = m->root;

	p->depth = 0;
	for (;;) {
		unsigned i = slot_of(f->index, n->shift);

		path_push(p, n, i);
		if (n->slot[i] == f)
			return;
		ASSERT(is_node(n->slot[i]));
		n = to_node(n->slot[i]);
	}
}

int index_insert(struct mapping *m, struct folio *f, u64 base)
{
	struct cache_node *n;
	struct path p = { .depth = 0 };
	int err;

	ASSERT(IS_ALIGNED(base, (u64)folio_sectors(f)));
	if (!index_is_empty(m, base, f->order))
		return -EEXIST;
	err = root_grow(m, base, f->order);
	if (!err)
		err = path_make(m, base, order_shift(f->order), &p);
	if (err) {
		path_prune(m, &p);
		root_shrink(m);
		return err;
	}
	__atomic_store_n(&f->index, base, __ATOMIC_RELAXED);
	__atomic_store_n(&f->mapping, m, __ATOMIC_RELEASE);
	n = p.node[p.depth - 1];
	for (unsigned i = 0; i < order_slots(f->order); i++)
		slot_store(n, p.slot[p.depth - 1] + i, f);
	n->count = (u8)(n->count + order_slots(f->order));
	return 0;
}

void index_remove(struct mapping *m, struct folio *f)
{
	unsigned slots = order_slots(f->order);
	struct cache_node *n;
	struct path p;
	u16 mask;

	path_find(m, f, &p);
	n = p.node[p.depth - 1];
	mask = (u16)(((1u << slots) - 1) << p.slot[p.depth - 1]);
	for (unsigned i = 0; i < slots; i++)
		slot_store(n, p.slot[p.depth - 1] + i, NULL);
	n->count = (u8)(n->count - slots);
	__atomic_fetch_and(&n->dirty, (u16)~mask, __ATOMIC_RELEASE);
	path_prune(m, &p);
	root_shrink(m);
}

int index_split_prepare(const struct folio *f, struct cache_node **spare)
{
	*spare = NULL;
	if (f->order % NODE_SHIFT_STEP != 0)
		return 0;
	*spare = node_new(order_shift(f->order) - NODE_SHIFT_STEP);
	return *spare ? 0 : -ENOMEM;
}

void index_split_cancel(struct cache_node *spare)
{
	node_free(spare);
}

void index_split(struct mapping *m, struct folio *f, struct folio *g, struct cache_node *spare)
{
	unsigned half = order_slots(f->order), slot;
	struct cache_node *n;
	struct path p;

	path_find(m, f, &p);
	n = p.node[p.depth - 1];
	slot = p.slot[p.depth - 1];
	if (spare) {
		for (unsigned i = 0; i < 2 * half; i++)
			slot_store(spare, i, i < half ? f : g);
		spare->count = (u8)(2 * half);
		__atomic_store_n(&spare->dirty, n->dirty >> slot & 1 ? UINT16_MAX : 0,
				 __ATOMIC_RELEASE);
		slot_store(n, slot, node_entry(spare));
	} else {
		for (unsigned i = 0; i < half; i++)
			slot_store(n, slot + half + i, g);
	}
	if (!folio_has(f, FOLIO_DIRTY))
		index_untag_dirty(m, f);
	if (!folio_has(g, FOLIO_DIRTY))
		index_untag_dirty(m, g);
}

void index_tag_dirty(struct mapping *m, struct folio *f)
{
	u16 mask = (u16)((1u << order_slots(f->order)) - 1);
	struct path p;

	path_find(m, f, &p);
	for (unsigned d = p.depth; d-- > 0; mask = 1)
		__atomic_fetch_or(&p.node[d]->dirty, (u16)(mask << p.slot[d]), __ATOMIC_RELEASE);
}

void index_untag_dirty(struct mapping *m, struct folio *f)
{
	u16 mask = (u16)((1u << order_slots(f->order)) - 1);
	struct path p;

	path_find(m, f, &p);
	mask = (u16)(mask << p.slot[p.depth - 1]);
	__atomic_fetch_and(&p.node[p.depth - 1]->dirty, (u16)~mask, __ATOMIC_RELEASE);
	path_prune(m, &p);
}
