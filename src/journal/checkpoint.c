/*
 * Checkpoint: changed buffers go to their place, and the tail of the log moves.
 *
 * 1. What is written is a copy, taken while no handle is half published. It is written only after
 *    the newest transaction in it is durable.
 * 2. The log holds every byte that differs between the last good version in place and the copy
 *    (the tail covers both), so a torn write is mended by replaying over what it left, whatever
 *    sectors of old and new that is. That nothing else is wrong with it shows the sum of the
 *    buffer at the end of the transaction in which the copy was taken, which that one carries. One
 *    that was not changed since (its write failed) has its sum in the log already.
 * 3. The tail moves only after the writes in place are flushed, once for all batches, and ring
 *    space before it is used again only after the header that says so is flushed.
 * 4. Buffers leave in order of the oldest transaction they need, so every batch moves the tail.
 * 5. An open intent that would hold the tail back is logged again, in room that was kept for it.
 * 6. A sector of file data that can't be written, and a buffer for which the host has no room (a
 *    new node in a hole of a sparse image), is logged again if there is room, so that it does not
 *    hold the tail; that is no reason to stop changes: what needs room gets the error.
 * 7. Sectors of file data are buffers like others, but for the checksum in a header; they leave
 *    the metadata cache with their copy: they are read from their place from then on.
 * 8. What was given up before it came to its place is in the log, and nowhere else, for a crash
 *    that finds it there again: the tail does not pass it before the transaction that gave it up
 *    is durable (txn.given_up). A checkpoint makes that so first.
 */
#include "base/log.h"
#include "base/time.h"
#include "journal/jnl_priv.h"
#include "stat/stat.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MS 1000u         /* after something that could not be written */

static unsigned batch_max = SNAP_NR;

void jnl_batch_max(unsigned nr)
{
	batch_max = nr ? MIN(nr, SNAP_NR) : SNAP_NR;
}

struct snap {
	struct jnl_bufs bufs;          /* by snap_link */
	unsigned nr;
	u64 bytes;                     /* written in this round */
	u64 newest;                    /* transaction that must be durable first */
	unsigned nr_sums;              /* of buffers that the running transaction gets */
	bool no_sums;                  /* the log has no room for more of them */
	int kept_error;                /* rule 6: some are not in their place */
	struct blk_io *io;
	struct iovec *iov;
	struct blk_io *sent;           /* neighbours in one request each */
	unsigned nr_sent;
	struct iovec *sent_iov;
	bool written;                  /* something since the last flush */
};

/* ---- taking the copies ---- */

static void snap_take(struct jnl *j, struct snap *s, struct jnl_buf *b, u64 at)
{
	u8 *copy = j->snap + at;

	memcpy(copy, folio_data(b->folio), b->len);
	s->iov[s->nr] = (struct iovec){ copy, b->len };
	s->io[s->nr] = (struct blk_io){ .op = BLK_WRITE, .sector = b->addr,
		.kind = b->kind == FMT_KIND_DATA ? BLK_DATA : BLK_META,
		.nr = b->len / SECTOR_SIZE, .iov = &s->iov[s->nr], .nr_iov = 1 };
	s->nr++;
	b->snap_seq = b->newest_seq;
	s->newest = MAX(s->newest, b->newest_seq);
	if (!j->snap_first)
		j->snap_first = b->first_seq;
	TAILQ_REMOVE(&j->dirty, b, dirty_link);
	TAILQ_INSERT_TAIL(&s->bufs, b, snap_link);
	b->dirty = false;
	b->snapped = true;
}

/* Rule 2. */
static bool needs_sum(const struct jnl_buf *b)
{
	return b->kind != FMT_KIND_DATA && !b->summed;
}

/* The running transaction will have the sums, and must be durable. */
static void snap_ask_sums(struct jnl *j, struct snap *s)
{
	struct txn *t = j->running;

	t->bytes += s->nr_sums * sizeof(struct fmt_rec);
	txn_open(j);
	s->newest = t->seq;
	j->unsummed = &s->bufs;
}

