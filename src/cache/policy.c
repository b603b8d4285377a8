/*
 * policy: the one door to the eviction policy chosen at mount.
 *
 * Invariants:
 *  1. FOLIO_QUEUED is set exactly while a folio is in the policy's queues: from after it was put
 *     into an index until before its descriptor is free.
 *  2. A folio that policy_isolate() hands out is locked, has a reference of the caller, and is
 *     still queued; if it can't be evicted after all, nothing has to be undone.
 *
 * Locks: policy.lock (RANK_POLICY). Folio locks are only tried here.
 */
#include "cache/policy.h"

#include <string.h>

#include "base/err.h"

#define SCAN_MAX 1024u /* folios looked at under one hold of the lock */

static const struct policy_ops *const policies[] = {
	&policy_s3fifo, &policy_clock, &policy_lru, &policy_sieve,
};

static struct {
	struct mutex lock;
	const struct policy_ops *ops;
	u64 sectors; /* queued, atomic for readers */
	struct folio_list high; /* folios with FOLIO_HIGH: the policy does not know them */
	u64 high_sectors;       /* atomic for readers */
} policy = { .lock = MUTEX_INIT(RANK_POLICY) };

int policy_init(const char *name, u64 sectors)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		if (strcmp(name ? name : policies[0]->name, policies[i]->name) != 0)
			continue;
		policy.ops = policies[i];
		policy.sectors = policy.high_sectors = 0;
		TAILQ_INIT(&policy.high);
		return policy.ops->init(sectors);
	}
	return -EINVAL;
}

void policy_fini(void)
{
	if (policy.ops)
		policy.ops->fini();
	policy.ops = NULL;
}

u64 policy_overhead_bytes(void)
{
	return policy.ops && policy.ops->overhead_bytes ? policy.ops->overhead_bytes() : 0;
}

u64 policy_sectors(void)
{
	return __atomic_load_n(&policy.sectors, __ATOMIC_RELAXED);
}

u64 policy_high_sectors(void)
{
	return __atomic_load_n(&policy.high_sectors, __ATOMIC_RELAXED);
}

static void count_high(const struct folio *f, int sign)
{
	u64 sectors = sign < 0 ? -(u64)folio_sectors(f) : folio_sectors(f);

	__atomic_store_n(&policy.high_sectors, policy.high_sectors + sectors, __ATOMIC_RELAXED);
}

static void count(const struct folio *f, int sign)
{
	u64 sectors = sign < 0 ? -(u64)folio_sectors(f) : folio_sectors(f);

	__atomic_store_n(&policy.sectors, policy.sectors + sectors, __ATOMIC_RELAXED);
}

/* Under the lock, with the flags of its priority set. */
static void enqueue(struct folio *f)
{
	if (folio_has(f, FOLIO_HIGH)) {
		TAILQ_INSERT_HEAD(&policy.high, f, lru);
		count_high(f, 1);
		return;
	}
	policy.ops->insert(f);
	if (folio_has(f, FOLIO_LOW))
		policy.ops->demote(f);
}

static void dequeue(struct folio *f, const u64 *evicted_from)
{
	if (!folio_has(f, FOLIO_HIGH)) {
		policy.ops->remove(f, evicted_from);
		return;
	}
	TAILQ_REMOVE(&policy.high, f, lru);
	count_high(f, -1);
}

void policy_insert(struct folio *f)
{
	mutex_lock(&policy.lock);
	folio_flags_set(f, FOLIO_QUEUED);
	count(f, 1);
	enqueue(f);
	mutex_unlock(&policy.lock);
}

int policy_evicted(u64 id, u64 index)
{
	int evicted;

	if (!policy.ops->evicted)
		return 0;
	mutex_lock(&policy.lock);
	evicted = policy.ops->evicted(id, index);
	mutex_unlock(&policy.lock);
	return evicted;
}

