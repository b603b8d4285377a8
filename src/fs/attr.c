/*
 * Attributes: reading them, changing them, and the times that other operations move.
 *
 * Rules:
 *  1. Mode, owner and times change in memory under ip->state, with ip->lock held exclusively where
 *     more than a time of reading changes; the item follows when the inode is stored.
 *  2. Whatever setattr changes moves ctime, unless the caller gives the ctime.
 *  3. A change of owner, and a write by somebody without the right to keep them, takes setuid, and
 *     setgid of an executable, off regular files, and the security.capability attribute with them.
 *  4. Immutable and append-only inodes refuse changes with -EPERM: the kernel does not know of
 *     these flags on a FUSE mount.
 */
#include "base/err.h"
#include "base/time.h"
#include "fs/xattr.h"

#define RELATIME_SEC 86400

/* ---- reading ---- */

/* Sizes of directories mean little; this one grows with the number of entries. */
static u64 dir_size(u64 entries)
{
	return (1 + entries / 64) * SECTOR_SIZE;
}

/*
 * Data that has no place yet counts too: programs take a file with a size and without
 * blocks for one big hole, and would copy nothing.
 */
static u64 blocks_512(const struct inode *ip, u64 size)
{
	if (ip->inl)
		return DIV_ROUND_UP(size, 512u);
	return (ip->attr.sectors + ip->delalloc_sectors) * (SECTOR_SIZE / 512);
}

void fs_getattr(struct inode *ip, struct stat *out)
{
	const struct ino_attr *a = &ip->attr;
	u64 size = inode_size(ip);

	mutex_lock(&ip->state);
	*out = (struct stat){
		.st_ino = ip->ino,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)(S_ISDIR(a->mode) ? dir_size(a->entries) : size),
		.st_blksize = (blksize_t)ip->fs->geo.block_bytes,
		.st_blocks = (blkcnt_t)blocks_512(ip, size),
		.st_atim = a->atime,
		.st_mtim = a->mtime,
		.st_ctim = a->ctime,
	};
	mutex_unlock(&ip->state);
}

/* ---- times that move by themselves ---- */

static bool time_same(struct timespec x, struct timespec y)
{
	return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
}

static bool before_or_same(struct timespec x, struct timespec y)
{
	return x.tv_sec < y.tv_sec || (x.tv_sec == y.tv_sec && x.tv_nsec <= y.tv_nsec);
}

/* ip->state held. */
static bool atime_wanted(const struct inode *ip, struct timespec now)
{
	const struct ino_attr *a = &ip->attr;

	if (a->flags & FMT_IFLAG_NOATIME)
		return false;
	if (ip->fs->opts.nodiratime && S_ISDIR(a->mode))
		return false;
	if (ip->fs->opts.atime == FS_STRICTATIME)
		return true;
	return before_or_same(a->atime, a->mtime) || before_or_same(a->atime, a->ctime) ||
	       now.tv_sec - a->atime.tv_sec >= RELATIME_SEC;
}

void inode_touch_atime(struct inode *ip)
{
	struct timespec now;
	bool wanted;

	if (ip->fs->opts.atime == FS_NOATIME || fs_readonly(ip->fs))
		return;
	now = fs_now(ip->fs);
	mutex_lock(&ip->state);
	wanted = atime_wanted(ip, now);
	if (wanted)
		ip->attr.atime = now;
	mutex_unlock(&ip->state);
	if (wanted)
		inode_mark_dirty(ip, INODE_DIRTY_TIME);
}

static u32 without_suid(u32 mode)
{
	if (!S_ISREG(mode))
		return mode;
	mode &= ~(u32)S_ISUID;
	return mode & S_IXGRP ? mode & ~(u32)S_ISGID : mode;
}

void inode_touch_write(struct inode *ip, bool kill_suid)
{
	struct timespec now = fs_now(ip->fs);
	u32 how = INODE_DIRTY_TIME, mode;

	mutex_lock(&ip->state);
	if (!ip->fs->opts.kernel_times || (ip->attr.flags & FMT_IFLAG_SYNC))
		ip->attr.mtime = ip->attr.ctime = now;
	mode = kill_suid ? without_suid(ip->attr.mode) : ip->attr.mode;
	if (mode != ip->attr.mode)
		how |= INODE_DIRTY_ATTR;
	inode_set_mode(&ip->attr, mode);
	mutex_unlock(&ip->state);
	inode_mark_dirty(ip, how);
}

/* ---- setattr ---- */

/*
 * A kernel that caches writes hands over the times of what was written, later and in this form; and
 * it says "now" by giving all times the same value.
 */
static bool handed_over(const struct fs_attr *a)
{
	return a->valid == (FS_ATTR_MTIME | FS_ATTR_CTIME);
}

static bool all_now(const struct fs_attr *a)
{
	const u32 given = FS_ATTR_ATIME | FS_ATTR_ATIME_NOW | FS_ATTR_MTIME | FS_ATTR_CTIME;

	if ((a->valid & ~given) || !(a->valid & FS_ATTR_CTIME))
		return false;
	return (!(a->valid & FS_ATTR_ATIME) || time_same(a->atime, a->ctime)) &&
	       (!(a->valid & FS_ATTR_MTIME) || time_same(a->mtime, a->ctime));
}

