/*
 * Requests and read plans.
 *
 * 1. A request is contiguous in the file and on the disk; its pieces are in ascending order, so
 *    iov[i] belongs to piece[i].
 * 2. Mappings and sector-map entries are looked up while the folio is locked and the sectors
 *    are stale. A stale sector has its contents on the disk or reads as zero: it can't have
 *    been written and evicted between the lookup and the read.
 * 3. A request that fails is read again sector by sector, so that one bad sector costs only
 *    itself.
 * 4. Nothing becomes uptodate that does not match its map entry. One hash a sector, only here:
 *    what is in the cache is not hashed again.
 *
 * Locks: the folios of a plan are locked by the caller; lookups may do metadata I/O.
 */
#include "iomap/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "format/format.h"
#include "stat/stat.h"

/* A piece is never cut: of the largest folio it must fit. */
static_assert(BLK_MAX_IO_SECTORS >= 1u << FOLIO_MAX_ORDER, "a request takes a whole folio");

static struct request *request_alloc(unsigned cap, u32 sectors)
{
	return malloc(sizeof(struct request) +
		      cap * (sizeof(struct iovec) + sizeof(struct request_piece)) +
		      sectors * sizeof(u32));
}

static void request_arrays(struct request *rq, unsigned cap)
{
	rq->cap = cap;
	rq->piece = (struct request_piece *)(rq->iov + cap);
	rq->sum = (u32 *)(rq->piece + cap);
}

struct request *request_new(enum blk_op op, u64 sector, u64 disk, unsigned pieces)
{
	unsigned cap = MIN(MAX(pieces, 1u), REQUEST_PIECES_MAX);
	struct request *rq = request_alloc(cap, BLK_MAX_IO_SECTORS);

	if (!rq)
		return NULL;
	memset(rq, 0, sizeof(*rq));
	request_arrays(rq, cap);
	rq->sector = sector;
	rq->io.op = op;
	rq->io.kind = BLK_DATA;
	rq->io.sector = disk;
	rq->io.iov = rq->iov;
	return rq;
}

struct request *request_fit(struct request *rq)
{
	unsigned nr = rq->io.nr_iov;
	struct request *fit = request_alloc(nr, rq->io.nr);

	if (!fit)
		return rq;
	*fit = *rq;
	request_arrays(fit, nr);
	memcpy(fit->iov, rq->iov, nr * sizeof(*fit->iov));
	memcpy(fit->piece, rq->piece, nr * sizeof(*fit->piece));
	memcpy(fit->sum, rq->sum, rq->io.nr * sizeof(*fit->sum));
	fit->io.iov = fit->iov;
	request_free(rq);
	return fit;
}

void request_free(struct request *rq)
{
	free(rq);
}

bool request_takes(const struct request *rq, u64 sector, u64 disk, u32 nr)
{
	return rq->io.nr_iov < rq->cap && rq->io.nr + nr <= BLK_MAX_IO_SECTORS &&
	       rq->sector + rq->io.nr == sector && rq->io.sector + rq->io.nr == disk;
}

void request_add(struct request *rq, struct folio *folio, u32 first, u32 nr)
{
	unsigned i = rq->io.nr_iov++;

	ASSERT(i < rq->cap);
	rq->piece[i] = (struct request_piece){ folio, first, nr };
	rq->iov[i].iov_base = (u8 *)folio_data(folio) + ((size_t)first << SECTOR_SHIFT);
	rq->iov[i].iov_len = (size_t)nr << SECTOR_SHIFT;
	rq->io.nr += nr;
}

/* ---- read plans ---- */

void read_plan_init(struct read_plan *p, struct iomap_file *file, unsigned pieces)
{
	*p = (struct read_plan){ .file = file, .pieces = pieces };
	TAILQ_INIT(&p->reqs);
}

void read_plan_fini(struct read_plan *p)
{
	struct request *rq;

	while ((rq = TAILQ_FIRST(&p->reqs))) {
		TAILQ_REMOVE(&p->reqs, rq, link);
		request_free(rq);
	}
}

static int plan_fail(struct read_plan *p, int error)
{
	if (!p->error)
		p->error = error;
	return error;
}

static void plan_zero(struct folio *folio, u32 first, u32 nr)
{
	if (nr == 0)
		return;
	memset((u8 *)folio_data(folio) + ((size_t)first << SECTOR_SHIFT), 0,
	       (size_t)nr << SECTOR_SHIFT);
	folio_mark_uptodate(folio, first, nr);
}

