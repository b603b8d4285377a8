/*
 * journal: metadata buffers, views and handles, group commit, checkpoint, recovery.
 *
 * All metadata of the file system lies in buffers (4 KiB or 16 KiB, each with a fmt_hdr) that are
 * cached as folios in one metadata mapping, indexed by disk sector. It is read and changed only by
 * bodies:
 *
 *	static int my_body(struct view *v, void *arg) { ... }
 *	r = jnl_read(j, my_body, arg);                  shared, sees published state only
 *	r = jnl_run(j, credits, my_body, arg, &seq);    a handle: all or nothing
 *
 * A body may be run several times before one run counts: when a buffer is not in memory,
 * view_get() and its sisters return -EAGAIN, which the body must return at once. The runner then
 * lets go of every lock and private copy, loads the buffer (it stays in memory until the run ends)
 * and runs the body again. So a body has no side effects other than through its view and its own
 * arg, which it sets up anew at its start. Any other error ends the run, and nothing has happened.
 * On 0 a handle publishes: all its changes become visible together, in memory at once and on the
 * disk with the transaction `seq`, which jnl_commit(j, seq) makes durable.
 *
 * Locks: a body runs under RANK_META (shared for jnl_read) or RANK_HANDLE (jnl_run); it must not
 * block, do I/O, take a lock that ranks before them, or start another run. Callers hold no lock of
 * those ranks; inode locks are fine. Handles never wait for a commit while they run; room in the
 * log and in the cache is made before the body starts.
 * Pointers that views return are valid until the body returns; what they show changes with what the
 * same body changes. From its first change on a handle holds RANK_META exclusively.
 * Errors: -EROFS after a failed commit or on a read-only mount, -EUCLEAN/-EBADMSG for damaged
 * buffers, -EIO from the device, -ENOMEM.
 */
#ifndef FOLIOFS_JOURNAL_JOURNAL_H
#define FOLIOFS_JOURNAL_JOURNAL_H

#include "base/types.h"
#include "blk/blk.h"
#include "cache/cache.h"
#include "format/format.h"

struct jnl;
struct view;
typedef int (*jnl_body)(struct view *v, void *arg);

/* ---- views ---- */

/* Const contents of the buffer at addr; sees the handle's own changes. -EAGAIN, -EUCLEAN. */
int view_get(struct view *v, u64 addr, enum fmt_kind kind, const void **out);
/* The same to be changed in place; published at the end of the handle, or undone. In jnl_run. */
int view_edit(struct view *v, u64 addr, enum fmt_kind kind, void **out);
/*
 * The same for a body that tells what it is about to change, so that nothing else need be saved and
 * compared: whatever it changes at *out, it names with view_touch() before. Builds with
 * slow_asserts check that nothing was left out. May be mixed with view_edit() of the same buffer.
 */
int view_edit_part(struct view *v, u64 addr, enum fmt_kind kind, void **out);
void view_touch(struct view *v, const void *buf, u32 off, u32 len);
/* A buffer with new contents: zeroed but for its header (fmt_hdr_init). Nothing is read. */
int view_new(struct view *v, u64 addr, enum fmt_kind kind, u64 owner, void **out);
/* The buffer at addr is metadata no more: revoked in the log, dropped from the cache at publish.
 * Its space must be freed separately (view_busy). Contents must not be asked for again in this
 * run. */
void view_forget(struct view *v, u64 addr, enum fmt_kind kind);
/* ---- file data in the log ---- */

/*
 * The contents of a sector of file data (SECTOR_SIZE bytes) join the transaction, as a buffer that
 * counts as a credit. Until a checkpoint has brought the newest version to its place, readers must
 * ask jnl_data_read() first, and nobody may write to the place.
 */
int view_data(struct view *v, u64 sector, const void *data);
/* The sectors lose what they held (freed, or unwritten from now on): versions in the log are
 * void. */
void view_forget_data(struct view *v, u64 sector, u32 nr);
/* 1: the newest version is in the log, copied to buf. 0: it is in its place. Never blocks long. */
int jnl_data_read(struct jnl *j, u64 sector, void *buf);
/* Is the newest version of one of these sectors in the log? */
bool jnl_data_logged(struct jnl *j, u64 sector, u32 nr);
/* Could a recovery bring back a version of some sector that was logged once? */
bool jnl_data_in_log(struct jnl *j);
/* Checkpoints until none of the sectors is logged. I/O. */
int jnl_data_settle(struct jnl *j, u64 sector, u32 nr);

/* ---- intents ---- */

