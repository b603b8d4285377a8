/*
 * fallocate: space without data, and holes.
 *
 * 1. Allocated space is unwritten by the map: it reads as zero at no cost. Delayed ranges count
 *    as allocated.
 * 2. Whole blocks are freed or allocated; what covers a block in part is zeroed through the
 *    cache.
 * 3. ZERO_RANGE frees whole blocks and allocates others: a sector that was written and becomes
 *    unwritten may take new content only when that is durable, and freed space obeys this
 *    anyway (it is busy).
 * 4. ZERO_RANGE gives holes their space first: without space for them nothing has happened. What
 *    it frees after that is enough to be placed again, unless others take it at that moment.
 */
#include <stdlib.h>
#include <linux/falloc.h>

#include "base/err.h"
#include "fs/file_priv.h"

struct place {
	struct inode_edit edit;
	struct extent_place at;
};

static void place_published(void *arg, u64 seq)
{
	struct place *a = arg;
	struct inode *ip = a->edit.ip;

	mutex_lock(&ip->state);
	file_map_changed(ip);
	if (a->at.was_inline)
		ip->inl_on_disk = false;
	ip->sync_seq = MAX(ip->sync_seq, seq);
	ip->datasync_seq = MAX(ip->datasync_seq, seq);
	mutex_unlock(&ip->state);
}

static int place_body(struct view *v, void *arg)
{
	struct place *a = arg;
	struct inode *ip = a->edit.ip;
	int r;

	inode_edit_begin(&a->edit, ip);
	r = extent_place_in(v, &a->edit, &a->at);
	return r ? r : view_on_publish(v, place_published, a);
}

/*
 * One extent at the beginning of a hole; *nr sectors were placed. It is reserved first, as
 * others' space is.
 */
static int place_some(struct inode *ip, u64 sector, u64 want, bool parts, u32 *nr)
{
	struct place a = { .edit.ip = ip, .at = { .sector = sector, .parts = parts } };
	struct space *sp = ip->fs->space;
	u64 block = file_block(ip), promise = MIN(want, (u64)FMT_GROUP_SECTORS / 2);
	int r = space_reserve(sp, promise);

	while (r == -ENOSPC && promise > 1) {
		promise = promise > block ? ALIGN_UP(promise / 2, block) : promise / 2;
		r = space_reserve(sp, promise);
	}
	if (r)
		return r;
	a.at.want = (u32)promise;
	r = jnl_run(ip->fs->jnl, SPACE_CREDITS_ALLOC + 3 * BTREE_CREDITS, place_body, &a, NULL);
	space_unreserve(sp, r ? promise : promise - a.at.nr);
	if (!r)
		*nr = a.at.nr;
	return r;
}

static int place_hole(struct inode *ip, u64 start, u64 end)
{
	unsigned tries = 0;
	u32 nr;
	int r;

	while (start < end) {
		mutex_lock(&ip->place);
		r = place_some(ip, start, end - start, tries > 0, &nr);
		mutex_unlock(&ip->place);
		if (!r)
			start += nr;
		else if (!file_space_wait(ip->fs, r, &tries))
			return r;
	}
	return 0;
}

int file_place_blocks(struct inode *ip, u64 start, u64 end)
{
	while (start < end) {
		struct iomap map;
		u64 stop;
		int r = ip->file.ops->map(&ip->file, start << SECTOR_SHIFT,
					  (end - start) << SECTOR_SHIFT, IOMAP_REPORT, &map);

		if (r)
			return r;
		stop = MIN(end, (map.offset + map.length) >> SECTOR_SHIFT);
		if (map.type == IOMAP_HOLE)
			r = place_hole(ip, start, stop);
		if (r)
			return r;
		start = stop;
	}
	return 0;
}

/* ---- modes; the inode's lock is held exclusively ---- */

