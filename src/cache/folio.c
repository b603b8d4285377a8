/*
 * folio: lock, references, dirty accounting, writeback and pins of one folio.
 *
 * Invariants:
 *  1. A folio in an index holds one reference; it is idle and may be evicted exactly while that is
 *     the only one and no flag speaks against it (folio_is_idle()).
 *  2. mapping->nr_dirty is the sum of folio_nr_dirty() over its folios, nr_error the part of it in
 *     folios with FOLIO_ERROR; the global numbers in throttle.c add up the mappings of data.
 *  3. A folio with FOLIO_DIRTY is tagged in its index. The tag may come a moment later, never stay
 *     away: setting and clearing look at the flag again under mapping->lock.
 *  4. FOLIO_WRITEBACK is set exactly while nr_writeback != 0; such a folio is not removed from its
 *     mapping, so f->mapping is safe for the end of the I/O.
 *  5. Sectors whose dirty bit was cleared under FOLIO_WRITEBACK are counted in m->nr_writeback
 *     until their range ends.
 *
 * Locks: the folio lock is the bit FOLIO_LOCKED of the flag word, which is also the futex that its
 * waiters and those for writeback sleep on. Here mapping->lock is taken for the tags alone.
 */
#include <limits.h>

#include "base/err.h"
#include "base/futex.h"
#include "base/time.h"
#include "cache/cache_priv.h"
#include "cache/index.h"

static u64 pinned_sectors; /* atomic */

/* ---- references ---- */

void folio_put(struct folio *f)
{
	u32 refs = __atomic_fetch_sub(&f->refs, 1, __ATOMIC_ACQ_REL);

	ASSERT(refs != 0);
	if (refs != 1)
		return;
	state_free(f);
	mem_free(f);
	reclaim_progress();
}

/* ---- lock ---- */

bool folio_trylock(struct folio *f)
{
	return !(__atomic_fetch_or(&f->flags, FOLIO_LOCKED, __ATOMIC_ACQUIRE) & FOLIO_LOCKED);
}

/* Sleeps until the flag word has changed while `flag` is set in it. */
static void flags_sleep(struct folio *f, u32 flag)
{
	u32 flags = __atomic_or_fetch(&f->flags, FOLIO_WAITERS, __ATOMIC_ACQ_REL);

	if (flags & flag)
		futex_wait(&f->flags, flags, -1);
}

static void flags_clear_and_wake(struct folio *f, u32 clear)
{
	u32 old = __atomic_fetch_and(&f->flags, ~(clear | FOLIO_WAITERS), __ATOMIC_ACQ_REL);

	if (unlikely(old & FOLIO_WAITERS))
		futex_wake(&f->flags, INT_MAX);
}

static void lock_slow(struct folio *f)
{
	bool io = folio_flags(f) & (FOLIO_READING | FOLIO_WRITEBACK);

	stat_inc(io ? STAT_FOLIO_LOCK_IO_WAITS : STAT_FOLIO_LOCK_WAITS);
	do {
		flags_sleep(f, FOLIO_LOCKED);
	} while (!folio_trylock(f));
}

void folio_lock(struct folio *f)
{
	if (unlikely(!folio_trylock(f)))
		lock_slow(f);
}

void folio_set_reading(struct folio *f)
{
	ASSERT(folio_has(f, FOLIO_LOCKED));
	folio_flags_set(f, FOLIO_READING);
}

void folio_unlock(struct folio *f)
{
	ASSERT(folio_has(f, FOLIO_LOCKED));
	flags_clear_and_wake(f, FOLIO_LOCKED | FOLIO_READING);
}

void folio_wait_writeback(struct folio *f)
{
	if (likely(!folio_has(f, FOLIO_WRITEBACK)))
		return;
	stat_inc(STAT_FOLIO_WRITEBACK_WAITS);
	while (folio_has(f, FOLIO_WRITEBACK))
		flags_sleep(f, FOLIO_WRITEBACK);
}

/* ---- dirty accounting ---- */

/* Invariant 3: whoever comes last under the lock sees the final flag. */
static void retag(struct mapping *m, struct folio *f, bool dirty)
{
	if (dirty) {
		rwlock_rdlock(&m->lock);
		if (folio_has(f, FOLIO_DIRTY))
			index_tag_dirty(m, f);
	} else {
		rwlock_wrlock(&m->lock);
		if (!folio_has(f, FOLIO_DIRTY))
			index_untag_dirty(m, f);
	}
	rwlock_unlock(&m->lock);
}

