/*
 * The bitmap of one group, seen through a view.
 *
 * Invariants
 * 1. Only bits of [first, len) are looked at: what lies before is the group's own metadata, what
 *    lies behind is not on the device. Both are set in every initialised bitmap sector.
 * 2. A bitmap sector whose bit in bitmap_init is clear is never read: its space is all free. The
 *    first change creates it.
 * 3. A run that is returned has no busy sector: somebody may still need its old contents after a
 *    crash.
 *
 * Called in bodies only; no locks of its own (view_next_busy() takes one of the journal).
 */
#include "base/err.h"
#include "fs/inode.h"
#include "fs/space_priv.h"

#define NO_IDX UINT32_MAX

static u64 gtable_addr(const struct fmt_geo *geo, u32 group)
{
	return geo->gtable_sector + group / FMT_GROUPS_PER_SECTOR;
}

int group_get(struct view *v, u32 group, const struct fmt_group **out)
{
	const void *buf;
	int r = view_get(v, gtable_addr(view_geo(v), group), FMT_KIND_GTABLE, &buf);

	if (r == 0)
		*out = &((const struct fmt_gtable *)buf)->g[group % FMT_GROUPS_PER_SECTOR];
	return r;
}

int group_edit(struct view *v, u32 group, struct fmt_group **out)
{
	void *buf;
	int r = view_edit(v, gtable_addr(view_geo(v), group), FMT_KIND_GTABLE, &buf);

	if (r == 0)
		*out = &((struct fmt_gtable *)buf)->g[group % FMT_GROUPS_PER_SECTOR];
	return r;
}

int bits_open(struct bits *b, struct view *v, u32 group)
{
	const struct fmt_geo *geo = view_geo(v);
	const struct fmt_group *desc;
	int r = group_get(v, group, &desc);

	if (r)
		return r;
	*b = (struct bits){ .v = v, .geo = geo, .group = group, .idx = NO_IDX };
	b->base = fmt_group_start(geo, group);
	b->first = (u32)(fmt_space_start(geo, group) - b->base);
	b->len = fmt_group_len(geo, group);
	b->init = get64(desc->bitmap_init);
	return 0;
}

static int bits_load(struct bits *b, u32 idx)
{
	const void *buf;
	int r;

	if (b->idx == idx)
		return 0;
	b->words = NULL;
	b->idx = NO_IDX;
	if (b->init >> idx & 1) {
		r = view_get(b->v, fmt_bitmap_sector(b->geo, b->group) + idx, FMT_KIND_BITMAP,
			     &buf);
		if (r)
			return r;
		b->words = ((const struct fmt_bitmap *)buf)->bits;
	}
	b->idx = idx;
	return 0;
}

/* First bit in [from, end) of one bitmap sector that is set (clear), or end. */
static u32 words_next(const le64 *words, u32 from, u32 end, bool set)
{
	u64 flip = set ? 0 : ~0ull;

	for (u32 w = from / 64; w * 64 < end; w++) {
		u64 word = get64(words[w]) ^ flip;

		if (w == from / 64)
			word &= ~0ull << (from % 64);
		if (word)
			return MIN(w * 64 + (u32)__builtin_ctzll(word), end);
	}
	return end;
}

int bits_next(struct bits *b, u32 from, u32 end, bool set, u32 *out)
{
	while (from < end) {
		u32 idx = from / FMT_BITS_PER_SECTOR;
		u32 at = idx * FMT_BITS_PER_SECTOR;
		u32 stop = MIN(end, at + FMT_BITS_PER_SECTOR);
		u32 pos = set ? stop : from;
		int r = bits_load(b, idx);

		if (r)
			return r;
		if (b->words)
			pos = at + words_next(b->words, from - at, stop - at, set);
		if (pos < stop) {
			*out = pos;
			return 0;
		}
		from = stop;
	}
	*out = end;
	return 0;
}

static void words_set_range(le64 *words, u32 from, u32 end, bool set)
{
	for (u32 w = from / 64; from < end; w++, from = w * 64) {
		u64 mask = ~0ull << (from % 64);

		if (end < (w + 1) * 64)
			mask &= ~(~0ull << (end % 64));
		words[w] = put64(set ? get64(words[w]) | mask : get64(words[w]) & ~mask);
	}
}

/* Creates bitmap sector idx: the group's own metadata and what is beyond its end are in use. */
static int bits_create(struct bits *b, u32 idx, le64 **out)
{
	u32 at = idx * FMT_BITS_PER_SECTOR, end = at + FMT_BITS_PER_SECTOR;
	struct fmt_group *desc;
	struct fmt_bitmap *bm;
	void *buf;
	int r = view_new(b->v, fmt_bitmap_sector(b->geo, b->group) + idx, FMT_KIND_BITMAP, b->group,
			 &buf);

	if (r == 0)
		r = group_edit(b->v, b->group, &desc);
	if (r)
		return r;
	bm = buf;
	if (b->first > at)
		words_set_range(bm->bits, 0, MIN(b->first, end) - at, true);
	if (b->len < end)
		words_set_range(bm->bits, MAX(b->len, at) - at, FMT_BITS_PER_SECTOR, true);
	b->init |= 1ull << idx;
	desc->bitmap_init = put64(b->init);
	*out = bm->bits;
	return 0;
}