/* Its batch may end where the log has no more room for sums. */
static void snap_begin(struct jnl *j, struct snap *s)
{
	struct jnl_buf *b;
	u64 at = 0, most;

	s->nr = s->nr_sums = 0;
	s->newest = 0;
	TAILQ_INIT(&s->bufs);
	rwlock_rdlock(&j->meta);
	mutex_lock(&j->lock);
	j->snap_first = 0;
	most = jnl_log_sums(j);
	while ((b = TAILQ_FIRST(&j->dirty)) && s->nr < batch_max && at + b->len <= SNAP_BYTES) {
		s->no_sums = needs_sum(b) && s->nr_sums == most;
		if (s->no_sums)
			break;
		b->wants_sum = needs_sum(b);
		s->nr_sums += b->wants_sum;
		snap_take(j, s, b, at);
		at += b->len;
	}
	if (s->nr_sums)
		snap_ask_sums(j, s);
	mutex_unlock(&j->lock);
	rwlock_unlock(&j->meta);
	s->bytes += at;
}

/* ---- writing them ---- */

static int by_sector(const void *a, const void *b)
{
	const struct blk_io *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

static void snap_io_done(struct blk_io *io)
{
	(void)io;                      /* the batch keeps the error */
}

/* Sorted copies of one kind that follow each other on the disk become one request. */
static void snap_merge(struct snap *s)
{
	s->nr_sent = 0;
	for (unsigned i = 0; i < s->nr; i++) {
		struct blk_io *io = &s->io[i], *last = &s->sent[MAX(s->nr_sent, 1u) - 1];

		s->sent_iov[i] = *io->iov;
		if (s->nr_sent && last->kind == io->kind && last->sector + last->nr == io->sector &&
		    last->nr + io->nr <= BLK_MAX_IO_SECTORS) {
			last->nr += io->nr;
			last->nr_iov++;
			continue;
		}
		s->sent[s->nr_sent] = *io;
		s->sent[s->nr_sent].iov = &s->sent_iov[i];
		s->sent[s->nr_sent++].done = snap_io_done;
	}
}

/* Did the request that the copy was in fail? */
static bool was_sent_well(const struct snap *s, const struct blk_io *io)
{
	for (unsigned i = 0; i < s->nr_sent; i++)
		if (io->sector - s->sent[i].sector < s->sent[i].nr)
			return !s->sent[i].res;
	return false;
}

/* Which of a failed batch fail once more. The error that ends it; that of rule 6 is noted. */
static int snap_retry(struct jnl *j, struct snap *s)
{
	int r = 0;

	for (unsigned i = 0; i < s->nr && !r; i++) {
		struct blk_io *io = &s->io[i];

		if (was_sent_well(s, io))
			continue;
		io->res = blk_writev(j->dev, io->sector, io->iov, io->nr_iov, io->kind);
		if (io->res == -ENOSPC || (io->res && io->kind == BLK_DATA))
			s->kept_error = io->res;
		else
			r = io->res;
	}
	return r;
}

static bool snap_failed(const struct snap *s, const struct jnl_buf *b)
{
	for (unsigned i = 0; s->kept_error && i < s->nr; i++)
		if (s->io[i].sector == b->addr)
			return s->io[i].res;
	return false;
}

static int snap_write(struct jnl *j, struct snap *s)
{
	struct blk_batch batch;
	struct jnl_buf *b;
	u64 at = 0;
	int r;

	TAILQ_FOREACH(b, &s->bufs, snap_link) {
		if (b->kind != FMT_KIND_DATA)
			fmt_hdr_seal(j->snap + at, b->len, b->snap_seq);
		at += b->len;
	}
	qsort(s->io, s->nr, sizeof(*s->io), by_sector);
	snap_merge(s);
	s->written = true;
	blk_batch_init(&batch, j->dev);
	for (unsigned i = 0; i < s->nr_sent; i++)
		blk_batch_add(&batch, &s->sent[i]);
	r = blk_batch_fini(&batch);
	return r ? snap_retry(j, s) : 0;
}

/* ---- finishing ---- */

static void snap_done(struct jnl *j, struct jnl_buf *b)
{
	b->snapped = false;
	if (b->forgotten || !b->dirty)
		buf_detach(j, b);
}

/* The writes failed: the log is still the only good copy, so these stay the oldest. */
static void snap_undo(struct jnl *j, struct jnl_buf *b)
{
	b->snapped = false;
	if (b->forgotten) {
		buf_detach(j, b);
		return;
	}
	if (b->dirty)
		TAILQ_REMOVE(&j->dirty, b, dirty_link);
	b->dirty = true;
	b->first_seq = j->snap_first;
	TAILQ_INSERT_HEAD(&j->dirty, b, dirty_link);
}

/*
 * Rule 6: all of it, whatever a handle has changed since, for its place has not even what was
 * before. Until that is durable the tail stays (rule 8).
 */
static void snap_log_again(struct jnl *j, struct jnl_buf *b)
{
	u64 bytes = image_bytes_of(b->kind, true, b->chunk);
	const struct jnl_need more = { .log = bytes - b->log_bytes };
	struct txn *t = j->running;

	if (b->forgotten) {
		snap_done(j, b);
	} else if (jnl_log_has_room(j, &more, false)) {
		b->snapped = false;
		b->whole = true;
		txn_open(j);
		txn_touch(j, b, bytes);
		t->given_up = txn_older(t->given_up, j->snap_first);
	} else {
		snap_undo(j, b);
	}
}

static void snap_end(struct jnl *j, struct snap *s, int error)
{
	struct jnl_buf *b;

	mutex_lock(&j->lock);
	while ((b = TAILQ_FIRST(&s->bufs))) {
		TAILQ_REMOVE(&s->bufs, b, snap_link);
		if (error)
			snap_undo(j, b);
		else if (snap_failed(s, b))
			snap_log_again(j, b);
		else
			snap_done(j, b);
	}
	j->snap_first = 0;
	/* No transaction has taken them. */
	if (j->unsummed)
		j->running->bytes -= s->nr_sums * sizeof(struct fmt_rec);
	j->unsummed = NULL;
	mutex_unlock(&j->lock);
	for (unsigned i = 0; i < s->nr && !error; i++)
		if (s->io[i].kind == BLK_DATA && !s->io[i].res)
			cache_drop_clean(&j->mapping, s->io[i].sector, s->io[i].sector + 1);
	stat_add(STAT_CHECKPOINT_BUFFERS, s->nr);
}

static int snap_alloc(struct jnl *j, struct snap *s)
{
	*s = (struct snap){ .io = calloc(SNAP_NR, sizeof(*s->io)),
		.iov = calloc(SNAP_NR, sizeof(*s->iov)),
		.sent = calloc(SNAP_NR, sizeof(*s->sent)),
		.sent_iov = calloc(SNAP_NR, sizeof(*s->sent_iov)) };
	if (!j->snap)
		j->snap = aligned_alloc(SECTOR_SIZE, SNAP_BYTES);
	return s->io && s->iov && s->sent && s->sent_iov && j->snap ? 0 : -ENOMEM;
}

static void snap_free(struct snap *s)
{
	free(s->io);
	free(s->iov);
	free(s->sent);
	free(s->sent_iov);
}

/* One batch; the checkpoint is ours. */
static int checkpoint_batch(struct jnl *j, struct snap *s)
{
	bool early = jnl_omitted == JNL_OMIT_CHECKPOINT_COMMIT;
	int r;

	snap_begin(j, s);
	if (!s->nr)
		return 0;
	r = early ? snap_write(j, s) : 0;
	if (!r)
		r = jnl_commit(j, s->newest);
	if (!r && !early)
		r = snap_write(j, s);
	snap_end(j, s, r);
	return r;
}

/* ---- the tail ---- */

/* j->lock held. Rule 8: the oldest transaction that is needed; 0 = none. */
static u64 first_given_up(const struct jnl *j)
{
	return txn_older(j->running->given_up, j->closed.given_up);
}

/* j->lock held: the oldest transaction that a changed buffer needs, or did. */
static u64 tail_of_buffers(const struct jnl *j)
{
	const struct jnl_buf *b = TAILQ_FIRST(&j->dirty);
	u64 seq = txn_older(j->snap_first, b ? b->first_seq : j->running->seq);

	return txn_older(first_given_up(j), seq);
}

/*
 * j->lock held: the oldest transaction anything needs, and how much of the ring is before it.
 * Intents may be left out where they can be carried on.
 */
static u64 tail_find(struct jnl *j, bool intents, u64 *freed)
{
	u64 seq = tail_of_buffers(j);
	struct live *l;

	if (intents)
		seq = MIN(seq, intents_first_seq(j));
	*freed = 0;
	TAILQ_FOREACH(l, &j->live, link) {
		if (l->seq >= seq)
			break;
		*freed += l->len;
	}
	j->tail_pos = l ? l->pos : j->head;
	j->tail_seq = l ? l->seq : j->running->seq;
	return seq;
}

static void tail_drop(struct jnl *j, u64 seq)
{
	struct live *l;

	while ((l = TAILQ_FIRST(&j->live)) && l->seq < seq) {
		TAILQ_REMOVE(&j->live, l, link);
		j->used -= l->len;
		free(l);
	}
}

static int tail_move(struct jnl *j)
{
	u64 freed, seq;
	int r;

	mutex_lock(&j->lock);
	seq = tail_find(j, jnl_omitted != JNL_OMIT_CARRY, &freed);
	mutex_unlock(&j->lock);
	if (!freed)
		return 0;
	r = jnl_omitted == JNL_OMIT_TAIL ? 0 : jnl_log_write_head(j, LOG_OPEN);
	if (r)
		return r;
	mutex_lock(&j->lock);
	tail_drop(j, seq);
	mutex_unlock(&j->lock);
	return 0;
}

/* ---- a round ---- */

/* Take the one checkpoint; false when somebody else's was waited for instead. */
static bool checkpoint_enter(struct jnl *j)
{
	bool ours;

	mutex_lock(&j->lock);
	ours = !j->checkpointing;
	while (j->checkpointing && !ours)
		cond_wait(&j->cond, &j->lock);
	if (ours)
		j->checkpointing = true;
	mutex_unlock(&j->lock);
	return ours;
}

static void checkpoint_leave(struct jnl *j)
{
	mutex_lock(&j->lock);
	j->checkpointing = false;
	busy_release(j, &j->busy_snap);
	cond_broadcast(&j->cond);
	mutex_unlock(&j->lock);
}

static bool checkpoint_enough(struct jnl *j, u64 max_used, u64 max_dirty)
{
	u64 freed;
	bool enough;

	mutex_lock(&j->lock);
	tail_find(j, false, &freed);
	enough = TAILQ_EMPTY(&j->dirty) ||
		 (j->used - freed <= max_used && j->dirty_bytes <= max_dirty);
	mutex_unlock(&j->lock);
	return enough;
}

/* Rule 5. */
static int carry_intents(struct jnl *j)
{
	u64 seq;

	mutex_lock(&j->lock);
	seq = tail_of_buffers(j);
	mutex_unlock(&j->lock);
	return jnl_omitted == JNL_OMIT_CARRY ? 0 : intents_carry(j, seq);
}

/* Rule 8. */
static int commit_given_up(struct jnl *j)
{
	bool any;

	mutex_lock(&j->lock);
	any = first_given_up(j);
	mutex_unlock(&j->lock);
	return any ? jnl_commit_running(j) : 0;
}

static int checkpoint_rounds(struct jnl *j, struct snap *s, u64 max_used, u64 max_dirty)
{
	u64 failures = blk_flush_failures(j->dev);
	int r = commit_given_up(j), flushed;

	/* Not more than recovery has memory for: who needs more room comes again. */
	while (!r && !s->kept_error && !s->no_sums && s->bytes < j->ring_nr * SECTOR_SIZE &&
	       !checkpoint_enough(j, max_used, max_dirty))
		r = checkpoint_batch(j, s);
	/* Also when it ended early: earlier batches count as written when the tail moves next. */
	if (s->written && (!r || jnl_is_passing(r)) && jnl_omitted != JNL_OMIT_CHECKPOINT_FLUSH) {
		flushed = blk_flush_since(j->dev, failures);
		r = flushed ? flushed : r;
	}
	/* What was logged again must be durable there before the tail goes. */
	if (!r && s->kept_error)
		r = jnl_commit_running(j);
	if (!r)
		r = carry_intents(j);
	if (!r)
		r = tail_move(j);
	return !r && s->no_sums && !s->bytes ? -ENOSPC : r;
}

/* What could not be written to its place stays in the log and is tried again. */
static int note_kept(struct jnl *j, int error)
{
	bool first;

	mutex_lock(&j->lock);
	first = error && !j->retry_ns;
	j->retry_ns = error ? now_ns() + RETRY_MS * NS_PER_MS : 0;
	mutex_unlock(&j->lock);
	if (first)
		log_err("journal: a checkpoint can't write everything to its place: %s; it stays "
			"in the log, tried again", err_text(error));
	return error;
}

int checkpoint_to(struct jnl *j, u64 max_used, u64 max_dirty)
{
	u64 start = now_ns();
	struct snap s;
	int r;

	lock_assert_may_io();
	if (jnl_error(j))
		return jnl_error(j);
	/* Before the checkpoint is ours: others wait for it. */
	blk_write_begin(j->dev);
	if (!checkpoint_enter(j)) {
		blk_write_end(j->dev);
		return 0;
	}
	r = snap_alloc(j, &s);
	if (!r) {
		r = checkpoint_rounds(j, &s, max_used, max_dirty);
		if (r && !jnl_is_passing(r))
			jnl_fail(j, r, "a checkpoint");
		else if (r != -ENOMEM)
			r = note_kept(j, r ? r : s.kept_error);
	}
	snap_free(&s);
	checkpoint_leave(j);
	blk_write_end(j->dev);
	stat_inc(STAT_CHECKPOINTS);
	stat_time(HIST_CHECKPOINT, now_ns() - start);
	return r;
}

int jnl_checkpoint_all(struct jnl *j)
{
	bool done = false;
	int r = 0;

	for (unsigned round = 0; !r && !done; round++) {
		if (jnl_omitted != JNL_OMIT_CHECKPOINT_COMMIT || round > 0)
			r = jnl_commit_running(j);
		if (!r)
			r = checkpoint_to(j, 0, 0);
		mutex_lock(&j->lock);
		/* Open intents stay in the log. */
		done = (TAILQ_EMPTY(&j->dirty) && !j->used) ||
		       (round > 0 && !TAILQ_EMPTY(&j->intents));
		mutex_unlock(&j->lock);
	}
	return r;
}

/* What may stay so that a handle which needs that much finds room, and no less than usual. */
static int checkpoint_for(struct jnl *j, const struct jnl_need *need)
{
	u64 nr = DIV_ROUND_UP(sizeof(struct fmt_txn) + need->log, (u64)SECTOR_SIZE) + 1;
	u64 used, dirty = j->dirty_max - need->memory;

	mutex_lock(&j->lock);
	nr += j->intent_reserve + j->sum_reserve + need->keep;
	mutex_unlock(&j->lock);
	used = nr < j->ring_nr ? j->ring_nr - nr : 0;
	return checkpoint_to(j, MIN(used, checkpoint_down_to(j->ring_nr)),
			     MIN(dirty, checkpoint_down_to(j->dirty_share)));
}

int jnl_make_room(struct jnl *j, const struct jnl_need *need)
{
	bool room = false;
	int r = 0;

	if (sizeof(struct fmt_txn) + need->log > j->txn_max || need->memory > j->dirty_max) {
		log_err("journal: a change of %llu bytes is too large for this log",
			(unsigned long long)need->log);
		return -ENOSPC;
	}
	while (!r && !room) {
		r = jnl_commit_running(j);
		mutex_lock(&j->lock);
		room = jnl_log_has_room(j, need, false);
		mutex_unlock(&j->lock);
		if (r || room)
			break;
		r = checkpoint_for(j, need);
		/* Rule 6: there may be room all the same. */
		mutex_lock(&j->lock);
		room = r && !j->error && jnl_log_has_room(j, need, false);
		mutex_unlock(&j->lock);
		r = room ? 0 : r;
	}
	return r;
}
