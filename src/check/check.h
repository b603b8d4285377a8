/*
 * check: is the file system on this device consistent, and what can be done if not? Used by
 * fsck.foliofs, by tests and by the crash simulator.
 *
 * A clean image is read directly; one with a log to replay is read through a read-only journal,
 * which replays into memory, so the passes see what a mount would see and nothing is written.
 * If the cache is not initialised by the caller, a small one is set up for the time of the check.
 *
 * check_run() writes nothing. check_repair() repairs what it finds, in rounds of a check and its
 * repairs, until a check finds nothing; see repair.c.
 *
 * Memory: 88 bytes an inode (twice that for a moment while the table grows) and three bits a sector
 * in use of the device; a repair adds at most 65536 findings (some 20 MiB).
 * One thread; the device must not be changed meanwhile.
 */
#ifndef FOLIOFS_CHECK_CHECK_H
#define FOLIOFS_CHECK_CHECK_H

#include "base/types.h"
#include "blk/blk.h"
#include "format/format.h"
#include "journal/journal.h"

/* X(code, name): the name is stable, for scripts and tests. */
#define CHECK_CODES(X)                                                                             \
	X(SUPER, "superblock")              /* sector 0 damaged; a copy was used or none found */  \
	X(SUPER_COPY, "superblock-copy")    /* a copy is damaged or differs */                     \
	X(DEVICE_SIZE, "device-size")       /* device shorter than the file system */              \
	X(JOURNAL, "journal")               /* headers damaged, or the log can't be replayed */    \
	X(JOURNAL_LOST, "journal-lost")     /* durable transactions behind a damaged one */        \
	X(READ, "read")                     /* the device failed to read */                        \
	X(ROOT, "root-sector")              /* root sector damaged */                              \
	X(COUNTERS, "counters")             /* a counter of the root sector is wrong */            \
	X(NODE, "node")                     /* a tree node is damaged */                           \
	X(NODE_TREE, "node-tree")           /* a node of another tree, level or key range */       \
	X(NODE_SHARED, "node-shared")       /* a node on space that has another user */            \
	X(INODE, "inode")                   /* content of an inode item */                         \
	X(NLINK, "link-count")              /* link count against names */                         \
	X(PARENT, "parent")                 /* a directory's parent, or not reachable */           \
	X(ENTRIES, "entry-count")           /* a directory's number of entries */                  \
	X(SECTORS, "sector-count")          /* an inode's number of sectors */                     \
	X(XATTR_COUNT, "xattr-count")       /* an inode's number of xattrs */                      \
	X(DIRENT, "dirent")                 /* hash, type, or name twice */                        \
	X(DIRENT_TARGET, "dirent-target")   /* names an inode that is not there */                 \
	X(DIRENT_OWNER, "dirent-owner")     /* in a directory that is none */                      \
	X(EXTENT, "extent")                 /* alignment, or overlap within the file */            \
	X(EXTENT_SHARED, "extent-shared")   /* on space that has another user */                   \
	X(EXTENT_OWNER, "extent-owner")     /* of an inode that is none or can't have any */       \
	X(XATTR, "xattr")                   /* chunks, hash, or name twice */                      \
	X(XATTR_OWNER, "xattr-owner")       /* of an inode that is not there */                    \
	X(ORPHAN, "orphan")                 /* orphan entries against inodes */                    \
	X(GTABLE, "group-table")            /* a group table sector is damaged */                  \
	X(GROUP_FREE, "group-free")         /* free count of a group */                            \
	X(BITMAP, "bitmap")                 /* a bitmap sector is damaged */                       \
	X(BITMAP_FREE, "bitmap-free")       /* space in use is marked free */                      \
	X(BITMAP_USED, "bitmap-used")       /* free space is marked in use */                      \
	X(MAP, "sector-map")                /* a map sector is damaged */                          \
	X(MAP_ENTRY, "map-entry")           /* a written entry for what is no file data */         \
	X(DATA, "data")                     /* contents of a data sector against its checksum */

#define CHECK_CODE_ENUM_(code, name) CHECK_##code,
enum check_code { CHECK_CODES(CHECK_CODE_ENUM_) CHECK_NR };

const char *check_code_name(enum check_code code);

struct check_problem {
	enum check_code code;
	u64 ino;            /* 0 = none */
	u64 sector;         /* UINT64_MAX = none */
	const char *text;   /* one line; valid during the call */
	/* check_repair(): what was done, or why it was not; NULL from check_run() */
	const char *outcome;
	bool repaired;
};

/* 1 superblock and journal, 2 trees, 3 links, 4 space, 5 data (if asked for) */
#define CHECK_NR_PASSES 5u

struct check_opts {
	void (*problem)(void *arg, const struct check_problem *p);             /* NULL: silent */
	void (*progress)(void *arg, unsigned pass, u64 done, u64 total);       /* NULL: none */
	void *arg;
	u64 max_problems;   /* stop when so many were found; 0 = no limit */
	bool no_replay;     /* look at what is in place, whatever the log says (dump) */
	bool data;          /* read all data and hold it against its checksums */
	bool safe_only;     /* check_repair(): leave alone what can't be repaired without a loss */
};

struct check_result {
	u64 problems;
	u64 by_code[CHECK_NR];
	bool stopped;                  /* at max_problems, or the superblock was of no use */
	bool replayed;                 /* the log was not empty */
	struct jnl_recovery recovery;  /* if replayed */
	struct fmt_geo geo;
	u64 inodes, directories, nodes;
	u64 used_sectors;              /* of geo.nr_sectors, the groups' own metadata included */
	u64 written_sectors;
	u64 bad_sectors;               /* known to be lost (map entry 2); no problem of their own */
	u64 data_sectors;              /* whose contents were verified */
	u64 fixable;                   /* problems that check_repair() knows what to do about */
};

/*
 * Runs all passes. 0: they ran, see out->problems (also for an image that is no use beyond its
 * superblock). Errors only when nothing can be said: -EINVAL no FolioFS at all, -EOPNOTSUPP a newer
 * format, -ENOMEM, or the I/O error of sector 0. opts may be NULL.
 */
int check_run(struct blk_dev *dev, const struct check_opts *opts, struct check_result *out);

/* What check_repair() did. */
struct check_repaired {
	u64 repaired, left;            /* findings */
	unsigned rounds;
	struct jnl_recovery recovery;  /* of the log, before anything was repaired */
};

/*
 * Repairs until a check finds nothing, or nothing more can be done; out is what the last check
 * found. Each finding is told once (opts->problem), when it was repaired or left. The device is
 * open for writing. Errors as check_run(); or an error of writing, after which the image is as
 * after a crash: sound as far as it was, and to be repaired again.
 */
int check_repair(struct blk_dev *dev, const struct check_opts *opts, struct check_result *out,
		 struct check_repaired *rep);

/* What the superblock and the log headers say, without any pass; cheap. */
struct check_state {
	struct fmt_geo geo;
	bool clean;         /* unmounted in order */
	u32 mounts;
	s64 mount_time;     /* last mount for writing, 0 = never */
	u64 inodes, free_sectors;   /* from the root sector in place; meaningful if clean */
};
/* Errors as check_run(), and -EBADMSG, -EUCLEAN for a damaged superblock, log or root sector. */
int check_state(struct blk_dev *dev, struct check_state *out);

#endif
