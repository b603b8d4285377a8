/*
 * Delayed allocation: ranges of a file that have space reserved and no place, and giving them
 * one.
 *
 * 1. Ranges are disjoint, and neighbours are joined; where a range is, the extent tree has a hole.
 *    Blocks play no role here: map_reserve() says how much of a hole becomes delayed, and
 *    extent_place_in() how it is laid out.
 * 2. Reserved for an inode: all sectors of its ranges, and a share for the tree nodes that
 *    mapping them may need: one sector a range and one for each SHARE_SECTORS. (A leaf of
 *    16 KiB holds at least 200 extents, so 64 sectors in 64 extents need far less than the 1 + 1
 *    sectors.)
 * 3. A range gets its place in one handle: space, extents, and its end as a delayed range are
 *    published together. `place` keeps truncate and other allocators away meanwhile; writers
 *    only add.
 *
 * Locks: ip->state for the tree, ip->place for allocation.
 */
#include <stdlib.h>

#include "base/err.h"
#include "fs/file_priv.h"

#define SHARE_SECTORS 64u
/* One run of space at most: half a group. */
#define ALLOC_SECTORS_MAX (FMT_GROUP_SECTORS / 2)

static int delalloc_cmp(const struct delalloc *x, const struct delalloc *y)
{
	return x->start < y->start ? -1 : x->start > y->start;
}

RB_GENERATE_INTERNAL(delalloc_tree, delalloc, node, delalloc_cmp, static UNUSED)

static u64 share_for(u64 ranges, u64 sectors)
{
	return ranges ? ranges + sectors / SHARE_SECTORS : 0;
}

struct delalloc *delalloc_first(struct inode *ip, u64 sector)
{
	struct delalloc *d = RB_ROOT(&ip->delalloc), *found = NULL;

	while (d) {
		if (d->end > sector) {
			found = d;
			d = RB_LEFT(d, node);
		} else {
			d = RB_RIGHT(d, node);
		}
	}
	return found;
}

/*
 * Adds a range to the tree, joined with its neighbours. Frees `d` if another range took it in.
 * state held.
 */
static void insert(struct inode *ip, struct delalloc *d)
{
	struct delalloc *prev, *next;

	ip->delalloc_sectors += d->end - d->start;
	RB_INSERT(delalloc_tree, &ip->delalloc, d);
	ip->delalloc_ranges++;
	prev = RB_PREV(delalloc_tree, &ip->delalloc, d);
	next = RB_NEXT(delalloc_tree, &ip->delalloc, d);
	if (next && next->start == d->end) {
		d->end = next->end;
		RB_REMOVE(delalloc_tree, &ip->delalloc, next);
		ip->delalloc_ranges--;
		free(next);
	}
	if (prev && prev->end == d->start) {
		prev->end = d->end;
		RB_REMOVE(delalloc_tree, &ip->delalloc, d);
		ip->delalloc_ranges--;
		free(d);
	}
}

