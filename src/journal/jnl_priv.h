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
#define JNL_SPARE 16u                                   /* what a handle mostly needs at once */

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
	bool summed;                    /* the log has the sum of what it holds now */
	bool wants_sum;                 /* the running transaction is to have it */
	u64 log_bytes;                  /* what it is in the running transaction */
	bool dirty;                     /* on j->dirty: changed since the last snapshot */
	bool snapped;                   /* in the checkpoint batch under way */
	bool forgotten;                 /* freed: never write it again */
	u64 first_seq;                  /* oldest transaction it needs from the log */
	u64 newest_seq;                 /* newest transaction with a change of it */
	u64 snap_seq;                   /* the same for the copy that a checkpoint took */
	TAILQ_ENTRY(jnl_buf) run_link;
	TAILQ_ENTRY(jnl_buf) dirty_link;
	TAILQ_ENTRY(jnl_buf) snap_link;
};
TAILQ_HEAD(jnl_bufs, jnl_buf);

/* What lay there is void: a buffer that became free space, or sectors of file data. */
struct revoke {
	STAILQ_ENTRY(revoke) link;
	enum fmt_kind kind;             /* NODE, MAP, ...: one buffer; DATA: a range of sectors */
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
	u64 bytes;                      /* in the log, of its records: that, or a little more */
	u64 opened_ns;                  /* first change; 0 = empty */
	u32 nr_intents;                 /* opened in it */
	/* oldest transaction that holds what it gave up before it came to its place; 0 = none */
	u64 given_up;
};

/* One range of an intent: disk sectors, and where their new map entries begin. */
struct intent_range {
	u64 addr;
	u32 nr, first;
};

/*
 * Overwrites that were announced. Its name is (first_seq, number). It is open until all of its
 * sectors are closed, and is kept until the transaction with its end is durable: until then the
 * tail stays at or before `seq`.
 */
struct jnl_intent {
	TAILQ_ENTRY(jnl_intent) link;   /* j->intents */
	struct jnl *j;
	u64 first_seq, seq;             /* transaction of its first, its newest records; 0 = none */
	u64 end_seq;                    /* transaction with its end; 0 = open */
	u32 number;
	u32 left;                       /* sectors that are not closed */
	bool held;                      /* by a checkpoint that carries it on: not to be freed */
	u64 bytes;                      /* of its records */
	u64 reserve;                    /* sectors of the ring kept free for carrying it on */
	u32 nr_sectors, nr_ranges, nr_maps, max_sectors, max_ranges;
	le32 *entries;
	struct intent_range *range;
	u64 *map;                       /* addresses of the map sectors with the old entries */
};
TAILQ_HEAD(jnl_intents, jnl_intent);

/* A transaction that is being written: its image is in j->image. */
struct closed {
	struct txn *txn;                /* NULL: none */
	u64 pos, nr;                    /* in the ring */
	u64 given_up;                   /* of the transaction; 0 when it is durable */
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

	struct mutex handle;            /* RANK_HANDLE: the one handle; the next three */
	void *spare[JNL_SPARE];         /* memory of earlier handles, NODE_SIZE each */
	struct jnl_buf *spare_buf[JNL_SPARE];   /* that they did not need */
	unsigned nr_spare, nr_spare_bufs;
	struct rwlock meta;             /* RANK_META: contents of published buffers */
	struct mutex lock;              /* RANK_JNL: everything below */
	struct cond cond;               /* a commit or a checkpoint ended */
	struct cond wake;               /* for the commit thread */

	struct txn *running;
	struct jnl_bufs dirty;          /* in order of first_seq */
	u64 dirty_bytes;
	u64 dirty_share;                /* of the cache or the log; more is checkpointed first */
	u64 dirty_max;                  /* the same for a handle that needs more than that */
	struct lives live;
	struct busy_tree busy;
	u64 nr_busy;
	struct busy_list busy_snap;     /* durable, but a checkpoint that began earlier runs */
	struct busy_list busy_failed;   /* of transactions whose commit failed */
	struct jnl_intents intents;     /* open, or closed and not durable */
	u64 intent_reserve;             /* sectors of the ring, sum over `intents` */
	u64 intent_sectors;             /* data sectors, the same */
	u64 nr_logged;                  /* buffers of file data; atomic */
	u64 data_seq;                   /* newest transaction with file data; 0 = none */
	u64 retry_ns;                   /* the thread tries no checkpoint before; 0 = whenever */
	u64 commit_retry_ns;            /* nor a commit; 0: the last one went well */
	u64 soon_seq;                   /* the thread commits it at once; 0 = none */

