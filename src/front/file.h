/*
 * An open file or directory: what the kernel's file handle (fh) points to.
 */
#ifndef FOLIOFS_FRONT_FILE_H
#define FOLIOFS_FRONT_FILE_H

#include <bsd/sys/queue.h>

#include "cache/cache.h"
#include "fs/fs.h"

struct front;

struct front_file {
	TAILQ_ENTRY(front_file) link;
	struct inode *ip;        /* a reference: an unlinked file lives until it is closed */
	struct readahead ra;     /* whoever sets ra_busy owns it */
	u32 ra_busy;             /* atomic flag */
	u32 error_cursor;        /* write errors told so far through this file */
	bool direct;             /* opened past the kernel's cache */
	bool writer;
	bool counted;            /* among the writers of its inode */
	u64 caps_gen;            /* front->caps_gen when the inode was seen without capabilities */
};

/* Takes over the reference, but not on failure. writer: contents may change through it. */
int file_open(struct front *fr, struct inode *ip, bool writer, struct front_file **out);
void file_close(struct front *fr, struct front_file *f);
/* At the end: what the kernel did not release, because the connection was cut. */
void file_close_all(struct front *fr);

/*
 * Is the inode open for writing? Only known with cache=kernel, where it means that the kernel may
 * hold contents that were not written to us yet.
 */
bool file_has_writers(u64 ino);

static inline struct front_file *file_of(u64 fh)
{
	return (struct front_file *)(uintptr_t)fh;
}

/* The readahead state if nobody else uses it just now, else NULL. */
static inline struct readahead *file_ra_get(struct front_file *f)
{
	return __atomic_exchange_n(&f->ra_busy, 1, __ATOMIC_ACQUIRE) ? NULL : &f->ra;
}

static inline void file_ra_put(struct front_file *f, struct readahead *ra)
{
	if (ra)
		__atomic_store_n(&f->ra_busy, 0, __ATOMIC_RELEASE);
}

#define XATTR_CAPS "security.capability"

/*
 * File capabilities go with every change of contents or owner, as in the kernel's own file
 * systems. 0 when the inode has none any more.
 */
int caps_kill(struct inode *ip);
/* The same for a write through f: remembers that there are none, so that it costs nothing. */
int file_caps_kill(struct front *fr, struct front_file *f);

#endif
