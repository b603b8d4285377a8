/*
 * Buffered writing: bytes into the cache.
 *
 * 1. A sector that the write covers whole is never read; one that it covers in part is made
 *    uptodate first.
 * 2. A folio under writeback is waited for before it is changed: what goes to the disk is stable.
 * 3. The size is raised under the folio lock, before the sectors are dirty: writeback zeroes
 *    what lies behind the end of the file, and must not see new bytes there.
 * 4. Space was reserved by iomap_ops.map(IOMAP_WRITE) before the folio lock; only the holder of
 *    the exclusive inode lock could take it away, so the mapping need not be asked again under
 *    the folio lock. No disk address is used here.
 */
#include <string.h>

#include "base/err.h"
#include "iomap/request.h"
#include "mem/bad.h"

/* Sectors that [off, off+len) covers in part must hold their old contents. */
static int write_begin(struct folio *folio, u32 off, u32 len)
{
	u32 first = off >> SECTOR_SHIFT, last = (off + len - 1) >> SECTOR_SHIFT;
	int r = 0;

	if ((off & SECTOR_MASK) || (first == last && (len & SECTOR_MASK)))
		r = folio_make_uptodate(folio, first, 1);
	if (!r && last != first && ((off + len) & SECTOR_MASK))
		r = folio_make_uptodate(folio, last, 1);
	return r;
}

/*
 * Bad memory under the write: a sector that is covered gets a page with its new contents, another
 * one is mended. *len is cut before one that is lost; -EIO: nothing is left.
 */
static int write_mend(struct folio *folio, u32 off, const u8 *buf, u32 *len)
{
	u32 end = off + *len;
	int r = 0;

	for (u32 at = off, n; at < end && !r; at += n) {
		u32 k = at >> SECTOR_SHIFT;

		n = MIN(end - at, SECTOR_SIZE - (at & (u32)SECTOR_MASK));
		if (!mem_is_bad((u8 *)folio_data(folio) + at, n))
			continue;
		r = n == SECTOR_SIZE ? folio_replace(folio, k, buf + (at - off)) :
				       folio_mend(folio);
		if (!r && n < SECTOR_SIZE && folio_is_lost(folio, k))
			r = -EIO;
		if (r)
			*len = at - off;
	}
	return *len ? 0 : -EIO;
}

/* In order, so that nothing behind a bad sector is changed. */
static int write_copy(struct folio *folio, u32 off, const u8 *buf, u32 *len)
{
	int r = 0;

	for (unsigned tries = 0; tries < MEND_TRIES; tries++) {
		r = mem_any_bad() ? write_mend(folio, off, buf, len) : 0;
		if (!r)
			r = mem_copy((u8 *)folio_data(folio) + off, buf, *len);
		if (r != -EHWPOISON)
			return r;
	}
	return -EIO;
}

static void write_end(struct folio *folio, u32 off, u32 len)
{
	u32 first = off >> SECTOR_SHIFT, nr = ((off + len - 1) >> SECTOR_SHIFT) - first + 1;

	folio_mark_uptodate(folio, first, nr);
	folio_mark_dirty(folio, first, nr);
}

static void size_raise(struct iomap_file *f, u64 end)
{
	if (end > iomap_size(f))
		__atomic_store_n(&f->size, end, __ATOMIC_RELEASE);
}

/* One folio's share of the write; *done gets its bytes. */
static int write_folio(struct iomap_iter *it, const u8 *buf, u64 *done)
{
	u64 end = MIN(it->pos + it->len, iomap_end(&it->map));
	u64 sector = it->pos >> SECTOR_SHIFT;
	u64 sectors = bytes_to_sectors_up(end) - sector;
	struct folio *folio;
	u32 off, len;
	int r;

	r = cache_get(&it->file->mapping, sector, MIN(ilog2(sectors), (unsigned)FOLIO_MAX_ORDER), 0,
		      &folio);
	if (r)
		return r;
	off = (u32)(it->pos - (folio->index << SECTOR_SHIFT));
	len = (u32)MIN(folio_bytes(folio) - off, end - it->pos);
	folio_wait_writeback(folio);
	if (mem_any_bad())
		folio_mend(folio);
	r = write_begin(folio, off, len);
	ASSERT((u64)off + len <= folio_bytes(folio));
	if (!r)
		r = write_copy(folio, off, buf, &len);
	if (!r) {
		size_raise(it->file, it->pos + len);
		write_end(folio, off, len);
		*done = len;
	}
	folio_unlock(folio);
	folio_put(folio);
	return r;
}

ssize_t iomap_write(struct iomap_file *f, u64 pos, const void *buf, u64 len)
{
	struct iomap_iter it = { .file = f, .pos = pos, .len = len, .flags = IOMAP_WRITE };
	u64 written = 0;
	int r;

	while ((r = iomap_iter(&it)) > 0) {
		it.error = write_folio(&it, (const u8 *)buf + written, &it.done);
		written += it.done;
	}
	return written ? (ssize_t)written : r;
}
