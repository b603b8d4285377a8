/* See fakeview.h. One thread only. */
#include "fakeview.h"

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"

struct buf {
	RB_ENTRY(buf) node;
	u64 addr;
	enum fmt_kind kind;
	u64 touched;             /* the run that has it in memory */
	void *data;              /* published, or NULL */
	void *copy;              /* of the run under way, or NULL */
	bool forgotten;          /* by the run under way */
	bool changed;            /* on the list of what that run changed */
	TAILQ_ENTRY(buf) link;
};
TAILQ_HEAD(buf_list, buf);

struct busy {
	TAILQ_ENTRY(busy) link;
	u64 start, end;
	bool published;
};

#define HOOKS_MAX 256

RB_HEAD(bufs, buf);

struct jnl {
	const struct fmt_geo *geo;
	void *host;
	struct bufs bufs;
	struct buf_list changed;
	TAILQ_HEAD(, busy) busy;
	u64 random, seq, again;
	unsigned missing;
};

struct view {
	struct jnl *j;
	bool write;
	u64 call;                /* one number for a jnl_run() or jnl_read() */
	u64 run;                 /* and one for each try */
	unsigned nr_edit, nr_hook;
	struct { void (*fn)(void *, u64); void *arg; } hook[HOOKS_MAX];
};

