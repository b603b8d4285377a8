/*
 * policy_s3fifo: three queues in order of arrival (Yang et al., SOSP 2023), counted in sectors.
 *
 *	miss --> small (a tenth) -- used again --> main -- used since --> main, another round
 *	            |                               ^          |
 *	            '-- not used --> evicted, ghost '          '-- not used --> evicted
 *	miss on a ghost ----------------------------'
 *
 * What a scan brings in is used once, leaves through the small queue and never disturbs main.
 * A third queue, cold, holds what is said to be of no more use (cache_demote()): it goes before all
 * others, and leaves no ghost.
 *
 * The ghost list remembers what was evicted from the small queue, as long as no more than the size
 * of main has been evicted since: a table of 24-bit entries, one for each sector of the cache, half
 * a fingerprint and half the time of eviction. "Time" is the number of sectors evicted from small,
 * in units of 1/1024 of main, so that it is bounded by bytes, not by folios; it wraps around after
 * four times main. A wrong answer costs one badly placed folio, nothing else.
 *
 * Folios that can't go (dirty, pinned, in use) are passed over and stay in their queue; after
 * SKIP_MAX of them in a row the other queue gets its turn, so that a small queue full of dirty
 * folios does not stop eviction.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "cache/policy.h"

#define SKIP_MAX 32u
#define GHOST_WAYS 8u
#define GHOST_AGE_MAX 1024u
#define GHOST_BITS 12u
#define GHOST_MASK ((1u << GHOST_BITS) - 1)

/* The print in the low GHOST_BITS, the time above. */
struct ghost {
	u8 byte[3];
};
static_assert(sizeof(struct ghost) == 3, "packed without padding");

struct s3_queue {
	struct folio_list list;
	u64 sectors;
};

static struct {
	struct s3_queue small, main, cold;
	struct ghost *ghost; /* buckets of GHOST_WAYS */
	u32 nr_buckets;
	u64 unit;            /* sectors for one tick of the ghost clock */
	u64 evicted;         /* sectors evicted from small */
} s3;

static int s3_init(u64 sectors)
{
	TAILQ_INIT(&s3.small.list);
	TAILQ_INIT(&s3.main.list);
	TAILQ_INIT(&s3.cold.list);
	s3.small.sectors = s3.main.sectors = s3.cold.sectors = s3.evicted = 0;
	s3.unit = MAX(sectors * 9 / 10 / GHOST_AGE_MAX, (u64)1);
	s3.nr_buckets = (u32)MAX(sectors / GHOST_WAYS, (u64)1);
	s3.ghost = calloc(s3.nr_buckets, GHOST_WAYS * sizeof(struct ghost));
	return s3.ghost ? 0 : -ENOMEM;
}

static void s3_fini(void)
{
	free(s3.ghost);
	s3.ghost = NULL;
}

static u64 s3_overhead_bytes(void)
{
	return (u64)s3.nr_buckets * GHOST_WAYS * sizeof(struct ghost);
}

/* ---- ghosts ---- */

static u64 ghost_hash(u64 id, u64 index)
{
	return hash_mix64(hash_mix64(id) + index);
}

static struct ghost *ghost_bucket(u64 hash)
{
	return s3.ghost + ((hash & UINT32_MAX) * s3.nr_buckets >> 32) * GHOST_WAYS;
}

/* Never 0: a print of 0 is an empty entry. */
static u32 ghost_print(u64 hash)
{
	return (hash >> 52 & GHOST_MASK) | 1;
}

static u32 ghost_now(void)
{
	return (u32)(s3.evicted / s3.unit) & GHOST_MASK;
}

static u32 ghost_load(const struct ghost *g)
{
	return g->byte[0] | (u32)g->byte[1] << 8 | (u32)g->byte[2] << 16;
}

static void ghost_store(struct ghost *g, u32 print, u32 time)
{
	g->byte[0] = (u8)print;
	g->byte[1] = (u8)(print >> 8 | time << 4);
	g->byte[2] = (u8)(time >> 4);
}

static u32 ghost_age(const struct ghost *g)
{
	u32 entry = ghost_load(g);

	return entry & GHOST_MASK ? (ghost_now() - (entry >> GHOST_BITS)) & GHOST_MASK :
				    UINT32_MAX;
}

static void ghost_add(u64 hash)
{
	struct ghost *b = ghost_bucket(hash), *oldest = b;

	for (unsigned i = 1; i < GHOST_WAYS; i++)
		if (ghost_age(&b[i]) > ghost_age(oldest))
			oldest = &b[i];
	ghost_store(oldest, ghost_print(hash), ghost_now());
}

