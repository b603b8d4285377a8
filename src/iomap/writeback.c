/*
 * Writeback: dirty sectors to the disk, in writes as long as the disk layout allows.
 *
 * 1. Space is allocated before, without folio locks. What is still without a place when its
 *    folio's turn comes was dirtied later, and stays dirty.
 * 2. Per folio, under its lock: dirty runs are mapped, sectors behind the end of the file are
 *    left alone, the tail of the last sector is zeroed, the dirty bits go and FOLIO_WRITEBACK
 *    comes. Then the lock goes: readers may look, writers wait.
 * 3. Each range ends once: first iomap_ops.ioend, so that a later fill knows that the sectors
 *    are written, then folio_end_writeback(), which wakes writers or makes the range dirty again.
 *    Its checksum is taken in between: after the flag, before the write is sent.
 * 4. A write that fails is repeated sector by sector, so that only the sectors that really fail
 *    stay dirty. What finished writes take to be recorded is allocated before they are sent
 *    (iomap_ops.write_begin): without memory for that there is no write.
 * 5. Overwrites of checksummed sectors are gathered until they are worth a record in the log
 *    (iomap_ops.announce), and sent when it is durable. Three rounds overlap, so that neither this
 *    thread nor the device waits for the log: while one is gathered, the log takes the one before
 *    (another thread flushes it), and the one before that is sent, sector for sector gathered.
 * 6. This thread reaps its own I/O. So it never waits for anybody (folio lock, writeback of
 *    others, room in the journal) while it has writes under way, or two threads could wait for each
 *    other.
 * 7. Several files go through one pipeline, one after another and never mixed: first space for all
 *    of them (rule 6), then their writes. Many small files keep the device as busy as a large one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "format/format.h"
#include "iomap/request.h"
#include "mem/bad.h"
#include "stat/stat.h"

/* A device that fails so many sectors of a request in a row is not asked about the others. */
#define GIVE_UP_AFTER 8u

/* Overwrites that share one announcement: 16 MiB. */
#define HELD_MAX 4096u
#define HELD_SHARE_OF_CACHE 16u

struct wb_range {
	u32 first, nr;          /* in the folio */
	u64 disk;
	enum iomap_how how;
};

/* What the files of one call share. */
struct wb_queue {
	struct blk_batch batch;
	struct request *open;           /* being gathered, not sent */
	struct request_list failed;
	/* Overwrites, by rule 5: gathered; announced, but that may not be durable; may be sent. */
	struct request_list held, announced, ready;
	u32 nr_held, held_max;          /* sectors of `held` */
	u64 announcement;               /* makes `announced` durable */
	u64 settle;                     /* what write_how() wants settled first */
	u32 nr_settle;                  /* 0: that nothing is under way is enough */
	unsigned nr_ranges;             /* of the folio in hand */
	struct wb_range range[1u << FOLIO_MAX_ORDER];
};

static void wb_fail(struct iomap_wb *w, int error)
{
	if (!w->error)
		w->error = error;
}

static struct iomap_wb *wb_of(const struct request *rq)
{
	return rq->io.arg;
}

/* ---- ends ---- */

static struct iomap_ioend wb_end_of(struct iomap_wb *w, const struct request *rq, u32 skip, u32 nr)
{
	u64 end = (rq->sector + skip + nr) << SECTOR_SHIFT;

	return (struct iomap_ioend){
		.file = w->f,
		.sector = rq->sector + skip,
		.disk = rq->io.sector + skip,
		.nr = nr,
		.how = rq->how,
		.entries = rq->sum + skip,
		.intent = rq->intent,
		.size_end = MIN(end, rq->size_end),
	};
}

static void wb_ioend(struct iomap_wb *w, const struct request *rq, u32 skip, u32 nr, int error)
{
	struct iomap_ioend io = wb_end_of(w, rq, skip, nr);

	io.error = error;
	w->f->ops->ioend(w->f, &io);
	if (error) {
		stat_add(STAT_WRITEBACK_ERRORS, nr);
		wb_fail(w, error);
	} else {
		stat_add(STAT_WRITEBACK_SECTORS, nr);
	}
}

static void wb_end_piece(struct folio *folio, u32 first, u32 nr, int error)
{
	folio_end_writeback(folio, first, nr, error);
	folio_put(folio);
}

