/*
 * readahead: reads that nobody has asked for yet, as far as history proves that somebody will.
 *
 *	      reader                             front
 *	        v                                  v
 *	|-------|---------------|==================|
 *	                        start              start + len: the window last started
 *
 * 1. The first sequential read starts a small window, in folios of the length of that read: long
 *    ones prove more. A reader that reaches the last window starts the next, twice as long, in
 *    folios two orders larger, until the front is as far ahead of it as the maximum says. From
 *    then on the front is kept there: each step of the reader's starts one of the same length.
 *    So the device seldom has nothing to do, also one that tells of nothing that it has done
 *    before all is. Whoever waits for a folio waits for all of it, and until it is checked:
 *    folios are half a step at most. The folios of a window are filled together.
 * 2. Who goes on where the cache ends (another open file, another thread of the same) has its
 *    history there: a miss behind sectors that are cached, as many as it reads and HISTORY_MIN at
 *    least or all from the start of the file, starts a window as long as those.
 * 3. A read elsewhere touches nothing of the window: random reads in between do not end a stream.
 *    Nor do they keep one going that has ended: the next window starts only if half of the one
 *    before was read.
 * 4. Nothing is read beyond the end of the file. Folios are aligned and inside the window.
 * 5. Readahead takes only memory that is free or holds clean folios, and never waits; what can't be
 *    started is left to the reader.
 */
#include "base/err.h"
#include "cache/cache_priv.h"

#define WINDOW_MIN 4u
#define STEP_SHARE 4u       /* of the maximum is a step */
#define STEP_MIN 64u        /* sectors, but half the maximum at most */
#define ORDER_STEP 2u       /* 4 K, 16 K, 64 K, 256 K, 1 M */
#define BATCH_FOLIOS 256u
#define HISTORY_MIN 4u      /* sectors; fewer may be there by chance where some are cached */

static u32 ahead_max(const struct readahead *ra)
{
	u32 max = ra->max_sectors ? ra->max_sectors : READAHEAD_DEFAULT;
	u64 share = mem_total_bytes() / 8 / SECTOR_SIZE;

	return (u32)MAX(MIN((u64)max, share), (u64)WINDOW_MIN);
}

static u32 step_of(u32 max)
{
	return MAX(max / STEP_SHARE, MIN(max / 2, STEP_MIN));
}

static unsigned order_max(u32 max)
{
	return MIN(ilog2(step_of(max) / 2), mem_max_order());
}

/* Four times a small read, twice a larger one, never above the maximum. */
static u32 window_first(u32 nr, u32 max)
{
	u32 n = (u32)roundup_pow2(MIN(nr, max));

	if (n <= max / 32)
		n *= 4;
	else if (n <= max / 4)
		n *= 2;
	return MIN(MAX(n, WINDOW_MIN), max);
}

/* Of folios as long as a read. */
static unsigned read_order(u32 nr)
{
	return nr ? ilog2(nr) : 0;
}

static u32 window_next(u32 len, u32 max)
{
	return MIN(len < max / 16 ? len * 4 : len * 2, max);
}

/* Locked folios of a window that are to be filled together. */
struct batch {
	struct folio *f[BATCH_FOLIOS];
	u32 nr;
};

/* What can't be started stays in the cache with nothing in it, for its reader. */
static int batch_send(struct mapping *m, struct batch *b)
{
	int r = b->nr ? m->ops->fill_async(m, b->f, b->nr) : 0;

	for (u32 i = 0; r && i < b->nr; i++) {
		folio_unlock(b->f[i]);
		folio_put(b->f[i]);
	}
	b->nr = 0;
	return r;
}

/* A new folio at pos. Its end in *next. */
static int batch_add(struct mapping *m, struct batch *b, u64 pos, unsigned order, u64 *next)
{
	struct folio *f;
	int r = cache_add(m, pos, order, CACHE_NOWAIT, &f);

	if (r)
		return r;
	*next = f->index + folio_sectors(f);
	stat_add(STAT_READAHEAD_SECTORS, folio_sectors(f));
	folio_flags_set(f, FOLIO_READING | FOLIO_UNUSED);
	b->f[b->nr++] = f;
	return b->nr == BATCH_FOLIOS ? batch_send(m, b) : 0;
}

static unsigned order_at(const struct readahead *ra, u64 pos, u64 end)
{
	unsigned order = MIN((unsigned)ra->order, ilog2(end - pos));

	return pos ? MIN(order, (unsigned)__builtin_ctzll(pos)) : order;
}

/* The end of the folio that covers pos. */
static u64 behind_folio(struct mapping *m, u64 pos)
{
	u64 at = pos;
	struct folio *f = cache_next(m, &at, pos + 1);

	if (f)
		folio_put(f);
	return MAX(at, pos + 1);
}

