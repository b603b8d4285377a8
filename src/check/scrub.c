/*
 * See scrub.h.
 *
 * Rules
 * 1. The disk is read past the cache; which buffers and extents there are is asked of the published
 *    state, in bounded bodies, so nothing is held up.
 * 2. A copy on the disk that is wrong is damage only if it stays so: a buffer that the journal has
 *    newer is looked at again after a checkpoint, data after the file was synced, and only while
 *    the trees still say that it is in use there.
 */
#include "check/scrub.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/time.h"
#include "fs/btree.h"
#include "fs/space.h"

#define EXTENTS_AT_ONCE 32u
#define CHUNK 128u                      /* sectors */
#define TRIES 4u
#define SLICE_NS (50 * NS_PER_MS)
#define NAMES_AT_ONCE 500u
#define DEPTH_MAX 64u

struct scrub {
	struct fs *fs;
	struct jnl *jnl;
	const struct fmt_geo *geo;
	const struct scrub_opts *o;
	struct scrub_state *st;
	struct blk_dev *dev;
	u64 begin;
	u8 *buf;                        /* CHUNK sectors */
	u8 *node[FMT_HEIGHT_MAX];       /* copies on the way down */
};

/* ---- pace ---- */

static bool stopped(struct scrub *s)
{
	return s->o->stop && s->o->stop(s->o->arg);
}

static int pace(struct scrub *s, u64 *done, u32 nr)
{
	u64 bytes, due;

	__atomic_add_fetch(done, nr, __ATOMIC_RELAXED);
	bytes = (s->st->meta_done + s->st->data_done) * SECTOR_SIZE;
	due = s->o->rate ? s->begin + (u64)((double)bytes * 1e9 / (double)s->o->rate) : 0;
	while (!stopped(s) && now_ns() < due)
		sleep_ns(MIN((u64)SLICE_NS, due - MIN(due, now_ns()) + 1));
	return stopped(s) ? -EINTR : 0;
}

static void damaged(struct scrub *s, u64 *count, const char *text)
{
	__atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
	if (s->o->damage)
		s->o->damage(s->o->arg, text);
}

/* ---- metadata ---- */

/* *why: what is wrong with the content, if that is it. */
static int verify_once(struct scrub *s, u64 addr, enum fmt_kind k, enum why *why)
{
	int r = blk_read(s->dev, addr, s->buf, fmt_kind_sectors(k), BLK_META);

	*why = r ? WHY_NONE : fmt_buf_why(s->buf, k, addr, s->geo);
	return r ? r : why_errno(*why);
}

static int verify(struct scrub *s, u64 addr, enum fmt_kind k)
{
	enum why why = WHY_NONE;
	char text[160];
	int r = 0;

	for (u32 i = 0; i < TRIES; i++) {
		r = verify_once(s, addr, k, &why);
		if (!r || r == -ENOMEM)
			break;
		/* The disk need not be right where the log has something newer. */
		if (jnl_is_changed(s->jnl, addr))
			jnl_checkpoint_all(s->jnl);
		sleep_ns(NS_PER_MS);
	}
	if (r && r != -ENOMEM && !jnl_is_changed(s->jnl, addr)) {
		if (why)
			corrupt(why, CORRUPT_NO_INO, addr);
		snprintf(text, sizeof(text), "%s at sector %" PRIu64 ": %s", fmt_kind_name(k), addr,
			 r == -EBADMSG ? "wrong checksum" : r == -EUCLEAN ? "damaged"
									 : err_text(r));
		damaged(s, &s->st->meta_errors, text);
	}
	return pace(s, &s->st->meta_done, fmt_kind_sectors(k));
}

