/*
 * cache: mappings of sectors to folios, their state, dirty accounting, eviction and throttling.
 *
 * A mapping is one object's cache (the data of a file, or all metadata of the device). Its index
 * is a radix tree by sector whose slots hold folios of any order. One file of the cache layer per
 * question: index.c (radix tree), folio.c (lock, references, sector state), mapping.c (find, get,
 * remove, tags), policy*.c (which folio goes), reclaim.c (evict, budget), throttle.c (dirty limits
 * and pauses), readahead.c (windows).
 *
 * References: a folio in the index holds one; everything that hands out a folio hands out one more
 * (folio_put() it). Locks: folio lock (a bit, may be held across I/O: that is its purpose) is taken
 * before mapping->lock, which is a leaf apart from RANK_POLICY and RANK_MEM. Two folio locks of one
 * mapping are taken in ascending index order.
 * Waits: folio locks and writeback end when the I/O ends; reclaim waits give up with -ENOMEM only
 * when nothing could be freed for CACHE_RECLAIM_TIMEOUT_MS and say so in the log.
 */
#ifndef FOLIOFS_CACHE_CACHE_H
#define FOLIOFS_CACHE_CACHE_H

#include "base/types.h"
#include "base/lock.h"
#include "mem/mem.h"

struct cache_node;

#define CACHE_THROTTLE_MAX_MS 200u       /* one pause below the hard limit */
#define CACHE_RECLAIM_TIMEOUT_MS 10000u  /* without any memory freed: -ENOMEM */

/*
 * Per-sector state of a folio in a mixed state: two bits a sector, plus poison (reading fails).
 * Private to the cache: use the functions below.
 */
struct folio_state;

struct mapping_ops {
	/*
	 * Make sectors [first, first+nr) of the locked folio (offsets in the folio, none of them
	 * uptodate) hold their contents, by reading or zeroing; then folio_mark_uptodate() what
	 * succeeded. Blocks. 0 or the first error; sectors that failed stay not uptodate.
	 */
	int (*fill)(struct mapping *m, struct folio *f, u32 first, u32 nr);
	/*
	 * Start filling nr whole locked folios, in ascending order, asynchronously (readahead). The
	 * folio locks pass to the I/O, which marks what it read, and unlocks each and puts the
	 * caller's reference when the last read of that folio ends. Returns 0 when started; on an
	 * error the caller still owns all locks and references. NULL: the mapping has no readahead.
	 */
	int (*fill_async)(struct mapping *m, struct folio **f, u32 nr);
	/* Evicting a clean, locked, unreferenced folio; free folio->priv. May be NULL. */
	void (*release)(struct mapping *m, struct folio *f);
	/*
	 * Memory errors, for mappings of metadata: the frame of sector k of the locked folio, which
	 * is uptodate, is bad. Replaces it (folio_replace()), or makes it lost. 0, or -EAGAIN: ask
	 * again later. NULL: nothing can be done.
	 */
	int (*memory_lost)(struct mapping *m, struct folio *f, u32 k);
	/*
	 * Asked now and then while a writer waits for dirty data to be written: 0, or why there
	 * will be no writeback any more. Must not block. NULL: there always will be.
	 */
	int (*no_writeback)(struct mapping *m);
};

struct mapping {
	struct rwlock lock;             /* RANK_MAPPING: index, tags, counts */
	struct cache_node *root;        /* read without the lock, too */
	const struct mapping_ops *ops;
	void *host;                     /* the owner's object (struct inode, struct jnl) */
	u64 id;                         /* for traces: the inode number; 0 for metadata */
	u64 nr_sectors;                 /* cached, atomic */
	u64 nr_dirty;                   /* dirty sectors, atomic */
	u64 nr_writeback;               /* sectors in flight to the disk, atomic */
	u64 nr_error;                   /* dirty sectors of folios with FOLIO_ERROR, atomic */
	u64 paid_ns;                    /* until when its writes have waited or will, atomic */
	u32 paused;                     /* writes that pause now, atomic */
	u64 dirtied_ns;                 /* nothing was dirty before; see mapping_dirty_since() */
	u64 nr_lost;                    /* folios with sectors lost by memory errors, atomic */
	int error;                      /* first among sectors that failed and are dirty; 0 none
					 * (also while they are written again);
					 * -EIO for lost ones; atomic */
	u32 error_seq;                  /* raised with every new write error (error cursor) */
	u8 metadata;                    /* not counted in the dirty limits, not throttled */
	u8 priority;                    /* enum cache_priority, atomic */
	u64 budget;                     /* sectors, 0 = none; atomic */
	u64 trim_at;                    /* where the next folio over budget is looked for; atomic */
};

/* What foliofsctl set says of a file: see setting.c. */
enum cache_priority { CACHE_NORMAL, CACHE_LOW, CACHE_HIGH };

