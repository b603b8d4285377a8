/*
 * The counts of known inodes: open addressing with linear probing.
 *
 * Invariants:
 *  1. A slot with ino 0 is empty; a slot in use has count > 0.
 *  2. From the home slot of an inode to the slot where it lies no slot is empty: removal moves
 *     later slots of the run back, there are no tombstones.
 *  3. Between 1/8 (above the smallest size) and 3/4 of the slots are in use. A failed resize is no
 *     error while a free slot is left.
 *
 * Any thread; one mutex of its own. It shares RANK_FLUSHER with the queue of dirty inodes: the two
 * are never held together, and both are leaves under the inode table.
 */
#include "fs/known.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/log.h"

#define SLOTS_MIN 256u

struct slot {
	u64 ino, count;
};

struct known {
	struct mutex lock;
	struct slot *slots;
	u64 size;    /* a power of two */
	u64 nr;
};

struct known *known_new(void)
{
	struct known *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->slots = calloc(SLOTS_MIN, sizeof(*k->slots));
	if (!k->slots) {
		free(k);
		return NULL;
	}
	k->size = SLOTS_MIN;
	mutex_init(&k->lock, RANK_FLUSHER);
	return k;
}

void known_free(struct known *k)
{
	if (!k)
		return;
	mutex_fini(&k->lock);
	free(k->slots);
	free(k);
}

static u64 home(const struct known *k, u64 ino)
{
	return hash_mix64(ino) & (k->size - 1);
}

/* The slot of ino, or the empty one where it belongs. */
static struct slot *probe(struct known *k, u64 ino)
{
	u64 i = home(k, ino);

	while (k->slots[i].ino != ino && k->slots[i].ino != 0)
		i = (i + 1) & (k->size - 1);
	return &k->slots[i];
}

static void resize(struct known *k, u64 size)
{
	struct slot *old = k->slots, *fresh = calloc(size, sizeof(*fresh));
	u64 old_size = k->size;

	if (!fresh)
		return;
	k->slots = fresh;
	__atomic_store_n(&k->size, size, __ATOMIC_RELAXED);
	for (u64 i = 0; i < old_size; i++)
		if (old[i].ino)
			*probe(k, old[i].ino) = old[i];
	free(old);
}

void known_add(struct known *k, u64 ino, u64 count)
{
	struct slot *s;

	ASSERT(ino != 0);
	mutex_lock(&k->lock);
	if ((k->nr + 1) * 4 > k->size * 3)
		resize(k, k->size * 2);
	s = probe(k, ino);
	if (s->ino) {
		s->count += count;
	} else if (k->nr + 1 < k->size) {
		*s = (struct slot){ ino, count };
		__atomic_store_n(&k->nr, k->nr + 1, __ATOMIC_RELAXED);
	} else {
		log_err("out of memory: lookups of inode %llu are not counted",
			(unsigned long long)ino);
	}
	mutex_unlock(&k->lock);
}

/* Invariant 2: whatever could not lie nearer to its home because of the slot at `hole` moves. */
static void remove_at(struct known *k, u64 hole)
{
	u64 mask = k->size - 1;

	for (u64 i = (hole + 1) & mask; k->slots[i].ino; i = (i + 1) & mask) {
		u64 from_home = (i - home(k, k->slots[i].ino)) & mask;

		if (from_home >= ((i - hole) & mask)) {
			k->slots[hole] = k->slots[i];
			hole = i;
		}
	}
	k->slots[hole] = (struct slot){ 0, 0 };
	__atomic_store_n(&k->nr, k->nr - 1, __ATOMIC_RELAXED);
}

u64 known_sub(struct known *k, u64 ino, u64 count)
{
	struct slot *s;
	u64 left = 0;

	mutex_lock(&k->lock);
	s = probe(k, ino);
	if (ino != 0 && s->ino) {
		left = s->count > count ? s->count - count : 0;
		s->count = left;
		if (left == 0)
			remove_at(k, (u64)(s - k->slots));
		if (k->size > SLOTS_MIN && k->nr * 8 < k->size)
			resize(k, k->size / 2);
	}
	mutex_unlock(&k->lock);
	return left;
}

u64 known_count(struct known *k, u64 ino)
{
	u64 count;

	mutex_lock(&k->lock);
	count = ino ? probe(k, ino)->count : 0;
	mutex_unlock(&k->lock);
	return count;
}

u64 known_nr(const struct known *k)
{
	return __atomic_load_n(&k->nr, __ATOMIC_RELAXED);
}

u64 known_bytes(const struct known *k)
{
	return __atomic_load_n(&k->size, __ATOMIC_RELAXED) * sizeof(*k->slots);
}
