/*
 * reshape: a folio is cut in two, or gets another place in memory, while it stays in its mapping.
 *
 * Both are done to a locked folio that nobody but the index and the caller refers to. Its
 * references are frozen at 0 under mapping->lock exclusive: a reader without the lock can't take
 * one and asks again under the lock, where it waits; so nobody sees the folio change.
 *
 * 1. A folio under writeback, with an owner's data (priv), or of metadata is left as it is.
 * 2. Cutting changes no sector's state: the sums of mapping and limits stay right without being
 *    touched. Both halves stay in the policy's queue, side by side.
 * 3. Moving keeps the descriptor, so index, policy and state know nothing of it. It copies under
 *    mapping->lock, so only folios of up to MEM_MOVE_ORDER are moved: some microseconds.
 *
 * Locks: folio lock, then mapping->lock, then RANK_POLICY (splitting), then RANK_MEM.
 */
#include "base/err.h"
#include "cache/cache_priv.h"
#include "cache/index.h"

static bool may_reshape(const struct folio *f)
{
	return !f->mapping->metadata && !f->priv && !folio_has(f, FOLIO_WRITEBACK | FOLIO_PINNED);
}

/* mapping->lock held exclusively and the references frozen, or neither. */
static bool reshape_begin(struct folio *f)
{
	struct mapping *m = f->mapping;

	if (!m)
		return false;
	rwlock_wrlock(&m->lock);
	if (may_reshape(f) && folio_freeze(f, 2)) {
		if (may_reshape(f))
			return true;
		__atomic_store_n(&f->refs, 2, __ATOMIC_RELEASE);
	}
	rwlock_unlock(&m->lock);
	return false;
}

static void reshape_end(struct folio *f)
{
	__atomic_store_n(&f->refs, 2, __ATOMIC_RELEASE);
	rwlock_unlock(&f->mapping->lock);
}

/* ---- cutting ---- */

/* Four bits of heat for half a folio become eight for a whole one. */
static u32 heat_spread(u32 half)
{
	u32 heat = 0;

	for (unsigned i = 0; i < 4; i++)
		if (half >> i & 1)
			heat |= 3u << 2 * i;
	return heat << FOLIO_HEAT_SHIFT;
}

static void heat_set(struct folio *f, u32 half)
{
	folio_flags_clear(f, FOLIO_HEAT | FOLIO_ACCESSED);
	if (half)
		folio_flags_set(f, heat_spread(half) | FOLIO_ACCESSED);
}

/* Everything but the index: descriptor, frames, state, queue. NULL when there is no descriptor. */
static struct folio *cut(struct folio *f)
{
	u32 heat = folio_flags(f) >> FOLIO_HEAT_SHIFT;
	struct folio *g = policy_split(f);

	if (!g)
		return NULL;
	state_split(f, g);
	heat_set(f, heat & 15);
	heat_set(g, heat >> 4);
	__atomic_store_n(&g->index, f->index + folio_sectors(f), __ATOMIC_RELAXED);
	__atomic_store_n(&g->mapping, f->mapping, __ATOMIC_RELEASE);
	return g;
}

int mapping_split(struct folio *f, struct folio **upper)
{
	struct cache_node *spare = NULL;
	struct folio *g;
	int err = f->order == 0 ? -EINVAL : 0;

	if (err || !reshape_begin(f))
		return err ? err : -EAGAIN;
	err = index_split_prepare(f, &spare);
	g = err ? NULL : cut(f);
	if (g) {
		index_split(f->mapping, f, g, spare);
		__atomic_store_n(&g->refs, 2, __ATOMIC_RELEASE);
		stat_trace(TRACE_SPLIT, f->mapping->id, f->index, 2 * folio_sectors(f));
	} else if (spare) {
		index_split_cancel(spare);
	}
	reshape_end(f);
	if (!g)
		return -ENOMEM;
	*upper = g;
	return 0;
}

/* ---- moving ---- */

bool mapping_move(struct folio *f)
{
	bool moved;

	if (!reshape_begin(f))
		return false;
	moved = mem_move(f);
	if (moved) {
		stat_add(STAT_COMPACT_MOVED, folio_sectors(f));
		stat_trace(TRACE_MOVE, f->mapping->id, f->index, folio_sectors(f));
	}
	reshape_end(f);
	return moved;
}

/* ---- giving back parts ---- */

/*
 * The halves of a locked folio of which the caller has a reference, again and again: what is kept
 * is let go, what may go is evicted. Uses up lock and reference; sectors that went.
 */
static u64 shrink(struct folio *f, bool (*keep_half)(const struct folio *f, bool *upper),
		  enum stat_id counter)
{
	struct folio *g, *keep;
	bool upper;
	u64 gone = 0;

	while (f->order > 0 && keep_half(f, &upper)) {
		if (mapping_split(f, &g))
			break;
		stat_inc(counter);
		keep = upper ? g : f;
		gone += mapping_evict(upper ? f : g);
		f = keep;
	}
	folio_unlock(f);
	folio_put(f);
	return gone;
}

static bool keep_hot(const struct folio *f, bool *upper)
{
	*upper = !(folio_flags(f) >> FOLIO_HEAT_SHIFT & 15);
	return folio_half_cold(f);
}

u64 mapping_evict_cold(struct folio *f)
{
	return shrink(f, keep_hot, STAT_SPLITS_HOT);
}

/* One half has no dirty sector. */
static bool keep_dirty(const struct folio *f, bool *upper)
{
	u32 half = folio_sectors(f) / 2, first, nr;
	bool low = folio_next_dirty(f, 0, half, &first, &nr);
	bool high = folio_next_dirty(f, half, 2 * half, &first, &nr);

	*upper = high;
	return low != high;
}

u64 mapping_evict_clean_parts(struct folio *f)
{
	return shrink(f, keep_dirty, STAT_SPLITS_DIRTY);
}
