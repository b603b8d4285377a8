#ifndef RING_RING_H
#define RING_RING_H

#include <bsd/sys/queue.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/types.h"
#include "ring/iov.h"

/*
 * io_uring for the layers above. Only src/ring knows liburing.
 *
 * Two kinds of ring:
 *
 *   local    one per thread, made by ring_local() at first use, destroyed when the thread ends. The
 *            thread queues, submits and reaps its own requests, so a miss stays on its CPU.
 *   shared   one per process, with a reaper thread, for requests that outlive the call that made
 *            them. ring_shared_submit() may be called by any thread.
 *
 * After a fork() the child gets local rings of its own. The shared ring does not survive: start
 * it after the daemon is in the background. No I/O may be under way at the fork.
 *
 * Every function that can fail returns 0 or -errno. -ENOSYS from ring_local() or
 * ring_shared_start() means: there is no io_uring here (old kernel, seccomp, sysctl, or switched
 * off); the caller uses system calls instead.
 */

struct ring;

/* ------------------------------------------------------------------ options */

/*
 * Everything false is the best the kernel offers. Also read once from the environment variable
 * FOLIOFS_RING, a comma-separated list of: off, no-fixed, no-clone, no-vector, no-files,
 * plain-setup.
 * Set before the first ring exists; later calls change only rings that are made later.
 */
struct ring_opts {
	bool off;               /* behave as if the kernel had no io_uring */
	bool no_fixed;          /* never register memory */
	bool no_clone;          /* each ring registers memory by itself */
	bool no_vector;         /* never use READV_FIXED and WRITEV_FIXED */
	bool no_files;          /* never register files */
	bool plain_setup;       /* no SINGLE_ISSUER and DEFER_TASKRUN */
};

void ring_opts_set(const struct ring_opts *opts);
void ring_opts_get(struct ring_opts *opts);

/* ------------------------------------------------------------------- memory */

#define RING_CHUNK_SIZE ((size_t)8 << 20)

/*
 * Declares the arena: the address range whose memory is worth registering. There is one in a
 * process. A chunk of RING_CHUNK_SIZE (counted from `base`) is registered the first time that some
 * ring does I/O inside the chunk; the kernel then pins, and so populates, all of that chunk, while
 * the request waits: so chunks are small. Rings share what is registered where the kernel can clone
 * it (Linux 6.13): it is pinned once then, and once a ring elsewhere. Where registration is refused
 * (locked memory, permissions) that is logged once and plain vectored I/O serves.
 *
 * `base` is aligned to 4096. len == 0 takes the declaration back; no I/O to the arena may be
 * under way.
 */
int ring_memory_set(void *base, size_t len);

/*
 * To be called after pages of the arena have been replaced (munmap, MADV_DONTNEED, mremap,
 * mprotect to and from PROT_NONE) and before the next I/O there: a ring that has the old pages
 * registered would transfer to and from memory that nobody sees any more. No I/O may be under way
 * to or from the pages that were replaced. Rings register such a chunk again at the next use.
 */
void ring_memory_changed(const void *addr, size_t len);

/* -------------------------------------------------------------------- files */

#define RING_MAX_FILES 64

/*
 * Makes a descriptor known; the handle names it in requests. Each ring registers it at first use.
 * A registered file stays open inside the rings of other threads, until they do I/O again or end,
 * even after ring_file_del() and close(): whoever needs a lock on it released (flock) releases it
 * by name. No request to the file may be under way at ring_file_del(). -ENFILE when the table is
 * full.
 */
int ring_file_add(int fd, int *handle);
void ring_file_del(int handle);

/* ----------------------------------------------------------------- requests */

enum ring_op {
	RING_READ,
	RING_WRITE,
	RING_DATASYNC,          /* fdatasync */
	RING_FALLOCATE,         /* mode, off, len */
};

/*
 * One request. The first group is filled in by the caller and is not touched until done() runs;
 * after that the ring knows nothing of the request any more (done() may free it).
 *
 * Requests of any length and number of segments are taken: the ring sends them in pieces of at
 * most RING_MAX_PIECE, one after another, and continues short transfers. EINTR and EAGAIN are
 * tried again.
 */
#define RING_MAX_PIECE ((size_t)2 << 20)

