/*
 * Extended attributes: user., trusted., security. and the access control lists, stored whole with
 * their prefix.
 *
 * An attribute is one item, or several for a value over FMT_XATTR_CHUNK bytes: key (inode, hash of
 * the name << 16 | seq << 8 | chunk); chunk 0 carries the name and the first bytes. Names with one
 * hash take different seqs.
 *
 * Rules:
 *  1. Setting, replacing and removing is one handle, whatever the size: a crash leaves the old
 *     value or the new one. The chunks lie next to each other, so the handle touches few buffers.
 *  2. attr.xattrs is the number of attributes: without any, nothing is looked up (the kernel asks
 *     for security.capability at every write).
 *  3. Of system. there are the two access control lists (acl.h), all else is refused with
 *     -EOPNOTSUPP. A list is one item. Setting an access list sets the mode, and one that says no
 *     more than a mode is not kept.
 *
 * Locks: ip->lock, shared to read, exclusive to change.
 */
#include <string.h>
#include <sys/xattr.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "fs/acl.h"
#include "fs/xattr.h"

#define SEQ_MAX 255u
#define CHUNKS_MAX DIV_ROUND_UP(LIMIT_XATTR_VALUE, FMT_XATTR_CHUNK)
/* Each chunk may be alone in a leaf; splitting and merging add the neighbours and the path. */
#define XATTR_CREDITS(chunks) MIN_T(u32, 3 * BTREE_CREDITS + 3 * (chunks), JNL_CREDITS_MAX)

struct xattr {
	struct inode *ip;
	u64 ino;
	const char *name;
	u32 name_len;
	bool acl;                  /* ACL_ACCESS or ACL_DEFAULT */
	u64 hash;
	const u8 *val;             /* to set */
	u32 val_len;
	int flags;
	void *buf;                 /* to get */
	size_t size;
	struct timespec now;
	/* found */
	struct inode_edit edit;
	u64 key_b;                 /* of chunk 0; 0 = no such attribute */
	u64 free_b;                /* where a new one goes */
	u32 found_len, found_chunks;
};

static bool is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

static int check_name(const char *name)
{
	static const char *const prefix[] = { "user.", "trusted.", "security." };
	size_t len = strlen(name);

	if (len == 0 || len > LIMIT_XATTR_NAME)
		return -ERANGE;
	if (is_acl(name))
		return 0;
	for (unsigned i = 0; i < ARRAY_LEN(prefix); i++) {
		size_t n = strlen(prefix[i]);

		if (!strncmp(name, prefix[i], n))
			return len == n ? -EINVAL : 0;
	}
	return -EOPNOTSUPP;
}

static void set_name(struct xattr *x, const struct fmt_geo *geo, u64 ino, const char *name)
{
	*x = (struct xattr){ .ino = ino, .name = name, .name_len = (u32)strlen(name) };
	x->acl = is_acl(name);
	x->hash = fmt_xattr_hash(geo, name, x->name_len);
}

static int xattr_init(struct xattr *x, struct inode *ip, const char *name)
{
	int r = check_name(name);

	if (r)
		return r;
	set_name(x, &ip->fs->geo, ip->ino, name);
	x->ip = ip;
	return 0;
}

static u32 nr_chunks(u32 val_len)
{
	return MAX(1u, DIV_ROUND_UP(val_len, FMT_XATTR_CHUNK));
}

/* ---- in bodies ---- */

/* The item at or after *b of the inode, checked; -ENOENT at the end. */
static int next_item(struct view *v, u64 ino, u64 *b, const void **val, u32 *len)
{
	struct fmt_key k = { ino, *b };
	enum why why;
	int r = btree_next(v, FMT_TREE_XATTR, &k, val, len);

	if (r)
		return r;
	if (k.a != ino)
		return -ENOENT;
	why = fmt_value_why(FMT_TREE_XATTR, k, *val, *len, view_geo(v));
	if (why)
		return corrupt(why, ino, CORRUPT_NO_SECTOR);
	*b = k.b;
	return 0;
}

/* What follows an attribute is the first piece of another. */
static int check_first(u64 ino, u64 b)
{
	return b & 0xff ? corrupt(WHY_XATTR_NO_HEAD, ino, CORRUPT_NO_SECTOR) : 0;
}

