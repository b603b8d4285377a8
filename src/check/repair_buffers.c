/*
 * Repairs of single buffers: superblocks, root sector, group table, bitmaps, sector map.
 *
 * Rules
 * 1. A flipped bit first: the checksum of a buffer has 64 bits, so the one bit whose change makes
 *    it right is the one that was flipped. Only buffers whose header is right but for one bit are
 *    searched, and not more than GUESSES_MAX of them: a search costs up to 0.2 s.
 * 2. A buffer that is made anew gets its content from the trees that were walked, never from what
 *    the damaged one holds.
 */
#include "check/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/hash.h"

#define GUESSES_MAX 256u
#define CREDITS 24u             /* the bitmap sectors of a group, group table, root sector */
#define BITMAP_BITS_WORDS (FMT_BITS_PER_SECTOR / 64)

/* ---- a flipped bit ---- */

static u32 wrong_bits(u64 a, u64 b)
{
	return (u32)__builtin_popcountll(a ^ b);
}

/* Is the header, as far as it is known beforehand, right but for one bit? */
static bool worth_a_guess(const struct fmt_hdr *h, enum fmt_kind k, u64 addr, u64 fsid)
{
	return wrong_bits(get32(h->magic), FMT_HDR_MAGIC) + wrong_bits(get16(h->kind), k) +
	       wrong_bits(get16(h->version), FMT_VERSION) + wrong_bits(get64(h->addr), addr) +
	       wrong_bits(get64(h->fsid), fsid) <= 1;
}

/* Flips each bit in turn; true with the right one flipped. */
static bool find_flip(u8 *buf, u32 len)
{
	struct fmt_hdr *h = (void *)buf;
	u64 want = get64(h->csum), is;

	h->csum = put64(0);
	is = hash64(buf, len);
	if (wrong_bits(is, want) == 1) {
		h->csum = put64(is);
		return true;
	}
	for (u32 i = 0; i < len; i++) {
		if (i >= offsetof(struct fmt_hdr, csum) && i < offsetof(struct fmt_hdr, addr))
			continue;
		for (u32 bit = 0; bit < 8; bit++) {
			buf[i] ^= (u8)(1u << bit);
			if (hash64(buf, len) == want) {
				h->csum = put64(want);
				return true;
			}
			buf[i] ^= (u8)(1u << bit);
		}
	}
	return false;
}

struct put_arg {
	u64 addr, owner;
	enum fmt_kind kind;
	const void *content;
};

static int put_body(struct view *v, void *arg)
{
	const struct put_arg *a = arg;
	size_t len = fmt_kind_sectors(a->kind) * SECTOR_SIZE, skip = sizeof(struct fmt_hdr);
	void *buf;
	int r = view_new(v, a->addr, a->kind, a->owner, &buf);

	if (!r)
		memcpy((u8 *)buf + skip, (const u8 *)a->content + skip, len - skip);
	return r;
}

int repair_put(struct repair *rp, u64 addr, enum fmt_kind k, u64 owner, const void *content)
{
	struct put_arg a = { addr, owner, k, content };

	return jnl_run(rp->jnl, 1, put_body, &a, NULL);
}

int repair_flipped_bit(struct repair *rp, u64 addr, enum fmt_kind k, bool *found)
{
	const struct fmt_geo *g = &rp->c->geo;
	u32 nr = fmt_kind_sectors(k);
	u8 *buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	const struct fmt_hdr *h = (void *)buf;
	int r = 0;

	*found = false;
	if (!buf)
		return -ENOMEM;
	if (!blk_read(rp->dev, addr, buf, nr, BLK_META) && rp->guesses < GUESSES_MAX &&
	    worth_a_guess(h, k, addr, g->fsid)) {
		rp->guesses++;
		*found = find_flip(buf, nr * SECTOR_SIZE) && !fmt_buf_check(buf, k, addr, g);
	}
	if (*found)
		r = repair_put(rp, addr, k, get64(h->owner), buf);
	if (*found)
		snprintf(rp->outcome, sizeof(rp->outcome), "one bit was flipped; put right");
	free(buf);
	return r;
}

