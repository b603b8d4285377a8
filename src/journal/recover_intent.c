/*
 * Recovery of overwrites that were announced and not closed.
 *
 * 1. A sector of an open intent holds its old contents, the new ones, or a mixture of both if the
 *    power went in the middle of it. The map entry says what the old ones are, the intent what the
 *    new ones are. A mixture is summed again, so that it can be read, and reported.
 * 2. An entry that is 0 or bad after replay is left alone: the sector was freed, never written, or
 *    given up.
 * 3. The log holds a whole image of every map sector that is changed here (intent.c, rule 1), so
 *    it has been replayed, and a crash while it is written in place does no harm.
 * 4. An intent that was carried on may be noted twice; settling it twice changes nothing.
 */
#include "base/err.h"
#include "base/log.h"
#include "journal/recover.h"

#include <stdlib.h>
#include <string.h>

/* Data sectors read at a time. */
#define READ_NR 256u

static bool same_name(const struct rintent *in, const struct fmt_rec *rec)
{
	return in->first_seq == get64(rec->arg) && in->number == get32(rec->off);
}

int rintent_note(struct scan *s, const struct fmt_rec *rec, const void *payload)
{
	u32 nr = get32(rec->count);
	const le32 *entries = payload;
	u64 addr = get64(rec->addr);
	struct rintent *in;

	/* Carried on, and its first record has been seen. */
	if (get64(rec->arg) != s->seq && get64(rec->arg) >= s->tail_seq)
		return 0;
	if (addr >= s->j->geo->nr_sectors || nr > s->j->geo->nr_sectors - addr)
		return corrupt(WHY_JNL_INTENT_RANGE, CORRUPT_NO_INO, addr);
	in = malloc(sizeof(*in) + nr * sizeof(u32));
	if (!in)
		return -ENOMEM;
	in->first_seq = get64(rec->arg);
	in->number = get32(rec->off);
	in->addr = addr;
	in->nr = nr;
	for (u32 i = 0; i < nr; i++)
		in->entries[i] = get32(entries[i]);
	TAILQ_INSERT_TAIL(&s->intents, in, link);
	return 0;
}

void rintent_end(struct scan *s, const struct fmt_rec *rec)
{
	struct rintent *in, *next;

	for (in = TAILQ_FIRST(&s->intents); in; in = next) {
		next = TAILQ_NEXT(in, link);
		if (!same_name(in, rec))
			continue;
		TAILQ_REMOVE(&s->intents, in, link);
		free(in);
	}
}

void rintents_free(struct scan *s)
{
	struct rintent *in;

	while ((in = TAILQ_FIRST(&s->intents))) {
		TAILQ_REMOVE(&s->intents, in, link);
		free(in);
	}
}

/* ---- settling ---- */

/* Rule 3. The sector's entry in a replayed map sector. */
static int entry_of(struct scan *s, u64 sector, le32 **out)
{
	const struct fmt_geo *geo = s->j->geo;
	u32 group = fmt_group_of(geo, sector);
	u64 pos = sector - fmt_group_start(geo, group);
	struct rbuf *b = rbuf_find(s, fmt_map_sector(geo, group) + pos / FMT_MAP_PER_SECTOR);

	if (!b || b->kind != FMT_KIND_MAP || b->base_error)
		return corrupt(WHY_JNL_INTENT_MAP, CORRUPT_NO_INO, sector);
	*out = &((struct fmt_map *)b->data)->entry[pos % FMT_MAP_PER_SECTOR];
	return 0;
}

static void torn(struct scan *s, u64 sector)
{
	if (s->rec->torn < JNL_TORN_MAX)
		s->rec->torn_sector[s->rec->torn] = sector;
	s->rec->torn++;
}

static void settle_sector(struct scan *s, u64 sector, const void *data, u32 want, le32 *entry)
{
	u32 old = get32(*entry), is = fmt_map_csum(data);

	if (want < FMT_MAP_CSUM_MIN || is == want) {
		*entry = put32(want);
		s->rec->recovered_new++;
	} else if (fmt_map_accepts(old, data) && jnl_omitted != JNL_OMIT_OLD_SUM) {
		s->rec->recovered_old++;
	} else {
		*entry = put32(is);
		torn(s, sector);
	}
}

/* Replayed contents count before those in place. */
static const void *sector_data(struct scan *s, u64 sector, const u8 *in_place)
{
	const struct rbuf *b = rbuf_find(s, sector);

	return b && b->kind == FMT_KIND_DATA ? b->data : in_place;
}

static int settle_range(struct scan *s, const struct rintent *in, u32 first, u32 nr, u8 *buf)
{
	u64 addr = in->addr + first;
	int r = blk_read(s->j->dev, addr, buf, nr, BLK_DATA);
	bool whole = !r;

	if (r && r != -EIO)
		return r;
	for (u32 i = 0; i < nr; i++) {
		u8 *data = buf + (size_t)i * SECTOR_SIZE;
		le32 *entry = NULL;

		r = entry_of(s, addr + i, &entry);
		if (r)
			return r;
		if (get32(*entry) == FMT_MAP_UNWRITTEN || get32(*entry) == FMT_MAP_BAD)
			continue;
		/* What can't be read now says so when it is read. */
		if (!whole && blk_read(s->j->dev, addr + i, data, 1, BLK_DATA))
			continue;
		settle_sector(s, addr + i, sector_data(s, addr + i, data), in->entries[first + i],
			      entry);
	}
	return 0;
}

int rintents_settle(struct scan *s)
{
	u8 *buf = TAILQ_EMPTY(&s->intents) ? NULL : aligned_alloc(SECTOR_SIZE,
								  READ_NR * SECTOR_SIZE);
	const struct rintent *in;
	int r = TAILQ_EMPTY(&s->intents) || buf ? 0 : -ENOMEM;

	TAILQ_FOREACH(in, &s->intents, link)
		for (u32 at = 0; at < in->nr && !r; at += READ_NR)
			r = settle_range(s, in, at, MIN(in->nr - at, READ_NR), buf);
	free(buf);
	return r;
}