static int plan_read(struct read_plan *p, struct folio *folio, u32 first, u32 nr, u64 disk,
		     const u32 *entries)
{
	struct request *rq = TAILQ_LAST(&p->reqs, request_list);
	u64 sector = folio->index + first;

	if (!rq || !request_takes(rq, sector, disk, nr)) {
		rq = request_new(BLK_READ, sector, disk, p->pieces);
		if (!rq)
			return plan_fail(p, -ENOMEM);
		TAILQ_INSERT_TAIL(&p->reqs, rq, link);
	}
	memcpy(rq->sum + rq->io.nr, entries, nr * sizeof(*entries));
	request_add(rq, folio, first, nr);
	p->nr_sectors += nr;
	return 0;
}

enum sector_kind { SECTOR_ZERO, SECTOR_BAD, SECTOR_LOGGED, SECTOR_IN_PLACE };

/* Where a sector's contents are; those in the log are copied at once. */
static enum sector_kind sector_kind(struct read_plan *p, struct folio *folio, u32 i, u64 disk,
				    u32 entry)
{
	u8 *data = (u8 *)folio_data(folio) + ((size_t)i << SECTOR_SHIFT);

	if (entry == FMT_MAP_UNWRITTEN)
		return SECTOR_ZERO;
	if (entry == FMT_MAP_BAD)
		return SECTOR_BAD;
	return p->file->ops->read_logged(p->file, disk, data) ? SECTOR_LOGGED : SECTOR_IN_PLACE;
}

static int plan_run(struct read_plan *p, struct folio *folio, u32 first, u32 nr, u64 disk,
		    const u32 *entries, enum sector_kind kind)
{
	switch (kind) {
	case SECTOR_ZERO:
		plan_zero(folio, first, nr);
		return 0;
	case SECTOR_BAD:
		corrupt_data(WHY_DATA_BAD, p->file->ino, folio->index + first, disk);
		plan_fail(p, -EIO);
		return 0;
	case SECTOR_LOGGED:
		folio_mark_uptodate(folio, first, nr);
		return 0;
	case SECTOR_IN_PLACE:
		break;
	}
	return plan_read(p, folio, first, nr, disk, entries);
}

/* Sectors of one MAPPED range: runs of equal kind by their sector-map entries. */
static int plan_mapped(struct read_plan *p, struct folio *folio, u32 first, u32 nr)
{
	u64 disk = iomap_disk(&p->map, folio->index + first);
	u32 entries[1u << FOLIO_MAX_ORDER];
	enum sector_kind kind, next;
	int r;

	r = p->file->ops->map_entries(p->file, disk, nr, entries);
	if (r)
		return plan_fail(p, r);
	kind = sector_kind(p, folio, first, disk, entries[0]);
	for (u32 i = 0, run; i < nr && !r; i += run, kind = next) {
		next = kind;
		for (run = 1; i + run < nr; run++) {
			next = sector_kind(p, folio, first + i + run, disk + i + run,
					   entries[i + run]);
			if (next != kind)
				break;
		}
		r = plan_run(p, folio, first + i, run, disk + i, entries + i, kind);
	}
	return r;
}

static int plan_inline(struct read_plan *p, struct folio *folio, u32 first, u32 nr)
{
	u8 *data = folio_data(folio);
	int len;

	plan_zero(folio, first + (folio->index + first == 0), nr - (folio->index + first == 0));
	if (folio->index + first != 0)
		return 0;
	len = p->file->ops->inline_read(p->file, data);
	if (len < 0)
		return plan_fail(p, len);
	memset(data + len, 0, SECTOR_SIZE - (u32)len);
	folio_mark_uptodate(folio, 0, 1);
	return 0;
}

int read_plan_add(struct read_plan *p, struct folio *folio, u32 first, u32 nr)
{
	struct iomap_file *f = p->file;
	int r = 0;

	while (nr > 0 && !r) {
		u64 pos = (folio->index + first) << SECTOR_SHIFT;
		u64 left;
		u32 n;

		if (!iomap_contains(&p->map, pos) || !f->ops->valid(f, &p->map)) {
			r = f->ops->map(f, pos, (u64)nr << SECTOR_SHIFT, IOMAP_READ, &p->map);
			if (r) {
				p->map.length = 0;
				return plan_fail(p, r);
			}
		}
		left = (iomap_end(&p->map) - pos) >> SECTOR_SHIFT;
		n = (u32)MIN(left, (u64)nr);
		if (p->map.type == IOMAP_MAPPED)
			r = plan_mapped(p, folio, first, n);
		else if (p->map.type == IOMAP_INLINE)
			r = plan_inline(p, folio, first, n);
		else
			plan_zero(folio, first, n);
		first += n;
		nr -= n;
	}
	return r;
}

