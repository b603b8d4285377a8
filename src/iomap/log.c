/*
 * Small synchronous writes: the dirty sectors of a range, handed to the file system in one piece,
 * which puts them into its log (iomap_ops.log).
 *
 * 1. First all sectors are gathered under their folio locks, taken in ascending order; only when it
 *    is known that they are few enough and may go, they come under writeback, like any write.
 * 2. Sectors that another writer holds (iomap_hold) are not taken: half a write would be.
 */
#include <string.h>

#include "base/err.h"
#include "iomap/request.h"
#include "mem/bad.h"
#include "stat/stat.h"

struct log_sector {
	struct folio *folio;
	u32 at;                         /* in the folio */
};

struct log_write {
	struct iomap_file *f;
	u64 start, end;                 /* sectors */
	u32 max;
	bool item;                      /* for iomap_ops.log */
	bool own;                       /* the range is held by the caller */
	u64 size;
	u32 nr;
	u64 settle;                     /* disk sector that must be settled first */
	struct iomap map;
	struct log_sector sector[IOMAP_LOG_MAX];
	struct iomap_logged logged[IOMAP_LOG_MAX];
	u32 nr_folios;
	struct folio *folio[IOMAP_LOG_MAX];
};

enum { LOG_TOO_MUCH = 1 };

static int log_map(struct log_write *l, u64 sector)
{
	struct iomap_file *f = l->f;
	int r;

	if (iomap_contains(&l->map, sector << SECTOR_SHIFT) && f->ops->valid(f, &l->map))
		return 0;
	r = f->ops->map(f, sector << SECTOR_SHIFT, SECTOR_SIZE, IOMAP_WRITEBACK, &l->map);
	if (r)
		l->map.length = 0;
	return r;
}

static int log_inline(struct log_write *l, struct folio *folio)
{
	int r = l->f->ops->inline_write(l->f, folio_data(folio),
					MIN(l->size, (u64)SECTOR_SIZE));

	if (!r)
		folio_clear_dirty(folio, 0, 1);
	return r;
}

/* One dirty sector of a locked folio. */
static int log_one(struct log_write *l, struct folio *folio, u32 at)
{
	u64 sector = folio->index + at, disk;
	int r = log_map(l, sector);

	if (r)
		return r;
	if (l->map.type == IOMAP_INLINE)
		return sector == 0 ? log_inline(l, folio) : 0;
	/* Behind the end of the file, or dirtied after space was given out: as in writeback. */
	if (sector >= bytes_to_sectors_up(l->size) || l->map.type != IOMAP_MAPPED)
		return 0;
	if (l->nr == l->max)
		return LOG_TOO_MUCH;
	disk = iomap_disk(&l->map, sector);
	r = l->f->ops->write_how(l->f, disk, 1, NULL);
	if (r) {
		l->settle = disk;
		return r;
	}
	l->sector[l->nr] = (struct log_sector){ folio, at };
	l->logged[l->nr++] = (struct iomap_logged){
		sector, disk, (u8 *)folio_data(folio) + ((size_t)at << SECTOR_SHIFT) };
	return 0;
}

static int log_folio(struct log_write *l, struct folio *folio)
{
	u32 end = (u32)(MIN(l->end, folio->index + folio_sectors(folio)) - folio->index);
	u32 at = (u32)(MAX(l->start, folio->index) - folio->index), first, nr;
	int r = 0;

	if (mem_any_bad())
		folio_mend(folio);
	while (!r && !folio_has(folio, FOLIO_DEAD) &&
	       folio_next_dirty(folio, at, end, &first, &nr)) {
		if (!l->own && iomap_is_held(l->f, folio->index + first, nr))
			return -EBUSY;
		for (at = first; at < first + nr && !r; at++)
			r = log_one(l, folio, at);
	}
	return r;
}

/* Rule 1. All folios looked at stay locked. */
static int log_gather(struct log_write *l)
{
	u64 at = l->start;
	struct folio *folio;
	int r = 0;

	l->nr = l->nr_folios = 0;
	while (!r && (folio = cache_next_dirty(&l->f->mapping, &at, l->end))) {
		if (l->nr_folios == ARRAY_LEN(l->folio)) {
			folio_put(folio);
			return LOG_TOO_MUCH;
		}
		folio_lock(folio);
		l->folio[l->nr_folios++] = folio;
		folio_wait_writeback(folio);
		l->size = iomap_size(l->f);
		r = log_folio(l, folio);
	}
	return r;
}

static void log_unlock(struct log_write *l)
{
	for (u32 i = 0; i < l->nr_folios; i++)
		folio_unlock(l->folio[i]);
}

static void log_put(struct log_write *l)
{
	for (u32 i = 0; i < l->nr_folios; i++)
		folio_put(l->folio[i]);
}

static void log_begin(struct log_write *l)
{
	for (u32 i = 0; i < l->nr; i++) {
		folio_zero_tail(l->sector[i].folio, l->size);
		folio_begin_writeback(l->sector[i].folio, 1);
		folio_clear_dirty(l->sector[i].folio, l->sector[i].at, 1);
	}
}

static void log_end(struct log_write *l, int error)
{
	for (u32 i = 0; i < l->nr; i++)
		folio_end_writeback(l->sector[i].folio, l->sector[i].at, 1, error);
	stat_add(error ? STAT_WRITEBACK_ERRORS : STAT_WRITEBACK_SECTORS, l->nr);
}

static int log_try(struct log_write *l)
{
	u64 size_end;
	int r = log_gather(l);

	if (!r)
		log_begin(l);
	log_unlock(l);
	if (!r && l->nr > 0) {
		size_end = MIN((l->logged[l->nr - 1].sector + 1) << SECTOR_SHIFT, l->size);
		r = l->f->ops->log(l->f, l->logged, l->nr, size_end, l->item);
		log_end(l, r);
	}
	log_put(l);
	return r;
}

int iomap_log(struct iomap_file *f, u64 start, u64 end, u32 max, bool item, bool own)
{
	struct log_write l = {
		.f = f,
		.start = start >> SECTOR_SHIFT,
		.end = bytes_to_sectors_up(end),
		.max = MIN(max, IOMAP_LOG_MAX),
		.item = item,
		.own = own,
	};
	int r = f->ops->allocate(f, start, end);

	if (r)
		return r;
	for (unsigned tries = 0; tries < IOMAP_SETTLE_TRIES; tries++) {
		r = log_try(&l);
		if (r != -EAGAIN)
			break;
		r = f->ops->write_settle(f, l.settle, 1, false);
		if (r)
			break;
	}
	if (r == LOG_TOO_MUCH)
		return 0;
	return r ? r : 1;
}

/* ---- holding ---- */

void iomap_hold(struct iomap_file *f, u64 pos, u64 len)
{
	__atomic_store_n(&f->hold_end, bytes_to_sectors_up(pos + len), __ATOMIC_RELEASE);
	__atomic_store_n(&f->hold_start, pos >> SECTOR_SHIFT, __ATOMIC_RELEASE);
}

void iomap_release(struct iomap_file *f)
{
	__atomic_store_n(&f->hold_end, 0, __ATOMIC_RELEASE);
}

bool iomap_is_held(const struct iomap_file *f, u64 sector, u64 nr)
{
	u64 end = __atomic_load_n(&f->hold_end, __ATOMIC_ACQUIRE);

	return end && sector < end &&
	       sector + nr > __atomic_load_n(&f->hold_start, __ATOMIC_ACQUIRE);
}
