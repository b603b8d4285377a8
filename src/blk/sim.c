/*
 * The simulated device: a table of pages, and a record of what was done to it.
 *
 * A write to a recording device copies its data once, into the event; the table then points at the
 * event's data. So the record costs what was written, and the content costs nothing more.
 *
 * Invariants:
 * 1. Data of an event is never changed and lives as long as the device.
 * 2. A recording device has no own pages: those that it was made with are kept until it is
 *    closed, because its content before the first event points at them. One that does not record
 *    has no events.
 * 3. A transfer and its event are one step under the lock: the order of events is an order in
 *    which the device may have done them.
 *
 * Locking: sim_dev.lock (RANK_BLK).
 */
#include "blk/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "blk/sim_priv.h"

static const struct blk_backend sim_ops;

struct sim_dev *sim_of(struct blk_dev *dev)
{
	ASSERT(dev->ops == &sim_ops);
	return container_of(dev, struct sim_dev, dev);
}

/* -------------------------------------------------------------------- pages */

bool sim_pages_is_own(const struct sim_pages *p, u64 i)
{
	return p->owned[i / 64] >> (i % 64) & 1;
}

static void disown(struct sim_pages *p, u64 i)
{
	if (!sim_pages_is_own(p, i))
		return;
	free((u8 *)(uintptr_t)p->page[i]);
	p->owned[i / 64] &= ~(1ull << (i % 64));
}

u8 *sim_pages_own(struct sim_pages *p, u64 i)
{
	u8 *own;

	if (sim_pages_is_own(p, i))
		return (u8 *)(uintptr_t)p->page[i];
	own = malloc(SECTOR_SIZE);
	if (!own)
		return NULL;
	if (p->page[i])
		memcpy(own, p->page[i], SECTOR_SIZE);
	else
		memset(own, 0, SECTOR_SIZE);
	p->page[i] = own;
	p->owned[i / 64] |= 1ull << (i % 64);
	return own;
}

void sim_pages_point(struct sim_pages *p, u64 i, const u8 *data)
{
	disown(p, i);
	p->page[i] = data;
}

static int pages_init(struct sim_pages *p, u64 sectors, const u8 *const *page)
{
	p->sectors = sectors;
	p->page = page ? malloc(sectors * sizeof(*p->page)) : calloc(sectors, sizeof(*p->page));
	p->owned = calloc(DIV_ROUND_UP(sectors, 64), sizeof(u64));
	if (!p->page || !p->owned)
		return -ENOMEM;
	if (page)
		memcpy(p->page, page, sectors * sizeof(*p->page));
	return 0;
}

static void pages_fini(struct sim_pages *p)
{
	for (u64 w = 0; p->page && p->owned && w < DIV_ROUND_UP(p->sectors, 64); w++)
		while (p->owned[w])
			disown(p, w * 64 + (u64)__builtin_ctzll(p->owned[w]));
	free(p->page);
	free(p->owned);
}

/* ------------------------------------------------------------------- events */

