/*
 * Buffered reading: slices of folios.
 *
 * One round of iomap_read_slices() goes through the range twice:
 *   look   take a reference to each folio (new ones where nothing is cached, none for holes),
 *          no folio lock is kept;
 *   fill   only if something is missing: lock the folios in ascending order, plan all missing
 *          sectors, read them in one pipeline, unlock; or leave that to pending.c.
 *
 * 1. A read that hits looks up no mapping and takes no folio lock.
 * 2. No memory is asked for while folio locks are held: whoever must clean our folios to make
 *    room could not.
 * 3. The inode's lock is held shared: no hole becomes data, and no referenced folio leaves the
 *    mapping.
 * 4. One round pins at most 1/16 of the cache, so that many readers of much do not use up a
 *    small one.
 * 5. A slice is cut before the first sector that could not be read; the error is returned only
 *    by a read that begins there.
 * 6. Memory errors are dealt with before slices go out. What happens later fails: the kernel does
 *    not copy from a bad frame, and nobody replaces it by other bytes.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "iomap/request.h"
#include "mem/bad.h"

#define GATHER_MIN_BYTES (64u << 10)

static const u8 zeroes[IOMAP_ZERO_SLICE_MAX] __attribute__((aligned(SECTOR_SIZE)));

struct gather {
	struct iomap_file *f;
	struct iomap_slice *slice;
	unsigned nr, max;
	u64 pos;                /* of the first slice */
	u64 end;
	unsigned order;         /* of folios for misses */
	bool missing;           /* some slice is not uptodate */
};

/* Bytes into its folio. */
static size_t slice_offset(const struct iomap_slice *s)
{
	return (size_t)((const u8 *)s->data - (const u8 *)folio_data(s->folio));
}

static u32 slice_first(const struct iomap_slice *s)
{
	return (u32)(slice_offset(s) >> SECTOR_SHIFT);
}

/* Sectors of its folio that a slice touches. */
static u32 slice_sectors(const struct iomap_slice *s)
{
	size_t off = slice_offset(s);

	return (u32)(bytes_to_sectors_up(off + s->len) - (off >> SECTOR_SHIFT));
}

static u64 gather_folio(struct gather *g, u64 pos, struct folio *folio)
{
	u64 off = pos - (folio->index << SECTOR_SHIFT);
	struct iomap_slice *s = &g->slice[g->nr++];

	s->folio = folio;
	s->data = (u8 *)folio_data(folio) + off;
	s->len = (u32)MIN(folio_bytes(folio) - off, g->end - pos);
	if (!folio_range_uptodate(folio, slice_first(s), slice_sectors(s)))
		g->missing = true;
	return s->len;
}

/* The largest order that the rest of the request is worth, at least what readahead advises. */
static unsigned miss_order(const struct gather *g, u64 pos)
{
	u64 left = bytes_to_sectors_up(g->end) - (pos >> SECTOR_SHIFT);
	unsigned order = left > 1 ? ilog2(left) : 0;

	return MIN(MAX(order, g->order), (unsigned)FOLIO_MAX_ORDER);
}

/* Nothing is cached at pos: a slice of zeroes for a hole, else a folio to be filled. */
static int gather_miss(struct gather *g, u64 pos, u64 *len)
{
	struct iomap_file *f = g->f;
	struct folio *folio;
	struct iomap map;
	int r;

	r = f->ops->map(f, pos, g->end - pos, IOMAP_READ, &map);
	if (r)
		return r;
	if (map.type == IOMAP_HOLE) {
		u64 n = MIN(MIN(iomap_end(&map), g->end) - pos, (u64)IOMAP_ZERO_SLICE_MAX);

		g->slice[g->nr++] = (struct iomap_slice){ NULL, zeroes, (u32)n };
		*len = n;
		return 0;
	}
	r = cache_get(&f->mapping, pos >> SECTOR_SHIFT, miss_order(g, pos), 0, &folio);
	if (r)
		return r;
	folio_unlock(folio);
	*len = gather_folio(g, pos, folio);
	return 0;
}

