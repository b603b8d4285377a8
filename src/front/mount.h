/*
 * Mounting and unmounting through libfuse: mount(2) as root, fusermount3 for everybody else.
 */
#ifndef FOLIOFS_FRONT_MOUNT_H
#define FOLIOFS_FRONT_MOUNT_H

#include "base/types.h"

struct front;
struct mount;

/*
 * Can something be mounted on this directory? 0, -ENOTCONN (a mount whose daemon died is there),
 * -ENOTDIR, or what stat(2) says.
 */
int mount_check_target(const char *point);

/* Mounts; *fd is the device that requests come from (mount_end() closes it). Errors are logged. */
int mount_begin(struct front *fr, const char *image, const char *point, struct mount **out,
		int *fd);

/*
 * mount -o remount: makes the mount at the point read-only or writable. The kernel refuses changes
 * from then on; the daemon is not told and need not be. Everything else about the mount stays.
 */
int mount_remount(const char *point, bool readonly);

/* Takes the mount away from the name space, busy or not. Errors are logged. */
int mount_detach(const struct front *fr, const char *point);
/* Takes away whatever dead mount is there. */
int mount_detach_dead(const char *point);

/* Ends the connection: whoever still uses it gets ENOTCONN. Does not unmount. NULL is allowed. */
void mount_end(struct mount *m);

/* Writeback limits and readahead of the kernel for this mount, where we may set them (root). */
void mount_tune(const struct front *fr);

#endif
