#ifndef BLK_BLK_H
#define BLK_BLK_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "base/types.h"
#include "base/work.h"
#include "ring/ring.h"

/*
 * A block device: an array of 4 KiB sectors that can be read, written, flushed and discarded.
 *
 * Backends:
 *   uring   regular file or block device, io_uring, O_DIRECT where the file takes it
 *   sync    the same by pread/pwrite, where io_uring is not to be had (named in the log)
 *   ram     "ram:SIZE", sparse memory that is lost at close
 *   sim     memory with a recorder, for crash tests (blk/sim.h)
 *
 * What a device promises, on every backend:
 *   - A completed write is seen by every read that begins afterwards. It is durable only after a
 *     flush
 *     that BEGAN after it completed. Nothing orders two writes but completion plus flush.
 *   - A write that a crash cuts short is torn in units of the logical sector (512 or 4096 bytes).
 *   - A media error (-EIO) belongs to that request alone.
 *   - Errors of the device are few, whatever the kernel says: -ENOSPC for a host without room or
 *     quota, -ENOMEM, -EROFS, -ERANGE, -EOPNOTSUPP, -ECANCELED, and -EIO for everything else
 *     (ENODATA, EILSEQ, ETIMEDOUT and others of a failing medium). The log has the kernel's own. A
 *     flush that fails is always -EIO.
 *   - Memory that belongs to a request is left alone by the caller until the request is done.
 *
 * All functions may be called by any thread unless said otherwise. No function takes a lock of a
 * rank lower than RANK_BLK. Waiting functions must not be called with RANK_HANDLE or higher held.
 */

struct blk_dev;

/* ------------------------------------------------------------- open, close */

#define BLK_RDONLY      0x00u   /* shared lock; writes return -EROFS */
#define BLK_RDWR        0x01u   /* exclusive lock */
#define BLK_CREATE      0x02u   /* regular file: make it if need be, of opts->size bytes */
#define BLK_TRUNCATE    0x04u   /* with BLK_CREATE: an existing regular file gets opts->size too */
#define BLK_NOLOCK      0x08u   /* no lock at all (dump of a mounted image) */

/* Whether writes that are durable by themselves are used: blk_goes_alone(). */
enum blk_fua {
	BLK_FUA_AUTO,           /* where the device below says that it has them */
	BLK_FUA_ON,             /* also where it says nothing: then the kernel flushes */
	BLK_FUA_OFF,
};

struct blk_opts {
	u64 size;               /* bytes, for BLK_CREATE */
	bool buffered;          /* no O_DIRECT */
	bool sync;              /* force the sync backend */
	enum blk_fua fua;
};

/*
 * Opens `path`, or a RAM device for "ram:SIZE". opts may be NULL. Locks it for as long as it is
 * open: flock (LOCK_EX, or LOCK_SH when read-only), and O_EXCL on block devices opened for
 * writing. The locks are taken before anything is changed: a refused open leaves the file as it
 * was.
 *
 * -EBUSY      somebody else holds it; blk_who_holds() may name them
 * -EROFS      read-only file system or device, BLK_RDWR asked
 * -ENOTBLK    neither a regular file nor a block device
 * -EINVAL     bad ram: size
 * and what open(2), ftruncate(2), statx(2) return.
 */
int blk_open(const char *path, unsigned flags, const struct blk_opts *opts, struct blk_dev **out);

/* Waits for nothing: all I/O must be complete. NULL is allowed. */
void blk_close(struct blk_dev *dev);

/* "1234 (foliofs)" for whoever holds a lock on path, or "" if that can't be found out. */
const char *blk_who_holds(const char *path, char *buf, size_t len);

/* Gives up O_EXCL on a block device, so that a fuseblk mount can take it. The flock stays. */
void blk_release_excl(struct blk_dev *dev);

/* ------------------------------------------------------------------- facts */

u64 blk_sectors(const struct blk_dev *dev);             /* whole sectors */
u32 blk_logical_size(const struct blk_dev *dev);        /* 512 or 4096 */
bool blk_is_rdonly(const struct blk_dev *dev);
bool blk_is_file(const struct blk_dev *dev);            /* regular file: sparse, can grow */
bool blk_is_direct(const struct blk_dev *dev);          /* O_DIRECT */
bool blk_has_fua(const struct blk_dev *dev);            /* writes can be durable by themselves */
/* Requests that the queue of the disk below holds; 0: nobody knows, or there is no disk. */
u32 blk_queue_depth(const struct blk_dev *dev);
const char *blk_backend(const struct blk_dev *dev);     /* "uring" "sync" "ram" "sim" */
const char *blk_path(const struct blk_dev *dev);

/* Lets a regular file or RAM device grow (-EINVAL if it would shrink, -EOPNOTSUPP on others). */
int blk_resize(struct blk_dev *dev, u64 sectors);

