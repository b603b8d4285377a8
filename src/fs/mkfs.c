/*
 * fs_format: an empty file system on a device.
 *
 * Rules
 * 1. Order: take room on the host, invalidate the old superblock, flush, write the parts, flush,
 *    write the copies of the superblock, flush, write the superblock, flush. A crash at any moment
 *    leaves the old file system, none, or the new one.
 * 2. Little is written, whatever the size: bitmap and map sectors stay uninitialised (as the group
 *    table says) but for the one bitmap sector that holds the first nodes.
 * 3. An uninitialised bitmap sector implies that the group's own metadata is used, so its bits are
 *    nowhere written here.
 *
 * Called by one thread that owns the device; no locks.
 */
#include "fs/fs.h"

#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/time.h"
#include "base/uuid.h"

#define DEFAULT_BLOCK 4096u
/* Each tree has a leaf, which it keeps for life: what is deleted gives back what it took. */
#define LEAVES_SECTORS (FMT_NR_TREES * NODE_SECTORS)
#define LOG_WRITTEN_SECTORS 16384u      /* 64 MiB */

struct fmt_job {
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	const struct fs_format_opts *opts;
	u64 leaves;          /* one for each tree, the first has the root directory */
	bool room_taken;     /* on the host, for all that is no space */
	u8 *buf;             /* NODE_SIZE, aligned */
};

int fs_format_plan(u64 dev_sectors, const struct fs_format_opts *o, struct fmt_geo *out)
{
	u64 nr = o->nr_sectors ? o->nr_sectors : dev_sectors;
	struct fmt_geo g;
	int r;

	memset(&g, 0, sizeof(g));
	if (nr > dev_sectors)
		return -EFBIG;
	if (o->label) {
		if (strlen(o->label) >= LIMIT_LABEL)
			return -ENAMETOOLONG;
		memcpy(g.label, o->label, strlen(o->label));
	}
	r = fmt_geo_make(nr, o->block_bytes ? o->block_bytes : DEFAULT_BLOCK, o->jnl_sectors, &g);
	if (r)
		return r;
	g.ro_compat = o->no_datasum ? 0 : FMT_RO_COMPAT_DATASUM;
	*out = g;
	return 0;
}

/*
 * The random parts. With a given uuid they follow from it and the time, so that the same command
 * gives the same tree twice.
 */
static int make_identity(struct fmt_geo *g, const struct fs_format_opts *o)
{
	struct uuid u;
	u64 seeds[2];
	int r;

	g->mkfs_time = o->time ? o->time : (s64)now_real().tv_sec;
	if (o->uuid) {
		memcpy(g->uuid, o->uuid, sizeof(g->uuid));
		g->fsid = hash64_seed(g->uuid, sizeof(g->uuid), (u64)g->mkfs_time * 2);
		g->hash_seed = hash64_seed(g->uuid, sizeof(g->uuid), (u64)g->mkfs_time * 2 + 1);
		return 0;
	}
	r = uuid_make(&u);
	if (!r)
		r = random_bytes(seeds, sizeof(seeds));
	if (r)
		return r;
	memcpy(g->uuid, u.b, sizeof(g->uuid));
	g->fsid = seeds[0];
	g->hash_seed = seeds[1];
	return 0;
}

static int take_room(struct fmt_job *job)
{
	const struct fmt_geo *g = job->geo;

	job->room_taken = true;
	for (u32 i = 0; i < g->nr_groups; i++) {
		u64 start = fmt_group_start(g, i);
		int r = blk_prealloc(job->dev, start, fmt_space_start(g, i) - start);

		if (r == -EOPNOTSUPP)
			job->room_taken = false;
		else if (r)
			return r;
	}
	return 0;
}

/*
 * A host that keeps preallocated blocks as unwritten changes its own metadata with the first write
 * to each, and writes that at the next flush: an fsync then costs two writes more. So the part of
 * the log that is used first is written now; on a host that can't preallocate, all of it: a log
 * without room would hold up every fsync.
 */
static int write_log(const struct fmt_job *job)
{
	u64 start = job->geo->jnl_sector, nr = job->geo->jnl_nr;
	u8 *zeroes;
	int r;

	if (!blk_is_file(job->dev))
		return 0;
	if (job->room_taken)
		nr = MIN(nr, (u64)LOG_WRITTEN_SECTORS);
	zeroes = aligned_alloc(SECTOR_SIZE, BLK_MAX_IO_SECTORS * SECTOR_SIZE);
	r = zeroes ? 0 : -ENOMEM;
	if (zeroes)
		memset(zeroes, 0, BLK_MAX_IO_SECTORS * SECTOR_SIZE);
	for (u64 at = 0; at < nr && !r; at += BLK_MAX_IO_SECTORS)
		r = blk_write(job->dev, start + at, zeroes,
			      (u32)MIN(nr - at, (u64)BLK_MAX_IO_SECTORS), BLK_LOG);
	free(zeroes);
	return r;
}

