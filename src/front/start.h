/* From an image to a mounted file system in memory, and back; without FUSE. */
#ifndef FOLIOFS_FRONT_START_H
#define FOLIOFS_FRONT_START_H

struct front;

/*
 * Opens the image, sets up the cache, mounts (replaying the journal). Whatever is wrong is
 * explained in the log; then the exit status is returned, else 0. opts.readonly may become true.
 */
int start_fs(struct front *fr);
/* Writes everything, frees the image. 0 or the first error, which was logged. */
int stop_fs(struct front *fr);

#endif