static void count_error(struct mapping *m, s64 change)
{
	if (change == 0)
		return;
	throttle_add_error(m->metadata ? 0 : change);
	rwlock_wrlock(&m->lock);
	__atomic_store_n(&m->nr_error, m->nr_error + (u64)change, __ATOMIC_RELAXED);
	if (m->nr_error == 0 && m->nr_lost == 0)
		__atomic_store_n(&m->error, 0, __ATOMIC_RELEASE);
	rwlock_unlock(&m->lock);
}

static void count_dirty(struct folio *f, s64 change)
{
	struct mapping *m = f->mapping;
	u64 before;

	if (change == 0)
		return;
	ASSERT(m != NULL);
	before = __atomic_fetch_add(&m->nr_dirty, (u64)change, __ATOMIC_ACQ_REL);
	ASSERT(change > 0 || before >= (u64)-change);
	if (before == 0)
		__atomic_store_n(&m->dirtied_ns, now_ns(), __ATOMIC_RELAXED);
	else if (before + (u64)change == 0)
		__atomic_store_n(&m->dirtied_ns, 0, __ATOMIC_RELAXED);
	if (!m->metadata)
		throttle_add_dirty(change);
	if (folio_has(f, FOLIO_ERROR))
		count_error(m, change);
}

static void count_in_flight(struct mapping *m, s64 change)
{
	u64 before = __atomic_fetch_add(&m->nr_writeback, (u64)change, __ATOMIC_ACQ_REL);

	ASSERT(change > 0 || before >= (u64)-change);
	if (!m->metadata)
		throttle_add_dirty(change);
}

/* After a change of the state: counts and tag follow. */
static void dirty_changed(struct folio *f, bool was_dirty, s32 change)
{
	bool is_dirty = folio_has(f, FOLIO_DIRTY);

	count_dirty(f, change);
	if (is_dirty != was_dirty)
		retag(f->mapping, f, is_dirty);
	ASSERT_SLOW((folio_assert_valid(f), true));
}

/* Pinned data has lost sectors, until none is poisoned any more. */
static void forget_lost(struct folio *f)
{
	if (unlikely(folio_has(f, FOLIO_PINNED)) && f->mapping && !f->mapping->metadata &&
	    !folio_range_poisoned(f, 0, folio_sectors(f)))
		folio_forget_lost(f);
}

void folio_mark_uptodate(struct folio *f, u32 first, u32 nr)
{
	state_mark_uptodate(f, first, nr);
	forget_lost(f);
	ASSERT_SLOW((folio_assert_valid(f), true));
}

void folio_clear_uptodate(struct folio *f, u32 first, u32 nr)
{
	bool was = folio_has(f, FOLIO_DIRTY);

	dirty_changed(f, was, state_clear_uptodate(f, first, nr));
	forget_lost(f);
}

void folio_mark_dirty(struct folio *f, u32 first, u32 nr)
{
	bool was = folio_has(f, FOLIO_DIRTY);

	dirty_changed(f, was, state_mark_dirty(f, first, nr));
}

void folio_set_poison(struct folio *f, u32 first, u32 nr)
{
	bool was = folio_has(f, FOLIO_DIRTY);

	dirty_changed(f, was, state_poison(f, first, nr));
}

void folio_clear_dirty(struct folio *f, u32 first, u32 nr)
{
	bool was = folio_has(f, FOLIO_DIRTY);
	s32 change = state_clear_dirty(f, first, nr);

	if (change != 0 && folio_has(f, FOLIO_WRITEBACK))
		count_in_flight(f->mapping, -change);
	dirty_changed(f, was, change);
}

/* The folio leaves the set of failed ones with the dirty sectors that it has now. */
static void error_forget(struct folio *f)
{
	if (!folio_has(f, FOLIO_ERROR))
		return;
	count_error(f->mapping, -(s64)folio_nr_dirty(f));
	folio_flags_clear(f, FOLIO_ERROR);
}

void folio_cancel_dirty(struct folio *f)
{
	ASSERT(!folio_has(f, FOLIO_WRITEBACK));
	if (folio_has(f, FOLIO_DIRTY))
		folio_clear_dirty(f, 0, folio_sectors(f));
	folio_flags_clear(f, FOLIO_ERROR);
}

