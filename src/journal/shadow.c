/*
 * Shadows: private copies of changed buffers that outlive the handle which made them.
 *
 * A handle changes a copy, never the buffer itself (view.c). The same few buffers are changed by
 * one handle after the other: the root sector, the leaf where new names go. So a copy is kept with
 * its buffer, and the next handle need not copy 16 KiB to change 200 bytes of them.
 *
 * Rules:
 *  1. Between handles a shadow holds just what is published. A handle takes it (nobody else has it
 *     then), and gives it back when it has published, or has set back what it had touched.
 *  2. Only changed buffers of metadata have one: with the buffer's struct jnl_buf the shadow goes.
 *  3. There are SHADOWS_MAX at most; the one that was used longest ago makes room.
 *
 * Locking: j->lock; contents belong to the handle that took the shadow.
 */
#include "journal/jnl_priv.h"

#include <stdlib.h>

#define SHADOWS_MAX 128u           /* 2 MiB of nodes */

static void *unlink_shadow(struct jnl *j, struct jnl_buf *b)
{
	void *copy = b->shadow;

	if (copy) {
		TAILQ_REMOVE(&j->shadows, b, shadow_link);
		j->nr_shadows--;
		b->shadow = NULL;
	}
	return copy;
}

void *shadow_take(struct jnl *j, const struct folio *f)
{
	struct jnl_buf *b;
	void *copy = NULL;

	mutex_lock(&j->lock);
	b = f->priv;
	if (b)
		copy = unlink_shadow(j, b);
	mutex_unlock(&j->lock);
	return copy;
}

void shadow_give(struct jnl *j, const struct folio *f, void *copy)
{
	struct jnl_buf *b = f->priv;

	if (!b || b->forgotten || b->shadow || b->kind == FMT_KIND_DATA) {
		free(copy);
		return;
	}
	if (j->nr_shadows == SHADOWS_MAX)
		free(unlink_shadow(j, TAILQ_FIRST(&j->shadows)));
	b->shadow = copy;
	TAILQ_INSERT_TAIL(&j->shadows, b, shadow_link);
	j->nr_shadows++;
}

void shadow_drop(struct jnl *j, struct jnl_buf *b)
{
	free(unlink_shadow(j, b));
}
