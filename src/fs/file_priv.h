/*
 * Between the files of file data: file.c, inline.c, extent.c, delalloc.c, complete.c,
 * truncate.c, fallocate.c.
 *
 * Locks: `place` (RANK_MAPPING_INVAL, inside the inode lock, outside the handle) belongs to
 * whoever moves ranges from one state to another: delayed to placed (allocate), finished to
 * written (complete), anything to nothing (truncate, punch).
 */
#ifndef FOLIOFS_FS_FILE_PRIV_H
#define FOLIOFS_FS_FILE_PRIV_H

#include "fs/inode.h"

/* Largest extent; keeps sums of two within u32. */
#define EXTENT_NR_MAX (1u << 30)
#define FILE_SECTOR_MAX (UINT64_MAX >> SECTOR_SHIFT)

struct extent_run {
	u64 start, end;         /* file sectors */
	u64 disk;               /* of start, if mapped */
	bool mapped;            /* else a hole */
};

static inline struct inode *file_inode(struct iomap_file *f)
{
	return container_of(f, struct inode, file);
}

static inline u32 file_block(const struct inode *ip)
{
	return ip->fs->geo.block_sectors;
}

/* The holder of state says that extents or delayed ranges have changed. */
static inline void file_map_changed(struct inode *ip)
{
	__atomic_store_n(&ip->map_seq, ip->map_seq + 1, __ATOMIC_RELEASE);
}

/* ---- extent.c: the extent tree, in bodies ---- */

/* The extent that contains the sector, or the hole around it (from the sector on). */
int extent_find_in(struct view *v, u64 ino, u64 sector, struct extent_run *out);
/* Insert into a hole; joins neighbours that are contiguous in the file and on the disk. */
int extent_insert_in(struct view *v, u64 ino, u64 sector, u64 disk, u32 nr);
/*
 * Reserved space for up to `want` sectors of the file from `sector` on: found, inserted as an
 * extent, counted in the item, which is stored (and stops being inline if it was empty).
 *
 * Blocks of the file that are wanted whole get whole blocks; a part of one, at the beginning or
 * the end of what is wanted, gets a fragment of its own.
 */
struct extent_place {
	u64 sector;
	u32 want;
	bool parts;             /* as in struct space_want: set when -ENOSPC was waited for */
	/* out */
	u32 nr;                 /* sectors that it got */
	bool was_inline;
};
int extent_place_in(struct view *v, struct inode_edit *e, struct extent_place *p);
/*
 * Frees space of [from, to), the end first, within one handle: *freed sectors, *finished if
 * nothing is left.
 */
#define EXTENT_FREE_CREDITS 64u
int extent_free_in(struct view *v, struct space *sp, u64 ino, u64 from, u64 to, u64 *freed,
		   bool *finished);
int extent_find(struct inode *ip, u64 sector, struct extent_run *out);  /* by jnl_read */
/*
 * -ENOSPC while freed space is not usable yet: commits and returns true if it is worth another
 * try.
 */
bool file_space_wait(struct fs *fs, int error, unsigned *tries);

/* ---- delalloc.c ---- */
/* The first delayed range that ends behind the sector. state held. */
struct delalloc *delalloc_first(struct inode *ip, u64 sector);
/* A hole becomes delayed: reserves. Inode lock exclusive. -ENOSPC, -ENOMEM */
int delalloc_reserve(struct inode *ip, u64 start, u64 end);
/*
 * Takes [start, end) out. state held. Returns the sectors of reservation that the caller must
 * give back with space_unreserve() (the data's own only unless placed: the allocator took it).
 * *spare: a node in case a range is split; set to NULL when used.
 */
u64 delalloc_remove(struct inode *ip, u64 start, u64 end, bool placed, struct delalloc **spare);
int file_allocate(struct iomap_file *f, u64 start, u64 end);

