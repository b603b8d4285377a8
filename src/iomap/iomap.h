/*
 * iomap: from file ranges to disk ranges, and the loop bodies that move data: buffered read and
 * write, fill, readahead, writeback, zeroing, truncation of the cache, seek.
 *
 * The file system gives, per file, operations that map a byte range (struct iomap_ops);
 * everything else about folios and I/O is here. No function outside iomap and those operations
 * translates a file offset into a disk address.
 *
 *	while ((r = iomap_iter(&it)) > 0)
 *		it.done = body(&it);
 *
 * A mapping is sampled before the folio lock is taken, so whoever uses its disk address
 * asks iomap_ops.valid() again under the lock (cookie), and maps anew if need be.
 * Units: bytes for file offsets, sectors for disk addresses.
 * Locks: the caller holds the inode's lock (RANK_INODE) as each function says; folio locks are
 * taken here; operations are called with or without a folio lock as they say.
 * Source of the idea: fs/iomap of the Linux kernel.
 */
#ifndef FOLIOFS_IOMAP_IOMAP_H
#define FOLIOFS_IOMAP_IOMAP_H

#include "base/types.h"
#include "blk/blk.h"
#include "cache/cache.h"

enum iomap_type {
	IOMAP_HOLE,      /* nothing there: reads zero */
	IOMAP_DELALLOC,  /* space is reserved, not placed yet; only dirty folios hold data */
	IOMAP_MAPPED,    /* on disk at `disk`; sectors that the map says are unwritten read zero */
	IOMAP_INLINE,    /* in the inode item: all of sector 0 */
};

enum iomap_flags {       /* what the mapping is wanted for */
	IOMAP_READ      = 0,
	IOMAP_WRITE     = 1u << 0,  /* reserve space for holes; -ENOSPC, -EFBIG */
	IOMAP_WRITEBACK = 1u << 1,  /* only look up; iomap_ops.allocate came before */
	IOMAP_REPORT    = 1u << 2,  /* seek, fiemap */
};

struct iomap {
	u64 offset;      /* bytes; sector aligned */
	u64 length;      /* bytes, > 0; sector multiple (INLINE: the inline length) */
	u64 disk;        /* first sector; MAPPED only */
	enum iomap_type type;
	u64 cookie;      /* compared by ops->valid */
};

struct iomap_file;

/* What a sector's map entry asks of a write in place. */
enum iomap_how {
	IOMAP_NEW,       /* nothing that must survive: the entry is set after the write */
	IOMAP_OVERWRITE, /* the entry is a checksum: the write is announced before, then as above */
	IOMAP_SAME,      /* written without checksum before and after: the entry stays */
};

/* A finished write of one contiguous range of a file to one contiguous range of the disk. */
struct iomap_ioend {
	struct iomap_file *file;
	u64 sector;      /* file offset in sectors */
	u64 disk;
	u32 nr;          /* sectors */
	enum iomap_how how;
	const u32 *entries; /* their new map entries */
	void *intent;    /* IOMAP_OVERWRITE: from iomap_ops.announce */
	u64 size_end;    /* bytes: min(end of the range, file size in memory at submission) */
	int error;
	/* There was no write: gives back what write_begin took, and takes back its announcement. */
	bool unsent;
};

/* A sector that goes into the log. */
#define IOMAP_LOG_MAX 33u   /* sectors of one piece at most: 128 KiB wherever they begin */
struct iomap_logged {
	u64 sector, disk;
	const void *data;
};

/* An overwrite that is about to be sent. */
struct iomap_overwrite {
	u64 disk;
	u32 nr;
	const u32 *entries;
	void *intent;    /* set by iomap_ops.announce, kept for the ioend */
};

