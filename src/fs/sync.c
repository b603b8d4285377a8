/*
 * Making things durable: fsync, sync, and what the commit thread and the flusher need stored first.
 *
 * Rules:
 *  1. fsync of a file: its dirty sectors join the running transaction, if they are few, or are
 *     written in place; what was written in place is completed (flush, then a handle that sets map
 *     entries and size); the item is stored; the transaction is committed; overwrites that need no
 *     completion are flushed. Each step is skipped when there is nothing for it: an fsync with
 *     nothing to do does no I/O.
 *  2. sync_seq is the newest transaction with a change of this inode, of its names or its space,
 *     and datasync_seq leaves out those that only moved times. They are read after the item was
 *     stored.
 *  3. An error of a write is returned by every fsync until the sectors are written or dropped: they
 *     stay dirty, so each fsync tries them again.
 *  4. The ticket of overwrites is taken before the flush, and cleared only if no newer one came.
 *  5. What a failed flush may have taken is dirty again before the next fsync begins (complete.c).
 *
 * No locks are held while anything is waited for.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "fs/file_priv.h"
#include "stat/trace.h"

/* ---- one inode ---- */

/* Rule 4. */
int inode_flush_overwrites(struct inode *ip)
{
	u64 ticket;
	int r;

	mutex_lock(&ip->state);
	ticket = ip->overwrite_ticket;
	r = ip->lost_same ? -EIO : 0;
	mutex_unlock(&ip->state);
	if (!ticket || r)
		return r;
	r = blk_flush_upto(ip->fs->dev, ticket);
	mutex_lock(&ip->state);
	/* Which sectors it took is not known. */
	if (r || ip->overwrite_failures != blk_flush_failures(ip->fs->dev)) {
		ip->lost_same = true;
		r = r ? r : -EIO;
	}
	if (ip->overwrite_ticket == ticket)
		ip->overwrite_ticket = 0;
	mutex_unlock(&ip->state);
	return r;
}

static bool must_store(const struct inode *ip, bool datasync)
{
	u32 dirty = __atomic_load_n(&ip->dirty, __ATOMIC_ACQUIRE);

	return datasync ? dirty & INODE_DIRTY_ATTR : dirty != 0;
}

static int sync_item(struct inode *ip, bool datasync)
{
	return must_store(ip, datasync) ? inode_store(ip) : 0;
}

bool inode_wait_writer(struct inode *ip)
{
	rwlock_rdlock(&ip->lock);
	rwlock_unlock(&ip->lock);
	return true;
}

/* Through the log, or in place; then the item goes first, and an intent's commit takes it along. */
static int write_dirty(struct inode *ip, bool datasync)
{
	int r = file_log_dirty(ip, datasync);

	if (r)
		return r < 0 ? r : iomap_wait_writeback(&ip->file);
	r = sync_item(ip, datasync);
	return r ? r : iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL);
}

static int sync_data(struct inode *ip, bool datasync)
{
	int r, done;

	do {
		r = write_dirty(ip, datasync);
	} while (r == -EAGAIN && inode_wait_writer(ip));
	done = file_complete(ip);
	return r ? r : done;
}

int fs_fsync(struct inode *ip, bool datasync)
{
	bool data = S_ISREG(fs_mode(ip));
	u64 seq;
	int r;

	if (ip->fs->readonly)
		return 0;
	if (fs_is_down(ip->fs))
		return -EIO;
	stat_trace(TRACE_FSYNC, ip->ino, 0, datasync);
	r = data ? file_retry_lost(ip) : 0;
	if (!r && data)
		r = sync_data(ip, datasync);
	if (!r)
		r = sync_item(ip, datasync);
	if (r)
		return r;
	mutex_lock(&ip->state);
	seq = datasync ? ip->datasync_seq : ip->sync_seq;
	mutex_unlock(&ip->state);
	r = seq ? jnl_commit(ip->fs->jnl, seq) : 0;
	/* Last: the flush of a commit serves, too. */
	return r || !data ? r : inode_flush_overwrites(ip);
}

u32 fs_error_cursor(const struct inode *ip)
{
	const struct mapping *m = &ip->file.mapping;
	u32 seq = __atomic_load_n(&m->error_seq, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&m->error, __ATOMIC_ACQUIRE) ? seq - 1 : seq;
}

