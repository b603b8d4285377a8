/*
 * Metadata buffers in the cache.
 *
 * 1. A buffer is one folio of exactly its size in the metadata mapping, at its disk sector.
 * 2. Its contents are checked (identity, checksum, inner structure) once, when they are read from
 *    the disk; while it is in memory the checksum field is stale.
 * 3. Contents of an uptodate buffer change only in a handle, under RANK_META held exclusively;
 *    the folio lock only guards the way from "not read" to uptodate.
 * 4. A map sector comes with its neighbours, in one read: reads all over a large file would else
 *    wait for one every 4 MiB. A neighbour that is not what it should be is left without contents,
 *    and without a word: nobody has asked for it, and it may never have been written.
 * 5. A changed buffer has a struct jnl_buf in folio->priv, which holds a reference and the pin, so
 *    neither eviction nor anybody else can take it away before a checkpoint wrote it.
 */
#include "journal/jnl_priv.h"

#include <stdlib.h>
#include <string.h>

static int buf_fill(struct mapping *m, struct folio *f, u32 first, u32 nr)
{
	struct jnl *j = m->host;
	u8 *data = folio_data(f);
	int r = blk_read(j->dev, f->index + first, data + (u64)first * SECTOR_SIZE, nr, BLK_META);

	if (!r)
		folio_mark_uptodate(f, first, nr);
	return r;
}

/* ---- memory errors ---- */

static bool buf_is_changed(struct jnl *j, const struct folio *f)
{
	bool changed;

	mutex_lock(&j->lock);
	changed = f->priv || folio_has(f, FOLIO_PINNED);
	mutex_unlock(&j->lock);
	return changed;
}

/* Its newest contents exist nowhere else in one piece: nothing may be built on them. */
static int buf_lost(struct jnl *j, struct folio *f, u32 k)
{
	folio_set_poison(f, k, 1);
	folio_pin(f);
	corrupt(WHY_MEM_META, CORRUPT_NO_INO, f->index + k);
	jnl_fail(j, -EIO, "keeping changed metadata in memory (memory error)");
	return 0;
}

/*
 * No body runs while these locks are held, and no body keeps a pointer or what it saw, so the
 * contents of a buffer that nobody changed may go; the next body loads it again, and checks it.
 */
static int buf_memory_lost(struct mapping *m, struct folio *f, u32 k)
{
	struct jnl *j = m->host;
	bool changed;
	int r = 0;

	mutex_lock(&j->handle);
	rwlock_wrlock(&j->meta);
	changed = buf_is_changed(j, f);
	if (!changed) {
		folio_clear_uptodate(f, 0, folio_sectors(f));
		r = folio_replace(f, k, NULL);
	}
	rwlock_unlock(&j->meta);
	mutex_unlock(&j->handle);
	if (changed)
		return buf_lost(j, f, k);
	corrupt(WHY_MEM_META_CLEAN, CORRUPT_NO_INO, f->index + k);
	return r ? -EAGAIN : 0;
}

const struct mapping_ops jnl_mapping_ops = { .fill = buf_fill, .memory_lost = buf_memory_lost };

unsigned buf_order(enum fmt_kind kind)
{
	return ilog2(fmt_kind_sectors(kind));
}

static int check_range(struct jnl *j, u64 addr, u32 nr)
{
	if (addr % nr)
		return corrupt(WHY_BUF_ALIGN, CORRUPT_NO_INO, addr);
	if (addr >= j->geo->nr_sectors || nr > j->geo->nr_sectors - addr)
		return corrupt(WHY_BUF_RANGE, CORRUPT_NO_INO, addr);
	return 0;
}

/*
 * A buffer of another shape is cached there. It goes if nobody needs it (the place was freed and
 * got a new use): -EAGAIN. A changed one shows that the place has two owners.
 */
static int buf_make_way(struct jnl *j, u64 addr, enum fmt_kind kind, unsigned flags)
{
	u64 at = addr, end = addr + fmt_kind_sectors(kind);
	bool changed = false;
	struct folio *f;

	if (flags & CACHE_NOWAIT)
		return -EAGAIN;
	while (!changed && (f = cache_next(&j->mapping, &at, end))) {
		u64 first = f->index, nr = folio_sectors(f);

		mutex_lock(&j->lock);
		changed = f->priv && !((struct jnl_buf *)f->priv)->forgotten;
		mutex_unlock(&j->lock);
		folio_put(f);
		if (!changed)
			cache_drop_clean(&j->mapping, first, first + nr);
	}
	return changed ? corrupt(WHY_BUF_OWNERS, CORRUPT_NO_INO, addr) : -EAGAIN;
}

int buf_grab(struct jnl *j, u64 addr, enum fmt_kind kind, unsigned flags, struct folio **out)
{
	struct folio *f;
	int r = check_range(j, addr, fmt_kind_sectors(kind));

	if (r)
		return r;
	f = cache_find(&j->mapping, addr);
	if (f && f->index == addr && f->order == buf_order(kind)) {
		*out = f;
		return 0;
	}
	if (f) {
		folio_put(f);
		return buf_make_way(j, addr, kind, flags);
	}
	r = cache_get(&j->mapping, addr, buf_order(kind), flags | CACHE_EXACT | CACHE_RESERVE, &f);
	if (r == -EEXIST)
		return buf_make_way(j, addr, kind, flags);
	if (r)
		return r;
	folio_unlock(f);
	*out = f;
	return 0;
}

/* ---- loading ---- */

#define AROUND_MAX 16u

