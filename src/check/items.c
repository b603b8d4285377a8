/*
 * Pass 2: the five trees, item by item.
 *
 * Rules
 * 1. The inode tree comes first: it fills the table that the other trees are held against. If a
 *    part of it could not be read, an inode that is not found proves nothing, and such findings are
 *    left out: one damaged node must not look like a thousand lost files.
 * 2. `used` gets every sector that has a user; a second user is reported. Nodes come before file
 *    data: the extent tree is the last, and its own nodes are claimed before its items are looked
 *    at (`mine`), so an extent that lies on a node is the one that is wrong.
 *    `data` gets the sectors of files whose data is not inline: only they may be marked written.
 * 3. Inodes that others name but that are not there are one finding each, not one an item.
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
	u64 missing;                /* the inode that was found missing last */
	u64 missing_end;            /* extents: bytes up to the end of its last one */
	u64 missing_sector;
};

static struct fix remove_item(const struct pass *p, struct fmt_key k)
{
	return (struct fix){ .kind = FIX_REMOVE, .tree = p->tree, .key = k, .ino = k.a,
			     .sector = CHECK_NO_SECTOR };
}

static struct fix patch_item(enum fmt_tree t, struct fmt_key k, u32 off, u32 len, u64 value)
{
	return (struct fix){ .kind = FIX_PATCH, .tree = t, .key = k, .ino = k.a, .off = off,
			     .len = len, .a = value, .sector = CHECK_NO_SECTOR };
}

#define PATCH_INODE(ino, field, value)                                                             \
	patch_item(FMT_TREE_INODE, (struct fmt_key){ ino, 0 }, offsetof(struct fmt_inode, field),  \
		   sizeof(((struct fmt_inode *)NULL)->field), value)

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
	if (S_ISDIR(rec->mode)) {
		if (rec->sectors)
			report_fix(c, CHECK_SECTORS, PATCH_INODE(k.a, sectors, 0),
				   "inode %" PRIu64 ": a directory, but says %" PRIu64 " sectors",
				   k.a, rec->sectors);
		rec->name_dir = rec->name_b = 0;
	}
	c->max_ino = MAX(c->max_ino, k.a);
	if (!S_ISDIR(rec->mode) && rec->parent)
		report_fix(c, CHECK_INODE, PATCH_INODE(k.a, parent, 0),
			   "inode %" PRIu64 ": no directory, but has a parent", k.a);
	if (!S_ISDIR(rec->mode) && rec->entries)
		report_fix(c, CHECK_INODE, PATCH_INODE(k.a, entries, 0),
			   "inode %" PRIu64 ": no directory, but has entries", k.a);
}

/* ---- orphans ---- */

