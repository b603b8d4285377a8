/*
 * Intents: overwrites that were announced.
 *
 * 1. An intent is logged with whole images of the map sectors that hold its old entries: recovery
 *    may have to change them, and writes them in place, where they may be torn.
 * 2. It is in the log, at or behind the tail, from before the first write until the transaction
 *    with its end is durable. A checkpoint that wants to pass it logs it again first, under its
 *    old name (intents_carry). The room for that, and for its end, is kept free from the start
 *    (j->intent_reserve), so carrying on never waits for anything.
 * 3. What is open at a time is bounded: in sectors, because recovery reads them, and in log space.
 *
 * Locks: the list and the counts under j->lock; an intent that is not opened belongs to its maker.
 */
#include "base/err.h"
#include "base/time.h"
#include "journal/jnl_priv.h"
#include "stat/stat.h"

#include <stdlib.h>
#include <string.h>

#define MAPS_MAX 64u
#define BYTES_MAX (64u << 10)            /* of records, in one intent */
#define END_BYTES sizeof(struct fmt_rec)
#define RING_SHARE 4u                    /* open intents reserve at most this part of the ring */

/* ---- making one ---- */

static u32 maps_max(const struct jnl *j)
{
	return (u32)MIN((u64)MAPS_MAX, j->ring_nr / 16);
}

static u64 bytes_max(const struct jnl *j)
{
	return MIN((u64)BYTES_MAX, j->ring_nr * SECTOR_SIZE / 32);
}

struct jnl_intent *jnl_intent_new(struct jnl *j)
{
	struct jnl_intent *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->j = j;
	in->map = calloc(maps_max(j), sizeof(*in->map));
	if (!in->map) {
		free(in);
		return NULL;
	}
	return in;
}

void jnl_intent_free(struct jnl_intent *in)
{
	if (!in)
		return;
	free(in->map);
	free(in->entries);
	free(in->range);
	free(in);
}

static u64 map_addr(const struct fmt_geo *geo, u64 sector)
{
	u32 group = fmt_group_of(geo, sector);

	return fmt_map_sector(geo, group) +
	       (sector - fmt_group_start(geo, group)) / FMT_MAP_PER_SECTOR;
}

/* Ranges come in order of the file, mostly that of the disk: the last one is the likely one. */
static bool has_map(const struct jnl_intent *in, u64 addr)
{
	for (u32 i = in->nr_maps; i-- > 0;)
		if (in->map[i] == addr)
			return true;
	return false;
}

static int add_maps(struct jnl_intent *in, u64 sector, u32 nr)
{
	u64 last = map_addr(in->j->geo, sector + nr - 1);

	for (u64 addr = map_addr(in->j->geo, sector); addr <= last; addr++) {
		if (has_map(in, addr))
			continue;
		if (in->nr_maps == maps_max(in->j))
			return -ENOSPC;
		in->map[in->nr_maps++] = addr;
	}
	return 0;
}

static u64 range_bytes(u32 nr)
{
	return sizeof(struct fmt_rec) + ALIGN_UP((u64)nr * sizeof(u32), (u64)8);
}

static int reserve_arrays(struct jnl_intent *in, u32 nr)
{
	void *p;

	if (in->nr_sectors + nr > in->max_sectors) {
		u32 max = MAX(in->max_sectors * 2, in->nr_sectors + nr);

		p = realloc(in->entries, max * sizeof(*in->entries));
		if (!p)
			return -ENOMEM;
		in->entries = p;
		in->max_sectors = max;
	}
	if (in->nr_ranges == in->max_ranges) {
		u32 max = MAX(in->max_ranges * 2, 16u);

		p = realloc(in->range, max * sizeof(*in->range));
		if (!p)
			return -ENOMEM;
		in->range = p;
		in->max_ranges = max;
	}
	return 0;
}

