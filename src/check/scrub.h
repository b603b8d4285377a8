/*
 * scrub: verifies what is on the disk under a mounted file system, while it is used.
 *
 * All metadata in place (superblocks, root sector, group table, bitmaps, sector map, every node)
 * and every written sector of data against its checksum, as the device gives them, past the cache.
 * What is just being written is told from damage by looking again.
 */
#ifndef FOLIOFS_CHECK_SCRUB_H
#define FOLIOFS_CHECK_SCRUB_H

#include "fs/fs.h"

/* Written by the thread that scrubs, read by any: relaxed atomics. */
struct scrub_state {
	u64 meta_done, data_done, data_total;   /* sectors; the total is as of the start */
	u64 meta_errors, data_errors;           /* buffers, sectors */
};

struct scrub_opts {
	u64 rate;                       /* bytes a second at most, 0 = no limit */
	bool (*stop)(void *arg);        /* polled; NULL: to the end */
	/* One line for each damaged buffer or sector, files by path. May be NULL. */
	void (*damage)(void *arg, const char *text);
	void *arg;
};

/*
 * 0: all was read, see st; -EINTR: stopped; or what made it break off. Each damage also goes to the
 * record of errors. One scrub of a file system at a time; holds no locks while it reads.
 */
int scrub_run(struct fs *fs, const struct scrub_opts *o, struct scrub_state *st);

/* The path of an inode, "" for the root, or "#NUMBER" when no name leads to it. */
int scrub_path(struct fs *fs, u64 ino, char *buf, size_t len);

#endif