static int supers(struct scrub *s)
{
	char text[120];
	int r = 0;

	for (u32 i = 0; i < s->geo->nr_groups && !r; i++) {
		u64 at = fmt_group_start(s->geo, i);
		enum why why = WHY_NONE;
		struct fmt_geo g;

		if (i > 0 && !fmt_group_has_copy(i))
			continue;
		r = blk_read(s->dev, at, s->buf, 1, BLK_META);
		if (!r)
			why = fmt_super_why((const void *)(s->buf + FMT_SUPER_OFFSET), &g);
		if (why)
			corrupt(why, CORRUPT_NO_INO, at);
		if (r || why) {
			snprintf(text, sizeof(text), "superblock at sector %" PRIu64 ": damaged",
				 at);
			damaged(s, &s->st->meta_errors, text);
		}
		r = pace(s, &s->st->meta_done, 1);
	}
	return r;
}

/* The published content; damaged metadata is found by verify(). */
static int published(struct scrub *s, u64 addr, enum fmt_kind k, void *to)
{
	return jnl_copy(s->jnl, addr, k, to);
}

static int group_parts(struct scrub *s, u32 group, const struct fmt_group *gd)
{
	int r = 0;

	for (u32 i = 0; i < s->geo->bitmap_nr && !r; i++)
		if (get64(gd->bitmap_init) >> i & 1)
			r = verify(s, fmt_bitmap_sector(s->geo, group) + i, FMT_KIND_BITMAP);
	for (u32 i = 0; i < s->geo->map_nr && !r; i++)
		if (get64(gd->map_init[i / 64]) >> (i % 64) & 1)
			r = verify(s, fmt_map_sector(s->geo, group) + i, FMT_KIND_MAP);
	return r;
}

static int groups(struct scrub *s)
{
	struct fmt_gtable *t = (void *)s->node[0];
	int r = 0;

	for (u32 i = 0; i < s->geo->nr_groups && !r; i++) {
		u64 addr = s->geo->gtable_sector + i / FMT_GROUPS_PER_SECTOR;

		if (i % FMT_GROUPS_PER_SECTOR == 0)
			r = verify(s, addr, FMT_KIND_GTABLE);
		/* Initialised ones only grow in number: an old copy serves. */
		if (!r && i % FMT_GROUPS_PER_SECTOR == 0 &&
		    published(s, addr, FMT_KIND_GTABLE, t))
			memset(t, 0, sizeof(*t));
		if (!r)
			r = group_parts(s, i, &t->g[i % FMT_GROUPS_PER_SECTOR]);
	}
	return r;
}

/* A node that is another's by now was freed meanwhile. */
static int node(struct scrub *s, enum fmt_tree t, u64 addr, u32 level)
{
	struct fmt_node *n = (void *)s->node[level];
	int r = published(s, addr, FMT_KIND_NODE, n);

	if (r == -ENOMEM || r == -EIO)
		return r == -ENOMEM ? r : verify(s, addr, FMT_KIND_NODE);
	if (!r && (get64(n->hdr.owner) != (u64)t || get16(n->level) != level))
		return 0;
	if (verify(s, addr, FMT_KIND_NODE))
		return -EINTR;
	if (r || level == 0)
		return 0;
	for (u32 i = 0; i < get16(n->nr); i++) {
		r = node(s, t, get64(n->child[i].child), level - 1);
		if (r)
			return r;
	}
	return 0;
}

static int trees(struct scrub *s)
{
	struct fmt_root *root = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	int r = root ? verify(s, s->geo->root_sector, FMT_KIND_ROOT) : -ENOMEM;

	if (!r)
		r = published(s, s->geo->root_sector, FMT_KIND_ROOT, root);
	for (int t = 0; t < FMT_NR_TREES && !r; t++) {
		u32 height = get32(root->tree[t].height);

		if (height > 0 && height <= FMT_HEIGHT_MAX)
			r = node(s, (enum fmt_tree)t, get64(root->tree[t].root), height - 1);
	}
	free(root);
	return r;
}

/* ---- data ---- */

struct extents {
	struct fmt_key from;            /* in: the next key */
	u32 nr;
	struct { u64 ino, sector, disk; u32 nr; } e[EXTENTS_AT_ONCE];
};