int jnl_intent_add(struct jnl_intent *in, u64 sector, u32 nr, const u32 *entries)
{
	u32 maps = in->nr_maps;
	int r;

	ASSERT(!in->first_seq && nr > 0);
	if (in->bytes && in->bytes + range_bytes(nr) > bytes_max(in->j))
		return -ENOSPC;
	r = reserve_arrays(in, nr);
	if (!r)
		r = add_maps(in, sector, nr);
	if (r) {
		in->nr_maps = maps;
		return r;
	}
	in->range[in->nr_ranges++] = (struct intent_range){ sector, nr, in->nr_sectors };
	for (u32 i = 0; i < nr; i++)
		in->entries[in->nr_sectors + i] = put32(entries[i]);
	in->nr_sectors += nr;
	in->bytes += range_bytes(nr);
	return 0;
}

/* ---- opening, carrying on ---- */

static u64 reserve_sectors(const struct jnl_intent *in)
{
	u64 maps = in->nr_maps * (SECTOR_SIZE + sizeof(struct fmt_rec));

	return 1 + DIV_ROUND_UP(sizeof(struct fmt_txn) + in->bytes + END_BYTES + maps,
				(u64)SECTOR_SIZE);
}

/* j->lock held. Rule 3; one alone always may. */
static bool too_much(const struct jnl *j, const struct jnl_intent *in)
{
	if (TAILQ_EMPTY(&j->intents))
		return false;
	return j->intent_reserve + in->reserve > j->ring_nr / RING_SHARE ||
	       j->intent_sectors + in->nr_sectors > JNL_INTENT_SECTORS;
}

static void open_published(void *arg, u64 seq)
{
	struct jnl_intent *in = arg;
	struct jnl *j = in->j;

	mutex_lock(&j->lock);
	if (!in->first_seq) {
		in->first_seq = seq;
		in->number = j->running->nr_intents++;
		in->left = in->nr_sectors;
		j->intent_reserve += in->reserve;
		j->intent_sectors += in->nr_sectors;
		TAILQ_INSERT_TAIL(&j->intents, in, link);
	}
	in->seq = seq;
	mutex_unlock(&j->lock);
}

/* reserve: sectors that it will keep from now on. */
static int log_in(struct view *v, struct jnl_intent *in, u64 reserve)
{
	int r = 0;

	view_more_log(v, in->bytes + END_BYTES, reserve);
	for (u32 i = 0; i < in->nr_maps && !r; i++)
		r = view_log_whole(v, in->map[i], FMT_KIND_MAP);
	return r ? r : view_on_publish(v, open_published, in);
}

static int open_body(struct view *v, void *arg)
{
	struct jnl_intent *in = arg;
	bool busy;

	mutex_lock(&in->j->lock);
	busy = too_much(in->j, in);
	mutex_unlock(&in->j->lock);
	return busy ? -EBUSY : log_in(v, in, in->reserve);
}

int jnl_intent_open(struct jnl_intent *in, u64 *seq)
{
	int r;

	ASSERT(in->nr_ranges > 0);
	in->reserve = reserve_sectors(in);
	r = jnl_run(in->j, MAPS_MAX, open_body, in, seq);
	if (!r)
		stat_inc(STAT_INTENTS);
	return r;
}

static int carry_body(struct view *v, void *arg)
{
	struct jnl_intent *in = arg;
	bool open;

	mutex_lock(&in->j->lock);
	open = !in->end_seq;
	mutex_unlock(&in->j->lock);
	return open ? log_in(v, in, 0) : 0;
}

/* The next one that is in the way; held. j->lock held. */
static struct jnl_intent *carry_next(struct jnl *j, u64 seq)
{
	struct jnl_intent *in;

	TAILQ_FOREACH(in, &j->intents, link) {
		if (!in->end_seq && in->seq < seq) {
			in->held = true;
			return in;
		}
	}
	return NULL;
}

