/*
 * Where data and nodes are put.
 *
 * Data: right behind its goal if anything is free there; else the first run that is long enough
 * in the goal's group, from the goal on; else in another group; else the longest run seen.
 * Without a goal it goes on where data went last, and stays in that group as long as it can, so
 * that a sparse image does not grow without need. Nodes: the lowest place in a block that nodes
 * use already; else a fresh block, if what is promised to data allows it; else the metadata
 * reserve.
 *
 * Rules
 * 1. Nothing is handed out whose bit is set, that is busy, or (data) that lies in the zone.
 * 2. Hints (max_run, node_from, free of a group) only order the search: before -ENOSPC every group
 *    has been looked at without them.
 * 3. A search changes nothing but hints that would come out the same when the body runs again.
 *
 * Called in bodies only, so one at a time.
 */
#include "base/err.h"
#include "fs/inode.h"
#include "fs/space_priv.h"

#define SCAN_GROUPS 4u   /* looked at for a run of full length before a shorter one will do */

/* ---- data ---- */

struct search {
	struct view *v;
	struct space *sp;
	u32 min, nr;             /* sectors */
	u32 best;                /* longest run found, 0 = none */
	u32 group, pos;          /* of it */
};

static bool search_done(const struct search *s)
{
	return s->best >= s->nr;
}

static void search_offer(struct search *s, u32 group, u32 start, u32 end)
{
	u32 len = MIN(end - start, s->nr);

	if (len < s->min || len <= s->best)
		return;
	s->best = len;
	s->group = group;
	s->pos = start;
}

static struct run_limits data_limits(const struct search *s, u32 group)
{
	struct run_limits lim = { .align = s->sp->geo->block_sectors };

	space_zone_in(s->sp, group, &lim.hole, &lim.hole_end);
	return lim;
}

static int search_span(struct search *s, struct bits *b, u32 from, u32 end)
{
	struct run_limits lim = data_limits(s, b->group);

	while (from < end && !search_done(s)) {
		u32 start, stop;
		int r = bits_next_run(b, from, end, &lim, &start, &stop);

		if (r)
			return r;
		if (start < stop)
			search_offer(s, b->group, start, stop);
		from = stop;
	}
	return 0;
}

static bool is_busy_in(struct bits *b, u32 from, u32 end)
{
	u64 start, stop;

	return from < end && bits_next_unusable(b, b->base + from, b->base + end, &start, &stop);
}

static int search_group(struct search *s, u32 group, u32 from)
{
	struct space_group *g = &s->sp->group[group];
	struct bits b;
	int r = bits_open(&b, s->v, group);

	if (r)
		return r;
	from = MIN(MAX(from, b.first), b.len);
	r = search_span(s, &b, from, b.len);
	if (r == 0)
		r = search_span(s, &b, b.first, from);
	if (r)
		return r;
	/* All was seen: runs of this group are no longer than the best one. */
	if (search_done(s))
		g->max_run = MAX(g->max_run, s->best);
	else if (!is_busy_in(&b, b.first, b.len))
		g->max_run = MAX(s->best, s->min - 1);
	return 0;
}

/* Whatever is free right at the goal, up to the full length. */
static int search_goal(struct search *s, u32 group, u32 pos)
{
	struct run_limits lim = data_limits(s, group);
	u32 start, stop, end;
	struct bits b;
	int r = bits_open(&b, s->v, group);

	if (r || pos < b.first || pos >= b.len || pos % lim.align != 0)
		return r;
	end = MIN_T(u64, (u64)pos + s->nr, b.len);
	r = bits_next_run(&b, pos, end, &lim, &start, &stop);
	if (r == 0 && start == pos && start < stop)
		search_offer(s, group, start, stop);
	return r;
}

/* All groups after `first` whose hint promises a run of `len`; stops after `limit` of them. */
static int search_others(struct search *s, u32 first, u32 len, u32 limit)
{
	u32 nr_groups = s->sp->geo->nr_groups;

	for (u32 i = 0; i < nr_groups && limit > 0 && !search_done(s); i++) {
		u32 group = (first + i) % nr_groups;
		const struct space_group *g = &s->sp->group[group];
		int r;

		if (g->free < len || g->max_run < len)
			continue;
		r = search_group(s, group, 0);
		if (r)
			return r;
		limit--;
	}
	return 0;
}

