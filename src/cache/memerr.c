/*
 * memerr: what becomes of cached sectors whose memory the machine lost.
 *
 * For each bad frame, with the folio locked and no writeback of it under way:
 *
 *	sector is                      then
 *	not uptodate                   a new page; whoever wants the sector reads it
 *	uptodate and clean, data       read again into another frame, and put in place as one step
 *	metadata                       mapping_ops.memory_lost(): the owner knows
 *	dirty (or can't be read again) lost
 *	lost already                   nothing
 *
 * Lost: the sector is poisoned, and stays so until it is rewritten whole or dropped (truncated):
 * reading it is -EIO, and mapping->error says so to each fsync. The folio is pinned, or eviction
 * would bring back the version before. Its frame stays bad, so that readers who had looked at the
 * state before fail as well (mem/bad.h); the write that covers the sector replaces it.
 *
 * Locks: folio lock, then what filling takes; mapping->lock for the error. No memory is waited for.
 */
#include "base/err.h"
#include "base/log.h"
#include "cache/cache_priv.h"
#include "mem/bad.h"
#include "ring/ring.h"

static u8 *sector_addr(const struct folio *f, u32 k)
{
	return (u8 *)folio_data(f) + ((size_t)k << SECTOR_SHIFT);
}

int folio_replace(struct folio *f, u32 k, const void *contents)
{
	int r = mem_replace(sector_addr(f, k), contents);

	if (!r)
		ring_memory_changed(sector_addr(f, k), SECTOR_SIZE);
	return r;
}

/* ---- lost sectors ---- */

bool folio_is_lost(const struct folio *f, u32 k)
{
	return folio_has(f, FOLIO_PINNED) && folio_range_poisoned(f, k, 1);
}

static void lose(struct folio *f, u32 k)
{
	struct mapping *m = f->mapping;

	folio_set_poison(f, k, 1);
	rwlock_wrlock(&m->lock);
	if (!folio_has(f, FOLIO_PINNED)) {
		folio_pin(f);
		__atomic_store_n(&m->nr_lost, m->nr_lost + 1, __ATOMIC_RELEASE);
	}
	if (m->error == 0)
		__atomic_store_n(&m->error, -EIO, __ATOMIC_RELEASE);
	__atomic_store_n(&m->error_seq, m->error_seq + 1, __ATOMIC_RELEASE);
	rwlock_unlock(&m->lock);
	stat_inc(STAT_MEMORY_LOST);
	corrupt_data(WHY_MEM_DATA, m->id, f->index + k, CORRUPT_NO_SECTOR);
}

void folio_forget_lost(struct folio *f)
{
	struct mapping *m = f->mapping;

	if (m->metadata || !folio_has(f, FOLIO_PINNED))
		return;
	folio_unpin(f);
	rwlock_wrlock(&m->lock);
	__atomic_store_n(&m->nr_lost, m->nr_lost - 1, __ATOMIC_RELEASE);
	if (m->nr_lost == 0 && m->nr_error == 0)
		__atomic_store_n(&m->error, 0, __ATOMIC_RELEASE);
	rwlock_unlock(&m->lock);
}

/* ---- one sector of a locked folio ---- */

/* A folio of one sector that stands for sector k of f while it is filled. Nobody else sees it. */
static struct folio *stand_in(struct folio *f, u32 k)
{
	struct folio *tmp = mem_alloc(0, MEM_RESERVE);

	if (!tmp)
		return NULL;
	folio_lock(tmp);
	__atomic_store_n(&tmp->index, f->index + k, __ATOMIC_RELAXED);
	__atomic_store_n(&tmp->mapping, f->mapping, __ATOMIC_RELEASE);
	return tmp;
}

static int read_again(struct folio *f, u32 k)
{
	struct mapping *m = f->mapping;
	struct folio *tmp = stand_in(f, k);
	int r;

	if (!tmp)
		return -EAGAIN;
	r = m->ops->fill(m, tmp, 0, 1);
	if (r != -ENOMEM && !folio_range_uptodate(tmp, 0, 1))
		lose(f, k);
	else if (!r && !(r = folio_replace(f, k, folio_data(tmp))))
		corrupt_data(WHY_MEM_CLEAN, m->id, f->index + k, CORRUPT_NO_SECTOR);
	else
		r = -EAGAIN;
	__atomic_store_n(&tmp->mapping, NULL, __ATOMIC_RELEASE);
	folio_unlock(tmp);
	folio_put(tmp);
	return r == -EAGAIN ? r : 0;
}

static int mend_sector(struct folio *f, u32 k)
{
	struct mapping *m = f->mapping;
	u32 first, nr;

	if (folio_is_lost(f, k))
		return 0;
	if (!folio_range_uptodate(f, k, 1))
		return folio_replace(f, k, NULL) ? -EAGAIN : 0;
	if (m->metadata)
		return m->ops->memory_lost ? m->ops->memory_lost(m, f, k) : 0;
	if (!folio_next_dirty(f, k, k + 1, &first, &nr))
		return read_again(f, k);
	lose(f, k);
	return 0;
}

int folio_mend(struct folio *f)
{
	int r = 0;

	ASSERT(folio_has(f, FOLIO_LOCKED));
	if (!mem_is_bad(folio_data(f), folio_bytes(f)))
		return 0;
	if (!f->mapping)
		return -EAGAIN;
	folio_wait_writeback(f);
	for (u32 k = 0; k < folio_sectors(f); k++) {
		int one = mem_is_bad(sector_addr(f, k), SECTOR_SIZE) ? mend_sector(f, k) : 0;

		r = r ? r : one;
	}
	return r;
}

void folio_zero(struct folio *f, u32 off, u32 len)
{
	while (len) {
		u32 n = MIN(len, SECTOR_SIZE - (off & (u32)SECTOR_MASK));
		u8 *at = (u8 *)folio_data(f) + off;

		/* What stays bad is lost already, or will be seen to be. */
		if (mem_zero(at, n) && n == SECTOR_SIZE)
			(void)folio_replace(f, off >> SECTOR_SHIFT, NULL);
		off += n;
		len -= n;
	}
}

/* ---- all bad frames ---- */

/* -EAGAIN: look again later. */
static int mend_frame(u32 frame)
{
	struct folio *f = mem_folio_at(frame);
	int r;

	if (!f) {
		r = mem_replace_free(frame);
		if (!r)
			ring_memory_changed(mem_arena + ((u64)frame << SECTOR_SHIFT), SECTOR_SIZE);
		return r ? -EAGAIN : 0;
	}
	if (!folio_tryget(f))
		return -EAGAIN;
	folio_lock(f);
	/* It may have got other frames, or be cut. */
	r = mem_folio_at(frame) == f ? folio_mend(f) : -EAGAIN;
	folio_unlock(f);
	folio_put(f);
	return r;
}

u32 cache_mend_memory(void)
{
	u32 left = 0;

	for (u32 frame = 0; mem_next_bad(&frame); frame++)
		if (mend_frame(frame))
			left++;
	return left;
}
