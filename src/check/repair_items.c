/*
 * Repairs of single items of trees, through the trees and the allocator of src/fs.
 *
 * Rules
 * 1. One handle a finding. Counts that follow (links, entries, inodes) are set in the same handle
 *    where that is known, else by the next round.
 * 2. An inode that was lost with its node and that others still name is made again: a directory for
 *    its entries, a file for its extents, owned by root, with modes that let nobody else in.
 * 3. An inode without a name gets one in /lost+found, "#" and its number.
 */
#include "check/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fs/btree.h"

#define LOST_FOUND "lost+found"
#define XATTR_BATCH 4u

static int run(struct repair *rp, unsigned items, jnl_body body, const struct fix *f)
{
	return jnl_run(rp->jnl, items * BTREE_CREDITS, body, (void *)(uintptr_t)f, NULL);
}

/* ---- remove, patch ---- */

static int remove_body(struct view *v, void *arg)
{
	const struct fix *f = arg;

	return btree_remove(v, f->tree, f->key);
}

int fix_remove(struct repair *rp, const struct fix *f)
{
	return run(rp, 1, remove_body, f);
}

/* Some of the pieces; -ENOENT when there are none. */
static int remove_xattr_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	struct fmt_key first = { f->key.a, f->key.b & ~0xffull };

	for (u32 i = 0; i < XATTR_BATCH; i++) {
		struct fmt_key k = first;
		const void *val;
		u32 len;
		int r = btree_next(v, FMT_TREE_XATTR, &k, &val, &len);

		if (!r && (k.a != first.a || (k.b & ~0xffull) != first.b))
			r = -ENOENT;
		if (r == -ENOENT && i > 0)
			return 0;
		if (!r)
			r = btree_remove(v, FMT_TREE_XATTR, k);
		if (r)
			return r;
	}
	return 0;
}

int fix_remove_xattr(struct repair *rp, const struct fix *f)
{
	bool any = false;
	int r;

	while (!(r = run(rp, XATTR_BATCH, remove_xattr_body, f)))
		any = true;
	return r == -ENOENT && any ? 0 : r;
}

static int patch_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	le64 value = put64(f->a);

	return btree_patch(v, f->tree, f->key, f->off, &value, f->len);
}

int fix_patch(struct repair *rp, const struct fix *f)
{
	return run(rp, 1, patch_body, f);
}

/* ---- names ---- */

/* The first free key for the name; -EEXIST when the directory has it. */
static int free_key(struct view *v, u64 dir, const char *name, u32 len, struct fmt_key *out)
{
	u64 hash = fmt_name_hash(view_geo(v), name, len);

	for (u32 n = 0; n < 256; n++) {
		struct fmt_key k = { dir, hash << 8 | n };
		const struct fmt_dirent *d;
		const void *val;
		u32 val_len;
		int r = btree_get(v, FMT_TREE_DIRENT, k, &val, &val_len);

		if (r == -ENOENT) {
			*out = k;
			return 0;
		}
		if (r)
			return r;
		d = val;
		if (d->namelen == len && memcmp(d->name, name, len) == 0)
			return -EEXIST;
	}
	return -ENOSPC;
}

static int add_name(struct view *v, u64 dir, const char *name, u32 len, u64 ino, u32 mode)
{
	u8 val[sizeof(struct fmt_dirent) + FMT_NAME_MAX];
	struct fmt_dirent *d = (void *)val;
	struct fmt_key k;
	int r = free_key(v, dir, name, len, &k);

	if (r)
		return r;
	d->ino = put64(ino);
	d->type = (u8)(mode >> 12 & 15);
	d->namelen = (u8)len;
	memcpy(d->name, name, len);
	return btree_insert(v, FMT_TREE_DIRENT, k, val, (u32)sizeof(*d) + len);
}

