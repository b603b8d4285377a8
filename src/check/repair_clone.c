/*
 * Two files on the same sectors: the second one gets a copy of what is there.
 *
 * Which of them is right can't be told, so neither loses anything. First space is taken (a crash
 * leaves it marked used, which the next check frees), then the contents are copied and flushed,
 * then one handle points the extent to the copy and copies the entries of the sector map.
 */
#include "check/repair.h"

#include <stdlib.h>

#include "fs/btree.h"
#include "fs/space.h"

#define COPY_SECTORS 256u

struct clone {
	struct repair *rp;
	const struct fix *f;
	u64 to;
	u32 nr;
	u32 *entry;
};

static int alloc_body(struct view *v, void *arg)
{
	struct clone *c = arg;
	struct space_want w = { .nr = c->nr, .min = c->nr, .parts = true };
	u32 got;

	return space_alloc(v, fs_space(c->rp->fs), &w, &c->to, &got);
}

static int copy(struct clone *c)
{
	u8 *buf = aligned_alloc(SECTOR_SIZE, (size_t)COPY_SECTORS * SECTOR_SIZE);
	int r = buf ? 0 : -ENOMEM;

	for (u32 at = 0; at < c->nr && !r; at += COPY_SECTORS) {
		u32 nr = MIN(c->nr - at, COPY_SECTORS);

		r = blk_read(c->rp->dev, c->f->a + at, buf, nr, BLK_DATA);
		if (!r)
			r = blk_write(c->rp->dev, c->to + at, buf, nr, BLK_DATA);
	}
	free(buf);
	return r ? r : blk_flush(c->rp->dev);
}

static int move_body(struct view *v, void *arg)
{
	struct clone *c = arg;
	le64 disk = put64(c->to);
	u32 i = 0;
	int r = btree_patch(v, FMT_TREE_EXTENT, c->f->key, offsetof(struct fmt_extent, disk), &disk,
			    sizeof(disk));

	while (!r && i < c->nr) {
		u32 run = 1;

		while (i + run < c->nr && c->entry[i + run] == c->entry[i])
			run++;
		if (c->entry[i] != FMT_MAP_UNWRITTEN)
			r = space_map_set(v, fs_space(c->rp->fs), c->to + i, run, c->entry[i]);
		i += run;
	}
	return r;
}

int fix_clone(struct repair *rp, const struct fix *f)
{
	struct clone c = { .rp = rp, .f = f, .nr = (u32)f->b };
	int r;

	if (f->b > SPACE_ALLOC_MAX)
		return fix_remove(rp, f);
	c.entry = calloc(c.nr, sizeof(*c.entry));
	if (!c.entry)
		return -ENOMEM;
	r = space_map_read(fs_space(rp->fs), f->a, c.nr, c.entry);
	if (!r)
		r = jnl_run(rp->jnl, SPACE_CREDITS_ALLOC, alloc_body, &c, NULL);
	if (!r)
		r = copy(&c);
	if (!r)
		r = jnl_run(rp->jnl, BTREE_CREDITS + SPACE_CREDITS_MAP(c.nr), move_body, &c, NULL);
	free(c.entry);
	return r;
}