struct cache_config {
	u64 bytes;            /* for mem_init */
	unsigned max_order;   /* 0xff default */
	unsigned min_order;   /* of folios of data, for experiments: at most max_order; -EINVAL */
	unsigned dirty_percent;       /* hard dirty limit in % of the cache; 0 = 40 */
	unsigned background_percent;  /* flushers start; 0 = 10 */
	const char *policy;   /* "s3fifo" (default when NULL), "clock", "lru", "sieve" */
	/* Called (no locks held, any thread, must not block) when writeback is needed. */
	void (*want_writeback)(void *arg);
	/* Called when only pinned metadata is left to evict: the journal should checkpoint. */
	void (*want_checkpoint)(void *arg);
	void *arg;
};

int cache_init(const struct cache_config *cfg);  /* also mem_init; registers the arena with ring */
void cache_fini(void);

void mapping_init(struct mapping *m, const struct mapping_ops *ops, void *host);
void mapping_fini(struct mapping *m);            /* must be empty (asserted) */
/* All that is dirty has become so since then: who has written the rest says it. */
void mapping_dirty_since(struct mapping *m, u64 ns);

/* ---- lookup (mapping.c) ---- */

/* The folio that covers this sector, with a reference, or NULL. A hit marks it ACCESSED. */
struct folio *cache_find(struct mapping *m, u64 sector);

/*
 * Nobody is expected to ask for it again (its reader keeps a copy): it is evicted before all
 * others, unless it is used again.
 */
void cache_demote(struct folio *f);

enum cache_get_flags {
	CACHE_NOWAIT  = 1u << 0, /* wait for no lock and no memory (but evict clean folios) */
	CACHE_RESERVE = 1u << 1, /* may dip into the memory reserve (metadata, writeback) */
	CACHE_EXACT   = 1u << 2, /* the folio must start at sector and have exactly this order */
};

/*
 * Find the folio that covers sector, or create one that starts at it (before it when folios have a
 * smallest order), of at most `order` (smaller near other folios, at an unaligned sector, when
 * memory is fragmented, or beyond the allowed maximum). A created folio has nothing uptodate.
 * Returned locked, referenced, and certain to be still in the mapping. -ENOMEM, -EAGAIN
 * (CACHE_NOWAIT: no memory, or lock taken), -EEXIST (CACHE_EXACT and a folio of another shape is
 * there).
 */
int cache_get(struct mapping *m, u64 sector, unsigned order, unsigned flags, struct folio **out);

/* As cache_get, but only creates: -EEXIST when the sector is cached already. For readahead. */
int cache_add(struct mapping *m, u64 sector, unsigned order, unsigned flags, struct folio **out);

/* The next folio at or after *sector (and before end) that is dirty / cached; referenced, not
 * locked; *sector moves behind it. NULL when there is none. */
struct folio *cache_next_dirty(struct mapping *m, u64 *sector, u64 end);
struct folio *cache_next(struct mapping *m, u64 *sector, u64 end);

/*
 * Drop sectors [start, end) from the mapping, dirty or not, waiting for I/O on them. A folio that
 * is only partly covered stays, the covered sectors lose uptodate and dirty (contents zeroed).
 * Used by truncate, punch, freeing a node. The caller keeps new folios from appearing there.
 */
void cache_drop(struct mapping *m, u64 start, u64 end);
/* Drop clean, unreferenced folios of the range only; returns sectors dropped. */
u64 cache_drop_clean(struct mapping *m, u64 start, u64 end);

/* ---- settings and state of one file (setting.c) ---- */

/* Sets m->id and what was said of that id before. Once, before anything is cached. */
void mapping_set_id(struct mapping *m, u64 id);
/* budget_bytes 0: none. -ENOSPC when too many files have settings. Lasts until cache_fini(). */
int cache_set(struct mapping *m, u64 budget_bytes, enum cache_priority priority);
u64 cache_budget(const struct mapping *m, enum cache_priority *priority);

/* In the words of cachestat(2): sectors; evicted ones in folios, as far as they are remembered. */
struct cache_state {
	u64 folios, cached, dirty, writeback;
	u64 evicted, recently_evicted;
};
void cache_state(struct mapping *m, u64 start, u64 end, struct cache_state *out);

/* ---- one folio (folio.c) ---- */

static inline struct folio *folio_get(struct folio *f)
{
	__atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
	return f;
}
void folio_put(struct folio *f);
void folio_lock(struct folio *f);
bool folio_trylock(struct folio *f);
/* Locked, and going to be read: who waits for the lock waits for I/O. Ends with folio_unlock(). */
void folio_set_reading(struct folio *f);
void folio_unlock(struct folio *f);
void folio_wait_writeback(struct folio *f);

static inline bool folio_has(const struct folio *f, u32 flag)
{
	return __atomic_load_n(&f->flags, __ATOMIC_ACQUIRE) & flag;
}