static int rehash_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	u8 copy[sizeof(struct fmt_dirent) + FMT_NAME_MAX];
	const struct fmt_dirent *d = (void *)copy;
	const void *val;
	u32 len;
	int r = btree_get(v, FMT_TREE_DIRENT, f->key, &val, &len);

	if (r)
		return r;
	memcpy(copy, val, MIN((size_t)len, sizeof(copy)));
	r = btree_remove(v, FMT_TREE_DIRENT, f->key);
	if (!r)
		r = add_name(v, f->key.a, d->name, d->namelen, get64(d->ino),
			     (u32)d->type << 12);
	return r == -EEXIST ? 0 : r;
}

int fix_rehash(struct repair *rp, const struct fix *f)
{
	return run(rp, 2, rehash_body, f);
}

/* ---- orphans ---- */

static int orphan_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	struct fmt_orphan o = { .kind = FMT_ORPHAN_DELETE };

	return btree_insert(v, FMT_TREE_ORPHAN, (struct fmt_key){ f->ino, 0 }, &o, sizeof(o));
}

int fix_orphan(struct repair *rp, const struct fix *f)
{
	return run(rp, 1, orphan_body, f);
}

static int unorphan_body(struct view *v, void *arg)
{
	const struct fix *f = arg;

	return btree_remove(v, FMT_TREE_ORPHAN, (struct fmt_key){ f->ino, 0 });
}

int fix_unorphan(struct repair *rp, const struct fix *f)
{
	return run(rp, 1, unorphan_body, f);
}

/* ---- inodes ---- */

static int edit_root(struct view *v, struct fmt_root **out)
{
	void *buf;
	int r = view_edit(v, view_geo(v)->root_sector, FMT_KIND_ROOT, &buf);

	*out = buf;
	return r;
}

static void fill_inode(struct fmt_inode *i, u32 mode, u64 parent, u64 size)
{
	struct timespec now;
	struct fmt_time t;

	clock_gettime(CLOCK_REALTIME, &now);
	t = (struct fmt_time){ put64((u64)now.tv_sec), put32((u32)now.tv_nsec) };
	*i = (struct fmt_inode){
		.mode = put32(mode), .nlink = put32(S_ISDIR(mode) ? 2 : 1), .size = put64(size),
		.parent = put64(parent), .atime = t, .mtime = t, .ctime = t, .btime = t,
	};
}

static int make_inode(struct view *v, u64 ino, const struct fmt_inode *i)
{
	struct fmt_root *root;
	int r = edit_root(v, &root);

	if (!r)
		r = btree_insert(v, FMT_TREE_INODE, (struct fmt_key){ ino, 0 }, i, sizeof(*i));
	if (r)
		return r;
	root->nr_inodes = put64(get64(root->nr_inodes) + 1);
	root->next_ino = put64(MAX(get64(root->next_ino), ino + 1));
	return 0;
}

static int make_body(struct view *v, void *arg)
{
	const struct fix *f = arg;
	struct fmt_inode i;

	if (f->kind == FIX_MAKE_FILE)
		fill_inode(&i, S_IFREG | 0600, 0, f->a);
	else
		fill_inode(&i, S_IFDIR | (f->kind == FIX_MAKE_ROOT ? 0755 : 0700), FMT_ROOT_INO, 0);
	/* What is there in place of the root directory is none. */
	if (f->kind == FIX_MAKE_ROOT) {
		int r = btree_remove(v, FMT_TREE_INODE, (struct fmt_key){ f->ino, 0 });

		if (r && r != -ENOENT)
			return r;
	}
	return make_inode(v, f->ino, &i);
}

int fix_make(struct repair *rp, const struct fix *f)
{
	return run(rp, 2, make_body, f);
}

/* ---- lost+found ---- */

static int patch_u64(struct view *v, u64 ino, u32 off, u64 value, u32 len)
{
	le64 le = put64(value);

	return btree_patch(v, FMT_TREE_INODE, (struct fmt_key){ ino, 0 }, off, &le, len);
}

