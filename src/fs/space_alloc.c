/*
 * Where data is put.
 *
 * Whole blocks: right behind their goal if anything is free there; else the first run that is long
 * enough in the goal's group, from the goal on; else in another group; else the longest run seen.
 * Without a goal they go on where data went last, and stay in that group as long as they can, so
 * that a sparse image does not grow without need.
 *
 * Fragments: right behind their goal; else behind the last fragment, so that small files written
 * one after another lie side by side; else in another partly used block where the whole of it
 * fits; else a whole block is broken, where data would go on.
 *
 * Rules
 * 1. Nothing is handed out whose bit is set, that is busy, or (data) that lies in the zone.
 * 2. Hints (max_run, max_part, free of a group) only order the search: before -ENOSPC every group
 *    has been looked at without them.
 * 3. A search changes nothing but hints that would come out the same when the body runs again.
 * 4. The block that nodes are being put into gets no fragment, and that of the fragments no node
 *    (space_node.c), while there is another place: a fragment between nodes would leave less than
 *    a node's room, and a node between fragments would keep their block from becoming whole.
 * 5. No fragment crosses the bounds of a block: it breaks one at most.
 * 6. What is ahead of other files (space_ahead.c) is taken when there is nothing else.
 *
 * Called in bodies only, so one at a time.
 */
#include "base/err.h"
#include "fs/inode.h"
#include "fs/space_priv.h"

/* Looked at for a run of full length before a shorter one will do; or before a block is broken,
 * which means that all of their bitmaps are read. */
#define SCAN_GROUPS 4u
#define SCAN_GROUPS_PARTS 1u
#define SCAN_RUNS_AHEAD 256u     /* looked at for one with room ahead, before the longest will do */

/* ---- runs of data ---- */

struct search {
	struct view *v;
	struct space *sp;
	bool parts;              /* in partly used blocks, else whole ones */
	bool off_nodes;          /* not in the block that nodes are packed into */
	bool heeds_ahead;        /* not in what others have ahead */
	u64 owner;
	u32 min, nr;             /* sectors */
	u32 runs, max_runs;      /* seen; after so many the best one will do, 0 = never */
	u32 best;                /* longest run found, 0 = none */
	u32 group, pos;          /* of it */
};

