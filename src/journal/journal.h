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
 * Pointers that views return are valid until the body returns.
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
/* A private writable copy, published at the end of the handle. Only in jnl_run. */
int view_edit(struct view *v, u64 addr, enum fmt_kind kind, void **out);
/*
 * The same for a body that tells what it changes, so that nothing else need be compared: whatever
 * it changes at *out, it names with view_touch(), before or after. Builds with slow_asserts check
 * that nothing was left out. Mixed with view_edit() of the same buffer, all of it is compared.
 */
int view_edit_part(struct view *v, u64 addr, enum fmt_kind kind, void **out);
void view_touch(struct view *v, const void *buf, u32 off, u32 len);
/* A buffer with new contents: zeroed but for its header (fmt_hdr_init). Nothing is read. */
int view_new(struct view *v, u64 addr, enum fmt_kind kind, u64 owner, void **out);
/* The buffer at addr is metadata no more: revoked in the log, dropped from the cache at publish.
 * Its space must be freed separately (view_busy). Contents must not be asked for again in this
 * run. */
void view_forget(struct view *v, u64 addr, enum fmt_kind kind);
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
/*
 * credits: the most buffers that the body may edit or create. JNL_CREDITS_MAX at most; a body that
 * needs more must be split. *seq (may be NULL) gets the transaction the changes went into; it is
 * left alone when nothing was changed.
 */
#define JNL_CREDITS_MAX 96u
int jnl_run(struct jnl *j, unsigned credits, jnl_body body, void *arg, u64 *seq);

/* ---- life ---- */

struct jnl_config {
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	void *host;
	bool readonly;       /* no writes: a dirty log is replayed into memory only */
	/* run the commit thread; else commits happen only when asked for (tests) */
	bool threads;
	unsigned commit_ms;  /* how old a change may get before it is committed; 0 = 5000 */
	/* Called by the commit thread before a periodic commit, no locks held: the file system
	 * completes finished writes and stores changed inodes. */
	void (*pre_commit)(void *host);
	/* a commit failed: file system is read-only now */
	void (*on_readonly)(void *host, int error);
};

struct jnl_recovery { u64 transactions, records, buffers, revoked; bool was_clean; };

/* Recovers if needed, starts a new epoch (rw), ready for runs. The cache must be initialised. */
int jnl_open(const struct jnl_config *cfg, struct jnl **out, struct jnl_recovery *rec);
/* Commit, checkpoint everything, mark clean. Errors are returned after everything was tried; the
 * journal is gone in any case. crash=true: drop everything as a power cut would (tests). */
int jnl_close(struct jnl *j, bool crash);

/* Make transaction seq (and all before) durable; joins a commit that is under way. When it is
 * durable already: no I/O. 0 or the error that made the journal read-only. */
int jnl_commit(struct jnl *j, u64 seq);
u64 jnl_newest_seq(struct jnl *j);      /* newest transaction with a published change */
u64 jnl_durable_seq(struct jnl *j);
/* commit, write every changed buffer in place, move the tail */
int jnl_checkpoint_all(struct jnl *j);
/* from cache want_checkpoint: ask the thread, never blocks */
void jnl_kick_checkpoint(struct jnl *j);
int jnl_error(struct jnl *j);           /* 0, or why the file system is read-only */
struct mapping *jnl_mapping(struct jnl *j); /* the metadata mapping (stats) */

/* Fills a fresh device's log headers (mkfs). */
int jnl_format(struct blk_dev *dev, const struct fmt_geo *geo);

/* Mutation knobs for the crash simulator's own tests: leave out one rule and see it caught. */
enum jnl_omit { JNL_OMIT_NONE, JNL_OMIT_COMMIT_FLUSH, JNL_OMIT_BUSY, JNL_OMIT_REVOKE,
	JNL_OMIT_WHOLE };
void jnl_omit(enum jnl_omit what);

#endif
