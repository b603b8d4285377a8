/*
 * The registry of per-thread blocks, sums over them, histograms and gauges.
 *
 * Rules
 * 1. A block is written by the one thread that owns it and read by everybody, with relaxed atomics.
 * 2. Blocks are never freed and never zeroed when their thread ends: they go to a free list with
 *    what they hold and the next new thread goes on in them, so no count is lost and sums never
 *    go back.
 * 3. Without memory for a block a thread counts in the common fallback block, where two of them
 *    may lose each other's additions: statistics never fail a request.
 * 4. Gauge functions run under stat_mutex (RANK_STAT), so deleting a gauge waits for them.
 */
#include "stat/stat.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/lock.h"
#include "stat/snapshot.h"

struct stat_gauge {
	TAILQ_ENTRY(stat_gauge) link;
	const char *name, *label, *unit, *help;
	stat_gauge_fn fn;
	void *arg;
};

static struct mutex stat_mutex = MUTEX_INIT(RANK_STAT);
static struct stat_block *all_blocks;  /* guarded by stat_mutex */
static struct stat_block *free_blocks; /* guarded by stat_mutex */
static TAILQ_HEAD(, stat_gauge) gauges = TAILQ_HEAD_INITIALIZER(gauges); /* same */
static size_t nr_gauges;                                                 /* same */

static struct stat_block fallback_block;
static pthread_key_t block_key;
static pthread_once_t block_key_once = PTHREAD_ONCE_INIT;
static bool block_key_works;

__thread struct stat_block *stat_self_;

static void block_release(void *arg)
{
	struct stat_block *b = arg;

	/* Destructors of other keys may still count: they take a block anew. */
	stat_self_ = NULL;
	mutex_lock(&stat_mutex);
	b->next_free = free_blocks;
	free_blocks = b;
	mutex_unlock(&stat_mutex);
}

static void block_key_make(void)
{
	block_key_works = pthread_key_create(&block_key, block_release) == 0;
}

static struct stat_block *block_take(void)
{
	struct stat_block *b;

	mutex_lock(&stat_mutex);
	b = free_blocks;
	if (b) {
		free_blocks = b->next_free;
	} else {
		b = calloc(1, sizeof(*b));
		if (b) {
			b->next_all = all_blocks;
			all_blocks = b;
		}
	}
	mutex_unlock(&stat_mutex);
	return b;
}

struct stat_block *stat_self_new_(void)
{
	struct stat_block *b = NULL;

	pthread_once(&block_key_once, block_key_make);
	if (block_key_works)
		b = block_take();
	if (b && pthread_setspecific(block_key, b) != 0) {
		block_release(b);
		b = NULL;
	}
	stat_self_ = b ? b : &fallback_block;
	return stat_self_;
}

static u64 load(const u64 *cell)
{
	return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

u64 stat_read(enum stat_id id)
{
	u64 sum = load(&fallback_block.counter[id]);

	mutex_lock(&stat_mutex);
	for (struct stat_block *b = all_blocks; b; b = b->next_all)
		sum += load(&b->counter[id]);
	mutex_unlock(&stat_mutex);
	return sum;
}

static void hist_add(struct stat_hist *sum, const struct stat_hist *h)
{
	sum->sum += load(&h->sum);
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		sum->bucket[i] += load(&h->bucket[i]);
}

void stat_hist_read(enum hist_id id, struct stat_hist *out)
{
	memset(out, 0, sizeof(*out));
	hist_add(out, &fallback_block.hist[id]);
	mutex_lock(&stat_mutex);
	for (struct stat_block *b = all_blocks; b; b = b->next_all)
		hist_add(out, &b->hist[id]);
	mutex_unlock(&stat_mutex);
}

static void block_add(struct stat_block *sum, const struct stat_block *b)
{
	for (size_t i = 0; i < STAT_NR; i++)
		sum->counter[i] += load(&b->counter[i]);
	for (size_t i = 0; i < HIST_NR; i++)
		hist_add(&sum->hist[i], &b->hist[i]);
}

static void block_clear(struct stat_block *b)
{
	memset(b->counter, 0, sizeof(b->counter));
	memset(b->hist, 0, sizeof(b->hist));
}

void stat_reset(void)
{
	mutex_lock(&stat_mutex);
	block_clear(&fallback_block);
	for (struct stat_block *b = all_blocks; b; b = b->next_all)
		block_clear(b);
	mutex_unlock(&stat_mutex);
}

u64 hist_count(const struct stat_hist *h)
{
	u64 count = 0;

	for (size_t i = 0; i < HIST_BUCKETS; i++)
		count += h->bucket[i];
	return count;
}

u64 hist_bucket_low(unsigned bucket)
{
	unsigned sub = 1u << HIST_SUB_SHIFT;

	if (bucket < sub)
		return bucket;
	return (u64)(sub + bucket % sub) << (bucket / sub - 1);
}

u64 hist_percentile(const struct stat_hist *h, unsigned permille)
{
	u64 count = hist_count(h);
	u64 rank = (u64)(((unsigned __int128)count * permille + 999) / 1000);
	u64 before = 0;

	if (count == 0)
		return 0;
	rank = MAX_T(u64, rank, 1);
	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		u64 low = hist_bucket_low(b), width = hist_bucket_low(b + 1) - low;

		if (before + h->bucket[b] >= rank)
			return low + (u64)((double)(width - 1) * (double)(rank - before) /
					   (double)h->bucket[b]);
		before += h->bucket[b];
	}
	return hist_bucket_low(HIST_BUCKETS - 1);
}