static void wb_done(struct blk_io *io)
{
	struct request *rq = container_of(io, struct request, io);
	struct iomap_wb *w = wb_of(rq);

	if (io->res) {
		TAILQ_INSERT_TAIL(&w->queue->failed, rq, link);
		return;
	}
	wb_ioend(w, rq, 0, io->nr, 0);
	for (unsigned i = 0; i < io->nr_iov; i++)
		wb_end_piece(rq->piece[i].folio, rq->piece[i].first, rq->piece[i].nr, 0);
	request_free(rq);
}

/*
 * One piece of a failed request, sector by sector; the folio's count of ranges grows to one for
 * each sector.
 */
static void wb_retry_piece(struct request *rq, unsigned i, u32 skip, u32 *failed)
{
	struct iomap_wb *w = wb_of(rq);
	struct request_piece *pc = &rq->piece[i];
	const u8 *data = rq->iov[i].iov_base;

	if (pc->nr > 1)
		folio_begin_writeback(pc->folio, pc->nr - 1);
	for (u32 k = 0; k < pc->nr; k++) {
		int r = rq->io.res;

		if (*failed < GIVE_UP_AFTER)
			r = blk_write(w->f->dev, rq->io.sector + skip + k,
				      data + ((size_t)k << SECTOR_SHIFT), 1, BLK_DATA);
		*failed = r ? *failed + 1 : 0;
		wb_ioend(w, rq, skip + k, 1, r);
		folio_end_writeback(pc->folio, pc->first + k, 1, r);
	}
	folio_put(pc->folio);
}

/* All of it has failed, and is not asked about again. */
static void wb_failed(struct iomap_wb *w, struct request *rq)
{
	wb_ioend(w, rq, 0, rq->io.nr, rq->io.res);
	for (unsigned i = 0; i < rq->io.nr_iov; i++)
		wb_end_piece(rq->piece[i].folio, rq->piece[i].first, rq->piece[i].nr, rq->io.res);
	request_free(rq);
}

static void wb_retry(struct wb_queue *q)
{
	struct request *rq;

	while ((rq = TAILQ_FIRST(&q->failed))) {
		struct iomap_wb *w = wb_of(rq);
		u32 skip = 0, failed = 0;

		TAILQ_REMOVE(&q->failed, rq, link);
		/* An end for each sector instead of one. */
		if (w->f->ops->write_begin(w->f, rq->how, 0, 0, rq->io.nr - 1)) {
			wb_failed(w, rq);
			continue;
		}
		for (unsigned i = 0; i < rq->io.nr_iov; i++) {
			wb_retry_piece(rq, i, skip, &failed);
			skip += rq->piece[i].nr;
		}
		request_free(rq);
	}
}

/* ---- sending ---- */

static void wb_wait_own(struct wb_queue *q)
{
	blk_batch_wait(&q->batch, 0);
	wb_retry(q);
}

/* It can't be announced, or recorded: as if its writes had failed before they were sent. */
static void wb_give_up(struct request *rq, bool begun, int error)
{
	struct iomap_wb *w = wb_of(rq);
	struct iomap_ioend io = wb_end_of(w, rq, 0, rq->io.nr);

	io.unsent = true;
	if (begun)
		w->f->ops->ioend(w->f, &io);
	wb_fail(w, error);
	stat_add(STAT_WRITEBACK_ERRORS, rq->io.nr);
	for (unsigned i = 0; i < rq->io.nr_iov; i++)
		wb_end_piece(rq->piece[i].folio, rq->piece[i].first, rq->piece[i].nr, error);
	request_free(rq);
}

/* Sends at least so many sectors of what may be sent, or all of it. */
static void wb_feed(struct wb_queue *q, u64 sectors)
{
	struct request *rq;

	while (sectors > 0 && (rq = TAILQ_FIRST(&q->ready))) {
		TAILQ_REMOVE(&q->ready, rq, link);
		sectors -= MIN(sectors, (u64)rq->io.nr);
		blk_batch_add(&q->batch, &rq->io);
	}
}

/* What is announced may be sent, once that is durable. */
static void wb_release(struct wb_queue *q)
{
	struct request *rq = TAILQ_FIRST(&q->announced);
	struct iomap_file *f;
	int r;

	if (!rq)
		return;
	f = wb_of(rq)->f;
	r = f->ops->announce_wait(f, q->announcement);
	if (!r) {
		TAILQ_CONCAT(&q->ready, &q->announced, link);
		return;
	}
	while ((rq = TAILQ_FIRST(&q->announced))) {
		TAILQ_REMOVE(&q->announced, rq, link);
		wb_give_up(rq, true, r);
	}
}

