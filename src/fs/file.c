/*
 * Regular files: reading, writing, seeking, and the life of the data part of an inode.
 *
 * A write: wait for room in the dirty limits without any lock; lock the inode; make sure that
 * the file may grow; copy into the cache (iomap_write); times; queue the inode for the flusher;
 * unlock; for O_SYNC and O_DSYNC, fsync.
 *
 * 1. Nothing is throttled while the inode's lock is held. A synchronous write that fits is put into
 *    the running transaction under it (datalog.c), and committed without.
 * 2. Long writes are cut into pieces, so that one writer can't use up a small cache under its
 *    lock, and a piece is small beside the dirty limits: a writer never waits for dirty data
 *    that is too little for the flusher to begin.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "fs/file_priv.h"
#include "stat/stat.h"
#include "stat/trace.h"

#define WRITE_PIECE ((u64)1 << 20)
#define WRITE_PIECES_OF_CACHE 16u       /* at least so many pieces make the cache */

void file_inode_init(struct inode *ip)
{
	iomap_file_init(&ip->file, &file_iomap_ops, ip->fs->dev, ip->ino);
	ip->file.nosum = ip->fs->nosum;
	RB_INIT(&ip->delalloc);
	TAILQ_INIT(&ip->done);
	TAILQ_INIT(&ip->completing);
	TAILQ_INIT(&ip->spare);
	mutex_init(&ip->place, RANK_MAPPING_INVAL);
}

void file_inode_fini(struct inode *ip)
{
	struct done_io *d;

	if (!RB_EMPTY(&ip->delalloc)) {
		u64 give_back;

		mutex_lock(&ip->state);
		give_back = delalloc_remove(ip, 0, UINT64_MAX, false, NULL);
		mutex_unlock(&ip->state);
		space_unreserve(ip->fs->space, give_back);
	}
	inline_unreserve(ip);
	ASSERT(TAILQ_EMPTY(&ip->spare));
	while ((d = TAILQ_FIRST(&ip->done))) {
		TAILQ_REMOVE(&ip->done, d, link);
		free(d);
	}
	iomap_file_fini(&ip->file);
	mutex_fini(&ip->place);
}

static int file_is_regular(const struct inode *ip)
{
	u32 mode = fs_mode(ip);

	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISREG(mode) ? 0 : -EINVAL;
}

int file_may_write(struct inode *ip)
{
	int r = file_is_regular(ip);

	return r ? r : fs_may_change(ip->fs);
}

/* For traces, in sectors. */
static void trace_use(enum stat_trace_event event, const struct inode *ip, u64 pos, u64 len)
{
	u64 first = pos >> SECTOR_SHIFT;

	stat_trace(event, ip->ino, first, (u32)(bytes_to_sectors_up(pos + len) - first));
}

/* ---- reading ---- */

int fs_read_slices(struct inode *ip, u64 pos, u64 len, struct readahead *ra,
		   const struct iomap_async *async, struct iomap_slice *slices, unsigned max,
		   u64 *bytes)
{
	int r = file_is_regular(ip);

	if (r)
		return r;
	rwlock_rdlock(&ip->lock);
	r = iomap_read_slices(&ip->file, pos, len, ra, async, slices, max, bytes);
	rwlock_unlock(&ip->lock);
	if (r > 0 || r == -EINPROGRESS) {
		stat_add(STAT_USER_READ_BYTES, *bytes);
		trace_use(TRACE_READ, ip, pos, *bytes);
		inode_touch_atime(ip);
	}
	return r;
}

ssize_t fs_read(struct inode *ip, u64 pos, void *buf, u64 len, struct readahead *ra)
{
	ssize_t n = file_is_regular(ip);

	if (n)
		return n;
	rwlock_rdlock(&ip->lock);
	n = iomap_read(&ip->file, pos, buf, len, ra);
	rwlock_unlock(&ip->lock);
	if (n > 0) {
		stat_add(STAT_USER_READ_BYTES, (u64)n);
		trace_use(TRACE_READ, ip, pos, (u64)n);
		inode_touch_atime(ip);
	}
	return n;
}

/* ---- writing ---- */

/* Without threads nobody else makes room. No lock held. */
static int write_throttle(struct inode *ip, u64 pos, u64 len)
{
	u64 sectors = bytes_to_sectors_up(pos + len) - (pos >> SECTOR_SHIFT);

	if (!ip->fs->opts.threads && cache_over_background())
		flusher_round(ip->fs, true);
	return cache_throttle(&ip->file.mapping, (u32)sectors);
}

/* A synchronous write that the log takes as one piece: held from the copy on. */
static ssize_t write_logged(struct inode *ip, u64 pos, const void *buf, u64 len, unsigned flags,
			    bool *logged)
{
	/* Before the hold: leaving the item may write a sector back, and would find it held. */
	ssize_t n = inline_outgrow(ip, pos + len);

	if (n)
		return n;
	iomap_hold(&ip->file, pos, len);
	n = iomap_write(&ip->file, pos, buf, len);
	if (n > 0) {
		inode_touch_write(ip, flags & FS_WRITE_KILL_SUID);
		/* If not, fsync finds out why. */
		*logged = iomap_log(&ip->file, pos, pos + (u64)n, ip->fs->log_max,
				    flags & FS_WRITE_SYNC, true) == 1;
	}
	iomap_release(&ip->file);
	return n;
}

