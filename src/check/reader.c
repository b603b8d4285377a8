/*
 * Reading metadata buffers for check and dump.
 *
 * Rules
 * 1. What reader_get() returns has passed fmt_content_check(): no caller looks at bounds again.
 * 2. With a log to replay every buffer comes from a read-only journal; nothing is written, on the
 *    device or in the image.
 * 3. The window of read-ahead sectors is valid only for reading in place, where nothing changes.
 */
#include "check/check_priv.h"

#include <stdlib.h>
#include <string.h>

#include "mem/mem.h"

#define READER_CACHE_MIN (64ull << 20)

int reader_jnl_head(struct blk_dev *dev, const struct fmt_geo *geo, struct fmt_jnl_head *out)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);
	unsigned good = 0;
	int r = 0;

	if (!h)
		return -ENOMEM;
	for (u64 i = 0; i < 2; i++) {
		u64 addr = geo->jnl_sector + i;

		r = blk_read(dev, addr, h, 1, BLK_META);
		if (!r)
			r = fmt_buf_check(h, FMT_KIND_JNL, addr, geo);
		if (r)
			continue;
		if (!good || get64(h->serial) > get64(out->serial))
			*out = *h;
		good++;
	}
	free(h);
	if (good == 2)
		return 0;
	return good ? -EBADMSG : -EUCLEAN;
}

/* The replayed buffers stay in memory: give them room in proportion to the log. */
static int own_cache(struct reader *r)
{
	struct cache_config cfg = {
		.bytes = READER_CACHE_MIN + r->geo->jnl_nr * SECTOR_SIZE * JNL_RECOVERY_RINGS,
		.max_order = 0xff,
	};
	int err;

	if (mem_total_bytes() != 0)
		return 0;
	err = cache_init(&cfg);
	r->own_cache = err == 0;
	return err;
}

static int open_journal(struct reader *r, struct jnl_recovery *rec)
{
	struct jnl_config cfg = { .dev = r->dev, .geo = r->geo, .readonly = true,
				  .cut_log = true };
	int err = own_cache(r);

	return err ? err : jnl_open(&cfg, &r->jnl, rec);
}

int reader_init(struct reader *r, struct blk_dev *dev, const struct fmt_geo *geo, bool replay,
		struct jnl_recovery *rec)
{
	int err = 0;

	memset(r, 0, sizeof(*r));
	r->dev = dev;
	r->geo = geo;
	if (replay)
		err = open_journal(r, rec);
	if (err) {
		r->jnl = NULL;
		reader_fini(r);
	}
	return err;
}

void reader_fini(struct reader *r)
{
	if (r->jnl)
		jnl_close(r->jnl, false);
	r->jnl = NULL;
	if (r->own_cache)
		cache_fini();
	r->own_cache = false;
	free(r->window);
	r->window = NULL;
}

static int get_in_place(struct reader *r, u64 addr, enum fmt_kind k, void *buf)
{
	u32 nr = fmt_kind_sectors(k);
	int err;

	if (addr >= r->window_start && addr - r->window_start + nr <= r->window_nr) {
		memcpy(buf, r->window + (addr - r->window_start) * SECTOR_SIZE, nr * SECTOR_SIZE);
	} else {
		err = blk_read(r->dev, addr, buf, nr, BLK_META);
		if (err)
			return err;
	}
	return fmt_buf_check(buf, k, addr, r->geo);
}

int reader_get(struct reader *r, u64 addr, enum fmt_kind k, void *buf)
{
	int err;

	if (addr + fmt_kind_sectors(k) > r->geo->nr_sectors)
		return -EUCLEAN;
	if (!r->jnl)
		return get_in_place(r, addr, k, buf);
	err = jnl_copy(r->jnl, addr, k, buf);
	return err ? err : fmt_content_check(buf, k, r->geo);
}

void reader_ahead(struct reader *r, u64 addr, u32 nr)
{
	r->window_nr = 0;
	if (r->jnl || nr < 2 || nr > READER_WINDOW || addr + nr > r->geo->nr_sectors)
		return;
	if (!r->window)
		r->window = aligned_alloc(SECTOR_SIZE, READER_WINDOW * SECTOR_SIZE);
	if (!r->window)
		return;
	if (blk_read(r->dev, addr, r->window, nr, BLK_META))
		return;
	r->window_start = addr;
	r->window_nr = nr;
}