/* ------------------------------------------------------- synchronous I/O */

enum blk_op { BLK_READ, BLK_WRITE };

/* What the bytes are, for the counters. */
enum blk_kind { BLK_DATA, BLK_META, BLK_LOG };

/*
 * Read and write `nr` sectors; any length: long ones are split at BLK_MAX_IO and pipelined. `buf`
 * may have any alignment, but only buffers aligned to 4096 are transferred without a copy. 0 or
 * -errno (-ERANGE past the end of the device; nothing is transferred then).
 */
#define BLK_MAX_IO_SECTORS 512u         /* 2 MiB */

int blk_read(struct blk_dev *dev, u64 sector, void *buf, u32 nr, enum blk_kind kind);
int blk_write(struct blk_dev *dev, u64 sector, const void *buf, u32 nr, enum blk_kind kind);
/* The same, and it is durable when this returns 0, as if a flush had followed; other writes that
 * have completed are no more durable for it. For whom blk_goes_alone() said so. */
int blk_write_durable(struct blk_dev *dev, u64 sector, const void *buf, u32 nr,
		      enum blk_kind kind);

/* The same with a list of segments, aligned as in struct blk_io. */
int blk_readv(struct blk_dev *dev, u64 sector, const struct iovec *iov, unsigned nr_iov,
	      enum blk_kind kind);
int blk_writev(struct blk_dev *dev, u64 sector, const struct iovec *iov, unsigned nr_iov,
	       enum blk_kind kind);

/* -------------------------------------------------------------- requests */

/*
 * One request. The segments' addresses and lengths are multiples of 512 (better 4096), their
 * lengths sum up to nr sectors. The iov array itself must stay until done() runs; after that call
 * the device knows nothing of the request (done() may free it). Requests that overlap and are
 * under way together have no order.
 */
struct blk_io {
	enum blk_op op;
	enum blk_kind kind;
	u64 sector;
	u32 nr;
	unsigned nr_iov;
	bool durable;                   /* a write: as blk_write_durable() */
	const struct iovec *iov;
	void (*done)(struct blk_io *);
	void *arg;

	int res;                        /* valid in done(): 0 or -errno */

	/* private */
	struct blk_dev *dev;
	struct blk_batch *batch;
	u64 began;                      /* now_ns() when it was sent */
	struct work work;               /* of who sent it */
	struct ring_req rq;
};

/*
 * A pipeline of requests by one thread, through its own ring:
 *
 *	blk_batch_init(&b, dev);
 *	for each request: blk_batch_add(&b, io);
 *	blk_batch_wait(&b, 0);
 *	blk_batch_fini(&b);
 *
 * done() runs in this thread, inside blk_batch_add(), _wait() or _fini(); on memory backends
 * often before blk_batch_add() returns. done() may add to the batch and may do synchronous I/O. A
 * request that cannot even be sent gets its error through done(). Several batches of a thread may
 * be open at once.
 */
struct blk_batch {
	struct blk_dev *dev;
	unsigned in_flight;
	unsigned unsent;
	bool writes;                    /* in a section of writing, to the end of the batch */
	int err;                        /* the first error of any request in the batch, else 0 */
};

#define BLK_MAX_IN_FLIGHT 128u          /* blk_batch_add() reaps beyond that */

void blk_batch_init(struct blk_batch *b, struct blk_dev *dev);
void blk_batch_add(struct blk_batch *b, struct blk_io *io);
/* Sends what was added (it is otherwise sent in groups) without waiting. */
void blk_batch_send(struct blk_batch *b);
/* Reaps until at most max_in_flight requests are under way. */
void blk_batch_wait(struct blk_batch *b, unsigned max_in_flight);
/* Waits for all; returns b->err. */
int blk_batch_fini(struct blk_batch *b);

/*
 * Sends a request that outlives this call, through the shared ring. done() runs in the reaper
 * thread, where it must not wait for other I/O; on memory and sync backends it runs before this
 * returns, in this thread: the caller holds no lock that done() takes.
 */
void blk_submit_async(struct blk_dev *dev, struct blk_io *io);
/* The same for nr requests, sent together. The array is used up. */
void blk_submit_async_list(struct blk_dev *dev, struct blk_io **io, unsigned nr);
/*
 * Queues a read that outlives this call in the ring of this thread, for whoever reaps it in a loop
 * of its own (ring_reap()). done() runs in this thread, in any wait for something else, too, so it
 * takes no lock (ring_settle()); on other backends it runs before this returns.
 */
void blk_start_read(struct blk_dev *dev, struct blk_io *io);

/* ------------------------------------------------------------------ freezing */

/*
 * Nothing is written from the return on: the content of the device stays as it is, and writers
 * wait, until blk_thaw(). -EALREADY when it is frozen; -ETIMEDOUT when what was under way did not
 * end in time (then nothing is frozen).
 */