struct ring_req {
	enum ring_op op;
	int file;                       /* from ring_file_add */
	int mode;                       /* RING_FALLOCATE */
	u64 off;                        /* bytes */
	u64 len;                        /* RING_FALLOCATE, bytes */
	const struct iovec *iov;        /* RING_READ, RING_WRITE */
	unsigned nr_iov;
	void (*done)(struct ring_req *);
	void *arg;
	bool durable;                   /* RING_WRITE: as if fdatasync followed (RWF_DSYNC) */
	bool early;                     /* local rings: ring_settle() may run done() */

	/*
	 * The result, valid in done(): bytes transferred (fewer than asked only at end of file),
	 * 0 for the other operations, or -errno (how much was transferred before is then not
	 * told).
	 */
	s64 res;

	/* private */
	STAILQ_ENTRY(ring_req) link;
	struct iov_cursor cur;
	u64 transferred;
	u32 piece;                      /* bytes asked for in the piece under way */
	u8 how;                         /* how the piece was sent */
	u8 retries;
	_Atomic u8 phase;
};

/* In done(): the last piece went through registered memory. */
bool ring_req_registered(const struct ring_req *req);

/* --------------------------------------------------------------- local ring */

/* The ring of this thread, made now if need be. */
int ring_local(struct ring **out);

/*
 * Queues a request. Never waits and never runs done(): what does not fit into the queue waits in
 * a list. Nothing is sent before ring_submit() or ring_reap(), except when the queue is full.
 */
void ring_queue(struct ring *r, struct ring_req *req);

/* Sends what is queued, with one system call. */
void ring_submit(struct ring *r);

/*
 * Sends what is queued, waits until at least one piece has come back if `wait`, and runs done()
 * of all requests that are complete. Returns how many that were (maybe 0). done() may queue,
 * submit and reap. With `wait` and nothing under way it returns 0 at once.
 */
unsigned ring_reap(struct ring *r, bool wait);

/* Requests queued or under way. */
unsigned ring_in_flight(const struct ring *r);

/*
 * A thread may have requests under way while it does something else. If others wait for what these
 * will do when they are done (unlock a folio), the thread must not sleep on anything else before:
 * it could be waiting for itself. Such a request is `early`: its done() takes no lock, and
 * ring_settle(), to be called before any such sleep, waits for all of them and runs it. done() of
 * other requests that come back meanwhile is left to the next ring_reap(). Without early requests
 * it does nothing. ring_reap() itself need not be prepared for.
 */
void ring_settle(void);

/*
 * As ring_reap() with waiting, but returns when fd can be read, too, and sets *readable then. One
 * descriptor for each ring. Others may have read it meanwhile. Sets *slept if it had to wait (or
 * took that for granted, with a single request under way).
 */
unsigned ring_reap_or_readable(struct ring *r, int fd, bool *readable, bool *slept);

/* -------------------------------------------------------------- shared ring */

/* Makes the shared ring and its reaper unless they exist. -ENOSYS, -EAGAIN, -ENOMEM. */
int ring_shared_start(void);

/*
 * Sends the requests of a list, joined by `link`, with one system call; they leave the list. done()
 * runs in the reaper thread. ring_shared_start() must have succeeded.
 */
STAILQ_HEAD(ring_req_list, ring_req);
void ring_shared_submit_list(struct ring_req_list *list);
/* The same for one. */
void ring_shared_submit(struct ring_req *req);

/* The CPUs that the reaper may use, if it runs; it starts with those of whoever starts it. */
void ring_shared_place(const cpu_set_t *cpus);

/* Waits for all requests of the shared ring, ends its reaper. It may be started again. */
void ring_shutdown(void);

/* ------------------------------------------------------------------ figures */

/* How requests were sent, by all rings of the process. */
struct ring_counts {
	u64 enters;             /* system calls */
	u64 fixed;              /* pieces with registered memory, one segment */
	u64 fixed_vector;       /* pieces with registered memory, several segments */
	u64 plain;              /* pieces without */
	u64 continued;          /* pieces after the first of a request */
	u64 chunks;             /* chunk registrations that succeeded */
	u64 clones;             /* tables of chunks taken from those of all rings */
	u64 rings;              /* rings made */
};

void ring_counts_get(struct ring_counts *c);

/* One line for the log and for statistics: "io_uring, registered memory, vectors" or why not. */
const char *ring_describe(char *buf, size_t len);

#endif