/* Sets key_b when the attribute is there, else free_b to the lowest free seq (0: none is free). */
static int find_in(struct view *v, struct xattr *x)
{
	u64 b = x->hash << 16, seq = 0;
	const struct fmt_xattr *item;
	const void *val;
	u32 len;
	int r;

	x->key_b = 0;
	for (; !(r = next_item(v, x->ino, &b, &val, &len)); b = (b | 0xff) + 1) {
		if (b >> 16 != x->hash)
			break;
		r = check_first(x->ino, b);
		if (r)
			return r;
		item = val;
		if (seq == (b >> 8 & SEQ_MAX))
			seq++;
		if (item->namelen != x->name_len || memcmp(item->name, x->name, x->name_len))
			continue;
		x->key_b = b;
		x->found_len = get32(item->value_len);
		x->found_chunks = item->chunks;
		return 0;
	}
	x->free_b = seq > SEQ_MAX ? 0 : x->hash << 16 | seq << 8;
	return r == -ENOENT ? 0 : r;
}

static int remove_in(struct view *v, const struct xattr *x)
{
	int r = 0;

	for (u32 i = x->found_chunks; i-- > 0 && r == 0;)
		r = btree_remove(v, FMT_TREE_XATTR,
				 (struct fmt_key){ x->ino, x->key_b + i });
	return r == -ENOENT ? corrupt(WHY_XATTR_PIECE_GONE, x->ino, CORRUPT_NO_SECTOR) : r;
}

static int add_first(struct view *v, const struct xattr *x, u64 b)
{
	u8 buf[sizeof(struct fmt_xattr) + LIMIT_XATTR_NAME + FMT_XATTR_CHUNK];
	struct fmt_xattr *h = (struct fmt_xattr *)buf;
	u32 n = MIN(x->val_len, FMT_XATTR_CHUNK);

	*h = (struct fmt_xattr){
		.value_len = put32(x->val_len),
		.namelen = (u8)x->name_len,
		.chunks = (u8)nr_chunks(x->val_len),
	};
	memcpy(h->name, x->name, x->name_len);
	if (n)
		memcpy(h->name + x->name_len, x->val, n);
	return btree_insert(v, FMT_TREE_XATTR, (struct fmt_key){ x->ino, b }, buf,
			    (u32)sizeof(*h) + x->name_len + n);
}

static int add_in(struct view *v, const struct xattr *x, u64 b)
{
	int r = add_first(v, x, b);

	for (u32 i = 1; r == 0 && i < nr_chunks(x->val_len); i++) {
		u32 off = i * FMT_XATTR_CHUNK;

		r = btree_insert(v, FMT_TREE_XATTR, (struct fmt_key){ x->ino, b + i },
				 x->val + off, MIN(x->val_len - off, FMT_XATTR_CHUNK));
	}
	return r;
}

/* ---- get, list ---- */

static int copy_chunk(const struct xattr *x, u32 chunk, const void *val, u32 len, u32 *at)
{
	const struct fmt_xattr *h = val;
	const u8 *data = val;

	if (chunk == 0) {
		data = (const u8 *)h->name + h->namelen;
		len -= (u32)sizeof(*h) + h->namelen;
	}
	if (len > x->found_len - *at)
		return corrupt(WHY_XATTR_LONG, x->ino, CORRUPT_NO_SECTOR);
	memcpy((u8 *)x->buf + *at, data, len);
	*at += len;
	return 0;
}

/* The value that find_in() has found. */
static int copy_value(struct view *v, const struct xattr *x)
{
	u32 at = 0, len;
	const void *val;
	int r = 0;

	if (x->found_len > x->size)
		return -ERANGE;
	for (u32 i = 0; i < x->found_chunks && r == 0; i++) {
		u64 b = x->key_b + i;

		r = next_item(v, x->ino, &b, &val, &len);
		if (r == -ENOENT || (r == 0 && b != x->key_b + i))
			return corrupt(WHY_XATTR_PIECE_MISSING, x->ino, CORRUPT_NO_SECTOR);
		if (r == 0)
			r = copy_chunk(x, i, val, len, &at);
	}
	if (r == 0 && at != x->found_len)
		return corrupt(WHY_XATTR_CUT, x->ino, CORRUPT_NO_SECTOR);
	return r;
}

static int get_body(struct view *v, void *arg)
{
	struct xattr *x = arg;
	int r = find_in(v, x);

	if (r)
		return r;
	if (!x->key_b)
		return -ENODATA;
	return x->size ? copy_value(v, x) : 0;
}