static int push_event(struct sim_dev *s, struct sim_event ev)
{
	if (s->nr_events == s->max_events) {
		size_t max = MAX_T(size_t, 256, s->max_events * 2);
		struct sim_event *grown = reallocarray(s->events, max, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->events = grown;
		s->max_events = max;
	}
	s->events[s->nr_events++] = ev;
	return 0;
}

static void point_at(struct sim_dev *s, const struct sim_event *ev)
{
	for (u64 i = 0; i < ev->nr; i++)
		sim_pages_point(&s->now, ev->sector + i,
				ev->data ? ev->data + ((size_t)i << SECTOR_SHIFT) : NULL);
}

int sim_push(struct sim_dev *s, const struct sim_event *ev)
{
	int err;

	mutex_lock(&s->lock);
	err = push_event(s, *ev);
	if (!err && (ev->kind == SIM_WRITE || ev->kind == SIM_DISCARD))
		point_at(s, ev);
	mutex_unlock(&s->lock);
	return err;
}

static int record_write(struct sim_dev *s, const struct blk_io *io)
{
	u8 *data = malloc((size_t)io->nr << SECTOR_SHIFT);
	struct sim_event ev = { .kind = SIM_WRITE, .what = io->kind, .sector = io->sector,
				.nr = io->nr, .data = data, .durable = io->durable };

	if (!data)
		return -ENOMEM;
	iov_gather(data, io->iov, io->nr_iov);
	if (push_event(s, ev)) {
		free(data);
		return -ENOMEM;
	}
	point_at(s, &ev);
	return 0;
}

void sim_mark(struct blk_dev *dev, u64 id)
{
	struct sim_dev *s = sim_of(dev);

	mutex_lock(&s->lock);
	/* A mark that is lost would let the oracle promise less than was promised. */
	if (s->record)
		ASSERT(push_event(s, (struct sim_event){ .kind = SIM_MARK, .mark = id }) == 0);
	mutex_unlock(&s->lock);
}

size_t sim_nr_events(struct blk_dev *dev)
{
	struct sim_dev *s = sim_of(dev);
	size_t nr;

	mutex_lock(&s->lock);
	nr = s->nr_events;
	mutex_unlock(&s->lock);
	return nr;
}

struct sim_event sim_event_get(struct blk_dev *dev, size_t index)
{
	struct sim_dev *s = sim_of(dev);
	struct sim_event ev;

	mutex_lock(&s->lock);
	ASSERT(index < s->nr_events);
	ev = s->events[index];
	mutex_unlock(&s->lock);
	return ev;
}

size_t sim_last_flush(struct blk_dev *dev, size_t n)
{
	struct sim_dev *s = sim_of(dev);

	mutex_lock(&s->lock);
	ASSERT(n <= s->nr_events);
	while (n && s->events[n - 1].kind != SIM_FLUSH)
		n--;
	mutex_unlock(&s->lock);
	return n;
}

size_t sim_unflushed(struct blk_dev *dev, size_t n)
{
	struct sim_dev *s = sim_of(dev);
	size_t nr = 0;

	for (size_t i = sim_last_flush(dev, n); i < n; i++)
		nr += sim_is_volatile(&s->events[i]);
	return nr;
}

/* ------------------------------------------------------------------ backend */

/* Copies between a run of segments and the pages, in parts that cross neither. */
static int copy_pages(struct sim_dev *s, const struct blk_io *io)
{
	u64 at = io->sector << SECTOR_SHIFT;
	const struct iovec *piece;
	struct iov_cursor cur;
	unsigned nr;
	size_t n;

	iov_cursor_init(&cur, io->iov, io->nr_iov);
	while ((n = iov_cursor_piece(&cur, SECTOR_SIZE - (at & SECTOR_MASK), 1, &piece, &nr))) {
		u64 i = at >> SECTOR_SHIFT;
		const u8 *page = s->now.page[i];

		if (io->op == BLK_WRITE) {
			u8 *own = sim_pages_own(&s->now, i);

			if (!own)
				return -ENOMEM;
			memcpy(own + (at & SECTOR_MASK), piece->iov_base, n);
		} else if (page) {
			memcpy(piece->iov_base, page + (at & SECTOR_MASK), n);
		} else {
			memset(piece->iov_base, 0, n);
		}
		at += n;
		iov_cursor_advance(&cur, n);
	}
	return 0;
}

static int sim_transfer(struct blk_dev *dev, struct blk_io *io)
{
	struct sim_dev *s = sim_of(dev);
	int err;

	mutex_lock(&s->lock);
	err = io->op == BLK_WRITE && s->record ? record_write(s, io) : copy_pages(s, io);
	mutex_unlock(&s->lock);
	return err;
}

static int sim_flush(struct blk_dev *dev)
{
	struct sim_dev *s = sim_of(dev);
	int err = 0;

	mutex_lock(&s->lock);
	if (s->record)
		err = push_event(s, (struct sim_event){ .kind = SIM_FLUSH });
	mutex_unlock(&s->lock);
	return err;
}

static int sim_discard(struct blk_dev *dev, u64 sector, u64 nr)
{
	struct sim_event ev = { .kind = SIM_DISCARD, .sector = sector, .nr = nr };
	struct sim_dev *s = sim_of(dev);
	int err = 0;

	mutex_lock(&s->lock);
	if (s->record)
		err = push_event(s, ev);
	for (u64 i = 0; i < nr && !err; i++)
		sim_pages_point(&s->now, sector + i, NULL);
	mutex_unlock(&s->lock);
	return err;
}

static void sim_close(struct blk_dev *dev)
{
	struct sim_dev *s = sim_of(dev);

	for (size_t i = 0; i < s->nr_events; i++) {
		free((u8 *)(uintptr_t)s->events[i].data);
		free((char *)(uintptr_t)s->events[i].text);
	}
	free(s->events);
	free(s->start);
	for (size_t i = 0; i < s->nr_kept; i++)
		free(s->kept[i]);
	free(s->kept);
	free(s->mixed);
	pages_fini(&s->now);
	mutex_fini(&s->lock);
	free(s);
}

static const struct blk_backend sim_ops = {
	.name = "sim",
	.transfer = sim_transfer,
	.flush = sim_flush,
	.discard = sim_discard,
	.close = sim_close,
};

size_t sim_pages_nr_own(const struct sim_pages *p)
{
	size_t nr = 0;

	for (u64 w = 0; w < DIV_ROUND_UP(p->sectors, 64); w++)
		nr += (size_t)__builtin_popcountll(p->owned[w]);
	return nr;
}

/* Own pages become foreign ones, which are never written and stay as long as the device. */
static void keep_owned(struct sim_dev *s)
{
	struct sim_pages *p = &s->now;

	for (u64 w = 0; w < DIV_ROUND_UP(p->sectors, 64); w++) {
		for (u64 bits = p->owned[w]; bits; bits &= bits - 1) {
			u64 i = w * 64 + (u64)__builtin_ctzll(bits);

			s->kept[s->nr_kept++] = (u8 *)(uintptr_t)p->page[i];
		}
		p->owned[w] = 0;
	}
}

int sim_start_recording(struct sim_dev *s)
{
	size_t bytes = s->now.sectors * sizeof(*s->start);

	s->start = malloc(bytes);
	s->kept = calloc(sim_pages_nr_own(&s->now) + 1, sizeof(*s->kept));
	if (!s->start || !s->kept)
		return -ENOMEM;
	memcpy(s->start, s->now.page, bytes);
	keep_owned(s);
	s->record = true;
	return 0;
}

int sim_make(u64 sectors, u32 logical_size, const u8 *const *page, struct sim_dev **out)
{
	struct sim_dev *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	err = pages_init(&s->now, sectors, page);
	if (err) {
		pages_fini(&s->now);
		free(s);
		return err;
	}
	mutex_init(&s->lock, RANK_BLK);
	blk_dev_init(&s->dev, &sim_ops, sectors, logical_size);
	*out = s;
	return 0;
}

int sim_open(const struct sim_opts *opts, struct blk_dev **out)
{
	struct sim_dev *s;
	int err = sim_make(opts->sectors, opts->logical_size ? opts->logical_size : 512, NULL, &s);

	if (!err)
		s->dev.fua = opts->fua;
	if (!err && opts->record) {
		err = sim_start_recording(s);
		if (err)
			blk_close(&s->dev);
	}
	if (!err)
		*out = &s->dev;
	return err;
}