static int buf_cmp(struct buf *x, struct buf *y)
{
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

RB_PROTOTYPE(bufs, buf, node, buf_cmp)
RB_GENERATE(bufs, buf, node, buf_cmp)

static u32 roll(struct jnl *j, u32 below)
{
	j->random = j->random * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(j->random >> 33) % below;
}

static struct buf *buf_find(struct jnl *j, u64 addr)
{
	struct buf key = { .addr = addr };

	return RB_FIND(bufs, &j->bufs, &key);
}

static size_t kind_bytes(enum fmt_kind kind)
{
	return (size_t)fmt_kind_sectors(kind) * SECTOR_SIZE;
}

static struct buf *buf_make(struct jnl *j, u64 addr, enum fmt_kind kind)
{
	struct buf *b = calloc(1, sizeof(*b));

	b->addr = addr;
	b->kind = kind;
	RB_INSERT(bufs, &j->bufs, b);
	return b;
}

static void buf_remove(struct jnl *j, struct buf *b)
{
	RB_REMOVE(bufs, &j->bufs, b);
	free(b->data);
	free(b->copy);
	free(b);
}

static void buf_change(struct jnl *j, struct buf *b)
{
	if (!b->changed)
		TAILQ_INSERT_TAIL(&j->changed, b, link);
	b->changed = true;
}

/* ---- views ---- */

/* The first touch in a run may find the buffer missing; a second one never does. */
static int view_find(struct view *v, u64 addr, enum fmt_kind kind, struct buf **out)
{
	struct buf *b = buf_find(v->j, addr);

	if (!b || b->forgotten || (!b->data && !b->copy))
		return corrupt(WHY_HDR_MAGIC, CORRUPT_NO_INO, addr);
	if (b->kind != kind)
		return corrupt(WHY_HDR_TYPE, CORRUPT_NO_INO, addr);
	if (b->touched != v->call && !b->copy) {
		b->touched = v->call;
		if (roll(v->j, 100) < v->j->missing)
			return -EAGAIN;
	}
	*out = b;
	return 0;
}

int view_get(struct view *v, u64 addr, enum fmt_kind kind, const void **out)
{
	struct buf *b;
	int r = view_find(v, addr, kind, &b);

	if (r == 0)
		*out = b->copy ? b->copy : b->data;
	return r;
}

int view_edit(struct view *v, u64 addr, enum fmt_kind kind, void **out)
{
	struct buf *b;
	int r = view_find(v, addr, kind, &b);

	ASSERT(v->write);
	if (r)
		return r;
	if (!b->copy) {
		b->copy = malloc(kind_bytes(kind));
		memcpy(b->copy, b->data, kind_bytes(kind));
		buf_change(v->j, b);
		v->nr_edit++;
	}
	*out = b->copy;
	return 0;
}

/* All of a copy is published here, so it makes no difference what is named. */
int view_edit_part(struct view *v, u64 addr, enum fmt_kind kind, void **out)
{
	return view_edit(v, addr, kind, out);
}

void view_touch(struct view *v, const void *buf, u32 off, u32 len)
{
	(void)v, (void)buf, (void)off, (void)len;
}

int view_new(struct view *v, u64 addr, enum fmt_kind kind, u64 owner, void **out)
{
	struct buf *b = buf_find(v->j, addr);

	ASSERT(v->write);
	if (!b)
		b = buf_make(v->j, addr, kind);
	if (!b->copy && roll(v->j, 100) < v->j->missing / 2 && b->touched != v->call) {
		b->touched = v->call;
		return -EAGAIN;
	}
	buf_change(v->j, b);
	free(b->copy);
	b->kind = kind;
	b->forgotten = false;
	b->copy = calloc(1, kind_bytes(kind));
	fmt_hdr_init(b->copy, kind, addr, v->j->geo->fsid, owner);
	v->nr_edit++;
	*out = b->copy;
	return 0;
}

void view_forget(struct view *v, u64 addr, enum fmt_kind kind)
{
	struct buf *b = buf_find(v->j, addr);

	ASSERT(v->write);
	if (b && b->kind == kind) {
		b->forgotten = true;
		buf_change(v->j, b);
	}
}

void view_forget_data(struct view *v UNUSED, u64 sector UNUSED, u32 nr UNUSED)
{
}

int view_busy(struct view *v, u64 sector, u64 nr)
{
	struct busy *b = calloc(1, sizeof(*b));

	b->start = sector;
	b->end = sector + nr;
	TAILQ_INSERT_TAIL(&v->j->busy, b, link);
	return 0;
}

bool view_next_busy(struct view *v, u64 sector, u64 end, u64 *busy_start, u64 *busy_end)
{
	struct busy *b, *first = NULL;

	TAILQ_FOREACH(b, &v->j->busy, link)
		if (b->start < end && b->end > sector && (!first || b->start < first->start))
			first = b;
	if (!first)
		return false;
	*busy_start = first->start;
	*busy_end = first->end;
	return true;
}

int view_on_publish(struct view *v, void (*fn)(void *arg, u64 seq), void *arg)
{
	if (v->nr_hook == HOOKS_MAX)
		return -ENOMEM;
	v->hook[v->nr_hook].fn = fn;
	v->hook[v->nr_hook++].arg = arg;
	return 0;
}

u64 view_run(struct view *v)
{
	return v->run;
}

const struct fmt_geo *view_geo(struct view *v)
{
	return v->j->geo;
}

bool view_writable(struct view *v)
{
	return v->write;
}

void *view_host(struct view *v)
{
	return v->j->host;
}

/* ---- runs ---- */

static void drop(struct view *v)
{
	struct busy *busy, *next_busy;
	struct buf *b, *next;

	TAILQ_FOREACH_SAFE(b, &v->j->changed, link, next) {
		free(b->copy);
		b->copy = NULL;
		b->forgotten = b->changed = false;
	}
	TAILQ_INIT(&v->j->changed);
	TAILQ_FOREACH_SAFE(busy, &v->j->busy, link, next_busy) {
		if (busy->published)
			continue;
		TAILQ_REMOVE(&v->j->busy, busy, link);
		free(busy);
	}
}

static void publish(struct view *v)
{
	struct buf *b, *next;
	struct busy *busy;

	v->j->seq++;
	TAILQ_FOREACH_SAFE(b, &v->j->changed, link, next) {
		b->changed = false;
		if (b->forgotten) {
			buf_remove(v->j, b);
		} else if (b->copy) {
			free(b->data);
			b->data = b->copy;
			b->copy = NULL;
		}
	}
	TAILQ_INIT(&v->j->changed);
	TAILQ_FOREACH(busy, &v->j->busy, link)
		busy->published = true;
	for (unsigned i = 0; i < v->nr_hook; i++)
		v->hook[i].fn(v->hook[i].arg, v->j->seq);
}

static int run(struct view *v, jnl_body body, void *arg)
{
	static u64 calls, runs;
	int r;

	v->call = ++calls;
	for (;;) {
		v->run = ++runs;
		v->nr_edit = v->nr_hook = 0;
		r = body(v, arg);
		if (r != -EAGAIN)
			return r;
		drop(v);
		v->j->again++;
	}
}

int jnl_read(struct jnl *j, jnl_body body, void *arg)
{
	struct view v = { .j = j };

	return run(&v, body, arg);
}

int jnl_run(struct jnl *j, unsigned credits, jnl_body body, void *arg, u64 *seq)
{
	struct view v = { .j = j, .write = true };
	int r = run(&v, body, arg);

	ASSERT(v.nr_edit <= credits && credits <= JNL_CREDITS_MAX);
	if (r) {
		drop(&v);
		return r;
	}
	publish(&v);
	if (seq)
		*seq = j->seq;
	return 0;
}

bool jnl_has_busy(struct jnl *j)
{
	return !TAILQ_EMPTY(&j->busy);
}

u64 jnl_newest_seq(struct jnl *j)
{
	return j->seq;
}

int jnl_commit_freed(struct jnl *j)
{
	return jnl_commit(j, 0);
}

int jnl_commit(struct jnl *j, u64 seq)
{
	struct busy *busy;

	(void)seq;
	while ((busy = TAILQ_FIRST(&j->busy))) {
		TAILQ_REMOVE(&j->busy, busy, link);
		free(busy);
	}
	return 0;
}

/* ---- control ---- */

static void *make_published(struct jnl *j, u64 addr, enum fmt_kind kind)
{
	struct buf *b = buf_make(j, addr, kind);

	b->data = calloc(1, kind_bytes(kind));
	fmt_hdr_init(b->data, kind, addr, j->geo->fsid, 0);
	return b->data;
}

struct jnl *fake_new(const struct fmt_geo *geo, void *host, u64 seed)
{
	struct jnl *j = calloc(1, sizeof(*j));
	struct fmt_root *root;
	u64 sum = 0;

	j->geo = geo;
	j->host = host;
	j->random = seed;
	RB_INIT(&j->bufs);
	TAILQ_INIT(&j->busy);
	TAILQ_INIT(&j->changed);
	root = make_published(j, geo->root_sector, FMT_KIND_ROOT);
	for (u32 i = 0; i < geo->gtable_nr; i++)
		make_published(j, geo->gtable_sector + i, FMT_KIND_GTABLE);
	for (u32 g = 0; g < geo->nr_groups; g++) {
		struct fmt_gtable *gt = fake_buf(j, geo->gtable_sector + g / FMT_GROUPS_PER_SECTOR);
		u64 nr = fmt_group_start(geo, g) + fmt_group_len(geo, g) - fmt_space_start(geo, g);

		gt->g[g % FMT_GROUPS_PER_SECTOR].free = put32((u32)nr);
		sum += nr;
	}
	root->free_sectors = put64(sum);
	return j;
}

void fake_free(struct jnl *j)
{
	struct buf *b;

	jnl_commit(j, 0);
	while ((b = RB_ROOT(&j->bufs)))
		buf_remove(j, b);
	free(j);
}

void fake_set_missing(struct jnl *j, unsigned percent)
{
	j->missing = percent;
}

void *fake_buf(struct jnl *j, u64 addr)
{
	struct buf *b = buf_find(j, addr);

	return b ? b->data : NULL;
}

bool fake_is_busy(struct jnl *j, u64 sector, u64 nr)
{
	struct view v = { .j = j };
	u64 start, end;

	return view_next_busy(&v, sector, sector + nr, &start, &end);
}

u64 fake_runs_again(struct jnl *j)
{
	return j->again;
}

u64 fake_hash(struct jnl *j)
{
	struct buf *b;
	u64 h = 0;

	RB_FOREACH(b, bufs, &j->bufs)
		if (b->data)
			h = hash64_seed(b->data, kind_bytes(b->kind), h + b->addr);
	return h;
}