/*
 * An intent announces overwrites in place of sectors whose map entry is a checksum. It is made
 * durable before the first write, carries the new entries, and stays in the log until all of its
 * sectors were closed: by handles that set their entries, after a flush that began after the
 * writes. Recovery accepts of an open intent's sector the old checksum and the new one.
 *
 *	jnl_intent_new()  jnl_intent_add()...  jnl_intent_open()  jnl_commit(seq)  write, flush,
 *	handle: entries and view_intent_close()
 *
 * An intent that was opened belongs to the journal; the pointer is good until its last sector is
 * closed. Sectors must not be logged (view_data) when the intent is opened.
 */
struct jnl_intent;
#define JNL_INTENT_SECTORS 32768u        /* of open intents, all together: what recovery reads */
struct jnl_intent *jnl_intent_new(struct jnl *j);              /* NULL: no memory */
/* 0; -ENOSPC: it is full, take another one; -ENOMEM. Ranges lie in the space of one group. */
int jnl_intent_add(struct jnl_intent *in, u64 sector, u32 nr, const u32 *entries);
/*
 * Logs it: 0 and the transaction. -EBUSY: too much is open already; complete what is finished and
 * try again.
 */
int jnl_intent_open(struct jnl_intent *in, u64 *seq);
/* One that was never opened. NULL is allowed. */
void jnl_intent_free(struct jnl_intent *in);
/* In a body, once for each intent: nr sectors of it are closed with this run. -ENOMEM */
struct jnl_intent_close { struct jnl_intent *intent; u32 nr; };
int view_intent_close(struct view *v, struct jnl_intent_close *close);
/* The same outside, for sectors whose contents count no more (published before). */
void jnl_intent_drop(struct jnl_intent *in, u32 nr);

/* Sectors freed by this handle: busy until its transaction is durable. -ENOMEM. */
int view_busy(struct view *v, u64 sector, u64 nr);
/* The first busy range (published, or of this view) that overlaps [sector, end): true and its
 * bounds. Allocators must not hand out busy sectors. */
bool view_next_busy(struct view *v, u64 sector, u64 end, u64 *busy_start, u64 *busy_end);
/* Is anything busy at all? Then -ENOSPC may go away after jnl_commit of the newest transaction. */
bool jnl_has_busy(struct jnl *j);
/* Commits, and waits for a checkpoint under way that holds freed space back: then what had been
 * freed before the call is busy no more. May do I/O, as jnl_commit(). */
int jnl_commit_freed(struct jnl *j);
/* Called under the publish lock when this run is published, in order of registration; must not
 * block or fail. For in-memory state that has to change with the metadata. -ENOMEM. */
int view_on_publish(struct view *v, void (*fn)(void *arg, u64 seq), void *arg);
const struct fmt_geo *view_geo(struct view *v);
bool view_writable(struct view *v);
/* Differs for every run of every body, also when the same body is run again: lets a layer that
 * keeps
 * scratch data for a handle (they are serialised) see that it belongs to a run that came to
 * nothing. */
u64 view_run(struct view *v);
/* The owner's pointer given to jnl_open (struct fs). */
void *view_host(struct view *v);

/* ---- runs ---- */

int jnl_read(struct jnl *j, jnl_body body, void *arg);
/* A published buffer, copied: to has room for one of its kind. */
int jnl_copy(struct jnl *j, u64 addr, enum fmt_kind kind, void *to);
/*
 * credits: the most buffers that the body may edit or create. JNL_CREDITS_MAX at most; a body that
 * needs more must be split. *seq (may be NULL) gets the transaction the changes went into; it is
 * left alone when nothing was changed.
 */
#define JNL_CREDITS_MAX 128u
int jnl_run(struct jnl *j, unsigned credits, jnl_body body, void *arg, u64 *seq);

/* ---- life ---- */

struct jnl_config {
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	void *host;
	bool readonly;       /* no writes: a dirty log is replayed into memory only */
	/*
	 * A log that is damaged in the middle is cut there without a word: for who has looked with
	 * jnl_look_beyond(), and repairs what comes of it. Else nothing is written to such a file
	 * system: the journal is read-only, and says so (jnl_recovery.lost_first). What the log
	 * can't mend is left as it is, and does not end recovery.
	 */
	bool cut_log;
	/* run the commit thread; else commits happen only when asked for (tests) */
	bool threads;
	unsigned commit_ms;  /* how old a change may get before it is committed; 0 = 5000 */
	/* Called by the commit thread before a periodic commit, no locks held: the file system
	 * completes finished writes and stores changed inodes. */
	void (*pre_commit)(void *host);
	/* metadata could not be kept: the file system is read-only now */
	void (*on_readonly)(void *host, int error);
};

