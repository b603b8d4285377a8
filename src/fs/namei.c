/*
 * Names: lookup, create, link, unlink, rmdir.
 *
 * Rules:
 *  1. Each operation is one handle: its body checks everything again and changes everything (entry,
 *     both inodes, counters, orphan entry), so no half of it is ever seen, in memory or after a
 *     crash.
 *  2. A victim is looked up without its lock; once both are locked the body compares the number
 *     that the name has now, and -ESTALE has it all done again.
 *  3. Everything that an operation changed is durable after an fsync of any inode it touched.
 *  4. Numbers of inodes come from the root sector and are never used again, so a number read a
 *     while ago means this inode or none.
 *
 * Locks: the directory (exclusive for changes) and the inode that loses or gets a link.
 */
#include <string.h>

#include "base/err.h"
#include "base/lock.h"
#include "base/limits.h"
#include "fs/acl.h"
#include "fs/dir.h"

_Static_assert(sizeof(struct fmt_inode) + LIMIT_SYMLINK <= FMT_VALUE_MAX,
	       "a symbolic link fits into its item");

/* ---- lookup ---- */

static int lookup_body(struct view *v, void *arg)
{
	return dir_find_in(v, arg);
}

/* dir locked: the entry can't go while the inode is loaded. */
static int lookup_locked(struct dir_name *n, struct inode **out)
{
	struct fs *fs = n->dir->fs;
	int r = jnl_read(fs->jnl, lookup_body, n);

	if (r)
		return r;
	if (n->ino == 0)
		return -ENOENT;
	r = fs_iget(fs, n->ino, out);
	return r == -ESTALE ? corrupt(WHY_INODE_MISSING, n->ino, CORRUPT_NO_SECTOR) : r;
}

static int lookup_dots(struct inode *dir, size_t len, struct inode **out)
{
	u64 parent;

	if (len == 1) {
		*out = fs_ihold(dir);
		return 0;
	}
	mutex_lock(&dir->state);
	parent = dir->attr.parent;
	mutex_unlock(&dir->state);
	return fs_iget(dir->fs, parent ? parent : dir->ino, out);
}

int fs_lookup(struct inode *dir, const char *name, size_t len, struct inode **out)
{
	struct dir_name n;
	int r = dir_name_init(&n, dir, name, len);

	if (r == -EEXIST)
		return lookup_dots(dir, len, out);
	if (r)
		return r;
	rwlock_rdlock(&dir->lock);
	r = lookup_locked(&n, out);
	rwlock_unlock(&dir->lock);
	return r;
}

/* ---- create ---- */

struct create {
	struct dir_name name;
	struct inode *ip;          /* the object that becomes the new inode */
	struct ino_attr attr;
	u32 mode, umask;           /* as asked for */
	const char *target;        /* symbolic links */
	u32 target_len;
	bool no_name;              /* fs_tmpfile: an orphan from the beginning */
	struct timespec now;
	/* set up by each run of the body */
	struct inode_edit dir;
	struct acl_new *acl;
	u64 ino;
};

int dir_new_number_in(struct view *v, u64 *out)
{
	struct fmt_root *root;
	int r = root_edit(v, &root);

	if (r)
		return r;
	*out = get64(root->next_ino);
	if (*out <= FMT_ROOT_INO || *out >= INT64_MAX)
		return corrupt(WHY_ROOT_INO_END, CORRUPT_NO_INO, view_geo(v)->root_sector);
	root->next_ino = put64(*out + 1);
	root->nr_inodes = put64(get64(root->nr_inodes) + 1);
	return 0;
}

static int insert_item(struct view *v, const struct create *c)
{
	u8 buf[FMT_VALUE_MAX];

	inode_encode(&c->attr, c->target_len, S_ISREG(c->attr.mode), c->target_len,
		     (struct fmt_inode *)buf);
	if (c->target_len)
		memcpy(buf + sizeof(struct fmt_inode), c->target, c->target_len);
	return btree_insert(v, FMT_TREE_INODE, (struct fmt_key){ c->ino, 0 }, buf,
			    (u32)sizeof(struct fmt_inode) + c->target_len);
}