static bool search_done(const struct search *s)
{
	return s->best >= s->nr || (s->best && s->max_runs && s->runs >= s->max_runs);
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

/* A piece of a block. One that is whole but for what is busy is none: it will be whole again. */
static int offer_piece(struct search *s, struct bits *b, u32 start, u32 end)
{
	s64 breaks;
	int r;

	if (end - start < s->min || MIN(end - start, s->nr) <= s->best)
		return 0;
	r = space_blocks_around(b, s->sp, start, end - start, &breaks);
	if (r == 0 && breaks == 0)
		search_offer(s, b->group, start, end);
	return r;
}

/* The ends of a free run: what lies between are whole blocks. */
static int offer_parts(struct search *s, struct bits *b, u32 start, u32 end)
{
	u32 block = s->sp->geo->block_sectors;
	u32 head = MIN(end, ALIGN_DOWN(start, block) + block), tail = ALIGN_DOWN(end, block);
	int r = offer_piece(s, b, start, head);

	return r || tail < head || tail == end ? r : offer_piece(s, b, tail, end);
}

static struct run_limits data_limits(const struct search *s, u32 group)
{
	struct run_limits lim = { .align = s->parts ? 1 : s->sp->geo->block_sectors };

	space_zone_in(s->sp, group, &lim.hole, &lim.hole_end);
	if (s->off_nodes)
		space_node_block_in(s->sp, group, &lim.skip, &lim.skip_end);
	return lim;
}

static int search_span(struct search *s, struct bits *b, u32 from, u32 end)
{
	struct run_limits lim = data_limits(s, b->group);

	while (from < end && !search_done(s)) {
		u32 start, stop;
		int r = bits_next_run(b, from, end, &lim, &start, &stop);

		s->runs++;
		if (r == 0 && start < stop && s->parts)
			r = offer_parts(s, b, start, stop);
		else if (r == 0 && start < stop)
			search_offer(s, b->group, start, stop);
		if (r)
			return r;
		from = stop;
	}
	return 0;
}

/* All of a group was seen: runs of it are no longer than the best one. */
static void search_learn(const struct search *s, struct bits *b)
{
	struct space_group *g = &s->sp->group[b->group];
	u32 *longest = s->parts ? &g->max_part : &g->max_run;

	if (search_done(s))
		*longest = MAX(*longest, s->best);
	else if (!bits_any_unusable(b, b->first, b->len))
		*longest = MAX(s->best, s->min - 1);
}

static int search_open(const struct search *s, u32 group, struct bits *b)
{
	int r = bits_open(b, s->v, group);

	b->heeds_ahead = s->heeds_ahead;
	b->owner = s->owner;
	return r;
}

static int search_group(struct search *s, u32 group, u32 from)
{
	struct bits b;
	int r = search_open(s, group, &b);

	if (r)
		return r;
	/* A block that is seen from its middle on only looks like a part. */
	from = MIN(MAX(ALIGN_DOWN(from, s->sp->geo->block_sectors), b.first), b.len);
	r = search_span(s, &b, from, b.len);
	if (r == 0)
		r = search_span(s, &b, b.first, from);
	if (r == 0)
		search_learn(s, &b);
	return r;
}

static u32 search_hint(const struct search *s, u32 group)
{
	const struct space_group *g = &s->sp->group[group];

	return MIN(g->free, s->parts ? g->max_part : g->max_run);
}

/* All groups after `first` whose hint promises a run of `len`; stops after `limit` of them. */
static int search_others(struct search *s, u32 first, u32 len, u32 limit)
{
	u32 nr_groups = s->sp->geo->nr_groups;

	for (u32 i = 0; i < nr_groups && limit > 0 && !search_done(s); i++) {
		u32 group = (first + i) % nr_groups;
		int r;

		if (search_hint(s, group) < len)
			continue;
		r = search_group(s, group, 0);
		if (r)
			return r;
		limit--;
	}
	return 0;
}

/* From here on: this group, then some others for a run of full length. */
static int search_near(struct search *s, u64 from)
{
	u32 group = fmt_group_of(s->sp->geo, from);
	u32 pos = (u32)(from - fmt_group_start(s->sp->geo, group));
	int r = 0;

	if (search_hint(s, group) >= s->min)
		r = search_group(s, group, pos);
	if (r == 0 && !search_done(s))
		r = search_others(s, group + 1, s->nr,
				  s->parts ? SCAN_GROUPS_PARTS : SCAN_GROUPS);
	return r;
}

/* What is left when nothing was near. */
static int search_far(struct search *s, u64 from)
{
	const struct fmt_geo *geo = s->sp->geo;
	int r = 0;

	if (s->best == 0)
		r = search_others(s, fmt_group_of(geo, from), s->min, UINT32_MAX);
	/* The hints may be those of a run that came to nothing. */
	for (u32 g = 0; g < geo->nr_groups && r == 0 && s->best == 0; g++)
		r = search_group(s, g, 0);
	return r;
}

/* The first free run of at least `len` in [pos, end) of a group: *start, or start == stop. */
static int look_at(struct search *s, u32 group, u32 pos, u32 end, u32 len, u32 *start, u32 *stop)
{
	struct run_limits lim = data_limits(s, group);
	struct bits b;
	int r = search_open(s, group, &b);

	*start = *stop = 0;
	if (r || pos < b.first || pos >= b.len || pos % lim.align != 0)
		return r;
	end = MIN(end, b.len);
	do {
		r = bits_next_run(&b, pos, end, &lim, start, stop);
		pos = *stop;
	} while (r == 0 && *start < *stop && *stop - *start < len);
	return r;
}

/* Whatever is free right at the goal, up to the full length. */
static int search_goal(struct search *s, u64 goal, u32 most)
{
	u32 group = fmt_group_of(s->sp->geo, goal), start, stop;
	u32 pos = (u32)(goal - fmt_group_start(s->sp->geo, group));
	int r = look_at(s, group, pos, pos + most, 1, &start, &stop);

	if (r == 0 && start == pos && start < stop)
		search_offer(s, group, start, stop);
	return r;
}

/* ---- whole blocks ---- */

static bool goal_is_sector(const struct space *sp, u64 goal)
{
	return goal && goal < sp->geo->nr_sectors;
}

static u64 data_cursor(struct view *v, struct space *sp)
{
	const struct space_scratch *s = &sp->scratch;
	u64 at = s->run == view_run(v) && s->cursor ? s->cursor : sp->cursor;

	return at < sp->geo->nr_sectors ? at : 0;
}

static int search_blocks(struct search *s, u64 goal)
{
	u64 from = data_cursor(s->v, s->sp);
	struct space_now now;
	int r = 0;

	space_now(s->v, s->sp, &now);
	if (now.blocks <= 0)
		return 0;
	if (goal_is_sector(s->sp, goal)) {
		r = search_goal(s, goal, s->nr);
		from = goal;
	}
	if (r == 0 && s->best == 0)
		r = search_near(s, from);
	return r || s->best ? r : search_far(s, from);
}

static int find_blocks(struct search *s, const struct space_want *w)
{
	struct space_scratch *scratch = &s->sp->scratch;
	u32 block = s->sp->geo->block_sectors, nr = s->nr;
	u64 end;
	int r;

	s->min = ALIGN_UP(s->min, block);
	s->nr = ALIGN_UP(s->nr + w->ahead, block);
	s->max_runs = w->ahead ? SCAN_RUNS_AHEAD : 0;
	r = search_blocks(s, w->goal);
	s->best = MIN(s->best, nr);
	if (r || !s->best)
		return r;
	end = fmt_group_start(s->sp->geo, s->group) + s->pos + s->best;
	if (w->goal == 0)
		scratch->cursor = end;
	if (w->ahead)
		scratch->ahead = (struct space_ahead){ w->owner, end, end + w->ahead, 0 };
	return 0;
}

/* ---- fragments ---- */

/* Behind the last one, if it has room for all. */
static int search_last(struct search *s)
{
	u32 group, pos, start, stop, block = s->sp->geo->block_sectors;
	const struct space_scratch *scratch = &s->sp->scratch;
	u64 at = scratch->frag ? scratch->frag : s->sp->frag;
	int r;

	if (at % block == 0)
		return 0;
	group = fmt_group_of(s->sp->geo, at);
	pos = (u32)(at - fmt_group_start(s->sp->geo, group));
	r = look_at(s, group, pos, ALIGN_UP(pos, block), s->nr, &start, &stop);
	if (r == 0 && start < stop)
		search_offer(s, group, start, stop);
	return r;
}

/* The beginning of a whole block. */
static int search_fresh(struct search *s)
{
	u32 block = s->sp->geo->block_sectors;
	struct search whole = *s;
	int r;

	whole.parts = whole.off_nodes = false;
	whole.runs = 0;
	whole.min = whole.nr = block;
	r = search_blocks(&whole, 0);
	if (r || !whole.best)
		return r;
	search_offer(s, whole.group, whole.pos, whole.pos + block);
	s->sp->scratch.cursor = fmt_group_start(s->sp->geo, whole.group) + whole.pos + block;
	return 0;
}

static int find_fragment(struct search *s, const struct space_want *w)
{
	struct space_scratch *scratch = &s->sp->scratch;
	u32 block = s->sp->geo->block_sectors;
	bool moves = true;
	int r = 0;

	s->parts = true;
	if (goal_is_sector(s->sp, w->goal) && w->goal % block != 0)
		r = search_goal(s, w->goal, MIN(s->nr, block - (u32)(w->goal % block)));
	if (r || s->best)
		return r;
	s->min = s->nr;
	s->off_nodes = true;
	r = search_last(s);
	if (r == 0 && s->best == 0) {
		r = search_near(s, data_cursor(s->v, s->sp));
		moves = s->best == 0;
	}
	if (r == 0 && s->best == 0)
		r = search_fresh(s);
	if (r == 0 && s->best && moves)
		scratch->frag = fmt_group_start(s->sp->geo, s->group) + s->pos + s->best;
	return r;
}

/* ---- parts ---- */

/* May a piece be given though a whole one was wanted? What is whole but busy is waited for. */
static bool parts_will_do(struct view *v, struct space *sp, const struct space_want *w)
{
	struct space_now now;

	space_now(v, sp, &now);
	return sp->geo->block_sectors > 1 && (w->parts || now.blocks <= 0);
}

/* The group that promises the longest piece, from `first` on. */
static u32 most_promising(const struct search *s, u32 first)
{
	u32 nr_groups = s->sp->geo->nr_groups, group = first;

	for (u32 i = 1; i < nr_groups; i++)
		if (search_hint(s, (first + i) % nr_groups) > search_hint(s, group))
			group = (first + i) % nr_groups;
	return group;
}

/* The longest piece, as far as is known. */
static int find_parts(struct search *s)
{
	u64 from = data_cursor(s->v, s->sp);
	u32 group;
	int r;

	s->parts = true;
	group = most_promising(s, fmt_group_of(s->sp->geo, from));
	s->nr = MIN(s->nr, MAX(search_hint(s, group), s->min));
	r = search_group(s, group, 0);
	return r || s->best ? r : search_far(s, from);
}

/* ---- data ---- */

/* How many sectors this call may give; 0 = none. */
static u32 data_allowed(struct view *v, struct space *sp, const struct space_want *w)
{
	u32 nr = MIN(w->nr, SPACE_ALLOC_MAX);
	struct space_now now;

	if (w->reserved)
		return nr;
	space_now(v, sp, &now);
	return MIN_T(s64, nr, MAX(now.data - now.reserved, (s64)0));
}

static int find_once(struct search *s, const struct space_want *w)
{
	const struct search as_asked = *s;
	int r = s->nr >= s->sp->geo->block_sectors ? find_blocks(s, w) : find_fragment(s, w);

	if (r || s->best || !parts_will_do(s->v, s->sp, w))
		return r;
	*s = as_asked;
	return find_parts(s);
}

static int find(struct search *s, const struct space_want *w)
{
	const struct search as_asked = *s;
	int r = find_once(s, w);

	if (r || s->best || !s->heeds_ahead)
		return r;
	*s = as_asked;
	s->heeds_ahead = false;
	return find_once(s, w);
}

int space_alloc(struct view *v, struct space *sp, const struct space_want *w, u64 *out_sector,
		u32 *out_nr)
{
	struct search s = {
		.v = v, .sp = sp, .min = MAX(w->min, 1u), .nr = data_allowed(v, sp, w),
		.owner = w->owner, .heeds_ahead = space_ahead_any(sp),
	};
	struct space_scratch *scratch;
	int r;

	if (s.nr < s.min)
		return -ENOSPC;
	r = space_scratch_get(v, sp, &scratch);
	if (r == 0)
		r = find(&s, w);
	if (r == 0 && s.best == 0)
		r = -ENOSPC;
	if (r == 0)
		r = space_take(v, sp, s.group, s.pos, s.best);
	if (r)
		return r;
	*out_sector = fmt_group_start(sp->geo, s.group) + s.pos;
	*out_nr = s.best;
	if (w->reserved)
		scratch->reserved -= s.best;
	return 0;
}