/* What a recovery holds in memory at most, in sizes of the log. */
#define JNL_RECOVERY_RINGS 8u
#define JNL_TORN_MAX 16u
struct jnl_recovery {
	u64 transactions, records, buffers, revoked;
	/* sectors of open intents: overwritten, not yet overwritten, in between; the last have a
	 * new checksum, so that they can be read */
	u64 recovered_new, recovered_old, torn;
	u64 torn_sector[JNL_TORN_MAX];  /* the first of them, on the disk */
	/* the log is damaged: the first transaction that is lost (0: none), and the last known */
	u64 lost_first, lost_newest;
	bool was_clean;
};

/* Recovers if needed, starts a new epoch (rw), ready for runs. The cache must be initialised. */
int jnl_open(const struct jnl_config *cfg, struct jnl **out, struct jnl_recovery *rec);
/* Commit, checkpoint everything, mark clean. Errors are returned after everything was tried; the
 * journal is gone in any case. crash=true: drop everything as a power cut would (tests). */
int jnl_close(struct jnl *j, bool crash);

/* Ends the commit thread: commits happen only when asked for from now on. pre_commit is not called
 * any more when this returns. */
void jnl_stop(struct jnl *j);

/* Make transaction seq (and all before) durable; joins a commit that is under way. When it is
 * durable already: no I/O. 0 or the error that made the journal read-only. */
int jnl_commit(struct jnl *j, u64 seq);
/* It will be asked for: the commit thread begins now, if it is not at work. Does not block. */
void jnl_commit_soon(struct jnl *j, u64 seq);
/* Commits what there is; if there is nothing waits for a commit of others, a moment at most. */
int jnl_commit_any(struct jnl *j);
u64 jnl_newest_seq(struct jnl *j);      /* newest transaction with a published change */
u64 jnl_durable_seq(struct jnl *j);
/* commit, write every changed buffer in place, move the tail */
int jnl_checkpoint_all(struct jnl *j);
/* from cache want_checkpoint: ask the thread, never blocks */
void jnl_kick_checkpoint(struct jnl *j);
/* Nothing is committed any more, as after a failed commit; without its message. */
void jnl_shutdown(struct jnl *j);
int jnl_error(struct jnl *j);           /* 0, or why the file system is read-only */
/* Is there a newer content of the buffer at addr than the disk has in its place? */
bool jnl_is_changed(struct jnl *j, u64 addr);
struct mapping *jnl_mapping(struct jnl *j); /* the metadata mapping (stats) */

/* The first transaction that is damaged, the last one known behind it; where the first begins. */
struct jnl_lost { u64 first, newest, sector; };
/* Was the log longer once than what is whole of it? Looks at all of it. 1, 0, -errno. */
int jnl_look_beyond(struct blk_dev *dev, const struct fmt_geo *geo,
		    const struct fmt_jnl_head *head, struct jnl_lost *out);

/* Fills a fresh device's log headers (mkfs). */
int jnl_format(struct blk_dev *dev, const struct fmt_geo *geo);

/* Mutation knobs for the crash simulator's own tests: leave out one rule and see it caught. */
enum jnl_omit { JNL_OMIT_NONE, JNL_OMIT_COMMIT_FLUSH, JNL_OMIT_BUSY, JNL_OMIT_REVOKE,
	JNL_OMIT_WHOLE /* of what a new buffer holds */,
	JNL_OMIT_SUM /* of what a checkpoint is about to write */,
	JNL_OMIT_INTENT /* announced and not logged */,
	JNL_OMIT_CHECKPOINT_COMMIT /* what it writes is committed only afterwards */,
	JNL_OMIT_TAIL /* space of the ring is used again before the new tail is durable */,
	JNL_OMIT_CHECKPOINT_FLUSH /* before the tail moves */,
	JNL_OMIT_CARRY /* the tail moves past open intents */,
	JNL_OMIT_BUSY_SNAP /* freed space waits for its commit only, not for a checkpoint */,
	/* and of recovery: */
	JNL_OMIT_VOID /* older data of an intent's sectors is replayed */,
	JNL_OMIT_OLD_SUM /* of an intent's sectors only the new checksum is accepted */,
	JNL_OMIT_RECOVERING /* the header does not say that it writes in place */ };
void jnl_omit(enum jnl_omit what);
/*
 * For the same tests: a batch of a checkpoint takes so few buffers at most (0: what fits), and so
 * the tail may come to lie anywhere in a small log, too.
 */
void jnl_batch_max(unsigned nr);

#endif
