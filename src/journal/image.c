/*
 * What a transaction looks like in the log.
 *
 * 1. A buffer is logged as the runs of 64-byte chunks that changed, taken from its published
 *    contents; whole when it is new, when that is asked for, or when more than half of it changed.
 * 2. Buffers that a checkpoint is about to write in place get the sum of what they are after this
 *    transaction (checkpoint.c, rule 2).
 * 3. How long the image will be at most is known before: what each change adds to t->bytes is exact
 *    for buffers, and the ends of intents and sums that turn out not to be needed are in it, too.
 */
#include "base/hash.h"
#include "journal/jnl_priv.h"

#include <string.h>
#include <time.h>

struct image {
	u8 *at;
	u64 pos;
	u32 nr_records;
};

void image_record(struct image *im, const struct fmt_rec *rec, const void *payload, u32 len)
{
	memcpy(im->at + im->pos, rec, sizeof(*rec));
	im->pos += sizeof(*rec);
	if (len)
		memcpy(im->at + im->pos, payload, len);
	im->pos += len;
	while (im->pos & 7)
		im->at[im->pos++] = 0;
	im->nr_records++;
}

static void image_bytes(struct image *im, const struct jnl_buf *b, enum fmt_rec_type type, u32 off,
			u32 len)
{
	struct fmt_rec rec = {
		.type = put16(type), .kind = put16(b->kind), .off = put32(off),
		.len = put32(len), .addr = put64(b->addr),
		.count = put32(type == FMT_REC_DATA),
	};

	image_record(im, &rec, (u8 *)folio_data(b->folio) + off, len);
}

static bool chunk_test(const u64 *chunk, u32 c)
{
	return chunk[c / 64] >> (c % 64) & 1;
}

/* All of the buffer, rather than so many chunks of it? */
static bool is_whole(enum fmt_kind kind, bool whole, u32 nr_chunks)
{
	return whole || kind == FMT_KIND_DATA ||
	       nr_chunks > fmt_kind_sectors(kind) * (SECTOR_SIZE >> CHUNK_SHIFT) / 2;
}

/* How many chunks, and in how many runs. */
static void chunks_count(const u64 *chunk, u32 *nr, u32 *runs)
{
	u64 before = 0;

	*nr = *runs = 0;
	for (u32 w = 0; w < CHUNK_WORDS; w++) {
		if (!chunk[w]) {
			before = 0;
			continue;
		}
		*nr += (u32)__builtin_popcountll(chunk[w]);
		*runs += (u32)__builtin_popcountll(chunk[w] & ~(chunk[w] << 1 | before));
		before = chunk[w] >> 63;
	}
}

u64 image_bytes_of(enum fmt_kind kind, bool whole, const u64 *chunk)
{
	u32 nr, runs;

	chunks_count(chunk, &nr, &runs);
	if (is_whole(kind, whole, nr))
		return fmt_kind_sectors(kind) * SECTOR_SIZE + sizeof(struct fmt_rec);
	return nr * CHUNK_BYTES + runs * sizeof(struct fmt_rec);
}

static void image_chunks(struct image *im, const struct jnl_buf *b)
{
	u32 nr = b->len >> CHUNK_SHIFT;

	for (u32 c = 0, end; c < nr; c = end + 1) {
		end = c;
		while (end < nr && chunk_test(b->chunk, end))
			end++;
		if (end > c)
			image_bytes(im, b, FMT_REC_BYTES, c << CHUNK_SHIFT,
				    (end - c) << CHUNK_SHIFT);
	}
}

static void image_buf(struct image *im, struct jnl_buf *b)
{
	u32 nr, runs;

	chunks_count(b->chunk, &nr, &runs);
	if (!is_whole(b->kind, b->whole, nr))
		image_chunks(im, b);
	else
		image_bytes(im, b, b->kind == FMT_KIND_DATA ? FMT_REC_DATA : FMT_REC_WHOLE, 0,
			    b->len);
}

static void image_revokes(struct image *im, const struct txn *t)
{
	const struct revoke *r;

	if (jnl_omitted == JNL_OMIT_REVOKE)
		return;
	STAILQ_FOREACH(r, &t->revokes, link) {
		struct fmt_rec rec = { .type = put16(FMT_REC_REVOKE),
			.kind = put16(r->kind), .count = put32(r->nr),
			.addr = put64(r->addr) };

		image_record(im, &rec, NULL, 0);
	}
}

static void image_head(struct jnl *j, struct image *im, const struct txn *t)
{
	struct fmt_txn *h = (struct fmt_txn *)im->at;

	*h = (struct fmt_txn){
		.magic = put32(FMT_TXN_MAGIC), .nr_records = put32(im->nr_records),
		.epoch = put64(j->epoch), .seq = put64(t->seq), .len = put64(im->pos),
		.durable = put64(j->durable), .time = put64((u64)time(NULL)),
	};
	h->csum = put64(hash64(im->at, im->pos));
}

/* Rule 2. */
static void image_sums(struct jnl *j, struct image *im)
{
	struct jnl_buf *b;

	if (!j->unsummed || jnl_omitted == JNL_OMIT_SUM)
		return;
	TAILQ_FOREACH(b, j->unsummed, snap_link) {
		struct fmt_rec rec = { .type = put16(FMT_REC_SUM), .kind = put16(b->kind),
			.addr = put64(b->addr) };

		if (!b->wants_sum || b->forgotten)
			continue;
		rec.arg = put64(fmt_buf_sum(folio_data(b->folio), b->len));
		image_record(im, &rec, NULL, 0);
		b->wants_sum = false;
		b->summed = true;
	}
}

u64 image_build(struct jnl *j, struct txn *t)
{
	struct image im = { .at = j->image, .pos = sizeof(struct fmt_txn) };
	struct jnl_buf *b;
	u64 end;

	image_revokes(&im, t);
	intents_to_image(j, &im, t);
	while ((b = TAILQ_FIRST(&t->bufs))) {
		TAILQ_REMOVE(&t->bufs, b, run_link);
		image_buf(&im, b);
		b->running = b->whole = false;
		b->log_bytes = 0;
		memset(b->chunk, 0, sizeof(b->chunk));
	}
	image_sums(j, &im);
	j->unsummed = NULL;
	ASSERT(im.pos <= sizeof(struct fmt_txn) + t->bytes);
	end = ALIGN_UP(im.pos, (u64)SECTOR_SIZE);
	memset(im.at + im.pos, 0, end - im.pos);
	im.pos = end;
	image_head(j, &im, t);
	return end / SECTOR_SIZE;
}