static int search_all(struct search *s, u64 goal, u64 cursor)
{
	const struct fmt_geo *geo = s->sp->geo;
	u64 from = goal && goal < geo->nr_sectors ? goal : cursor;
	u32 group = fmt_group_of(geo, from);
	u32 pos = (u32)(from - fmt_group_start(geo, group));
	int r = 0;

	if (goal && from == goal)
		r = search_goal(s, group, pos);
	if (r || s->best)
		return r;
	if (s->sp->group[group].max_run >= s->min)
		r = search_group(s, group, pos);
	if (r == 0 && !search_done(s))
		r = search_others(s, group + 1, s->nr, SCAN_GROUPS);
	if (r == 0 && s->best == 0)
		r = search_others(s, group, s->min, UINT32_MAX);
	/* The hints may be those of a run that came to nothing. */
	for (u32 g = 0; g < geo->nr_groups && r == 0 && s->best == 0; g++)
		r = search_group(s, g, 0);
	return r;
}

/* How many sectors this call may give; 0 = none. */
static u32 data_allowed(struct view *v, struct space *sp, u32 nr, bool reserved)
{
	struct space_now now;
	s64 room;

	nr = MIN(nr, SPACE_ALLOC_MAX);
	if (!reserved) {
		space_now(v, sp, &now);
		room = now.blocks * sp->geo->block_sectors - now.reserved;
		nr = MIN_T(s64, nr, MAX(room, (s64)0));
	}
	return ALIGN_DOWN(nr, sp->geo->block_sectors);
}

int space_alloc(struct view *v, struct space *sp, u64 goal, u32 min, u32 nr, bool reserved,
		u64 *out_sector, u32 *out_nr)
{
	struct search s = { .v = v, .sp = sp, .min = MAX(min, sp->geo->block_sectors) };
	struct space_scratch *scratch;
	u64 cursor;
	int r;

	ASSERT(s.min % sp->geo->block_sectors == 0);
	s.nr = data_allowed(v, sp, nr, reserved);
	if (s.nr < s.min)
		return -ENOSPC;
	r = space_scratch_get(v, sp, &scratch);
	if (r)
		return r;
	cursor = scratch->cursor ? scratch->cursor : sp->cursor;
	r = search_all(&s, goal, cursor < sp->geo->nr_sectors ? cursor : 0);
	if (r == 0 && s.best == 0)
		r = -ENOSPC;
	if (r == 0)
		r = space_take(v, sp, s.group, s.pos, s.best);
	if (r)
		return r;
	*out_sector = fmt_group_start(sp->geo, s.group) + s.pos;
	*out_nr = s.best;
	if (goal == 0)
		scratch->cursor = *out_sector + s.best;
	if (reserved)
		scratch->reserved -= s.best;
	return 0;
}

/* ---- nodes ---- */

struct spot {
	u32 pos;
	bool found, fresh;       /* fresh: the block is free altogether */
	u32 hint;                /* node_from for the next search, 0 = as it is */
};

/* The first place in [from, end) for a node in a block that is partly used, else in a fresh one. */
static int find_spot(struct bits *b, u32 from, u32 end, const struct run_limits *lim,
		     struct spot *out)
{
	u32 block = b->geo->block_sectors;

	while (from < end) {
		u32 start, stop, tail;
		int r = bits_next_run(b, from, end, lim, &start, &stop);

		if (r || start == stop)
			return r;
		tail = ALIGN_DOWN(stop, block);
		if (block <= NODE_SECTORS || start % block != 0 || stop < start + block) {
			*out = (struct spot){ .pos = start, .found = true };
			return 0;
		}
		if (tail != stop) {
			*out = (struct spot){ .pos = tail, .found = true };
			return 0;
		}
		if (!out->found)
			*out = (struct spot){ .pos = start, .found = true, .fresh = true };
		from = stop;
	}
	return 0;
}

/* With the hint first: nothing to be had in front of it, most of the time. */
static int find_spot_in_group(struct space *sp, struct bits *b, struct spot *out)
{
	struct run_limits lim = { .align = NODE_SECTORS };
	struct space_group *g = &sp->group[b->group];
	u32 from = MIN(MAX(g->node_from, b->first), b->len), seen = from;
	int r;

	space_zone_in(sp, b->group, &lim.hole, &lim.hole_end);
	*out = (struct spot){ .found = false };
	r = find_spot(b, from, b->len, &lim, out);
	if (r == 0 && (!out->found || out->fresh) && from > b->first) {
		struct spot low = { .found = false };

		r = find_spot(b, b->first, from, &lim, &low);
		if (low.found)
			*out = low;
		seen = b->first;
	}
	/* What was passed over because it is busy is to be found later. */
	if (r == 0 && out->found && !is_busy_in(b, seen, out->pos))
		out->hint = out->pos;
	return r;
}