/* Locked folios in a row on the disk that are read together. */
struct around {
	struct folio *f[AROUND_MAX];
	unsigned first, end;       /* of f: those that there are */
};

static bool around_add(struct jnl *j, struct around *a, u64 base, unsigned i)
{
	return cache_add(&j->mapping, base + i, 0, CACHE_NOWAIT | CACHE_EXACT, &a->f[i]) == 0;
}

/* What lies around a map sector that is about to be read, as far as none of it is cached. */
static void around_grow(struct jnl *j, struct around *a, u64 base)
{
	u32 group = fmt_group_of(j->geo, base + a->first);
	u64 lo = fmt_map_sector(j->geo, group), hi = lo + j->geo->map_nr;

	while (a->first > 0 && base + a->first > lo && around_add(j, a, base, a->first - 1))
		a->first--;
	while (a->end < AROUND_MAX && base + a->end < hi && around_add(j, a, base, a->end))
		a->end++;
}

static int around_read(struct jnl *j, const struct around *a, u64 base)
{
	struct iovec iov[AROUND_MAX];

	for (unsigned i = a->first; i < a->end; i++)
		iov[i] = (struct iovec){ folio_data(a->f[i]), SECTOR_SIZE };
	return blk_readv(j->dev, base + a->first, iov + a->first, a->end - a->first, BLK_META);
}

/* The neighbours are let go: those that are good, with their contents. */
static void around_end(struct jnl *j, struct around *a, u64 base, const struct folio *asked,
		       bool was_read)
{
	for (unsigned i = a->first; i < a->end; i++) {
		struct folio *f = a->f[i];

		if (f == asked)
			continue;
		if (was_read && !fmt_buf_why(folio_data(f), FMT_KIND_MAP, base + i, j->geo))
			folio_mark_uptodate(f, 0, 1);
		folio_unlock(f);
		folio_put(f);
	}
}

static int buf_read_map(struct jnl *j, struct folio *f, u64 addr)
{
	u64 base = ALIGN_DOWN(addr, (u64)AROUND_MAX);
	unsigned at = (unsigned)(addr - base);
	struct around a = { .first = at, .end = at + 1 };
	int r;

	a.f[at] = f;
	around_grow(j, &a, base);
	r = around_read(j, &a, base);
	around_end(j, &a, base, f, r == 0);
	/* The error may be that of a neighbour. */
	return r ? blk_read(j->dev, addr, folio_data(f), 1, BLK_META) : 0;
}

/* Locked folio: read it and accept it only when it is what it should be. */
static int buf_read_locked(struct jnl *j, struct folio *f, u64 addr, enum fmt_kind kind,
			   enum why *why)
{
	u32 nr = fmt_kind_sectors(kind);
	int r;

	if (folio_has(f, FOLIO_UPTODATE))
		return 0;
	if (folio_range_poisoned(f, 0, nr))
		return -EIO;
	r = kind == FMT_KIND_MAP ? buf_read_map(j, f, addr) :
				   blk_read(j->dev, addr, folio_data(f), nr, BLK_META);
	if (r)
		return r;
	*why = fmt_buf_why(folio_data(f), kind, addr, j->geo);
	if (*why)
		return why_errno(*why);
	folio_mark_uptodate(f, 0, nr);
	return 0;
}

int buf_load(struct jnl *j, u64 addr, enum fmt_kind kind, struct folio **out, enum why *why)
{
	struct folio *f;
	int r = buf_grab(j, addr, kind, 0, &f);

	*why = WHY_NONE;
	if (r)
		return r;
	folio_lock(f);
	r = folio_has(f, FOLIO_DEAD) ? -EAGAIN : buf_read_locked(j, f, addr, kind, why);
	folio_unlock(f);
	if (r) {
		folio_put(f);
		return r;
	}
	*out = f;
	return 0;
}

bool jnl_is_changed(struct jnl *j, u64 addr)
{
	struct folio *f = cache_find(&j->mapping, addr);
	bool changed;

	if (!f)
		return false;
	mutex_lock(&j->lock);
	changed = f->priv != NULL;
	mutex_unlock(&j->lock);
	folio_put(f);
	return changed;
}

void buf_init(struct jnl_buf *b, struct folio *f, u64 addr, enum fmt_kind kind)
{
	*b = (struct jnl_buf){ .folio = folio_get(f), .addr = addr, .kind = kind,
		.len = fmt_kind_sectors(kind) * SECTOR_SIZE };
}

struct jnl_buf *buf_new(struct folio *f, u64 addr, enum fmt_kind kind)
{
	struct jnl_buf *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	buf_init(b, f, addr, kind);
	return b;
}

void buf_free(struct jnl_buf *b)
{
	if (!b)
		return;
	folio_put(b->folio);
	free(b);
}

void buf_attach(struct jnl *j, struct jnl_buf *b)
{
	ASSERT(!b->folio->priv);
	b->folio->priv = b;
	folio_pin(b->folio);
	j->dirty_bytes += b->len;
	if (b->kind == FMT_KIND_DATA)
		__atomic_fetch_add(&j->nr_logged, 1, __ATOMIC_RELEASE);
}

void buf_detach(struct jnl *j, struct jnl_buf *b)
{
	ASSERT(!b->running && !b->dirty && !b->snapped);
	if (b->folio->priv == b) {
		b->folio->priv = NULL;
		folio_unpin(b->folio);
		j->dirty_bytes -= b->len;
		if (b->kind == FMT_KIND_DATA)
			__atomic_fetch_sub(&j->nr_logged, 1, __ATOMIC_RELEASE);
	}
	buf_free(b);
}