/* 1: it was one bit; 0: it was not, and the buffer may be made anew; -errno. */
static int one_bit(struct repair *rp, u64 addr, enum fmt_kind k)
{
	bool found;
	int r = repair_flipped_bit(rp, addr, k, &found);

	if (r || found)
		return r ? r : 1;
	return rp->opts->safe_only ? -EPERM : 0;
}

/* ---- superblocks: in place ---- */

int fix_super(struct repair *rp, const struct fix *f)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	int r;

	if (!buf)
		return -ENOMEM;
	/* What stands before it in its sector belongs to boot code. */
	if (blk_read(rp->dev, f->sector, buf, 1, BLK_META))
		memset(buf, 0, SECTOR_SIZE);
	fmt_super_encode(&rp->c->geo, (u8)f->a, (void *)(buf + FMT_SUPER_OFFSET));
	r = blk_write(rp->dev, f->sector, buf, 1, BLK_META);
	if (!r)
		r = blk_flush(rp->dev);
	free(buf);
	return r;
}

/* ---- root sector ---- */

/* The node that the tree began with: nothing leads to it, and it is the highest. */
static const struct lost_node *best_root(struct repair *rp, enum fmt_tree t, u32 *nr)
{
	const struct lost *l = &rp->c->lost;
	const struct lost_node *best = NULL;

	*nr = 0;
	for (u64 i = 0; i < l->nr; i++) {
		const struct lost_node *n = &l->n[i];

		if (n->tree != t || n->child)
			continue;
		*nr += 1;
		if (!best || n->level > best->level ||
		    (n->level == best->level && n->gen > best->gen))
			best = n;
	}
	return best;
}

int fix_root(struct repair *rp, const struct fix *f)
{
	const struct walk_range all = { .bounded = false };
	struct fmt_root *root;
	int r = one_bit(rp, f->sector, FMT_KIND_ROOT);

	if (r)
		return MIN(r, 0);
	root = calloc(1, sizeof(*root));
	if (!root)
		return -ENOMEM;
	for (int t = 0; t < FMT_NR_TREES; t++) {
		u32 nr;
		const struct lost_node *n = best_root(rp, (enum fmt_tree)t, &nr);

		if (!n)
			continue;
		root->tree[t].root = put64(n->addr);
		root->tree[t].height = put32(n->level + 1u);
		if (nr > 1)
			repair_cut_note(rp, (enum fmt_tree)t, &all);
	}
	/* The counters follow when the trees were walked. */
	root->next_ino = put64(FMT_ROOT_INO + 1);
	fmt_super_encode(&rp->c->geo, FMT_SUPER_COPY_ROOT, &root->super);
	r = repair_put(rp, f->sector, FMT_KIND_ROOT, 0, root);
	free(root);
	return r;
}

static int root_super_body(struct view *v, void *arg)
{
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	(void)arg;
	if (!r)
		fmt_super_encode(view_geo(v), FMT_SUPER_COPY_ROOT,
				 &((struct fmt_root *)buf)->super);
	return r;
}

int fix_root_super(struct repair *rp, const struct fix *f)
{
	(void)f;
	return jnl_run(rp->jnl, 1, root_super_body, NULL, NULL);
}

static int root_field_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	le64 value = put64(f->a);
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	if (!r)
		memcpy((u8 *)buf + f->off, &value, sizeof(value));
	return r;
}

int fix_root_field(struct repair *rp, const struct fix *f)
{
	return jnl_run(rp->jnl, 1, root_field_body, (void *)(uintptr_t)f, NULL);
}

/* ---- group table ---- */

/* A sector that was initialised is one that has the right header. */
static bool looks_initialised(struct repair *rp, u64 addr, enum fmt_kind k, u32 group, u8 *buf)
{
	return !blk_read(rp->dev, addr, buf, 1, BLK_META) &&
	       !fmt_buf_check(buf, k, addr, &rp->c->geo) &&
	       get64(((const struct fmt_hdr *)buf)->owner) == group;
}

static void rebuild_group(struct repair *rp, u32 group, struct fmt_group *gd, u8 *buf)
{
	const struct fmt_geo *g = &rp->c->geo;
	u64 bitmap = 0, map[ARRAY_LEN(gd->map_init)] = { 0 };

	for (u32 i = 0; i < g->bitmap_nr; i++)
		if (looks_initialised(rp, fmt_bitmap_sector(g, group) + i, FMT_KIND_BITMAP, group,
				      buf))
			bitmap |= 1ull << i;
	for (u32 i = 0; i < g->map_nr; i++)
		if (looks_initialised(rp, fmt_map_sector(g, group) + i, FMT_KIND_MAP, group, buf))
			map[i / 64] |= 1ull << (i % 64);
	gd->bitmap_init = put64(bitmap);
	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		gd->map_init[i] = put64(map[i]);
}

