/*
 * Nodes that nothing leads to any more, because what led to them is damaged.
 *
 * Rules
 * 1. They are looked for where space is marked used and has no user, and where that can't be told
 *    because a bitmap sector or the group table is damaged too. A freed node is marked free, so its
 *    remains do not come back to life.
 * 2. A node has the right checksum, address and file system, and its sectors have map entry 0:
 *    file data that looks like a node is not taken for one.
 * 3. Looked for only when something is missing: a damaged node above the leaves, the root sector,
 *    or nodes that an earlier round of this repair has cut off.
 */
#include "check/repair.h"

#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"

#define SCAN_NODES 64u          /* read at once */

struct scan {
	struct check *c;
	struct map_look map;
	struct fmt_gtable *gtable;
	bool gtable_known;
	struct fmt_bitmap *bitmap;
	u8 *nodes;              /* SCAN_NODES */
	u64 first;              /* node address of a run under way, 0 = none */
	u32 nr;
};

void lost_free(struct lost *l)
{
	free(l->n);
	*l = (struct lost){ 0 };
}

static int lost_add(struct lost *l, const struct lost_node *n)
{
	if (l->nr == l->max) {
		u64 max = l->max ? l->max * 2 : 64;
		void *p = realloc(l->n, max * sizeof(*l->n));

		if (!p)
			return -ENOMEM;
		l->n = p;
		l->max = max;
	}
	l->n[l->nr++] = *n;
	return 0;
}

static int addr_cmp(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = ((const struct lost_node *)b)->addr;

	return (x > y) - (x < y);
}

struct lost_node *lost_find(struct lost *l, u64 addr)
{
	return l->nr ? bsearch(&addr, l->n, l->nr, sizeof(*l->n), addr_cmp) : NULL;
}

/* ---- looking ---- */

static bool is_data(struct scan *s, u64 addr)
{
	for (u32 i = 0; i < NODE_SECTORS; i++)
		if (map_look(&s->map, addr + i) != FMT_MAP_UNWRITTEN)
			return true;
	return false;
}

static int probe(struct scan *s, const struct fmt_node *n, u64 addr)
{
	u32 nr = get16(n->nr), first;
	struct lost_node lost = { .addr = addr };

	if (fmt_buf_check(n, FMT_KIND_NODE, addr, &s->c->geo) || is_data(s, addr))
		return 0;
	/* An empty leaf is a whole tree, and an empty one. */
	if (nr == 0)
		return 0;
	lost.gen = get64(n->hdr.gen);
	lost.level = get16(n->level);
	lost.tree = (u8)get64(n->hdr.owner);
	lost.nr = (u16)nr;
	first = lost.level > 0 && nr > 1 ? 1 : 0;
	lost.lo = walk_node_key(n, first);
	lost.hi = walk_node_key(n, nr - 1);
	return lost_add(&s->c->lost, &lost);
}

static int flush_run(struct scan *s)
{
	int r;

	if (!s->nr)
		return 0;
	r = blk_read(s->c->dev, s->first, s->nodes, s->nr * NODE_SECTORS, BLK_META);
	for (u32 i = 0; !r && i < s->nr; i++)
		r = probe(s, (const void *)(s->nodes + (size_t)i * NODE_SIZE),
			  s->first + (u64)i * NODE_SECTORS);
	/* One by one, where the device fails. */
	for (u32 i = 0; r == -EIO && i < s->nr; i++) {
		u64 addr = s->first + (u64)i * NODE_SECTORS;

		if (!blk_read(s->c->dev, addr, s->nodes, NODE_SECTORS, BLK_META) &&
		    probe(s, (const void *)s->nodes, addr))
			return -ENOMEM;
	}
	s->nr = 0;
	return r == -EIO ? 0 : r;
}

static int candidate(struct scan *s, u64 addr)
{
	int r = 0;

	if (s->nr && (s->nr == SCAN_NODES || addr != s->first + (u64)s->nr * NODE_SECTORS))
		r = flush_run(s);
	if (!s->nr)
		s->first = addr;
	s->nr++;
	return r;
}

/* The bits of a bitmap sector, all of them set when they are not known. */
static void marked_bits(struct scan *s, u32 group, u32 index, u64 *out)
{
	const struct fmt_group *gd = &s->gtable->g[group % FMT_GROUPS_PER_SECTOR];
	u64 addr = fmt_bitmap_sector(&s->c->geo, group) + index;

	memset(out, 0xff, FMT_BITS_PER_SECTOR / 8);
	if (!s->gtable_known)
		return;
	if (!(get64(gd->bitmap_init) >> index & 1)) {
		memset(out, 0, FMT_BITS_PER_SECTOR / 8);
		return;
	}
	if (reader_get(&s->c->rd, addr, FMT_KIND_BITMAP, s->bitmap))
		return;
	for (size_t i = 0; i < FMT_BITS_PER_SECTOR / 64; i++)
		out[i] = get64(s->bitmap->bits[i]);
}

