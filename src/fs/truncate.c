/*
 * Taking space away from files, and changing their size.
 *
 * Shrinking, in this order:
 *   memory    the size; the cache behind it (waits for I/O); delayed ranges and finished writes
 *             behind it
 *   handle 1  the item's size; as many extents as fit; if some are left, an orphan entry TRUNCATE
 *   handle n  more extents; the last one removes the entry
 *
 * 1. Space is freed only after no I/O to it is under way (cache_drop) and no completion will
 *    speak of it (done_clip).
 * 2. Every whole sector behind the end is freed, also in the middle of a block, so that growing
 *    shows zeroes and a small file keeps no more than it needs.
 * 3. What lies behind the end in its last sector is zeroed in the cache when the file shrinks,
 *    and is on the disk before the file grows again (file_before_growth).
 * 4. A larger size is published only when everything below is complete, because the item's size
 *    never exceeds what is written.
 */
#include <stdlib.h>

#include "base/err.h"
#include "fs/file_priv.h"

/* ---- freeing extents ---- */

struct free_run {
	struct fs *fs;
	u64 ino;
	struct inode *ip;               /* or NULL: not in memory */
	u64 from, to;                   /* file sectors */
	struct inode_edit edit;
	u64 freed;
	bool finished;
	/* first handle of a shrink */
	bool set_size;
	u64 size;
	bool was_inline;
	/* later ones */
	bool orphan;
	/* what can't fail any more when something was changed; NULL: used, or not needed */
	struct delalloc *spare;
	struct done_io *tail;
};

static int item_less_sectors(struct view *v, u64 ino, u64 freed)
{
	const struct fmt_inode *item;
	le64 sectors;
	int r = inode_get_item(v, ino, &item, NULL, NULL);

	if (r)
		return r == -ENOENT ? 0 : r;
	sectors = put64(get64(item->sectors) - MIN(get64(item->sectors), freed));
	return btree_patch(v, FMT_TREE_INODE, (struct fmt_key){ ino, 0 },
			   offsetof(struct fmt_inode, sectors), &sectors, sizeof(sectors));
}

static int size_in(struct view *v, struct free_run *a)
{
	int r;

	a->edit.disk_size = MIN(a->edit.disk_size, a->size);
	/*
	 * The item's old bytes: those that are left were written to their sector, or the new
	 * size is 0.
	 */
	a->was_inline = a->ip->inl_on_disk;
	r = a->was_inline ? inline_clear_in(v, &a->edit) : 0;
	if (!r && !a->finished)
		r = orphan_add_in(v, a->ino, FMT_ORPHAN_TRUNCATE, a->size);
	return r;
}

static void free_published(void *arg, u64 seq)
{
	struct free_run *a = arg;
	struct inode *ip = a->ip;

	mutex_lock(&ip->state);
	file_map_changed(ip);
	if (a->was_inline)
		ip->inl_on_disk = false;
	ip->sync_seq = MAX(ip->sync_seq, seq);
	ip->datasync_seq = MAX(ip->datasync_seq, seq);
	mutex_unlock(&ip->state);
}

static int free_body(struct view *v, void *arg)
{
	struct free_run *a = arg;
	int r;

	a->was_inline = false;
	if (a->ip)
		inode_edit_begin(&a->edit, a->ip);
	r = extent_free_in(v, a->fs->space, a->ino, a->from, a->to, &a->freed, &a->finished);
	if (r)
		return r;
	if (!a->ip)
		return a->freed ? item_less_sectors(v, a->ino, a->freed) : 0;
	a->edit.attr.sectors -= MIN(a->edit.attr.sectors, a->freed);
	if (a->set_size)
		r = size_in(v, a);
	else if (a->orphan && a->finished)
		r = orphan_remove_in(v, a->ino);
	if (!r)
		r = inode_edit_end(v, &a->edit);
	return r ? r : view_on_publish(v, free_published, a);
}

/* place held if there is an inode. */
static int free_all(struct free_run *a)
{
	int r = 0;

	a->finished = false;
	while (!r && !a->finished) {
		r = jnl_run(a->fs->jnl, JNL_CREDITS_MAX, free_body, a, NULL);
		a->orphan |= a->set_size;
		a->set_size = false;
	}
	return r;
}