/* A directory has an entry more, which may be a directory itself. */
static int count_entry(struct view *v, u64 dir, bool subdir)
{
	const struct fmt_inode *i;
	const void *val;
	u32 len, nlink;
	u64 entries;
	int r = btree_get(v, FMT_TREE_INODE, (struct fmt_key){ dir, 0 }, &val, &len);

	if (r)
		return r;
	i = val;
	entries = get64(i->entries) + 1;
	nlink = get32(i->nlink) + subdir;
	r = patch_u64(v, dir, offsetof(struct fmt_inode, entries), entries, 8);
	return r ? r : patch_u64(v, dir, offsetof(struct fmt_inode, nlink), nlink, 4);
}

/* The directory of this name in the root: 0, -ENOENT, -ENOTDIR. */
static int find_dir(struct view *v, const char *name, u64 *out)
{
	u32 len = (u32)strlen(name);
	u64 hash = fmt_name_hash(view_geo(v), name, len);

	for (u32 n = 0; n < 256; n++) {
		const struct fmt_dirent *d;
		const void *val;
		u32 val_len;
		int r = btree_get(v, FMT_TREE_DIRENT,
				  (struct fmt_key){ FMT_ROOT_INO, hash << 8 | n }, &val, &val_len);

		if (r)
			return r;
		d = val;
		if (d->namelen != len || memcmp(d->name, name, len) != 0)
			continue;
		*out = get64(d->ino);
		return d->type == S_IFDIR >> 12 ? 0 : -ENOTDIR;
	}
	return -ENOENT;
}

/* The directory, made if need be; where something else has its name, another name. */
static int lost_found(struct view *v, u64 above, u64 *out)
{
	char name[32] = LOST_FOUND;
	struct fmt_root *root;
	struct fmt_inode i;
	int r = find_dir(v, name, out);

	for (u32 n = 1; r == -ENOTDIR && n < 100; n++) {
		snprintf(name, sizeof(name), LOST_FOUND ".%" PRIu32, n);
		r = find_dir(v, name, out);
	}
	if (r != -ENOENT)
		return r;
	r = edit_root(v, &root);
	if (r)
		return r;
	*out = MAX(get64(root->next_ino), above + 1);
	fill_inode(&i, S_IFDIR | 0700, FMT_ROOT_INO, 0);
	r = make_inode(v, *out, &i);
	if (!r)
		r = add_name(v, FMT_ROOT_INO, name, (u32)strlen(name), *out, S_IFDIR);
	return r ? r : count_entry(v, FMT_ROOT_INO, true);
}

struct lost_found_arg {
	const struct fix *f;
	u64 above;              /* numbers up to here are in use */
};

static int lost_found_body(struct view *v, void *arg)
{
	const struct lost_found_arg *a = arg;
	const struct fix *f = a->f;
	bool is_dir = S_ISDIR(f->a);
	char name[24];
	u64 dir;
	int len = snprintf(name, sizeof(name), "#%" PRIu64, f->ino);
	int r = lost_found(v, a->above, &dir);

	/* The directory itself may be what has lost its name. */
	if (r)
		return r;
	r = add_name(v, dir, name, (u32)len, f->ino, (u32)f->a);
	if (!r)
		r = count_entry(v, dir, is_dir);
	if (!r && is_dir)
		return patch_u64(v, f->ino, offsetof(struct fmt_inode, parent), dir, 8);
	return r ? r : patch_u64(v, f->ino, offsetof(struct fmt_inode, nlink), 1, 4);
}

int fix_lost_found(struct repair *rp, const struct fix *f)
{
	struct lost_found_arg a = { f, rp->c->max_ino };

	snprintf(rp->outcome, sizeof(rp->outcome), "now /" LOST_FOUND "/#%" PRIu64, f->ino);
	return jnl_run(rp->jnl, 6 * BTREE_CREDITS, lost_found_body, &a, NULL);
}
