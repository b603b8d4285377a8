/*
 * fs: the file system proper, without FUSE. What a kernel file system gives to the VFS, this
 * gives to
 * front, to the tests and to the simulator.
 *
 * Objects: struct fs = a mounted file system, struct inode = an inode in memory with a reference
 * (fs_iget/fs_iput or as returned). Names are byte strings with a length; "." and ".." are the
 * caller's, other
 * than in fs_lookup, which knows both. Every operation locks what it needs; callers hold nothing.
 * All return 0 (or a count) or -errno exactly as the system call of that name should.
 * Permissions are not checked here (the kernel does, default_permissions); what FUSE leaves to
 * the daemon is.
 */
#ifndef FOLIOFS_FS_FS_H
#define FOLIOFS_FS_FS_H

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "base/types.h"
#include "blk/blk.h"
#include "cache/cache.h"
#include "format/format.h"
#include "iomap/iomap.h"
#include "journal/journal.h"

struct fs;
struct inode;
struct space;

/* ---- mount ---- */
struct fs_opts {
	bool readonly;
	/* flusher and commit threads; tests without drive fs_tick() themselves */
	bool threads;
	unsigned commit_ms;    /* 0 = 5000 */
	bool nodatasum;        /* what is written from now on gets no checksum */
	/*
	 * Up to so many bytes of dirty data fsync and synchronous writes put into the log; 0 =
	 * 64 KiB, less than a sector = never, more than FS_LOG_DATA_MAX = that.
	 */
#define FS_LOG_DATA_MAX (128u << 10)
	u64 log_data;
	enum { FS_RELATIME, FS_NOATIME, FS_STRICTATIME } atime;
	bool nodiratime;       /* FS_NOATIME for directories */
	/*
	 * The kernel's page cache owns the times of changed contents: they come by fs_setattr(),
	 * if they differ from those that it sent last, so nothing else may set them meanwhile.
	 * All other times are taken from its clock, so as not to be later than what it sends.
	 * Files with FS_FLAG_SYNC do not go through that cache.
	 */
	bool kernel_times;
	void (*on_readonly)(void *arg, int error);
	void *arg;
};
/*
 * The cache is initialised (cache_init); dev stays the caller's. -EUCLEAN, -EINVAL (not foliofs),
 * …
 */
int fs_mount(struct blk_dev *dev, const struct fs_opts *o, struct fs **out);
/* Writes everything, marks clean. First error, but it is unmounted in any case (every inode
 * reference must be
 * given back). crash: drop all that is not durable, as a power cut. */
int fs_unmount(struct fs *fs, bool crash);
/* One round of what the threads do: write back old dirty data, complete, store inodes, commit. */
int fs_tick(struct fs *fs);
int fs_sync(struct fs *fs);           /* syncfs: everything durable */
/*
 * Everything durable, then nothing is written any more until fs_thaw(): the device can be copied.
 * What must reach the disk (fsync, a full cache or log) waits. -EALREADY, -ETIMEDOUT, -EROFS.
 */
int fs_freeze(struct fs *fs);
int fs_thaw(struct fs *fs);           /* -EINVAL: it was not frozen */
bool fs_is_frozen(struct fs *fs);
/*
 * As a power cut, with the daemon still there: nothing reaches the device any more, changes and
 * reads that need it fail with -EIO, and what was not durable is dropped by fs_unmount(fs, true),
 * which is the only way to end it. From any thread.
 */
void fs_shutdown(struct fs *fs);
bool fs_is_down(const struct fs *fs);
int fs_commit(struct fs *fs);         /* every change of names that returned is durable */
void fs_want_writeback(struct fs *fs); /* for cache_config.want_writeback; never blocks */
void fs_want_checkpoint(struct fs *fs);
const struct fmt_geo *fs_geo(const struct fs *fs);
struct jnl *fs_jnl(struct fs *fs);
bool fs_readonly(const struct fs *fs);
int fs_statfs(struct fs *fs, struct statvfs *out);
const struct jnl_recovery *fs_recovery(const struct fs *fs);
/*
 * For repair: journal (recovered) and space, so that bodies can use trees and the allocator. No
 * threads; no inode is looked at, not even the root directory, and orphans stay. End it with
 * fs_unmount().
 */