static void orphan_item(struct pass *p, struct fmt_key k, const struct fmt_orphan *o)
{
	struct ino_rec *rec = ino_find(p->c, k.a);

	if (rec)
		rec->orphan |= (u8)(1u << o->kind);
	else if (p->c->tree_complete[FMT_TREE_INODE])
		report_fix(p->c, CHECK_ORPHAN, remove_item(p, k),
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

/* Hash and doubles. False: the entry is to go. */
static bool dirent_self(struct pass *p, struct fmt_key k, const struct fmt_dirent *d)
{
	bool twice = p->prev.a == k.a && p->prev.b >> 8 == k.b >> 8 &&
		     same_name(p, d->name, d->namelen);
	struct fix rehash = remove_item(p, k);
	char text[NAME_TEXT_MAX];

	rehash.kind = FIX_REHASH;
	if (twice)
		report_fix(p->c, CHECK_DIRENT, remove_item(p, k),
			   "directory %" PRIu64 ": entry '%s' is there twice", k.a,
			   name_text(text, d->name, d->namelen));
	else if (k.b >> 8 != fmt_name_hash(&p->c->geo, d->name, d->namelen))
		report_fix(p->c, CHECK_DIRENT, rehash,
			   "directory %" PRIu64 ": entry '%s' has the hash of another name", k.a,
			   name_text(text, d->name, d->namelen));
	keep_name(p, d->name, d->namelen);
	return !twice;
}

static void no_such_dir(struct pass *p, u64 ino)
{
	if (p->missing == ino)
		return;
	p->missing = ino;
	report_fix(p->c, CHECK_DIRENT_OWNER,
		   (struct fix){ .kind = FIX_MAKE_DIR, .ino = ino, .sector = CHECK_NO_SECTOR },
		   "entries in directory %" PRIu64 ", which does not exist", ino);
}

/* False: the entry is to go, or its directory must be made first. */
static bool dirent_owner(struct pass *p, struct fmt_key k, const struct fmt_dirent *d, bool subdir)
{
	struct ino_rec *dir = ino_find(p->c, k.a);
	char text[NAME_TEXT_MAX];

	if (!dir && !p->c->tree_complete[FMT_TREE_INODE])
		return false;
	if (!dir) {
		no_such_dir(p, k.a);
		return false;
	}
	if (!S_ISDIR(dir->mode)) {
		report_fix(p->c, CHECK_DIRENT_OWNER, remove_item(p, k),
			   "entry '%s' in inode %" PRIu64 ", which is no directory",
			   name_text(text, d->name, d->namelen), k.a);
		return false;
	}
	dir->found_entries++;
	dir->subdirs += subdir;
	return true;
}

/*
 * A directory is named once. Of two names the one that its parent field agrees with is right, else
 * the first.
 */
static void dir_named(struct pass *p, struct fmt_key k, const struct fmt_dirent *d,
		      struct ino_rec *target)
{
	struct fmt_key wrong = k;
	char text[NAME_TEXT_MAX];

	if (target->name_dir && target->name_dir != target->parent && k.a == target->parent) {
		wrong = (struct fmt_key){ target->name_dir, target->name_b };
		target->name_dir = 0;
	}
	if (target->name_dir || wrong.a != k.a || wrong.b != k.b || target->ino == FMT_ROOT_INO)
		report_fix(p->c, CHECK_PARENT, remove_item(p, wrong),
			   "directory %" PRIu64 ": has another name in directory %" PRIu64
			   ", seen at '%s'", target->ino, wrong.a,
			   name_text(text, d->name, d->namelen));
	if (!target->name_dir) {
		target->name_dir = k.a;
		target->name_b = k.b;
	}
}

static void dirent_target(struct pass *p, struct fmt_key k, const struct fmt_dirent *d,
			  struct ino_rec *target)
{
	u32 type = (target->mode & S_IFMT) >> 12;
	char text[NAME_TEXT_MAX];

	target->links++;
	if (d->type != type)
		report_fix(p->c, CHECK_DIRENT,
			   patch_item(p->tree, k, offsetof(struct fmt_dirent, type), 1, type),
			   "directory %" PRIu64 ": entry '%s' has type %u, its inode %" PRIu64
			   " type %u", k.a, name_text(text, d->name, d->namelen), d->type,
			   target->ino, type);
	if (S_ISDIR(target->mode))
		dir_named(p, k, d, target);
}

static void dirent_item(struct pass *p, struct fmt_key k, const struct fmt_dirent *d)
{
	u64 ino = get64(d->ino), keep = p->c->cursor;
	struct ino_rec *target = ino_find(p->c, ino);
	char text[NAME_TEXT_MAX];
	bool stays;

	p->c->cursor = keep;
	stays = dirent_self(p, k, d);
	stays &= dirent_owner(p, k, d, target ? S_ISDIR(target->mode) : d->type == S_IFDIR >> 12);
	if (target && !stays)
		target->links++;
	else if (target)
		dirent_target(p, k, d, target);
	else if (stays && p->c->tree_complete[FMT_TREE_INODE])
		report_fix(p->c, CHECK_DIRENT_TARGET, remove_item(p, k),
			   "directory %" PRIu64 ": entry '%s' names inode %" PRIu64
			   ", which does not exist", k.a, name_text(text, d->name, d->namelen),
			   ino);
}

/* ---- extents ---- */

/* Marks [disk, disk + nr) used; false when a part has a user already. */
static bool claim(struct check *c, u64 disk, u64 nr)
{
	bool alone = bitmap_all_clear(c->used, disk, nr);

	bitmap_set_range(c->used, disk, nr);
	return alone;
}

/* False: the extent is to go. */
static bool extent_self(struct pass *p, struct fmt_key k, u32 nr)
{
	if (p->prev.a == k.a && k.b < p->prev_end) {
		report_fix(p->c, CHECK_EXTENT, remove_item(p, k),
			   "inode %" PRIu64 ": two extents for file sector %" PRIu64, k.a, k.b);
		return false;
	}
	p->prev_end = k.b + nr;
	return true;
}

/* Other file data: both keep what they have. Metadata (false): what is there was never this
 * file's. */
static bool extent_shared(struct pass *p, struct fmt_key k, u64 disk, u32 nr)
{
	struct fix fix = remove_item(p, k);
	bool with_data = true;

	for (u64 s = disk; s < disk + nr; s++)
		with_data &= !bitmap_test(p->c->used, s) || bitmap_test(p->c->data, s);
	if (with_data) {
		fix.kind = FIX_CLONE;
		fix.a = disk;
		fix.b = nr;
	}
	fix.sector = disk;
	report_fix(p->c, CHECK_EXTENT_SHARED, fix,
		   "inode %" PRIu64 ": extent at file sector %" PRIu64 " lies on sectors %"
		   PRIu64 "..%" PRIu64 ", which have another user", k.a, k.b, disk, disk + nr - 1);
	return with_data;
}

/* The last extent of a missing inode was seen: how long the file was at least. */
static void missing_file(struct pass *p)
{
	if (!p->missing)
		return;
	report_fix(p->c, CHECK_EXTENT_OWNER,
		   (struct fix){ .kind = FIX_MAKE_FILE, .ino = p->missing, .a = p->missing_end,
				 .sector = p->missing_sector },
		   "extents of inode %" PRIu64 ", which does not exist", p->missing);
	p->missing = 0;
}

static void extent_without_file(struct pass *p, struct fmt_key k, const struct ino_rec *rec,
				u64 disk, u32 nr)
{
	if (rec) {
		report_fix(p->c, CHECK_EXTENT_OWNER, remove_item(p, k),
			   "extent of inode %" PRIu64 ", which is no regular file", k.a);
	} else if (p->c->tree_complete[FMT_TREE_INODE]) {
		if (p->missing != k.a)
			p->missing_sector = disk;
		p->missing = k.a;
		p->missing_end = MIN((k.b + nr) << SECTOR_SHIFT, FMT_SIZE_MAX);
	}
}

/* Which of its sectors may be written, and which lie beyond the end of the file. */
static void extent_data(struct check *c, struct fmt_key k, const struct ino_rec *rec, u64 disk,
			u32 nr)
{
	u64 end = rec ? bytes_to_sectors_up(rec->size) : UINT64_MAX;
	u64 inside = k.b >= end ? 0 : MIN(end - k.b, (u64)nr);

	if (rec && rec->inl)
		return;
	bitmap_set_range(c->data, disk, nr);
	bitmap_set_range(c->past_end, disk + inside, nr - inside);
}

static void extent_item(struct pass *p, struct fmt_key k, const struct fmt_extent *e)
{
	struct ino_rec *rec = ino_find(p->c, k.a);
	u64 disk = get64(e->disk);
	u32 nr = get32(e->nr);
	bool stays;

	if (p->missing != k.a)
		missing_file(p);
	stays = extent_self(p, k, nr);
	if (bitmap_all_clear(p->c->used, disk, nr) || (stays && extent_shared(p, k, disk, nr)))
		extent_data(p->c, k, rec, disk, nr);
	claim(p->c, disk, nr);
	if (rec && S_ISREG(rec->mode)) {
		rec->found_sectors += nr;
		return;
	}
	if (stays)
		extent_without_file(p, k, rec, disk, nr);
}

/* ---- extended attributes ---- */

static struct fix remove_xattr(const struct pass *p, struct fmt_key k)
{
	struct fix fix = remove_item(p, k);

	fix.kind = FIX_REMOVE_XATTR;
	return fix;
}

static void xattr_head(struct pass *p, struct fmt_key k, const struct fmt_xattr *x, u32 len)
{
	struct ino_rec *rec = ino_find(p->c, k.a);
	char text[NAME_TEXT_MAX];

	if (rec)
		rec->found_xattrs++;
	else if (p->c->tree_complete[FMT_TREE_INODE])
		report_fix(p->c, CHECK_XATTR_OWNER, remove_xattr(p, k),
			   "extended attribute of inode %" PRIu64 ", which does not exist", k.a);
	if (k.b >> 16 != fmt_xattr_hash(&p->c->geo, x->name, x->namelen))
		report_fix(p->c, CHECK_XATTR, remove_xattr(p, k),
			   "inode %" PRIu64 ": attribute '%s' has the hash of another name", k.a,
			   name_text(text, x->name, x->namelen));
	if (p->prev.a == k.a && p->prev.b >> 16 == k.b >> 16 && same_name(p, x->name, x->namelen))
		report_fix(p->c, CHECK_XATTR, remove_xattr(p, k),
			   "inode %" PRIu64 ": attribute '%s' is there twice", k.a,
			   name_text(text, x->name, x->namelen));
	keep_name(p, x->name, x->namelen);
	p->prev_end = x->chunks - 1u;
	p->xattr_left = get32(x->value_len) - (len - (u32)sizeof(*x) - x->namelen);
}

static void xattr_incomplete(struct pass *p)
{
	char text[NAME_TEXT_MAX];

	if (p->prev_end || p->xattr_left)
		report_fix(p->c, CHECK_XATTR, remove_xattr(p, p->prev),
			   "inode %" PRIu64 ": attribute '%s' is not complete", p->prev.a,
			   name_text(text, p->prev_name, p->prev_namelen));
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
		report_fix(p->c, CHECK_XATTR, remove_item(p, k),
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

static bool node_claim(struct pass *p, u64 addr)
{
	struct check *c = p->c;

	if (p->tree != FMT_TREE_EXTENT)
		return claim(c, addr, NODE_SECTORS);
	if (!bitmap_test(c->mine, addr / NODE_SECTORS))
		return false;
	bitmap_clear(c->mine, addr / NODE_SECTORS);
	return true;
}

static bool tree_node(void *arg, u64 addr)
{
	struct pass *p = arg;
	struct check *c = p->c;

	if (!node_claim(p, addr))
		return false;
	c->res->nodes++;
	progress(c, 2, c->res->nodes * NODE_SECTORS, get64(c->root->node_sectors_used));
	return true;
}

static void node_shared(struct check *c, enum fmt_tree t, const struct walk_place *at)
{
	report_fix(c, CHECK_NODE_SHARED,
		   (struct fix){ .kind = FIX_NODE_CUT, .tree = t, .sector = at->addr,
				 .place = *at },
		   "%s tree: node at sector %" PRIu64 " lies on space that has another user",
		   fmt_tree_name(t), at->addr);
}

static void tree_bad(void *arg, const struct walk_place *at, int err)
{
	struct pass *p = arg;
	struct check *c = p->c;
	enum check_code code = err == -ERANGE ? CHECK_NODE_TREE
			       : err == -EBADMSG || err == -EUCLEAN ? CHECK_NODE : CHECK_READ;

	if (err == -ENOMEM) {
		c->err = err;
		return;
	}
	if (err == -EEXIST) {
		node_shared(c, p->tree, at);
		return;
	}
	/* It may well be a sound node of a tree that comes later. */
	if (err == -ERANGE && p->tree != FMT_TREE_EXTENT)
		bitmap_clear_range(c->used, at->addr, NODE_SECTORS);
	report_fix(c, code,
		   (struct fix){ .kind = FIX_NODE, .tree = p->tree, .sector = at->addr,
				 .place = *at },
		   "%s tree: node at sector %" PRIu64 ", level %" PRIu32 ": %s",
		   fmt_tree_name(p->tree), at->addr, at->level,
		   err == -ERANGE ? "of another tree, level or range of keys" : damage_text(err));
}

static bool tree_stop(void *arg)
{
	return check_stopped(((struct pass *)arg)->c);
}

/* Before the items of the extent tree: its nodes. */
static bool claim_mine(void *arg, u64 addr)
{
	struct check *c = ((struct pass *)arg)->c;

	if (!claim(c, addr, NODE_SECTORS))
		return false;
	bitmap_set(c->mine, addr / NODE_SECTORS);
	return true;
}

static int claim_nodes(struct pass *p)
{
	struct walk w = { .rd = &p->c->rd, .tree = p->tree, .node = claim_mine, .shallow = true,
			  .stop = tree_stop, .arg = p };

	return walk_tree(&w, p->c->root);
}

static int check_tree(struct check *c, enum fmt_tree t)
{
	struct pass p = { .c = c, .tree = t };
	struct walk w = { .rd = &c->rd, .tree = t, .node = tree_node, .item = tree_item,
			  .bad = tree_bad, .stop = tree_stop, .arg = &p };
	int r = t == FMT_TREE_EXTENT ? claim_nodes(&p) : 0;

	c->cursor = 0;
	if (!r)
		r = walk_tree(&w, c->root);
	if (r)
		return r;
	if (t == FMT_TREE_XATTR)
		xattr_incomplete(&p);
	if (t == FMT_TREE_EXTENT)
		missing_file(&p);
	c->tree_complete[t] = w.complete;
	return 0;
}

static void next_ino_check(struct check *c)
{
	if (c->max_ino >= get64(c->root->next_ino))
		report_fix(c, CHECK_COUNTERS,
			   (struct fix){ .kind = FIX_ROOT_FIELD, .ino = c->max_ino,
					 .sector = c->geo.root_sector,
					 .off = offsetof(struct fmt_root, next_ino),
					 .a = c->max_ino + 1 },
			   "inode %" PRIu64 ": number is not below the next free one, %" PRIu64,
			   c->max_ino, get64(c->root->next_ino));
}

int check_trees(struct check *c)
{
	static const enum fmt_tree order[] = { FMT_TREE_INODE, FMT_TREE_ORPHAN, FMT_TREE_DIRENT,
					       FMT_TREE_XATTR, FMT_TREE_EXTENT };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(order) && !r && !check_stopped(c); i++)
		r = check_tree(c, order[i]);
	if (!r)
		next_ino_check(c);
	return r ? r : c->err;
}
