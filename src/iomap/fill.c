/*
 * Filling folios: the mapping operations of file data.
 *
 * iomap_fill() reads in the calling thread. iomap_fill_async() makes one plan for all the folios
 * first (lookups may block and may fail), so that neighbours on the disk become one request, then
 * sends it through the shared ring; the last request of a folio to end unlocks and puts it.
 *
 * 1. An asynchronous fill owns the lock of each folio and one reference from its start until the
 *    last request that touches this folio has ended.
 * 2. What failed stays stale: the next reader fills it again and gets the error.
 */
#include <stdlib.h>

#include "base/err.h"
#include "iomap/request.h"
#include "stat/stat.h"

static int iomap_fill(struct mapping *m, struct folio *folio, u32 first, u32 nr)
{
	struct read_plan plan;
	int r;

	read_plan_init(&plan, container_of(m, struct iomap_file, mapping), nr);
	read_plan_add(&plan, folio, first, nr);
	r = read_plan_run(&plan);
	read_plan_fini(&plan);
	return r;
}

/* ---- asynchronous ---- */

struct async_part {
	struct async_fill *fill;
	struct folio *folio;
	u32 pending;                    /* requests under way that touch it, and one for the
					 * submitter; atomic */
};

struct async_fill {
	struct iomap_file *file;
	u32 users;                      /* parts that have not ended; atomic */
	struct async_part part[];
};

static void part_put(struct async_part *p)
{
	struct async_fill *a = p->fill;

	if (__atomic_sub_fetch(&p->pending, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	folio_unlock(p->folio);
	folio_put(p->folio);
	if (__atomic_sub_fetch(&a->users, 1, __ATOMIC_ACQ_REL) == 0)
		free(a);
}

/* The part of a piece: at p or behind it. */
static struct async_part *part_of(struct async_part *p, const struct request_piece *piece)
{
	while (p->folio != piece->folio)
		p++;
	return p;
}

/*
 * In the reaper thread. Requests of one folio end one after another there, or in the submitter:
 * marking needs no lock. Who waits for a folio need not wait until those behind it are checked.
 */
static void async_done(struct blk_io *io)
{
	struct request *rq = container_of(io, struct request, io);
	struct async_part *p = io->arg, *next;
	struct iomap_file *file = p->fill->file;
	u32 at = 0;

	for (unsigned i = 0; i < io->nr_iov; i++, p = next) {
		/* What does not match is poisoned: the next reader gets the error. */
		if (!io->res)
			request_verify_piece(file, rq, i, at);
		at += rq->piece[i].nr;
		next = i + 1 < io->nr_iov ? part_of(p, &rq->piece[i + 1]) : NULL;
		part_put(p);
	}
	request_free(rq);
}

static int async_plan(struct read_plan *plan, struct folio *folio)
{
	u32 at = 0, first, nr;

	while (folio_next_stale(folio, at, folio_sectors(folio), &first, &nr)) {
		int r = read_plan_add(plan, folio, first, nr);

		if (r)
			return r;
		at = first + nr;
	}
	return 0;
}

/* Each request begins at a part, and holds all the parts that it touches, once for each piece. */
static void async_hold(struct request *rq, struct async_part **p)
{
	*p = part_of(*p, &rq->piece[0]);
	rq->io.done = async_done;
	rq->io.arg = *p;
	for (unsigned i = 0; i < rq->io.nr_iov; i++) {
		*p = part_of(*p, &rq->piece[i]);
		__atomic_add_fetch(&(*p)->pending, 1, __ATOMIC_RELAXED);
	}
}

#define SUBMIT_MAX 64u

static void async_submit(struct read_plan *plan, struct async_fill *a)
{
	struct async_part *p = a->part;
	struct blk_io *io[SUBMIT_MAX];
	struct request *rq;
	unsigned nr = 0;

	while ((rq = TAILQ_FIRST(&plan->reqs))) {
		TAILQ_REMOVE(&plan->reqs, rq, link);
		async_hold(rq, &p);
		io[nr++] = &rq->io;
		if (nr < SUBMIT_MAX && !TAILQ_EMPTY(&plan->reqs))
			continue;
		blk_submit_async_list(plan->file->dev, io, nr);
		nr = 0;
	}
	stat_add(STAT_CACHE_FILLS, plan->nr_sectors);
}

static struct async_fill *async_new(struct iomap_file *file, struct folio **folio, u32 nr)
{
	struct async_fill *a = malloc(sizeof(*a) + nr * sizeof(a->part[0]));

	if (!a)
		return NULL;
	*a = (struct async_fill){ .file = file, .users = nr };
	for (u32 i = 0; i < nr; i++)
		a->part[i] = (struct async_part){ a, folio[i], 1 };
	return a;
}

static int iomap_fill_async(struct mapping *m, struct folio **folio, u32 nr)
{
	struct iomap_file *file = container_of(m, struct iomap_file, mapping);
	struct async_fill *a = async_new(file, folio, nr);
	struct read_plan plan;
	int r = a ? 0 : -ENOMEM;

	read_plan_init(&plan, file, nr);
	for (u32 i = 0; i < nr && !r; i++)
		r = async_plan(&plan, folio[i]);
	if (r) {
		read_plan_fini(&plan);
		free(a);
		return r;
	}
	async_submit(&plan, a);
	for (u32 i = 0; i < nr; i++)
		part_put(&a->part[i]);
	return 0;
}

static int iomap_no_writeback(struct mapping *m)
{
	struct iomap_file *f = m->host;

	return f->ops->no_writeback ? f->ops->no_writeback(f) : 0;
}

const struct mapping_ops iomap_mapping_ops = {
	.fill = iomap_fill,
	.fill_async = iomap_fill_async,
	.no_writeback = iomap_no_writeback,
};