int fs_repair_begin(struct blk_dev *dev, struct fs **out);
struct space *fs_space(struct fs *fs);
struct blk_dev *fs_dev(struct fs *fs);

/*
 * The record of errors: the last FMT_NR_ERRORS places that were found damaged, oldest first, with
 * what is not on the disk yet. op: enum work_kind, of the last time. ino: the damaged inode; of
 * what belongs to none (a node, a bitmap) that of the operation. by: the operation's, before it is
 * stored.
 */
struct fs_error { s64 time; u64 ino, sector; u32 count; u16 why, op; u64 by; };
struct fs_errors { u32 nr; u64 total; struct fs_error e[2 * FMT_NR_ERRORS]; };
int fs_errors(struct fs *fs, struct fs_errors *out);
int fs_errors_clear(struct fs *fs);
/* The same from a root sector that the caller has checked. */
void fs_errors_decode(const struct fmt_root *root, struct fs_errors *out);
/* "2026-01-31 12:00:00  running  bitmap: wrong content, sector 9, 1 time"; as snprintf(). */
int fs_error_to_text(const struct fs_error *e, char *buf, size_t len);
/* All of them, and how many reports there were; or one JSON object. */
void fs_errors_print(const struct fs_errors *e, bool json, FILE *out);

/* mkfs */
struct fs_format_opts {
	u64 nr_sectors;        /* 0 = the whole device */
	u32 block_bytes;       /* 0 = 4096 */
	u64 jnl_sectors;       /* 0 = default */
	const char *label;     /* NULL = none */
	const u8 *uuid;        /* NULL = random */
	s64 time;              /* 0 = now */
	u32 root_uid, root_gid;
	bool discard;          /* tell the device that the space holds nothing; may fail */
	bool no_datasum;       /* without the feature: no checksums of file data */
	/* Called once before the first write, when what can be refused was refused; may be NULL.
	 * An error ends the formatting, and nothing was changed here. */
	int (*before_write)(void *arg);
	void *arg;
};
/*
 * Formats. Room on the host for journal and group headers of an image file is taken first: -ENOSPC
 * leaves the content of the device as it was. Any other failure leaves no valid superblock.
 * Errors of the plan as fmt_geo_make(), -ENAMETOOLONG for the label.
 */
int fs_format(struct blk_dev *dev, const struct fs_format_opts *o, struct fmt_geo *out);
/* What fs_format would do, without doing it. */
int fs_format_plan(u64 dev_sectors, const struct fs_format_opts *o, struct fmt_geo *out);

/* ---- inodes ---- */
int fs_iget(struct fs *fs, u64 ino, struct inode **out);   /* -ESTALE when there is no such inode */
void fs_iput(struct inode *ip);
struct inode *fs_ihold(struct inode *ip);
u64 fs_ino(const struct inode *ip);
u32 fs_mode(const struct inode *ip);
/*
 * The kernel (or a test) knows this inode by number: an inode without links is deleted only when
 * this count is
 * zero and no reference is held. Compact table, 16..32 bytes an inode known.
 */
void fs_remember(struct fs *fs, u64 ino);
void fs_forget(struct fs *fs, u64 ino, u64 count);

/* What inodes take up, as it was a moment ago. No locks. */
struct fs_memory {
	u64 inodes;            /* objects in memory: in use, or kept for the next use */
	u64 known;             /* inodes that fs_remember() counts */
	u64 bytes;             /* of both */
};
void fs_memory(const struct fs *fs, struct fs_memory *out);

void fs_getattr(struct inode *ip, struct stat *out);
struct fs_attr {
	u32 valid;             /* FS_ATTR_* */
	u32 mode; u32 uid; u32 gid; u64 size;
	struct timespec atime, mtime, ctime;
};
enum { FS_ATTR_MODE = 1, FS_ATTR_UID = 2, FS_ATTR_GID = 4, FS_ATTR_SIZE = 8, FS_ATTR_ATIME = 16,
	FS_ATTR_MTIME = 32, FS_ATTR_ATIME_NOW = 64, FS_ATTR_MTIME_NOW = 128, FS_ATTR_CTIME = 256,
	FS_ATTR_KILL_SUID = 512 };