int xattr_get_in(struct view *v, const struct inode *ip, const char *name, void *buf, u32 size,
		 u32 *len)
{
	struct xattr x;
	int r;

	set_name(&x, view_geo(v), ip->ino, name);
	x.buf = buf;
	x.size = size;
	r = get_body(v, &x);
	if (r == 0)
		*len = x.found_len;
	return r;
}

static u32 count(struct inode *ip)
{
	u32 nr;

	mutex_lock(&ip->state);
	nr = ip->attr.xattrs;
	mutex_unlock(&ip->state);
	return nr;
}

int fs_getxattr(struct inode *ip, const char *name, void *buf, size_t size)
{
	struct xattr x;
	int r = xattr_init(&x, ip, name);

	if (r)
		return r;
	if (!count(ip))
		return -ENODATA;
	x.buf = buf;
	x.size = size;
	rwlock_rdlock(&ip->lock);
	r = jnl_read(ip->fs->jnl, get_body, &x);
	rwlock_unlock(&ip->lock);
	return r ? r : (int)x.found_len;
}

struct list {
	u64 ino;
	char *buf;
	size_t size;
	u64 used;
};

static int list_body(struct view *v, void *arg)
{
	struct list *l = arg;
	const struct fmt_xattr *h;
	const void *val;
	u64 b = 0;
	u32 len;
	int r;

	l->used = 0;
	for (; !(r = next_item(v, l->ino, &b, &val, &len)); b = (b | 0xff) + 1) {
		r = check_first(l->ino, b);
		if (r)
			return r;
		h = val;
		if (l->size && l->used + h->namelen + 1 > l->size)
			return -ERANGE;
		if (l->size) {
			memcpy(l->buf + l->used, h->name, h->namelen);
			l->buf[l->used + h->namelen] = 0;
		}
		l->used += h->namelen + 1u;
	}
	return r == -ENOENT ? 0 : r;
}

int fs_listxattr(struct inode *ip, char *buf, size_t size)
{
	struct list l = { ip->ino, buf, size, 0 };
	int r;

	if (!count(ip))
		return 0;
	rwlock_rdlock(&ip->lock);
	r = jnl_read(ip->fs->jnl, list_body, &l);
	rwlock_unlock(&ip->lock);
	if (r)
		return r;
	return l.used > INT32_MAX ? -E2BIG : (int)l.used;
}

/* ---- set, remove ---- */

static int may_change(const struct inode_edit *e)
{
	return e->attr.flags & (FMT_IFLAG_IMMUTABLE | FMT_IFLAG_APPEND) ? -EPERM : 0;
}

int xattr_add_in(struct view *v, u64 ino, const char *name, const void *val, u32 len)
{
	struct xattr x;
	int r;

	set_name(&x, view_geo(v), ino, name);
	x.val = val;
	x.val_len = len;
	r = find_in(v, &x);
	return r ? r : add_in(v, &x, x.free_b);
}

/* Mode and list say the same. Need the list be kept? */
static bool take_acl(struct xattr *x)
{
	struct ino_attr *a = &x->edit.attr;

	if (strcmp(x->name, ACL_ACCESS))
		return true;
	a->mode = acl_to_mode(x->val, x->val_len, a->mode);
	if (x->flags & FS_XATTR_KILL_SGID)
		a->mode &= ~(u32)S_ISGID;
	return !acl_is_mode(x->val, x->val_len);
}

static int check_set(const struct xattr *x, bool there)
{
	int r = may_change(&x->edit);

	if (r)
		return r;
	if (x->acl && S_ISLNK(x->edit.attr.mode))
		return -EOPNOTSUPP;
	if (x->acl && strcmp(x->name, ACL_ACCESS) && !S_ISDIR(x->edit.attr.mode))
		return -EACCES;
	if (there && (x->flags & XATTR_CREATE))
		return -EEXIST;
	if (!there && (x->flags & XATTR_REPLACE))
		return -ENODATA;
	if (!there && !x->free_b) {
		log_warn("inode %llu: too many attribute names have one hash",
			 (unsigned long long)x->ino);
		return -ENOSPC;
	}
	return 0;
}

