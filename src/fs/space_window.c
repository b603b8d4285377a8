/*
 * The window: free space that is being discarded and that nobody may allocate.
 *
 * Locks: it changes under sp->lock, and appears only inside a handle; allocators, which run in
 * handles, too, read it without the lock.
 */
#include "fs/space_priv.h"

bool space_window(const struct space *sp, u64 *start, u64 *end)
{
	*end = sp ? __atomic_load_n(&sp->trim_end, __ATOMIC_ACQUIRE) : 0;
	*start = *end ? sp->trim_start : 0;
	return *end != 0;
}

void space_window_set(struct space *sp, u64 start, u64 end)
{
	mutex_lock(&sp->lock);
	if (end)
		sp->trim_start = start;
	__atomic_store_n(&sp->trim_end, end, __ATOMIC_RELEASE);
	if (!end)
		cond_broadcast(&sp->trim_cond);
	mutex_unlock(&sp->lock);
}

bool space_window_wait(struct space *sp)
{
	bool waited = false;
	u64 start;

	mutex_lock(&sp->lock);
	start = sp->trim_start;
	while (sp->trim_end && sp->trim_start == start) {
		cond_wait(&sp->trim_cond, &sp->lock);
		waited = true;
	}
	mutex_unlock(&sp->lock);
	return waited;
}

void space_window_own(struct space *sp)
{
	mutex_lock(&sp->lock);
	while (sp->trimming)
		cond_wait(&sp->trim_cond, &sp->lock);
	sp->trimming = true;
	mutex_unlock(&sp->lock);
}

void space_window_disown(struct space *sp)
{
	mutex_lock(&sp->lock);
	sp->trimming = false;
	cond_broadcast(&sp->trim_cond);
	mutex_unlock(&sp->lock);
}
