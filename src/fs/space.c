/*
 * Free space: counters, reservations, and what a handle does to them.
 *
 * Invariants
 * 1. On disk: free of the root sector = sum over the group table = clear bits. All three are
 *    changed together, by space_take() and space_give() alone.
 * 2. In memory, free, blocks, zone_free and nodes are those of the published state. A body
 *    notes its changes in the scratch; publishing adds them up. A run that comes to nothing
 *    leaves a scratch with an old run number, which the next one throws away.
 * 3. free - zone_free >= reserved: data that was promised has sectors waiting, any sectors. Data
 *    takes its own promise; nodes take some only if this holds afterwards, and else go to
 *    the metadata reserve (the zone), which data never gets.
 * 4. `blocks` promises nothing: it tells whether it pays to look for a whole block. With blocks of
 *    one sector it follows from the counters. With longer ones it is counted at mount.
 *
 * Locks: sp->lock (RANK_SPACE) for counters and pending bits, never held while a view is asked.
 * scratch belongs to the handle. Group hints are read and written without a lock, inside handles.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "fs/inode.h"
#include "fs/space_priv.h"

#define ZONE_NODES_MIN   64u
#define ZONE_SECTORS_MAX 16384u
#define CHANGES_MIN      16u

int space_locate(const struct fmt_geo *geo, u64 sector, u32 nr, u32 *out_group, u32 *out_pos)
{
	u64 start;
	u32 group;

	if (sector >= geo->nr_sectors)
		return corrupt(WHY_SPACE_SECTOR, CORRUPT_NO_INO, sector);
	group = fmt_group_of(geo, sector);
	start = fmt_group_start(geo, group);
	if (nr == 0)
		return corrupt(WHY_SPACE_EMPTY, CORRUPT_NO_INO, sector);
	if (sector < fmt_space_start(geo, group))
		return corrupt(WHY_SPACE_METADATA, CORRUPT_NO_INO, sector);
	if (sector - start + nr > fmt_group_len(geo, group))
		return corrupt(WHY_SPACE_GROUP, CORRUPT_NO_INO, sector);
	*out_group = group;
	*out_pos = (u32)(sector - start);
	return 0;
}

void space_zone_in(const struct space *sp, u32 group, u32 *out_start, u32 *out_end)
{
	u64 base = fmt_group_start(sp->geo, group);

	*out_start = *out_end = 0;
	if (sp->zone_start < sp->zone_end && fmt_group_of(sp->geo, sp->zone_start) == group) {
		*out_start = (u32)(sp->zone_start - base);
		*out_end = (u32)(sp->zone_end - base);
	}
}

/* The block around a position, if anything is smaller than a block. */
static void block_around(const struct space *sp, u32 pos, u32 *out_start, u32 *out_end)
{
	u32 block = sp->geo->block_sectors;

	*out_start = *out_end = 0;
	if (block > NODE_SECTORS && pos % block != 0) {
		*out_start = ALIGN_DOWN(pos, block);
		*out_end = *out_start + block;
	}
}

void space_node_block_in(const struct space *sp, u32 group, u32 *out_start, u32 *out_end)
{
	/* Where the last node is: node_from does not move past it. */
	block_around(sp, sp->group[group].node_from | 1, out_start, out_end);
}

void space_frag_block_in(struct view *v, const struct space *sp, u32 group, u32 *out_start,
			 u32 *out_end)
{
	const struct space_scratch *s = &sp->scratch;
	u64 at = s->run == view_run(v) && s->frag ? s->frag : sp->frag;

	*out_start = *out_end = 0;
	if (at && at < sp->geo->nr_sectors && fmt_group_of(sp->geo, at) == group)
		block_around(sp, (u32)(at - fmt_group_start(sp->geo, group)), out_start, out_end);
}

/* ---- scratch ---- */

