/*
 * Inside the journal: what its files share. Not for other layers.
 *
 * Sequence and position. Transactions are numbered consecutively (seq). The ring is addressed by
 * positions in sectors, 0 .. ring_nr-1; a transaction lies at pos .. pos+len, wrapping at the end.
 *
 * Locks. The lists below (running transaction, dirty buffers, live transactions, busy ranges) are
 * changed by publishing, which holds RANK_META exclusively and j->lock, and by closing,
 * snapshotting and finishing, which hold j->lock (and RANK_META shared where they read the
 * contents of buffers). j->lock is never held across I/O.
 */
#ifndef FOLIOFS_JOURNAL_JNL_PRIV_H
#define FOLIOFS_JOURNAL_JNL_PRIV_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <pthread.h>

#include "base/err.h"
#include "base/lock.h"
#include "journal/journal.h"

#define CHUNK_SHIFT 6u                                  /* changes are tracked in 64-byte chunks */
#define CHUNK_BYTES (1u << CHUNK_SHIFT)
#define CHUNK_WORDS (NODE_SIZE / CHUNK_BYTES / 64)

/*
 * A changed buffer: attached to its folio (folio->priv) from the first change until a checkpoint
 * has brought the newest change to its place. Holds a folio reference and the pin.
 */
struct jnl_buf {
	struct folio *folio;
	u64 addr;
	enum fmt_kind kind;
	u32 len;                        /* bytes */
	u64 chunk[CHUNK_WORDS];         /* changed in the running transaction */
	bool running;                   /* on the running transaction's list */
	bool whole;                     /* the running transaction logs all of it */
	/* the log holds a whole image newer than the last snapshot */
	bool imaged;
	bool dirty;                     /* on j->dirty: changed since the last snapshot */
	bool snapped;                   /* in the checkpoint batch under way */
	bool forgotten;                 /* freed: never write it again */
	u64 first_seq;                  /* oldest transaction it needs from the log */
	u64 newest_seq;                 /* newest transaction with a change of it */
	u64 snap_seq;                   /* the same for the copy that a checkpoint took */
	TAILQ_ENTRY(jnl_buf) run_link;
	TAILQ_ENTRY(jnl_buf) dirty_link;
	void *shadow;                   /* a handle's copy, kept for the next one (shadow.c) */
	TAILQ_ENTRY(jnl_buf) snap_link;
	TAILQ_ENTRY(jnl_buf) shadow_link;
};
TAILQ_HEAD(jnl_bufs, jnl_buf);

/* A buffer that became free space: its older records are void. */
struct revoke {
	STAILQ_ENTRY(revoke) link;
	u64 addr;
	u32 nr;
};
STAILQ_HEAD(revokes, revoke);

/* Sectors freed by a transaction that is not durable (or a checkpoint may still write to). */
struct busy {
	RB_ENTRY(busy) node;
	STAILQ_ENTRY(busy) link;        /* of the transaction, later of j->busy_snap */
	u64 start, end;
};
RB_HEAD(busy_tree, busy);
STAILQ_HEAD(busy_list, busy);

struct txn {
	u64 seq;
	struct jnl_bufs bufs;           /* by run_link; only while running */
	struct revokes revokes;
	struct busy_list busy;
	u64 bytes;                      /* upper bound of its size in the log */
	u64 opened_ns;                  /* first change; 0 = empty */
};

/* A transaction in the ring that is not behind the tail. */
struct live {
	TAILQ_ENTRY(live) link;
	u64 seq, pos, len;              /* sectors */
};
TAILQ_HEAD(lives, live);

struct jnl {
	struct jnl_config cfg;
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	struct mapping mapping;

	struct mutex handle;            /* RANK_HANDLE: the one handle */
	struct rwlock meta;             /* RANK_META: contents of published buffers */
	struct mutex lock;              /* RANK_JNL: everything below */
	struct cond cond;               /* a commit or a checkpoint ended */
	struct cond wake;               /* for the commit thread */

	struct txn *running;
	struct jnl_bufs dirty;          /* in order of first_seq */
	struct jnl_bufs shadows;        /* by shadow_link, used longest ago first */
	unsigned nr_shadows;
	u64 dirty_bytes;
	u64 dirty_max;                  /* more is checkpointed before a handle may add */
	struct lives live;
	struct busy_tree busy;
	u64 nr_busy;
	struct busy_list busy_snap;     /* durable, but a checkpoint that began earlier runs */
	struct busy_list busy_failed;   /* of transactions whose commit failed */