int delalloc_reserve(struct inode *ip, u64 start, u64 end)
{
	struct space *sp = ip->fs->space;
	u64 more = 1 + (end - start) / SHARE_SECTORS + 1;  /* one range more, whatever joins */
	struct delalloc *d = malloc(sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	r = space_reserve(sp, end - start + more);
	if (r) {
		free(d);
		return r;
	}
	mutex_lock(&ip->state);
	d->start = start;
	d->end = end;
	insert(ip, d);
	ip->delalloc_share += more;
	/* What joining saved goes back. */
	more = ip->delalloc_share - MIN(ip->delalloc_share,
					share_for(ip->delalloc_ranges, ip->delalloc_sectors));
	ip->delalloc_share -= more;
	file_map_changed(ip);
	mutex_unlock(&ip->state);
	space_unreserve(sp, more);
	return 0;
}

/* One range that overlaps [start, end) loses what overlaps. */
static u64 cut(struct inode *ip, struct delalloc *d, u64 start, u64 end, struct delalloc **spare)
{
	u64 from = MAX(start, d->start), to = MIN(end, d->end);

	if (from > d->start && to < d->end) {
		struct delalloc *tail = *spare;

		ASSERT(tail);
		*spare = NULL;
		*tail = (struct delalloc){ .start = to, .end = d->end };
		d->end = from;
		RB_INSERT(delalloc_tree, &ip->delalloc, tail);
		ip->delalloc_ranges++;
	} else if (from > d->start) {
		d->end = from;
	} else if (to < d->end) {
		d->start = to;
	} else {
		RB_REMOVE(delalloc_tree, &ip->delalloc, d);
		ip->delalloc_ranges--;
		free(d);
	}
	ip->delalloc_sectors -= to - from;
	return to - from;
}

u64 delalloc_remove(struct inode *ip, u64 start, u64 end, bool placed, struct delalloc **spare)
{
	struct delalloc *d;
	u64 sectors = 0, share;

	while ((d = delalloc_first(ip, start)) && d->start < end)
		sectors += cut(ip, d, start, end, spare);
	/*
	 * A split may want more than there is: then the share stays short by one until the next
	 * change.
	 */
	share = share_for(ip->delalloc_ranges, ip->delalloc_sectors);
	share = ip->delalloc_share - MIN(ip->delalloc_share, share);
	ip->delalloc_share -= share;
	if (sectors)
		file_map_changed(ip);
	return share + (placed ? 0 : sectors);
}

/* ---- giving a place ---- */

struct allocate {
	struct inode_edit edit;
	struct extent_place place;
	u64 give_back;
	struct delalloc *spare;
};

static void allocate_published(void *arg, u64 seq UNUSED)
{
	struct allocate *a = arg;
	struct inode *ip = a->edit.ip;

	mutex_lock(&ip->state);
	a->give_back = delalloc_remove(ip, a->place.sector, a->place.sector + a->place.nr, true,
				       &a->spare);
	file_map_changed(ip);
	if (a->place.was_inline)
		ip->inl_on_disk = false;
	mutex_unlock(&ip->state);
}

static int allocate_body(struct view *v, void *arg)
{
	struct allocate *a = arg;
	struct inode *ip = a->edit.ip;
	int r;

	inode_edit_begin(&a->edit, ip);
	r = extent_place_in(v, &a->edit, &a->place);
	return r ? r : view_on_publish(v, allocate_published, a);
}

/*
 * The first delayed range of [start, end) sectors gets a place, perhaps only its beginning.
 * -ENOENT: there is none.
 */
static int allocate_one(struct inode *ip, u64 start, u64 end, bool parts)
{
	struct allocate a = { .edit.ip = ip, .place.parts = parts };
	struct delalloc *d;
	int r;

	mutex_lock(&ip->state);
	d = delalloc_first(ip, start);
	if (d && d->start < end) {
		a.place.sector = d->start;
		a.place.want = (u32)MIN(d->end - d->start, (u64)ALLOC_SECTORS_MAX);
	}
	mutex_unlock(&ip->state);
	if (!a.place.want)
		return -ENOENT;
	a.spare = malloc(sizeof(*a.spare));
	if (!a.spare)
		return -ENOMEM;
	r = jnl_run(ip->fs->jnl, SPACE_CREDITS_ALLOC + 3 * BTREE_CREDITS, allocate_body, &a,
		    NULL);
	free(a.spare);
	space_unreserve(ip->fs->space, a.give_back);
	return r;
}

int file_allocate(struct iomap_file *f, u64 start, u64 end)
{
	struct inode *ip = file_inode(f);
	unsigned tries = 0;
	int r;

	do {
		mutex_lock(&ip->place);
		r = allocate_one(ip, start >> SECTOR_SHIFT, bytes_to_sectors_up(end), tries > 0);
		mutex_unlock(&ip->place);
	} while (!r || file_space_wait(ip->fs, r, &tries));
	return r == -ENOENT ? 0 : r;
}
