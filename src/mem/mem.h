/*
 * mem: the folio allocator.
 *
 * One arena of virtual memory is reserved for the whole cache; frames of 4 KiB in it are handed
 * out as folios of 2^order frames, naturally aligned and contiguous, by a buddy allocator. Each
 * frame has one 4-byte frame word with a type tag; every frame of a folio leads to the one
 * descriptor of the folio, so no caller ever sees a tail frame.
 *
 * Ownership: mem_alloc() returns a folio with one reference and no mapping; the last folio_put()
 * gives it back. Locks: mem's own (RANK_MEM), never held on return. Nothing here waits for I/O.
 * Source of the idea: struct folio and the frame-descriptor ("memdesc") work of the Linux kernel.
 */
#ifndef FOLIOFS_MEM_MEM_H
#define FOLIOFS_MEM_MEM_H

#include "base/types.h"
#include <bsd/sys/queue.h>

struct mapping;
struct folio_state;

/* Bits of folio->flags (the futex word of the folio lock). Set and cleared atomically. */
enum folio_flag {
	FOLIO_LOCKED    = 1u << 0, /* the folio lock: contents and state may change only under it */
	FOLIO_WAITERS   = 1u << 1, /* someone sleeps on this word */
	FOLIO_UPTODATE  = 1u << 2, /* every sector is uptodate (no state attached needed) */
	FOLIO_DIRTY     = 1u << 3, /* at least one sector is dirty */
	FOLIO_WRITEBACK = 1u << 4, /* sectors are on their way to the disk */
	FOLIO_ACCESSED  = 1u << 5, /* used again since it entered its queue (eviction policy) */
	FOLIO_PINNED    = 1u << 6, /* never evict: changed metadata that is not checkpointed;
				  * data with sectors lost by memory errors */
	FOLIO_COLD      = 1u << 7, /* that queue is the one of what should go first (s3fifo) */
	FOLIO_ERROR     = 1u << 8, /* the last write of some sector failed; it stays dirty */
	FOLIO_DEAD      = 1u << 9, /* removed from its mapping (truncated or evicted) */
	FOLIO_READING   = 1u << 10, /* its lock is held for I/O that fills it */
	FOLIO_STATE_LOCK = 1u << 11, /* spin bit around state, see cache/state.c */
	FOLIO_QUEUED    = 1u << 12, /* in a queue of the eviction policy; set under RANK_POLICY */
	FOLIO_MAIN      = 1u << 13, /* that queue is the main one (s3fifo) */
	FOLIO_UNUSED    = 1u << 14, /* read ahead and not asked for yet */
	FOLIO_HIGH      = 1u << 15, /* of a file with high priority: goes when nothing else can */
	FOLIO_LOW       = 1u << 16, /* of a file with low priority: goes before all others */
	/* One bit for each eighth of the folio that was used again, set with FOLIO_ACCESSED. */
	FOLIO_HEAT      = 0xffu << 24,
};
#define FOLIO_HEAT_SHIFT 24

/*
 * Descriptor of a folio, 64 bytes. index is in sectors of its mapping and a multiple of the folio's
 * length; mapping and index are stable while the folio is locked or is known to be in the index.
 * state is NULL when all sectors are alike (all uptodate and clean, all uptodate and dirty, or
 * nothing uptodate). priv belongs to the mapping's owner (journal: metadata state).
 *
 * Descriptors are type-stable: their memory stays a descriptor until mem_fini(), so somebody with
 * an old pointer may still look at refs (and, after raising it from non-zero, at the rest).
 */
struct folio {
	u32 flags;                /* enum folio_flag, atomic */
	u32 refs;                 /* atomic; 0 = free */
	struct mapping *mapping;  /* NULL before it is added and after it is removed */
	u64 index;                /* first sector in the mapping */
	u32 frame;                /* first frame in the arena */
	u8 order;
	u8 last_hit;              /* cache: where in the folio it was last asked for (a hint) */
	u16 nr_writeback;         /* cache: ranges under writeback, atomic */
	struct folio_state *state;
	void *priv;
	TAILQ_ENTRY(folio) lru;   /* eviction policy's, under RANK_POLICY; free list */
};

static_assert(sizeof(struct folio) == 64, "a descriptor is one cache line");

enum mem_flags {
	MEM_RESERVE = 1u << 0, /* may use the frames kept back for writeback and metadata */
};

struct mem_config {
	u64 bytes;              /* budget of the arena, 1 MiB to LIMIT_CACHE_MAX; in frames */
	unsigned max_order;     /* 0..FOLIO_MAX_ORDER; 0xff = largest folio of at most bytes/64 */
	u64 reserve_bytes;      /* for MEM_RESERVE; 0 = 1/32 of bytes, 256 KiB..16 MiB */
};

/* One arena for the process (a daemon serves one mount). -ENOMEM, -EINVAL. */
int mem_init(const struct mem_config *cfg);
void mem_fini(void);        /* every folio must have been given back (asserted) */

/*
 * A folio of exactly this order, refs 1, not locked, contents undefined. NULL when no frame run of
 * this order is free (the caller falls back to a smaller order or reclaims). Never waits.
 */
struct folio *mem_alloc(unsigned order, unsigned flags);
void mem_free(struct folio *f);  /* called by the last folio_put() */

/*
 * Cuts a folio whose references the caller has frozen (refs 0): it keeps its lower half, the upper
 * half is returned as a new folio with refs 0, no flags and no mapping. NULL without a descriptor.
 */
struct folio *mem_split(struct folio *f);

/*
 * Gives a folio with frozen references, which lies in the claimed run, other frames, and copies its
 * contents; its old frames belong to the claim. False when there is no free run of its order, or it
 * is larger than MEM_MOVE_ORDER.
 */
#define MEM_MOVE_ORDER 4u   /* 64 KiB: copied in some microseconds */
bool mem_move(struct folio *f);

/*
 * Takes what is free in an aligned run of frames out of use, and gives back what is free there
 * afterwards. One run at a time; the caller sees to that.
 */
void mem_run_claim(u32 frame, unsigned order);
void mem_run_release(u32 frame, unsigned order);

unsigned mem_max_order(void);
u64 mem_total_bytes(void);
u64 mem_free_bytes(void);        /* with the reserve */
u64 mem_reserve_bytes(void);
u64 mem_used_bytes(void);        /* in folios */
u64 mem_folios_of_order(unsigned order);
void *mem_base(void);
u64 mem_len(void);               /* of the address range from mem_base() */
u64 mem_overhead_bytes(void);    /* descriptors, frame words, tables: outside the arena */
/* By frame word; NULL when the frame is not a folio's. */
struct folio *mem_folio_of(const void *addr);
/* The same by frame number, for walks over memory; the answer may be old as soon as it is given. */
struct folio *mem_folio_at(u32 frame);
u32 mem_nr_frames(void);

extern u8 *mem_arena;            /* base address, for folio_data() */

static inline void *folio_data(const struct folio *f)
{
	return mem_arena + ((u64)f->frame << SECTOR_SHIFT);
}

static inline u32 folio_sectors(const struct folio *f)
{
	return 1u << f->order;
}

static inline u64 folio_bytes(const struct folio *f)
{
	return (u64)SECTOR_SIZE << f->order;
}

#endif
