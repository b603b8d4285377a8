/*
 * Extents: where a file's blocks are, and the mapping operations that iomap asks.
 *
 * 1. Extents of a file are runs of sectors. They do not overlap, and never overlap a delayed range.
 *    That most of them are whole blocks is how they are placed, and nothing relies on it.
 * 2. Two extents that touch in the file and on the disk are one (up to EXTENT_NR_MAX).
 * 3. A delayed range is looked for before the tree: allocation publishes the extent and takes
 *    the range away in one step, so a sector that has space is found in one of the two.
 * 4. A mapping's cookie is map_seq as it was before the lookup.
 * 5. A write to a hole takes whole blocks of the file. But a file that ends in its first block gets
 *    the sectors that it needs: at first just those that are written; later, so that it does not
 *    come to lie in single sectors, those and what is left of a piece of the block. Pieces are
 *    sectors 0, 1, 2, 3, then two of every power of two: 4-5, 6-7, 8-11, 12-15, 16-23, ... So
 *    a file of one block is in no more than 8 extents at 64 KiB and 18 at 2 MiB however it was
 *    written, and takes up less than 1.5 times its size.
 * 6. What continues a file asks for space ahead, as much as the file has, so that files that grow
 *    side by side get extents that double, up to 8 MiB. Nothing of it is taken.
 *
 * What the tree says is not trusted: an extent that is empty or leaves the device is a
 * corruption.
 */
#include "base/err.h"
#include "fs/file_priv.h"

/* Sectors that a file is to find free behind its end when it grows. */
#define AHEAD_MIN ((u64)16)
#define AHEAD_MAX ((u64)2048)
#define AHEAD_OF_DEVICE 256u

/* Credits of freeing one run: bitmap, map and group table sectors. */
static unsigned free_credits(u64 nr)
{
	return 5 + (unsigned)(nr / FMT_MAP_PER_SECTOR) + (unsigned)(nr / FMT_BITS_PER_SECTOR);
}

struct ext {
	u64 sector, disk;
	u32 nr;
};

static int ext_decode(struct view *v, struct fmt_key k, const void *val, u32 len, struct ext *out)
{
	const struct fmt_extent *e = val;
	enum why why = fmt_value_why(FMT_TREE_EXTENT, k, val, len, view_geo(v));

	if (why)
		return corrupt(why, k.a, CORRUPT_NO_SECTOR);
	*out = (struct ext){ k.b, get64(e->disk), get32(e->nr) };
	if (out->nr == 0 || out->sector > FILE_SECTOR_MAX - out->nr)
		return corrupt(WHY_EXTENT_FILE_END, k.a, CORRUPT_NO_SECTOR);
	return 0;
}

static int ext_set(struct view *v, u64 ino, const struct ext *e)
{
	struct fmt_extent val = { put64(e->disk), put32(e->nr), put32(0) };

	return btree_set(v, FMT_TREE_EXTENT, (struct fmt_key){ ino, e->sector }, &val, sizeof(val));
}

/* The last extent that begins at or before the sector: 0, -ENOENT. */
static int ext_before(struct view *v, u64 ino, u64 sector, struct ext *out)
{
	struct fmt_key k = { ino, sector };
	const void *val;
	u32 len;
	int r = btree_prev(v, FMT_TREE_EXTENT, &k, &val, &len);

	if (r)
		return r;
	return k.a == ino ? ext_decode(v, k, val, len, out) : -ENOENT;
}

static int ext_after(struct view *v, u64 ino, u64 sector, struct ext *out)
{
	struct fmt_key k = { ino, sector };
	const void *val;
	u32 len;
	int r = btree_next(v, FMT_TREE_EXTENT, &k, &val, &len);

	if (r)
		return r;
	return k.a == ino ? ext_decode(v, k, val, len, out) : -ENOENT;
}

int extent_find_in(struct view *v, u64 ino, u64 sector, struct extent_run *out)
{
	struct ext e = { 0 };
	int r = ext_before(v, ino, sector, &e);

	if (r && r != -ENOENT)
		return r;
	if (!r && sector < e.sector + e.nr) {
		*out = (struct extent_run){ e.sector, e.sector + e.nr, e.disk, true };
		return 0;
	}
	r = ext_after(v, ino, sector, &e);
	if (r && r != -ENOENT)
		return r;
	*out = (struct extent_run){ sector, r ? FILE_SECTOR_MAX : e.sector, 0, false };
	return 0;
}

