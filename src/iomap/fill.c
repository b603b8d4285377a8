/*
 * Filling folios: the mapping operations of file data.
 *
 * iomap_fill() reads in the calling thread. iomap_fill_async() makes the whole plan first
 * (lookups may block and may fail), then sends it through the shared ring; the last request to
 * end marks, unlocks and puts the folio.
 *
 * 1. An asynchronous fill owns the folio lock and one reference from its start to its end.
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

struct async_fill {
	struct iomap_file *file;
	struct folio *folio;
	u32 pending;                    /* requests under way, and one for the submitter; atomic */
};

static void async_put(struct async_fill *a)
{
	struct folio *folio = a->folio;

	if (__atomic_sub_fetch(&a->pending, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	free(a);
	folio_unlock(folio);
	folio_put(folio);
}

/*
 * In the reaper thread. Requests of one folio end one after another there, or in the submitter:
 * marking needs no lock.
 */
static void async_done(struct blk_io *io)
{
	struct request *rq = container_of(io, struct request, io);
	struct async_fill *a = io->arg;

	/* What does not match is poisoned: the next reader gets the error. */
	if (!io->res)
		request_verify(a->file, rq);
	request_free(rq);
	async_put(a);
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

static void async_submit(struct read_plan *plan, struct async_fill *a)
{
	struct blk_dev *dev = plan->file->dev;
	struct request *rq;

	while ((rq = TAILQ_FIRST(&plan->reqs))) {
		TAILQ_REMOVE(&plan->reqs, rq, link);
		rq->io.done = async_done;
		rq->io.arg = a;
		__atomic_add_fetch(&a->pending, 1, __ATOMIC_RELAXED);
		blk_submit_async(dev, &rq->io);
	}
	stat_add(STAT_CACHE_FILLS, plan->nr_sectors);
}

static int iomap_fill_async(struct mapping *m, struct folio *folio)
{
	struct async_fill *a = malloc(sizeof(*a));
	struct read_plan plan;
	int r;

	if (!a)
		return -ENOMEM;
	read_plan_init(&plan, container_of(m, struct iomap_file, mapping), folio_sectors(folio));
	r = async_plan(&plan, folio);
	if (r) {
		read_plan_fini(&plan);
		free(a);
		return r;
	}
	*a = (struct async_fill){ .file = plan.file, .folio = folio, .pending = 1 };
	async_submit(&plan, a);
	async_put(a);
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
