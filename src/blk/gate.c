/*
 * The gate: whether writes may begin. blk_freeze() shuts it, so that an image can be copied while
 * it is mounted.
 *
 * Rules
 * 1. A thread that writes is in a section, from blk_write_begin() to blk_write_end(); every
 *    function of this layer that writes opens one for itself. A thread that is in a section already
 *    does not wait at the gate: so none waits there with requests under way.
 * 2. Who takes locks that other writers need (folios, the one commit, the one checkpoint) opens its
 *    section before them. So whoever waits at the gate holds nothing that a section under way
 *    needs, and freezing ends.
 * 3. blk_freeze() gives up in time and opens the gate again. How long it stays shut is the caller's
 *    matter, who must see to an end.
 *
 * Locking: the count and the flag are atomic, so that an open gate costs two additions; the lock is
 * for waiting. Reads, and flushes of what was written, pass.
 */
#include <errno.h>

#include "base/err.h"
#include "blk/blk_priv.h"

/* Sections of this thread, one within the other. */
static __thread unsigned depth;

void blk_gate_init(struct blk_gate *g)
{
	mutex_init(&g->lock, RANK_BLK);
	cond_init(&g->changed);
}

void blk_gate_fini(struct blk_gate *g)
{
	cond_fini(&g->changed);
	mutex_fini(&g->lock);
}

void blk_gate_leave(struct blk_gate *g)
{
	if (atomic_fetch_sub(&g->writers, 1) != 1 || !atomic_load(&g->shut))
		return;
	mutex_lock(&g->lock);
	cond_broadcast(&g->changed);
	mutex_unlock(&g->lock);
}

static void wait_open(struct blk_gate *g)
{
	lock_assert_may_io();
	mutex_lock(&g->lock);
	while (atomic_load(&g->shut))
		cond_wait(&g->changed, &g->lock);
	mutex_unlock(&g->lock);
}

void blk_gate_enter(struct blk_gate *g)
{
	for (;;) {
		atomic_fetch_add(&g->writers, 1);
		/* In a section, the gate is behind us. */
		if (likely(!atomic_load(&g->shut)) || depth > 0)
			return;
		blk_gate_leave(g);
		wait_open(g);
	}
}

void blk_write_begin(struct blk_dev *dev)
{
	if (depth == 0)
		blk_gate_enter(&dev->gate);
	depth++;
}

void blk_write_end(struct blk_dev *dev)
{
	ASSERT(depth > 0);
	if (--depth == 0)
		blk_gate_leave(&dev->gate);
}

int blk_freeze(struct blk_dev *dev, u64 timeout_ms)
{
	struct blk_gate *g = &dev->gate;
	int r = 0;

	ASSERT(depth == 0);
	mutex_lock(&g->lock);
	if (atomic_exchange(&g->shut, true)) {
		mutex_unlock(&g->lock);
		return -EALREADY;
	}
	while (atomic_load(&g->writers) > 0 && r == 0)
		if (!cond_timedwait_ms(&g->changed, &g->lock, timeout_ms))
			r = -ETIMEDOUT;
	if (r) {
		atomic_store(&g->shut, false);
		cond_broadcast(&g->changed);
	}
	mutex_unlock(&g->lock);
	return r;
}

int blk_thaw(struct blk_dev *dev)
{
	struct blk_gate *g = &dev->gate;
	bool was;

	mutex_lock(&g->lock);
	was = atomic_exchange(&g->shut, false);
	cond_broadcast(&g->changed);
	mutex_unlock(&g->lock);
	return was ? 0 : -EINVAL;
}

bool blk_is_frozen(struct blk_dev *dev)
{
	return atomic_load(&dev->gate.shut);
}
