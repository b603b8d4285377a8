/*
 * Views, handles and publishing.
 *
 * 1. A body sees published buffers. A handle changes them where they are: from its first change to
 *    its end it holds RANK_META exclusively, so nobody else sees a buffer in between. A new buffer
 *    is a private copy until it is published: the place may still be read by who has an old view.
 * 2. What a chunk of 64 bytes held before it is changed is saved first: that undoes a run that
 *    comes to nothing. So neither a handle nor an error costs more than what was touched.
 * 3. A body never waits: what is not in memory, or needs room, ends the attempt; the runner gets
 *    it without locks and tries again. What was loaded stays referenced until the run ends, so
 *    each attempt gets further than the one before.
 * 4. publish() cannot fail: everything it needs was allocated while the body ran, and room in the
 *    log is checked before the first byte is changed.
 * 5. Saved chunks are compared with what they hold at the end, so what is logged is exactly what
 *    changed, whatever the body did. Bodies on the hot path name the bytes that they are about to
 *    change, others get all of the buffer saved.
 */
#include "base/time.h"
#include "journal/jnl_priv.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	u64 addr;
	enum fmt_kind kind;
	bool whole;                /* view_log_whole() */
	bool changed;              /* publish(): differs from what it was */
	u64 touched[CHUNK_WORDS];  /* chunks that are saved in `old` */
	u64 diff[CHUNK_WORDS];     /* publish(): chunks that differ */
	struct folio *folio;       /* with a reference */
	void *copy;                /* view_new: what it will hold, or NULL */
	void *old;                 /* being changed: what touched chunks held, at their offsets */
	struct jnl_buf *buf;       /* made ready in case the folio has none at publish */
};

struct hook {
	void (*fn)(void *arg, u64 seq);
	void *arg;
};

/* A folio that was brought in for this run. */
struct held {
	u64 addr;
	int error;                 /* why it could not be loaded */
	struct folio *folio;
};

struct view {
	struct jnl *j;
	u64 run;                   /* of this attempt */
	bool write;
	bool exclusive;            /* holds RANK_META: something is being changed */
	struct entry *entry;
	unsigned nr, max;
	unsigned nr_edit;
	struct hook *hook;
	unsigned nr_hook;
	struct revokes revokes;
	struct busy_list busy;
	bool has_busy;
	u64 more_log, keep;        /* bytes, sectors: view_more_log() */
	bool no_memory;            /* a revoke could not be noted: the attempt fails */
	/* for the runner */
	struct held *held;
	unsigned nr_held, max_held;
	u64 want_addr;             /* what made the last attempt give up */
	enum fmt_kind want_kind;
	bool want_new, want;
	bool reserved;             /* jnl_run_reserved() */
	u64 want_room;             /* bytes in the log */
};

#define RUN_TRIES_MAX 10000u       /* a body that never gets all it asks for is a bug */

