/*
 * Inside fs: the inode in memory, shared by inode.c (table, load, store), dir.c, namei.c, file.c,
 * extent.c, xattr.c, orphan.c, super.c. Not for other layers.
 *
 * Locks of an inode: `lock` (RANK_INODE, two inodes: ascending number through _nested): shared to
 * read data, list, look up;
 * exclusive to write data, change size, extents' shape by truncate/punch, or directory entries.
 * `state` (RANK_INODE_STATE) guards the small fields below for short moments; it is taken inside
 * `lock` and inside RANK_HANDLE/META.
 */
#ifndef FOLIOFS_FS_INODE_H
#define FOLIOFS_FS_INODE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "fs/btree.h"
#include "fs/fs.h"
#include "fs/space.h"

/* The inode item decoded. */
struct ino_attr {
	u32 mode, uid, gid, nlink, flags, gen, xattrs;
	u64 rdev, sectors, parent, entries;
	struct timespec atime, mtime, ctime, btime;
};

/* Delayed allocation: ranges of the file that are reserved and not placed. */
struct delalloc {
	RB_ENTRY(delalloc) node;
	u64 start, end;             /* file sectors */
};
RB_HEAD(delalloc_tree, delalloc);

/* Writes that finished and wait for flush + completion handle. */
struct done_io {
	TAILQ_ENTRY(done_io) link;
	u64 sector, disk;
	u32 nr;
	u64 size_end;               /* bytes */
	u64 ticket;                 /* blk_flush_ticket() taken after the I/O */
	u64 failures;               /* blk_flush_failures() taken before it */
	bool same;                  /* also of data whose range is not known (IOMAP_SAME) */
	bool lost;                  /* a flush failed since: the device may not have it */
	struct jnl_intent *intent;  /* that announced it, or NULL */
	u32 dropped;                /* sectors of it that were clipped; their intent is open yet */
};
TAILQ_HEAD(done_list, done_io);

enum inode_dirty {
	INODE_DIRTY_TIME = 1,       /* only times: fdatasync may skip it */
	INODE_DIRTY_ATTR = 2,       /* item must be stored for fdatasync too (size) */
};

struct inode {
	struct fs *fs;
	u64 ino;
	u32 refs;                   /* atomic */
	u32 dirty;                  /* enum inode_dirty, under state */
	u32 dirty_gen;              /* raised by every inode_mark_dirty(), under state */
	u64 dirty_ns;               /* now_ns() when dirty was 0 last, under state */
	struct rwlock lock;
	struct mutex state;
	struct iomap_file file;     /* file.size is the size in memory */
	struct ino_attr attr;       /* under state (changed under lock too) */
	u64 disk_size;              /* size in the inode item as last published, under state */
	/* iomap cookie: raised by every change of extents or delalloc */
	u64 map_seq;
	u64 sync_seq;               /* newest transaction that fsync must wait for, under state */
	u64 datasync_seq;           /* the same for fdatasync */
	struct delalloc_tree delalloc; /* under state */
	u64 delalloc_sectors;       /* in the tree, under state; with the two below */
	u32 delalloc_ranges;
	u64 delalloc_share;         /* sectors reserved for the nodes that they may need */
	struct done_list done;      /* under state */
	struct done_list completing; /* out of done, in a completion handle; under state */
	u32 nr_done;                /* entries of done; under state */
	struct done_list spare;     /* one for each write under way; under state */
	u64 done_sectors;           /* theirs; under state */
	u64 done_ticket;            /* the newest in done; under state */
	u64 done_ns;                /* now_ns() when done was empty last; under state */
	/*
	 * RANK_MAPPING_INVAL: who gives delayed ranges a place, completes, or takes either away
	 * (truncate, punch)
	 */
	struct mutex place;
	/* looked up last, if seq == map_seq; under state */
	struct { u64 start, nr, disk, seq; } extent;
	/* the disk holds zeroes behind the end of file in its sector; under lock */
	bool tail_zero;
	bool replaced;              /* truncated to nothing: data goes out at close; atomic */
	bool wb_failed;             /* the flusher has said so; under state */
	u64 wb_retry_ns;            /* not before; under state */
	bool inl;                   /* data lives in the item (in-memory truth), under state */
	bool inl_on_disk;           /* the item still has INLINE (cleared by completion) */
	/* what the item holds is on the disk in sector 0, too; under state */
	bool inl_moved;
	/* sectors reserved for the nodes of an item that grows; under state */
	u32 inl_reserved;
	bool deleted;               /* no links; goes when the last user goes */
	bool linkable;              /* never had a name (fs_tmpfile); under lock */
	bool on_dirty_list;         /* in fs->dirty, under RANK_FLUSHER */
	TAILQ_ENTRY(inode) dirty_link;
	TAILQ_ENTRY(inode) lru_link;   /* unused inodes, under RANK_INODE_TABLE */
	struct inode *hash_next;    /* under RANK_INODE_TABLE */
	bool loading;               /* being read: wait on fs->table_cond; under RANK_INODE_TABLE */
	bool dying;                 /* being deleted: no such inode any more; the same */
	bool on_lru;                /* in fs->unused; the same */
	u64 overwrite_failures;     /* as in struct done_io, of the oldest of them */
	bool has_lost;              /* some entry of done is; under state */
	/*
	 * What a failed flush took is not known, because there are no checksums: every fsync fails
	 * until the file system is mounted again. Under state.
	 */
	bool lost_same;
	u64 overwrite_ticket;       /* newest blk_flush_ticket() of a finished overwrite; 0 = none,
				     * set by ioend, cleared by fsync; under state */
};

