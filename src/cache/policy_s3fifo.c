/*
 * policy_s3fifo: three queues in order of arrival (Yang et al., SOSP 2023), counted in sectors.
 *
 *	miss --> small (a tenth) -- used again --> main -- used since --> main, another round
 *	            |                               ^          |
 *	            '-- not used --> evicted, ghost '          '-- not used --> evicted
 *	miss on a ghost ----------------------------'
 *
 * What a scan brings in is used once, leaves through the small queue and never disturbs main.
 *
 * The ghost list remembers what was evicted from the small queue, as long as no more than the size
 * of main has been evicted since: a table of 32-bit entries, half a fingerprint and half the time
 * of eviction. "Time" is the number of sectors evicted from small, in units of 1/4096 of main, so
 * that it is bounded by bytes, not by folios. A wrong answer costs one badly placed folio, nothing
 * else.
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
#define GHOST_AGE_MAX 4096u

static struct {
	struct folio_list small, main;
	u64 small_sectors, main_sectors;
	u32 *ghost;          /* buckets of GHOST_WAYS */
	u32 nr_buckets;      /* power of two */
	u64 unit;            /* sectors for one tick of the ghost clock */
	u64 evicted;         /* sectors evicted from small */
} s3;

static int s3_init(u64 sectors)
{
	TAILQ_INIT(&s3.small);
	TAILQ_INIT(&s3.main);
	s3.small_sectors = s3.main_sectors = s3.evicted = 0;
	s3.unit = MAX(sectors * 9 / 10 / GHOST_AGE_MAX, (u64)1);
	s3.nr_buckets = (u32)roundup_pow2(MAX(sectors / 2 / GHOST_WAYS, (u64)1));
	s3.ghost = calloc(s3.nr_buckets, GHOST_WAYS * sizeof(u32));
	return s3.ghost ? 0 : -ENOMEM;
}

static void s3_fini(void)
{
	free(s3.ghost);
	s3.ghost = NULL;
}

static u64 s3_overhead_bytes(void)
{
	return (u64)s3.nr_buckets * GHOST_WAYS * sizeof(u32);
}

/* ---- ghosts ---- */

static u64 ghost_hash(const struct mapping *m, u64 index)
{
	return hash_mix64(hash_mix64((u64)(uintptr_t)m) + index);
}

static u32 *ghost_bucket(u64 hash)
{
	return s3.ghost + ((u32)hash & (s3.nr_buckets - 1)) * GHOST_WAYS;
}

/* Never 0: an entry of 0 is empty. */
static u16 ghost_print(u64 hash)
{
	return (u16)(hash >> 48) | 1;
}

static u16 ghost_now(void)
{
	return (u16)(s3.evicted / s3.unit);
}

static u16 ghost_age(u32 entry)
{
	return entry ? (u16)(ghost_now() - (u16)entry) : UINT16_MAX;
}

static void ghost_add(u64 hash)
{
	u32 *b = ghost_bucket(hash), *oldest = b;

	for (unsigned i = 1; i < GHOST_WAYS; i++)
		if (ghost_age(b[i]) > ghost_age(*oldest))
			oldest = &b[i];
	*oldest = (u32)ghost_print(hash) << 16 | ghost_now();
}

/* Was it there? It is not afterwards. */
static bool ghost_take(u64 hash)
{
	u32 *b = ghost_bucket(hash);

	for (unsigned i = 0; i < GHOST_WAYS; i++) {
		if (b[i] >> 16 != ghost_print(hash) || ghost_age(b[i]) > GHOST_AGE_MAX)
			continue;
		b[i] = 0;
		return true;
	}
	return false;
}

/* ---- queues ---- */

static void queue_add(struct folio *f, bool to_main)
{
	if (to_main) {
		folio_flags_set(f, FOLIO_MAIN);
		TAILQ_INSERT_HEAD(&s3.main, f, lru);
		s3.main_sectors += folio_sectors(f);
	} else {
		folio_flags_clear(f, FOLIO_MAIN);
		TAILQ_INSERT_HEAD(&s3.small, f, lru);
		s3.small_sectors += folio_sectors(f);
	}
}

static void queue_del(struct folio *f)
{
	if (folio_has(f, FOLIO_MAIN)) {
		TAILQ_REMOVE(&s3.main, f, lru);
		s3.main_sectors -= folio_sectors(f);
	} else {
		TAILQ_REMOVE(&s3.small, f, lru);
		s3.small_sectors -= folio_sectors(f);
	}
}

static void s3_insert(struct folio *f)
{
	bool ghost = ghost_take(ghost_hash(f->mapping, f->index));

	if (ghost)
		stat_inc(STAT_CACHE_GHOST_HITS);
	queue_add(f, ghost);
}

static void s3_remove(struct folio *f, const struct mapping *from)
{
	if (from && !folio_has(f, FOLIO_MAIN)) {
		s3.evicted += folio_sectors(f);
		ghost_add(ghost_hash(from, f->index));
	}
	queue_del(f);
}

static void requeue(struct folio *f, bool to_main)
{
	queue_del(f);
	queue_add(f, to_main);
}

/* The tail of one queue that may go; used ones move on. NULL after SKIP_MAX that can't go now. */
static struct folio *queue_victim(struct folio_list *q, u64 *scan)
{
	bool main = q == &s3.main;
	struct folio *f;

	for (u32 skipped = 0; skipped < SKIP_MAX && *scan > 0;) {
		f = TAILQ_LAST(q, folio_list);
		if (!f)
			break;
		(*scan)--;
		if (folio_has(f, FOLIO_ACCESSED)) {
			folio_flags_clear(f, FOLIO_ACCESSED);
			requeue(f, true);
			continue;
		}
		requeue(f, main);
		if (policy_may_go(f))
			return f;
		skipped++;
	}
	return NULL;
}

static struct folio *s3_victim(u64 *scan)
{
	while (*scan > 0 && s3.small_sectors + s3.main_sectors > 0) {
		bool small = s3.small_sectors * 10 > s3.small_sectors + s3.main_sectors;
		struct folio *f = queue_victim(small ? &s3.small : &s3.main, scan);

		if (!f && *scan > 0)
			f = queue_victim(small ? &s3.main : &s3.small, scan);
		if (f)
			return f;
	}
	return NULL;
}

const struct policy_ops policy_s3fifo = {
	.name = "s3fifo",
	.init = s3_init,
	.fini = s3_fini,
	.insert = s3_insert,
	.remove = s3_remove,
	.victim = s3_victim,
	.overhead_bytes = s3_overhead_bytes,
};
