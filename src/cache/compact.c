/*
 * compact: free memory in long runs again, and memory out of folios that can't go as a whole.
 *
 * compact_run() makes one aligned run of frames free by moving what lies in it elsewhere, when that
 * pays: at most half of the run is in use, by folios that may be moved. Failures make it try less
 * often, up to every DEFER_MAX-th time; a success ends that.
 *
 * compact_evict_run() is for those who must have a run: it evicts what lies there.
 *
 * compact_split_dirty() is for when nothing at all can be evicted: it cuts folios of which only a
 * part is dirty and evicts their clean parts.
 *
 * Locks: one thread compacts at a time, others do without (busy, a flag). Folio locks are tried
 * only.
 */
#include "base/err.h"
#include "cache/cache_priv.h"

#define RUNS_LOOKED_AT 16u   /* for each attempt */
#define FRAMES_LOOKED_AT 4096u
#define DEFER_MAX 64u

static struct {
	u32 busy;            /* atomic; who sets it owns the rest */
	u32 cursor;          /* frame at which the next search for a run begins */
	u32 defer, wait;     /* attempts to leave out after a failure, and still to be left out */
	u32 split_cursor;    /* atomic */
} compact;

static bool enter(void)
{
	return !__atomic_exchange_n(&compact.busy, 1, __ATOMIC_ACQUIRE);
}

static void leave(void)
{
	__atomic_store_n(&compact.busy, 0, __ATOMIC_RELEASE);
}

/* A folio that lies at this frame, locked and referenced, in a mapping. */
static struct folio *take_at(u32 frame)
{
	struct folio *f = mem_folio_at(frame);

	if (!f || !folio_tryget(f))
		return NULL;
	if (mem_folio_at(frame) == f && folio_mapping(f) && folio_trylock(f)) {
		if (folio_mapping(f))
			return f;
		folio_unlock(f);
	}
	folio_put(f);
	return NULL;
}

static bool used_by_others(const struct folio *f)
{
	return folio_has(f, FOLIO_LOCKED | FOLIO_WRITEBACK | FOLIO_PINNED | FOLIO_DEAD) ||
	       __atomic_load_n(&f->refs, __ATOMIC_RELAXED) != 1;
}

/* ---- moving ---- */

/* Frames in use in the run, or UINT32_MAX when something there can't be moved: a look only. */
static u32 run_to_move(u32 frame, u32 nr)
{
	u32 used = 0;

	for (u32 i = 0; i < nr; i++) {
		struct folio *f = mem_folio_at(frame + i);

		if (!f)
			continue;
		if (used_by_others(f) ||
		    __atomic_load_n(&f->order, __ATOMIC_RELAXED) > MEM_MOVE_ORDER)
			return UINT32_MAX;
		used++;
	}
	return used;
}

/* The run with the least to move of those that pay, from the cursor on; false if there is none. */
static bool run_find(unsigned order, u32 *frame)
{
	u32 nr = order_sectors(order), end = ALIGN_DOWN(mem_nr_frames(), nr), best = nr / 2 + 1;

	for (u32 i = 0; i < MIN(RUNS_LOOKED_AT, end / nr); i++) {
		u32 at = compact.cursor < end ? ALIGN_DOWN(compact.cursor, nr) : 0;
		u32 used = run_to_move(at, nr);

		if (used < best) {
			best = used;
			*frame = at;
		}
		compact.cursor = at + nr;
	}
	return best <= nr / 2;
}

static bool run_move(u32 frame, u32 nr)
{
	bool all = true;

	for (u32 i = 0; all && i < nr;) {
		struct folio *f = mem_folio_at(frame + i) ? take_at(frame + i) : NULL;

		if (!f) {
			all = !mem_folio_at(frame + i);
			i++;
			continue;
		}
		i += folio_sectors(f);
		all = mapping_move(f);
		folio_unlock(f);
		folio_put(f);
	}
	return all;
}

static bool compact_once(unsigned order)
{
	bool made = false;
	u32 frame = 0;

	if (run_find(order, &frame)) {
		/* What is free in the run must not be where its folios go. */
		mem_run_claim(frame, order);
		made = run_move(frame, order_sectors(order));
		mem_run_release(frame, order);
	}
	compact.defer = made ? 0 : MIN(compact.defer * 2 + 1, DEFER_MAX);
	compact.wait = compact.defer;
	stat_inc(made ? STAT_COMPACTIONS : STAT_COMPACT_FAILS);
	return made;
}

bool compact_run(unsigned order)
{
	bool made = false;

	if (order == 0 || !enter())
		return false;
	if (compact.wait > 0)
		compact.wait--;
	else
		made = compact_once(order);
	leave();
	return made;
}

/* ---- evicting ---- */

/* Frames [frame, frame + nr) are free or hold folios that lie inside and may go. */
static bool run_may_go(u32 frame, u32 nr)
{
	for (u32 i = 0; i < nr; i++) {
		struct folio *f = mem_folio_at(frame + i);

		if (!f)
			continue;
		if (order_sectors(__atomic_load_n(&f->order, __ATOMIC_RELAXED)) > nr)
			return false;
		if (used_by_others(f) || !folio_is_idle(f))
			return false;
	}
	return true;
}

bool compact_evict_run(unsigned order)
{
	u32 nr = order_sectors(order), end = ALIGN_DOWN(mem_nr_frames(), nr);

	for (u32 frame = 0; frame < end; frame += nr) {
		if (!run_may_go(frame, nr))
			continue;
		for (u32 i = 0; i < nr; i++) {
			struct folio *f = take_at(frame + i);

			if (f)
				mapping_evict(f);
		}
		return true;
	}
	return false;
}

/* ---- cutting ---- */

/* Dirty, perhaps not all of it: a look only. */
static bool may_have_clean_part(const struct folio *f)
{
	return __atomic_load_n(&f->order, __ATOMIC_RELAXED) > 0 && folio_has(f, FOLIO_DIRTY) &&
	       !used_by_others(f);
}

u64 compact_split_dirty(u64 want)
{
	u32 frames = mem_nr_frames(), looks = MIN(frames, FRAMES_LOOKED_AT);
	u32 at = __atomic_load_n(&compact.split_cursor, __ATOMIC_RELAXED) % frames;
	u64 gone = 0;

	while (looks > 0 && gone < want) {
		struct folio *f = mem_folio_at(at);

		if (f && may_have_clean_part(f)) {
			f = take_at(at);
			gone += f ? mapping_evict_clean_parts(f) : 0;
		}
		looks--;
		at = at + 1 < frames ? at + 1 : 0;
	}
	__atomic_store_n(&compact.split_cursor, at, __ATOMIC_RELAXED);
	return gone;
}
