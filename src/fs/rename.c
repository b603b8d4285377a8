/*
 * rename, in all its forms.
 *
 * Rules:
 *  1. One handle moves the name, counts the links of up to four inodes, sets the new parent and
 *     makes the replaced inode an orphan: after a crash there is the old state or the new one.
 *  2. A directory is never moved below itself: the body walks from the target directory to the root
 *     by the parents that the items tell. fs->rename keeps moves between directories one at a
 *     time, so that no two moves, each harmless alone, make a ring.
 *  3. Locks: fs->rename (two directories), then the two directories, what moves and what is
 *     replaced, by number. Both names are looked up before that and compared in the body: -ESTALE
 *     starts again.
 *  4. A whiteout (overlay file systems hide a lower name with it) is made in the same handle: an
 *     inode of its own, which takes the old name's entry.
 *  5. What replaces a file has its data on the disk first, so that programs that write a new
 *     file and rename it over the old one have one or the other after a crash, fsync or not.
 */
#include "base/err.h"
#include "fs/dir.h"

struct rename {
	struct dir_name s, d;
	struct inode *src, *dst;       /* dst: NULL when nothing is replaced */
	unsigned flags;
	struct fs_cred cred;           /* owner of a whiteout */
	struct timespec now;
	/* set up by each run of the body */
	struct inode_edit sdir, ddir, isrc, idst;
	struct inode_edit *to;         /* ddir, or sdir when it is the same directory */
};

static bool is_dir(const struct inode *ip)
{
	return ip && S_ISDIR(fs_mode(ip));
}

static bool exchange(const struct rename *m)
{
	return m->flags & FS_RENAME_EXCHANGE;
}

/* ---- what is allowed ---- */

/* Is `ino` the directory `dir` or above it? -EINVAL then. */
static int check_not_above(struct view *v, u64 ino, u64 dir)
{
	const struct fmt_root *root;
	const struct fmt_inode *item;
	u64 steps;
	int r = view_get(v, view_geo(v)->root_sector, FMT_KIND_ROOT, (const void **)&root);

	if (r)
		return r;
	for (steps = get64(root->nr_inodes); dir != FMT_ROOT_INO; steps--) {
		if (dir == ino)
			return -EINVAL;
		if (steps == 0)
			return corrupt(WHY_DIR_LOOP, dir, CORRUPT_NO_SECTOR);
		r = inode_get_item(v, dir, &item, NULL, NULL);
		if (r == -ENOENT)
			return corrupt(WHY_DIR_PARENT, dir, CORRUPT_NO_SECTOR);
		if (r)
			return r;
		dir = get64(item->parent);
	}
	return dir == ino ? -EINVAL : 0;
}

static int check_ring(struct view *v, const struct rename *m)
{
	int r = 0;

	if (m->s.dir == m->d.dir)
		return 0;
	if (is_dir(m->src))
		r = check_not_above(v, m->src->ino, m->d.dir->ino);
	if (r == 0 && exchange(m) && is_dir(m->dst))
		r = check_not_above(v, m->dst->ino, m->s.dir->ino);
	return r;
}

