/* What the files of src/blk share: the device and the operations of a backend. */
#ifndef BLK_BLK_PRIV_H
#define BLK_BLK_PRIV_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/lock.h"
#include "blk/blk.h"

struct blk_backend {
	const char *name;
	/*
	 * Transfers one checked request now and returns 0 or -errno.
	 */
	int (*transfer)(struct blk_dev *dev, struct blk_io *io);
	/*
	 * File backends: start it on the thread's ring, or several on the shared one; they end in
	 * blk_io_end(). NULL where transfer() is all there is. An error means "none started".
	 */
	int (*start)(struct blk_dev *dev, struct blk_io *io);
	int (*start_shared)(struct blk_dev *dev, struct blk_io **io, unsigned nr);
	int (*flush)(struct blk_dev *dev);
	int (*discard)(struct blk_dev *dev, u64 sector, u64 nr);
	/* -EOPNOTSUPP: blk_zero() writes zeroes instead. */
	int (*zero)(struct blk_dev *dev, u64 sector, u64 nr);
	int (*prealloc)(struct blk_dev *dev, u64 sector, u64 nr);
	int (*resize)(struct blk_dev *dev, u64 sectors);
	void (*close)(struct blk_dev *dev);
};

/* Flush bookkeeping; see flush.c. */
struct blk_flush {
	struct mutex lock;
	struct cond ended;
	_Atomic u64 begun;      /* number of the newest flush that began; changed under lock */
	_Atomic u64 failures;   /* flushes that failed; changed under lock */
	bool running;           /* the rest is guarded by lock */
	u64 last_ok;            /* newest flush that succeeded */
	u64 last_fail;          /* newest flush that failed */
	u64 fail_before;        /* the failure before that one */
	u64 ok_before_fail;     /* newest success between fail_before and last_fail */
	int err;                /* of last_fail */
	/* A write that is not durable by itself has completed since `begun` grew. A hint. */
	_Atomic bool owed;
};

/* Whether writes may begin; see gate.c. */
struct blk_gate {
	struct mutex lock;
	struct cond changed;    /* opened, or the last writer left */
	_Atomic bool shut;      /* changed under lock */
	_Atomic u32 writers;    /* threads in a section */
};

struct blk_dev {
	const struct blk_backend *ops;
	u64 sectors;
	u32 logical_size;
	bool rdonly;
	bool is_file;
	bool direct;
	bool fua;
	u32 depth;
	char *path;
	struct blk_flush flush;
	struct blk_gate gate;
	blk_fault_fn *fault;
	void *fault_arg;
	struct blk_writelog *writelog;  /* NULL: none */
	_Atomic bool down;              /* blk_shutdown() */
};

/* core.c */
void blk_dev_init(struct blk_dev *dev, const struct blk_backend *ops, u64 sectors, u32 logical);
void blk_io_end(struct blk_io *io, int res);
/* What an error of the kernel is for the callers of this layer (blk.h). */
int blk_errno(int err);
/* A request of w failed: counted, and reported if the device is to blame. Any lock may be held. */
void blk_note_error(const struct blk_dev *dev, enum why why, struct work w, u64 sector, int err);
int blk_fault_check(struct blk_dev *dev, enum blk_fault_op op, enum blk_kind kind, u64 sector,
		    u64 nr);

/* writelog.c; only if dev->writelog */
void blk_writelog_write(struct blk_dev *dev, const struct blk_io *io);
void blk_writelog_flush(struct blk_dev *dev);           /* it begins */
void blk_writelog_flush_failed(struct blk_dev *dev);
void blk_writelog_discard(struct blk_dev *dev, u64 sector, u64 nr);
void blk_writelog_zero(struct blk_dev *dev, u64 sector, u64 nr);
void blk_writelog_stop(struct blk_dev *dev);            /* also if there is none */

/* flush.c */
void blk_flush_init(struct blk_flush *f);
void blk_flush_fini(struct blk_flush *f);
void blk_flush_owe(struct blk_flush *f);        /* a write completed that needs a flush */

/* gate.c */
void blk_gate_init(struct blk_gate *g);
void blk_gate_fini(struct blk_gate *g);
/* One writer more, and one less, of any thread: for requests that outlive the call. */
void blk_gate_enter(struct blk_gate *g);
void blk_gate_leave(struct blk_gate *g);

/* file.c, ram.c: what blk_open() chooses from. */
int blk_file_open(const char *path, unsigned flags, const struct blk_opts *opts,
		  struct blk_dev **out);
int blk_ram_open(const char *path, unsigned flags, struct blk_dev **out);

/* align.c: facts of a descriptor. */
/* Alignment of O_DIRECT offsets: 0 if the file takes none, 512 if the kernel can't tell. */
u32 blk_dio_align(int fd);

/* queue.c: a number that the kernel tells of the queue of the device below; 0: none. */
u32 blk_queue_says(int fd, const char *what);

#endif