struct iomap_ops {
	/*
	 * Map (part of) [pos, pos+len). Returns 0 and a mapping that contains pos (it may begin
	 * before and end after the range), or -errno. May do metadata I/O. IOMAP_WRITE: caller
	 * holds the inode exclusively; on success the returned part of a hole has become
	 * DELALLOC (or INLINE stays INLINE if the file with this write still fits).
	 */
	int (*map)(struct iomap_file *f, u64 pos, u64 len, unsigned flags, struct iomap *out);
	bool (*valid)(struct iomap_file *f, const struct iomap *m);
	/*
	 * Before writeback of [start, end) bytes, no folio lock held: give every delayed range
	 * in it a place on the disk (one long extent where possible; may go beyond the range).
	 * Runs handles.
	 */
	int (*allocate)(struct iomap_file *f, u64 start, u64 end);
	/*
	 * Sector map entries of nr sectors from disk sector `disk`: 0 = unwritten, reads as
	 * zero (pending written sectors already count as written); 2 = bad; else written. May
	 * do metadata I/O.
	 */
	int (*map_entries)(struct iomap_file *f, u64 disk, u32 nr, u32 *entries);
	/*
	 * 1: the newest version of the disk sector is not in its place, and was copied to buf.
	 * 0: it is in its place.
	 */
	int (*read_logged)(struct iomap_file *f, u64 disk, void *buf);
	/*
	 * How nr sectors that are about to be written in place are to be treated. Folio locked, and
	 * under no writeback. -EAGAIN: something else must be done first, by write_settle() without
	 * any folio lock or write under way; then ask again. how = NULL, in_place = false: they are
	 * going to be logged.
	 */
	int (*write_how)(struct iomap_file *f, u64 disk, u32 nr, u8 *how);
	int (*write_settle)(struct iomap_file *f, u64 disk, u32 nr, bool in_place);
	/*
	 * Logs sectors as one piece: it is durable, as a whole, with the transaction that runs
	 * now. size_end: bytes of the file that they show. item: attributes too. They are under
	 * writeback. -EBUSY: they must be written in place.
	 */
	int (*log)(struct iomap_file *f, const struct iomap_logged *s, u32 nr, u64 size_end,
		   bool item);
	/*
	 * IOMAP_OVERWRITE: announces them; *announcement stands for these and all before. -EBUSY:
	 * too much is under way; once all writes of this thread have ended, again with drained =
	 * true, which waits. On another error nothing was announced.
	 */
	int (*announce)(struct iomap_file *f, struct iomap_overwrite *ow, unsigned nr,
			bool drained, u64 *announcement);
	/* It will be waited for: another thread may make it durable meanwhile. Does not block. */
	void (*announce_soon)(struct iomap_file *f, u64 announcement);
	/* Makes it durable. Only then may the writes be sent; on error they must not. */
	int (*announce_wait)(struct iomap_file *f, u64 announcement);
	/*
	 * Contents of an INLINE file: up to SECTOR_SIZE bytes, zero padded by the caller.
	 * Returns length.
	 */
	int (*inline_read)(struct iomap_file *f, void *buf);
	/* Writeback of an INLINE file: store the first `size` bytes. Folio locked. */
	int (*inline_write)(struct iomap_file *f, const void *data, u64 size);
	/*
	 * Before nr sectors are written: memory for `ends` calls of ioend, which will tell of all
	 * of them; nr = 0: for so many calls more. -ENOMEM: the write must not be sent. Must not
	 * block.
	 */
	int (*write_begin)(struct iomap_file *f, enum iomap_how how, u64 disk, u32 nr,
			   unsigned ends);
	/*
	 * A range was written (or failed). Called in the thread that runs the writeback, before
	 * the folio's writeback ends, so that a later fill already knows. Must not block, and
	 * can't fail: it has what write_begin took.
	 */
	void (*ioend)(struct iomap_file *f, const struct iomap_ioend *io);
	/* As in struct mapping_ops. May be NULL. */
	int (*no_writeback)(struct iomap_file *f);
};

/* The part of an inode that iomap works on; embedded in the file system's inode. */
struct iomap_file {
	struct mapping mapping;
	const struct iomap_ops *ops;
	struct blk_dev *dev;
	u64 size;                /* bytes, in memory; atomic; changed under the inode lock */
	u64 ino;                 /* for messages */
	bool nosum;              /* new contents get no checksum; set by the file system */
	u64 hold_start, hold_end; /* sectors, atomic; end 0 = none: iomap_hold() */
};

void iomap_file_init(struct iomap_file *f, const struct iomap_ops *ops, struct blk_dev *dev,
		     u64 ino);
void iomap_file_fini(struct iomap_file *f);

/* ---- iterator ---- */
struct iomap_iter {
	struct iomap_file *file;
	u64 pos, len;            /* what is left, bytes */
	u64 done;                /* set by the body: bytes done, 0 = map again */
	unsigned flags;
	struct iomap map;
	int error;               /* a body may set it to stop */
};
int iomap_iter(struct iomap_iter *it);   /* 1: it->map is valid for it->pos; 0: the end; -errno */

/* ---- reading ---- */

/* A piece of a folio that holds file data, with a reference to be put with folio_put(). */
struct iomap_slice {
	struct folio *folio;     /* NULL: a hole, data points to zeroes */
	const void *data;
	u32 len;
};
#define IOMAP_ZERO_SLICE_MAX (64u << 10)   /* length of the shared page of zeroes */
/*
 * A read that ends later, in the thread that began it: while the disk is busy with it the thread
 * serves others. It has locked the folios that it fills, so the thread must reap its ring before it
 * sleeps on anything else (ring_settle()).
 */
struct iomap_pending {
	bool good;               /* every slice is filled; false: read again in the waiting way */
	unsigned nr;
	u64 bytes;               /* that the slices cover */
	struct iomap_slice *slices;
	void *own;               /* what iomap_async.save() has put there */
	u64 began_ns;
	STAILQ_ENTRY(iomap_pending) link;  /* whoever gets it in done() may use it */
	struct pending_fill *fill;         /* private */
};
/*
 * How to go on. done() runs in any wait of this thread: it takes no lock and does not sleep; the
 * folios are unlocked by then and still referenced. It keeps the read until iomap_pending_free(),
 * which is for a place without locks.
 */
struct iomap_async {
	void (*done)(struct iomap_pending *p);
	void (*save)(const struct iomap_async *a, void *own);   /* what done() will need */
	size_t own_len;
};
void iomap_pending_free(struct iomap_pending *p);