/* May a node break this many blocks without breaking what is promised to data? */
static bool may_break(struct view *v, struct space *sp, s64 blocks)
{
	struct space_now now;

	if (blocks == 0)
		return true;
	space_now(v, sp, &now);
	return (now.blocks - blocks) * sp->geo->block_sectors >= now.reserved;
}

/* 1 and the place, 0 or -errno. */
static int node_in_group(struct view *v, struct space *sp, u32 group, struct spot *out)
{
	struct bits b;
	s64 breaks;
	int r = bits_open(&b, v, group);

	if (r == 0)
		r = find_spot_in_group(sp, &b, out);
	if (r || !out->found)
		return r;
	r = space_blocks_around(&b, sp, out->pos, NODE_SECTORS, &breaks);
	return r ? r : may_break(v, sp, breaks);
}

static int node_in_zone(struct view *v, struct space *sp, bool deep, u32 *out_group,
			struct spot *out)
{
	struct run_limits lim = { .align = NODE_SECTORS };
	struct space_now now;
	struct bits b;
	u32 zone, zone_end, start, stop;
	int r;

	if (sp->zone_start == sp->zone_end)
		return 0;
	space_now(v, sp, &now);
	if (!deep && now.zone_free <= (s64)(sp->zone_end - sp->zone_start) / 2)
		return 0;
	*out_group = fmt_group_of(sp->geo, sp->zone_start);
	r = bits_open(&b, v, *out_group);
	if (r)
		return r;
	space_zone_in(sp, *out_group, &zone, &zone_end);
	r = bits_next_run(&b, zone, zone_end, &lim, &start, &stop);
	if (r)
		return r;
	*out = (struct spot){ .pos = start, .found = start < stop };
	return out->found;
}

static int node_anywhere(struct view *v, struct space *sp, u64 goal, bool deep, u32 *out_group,
			 struct spot *out)
{
	u32 nr_groups = sp->geo->nr_groups, block = sp->geo->block_sectors;
	u32 first = goal < sp->geo->nr_sectors ? fmt_group_of(sp->geo, goal) : 0;
	/* Small blocks: every place breaks some, so it is known beforehand that none is allowed. */
	bool outside = block > NODE_SECTORS || may_break(v, sp, NODE_SECTORS / block);

	for (u32 i = 0; i < nr_groups && outside; i++) {
		u32 group = (first + i) % nr_groups;
		int r;

		if (sp->group[group].free < NODE_SECTORS)
			continue;
		r = node_in_group(v, sp, group, out);
		if (r) {
			*out_group = group;
			return r;
		}
	}
	return node_in_zone(v, sp, deep, out_group, out);
}

static struct space *space_of(struct view *v)
{
	return ((struct fs *)view_host(v))->space;
}

static int count_node(struct view *v, struct space *sp, s64 delta)
{
	struct space_scratch *s;
	struct fmt_root *root;
	int r = space_scratch_get(v, sp, &s);

	if (r == 0)
		r = root_edit(v, &root);
	if (r)
		return r;
	if ((s64)get64(root->node_sectors_used) + delta < 0)
		return corrupt(WHY_ROOT_NR_NODES, CORRUPT_NO_INO, sp->geo->root_sector);
	root->node_sectors_used = put64(get64(root->node_sectors_used) + (u64)delta);
	s->nodes += delta;
	return 0;
}

int space_alloc_node(struct view *v, u64 goal, bool deep, u64 *out_sector)
{
	struct space *sp = space_of(v);
	struct spot spot;
	u32 group;
	int r = node_anywhere(v, sp, goal, deep, &group, &spot);

	if (r <= 0)
		return r ? r : -ENOSPC;
	r = space_take(v, sp, group, spot.pos, NODE_SECTORS);
	if (r)
		return r;
	sp->scratch.change[sp->scratch.nr - 1].node_from = spot.hint;
	r = count_node(v, sp, NODE_SECTORS);
	if (r == 0)
		*out_sector = fmt_group_start(sp->geo, group) + spot.pos;
	return r;
}

int space_free_node(struct view *v, u64 sector)
{
	struct space *sp = space_of(v);
	u32 group, pos;
	int r = space_locate(sp->geo, sector, NODE_SECTORS, &group, &pos);

	if (r == 0)
		r = space_give(v, sp, group, pos, NODE_SECTORS);
	if (r == 0)
		r = count_node(v, sp, -(s64)NODE_SECTORS);
	if (r == 0)
		view_forget(v, sector, FMT_KIND_NODE);
	return r;
}
