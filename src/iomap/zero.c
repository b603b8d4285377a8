/*
 * Zeroing bytes that hold data, and what "holds data" means.
 *
 * 1. A sector holds data when it is dirty in the cache or written by the sector map. The cache
 *    is asked first: a sector moves from the first to the second when its writeback ends, and
 *    writeback is waited for.
 * 2. Zeroes are written through the cache like any data; holes and unwritten sectors are left
 *    as they are.
 */
#include <string.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "format/format.h"
#include "iomap/request.h"

static void folio_data_bits(struct folio *folio, u64 sector, u32 nr, u64 *bits)
{
	u64 start = MAX(sector, folio->index);
	u64 end = MIN(sector + nr, folio->index + folio_sectors(folio));
	u32 at = (u32)(start - folio->index), last = (u32)(end - folio->index), first, run;

	folio_lock(folio);
	folio_wait_writeback(folio);
	while (!folio_has(folio, FOLIO_DEAD) && folio_next_dirty(folio, at, last, &first, &run)) {
		bitmap_set_range(bits, folio->index + first - sector, run);
		at = first + run;
	}
	folio_unlock(folio);
}

int sectors_data(struct iomap_file *f, const struct iomap *m, u64 sector, u32 nr, u64 *bits)
{
	u32 entries[SECTORS_DATA_MAX];
	u64 at = sector;
	struct folio *folio;
	int r;

	ASSERT(nr <= SECTORS_DATA_MAX);
	bitmap_zero(bits, nr);
	if (m->type == IOMAP_HOLE)
		return 0;
	if (m->type == IOMAP_INLINE && sector == 0)
		bitmap_set(bits, 0);
	while (at < sector + nr && (folio = cache_next(&f->mapping, &at, sector + nr))) {
		folio_data_bits(folio, sector, nr, bits);
		folio_put(folio);
	}
	if (m->type != IOMAP_MAPPED)
		return 0;
	r = f->ops->map_entries(f, iomap_disk(m, sector), nr, entries);
	for (u32 i = 0; i < nr && !r; i++)
		if (entries[i] != FMT_MAP_UNWRITTEN)
			bitmap_set(bits, i);
	return r;
}

int folio_zero_bytes(struct folio *folio, u32 off, u32 len)
{
	u32 first = off >> SECTOR_SHIFT, last = (off + len - 1) >> SECTOR_SHIFT;
	int r = 0;

	folio_wait_writeback(folio);
	if ((off & SECTOR_MASK) || (first == last && (len & SECTOR_MASK)))
		r = folio_make_uptodate(folio, first, 1);
	if (!r && last != first && ((off + len) & SECTOR_MASK))
		r = folio_make_uptodate(folio, last, 1);
	if (r)
		return r;
	folio_zero(folio, off, len);
	folio_mark_uptodate(folio, first, last - first + 1);
	folio_mark_dirty(folio, first, last - first + 1);
	return 0;
}

void folio_zero_tail(struct folio *folio, u64 size)
{
	u64 start = folio->index << SECTOR_SHIFT, tail;

	if (size <= start || size - start >= folio_bytes(folio) ||
	    IS_ALIGNED(size, (u64)SECTOR_SIZE))
		return;
	tail = size - start;
	folio_zero(folio, (u32)tail, (u32)(ALIGN_UP(tail, (u64)SECTOR_SIZE) - tail));
}

/* ---- data that must be written again ---- */

static int fail_piece(struct folio *folio, u32 first, u32 nr, int error)
{
	int r = folio_make_uptodate(folio, first, nr);

	if (r)
		return r;
	folio_mark_dirty(folio, first, nr);
	folio_begin_writeback(folio, 1);
	folio_clear_dirty(folio, first, nr);
	folio_end_writeback(folio, first, nr, error);
	return 0;
}

int iomap_write_failed(struct iomap_file *f, u64 sector, u32 nr, int error)
{
	u64 end = sector + nr;
	struct folio *folio;
	int r, err = 0;

	for (u32 n; sector < end; sector += n) {
		u32 first;

		r = cache_get(&f->mapping, sector, 0, 0, &folio);
		if (r)
			return r;
		first = (u32)(sector - folio->index);
		n = (u32)MIN((u64)folio_sectors(folio) - first, end - sector);
		r = fail_piece(folio, first, n, error);
		for (u32 i = 0; r && i < n; i++) {
			int one = fail_piece(folio, first + i, 1, error);

			err = one ? one : err;
		}
		folio_unlock(folio);
		folio_put(folio);
	}
	return err;
}