int fs_flush(struct inode *ip, u32 *error_cursor)
{
	const struct mapping *m = &ip->file.mapping;
	u32 seq;
	int error;

	/* Its errors are found below. */
	file_flush_replaced(ip);
	seq = __atomic_load_n(&m->error_seq, __ATOMIC_ACQUIRE);
	error = __atomic_load_n(&m->error, __ATOMIC_ACQUIRE);
	if (seq == *error_cursor)
		return 0;
	*error_cursor = seq;
	return error;
}

/* ---- all of them ---- */

/* References to all queued inodes, in an array that the caller frees. The queue stays as it is. */
static int hold_dirty(struct fs *fs, struct inode ***out, u64 *nr)
{
	struct inode *ip, **all;
	u64 n = 0;

	mutex_lock(&fs->dirty_lock);
	TAILQ_FOREACH(ip, &fs->dirty, dirty_link)
		n++;
	all = malloc(MAX(n, (u64)1) * sizeof(struct inode *));
	n = 0;
	if (all)
		TAILQ_FOREACH(ip, &fs->dirty, dirty_link)
			all[n++] = fs_ihold(ip);
	mutex_unlock(&fs->dirty_lock);
	*out = all;
	*nr = n;
	return all ? 0 : -ENOMEM;
}

static int complete_and_store(struct inode *ip)
{
	int r = 0, stored;

	if (S_ISREG(fs_mode(ip)))
		r = file_complete(ip);
	stored = inode_store(ip);
	return r ? r : stored;
}

static int for_all_dirty(struct fs *fs, int (*fn)(struct inode *ip))
{
	struct inode **all;
	u64 nr;
	int r = hold_dirty(fs, &all, &nr);

	for (u64 i = 0; i < nr; i++) {
		int one = fn(all[i]);

		if (one && !r)
			r = one;
		fs_iput(all[i]);
	}
	free(all);
	return r;
}

static int store_all(struct fs *fs)
{
	return for_all_dirty(fs, complete_and_store);
}

int fs_complete_all(struct fs *fs)
{
	return for_all_dirty(fs, file_complete);
}

void fs_pre_commit(struct fs *fs)
{
	bool run;
	int r;

	mutex_lock(&fs->dirty_lock);
	run = fs->storing = !fs->unmounting;
	mutex_unlock(&fs->dirty_lock);
	if (!run)
		return;
	r = fs_readonly(fs) ? 0 : store_all(fs);
	if (r)
		log_debug("before a commit: %s", err_text(r));
	mutex_lock(&fs->dirty_lock);
	fs->storing = false;
	cond_broadcast(&fs->dirty_cond);
	mutex_unlock(&fs->dirty_lock);
}

void fs_pre_commit_stop(struct fs *fs)
{
	mutex_lock(&fs->dirty_lock);
	fs->unmounting = true;
	while (fs->storing)
		cond_wait(&fs->dirty_cond, &fs->dirty_lock);
	mutex_unlock(&fs->dirty_lock);
}

int fs_sync(struct fs *fs)
{
	int r, stored;

	if (fs->readonly)
		return 0;
	if (fs_is_down(fs))
		return -EIO;
	errors_store(fs);
	r = flusher_round(fs, true);
	stored = store_all(fs);
	if (!r)
		r = stored;
	stored = blk_flush(fs->dev);
	if (!r)
		r = stored;
	stored = jnl_commit(fs->jnl, jnl_newest_seq(fs->jnl));
	return r ? r : stored;
}

#define FREEZE_WAIT_MS 30000u

int fs_freeze(struct fs *fs)
{
	int r;

	if (fs_readonly(fs))
		return -EROFS;
	if (blk_is_frozen(fs->dev))
		return -EALREADY;
	r = fs_sync(fs);
	return r ? r : blk_freeze(fs->dev, FREEZE_WAIT_MS);
}

int fs_thaw(struct fs *fs)
{
	return blk_thaw(fs->dev);
}

bool fs_is_frozen(struct fs *fs)
{
	return blk_is_frozen(fs->dev);
}

int fs_commit(struct fs *fs)
{
	return jnl_commit(fs->jnl, jnl_newest_seq(fs->jnl));
}

int fs_tick(struct fs *fs)
{
	int r, stored;

	if (fs->readonly)
		return 0;
	errors_tick(fs);
	r = flusher_round(fs, false);
	stored = store_all(fs);
	if (!r)
		r = stored;
	stored = jnl_commit(fs->jnl, jnl_newest_seq(fs->jnl));
	return r ? r : stored;
}