static int extents_body(struct view *v, void *arg)
{
	struct extents *x = arg;
	struct fmt_key k = x->from;

	x->nr = 0;
	while (x->nr < EXTENTS_AT_ONCE) {
		const struct fmt_extent *e;
		const void *val;
		u32 len;
		int r = btree_next(v, FMT_TREE_EXTENT, &k, &val, &len);

		if (r)
			return r == -ENOENT ? 0 : r;
		e = val;
		x->e[x->nr].ino = k.a;
		x->e[x->nr].sector = k.b;
		x->e[x->nr].disk = get64(e->disk);
		x->e[x->nr++].nr = get32(e->nr);
		k.b++;
	}
	return 0;
}

struct where { u64 ino, sector, disk; bool still; };

static int where_body(struct view *v, void *arg)
{
	struct where *w = arg;
	struct fmt_key k = { w->ino, w->sector };
	const struct fmt_extent *e;
	const void *val;
	u32 len;
	int r = btree_prev(v, FMT_TREE_EXTENT, &k, &val, &len);

	w->still = false;
	if (r)
		return r == -ENOENT ? 0 : r;
	e = val;
	w->still = k.a == w->ino && w->sector - k.b < get32(e->nr) &&
		   get64(e->disk) + (w->sector - k.b) == w->disk;
	return 0;
}

static bool sector_right(struct scrub *s, u64 disk, u32 entry, const void *data)
{
	(void)s;
	(void)disk;
	return entry < FMT_MAP_CSUM_MIN || fmt_map_csum(data) == entry;
}

static void sync_file(struct scrub *s, u64 ino)
{
	struct inode *ip;

	if (fs_iget(s->fs, ino, &ip) == 0) {
		fs_fsync(ip, false);
		fs_iput(ip);
	}
	jnl_checkpoint_all(s->jnl);
	sleep_ns(NS_PER_MS);
}

/* It was wrong once. Damage is what stays wrong with nothing under way. */
static int look_again(struct scrub *s, u64 ino, u64 sector, u64 disk)
{
	struct where w = { ino, sector, disk, true };
	u8 *data = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	char path[1024], text[1200];
	u32 entry = 0;
	int r = data ? 0 : -ENOMEM, err = 0;

	for (u32 i = 0; i < TRIES && !r; i++) {
		sync_file(s, ino);
		r = jnl_read(s->jnl, where_body, &w);
		if (!r && w.still)
			r = space_map_read(fs_space(s->fs), disk, 1, &entry);
		if (r || !w.still)
			break;
		err = blk_read(s->dev, disk, data, 1, BLK_DATA);
		if (entry == FMT_MAP_UNWRITTEN || (!err && sector_right(s, disk, entry, data)))
			break;
		if (i + 1 < TRIES)
			continue;
		if (!err)
			corrupt_data(WHY_DATA_SCRUB, ino, sector, disk);
		scrub_path(s->fs, ino, path, sizeof(path));
		snprintf(text, sizeof(text), "%s: file sector %" PRIu64 ", disk sector %" PRIu64
			 ": %s", path, sector, disk, err ? err_text(err) : "wrong checksum");
		damaged(s, &s->st->data_errors, text);
	}
	free(data);
	return r;
}

static int chunk(struct scrub *s, u64 ino, u64 sector, u64 disk, u32 nr)
{
	u32 entry[CHUNK], written = 0;
	int r = space_map_read(fs_space(s->fs), disk, nr, entry), err = 0;

	if (r)
		return r == -ENOMEM ? r : 0;    /* a damaged map sector: found as metadata */
	for (u32 i = 0; i < nr; i++)
		written += entry[i] != FMT_MAP_UNWRITTEN;
	if (written)
		err = blk_read(s->dev, disk, s->buf, nr, BLK_DATA);
	for (u32 i = 0; i < nr && !r; i++) {
		if (entry[i] == FMT_MAP_UNWRITTEN || entry[i] == FMT_MAP_BAD)
			continue;
		if (err || !sector_right(s, disk + i, entry[i],
					 s->buf + (size_t)i * SECTOR_SIZE))
			r = look_again(s, ino, sector + i, disk + i);
	}
	return r ? r : pace(s, &s->st->data_done, written);
}