/* All that is announced is sent, and has ended. */
static void wb_settle(struct wb_queue *q)
{
	wb_feed(q, UINT64_MAX);
	wb_release(q);
	wb_feed(q, UINT64_MAX);
	wb_wait_own(q);
}

/* Through any of the files: the log is one. */
static int wb_ask(struct wb_queue *q, struct iomap_file *f, struct iomap_overwrite *ow, unsigned nr)
{
	int r = f->ops->announce(f, ow, nr, false, &q->announcement);

	if (r != -EBUSY)
		return r;
	wb_settle(q);
	return f->ops->announce(f, ow, nr, true, &q->announcement);
}

static void wb_announce(struct wb_queue *q)
{
	struct iomap_overwrite *ow;
	struct request *rq;
	unsigned nr = 0;
	int r = -ENOMEM;

	if (TAILQ_EMPTY(&q->held))
		return;
	TAILQ_FOREACH(rq, &q->held, link)
		nr++;
	ow = calloc(nr, sizeof(*ow));
	nr = 0;
	TAILQ_FOREACH(rq, &q->held, link)
		if (ow)
			ow[nr++] = (struct iomap_overwrite){ rq->io.sector, rq->io.nr, rq->sum,
							     NULL };
	if (ow)
		r = wb_ask(q, wb_of(TAILQ_FIRST(&q->held))->f, ow, nr);
	for (nr = 0; (rq = TAILQ_FIRST(&q->held)); nr++) {
		TAILQ_REMOVE(&q->held, rq, link);
		if (r) {
			wb_give_up(rq, true, r);
			continue;
		}
		rq->intent = ow[nr].intent;
		TAILQ_INSERT_TAIL(&q->announced, rq, link);
	}
	q->nr_held = 0;
	free(ow);
}

/* A round is gathered. */
static void wb_next_round(struct wb_queue *q)
{
	struct iomap_file *f = wb_of(TAILQ_FIRST(&q->held))->f;

	wb_feed(q, UINT64_MAX);
	wb_release(q);
	wb_announce(q);
	if (!TAILQ_EMPTY(&q->announced))
		f->ops->announce_soon(f, q->announcement);
}

static void wb_send(struct wb_queue *q)
{
	struct request *rq = q->open;
	struct iomap_file *f;

	q->open = NULL;
	if (!rq)
		return;
	/* Thousands may wait for their announcement. */
	rq = request_fit(rq);
	f = wb_of(rq)->f;
	if (f->ops->write_begin(f, rq->how, rq->io.sector, rq->io.nr, 1)) {
		wb_give_up(rq, false, -ENOMEM);
		return;
	}
	if (rq->how != IOMAP_OVERWRITE) {
		blk_batch_add(&q->batch, &rq->io);
		return;
	}
	TAILQ_INSERT_TAIL(&q->held, rq, link);
	q->nr_held += rq->io.nr;
	wb_feed(q, rq->io.nr);
	if (q->nr_held >= q->held_max)
		wb_next_round(q);
}

/* Nothing is under way afterwards: now this thread may wait for others. */
static void wb_drain(struct wb_queue *q)
{
	wb_send(q);
	wb_announce(q);
	wb_settle(q);
}

static bool wb_is_drained(const struct wb_queue *q)
{
	return !q->open && !q->batch.in_flight && TAILQ_EMPTY(&q->failed) &&
	       TAILQ_EMPTY(&q->held) && TAILQ_EMPTY(&q->announced) && TAILQ_EMPTY(&q->ready);
}

static struct request *wb_request(struct iomap_wb *w, u64 sector, const struct wb_range *r)
{
	struct wb_queue *q = w->queue;

	if (q->open && (q->open->how != r->how || !request_takes(q->open, sector, r->disk, r->nr)))
		wb_send(q);
	if (q->open)
		return q->open;
	q->open = request_new(BLK_WRITE, sector, r->disk, REQUEST_PIECES_MAX);
	if (q->open) {
		q->open->how = r->how;
		q->open->io.done = wb_done;
		q->open->io.arg = w;
	}
	return q->open;
}

struct wb_sums {
	const u8 *data;
	u32 nr;
	u32 *sum;
};

static void sums_run(void *arg)
{
	const struct wb_sums *s = arg;

	for (u32 i = 0; i < s->nr; i++)
		s->sum[i] = fmt_map_csum(s->data + ((size_t)i << SECTOR_SHIFT));
}