/* ---- zeroes ---- */

/* [pos, end) lies in sectors that all hold data. */
static int zero_run(struct iomap_file *f, u64 pos, u64 end)
{
	while (pos < end) {
		u64 sectors = bytes_to_sectors_up(end) - (pos >> SECTOR_SHIFT);
		struct folio *folio;
		u64 off, len;
		int r;

		r = cache_get(&f->mapping, pos >> SECTOR_SHIFT,
			      MIN(ilog2(sectors), (unsigned)FOLIO_MAX_ORDER), 0, &folio);
		if (r)
			return r;
		off = pos - (folio->index << SECTOR_SHIFT);
		len = MIN(folio_bytes(folio) - off, end - pos);
		r = folio_zero_bytes(folio, (u32)off, (u32)len);
		folio_unlock(folio);
		folio_put(folio);
		if (r)
			return r;
		pos += len;
	}
	return 0;
}

/* At most SECTORS_DATA_MAX sectors of the iterator's mapping; *done gets the bytes dealt with. */
static int zero_some(struct iomap_iter *it, u64 *done)
{
	u64 bits[BITMAP_WORDS(SECTORS_DATA_MAX)];
	u64 first = it->pos >> SECTOR_SHIFT;
	u64 end = MIN(it->pos + it->len, iomap_end(&it->map));
	u32 nr = (u32)MIN(bytes_to_sectors_up(end) - first, (u64)SECTORS_DATA_MAX);
	size_t at = 0, stop;
	int r;

	end = MIN(end, (first + nr) << SECTOR_SHIFT);
	r = sectors_data(it->file, &it->map, first, nr, bits);
	while (!r && (at = bitmap_next_set(bits, at, nr)) < nr) {
		stop = bitmap_next_zero(bits, at, nr);
		r = zero_run(it->file, MAX(it->pos, (first + at) << SECTOR_SHIFT),
			     MIN(end, (first + stop) << SECTOR_SHIFT));
		at = stop;
	}
	if (!r)
		*done = end - it->pos;
	return r;
}

int iomap_zero(struct iomap_file *f, u64 pos, u64 len)
{
	u64 limit = ALIGN_UP(iomap_size(f), (u64)SECTOR_SIZE);
	struct iomap_iter it = { .file = f, .pos = pos, .flags = IOMAP_REPORT };
	int r;

	if (pos >= limit)
		return 0;
	it.len = MIN(len, limit - pos);
	while ((r = iomap_iter(&it)) > 0)
		it.error = zero_some(&it, &it.done);
	return r;
}

static bool all_zero(const u8 *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* The last sector holds data: look at its tail, and change it only if need be. */
static int zero_tail(struct iomap_file *f, u64 size)
{
	u64 sector = size >> SECTOR_SHIFT;
	u32 tail = SECTOR_SIZE - (u32)(size & SECTOR_MASK);
	struct folio *folio;
	u32 first, off;
	int r;

	r = cache_get(&f->mapping, sector, 0, 0, &folio);
	if (r)
		return r;
	first = (u32)(sector - folio->index);
	off = (first << SECTOR_SHIFT) + (u32)(size & SECTOR_MASK);
	r = folio_make_uptodate(folio, first, 1);
	if (!r && !all_zero((u8 *)folio_data(folio) + off, tail))
		r = folio_zero_bytes(folio, off, tail);
	folio_unlock(folio);
	folio_put(folio);
	return r;
}

int iomap_zero_eof(struct iomap_file *f, u64 size)
{
	struct iomap map;
	u64 bit;
	int r;

	if (IS_ALIGNED(size, (u64)SECTOR_SIZE))
		return 0;
	r = f->ops->map(f, size, 1, IOMAP_REPORT, &map);
	if (!r)
		r = sectors_data(f, &map, size >> SECTOR_SHIFT, 1, &bit);
	if (r || !bit)
		return r;
	return zero_tail(f, size);
}
