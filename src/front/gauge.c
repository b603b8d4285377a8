/*
 * Gauges: cache, folios, memory outside of the cache, open files.
 *
 * Rules
 * 1. A gauge reads atomics only: it runs under RANK_STAT, inside of everything.
 */
#include <errno.h>

#include "cache/cache.h"
#include "front/front.h"
#include "front/gauge.h"
#include "front/session.h"
#include "mem/mem.h"
#include "stat/stat.h"

static u64 cache_total(void *arg)
{
	(void)arg;
	return mem_total_bytes();
}

static u64 cache_used(void *arg)
{
	(void)arg;
	return cache_bytes();
}

static u64 cache_free(void *arg)
{
	(void)arg;
	return mem_free_bytes();
}

static u64 cache_dirty(void *arg)
{
	(void)arg;
	return cache_dirty_bytes();
}

static u64 memory_overhead(void *arg)
{
	(void)arg;
	return mem_overhead_bytes();
}

static u64 memory_buffers(void *arg)
{
	struct front *fr = arg;

	return session_memory(fr->session);
}

static u64 open_files(void *arg)
{
	struct front *fr = arg;

	return __atomic_load_n(&fr->nr_files, __ATOMIC_RELAXED);
}

static u64 folios_of_order(void *arg)
{
	u64 counts[FOLIO_NR_ORDERS];

	cache_folios_by_order(counts);
	return counts[(uintptr_t)arg];
}

static const struct {
	const char *name, *unit, *help;
	stat_gauge_fn fn;
} rows[] = {
	{ "cache_size", "bytes", "budget of the cache", cache_total },
	{ "cache_used", "bytes", "bytes in folios", cache_used },
	{ "cache_free", "bytes", "bytes of the budget that are free", cache_free },
	{ "cache_dirty", "bytes", "bytes that are to be written to the device", cache_dirty },
	{ "memory_overhead", "bytes", "descriptors and tables outside the cache", memory_overhead },
	{ "memory_buffers", "bytes", "buffers of requests outside the cache", memory_buffers },
	{ "open_files", "", "files and directories that are open", open_files },
};

static const char *const order_labels[FOLIO_NR_ORDERS] = {
	"order=0", "order=1", "order=2", "order=3", "order=4",
	"order=5", "order=6", "order=7", "order=8", "order=9",
};

static struct stat_gauge *gauges[ARRAY_LEN(rows) + FOLIO_NR_ORDERS];

int gauges_add(struct front *fr)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows) && !err; i++)
		err = stat_gauge_add(rows[i].name, "", rows[i].unit, rows[i].help, rows[i].fn, fr,
				     &gauges[n++]);
	for (uintptr_t i = 0; i < FOLIO_NR_ORDERS && !err; i++)
		err = stat_gauge_add("folios", order_labels[i], "folios", "folios in the cache by order",
				     folios_of_order, (void *)i, &gauges[n++]);
	if (err)
		gauges_del();
	return err;
}

void gauges_del(void)
{
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
		stat_gauge_del(gauges[i]);
		gauges[i] = NULL;
	}
}