int fix_gtable(struct repair *rp, const struct fix *f)
{
	u32 first = (u32)(f->sector - rp->c->geo.gtable_sector) * FMT_GROUPS_PER_SECTOR;
	struct fmt_gtable *t;
	u8 *buf;
	int r = one_bit(rp, f->sector, FMT_KIND_GTABLE);

	if (r)
		return MIN(r, 0);
	t = calloc(1, sizeof(*t));
	buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	for (u32 i = 0; t && buf && i < FMT_GROUPS_PER_SECTOR; i++)
		if (first + i < rp->c->geo.nr_groups)
			rebuild_group(rp, first + i, &t->g[i], buf);
	/* Free counts follow from the bitmaps in the next round. */
	r = t && buf ? repair_put(rp, f->sector, FMT_KIND_GTABLE, 0, t) : -ENOMEM;
	free(buf);
	free(t);
	return r;
}

/* ---- bitmaps of a group, its free count, and the sum of them ---- */

struct group_arg {
	const struct check *c;
	u32 group;
	bool exact;             /* else only what is in use is marked, nothing is freed */
	bool whole;             /* all trees are known */
	u64 free;
};

/* 1: *out is the buffer; 0: there is none and none is needed; -errno. */
static int bitmap_buffer(struct view *v, struct group_arg *a, struct fmt_group *gd, u32 index,
			 bool needed, struct fmt_bitmap **out, bool *fresh)
{
	u64 addr = fmt_bitmap_sector(view_geo(v), a->group) + index;
	void *buf;
	int r = -ENODATA;

	*fresh = false;
	if (get64(gd->bitmap_init) >> index & 1)
		r = view_edit(v, addr, FMT_KIND_BITMAP, &buf);
	else if (!needed)
		return 0;
	if (r == -EAGAIN || r == -ENOMEM)
		return r;
	if (r || get64(((struct fmt_bitmap *)buf)->hdr.owner) != a->group) {
		*fresh = true;
		r = view_new(v, addr, FMT_KIND_BITMAP, a->group, &buf);
		gd->bitmap_init = put64(get64(gd->bitmap_init) | 1ull << index);
	}
	*out = buf;
	return r ? r : 1;
}

/* What nobody can tell is in use: it may be what a tree that is not known has. */
static u64 new_word(const struct group_arg *a, bool known, u64 old, u64 used)
{
	if (a->exact && a->whole)
		return used;
	if (known)
		return old | used;
	return a->whole ? used : ~0ull;
}

static int bitmap_sector(struct view *v, struct group_arg *a, struct fmt_group *gd, u32 index)
{
	const struct fmt_geo *g = view_geo(v);
	u32 begin = index * FMT_BITS_PER_SECTOR, len = fmt_group_len(g, a->group);
	u32 nr = MIN(len - begin, FMT_BITS_PER_SECTOR);
	u64 start = fmt_group_start(g, a->group), own = fmt_space_start(g, a->group);
	u64 first = start + begin;
	u64 used[BITMAP_BITS_WORDS];
	struct fmt_bitmap *b = NULL;
	u64 none_from = MAX(own, first);
	bool fresh, needed = none_from < first + nr &&
		!bitmap_all_clear(a->c->used, none_from, first + nr - none_from);
	int r = bitmap_buffer(v, a, gd, index, needed, &b, &fresh);

	if (r < 0)
		return r;
	if (r == 0) {
		a->free += first + nr - MIN(none_from, first + nr);
		return 0;
	}
	memset(used, 0xff, sizeof(used));
	bitmap_copy_range(used, 0, a->c->used, first, nr);
	for (u32 i = 0; i < BITMAP_BITS_WORDS; i++) {
		u64 word = new_word(a, !fresh, get64(b->bits[i]), used[i]);

		b->bits[i] = put64(word);
		used[i] = word;
	}
	a->free += nr - bitmap_weight(used, 0, nr);
	return 0;
}