static int gather_look(struct gather *g)
{
	u64 pos = g->pos;

	while (pos < g->end && g->nr < g->max) {
		struct folio *folio = cache_find(&g->f->mapping, pos >> SECTOR_SHIFT);
		u64 len;
		int r;

		if (folio) {
			pos += gather_folio(g, pos, folio);
			continue;
		}
		r = gather_miss(g, pos, &len);
		if (r)
			return r;
		pos += len;
	}
	return 0;
}

/*
 * What of the locked folio should be read: what the slice needs; of a folio that holds nothing
 * yet, all that lies before the end of the file, because its size was chosen for that.
 */
static void fill_range(struct gather *g, const struct iomap_slice *s, u32 *first, u32 *end)
{
	u32 n = folio_sectors(s->folio), run_first, run_nr;

	*first = slice_first(s);
	*end = *first + slice_sectors(s);
	if (folio_next_stale(s->folio, 0, n, &run_first, &run_nr) && run_nr == n) {
		u64 eof = bytes_to_sectors_up(iomap_size(g->f)) - s->folio->index;

		*first = 0;
		*end = MAX(*end, (u32)MIN((u64)n, eof));
	}
}

static void gather_plan(struct gather *g, struct read_plan *plan, const struct iomap_slice *s)
{
	u32 first, end, nr;

	fill_range(g, s, &first, &end);
	while (folio_next_stale(s->folio, first, end, &first, &nr)) {
		folio_set_reading(s->folio);
		if (read_plan_add(plan, s->folio, first, nr))
			return;
		first += nr;
	}
}

static int gather_fill(struct gather *g)
{
	struct read_plan plan;
	int r;

	read_plan_init(&plan, g->f, (unsigned)MIN(bytes_to_sectors_up(g->end - g->pos) + 1,
						  (u64)REQUEST_PIECES_MAX));
	for (unsigned i = 0; i < g->nr; i++) {
		struct iomap_slice *s = &g->slice[i];

		if (!s->folio)
			continue;
		folio_lock(s->folio);
		ASSERT(!folio_has(s->folio, FOLIO_DEAD));
		gather_plan(g, &plan, s);
	}
	r = read_plan_run(&plan);
	for (unsigned i = 0; i < g->nr; i++)
		if (g->slice[i].folio)
			folio_unlock(g->slice[i].folio);
	read_plan_fini(&plan);
	return r;
}

/*
 * The same without waiting. True: it is under way and has the slices. False: nothing is, because a
 * folio is locked, memory is short or something has to be said about an error.
 */
static bool gather_start(struct gather *g, const struct iomap_async *async)
{
	struct pending_fill *pf = pending_new(async, g->slice, g->nr, g->end - g->pos);
	struct read_plan plan;
	bool started;

	if (!pf)
		return false;
	read_plan_init(&plan, g->f, (unsigned)MIN(bytes_to_sectors_up(g->end - g->pos) + 1,
						  (u64)REQUEST_PIECES_MAX));
	for (unsigned i = 0; i < g->nr; i++) {
		struct iomap_slice *s = &g->slice[i];

		if (!s->folio || folio_range_uptodate(s->folio, slice_first(s), slice_sectors(s)))
			continue;
		if (!pending_lock(pf, s->folio)) {
			plan.error = -EAGAIN;
			break;
		}
		gather_plan(g, &plan, s);
	}
	started = !plan.error && !TAILQ_EMPTY(&plan.reqs);
	if (started)
		pending_start(pf, &plan);
	else
		pending_cancel(pf);
	read_plan_fini(&plan);
	return started;
}

/* Rule 6: one folio after another, locked. */
static void gather_mend(struct gather *g)
{
	for (unsigned i = 0; i < g->nr; i++) {
		struct iomap_slice *s = &g->slice[i];

		if (!s->folio || !mem_is_bad(folio_data(s->folio), folio_bytes(s->folio)))
			continue;
		folio_lock(s->folio);
		folio_mend(s->folio);
		folio_unlock(s->folio);
		if (!folio_range_uptodate(s->folio, slice_first(s), slice_sectors(s)))
			g->missing = true;
	}
}

static void gather_put(struct gather *g, unsigned from)
{
	for (unsigned i = from; i < g->nr; i++)
		if (g->slice[i].folio)
			folio_put(g->slice[i].folio);
	g->nr = from;
}

