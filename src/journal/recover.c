/*
 * Recovery: replay the transactions between the tail and the first one that is not whole.
 *
 * 1. The log ends at the first transaction that is not there in one piece: sequence, epoch and
 *    checksum of the whole.
 * 2. Two passes: revokes first, then records. A record older than a revoke of its buffer is void.
 * 3. Buffers are built up in memory, checked like any buffer read from the disk, and only then
 *    written, all of them, and flushed; then the log is declared empty. A crash in between
 *    leaves the log as it was, and the next recovery does the same again.
 * 4. A partial record needs a good base. A base that is torn is acceptable only if a whole image
 *    follows (checkpoint rule 2); if none does, the mount is refused.
 * 5. Read-only: the buffers go into the cache, pinned, and nothing is written.
 */
#include "base/log.h"
#include "journal/jnl_priv.h"

#include <stdlib.h>
#include <string.h>

struct rbuf {
	RB_ENTRY(rbuf) node;
	u64 addr;
	enum fmt_kind kind;
	u64 seq;                       /* newest transaction applied */
	int base_error;                /* the base was unusable and no whole image came yet */
	u8 *data;
};

struct rrev {
	RB_ENTRY(rrev) node;
	u64 addr, seq;
};

static int rbuf_cmp(struct rbuf *a, struct rbuf *b)
{
	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

static int rrev_cmp(struct rrev *a, struct rrev *b)
{
	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

RB_HEAD(jnl_rbuf_tree, rbuf);
RB_HEAD(jnl_rrev_tree, rrev);
RB_PROTOTYPE(jnl_rbuf_tree, rbuf, node, rbuf_cmp)
RB_GENERATE(jnl_rbuf_tree, rbuf, node, rbuf_cmp)
RB_PROTOTYPE(jnl_rrev_tree, rrev, node, rrev_cmp)
RB_GENERATE(jnl_rrev_tree, rrev, node, rrev_cmp)

struct scan {
	struct jnl *j;
	u64 epoch, seq, pos;           /* next transaction */
	u64 left;                      /* sectors of the ring not looked at */
	u8 *txn;                       /* current transaction */
	u64 txn_max;                   /* bytes allocated */
	struct jnl_rbuf_tree bufs;
	struct jnl_rrev_tree revokes;
	struct jnl_recovery *rec;
};

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
	r = jnl_log_read(s->j->dev, s->j->geo, s->pos, s->txn, 1);
	if (r)
		return r;
	h = (const struct fmt_txn *)s->txn;
	len = get64(h->len);
	if (get32(h->magic) != FMT_TXN_MAGIC || get64(h->epoch) != s->epoch ||
	    get64(h->seq) != s->seq || !len || len % SECTOR_SIZE || len / SECTOR_SIZE > s->left)
		return 0;
	r = scan_reserve(s, len);
	if (!r)
		r = jnl_log_read(s->j->dev, s->j->geo, s->pos, s->txn, len / SECTOR_SIZE);
	if (r)
		return r;
	return !fmt_txn_check(s->txn, len, s->epoch, s->seq);
}

static void scan_advance(struct scan *s)
{
	u64 nr = get64(((const struct fmt_txn *)s->txn)->len) / SECTOR_SIZE;

	s->pos = (s->pos + nr) % s->j->ring_nr;
	s->left -= nr;
	s->seq++;
}

static int scan_all(struct scan *s, const struct fmt_jnl_head *head, int (*fn)(struct scan *))
{
	int r;

	s->pos = get64(head->tail);
	s->seq = get64(head->tail_seq);
	s->left = s->j->ring_nr;
	while ((r = scan_next(s)) > 0) {
		r = fn(s);
		if (r)
			return r;
		scan_advance(s);
	}
	return r;
}

/* ---- pass 1: revokes ---- */

static int revoke_note(struct scan *s, u64 addr)
{
	struct rrev key = { .addr = addr };
	struct rrev *rv = RB_FIND(jnl_rrev_tree, &s->revokes, &key);

	if (!rv) {
		rv = calloc(1, sizeof(*rv));
		if (!rv)
			return -ENOMEM;
		rv->addr = addr;
		RB_INSERT(jnl_rrev_tree, &s->revokes, rv);
	}
	rv->seq = s->seq;
	s->rec->revoked++;
	return 0;
}

static int pass_revokes(struct scan *s)
{
	const struct fmt_rec *rec;
	const void *payload;
	u64 pos = 0;
	int r = 0;

	while (!r && fmt_rec_next(s->txn, &pos, &rec, &payload) > 0)
		if (get16(rec->type) == FMT_REC_REVOKE)
			r = revoke_note(s, get64(rec->addr));
	return r;
}

static bool revoked(struct scan *s, u64 addr)
{
	struct rrev key = { .addr = addr };
	struct rrev *rv = RB_FIND(jnl_rrev_tree, &s->revokes, &key);

	return rv && s->seq < rv->seq;
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

static int rbuf_get(struct scan *s, const struct fmt_rec *rec, struct rbuf **out)
{
	struct rbuf key = { .addr = get64(rec->addr) };
	struct rbuf *b = RB_FIND(jnl_rbuf_tree, &s->bufs, &key);
	enum fmt_kind kind = get16(rec->kind);

	if (b && b->kind == kind) {
		*out = b;
		return 0;
	}
	if (b && fmt_kind_sectors(b->kind) != fmt_kind_sectors(kind))
		return corrupt(WHY_JNL_RECORD, CORRUPT_NO_INO, key.addr);
	if (b) {
		b->kind = kind;
		*out = b;
		return 0;
	}
	if (!range_ok(s, key.addr, fmt_kind_sectors(kind)))
		return corrupt(WHY_JNL_RANGE, CORRUPT_NO_INO, key.addr);
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

/* The base of a partial record; -EIO ends recovery, a bad checksum is only noted. */
static int rbuf_base(struct scan *s, struct rbuf *b)
{
	int r;

	if (b->base_error != 1)
		return 0;
	r = blk_read(s->j->dev, b->addr, b->data, fmt_kind_sectors(b->kind), BLK_META);
	if (r)
		return r;
	b->base_error = fmt_hdr_check(b->data, rbuf_len(b), b->kind, b->addr, s->j->geo->fsid);
	return 0;
}

static int apply_fill(struct rbuf *b, const struct fmt_rec *rec)
{
	u64 off = get32(rec->off), count = get32(rec->count);
	le32 value = put32((u32)get64(rec->arg));

	if (off % 4 || off + count * 4 > rbuf_len(b))
		return corrupt(WHY_JNL_RECORD, CORRUPT_NO_INO, b->addr);
	for (u64 i = 0; i < count; i++)
		memcpy(b->data + off + i * 4, &value, 4);
	return 0;
}

static int apply_partial(struct scan *s, struct rbuf *b, const struct fmt_rec *rec,
			 const void *payload)
{
	u32 off = get32(rec->off), len = get32(rec->len);
	int r = rbuf_base(s, b);

	if (r)
		return r;
	if (get16(rec->type) == FMT_REC_FILL)
		return apply_fill(b, rec);
	if (off > rbuf_len(b) || len > rbuf_len(b) - off)
		return corrupt(WHY_JNL_RECORD, CORRUPT_NO_INO, b->addr);
	memcpy(b->data + off, payload, len);
	return 0;
}

static int apply_record(struct scan *s, const struct fmt_rec *rec, const void *payload)
{
	struct rbuf *b = NULL;
	int r;

	if (get16(rec->type) == FMT_REC_REVOKE || revoked(s, get64(rec->addr)))
		return 0;
	if (get16(rec->type) > FMT_REC_FILL)
		return corrupt(WHY_JNL_RECORD, CORRUPT_NO_INO, get64(rec->addr));
	r = rbuf_get(s, rec, &b);
	if (r)
		return r;
	if (get16(rec->type) == FMT_REC_WHOLE) {
		if (get32(rec->len) != rbuf_len(b))
			return corrupt(WHY_JNL_RECORD, CORRUPT_NO_INO, b->addr);
		memcpy(b->data, payload, rbuf_len(b));
		b->base_error = 0;
	} else {
		r = apply_partial(s, b, rec, payload);
	}
	b->seq = s->seq;
	s->rec->records++;
	return r;
}

static int pass_apply(struct scan *s)
{
	const struct fmt_rec *rec;
	const void *payload;
	u64 pos = 0;
	int r = 0;

	while (!r && fmt_rec_next(s->txn, &pos, &rec, &payload) > 0)
		r = apply_record(s, rec, payload);
	s->rec->transactions++;
	return r;
}

/* ---- finishing ---- */

static int rbuf_accept(struct scan *s, struct rbuf *b)
{
	if (b->base_error)
		return corrupt(WHY_JNL_CHECKSUM, CORRUPT_NO_INO, b->addr);
	fmt_hdr_seal(b->data, rbuf_len(b), b->seq);
	s->rec->buffers++;
	return fmt_buf_check(b->data, b->kind, b->addr, s->j->geo);
}

static int rbuf_to_cache(struct scan *s, struct rbuf *b)
{
	struct folio *f;
	int r = cache_get(&s->j->mapping, b->addr, buf_order(b->kind), CACHE_EXACT, &f);

	if (r)
		return r;
	memcpy(folio_data(f), b->data, rbuf_len(b));
	folio_mark_uptodate(f, 0, folio_sectors(f));
	folio_pin(f);                  /* the disk does not have it */
	folio_unlock(f);
	folio_put(f);
	return 0;
}

static int write_back(struct scan *s)
{
	struct rbuf *b;
	int r = 0;

	RB_FOREACH(b, jnl_rbuf_tree, &s->bufs) {
		r = rbuf_accept(s, b);
		if (r)
			return r;
	}
	RB_FOREACH(b, jnl_rbuf_tree, &s->bufs) {
		if (s->j->cfg.readonly)
			r = rbuf_to_cache(s, b);
		else
			r = blk_write(s->j->dev, b->addr, b->data, fmt_kind_sectors(b->kind),
				      BLK_META);
		if (r)
			return r;
	}
	return s->j->cfg.readonly ? 0 : blk_flush(s->j->dev);
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
	free(s->txn);
}

int jnl_recover(struct jnl *j, const struct fmt_jnl_head *head, struct jnl_recovery *rec,
		struct recovered *out)
{
	struct scan s = { .j = j, .epoch = get64(head->epoch), .rec = rec };
	int r;

	RB_INIT(&s.bufs);
	RB_INIT(&s.revokes);
	r = scan_all(&s, head, pass_revokes);
	if (!r)
		r = scan_all(&s, head, pass_apply);
	if (!r)
		r = write_back(&s);
	if (!r)
		*out = (struct recovered){ .next_seq = s.seq, .next_pos = s.pos };
	scan_fini(&s);
	return r;
}