/* ---- writeback ---- */

void folio_begin_writeback(struct folio *f, u32 nr_ranges)
{
	u32 before;

	ASSERT(nr_ranges > 0);
	if (!folio_has(f, FOLIO_WRITEBACK)) {
		ASSERT(folio_has(f, FOLIO_LOCKED));
		error_forget(f);
	}
	before = __atomic_fetch_add(&f->nr_writeback, (u16)nr_ranges, __ATOMIC_ACQ_REL);
	ASSERT(before + nr_ranges <= UINT16_MAX);
	folio_flags_set(f, FOLIO_WRITEBACK);
}

/* The range is dirty again, and its mapping has an error to report. */
static void range_failed(struct folio *f, u32 first, u32 nr, int error)
{
	struct mapping *m = f->mapping;

	rwlock_wrlock(&m->lock);
	if (!(folio_flags(f) & FOLIO_ERROR)) {
		folio_flags_set(f, FOLIO_ERROR);
		__atomic_store_n(&m->nr_error, m->nr_error + folio_nr_dirty(f), __ATOMIC_RELAXED);
		throttle_add_error(m->metadata ? 0 : (s64)folio_nr_dirty(f));
	}
	if (m->error == 0)
		__atomic_store_n(&m->error, error, __ATOMIC_RELEASE);
	__atomic_store_n(&m->error_seq, m->error_seq + 1, __ATOMIC_RELEASE);
	rwlock_unlock(&m->lock);
	if (!m->metadata)
		cache_note_write_error(error);
	count_dirty(f, state_mark_dirty(f, first, nr));
	/* A holder of the folio lock may have taken the tag away just before: always. */
	retag(m, f, true);
}

void folio_end_writeback(struct folio *f, u32 first, u32 nr, int error)
{
	struct mapping *m = f->mapping;

	ASSERT(folio_has(f, FOLIO_WRITEBACK));
	if (error < 0)
		range_failed(f, first, nr, error);
	else if (!m->metadata)
		throttle_note_written(nr);
	count_in_flight(m, -(s64)nr);
	stat_trace(TRACE_WRITTEN, m->id, f->index + first, nr);
	if (__atomic_fetch_sub(&f->nr_writeback, 1, __ATOMIC_ACQ_REL) == 1)
		flags_clear_and_wake(f, FOLIO_WRITEBACK);
	reclaim_progress();
}

/* ---- filling ---- */

int folio_make_uptodate(struct folio *f, u32 first, u32 nr)
{
	u32 at = first, end = first + nr, run_first, run_nr;
	int err = 0;

	ASSERT(folio_has(f, FOLIO_LOCKED));
	ASSERT(end <= folio_sectors(f));
	if (folio_range_uptodate(f, first, nr))
		return 0;
	if (folio_range_poisoned(f, first, nr))
		return -EIO;
	/* For those who wait for the lock meanwhile: it is I/O that they wait for. */
	folio_flags_set(f, FOLIO_READING);
	while (!err && folio_next_stale(f, at, end, &run_first, &run_nr)) {
		err = f->mapping->ops->fill(f->mapping, f, run_first, run_nr);
		at = run_first + run_nr;
	}
	folio_flags_clear(f, FOLIO_READING);
	return err;
}

/* ---- pins ---- */

void folio_pin(struct folio *f)
{
	u32 old = __atomic_fetch_or(&f->flags, FOLIO_PINNED, __ATOMIC_ACQ_REL);

	if (!(old & FOLIO_PINNED))
		__atomic_fetch_add(&pinned_sectors, folio_sectors(f), __ATOMIC_RELAXED);
}

void folio_unpin(struct folio *f)
{
	u32 old = __atomic_fetch_and(&f->flags, ~(u32)FOLIO_PINNED, __ATOMIC_ACQ_REL);

	if (!(old & FOLIO_PINNED))
		return;
	__atomic_fetch_sub(&pinned_sectors, folio_sectors(f), __ATOMIC_RELAXED);
	reclaim_progress();
}

u64 folio_pinned_bytes(void)
{
	return __atomic_load_n(&pinned_sectors, __ATOMIC_RELAXED) << SECTOR_SHIFT;
}
