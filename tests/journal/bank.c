/* See bank.h. Bodies here follow the rules of journal.h; the model is updated after publishing. */
#include "bank.h"

#include "base/hash.h"
#include "base/log.h"
#include "blk/sim.h"
#include "journal/jnl_priv.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

u64 bank_random(struct bank *b)
{
	b->seed = b->seed * 6364136223846793005ull + 1442695040888963407ull;
	return b->seed >> 33;
}

static u64 account_sector(const struct bank *b, unsigned i)
{
	return fmt_map_sector(&b->geo, 0) + i;
}

static u64 node_place(const struct bank *b, unsigned i)
{
	return ALIGN_UP(fmt_space_start(&b->geo, 0), (u64)NODE_SECTORS) + i * NODE_SECTORS;
}

static void write_account(struct bank *b, unsigned i)
{
	struct fmt_map *m = aligned_alloc(SECTOR_SIZE, SECTOR_SIZE);

	memset(m, 0, sizeof(*m));
	fmt_hdr_init(m, FMT_KIND_MAP, account_sector(b, i), b->geo.fsid, 0);
	fmt_hdr_seal(m, sizeof(*m), 0);
	ck_assert_int_eq(blk_write(b->dev, account_sector(b, i), m, 1, BLK_META), 0);
	free(m);
}

static void no_log(enum log_level level, const char *line, void *arg)
{
	(void)level, (void)line, (void)arg;
}

struct bank *bank_new(u64 seed)
{
	struct cache_config cfg = { .bytes = 4u << 20, .max_order = 0xff };
	struct sim_opts so = { .sectors = 12288, .record = true };
	struct bank *b = malloc(sizeof(*b));
	struct blk_dev *dev;

	log_set_sink(no_log, NULL);
	ck_assert_int_eq(cache_init(&cfg), 0);
	ck_assert_int_eq(sim_open(&so, &dev), 0);
	bank_format(b, dev, seed);
	ck_assert_int_eq(bank_open(b), 0);
	return b;
}

void bank_free(struct bank *b)
{
	jnl_close(b->j, false);
	blk_close(b->dev);
	free(b);
	cache_fini();
}

void bank_format(struct bank *b, struct blk_dev *dev, u64 seed)
{
	memset(b, 0, sizeof(*b));
	b->dev = dev;
	b->seed = seed;
	ck_assert_int_eq(fmt_geo_make(blk_sectors(dev), 4096, FMT_JNL_MIN_SECTORS, &b->geo), 0);
	b->geo.fsid = seed ^ 0x5ca1ab1e;
	ck_assert_int_eq(jnl_format(dev, &b->geo), 0);
	for (unsigned i = 0; i < BANK_SECTORS; i++)
		write_account(b, i);
	ck_assert_int_eq(blk_flush(dev), 0);
}

int bank_open(struct bank *b)
{
	struct jnl_config cfg = { .dev = b->dev, .geo = &b->geo };

	return jnl_open(&cfg, &b->j, NULL);
}

/* ---- one handle ---- */

struct move {
	struct bank *b;
	unsigned from, to;
	int node;                 /* place to create or free, -1 none */
	u64 stamp;                /* != 0: create */
	u32 step;
};

static int body_account(struct view *v, const struct move *m, unsigned i, u32 value)
{
	struct fmt_map *map;
	int r = view_edit(v, account_sector(m->b, i), FMT_KIND_MAP, (void **)&map);

	if (r)
		return r;
	map->entry[0] = put32(value);
	map->entry[(1 + m->step) % BANK_SLOTS + 1] = put32(m->step);    /* scattered chunks */
	return 0;
}

int bank_put_node(struct view *v, u64 at, u64 stamp)
{
	struct fmt_node *n;
	int r = view_new(v, at, FMT_KIND_NODE, FMT_TREE_XATTR, (void **)&n);

	if (r)
		return r;
	n->nr = put16(1);
	n->heap = put32(BANK_STAMP_AT);
	n->slot[0] = (struct fmt_slot){ .a = put64(2), .b = put64(0x10001),
		.off = put16(BANK_STAMP_AT), .len = put16(64) };
	memset((u8 *)n + BANK_STAMP_AT, (int)stamp, 64);
	memcpy((u8 *)n + BANK_STAMP_AT, &stamp, 8);
	return 0;
}