static void discard_space(const struct fmt_job *job)
{
	const struct fmt_geo *g = job->geo;

	for (u32 i = 0; i < g->nr_groups; i++) {
		u64 start = fmt_space_start(g, i);
		u64 end = fmt_group_start(g, i) + fmt_group_len(g, i);

		if (blk_discard(job->dev, start, end - start))
			return;
	}
}

static int put(const struct fmt_job *job, u64 sector, u32 nr)
{
	return blk_write(job->dev, sector, job->buf, nr, BLK_META);
}

static int put_buffer(const struct fmt_job *job, enum fmt_kind k, u64 addr)
{
	u32 nr = fmt_kind_sectors(k);

	fmt_hdr_seal(job->buf, nr * SECTOR_SIZE, 0);
	ASSERT(fmt_buf_check(job->buf, k, addr, job->geo) == 0);
	return put(job, addr, nr);
}

static void *start_buffer(const struct fmt_job *job, enum fmt_kind k, u64 addr, u64 owner)
{
	memset(job->buf, 0, NODE_SIZE);
	fmt_hdr_init(job->buf, k, addr, job->geo->fsid, owner);
	return job->buf;
}

static u32 group_free(const struct fmt_geo *g, u32 group)
{
	u64 own = fmt_space_start(g, group) - fmt_group_start(g, group);

	return fmt_group_len(g, group) - (u32)own - (group == 0 ? LEAVES_SECTORS : 0);
}

static int write_gtable(const struct fmt_job *job)
{
	const struct fmt_geo *g = job->geo;
	int r = 0;

	for (u32 s = 0; s < g->gtable_nr && !r; s++) {
		u64 addr = g->gtable_sector + s;
		struct fmt_gtable *t = start_buffer(job, FMT_KIND_GTABLE, addr, 0);
		u32 first = s * FMT_GROUPS_PER_SECTOR;

		for (u32 i = 0; i < FMT_GROUPS_PER_SECTOR && first + i < g->nr_groups; i++)
			t->g[i].free = put32(group_free(g, first + i));
		if (s == 0)
			t->g[0].bitmap_init = put64(1ull << (job->leaves / FMT_BITS_PER_SECTOR));
		r = put_buffer(job, FMT_KIND_GTABLE, addr);
	}
	return r;
}

/* The part of group 0's bitmap that holds the first nodes. */
static int write_bitmap(const struct fmt_job *job)
{
	const struct fmt_geo *g = job->geo;
	u32 index = (u32)(job->leaves / FMT_BITS_PER_SECTOR);
	u64 first = (u64)index * FMT_BITS_PER_SECTOR, end = first + FMT_BITS_PER_SECTOR;
	u64 addr = fmt_bitmap_sector(g, 0) + index, own = fmt_space_start(g, 0);
	u64 len = fmt_group_len(g, 0);
	struct fmt_bitmap *b = start_buffer(job, FMT_KIND_BITMAP, addr, 0);
	u64 bits[FMT_BITS_PER_SECTOR / 64];

	bitmap_zero(bits, FMT_BITS_PER_SECTOR);
	if (own > first)
		bitmap_set_range(bits, 0, MIN(own, end) - first);
	if (len < end)
		bitmap_set_range(bits, len - first, end - len);
	bitmap_set_range(bits, job->leaves - first, LEAVES_SECTORS);
	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		b->bits[i] = put64(bits[i]);
	return put_buffer(job, FMT_KIND_BITMAP, addr);
}

static void fill_root_inode(const struct fmt_job *job, struct fmt_inode *i)
{
	struct fmt_time t = { put64((u64)job->geo->mkfs_time), put32(0) };

	memset(i, 0, sizeof(*i));
	i->mode = put32(S_IFDIR | 0755);
	i->uid = put32(job->opts->root_uid);
	i->gid = put32(job->opts->root_gid);
	i->nlink = put32(2);
	i->parent = put64(FMT_ROOT_INO);
	i->atime = i->mtime = i->ctime = i->btime = t;
}

static u64 leaf_of(const struct fmt_job *job, unsigned tree)
{
	return job->leaves + (u64)tree * NODE_SECTORS;
}