/*
 * The group comes from a setgid directory, and subdirectories pass the bit on. So they do with a
 * default access list, which takes the umask's place.
 */
static int inherit(struct view *v, struct create *c)
{
	const struct ino_attr *dir = &c->dir.attr;
	int r;

	c->attr.mode = c->mode;
	r = acl_inherit_in(v, &c->dir, c->umask, &c->attr.mode, c->acl);
	if (r)
		return r;
	c->attr.xattrs = acl_new_count(c->acl);
	if (S_ISDIR(c->attr.mode))
		c->attr.parent = c->name.dir->ino;
	if (!(dir->mode & S_ISGID))
		return 0;
	c->attr.gid = dir->gid;
	if (S_ISDIR(c->attr.mode))
		c->attr.mode |= S_ISGID;
	return 0;
}

static void create_published(void *arg, u64 seq)
{
	struct create *c = arg;
	struct inode *ip = c->ip;

	ip->ino = ip->file.ino = c->ino;
	mapping_set_id(&ip->file.mapping, c->ino);
	ip->attr = c->attr;
	ip->inl = ip->inl_on_disk = S_ISREG(c->attr.mode);
	ip->disk_size = c->target_len;
	__atomic_store_n(&ip->file.size, c->target_len, __ATOMIC_RELEASE);
	ip->sync_seq = ip->datasync_seq = seq;
	ip->deleted = ip->linkable = c->no_name;
	itable_insert(ip->fs, ip);
}

static int tmpfile_body(struct view *v, void *arg)
{
	struct create *c = arg;
	int r;

	inode_edit_begin(&c->dir, c->name.dir);
	if ((r = dir_may_change(&c->dir, false)) || (r = dir_new_number_in(v, &c->ino)) ||
	    (r = inherit(v, c)) || (r = insert_item(v, c)) ||
	    (r = acl_add_in(v, c->ino, c->acl)) ||
	    (r = orphan_add_in(v, c->ino, FMT_ORPHAN_DELETE, 0)))
		return r;
	return view_on_publish(v, create_published, c);
}

static int create_body(struct view *v, void *arg)
{
	struct create *c = arg;
	bool is_dir = S_ISDIR(c->mode);
	int r = dir_find_in(v, &c->name);

	if (r == 0 && c->name.ino)
		r = -EEXIST;
	if (r)
		return r;
	inode_edit_begin(&c->dir, c->name.dir);
	if ((r = dir_may_change(&c->dir, false)) ||
	    (r = dir_count(&c->dir, 1, is_dir ? 1 : 0, c->now)) ||
	    (r = dir_new_number_in(v, &c->ino)))
		return r;
	if ((r = inherit(v, c)) || (r = insert_item(v, c)) ||
	    (r = acl_add_in(v, c->ino, c->acl)) ||
	    (r = dir_add_in(v, &c->name, c->ino, dir_type(c->attr.mode))) ||
	    (r = inode_edit_end(v, &c->dir)))
		return r;
	return view_on_publish(v, create_published, c);
}

/* Item, entry, two access lists. */
#define CREATE_CREDITS (4 * BTREE_CREDITS + 4)

static int create(struct create *c, struct inode **out)
{
	struct inode *dir = c->name.dir;
	struct fs *fs = dir->fs;
	struct acl_new acl;
	int r;

	c->acl = &acl;
	c->ip = inode_new(fs, 0);
	if (!c->ip)
		return -ENOMEM;
	c->now = fs_now(fs);
	c->attr.atime = c->attr.mtime = c->attr.ctime = c->attr.btime = c->now;
	c->attr.nlink = c->no_name ? 0 : S_ISDIR(c->mode) ? 2 : 1;
	rwlock_wrlock(&dir->lock);
	r = space_run(fs->jnl, CREATE_CREDITS, c->no_name ? tmpfile_body : create_body, c, NULL);
	rwlock_unlock(&dir->lock);
	if (r) {
		inode_drop(c->ip);
		return r;
	}
	*out = c->ip;
	return 0;
}