static int preallocate(struct inode *ip, bool keep_size, u64 pos, u64 len)
{
	u64 block = file_block(ip), end = pos + len;
	struct space_counts counts;
	int r = inline_outgrow(ip, end);

	if (!r && !ip->inl) {
		space_counts(ip->fs->space, &counts);
		if (len >> SECTOR_SHIFT > counts.total)
			return -ENOSPC;
		r = file_place_blocks(ip, ALIGN_DOWN(pos >> SECTOR_SHIFT, block),
				      ALIGN_UP(bytes_to_sectors_up(end), block));
	}
	if (!r && !keep_size && end > inode_size(ip))
		r = file_grow(ip, end);
	return r;
}

/*
 * Zeroes what covers blocks in part, frees the blocks between: [*first, *last) sectors, empty
 * if there are none.
 */
static int punch(struct inode *ip, u64 pos, u64 len, u64 *first, u64 *last)
{
	u64 bytes = (u64)file_block(ip) << SECTOR_SHIFT, end = pos + len;
	u64 from = ALIGN_UP(pos, bytes), to = ALIGN_DOWN(end, bytes);
	struct done_io *dropped, *size;
	int r;

	*first = *last = 0;
	/* The block with the end of file is whole when nothing of it lies outside. */
	if (end >= inode_size(ip))
		to = MAX(to, ALIGN_UP(inode_size(ip), bytes));
	if (ip->inl || from >= to)
		return iomap_zero(&ip->file, pos, len);
	r = pos < from ? iomap_zero(&ip->file, pos, from - pos) : 0;
	if (!r && end > to)
		r = iomap_zero(&ip->file, to, end - to);
	if (r)
		return r;
	*first = from >> SECTOR_SHIFT;
	*last = to >> SECTOR_SHIFT;
	dropped = done_new();
	size = done_new();
	r = dropped && size ? file_drop_blocks(ip, *first, *last) : -ENOMEM;
	if (!r && *first == 0) {
		done_first_dropped(ip, dropped);
		dropped = NULL;
	}
	/* The write that would have brought the size to the item may just have been dropped. */
	if (size && end >= inode_size(ip)) {
		done_size(ip, inode_size(ip), size);
		size = NULL;
	}
	free(dropped);
	free(size);
	return r;
}

static int zero_range(struct inode *ip, bool keep_size, u64 pos, u64 len)
{
	u64 first, last;
	/* Rule 4. */
	int r = preallocate(ip, true, pos, len);

	if (!r)
		r = punch(ip, pos, len, &first, &last);
	return r ? r : preallocate(ip, keep_size, pos, len);
}

static int fallocate_locked(struct inode *ip, int mode, u64 pos, u64 len)
{
	bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
	u64 first, last;

	if (ip->attr.flags & FMT_IFLAG_IMMUTABLE)
		return -EPERM;
	if ((ip->attr.flags & FMT_IFLAG_APPEND) && (mode & ~FALLOC_FL_KEEP_SIZE))
		return -EPERM;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch(ip, pos, len, &first, &last);
	if (mode & FALLOC_FL_ZERO_RANGE)
		return zero_range(ip, keep_size, pos, len);
	return preallocate(ip, keep_size, pos, len);
}

static bool mode_is_known(int mode)
{
	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		return true;
	default:
		return false;
	}
}

int fs_fallocate(struct inode *ip, int mode, u64 pos, u64 len)
{
	int r = file_may_write(ip);

	if (!mode_is_known(mode))
		return -EOPNOTSUPP;
	if (r == -EISDIR || r == -EINVAL)
		return -ENODEV;
	if (r)
		return r;
	if (len == 0)
		return -EINVAL;
	if (pos > FMT_SIZE_MAX || len > FMT_SIZE_MAX - pos)
		return -EFBIG;
	rwlock_wrlock(&ip->lock);
	r = fallocate_locked(ip, mode, pos, len);
	if (!r)
		inode_touch_write(ip, false);
	rwlock_unlock(&ip->lock);
	return r;
}
