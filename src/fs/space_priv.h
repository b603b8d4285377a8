/*
 * Inside space: the state in memory, and a group's bitmap seen through a view. Only space*.c may
 * include this.
 */
#ifndef FOLIOFS_FS_SPACE_PRIV_H
#define FOLIOFS_FS_SPACE_PRIV_H

#include "fs/space.h"

/* What is known of a group without looking. Hints only, other than pending. */
struct space_group {
	u32 free;                   /* published free sectors */
	u32 max_run;                /* no run of free data blocks was longer when last looked */
	u32 max_part;               /* no run in partly used blocks was longer when last looked */
	u32 node_from;              /* no place for a node was below when last looked */
	u32 nr_pending;             /* entries, under lock, as `pending` */
	u32 nr_held;                /* sectors of holds, the same */
	struct pending **pending;   /* by sector of the map; NULL = none */
};

/* What entries of one map sector will be: finished writes that are not completed. 0 = not. */
struct pending {
	u32 nr;
	u32 held;                   /* sectors for which there will be some */
	u32 entry[FMT_MAP_PER_SECTOR];
};

enum change_kind { CHANGE_ALLOC, CHANGE_FREE, CHANGE_WRITTEN };
struct space_change {
	u64 sector;
	u32 nr;
	enum change_kind what;
	u32 part;                   /* alloc: so much is left of a block that was whole */
	u32 node_from;              /* of the group from now on, 0 = as it is */
};

/* Space that others than the owner leave alone (space_ahead.c). */
#define SPACE_AHEAD_MAX 64u
struct space_ahead { u64 owner, start, end, age; };

/* What the handle that runs will do to the counters when it is published. Belongs to the run with
 * that number (view_run()); handles are serialised, so there is one and it needs no lock. */
struct space_scratch {
	u64 run;
	s64 free, blocks, zone, nodes, reserved;
	u64 cursor;                 /* where data went last, 0 = nowhere */
	u64 frag;                   /* the same for fragments */
	struct space_ahead ahead;   /* to be kept; owner 0: none */
	struct space_change *change;
	u32 nr, max;
};

struct space {
	struct jnl *jnl;
	const struct fmt_geo *geo;
	u64 total;                  /* sectors outside the groups' own metadata */
	u64 zone_start, zone_end;   /* metadata reserve: in one group, never given to data */
	struct space_scratch scratch;
	struct space_group *group;
	struct mutex lock;          /* RANK_SPACE: all below, and the pending bits */
	s64 free;                   /* published: sectors, the zone too */
	s64 blocks;                 /* published: whole free blocks outside the zone */
	s64 zone_free;              /* published: free sectors of the zone */
	s64 nodes;                  /* published: sectors of tree nodes */
	s64 reserved;               /* sectors */
	u64 cursor;
	u64 frag;                   /* behind the last fragment, in its block; 0 = none */
	struct space_ahead ahead[SPACE_AHEAD_MAX];
	u32 nr_ahead;               /* atomic to look whether there are any */
	u64 ahead_age;
	/* space_window.c: what is being discarded, not to be allocated; trim_end 0: nothing */
	u64 trim_start, trim_end;
	bool trimming;
	struct cond trim_cond;      /* the window is gone; another may trim */
};

/* ---- space_bits.c: one group's bitmap. Positions are sectors from the start of the group ---- */
struct bits {
	struct view *v;
	const struct fmt_geo *geo;
	u32 group;
	u64 base;                   /* first sector of the group */
	u32 first, len;             /* space of the group: [first, len) */
	u64 init;                   /* initialised bitmap sectors */
	u32 idx;                    /* bitmap sector that `words` are of */
	const le64 *words;          /* NULL = not initialised: all free */
	/* what is ahead of other files than this one is not usable; set after bits_open() */
	bool heeds_ahead;
	u64 owner;
};
int bits_open(struct bits *b, struct view *v, u32 group);
/* First bit in [from, end) that is set (clear), or end. first <= from, end <= len. */
int bits_next(struct bits *b, u32 from, u32 end, bool set, u32 *out);
/* Set (clear) the bits of [from, from + nr), which were all clear (set): else -EUCLEAN. */
int bits_change(struct bits *b, u32 from, u32 nr, bool set);
/* First run of clear bits in [from, end), start and end multiples of align: *out_start, *out_end,
 * or both `end`. Leaves out busy sectors, [hole, hole_end) and [skip, skip_end). */