static int body_node(struct view *v, const struct move *m)
{
	u64 at = node_place(m->b, (unsigned)m->node);

	if (!m->stamp) {
		view_forget(v, at, FMT_KIND_NODE);
		return view_busy(v, at, NODE_SECTORS);
	}
	return bank_put_node(v, at, m->stamp);
}

static int body_move(struct view *v, void *arg)
{
	const struct move *m = arg;
	const struct bank_state *s = &m->b->state[m->step - 1];
	u32 amount = m->step * 7;
	int r = body_account(v, m, 0, m->step);

	if (!r)
		r = body_account(v, m, m->from, s->money[m->from] - amount);
	if (!r && m->to != m->from)
		r = body_account(v, m, m->to, s->money[m->to] + amount);
	if (!r && m->node >= 0)
		r = body_node(v, m);
	return r;
}

struct ask { u64 at; bool busy; };

static int body_ask_busy(struct view *v, void *arg)
{
	struct ask *a = arg;
	u64 s, e;

	a->busy = view_next_busy(v, a->at, a->at + NODE_SECTORS, &s, &e);
	return 0;
}

static bool place_busy(struct bank *b, unsigned place)
{
	struct ask a = { .at = node_place(b, place) };

	ck_assert_int_eq(jnl_read(b->j, body_ask_busy, &a), 0);
	return a.busy;
}

static void model_move(struct bank *b, const struct move *m)
{
	struct bank_state *s = &b->state[m->step];

	*s = b->state[m->step - 1];
	s->money[0] = m->step;
	s->money[m->from] -= m->step * 7;
	if (m->to != m->from)
		s->money[m->to] += m->step * 7;
	if (m->node < 0)
		return;
	s->node[m->node] = m->stamp;
	for (unsigned i = 0; m->stamp && i < b->nr_data; i++)
		if (b->data[i].place == (unsigned)m->node && b->data[i].gone_at == SIZE_MAX)
			b->data[i].gone_at = sim_nr_events(b->dev);
}

/* Write data where a node was, as a file would that got the place. */
static void reuse_place(struct bank *b)
{
	unsigned place = bank_random(b) % BANK_NODES;
	u64 at = node_place(b, place), stamp = bank_random(b) | 1;
	u8 *buf;

	if (b->state[b->steps].node[place] || place_busy(b, place))
		return;
	for (unsigned i = 0; i < b->nr_data; i++)
		if (b->data[i].place == place && b->data[i].gone_at == SIZE_MAX)
			b->data[i].gone_at = sim_nr_events(b->dev);
	buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	memset(buf, (int)stamp, NODE_SIZE);
	memcpy(buf, &stamp, 8);
	ck_assert_int_eq(blk_write(b->dev, at, buf, NODE_SECTORS, BLK_DATA), 0);
	ck_assert_int_eq(blk_flush(b->dev), 0);
	free(buf);
	b->data[b->nr_data++] = (struct bank_data){ place, stamp, sim_nr_events(b->dev), SIZE_MAX };
}

int bank_commit(struct bank *b)
{
	int r = jnl_commit(b->j, b->last_seq);

	if (!r) {
		b->durable[b->nr_durable].at = sim_nr_events(b->dev);
		b->durable[b->nr_durable++].step = b->steps;
	}
	return r;
}

