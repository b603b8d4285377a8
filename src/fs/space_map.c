/*
 * The sector map, and the pending entries in front of it.
 *
 * Invariants
 * 1. A map sector whose bit in map_init is clear is never read: all its entries are 0. Setting one
 *    to something else creates it; setting them to 0 does not.
 * 2. Free sectors and metadata have entry 0: freeing clears entries, so allocation finds them
 *    clear.
 * 3. A sector is read as what was written from the moment its write has finished. Between that and
 *    the completing handle its pending entry says so; it is cleared when the map's is
 *    published, so a reader who looks at the pending one first and at the map second misses
 *    neither.
 *
 * Locks: pending entries under sp->lock; the rest runs in bodies.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fs/space_priv.h"

static bool map_is_init(const struct fmt_group *desc, u32 idx)
{
	return get64(desc->map_init[idx / 64]) >> (idx % 64) & 1;
}

/* One map sector's share of a range: entries [first, first + nr) of map sector idx. */
struct map_piece {
	u32 idx, first, nr;
};

static struct map_piece map_piece(u32 pos, u32 end)
{
	u32 idx = pos / FMT_MAP_PER_SECTOR, first = pos % FMT_MAP_PER_SECTOR;

	return (struct map_piece){ idx, first, MIN(end - pos, FMT_MAP_PER_SECTOR - first) };
}

static int map_get(struct view *v, u32 group, u32 idx, const struct fmt_map **out)
{
	const void *buf;
	int r = view_get(v, fmt_map_sector(view_geo(v), group) + idx, FMT_KIND_MAP, &buf);

	if (r == 0)
		*out = buf;
	return r;
}

static int map_edit(struct view *v, u32 group, u32 idx, struct fmt_map **out)
{
	void *buf;
	int r = view_edit(v, fmt_map_sector(view_geo(v), group) + idx, FMT_KIND_MAP, &buf);

	if (r == 0)
		*out = buf;
	return r;
}

static int map_create(struct view *v, u32 group, u32 idx, struct fmt_map **out)
{
	struct fmt_group *desc;
	le64 *word;
	void *buf;
	int r = view_new(v, fmt_map_sector(view_geo(v), group) + idx, FMT_KIND_MAP, group, &buf);

	if (r == 0)
		r = group_edit(v, group, &desc);
	if (r)
		return r;
	word = &desc->map_init[idx / 64];
	*word = put64(get64(*word) | 1ull << (idx % 64));
	*out = buf;
	return 0;
}

/* values: one for each entry of the piece; NULL = all 0. */
static u32 value_at(const u32 *values, u32 i)
{
	return values ? values[i] : FMT_MAP_UNWRITTEN;
}

static bool entries_are(const struct fmt_map *map, const struct map_piece *m, const u32 *values)
{
	for (u32 i = 0; i < m->nr; i++)
		if (get32(map->entry[m->first + i]) != value_at(values, i))
			return false;
	return true;
}

/* Sets one piece, touching nothing that is so already. */
static int piece_set(struct view *v, u32 group, const struct map_piece *m, const u32 *values)
{
	const struct fmt_group *desc;
	const struct fmt_map *now;
	struct fmt_map *map;
	int r = group_get(v, group, &desc);

	if (r)
		return r;
	if (map_is_init(desc, m->idx)) {
		r = map_get(v, group, m->idx, &now);
		if (r || entries_are(now, m, values))
			return r;
		r = map_edit(v, group, m->idx, &map);
	} else {
		if (!values)
			return 0;
		r = map_create(v, group, m->idx, &map);
	}
	if (r)
		return r;
	for (u32 i = 0; i < m->nr; i++)
		map->entry[m->first + i] = put32(value_at(values, i));
	return 0;
}

int space_map_clear(struct view *v, u32 group, u32 pos, u32 nr)
{
	u32 end = pos + nr;
	int r = 0;

	while (pos < end && !r) {
		struct map_piece m = map_piece(pos, end);

		r = piece_set(v, group, &m, NULL);
		pos += m.nr;
	}
	return r;
}

static void pending_get(struct space *sp, u32 group, const struct map_piece *m, u32 *values)
{
	struct pending **pending;
	const struct pending *p;

	mutex_lock(&sp->lock);
	pending = sp->group[group].pending;
	p = pending ? pending[m->idx] : NULL;
	for (u32 i = 0; i < m->nr; i++)
		values[i] = p ? p->entry[m->first + i] : FMT_MAP_UNWRITTEN;
	mutex_unlock(&sp->lock);
}