	u64 ring_nr;                    /* sectors */
	u64 head;                       /* where the next transaction goes */
	u64 used;                       /* sectors between the durable tail and head */
	u64 txn_max;                    /* bytes: a running transaction grows no further */
	u64 tail_pos, tail_seq;         /* of the newest header on the disk */
	u64 durable;                    /* newest durable transaction */
	u64 epoch, serial;
	u32 mounts;
	u8 *image;                      /* log image under construction, txn_max + a sector */

	bool committing, checkpointing;
	u64 snap_first;                 /* oldest first_seq in the batch under way */
	int error;

	pthread_t thread;
	bool thread_runs, thread_idle, stop, kick;
	u8 *header;                     /* one sector for the log header */
	u8 *snap;                       /* copies of the checkpoint batch */
};

extern enum jnl_omit jnl_omitted;

/* ---- buffer.c ---- */
extern const struct mapping_ops jnl_mapping_ops;
unsigned buf_order(enum fmt_kind kind);
/* The folio of the buffer, uptodate, with a reference; reads and checks it if needed. */
int buf_load(struct jnl *j, u64 addr, enum fmt_kind kind, struct folio **out);
/* The folio without contents (for a buffer that is about to be created). */
int buf_grab(struct jnl *j, u64 addr, enum fmt_kind kind, unsigned flags, struct folio **out);
struct jnl_buf *buf_new(struct folio *f, u64 addr, enum fmt_kind kind);
void buf_free(struct jnl_buf *b);
/* Detach from the folio and free; all lists left already. j->lock held. */
void buf_detach(struct jnl *j, struct jnl_buf *b);

/* ---- shadow.c ---- */
/* The copy that was kept with the buffer, now the caller's, or NULL. Locks j->lock. */
void *shadow_take(struct jnl *j, const struct folio *f);
/* Keeps a copy that is equal to what is published, or frees it. j->lock held. */
void shadow_give(struct jnl *j, const struct folio *f, void *copy);
void shadow_drop(struct jnl *j, struct jnl_buf *b);   /* j->lock held */

/* ---- busy.c ---- (j->lock held) */
int busy_cmp(struct busy *a, struct busy *b);
RB_PROTOTYPE(busy_tree, busy, node, busy_cmp)
bool busy_next(struct jnl *j, u64 start, u64 end, u64 *busy_start, u64 *busy_end);
void busy_add_all(struct jnl *j, struct busy_list *from, struct busy_list *to);
void busy_release(struct jnl *j, struct busy_list *list);

/* ---- commit.c ---- */
struct txn *txn_new(u64 seq);
void txn_free(struct txn *t);
/* j->lock held. Account a change of b in the running transaction. */
void txn_touch(struct jnl *j, struct jnl_buf *b);
u64 txn_buf_bytes(const struct jnl_buf *b);
int jnl_commit_running(struct jnl *j);   /* commit whatever runs */
void jnl_fail(struct jnl *j, int error, const char *what);

/* ---- log.c ---- */
int jnl_log_write_head(struct jnl *j, bool clean);  /* with the current tail; flushed */
int jnl_log_read_head(struct blk_dev *dev, const struct fmt_geo *geo, struct fmt_jnl_head *out);
int jnl_log_write(struct jnl *j, u64 pos, const void *image, u64 nr);
int jnl_log_read(struct blk_dev *dev, const struct fmt_geo *geo, u64 pos, void *buf, u64 nr);
/* j->lock held: is there room for `bytes` more in the running transaction? */
bool jnl_log_has_room(struct jnl *j, u64 bytes);

/* ---- checkpoint.c ---- */
/*
 * Write changed buffers in place, oldest first, until at most max_used sectors of the ring and
 * max_dirty bytes of changed buffers remain, then move the tail on the disk. One at a time: joins
 * a checkpoint under way instead. No locks.
 */
int checkpoint_to(struct jnl *j, u64 max_used, u64 max_dirty);
/* Make room for a handle that needs `bytes` in the log. May commit and checkpoint. No locks. */
int jnl_make_room(struct jnl *j, u64 bytes);

/* ---- recover.c ---- */
struct recovered { u64 next_seq, next_pos; };
int jnl_recover(struct jnl *j, const struct fmt_jnl_head *head, struct jnl_recovery *rec,
		struct recovered *out);

/* ---- thread.c ---- */
int jnl_thread_start(struct jnl *j);
void jnl_thread_stop(struct jnl *j);

#endif