/*
 * Up to max slices that cover [pos, min(pos+len, size)) from pos on, filled and uptodate.
 * Returns the number, *bytes what they cover (less than asked when slices run out: call again).
 * All missing sectors are read in one pipelined batch, not folio by folio. Inode lock shared.
 * ra and async may be NULL. With async it may return -EINPROGRESS: the whole range will be had from
 * done(), which may have run already; *bytes is its length.
 */
int iomap_read_slices(struct iomap_file *f, u64 pos, u64 len, struct readahead *ra,
		      const struct iomap_async *async, struct iomap_slice *slices, unsigned max,
		      u64 *bytes);
/* The same, copied. Bytes read (0 at end of file) or -errno; short when an error came later. */
ssize_t iomap_read(struct iomap_file *f, u64 pos, void *buf, u64 len, struct readahead *ra);

/* ---- writing ---- */

/*
 * Copies buf into the cache at pos: reads only sectors that are partly covered and hold data;
 * raises f->size as it goes; zeroes between the old end of file and pos belong to the caller
 * (iomap_zero_eof). Inode lock exclusive. Bytes written (short when space ran out on the way),
 * or -errno when none. Does not throttle: the caller calls cache_throttle() before it takes the
 * inode lock.
 */
ssize_t iomap_write(struct iomap_file *f, u64 pos, const void *buf, u64 len);
/*
 * Zero bytes [pos, pos+len) that hold data (holes and unwritten sectors stay so); not past
 * f->size rounded up to a sector.
 */
int iomap_zero(struct iomap_file *f, u64 pos, u64 len);
/*
 * As if writing these sectors, which hold data, had failed: they are dirty again, read first where
 * the cache has dropped them, and the mapping has the error. No lock of folios; whoever could take
 * the sectors away is kept out. The first error: sectors that can't be read are not dirty.
 */
int iomap_write_failed(struct iomap_file *f, u64 sector, u32 nr, int error);
/* Rule 8: bytes from `size` to the end of its sector become zero (and dirty if they were not). */
int iomap_zero_eof(struct iomap_file *f, u64 size);

/* ---- writeback ---- */
enum iomap_wb_flags {
	IOMAP_WB_WAIT  = 1u << 0,   /* fsync: also waits for writeback that others began */
};
/*
 * Writes dirty sectors of [start, end) bytes: allocate, then long vectored writes over many
 * folios in a pipeline by this thread. nr_max = sectors to write at most (flushers; 0 = no
 * limit), *next (may be NULL) = where to go on, `end` if nothing is left that was dirty when this
 * began. Returns the first error; failed sectors stay dirty. No inode lock needed.
 */
int iomap_writeback(struct iomap_file *f, u64 start, u64 end, unsigned flags, u64 nr_max,
		    u64 *next);

/*
 * The same for several files of one device, one after another through one pipeline: the device has
 * something to do while it goes on to the next. No file is there twice.
 */
struct iomap_wb {
	struct iomap_file *f;
	u64 start, end;          /* bytes */
	u64 nr_max;              /* sectors, 0 = no limit */
	/* results */
	u64 next;
	int error;
	/* private */
	struct wb_queue *queue;
	u64 first, last;         /* file sectors */
	u64 limit;               /* sectors that may still be written */
	struct iomap map;
	bool dirty;
	bool skipped;            /* sectors that somebody holds */
};
void iomap_writeback_files(struct iomap_wb *wb, unsigned nr, unsigned flags);

/* Waits for writeback of others that is under way; the error that dirty sectors have, if any. */
int iomap_wait_writeback(struct iomap_file *f);

/* ---- small synchronous writes ---- */

/*
 * Logs the dirty sectors of [start, end) bytes in one piece. 1: they are published with the running
 * transaction (inline data, too). 0: there are more than max (or IOMAP_LOG_MAX), nothing was done.
 * -EBUSY: it must be writeback. own: the caller holds the range.
 */
int iomap_log(struct iomap_file *f, u64 start, u64 end, u32 max, bool item, bool own);
/*
 * While a range is held, writeback and iomap_log() of others leave its sectors alone; writeback
 * that should have waited returns -EAGAIN. One range a file: by who has the inode lock exclusively.
 */
void iomap_hold(struct iomap_file *f, u64 pos, u64 len);
void iomap_release(struct iomap_file *f);
bool iomap_is_held(const struct iomap_file *f, u64 sector, u64 nr);

/* ---- truncate, punch, seek ---- */

/*
 * The cache's part of a shrink to `size` (f->size is lowered first by the caller, exclusive):
 * waits for I/O beyond it, drops folios, zeroes the tail of the last sector (dirtying it if it
 * holds data).
 */
int iomap_truncate_cache(struct iomap_file *f, u64 size);
/* SEEK_DATA / SEEK_HOLE; -ENXIO. Inode shared. */
s64 iomap_seek(struct iomap_file *f, u64 pos, int whence);

/* Installed as ops of f->mapping: fill and fill_async by map + map_entries + blk. */
extern const struct mapping_ops iomap_mapping_ops;

#endif