static int check_replaced(const struct rename *m)
{
	if (m->flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	if (m->idst.attr.flags & (FMT_IFLAG_IMMUTABLE | FMT_IFLAG_APPEND))
		return -EPERM;
	if (exchange(m))
		return 0;
	if (is_dir(m->src) && !is_dir(m->dst))
		return -ENOTDIR;
	if (!is_dir(m->src) && is_dir(m->dst))
		return -EISDIR;
	return is_dir(m->dst) && m->idst.attr.entries ? -ENOTEMPTY : 0;
}

static int check_allowed(struct view *v, const struct rename *m)
{
	int r;

	if ((r = dir_may_change(&m->sdir, true)) || (r = dir_may_change(m->to, m->dst != NULL)))
		return r;
	if (m->isrc.attr.flags & (FMT_IFLAG_IMMUTABLE | FMT_IFLAG_APPEND))
		return -EPERM;
	r = m->dst ? check_replaced(m) : 0;
	return r ? r : check_ring(v, m);
}

/* ---- the change ---- */

static int find_names(struct view *v, struct rename *m)
{
	int r;

	if ((r = dir_find_in(v, &m->s)) || (r = dir_find_in(v, &m->d)))
		return r;
	if (m->s.ino != m->src->ino || m->d.ino != (m->dst ? m->dst->ino : 0))
		return -ESTALE;
	return 0;
}

static void begin_edits(struct rename *m)
{
	inode_edit_begin(&m->sdir, m->s.dir);
	m->to = &m->sdir;
	if (m->d.dir != m->s.dir) {
		m->to = &m->ddir;
		inode_edit_begin(&m->ddir, m->d.dir);
	}
	inode_edit_begin(&m->isrc, m->src);
	if (m->dst)
		inode_edit_begin(&m->idst, m->dst);
}

static int end_edits(struct view *v, struct rename *m)
{
	int r;

	if ((r = inode_edit_end(v, &m->sdir)) || (r = inode_edit_end(v, &m->isrc)))
		return r;
	if (m->to != &m->sdir && (r = inode_edit_end(v, m->to)))
		return r;
	return m->dst ? inode_edit_end(v, &m->idst) : 0;
}

static void set_parent(struct inode_edit *e, const struct inode *dir)
{
	if (S_ISDIR(e->attr.mode))
		e->attr.parent = dir->ino;
}

/* A device without rights takes the place of the old name. */
static int leave_whiteout(struct view *v, struct rename *m)
{
	const struct ino_attr a = {
		.mode = S_IFCHR, .uid = m->cred.uid, .gid = m->cred.gid, .nlink = 1,
		.atime = m->now, .mtime = m->now, .ctime = m->now, .btime = m->now,
	};
	struct fmt_inode item;
	u64 ino;
	int r = dir_new_number_in(v, &ino);

	if (r)
		return r;
	inode_encode(&a, 0, false, 0, &item);
	r = btree_insert(v, FMT_TREE_INODE, (struct fmt_key){ ino, 0 }, &item, sizeof(item));
	return r ? r : dir_replace_in(v, &m->s, ino, dir_type(a.mode));
}

static int move(struct view *v, struct rename *m)
{
	int sub = is_dir(m->src) ? 1 : 0, over = is_dir(m->dst) ? 1 : 0;
	bool white = m->flags & FS_RENAME_WHITEOUT;
	u8 type = dir_type(m->isrc.attr.mode);
	int r;

	/* Less before more: within one directory the count of links must not pass the limit. */
	if ((r = dir_count(&m->sdir, white ? 0 : -1, -sub, m->now)) ||
	    (r = dir_count(m->to, m->dst ? -1 : 0, -over, m->now)) ||
	    (r = dir_count(m->to, 1, sub, m->now)))
		return r;
	r = m->dst ? dir_replace_in(v, &m->d, m->src->ino, type) :
		     dir_add_in(v, &m->d, m->src->ino, type);
	if (r == 0)
		r = white ? leave_whiteout(v, m) : dir_remove_in(v, &m->s);
	if (r == 0 && m->dst)
		r = dir_drop_link_in(v, &m->idst, m->now);
	set_parent(&m->isrc, m->d.dir);
	return r;
}

static int swap(struct view *v, struct rename *m)
{
	int sub = (is_dir(m->src) ? 1 : 0) - (is_dir(m->dst) ? 1 : 0);
	int r;

	if (m->to == &m->sdir)
		sub = 0;
	if ((r = dir_count(&m->sdir, 0, -sub, m->now)) || (r = dir_count(m->to, 0, sub, m->now)) ||
	    (r = dir_replace_in(v, &m->s, m->dst->ino, dir_type(m->idst.attr.mode))))
		return r;
	m->idst.attr.ctime = m->now;
	set_parent(&m->isrc, m->d.dir);
	set_parent(&m->idst, m->s.dir);
	return dir_replace_in(v, &m->d, m->src->ino, dir_type(m->isrc.attr.mode));
}

static int rename_body(struct view *v, void *arg)
{
	struct rename *m = arg;
	int r = find_names(v, m);

	if (r)
		return r;
	begin_edits(m);
	r = check_allowed(v, m);
	if (r)
		return r;
	m->isrc.attr.ctime = m->now;
	r = exchange(m) ? swap(v, m) : move(v, m);
	return r ? r : end_edits(v, m);
}

/* ---- the operation ---- */

/* Rule 5. */
static int write_out(struct inode *ip)
{
	bool idle;
	int r = 0;

	if (!S_ISREG(fs_mode(ip)))
		return 0;
	mutex_lock(&ip->state);
	idle = inode_is_idle(ip);
	mutex_unlock(&ip->state);
	if (!idle) {
		r = iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL);
		if (!r)
			r = file_complete(ip);
	}
	/* Overwritten sectors, too: the transaction with the new name may be on the disk first. */
	return r ? r : inode_flush_overwrites(ip);
}

