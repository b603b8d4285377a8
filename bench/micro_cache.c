/*
 * What the cache itself costs, in this process, without FUSE and without a disk: a hit (lookup,
 * get, put) over many and over few folios, with two threads, with the copy of its 4 KiB against
 * pread(2) of a file that the kernel has cached, a miss with eviction, and the memory outside the
 * arena.
 *
 *	micro_cache [FOLDER]       where the file for pread lies ($TMPDIR, /var/tmp)
 *
 * Prints one line for each figure: name, value, unit, between tabs. Times are the best of ROUNDS,
 * as anything else that runs only adds to them.
 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "cache/cache.h"

#define LOOPS 2000000u
#define ROUNDS 5
#define MANY (1u << 20)
#define FEW 1000u
#define COPIES 256u          /* sectors that are copied: 1 MiB, as hot as the kernel's */
#define ZIPF_THETA 0.99

static struct mapping map;
static u32 *order_of_use;    /* LOOPS sectors */
static int copy_fd = -1;     /* pread here instead of reading the cache */
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

static double next_unit(u64 *state)
{
	return (double)(next_random(state) >> 11) / (double)(1ull << 53);
}

/* ---- orders of use ---- */

static void use_uniform(u32 nr)
{
	u64 state = 88172645463325252ull;

	for (u32 i = 0; i < LOOPS; i++)
		order_of_use[i] = (u32)(next_random(&state) % nr);
}

/* Which place each rank has: popular sectors lie anywhere, not side by side. */
static u32 *shuffled(u32 nr, u64 *state)
{
	u32 *place = malloc(nr * sizeof(*place));

	if (!place)
		abort();
	for (u32 i = 0; i < nr; i++)
		place[i] = i;
	for (u32 i = nr - 1; i > 0; i--) {
		u32 j = (u32)(next_random(state) % (i + 1)), was = place[i];

		place[i] = place[j];
		place[j] = was;
	}
	return place;
}

/* Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994. */
static void use_zipf(u32 nr)
{
	u64 state = 88172645463325252ull;
	u32 *place = shuffled(nr, &state);
	double zeta = 0, half = pow(0.5, ZIPF_THETA), alpha = 1 / (1 - ZIPF_THETA), eta;

	for (u32 i = 1; i <= nr; i++)
		zeta += 1 / pow(i, ZIPF_THETA);
	eta = (1 - pow(2.0 / nr, 1 - ZIPF_THETA)) / (1 - (1 + half) / zeta);
	for (u32 i = 0; i < LOOPS; i++) {
		double u = next_unit(&state), uz = u * zeta;
		u32 rank = uz < 1 ? 0 : uz < 1 + half ? 1 :
			   (u32)(nr * pow(eta * u - eta + 1, alpha));

		order_of_use[i] = place[MIN(rank, nr - 1)];
	}
	free(place);
}

/* ---- what is measured ---- */

static void hit(u64 sector)
{
	struct folio *f = cache_find(&map, sector);

	if (!f || !folio_range_uptodate(f, (u32)(sector - f->index), 1))
		abort();
	if (copy) {
		u8 buf[SECTOR_SIZE];
		const u8 *data = folio_data(f);

		memcpy(buf, data + ((sector - f->index) << SECTOR_SHIFT), sizeof(buf));
		__asm__ volatile("" : : "r"(buf) : "memory");
	}
	folio_put(f);
}

static void read_kernel(u64 sector)
{
	u8 buf[SECTOR_SIZE];

	if (pread(copy_fd, buf, sizeof(buf), (off_t)(sector << SECTOR_SHIFT)) != SECTOR_SIZE)
		abort();
}

/* arg: from where in the order of use. */
static void *uses(void *arg)
{
	u32 at = (u32)(uintptr_t)arg;

	for (u32 i = 0; i < LOOPS; i++, at = at + 1 == LOOPS ? 0 : at + 1) {
		if (copy_fd >= 0)
			read_kernel(order_of_use[at]);
		else
			hit(order_of_use[at]);
	}
	return NULL;
}

