/*
 * Views: what a body sees and changes.
 *
 * 1. A body sees published buffers. A handle changes them where they are: from its first change to
 *    its end it holds RANK_META exclusively, so nobody else sees a buffer in between. A new buffer
 *    is a private copy until it is published: the place may still be read by who has an old view.
 * 2. What a chunk of 64 bytes held before it is changed is saved first: that undoes a run that
 *    comes to nothing. So neither a handle nor an error costs more than what was touched.
 * 3. A body never waits: what is not in memory ends the attempt (run.c).
 * 4. Bodies on the hot path name the bytes that they are about to change, others get all of the
 *    buffer saved.
 */
#include "journal/view_priv.h"

#include <stdlib.h>
#include <string.h>

void view_init(struct view *v, struct jnl *j, bool write)
{
	memset(v, 0, offsetof(struct view, few_entries));
	v->j = j;
	v->write = write;
	v->entry = v->few_entries;
	v->hook = v->few_hooks;
	v->max = v->max_hook = VIEW_FEW;
}

int view_grow(void **array, const void *few, unsigned *max, unsigned nr, size_t size)
{
	unsigned n = *max ? *max * 2 : 32;
	bool is_few = few && *array == few;
	void *p;

	if (nr < *max)
		return 0;
	p = is_few ? malloc(n * size) : realloc(*array, n * size);
	if (!p)
		return -ENOMEM;
	if (is_few)
		memcpy(p, few, nr * size);
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

struct held *view_held_find(struct view *v, u64 addr)
{
	for (unsigned i = 0; i < v->nr_held; i++)
		if (v->held[i].addr == addr)
			return &v->held[i];
	return NULL;
}

static int view_want(struct view *v, u64 addr, enum fmt_kind kind, bool fresh)
{
	struct held *h = view_held_find(v, addr);

	/* Asked for again: it is not one that was freed meanwhile. */
	if (h && h->why)
		corrupt(h->why, CORRUPT_NO_INO, addr);
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
	int r = view_grow((void **)&v->entry, v->few_entries, &v->max, v->nr, sizeof(*v->entry));

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
		return kind == e->kind ? 0 : corrupt(WHY_BUF_DATA, CORRUPT_NO_INO, e->addr);
	if (get16(h->kind) != kind)
		return corrupt(WHY_BUF_KIND, CORRUPT_NO_INO, e->addr);
	if (get64(h->addr) != e->addr)
		return corrupt(WHY_BUF_ADDRESS, CORRUPT_NO_INO, e->addr);
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

u32 view_entry_len(const struct entry *e)
{
	return fmt_kind_sectors(e->kind) * SECTOR_SIZE;
}

/* ---- changing ---- */

void view_exclude(struct view *v)
{
	if (!v->exclusive)
		rwlock_wrlock(&v->j->meta);
	v->exclusive = true;
}

void view_admit(struct view *v)
{
	if (v->exclusive)
		rwlock_unlock(&v->j->meta);
	v->exclusive = false;
}

/* Memory for the contents of a buffer of any kind. The handle is ours, here and below. */
static void *view_spare_take(struct jnl *j)
{
	return j->nr_spare > 0 ? j->spare[--j->nr_spare] : aligned_alloc(64, NODE_SIZE);
}

static void view_spare_give(struct jnl *j, void *mem)
{
	if (mem && j->nr_spare < ARRAY_LEN(j->spare))
		j->spare[j->nr_spare++] = mem;
	else
		free(mem);
}

static struct jnl_buf *view_spare_buf(struct jnl *j, const struct entry *e)
{
	struct jnl_buf *b;

	if (j->nr_spare_bufs == 0)
		return buf_new(e->folio, e->addr, e->kind);
	b = j->spare_buf[--j->nr_spare_bufs];
	buf_init(b, e->folio, e->addr, e->kind);
	return b;
}

static void view_spare_buf_give(struct jnl *j, struct jnl_buf *b)
{
	if (!b || j->nr_spare_bufs == ARRAY_LEN(j->spare_buf)) {
		buf_free(b);
		return;
	}
	folio_put(b->folio);
	j->spare_buf[j->nr_spare_bufs++] = b;
}

/* *mem, for the contents, and what publishing the entry will need. */
static int entry_prepare(struct view *v, struct entry *e, void **mem)
{
	if (!e->buf)
		e->buf = view_spare_buf(v->j, e);
	if (e->buf)
		*mem = view_spare_take(v->j);
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
	memcpy(e->old, folio_data(e->folio), view_entry_len(e));
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
		entry_save(e, 0, view_entry_len(e) >> CHUNK_SHIFT);
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
		view_spare_give(v->j, e->old);
		e->old = NULL;
		v->nr_edit--;
	}
	e->kind = kind;
	if (!e->copy)
		r = entry_prepare(v, e, &e->copy);
	if (r)
		return r;
	e->buf->kind = kind;
	memset(e->copy, 0, view_entry_len(e));
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

void view_entry_fini(struct entry *e)
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
		view_entry_fini(e);
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
	int r = view_grow((void **)&v->hook, v->few_hooks, &v->max_hook, v->nr_hook,
			  sizeof(*v->hook));

	if (!r)
		v->hook[v->nr_hook++] = (struct hook){ fn, arg };
	return r;
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

/* ---- the end of an attempt ---- */

void view_undo(struct view *v)
{
	for (unsigned i = 0; i < v->nr; i++)
		if (v->entry[i].old)
			entry_restore(&v->entry[i]);
}

void view_give_spare(struct view *v)
{
	for (unsigned i = 0; i < v->nr; i++) {
		struct entry *e = &v->entry[i];

		view_spare_give(v->j, e->copy);
		view_spare_give(v->j, e->old);
		view_spare_buf_give(v->j, e->buf);
		e->copy = e->old = NULL;
		e->buf = NULL;
	}
}
