/*
 * Entries of directories: find, add, remove, list.
 *
 * An entry's key is (directory, hash of the name << 8 | seq); names with the same hash take
 * different seqs. The key's second half is the cookie of readdir: an entry keeps it for life, so a
 * listing that goes on after a cookie shows every entry that was there all the time exactly once,
 * whatever is added or removed meanwhile.
 *
 * Invariants:
 *  1. attr.entries of a directory is the number of its entries; nlink is 2 + subdirectories, and 0
 *     when it has been removed.
 *  2. Entries change only under the directory's lock, exclusively, in a handle that stores
 *     the directory's inode too.
 *
 * Locks: dir_lock() is the only place that takes more than one inode lock.
 */
#include "fs/dir.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

#define SEQ_MAX 255u
#define BATCH_MIN 4096u
#define BATCH_MAX 65536u

static bool is_dot(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

int dir_name_init(struct dir_name *n, struct inode *dir, const char *name, size_t len)
{
	if (!S_ISDIR(fs_mode(dir)))
		return -ENOTDIR;
	if (len > LIMIT_NAME)
		return -ENAMETOOLONG;
	if (len == 0)
		return -ENOENT;
	if (memchr(name, '/', len) || memchr(name, 0, len))
		return -EINVAL;
	if (is_dot(name, len))
		return -EEXIST;
	*n = (struct dir_name){
		.dir = dir,
		.name = name,
		.len = (u32)len,
		.hash = fmt_name_hash(&dir->fs->geo, name, (u32)len),
	};
	return 0;
}

/* ---- in bodies ---- */

/* The entry at or after *b of the directory, checked. -ENOENT at the end. */
static int next_entry(struct view *v, u64 dir, u64 *b, const struct fmt_dirent **out)
{
	struct fmt_key k = { dir, *b };
	const void *val;
	enum why why;
	u32 len;
	int r = btree_next(v, FMT_TREE_DIRENT, &k, &val, &len);

	if (r)
		return r;
	if (k.a != dir)
		return -ENOENT;
	why = fmt_value_why(FMT_TREE_DIRENT, k, val, len, view_geo(v));
	if (why)
		return corrupt(why, dir, CORRUPT_NO_SECTOR);
	*b = k.b;
	*out = val;
	return 0;
}

int dir_find_in(struct view *v, struct dir_name *n)
{
	u64 b = n->hash << 8;
	const struct fmt_dirent *d = NULL;
	int r;

	n->ino = 0;
	for (;; b++) {
		r = next_entry(v, n->dir->ino, &b, &d);
		if (r)
			return r == -ENOENT ? 0 : r;
		if (b >> 8 != n->hash)
			return 0;
		if (d->namelen == n->len && !memcmp(d->name, n->name, n->len))
			break;
	}
	n->key_b = b;
	n->ino = get64(d->ino);
	n->type = d->type;
	return 0;
}

/* The lowest free seq of the hash. */
static int free_key(struct view *v, const struct dir_name *n, u64 *out)
{
	u64 want = n->hash << 8, b = want;
	const struct fmt_dirent *d = NULL;
	int r;

	while (!(r = next_entry(v, n->dir->ino, &b, &d)) && b == want) {
		if ((want & SEQ_MAX) == SEQ_MAX) {
			log_warn("directory %llu: %u names have one hash, no more can be added",
				 (unsigned long long)n->dir->ino, SEQ_MAX + 1);
			return -ENOSPC;
		}
		b = ++want;
	}
	if (r && r != -ENOENT)
		return r;
	*out = want;
	return 0;
}

int dir_add_in(struct view *v, const struct dir_name *n, u64 ino, u8 type)
{
	u8 buf[sizeof(struct fmt_dirent) + LIMIT_NAME];
	struct fmt_dirent *d = (struct fmt_dirent *)buf;
	u64 b;
	int r = free_key(v, n, &b);

	if (r)
		return r;
	d->ino = put64(ino);
	d->type = type;
	d->namelen = (u8)n->len;
	memcpy(d->name, n->name, n->len);
	return btree_insert(v, FMT_TREE_DIRENT, (struct fmt_key){ n->dir->ino, b }, buf,
			    (u32)sizeof(*d) + n->len);
}

int dir_remove_in(struct view *v, const struct dir_name *n)
{
	return btree_remove(v, FMT_TREE_DIRENT, (struct fmt_key){ n->dir->ino, n->key_b });
}

int dir_replace_in(struct view *v, const struct dir_name *n, u64 ino, u8 type)
{
	struct { le64 ino; u8 type; } __attribute__((packed)) head = { put64(ino), type };

	return btree_patch(v, FMT_TREE_DIRENT, (struct fmt_key){ n->dir->ino, n->key_b }, 0, &head,
			   sizeof(head));
}

int dir_may_change(const struct inode_edit *dir, bool remove)
{
	if (dir->attr.nlink == 0)
		return -ENOENT;
	if (dir->attr.flags & FMT_IFLAG_IMMUTABLE)
		return -EPERM;
	if (remove && (dir->attr.flags & FMT_IFLAG_APPEND))
		return -EPERM;
	return 0;
}

int dir_count(struct inode_edit *dir, int entries, int subdirs, struct timespec now)
{
	struct ino_attr *a = &dir->attr;

	if (subdirs > 0 && a->nlink >= FMT_LINK_MAX)
		return -EMLINK;
	if (subdirs < 0 && a->nlink <= 2)
		return corrupt(WHY_DIR_NLINK, dir->ip->ino, CORRUPT_NO_SECTOR);
	if (entries < 0 && a->entries == 0)
		return corrupt(WHY_DIR_ENTRIES, dir->ip->ino, CORRUPT_NO_SECTOR);
	a->nlink += (u32)subdirs;
	a->entries += (u64)(s64)entries;
	a->mtime = a->ctime = now;
	return 0;
}

int dir_drop_link_in(struct view *v, struct inode_edit *e, struct timespec now)
{
	struct ino_attr *a = &e->attr;

	if (a->nlink == 0)
		return corrupt(WHY_INODE_NLINK, e->ip->ino, CORRUPT_NO_SECTOR);
	a->nlink = S_ISDIR(a->mode) ? 0 : a->nlink - 1;
	a->ctime = now;
	if (a->nlink)
		return 0;
	e->deleted = true;
	return orphan_add_in(v, e->ip->ino, FMT_ORPHAN_DELETE, 0);
}

/* ---- locks ---- */

static bool lock_add(struct dir_locks *l, struct inode *ip)
{
	unsigned at = 0;

	if (!ip)
		return false;
	while (at < l->nr && l->ip[at]->ino < ip->ino)
		at++;
	if (at < l->nr && l->ip[at] == ip)
		return false;
	for (unsigned i = l->nr; i > at; i--)
		l->ip[i] = l->ip[i - 1];
	l->ip[at] = ip;
	l->nr++;
	return true;
}

void dir_lock(struct dir_locks *l, struct inode *const *ips, unsigned nr)
{
	l->nr = 0;
	for (unsigned i = 0; i < nr; i++)
		lock_add(l, ips[i]);
	for (unsigned i = 0; i < l->nr; i++) {
		if (i == 0)
			rwlock_wrlock(&l->ip[i]->lock);
		else
			rwlock_wrlock_nested(&l->ip[i]->lock);
	}
}

void dir_unlock(struct dir_locks *l)
{
	while (l->nr > 0)
		rwlock_unlock(&l->ip[--l->nr]->lock);
}

/* ---- readdir ---- */

struct batch {
	u64 dir;
	u64 from;          /* first key to look at */
	u64 parent;
	u32 size, used;    /* bytes of data */
	bool end;          /* nothing after what is in data */
	u8 *data;
};

struct batch_entry {
	u64 b, ino;
	u8 type, namelen;
	char name[];
};

#define BATCH_ENTRY(len) ALIGN_UP((u32)sizeof(struct batch_entry) + (u32)(len), 8u)

static int batch_body(struct view *v, void *arg)
{
	struct batch *c = arg;
	const struct fmt_dirent *d = NULL;
	u64 b = c->from;
	int r;

	c->used = 0;
	c->end = false;
	for (;; b++) {
		struct batch_entry *e;

		r = next_entry(v, c->dir, &b, &d);
		if (r == -ENOENT)
			c->end = true;
		if (r)
			return r == -ENOENT ? 0 : r;
		if (c->used + BATCH_ENTRY(d->namelen) > c->size)
			return 0;
		e = (struct batch_entry *)(c->data + c->used);
		e->b = b;
		e->ino = get64(d->ino);
		e->type = d->type;
		e->namelen = d->namelen;
		memcpy(e->name, d->name, d->namelen);
		c->used += BATCH_ENTRY(d->namelen);
	}
}

static int batch_load(struct inode *dir, struct batch *c)
{
	int r;

	rwlock_rdlock(&dir->lock);
	r = jnl_read(dir->fs->jnl, batch_body, c);
	rwlock_unlock(&dir->lock);
	return r;
}

/* 1 when fill has had enough. */
static int batch_fill(struct batch *c, fs_filldir fill, void *arg)
{
	u32 at = 0;

	while (at < c->used) {
		const struct batch_entry *e = (const struct batch_entry *)(c->data + at);

		if (fill(arg, e->name, e->namelen, e->ino, e->type, e->b))
			return 1;
		c->from = e->b + 1;
		at += BATCH_ENTRY(e->namelen);
	}
	return 0;
}

static int fill_dots(struct inode *dir, u64 cookie, fs_filldir fill, void *arg)
{
	u64 parent;

	if (cookie < 1 && fill(arg, ".", 1, dir->ino, DT_DIR, 1))
		return 1;
	if (cookie >= 2)
		return 0;
	mutex_lock(&dir->state);
	parent = dir->attr.parent;
	mutex_unlock(&dir->state);
	return fill(arg, "..", 2, parent ? parent : dir->ino, DT_DIR, 2) ? 1 : 0;
}

/*
 * Entries are collected in batches without holding anything while fill runs. The first batch is
 * about what one request of the kernel takes; who goes on gets larger ones.
 */
int fs_readdir(struct inode *dir, u64 cookie, fs_filldir fill, void *arg)
{
	struct batch c = { .dir = dir->ino, .size = BATCH_MIN };
	int r;

	if (!S_ISDIR(fs_mode(dir)))
		return -ENOTDIR;
	if (cookie > INT64_MAX)
		return -EINVAL;
	c.data = malloc(BATCH_MAX);
	if (!c.data)
		return -ENOMEM;
	r = fill_dots(dir, cookie, fill, arg);
	c.from = cookie <= 2 ? 0 : cookie + 1;
	while (r == 0) {
		r = batch_load(dir, &c);
		if (r == 0)
			r = batch_fill(&c, fill, arg);
		if (c.end)
			break;
		c.size = MIN(c.size * 2, BATCH_MAX);
	}
	free(c.data);
	inode_touch_atime(dir);
	return r < 0 ? r : 0;
}