int intents_carry(struct jnl *j, u64 seq)
{
	struct jnl_intent *in;
	bool commit = false;
	int r = 0;

	mutex_lock(&j->lock);
	while (!r && (in = carry_next(j, seq))) {
		mutex_unlock(&j->lock);
		r = jnl_run_reserved(j, MAPS_MAX, carry_body, in);
		commit = true;
		mutex_lock(&j->lock);
		in->held = false;
	}
	/* What was carried on must be durable before the tail goes; so must an end in the way. */
	commit |= intents_first_seq(j) < seq;
	mutex_unlock(&j->lock);
	return r || !commit ? r : jnl_commit_running(j);
}

/* ---- closing ---- */

/* j->lock held. */
static void close_sectors(struct jnl_intent *in, u32 nr)
{
	ASSERT(in->left >= nr);
	in->left -= nr;
	if (!in->left)
		in->end_seq = in->j->running->seq;
}

static void close_published(void *arg, u64 seq UNUSED)
{
	const struct jnl_intent_close *c = arg;
	struct jnl *j = c->intent->j;

	mutex_lock(&j->lock);
	close_sectors(c->intent, c->nr);
	mutex_unlock(&j->lock);
}

int view_intent_close(struct view *v, struct jnl_intent_close *close)
{
	view_more_log(v, END_BYTES, 0);
	return view_on_publish(v, close_published, close);
}

void jnl_intent_drop(struct jnl_intent *in, u32 nr)
{
	struct jnl *j = in->j;

	mutex_lock(&j->lock);
	close_sectors(in, nr);
	if (!in->left) {
		j->running->bytes += END_BYTES;
		txn_open(j);
	}
	mutex_unlock(&j->lock);
}

/* ---- for commit and checkpoint; j->lock held ---- */

static void put_intent(struct image *im, const struct jnl_intent *in)
{
	for (u32 i = 0; i < in->nr_ranges; i++) {
		const struct intent_range *rg = &in->range[i];
		struct fmt_rec rec = {
			.type = put16(FMT_REC_INTENT), .kind = put16(FMT_KIND_DATA),
			.off = put32(in->number), .len = put32(rg->nr * (u32)sizeof(u32)),
			.count = put32(rg->nr), .addr = put64(rg->addr),
			.arg = put64(in->first_seq),
		};

		image_record(im, &rec, in->entries + rg->first, rg->nr * (u32)sizeof(u32));
	}
}

static void put_end(struct image *im, const struct jnl_intent *in)
{
	struct fmt_rec rec = {
		.type = put16(FMT_REC_INTENT_END), .kind = put16(FMT_KIND_DATA),
		.off = put32(in->number), .arg = put64(in->first_seq),
	};

	image_record(im, &rec, NULL, 0);
}

void intents_to_image(struct jnl *j, struct image *im, const struct txn *t)
{
	const struct jnl_intent *in;

	TAILQ_FOREACH(in, &j->intents, link) {
		if (in->end_seq == t->seq)
			put_end(im, in);
		else if (in->seq == t->seq && jnl_omitted != JNL_OMIT_INTENT)
			put_intent(im, in);
	}
}

static void intent_remove(struct jnl *j, struct jnl_intent *in)
{
	TAILQ_REMOVE(&j->intents, in, link);
	j->intent_reserve -= in->reserve;
	j->intent_sectors -= in->nr_sectors;
	jnl_intent_free(in);
}

void intents_settle(struct jnl *j)
{
	struct jnl_intent *in, *next;

	for (in = TAILQ_FIRST(&j->intents); in; in = next) {
		next = TAILQ_NEXT(in, link);
		if (in->end_seq && in->end_seq <= j->durable && !in->held)
			intent_remove(j, in);
	}
}

u64 intents_first_seq(struct jnl *j)
{
	u64 seq = UINT64_MAX;
	const struct jnl_intent *in;

	TAILQ_FOREACH(in, &j->intents, link)
		if (!in->end_seq || in->end_seq > j->durable)
			seq = MIN(seq, in->seq);
	return seq;
}

void intents_free(struct jnl *j)
{
	while (!TAILQ_EMPTY(&j->intents))
		intent_remove(j, TAILQ_FIRST(&j->intents));
}