static int group_body(struct view *v, void *arg)
{
	struct group_arg *a = arg;
	const struct fmt_geo *g = view_geo(v);
	struct fmt_group *gd;
	struct fmt_root *root;
	void *buf;
	int r = view_edit(v, g->root_sector, FMT_KIND_ROOT, &buf);

	root = buf;
	if (!r)
		r = view_edit(v, g->gtable_sector + a->group / FMT_GROUPS_PER_SECTOR,
			      FMT_KIND_GTABLE, &buf);
	if (r)
		return r;
	gd = &((struct fmt_gtable *)buf)->g[a->group % FMT_GROUPS_PER_SECTOR];
	a->free = 0;
	for (u32 i = 0; i * FMT_BITS_PER_SECTOR < fmt_group_len(g, a->group) && !r; i++)
		r = bitmap_sector(v, a, gd, i);
	if (r)
		return r;
	root->free_sectors = put64(get64(root->free_sectors) + a->free - get32(gd->free));
	gd->free = put32((u32)a->free);
	return 0;
}

int fix_group(struct repair *rp, const struct fix *f)
{
	struct group_arg a = { .c = rp->c, .group = (u32)f->a, .exact = f->kind == FIX_GROUP_EXACT,
			       .whole = true };

	for (int t = 0; t < FMT_NR_TREES; t++)
		a.whole = a.whole && rp->c->tree_complete[t];
	return jnl_run(rp->jnl, CREDITS, group_body, &a, NULL);
}

/* ---- sector map ---- */

/*
 * The checksums are gone: what is there now is taken as it is and summed again. Sectors of zeroes
 * read the same unwritten, and what lies beyond the end of its file was most likely never written.
 */
static u32 new_entry(struct repair *rp, u64 sector, u8 *buf)
{
	const struct check *c = rp->c;

	if (!bitmap_test(c->data, sector) || bitmap_test(c->past_end, sector))
		return FMT_MAP_UNWRITTEN;
	if (blk_read(rp->dev, sector, buf, 1, BLK_DATA))
		return FMT_MAP_BAD;
	for (u32 i = 0; i < SECTOR_SIZE; i++)
		if (buf[i])
			return fmt_map_csum(buf);
	return FMT_MAP_UNWRITTEN;
}

int fix_map_rebuild(struct repair *rp, const struct fix *f)
{
	const struct fmt_geo *g = &rp->c->geo;
	u32 begin = (u32)f->b * FMT_MAP_PER_SECTOR, len = fmt_group_len(g, (u32)f->a), nr = 0;
	struct fmt_map *m;
	u8 *buf;
	int r = one_bit(rp, f->sector, FMT_KIND_MAP);

	if (r)
		return MIN(r, 0);
	m = calloc(1, sizeof(*m));
	buf = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	for (u32 i = 0; m && buf && i < FMT_MAP_PER_SECTOR && begin + i < len; i++) {
		u32 entry = new_entry(rp, fmt_group_start(g, (u32)f->a) + begin + i, buf);

		m->entry[i] = put32(entry);
		nr += entry != FMT_MAP_UNWRITTEN;
	}
	snprintf(rp->outcome, sizeof(rp->outcome),
		 "rebuilt; %u sectors of data could not be verified and were summed again", nr);
	r = m && buf ? repair_put(rp, f->sector, FMT_KIND_MAP, f->a, m) : -ENOMEM;
	free(buf);
	free(m);
	return r;
}

static int map_set_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	const struct fmt_geo *g = view_geo(v);
	u32 group = fmt_group_of(g, f->sector);
	u32 pos = (u32)(f->sector - fmt_group_start(g, group));
	void *buf;
	int r = view_edit(v, fmt_map_sector(g, group) + pos / FMT_MAP_PER_SECTOR, FMT_KIND_MAP,
			  &buf);

	for (u64 i = 0; !r && i < f->b; i++)
		((struct fmt_map *)buf)->entry[pos % FMT_MAP_PER_SECTOR + i] = put32((u32)f->a);
	return r;
}

int fix_map_set(struct repair *rp, const struct fix *f)
{
	return jnl_run(rp->jnl, 1, map_set_body, (void *)(uintptr_t)f, NULL);
}