int extent_insert_in(struct view *v, u64 ino, u64 sector, u64 disk, u32 nr)
{
	struct ext new = { sector, disk, nr }, e;
	int r = ext_after(v, ino, sector, &e);

	if (r && r != -ENOENT)
		return r;
	if (!r && e.sector < sector + nr)
		return corrupt(WHY_EXTENT_OVERLAP, ino, disk);
	if (!r && e.sector == sector + nr && e.disk == disk + nr && e.nr < EXTENT_NR_MAX - nr) {
		r = btree_remove(v, FMT_TREE_EXTENT, (struct fmt_key){ ino, e.sector });
		if (r)
			return r;
		new.nr += e.nr;
	}
	r = ext_before(v, ino, sector, &e);
	if (r && r != -ENOENT)
		return r;
	if (!r && e.sector + e.nr > sector)
		return corrupt(WHY_EXTENT_OVERLAP_PREV, ino, disk);
	if (!r && e.sector + e.nr == sector && e.disk + e.nr == disk &&
	    e.nr < EXTENT_NR_MAX - new.nr)
		new = (struct ext){ e.sector, e.disk, e.nr + new.nr };
	return ext_set(v, ino, &new);
}

/*
 * Rule 6: space behind the extent before, if this continues it: as much as the file has, within
 * bounds, and no more than a small part of the device.
 */
static int place_near(struct view *v, const struct inode_edit *e, u64 sector, struct space_want *w)
{
	const struct fmt_geo *geo = view_geo(v);
	u64 ahead = MIN(MAX(e->attr.sectors, AHEAD_MIN), AHEAD_MAX);
	struct ext before = { 0 };
	int r = ext_before(v, e->ip->ino, sector, &before);

	if (r)
		return r == -ENOENT ? 0 : r;
	w->goal = before.disk + before.nr;
	if (before.sector + before.nr == sector)
		w->ahead = (u32)MIN(ahead, geo->nr_sectors / AHEAD_OF_DEVICE);
	return 0;
}

/* How much of what is wanted is laid out as one: whole blocks, or a part of one. */
static u32 place_size(const struct inode *ip, u64 sector, u32 want)
{
	u32 block = file_block(ip), in_block = (u32)(sector % block);

	if (in_block == 0 && want >= block)
		return ALIGN_DOWN(want, block);
	return MIN(want, block - in_block);
}

int extent_place_in(struct view *v, struct inode_edit *e, struct extent_place *p)
{
	struct inode *ip = e->ip;
	struct space_want w = {
		.nr = place_size(ip, p->sector, p->want), .owner = ip->ino, .reserved = true,
		.parts = p->parts,
	};
	u64 disk;
	int r = place_near(v, e, p->sector, &w);

	if (!r)
		r = space_alloc(v, ip->fs->space, &w, &disk, &p->nr);
	if (!r)
		r = extent_insert_in(v, ip->ino, p->sector, disk, p->nr);
	if (r)
		return r;
	e->attr.sectors += p->nr;
	r = inline_clear_empty_in(v, e, &p->was_inline);
	return r ? r : inode_edit_end(v, e);
}

/* Takes [start, end), a part of the extent, out of the tree. */
static int ext_cut(struct view *v, u64 ino, const struct ext *e, u64 start, u64 end)
{
	struct ext head = { e->sector, e->disk, (u32)(start - e->sector) };
	struct ext tail = { end, e->disk + (end - e->sector), (u32)(e->sector + e->nr - end) };
	int r;

	if (head.nr)
		r = ext_set(v, ino, &head);
	else
		r = btree_remove(v, FMT_TREE_EXTENT, (struct fmt_key){ ino, e->sector });
	return !r && tail.nr ? ext_set(v, ino, &tail) : r;
}

