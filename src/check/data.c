/*
 * Pass 5, if asked for: the contents of all written sectors against their checksums.
 *
 * Rules
 * 1. File by file, so that a finding names the inode and the place in it.
 * 2. A sector that the device can't read is found like one with a wrong checksum, and its
 *    neighbours are still looked at.
 * 3. With a log to replay, what it holds of a sector counts, not what is in place.
 * 4. Sectors that are marked bad are known to be lost and are counted, not reported again.
 */
#include "check/check_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 256u      /* sectors */

struct data_pass {
	struct check *c;
	u8 *data;               /* BATCH sectors */
	u8 *logged;             /* a sector whose newest version is in the log */
	struct map_look map;
};

static void bad_data(struct data_pass *p, u64 ino, u64 file_sector, u64 disk, int err)
{
	report_fix(p->c, CHECK_DATA,
		   (struct fix){ .kind = FIX_MAP_BAD, .ino = ino, .sector = disk, .b = 1,
				 .a = FMT_MAP_BAD },
		   "inode %" PRIu64 ": file sector %" PRIu64 ", disk sector %" PRIu64 ": %s", ino,
		   file_sector, disk, err ? err_text(err) : "contents do not match their checksum");
}

static void verify(struct data_pass *p, u64 ino, u64 file_sector, u64 disk, const void *data,
		   int err)
{
	u32 entry = map_look(&p->map, disk);

	if (p->c->rd.jnl && jnl_data_read(p->c->rd.jnl, disk, p->logged) == 1) {
		data = p->logged;
		err = 0;
	}
	if (entry < FMT_MAP_CSUM_MIN && !(err && entry == FMT_MAP_NOCSUM))
		return;
	p->c->res->data_sectors++;
	if (err || fmt_map_csum(data) != entry)
		bad_data(p, ino, file_sector, disk, err);
}

static void one_by_one(struct data_pass *p, u64 ino, u64 file_sector, u64 disk, u32 nr)
{
	for (u32 i = 0; i < nr; i++) {
		int err = blk_read(p->c->dev, disk + i, p->data, 1, BLK_DATA);

		verify(p, ino, file_sector + i, disk + i, p->data, err);
	}
}

/* Not more than it takes: unwritten space, which may be most of an extent, is not read. */
static u32 written_run(struct data_pass *p, u64 disk, u32 nr)
{
	u32 n = 0;

	while (n < nr && n < BATCH && map_look(&p->map, disk + n) != FMT_MAP_UNWRITTEN)
		n++;
	return n;
}

static void extent(void *arg, struct fmt_key k, const void *val, u32 len)
{
	struct data_pass *p = arg;
	const struct fmt_extent *e = val;
	u64 disk = get64(e->disk);
	u32 nr = get32(e->nr), run;

	(void)len;
	for (u32 at = 0; at < nr && !check_stopped(p->c); at += MAX(run, 1u)) {
		run = written_run(p, disk + at, nr - at);
		if (!run)
			continue;
		if (blk_read(p->c->dev, disk + at, p->data, run, BLK_DATA))
			one_by_one(p, k.a, k.b + at, disk + at, run);
		else
			for (u32 i = 0; i < run; i++)
				verify(p, k.a, k.b + at + i, disk + at + i,
				       p->data + (size_t)i * SECTOR_SIZE, 0);
		progress(p->c, 5, p->c->res->data_sectors, p->c->res->written_sectors);
	}
}

static bool stop(void *arg)
{
	return check_stopped(((struct data_pass *)arg)->c);
}

int check_data(struct check *c)
{
	struct data_pass p = { .c = c };
	struct walk w = { .rd = &c->rd, .tree = FMT_TREE_EXTENT, .item = extent, .stop = stop,
			  .arg = &p, .max_nodes = c->res->nodes };
	int r = map_look_init(&p.map, &c->rd);

	p.data = aligned_alloc(SECTOR_SIZE, (size_t)BATCH * SECTOR_SIZE);
	p.logged = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	if (!r)
		r = p.data && p.logged ? walk_tree(&w, c->root) : -ENOMEM;
	progress(c, 5, 1, 1);
	free(p.logged);
	free(p.data);
	map_look_fini(&p.map);
	return r ? r : c->err;
}