/* Shortens a slice to its readable sectors; false when it was cut. */
static bool slice_trim(struct iomap_slice *s)
{
	u32 first = slice_first(s), nr = slice_sectors(s), good = 0;
	size_t lead = slice_offset(s) & SECTOR_MASK;

	if (folio_range_uptodate(s->folio, first, nr) &&
	    !folio_range_poisoned(s->folio, first, nr))
		return true;
	while (good < nr && folio_range_uptodate(s->folio, first + good, 1) &&
	       !folio_range_poisoned(s->folio, first + good, 1))
		good++;
	s->len = good ? (u32)MIN((size_t)s->len, ((size_t)good << SECTOR_SHIFT) - lead) : 0;
	return false;
}

/* Cuts the slices before the first bad sector; bytes that are left. */
static u64 gather_trim(struct gather *g)
{
	u64 bytes = 0;

	for (unsigned i = 0; i < g->nr; i++) {
		struct iomap_slice *s = &g->slice[i];
		bool whole = !s->folio || slice_trim(s);

		bytes += s->len;
		if (!whole) {
			gather_put(g, s->len ? i + 1 : i);
			break;
		}
	}
	return bytes;
}

static u64 gather_bytes(const struct gather *g)
{
	u64 bytes = 0;

	for (unsigned i = 0; i < g->nr; i++)
		bytes += g->slice[i].len;
	return bytes;
}

int iomap_read_slices(struct iomap_file *f, u64 pos, u64 len, struct readahead *ra,
		      const struct iomap_async *async, struct iomap_slice *slices, unsigned max,
		      u64 *bytes)
{
	u64 size = iomap_size(f);
	struct gather g = { .f = f, .slice = slices, .max = max, .pos = pos };
	u64 n;
	int r;

	if (pos >= size || len == 0 || max == 0) {
		*bytes = 0;
		return 0;
	}
	g.end = pos + MIN(MIN(len, size - pos), MAX(mem_total_bytes() / 16, (u64)GATHER_MIN_BYTES));
	if (ra) {
		u64 sector = pos >> SECTOR_SHIFT;
		u32 nr = (u32)MIN(bytes_to_sectors_up(g.end) - sector, (u64)UINT32_MAX);

		g.order = cache_readahead(&f->mapping, ra, sector, nr, bytes_to_sectors_up(size));
	}
	r = gather_look(&g);
	if (mem_any_bad())
		gather_mend(&g);
	if (g.missing && async && gather_bytes(&g) == MIN(len, size - pos) &&
	    gather_start(&g, async)) {
		*bytes = g.end - pos;
		return -EINPROGRESS;
	}
	if (g.missing) {
		int fill = gather_fill(&g);

		r = r ? r : fill;
	}
	n = gather_trim(&g);
	if (g.nr == 0)
		return r ? r : -EIO;
	*bytes = n;
	return (int)g.nr;
}

/* Copies and puts the slices; fewer bytes than they have when memory of one is lost. */
static u64 slices_copy(u8 *to, const struct iomap_slice *slices, unsigned nr)
{
	u64 done = 0;
	int r = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (!r)
			r = mem_copy(to + done, slices[i].data, slices[i].len);
		if (!r)
			done += slices[i].len;
		if (slices[i].folio)
			folio_put(slices[i].folio);
	}
	return done;
}

ssize_t iomap_read(struct iomap_file *f, u64 pos, void *buf, u64 len, struct readahead *ra)
{
	struct iomap_slice slices[32];
	u64 done = 0, copied;
	unsigned tries = 0;

	while (done < len) {
		u8 *to = (u8 *)buf + done;
		u64 bytes;
		int n = iomap_read_slices(f, pos + done, len - done, ra, NULL, slices,
					  ARRAY_LEN(slices), &bytes);

		if (n < 0)
			return done ? (ssize_t)done : n;
		if (n == 0)
			break;
		copied = slices_copy(to, slices, (unsigned)n);
		done += copied;
		if (copied < bytes && ++tries == MEND_TRIES)
			return done ? (ssize_t)done : -EIO;
	}
	return (ssize_t)done;
}