int extent_free_in(struct view *v, struct space *sp, u64 ino, u64 from, u64 to, u64 *freed,
		   bool *finished)
{
	unsigned credits = 0;
	u64 sum = 0;
	struct ext e = { 0 };
	int r;

	while (!(r = from < to ? ext_before(v, ino, to - 1, &e) : -ENOENT) &&
	       e.sector + e.nr > from) {
		u64 end = MIN(to, e.sector + e.nr);
		u64 n = MIN(end - MAX(from, e.sector), SPACE_FREE_MAX - sum);

		credits += free_credits(n);
		if (n == 0 || credits > EXTENT_FREE_CREDITS - 2 * BTREE_CREDITS - 4)
			break;
		r = ext_cut(v, ino, &e, end - n, end);
		if (!r)
			r = space_free(v, sp, e.disk + (end - n - e.sector), (u32)n);
		if (r)
			return r;
		sum += n;
	}
	if (r && r != -ENOENT)
		return r;
	*finished = r == -ENOENT || e.sector + e.nr <= from;
	*freed = sum;
	return 0;
}

/* ---- looking up without a handle ---- */

struct find {
	u64 ino, sector;
	struct extent_run run;
};

static int find_body(struct view *v, void *arg)
{
	struct find *f = arg;

	return extent_find_in(v, f->ino, f->sector, &f->run);
}

int extent_find(struct inode *ip, u64 sector, struct extent_run *out)
{
	struct find f = { .ino = ip->ino, .sector = sector };
	int r = jnl_read(ip->fs->jnl, find_body, &f);

	if (!r)
		*out = f.run;
	return r;
}

bool file_space_wait(struct fs *fs, int error, unsigned *tries)
{
	int r;

	if (error != -ENOSPC || *tries >= 3)
		return false;
	r = space_retry_nospc(fs->jnl);
	/* Nothing busy now: another thread's commit may have come in between. */
	return ++*tries == 1 && r == -ENOSPC ? true : r == 0;
}

/* ---- mapping operations ---- */

static void map_set(struct iomap *m, enum iomap_type type, u64 start, u64 end, u64 disk)
{
	m->type = type;
	m->offset = start << SECTOR_SHIFT;
	m->length = (end - start) << SECTOR_SHIFT;
	m->disk = disk;
}

/*
 * What is known without the tree: true, or false and where the next delayed range begins. state
 * held.
 */
static bool map_known(struct inode *ip, u64 sector, struct iomap *out, u64 *hole_end)
{
	struct delalloc *d;

	out->cookie = ip->map_seq;
	*hole_end = FILE_SECTOR_MAX;
	if (ip->inl) {
		if (sector == 0)
			map_set(out, IOMAP_INLINE, 0, 1, 0);
		else
			map_set(out, IOMAP_HOLE, sector, FILE_SECTOR_MAX, 0);
		return true;
	}
	d = delalloc_first(ip, sector);
	if (d && d->start <= sector) {
		map_set(out, IOMAP_DELALLOC, d->start, d->end, 0);
		return true;
	}
	if (d)
		*hole_end = d->start;
	if (ip->extent.seq == ip->map_seq && sector - ip->extent.start < ip->extent.nr) {
		map_set(out, IOMAP_MAPPED, ip->extent.start, ip->extent.start + ip->extent.nr,
			ip->extent.disk);
		return true;
	}
	return false;
}

static int map_look(struct inode *ip, u64 sector, struct iomap *out)
{
	struct extent_run run;
	u64 hole_end;
	bool known;
	int r;

	mutex_lock(&ip->state);
	known = map_known(ip, sector, out, &hole_end);
	mutex_unlock(&ip->state);
	if (known)
		return 0;
	r = extent_find(ip, sector, &run);
	if (r)
		return r;
	if (!run.mapped) {
		map_set(out, IOMAP_HOLE, run.start, MIN(run.end, hole_end), 0);
		return 0;
	}
	map_set(out, IOMAP_MAPPED, run.start, run.end, run.disk);
	mutex_lock(&ip->state);
	if (ip->map_seq == out->cookie) {
		ip->extent.start = run.start;
		ip->extent.nr = run.end - run.start;
		ip->extent.disk = run.disk;
		ip->extent.seq = ip->map_seq;
	}
	mutex_unlock(&ip->state);
	return 0;
}

/*
 * Space that clean-up may give back: our own delayed data gets its place, what was freed
 * becomes usable.
 */
static void make_space(struct inode *ip)
{
	unsigned tries = 0;

	iomap_writeback(&ip->file, 0, INT64_MAX, IOMAP_WB_WAIT, 0, NULL);
	file_space_wait(ip->fs, -ENOSPC, &tries);
}

