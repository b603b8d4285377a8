/*
 * The log on the disk: two header sectors written in turn, and the ring behind them.
 *
 * The header with the higher serial and a good checksum counts, so a torn header write leaves the
 * older one, whose tail is still good: ring space between an old and a new tail is used again only
 * after the new header was flushed (jnl_log_write_head() returns).
 */
#include "base/log.h"
#include "journal/jnl_priv.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static u64 ring_start(const struct fmt_geo *geo)
{
	return geo->jnl_sector + 2;
}

static u64 ring_len(const struct fmt_geo *geo)
{
	return geo->jnl_nr - 2;
}

int jnl_log_write(struct jnl *j, u64 pos, const void *image, u64 nr, bool durable)
{
	int (*write)(struct blk_dev *, u64, const void *, u32, enum blk_kind) =
		durable ? blk_write_durable : blk_write;
	u64 first = MIN(nr, j->ring_nr - pos);
	int r = write(j->dev, ring_start(j->geo) + pos, image, (u32)first, BLK_LOG);

	if (!r && nr > first)
		r = write(j->dev, ring_start(j->geo), (const u8 *)image + first * SECTOR_SIZE,
			  (u32)(nr - first), BLK_LOG);
	return r;
}

int jnl_log_read(struct blk_dev *dev, const struct fmt_geo *geo, u64 pos, void *buf, u64 nr)
{
	u64 first = MIN(nr, ring_len(geo) - pos);
	int r = blk_read(dev, ring_start(geo) + pos, buf, (u32)first, BLK_LOG);

	if (!r && nr > first)
		r = blk_read(dev, ring_start(geo), (u8 *)buf + first * SECTOR_SIZE,
			     (u32)(nr - first), BLK_LOG);
	return r;
}

/*
 * A cache so small that its share does not hold what the largest handle changes gives more to such
 * a handle, once few other buffers are changed: what stays pinned is not there for file data.
 */
static bool has_memory(const struct jnl *j, u64 bytes)
{
	return j->dirty_bytes + bytes <= j->dirty_share ||
	       (j->dirty_bytes <= checkpoint_down_to(j->dirty_share) &&
		j->dirty_bytes + bytes <= j->dirty_max);
}

bool jnl_log_has_room(struct jnl *j, const struct jnl_need *need, bool reserved)
{
	u64 total = sizeof(struct fmt_txn) + j->running->bytes + need->log;
	u64 nr = DIV_ROUND_UP(total, (u64)SECTOR_SIZE);
	u64 reserve = j->intent_reserve + j->sum_reserve + need->keep;

	if (total > j->txn_max)
		return false;
	if (j->used + nr + (reserved ? 0 : reserve) >= j->ring_nr)
		return false;
	return reserved || has_memory(j, need->memory);
}

u64 jnl_log_sums(struct jnl *j)
{
	u64 has = sizeof(struct fmt_txn) + j->running->bytes;
	u64 taken = j->used + j->intent_reserve + 1;
	u64 left = taken < j->ring_nr ? (j->ring_nr - taken) * SECTOR_SIZE : 0;

	return has < left ? (left - has) / sizeof(struct fmt_rec) : 0;
}

static void header_fill(const struct jnl *j, enum log_state state, u64 addr,
			struct fmt_jnl_head *h)
{
	memset(h, 0, sizeof(*h));
	fmt_hdr_init(h, FMT_KIND_JNL, addr, j->geo->fsid, 0);
	h->serial = put64(j->serial);
	h->epoch = put64(j->epoch);
	h->tail = put64(j->tail_pos);
	h->tail_seq = put64(j->tail_seq);
	h->clean = put32(state == LOG_CLEAN);
	h->recovering = put32(state == LOG_RECOVERING);
	/* Who does not know sums must not replay; without a log there is nothing to know. */
	if (state != LOG_CLEAN)
		h->hdr.version = put16(FMT_JNL_SUMS);
	h->mounts = put32(j->mounts);
	h->mount_time = put64((u64)time(NULL));
	fmt_hdr_seal(h, sizeof(*h), j->durable);
}

int jnl_log_write_head(struct jnl *j, enum log_state state)
{
	u64 addr = j->geo->jnl_sector + (++j->serial & 1);
	u64 failures = blk_flush_failures(j->dev);
	bool alone = blk_goes_alone(j->dev);
	int r;

	header_fill(j, state, addr, (struct fmt_jnl_head *)j->header);
	r = alone ? blk_write_durable(j->dev, addr, j->header, 1, BLK_LOG)
		  : blk_write(j->dev, addr, j->header, 1, BLK_LOG);
	/* The next one goes to the same place: the other header is the one that counts. */
	if (r)
		j->serial--;
	return r || alone ? r : blk_flush_since(j->dev, failures);
}

static enum why header_why(const struct fmt_jnl_head *h, const struct fmt_geo *geo, u64 addr)
{
	enum why why = fmt_buf_why(h, FMT_KIND_JNL, addr, geo);

	return why || get64(h->tail_seq) > 0 ? why : WHY_JNL_HEAD_SEQ;
}

int jnl_log_read_head(struct blk_dev *dev, const struct fmt_geo *geo, struct fmt_jnl_head *out,
		      bool *suspect)
{
	struct fmt_jnl_head *h = aligned_alloc(SECTOR_SIZE, 2 * SECTOR_SIZE);
	enum why why[2];
	bool second;
	int r;

	if (!h)
		return -ENOMEM;
	r = blk_read(dev, geo->jnl_sector, h, 2, BLK_LOG);
	for (unsigned i = 0; !r && i < 2; i++)
		why[i] = header_why(&h[i], geo, geo->jnl_sector + i);
	/* One alone may have been torn by a crash. */
	for (unsigned i = 0; !r && i < 2 && why[0] && why[1]; i++)
		corrupt(why[i], CORRUPT_NO_INO, geo->jnl_sector + i);
	if (!r && why[0] && why[1])
		r = -EUCLEAN;
	if (!r) {
		*suspect = why[0] || why[1];
		second = !why[1] && (why[0] || get64(h[1].serial) > get64(h[0].serial));
		*out = h[second];
	}
	free(h);
	return r;
}