void policy_remove(struct folio *f, const u64 *evicted_from)
{
	mutex_lock(&policy.lock);
	ASSERT(folio_has(f, FOLIO_QUEUED));
	dequeue(f, evicted_from);
	count(f, -1);
	folio_flags_clear(f, FOLIO_QUEUED);
	mutex_unlock(&policy.lock);
}

void policy_refile(struct folio *f, u32 flags)
{
	mutex_lock(&policy.lock);
	if (folio_has(f, FOLIO_QUEUED)) {
		dequeue(f, NULL);
		folio_flags_clear(f, FOLIO_HIGH | FOLIO_LOW);
		folio_flags_set(f, flags);
		enqueue(f);
	}
	mutex_unlock(&policy.lock);
}

struct folio *policy_split(struct folio *f)
{
	const u32 both = FOLIO_UNUSED | FOLIO_ERROR | FOLIO_HIGH | FOLIO_LOW;
	struct folio *g;

	mutex_lock(&policy.lock);
	ASSERT(folio_has(f, FOLIO_QUEUED));
	g = mem_split(f);
	if (g) {
		folio_flags_set(g, FOLIO_LOCKED | FOLIO_QUEUED | (folio_flags(f) & both));
		if (folio_has(f, FOLIO_HIGH))
			TAILQ_INSERT_AFTER(&policy.high, f, g, lru);
		else
			policy.ops->split(f, g);
	}
	mutex_unlock(&policy.lock);
	return g;
}

void policy_access(struct folio *f)
{
	if (likely(!policy.ops->access))
		return;
	mutex_lock(&policy.lock);
	if (folio_has(f, FOLIO_QUEUED) && !folio_has(f, FOLIO_HIGH))
		policy.ops->access(f);
	mutex_unlock(&policy.lock);
}

void policy_demote(struct folio *f)
{
	mutex_lock(&policy.lock);
	if (folio_has(f, FOLIO_QUEUED) && !folio_has(f, FOLIO_HIGH)) {
		policy.ops->demote(f);
		stat_inc(STAT_CACHE_DEMOTIONS);
	}
	mutex_unlock(&policy.lock);
}

/* Those of high priority among themselves: as CLOCK. */
static struct folio *high_victim(u64 *scan)
{
	struct folio *f;

	while (*scan > 0 && (f = TAILQ_LAST(&policy.high, folio_list))) {
		(*scan)--;
		TAILQ_REMOVE(&policy.high, f, lru);
		TAILQ_INSERT_HEAD(&policy.high, f, lru);
		if (policy_used_again(f))
			policy_cool(f);
		else if (policy_may_go(f))
			return f;
	}
	return NULL;
}

/* Locked and referenced, or let go. */
static bool isolate(struct folio *f)
{
	u32 alone = 1;

	if (!folio_trylock(f))
		return false;
	if (__atomic_compare_exchange_n(&f->refs, &alone, 2, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED))
		return true;
	folio_unlock(f);
	return false;
}

static u32 isolate_from(struct folio *(*victim)(u64 *scan), struct folio **out, u32 nr,
			u32 max_sectors, u64 *scan)
{
	u64 some = MIN(*scan, (u64)SCAN_MAX), left = some;
	u32 found = 0, sectors = 0;

	mutex_lock(&policy.lock);
	while (found < nr && sectors < max_sectors) {
		struct folio *f = victim(&left);

		if (!f)
			break;
		if (!isolate(f))
			continue;
		sectors += folio_sectors(f);
		out[found++] = f;
	}
	/* Nothing to look at at all is looked at, too. */
	*scan -= left == some ? some : some - left;
	mutex_unlock(&policy.lock);
	return found;
}

u32 policy_isolate(struct folio **out, u32 nr, u32 max_sectors, u64 *scan)
{
	return isolate_from(policy.ops->victim, out, nr, max_sectors, scan);
}

u32 policy_isolate_high(struct folio **out, u32 nr, u32 max_sectors, u64 *scan)
{
	return isolate_from(high_victim, out, nr, max_sectors, scan);
}