int bank_step(struct bank *b)
{
	struct move m = { .b = b, .node = -1, .step = b->steps + 1 };
	u64 dice = bank_random(b) % 100;
	int r;

	m.from = 1 + bank_random(b) % (BANK_SECTORS - 1);
	m.to = 1 + bank_random(b) % (BANK_SECTORS - 1);
	if (dice < 40) {
		m.node = (int)(bank_random(b) % BANK_NODES);
		m.stamp = b->state[b->steps].node[m.node] ? 0 : bank_random(b) | 1;
		if (m.stamp && place_busy(b, (unsigned)m.node))
			m.node = -1;
	}
	r = jnl_run(b->j, 8, body_move, &m, &b->last_seq);
	if (r)
		return r;
	model_move(b, &m);
	b->steps++;
	b->step_at[b->steps] = sim_nr_events(b->dev);
	if (dice >= 85)
		reuse_place(b);
	if (dice % 7 == 0)
		r = bank_commit(b);
	if (!r && dice == 50)
		r = jnl_checkpoint_all(b->j);
	/* As the journal's thread: without a commit before, and not all of it. */
	if (!r && dice >= 51 && dice <= 53)
		r = checkpoint_to(b->j, bank_random(b) % (b->j->used + 1), UINT64_MAX);
	return r;
}

/* ---- verifying an image ---- */

struct verify {
	const struct bank *b;
	u32 step;
	const char *wrong;
};

static int body_step(struct view *v, void *arg)
{
	struct verify *c = arg;
	const struct fmt_map *m;
	int r = view_get(v, account_sector(c->b, 0), FMT_KIND_MAP, (const void **)&m);

	if (!r)
		c->step = get32(m->entry[0]);
	return r;
}

static int body_compare(struct view *v, void *arg)
{
	struct verify *c = arg;
	const struct bank_state *s = &c->b->state[c->step];
	const struct fmt_map *m;
	const struct fmt_node *n;
	int r = 0;

	c->wrong = NULL;
	for (unsigned i = 0; !r && i < BANK_SECTORS; i++) {
		r = view_get(v, account_sector(c->b, i), FMT_KIND_MAP, (const void **)&m);
		if (!r && get32(m->entry[0]) != s->money[i])
			c->wrong = "an account differs from the state that account 0 names";
	}
	for (unsigned i = 0; !r && i < BANK_NODES; i++) {
		if (!s->node[i])
			continue;
		r = view_get(v, node_place(c->b, i), FMT_KIND_NODE, (const void **)&n);
		if (!r && memcmp((const u8 *)n + BANK_STAMP_AT, &s->node[i], 8))
			c->wrong = "a node has other contents than in its state";
	}
	return r;
}

static u32 promised_step(const struct bank *b, size_t events)
{
	u32 step = 0;

	for (unsigned i = 0; i < b->nr_durable && b->durable[i].at <= events; i++)
		step = b->durable[i].step;
	return step;
}

static const char *verify_data(const struct bank *b, struct blk_dev *dev, size_t events)
{
	u64 *buf = aligned_alloc(SECTOR_SIZE, NODE_SIZE);
	const char *wrong = NULL;

	for (unsigned i = 0; i < b->nr_data; i++) {
		const struct bank_data *d = &b->data[i];

		if (d->durable_at > events || d->gone_at <= events)
			continue;
		if (blk_read(dev, node_place(b, d->place), buf, NODE_SECTORS, BLK_DATA) ||
		    buf[0] != d->stamp)
			wrong = "flushed data in a freed node's place was overwritten";
	}
	free(buf);
	return wrong;
}

static const char *verify_state(struct verify *c, struct jnl *j, size_t events)
{
	if (jnl_read(j, body_step, c))
		return "account 0 can't be read";
	if (c->step < promised_step(c->b, events))
		return "a committed handle is missing";
	if (c->step > c->b->steps)
		return "a state from the future";
	if (jnl_read(j, body_compare, c))
		return "a buffer of the state can't be read";
	return c->wrong;
}

const char *bank_verify(const struct bank *b, struct blk_dev *dev, size_t events)
{
	struct jnl_config cfg = { .dev = dev, .geo = &b->geo };
	struct verify c = { .b = b };
	const char *wrong;
	struct jnl *j;

	if (jnl_open(&cfg, &j, NULL))
		return "recovery failed";
	wrong = verify_state(&c, j, events);
	if (!wrong)
		wrong = verify_data(b, dev, events);
	jnl_close(j, true);
	return wrong;
}
