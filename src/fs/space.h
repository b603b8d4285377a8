/*
 * space: which sectors are free, and which hold something written.
 *
 * On disk: bitmap (1 = used), sector map, group table, free counter in the root sector; all changed
 * only inside bodies. In memory (struct space): reservations of delayed allocation, the pending
 * written bits, allocation goals.
 *
 * Everything is counted in sectors, whatever the block; blocks are where data is put as long as
 * there are free ones. Data of a block or more gets whole blocks: runs that start at and have the
 * length of a multiple of block_sectors. Less gets a fragment: just its sectors, in a block that is
 * partly used already. Nodes get 4 aligned sectors, packed likewise. One stretch of the device,
 * the metadata reserve (a 1/256 of the space, 64 nodes .. 64 MiB), is never given to data, so that
 * nodes for truncate, unlink and writeback are there when the disk is full.
 *
 * Reservations: free sectors outside the reserve - reserved >= 0 whenever space_reserve() succeeds.
 * So an allocation of reserved sectors finds some, perhaps fewer than it wants and none of them a
 * whole block (`parts`), and fails only while freed space is still busy: commit and try again,
 * which space_run() does. A file's reservation covers its data and a share for the nodes that
 * mapping it may need.
 */
#ifndef FOLIOFS_FS_SPACE_H
#define FOLIOFS_FS_SPACE_H

#include "base/lock.h"
#include "format/format.h"
#include "journal/journal.h"

struct space;    /* one per mounted file system */

/* Reads the counters (with blocks over 4 KiB the bitmaps in use too). The struct fs that is the
 * host of the journal must have its `space` set to *out before the first node is allocated. */
int space_open(struct jnl *j, const struct fmt_geo *geo, struct space **out);
void space_close(struct space *sp);   /* NULL is allowed */

/* ---- reservations (any context without RANK_HANDLE) ---- */
int space_reserve(struct space *sp, u64 sectors);     /* -ENOSPC */
void space_unreserve(struct space *sp, u64 sectors);
/* total, free: sectors outside the groups' own metadata, free counts those of the metadata reserve;
 * available: what space_reserve() would grant; metadata: in tree nodes. */
struct space_counts { u64 total, free, available, reserved, metadata; };
void space_counts(struct space *sp, struct space_counts *out);   /* sectors, for statfs */

/*
 * -ENOSPC may go away when freed space stops being busy. Commits if so: 0 = try again, -ENOSPC =
 * nothing is busy, or the error of the commit. No locks of RANK_HANDLE or further inside.
 */
int space_retry_nospc(struct jnl *j);
/* jnl_run() that does this for a body that returns -ENOSPC. */
int space_run(struct jnl *j, unsigned credits, jnl_body body, void *arg, u64 *seq);

/* ---- inside bodies ---- */

/*
 * Allocate data space: one run. Skips busy space. Bits set, counters lowered, map entries are 0
 * already. -ENOSPC
 *
 * nr of a block or more: whole blocks, from the goal on if anything is free there, else nr sectors
 * near it, else the longest found. Of the last block of the run only what nr covers is taken.
 * Less: a fragment of nr sectors inside one block: what is free at the goal, else in a block that
 * is partly used, else in a whole one, which it breaks.
 */
#define SPACE_ALLOC_MAX 16384u      /* sectors: 64 MiB */
struct space_want {
	u64 goal;       /* sector to continue at (previous extent's end), 0 = none */
	u32 nr;         /* sectors; more than SPACE_ALLOC_MAX are given in several calls */
	u32 min;        /* of them, at least; 0 = 1 */
	/*
	 * For whole blocks: so many more sectors are to follow. A place where they have room is
	 * looked for, and others leave it alone, as long as they find another one. owner: the
	 * inode number; its own space ahead is not in its way.
	 */
	u64 owner;
	u32 ahead;
	/*
	 * The sectors were reserved before; what was allocated is taken off the reservation when
	 * the run is published. Without, only what space_reserve() would grant is given; whoever
	 * runs beside writers must reserve first.
	 */
	bool reserved;
	/*
	 * Without a whole block, the longest run of partly used ones is given. As long as some are
	 * whole but busy that is only if parts is set: to be asked for when they were waited for.
	 */
	bool parts;
};
int space_alloc(struct view *v, struct space *sp, const struct space_want *w, u64 *out_sector,
		u32 *out_nr);
/* What was left to this file is no longer (any context without RANK_HANDLE). */
void space_ahead_drop(struct space *sp, u64 owner);
/*
 * So many sectors of a reservation may go into nodes of this run. They are off the reservation when
 * it is published, needed or not.
 */
int space_use_reserved(struct view *v, struct space *sp, u32 sectors);
/*
 * A tree node: NODE_SECTORS sectors aligned to as many, in goal's group if possible (0 = any).
 * deep: may use the last half of the metadata reserve (whatever frees or finishes; not what makes
 * new names and inodes). -ENOSPC
 */
int space_alloc_node(struct view *v, u64 goal, bool deep, u64 *out_sector);
/*
 * Free [sector, sector+nr): bits cleared, map entries set to 0, counters raised, busy until
 * durable, pending bits cleared at publish. nr <= SPACE_FREE_MAX a handle. -EUCLEAN when a bit
 * was free.
 */
#define SPACE_FREE_MAX 16384u       /* sectors: 64 MiB */
#define SPACE_CREDITS_FREE 22u      /* buffers that freeing SPACE_FREE_MAX may touch */
#define SPACE_CREDITS_ALLOC 4u
int space_free(struct view *v, struct space *sp, u64 sector, u32 nr);
int space_free_node(struct view *v, u64 sector);     /* calls view_forget() too */

/* ---- sector map ---- */
/* Entries; those that are pending count. Reads through jnl_read; any context that may do I/O.
 * [sector, sector + nr) may cross groups; entries of a group's own metadata are 0. */
int space_map_read(struct space *sp, u64 sector, u32 nr, u32 *entries);
/* In a body: set the entries to one value (FMT_MAP_*) and clear pending bits at publish.
 * Credits: SPACE_CREDITS_MAP(nr). The range lies in the space of one group. */
#define SPACE_CREDITS_MAP(nr) (2u + ((nr) + FMT_MAP_PER_SECTOR - 1u) / FMT_MAP_PER_SECTOR)
int space_map_set(struct view *v, struct space *sp, u64 sector, u32 nr, u32 value);
/* The same for pending entries: they become those of the map. */
int space_map_complete(struct view *v, struct space *sp, u64 sector, u32 nr);
/*
 * Entries that finished writes will get when they are completed; until then reading uses them.
 * No I/O. Whoever is going to set some holds the memory for them before, and drops it when they
 * are set, or will not be.
 */
int space_pending_hold(struct space *sp, u64 sector, u32 nr);    /* -ENOMEM */
void space_pending_drop(struct space *sp, u64 sector, u32 nr);
void space_pending_set(struct space *sp, u64 sector, u32 nr, const u32 *entries);
void space_pending_clear(struct space *sp, u64 sector, u32 nr);
bool space_pending_any(struct space *sp, u64 sector, u32 nr);

#endif