static void fill_root_leaf(const struct fmt_job *job, struct fmt_node *n)
{
	u32 heap = NODE_SIZE - sizeof(struct fmt_inode);

	n->nr = put16(1);
	n->heap = put32(heap);
	n->slot[0].a = put64(FMT_ROOT_INO);
	n->slot[0].off = put16((u16)heap);
	n->slot[0].len = put16(sizeof(struct fmt_inode));
	fill_root_inode(job, (void *)(job->buf + heap));
}

static int write_leaves(const struct fmt_job *job)
{
	int r = 0;

	for (unsigned t = 0; t < FMT_NR_TREES && !r; t++) {
		struct fmt_node *n = start_buffer(job, FMT_KIND_NODE, leaf_of(job, t), t);

		n->heap = put32(NODE_SIZE);
		if (t == FMT_TREE_INODE)
			fill_root_leaf(job, n);
		r = put_buffer(job, FMT_KIND_NODE, leaf_of(job, t));
	}
	return r;
}

static int write_root_sector(const struct fmt_job *job)
{
	const struct fmt_geo *g = job->geo;
	struct fmt_root *r = start_buffer(job, FMT_KIND_ROOT, g->root_sector, 0);
	u64 free_sectors = 0;

	for (u32 i = 0; i < g->nr_groups; i++)
		free_sectors += group_free(g, i);
	for (unsigned t = 0; t < FMT_NR_TREES; t++) {
		r->tree[t].root = put64(leaf_of(job, t));
		r->tree[t].height = put32(1);
	}
	r->next_ino = put64(FMT_ROOT_INO + 1);
	r->nr_inodes = put64(1);
	r->free_sectors = put64(free_sectors);
	r->node_sectors_used = put64(LEAVES_SECTORS);
	fmt_super_encode(g, FMT_SUPER_COPY_ROOT, &r->super);
	return put_buffer(job, FMT_KIND_ROOT, g->root_sector);
}

static int write_super(const struct fmt_job *job, u64 sector, u8 copy)
{
	memset(job->buf, 0, SECTOR_SIZE);
	fmt_super_encode(job->geo, copy, (void *)(job->buf + FMT_SUPER_OFFSET));
	return put(job, sector, 1);
}

static int write_copies(const struct fmt_job *job)
{
	u8 copy = 0;
	int r = 0;

	for (u32 i = 1; i < job->geo->nr_groups && !r && copy < UINT8_MAX; i++) {
		if (fmt_group_has_copy(i))
			r = write_super(job, fmt_group_start(job->geo, i), ++copy);
	}
	return r;
}

static int write_parts(const struct fmt_job *job)
{
	int r = jnl_format(job->dev, job->geo);

	if (!r)
		r = write_gtable(job);
	if (!r)
		r = write_bitmap(job);
	if (!r)
		r = write_leaves(job);
	if (!r)
		r = write_root_sector(job);
	return r;
}

static int format_in_order(const struct fmt_job *job)
{
	int r;

	memset(job->buf, 0, NODE_SIZE);
	r = put(job, 0, 1);
	if (!r)
		r = blk_flush(job->dev);
	if (!r && job->opts->discard)
		discard_space(job);
	if (!r)
		r = write_log(job);
	if (!r)
		r = write_parts(job);
	if (!r)
		r = blk_flush(job->dev);
	if (!r)
		r = write_copies(job);
	if (!r)
		r = blk_flush(job->dev);
	if (!r)
		r = write_super(job, 0, 0);
	return r ? r : blk_flush(job->dev);
}

/* At the low end, all in one sector of the bitmap. */
static u64 first_leaf(const struct fmt_geo *g)
{
	u64 at = ALIGN_UP(fmt_space_start(g, 0), NODE_SECTORS);
	u64 border = ALIGN_UP(at, (u64)FMT_BITS_PER_SECTOR);

	return border - at < LEAVES_SECTORS ? border : at;
}

int fs_format(struct blk_dev *dev, const struct fs_format_opts *o, struct fmt_geo *out)
{
	struct fmt_geo g;
	struct fmt_job job = { .dev = dev, .geo = &g, .opts = o };
	int r = fs_format_plan(blk_sectors(dev), o, &g);

	if (!r)
		r = make_identity(&g, o);
	if (r)
		return r;
	if (blk_is_rdonly(dev))
		return -EROFS;
	job.leaves = first_leaf(&g);
	job.buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	if (!job.buf)
		return -ENOMEM;
	r = take_room(&job);
	if (!r && o->before_write)
		r = o->before_write(o->arg);
	if (!r)
		r = format_in_order(&job);
	free(job.buf);
	if (!r && out)
		*out = g;
	return r;
}
