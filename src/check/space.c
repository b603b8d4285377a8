/*
 * Pass 4: bitmaps, group table and sector map against the users that the trees named.
 *
 * Rules
 * 1. Bitmaps are held to be exact both ways. Marked free but in use is the dangerous way; marked
 *    used without a user is lost space. When a tree was incomplete the second proves nothing.
 * 2. A written entry of the sector map belongs to a sector of file data (rule 1 of the life of a
 *    sector: free or metadata implies entry 0).
 * 3. Free counts are held against the bitmap on the disk, not against the trees, so that one
 *    mistake is reported once.
 */
#include "check/check_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"

#define BITMAP_SECTOR_WORDS (FMT_BITS_PER_SECTOR / 64)

struct space_pass {
	struct check *c;
	u32 group;
	u64 start;              /* of the group */
	u32 len;
	const struct fmt_group *gd;
	u8 *buf;                /* a bitmap or map sector */
	u64 free;               /* of this group, by its bitmap */
	bool exact;             /* free is known */
	bool trees_complete;
};

void mark_group_metadata(struct check *c)
{
	for (u32 i = 0; i < c->geo.nr_groups; i++) {
		u64 start = fmt_group_start(&c->geo, i);

		bitmap_set_range(c->used, start, fmt_space_start(&c->geo, i) - start);
	}
}

/* ---- bitmaps ---- */

static struct fix group_fix(const struct space_pass *sp, enum fix_kind kind, u64 sector)
{
	return (struct fix){ .kind = kind, .a = sp->group, .sector = sector };
}

/* Runs of bits that differ, in sectors first + from .. */
static void report_run(struct space_pass *sp, u64 first, size_t from, size_t to, bool marked)
{
	u64 sector = first + from;

	if (marked && !sp->trees_complete)
		return;
	if (marked)
		report_fix(sp->c, CHECK_BITMAP_USED, group_fix(sp, FIX_GROUP_EXACT, sector),
			   "sectors %" PRIu64 "..%" PRIu64
			   " are marked used, but nothing uses them", sector, first + to - 1);
	else
		report_fix(sp->c, CHECK_BITMAP_FREE, group_fix(sp, FIX_GROUP_MARK, sector),
			   "sectors %" PRIu64 "..%" PRIu64 " are in use, but marked free", sector,
			   first + to - 1);
}

static void compare_bits(struct space_pass *sp, u64 first, u32 nr, const u64 *marked,
			 const u64 *used)
{
	u64 diff[BITMAP_SECTOR_WORDS];
	size_t from = 0;

	for (size_t i = 0; i < BITMAP_WORDS(nr); i++)
		diff[i] = marked[i] ^ used[i];
	while ((from = bitmap_next_set(diff, from, nr)) < nr) {
		size_t to = from + 1;
		bool what = bitmap_test(marked, from);

		while (to < nr && bitmap_test(diff, to) && bitmap_test(marked, to) == what)
			to++;
		report_run(sp, first, from, to, what);
		from = to;
	}
}

/* The bits of bitmap sector `index` as the disk has them. */
static int marked_bits(struct space_pass *sp, u32 index, u64 first, u32 nr, u64 *out)
{
	struct check *c = sp->c;
	const struct fmt_bitmap *b = (const void *)sp->buf;
	u64 addr = fmt_bitmap_sector(&c->geo, sp->group) + index;
	u64 own = fmt_space_start(&c->geo, sp->group);
	int r;

	memset(out, 0, BITMAP_SECTOR_WORDS * sizeof(*out));
	if (!(get64(sp->gd->bitmap_init) >> index & 1)) {
		if (own > first)
			bitmap_set_range(out, 0, MIN(own - first, (u64)nr));
		return 0;
	}
	r = reader_get(&c->rd, addr, FMT_KIND_BITMAP, sp->buf);
	if (!r && get64(b->hdr.owner) != sp->group)
		r = -EUCLEAN;
	if (r) {
		report_fix(c, r == -EIO ? CHECK_READ : CHECK_BITMAP,
			   group_fix(sp, FIX_GROUP_MARK, addr),
			   "bitmap sector %" PRIu64 " of group %" PRIu32 ": %s", addr, sp->group,
			   damage_text(r));
		return r;
	}
	for (size_t i = 0; i < BITMAP_SECTOR_WORDS; i++)
		out[i] = get64(b->bits[i]);
	if (nr < FMT_BITS_PER_SECTOR && !bitmap_all_set(out, nr, FMT_BITS_PER_SECTOR - nr))
		report_fix(c, CHECK_BITMAP, group_fix(sp, FIX_GROUP_MARK, addr),
			   "bitmap sector %" PRIu64 ": sectors beyond the group are marked free",
			   addr);
	return 0;
}

