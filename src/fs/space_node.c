/*
 * Where tree nodes are put: in the lowest place of a group, so that they fill its low end, and its
 * blocks, one after another, while data is put higher; else in the metadata reserve (the zone).
 * Outside the zone only as far as what is promised to data allows it.
 *
 * Rules
 * 1. Nothing is handed out whose bit is set or that is busy.
 * 2. node_from of a group is a hint: all of the group is looked at before another one.
 * 3. The block that fragments of data are being put into comes last (space_alloc.c, rule 4).
 *
 * Called in bodies only, so one at a time.
 */
#include "base/err.h"
#include "fs/inode.h"
#include "fs/space_priv.h"

struct spot {
	u32 pos;
	bool found;
	u32 hint;                /* node_from for the next search, 0 = as it is */
};

static int find_spot(struct bits *b, u32 from, u32 end, const struct run_limits *lim,
		     struct spot *out)
{
	u32 stop;
	int r = bits_next_run(b, from, end, lim, &out->pos, &stop);

	out->found = r == 0 && out->pos < stop;
	return r;
}

/* With the hint first: nothing to be had in front of it, most of the time. */
static int find_spot_in_group(struct space *sp, struct bits *b, struct spot *out)
{
	struct run_limits lim = { .align = NODE_SECTORS };
	u32 from = MIN(MAX(sp->group[b->group].node_from, b->first), b->len), seen = from;
	int r;

	space_zone_in(sp, b->group, &lim.hole, &lim.hole_end);
	space_frag_block_in(b->v, sp, b->group, &lim.skip, &lim.skip_end);
	*out = (struct spot){ .found = false };
	r = find_spot(b, from, b->len, &lim, out);
	if (r == 0 && !out->found && from > b->first) {
		r = find_spot(b, b->first, from, &lim, out);
		seen = b->first;
	}
	/* Rule 3: better there than in the reserve. */
	if (r == 0 && !out->found && lim.skip < lim.skip_end) {
		u32 start = MAX(lim.skip, b->first), end = MIN(lim.skip_end, b->len);

		lim.skip = lim.skip_end = 0;
		return find_spot(b, start, end, &lim, out);
	}
	/* What was passed over because it is busy is to be found later. */
	if (r == 0 && out->found && !bits_any_unusable(b, seen, out->pos))
		out->hint = out->pos;
	return r;
}

/* May a node be put where data could be, without breaking what is promised to it? */
static bool may_leave_zone(struct view *v, struct space *sp)
{
	struct space_now now;

	space_now(v, sp, &now);
	return now.data - NODE_SECTORS >= now.reserved;
}

/* 1 and the place, 0 or -errno. */
static int node_in_group(struct view *v, struct space *sp, u32 group, struct spot *out)
{
	struct bits b;
	int r = bits_open(&b, v, group);

	if (r == 0)
		r = find_spot_in_group(sp, &b, out);
	return r ? r : out->found;
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
	u32 first = goal < sp->geo->nr_sectors ? fmt_group_of(sp->geo, goal) : 0;
	u32 nr_groups = sp->geo->nr_groups;
	bool outside = may_leave_zone(v, sp);

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
