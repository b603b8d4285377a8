/*
 * Traces of cache use: made from a model, or recorded by `foliofsctl trace`; and what a policy of
 * the real cache makes of one. Everything is counted, so the same trace gives the same numbers.
 *
 * The text form, one use a line, '#' starts a comment:
 *
 *	foliofs-trace 1
 *	r INODE FIRST-SECTOR NR-SECTORS
 *	w INODE FIRST-SECTOR NR-SECTORS
 *
 * Shared by bench/hit_ratio.c and tests/cache.
 */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include "base/types.h"

struct trace_use {
	u64 sector;      /* of one large space in which every object has its place */
	u32 nr;
};

struct trace {
	struct trace_use *use;
	size_t nr, room;
};

enum trace_model {
	TRACE_ZIPF,       /* single sectors, Zipf order, four times the cache */
	TRACE_ZIPF_SCAN,  /* the same with scans of what is never used again */
	TRACE_LOOP,       /* round and round through 1.25 times the cache */
	TRACE_OLTP,       /* hot index, warm table, a log that grows, now and then a range */
	TRACE_NR_MODELS,
};
extern const char *const trace_model_name[TRACE_NR_MODELS];

/* A trace of about nr uses for a cache of so many sectors. -ENOMEM. */
int trace_make(enum trace_model model, u64 cache_sectors, size_t nr, u64 seed, struct trace *out);
/* -errno of the file, -EINVAL for what is no trace (the line is told in *line), -ENOMEM. */
int trace_load(const char *path, struct trace *out, u32 *line);
void trace_free(struct trace *t);
/* Different sectors in it. -ENOMEM as 0. */
u64 trace_footprint(const struct trace *t);

struct trace_result {
	/* Sectors after the first quarter of the trace, in which the cache fills. */
	u64 sectors, misses;
	u64 avoidable;        /* misses of what was used before: no policy avoids the others */
};

/* Runs the trace through a cache of its own (cache_init to cache_fini). Errors of cache_init. */
int trace_replay(const struct trace *t, const char *policy, u64 cache_bytes,
		 struct trace_result *out);

#endif
