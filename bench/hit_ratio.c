/*
 * hit_ratio: what each eviction policy makes of a trace, counted in the real cache.
 *
 *	hit_ratio                        the models of trace.h
 *	hit_ratio TRACE [CACHE_MIB]...   a recorded trace (foliofsctl trace), by default with
 *	                                 caches of 1/16, 1/8, 1/4 and 1/2 of what it touches
 *
 * Prints the share of sectors that were found in the cache, for each policy, and the misses of
 * s3fifo divided by those of lru: all, and those of sectors that had been used before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

#define MODEL_CACHE (16ull << 20)
#define MODEL_USES 400000u
#define CACHE_MIN ((u64)1 << 20)

static const char *const policies[] = { "s3fifo", "sieve", "clock", "lru" };

static void head(void)
{
	printf("%-28s %10s", "trace", "cache MiB");
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		printf(" %8s", policies[i]);
	printf("   s3fifo / lru: misses, avoidable\n");
}

static double ratio(u64 a, u64 b)
{
	return b ? (double)a / (double)b : 1;
}

static int row(const char *name, const struct trace *t, u64 cache_bytes)
{
	struct trace_result r[ARRAY_LEN(policies)];

	printf("%-28s %10.1f", name, (double)cache_bytes / 1048576);
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		int err = trace_replay(t, policies[i], cache_bytes, &r[i]);

		if (err) {
			fprintf(stderr, "hit_ratio: %s: %s\n", policies[i], strerror(-err));
			return 1;
		}
		printf(" %8.4f", 1 - ratio(r[i].misses, r[i].sectors));
	}
	printf("   %.3f %.3f\n", ratio(r[0].misses, r[3].misses),
	       ratio(r[0].avoidable, r[3].avoidable));
	return 0;
}

static int models(void)
{
	int failed = 0;

	for (int m = 0; m < TRACE_NR_MODELS && !failed; m++) {
		struct trace t;

		if (trace_make(m, MODEL_CACHE / SECTOR_SIZE, MODEL_USES, 1, &t))
			return 1;
		failed = row(trace_model_name[m], &t, MODEL_CACHE);
		trace_free(&t);
	}
	return failed;
}

static int recorded(int argc, char **argv)
{
	const char *name = strrchr(argv[1], '/');
	struct trace t;
	u32 line;
	int err = trace_load(argv[1], &t, &line), failed = 0;
	u64 footprint;

	if (err) {
		fprintf(stderr, "hit_ratio: %s: line %u: %s\n", argv[1], line, strerror(-err));
		return 1;
	}
	footprint = trace_footprint(&t) << SECTOR_SHIFT;
	for (int i = 2; i < argc && !failed; i++)
		failed = row(name ? name + 1 : argv[1], &t, strtoull(argv[i], NULL, 10) << 20);
	for (u64 part = 16; argc == 2 && part > 1 && !failed; part /= 2)
		failed = row(name ? name + 1 : argv[1], &t, MAX(footprint / part, (u64)CACHE_MIN));
	trace_free(&t);
	return failed;
}

int main(int argc, char **argv)
{
	head();
	return argc > 1 ? recorded(argc, argv) : models();
}