/* Rule 2: nobody changes these sectors now. -EHWPOISON: memory of one of them is lost. */
static int wb_sum(const struct iomap_wb *w, const struct folio *folio, const struct wb_range *r,
		  u32 *sum)
{
	struct wb_sums s = { (const u8 *)folio_data(folio) + ((size_t)r->first << SECTOR_SHIFT),
			     r->nr, sum };

	if (mem_any_bad() && mem_is_bad(s.data, (size_t)r->nr << SECTOR_SHIFT))
		return -EHWPOISON;
	if (!w->f->nosum)
		return mem_guarded(sums_run, &s);
	for (u32 i = 0; i < r->nr; i++)
		sum[i] = FMT_MAP_NOCSUM;
	return 0;
}

/* The range is not written, and dirty again; what of it is lost is found by folio_mend(). */
static void wb_bad_memory(struct iomap_wb *w, struct folio *folio, const struct wb_range *r)
{
	struct wb_queue *q = w->queue;

	if (q->open && q->open->io.nr == 0) {
		request_free(q->open);
		q->open = NULL;
	}
	wb_fail(w, -EIO);
	wb_end_piece(folio, r->first, r->nr, -EIO);
}

/* The range is under writeback; its reference to the folio passes to the request. */
static void wb_add(struct iomap_wb *w, struct folio *folio, const struct wb_range *r, u64 size)
{
	u64 sector = folio->index + r->first;
	struct request *rq = wb_request(w, sector, r);

	if (!rq) {
		wb_fail(w, -ENOMEM);
		wb_end_piece(folio, r->first, r->nr, -ENOMEM);
		return;
	}
	if (wb_sum(w, folio, r, rq->sum + rq->io.nr)) {
		wb_bad_memory(w, folio, r);
		return;
	}
	request_add(rq, folio, r->first, r->nr);
	rq->size_end = MAX(rq->size_end, MIN((sector + r->nr) << SECTOR_SHIFT, size));
}

/* ---- one folio ---- */

static int wb_map(struct iomap_wb *w, u64 sector, u32 nr)
{
	struct iomap_file *f = w->f;
	u64 pos = sector << SECTOR_SHIFT;
	int r;

	if (iomap_contains(&w->map, pos) && f->ops->valid(f, &w->map))
		return 0;
	r = f->ops->map(f, pos, (u64)nr << SECTOR_SHIFT, IOMAP_WRITEBACK, &w->map);
	if (r)
		w->map.length = 0;
	return r;
}

static int wb_add_range(struct iomap_wb *w, struct folio *folio, u32 first, u32 nr)
{
	u64 disk = iomap_disk(&w->map, folio->index + first);
	u8 how[1u << FOLIO_MAX_ORDER];
	struct wb_queue *q = w->queue;
	int r = w->f->ops->write_how(w->f, disk, nr, how);

	if (r == -EAGAIN) {
		q->settle = disk;
		q->nr_settle = nr;
	}
	if (r)
		return r;
	for (u32 i = 0, run; i < nr; i += run) {
		for (run = 1; i + run < nr && how[i + run] == how[i]; run++)
			;
		ASSERT(q->nr_ranges < ARRAY_LEN(q->range));
		q->range[q->nr_ranges++] = (struct wb_range){ first + i, run, disk + i, how[i] };
	}
	return 0;
}

static int wb_inline(struct iomap_wb *w, struct folio *folio, u64 size)
{
	int r;

	/* It runs a handle: rule 6. */
	if (!wb_is_drained(w->queue)) {
		w->queue->nr_settle = 0;
		return -EAGAIN;
	}
	r = w->f->ops->inline_write(w->f, folio_data(folio), MIN(size, (u64)SECTOR_SIZE));
	if (!r) {
		folio_clear_dirty(folio, 0, 1);
		stat_inc(STAT_WRITEBACK_SECTORS);
	} else if (r != -EAGAIN && r != -ENOMEM) {
		/* As a write that the device refused: its error is that of the sector. */
		folio_begin_writeback(folio, 1);
		folio_clear_dirty(folio, 0, 1);
		folio_end_writeback(folio, 0, 1, r);
	}
	return r;
}

/*
 * A dirty run: what has a place on the disk and lies before the end of the file becomes ranges.
 */