static void publish_change(struct space *sp, const struct space_change *c)
{
	u32 group = fmt_group_of(sp->geo, c->sector);
	struct space_group *g = &sp->group[group];
	u32 pos = (u32)(c->sector - fmt_group_start(sp->geo, group));

	if (c->what == CHANGE_ALLOC) {
		g->free -= MIN(g->free, c->nr);
		g->max_part = MAX(g->max_part, c->part);
		if (c->node_from)
			g->node_from = c->node_from;
	} else if (c->what == CHANGE_FREE) {
		g->free += c->nr;
		g->max_run = sp->geo->group_sectors;
		g->max_part = sp->geo->block_sectors;
		g->node_from = MIN(g->node_from, ALIGN_DOWN(pos, NODE_SECTORS));
	}
}

static void publish_scratch(void *arg, u64 seq)
{
	struct space *sp = arg;
	struct space_scratch *s = &sp->scratch;

	(void)seq;
	mutex_lock(&sp->lock);
	sp->free += s->free;
	sp->blocks += s->blocks;
	sp->zone_free += s->zone;
	sp->nodes += s->nodes;
	sp->reserved = MAX(sp->reserved + s->reserved, (s64)0);
	if (s->cursor)
		sp->cursor = s->cursor;
	if (s->frag)
		sp->frag = s->frag;
	mutex_unlock(&sp->lock);
	if (s->ahead.owner)
		space_ahead_keep(sp, &s->ahead);
	for (u32 i = 0; i < s->nr; i++) {
		publish_change(sp, &s->change[i]);
		if (s->change[i].what != CHANGE_ALLOC)
			space_pending_clear(sp, s->change[i].sector, s->change[i].nr);
	}
	s->run = 0;
}

int space_scratch_get(struct view *v, struct space *sp, struct space_scratch **out)
{
	struct space_scratch *s = &sp->scratch;
	int r;

	if (s->run != view_run(v)) {
		r = view_on_publish(v, publish_scratch, sp);
		if (r)
			return r;
		*s = (struct space_scratch){
			.run = view_run(v),
			.change = s->change,
			.max = s->max,
		};
	}
	*out = s;
	return 0;
}

int space_scratch_add(struct space_scratch *s, u64 sector, u32 nr, enum change_kind what)
{
	if (s->nr == s->max) {
		u32 max = MAX(s->max * 2, CHANGES_MIN);
		struct space_change *c = reallocarray(s->change, max, sizeof(*c));

		if (!c)
			return -ENOMEM;
		s->change = c;
		s->max = max;
	}
	s->change[s->nr++] = (struct space_change){ .sector = sector, .nr = nr, .what = what };
	return 0;
}

void space_now(struct view *v, struct space *sp, struct space_now *out)
{
	const struct space_scratch *s = &sp->scratch;

	mutex_lock(&sp->lock);
	*out = (struct space_now){ sp->free - sp->zone_free, sp->blocks, sp->reserved,
				   sp->zone_free };
	mutex_unlock(&sp->lock);
	if (s->run == view_run(v)) {
		out->data += s->free - s->zone;
		out->blocks += s->blocks;
		out->reserved += s->reserved;
		out->zone_free += s->zone;
	}
}

/* ---- bits and counters together ---- */

static bool overlaps(u32 a, u32 a_end, u32 b, u32 b_end)
{
	return a < b_end && b < a_end;
}

/* Are the bits of block [at, at + align) outside [pos, end) clear? */
static int rest_is_free(struct bits *b, u32 at, u32 align, u32 pos, u32 end, bool *out)
{
	u32 before_end = MIN(MAX(pos, at), at + align), after = MAX(MIN(end, at + align), at);
	u32 found;
	int r;

	*out = at >= pos && at + align <= end;
	if (*out)
		return 0;
	r = bits_next(b, at, before_end, true, &found);
	if (r || found < before_end)
		return r;
	r = bits_next(b, after, at + align, true, &found);
	if (r == 0)
		*out = found == at + align;
	return r;
}

