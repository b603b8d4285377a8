/*
 * policy_list: the two policies that have one list. They are here to be compared with.
 *
 * clock: in order of arrival; what was used since gets one more round.
 * lru: in order of the last use. Exact, so every hit takes the policy lock: it does not scale.
 *
 * New and used folios are at the head; victims are taken at the tail.
 */
#include "cache/policy.h"

static struct folio_list list = TAILQ_HEAD_INITIALIZER(list);

static int list_init(u64 sectors)
{
	(void)sectors;
	TAILQ_INIT(&list);
	return 0;
}

static void list_fini(void)
{
}

static void list_insert(struct folio *f)
{
	TAILQ_INSERT_HEAD(&list, f, lru);
}

static void list_to_head(struct folio *f)
{
	TAILQ_REMOVE(&list, f, lru);
	TAILQ_INSERT_HEAD(&list, f, lru);
}

static void list_split(struct folio *f, struct folio *g)
{
	TAILQ_INSERT_AFTER(&list, f, g, lru);
}

static void list_demote(struct folio *f)
{
	policy_cool(f);
	TAILQ_REMOVE(&list, f, lru);
	TAILQ_INSERT_TAIL(&list, f, lru);
}

static void list_remove(struct folio *f, const u64 *evicted_from)
{
	(void)evicted_from;
	TAILQ_REMOVE(&list, f, lru);
}

static struct folio *list_victim(u64 *scan, bool second_chance)
{
	struct folio *f;

	while (*scan > 0 && (f = TAILQ_LAST(&list, folio_list))) {
		(*scan)--;
		list_to_head(f);
		if (second_chance && policy_used_again(f))
			policy_cool(f);
		else if (policy_may_go(f))
			return f;
	}
	return NULL;
}

static struct folio *clock_victim(u64 *scan)
{
	return list_victim(scan, true);
}

static struct folio *lru_victim(u64 *scan)
{
	struct folio *f = list_victim(scan, false);

	/* Whole, whatever part of it was used: that is what it is compared for. */
	if (f)
		policy_cool(f);
	return f;
}

const struct policy_ops policy_clock = {
	.name = "clock",
	.init = list_init,
	.fini = list_fini,
	.insert = list_insert,
	.split = list_split,
	.demote = list_demote,
	.remove = list_remove,
	.victim = clock_victim,
};

const struct policy_ops policy_lru = {
	.name = "lru",
	.init = list_init,
	.fini = list_fini,
	.insert = list_insert,
	.access = list_to_head,
	.split = list_split,
	.demote = list_demote,
	.remove = list_remove,
	.victim = lru_victim,
};
