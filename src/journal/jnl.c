/*
 * Opening, closing and formatting the journal.
 *
 * A mount for writing recovers, then starts a new epoch: a header with a higher epoch and an empty
 * log is flushed before the first change, so nothing that an earlier mount left in the ring
 * can be taken for a transaction of this one. A clean unmount leaves a header that says so.
 */
#include "base/hash.h"
#include "base/log.h"
#include "base/uuid.h"
#include "journal/jnl_priv.h"
#include "stat/stat.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TXN_BYTES_MAX (8u << 20)
#define DIRTY_BYTES_MIN (768u << 10)
/* Changed buffers may take so many times the size of the log: what a recovery reads and holds. */
#define DIRTY_RINGS 2u

static void jnl_limits(struct jnl *j)
{
	u64 ring = j->ring_nr * SECTOR_SIZE;

	j->dirty_share = MIN(mem_total_bytes() / 4, DIRTY_RINGS * ring);
	j->dirty_max = MAX((u64)DIRTY_BYTES_MIN, j->dirty_share);
	j->txn_max = MIN(MIN(ring / 2, (u64)TXN_BYTES_MAX), j->dirty_max);
	/* All that may be changed, in batches, each in a transaction of its own. */
	j->sum_reserve = DIV_ROUND_UP((j->dirty_max / SECTOR_SIZE + SNAP_NR) *
				      sizeof(struct fmt_rec), (u64)SECTOR_SIZE) +
			 j->dirty_max / SNAP_BYTES + 2;
}

/* Of the longest transaction, with the sums of a batch and the ends of all intents. */
static u64 image_bytes_max(const struct jnl *j)
{
	u64 records = SNAP_NR + MIN((u64)JNL_INTENT_SECTORS, j->ring_nr);

	return ALIGN_UP(j->txn_max + records * sizeof(struct fmt_rec), (u64)SECTOR_SIZE) +
	       SECTOR_SIZE;
}

static int jnl_new(const struct jnl_config *cfg, struct jnl **out)
{
	struct jnl *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->cfg = *cfg;
	if (!j->cfg.commit_ms)
		j->cfg.commit_ms = 5000;
	j->dev = cfg->dev;
	j->geo = cfg->geo;
	j->ring_nr = cfg->geo->jnl_nr - 2;
	mutex_init(&j->handle, RANK_HANDLE);
	rwlock_init(&j->meta, RANK_META);
	mutex_init(&j->lock, RANK_JNL);
	cond_init(&j->cond);
	cond_init(&j->wake);
	mapping_init(&j->mapping, &jnl_mapping_ops, j);
	j->mapping.metadata = 1;
	TAILQ_INIT(&j->dirty);
	TAILQ_INIT(&j->live);
	RB_INIT(&j->busy);
	STAILQ_INIT(&j->busy_snap);
	STAILQ_INIT(&j->busy_failed);
	TAILQ_INIT(&j->intents);
	jnl_limits(j);
	j->image = aligned_alloc(SECTOR_SIZE, image_bytes_max(j));
	j->header = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	*out = j;
	return j->image && j->header ? 0 : -ENOMEM;
}

/* Buffers that no checkpoint will write: after a crash in tests, a failed commit, or read-only. */
static void drop_dirty(struct jnl *j)
{
	struct jnl_buf *b;

	mutex_lock(&j->lock);
	while (j->running && (b = TAILQ_FIRST(&j->running->bufs))) {
		TAILQ_REMOVE(&j->running->bufs, b, run_link);
		b->running = false;
	}
	while ((b = TAILQ_FIRST(&j->dirty))) {
		TAILQ_REMOVE(&j->dirty, b, dirty_link);
		b->dirty = false;
		buf_detach(j, b);
	}
	if (j->running)
		busy_release(j, &j->running->busy);
	if (j->closed.txn)
		busy_release(j, &j->closed.txn->busy);
	busy_release(j, &j->busy_snap);
	busy_release(j, &j->busy_failed);
	mutex_unlock(&j->lock);
}

static void unpin_all(struct jnl *j)
{
	struct folio *f;
	u64 at = 0;

	while ((f = cache_next(&j->mapping, &at, UINT64_MAX))) {
		/* File data that a read-only mount replayed. */
		if (f->priv) {
			mutex_lock(&j->lock);
			buf_detach(j, f->priv);
			mutex_unlock(&j->lock);
		}
		if (folio_has(f, FOLIO_PINNED))
			folio_unpin(f);
		folio_put(f);
	}
}

