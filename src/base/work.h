/*
 * What a thread is doing, and for which inode: it stands in every report of damage (err.h), in the
 * log and in the record of errors.
 *
 * Whoever begins something sets it, and sets it back at the end:
 *
 *	struct work before = work_begin(WORK_LOOKUP, ino);
 *	...
 *	work_end(before);
 *
 * It belongs to the thread: two stores, no lock. A request to the device carries that of the
 * thread which sent it (struct blk_io), whichever thread meets its end.
 */
#ifndef BASE_WORK_H
#define BASE_WORK_H

#include "base/types.h"

/*
 * W(NUMBER, ID, name). The numbers stand on the disk (docs/FORMAT.md): none changes. From 16 on
 * requests of programs, from 128 on what the daemon does by itself.
 */
#define WORK_ROWS(W)                                                                               \
	W(0, NONE, "unknown")                                                                      \
	W(1, MOUNT, "mount")                                                                       \
	W(2, RUN, "running") /* nothing of the others */                                           \
	W(3, SCRUB, "scrub")                                                                       \
	W(4, FSCK, "fsck")                                                                         \
	W(16, LOOKUP, "lookup")                                                                    \
	W(17, FORGET, "forget")                                                                    \
	W(18, GETATTR, "getattr")                                                                  \
	W(19, SETATTR, "setattr")                                                                  \
	W(20, READLINK, "readlink")                                                                \
	W(21, SYMLINK, "symlink")                                                                  \
	W(22, MKNOD, "mknod")                                                                      \
	W(23, MKDIR, "mkdir")                                                                      \
	W(24, UNLINK, "unlink")                                                                    \
	W(25, RMDIR, "rmdir")                                                                      \
	W(26, RENAME, "rename")                                                                    \
	W(27, LINK, "link")                                                                        \
	W(28, OPEN, "open")                                                                        \
	W(29, READ, "read")                                                                        \
	W(30, WRITE, "write")                                                                      \
	W(31, STATFS, "statfs")                                                                    \
	W(32, RELEASE, "release")                                                                  \
	W(33, FSYNC, "fsync")                                                                      \
	W(34, SETXATTR, "setxattr")                                                                \
	W(35, GETXATTR, "getxattr")                                                                \
	W(36, LISTXATTR, "listxattr")                                                              \
	W(37, REMOVEXATTR, "removexattr")                                                          \
	W(38, FLUSH, "flush")                                                                      \
	W(39, INIT, "init")                                                                        \
	W(40, OPENDIR, "opendir")                                                                  \
	W(41, READDIR, "readdir")                                                                  \
	W(42, RELEASEDIR, "releasedir")                                                            \
	W(43, FSYNCDIR, "fsyncdir")                                                                \
	W(44, CREATE, "create")                                                                    \
	W(45, DESTROY, "destroy")                                                                  \
	W(46, IOCTL, "ioctl")                                                                      \
	W(47, FALLOCATE, "fallocate")                                                              \
	W(48, READDIRPLUS, "readdirplus")                                                          \
	W(49, LSEEK, "lseek")                                                                      \
	W(50, SYNCFS, "syncfs")                                                                    \
	W(51, COPY_FILE_RANGE, "copy_file_range")                                                  \
	W(52, TMPFILE, "tmpfile")                                                                  \
	W(53, STATX, "statx")                                                                      \
	W(128, WRITEBACK, "writeback") /* the flusher */                                           \
	W(129, COMMIT, "commit") /* by the commit thread: of an fsync it is the fsync's */         \
	W(130, CHECKPOINT, "checkpoint") /* the same */                                            \
	W(131, RECOVERY, "recovery") /* of the log, in a mount */                                  \
	W(132, ORPHAN, "orphan cleaning")                                                          \
	W(133, TRIM, "trim")                                                                       \
	W(134, MEMORY, "memory repair")                                                            \
	W(135, CONTROL, "control") /* for foliofsctl */                                            \
	W(136, UNMOUNT, "unmount")

enum work_kind {
#define WORK_ENUM(nr, id, name) WORK_##id = nr,
	WORK_ROWS(WORK_ENUM)
#undef WORK_ENUM
};

struct work {
	u64 ino;                /* 0: no inode */
	u16 kind;               /* enum work_kind */
};

extern __thread struct work work_current;

/* Its kind is WORK_RUN unless it was set. */
static inline struct work work_now(void)
{
	return work_current;
}

/* Returns what to give to work_end(). */
static inline struct work work_begin(enum work_kind kind, u64 ino)
{
	struct work before = work_current;

	work_current = (struct work){ .ino = ino, .kind = (u16)kind };
	return before;
}

static inline void work_end(struct work before)
{
	work_current = before;
}

/* The name of a kind, or of a number that an older or newer program wrote: NULL if unknown. */
const char *work_text(u16 kind);

#endif
