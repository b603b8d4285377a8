/*
 * Small files: up to FMT_INLINE_MAX bytes live in the inode item.
 *
 * 1. Every file is born inline. In memory its data is sector 0 of the mapping, like any other
 *    data: dirty, written back (into the item, size and bytes in one handle), evicted, filled
 *    again from the item.
 * 2. A file leaves its item when it outgrows it, and never returns. In memory that is at once
 *    (ip->inl); the item keeps the old bytes until they are on the disk in their new place
 *    (ip->inl_on_disk, cleared by completion), so that a crash finds one or the other.
 * 3. ip->inl changes under the lock of folio 0, so that a writeback of that folio, which asks
 *    for the mapping under the lock, never writes bytes to a place that is not theirs any more.
 * 4. Bytes that make the item longer reserve INLINE_RESERVE sectors when they are written, so that
 *    a full disk refuses the write and not the writeback. The handle that stores them uses the
 *    reservation up.
 */
#include <string.h>

#include "base/err.h"
#include "fs/file_priv.h"

/* A longer item splits one leaf at most; splits above leaves are rare and the reserve's matter. */
#define INLINE_RESERVE NODE_SECTORS

/* ---- reservations ---- */

int inline_reserve(struct inode *ip, u64 end)
{
	unsigned tries = 0;
	bool need;
	int r;

	mutex_lock(&ip->state);
	need = ip->inl_reserved == 0 && end > ip->disk_size;
	mutex_unlock(&ip->state);
	if (!need)
		return 0;
	do {
		r = space_reserve(ip->fs->space, INLINE_RESERVE);
	} while (file_space_wait(ip->fs, r, &tries));
	if (r)
		return r;
	mutex_lock(&ip->state);
	ip->inl_reserved = INLINE_RESERVE;
	mutex_unlock(&ip->state);
	return 0;
}

void inline_unreserve(struct inode *ip)
{
	u32 sectors;

	mutex_lock(&ip->state);
	sectors = ip->inl_reserved;
	ip->inl_reserved = 0;
	mutex_unlock(&ip->state);
	if (sectors)
		space_unreserve(ip->fs->space, sectors);
}

/* ---- the item ---- */

struct inline_read {
	u64 ino;
	void *buf;
	u32 len;
};

static int read_body(struct view *v, void *arg)
{
	struct inline_read *a = arg;
	const struct fmt_inode *item;
	const void *data;
	int r = inode_get_item(v, a->ino, &item, &data, &a->len);

	if (r)
		return r == -ENOENT ? corrupt(WHY_INODE_READ, a->ino, CORRUPT_NO_SECTOR) : r;
	if (!(get32(item->flags) & FMT_IFLAG_INLINE))
		a->len = 0;
	a->len = MIN(a->len, SECTOR_SIZE);
	memcpy(a->buf, data, a->len);
	return 0;
}

int file_inline_read(struct iomap_file *f, void *buf)
{
	struct inline_read a = { .ino = f->ino, .buf = buf };
	int r = jnl_read(file_inode(f)->fs->jnl, read_body, &a);

	return r ? r : (int)a.len;
}

struct inline_write {
	struct inode_edit edit;
	u32 reserved;           /* used up by this handle */
	const void *data;
	u32 size;
};

/* The item with `len` bytes behind it. */
static int set_item(struct view *v, struct inode_edit *e, bool inl, const void *data, u32 len)
{
	struct {
		struct fmt_inode item;
		u8 data[FMT_INLINE_MAX];
	} __attribute__((packed)) val;

	inode_encode(&e->attr, e->disk_size, inl, len, &val.item);
	memcpy(val.data, data, len);
	return btree_set(v, FMT_TREE_INODE, (struct fmt_key){ e->ip->ino, 0 }, &val,
			 (u32)sizeof(val.item) + len);
}

static void write_published(void *arg, u64 seq UNUSED)
{
	struct inline_write *a = arg;
	struct inode *ip = a->edit.ip;

	mutex_lock(&ip->state);
	ip->inl_reserved -= MIN(ip->inl_reserved, a->reserved);
	mutex_unlock(&ip->state);
}

/* Rule 4. */
static int use_reserved(struct view *v, struct inline_write *a)
{
	struct inode *ip = a->edit.ip;
	int r;

	mutex_lock(&ip->state);
	a->reserved = ip->inl_reserved;
	mutex_unlock(&ip->state);
	if (!a->reserved)
		return 0;
	r = space_use_reserved(v, ip->fs->space, a->reserved);
	return r ? r : view_on_publish(v, write_published, a);
}

