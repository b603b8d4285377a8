/*
 * mapping: finding, creating and removing the folios of one object.
 *
 * A hit takes no lock: index_lookup() follows the tree as it finds it, folio_tryget() takes a
 * reference if the folio is alive, and only then mapping, index and order are compared, which the
 * reference now holds still. What does not fit, and every "not there", is asked again under
 * mapping->lock. This works because nodes and descriptors are type-stable.
 *
 * Invariants:
 *  1. A folio is put into an index locked, and with one reference for the index.
 *  2. It is taken out under its lock and mapping->lock exclusive; then f->mapping is NULL and
 *     FOLIO_DEAD set, forever. Whoever gets the folio lock looks at f->mapping first.
 *  3. Eviction freezes refs from 2 (index and evictor) to 0 under mapping->lock exclusive; so under
 *     mapping->lock shared a folio of the index has references, and folio_get() is allowed.
 *  4. mapping->nr_sectors is the sum of folio_sectors() over the index.
 */
#include <string.h>

#include "base/err.h"
#include "cache/cache_priv.h"
#include "cache/index.h"

void mapping_init(struct mapping *m, const struct mapping_ops *ops, void *host)
{
	*m = (struct mapping){ .ops = ops, .host = host };
	rwlock_init(&m->lock, RANK_MAPPING);
}

void mapping_fini(struct mapping *m)
{
	/* An evictor that has just emptied it may still be on its way out of the lock. */
	rwlock_wrlock(&m->lock);
	ASSERT(m->root == NULL);
	ASSERT(m->nr_sectors == 0);
	ASSERT(m->nr_dirty == 0);
	ASSERT(m->nr_writeback == 0);
	rwlock_unlock(&m->lock);
	rwlock_fini(&m->lock);
}

