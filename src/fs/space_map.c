/*
 * The sector map, and the pending written bits in front of it.
 *
 * Invariants
 * 1. A map sector whose bit in map_init is clear is never read: all its entries are 0. Setting one
 *    to something else creates it; setting them to 0 does not.
 * 2. Free sectors and metadata have entry 0: freeing clears entries, so allocation finds them
 *    clear.
 * 3. A sector is read as written from the moment its first write has finished. Between that and the
 *    completing handle its pending bit says so; it is cleared when the entry is published, so
 *    a reader who looks at the pending bit first and at the entry second misses neither.
 *
 * Locks: pending bits under sp->lock; the rest runs in bodies.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
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

static bool entries_are(const struct fmt_map *map, const struct map_piece *m, u32 value)
{
	for (u32 i = m->first; i < m->first + m->nr; i++)
		if (get32(map->entry[i]) != value)
			return false;
	return true;
}

/* Sets one piece to a value, touching nothing that has it already. */
static int piece_set(struct view *v, u32 group, const struct map_piece *m, u32 value)
{
	const struct fmt_group *desc;
	const struct fmt_map *now;
	struct fmt_map *map;
	int r = group_get(v, group, &desc);

	if (r)
		return r;
	if (map_is_init(desc, m->idx)) {
		r = map_get(v, group, m->idx, &now);
		if (r || entries_are(now, m, value))
			return r;
		r = map_edit(v, group, m->idx, &map);
	} else {
		if (value == FMT_MAP_UNWRITTEN)
			return 0;
		r = map_create(v, group, m->idx, &map);
	}
	if (r)
		return r;
	for (u32 i = m->first; i < m->first + m->nr; i++)
		map->entry[i] = put32(value);
	return 0;
}

static int range_set(struct view *v, u32 group, u32 pos, u32 nr, u32 value)
{
	u32 end = pos + nr;

	while (pos < end) {
		struct map_piece m = map_piece(pos, end);
		int r = piece_set(v, group, &m, value);

		if (r)
			return r;
		pos += m.nr;
	}
	return 0;
}

int space_map_clear(struct view *v, u32 group, u32 pos, u32 nr)
{
	return range_set(v, group, pos, nr, FMT_MAP_UNWRITTEN);
}

int space_map_set(struct view *v, struct space *sp, u64 sector, u32 nr, u32 value)
{
	struct space_scratch *s;
	u32 group, pos;
	int r = space_locate(sp->geo, sector, nr, &group, &pos);

	if (r == 0)
		r = range_set(v, group, pos, nr, value);
	if (r == 0)
		r = space_scratch_get(v, sp, &s);
	return r ? r : space_scratch_add(s, sector, nr, CHANGE_WRITTEN);
}

/* ---- reading ---- */

struct map_read {
	u64 sector;
	u32 nr;
	u32 *entries;
};

/* Only raises entries, so that it may be run again and keeps what was pending. */
static int read_piece(struct view *v, u32 group, const struct map_piece *m, u32 *entries)
{
	const struct fmt_group *desc;
	const struct fmt_map *map;
	int r = group_get(v, group, &desc);

	if (r || !map_is_init(desc, m->idx))
		return r;
	r = map_get(v, group, m->idx, &map);
	if (r)
		return r;
	for (u32 i = 0; i < m->nr; i++) {
		u32 value = get32(map->entry[m->first + i]);

		if (value != FMT_MAP_UNWRITTEN)
			entries[i] = value;
	}
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
		int r = read_piece(v, group, &m, rd->entries + done);

		if (r)
			return r;
		done += m.nr;
	}
	return 0;
}

/* lock held */
static void pending_to_entries(struct space *sp, u64 sector, u32 nr, u32 *entries)
{
	memset(entries, 0, nr * sizeof(*entries));
	for (u32 done = 0, step; done < nr; done += step) {
		u32 group = fmt_group_of(sp->geo, sector + done);
		const u64 *bits = sp->group[group].pending;
		u32 pos = (u32)(sector + done - fmt_group_start(sp->geo, group));

		step = MIN(nr - done, fmt_group_len(sp->geo, group) - pos);
		for (u32 i = 0; bits && i < step; i++)
			if (bitmap_test(bits, pos + i))
				entries[done + i] = FMT_MAP_NOCSUM;
	}
}

int space_map_read(struct space *sp, u64 sector, u32 nr, u32 *entries)
{
	struct map_read rd = { sector, nr, entries };

	if (nr == 0)
		return 0;
	if (sector >= sp->geo->nr_sectors || nr > sp->geo->nr_sectors - sector)
		return corrupt(WHY_RANGE, CORRUPT_NO_INO, sector);
	mutex_lock(&sp->lock);
	pending_to_entries(sp, sector, nr, entries);
	mutex_unlock(&sp->lock);
	return jnl_read(sp->jnl, read_body, &rd);
}

/* ---- pending bits ---- */

int space_pending_set(struct space *sp, u64 sector, u32 nr)
{
	struct space_group *g;
	u32 group, pos;
	int r = space_locate(sp->geo, sector, nr, &group, &pos);

	if (r)
		return r;
	g = &sp->group[group];
	mutex_lock(&sp->lock);
	if (!g->pending)
		g->pending = calloc(BITMAP_WORDS(sp->geo->group_sectors), sizeof(u64));
	if (g->pending) {
		g->nr_pending += nr - (u32)bitmap_weight(g->pending, pos, nr);
		bitmap_set_range(g->pending, pos, nr);
	} else {
		r = -ENOMEM;
	}
	mutex_unlock(&sp->lock);
	return r;
}

void space_pending_clear(struct space *sp, u64 sector, u32 nr)
{
	struct space_group *g;
	u32 group, pos;

	if (space_locate(sp->geo, sector, nr, &group, &pos))
		return;
	g = &sp->group[group];
	mutex_lock(&sp->lock);
	if (g->pending) {
		g->nr_pending -= (u32)bitmap_weight(g->pending, pos, nr);
		bitmap_clear_range(g->pending, pos, nr);
		/* 32 KiB a group: not kept for groups that nobody writes to. */
		if (g->nr_pending == 0) {
			free(g->pending);
			g->pending = NULL;
		}
	}
	mutex_unlock(&sp->lock);
}
