/*
 * Space ahead: what lies behind the end of files that grow, and is left to them.
 *
 * Files that are appended to in turn, each a little at a time, would lie mixed on the disk. So an
 * allocation that continues a file asks for space ahead (struct space_want), and others look for
 * theirs elsewhere.
 *
 * Rules
 * 1. It is a wish and no promise: nothing is marked, counted or reserved. Who finds nothing else
 *    takes it, and what of it is in use already does no harm.
 * 2. One range a file, the newest; SPACE_AHEAD_MAX files, those that grew last. It moves on with
 *    the file's end, as far as what another file has ahead: they never overlap.
 * 3. It ends with the last user of the file, so that what comes next is put right behind it.
 *
 * Locks: the table is under sp->lock; it changes when a handle publishes, or an owner leaves.
 */
#include "fs/space_priv.h"

/* The owner's entry, or NULL. lock held. */
static struct space_ahead *ahead_of(struct space *sp, u64 owner)
{
	for (u32 i = 0; i < sp->nr_ahead; i++)
		if (sp->ahead[i].owner == owner)
			return &sp->ahead[i];
	return NULL;
}

/* lock held */
static struct space_ahead *ahead_oldest(struct space *sp)
{
	struct space_ahead *oldest = &sp->ahead[0];

	for (u32 i = 1; i < sp->nr_ahead; i++)
		if (sp->ahead[i].age < oldest->age)
			oldest = &sp->ahead[i];
	return oldest;
}

/* Rule 2: where it ends if it is to leave others theirs. lock held. */
static u64 ahead_end(const struct space *sp, const struct space_ahead *new)
{
	u64 end = new->end;

	for (u32 i = 0; i < sp->nr_ahead; i++) {
		const struct space_ahead *a = &sp->ahead[i];

		if (a->owner != new->owner && a->end > new->start)
			end = MIN(end, MAX(a->start, new->start));
	}
	return end;
}

void space_ahead_keep(struct space *sp, const struct space_ahead *new)
{
	struct space_ahead *a;
	u64 end;

	mutex_lock(&sp->lock);
	end = ahead_end(sp, new);
	a = ahead_of(sp, new->owner);
	if (!a && sp->nr_ahead < SPACE_AHEAD_MAX) {
		a = &sp->ahead[sp->nr_ahead];
		__atomic_store_n(&sp->nr_ahead, sp->nr_ahead + 1, __ATOMIC_RELEASE);
	}
	if (!a)
		a = ahead_oldest(sp);
	*a = (struct space_ahead){ new->owner, new->start, end, ++sp->ahead_age };
	mutex_unlock(&sp->lock);
}

bool space_ahead_any(const struct space *sp)
{
	return __atomic_load_n(&sp->nr_ahead, __ATOMIC_ACQUIRE) > 0;
}

void space_ahead_drop(struct space *sp, u64 owner)
{
	struct space_ahead *a;

	if (!space_ahead_any(sp))
		return;
	mutex_lock(&sp->lock);
	a = ahead_of(sp, owner);
	if (a) {
		*a = sp->ahead[sp->nr_ahead - 1];
		__atomic_store_n(&sp->nr_ahead, sp->nr_ahead - 1, __ATOMIC_RELEASE);
	}
	mutex_unlock(&sp->lock);
}

bool space_ahead_next(struct space *sp, u64 owner, u64 from, u64 end, u64 *start, u64 *stop)
{
	bool found = false;

	mutex_lock(&sp->lock);
	for (u32 i = 0; i < sp->nr_ahead; i++) {
		const struct space_ahead *a = &sp->ahead[i];

		if (a->owner == owner || a->end <= from || a->start >= end ||
		    (found && a->start >= *start))
			continue;
		found = true;
		*start = a->start;
		*stop = a->end;
	}
	mutex_unlock(&sp->lock);
	return found;
}
