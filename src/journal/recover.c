/*
 * Recovery: replay the transactions between the tail and the first one that is not whole.
 *
 * 1. The log ends at the first transaction that is not there in one piece: sequence, epoch and
 *    checksum of the whole.
 * 2. Two passes: revokes first, then records. A record older than a revoke of its buffer is void;
 *    so is file data older than an intent for its sector (data.c).
 * 3. Buffers are built up in memory, checked like any buffer read from the disk, and only then
 *    written, all of them, and flushed; then the log is declared empty. A crash in between
 *    leaves the log as it was, and the next recovery does the same again.
 * 4. A partial record needs a base. One that was torn by the checkpoint that wrote it is mended by
 *    replaying over it: of what differs between its sectors, the log has every byte. That it was
 *    no more than torn shows the sum that the log has of it (checkpoint rule 2). A base that is not
 *    good, and for which neither a sum fits nor a whole image follows, refuses the mount.
 * 5. Memory: a mount keeps changed buffers of twice the size of the log at most, and moves the tail
 *    once it has written as much as the log in place, so what is built up is some five times its
 *    size; a crafted log that asks for more than JNL_RECOVERY_RINGS times its size is refused. A
 *    transaction longer than TXN_READ_MAX was written by no FolioFS.
 * 6. Read-only: the buffers go into the cache, pinned, and nothing is written.
 * 7. A log that ends where it did not end once is damaged (beyond.c). Buffers in place may be newer
 *    than what is left of it, so they don't fit together, and nothing may be built on them: the
 *    journal becomes read-only, unless who opens it is about to repair the rest.
 * 8. Where the log is cut, older changes over a newer version in place would spoil it: that stays
 *    as it is. With a cut log, and for who repairs (cut_log), so does a buffer that can't be mended
 *    or read: it is found damaged, and costs no more than itself.
 * 9. What recovery itself writes in place has no sums. Before its first write the header says that
 *    everything in place was good, or torn and mended: what is not good when a next recovery finds
 *    that header was torn by this one. Where that is not so (rule 8), it does not say so.
 */
#include "base/log.h"
#include "journal/recover.h"

#include <stdlib.h>
#include <string.h>

/* Transactions: what is in place is not that much newer than the log. */
#define NEWER_MAX (1u << 30)
/* Behind the end at a mount: 64 MiB, which is several of the longest transactions. */
#define LOOK_NR 16384u

