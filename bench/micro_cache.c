/*
 * What the cache itself costs, in this process, without FUSE and without a disk: a hit, a hit with
 * the copy of its 4 KiB, a miss with eviction, and the memory outside the arena.
 *
 *	micro_cache [CACHE_MIB [FOLIO_ORDER [THREADS]]]
 *
 * Prints one line for each measure: name, value, unit.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cache/cache.h"

#define LOOPS 2000000ull

static struct mapping map;
static u64 span;         /* sectors that are cached */
static bool copy;

static int fill(struct mapping *m, struct folio *f, u32 first, u32 nr)
{
	(void)m;
	folio_mark_uptodate(f, first, nr);
	return 0;
}

static const struct mapping_ops ops = { .fill = fill };

static u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void bring(u64 sector, unsigned order)
{
	struct folio *f;

	if (cache_get(&map, sector, order, 0, &f))
		abort();
	folio_make_uptodate(f, 0, folio_sectors(f));
	folio_unlock(f);
	folio_put(f);
}

static void *hits(void *arg)
{
	u64 state = (u64)(uintptr_t)arg * 0x9e3779b97f4a7c15ull | 1;
	u8 buf[SECTOR_SIZE];

	for (u64 i = 0; i < LOOPS; i++) {
		u64 sector = next_random(&state) % span;
		struct folio *f = cache_find(&map, sector);

		if (!f || !folio_range_uptodate(f, (u32)(sector - f->index), 1))
			abort();
		if (copy) {
			const u8 *data = folio_data(f);

			memcpy(buf, data + ((sector - f->index) << SECTOR_SHIFT), sizeof(buf));
			__asm__ volatile("" : : "r"(buf) : "memory");
		}
		folio_put(f);
	}
	return NULL;
}

static void run_hits(const char *name, unsigned threads, bool with_copy)
{
	pthread_t thread[64];
	u64 start = now_ns();

	copy = with_copy;
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, hits, (void *)(uintptr_t)(i + 1)))
			abort();
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("%-28s %10.1f ns\n", name, (double)(now_ns() - start) / (double)LOOPS);
}

static void run_misses(unsigned order)
{
	u64 start, nr = 200000 >> order, at = 1ull << 40;

	start = now_ns();
	for (u64 i = 0; i < nr; i++, at += order_sectors(order))
		bring(at, order);
	printf("%-28s %10.1f ns\n", "miss with eviction", (double)(now_ns() - start) / (double)nr);
}

int main(int argc, char **argv)
{
	u64 mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 256;
	unsigned order = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	unsigned threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
	struct cache_config cfg = { .bytes = mib << 20, .max_order = FOLIO_MAX_ORDER };

	if (cache_init(&cfg) || threads < 1 || threads > 64 || order > FOLIO_MAX_ORDER)
		return 2;
	mapping_init(&map, &ops, NULL);
	span = ALIGN_DOWN((mib << 20) / SECTOR_SIZE * 15 / 16, 1ull << FOLIO_MAX_ORDER);
	for (u64 at = 0; at < span; at += order_sectors(order))
		bring(at, order);
	run_hits("hit", threads, false);
	run_hits("hit and copy of 4 KiB", threads, true);
	run_misses(order);
	printf("%-28s %10.1f KiB for each GiB\n", "memory outside the arena",
	       (double)cache_overhead_bytes() / 1024 / (double)mib * 1024);
	cache_drop(&map, 0, UINT64_MAX >> SECTOR_SHIFT);
	mapping_fini(&map);
	cache_fini();
	return 0;
}
