/*
 * space: which sectors are free, and which hold something written.
 *
 * On disk: bitmap (1 = used), sector map, group table, free counter in the root sector; all changed
 * only inside bodies. In memory (struct space): reservations of delayed allocation, the pending
 * written bits, allocation goals.
 *
 * Reservations: sp->free (published free sectors) - sp->reserved - the metadata reserve >= 0 whenever
 * space_reserve() succeeds, so allocation at writeback cannot fail for lack of space. A file's
 * reservation covers data rounded to blocks, and a share for the nodes that mapping it may need.
 */
#ifndef FOLIOFS_FS_SPACE_H
#define FOLIOFS_FS_SPACE_H

#include "base/lock.h"
#include "format/format.h"
#include "journal/journal.h"

struct space;    /* one per mounted file system */

int space_open(struct jnl *j, const struct fmt_geo *geo, struct space **out);  /* reads counters */
void space_close(struct space *sp);

/* ---- reservations (any context without RANK_HANDLE) ---- */
int space_reserve(struct space *sp, u64 sectors);     /* -ENOSPC */
void space_unreserve(struct space *sp, u64 sectors);
struct space_counts { u64 total, free, available, reserved, metadata; };
void space_counts(struct space *sp, struct space_counts *out);   /* sectors, for statfs */

/* ---- inside bodies ---- */

/*
 * Allocate data space: up to nr sectors in one run, at least `min` (a multiple of the block, aligned to the
 * block). goal = sector to continue at (previous extent's end), 0 = none. Skips busy space. Takes the longest run
 * near the goal. Bits set, counters lowered, map entries are 0 already. from_reserve: how many of the
 * sectors were reserved before (given back to the reservation at publish). -ENOSPC
 */
int space_alloc(struct view *v, struct space *sp, u64 goal, u32 min, u32 nr, bool reserved,
		u64 *out_sector, u32 *out_nr);
/* A tree node: NODE_SECTORS sectors aligned to as many. May use the metadata reserve. */
int space_alloc_node(struct view *v, u64 goal, u64 *out_sector);
/*
 * Free [sector, sector+nr): bits cleared, map entries set to 0, counters raised, busy until durable. The caller bounds
 * nr by SPACE_FREE_MAX a handle. -EUCLEAN when a bit was free already.
 */
#define SPACE_FREE_MAX 16384u       /* sectors: 64 MiB */
#define SPACE_CREDITS_FREE 22u      /* buffers that freeing SPACE_FREE_MAX may touch */
#define SPACE_CREDITS_ALLOC 4u
int space_free(struct view *v, struct space *sp, u64 sector, u32 nr);
int space_free_node(struct view *v, u64 sector);     /* with view_forget() */

/* ---- sector map ---- */
/* Entries with pending written sectors counted as written. Reads through jnl_read; any context that may do I/O. */
int space_map_read(struct space *sp, u64 sector, u32 nr, u32 *entries);
/* In a body: set the entries to one value (FMT_MAP_*). Credits: 1 + nr / 1012 + group table. */
int space_map_set(struct view *v, struct space *sp, u64 sector, u32 nr, u32 value);
/* Set/clear the pending written bits. Never blocks. -ENOMEM only from set. */
int space_pending_set(struct space *sp, u64 sector, u32 nr);
void space_pending_clear(struct space *sp, u64 sector, u32 nr);

#endif