static int grow(void **array, unsigned *max, unsigned nr, size_t size)
{
	unsigned n = *max ? *max * 2 : 32;
	void *p;

	if (nr < *max)
		return 0;
	p = realloc(*array, n * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*max = n;
	return 0;
}

static struct entry *view_find(struct view *v, u64 addr)
{
	for (unsigned i = v->nr; i-- > 0;)
		if (v->entry[i].addr == addr)
			return &v->entry[i];
	return NULL;
}

static struct held *held_find(struct view *v, u64 addr)
{
	for (unsigned i = 0; i < v->nr_held; i++)
		if (v->held[i].addr == addr)
			return &v->held[i];
	return NULL;
}

static int view_want(struct view *v, u64 addr, enum fmt_kind kind, bool fresh)
{
	struct held *h = held_find(v, addr);

	/* Asked for again: it is not one that was freed meanwhile. */
	if (h && (h->error == -EBADMSG || h->error == -EUCLEAN))
		corrupt(h->error == -EBADMSG ? WHY_HDR_CHECKSUM : WHY_BUFFER, CORRUPT_NO_INO, addr);
	if (h && h->error)
		return h->error;
	v->want = true;
	v->want_addr = addr;
	v->want_kind = kind;
	v->want_new = fresh;
	return -EAGAIN;
}

static int view_enter(struct view *v, u64 addr, enum fmt_kind kind, struct folio *f,
		      struct entry **out)
{
	int r = grow((void **)&v->entry, &v->max, v->nr, sizeof(*v->entry));

	if (r) {
		folio_put(f);
		return r;
	}
	*out = &v->entry[v->nr++];
	**out = (struct entry){ .addr = addr, .kind = kind, .folio = f };
	return 0;
}

static void *entry_data(const struct entry *e)
{
	return e->copy ? e->copy : folio_data(e->folio);
}

/* A pointer from one damaged buffer may lead to a good one of another kind. */
static int entry_check(const struct entry *e, enum fmt_kind kind)
{
	const struct fmt_hdr *h = entry_data(e);

	if (kind == FMT_KIND_DATA || e->kind == FMT_KIND_DATA)
		return kind == e->kind ? 0 : corrupt(WHY_HDR_TYPE, CORRUPT_NO_INO, e->addr);
	if (get16(h->kind) != kind || get64(h->addr) != e->addr)
		return corrupt(WHY_HDR_TYPE, CORRUPT_NO_INO, e->addr);
	return 0;
}

static int view_lookup(struct view *v, u64 addr, enum fmt_kind kind, struct entry **out)
{
	struct entry *e = view_find(v, addr);
	struct folio *f;
	int r;

	if (!e) {
		f = cache_find(&v->j->mapping, addr);
		if (!f)
			return view_want(v, addr, kind, false);
		if (f->index != addr || !folio_has(f, FOLIO_UPTODATE)) {
			folio_put(f);
			return view_want(v, addr, kind, false);
		}
		r = view_enter(v, addr, kind, f, &e);
		if (r)
			return r;
	}
	r = entry_check(e, kind);
	if (!r)
		*out = e;
	return r;
}

int view_get(struct view *v, u64 addr, enum fmt_kind kind, const void **out)
{
	struct entry *e;
	int r = view_lookup(v, addr, kind, &e);

	if (!r)
		*out = entry_data(e);
	return r;
}

static u32 entry_len(const struct entry *e)
{
	return fmt_kind_sectors(e->kind) * SECTOR_SIZE;
}

/* ---- changing ---- */

static void view_exclude(struct view *v)
{
	if (!v->exclusive)
		rwlock_wrlock(&v->j->meta);
	v->exclusive = true;
}

static void view_admit(struct view *v)
{
	if (v->exclusive)
		rwlock_unlock(&v->j->meta);
	v->exclusive = false;
}

/* Memory for the contents of a buffer of any kind. The handle is ours, here and below. */
static void *spare_take(struct jnl *j)
{
	return j->nr_spare > 0 ? j->spare[--j->nr_spare] : aligned_alloc(64, NODE_SIZE);
}

static void spare_give(struct jnl *j, void *mem)
{
	if (mem && j->nr_spare < ARRAY_LEN(j->spare))
		j->spare[j->nr_spare++] = mem;
	else
		free(mem);
}

/* *mem, for the contents, and what publishing the entry will need. */
static int entry_prepare(struct view *v, struct entry *e, void **mem)
{
	if (!e->buf)
		e->buf = buf_new(e->folio, e->addr, e->kind);
	if (e->buf)
		*mem = spare_take(v->j);
	if (!e->buf || !*mem)
		return -ENOMEM;
	v->nr_edit++;
	return 0;
}

/* Bits [first, end) of word w. */
static u64 word_mask(u32 w, u32 first, u32 end)
{
	u64 mask = ~0ull;

	if (first > w * 64)
		mask <<= first - w * 64;
	if (end < (w + 1) * 64)
		mask &= ~(~0ull << (end - w * 64));
	return mask;
}

static void copy_chunks(u8 *to, const u8 *from, u32 w, u64 chunks)
{
	for (u64 m = chunks; m; m &= m - 1) {
		u32 off = (w * 64 + (u32)__builtin_ctzll(m)) << CHUNK_SHIFT;

		memcpy(to + off, from + off, CHUNK_BYTES);
	}
}

/* Saves the chunks [first, end) that are not saved yet. */
static void entry_save(struct entry *e, u32 first, u32 end)
{
	for (u32 w = first / 64; w * 64 < end; w++) {
		u64 more = word_mask(w, first, end) & ~e->touched[w];

		copy_chunks(e->old, folio_data(e->folio), w, more);
		e->touched[w] |= more;
	}
}

/* All is as it was before the run again. */
static void entry_restore(struct entry *e)
{
	for (u32 w = 0; w < CHUNK_WORDS; w++)
		copy_chunks(folio_data(e->folio), e->old, w, e->touched[w]);
	memset(e->touched, 0, sizeof(e->touched));
}

/* Test builds look for changes that were not named. */
static bool save_unnamed(struct entry *e)
{
	memcpy(e->old, folio_data(e->folio), entry_len(e));
	return true;
}

static int edit(struct view *v, u64 addr, enum fmt_kind kind, struct entry **out)
{
	int r = view_lookup(v, addr, kind, out);
	struct entry *e;

	ASSERT(v->write);
	if (r)
		return r;
	e = *out;
	if (e->copy || e->old)
		return 0;
	r = entry_prepare(v, e, &e->old);
	if (r)
		return r;
	view_exclude(v);
	ASSERT_SLOW(save_unnamed(e));
	return 0;
}

int view_edit(struct view *v, u64 addr, enum fmt_kind kind, void **out)
{
	struct entry *e;
	int r = edit(v, addr, kind, &e);

	if (r)
		return r;
	if (e->old)
		entry_save(e, 0, entry_len(e) >> CHUNK_SHIFT);
	*out = entry_data(e);
	return 0;
}

int view_edit_part(struct view *v, u64 addr, enum fmt_kind kind, void **out)
{
	struct entry *e;
	int r = edit(v, addr, kind, &e);

	if (r == 0)
		*out = entry_data(e);
	return r;
}

void view_touch(struct view *v, const void *buf, u32 off, u32 len)
{
	unsigned i = v->nr;

	while (i > 0 && entry_data(&v->entry[i - 1]) != buf)
		i--;
	ASSERT(i > 0);
	if (len > 0 && v->entry[i - 1].old)
		entry_save(&v->entry[i - 1], off >> CHUNK_SHIFT,
			   ((off + len - 1) >> CHUNK_SHIFT) + 1);
}

/* The entry of a buffer that is about to be made, with its folio. */
static int view_enter_new(struct view *v, u64 addr, enum fmt_kind kind, struct entry **out)
{
	struct folio *f;
	int r = buf_grab(v->j, addr, kind, CACHE_NOWAIT, &f);

	if (r == -EAGAIN)
		return view_want(v, addr, kind, true);
	return r ? r : view_enter(v, addr, kind, f, out);
}

int view_new(struct view *v, u64 addr, enum fmt_kind kind, u64 owner, void **out)
{
	struct entry *e = view_find(v, addr);
	int r = 0;

	ASSERT(v->write);
	if (!e)
		r = view_enter_new(v, addr, kind, &e);
	if (r)
		return r;
	if (e->old) {
		entry_restore(e);
		spare_give(v->j, e->old);
		e->old = NULL;
		v->nr_edit--;
	}
	e->kind = kind;
	if (!e->copy)
		r = entry_prepare(v, e, &e->copy);
	if (r)
		return r;
	e->buf->kind = kind;
	memset(e->copy, 0, entry_len(e));
	if (kind != FMT_KIND_DATA)
		fmt_hdr_init(e->copy, kind, addr, v->j->geo->fsid, owner);
	*out = e->copy;
	return 0;
}

int view_log_whole(struct view *v, u64 addr, enum fmt_kind kind)
{
	struct entry *e;
	int r = edit(v, addr, kind, &e);

	if (!r)
		e->whole = true;
	return r;
}

void view_more_log(struct view *v, u64 bytes, u64 reserve)
{
	v->more_log += bytes;
	v->keep += reserve;
}

static void entry_fini(struct entry *e)
{
	free(e->copy);
	free(e->old);
	buf_free(e->buf);
	folio_put(e->folio);
}

/* The revoke is what keeps an old image from coming back: no memory for it, no publishing. */
static void view_revoke(struct view *v, u64 addr, enum fmt_kind kind, u32 nr)
{
	struct revoke *r = malloc(sizeof(*r));

	if (!r) {
		v->no_memory = true;
		return;
	}
	*r = (struct revoke){ .kind = kind, .addr = addr, .nr = nr };
	STAILQ_INSERT_TAIL(&v->revokes, r, link);
}

void view_forget_data(struct view *v, u64 addr, u32 nr)
{
	bool needed;

	mutex_lock(&v->j->lock);
	needed = data_in_log(v->j);
	mutex_unlock(&v->j->lock);
	if (needed)
		view_revoke(v, addr, FMT_KIND_DATA, nr);
}

void view_forget(struct view *v, u64 addr, enum fmt_kind kind)
{
	struct entry *e = view_find(v, addr);

	view_revoke(v, addr, kind, fmt_kind_sectors(kind));
	if (e) {
		if (e->old)
			entry_restore(e);
		entry_fini(e);
		*e = v->entry[--v->nr];
	}
}

int view_busy(struct view *v, u64 sector, u64 nr)
{
	struct busy *b = malloc(sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->start = sector;
	b->end = sector + nr;
	STAILQ_INSERT_TAIL(&v->busy, b, link);
	v->has_busy = true;
	return 0;
}

bool view_next_busy(struct view *v, u64 sector, u64 end, u64 *busy_start, u64 *busy_end)
{
	struct busy *b;
	bool found;
	u64 s, e;

	mutex_lock(&v->j->lock);
	found = busy_next(v->j, sector, end, &s, &e);
	mutex_unlock(&v->j->lock);
	STAILQ_FOREACH(b, &v->busy, link) {
		if (b->end <= sector || b->start >= end || (found && b->start >= s))
			continue;
		found = true;
		s = b->start;
		e = b->end;
	}
	if (found) {
		*busy_start = s;
		*busy_end = e;
	}
	return found;
}

int view_on_publish(struct view *v, void (*fn)(void *arg, u64 seq), void *arg)
{
	struct hook *h = realloc(v->hook, (v->nr_hook + 1) * sizeof(*h));

	if (!h)
		return -ENOMEM;
	v->hook = h;
	h[v->nr_hook++] = (struct hook){ fn, arg };
	return 0;
}

const struct fmt_geo *view_geo(struct view *v)
{
	return v->j->geo;
}

bool view_writable(struct view *v)
{
	return v->write;
}

u64 view_run(struct view *v)
{
	return v->run;
}

void *view_host(struct view *v)
{
	return v->j->cfg.host;
}

/* ---- attempts ---- */

static void view_start(struct view *v)
{
	static u64 runs;

	v->run = __atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED);
	v->nr = v->nr_edit = v->nr_hook = 0;
	STAILQ_INIT(&v->revokes);
	STAILQ_INIT(&v->busy);
	v->has_busy = v->want = v->no_memory = false;
	v->want_room = v->more_log = v->keep = 0;
}

/* Forget everything this attempt did. */
static void view_drop(struct view *v)
{
	struct revoke *r;
	struct busy *b;

	for (unsigned i = 0; i < v->nr; i++)
		entry_fini(&v->entry[i]);
	v->nr = 0;
	while ((r = STAILQ_FIRST(&v->revokes))) {
		STAILQ_REMOVE_HEAD(&v->revokes, link);
		free(r);
	}
	while ((b = STAILQ_FIRST(&v->busy))) {
		STAILQ_REMOVE_HEAD(&v->busy, link);
		free(b);
	}
}

static void view_fini(struct view *v)
{
	for (unsigned i = 0; i < v->nr_held; i++)
		if (v->held[i].folio)
			folio_put(v->held[i].folio);
	free(v->held);
	free(v->entry);
	free(v->hook);
}

static int view_hold(struct view *v, u64 addr, struct folio *f, int error)
{
	struct held *h = held_find(v, addr);
	int r;

	if (h) {                   /* it went away in between: hold the new one */
		if (h->folio)
			folio_put(h->folio);
	} else {
		r = grow((void **)&v->held, &v->max_held, v->nr_held, sizeof(*v->held));
		if (r) {
			if (f)
				folio_put(f);
			return r;
		}
		h = &v->held[v->nr_held++];
	}
	*h = (struct held){ .addr = addr, .error = error, .folio = f };
	return 0;
}

/*
 * Get what the attempt was missing. A buffer that cannot be read is an error only if the next
 * attempt still
 * asks for it: what a reader saw may have been freed since.
 */
static int view_bring(struct view *v)
{
	struct folio *f = NULL;
	int r;

	if (v->want_room && v->reserved)
		return jnl_commit_running(v->j);
	if (v->want_room)
		return jnl_make_room(v->j, v->want_room, v->keep);
	ASSERT(v->want);
	if (v->want_new) {
		r = buf_grab(v->j, v->want_addr, v->want_kind, 0, &f);
		if (r == -EAGAIN)
			return 0;
		return r ? r : view_hold(v, v->want_addr, f, 0);
	}
	r = buf_load(v->j, v->want_addr, v->want_kind, &f);
	if (r == -EAGAIN)
		return 0;
	if (r == -ENOMEM)
		return r;
	return view_hold(v, v->want_addr, f, r);
}

int jnl_read(struct jnl *j, jnl_body body, void *arg)
{
	struct view v = { .j = j };
	int r;

	for (unsigned tries = 0;; tries++) {
		ASSERT(tries < RUN_TRIES_MAX);
		view_start(&v);
		rwlock_rdlock(&j->meta);
		r = body(&v, arg);
		rwlock_unlock(&j->meta);
		view_drop(&v);
		if (r != -EAGAIN || !v.want)
			break;
		r = view_bring(&v);
		if (r)
			break;
	}
	view_fini(&v);
	return r;
}

struct copy {
	u64 addr;
	enum fmt_kind kind;
	void *to;
};

static int copy_body(struct view *v, void *arg)
{
	struct copy *c = arg;
	const void *buf;
	int r = view_get(v, c->addr, c->kind, &buf);

	if (!r)
		memcpy(c->to, buf, fmt_kind_sectors(c->kind) * SECTOR_SIZE);
	return r;
}

int jnl_copy(struct jnl *j, u64 addr, enum fmt_kind kind, void *to)
{
	struct copy c = { addr, kind, to };

	return jnl_read(j, copy_body, &c);
}

/* ---- publishing ---- */

static struct jnl_buf *entry_attach(struct jnl *j, struct entry *e)
{
	struct jnl_buf *b = e->folio->priv;

	if (!b) {
		b = e->buf;
		e->buf = NULL;
		ASSERT(b);
		b->kind = e->kind;
		buf_attach(j, b);
	}
	/* A checkpoint looks at it without the lock; while it does the place has no new use. */
	if (b->kind != e->kind)
		b->kind = e->kind;
	b->forgotten = false;
	return b;
}

static bool chunk_differs(const struct entry *e, u32 c)
{
	const u8 *now = folio_data(e->folio);
	u32 off = c << CHUNK_SHIFT;

	return memcmp(now + off, (u8 *)e->old + off, CHUNK_BYTES) != 0;
}

static bool nothing_else_differs(const struct entry *e)
{
	for (u32 c = 0; c < entry_len(e) >> CHUNK_SHIFT; c++)
		if (!(e->touched[c / 64] >> (c % 64) & 1) && chunk_differs(e, c))
			return false;
	return true;
}

/* A word's chunks are a sector: mostly all of one is saved and nothing in it changed. */
static bool sector_differs(const struct entry *e, u32 w)
{
	size_t off = (size_t)w << SECTOR_SHIFT;

	return memcmp((u8 *)folio_data(e->folio) + off, (u8 *)e->old + off, SECTOR_SIZE) != 0;
}

/* Does it differ from what it was? Then e->diff says where. */
static bool entry_changed(struct entry *e)
{
	bool any = false;

	if (!e->old)
		return e->copy != NULL;
	for (u32 w = 0; w < CHUNK_WORDS; w++) {
		u64 diff = 0;

		if (e->touched[w] == ~0ull && !sector_differs(e, w))
			continue;
		for (u64 m = e->touched[w]; m; m &= m - 1)
			if (chunk_differs(e, w * 64 + (u32)__builtin_ctzll(m)))
				diff |= m & -m;
		e->diff[w] = diff;
		any |= diff != 0;
	}
	ASSERT_SLOW(nothing_else_differs(e));
	return any || e->whole;
}

static void publish_entry(struct jnl *j, struct entry *e)
{
	struct jnl_buf *b;

	if (!e->changed)
		return;
	b = entry_attach(j, e);
	if (e->copy) {
		memcpy(folio_data(e->folio), e->copy, b->len);
		b->whole = true;
	}
	for (u32 w = 0; w < CHUNK_WORDS && e->old; w++)
		b->chunk[w] |= e->diff[w];
	b->whole |= e->whole;
	txn_touch(j, b);
}

static void publish_forget(struct jnl *j, const struct revoke *r)
{
	struct jnl_buf *b;
	struct folio *f;

	if (r->kind == FMT_KIND_DATA) {
		data_forget(j, r->addr, r->nr);
		return;
	}
	f = cache_find(&j->mapping, r->addr);
	b = f ? f->priv : NULL;
	if (b && b->addr == r->addr)
		buf_forget(j, b);
	if (f)
		folio_put(f);
}

/* Upper bound of what publishing this view adds to the log. j->lock held. */
static u64 view_log_bytes(const struct view *v)
{
	u64 bytes = 0;
	const struct revoke *r;

	for (unsigned i = 0; i < v->nr; i++) {
		const struct entry *e = &v->entry[i];
		const struct jnl_buf *b = e->folio->priv;

		if (e->changed && !(b && b->running))
			bytes += fmt_kind_sectors(e->kind) * SECTOR_SIZE + sizeof(struct fmt_rec);
	}
	STAILQ_FOREACH(r, &v->revokes, link)
		bytes += sizeof(struct fmt_rec);
	return bytes + v->more_log;
}

/*
 * A fresh folio becomes uptodate under its lock. Nobody can be reading its buffer in for good
 * reason; a
 * reader with an old view may, so the wait is for one read at most.
 */
static void publish_fresh(struct view *v)
{
	for (unsigned i = 0; i < v->nr; i++) {
		struct entry *e = &v->entry[i];

		if (!e->copy || folio_has(e->folio, FOLIO_UPTODATE))
			continue;
		folio_lock(e->folio);
		memcpy(folio_data(e->folio), e->copy, fmt_kind_sectors(e->kind) * SECTOR_SIZE);
		folio_mark_uptodate(e->folio, 0, folio_sectors(e->folio));
		folio_unlock(e->folio);
	}
}

static u64 publish_locked(struct view *v)
{
	struct jnl *j = v->j;
	struct txn *t = j->running;
	struct revoke *r;

	if (!t->opened_ns) {
		t->opened_ns = now_ns();
		if (j->thread_idle)
			cond_signal(&j->wake);
	}
	for (unsigned i = 0; i < v->nr; i++)
		publish_entry(j, &v->entry[i]);
	STAILQ_FOREACH(r, &v->revokes, link) {
		publish_forget(j, r);
		t->bytes += sizeof(struct fmt_rec);
	}
	STAILQ_CONCAT(&t->revokes, &v->revokes);
	t->bytes += v->more_log;
	busy_add_all(j, &v->busy, &t->busy);
	return t->seq;
}

static bool view_changed(struct view *v)
{
	bool any = !STAILQ_EMPTY(&v->revokes) || v->has_busy || v->more_log;

	for (unsigned i = 0; i < v->nr; i++) {
		v->entry[i].changed = entry_changed(&v->entry[i]);
		any |= v->entry[i].changed;
	}
	return any;
}

/* 0, or -EAGAIN when room must be made first (nothing has happened then). */
static int publish(struct view *v, u64 *seq)
{
	struct jnl *j = v->j;
	bool changed = view_changed(v);
	u64 bytes, s = 0;
	bool room;

	if (v->no_memory)
		return -ENOMEM;
	if (changed)
		publish_fresh(v);
	view_exclude(v);
	mutex_lock(&j->lock);
	bytes = changed ? view_log_bytes(v) : 0;
	room = !changed || jnl_log_has_room(j, bytes, v->keep, v->reserved);
	if (room && changed)
		s = publish_locked(v);
	else if (room)
		s = j->running->seq - 1;
	mutex_unlock(&j->lock);
	for (unsigned i = 0; room && i < v->nr_hook; i++)
		v->hook[i].fn(v->hook[i].arg, s);
	if (!room) {
		v->want_room = bytes;
		return -EAGAIN;
	}
	if (changed && seq)
		*seq = s;
	return 0;
}

static void view_undo(struct view *v)
{
	for (unsigned i = 0; i < v->nr; i++)
		if (v->entry[i].old)
			entry_restore(&v->entry[i]);
}

static void view_give_spare(struct view *v)
{
	for (unsigned i = 0; i < v->nr; i++) {
		struct entry *e = &v->entry[i];

		spare_give(v->j, e->copy);
		spare_give(v->j, e->old);
		e->copy = e->old = NULL;
	}
}

static int run_once(struct view *v, unsigned credits, jnl_body body, void *arg, u64 *seq)
{
	struct jnl *j = v->j;
	int r;

	view_start(v);
	mutex_lock(&j->handle);
	r = jnl_error(j) ? -EROFS : body(v, arg);
	if (!r) {
		ASSERT(v->nr_edit <= credits);
		r = publish(v, seq);
	}
	if (r)
		view_undo(v);
	view_admit(v);
	view_give_spare(v);
	mutex_unlock(&j->handle);
	view_drop(v);
	return r;
}

static int run(struct jnl *j, bool reserved, unsigned credits, jnl_body body, void *arg, u64 *seq)
{
	struct view v = { .j = j, .write = true, .reserved = reserved };
	int r;

	ASSERT(credits <= JNL_CREDITS_MAX);
	for (unsigned tries = 0;; tries++) {
		ASSERT(tries < RUN_TRIES_MAX);
		r = run_once(&v, credits, body, arg, seq);
		if (r != -EAGAIN || (!v.want && !v.want_room))
			break;
		r = view_bring(&v);
		if (r)
			break;
	}
	view_fini(&v);
	return r;
}

int jnl_run(struct jnl *j, unsigned credits, jnl_body body, void *arg, u64 *seq)
{
	return j->cfg.readonly ? -EROFS : run(j, false, credits, body, arg, seq);
}

int jnl_run_reserved(struct jnl *j, unsigned credits, jnl_body body, void *arg)
{
	return run(j, true, credits, body, arg, NULL);
}