static int scan_bits(struct scan *s, u64 first, u32 nr, const u64 *marked)
{
	u64 end = first + nr;
	int r = 0;

	for (u64 at = ALIGN_UP(first, NODE_SECTORS); at + NODE_SECTORS <= end && !r;
	     at += NODE_SECTORS)
		if (bitmap_all_set(marked, at - first, NODE_SECTORS) &&
		    bitmap_all_clear(s->c->used, at, NODE_SECTORS))
			r = candidate(s, at);
	return r ? r : flush_run(s);
}

static int scan_group(struct scan *s, u32 group)
{
	const struct fmt_geo *g = &s->c->geo;
	u64 marked[FMT_BITS_PER_SECTOR / 64];
	u32 len = fmt_group_len(g, group);
	int r = 0;

	if (group % FMT_GROUPS_PER_SECTOR == 0)
		s->gtable_known = reader_get(&s->c->rd,
					     g->gtable_sector + group / FMT_GROUPS_PER_SECTOR,
					     FMT_KIND_GTABLE, s->gtable) == 0;
	for (u32 i = 0; i * FMT_BITS_PER_SECTOR < len && !r; i++) {
		u32 begin = i * FMT_BITS_PER_SECTOR;

		marked_bits(s, group, i, marked);
		r = scan_bits(s, fmt_group_start(g, group) + begin,
			      MIN(len - begin, FMT_BITS_PER_SECTOR), marked);
	}
	return r;
}

/* ---- who leads to whom ---- */

static int mark_children(struct check *c, const struct lost_node *n, struct fmt_node *buf)
{
	if (n->level == 0 || reader_get(&c->rd, n->addr, FMT_KIND_NODE, buf))
		return 0;
	for (u32 i = 0; i < get16(buf->nr); i++) {
		struct lost_node *child = lost_find(&c->lost, get64(buf->child[i].child));

		if (child && child->tree == n->tree && child->level + 1 == n->level)
			child->child = true;
	}
	return 0;
}

/* The key of child 0 says nothing: the lowest key is that of the leaf at the end. */
static void find_low_key(struct check *c, struct lost_node *n, struct fmt_node *buf)
{
	struct lost_node *at = n;

	while (at->level > 0) {
		u32 below = at->level - 1u;

		if (reader_get(&c->rd, at->addr, FMT_KIND_NODE, buf))
			return;
		at = lost_find(&c->lost, get64(buf->child[0].child));
		if (!at || at->level != below)
			return;
	}
	n->lo = at->lo;
}

static int relate(struct check *c)
{
	struct fmt_node *buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);

	if (!buf)
		return -ENOMEM;
	for (u64 i = 0; i < c->lost.nr; i++)
		mark_children(c, &c->lost.n[i], buf);
	for (u64 i = 0; i < c->lost.nr; i++)
		find_low_key(c, &c->lost.n[i], buf);
	free(buf);
	return 0;
}

static bool something_missing(const struct check *c)
{
	if (!c->root_known || (c->repair && c->repair->nr_cut))
		return true;
	for (u32 i = 0; i < c->findings->nr; i++) {
		const struct fix *f = &c->findings->f[i].fix;

		if (f->kind == FIX_NODE && f->place.level > 0)
			return true;
	}
	return false;
}

/* Leaves in ranges that were cut off in an earlier round: their items are put in again. */
static void salvage(struct check *c)
{
	for (u64 i = 0; c->repair && i < c->lost.nr; i++) {
		const struct lost_node *n = &c->lost.n[i];

		if (n->level == 0 && !n->child && repair_was_cut(c->repair, n) &&
		    !repair_was_salvaged(c->repair, n->addr))
			report_fix(c, CHECK_NODE,
				   (struct fix){ .kind = FIX_SALVAGE, .sector = n->addr,
						 .tree = (enum fmt_tree)n->tree },
				   "%s tree: nothing leads to the leaf at sector %llu",
				   fmt_tree_name((enum fmt_tree)n->tree),
				   (unsigned long long)n->addr);
	}
}

int lost_scan(struct check *c)
{
	struct scan s = { .c = c };
	int r;

	if (!something_missing(c))
		return 0;
	r = map_look_init(&s.map, &c->rd);
	s.gtable = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	s.bitmap = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	s.nodes = aligned_alloc(SECTOR_SIZE, (size_t)SCAN_NODES * NODE_SIZE);
	if (!s.gtable || !s.bitmap || !s.nodes)
		r = -ENOMEM;
	for (u32 g = 0; g < c->geo.nr_groups && !r; g++)
		r = scan_group(&s, g);
	if (!r)
		r = relate(c);
	if (!r)
		salvage(c);
	free(s.nodes);
	free(s.bitmap);
	free(s.gtable);
	map_look_fini(&s.map);
	return r;
}