/* Sector state; first/nr are sectors within the folio; all changes under the folio lock. */
bool folio_range_uptodate(const struct folio *f, u32 first, u32 nr);
/* First run of not-uptodate sectors in [first, end): 1 and the run, or 0. */
int folio_next_stale(const struct folio *f, u32 first, u32 end, u32 *run_first, u32 *run_nr);
void folio_mark_uptodate(struct folio *f, u32 first, u32 nr);
void folio_clear_uptodate(struct folio *f, u32 first, u32 nr);  /* nor poisoned */
void folio_mark_dirty(struct folio *f, u32 first, u32 nr);   /* they must be uptodate */
void folio_clear_dirty(struct folio *f, u32 first, u32 nr);
int folio_next_dirty(const struct folio *f, u32 first, u32 end, u32 *run_first, u32 *run_nr);
u32 folio_nr_dirty(const struct folio *f);
void folio_set_poison(struct folio *f, u32 first, u32 nr);
bool folio_range_poisoned(const struct folio *f, u32 first, u32 nr);
/*
 * Writeback of a locked folio: folio_begin_writeback() once with the number of ranges that are
 * going to be written, then folio_clear_dirty() for each of them (under FOLIO_WRITEBACK that means
 * "in flight"), then submit; folio_end_writeback() follows once for each range, from any thread,
 * folio lock held or not. Other dirty sectors of the folio stay dirty. While ends are outstanding a
 * further begin adds to their number (a range that is retried in pieces). A writer to a folio under
 * writeback waits first (stable memory), so a range is not redirtied in between. On error (<0) the
 * range is dirty again, FOLIO_ERROR set and mapping->error recorded. The last end wakes waiters;
 * the caller keeps a reference until its last end has returned.
 */
void folio_begin_writeback(struct folio *f, u32 nr_ranges);
void folio_end_writeback(struct folio *f, u32 first, u32 nr, int error);

/* Fill whatever of [first, first+nr) is not uptodate through ops->fill. Locked folio. */
int folio_make_uptodate(struct folio *f, u32 first, u32 nr);

/*
 * Memory errors (memerr.c, mem/bad.h). Locked folio; may do I/O and wait for writeback of it.
 * folio_mend() deals with all bad frames of the folio by the state of their sectors: 0, or -EAGAIN
 * when some could not be now. What could neither be replaced nor kept is lost: poisoned, and its
 * frame stays bad. folio_replace() gives sector k a new page with these contents (NULL: zeroes), by
 * the rule of mem/bad.h: 0 or -errno. folio_zero() clears bytes whose old contents do not count.
 */
int folio_mend(struct folio *f);
bool folio_is_lost(const struct folio *f, u32 k);
int folio_replace(struct folio *f, u32 k, const void *contents);
void folio_zero(struct folio *f, u32 off, u32 len);
/* Deals with all bad frames of the arena; frames for which it has to be called again, later. */
u32 cache_mend_memory(void);

/* Pin/unpin: metadata that must not be evicted (changed, not checkpointed). */
void folio_pin(struct folio *f);
void folio_unpin(struct folio *f);

/* ---- readahead (readahead.c) ---- */

#define READAHEAD_DEFAULT 2048u /* sectors: 8 MiB */

/* Per open file; zeroed at open. Sectors. Protected by its owner (one reader at a time wins). */
struct readahead {
	u64 next;        /* where a sequential reader would go on */
	u64 start;       /* of the window last started */
	u32 len;
	u32 due;         /* length of the window before: a stream has read it by now */
	u32 used;        /* what was read in the stream since the last one was started */
	bool full;       /* its end was as far ahead of the reader as it may be */
	u8 order;
	u32 max_sectors; /* how far ahead at most; 0 = READAHEAD_DEFAULT, set by readahead= */
};
/*
 * Tell of a read of [sector, sector+nr) of a file that ends at eof (sectors). Starts asynchronous
 * fills of the next window when history proves sequential access; returns the folio order that a
 * miss in this range should use. Called before the read's own lookups.
 */
unsigned cache_readahead(struct mapping *m, struct readahead *ra, u64 sector, u32 nr, u64 eof);

/* ---- budget (reclaim.c, throttle.c) ---- */

/*
 * Pause a writer that is about to dirty nr sectors. Above a set point between the two dirty limits
 * it sleeps as long as writing back that many sectors takes, longer as the hard limit comes nearer,
 * at most CACHE_THROTTLE_MAX_MS; at the hard limit it returns only when below. No locks held. 0, or
 * the error (-EIO, -ENOSPC) of the sectors whose writes fail when they hold the dirty limit.
 */
int cache_throttle(struct mapping *m, u32 nr);
void cache_note_write_error(int error); /* writeback of data failed, for whatever reason */
bool cache_over_background(void);
u32 cache_throttled(void);       /* writers that are paused now */
u64 cache_dirty_bytes(void);
u64 cache_evict(u64 bytes);      /* try to evict that much now; bytes evicted (foliofsctl drop) */
u64 cache_bytes(void);           /* in use by folios */
u64 cache_overhead_bytes(void);  /* outside the budget: descriptors, frame words, index, ghosts */
void cache_folios_by_order(u64 counts[FOLIO_MAX_ORDER + 1]);

#endif
