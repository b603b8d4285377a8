/*
 * Publishing a handle.
 *
 * 1. It cannot fail: everything it needs was allocated while the body ran, and room in the log is
 *    checked before the first byte is changed.
 * 2. Saved chunks are compared with what they hold at the end, so what is logged is exactly what
 *    changed, whatever the body did.
 */
#include "base/time.h"
#include "journal/view_priv.h"

#include <string.h>

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
	for (u32 c = 0; c < view_entry_len(e) >> CHUNK_SHIFT; c++)
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
		b->whole = jnl_omitted != JNL_OMIT_WHOLE;
	}
	for (u32 w = 0; w < CHUNK_WORDS && e->old; w++)
		b->chunk[w] |= e->diff[w];
	b->whole |= e->whole;
	txn_touch(j, b, e->log_bytes);
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

/* What a changed entry will be in the log, with what others changed of it. */
static u64 entry_log_bytes(const struct entry *e, const struct jnl_buf *b)
{
	u64 chunk[CHUNK_WORDS];

	for (u32 w = 0; w < CHUNK_WORDS; w++)
		chunk[w] = e->diff[w] | (b ? b->chunk[w] : 0);
	return image_bytes_of(e->kind, e->copy || e->whole || (b && b->whole), chunk);
}

/* What publishing this view takes. j->lock held. */
static struct jnl_need view_need(struct view *v)
{
	struct jnl_need need = { .log = v->more_log, .keep = v->keep };
	const struct revoke *r;

	for (unsigned i = 0; i < v->nr; i++) {
		struct entry *e = &v->entry[i];
		const struct jnl_buf *b = e->folio->priv;

		if (!e->changed)
			continue;
		e->log_bytes = entry_log_bytes(e, b);
		need.log += e->log_bytes - (b ? b->log_bytes : 0);
		need.memory += b ? 0 : view_entry_len(e);
	}
	STAILQ_FOREACH(r, &v->revokes, link)
		need.log += sizeof(struct fmt_rec);
	return need;
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

	txn_open(j);
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

int view_publish(struct view *v, u64 *seq)
{
	struct jnl *j = v->j;
	bool changed = view_changed(v);
	bool room = true;
	u64 s = 0;

	if (v->no_memory)
		return -ENOMEM;
	if (changed)
		publish_fresh(v);
	view_exclude(v);
	mutex_lock(&j->lock);
	if (changed) {
		v->need = view_need(v);
		room = jnl_log_has_room(j, &v->need, v->reserved);
	}
	if (room && changed)
		s = publish_locked(v);
	else if (room)
		s = j->running->seq - 1;
	mutex_unlock(&j->lock);
	for (unsigned i = 0; room && i < v->nr_hook; i++)
		v->hook[i].fn(v->hook[i].arg, s);
	if (!room) {
		v->want_room = true;
		return -EAGAIN;
	}
	if (changed && seq)
		*seq = s;
	return 0;
}
