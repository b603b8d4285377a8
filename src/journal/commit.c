/*
 * Transactions and group commit.
 *
 * 1. The running transaction is a set of changed buffers (with the chunks that changed), revokes
 *    and freed ranges; its
 *    bytes are taken from the published buffers when it is closed, so a buffer
 *    changed a thousand times is logged once.
 * 2. A transaction is closed under RANK_META shared: no handle is half published then. Commit never
 *    waits for an open handle, and handles only for the copying.
 * 3. One transaction is under way at a time; its one write is followed by one flush, and only
 *    then is it
 *    durable. Who waits for it while another commits joins the next one.
 * 4. A commit that fails ends all change: jnl_fail() makes the file system read-only. One for
 *    which there is no memory has not begun: the transaction runs on, and who asked is told.
 * 5. Where the host has no room for the log (a sparse image, or one that shares blocks) nothing
 *    is lost: the closed transaction waits in j->closed, each later commit writes it first.
 */
#include "base/log.h"
#include "base/time.h"
#include "journal/jnl_priv.h"
#include "stat/stat.h"

#include <stdlib.h>

/* For I/O of others to end, which nobody announces. */
#define ANY_WAIT_MS 5u
#define RETRY_MS 1000u         /* the thread, after a commit that had no memory or no room */

enum jnl_omit jnl_omitted;

void jnl_omit(enum jnl_omit what)
{
	jnl_omitted = what;
}

struct txn *txn_new(u64 seq)
{
	struct txn *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->seq = seq;
	TAILQ_INIT(&t->bufs);
	STAILQ_INIT(&t->revokes);
	STAILQ_INIT(&t->busy);
	return t;
}

void txn_free(struct txn *t)
{
	struct revoke *r;

	if (!t)
		return;
	while ((r = STAILQ_FIRST(&t->revokes))) {
		STAILQ_REMOVE_HEAD(&t->revokes, link);
		free(r);
	}
	free(t);
}

void txn_open(struct jnl *j)
{
	if (j->running->opened_ns)
		return;
	j->running->opened_ns = now_ns();
	if (j->thread_idle)
		cond_signal(&j->wake);
}

void txn_touch(struct jnl *j, struct jnl_buf *b, u64 log_bytes)
{
	struct txn *t = j->running;

	b->newest_seq = t->seq;
	b->summed = false;
	if (b->kind == FMT_KIND_DATA)
		j->data_seq = t->seq;
	if (!b->running) {
		b->running = true;
		TAILQ_INSERT_TAIL(&t->bufs, b, run_link);
	}
	t->bytes += log_bytes - b->log_bytes;
	b->log_bytes = log_bytes;
	if (!b->dirty) {
		b->dirty = true;
		b->first_seq = t->seq;
		TAILQ_INSERT_TAIL(&j->dirty, b, dirty_link);
	}
}

/* ---- commit ---- */

/* True if this was the first one. */
static bool note_error(struct jnl *j, int error)
{
	bool first;

	mutex_lock(&j->lock);
	first = !j->error;
	if (first)
		__atomic_store_n(&j->error, error, __ATOMIC_RELEASE);
	cond_broadcast(&j->cond);
	mutex_unlock(&j->lock);
	return first;
}

void jnl_shutdown(struct jnl *j)
{
	note_error(j, -EIO);
}

void jnl_fail(struct jnl *j, int error, const char *what)
{
	if (!note_error(j, error))
		return;
	log_err("journal: %s failed: %s: the file system is read-only now", what, err_text(error));
	if (j->cfg.on_readonly)
		j->cfg.on_readonly(j->cfg.host, error);
}

/* Close the running transaction: its image is built and its place in the ring is taken. */
static int txn_close(struct jnl *j, struct closed *c)
{
	struct live *live = malloc(sizeof(*live));
	struct txn *next;

	rwlock_rdlock(&j->meta);
	mutex_lock(&j->lock);
	next = txn_new(j->running->seq + 1);
	if (!live || !next) {
		mutex_unlock(&j->lock);
		rwlock_unlock(&j->meta);
		free(live);
		txn_free(next);
		return -ENOMEM;
	}
	c->txn = j->running;
	c->nr = image_build(j, c->txn);
	c->pos = j->head;
	c->given_up = c->txn->given_up;
	ASSERT(j->used + c->nr < j->ring_nr);
	*live = (struct live){ .seq = c->txn->seq, .pos = c->pos, .len = c->nr };
	TAILQ_INSERT_TAIL(&j->live, live, link);
	j->head = (j->head + c->nr) % j->ring_nr;
	j->used += c->nr;
	j->running = next;
	jnl_thread_look(j);
	mutex_unlock(&j->lock);
	rwlock_unlock(&j->meta);
	return 0;
}