/* ---- complete.c ---- */
int file_write_begin(struct iomap_file *f, enum iomap_how how, u64 disk, u32 nr, unsigned ends);
void file_ioend(struct iomap_file *f, const struct iomap_ioend *io);
/*
 * Finished writes that a failed flush may have taken are made dirty again, as if they had failed.
 * No locks. 0: there are none any more; -EIO: some are lost for good, -ENOMEM, -EROFS.
 */
int file_retry_lost(struct inode *ip);
/*
 * What the calls below take: had before anything is changed, because they can't fail. NULL: no
 * memory. free() if it is not needed.
 */
struct done_io *done_new(void);
/* A size with no write to carry it: the next completion publishes it. Takes d. */
void done_size(struct inode *ip, u64 size, struct done_io *d);
/*
 * Sector 0 was dropped: the bytes in an item that the file has left are the file's no more. Takes
 * d.
 */
void done_first_dropped(struct inode *ip, struct done_io *d);
/*
 * Forgets finished writes of [start, end) sectors, and sizes beyond `size`; takes d. place held.
 * Intents of sectors that were announced are closed by done_dropped(), place still held, once
 * their entries are 0 by a published transaction.
 */
void done_clip(struct inode *ip, u64 start, u64 end, u64 size, struct done_io *d);
void done_dropped(struct inode *ip, bool published);

/* ---- inplace.c: operations of struct iomap_ops ---- */
int file_read_logged(struct iomap_file *f, u64 disk, void *buf);
int file_write_how(struct iomap_file *f, u64 disk, u32 nr, u8 *how);
int file_write_settle(struct iomap_file *f, u64 disk, u32 nr, bool in_place);
int file_announce(struct iomap_file *f, struct iomap_overwrite *ow, unsigned nr, bool drained,
		  u64 *seq);
void file_announce_soon(struct iomap_file *f, u64 seq);
int file_announce_wait(struct iomap_file *f, u64 seq);

/* ---- datalog.c ---- */
int file_log(struct iomap_file *f, const struct iomap_logged *s, u32 nr, u64 size_end, bool item);
/* May a synchronous write of these bytes go through the log? */
bool file_log_fits(const struct inode *ip, u64 pos, u64 len);

/* ---- inline.c ---- */
int file_inline_read(struct iomap_file *f, void *buf);
int file_inline_write(struct iomap_file *f, const void *data, u64 size);
/*
 * Before an inline file gets `end` bytes: reserves what its item may need in nodes. Inode lock
 * exclusive. -ENOSPC
 */
int inline_reserve(struct inode *ip, u64 end);
void inline_unreserve(struct inode *ip);
/* The file outgrows its item: from now on its data lives in sectors. Inode lock exclusive. */
int inline_leave(struct inode *ip);
int inline_outgrow(struct inode *ip, u64 end);  /* inline_leave(), if end does not fit */
/* In a body: the item of a file that has left it gives up its inline data. */
int inline_clear_in(struct view *v, struct inode_edit *e);
/*
 * The same if that inline data is empty, so that extents come to a file without INLINE:
 * *cleared says so.
 */
int inline_clear_empty_in(struct view *v, struct inode_edit *e, bool *cleared);
/* Bytes from `size` on are gone; the item follows at writeback. Inode lock exclusive. */
int inline_resize(struct inode *ip, u64 size);

/* ---- truncate.c ---- */
/*
 * Before the file grows: what lies behind its end in the last sector is zero, in the cache and
 * on the disk.
 */
int file_before_growth(struct inode *ip);
/* Sets a larger size, durable with the inode's transactions. Inode lock exclusive. */
int file_grow(struct inode *ip, u64 size);
/* Extents for the holes of [start, end) sectors. Inode lock exclusive. */
int file_place_blocks(struct inode *ip, u64 start, u64 end);
/*
 * Frees [start, end) sectors of the file: cache, delayed ranges, extents. Inode lock exclusive.
 */
int file_drop_blocks(struct inode *ip, u64 start, u64 end);
int file_may_write(struct inode *ip);   /* kind of inode, read-only; lock not needed */

#endif