static int change_written(struct view *v, struct space *sp, u64 sector, u32 nr)
{
	struct space_scratch *s;
	int r = space_scratch_get(v, sp, &s);

	return r ? r : space_scratch_add(s, sector, nr, CHANGE_WRITTEN);
}

/* Every piece of the range gets its values: pending ones, or all the same. */
static int range_set(struct view *v, struct space *sp, u64 sector, u32 nr, bool pending, u32 value)
{
	u32 values[FMT_MAP_PER_SECTOR], group, pos, end;
	int r = space_locate(sp->geo, sector, nr, &group, &pos);

	for (end = pos + nr; !r && pos < end;) {
		struct map_piece m = map_piece(pos, end);

		if (pending)
			pending_get(sp, group, &m, values);
		for (u32 i = 0; !pending && i < m.nr; i++)
			values[i] = value;
		r = piece_set(v, group, &m, values);
		pos += m.nr;
	}
	return r ? r : change_written(v, sp, sector, nr);
}

int space_map_set(struct view *v, struct space *sp, u64 sector, u32 nr, u32 value)
{
	u32 group, pos;
	int r;

	if (value != FMT_MAP_UNWRITTEN)
		return range_set(v, sp, sector, nr, false, value);
	r = space_locate(sp->geo, sector, nr, &group, &pos);
	if (!r)
		r = space_map_clear(v, group, pos, nr);
	if (r)
		return r;
	view_forget_data(v, sector, nr);
	return change_written(v, sp, sector, nr);
}

int space_map_complete(struct view *v, struct space *sp, u64 sector, u32 nr)
{
	return range_set(v, sp, sector, nr, true, 0);
}

/* ---- reading ---- */

struct map_read {
	struct space *sp;
	u64 sector;
	u32 nr;
	u32 *entries;
};

/* Nothing is published meanwhile, so the two agree. */
static int read_piece(struct view *v, struct space *sp, u32 group, const struct map_piece *m,
		      u32 *entries)
{
	const struct fmt_group *desc;
	const struct fmt_map *map;
	int r = group_get(v, group, &desc);

	pending_get(sp, group, m, entries);
	if (r || !map_is_init(desc, m->idx))
		return r;
	r = map_get(v, group, m->idx, &map);
	if (r)
		return r;
	for (u32 i = 0; i < m->nr; i++)
		if (entries[i] == FMT_MAP_UNWRITTEN)
			entries[i] = get32(map->entry[m->first + i]);
	return 0;
}

static int read_body(struct view *v, void *p)
{
	const struct map_read *rd = p;
	const struct fmt_geo *geo = view_geo(v);
	u32 done = 0;

	while (done < rd->nr) {
		u32 group = fmt_group_of(geo, rd->sector + done);
		u32 pos = (u32)(rd->sector + done - fmt_group_start(geo, group));
		u32 end = MIN_T(u64, (u64)pos + rd->nr - done, fmt_group_len(geo, group));
		struct map_piece m = map_piece(pos, end);
		int r = read_piece(v, rd->sp, group, &m, rd->entries + done);

		if (r)
			return r;
		done += m.nr;
	}
	return 0;
}

int space_map_read(struct space *sp, u64 sector, u32 nr, u32 *entries)
{
	struct map_read rd = { sp, sector, nr, entries };

	if (nr == 0)
		return 0;
	if (sector >= sp->geo->nr_sectors || nr > sp->geo->nr_sectors - sector)
		return corrupt(WHY_MAP_RANGE, CORRUPT_NO_INO, sector);
	return jnl_read(sp->jnl, read_body, &rd);
}

/* ---- pending entries ---- */

/* lock held; NULL: no memory */
static struct pending *pending_make(struct space *sp, struct space_group *g, u32 idx)
{
	if (!g->pending)
		g->pending = calloc(sp->geo->map_nr, sizeof(*g->pending));
	if (!g->pending)
		return NULL;
	if (!g->pending[idx])
		g->pending[idx] = calloc(1, sizeof(*g->pending[idx]));
	return g->pending[idx];
}

/* lock held */
static void pending_put(struct space *sp, struct space_group *g, u32 idx)
{
	struct pending *p = g->pending ? g->pending[idx] : NULL;

	if (p && p->nr == 0 && p->held == 0) {
		free(g->pending[idx]);
		g->pending[idx] = NULL;
	}
	/* Not kept for groups that nobody writes to. */
	if (g->pending && g->nr_pending == 0 && g->nr_held == 0) {
		for (u32 i = 0; i < sp->geo->map_nr; i++)
			free(g->pending[i]);
		free(g->pending);
		g->pending = NULL;
	}
}