int blk_freeze(struct blk_dev *dev, u64 timeout_ms);
int blk_thaw(struct blk_dev *dev);                      /* -EINVAL: it was not frozen */
bool blk_is_frozen(struct blk_dev *dev);
/*
 * A section that writes: who takes locks which other writers wait for (folios, the commit) opens it
 * before them. Sections of a thread nest; each function that writes has one of its own. May block.
 */
void blk_write_begin(struct blk_dev *dev);
void blk_write_end(struct blk_dev *dev);

/* -------------------------------------------------------------- durability */

/*
 * Makes every write durable that completed before the call: returns after a device flush that
 * BEGAN after the call. Calls at the same time share flushes. Nobody waits for more than two
 * flushes. A flush that fails returns its error to everyone who waited for it.
 */
int blk_flush(struct blk_dev *dev);

/*
 * A ticket taken after an I/O completed, and the promise that the I/O is durable: returns at once
 * if a flush that began after the ticket was taken has succeeded, otherwise flushes as
 * blk_flush(). If the first flush after the ticket FAILED, this returns that error for ever: the
 * device may have dropped what it held, and a later success says nothing about it.
 */
u64 blk_flush_ticket(struct blk_dev *dev);
int blk_flush_upto(struct blk_dev *dev, u64 ticket);
/* Would that return 0 at once? */
bool blk_flush_covers(struct blk_dev *dev, u64 ticket);

/*
 * Flushes that have failed. Whatever was written but not yet covered when that number rose may be
 * gone, though a later flush succeeds: who can repeat his writes takes the number before he sends
 * them, and counts them as durable only if it is the same after the flush that covers them.
 */
u64 blk_flush_failures(struct blk_dev *dev);
/* blk_flush() for what was written since that number was taken: the error of any flush since. */
int blk_flush_since(struct blk_dev *dev, u64 failures);

/*
 * What makes a small write durable at the lowest cost? true: blk_write_durable(), since the device
 * has such writes (FUA) and no other write has completed since the newest flush began. false: a
 * write and a flush, which then serves the others, too.
 */
bool blk_goes_alone(struct blk_dev *dev);

/* Number of device flushes that were begun (tests, statistics). */
u64 blk_flush_count(struct blk_dev *dev);

/* ---------------------------------------------------- space on the host */

/*
 * The content no longer matters (reads give anything). -EOPNOTSUPP if the device can't: harmless.
 */
int blk_discard(struct blk_dev *dev, u64 sector, u64 nr);

/* The sectors read as zero afterwards: hole punching, zero range, or else writes. */
int blk_zero(struct blk_dev *dev, u64 sector, u64 nr, enum blk_kind kind);

/*
 * Takes space on the host for a range of a sparse file and keeps its content; nothing on devices.
 * -ENOSPC; -EOPNOTSUPP if the host can't (then writes may meet -ENOSPC later).
 */
int blk_prealloc(struct blk_dev *dev, u64 sector, u64 nr);

/* -------------------------------------------------------------- block log */

/*
 * From now on every write, flush and discard of the device is recorded in the file `path`, in the
 * format of the kernel's dm-log-writes target (blk/dmlog.h), until the device is closed. To be
 * called while no I/O is under way, once. A file that holds anything but an older log is refused
 * with -EEXIST; -ENOMEM; and what open(2) and write(2) return. When the file can't be written any
 * more, an error is logged and the device goes on without it.
 */
int blk_writelog_start(struct blk_dev *dev, const char *path);
/* A mark behind all that has ended. -ENOENT no log, -ENAMETOOLONG, -EIO the log was given up. */
int blk_writelog_mark(struct blk_dev *dev, const char *text);

/* --------------------------------------------------------------- shutdown */

/*
 * As if the device were taken away: every request from now on ends with -EIO and changes nothing;
 * those under way end as they do. For good.
 */
void blk_shutdown(struct blk_dev *dev);
bool blk_is_down(const struct blk_dev *dev);

/* ------------------------------------------------------- fault injection */

/*
 * Tests: fn is called before each request is sent (FLUSH, DISCARD and PREALLOC included) and may
 * return -errno, which becomes the result of that request, which is then not sent. fn runs in the
 * submitting thread, maybe several at once. NULL switches it off. To be set while no I/O is under
 * way.
 */
enum blk_fault_op { BLK_FAULT_READ, BLK_FAULT_WRITE, BLK_FAULT_FLUSH, BLK_FAULT_DISCARD,
		    BLK_FAULT_PREALLOC };

struct blk_fault {
	enum blk_fault_op op;
	enum blk_kind kind;             /* READ and WRITE */
	u64 sector;
	u64 nr;
};

typedef int blk_fault_fn(void *arg, const struct blk_fault *f);
void blk_fault_set(struct blk_dev *dev, blk_fault_fn *fn, void *arg);

#endif
