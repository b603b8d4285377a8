/*
 * What /proc/self/mountinfo says about a mount point, without touching the mount: asking a mounted
 * file system whose daemon hangs (or is the caller) would wait for it.
 */
#ifndef FOLIOFS_FRONT_MOUNTINFO_H
#define FOLIOFS_FRONT_MOUNTINFO_H

#include <limits.h>

#include "base/types.h"

#define MOUNT_DEV_MAX 24

struct mountinfo {
	char dev[MOUNT_DEV_MAX];    /* "MAJ:MIN" */
	char point[PATH_MAX];
	char type[64];              /* "fuse.foliofs", "fuseblk.foliofs" */
	char source[PATH_MAX];
	u32 owner;                  /* user_id= of a FUSE mount */
	bool readonly;
};

/* The topmost mount at exactly this absolute path. -ENOENT if nothing is mounted there. */
int mountinfo_at(const char *path, struct mountinfo *out);
/* The mount that an absolute path lies in: the longest mount point that is a prefix of it. */
int mountinfo_over(const char *path, struct mountinfo *out);
/* A mount of this image by FolioFS. -ENOENT. */
int mountinfo_of_image(const char *image, struct mountinfo *out);
bool mountinfo_is_foliofs(const struct mountinfo *m);
/*
 * Is this path on a FUSE mount whose daemon has ended? The only one here that asks the mount: the
 * kernel may still know the attributes of a dead mount, but how much space there is it has to ask
 * for. It answers at once when the daemon is gone, and as soon as the daemon is when it is ending.
 */
bool mountinfo_is_dead(const char *path);

#endif
