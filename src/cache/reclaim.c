/*
 * reclaim: memory for new folios, within the budget.
 *
 * The budget is the arena: there is no memory beyond it. When it is used up, a batch of clean
 * folios goes; when there are none, the flusher and the journal are asked for some, and the caller
 * waits.
 *
 * 1. A large folio is tried first, then with one batch evicted; after that smaller ones are taken
 *    before anything else is evicted. Order 0 (or the exact order) is the last resort and waits.
 *    While plenty is free, only in small pieces, nothing is evicted for a large one, but memory is
 *    compacted if that pays (compact.c): a fragmented cache is still a cache.
 * 2. Writeback, commit and checkpoint use CACHE_RESERVE, so they get on when nobody else does, and
 *    what they finish is what the others wait for.
 * 3. A wait ends with every progress (reclaim_progress()) and at the latest after SLICE_MS, because
 *    a reference that somebody puts, or a lock, is no progress that is told.
 * 4. -ENOMEM only if for CACHE_RECLAIM_TIMEOUT_MS nothing at all was freed; that is logged.
 * 5. Before anybody waits, clean parts of partly dirty folios go. A victim of which only one half
 *    was used again loses the other (reshape.c).
 * 6. If an exact order can't be had though memory is freed, all folios of one aligned run are
 *    evicted.
 *
 * Locks: none is held in a wait. The condition's mutex has RANK_POLICY and nothing is taken inside.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "cache/cache_priv.h"

#define BATCH_FOLIOS 64u
#define BATCH_SECTORS 256u /* 1 MiB */
#define SLICE_MS 50u
#define RUN_AFTER 3u       /* rounds without success before a run is evicted */

static struct {
	struct mutex lock;
	struct cond cond;
	u32 waiters; /* atomic */
	u64 epoch;   /* raised with every progress while somebody waits; atomic for readers */
	void (*want_writeback)(void *arg);
	void (*want_checkpoint)(void *arg);
	void *arg;
	bool ready;
} reclaim;

void reclaim_init(const struct cache_config *cfg)
{
	if (!reclaim.ready) {
		mutex_init(&reclaim.lock, RANK_POLICY);
		cond_init(&reclaim.cond);
		reclaim.ready = true;
	}
	reclaim.want_writeback = cfg->want_writeback;
	reclaim.want_checkpoint = cfg->want_checkpoint;
	reclaim.arg = cfg->arg;
}

/* ---- waiting ---- */

void reclaim_progress(void)
{
	if (likely(__atomic_load_n(&reclaim.waiters, __ATOMIC_SEQ_CST) == 0))
		return;
	mutex_lock(&reclaim.lock);
	__atomic_store_n(&reclaim.epoch, reclaim.epoch + 1, __ATOMIC_SEQ_CST);
	cond_broadcast(&reclaim.cond);
	mutex_unlock(&reclaim.lock);
}

void reclaim_enter(void)
{
	__atomic_fetch_add(&reclaim.waiters, 1, __ATOMIC_SEQ_CST);
}

void reclaim_leave(void)
{
	__atomic_fetch_sub(&reclaim.waiters, 1, __ATOMIC_SEQ_CST);
}

u64 reclaim_epoch(void)
{
	return __atomic_load_n(&reclaim.epoch, __ATOMIC_SEQ_CST);
}

void reclaim_wait_ms(u64 epoch, u64 ms)
{
	u64 until = now_ns() + ms * NS_PER_MS, now;

	lock_assert_may_io();
	mutex_lock(&reclaim.lock);
	while (reclaim.epoch == epoch && (now = now_ns()) < until)
		cond_timedwait_ms(&reclaim.cond, &reclaim.lock, (until - now) / NS_PER_MS + 1);
	mutex_unlock(&reclaim.lock);
}

void reclaim_want_writeback(void)
{
	if (reclaim.want_writeback)
		reclaim.want_writeback(reclaim.arg);
}

/* Nothing could be evicted: those who can change that hear of it. */
static void ask_for_progress(void)
{
	if (cache_dirty_bytes() > 0)
		reclaim_want_writeback();
	if (folio_pinned_bytes() > 0 && reclaim.want_checkpoint)
		reclaim.want_checkpoint(reclaim.arg);
}

/* ---- evicting ---- */

typedef u32 (*isolate_fn)(struct folio **out, u32 nr, u32 max_sectors, u64 *scan);