/* What the kernel's cache took when it was allowed may still come. */
static bool flags_allow(const struct inode *ip, u64 pos, unsigned flags)
{
	if (flags & FS_WRITE_CACHE)
		return true;
	if (ip->attr.flags & FMT_IFLAG_IMMUTABLE)
		return false;
	return !(ip->attr.flags & FMT_IFLAG_APPEND) || pos >= inode_size(ip);
}

static ssize_t write_locked(struct inode *ip, u64 pos, const void *buf, u64 len, unsigned flags,
			    bool *logged)
{
	ssize_t n;
	int r;

	if (!flags_allow(ip, pos, flags))
		return -EPERM;
	if (pos >= FMT_SIZE_MAX)
		return -EFBIG;
	len = MIN(len, FMT_SIZE_MAX - pos);
	if (pos + len > inode_size(ip)) {
		r = file_before_growth(ip);
		if (r)
			return r;
	}
	if ((flags & (FS_WRITE_SYNC | FS_WRITE_DSYNC)) && file_log_fits(ip, pos, len))
		return write_logged(ip, pos, buf, len, flags, logged);
	n = iomap_write(&ip->file, pos, buf, len);
	if (n <= 0)
		return n;
	if ((flags & FS_WRITE_CACHE) && !(flags & FS_WRITE_KILL_SUID))
		inode_mark_dirty(ip, 0);
	else
		inode_touch_write(ip, flags & FS_WRITE_KILL_SUID);
	return n;
}

static ssize_t write_piece(struct inode *ip, u64 *pos, const void *buf, u64 len, unsigned flags,
			   bool *logged)
{
	ssize_t n = write_throttle(ip, *pos, len);

	if (n)
		return n;
	rwlock_wrlock(&ip->lock);
	if (flags & FS_WRITE_APPEND)
		*pos = inode_size(ip);
	n = write_locked(ip, *pos, buf, len, flags, logged);
	rwlock_unlock(&ip->lock);
	return n;
}

/* Rule 2. */
static u64 piece_max(void)
{
	u64 share = ALIGN_DOWN(mem_total_bytes() / WRITE_PIECES_OF_CACHE, (u64)SECTOR_SIZE);

	return MAX(MIN(share, WRITE_PIECE), (u64)SECTOR_SIZE);
}

/* The write is in a transaction: what of it, or all that fsync means. */
static int write_commit(struct inode *ip, bool logged, unsigned flags)
{
	u64 seq;

	if (!logged)
		return fs_fsync(ip, !(flags & FS_WRITE_SYNC));
	mutex_lock(&ip->state);
	seq = flags & FS_WRITE_SYNC ? ip->sync_seq : ip->datasync_seq;
	mutex_unlock(&ip->state);
	return jnl_commit(ip->fs->jnl, seq);
}

ssize_t fs_write(struct inode *ip, u64 pos, const void *buf, u64 len, unsigned flags)
{
	u64 done = 0, most = piece_max();
	bool logged = false;
	ssize_t n = file_may_write(ip);

	if (n || len == 0)
		return n;
	if (len > FMT_SIZE_MAX || pos > FMT_SIZE_MAX)
		return -EFBIG;
	if ((ip->attr.flags & FMT_IFLAG_SYNC) && !(flags & FS_WRITE_CACHE))
		flags |= FS_WRITE_SYNC;
	while (done < len) {
		u64 piece = MIN(len - done, most);

		n = write_piece(ip, &pos, (const u8 *)buf + done, piece, flags,
				&logged);
		if (n <= 0)
			break;
		trace_use(TRACE_WRITE, ip, pos, (u64)n);
		done += (u64)n;
		pos += (u64)n;
		if ((u64)n < piece)
			break;
	}
	if (done == 0)
		return n;
	stat_add(STAT_USER_WRITE_BYTES, done);
	if (flags & (FS_WRITE_SYNC | FS_WRITE_DSYNC)) {
		int r = write_commit(ip, logged && done <= most, flags);

		if (r)
			return r;
	}
	return (ssize_t)done;
}

/* ---- the rest ---- */

s64 fs_seek(struct inode *ip, u64 pos, int whence)
{
	s64 r = file_is_regular(ip);

	if (r)
		return r;
	rwlock_rdlock(&ip->lock);
	r = iomap_seek(&ip->file, pos, whence);
	rwlock_unlock(&ip->lock);
	return r;
}

u64 fs_size(const struct inode *ip)
{
	return inode_size(ip);
}

struct mapping *fs_mapping(struct inode *ip)
{
	return file_is_regular(ip) ? NULL : &ip->file.mapping;
}

u64 fs_drop_cache(struct fs *fs UNUSED, struct inode *ip)
{
	return ip ? fs_drop_range(ip, 0, UINT64_MAX) : cache_evict(cache_bytes());
}

u64 fs_drop_range(struct inode *ip, u64 pos, u64 len)
{
	u64 end = len > UINT64_MAX - pos ? UINT64_MAX : pos + len;

	return cache_drop_clean(&ip->file.mapping, bytes_to_sectors_up(pos),
				end == UINT64_MAX ? end : end >> SECTOR_SHIFT) << SECTOR_SHIFT;
}