int fs_setattr(struct inode *ip, const struct fs_attr *a);

struct timespec fs_btime(struct inode *ip);
/* Tells inodes of the same number apart, in file systems formatted one after another. */
u32 fs_generation(struct inode *ip);

/* The flags of chattr(1) that there are; files and directories only, others -ENOTTY. */
enum {
	FS_FLAG_IMMUTABLE = FMT_IFLAG_IMMUTABLE,
	FS_FLAG_APPEND = FMT_IFLAG_APPEND,
	FS_FLAG_NOATIME = FMT_IFLAG_NOATIME,
	FS_FLAG_NODUMP = FMT_IFLAG_NODUMP,
	FS_FLAG_SYNC = FMT_IFLAG_SYNC,
	FS_FLAGS_ALL = FS_FLAG_IMMUTABLE | FS_FLAG_APPEND | FS_FLAG_NOATIME | FS_FLAG_NODUMP |
		       FS_FLAG_SYNC,
};
u32 fs_get_flags(struct inode *ip);
int fs_set_flags(struct inode *ip, u32 flags);  /* -EOPNOTSUPP for others */

/* Text, at most 63 bytes. */
void fs_get_label(struct fs *fs, char *buf, size_t size);
int fs_set_label(struct fs *fs, const char *label);   /* -EINVAL: too long */

/*
 * Discards free space in [start, start + len) bytes, runs of at least minlen; *trimmed bytes were.
 * -EOPNOTSUPP: the device can't.
 */
int fs_trim(struct fs *fs, u64 start, u64 len, u64 minlen, u64 *trimmed);

/* ---- names ---- */
/* umask: where no default access list takes its place. */
struct fs_cred { u32 uid, gid, umask; };
int fs_lookup(struct inode *dir, const char *name, size_t len, struct inode **out);
/*
 * Regular file, directory, fifo, socket, device by mode's type bits. setgid directories pass
 * their group on.
 */
int fs_mknod(struct inode *dir, const char *name, size_t len, u32 mode, u64 rdev,
	     struct fs_cred cred, struct inode **out);
/*
 * A regular file without a name, in the directory for what it inherits; it goes with its last user,
 * unless fs_link() gives it a name.
 */
int fs_tmpfile(struct inode *dir, u32 mode, struct fs_cred cred, struct inode **out);
int fs_symlink(struct inode *dir, const char *name, size_t len, const char *target,
	       size_t target_len, struct fs_cred cred, struct inode **out);
int fs_link(struct inode *ip, struct inode *dir, const char *name, size_t len);
int fs_unlink(struct inode *dir, const char *name, size_t len);
int fs_rmdir(struct inode *dir, const char *name, size_t len);
/* As RENAME_*; others -EINVAL. WHITEOUT leaves a character device 0/0 at the old name. */
enum { FS_RENAME_NOREPLACE = 1, FS_RENAME_EXCHANGE = 2, FS_RENAME_WHITEOUT = 4 };
/* cred: whose the whiteout is. */
int fs_rename(struct inode *sdir, const char *sname, size_t slen, struct inode *ddir,
	      const char *dname, size_t dlen, unsigned flags, struct fs_cred cred);
int fs_readlink(struct inode *ip, char *buf, size_t size);  /* length */
/*
 * Entries after `cookie` (0 = start) in cookie order, "." (cookie 1) and ".." (cookie 2) first.
 * fill returns
 * nonzero to stop (entry not taken). The cookie passed is the one to continue after this entry.
 * fill runs without locks and may call other operations.
 */
typedef int (*fs_filldir)(void *arg, const char *name, size_t len, u64 ino, unsigned dtype,
			  u64 cookie);
int fs_readdir(struct inode *dir, u64 cookie, fs_filldir fill, void *arg);

/* ---- data ---- */
struct readahead;
/* Slices and async as in iomap.h; folio_put() the slices. Updates atime. */
int fs_read_slices(struct inode *ip, u64 pos, u64 len, struct readahead *ra,
		   const struct iomap_async *async, struct iomap_slice *slices, unsigned max,
		   u64 *bytes);