/* What corrupt() reported and the disk does not have yet (errors.c). */
struct errors {
	bool busy;                  /* atomic: who has it may use the rest */
	u32 nr;
	struct fs_error e[FMT_NR_ERRORS];
	u64 lost;                   /* reports for which there was no room */
	u64 next_ns;                /* errors_tick() stores nothing before; atomic */
};

struct fs {
	struct blk_dev *dev;
	struct fmt_geo geo;
	struct fs_opts opts;
	struct jnl *jnl;
	struct space *space;
	struct jnl_recovery recovery;
	bool readonly;
	bool nosum;                 /* new data gets no checksums */
	u32 log_max;                /* sectors that fsync may put into the log; 0 = none */
	struct mutex rename;        /* RANK_RENAME */
	struct mutex label;         /* RANK_CTL: geo.label, and its way to the disk */
	/* inode table (inode.c) */
	struct mutex table_lock;    /* RANK_INODE_TABLE */
	struct cond table_cond;     /* an inode is loaded, or gone */
	struct inode **table;
	u32 table_size, nr_inodes, nr_unused;
	u32 evict_pause;            /* looks for something to evict that are left out */
	/* what inodes that left memory had not made durable (itable.c, rule 6) */
	struct evicted { u64 sync_seq, ticket, failures; } evicted;
	TAILQ_HEAD(, inode) unused;
	struct known *known;        /* fs_remember counts (known.c) */
	/* dirty inodes and the flusher (flusher.c) */
	struct mutex dirty_lock;    /* RANK_FLUSHER */
	struct cond dirty_cond;
	TAILQ_HEAD(, inode) dirty;
	pthread_t flusher;
	bool flusher_runs, flusher_stop, flusher_kick;
	u64 flusher_due_ns;         /* when it has something to do; under RANK_FLUSHER */
	struct errors errors;
	bool storing, unmounting;   /* fs_pre_commit() runs; it must not begin any more */
};

/*
 * What may change an attribute in memory, so that no update is lost:
 *   - mode, owner, times, flags: under `lock` (times of reading: shared is enough) and state, then
 *     inode_mark_dirty(); the item follows later.
 *   - nlink, parent, entries, xattrs, sectors, disk_size: only in a handle that stores the item
 *     too. The body copies
 *     ip->attr, the memory changes at publish: struct inode_edit does both.
 */

/* inode.c */
void inode_mark_dirty(struct inode *ip, u32 how);     /* queues it; 0: only queue; state not held */
/* Store attributes (and size up to what is published as written) in a body / by its own handle. */
int inode_store_in(struct view *v, struct inode *ip, const struct ino_attr *a, u64 size);
int inode_store(struct inode *ip);                    /* if dirty; sets sync_seq */
int inode_store_old(struct inode *ip, u64 age_ns);    /* if dirty for at least that long */
int inode_get_item(struct view *v, u64 ino, const struct fmt_inode **item, const void **inl,
		   u32 *inl_len);
void inode_note_seq(struct inode *ip, u64 seq, bool data_too); /* after jnl_run */
struct timespec fs_now(const struct fs *fs);             /* by the clock of kernel_times */
/*
 * The item's fixed part. inline_len > 0 or inl: what follows in the item (INLINE files,
 * symlinks).
 */
void inode_encode(const struct ino_attr *a, u64 size, bool inl, u32 inline_len,
		  struct fmt_inode *out);
/*
 * One inode that a body changes: begin copies the attributes (at the body's start), the body
 * changes e->attr and
 * e->disk_size, end stores the item and has memory follow at publish (attr, disk_size, sequences).
 */