	u64 ring_nr;                    /* sectors */
	u64 head;                       /* where the next transaction goes */
	u64 used;                       /* sectors between the durable tail and head */
	u64 txn_max;                    /* bytes: a running transaction grows no further */
	u64 tail_pos, tail_seq;         /* of the newest header on the disk */
	u64 durable;                    /* newest durable transaction */
	u64 epoch, serial;
	u32 mounts;
	u8 *image;                      /* log image under construction, image_bytes_max() */
	struct closed closed;           /* whose image that is; of who commits (j->committing) */

	bool committing, checkpointing;
	u64 snap_first;                 /* oldest first_seq in the batch under way */
	struct jnl_bufs *unsummed;      /* the batch, until a transaction has its sums */
	u64 sum_reserve;                /* sectors of the ring kept free for sums */
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
/* The folio of the buffer, uptodate, with a reference; reads and checks it if needed. *why: what
 * was wrong with the content, if that was it. */
int buf_load(struct jnl *j, u64 addr, enum fmt_kind kind, struct folio **out, enum why *why);
/* The folio without contents (for a buffer that is about to be created). */
int buf_grab(struct jnl *j, u64 addr, enum fmt_kind kind, unsigned flags, struct folio **out);
struct jnl_buf *buf_new(struct folio *f, u64 addr, enum fmt_kind kind);
/* The same in memory that there is. */
void buf_init(struct jnl_buf *b, struct folio *f, u64 addr, enum fmt_kind kind);
void buf_free(struct jnl_buf *b);
/* Detach from the folio and free; all lists left already. j->lock held. */
void buf_detach(struct jnl *j, struct jnl_buf *b);
/* The changed buffer becomes known: attached to its folio. j->lock and RANK_META held. */
void buf_attach(struct jnl *j, struct jnl_buf *b);

/* ---- busy.c ---- (j->lock held) */
int busy_cmp(struct busy *a, struct busy *b);
RB_PROTOTYPE(busy_tree, busy, node, busy_cmp)
bool busy_next(struct jnl *j, u64 start, u64 end, u64 *busy_start, u64 *busy_end);
void busy_add_all(struct jnl *j, struct busy_list *from, struct busy_list *to);
void busy_release(struct jnl *j, struct busy_list *list);

/* ---- commit.c ---- */
struct txn *txn_new(u64 seq);
void txn_free(struct txn *t);
/* Of two transactions the older one; 0 is none. */
static inline u64 txn_older(u64 a, u64 b)
{
	return a && (!b || a < b) ? a : b;
}
/* j->lock held: the running transaction has something to commit. */
void txn_open(struct jnl *j);
/* j->lock held. Account a change of b, which makes it so long in the log (image_bytes_of). */
void txn_touch(struct jnl *j, struct jnl_buf *b, u64 log_bytes);
int jnl_commit_running(struct jnl *j);   /* commit whatever runs */
void jnl_fail(struct jnl *j, int error, const char *what);
/*
 * No memory, or the host has no room for a write: nothing was changed that is not in memory or in
 * the log as well. It can be tried again, and is no reason to end changes.
 */
static inline bool jnl_is_passing(int error)
{
	return error == -ENOMEM || error == -ENOSPC;
}

/* ---- log.c ---- */
enum log_state { LOG_OPEN, LOG_CLEAN, LOG_RECOVERING };
/* With the current tail; flushed. */
int jnl_log_write_head(struct jnl *j, enum log_state state);
/* The newest valid header; *suspect: the other one is bad, and may have been newer. */
int jnl_log_read_head(struct blk_dev *dev, const struct fmt_geo *geo, struct fmt_jnl_head *out,
		      bool *suspect);
int jnl_log_write(struct jnl *j, u64 pos, const void *image, u64 nr, bool durable);
int jnl_log_read(struct blk_dev *dev, const struct fmt_geo *geo, u64 pos, void *buf, u64 nr);
/*
 * What a handle takes: bytes in the log, bytes of buffers that become changed ones, and sectors of
 * the ring that must stay free behind it.
 */
struct jnl_need { u64 log, memory, keep; };
/*
 * j->lock held: is there room for that in the running transaction, beyond what is kept for intents
 * and sums? reserved: the run is one of those that this is kept for.
 */
bool jnl_log_has_room(struct jnl *j, const struct jnl_need *need, bool reserved);
/* j->lock held: how many sums the running transaction may still take. */
u64 jnl_log_sums(struct jnl *j);

/* ---- data.c ---- (j->lock held) */
/* Logged sectors of the range are forgotten: what publishing a revoke of data does. */
void data_forget(struct jnl *j, u64 addr, u32 nr);
/* Takes a changed buffer off all lists; a checkpoint that has a copy of it frees it later. */
void buf_forget(struct jnl *j, struct jnl_buf *b);
/* The log holds file data that a recovery would bring back. */
bool data_in_log(struct jnl *j);

/* ---- intent.c ---- (j->lock held, but for the last) */
/* Length in the log of the intents and ends that belong to the transaction, and writing them. */
struct image;
void intents_to_image(struct jnl *j, struct image *im, const struct txn *t);
/* Frees intents whose end is durable. */
void intents_settle(struct jnl *j);
/* The oldest transaction that an intent needs; UINT64_MAX = none. */
u64 intents_first_seq(struct jnl *j);
void intents_free(struct jnl *j);
/* Logs again what is open and older than transaction `seq`, durably. No locks; checkpoint only. */
int intents_carry(struct jnl *j, u64 seq);

/* ---- view.c, run.c ---- */
/* Logs the whole buffer, changed or not; counts as an edit. */
int view_log_whole(struct view *v, u64 addr, enum fmt_kind kind);
/*
 * So many bytes in the log beyond what buffers and revokes need, and sectors of it to stay free
 * afterwards; the run publishes in any case.
 */
void view_more_log(struct view *v, u64 bytes, u64 reserve);
/* jnl_run() within checkpoint: room comes from what is reserved for intents. */
int jnl_run_reserved(struct jnl *j, unsigned credits, jnl_body body, void *arg);

/* ---- checkpoint.c ---- */
/*
 * Write changed buffers in place, oldest first, until at most max_used sectors of the ring and
 * max_dirty bytes of changed buffers remain, then move the tail on the disk. One at a time: joins
 * a checkpoint under way instead. No locks.
 */
int checkpoint_to(struct jnl *j, u64 max_used, u64 max_dirty);
/*
 * How full the log, or the share of the cache for changed buffers, may get before the thread writes
 * buffers in place, and how full it stays. A buffer that stays takes more changes for each time
 * that all of it is copied and written; the last quarter is what handles use meanwhile.
 */
static inline u64 checkpoint_from(u64 max)
{
	return max / 4 * 3;
}

static inline u64 checkpoint_down_to(u64 max)
{
	return max / 8 * 5;
}
/* Make room for a handle. May commit and checkpoint. No locks. */
int jnl_make_room(struct jnl *j, const struct jnl_need *need);
#define SNAP_BYTES (4u << 20)            /* copied and written at a time */
#define SNAP_NR (SNAP_BYTES / SECTOR_SIZE)

/* ---- image.c ---- */
/* j->lock and RANK_META (shared) held: the image of the transaction in j->image. Sectors. */
u64 image_build(struct jnl *j, struct txn *t);
/* What a buffer with these changes takes in the log, in bytes. */
u64 image_bytes_of(enum fmt_kind kind, bool whole, const u64 *chunk);
/* For intent.c. */
void image_record(struct image *im, const struct fmt_rec *rec, const void *payload, u32 len);

/* ---- recover.c ---- */
#define JNL_TXN_READ_MAX (64u << 20)     /* bytes; longer was written by no FolioFS */
/* Where the log ends: the transaction that is not whole, and the sectors of the ring from there. */
struct log_end { u64 seq, pos, left; enum why why; }; /* why: of what is there */
/*
 * Replays what is whole. If the log is damaged and cfg.cut_log is not set, cfg.readonly is, before
 * anything is written. suspect: one of the two headers is bad.
 */
int jnl_recover(struct jnl *j, const struct fmt_jnl_head *head, struct jnl_recovery *rec,
		bool suspect, struct log_end *out);

/* ---- beyond.c ---- */
/*
 * Looks at max_nr sectors behind the end. 1: what is missing there was durable once, and *newest
 * is the last transaction that was found behind it. 0: it is an ordinary end. -errno
 */
int log_look_beyond(struct blk_dev *dev, const struct fmt_geo *geo, u64 epoch,
		    const struct log_end *end, u64 max_nr, u64 *newest);

/* ---- thread.c ---- */
int jnl_thread_start(struct jnl *j);
void jnl_thread_stop(struct jnl *j);
/* j->lock held: wakes the thread if a checkpoint is due. */
void jnl_thread_look(struct jnl *j);

#endif