static int bits_edit(struct bits *b, u32 idx, le64 **out)
{
	void *buf;
	int r;

	b->idx = NO_IDX;
	if (!(b->init >> idx & 1))
		return bits_create(b, idx, out);
	r = view_edit(b->v, fmt_bitmap_sector(b->geo, b->group) + idx, FMT_KIND_BITMAP, &buf);
	if (r == 0)
		*out = ((struct fmt_bitmap *)buf)->bits;
	return r;
}

int bits_change(struct bits *b, u32 from, u32 nr, bool set)
{
	u32 end = from + nr, wrong;
	int r = bits_next(b, from, end, set, &wrong);

	if (r)
		return r;
	if (wrong < end)
		return corrupt(set ? WHY_BITMAP : WHY_DOUBLE_FREE, CORRUPT_NO_INO, b->base + wrong);
	while (from < end) {
		u32 idx = from / FMT_BITS_PER_SECTOR, at = idx * FMT_BITS_PER_SECTOR;
		u32 stop = MIN(end, at + FMT_BITS_PER_SECTOR);
		le64 *words;

		r = bits_edit(b, idx, &words);
		if (r)
			return r;
		words_set_range(words, from - at, stop - at, set);
		from = stop;
	}
	return 0;
}

/* Takes [from, to) out of [*start, *end), of which the part before it stays, else that behind. */
static void run_cut(u32 *start, u32 *end, u32 from, u32 to)
{
	if (to <= *start || from >= *end)
		return;
	if (from > *start)
		*end = from;
	else
		*start = MIN(to, *end);
}

/* *start, *stop if `have`, else or if it begins earlier: first, last. */
static bool earlier(bool have, bool other, u64 first, u64 last, u64 *start, u64 *stop)
{
	if (other && !(have && *start < first)) {
		*start = first;
		*stop = last;
	}
	return have || other;
}

bool bits_next_unusable(struct bits *b, u64 from, u64 end, u64 *start, u64 *stop)
{
	const struct fs *fs = view_host(b->v);
	struct space *sp = fs ? fs->space : NULL;
	bool have = view_next_busy(b->v, from, end, start, stop), other;
	u64 first, last;

	other = space_window(sp, &first, &last) && last > from && first < end;
	have = earlier(have, other, first, last, start, stop);
	if (!b->heeds_ahead)
		return have;
	other = space_ahead_next(sp, b->owner, from, end, &first, &last);
	return earlier(have, other, first, last, start, stop);
}

bool bits_any_unusable(struct bits *b, u32 from, u32 end)
{
	u64 start, stop;

	return from < end && bits_next_unusable(b, b->base + from, b->base + end, &start, &stop);
}

/* The first part of the free run [*start, *end) that is aligned, usable, not in the hole. */
static void run_trim(struct bits *b, const struct run_limits *lim, u32 *start, u32 *end)
{
	u64 busy, busy_end;
	u32 before;

	do {
		before = *start;
		*start = MIN(ALIGN_UP(*start, lim->align), *end);
		if (lim->hole < lim->hole_end)
			run_cut(start, end, lim->hole, lim->hole_end);
		if (lim->skip < lim->skip_end)
			run_cut(start, end, lim->skip, lim->skip_end);
		if (*start < *end &&
		    bits_next_unusable(b, b->base + *start, b->base + *end, &busy, &busy_end))
			run_cut(start, end, busy > b->base ? (u32)(busy - b->base) : 0,
				(u32)MIN(busy_end - b->base, (u64)b->len));
	} while (*start != before && *start < *end);
	*end = MAX(ALIGN_DOWN(*end, lim->align), *start);
}

int bits_next_run(struct bits *b, u32 from, u32 end, const struct run_limits *lim, u32 *out_start,
		  u32 *out_end)
{
	while (from < end) {
		u32 start, stop, cut;
		int r = bits_next(b, from, end, false, &start);

		if (r == 0)
			r = bits_next(b, start, end, true, &stop);
		if (r)
			return r;
		/* A trimmed run may leave more of the same free stretch for the next turn. */
		while (start < stop) {
			cut = stop;
			run_trim(b, lim, &start, &cut);
			if (start < cut) {
				*out_start = start;
				*out_end = cut;
				return 0;
			}
			start = MAX(cut, start) + 1;
		}
		from = stop;
	}
	*out_start = *out_end = end;
	return 0;
}