struct inode_edit {
	struct inode *ip;
	struct ino_attr attr;
	struct ino_attr was;        /* as begin found them */
	u64 disk_size;
	u32 gen;
	bool deleted;               /* becomes an inode without links */
	bool named;                 /* becomes one with links again */
};
void inode_edit_begin(struct inode_edit *e, struct inode *ip);
int inode_edit_end(struct view *v, struct inode_edit *e);
/* one reference, no attributes; NULL: no memory */
struct inode *inode_new(struct fs *fs, u64 ino);
void inode_drop(struct inode *ip);                    /* frees the object; in no table, unused */
int inode_load(struct inode *ip);                     /* attributes from the item; -ESTALE */
u64 inode_size(const struct inode *ip);               /* in memory, bytes */
void inode_set_mode(struct ino_attr *a, u32 mode);    /* fs_mode() reads it without a lock */
/* Nothing to store, write or complete. state held, unless nobody else uses the inode. */
bool inode_is_idle(const struct inode *ip);
/* Does the file system take changes? 0, -EROFS */
int fs_may_change(struct fs *fs);

/* attr.c */
/* as the mount's atime option says; no lock needed */
void inode_touch_atime(struct inode *ip);
/* mtime, ctime, setuid bits off; lock exclusive */
void inode_touch_write(struct inode *ip, bool kill_suid);

/* sync.c */
int inode_flush_overwrites(struct inode *ip); /* what was written in place becomes durable */
/* After -EAGAIN from iomap_writeback(): until who holds sectors is done. No locks; true. */
bool inode_wait_writer(struct inode *ip);
int fs_complete_all(struct fs *fs);           /* what has finished, of all queued inodes */
/* complete and store all queued inodes; for the commit thread */
void fs_pre_commit(struct fs *fs);
void fs_pre_commit_stop(struct fs *fs); /* not from here on; waits for the one that runs */

/* itable.c */
int itable_init(struct fs *fs);
void itable_fini(struct fs *fs, bool crash);          /* every inode out of memory */
void itable_insert(struct fs *fs, struct inode *ip);  /* a new one; its number is set */

/* file.c, extent.c: data of regular files */
extern const struct iomap_ops file_iomap_ops;
void file_inode_init(struct inode *ip);               /* delalloc, done list, iomap_file */
void file_inode_fini(struct inode *ip);               /* gives reservations back; nothing dirty */
/* flush if needed, then the completion handle(s) for ip->done */
int file_complete(struct inode *ip);
/* At close: data that replaces what a truncate to nothing took away is made part of the file. */
void file_flush_replaced(struct inode *ip);
/* Free all extents at or beyond `sector` in bounded handles; used by truncate and by orphans. */
int file_free_extents(struct fs *fs, u64 ino, struct inode *ip_or_null, u64 from_sector);

/* datalog.c */
/* Few dirty sectors go through the log: 1 = they are in the running transaction, 0 = they did not,
 * or there are none. */
int file_log_dirty(struct inode *ip, bool datasync);

/* orphan.c */
int orphan_add_in(struct view *v, u64 ino, u8 kind, u64 size);
int orphan_remove_in(struct view *v, u64 ino);
int orphan_named_in(struct view *v, u64 ino);         /* it gets a first name: no orphan any more */
int orphan_recover(struct fs *fs);                    /* at mount */
/* inode without links and users: free all; false: it has none of these */
int orphan_delete(struct fs *fs, u64 ino, bool extents, bool xattrs);

extern enum fs_omit fs_omitted;

/* torn.c */
void torn_report(struct fs *fs);   /* what recovery found in overwrites that were under way */

/* errors.c */
void errors_init(struct fs *fs);      /* reports come here from now on, if nobody else has them */
void errors_fini(struct fs *fs);
int errors_store(struct fs *fs);      /* to the root sector, if there are any; no locks held */
void errors_tick(struct fs *fs);      /* the same, not too often */
u64 errors_due_ns(struct fs *fs);     /* when errors_tick() has something to do, or FLUSHER_NEVER */

/* owner.c */
struct owner {
	u64 disk;                   /* the sector in question */
	u64 ino, sector;            /* of the file; ino CORRUPT_NO_INO: not found */
};
/* No locks held; may read a lot of metadata. */
void owners_find(struct fs *fs, struct owner *owner, u32 nr);

/* flusher.c */
int flusher_start(struct fs *fs);
void flusher_stop(struct fs *fs);
/* write back old (or all) dirty inodes once */
int flusher_round(struct fs *fs, bool all);
#define FLUSHER_NEVER UINT64_MAX
/* Something has become dirty; dirty_lock held. */
void flusher_note(struct fs *fs);

#endif