static int wb_run(struct iomap_wb *w, struct folio *folio, u32 first, u32 nr, u64 size)
{
	u64 eof = bytes_to_sectors_up(size);

	while (nr > 0) {
		u64 sector = folio->index + first, left;
		u32 n;
		int r = wb_map(w, sector, nr);

		if (r)
			return r;
		left = (iomap_end(&w->map) >> SECTOR_SHIFT) - sector;
		n = (u32)MIN(left, (u64)nr);
		if (w->map.type == IOMAP_INLINE) {
			if (sector == 0 && (r = wb_inline(w, folio, size)))
				return r;
		} else if (sector >= eof) {
			return 0;
		} else if (w->map.type == IOMAP_MAPPED) {
			r = wb_add_range(w, folio, first, (u32)MIN((u64)n, eof - sector));
			if (r)
				return r;
		}
		first += n;
		nr -= n;
	}
	return 0;
}

/*
 * The locked folio's ranges are chosen: under writeback with them. Unlocks; its reference is
 * used up.
 */
static void wb_begin(struct iomap_wb *w, struct folio *folio, u64 size)
{
	const struct wb_range *range = w->queue->range;
	unsigned nr = w->queue->nr_ranges;

	if (nr > 0) {
		folio_zero_tail(folio, size);
		folio_begin_writeback(folio, nr);
	}
	for (unsigned i = 0; i < nr; i++) {
		folio_clear_dirty(folio, range[i].first, range[i].nr);
		folio_get(folio);
	}
	folio_unlock(folio);
	for (unsigned i = 0; i < nr; i++) {
		u32 n = range[i].nr;

		wb_add(w, folio, &range[i], size);
		w->limit -= MIN(w->limit, (u64)n);
	}
	folio_put(folio);
}

static void wb_lock(struct iomap_wb *w, struct folio *folio)
{
	if (folio_trylock(folio))
		return;
	wb_drain(w->queue);
	folio_lock(folio);
}

/* What of the run nobody holds. */
static int wb_free_run(struct iomap_wb *w, struct folio *folio, u32 first, u32 nr, u64 size)
{
	int r = 0;

	if (likely(!iomap_is_held(w->f, folio->index + first, nr)))
		return wb_run(w, folio, first, nr, size);
	w->skipped = true;
	for (u32 i = first; i < first + nr && !r; i++)
		if (!iomap_is_held(w->f, folio->index + i, 1))
			r = wb_run(w, folio, i, 1, size);
	return r;
}

/* The locked folio's dirty ranges and how to write them. */
static int wb_plan(struct iomap_wb *w, struct folio *folio, u64 size)
{
	u64 start = MAX(w->first, folio->index);
	u64 end = MIN(w->last, folio->index + folio_sectors(folio));
	u32 at = (u32)(start - folio->index), last = (u32)(end - folio->index), first, nr;
	int r = 0;

	w->queue->nr_ranges = 0;
	while (!r && !folio_has(folio, FOLIO_DEAD) &&
	       folio_next_dirty(folio, at, last, &first, &nr)) {
		r = wb_free_run(w, folio, first, nr, size);
		at = first + nr;
	}
	return r;
}

/* Locked, and under nobody's writeback; false: it is, and that is not waited for. */
static bool wb_enter(struct iomap_wb *w, struct folio *folio, unsigned flags)
{
	wb_lock(w, folio);
	if (!folio_has(folio, FOLIO_WRITEBACK))
		return true;
	if (!(flags & IOMAP_WB_WAIT)) {
		folio_unlock(folio);
		return false;
	}
	wb_drain(w->queue);
	folio_wait_writeback(folio);
	return true;
}

/* What is lost is dirty no more. Waits for nobody: it is under no writeback. Rule 6. */
static void wb_mend(struct iomap_wb *w, struct folio *folio)
{
	if (!mem_is_bad(folio_data(folio), folio_bytes(folio)))
		return;
	wb_drain(w->queue);
	folio_mend(folio);
}

static void wb_folio(struct iomap_wb *w, struct folio *folio, unsigned flags)
{
	struct wb_queue *q = w->queue;
	u64 size;
	int r = 0;

	for (unsigned tries = 0; !r; tries++) {
		if (!wb_enter(w, folio, flags)) {
			folio_put(folio);
			return;
		}
		size = iomap_size(w->f);
		if (mem_any_bad())
			wb_mend(w, folio);
		r = wb_plan(w, folio, size);
		if (r != -EAGAIN || tries == IOMAP_SETTLE_TRIES)
			break;
		folio_unlock(folio);
		wb_drain(q);
		q->nr_ranges = 0;
		r = !q->nr_settle ? 0 :
				    w->f->ops->write_settle(w->f, q->settle, q->nr_settle, true);
		if (r)
			folio_lock(folio);
	}
	if (r)
		wb_fail(w, r);
	wb_begin(w, folio, size);
}

