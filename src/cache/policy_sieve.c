/*
 * policy_sieve: one queue in order of arrival and a hand that moves through it from the oldest to
 * the newest (Zhang et al., NSDI 2024). What was used since the hand came by last stays where it
 * is; what was not goes. Lets popular folios sink, but nothing protects it from scans.
 *
 * New folios are at the head, the hand starts at the tail. hand is the next folio to look at, NULL
 * for the tail.
 */
#include "cache/policy.h"

static struct folio_list queue = TAILQ_HEAD_INITIALIZER(queue);
static struct folio *hand;

static int sieve_init(u64 sectors)
{
	(void)sectors;
	TAILQ_INIT(&queue);
	hand = NULL;
	return 0;
}

static void sieve_fini(void)
{
}

static void sieve_insert(struct folio *f)
{
	TAILQ_INSERT_HEAD(&queue, f, lru);
}

static void sieve_remove(struct folio *f, const u64 *evicted_from)
{
	(void)evicted_from;
	if (hand == f)
		hand = TAILQ_PREV(f, folio_list, lru);
	TAILQ_REMOVE(&queue, f, lru);
}

static struct folio *sieve_victim(u64 *scan)
{
	while (*scan > 0) {
		struct folio *f = hand ? hand : TAILQ_LAST(&queue, folio_list);

		if (!f)
			return NULL;
		(*scan)--;
		hand = TAILQ_PREV(f, folio_list, lru);
		if (policy_used_again(f))
			policy_cool(f);
		else if (policy_may_go(f))
			return f;
	}
	return NULL;
}

static void sieve_split(struct folio *f, struct folio *g)
{
	TAILQ_INSERT_AFTER(&queue, f, g, lru);
}

static void sieve_demote(struct folio *f)
{
	policy_cool(f);
	if (hand == f)
		hand = TAILQ_PREV(f, folio_list, lru);
	TAILQ_REMOVE(&queue, f, lru);
	TAILQ_INSERT_TAIL(&queue, f, lru);
	hand = NULL;
}

const struct policy_ops policy_sieve = {
	.name = "sieve",
	.init = sieve_init,
	.fini = sieve_fini,
	.insert = sieve_insert,
	.remove = sieve_remove,
	.split = sieve_split,
	.demote = sieve_demote,
	.victim = sieve_victim,
};