static u64 evict_from(isolate_fn isolate, u64 want, u64 scan)
{
	struct folio *batch[BATCH_FOLIOS];
	u64 gone = 0;

	while (gone < want) {
		u32 n = isolate(batch, BATCH_FOLIOS, (u32)MIN(want - gone, (u64)BATCH_SECTORS),
				&scan);

		if (n == 0 && scan == 0)
			break;
		for (u32 i = 0; i < n; i++)
			gone += folio_half_cold(batch[i]) ? mapping_evict_cold(batch[i]) :
							    mapping_evict(batch[i]);
	}
	return gone;
}

/*
 * Evicts about so many sectors; returns how many went. One pass over the queues at most; those of
 * high priority only if nothing else could go.
 */
static u64 evict_sectors(u64 want)
{
	u64 gone = evict_from(policy_isolate, want, policy_sectors() + BATCH_FOLIOS);

	if (gone == 0 && policy_high_sectors() > 0)
		gone = evict_from(policy_isolate_high, want, 2 * policy_high_sectors());
	return gone;
}

u64 cache_evict(u64 bytes)
{
	return evict_sectors(bytes_to_sectors_up(bytes)) << SECTOR_SHIFT;
}

static u64 batch_sectors(unsigned order)
{
	u64 share = mem_total_bytes() / 64 / SECTOR_SIZE;

	return MAX(MIN(share, (u64)BATCH_SECTORS), (u64)order_sectors(order));
}

/* ---- allocating ---- */

static struct folio *alloc_smaller(unsigned order, unsigned mflags)
{
	struct folio *f = NULL;

	while (!f && order-- > 0)
		f = mem_alloc(order, mflags);
	if (f)
		stat_inc(STAT_FOLIO_FALLBACKS);
	return f;
}

/* More is free than the reserve and what a batch brings: it is only in too small pieces. */
static bool is_fragmented(unsigned order)
{
	u64 spare = mem_reserve_bytes() + (2 * batch_sectors(order) << SECTOR_SHIFT);

	return mem_free_bytes() > spare;
}

/* One round without waiting. */
static struct folio *alloc_round(unsigned order, unsigned mflags, bool exact, u64 *evicted)
{
	struct folio *f = mem_alloc(order, mflags);

	*evicted = 0;
	if (f)
		return f;
	if (is_fragmented(order) && compact_run(order))
		f = mem_alloc(order, mflags);
	if (!f && (exact || !is_fragmented(order)))
		*evicted = evict_sectors(batch_sectors(order));
	if (*evicted)
		f = mem_alloc(order, mflags);
	if (!f && !exact)
		f = alloc_smaller(order, mflags);
	return f;
}

static int give_up(void)
{
	log_err("cache: no memory for %u s: %llu bytes dirty, %llu pinned of %llu",
		CACHE_RECLAIM_TIMEOUT_MS / 1000, (unsigned long long)cache_dirty_bytes(),
		(unsigned long long)folio_pinned_bytes(), (unsigned long long)mem_total_bytes());
	return -ENOMEM;
}

static int alloc_slow(unsigned order, unsigned mflags, bool exact, struct folio **out)
{
	u64 progress_ns = now_ns(), evicted, epoch;
	struct folio *f;

	for (unsigned round = 1;; round++) {
		epoch = reclaim_epoch();
		if (exact && order > 0 && round > RUN_AFTER)
			compact_evict_run(order);
		f = alloc_round(order, mflags, exact, &evicted);
		if (f)
			break;
		if (evicted)
			progress_ns = now_ns();
		if (now_ns() - progress_ns > CACHE_RECLAIM_TIMEOUT_MS * NS_PER_MS)
			return give_up();
		if (!evicted && compact_split_dirty(batch_sectors(order)))
			continue;
		if (evicted && round <= RUN_AFTER)
			continue;
		ask_for_progress();
		stat_inc(STAT_CACHE_MEMORY_WAITS);
		reclaim_wait_ms(epoch, SLICE_MS);
	}
	*out = f;
	return 0;
}

int reclaim_alloc(unsigned order, unsigned flags, struct folio **out)
{
	unsigned mflags = flags & CACHE_RESERVE ? MEM_RESERVE : 0;
	bool exact = flags & CACHE_EXACT;
	struct folio *f;
	u64 evicted;
	int err;

	f = alloc_round(order, mflags, exact, &evicted);
	if (f) {
		*out = f;
		return 0;
	}
	if (flags & CACHE_NOWAIT)
		return -EAGAIN;
	reclaim_enter();
	err = alloc_slow(order, mflags, exact, out);
	reclaim_leave();
	return err;
}