static int write_body(struct view *v, void *arg)
{
	struct inline_write *a = arg;
	int r;

	inode_edit_begin(&a->edit, a->edit.ip);
	a->edit.disk_size = a->size;
	r = use_reserved(v, a);
	if (!r)
		r = set_item(v, &a->edit, true, a->data, a->size);
	return r ? r : inode_edit_end(v, &a->edit);
}

int file_inline_write(struct iomap_file *f, const void *data, u64 size)
{
	struct inode *ip = file_inode(f);
	struct inline_write a = { .edit.ip = ip, .data = data, .size = (u32)size };
	u64 seq = 0;
	int r;

	ASSERT(size <= FMT_INLINE_MAX);
	r = jnl_run(ip->fs->jnl, 2 * BTREE_CREDITS, write_body, &a, &seq);
	if (!r)
		inode_note_seq(ip, seq, true);
	return r;
}

int inline_clear_in(struct view *v, struct inode_edit *e)
{
	return set_item(v, e, false, "", 0);
}

int inline_clear_empty_in(struct view *v, struct inode_edit *e, bool *cleared)
{
	struct inode *ip = e->ip;

	mutex_lock(&ip->state);
	*cleared = ip->inl_on_disk && !ip->inl && ip->disk_size == 0;
	mutex_unlock(&ip->state);
	return *cleared ? inline_clear_in(v, e) : 0;
}

/* ---- changes in memory; inode lock exclusive ---- */

static void set_left(struct inode *ip, bool empty)
{
	mutex_lock(&ip->state);
	ip->inl = false;
	ip->inl_moved = empty && ip->disk_size == 0;
	file_map_changed(ip);
	mutex_unlock(&ip->state);
	inline_unreserve(ip);
}

/* Sector 0 with the contents of the file, locked. */
static int get_sector(struct inode *ip, struct folio **out)
{
	struct folio *folio;
	int r = cache_get(&ip->file.mapping, 0, 0, 0, &folio);

	if (r)
		return r;
	r = folio_make_uptodate(folio, 0, 1);
	if (r) {
		folio_unlock(folio);
		folio_put(folio);
		return r;
	}
	*out = folio;
	return 0;
}

static int move_bytes(struct inode *ip)
{
	struct extent_run run;
	struct folio *folio;
	int r = extent_find(ip, 0, &run);

	/* A crash between allocation and completion leaves an inline file with an extent. */
	if (!r && !run.mapped)
		r = delalloc_reserve(ip, 0, 1);
	if (!r)
		r = get_sector(ip, &folio);
	if (r)
		return r;
	set_left(ip, false);
	folio_mark_dirty(folio, 0, 1);
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}

/* The item gets the smaller size first: what comes after can only raise it. */
static int store_shrunk(struct inode *ip)
{
	bool shrunk;

	mutex_lock(&ip->state);
	shrunk = inode_size(ip) < ip->disk_size;
	mutex_unlock(&ip->state);
	return shrunk ? iomap_writeback(&ip->file, 0, SECTOR_SIZE, IOMAP_WB_WAIT, 0, NULL) : 0;
}

int inline_leave(struct inode *ip)
{
	int r = store_shrunk(ip);

	if (r)
		return r;
	/* No more than zeroes will lie behind the end of a sector that was never written. */
	ip->tail_zero = true;
	if (inode_size(ip) > 0)
		return move_bytes(ip);
	cache_drop(&ip->file.mapping, 0, 1);
	set_left(ip, true);
	return 0;
}

int inline_outgrow(struct inode *ip, u64 end)
{
	return ip->inl && end > FMT_INLINE_MAX ? inline_leave(ip) : 0;
}

int inline_resize(struct inode *ip, u64 size)
{
	struct folio *folio;
	int r = inline_reserve(ip, size);

	if (!r)
		r = get_sector(ip, &folio);
	if (r)
		return r;
	if (size < inode_size(ip))
		memset((u8 *)folio_data(folio) + size, 0, SECTOR_SIZE - size);
	__atomic_store_n(&ip->file.size, size, __ATOMIC_RELEASE);
	folio_mark_dirty(folio, 0, 1);
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}
