/*
 * state: what is known of each sector of a folio.
 *
 * Most folios are all alike, and two flags say it. Only a folio in a mixed state has bitmaps, which
 * go as soon as it is uniform again.
 *
 * Invariants (folio_assert_valid() checks them):
 *  1. FOLIO_UPTODATE is set exactly if every sector is uptodate.
 *  2. A dirty sector is uptodate. FOLIO_DIRTY is set exactly if some sector is dirty.
 *  3. A poisoned sector is neither uptodate nor dirty.
 *  4. Without bitmaps the folio is one of: nothing uptodate; all uptodate, clean; all uptodate,
 *     dirty. With bitmaps it is none of these.
 *
 * Locks: changes happen under the folio lock, with one exception: the end of a failed write makes
 * sectors dirty again without it. So the bitmaps have a lock of their own, FOLIO_STATE_LOCK: a spin
 * bit held for some dozens of instructions, with nothing taken inside. Readers of a uniform folio
 * need only the flags, others take the bit.
 *
 * Memory: who learns that a part of a folio failed can't be told that there is none to note it. So
 * beside malloc() there are RESERVE bitmaps of the largest size, for folios that become mixed while
 * memory is short.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "cache/cache_priv.h"

struct folio_state {
	u64 *uptodate; /* bitmaps of 1 << order bits, in one allocation with this, behind it */
	u64 *dirty;
	u64 *poison;
};

/* ---- the spin bit ---- */

static void state_lock(struct folio *f)
{
	for (u32 spins = 0;
	     __atomic_fetch_or(&f->flags, FOLIO_STATE_LOCK, __ATOMIC_ACQUIRE) & FOLIO_STATE_LOCK;
	     spins++)
		if (spins % 64 == 63)
			sched_yield();
}

static void state_unlock(struct folio *f)
{
	__atomic_fetch_and(&f->flags, ~(u32)FOLIO_STATE_LOCK, __ATOMIC_RELEASE);
}

/* ---- attach and detach ---- */

static struct folio_state *state_of(const struct folio *f)
{
	return __atomic_load_n(&f->state, __ATOMIC_ACQUIRE);
}

#define WORDS_MAX BITMAP_WORDS(1u << FOLIO_MAX_ORDER)
#define RESERVE 256u

static struct reserve {
	struct folio_state st;
	u64 words[3 * WORDS_MAX];
} reserve[RESERVE];
static bool reserve_used[RESERVE];      /* atomic */

static struct folio_state *reserve_take(void)
{
	for (u32 i = 0; i < RESERVE; i++) {
		if (__atomic_test_and_set(&reserve_used[i], __ATOMIC_ACQUIRE))
			continue;
		memset(&reserve[i], 0, sizeof(reserve[i]));
		return &reserve[i].st;
	}
	return NULL;
}

/* All bitmaps clear. At most 216 bytes. */
static struct folio_state *state_new(size_t words)
{
	struct folio_state *st = calloc(1, sizeof(*st) + 3 * words * sizeof(u64));

	if (!st)
		st = reserve_take();
	ASSERT(st);
	st->uptodate = (u64 *)(st + 1);
	st->dirty = st->uptodate + words;
	st->poison = st->dirty + words;
	return st;
}

static void state_delete(struct folio_state *st)
{
	struct reserve *r = (struct reserve *)st;

	if (r >= reserve && r < reserve + RESERVE)
		__atomic_clear(&reserve_used[r - reserve], __ATOMIC_RELEASE);
	else
		free(st);
}

static struct folio_state *state_attach(struct folio *f)
{
	u32 n = folio_sectors(f);
	struct folio_state *st = f->state;

	if (st)
		return st;
	st = state_new(BITMAP_WORDS(n));
	if (folio_has(f, FOLIO_UPTODATE))
		bitmap_set_range(st->uptodate, 0, n);
	if (folio_has(f, FOLIO_DIRTY))
		bitmap_set_range(st->dirty, 0, n);
	__atomic_store_n(&f->state, st, __ATOMIC_RELEASE);
	return st;
}

static void state_detach(struct folio *f)
{
	struct folio_state *st = f->state;

	__atomic_store_n(&f->state, NULL, __ATOMIC_RELEASE);
	if (st)
		state_delete(st);
}

void state_free(struct folio *f)
{
	state_detach(f);
}

static void flag_assign(struct folio *f, u32 flag, bool on)
{
	if (on)
		folio_flags_set(f, flag);
	else
		folio_flags_clear(f, flag);
}

/* The bitmaps have changed: flags follow, and the bitmaps go if they say nothing any more. */
static void state_settle(struct folio *f)
{
	struct folio_state *st = f->state;
	u32 n = folio_sectors(f);
	size_t uptodate = bitmap_weight(st->uptodate, 0, n);
	size_t dirty = bitmap_weight(st->dirty, 0, n);
	bool poison = !bitmap_all_clear(st->poison, 0, n);

	flag_assign(f, FOLIO_UPTODATE, uptodate == n);
	flag_assign(f, FOLIO_DIRTY, dirty != 0);
	if ((uptodate == n && (dirty == 0 || dirty == n)) || (uptodate == 0 && !poison))
		state_detach(f);
}