ssize_t fs_read(struct inode *ip, u64 pos, void *buf, u64 len, struct readahead *ra);
enum { FS_WRITE_APPEND = 1, FS_WRITE_SYNC = 2, FS_WRITE_DSYNC = 4, FS_WRITE_KILL_SUID = 8,
	FS_WRITE_CACHE = 16 /* kernel writeback: leave times alone */ };
ssize_t fs_write(struct inode *ip, u64 pos, const void *buf, u64 len, unsigned flags);
int fs_truncate(struct inode *ip, u64 size);
/* default, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE; others -EOPNOTSUPP */
int fs_fallocate(struct inode *ip, int mode, u64 pos, u64 len);
int fs_fsync(struct inode *ip, bool datasync);                   /* files and directories */
/*
 * Copies [spos, spos + len) to dpos, as far as the source goes; holes stay holes. flags of
 * fs_write.
 * Ranges of one file that overlap: -EINVAL. Bytes copied, fewer if an error came on the way.
 */
ssize_t fs_copy_range(struct inode *src, u64 spos, struct inode *dst, u64 dpos, u64 len,
		      unsigned flags);
/*
 * What close should tell: a write error that stands and was not reported yet through this cursor.
 * Once everything is written there is none. A cursor begins as fs_error_cursor() when the file is
 * opened: an error that stands then will be told through it, too.
 */
u32 fs_error_cursor(const struct inode *ip);
int fs_flush(struct inode *ip, u32 *error_cursor);
s64 fs_seek(struct inode *ip, u64 pos, int whence);
/* Drop clean cached data of an inode or (NULL) of all. Returns bytes. */
u64 fs_drop_cache(struct fs *fs, struct inode *ip);
/* The same for the folios that lie wholly in a range. */
u64 fs_drop_range(struct inode *ip, u64 pos, u64 len);
u64 fs_size(const struct inode *ip);     /* in memory, bytes */
/* The mapping of a regular file, for cache_set() and cache_state(); NULL for others. */
struct mapping *fs_mapping(struct inode *ip);

/* How long the pieces are, in sectors. gaps: extents that do not follow the one before on disk. */
struct fs_frag_file { u64 extents, gaps, sectors, longest; };
int fs_frag_file(struct inode *ip, struct fs_frag_file *out);
/* by_order[k]: free sectors in runs of 2^k up to 2^(k+1) - 1, the last also in longer ones. */
#define FS_FRAG_ORDERS 19u
struct fs_frag_space { u64 runs, sectors, longest, by_order[FS_FRAG_ORDERS]; };
int fs_frag_space(struct fs *fs, struct fs_frag_space *out);

/* ---- xattrs ---- */
/*
 * user., trusted., security., and the access control lists system.posix_acl_access and _default.
 * Setting an access list sets the permissions in the mode; with FS_XATTR_KILL_SGID (beside
 * XATTR_CREATE, XATTR_REPLACE) its setgid bit goes, too.
 */
#define FS_XATTR_KILL_SGID (1 << 16)
/* size 0: length only */
int fs_getxattr(struct inode *ip, const char *name, void *buf, size_t size);
int fs_setxattr(struct inode *ip, const char *name, const void *val, size_t size, int flags);
int fs_listxattr(struct inode *ip, char *buf, size_t size);
int fs_removexattr(struct inode *ip, const char *name);

/* As jnl_omit(), for the crash simulator: leave out one rule and see it caught. */
enum fs_omit {
	FS_OMIT_NONE,
	FS_OMIT_DATA_FLUSH,     /* before finished writes are completed */
	FS_OMIT_INTENT_COMMIT,  /* before overwrites are sent */
	FS_OMIT_SETTLE,         /* logged data is overwritten in place at once */
	FS_OMIT_EOF_ZERO,       /* what lies behind the end of file stays there */
	FS_OMIT_PENDING,        /* sectors are written before an earlier write is completed */
	FS_OMIT_SAME,           /* what has no checksum is never announced */
};
void fs_omit(enum fs_omit what);

#endif