static int rbuf_cmp(struct rbuf *a, struct rbuf *b)
{
	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

static int rrev_cmp(struct rrev *a, struct rrev *b)
{
	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

RB_PROTOTYPE(jnl_rbuf_tree, rbuf, node, rbuf_cmp)
RB_GENERATE(jnl_rbuf_tree, rbuf, node, rbuf_cmp)
RB_PROTOTYPE(jnl_rrev_tree, rrev, node, rrev_cmp)
RB_GENERATE(jnl_rrev_tree, rrev, node, rrev_cmp)

/* ---- reading transactions ---- */

static int scan_reserve(struct scan *s, u64 bytes)
{
	u8 *p;

	if (bytes <= s->txn_max)
		return 0;
	p = aligned_alloc(SECTOR_SIZE, bytes);
	if (!p)
		return -ENOMEM;
	free(s->txn);
	s->txn = p;
	s->txn_max = bytes;
	return 0;
}

/* 1: s->txn holds the next transaction; 0: the log ends here; -errno. */
static int scan_next(struct scan *s)
{
	const struct fmt_txn *h;
	u64 len;
	int r = scan_reserve(s, SECTOR_SIZE);

	if (r || !s->left)
		return r;
	r = jnl_log_read(s->dev, s->geo, s->pos, s->txn, 1);
	if (r)
		return r;
	h = (const struct fmt_txn *)s->txn;
	len = get64(h->len);
	s->why = fmt_txn_head_why(h, s->epoch, s->seq);
	if (!s->why && (len > JNL_TXN_READ_MAX || len / SECTOR_SIZE > s->left))
		s->why = WHY_JNL_TXN_PAST;
	if (s->why)
		return 0;
	r = scan_reserve(s, len);
	if (!r)
		r = jnl_log_read(s->dev, s->geo, s->pos, s->txn, len / SECTOR_SIZE);
	if (!r)
		r = fmt_txn_why(s->txn, len, s->epoch, s->seq, &s->why);
	return r ? r : !s->why;
}

static void scan_advance(struct scan *s)
{
	u64 nr = get64(((const struct fmt_txn *)s->txn)->len) / SECTOR_SIZE;

	s->pos = (s->pos + nr) % (s->geo->jnl_nr - 2);
	s->left -= nr;
	s->seq++;
}

/* fn NULL: only to the end. */
static int scan_all(struct scan *s, const struct fmt_jnl_head *head, int (*fn)(struct scan *))
{
	int r;

	s->pos = get64(head->tail);
	s->seq = get64(head->tail_seq);
	s->left = s->geo->jnl_nr - 2;
	while ((r = scan_next(s)) > 0) {
		r = fn ? fn(s) : 0;
		if (r)
			return r;
		scan_advance(s);
	}
	return r;
}

/* ---- pass 1: revokes ---- */

/* A record of something at these addresses: what a later revoke may speak of. */
static int known_note(struct scan *s, u64 addr, u32 nr)
{
	for (u64 end = addr + nr; addr < end; addr++) {
		struct rrev *rv = calloc(1, sizeof(*rv));

		if (!rv)
			return -ENOMEM;
		rv->addr = addr;
		if (RB_INSERT(jnl_rrev_tree, &s->revokes, rv))
			free(rv);
	}
	return 0;
}

/* Whatever came before and lies in the range: void, or only as far as it is file data. */
static void revoke_note(struct scan *s, u64 addr, u64 nr, u64 seq, bool data_only)
{
	struct rrev key = { .addr = addr };

	for (struct rrev *rv = RB_NFIND(jnl_rrev_tree, &s->revokes, &key);
	     rv && rv->addr - addr < nr; rv = RB_NEXT(jnl_rrev_tree, &s->revokes, rv)) {
		if (data_only)
			rv->data_seq = MAX(rv->data_seq, seq);
		else
			rv->seq = MAX(rv->seq, seq);
	}
}

static int revokes_of(struct scan *s, const struct fmt_rec *rec)
{
	u64 addr = get64(rec->addr);

	switch (get16(rec->type)) {
	case FMT_REC_BYTES:
	case FMT_REC_WHOLE:
	case FMT_REC_FILL:
		return known_note(s, addr, 1);
	case FMT_REC_DATA:
		return known_note(s, addr, get32(rec->count));
	case FMT_REC_REVOKE:
		revoke_note(s, addr, get32(rec->count), s->seq, false);
		s->rec->revoked++;
		return 0;
	case FMT_REC_INTENT:
		if (jnl_omitted != JNL_OMIT_VOID)
			revoke_note(s, addr, get32(rec->count), get64(rec->arg), true);
		return 0;
	}
	return 0;
}

static int pass_revokes(struct scan *s)
{
	const struct fmt_rec *rec;
	const void *payload;
	u64 pos = 0;
	int r = 0;

	while (!r && fmt_rec_next(s->txn, &pos, &rec, &payload) > 0)
		r = revokes_of(s, rec);
	return r;
}

static bool revoked(struct scan *s, u64 addr, bool data)
{
	struct rrev key = { .addr = addr };
	struct rrev *rv = RB_FIND(jnl_rrev_tree, &s->revokes, &key);

	return rv && (s->seq < rv->seq || (data && s->seq < rv->data_seq));
}

/* ---- pass 2: records ---- */

static u32 rbuf_len(const struct rbuf *b)
{
	return fmt_kind_sectors(b->kind) * SECTOR_SIZE;
}

static bool range_ok(struct scan *s, u64 addr, u32 nr)
{
	return nr && addr % nr == 0 && addr < s->j->geo->nr_sectors &&
	       nr <= s->j->geo->nr_sectors - addr;
}

struct rbuf *rbuf_find(struct scan *s, u64 addr)
{
	struct rbuf key = { .addr = addr };

	return RB_FIND(jnl_rbuf_tree, &s->bufs, &key);
}

static int rbuf_get(struct scan *s, u64 addr, enum fmt_kind kind, struct rbuf **out)
{
	struct rbuf key = { .addr = addr };
	struct rbuf *b = rbuf_find(s, addr);

	if (b && b->kind == kind) {
		*out = b;
		return 0;
	}
	if (b && fmt_kind_sectors(b->kind) != fmt_kind_sectors(kind))
		return corrupt(WHY_JNL_BUF_SIZE, CORRUPT_NO_INO, key.addr);
	if (b) {
		b->kind = kind;
		*out = b;
		return 0;
	}
	if (!range_ok(s, key.addr, fmt_kind_sectors(kind)))
		return corrupt(WHY_JNL_BUF_RANGE, CORRUPT_NO_INO, key.addr);
	s->buf_bytes += fmt_kind_sectors(kind) * SECTOR_SIZE;
	if (s->buf_bytes > JNL_RECOVERY_RINGS * s->j->ring_nr * SECTOR_SIZE)
		return corrupt(WHY_JNL_BUF_SUM, CORRUPT_NO_INO, key.addr);
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->addr = key.addr;
	b->kind = kind;
	b->base_error = 1;
	b->data = aligned_alloc(SECTOR_SIZE, rbuf_len(b));
	if (!b->data) {
		free(b);
		return -ENOMEM;
	}
	RB_INSERT(jnl_rbuf_tree, &s->bufs, b);
	*out = b;
	return 0;
}

static bool is_partial(const struct fmt_rec *rec)
{
	return get16(rec->type) == FMT_REC_BYTES || get16(rec->type) == FMT_REC_FILL;
}

static void rbuf_io_done(struct blk_io *io)
{
	(void)io;                      /* the buffer keeps the error */
}

/* Its place is read or written, with others. */
static void rbuf_io(struct rbuf *b, enum blk_op op, struct blk_batch *batch)
{
	b->iov = (struct iovec){ b->data, rbuf_len(b) };
	b->io = (struct blk_io){ .op = op, .sector = b->addr, .nr = fmt_kind_sectors(b->kind),
		.kind = b->kind == FMT_KIND_DATA ? BLK_DATA : BLK_META,
		.iov = &b->iov, .nr_iov = 1, .done = rbuf_io_done };
	blk_batch_add(batch, &b->io);
}

/*
 * An error of the device ends recovery; a wrong checksum is only noted. Rule 8: so is what can't be
 * read, if that is no passing error, after which an old version would be found good.
 */
static int base_look(struct scan *s, struct rbuf *b)
{
	u64 gen;

	if (b->io.res == -EIO && s->lenient)
		b->io.res = blk_read(s->j->dev, b->addr, b->data, fmt_kind_sectors(b->kind),
				     BLK_META);
	if (b->io.res && (b->io.res != -EIO || !s->lenient))
		return b->io.res;
	b->base_error = b->io.res;
	/* Rule 9. */
	if (!b->base_error && !s->again)
		b->base_error = fmt_hdr_check(b->data, rbuf_len(b), b->kind, b->addr,
					      s->j->geo->fsid);
	gen = get64(((const struct fmt_hdr *)b->data)->gen);
	/* Rule 8. */
	if (b->base_error || !s->cut || gen - s->end_seq >= NEWER_MAX)
		return 0;
	b->newer = true;
	b->seq = gen;
	s->newest_gen = MAX(s->newest_gen, gen);
	return 0;
}

/* Partial records build on what is in place; in a cut log any may be older than that (rule 8). */
static bool asks_base(const struct scan *s, const struct fmt_rec *rec)
{
	return is_partial(rec) || (s->cut && get16(rec->type) == FMT_REC_WHOLE);
}

/* Reads what the records of the transaction build on, all of it at once. */
static int bases_read(struct scan *s)
{
	struct blk_batch batch;
	const struct fmt_rec *rec;
	const void *payload;
	struct rbuf *b;
	u64 pos = 0;
	int r = 0, err;

	STAILQ_INIT(&s->fresh);
	blk_batch_init(&batch, s->j->dev);
	while (fmt_rec_next(s->txn, &pos, &rec, &payload) > 0) {
		u64 addr = get64(rec->addr);

		if (!asks_base(s, rec) || revoked(s, addr, false) || rbuf_find(s, addr))
			continue;
		r = rbuf_get(s, addr, get16(rec->kind), &b);
		if (r)
			break;
		STAILQ_INSERT_TAIL(&s->fresh, b, fresh_link);
		rbuf_io(b, BLK_READ, &batch);
	}
	err = blk_batch_fini(&batch);
	STAILQ_FOREACH(b, &s->fresh, fresh_link)
		r = r ? r : base_look(s, b);
	/* -ENOMEM and the like: nothing was read. */
	return r || (s->lenient && err == -EIO) ? r : err;
}

static int apply_fill(struct rbuf *b, const struct fmt_rec *rec)
{
	u64 off = get32(rec->off), count = get32(rec->count);
	le32 value = put32((u32)get64(rec->arg));

	if (off % 4 || off + count * 4 > rbuf_len(b))
		return corrupt(WHY_JNL_APPLY_FILL, CORRUPT_NO_INO, b->addr);
	for (u64 i = 0; i < count; i++)
		memcpy(b->data + off + i * 4, &value, 4);
	return 0;
}

static int apply_partial(struct rbuf *b, const struct fmt_rec *rec, const void *payload)
{
	u32 off = get32(rec->off), len = get32(rec->len);

	if (get16(rec->type) == FMT_REC_FILL)
		return apply_fill(b, rec);
	if (off > rbuf_len(b) || len > rbuf_len(b) - off)
		return corrupt(WHY_JNL_APPLY_BYTES, CORRUPT_NO_INO, b->addr);
	memcpy(b->data + off, payload, len);
	return 0;
}

static int apply_data(struct scan *s, const struct fmt_rec *rec, const u8 *payload)
{
	struct rbuf *b = NULL;
	int r = 0;

	for (u32 i = 0; i < get32(rec->count) && !r; i++) {
		u64 addr = get64(rec->addr) + i;

		if (revoked(s, addr, true))
			continue;
		r = rbuf_get(s, addr, FMT_KIND_DATA, &b);
		if (r)
			return r;
		memcpy(b->data, payload + (size_t)i * SECTOR_SIZE, SECTOR_SIZE);
		b->base_error = 0;
		b->seq = s->seq;
	}
	s->rec->records++;
	return r;
}

static int apply_buffer(struct scan *s, const struct fmt_rec *rec, const void *payload)
{
	struct rbuf *b = NULL;
	int r;

	if (revoked(s, get64(rec->addr), false))
		return 0;
	r = rbuf_get(s, get64(rec->addr), get16(rec->kind), &b);
	if (r || b->newer)
		return r;
	if (get16(rec->type) == FMT_REC_WHOLE) {
		if (get32(rec->len) != rbuf_len(b))
			return corrupt(WHY_JNL_APPLY_WHOLE, CORRUPT_NO_INO, b->addr);
		memcpy(b->data, payload, rbuf_len(b));
		b->base_error = 0;
	} else {
		r = apply_partial(b, rec, payload);
	}
	b->seq = s->seq;
	s->rec->records++;
	return r;
}

/* Rule 4. */
static void apply_sum(struct scan *s, const struct fmt_rec *rec)
{
	struct rbuf *b = rbuf_find(s, get64(rec->addr));

	if (b && b->base_error && b->kind == get16(rec->kind) &&
	    fmt_buf_sum(b->data, rbuf_len(b)) == get64(rec->arg))
		b->base_error = 0;
}

static int apply_record(struct scan *s, const struct fmt_rec *rec, const void *payload)
{
	switch (get16(rec->type)) {
	case FMT_REC_BYTES:
	case FMT_REC_WHOLE:
	case FMT_REC_FILL:
		return apply_buffer(s, rec, payload);
	case FMT_REC_DATA:
		return apply_data(s, rec, payload);
	case FMT_REC_SUM:
		apply_sum(s, rec);
		return 0;
	case FMT_REC_INTENT:
		return rintent_note(s, rec, payload);
	case FMT_REC_INTENT_END:
		rintent_end(s, rec);
		return 0;
	}
	return 0;
}

static int pass_apply(struct scan *s)
{
	const struct fmt_rec *rec;
	const void *payload;
	u64 pos = 0;
	int r = bases_read(s);

	while (!r && fmt_rec_next(s->txn, &pos, &rec, &payload) > 0)
		r = apply_record(s, rec, payload);
	s->rec->transactions++;
	return r;
}

/* ---- finishing ---- */

static int rbuf_accept(struct scan *s, struct rbuf *b)
{
	enum why why = WHY_JNL_CHECKSUM;
	int r;

	s->rec->buffers++;
	if (b->kind == FMT_KIND_DATA)
		return 0;
	if (!b->base_error) {
		fmt_hdr_seal(b->data, rbuf_len(b), b->seq);
		why = fmt_buf_why(b->data, b->kind, b->addr, s->j->geo);
	}
	if (!why)
		return 0;
	r = corrupt(why, CORRUPT_NO_INO, b->addr);
	if (!s->lenient)
		return r;
	b->base_error = r;
	s->was_left = true;
	return 0;
}

/* A read-only mount finds the sector as jnl_data_read() does. */
static int data_attach(struct jnl *j, struct folio *f)
{
	struct jnl_buf *b = buf_new(f, f->index, FMT_KIND_DATA);

	if (!b)
		return -ENOMEM;
	mutex_lock(&j->lock);
	buf_attach(j, b);
	mutex_unlock(&j->lock);
	return 0;
}

static int rbuf_to_cache(struct scan *s, struct rbuf *b)
{
	struct folio *f;
	int r = cache_get(&s->j->mapping, b->addr, buf_order(b->kind), CACHE_EXACT, &f);

	if (r)
		return r;
	memcpy(folio_data(f), b->data, rbuf_len(b));
	folio_mark_uptodate(f, 0, folio_sectors(f));
	if (b->kind == FMT_KIND_DATA)
		r = data_attach(s->j, f);
	else
		folio_pin(f);          /* the disk does not have it */
	folio_unlock(f);
	folio_put(f);
	return r;
}

static int bufs_to_cache(struct scan *s)
{
	struct rbuf *b;
	int r = 0;

	RB_FOREACH(b, jnl_rbuf_tree, &s->bufs)
		if (!r && !b->base_error)
			r = rbuf_to_cache(s, b);
	return r;
}

static int bufs_to_place(struct scan *s)
{
	struct blk_batch batch;
	struct rbuf *b;
	int r;

	blk_batch_init(&batch, s->j->dev);
	RB_FOREACH(b, jnl_rbuf_tree, &s->bufs)
		if (!b->base_error)
			rbuf_io(b, BLK_WRITE, &batch);
	r = blk_batch_fini(&batch);
	return r ? r : blk_flush(s->j->dev);
}

static int write_back(struct scan *s)
{
	struct rbuf *b;
	int r = rintents_settle(s);

	RB_FOREACH(b, jnl_rbuf_tree, &s->bufs)
		r = r ? r : rbuf_accept(s, b);
	if (r)
		return r;
	if (s->j->cfg.readonly)
		return bufs_to_cache(s);
	if (!s->cut && !s->was_left && jnl_omitted != JNL_OMIT_RECOVERING)
		r = jnl_log_write_head(s->j, LOG_RECOVERING);
	return r ? r : bufs_to_place(s);
}

static void scan_fini(struct scan *s)
{
	struct rbuf *b, *bn;
	struct rrev *rv, *rn;

	RB_FOREACH_SAFE(b, jnl_rbuf_tree, &s->bufs, bn) {
		RB_REMOVE(jnl_rbuf_tree, &s->bufs, b);
		free(b->data);
		free(b);
	}
	RB_FOREACH_SAFE(rv, jnl_rrev_tree, &s->revokes, rn) {
		RB_REMOVE(jnl_rrev_tree, &s->revokes, rv);
		free(rv);
	}
	rintents_free(s);
	free(s->txn);
}

/* ---- the end ---- */

static struct log_end scan_end(const struct scan *s)
{
	return (struct log_end){ .seq = s->seq, .pos = s->pos, .left = s->left,
				 .why = s->why };
}

/* Rule 7. */
static int judge_end(struct scan *s, const struct log_end *end, bool suspect)
{
	u64 newest;
	u64 nr = suspect || s->j->cfg.cut_log ? UINT64_MAX : LOOK_NR;
	int r = log_look_beyond(s->dev, s->geo, s->epoch, end, nr, &newest);

	s->cut = r > 0;
	s->lenient = s->cut || s->j->cfg.cut_log;
	if (r <= 0 || s->j->cfg.cut_log)
		return MIN(r, 0);
	s->rec->lost_first = end->seq;
	s->rec->lost_newest = newest;
	s->j->cfg.readonly = true;
	log_err("journal: transaction %llu is damaged, and others up to %llu were made after it: "
		"changes from there on are lost; read-only, fsck.foliofs -y repairs",
		(unsigned long long)end->seq, (unsigned long long)newest);
	corrupt(WHY_JNL_LOST, CORRUPT_NO_INO, s->geo->jnl_sector + 2 + end->pos);
	if (end->why)
		corrupt(end->why, CORRUPT_NO_INO, s->geo->jnl_sector + 2 + end->pos);
	return 0;
}

int jnl_look_beyond(struct blk_dev *dev, const struct fmt_geo *geo, const struct fmt_jnl_head *head,
		    struct jnl_lost *out)
{
	struct scan s = { .dev = dev, .geo = geo, .epoch = get64(head->epoch) };
	int r = scan_all(&s, head, NULL);
	struct log_end end = scan_end(&s);

	free(s.txn);
	if (r && r != -EIO)
		return r;
	out->first = end.seq;
	out->sector = geo->jnl_sector + 2 + end.pos;
	return log_look_beyond(dev, geo, s.epoch, &end, UINT64_MAX, &out->newest);
}

int jnl_recover(struct jnl *j, const struct fmt_jnl_head *head, struct jnl_recovery *rec,
		bool suspect, struct log_end *out)
{
	struct scan s = { .j = j, .dev = j->dev, .geo = j->geo, .epoch = get64(head->epoch),
			  .rec = rec, .tail_seq = get64(head->tail_seq) };
	struct log_end end;
	int r;

	RB_INIT(&s.bufs);
	RB_INIT(&s.revokes);
	TAILQ_INIT(&s.intents);
	r = scan_all(&s, head, pass_revokes);
	end = scan_end(&s);
	if (!r)
		r = judge_end(&s, &end, suspect);
	s.again = get32(head->recovering) && !s.cut;
	s.end_seq = end.seq;
	if (!r)
		r = scan_all(&s, head, pass_apply);
	if (!r)
		r = write_back(&s);
	/* Numbers that are in place are not given again. */
	end.seq = MAX(end.seq, s.newest_gen + 1);
	if (!r)
		*out = end;
	scan_fini(&s);
	return r;
}