static int txn_write(struct jnl *j, const struct closed *c)
{
	bool keep = jnl_omitted != JNL_OMIT_COMMIT_FLUSH, alone = keep && blk_goes_alone(j->dev);
	u64 failures = blk_flush_failures(j->dev);
	int r = jnl_log_write(j, c->pos, j->image, c->nr, alone);

	if (!r && keep && !alone)
		r = blk_flush_since(j->dev, failures);
	return r;
}

/* It is tried again; the message comes once. */
static void commit_later(struct jnl *j, int error)
{
	bool first;

	mutex_lock(&j->lock);
	first = !j->commit_retry_ns;
	j->commit_retry_ns = now_ns() + RETRY_MS * NS_PER_MS;
	mutex_unlock(&j->lock);
	if (first)
		log_err("journal: the log can't be written: %s; changes stay in memory, "
			"tried again", err_text(error));
}

static void txn_durable(struct jnl *j, struct closed *c)
{
	mutex_lock(&j->lock);
	j->durable = c->txn->seq;
	c->given_up = 0;
	j->commit_retry_ns = 0;
	intents_settle(j);
	if (j->checkpointing && jnl_omitted != JNL_OMIT_BUSY_SNAP)
		STAILQ_CONCAT(&j->busy_snap, &c->txn->busy);
	else
		busy_release(j, &c->txn->busy);
	mutex_unlock(&j->lock);
}

/* What a failed transaction freed stays busy for good: nothing may be written there. */
static void txn_finish(struct jnl *j, struct closed *c, int error)
{
	if (error) {
		mutex_lock(&j->lock);
		STAILQ_CONCAT(&j->busy_failed, &c->txn->busy);
		mutex_unlock(&j->lock);
	}
	txn_free(c->txn);
	c->txn = NULL;
}

/* j->committing is ours. */
static int commit_once(struct jnl *j)
{
	struct closed *c = &j->closed;
	u64 start = now_ns();
	int r = c->txn ? 0 : txn_close(j, c);

	if (!r)
		r = txn_write(j, c);
	if (jnl_is_passing(r)) {
		commit_later(j, r);
		return r;
	}
	if (r)
		jnl_fail(j, r, "writing the log");
	else
		txn_durable(j, c);
	txn_finish(j, c, r);
	stat_inc(STAT_COMMITS);
	stat_time(HIST_COMMIT, now_ns() - start);
	return r;
}

u64 jnl_newest_seq(struct jnl *j)
{
	u64 seq;

	mutex_lock(&j->lock);
	seq = j->running->opened_ns ? j->running->seq : j->running->seq - 1;
	mutex_unlock(&j->lock);
	return seq;
}

u64 jnl_durable_seq(struct jnl *j)
{
	u64 seq;

	mutex_lock(&j->lock);
	seq = j->durable;
	mutex_unlock(&j->lock);
	return seq;
}

int jnl_commit(struct jnl *j, u64 seq)
{
	int r = 0;

	lock_assert_may_io();
	mutex_lock(&j->lock);
	if (j->durable >= seq) {
		mutex_unlock(&j->lock);
		return 0;
	}
	mutex_unlock(&j->lock);
	/* Before the commit is ours: others wait for it. */
	blk_write_begin(j->dev);
	mutex_lock(&j->lock);
	ASSERT(seq <= j->running->seq);
	while (!r && j->durable < seq) {
		if (j->error) {
			r = j->error;
		} else if (j->committing) {
			stat_inc(STAT_COMMIT_JOINS);
			cond_wait(&j->cond, &j->lock);
		} else if (!j->closed.txn && !j->running->opened_ns) {
			break;          /* nothing was published into it */
		} else {
			j->committing = true;
			mutex_unlock(&j->lock);
			r = commit_once(j);
			mutex_lock(&j->lock);
			j->committing = false;
			cond_broadcast(&j->cond);
		}
	}
	mutex_unlock(&j->lock);
	blk_write_end(j->dev);
	return r;
}

int jnl_commit_running(struct jnl *j)
{
	return jnl_commit(j, jnl_newest_seq(j));
}

int jnl_commit_any(struct jnl *j)
{
	bool open;

	mutex_lock(&j->lock);
	open = j->running->opened_ns;
	if (!open && !j->error)
		cond_timedwait_ms(&j->cond, &j->lock, ANY_WAIT_MS);
	mutex_unlock(&j->lock);
	return open ? jnl_commit_running(j) : jnl_error(j);
}

int jnl_error(struct jnl *j)
{
	return __atomic_load_n(&j->error, __ATOMIC_ACQUIRE);
}

int jnl_commit_freed(struct jnl *j)
{
	int r = jnl_commit(j, jnl_newest_seq(j));

	mutex_lock(&j->lock);
	while (j->checkpointing && !STAILQ_EMPTY(&j->busy_snap))
		cond_wait(&j->cond, &j->lock);
	mutex_unlock(&j->lock);
	return r;
}

bool jnl_has_busy(struct jnl *j)
{
	return __atomic_load_n(&j->nr_busy, __ATOMIC_RELAXED) > 0;
}