static u32 nr_dirty(const struct folio *f)
{
	if (!folio_has(f, FOLIO_DIRTY))
		return 0;
	return f->state ? (u32)bitmap_weight(f->state->dirty, 0, folio_sectors(f)) :
			  folio_sectors(f);
}

static void check_range(const struct folio *f, u32 first, u32 nr)
{
	ASSERT(nr > 0);
	ASSERT(first < folio_sectors(f));
	ASSERT(nr <= folio_sectors(f) - first);
}

static bool is_whole(const struct folio *f, u32 nr)
{
	return nr == folio_sectors(f);
}

/* ---- changes ---- */

void state_mark_uptodate(struct folio *f, u32 first, u32 nr)
{
	struct folio_state *st;

	check_range(f, first, nr);
	if (folio_has(f, FOLIO_UPTODATE))
		return;
	state_lock(f);
	if (!f->state && is_whole(f, nr)) {
		folio_flags_set(f, FOLIO_UPTODATE);
	} else {
		st = state_attach(f);
		bitmap_set_range(st->uptodate, first, nr);
		bitmap_clear_range(st->poison, first, nr);
		state_settle(f);
	}
	state_unlock(f);
}

/* What all that take something away have in common; poison marks the sectors as well. */
static s32 state_take(struct folio *f, u32 first, u32 nr, bool uptodate, bool poison)
{
	struct folio_state *st;
	s32 before, change;

	check_range(f, first, nr);
	state_lock(f);
	before = (s32)nr_dirty(f);
	if (!f->state && is_whole(f, nr) && !poison) {
		folio_flags_clear(f, FOLIO_DIRTY | (uptodate ? (u32)FOLIO_UPTODATE : 0));
	} else if (f->state || folio_has(f, FOLIO_UPTODATE | FOLIO_DIRTY) || poison) {
		st = state_attach(f);
		bitmap_clear_range(st->dirty, first, nr);
		if (uptodate) {
			bitmap_clear_range(st->uptodate, first, nr);
			bitmap_clear_range(st->poison, first, nr);
		}
		if (poison)
			bitmap_set_range(st->poison, first, nr);
		state_settle(f);
	}
	change = (s32)nr_dirty(f) - before;
	state_unlock(f);
	return change;
}

s32 state_clear_uptodate(struct folio *f, u32 first, u32 nr)
{
	return state_take(f, first, nr, true, false);
}

s32 state_clear_dirty(struct folio *f, u32 first, u32 nr)
{
	return state_take(f, first, nr, false, false);
}

s32 state_poison(struct folio *f, u32 first, u32 nr)
{
	return state_take(f, first, nr, true, true);
}

s32 state_mark_dirty(struct folio *f, u32 first, u32 nr)
{
	struct folio_state *st;
	s32 before, change;

	check_range(f, first, nr);
	state_lock(f);
	before = (s32)nr_dirty(f);
	if (!f->state && (is_whole(f, nr) || folio_has(f, FOLIO_DIRTY))) {
		ASSERT(folio_has(f, FOLIO_UPTODATE));
		folio_flags_set(f, FOLIO_DIRTY);
	} else {
		st = state_attach(f);
		ASSERT(bitmap_all_set(st->uptodate, first, nr));
		bitmap_set_range(st->dirty, first, nr);
		state_settle(f);
	}
	change = (s32)nr_dirty(f) - before;
	state_unlock(f);
	return change;
}

void state_split(struct folio *f, struct folio *g)
{
	struct folio_state *st = f->state, *up;
	u32 n = folio_sectors(f);

	if (!st) {
		folio_flags_set(g, folio_flags(f) & (FOLIO_UPTODATE | FOLIO_DIRTY));
		return;
	}
	up = state_attach(g);
	bitmap_copy_range(up->uptodate, 0, st->uptodate, n, n);
	bitmap_copy_range(up->dirty, 0, st->dirty, n, n);
	bitmap_copy_range(up->poison, 0, st->poison, n, n);
	state_settle(g);
	/* The bitmaps of f stay as long as they were; what is behind its end says nothing. */
	bitmap_clear_range(st->uptodate, n, n);
	bitmap_clear_range(st->dirty, n, n);
	bitmap_clear_range(st->poison, n, n);
	state_settle(f);
}

/* ---- questions ---- */

/* The bit is not part of what a caller sees of a folio, so a const folio may be asked. */
static struct folio_state *state_read_begin(const struct folio *f)
{
	if (!state_of(f))
		return NULL;
	state_lock((struct folio *)(uintptr_t)f);
	if (f->state)
		return f->state;
	state_unlock((struct folio *)(uintptr_t)f);
	return NULL;
}

