/*
 * Small synchronous writes: data through the log.
 *
 * The dirty sectors of a file, if they are few, join the running transaction with their map
 * entries, and with the item as far as it is needed. The commit makes them durable with one write
 * and one flush, all or nothing. The journal keeps them and brings them to their place
 * (journal/data.c).
 *
 * 1. A larger size joins only when all that was written in place before is durable and completed:
 *    nothing that the log does not carry may come to lie below the end of file.
 * 2. While an item holds bytes that have not reached their sector, it can be left only by a handle
 *    that carries sector 0 (complete.c, rule 5); else the write goes the long way.
 * 3. One synchronous write that fits is never torn: from the copy into the cache to the end of
 *    this handle nobody else writes its sectors (iomap_hold).
 */
#include "base/err.h"
#include "fs/file_priv.h"
#include "stat/stat.h"

/* Bitmaps do not change; a map sector and its group's descriptor for each data sector at most. */
#define LOG_CREDITS (3 * IOMAP_LOG_MAX - 2 + BTREE_CREDITS)
_Static_assert(LOG_CREDITS <= JNL_CREDITS_MAX, "one handle takes the longest write");

struct datalog {
	struct inode_edit edit;
	const struct iomap_logged *s;
	u32 nr;
	u64 size_end;                   /* bytes */
	u32 entry[IOMAP_LOG_MAX];
	bool first;                     /* sector 0 is among them */
	bool item;                      /* it must be stored in any case */
	bool was_inline;
};

static void log_published(void *arg, u64 seq)
{
	struct datalog *d = arg;
	struct inode *ip = d->edit.ip;

	mutex_lock(&ip->state);
	if (d->was_inline) {
		ip->inl_on_disk = false;
		ip->inl_moved = true;
	}
	ip->sync_seq = MAX(ip->sync_seq, seq);
	ip->datasync_seq = MAX(ip->datasync_seq, seq);
	mutex_unlock(&ip->state);
}

static int item_in(struct view *v, struct datalog *d)
{
	struct inode *ip = d->edit.ip;
	bool dirty = __atomic_load_n(&ip->dirty, __ATOMIC_ACQUIRE) & INODE_DIRTY_ATTR;
	int r = 0;

	inode_edit_begin(&d->edit, ip);
	d->was_inline = ip->inl_on_disk;
	if (!d->was_inline && !d->item && !dirty && d->size_end <= d->edit.disk_size)
		return 0;
	d->edit.disk_size = MAX(d->edit.disk_size, d->size_end);
	if (d->was_inline)
		r = inline_clear_in(v, &d->edit);
	return r ? r : inode_edit_end(v, &d->edit);
}

static int log_body(struct view *v, void *arg)
{
	struct datalog *d = arg;
	struct inode *ip = d->edit.ip;
	int r = 0;

	/* Rule 2. */
	if (ip->inl_on_disk && !d->first && !ip->inl_moved)
		return -EBUSY;
	for (u32 i = 0; i < d->nr && !r; i++) {
		r = space_map_set(v, ip->fs->space, d->s[i].disk, 1, d->entry[i]);
		if (!r)
			r = view_data(v, d->s[i].disk, d->s[i].data);
	}
	if (!r)
		r = item_in(v, d);
	return r ? r : view_on_publish(v, log_published, d);
}

/* Rule 1. */
static int before_growth(struct inode *ip, u64 size_end)
{
	bool grows, done;
	int r = 0;

	mutex_lock(&ip->state);
	grows = size_end > ip->disk_size;
	done = !TAILQ_EMPTY(&ip->done) || !TAILQ_EMPTY(&ip->completing);
	mutex_unlock(&ip->state);
	if (grows && done)
		r = file_complete(ip);
	return r || !grows ? r : inode_flush_overwrites(ip);
}

int file_log(struct iomap_file *f, const struct iomap_logged *s, u32 nr, u64 size_end, bool item)
{
	struct inode *ip = file_inode(f);
	struct datalog d = { .edit.ip = ip, .s = s, .nr = nr, .size_end = size_end, .item = item };
	int r = before_growth(ip, size_end);

	if (r)
		return r;
	for (u32 i = 0; i < nr; i++) {
		d.entry[i] = f->nosum ? FMT_MAP_NOCSUM : fmt_map_csum(s[i].data);
		d.first |= s[i].sector == 0;
	}
	r = jnl_run(ip->fs->jnl, LOG_CREDITS, log_body, &d, NULL);
	if (!r)
		stat_add(STAT_DATA_LOGGED, nr);
	return r;
}

/* ---- who uses it ---- */

int file_log_dirty(struct inode *ip, bool datasync)
{
	const struct mapping *m = &ip->file.mapping;
	u64 dirty = __atomic_load_n(&m->nr_dirty, __ATOMIC_ACQUIRE);
	int r;

	if (!dirty || dirty > ip->fs->log_max)
		return 0;
	r = iomap_log(&ip->file, 0, INT64_MAX, ip->fs->log_max, !datasync, false);
	return r == -EBUSY ? 0 : r;
}

bool file_log_fits(const struct inode *ip, u64 pos, u64 len)
{
	return bytes_to_sectors_up(pos + len) - (pos >> SECTOR_SHIFT) <= ip->fs->log_max;
}