static int set_body(struct view *v, void *arg)
{
	struct xattr *x = arg;
	bool there, keep;
	int r = find_in(v, x);

	if (r)
		return r;
	there = x->key_b != 0;
	inode_edit_begin(&x->edit, x->ip);
	r = check_set(x, there);
	if (r)
		return r;
	keep = !x->acl || take_acl(x);
	if (there)
		r = remove_in(v, x);
	if (r == 0 && keep)
		r = add_in(v, x, there ? x->key_b : x->free_b);
	if (r)
		return r;
	x->edit.attr.xattrs += (u32)keep - (u32)there;
	x->edit.attr.ctime = x->now;
	return inode_edit_end(v, &x->edit);
}

int fs_setxattr(struct inode *ip, const char *name, const void *val, size_t size, int flags)
{
	struct xattr x;
	int r = fs_may_change(ip->fs);

	if (r || (r = xattr_init(&x, ip, name)))
		return r;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE | FS_XATTR_KILL_SGID))
		return -EINVAL;
	if (size > LIMIT_XATTR_VALUE)
		return -E2BIG;
	if (x.acl && (r = acl_check(val, size)))
		return r;
	x.val = val;
	x.val_len = (u32)size;
	x.flags = flags;
	x.now = fs_now(ip->fs);
	rwlock_wrlock(&ip->lock);
	r = space_run(ip->fs->jnl, XATTR_CREDITS(CHUNKS_MAX), set_body, &x, NULL);
	rwlock_unlock(&ip->lock);
	return r;
}

static int remove_body(struct view *v, void *arg)
{
	struct xattr *x = arg;
	int r = find_in(v, x);

	if (r)
		return r;
	if (!x->key_b)
		return -ENODATA;
	inode_edit_begin(&x->edit, x->ip);
	r = may_change(&x->edit);
	if (r == 0)
		r = remove_in(v, x);
	if (r)
		return r;
	if (x->edit.attr.xattrs == 0)
		return corrupt(WHY_XATTR_COUNT, x->ino, CORRUPT_NO_SECTOR);
	x->edit.attr.xattrs--;
	x->edit.attr.ctime = x->now;
	return inode_edit_end(v, &x->edit);
}

int fs_removexattr(struct inode *ip, const char *name)
{
	struct xattr x;
	int r = fs_may_change(ip->fs);

	if (r || (r = xattr_init(&x, ip, name)))
		return r;
	if (!count(ip))
		return -ENODATA;
	x.now = fs_now(ip->fs);
	rwlock_wrlock(&ip->lock);
	r = space_run(ip->fs->jnl, XATTR_CREDITS(CHUNKS_MAX), remove_body, &x, NULL);
	rwlock_unlock(&ip->lock);
	return r;
}

/* ---- chmod of what has an access list ---- */

struct chmod {
	struct xattr x;
	u32 mode;
	u8 acl[ACL_BYTES_MAX];
};

static int chmod_body(struct view *v, void *arg)
{
	struct chmod *c = arg;
	struct xattr *x = &c->x;
	u32 at = (u32)sizeof(struct fmt_xattr) + x->name_len;
	int r = find_in(v, x);

	if (r || !x->key_b)
		return r;
	r = copy_value(v, x);
	if (r == -ERANGE)
		return corrupt(WHY_ACL_LONG, x->ino, CORRUPT_NO_SECTOR);
	if (r == 0 && acl_check(c->acl, x->found_len))
		return corrupt(WHY_ACL_ACCESS, x->ino, CORRUPT_NO_SECTOR);
	if (r)
		return r;
	acl_chmod(c->acl, x->found_len, c->mode);
	inode_edit_begin(&x->edit, x->ip);
	x->edit.attr.mode = (x->edit.attr.mode & S_IFMT) | (c->mode & 07777);
	x->edit.attr.ctime = x->now;
	r = btree_patch(v, FMT_TREE_XATTR, (struct fmt_key){ x->ino, x->key_b }, at, c->acl,
			x->found_len);
	return r ? r : inode_edit_end(v, &x->edit);
}

int xattr_chmod_locked(struct inode *ip, u32 mode)
{
	struct chmod c = { .mode = mode };

	if (!count(ip))
		return 0;
	set_name(&c.x, &ip->fs->geo, ip->ino, ACL_ACCESS);
	c.x.ip = ip;
	c.x.buf = c.acl;
	c.x.size = sizeof(c.acl);
	c.x.now = fs_now(ip->fs);
	return jnl_run(ip->fs->jnl, BTREE_CREDITS + 4, chmod_body, &c, NULL);
}