struct run_limits { u32 align, hole, hole_end, skip, skip_end; };
int bits_next_run(struct bits *b, u32 from, u32 end, const struct run_limits *lim, u32 *out_start,
		  u32 *out_end);

/* The first range that overlaps [from, end) and can't be allocated though it is free: busy,
 * being discarded, or left to others. true and its bounds. */
bool bits_next_unusable(struct bits *b, u64 from, u64 end, u64 *start, u64 *stop);
bool bits_any_unusable(struct bits *b, u32 from, u32 end);      /* positions */

/* ---- space_window.c ---- */
/* The window that is being discarded, if any. sp may be NULL. */
bool space_window(const struct space *sp, u64 *start, u64 *end);
/* end 0: none from here on. To be called by the owner; with a window, while a handle publishes. */
void space_window_set(struct space *sp, u64 start, u64 end);
/* One at a time owns the window. */
void space_window_own(struct space *sp);
void space_window_disown(struct space *sp);
/* Waits until the present window is gone; false: there is none. */
bool space_window_wait(struct space *sp);

/* ---- space_ahead.c ---- */
void space_ahead_keep(struct space *sp, const struct space_ahead *a);
bool space_ahead_any(const struct space *sp);
/* The first range of other owners that overlaps [from, end): true and its bounds. */
bool space_ahead_next(struct space *sp, u64 owner, u64 from, u64 end, u64 *start, u64 *stop);

int group_get(struct view *v, u32 group, const struct fmt_group **out);
int group_edit(struct view *v, u32 group, struct fmt_group **out);

/* ---- space.c ---- */
/* The group and position of a range in the space of one group; -EUCLEAN. */
int space_locate(const struct fmt_geo *geo, u64 sector, u32 nr, u32 *out_group, u32 *out_pos);
/* The zone as positions of that group (both 0 in other groups). */
void space_zone_in(const struct space *sp, u32 group, u32 *out_start, u32 *out_end);
/* The block that fragments, or nodes, are being put into: what the others leave alone, as long as
 * they find another place. The same as above. */
void space_frag_block_in(struct view *v, const struct space *sp, u32 group, u32 *out_start,
			 u32 *out_end);
void space_node_block_in(const struct space *sp, u32 group, u32 *out_start, u32 *out_end);
/* The scratch of this run, registered to be published. -ENOMEM */
int space_scratch_get(struct view *v, struct space *sp, struct space_scratch **out);
int space_scratch_add(struct space_scratch *s, u64 sector, u32 nr, enum change_kind what);
/* Bits, counters on disk and in scratch, for both data and nodes. */
int space_take(struct view *v, struct space *sp, u32 group, u32 pos, u32 nr);
int space_give(struct view *v, struct space *sp, u32 group, u32 pos, u32 nr);
/* How many whole blocks outside the zone would be free if [pos, pos + nr) were. */
int space_blocks_around(struct bits *b, const struct space *sp, u32 pos, u32 nr, s64 *out);
/* Counters as this run sees them: what is published and its own changes. */
struct space_now {
	s64 data;                   /* free sectors outside the zone, reserved ones too */
	s64 blocks, reserved, zone_free;
};
void space_now(struct view *v, struct space *sp, struct space_now *out);

/* ---- space_map.c ---- */
/* Sets the entries of a range that is being freed to 0. */
int space_map_clear(struct view *v, u32 group, u32 pos, u32 nr);
void space_pending_free(struct space *sp);

#endif