static int data(struct scrub *s)
{
	struct extents x = { 0 };
	int r;

	do {
		r = jnl_read(s->jnl, extents_body, &x);
		for (u32 i = 0; i < x.nr && !r; i++) {
			for (u32 at = 0; at < x.e[i].nr && !r; at += CHUNK)
				r = chunk(s, x.e[i].ino, x.e[i].sector + at, x.e[i].disk + at,
					  MIN(x.e[i].nr - at, CHUNK));
			x.from = (struct fmt_key){ x.e[i].ino, x.e[i].sector + 1 };
		}
	} while (!r && x.nr == EXTENTS_AT_ONCE);
	/* A damaged node ends the walk; it was reported with the metadata. */
	return r == -EUCLEAN || r == -EBADMSG || r == -EIO ? 0 : r;
}

/* ---- paths ---- */

struct name_of {
	u64 ino;
	struct fmt_key from;
	bool found, end;
	u64 dir;
	char name[FMT_NAME_MAX + 1];
};

static int name_body(struct view *v, void *arg)
{
	struct name_of *n = arg;
	struct fmt_key k = n->from;

	n->found = n->end = false;
	for (u32 i = 0; i < NAMES_AT_ONCE; i++) {
		const struct fmt_dirent *d;
		const void *val;
		u32 len;
		int r = btree_next(v, FMT_TREE_DIRENT, &k, &val, &len);

		n->end = r == -ENOENT;
		if (r)
			return n->end ? 0 : r;
		d = val;
		if (get64(d->ino) == n->ino) {
			n->found = true;
			n->dir = k.a;
			snprintf(n->name, sizeof(n->name), "%.*s", d->namelen, d->name);
			return 0;
		}
		k.b++;
	}
	n->from = k;
	return 0;
}

int scrub_path(struct fs *fs, u64 ino, char *buf, size_t len)
{
	char path[1024] = "", longer[1024];
	u64 at = ino;

	for (u32 depth = 0; at != FMT_ROOT_INO && depth < DEPTH_MAX; depth++) {
		struct name_of n = { .ino = at };
		int r = 0;

		while (!r && !n.found && !n.end)
			r = jnl_read(fs_jnl(fs), name_body, &n);
		if (r || !n.found) {
			snprintf(buf, len, "#%" PRIu64 "%s", at, path);
			return r;
		}
		if (snprintf(longer, sizeof(longer), "/%s%s", n.name, path) >= (int)sizeof(longer))
			break;
		memcpy(path, longer, sizeof(path));
		at = n.dir;
	}
	snprintf(buf, len, "%s", path);
	return 0;
}

/* ---- all of it ---- */

static int passes(struct scrub *s)
{
	int r = supers(s);

	if (!r)
		r = groups(s);
	if (!r)
		r = trees(s);
	if (r == -EUCLEAN || r == -EBADMSG || r == -EIO)
		r = 0;
	return r ? r : data(s);
}

int scrub_run(struct fs *fs, const struct scrub_opts *o, struct scrub_state *st)
{
	struct scrub s = { .fs = fs, .jnl = fs_jnl(fs), .geo = fs_geo(fs), .o = o, .st = st,
			   .dev = fs_dev(fs), .begin = now_ns() };
	struct space_counts c;
	struct work before;
	u8 *mem = aligned_alloc(SECTOR_SIZE, (size_t)CHUNK * SECTOR_SIZE +
					     FMT_HEIGHT_MAX * NODE_SIZE);
	int r;

	if (!mem)
		return -ENOMEM;
	s.buf = mem;
	for (u32 i = 0; i < FMT_HEIGHT_MAX; i++)
		s.node[i] = mem + (size_t)CHUNK * SECTOR_SIZE + (size_t)i * NODE_SIZE;
	space_counts(fs_space(fs), &c);
	st->data_total = c.total - c.free - c.metadata;
	before = work_begin(WORK_SCRUB, CORRUPT_NO_INO);
	r = passes(&s);
	work_end(before);
	free(mem);
	return r;
}