static int check_type(u32 *mode)
{
	if ((*mode & S_IFMT) == 0)
		*mode |= S_IFREG;
	if (*mode & ~(u32)(S_IFMT | 07777))
		return -EINVAL;
	switch (*mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return 0;
	}
	return -EINVAL;
}

int fs_mknod(struct inode *dir, const char *name, size_t len, u32 mode, u64 rdev,
	     struct fs_cred cred, struct inode **out)
{
	struct create c = { 0 };
	int r = check_type(&mode);

	if (r || (r = fs_may_change(dir->fs)) || (r = dir_name_init(&c.name, dir, name, len)))
		return r;
	c.mode = mode;
	c.umask = cred.umask;
	c.attr.uid = cred.uid;
	c.attr.gid = cred.gid;
	c.attr.rdev = S_ISCHR(mode) || S_ISBLK(mode) ? rdev : 0;
	return create(&c, out);
}

int fs_tmpfile(struct inode *dir, u32 mode, struct fs_cred cred, struct inode **out)
{
	struct create c = { .name.dir = dir, .no_name = true };
	int r = fs_may_change(dir->fs);

	if (r)
		return r;
	if (!S_ISDIR(fs_mode(dir)))
		return -ENOTDIR;
	c.mode = S_IFREG | (mode & 07777);
	c.umask = cred.umask;
	c.attr.uid = cred.uid;
	c.attr.gid = cred.gid;
	return create(&c, out);
}

int fs_symlink(struct inode *dir, const char *name, size_t len, const char *target,
	       size_t target_len, struct fs_cred cred, struct inode **out)
{
	struct create c = { 0 };
	int r;

	if ((r = fs_may_change(dir->fs)) || (r = dir_name_init(&c.name, dir, name, len)))
		return r;
	if (target_len == 0)
		return -ENOENT;
	if (target_len > LIMIT_SYMLINK)
		return -ENAMETOOLONG;
	c.mode = S_IFLNK | 0777;
	c.attr.uid = cred.uid;
	c.attr.gid = cred.gid;
	c.target = target;
	c.target_len = (u32)target_len;
	return create(&c, out);
}

struct readlink {
	u64 ino;
	char *buf;
	size_t size;
	u32 len;
};

static int readlink_body(struct view *v, void *arg)
{
	struct readlink *l = arg;
	const struct fmt_inode *item;
	const void *target;
	u32 len;
	int r = inode_get_item(v, l->ino, &item, &target, &len);

	if (r)
		return r == -ENOENT ? corrupt(WHY_INODE_TARGET, l->ino, CORRUPT_NO_SECTOR) : r;
	l->len = len < l->size ? len : (u32)l->size;
	memcpy(l->buf, target, l->len);
	return 0;
}

int fs_readlink(struct inode *ip, char *buf, size_t size)
{
	struct readlink l = { ip->ino, buf, size, 0 };
	int r;

	if (!S_ISLNK(fs_mode(ip)) || size == 0)
		return -EINVAL;
	r = jnl_read(ip->fs->jnl, readlink_body, &l);
	if (r)
		return r;
	inode_touch_atime(ip);
	return (int)l.len;
}

/* ---- link ---- */

struct change {
	struct dir_name name;
	struct inode *ip;
	bool rmdir;
	struct timespec now;
	/* set up by each run of the body */
	struct inode_edit dir, inode;
};

static int link_body(struct view *v, void *arg)
{
	struct change *c = arg;
	struct ino_attr *a = &c->inode.attr;
	int r = dir_find_in(v, &c->name);

	if (r == 0 && c->name.ino)
		r = -EEXIST;
	if (r)
		return r;
	inode_edit_begin(&c->dir, c->name.dir);
	inode_edit_begin(&c->inode, c->ip);
	if ((r = dir_may_change(&c->dir, false)) || (r = dir_count(&c->dir, 1, 0, c->now)))
		return r;
	if (a->nlink == 0 && !c->ip->linkable)
		return -ENOENT;
	if (a->flags & (FMT_IFLAG_IMMUTABLE | FMT_IFLAG_APPEND))
		return -EPERM;
	if (a->nlink >= FMT_LINK_MAX)
		return -EMLINK;
	if (a->nlink == 0) {
		c->inode.named = true;
		if ((r = orphan_named_in(v, c->ip->ino)))
			return r;
	}
	a->nlink++;
	a->ctime = c->now;
	if ((r = dir_add_in(v, &c->name, c->ip->ino, dir_type(a->mode))) ||
	    (r = inode_edit_end(v, &c->dir)))
		return r;
	return inode_edit_end(v, &c->inode);
}