static void bitmap_sector(struct space_pass *sp, u32 index)
{
	u32 begin = index * FMT_BITS_PER_SECTOR;
	u32 nr = MIN(sp->len - begin, FMT_BITS_PER_SECTOR);
	u64 first = sp->start + begin;
	u64 marked[BITMAP_SECTOR_WORDS], used[BITMAP_SECTOR_WORDS];

	if (marked_bits(sp, index, first, nr, marked)) {
		sp->exact = false;
		return;
	}
	sp->free += nr - bitmap_weight(marked, 0, nr);
	memset(used, 0, sizeof(used));
	bitmap_copy_range(used, 0, sp->c->used, first, nr);
	if (nr % 64)
		marked[nr / 64] &= (1ull << (nr % 64)) - 1;
	compare_bits(sp, first, nr, marked, used);
}

static void group_bitmap(struct space_pass *sp)
{
	sp->free = 0;
	sp->exact = true;
	reader_ahead(&sp->c->rd, fmt_bitmap_sector(&sp->c->geo, sp->group),
		     get64(sp->gd->bitmap_init) ? sp->c->geo.bitmap_nr : 0);
	for (u32 i = 0; i < sp->c->geo.bitmap_nr && i * FMT_BITS_PER_SECTOR < sp->len; i++)
		bitmap_sector(sp, i);
	if (sp->exact && sp->free != get32(sp->gd->free))
		report_fix(sp->c, CHECK_GROUP_FREE,
			   group_fix(sp, FIX_GROUP_MARK, CHECK_NO_SECTOR),
			   "group %" PRIu32 ": says %" PRIu32 " free sectors, its bitmap %" PRIu64,
			   sp->group, get32(sp->gd->free), sp->free);
}

/* ---- sector map ---- */

static bool map_initialised(const struct space_pass *sp, u32 index)
{
	return get64(sp->gd->map_init[index / 64]) >> (index % 64) & 1;
}

static bool may_be_written(const struct space_pass *sp, u32 sector_in_group)
{
	return sector_in_group < sp->len && bitmap_test(sp->c->data, sp->start + sector_in_group);
}

/* A run of entries from `from` on that are written, but should not be; returns its last. */
static u32 map_wrong_run(struct space_pass *sp, u32 begin, u32 from, const struct fmt_map *m)
{
	u64 first = sp->start + begin + from;
	u32 i = from;

	while (i + 1 < FMT_MAP_PER_SECTOR && get32(m->entry[i + 1]) != FMT_MAP_UNWRITTEN &&
	       !may_be_written(sp, begin + i + 1))
		i++;
	report_fix(sp->c, CHECK_MAP_ENTRY,
		   (struct fix){ .kind = FIX_MAP_SET, .sector = first, .b = i + 1 - from,
				 .a = FMT_MAP_UNWRITTEN },
		   "sectors %" PRIu64 "..%" PRIu64 " are marked written, but hold no file data",
		   first, first + i - from);
	return i;
}

static void map_entries(struct space_pass *sp, u32 index, const struct fmt_map *m)
{
	u32 begin = index * FMT_MAP_PER_SECTOR;

	for (u32 i = 0; i < FMT_MAP_PER_SECTOR; i++) {
		u32 entry = get32(m->entry[i]);

		if (entry == FMT_MAP_UNWRITTEN)
			continue;
		if (!may_be_written(sp, begin + i)) {
			i = map_wrong_run(sp, begin, i, m);
			continue;
		}
		sp->c->res->written_sectors++;
		sp->c->res->bad_sectors += entry == FMT_MAP_BAD;
	}
}

static void map_sector(struct space_pass *sp, u32 index)
{
	struct check *c = sp->c;
	const struct fmt_map *m = (const void *)sp->buf;
	u64 addr = fmt_map_sector(&c->geo, sp->group) + index;
	int r = reader_get(&c->rd, addr, FMT_KIND_MAP, sp->buf);

	if (!r && get64(m->hdr.owner) != sp->group)
		r = -EUCLEAN;
	if (r) {
		report_fix(c, r == -EIO ? CHECK_READ : CHECK_MAP,
			   (struct fix){ .kind = FIX_MAP_REBUILD, .sector = addr, .a = sp->group,
					 .b = index },
			   "sector map at %" PRIu64 " of group %" PRIu32 ": %s", addr, sp->group,
			   damage_text(r));
		return;
	}
	/* Entries for data whose tree is unknown would all look wrong. */
	if (c->tree_complete[FMT_TREE_EXTENT])
		map_entries(sp, index, m);
}

