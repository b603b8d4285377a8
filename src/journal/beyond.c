/*
 * The log beyond its end.
 *
 * Recovery takes transactions up to the first one that is not whole, because that is what a power
 * cut leaves. Damage in the middle looks the same, and what follows would be lost without a word.
 * It is told apart by what follows: each transaction names the newest one that was durable when it
 * was written, so a whole one that names the missing one proves that this was damaged later.
 * The very last transaction has no such witness: losing it is what a power cut may do.
 *
 * Bounds: at most max_nr sectors of the ring are looked at, and what only looks like transactions
 * is read up to CHECK_RINGS times as much, so a crafted log costs no more than that.
 */
#include "journal/jnl_priv.h"

#include <stdlib.h>

#define WINDOW 256u
#define CHECK_RINGS 4u

struct look {
	struct blk_dev *dev;
	const struct fmt_geo *geo;
	u64 epoch, seq;                 /* of the transaction that is missing */
	u64 max_nr, budget;             /* sectors to look at; to be read for a checksum */
	u8 *txn;
	u64 txn_bytes;                  /* allocated */
	u8 *window;
};

/* A sector that can't be read is no transaction. */
static int look_read(struct look *l, u64 pos, void *buf, u64 nr)
{
	int r = jnl_log_read(l->dev, l->geo, pos, buf, nr);

	return r == -EIO ? 0 : r ? r : 1;
}

/* 1: the transaction at pos is whole, 0: it is not; -errno */
static int is_whole(struct look *l, u64 pos, const struct fmt_txn *head)
{
	u64 len = get64(head->len), epoch = get64(head->epoch), seq = get64(head->seq);
	int r;

	if (!len || len % SECTOR_SIZE || len > JNL_TXN_READ_MAX ||
	    len / SECTOR_SIZE > MIN(l->geo->jnl_nr - 2, l->budget))
		return 0;
	l->budget -= len / SECTOR_SIZE;
	if (len > l->txn_bytes) {
		free(l->txn);
		l->txn_bytes = 0;
		l->txn = aligned_alloc(SECTOR_SIZE, len);
		if (!l->txn)
			return -ENOMEM;
		l->txn_bytes = len;
	}
	r = look_read(l, pos, l->txn, len / SECTOR_SIZE);
	if (r <= 0)
		return r;
	r = fmt_txn_check(l->txn, len, epoch, seq);
	return r == -ENOMEM ? r : !r;
}

/* Does the transaction at pos prove that one before it was there? */
static int is_witness(struct look *l, u64 pos, const struct fmt_txn *t)
{
	u64 epoch = get64(t->epoch), seq = get64(t->seq);
	bool same = epoch == l->epoch && seq > l->seq && get64(t->durable) >= l->seq;
	/* The header of a later mount is gone, and what is left leads to an earlier one. */
	bool later = epoch > l->epoch && epoch <= l->epoch + 2;

	if (get32(t->magic) != FMT_TXN_MAGIC || (!same && !later))
		return 0;
	return is_whole(l, pos, t);
}

static int look_behind(struct look *l, u64 start, u64 *newest)
{
	u64 ring_nr = l->geo->jnl_nr - 2;
	int found = 0;

	for (u64 done = 0; done < l->max_nr; done += WINDOW) {
		u64 pos = (start + done) % ring_nr, nr = MIN(l->max_nr - done, (u64)WINDOW);
		int r = look_read(l, pos, l->window, nr);

		if (r < 0)
			return r;
		for (u64 i = 0; r && i < nr; i++) {
			const struct fmt_txn *t = (const void *)(l->window + i * SECTOR_SIZE);
			int w = is_witness(l, (pos + i) % ring_nr, t);

			if (w < 0)
				return w;
			if (w)
				*newest = MAX(*newest, get64(t->seq));
			found |= w;
		}
	}
	return found;
}

int log_look_beyond(struct blk_dev *dev, const struct fmt_geo *geo, u64 epoch,
		    const struct log_end *end, u64 max_nr, u64 *newest)
{
	struct look l = { .dev = dev, .geo = geo, .epoch = epoch, .seq = end->seq,
			  .max_nr = MIN(end->left, max_nr),
			  .budget = CHECK_RINGS * (geo->jnl_nr - 2) };
	int r = -ENOMEM;

	*newest = 0;
	l.window = aligned_alloc(SECTOR_SIZE, (size_t)WINDOW * SECTOR_SIZE);
	if (l.window)
		r = look_behind(&l, end->pos, newest);
	free(l.txn);
	free(l.window);
	return r;
}