static void free_run_fini(struct free_run *a)
{
	free(a->spare);
	free(a->tail);
	a->spare = NULL;
	a->tail = NULL;
}

static int free_run_prepare(struct free_run *a)
{
	a->spare = malloc(sizeof(*a->spare));
	a->tail = done_new();
	if (a->spare && a->tail)
		return 0;
	free_run_fini(a);
	return -ENOMEM;
}

static int forget_and_free(struct inode *ip, struct free_run *a)
{
	u64 give_back;
	int r;

	mutex_lock(&ip->place);
	mutex_lock(&ip->state);
	give_back = delalloc_remove(ip, a->from, a->to, false, &a->spare);
	mutex_unlock(&ip->state);
	done_clip(ip, a->from, a->to, a->set_size ? a->size : UINT64_MAX, a->tail);
	a->tail = NULL;
	r = free_all(a);
	done_dropped(ip, !r);
	mutex_unlock(&ip->place);
	space_unreserve(ip->fs->space, give_back);
	free_run_fini(a);
	return r;
}

int file_drop_blocks(struct inode *ip, u64 start, u64 end)
{
	struct free_run a = { .fs = ip->fs, .ino = ip->ino, .ip = ip, .from = start, .to = end };
	int r = free_run_prepare(&a);

	if (r)
		return r;
	cache_drop(&ip->file.mapping, start, end);
	return forget_and_free(ip, &a);
}

int file_free_extents(struct fs *fs, u64 ino, struct inode *ip_or_null, u64 from_sector)
{
	struct free_run a = { .fs = fs, .ino = ino, .ip = ip_or_null, .from = from_sector,
			      .to = FILE_SECTOR_MAX };

	return ip_or_null ? file_drop_blocks(ip_or_null, a.from, a.to) : free_all(&a);
}

/* ---- sizes ---- */

static void size_set(struct inode *ip, u64 size)
{
	__atomic_store_n(&ip->file.size, size, __ATOMIC_RELEASE);
}

/*
 * The item still holds bytes that have not reached their sector, and some of them stay: they
 * must get there first, because the item gives them up with the new size.
 */
static int move_out(struct inode *ip, u64 size)
{
	bool moved;
	int r;

	mutex_lock(&ip->state);
	moved = !ip->inl_on_disk || size == 0;
	mutex_unlock(&ip->state);
	if (moved)
		return 0;
	r = iomap_writeback(&ip->file, 0, SECTOR_SIZE, IOMAP_WB_WAIT, 0, NULL);
	return r ? r : file_complete(ip);
}

static int shrink(struct inode *ip, u64 size)
{
	struct free_run a = { .fs = ip->fs, .ino = ip->ino, .ip = ip, .to = FILE_SECTOR_MAX,
			      .from = bytes_to_sectors_up(size), .set_size = true, .size = size };
	struct done_io *done = done_new();
	int r = done ? free_run_prepare(&a) : -ENOMEM, freed;

	if (!r)
		r = move_out(ip, size);
	if (r) {
		free_run_fini(&a);
		free(done);
		return r;
	}
	if (size == 0 && inode_size(ip) > 0)
		__atomic_store_n(&ip->replaced, true, __ATOMIC_RELEASE);
	size_set(ip, size);
	if (!IS_ALIGNED(size, (u64)SECTOR_SIZE))
		ip->tail_zero = false;
	/* A tail that can't be read can't be zeroed either; the file is shorter all the same. */
	if (fs_omitted == FS_OMIT_EOF_ZERO)
		cache_drop(&ip->file.mapping, a.from, UINT64_MAX >> SECTOR_SHIFT);
	else
		r = iomap_truncate_cache(&ip->file, size);
	freed = forget_and_free(ip, &a);
	/* The write that would have brought the size to the item may just have been cut off. */
	done_size(ip, size, done);
	return freed ? freed : r;
}

