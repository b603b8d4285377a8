/* Inside mkfs.foliofs: options, and what may be in the way on the target. */
#ifndef TOOLS_MKFS_MKFS_H
#define TOOLS_MKFS_MKFS_H

#include "base/types.h"
#include "base/uuid.h"

struct mkfs_args {
	const char *target;
	u32 block_bytes;
	const char *label;
	struct uuid uuid;
	bool has_uuid;
	u64 jnl_bytes;          /* 0 = default */
	u64 size_bytes;         /* --size; 0 = not given */
	u64 size_blocks;        /* the argument after the target; 0 = not given */
	s64 time;               /* 0 = now */
	bool dry_run, quiet, verbose, force, no_discard, inodes_given;
	bool no_datasum;        /* -O ^datasum */
	bool done;              /* help, version or a list was printed: exit 0 */
};

/* Prints what is wrong itself. 0, or -EINVAL. */
int args_parse(int argc, char **argv, struct mkfs_args *out);

/* Prints "mkfs.foliofs: " and the message, on standard error. Returns 1, the exit status. */
int fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * What the target holds, in words: "an ext4 file system (label 'x', uuid ...)". *found is false for
 * nothing recognisable. A negative errno if it could not be read.
 */
int probe_content(const char *path, bool *found, char *text, size_t len);

/* Removes the signatures of everything that libblkid recognises. */
int probe_wipe(const char *path);

#endif