/* One sector was read: is it what was written there last? */
static int sector_verify(struct iomap_file *f, const struct request_piece *pc, u32 k,
			 const u8 *data, u64 disk, u32 entry)
{
	if (likely(fmt_map_accepts(entry, data)))
		return 0;
	corrupt_data(WHY_DATA_CHECKSUM, f->ino, pc->folio->index + pc->first + k, disk);
	stat_inc(STAT_CHECKSUM_ERRORS);
	folio_set_poison(pc->folio, pc->first + k, 1);
	return -EIO;
}

static int piece_verify(struct iomap_file *f, const struct request_piece *pc, const u8 *data,
			u64 disk, const u32 *sum)
{
	u32 from = 0;
	int err = 0;

	for (u32 k = 0; k < pc->nr; k++) {
		if (!sector_verify(f, pc, k, data + ((size_t)k << SECTOR_SHIFT), disk + k, sum[k]))
			continue;
		err = -EIO;
		if (k > from)
			folio_mark_uptodate(pc->folio, pc->first + from, k - from);
		from = k + 1;
	}
	if (pc->nr > from)
		folio_mark_uptodate(pc->folio, pc->first + from, pc->nr - from);
	return err;
}

int request_verify_piece(struct iomap_file *f, struct request *rq, unsigned i, u32 at)
{
	return piece_verify(f, &rq->piece[i], rq->iov[i].iov_base, rq->io.sector + at,
			    rq->sum + at);
}

int request_verify(struct iomap_file *f, struct request *rq)
{
	u32 at = 0;
	int err = 0;

	for (unsigned i = 0; i < rq->io.nr_iov; at += rq->piece[i++].nr) {
		int r = request_verify_piece(f, rq, i, at);

		err = err ? err : r;
	}
	return err;
}

bool request_accepted(struct request *rq)
{
	u32 at = 0;

	for (unsigned i = 0; i < rq->io.nr_iov; i++) {
		const u8 *data = rq->iov[i].iov_base;

		for (u32 k = 0; k < rq->piece[i].nr; k++, at++)
			if (!fmt_map_accepts(rq->sum[at], data + ((size_t)k << SECTOR_SHIFT)))
				return false;
	}
	for (unsigned i = 0; i < rq->io.nr_iov; i++)
		folio_mark_uptodate(rq->piece[i].folio, rq->piece[i].first, rq->piece[i].nr);
	return true;
}

/* A request failed: each of its sectors on its own. */
static void plan_retry(struct read_plan *p, struct request *rq)
{
	u64 disk = rq->io.sector;
	const u32 *sum = rq->sum;

	for (unsigned i = 0; i < rq->io.nr_iov; i++) {
		struct request_piece *pc = &rq->piece[i];
		u8 *data = rq->iov[i].iov_base;

		for (u32 k = 0; k < pc->nr; k++, disk++, sum++, data += SECTOR_SIZE) {
			int r = blk_read(p->file->dev, disk, data, 1, BLK_DATA);

			if (!r)
				r = sector_verify(p->file, pc, k, data, disk, *sum);
			if (r)
				plan_fail(p, r);
			else
				folio_mark_uptodate(pc->folio, pc->first + k, 1);
		}
	}
}

static void plan_done(struct blk_io *io UNUSED)
{
}

int read_plan_run(struct read_plan *p)
{
	struct blk_batch batch;
	struct request *rq;

	if (TAILQ_EMPTY(&p->reqs))
		return p->error;
	blk_batch_init(&batch, p->file->dev);
	TAILQ_FOREACH (rq, &p->reqs, link) {
		rq->io.done = plan_done;
		blk_batch_add(&batch, &rq->io);
	}
	blk_batch_fini(&batch);
	TAILQ_FOREACH (rq, &p->reqs, link) {
		if (rq->io.res)
			plan_retry(p, rq);
		else if (request_verify(p->file, rq))
			plan_fail(p, -EIO);
	}
	stat_add(STAT_CACHE_FILLS, p->nr_sectors);
	return p->error;
}
