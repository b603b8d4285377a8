/*
 * Errors: 0 or a negative errno value; outputs are untouched on failure. Assertions are for
 * mistakes in this program only: nothing that a disk contains may trip one. What a disk contains
 * wrongly goes through corrupt(), which says so once and returns -EUCLEAN.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

#include "base/types.h"
#include "base/work.h"

/* Always on: a file system that goes on after a broken invariant destroys data. */
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			assert_failed(#cond, __FILE__, __LINE__, __func__);                        \
	} while (0)

/* Checks too slow for every run: only in debug builds (FOLIOFS_DEBUG). */
#ifdef FOLIOFS_DEBUG
#define ASSERT_SLOW(cond) ASSERT(cond)
#else
#define ASSERT_SLOW(cond)                                                                          \
	do {                                                                                       \
		if (0)                                                                             \
			(void)(cond);                                                              \
	} while (0)
#endif

NORETURN void assert_failed(const char *cond, const char *file, int line, const char *func);

/* "EIO" for 5 and for -5, "0" for 0, "E?" for what is unknown. Static storage. */
const char *err_name(int err);

/* "Input/output error" and so on, thread-safe, for 5 and for -5. */
const char *err_text(int err);

/*
 * Why something on disk is not acceptable. why_text() gives the words. The numbers stand in the
 * record of errors on the disk: new ones come at the end.
 */
enum why {
	WHY_NONE,
	/* superblock */
	WHY_SB_MAGIC,
	WHY_SB_VERSION,
	WHY_SB_CHECKSUM,
	WHY_SB_GEOMETRY,
	WHY_SB_FEATURES,
	WHY_SB_SIZE, /* larger than the device */
	/* the common header of every metadata buffer */
	WHY_HDR_MAGIC,
	WHY_HDR_CHECKSUM,
	WHY_HDR_ADDRESS,
	WHY_HDR_OWNER,
	WHY_HDR_UUID,
	WHY_HDR_TYPE,
	/* B+tree nodes */
	WHY_NODE_LEVEL,
	WHY_NODE_LAYOUT,
	WHY_NODE_KEY_ORDER,
	WHY_NODE_KEY_RANGE,
	WHY_NODE_CHILD,
	WHY_TREE_DEPTH,
	/* space */
	WHY_GROUP_TABLE,
	WHY_BITMAP,
	WHY_BITMAP_COUNT,
	WHY_MAP,
	WHY_ROOT,
	WHY_RANGE, /* a disk range outside the file system */
	WHY_DOUBLE_FREE,
	/* journal */
	WHY_JNL_HEADER,
	WHY_JNL_RECORD,
	WHY_JNL_CHECKSUM,
	WHY_JNL_SEQUENCE,
	WHY_JNL_RANGE,
	/* items */
	WHY_INODE,
	WHY_INODE_MISSING,
	WHY_INODE_NLINK,
	WHY_DIRENT,
	WHY_DIRENT_NAME,
	WHY_EXTENT,
	WHY_EXTENT_OVERLAP,
	WHY_XATTR,
	WHY_ORPHAN,
	WHY_SYMLINK,
	WHY_INLINE,
	/* contents of files */
	WHY_DATA_CHECKSUM,
	WHY_DATA_BAD, /* lost by a failed write */
	WHY_DATA_TORN, /* an overwrite that a crash cut in two */
	/* any metadata buffer, as it was read */
	WHY_BUFFER,
	WHY_JNL_LOST, /* the log is damaged, and not at its end */
	/* the device said so itself; no wrong content: why_is_io() */
	WHY_IO_READ,
	WHY_IO_WRITE,
	WHY_IO_FLUSH,
	/* the machine lost memory of the cache; the disk is not to blame: why_is_memory() */
	WHY_MEM_CLEAN, /* read again from the disk */
	WHY_MEM_DATA, /* not yet on the disk */
	WHY_MEM_META,
	WHY_NR,
};

const char *why_text(enum why why);

static inline bool why_is_io(enum why why)
{
	return why >= WHY_IO_READ && why <= WHY_IO_FLUSH;
}

static inline bool why_is_memory(enum why why)
{
	return why >= WHY_MEM_CLEAN && why <= WHY_MEM_META;
}

/* For "no inode" and "no sector" in corrupt(). */
#define CORRUPT_NO_INO 0
#define CORRUPT_NO_SECTOR UINT64_MAX

/*
 * Reports a corruption and returns -EUCLEAN. The first few reports of each reason are logged, then
 * one in a while with the number that was left out, so that a broken image can't flood the log.
 * What the thread is doing (base/work.h) is part of it. May be called with any lock held.
 */
int corrupt(enum why why, u64 ino, u64 sector);

/* The same for a sector of a file's data: also says which one of the file. */
int corrupt_data(enum why why, u64 ino, u64 file_sector, u64 sector);

/* The device said so itself (why_is_io()), with this error, to a request that w sent. */
void corrupt_io(enum why why, struct work w, u64 sector, int err);

struct corrupt_report {
	enum why why;
	u64 ino;                /* the inode that is damaged, or CORRUPT_NO_INO */
	u64 sector;             /* or CORRUPT_NO_SECTOR */
	u64 file_sector;        /* or CORRUPT_NO_SECTOR */
	struct work work;       /* who met it; its inode need not be the damaged one */
	int err;                /* what the device said; 0: nothing */
};

/*
 * Who keeps a record of reports. fn is called for each with any lock held: it takes none and does
 * not wait. The first who takes it has it until he drops it; others get nothing.
 */
typedef void (*corrupt_sink_fn)(void *arg, const struct corrupt_report *r);
bool corrupt_sink_take(corrupt_sink_fn fn, void *arg);
void corrupt_sink_drop(void *arg);

/* How often corrupt() was called for @why since start. */
u64 corrupt_count(enum why why);

#endif
