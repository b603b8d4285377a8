/*
 * The log beyond its end.
 *
 * Recovery takes transactions up to the first one that is not whole, because that is what a power
 * cut leaves. Damage in the middle looks the same, and what follows would be lost without a word.
 * It is told apart by what follows: each transaction names the newest one that was durable when it
 * was written, so a whole one that names the missing one proves that this was damaged later.
 * The very last transaction has no such witness: losing it is what a power cut may do.
 */
#include "check/check_priv.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW 256u

struct ring {
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	u64 nr;                 /* sectors */
	u64 epoch, seq, pos;    /* the next transaction */
	u8 *txn;
	u64 txn_bytes;          /* allocated */
};

static int ring_read(struct ring *g, u64 pos, void *buf, u64 nr)
{
	u64 first = MIN(nr, g->nr - pos), start = g->geo->jnl_sector + 2;
	int r = blk_read(g->dev, start + pos, buf, (u32)first, BLK_LOG);

	if (!r && nr > first)
		r = blk_read(g->dev, start, (u8 *)buf + first * SECTOR_SIZE, (u32)(nr - first),
			     BLK_LOG);
	return r;
}

/* The sectors of the whole transaction at pos, 0 = there is none, -errno. */
static s64 txn_load(struct ring *g, u64 pos, const struct fmt_txn *head, u64 epoch, u64 seq)
{
	u64 len = get64(head->len);
	int r;

	if (get32(head->magic) != FMT_TXN_MAGIC || get64(head->epoch) != epoch ||
	    get64(head->seq) != seq || !len || len % SECTOR_SIZE || len / SECTOR_SIZE > g->nr)
		return 0;
	if (len > g->txn_bytes) {
		free(g->txn);
		g->txn_bytes = 0;
		g->txn = aligned_alloc(SECTOR_SIZE, len);
		if (!g->txn)
			return -ENOMEM;
		g->txn_bytes = len;
	}
	r = ring_read(g, pos, g->txn, len / SECTOR_SIZE);
	if (r)
		return r == -EIO ? 0 : r;
	return fmt_txn_check(g->txn, len, epoch, seq) ? 0 : (s64)(len / SECTOR_SIZE);
}

/* Goes to the end as recovery does. *left: sectors of the ring behind it. */
static int find_end(struct ring *g, u8 *head, u64 *left)
{
	s64 nr = 1;

	*left = g->nr;
	while (nr > 0 && *left) {
		int r = ring_read(g, g->pos, head, 1);

		if (r)
			return r == -EIO ? 0 : r;
		nr = txn_load(g, g->pos, (const void *)head, g->epoch, g->seq);
		if (nr <= 0 || (u64)nr > *left)
			break;
		g->pos = (g->pos + (u64)nr) % g->nr;
		*left -= (u64)nr;
		g->seq++;
	}
	return nr < 0 ? (int)nr : 0;
}

/* Does the transaction at pos prove that one before it was there? */
static int is_witness(struct ring *g, u64 pos, const struct fmt_txn *t)
{
	u64 epoch = get64(t->epoch), seq = get64(t->seq);
	bool same = epoch == g->epoch && seq > g->seq && get64(t->durable) >= g->seq;
	/* The header of a later mount is gone, and what is left leads to an earlier one. */
	bool later = epoch > g->epoch && epoch <= g->epoch + 2;
	s64 nr;

	if (get32(t->magic) != FMT_TXN_MAGIC || (!same && !later))
		return 0;
	nr = txn_load(g, pos, t, epoch, seq);
	return nr < 0 ? (int)nr : nr > 0;
}

static int look_behind(struct ring *g, u8 *window, u64 left, u64 *newest)
{
	int found = 0;

	for (u64 done = 0; done < left; done += WINDOW) {
		u64 pos = (g->pos + done) % g->nr, nr = MIN(left - done, (u64)WINDOW);
		int r = ring_read(g, pos, window, nr);

		for (u64 i = 0; !r && i < nr; i++) {
			const struct fmt_txn *t = (const void *)(window + i * SECTOR_SIZE);
			int w = is_witness(g, (pos + i) % g->nr, t);

			if (w < 0)
				return w;
			if (w)
				*newest = MAX(*newest, get64(t->seq));
			found |= w;
		}
		if (r && r != -EIO)
			return r;
	}
	return found;
}

int log_beyond_end(struct blk_dev *dev, const struct fmt_geo *geo, const struct fmt_jnl_head *head,
		   u64 *seq, u64 *newest)
{
	struct ring g = { .dev = dev, .geo = geo, .nr = geo->jnl_nr - 2,
			  .epoch = get64(head->epoch), .seq = get64(head->tail_seq),
			  .pos = get64(head->tail) };
	u8 *window = aligned_alloc(SECTOR_SIZE, (size_t)WINDOW * SECTOR_SIZE);
	u64 left = 0;
	int r;

	if (!window)
		return -ENOMEM;
	*newest = 0;
	r = find_end(&g, window, &left);
	if (!r)
		r = look_behind(&g, window, left, newest);
	*seq = g.seq;
	free(g.txn);
	free(window);
	return r;
}