static void start_window(struct mapping *m, const struct readahead *ra, u64 eof)
{
	u64 pos = ra->start, end = MIN(ra->start + ra->len, eof);
	struct batch b = { .nr = 0 };
	int r = 0;

	if (pos >= end)
		return;
	stat_inc(STAT_READAHEAD_WINDOWS);
	stat_trace(TRACE_READAHEAD, m->id, pos, (u32)(end - pos));
	while (!r && pos < end) {
		r = batch_add(m, &b, pos, order_at(ra, pos, end), &pos);
		if (r == -EEXIST) {
			pos = behind_folio(m, pos);
			r = 0;
		}
	}
	batch_send(m, &b);
}

static u64 front_of(const struct readahead *ra)
{
	return ra->start + ra->len;
}

/* Between the front and where its reader is: behind it by as much again at most. */
static bool in_stream(const struct readahead *ra, u64 sector, u32 max)
{
	u64 span = ra->full ? 2 * (u64)max : 3 * (u64)ra->len;

	return ra->len && sector + span >= front_of(ra) && sector <= front_of(ra);
}

/*
 * Length of the window that is due when a read of [sector, end) comes; 0: none. A stream has read
 * most of the window before the last by then, or, once the front is as far ahead as it may be, of
 * what the next one adds to it.
 */
static u32 window_due(const struct readahead *ra, u64 sector, u64 end, u32 max)
{
	u64 from = MAX(front_of(ra), end);
	u32 room;

	if (!ra->len || sector > front_of(ra) || from >= end + max)
		return 0;
	room = (u32)(end + max - from);
	if (room < step_of(max) || (!ra->full && end <= ra->start))
		return 0;
	if (ra->used < (ra->full ? room : ra->due) / 2)
		return 0;
	return ra->full ? room : MIN(window_next(ra->len, max), room);
}

/* The next window, of nr sectors, after a read that ends at `end`. */
static void advance(struct readahead *ra, u64 end, u32 nr, u32 max)
{
	ra->start = MAX(front_of(ra), end);
	ra->due = ra->len;
	ra->used = 0;
	ra->order = (u8)MIN(MIN(ra->order + ORDER_STEP, order_max(max)), ilog2(nr));
	/* Folios of this order start at their multiples: so does the next window. */
	ra->len = (u32)(ALIGN_UP(ra->start + nr, (u64)order_sectors(ra->order)) - ra->start);
	ra->len = MIN(ra->len, max);
	ra->full = front_of(ra) >= end + max;
}

/* proof: sectors that were read in a row. */
static void begin(struct readahead *ra, u32 proof, unsigned order, u64 end, u32 max)
{
	ra->start = end;
	ra->due = ra->used = 0;
	ra->len = window_first(proof, max);
	ra->full = false;
	ra->order = (u8)MIN(order, order_max(max));
}

/*
 * Rule 2: sectors before `sector` that are cached, up to max, and the order of the folio before it.
 * 0 if nothing is missing at `sector` itself.
 */
static u32 history(struct mapping *m, u64 sector, u32 max, unsigned *order)
{
	struct folio *f = sector ? mapping_peek(m, sector) : NULL;
	u64 at = sector;

	*order = 0;
	if (f) {
		folio_put(f);
		return 0;
	}
	while (at && sector - at < max && (f = mapping_peek(m, at - 1))) {
		if (at == sector)
			*order = f->order;
		at = MIN(at - 1, f->index);
		folio_put(f);
	}
	return (u32)MIN(sector - at, (u64)max);
}

static bool begin_from_history(struct mapping *m, struct readahead *ra, u64 sector, u32 nr, u32 max)
{
	unsigned order;
	u32 run = history(m, sector, max, &order);

	if (!run || (run < sector && run < MIN(MAX(nr, HISTORY_MIN), max)))
		return false;
	begin(ra, MAX(run, nr), MAX(order, read_order(nr)), sector + nr, max);
	return true;
}

/* For one that started over, what had been read ahead was evicted; or it could not be started. */
static bool is_missing(struct mapping *m, u64 sector)
{
	struct folio *f = mapping_peek(m, sector);

	if (f)
		folio_put(f);
	return !f;
}

unsigned cache_readahead(struct mapping *m, struct readahead *ra, u64 sector, u32 nr, u64 eof)
{
	u64 end = sector + nr;
	bool sequential = sector == ra->next, started = true;
	u32 max = ahead_max(ra), due;

	ra->next = end;
	if (in_stream(ra, sector, max))
		ra->used += MIN(nr, UINT32_MAX / 2 - ra->used);
	due = window_due(ra, sector, end, max);
	if (due) {
		stat_inc(STAT_READAHEAD_HITS);
		advance(ra, end, due, max);
	} else if (sequential && (!in_stream(ra, end, max) || is_missing(m, sector))) {
		begin(ra, nr, read_order(nr), end, max);
	} else {
		started = !sequential && !in_stream(ra, sector, max) &&
			  begin_from_history(m, ra, sector, nr, max);
	}
	if (started && m->ops->fill_async)
		start_window(m, ra, eof);
	if (sequential || due)
		return MAX((unsigned)ra->order, read_order(nr));
	return read_order(nr);
}
