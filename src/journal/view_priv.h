/*
 * What view.c, publish.c and run.c share: the inside of a view.
 *
 * A view belongs to the thread that runs its body. A handle's (write) is changed with j->handle
 * held.
 */
#ifndef JOURNAL_VIEW_PRIV_H
#define JOURNAL_VIEW_PRIV_H

#include "journal/jnl_priv.h"

struct entry {
	u64 addr;
	enum fmt_kind kind;
	bool whole;                /* view_log_whole() */
	bool changed;              /* publish(): differs from what it was */
	u64 touched[CHUNK_WORDS];  /* chunks that are saved in `old` */
	u64 diff[CHUNK_WORDS];     /* publish(): chunks that differ */
	u64 log_bytes;             /* publish(): what the buffer will be in the log */
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
	int error;                 /* it could not be loaded */
	enum why why;              /* what was wrong with its content, if that was it */
	struct folio *folio;
};

#define VIEW_FEW 12u

struct view {
	struct jnl *j;
	u64 run;                   /* of this attempt */
	bool write;
	bool exclusive;            /* holds RANK_META: something is being changed */
	struct entry *entry;
	unsigned nr, max;
	unsigned nr_edit;
	struct hook *hook;
	unsigned nr_hook, max_hook;
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
	bool want_room;            /* for `need` */
	struct jnl_need need;
	/* where entry and hook begin: most runs need no more. Not initialised. */
	struct entry few_entries[VIEW_FEW];
	struct hook few_hooks[VIEW_FEW];
};

/* view.c */
void view_init(struct view *v, struct jnl *j, bool write);
/* Room for one more element in *array, which has nr of *max and may begin as `few`. */
int view_grow(void **array, const void *few, unsigned *max, unsigned nr, size_t size);
struct held *view_held_find(struct view *v, u64 addr);
u32 view_entry_len(const struct entry *e);
void view_entry_fini(struct entry *e);
void view_exclude(struct view *v);      /* RANK_META, until view_admit() */
void view_admit(struct view *v);
void view_undo(struct view *v);         /* all is as it was before the run again */
void view_give_spare(struct view *v);   /* memory for contents that is not needed any more */

/* publish.c: 0, or -EAGAIN when room must be made first (nothing has happened then). -ENOMEM. */
int view_publish(struct view *v, u64 *seq);

#endif