static void state_read_end(const struct folio *f)
{
	state_unlock((struct folio *)(uintptr_t)f);
}

bool folio_range_uptodate(const struct folio *f, u32 first, u32 nr)
{
	struct folio_state *st;
	bool all;

	if (likely(folio_has(f, FOLIO_UPTODATE)))
		return true;
	st = state_read_begin(f);
	if (!st)
		return folio_has(f, FOLIO_UPTODATE);
	all = bitmap_all_set(st->uptodate, first, nr);
	state_read_end(f);
	return all;
}

/* The first run of sectors with (or without) their bit in [first, end). */
static int next_run(const u64 *map, bool set, u32 first, u32 end, u32 *run_first, u32 *run_nr)
{
	size_t from, to;

	from = set ? bitmap_next_set(map, first, end) : bitmap_next_zero(map, first, end);
	if (from >= end)
		return 0;
	to = set ? bitmap_next_zero(map, from, end) : bitmap_next_set(map, from, end);
	*run_first = (u32)from;
	*run_nr = (u32)(to - from);
	return 1;
}

static int all_or_nothing(bool all, u32 first, u32 end, u32 *run_first, u32 *run_nr)
{
	if (!all || first >= end)
		return 0;
	*run_first = first;
	*run_nr = end - first;
	return 1;
}

/* As next_run() for stale sectors, without the poisoned ones. */
static int next_unlost(const struct folio_state *st, u32 first, u32 end, u32 *run_first,
		       u32 *run_nr)
{
	u32 from = first, nr = 0;

	while (from < end && (bitmap_test(st->uptodate, from) || bitmap_test(st->poison, from)))
		from++;
	while (from + nr < end && !bitmap_test(st->uptodate, from + nr) &&
	       !bitmap_test(st->poison, from + nr))
		nr++;
	*run_first = from;
	*run_nr = nr;
	return nr > 0;
}

int folio_next_stale(const struct folio *f, u32 first, u32 end, u32 *run_first, u32 *run_nr)
{
	struct folio_state *st = state_read_begin(f);
	int found;

	if (!st)
		return all_or_nothing(!folio_has(f, FOLIO_UPTODATE), first, end, run_first, run_nr);
	found = next_run(st->uptodate, false, first, end, run_first, run_nr);
	/* What memory errors took is not read again: the disk has an older version. */
	if (unlikely(found && folio_has(f, FOLIO_PINNED)))
		found = next_unlost(st, first, end, run_first, run_nr);
	state_read_end(f);
	return found;
}

int folio_next_dirty(const struct folio *f, u32 first, u32 end, u32 *run_first, u32 *run_nr)
{
	struct folio_state *st = state_read_begin(f);
	int found;

	if (!st)
		return all_or_nothing(folio_has(f, FOLIO_DIRTY), first, end, run_first, run_nr);
	found = next_run(st->dirty, true, first, end, run_first, run_nr);
	state_read_end(f);
	return found;
}

u32 folio_nr_dirty(const struct folio *f)
{
	struct folio_state *st = state_read_begin(f);
	u32 nr;

	if (!st)
		return folio_has(f, FOLIO_DIRTY) ? folio_sectors(f) : 0;
	nr = nr_dirty(f);
	state_read_end(f);
	return nr;
}

bool folio_range_poisoned(const struct folio *f, u32 first, u32 nr)
{
	struct folio_state *st;
	bool some;

	if (likely(folio_has(f, FOLIO_UPTODATE)))
		return false;
	st = state_read_begin(f);
	if (!st)
		return false;
	some = !bitmap_all_clear(st->poison, first, nr);
	state_read_end(f);
	return some;
}

void folio_assert_valid(struct folio *f)
{
	u32 n = folio_sectors(f);
	struct folio_state *st;
	size_t uptodate, dirty;
	bool poison;

	state_lock(f);
	st = f->state;
	if (!st) {
		ASSERT(!folio_has(f, FOLIO_DIRTY) || folio_has(f, FOLIO_UPTODATE));
		state_unlock(f);
		return;
	}
	uptodate = bitmap_weight(st->uptodate, 0, n);
	dirty = bitmap_weight(st->dirty, 0, n);
	poison = !bitmap_all_clear(st->poison, 0, n);
	ASSERT(folio_has(f, FOLIO_UPTODATE) == (uptodate == n));
	ASSERT(folio_has(f, FOLIO_DIRTY) == (dirty != 0));
	for (size_t i = 0; i < BITMAP_WORDS(n); i++) {
		ASSERT((st->dirty[i] & ~st->uptodate[i]) == 0);
		ASSERT((st->poison[i] & st->uptodate[i]) == 0);
	}
	ASSERT(uptodate != 0 || poison);
	ASSERT(uptodate != n || (dirty != 0 && dirty != n));
	state_unlock(f);
}
