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
static bool rec_valid(const struct fmt_rec *r)
{
	u32 kind = get16(r->kind);
	u64 off = get32(r->off), len = get32(r->len), count = get32(r->count);

	switch (get16(r->type)) {
	case FMT_REC_BYTES:
		return kind_is_buffer(kind) && len > 0 && off + len <= kind_bytes(kind);
	case FMT_REC_WHOLE:
		return kind_is_buffer(kind) && off == 0 && len == kind_bytes(kind);
	case FMT_REC_FILL:
		return kind_is_buffer(kind) && len == 0 && off % 4 == 0 &&
		       off >= sizeof(struct fmt_hdr) && off + count * 4 <= kind_bytes(kind);
	case FMT_REC_REVOKE:
		return len == 0 && count > 0;
	case FMT_REC_INTENT:
		return count > 0 && len == count * 4;
	case FMT_REC_INTENT_END:
		return len == 0;
	case FMT_REC_DATA:
		return count > 0 && len == count * SECTOR_SIZE;
	}
	return false;
}

static int records_check(const u8 *buf, u64 len)
{
	u32 nr = get32(((const struct fmt_txn *)buf)->nr_records);
	u64 off = sizeof(struct fmt_txn);

	if (nr > FMT_TXN_RECORDS_MAX - 1)
		return -EUCLEAN;
	for (u32 i = 0; i < nr; i++) {
		const struct fmt_rec *r = (const void *)(buf + off);

		if (len - off < sizeof(*r))
			return -EUCLEAN;
		off += sizeof(*r);
		if (ALIGN_UP((u64)get32(r->len), 8) > len - off || !rec_valid(r))
			return -EUCLEAN;
		off += ALIGN_UP((u64)get32(r->len), 8);
	}
	return 0;
}

int fmt_txn_check(const void *buf, u64 len_bytes, u64 epoch, u64 seq)
{
	const struct fmt_txn *t = buf;
	u64 len, csum;
	int r;

	if (len_bytes < SECTOR_SIZE || get32(t->magic) != FMT_TXN_MAGIC)
		return -EUCLEAN;
	len = get64(t->len);
	if (len < SECTOR_SIZE || len > len_bytes || len > FMT_TXN_BYTES_MAX ||
	    !IS_ALIGNED(len, SECTOR_SIZE))
		return -EUCLEAN;
	if (get64(t->epoch) != epoch || get64(t->seq) != seq)
		return -EUCLEAN;
	r = txn_csum(buf, len, &csum);
	if (r)
		return r;
	if (csum != get64(t->csum))
		return -EBADMSG;
	return records_check(buf, len);
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