int file_before_growth(struct inode *ip)
{
	u64 size = inode_size(ip);
	int r;

	if (ip->inl || ip->tail_zero || IS_ALIGNED(size, (u64)SECTOR_SIZE) ||
	    fs_omitted == FS_OMIT_EOF_ZERO)
		return 0;
	r = iomap_zero_eof(&ip->file, size);
	if (!r)
		r = iomap_writeback(&ip->file, ALIGN_DOWN(size, (u64)SECTOR_SIZE), size,
				    IOMAP_WB_WAIT, 0, NULL);
	ip->tail_zero = !r;
	return r;
}

struct grow {
	struct inode_edit edit;
	u64 size;
	bool was_inline;
};

static void grow_published(void *arg, u64 seq)
{
	struct grow *a = arg;
	struct inode *ip = a->edit.ip;

	mutex_lock(&ip->state);
	if (a->was_inline)
		ip->inl_on_disk = false;
	ip->sync_seq = MAX(ip->sync_seq, seq);
	ip->datasync_seq = MAX(ip->datasync_seq, seq);
	mutex_unlock(&ip->state);
}

static int grow_body(struct view *v, void *arg)
{
	struct grow *a = arg;
	int r;

	inode_edit_begin(&a->edit, a->edit.ip);
	a->edit.disk_size = a->size;
	a->was_inline = a->edit.ip->inl_on_disk;
	r = a->was_inline ? inline_clear_in(v, &a->edit) : 0;
	if (!r)
		r = inode_edit_end(v, &a->edit);
	return r ? r : view_on_publish(v, grow_published, a);
}

/* Everything below the end is written, completed, and (the tail of the last sector) durable. */
static int settle(struct inode *ip)
{
	const struct mapping *m = &ip->file.mapping;
	u64 ticket;
	int r = 0;

	if (__atomic_load_n(&m->nr_dirty, __ATOMIC_ACQUIRE) ||
	    __atomic_load_n(&m->nr_writeback, __ATOMIC_ACQUIRE))
		r = iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL);
	if (!r)
		r = file_complete(ip);
	mutex_lock(&ip->state);
	ticket = ip->overwrite_ticket;
	mutex_unlock(&ip->state);
	if (!r && ticket && !IS_ALIGNED(inode_size(ip), (u64)SECTOR_SIZE))
		r = blk_flush_upto(ip->fs->dev, ticket);
	return r;
}

int file_grow(struct inode *ip, u64 size)
{
	struct grow a = { .edit.ip = ip, .size = size };
	int r;

	if (ip->inl && size <= FMT_INLINE_MAX)
		return inline_resize(ip, size);
	r = ip->inl ? inline_leave(ip) : file_before_growth(ip);
	if (!r)
		r = settle(ip);
	if (!r)
		r = jnl_run(ip->fs->jnl, 2 * BTREE_CREDITS, grow_body, &a, NULL);
	if (!r)
		size_set(ip, size);
	return r;
}

/*
 * Rewriting a file in place of its old contents, without fsync, is what many programs do: the
 * new data is to join the transaction of the truncate, if it can, so that a crash finds the one
 * or the other.
 */
void file_flush_replaced(struct inode *ip)
{
	if (!__atomic_exchange_n(&ip->replaced, false, __ATOMIC_ACQ_REL))
		return;
	if (!iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL))
		file_complete(ip);
}

static int truncate_locked(struct inode *ip, u64 size)
{
	u64 old = inode_size(ip);

	if (ip->attr.flags & (FMT_IFLAG_IMMUTABLE | FMT_IFLAG_APPEND))
		return -EPERM;
	if (size > old)
		return file_grow(ip, size);
	if (!ip->inl)
		return shrink(ip, size);
	return size == old ? 0 : inline_resize(ip, size);
}

int fs_truncate(struct inode *ip, u64 size)
{
	int r = file_may_write(ip);

	if (r)
		return r;
	if (size > FMT_SIZE_MAX)
		return -EFBIG;
	rwlock_wrlock(&ip->lock);
	r = truncate_locked(ip, size);
	if (!r)
		inode_touch_write(ip, false);
	rwlock_unlock(&ip->lock);
	return r;
}