static bool ghost_is(const struct ghost *g, u64 hash)
{
	return (ghost_load(g) & GHOST_MASK) == ghost_print(hash) && ghost_age(g) <= GHOST_AGE_MAX;
}

/* Was it there? It is not afterwards. */
static bool ghost_take(u64 hash)
{
	struct ghost *b = ghost_bucket(hash);

	for (unsigned i = 0; i < GHOST_WAYS; i++) {
		if (!ghost_is(&b[i], hash))
			continue;
		ghost_store(&b[i], 0, 0);
		return true;
	}
	return false;
}

static int s3_evicted(u64 id, u64 index)
{
	u64 hash = ghost_hash(id, index);
	struct ghost *b = ghost_bucket(hash);

	for (unsigned i = 0; i < GHOST_WAYS; i++)
		if ((ghost_load(&b[i]) & GHOST_MASK) == ghost_print(hash))
			return ghost_is(&b[i], hash) ? 2 : 1;
	return 0;
}

/* ---- queues ---- */

static struct s3_queue *queue_of(const struct folio *f)
{
	if (folio_has(f, FOLIO_COLD))
		return &s3.cold;
	return folio_has(f, FOLIO_MAIN) ? &s3.main : &s3.small;
}

static void queue_add(struct s3_queue *q, struct folio *f)
{
	folio_flags_clear(f, FOLIO_COLD | FOLIO_MAIN);
	folio_flags_set(f, q == &s3.cold ? FOLIO_COLD : q == &s3.main ? FOLIO_MAIN : 0);
	TAILQ_INSERT_HEAD(&q->list, f, lru);
	q->sectors += folio_sectors(f);
}

static void queue_del(struct folio *f)
{
	struct s3_queue *q = queue_of(f);

	TAILQ_REMOVE(&q->list, f, lru);
	q->sectors -= folio_sectors(f);
}

static void requeue(struct s3_queue *q, struct folio *f)
{
	queue_del(f);
	queue_add(q, f);
}

static void s3_insert(struct folio *f)
{
	bool ghost = ghost_take(ghost_hash(f->mapping->id, f->index));

	if (ghost)
		stat_inc(STAT_CACHE_GHOST_HITS);
	queue_add(ghost ? &s3.main : &s3.small, f);
}

static void s3_remove(struct folio *f, const u64 *evicted_from)
{
	if (evicted_from && queue_of(f) == &s3.small) {
		s3.evicted += folio_sectors(f);
		ghost_add(ghost_hash(*evicted_from, f->index));
	}
	queue_del(f);
}

/* The sum of both is what f had. */
static void s3_split(struct folio *f, struct folio *g)
{
	folio_flags_set(g, folio_flags(f) & (FOLIO_MAIN | FOLIO_COLD));
	TAILQ_INSERT_AFTER(&queue_of(f)->list, f, g, lru);
}

static void s3_demote(struct folio *f)
{
	policy_cool(f);
	requeue(&s3.cold, f);
}

/* The tail of one queue that may go; used ones move on. NULL after SKIP_MAX that can't go now. */
static struct folio *queue_victim(struct s3_queue *q, u64 *scan)
{
	struct folio *f;

	for (u32 skipped = 0; skipped < SKIP_MAX && *scan > 0;) {
		f = TAILQ_LAST(&q->list, folio_list);
		if (!f)
			break;
		(*scan)--;
		if (policy_used_again(f)) {
			policy_cool(f);
			requeue(&s3.main, f);
			continue;
		}
		requeue(q, f);
		if (policy_may_go(f))
			return f;
		skipped++;
	}
	return NULL;
}

static struct folio *s3_victim(u64 *scan)
{
	struct folio *f = queue_victim(&s3.cold, scan);

	while (!f && *scan > 0 && s3.small.sectors + s3.main.sectors > 0) {
		bool small = s3.small.sectors * 10 > s3.small.sectors + s3.main.sectors;

		f = queue_victim(small ? &s3.small : &s3.main, scan);
		if (!f && *scan > 0)
			f = queue_victim(small ? &s3.main : &s3.small, scan);
	}
	return f;
}

const struct policy_ops policy_s3fifo = {
	.name = "s3fifo",
	.init = s3_init,
	.fini = s3_fini,
	.insert = s3_insert,
	.split = s3_split,
	.demote = s3_demote,
	.remove = s3_remove,
	.victim = s3_victim,
	.evicted = s3_evicted,
	.overhead_bytes = s3_overhead_bytes,
};
