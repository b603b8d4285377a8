/* Private to src/cache: what its files share. */
#ifndef CACHE_PRIV_H
#define CACHE_PRIV_H

#include "cache/cache.h"
#include "stat/stat.h"
#include "stat/trace.h"

#define FOLIO_SPLIT_ORDER 3u /* smaller folios are not cut for being partly cold */

/* ---- folio.c ---- */

static inline u32 folio_flags(const struct folio *f)
{
	return __atomic_load_n(&f->flags, __ATOMIC_ACQUIRE);
}

static inline void folio_flags_set(struct folio *f, u32 flags)
{
	__atomic_fetch_or(&f->flags, flags, __ATOMIC_ACQ_REL);
}

static inline void folio_flags_clear(struct folio *f, u32 flags)
{
	__atomic_fetch_and(&f->flags, ~flags, __ATOMIC_ACQ_REL);
}

/* The mapping of a folio that may be removed meanwhile. */
static inline struct mapping *folio_mapping(const struct folio *f)
{
	return __atomic_load_n(&f->mapping, __ATOMIC_ACQUIRE);
}

/* A reference, unless the folio is free or frozen. The only thing to do with a doubtful pointer. */
static inline bool folio_tryget(struct folio *f)
{
	u32 refs = __atomic_load_n(&f->refs, __ATOMIC_RELAXED);

	while (refs != 0)
		if (__atomic_compare_exchange_n(&f->refs, &refs, refs + 1, true, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

/* From exactly `refs` references to 0 at once: now tryget fails. False: there are others. */
static inline bool folio_freeze(struct folio *f, u32 refs)
{
	return __atomic_compare_exchange_n(&f->refs, &refs, 0, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/* Nothing speaks against evicting it but a lock or a reference that somebody may hold. */
static inline bool folio_is_idle(const struct folio *f)
{
	return !(folio_flags(f) & (FOLIO_DIRTY | FOLIO_WRITEBACK | FOLIO_PINNED | FOLIO_DEAD));
}

/* No sector is dirty afterwards. Locked, not under writeback. */
void folio_cancel_dirty(struct folio *f);
u64 folio_pinned_bytes(void);

/* ---- memerr.c ---- */

/* No sector of the locked folio is lost any more. */
void folio_forget_lost(struct folio *f);

/* ---- state.c: sector state; returns how the number of dirty sectors changed ---- */

void state_mark_uptodate(struct folio *f, u32 first, u32 nr);
s32 state_clear_uptodate(struct folio *f, u32 first, u32 nr);
s32 state_mark_dirty(struct folio *f, u32 first, u32 nr);
s32 state_clear_dirty(struct folio *f, u32 first, u32 nr);
s32 state_poison(struct folio *f, u32 first, u32 nr);
/* f was cut: it has its lower half now, g the upper one. Neither can be reached by others. */
void state_split(struct folio *f, struct folio *g);
void state_free(struct folio *f);        /* of a folio that nobody else can reach */
void folio_assert_valid(struct folio *f);

/* ---- mapping.c ---- */

/* As cache_find(), but it is no use of the folio. */
struct folio *mapping_peek(struct mapping *m, u64 sector);

int mapping_min_order(unsigned order);   /* -EINVAL when above the largest */

/* Evicts a locked folio of which the caller holds a reference, both of which are used up. Sectors
 * that went, or 0 when somebody needs it. */
u32 mapping_evict(struct folio *f);

/* ---- reshape.c: of a locked folio of which the caller has the only reference but the index's */

/*
 * Cuts it in two; *upper is locked, with a reference of the caller, too. -EAGAIN when somebody else
 * needs it, -EINVAL for a single sector, -ENOMEM.
 */
int mapping_split(struct folio *f, struct folio **upper);
/* Other frames, out of the claimed run (mem_run_claim()). False: not now. */
bool mapping_move(struct folio *f);
/* Cuts off and evicts halves that were not used again; clean halves of a dirty folio. Use up the
 * lock and the reference; sectors that went. */
u64 mapping_evict_cold(struct folio *f);
u64 mapping_evict_clean_parts(struct folio *f);

/* Used again, but all of it in one half, which is worth keeping alone. */
static inline bool folio_half_cold(const struct folio *f)
{
	u32 heat = folio_flags(f) >> FOLIO_HEAT_SHIFT;

	return f->order >= FOLIO_SPLIT_ORDER && heat && (!(heat & 0x0f) || !(heat & 0xf0));
}

/* ---- compact.c ---- */

/* Tries to make an aligned run of this order free by moving folios. Takes mapping locks. */
bool compact_run(unsigned order);
/* The same by evicting; true when there was a run to try. */
bool compact_evict_run(unsigned order);
/* Evicts clean parts of dirty folios, about so many sectors; how many went. */
u64 compact_split_dirty(u64 want);

/* ---- policy.c ---- */

/* Puts a folio that is in an index, and locked, into the queues. */
void policy_insert(struct folio *f);
/*
 * Takes it out. evicted_from: the id of the mapping that it was evicted from; NULL if it was
 * dropped because its sectors are.
 */
void policy_remove(struct folio *f, const u64 *evicted_from);
/*
 * Was the folio that began here evicted? 0 no, 1 yes, 2 yes and lately: it would be kept if it came
 * back. Only s3fifo remembers; others say no.
 */
int policy_evicted(u64 id, u64 index);
/* Takes a locked folio to where folios with these flags (FOLIO_HIGH, FOLIO_LOW, 0) belong. */
void policy_refile(struct folio *f, u32 flags);
/* mem_split() without the queues noticing: both halves stay where the folio was. Frozen folio. */
struct folio *policy_split(struct folio *f);
/* Somebody asked for it again; only for policies that want to know at once. */
void policy_access(struct folio *f);
/* Of no more use to anybody: the next to go. */
void policy_demote(struct folio *f);
/* Up to nr candidates for eviction of together about max_sectors, locked and with a reference each.
 * Looks at no more than *scan folios and lowers it by what it looked at; done when that is 0. */
u32 policy_isolate(struct folio **out, u32 nr, u32 max_sectors, u64 *scan);
/* The same among the folios of high priority. */
u32 policy_isolate_high(struct folio **out, u32 nr, u32 max_sectors, u64 *scan);
u64 policy_high_sectors(void);           /* atomic */
u64 policy_sectors(void);                /* in all queues, atomic */
u64 policy_overhead_bytes(void);
int policy_init(const char *name, u64 sectors); /* -EINVAL, -ENOMEM */
void policy_fini(void);

/* ---- setting.c ---- */

u32 mapping_policy_flags(const struct mapping *m);   /* FOLIO_HIGH, FOLIO_LOW or 0 */
/* Evicts folios of a mapping that is over its budget; sectors that went, 0: no more now. */
u64 mapping_trim(struct mapping *m);
void setting_fini(void);

/* ---- reclaim.c ---- */

/* A folio: a smaller one when memory is fragmented, unless CACHE_EXACT. -ENOMEM, -EAGAIN. */
int reclaim_alloc(unsigned order, unsigned flags, struct folio **out);
/* Something became clean, unpinned or free: who waits for memory or a limit looks again. */
void reclaim_progress(void);
/*
 * Waiting for it without missing it: enter, then as often as needed {epoch, look, wait}, then
 * leave. The wait ends when there was progress since the epoch, at the latest after so many
 * milliseconds.
 */
void reclaim_enter(void);
u64 reclaim_epoch(void);
void reclaim_wait_ms(u64 epoch, u64 ms);
void reclaim_leave(void);
void reclaim_want_writeback(void);
void reclaim_init(const struct cache_config *cfg);

/* ---- throttle.c ---- */

void throttle_init(const struct cache_config *cfg, u64 sectors);
void throttle_add_dirty(s64 sectors);    /* of data; dirty or in flight */
void throttle_add_error(s64 sectors);
void throttle_note_written(u32 sectors);
u64 throttle_error_sectors(void);

#endif
