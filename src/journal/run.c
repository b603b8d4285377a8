/*
 * Running bodies.
 *
 * A body never waits: what is not in memory, or needs room, ends the attempt; the runner gets it
 * without locks and tries again. What was loaded stays referenced until the run ends, so each
 * attempt gets further than the one before.
 */
#include "journal/view_priv.h"

#include <stdlib.h>
#include <string.h>

#define RUN_TRIES_MAX 10000u       /* a body that never gets all it asks for is a bug */

static void view_start(struct view *v)
{
	static u64 runs;

	v->run = __atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED);
	v->nr = v->nr_edit = v->nr_hook = 0;
	STAILQ_INIT(&v->revokes);
	STAILQ_INIT(&v->busy);
	v->has_busy = v->want = v->want_room = v->no_memory = false;
	v->more_log = v->keep = 0;
}

/* Forget everything this attempt did. */
static void view_drop(struct view *v)
{
	struct revoke *r;
	struct busy *b;

	for (unsigned i = 0; i < v->nr; i++)
		view_entry_fini(&v->entry[i]);
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
	if (v->entry != v->few_entries)
		free(v->entry);
	if (v->hook != v->few_hooks)
		free(v->hook);
}

static int view_hold(struct view *v, u64 addr, struct folio *f, int error, enum why why)
{
	struct held *h = view_held_find(v, addr);
	int r;

	if (h) {                   /* it went away in between: hold the new one */
		if (h->folio)
			folio_put(h->folio);
	} else {
		r = view_grow((void **)&v->held, NULL, &v->max_held, v->nr_held, sizeof(*v->held));
		if (r) {
			if (f)
				folio_put(f);
			return r;
		}
		h = &v->held[v->nr_held++];
	}
	*h = (struct held){ .addr = addr, .error = error, .why = why, .folio = f };
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
	enum why why;
	int r;

	if (v->want_room && v->reserved)
		return jnl_commit_running(v->j);
	if (v->want_room)
		return jnl_make_room(v->j, &v->need);
	ASSERT(v->want);
	if (v->want_new) {
		r = buf_grab(v->j, v->want_addr, v->want_kind, 0, &f);
		if (r == -EAGAIN)
			return 0;
		return r ? r : view_hold(v, v->want_addr, f, 0, WHY_NONE);
	}
	r = buf_load(v->j, v->want_addr, v->want_kind, &f, &why);
	if (r == -EAGAIN)
		return 0;
	if (r == -ENOMEM)
		return r;
	return view_hold(v, v->want_addr, f, r, why);
}

int jnl_read(struct jnl *j, jnl_body body, void *arg)
{
	struct view v;
	int r;

	view_init(&v, j, false);
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

static int run_once(struct view *v, unsigned credits, jnl_body body, void *arg, u64 *seq)
{
	struct jnl *j = v->j;
	int r;

	view_start(v);
	mutex_lock(&j->handle);
	r = jnl_error(j) ? -EROFS : body(v, arg);
	if (!r) {
		ASSERT(v->nr_edit <= credits);
		r = view_publish(v, seq);
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
	struct view v;
	int r;

	view_init(&v, j, true);
	v.reserved = reserved;
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
