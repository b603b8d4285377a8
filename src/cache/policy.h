/*
 * Private to src/cache: the interface of an eviction policy.
 *
 * Everything is called with the policy lock held, and must be short. A hit only sets FOLIO_ACCESSED
 * on the folio, without a lock; a policy reads and clears it when the folio comes to its turn.
 */
#ifndef CACHE_POLICY_H
#define CACHE_POLICY_H

#include "cache/cache_priv.h"

TAILQ_HEAD(folio_list, folio);

struct policy_ops {
	const char *name;
	int (*init)(u64 sectors);          /* capacity of the cache; -ENOMEM */
	void (*fini)(void);
	void (*insert)(struct folio *f);
	/* A hit; NULL for those that FOLIO_ACCESSED is enough for. */
	void (*access)(struct folio *f);
	/* g was cut off f, in one hold of the lock: it goes beside f. */
	void (*split)(struct folio *f, struct folio *g);
	/* Of no more use to anybody: the next to go. */
	void (*demote)(struct folio *f);
	/* evicted_from: the id of its mapping, which may be gone; NULL if it was dropped. */
	void (*remove)(struct folio *f, const u64 *evicted_from);
	/* As policy_evicted(). NULL: nothing is remembered. */
	int (*evicted)(u64 id, u64 index);
	/*
	 * The next folio that should go and can (policy_may_go()), or NULL. It stays queued, at the
	 * end where it is looked at last. Lowers *scan for every folio it looks at, and stops at 0.
	 */
	struct folio *(*victim)(u64 *scan);
	u64 (*overhead_bytes)(void);       /* may be NULL */
};

extern const struct policy_ops policy_s3fifo, policy_clock, policy_lru,
	policy_sieve;

/* Idle, unlocked, and nobody but the index refers to it: a look, not a promise. */
static inline bool policy_may_go(const struct folio *f)
{
	return folio_is_idle(f) && !folio_has(f, FOLIO_LOCKED) &&
	       __atomic_load_n(&f->refs, __ATOMIC_RELAXED) == 1;
}

/*
 * Was it used since it was looked at last? One that was used only in one half, and can be cut, is
 * no: it is returned as a victim with its heat, and eviction takes the cold half.
 */
static inline bool policy_used_again(const struct folio *f)
{
	return folio_has(f, FOLIO_ACCESSED) && !(folio_half_cold(f) && policy_may_go(f));
}

static inline void policy_cool(struct folio *f)
{
	folio_flags_clear(f, FOLIO_ACCESSED | FOLIO_HEAT);
}

#endif
