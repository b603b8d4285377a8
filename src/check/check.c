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
	if (super_find_copy(c->dev, r == -EINVAL, &c->geo, &sector))
		return r;
	/* Somebody may have taken the device for something else. */
	report_fix(c, CHECK_SUPER,
		   (struct fix){ .kind = r == -EINVAL ? FIX_SUPER_FOUND : FIX_SUPER },
		   "superblock: %s; using the copy at sector %" PRIu64, super_error(r), sector);
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
		report_fix(c, CHECK_SUPER_COPY,
			   (struct fix){ .kind = FIX_SUPER, .sector = at, .a = expect },
			   "copy of the superblock at sector %" PRIu64 ": %s", at,
			   r ? super_error(r) : "differs");
	}
}

/* ---- journal and root sector ---- */

static void check_heads(struct check *c, int err)
{
	struct fix fix = { .kind = err == -EBADMSG ? FIX_LOG_HEAD : FIX_LOG_RESET,
			   .sector = c->geo.jnl_sector };

	if (err)
		report_fix(c, CHECK_JOURNAL, fix, "journal: %s",
			   err == -EBADMSG ? "one of the two headers is damaged"
					   : "no valid header");
}

static int check_log(struct check *c, const struct fmt_jnl_head *head)
{
	struct jnl_lost lost;
	int r = jnl_look_beyond(c->dev, &c->geo, head, &lost);

	if (r <= 0)
		return r;
	report_fix(c, CHECK_JOURNAL_LOST,
		   (struct fix){ .kind = FIX_LOG_REPLAY, .sector = lost.sector },
		   "journal: transaction %" PRIu64 " is damaged, and others up to %" PRIu64
		   " were made after it", lost.first, lost.newest);
	return 0;
}

static int open_reader(struct check *c)
{
	struct fmt_jnl_head head;
	int r = reader_jnl_head(c->dev, &c->geo, &head), lost = 0;
	bool replay;

	if (r == -ENOMEM)
		return r;
	check_heads(c, r);
	/* A clean log has nothing that anybody needs, if its header is the newest one. */
	if (r != -EUCLEAN && !c->opts->no_replay && (r == -EBADMSG || !get32(head.clean)))
		lost = check_log(c, &head);
	if (lost)
		return lost;
	replay = r != -EUCLEAN && !get32(head.clean) && !c->opts->no_replay;
	r = reader_init(&c->rd, c->dev, &c->geo, replay, &c->res->recovery);
	c->res->replayed = replay && !r;
	if (!r || r == -ENOMEM || !replay)
		return r;
	report_fix(c, CHECK_JOURNAL,
		   (struct fix){ .kind = FIX_LOG_RESET, .sector = c->geo.jnl_sector },
		   "journal: can't be replayed: %s", err_text(r));
	return reader_init(&c->rd, c->dev, &c->geo, false, NULL);
}

static void check_root_copy(struct check *c)
{
	struct fmt_geo g = { 0 };
	int r = fmt_super_decode(&c->root->super, &g);

	/* As in the other copies. */
	memcpy(g.label, c->geo.label, sizeof(g.label));
	if (!r && memcmp(&g, &c->geo, sizeof(g)) == 0)
		return;
	/* Images made before there was a copy have nothing there. */
	if (r == -EINVAL && get64(c->root->super.csum) == 0)
		return;
	report_fix(c, CHECK_SUPER_COPY,
		   (struct fix){ .kind = FIX_ROOT_SUPER, .sector = c->geo.root_sector },
		   "copy of the superblock in the root sector: %s", r ? super_error(r) : "differs");
}

static bool load_root(struct check *c)
{
	int r = reader_get(&c->rd, c->geo.root_sector, FMT_KIND_ROOT, c->root);

	c->root_known = r == 0;
	if (r)
		report_fix(c, r == -EIO ? CHECK_READ : CHECK_ROOT,
			   (struct fix){ .kind = FIX_ROOT, .sector = c->geo.root_sector },
			   "root sector: %s", damage_text(r));
	return r == 0;
}

/* ---- all passes ---- */

static int alloc_tables(struct check *c)
{
	size_t words = BITMAP_WORDS(c->geo.nr_sectors);

	c->used = calloc(words, sizeof(u64));
	c->data = calloc(words, sizeof(u64));
	c->past_end = calloc(words, sizeof(u64));
	c->mine = calloc(BITMAP_WORDS(c->geo.nr_sectors / NODE_SECTORS), sizeof(u64));
	c->root = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	return c->used && c->data && c->past_end && c->mine && c->root ? 0 : -ENOMEM;
}

static int passes_over_trees(struct check *c)
{
	int r = check_trees(c);

	if (!r && !check_stopped(c))
		check_links(c);
	if (!r && !check_stopped(c))
		r = check_space(c);
	if (!r && c->opts->data && !check_stopped(c))
		r = check_data(c);
	return r;
}

int check_begin(struct check *c)
{
	int r = find_super(c);

	if (r)
		return r;
	c->res->geo = c->geo;
	if (c->geo.nr_sectors > blk_sectors(c->dev)) {
		report(c, CHECK_DEVICE_SIZE, 0, CHECK_NO_SECTOR,
		       "the file system has %" PRIu64 " sectors, the device %" PRIu64,
		       c->geo.nr_sectors, blk_sectors(c->dev));
		c->res->stopped = true;
		return 0;
	}
	check_copies(c);
	return 0;
}

int check_passes(struct check *c)
{
	int r = alloc_tables(c);

	if (r)
		return r;
	r = open_reader(c);
	if (r)
		return r;
	progress(c, 1, 1, 1);
	mark_group_metadata(c);
	if (load_root(c)) {
		check_root_copy(c);
		r = passes_over_trees(c);
	}
	if (!r && c->findings)
		r = lost_scan(c);
	if (!c->root_known)
		c->res->stopped = true;
	return r ? r : c->err;
}

void check_end(struct check *c)
{
	reader_fini(&c->rd);
	lost_free(&c->lost);
	free(c->inos);
	free(c->root);
	free(c->mine);
	free(c->past_end);
	free(c->data);
	free(c->used);
}

int check_run(struct blk_dev *dev, const struct check_opts *opts, struct check_result *out)
{
	struct check_result res = { 0 };
	struct check c = { .dev = dev, .opts = opts ? opts : &no_opts, .res = &res };
	int r = check_begin(&c);

	if (!r && !res.stopped)
		r = check_passes(&c);
	check_end(&c);
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