/* Rule 5: half the largest power of two up to the sector. */
static u64 grain_at(u64 sector)
{
	return sector < 4 ? 1 : (u64)1 << (ilog2(sector) - 1);
}

/* Rule 5: what a write of [*from, *to) takes, if it is a hole. */
static void reserve_round(struct inode *ip, u64 *from, u64 *to)
{
	u64 block = file_block(ip), size = bytes_to_sectors_up(inode_size(ip));
	bool placed;

	if (MAX(size, *to) > block) {
		*from = ALIGN_DOWN(*from, block);
		*to = ALIGN_UP(*to, block);
		return;
	}
	mutex_lock(&ip->state);
	placed = ip->attr.sectors > 0;
	mutex_unlock(&ip->state);
	if (placed) {
		*to = ALIGN_UP(*to, grain_at(*to - 1));
		*from = ALIGN_DOWN(*from, grain_at(*from));
	}
}

/* Where the hole around `sector` begins, or `from` if that is in it, too. */
static int hole_begin(struct inode *ip, u64 from, u64 sector, u64 *out)
{
	while (from < sector) {
		struct iomap m;
		u64 end;
		int r = map_look(ip, from, &m);

		if (r)
			return r;
		end = (m.offset + m.length) >> SECTOR_SHIFT;
		if (m.type == IOMAP_HOLE && end > sector)
			break;
		from = MIN(end, sector);
	}
	*out = from;
	return 0;
}

/* A hole to be written: as much of it as there is space for becomes delayed. */
static int map_reserve(struct inode *ip, const struct iomap *hole, u64 sector, u64 end)
{
	u64 limit = (hole->offset + hole->length) >> SECTOR_SHIFT;
	u64 from = sector, to = end = MIN(end, limit);
	int r;

	reserve_round(ip, &from, &to);
	to = MIN(to, limit);
	r = hole_begin(ip, from, sector, &from);
	if (!r)
		r = delalloc_reserve(ip, from, to);
	if (r != -ENOSPC)
		return r;
	make_space(ip);
	r = delalloc_reserve(ip, from, to);
	while (r == -ENOSPC && end > sector) {
		r = delalloc_reserve(ip, sector, end);
		end = sector + (end - sector) / 2;
	}
	return r;
}

static int map_write(struct inode *ip, u64 pos, u64 len, struct iomap *out)
{
	u64 sector = pos >> SECTOR_SHIFT;
	int r;

	if (pos > FMT_SIZE_MAX || len > FMT_SIZE_MAX - pos)
		return -EFBIG;
	r = inline_outgrow(ip, pos + len);
	if (!r && ip->inl)
		r = inline_reserve(ip, pos + len);
	if (r)
		return r;
	r = map_look(ip, sector, out);
	if (r || out->type != IOMAP_HOLE)
		return r;
	r = map_reserve(ip, out, sector, bytes_to_sectors_up(pos + len));
	return r ? r : map_look(ip, sector, out);
}

static int file_map(struct iomap_file *f, u64 pos, u64 len, unsigned flags, struct iomap *out)
{
	struct inode *ip = file_inode(f);

	if (flags & IOMAP_WRITE)
		return map_write(ip, pos, len, out);
	return map_look(ip, pos >> SECTOR_SHIFT, out);
}

static bool file_map_valid(struct iomap_file *f, const struct iomap *m)
{
	return __atomic_load_n(&file_inode(f)->map_seq, __ATOMIC_ACQUIRE) == m->cookie;
}

static int file_map_entries(struct iomap_file *f, u64 disk, u32 nr, u32 *entries)
{
	return space_map_read(file_inode(f)->fs->space, disk, nr, entries);
}

static int file_no_writeback(struct iomap_file *f)
{
	return fs_may_change(file_inode(f)->fs);
}

const struct iomap_ops file_iomap_ops = {
	.map = file_map,
	.valid = file_map_valid,
	.allocate = file_allocate,
	.map_entries = file_map_entries,
	.read_logged = file_read_logged,
	.write_how = file_write_how,
	.write_settle = file_write_settle,
	.announce = file_announce,
	.announce_soon = file_announce_soon,
	.announce_wait = file_announce_wait,
	.log = file_log,
	.inline_read = file_inline_read,
	.inline_write = file_inline_write,
	.write_begin = file_write_begin,
	.ioend = file_ioend,
	.no_writeback = file_no_writeback,
};