static int may_set(const struct inode *ip, const struct fs_attr *a)
{
	const u32 times_now = FS_ATTR_ATIME_NOW | FS_ATTR_MTIME_NOW;

	/* Written before the flag came, which moved ctime. */
	if (ip->attr.flags & FMT_IFLAG_IMMUTABLE)
		return handed_over(a) && before_or_same(a->ctime, ip->attr.ctime) ? 0 : -EPERM;
	if ((ip->attr.flags & FMT_IFLAG_APPEND) && (a->valid & ~(times_now | FS_ATTR_CTIME)) &&
	    !handed_over(a) && !all_now(a))
		return -EPERM;
	return 0;
}

static u32 new_mode(const struct ino_attr *old, const struct fs_attr *a)
{
	u32 mode = old->mode;

	if (a->valid & FS_ATTR_MODE)
		mode = (mode & S_IFMT) | (a->mode & 07777);
	else if (a->valid & (FS_ATTR_UID | FS_ATTR_GID | FS_ATTR_KILL_SUID))
		mode = without_suid(mode);
	return mode;
}

/* Contents and who changed them are the kernel's to stamp, if it does so at all. */
static bool stamped_by_kernel(const struct fs *fs, const struct fs_attr *a)
{
	return fs->opts.kernel_times && !(a->valid & ~(u32)(FS_ATTR_SIZE | FS_ATTR_KILL_SUID));
}

static void set_times(struct ino_attr *to, const struct fs_attr *a, struct timespec now)
{
	if (a->valid & FS_ATTR_ATIME_NOW)
		to->atime = now;
	else if (a->valid & FS_ATTR_ATIME)
		to->atime = a->atime;
	if (a->valid & FS_ATTR_MTIME_NOW)
		to->mtime = now;
	else if (a->valid & FS_ATTR_MTIME)
		to->mtime = a->mtime;
	if (!(a->valid & FS_ATTR_CTIME))
		to->ctime = now;
	else if (!handed_over(a) || before_or_same(to->ctime, a->ctime))
		to->ctime = a->ctime;
}

static int check_times(const struct fs_attr *a)
{
	const struct { u32 bit; long nsec; } t[] = {
		{ FS_ATTR_ATIME, a->atime.tv_nsec },
		{ FS_ATTR_MTIME, a->mtime.tv_nsec },
		{ FS_ATTR_CTIME, a->ctime.tv_nsec },
	};

	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		if ((a->valid & t[i].bit) && (t[i].nsec < 0 || t[i].nsec > 999999999))
			return -EINVAL;
	return 0;
}

/* All but the size. ip->lock held exclusively. */
static int set_locked(struct inode *ip, const struct fs_attr *a)
{
	const u32 lasting = FS_ATTR_MODE | FS_ATTR_UID | FS_ATTR_GID | FS_ATTR_KILL_SUID;
	u32 how = INODE_DIRTY_TIME | (a->valid & lasting ? INODE_DIRTY_ATTR : 0);
	struct ino_attr *at = &ip->attr;
	bool news = true;
	int r;

	/* Nobody else changes the mode of a locked inode but writers, who take bits off. */
	if (a->valid & FS_ATTR_MODE) {
		r = xattr_chmod_locked(ip, a->mode);
		if (r)
			return r;
	}
	mutex_lock(&ip->state);
	r = may_set(ip, a);
	if (r == 0) {
		inode_set_mode(at, new_mode(at, a));
		if (a->valid & FS_ATTR_UID)
			at->uid = a->uid;
		if (a->valid & FS_ATTR_GID)
			at->gid = a->gid;
		/* After an unlink or a rename it mostly is what that has stamped. */
		news = !handed_over(a) || !time_same(at->mtime, a->mtime) ||
		       !time_same(at->ctime, a->ctime);
		if (!stamped_by_kernel(ip->fs, a))
			set_times(at, a, fs_now(ip->fs));
	}
	mutex_unlock(&ip->state);
	if (r == 0 && news)
		inode_mark_dirty(ip, how);
	return r;
}

static int drop_capability(struct inode *ip)
{
	int r;

	if (!S_ISREG(fs_mode(ip)))
		return 0;
	r = fs_removexattr(ip, "security.capability");
	return r == -ENODATA ? 0 : r;
}

int fs_setattr(struct inode *ip, const struct fs_attr *a)
{
	int r = fs_may_change(ip->fs);

	if (r || (r = check_times(a)))
		return r;
	mutex_lock(&ip->state);
	r = may_set(ip, a);
	mutex_unlock(&ip->state);
	if (r == 0 && (a->valid & FS_ATTR_SIZE))
		r = fs_truncate(ip, a->size);
	if (r == 0 && (a->valid & (FS_ATTR_UID | FS_ATTR_GID | FS_ATTR_KILL_SUID)))
		r = drop_capability(ip);
	if (r || (a->valid & ~(u32)FS_ATTR_SIZE) == 0)
		return r;
	rwlock_wrlock(&ip->lock);
	r = set_locked(ip, a);
	rwlock_unlock(&ip->lock);
	return r;
}
