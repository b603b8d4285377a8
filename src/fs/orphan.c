/*
 * Orphans: what a crash would leave unfinished, and the deletion of inodes.
 *
 * An entry in the ORPHAN tree is made by the handle that begins something long, and removed by the
 * one that ends it:
 *   DELETE     the inode has no links; it lives while it is open, then all it owns is freed
 *   TRUNCATE   the item has its new size; extents beyond it are still to be freed
 *
 * Rules:
 *  1. Deleting goes in bounded handles: extents, xattrs, then item and entry together. Each leaves
 *     a consistent file system, so deletion can stop anywhere and go on at the next mount.
 *  2. DELETE outranks TRUNCATE: an inode without links that is truncated stays DELETE.
 *  3. Recovery deletes only what has no links; an entry that contradicts its inode is dropped and
 *     reported, the inode stays.
 *
 * No inode locks: whoever deletes has the inode alone.
 */
#include "base/err.h"
#include "base/log.h"
#include "fs/inode.h"

#define XATTRS_A_HANDLE 4u

static struct fmt_key orphan_key(u64 ino)
{
	return (struct fmt_key){ ino, 0 };
}

/* ---- entries, in bodies ---- */

static int orphan_get(struct view *v, u64 ino, u8 *kind, u64 *size)
{
	const struct fmt_orphan *o;
	const void *val;
	enum why why;
	u32 len;
	int r = btree_get(v, FMT_TREE_ORPHAN, orphan_key(ino), &val, &len);

	if (r)
		return r;
	why = fmt_value_why(FMT_TREE_ORPHAN, orphan_key(ino), val, len, view_geo(v));
	if (why)
		return corrupt(why, ino, CORRUPT_NO_SECTOR);
	o = val;
	*kind = o->kind;
	*size = get64(o->size);
	return 0;
}

int orphan_add_in(struct view *v, u64 ino, u8 kind, u64 size)
{
	struct fmt_orphan o = { .kind = kind, .size = put64(size) };
	u8 old = 0;
	u64 old_size;
	int r = orphan_get(v, ino, &old, &old_size);

	if (r && r != -ENOENT)
		return r;
	if (r == 0 && old == FMT_ORPHAN_DELETE)
		return 0;
	return btree_set(v, FMT_TREE_ORPHAN, orphan_key(ino), &o, sizeof(o));
}

int orphan_remove_in(struct view *v, u64 ino)
{
	u8 kind = 0;
	u64 size;
	int r = orphan_get(v, ino, &kind, &size);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (kind == FMT_ORPHAN_DELETE)
		return 0;
	return btree_remove(v, FMT_TREE_ORPHAN, orphan_key(ino));
}

int orphan_named_in(struct view *v, u64 ino)
{
	return btree_remove(v, FMT_TREE_ORPHAN, orphan_key(ino));
}

/* ---- deleting an inode ---- */

struct delete {
	u64 ino;
	bool more;
};

static int xattrs_body(struct view *v, void *arg)
{
	struct delete *d = arg;
	const void *val;
	u32 len;
	int r = 0;

	d->more = true;
	for (unsigned i = 0; i < XATTRS_A_HANDLE && r == 0; i++) {
		struct fmt_key k = { d->ino, 0 };

		r = btree_next(v, FMT_TREE_XATTR, &k, &val, &len);
		if (r == -ENOENT || (r == 0 && k.a != d->ino)) {
			d->more = false;
			return 0;
		}
		if (r == 0)
			r = btree_remove(v, FMT_TREE_XATTR, k);
	}
	return r;
}

static int item_body(struct view *v, void *arg)
{
	const struct delete *d = arg;
	struct fmt_root *root;
	u64 nr;
	int r = btree_remove(v, FMT_TREE_INODE, (struct fmt_key){ d->ino, 0 });

	if (r)
		return r == -ENOENT ? corrupt(WHY_ORPHAN_INODE, d->ino, CORRUPT_NO_SECTOR) : r;
	r = btree_remove(v, FMT_TREE_ORPHAN, orphan_key(d->ino));
	if (r && r != -ENOENT)
		return r;
	r = root_edit(v, &root);
	if (r)
		return r;
	nr = get64(root->nr_inodes);
	if (nr == 0)
		return corrupt(WHY_ROOT_NR_INODES, d->ino, view_geo(v)->root_sector);
	root->nr_inodes = put64(nr - 1);
	return 0;
}

int orphan_delete(struct fs *fs, u64 ino, bool extents, bool xattrs)
{
	struct delete d = { .ino = ino, .more = xattrs };
	int r = extents ? file_free_extents(fs, ino, NULL, 0) : 0;

	while (r == 0 && d.more)
		r = jnl_run(fs->jnl, XATTRS_A_HANDLE * BTREE_CREDITS, xattrs_body, &d, NULL);
	return r ? r : jnl_run(fs->jnl, 2 * BTREE_CREDITS + 2, item_body, &d, NULL);
}

/* ---- recovery ---- */

struct scan {
	u64 from;
	/* found */
	u64 ino, size, now_size;
	u8 kind;
	bool has_item;
	u32 nlink;
};

static int scan_body(struct view *v, void *arg)
{
	struct scan *s = arg;
	struct fmt_key k = orphan_key(s->from);
	const struct fmt_inode *item;
	const void *val;
	u32 len;
	int r = btree_next(v, FMT_TREE_ORPHAN, &k, &val, &len);

	if (r)
		return r;
	s->ino = k.a;
	r = orphan_get(v, k.a, &s->kind, &s->size);
	if (r)
		return r;
	r = inode_get_item(v, k.a, &item, NULL, NULL);
	s->has_item = r == 0;
	if (r == 0) {
		s->nlink = get32(item->nlink);
		s->now_size = get64(item->size);
	}
	return r == -ENOENT ? 0 : r;
}

static int drop_body(struct view *v, void *arg)
{
	const struct scan *s = arg;

	return btree_remove(v, FMT_TREE_ORPHAN, orphan_key(s->ino));
}

static int finish_one(struct fs *fs, struct scan *s)
{
	int r = 0;

	if (s->has_item && s->kind == FMT_ORPHAN_DELETE && s->nlink == 0)
		return orphan_delete(fs, s->ino, true, true);
	if (s->has_item && s->kind == FMT_ORPHAN_TRUNCATE)
		r = file_free_extents(fs, s->ino, NULL, bytes_to_sectors_up(s->now_size));
	else
		corrupt(WHY_ORPHAN_IDLE, s->ino, CORRUPT_NO_SECTOR);
	return r ? r : jnl_run(fs->jnl, BTREE_CREDITS, drop_body, s, NULL);
}

static int finish(struct fs *fs, struct scan *s)
{
	struct work before = work_begin(WORK_ORPHAN, s->ino);
	int r = finish_one(fs, s);

	work_end(before);
	return r;
}

int orphan_recover(struct fs *fs)
{
	struct scan s = { .from = 1 };
	u64 done = 0, failed = 0;
	int r;

	while ((r = jnl_read(fs->jnl, scan_body, &s)) != -ENOENT) {
		if (r == 0)
			r = finish(fs, &s);
		if (r == -ENOMEM || r == -EROFS || s.ino < s.from)
			return r;
		if (r) {
			failed++;
			log_err("orphan inode %llu could not be finished: %s",
				(unsigned long long)s.ino, err_text(r));
		} else {
			done++;
		}
		s.from = s.ino + 1;
	}
	if (done)
		log_info("finished %llu deletions and truncations that were under way",
			 (unsigned long long)done);
	return failed ? -EUCLEAN : 0;
}