int space_blocks_around(struct bits *b, const struct space *sp, u32 pos, u32 nr, s64 *out)
{
	u32 align = b->geo->block_sectors, end = pos + nr, zone, zone_end;
	s64 sum = 0;

	space_zone_in(sp, b->group, &zone, &zone_end);
	for (u32 at = ALIGN_DOWN(pos, align); at < end; at += align) {
		bool is_free;
		int r;

		if (at < b->first || at + align > b->len ||
		    overlaps(at, at + align, zone, zone_end))
			continue;
		r = rest_is_free(b, at, align, pos, end, &is_free);
		if (r)
			return r;
		sum += is_free;
	}
	*out = sum;
	return 0;
}

/* Adds to the free counters on disk. */
static int account(struct view *v, u32 group, s64 delta)
{
	struct fmt_group *desc;
	const struct fmt_geo *geo = view_geo(v);
	struct fmt_root *root;
	int r = group_edit(v, group, &desc);

	if (r == 0)
		r = root_edit(v, &root);
	if (r)
		return r;
	if ((s64)get32(desc->free) + delta < 0)
		return corrupt(WHY_GROUP_COUNT_LOW, CORRUPT_NO_INO, fmt_group_start(geo, group));
	if ((s64)get32(desc->free) + delta > fmt_group_len(geo, group))
		return corrupt(WHY_GROUP_COUNT_HIGH, CORRUPT_NO_INO, fmt_group_start(geo, group));
	if ((s64)get64(root->free_sectors) + delta < 0)
		return corrupt(WHY_ROOT_COUNT_LOW, CORRUPT_NO_INO, geo->root_sector);
	desc->free = put32((u32)((s64)get32(desc->free) + delta));
	root->free_sectors = put64(get64(root->free_sectors) + (u64)delta);
	return 0;
}

static s64 zone_part(const struct space *sp, u32 group, u32 pos, u32 nr)
{
	u32 zone, zone_end;

	space_zone_in(sp, group, &zone, &zone_end);
	if (!overlaps(pos, pos + nr, zone, zone_end))
		return 0;
	return (s64)MIN(pos + nr, zone_end) - MAX(pos, zone);
}

static int change_bits(struct view *v, struct space *sp, u32 group, u32 pos, u32 nr, bool set)
{
	s64 sign = set ? -1 : 1, blocks;
	struct space_scratch *s;
	struct bits b;
	int r = space_scratch_get(v, sp, &s);

	if (r == 0)
		r = bits_open(&b, v, group);
	if (r == 0)
		r = bits_change(&b, pos, nr, set);
	/* The same before taking and after giving: how many blocks are whole but for this range. */
	if (r == 0)
		r = space_blocks_around(&b, sp, pos, nr, &blocks);
	if (r == 0)
		r = account(v, group, sign * nr);
	if (r == 0)
		r = space_scratch_add(s, b.base + pos, nr, set ? CHANGE_ALLOC : CHANGE_FREE);
	if (r)
		return r;
	if (set && blocks * sp->geo->block_sectors > nr)
		s->change[s->nr - 1].part = (u32)(blocks * sp->geo->block_sectors - nr);
	s->free += sign * nr;
	s->blocks += sign * blocks;
	s->zone += sign * zone_part(sp, group, pos, nr);
	return 0;
}

int space_take(struct view *v, struct space *sp, u32 group, u32 pos, u32 nr)
{
	return change_bits(v, sp, group, pos, nr, true);
}

int space_give(struct view *v, struct space *sp, u32 group, u32 pos, u32 nr)
{
	int r = change_bits(v, sp, group, pos, nr, false);

	return r ? r : view_busy(v, fmt_group_start(sp->geo, group) + pos, nr);
}

int space_free(struct view *v, struct space *sp, u64 sector, u32 nr)
{
	u32 group, pos;
	int r;

	ASSERT(nr <= SPACE_FREE_MAX);
	r = space_locate(sp->geo, sector, nr, &group, &pos);
	if (r == 0)
		r = space_give(v, sp, group, pos, nr);
	if (r == 0)
		r = space_map_clear(v, group, pos, nr);
	if (r == 0)
		view_forget_data(v, sector, nr);
	return r;
}

/* ---- reservations ---- */