int fs_link(struct inode *ip, struct inode *dir, const char *name, size_t len)
{
	struct change c = { .ip = ip, .now = fs_now(ip->fs) };
	struct dir_locks locks;
	int r;

	if ((r = fs_may_change(dir->fs)) || (r = dir_name_init(&c.name, dir, name, len)))
		return r;
	if (S_ISDIR(fs_mode(ip)))
		return -EPERM;
	dir_lock(&locks, (struct inode *[]){ dir, ip }, 2);
	r = space_run(dir->fs->jnl, 2 * BTREE_CREDITS + 4, link_body, &c, NULL);
	if (!r)
		ip->linkable = false;
	dir_unlock(&locks);
	return r;
}

/* ---- unlink, rmdir ---- */

static int may_remove(const struct change *c)
{
	const struct ino_attr *a = &c->inode.attr;

	if (c->rmdir && !S_ISDIR(a->mode))
		return -ENOTDIR;
	if (!c->rmdir && S_ISDIR(a->mode))
		return -EISDIR;
	if (a->flags & (FMT_IFLAG_IMMUTABLE | FMT_IFLAG_APPEND))
		return -EPERM;
	return c->rmdir && a->entries ? -ENOTEMPTY : 0;
}

static int remove_body(struct view *v, void *arg)
{
	struct change *c = arg;
	int r = dir_find_in(v, &c->name);

	if (r)
		return r;
	if (c->name.ino != c->ip->ino)
		return -ESTALE;
	inode_edit_begin(&c->dir, c->name.dir);
	inode_edit_begin(&c->inode, c->ip);
	if ((r = dir_may_change(&c->dir, true)) || (r = may_remove(c)) ||
	    (r = dir_count(&c->dir, -1, c->rmdir ? -1 : 0, c->now)) ||
	    (r = dir_remove_in(v, &c->name)) ||
	    (r = dir_drop_link_in(v, &c->inode, c->now)) || (r = inode_edit_end(v, &c->dir)))
		return r;
	return inode_edit_end(v, &c->inode);
}

static int remove_once(struct change *c)
{
	struct inode *dir = c->name.dir;
	struct dir_locks locks;
	int r = fs_lookup(dir, c->name.name, c->name.len, &c->ip);

	if (r)
		return r;
	if (c->ip == dir) {   /* only in a damaged file system */
		fs_iput(c->ip);
		return corrupt(WHY_DIRENT_SELF, dir->ino, CORRUPT_NO_SECTOR);
	}
	dir_lock(&locks, (struct inode *[]){ dir, c->ip }, 2);
	r = space_run(dir->fs->jnl, 2 * BTREE_CREDITS + 4, remove_body, c, NULL);
	dir_unlock(&locks);
	fs_iput(c->ip);
	return r;
}

static int remove_name(struct inode *dir, const char *name, size_t len, bool rmdir)
{
	struct change c = { .rmdir = rmdir, .now = fs_now(dir->fs) };
	int r = fs_may_change(dir->fs);

	if (r || (r = dir_name_init(&c.name, dir, name, len)))
		return r;
	do {
		r = remove_once(&c);
	} while (r == -ESTALE);
	return r;
}

int fs_unlink(struct inode *dir, const char *name, size_t len)
{
	int r = remove_name(dir, name, len, false);

	return r == -EEXIST ? -EISDIR : r;   /* "." and ".." */
}

int fs_rmdir(struct inode *dir, const char *name, size_t len)
{
	int r = remove_name(dir, name, len, true);

	if (r != -EEXIST)
		return r;
	return len == 1 ? -EINVAL : -ENOTEMPTY;
}
