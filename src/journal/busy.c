/*
 * Busy sectors: freed by a transaction that is not durable yet.
 *
 * Until it is, a crash would bring back the old owner, so their contents must stay. The ranges
 * sit in one tree for lookup and on
 * the list of their transaction for release. While a checkpoint that began before the release
 * is still writing (it may write a freed node in its old place), the release waits for its end.
 * All under j->lock.
 */
#include "journal/jnl_priv.h"

#include <stdlib.h>

int busy_cmp(struct busy *a, struct busy *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE(busy_tree, busy, node, busy_cmp)

bool busy_next(struct jnl *j, u64 start, u64 end, u64 *busy_start, u64 *busy_end)
{
	struct busy key = { .start = start };
	struct busy *next = RB_NFIND(busy_tree, &j->busy, &key);
	struct busy *prev = next ? RB_PREV(busy_tree, &j->busy, next)
				 : RB_MAX(busy_tree, &j->busy);
	struct busy *hit = prev && prev->end > start ? prev : next;

	if (!hit || hit->start >= end)
		return false;
	*busy_start = hit->start;
	*busy_end = hit->end;
	return true;
}

void busy_add_all(struct jnl *j, struct busy_list *from, struct busy_list *to)
{
	struct busy *b;

	while ((b = STAILQ_FIRST(from))) {
		STAILQ_REMOVE_HEAD(from, link);
		if (jnl_omitted == JNL_OMIT_BUSY) {
			free(b);
			continue;
		}
		ASSERT(!RB_INSERT(busy_tree, &j->busy, b));
		STAILQ_INSERT_TAIL(to, b, link);
		j->nr_busy++;
	}
}

void busy_release(struct jnl *j, struct busy_list *list)
{
	struct busy *b;

	while ((b = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		RB_REMOVE(busy_tree, &j->busy, b);
		j->nr_busy--;
		free(b);
	}
}
