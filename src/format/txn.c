/*
 * Transactions as they lie in the log: checksum, bounds of every record, and the iterator.
 *
 * Rules
 * 1. fmt_rec_next() is used only on what fmt_txn_check() passed: it trusts lengths.
 * 2. A record's range lies inside the buffer that its kind names, so replay copies without
 *    looking again. Addresses are checked against the device by replay, which knows the geometry.
 *
 * Pure functions, no locks.
 */
#include "format/format.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"

/* *pos of the iterator: offset of the next record, above it the number of records passed. */
#define POS_BITS 40
#define POS_MASK ((1ull << POS_BITS) - 1)

_Static_assert(FMT_TXN_BYTES_MAX < 1ull << POS_BITS, "offsets fit");
_Static_assert(FMT_TXN_RECORDS_MAX <= 1u << (64 - POS_BITS), "counts fit");

void fmt_txn_seal(void *buf)
{
	struct fmt_txn *t = buf;

	t->csum = put64(0);
	t->csum = put64(hash64(buf, get64(t->len)));
}

/* The same over bytes that must not change. */
static int txn_csum(const void *buf, u64 len, u64 *out)
{
	struct fmt_txn head = *(const struct fmt_txn *)buf;
	struct hash_stream *hs = hash_stream_new(0);

	if (!hs)
		return -ENOMEM;
	head.csum = put64(0);
	hash_stream_add(hs, &head, sizeof(head));
	hash_stream_add(hs, (const u8 *)buf + sizeof(head), len - sizeof(head));
	*out = hash_stream_end(hs);
	return 0;
}

static bool kind_is_buffer(u32 kind)
{
	return kind >= FMT_KIND_ROOT && kind <= FMT_KIND_NODE;
}

static u64 kind_bytes(u32 kind)
{
	return (u64)fmt_kind_sectors((enum fmt_kind)kind) * SECTOR_SIZE;
}

/* The payload has passed: it ends inside the transaction. */
static enum why rec_why(const struct fmt_rec *r)
{
	u32 kind = get16(r->kind);
	u64 off = get32(r->off), len = get32(r->len), count = get32(r->count);
	bool buffer = kind_is_buffer(kind);

	switch (get16(r->type)) {
	case FMT_REC_BYTES:
		return buffer && len > 0 && off + len <= kind_bytes(kind) ? WHY_NONE
									  : WHY_JNL_REC_BYTES;
	case FMT_REC_WHOLE:
		return buffer && off == 0 && len == kind_bytes(kind) ? WHY_NONE : WHY_JNL_REC_WHOLE;
	case FMT_REC_FILL:
		return buffer && len == 0 && off % 4 == 0 && off >= sizeof(struct fmt_hdr) &&
		       off + count * 4 <= kind_bytes(kind) ? WHY_NONE : WHY_JNL_REC_FILL;
	case FMT_REC_REVOKE:
		return len == 0 && count > 0 ? WHY_NONE : WHY_JNL_REC_REVOKE;
	case FMT_REC_INTENT:
		return count > 0 && len == count * 4 ? WHY_NONE : WHY_JNL_REC_INTENT;
	case FMT_REC_INTENT_END:
		return len == 0 ? WHY_NONE : WHY_JNL_REC_INTENT_END;
	case FMT_REC_DATA:
		return count > 0 && len == count * SECTOR_SIZE ? WHY_NONE : WHY_JNL_REC_DATA;
	case FMT_REC_SUM:
		return buffer && len == 0 ? WHY_NONE : WHY_JNL_REC_SUM;
	}
	return WHY_JNL_REC_TYPE;
}

static enum why records_why(const u8 *buf, u64 len)
{
	u32 nr = get32(((const struct fmt_txn *)buf)->nr_records);
	u64 off = sizeof(struct fmt_txn);
	enum why why = WHY_NONE;

	if (nr > FMT_TXN_RECORDS_MAX - 1)
		return WHY_JNL_REC_COUNT;
	for (u32 i = 0; i < nr && !why; i++) {
		const struct fmt_rec *r = (const void *)(buf + off);

		if (len - off < sizeof(*r))
			return WHY_JNL_REC_HEAD;
		off += sizeof(*r);
		if (ALIGN_UP((u64)get32(r->len), 8) > len - off)
			return WHY_JNL_REC_END;
		why = rec_why(r);
		off += ALIGN_UP((u64)get32(r->len), 8);
	}
	return why;
}

enum why fmt_txn_head_why(const struct fmt_txn *t, u64 epoch, u64 seq)
{
	u64 len = get64(t->len);

	if (get32(t->magic) != FMT_TXN_MAGIC)
		return WHY_JNL_TXN_MAGIC;
	if (len < SECTOR_SIZE)
		return WHY_JNL_TXN_SHORT;
	if (len > FMT_TXN_BYTES_MAX)
		return WHY_JNL_TXN_MAX;
	if (!IS_ALIGNED(len, SECTOR_SIZE))
		return WHY_JNL_TXN_ALIGN;
	if (get64(t->epoch) != epoch)
		return WHY_JNL_TXN_EPOCH;
	return get64(t->seq) == seq ? WHY_NONE : WHY_JNL_SEQUENCE;
}

/* len_bytes: at least a head. */
static enum why txn_bounds_why(const struct fmt_txn *t, u64 len_bytes, u64 epoch, u64 seq)
{
	enum why why = fmt_txn_head_why(t, epoch, seq);

	if (why)
		return why;
	return get64(t->len) > len_bytes ? WHY_JNL_TXN_LONG : WHY_NONE;
}

int fmt_txn_why(const void *buf, u64 len_bytes, u64 epoch, u64 seq, enum why *why)
{
	const struct fmt_txn *t = buf;
	u64 csum;
	int r;

	*why = len_bytes < SECTOR_SIZE ? WHY_JNL_TXN_CUT : txn_bounds_why(t, len_bytes, epoch, seq);
	if (*why)
		return 0;
	r = txn_csum(buf, get64(t->len), &csum);
	if (!r)
		*why = csum != get64(t->csum) ? WHY_JNL_TXN_CHECKSUM
					      : records_why(buf, get64(t->len));
	return r;
}

int fmt_txn_check(const void *buf, u64 len_bytes, u64 epoch, u64 seq)
{
	enum why why;
	int r = fmt_txn_why(buf, len_bytes, epoch, seq, &why);

	return r ? r : why_errno(why);
}

int fmt_rec_next(const void *txn, u64 *pos, const struct fmt_rec **rec, const void **payload)
{
	const struct fmt_txn *t = txn;
	u64 off = *pos & POS_MASK, index = *pos >> POS_BITS;
	const struct fmt_rec *r;

	if (*pos == 0)
		off = sizeof(*t);
	if (index >= get32(t->nr_records))
		return 0;
	r = (const void *)((const u8 *)txn + off);
	off += sizeof(*r);
	*rec = r;
	*payload = (const u8 *)txn + off;
	off += ALIGN_UP((u64)get32(r->len), 8);
	*pos = (index + 1) << POS_BITS | off;
	return 1;
}