static void jnl_free(struct jnl *j)
{
	struct live *l;

	drop_dirty(j);
	unpin_all(j);
	cache_drop(&j->mapping, 0, UINT64_MAX);
	mapping_fini(&j->mapping);
	while ((l = TAILQ_FIRST(&j->live))) {
		TAILQ_REMOVE(&j->live, l, link);
		free(l);
	}
	intents_free(j);
	txn_free(j->closed.txn);
	txn_free(j->running);
	while (j->nr_spare > 0)
		free(j->spare[--j->nr_spare]);
	while (j->nr_spare_bufs > 0)
		free(j->spare_buf[--j->nr_spare_bufs]);
	cond_fini(&j->wake);
	cond_fini(&j->cond);
	mutex_fini(&j->lock);
	rwlock_fini(&j->meta);
	mutex_fini(&j->handle);
	free(j->image);
	free(j->header);
	free(j->snap);
	free(j);
}

/* A new epoch with an empty log; from here on the disk may change. */
static int jnl_begin_epoch(struct jnl *j)
{
	j->epoch++;
	j->mounts++;
	j->tail_pos = j->head;
	j->tail_seq = j->running->seq;
	return jnl_log_write_head(j, LOG_OPEN);
}

static void count_recovery(const struct jnl_recovery *rec)
{
	stat_add(STAT_REPLAYED, rec->transactions);
	stat_add(STAT_RECOVERED_NEW, rec->recovered_new);
	stat_add(STAT_RECOVERED_OLD, rec->recovered_old);
	stat_add(STAT_RECOVERED_TORN, rec->torn);
	if (rec->lost_first)
		stat_add(STAT_LOG_LOST, rec->lost_newest - rec->lost_first + 1);
}

static int jnl_start(struct jnl *j, struct jnl_recovery *rec)
{
	struct fmt_jnl_head head;
	struct log_end done;
	bool suspect;
	int r = jnl_log_read_head(j->dev, j->geo, &head, &suspect);

	if (r)
		return r;
	done = (struct log_end){ .seq = get64(head.tail_seq), .pos = get64(head.tail) };
	j->serial = get64(head.serial);
	j->epoch = get64(head.epoch);
	j->mounts = get32(head.mounts);
	j->tail_pos = done.pos;
	j->tail_seq = done.seq;
	rec->was_clean = get32(head.clean);
	if (!rec->was_clean || suspect) {
		struct work before = work_begin(WORK_RECOVERY, CORRUPT_NO_INO);

		r = jnl_recover(j, &head, rec, suspect, &done);
		work_end(before);
	}
	if (r)
		return r;
	count_recovery(rec);
	j->head = done.pos;
	j->durable = done.seq - 1;
	j->running = txn_new(done.seq);
	if (!j->running)
		return -ENOMEM;
	if (j->cfg.readonly)
		return 0;
	r = jnl_begin_epoch(j);
	if (!r && j->cfg.threads)
		r = jnl_thread_start(j);
	return r;
}

int jnl_open(const struct jnl_config *cfg, struct jnl **out, struct jnl_recovery *rec)
{
	struct jnl_recovery none;
	struct jnl *j = NULL;
	int r = jnl_new(cfg, &j);

	if (!rec)
		rec = &none;
	*rec = (struct jnl_recovery){ 0 };
	if (!r)
		r = jnl_start(j, rec);
	if (r) {
		if (j)
			jnl_free(j);
		return r;
	}
	*out = j;
	return 0;
}

void jnl_stop(struct jnl *j)
{
	jnl_thread_stop(j);
}

int jnl_close(struct jnl *j, bool crash)
{
	int r = 0;

	jnl_thread_stop(j);
	if (!crash && !j->cfg.readonly) {
		r = jnl_checkpoint_all(j);
		/* With an open intent it takes a recovery to know what a sector holds. */
		if (!r && TAILQ_EMPTY(&j->intents)) {
			j->tail_pos = j->head;
			j->tail_seq = j->running->seq;
			r = jnl_log_write_head(j, LOG_CLEAN);
		}
	}
	jnl_free(j);
	return r;
}

struct mapping *jnl_mapping(struct jnl *j)
{
	return &j->mapping;
}

int jnl_format(struct blk_dev *dev, const struct fmt_geo *geo)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	u64 epoch;
	int r = 0;

	if (!h)
		return -ENOMEM;
	/* What an older file system left in the ring has another epoch. */
	if (getrandom(&epoch, sizeof(epoch), 0) != sizeof(epoch))
		r = -EIO;
	for (unsigned i = 0; !r && i < 2; i++) {
		memset(h, 0, sizeof(*h));
		fmt_hdr_init(h, FMT_KIND_JNL, geo->jnl_sector + i, geo->fsid, 0);
		h->serial = put64(2 - i);      /* the odd copy is the next to be written over */
		h->epoch = put64(epoch >> 1);
		h->tail_seq = put64(1);
		h->clean = put32(1);
		fmt_hdr_seal(h, sizeof(*h), 0);
		r = blk_write(dev, geo->jnl_sector + i, h, 1, BLK_LOG);
	}
	free(h);
	return r;
}
