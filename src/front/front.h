/*
 * front: the daemon. Mounts a file system through FUSE and serves the kernel's requests.
 *
 * daemon.c   life of the process: start, background, signals, end
 * options.c  the one table of options
 * mount.c    mounting and unmounting (the part that libfuse does for us), the mount's BDI
 * session.c  threads that read requests from /dev/fuse; duty.c who does, follow.c where
 * uring.c    threads that take requests from io_uring
 * pace.c     how close together they come; awake.c keeps CPUs awake then, quota.c forbids it
 * dispatch.c one table of opcodes; answers, errors, times
 * init.c     what is agreed with the kernel at the first request
 * op_*.c     the operations
 * control.c  the socket that foliofsctl talks to
 *
 * Why requests are parsed here and libfuse only mounts: libfuse 3.14 does not know half of what
 * the kernel offers (SYNCFS, HANDLE_KILLPRIV_V2, DIRECT_IO_ALLOW_MMAP, PARALLEL_DIRECT_WRITES,
 * 64-bit INIT flags), answers ENOSYS to it for good, and takes a global lock twice for each
 * request. With both ways in one program there would be two places for errors, times and
 * unanswered requests.
 */
#ifndef FOLIOFS_FRONT_FRONT_H
#define FOLIOFS_FRONT_FRONT_H

#include "base/types.h"
#include "fs/fs.h"
#include "front/options.h"

struct session;
struct uring;

/* Everything of a mounted file system that the operations need. */
struct front {
	struct front_opts opts;
	struct blk_dev *dev;
	struct fs *fs;
	struct session *session;
	int fuse_fd;            /* the device of the mount */
	struct uring *uring;    /* made by INIT, NULL: all goes through /dev/fuse */
	bool kernel_cache;      /* cache=kernel was asked for and granted */
	bool fuseblk;           /* unmounting waits for the answer to DESTROY */
	bool mmap_shared;       /* the kernel maps files of cache=daemon shared */
	bool no_opendir;        /* the kernel lists directories without opening them */
	bool setxattr_ext;      /* SETXATTR has the longer head */
	bool acls;              /* the kernel looks at access control lists */
	u32 proto_minor;
	u32 max_pages;          /* of one request */
	u64 caps_gen;           /* raised when a security.capability is set, atomic */
	int event_fd;           /* eventfd: INIT done, session over */
	bool init_done;         /* atomic */
	u64 destroy_unique;     /* DESTROY to be answered at the very end (fuseblk), 0 none */
	int destroy_fd;         /* the device that takes the answer, -1: destroy_via does */
	const void *destroy_via;
	u64 nr_files;           /* open files, under file.c's lock, read without */
	char bdi[24];           /* "MAJ:MIN" of the mount */
};

/* "io_uring" or "/dev/fuse"; threads that serve requests. */
const char *front_transport_name(const struct front *fr);
unsigned front_threads(const struct front *fr);

/* init.c: pages of the longest request that this kernel lets a mount have. */
u32 init_max_pages(void);
#define FRONT_PAGE 4096u  /* bytes of a page of the kernel */
/* The longest data of a request. */
static inline size_t front_max_bytes(const struct front *fr)
{
	return (size_t)fr->max_pages * FRONT_PAGE;
}

/* Wakes the main thread, which looks at the front's flags. */
void front_wake(struct front *fr);

/* foliofs, mount.foliofs and mount.fuse.foliofs by argv[0]. Returns the exit status. */
int front_main(int argc, char **argv);

/* Exit statuses, those of mount(8). */
enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

#endif
