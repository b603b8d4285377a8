/*
 * cache: start and end of the cache of this process, and the numbers that it shows.
 *
 * Order of the start: memory, the policy, limits, then the arena is offered to the rings for
 * registration. The end is the reverse; every mapping has been emptied by then.
 */
#include "base/err.h"
#include "cache/cache_priv.h"
#include "cache/index.h"
#include "ring/ring.h"

#define GAUGES_MAX 32u

static struct {
	bool ready;
	struct stat_gauge *gauge[GAUGES_MAX];
	unsigned nr_gauges;
} cache;

u64 cache_bytes(void)
{
	return mem_used_bytes();
}

void cache_folios_by_order(u64 counts[FOLIO_MAX_ORDER + 1])
{
	for (unsigned k = 0; k <= FOLIO_MAX_ORDER; k++)
		counts[k] = mem_folios_of_order(k);
}

u64 cache_overhead_bytes(void)
{
	return mem_overhead_bytes() + index_bytes() + policy_overhead_bytes();
}

/* ---- gauges: atomics only ---- */

static u64 gauge_total(void *arg)
{
	(void)arg;
	return mem_total_bytes();
}

static u64 gauge_used(void *arg)
{
	(void)arg;
	return mem_used_bytes();
}

static u64 gauge_dirty(void *arg)
{
	(void)arg;
	return cache_dirty_bytes();
}

static u64 gauge_pinned(void *arg)
{
	(void)arg;
	return folio_pinned_bytes();
}

static u64 gauge_overhead(void *arg)
{
	(void)arg;
	return cache_overhead_bytes();
}

static u64 gauge_throttled(void *arg)
{
	(void)arg;
	return cache_throttled();
}

static u64 gauge_order(void *arg)
{
	return mem_folios_of_order((unsigned)(uintptr_t)arg);
}

static const struct {
	const char *name, *unit, *help;
	stat_gauge_fn fn;
} gauges[] = {
	{ "cache_size", "bytes", "memory of the cache", gauge_total },
	{ "cache_used", "bytes", "memory in folios", gauge_used },
	{ "cache_dirty", "bytes", "data not yet on the disk", gauge_dirty },
	{ "cache_pinned", "bytes", "changed metadata, not yet in its place", gauge_pinned },
	{ "cache_overhead", "bytes", "descriptors, frame words, index, outside the cache",
	  gauge_overhead },
	{ "throttled_writers", "", "writers paused at the dirty limit", gauge_throttled },
};

static int gauge_add(const char *name, const char *label, const char *unit, const char *help,
		     stat_gauge_fn fn, void *arg)
{
	int err;

	ASSERT(cache.nr_gauges < GAUGES_MAX);
	err = stat_gauge_add(name, label, unit, help, fn, arg, &cache.gauge[cache.nr_gauges]);
	if (!err)
		cache.nr_gauges++;
	return err;
}

static int gauges_add(void)
{
	static const char *const label[] = {
		"order=0", "order=1", "order=2", "order=3", "order=4",
		"order=5", "order=6", "order=7", "order=8", "order=9",
	};
	int err = 0;

	static_assert(ARRAY_LEN(label) == FOLIO_NR_ORDERS, "a label for each order");
	for (size_t i = 0; !err && i < ARRAY_LEN(gauges); i++)
		err = gauge_add(gauges[i].name, "", gauges[i].unit, gauges[i].help, gauges[i].fn,
				NULL);
	for (uintptr_t k = 0; !err && k < FOLIO_NR_ORDERS; k++)
		err = gauge_add("folios", label[k], "folios", "folios in the cache by order",
				gauge_order, (void *)k);
	return err;
}

/* ---- start and end ---- */

int cache_init(const struct cache_config *cfg)
{
	struct mem_config mc = { .bytes = cfg->bytes, .max_order = cfg->max_order };
	int err;

	ASSERT(!cache.ready);
	err = mem_init(&mc);
	if (err)
		return err;
	cache.ready = true;
	reclaim_init(cfg);
	throttle_init(cfg, mem_nr_frames());
	err = policy_init(cfg->policy, mem_nr_frames());
	if (!err)
		err = mapping_min_order(cfg->min_order);
	if (!err)
		err = gauges_add();
	if (!err)
		err = ring_memory_set(mem_base(), mem_len());
	if (err)
		cache_fini();
	return err;
}

void cache_fini(void)
{
	if (!cache.ready)
		return;
	while (cache.nr_gauges > 0)
		stat_gauge_del(cache.gauge[--cache.nr_gauges]);
	ring_memory_set(NULL, 0);
	index_fini();
	policy_fini();
	setting_fini();
	mem_fini();
	cache.ready = false;
}
