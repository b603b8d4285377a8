/*
 * Counters, histograms and gauges of the whole process, and their output.
 *
 * Counting costs about a nanosecond: each thread adds to a block of its own, without atomics that
 * lock a bus; readers add up all blocks. A sum taken while others count may be a moment old, never
 * torn, and never goes back.
 */
#ifndef STAT_STAT_H
#define STAT_STAT_H

#include <stdio.h>

#include "base/types.h"
#include "stat/rows.h"

#define STAT_ENUM_ROW_(ID, name, label, unit, help) STAT_##ID,
#define HIST_ENUM_ROW_(ID, name, label, unit, help) HIST_##ID,
enum stat_id { STAT_COUNTER_ROWS(STAT_ENUM_ROW_) STAT_NR };
enum hist_id { STAT_HIST_ROWS(HIST_ENUM_ROW_) HIST_NR };

/*
 * Histogram buckets: values 0..3 exactly, then four equal buckets for each power of two, up to
 * 2^40 (18 minutes in ns); what is larger goes into the last.
 */
#define HIST_SUB_SHIFT 2
#define HIST_MAX_SHIFT 40
#define HIST_BUCKETS ((HIST_MAX_SHIFT - HIST_SUB_SHIFT + 1) << HIST_SUB_SHIFT)

struct stat_hist {
	u64 sum;
	u64 bucket[HIST_BUCKETS];
};

struct stat_block {
	u64 counter[STAT_NR];
	struct stat_hist hist[HIST_NR];
	struct stat_block *next_all;  /* never unlinked; guarded by the registry's mutex */
	struct stat_block *next_free; /* blocks of threads that ended */
};

extern __thread struct stat_block *stat_self_;
struct stat_block *stat_self_new_(void);

static inline struct stat_block *stat_self(void)
{
	return likely(stat_self_ != NULL) ? stat_self_ : stat_self_new_();
}

/* Only the owner writes, so a plain add published by a relaxed store is enough. */
static inline void stat_bump_(u64 *cell, u64 n)
{
	__atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void stat_add(enum stat_id id, u64 n)
{
	stat_bump_(&stat_self()->counter[id], n);
}

static inline void stat_inc(enum stat_id id)
{
	stat_add(id, 1);
}

static inline unsigned hist_bucket(u64 value)
{
	unsigned shift;

	if (value < 1u << HIST_SUB_SHIFT)
		return (unsigned)value;
	shift = ilog2(value) - HIST_SUB_SHIFT;
	if (shift >= HIST_MAX_SHIFT - HIST_SUB_SHIFT)
		return HIST_BUCKETS - 1;
	return (unsigned)(value >> shift) + (shift << HIST_SUB_SHIFT);
}

/* Adds one value (a duration in ns, as a rule) to a histogram. */
static inline void stat_time(enum hist_id id, u64 value)
{
	struct stat_hist *h = &stat_self()->hist[id];

	stat_bump_(&h->sum, value);
	stat_bump_(&h->bucket[hist_bucket(value)], 1);
}

/* Sum over all threads. */
u64 stat_read(enum stat_id id);

/* Sum over all threads of one histogram. */
void stat_hist_read(enum hist_id id, struct stat_hist *out);
u64 hist_count(const struct stat_hist *h);
/*
 * The value below which @permille of the values lie (990: p99); 0 if empty. Interpolated inside its
 * bucket, whose width is the bound of the error: a quarter of the value.
 */
u64 hist_percentile(const struct stat_hist *h, unsigned permille);
/* Lowest value of a bucket. */
u64 hist_bucket_low(unsigned bucket);

/*
 * A gauge is a number that is asked for when somebody looks: cache size, dirty bytes. @fn runs
 * under
 * a lock of RANK_STAT, so it takes no other lock: it reads atomics. The strings must outlive the
 * gauge. Gauges that share a name and differ by label are added one after the other.
 */
typedef u64 (*stat_gauge_fn)(void *arg);
struct stat_gauge;
int stat_gauge_add(const char *name, const char *label, const char *unit, const char *help,
		   stat_gauge_fn fn, void *arg, struct stat_gauge **out);
/* After this @fn is not running and is not called again. NULL is allowed. */
void stat_gauge_del(struct stat_gauge *gauge);

enum stat_format {
	STAT_TEXT,       /* for people: non-zero rows, aligned, with units */
	STAT_JSON,       /* one object, every row */
	STAT_PROMETHEUS, /* text exposition format 0.0.4, prefix foliofs_ */
};

/* -EINVAL for a name that is not text, json or prometheus. */
int stat_format_parse(const char *name, enum stat_format *out);

/* Writes everything to @f; -EIO if that fails, -ENOMEM. */
int stat_render(enum stat_format format, FILE *f);
/* The same as a string that the caller frees. */
int stat_render_text(enum stat_format format, char **out);

/* Everything to zero; only for tests and benchmarks, while nobody counts. */
void stat_reset(void);

#endif