/* lock held */
static s64 available(const struct space *sp)
{
	return sp->free - sp->zone_free - sp->reserved;
}

int space_reserve(struct space *sp, u64 sectors)
{
	int r = -ENOSPC;

	mutex_lock(&sp->lock);
	if (sectors <= INT64_MAX && (s64)sectors <= available(sp)) {
		sp->reserved += (s64)sectors;
		r = 0;
	}
	mutex_unlock(&sp->lock);
	return r;
}

void space_unreserve(struct space *sp, u64 sectors)
{
	mutex_lock(&sp->lock);
	ASSERT(sp->reserved >= (s64)sectors);
	sp->reserved -= (s64)sectors;
	mutex_unlock(&sp->lock);
}

int space_use_reserved(struct view *v, struct space *sp, u32 sectors)
{
	struct space_scratch *s;
	int r = space_scratch_get(v, sp, &s);

	if (!r)
		s->reserved -= sectors;
	return r;
}

void space_counts(struct space *sp, struct space_counts *out)
{
	mutex_lock(&sp->lock);
	*out = (struct space_counts){
		.total = sp->total,
		.free = (u64)MAX(sp->free, (s64)0),
		.available = (u64)MAX(available(sp), (s64)0),
		.reserved = (u64)sp->reserved,
		.metadata = (u64)MAX(sp->nodes, (s64)0),
	};
	mutex_unlock(&sp->lock);
}

static int host_body(struct view *v, void *arg)
{
	struct fs **fs = arg;

	*fs = view_host(v);
	return 0;
}

int space_retry_nospc(struct jnl *j)
{
	struct fs *fs = NULL;
	int r = jnl_read(j, host_body, &fs);

	if (r)
		return r;
	if (space_window_wait(fs->space))
		return 0;
	return jnl_has_busy(j) ? jnl_commit_freed(j) : -ENOSPC;
}

int space_run(struct jnl *j, unsigned credits, jnl_body body, void *arg, u64 *seq)
{
	int r = jnl_run(j, credits, body, arg, seq);

	if (r != -ENOSPC)
		return r;
	/* Nothing busy now: another thread's commit may have come in between. */
	r = space_retry_nospc(j);
	return r && r != -ENOSPC ? r : jnl_run(j, credits, body, arg, seq);
}

/* ---- open ---- */

/* A stretch at the end of the first group that it takes up at most half of. */
static void zone_place(struct space *sp)
{
	const struct fmt_geo *geo = sp->geo;
	u64 nr = MAX(sp->total / 256, (u64)ZONE_NODES_MIN * NODE_SECTORS);
	u64 align = MAX(geo->block_sectors, NODE_SECTORS);

	nr = MIN(nr, (u64)ZONE_SECTORS_MAX);
	nr = MIN(nr, sp->total / 8);
	/* Whole blocks, where that is not too much of a small device. */
	align = ALIGN_UP(nr, align) <= sp->total / 8 ? align : NODE_SECTORS;
	nr = ALIGN_DOWN(ALIGN_UP(nr, align), NODE_SECTORS);
	for (u32 g = 0; g < geo->nr_groups; g++) {
		u64 end = ALIGN_DOWN(fmt_group_start(geo, g) + fmt_group_len(geo, g), align);

		if (end < fmt_space_start(geo, g) + 2 * nr)
			continue;
		sp->zone_start = end - nr;
		sp->zone_end = end;
		return;
	}
}

struct count_arg {
	struct space *sp;
	u32 group;
	s64 blocks, zone_free;
};

/* Free sectors of the zone, and with long blocks the whole free blocks outside, of one group. */
static int count_body(struct view *v, void *p)
{
	struct count_arg *c = p;
	struct run_limits lim = { .align = c->sp->geo->block_sectors };
	struct run_limits zone = { .align = 1 };
	struct bits b;
	u32 from, start, end;
	int r = bits_open(&b, v, c->group);

	c->blocks = c->zone_free = 0;
	if (r)
		return r;
	space_zone_in(c->sp, c->group, &lim.hole, &lim.hole_end);
	for (from = lim.hole; from < lim.hole_end; from = end) {
		r = bits_next_run(&b, from, lim.hole_end, &zone, &start, &end);
		if (r)
			return r;
		c->zone_free += end - start;
	}
	for (from = b.first; lim.align > 1 && from < b.len; from = end) {
		r = bits_next_run(&b, from, b.len, &lim, &start, &end);
		if (r)
			return r;
		c->blocks += (end - start) / lim.align;
	}
	return 0;
}

