/*
 * Reads that end later.
 *
 * 1. Everything happens in one thread: the requests go through its own ring, so nothing here is
 *    atomic but the sum of what is under way.
 * 2. From start to end a read owns the locks of the folios that it fills, got by trying only, and a
 *    reference to each folio of its slices, which goes with iomap_pending_free().
 * 3. The end may come inside any wait of the thread. It marks, unlocks and tells the owner; what
 *    would take a lock (the last reference to a folio, a word about damage) waits: what failed
 *    stays stale, and whoever reads it again hears why.
 * 4. Reads under way hold no more than 1/8 of the cache: others find room to go on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "iomap/request.h"
#include "mem/mem.h"
#include "stat/stat.h"

struct pending_fill {
	struct iomap_pending p;
	void (*done)(struct iomap_pending *p);
	struct request_list reqs;
	unsigned in_flight;             /* requests, and one for the submitter */
	u64 held;                       /* bytes of the folios locked */
	unsigned nr_locked;
	struct folio **locked;
};

static u64 held_bytes;                  /* atomic: of all reads */

struct pending_fill *pending_new(const struct iomap_async *async, const struct iomap_slice *slices,
				 unsigned nr, u64 bytes)
{
	size_t slices_len = nr * sizeof(*slices), locked_len = nr * sizeof(struct folio *);
	struct pending_fill *pf;

	if (__atomic_load_n(&held_bytes, __ATOMIC_RELAXED) + bytes > mem_total_bytes() / 8)
		return NULL;
	pf = malloc(sizeof(*pf) + slices_len + locked_len + async->own_len);
	if (!pf)
		return NULL;
	*pf = (struct pending_fill){ .done = async->done };
	TAILQ_INIT(&pf->reqs);
	pf->p = (struct iomap_pending){ .nr = nr, .bytes = bytes, .fill = pf };
	pf->p.slices = (struct iomap_slice *)(pf + 1);
	pf->locked = (struct folio **)(pf->p.slices + nr);
	pf->p.own = pf->locked + nr;
	memcpy(pf->p.slices, slices, slices_len);
	async->save(async, pf->p.own);
	return pf;
}

bool pending_lock(struct pending_fill *pf, struct folio *folio)
{
	if (!folio_trylock(folio))
		return false;
	pf->locked[pf->nr_locked++] = folio;
	pf->held += folio_bytes(folio);
	return true;
}

static void unlock_all(struct pending_fill *pf)
{
	for (unsigned i = 0; i < pf->nr_locked; i++)
		folio_unlock(pf->locked[i]);
}

void pending_cancel(struct pending_fill *pf)
{
	unlock_all(pf);
	free(pf);
}

static void put_one(struct pending_fill *pf)
{
	struct request *rq;

	if (--pf->in_flight)
		return;
	pf->p.good = true;
	TAILQ_FOREACH(rq, &pf->reqs, link)
		if (rq->io.res || !request_accepted(rq))
			pf->p.good = false;
	unlock_all(pf);
	pf->done(&pf->p);
}

static void request_done(struct blk_io *io)
{
	put_one(io->arg);
}

void pending_start(struct pending_fill *pf, struct read_plan *plan)
{
	struct request *rq;

	__atomic_fetch_add(&held_bytes, pf->held, __ATOMIC_RELAXED);
	stat_add(STAT_CACHE_FILLS, plan->nr_sectors);
	TAILQ_CONCAT(&pf->reqs, &plan->reqs, link);
	pf->p.began_ns = now_ns();
	pf->in_flight = 1;
	TAILQ_FOREACH(rq, &pf->reqs, link) {
		rq->io.done = request_done;
		rq->io.arg = pf;
		pf->in_flight++;
		blk_start_read(plan->file->dev, &rq->io);
	}
	put_one(pf);
}

void iomap_pending_free(struct iomap_pending *p)
{
	struct pending_fill *pf = p->fill;
	struct request *rq;

	while ((rq = TAILQ_FIRST(&pf->reqs))) {
		TAILQ_REMOVE(&pf->reqs, rq, link);
		request_free(rq);
	}
	for (unsigned i = 0; i < p->nr; i++)
		if (p->slices[i].folio)
			folio_put(p->slices[i].folio);
	__atomic_fetch_sub(&held_bytes, pf->held, __ATOMIC_RELAXED);
	free(pf);
}
