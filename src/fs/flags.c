/*
 * The flags of chattr(1): which there are, and changing them. Who may is the kernel's to decide;
 * what they forbid is checked by each operation.
 *
 * 1. Immutable and append-only hold from the moment the change returns, also for files that are
 *    open: each write asks. Only what the kernel's cache took before may still arrive
 *    (FS_WRITE_CACHE).
 */
#include "base/err.h"
#include "fs/inode.h"

u32 fs_get_flags(struct inode *ip)
{
	u32 flags;

	mutex_lock(&ip->state);
	flags = ip->attr.flags & FS_FLAGS_ALL;
	mutex_unlock(&ip->state);
	return flags;
}

int fs_set_flags(struct inode *ip, u32 flags)
{
	u32 mode = fs_mode(ip), how = 0;
	int r = fs_may_change(ip->fs);

	if (r)
		return r;
	if (!S_ISREG(mode) && !S_ISDIR(mode))
		return -ENOTTY;
	if (flags & ~(u32)FS_FLAGS_ALL)
		return -EOPNOTSUPP;
	rwlock_wrlock(&ip->lock);
	mutex_lock(&ip->state);
	if ((ip->attr.flags & FS_FLAGS_ALL) != flags) {
		ip->attr.flags = (ip->attr.flags & ~(u32)FS_FLAGS_ALL) | flags;
		ip->attr.ctime = fs_now(ip->fs);
		how = INODE_DIRTY_ATTR;
	}
	mutex_unlock(&ip->state);
	if (how)
		inode_mark_dirty(ip, how);
	rwlock_unlock(&ip->lock);
	return 0;
}

/* Numbers of inodes are not used again, so what has to differ is the file system. */
u32 fs_generation(struct inode *ip)
{
	u64 id = ip->fs->geo.fsid;

	return (u32)(id ^ id >> 32) ^ ip->attr.gen;
}

struct timespec fs_btime(struct inode *ip)
{
	return ip->attr.btime;
}