void mapping_dirty_since(struct mapping *m, u64 ns)
{
	u64 was = __atomic_load_n(&m->dirtied_ns, __ATOMIC_RELAXED);

	/* 0: clean; later: it was clean in between. */
	while (was && was < ns &&
	       !__atomic_compare_exchange_n(&m->dirtied_ns, &was, ns, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

/* ---- find ---- */

static bool folio_covers(const struct folio *f, const struct mapping *m, u64 sector)
{
	u64 index;

	if (folio_mapping(f) != m)
		return false;
	index = __atomic_load_n(&f->index, __ATOMIC_RELAXED);
	return sector >= index &&
	       sector - index < order_sectors(__atomic_load_n(&f->order, __ATOMIC_RELAXED));
}

static struct folio *find_locked(struct mapping *m, u64 sector)
{
	struct folio *f;

	rwlock_rdlock(&m->lock);
	f = index_lookup(m, sector);
	if (f)
		folio_get(f);
	rwlock_unlock(&m->lock);
	return f;
}

static struct folio *find(struct mapping *m, u64 sector)
{
	struct folio *f = index_lookup(m, sector);

	if (likely(f && folio_tryget(f))) {
		if (likely(folio_covers(f, m, sector)))
			return f;
		folio_put(f);
	}
	return find_locked(m, sector);
}

/* Where in the folio a sector lies, in 256ths. */
static u8 hit_place(const struct folio *f, u64 sector)
{
	u64 off = sector - f->index;

	return (u8)(f->order <= 8 ? off << (8 - f->order) : off >> (f->order - 8));
}

/*
 * Was it asked for again? Reading through a folio from its start to its end is one use, in however
 * many pieces, or every sequential scan would look like a working set. So only going back counts.
 */
static void touch(struct folio *f, u64 sector)
{
	u32 flags = folio_flags(f);
	u8 place = hit_place(f, sector);
	u8 last = __atomic_load_n(&f->last_hit, __ATOMIC_RELAXED);
	u32 used = FOLIO_ACCESSED | 1u << (FOLIO_HEAT_SHIFT + place / 32);

	policy_access(f);
	if (flags & FOLIO_UNUSED)
		folio_flags_clear(f, FOLIO_UNUSED);
	else if (place < last || (place == last && f->order <= 8)) {
		if ((flags & used) != used)
			folio_flags_set(f, used);
		return;
	}
	__atomic_store_n(&f->last_hit, place, __ATOMIC_RELAXED);
}

struct folio *cache_find(struct mapping *m, u64 sector)
{
	struct folio *f = find(m, sector);

	if (f) {
		stat_inc(STAT_CACHE_HITS);
		touch(f, sector);
	}
	return f;
}

struct folio *mapping_peek(struct mapping *m, u64 sector)
{
	return find(m, sector);
}

void cache_demote(struct folio *f)
{
	/* Once is enough; what is dirty goes its own way first. */
	if (!(folio_flags(f) & (FOLIO_COLD | FOLIO_DIRTY | FOLIO_WRITEBACK)))
		policy_demote(f);
}

static struct folio *next_folio(struct mapping *m, u64 *sector, u64 end, bool dirty)
{
	struct folio *f;

	if (*sector >= end)
		return NULL;
	rwlock_rdlock(&m->lock);
	f = index_next(m, *sector, dirty);
	if (f && f->index >= end)
		f = NULL;
	if (f) {
		folio_get(f);
		*sector = f->index + folio_sectors(f);
	}
	rwlock_unlock(&m->lock);
	return f;
}

struct folio *cache_next_dirty(struct mapping *m, u64 *sector, u64 end)
{
	return next_folio(m, sector, end, true);
}

struct folio *cache_next(struct mapping *m, u64 *sector, u64 end)
{
	return next_folio(m, sector, end, false);
}

/* ---- create ---- */

static unsigned min_order; /* of data; set once */

int mapping_min_order(unsigned order)
{
	if (order > mem_max_order())
		return -EINVAL;
	min_order = order;
	return 0;
}

/* The largest order up to `order` for which there is room at sector; -EEXIST if it is taken. */
static int room_for(struct mapping *m, u64 sector, unsigned order, unsigned flags)
{
	int r = -EEXIST;

	ASSERT(!(flags & CACHE_EXACT) || IS_ALIGNED(sector, (u64)order_sectors(order)));
	if (sector != 0)
		order = MIN(order, (unsigned)__builtin_ctzll(sector));
	order = MIN(order, mem_max_order());
	rwlock_rdlock(&m->lock);
	for (unsigned k = order + 1; k-- > 0;) {
		if (index_is_empty(m, sector, k)) {
			r = (int)k;
			break;
		}
		if (flags & CACHE_EXACT)
			break;
	}
	rwlock_unlock(&m->lock);
	return r;
}

/* Where a new folio begins, and its order: with a smallest folio it may begin before the sector. */
static u64 widen(struct mapping *m, u64 sector, unsigned *order, unsigned flags)
{
	u64 base = ALIGN_DOWN(sector, (u64)order_sectors(min_order));

	if (m->metadata || flags & CACHE_EXACT || (base == sector && *order >= min_order))
		return sector;
	if (room_for(m, base, min_order, CACHE_EXACT) < 0)
		return sector;
	*order = MAX(*order, min_order);
	return base;
}

/* Puts a fresh folio into the index: locked, with a reference for the caller. */
static int publish(struct mapping *m, struct folio *f, u64 sector)
{
	int r;

	folio_flags_set(f, FOLIO_LOCKED | mapping_policy_flags(m));
	folio_get(f);
	rwlock_wrlock(&m->lock);
	r = index_insert(m, f, sector);
	if (!r)
		__atomic_fetch_add(&m->nr_sectors, folio_sectors(f), __ATOMIC_RELAXED);
	rwlock_unlock(&m->lock);
	if (!r) {
		policy_insert(f);
		return 0;
	}
	folio_flags_clear(f, FOLIO_LOCKED);
	folio_put(f);
	folio_put(f);
	return r;
}

int cache_add(struct mapping *m, u64 sector, unsigned order, unsigned flags, struct folio **out)
{
	u64 asked = sector;
	struct folio *f;
	int r;

	ASSERT(!(flags & CACHE_EXACT) || order <= mem_max_order());
	do {
		sector = min_order ? widen(m, asked, &order, flags) : asked;
		r = room_for(m, sector, order, flags);
		if (r >= 0)
			r = reclaim_alloc((unsigned)r, flags, &f);
		if (r)
			return r;
		/* Smaller than it was to be, it still covers what was asked for. */
		sector = MAX(sector, ALIGN_DOWN(asked, (u64)folio_sectors(f)));
		/* Somebody else may have been here since: look for room again. */
		r = publish(m, f, sector);
	} while (r == -EEXIST);
	if (r)
		return r;
	__atomic_store_n(&f->last_hit, hit_place(f, asked), __ATOMIC_RELAXED);
	if (unlikely(__atomic_load_n(&m->budget, __ATOMIC_RELAXED)))
		mapping_trim(m);
	*out = f;
	return 0;
}

/* A folio that was found, locked, if it is still there and has the right shape. 1: look again. */
static int take(struct mapping *m, struct folio *f, u64 sector, unsigned order, unsigned flags)
{
	bool fits = !(flags & CACHE_EXACT) || (f->index == sector && f->order == order);

	if (fits && flags & CACHE_NOWAIT && !folio_trylock(f))
		return -EAGAIN;
	if (fits && !(flags & CACHE_NOWAIT))
		folio_lock(f);
	if (folio_mapping(f) == m)
		return fits ? 0 : -EEXIST;
	if (fits)
		folio_unlock(f);
	return 1;
}

/*
 * After cache_add() said that something is there. It may be what is asked for, made by another
 * thread, or, with CACHE_EXACT, something that stands in the way; in between it may have gone
 * again.
 */
static int find_rival(struct mapping *m, u64 sector, unsigned flags, unsigned tries,
		      struct folio **out)
{
	*out = find(m, sector);
	if (*out)
		return 0;
	return flags & CACHE_EXACT && tries > 2 ? -EEXIST : 1;
}

int cache_get(struct mapping *m, u64 sector, unsigned order, unsigned flags, struct folio **out)
{
	struct folio *f;
	int r = 1;

	for (unsigned tries = 0; r > 0; tries++) {
		f = find(m, sector);
		if (!f) {
			r = cache_add(m, sector, order, flags, out);
			if (!r)
				stat_inc(STAT_CACHE_MISSES);
			if (r != -EEXIST)
				return r;
			r = find_rival(m, sector, flags, tries, &f);
			if (r)
				continue;
		}
		r = take(m, f, sector, order, flags);
		if (r)
			folio_put(f);
	}
	if (r)
		return r;
	touch(f, sector);
	*out = f;
	return 0;
}

/* ---- remove ---- */

/* Out of the index, under mapping->lock exclusive; the index's reference is left. */
static void detach(struct mapping *m, struct folio *f)
{
	if (m->ops->release)
		m->ops->release(m, f);
	index_remove(m, f);
	__atomic_fetch_sub(&m->nr_sectors, folio_sectors(f), __ATOMIC_RELAXED);
	__atomic_store_n(&f->mapping, NULL, __ATOMIC_RELEASE);
	folio_flags_set(f, FOLIO_DEAD);
}

u32 mapping_evict(struct folio *f)
{
	struct mapping *m = f->mapping;
	u32 sectors = folio_sectors(f);
	bool frozen = false;
	u64 id = m ? m->id : 0;

	if (m) {
		rwlock_wrlock(&m->lock);
		frozen = folio_is_idle(f) && folio_freeze(f, 2);
		/* Somebody may have changed it and let go since the first look. */
		if (frozen && !folio_is_idle(f)) {
			__atomic_store_n(&f->refs, 2, __ATOMIC_RELEASE);
			frozen = false;
		}
		if (frozen)
			detach(m, f);
		rwlock_unlock(&m->lock);
	}
	if (!frozen) {
		folio_unlock(f);
		folio_put(f);
		return 0;
	}
	stat_inc(STAT_CACHE_EVICTIONS);
	stat_add(STAT_CACHE_EVICTED_BYTES, folio_bytes(f));
	if (folio_has(f, FOLIO_UNUSED))
		stat_inc(STAT_READAHEAD_WASTED);
	stat_trace(TRACE_EVICT, id, f->index, sectors);
	policy_remove(f, &id);
	state_free(f);
	mem_free(f);
	reclaim_progress();
	return sectors;
}

static void drop_whole(struct mapping *m, struct folio *f)
{
	folio_cancel_dirty(f);
	folio_forget_lost(f);
	rwlock_wrlock(&m->lock);
	detach(m, f);
	rwlock_unlock(&m->lock);
	policy_remove(f, NULL);
	folio_put(f);
}

static void drop_part(struct folio *f, u64 start, u64 end)
{
	u32 first = start > f->index ? (u32)(start - f->index) : 0;
	u32 last = (u32)MIN(end - f->index, (u64)folio_sectors(f));

	folio_clear_dirty(f, first, last - first);
	folio_clear_uptodate(f, first, last - first);
	folio_zero(f, first << SECTOR_SHIFT, (last - first) << SECTOR_SHIFT);
}

/* True: done with it. False: it was gone when its lock came, look at the same place again. */
static bool drop_one(struct mapping *m, struct folio *f, u64 start, u64 end)
{
	bool here;

	folio_lock(f);
	here = folio_mapping(f) == m;
	if (here) {
		folio_wait_writeback(f);
		if (f->index >= start && f->index + folio_sectors(f) <= end)
			drop_whole(m, f);
		else
			drop_part(f, start, end);
	}
	folio_unlock(f);
	folio_put(f);
	return here;
}

void cache_drop(struct mapping *m, u64 start, u64 end)
{
	u64 sector = start, here = start;
	struct folio *f;

	while ((f = next_folio(m, &sector, end, false))) {
		if (drop_one(m, f, start, end))
			here = sector;
		else
			sector = here;
	}
}

u64 cache_drop_clean(struct mapping *m, u64 start, u64 end)
{
	u64 sector = start, dropped = 0;
	struct folio *f;

	while ((f = next_folio(m, &sector, end, false))) {
		if (f->index >= start && f->index + folio_sectors(f) <= end && folio_trylock(f))
			dropped += mapping_evict(f);
		else
			folio_put(f);
	}
	return dropped;
}
