/*
 * Crash images of a recorded device.
 *
 * An image starts as the table of pages after the last flush, which the cutter carries along while
 * it is asked for later and later crashes, and then gets some of the events since. Only a sector
 * that is torn inside needs memory of its own.
 *
 * Invariants:
 * 1. The cutter's table points only at data of events and at what the device started with.
 * 2. The same spec gives the same image: every choice comes from spec->seed.
 *
 * Locking: none; a cutter belongs to one thread, and the device is not written while images are
 * made.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "blk/sim_priv.h"

struct sim_cutter {
	struct sim_dev *sim;
	const u8 **base;        /* content after base_events events */
	size_t base_events;
};

/* splitmix64 */
static u64 next_random(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* ------------------------------------------------------------------- cutter */

static size_t table_bytes(const struct sim_dev *s)
{
	return s->now.sectors * sizeof(*s->start);
}

int sim_cutter_new(struct blk_dev *dev, struct sim_cutter **out)
{
	struct sim_cutter *c = calloc(1, sizeof(*c));
	struct sim_dev *s = sim_of(dev);

	ASSERT(s->record);
	if (!c)
		return -ENOMEM;
	c->sim = s;
	c->base = malloc(table_bytes(s));
	if (!c->base) {
		free(c);
		return -ENOMEM;
	}
	memcpy(c->base, s->start, table_bytes(s));
	*out = c;
	return 0;
}

void sim_cutter_free(struct sim_cutter *c)
{
	if (!c)
		return;
	free(c->base);
	free(c);
}

static const u8 *event_page(const struct sim_event *ev, u64 i)
{
	return ev->kind == SIM_WRITE ? ev->data + (i << SECTOR_SHIFT) : NULL;
}

static bool changes_content(const struct sim_event *ev)
{
	return ev->kind == SIM_WRITE || ev->kind == SIM_DISCARD;
}

static void move_base(struct sim_cutter *c, size_t to)
{
	if (to < c->base_events) {
		memcpy(c->base, c->sim->start, table_bytes(c->sim));
		c->base_events = 0;
	}
	for (; c->base_events < to; c->base_events++) {
		const struct sim_event *ev = &c->sim->events[c->base_events];

		for (u64 i = 0; changes_content(ev) && i < ev->nr; i++)
			c->base[ev->sector + i] = event_page(ev, i);
	}
}

/* ------------------------------------------------------------ applying events */

static void apply_whole(struct sim_pages *p, const struct sim_event *ev)
{
	for (u64 i = 0; i < ev->nr; i++)
		sim_pages_point(p, ev->sector + i, event_page(ev, i));
}

/* Units that reached the disk, one call a unit: a cut after `keep` units, or any subset. */
struct tearing {
	u64 random;
	bool cut;
	u64 keep;
};

static bool unit_arrived(struct tearing *t)
{
	if (!t->cut)
		return next_random(&t->random) & 1;
	if (!t->keep)
		return false;
	t->keep--;
	return true;
}

static int tear_sector(struct sim_pages *p, u64 sector, const u8 *data, u32 unit,
		       struct tearing *t)
{
	for (u32 off = 0; off < SECTOR_SIZE; off += unit) {
		u8 *own;

		if (!unit_arrived(t))
			continue;
		own = sim_pages_own(p, sector);
		if (!own)
			return -ENOMEM;
		memcpy(own + off, data + off, unit);
	}
	return 0;
}

/* Half of the writes arrive whole; of the others, half are cut and half have holes. */
static int apply_torn(struct sim_pages *p, const struct sim_event *ev, u32 unit, u64 *random)
{
	u64 units = ev->nr * (SECTOR_SIZE / unit);
	u64 dice = next_random(random);
	struct tearing t = { .random = next_random(random), .cut = dice & 2 };
	int err = 0;

	if (ev->kind != SIM_WRITE || dice & 1) {
		apply_whole(p, ev);
		return 0;
	}
	t.keep = next_random(random) % units;
	for (u64 i = 0; i < ev->nr && !err; i++)
		err = tear_sector(p, ev->sector + i, event_page(ev, i), unit, &t);
	return err;
}

/* ------------------------------------------------------------------ choosing */

/* The events that reach the disk, as indices in the order in which they do. */
struct choice {
	size_t *index;
	size_t nr;
};

static bool is_kept(const struct sim_spec *spec, size_t i, unsigned keep_of_8, u64 *random)
{
	switch (spec->cut) {
	case SIM_PREFIX:
		return true;
	case SIM_RANDOM:
		return (next_random(random) & 7) < keep_of_8;
	case SIM_SUBSET:
		return i < 64 && spec->subset >> i & 1;
	}
	return false;
}

static void shuffle(struct choice *c, u64 *random)
{
	for (size_t i = c->nr; i > 1; i--) {
		size_t j = next_random(random) % i, swap = c->index[i - 1];

		c->index[i - 1] = c->index[j];
		c->index[j] = swap;
	}
}

/* A durable write that had not returned: it may be there, in part. Torn prefixes end in it. */
static bool is_under_way(const struct sim_dev *s, const struct sim_spec *spec, u64 *random)
{
	if (spec->events >= s->nr_events || !s->events[spec->events].durable)
		return false;
	return spec->cut == SIM_PREFIX ? spec->tear != 0
				       : spec->cut == SIM_RANDOM && (next_random(random) & 1);
}

/* Some crashes lose nearly everything, some nearly nothing. */
static int choose(const struct sim_dev *s, const struct sim_spec *spec, size_t from,
		  struct choice *c, u64 *random)
{
	static const unsigned keep_of_8[] = { 1, 4, 4, 7 };
	unsigned keep = keep_of_8[next_random(random) & 3];
	size_t seen = 0;

	c->nr = 0;
	c->index = malloc((spec->events - from + 1) * sizeof(*c->index));
	if (!c->index)
		return -ENOMEM;
	for (size_t i = from; i < spec->events; i++)
		if (s->events[i].durable ||
		    (sim_is_volatile(&s->events[i]) && is_kept(spec, seen++, keep, random)))
			c->index[c->nr++] = i;
	if (is_under_way(s, spec, random))
		c->index[c->nr++] = spec->events;
	if (spec->permute)
		shuffle(c, random);
	return 0;
}

static bool overlap(const struct sim_event *a, const struct sim_event *b)
{
	return a->sector < b->sector + b->nr && b->sector < a->sector + a->nr;
}

/* In the order of the choice a later durable write has come before this one, which it replaced. */
static bool is_replaced(const struct sim_dev *s, const struct choice *c, size_t k)
{
	for (size_t i = 0; i < k; i++)
		if (s->events[c->index[i]].durable && c->index[i] > c->index[k] &&
		    overlap(&s->events[c->index[i]], &s->events[c->index[k]]))
			return true;
	return false;
}

static bool may_tear(const struct sim_dev *s, const struct sim_spec *spec, size_t index)
{
	if (!spec->tear || (s->events[index].durable && index < spec->events))
		return false;
	return spec->cut != SIM_PREFIX || index + 1 >= spec->events;
}

static int apply(struct sim_pages *p, const struct sim_dev *s, const struct sim_spec *spec,
		 const struct choice *c, u64 *random)
{
	int err = 0;

	for (size_t k = 0; k < c->nr && !err; k++) {
		const struct sim_event *ev = &s->events[c->index[k]];

		if (spec->permute && is_replaced(s, c, k))
			continue;
		if (may_tear(s, spec, c->index[k]))
			err = apply_torn(p, ev, spec->tear, random);
		else
			apply_whole(p, ev);
	}
	return err;
}

/* ------------------------------------------------------------------- mixtures */

static bool same_page(const u8 *a, const u8 *b)
{
	static const u8 zeroes[SECTOR_SIZE];

	return !memcmp(a ? a : zeroes, b ? b : zeroes, SECTOR_SIZE);
}

/* Is the sector neither what it was nor what one of the events brought? */
static bool is_mixed(const struct sim_cutter *c, const struct sim_dev *image,
		     const struct choice *kept, u64 sector)
{
	const u8 *now = image->now.page[sector];

	if (same_page(now, c->base[sector]))
		return false;
	for (size_t k = 0; k < kept->nr; k++) {
		const struct sim_event *ev = &c->sim->events[kept->index[k]];

		if (sector - ev->sector < ev->nr &&
		    same_page(now, event_page(ev, sector - ev->sector)))
			return false;
	}
	return true;
}

/* Only torn sectors have pages of their own. */
static int note_mixed(const struct sim_cutter *c, struct sim_dev *image, const struct choice *kept)
{
	size_t nr = sim_pages_nr_own(&image->now);

	if (!nr)
		return 0;
	image->mixed = malloc(nr * sizeof(*image->mixed));
	if (!image->mixed)
		return -ENOMEM;
	for (u64 i = 0; nr; i++) {
		if (!sim_pages_is_own(&image->now, i))
			continue;
		nr--;
		if (is_mixed(c, image, kept, i))
			image->mixed[image->nr_mixed++] = i;
	}
	return 0;
}

size_t sim_mixed(struct blk_dev *image, const u64 **sectors)
{
	*sectors = sim_of(image)->mixed;
	return sim_of(image)->nr_mixed;
}

/* -------------------------------------------------------------------- an image */

int sim_image(struct sim_cutter *c, const struct sim_spec *spec, bool record, struct blk_dev **out)
{
	struct sim_dev *s = c->sim, *image;
	size_t from = sim_last_flush(&s->dev, spec->events);
	u64 random = spec->seed;
	struct choice choice;
	int err;

	ASSERT(spec->tear == 0 || spec->tear == 512 || spec->tear == SECTOR_SIZE);
	move_base(c, from);
	err = choose(s, spec, from, &choice, &random);
	if (err)
		return err;
	err = sim_make(s->now.sectors, s->dev.logical_size, c->base, &image);
	if (!err) {
		image->dev.fua = s->dev.fua;
		err = apply(&image->now, s, spec, &choice, &random);
		if (!err && spec->tear)
			err = note_mixed(c, image, &choice);
		if (!err && record)
			err = sim_start_recording(image);
		if (err)
			blk_close(&image->dev);
	}
	free(choice.index);
	if (!err)
		*out = &image->dev;
	return err;
}