/* lock held */
static void pending_change(struct space *sp, struct space_group *g, const struct map_piece *m,
			   const u32 *values)
{
	struct pending *p = g->pending ? g->pending[m->idx] : NULL;

	ASSERT(p ? !values || p->held >= m->nr : !values);
	if (!p)
		return;
	for (u32 i = 0; i < m->nr; i++) {
		u32 *entry = &p->entry[m->first + i];
		u32 more = (value_at(values, i) != 0) - (u32)(*entry != 0);

		*entry = value_at(values, i);
		p->nr += more;
		/* Looked at without the lock, too. */
		__atomic_store_n(&g->nr_pending, g->nr_pending + more, __ATOMIC_RELAXED);
	}
	pending_put(sp, g, m->idx);
}

static void pending_range(struct space *sp, u64 sector, u32 nr, const u32 *values)
{
	u32 group, pos, done = 0;
	int r = space_locate(sp->geo, sector, nr, &group, &pos);

	mutex_lock(&sp->lock);
	while (!r && done < nr) {
		struct map_piece m = map_piece(pos + done, pos + nr);

		pending_change(sp, &sp->group[group], &m, values ? values + done : NULL);
		done += m.nr;
	}
	mutex_unlock(&sp->lock);
}

/* lock held */
static void pending_unhold(struct space *sp, u32 group, u32 pos, u32 end)
{
	struct space_group *g = &sp->group[group];

	while (pos < end) {
		struct map_piece m = map_piece(pos, end);

		ASSERT(g->pending && g->pending[m.idx] && g->pending[m.idx]->held >= m.nr);
		g->pending[m.idx]->held -= m.nr;
		g->nr_held -= m.nr;
		pending_put(sp, g, m.idx);
		pos += m.nr;
	}
}

int space_pending_hold(struct space *sp, u64 sector, u32 nr)
{
	struct space_group *g;
	u32 group, pos, at;
	int r = space_locate(sp->geo, sector, nr, &group, &pos);

	if (r)
		return r;
	g = &sp->group[group];
	mutex_lock(&sp->lock);
	for (at = pos; !r && at < pos + nr;) {
		struct map_piece m = map_piece(at, pos + nr);
		struct pending *p = pending_make(sp, g, m.idx);

		if (!p) {
			pending_unhold(sp, group, pos, at);
			pending_put(sp, g, m.idx);
			r = -ENOMEM;
			break;
		}
		p->held += m.nr;
		g->nr_held += m.nr;
		at += m.nr;
	}
	mutex_unlock(&sp->lock);
	return r;
}

void space_pending_drop(struct space *sp, u64 sector, u32 nr)
{
	u32 group, pos;

	if (space_locate(sp->geo, sector, nr, &group, &pos))
		return;
	mutex_lock(&sp->lock);
	pending_unhold(sp, group, pos, pos + nr);
	mutex_unlock(&sp->lock);
}

void space_pending_set(struct space *sp, u64 sector, u32 nr, const u32 *entries)
{
	pending_range(sp, sector, nr, entries);
}

void space_pending_clear(struct space *sp, u64 sector, u32 nr)
{
	pending_range(sp, sector, nr, NULL);
}

bool space_pending_any(struct space *sp, u64 sector, u32 nr)
{
	u32 group, pos, values[FMT_MAP_PER_SECTOR];
	bool any = false;

	if (space_locate(sp->geo, sector, nr, &group, &pos))
		return false;
	if (!__atomic_load_n(&sp->group[group].nr_pending, __ATOMIC_ACQUIRE))
		return false;
	for (u32 end = pos + nr; pos < end && !any;) {
		struct map_piece m = map_piece(pos, end);

		pending_get(sp, group, &m, values);
		for (u32 i = 0; i < m.nr; i++)
			any |= values[i] != FMT_MAP_UNWRITTEN;
		pos += m.nr;
	}
	return any;
}

void space_pending_free(struct space *sp)
{
	for (u32 g = 0; g < sp->geo->nr_groups; g++) {
		for (u32 i = 0; sp->group[g].pending && i < sp->geo->map_nr; i++)
			free(sp->group[g].pending[i]);
		free(sp->group[g].pending);
		sp->group[g].pending = NULL;
	}
}
