/* What mkfs.foliofs and fsck.foliofs ask about the image or device that they are pointed at. */
#ifndef TOOLS_COMMON_TARGET_H
#define TOOLS_COMMON_TARGET_H

#include "blk/blk.h"

/* Where path is mounted, by any file system (as block device, or as source of a FUSE mount). */
bool target_mounted_at(const char *path, char *where, size_t len);

/* Is it in use as swap? */
bool target_is_swap(const char *path);

/*
 * blk_open(), but a lock whose holder is about to end is waited for, TARGET_WAIT_MS at most: an
 * unmounted daemon still writes when umount(8) has returned.
 */
#define TARGET_WAIT_MS 10000u
int target_open(const char *path, unsigned flags, const struct blk_opts *opts,
		struct blk_dev **out);

/* "in use by 1234 (foliofs), mounted at /mnt", or "in use" when nothing more is known. */
const char *target_who(const char *path, char *buf, size_t len);

#endif