/* Counters of the root sector and the group table. That they differ is reported, not a reason to
 * refuse the mount: the lower one does no harm. */
static int counters_body(struct view *v, void *p)
{
	struct space *sp = p;
	const struct fmt_root *root;
	const void *buf;
	u64 sum = 0;
	int r = view_get(v, sp->geo->root_sector, FMT_KIND_ROOT, &buf);

	if (r)
		return r;
	root = buf;
	for (u32 g = 0; g < sp->geo->nr_groups; g++) {
		const struct fmt_group *desc;

		r = group_get(v, g, &desc);
		if (r)
			return r;
		sp->group[g].free = get32(desc->free);
		sum += get32(desc->free);
	}
	if (get64(root->free_sectors) != sum)
		corrupt(WHY_BITMAP_COUNT, CORRUPT_NO_INO, sp->geo->root_sector);
	if (sum > sp->total)
		corrupt(WHY_FREE_SUM, CORRUPT_NO_INO, sp->geo->gtable_sector);
	sp->free = (s64)MIN(MIN(get64(root->free_sectors), sum), sp->total);
	sp->nodes = (s64)get64(root->node_sectors_used);
	return 0;
}

static int load_counters(struct space *sp)
{
	int r = jnl_read(sp->jnl, counters_body, sp);

	for (u32 g = 0; g < sp->geo->nr_groups && r == 0; g++) {
		struct count_arg c = { .sp = sp, .group = g };
		u32 zone, zone_end;

		space_zone_in(sp, g, &zone, &zone_end);
		if (sp->geo->block_sectors == 1 && zone == zone_end)
			continue;
		r = jnl_read(sp->jnl, count_body, &c);
		sp->zone_free += c.zone_free;
		sp->blocks += c.blocks;
	}
	if (sp->geo->block_sectors == 1)
		sp->blocks = sp->free - sp->zone_free;
	return r;
}

static void init_groups(struct space *sp)
{
	for (u32 g = 0; g < sp->geo->nr_groups; g++) {
		u64 start = fmt_group_start(sp->geo, g);

		sp->total += start + fmt_group_len(sp->geo, g) - fmt_space_start(sp->geo, g);
		sp->group[g].max_run = sp->geo->group_sectors;
		sp->group[g].max_part = sp->geo->block_sectors;
		sp->group[g].node_from = (u32)(fmt_space_start(sp->geo, g) - start);
	}
	/* Nodes fill a group from its low end: data begins a little higher. */
	sp->cursor = fmt_space_start(sp->geo, 0) + fmt_group_len(sp->geo, 0) / 64;
}

int space_open(struct jnl *j, const struct fmt_geo *geo, struct space **out)
{
	struct space *sp = calloc(1, sizeof(*sp));
	int r;

	if (!sp)
		return -ENOMEM;
	sp->jnl = j;
	sp->geo = geo;
	mutex_init(&sp->lock, RANK_SPACE);
	cond_init(&sp->trim_cond);
	sp->group = calloc(geo->nr_groups, sizeof(*sp->group));
	if (!sp->group) {
		space_close(sp);
		return -ENOMEM;
	}
	init_groups(sp);
	zone_place(sp);
	r = load_counters(sp);
	if (r) {
		space_close(sp);
		return r;
	}
	*out = sp;
	return 0;
}

void space_close(struct space *sp)
{
	if (!sp)
		return;
	if (sp->group)
		space_pending_free(sp);
	free(sp->group);
	free(sp->scratch.change);
	cond_fini(&sp->trim_cond);
	mutex_fini(&sp->lock);
	free(sp);
}
