/*
 * The check from outside: superblock and journal (pass 1), then the passes over trees, links and
 * space in their order.
 *
 * Rule: whatever is damaged is reported and the rest is still looked at, as far as it can be found:
 * without superblock or root sector nothing can.
 */
#include "check/check_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"

static const struct check_opts no_opts;

/* ---- superblock ---- */

static const char *super_error(int r)
{
	return r == -EBADMSG ? "wrong checksum" : r == -EUCLEAN ? "impossible values"
	       : r == -EINVAL ? "no FolioFS signature" : err_text(r);
}

/* 0, or an error that ends the check. */
static int find_super(struct check *c)
{
	u64 sector = 0;
	u8 copy;
	int r = super_read(c->dev, 0, &c->geo, &copy);

	if (r == -ENOMEM || r == -EOPNOTSUPP)
		return r;
	if (!r)
		return 0;
	if (super_find_copy(c->dev, &c->geo, &sector))
		return r;
	report(c, CHECK_SUPER, 0, 0, "superblock: %s; using the copy at sector %" PRIu64,
	       super_error(r), sector);
	return 0;
}

static void check_copies(struct check *c)
{
	u8 expect = 0;

	for (u32 i = 1; i < c->geo.nr_groups && expect < UINT8_MAX; i++) {
		u64 at = fmt_group_start(&c->geo, i);
		struct fmt_geo g;
		u8 copy = 0;
		int r;

		if (!fmt_group_has_copy(i))
			continue;
		expect++;
		memset(&g, 0, sizeof(g));
		r = super_read(c->dev, at, &g, &copy);
		/* A crash while the label was changed leaves the old one here: no damage. */
		memcpy(g.label, c->geo.label, sizeof(g.label));
		if (!r && copy == expect && memcmp(&g, &c->geo, sizeof(g)) == 0)
			continue;
		report(c, CHECK_SUPER_COPY, 0, at, "copy of the superblock at sector %" PRIu64
		       ": %s", at, r ? super_error(r) : "differs");
	}
}

/* ---- journal and root sector ---- */

static int open_reader(struct check *c)
{
	struct fmt_jnl_head head;
	int r = reader_jnl_head(c->dev, &c->geo, &head);
	bool replay;

	if (r == -ENOMEM)
		return r;
	if (r)
		report(c, CHECK_JOURNAL, 0, c->geo.jnl_sector, "journal: %s",
		       r == -EBADMSG ? "one of the two headers is damaged" : "no valid header");
	replay = r != -EUCLEAN && !get32(head.clean) && !c->opts->no_replay;
	r = reader_init(&c->rd, c->dev, &c->geo, replay, &c->res->recovery);
	c->res->replayed = replay && !r;
	if (!r || r == -ENOMEM || !replay)
		return r;
	report(c, CHECK_JOURNAL, 0, c->geo.jnl_sector, "journal: can't be replayed: %s",
	       err_text(r));
	return reader_init(&c->rd, c->dev, &c->geo, false, NULL);
}

static bool load_root(struct check *c)
{
	int r = reader_get(&c->rd, c->geo.root_sector, FMT_KIND_ROOT, c->root);

	if (r)
		report(c, CHECK_ROOT, 0, c->geo.root_sector, "root sector: %s",
		       r == -EBADMSG ? "wrong checksum" : r == -EUCLEAN ? "damaged" : err_text(r));
	return r == 0;
}

/* ---- all passes ---- */

static int alloc_tables(struct check *c)
{
	size_t words = BITMAP_WORDS(c->geo.nr_sectors);

	c->used = calloc(words, sizeof(u64));
	c->data = calloc(words, sizeof(u64));
	c->root = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	return c->used && c->data && c->root ? 0 : -ENOMEM;
}

static int run_passes(struct check *c)
{
	int r = alloc_tables(c);

	if (r)
		return r;
	r = open_reader(c);
	if (r)
		return r;
	progress(c, 1, 1, 1);
	if (!load_root(c)) {
		c->res->stopped = true;
		return 0;
	}
	mark_group_metadata(c);
	r = check_trees(c);
	if (!r && !check_stopped(c))
		check_links(c);
	if (!r && !check_stopped(c))
		r = check_space(c);
	return r;
}

static void free_tables(struct check *c)
{
	reader_fini(&c->rd);
	free(c->inos);
	free(c->root);
	free(c->data);
	free(c->used);
}

int check_run(struct blk_dev *dev, const struct check_opts *opts, struct check_result *out)
{
	struct check_result res;
	struct check c = { .dev = dev, .opts = opts ? opts : &no_opts, .res = &res };
	int r;

	memset(&res, 0, sizeof(res));
	r = find_super(&c);
	if (r)
		return r;
	res.geo = c.geo;
	if (c.geo.nr_sectors > blk_sectors(dev)) {
		report(&c, CHECK_DEVICE_SIZE, 0, CHECK_NO_SECTOR,
		       "the file system has %" PRIu64 " sectors, the device %" PRIu64,
		       c.geo.nr_sectors, blk_sectors(dev));
		res.stopped = true;
		*out = res;
		return 0;
	}
	check_copies(&c);
	r = run_passes(&c);
	free_tables(&c);
	if (!r)
		*out = res;
	return r;
}

int check_state(struct blk_dev *dev, struct check_state *out)
{
	struct check_state st;
	struct fmt_jnl_head head;
	struct fmt_root *root;
	u8 copy;
	int r;

	memset(&st, 0, sizeof(st));
	r = super_read(dev, 0, &st.geo, &copy);
	if (r)
		return r;
	if (st.geo.nr_sectors > blk_sectors(dev))
		return -EUCLEAN;
	r = reader_jnl_head(dev, &st.geo, &head);
	if (r)
		return r;
	st.clean = get32(head.clean);
	st.mounts = get32(head.mounts);
	st.mount_time = (s64)get64(head.mount_time);
	root = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	if (!root)
		return -ENOMEM;
	r = blk_read(dev, st.geo.root_sector, root, 1, BLK_META);
	if (!r)
		r = fmt_buf_check(root, FMT_KIND_ROOT, st.geo.root_sector, &st.geo);
	if (!r) {
		st.inodes = get64(root->nr_inodes);
		st.free_sectors = get64(root->free_sectors);
	}
	free(root);
	/* In place it may be torn as long as the log can mend it. */
	if (r && st.clean)
		return r;
	*out = st;
	return 0;
}
