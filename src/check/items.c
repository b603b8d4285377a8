/*
 * Pass 2: the five trees, item by item.
 *
 * Rules
 * 1. The inode tree comes first: it fills the table that the other trees are held against. If a
 *    part of it could not be read, an inode that is not found proves nothing, and such findings are
 *    left out: one damaged node must not look like a thousand lost files.
 * 2. `used` gets every sector that has a user; a second user is reported.
 *    `data` gets the sectors of files whose data is not inline: only they may be marked written.
 */
#include "check/check_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bitmap.h"

/* The item before, within one tree: what overlaps or doubles is next to each other. */
struct pass {
	struct check *c;
	enum fmt_tree tree;
	struct fmt_key prev;
	u64 prev_end;               /* extents: end of the one before; xattrs: chunks to come */
	u32 xattr_left;             /* xattrs: bytes of the value still to come */
	u8 prev_namelen;
	char prev_name[UINT8_MAX];
	u64 nodes_seen;
};

struct ino_rec *ino_find(struct check *c, u64 ino)
{
	u64 lo = 0, hi = c->nr_inos;

	if (c->cursor < c->nr_inos && c->inos[c->cursor].ino == ino)
		return &c->inos[c->cursor];
	while (lo < hi) {
		u64 mid = lo + (hi - lo) / 2;

		if (c->inos[mid].ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == c->nr_inos || c->inos[lo].ino != ino)
		return NULL;
	c->cursor = lo;
	return &c->inos[lo];
}

/* ---- inodes ---- */

static struct ino_rec *ino_add(struct check *c)
{
	if (c->nr_inos == c->max_inos) {
		u64 max = c->max_inos ? c->max_inos * 2 : 256;
		void *p = realloc(c->inos, max * sizeof(*c->inos));

		if (!p) {
			c->err = -ENOMEM;
			return NULL;
		}
		c->inos = p;
		c->max_inos = max;
	}
	return memset(&c->inos[c->nr_inos++], 0, sizeof(*c->inos));
}

static void inode_item(struct pass *p, struct fmt_key k, const struct fmt_inode *i)
{
	struct check *c = p->c;
	struct ino_rec *rec = ino_add(c);

	if (!rec)
		return;
	rec->ino = k.a;
	rec->parent = get64(i->parent);
	rec->size = get64(i->size);
	rec->sectors = get64(i->sectors);
	rec->entries = get64(i->entries);
	rec->nlink = get32(i->nlink);
	rec->xattrs = get32(i->xattrs);
	rec->mode = (u16)get32(i->mode);
	rec->inl = (get32(i->flags) & FMT_IFLAG_INLINE) != 0;
	c->res->inodes++;
	if (S_ISDIR(rec->mode))
		c->res->directories++;
	if (k.a >= get64(c->root->next_ino))
		report(c, CHECK_COUNTERS, k.a, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": number is not below the next free one, %" PRIu64, k.a,
		       get64(c->root->next_ino));
	if (!S_ISDIR(rec->mode) && (rec->parent || rec->entries))
		report(c, CHECK_INODE, k.a, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": no directory, but has a parent or entries", k.a);
}

/* ---- orphans ---- */

static void orphan_item(struct pass *p, struct fmt_key k, const struct fmt_orphan *o)
{
	struct ino_rec *rec = ino_find(p->c, k.a);

	if (rec)
		rec->orphan |= (u8)(1u << o->kind);
	else if (p->c->tree_complete[FMT_TREE_INODE])
		report(p->c, CHECK_ORPHAN, k.a, CHECK_NO_SECTOR,
		       "orphan entry of inode %" PRIu64 ", which does not exist", k.a);
}

/* ---- directory entries ---- */

static bool same_name(const struct pass *p, const char *name, u8 len)
{
	return p->prev_namelen == len && memcmp(p->prev_name, name, len) == 0;
}

static void keep_name(struct pass *p, const char *name, u8 len)
{
	memcpy(p->prev_name, name, len);
	p->prev_namelen = len;
}

static void dirent_self(struct pass *p, struct fmt_key k, const struct fmt_dirent *d)
{
	if (k.b >> 8 != fmt_name_hash(&p->c->geo, d->name, d->namelen))
		report(p->c, CHECK_DIRENT, k.a, CHECK_NO_SECTOR,
		       "directory %" PRIu64 ": entry '%.*s' has the hash of another name", k.a,
		       d->namelen, d->name);
	if (p->prev.a == k.a && p->prev.b >> 8 == k.b >> 8 && same_name(p, d->name, d->namelen))
		report(p->c, CHECK_DIRENT, k.a, CHECK_NO_SECTOR,
		       "directory %" PRIu64 ": entry '%.*s' is there twice", k.a, d->namelen,
		       d->name);
	keep_name(p, d->name, d->namelen);
}

static void dirent_owner(struct pass *p, struct fmt_key k, const struct fmt_dirent *d, bool subdir)
{
	struct ino_rec *dir = ino_find(p->c, k.a);

	if (!dir && !p->c->tree_complete[FMT_TREE_INODE])
		return;
	if (!dir || !S_ISDIR(dir->mode)) {
		report(p->c, CHECK_DIRENT_OWNER, k.a, CHECK_NO_SECTOR,
		       "entry '%.*s' in inode %" PRIu64 ", which is no directory", d->namelen,
		       d->name, k.a);
		return;
	}
	dir->found_entries++;
	dir->subdirs += subdir;
}

static void dirent_item(struct pass *p, struct fmt_key k, const struct fmt_dirent *d)
{
	u64 ino = get64(d->ino), keep = p->c->cursor;
	struct ino_rec *target = ino_find(p->c, ino);

	p->c->cursor = keep;
	dirent_self(p, k, d);
	dirent_owner(p, k, d, target ? S_ISDIR(target->mode) : d->type == S_IFDIR >> 12);
	if (!target) {
		if (p->c->tree_complete[FMT_TREE_INODE])
			report(p->c, CHECK_DIRENT_TARGET, k.a, CHECK_NO_SECTOR,
			       "directory %" PRIu64 ": entry '%.*s' names inode %" PRIu64
			       ", which does not exist", k.a, d->namelen, d->name, ino);
		return;
	}
	target->links++;
	if (d->type != (target->mode & S_IFMT) >> 12)
		report(p->c, CHECK_DIRENT, k.a, CHECK_NO_SECTOR,
		       "directory %" PRIu64 ": entry '%.*s' has type %u, its inode %" PRIu64
		       " type %u", k.a, d->namelen, d->name, d->type, ino,
		       (target->mode & S_IFMT) >> 12);
	if (S_ISDIR(target->mode) && target->parent != k.a)
		report(p->c, CHECK_PARENT, ino, CHECK_NO_SECTOR,
		       "directory %" PRIu64 ": named in directory %" PRIu64
		       ", but its parent is %" PRIu64, ino, k.a, target->parent);
}

/* ---- extents ---- */

/* Marks [disk, disk + nr) used; false when a part has a user already. */
static bool claim(struct check *c, u64 disk, u64 nr, bool data)
{
	bool alone = bitmap_all_clear(c->used, disk, nr);

	bitmap_set_range(c->used, disk, nr);
	if (data)
		bitmap_set_range(c->data, disk, nr);
	return alone;
}

static void extent_self(struct pass *p, struct fmt_key k, u64 disk, u32 nr)
{
	u64 align = p->c->geo.block_sectors;

	if (!IS_ALIGNED(k.b, align) || !IS_ALIGNED(disk, align) || !IS_ALIGNED((u64)nr, align))
		report(p->c, CHECK_EXTENT, k.a, disk,
		       "inode %" PRIu64 ": extent at file sector %" PRIu64 ", disk %" PRIu64
		       ", length %" PRIu32 " is not of whole blocks", k.a, k.b, disk, nr);
	if (p->prev.a == k.a && k.b < p->prev_end)
		report(p->c, CHECK_EXTENT, k.a, disk,
		       "inode %" PRIu64 ": two extents for file sector %" PRIu64, k.a, k.b);
	p->prev_end = k.b + nr;
}

static void extent_item(struct pass *p, struct fmt_key k, const struct fmt_extent *e)
{
	struct ino_rec *rec = ino_find(p->c, k.a);
	u64 disk = get64(e->disk);
	u32 nr = get32(e->nr);

	extent_self(p, k, disk, nr);
	if (!claim(p->c, disk, nr, !rec || !rec->inl))
		report(p->c, CHECK_EXTENT_SHARED, k.a, disk,
		       "inode %" PRIu64 ": extent at file sector %" PRIu64 " lies on sectors %"
		       PRIu64 "..%" PRIu64 ", which have another user", k.a, k.b, disk,
		       disk + nr - 1);
	if (rec && S_ISREG(rec->mode)) {
		rec->found_sectors += nr;
		return;
	}
	if (rec || p->c->tree_complete[FMT_TREE_INODE])
		report(p->c, CHECK_EXTENT_OWNER, k.a, disk,
		       "extent of inode %" PRIu64 ", which is no regular file", k.a);
}

/* ---- extended attributes ---- */

static void xattr_head(struct pass *p, struct fmt_key k, const struct fmt_xattr *x, u32 len)
{
	struct ino_rec *rec = ino_find(p->c, k.a);

	if (rec)
		rec->found_xattrs++;
	else if (p->c->tree_complete[FMT_TREE_INODE])
		report(p->c, CHECK_XATTR_OWNER, k.a, CHECK_NO_SECTOR,
		       "extended attribute of inode %" PRIu64 ", which does not exist", k.a);
	if (k.b >> 16 != fmt_xattr_hash(&p->c->geo, x->name, x->namelen))
		report(p->c, CHECK_XATTR, k.a, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": attribute '%.*s' has the hash of another name", k.a,
		       x->namelen, x->name);
	if (p->prev.a == k.a && p->prev.b >> 16 == k.b >> 16 && same_name(p, x->name, x->namelen))
		report(p->c, CHECK_XATTR, k.a, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": attribute '%.*s' is there twice", k.a, x->namelen,
		       x->name);
	keep_name(p, x->name, x->namelen);
	p->prev_end = x->chunks - 1u;
	p->xattr_left = get32(x->value_len) - (len - (u32)sizeof(*x) - x->namelen);
}

static void xattr_incomplete(struct pass *p)
{
	if (p->prev_end || p->xattr_left)
		report(p->c, CHECK_XATTR, p->prev.a, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": attribute '%.*s' is not complete", p->prev.a,
		       p->prev_namelen, p->prev_name);
	p->prev_end = 0;
	p->xattr_left = 0;
}

static void xattr_item(struct pass *p, struct fmt_key k, const struct fmt_xattr *x, u32 len)
{
	bool next = p->prev_end && k.a == p->prev.a && k.b == p->prev.b + 1;

	if (next && len <= p->xattr_left) {
		p->prev_end--;
		p->xattr_left -= len;
		return;
	}
	xattr_incomplete(p);
	if ((k.b & 0xff) == 0)
		xattr_head(p, k, x, len);
	else
		report(p->c, CHECK_XATTR, k.a, CHECK_NO_SECTOR,
		       "inode %" PRIu64 ": a piece of an attribute that has no beginning", k.a);
}

/* ---- walking ---- */

static void tree_item(void *arg, struct fmt_key k, const void *val, u32 len)
{
	struct pass *p = arg;

	switch (p->tree) {
	case FMT_TREE_INODE:
		inode_item(p, k, val);
		break;
	case FMT_TREE_DIRENT:
		dirent_item(p, k, val);
		break;
	case FMT_TREE_EXTENT:
		extent_item(p, k, val);
		break;
	case FMT_TREE_XATTR:
		xattr_item(p, k, val, len);
		break;
	case FMT_TREE_ORPHAN:
		orphan_item(p, k, val);
		break;
	case FMT_NR_TREES:
		break;
	}
	p->prev = k;
}

static bool tree_node(void *arg, u64 addr)
{
	struct pass *p = arg;
	struct check *c = p->c;

	if (!claim(c, addr, NODE_SECTORS, false)) {
		report(c, CHECK_NODE_SHARED, 0, addr,
		       "%s tree: node at sector %" PRIu64 " lies on space that has another user",
		       fmt_tree_name(p->tree), addr);
		return false;
	}
	c->res->nodes++;
	progress(c, 2, c->res->nodes * NODE_SECTORS, get64(c->root->node_sectors_used));
	return true;
}

static void tree_bad(void *arg, u64 addr, int err)
{
	struct pass *p = arg;
	enum check_code code = err == -ERANGE ? CHECK_NODE_TREE
			       : err == -EBADMSG || err == -EUCLEAN ? CHECK_NODE : CHECK_READ;

	if (err == -ENOMEM) {
		p->c->err = err;
		return;
	}
	report(p->c, code, 0, addr, "%s tree: node at sector %" PRIu64 ": %s",
	       fmt_tree_name(p->tree), addr,
	       err == -ERANGE ? "of another tree, level or range of keys"
	       : err == -EBADMSG ? "wrong checksum" : err == -EUCLEAN ? "damaged" : err_text(err));
}

static bool tree_stop(void *arg)
{
	return check_stopped(((struct pass *)arg)->c);
}

int check_trees(struct check *c)
{
	static const enum fmt_tree order[] = { FMT_TREE_INODE, FMT_TREE_ORPHAN, FMT_TREE_DIRENT,
					       FMT_TREE_EXTENT, FMT_TREE_XATTR };

	for (size_t i = 0; i < ARRAY_LEN(order) && !check_stopped(c); i++) {
		struct pass p = { .c = c, .tree = order[i] };
		struct walk w = { .rd = &c->rd, .tree = order[i], .node = tree_node,
				  .item = tree_item, .bad = tree_bad, .stop = tree_stop,
				  .arg = &p };
		int r;

		c->cursor = 0;
		r = walk_tree(&w, c->root);
		if (r)
			return r;
		if (order[i] == FMT_TREE_XATTR)
			xattr_incomplete(&p);
		c->tree_complete[order[i]] = w.complete;
	}
	return c->err;
}