static void group_map(struct space_pass *sp)
{
	u32 nr = sp->c->geo.map_nr, in_use = 0;

	for (u32 i = 0; i < nr; i++)
		in_use += map_initialised(sp, i);
	reader_ahead(&sp->c->rd, fmt_map_sector(&sp->c->geo, sp->group), in_use > 4 ? nr : 0);
	for (u32 i = 0; i < nr; i++) {
		if (map_initialised(sp, i))
			map_sector(sp, i);
	}
}

/* ---- groups ---- */

static bool gtable_load(struct check *c, u32 index, struct fmt_gtable *t)
{
	u64 addr = c->geo.gtable_sector + index;
	int r = reader_get(&c->rd, addr, FMT_KIND_GTABLE, t);

	if (r)
		report_fix(c, r == -EIO ? CHECK_READ : CHECK_GTABLE,
			   (struct fix){ .kind = FIX_GTABLE, .sector = addr },
			   "group table sector %" PRIu64 ": %s", addr, damage_text(r));
	return r == 0;
}

static void check_group(struct space_pass *sp, u32 group, const struct fmt_group *gd)
{
	sp->group = group;
	sp->gd = gd;
	sp->start = fmt_group_start(&sp->c->geo, group);
	sp->len = fmt_group_len(&sp->c->geo, group);
	group_bitmap(sp);
	group_map(sp);
}

static struct fix root_fix(const struct check *c, u32 off, u64 value)
{
	return (struct fix){ .kind = FIX_ROOT_SPACE, .sector = c->geo.root_sector, .off = off,
			     .a = value };
}

static void counters(struct check *c, u64 free_sectors, bool all_groups)
{
	u64 nodes = c->res->nodes * NODE_SECTORS;
	bool all_trees = true;

	for (int t = 0; t < FMT_NR_TREES; t++)
		all_trees = all_trees && c->tree_complete[t];
	if (all_groups && free_sectors != get64(c->root->free_sectors))
		report_fix(c, CHECK_COUNTERS,
			   root_fix(c, offsetof(struct fmt_root, free_sectors), free_sectors),
			   "root sector: says %" PRIu64 " free sectors, the groups %" PRIu64,
			   get64(c->root->free_sectors), free_sectors);
	if (all_trees && nodes != get64(c->root->node_sectors_used))
		report_fix(c, CHECK_COUNTERS,
			   root_fix(c, offsetof(struct fmt_root, node_sectors_used), nodes),
			   "root sector: says %" PRIu64 " node sectors, there are %" PRIu64,
			   get64(c->root->node_sectors_used), nodes);
}

static void check_groups(struct space_pass *sp, struct fmt_gtable *t)
{
	struct check *c = sp->c;
	u64 free_sectors = 0;
	bool all = true, loaded = false;

	for (u32 i = 0; i < c->geo.nr_groups && !check_stopped(c); i++) {
		const struct fmt_group *gd = &t->g[i % FMT_GROUPS_PER_SECTOR];

		if (i % FMT_GROUPS_PER_SECTOR == 0) {
			loaded = gtable_load(c, i / FMT_GROUPS_PER_SECTOR, t);
			all = all && loaded;
		}
		if (loaded) {
			free_sectors += get32(gd->free);
			check_group(sp, i, gd);
		}
		progress(c, 4, i + 1, c->geo.nr_groups);
	}
	if (!check_stopped(c))
		counters(c, free_sectors, all);
}

int check_space(struct check *c)
{
	struct space_pass sp = { .c = c, .trees_complete = true };
	struct fmt_gtable *t = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	sp.buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	for (int i = 0; i < FMT_NR_TREES; i++)
		sp.trees_complete = sp.trees_complete && c->tree_complete[i];
	if (t && sp.buf) {
		check_groups(&sp, t);
		c->res->used_sectors = bitmap_weight(c->used, 0, c->geo.nr_sectors);
	} else {
		c->err = -ENOMEM;
	}
	free(sp.buf);
	free(t);
	return c->err;
}