/* ---- whole files ---- */

static void wait_others(struct mapping *m, u64 sector, u64 end)
{
	struct folio *folio;

	while (__atomic_load_n(&m->nr_writeback, __ATOMIC_ACQUIRE) &&
	       (folio = cache_next(m, &sector, end))) {
		folio_wait_writeback(folio);
		folio_put(folio);
	}
}

int iomap_wait_writeback(struct iomap_file *f)
{
	wait_others(&f->mapping, 0, UINT64_MAX);
	return __atomic_load_n(&f->mapping.error, __ATOMIC_ACQUIRE);
}

/* What is still gathered of it is sent: the next file has requests of its own. */
static void wb_pass(struct iomap_wb *w, unsigned flags)
{
	struct mapping *m = &w->f->mapping;
	u64 sector = w->first, next = w->last;
	struct folio *folio;

	while (w->limit > 0 && (folio = cache_next_dirty(m, &sector, w->last))) {
		/* The limit may end within this one. */
		next = __atomic_load_n(&folio->index, __ATOMIC_RELAXED);
		wb_folio(w, folio, flags);
	}
	wb_send(w->queue);
	if (w->limit == 0 && next < w->last)
		w->next = next << SECTOR_SHIFT;
}

/* As much as makes the record cheap, and little beside the cache. */
static u32 held_max(void)
{
	u64 share = mem_total_bytes() / HELD_SHARE_OF_CACHE >> SECTOR_SHIFT;

	return (u32)MAX(MIN(share, (u64)HELD_MAX), (u64)1);
}

/* Rule 1. Nothing is under way. */
static void wb_prepare(struct iomap_wb *w, struct wb_queue *q)
{
	int r;

	w->queue = q;
	w->skipped = false;
	w->map.length = 0;
	w->first = w->start >> SECTOR_SHIFT;
	w->last = bytes_to_sectors_up(w->end);
	w->limit = w->nr_max ? w->nr_max : UINT64_MAX;
	w->next = w->end;
	w->error = 0;
	w->dirty = __atomic_load_n(&w->f->mapping.nr_dirty, __ATOMIC_ACQUIRE) > 0;
	if (!w->dirty)
		return;
	stat_inc(STAT_WRITEBACK_RUNS);
	r = w->f->ops->allocate(w->f, w->start, w->end);
	if (r)
		wb_fail(w, r);
}

static void wb_wait(struct iomap_wb *w)
{
	struct mapping *m = &w->f->mapping;

	wait_others(m, w->first, w->last);
	/* What others wrote for us may have failed. */
	wb_fail(w, __atomic_load_n(&m->error, __ATOMIC_ACQUIRE));
	if (w->skipped)
		wb_fail(w, -EAGAIN);
}

void iomap_writeback_files(struct iomap_wb *wb, unsigned nr, unsigned flags)
{
	struct blk_dev *dev = wb[0].f->dev;
	struct wb_queue q;

	q.open = NULL;
	TAILQ_INIT(&q.failed);
	TAILQ_INIT(&q.held);
	TAILQ_INIT(&q.announced);
	TAILQ_INIT(&q.ready);
	q.nr_held = 0;
	q.held_max = held_max();
	/* Before folios are locked: readers wait for those. */
	blk_write_begin(dev);
	for (unsigned i = 0; i < nr; i++)
		wb_prepare(&wb[i], &q);
	blk_batch_init(&q.batch, dev);
	for (unsigned i = 0; i < nr; i++)
		if (wb[i].dirty)
			wb_pass(&wb[i], flags);
	wb_drain(&q);
	blk_batch_fini(&q.batch);
	for (unsigned i = 0; i < nr && (flags & IOMAP_WB_WAIT); i++)
		wb_wait(&wb[i]);
	blk_write_end(dev);
}

int iomap_writeback(struct iomap_file *f, u64 start, u64 end, unsigned flags, u64 nr_max,
		    u64 *next)
{
	struct iomap_wb w = { .f = f, .start = start, .end = end, .nr_max = nr_max };

	iomap_writeback_files(&w, 1, flags);
	if (next)
		*next = w.next;
	return w.error;
}