/* What is wrong whatever the body will see; 1: nothing to do. */
static int check_inodes(const struct rename *m)
{
	if (exchange(m) && !m->dst)
		return -ENOENT;
	if (m->src == m->dst)
		return m->flags & FS_RENAME_NOREPLACE ? -EEXIST : 1;
	/* These would be locked twice or be their own parent. */
	if (m->src == m->s.dir || m->src == m->d.dir)
		return -EINVAL;
	if (m->dst && (m->dst == m->s.dir || m->dst == m->d.dir))
		return exchange(m) ? -EINVAL : -ENOTEMPTY;
	return 0;
}

static int rename_inodes(struct rename *m)
{
	struct fs *fs = m->s.dir->fs;
	struct dir_locks locks;
	bool cross = m->s.dir != m->d.dir;
	int r = check_inodes(m);

	if (r)
		return r < 0 ? r : 0;
	if (m->dst && !exchange(m) && S_ISREG(fs_mode(m->dst)) && (r = write_out(m->src)))
		return r;
	if (cross)
		mutex_lock(&fs->rename);
	dir_lock(&locks, (struct inode *[]){ m->s.dir, m->d.dir, m->src, m->dst }, 4);
	r = space_run(fs->jnl, 3 * BTREE_CREDITS + 8, rename_body, m, NULL);
	dir_unlock(&locks);
	if (cross)
		mutex_unlock(&fs->rename);
	return r;
}

static int rename_once(struct rename *m)
{
	int r = fs_lookup(m->s.dir, m->s.name, m->s.len, &m->src);

	if (r)
		return r;
	m->dst = NULL;
	r = fs_lookup(m->d.dir, m->d.name, m->d.len, &m->dst);
	if (r == 0 || r == -ENOENT)
		r = rename_inodes(m);
	fs_iput(m->dst);
	fs_iput(m->src);
	return r;
}

int fs_rename(struct inode *sdir, const char *sname, size_t slen, struct inode *ddir,
	      const char *dname, size_t dlen, unsigned flags, struct fs_cred cred)
{
	const unsigned others = FS_RENAME_NOREPLACE | FS_RENAME_WHITEOUT;
	struct rename m = { .flags = flags, .cred = cred, .now = fs_now(sdir->fs) };
	int r;

	if (flags & ~(others | FS_RENAME_EXCHANGE))
		return -EINVAL;
	if ((flags & others) && (flags & FS_RENAME_EXCHANGE))
		return -EINVAL;
	if ((r = fs_may_change(sdir->fs)) || (r = dir_name_init(&m.s, sdir, sname, slen)) ||
	    (r = dir_name_init(&m.d, ddir, dname, dlen)))
		return r == -EEXIST ? -EBUSY : r;
	do {
		r = rename_once(&m);
	} while (r == -ESTALE);
	return r;
}