/* ns for each use of one thread, when so many run at once. */
static double time_uses(u32 threads)
{
	pthread_t thread[2];
	double best = 0;

	for (u32 round = 0; round < ROUNDS; round++) {
		u64 start = now_ns();
		double ns;

		for (u32 i = 0; i < threads; i++)
			if (pthread_create(&thread[i], NULL, uses,
					   (void *)(uintptr_t)(i * (LOOPS / 2))))
				abort();
		for (u32 i = 0; i < threads; i++)
			pthread_join(thread[i], NULL);
		ns = (double)(now_ns() - start) / LOOPS;
		best = round == 0 ? ns : MIN(best, ns);
	}
	return best;
}

static void figure(const char *name, double value, const char *unit)
{
	printf("%s\t%.3f\t%s\n", name, value, unit);
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

static void start(u64 nr_sectors, unsigned order)
{
	/* A reserve and a tail stay free. */
	struct cache_config cfg = {
		.bytes = (nr_sectors << SECTOR_SHIFT) + (18u << 20),
		.max_order = FOLIO_MAX_ORDER,
	};

	if (cache_init(&cfg))
		abort();
	mapping_init(&map, &ops, NULL);
	for (u64 at = 0; at < nr_sectors; at += order_sectors(order))
		bring(at, order);
}

static void end(void)
{
	cache_drop(&map, 0, UINT64_MAX >> SECTOR_SHIFT);
	mapping_fini(&map);
	cache_fini();
}

static void memory(const char *name, u64 nr_sectors)
{
	figure(name, (double)cache_overhead_bytes() / (double)(nr_sectors << SECTOR_SHIFT) * 1024,
	       "MiB/GiB");
}

static void many(void)
{
	double one;

	start(MANY, 0);
	use_zipf(MANY);
	one = time_uses(1);
	figure("hit, 1 M folios, Zipf", one, "ns");
	figure("hit, two threads / one", 2 * one / time_uses(2), "x");
	memory("memory at 4 KiB folios", MANY);
	end();
	start(MANY, 4);
	memory("memory at 64 KiB folios", MANY);
	end();
}

static void open_copies(const char *folder)
{
	static u8 sector[SECTOR_SIZE];
	char path[4096];

	snprintf(path, sizeof(path), "%s/micro_cache.XXXXXX", folder);
	copy_fd = mkstemp(path);
	if (copy_fd < 0 || unlink(path))
		abort();
	for (u32 i = 0; i < COPIES; i++)
		if (write(copy_fd, sector, sizeof(sector)) != SECTOR_SIZE)
			abort();
}

static void few(const char *folder)
{
	double ours, kernel;

	start(FEW, 0);
	use_uniform(FEW);
	figure("hit, 1000 folios", time_uses(1), "ns");
	use_uniform(COPIES);
	copy = true;
	ours = time_uses(1);
	copy = false;
	open_copies(folder);
	kernel = time_uses(1);
	close(copy_fd);
	copy_fd = -1;
	figure("read of 4 KiB", ours, "ns");
	figure("pread of 4 KiB", kernel, "ns");
	figure("read of 4 KiB / pread from ext4", ours / kernel, "x");
	end();
}

static void misses(void)
{
	u64 begin, at = 1ull << 40;
	const u32 nr = 200000;

	start(16384, 0);
	begin = now_ns();
	for (u32 i = 0; i < nr; i++)
		bring(at++, 0);
	figure("miss with eviction", (double)(now_ns() - begin) / nr, "ns");
	end();
}

int main(int argc, char **argv)
{
	const char *folder = argc > 1 ? argv[1] : getenv("TMPDIR");

	order_of_use = malloc(LOOPS * sizeof(*order_of_use));
	if (!order_of_use)
		return 1;
	many();
	few(folder ? folder : "/var/tmp");
	misses();
	free(order_of_use);
	return 0;
}