int stat_gauge_add(const char *name, const char *label, const char *unit, const char *help,
		   stat_gauge_fn fn, void *arg, struct stat_gauge **out)
{
	struct stat_gauge *g = malloc(sizeof(*g));

	if (!g)
		return -ENOMEM;
	*g = (struct stat_gauge){
		.name = name, .label = label, .unit = unit, .help = help, .fn = fn, .arg = arg,
	};
	mutex_lock(&stat_mutex);
	TAILQ_INSERT_TAIL(&gauges, g, link);
	nr_gauges++;
	mutex_unlock(&stat_mutex);
	*out = g;
	return 0;
}

void stat_gauge_del(struct stat_gauge *gauge)
{
	if (!gauge)
		return;
	mutex_lock(&stat_mutex);
	TAILQ_REMOVE(&gauges, gauge, link);
	nr_gauges--;
	mutex_unlock(&stat_mutex);
	free(gauge);
}

#define COUNTER_ROW(ID, name_, label_, unit_, help_)                                               \
	{ .kind = STAT_KIND_COUNTER, .name = name_, .label = label_, .unit = unit_, .help = help_ },
#define HIST_ROW(ID, name_, label_, unit_, help_)                                                  \
	{ .kind = STAT_KIND_HIST, .name = name_, .label = label_, .unit = unit_, .help = help_ },
static const struct stat_row counter_rows[STAT_NR] = { STAT_COUNTER_ROWS(COUNTER_ROW) };
static const struct stat_row hist_rows[HIST_NR] = { STAT_HIST_ROWS(HIST_ROW) };

static struct stat_row *row_new(struct stat_snapshot *snap, const struct stat_row *model)
{
	struct stat_row *row = &snap->rows[snap->nr_rows++];

	*row = *model;
	return row;
}

static void add_ratio(struct stat_snapshot *snap, const char *name, const char *help, u64 num,
		      u64 den)
{
	row_new(snap, &(struct stat_row){
		.kind = STAT_KIND_RATIO, .name = name, .label = "", .unit = "", .help = help,
		.has_ratio = den != 0, .ratio = den ? (double)num / (double)den : 0.0,
	});
}

static void add_total(struct stat_snapshot *snap, const char *name, const char *help, u64 value)
{
	row_new(snap, &(struct stat_row){
		.kind = STAT_KIND_COUNTER, .name = name, .label = "", .unit = "", .help = help,
		.value = value,
	});
}

/* Rows that follow from others. Their number is NR_DERIVED. */
#define NR_DERIVED 5
static void add_derived(struct stat_snapshot *snap)
{
	const u64 *c = snap->sum->counter;
	u64 requests = 0, corruptions = 0;

	for (size_t i = 0; i < HIST_NR; i++)
		if (strcmp(hist_rows[i].name, "request_time") == 0)
			requests += hist_count(&snap->sum->hist[i]);
	for (int why = 0; why < WHY_NR; why++)
		corruptions += why_is_io((enum why)why) ? 0 : corrupt_count((enum why)why);
	add_total(snap, "requests", "requests answered", requests);
	add_total(snap, "corruptions", "wrong content found on disk", corruptions);
	add_ratio(snap, "cache_hit_ratio", "share of lookups answered from the cache",
		  c[STAT_CACHE_HITS], c[STAT_CACHE_HITS] + c[STAT_CACHE_MISSES]);
	add_ratio(snap, "data_write_amplification", "data written to disk for each byte written",
		  c[STAT_WRITE_BYTES_DATA], c[STAT_USER_WRITE_BYTES]);
	add_ratio(snap, "write_amplification", "everything written to disk for each byte written",
		  c[STAT_WRITE_BYTES_DATA] + c[STAT_WRITE_BYTES_META] + c[STAT_WRITE_BYTES_LOG],
		  c[STAT_USER_WRITE_BYTES]);
}

/* Called with stat_mutex held; the rows array is large enough. */
static void snapshot_fill(struct stat_snapshot *snap)
{
	struct stat_gauge *g;

	block_add(snap->sum, &fallback_block);
	for (struct stat_block *b = all_blocks; b; b = b->next_all)
		block_add(snap->sum, b);
	TAILQ_FOREACH(g, &gauges, link)
		row_new(snap, &(struct stat_row){
			.kind = STAT_KIND_GAUGE, .name = g->name, .label = g->label,
			.unit = g->unit, .help = g->help, .value = g->fn(g->arg),
		});
	add_derived(snap);
	for (size_t i = 0; i < STAT_NR; i++)
		row_new(snap, &counter_rows[i])->value = snap->sum->counter[i];
	for (size_t i = 0; i < HIST_NR; i++)
		row_new(snap, &hist_rows[i])->hist = &snap->sum->hist[i];
}

int stat_snapshot_new(struct stat_snapshot *out)
{
	struct stat_snapshot snap = { .sum = calloc(1, sizeof(*snap.sum)) };

	mutex_lock(&stat_mutex);
	snap.rows = calloc(nr_gauges + NR_DERIVED + STAT_NR + HIST_NR, sizeof(*snap.rows));
	if (snap.sum && snap.rows)
		snapshot_fill(&snap);
	mutex_unlock(&stat_mutex);
	if (!snap.sum || !snap.rows) {
		stat_snapshot_free(&snap);
		return -ENOMEM;
	}
	*out = snap;
	return 0;
}

void stat_snapshot_free(struct stat_snapshot *snap)
{
	free(snap->rows);
	free(snap->sum);
}
